"""Who hangs up ends the work; who waits is told that the server lives."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest

from server import answer
from tests.llm.fake_openai_server import FakeServer
from tests.server.conftest import Site
from tests.server.test_server_routes import completion, events, sample
from tests.support import ask
from tests.worker.job_server import Background


def post(site: Site, path: str, body: dict[str, Any]) -> socket.socket:
    """A connection on which the request was sent."""
    content = json.dumps(body).encode()
    address = (site.web.base_url.host, site.web.base_url.port)
    connection = socket.create_connection(address, timeout=10)
    head = f"POST {path} HTTP/1.1\r\nHost: {address[0]}\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


async def busy(llm: FakeServer) -> None:
    await llm.busy.wait()


CASES = {
    "OpenAI, before the first token": ("/v1/chat/completions", completion("MUTE", stream=True)),
    "OpenAI, in the stream": ("/v1/chat/completions", completion("HANGS", stream=True)),
    "OpenAI, without a stream": ("/v1/chat/completions", completion("HANGS")),
    "ours, before the first token": ("/chat", ask("MUTE", stream=True)),
    "ours, in the stream": ("/chat", ask("HANGS", stream=True)),
    "ours, without a stream": ("/chat", ask("MUTE")),
}


@pytest.mark.parametrize("case", CASES)
def test_who_hangs_up_ends_the_work(
    site: Site, llm: FakeServer, background: Background, case: str
) -> None:
    path, body = CASES[case]
    left = f'iyagi_turns_total{{door="{path}",outcome="hung_up"}}'
    before = sample(site.web.get("/metrics").text, left)
    connection = post(site, path, body)
    background.run(busy(llm))
    if "in the stream" in case:
        heard = b""
        while b"Once" not in heard:
            heard += connection.recv(65536)
    assert llm.open_streams == 1 and site.dispatcher.busy == 1
    connection.close()
    assert background.run(llm.all_closed(1.0)), "the model went on writing for nobody"
    for _ in range(100):
        if sample(site.web.get("/metrics").text, left) == before + 1:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("it was not counted as such")
    assert site.dispatcher.busy == 0


@pytest.mark.parametrize("path", ["/chat", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "behind",
    [b"GET /p", b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
     b"POST /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200000\r\n\r\n" + b" " * 199_999],
)  # fmt: skip
def test_who_hangs_up_ends_the_work_whatever_was_sent_behind(
    site: Site, llm: FakeServer, background: Background, path: str, behind: bytes
) -> None:
    body = ask("MUTE") if path == "/chat" else completion("MUTE")
    with post(site, path, body) as connection:
        background.run(busy(llm))
        with suppress(ConnectionError):
            connection.sendall(behind)
        time.sleep(0.1)
    assert background.run(llm.all_closed(1.0)), "the model went on writing for nobody"


def test_who_sends_many_requests_at_once_is_sent_away(site: Site) -> None:
    with post(site, "/chat", ask("HANGS")) as connection, suppress(ConnectionError):
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2_000)
        heard = b"".join(iter(lambda: connection.recv(65536), b""))
        assert heard.count(b"HTTP/1.1 ") <= 1


@pytest.mark.parametrize("path", ["/chat", "/v1/chat/completions"])
def test_a_silent_stream_says_that_it_lives_and_how_it_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(answer, "KEEP_ALIVE", 0.2)
    monkeypatch.setattr(answer, "FIRST_OUTPUT", 0.2)
    body = ask("HANGS", stream=True) if path == "/chat" else completion("HANGS", stream=True)
    heard = ""
    with site.web.stream("POST", path, json=body) as told:
        for text in told.iter_text():
            heard += text
            if heard.count(": keep-alive\n\n") > 2:
                break
    whole = [part for part in heard.split("\n\n") if part]
    assert all(part.startswith((": keep-alive", "data: {")) for part in whole)


def test_before_its_first_event_a_stream_says_so_too_and_fails_in_an_event(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "FIRST_OUTPUT", 0.1)
    asked = site.dispatcher.answer

    async def slow(job: Any) -> Any:
        import asyncio

        await asyncio.sleep(0.4)
        async for output in asked(job):
            yield output

    monkeypatch.setattr(site.dispatcher, "answer", slow)
    told = site.web.post("/chat", json={"message": "x", "stream": True})
    assert told.status_code == 200 and told.text.startswith(": keep-alive")
    [last] = events(told.text)
    assert last["type"] == "error" and "persona" in last["message"] and last["seq"] == 0


def test_who_reads_nothing_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "SEND_SECONDS", 0.3)

    async def endless(_: Any) -> Any:
        while True:
            yield "data: " + "x" * 100_000 + "\n\n"

    monkeypatch.setattr(site.dispatcher, "answer", endless)
    left = 'iyagi_turns_total{door="/v1/chat/completions",outcome="hung_up"}'
    before = sample(site.web.get("/metrics").text, left)
    with post(site, "/v1/chat/completions", completion(stream=True)):
        for _ in range(300):
            if sample(site.web.get("/metrics").text, left) == before + 1:
                return
            time.sleep(0.02)
    raise AssertionError("it waits for ever")


def test_what_is_sent_after_the_reply_is_the_next_request(web: httpx.Client) -> None:
    for _ in range(3):  # on one connection
        assert web.post("/chat", json=ask("hello", stream=True)).text.endswith("\n\n")
