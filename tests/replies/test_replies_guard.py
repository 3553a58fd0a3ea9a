"""The reply stops where its writer stops speaking, and nothing else is lost."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replies.reply import StreamReader, read_reply
from replies.tags import Cast
from schemas.formats import CONTROL_TOKENS, FORMATS, Format
from schemas.response import ParsedReply
from tests.replies.reading import cast_of, parse_reply

CAST: dict[str, Any] = {
    "speaker": "character",
    "persona_names": ("세라피나", "Seraphina"),
    "user_name": ("민준", "Bart Simpson"),
    "others": ("Elara", "경비병"),
}


def read(raw: str, **changes: Any) -> ParsedReply:
    return parse_reply(raw, **{**CAST, **changes})


@pytest.mark.parametrize(
    "tag",
    [
        *("민준:", "민준 :", "민준：", "**민준**:", "**민준:**", "<민준>:", "[민준]:", "「민준」:"),
        *("민준이:", "민준 선배:", "민준오빠 :"),
        *("*민준*:", "민준 님:", "민준(웃으며):", "## 민준:", "> 민준:", "🙂 민준:", "민준 🙂:"),
        *("bart simpson:", "BART:", "Bart (quietly):", "  Bart\u00a0:", "- Bart: “"),
        *("User:", "You:", "{{user}}:", "<USER>:", "사용자:", "나:", "Human:"),
        unicodedata.normalize("NFD", "민준:"),
    ],
)
def test_cuts_at_every_form_of_the_users_tag(tag: str) -> None:
    reply = read(f"어서 와.\n{tag} 응, 왔어.\n세라피나: 배고파?")
    assert (reply.text, reply.cuts, reply.regenerate) == ("어서 와.", ("user_tag",), False)


@pytest.mark.parametrize(
    "raw",
    [
        "지금은 12:30이야. 회의는 3시: 늦지 마.",
        "Note: stay left. Remember: 3:1.\n참고: 다리가 끊겼어.",
        "민준 :) 왔구나!\n민준 :D\nBart :3\n민준:)",
        "민준아, 들어 봐.\n민준… 제발.\nBart, wait!\nBartholomew: that is a name.",
        "Listen, Bart: you are brave. Bart: the brave. One word for Bart: patience.",
        "편은 이렇게 나눈다.\n- 민준: 청팀\n- Elara: 백팀",
        "나이: 스물셋. 키: 비밀.",
        "사용자 설명서: 어디 있지? 나는: 그러니까...",
        "재밌다 >_<\n아 >_<",
        "I <3 you and 1 < 2 [really], see <b> and #5.",
        "He is 6'2\" tall: rock 'n' roll.",
        "‘왜 이렇게 늦었지?’ 그녀는 생각했다.",
    ],
)
def test_keeps_what_is_no_tag(raw: str) -> None:
    reply = read(raw)
    assert (reply.text, reply.cuts) == (raw, ())


@pytest.mark.parametrize(
    ("before", "listed"),
    [
        ("The team:", True),
        ("The teams are as follows.", True),
        ("역할은 이래：", True),
        ("오늘의 당번", True),
        ("- Yuna: red", True),
        ("She smiles.", False),
        ("문을 열어 준다.", False),
    ],
)
@pytest.mark.parametrize("item", ["- Bart: blue", "* **민준**: 청팀", "• 민준 : 청팀"])
def test_an_item_of_a_list_is_no_tag(before: str, listed: bool, item: str) -> None:
    """Where a list was announced or has begun; elsewhere a dash opens speech."""
    assert read(f"{before}\n{item}").text == (f"{before}\n{item}" if listed else before)
    assert read(f"{before}\n{item.split(':')[0]}: “응.”").text == before


marks = st.text("*_#>~–—•·[](){}<>【】.,!?…♡ 🙂\u200b\u2066|/=+@", max_size=5)


@given(marks, marks, st.sampled_from(["민준", "Bart Simpson", "User"]), st.sampled_from(":："))
def test_any_marks_may_stand_around_the_name(
    before: str, behind: str, name: str, colon: str
) -> None:
    tag = f"{before}{name}{behind}{colon}"
    assert read(f"어서 와.\n{tag} 응, 왔어.").text == "어서 와."


def test_cuts_behind_a_sentence_only_what_cannot_be_prose() -> None:
    assert read('"왔네." 그녀가 웃었다. 민준: "응."').text == '"왔네." 그녀가 웃었다.'
    assert read("Come in. <Bart>: fine").text == "Come in."
    assert read("Come in. USER: fine ASSISTANT: good").text == "Come in."
    assert read("Come in. Bart: a fine name.").text == "Come in. Bart: a fine name."


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("세라피나: 안녕.", "안녕."),
        ("**Seraphina:** *bows* Hi.", "*bows* Hi."),
        ("세라피나: 세라피나: 안녕.", "안녕."),
        ("*세라피나: 고개를 숙인다* 안녕.", "*고개를 숙인다* 안녕."),
        ("세라피나 (속삭이며): 안녕.", "(속삭이며) 안녕."),
        ("안녕.\n\n세라피나:\n배고파?\n<Assistant>: 응?", "안녕.\n\n배고파?\n응?"),
        ("“세라피나: 안녕.”", "안녕."),
    ],
)
def test_drops_own_tags_and_nothing_with_them(raw: str, text: str) -> None:
    reply = read(raw)
    assert reply.text == text
    assert "own_tag" in reply.cuts


def test_reports_to_whom_the_model_hands_over() -> None:
    assert read("안녕.\nElara: Hello.").next_speaker == "Elara"
    assert read("안녕.\n\n경비병 : 멈춰!").next_speaker == "경비병"
    assert read("안녕.\n해설: 비가 내린다.").next_speaker == "narrator"
    told = read("비가 내린다.\n세라피나: 추워.", speaker="narrator")
    assert (told.text, told.next_speaker) == ("비가 내린다.", "세라피나")
    assert read("Narrator: It rains.", speaker="narrator").text == "It rains."
    assert read("안녕.\n민준: 응.").next_speaker is None


def test_a_reply_that_begins_for_someone_else_is_asked_for_again() -> None:
    alone = read("민준: 나야.")
    assert (alone.text, alone.contents, alone.regenerate) == ("", [], True)
    with_answer = read("민준: 나야.\n세라피나: 어서 와.")
    assert (with_answer.text, with_answer.regenerate) == ("어서 와.", True)
    assert read("Elara: Hello.").regenerate
    assert read("세라피나: 안녕.").regenerate is False


@pytest.mark.parametrize(
    "raw", ["", " \n ", "<|im_end|>", "</s>", '""', "---\n민준: 응", "세라피나:"]
)
def test_nothing_left_is_never_silent(raw: str) -> None:
    reply = read(raw)
    assert (reply.text, reply.regenerate) == ("", True)


OF_FORMATS = sorted(
    {
        *CONTROL_TOKENS,
        *(token for form in FORMATS.values() if not form.tokens_are_text for token in form.tokens),
        *(f"\n{mark}" for form in FORMATS.values() for mark in form.headings if mark[0] == "#"),
    }
)
"""What no reply may hold, in whichever format it was asked for; names are tags."""


@pytest.mark.parametrize(
    "token",
    [*OF_FORMATS, "<｜User｜>", "<|user|>", "<|anything|>", "\n## Response :"],
)
def test_cuts_at_the_control_tokens_of_every_format(token: str) -> None:
    raw = f"잘 자.{token}user\n응"
    reply = read(raw)
    assert (reply.text, reply.cuts) == ("잘 자.", ("format_token",))
    live, shown = StreamReader(cast_of(**CAST)), []
    for letter in raw:
        shown += [event for event in live.feed(letter) if isinstance(event, str)]
    assert "".join(shown) == "잘 자." and live.done


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_what_a_format_writes_around_a_reply_is_no_part_of_it(form: Format) -> None:
    """Its own header before the words, as models repeat it, and the border behind them."""
    before, behind = form.assistant
    for raw in (before + "잘 자." + behind, before + "세라피나: 잘 자." + behind + form.user[0]):
        assert read(raw, stops=form.stops).text == "잘 자."


@pytest.mark.parametrize("token", OF_FORMATS)
def test_no_torn_token_is_left(token: str) -> None:
    for end in range(2, len(token)):
        if token[:end].strip("\n# "):
            assert read("잘 자." + token[:end]).text == "잘 자.", token[:end]


@pytest.mark.parametrize(
    "torn", ["<", "<|", "<|im_e", "</s", "[IN", "[/INST", "<start_of", "\n### Instr", "[|endof"]
)
def test_removes_a_torn_token(torn: str) -> None:
    assert read(f"잘 자.{torn}").text == "잘 자."


def test_removes_a_torn_stop_string() -> None:
    stops = ("\n민준:", "\n\nTHE END", "***")
    assert read("잘 자.\n민준", stops=stops).text == "잘 자."
    assert read("잘 자.\n민준").text == "잘 자.\n민준"  # no stop string: he is called by his name
    assert read("잘 자.\n민", stops=stops).text == "잘 자.\n민"
    assert read("잘 자.\n민", stops=stops, finish_reason="length").text == "잘 자."
    assert read("잘 자.\n\nTHE E", stops=stops, finish_reason="length").text == "잘 자."
    assert read("*웃는다*", stops=stops).text == "*웃는다*"
    assert read("사랑해, 민준", stops=("민준:",)).text == "사랑해, 민준"


def test_stop_strings_that_the_engine_let_through() -> None:
    reply = read("잘 자. THE END 또 봐.", stops=("THE END",))
    assert (reply.text, reply.cuts) == ("잘 자.", ("stop",))
    tagged = read("잘 자.\nElara: Hi.", stops=("\nElara:",))
    assert (tagged.text, tagged.next_speaker) == ("잘 자.", "Elara")


def test_drops_the_prompts_own_header_and_hidden_thinking() -> None:
    assert read("<|im_start|>assistant\n안녕.").text == "안녕."
    assert read("<|start_header_id|>assistant<|end_header_id|>\n\n안녕.").text == "안녕."
    assert read("<s>[/INST] 안녕.</s>").text == "안녕."
    thought = read("<think>\n인사하자.\n</think>\n\n안녕.")
    assert (thought.text, thought.cuts) == ("안녕.", ("thinking",))
    assert read("<think>\n인사하").regenerate
    thought = read("<|channel>thought\n인사하자.\n<channel|>안녕.")
    assert (thought.text, thought.cuts) == ("안녕.", ("thinking",))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('"안녕, 민준."', "안녕, 민준."),
        ("“안녕.”", "안녕."),
        ("「안녕」", "안녕"),
        ('"We saw "The Tall Ship" once."', 'We saw "The Tall Ship" once.'),
        ('"Go," she said. "Now."', '"Go," she said. "Now."'),
        ("“하나.”\n\n“둘.”", "“하나.”\n\n“둘.”"),
        ('"I am 6\'2" tall."', "I am 6'2\" tall."),
        ('"Never closed.', '"Never closed.'),
    ],
)
def test_takes_one_pair_of_quotation_marks_off(raw: str, text: str) -> None:
    assert read(raw).text == text


def test_tidies_white_space_and_the_rule_before_a_cut() -> None:
    assert read(" \r\n안녕.\r\n\r\n\n \n응? \n").text == "안녕.\n\n응?"
    assert read("안녕.\n\n---\n\n민준: 응").text == "안녕."
    assert read("안녕.\n\n---").text == "안녕.\n\n---"
    assert read("half \ud83d a character").text == "half \ufffd a character"


def test_names_decide_and_nothing_else() -> None:
    assert read("응.\n다은: 나도.").text == "응.\n다은: 나도."
    assert read("응.\n다은: 나도.", others=("다은",)).text == "응."
    assert read("응.\n민준: 나도.", user_name="김민준").text == "응."
    assert read("민준: 응.", persona_names=("민준",), user_name="민준").text == "응."


SERA = Cast("character", ("Sera",), ("Robin",))
HEADINGS = ("Notes that nobody in the scene hears.", "Earlier in this chat:", "[Now Sera replies,")


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (
            "I will wait.\n\n[Notes that nobody in the scene hears.\nEarlier in this chat:",
            "I will wait.",
        ),
        ("I will wait.\nEarlier in this chat:\n- Robin: yes", "I will wait."),
        ("I will wait. [Now Sera replies, and only Sera", "I will wait."),
        ("Earlier in this chat: you lied.", ""),
        ("Now Sera replies, and smiles.", "Now Sera replies, and smiles."),
        ("As I said earlier in this chat: no.", "As I said earlier in this chat: no."),
    ],
)
def test_a_copy_of_the_prompts_own_words_is_cut(raw: str, kept: str) -> None:
    reply = read_reply(raw, SERA, headings=HEADINGS)
    assert reply.text == kept
    assert ("notes" in reply.cuts) == (kept != raw)
    assert reply.regenerate == (not kept)
    shown = ""
    reader = StreamReader(SERA, headings=HEADINGS)
    for letter in raw:
        shown += "".join(event for event in reader.feed(letter) if isinstance(event, str))
    assert kept.startswith(shown)
