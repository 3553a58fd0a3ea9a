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

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cards.macros import Scope, expand, varies
from prompts.control import neutralise
from prompts.formats import Format
from prompts.language import Language, josa, language_of
from schemas.rag import DialogueTurn
from schemas.request import Persona, Role, Speaker

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


@dataclass(frozen=True)
class Words:
    """The words for one chat: who plays, in which language, in which format."""

    persona: Persona
    user: str
    language: Language
    form: Format
    chat: str = ""
    """With `turn`, the number of messages: what chance in macros is drawn from."""
    turn: int = 0

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
        """The words for this card and user; a user without a name gets a plain one."""
        language = language_of(persona, message)
        return cls(persona, user_name or USER[language], language, form, chat, turn)

    @property
    def narrator(self) -> str:
        """The narrator's name in the language of the prompt."""
        return NARRATOR[self.language]

    @cached_property
    def varies(self) -> bool:
        """Whether the card's own words may be others in the next turn."""
        card = self.persona
        own = (card.system_prompt, card.post_history_instructions, card.example_dialogue)
        return any(map(varies, (card.description, card.personality, card.scenario, *own)))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (self.user, self.persona.name, self.narrator)

    def speaker(self, speaker: Speaker) -> str:
        """The name of whoever answers."""
        return self.narrator if speaker == "narrator" else self.persona.name

    def role_name(self, role: Role) -> str:
        """The name of a line's speaker where the line brings none."""
        match role:
            case "user":
                return self.user
            case "character":
                return self.persona.name
            case "narrator":
                return self.narrator
            case "system":
                return ""

    def safe(self, text: str) -> str:
        """A text without control tokens and outer white space."""
        return neutralise(text, self.form, self._names).strip()

    def tag(self, role: Role, name: str) -> str:
        """What stands before a line: `Sera:`; the user's own label where the format has one."""
        if role == "user" and self.form.user_label:
            return f"{self.form.user_label}:"
        return neutralise(f"{name}:", self.form)

    def system(self, lore: Sequence[str], examples: Sequence[str]) -> str:
        """The system text, the same for both speakers and the whole chat."""
        card = self.persona
        fields = {
            "description": self._field(card.description),
            "personality": self._field(card.personality),
            "scenario": self._field(card.scenario),
            "lore": [self.item(text) for text in lore],
            "examples": examples,
        }
        if self.form.user_label:
            return self._fill("pygmalion_system.j2", **fields)
        rules = self._fill(f"{self.language}/rules.j2")
        if card.system_prompt.strip():
            rules = self._field(card.system_prompt, original=rules)
        return self._fill(f"{self.language}/system.j2", rules=rules, **fields)

    def examples(self) -> list[str]:
        """The card's example dialogue as blocks, with its macros filled in."""
        user = self.form.user_label or self.user
        blocks = re.split(r"<START>", self.persona.example_dialogue, flags=re.IGNORECASE)
        texts = (neutralise(self._macros(block, user), self.form) for block in blocks)
        return [text.strip() for text in texts if text.strip()]

    def greeting(self) -> str:
        """The card's first message, the same in every turn; empty where it has none."""
        return replace(self, turn=0)._field(self.persona.first_message)

    def opening(self) -> list[DialogueTurn]:
        """The history of a chat that has not begun: the greeting, where the card has one."""
        text = self.persona.first_message
        name = self.persona.name
        return [DialogueTurn(role="character", name=name, content=text)] if text else []

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
            "state": self.item(state),
            "direction": self.item(direction),
        }
        if not any(lines.values()):
            return ""
        text = f"[{self._fill(f'{self.language}/notes.j2', **lines)}]"
        return neutralise(text, self.form)  # the brackets may complete a mark: `[/INST` and `]`

    def instruction(self, speaker: Speaker) -> str:
        """Who speaks now and how, behind the card's own words for this place."""
        code = (self.persona.language or "").split("-")[0]
        own = self._fill(
            f"{self.language}/instruction.j2",
            speaker=speaker,
            language_name=_LANGUAGE_NAMES[self.language].get(code, ""),
        )
        card = self.persona.post_history_instructions
        if not card.strip():
            return own
        text = self._field(card, original=own)
        return text if own in text else f"{text}\n{own}"

    def question(self) -> str:
        """In place of the instruction: who of the two shall speak."""
        return self._fill(f"{self.language}/question.j2")

    def item(self, text: str) -> str:
        """A text as one line of a list."""
        return " ".join(self.safe(text).split())

    def _field(self, text: str, original: str = "") -> str:
        return self.safe(self._macros(text, self.user, original))

    def _macros(self, text: str, user: str, original: str = "") -> str:
        """A card's text with its macros filled in."""
        scope = Scope.of(self.persona, user, text, chat=self.chat, turn=self.turn)
        return expand(text, replace(scope, original=original))

    def _fill(self, template: str, **variables: object) -> str:
        names = {"char": self.persona.name, "user": self.user, "narrator": self.narrator}
        safe = {key: neutralise(name, self.form) for key, name in names.items()}
        return _templates().get_template(template).render(**safe, **variables).strip()


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # plain text for a language model, no HTML
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["josa"] = josa
    return environment
