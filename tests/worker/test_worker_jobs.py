"""Jobs through the SDK's real loop, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.llm.fake_openai_server import FakeServer
from tests.support import ask
from tests.worker.job_server import Background, JobServer
from tests.worker.worker_process import LLM_KEY, Worker, settings


def wait_until(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_job_yields_one_chat_response(jobs: JobServer) -> None:
    [response] = jobs.submit(ask("KOREAN 안녕하세요?", session_id="방1")).result()
    assert response["session_id"] == "방1"
    text = "".join(piece["text"] for piece in response["response_contents"])
    assert text == "*고개를 끄덕인다.* 안녕하세요, 여행자님."
    assert response["error"] is None and "error" not in response["meta"]


def test_a_stream_is_numbered_typed_and_ends_with_the_whole_response(jobs: JobServer) -> None:
    job = jobs.submit(ask("SLOWLY please", stream=True))
    events = job.result()
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert {event["type"] for event in events} == {"status", "token", "segment", "final"}
    assert [chunk["output"] for chunk in job.chunks] == events, "stream and aggregate agree"
    contents = events[-1]["response"]["response_contents"]
    text = "".join(event["text"] for event in events if event["type"] == "token")
    assert text == "".join(piece["text"] for piece in contents)
    assert [event["content"] for event in events if event["type"] == "segment"] == contents


def test_tokens_are_gathered_and_the_first_one_is_not(jobs: JobServer) -> None:
    job = jobs.submit(ask("SLOWLY please", stream=True))
    texts = [event["text"] for event in job.result() if event["type"] == "token"]
    assert texts[0].strip() == "word0"
    assert 4 <= len(texts) <= 20, "40 words in 0.7 s, sent every 80 ms"


def test_a_slow_network_does_not_hold_the_model_back(jobs: JobServer) -> None:
    jobs.submit(ask()).result()
    jobs.post_delay = 0.15
    job = jobs.submit(ask("SLOWLY please", stream=True))
    response = job.result()[-1]["response"]
    assert response["timing"]["total"] < 2500, "0.7 s of writing, not 40 posts of 0.15 s"


def test_a_reply_that_breaks_off_is_kept_and_marked(jobs: JobServer) -> None:
    [plain] = jobs.submit(ask("it BREAKS off")).result()
    assert plain["response_contents"][0]["text"].startswith("She waits at the door.")
    assert plain["error"] is None and plain["model_info"]["finish_reason"] == "error"
    assert plain["meta"]["error"]["code"] == "llm" and plain["meta"]["error"]["message"]
    final = jobs.submit(ask("it BREAKS off", stream=True)).result()[-1]
    assert final["response"]["error"] == final["response"]["meta"]["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("does", "retryable"),
    [("REFUSES", False), ("OVERLOADED", True), ("GARBAGE", False), ("NOTHING", True)],
)
def test_a_model_that_said_nothing_fails_the_job(
    jobs: JobServer, stream: bool, does: str, retryable: bool
) -> None:
    error = jobs.submit(ask(f"it is {does}", stream=stream)).error()
    assert error["code"] == "llm" and error["field"] is None
    assert error["retryable"] is retryable
    assert "in the way" not in error["message"], "the server's words may quote the prompt"
    assert jobs.submit(ask("hello")).result(), "the next job is served"


OPENAI_ROUTE: Any = {
    "openai_route": "/v1/chat/completions",
    "openai_input": {
        "model": "마라",
        "messages": [{"role": "user", "content": "it HANGS"}],
        "stream": True,
    },
}


@pytest.mark.parametrize(
    "given", [ask("it HANGS", stream=True), ask("it HANGS"), OPENAI_ROUTE], ids=str
)
def test_a_cancelled_job_closes_the_model_stream_at_once(
    jobs: JobServer, llm: FakeServer, background: Background, given: Any
) -> None:
    job = jobs.submit(given)
    wait_until(lambda: llm.open_streams == 1)
    if "stream" in str(given):
        job.heard()
    jobs.cancel(job)
    assert background.run(llm.all_closed(within=1.0))
    time.sleep(0.2)
    assert job.done is None, "the platform has called it cancelled already"
    jobs.submit(ask()).result()


def test_a_job_cancelled_while_it_is_sent_closes_the_model_stream(
    jobs: JobServer, llm: FakeServer, background: Background
) -> None:
    jobs.post_delay = 3.0
    job = jobs.submit(ask("it HANGS", stream=True))
    wait_until(lambda: llm.open_streams == 1)
    time.sleep(0.3)
    jobs.cancel(job)
    assert background.run(llm.all_closed(within=1.0))
    jobs.post_delay = 0.0


def test_lost_posts_lose_no_result(jobs: JobServer) -> None:
    jobs.faults["job-stream"] = [400, 400]
    refused = jobs.submit(ask("hello", stream=True))
    events = refused.result()
    assert len(refused.chunks) == len(events) - 2
    assert events[-1]["type"] == "final"
    jobs.faults["job-done"] = [500]
    assert jobs.submit(ask("hello")).result()


def test_a_result_that_is_refused_for_good_leaves_the_worker_alive(jobs: JobServer) -> None:
    jobs.faults["job-done"] = [413]
    lost = jobs.submit(ask("hello"))
    lost.heard(1)
    assert jobs.submit(ask("hello")).result()
    assert lost.done is None


@pytest.mark.parametrize("given", [{"route": "/health"}, {"route": "/schema"}])
def test_questions_about_the_worker_itself(jobs: JobServer, given: Any) -> None:
    [answer] = jobs.submit(given).result()
    assert answer.keys() >= ({"request", "response"} if "schema" in given["route"] else {"status"})


def test_the_largest_answer_that_can_be_asked_for_arrives(jobs: JobServer) -> None:
    history = [{"role": "user", "content": f"{n} " + "밤" * 90_000} for n in range(10)]
    wide = {"enabled": True, "top_k": 50}
    request = ask("밤", history=history, chat_rag_config=wide, meta={"debug": True})
    [response] = jobs.submit(request).result(60)
    assert response["response_contents"] and response["meta"]["left_out"]


def test_the_log_holds_no_word_of_a_chat_and_no_key(jobs: JobServer, worker: Worker) -> None:
    secret = "the-compass-lies-under-the-third-stone"
    for message in (secret, f"{secret} BREAKS", f"{secret} REFUSES", f"{secret} BRIEFLY"):
        job = jobs.submit(ask(message, persona={"name": "x", "description": secret}, stream=True))
        job.heard(1)
        while job.done is None:
            time.sleep(0.01)
    jobs.submit({"message": secret, "persona": {"name": secret, secret: 1}}).error()
    log = worker.log
    assert "is answered" in log and "Jobs in queue" in log, "the SDK logs at INFO, too"
    for words in (secret, LLM_KEY, "rp-secret-key", "traveller", "word1"):
        assert words not in log
    assert jobs.pings, "the SDK's ping runs"


@pytest.mark.slow  # by the clock: other programs on the machine count, too
def test_the_loop_stays_awake(own_jobs: JobServer, llm: FakeServer, home: Path) -> None:
    worker = Worker({**own_jobs.env(), **settings(home, llm.url)}, home / "log")
    try:
        sent = [own_jobs.submit(ask("SLOWLY please", stream=True)) for _ in range(64)]
        assert all(job.result(60)[-1]["type"] == "final" for job in sent)
        [health] = own_jobs.submit({"route": "/health"}).result()
    finally:
        worker.stop()
    assert 0 < health["loop_lag_ms"]["p99"] <= 50
