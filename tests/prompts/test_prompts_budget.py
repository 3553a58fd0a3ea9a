"""The budget holds exactly, whatever counts the tokens."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from prompts.build import build_prompt
from prompts.tokens import Count, estimate, remembered
from schemas.errors import BadRequest
from schemas.formats import FORMATS
from schemas.request import Persona
from tests.prompts.prompts_support import chat, event, memory, turn

lines = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=400)


def words(text: str) -> int:
    """A tokenizer that is easy to follow: words and marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


@pytest.fixture(params=["estimate", "words", "subwords"])
def count(request: pytest.FixtureRequest, subwords: Tokenizer) -> Count:
    return {
        "estimate": estimate,
        "words": remembered(words),
        "subwords": remembered(lambda text: len(subwords.encode(text).ids)),
    }[request.param]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    format_name=st.sampled_from(sorted(FORMATS)),
    context=st.integers(900, 4000),
    reserve=st.integers(1, 300),
    place=st.sampled_from(["after_history", "before_history", "depth"]),
    keep=st.sampled_from([0.5, 0.75, 1.0]),
    size=st.integers(0, 80),
    language=st.sampled_from(["en", "ko"]),
    texts=st.lists(lines, min_size=4, max_size=4),
)
def test_prompt_and_reply_fit_the_context(
    count: Count,
    format_name: str,
    context: int,
    reserve: int,
    place: str,
    keep: float,
    size: int,
    language: str,
    texts: list[str],
) -> None:
    given_ = turn(
        persona=Persona(
            name="Sera",
            description="DESCRIPTION " + texts[0],
            example_dialogue="<START>\nMin: hi <START>" + texts[1],
            language=language,
        ),
        user_message="MESSAGE " + texts[2],
        history=chat(size, seed=size, language=language),
        chat_context=[memory(f"m{row}", f"memory {row} " * 9, row) for row in range(6)],
        story_context=[event(f"e{row}", texts[3] or "an event", row) for row in range(4)],
        state="midnight",
        format=format_name,
        context_length=context,
        max_new_tokens=reserve,
        place=place,
        keep=keep,
    )
    try:
        output = build_prompt(given_, count=count)
    except BadRequest as error:
        assert re.search(r"\d+ tokens too long", error.message)
        return
    assert count(output.prompt) + reserve <= context
    assert "DESCRIPTION" in output.prompt and "MESSAGE" in output.prompt
    tokens = output.meta["tokens"]
    assert count(output.prompt) <= tokens["budget"] == context - reserve - 1
    assert len(output.meta["items"]) == 10


def test_the_refusal_names_what_is_missing(count: Count) -> None:
    """With so many tokens more it fits, with one fewer it does not."""
    small = turn(user_message="word " * 300, context_length=300, max_new_tokens=50)
    with pytest.raises(BadRequest, match=r"persona: .* tokens too long") as refusal:
        build_prompt(small, count=count)
    found = re.search(r"(\d+) tokens too long", refusal.value.message)
    assert found
    missing = int(found[1])
    layout = small.layout.model_copy(update={"context_length": 300 + missing})
    build_prompt(small.model_copy(update={"layout": layout}), count=count)
    layout = small.layout.model_copy(update={"context_length": 300 + missing - 1})
    with pytest.raises(BadRequest, match="1 tokens too long"):
        build_prompt(small.model_copy(update={"layout": layout}), count=count)


def test_sections_add_up(count: Count) -> None:
    given_ = turn(
        history=chat(10),
        chat_context=[memory("m", "the key is under the pot")],
        story_context=[event("e", "a ship ran aground")],
    )
    output = build_prompt(given_, count=count)
    tokens = dict(output.meta["tokens"])
    total, _, _ = (tokens.pop(key) for key in ("total", "reserve", "budget"))
    assert sum(tokens.values()) == total
    assert abs(total - count(output.prompt)) <= 0.03 * total


def test_a_counter_that_finds_more_in_the_whole_than_in_the_parts() -> None:
    """No such tokenizer is known; the budget holds even so."""

    def odd(text: str) -> int:
        return words(text) + (40 if len(text) > 4000 else 0)

    dropped: set[str] = set()
    for size in range(20, 60):
        output = build_prompt(
            turn(
                history=chat(size),
                chat_context=[memory("m", "the key " * 20)],
                context_length=1500,
                volatile_tokens=70,
                keep=1.0,
            ),
            count=odd,
        )
        assert odd(output.prompt) <= output.meta["tokens"]["budget"]
        dropped |= {item["reason"] for item in output.meta["items"] if not item["delivered"]}
    assert dropped == {"the whole prompt is over its budget"}


@pytest.mark.parametrize("place", ["after_history", "before_history", "depth"])
@pytest.mark.parametrize("more", range(5))
def test_not_one_token_over_the_context(more: int, place: str) -> None:
    """At every context around the size of the prompt, also where the whole has a few tokens more
    than its parts."""

    def count(text: str) -> int:
        return words(text) + (more if text.endswith("\nSera:") and len(text) > 2000 else 0)

    given_ = turn(
        history=chat(6),
        chat_context=[memory("m", "the key " * 9)],
        story_context=[event("e", "a ship ran aground")],
        volatile_tokens=90,
        max_new_tokens=100,
        place=place,
    )
    whole = build_prompt(given_, count=count)
    size = count(whole.prompt)
    assert all(item["delivered"] for item in whole.meta["items"])
    complete = []
    for context in range(size + 80, size + 220):
        layout = given_.layout.model_copy(update={"context_length": context})
        output = build_prompt(given_.model_copy(update={"layout": layout}), count=count)
        assert count(output.prompt) + 100 + 1 <= context, "a prompt, a reply, and one token first"
        if output.prompt == whole.prompt:
            complete.append(context)
    assert complete == [*range(complete[0], size + 220)] and complete[0] >= size + 101
