"""The plan of a prompt: what is settled before anything is retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import get_args

from cards.chance import chat_of
from prompts.tokens import Count, estimate
from prompts.window import content_marks, content_sum, reach_of, verbatim_from
from prompts.words import Words
from schemas.errors import BadRequest
from schemas.formats import PromptTurn
from schemas.rag import Line, Lore, PromptBuildInput, PromptLayout, PromptPlan
from schemas.request import ChatRequest, Speaker

VOLATILE_SHARE = 0.1
"""Of the context for memories, story and state, unless the layout says otherwise."""

EXAMPLES_SHARE = 0.25
"""Of the context at most for example dialogue, even while the chat is short."""


def before_retrieval(request: ChatRequest, lore: Lore, layout: PromptLayout) -> PromptBuildInput:
    """The turn as far as it is known before anything is retrieved and anybody chosen to speak."""
    return PromptBuildInput(
        persona=request.persona,
        lore=lore.standing,
        lore_room=lore.room,
        history=request.history,
        user_message=request.message,
        user_name=request.user_name,
        chat=chat_of(request),
        layout=layout,
    )


def plan(given: PromptBuildInput, count: Count = estimate) -> PromptPlan:
    """Cuts the history and shares out the budget.

    Example dialogue stays whole until the chat outgrows its window, and then goes all at once:
    by then the history shows how the character speaks, and the prompt changes only once.

    It reads neither what was retrieved nor the speaker, so it can run before retrieval, and
    again when the prompt is built with the same result: a pure function of the card, the chat
    and the layout.

    Args:
        given: the turn; `history` is whole, as it was sent.
        count: tokens of a text.

    Raises:
        BadRequest: card, message and reply do not fit the context; says by how many tokens.
        SettingsError: the layout names no known format.
    """
    words, layout = Words.of(given), given.layout
    lore = [chunk.text for chunk in given.lore]
    system = words.system(lore, ())
    system_tokens = count(words.form.head(system, ()))
    examples, examples_tokens = _examples(words, count, EXAMPLES_SHARE * layout.context_length)
    instruction_tokens = max(count(words.closing(speaker)) for speaker in get_args(Speaker))
    message = words.message(given.user_message)
    message_tokens = count(words.form.turn(message))

    budget = layout.context_length - layout.max_new_tokens - int(words.form.bos)
    spare = budget - system_tokens - message_tokens - instruction_tokens
    if spare < 0:
        raise too_large(-spare, layout)
    share = int(VOLATILE_SHARE * layout.context_length)
    notes = share if layout.volatile_tokens is None else layout.volatile_tokens
    volatile = min(spare, notes + given.lore_room)
    window = spare - volatile + message_tokens

    history = _History(words, count, given.history or words.opening(), message, message_tokens)
    if examples and not _examples_stay(history, window, examples_tokens, layout):
        examples, examples_tokens = [], 0
    first = history.cut(window - examples_tokens, layout)
    turns, tokens = history.since(first)
    return PromptPlan(
        system=words.system(lore, examples) if examples else system,
        turns=turns,
        message=message,
        verbatim_from=first,
        dropped_examples=len(words.examples) - len(examples),
        budget=budget,
        volatile=volatile,
        system_tokens=system_tokens,
        examples_tokens=examples_tokens,
        history_tokens=tokens,
        message_tokens=message_tokens,
        instruction_tokens=instruction_tokens,
    )


def _examples_stay(history: _History, window: int, examples: int, layout: PromptLayout) -> bool:
    """Whether the whole chat leaves room for the examples. Where the backend sends the end of a
    chat only, that is unknown, and they stay as long as the message does."""
    needed = history.message if layout.recent_only else history.tokens(window)
    return needed <= window - examples


def _examples(words: Words, count: Count, share: float) -> tuple[list[str], int]:
    """The first blocks of example dialogue that fit their share, whole, and their tokens."""
    blocks: list[str] = []
    tokens = 0
    for block in words.examples:
        more = tokens + count(block) + 2  # the line ends between blocks
        if more > share:
            break
        blocks.append(block)
        tokens = more
    if blocks:
        tokens += count(words.system((), blocks[:1])) - count(words.system((), ()))
        tokens -= count(blocks[0])
    return blocks, max(tokens, 0)


def too_large(tokens: int, layout: PromptLayout) -> BadRequest:
    """The refusal of a card and message that leave no room, by how many tokens."""
    return BadRequest(
        f"card and message are {tokens} tokens too long for this model (a context of "
        f"{layout.context_length}, {layout.max_new_tokens} of them for the reply); shorten the "
        "card or the message, or lower gen.max_new_tokens",
        field="persona",
    )


class _History:
    """The lines of a chat as turns, written and counted from the newest as far as needed."""

    def __init__(
        self, words: Words, count: Count, lines: Sequence[Line], message: PromptTurn, tokens: int
    ) -> None:
        self._words, self._count, self._lines = words, count, lines
        self._known = [(message, tokens)]  # newest first
        self._total = tokens

    @property
    def message(self) -> int:
        """Tokens of the user's message."""
        return self._known[0][1]

    def tokens(self, limit: float) -> int:
        """Tokens of the newest lines and the message: all of them, or more than the limit."""
        for line in islice(reversed(self._lines), len(self._known) - 1, None):
            if self._total > limit:
                break
            turn = self._words.line(line)
            tokens = self._count(self._words.form.turn(turn)) if turn.text else 0
            self._known.append((turn, tokens))
            self._total += tokens
        return self._total

    def cut(self, window: int, layout: PromptLayout) -> int:
        """Row of the first line that stays verbatim; `len(lines)` if none does."""
        self.tokens(window + reach_of(window, layout.keep))
        hidden = len(self._lines) + 1 - len(self._known)
        before = [content_sum(line.content) for line in self._lines[max(0, hidden - 1) : hidden]]
        sums = [content_sum(turn.text) for turn, _ in reversed(self._known)]
        return hidden + verbatim_from(
            [tokens for _, tokens in reversed(self._known)],
            content_marks([*before, *sums])[len(before) :],
            window,
            layout.keep,
            recent_only=layout.recent_only or hidden > 0,
        )

    def since(self, first: int) -> tuple[list[PromptTurn], list[int]]:
        """The turns from a row on, and their tokens, without the message."""
        known = self._known[len(self._lines) - first : 0 : -1]
        return [turn for turn, _ in known], [tokens for _, tokens in known]
