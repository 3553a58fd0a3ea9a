"""The bodies of OpenAI's clients, read leniently.

What a client permits or sends by itself is taken: nulls, extras, samplers that we do not have, and
numbers out of range, which are cut to it. What is probably a mistake, or demands what cannot be
given, is refused in the client's own field names, with the place.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from language.korean import is_korean
from openai_api import phrases
from openai_api.lines import Line, Role
from schemas.base import MAX_TEXT
from schemas.errors import BadRequest
from schemas.request import MAX_HISTORY, ChatRequest, GenConfig, Persona, check_size

MAX_CHOICES = 8
"""Replies to one request."""

BESIDE = ChatRequest.model_fields.keys() - {"message", "history", "model", "gen"}
"""Fields of ours that can stand beside OpenAI's."""

_OPENAI = {
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
    *("stop", "user", "n", "temperature", "top_p", "seed", "logprobs", "top_logprobs", "tools"),
    *("tool_choice", "response_format", "frequency_penalty", "presence_penalty", "logit_bias"),
}
_OF_PROMPT = {"prompt", "echo", "suffix"}
_LENGTH = ("max_completion_tokens", "max_tokens", "max_new_tokens", "n_predict", "max_length")
"""Ways to say how long a reply may be, the first that is set counting."""
_NUMBERS = {
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "min_p": ("min_p",),
    "repetition_penalty": ("repetition_penalty", "repeat_penalty", "rep_pen"),
}
"""Our samplers, and what they are called elsewhere."""
_STOPS = ("stop", "stop_sequences", "stopping_strings")
_NEAR = 0.78
"""Likeness from which an unknown field is probably a known one, misspelt."""
_INSTEAD = {
    "message": "send `messages`",
    "history": "send `messages`",
    "gen": "send its fields by themselves: `temperature`, `max_tokens`, `top_p`, ...",
}
"""Fields of our own requests that OpenAI has other words for."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "tool": "system",
    "function": "system",
    "user": "user",
    "assistant": "assistant",
}
_ELSEWHERE: dict[str, Role] = {
    "human": "user",
    **dict.fromkeys(("ai", "model", "bot", "character", "narrator"), "assistant"),
}
"""What roles are called in other APIs, and in the histories of our own requests."""
_PICTURES = {"en": {"image": "image", "audio": "audio", "video": "video", "file": "file"}}
_PICTURES["ko"] = {"image": "사진", "audio": "음성", "video": "영상", "file": "파일"}
_RECENT = 5
"""Messages of the user that tell the language of the chat."""


@dataclass(frozen=True)
class Asked:
    """What the bodies of all endpoints have."""

    model: str
    stream: bool
    include_usage: bool
    n: int
    gen: dict[str, Any]
    """Sampling, in the fields of a GenConfig."""


@dataclass(frozen=True)
class ChatBody(Asked):
    """The body of a chat completion."""

    lines: list[Line] = field(default_factory=list)
    beside: dict[str, Any] = field(default_factory=dict)
    """Fields of a ChatRequest that stand in the body."""
    persona: Persona | None = None
    user_id: str | None = None
    user_name: str | None = None
    korean: bool = False
    """The user writes Korean."""


@dataclass(frozen=True)
class PromptBody(Asked):
    """The body of a completion."""

    prompts: list[str] = field(default_factory=list)
    echo: bool = False


def streams(body: dict[str, Any]) -> bool:
    """Whether a body asks for its answer in pieces; a wrong value is told when it is read."""
    value = body.get("stream")
    return value.lower() == "true" if isinstance(value, str) else value in (True, 1)


def read_chat(body: dict[str, Any]) -> ChatBody:
    """The body of a chat completion.

    Raises:
        BadRequest: names the field as the client sent it, its place and the cure.
    """
    sent = _sent(body, _OPENAI | BESIDE)
    _refuse_demands(sent)
    if "messages" not in sent:
        raise BadRequest("is required; add it", field="messages")
    persona = _persona(sent.get("persona"))
    korean = is_korean("\n".join(_texts_of_users(sent["messages"])))
    lines = _lines(sent["messages"], korean=korean)
    user_id, user_name = _user(sent)
    return ChatBody(
        **_asked(sent),
        lines=lines,
        beside={name: sent[name] for name in BESIDE & sent.keys() if name != "persona"},
        persona=persona,
        user_id=user_id,
        user_name=user_name,
        korean=korean,
    )


def read_prompt(body: dict[str, Any]) -> PromptBody:
    """The body of a completion.

    Raises:
        BadRequest: names the field as the client sent it, and the cure.
    """
    sent = _sent(body, (_OPENAI | _OF_PROMPT) - {"messages"})
    _refuse_demands(sent)
    if sent.get("suffix"):
        raise BadRequest("cannot be written towards; leave it out", field="suffix")
    prompts = _prompts(sent.get("prompt"))
    asked = _asked(sent)
    if len(prompts) * asked["n"] > MAX_CHOICES:
        raise BadRequest(f"asks for more than {MAX_CHOICES} texts; send fewer", field="prompt")
    return PromptBody(**asked, prompts=prompts, echo=_flag(sent, "echo"))


# The fields


def _sent(body: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The fields that are set; of unknown ones those that look like a slip are refused."""
    check_size(_read_of(body))
    names = {*known, *_LENGTH, *_STOPS, *(name for names in _NUMBERS.values() for name in names)}
    sent = {str(name): value for name, value in body.items() if value is not None}
    for name in sorted(sent.keys() - names - phrases.words("elsewhere")):
        if cure := _INSTEAD.get(name):
            raise BadRequest(f"is no field of this endpoint; {cure}", field=name)
        if near := difflib.get_close_matches(name[:50], sorted(names), n=1, cutoff=_NEAR):
            raise BadRequest(f"unknown field; did you mean {near[0]!r}?", field=name[:50])
    return sent


def _read_of(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what is left out of it anyway, and may be large: tools, pictures and the
    like, which programs send with every turn."""
    kept = {name: value for name, value in body.items() if name not in ("tools", "functions")}
    if isinstance(messages := body.get("messages"), list):
        kept["messages"] = [_without_data(message) for message in messages]
    return kept


def _without_data(message: object) -> object:
    if not isinstance(message, dict) or not isinstance(parts := message.get("content"), list):
        return message
    texts = [part for part in parts if not isinstance(part, dict) or "text" in part]
    return {**message, "content": texts}


def _refuse_demands(sent: dict[str, Any]) -> None:
    """Refuses what a client needs and cannot get."""
    for name in ("tool_choice", "function_call"):
        choice = sent.get(name)
        if isinstance(choice, dict) or choice in ("required", "any"):
            raise BadRequest("no tool can be called here; send auto or none", field=name)
    for name in ("logprobs", "top_logprobs"):
        if sent.get(name) not in (None, False, 0, "false"):
            raise BadRequest("no probabilities are given here; leave it out", field=name)
    form = sent.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else form
    if kind not in (None, "", "text", "auto"):
        raise BadRequest(
            "replies are plain text here, with no JSON promised; leave it out, or send "
            '{"type": "text"}',
            field="response_format",
        )


def _asked(sent: dict[str, Any]) -> dict[str, Any]:
    """What all bodies share."""
    model = sent.get("model")
    if model is None or (isinstance(model, str) and not model.strip()):
        raise BadRequest("is required; name one that GET /v1/models lists", field="model")
    if not isinstance(model, str) or len(model) > 200:
        raise BadRequest("must be the name of a model", field="model")
    options = sent.get("stream_options") or None
    if options is not None and not isinstance(options, dict):
        raise BadRequest("must be a JSON object", field="stream_options")
    return {
        "model": model.strip(),
        "stream": _flag(sent, "stream"),
        "include_usage": _flag(options or {}, "include_usage"),
        "n": _choices(sent),
        "gen": _sampling(sent),
    }


def _flag(sent: dict[str, Any], name: str) -> bool:
    value = sent.get(name, False)
    if isinstance(value, str):
        value = {"true": True, "false": False, "": False}.get(value.lower(), value)
    if value not in (True, False, None):
        raise BadRequest("must be true or false", field=name)
    return bool(value)


def _choices(sent: dict[str, Any]) -> int:
    number = _number(sent, "n")
    if number is None:
        return 1
    if not 1 <= number <= MAX_CHOICES or number != int(number):
        raise BadRequest(f"must be from 1 to {MAX_CHOICES}", field="n")
    return int(number)


def _number(sent: dict[str, Any], name: str) -> float | int | None:
    """A number, also one in a text; None where it is not set or is none (NaN, infinity).

    Raises:
        BadRequest: it is something else.
    """
    value = sent.get(name)
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = float(value[:50])
        except ValueError:
            raise BadRequest("must be a number", field=name) from None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest("must be a number", field=name)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _sampling(sent: dict[str, Any]) -> dict[str, Any]:
    """The fields of a GenConfig, cut to what it holds."""
    gen: dict[str, Any] = {}
    lengths = (_number(sent, name) for name in _LENGTH)
    length = next((int(number) for number in lengths if number is not None), 0)
    if length > 0:
        gen["max_new_tokens"] = _cut("max_new_tokens", length)
    for ours, names in _NUMBERS.items():
        number = next((it for name in names if (it := _number(sent, name)) is not None), None)
        if number is not None:
            gen[ours] = _cut(ours, int(number) if ours == "top_k" else number)
    seed = _number(sent, "seed")
    if seed is not None and seed != -1:
        gen["seed"] = int(seed) % 2**32
    if stops := _stop(sent):
        gen["stop"] = stops
    return gen


def _cut(name: str, number: float) -> float:
    """A number within the bounds of a field of a GenConfig."""
    for bound in GenConfig.model_fields[name].metadata:
        number = max(number, getattr(bound, "ge", number))
        number = min(number, getattr(bound, "le", number))
        if (over := getattr(bound, "gt", None)) is not None and number <= over:
            number = over + 0.01
    return number


MAX_STOPS, MAX_STOP = 16, 100
"""Stop strings, and characters of one, as a GenConfig holds them."""


def _stop(sent: dict[str, Any]) -> list[str]:
    """The stop strings that can be looked for; of more or longer ones the first."""
    found: list[str] = []
    for name in _STOPS:
        value = sent.get(name)
        listed = value if isinstance(value, list) else [value]
        for row, text in enumerate(listed):
            if text is None:
                continue
            if not isinstance(text, str):
                place = f"{name}.{row}" if isinstance(value, list) else name
                raise BadRequest("must be a text", field=place)
            _check_text(text, name)
            if 0 < len(text) <= MAX_STOP:
                found.append(text)
    return list(dict.fromkeys(found))[:MAX_STOPS]


def _user(sent: dict[str, Any]) -> tuple[str | None, str | None]:
    """The user's id and name. `user` is an id; some programs send an object with both."""
    user: Any = sent.get("user")
    name = None
    if isinstance(user, dict):
        user, name = user.get("id"), user.get("name")
    if user is not None and not isinstance(user, str | int):
        raise BadRequest("must be a text", field="user")
    text = str(user).strip() if user is not None else ""
    if len(text) > 200:
        raise BadRequest("has more than 200 characters; shorten it", field="user")
    _check_text(text, "user")
    return text or None, name if isinstance(name, str) else None


def _persona(value: object) -> Persona | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadRequest("must be a JSON object", field="persona")
    try:
        return Persona.model_validate(value)
    except ValidationError as error:
        told = BadRequest.from_validation(error, Persona)
        place = f"persona.{told.field}" if told.field else "persona"
        raise BadRequest(told.message.removeprefix(f"{told.field}: "), field=place) from None


# The messages


def _texts_of_users(messages: object) -> list[str]:
    """What the user wrote last, whatever its shape."""
    rows = [row for row in messages if isinstance(row, dict)] if isinstance(messages, list) else []
    users = [row for row in rows if row.get("role") == "user"] or rows
    recent = [row.get("content") for row in users[-_RECENT:]]
    texts: list[str] = []
    for content in recent:
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                texts.append(text[:2_000])
    return texts


def _lines(messages: object, *, korean: bool) -> list[Line]:
    if not isinstance(messages, list):
        raise BadRequest("must be a list of messages", field="messages")
    if not messages:
        raise BadRequest("is empty; send at least one message", field="messages")
    if len(messages) > MAX_HISTORY:
        raise BadRequest(f"has more than {MAX_HISTORY:,} items; send fewer", field="messages")
    return [_line(message, row, korean=korean) for row, message in enumerate(messages)]


def _line(message: object, row: int, *, korean: bool) -> Line:
    place = f"messages.{row}"
    if not isinstance(message, dict):
        raise BadRequest("must be a JSON object with `role` and `content`", field=place)
    told = message.get("role")
    called = told.strip().lower() if isinstance(told, str) else ""
    role = _ROLES.get(called) or _ELSEWHERE.get(called)
    if role is None:
        if told is None:
            _refuse_slip(message, "role", place)
            raise BadRequest("is required; add it", field=f"{place}.role")
        raise BadRequest(f"unknown; known are {', '.join(_ROLES)}", field=f"{place}.role")
    if "content" not in message:
        _refuse_slip(message, "content", place)
        if role != "assistant":
            raise BadRequest("is required; add it", field=f"{place}.content")
    text, shows = _content(message.get("content"), f"{place}.content", korean=korean)
    if not text and role == "assistant" and message.get("refusal"):
        text, shows = _content(message["refusal"], f"{place}.refusal", korean=korean)
    name = message.get("name") or ("narrator" if called == "narrator" else None)
    if name is not None and not isinstance(name, str):
        raise BadRequest("must be a text", field=f"{place}.name")
    if name:
        _check_text(name, f"{place}.name")
    return Line(role, text, row, name or None, shows)


def _refuse_slip(message: dict[Any, Any], wanted: str, place: str) -> None:
    """Refuses a message without a field where another looks like it, misspelt."""
    names = [str(name)[:50] for name in message]
    if near := difflib.get_close_matches(wanted, names, n=1, cutoff=0.7):
        told = f"unknown field; did you mean {wanted!r}?"
        if near[0] != wanted:
            raise BadRequest(told, field=f"{place}.{near[0]}")


def _content(content: object, place: str, *, korean: bool) -> tuple[str, bool]:
    """A content as one text, and whether it shows what a text cannot."""
    if content is None:
        return "", False
    if isinstance(content, str):
        _check_text(content, place)
        return content, False
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise BadRequest("must be a text or a list of parts", field=place)
    texts: list[str] = []
    shows = False
    for row, part in enumerate(content):
        text, shown = _part(part, f"{place}.{row}", korean=korean)
        texts += [text] if text else []
        shows |= shown
    joined = "\n".join(texts)
    _check_text(joined, place)
    return joined, shows


def _part(part: object, place: str, *, korean: bool) -> tuple[str, bool]:
    """A part of a content: its text, or one word for what is no text."""
    if isinstance(part, str):
        return part, False
    if not isinstance(part, dict):
        raise BadRequest("must be a content part, such as a text", field=place)
    for name in ("text", "refusal"):
        if isinstance(text := part.get(name), str):
            return text, False
    kind = part.get("type")
    if not isinstance(kind, str):
        raise BadRequest("is required; add it", field=f"{place}.type")
    if kind in ("text", "input_text", "output_text", "refusal"):
        if part.get("text") is None:
            return "", False
        raise BadRequest("must be a text", field=f"{place}.text")
    words = _PICTURES["ko" if korean else "en"]
    name = next((word for key, word in words.items() if key in kind), words["file"])
    return f"[{name}]", True


def _check_text(text: str, place: str) -> None:
    """Refuses what no request can hold: it is too long, or holds half a character."""
    if len(text) > MAX_TEXT:
        raise BadRequest(f"has more than {MAX_TEXT:,} characters; shorten it", field=place)
    _check_unicode(text, place)


def _prompts(prompt: object) -> list[str]:
    if prompt is None:
        raise BadRequest("is required; add it", field="prompt")
    listed = prompt if isinstance(prompt, list) else [prompt]
    if not listed:
        raise BadRequest("is empty; send a text", field="prompt")
    for row, text in enumerate(listed):
        place = f"prompt.{row}" if isinstance(prompt, list) else "prompt"
        if isinstance(text, int | list):
            raise BadRequest("holds tokens, and only text can be read here", field=place)
        if not isinstance(text, str):
            raise BadRequest("must be a text", field=place)
        if not text.strip():
            raise BadRequest("is empty; send a text", field=place)
        _check_unicode(text, place)
    return [str(text) for text in listed]


def _check_unicode(text: str, place: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        told = "holds half of a character (a lone surrogate); send valid Unicode text"
        raise BadRequest(told, field=place) from None
