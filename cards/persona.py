"""A card as the persona of a request."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from cards.card import Card
from cards.files import whole
from cards.reader import Fields
from schemas.base import MAX_TEXT
from schemas.errors import BadRequest
from schemas.request import Persona

MAX_NAME = 100
"""Characters of a name in a request."""

OWN = "iyagi"
"""Where in `extensions` the card's fields stand that a persona has no place for."""


def to_persona(card: Card) -> Persona:
    """The persona that a card describes; macros stay in it until the prompt is written.

    The persona's name is what `{{char}}` becomes: the nickname where there is one, the full name
    then being an alias. Texts for people (notes, creator, version, tags) stay out of all fields
    that enter a prompt; greetings and tags are found in `extensions["iyagi"]`.

    Raises:
        BadRequest: the card has no name, or a field is longer than a request may hold.
    """
    name, full = _one_line(card.called), _one_line(card.name)
    if not name:
        raise BadRequest("is empty; give the character a name", field="name")
    own: dict[str, Any] = {
        "alternate_greetings": list(card.alternate_greetings),
        "group_only_greetings": list(card.group_only_greetings),
        "tags": list(card.tags),
        "creator": card.creator,
        "character_version": card.character_version,
    }
    try:
        return Persona(
            name=name,
            description=_text(card.description, "description"),
            personality=_text(card.personality, "personality"),
            scenario=_text(card.scenario, "scenario"),
            first_message=_text(card.first_mes, "first_mes"),
            example_dialogue=_text(card.mes_example, "mes_example"),
            system_prompt=_text(card.system_prompt, "system_prompt"),
            post_history_instructions=_text(
                card.post_history_instructions, "post_history_instructions"
            ),
            aliases=[full] if full and full != name else [],
            extensions=_clean({**card.extensions, OWN: {k: v for k, v in own.items() if v}}),
        )
    except ValidationError as error:
        raise BadRequest.from_validation(error, Persona) from None


def alternate_greetings(persona: Persona) -> tuple[str, ...]:
    """What the character may say first in place of the first message."""
    return _own(persona).texts("alternate_greetings")


def tags_of(persona: Persona) -> tuple[str, ...]:
    """The card's tags."""
    return _own(persona).texts("tags")


def _own(persona: Persona) -> Fields:
    return Fields(Fields(persona.extensions, "", []).object(OWN), "", [])


def _one_line(name: str) -> str:
    return " ".join(name.split())[:MAX_NAME].strip()


def _text(text: str, field: str) -> str:
    """A field with the line ends of one platform."""
    if len(text) > MAX_TEXT:
        raise BadRequest(f"has more than {MAX_TEXT:,} characters; shorten it", field=field)
    return text.replace("\r\n", "\n")


def _clean(value: Any) -> Any:
    """Free-form data without half characters, which no answer could be sent with."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {whole(str(key)): _clean(item) for key, item in value.items()}
    return value
