"""What a turn may cost is bounded, whatever its input: macros, keywords, and what is left of its
threads behind the deadline. Bounds of processor time are five times what a laptop needs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards.macros import FIELDS, MAX_INSERTED, Scope, expand, told_of
from embedding.embedder import Embedder
from graph.pipeline import Pipeline
from retrieval import patterns
from schemas.budget import MACRO_CHARACTERS, Budget, current, spending
from schemas.errors import DeadlineExceeded
from schemas.request import LORE, Message, Persona
from tests.support import MakePipeline, RecordingLLM, ask
from worker.dispatch import Dispatcher
from worker.events import within

TEXT = 100_000
"""Characters of a field at most."""


@contextmanager
def processor_seconds(most: float) -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started <= most


# Macros

MACROS = [
    *(f"{{{{{name}}}}}" for name in (*FIELDS, "// x", "noop", "original", "user", "trim", "odd")),
    *("{{reverse:", "{{random:a,b}}", "{{pick::", "{{roll:100d6}}", "{{hidden_key:x}}"),
    *("{{#if 1}}", "{{#each a§b§c as x}}", "{{:else}}", "{{/if}}", "{{/}}", "{{/each}}"),
    *("{{incvar::n}}", "{{addvar::a::{{getvar::a}}x}}", "{{? 1+1}}", "{{#if", "{{lastMessage}}"),
    *("{{", "}}", "{", "<user>", "<BOT>은", "\\,", ",", "::", "\n", " ", "는", "x"),
]
UNITS = st.lists(st.sampled_from(MACROS), min_size=1, max_size=6).map("".join)
HOSTILE = st.tuples(UNITS, st.integers(1, TEXT), UNITS).map(
    lambda it: (it[0] * (it[1] // len(it[0])) + it[2])[:TEXT]
)
"""A few macros, as often as a field has room for them."""


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    st.fixed_dictionaries(dict.fromkeys(FIELDS, HOSTILE)),
    HOSTILE,
    st.sampled_from(["", "A" * 100, "<user>{{user}}"]),
)
def test_no_card_makes_macros_cost_more_than_their_budget(
    fields: dict[str, str], text: str, name: str
) -> None:
    scope = Scope(
        char=name, user=name, original=text, chat=text, place=text, fields=fields, scanning=True
    )
    budget = Budget()
    with spending(budget), processor_seconds(3):
        texts = [expand(it, scope) for it in (text, *fields.values(), text[1:], text[2:])]
    for expanded in texts:
        assert len(expanded) <= TEXT + MAX_INSERTED
    assert budget.characters >= -20 * (TEXT + MAX_INSERTED), "one macro behind the end at most"


@pytest.mark.parametrize("times", [1, 30, 300])
def test_fields_that_name_each_other_are_expanded_once(times: int) -> None:
    """However often: 300 x 300 x 300 macros that say nothing took a minute."""
    budget = Budget()
    fields = {
        "description": "{{personality}}" * times,
        "personality": "{{scenario}}" * times,
        "scenario": "{{// }}{{noop}}{{trim}}",
    }
    with spending(budget):
        assert expand("a{{description}}b", Scope(char="a", user="b", fields=fields)) == "ab"
    assert MACRO_CHARACTERS - budget.characters < 150 * (2 * times + 10)


def test_the_texts_of_a_turn_share_the_macros_and_each_says_the_same_all_turn() -> None:
    scope = Scope(char="a", user="b", fields={"description": "x" * 99_999 + "{{noop}}"})
    texts = [f"{{{{description}}}} {number}" for number in range(200)]
    with spending(Budget()):
        first = [expand(text, scope) for text in texts]
        assert first == [expand(text, scope) for text in texts]
    assert first[0] == "x" * 99_999 + " 0"
    assert first[-1] == texts[-1], "behind the end of the budget macros stay as text"
    with spending(Budget()):
        assert expand(texts[-1], scope) == "x" * 99_999 + " 199", "the next turn has its own"


async def test_a_card_and_a_book_of_macros_cost_a_turn_little(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """And however many macros the lore has, the card's own are filled in."""
    persona = {
        "name": "하늘",
        "description": "{{personality}}" * 60,
        "personality": "{{scenario}}" * 60,
        "scenario": "{{// }}{{noop}}" * 60,
        "first_message": "{{description}}" * 60,
    }
    text = "{{description}}{{noop}}{{reverse:{{personality}}}}" * 20
    story = [_lore(number, ["가"], text) for number in range(300)]
    pipeline = make_pipeline(scripted)
    await pipeline.chat(ask())
    with processor_seconds(3):
        answer = await pipeline.chat(ask("가", persona=persona, story=story))
    await pipeline.drain()
    assert answer["error"] is None
    assert "{{" not in scripted.prompts[-1].split("지금까지의 이야기")[0]


LONG = [Message(role="user" if row % 2 else "character", content=f"{row}") for row in range(10_000)]


@pytest.mark.parametrize(
    "text",
    [
        "{{setvar::a::1}}{{getvar::a}}" * 3_000,
        "{{incvar::n}}" * 7_000,
        "{{#if {{lastCharMessage}}}}{{incvar::n}}{{/if}}{{setvar::{{random}}::x}}" * 20,
        "{{addvar::a::{{getvar::a}}x}}" * 3_000,
        "{{#each a§b§c as x}}" * 18 + "{{incvar::n}}" + "{{/each}}" * 18,
        "{{#if 1}}" * 40 + "{{incvar::n}}" + "{{/if}}" * 40,
        "{{description}}{{scenario}}{{incvar::n}}" * 2_000,
    ],
)
def test_the_turns_of_a_long_chat_are_gone_through_within_a_budget(text: str) -> None:
    """5,000 turns of 7,000 macros would take minutes."""
    persona = Persona(name="a", description=text, scenario=text, first_message=text)
    with spending(Budget()), processor_seconds(3):
        told = told_of(persona, LONG, "x", user="u", chat="c")
        again = told_of(persona, list(LONG), "x", user="u", chat="c")
    assert told.settled == again.settled, "the budget ends at the same place"


def test_a_counter_in_a_long_chat_costs_little() -> None:
    persona = Persona(name="a", description="{{incvar::n}} {{setvar::a::b}}{{getvar::a}}")
    with spending(Budget()), processor_seconds(1):
        assert told_of(persona, LONG, "x", user="u", chat="c").settled["n"] == "5001"


def _lore(number: int, keys: list[str], text: str, **fields: Any) -> dict[str, Any]:
    entry = {"id": str(number), "keys": keys, **fields}
    return {"id": f"lore/{number}", "order": 0, "text": text, "extensions": {LORE: entry}}


# Keywords

EVIL = "a" * 3_000 + "!"
PATTERNS = [f"/(a+)+[^a]{{{number},999}}$/" for number in range(2, 202)]


def _event(number: int, keywords: list[str]) -> dict[str, Any]:
    return {"id": f"e{number}", "order": number, "text": "달이 뜬다.", "keywords": keywords}


async def test_evil_patterns_of_events_and_lore_share_one_budget_and_are_told(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """200 events with 20 patterns took 87 s, and their thread ran on behind the deadline."""
    pipeline = make_pipeline(scripted)
    await pipeline.chat(ask())
    events = [
        _event(n, [f"/(a+)+[^a]{{2,{20 * n + k}}}$/" for k in range(2, 22)]) for n in range(200)
    ]
    lore = [_lore(n, PATTERNS[100 + n :], "x") for n in range(100)]
    with processor_seconds(5):
        answer = await pipeline.chat(ask(EVIL, story=[*events, *lore]))
        await pipeline.drain()
    assert answer["error"] is None
    told = [*answer["meta"]["lore"]["warnings"], *answer["meta"].get("warnings", ())]
    assert any("takes too long" in warning for warning in told)
    assert any("took too long together" in warning for warning in told)


async def test_a_pattern_that_ran_out_is_tried_once_and_said_beside_the_story(
    make_pipeline: MakePipeline, scripted: RecordingLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    found = patterns._found

    def counted(pattern: Any, text: str) -> bool:
        tried.append(pattern.pattern)
        return found(pattern, text)

    monkeypatch.setattr(patterns, "_found", counted)
    slow = "/(a+)+$/"
    events = [_event(number, [slow, "/hel+o/"]) for number in range(50)]
    history = [{"role": "user", "content": EVIL}, {"role": "character", "content": "hello"}]
    answer = await make_pipeline(scripted).chat(ask(EVIL, story=events, history=history))
    assert tried.count("(a+)+$") == 1
    assert answer["meta"]["warnings"] == [f"key `{slow}` takes too long"]
    woken = [item["why"] for item in answer["retrieved"] if item["id"] == "e49"]
    assert woken and "keyword /hel+o/" in woken[0], "the others are not harmed"


async def test_ten_thousand_patterns_are_compiled_within_the_budget(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """Each takes 2 ms, whether it is ever found or not."""
    pipeline = make_pipeline(scripted)
    await pipeline.chat(ask())
    costly = "(a|b|c|d)*" * 18
    lore = [_lore(n, [f"/{costly}{n}_{k}/" for k in range(20)], "x") for n in range(500)]
    with processor_seconds(8):
        answer = await pipeline.chat(ask("가", story=lore))
        await pipeline.drain()
    [warning] = answer["meta"]["lore"]["warnings"]
    assert "some were not tried" in warning


async def test_many_plain_keys_timed_entries_and_groups_are_bounded_too(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """Keys that stand everywhere but never as a word, windows of every depth, a chain of groups."""
    pipeline = make_pipeline(scripted)
    await pipeline.chat(ask())
    history = [{"role": "user", "content": "ab" * 3_000 + f" {n}"} for n in range(60)]
    lore = [
        _lore(
            number,
            ["ab" * (1 + (number + k) % 100) for k in range(10)] + [f"{number}"],
            f"{number + 1}",
            scan_depth=number,
            sticky=1,
            groups=[f"{number}", f"{number + 1}"],
            ignore_budget=True,
        )
        for number in range(1_000)
    ]
    with processor_seconds(10):
        answer = await pipeline.chat(ask("0", story=lore, history=history))
        await pipeline.drain()
    assert answer["error"] is None


# The deadline


class Counting:
    """Embeds slowly, and counts the texts."""

    fingerprint = "counting"
    dimension = 2

    def __init__(self, seconds: float = 0.0) -> None:
        self.texts, self._seconds = 0, seconds
        self.began = threading.Event()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += len(texts)
        self.began.set()
        time.sleep(self._seconds)
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


async def test_the_batches_of_a_thread_end_at_the_deadline_of_its_job() -> None:
    model = Counting(seconds=0.05)
    embedder = Embedder(model, batch=1)  # type: ignore[arg-type]
    texts = [str(number) for number in range(1_000)]
    with pytest.raises(DeadlineExceeded, match=r"not done after 0\.1 s"):
        async with within(0.1):
            await asyncio.to_thread(embedder.encode_passages, texts)
    await asyncio.sleep(0.1)
    reached = model.texts
    await asyncio.sleep(0.2)
    assert model.texts == reached < 20, "the thread is at an end"
    assert len(await embedder.aencode_passages(texts[:2])) == 2, "the next job has its own time"


async def test_what_waits_for_the_embedder_behind_the_deadline_is_not_embedded() -> None:
    model = Counting(seconds=0.2)
    embedder = Embedder(model)  # type: ignore[arg-type]
    first = embedder.begin_queries(["first"])
    with pytest.raises(DeadlineExceeded):
        async with within(0.05):
            await embedder.begin_queries(["second"])
    await first
    await embedder.begin_queries(["third"])
    assert model.texts == 2


async def test_a_job_that_misses_its_deadline_leaves_no_thread_at_work(
    make_pipeline: MakePipeline, scripted: RecordingLLM, tmp_path: Any
) -> None:
    """The deadline is looked at between messages, patterns and nodes."""
    pipeline = make_pipeline(scripted)
    await pipeline.chat(ask())
    history = [{"role": "user", "content": f"{n} " + "달이 뜬다. " * 40} for n in range(3_000)]
    dispatcher = Dispatcher(pipeline, tmp_path, deadline=0.2)
    with pytest.raises(DeadlineExceeded):
        async for _ in dispatcher.answer({"input": ask(history=history)}):
            pass
    await asyncio.sleep(0.3)
    with processor_seconds(0.1):
        await asyncio.sleep(0.5)
    assert not scripted.prompts[1:]


async def test_remembering_is_not_cut_by_the_deadline_of_the_reply(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    pipeline = make_pipeline(scripted)
    seen: list[Budget] = []
    embedder: Any = pipeline.services.readers["cjk"].embedder
    inner = embedder.aencode_passages

    async def watched(texts: Any) -> Any:
        seen.append(current())
        return await inner(texts)

    embedder.aencode_passages = watched
    async with within(30):
        await pipeline.chat(ask())
    await pipeline.drain()
    assert seen[0].seconds == 30 and 30 < seen[-1].seconds < float("inf")


async def test_turns_that_are_read_in_turns_keep_their_own_budgets(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """One task may read two streams: what it does in between is on neither's budget."""
    pipeline: Pipeline = make_pipeline(scripted)
    streams = [pipeline.stream(ask()), pipeline.stream(ask("누구세요?"))]
    for _ in range(3):
        for stream in streams:
            await anext(stream)
            assert current() is not current(), "none is set"
    for stream in streams:
        await stream.aclose()
