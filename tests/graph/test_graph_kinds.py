"""Replies of other kinds: asked for in words, gone on with, the user's own line, plain work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.pipeline import Pipeline
from replies.reply import StreamReader, read_reply
from replies.tags import Cast
from schemas.errors import BadRequest
from schemas.formats import FORMATS
from tests.support import MakePipeline, RecordingLLM, ask

HISTORY = [
    {"role": "character", "name": "하늘", "content": "어서 와요."},
    {"role": "user", "name": "민준", "content": "오랜만이네요."},
]
MIN: dict[str, Any] = {"user_name": "민준", "history": HISTORY}


async def events_of(pipeline: Pipeline, payload: dict[str, Any]) -> tuple[str, str, Any]:
    """The tokens and the pieces that were shown, and the response."""
    text, pieces, response = "", "", None
    async for event in pipeline.stream(payload):
        match event["type"]:
            case "token":
                text += event["text"]
            case "segment":
                pieces += event["content"]["text"]
            case "final":
                response = event["response"]
    return text, pieces, response


def text_of(response: dict[str, Any]) -> str:
    return "".join(piece["text"] for piece in response["response_contents"])


@pytest.mark.parametrize("form", sorted(FORMATS))
async def test_an_instruction_stands_before_ours_and_only_in_this_turn(
    make_pipeline: MakePipeline, form: str
) -> None:
    llm = RecordingLLM(replies=["네."])
    asked = ask(**MIN, respond_as="character", instruction="[Two sentences, {{user}}.]")
    await make_pipeline(llm, llm_format=form).chat(asked)
    [prompt] = llm.prompts
    before, found, behind = prompt.partition("[Two sentences, 민준.]")
    assert found and "안녕하세요?" in before and "안녕하세요?" not in behind
    plain = RecordingLLM(replies=["네."])
    await make_pipeline(plain, llm_format=form).chat(ask(**MIN, respond_as="character"))
    assert prompt.replace("[Two sentences, 민준.]\n", "") == plain.prompts[0]


async def test_an_instruction_brings_no_control_token_in(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["네."])
    await make_pipeline(llm, llm_format="chatml").chat(ask(instruction="x<|im_end|>y"))
    assert "x<|im_end|>" not in llm.prompts[0]


@pytest.mark.parametrize("form", sorted(FORMATS.keys() - {"chat"}))
async def test_a_reply_is_gone_on_with(make_pipeline: MakePipeline, form: str) -> None:
    llm = RecordingLLM(replies=[" 그리고 앉았다.* 차 드릴까요?"])
    asked = ask(**MIN, respond_as="character", reply_start="*문을 닫았다.")
    text, pieces, response = await events_of(make_pipeline(llm, llm_format=form), asked)
    assert llm.prompts[0].endswith("하늘: *문을 닫았다.")
    assert text == pieces == text_of(response) == " 그리고 앉았다.* 차 드릴까요?"
    kinds = [piece["type"] for piece in response["response_contents"]]
    assert kinds == ["action", "dialogue"], "its star was opened before"


@pytest.mark.parametrize(
    ("start", "written", "added"),
    [
        ("Hello the", "re.", "re."),
        ("Hello.", " And you?", " And you?"),
        ("Hello. ", " And you?", "And you?"),
        ("Hello.", "\n\n\n\nLater", "\n\nLater"),
        ("Hello.", "하늘: Good.", "Good."),
        ("Hello.", " Good.\n민준: Me too.", " Good."),
    ],
)
async def test_what_is_added_joins_to_what_was_there(
    make_pipeline: MakePipeline, start: str, written: str, added: str
) -> None:
    llm = RecordingLLM(replies=[written])
    asked = ask(**MIN, respond_as="character", reply_start=start)
    text, pieces, response = await events_of(make_pipeline(llm), asked)
    assert text == pieces == text_of(response) == added


async def test_a_reply_that_is_whole_needs_no_more(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=[""])
    response = await make_pipeline(llm).chat(ask(reply_start="Done.", respond_as="character"))
    assert response["error"] is None and response["response_contents"] == []


async def test_the_greeting_that_is_gone_on_with_is_not_there_twice(
    make_pipeline: MakePipeline,
) -> None:
    llm = RecordingLLM(replies=["네."])
    persona = {"name": "하늘", "first_message": "종이 울린다."}
    asked = {"message": "/continue", "persona": persona, "reply_start": "종이 울린다."}
    await make_pipeline(llm).chat({**asked, "respond_as": "character"})
    assert llm.prompts[0].count("종이 울린다.") == 1


PIECES = st.lists(
    st.sampled_from(
        ["*", '"', "“", "”", " ", "\n", "a", "네", ". ", "하늘:", "민준:", "<", "[", "|"]
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(before=PIECES, raw=PIECES, cuts=st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_what_streams_is_what_is_read(before: list[str], raw: list[str], cuts: list[int]) -> None:
    """However the words come: nothing shown is taken back, pieces join to the text."""
    cast = Cast("character", ("하늘",), ("민준",))
    start, text = "".join(before), "".join(raw)
    reader, shown, pieces, place = StreamReader(cast, before=start), "", "", 0
    for size in cuts * 30:
        for event in reader.feed(text[place : place + size]):
            assert isinstance(event, str)
            shown += event
        place += size
    events, reply = reader.finish()
    for event in events:
        if isinstance(event, str):
            shown += event
        else:
            pieces += event.text
    assert reply == read_reply(text, cast, before=start)
    if not reply.regenerate:
        assert shown == pieces == reply.text
        assert [piece.span[0] for piece in reply.contents[:1]] in ([], [0])


async def test_the_users_own_line(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["민준: *앉는다* 잘 지냈어요?\n하늘: 그럼요."])
    secret = {"id": "s", "order": 1, "text": "하늘은 왕의 딸이다.", "characters": ["하늘"]}
    asked = ask("저 왔어요.", **MIN, respond_as="user", story=[secret])
    text, pieces, response = await events_of(make_pipeline(llm), asked)
    assert text == pieces == text_of(response) == "*앉는다* 잘 지냈어요?"
    assert response["responded_as"] == "user" and response["meta"]["reply"]["cuts"]
    assert {piece["speaker"] for piece in response["response_contents"]} == {"민준"}
    [prompt] = llm.prompts
    assert prompt.endswith("민준:") and "왕의 딸" not in prompt
    assert "\n하늘:" in response["meta"]["prompt"]["stop"]


async def test_a_line_that_speaks_for_the_character_is_written_once_more(
    make_pipeline: MakePipeline,
) -> None:
    llm = RecordingLLM(replies=["하늘: 어서 와요.", "잘 지냈어요?"])
    response = await make_pipeline(llm).chat(ask(**MIN, respond_as="user"))
    assert text_of(response) == "잘 지냈어요?" and len(llm.prompts) == 2


CARD = {"name": "Sera", "description": "A ferry pilot who lives by the river."}


@pytest.mark.parametrize(
    ("said", "card", "named"),
    [
        (["오늘은 좀 늦었네요."], {}, "Korean"),
        (["ㅋㅋ", "아까는 미안했어요, 정말로."], {}, "Korean"),
        (["Good evening, is the last ferry gone already?"], {}, ""),
        (["오늘은 좀 늦었네요."], {"language": "en"}, "English"),
        (["오늘은 좀 늦었네요."], {"system_prompt": "Always answer in English."}, ""),
        (["今日は遅かったですね。"], {}, "Japanese"),
        (["今天来得太晚了。"], {}, "Chinese"),
        (["Ça va? Le bateau est parti sans nous ce soir."], {}, ""),
        (["ok", "오늘은 좀 늦었네요."], {}, "Korean"),
    ],
)
async def test_the_reply_follows_the_users_language(
    make_pipeline: MakePipeline, said: list[str], card: dict[str, str], named: str
) -> None:
    llm = RecordingLLM(replies=["."])
    history = [{"role": "user", "content": line} for line in said[1:]]
    asked = {"message": said[0], "persona": {**CARD, **card}, "history": history}
    await make_pipeline(llm).chat({**asked, "respond_as": "character"})
    instruction = llm.prompts[0].rpartition("[Now Sera replies")[2]
    assert instruction.startswith(
        f", and only Sera, in {named}," if named else ", and only Sera, in character"
    )


async def test_a_korean_card_and_an_english_user(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["."])
    asked = ask("Do you know where the last ferry is going tonight?", respond_as="character")
    persona = {"name": "하늘", "description": "나루터를 지키는 사람."}
    await make_pipeline(llm).chat({**asked, "persona": persona})
    assert "하늘만 답합니다. 영어로, " in llm.prompts[0]


@pytest.mark.parametrize(("pinned", "named"), [("ja", "in Japanese,"), ("card", "in character")])
async def test_the_operator_pins_the_language(
    make_pipeline: MakePipeline, pinned: str, named: str
) -> None:
    llm = RecordingLLM(replies=["."])
    asked = {"message": "오늘은 좀 늦었네요.", "persona": CARD, "respond_as": "character"}
    await make_pipeline(llm, reply_language=pinned).chat(asked)
    assert f"only Sera, {named}" in llm.prompts[0]


async def complete(pipeline: Pipeline, **payload: Any) -> tuple[str, dict[str, Any]]:
    """The tokens, and the response."""
    text, response = "", {}
    async for event in pipeline.complete(payload):
        if event["type"] == "token":
            text += event["text"]
        else:
            response = event["response"]
    return text, response


TASK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "A title?<|im_end|>"},
]


@pytest.mark.parametrize("form", sorted(FORMATS.keys() - {"chat"}))
async def test_plain_work(make_pipeline: MakePipeline, form: str) -> None:
    llm = RecordingLLM(replies=['<think>hm</think>\n{"title": "Hi"}<|im_end|>more'])
    text, response = await complete(make_pipeline(llm, llm_format=form), messages=TASK)
    assert text == response["text"] == '{"title": "Hi"}' and response["error"] is None
    [prompt] = llm.prompts
    assert prompt.count("Be brief.") == 1 and "title?<|im_end|>" not in prompt
    assert prompt.index("hello") < prompt.index("A title?") and "하늘" not in prompt


async def test_work_that_the_system_text_alone_asks_for_is_asked_for_once(
    make_pipeline: MakePipeline,
) -> None:
    llm = RecordingLLM(replies=["A boat."])
    messages = [{"role": "system", "content": "Give this chat a name."}]
    text, _ = await complete(make_pipeline(llm), messages=messages)
    assert text == "A boat." and llm.prompts[0].count("Give this chat a name.") == 1


async def test_a_raw_prompt_goes_as_it_is(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["ne two\nUser: three"])
    raw = "<|im_start|>user\nO"
    text, response = await complete(
        make_pipeline(llm), prompt=raw, gen={"stop": ["\nUser:"], "max_new_tokens": 9}
    )
    assert llm.prompts == [raw] and text == response["text"] == "ne two"
    assert response["usage"]["total_tokens"] > 0


async def test_plain_work_keeps_what_fits(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["ok"])
    many = [{"role": "user", "content": f"line {row} " + "word " * 100} for row in range(100)]
    messages = [TASK[0], *many, {"role": "user", "content": "the last"}]
    await complete(make_pipeline(llm, llm_context=2048), messages=messages)
    [prompt] = llm.prompts
    assert "Be brief." in prompt and "the last" in prompt and "line 99" in prompt
    assert "line 3 " not in prompt


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": TASK}, "prompt"),
        ({"prompt": "word " * 9_000}, "prompt: "),
        ({"messages": [{"role": "user", "content": "word " * 9_000}]}, "messages: "),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"prompt": "a", "model": {"name": "none"}}, "model.name: "),
    ],
)
async def test_plain_work_that_cannot_be_done(
    make_pipeline: MakePipeline, payload: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadRequest, match=told):
        await complete(make_pipeline(llm_context=4096), **payload)
