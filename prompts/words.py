"""The words of a prompt: Jinja files in English and Korean, and the lines of a chat.

User text enters a template only as a variable, its control tokens made harmless beforehand;
macros are replaced in the card's own fields, and names in the user's standing note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cards.macros import Scope, Told, expand, told_of
from cards.macros.scope import fields_of, outlets_of
from language.korean import is_korean, josa
from language.spoken import names_language, spoken
from prompts.control import is_seen, neutralise
from prompts.template import template_format
from schemas.errors import SettingsError
from schemas.formats import FORMATS, Format, PromptTurn
from schemas.rag import DialogueTurn, Line, PromptBuildInput
from schemas.request import CONTINUE, USER, Persona, Role, Speaker, Writer

Language = Literal["en", "ko"]

NARRATOR: dict[Language, str] = {"en": "Narrator", "ko": "내레이터"}

_LANGUAGE_NAMES: dict[Language, dict[str, str]] = {
    "en": {
        **{
            "en": "English",
            "ko": "Korean",
            "ja": "Japanese",
            "zh": "Chinese",
            "es": "Spanish",
            "fr": "French",
        },
        **{"de": "German", "pt": "Portuguese", "ru": "Russian", "it": "Italian"},
    },
    "ko": {
        **{"ko": "한국어", "en": "영어", "ja": "일본어", "zh": "중국어", "es": "스페인어"},
        **{"fr": "프랑스어", "de": "독일어", "pt": "포르투갈어", "ru": "러시아어"},
        **{"it": "이탈리아어"},
    },
}
"""Language named in the instruction; others are left to the chat, which shows them."""

_ROUND = str.maketrans("[]", "()")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""What is no text and no white space."""

LEAST_HEADING = 6
"""Characters of a heading that is known by itself."""
_TO_A_MARK = re.compile(r"[^\0,.;:]*[:.,;]?")
_LETTER = re.compile(r"[^\W\d_]")
_MACRO = re.compile(r"\{\{[^{}]*+\}\}")
NESTED = 4
"""Macros inside macros that are seen as such where a card's language is looked for."""


def language_of(persona: Persona, message: str) -> Language:
    """The language of the prompt's own words, which must not change within a chat.

    The persona's `language` decides; else the script of the card but for its macros; a card without
    letters leaves it to the message.
    """
    if persona.language:
        return "ko" if persona.language.split("-")[0] in ("ko", "kor") else "en"
    card = persona.description[:2000] + persona.first_message[:1000] + persona.name
    if "{{" in card:
        for _ in range(NESTED):
            card = _MACRO.sub("", card)
    return "ko" if is_korean(card if _LETTER.search(card) else message) else "en"


def reply_language(given: PromptBuildInput, own: Language) -> str:
    """The language that the instruction asks for, as a code; empty where the chat shows it.

    The operator's choice (`layout.reply_language`), else the persona's, else that of the user's
    newest messages where it is not the prompt's own, and neither card, note nor instruction names
    one.
    """
    layout, card = given.layout.reply_language, given.persona
    if layout not in ("auto", "card"):
        return layout
    if card.language:
        return card.language.split("-")[0]
    texts = (
        *(card.description, card.personality, card.scenario, card.system_prompt),
        *(card.post_history_instructions, given.user_note, given.instruction),
    )
    if layout == "card" or any(map(names_language, texts)):
        return ""
    said = [given.user_message] if given.user_message.strip() != CONTINUE else []
    earlier = (line.content for line in reversed(given.history) if line.role == "user")
    code = spoken(chain(said, earlier))
    return code if code != own else ""


def format_named(name: str) -> Format:
    """The format of that name, or `template:PATH` for a model's own chat template.

    Raises:
        SettingsError: there is none; the message lists those that exist.
    """
    if name.startswith("template:"):
        return template_format(name.removeprefix("template:"))
    try:
        return FORMATS[name]
    except KeyError:
        raise SettingsError(
            f"unknown prompt format; known are {', '.join(sorted(FORMATS))}, and template:PATH "
            "with a tokenizer_config.json"
        ) from None


@dataclass(frozen=True)
class Words:
    """The words for one turn of a chat: who plays, in which language, in which format."""

    persona: Persona
    user: str
    form: Format
    language: Language
    chat: str
    """With `turn`, the number of messages: what chance in macros is drawn from."""
    turn: int
    told: Told
    """What the turn tells macros."""
    outlets: Mapping[str, str] = field(default_factory=dict)
    """Lore for the places that the card names, by the name of the place."""
    user_note: str = ""
    """What the user asked for once and for all."""
    request_of_reply: str = ""
    """What this one reply is asked to be."""
    reply_start: str = ""
    """What is written of it already."""
    reply_language: str = ""
    """The code of the language that it is asked to be in; empty where the chat shows it."""

    @classmethod
    def of(cls, given: PromptBuildInput) -> Words:
        """The words of a turn; a user without a name gets a plain one.

        Raises:
            SettingsError: the layout names no known format.
        """
        language = language_of(given.persona, given.user_message)
        form, added = format_named(given.layout.format), given.layout.added_tokens
        user = given.user_name or USER[language]
        return cls(
            persona=given.persona,
            user=user,
            form=replace(form, added_tokens=added) if added else form,
            language=language,
            chat=given.chat,
            turn=len(given.history) + 1,
            told=told_of(
                given.persona,
                given.history,
                given.user_message,
                user=user,
                chat=given.chat,
                note=given.user_note,
                sent=given.sent,
                korean=language == "ko",
                goes_on=bool(given.reply_start),
                story=given.story,
            ),
            outlets=outlets_of((chunk.meta["outlet"], chunk.text) for chunk in given.placed),
            user_note=given.user_note,
            request_of_reply=given.instruction,
            reply_start=given.reply_start,
            reply_language=reply_language(given, language),
        )

    @property
    def narrator(self) -> str:
        """The narrator's name in the language of the prompt."""
        return NARRATOR[self.language]

    def speaker(self, speaker: Writer) -> str:
        """The name of whoever writes."""
        match speaker:
            case "user":
                return self.user
            case "narrator":
                return self.narrator
        return self.persona.name

    def role_name(self, role: Role) -> str:
        """The name of a line's speaker where the line brings none."""
        match role:
            case "user":
                return self.user
            case "system":
                return ""
        return self.speaker(role)

    # Texts of others, made harmless; once more where they are joined, which may complete a mark.

    def safe(self, text: str, opening: int = 0) -> str:
        """A text without control tokens and outer white space, behind the characters that open it
        as they are."""
        speakers = (self.user, self.persona.name, self.narrator)
        return neutralise(text, self.form, speakers, opening=opening).strip()

    def item(self, text: str) -> str:
        """A text as one line of a list."""
        return neutralise(" ".join(self.safe(text).split()), self.form)

    def request(self, text: str) -> str:
        """What the user asks for, as one line that does not close the brackets it stands in, so
        that nothing of it reads as the card's or ours; empty where nothing of it is seen."""
        line = self.item(_CONTROLS.sub("", text))
        return _within_brackets(line) if is_seen(line) else ""

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

    def line(self, line: Line) -> PromptTurn:
        """A line of the history as the model sees it; its text is empty where it says nothing.

        The narrator speaks on the model's side, as does the character; a line of the system is a
        note on the user's side, so that the system keeps one turn only.
        """
        card = line.content and line.content == self.persona.first_message
        text = self.greeting if card else self.safe(line.content)
        if not text or (line.role == "user" and text == CONTINUE):
            return PromptTurn("user", "")
        if line.role == "system":
            return PromptTurn("user", self.safe(f"[{text}]"))  # `[INST]` of `INST`
        tag = self.tag(line.role, line.name or self.role_name(line.role))
        return PromptTurn("user" if line.role == "user" else "assistant", f"{tag} {text}")

    def message(self, text: str) -> PromptTurn:
        """The user's message as it will stand in the next turn's history."""
        if text.strip() == CONTINUE:
            return PromptTurn("user", "")
        return PromptTurn("user", f"{self.tag('user', self.user)} {self.safe(text)}")

    def last(self, said: Sequence[str], asked: str) -> PromptTurn:
        """The turn that ends a prompt.

        Args:
            said: the message and the notes; they stay as they are, as the next turn repeats them.
            asked: what the model shall do.
        """
        before = "\n\n".join(filter(None, said))
        joined = "\n\n".join(filter(None, (before, asked)))
        return PromptTurn("user", self.safe(joined, opening=len(before)))

    def opening(self) -> list[DialogueTurn]:
        """The history of a chat that has not begun: the greeting, where the card has one."""
        text, name = self.persona.first_message, self.persona.name
        return [DialogueTurn(role="character", name=name, content=text)] if text else []

    # The card's own texts, with their macros filled in.

    @cached_property
    def greeting(self) -> str:
        """The card's first message, the same in every turn; empty where it has none."""
        return replace(self, turn=0, told=self.told.opening())._field(self.persona.first_message)

    @cached_property
    def examples(self) -> list[str]:
        """The card's example dialogue as blocks."""
        user = self.form.user_label or self.user
        blocks = re.split(r"<START>", self.persona.example_dialogue, flags=re.IGNORECASE)
        texts = (neutralise(self._macros(block, user), self.form) for block in blocks)
        return [text.strip() for text in texts if text.strip()]

    def system(self, lore: Sequence[str], examples: Sequence[str]) -> str:
        """The system text, the same for both speakers and the whole chat."""
        card = self.persona
        fields: dict[str, Any] = {
            "description": self._field(card.description),
            "personality": self._field(card.personality),
            "scenario": self._field(card.scenario),
            "lore": [self.item(text) for text in lore],
            "examples": examples,
        }
        if self.form.user_label:
            about = (fields["description"], fields["personality"], *fields["lore"])
            persona = self.safe(" ".join(filter(None, about)))
            return self._fill("pygmalion_system.j2", persona=persona, **fields)
        rules = self._fill(f"{self.language}/rules.j2")
        if card.system_prompt.strip():
            rules = self._field(card.system_prompt, original=rules)
        filled = self._fill(f"{self.language}/system.j2", rules=rules, **fields)
        return neutralise(filled, self.form)

    def instruction(self, speaker: Writer, *, shows: bool = False) -> str:
        """Who speaks now and how, behind the card's own words for this place and what the request
        asks of this reply; and before that what the user noted for every turn.

        Args:
            speaker: who speaks.
            shows: only what the user asked to be shown; the scene stays as it is.
        """
        own = self._fill(
            f"{self.language}/instruction.j2",
            speaker=speaker,
            shows=shows,
            note=self.request(self._macros(self.user_note, self.user, names_only=True)),
            language_name=_LANGUAGE_NAMES[self.language].get(self.reply_language, ""),
        )
        own = neutralise(own, self.form)
        if asked := self.safe(self._macros(self.request_of_reply, self.user, names_only=True)):
            own = f"{asked}\n{own}"
        card = self.persona.post_history_instructions
        if not card.strip():
            return own
        text = self._field(card, original=own)
        return text if own in text else f"{text}\n{own}"

    def reply_opening(self, speaker: Writer) -> str:
        """What the reply goes on from: the speaker's name, and what is written of it already."""
        tag = self.tag("user" if speaker == "user" else "character", self.speaker(speaker))
        begun = self.safe(self.reply_start)
        return f"{tag} {begun}" if begun else tag

    def closing(self, speaker: Writer) -> str:
        """What stands behind the user's message and the notes: the instruction, and the opening
        of the reply."""
        behind = self.form.user[1] + self.form.assistant[0] + self.reply_opening(speaker)
        return f"\n\n{self.instruction(speaker)}{behind}"

    def question(self) -> str:
        """In place of the instruction: who of the two shall speak."""
        return neutralise(self._fill(f"{self.language}/question.j2"), self.form)

    def notes(
        self,
        *,
        memories: Sequence[str],
        story: Sequence[str],
        secrets: Sequence[str],
        state: str,
        direction: str,
        wish: str,
    ) -> str:
        """What this turn alone needs to know; empty if that is nothing."""
        lines = {
            "memories": memories,
            "story": story,
            "secrets": secrets,
            "state": self.item(state),
            "direction": self.item(direction),
            "wish": self.request(wish),
        }
        if not any(lines.values()):
            return ""
        text = f"[{self._fill(f'{self.language}/notes.j2', **lines)}]"
        return neutralise(text, self.form)  # the brackets may complete a mark: `[/INST` and `]`

    def headings(self) -> list[str]:
        """How the lines of notes and instructions begin, up to a mark or what a turn fills in; an
        instruction with its bracket, as without it such words are prose."""
        gap, plain = "\0", replace(self, user_note="", request_of_reply="")
        listed = {name: [gap] for name in ("memories", "story", "secrets")}
        notes = f"{self.language}/notes.j2"
        texts = [self._fill(notes, **listed, state="", direction=gap, wish=gap)]
        texts += [plain.instruction(speaker) for speaker in get_args(Speaker)]
        begin = (_TO_A_MARK.match(line) for text in texts for line in text.splitlines())
        found = (match[0].lstrip("- ").rstrip() for match in begin if match)
        return [text for text in dict.fromkeys(found) if len(text) >= LEAST_HEADING]

    def _field(self, text: str, original: str = "") -> str:
        return self.safe(self._macros(text, self.user, original))

    def _macros(self, text: str, user: str, original: str = "", *, names_only: bool = False) -> str:
        """A text with its macros filled in, the names alone where the user wrote it."""
        scope = Scope(
            char=self.persona.name,
            user=user,
            original=original,
            chat=self.chat,
            turn=self.turn,
            place=text,
            fields=fields_of(self.persona),
            names_only=names_only,
            told=self.told,
            outlets=self.outlets,
        )
        return expand(text, scope)

    def _fill(self, template: str, **variables: object) -> str:
        names = {"char": self.persona.name, "user": self.user, "narrator": self.narrator}
        safe = {key: _within_brackets(neutralise(it, self.form)) for key, it in names.items()}
        return _templates().get_template(template).render(**safe, **variables).strip()


def _within_brackets(text: str) -> str:
    """A text that does not close the brackets it stands in: where its own do not match, they become
    round."""
    depth = 0
    for sign in text:
        depth += (sign == "[") - (sign == "]")
        if depth < 0:
            break
    return text if depth == 0 else text.translate(_ROUND)


@lru_cache(maxsize=1)  # 11 files, whose compiling takes longer than all else of a prompt
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
