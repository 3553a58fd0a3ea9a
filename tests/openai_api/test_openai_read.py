"""What clients send by themselves is taken; mistakes that matter are named as they were sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.pipeline import read_request
from openai_api.read import read_chat, read_prompt, streams
from openai_api.translate import ANY_MODEL
from schemas.errors import BadRequest
from schemas.request import ChatRequest
from tests.openai_api.support import JSON, assistant, request, system, user, work

ECHOED: JSON = {
    "refusal": None, "parsed": None, "audio": None, "function_call": None, "tool_calls": None,
    "annotations": [], "provider_specific_fields": {"refusal": None}, "iyagi": {"a": 1}, "id": "x",
}  # fmt: skip

TAKEN: list[JSON] = [
    {"tools": [{"type": "function", "function": {"name": "web"}}], "tool_choice": "auto"},
    {"tools": [], "tool_choice": "none", "parallel_tool_calls": False},
    {"logprobs": False, "top_logprobs": None, "response_format": {"type": "text"}},
    {"typical_p": 1, "mirostat": 2, "mirostat_eta": 0.1, "tfs_z": 1, "num_ctx": 8192, "top_a": 0},
    {"chat_template_kwargs": {}, "min_tokens": 0, "models": ["a"], "metadata": {}, "store": False},
    {"presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "reasoning_effort": "low"},
    {"continue_final_message": True, "add_generation_prompt": False, "keep_alive": "5m"},
    {"stream": None, "temperature": None, "stop": None, "user": None, "persona": None, "n": None},
    {"user": 17, "service_tier": "auto", "safety_identifier": "x", "chat_id": "y"},
    {"min_length": 1, "dry_multiplier": 0.8, "xtc_threshold": 0.1, "banned_tokens": ["a"]},
]


@pytest.mark.parametrize("beside", TAKEN)
def test_what_clients_send_by_themselves_is_taken(beside: JSON) -> None:
    asked = request(user("Hi."), **beside)
    assert asked.gen.model_dump(exclude_defaults=True) == {}


def test_our_own_messages_can_be_sent_back() -> None:
    asked = request(
        user("Hi.", timestamp=1, **ECHOED),
        assistant("Ahoy.", **ECHOED),
        user([{"type": "input_text", "text": "So"}, "then?"]),
    )
    assert [line.content for line in asked.history] == ["Hi.", "Ahoy."]
    assert asked.message == "So\nthen?"


SAMPLING: list[tuple[JSON, JSON]] = [
    ({"max_tokens": 0}, {}),
    ({"max_tokens": -1}, {}),
    ({"max_tokens": "300"}, {"max_new_tokens": 300}),
    ({"max_tokens": 16_000}, {"max_new_tokens": 4096}),
    ({"max_completion_tokens": 9, "max_tokens": 10}, {"max_new_tokens": 9}),
    ({"seed": -1}, {}),
    ({"seed": -2}, {"seed": 2**32 - 2}),
    ({"seed": 2**40 + 3}, {"seed": 3}),
    ({"stop": [""]}, {}),
    ({"stop": "###"}, {"stop": ["###"]}),
    ({"stop": ["a", None, "a", "x" * 101]}, {"stop": ["a"]}),
    ({"stop": [str(row) for row in range(20)]}, {"stop": [str(row) for row in range(16)]}),
    ({"temperature": 5}, {"temperature": 2}),
    ({"temperature": "0.7"}, {"temperature": 0.7}),
    ({"temperature": float("nan")}, {}),
    ({"top_p": 0}, {"top_p": 0.01}),
    ({"top_p": 1.5}, {"top_p": 1}),
    ({"top_k": -1}, {"top_k": 0}),
    ({"top_k": 40.0}, {"top_k": 40}),
    ({"min_p": 2}, {"min_p": 1}),
    ({"repeat_penalty": 1.1}, {"repetition_penalty": 1.1}),
]


@pytest.mark.parametrize(("sent", "gen"), SAMPLING)
def test_numbers_out_of_range_are_cut_to_it(sent: JSON, gen: JSON) -> None:
    assert request(user("Hi."), **sent).gen.model_dump(exclude_defaults=True) == gen


WRONG: list[tuple[JSON, str, str]] = [
    ({"messages": None}, "messages", "is required"),
    ({"messages": []}, "messages", "is empty"),
    ({"messages": "Hi."}, "messages", "must be a list"),
    ({"messages": [user("Hi."), "Hi."]}, "messages.1", "must be a JSON object"),
    ({"messages": [{"content": "Hi."}]}, "messages.0.role", "is required"),
    ({"messages": [{"role": "robot", "content": "a"}]}, "messages.0.role", "known are system"),
    ({"messages": [{"rol": "user", "content": "a"}]}, "messages.0.rol", "did you mean 'role'"),
    ({"messages": [{"role": "user"}]}, "messages.0.content", "is required"),
    ({"messages": [{"role": "user", "contnet": "a"}]}, "messages.0.contnet", "'content'"),
    ({"messages": [user("a"), user(7)]}, "messages.1.content", "must be a text"),
    ({"messages": [user([{"text": 7}])]}, "messages.0.content.0.type", "is required"),
    ({"messages": [user([{"type": "text", "text": 7}])]}, "messages.0.content.0.text", "a text"),
    ({"messages": [user([7])]}, "messages.0.content.0", "content part"),
    ({"messages": [user("a", name=7)]}, "messages.0.name", "must be a text"),
    ({"messages": [user("\ud83d")]}, "messages.0.content", "half of a character"),
    ({"messages": [user("a"), user("x" * 100_001)]}, "messages.1.content", "100,000 characters"),
    ({"model": None}, "model", "is required"),
    ({"model": ""}, "model", "is required"),
    ({"model": 7}, "model", "must be the name"),
    ({"tool_choice": "required"}, "tool_choice", "no tool can be called"),
    ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "no tool"),
    ({"response_format": {"type": "json_object"}}, "response_format", "plain text"),
    ({"response_format": {"type": "json_schema"}}, "response_format", "plain text"),
    ({"logprobs": True}, "logprobs", "no probabilities"),
    ({"top_logprobs": 3}, "top_logprobs", "no probabilities"),
    ({"n": 9}, "n", "from 1 to 8"),
    ({"n": 0}, "n", "from 1 to 8"),
    ({"temprature": 1}, "temprature", "did you mean 'temperature'"),
    ({"mesages": []}, "mesages", "did you mean 'messages'"),
    ({"respond_ass": "auto"}, "respond_ass", "did you mean 'respond_as'"),
    ({"user_nmae": "Robin"}, "user_nmae", "did you mean 'user_name'"),
    ({"persona": {"naem": "Ragna"}}, "persona.naem", "did you mean 'name'"),
    ({"persona": "Ragna"}, "persona", "must be a JSON object"),
    ({"history": []}, "history", "send `messages`"),
    ({"message": "Hi."}, "message", "send `messages`"),
    ({"gen": {}}, "gen", "by themselves"),
    ({"temperature": "hot"}, "temperature", "must be a number"),
    ({"temperature": True}, "temperature", "must be a number"),
    ({"stop": [7]}, "stop.0", "must be a text"),
    ({"stream": "perhaps"}, "stream", "true or false"),
    ({"stream_options": True}, "stream_options", "must be a JSON object"),
    ({"user": ["a"]}, "user", "must be a text"),
    ({"user": "x" * 201}, "user", "200 characters"),
]


@pytest.mark.parametrize(("sent", "field", "told"), WRONG)
def test_a_mistake_that_matters_is_named_as_it_was_sent(sent: JSON, field: str, told: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_chat({"model": "iyagi", "messages": [user("Hi.")], **sent})
    assert refused.value.field == field
    assert refused.value.message.startswith(f"{field}: ") and told in refused.value.message


VALUES: JSON = {
    "persona": {"name": "하늘"}, "story": [{"id": "a", "order": 1, "text": "b"}], "meta": {"a": 1},
    "respond_as": "narrator", "chat_rag_config": {"recency": 0.5}, "story_rag_config": {"top_k": 2},
    "narrator_plays_people": True, "story_position": 3, "timestamp": "2026-03-01T12:05:00+09:00",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted(ChatRequest.model_fields.keys() - {"message", "history", "model", "gen"})
)
def test_every_field_of_a_request_can_stand_beside_openais(name: str) -> None:
    value = VALUES.get(name, "x")
    plain = ChatRequest.model_validate({"message": "Hi.", "persona": {"name": "a"}, name: value})
    assert getattr(request(user("Hi."), **{name: value}), name) == getattr(plain, name)


@pytest.mark.parametrize(
    ("field", "told", "place"),
    [
        ("history.1.content", "is wrong", "messages.2.content"),
        ("history", "is wrong", "messages"),
        ("message", "is wrong", "messages.3.content"),
        ("persona", "card and message are 9 tokens too long; lower gen.max_new_tokens", "messages"),
        ("story.0.id", "is wrong", "story.0.id"),
    ],
)
def test_a_refusal_of_the_turn_names_what_the_client_sent(
    field: str, told: str, place: str
) -> None:
    asked = work(system("You are Sera."), user("a"), assistant("b"), user("c"))
    error = asked.in_words_of_the_client(BadRequest(told, field=field))
    assert error.field == place
    for inside in ("history", "persona:", "card", "gen."):
        assert inside not in error.message


@pytest.mark.parametrize(
    ("sent", "field", "told"),
    [
        ({"prompt": None}, "prompt", "is required"),
        ({"prompt": []}, "prompt", "is empty"),
        ({"prompt": ["a", " "]}, "prompt.1", "is empty"),
        ({"prompt": [1, 2]}, "prompt.0", "tokens"),
        ({"prompt": [[1, 2]]}, "prompt.0", "tokens"),
        ({"prompt": {}}, "prompt", "must be a text"),
        ({"prompt": "a", "suffix": "b"}, "suffix", "leave it out"),
        ({"prompt": ["a"] * 5, "n": 2}, "prompt", "more than 8"),
        ({"prompt": "a", "logprobs": 5}, "logprobs", "no probabilities"),
        ({"promt": "a"}, "promt", "did you mean 'prompt'"),
    ],
)
def test_a_prompt_that_cannot_be_completed_is_refused(sent: JSON, field: str, told: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_prompt({"model": "iyagi", **sent})
    assert refused.value.field == field and told in refused.value.message


def test_a_prompt_is_taken_as_it_is() -> None:
    sent = {"model": "iyagi", "prompt": "Once ", "best_of": 1, "echo": True, "stop": ["\n", ""],
            "suffix": "", "api_server": "x", "logprobs": 0}  # fmt: skip
    body = read_prompt(sent)
    assert (body.prompts, body.echo, body.gen) == (["Once "], True, {"stop": ["\n"]})


@pytest.mark.parametrize("value", [True, "true", False, "false", None, "perhaps"])
def test_whether_a_body_streams_is_told_before_it_is_read(value: Any) -> None:
    assert streams({"stream": value}) is (value in (True, "true"))


TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["[Start a new Chat]", "[Example Chat]", "### Task:", "[Pause your roleplay.]", "Sera: Hi.",
         "You are Sera.", "너는 하늘이야.", "[x]", "[[", "<context>", "a\n\n[b]", "{{char}}",
         "Write A's next reply in a fictional chat between A and B.", "<START>", " ", "：", "A: b"]
    ),
)  # fmt: skip
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
            "content": st.one_of(TEXTS, st.none(), st.lists(TEXTS, max_size=3)),
        },
        optional={"name": st.one_of(st.none(), st.text(max_size=8), st.just("example_user"))},
    ),
    min_size=1,
    max_size=8,
)


@given(messages=MESSAGES, model=st.sampled_from([ANY_MODEL, "Nell Harrow"]))
@settings(max_examples=300, deadline=None)
def test_any_messages_are_a_turn_or_work_and_the_users_words_reach_it(
    messages: list[JSON], model: str
) -> None:
    try:
        asked = work(*messages, model=model)
    except BadRequest as refused:
        assert (refused.field or "").startswith("messages")
        return
    if asked.plain:
        return
    turn = read_request(asked.payload)
    said = [it["content"] for it in messages if it["role"] == "user"][-1:]
    words = " ".join(part for it in said for part in (it if isinstance(it, list) else [it or ""]))
    whole = turn.model_dump_json().casefold()
    for word in words.split():
        bare = word.strip("[]*:：<>#").casefold()
        if bare.isalnum():
            assert bare in whole


CARDS = st.lists(
    st.text(alphabet="abc XYZ가나.,:;!?()-\n", min_size=1, max_size=60), min_size=1, max_size=5
)


@given(cards=CARDS, turns=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_the_text_of_leading_system_messages_is_in_the_persona(
    cards: list[str], turns: int
) -> None:
    said = [line for _ in range(turns) for line in (user("Hi."), assistant("Ahoy."))]
    asked = request(*map(system, cards), *said, user("So?"))
    for card in cards:
        assert card.strip() in asked.persona.description


@pytest.mark.parametrize(
    ("beside", "field"),
    [
        ({"reply_start": 7}, "reply_start"),
        ({"respond_as": "nobody"}, "respond_as"),
        ({"instruction": ["x"]}, "instruction"),
        ({"story": [{"id": "a"}]}, "story.0.order"),
    ],
)
def test_a_field_that_the_client_sent_is_refused_by_its_own_name(
    beside: dict[str, Any], field: str
) -> None:
    asked = work(user("Hi."), assistant("Ahoy"), **beside)
    with pytest.raises(BadRequest) as refused:
        read_request(asked.payload)
    assert asked.in_words_of_the_client(refused.value).field == field
