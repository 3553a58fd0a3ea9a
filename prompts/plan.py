"""The plan of a prompt: what is settled before anything is retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cards.chance import chat_of
from prompts.formats import FORMATS, Format, Side, Turn, format_named
from prompts.tokens import Count, estimate
from prompts.window import content_marks, reach_of, verbatim_from
from prompts.words import Words
from schemas.errors import BadRequest
from schemas.rag import DialogueTurn, Lore, PromptBuildInput, PromptLayout
from schemas.request import ChatRequest

VOLATILE_SHARE = 0.1
"""Of the context for memories, story and state, unless the layout says otherwise."""

EXAMPLES_SHARE = 0.25
"""Of the context at most for example dialogue, even while the chat is short."""

CONTINUE = "/continue"
"""A message that says nothing in the scene: the story shall go on."""


@dataclass(frozen=True)
class Plan:
    """What the prompt holds, whatever will be retrieved."""

    words: Words
    system: str
    """The system text with the lore and the examples that stay."""
    turns: list[Turn]
    """The verbatim history as the model will see it."""
    message: Turn
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
    history_tokens: list[int]
    """Of each turn of the history."""
    message_tokens: int
    instruction_tokens: int
    """Of the longer of both speakers' instructions, with the opening of the reply."""

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
        return replace(
            self,
            turns=self.turns[1:],
            history_tokens=self.history_tokens[1:],
            verbatim_from=self.verbatim_from + 1,
        )


def dialogue(request: ChatRequest) -> list[DialogueTurn]:
    """The request's history with a name on every line."""
    words = Words.of(request.persona, request.user_name, request.message, FORMATS["chatml"])
    return [
        DialogueTurn(
            role=line.role,
            name=line.name or words.role_name(line.role),
            content=line.content,
            id=line.id,
        )
        for line in request.history
    ]


def before_retrieval(request: ChatRequest, lore: Lore, layout: PromptLayout) -> PromptBuildInput:
    """The turn as far as it is known before anything is retrieved and anybody chosen to speak."""
    return PromptBuildInput(
        persona=request.persona,
        lore=lore.standing,
        lore_room=lore.room,
        history=dialogue(request),
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
    layout, form = given.layout, format_named(given.layout.format)
    words = Words.of(
        given.persona,
        given.user_name,
        given.user_message,
        form,
        chat=given.chat,
        turn=len(given.history) + 1,
    )
    lore = [chunk.text for chunk in given.lore]
    bare = words.system(lore, ())
    message = message_turn(words, given.user_message)
    budget = layout.context_length - layout.max_new_tokens - int(form.bos)
    system_tokens = count(form.head(bare, ()))
    instruction_tokens = max(
        count(closing(words, form, words.instruction(speaker), words.speaker(speaker)))
        for speaker in ("character", "narrator")
    )
    message_tokens = count(form.turn(message))
    spare = budget - system_tokens - message_tokens - instruction_tokens
    if spare < 0:
        raise too_large(-spare, layout)
    share = int(VOLATILE_SHARE * layout.context_length)
    notes = share if layout.volatile_tokens is None else layout.volatile_tokens
    volatile = min(spare, notes + given.lore_room)
    window = spare - volatile + message_tokens

    history = _History(words, given.history or words.opening(), message, count)
    blocks, examples_tokens = _examples(words, count, EXAMPLES_SHARE * layout.context_length)
    if not _examples_stay(history, window, examples_tokens, layout):
        blocks, examples_tokens = [], 0
    first = history.cut(window - examples_tokens, layout)
    turns, tokens = history.since(first)
    return Plan(
        words=words,
        system=words.system(lore, blocks) if blocks else bare,
        turns=turns,
        message=message,
        verbatim_from=first,
        dropped_examples=len(words.examples()) - len(blocks),
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


def message_turn(words: Words, message: str) -> Turn:
    """The user's message as a turn of its own, as it will stand in the next turn's history."""
    if message.strip() == CONTINUE:
        return Turn("user", "")
    return Turn("user", f"{words.tag('user', words.user)} {words.safe(message)}")


def closing(words: Words, form: Format, instruction: str, speaker: str) -> str:
    """What stands behind the user's message and the notes: the instruction, and the opening of
    the reply behind the speaker's name."""
    return f"\n\n{instruction}{form.user[1]}{form.assistant[0]}{words.tag('character', speaker)}"


def _examples(words: Words, count: Count, share: float) -> tuple[list[str], int]:
    """The first blocks of example dialogue that fit their share, whole, and their tokens."""
    blocks: list[str] = []
    tokens = 0
    for block in words.examples():
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

    def __init__(
        self, words: Words, lines: Sequence[DialogueTurn], message: Turn, count: Count
    ) -> None:
        self._words, self._lines, self._count = words, lines, count
        self._turns = [message]  # newest first
        self._counts = [count(words.form.turn(message))]

    @property
    def message(self) -> int:
        """Tokens of the user's message."""
        return self._counts[0]

    def tokens(self, limit: float) -> int:
        """Tokens of the newest lines and the message: all of them, or more than the limit."""
        total = sum(self._counts)
        while total <= limit and len(self._turns) <= len(self._lines):
            turn = _turn(self._words, self._lines[-len(self._turns)])
            self._turns.append(turn)
            self._counts.append(self._count(self._words.form.turn(turn)) if turn.text else 0)
            total += self._counts[-1]
        return total

    def cut(self, window: int, layout: PromptLayout) -> int:
        """Row of the first line that stays verbatim; `len(lines)` if none does."""
        self.tokens(window + reach_of(window, layout.keep))
        known = len(self._turns)
        older = self._lines[: len(self._lines) - known + 1][-1:]
        texts = [line.content for line in older] + [turn.text for turn in self._turns[::-1]]
        marks = content_marks(texts)[-known:]
        hidden = len(self._lines) + 1 - known
        return hidden + verbatim_from(
            self._counts[::-1],
            marks,
            window,
            layout.keep,
            recent_only=layout.recent_only or hidden > 0,
        )

    def since(self, first: int) -> tuple[list[Turn], list[int]]:
        """The turns from a row on, and their tokens, without the message."""
        size = len(self._lines) - first
        return self._turns[size:0:-1], self._counts[size:0:-1]


def _turn(words: Words, line: DialogueTurn) -> Turn:
    """A line of the history. The narrator speaks on the model's side, as does the character; a
    line of the system is a note on the user's side, so that the system keeps one turn only."""
    is_greeting = line.content and line.content == words.persona.first_message
    text = words.greeting() if is_greeting else words.safe(line.content)
    if not text or (line.role == "user" and text == CONTINUE):
        return Turn("user", "")
    if line.role == "system":
        return Turn("user", words.safe(f"[{text}]"))  # `[INST]` of `INST`
    side: Side = "user" if line.role == "user" else "assistant"
    return Turn(side, f"{words.tag(line.role, line.name)} {text}")
