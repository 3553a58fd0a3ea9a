"""Character cards V1, V2 and V3: one object with every field, whatever carried it.

The document is kept as it was, unknown keys and all; `Card` is a view on it. A field of the wrong
type is read as its default and named in `warnings`, for real cards have many of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from cards.characters.charx import Archive
from cards.characters.png import Picture
from cards.files import Fields, object_in, one_line, whole
from schemas.base import MAX_TEXT, size_of
from schemas.errors import BadRequest
from schemas.request import MAX_IMPORT, Persona

Version = Literal["v1", "v2", "v3"]

SPECS: dict[str, tuple[Version, float]] = {
    "chara_card_v2": ("v2", 2.0),
    "chara_card_v3": ("v3", 3.0),
}
V1_FIELDS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
_TEXTS = (
    *("creator_notes", "system_prompt", "post_history_instructions"),
    *("creator", "character_version", "nickname"),
)
_LISTS = ("alternate_greetings", "group_only_greetings", "tags")
V2_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(V1_FIELDS, ""),
    **dict.fromkeys(("creator_notes", "system_prompt", "post_history_instructions"), ""),
    **{"alternate_greetings": [], "tags": [], "creator": "", "character_version": ""},
    "extensions": {},
}
"""The fields that V2 requires."""

DEFAULT_URI = "ccdefault:"
"""Stands for the picture that carries the card."""

DEFAULT_ASSET = {"type": "icon", "uri": DEFAULT_URI, "name": "main", "ext": "png"}
"""Of a card without any."""

OWN = "iyagi"
"""Where in `extensions` the card's fields stand that a persona has no place for."""

MAX_NOTES = 20_000
"""Characters of the creator's notes that a persona keeps, for lore that looks for keys there."""

MAX_LISTED = 100
"""Greetings or tags of a card that a persona keeps; real cards have up to 30."""

_KEPT_THERE = (
    *("alternate_greetings", "group_only_greetings", "tags"),
    *("creator", "character_version"),
)
_PERSONA_TEXTS = {
    **{name: name for name in ("description", "personality", "scenario", "system_prompt")},
    **{"first_message": "first_mes", "example_dialogue": "mes_example"},
    "post_history_instructions": "post_history_instructions",
}
"""Texts of a persona, and what a card calls them."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A character card. `source` is the JSON as it was written, `document` the same parsed.

    A card that was made from another form has no source.
    """

    version: Version
    document: dict[str, Any] = field(repr=False)
    source: bytes = field(repr=False)
    picture: Picture | None = field(default=None, repr=False)
    """The PNG that carries the card, as long as its file is open."""
    stale: bool = False
    """Whether that picture also holds damaged or older copies of the card."""
    archive: Archive | None = field(default=None, repr=False)
    """The CHARX that carries the card, as long as its file is open."""
    warnings: tuple[str, ...] = ()
    form: str = "character card"
    """What the file was taken for."""

    name: str
    description: str
    personality: str
    scenario: str
    first_mes: str
    mes_example: str
    creator_notes: str
    """For people; must not enter a prompt, nor may `creator`, `character_version` and `tags`."""
    system_prompt: str
    """Replaces the global system prompt, which `{{original}}` stands for."""
    post_history_instructions: str
    alternate_greetings: tuple[str, ...]
    group_only_greetings: tuple[str, ...]
    tags: tuple[str, ...]
    creator: str
    character_version: str
    extensions: dict[str, Any]
    character_book: dict[str, Any] | None
    nickname: str
    """What `{{char}}` becomes where it is set."""
    assets: tuple[dict[str, Any], ...]

    @property
    def data(self) -> dict[str, Any]:
        """The part of the document that holds the fields."""
        inner: dict[str, Any] = self.document if self.version == "v1" else self.document["data"]
        return inner

    @property
    def called(self) -> str:
        """What `{{char}}` becomes."""
        return self.nickname.strip() or self.name.strip()


def card_of(document: dict[str, Any], source: bytes = b"") -> Card:
    """The card that a parsed document is.

    Args:
        document: of version 1, 2 or 3.
        source: the JSON that it was read from; empty where it was made from another form.

    Raises:
        BadRequest: it is no card.
    """
    warnings: list[str] = []
    version = _version(document, warnings)
    data = Fields(document if version == "v1" else document["data"], "", warnings)
    texts: dict[str, Any] = {name: data.text(name) for name in (*V1_FIELDS, *_TEXTS)}
    if version != "v1":
        texts |= _at_root(document, texts, warnings)
    texts |= {name: data.texts(name, commas=name == "tags") for name in _LISTS}
    return Card(
        version=version,
        document=document,
        source=source,
        form=f"character card {version.upper()}",
        **texts,
        extensions=data.object("extensions"),
        character_book=data.object("character_book") or None,
        assets=tuple(data.objects("assets")) if "assets" in data.data else (DEFAULT_ASSET,),
        warnings=(*warnings, *_oddities(data, version, bool(texts["name"].strip()))),
    )


def is_card(document: Mapping[str, Any]) -> bool:
    """Whether a parsed document is a card of version 1, 2 or 3, rather than a book or a chat."""
    if str(document.get("spec", "")).startswith("chara_card"):
        return True
    data = document.get("data")
    return _is_flat(data if isinstance(data, dict) else document)


def _is_flat(data: Mapping[str, Any]) -> bool:
    """By a field that only cards have, or by all that a card without a greeting has."""
    if not isinstance(data.get("name"), str):
        return False
    if "first_mes" in data or "mes_example" in data:
        return True
    whole = all(isinstance(data.get(field), str) for field in V1_FIELDS[1:4])
    others = {"first_message", "first_messages", "firstMessage", "greeting", "example_dialogs"}
    return whole and not (others & data.keys() or data.keys() <= Persona.model_fields.keys())


def _version(document: dict[str, Any], warnings: list[str]) -> Version:
    """V1 has no `spec`; a spec or version that is not known yet is read as the newest."""
    spec, data = document.get("spec"), document.get("data")
    if not isinstance(data, dict):
        known = [name for name in V1_FIELDS if name in document]
        if "name" in known and len(known) > 1:
            if spec is not None:
                warnings.append("has a `spec` but no `data`; read as V1")
            return "v1"
        if spec is None:
            raise BadRequest("is no character card; it has neither `spec` nor `name` and fields")
        raise BadRequest("has a `spec` but no `data` object; export the card again")
    if spec is None:
        version: Version = "v3" if "group_only_greetings" in data else "v2"
        warnings.append(f"`spec` is missing; read as {version.upper()}")
        return version
    if not isinstance(spec, str) or spec not in SPECS:
        warnings.append("unknown `spec`; read as V3")
        return "v3"
    version, newest = SPECS[spec]
    number = Fields(document, "", warnings).number("spec_version", 0, 1e9, newest)
    if number > newest:
        warnings.append(f"`spec_version` {number:g} is newer than {newest:g}; read as {newest:g}")
    return version


def _at_root(
    document: dict[str, Any], texts: Mapping[str, str], warnings: list[str]
) -> dict[str, str]:
    """Fields that are empty in `data` and stand beside it, where V1 has them."""
    root = Fields(document, "", [])
    found = {name: root.text(name) for name in V1_FIELDS if not texts[name].strip()}
    found = {name: text for name, text in found.items() if text.strip()}
    warnings += [f"`{name}` is empty in `data`; read from beside it" for name in found]
    return found


def _oddities(data: Fields, version: Version, named: bool) -> list[str]:
    """What breaks a rule of the format and is read all the same."""
    odd = []
    if not named:
        odd.append("`name` is empty")
    if version == "v3" and "group_only_greetings" not in data.data:
        odd.append("`group_only_greetings` is required in V3")
    odd += [
        f"`{name}` has more than {MAX_LISTED}; the others are left out"
        for name in _LISTS
        if isinstance(listed := data.data.get(name), list) and len(listed) > MAX_LISTED
    ]
    if version != "v1":
        odd += [f"`{name}` is missing" for name in V1_FIELDS if name not in data.data]
    return odd


def to_persona(card: Card) -> Persona:
    """The persona that a card describes; macros stay in it until the prompt is written.

    The persona's name is what `{{char}}` becomes: the nickname where there is one, the full name
    then being an alias. Texts for people (notes, creator, version, tags) stay out of all fields
    that enter a prompt; greetings, tags and notes are found in `extensions["iyagi"]`.

    Raises:
        BadRequest: the card has no name, or a field is longer than a request may hold.
    """
    name, full = one_line(card.called), one_line(card.name)
    if not name:
        raise BadRequest("is empty; give the character a name", field="name")
    kept = {field: getattr(card, field) for field in _KEPT_THERE}
    own = {field: v if isinstance(v, str) else v[:MAX_LISTED] for field, v in kept.items() if v}
    if card.creator_notes:
        own["creator_notes"] = card.creator_notes[:MAX_NOTES]
    texts = {ours: _text(getattr(card, field), field) for ours, field in _PERSONA_TEXTS.items()}
    data = {
        "name": name,
        **texts,
        "aliases": [full] if full and full != name else [],
        "extensions": _clean({**card.extensions, OWN: own}),
    }
    if size_of(data, MAX_IMPORT) > MAX_IMPORT:
        raise BadRequest("holds more text than a request; shorten its greetings or extensions")
    try:
        return Persona.model_validate(data)
    except ValidationError as error:
        raise BadRequest.from_validation(error, Persona) from None


def alternate_greetings(persona: Persona) -> tuple[str, ...]:
    """What the character may say first in place of the first message."""
    return _own(persona).texts("alternate_greetings")


def tags_of(persona: Persona) -> tuple[str, ...]:
    """The card's tags."""
    return _own(persona).texts("tags")


def notes_of(persona: Persona) -> str:
    """The creator's notes, which are for people and enter no prompt."""
    return _own(persona).text("creator_notes")


def _own(persona: Persona) -> Fields:
    return Fields(object_in(persona.extensions, OWN), "", [])


def _text(text: str, field: str) -> str:
    """A field with the line ends of one platform."""
    if len(text) > MAX_TEXT:
        raise BadRequest(f"has more than {MAX_TEXT:,} characters; shorten it", field=field)
    return text.replace("\r\n", "\n")


def _clean(value: Any) -> Any:
    """Free-form data without half characters, which no answer could be sent with."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {whole(str(key)): _clean(item) for key, item in value.items()}
    return value
