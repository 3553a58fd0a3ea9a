"""Cards back to JSON, PNG and CHARX, so that what is written can be read here again.

What did not change comes out byte for byte. Between V2 and V3 only `spec`, `spec_version` and
missing required fields change: fields of V3 stay in a V2 card, where they are unknown keys that
readers keep. Pictures and sounds go along: inside JSON as `data:` addresses, in a PNG as chunks,
in a CHARX as files; what does not fit is left out, and said.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Literal, cast, get_args

from cards.characters.card import DEFAULT_ASSET, DEFAULT_URI, V2_DEFAULTS, Card, Version
from cards.characters.charx import CARD, Archive
from cards.characters.png import MAX_ASSET, SIGNATURE, Picture, blank
from cards.files import MAX_CARRIER, MAX_JSON, MEGABYTE, check_depth, one_line, write_json
from schemas.errors import BadRequest

Carrier = Literal["json", "png", "charx"]
CARRIERS: tuple[Carrier, ...] = get_args(Carrier)

_SPEC = {"v2": ("chara_card_v2", "2.0"), "v3": ("chara_card_v3", "3.0")}
_OF_DATA = {*V2_DEFAULTS, "character_book", "assets", "nickname", "group_only_greetings"}
"""What stands in `data` once a V1 card has one; apps put keys of their own beside it."""

_MIME = {
    **{"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"},
    **{"gif": "image/gif", "mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg"},
    **{"mp4": "video/mp4", "webm": "video/webm"},
}
_ROOM = MAX_CARRIER - 4 * MAX_JSON
"""Bytes of files in a picture or an archive: beside them are the card, twice, and a picture."""

_NAMED = 3
"""Files that a warning names."""


def write_card(
    card: Card,
    out: BinaryIO,
    carrier: Carrier,
    version: Version | None = None,
    picture: bytes | None = None,
) -> list[str]:
    """Writes a card; what cannot go along is told.

    Args:
        card: its file must be open still.
        out: where to.
        carrier: what shall carry it.
        version: of the card; by default its own, and V3 in a CHARX, which is so by definition.
        picture: a PNG to carry it; without one its own picture does, its icon, or a plain one.

    Raises:
        BadRequest: V1 was asked for from another version, the picture is damaged, or the card is
            too large even without its pictures.
    """
    match carrier:
        case "json":
            return _write_json(card, out, version or card.version)
        case "png":
            return _write_png(card, out, version or card.version, picture)
        case "charx":
            return _write_charx(card, out, version or "v3", picture)


def as_version(card: Card, version: Version) -> dict[str, Any]:
    """The card's document in another version; the caller's to change.

    Raises:
        BadRequest: V1 was asked for, which would lose fields.
    """
    document = copy.deepcopy(card.document)
    if version == card.version:
        return document
    if version == "v1":
        raise BadRequest("V1 would lose fields of the card; choose v2 or v3")
    data = document if card.version == "v1" else document["data"]
    root = {} if card.version == "v1" else document
    if card.version == "v1":
        root = {key: value for key, value in data.items() if key not in _OF_DATA}
        data = {key: value for key, value in data.items() if key in _OF_DATA}
    for name, default in V2_DEFAULTS.items():
        data.setdefault(name, copy.copy(default))
    if version == "v3":
        data.setdefault("group_only_greetings", [])
        _require_use_regex(data.get("character_book"))
    spec, number = _SPEC[version]
    return {**root, "spec": spec, "spec_version": number, "data": data}


class _Files:
    """The files of a card that lie in its picture or archive, by the addresses in its fields."""

    def __init__(self, card: Card) -> None:
        self._archive, self._picture = card.archive, card.picture
        self._chunks = card.picture.assets() if card.picture else {}
        self._kinds = {
            str(asset.get("uri")): str(asset.get("ext", "")).lower() for asset in card.assets
        }
        self.uses = {
            uri: times for uri, times in Counter(_texts(card.data)).items() if self.name(uri)
        }
        """Addresses that lead to a file, and how often each stands in the card."""

    def name(self, uri: str) -> str | None:
        """The name of a file in its carrier."""
        if self._archive is not None:
            return self._archive.named(uri)
        name = uri.removeprefix("__asset:")
        return name if name != uri and name in self._chunks else None

    def size(self, uri: str) -> int:
        """About how many bytes a file has."""
        name = self.name(uri) or ""
        if self._archive is not None:
            return self._archive.size(name)
        return (self._chunks[name].end - self._chunks[name].start) * 3 // 4

    def read(self, uri: str) -> bytes | None:
        """A file; None if it is damaged or too large to be held in memory."""
        name = self.name(uri) or ""
        try:
            if self._archive is not None:
                return self._archive.read(name, MAX_ASSET)
            assert self._picture is not None
            return self._picture.content(self._chunks[name], MAX_ASSET)
        except BadRequest:
            return None

    def kind(self, uri: str) -> str:
        """The ending of a file's name, by the card or by its name."""
        _, dot, ending = (self.name(uri) or "").rpartition("/")[2].rpartition(".")
        kind = self._kinds.get(uri) or (ending.lower() if dot else "")
        return kind if kind.isalnum() and kind.isascii() else "bin"

    def unused(self) -> list[str]:
        """Files that no field of the card points to."""
        names = self._archive.names if self._archive else [*self._chunks]
        used = {self.name(uri) for uri in self.uses} | {CARD}
        return [name for name in names if name not in used]


class _Left:
    """What could not go along, for the warnings."""

    def __init__(self, files: _Files, carrier: str) -> None:
        self._files, self._carrier = files, carrier
        self.large: list[str] = []
        self.broken: list[str] = []
        self.unused = files.unused()
        self.more: list[str] = []

    def told(self) -> list[str]:
        """The warnings."""
        count = len(self._files.uses)
        notes = [*self.more]
        if self.large:
            notes.append(
                f"{len(self.large)} of {count} files of the card do not fit into {self._carrier} "
                "and are left out; write a .charx instead"
            )
        if self.broken:
            notes.append(
                f"{len(self.broken)} of {count} files of the card are damaged or larger than "
                f"{MAX_ASSET // MEGABYTE} MB and are left out"
            )
        if self.unused:
            shown = ", ".join(f"`{one_line(name)}`" for name in self.unused[:_NAMED])
            notes.append(
                f"{len(self.unused)} files that no field of the card names are left out ({shown}"
                + f"{', ...' * (len(self.unused) > _NAMED)}); write a .charx instead"
            )
        return notes


def _texts(value: Any) -> Iterator[str]:
    """All texts in a document."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict | list):
            waiting += item.values() if isinstance(item, dict) else item


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    """A document with other addresses for its files."""
    if isinstance(value, str):
        return places.get(value, value)
    if isinstance(value, dict):
        return {key: _moved(item, places) for key, item in value.items()}
    return [_moved(item, places) for item in value] if isinstance(value, list) else value


def _packed(card: Card, version: Version, places: Mapping[str, str]) -> bytes:
    """The card's JSON: its own bytes where nothing changed."""
    if version == card.version and card.source and not places:
        return card.source
    document = as_version(card, version)
    return _fitting(_moved(document, places) if places else document)


def _fitting(document: dict[str, Any]) -> bytes:
    """A document as JSON that can be read again.

    Raises:
        BadRequest: it is too large or too deep for that.
    """
    check_depth(document)
    content = write_json(document)
    if len(content) > MAX_JSON:
        content = write_json(document, readable=False)
    if len(content) > MAX_JSON:
        raise BadRequest(f"holds more than {MAX_JSON // MEGABYTE} MB of JSON; use a smaller file")
    return content


def _write_json(card: Card, out: BinaryIO, version: Version) -> list[str]:
    files = _Files(card)
    left = _Left(files, f"a JSON file of {MAX_JSON // MEGABYTE} MB")
    if card.picture is not None:
        left.more.append("the picture is left out; write a .png or .charx to keep it")
    content = _packed(card, version, {})
    room = MAX_JSON - len(content)
    places: dict[str, str] = {}
    for uri in sorted(files.uses, key=files.size):
        times = files.uses[uri]
        if times * files.size(uri) * 4 // 3 > room:
            left.large.append(uri)
        elif (file := files.read(uri)) is None:
            left.broken.append(uri)
        else:
            mime = _MIME.get(files.kind(uri), "application/octet-stream")
            address = f"data:{mime};base64,{base64.b64encode(file).decode()}"
            room -= times * len(address)
            if room >= 0:
                places[uri] = address
            else:
                left.large.append(uri)
    out.write(_packed(card, version, places) if places else content)
    return left.told()


def _write_png(card: Card, out: BinaryIO, version: Version, picture: bytes | None) -> list[str]:
    own = card.picture if picture is None else None
    if own is not None and version == card.version and not card.stale:
        own.copy_file(out)
        return []
    if own is not None:  # its files stay in it
        own.copy(out, _embedded(card, version, {}))
        return []
    files = _Files(card)
    left = _Left(files, f"a picture of {MAX_CARRIER // MEGABYTE} MB")
    carrier = picture or _icon(card, files)
    if carrier is None and any(it.get("uri") in files.uses for it in _icons(card)):
        left.more.append("no icon of the card is a PNG; a plain picture carries it")
    carrier = carrier or blank()
    names: dict[str, str] = {}
    room = _ROOM - len(carrier)
    for number, uri in enumerate(files.uses, 1):
        room -= files.size(uri) * 4 // 3 + 100
        if files.size(uri) > MAX_ASSET:
            left.broken.append(uri)
        elif room < 0:
            left.large.append(uri)
        else:
            names[uri] = str(number) if card.archive else files.name(uri) or ""

    def contents() -> Iterator[tuple[str, bytes]]:
        for uri, name in names.items():
            content = files.read(uri)
            if content is None:
                left.broken.append(uri)
            else:
                yield name, content

    cards = _embedded(card, version, {uri: f"__asset:{name}" for uri, name in names.items()})
    Picture(io.BytesIO(carrier)).copy(out, cards, assets=False, more=contents())
    return left.told()


def _embedded(card: Card, version: Version, places: Mapping[str, str]) -> dict[str, bytes]:
    """What a picture embeds: V2 as `chara`; V3 as `ccv3`, and as V2 beside it for older readers."""
    places = {} if all(uri == place for uri, place in places.items()) else places
    newest = _packed(card, version, places)
    if version != "v3":
        return {"chara": newest}
    return {"ccv3": newest, "chara": _packed(card, "v2", places)}


def _write_charx(card: Card, out: BinaryIO, version: Version, picture: bytes | None) -> list[str]:
    files = _Files(card)
    left = _Left(files, f"an archive of {MAX_CARRIER // MEGABYTE} MB")
    if card.archive is not None and CARD in card.archive.names:
        if version == card.version and picture is None:
            card.archive.copy_file(out)
            return []
        if card.archive.in_picture:
            left.more.append("the JPEG that carries the archive is left out")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        places = _put_chunks(files, target, left) if card.picture else {}
        if card.archive is not None:
            _put_members(card.archive, target, left)
        icon = _put_icon(card, target, picture)
        if card.picture is not None and not icon:
            left.more.append("the picture is left out; the card has an icon of its own")
        content = _packed(card, version, places)
        if icon:
            document = json.loads(content)
            _name_icon(document if version == "v1" else document["data"], icon)
            content = _fitting(document)
        target.writestr(CARD, content)
    return left.told()


def _put_members(archive: Archive, target: zipfile.ZipFile, left: _Left) -> None:
    """Copies all files of an archive but its card, also those that no field names."""
    left.unused, room = [], _ROOM
    for name in archive.names:
        room -= archive.size(name)
        if name == CARD:
            continue
        if room < 0:
            left.large.append(name)
        else:
            archive.copy(name, target)


def _put_chunks(files: _Files, target: zipfile.ZipFile, left: _Left) -> dict[str, str]:
    """Puts the files of a picture into an archive; their new addresses."""
    places, room = {}, _ROOM
    for number, uri in enumerate(files.uses, 1):
        place = f"assets/other/{number}.{files.kind(uri)}"
        room -= files.size(uri)
        if room < 0:
            left.large.append(uri)
        elif (content := files.read(uri)) is None:
            left.broken.append(uri)
        else:
            target.writestr(place, content, zipfile.ZIP_STORED)
            places[uri] = f"embeded://{place}"
    return places


def _put_icon(card: Card, target: zipfile.ZipFile, picture: bytes | None) -> str:
    """Puts the picture that carries the card, or shall, into an archive; its address. Empty where
    there is none, or the card has an icon of its own."""
    source = Picture(io.BytesIO(picture)) if picture is not None else card.picture
    own = any(it.get("uri") != DEFAULT_URI for it in _icons(card))
    if source is None or (picture is None and own):
        return ""
    folder, number = "assets/icon/images", 0
    while (place := f"{folder}/main{number or ''}.png") in target.namelist():
        number += 1
    with target.open(zipfile.ZipInfo(place), "w") as file:
        source.copy(cast(BinaryIO, file), assets=False)
    return f"embeded://{place}"


def _name_icon(data: dict[str, Any], uri: str) -> None:
    """Makes a file the card's main icon."""
    found = data.get("assets")
    assets = (
        [dict(row) for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    )
    icons = [row for row in assets if row.get("type") == "icon"]
    main = next((row for row in icons if row.get("name") == "main"), None)
    if main is None:
        assets.append({**DEFAULT_ASSET, "uri": uri})
    else:
        main |= {"uri": uri, "ext": "png"}
    data["assets"] = assets


def _icons(card: Card) -> list[dict[str, Any]]:
    """The icons of a card, the main one first."""
    icons = [asset for asset in card.assets if asset.get("type") == "icon"]
    return sorted(icons, key=lambda asset: asset.get("name") != "main")


def _icon(card: Card, files: _Files) -> bytes | None:
    """The main icon of an archive, if it is a PNG."""
    uris = [uri for icon in _icons(card) if (uri := str(icon.get("uri"))) in files.uses]
    contents = (files.read(uri) for uri in uris)
    return next((c for c in contents if c and c.startswith(SIGNATURE)), None)


def _require_use_regex(book: object) -> None:
    """Adds the field that V3 requires of an entry. Keys in slashes are regular expressions in
    either version, so it says whether there are any."""
    entries = book.get("entries") if isinstance(book, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and "use_regex" not in entry:
            keys = entry.get("keys")
            texts = keys if isinstance(keys, list) else []
            entry["use_regex"] = any(isinstance(k, str) and k.startswith("/") for k in texts)
