"""What stands around the SDK's two long polls."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from worker import job_loop
from worker.job_loop import JobLoop, PollWithBackoff, advertised


class FakePolls:
    """The SDK's two long polls."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[str] = asyncio.Queue()
        self.running = 0
        self.counts: list[int] = []

    async def fetch(self, session: object, count: int) -> list[str]:
        self.counts.append(count)
        return [await self.waiting.get()]

    async def stops(self, session: object) -> list[str]:
        await asyncio.sleep(60)
        return []


def make_loop(polls: FakePolls, order: list[str], broken: bool = False, places: int = 4) -> JobLoop:
    async def note(name: str) -> None:
        order.append(name)

    async def watch() -> None:
        await asyncio.sleep(60)

    return JobLoop(
        polls.fetch,
        polls.stops,
        places=places,
        jobs=lambda: polls.running,
        begin=lambda: note("begin"),
        settle=lambda: note("settle"),
        sweep=watch,
        watch=watch,
        broken=lambda: broken,
    )


async def test_a_stop_ends_the_poll_for_jobs_first_and_for_cancellations_last() -> None:
    polls, order = FakePolls(), list[str]()
    loop = make_loop(polls, order)
    polls.waiting.put_nowait("a")
    assert await loop.fetch(None, 1) is None and order == ["begin"]
    assert await loop.fetch(None, 1) == ["a"]
    polls.running = 1
    fetching = asyncio.create_task(loop.fetch(None, 1))
    stops = asyncio.create_task(loop.fetch_stops(None))
    await asyncio.sleep(0.02)
    loop.stop()
    assert await fetching is None
    await asyncio.sleep(0.1)
    assert not stops.done() and order == ["begin"]
    polls.running = 0
    assert await stops == [] and order == ["begin", "settle"]
    assert loop.exit_code == 0


async def test_a_sound_device_is_no_reason_to_end() -> None:
    for broken, code in ((False, 0), (True, 1)):
        polls = FakePolls()
        loop = make_loop(polls, [], broken)
        polls.waiting.put_nowait("a")
        await loop.fetch(None, 1)
        loop.suspect()
        await asyncio.sleep(0.1)
        assert loop.exit_code == code


async def test_a_failed_warm_up_ends_the_worker() -> None:
    polls = FakePolls()
    loop = make_loop(polls, [])

    async def fail() -> None:
        raise RuntimeError

    loop._begin = fail
    assert await loop.fetch(None, 1) is None and loop.exit_code == 1


async def test_a_stop_does_not_wait_for_the_warm_up() -> None:
    loop = make_loop(FakePolls(), [])
    ended: list[str] = []
    loop._begin = lambda: asyncio.sleep(60)
    fetching = asyncio.create_task(loop.fetch(None, 1))
    await asyncio.sleep(0.02)
    loop._sdk_stops = lambda *_: ended.append("the SDK")
    loop.stop()
    assert await fetching is None
    assert await loop.fetch(None, 1) is None and ended == ["the SDK"]


async def test_a_device_that_does_not_even_answer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_loop, "GRACE", 0.05)
    monkeypatch.setattr(job_loop.os, "_exit", lambda code: None)  # type: ignore[attr-defined]
    loop = make_loop(FakePolls(), [])
    await loop.fetch(None, 1)
    answer = threading.Event()
    loop._broken = lambda: answer.wait(5)
    loop.suspect()
    await asyncio.sleep(0.3)
    answer.set()
    assert loop.exit_code == 1


async def test_no_more_jobs_are_held_than_there_are_places() -> None:
    polls = FakePolls()
    loop = make_loop(polls, [], places=4)
    await loop.fetch(None, 1)
    polls.running = 3
    polls.waiting.put_nowait("a")
    assert await loop.fetch(None, advertised(4) - 3) == ["a"]
    polls.running = 4
    fetching = asyncio.create_task(loop.fetch(None, advertised(4) - 4))
    await asyncio.sleep(0.1)
    assert not fetching.done() and polls.counts == [1], "it waits, and asks for nothing meanwhile"
    polls.running = 2
    assert await fetching is None, "the SDK asks again, with all its patience"
    polls.waiting.put_nowait("b")
    assert await loop.fetch(None, advertised(4) - 2) == ["b"] and polls.counts == [1, 2]


async def test_a_stop_ends_the_wait_for_a_place() -> None:
    polls = FakePolls()
    loop = make_loop(polls, [], places=1)
    await loop.fetch(None, 1)
    polls.running = 1
    fetching = asyncio.create_task(loop.fetch(None, 2))
    await asyncio.sleep(0.02)
    loop.stop()
    assert await fetching is None and not polls.counts


class Refusal(Exception):
    """As aiohttp tells a status."""

    def __init__(self, status: int) -> None:
        super().__init__("https://host/job-take/key=secret")
        self.status = status


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which is waited for."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    # In that module only: servers of other tests sleep in this process as well.
    monkeypatch.setattr(job_loop, "asyncio", SimpleNamespace(sleep=sleep))
    return made


async def test_a_server_that_is_gone_is_asked_ever_less_often_and_told_once(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Any] = [ConnectionRefusedError()] * 2 + [Refusal(502)] * 30 + [["job"]]

    async def fetch(session: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    poll = PollWithBackoff(fetch, "the job server")
    with caplog.at_level(logging.INFO):
        for _ in range(32):
            assert await poll(None) is None
        assert await poll(None) == ["job"]
    assert all(pause <= job_loop.LONGEST_PAUSE for pause in pauses)
    assert pauses[0] <= job_loop.FIRST_PAUSE and min(pauses[8:]) >= job_loop.LONGEST_PAUSE / 2
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and "ConnectionRefusedError" in told[0] and "again" in told[1]


async def test_nothing_at_once_is_not_asked_for_again_at_once(pauses: list[float]) -> None:
    async def fetch() -> None:
        return None

    await PollWithBackoff(fetch, "the job server")()
    assert pauses == [job_loop.FIRST_PAUSE]


async def test_too_many_requests_is_left_to_the_sdk(pauses: list[float]) -> None:
    async def fetch() -> None:
        raise Refusal(429)

    with pytest.raises(Refusal):
        await PollWithBackoff(fetch, "the job server")()
    assert not pauses
