"""A character of the operator's folder, by its name."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import BadRequest, SettingsError
from schemas.request import Persona


def names(folder: Path) -> list[str]:
    """The characters on offer, sorted; none where there is no folder. Blocks on the disk."""
    return sorted(_files(folder))


def load(name: str, folder: Path) -> Persona:
    """The character of this name. Blocks on the disk.

    The name comes from a request: it is compared with the names in the folder, and never becomes
    part of a path.

    Raises:
        BadRequest: there is none; says which there are.
        SettingsError: its file cannot be read as a character.
    """
    path = _files(folder).get(unicodedata.normalize("NFC", name))
    if path is None:
        known = ", ".join(names(folder)) or "none; send `persona`"
        raise BadRequest(f"no such character; on offer: {known}", field="model")
    try:
        return Persona.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, ValidationError):
        raise SettingsError(f"characters/{path.name} is no character; check the file") from None


def _files(folder: Path) -> dict[str, Path]:
    """The folder's characters: name (composed, as people type it) and file."""
    try:
        found = [path for path in folder.iterdir() if path.suffix == ".json" and path.is_file()]
    except OSError:
        return {}
    return {unicodedata.normalize("NFC", path.stem): path for path in found}
