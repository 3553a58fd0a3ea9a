"""What each route answers, whatever goes wrong."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import NotFoundError, OpenAI

from graph.pipeline import Pipeline
from tests.server.conftest import Site
from tests.support import ask
from tests.worker.job_server import Background

SAID = "*She nods.* Good evening, traveller."


def completion(content: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "Wren", "messages": [{"role": "user", "content": content}], **more}


def events(text: str) -> list[dict[str, Any]]:
    """The events of a native stream; comments are none."""
    lines = [line for line in text.split("\n\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def text_of(response: dict[str, Any]) -> str:
    return "".join(piece["text"] for piece in response["response_contents"])


def test_a_turn_of_our_own_is_one_response(web: httpx.Client) -> None:
    answer = web.post("/chat", json=ask("hello"))
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert text_of(answer.json()) == SAID and answer.json()["error"] is None


@pytest.mark.parametrize(
    ("more", "headers"),
    [({"stream": True}, {}), ({}, {"Accept": "text/event-stream"}),
     ({"stream": True}, {"Accept": "application/json"})],
)  # fmt: skip
def test_a_turn_of_our_own_streams(
    web: httpx.Client, more: dict[str, Any], headers: dict[str, str]
) -> None:
    answer = web.post("/chat", json=ask("hello", **more), headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    *before, last = events(answer.text)
    assert [event["seq"] for event in [*before, last]] == list(range(len(before) + 1))
    assert "".join(event["text"] for event in before if event["type"] == "token") == SAID
    assert last["type"] == "final" and text_of(last["response"]) == SAID


def test_a_body_that_wants_no_stream_gets_none(web: httpx.Client) -> None:
    accept = {"Accept": "text/event-stream"}
    answer = web.post("/chat", json=ask("hello", stream=False), headers=accept)
    assert text_of(answer.json()) == SAID


@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_gets_its_completion(site: Site, stream: bool) -> None:
    with OpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as client:
        asked = client.chat.completions.create(**completion(stream=stream))
        if stream:
            said = "".join(chunk.choices[0].delta.content or "" for chunk in asked)
        else:
            said = str(asked.choices[0].message.content)
        assert said == SAID
        assert "Wren" in [model.id for model in client.models.list()]
        with pytest.raises(NotFoundError, match=r"POST /v1/chat/completions"):
            client.responses.create(model="Wren", input="hello")


ERRORS: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/chat", b"{", 400, "is not JSON"),
    ("POST", "/chat", b"[]", 400, "the body: must be a JSON object"),
    ("POST", "/chat", b"", 400, "is not JSON"),
    ("POST", "/chat", b"\xff", 400, "not UTF-8"),
    ("POST", "/chat", b"[" * 100_000, 400, "nested"),
    ("POST", "/chat", {"message": "x"}, 400, "persona: is required"),
    ("POST", "/chat", {"message": "x", "persona": {"naem": "x"}}, 400, "did you mean 'name'"),
    ("POST", "/chat", {"message": "x", "persona": {"name": "x"}, "stream": 1}, 400, "stream"),
    ("POST", "/chat", {"route": "/health"}, 400, "route: unknown field"),
    ("POST", "/chat", {"openai_route": "/v1/models"}, 400, "openai_route: unknown field"),
    ("POST", "/chat", ask("it REFUSES"), 502, "LLM server"),
    ("POST", "/chat", ask("it REFUSES", stream=True), 200, "LLM server"),
    ("POST", "/v1/chat/completions", completion("it REFUSES"), 502, "LLM server"),
    ("POST", "/v1/chat/completions", b"{", 400, "is not JSON"),
    ("POST", "/v1/chat/completions", {"model": "Wren"}, 400, "messages"),
    ("POST", "/forget", {"user_id": "u"}, 400, "session_id"),
    ("GET", "/v1/chat/completions", None, 405, "does not take GET; there are: POST /v1/chat"),
    ("POST", "/v1/models", {}, 405, "GET /v1/models"),
    ("POST", "/v1/responses", {}, 404, "POST /v1/chat/completions"),
    ("GET", "/", None, 404, "POST /chat"),
    ("GET", "/v1", None, 404, "POST /chat"),
    ("GET", "/docs", None, 404, "no such path"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "told"), ERRORS)
def test_what_goes_wrong_has_a_status_and_openais_shape(
    web: httpx.Client, method: str, path: str, body: Any, status: int, told: str
) -> None:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    answer = web.request(method, path, content=content)
    assert answer.status_code == status, answer.text
    if status == 200:
        last = events(answer.text)[-1]
        assert last["type"] == "error" and told in last["message"] and last["code"] == "llm"
        assert last["seq"] == len(events(answer.text)) - 1
        return
    error = answer.json()["error"]
    assert told in error["message"] and {"message", "type", "param", "code"} <= error.keys()
    assert answer.headers["x-should-retry"] == str(error["retryable"]).lower()
    if status == 405:
        assert answer.headers["allow"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(["/chat", "/v1/chat/completions", "/v1/completions", "/forget"]),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["message", "persona", "model", "messages", "stream", "x"]),
                inner, max_size=4,
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)  # fmt: skip
def test_no_body_is_a_fault_of_ours(web: httpx.Client, path: str, body: bytes) -> None:
    answer = web.post(path, content=body)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["message"]


def test_ids_come_from_the_headers_where_the_body_has_none(site: Site) -> None:
    headers = {"X-OpenWebUI-Chat-Id": "c1", "X-OpenWebUI-User-Id": "u1"}

    def ids(more: dict[str, Any], headers: dict[str, str], path: str = "/chat") -> tuple[Any, Any]:
        body = completion() if path.startswith("/v1") else ask("hello")
        assert site.web.post(path, json={**body, **more}, headers=headers).status_code == 200
        job = site.dispatcher.jobs[-1]
        job = job.get("openai_input", job)
        return job.get("user_id"), job.get("session_id")

    assert ids({}, headers) == ("u1", "c1")
    assert ids({}, {**headers, "X-Iyagi-Session": "s1"}) == ("u1", "s1")
    assert ids({"session_id": "s", "user_id": "u"}, headers) == ("u", "s")
    assert ids({"session_id": None}, headers) == ("u1", "c1")
    assert ids({}, {"X-Iyagi-Session": ""}) == ("local", None), "nobody else is here"
    door = "/v1/chat/completions"
    assert ids({}, headers, door) == ("u1", "c1")
    assert ids({"user": "me"}, headers, door) == (None, "c1"), "OpenAI's `user` is an id, too"
    refused = site.web.post("/chat", json=ask(), headers={"X-Iyagi-Session": "x" * 201})
    assert refused.status_code == 400 and "x-iyagi-session" in refused.json()["error"]["message"]


def test_the_memory_of_a_chat_is_forgotten(
    site: Site, background: Background, pipeline: Pipeline
) -> None:
    web, headers = site.web, {"X-Iyagi-Session": "to forget"}
    web.post("/chat", json=ask("My compass points west."), headers=headers)
    background.run(pipeline.drain())
    assert web.post("/forget", json={}, headers=headers).json() == {"forgotten": True}
    assert web.post("/forget", json={}, headers=headers).json() == {"forgotten": False}


def test_a_monitor_finds_what_it_wants(web: httpx.Client) -> None:
    health = web.get("/health").json()
    assert health["status"] == "ok" and health["state"] == "ready" and health["jobs"] == 0
    assert web.get("/ping").status_code == 200 and web.head("/ping").status_code == 200
    assert web.get("/schema").json()["request"]["title"] == "ChatRequest"


def test_a_request_has_an_id(web: httpx.Client) -> None:
    assert web.get("/ping", headers={"X-Request-Id": "a-1"}).headers["x-request-id"] == "a-1"
    made = {web.get(path).headers["x-request-id"] for path in ("/ping", "/none", "/v1/models")}
    assert len(made) == 3
    for odd in ("x" * 101, "two words", ""):
        assert web.get("/ping", headers={"X-Request-Id": odd}).headers["x-request-id"] != odd


def sample(text: str, name: str) -> float:
    """A value of the metrics; 0 where it was not counted yet."""
    found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_turns_are_counted(web: httpx.Client) -> None:
    door = 'door="/chat"'
    names = (f'iyagi_turns_total{{{door},outcome="ok"}}',
             f'iyagi_turns_total{{{door},outcome="failed"}}',
             'iyagi_errors_total{code="llm"}', 'iyagi_errors_total{code="not_found"}',
             'iyagi_turn_seconds_count{door="/chat"}', "iyagi_first_token_seconds_count",
             "iyagi_prompt_tokens_total", "iyagi_completion_tokens_total")  # fmt: skip

    def counted() -> list[float]:
        answer = web.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return [sample(answer.text, name) for name in names]

    before = counted()
    web.post("/chat", json=ask("hello"))
    web.post("/chat", json=ask("hello", stream=True))
    web.post("/chat", json=ask("it REFUSES", stream=True))
    web.get("/none")
    turned = [after - then for after, then in zip(counted(), before, strict=True)]
    assert turned[:6] == [2, 1, 1, 1, 3, 1] and turned[6] > 100 and turned[7] > 4
