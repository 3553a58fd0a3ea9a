"""No word of a chat and no key in any log at INFO and above, whatever fails and however started."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

import handler as entry
from graph.pipeline import Pipeline
from graph.settings import ROOT
from language.script import SCRIPTS
from llm.scripted import ScriptedLLM
from schemas.errors import EmbeddingError, IyagiError, traced
from schemas.readers import Reader
from tests.llm.fake_openai_server import FakeServer, Peer, refuse
from tests.support import MakePipeline, free_port
from tests.worker.job_server import Background
from worker.dispatch import Dispatcher

WORDS = "the-compass-lies-under-the-third-stone"
KEY = "sk-planted-key-of-nobody"


def planted(**more: Any) -> dict[str, Any]:
    """A request with the words wherever a user can put some."""
    return {
        "message": f"{WORDS} message",
        "persona": {"name": WORDS, "description": WORDS, "extensions": {WORDS: WORDS}},
        "history": [{"role": "user", "content": f"{WORDS} history", "name": WORDS}],
        "story": [{"id": WORDS, "order": 0, "text": f"{WORDS} story", "keywords": [WORDS]}],
        "user_id": WORDS,
        "session_id": WORDS,
        "user_name": WORDS,
        "meta": {WORDS: WORDS},
        **more,
    }


class Vendor(Exception):
    """What a library raises: with the text in its words, and a status."""

    status_code = 418


def fail(*_: object, **__: object) -> Any:
    """Fails as a library does, with the text in several exceptions."""
    try:
        TypeAdapter(int).validate_python(WORDS)
    except ValueError as error:
        raise Vendor(f"cannot read {WORDS}") from error


async def afail(*_: object, **__: object) -> Any:
    fail()


def breaks(of: str, name: str, by: Callable[..., Any] = fail) -> Callable[[Pipeline], None]:
    """A part of the services, or of each reader, whose method fails."""

    def apply(pipeline: Pipeline) -> None:
        services = pipeline.services
        readers = [services.readers[script] for script in SCRIPTS]
        for owner in readers if of in Reader._fields else [services]:
            object.__setattr__(getattr(owner, of), name, by)

    return apply


class BrokenEmbeddings:
    """A vendor's embedder that fails on everything."""

    embed_query = embed_documents = staticmethod(fail)


def breaks_embeddings(pipeline: Pipeline) -> None:
    for script in SCRIPTS:
        embedder: Any = pipeline.services.readers[script].embedder
        embedder._embeddings = BrokenEmbeddings()


def breaks_model(pipeline: Pipeline) -> None:
    object.__setattr__(pipeline.services.models.offered[0].llm, "_write", fail)


def long_reply(pipeline: Pipeline) -> None:
    model: Any = pipeline.services.models.offered[0].llm
    model.replies = [f"{WORDS} " * 4000]


FAULTS: dict[str, tuple[Callable[[Pipeline], None] | None, dict[str, Any]]] = {
    "a reply longer than a message may be": (long_reply, planted()),
    "the model": (breaks_model, planted()),
    "the embedder": (breaks_embeddings, planted()),
    "the embedder, afterwards": (breaks("embedder", "aencode_passages", afail), planted()),
    "the memory, before": (breaks("memory", "recall"), planted()),
    "the memory, afterwards": (breaks("memory", "remember"), planted()),
    "the story": (breaks("stories", "aload", afail), planted()),
    "an index": (breaks("indexes", "index"), planted()),
    "a count": (breaks("models", "choose"), planted()),
    "an unknown field": (None, planted(**{WORDS: 1})),
    "an unknown field within": (None, planted(persona={"name": "x", WORDS: WORDS})),
    "a wrong type": (None, planted(history=[{"role": WORDS, "content": 7}])),
    "half a character": (None, planted(message=f"{WORDS}\ud83d")),
    "too long": (None, planted(message=WORDS * 9000)),
    "too deep": (None, planted(meta={WORDS: json.loads("[" * 200 + "]" * 200)})),
    "no such story": (None, planted(story=[], story_id=WORDS)),
    "no such model": (None, planted(model={"name": WORDS})),
    "forget": (breaks("memory", "forget"), {"route": "/forget", "body": {
        "user_id": WORDS, "session_id": WORDS}}),
    "forget badly": (None, {"route": "/forget", "body": {"user_id": WORDS, WORDS: WORDS}}),
    "no such route": (None, {"route": WORDS}),
    "OpenAI, no such character": (None, {"openai_input": {"model": WORDS, "messages": [
        {"role": "user", "content": WORDS}]}}),
    "OpenAI, malformed": (None, {"openai_input": {"model": WORDS, "messages": [{WORDS: WORDS}]}}),
    "no request": (None, {"input": WORDS}),
}  # fmt: skip


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that was logged at INFO and above, as a process without any set-up would print it."""
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(logging.Formatter())
    yield lambda: caplog.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_fails_the_log_has_places_and_no_words(
    make_pipeline: MakePipeline,
    tmp_path: Path,
    heard: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    stream: bool,
) -> None:
    break_it, given = FAULTS[fault]
    pipeline = make_pipeline(ScriptedLLM(), standing_memory=True)
    if break_it:
        break_it(pipeline)
    dispatcher = Dispatcher(pipeline, tmp_path, 60)
    monkeypatch.setattr(entry, "dispatcher", lambda: dispatcher)
    streamed = {"stream": stream} if "message" in given else {}
    async for _ in entry.handler({"id": "j", "input": {**given, **streamed}}):
        pass
    await pipeline.drain()
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    assert WORDS not in heard()
    if break_it is not None and break_it is not long_reply:
        assert "Vendor" in heard() and "in fail" in heard(), "the log has the cause"


def test_an_error_that_names_the_log_has_told_it_the_cause(
    make_pipeline: MakePipeline, heard: Callable[[], str]
) -> None:
    pipeline = make_pipeline()
    breaks_embeddings(pipeline)
    with pytest.raises(EmbeddingError, match="see the log for the cause"):
        pipeline.services.readers["latin"].embedder.encode_passages(["never seen before"])
    assert "Vendor 418" in heard() and "test_hardening_logs.py" in heard()


def test_what_is_told_of_an_exception() -> None:
    try:
        try:
            fail()
        except Vendor as error:
            raise ExceptionGroup(
                WORDS, [error, OSError(28, WORDS), ImportError(name="torch")]
            ) from (IyagiError("safe to show"))
    except ExceptionGroup as error:
        told = traced(error)
    assert WORDS not in told
    for part in ("Vendor 418", "pydantic_core", "OSError 28", "of torch", "IyagiError safe to"):
        assert part in told


PRODUCT = ("cards", "embedding", "graph", "language", "llm", "nodes", "play", "prompts", "replies")
PRODUCT += ("retrieval", "routing", "schemas", "server", "stores", "worker")  # type: ignore[assignment]


def test_no_line_of_ours_prints_what_an_exception_says() -> None:
    """Of an exception a line may have `traced(error)`, or the `message` of one of ours."""
    files = [path for folder in PRODUCT for path in (ROOT / folder).glob("*.py")]
    for path in [*files, ROOT / "handler.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if ast.unparse(node.func.value) != "log" or node.func.attr == "debug":
                continue
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            assert node.func.attr != "exception", place
            assert "exc_info" not in {keyword.arg for keyword in node.keywords}, place
            plain = {ast.unparse(argument) for argument in node.args}
            assert not plain & {"error", "str(error)", "repr(error)"}, place


# Processes


LEAKS = f"""
import asyncio, gc, logging, sys, threading, warnings
def leak(): raise ValueError("{WORDS}")
async def aleak(): leak()
async def main():
    asyncio.create_task(aleak())
    await asyncio.sleep(0.01)
    gc.collect()
    asyncio.get_running_loop().call_soon(leak)
    await asyncio.sleep(0.01)
class Last:
    def __del__(self): leak()
def all_ways():
    asyncio.run(main())
    thread = threading.Thread(target=leak); thread.start(); thread.join()
    warnings.warn("{WORDS}")
    del [Last()][0]
    other = logging.getLogger("langgraph.pregel")
    try: leak()
    except ValueError as error:
        other.exception("it failed"); other.error(f"it failed: {{error}}"); other.error(error)
        other.warning("it failed: %s", error)
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\\n", exc_info=error)
    logging.getLogger("nodes.x").error("{KEY}")
    leak()
"""


def ran(code: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_process_of_ours_prints_no_exception_of_any_library() -> None:
    code = "from graph.logs import set_up\nset_up()\n" + textwrap.dedent(LEAKS) + "all_ways()\n"
    done = ran(code, IYAGI_LLM_API_KEY=KEY)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and WORDS not in said and KEY not in said
    for told in (
        *("asyncio: ...", "in aleak", "UserWarning", "uncaught:"),
        *("langgraph.pregel: ...", "uvicorn.error: ...", "***"),
    ):
        assert told in said, told
    assert WORDS in ran(code, IYAGI_LOG_LEVEL="DEBUG").stderr, "these do leak"


def test_who_imports_the_pipeline_keeps_the_log_as_it_was() -> None:
    done = ran(
        """
        import logging, sys, threading, warnings
        before = sys.excepthook, threading.excepthook, warnings.showwarning, sys.unraisablehook
        import graph.app
        after = sys.excepthook, threading.excepthook, warnings.showwarning, sys.unraisablehook
        print(before == after, logging.getLogger().handlers, logging.getLogger().level)
        """
    )
    assert done.stdout.split() == ["True", "[]", str(logging.WARNING)], done.stderr


@pytest.fixture(scope="module")
def llm() -> Iterator[FakeServer]:
    """A language model that says 100,000 characters, or that refuses with what it was asked."""
    background, server = Background(), FakeServer()

    async def answer(peer: Peer) -> None:
        if "REFUSE" in json.dumps(peer.body):
            await refuse(400, WORDS)(peer)
            return
        await peer.head(content_type="text/event-stream")
        for _ in range(40):
            await peer.text(f"{WORDS} says. " * 100)
        await peer.text("", "stop")
        await peer.end()

    server.will(answer)
    background.run(server.start())
    yield server
    background.run(server.stop())
    background.stop()


@pytest.fixture
def environment(llm: FakeServer, tmp_path: Path) -> dict[str, str]:
    return {
        "IYAGI_INDEX_DIR": str(tmp_path),
        "IYAGI_LLM": "openai",
        "IYAGI_LLM_URL": llm.url,
        "IYAGI_LLM_MODELS": "test/model",
        "IYAGI_LLM_API_KEY": KEY,
        "IYAGI_LLM_RETRIES": "0",
        "IYAGI_STANDING_MEMORY": "true",
    }


def test_the_terminal_prints_the_reply_and_logs_none_of_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "request.json"
    for message, code in (("hello", 0), ("REFUSE", 1)):
        path.write_text(json.dumps(planted(message=f"{message} {WORDS}")), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "handler", "--request", str(path), "--json"],
            cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert WORDS in done.stdout, "the reply itself"
        assert WORDS not in done.stderr and KEY not in done.stderr and "Trace" not in done.stderr


PAGE = f"""
import runpy, sys
import worker.characters
def names(folder): raise ValueError("{WORDS}")
worker.characters.names = names
sys.argv[0] = "play"
runpy.run_module("play", run_name="__main__", alter_sys=True)
"""


def test_the_page_logs_none_of_it(environment: dict[str, str], tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as out:
        page = subprocess.Popen(
            [sys.executable, "-c", PAGE, f"--port={port}"],
            cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def asked(path: str, body: Any = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError as error:
            return error.read().decode()

    try:
        for _ in range(300):
            try:
                asked("/page.css")
                break
            except OSError:
                time.sleep(0.1)
        assert WORDS in asked("/api/turn", planted())
        assert "error" in asked("/api/turn", planted(message=f"REFUSE {WORDS}"))
        assert "error" in asked("/api/turn", planted(**{WORDS: 1}))
        assert "something went wrong" in asked(f"/api/start?lang={WORDS}")
        asked(f"/api/characters/{WORDS}?user={WORDS}&chat={WORDS}")
        asked(f"/api/read?name={WORDS}", {WORDS: WORDS})
        asked("/api/save", {"history": [{"role": WORDS, WORDS: WORDS}]})
        asked("/v1/chat/completions", {"model": WORDS, "messages": WORDS})
        page.send_signal(signal.SIGINT)
        page.wait(20)
    finally:
        page.kill()
    said = log.read_text(encoding="utf-8")
    assert "Exception in ASGI application" in said and "builtins.ValueError" in said
    assert WORDS not in said and KEY not in said
