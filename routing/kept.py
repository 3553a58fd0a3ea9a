"""The exemplars' vectors under the bundled embedder, computed beforehand and committed.

`python -m lab.embed_exemplars` writes them anew. The file is read only where both the
embedder's fingerprint and the texts are those that it was made with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KEPT = Path(__file__).parent / "exemplars.npz"


def key_of(fingerprint: str, texts: Sequence[str]) -> str:
    """What vectors depend on: the embedder and the texts in their order."""
    return hashlib.sha256("\0".join([fingerprint, *texts]).encode()).hexdigest()


def kept_vectors(
    fingerprint: str, texts: Sequence[str], path: Path = KEPT
) -> NDArray[np.float32] | None:
    """(n, dim) rows of unit length, or None where they were made with something else."""
    if not path.is_file():
        return None
    with np.load(path) as kept:
        if str(kept["key"]) != key_of(fingerprint, texts):
            return None
        vectors: NDArray[np.float32] = kept["vectors"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def keep_vectors(
    fingerprint: str, texts: Sequence[str], vectors: NDArray[np.float32], path: Path = KEPT
) -> None:
    """Writes them in float16: their cosines change by less than .001."""
    key = np.array(key_of(fingerprint, texts))
    np.savez(path, key=key, vectors=vectors.astype(np.float16))
