"""Lines of a chat as the model sees them; what was rendered is kept for the next turn.

A line depends on nothing but the format, the names, and its own role, name and words. It is kept
under all of them, so whoever finds it would have made the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from prompts.control import neutralise
from prompts.formats import Format, Side, Turn
from prompts.window import content_sum
from schemas.request import Role

CONTINUE = "/continue"
"""A message that says nothing in the scene: the story shall go on."""

KEPT = 4_096
"""Rendered lines that are kept: some 20 windows of 8,192 tokens, 4 MB; and half as many notes."""

LONGEST = 4_000
"""Characters of a line that is kept; a window holds few longer ones."""


class Rendered(NamedTuple):
    """A line as a turn; its text is empty where the line says nothing."""

    turn: Turn
    whole: str
    """The turn with the format's marks around it."""
    sum: int
    """`content_sum` of the turn's text."""


@dataclass(frozen=True, eq=False)
class Voices:
    """Who speaks in a chat, and in which format; `voices_of` gives the same for the same names."""

    form: Format
    user: str
    character: str
    narrator: str

    @cached_property
    def names(self) -> dict[str, str]:
        """The names as templates take them."""
        names = {"char": self.character, "user": self.user, "narrator": self.narrator}
        return {key: neutralise(name, self.form) for key, name in names.items()}

    @cached_property
    def _speakers(self) -> tuple[str, ...]:
        return (self.user, self.character, self.narrator)

    def role_name(self, role: Role) -> str:
        """The name of a line's speaker where the line brings none."""
        match role:
            case "user":
                return self.user
            case "character":
                return self.character
            case "narrator":
                return self.narrator
            case "system":
                return ""

    def safe(self, text: str) -> str:
        """A text without control tokens and outer white space."""
        return neutralise(text, self.form, self._speakers).strip()

    def item(self, text: str) -> str:
        """A text as one line of a list."""
        return " ".join(self.safe(text).split())

    def tag(self, role: Role, name: str) -> str:
        """What stands before a line: `Sera:`; the user's own label where the format has one."""
        if role == "user" and self.form.user_label:
            return f"{self.form.user_label}:"
        return neutralise(f"{name}:", self.form)

    def note(self, speaker: str | None, time: str, text: str) -> str:
        """A line of the notes: who said it and when it was, where that is told, and a text."""
        line = self.item(text)
        if speaker is not None:
            line = f"{self.tag('character', self.item(speaker))} {line}"
        return f"({self.item(time)}) {line}" if time else line

    def line(self, role: Role, name: str | None, text: str) -> Rendered:
        """A line whose text is safe. The narrator speaks on the model's side, as does the
        character; a line of the system is a note on the user's side, so that the system keeps one
        turn only."""
        if not text or (role == "user" and text == CONTINUE):
            return self.rendered(Turn("user", ""))
        if role == "system":
            return self.rendered(Turn("user", self.safe(f"[{text}]")))  # `[INST]` of `INST`
        side: Side = "user" if role == "user" else "assistant"
        tag = self.tag(role, name or self.role_name(role))
        return self.rendered(Turn(side, f"{tag} {text}"))

    def rendered(self, turn: Turn) -> Rendered:
        """A turn, and what is counted and summed of it."""
        return Rendered(turn, self.form.turn(turn), content_sum(turn.text))


@lru_cache(maxsize=256)
def voices_of(form: Format, user: str, character: str, narrator: str) -> Voices:
    """The voices of a chat with these names."""
    return Voices(form, user, character, narrator)


def line_of(voices: Voices, role: Role, name: str | None, content: str) -> Rendered:
    """A line of the history as the model sees it."""
    make = _line if len(content) > LONGEST else _kept_line
    return make(voices, role, name, content)


def _line(voices: Voices, role: Role, name: str | None, content: str) -> Rendered:
    return voices.line(role, name, voices.safe(content))


_kept_line = lru_cache(maxsize=KEPT)(_line)


def note_of(voices: Voices, speaker: str | None, time: str, text: str) -> str:
    """`Voices.note`: what was recalled once is soon recalled again."""
    make = Voices.note if len(text) > LONGEST else _kept_note
    return make(voices, speaker, time, text)


_kept_note = lru_cache(maxsize=KEPT // 2)(Voices.note)
