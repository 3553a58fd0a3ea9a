"""What happens to a text before any model sees it."""

from __future__ import annotations

import re

# Model name (any case) -> (query prefix, passage prefix); the first match wins.
# From the model cards: a model trained with prefixes ranks noticeably worse without them.
PREFIXES: list[tuple[str, tuple[str, str]]] = [
    (r"\be5-.*instruct", ("Instruct: Retrieve what is relevant to this message\nQuery: ", "")),
    (r"\be5\b", ("query: ", "passage: ")),
    (r"\bbge-\w+-en\b", ("Represent this sentence for searching relevant passages: ", "")),
    (r"\barctic-embed.*-v2", ("query: ", "")),
    (r"\bnomic-embed", ("search_query: ", "search_document: ")),
]


def prefixes_for(model: str) -> tuple[str, str]:
    """The (query, passage) prefixes of a model by its name.

    Both are empty for an unknown name, and for bge-m3 and the MiniLM family, which want none.
    """
    for pattern, prefixes in PREFIXES:
        if re.search(pattern, model, re.IGNORECASE):
            return prefixes
    return "", ""


def well_formed(text: str) -> str:
    """The text with each lone surrogate (half a character) as "?": no tokenizer takes them."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
