"""How far token estimates are from the truth, on whole prompts: `python -m benchmarks.tokens
KIND=FILE...`.

KIND is a kind of tokenizer of `prompts/tokens.py` and FILE the `tokenizer.json` of a model of that
kind. The prompts are those of the mock chats at every second turn, in English and Korean, for both
speakers, in each format that models of the kind are served with, notes included.

Shown per kind, format and language: prompts, and the estimate above the real count in percent: the
least, the median and the most. `lower` counts the prompts estimated more than .5 % too low.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from graph.settings import ROOT
from llm.presets import presets
from prompts.build import build_prompt
from prompts.tokens import FAMILIES, Count, estimator
from schemas.formats import CONTROL_TOKENS
from schemas.rag import DialogueTurn, PromptBuildInput, PromptLayout, RAGChunk
from schemas.request import ChatRequest, Speaker

REQUESTS = {"en": "sample_request.json", "ko": "sample_request.ko.json"}
STEP = 2
"""Messages from one prompt to the next."""
TOLERANCE = 0.005
"""Share by which an estimate may be too low."""


def prompts(language: str, form: str) -> Iterator[str]:
    """The prompts of a mock chat in a format."""
    data = json.loads((ROOT / "data/mock" / REQUESTS[language]).read_text(encoding="utf-8"))
    request = ChatRequest.model_validate(data)
    lines = [
        DialogueTurn(**line.model_dump(include={"role", "name", "content"}))
        for line in request.history
    ]
    memories = [
        RAGChunk(
            id=str(row), source="chat", text=line.content, meta={"row": row, "role": line.role}
        )
        for row, line in enumerate(lines[:6])
    ]
    events = [
        RAGChunk(id=event.id, source="story", text=event.text, meta={"order": event.order})
        for event in request.story[:4]
    ]
    for row in range(0, len(lines), STEP):
        for speaker in get_args(Speaker):
            given = PromptBuildInput(
                persona=request.persona,
                chat_context=memories if row > len(memories) else [],
                story_context=events,
                history=lines[:row],
                user_message=lines[row].content,
                user_name=request.user_name,
                speaker=speaker,
                layout=PromptLayout(format=form),
            )
            yield build_prompt(given).prompt


def counter(path: Path) -> Count:
    """Real counts, with the control tokens of all formats: tunes add those of their format."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.add_special_tokens(list(CONTROL_TOKENS))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def errors(language: str, form: str, real: Count, kind: str) -> list[float]:
    """Of each prompt, the estimate above the real count, as a share of it."""
    estimate = estimator(kind)
    return [estimate(prompt) / real(prompt) - 1 for prompt in prompts(language, form)]


def formats_of(kind: str) -> list[str]:
    """The formats that models of a kind of tokenizer are served with."""
    rows = (row for row in presets() if row.tokens == kind)
    return sorted({row.format for row in rows} - {"chat"})


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="KIND=FILE")
    print(
        f"{'kind':8} {'format':20} {'chat':4} {'n':>4} {'least':>7} {'median':>7} {'most':>7} lower"
    )
    for given in parser.parse_args().files:
        kind, _, file = given.partition("=")
        if kind not in FAMILIES or not file:
            parser.error(f"{given}: write KIND=FILE; kinds are {', '.join(FAMILIES)}")
        real = counter(Path(file))
        for form in formats_of(kind):
            for language in REQUESTS:
                found = errors(language, form, real, kind)
                low, median, high = min(found), statistics.median(found), max(found)
                lower = sum(error < -TOLERANCE for error in found)
                print(
                    f"{kind:8} {form:20} {language:4} {len(found):4} {low:+7.2%} {median:+7.2%} "
                    f"{high:+7.2%} {lower}"
                )


if __name__ == "__main__":
    main()
