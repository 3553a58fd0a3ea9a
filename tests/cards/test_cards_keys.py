"""Keys as their authors mean them: JavaScript's patterns, names, scripts without spaces, Risu."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import regex
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cards.characters.card import to_persona
from cards.lore.activation import activate
from cards.lore.keys import Key, KeyIndex
from cards.lore.lorebook import stack
from cards.lore.of_card import lore_of
from cards.lore.scene import Scene
from cards.lore.words import stands_in
from cards.lore.world_info import parse_book
from retrieval import javascript
from retrieval.text import spaced
from schemas.budget import Budget
from schemas.request import ChatRequest
from tests.cards.cards_support import as_json, book, ids, parse_card, run, said, unhurried, v3, why


def finds(key: str, text: str, **names: Any) -> bool:
    return ids(run(book({"key": [key]}), text, **names)) == ["0"]


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        (r"/\bsword\b/i", "그의 SWORD가 빛났다", True),
        (r"/\bsword\b/", "swords", False),
        (r"/^\x01민준: \w+$/", "검", False),
        (r"/\x01민준: 검$/", "검", True),
        (r"/sword[^]*shield/", "a sword\n\n and a shield", True),
        (r"/sword.*shield/", "a sword\n and a shield", False),
        (r"/sword.*shield/s", "a sword\n and a shield", True),
        (r"/^shield/m", "a sword\nshield", True),
        (r"/^shield/", "shield", False),
        (r"/\u{1F525}/u", "a 🔥 burns", True),
        (r"/\uD83D\uDD25/", "a 🔥 burns", True),
        (r"/[\uD83C-\uDBFF][\uDC00-\uDFFF]/", "a 🔥 burns", True),
        (r"/\u{3}/", "uuu", True),
        (r"/(?<a>bell) \k<a>/", "bell bell", True),
        (r"/(?<a>bell) \k<a>/", "bell book", False),
        (r"/(x)?\1bell/", "bell", True),
        (r"/(?<=the )bell(?! tower)/", "the bell rings", True),
        (r"/(?<=the )bell(?! tower)/", "the bell tower", False),
        (r"/\p{Script=Hangul}{3}/u", "a 가나다", True),
        (r"/\p{L}/", "a", False),
        (r"/[\p{L}--[a-z]]\d/v", "x7 Q7", True),
        (r"/[\p{L}--[a-z]]\d/v", "x7", False),
        (r"/[[a-f]&&[d-k]]\d/v", "x7 b7 e7", True),
        (r"/[^[a-z]\d]/v", "az7", True),
        (r"/http:\/\/sea/", "http://sea", True),
        (r"/a{,2}b/", "a{,2}b", True),
        (r"/[[x]/", "[", True),
        (r"/[a&&b]/", "&", True),
        (r"/\Zoo/", "Zoo", True),
        (r"/\d/", "٣", False),
        (r"/\s/", "a\ufeffb", True),
        (r"/(?i:BELL) Tower/", "bell Tower", True),
        (r"/\x01민준/y", "배", True),
        (r"/배/y", "배", False),
        (r"/bell/g", "a bell", True),
        (r"/bell/dgimsuy", "a BELL", False),
        (r"/\cA민준/", "배", True),
        (r"/[\b]|\101\x42/", "AB", True),
    ],
)  # fmt: skip
def test_a_pattern_means_what_it_means_in_a_browser(key: str, text: str, found: bool) -> None:
    assert finds(key, text) is found


@pytest.mark.parametrize(
    "key", ["/r/games", "/home/user", "/a/b/", "/bell/ii", "/bell/uv", "/bell/x", "//", "/bell"]
)
def test_slashes_that_are_no_pattern_are_plain_text(key: str) -> None:
    assert finds(key, f"see {key} for more")
    assert not finds(key, "r home bell a b games user")


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "[", "a**", "a++", "*", "{1}", "a{2,1}", "[b-a]", "(?>a)", "(?P<n>a)", "(?i)a",
     "(?<n>a)(?<n>b)", r"(?<n>a)\k<m>", r"(?<n>a)\k", "^*", r"\b+", "(?<=a)*", "(?<1>a)", "(?-:a)"],
)  # fmt: skip
def test_what_a_browser_refuses_matches_nothing_and_is_named(pattern: str) -> None:
    outcome = run(book({"key": [f"/{pattern}/", "bell"]}), f"a bell {pattern}")
    assert why(outcome, "0") == "key `bell` in the message"
    assert f"key `/{pattern}/` is no valid pattern" in outcome.warnings


@pytest.mark.parametrize(
    "pattern", [r"\1", "{", "]", r"\-", "a{,2}", "(?=a)*", r"\p{Hangul}", r"\u"]
)
def test_unicode_patterns_are_read_strictly(pattern: str) -> None:
    told = "is no valid pattern"
    assert f"key `/{pattern}/u` {told}" in run(book({"key": [f"/{pattern}/u"]}), "a").warnings
    assert not run(book({"key": [f"/{pattern}/"]}), "a").warnings


def test_what_is_not_supported_is_named_and_so_is_what_is_too_long() -> None:
    long = "/" + "|".join(f"ferry{n:04}" for n in range(300)) + "/"
    deep = "/" + "(" * 200 + "a" + ")" * 200 + "/"
    warnings = run(book({"key": [r"/[\q{ab|c}]/v", long, deep]}), "ferry0001").warnings
    assert [warning.split("` ")[1] for warning in warnings] == [
        r"uses what is not supported: \q{}",
        "is longer than 2,000 characters",
        "uses what is not supported: more than 100 groups inside of each other",
    ]


def test_a_long_list_of_names_is_a_pattern() -> None:
    names = "|".join(f"warden{row:03}" for row in range(180))
    assert finds(f"/(?:{names})/i", "Then Warden179 came")
    assert not finds(f"/(?:{names})/i", "Then Warden200 came")


# Against the real thing

ESCAPES = r"""
\b \B \d \D \w \W \s \S . ^ $ [ab] [^a] [a-c1] [\w-] [^\W\d] [^] [] [가-힣] [a&&b] [[a] [a--b] \- \/
\. \x61 \u0061 \u{61} \u{3} \cA \c \ca \0 \1 \2 \k<n> \k \A \Z \p{L} \P{L} \p{Script=Hangul} \p{Lu}
{ } ] {,2} {1 \8 \07 \t \xg \u12 [\b] [\1] [a-\d] [\d-z] [\cA-\x7f] [\uac00-\ud7a3] \( \e \h \G
"""
ATOMS = [*"abAB1_ -,:=!<>&~#검가剑é", "(?:\\ud83d\\udd25)", *ESCAPES.split()]
QUANTIFIERS = [""] * 12 + ["*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{0,1}?", "{,3}", "++"]
OPENINGS = ["(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?<n>"] * 3 + ["(?>"]


@st.composite
def sources(draw: st.DrawFn, depth: int = 2) -> str:
    """Patterns, most of which JavaScript reads."""
    ways = []
    for _ in range(draw(st.integers(1, 2))):
        way = ""
        for _ in range(draw(st.integers(0, 4))):
            if depth and draw(st.integers(0, 3)) == 0:
                inner = draw(sources(depth=depth - 1))
                way += f"{draw(st.sampled_from(OPENINGS))}{inner})"
            else:
                way += draw(st.sampled_from(ATOMS))
            way += draw(st.sampled_from(QUANTIFIERS))
        ways.append(way)
    return "|".join(ways)


TEXTS = st.text(st.sampled_from("abABc1_ -,\n\r:&~z검가힣剑éÉ🔥\x01\x08[]{}<k8/h.n"), max_size=10)
FLAGS = st.sampled_from(["", "i", "m", "s", "im", "u", "iu", "is", "y", "v", "iv", "um"])

NODE = """
require("readline").createInterface({input: process.stdin}).on("line", line => {
  const [source, flags, texts] = JSON.parse(line);
  let found = null;
  try {
    found = texts.map(text => new RegExp(source, flags).test(text));
  } catch (error) {}
  console.log(JSON.stringify(found));
});
"""


@pytest.fixture(scope="module")
def node() -> Iterator[Callable[..., Any]]:
    """Asks Node.js 20 or newer which texts a pattern matches; None where it is refused."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no Node.js here")
    with subprocess.Popen(
        [program, "-e", NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(*question: Any) -> Any:
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        if ask("[a--b]", "v", ["a"]) != [True]:
            process.terminate()
            pytest.skip("this Node.js is too old")
        yield ask
        process.terminate()


def verdicts(source: str, flags: str, texts: list[str]) -> list[bool] | None:
    """Whether the translation matches; None where it is refused."""
    try:
        translated = javascript.translate(source, flags)
    except javascript.Invalid:
        return None
    compiled = regex.compile(translated.source, cache_pattern=False)
    found = [compiled.search(text, timeout=5) is not None for text in texts]
    for text, matches in zip(texts, found, strict=True):
        if matches and translated.words:
            assert any(word in spaced(text) for word in translated.words), "it needs one of these"
    return found


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=400)
@given(sources(), FLAGS, st.lists(TEXTS, min_size=1, max_size=5))
def test_node_says_the_same(
    node: Callable[..., Any], source: str, flags: str, texts: list[str]
) -> None:
    assume(source.count("(?<n>") < 2)  # twice is allowed in newer ones, in two alternatives
    assert verdicts(source, flags, texts) == node(source, flags, texts)


ODD = st.text(
    st.sampled_from("()[]{}|*+?^$.\\/-&:=!<>kpuxcdwsbBDWSPq{}0123azAZ가é🔥\ud83d\n' "), max_size=40
)


@unhurried
@given(ODD, st.sampled_from(["", "i", "u", "v", "iv", "gimsy"]), ODD)
def test_no_pattern_breaks_a_turn(source: str, flags: str, text: str) -> None:
    budget = Budget()
    index = KeyIndex([Key(f"/{source}/{flags}"), Key(source)])
    index.found(text, budget)
    for _, fault in index.faults:
        assert fault == "is no valid pattern" or fault.startswith("uses what is not supported: ")


# Names


def test_keys_may_name_the_character_and_the_user() -> None:
    entries = [
        {"key": ["{{char}}"]},
        {"key": [r"/\x01{{user}}:[^\x01]*?bell/"]},
        {"key": ["<USER>'s cat"]},
    ]
    called = {
        "세라는?": ["0"],
        "민준, 하늘": [],
        "a bell, a bell": ["1"],
        "that is 민준's cat": ["2"],
    }
    assert {text: ids(run(book(*entries), text)) for text in called} == called


def test_a_name_in_a_pattern_stands_for_itself() -> None:
    key = r"/{{User}} said/"
    assert finds(key, "now Q.E. (x) said", user="Q.E. (x)")
    assert not finds(key, "now QxEx x said", user="Q.E. (x)")
    assert finds("/(?<char>a)b/", "ab"), "the name of a group is none"


def test_chance_has_no_place_in_a_key() -> None:
    assert finds("{{random:a,b}}", "so {{random:a,b}} it is")
    assert not finds("{{random:a,b}}", "a b")


def test_the_names_of_one_chat_are_not_found_in_another() -> None:
    document = book({"key": ["{{user}}", r"/{{user}}s?\b/"]}, {"key": ["bell"]})
    for user, other in (("Ana", "Bo"), ("Bo", "Ana"), ("Ana", "Bo")):
        assert ids(run(document, "x", user=user)) == ["0"], "their own line bears it"
        narrated = said(f"{other} rings the bell")[0].model_copy(update={"role": "narrator"})
        assert ids(run(document, user=user, messages=[narrated])) == ["1"]


def test_a_book_without_names_is_made_ready_once_for_all_chats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    translate = javascript.translate

    def counted(source: str, flags: str) -> javascript.Translation:
        read.append(source)
        return translate(source, flags)

    monkeypatch.setattr(javascript, "translate", counted)
    document = book({"key": ["/once+ only/"]}, {"key": ["/hello {{user}}/"]})
    for user in ("Ana", "Bo", "Ana", "Cy"):
        run(document, "once only", user=user)
    assert sorted(read) == ["hello Ana", "hello Bo", "hello Cy", "once+ only"]


# Scripts


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ปลา", "แม่น้ำนี้มีปลาตัวใหญ่"),
        ("ຫມາ", "ຂ້ອຍມີຫມາໂຕນຶ່ງ"),
        ("ឆ្មា", "ខ្ញុំមានឆ្មាមួយ"),
        ("ကြောင်", "ငါ့မှာကြောင်ရှိတယ်"),
        ("槍", "彼は槍を持つ"),
        ("狐", "白狐狸来了"),
        ("ｱｲｽ", "冷たいｱｲｽを"),
        ("𠮷", "古𠮷野家"),
        ("Jack", "เจอJackที่นี่"),
        ("ferry pilot", "two ferry pilots"),
        ("old Jack", "bold Jackson"),
    ],
)
def test_a_key_is_found_where_no_space_bounds_it(key: str, text: str) -> None:
    assert finds(key, text)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("Jack", "Jackson"),
        ("숲", "은빛숲길"),
        ("붉은 용", "붉은 용사"),
        ("옛 숲", "예옛 숲"),
        ("gate 1", "gate 12"),
        ("2 moons", "12 moons"),
    ],
)
def test_a_word_is_not_found_in_another(key: str, text: str) -> None:
    assert not finds(key, text)


LETTERS = {
    "thai": "กขคงจชดตนปมยรลวสห", "lao": "ກຂຄງຈຊດຕນປມຢລວສຫ", "khmer": "កខគងចជដតនបមយរលវស",
    "burmese": "ကခဂငစဇညတနပဘမယရလဝ", "han": "剑猫水山月火木金土人口", "kana": "あいうアイウのをん",
}  # fmt: skip


@unhurried
@given(st.sampled_from(sorted(LETTERS)), st.data())
def test_any_key_of_an_unspaced_script_is_found_in_its_text(
    script: str, data: st.DataObject
) -> None:
    some = st.text(st.sampled_from(LETTERS[script]), max_size=6)
    key = data.draw(some.filter(bool))
    before, after = data.draw(some | st.just("Jack")), data.draw(some | st.just("Jack"))
    assert finds(key, f"{before}{key}{after}")


PLAIN = st.text(st.sampled_from("abAB 숲길은는에서검사_-,.'’魔の9éกข"), min_size=1, max_size=8)
KEYS = st.builds(Key, PLAIN | PLAIN.map("/{}/i".format), st.booleans(), st.booleans())


@unhurried
@given(
    st.lists(KEYS, min_size=1, max_size=60, unique=True), st.text("abAB 숲길은魔のก'9", max_size=30)
)
def test_keys_that_are_filed_are_found_as_each_is_alone(keys: list[Key], text: str) -> None:
    found = KeyIndex(keys).found(text, Budget())
    alone = {row for row, key in enumerate(keys) if KeyIndex([key]).found(text, Budget())}
    assert found == alone
    for row, key in enumerate(keys):
        words = spaced(key.text)
        if key.text[0] != "/" and not key.case_sensitive and words:
            said_there = stands_in if key.whole_words else str.__contains__
            there = said_there(words, spaced(text)) if key.whole_words else words in spaced(text)
            assert (row in found) == there


# Risu


def risu(*entries: dict[str, Any], **extensions: Any) -> dict[str, Any]:
    """A book as RisuAI writes it."""
    rows = [
        {"keys": ["bell"], "content": f"entry {n}", "enabled": True, "insertion_order": 100,
         "extensions": {"risu_case_sensitive": False}, "use_regex": False, "id": n, **entry}
        for n, entry in enumerate(entries)
    ]  # fmt: skip
    return {"entries": rows, "extensions": {"risu_fullWordMatching": False, **extensions}}


def test_keys_of_a_risu_book_are_parts_of_words() -> None:
    court = {"keys": ["재판"]}
    assert ids(run(risu(court), "모의재판이 열렸다")) == ["0"]
    assert ids(run(risu(court, risu_fullWordMatching=True), "모의재판이 열렸다")) == []
    assert ids(run({"entries": risu(court)["entries"]}, "모의재판이 열렸다")) == ["0"], (
        "by its entries"
    )
    plain = [{**entry, "extensions": {}} for entry in risu(court)["entries"]]
    assert ids(run({"entries": plain}, "모의재판이 열렸다")) == [], "no Risu book"


def test_chance_case_and_commas_of_a_risu_book() -> None:
    rare = [{"extensions": {"risu_activationPercent": 1}} for _ in range(300)]
    assert len(ids(run(risu(*rare), "bell", budget=10_000))) < 20
    exact = {"keys": ["Bell"], "extensions": {"risu_case_sensitive": True}}
    assert ids(run(risu(exact, {}), "a bell")) == ["1"]
    assert ids(run(risu({"keys": ["배, bell ,"]}), "the bell")) == ["0"]
    assert ids(run(risu({"keys": ["/b{1,2}ell/"]}), "the bell")) == ["0"]
    assert ids(run(book({"key": ["배, bell"]}), "the bell")) == [], "elsewhere a comma is a comma"


@pytest.mark.parametrize(
    ("head", "settings_"),
    [
        ("@@end", {"position": "at_depth", "depth": 0}),
        ("@@@end", {"position": "at_depth", "depth": 0}),
        ("@@probability 25", {"probability": 25.0}),
        ("@@match_full_word", {"whole_words": True}),
        ("@@match_partial_word", {"whole_words": False}),
        ("@@unrecursive", {"prevent_recursion": True}),
        ("@@recursive", {"prevent_recursion": False}),
        ("@@no_recursive_search", {"exclude_recursion": True}),
        ("@@priority -5", {"priority": -5}),
        ("@@case_sensitive", {"case_sensitive": True}),
        ("@@position pt_tavern", {"position": "outlet", "outlet": "tavern"}),
        ("@@ignore_on_max_context", {"drop_first": True}),
        ("@@activate_only_after 3", {"delay": 3}),
    ],
)
def test_decorators_of_risu(head: str, settings_: dict[str, Any]) -> None:
    read = parse_book(risu({"content": f"{head}\ntext"}))
    entry = read.entries[0]
    assert entry.content == "text" and not read.warnings
    assert {name: getattr(entry, name) for name in settings_} == settings_


@pytest.mark.parametrize(
    "head", ["inject_lore a", "probability x", "probability 101", "position pt_"]
)
def test_decorators_that_say_nothing_are_named(head: str) -> None:
    read = parse_book(risu({"content": f"@@{head}\ntext"}))
    assert read.entries[0].content == "text"
    assert read.warnings == (f"entry 0: decorator `@@{head.split()[0]}` is not supported",)


def test_each_line_that_asks_for_keys_counts() -> None:
    head = "@@additional_keys sea\n@@additional_keys fog, mist\n@@exclude_keys_all sun, moon\n"
    called = {"bell sea fog": True, "bell sea": False, "bell fog": False,
              "bell sea mist sun": True, "bell sea mist sun moon": False}  # fmt: skip
    found = {text: ids(run(risu({"content": f"{head}text"}), text)) == ["0"] for text in called}
    assert found == called


def test_priority_among_entries_of_a_risu_book() -> None:
    entries: list[dict[str, Any]] = [
        {"insertion_order": 90},
        {"content": "@@priority 10\nentry 1", "insertion_order": 200},
    ]
    assert ids(run(risu(*entries), "bell", budget=2)) == ["0"], "the order is a priority, too"


# Cards


def chat(card: dict[str, Any], text: str, **fields: Any) -> list[str]:
    """What is active of a card's book in the first turn of a chat with it."""
    read = parse_card(as_json(card))
    request = ChatRequest(message=text, persona=to_persona(read), session_id="s", **fields)
    outcome = activate(lore_of(read), Scene.of(request, "User"), budget=999, count=len)
    return [item.entry.name for item in outcome.active]


def entry(name: str, key: str = "bell", **extensions: Any) -> dict[str, Any]:
    return {"keys": [key], "content": f"text of {name}", "name": name, "enabled": True,
            "insertion_order": 1, "extensions": extensions}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Marisol Tern", True), ("Mari", True), ("marisol_tern", True), ("Marisol Tern2", True),
     ("default_Marisol Tern", True), ("Marisol Tern.png", True), ("Tern", False), ("", False)],
)  # fmt: skip
def test_a_filter_knows_every_name_and_the_file_of_a_card(name: str, meant: bool) -> None:
    only = entry("only", character_filter={"isExclude": False, "names": [name], "tags": []})
    never = entry("never", characterFilter={"isExclude": True, "names": [name], "tags": []})
    card = v3(name="Marisol Tern", nickname="Mari", character_book={"entries": [only, never]})
    assert chat(card, "a bell") == (["only"] if meant else ["never"])


SNAKE = ("match_creator_notes", "match_character_depth_prompt", "match_persona_description",
         "match_character_description")  # fmt: skip
CAMEL = ("matchCreatorNotes", "matchCharacterDepthPrompt", "matchPersonaDescription",
         "matchCharacterDescription")  # fmt: skip


@pytest.mark.parametrize(("notes", "depth", "user", "description"), [SNAKE, CAMEL])
def test_texts_for_people_are_scanned_where_an_entry_asks(
    notes: str, depth: str, user: str, description: str
) -> None:
    entries = [
        entry("notes", "starfish", **{notes: True}),
        entry("blind", "starfish"),
        entry("depth", "lantern", **{depth: True}),
        entry("user", "sailor", **{user: True}),
        entry("name", "하늘이 sings", **{description: True}),
    ]
    card = v3(
        creator_notes="Made with starfish.",
        description="{{char}} sings.",
        extensions={"depth_prompt": {"prompt": "Hold the lantern."}},
        character_book={"entries": entries},
    )
    assert chat(card, "hm", user_note="An old sailor.") == ["notes", "depth", "user", "name", ""]
    persona = to_persona(parse_card(as_json(card)))
    texts = persona.model_dump(exclude={"extensions"})
    assert "starfish" not in json.dumps(texts), "for people, and in no prompt"


def test_the_second_of_two_equal_books_says_which_entry_says_the_same() -> None:
    one = book(
        {"key": ["bell"], "comment": "bells", "probability": 50},
        {"key": ["bell"], "comment": "bells", "group": "g"},
        {"key": ["bell"], "group": "g", "content": "{{random:a,b,c,d}}"},
        {"key": ["fog"]},
    )
    both = stack(parse_book(one), parse_book(one))
    for turn in range(20):
        scene = Scene(messages=said("a bell"), char="세라", user="민준", chat=str(turn))
        outcome = activate(both, scene, budget=999, count=len)
        assert all(item.entry.id.startswith("0.") for item in outcome.active)
        for row in range(3):
            assert why(outcome, f"1.{row}") == f"says the same as `0.{row}`"
        assert why(outcome, "1.3") == "no key found"
