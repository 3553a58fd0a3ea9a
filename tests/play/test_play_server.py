"""The page's server: its routes, OpenAI's routes, and who may use them."""

from __future__ import annotations

import io
import itertools
import json
import re
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from graph.settings import ROOT
from play.server import MOST_READ
from schemas.errors import LLMError
from tests.play.conftest import CARD, Site, card_png
from tests.support import RecordingLLM, ask


@pytest.fixture(scope="module")
def web(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, timeout=30) as client:
        yield client


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


# ---- the page's own routes ----


def test_the_page_may_load_nothing_from_elsewhere(web: httpx.Client) -> None:
    for path, kind in (("/", "text/html"), ("/page.js", "javascript"), ("/page.css", "text/css")):
        answer = web.get(path)
        assert answer.status_code == 200 and kind in answer.headers["content-type"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text and "https://" not in answer.text
        assert "innerHTML" not in answer.text
    for path in ("/docs", "/openapi.json", "/play/server.py", "/..%2fserver.py", "/server.py"):
        assert web.get(path).status_code == 404


def test_the_page_has_korean_words_for_all_evidence() -> None:
    words = (ROOT / "play" / "page.js").read_text(encoding="utf-8").split("KO_EVIDENCE = {")[1]
    named = re.findall(r'(\w+): \[?\s*"[^"]*[가-힣]', words.split("};")[0])
    weights = tomllib.loads((ROOT / "routing" / "weights.toml").read_text(encoding="utf-8"))
    assert set(named) == weights.keys() - {"bias"}


def test_a_chat_to_begin_with(web: httpx.Client) -> None:
    korean = web.get("/api/start", params={"lang": "ko-KR"}).json()
    assert korean["request"]["persona"]["name"] == "구봉숙"
    assert korean["characters"] == ["Wren", "세라"]
    assert web.get("/api/start").json()["request"]["persona"]["name"] == "Nell Harrow"


def test_a_turn_streams_and_shows_its_working(web: httpx.Client, says: RecordingLLM) -> None:
    says.replies = ["*고개를 든다.* 어서 와."]
    *before, last = events(web.post("/api/turn", json=ask("안녕", meta={"debug": True})))
    assert "".join(e["text"] for e in before if e["type"] == "token") == "*고개를 든다.* 어서 와."
    meta = last["response"]["meta"]
    assert meta["reply"]["raw"] == "*고개를 든다.* 어서 와."
    assert meta["prompt"]["text"] == says.prompts[-1]


def test_what_goes_wrong_is_a_line(web: httpx.Client, says: RecordingLLM) -> None:
    [wrong] = events(web.post("/api/turn", json={"message": "x"}))
    assert wrong["type"] == "error" and wrong["error"]["message"] == "persona: is required; add it"
    assert web.post("/api/turn", content=b"[" * 100_000).status_code == 400
    assert web.post("/api/turn", content=b"\xff{").status_code == 400
    says.fail_with = LLMError("the model is away", retryable=True)
    assert events(web.post("/api/turn", json=ask()))[-1]["error"]["message"] == "the model is away"


def test_a_dropped_card_brings_lore_and_a_greeting(web: httpx.Client) -> None:
    params = {"name": "x.png", "user": "민준"}
    read = web.post("/api/read", content=card_png(), params=params).json()
    assert read["kind"] == "character" and read["persona"]["name"] == "세라"
    assert read["greetings"] == ["어서 와, 민준. 세라는 기다렸어.", "왔구나."]
    assert len(read["story"]) == 2 and all(e["extensions"]["lore"] for e in read["story"])


def test_chance_in_a_greeting_is_drawn_from_the_chat(web: httpx.Client) -> None:
    numbers = ",".join(map(str, range(10_000)))
    card = card_png(first_mes=f"{{{{random:{numbers}}}}}")

    def greeting(chat: str) -> str:
        answer = web.post("/api/read", content=card, params={"name": "x.png", "chat": chat})
        return str(answer.json()["greetings"][0])

    assert greeting("a") == greeting("a") != greeting("b")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.json", json.dumps(CARD), "character"),
        ("a.json", '{"name": "하늘"}', "character"),
        ("a.json", '\ufeff{"entries": {"0": {"key": ["a"], "content": "b"}}}', "story"),
        ("a.json", '[{"id": "e", "order": 1, "text": "b"}]', "story"),
        ("a.json", '[{"role": "assistant", "content": "b"}]', "chat"),
        ("a.jsonl", '{"user_name": "A"}\n{"name": "A", "is_user": true, "mes": "hi"}', "chat"),
        ("a.txt", "세라: 안녕\n민준: 응\n", "chat"),
    ],
)
def test_a_file_is_known_by_its_content(
    web: httpx.Client, name: str, content: str, kind: str
) -> None:
    answer = web.post("/api/read", content=content.encode(), params={"name": name})
    assert answer.json()["kind"] == kind, answer.text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (card_png()[:-20], "PNG"),
        (card_png().replace(b"IDAT", b"IDAX"), ""),
        (b"", "is empty"),
        (b'{"x": ', "not JSON"),
        (b'[{"id": "e", "order": -1, "text": "b"}]', "order"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    web: httpx.Client, content: bytes, told: str
) -> None:
    answer = web.post("/api/read", content=content)
    assert answer.status_code == 400 and told in answer.json()["error"]["message"]


def test_few_files_are_read_at_once_and_all_are(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most = threading.Semaphore(MOST_READ), []

    def slow(*args: Any, **named: Any) -> dict[str, Any]:
        most.append(at_once.acquire(blocking=False))
        time.sleep(0.05)
        at_once.release()
        return {"kind": "chat"}

    monkeypatch.setattr("play.server.read_dropped", slow)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: web.post("/api/read", content=b"x"), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8 and most == [True] * 8


def test_a_file_that_is_too_large_is_refused(web: httpx.Client) -> None:
    answer = web.post("/api/read", content=b"x" * (64 * 1024 * 1024 + 1))
    assert answer.status_code == 400 and "64 MB" in answer.json()["error"]["message"]


def test_a_card_of_70_megabytes_is_read_from_its_directory(web: httpx.Client) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(7):
            file.writestr(f"assets/{number}.png", bytes(10 << 20))
        file.writestr("card.json", json.dumps(CARD))
    assert len(buffer.getvalue()) > 70 << 20
    read = web.post("/api/read", content=buffer.getvalue()).json()
    assert read["kind"] == "character" and read["persona"]["name"] == "세라"


def test_a_card_is_no_larger_than_512_megabytes(web: httpx.Client) -> None:
    def told(first: bytes, size: int) -> str:
        zeros = (bytes(1 << 20) for _ in range(size))
        answer = web.post("/api/read", content=itertools.chain([first], zeros))
        return str(answer.json()["error"]["message"])

    assert told(b"PK\3\4", 66) == "is a damaged zip; download it again"
    assert "larger than 64 MB" in told(b"PK not a zip", 66)
    assert "larger than 512 MB" in told(b"PK\3\4", 512)


def test_a_chat_is_saved_so_that_it_loads_again(web: httpx.Client) -> None:
    history = [
        {"role": "user", "content": "안녕"},
        {"role": "narrator", "content": "비가 온다."},
        {"role": "character", "content": "왔네."},
    ]
    saved = web.post("/api/save", json={"history": history, "user": "민준", "character": "세라"})
    params = {"name": "chat.jsonl"}
    loaded = web.post("/api/read", content=saved.content, params=params).json()["history"]
    assert [(m["role"], m["content"]) for m in loaded] == [
        (m["role"], m["content"]) for m in history
    ]
    assert web.post("/api/save", json={"history": [{"role": "x"}]}).status_code == 400


def test_only_this_machines_own_pages_get_in(web: httpx.Client, site: Site) -> None:
    own = {"Origin": site.url}
    assert web.get("/v1/models", headers=own).status_code == 200
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "["},
    ):
        assert web.get("/v1/models", headers=headers).status_code == 403, headers


# ---- the front door for OpenAI's clients ----


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as made:
        yield made


LINE: Any = {"role": "user", "content": "등대에 폭풍이 왔었다며?"}


def test_models_are_the_characters(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()][:2] == ["Wren", "세라"]


def test_a_card_answers_with_lore_and_story(client: OpenAI, says: RecordingLLM) -> None:
    says.replies = ["응, 그랬어."]
    answer = client.chat.completions.create(model="세라", messages=[LINE])
    assert answer.choices[0].message.content == "응, 그랬어."
    prompt = says.prompts[-1]
    for text in (
        "세라는 등대지기다.",
        "섬에는 우물이 없다.",
        "등대의 불은 세라만 켠다.",
        "폭풍이 부두를",
    ):
        assert prompt.count(text) == 1
    head, tail = prompt.split("등대에 폭풍이 왔었다며?")
    assert "우물" in head and "불은 세라만" in tail, "what stands is cached, what passes is not"
    retrieved = answer.model_dump()["iyagi"]["retrieved"]
    lore = {item["text"]: item for item in retrieved if item["id"].startswith("lore/")}
    assert lore["등대의 불은 세라만 켠다."]["why"] == ["lore: key `등대` in the message"]
    assert lore["섬에는 우물이 없다."]["used"]


def test_a_client_streams(client: OpenAI, says: RecordingLLM) -> None:
    says.replies = ["One two three."]
    stream = client.chat.completions.create(
        model="Wren", messages=[{"role": "user", "content": "Count."}], stream=True
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "One two three."
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_fields_that_mean_nothing_here_keep_no_client_out(
    client: OpenAI, says: RecordingLLM
) -> None:
    says.replies = ["Yes."]
    answer = client.chat.completions.create(
        model="Wren",
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}],
        logit_bias={},
        metadata={"chat": "1"},
        reasoning_effort="low",
        response_format={"type": "text"},
        store=False,
        tools=[],
        presence_penalty=0.1,
        n=1,
    )
    assert answer.choices[0].message.content == "Yes."
    with pytest.raises(BadRequestError, match="response_format"):
        client.chat.completions.create(
            model="Wren", messages=[LINE], response_format={"type": "json_object"}
        )


def test_the_narrator_answers_a_scene(client: OpenAI, says: RecordingLLM) -> None:
    says.replies = ["비가 그친다."]
    answer = client.chat.completions.create(
        model="세라", messages=[LINE], extra_body={"respond_as": "narrator"}
    )
    assert answer.model_dump()["iyagi"]["responded_as"] == "narrator"


def test_a_client_is_remembered_over_many_turns(client: OpenAI, says: RecordingLLM) -> None:
    """The client sends its whole chat each time, streaming or not; old lines are recalled."""
    far = "파도가 치고 바람이 분다. " * 20
    lines: list[Any] = [
        {"role": "user", "content": "내 나침반은 할머니가 주셨어. 바늘이 늘 서쪽으로 기울어."},
        {"role": "assistant", "content": "기억해 둘게."},
        *({"role": ("user", "assistant")[n % 2], "content": f"{n}째 이야기. {far}"}
          for n in range(60)),
    ]  # fmt: skip
    said = ["오늘은 등대에 가자.", "비가 오네.", "내 나침반 바늘이 어디로 기울었지?"]
    for turn, message in enumerate(said):
        lines.append({"role": "user", "content": message})
        says.replies = [f"{turn}번째 답이야."]
        if turn % 2:
            chunks = list(client.chat.completions.create(model="세라", messages=lines, stream=True))
            reply = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            response = chunks[-1].model_dump()["iyagi"]
        else:
            answer = client.chat.completions.create(model="세라", messages=lines)
            reply = str(answer.choices[0].message.content)
            response = answer.model_dump()["iyagi"]
        assert reply == f"{turn}번째 답이야."
        lines.append({"role": "assistant", "content": reply})
    recalled = [item for item in response["retrieved"] if item["source"] == "chat"]
    assert any("서쪽" in item["text"] and item["used"] for item in recalled)
    assert "0번째 답이야." in says.prompts[-1] and "비가 오네." in says.prompts[-1]
    before, now = says.prompts[-2:]
    before_notes = before.partition("[등장인물은")[0].rstrip()
    assert now.startswith(before_notes), "the same prompt grew at its end"


def test_a_clients_story_goes_no_further_than_it_says(client: OpenAI, says: RecordingLLM) -> None:
    for position, told in ((0, 0), (1, 1)):
        client.chat.completions.create(
            model="세라", messages=[LINE], extra_body={"story_position": position}
        )
        assert says.prompts[-1].count("폭풍이 부두를") == told


@pytest.mark.parametrize(
    "name", ["secret", "../secret", "..%2Fsecret", "세라.story", "/etc/passwd", "x"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_no_name_leads_out_of_the_folder(client: OpenAI, name: str, stream: bool) -> None:
    with pytest.raises(NotFoundError, match="no such model or character; on offer: Wren, 세라"):
        client.chat.completions.create(model=name, messages=[LINE], stream=stream)


def test_a_card_that_breaks_names_itself_and_comes_back(web: httpx.Client, site: Site) -> None:
    path = site.folder / "Broken.png"
    path.write_bytes(card_png()[:-30])
    try:
        answer = web.get("/api/characters/Broken")
        assert answer.status_code == 500
        assert answer.json()["error"]["message"].startswith("characters/Broken.png is no character")
        path.write_bytes(card_png(name="Mended"))
        assert web.get("/api/characters/Broken").json()["persona"]["name"] == "Mended"
    finally:
        path.unlink()
