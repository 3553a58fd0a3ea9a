"""The offline default: replies by rule, so that everything around a model runs without one.

It reads of a prompt only its shape: the last line names the speaker (`Sera:`), and the bracketed
notes before it list memories and story events as `- ...` lines under headings that end in a colon.
The notes stand in the order of time, so which memory is the best is told beside the prompt.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import textwrap
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from pydantic import Field

from language.korean import josa
from llm.streaming import Ending, StreamingLLM

NOTICE = {
    "en": "(scripted reply: no language model ran)",
    "ko": "(시험용 답변입니다. 언어 모델은 쓰지 않았습니다)",
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
            "*{topic} 잠시 생각에 잠긴다.*",
            "*{topic} 고개를 끄덕인다.*",
            "*{topic} 숨을 고르고 미소 짓는다.*",
        ),
        ("*떠올린 기억: {item}*", "*그사이 있었던 일: {item}*"),
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
        ("떠오르는 기억. {item}", "그사이 있었던 일. {item}"),
    ),
}
_NARRATORS = frozenset({"narrator", "내레이터", "나레이터", "내레이션", "해설", "해설자"})

_PIECE = re.compile(r"\s*(?:[가-힣]{1,3}|[^\s가-힣]+)|\s+")
_SPEAKER = re.compile(r"([^\n:：\]>|]{1,100})[:：]\s*\Z")  # behind a template's mark, if any
_LETTER, _HANGUL = re.compile(r"[^\W\d_]"), re.compile(r"[가-힣]")


class ScriptedLLM(StreamingLLM):
    """Deterministic: the same prompt and seed give the same reply, streamed piece by piece.

    A token is a word between white space, for `max_new_tokens` and for the usage, which is marked
    `estimated`. Of the sampling, `seed` and `best_memory`, a text, are read besides.
    """

    model: str = "scripted"
    replies: list[str] = Field(default_factory=list)
    """Said first, one a call; then replies are composed from the prompt."""
    delay: float = Field(0.0, ge=0)
    """Seconds before each piece."""
    fail_with: Exception | None = None
    """Raised in every call, after `fail_after` pieces."""
    fail_after: int = Field(0, ge=0)

    async def _write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> AsyncGenerator[str, None]:
        if self.replies:
            text = self.replies.pop(0)
        else:
            text = compose(prompt, sampling.get("seed"), sampling.get("best_memory", ""))
        words, most = list(re.finditer(r"\S+", text)), sampling.get("max_new_tokens")
        if most is not None and len(words) > most:
            text, ending.finish_reason = text[: words[most - 1].end()], "length"
        pieces, said = _PIECE.findall(text), ""
        try:
            for piece in pieces[: self.fail_after] if self.fail_with else pieces:
                await asyncio.sleep(self.delay)
                said += piece
                yield piece
            if self.fail_with:
                raise self.fail_with
        finally:
            asked, wrote = len(prompt.split()), len(said.split())
            ending.usage = {
                "prompt_tokens": asked,
                "completion_tokens": wrote,
                "total_tokens": asked + wrote,
                "estimated": True,
            }


def compose(prompt: str, seed: int | None = None, best_memory: str = "") -> str:
    """A reply in the prompt's language that quotes its notes and says that no model ran.

    Of the memories the one most like `best_memory` is quoted; without it, and of the events, one by
    chance.
    """
    tail = prompt[-2000:]
    language = "ko" if 3 * len(_HANGUL.findall(tail)) > len(_LETTER.findall(tail)) else "en"
    draw = int.from_bytes(hashlib.sha256(f"{seed}\n{prompt}".encode(errors="replace")).digest())
    named = _SPEAKER.search(prompt[-200:])
    name = named[1].strip() if named else ""
    narrated = not name or name.lower() in _NARRATORS
    openings, phrases = (_NARRATED if narrated else _SAID)[language]
    parts = [openings[draw % len(openings)].format(name=name, topic=josa(name, "은는"))]
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
