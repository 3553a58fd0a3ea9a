"""However a reply is chopped, it is read the same, and nothing shown is taken back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replies import reply as reply_module
from replies.edges import last_end
from replies.reply import Event, StreamReader, read_reply
from schemas.response import FinishReason, ParsedReply
from tests.replies.reading import cast_of

CASTS = (
    cast_of("character", ("세라피나", "Seraphina"), ("김민준", "Bart Simpson"), ("Elara",)),
    cast_of("narrator", ("세라피나",), "민준"),
    cast_of("character", ("Assistant",), "Bart"),
)
STOPS = ((), ("\n민준:", "\nUser:", "THE END", "\n###"), ("</s>", "\n\n", "***"))
PARTS = (
    *("세라피나", "Seraphina", "민준", "Bart", "Elara", "User", "You", "Narrator", "해설", "님"),
    *(":", "：", " :", "**", "*", "_", "<", ">", "[", "]", "(", ")", "\n", "\n\n", "\n\n\n", " "),
    *('"', "“", "”", "「", "」", "‘", "’", "'", ".", "!", "?", "…", "~", "♡", "ㅋㅋ", "요", "😊"),
    *(
        "안녕하세요",
        "hello",
        " she said",
        "생각",
        "really",
        "12:30",
        "6'2\"",
        "Note: ",
        "Mr.",
        "1. ",
    ),
    *("</s>", "<|im_end|>", "<|", "|>", "[INST]", "###", "### Instruction:", "---", "THE", " END"),
    *(
        ">_<",
        ":)",
        "<think>",
        "</think>",
        "<s>",
        "<|im_start|>",
        "assistant",
        "\r\n",
        "\r",
        "USER:",
    ),
    *(
        "호감도: 30",
        "[호감도: 30 | 장소: 옥상]",
        "【상태창】",
        "```",
        "HP: 10/20",
        "신뢰 30",
        "📍 ",
        "|---|",
    ),
    *(
        "[호감도: ",
        " | 장소: 옥",
        "장소: ",
        "- 민준: 30\n",
        "[등장인물]\n",
        "| 체력 | 3 |\n",
        "-",
        "ㅡ",
        "민준 | ",
    ),
    *("\ud800", "(웃으며)", "(생각)", "{{user}}", "- ", "#", "  \n", "\u1106\u1175\u11ab"),
)
raws = st.lists(st.sampled_from(PARTS), max_size=40).map("".join) | st.text(max_size=60)
chunks = st.lists(st.integers(1, 12), max_size=30)


def run(raw: str, sizes: list[int], reason: FinishReason, reader: StreamReader) -> Any:
    events: list[Event] = []
    at = 0
    for size in [*sizes, len(raw)]:
        events += reader.feed(raw[at : at + size])
        at += size
    rest, result = reader.finish(reason)
    return events, rest, result


def texts(events: list[Event]) -> str:
    return "".join(event for event in events if isinstance(event, str))


def closed(events: list[Event]) -> list[Any]:
    return [event for event in events if not isinstance(event, str)]


@settings(deadline=None)
@given(raws, chunks, st.sampled_from(CASTS), st.sampled_from(STOPS))
def test_any_chunking_shows_the_result_and_takes_nothing_back_but_by_the_trim(
    raw: str, sizes: list[int], cast: Any, stops: Any
) -> None:
    events, rest, result = run(raw, sizes, "stop", StreamReader(cast, stops=stops))
    assert result == read_reply(raw, cast, stops=stops)
    if result.regenerate:
        assert (events, rest) == ([], [])
    else:
        assert texts(events + rest) == result.text
        assert closed(events + rest) == result.contents
    events, _, cut = run(raw, sizes, "length", StreamReader(cast, stops=stops))
    assert cut == read_reply(raw, cast, stops=stops, finish_reason="length")
    if cut.regenerate:
        assert events == []
    else:
        shown = texts(events)
        assert cut.text.startswith(shown) or "unfinished" in cut.cuts
        assert closed(events) == cut.contents[: len(closed(events))]


@settings(deadline=None)
@given(raws, chunks, st.sampled_from(CASTS), st.sampled_from(STOPS))
def test_generation_may_be_stopped_where_the_reader_is_done(
    raw: str, sizes: list[int], cast: Any, stops: Any
) -> None:
    """What would have followed changes nothing but how the cut is called."""
    reader, at = StreamReader(cast, stops=stops), 0
    for size in [*sizes, len(raw)]:
        if not reader.done:
            reader.feed(raw[at : at + size])
            at += size
    early = read_reply(raw[:at], cast, stops=stops)
    whole = read_reply(raw, cast, stops=stops)
    assert (early.text, early.contents, early.regenerate, early.next_speaker) == (
        whole.text,
        whole.contents,
        whole.regenerate,
        whole.next_speaker,
    )


@settings(deadline=None)
@given(raws, st.sampled_from(CASTS), st.sampled_from(STOPS), st.sampled_from(("stop", "length")))
def test_pieces_join_to_the_text(raw: str, cast: Any, stops: Any, reason: FinishReason) -> None:
    result: ParsedReply = read_reply(raw, cast, stops=stops, finish_reason=reason)
    at = 0
    for content in result.contents:
        assert content.span == (at, at + len(content.text))
        assert content.text == result.text[slice(*content.span)] != ""
        at = content.span[1]
    assert at == len(result.text)
    assert result.text or result.regenerate


def test_pieces_are_shown_with_their_paragraph_once_speech_sets_the_style() -> None:
    prose = StreamReader(CASTS[0])
    events = prose.feed("“응.” 그녀가 웃었다.\n\n“가자.” 문이 열렸다. ")
    assert [content.type for content in closed(events)] == ["dialogue", "narration"]
    plain = StreamReader(CASTS[0])
    assert closed(plain.feed("응. 그래.\n\n가자. 문이 열렸다. ")) == []


def test_shows_words_and_holds_what_may_be_a_tag() -> None:
    reader = StreamReader(CASTS[0])
    shown = [
        texts(reader.feed(part))
        for part in ("안녕 반", "가워\n", "민", "들레가 피었", "어</", "s>")
    ]
    assert shown == ["안녕 반", "가워", "", "\n민들레가 피었", "어", ""]
    assert reader.done


def test_a_wrapped_reply_waits_for_its_last_mark() -> None:
    reader = StreamReader(CASTS[0])
    assert reader.feed("“안녕. 반가워. ") == []
    events, result = reader.finish("stop") if reader.feed("잘 지냈어?”") == [] else ([], None)
    assert texts(events) == "안녕. 반가워. 잘 지냈어?"
    assert result is not None and result.cuts == ("quotes",)


def test_knows_early_that_the_reply_must_be_asked_for_again() -> None:
    reader = StreamReader(CASTS[0])
    assert reader.feed("민준: 나 왔어. 문 열어") == []
    assert reader.regenerate


@pytest.mark.parametrize("unit", ["바다를 바라본다 ", "over the harbor ", "灯台の光"])
def test_a_long_line_is_looked_at_once(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    """20,000 characters without the end of a sentence cost as many, not their square."""
    looked_at: list[int] = []

    def counted(text: str, start: int = 0) -> int:
        looked_at.append(len(text) - start)
        return last_end(text, start)

    monkeypatch.setattr(reply_module, "last_end", counted)
    reader = StreamReader(CASTS[1])
    raw = unit * (20_000 // len(unit))
    events = [event for at in range(0, len(raw), 5) for event in reader.feed(raw[at : at + 5])]
    assert sum(looked_at) < 4 * len(raw)
    assert events
    rest, result = reader.finish()
    shown = texts([*events, *rest])
    assert shown == result.text == raw.strip()
