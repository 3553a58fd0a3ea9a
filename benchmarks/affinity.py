"""How much of each prompt a worker still has in its prefix cache, when several workers share the
chats: `python -m benchmarks.affinity [FILE.chat.jsonl...] [--chats 64] [--turns 50] [--json]`

So many chats run at once, each with a user of its own, from their first message on: the mock chats
in English and Korean by turns, or those of the files (`benchmarks/corpus.py` tells their format).
Prompts are the real ones, with memories and events drawn at random. A user takes a minute on
average to answer, a worker writes 40 tokens a second and some replies at once. As in vLLM, a worker
caches whole blocks of 16 tokens, each known by all that stands before it, of prompts and replies;
where it is full, the block not used for the longest time goes, of one prompt the last one first.

A load balancer picks a worker with room at random (or in turn), unless the request names one in
`X-Runpod-Worker-Id`, as Runpod documents it:

    none             no worker is named
    soft             `<id>`: this one; if it has no room or is away, any other
    strict           `strict <id>`: waits until this one has room; a 404 if it is away. The client
                     then asks without a name
    strict-resume    `strict-resume <id>`: as strict, but a worker that was scaled down is started
                     again, which takes half a minute

Columns: share of prompt tokens found in the cache, tokens computed per turn (mean and 95th
percentile); then the same chats where one worker in four is scaled down at half time, and with it
its cache: the share again, mean and longest wait for a worker in seconds, requests that were
refused, workers that were started again. The row `one cache` has no bound: the most that the
prompts allow. Tokens are words, marks and syllables of Hangul.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import re
import statistics
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.corpus import read_lines
from benchmarks.metrics import table
from graph.settings import ROOT
from prompts.build import build_prompt
from prompts.tokens import remembered
from schemas.rag import PromptBuildInput, PromptLayout, RAGChunk
from schemas.request import ChatRequest, Message

BLOCK = 16
CACHE = 100_000
"""Tokens that a worker caches: a model of 12B in 16 bits (25 GB) takes 160 KiB for one, so about
what a GPU of 48 GB has left."""
SLOTS = 32
"""Replies that a worker writes at once: the default of `IYAGI_LLM_CONCURRENCY`."""
SPEED = 40
"""Tokens a second of one reply."""
THINKING = 60.0
"""Seconds until a user answers, on average."""
RESUMING = 30.0
"""Seconds until a worker that was scaled down takes requests again."""
MEMORIES, RECENT = 3, 20
"""Memories in a prompt, and the newest lines that are none."""

Affinity = Literal["none", "soft", "strict", "strict-resume"]
Balance = Literal["random", "turns"]

COLUMNS = ("cached", "computed", "p95")
COLUMNS_LOST = ("cached'", "wait_mean", "wait_most", "refused", "resumed")

MOCK = ("sample_request.json", "sample_request.ko.json")
_TOKEN = re.compile(r"<\|\w+\|>|[\uac00-\ud7a3]|[^\W\uac00-\ud7a3]+|[^\w\s]")


def tokenize(text: str) -> list[str]:
    """Words and marks, and Korean by the syllable: about what tokenizers of today make of it."""
    return _TOKEN.findall(text)


_count = remembered(lambda text: len(tokenize(text)))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its prompt in tokens, and the blocks of prompt and reply, oldest first."""

    tokens: int
    reply: int
    blocks: tuple[int, ...]

    @classmethod
    def of(cls, prompt: str, reply: str) -> Asked:
        """A block is known by its tokens and all before them."""
        words, said = tokenize(prompt), tokenize(reply)
        written, blocks, chain = words + said, [], 0
        for end in range(BLOCK, len(written) + 1, BLOCK):
            chain = hash((chain, *written[end - BLOCK : end]))
            blocks.append(chain)
        return cls(len(words), len(said), tuple(blocks))


def read_requests(files: Sequence[Path]) -> list[ChatRequest]:
    """The chats to be played: those of the files, else the mock chats.

    Raises:
        OSError, ValueError, KeyError: a file is at fault.
    """
    if not files:
        texts = [(ROOT / "data/mock" / name).read_text(encoding="utf-8") for name in MOCK]
        return [ChatRequest.model_validate_json(text) for text in texts]
    return [_of_corpus(chat) for path in files for chat in read_lines(path)]


def _of_corpus(chat: dict[str, Any]) -> ChatRequest:
    """The first of the two who speak most is the user."""
    speakers = Counter(it["speaker"] for it in chat["messages"])
    user, character = [name for name, _ in speakers.most_common(2)]
    roles = {user: "user"}
    return ChatRequest.model_validate(
        {
            "message": "-",
            "persona": {"name": character, "language": chat.get("language", "en")},
            "user_name": user,
            "history": [
                {
                    "role": roles.get(it["speaker"], "character"),
                    "name": it["speaker"],
                    "content": it["text"],
                }
                for it in chat["messages"]
            ],
        }
    )


def play(request: ChatRequest, number: int, context: int, seed: int) -> Iterator[Asked]:
    """The requests of one chat, as that user has it: one for each line that answers the user's."""
    draw = random.Random(f"{seed} {number}")
    user = f"{request.user_name or 'User'}{number}"
    lines = [
        line.model_copy(update={"name": user}) if line.role == "user" else line
        for line in request.history
    ]
    events = [
        RAGChunk(id=event.id, source="story", text=event.text, meta={"order": event.order})
        for event in request.story
    ]
    layout = PromptLayout(context_length=context)
    for row, (line, reply) in enumerate(pairwise(lines)):
        if line.role != "user" or reply.role == "user":
            continue
        given = PromptBuildInput(
            persona=request.persona,
            chat_context=_memories(lines[: max(0, row - RECENT)], draw),
            story_context=draw.sample(events, draw.randint(0, min(4, len(events)))),
            history=lines[:row],
            user_message=line.content,
            user_name=user,
            speaker="narrator" if reply.role == "narrator" else "character",
            layout=layout,
        )
        yield Asked.of(build_prompt(given, count=_count).prompt, reply.content)


def _memories(lines: Sequence[Message], draw: random.Random) -> list[RAGChunk]:
    rows = draw.sample(range(len(lines)), min(MEMORIES, len(lines)))
    return [
        RAGChunk(
            id=str(row),
            source="chat",
            text=lines[row].content,
            meta={"row": row, "role": lines[row].role},
        )
        for row in rows
    ]


@dataclass
class Worker:
    """A model server: what it caches, and when its replies will be written."""

    room: int  # blocks
    slots: int
    here: bool = True
    ready: float = 0.0  # when it has started again
    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)  # longest unused first
    ends: list[float] = field(default_factory=list)

    def free_at(self, now: float) -> float:
        """The first time from now on at which it has room for a reply."""
        self.ends = sorted(end for end in self.ends if end > now)
        waits = len(self.ends) - self.slots
        return max(now, self.ready, self.ends[waits] if waits >= 0 else now)

    def read(self, asked: Asked) -> int:
        """Reads a prompt and writes its reply; gives the prompt's tokens that were cached.

        The last token is always computed: the reply comes from it.
        """
        found = 0
        for block in asked.blocks[: (asked.tokens - 1) // BLOCK]:
            if block not in self.cache:
                break
            found += 1
        for block in reversed(asked.blocks):
            self.cache[block] = None
            self.cache.move_to_end(block)
        while len(self.cache) > self.room:
            self.cache.popitem(last=False)
        return found * BLOCK

    def scale_down(self) -> None:
        """It is away, and its cache with it."""
        self.here = False
        self.cache.clear()


@dataclass
class Balancer:
    """The load balancer in front of the workers."""

    workers: list[Worker]
    draw: random.Random
    balance: Balance = "random"
    refused: int = 0
    resumed: int = 0
    _turn: Iterator[int] = field(default_factory=count)

    def route(self, named: int | None, affinity: Affinity, now: float) -> tuple[int, float]:
        """Which worker takes a request, and when."""
        if affinity == "none" or named is None:
            return self._any(now)
        worker = self.workers[named]
        if affinity == "soft":
            return (named, now) if worker.here and worker.free_at(now) <= now else self._any(now)
        if not worker.here and affinity == "strict":
            self.refused += 1
            return self._any(now)
        if not worker.here:
            worker.here, worker.ready = True, now + RESUMING
            self.resumed += 1
        return named, worker.free_at(now)

    def _any(self, now: float) -> tuple[int, float]:
        """One that has room, else the one that has it first."""
        free = {
            number: worker.free_at(now) for number, worker in enumerate(self.workers) if worker.here
        }
        first = min(free.values())
        able = [number for number, time in free.items() if time <= max(first, now)]
        at = next(self._turn) if self.balance == "turns" else self.draw.randrange(len(able))
        return able[at % len(able)], first


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked, whoever answers."""

    chats: Sequence[Sequence[Asked]]
    seed: int
    cache: int = CACHE  # tokens of a worker
    slots: int = SLOTS
    balance: Balance = "random"


def simulate(load: Load, workers: int, affinity: Affinity, *, lose: bool) -> dict[str, float]:
    """All requests in the order of their time; the same seed gives the same chats and users.

    Args:
        load: the chats.
        workers: how many there are.
        affinity: what the clients send.
        lose: whether one worker in four is scaled down at half time (of one worker, none).
    """
    balancer = Balancer(
        [Worker(load.cache // BLOCK, load.slots) for _ in range(workers)],
        random.Random(load.seed),
        load.balance,
    )
    users = [random.Random(f"{load.seed} {chat}") for chat in range(len(load.chats))]
    due = [(user.uniform(0, THINKING), chat, 0) for chat, user in enumerate(users)]
    heapq.heapify(due)
    pinned: list[int | None] = [None] * len(load.chats)
    half = sum(map(len, load.chats)) // 2
    tokens = 0
    computed: list[int] = []
    waits: list[float] = []
    while due:
        now, chat, turn = heapq.heappop(due)
        if lose and workers > 1 and len(waits) == half:
            for worker in balancer.workers[: max(1, workers // 4)]:
                worker.scale_down()
        asked = load.chats[chat][turn]
        number, start = balancer.route(pinned[chat], affinity, now)
        worker, pinned[chat] = balancer.workers[number], number
        found = worker.read(asked)
        end = start + asked.reply / SPEED
        worker.ends.append(end)
        tokens += asked.tokens
        computed.append(asked.tokens - found)
        waits.append(start - now)
        if turn + 1 < len(load.chats[chat]):
            thinking = users[chat].expovariate(1 / THINKING)
            heapq.heappush(due, (end + thinking, chat, turn + 1))
    return {
        "cached": 1 - sum(computed) / tokens,
        "computed": round(statistics.mean(computed)),
        "p95": round(statistics.quantiles(computed, n=20)[-1]),
        "wait_mean": statistics.mean(waits),
        "wait_most": max(waits),
        "refused": balancer.refused,
        "resumed": balancer.resumed,
    }


def measure(load: Load, workers: Sequence[int]) -> dict[str, dict[str, float]]:
    """The table: a row for each number of workers and what clients send."""
    unbound = Load(load.chats, load.seed, cache=10**12, slots=10**6)
    rows = {"one cache": simulate(unbound, 1, "none", lose=False)}
    rows["one cache"] = {name: rows["one cache"][name] for name in COLUMNS}
    for many in workers:
        affinity: Affinity
        for affinity in get_args(Affinity) if many > 1 else ("none",):
            calm = simulate(load, many, affinity, lose=False)
            row = {name: calm[name] for name in COLUMNS}
            if many > 1:
                lost = simulate(load, many, affinity, lose=True)
                row["cached'"] = lost["cached"]
                row |= {name: lost[name] for name in COLUMNS_LOST[1:]}
            rows[f"{many}, {affinity}" if many > 1 else "1"] = row
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Plays the chats and prints a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--chats", type=int, default=64, help="at once")
    parser.add_argument("--turns", type=int, default=50, help="of each chat at most")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--context", type=int, default=8192, help="tokens of prompt and reply")
    parser.add_argument("--cache", type=int, default=CACHE, help="tokens that a worker caches")
    parser.add_argument("--slots", type=int, default=SLOTS, help="replies of a worker at once")
    parser.add_argument("--balance", choices=get_args(Balance), default="random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    if min(given.chats, given.turns, given.slots, *given.workers) < 1:
        parser.error("--chats, --turns, --slots and --workers are 1 or more")
    requests = read_requests(given.files)
    chats = [
        list(
            islice(
                play(requests[number % len(requests)], number, given.context, given.seed),
                given.turns,
            )
        )
        for number in range(given.chats)
    ]
    load = Load(chats, given.seed, given.cache, given.slots, given.balance)
    rows = measure(load, given.workers)
    if given.json:
        print(json.dumps(rows))
        return
    print(table(rows, (*COLUMNS, *COLUMNS_LOST)).replace("None", "   -"))


if __name__ == "__main__":
    main()
