"""A job server that is gone, lists of jobs that are malformed, cancellations: no result is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.base import MAX_DEPTH
from schemas.errors import BadRequest, EmbeddingError, LLMError
from tests.llm.fake_openai_server import FakeServer
from tests.support import MakePipeline, RecordingLLM, ask, free_port
from tests.worker.job_server import Background, JobServer
from tests.worker.worker_process import Worker, behave, settings
from worker import results, serve
from worker.dispatch import Dispatcher
from worker.job_list import read_jobs
from worker.kept_results import KeptResults, Result
from worker.results import Addresses, Results

WORDS = "the-compass-lies-under-the-third-stone"


class Platform:
    """A job server and a language model, and workers between them."""

    def __init__(self, home: Path) -> None:
        self.background, self.jobs, self.llm = Background(), JobServer(), FakeServer()
        self.llm.will(behave)
        self.run(self.jobs.start())
        self.run(self.llm.start())
        self.home, self._workers = home, list[Worker]()

    def run(self, work: Any) -> Any:
        return self.background.run(work)

    def worker(self) -> Worker:
        env = {**self.jobs.env(), **settings(self.home, self.llm.url, warm_up=False)}
        self._workers.append(Worker(env, self.home / f"log{len(self._workers)}"))
        return self._workers[-1]

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()
        self.run(self.jobs.stop())
        self.run(self.llm.stop())
        self.background.stop()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(tmp_path_factory.mktemp("platform"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def worker(platform: Platform) -> Worker:
    """The one that all tests share that leave it alive."""
    return platform.worker()


def wait_until(reached: Callable[[], bool], timeout: float = 20) -> None:
    ends = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


def files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


# Outages


@pytest.mark.parametrize("status", [None, 503, 429])
def test_an_outage_loses_no_result_and_no_output(
    platform: Platform, worker: Worker, status: int | None
) -> None:
    jobs = platform.jobs
    jobs.submit({"route": "/health"}).result()
    sent = [jobs.submit(ask("SLOWLY please", stream=True)) for _ in range(3)]
    sent += [jobs.submit(ask("BRIEFLY please")) for _ in range(2)]
    sent[0].heard(2)
    if status is None:
        platform.run(jobs.stop())
    jobs.down = status
    time.sleep(1.5)
    jobs.down = None
    if status is None:
        platform.run(jobs.start(jobs.port))
    for job in sent:
        job.result(30)
    for job in sent[:3]:
        assert [chunk["output"] for chunk in job.chunks] == job.result(), "in order, each once"
    assert all(job.times_done == 1 for job in sent)
    assert "takes no" in worker.log and "again" in worker.log
    assert "ERROR" not in worker.log and "Traceback" not in worker.log
    wait_until(lambda: not files_in(platform.home / "results"))


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    yield made
    made.stop()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_an_outage_leaves_is_posted_by_the_next_worker(
    own_platform: Platform, tmp_path: Path, end: int
) -> None:
    platform, jobs = own_platform, own_platform.jobs
    first = platform.worker()
    sent = [jobs.submit(ask(f"BRIEFLY {WORDS}", stream=n == 0)) for n in range(3)]
    wait_until(lambda: all(job.taken_at for job in sent))
    platform.run(jobs.stop())
    wait_until(lambda: len([f for f in files_in(tmp_path / "results") if f.suffix == ".json"]) >= 2)
    if end == signal.SIGKILL:
        first.stop()
    else:
        asked = time.monotonic()
        os.kill(first.process.pid, end)
        assert first.ended() == 0
        assert time.monotonic() - asked < 15
        assert len(files_in(tmp_path / "results")) == 3
    left = files_in(tmp_path / "results")
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in left)
    platform.run(jobs.start(jobs.port))
    second = platform.worker()
    done = [job for job in sent if job.id in " ".join(f.read_text("ascii") for f in left)]
    assert len(done) == len(left)
    for job in done:
        assert job.result(30)
        assert job.times_done == 1
    wait_until(lambda: not files_in(tmp_path / "results"))
    assert WORDS not in first.log + second.log and "word1" not in first.log + second.log
    os.kill(second.process.pid, signal.SIGTERM)
    assert second.ended() == 0


class FakeSession:
    """Answers posts with statuses in turn, the last one for ever; 0 is no connection."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.bodies = list(statuses), list[Any]()
        self.answered = asyncio.Event()

    def post(self, url: str, *, data: bytes, headers: dict[str, str]) -> FakeSession:
        self.url, self.data = url, data
        return self

    async def __aenter__(self) -> SimpleNamespace:
        self.answered.set()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 0:
            raise ConnectionRefusedError
        if status == 1:
            await asyncio.sleep(60)
        if status < 300:
            self.bodies.append(json.loads(self.data))
        return SimpleNamespace(status=status)

    async def __aexit__(self, *_: object) -> None:
        pass


@pytest.fixture
def make_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Results]:
    """`make_results(worker="w1", patience=60.0)`, all with one folder."""
    monkeypatch.setattr(results, "pause_after", lambda failures: 0.001)
    monkeypatch.setattr(results, "ATTEMPT", 0.05)
    addresses = Addresses("http://x/stream/$RUNPOD_POD_ID/$ID?a", "http://x/done/$ID?a")

    def make(
        worker: str = "w1", patience: float = 60.0, stopping: asyncio.Event | None = None
    ) -> Results:
        stopping = stopping or asyncio.Event()
        return Results(worker, addresses, tmp_path, patience=patience, stopping=stopping)

    return make


async def two_outputs(job: object) -> Any:
    yield {"text": WORDS}
    yield {"text": "b"}


CONFIG = {"handler": two_outputs}
JOB = {"id": "j1", "input": {}}
OUTPUTS = [{"output": {"text": WORDS}}, {"output": {"text": "b"}}]
RESULT = {"output": [{"text": WORDS}, {"text": "b"}]}


@pytest.mark.parametrize("fault", [0, 1, 408, 429, 500, 502, 504])
async def test_a_passing_fault_delays_every_post_and_loses_none(
    make_results: Any, fault: int, tmp_path: Path
) -> None:
    session = FakeSession(fault, fault, 200, fault, 200, fault, fault, fault, 200)
    await make_results().handle_job(session, CONFIG, JOB)
    assert session.bodies == [*OUTPUTS, RESULT]
    assert not files_in(tmp_path)


@pytest.mark.parametrize("refusal", [400, 401, 404, 409, 410, 413])
async def test_a_refusal_is_taken_at_its_word(
    make_results: Any, refusal: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = FakeSession(200, 200, 0, refusal, 200)
    await make_results().handle_job(session, CONFIG, JOB)
    assert session.bodies == OUTPUTS and session.statuses == [200], "it is not asked again"
    assert not files_in(tmp_path)
    assert f"refused ({refusal})" in caplog.text and WORDS not in caplog.text


async def test_a_stop_leaves_what_cannot_be_posted_at_once(make_results: Any) -> None:
    session, stopping = FakeSession(0), asyncio.Event()
    made = make_results(stopping=stopping)
    running = asyncio.create_task(made.handle_job(session, CONFIG, JOB))
    await session.answered.wait()
    stopping.set()
    await asyncio.wait_for(running, 5)
    back = FakeSession(200)
    await make_results().post_kept(back)
    assert back.bodies == [RESULT]
    await make_results().post_kept(back)
    assert back.bodies == [RESULT], "once"


async def test_a_patience_that_has_run_out_leaves_the_result_to_the_same_worker(
    make_results: Any,
) -> None:
    made = make_results(patience=0.0)
    await made.handle_job(FakeSession(0), CONFIG, JOB)
    back = FakeSession(200)
    await made.post_kept(back)
    assert back.bodies == [RESULT]


async def test_another_workers_result_is_left_to_it_until_it_has_given_up(
    make_results: Any,
) -> None:
    await make_results("w1", patience=0.0).handle_job(FakeSession(0), CONFIG, JOB)
    other = FakeSession(200)
    await make_results("w2", patience=60.0).post_kept(other)
    assert not other.bodies, "it may be posting it now"
    await asyncio.sleep(0.3)
    workers = [make_results(f"w{n}", patience=0.25) for n in range(2, 8)]
    await asyncio.gather(*(worker.post_kept(other) for worker in workers))
    assert other.bodies == [RESULT], "those that come at once post it once"


def test_of_workers_that_come_one_right_after_the_other_one_gets_a_kept_result(
    tmp_path: Path,
) -> None:
    gone = KeptResults(tmp_path, "w1", patience=0.5)
    gone.write(gone.new_file(), Result("w1", "job", "{}"))
    assert not [*KeptResults(tmp_path, "w2", patience=60).take(set())]
    time.sleep(0.6)
    claimed = [[*KeptResults(tmp_path, name, patience=0.5).take(set())] for name in ("w2", "w3")]
    assert [len(files) for files in claimed] == [1, 0], "a claim counts from when it was made"
    own = KeptResults(tmp_path, "w2", patience=60)
    assert not [*own.take(set(claimed[0]))], "it is being posted already"
    assert len([*own.take(set())]) == 1


async def test_a_cancelled_job_leaves_nothing(make_results: Any, tmp_path: Path) -> None:
    session = FakeSession(200, 200, 0)
    running = asyncio.create_task(make_results().handle_job(session, CONFIG, JOB))
    while not files_in(tmp_path):  # noqa: ASYNC110 - a thread writes it
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not files_in(tmp_path)


async def test_the_kept_results_are_bounded(
    make_results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.kept_results.BYTES", 400)
    for n in range(9):
        job = {"id": f"j{n}", "input": {}}
        await make_results(patience=0.0).handle_job(FakeSession(0), CONFIG, job)
    files = files_in(tmp_path)
    assert 0 < sum(file.stat().st_size for file in files) <= 400
    assert any("j8" in file.read_text("ascii") for file in files), "the newest stay"
    (files[0].parent / f"{time.time_ns()}.x.half").touch()
    monkeypatch.setattr("worker.kept_results.SECONDS", 0.0)
    back = FakeSession(200)
    await make_results().post_kept(back)
    assert not back.bodies and not files_in(tmp_path)


async def test_a_damaged_file_and_a_full_disk_cost_nothing_else(
    make_results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_results(patience=0.0)
    for n in range(2):
        await made.handle_job(FakeSession(0), CONFIG, {"id": f"j{n}", "input": {}})
    files_in(tmp_path)[0].write_text("{", encoding="utf-8")
    back = FakeSession(200)
    await made.post_kept(back)
    assert back.bodies == [RESULT]

    def full(*_: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr("worker.kept_results.os.open", full)
    session = FakeSession(200, 200, 0, 0, 200)
    await make_results().handle_job(session, CONFIG, JOB)
    assert session.bodies[-1] == RESULT, "memory keeps it as long as the worker lives"


# Lists of jobs

DEEP = "[" * 1_500 + "]" * 1_500
GOOD = '{"id": "good-%d", "input": {"route": "/health"}}'

ANSWERED = {
    "no input": '{"id": "%s"}',
    "null": '{"id": "%s", "input": null}',
    "a list": '{"id": "%s", "input": [1]}',
    "deep": '{"id": "%s", "input": {"message": ' + DEEP + "}}",
    "huge": '{"id": "%s", "input": {"message": ' + "9" * 20_000 + "}}",
    "not a number": '{"id": "%s", "input": {"message": NaN}}',
    "half": '{"id": "%s", "input": {"message": "\\ud83d"}}',
    "attributes": '{"id": "%s", "input": {}, "self": 1, "__class__": 2, "__dict__": {"a": 1}}',
    "batch": '{"id": "%s", "input": {}, "batchId": {"a": []}, "webhook": 7}',
    "twice": '{"id": "%s", "input": {}}, {"id": "%s", "input": {}}',
}
"""An element, and the id under which it is answered."""

LEFT_OUT = [
    *("7", "null", '"text"', "[]", "{}", "true", "1e999", DEEP, "{" + DEEP + "}"),
    *('{"input": {}}', '{"id": null, "input": {}}', '{"id": 7, "input": {}}', '{"id": ""}'),
    *('{"id": ["x"], "input": {}}', '{"id": {"a": 1}}', '{"id": "..", "input": {}}'),
    *('{"id": "\\ud83d"}', '{"id": "a\\nb"}', '{"id": "%s"}' % ("x" * 300), "nonsense"),
    '{"id": "x", "input": {"a": \x00}}',
]

NO_LIST = [
    '[{"id": "x", "input": {"a": "unclosed}}, {}',
    "",
    "null",
    "[]",
    "<html>in maintenance</html>",
    "{",
    "[",
    '"x"',
    "7",
    DEEP,
    "\x00",
]


def test_a_malformed_job_costs_no_other_and_not_the_worker(
    platform: Platform, worker: Worker
) -> None:
    jobs = platform.jobs
    answered = {name: jobs.expect(f"odd {name}") for name in ANSWERED}
    odd = [text.replace("%s", answered[name].id) for name, text in ANSWERED.items()]
    lists = [f"[{element}, {{}}]" for element in (*odd, *LEFT_OUT)] + NO_LIST + LEFT_OUT[:4]
    good = [jobs.expect(f"good-{n}") for n in range(len(lists))]
    for n, text in enumerate(lists):
        one = GOOD % n
        jobs.raw.extend([text.replace("{}]", one + "]")] if "{}]" in text else [text, one])
    last = jobs.submit({"route": "/health"})
    assert last.result(60)
    for job in good:
        assert job.result() and job.times_done == 1
    for name, job in answered.items():
        assert job.error()["code"] == "bad_request", name
        assert job.times_done == 1
    assert "ERROR" not in worker.log and worker.process.poll() is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    elements=st.lists(
        JSON | st.fixed_dictionaries({"id": st.text(min_size=1, max_size=5) | JSON, "input": JSON})
    ),
    spoilt=st.lists(st.tuples(st.integers(0, 500), st.text(max_size=3)), max_size=2),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_whatever_a_list_holds_its_good_jobs_are_read(
    elements: list[Any], spoilt: list[tuple[int, str]]
) -> None:
    text = json.dumps([*elements, {"id": "the good one", "input": 1}, *elements])
    read = read_jobs(text)
    assert {"id": "the good one", "input": 1} in read
    assert all(set(job) == {"id", "input"} and isinstance(job["id"], str) for job in read)
    with_depth = f'[{{"id": "deep", "input": {DEEP}}}, {text[1:]}'
    assert {"id": "the good one", "input": 1} in read_jobs(with_depth)
    for at, junk in spoilt:
        text = text[:at] + junk + text[at:]
    with suppress(ValueError):
        read_jobs(text)


# Cancellations, health


def test_cancelled_jobs_leave_no_error_and_no_job_behind(
    platform: Platform, worker: Worker
) -> None:
    jobs = platform.jobs
    for delay in (0.0, 0.5):  # while the model writes, and while an output is posted
        jobs.post_delay = delay
        sent = [jobs.submit(ask("it HANGS", stream=n % 2 == 0)) for n in range(12)]
        wait_until(lambda: platform.llm.open_streams == 12)
        for job in sent:
            jobs.cancel(job)
        wait_until(lambda: platform.llm.open_streams == 0)
        jobs.post_delay = 0.0
        wait_until(lambda: jobs.submit({"route": "/health"}).result()[0]["jobs"] == 1)
    assert all(job.done is None for job in sent)
    assert "ERROR" not in worker.log and "Traceback" not in worker.log
    assert "never retrieved" not in worker.log


async def test_a_reader_that_leaves_a_job_unclosed_is_not_counted(
    make_pipeline: MakePipeline, tmp_path: Path
) -> None:
    dispatcher = Dispatcher(make_pipeline(), tmp_path, 60)
    left = []

    async def read_one() -> None:
        outputs = dispatcher.answer({"input": ask(stream=True)})
        left.append(outputs)
        await anext(outputs)
        assert dispatcher.busy == 1

    await asyncio.create_task(read_one())
    await asyncio.sleep(0)
    assert dispatcher.busy == 0
    await left[0].aclose()
    assert dispatcher.busy == 0


# The warm-up


async def test_the_warm_up_waits_for_an_embedder_that_is_starting(
    make_pipeline: MakePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "pause_after", lambda failures: 0.05)
    port, asked = free_port(), 0

    async def vectors(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked < 3:
            return web.Response(status=503)  # it loads its model
        texts = (await request.json())["inputs"]
        return web.json_response([[float(len(text) + 1), 1.0, 2.0] for text in texts])

    app = web.Application()
    app.router.add_post("/", vectors)
    pipeline = make_pipeline(
        embedder="tei", embedder_url=f"http://127.0.0.1:{port}", embedder_model="test/model"
    )
    warming = asyncio.create_task(serve.warm_up(Dispatcher(pipeline, tmp_path, 60)))
    await asyncio.sleep(0.3)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        await asyncio.wait_for(warming, 20)
        assert asked > 3
    finally:
        await pipeline.drain()
        embedder: Any = pipeline.services.readers["cjk"].embedder
        embedder._embeddings.client._http.close()
        await runner.cleanup()


class Cold:
    """A dispatcher whose warm-up fails so often."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.tries = list(errors), 0

    async def warm_up(self) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]


async def test_the_warm_up_does_not_wait_for_ever_nor_for_what_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "pause_after", lambda failures: 0.01)
    monkeypatch.setattr(serve, "WARM_UP", 0.05)
    gone: Any = Cold(EmbeddingError("gone", retryable=True))
    await serve.warm_up(gone)
    assert gone.tries > 1, "then jobs are taken, and say what is wrong"
    silent: Any = Cold(LLMError("no model", retryable=True))
    await serve.warm_up(silent)
    assert silent.tries == 1
    with pytest.raises(EmbeddingError):
        await serve.warm_up(Cold(EmbeddingError("wrong model")))  # type: ignore[arg-type]


async def test_a_chroma_server_that_is_down_ends_no_warm_up(
    make_pipeline: MakePipeline, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    pipeline = make_pipeline(chroma_url=url, standing_memory=True)
    await serve.warm_up(Dispatcher(pipeline, tmp_path, 60))


# Depth of free-form data


def nested(depth: int, of: str) -> Any:
    value: Any = {}
    for n in range(depth - 1):
        value = {"a": value} if of == "objects" or (of == "both" and n % 2) else [value]
    return value if isinstance(value, dict) else {"a": value}


@pytest.mark.parametrize("of", ["objects", "lists", "both"])
@pytest.mark.parametrize("place", ["meta", "persona.extensions", "story.0.extensions"])
@pytest.mark.parametrize("depth", [40, 80, 240, 300, 900, 20_000])
async def test_data_too_deep_to_be_written_is_refused_before_the_model_is_asked(
    make_pipeline: MakePipeline, tmp_path: Path, place: str, of: str, depth: int
) -> None:
    data = nested(depth, of)
    request = ask(persona={"name": "x", "extensions": {}})
    match place.split("."):
        case ["meta"]:
            request["meta"] = data
        case ["persona", _]:
            request["persona"]["extensions"] = data
        case _:
            request["story"] = [{"id": "e", "order": 0, "text": "t", "extensions": data}]
    llm = RecordingLLM()
    pipeline = make_pipeline(llm)
    dispatcher = Dispatcher(pipeline, tmp_path, 60)
    if depth > MAX_DEPTH:
        with pytest.raises(BadRequest) as refused:
            await pipeline.chat(request)
        assert refused.value.field == place and not llm.prompts
        return
    outputs = [output async for output in dispatcher.answer({"input": request})]
    assert json.dumps(outputs)


# Loops


def test_a_second_loop_can_drain(make_pipeline: MakePipeline) -> None:
    pipeline, release, other = make_pipeline(standing_memory=True), threading.Event(), Background()
    memory: Any = pipeline.services.readers["cjk"].memory
    memory.remember = lambda *_, **__: release.wait(10)
    other.run(pipeline.chat(ask(user_id="u", session_id="s")))
    threading.Timer(0.2, release.set).start()
    asyncio.run(pipeline.drain())
    assert release.is_set() and not pipeline._turns
    asyncio.run(pipeline.chat(ask("in a loop that ends at once")))
    other.run(pipeline.drain())
    other.stop()
    asyncio.run(pipeline.drain())


async def test_the_session_of_the_sdk_is_one_of_aiohttp(make_results: Any) -> None:
    """`FakeSession` stands for it."""
    got: list[Any] = []

    async def done(request: web.Request) -> web.Response:
        got.append((request.path, request.headers["X-Request-ID"], await request.text()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/{all:.*}", done)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    url = f"http://127.0.0.1:{port}"
    addresses = Addresses(f"{url}/s/$RUNPOD_POD_ID/$ID?a", f"{url}/d/$RUNPOD_POD_ID/$ID?a")
    made = Results("w1", addresses, Path(), patience=1, stopping=asyncio.Event())
    async with ClientSession() as session:
        await made.handle_job(session, CONFIG, {"id": "a/ü b", "input": {}})
    await runner.cleanup()
    assert [path for path, *_ in got] == ["/s/w1/a/ü b"] * 2 + ["/d/w1/a/ü b"]
    assert got[-1][1:] == ("a/ü b", json.dumps(RESULT))
