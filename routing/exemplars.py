"""Whether a message resembles calls for narration or talk: `vote`, of labelled messages.

The messages were written for this purpose (`exemplars.toml`). Those nearest to a message vote, and
their order alone counts: under one embedder the cosines of all pairs lie between .75 and .95, under
another between -.1 and .9.
"""

from __future__ import annotations

import asyncio
import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from language.script import Script
from schemas.protocols import Embedder
from schemas.readers import Readers

TEXTS = Path(__file__).parent / "exemplars.toml"
VECTORS = Path(__file__).parent / "exemplars.npz"
"""Of the exemplars under the bundled embedders, by `python -m lab.embed_exemplars`: to embed some
180 English or 720 Korean texts would make the first turn wait for half a second and more."""

LANGUAGE: dict[Script, str] = {"latin": "en", "cjk": "ko"}
"""The exemplars that an embedder is given, by the script of the chats that it reads."""
NEIGHBOURS = 15
"""Nearest exemplars that vote; 9 to 25 measure alike."""
_WEIGHTS = np.arange(NEIGHBOURS, 0, -1, dtype=np.float32) / (NEIGHBOURS * (NEIGHBOURS + 1) / 2)
"""Of the nearest, the second and so on: in even steps, together 1."""
NEUTRAL_VOTE = -0.1
"""The vote where there is no vector: near the mean over the development turns."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Labelled messages under one embedder: unit vectors (n, d) and labels (n,), 1 narrator, -1
    character."""

    vectors: Vectors
    labels: Vectors

    def vote(self, vector: Vectors | None) -> float:
        """-1 (all neighbours are talk) to 1 (all call for narration), of a message's vector, (d,)
        of unit length; NEUTRAL_VOTE without one."""
        if vector is None:
            return NEUTRAL_VOTE
        far = -(self.vectors @ vector)  # (n,)
        nearest = np.argpartition(far, NEIGHBOURS)[:NEIGHBOURS]
        return float(_WEIGHTS @ self.labels[nearest[np.argsort(far[nearest])]])


def labelled_texts(script: Script) -> tuple[tuple[str, ...], Vectors]:
    """The exemplars for chats in a script, and their labels (n,): 1 for narrator, -1 for
    character."""
    table, language = tomllib.loads(TEXTS.read_text(encoding="utf-8")), LANGUAGE[script]
    narrator, character = table["narrator"][language], table["character"][language]
    labels = [1.0] * len(narrator) + [-1.0] * len(character)
    return (*narrator, *character), np.array(labels, np.float32)


class LazyExemplars:
    """The exemplars under the embedder of each script, made when a turn first asks for them."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._made: dict[Script, Exemplars] = {}

    async def __call__(self, script: Script) -> Exemplars:
        """The same object, as long as the embedder's vectors have one length. Raises
        EmbeddingError."""
        embedder, made = self._readers[script].embedder, self._made.get(script)
        if made is None or made.vectors.shape[1] != embedder.dimension:
            self._made[script] = made = await exemplars_of(script, embedder)
        return made


async def exemplars_of(script: Script, embedder: Embedder) -> Exemplars:
    """The exemplars of a script under an embedder, whose vectors are made where they are not
    committed, as questions like the messages. Raises EmbeddingError."""
    texts, labels = labelled_texts(script)
    vectors = await asyncio.to_thread(read_vectors, script, embedder.fingerprint)
    if vectors is None:
        vectors = await embedder.begin_queries(texts)
    return Exemplars(vectors, labels)


def read_vectors(script: Script, fingerprint: str) -> Vectors | None:
    """(n, d) rows of unit length as committed; None where they are another embedder's, or of other
    texts."""
    with np.load(VECTORS) as file:
        if str(file[f"{script}.key"]) != vectors_key(fingerprint, labelled_texts(script)[0]):
            return None
        vectors: Vectors = file[script].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def vectors_key(fingerprint: str, texts: Sequence[str]) -> str:
    """What vectors depend on: the embedder and the texts in their order."""
    return hashlib.sha256("\0".join([fingerprint, *texts]).encode()).hexdigest()
