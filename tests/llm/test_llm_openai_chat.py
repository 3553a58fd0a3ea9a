"""A server that is given messages, and opens the reply itself."""

from __future__ import annotations

from collections.abc import Callable

from llm.openai_server import OpenAIServerLLM
from tests.llm.asking import reply
from tests.llm.fake_openai_server import FakeServer, Peer, say
from tests.support import MakePipeline, ask

Make = Callable[..., OpenAIServerLLM]

MESSAGES = [{"role": "system", "content": "규칙"}, {"role": "user", "content": "민준: 안녕"}]
USAGE = {
    "prompt_tokens": 40,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 32},
}


async def chatting(peer: Peer) -> None:
    """As vLLM answers at `/chat/completions`."""
    await peer.head(content_type="text/event-stream")
    deltas = [{"role": "assistant", "content": ""}, {"content": "왔"}, {"content": "어?"}]
    for delta in [*deltas, {"content": None}]:
        await peer.event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
    await peer.event(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
    await peer.event(choices=[], usage=USAGE)
    await peer.end()


async def test_messages_go_to_the_chat_endpoint(server: FakeServer, llm_of: Make) -> None:
    server.will(chatting)
    pieces, info = await reply(llm_of(), messages=MESSAGES, max_new_tokens=9, stop=["\n민준:"])
    assert pieces == ["왔", "어?"]
    assert info["finish_reason"] == "length"
    assert info["usage"]["cached_tokens"] == 32
    [asked] = server.requests
    assert server.paths == ["/v1/chat/completions"]
    assert asked["messages"] == MESSAGES and "prompt" not in asked
    assert (asked["max_tokens"], asked["stop"]) == (9, ["\n민준:"])


async def test_without_messages_the_prompt_goes_as_it_is(server: FakeServer, llm_of: Make) -> None:
    await reply(llm_of())
    assert server.paths == ["/v1/completions"]
    assert "messages" not in server.requests[0]


async def test_a_turn_in_the_format_chat(
    server: FakeServer, llm_of: Make, make_pipeline: MakePipeline
) -> None:
    """Messages, roles in turn, and the tag that the model then writes itself is taken off."""

    async def tagging(peer: Peer) -> None:
        await peer.head()
        await peer.event(choices=[{"index": 0, "delta": {"content": "하늘: 왔어?"}}])
        await peer.event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        await peer.end()

    server.will(tagging)
    pipeline = make_pipeline(llm_of(), llm_format="chat")
    history = [{"role": "character", "content": "응."}]
    answer = await pipeline.chat(ask("안녕", respond_as="character", history=history))
    assert "".join(piece["text"] for piece in answer["response_contents"]) == "왔어?"
    [asked] = server.requests
    roles = [message["role"] for message in asked["messages"]]
    assert roles == ["system", "assistant", "user"]
    assert "안녕" in asked["messages"][-1]["content"]
    assert not any("<|im_" in message["content"] for message in asked["messages"])


async def test_a_reply_that_a_stop_string_ends_at_once_is_asked_for_again(
    server: FakeServer, llm_of: Make, make_pipeline: MakePipeline
) -> None:
    """What a server makes of a reply that begins with the user's tag: nothing at all."""
    usage = {**USAGE, "completion_tokens": 0}
    server.will(say(usage=usage), say("왔어?", usage=USAGE))
    pipeline = make_pipeline(llm_of())
    answer = await pipeline.chat(ask("안녕", respond_as="character", gen={"seed": 1}))
    assert "".join(piece["text"] for piece in answer["response_contents"]) == "왔어?"
    assert answer["meta"]["reply"]["regenerated"]
    assert [asked["seed"] for asked in server.requests] == [1, 2]
    assert server.requests[0]["prompt"] == server.requests[1]["prompt"]
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["cached_tokens"]) == (
        80,
        3,
        64,
    )


async def test_generation_stops_on_the_server_where_the_reply_is_cut(
    server: FakeServer, llm_of: Make, make_pipeline: MakePipeline
) -> None:
    server.will(say("그래.\n", "**민준**: ", *["응 "] * 1000, pause=0.002))
    pipeline = make_pipeline(llm_of())
    answer = await pipeline.chat(ask("안녕", respond_as="character", user_name="민준"))
    assert "".join(piece["text"] for piece in answer["response_contents"]) == "그래."
    assert answer["usage"]["completion_tokens"] < 100
    assert await server.all_closed()


async def test_a_reply_is_gone_on_with(
    server: FakeServer, llm_of: Make, make_pipeline: MakePipeline
) -> None:
    """What is written already is the last message, and the server is told to go on with it."""
    pipeline = make_pipeline(llm_of(), llm_format="chat")
    await pipeline.chat(ask("안녕", respond_as="character", reply_start="어서"))
    asked = server.requests[-1]
    assert asked["messages"][-1] == {"role": "assistant", "content": "하늘: 어서"}
    assert asked["continue_final_message"] is True and asked["add_generation_prompt"] is False
    await pipeline.chat(ask("안녕", respond_as="character"))
    assert "continue_final_message" not in server.requests[-1]
