"""The model that is none: deterministic, streaming, within its limits."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.outputs import LLMResult

from llm.scripted import NOTICE, ScriptedLLM, compose, notes
from prompts.build import build_prompt
from schemas.errors import LLMError
from schemas.formats import FORMATS
from schemas.rag import PromptBuildInput, PromptLayout, RAGChunk
from schemas.request import Persona

ENGLISH = """<|im_start|>system
You two tell a story.

As Sera:
- Speak as Sera speaks.

# Sera
A lighthouse keeper.<|im_end|>
<|im_start|>user
Min: Do you remember what I lost?

[Notes nobody hears.
From earlier:
- Min: I lost my red umbrella on the pier.
- Sera: The lamp needs oil.
In the story:
- A storm reached the harbour.
]
[Reply as Sera.]<|im_end|>
<|im_start|>assistant
Sera:"""

KOREAN = """<|system|>둘이 함께 쓰는 이야기입니다.<|user|>민준: 내가 뭘 잃어버렸는지 기억나?

[다음 답변을 위한 메모.
예전에 있었던 일:
- 민준: 부두에서 빨간 우산을 잃어버렸어.
이야기에서 일어난 일:
- 항구에 폭풍이 닥쳤다.
]
[세라로서 답하세요.]<|model|>세라:"""


class Ending(AsyncCallbackHandler):
    info: dict[str, Any]

    async def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        self.info = response.generations[0][0].generation_info or {}


async def reply(llm: ScriptedLLM, prompt: str, **options: Any) -> tuple[list[str], dict[str, Any]]:
    ending = Ending()
    config: Any = {"callbacks": [ending]}
    return [p async for p in llm.astream(prompt, config=config, **options)], ending.info


async def test_an_english_prompt_is_answered_from_its_notes() -> None:
    pieces, _ = await reply(ScriptedLLM(), ENGLISH)
    text = "".join(pieces)
    assert text.startswith("*Sera")
    assert "umbrella" in text or "lamp" in text
    assert "storm" in text
    assert text.endswith(NOTICE["en"])
    assert len(pieces) > 10


async def test_a_korean_prompt_is_answered_in_korean() -> None:
    text = "".join((await reply(ScriptedLLM(), KOREAN))[0])
    assert text.startswith("*세라")
    assert "빨간 우산" in text
    assert "폭풍" in text
    assert text.endswith(NOTICE["ko"])


async def test_same_prompt_and_seed_same_reply() -> None:
    async def text(seed: int | None) -> str:
        return "".join((await reply(ScriptedLLM(), ENGLISH, seed=seed))[0])

    assert await text(7) == await text(7)
    assert await text(None) == await text(None)
    assert len({await text(seed) for seed in range(12)}) > 1


async def test_usage_counts_words_and_says_so() -> None:
    _, info = await reply(ScriptedLLM(replies=["one two  three"]), "a b c d")
    assert info == {
        "finish_reason": "stop",
        "usage": {
            "prompt_tokens": 4,
            "completion_tokens": 3,
            "total_tokens": 7,
            "estimated": True,
        },
    }


async def test_max_new_tokens_ends_the_reply() -> None:
    llm = ScriptedLLM(replies=["하나 둘  셋 넷", "one two"])
    pieces, info = await reply(llm, "x", max_new_tokens=3)
    assert "".join(pieces) == "하나 둘  셋"
    assert (info["finish_reason"], info["usage"]["completion_tokens"]) == ("length", 3)
    pieces, info = await reply(llm, "x", max_new_tokens=2)
    assert ("".join(pieces), info["finish_reason"]) == ("one two", "stop")


async def test_a_stop_string_across_pieces_ends_the_reply() -> None:
    llm = ScriptedLLM(replies=["그래, 가자.\n민준: 어디로?"])
    pieces, info = await reply(llm, "x", stop=["\n세라:", "\n민준:"])
    assert "".join(pieces) == "그래, 가자."
    assert info["finish_reason"] == "stop"


async def test_replies_come_in_order_and_nothing_is_kept() -> None:
    queue = ["first", "둘째"]
    llm = ScriptedLLM(replies=queue)
    assert [await llm.ainvoke("p1"), await llm.ainvoke("p2")] == queue == ["first", "둘째"]
    assert NOTICE["en"] in await llm.ainvoke("Sera:")
    assert "p1" not in f"{vars(llm)} {llm.__pydantic_private__}"


async def test_it_fails_when_told_after_what_was_said() -> None:
    llm = ScriptedLLM(
        replies=["half of a reply"], fail_with=LLMError("down", retryable=True), fail_after=2
    )
    said = []
    with pytest.raises(LLMError, match="down"):
        async for piece in llm.astream("x"):
            said.append(piece)
    assert said == ["half", " of"]


async def test_the_delay_is_per_piece_and_leaving_ends_it() -> None:
    llm = ScriptedLLM(replies=["a b c d e f g h i j"], delay=0.02)
    begun = time.perf_counter()
    async with aclosing(llm.astream("x")) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            if piece == " c":
                break
    assert 0.05 < time.perf_counter() - begun < 0.15


def test_the_narrator_gets_no_gestures() -> None:
    for name in ("Narrator", "내레이터"):
        assert "*" not in compose(ENGLISH.removesuffix("Sera:") + f"{name}:")


def test_quotation_marks_in_notes_do_not_break_the_reply() -> None:
    prompt = '[Notes\nEarlier:\n- He said "no" and *left* “so”\n]\nSera:'
    text = compose(prompt)
    assert "He said no and left so" in text
    assert text.count("*") == 2
    assert '"' not in text


def test_lists_outside_of_notes_are_not_quoted() -> None:
    assert notes("Rules.\n\nAs Sera:\n- Speak plainly.\n\nSera:") == []
    assert notes("- loose\n- items\nSera:") == []


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("language", "name", "memory", "event"),
    [
        ("en", "Sera", "I lost my red umbrella.", "A storm reached the harbour."),
        ("ko", "세라", "빨간 우산을 잃어버렸어.", "항구에 폭풍이 닥쳤다."),
    ],
)
def test_it_reads_the_real_prompts(
    form: str, language: str, name: str, memory: str, event: str
) -> None:
    given = PromptBuildInput(
        persona=Persona(name=name, description="…", language=language),
        chat_context=[RAGChunk(id="m", source="chat", text=memory)],
        story_context=[RAGChunk(id="e", source="story", text=event)],
        user_message="?",
        layout=PromptLayout(format=form),
    )
    text = compose(build_prompt(given).prompt)
    assert text.startswith(f"*{name}")
    assert memory in text
    assert event in text
    assert text.endswith(NOTICE[language])
    told = compose(build_prompt(given.model_copy(update={"speaker": "narrator"})).prompt)
    assert "*" not in told
    assert event in told
