"""The words of a prompt: Jinja files in English and Korean, filled with one chat's names.

User text enters a template only as a variable, its control tokens made harmless beforehand;
macros are replaced in the card's own fields and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cards.macros import FIELDS, Scope, expand, varies
from language.korean import josa
from prompts.control import neutralise
from prompts.formats import Format
from prompts.language import Language, language_of
from prompts.lines import Rendered, Voices, line_of, voices_of
from schemas.rag import DialogueTurn, Line
from schemas.request import Persona, Speaker

NARRATOR: dict[Language, str] = {"en": "Narrator", "ko": "내레이터"}
USER: dict[Language, str] = {"en": "User", "ko": "사용자"}

_LANGUAGE_NAMES: dict[Language, dict[str, str]] = {
    "en": {
        **{"en": "English", "ja": "Japanese", "zh": "Chinese", "es": "Spanish", "fr": "French"},
        **{"de": "German", "pt": "Portuguese", "ru": "Russian", "it": "Italian"},
    },
    "ko": {"ko": "한국어로"},
}
"""Language named in the instruction; others are left to the chat, which shows them."""

KEPT = 128
"""Chats whose words are kept for their next turn, some 20 kB each."""


class Card(NamedTuple):
    """The fields of a card that words are made of."""

    name: str
    description: str
    personality: str
    scenario: str
    first_message: str
    example_dialogue: str
    system_prompt: str
    post_history_instructions: str
    language: str | None

    @classmethod
    def of(cls, persona: Persona) -> Card:
        """The card of a persona."""
        return cls(*(getattr(persona, name) for name in cls._fields))


@dataclass(frozen=True, eq=False)
class Words:
    """The words for one chat: who plays, in which language, in which format."""

    card: Card
    voices: Voices
    language: Language
    chat: str
    """With `turn`, the number of messages: what chance in macros is drawn from."""
    turn: int

    @classmethod
    def of(
        cls,
        persona: Persona,
        user_name: str | None,
        message: str,
        form: Format,
        *,
        chat: str = "",
        turn: int = 0,
    ) -> Words:
        """The words for this card and user, those of the turn before where they are the same; a
        user without a name gets a plain one."""
        language = language_of(persona, message)
        user = user_name or USER[language]
        voices = voices_of(form, user, persona.name, NARRATOR[language])
        card = Card.of(persona)
        return _words(card, voices, language, chat, turn if _varies(card) else 0)

    @property
    def user(self) -> str:
        """The user's name."""
        return self.voices.user

    @property
    def form(self) -> Format:
        """The format of the prompt."""
        return self.voices.form

    @property
    def narrator(self) -> str:
        """The narrator's name in the language of the prompt."""
        return self.voices.narrator

    @property
    def varies(self) -> bool:
        """Whether the card's own words may be others in the next turn."""
        return _varies(self.card)

    def speaker(self, speaker: Speaker) -> str:
        """The name of whoever answers."""
        return self.narrator if speaker == "narrator" else self.card.name

    def system(self, lore: Sequence[str], examples: Sequence[str]) -> str:
        """The system text, the same for both speakers and the whole chat."""
        return _system(self, tuple(lore), tuple(examples))

    @cached_property
    def examples(self) -> tuple[str, ...]:
        """The card's example dialogue as blocks, with its macros filled in."""
        user = self.form.user_label or self.user
        blocks = re.split(r"<START>", self.card.example_dialogue, flags=re.IGNORECASE)
        texts = (neutralise(self._macros(block, user), self.form) for block in blocks)
        return tuple(text.strip() for text in texts if text.strip())

    @cached_property
    def greeting(self) -> str:
        """The card's first message, the same in every turn; empty where it has none."""
        return replace(self, turn=0)._field(self.card.first_message)

    def opening(self) -> list[DialogueTurn]:
        """The history of a chat that has not begun: the greeting, where the card has one."""
        text = self.card.first_message
        name = self.card.name
        return [DialogueTurn(role="character", name=name, content=text)] if text else []

    def line(self, line: Line) -> Rendered:
        """A line of the history as the model sees it."""
        if line.content and line.content == self.card.first_message:
            return self.voices.line(line.role, line.name, self.greeting)
        return line_of(self.voices, line.role, line.name, line.content)

    def notes(
        self,
        *,
        memories: Sequence[str],
        story: Sequence[str],
        secrets: Sequence[str],
        state: str,
        direction: str,
    ) -> str:
        """What this turn alone needs to know; empty if that is nothing."""
        lines = {
            "memories": memories,
            "story": story,
            "secrets": secrets,
            "state": self.voices.item(state),
            "direction": self.voices.item(direction),
        }
        if not any(lines.values()):
            return ""
        text = f"[{self._fill(f'{self.language}/notes.j2', **lines)}]"
        return neutralise(text, self.form)  # the brackets may complete a mark: `[/INST` and `]`

    def instruction(self, speaker: Speaker) -> str:
        """Who speaks now and how, behind the card's own words for this place."""
        return self._instructions[speaker]

    @cached_property
    def _instructions(self) -> dict[Speaker, str]:
        return {
            "character": self._instruction("character"),
            "narrator": self._instruction("narrator"),
        }

    def _instruction(self, speaker: Speaker) -> str:
        code = (self.card.language or "").split("-")[0]
        own = self._fill(
            f"{self.language}/instruction.j2",
            speaker=speaker,
            language_name=_LANGUAGE_NAMES[self.language].get(code, ""),
        )
        card = self.card.post_history_instructions
        if not card.strip():
            return own
        text = self._field(card, original=own)
        return text if own in text else f"{text}\n{own}"

    def question(self) -> str:
        """In place of the instruction: who of the two shall speak."""
        return self._fill(f"{self.language}/question.j2")

    def _field(self, text: str, original: str = "") -> str:
        return self.voices.safe(self._macros(text, self.user, original))

    def _macros(self, text: str, user: str, original: str = "") -> str:
        """A card's text with its macros filled in."""
        scope = Scope(
            char=self.card.name,
            user=user,
            original=original,
            chat=self.chat,
            turn=self.turn,
            place=text,
            fields={name: getattr(self.card, name) for name in FIELDS},
        )
        return expand(text, scope)

    def _fill(self, template: str, **variables: object) -> str:
        return _templates().get_template(template).render(**self.voices.names, **variables).strip()


@lru_cache(maxsize=KEPT)
def _words(card: Card, voices: Voices, language: Language, chat: str, turn: int) -> Words:
    return Words(card, voices, language, chat, turn)


@lru_cache(maxsize=KEPT)
def _varies(card: Card) -> bool:
    """Whether chance in the card makes other words of it in each turn."""
    own = (card.system_prompt, card.post_history_instructions, card.example_dialogue)
    return any(map(varies, (card.description, card.personality, card.scenario, *own)))


@lru_cache(maxsize=KEPT)
def _system(words: Words, lore: tuple[str, ...], examples: tuple[str, ...]) -> str:
    card = words.card
    fields = {
        "description": words._field(card.description),
        "personality": words._field(card.personality),
        "scenario": words._field(card.scenario),
        "lore": [words.voices.item(text) for text in lore],
        "examples": examples,
    }
    if words.form.user_label:
        return words._fill("pygmalion_system.j2", **fields)
    rules = words._fill(f"{words.language}/rules.j2")
    if card.system_prompt.strip():
        rules = words._field(card.system_prompt, original=rules)
    return words._fill(f"{words.language}/system.j2", rules=rules, **fields)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # plain text for a language model, no HTML
        auto_reload=False,  # no look at the files each time
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["josa"] = josa
    return environment
