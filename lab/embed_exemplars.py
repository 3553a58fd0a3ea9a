"""Writes the vectors of the router's exemplars anew: `python -m lab.embed_exemplars`."""

from __future__ import annotations

import sys

import numpy as np

from embedding.backends import minilm
from routing.decide import VECTORS, labelled_texts, vectors_key


def main() -> int:
    """Embeds `routing/exemplars.toml` under the bundled embedder into `routing/exemplars.npz`, in
    float16: cosines change by less than .001."""
    embedder, (texts, _) = minilm(), labelled_texts()
    vectors = embedder.encode_passages(texts).astype(np.float16)
    np.savez(VECTORS, key=np.array(vectors_key(embedder.fingerprint, texts)), vectors=vectors)
    print(f"{VECTORS.name}: {len(texts)} vectors, {VECTORS.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
