"""The plan of a prompt: what is settled before anything is retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from cards.macros import chat_of
from prompts.formats import Format, Turn, format_named
from prompts.lines import CONTINUE, Rendered
from prompts.tokens import Count, estimate
from prompts.window import content_marks, content_sum, reach_of, verbatim_from
from prompts.words import Words
from schemas.errors import BadRequest
from schemas.rag import Line, Lore, PromptBuildInput, PromptLayout
from schemas.request import ChatRequest

VOLATILE_SHARE = 0.1
"""Of the context for memories, story and state, unless the layout says otherwise."""

EXAMPLES_SHARE = 0.25
"""Of the context at most for example dialogue, even while the chat is short."""


class Plan(BaseModel):
    """What the prompt holds, whatever will be retrieved. Written out, it shows its numbers only."""

    model_config = ConfigDict(frozen=True)

    frame: SkipValidation[Frame] = Field(exclude=True)
    system: str = Field(exclude=True)
    """The system text with the lore and the examples that stay."""
    turns: SkipValidation[list[Turn]] = Field(exclude=True)
    """The verbatim history as the model will see it."""
    message: SkipValidation[Turn] = Field(exclude=True)
    """The user's message."""
    verbatim_from: int
    """Row of the first message of the history that is kept; older ones may be retrieved."""
    dropped_examples: int
    """Blocks of example dialogue that are left out."""
    budget: int
    """Tokens of the prompt at most."""
    volatile: int
    """Tokens of notes at most."""
    system_tokens: int
    examples_tokens: int
    history_tokens: SkipValidation[list[int]] = Field(exclude=True)
    """Of each turn of the history."""
    message_tokens: int
    instruction_tokens: int
    """Of the longer of both speakers' instructions, with the opening of the reply."""

    @property
    def words(self) -> Words:
        """The words of the chat."""
        return self.frame.words

    @property
    def tokens(self) -> int:
        """Tokens of all but the notes."""
        return (
            self.system_tokens
            + self.examples_tokens
            + sum(self.history_tokens)
            + self.message_tokens
            + self.instruction_tokens
        )

    def shorter(self) -> Plan:
        """The same without the oldest turn of the history."""
        return self.model_copy(
            update={
                "turns": self.turns[1:],
                "history_tokens": self.history_tokens[1:],
                "verbatim_from": self.verbatim_from + 1,
            }
        )

    def before(self, line: Line, lines: Sequence[Line], count: Count) -> Plan | None:
        """The plan of an earlier turn of the chat, or None if that one was refused.

        Args:
            line: the user's message then.
            lines: the history then.
            count: tokens of a text.
        """
        frame = self.frame.before(line.content, len(lines), count)
        try:
            return frame.plan(lines, line.content)
        except BadRequest:
            return None


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


def plan(given: PromptBuildInput, count: Count = estimate) -> Plan:
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
    words = _words(given, given.user_message, len(given.history))
    return Frame.of(given, words, count).plan(given.history, given.user_message)


@dataclass(frozen=True)
class Frame:
    """A turn without its history and message; a line of the history is rendered only once."""

    given: PromptBuildInput
    words: Words
    count: Count = field(compare=False)
    system: str
    """The system text without examples."""
    system_tokens: int
    instruction_tokens: int
    """Of the longer of both speakers' instructions, with the opening of the reply."""
    examples: list[str]
    """The blocks of example dialogue that fit their share."""
    examples_tokens: int
    _rendered: dict[int, tuple[Rendered, int]] = field(default_factory=dict, compare=False)
    """Lines by their `id` (the history keeps them alive), and their tokens."""

    @classmethod
    def of(cls, given: PromptBuildInput, words: Words, count: Count) -> Frame:
        """The frame of a turn with these words."""
        system = words.system(_lore(given), ())
        share = EXAMPLES_SHARE * given.layout.context_length
        examples, examples_tokens = _examples(words, count, share)
        return cls(
            given=given,
            words=words,
            count=count,
            system=system,
            system_tokens=count(words.form.head(system, ())),
            instruction_tokens=max(
                count(
                    closing(words, words.form, words.instruction(speaker), words.speaker(speaker))
                )
                for speaker in ("character", "narrator")
            ),
            examples=examples,
            examples_tokens=examples_tokens,
        )

    def before(self, message: str, lines: int, count: Count) -> Frame:
        """The frame of the turn with this message behind so many lines: as a rule the same."""
        words = _words(self.given, message, lines)
        if words.language == self.words.language and not self.words.varies:
            return replace(self, count=count, _rendered=dict(self._rendered))
        return Frame.of(self.given, words, count)

    def plan(self, lines: Sequence[Line], message: str) -> Plan:
        """The plan of a turn: the history before it, and its message. Raises BadRequest."""
        words, layout = self.words, self.given.layout
        turn = message_turn(words, message)
        message_tokens = self.count(words.form.turn(turn))
        budget = layout.context_length - layout.max_new_tokens - int(words.form.bos)
        spare = budget - self.system_tokens - message_tokens - self.instruction_tokens
        if spare < 0:
            raise too_large(-spare, layout)
        share = int(VOLATILE_SHARE * layout.context_length)
        notes = share if layout.volatile_tokens is None else layout.volatile_tokens
        volatile = min(spare, notes + self.given.lore_room)
        window = spare - volatile + message_tokens

        history = _History(self, lines or words.opening(), turn, message_tokens)
        blocks, examples_tokens = self.examples, self.examples_tokens
        if not _examples_stay(history, window, examples_tokens, layout):
            blocks, examples_tokens = [], 0
        first = history.cut(window - examples_tokens, layout)
        turns, tokens = history.since(first)
        return Plan(
            frame=self,
            system=words.system(_lore(self.given), blocks) if blocks else self.system,
            turns=turns,
            message=turn,
            verbatim_from=first,
            dropped_examples=len(words.examples) - len(blocks),
            budget=budget,
            volatile=volatile,
            system_tokens=self.system_tokens,
            examples_tokens=examples_tokens,
            history_tokens=tokens,
            message_tokens=message_tokens,
            instruction_tokens=self.instruction_tokens,
        )

    def rendered(self, line: Line) -> tuple[Rendered, int]:
        """A line of the history as a turn, and its tokens."""
        found = self._rendered.get(id(line))
        if found is None:
            shown = self.words.line(line)
            found = shown, self.count(shown.whole) if shown.turn.text else 0
            self._rendered[id(line)] = found
        return found


def _lore(given: PromptBuildInput) -> list[str]:
    return [chunk.text for chunk in given.lore]


def _words(given: PromptBuildInput, message: str, lines: int) -> Words:
    """The words of the turn with this message behind so many lines of the chat."""
    form = format_named(given.layout.format)
    return Words.of(given.persona, given.user_name, message, form, chat=given.chat, turn=lines + 1)


def _examples_stay(history: _History, window: int, examples: int, layout: PromptLayout) -> bool:
    """Whether the whole chat leaves room for the examples. Where the backend sends the end of a
    chat only, that is unknown, and they stay as long as the message does."""
    needed = history.message if layout.recent_only else history.tokens(window)
    return needed <= window - examples


def message_turn(words: Words, message: str) -> Turn:
    """The user's message as a turn of its own, as it will stand in the next turn's history."""
    if message.strip() == CONTINUE:
        return Turn("user", "")
    voices = words.voices
    return Turn("user", f"{voices.tag('user', voices.user)} {voices.safe(message)}")


def closing(words: Words, form: Format, instruction: str, speaker: str) -> str:
    """What stands behind the user's message and the notes: the instruction, and the opening of
    the reply behind the speaker's name."""
    opening = words.voices.tag("character", speaker)
    return f"\n\n{instruction}{form.user[1]}{form.assistant[0]}{opening}"


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
    """The lines of a chat as turns, rendered and counted from the newest as far as needed."""

    def __init__(self, frame: Frame, lines: Sequence[Line], message: Turn, tokens: int) -> None:
        self._frame, self._lines = frame, lines
        self._known = [(frame.words.voices.rendered(message), tokens)]  # newest first
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
            found = self._frame.rendered(line)
            self._known.append(found)
            self._total += found[1]
        return self._total

    def cut(self, window: int, layout: PromptLayout) -> int:
        """Row of the first line that stays verbatim; `len(lines)` if none does."""
        self.tokens(window + reach_of(window, layout.keep))
        hidden = len(self._lines) + 1 - len(self._known)
        before = [content_sum(line.content) for line in self._lines[max(0, hidden - 1) : hidden]]
        sums = [line.sum for line, _ in reversed(self._known)]
        return hidden + verbatim_from(
            [tokens for _, tokens in reversed(self._known)],
            content_marks([*before, *sums])[len(before) :],
            window,
            layout.keep,
            recent_only=layout.recent_only or hidden > 0,
        )

    def since(self, first: int) -> tuple[list[Turn], list[int]]:
        """The turns from a row on, and their tokens, without the message."""
        known = self._known[len(self._lines) - first : 0 : -1]
        return [line.turn for line, _ in known], [tokens for _, tokens in known]
