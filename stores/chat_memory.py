"""What was said before, kept for backends that send only recent messages."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import TypeVar

import numpy as np

from retrieval.index import PART_SIZE
from retrieval.lexical import KERNEL
from retrieval.text import parts
from schemas.base import digest
from schemas.errors import StoreError
from schemas.protocols import PassageEncoder
from schemas.rag import NOTHING_RECALLED, Recalled, Search
from schemas.request import Message
from stores.chat_log import ChatLog, Entry
from stores.chat_order import (
    Place,
    Remembered,
    identity_digest,
    nameless_digest,
    placed,
    words_digest,
)
from stores.database import VectorDatabase
from stores.embedders import Embedders
from stores.threads import StoreThreads
from stores.word_index import Known, WordIndex

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEMA = "2"
"""Version of the rows; those of another are taken over."""

NEAREST = 64
"""Messages that each vector and each set of words nominates."""

EDGE = 16
"""Lines at each end of a history by which its place in the memory is found."""

TAKEN_BACK = 1_000
"""Finds more that are asked for at most, where some of them are in the request's own history."""

CANDIDATES = 70
"""Messages that are ranked, of all that are nominated, with their neighbours. Of 20,000 messages
40 find .015 less of the answers than the ranking of all, 60 find .010 and 80 .001 less; ten more
take a turn some 5 ms."""

REACH = max(KERNEL)
"""Neighbours on each side: as far as the ranking's windows reach."""

READ_AROUND = 20
"""Of the candidates, best first, those whose neighbours' vectors are read as well: a vector takes
as long to read as five texts. All neighbours' find no more of the answers (20,000 messages)."""

FUSION = 60
"""Constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""

TAKEN_OVER = 64
"""Messages that a first turn under a new embedder embeds; the rest follows the reply."""

PAGES_AFTERWARDS = 20
"""Pages of words read after a reply in a worker that meets a long chat for the first time."""


class StandingMemory:
    """Past messages of each chat, in a collection of its own per user, session and embedder.

    The collection's name is a digest of both ids, so the memory of another user or session cannot
    be asked for, not even by mistake. Nothing of a chat stays in the process: the database is asked
    for the nearest messages, the index of words for those that share words with the query. All
    methods but `apart` block.

    Args:
        database: where the memories are.
        encoder: makes the vectors.
        words: the index of their words.
    """

    def __init__(self, database: VectorDatabase, encoder: PassageEncoder, words: WordIndex) -> None:
        """Touches none of them yet."""
        self._database = database
        self._encoder = encoder
        self._words = words
        self._log = ChatLog(database, words)
        self._embedders = Embedders(database, encoder, SCHEMA)
        self._damaged: set[str] = set()  # collections to be repaired after the reply
        self._threads = StoreThreads("memory")

    async def apart(self, work: Callable[[], T], *, writes: bool = False) -> T:
        """The result of work that asks this memory, done in its own threads."""
        return await self._threads.run(work, writes=writes)

    def recall(
        self,
        user_id: str,
        session_id: str,
        search: Search,
        history: Sequence[Message],
        message: str,
    ) -> Recalled:
        """What a chat's memory may hold for a search: candidates for the ranking.

        Args:
            user_id: whose chat it is.
            session_id: which of their chats.
            search: what for.
            history: the lines that the backend sent. From the first of them on, they say what
                counts: what is remembered there and was not sent was edited, deleted or generated
                anew.
            message: the user's new one.

        Raises:
            StoreError, EmbeddingError: the memory failed.
        """
        key, name = digest(user_id, session_id), self._name(user_id, session_id)
        state = self._database.state(name)
        if state is None and self._take_over(key, name, limit=TAKEN_OVER):
            state = self._database.state(name)
        if state is None:
            self._words.forget(name)
            return NOTHING_RECALLED
        try:
            low = self._log.read_on(name, state, pages=1)
            found = self._recalled(name, search, history, message, low)
            return replace(found, source=state.uid)
        except StoreError as error:
            if not error.retryable:
                self._damaged.add(name)
            raise

    def _recalled(
        self, name: str, search: Search, history: Sequence[Message], message: str, low: int
    ) -> Recalled:
        end = self._end(name, history, message)
        best = self._nominated(name, search, end)
        around = self._words.around(name, best, REACH)
        places, runs = self._with_neighbours(best, around, end, low)
        items = self._log.texts(name, places)
        read = {
            *best,
            *(known.place for place in best[:READ_AROUND] for known in around.get(place, ())),
        }
        self._fetch_vectors(name, {place: item for place, item in items.items() if place in read})
        terms = {term for view in search.query.views for term in view.terms}
        there = [(items[place].message, run) for place, run in zip(places, runs, strict=True)
                 if place in items]  # fmt: skip
        return Recalled(
            messages=tuple(message for message, _ in there),
            runs=tuple(run for _, run in there),
            corpus=self._words.corpus(name, terms),
        )

    def remember(
        self,
        user_id: str,
        session_id: str,
        messages: Sequence[Message],
        *,
        said_now: int = 0,
        recalled_from: str | None = None,
    ) -> int:
        """Adds messages to a chat; on disk when it returns. Those known already cost nothing.

        A message whose id is known with other words replaces the old one in its place; one
        without an id is known by its words. Messages keep the order of the list, and come after
        what is known or where their timestamps say.

        Args:
            user_id: whose chat it is.
            session_id: which of their chats.
            messages: oldest first.
            said_now: how many of them, the last, were said in this turn: they come after all that
                is known, whatever the clock says.
            recalled_from: the source of what the turn recalled (`Recalled`). Where that is gone,
                the chat was forgotten since, and nothing is added.

        Returns:
            How many were new or changed.

        Raises:
            StoreError, EmbeddingError: the memory failed.
        """
        key, name = digest(user_id, session_id), self._name(user_id, session_id)
        if name in self._damaged and self._database.repair(name, self._encoder.encode_passages):
            self._damaged.discard(name)
        state = self._database.state(name)
        if recalled_from and (state is None or state.uid != recalled_from):
            return 0
        if state:
            self._log.read_on(name, state, PAGES_AFTERWARDS)
        else:
            self._words.forget(name)
        self._take_over(key, name)
        return self._write(name, messages, said_now)

    def unread(self, user_id: str, session_id: str) -> int:
        """How many messages of a chat, the oldest, this worker finds by their meaning only: it has
        not read their words yet."""
        name = self._name(user_id, session_id)
        state = self._database.state(name)
        return self._log.read_on(name, state, pages=0) if state else 0

    def forget(self, user_id: str, session_id: str) -> bool:
        """Deletes a chat's memory under every embedder; whether there was any.

        Raises:
            StoreError: the memory failed; nothing can be taken as deleted.
        """
        key = digest(user_id, session_id)
        names = [_collection(key, embedder) for embedder in self._embedders.all()]
        gone = [self._database.drop(name) for name in names]
        for name in names:  # last, as a turn may just be reading them
            self._words.forget(name)
        return any(gone)

    def _name(self, user_id: str, session_id: str) -> str:
        return _collection(digest(user_id, session_id), self._embedders.own)

    def _end(self, name: str, history: Sequence[Message], message: str) -> Known | None:
        """The first message that does not count any more as remembered; None where all do."""
        if not history:
            # A reply to the very message that is asked now is the one to be generated anew.
            asked = Message(role="user", content=message)
            for known in self._latest(self._words.of_words(name, [words_digest(asked)]))[:1]:
                following = self._words.following(name, known, NEAREST)
                items = self._log.texts(name, [after.place for after in following[1:]])
                if all(item.message.role != "user" for item in items.values()):
                    return known
            return None
        # A line may have been said more than once, and is remembered once if it has no id ("yes").
        # So a match counts only where the newest line of the history that is known follows soon.
        from_the_end = (self._latest(self._same(name, it)) for it in reversed(history[-EDGE:]))
        newest = next((found[0] for found in from_the_end if found), None)
        for row, line in enumerate(history[:EDGE]):
            starts = [
                (one, self._words.following(name, one, 2 * len(history)))
                for one in self._latest(self._same(name, line))[:NEAREST]
            ]
            fitting = [(one, rows) for one, rows in starts if newest is None or newest in rows]
            if fitting:
                return max(fitting, key=lambda start: _run(start[1], history[row:]))[0]
        return None

    def _same(self, name: str, line: Message) -> list[Known]:
        """The remembered messages that may be this line, perhaps edited."""
        same = self._words.of_words(name, [words_digest(line)])
        if line.id:
            nameless = nameless_digest(line)
            same = [known for known in same if known.identity == nameless]
            same += self._words.of_identity(name, [identity_digest(line)])
        return same

    @staticmethod
    def _latest(known: Sequence[Known]) -> list[Known]:
        return sorted(known, key=lambda one: (-one.at, -one.place))

    @staticmethod
    def _with_neighbours(
        best: Sequence[int], around: Mapping[int, Sequence[Known]], end: Known | None, low: int
    ) -> tuple[list[int], list[int]]:
        """Places of the candidates and their neighbours in order, and for each the number of the
        stretch without a gap that it is in. Of places below `low` the words are not read yet."""
        stretches = [
            [known.place for known in around[place] if _before(known, end)]
            if place in around
            else [place]
            for place in best
            if place in around or place < low  # else it was superseded
        ]
        order = {known.place: (known.at, known.place) for row in around.values() for known in row}
        places = sorted({place for row in stretches for place in row},
                        key=lambda place: order.get(place, (0, place)))  # fmt: skip
        joined = {pair for row in stretches for pair in pairwise(row)}
        runs, run = [], 0
        for before, place in pairwise([-1, *places]):
            run += (before, place) not in joined
            runs.append(run)
        return places, runs

    def _nominated(self, name: str, search: Search, end: Known | None) -> list[int]:
        """Places of the candidates: those that stand high among the nearest and by words."""
        votes: defaultdict[int, float] = defaultdict(float)
        beyond = self._beyond(name, end)
        limit = NEAREST + min(len(beyond), TAKEN_BACK)
        for view, vector in zip(search.query.views, search.views, strict=True):
            near = self._database.nearest(name, vector, limit)
            corpus = self._words.corpus(name, view.terms)
            by_words = self._words.search(name, view.terms, corpus, limit)
            by_vector = dict.fromkeys(int(id.partition(".")[0]) for id, _ in near)
            for found in (by_vector, by_words):
                allowed = [place for place in found if place not in beyond]
                for rank, place in enumerate(allowed[:NEAREST]):
                    votes[place] += 1 / (FUSION + rank)
        return sorted(votes, key=lambda place: (-votes[place], -place))[:CANDIDATES]

    def _beyond(self, name: str, end: Known | None) -> set[int]:
        """Places that do not count any more."""
        if end is None:
            return set()
        return {known.place for known in self._words.following(name, end, PAGES_AFTERWARDS * 1000)}

    def _fetch_vectors(self, name: str, items: dict[int, Remembered]) -> None:
        """Makes the vectors of these messages known to the encoder, from the database."""
        texts = {
            (place, part): text
            for place, item in items.items()
            for part, text in enumerate(parts(item.message.content, PART_SIZE))
        }
        _, known = self._encoder.known(list(texts.values()))
        missing = [row for row, is_known in zip(texts, known, strict=True) if not is_known]
        if missing and (found := self._log.vectors(name, missing)):
            self._encoder.learn(list(found), np.stack(list(found.values())))

    def _write(self, name: str, messages: Sequence[Message], said_now: int) -> int:
        known = self._words.of_identity(name, map(identity_digest, messages))
        known += self._words.of_words(name, map(words_digest, messages))
        fresh = placed(messages, known, self._words.newest(name), said_now)
        now = max([time.time_ns(), *(one.written + 1 for one in known)])
        if fresh:
            self._append(name, [
                (place, Remembered(message=messages[place.row], at=place.at, written=now + number))
                for number, place in enumerate(fresh)
            ])  # fmt: skip
        return len(fresh)

    def _take_over(self, key: str, name: str, limit: int | None = None) -> bool:
        """Writes what stands under other embedders or versions and is missing here, or is older
        here; the newest `limit` messages of it. Whether there was any."""
        taken = False
        for other in self._embedders.others():
            theirs, own = self._database.state(_collection(key, other)), self._database.state(name)
            seen = f"taken-from-{other}"
            if theirs is None or (own and own.label.get(seen) == theirs.revision):
                continue
            entries = self._missing(name, self._log.all(_collection(key, other)))
            if entries := entries[-limit:] if limit else entries:
                log.warning(
                    "stores: a chat is remembered under another embedder or version; "
                    "%d messages are embedded again",
                    len(entries),
                )
                self._append(name, entries)
                taken = True
            if own := self._database.state(name):
                self._log.read_on(name, own, pages=1)
                if limit is None:
                    self._database.relabel(name, {seen: theirs.revision})
        return taken

    def _missing(self, name: str, theirs: Sequence[Remembered]) -> list[tuple[Place, Remembered]]:
        """What is to be written here of messages that stand elsewhere."""
        identities = [identity_digest(item.message) for item in theirs]
        known = {one.identity: one for one in self._words.of_identity(name, identities)}
        fresh = []
        for row, (item, identity) in enumerate(zip(theirs, identities, strict=True)):
            own, words = known.get(identity), words_digest(item.message)
            if own is None or (own.written < item.written and own.words != words):
                fresh.append((Place(row, item.at, own and own.place), item))
        return fresh

    def _append(self, name: str, fresh: Sequence[tuple[Place, Remembered]]) -> None:
        """Writes messages, and removes what they stand instead of."""
        if self._database.state(name) is None:
            self._embedders.register()
        cut = [parts(item.message.content, PART_SIZE) for _, item in fresh]
        vectors = self._encoder.encode_passages([text for texts in cut for text in texts])
        ends = np.cumsum([len(texts) for texts in cut])[:-1]
        rows = zip(fresh, cut, np.split(vectors, ends), strict=True)
        entries = [Entry(item, texts, own) for (_, item), texts, own in rows]
        self._log.append(name, self._embedders.label("chat"), entries)
        gone = [place.instead_of for place, _ in fresh if place.instead_of is not None]
        if gone:
            self._log.remove(name, gone)


def _collection(key: str, embedder: str) -> str:
    """The collection of a chat: one per embedder, so that vectors of two never mix."""
    return f"chat-{key}-{embedder}"


def _run(remembered: Sequence[Known], history: Sequence[Message]) -> int:
    """How many lines from the start of both are the same."""
    pairs = zip(remembered, history, strict=False)
    return sum(1 for _ in takewhile(lambda pair: _is(*pair), pairs))


def _before(known: Known, end: Known | None) -> bool:
    return end is None or (known.at, known.place) < (end.at, end.place)


def _is(known: Known, line: Message) -> bool:
    """Whether a remembered message is this line of the chat, perhaps edited."""
    if line.id and known.identity != nameless_digest(line):
        return known.identity == identity_digest(line)
    return known.words == words_digest(line)
