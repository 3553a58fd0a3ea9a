"""Chats of every program are read for what they are, and come back from what is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cards.chats.chat import Chat
from cards.chats.foreign import FORMS as KNOWN
from cards.chats.writing import as_json, as_jsonl
from cards.forms import Document
from cards.read import FORMS as ALL
from cards.read import read_any
from replies.tags import fold
from schemas.errors import BadRequest
from tests.cards.chat_forms import CHARACTER, FORMS, RUNNING, TIMED, USER, Said, at, written

LINES = (Said(False, "Mind the gap."), Said(True, "응, 보여."), Said(False, "Good."))


def read(content: bytes | str | Any, **names: Any) -> Chat:
    if not isinstance(content, bytes | str):
        content = json.dumps(content)
    chat = read_any(content.encode() if isinstance(content, str) else content, **names)
    assert isinstance(chat, Chat)
    return chat


def short(chat: Chat) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat.messages]


def expected(name: str, lines: Any) -> list[tuple[str, str]]:
    mark = "!" * (name == "telegram")
    return [("user" if it.by_user else "character", it.text + mark) for it in lines]


@pytest.mark.parametrize("name", FORMS)
def test_a_chat_of_each_program_is_read_for_what_it_is(name: str) -> None:
    chat = read(written(name, LINES), user=USER)
    assert chat.form == FORMS[name][0]
    assert short(chat) == expected(name, LINES)
    assert chat.lines == len(LINES) or name in ("agnai", "risu all")
    assert {it.name for it in chat.messages} <= {None, USER, CHARACTER, "User", "Model"}
    if name in TIMED:
        assert [it.timestamp for it in chat.messages] == [at(row) for row in range(3)]


@pytest.mark.parametrize("name", FORMS)
def test_a_chat_has_one_form_only(name: str) -> None:
    try:
        value = json.loads(written(name, LINES))
    except ValueError:
        return
    fitting = [form.name for form in ALL if form.fits(value)]
    assert len(fitting) == 1 and fitting[0] in {form.name for form in KNOWN}


TEXTS = st.text(min_size=1, max_size=20).map(
    lambda text: text.encode("utf-8", "replace").decode().replace("\0", "")
).filter(lambda text: text.strip())  # fmt: skip
WORDS = st.lists(st.sampled_from(["숲", "바다", "the", "fog"]), min_size=1, max_size=4).map(
    " ".join
)


@st.composite
def chats(draw: st.DrawFn) -> tuple[str, list[Said]]:
    name = draw(st.sampled_from(sorted(FORMS)))
    words = WORDS if name in RUNNING else TEXTS
    more = draw(st.lists(st.tuples(st.booleans(), words), max_size=4))
    return name, [Said(False, draw(words)), Said(True, draw(words)), *(Said(*it) for it in more)]


@settings(deadline=None, max_examples=300)
@given(chats())
def test_what_is_read_is_what_was_said_and_survives_writing(chat: tuple[str, list[Said]]) -> None:
    name, lines = chat
    first = read(written(name, lines), user=USER)
    assert short(first) == expected(name, lines)
    again = read(as_jsonl(first).content)
    assert again.messages == first.messages and again.swipes == first.swipes
    assert read(as_json(first).content).messages == first.messages


NAMED = (
    *("sillytavern", "sillytavern list", "chub", "agnai", "cai tools", "turns", "discord"),
    *("telegram", "names only", "transcript", "kobold chat", "united"),
)


@pytest.mark.parametrize("name", NAMED)
def test_the_callers_name_of_the_user_decides_in_every_form_with_names(name: str) -> None:
    chat = read(written(name, [*LINES, Said(True, "Bye.")]), user=CHARACTER.upper())
    assert [it.role for it in chat.messages] == ["user", "character", "user", "character"]
    again = read(as_jsonl(chat).content)
    assert [it.role for it in again.messages] == ["user", "character", "user", "character"]
    assert fold(again.user or "") == fold(CHARACTER) and again.character == USER


def test_names_alone_do_not_say_who_the_user_is() -> None:
    content = written("names only", LINES)
    with pytest.raises(BadRequest, match=f"one of `{CHARACTER}`, `{USER}`; give the user's name"):
        read(content)
    with pytest.raises(BadRequest, match="give the user's name"):
        read(content, user="Somebody")
    for names in ({"user": USER}, {"character": CHARACTER}):
        assert short(read(content, **names)) == expected("", LINES)
    known = content.replace(json.dumps(USER)[1:-1].encode(), b"You")
    assert short(read(known)) == expected("", LINES)


def test_of_two_strangers_in_a_text_the_second_is_the_user_and_that_is_said() -> None:
    chat = read(written("transcript", LINES))
    assert short(chat) == expected("", LINES)
    assert any(f"`{USER}` is taken for the user" in told for told in chat.warnings)
    assert not read(written("transcript", LINES), user=USER).warnings
    with pytest.raises(BadRequest, match="one of `A`, `B`, `C`"):
        read("A: one\nB: two\nC: three\nA: four\nB: five\nC: six")


def test_of_several_chats_the_newest_is_read_and_that_is_said() -> None:
    def chat(text: str, when: str | None) -> dict[str, Any]:
        rows = [{"role": "user", "content": text}]
        return {"updated_at": when, "messages": rows} if when else {"messages": rows}

    dated = [chat("old", "2024-01-01T00:00:00Z"), chat("new", "2025-01-01T00:00:00Z")]
    for value in (dated, {"chats": dated}):
        read_one = read(value)
        assert short(read_one) == [("user", "new")]
        assert read_one.warnings == ("read chat 2 of 2; the others are left out",)
    undated = read([chat("first", None), chat("second", None)])
    assert short(undated) == [("user", "first")] and "chat 1 of 2" in undated.warnings[0]
    empty = [{"updated_at": "2026-01-01T00:00:00Z", "messages": []}, *dated]
    assert short(read(empty)) == [("user", "new")]


def test_a_story_without_speakers_is_narration_and_deeds_are_the_users() -> None:
    save = {
        "gamestarted": True,
        "prompt": "Fog. ",
        "actions": ["It lifts.", "\n> look\n", "A ship."],
    }
    assert short(read({**save, "memory": "m"})) == [
        ("narrator", "Fog. It lifts."), ("user", "look"), ("narrator", "A ship."),
    ]  # fmt: skip
    told = read({**save, "actions": ["It lifts."], "worldinfo": [{"key": "a"}]})
    assert short(told) == [("narrator", "Fog."), ("narrator", "It lifts.")]
    assert told.warnings == ("not read: its world info",)


def test_a_request_of_one_line_is_no_log_and_all_chats_of_telegram_are_several() -> None:
    lines = [{"role": "user", "content": "a"}, {"role": "character", "content": "b"}]
    body = {"message": "c", "user_name": USER, "persona": {"name": "Mara"}, "history": lines}
    request = read(body)
    assert [it.content for it in request.messages] == ["a", "b"]
    assert (request.user, request.character) == (USER, "Mara")
    value = {"chats": {"about": "", "list": [json.loads(written("telegram", LINES))]}}
    assert short(read(value, user=USER)) == expected("telegram", LINES)


def test_what_risu_keeps_beside_the_messages_is_said() -> None:
    assert read(written("risu", LINES)).warnings == ("not read: its note, its summaries",)


def test_tools_and_thoughts_are_no_lines_of_the_chat() -> None:
    rows = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": [{"type": "tool_use"}, {"type": "text", "text": "Rain."},
                                          {"type": "image_url", "image_url": {"url": "x"}}]},
    ]  # fmt: skip
    chat = read(rows)
    assert short(chat) == [("user", "Weather?"), ("character", "Rain.\n[picture]")]
    assert chat.warnings == ("2 tool lines are left out", "1 tool part is left out")


def test_versions_of_a_reply_are_kept() -> None:
    said = [("a0", False), ("a1", True), ("b0", False), ("b1", True), ("b2", False)]
    rows = [{"is_bot": True, "is_main": main, "message": text} for text, main in said]
    chat = read({"chatMessages": [*rows, {"is_bot": False, "message": "Hm."}]})
    assert short(chat) == [("character", "a1"), ("character", "b1"), ("user", "Hm.")]
    assert chat.swipes == {0: (("a0", "a1"), 1), 1: (("b0", "b1", "b2"), 1)}
    saved = [json.loads(line) for line in as_jsonl(chat).content.splitlines()]
    assert saved[2]["swipes"] == ["b0", "b1", "b2"] and saved[2]["swipe_id"] == 1
    assert as_json(chat).warnings[0].startswith("the swipes of 2 lines cannot be kept")


def test_a_picture_without_words_is_a_line_of_sillytavern() -> None:
    chat = read(log(row("", extra={"image": "a.png"}), row("b")))
    assert short(chat) == [("character", "[picture]"), ("character", "b")]


PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 10_000 + "=="


@pytest.mark.parametrize("text", [
    f"look {PICTURE} there", f"look ![p]({PICTURE}) there", f'look <img src="{PICTURE}"> there',
    f"look ![]({PICTURE} 'x') there",
])  # fmt: skip
@pytest.mark.parametrize("name", sorted(set(FORMS) - {"telegram"}))
def test_a_pasted_picture_costs_no_more_than_itself(name: str, text: str) -> None:
    chat = read(written(name, [*LINES, Said(True, text)]), user=USER)
    assert short(chat)[-1] == ("user", "look [picture] there")


def log(*rows: Any, head: Any = None) -> str:
    first = head or {"user_name": USER, "character_name": CHARACTER, "chat_metadata": {"a": 1}}
    return "\n".join(it if isinstance(it, str) else json.dumps(it) for it in (first, *rows))


def row(text: Any, **fields: Any) -> dict[str, Any]:
    return {"name": CHARACTER, "is_user": False, "mes": text, **fields}


@pytest.mark.parametrize(
    ("rows", "said", "warning"),
    [
        ([row("a"), row("b"), '{"name": "x", "mes": "c'], "ab",
         "1 of 3 lines damaged and left out: line 4"),
        ([row("a"), "\0\0\0", row("b")], "ab", "1 of 3 lines damaged and left out: line 3"),
        ([row("a"), {"name": "x", "words": "c"}, row("b")], "ab",
         "1 of 3 lines have no text that is known here; their keys are `name`, `words`"),
        ([row("a"), row("b", is_system=True)], "a", "1 hidden line is left out"),
        ([row("a"), row(""), row("")], "a", "2 empty lines are left out"),
        ([row("a"), row(7)], "a7", None),
        ([row("a", send_date="some day")], "a", "1 time is not understood"),
    ],
)  # fmt: skip
def test_one_bad_line_does_not_cost_a_chat(rows: list[Any], said: str, warning: str | None) -> None:
    chat = read(log(*rows))
    assert "".join(it.content for it in chat.messages) == said
    assert chat.warnings == ((warning,) if warning else ())
    again = read(as_jsonl(chat).content)
    assert again.messages == chat.messages
    assert not any("damaged" in told for told in again.warnings)


def test_a_damaged_header_costs_the_header() -> None:
    chat = read("\n".join(['{"user_name": "R', json.dumps(row("a")), json.dumps(row("b"))]))
    assert [it.content for it in chat.messages] == ["a", "b"]
    assert chat.warnings == ("1 of 3 lines damaged and left out: line 1",)


def test_a_line_longer_than_a_message_is_cut_and_that_is_said() -> None:
    for content in (log(row("x" * 100_001)), f"You: {'x' * 100_001}\nMara: a"):
        chat = read(content)
        assert len(chat.messages[0].content) == 100_000
        assert chat.warnings[0] == "1 line is cut after 100,000 characters"


@pytest.mark.parametrize("bad", ['{"name": "x', '{"name": "x", "words": "c"}'])
def test_of_which_more_than_half_is_unread_is_refused(bad: str) -> None:
    with pytest.raises(BadRequest, match="2 of 3 lines"):
        read(log(bad, row("a"), bad))
    with pytest.raises(BadRequest, match="1 of 1 lines"):
        read(log(bad))


def test_a_log_that_came_as_lines_is_written_as_it_was() -> None:
    hidden = row("hidden by hand", is_system=True)
    swiped = row("A", swipes=["A", "B"], swipe_id=0, extra={"bookmark_link": "Branch #1"})
    for end in ("", "\n"):
        content = (log(swiped, hidden, row("B \\ud83d", is_user=True)) + end).encode()
        chat = read(content)
        assert as_jsonl(chat).content == content
        assert as_jsonl(chat, user=USER, character=CHARACTER).content == content
        assert as_json(chat).warnings == (
            "the swipes of 1 line, 1 hidden line and the chat's metadata cannot be kept in JSON; "
            "write .jsonl to keep them",
            "other fields of its lines are left out: `extra.bookmark_link`",
        )
        renamed = as_jsonl(chat, user="Min").content.split(b"\n", 1)
        assert json.loads(renamed[0])["user_name"] == "Min"
        assert renamed[1] == content.split(b"\n", 1)[1]
    assert not as_json(read(log(row("a"), head={"user_name": "R"}))).warnings


def test_fields_that_a_message_has_no_place_for_are_named() -> None:
    rows = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "mood": "wry"}]
    for made in (as_json(read(rows)), as_jsonl(read(rows))):
        assert made.warnings == ("other fields of its lines are left out: `mood`",)
    assert not as_json(read(rows[:1])).warnings


def test_objects_of_chub_are_written_as_texts_and_all_else_stays() -> None:
    content = as_jsonl(read(written("chub", LINES))).content
    rows = [json.loads(line) for line in content.splitlines()]
    assert rows[1]["mes"] == "Mind the gap." and rows[1]["swipes"] == ["Mind the gap.", "other"]
    assert rows[0]["chat_metadata"] == {"note_depth": 4}


def test_other_codings_of_windows_are_read_and_said() -> None:
    text = "세라: 어서 와, 민준아~ ㅋㅋ\n나: 응… 안녕!"
    for coding, words in (("cp949", "CP949"), ("utf-16", "UTF-16")):
        chat = read(text.encode(coding))
        assert short(chat) == [("character", "어서 와, 민준아~ ㅋㅋ"), ("user", "응… 안녕!")]
        assert len(chat.warnings) == 1 and words in chat.warnings[0]
    assert short(read(log(row("안녕")).encode("utf-16")))
    assert short(read(log(row("Hello there")).encode("utf-16-le"))) == [
        ("character", "Hello there")
    ]
    assert short(read("\ufeff" + log(row("안녕")).replace("\n", "\r\n"))) == [("character", "안녕")]
    for other in ("Müller: schön, größer\nYou: ja", "Élodie: été déjà\nYou: où"):
        with pytest.raises(BadRequest, match="UTF-8"):
            read(other.encode("latin-1"))
    with pytest.raises(BadRequest, match="UTF-8"):
        read("マラ: ようこそ、船へ\nYou: はい".encode("shift_jis"))


@pytest.mark.parametrize("text", [
    "[02/01/24, 15:05:33] Mara Vale: one\n[02/01/24, 15:06:33] 로빈: two\nmore",
    "02/01/2024, 15:05 - Mara Vale: one\n02/01/2024, 15:05 - 로빈: two\nmore",
    "로빈 님과 카카오톡 대화\n저장한 날짜 : 2024-01-02 15:05:33\n\n"
    "--------------- 2024년 1월 2일 화요일 ---------------\n"
    "[Mara Vale] [오후 3:05] one\n[로빈] [오후 3:06] two\nmore",
    "2024년 1월 2일 오후 3:05, Mara Vale : one\n2024년 1월 2일 오후 3:06, 로빈 : two\nmore",
    "--Mara Vale\none\n\n--로빈\ntwo\nmore",
    "### Mara Vale\none\n### 로빈\ntwo\nmore",
    "**Mara Vale:** one\n\n**로빈:** two\nmore",
    "[Mara Vale]: one\n[로빈]: two\nmore",
])  # fmt: skip
def test_texts_of_messengers(text: str) -> None:
    chat = read(text, user=USER)
    assert short(chat) == [("character", "one"), ("user", "two\nmore")]


@pytest.mark.parametrize("text", [
    "로빈 님과 카카오톡 대화\n저장한 날짜 : 2024-01-02 15:05:33\n\n"
    "--------------- 2024년 1월 2일 화요일 ---------------\n"
    "[Mara Vale] [오후 11:59] one\nMara Vale님이 나갔습니다.\n"
    "로빈님이 Mara Vale님을 초대했습니다.\n--------------- 2024년 1월 3일 수요일 ---------------\n"
    "[로빈] [오전 12:00] two\n선생님이 나갔습니다.",
    "2024년 1월 2일 오후 11:59\n2024년 1월 2일 오후 11:59, Mara Vale : one\n"
    "2024년 1월 3일 오전 12:00\n2024년 1월 3일 오전 12:00, 로빈 : two\n선생님이 나갔습니다.",
    "2024년 1월 2일 화요일\n2024. 1. 2. 오후 11:59, Mara Vale : one\n"
    "2024년 1월 3일 수요일\n2024. 1. 3. 오전 12:00, 로빈 : two\n선생님이 나갔습니다.",
])  # fmt: skip
def test_what_a_messenger_tells_between_the_messages_is_nobodys_words(text: str) -> None:
    chat = read(text, user=USER)
    assert short(chat) == [("character", "one"), ("user", "two\n선생님이 나갔습니다.")]


@pytest.mark.parametrize("text", [
    "### Instruction:\none\n\n### Response:\ntwo\nmore",
    "## Prompt:\none\n\n## Response:\ntwo\nmore",
    "You said:\none\n\nChatGPT said:\ntwo\nmore",
    "# Tides\n\n**User:**\n\none\n\n**ChatGPT:**\n\ntwo\nmore",
    "# Tides\n\n**User:** one\n\n**Mara:** two\nmore",
    "You:\none\n\nMara:\ntwo\nmore",
    "Me: one\nMara: two\nmore",
    "Q: one\nA: two\nmore",
    "- User: one\n- Mara: two\nmore",
    "- role: user\n  content: one\n- role: assistant\n  content: |-\n    two\n    more\n",
    "messages:\n- content: one\n  role: user\n- content: |-\n    two\n    more\n  role: assistant",
    "저장한 날짜 : 2024년 1월 2일 오후 3:06\n\n2024년 1월 2일 오후 3:05, 회원님 : one\n"
    "2024년 1월 2일 오후 3:06, 마라 : two\nmore",
])  # fmt: skip
def test_texts_whose_words_tell_the_user(text: str) -> None:
    chat = read(text)
    said = [row for row in short(chat) if row[0] != "narrator"]
    assert said == [("user", "one"), ("character", "two\nmore")] and not any(
        "taken for" in warning for warning in chat.warnings
    )


@pytest.mark.parametrize("notice", [
    "마라님이 나갔습니다.", "마라님이 들어왔습니다.", "로빈님이 마라님을 초대했습니다.",
    "2024. 1. 2. 오후 3:06: 로빈님이 마라님을 초대했습니다.",
])  # fmt: skip
def test_notices_of_a_messenger_are_nobodys_words(notice: str) -> None:
    for first, second in (
        ("[마라] [오후 3:05]", "[로빈] [3:06 PM]"),
        ("2024. 1. 2. 오후 3:05, 마라 :", "2024. 1. 2. 오후 3:06, 로빈 :"),
    ):
        chat = read(f"Date Saved : 2024-01-02 15:05:33\n\n{first} one\n{second} two\n{notice}\n",
                    user="로빈")  # fmt: skip
        assert short(chat) == [("character", "one"), ("user", "two")]


def test_a_name_that_opens_one_line_is_told() -> None:
    text = "Mara: one\nRobin: two\nGuard: halt\nMara: three\nRobin: four"
    chat = read(text, user="Robin")
    assert [warning for warning in chat.warnings if "`Guard` may be a speaker" in warning]
    named = read(text, user="Robin", character="Guard")
    assert ("character", "halt") in short(named) and not named.warnings


def test_a_log_of_a_program_is_no_chat() -> None:
    with pytest.raises(BadRequest, match="Name: words"):
        read(
            "".join(
                f"2024-01-02 10:00:0{n} {word}: x\n"
                for n, word in enumerate(("INFO", "ERROR", "WARN", "INFO"))
            )
        )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("columns", ["Date,User,Message", "날짜,이름,내용", "time,speaker,text"])
def test_tables(columns: str, delimiter: str) -> None:
    words = f'two{delimiter} and ""three""\nmore\u2028 still'
    rows = (("2024-01-02 15:05:33", "Mara Vale", "one: 1"),
            ("2024-01-02 15:06:33", "로빈", f'"{words}"'))  # fmt: skip
    text = "\r\n".join(delimiter.join(row) for row in (columns.split(","), *rows))
    chat = read("\ufeff" + text, user=USER)
    assert short(chat) == [("character", "one: 1"), ("user", words.replace('""', '"'))]
    assert all(message.timestamp for message in chat.messages) and not chat.warnings
    assert short(read(f"role{delimiter}content\nuser{delimiter}a\nassistant{delimiter}b")) == [
        ("user", "a"), ("character", "b"),
    ]  # fmt: skip


def test_tables_lose_nothing_in_silence() -> None:
    chat = read("name,text\nMara,one, two\nRobin,three\nMara", user="Robin")
    assert short(chat) == [("character", "one, two"), ("user", "three")]
    assert "1 of 3 lines have no text" in chat.warnings[0]
    chat = read("text,name,mood\none, two,Mara,sad\nthree,Robin,\nfour,Mara,glad", user="Robin")
    assert short(chat) == [("user", "three"), ("character", "four")]
    assert "damaged and left out: line 2" in chat.warnings[0] and chat.others == ("mood",)
    with pytest.raises(BadRequest, match="damaged table at line 3"):
        read('name,text\nMara,one\nRobin,"two')
    with pytest.raises(BadRequest, match="damaged table at line 2"):
        read("name,text\nMara" + "," * 200_000)
    for text in ("id,price\n1,2", "name,description\nMara,A pilot", "text\none"):
        with pytest.raises(BadRequest, match="Name: words"):
            read(text)


@pytest.mark.parametrize(("content", "words"), [
    (b"{\\rtf1\\ansi Mara: one\\par Robin: two}", "an RTF document"),
    (b"<html><p>Mara: one</p></html>", "a web page"),
    (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<p>Mara: one</p>", "a web page"),
    (b"Mara: \0\0\1\nRobin: \0", "is no text"),
])  # fmt: skip
def test_what_only_holds_a_text_is_named(content: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read(content)


def test_what_somebody_does_behind_a_name_is_of_the_words() -> None:
    chat = read(
        "Mara (smiling): one\nRobin: two\nMara(angry): three\nRobin (AI): four", user="Robin"
    )
    assert short(chat) == [
        ("character", "(smiling) one"), ("user", "two"),
        ("character", "(angry) three"), ("user", "(AI) four"),
    ]  # fmt: skip
    assert {message.name for message in chat.messages} == {"Mara", "Robin"}
    chat = read("Mara (AI): one\nRobin: two\nMara (AI): three", user="Robin")
    assert chat.messages[0].name == "Mara (AI)" and short(chat)[0] == ("character", "one")


def test_indented_words_with_colons_are_no_yaml() -> None:
    chat = read(
        "Mara: it reads\n  role: guard\n  content: none\nRobin: ok\nMara: bye", user="Robin"
    )
    assert short(chat)[0] == ("character", "it reads\n  role: guard\n  content: none")


def test_flags_in_words() -> None:
    flags = (("Mara", "false"), ("Robin", "True"), ("Mara", 0), ("Robin", 1))
    rows = [{"name": name, "is_user": flag, "is_system": "false", "mes": "x"}
            for name, flag in flags]  # fmt: skip
    chat = read("\n".join(json.dumps(row) for row in rows))
    assert [role for role, _ in short(chat)] == ["character", "user"] * 2


def test_a_status_line_with_a_time_is_part_of_its_message() -> None:
    status = "[12:30] 장소: 부두\n[오후 3:05] 날씨: 비"
    chat = read(f"세라: 어서 와\n{status}\n민준: 응\n세라: 그래\n{status}\n민준: 가자", user="민준")
    assert short(chat) == [
        ("character", f"어서 와\n{status}"), ("user", "응"),
        ("character", f"그래\n{status}"), ("user", "가자"),
    ]  # fmt: skip


def test_a_text_with_headings_is_no_chat() -> None:
    for text in (
        "services:\n  db:\n    image: sea\nvolumes:\n  data: {}",
        "".join(f"{key}: [*{key}, *{key}]\n" for key in "abcdefgh"),
        "# The tide\nIt rose.\n# The ebb\nIt fell.",
        "--One\na\n--Two\nb\n--One\nc",
    ):
        with pytest.raises(BadRequest, match="Name: words"):
            read(text)


KEYS = (
    *("messages", "message", "msgs", "history", "histories", "chat", "chats", "data", "internal"),
    *("visible", "turns", "candidates", "author", "src", "is_human", "name", "mapping", "parent"),
    *("current_node", "chat_messages", "sender", "chatMessages", "is_bot", "is_main", "type"),
    *("outputs", "text", "content", "parts", "role", "from", "value", "conversations", "mes"),
    *("swipes", "swipe_id", "is_user", "user_name", "chat_metadata", "actions", "prompt", "msg"),
    *("gamestarted", "savedsettings", "opmode", "handle", "userId", "retries", "children"),
    *("isCreatedByUser", "currentId", "channel", "from_id", "created_at", "metadata", "extra"),
)
LEAVES = (
    st.none() | st.booleans() | st.integers(-1, 5) | st.floats(allow_nan=False)
    | st.sampled_from(["", "a", "Mara: b", "user", "assistant", "human", "ai", "risuChat", "m0"])
)  # fmt: skip
ANY = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(deadline=None, max_examples=500)
@given(ANY | st.tuples(st.sampled_from(KEYS), st.lists(ANY)).map(lambda it: {it[0]: it[1]}))
def test_any_json_has_one_form_of_a_chat_at_most_and_is_read_or_refused(value: Any) -> None:
    assert sum(form.fits(value) for form in KNOWN) <= 1
    for form in KNOWN:
        if form.fits(value):
            try:
                chat = form.read(Document(value=value))
            except BadRequest as error:
                assert error.message and "\n" not in error.message
                continue
            assert chat.messages and all(it.content for it in chat.messages)
            assert read(as_jsonl(chat).content).messages == chat.messages
