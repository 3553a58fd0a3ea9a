"""What the stores ask of an embedder, to make vectors again from stored text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Encoder(Protocol):
    """What makes vectors of texts."""

    @property
    def fingerprint(self) -> str:
        """Names the model and its version."""

    @property
    def dimension(self) -> int:
        """Numbers per vector."""

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dimension) float32 rows of unit length."""
