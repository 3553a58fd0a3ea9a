"""What lorebooks cost a turn of a running chat: `python -m benchmarks.lore [ENTRIES...]`.

Each entry has three keys, and of ten entries seven have plain words (two Latin, three Korean, one
Thai, one of several words), two have regular expressions, and one names `{{user}}` in its keys. One
in ten is sticky, and the text of one in three mentions another one. A chat of 60 lines grows by two
lines a turn, of which each mentions one of 40 entries that the chat is about; the lines before it
are known, as in any chat that goes on.

Shown per book: seconds to read it and to make it ready, which is done once; then milliseconds of
processor time of the turn's choice of entries, the median of all turns but the first and the range,
and the median with taking the book out of the request.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pydantic import TypeAdapter

from cards.lore.activation import activate
from cards.lore.events import split_lore, to_events
from cards.lore.lorebook import Lorebook
from cards.lore.scene import Scene
from cards.lore.world_info import parse_book
from schemas.budget import Budget, spending
from schemas.request import Message, StoryEvent

SIZES = (947, 5_000)
"""Entries: of the largest of many public books, and as many as a request holds."""
FIRST, TURNS = 60, 40
BUDGET = 2_000
"""Tokens, of four characters, for lore."""

LATIN = "abcdefghiklmnoprstuvw"
HANGUL = "가나다라마바사아자차카타파하은빛숲길왕검물산강별달해꽃눈"
THAI = "กขคงจชดตทนบปพมยรลวสหอ"

SAID = (
    "the river keeps its own time and old men say that nobody crosses it after dark without a lamp "
    "강은 제 시간을 지키고 노인들은 해가 진 뒤에 등불 없이 건너는 사람이 없다고 말한다 "
    "바람이 불면 종이 울리고 아이들은 문을 닫은 채 아침까지 기다린다"
)
PROSE = tuple(" ".join(random.Random(n).choices(SAID.split(), k=60)) for n in range(20))

T = TypeVar("T")


def main() -> None:
    """Prints a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_as_written)
    parser.add_argument("entries", nargs="*", type=int, default=SIZES)
    for size in parser.parse_args().entries:
        print(line_of(size))


EVENTS = TypeAdapter(list[StoryEvent])


def line_of(size: int) -> str:
    """What is shown of a book of so many entries."""
    document, names = make_book(size)
    book, read = timed(lambda: parse_book(document))
    request = EVENTS.dump_json(to_events(book))
    first, turns, whole, taken = 0.0, list[float](), list[float](), list[int]()
    for turn in range(TURNS + 1):
        scene = scene_of(turn, names)
        sent = EVENTS.validate_json(request)  # every request brings its own
        (lore, _), taken_out = timed(partial(split_lore, sent))
        active, seconds = timed(partial(run, lore, scene))
        if turn:
            taken.append(active)
            turns.append(seconds)
            whole.append(taken_out + seconds)
        else:
            first = seconds
    return (
        f"{size:>6,} entries: read {read:.2f} s, first turn {first:.2f} s; a turn "
        f"{_ms(statistics.median(turns))} ms ({_ms(min(turns))} to {_ms(max(turns))}), with the "
        f"request's book "
        f"{_ms(statistics.median(whole))} ms; {statistics.mean(taken):.1f} entries are taken"
    )


def run(book: Lorebook, scene: Scene) -> int:
    """How many entries take part in a turn."""
    with spending(Budget()):
        outcome = activate(book, scene, budget=BUDGET, count=lambda text: 1 + len(text) // 4)
    return len(outcome.active)


def timed(do: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the seconds of processor time that it took."""
    started = time.process_time()
    value = do()
    return value, time.process_time() - started


def make_book(size: int) -> tuple[dict[str, Any], list[str]]:
    """World Info of so many entries, and a name of each that calls for it."""
    chance = random.Random(7)

    def word(letters: str, length: int) -> str:
        return "".join(chance.choices(letters, k=length))

    entries, names = {}, []
    for row in range(size):
        latin, korean, thai = word(LATIN, 7), word(HANGUL, 4), word(THAI, 6)
        match row % 10:
            case 0 | 1:
                name, keys = latin, [latin, word(LATIN, 5), word(LATIN, 9)]
            case 2 | 3 | 4:
                name, keys = korean, [korean, word(HANGUL, 2), word(LATIN, 6)]
            case 5:
                name, keys = thai, [thai, word(THAI, 4), word(LATIN, 6)]
            case 6:
                name, keys = f"old {latin}", [f"old {latin}", f"the {korean}", word(HANGUL, 3)]
            case 7:
                name, keys = latin, [rf"/\b{latin}(?:s|'s)?\b/i", rf"/(?:great|old) {latin}/i"]
            case 8:
                name, keys = korean, [f"/{korean}(?:은|는|이|가)?/", f"/{word(HANGUL, 3)}\\s*\\d+/"]
            case _:
                name, keys = korean, [korean, f"{{{{user}}}}'s {latin}", f"/{{{{user}}}} {latin}/i"]
        names.append(name)
        entries[str(row)] = {
            "uid": row,
            "key": keys,
            "content": f"{{{{char}}}}: {row}, {names[row // 2] if row % 3 == 0 else 'no one'}. "
            f"{chance.choice(PROSE)}",
            "sticky": 3 * (row % 10 == 4),
        }
    return {"entries": entries}, names


def scene_of(turn: int, names: list[str]) -> Scene:
    """A turn of the chat; the same lines come again in the next one."""
    chance = random.Random(3)
    names = chance.sample(names, 40)
    lines = [
        Message(
            role="character" if row % 2 else "user",
            content=f"Then {chance.choice(names)}에게 갔다. {chance.choice(PROSE)}",
        )
        for row in range(FIRST + 1 + 2 * turn)
    ]
    return Scene(messages=lines, char="Mara", user="민준", chat="c")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _as_written(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog)


if __name__ == "__main__":
    main()
