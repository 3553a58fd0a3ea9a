"""Embeds a chat's messages beforehand, so that its first turn has their vectors.

    python -m scripts.embed_history history.json

The file holds a list of messages, or an object with `history` (a request will do). Run again after
the chat went on: only new messages are embedded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from cards.load import load_json
from embedding.embedder import Embedder
from language.script import script_of
from retrieval.index import PART_SIZE
from retrieval.text import parts
from schemas.base import Strict
from schemas.errors import BadRequest, IyagiError
from schemas.request import Message
from schemas.terminal import in_terminal

BATCH = 64  # messages embedded between two steps of the progress bar


class HistoryFile(Strict):
    """A chat as a file."""

    history: list[Message]


def read_history(path: Path) -> list[Message]:
    """The messages in a file.

    Raises:
        BadRequest: the file cannot be read, or is no history; names the place.
    """
    data = load_json(path)
    found = data if isinstance(data, dict) else {"history": data}
    if not isinstance(found.get("history"), list):
        raise BadRequest(
            "must hold a list of messages, or an object with `history`", field=path.name
        )
    try:
        return HistoryFile.model_validate({"history": found["history"]}).history
    except ValidationError as error:
        raise BadRequest.from_validation(error, HistoryFile) from None


def embed(texts: Sequence[str], embedder: Embedder) -> int:
    """Embeds the texts that its cache lacks, with a progress bar; how many these were."""
    texts = list(dict.fromkeys(texts))
    _, known = embedder.known(texts)
    missing = [text for text, is_known in zip(texts, known, strict=True) if not is_known]
    with tqdm(
        total=len(texts), initial=len(texts) - len(missing), unit="text", disable=None
    ) as bar:
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            embedder.encode_passages(batch)
            bar.update(len(batch))
    return len(missing)


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 the machine failed, 2 the input is at fault."""
    lines = (__doc__ or "").splitlines()
    parse = argparse.ArgumentParser("python -m scripts.embed_history", description=lines[0])
    parse.add_argument("file", type=Path, help="JSON: a list of messages, or a request")
    args = parse.parse_args(argv)
    try:
        history = read_history(args.file)
        from graph.services import make_services
        from graph.settings import load_settings

        script = script_of([message.content for message in history])
        embedder = make_services(load_settings()).readers[script].embedder
        assert isinstance(embedder, Embedder)
        texts = [part for message in history for part in parts(message.content, PART_SIZE)]
        embedded = embed(texts, embedder)
    except IyagiError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2 if error.code in ("bad_request", "settings") else 1
    done = f"{embedded} embedded" if embedded else "nothing to do"
    print(f"{args.file.name}: {len(history)} messages, {done}")
    return 0


if __name__ == "__main__":
    sys.exit(in_terminal(main))
