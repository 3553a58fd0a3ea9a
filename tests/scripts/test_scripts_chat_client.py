"""The client example, with a server on loopback that stands for Runpod's balancer and a worker."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from scripts import chat_client
from scripts.chat_client import TRIES, WORKER, Chat, ChatError, connect, main
from tests.support import MakePipeline, RecordingLLM, free_port

PERSONA = {"name": "Mara", "first_message": "Mind the step."}
CHAT = {"persona": PERSONA, "user_id": "u1", "session_id": "c1", "user_name": "Min"}


def final(text: str = "Good evening.", **changes: Any) -> dict[str, Any]:
    piece = {"type": "dialogue", "speaker": "Mara", "text": text, "span": [0, len(text)]}
    response: dict[str, Any] = {
        "session_id": "c1",
        "responded_as": "character",
        "error": None,
        "meta": {},
    }
    return {"type": "final", "response": {**response, "response_contents": [piece], **changes}}


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events
    )


SAID = sse({"type": "status", "step": "embed"}, {"type": "token", "text": "Good evening."}, final())


def said(worker: str | None = "w1") -> Response:
    headers = {WORKER: worker} if worker else {}
    return Response(SAID, media_type="text/event-stream", headers=headers)


def refused(status: int, body: Any = None, **headers: str) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(body, status, headers={WORKER: "w9", **given})


@dataclass
class Fake:
    """Gives the answers in turn, the last one again and again, and keeps what was asked."""

    url: str
    answers: list[Response] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def chat(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]

    @property
    def workers(self) -> list[str | None]:
        return [headers.get(WORKER.lower()) for headers in self.headers]


@pytest.fixture
def fake() -> Iterator[Fake]:
    port = free_port()
    fake = Fake(f"http://127.0.0.1:{port}")
    app = Starlette(routes=[Route("/chat", fake.chat, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield fake
    server.should_exit = True
    thread.join()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client waits between its tries, without the waiting."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(chat_client, "asyncio", SimpleNamespace(sleep=sleep))
    return waited


async def test_a_chat_returns_to_the_worker_that_answered_it(fake: Fake) -> None:
    fake.answers = [said("w1"), said("w1"), said("w2"), said(None), said("w2")]
    async with connect(fake.url) as http:
        chat = Chat(http, CHAT)
        for _ in range(5):
            await chat.reply("Hello.")
        assert chat.worker == "w2"
        await Chat(http, chat.payload, chat.worker).reply("On another day.")
        await Chat(http, CHAT).reply("Another chat.")
    assert fake.workers == [None, "w1", "w1", "w2", "w2", "w2", None]


async def test_each_request_brings_the_whole_chat(fake: Fake) -> None:
    fake.answers = [said()]
    async with connect(fake.url) as http:
        chat = Chat(http, CHAT)
        await chat.reply("Hello.")
        await chat.reply("Still here?")
    first, second = fake.asked
    assert first["message"] == "Hello." and second["message"] == "Still here?"
    assert [line["content"] for line in first["history"]] == ["Mind the step."]
    lines = [(line["role"], line["name"], line["content"]) for line in second["history"]]
    assert lines == [
        ("character", "Mara", "Mind the step."),
        ("user", "Min", "Hello."),
        ("character", "Mara", "Good evening."),
    ]
    assert {(it["user_id"], it["session_id"], it["stream"]) for it in fake.asked} == {
        ("u1", "c1", True)
    }


async def test_a_chat_without_an_id_gets_one_and_keeps_it(fake: Fake) -> None:
    fake.answers = [refused(401)]
    async with connect(fake.url) as http:
        chat, other = (Chat(http, {"persona": {"name": "Mara"}}) for _ in range(2))
        for each in (chat, chat, other):
            with pytest.raises(ChatError):
                await each.reply("Hello.")
    first, again, another = (it["session_id"] for it in fake.asked)
    assert first == again != another


async def test_of_a_long_chat_the_newest_lines_are_sent(fake: Fake) -> None:
    fake.answers = [said()]
    lines = [{"role": "user", "content": f"Line {row}"} for row in range(1_500)]
    async with connect(fake.url) as http:
        await Chat(http, {**CHAT, "history": lines}).reply("Hello.")
    assert fake.asked[0]["history"] == lines[-1_000:]


@pytest.mark.parametrize(
    ("after", "waits"),
    [
        ("0", (0, 0)),
        ("7", (7, 7)),
        ("100000", (60, 60)),
        ("9" * 5_000, (60, 60)),
        ("in half a minute", (1, 30)),
        (formatdate(0, usegmt=True), (0, 0)),
        ("soon", (1, 2)),
        (None, (1, 2)),
    ],
)
async def test_it_waits_as_long_as_the_server_asks(
    fake: Fake, pauses: list[float], after: str | None, waits: tuple[float, float]
) -> None:
    if after == "in half a minute":
        after = formatdate(time.time() + 30, usegmt=True)
    fake.answers = [refused(503, **({"Retry_After": after} if after else {})), said()]
    async with connect(fake.url) as http:
        await Chat(http, CHAT).reply("Hello.")
    assert len(pauses) == 1
    assert waits[0] <= pauses[0] <= waits[1]


@pytest.mark.parametrize(
    ("refusal", "then"),
    [
        (refused(503, {"error": {"message": "ending", "code": "ending"}}), None),
        (refused(502, {"error": {"message": "no model", "retryable": True}}), None),
        (refused(400, {"reason": "no worker"}), None),  # the balancer's own
        (refused(429, {"error": {"message": "too many"}}), "w1"),  # it is not the worker's fault
    ],
)
async def test_what_may_be_sent_again_is(
    fake: Fake, pauses: list[float], refusal: Response, then: str | None
) -> None:
    fake.answers = [refusal, said("w2")]
    async with connect(fake.url) as http:
        chat = Chat(http, CHAT, "w1")
        response = await chat.reply("Hello.")
    assert response["response_contents"][0]["text"] == "Good evening."
    assert fake.workers == ["w1", then] and chat.worker == "w2"
    assert fake.asked[0] == fake.asked[1]


@pytest.mark.parametrize(
    ("refusal", "message", "code"),
    [
        (
            refused(400, {"error": {"message": "persona.naem: unknown", "code": "bad_request"}}),
            "persona.naem: unknown",
            "bad_request",
        ),
        (
            refused(503, {"error": {"message": "no", "code": "x", "retryable": False}}),
            "no",
            "x",
        ),
        (refused(401, "key"), "the server answered HTTP 401", "unknown"),
        (
            refused(307, Location="http://127.0.0.1:1/chat"),
            "the server answered HTTP 307",
            "unknown",
        ),
        (Response(b"\xff", 404), "the server answered HTTP 404", "unknown"),
    ],
)
async def test_what_may_not_is_told(fake: Fake, refusal: Response, message: str, code: str) -> None:
    fake.answers = [refusal]
    async with connect(fake.url) as http:
        with pytest.raises(ChatError) as told:
            await Chat(http, CHAT).reply("Hello.")
    assert (str(told.value), told.value.code, told.value.retryable) == (message, code, False)
    assert len(fake.asked) == 1


async def test_it_gives_up_in_the_end(fake: Fake, pauses: list[float]) -> None:
    fake.answers = [refused(503)]
    async with connect(fake.url) as http:
        with pytest.raises(ChatError, match="HTTP 503") as told:
            await Chat(http, CHAT).reply("Hello.")
    assert told.value.retryable
    assert len(fake.asked) == TRIES == len(pauses) + 1
    assert pauses == sorted(pauses)


async def test_a_server_that_is_not_there(pauses: list[float]) -> None:
    async with connect(f"http://127.0.0.1:{free_port()}", "a key") as http:
        with pytest.raises(ChatError) as told:
            await Chat(http, CHAT, "w1").reply("Hello.")
    assert (told.value.code, told.value.retryable) == ("connection", True)
    assert "127.0.0.1" not in str(told.value) and "key" not in str(told.value)


async def _cut() -> AsyncIterator[bytes]:
    yield sse({"type": "token", "text": "Good"})
    raise ConnectionError


ENDING = {"code": "ending", "message": "the server ends; try again", "retryable": True}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: StreamingResponse(_cut()), "cannot be reached"),
        (lambda: Response(sse({"type": "token", "text": "Good"})), "before its end"),
        (lambda: Response(sse({"type": "error", **ENDING})), ENDING["message"]),
        (lambda: Response(sse({"type": "error", "error": ENDING})), ENDING["message"]),
        (lambda: Response(sse({"type": "error"})), "broke off"),
        (lambda: Response(b"<html></html>"), "before its end"),
        (lambda: Response(b"data: nothing\n"), "not Iyagi"),
        (lambda: Response(b"data: [1]\n"), "not Iyagi"),
        (lambda: Response(sse({"type": "final"})), "not Iyagi"),
    ],
)
async def test_a_reply_that_breaks_off_leaves_no_trace(
    fake: Fake, answer: Any, message: str
) -> None:
    fake.answers = [answer()]
    async with connect(fake.url) as http:
        chat = Chat(http, CHAT)
        before = dict(chat.payload)
        with pytest.raises(ChatError, match=message):
            await chat.reply("Hello.")
    assert chat.payload == before
    assert len(fake.asked) == 1, "what the user may have seen is not said again unasked"


async def test_a_model_that_failed_is_an_error(fake: Fake) -> None:
    fake.answers = [Response(sse(final("Good", error="the model server is away")))]
    async with connect(fake.url) as http:
        chat = Chat(http, CHAT)
        with pytest.raises(ChatError, match="the model server is away"):
            await chat.reply("Hello.")
    assert [line["content"] for line in chat.payload["history"]] == ["Mind the step."]


async def test_to_leave_hangs_up(fake: Fake) -> None:
    left = threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield sse({"type": "token", "text": "on and "})
                await asyncio.sleep(0.01)
        finally:
            left.set()

    fake.answers = [StreamingResponse(endless())]
    async with connect(fake.url) as http, aclosing(Chat(http, CHAT).stream("Hello.")) as events:
        async for _ in events:
            break
    assert await asyncio.to_thread(left.wait, 10)


async def test_what_it_sends_goes_on_from_what_the_worker_has_cached(
    make_pipeline: MakePipeline,
) -> None:
    llm = RecordingLLM(replies=["*waves* Good evening.", "Always."])
    pipeline = make_pipeline(llm)

    async def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        assert asked.pop("stream") is True
        return httpx.Response(200, content=sse(*[it async for it in pipeline.stream(asked)]))

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://iyagi") as http:
        chat = Chat(http, {**CHAT, "respond_as": "character"})
        await chat.reply("Hello.")
        response = await chat.reply("Still here?")
    await pipeline.drain()
    assert response["session_id"] == "c1"
    first, second = llm.prompts
    known = first[: first.index("Hello.") + len("Hello.")]
    assert "Mind the step." in known and second.startswith(known)
    assert second.count("Mind the step.") == second.count("*waves* Good evening.") == 1


TEXT = st.text(st.characters(codec="utf-8"))


@given(st.lists(TEXT, max_size=4), st.integers(1, 7), st.sampled_from(["\n", "\r\n"]))
def test_events_are_read_however_they_arrive(texts: list[str], size: int, end: str) -> None:
    sent = sse(*({"type": "token", "text": text} for text in texts), final())
    sent = b": keep-alive\n\n" + sent.replace(b"\n", end.encode())

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(sent), size):
            yield sent[at : at + size]

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=pieces())

    async def heard() -> list[str]:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://iyagi") as http:
            events = [event async for event in Chat(http, CHAT).stream("Hello.")]
        assert events[-1]["type"] == "final"
        return [event["text"] for event in events[:-1]]

    assert asyncio.run(heard()) == texts


def test_in_the_terminal(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.answers = [said("w1")]
    monkeypatch.setenv("SOME_KEY", "s3cret")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello.\nStill here?\n\nnever said\n"))
    done = main(["--url", fake.url, "--key-env", "SOME_KEY", "--session", "c1", "--user", "u1"])
    printed = capsys.readouterr()
    assert (done, printed.err) == (0, "")
    assert printed.out.startswith("*The bell over the door")
    assert printed.out.count("Good evening.") == 2
    assert [it["message"] for it in fake.asked] == ["Hello.", "Still here?"]
    assert {it["session_id"] for it in fake.asked} == {"c1"} and fake.asked[1]["user_id"] == "u1"
    assert {headers["authorization"] for headers in fake.headers} == {"Bearer s3cret"}
    assert not any("x-api-key" in headers for headers in fake.headers)
    assert fake.workers == [None, "w1"]


def test_two_keys_where_two_are_asked_for(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.answers = [said()]
    monkeypatch.setenv("PLATFORM", "of Runpod")
    monkeypatch.setenv("OURS", "of Iyagi")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello.\n"))
    assert main(["--url", fake.url, "--key-env", "PLATFORM", "--server-key-env", "OURS"]) == 0
    (headers,) = fake.headers
    assert (headers["authorization"], headers["x-api-key"]) == ("Bearer of Runpod", "of Iyagi")


def test_in_the_terminal_a_turn_that_failed(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.answers = [said(), refused(401, {"error": {"message": "a key is needed"}}), said()]
    for lines, code in (("One.\nTwo.\n", 1), ("Three.\n", 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        assert main(["--url", fake.url]) == code
    assert capsys.readouterr().err == "error: a key is needed\n"


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (["--url", "127.0.0.1:8000"], "url: must begin with http"),
        (["--url", "http://"], "url: must begin with http"),
        (["--url", "http://a:port"], "url: must begin with http"),
        (["--url", "http://a", "--key-env", "NOT_SET_HERE"], "NOT_SET_HERE is not set"),
        (["--url", "http://a", "--persona", "no-such-card.png"], "no-such-card.png"),
    ],
)
def test_options_at_fault(args: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert fault in capsys.readouterr().err
