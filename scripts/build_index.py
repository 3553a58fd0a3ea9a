"""Indexes a story beforehand, so that requests need only its name.

    python -m scripts.build_index story.json [--story-id ID] [--ask "Who closed the harbour?"]

The file holds a list of events, or an object with `story` (a request will do). Run again after the
story was edited: only what changed is embedded. `--ask` shows the events
that a turn finds for a question.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from cards.load import load_json
from cards.lore.events import is_off
from nodes.embed import search_of
from retrieval.index import IndexCache
from retrieval.story import script_of_story, search_story
from schemas.base import Identifier, Strict
from schemas.errors import BadRequest, IyagiError
from schemas.rag import RAGChunk
from schemas.readers import Reader
from schemas.request import ChatRequest, Persona, StoryEvent
from schemas.state import Context
from schemas.terminal import in_terminal
from stores.story_index import Built, StoredStory, StoryIndex

SHOWN = 5
"""Events that `--ask` shows."""


class StoryFile(Strict):
    """A story as a file: its events, and the name it goes by."""

    story: list[StoryEvent]
    story_id: Identifier


def read_story(path: Path, story_id: str | None) -> StoryFile:
    """The story in a file, named by `story_id`, else by the file, else after the file; without
    lore that is switched off.

    Raises:
        BadRequest: the file cannot be read, or is no story; names the place.
    """
    data = load_json(path)
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
    return story.model_copy(update={"story": [e for e in story.story if not is_off(e)]})


def build(story: StoryFile, stories: StoryIndex) -> Built:
    """Indexes the story, with a progress bar."""
    with tqdm(total=len(story.story), unit="event", disable=None) as bar:
        built = stories.build(story.story_id, story.story, bar.update)
        bar.update(built.events - built.embedded)
    return built


async def ask(
    question: str, story: StoredStory, reader: Reader, indexes: IndexCache
) -> list[RAGChunk]:
    """The events that a turn finds for a question, best first; then those that stand in every turn
    and have no score.

    It minds neither the story's clock nor who knows what, and there is no chat before it.
    """
    try:
        request = ChatRequest(message=question, persona=Persona(name="-"))
    except ValidationError as error:
        raise BadRequest.from_validation(error, ChatRequest) from None
    search = await search_of(request, embedder=reader.embedder, analyzer=indexes.analyzer)
    found, _ = await asyncio.to_thread(
        search_story,
        request,
        story,
        search,
        Context(),
        awaited=(),
        stories=reader.stories,
        indexes=indexes,
        source=reader.embedder,
    )
    events = [*found.context, *found.narrator_only]
    return sorted(events, key=lambda event: (event.score is None, -(event.score or 0)))


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 the machine failed, 2 the input is at fault."""
    lines = (__doc__ or "").splitlines()
    parse = argparse.ArgumentParser("python -m scripts.build_index", description=lines[0])
    parse.add_argument("file", type=Path, help="JSON: a list of events, or an object with `story`")
    parse.add_argument("--story-id", help="its name in requests; default: the file's name")
    parse.add_argument("--ask", metavar="QUESTION", help="show the events that a turn finds for it")
    args = parse.parse_args(argv)
    found: list[RAGChunk] = []
    try:
        story = read_story(args.file, args.story_id)
        from graph.services import make_services
        from graph.settings import load_settings

        script = script_of_story(story.story)
        services = make_services(load_settings())
        reader = services.readers[script]
        assert isinstance(reader.stories, StoryIndex)
        built = build(story, reader.stories)
        if args.ask:
            stored = reader.stories.named(story.story_id)
            found = asyncio.run(ask(args.ask, stored, reader, services.indexes))
    except IyagiError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2 if error.code in ("bad_request", "settings") else 1
    if built.embedded or built.removed:
        done = f"{built.embedded} embedded, {built.removed} removed"
    else:
        done = "nothing to do"
    print(f"{story.story_id}: {built.events} events, {done}")
    for event in found[:SHOWN]:
        score = "   –" if event.score is None else f"{event.score:.2f}"
        print(f"{score}  {event.id}  {' '.join(event.text.split())[:80]}")
    return 0


if __name__ == "__main__":
    sys.exit(in_terminal(main))
