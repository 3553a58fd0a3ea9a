"""A chat of three turns with one client library, run where that library is installed.

    python libraries_python.py LIBRARY URL

Every reply goes back to the server as the library's own object. Prints a JSON object: the replies
without and with streaming, and what the library says of a model that is not there and of a reply
that it does not wait for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

LINES = ("Is the lamp lit?", "And the door?", "Good night.")
KEY, MODEL, NOT_THERE = "no-key", "Sera", "gpt-4"
SLOW = "It WAITS."

Chat = Callable[[str, list[Any], bool, float], Any]
"""Model, messages, whether to stream, and seconds to wait: the reply as a message to send back."""


def openai(url: str) -> tuple[Chat, Callable[[str], Any], Callable[[Any], str]]:
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key=KEY, max_retries=0)

    def chat(model: str, messages: list[Any], stream: bool, wait: float) -> Any:
        asked: dict[str, Any] = {"model": model, "messages": messages, "timeout": wait}
        if not stream:
            return client.chat.completions.create(**asked).choices[0].message.model_dump()
        with client.chat.completions.stream(**asked) as events:
            return events.get_final_completion().choices[0].message.model_dump()

    return chat, _user, lambda message: str(message["content"])


def litellm(url: str) -> tuple[Chat, Callable[[str], Any], Callable[[Any], str]]:
    import litellm  # type: ignore[import-not-found]

    def chat(model: str, messages: list[Any], stream: bool, wait: float) -> Any:
        answer = litellm.completion(
            model=f"openai/{model}", api_base=url, api_key=KEY, messages=messages, stream=stream,
            timeout=wait, max_retries=0,
        )  # fmt: skip
        if stream:
            answer = litellm.stream_chunk_builder(list(answer), messages=messages)
        return answer.choices[0].message

    return chat, _user, lambda message: str(message.content)


def langchain(url: str) -> tuple[Chat, Callable[[str], Any], Callable[[Any], str]]:
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

    def chat(model: str, messages: list[Any], stream: bool, wait: float) -> Any:
        llm = ChatOpenAI(model=model, base_url=url, api_key=KEY, timeout=wait, max_retries=0)
        if not stream:
            return llm.invoke(messages)
        first, *rest = llm.stream(messages)
        return sum(rest, first)

    return chat, HumanMessage, lambda message: str(message.content)


def _llamaindex(
    chatting: bool, url: str
) -> tuple[Chat, Callable[[str], Any], Callable[[Any], str]]:
    from llama_index.core.llms import ChatMessage  # type: ignore[import-not-found]
    from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-not-found]

    def chat(model: str, messages: list[Any], stream: bool, wait: float) -> Any:
        llm = OpenAILike(
            model=model, api_base=url, api_key=KEY, is_chat_model=chatting, timeout=wait,
            max_retries=0,
        )  # fmt: skip
        if not stream:
            return llm.chat(messages).message
        *_, last = llm.stream_chat(messages)
        return last.message

    return (
        chat,
        lambda content: ChatMessage(role="user", content=content),
        lambda message: str(message.content),
    )


def llamaindex(url: str) -> tuple[Chat, Callable[[str], Any], Callable[[Any], str]]:
    return _llamaindex(True, url)


def llamaindex_text(url: str) -> tuple[Chat, Callable[[str], Any], Callable[[Any], str]]:
    """As it is by default: with text completions."""
    return _llamaindex(False, url)


def _user(content: str) -> Any:
    return {"role": "user", "content": content}


def main(library: str, url: str) -> None:
    chat, user, content = globals()[library](url)
    told: dict[str, Any] = {}
    for way, stream in (("whole", False), ("stream", True)):
        messages: list[Any] = []
        told[way] = []
        for line in LINES:
            messages.append(user(line))
            messages.append(chat(MODEL, messages, stream, 30))
            told[way].append(content(messages[-1]))
    for name, model, line in (("not there", NOT_THERE, LINES[0]), ("slow", MODEL, SLOW)):
        try:
            chat(model, [user(line)], False, 30 if model == NOT_THERE else 2)
        except Exception as error:  # noqa: BLE001 - which it is differs from library to library
            told[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
