"""What of a client's text a character of the folder says already, so that no card is there twice.

A client that holds the same card sends its fields with the macros filled in, with its own words
around them, and lore as it was called. Paragraphs are compared without case, white space and marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cards.characters.card import alternate_greetings
from cards.macros import Scope, expand
from language.normal import nfc
from openai_api.unfold import paragraphs
from schemas.request import Persona, StoryEvent

SHORT = 12
"""Signs of a paragraph, and fewer, that are equal by chance where one stands inside another."""

LABEL = 80
"""Signs that a client may put around a field, such as "[Circumstances and context: ...]"."""

_SIGNS = re.compile(r"[\W_]+")
_MACRO = re.compile(r"\{\{[^{}]{1,100}\}\}|<(?:user|char|bot)>", re.IGNORECASE)
_FILLED = 60
"""Signs of a name that stands where a macro was."""


class Known:
    """The texts of a character and its lore."""

    def __init__(self, persona: Persona, story: Sequence[StoryEvent], user: str) -> None:
        """Fills in the macros with the user's name."""
        fields = [
            *(persona.description, persona.personality, persona.scenario),
            *(persona.system_prompt, persona.post_history_instructions),
            *(persona.first_message, persona.example_dialogue),
        ]
        filled = [expand(text, Scope.of(persona, user, text)) for text in fields if text]
        parts = [signs(part) for text in filled for part in (*paragraphs(text), *text.split("\n"))]
        lore = (
            signs(expand(part, Scope.of(persona, user, part)) if "{{" in part else part)
            for event in story
            for part in (event.text, *paragraphs(event.text))
        )
        self._parts = frozenset(filter(None, (*parts, *map(signs, filled), *lore)))
        self._fields = [part for part in map(signs, filled) if len(part) > SHORT]
        self._whole = "\n".join(self._fields)

    def says(self, text: str) -> bool:
        """Whether a text is one of theirs, or part of one, or one with a label."""
        part = signs(text)
        if not part or part in self._parts or (len(part) > SHORT and part in self._whole):
            return True
        return any(field in part and len(part) - len(field) <= LABEL for field in self._fields)

    def rest(self, text: str) -> str:
        """The paragraphs, and within them the lines, that are not theirs."""
        if self.says(text):
            return ""
        kept: list[str] = []
        for part in paragraphs(text):
            if self.says(part):
                continue
            lines = [line for line in part.split("\n") if not self._repeats(line)]
            kept.append("\n".join(lines))
        return "\n\n".join(filter(str.strip, kept))

    def _repeats(self, line: str) -> bool:
        """Whether a line among others is theirs; a short one may be equal by chance."""
        return len(signs(line)) > SHORT and self.says(line)


def signs(text: str) -> str:
    """The letters and digits of a text, in lower case."""
    return _SIGNS.sub("", nfc(text).casefold())


def greeting_in(text: str, persona: Persona) -> str | None:
    """The greeting of a card that a text is, whatever name its macros were filled in with."""
    for greeting in (persona.first_message, *alternate_greetings(persona)):
        if greeting.strip() and _fits(greeting, text):
            return greeting
    return None


def _fits(template: str, text: str) -> bool:
    """Whether a text is a template with something short in the place of each macro."""
    pieces = [signs(piece) for piece in _MACRO.split(template)]
    whole = signs(text)
    at = 0
    for row, piece in enumerate(pieces):
        if row == 0:
            found = 0 if whole.startswith(piece) else -1
        elif row == len(pieces) - 1:
            found = len(whole) - len(piece) if whole.endswith(piece) else -1
        else:
            found = whole.find(piece, at)
        if found < at or found - at > _FILLED * (row > 0):
            return False
        at = found + len(piece)
    return at == len(whole)
