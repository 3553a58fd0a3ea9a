"""The second opinion of `route`: the language model says which of two names answers."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Any

from language.korean import is_syllable
from language.normal import nfc
from prompts.build import Question, ask_who
from prompts.plan import before_retrieval
from schemas.base import done
from schemas.errors import IyagiError, traced
from schemas.models import Model
from schemas.rag import Lore
from schemas.request import ChatRequest, Speaker
from schemas.state import Context, SecondOpinion

log = logging.getLogger(__name__)

SECONDS = 2.0
"""Longest wait for an answer; the turn waits as long."""
TOKENS = 8
"""Of an answer at most: a tokenizer may need three for a syllable, and two syllables tell."""
TELLING = {True: 2, False: 3}
"""Characters of a name, Korean or not, that tell it where the answer was broken off."""
STOP = ["\n", ":", "："]
SHOWN = 40
"""Characters of the answer that `meta.route` shows."""


async def second_opinion(
    request: ChatRequest, lore: Lore, model: Model, context: Context
) -> SecondOpinion:
    """Asks the model who answers; never raises, and waits `SECONDS` at most.

    Greedy and with a fixed seed, whatever the request's sampling is: a regenerate with another
    seed keeps its narrator.

    Args:
        request: the turn.
        lore: of which the standing part is in the system text.
        model: that will write the reply, too.
        context: for the length of the reply, on which the cut of the history depends.
    """
    started, said, speaker, why = time.perf_counter(), "", None, ""
    try:
        layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
        given = before_retrieval(request, lore, layout)
        asked = await done(partial(ask_who, given, count=model.count), aside=request.is_large)
        async with asyncio.timeout(SECONDS):
            said = await model.llm.ainvoke(asked.prompt, stop=STOP, **_sampling(asked))
        speaker = named(said, character=asked.character, narrator=asked.narrator)
        why = "" if speaker else "it named neither"
    except TimeoutError:
        why = f"no answer within {SECONDS:g} s"
    except IyagiError as error:
        why = error.message
    except Exception as error:  # noqa: BLE001 - any LangChain LLM may be put in
        log.error("the second opinion failed\n%s", traced(error))
        why = f"the model failed ({type(error).__name__})"
    return SecondOpinion(
        said=said.strip()[:SHOWN],
        decided=speaker,
        why_not=why,
        milliseconds=round(1000 * (time.perf_counter() - started), 1),
    )


def named(said: str, *, character: str, narrator: str) -> Speaker | None:
    """Whose name an answer begins with, or is the beginning of; None where it is neither's or
    could be both's."""
    text = _folded(said)
    fits = _begins(text, _folded(character)), _begins(text, _folded(narrator))
    if fits[0] == fits[1]:
        return None
    return "character" if fits[0] else "narrator"


def _begins(text: str, name: str) -> bool:
    enough = min(len(name), TELLING[is_syllable(name[:1])])
    return text.startswith(name) or (len(text) >= enough and name.startswith(text))


def _folded(text: str) -> str:
    """Without case, and without marks and spaces around it."""
    return nfc(text).casefold().strip(" \t\n*_\"'“”‘’「」『』[]().,!:：")


def _sampling(asked: Question) -> dict[str, Any]:
    """The likeliest answer, of the two names where the backend can see to it."""
    sampling: dict[str, Any] = {"max_new_tokens": TOKENS, "temperature": 0.0, "seed": 0}
    sampling["choice"] = [asked.character, asked.narrator]
    return sampling | ({"messages": asked.messages} if asked.messages else {})
