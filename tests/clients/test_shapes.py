"""What chat programs and client libraries send, as requests to the server: each holds a chat."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.clients.door import CARD, GREETING, LORE, MODEL, TASK_ANSWER, Door, open_door, said
from tests.clients.shapes import (
    BEFORE,
    BESIDE,
    CHATS,
    ECHOED,
    JSON,
    PERSONA,
    PLAYED,
    TASKS,
    TOOLS,
    WRONG,
    assistant,
    system,
    user,
)

CHAT = "/chat/completions"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("door")) as door:
        yield door


@pytest.fixture
def door(opened: Door) -> Door:
    opened.clear()
    return opened


def post(door: Door, path: str = CHAT, **body: Any) -> httpx.Response:
    return httpx.post(door.url + path, json={"model": "Sera", **body}, timeout=30)


def answered(answer: httpx.Response) -> str:
    """The text of a reply, streamed or not."""
    assert answer.status_code == 200, answer.text
    if "text/event-stream" not in answer.headers["content-type"]:
        [choice] = answer.json()["choices"]
        assert choice["finish_reason"] == "stop"
        return str(choice["message"]["content"])
    return "".join(
        choice["delta"].get("content") or ""
        for event in events(answer)
        for choice in event["choices"]
    )


def events(answer: httpx.Response) -> list[JSON]:
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def error_of(answer: httpx.Response) -> JSON:
    """The error, in the shape that OpenAI's clients read, in a caller's words."""
    error: JSON = answer.json()["error"]
    assert error["message"] and error["type"] and {"code", "param"} <= error.keys()
    for inside in (
        "ChatRequest",
        "payload",
        "openai_input",
        "openai_route",
        "persona: is required",
    ):
        assert inside not in error["message"]
    return error


# ---- what is echoed, permitted or made up by a client is a chat ----


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", ECHOED)
def test_a_reply_comes_back_as_a_client_keeps_it(door: Door, name: str, stream: bool) -> None:
    messages = [user("Is the lamp lit?"), ECHOED[name], user("And the door?")]
    assert answered(post(door, messages=messages, stream=stream)) == said(2)
    [prompt] = door.prompts
    assert prompt.count(said(1)) == 1 and prompt.count("And the door?") == 1
    assert "refusal" not in prompt and "Sera: Sera" not in prompt


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", BESIDE)
def test_what_a_client_sends_beside_the_messages_is_taken(
    door: Door, name: str, stream: bool
) -> None:
    body = {"messages": [*BEFORE, user("And the door?")], "stream": stream, **BESIDE[name]}
    assert answered(post(door, **body)) == said(2)
    [asked] = door.model.requests
    assert 0 < asked["max_tokens"] <= 4096
    assert "" not in asked.get("stop", [])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", CHATS)
def test_any_order_of_messages_is_a_chat_with_the_character(
    door: Door, name: str, stream: bool
) -> None:
    messages, reply, holds = CHATS[name]
    assert answered(post(door, messages=messages, stream=stream)) == reply
    [prompt] = door.prompts
    assert prompt.count(CARD) == 1 and prompt.count(LORE) == 1
    assert all(text in prompt for text in holds), prompt
    assert "base64" not in prompt and "image_url" not in prompt and "tool_calls" not in prompt


def test_pictures_do_not_count_as_text(door: Door) -> None:
    """Programs send all pictures of a chat with every turn."""
    photo = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4_000_000}}
    chat = [user([photo]), assistant(said(1)), user([{"type": "text", "text": "And this?"}, photo])]
    assert answered(post(door, messages=chat)) == said(2)
    [prompt] = door.prompts
    assert prompt.count("[image]") == 2 and "And this?" in prompt and "AAAA" not in prompt


def test_an_unfinished_reply_is_continued(door: Door) -> None:
    begun = "*lifts the lantern* The stairs are"
    kinds: list[JSON] = [{}, {"continue_final_message": True, "add_generation_prompt": False}]
    for more in kinds:
        reply = answered(post(door, messages=[user("Up?"), assistant(begun)], **more))
        assert "lifts the lantern" not in reply and "Answer 1 is ready." in reply
        assert door.prompts[-1].endswith(begun)


# ---- who is spoken to ----


def test_every_listed_model_answers(door: Door) -> None:
    listed = httpx.get(f"{door.url}/models").json()
    names = [model["id"] for model in listed["data"]]
    assert listed["object"] == "list" and {"Sera", "도윤", MODEL, "iyagi"} <= set(names)
    for name in names:
        assert httpx.get(f"{door.url}/models/{name}").json()["id"] == name
        for spelled in {name, name.upper()}:
            assert httpx.get(f"{door.url}/models/{spelled}").json()["id"] == name
            for messages in ([user("Hello.")], [system(PERSONA), user("Hello.")]):
                assert answered(post(door, model=spelled, messages=messages)) == said(1)
                assert ("Uppsala" in door.prompts[-1]) == (len(messages) == 2)


@pytest.mark.parametrize("model", [MODEL, "iyagi", "Sera"])
def test_a_system_prompt_is_pinned_however_long_the_chat(door: Door, model: str) -> None:
    """As Open WebUI sends it: one message, with what it summed up at its end."""
    who = f"{PERSONA}\n[CONVERSATION SUMMARY]\nRagna owes the user a sword."
    chat = [system(who)]
    for n in range(80):
        chat += [
            user(f"Line {n}: how hot is the forge?"),
            assistant(f"Hot. I said so {n} times. " * 8),
        ]
    reply = answered(post(door, model=model, messages=[*chat, user("And the sword?")], stream=True))
    assert reply == said(1)
    [prompt] = door.prompts
    assert (
        prompt.count("lost an eye at Uppsala") == 1 and prompt.count("owes the user a sword") == 1
    )
    assert "And the sword?" in prompt and "I said so 79 times" in prompt
    assert prompt.index("Uppsala") < prompt.index("I said so 79 times")
    assert CARD not in prompt and LORE not in prompt  # the client has a character of its own


def test_a_greeting_is_part_of_all_turns_or_of_none(door: Door) -> None:
    lines = [user("Hello.")]
    for turn in (1, 2, 3):
        reply = answered(post(door, messages=lines))
        assert reply == said(turn)
        lines += [assistant(reply), user(f"And {turn}?")]
    assert len({GREETING in prompt for prompt in door.prompts}) == 1
    shown = [assistant("*waves from the gallery* Mind the wet steps, User."), *lines]
    assert answered(post(door, messages=shown)) == said(4)
    assert door.prompts[-1].count(GREETING) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_was_sent_can_be_sent_back_whole(door: Door, stream: bool) -> None:
    lines: list[JSON] = []
    for turn in (1, 2, 3):
        lines.append(user(f"Line {turn}."))
        answer = post(door, messages=lines, stream=stream)
        if stream:
            message: JSON = {}
            for delta in (
                choice["delta"] for event in events(answer) for choice in event["choices"]
            ):
                message |= {
                    **delta,
                    "content": message.get("content", "") + (delta.get("content") or ""),
                }
        else:
            message = answer.json()["choices"][0]["message"]
        assert message["content"] == said(turn)
        lines.append(message)


def test_a_korean_user_is_answered_in_korean(door: Door) -> None:
    """Whatever the language of the card; nothing of the kind stands in an English chat."""
    chat = [user("대장간이 뜨거워요?"), assistant("뜨겁지."), user("칼은요?")]
    answered(post(door, model=MODEL, messages=[system(PERSONA), *chat]))
    assert "한국어" in door.prompts[-1] or "Korean" in door.prompts[-1]
    korean = "너는 라그나, 웁살라에서 한쪽 눈을 잃은 대장장이다."
    answered(post(door, model=MODEL, messages=[system(korean), *chat]))
    assert "라그나:" in door.prompts[-1] and "You " not in door.prompts[-1]
    answered(post(door, model=MODEL, messages=[system(PERSONA), user("Is the forge hot today?")]))
    assert "한국어" not in door.prompts[-1] and "Korean" not in door.prompts[-1]


# ---- what a program asks for itself is plain work ----


@pytest.mark.parametrize("who", [[], [system(PERSONA)]], ids=["alone", "with a system prompt"])
@pytest.mark.parametrize("name", TASKS)
def test_a_task_never_runs_as_the_character(door: Door, name: str, who: list[JSON]) -> None:
    assert answered(post(door, messages=[*who, *TASKS[name]], max_tokens=1000)) == TASK_ANSWER
    [prompt] = door.prompts
    assert TASKS[name][-1]["content"].splitlines()[-1] in prompt
    assert not [
        text for text in (CARD, LORE, GREETING, "Narrator", "in character") if text in prompt
    ]


@pytest.mark.parametrize("line", PLAYED)
def test_a_player_who_says_the_like_is_answered_by_the_character(door: Door, line: str) -> None:
    assert answered(post(door, messages=[*BEFORE, user(line)])) == said(2)
    [prompt] = door.prompts
    assert CARD in prompt and prompt.count(line.splitlines()[-1]) == 1


def test_a_whole_turn_of_open_webui(door: Door) -> None:
    """The reply and then three tasks at once, the second turn after them."""
    chat = [system("Call me Robin."), user("Is the lamp lit?")]
    beside: JSON = {"stream": True, "stream_options": {"include_usage": True}, "tools": TOOLS}
    for turn in (1, 2):
        answer = post(door, messages=chat, **beside)
        assert answered(answer) == said(turn)
        assert events(answer)[-1]["usage"]["completion_tokens"] > 0
        door.clear()
        tasks = [TASKS[name] for name in ("title", "tags", "follow-ups")]
        with ThreadPoolExecutor() as pool:
            for done in pool.map(lambda task: post(door, messages=task, stream=False), tasks):
                assert json.loads(answered(done))["title"]
        assert len(door.prompts) == 3 and not [p for p in door.prompts if CARD in p or LORE in p]
        door.clear()
        chat += [assistant(said(turn)), user("And the fog?")]


def test_the_headers_of_open_webui_are_taken(door: Door) -> None:
    headers = {"X-OpenWebUI-User-Id": "u1", "X-OpenWebUI-User-Name": "%EB%A1%9C%EB%B9%88",
               "X-OpenWebUI-User-Role": "user", "X-OpenWebUI-Chat-Id": "c-1"}  # fmt: skip
    body = {"model": "Sera", "messages": [user("Hello.")]}
    assert answered(httpx.post(door.url + CHAT, json=body, headers=headers)) == said(1)


# ---- clients that send the newest lines alone ----

OPEN_WEBUI = {"X-OpenWebUI-User-Id": "robin", "X-OpenWebUI-Chat-Id": "c-1"}
KNOWN_BY: dict[str, tuple[JSON, dict[str, str]]] = {
    "the headers of Open WebUI": ({}, OPEN_WEBUI),
    "a session's header": ({"user": "kim"}, {"X-Iyagi-Session": "s-1"}),
    "fields in the body": ({"user_id": "lee", "session_id": "s-1"}, {}),
    "what was said": ({"user": "park"}, {}),
}


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    home = tmp_path_factory.mktemp("remembering")
    with open_door(home, IYAGI_STANDING_MEMORY="true") as door:
        yield door


@pytest.mark.parametrize("name", KNOWN_BY)
def test_a_chat_is_remembered_beyond_what_is_sent(remembering: Door, name: str) -> None:
    beside, headers = KNOWN_BY[name]

    def say(lines: list[JSON], beside: JSON = beside, **more: str) -> str:
        body = {"model": "Sera", "messages": lines[-11:], **beside}
        answer = httpx.post(remembering.url + CHAT, json=body, headers={**headers, **more})
        answered(answer)
        return remembering.prompts[-1]

    lines = [user("My grandmother Hildegard kept bees on the mainland.")]
    for turn in range(14):
        say(lines)
        say([*lines[-10:], *TASKS["NextChat's title"][-1:]])
        lines += [assistant(f"Wave number {turn}."), user(f"I count {turn} gulls over the pier.")]
    lines[-1] = user("What was my grandmother's name, and what did she keep?")
    prompt = say(lines)
    assert "Hildegard" in prompt and "four to five word title" not in prompt
    stranger: JSON = {key: "stranger" if "user" in key else value for key, value in beside.items()}
    of_another = {"X-OpenWebUI-User-Id": "stranger"} if headers is OPEN_WEBUI else {}
    assert "Hildegard" not in say(lines, stranger, **of_another)


# ---- text completions ----


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["Sera", MODEL, "iyagi"])
def test_a_text_is_completed_by_the_model_alone(door: Door, model: str, stream: bool) -> None:
    prompt = "system: You are Ragna.\nuser: Hello.\nassistant: "
    answer = post(door, "/completions", model=model, prompt=prompt, stream=stream, stop=["\nuser:"])
    assert answer.status_code == 200, answer.text
    parts = events(answer) if stream else [answer.json()]
    assert {part["object"] for part in parts} == {"text_completion"}
    text = "".join(choice["text"] for part in parts for choice in part["choices"])
    assert text.strip() == said(1)
    assert CARD not in door.prompts[-1] and "You are Ragna." in door.prompts[-1]


def test_several_texts_are_several_choices(door: Door) -> None:
    done = post(door, "/completions", prompt=["One day", "One night"], max_tokens=20).json()
    assert [choice["index"] for choice in done["choices"]] == [0, 1]
    assert sorted("One day" in prompt for prompt in door.prompts) == [False, True]


# ---- several replies, and what they cost ----


def test_n_replies(door: Door) -> None:
    whole = post(door, messages=[*BEFORE, user("So?")], n=2, seed=7).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert {choice["message"]["content"] for choice in whole["choices"]} == {said(2)}
    assert len({asked["seed"] for asked in door.model.requests}) == 2
    parts = events(post(door, messages=[*BEFORE, user("So?")], n=2, stream=True))
    for index in (0, 1):
        choices = [
            choice for part in parts for choice in part["choices"] if choice["index"] == index
        ]
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == said(2)
        assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]


def test_the_cost_is_told_where_it_is_asked_for(door: Door) -> None:
    parts = events(
        post(door, messages=[user("So?")], stream=True, stream_options={"include_usage": True})
    )
    assert parts[-1]["choices"] == [] and not any(part.get("usage") for part in parts[:-1])
    usage = parts[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert post(door, messages=[user("So?")]).json()["usage"].keys() >= usage.keys()
    assert not any(
        part.get("usage") for part in events(post(door, messages=[user("So?")], stream=True))
    )


# ---- who hangs up ends the work ----


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", [CHAT, "/completions"])
def test_hanging_up_ends_the_work(door: Door, path: str, stream: bool) -> None:
    asked: JSON = {"messages": [user("It WAITS.")]} if path == CHAT else {"prompt": "It WAITS."}
    content = json.dumps({"model": "Sera", "stream": stream, **asked}).encode()
    assert door.work_ended()
    at = urlsplit(door.url)
    with socket.create_connection((at.hostname or "", at.port or 0)) as line:
        head = [f"POST {at.path}{path} HTTP/1.1", f"Host: {at.netloc}", "Accept: */*"]
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        line.sendall("\r\n".join([*head, "", ""]).encode() + content)
        assert door.work_began()
    assert door.work_ended()


# ---- what is refused, in words and at its place ----


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_as_the_client_sent_it(door: Door, name: str) -> None:
    body, status, field = WRONG[name]
    answer = post(door, **{"messages": [user("Hello.")], **body})
    assert answer.status_code == status, answer.text
    error = error_of(answer)
    assert str(error["param"]).startswith(str(field)) and error["type"] == "invalid_request_error"
    assert "\n" not in error["message"] and not door.prompts


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff", b'{"model": "Sera"'])
def test_a_body_that_is_no_object_is_named(door: Door, content: bytes) -> None:
    for path in (CHAT, "/completions"):
        answer = httpx.post(door.url + path, content=content)
        assert answer.status_code == 400 and error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "path", ["/responses", "/embeddings", "/chat", "/nothing", "/models/gpt-4"]
)
def test_what_is_not_here_says_what_is(door: Door, path: str) -> None:
    method = "GET" if path.startswith("/models") else "POST"
    answer = httpx.request(method, door.url + path, json={"model": "Sera", "input": "Hello."})
    assert answer.status_code == 404
    told = "Sera" if path.startswith("/models") else "/v1/chat/completions"
    assert told in error_of(answer)["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("PUT", CHAT), ("POST", "/models")])
def test_a_wrong_method_says_which_endpoints_there_are(door: Door, method: str, path: str) -> None:
    answer = httpx.request(method, door.url + path)
    assert answer.status_code == 405
    assert "/v1/chat/completions" in error_of(answer)["message"]


# ---- what OpenAI's own client makes of it ----


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server with two keys, each for three requests an hour."""
    home = tmp_path_factory.mktemp("locked")
    with open_door(home, IYAGI_API_KEYS="key-one,key-two", IYAGI_RATE_LIMIT="3/hour") as door:
        yield door


def client_of(door: Door, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=door.url, api_key=key, max_retries=0)


def test_errors_are_of_the_clients_own_kinds(door: Door) -> None:
    lines: list[Any] = [user("Hello.")]
    with client_of(door) as client:
        with pytest.raises(openai.BadRequestError, match="tool") as refused:
            client.chat.completions.create(model="Sera", messages=lines, tool_choice="required")
        assert refused.value.param == "tool_choice"
        with pytest.raises(openai.NotFoundError, match="Sera") as missing:
            client.chat.completions.create(model="gpt-4", messages=lines)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError, match="/v1/chat/completions"):
            client.responses.create(model="Sera", input="Hello.")
        with pytest.raises(openai.NotFoundError, match="/v1/chat/completions"):
            client.embeddings.create(model="Sera", input="Hello.")


def test_a_key_is_wanted_and_a_rate_is_kept(locked: Door) -> None:
    lines: list[Any] = [user("Hello.")]
    for key in ("none", "", "key-thre", "key-one,key-two"):
        with (
            client_of(locked, key or "x") as client,
            pytest.raises(openai.AuthenticationError) as no,
        ):
            client.chat.completions.create(model="Sera", messages=lines)
        assert "key" in str(no.value) and "key-one" not in str(no.value)
    for key in ("key-one", "key-two"):
        with client_of(locked, key) as client:
            for _ in range(3):
                client.chat.completions.create(model="Sera", messages=lines)
            with pytest.raises(openai.RateLimitError, match="try again") as many:
                client.chat.completions.create(model="Sera", messages=lines)
        assert int(many.value.response.headers["retry-after"]) > 0
        assert many.value.type
