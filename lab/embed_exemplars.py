"""Writes the vectors of the router's exemplars anew: `python -m lab.embed_exemplars`."""

from __future__ import annotations

import sys

from embedding.backends import minilm
from routing.exemplars import VECTORS, labelled_texts, write_vectors


def main() -> int:
    """Embeds `routing/exemplars.toml` under the bundled embedder into `routing/exemplars.npz`."""
    embedder, (texts, _) = minilm(), labelled_texts()
    write_vectors(embedder.fingerprint, texts, embedder.encode_passages(texts))
    print(f"{VECTORS.name}: {len(texts)} vectors, {VECTORS.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
