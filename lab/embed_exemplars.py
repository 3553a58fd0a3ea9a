"""Writes the vectors of the router's exemplars anew: `python -m lab.embed_exemplars`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from embedding.backends import e5, minilm
from embedding.embedder import Embedder
from language.script import Script
from routing.exemplars import VECTORS, labelled_texts, vectors_key

EMBEDDERS: dict[Script, Embedder] = {"latin": minilm(), "cjk": e5()}


def main() -> int:
    """Embeds `routing/exemplars.toml` under the bundled embedders into `routing/exemplars.npz`, in
    float16: cosines change by less than .001."""
    tables: dict[str, Any] = {}
    for script, embedder in EMBEDDERS.items():
        texts, _ = labelled_texts(script)
        tables[script] = embedder.encode_queries(texts).astype(np.float16)
        tables[f"{script}.key"] = np.array(vectors_key(embedder.fingerprint, texts))
        print(f"{script}: {len(texts)} vectors")
    np.savez(VECTORS, **tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
