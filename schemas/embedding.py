"""The name of a stored vector."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import StringConstraints

EmbeddingId = Annotated[str, StringConstraints(pattern=r"^sha1:[0-9a-f]{40}$")]
"""`sha1:` and 40 hex digits: the SHA-1 of the embedded text in UTF-8."""


def embedding_id(text: str) -> str:
    """The id of a text's vector: the text's SHA-1, a name and no safeguard."""
    return "sha1:" + hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest()
