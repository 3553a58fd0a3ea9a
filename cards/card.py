"""Character cards V1, V2 and V3: one object with every field, whatever carried it.

The document is kept as it was, unknown keys and all; `Card` is a view on it. A field of the wrong
type is read as its default and named in `warnings`, for real cards have many of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cards import png
from cards.charx import Archive, is_charx
from cards.files import parse_object
from cards.reader import Fields
from schemas.errors import BadRequest

Version = Literal["v1", "v2", "v3"]

SPECS: dict[str, Version] = {"chara_card_v2": "v2", "chara_card_v3": "v3"}
V1_FIELDS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
DEFAULT_ASSET = {"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A character card. `source` is the JSON as it was written, `document` the same parsed."""

    version: Version
    document: dict[str, Any] = field(repr=False)
    source: bytes = field(repr=False)
    picture: bytes | None = field(default=None, repr=False)
    """The PNG that carries the card."""
    archive: Archive | None = field(default=None, repr=False)
    """The CHARX that carries the card."""
    warnings: tuple[str, ...] = ()

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
    creator_notes_multilingual: dict[str, Any]
    """Language code to text; `en` is `creator_notes` where it has none."""
    sources: tuple[str, ...]
    assets: tuple[dict[str, Any], ...]
    creation_date: int
    """Unix seconds; 0 is unknown."""
    modification_date: int

    @property
    def data(self) -> dict[str, Any]:
        """The part of the document that holds the fields."""
        inner: dict[str, Any] = self.document if self.version == "v1" else self.document["data"]
        return inner

    @property
    def called(self) -> str:
        """What `{{char}}` becomes."""
        return self.nickname.strip() or self.name.strip()


def read_card(content: bytes) -> Card:
    """The card in a PNG, a CHARX or a JSON file, told apart by what they hold.

    Raises:
        BadRequest: it is damaged, too large, or holds no card.
    """
    if content.startswith(png.SIGNATURE):
        texts = png.texts(content)
        source = next((texts[word] for word in png.CARD_KEYWORDS if word in texts), None)
        if source is None:
            raise BadRequest("is a picture without a card; export it from the app that made it")
        return parse_card(source, picture=content)
    if is_charx(content):
        archive = Archive(content)
        return parse_card(archive.card(), archive=archive)
    return parse_card(content)


def parse_card(
    source: bytes, *, picture: bytes | None = None, archive: Archive | None = None
) -> Card:
    """The card in a JSON document.

    Raises:
        BadRequest: it is not JSON or no card.
    """
    document = parse_object(source)
    warnings: list[str] = []
    version = _version(document, warnings)
    data = Fields(document if version == "v1" else document["data"], "", warnings)
    notes = data.text("creator_notes")
    multilingual = data.object("creator_notes_multilingual")
    return Card(
        version=version,
        document=document,
        source=source,
        picture=picture,
        archive=archive,
        **{name: data.text(name) for name in V1_FIELDS},
        creator_notes=notes,
        system_prompt=data.text("system_prompt"),
        post_history_instructions=data.text("post_history_instructions"),
        alternate_greetings=data.texts("alternate_greetings"),
        group_only_greetings=data.texts("group_only_greetings"),
        tags=data.texts("tags"),
        creator=data.text("creator"),
        character_version=data.text("character_version"),
        extensions=data.object("extensions"),
        character_book=data.object("character_book") or None,
        nickname=data.text("nickname"),
        creator_notes_multilingual={"en": notes, **multilingual} if multilingual else {},
        sources=data.texts("source"),
        assets=_assets(data),
        creation_date=data.whole("creation_date", 0, 2**53, 0),
        modification_date=data.whole("modification_date", 0, 2**53, 0),
        warnings=(*warnings, *_oddities(data, version)),
    )


def is_card(document: Mapping[str, Any]) -> bool:
    """Whether a parsed document looks like a card rather than a book or a chat."""
    if str(document.get("spec", "")).startswith("chara_card"):
        return True
    return isinstance(document.get("name"), str) and (
        "first_mes" in document or "mes_example" in document
    )


def _version(document: dict[str, Any], warnings: list[str]) -> Version:
    """V1 has no `spec`; a spec or version that is not known yet is read as the newest."""
    spec = document.get("spec")
    if spec is None and not isinstance(document.get("data"), dict):
        known = [name for name in V1_FIELDS if name in document]
        if "name" not in known or len(known) < 2:
            raise BadRequest("is no character card; it has neither `spec` nor `name` and fields")
        return "v1"
    if not isinstance(document.get("data"), dict):
        raise BadRequest("has a `spec` but no `data` object; export the card again")
    if spec not in SPECS:
        warnings.append("unknown `spec`; read as V3")
        return "v3"
    version, newest = SPECS[spec], {"chara_card_v2": 2.0, "chara_card_v3": 3.0}[spec]
    number = Fields(document, "", warnings).number("spec_version", 0, 1e9, newest)
    if number >= newest + 1:
        warnings.append(f"`spec_version` {number:g} is newer than {newest:g}; read as {newest:g}")
    return version


def _assets(data: Fields) -> tuple[dict[str, Any], ...]:
    """The card's assets; one without any has the picture that carries it as its icon."""
    if "assets" not in data.data:
        return (DEFAULT_ASSET,)
    return tuple(data.objects("assets"))


def _oddities(data: Fields, version: Version) -> list[str]:
    """What breaks a rule of the format and is read all the same."""
    odd = []
    if not data.text("name").strip():
        odd.append("`name` is empty")
    if version == "v3" and "group_only_greetings" not in data.data:
        odd.append("`group_only_greetings` is required in V3")
    if version != "v1":
        odd += [f"`{name}` is missing" for name in V1_FIELDS if name not in data.data]
    return odd
