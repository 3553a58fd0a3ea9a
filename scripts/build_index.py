"""Indexes a story beforehand, so that requests need only its name.

    python -m scripts.build_index story.json [--story-id ID] [--ask "Who closed the harbour?"]

The file holds a list of events, or an object with `story` (a request will do). Run again after the
story was edited: only changed events are embedded, and vanished ones are removed. `--ask` shows the
events that are nearest to a question, so that one sees whether the embedder understands the story.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from tqdm import tqdm

from retrieval.story import texts_to_embed
from schemas.base import Identifier, Strict
from schemas.errors import BadRequest, IyagiError
from schemas.protocols import Embedder
from schemas.request import StoryEvent
from scripts.turn import read_json
from stores.story_index import Built, StoryIndex

SHOWN = 5
"""Events that `--ask` shows."""


class StoryFile(Strict):
    """A story as a file: its events, and the name it goes by."""

    story: list[StoryEvent]
    story_id: Identifier


def read_story(path: Path, story_id: str | None) -> StoryFile:
    """The story in a file, named by `story_id`, else by the file, else after the file.

    Raises:
        BadRequest: the file cannot be read, or is no story; names the place.
    """
    data = read_json(path)
    found = data if isinstance(data, dict) else {"story": data}
    if not isinstance(found.get("story"), list):
        raise BadRequest("must hold a list of events, or an object with `story`", field=path.name)
    name = story_id or found.get("story_id") or path.stem
    try:
        story = StoryFile.model_validate({"story": found["story"], "story_id": name})
    except ValidationError as error:
        raise BadRequest.from_validation(error, StoryFile) from None
    first: dict[str, int] = {}
    for row, event in enumerate(story.story):
        if (other := first.setdefault(event.id, row)) != row:
            raise BadRequest(
                f"event {row} has the id of event {other}; give each its own", field="story"
            )
    return story


def build(story: StoryFile, stories: StoryIndex) -> Built:
    """Indexes the story, with a progress bar."""
    with tqdm(total=len(story.story), unit="event", disable=None) as bar:
        built = stories.build(story.story_id, story.story, bar.update)
        bar.update(built.events - built.embedded)
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 the machine failed, 2 the input is at fault."""
    lines = (__doc__ or "").splitlines()
    parse = argparse.ArgumentParser("python -m scripts.build_index", description=lines[0])
    parse.add_argument("file", type=Path, help="JSON: a list of events, or an object with `story`")
    parse.add_argument("--story-id", help="its name in requests; default: the file's name")
    parse.add_argument("--ask", metavar="QUESTION", help="show the events nearest to it")
    args = parse.parse_args(argv)
    nearest = []
    try:
        story = read_story(args.file, args.story_id)
        from graph.services import make_services
        from graph.settings import load_settings

        services = make_services(load_settings())
        assert isinstance(services.stories, StoryIndex)
        built = build(story, services.stories)
        services.embedder.encode_passages(texts_to_embed(story.story))
        if args.ask:
            [vector] = asyncio.run(_vectors(services.embedder, [args.ask]))
            nearest = services.stories.nearest(story.story_id, vector, SHOWN)
    except IyagiError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2 if error.code in ("bad_request", "settings") else 1
    if built.embedded or built.removed:
        done = f"{built.embedded} embedded, {built.removed} removed"
    else:
        done = "nothing to do"
    print(f"{story.story_id}: {built.events} events, {done}")
    for event, score in nearest:
        print(f"{score:.2f}  {event.id}  {' '.join(event.text.split())[:80]}")
    return 0


async def _vectors(embedder: Embedder, questions: Sequence[str]) -> np.ndarray:
    return await embedder.begin_queries(questions)


if __name__ == "__main__":
    sys.exit(main())
