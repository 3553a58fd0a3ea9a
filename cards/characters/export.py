"""Cards back to JSON and PNG. What did not change comes out byte for byte.

Between V2 and V3 only `spec`, `spec_version` and missing required fields change: fields of V3 stay
in a V2 card, where they are unknown keys that readers keep.
"""

from __future__ import annotations

import base64
import copy
from typing import Any

from cards.characters import png
from cards.characters.card import V1_FIELDS, Card, Version
from cards.files import write_json
from schemas.errors import BadRequest

_SPEC = {"v2": ("chara_card_v2", "2.0"), "v3": ("chara_card_v3", "3.0")}
_V2_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(V1_FIELDS, ""),
    **dict.fromkeys(("creator_notes", "system_prompt", "post_history_instructions"), ""),
    **{"alternate_greetings": [], "tags": [], "creator": "", "character_version": ""},
    "extensions": {},
}
_MIME = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}


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
    if card.version == "v1":  # apps put keys of their own beside the six fields
        root = {key: value for key, value in data.items() if key not in _V2_DEFAULTS}
        data = {key: value for key, value in data.items() if key in _V2_DEFAULTS}
    for name, default in _V2_DEFAULTS.items():
        data.setdefault(name, copy.copy(default))
    if version == "v3":
        data.setdefault("group_only_greetings", [])
        _require_use_regex(data.get("character_book"))
    spec, number = _SPEC[version]
    return {**root, "spec": spec, "spec_version": number, "data": data}


def to_json(card: Card, version: Version | None = None) -> bytes:
    """The card as a JSON file; its assets that lie in a PNG or CHARX become `data:` addresses.

    Raises:
        BadRequest: V1 was asked for from another version.
    """
    return _bytes(card, version or card.version, keep_chunks=False)


def to_png(card: Card, version: Version | None = None, picture: bytes | None = None) -> bytes:
    """The card in a PNG: V2 as `chara`; V3 as `ccv3`, and as V2 beside it for older readers.

    Args:
        picture: a PNG to carry it; without one its own picture does, its icon, or a plain one.

    Raises:
        BadRequest: V1 was asked for from another version, or the picture is damaged.
    """
    version = version or card.version
    if picture is None and card.picture is not None and version == card.version:
        return card.picture
    carrier = picture or card.picture or _icon(card) or png.blank()
    keep = picture is None and card.picture is not None
    newest = _bytes(card, version, keep_chunks=keep)
    if version != "v3":
        return png.embed(carrier, {"chara": newest})
    return png.embed(carrier, {"ccv3": newest, "chara": _bytes(card, "v2", keep_chunks=keep)})


def _bytes(card: Card, version: Version, *, keep_chunks: bool) -> bytes:
    inlined = _inlined(card, version, keep_chunks=keep_chunks)
    if inlined is None and version == card.version:
        return card.source
    return write_json(inlined or as_version(card, version))


def _inlined(card: Card, version: Version, *, keep_chunks: bool) -> dict[str, Any] | None:
    """The document with its assets inside; None where none lies in the carrier."""
    found = {
        row: content
        for row, asset in enumerate(card.assets)
        if (content := asset_bytes(card, asset, chunks=not keep_chunks)) is not None
    }
    if not found:
        return None
    document = as_version(card, version)
    data = document if version == "v1" else document["data"]
    assets = [dict(asset) for asset in card.assets]
    for row, content in found.items():
        mime = _MIME.get(str(assets[row].get("ext", "")).lower(), "application/octet-stream")
        assets[row]["uri"] = f"data:{mime};base64,{base64.b64encode(content).decode()}"
    data["assets"] = assets
    return document


def asset_bytes(card: Card, asset: dict[str, Any], *, chunks: bool = True) -> bytes | None:
    """What an asset of the card points to, where its PNG or CHARX holds it; else None."""
    uri = asset.get("uri")
    if not isinstance(uri, str):
        return None
    if card.archive is not None:
        return card.archive.asset(uri)
    if chunks and card.picture is not None and uri.startswith("__asset:"):
        return png.texts(card.picture).get(png.ASSET_PREFIX + uri.removeprefix("__asset:"))
    return None


def _icon(card: Card) -> bytes | None:
    """The main icon of a CHARX, if it is a PNG."""
    icons = [asset for asset in card.assets if asset.get("type") == "icon"]
    icons.sort(key=lambda asset: asset.get("name") != "main")
    contents = (asset_bytes(card, asset) for asset in icons)
    return next((c for c in contents if c and c.startswith(png.SIGNATURE)), None)


def _require_use_regex(book: object) -> None:
    """Adds the field that V3 requires of an entry. Keys in slashes are regular expressions in
    either version, so it says whether there are any."""
    entries = book.get("entries") if isinstance(book, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and "use_regex" not in entry:
            keys = entry.get("keys")
            texts = keys if isinstance(keys, list) else []
            entry["use_regex"] = any(isinstance(k, str) and k.startswith("/") for k in texts)
