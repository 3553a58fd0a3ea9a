"""Who gets in: keys, rates, pages from elsewhere; and what a body may be."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import body, protocol
from server.app import Terms
from server.entrance import Rate
from tests.server.conftest import Site, StartSite
from tests.support import ask

KEYS = ("sk-of-the-first", "열쇠-of-the-second")
OWNED = dict.fromkeys(KEYS, "")


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{key}".encode()).decode()


@pytest.fixture(scope="module")
def locked(start: StartSite) -> Site:
    return start(Terms(keys=OWNED))


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEYS[0]}"}, {"authorization": f"bearer  {KEYS[0]}"},
     {"X-API-Key": KEYS[0]}, {"Authorization": "Bearer rpa_another", "X-API-Key": KEYS[0]},
     {"Authorization": basic(KEYS[1])}, {"Authorization": basic(KEYS[0])}],
)  # fmt: skip
def test_one_of_the_keys_opens(locked: Site, headers: dict[str, str]) -> None:
    assert locked.web.get("/v1/models", headers=headers).status_code == 200
    assert locked.web.get("/metrics", headers=headers).status_code == 200
    assert "models" in locked.web.get("/health", headers=headers).json()


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {KEYS[0]}x"},
     {"Authorization": f"Bearer {KEYS[0][:-1]}"}, {"Authorization": KEYS[0]},
     {"Authorization": "Bearer none"}, {"Authorization": "Basic ====", "X-API-Key": ""},
     {"Authorization": basic("")}, {"X-API-Key": ",".join(KEYS[:1]) + ","}],
)  # fmt: skip
def test_nothing_else_does(locked: Site, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", "/chat"), ("GET", "/metrics"),
                         ("POST", "/v1/chat/completions"), ("GET", "/none"), ("GET", "/schema"),
                         ("POST", "/forget"), ("PUT", "/chat")):  # fmt: skip
        answer = locked.web.request(method, path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert KEYS[0] not in answer.text
    assert locked.web.get("/ping", headers=headers).status_code == 200
    assert locked.web.get("/health", headers=headers).json() == {"status": "ok", "state": "ready"}


def test_with_keys_nobody_is_the_local_user(locked: Site) -> None:
    headers = {"Authorization": f"Bearer {KEYS[0]}"}
    assert locked.web.post("/chat", json=ask("hello"), headers=headers).status_code == 200
    assert "user_id" not in locked.dispatcher.jobs[-1]


def test_a_persons_key_is_a_user_of_its_own(start: StartSite) -> None:
    site = start(Terms(keys={"sk-robin": "robin", "sk-mina": "mina", "sk-backend": ""}))

    def named(key: str, path: str = "/chat", **body: object) -> object:
        asked = {**ask("hello"), **body} if path == "/chat" else body
        headers = {"X-API-Key": key, "X-OpenWebUI-User-Id": str(body.pop("header", ""))}
        site.web.post(path, json={**asked}, headers=headers)
        job = site.dispatcher.jobs[-1]
        sent = job.get("openai_input", job.get("body", job))
        assert "user" not in sent or not key.endswith(("robin", "mina"))
        return sent.get("user_id")

    assert named("sk-robin") == "robin" and named("sk-mina") == "mina"
    assert named("sk-backend") is None and named("sk-backend", user_id="robi") == "robi"
    assert named("sk-mina", user_id="robin") == "mina/robin"
    chat = {"model": "Wren", "messages": [{"role": "user", "content": "hi"}]}
    path = "/v1/chat/completions"
    assert named("sk-mina", path, **chat, user="robin") == "mina/robin"
    assert named("sk-mina", path, **chat, user={"id": 7, "name": "Robin"}) == "mina/7"
    assert named("sk-mina", path, **chat) == "mina"
    assert named("sk-mina", "/forget", user_id="robin", session_id="s") == "mina/robin"
    for ids in (
        {"user_id": "robin"}, {"user_id": "robin/7"}, {"user": "mina"}, {"user": {"id": " robin "}}
    ):  # fmt: skip
        told = site.web.post(path, json={**chat, **ids}, headers={"X-API-Key": "sk-backend"})
        assert told.status_code == 400 and "another key" in told.json()["error"]["message"]
    headers = {"X-API-Key": "sk-backend", "X-OpenWebUI-User-Id": "robin"}
    assert site.web.post(path, json=chat, headers=headers).status_code == 400


def test_who_asks_too_often_is_told_when_to_come_again(start: StartSite) -> None:
    web = start(Terms(keys=OWNED, rate="3/hour")).web
    first, second = ({"X-API-Key": KEYS[0]}, {"Authorization": basic(KEYS[1])})
    statuses = [web.post("/chat", json={}, headers=first).status_code for _ in range(5)]
    assert statuses == [400, 400, 400, 429, 429]
    late = web.post("/v1/chat/completions", json={}, headers=first)
    assert 1100 <= int(late.headers["retry-after"]) <= 1200
    assert late.json()["error"]["code"] == "rate_limit_exceeded"
    assert web.post("/chat", json={}, headers=second).status_code == 400, "each key has its own"
    assert web.get("/v1/models", headers=first).status_code == 200, "only what costs is counted"
    assert web.post("/chat", json={}).status_code == 401


def test_without_keys_each_address_has_its_own(start: StartSite) -> None:
    web = start(Terms(rate="1/hour")).web
    near = {"X-Forwarded-For": "2001:db8::1"}
    assert [web.post("/chat", json={}, headers=near).status_code for _ in range(2)] == [400, 429]
    for same, status in (("2001:db8::ffff:2", 429), ("2001:db8:0:1::1", 400), ("10.0.0.1", 400)):
        answer = web.post("/chat", json={}, headers={"X-Forwarded-For": same})
        assert answer.status_code == status, same


@given(
    count=st.integers(1, 5),
    pauses=st.lists(st.floats(0, 90, allow_nan=False), min_size=1, max_size=40),
)
def test_no_period_holds_more_than_twice_the_rate_and_patience_always_gets_in(
    count: int, pauses: list[float]
) -> None:
    now = [0.0]
    rate = Rate(f"{count}/minute", clock=lambda: now[0])
    taken: list[float] = []
    for pause in pauses:
        now[0] += pause
        if wait := rate.wait("a"):
            assert 0 < wait <= 60
            now[0] += wait
            assert rate.wait("a") == 0
        taken.append(now[0])
        assert rate.wait("b") == 0 or taken.count(now[0]) > 0
    for begun in taken:
        within = [at for at in taken if begun <= at < begun + 60 - 1e-6]
        assert len(within) <= 2 * count
    assert len([at for at in taken if at <= taken[0]]) <= count, "a burst of so many at most"


@pytest.fixture(scope="module")
def shared(start: StartSite) -> Site:
    return start(Terms(keys=OWNED, origins=("https://chat.example",)))


def test_a_page_from_elsewhere_gets_in_where_it_is_listed(shared: Site, site: Site) -> None:
    asks = {"Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type"}  # fmt: skip
    own = {"Origin": "https://chat.example"}
    preflight = shared.web.options("/v1/chat/completions", headers={**asks, **own})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://chat.example"
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    refused = shared.web.get("/v1/models", headers=own)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"], "a page can read what is wrong"
    answer = shared.web.get("/v1/models", headers={**own, "X-API-Key": KEYS[0]})
    assert answer.status_code == 200
    assert "X-Runpod-Worker-Id" in answer.headers["access-control-expose-headers"]
    for origin in ("https://evil.example", "https://chat.example.evil.example", "null"):
        key = {"X-API-Key": KEYS[0]}
        assert shared.web.get("/v1/models", headers={"Origin": origin, **key}).status_code == 403
    assert site.web.get("/v1/models", headers=own).status_code == 403, "listed nowhere"


def test_an_open_server_takes_nothing_from_pages_elsewhere(start: StartSite) -> None:
    web = start(Terms(guarded=False)).web
    host = f"{web.base_url.host}:{web.base_url.port}"
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", f"http://{host}.evil"):
        told = web.post("/forget", json={}, headers={"Origin": origin})
        assert told.status_code == 403, "the browser sends it without asking"
    for headers in ({}, {"Origin": f"http://{host}"},
                    {"Origin": "https://own.example", "Host": "own.example"}):  # fmt: skip
        assert web.get("/v1/models", headers=headers).status_code == 200
    keyed = start(Terms(guarded=False, keys=OWNED)).web
    headers = {"Origin": "https://any.example", "X-API-Key": KEYS[0]}
    assert keyed.get("/v1/models", headers=headers).status_code == 200, "no page has the key"


def test_where_all_pages_may_come_no_credentials_do(start: StartSite) -> None:
    web = start(Terms(origins=("*",))).web
    answer = web.get("/v1/models", headers={"Origin": "https://any.example", "Cookie": "a=b"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


# ---- bodies ----


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Bodies of one megabyte at most."""
    most = 1024 * 1024
    monkeypatch.setattr(body.read_body, "__defaults__", (most,))
    yield most


@pytest.mark.parametrize("path", ["/chat", "/v1/chat/completions", "/v1/completions", "/forget"])
def test_a_body_that_is_too_large_is_refused_as_soon_as_it_is_known(
    web: httpx.Client, small: int, path: str
) -> None:
    def unending() -> Iterator[bytes]:
        for _ in range(small // 1024 + 100):
            yield b"x" * 1024

    told = web.post(path, content=unending())
    assert told.status_code == 413 and "1 MB" in told.json()["error"]["message"]
    host, port = web.base_url.host, web.base_url.port
    with socket.create_connection((host, port), timeout=10) as sent:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {small + 1}\r\n\r\n"
        sent.sendall(head.encode())
        answer = b"".join(iter(lambda: sent.recv(65536), b""))
    assert b" 413 " in answer and b"connection: close" in answer.lower(), "none of it was needed"


def test_a_body_that_does_not_come_holds_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.3)
    host, port = site.web.base_url.host, site.web.base_url.port
    with socket.create_connection((host, port), timeout=10) as sent:
        head = f"POST /chat HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n{{"
        sent.sendall(head.encode())
        answer = b"".join(iter(lambda: sent.recv(65536), b""))
    head_of_it, _, told = answer.partition(b"\r\n\r\n")
    assert b" 408 " in head_of_it and json.loads(told)["error"]["code"] == "body_timeout"


CHUNKED = b"POST /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (CHUNKED + b"0\r\n", b"A: " + b"b" * 1000 + b"\r\n"),
        (CHUNKED + b"0\r\nA: ", b"b" * 1000),
        (CHUNKED + b"1;a=", b"b" * 1000),
        (CHUNKED, b"GARBAGE"),
    ],
    ids=["trailers", "a trailer", "a chunk's extension", "no chunk"],
)
def test_what_stands_around_a_body_has_an_end(site: Site, begin: bytes, more: bytes) -> None:
    address = (site.web.base_url.host, site.web.base_url.port)
    with (
        socket.create_connection(address, timeout=10) as connection,
        pytest.raises(ConnectionError),
    ):
        connection.sendall(begin)
        for _ in range(5_000):
            connection.sendall(more)
            time.sleep(0.0002)


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("sent", [LONG, LONG.replace(b"POST /nowhere", b"GET /v1/models")])
def test_a_body_that_nobody_reads_holds_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes, goes_on: bool
) -> None:
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.3)
    address = (site.web.base_url.host, site.web.base_url.port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        connection.settimeout(0.02)
        for _ in range(250):
            try:
                if goes_on:
                    connection.sendall(b"x")
                if connection.recv(65536) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    raise AssertionError("it is held for ever")


def test_a_body_that_comes_late_is_no_fault(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.3)
    address = (site.web.base_url.host, site.web.base_url.port)
    head = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\n"
    with socket.create_connection(address, timeout=10) as connection:
        for _ in range(2):
            connection.sendall(head)
            heard = b""
            while not heard.endswith(b"}}"):
                heard += connection.recv(65536)
            assert heard.startswith(b"HTTP/1.1 404 ")
            connection.sendall(b"abc")
            time.sleep(0.5)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * 400_000 + b"0]",
        b'{"message":[' + b'"a\\"",' * 900_000 + b'""]}',
        b'{"persona":{' + b",".join(b'"%d":0' % n for n in range(2_000)) + b"}}",
        b'{"messages":[{' + b",".join(b'"%d":0' % n for n in range(2_000)) + b"}]}",
    ],
    ids=["numbers", "texts", "fields", "fields within"],
)
@pytest.mark.parametrize("path", ["/chat", "/v1/chat/completions", "/forget"])
def test_a_body_of_too_many_parts_is_refused(web: httpx.Client, path: str, body: bytes) -> None:
    told = web.post(path, content=body)
    assert told.status_code == 400 and "holds " in told.json()["error"]["message"], told.text


def test_a_text_may_have_any_number_of_commas_and_quotes(web: httpx.Client) -> None:
    body = {"message": "hello", "persona": {"name": "Wren"},
            "history": [{"role": "user", "content": '"a, [b], \\", {c}' * 4_000}] * 8}  # fmt: skip
    assert web.post("/chat", json=body).status_code == 200


@pytest.mark.parametrize(
    "sent", [b"", b"GET /ping HTTP/1.1\r\n", b"POST /chat HTTP/1.1\r\nA: b\r\n"]
)
def test_a_head_that_does_not_come_holds_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    address = (site.web.base_url.host, site.web.base_url.port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        assert b"".join(iter(lambda: connection.recv(65536), b"")) == b""


def test_a_head_without_end_holds_nothing(site: Site) -> None:
    address = (site.web.base_url.host, site.web.base_url.port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\n")
        with pytest.raises(OSError):
            for _ in range(200_000):
                connection.sendall(b"X-More: " + b"y" * 1000 + b"\r\n")
            raise AssertionError("200 MB of a head were taken")
