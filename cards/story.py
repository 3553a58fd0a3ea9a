"""Files of our own: a list of story events, such as a lorebook is converted to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cards.forms import Document, Form
from schemas.base import size_of
from schemas.errors import BadRequest
from schemas.request import MAX_IMPORT, MAX_STORY, Persona, StoryEvent

_EVENTS = TypeAdapter(list[StoryEvent])


@dataclass(frozen=True, kw_only=True)
class Story:
    """A list of story events; those of lore among them, too."""

    form: str = "story of Iyagi"
    events: list[StoryEvent] = field(repr=False)
    warnings: tuple[str, ...] = ()


def _is_story(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, dict) and "order" in row and "text" in row for row in value)
    )


def _read_story(document: Document) -> Story:
    rows: list[Any] = document.value
    if len(rows) > MAX_STORY or size_of(rows, MAX_IMPORT) > MAX_IMPORT:
        raise BadRequest("holds more events than a request; index it with scripts.build_index")
    try:
        return Story(events=_EVENTS.validate_python(rows))
    except ValidationError as error:
        raise BadRequest.from_validation(error, StoryEvent) from None


def _is_persona(value: Any) -> bool:
    """Whether all its keys are those of a persona."""
    return (
        isinstance(value, dict) and "name" in value and value.keys() <= Persona.model_fields.keys()
    )


def _read_persona(document: Document) -> Persona:
    try:
        return Persona.model_validate(document.value)
    except ValidationError as error:
        raise BadRequest.from_validation(error, Persona) from None


FORMS: tuple[Form[Story | Persona], ...] = (
    Form("story of Iyagi", _is_story, _read_story),
    Form("persona of Iyagi", _is_persona, _read_persona),
)
