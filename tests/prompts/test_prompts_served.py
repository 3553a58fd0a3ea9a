"""Counts by the server: right for each text, one call a prompt, and an estimate while it fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from prompts import served
from prompts.build import build_prompt
from prompts.plan import plan
from prompts.served import MARK, ServedCount, count_together
from prompts.tokens import Count, estimate
from schemas.errors import BadRequest, LLMError
from schemas.formats import FORMATS, PromptTurn
from schemas.rag import PromptBuildInput, PromptBuildOutput
from tests.prompts.prompts_support import chat, memory, turn

BOS = 899


class Server:
    """A server's tokenizer, and what it was asked."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.asked: list[str] = []
        self.fails = False

    async def tokenize(self, text: str) -> Sequence[int]:
        self.asked.append(text)
        if self.fails:
            raise LLMError("no such address")
        return [BOS, *self.tokenizer.encode(text, add_special_tokens=False).ids]

    def alone(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)


def _built(given_: PromptBuildInput, count: Count) -> PromptBuildOutput:
    return build_prompt(given_, count=count)


@pytest.fixture
def server(subwords: Tokenizer) -> Server:
    return Server(subwords)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(["세라는 웃었다.", "", "『뷁』👩‍👩‍👧", "같은 글", "같은 글"])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters=MARK)), max_size=8))
async def test_each_text_has_its_own_tokens(subwords: Tokenizer, texts: list[str]) -> None:
    server = Server(subwords)
    turns = [FORMATS["chatml"].turn(PromptTurn("user", text)) for text in texts]
    assert await count_together(turns, server.tokenize) == [server.alone(text) for text in turns]
    assert len(server.asked) == 1


async def test_the_mark_in_a_text_is_no_border(server: Server) -> None:
    texts = [f"one{MARK}two{MARK}", "three"]
    assert await count_together(texts, server.tokenize) == [
        server.alone("one two "),
        server.alone("three"),
    ]


async def test_a_tokenizer_without_the_mark_is_refused() -> None:
    async def unknown(text: str) -> list[int]:
        return [0 if character in f"{MARK}é" else 1 for character in text]

    with pytest.raises(LLMError, match="told apart"):
        await count_together(["café", "b"], unknown)


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_a_chat_is_asked_about_once(server: Server, language: str) -> None:
    """Whatever the estimate thinks, the cut is that of the model's own tokens."""
    given_ = turn(
        history=chat(120, language=language), context_length=2048, chat_context=[memory("m", "key")]
    )
    count = ServedCount(server.tokenize, estimate)
    planned = await count.settle(partial(plan, given_))
    assert planned == plan(given_, server.alone)
    assert planned.verbatim_from > 0 and len(server.asked) == 1

    output = await count.settle(partial(_built, given_))
    assert output == build_prompt(given_, count=server.alone)
    assert len(server.asked) == 2, "the notes, once they are known"
    assert await count.settle(partial(_built, given_)) == output
    assert len(server.asked) == 2


async def test_the_next_turn_asks_about_what_is_new(server: Server) -> None:
    lines, count = chat(60), ServedCount(server.tokenize, estimate)
    for size in (40, 42):
        given_ = turn(history=lines[:size], user_message=lines[size].content, context_length=4096)
        await count.settle(partial(plan, given_))
    news = server.asked[1]
    assert lines[41].content in news and lines[42].content in news
    assert lines[40].content not in news, "it was the last turn's message"


async def test_a_prompt_near_its_limit_holds_by_the_servers_count(server: Server) -> None:
    count = ServedCount(server.tokenize, estimate)
    for size in range(20, 44, 3):
        given_ = turn(
            history=chat(size),
            chat_context=[memory(f"m{row}", f"memory {row} " * 9, row) for row in range(6)],
            context_length=1500,
            keep=1.0,
        )
        output = await count.settle(partial(_built, given_))
        assert server.alone(output.prompt) <= output.meta["tokens"]["budget"]


async def test_a_card_that_is_too_long_is_refused_by_the_servers_count(server: Server) -> None:
    """The refusal waits for the real counts: an estimate may be too high."""
    count = ServedCount(server.tokenize, lambda text: 100 * len(text))
    await count.settle(partial(plan, turn()))
    huge = turn(user_message="word " * 3000, context_length=2048)
    with pytest.raises(BadRequest) as refusal:
        await count.settle(partial(plan, huge))
    with pytest.raises(BadRequest) as expected:
        plan(huge, server.alone)
    assert refusal.value.message == expected.value.message


async def test_a_server_that_fails_is_left_alone(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.fails = True
    count, given_ = ServedCount(server.tokenize, estimate), turn(history=chat(40))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await count.settle(partial(plan, given_)) == plan(given_)
    assert len(server.asked) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "/tokenize failed, so tokens are estimated: no such address"
    ]


async def test_the_memory_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "KNOWN", 3)
    count = ServedCount(server.tokenize, lambda text: -1)

    async def learn(text: str) -> None:
        await count.settle(lambda tokens: tokens(text))

    for text in ("a", "b", "c"):
        await learn(text)
    assert [count(text) for text in ("a", "b", "c", "d")] == [1, 1, 1, -1]
    await learn("d")
    assert [count(text) for text in ("a", "b", "c", "d")] == [-1, -1, -1, 1]
