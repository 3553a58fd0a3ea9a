"""The offline default: replies by rule, so that everything around a model runs without one.

It reads of a prompt only its shape: the last line names the speaker (`Sera:`), and the bracketed
notes before it list memories and story events as `- ...` lines under headings that end in a colon.
The notes stand in the order of time, so which memory is the best is told by the run's metadata.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import textwrap
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseRunManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from pydantic import Field, PrivateAttr

from llm.text_stream import TextStream

NOTICE = {
    "en": "(scripted reply: no language model ran)",
    "ko": "(대본 답변: 언어 모델은 실행되지 않았습니다)",
}

_Words = dict[str, tuple[tuple[str, ...], tuple[str, str]]]

_SAID: _Words = {
    "en": (
        (
            "*{name} takes a moment to think.*",
            "*{name} looks up and nods.*",
            "*{name} is quiet for a breath, then smiles.*",
        ),
        ("I remember: {item}", "And this goes on meanwhile: {item}"),
    ),
    "ko": (
        (
            "*{name}, 잠시 생각에 잠긴다.*",
            "*{name}, 고개를 들어 끄덕인다.*",
            "*{name}, 숨을 한 번 고르고 미소 짓는다.*",
        ),
        ("기억하고 있어요: {item}", "그사이 이런 일이 있었죠: {item}"),
    ),
}
"""How a character begins, and what it says of the first and the second list of notes."""

_NARRATED: _Words = {
    "en": (
        ("For a moment nothing moves.", "The light shifts a little."),
        ("Something comes back: {item}", "And elsewhere: {item}"),
    ),
    "ko": (
        ("잠시 아무것도 움직이지 않는다.", "빛이 조금 기운다."),
        ("지난 일이 되살아난다. {item}", "그리고 다른 곳에서는, {item}"),
    ),
}
_NARRATORS = frozenset({"narrator", "내레이터", "나레이터", "내레이션", "해설", "해설자"})

_PIECE = re.compile(r"\s*(?:[가-힣]{1,3}|[^\s가-힣]+)|\s+")
_SPEAKER = re.compile(r"([^\n:：\]>|]{1,100})[:：]\s*\Z")  # behind a template's mark, if any
_LETTER, _HANGUL = re.compile(r"[^\W\d_]"), re.compile(r"[가-힣]")

REMEMBERED = 64
"""Prompts kept for a look: enough for a test, and no leak in a server."""


class _Reply(NamedTuple):
    """A finished reply, before it is streamed."""

    text: str
    info: dict[str, Any]


class ScriptedLLM(BaseLLM):
    """Deterministic: the same prompt and seed give the same reply, streamed piece by piece.

    A token is a word between white space, for `max_new_tokens` and for the usage, which is marked
    `estimated`. Other sampling values change nothing.
    """

    replies: list[str] = Field(default_factory=list)
    """Said first, one a call; then replies are composed from the prompt."""
    delay: float = Field(0.0, ge=0)
    """Seconds before each piece."""
    fail_with: Exception | None = None
    """Raised in every call, after `fail_after` pieces."""
    fail_after: int = Field(0, ge=0)

    _asked: deque[str] = PrivateAttr(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def prompts(self) -> list[str]:
        """What it was asked lately, oldest first."""
        return list(self._asked)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        best = _best_memory(run_manager)
        replies = [self._reply(prompt, stop, best, **kwargs) for prompt in prompts]
        if self.fail_with:
            raise self.fail_with
        return LLMResult(
            generations=[[Generation(text=r.text, generation_info=r.info)] for r in replies]
        )

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        reply = self._reply(prompt, stop, _best_memory(run_manager), **kwargs)
        pieces = _PIECE.findall(reply.text)
        for piece in pieces[: self.fail_after] if self.fail_with else pieces:
            await asyncio.sleep(self.delay)
            chunk = GenerationChunk(text=piece)
            if run_manager:
                await run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk
        if self.fail_with:
            raise self.fail_with
        yield GenerationChunk(text="", generation_info=reply.info)

    def _reply(
        self,
        prompt: str,
        stop: list[str] | None,
        best_memory: str,
        *,
        max_new_tokens: int | None = None,
        seed: int | None = None,
        **_: Any,
    ) -> _Reply:
        self._asked.append(prompt)
        text = self.replies.pop(0) if self.replies else compose(prompt, seed, best_memory)
        stream = TextStream(stop or ())
        text = stream.feed(text) + stream.flush()
        words = list(re.finditer(r"\S+", text))
        too_long = max_new_tokens is not None and len(words) > max_new_tokens
        if too_long:
            words = words[:max_new_tokens]
            text = text[: words[-1].end()] if words else ""
        asked, said = len(prompt.split()), len(words)
        usage = {
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
            "estimated": True,
        }
        return _Reply(text, {"finish_reason": "length" if too_long else "stop", "usage": usage})


def _best_memory(run: BaseRunManager | None) -> str:
    """The text of the memory that answers best, as `nodes.generate` tells it; empty if none."""
    return str(run.metadata.get("best_memory", "")) if run else ""


def compose(prompt: str, seed: int | None = None, best_memory: str = "") -> str:
    """A reply in the prompt's language that quotes its notes and says that no model ran.

    Of the memories the one most like `best_memory` is quoted; without it, and of the events, one by
    chance.
    """
    tail = prompt[-2000:]
    language = "ko" if 3 * len(_HANGUL.findall(tail)) > len(_LETTER.findall(tail)) else "en"
    draw = int.from_bytes(hashlib.sha256(f"{seed}\n{prompt}".encode(errors="replace")).digest())
    named = _SPEAKER.search(prompt)
    name = named[1].strip() if named else ""
    narrated = not name or name.lower() in _NARRATORS
    openings, phrases = (_NARRATED if narrated else _SAID)[language]
    parts = [openings[draw % len(openings)].format(name=name)]
    wanted = [set(best_memory.split()), set()]
    for phrase, items, words in zip(phrases, notes(prompt), wanted, strict=False):
        item = items[draw % len(items)]
        if words:
            item = max(items, key=lambda line: len(words.intersection(line.split())))
        item = re.sub(r'[*"“”「」『』]', "", item)
        parts.append(phrase.format(item=textwrap.shorten(item, 120, placeholder=" …")))
    return " ".join([*parts, NOTICE[language]])


def notes(prompt: str) -> list[list[str]]:
    """The lists of the last bracketed notes, each without its heading; none if there are none."""
    lists: list[list[str]] = []
    items: list[str] = []
    for line in reversed(prompt.splitlines()[-400:]):
        if not line.strip():
            continue
        if line.startswith("- "):
            item = line[2:].strip()
            items.append(item if items or lists else item.removesuffix("]"))  # of the notes
        elif line.rstrip().endswith((":", "：")) and items:
            lists.append(items[::-1])
            items = []
        elif lists and not items:
            return lists[::-1] if "[" in line else []
        elif items:
            return []
    return []
