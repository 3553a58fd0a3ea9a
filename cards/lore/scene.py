"""What a turn brings to a lorebook, and what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cards.characters.card import alternate_greetings, tags_of
from cards.lore.lorebook import Lorebook, LoreEntry
from cards.macros import FIELDS, Scope, Told, chat_of, expand, told_of
from cards.macros.scope import NOTHING_TOLD, fields_of
from schemas.budget import current, spending
from schemas.request import CONTINUE, ChatRequest, Message

CARD_TEXTS = {
    "description": "character_description",
    "personality": "character_personality",
    "scenario": "scenario",
}
"""Fields of a card, and what lore calls them."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A turn.

    Args:
        messages: the chat, oldest first, the user's new message last.
        char: the character's name, or nickname; `user` the user's.
        chat: the chat's id: chance depends on it and on the number of messages.
        fields: texts of the card for entries that scan them too: `character_description`,
            `character_personality`, `scenario`, `creator_notes`, `persona_description`, ...
        tags: the character's.
        greeting: which greeting the chat began with; 0 is the first message.
        trigger: the kind of turn, `normal` or `continue`.
        card: the fields that macros may name; `told` what the turn tells them.
    """

    messages: Sequence[Message]
    char: str
    user: str
    chat: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    tags: Collection[str] = ()
    greeting: int | None = None
    trigger: str = "normal"
    card: Mapping[str, str] = field(default_factory=dict)
    told: Told = NOTHING_TOLD

    @classmethod
    def of(cls, request: ChatRequest, user: str, *, korean: bool = False) -> Scene:
        """The scene of a request.

        Args:
            user: what the user is called where the request does not say.
            korean: macros tell times in Korean.
        """
        persona = request.persona
        name, chat = request.user_name or user, chat_of(request)
        greetings = [persona.first_message, *alternate_greetings(persona)]
        told = told_of(
            persona,
            request.history,
            request.message,
            user=name,
            chat=chat,
            note=request.user_note or "",
            sent=request.timestamp,
            korean=korean,
            goes_on=bool(request.reply_start),
            story=request.story,
        )
        scopes = [
            replace(Scope.of(persona, name, text, chat=chat), told=told.opening())
            for text in greetings
        ]
        with spending(current().anew()):  # they are compared, and stand in no prompt
            shown = list(map(expand, greetings, scopes))
        return cls(
            messages=[*request.history, Message(role="user", content=request.message)],
            char=persona.name,
            user=name,
            chat=chat,
            fields={CARD_TEXTS[name]: getattr(persona, name) for name in FIELDS},
            tags=tags_of(persona),
            greeting=_greeting(request.history, greetings, shown),
            trigger="continue" if request.message.strip() == CONTINUE else "normal",
            card=fields_of(persona),
            told=told,
        )

    def line(self, message: Message) -> str:
        """A message as it is scanned: behind its speaker, so that a pattern can name one."""
        known = {"user": self.user, "character": self.char}
        name = message.name or known.get(message.role, "")
        return f"\x01{name}: {message.content}" if name else f"\x01{message.content}"

    def scope(self, entry: LoreEntry, *, scanning: bool = False) -> Scope:
        """What the macros of an entry stand for."""
        return Scope(
            char=self.char,
            user=self.user,
            chat=self.chat,
            turn=len(self.messages),
            place=f"lore {entry.id}",
            fields=self.card or {name: self.fields.get(CARD_TEXTS[name], "") for name in FIELDS},
            scanning=scanning,
            told=self.told,
        )


class Active(NamedTuple):
    """An entry that takes part: its text with macros filled in, its tokens, and how many entries
    were taken before it: what the chat calls for comes before what other entries call for."""

    entry: LoreEntry
    text: str
    tokens: int
    why: str
    rank: int


@dataclass(frozen=True)
class Activation:
    """The outcome of a turn for a book."""

    book: Lorebook
    active: list[Active]
    """In the order of the prompt."""
    reasons: Mapping[int, str]
    """Row of an entry in the book, to why it is not active, unless no key of it was found."""
    budget: int
    warnings: list[str]

    @property
    def tokens(self) -> int:
        """Tokens of all active entries."""
        return sum(item.tokens for item in self.active)


def _greeting(history: Sequence[Message], *forms: Sequence[str]) -> int | None:
    """Which greeting a chat began with, as the card has it or with its macros filled in."""
    first = next((line for line in history if line.role != "system"), None)
    if first is None:
        return 0
    said = first.content.strip()
    rows = (row for texts in forms for row, text in enumerate(texts) if text.strip() == said)
    return next(rows, None) if first.role == "character" else None


def why_barred(entry: LoreEntry, scene: Scene) -> str:
    """Why an entry takes no part in this turn, whatever its keys; empty if nothing bars it."""
    if not entry.enabled:
        return "disabled"
    if entry.triggers and scene.trigger not in entry.triggers:
        return f"not for a turn of the kind `{scene.trigger}`"
    if entry.greeting is not None and scene.greeting != entry.greeting:
        return f"only for greeting {entry.greeting}"
    if len(scene.messages) < entry.delay:
        return f"waits until the chat has {entry.delay} messages"
    if entry.only_every and len(scene.messages) % entry.only_every:
        return f"only every {entry.only_every} messages"
    if entry.characters or entry.tags:
        meant = scene.char in entry.characters or not set(entry.tags).isdisjoint(scene.tags)
        if meant == entry.exclude_characters:
            return "not for this character"
    return ""
