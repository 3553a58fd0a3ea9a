"""An embedder for tests: no model, no meaning, the same numbers everywhere."""

from __future__ import annotations

from typing import ClassVar
from zlib import crc32

import numpy as np
from langchain_core.embeddings import Embeddings

from schemas.rag import CosineScale


class HashEmbeddings(Embeddings):
    """Counts of hashed character trigrams at unit length: texts that share letters are near."""

    cosine_scales: ClassVar[dict[str, CosineScale]] = {}  # its cosines are taken as they are

    def __init__(self, dimension: int = 256) -> None:
        self.dimension = dimension
        self.fingerprint = f"hashed-trigrams/{dimension}"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The text's vector; an empty text has one too."""
        padded = f"  {text.lower()}  "
        counts = np.zeros(self.dimension)
        for start in range(len(padded) - 2):
            counts[crc32(padded[start : start + 3].encode(errors="replace")) % self.dimension] += 1
        unit: list[float] = (counts / np.linalg.norm(counts)).tolist()
        return unit
