"""The page in a real browser.

    pytest tests/play/test_play_page.py --screenshots docs/images

writes the pictures of the README anew.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from graph.settings import ROOT
from llm.scripted import ScriptedLLM
from play.single import single_page
from schemas.errors import LLMError
from schemas.response import Cut
from tests.play.conftest import Site, card_png

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


pytestmark = pytest.mark.skipif(
    not (_chromium() and shutil.which("chromedriver")),
    reason="no Chromium with its driver here; on Debian: apt install chromium chromium-driver",
)


class Page:
    """The browser on the page."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, language: str = "en-US") -> None:
        agent = self.js("return navigator.userAgent")
        override = {"userAgent": agent, "acceptLanguage": language}
        self.driver.execute_cdp_cmd("Network.setUserAgentOverride", override)
        self.driver.get(self.url)
        self.until(lambda: self.js("return document.querySelectorAll('#log li').length"))

    def js(self, code: str, *values: Any) -> Any:
        return self.driver.execute_script(code, *values)

    def until(self, holds: Callable[[], Any], within: float = 20) -> Any:
        wait = WebDriverWait(self.driver, within, poll_frequency=0.05)
        return wait.until(lambda _: holds())

    def one(self, css: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def text(self, css: str) -> str:
        return str(self.js("return document.querySelector(arguments[0])?.textContent ?? ''", css))

    def say(self, message: str) -> None:
        box = self.one("#message")
        box.clear()
        box.send_keys(message)
        box.send_keys(Keys.ENTER)

    def answered(self) -> None:
        self.until(lambda: self.text("#send") in ("Send", "보내기") and self.all("#turn section"))

    def drop(self, name: str, content: bytes) -> None:
        self.js(
            """const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], arguments[0]));
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}));""",
            name,
            base64.b64encode(content).decode(),
        )

    def color_of(self, css: str) -> str:
        code = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
        return str(self.js(code, css))

    def prefer(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = ChromeOptions()
    options.binary_location = _chromium() or ""
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *("disable-dev-shm-usage", f"user-data-dir={profile}"),
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = Chrome(options, ChromeService(shutil.which("chromedriver")))
    found.set_script_timeout(20)
    yield found
    found.quit()


@pytest.fixture
def page(driver: Any, site: Site) -> Iterator[Page]:
    made = Page(driver, site.url)
    made.size(1280, 900)
    made.prefer("light")
    made.open()
    yield made
    logged = driver.get_log("browser")
    assert not logged, logged
    assert made.js("return document.title") == "Iyagi"
    outside = made.js(
        """return performance.getEntriesByType("resource").map((entry) => entry.name)
        .filter((name) => !name.startsWith(location.origin) && !name.startsWith("data:"))"""
    )
    assert not [name for name in outside if not name.startswith("blob:")], outside


def test_a_turn_is_typed_streamed_and_looked_at(page: Page, says: ScriptedLLM) -> None:
    says.replies, says.delay = ["*She nods.* The ferry is laid up until the boiler is mended."], 0.1
    page.one("#message").send_keys(Keys.ENTER)  # the example brings a message along
    page.until(lambda: 0 < len(page.text("#log li.busy .text")) < 30)
    assert page.text("#send") == "Stop" and page.text("#empty")
    page.answered()
    pieces = [piece.get_attribute("class") for piece in page.all("#log li.shown .text span")]
    assert pieces == ["action", "dialogue"]
    turn = page.text("#turn")
    for part in (
        "retrieve_story",
        "e13",
        "delivered",
        "dropped",
        "(50 %) were",
        "Evidence",
    ):
        assert part in turn, part
    assert page.js("return document.querySelector('.cached').getBoundingClientRect().width") > 50
    assert "<|im_start|>system" in page.text("#turn details pre")
    assert "*She nods.* The ferry" in page.text("#turn details:last-of-type pre")


def test_the_narrator_is_set_apart(page: Page, says: ScriptedLLM) -> None:
    says.replies = ["Rain starts.", "Mind the cat."]
    page.js("document.querySelector('#respond-as').value = 'narrator'")
    page.say("*I look out of the window.*")
    page.answered()
    assert page.text("#log li.shown .speaker span") == "Narrator"
    assert "narrator" in page.one("#log li.shown").get_attribute("class")
    page.js("document.querySelector('#respond-as').value = 'character'")
    page.say("And you?")
    page.until(lambda: "Mind the cat." in page.text("#log li.shown"))
    assert page.text("#log li.shown .speaker span") == "Nell Harrow"
    page.all("#log .speaker button")[0].click()
    assert "Rain starts." in page.text("#log li.shown"), "an earlier turn can be looked at"


def test_a_dropped_card_answers_with_its_lore(page: Page, says: ScriptedLLM) -> None:
    page.drop("sera.png", card_png())
    page.until(lambda: page.text("#who") == "세라")
    assert "세라는 기다렸어." in page.text("#log li")
    face = page.one("#face")
    page.until(lambda: page.js("return arguments[0].naturalWidth", face))
    page.say("등대가 보여요.")
    page.answered()
    assert "등대의 불은 세라만 켠다." in page.text("#turn .recalled")
    page.drop("lore.json", json.dumps({"entries": {"0": {"key": ["x"], "content": "y"}}}).encode())
    page.until(lambda: "1 events and lore" in page.text("#notice"))
    page.drop("broken.png", card_png()[:40])
    page.until(lambda: page.one("#notice").get_attribute("class") == "bad")
    assert page.text("#who") == "세라", "what cannot be read changes nothing"
    [refusal] = page.driver.get_log("browser")
    assert "status of 400" in refusal["message"]


def test_a_new_chat_goes_on_to_the_next_greeting_and_keeps_added_lore(
    page: Page, says: ScriptedLLM
) -> None:
    page.drop("sera.png", card_png())
    page.until(lambda: page.text("#who") == "세라")
    page.drop(
        "lore.json", json.dumps({"entries": {"0": {"key": ["배"], "content": "붉은 배"}}}).encode()
    )
    page.until(lambda: "1 events and lore" in page.text("#notice"))
    page.js("document.querySelector('#user').value = '민준'")
    for greeting in ("왔구나.", "어서 와, 민준. 세라는 기다렸어.", "왔구나."):
        page.one("#fresh").click()
        wanted = "return document.querySelector('#log li .text').textContent === arguments[0]"
        page.until(partial(page.js, wanted, greeting))
    assert page.js("return document.querySelector('#face').naturalWidth") > 0
    page.say("배가 온다.")
    page.answered()
    assert "붉은 배" in page.text("#turn .recalled")


def test_a_long_text_is_folded(page: Page) -> None:
    text = "섬에는 우물이 없다. " * 40
    page.drop(
        "lore.json", json.dumps({"entries": {"0": {"constant": True, "content": text}}}).encode()
    )
    page.until(lambda: "1 events and lore" in page.text("#notice"))
    page.say("물은?")
    page.answered()
    cell = "#turn .recalled .long"
    assert page.text(cell) == text.strip()
    height = "return document.querySelector(arguments[0]).getBoundingClientRect().height"
    folded = page.js(height, cell)
    page.one(f"{cell} summary").click()
    assert page.js(height, cell) > 2 * folded


def test_a_chat_is_loaded_and_saved(page: Page) -> None:
    page.js(
        """window.saved = []; const real = URL.createObjectURL;
        URL.createObjectURL = (blob) => {
          blob.text().then((text) => saved.push(text)); return real(blob); };
        HTMLAnchorElement.prototype.click = () => {};"""
    )
    page.drop("chat.txt", b"Nell Harrow: Well?\nRobin: Nothing.\n")
    page.until(lambda: len(page.all("#log li")) == 2)
    page.one("#save").click()
    saved = page.until(lambda: page.js("return window.saved[0]"))
    lines = [json.loads(line) for line in saved.splitlines()]
    assert [line.get("mes") for line in lines[1:]] == ["Well?", "Nothing."]


def test_by_keyboard_only(page: Page, says: ScriptedLLM) -> None:
    says.replies = ["It is late."]
    active: Any = lambda: page.driver.switch_to.active_element  # noqa: E731
    reached = []
    page.js("document.activeElement.blur()")
    for _ in range(12):
        active().send_keys(Keys.TAB)
        reached.append(active().get_attribute("id"))
        outline = page.js("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"no focus is seen on {reached[-1]}"
        if reached[-1] == "message":
            break
    wanted = ["characters", "user", "open", "save", "fresh", "log", "message"]
    assert [name for name in reached if name in wanted] == wanted
    box = active()
    box.clear()
    box.send_keys("What", Keys.SHIFT, Keys.ENTER, Keys.NULL, "time?", Keys.ENTER)
    page.answered()
    assert "What\ntime?" in page.js(
        "return [...document.querySelectorAll('#log li.user')].at(-1).textContent"
    )
    unnamed = page.js(
        """return [...document.querySelectorAll("button, input, select, textarea, summary")]
        .filter((e) => e.offsetParent && !e.textContent.trim() && !e.labels?.length
          && !e.getAttribute("aria-label")).map((e) => e.outerHTML)"""
    )
    assert not unnamed


def test_escape_stops_a_reply_and_gives_the_words_back(page: Page, says: ScriptedLLM) -> None:
    says.replies, says.delay = ["word " * 200], 0.05
    lines = len(page.all("#log li"))
    page.say("Tell me all.")
    page.until(lambda: page.text("#log li.busy .text"))
    page.one("#message").send_keys(Keys.ESCAPE)
    page.until(lambda: page.text("#notice") == "Stopped")
    assert len(page.all("#log li")) == lines
    assert page.one("#message").get_attribute("value") == "Tell me all."


def test_how_far_the_model_has_read_is_shown_until_it_writes(page: Page) -> None:
    page.say("Hello there.")
    page.answered()
    tell = """const item = document.createElement("li");
        item.append(Object.assign(document.createElement("p"), { className: "text" }));
        for (const event of arguments) onEvent(event, item, {});
        return document.getElementById("notice").textContent"""
    reading = {"type": "status", "step": "reading", "percent": 40}
    assert "40 %" in page.js(tell, reading)
    assert page.js(tell, reading, {"type": "token", "text": "Well"}) == ""


def test_korean_by_the_browsers_language(page: Page, says: ScriptedLLM) -> None:
    page.open("ko-KR")
    assert (
        page.text("#send") == "보내기" and page.js("return document.documentElement.lang") == "ko"
    )
    assert page.text("#who") == "구봉숙"
    english = page.js(
        """return [...document.querySelectorAll("[data-t]")].map((e) => e.textContent)
        .filter((text) => !/[가-힣]/.test(text))"""
    )
    assert not english
    page.say("별이 보여요?")
    page.answered()
    assert "모델 서버의 캐시에" in page.text("#turn") and "불러온 기억" in page.text("#turn")
    reasons = page.js(
        "return [...document.querySelectorAll('#turn td.why')].map((e) => e.textContent)"
    )
    assert re.search("[가-힣]", page.text("#turn section p")), "why the speaker answers"
    assert reasons and all(re.search("[가-힣]", why) for why in reasons), reasons
    page.js("const e = document.querySelector('#message'); e.value = '하'; e.focus();")
    before = len(page.all("#log li"))
    page.js(
        """document.querySelector("#message").dispatchEvent(new KeyboardEvent("keydown",
        {key: "Enter", isComposing: true, bubbles: true, cancelable: true}))"""
    )
    assert len(page.all("#log li")) == before, "Enter ends a syllable and sends nothing"


KOREAN_PAGE = Path(__file__).with_name("korean_page.toml")


def test_what_the_server_says_in_english_is_korean_on_the_korean_page(page: Page) -> None:
    page.open("ko-KR")
    rows = tomllib.loads(KOREAN_PAGE.read_text(encoding="utf-8"))
    for kind, code in (
        ("error", "errorWords(arguments[0])"),
        ("warning", "warningWords(arguments[0].message)"),
        ("reason", "reason(arguments[0].message)"),
    ):
        for row in rows[kind]:
            assert page.js(f"return {code}", row) == row["says"]
    page.open("en-US")
    for row in rows["error"]:
        assert page.js("return errorWords(arguments[0])", row) == row["message"]


OF_COMMANDS = ("cannot be", "exists;", "is not JSON: 7 at 7")


def _text(node: ast.expr) -> str:
    """What an expression says, with 7 for what is filled in; of a sum what it begins with."""
    match node:
        case ast.BinOp(left=left):
            return _text(left)
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case ast.Constant(value=str(text)):
            return text
    return "7"


def refusals() -> list[str]:
    """The texts with which reading a file refuses it, with 7 where something is filled in."""
    found = []
    others = (
        "__main__.py",
        "convert.py",
        "load.py",
        "lore/events.py",
    )  # of the terminal, and of requests
    for file in {*(ROOT / "cards").rglob("*.py")} - {ROOT / "cards" / name for name in others}:
        code = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "BadRequest":
                found.append(_text(node.args[0]))
    return [text for text in found if text != "7" and not text.startswith(OF_COMMANDS)]


def test_every_refusal_of_a_file_has_korean_words(page: Page) -> None:
    page.open("ko-KR")
    texts = refusals()
    assert len(texts) > 25
    for text in texts:
        said = page.js("return errorWords({code: 'bad_request', message: arguments[0]})", text)
        assert text not in said, "it is told by its code alone"


def test_errors_on_the_way_are_korean(page: Page, says: ScriptedLLM) -> None:
    page.open("ko-KR")
    said: Any = lambda: page.text("#notice")  # noqa: E731
    page.js("document.querySelector('#message').value = '가'.repeat(20001)")
    page.one("#send").click()
    page.until(lambda: said() == "메시지: 20,000자를 넘습니다. 줄여 주세요.")
    page.drop("book.json", b'{"entries": ')
    page.until(lambda: said() == "JSON 형식이 아닙니다. 1번째 줄 13번째 글자를 확인해 주세요.")
    page.drop("diary.txt", "오늘은 흐렸다.".encode())
    page.until(lambda: said().startswith("대화 파일이 아닙니다."))
    says.fail_with = LLMError("the LLM server refuses the key (HTTP 401); check it")
    page.say("안녕하세요")
    page.until(lambda: said().startswith("언어 모델 서버가 키를 거절했습니다(HTTP 401)."))
    page.js("window.fetch = async () => new Response('<html>', {status: 502})")
    page.say("안녕하세요")
    page.until(lambda: said().startswith("서버에 연결할 수 없습니다."))
    assert len(page.driver.get_log("browser")) == 2, "the refusals of both files"


@pytest.mark.parametrize("table", ["KO_CUTS", "EN_CUTS"])
def test_every_cut_has_words(page: Page, table: str) -> None:
    assert page.js(f"return Object.keys({table})") == list(get_args(Cut))


def test_both_languages_have_the_same_words(page: Page) -> None:
    english, korean = (page.js(f"return Object.keys({name}).sort()") for name in ("EN", "KO"))
    assert english == korean
    unsaid = page.js("return [...document.querySelectorAll('[data-t]')].map((e) => e.dataset.t)")
    assert set(unsaid) <= set(english)


def test_an_event_is_told_once_and_by_its_title(page: Page, mock_response: dict[str, Any]) -> None:
    meta = mock_response["meta"]
    parts = "0.41 of 0.33 needed (words +0.30, meaning +0.11)"
    reached = {**meta["story"], "event": "e17", "next": "e17", "position_after": 170,
               "why": f"e17 reached: {parts}"}  # fmt: skip
    route = {**meta["route"], "reason": "narrator: the story reaches e17"}
    turn = {**mock_response, "responded_as": "narrator"}
    turn["meta"] = {**meta, "story": reached, "route": route, "warnings": ["no story: away"]}
    turn["meta"]["reply"] = {**meta["reply"], "cuts": ["user_tag", "unfinished"]}
    for language, title, told, cuts in (
        ("en-US", "The second notice", "Reached: ", "words of the user, an unfinished sentence"),
        ("ko-KR", "두 번째 공고", "일어난 사건: ", "유저 대사, 끝나지 않은 문장"),
    ):
        page.open(language)
        page.js(
            "chat.request = {...chat.request, story: [{id: 'e17', title: arguments[0]}]}", title
        )
        page.js("showTurn(arguments[0])", turn)
        shown = page.text("#turn section")
        assert shown.count(f"{told}{title}") == 1 and "e17" not in shown
        assert cuts in shown
    assert "점수 0.41, 필요한 점수 0.33 (단어 +0.30, 의미 +0.11)" in shown
    assert "주의: 스토리를 불러오지 못했습니다: away" in shown
    page.js("chat.request.story = []")
    page.js("showTurn(arguments[0])", turn)
    assert "일어난 사건: e17" in page.text("#turn section"), "of a named story"


def test_a_reader_sees_which_side_each_piece_of_evidence_is_for(
    page: Page, mock_response: dict[str, Any]
) -> None:
    page.js("showTurn(arguments[0])", mock_response)
    page.one("#turn details summary").click()
    middle = "const of = (e) => e.getBoundingClientRect();"
    sides = page.js(
        f"""{middle} return [...document.querySelectorAll(".leaning")].map((all) => {{
          const bar = of(all.firstChild), middle = of(all).left + of(all).width / 2;
          return [bar.left >= middle - 1, bar.right <= middle + 1, bar.width]; }})"""
    )
    found = [row["contribution"] for row in mock_response["meta"]["route"]["evidence"]]
    assert len(sides) == len(found) > 5
    for (right, left, width), counts in zip(sides, found, strict=True):
        assert width >= 0 and (right if counts > 0 else left)
    assert "-0" not in page.text("#turn .evidence") and "(-" not in page.text("#turn section p")


def test_the_standing_note_goes_with_each_message(page: Page) -> None:
    page.js(
        """window.sent = [];
        window.fetch = async (path, {body}) => { sent.push(JSON.parse(body));
          return new Response("{}", {status: 502}); };"""
    )
    page.say("Hello")
    page.until(lambda: page.js("return sent.length === 1"))
    page.one(".note summary").click()
    page.one("#note").send_keys("  Long descriptions. ")
    page.say("Hello again")
    page.until(lambda: page.js("return sent.length === 2"))
    page.one("#fresh").click()
    page.one("#note").clear()
    page.one("#note").send_keys(" ")
    page.say("And again")
    page.until(lambda: page.js("return sent.length === 3"))
    notes = page.js("return sent.map((request) => request.user_note ?? null)")
    assert notes == [None, "Long descriptions.", None]


STATUS = "[기분: 맑음 | 위치: 부두]"
LINES = [
    ("user", "*우산을 편다.* 비 와요. *달린다*", ["action", "action"]),
    ("narrator", "바람이 분다.\n\n```\n체력: 3/5\n날짜: 5일\n```", ["status"]),
    ("character", f"*웃는다*\n{STATUS}", ["action", "status"]),
    ("user", "2 * 3 * 4, **굵게**, *열린 별, [속마음: 춥다] [책: 하나 | 둘] 끝", []),
]


def test_old_lines_are_styled_as_new_ones_and_keep_their_text(page: Page) -> None:
    rows = [{"role": role, "content": content} for role, content, _ in LINES]
    page.drop("chat.json", json.dumps(rows).encode())
    page.until(lambda: page.text("#log li:first-child .text") == LINES[0][1])
    texts = page.js("return [...document.querySelectorAll('#log .text')].map((e) => e.textContent)")
    assert texts == [content for _, content, _ in LINES]
    kinds = page.js(
        """return [...document.querySelectorAll('#log .text')].map((text) =>
        [...text.children].map((e) => e.className))"""
    )
    assert kinds == [kinds for *_, kinds in LINES]
    page.js(
        """addLine({role: "character"}, [{type: "dialogue", text: "가자."},
        {type: "status", text: arguments[0]}])""",
        f"\n\n{STATUS}\n",
    )
    assert page.text("#log li:last-child .text") == f"가자.\n\n{STATUS}\n"
    assert page.text("#log li:last-child .status") == STATUS
    styles = page.js(
        """const of = (css) => getComputedStyle(document.querySelector(css));
        return [of(".user .action").fontStyle, of(".narrator .status").fontStyle,
          of(".status").fontFamily.includes("monospace"), of(".status").borderTopWidth]"""
    )
    assert styles == ["italic", "normal", True, "1px"]


@pytest.mark.parametrize(
    "sign", ["*", "*a", "**", "```", "```\n", "[a:", "[a:b|", "[a:b|\n", "*a\n"]
)
def test_any_line_is_styled_in_linear_time(page: Page, sign: str) -> None:
    took = page.js(
        """const at = performance.now(), text = arguments[0].repeat(100000 / arguments[0].length);
        const parts = styled(text).map((part) => part.textContent ?? part);
        return parts.join("") === text && performance.now() - at""",
        sign,
    )
    assert took is not False and took < 1_000


@pytest.mark.parametrize("width", [320, 360])
def test_a_narrow_screen_scrolls_down_and_not_sideways(
    page: Page, says: ScriptedLLM, width: int
) -> None:
    page.size(width, 700)
    page.say("*waits*")
    page.answered()
    assert page.js("return document.documentElement.scrollWidth") <= width
    says.fail_with = LLMError("the model is away", retryable=True)
    page.say("again")
    page.until(lambda: page.text("#notice") == "the model is away")
    edges = "const { top, bottom } = document.querySelector('#notice').getBoundingClientRect();"
    assert page.js(f"{edges} return top >= 0 && bottom <= innerHeight"), (
        "what went wrong is in sight"
    )
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    assert page.js(top, ".turn") > page.js(top, "#form")
    hidden = page.js(
        """return [...document.querySelectorAll(".recalled td")].filter((e) => {
          const { left, right } = e.getBoundingClientRect();
          return left < 0 || right > innerWidth; }).length"""
    )
    assert page.all(".recalled td") and not hidden, "nothing is out of sight"


def test_dark_and_light_can_both_be_read(page: Page, says: ScriptedLLM) -> None:
    page.say("Well?")
    page.answered()
    backgrounds = set()
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        backgrounds.add(page.color_of("body"))
        faint = page.js(CONTRAST)
        assert not faint, (scheme, faint)
    assert len(backgrounds) == 2


CONTRAST = """
const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const nums = (s) => s.match(/[\\d.]+/g).map(Number);
const ground = (e) => { for (; e; e = e.parentElement) {
  const c = nums(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
  return [255, 255, 255]; };
const found = [];
for (const e of document.querySelectorAll("body *")) {
  const says = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!e.offsetParent || !says) continue;
  const [a, b] = [lum(nums(getComputedStyle(e).color).slice(0, 3)), lum(ground(e).slice(0, 3))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${e.tagName}.${e.className} ${ratio.toFixed(1)}`);
}
return [...new Set(found)];
"""


def test_hostile_names_and_texts_stay_text(page: Page, says: ScriptedLLM) -> None:
    says.replies = [f"Hi {HOSTILE}"]
    book = {"entries": [{"keys": ["Hello"], "content": HOSTILE, "enabled": True, "name": HOSTILE,
                         "insertion_order": 1, "extensions": {}}], "extensions": {}}  # fmt: skip
    name = HOSTILE[:60]
    page.drop("h.png", card_png(name=name, first_mes=HOSTILE, character_book=book))
    page.until(lambda: page.text("#who") == name)
    page.js("document.querySelector('#user').value = arguments[0]", HOSTILE[:90])
    page.js("document.querySelector('#user').dispatchEvent(new Event('change'))")
    page.js("document.querySelector('#message').value = arguments[0]", f"Hello {HOSTILE}")
    page.one("#send").click()
    page.answered()
    assert HOSTILE in page.text("#turn .recalled") and HOSTILE in page.text("#log li.shown")
    assert (
        page.js("return document.querySelectorAll('#log img, #turn img, main script').length") == 0
    )


SCRIPTS = [
    HOSTILE,
    "</script><script>document.title='hit'</script>",
    "<svg/onload=document.title='hit'>",
    "<iframe srcdoc=\"<script>parent.document.title='hit'</script>\"></iframe>",
    "<a href=\"javascript:document.title='hit'\">x</a>",
    "{{constructor.constructor('document.title=1')()}}",
    "\u202e<b onmouseover=document.title='hit'>\x00",
]
OF_THE_PAGE = """return document.querySelectorAll(
  "#log :not(li, div, span, p, button), #turn :is(script, img, svg, iframe, a), #notice *"
).length"""


def test_scripts_in_memories_events_files_and_errors_stay_text(
    page: Page, says: ScriptedLLM
) -> None:
    far = "파도가 친다. " * 60
    rows = [{"role": "user", "content": f"등대 {row} {text} {far}"}
            for row, text in enumerate(SCRIPTS * 9)]  # fmt: skip
    page.drop("chat.json", json.dumps(rows).encode())
    page.until(lambda: len(page.all("#log li")) == len(rows))
    events = [{"id": f"e{number}{text}"[:200], "order": number, "text": text, "constant": True}
              for number, text in enumerate(SCRIPTS)]  # fmt: skip
    page.drop(f"{SCRIPTS[2]}.json", json.dumps(events).encode())
    page.until(lambda: SCRIPTS[2] in page.text("#notice"))
    says.replies = [SCRIPTS[1]]
    page.say("등대?")
    page.answered()
    assert SCRIPTS[2] in page.text("#turn .recalled") and "chat" in page.text("#turn .recalled")
    assert page.js(OF_THE_PAGE) == 0
    says.fail_with = LLMError(f"no model {SCRIPTS[0]}", retryable=False)
    page.say("again")
    page.until(lambda: SCRIPTS[0] in page.text("#notice"))
    page.drop("x.png", b"\x89PNG\r\n\x1a\n" + HOSTILE.encode())
    page.until(lambda: "PNG" in page.text("#notice"))
    assert page.js(OF_THE_PAGE) == 0
    assert len(page.driver.get_log("browser")) == 1, "the refusal"


def test_a_turn_as_a_file_needs_no_server(
    page: Page, tmp_path: Path, says: ScriptedLLM, mock_response: dict[str, Any]
) -> None:
    history = [{"role": "character", "content": text} for text in SCRIPTS]
    payload = {"persona": {"name": "</script>" + HOSTILE}, "message": HOSTILE, "history": history}
    awaited = mock_response["meta"]["story"]["next"]
    payload["story"] = [{"id": awaited, "title": SCRIPTS[2]}, {"id": "other", "title": "Unseen"}]
    path = tmp_path / "turn.html"
    path.write_text(single_page(payload, mock_response), encoding="utf-8")
    page.driver.get(path.as_uri())
    assert page.text("#who") == "</script>" + HOSTILE
    assert "Tokens of the prompt" in page.text("#turn") and page.all("#turn .bar i")
    assert not page.one("#form").is_displayed()
    assert SCRIPTS[1] in page.text("#log") and page.js(OF_THE_PAGE) == 0
    assert f"Next: {SCRIPTS[2]}" in page.text("#turn") and "Unseen" not in path.read_text("utf-8")
    page.prefer("dark")
    assert page.color_of("body") == "rgb(23, 24, 28)"


def test_pictures_for_the_readme(
    page: Page, says: ScriptedLLM, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    folder = pytestconfig.getoption("--screenshots", default=None) or tmp_path
    for language, scheme, reply in (
        ("en-US", "light", ENGLISH),
        ("ko-KR", "dark", KOREAN),
    ):
        says.replies = [reply, reply]
        page.size(1280, 960)
        page.prefer(scheme)
        for _ in range(2):  # the first turn indexes the story; the second shows what a turn takes
            page.open(language)
            page.one("#message").send_keys(Keys.ENTER)
            page.answered()
        name = f"play.{language[:2]}.png"
        taken = page.driver.get_screenshot_as_png()
        Path(folder, name).write_bytes(taken)
        assert len(taken) < 300_000


ENGLISH = (
    "*She lays the pencil across the ledger and does not pick it up again.* No. Not by the ferry; "
    "she is on the slip and there she stays. *Her thumb finds the edge of the page.* But there is "
    "more than one way off an island, and I know whom to ask."
)
KOREAN = (
    "*모자챙을 밀어 올리고 손가락을 하나씩 꼽는다.* 못 먹는 거 내가 적어 뒀지. "
    "버스도 노선표는 보고 타는 거야. *주머니에서 누룽지 사탕을 꺼내 건넨다.* "
    "나머지는 마음 놓고 먹어."
)
