"""The plan of a prompt: what is settled before anything is retrieved, above all which part of the
history stays verbatim. It is cut in blocks, at places that the text itself decides.

A history that slides by a message each turn moves every later token, and the engine's cache is
lost. So the history grows until the window is full, then a block falls away at once, and the
prompt stays as it is until the next one.

Every stateless worker must cut at the same place, also when the backend sends only the recent
part of the chat: so no rule may count from the first message it sees. A cut falls on an *anchor*,
as in content-defined chunking: a message whose hash is the smallest within a reach of tokens on
both sides. That depends on its neighbourhood alone. The cut is the oldest anchor from which
everything fits the window; it stays while that is so, then the next anchor takes over. A worker
that sees the window and one reach more sees the same cut as one that sees the whole chat.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

from cards.macros import chat_of
from prompts.tokens import Count, estimate
from prompts.words import Words
from schemas.errors import BadRequest
from schemas.formats import PromptTurn
from schemas.rag import Line, Lore, PromptBuildInput, PromptLayout, PromptPlan
from schemas.request import ChatRequest, Speaker

VOLATILE_SHARE = 0.1
"""Of the context for memories, story and state, unless the layout says otherwise."""

EXAMPLES_SHARE = 0.25
"""Of the context at most for example dialogue, even while the chat is short."""

_FINER = (1, 2, 4)
"""Reaches to try, as divisors: where no anchor lies in the window's older part, a nearer one."""


def before_retrieval(request: ChatRequest, lore: Lore, layout: PromptLayout) -> PromptBuildInput:
    """The turn as far as it is known before anything is retrieved and anybody chosen to speak; the
    user's own line is written only where the request asks for it."""
    return PromptBuildInput(
        persona=request.persona,
        lore=lore.standing,
        lore_room=lore.room,
        history=request.history,
        user_message=request.message,
        user_name=request.user_name,
        user_note=request.user_note or "",
        instruction=request.instruction or "",
        reply_start=request.reply_start or "",
        speaker="user" if request.respond_as == "user" else "character",
        chat=chat_of(request),
        sent=request.timestamp,
        story=request.story,
        placed=lore.placed,
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
    speakers = ("user",) if given.speaker == "user" else get_args(Speaker)
    instruction_tokens = max(count(words.closing(speaker)) for speaker in speakers)
    message = words.message(given.user_message)
    message_tokens = count(words.form.turn(message))

    budget = layout.context_length - layout.max_new_tokens - int(words.form.bos)
    spare = budget - system_tokens - message_tokens - instruction_tokens
    if spare < 0:
        raise too_large(-spare, given)
    share = int(VOLATILE_SHARE * layout.context_length)
    notes = share if layout.volatile_tokens is None else layout.volatile_tokens
    volatile = min(spare, notes + given.lore_room)
    window = spare - volatile + message_tokens

    lines = given.history or ([] if given.reply_start else words.opening())
    furthest = window + reach_of(window, layout.keep)
    known = _newest_turns(words, count, lines, (message, message_tokens), furthest)
    # where the backend sends the end of a chat only, nobody knows how long it is
    needed = message_tokens if layout.recent_only else sum(tokens for _, tokens in known)
    if examples and needed > window - examples_tokens:
        examples, examples_tokens = [], 0
    first = _first_kept(words, lines, known, window - examples_tokens, layout)
    kept = known[first - len(lines) - 1 : -1]
    return PromptPlan(
        system=words.system(lore, examples) if examples else system,
        turns=[turn for turn, _ in kept],
        message=message,
        verbatim_from=first,
        dropped_examples=len(words.examples) - len(examples),
        budget=budget,
        volatile=volatile,
        system_tokens=system_tokens,
        examples_tokens=examples_tokens,
        history_tokens=[tokens for _, tokens in kept],
        message_tokens=message_tokens,
        instruction_tokens=instruction_tokens,
    )


def _newest_turns(
    words: Words, count: Count, lines: Sequence[Line], message: tuple[PromptTurn, int], limit: float
) -> list[tuple[PromptTurn, int]]:
    """The newest turns and their tokens, the message last: all of them, or more than the limit."""
    newest, total = [message], message[1]
    for line in reversed(lines):
        if total > limit:
            break
        turn = words.line(line)
        tokens = count(words.form.turn(turn)) if turn.text else 0
        newest.append((turn, tokens))
        total += tokens
    return newest[::-1]


def _first_kept(
    words: Words,
    lines: Sequence[Line],
    known: Sequence[tuple[PromptTurn, int]],
    window: int,
    layout: PromptLayout,
) -> int:
    """Row of the first line that stays verbatim; `len(lines)` if none does."""
    hidden = len(lines) + 1 - len(known)
    before = [words.line(lines[hidden - 1]).text] if hidden else []
    texts = [*before, *(turn.text for turn, _ in known)]
    return hidden + verbatim_from(
        [tokens for _, tokens in known],
        content_marks(texts)[len(before) :],
        window,
        layout.keep,
        recent_only=layout.recent_only or hidden > 0,
    )


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


def too_large(tokens: int, given: PromptBuildInput) -> BadRequest:
    """The refusal of a card, message and standing note that leave no room, by how many tokens."""
    layout, fields = given.layout, "card and message"
    cure = "shorten the card or the message"
    if given.user_note:
        fields, cure = "card, message and user_note", "shorten one of them"
    return BadRequest(
        f"{fields} are {tokens} tokens too long for this model (a context of "
        f"{layout.context_length}, {layout.max_new_tokens} of them for the reply); {cure}, or "
        "lower gen.max_new_tokens",
        field="persona",
    )


def content_marks(texts: Sequence[str]) -> list[int]:
    """A pseudo-random number for each message, of its own text and the one before it.

    The pair tells equal messages ("ok") apart. The first has none before it, so its mark is not
    the one it has within a longer chat.
    """
    sums = [zlib.crc32(text.encode()) for text in texts]
    return [zlib.crc32(b"%d %d" % pair) for pair in pairwise([0, *sums])]


def reach_of(budget: int, keep: float) -> float:
    """Reach of an anchor on each side, in tokens.

    Anchors lie two reaches apart on average, and a cut drops what lies between two of them.
    """
    return (1 - keep) / 2 * budget


def verbatim_from(
    counts: Sequence[int],
    marks: Sequence[int],
    budget: int,
    keep: float = 0.5,
    *,
    recent_only: bool = False,
) -> int:
    """Row of the first message that stays verbatim.

    Args:
        counts: tokens of each message, oldest first, the user's new message last.
        marks: `content_marks` of the same messages.
        budget: tokens of the window: what stays fits it, but for the last message.
        keep: share of the window that a cut leaves on average, and half of it at least.
        recent_only: the first message given is not the first of the chat, so it is no place to
            cut: where it falls out next turn, the cache would be lost.

    Returns:
        0 while everything fits; at most `len(counts) - 1`.
    """
    last = len(counts) - 1
    first, fitting = last, counts[last]
    while first > 0 and fitting + counts[first - 1] <= budget:
        first -= 1
        fitting += counts[first]
    if first == 0 and not recent_only:
        return 0
    floor, reach = keep / 2 * min(budget, fitting), reach_of(budget, keep)
    for divisor in _FINER:
        tokens = fitting
        for row in range(first, last):
            if tokens < max(floor, reach / divisor):
                break
            if _is_anchor(row, counts, marks, reach / divisor):
                return row
            tokens -= counts[row]
    return first


def _is_anchor(row: int, counts: Sequence[int], marks: Sequence[int], reach: float) -> bool:
    """Whether no mark within reach is smaller; of equal ones the latest counts.

    A message whose older neighbours are not all known is none.
    """
    tokens, before = 0, row - 1
    while tokens < reach:
        if before < 0 or marks[before] < marks[row]:
            return False
        tokens += counts[before]
        before -= 1
    tokens, behind = counts[row], row + 1
    while behind < len(counts) and tokens < reach:
        if marks[behind] <= marks[row]:
            return False
        tokens += counts[behind]
        behind += 1
    return True
