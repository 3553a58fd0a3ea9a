"""A format by its name: one of ours, or one read from a model's own chat template."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from schemas.errors import SettingsError
from schemas.formats import FORMATS, Format

_SYSTEM, _USER, _REPLY, _NEXT = "§system§", "§user§", "§reply§", "§next§"
"""Texts to find again in what the template renders."""


def format_named(name: str) -> Format:
    """The format of that name, or `template:PATH` for a model's own chat template.

    Raises:
        SettingsError: there is none; the message lists those that exist.
    """
    if name.startswith("template:"):
        return template_format(name.removeprefix("template:"))
    try:
        return FORMATS[name]
    except KeyError:
        raise SettingsError(
            f"unknown prompt format; known are {', '.join(sorted(FORMATS))}, and template:PATH "
            "with a tokenizer_config.json"
        ) from None


@cache
def template_format(path: str) -> Format:
    """The format of the `chat_template` in a `tokenizer_config.json`, or of a `.jinja` file.

    The template is rendered once with known texts, and what stands between them is the format;
    no template runs while prompts are built.

    Raises:
        SettingsError: the file cannot be read, or the template writes a finished turn differently
            from the turn to be generated (as templates with an empty thought in the last turn
            do), so that no prompt would be a prefix of the next.
    """
    render = _Renderer(Path(path))
    user, reply = {"role": "user", "content": _USER}, {"role": "assistant", "content": _REPLY}
    system = render.system()
    asked = render([*system, user], generate=False)
    opened = render([*system, user], generate=True)
    answered = render([*system, user, reply], generate=False)
    whole = render([*system, user, reply, {"role": "user", "content": _NEXT}], generate=True)

    start, _, user_close = asked.partition(_USER)
    reply_open = opened.removeprefix(asked)
    reply_close = answered.partition(_REPLY)[2]
    user_open = whole.partition(_REPLY)[2].partition(_NEXT)[0].removeprefix(reply_close)
    before, _, between = start.partition(_SYSTEM)
    inside = before.endswith(user_open) and bool(user_open)
    form = Format(
        name="template",
        system=("", between) if inside else (before, between.removesuffix(user_open)),
        user=(user_open, user_close),
        assistant=(reply_open, reply_close),
        stops=tuple(stop for stop in dict.fromkeys((render.eos, reply_close.strip())) if stop),
        system_in_user=inside,
    )
    expected = opened + _REPLY + reply_close + user_open + _NEXT + user_close + reply_open
    if whole != expected or not reply_open:
        raise SettingsError(
            f"the chat template of {Path(path).name} changes turns that are already written; "
            "name the format of the model instead, such as chatml"
        )
    return form


class _Renderer:
    """A chat template in a sandbox, with what templates expect to find there."""

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
            settings: dict[str, Any] = {} if path.suffix == ".jinja" else json.loads(text)
            template = settings.get("chat_template", text)
            if isinstance(template, list):  # several named ones
                template = {entry["name"]: entry["template"] for entry in template}["default"]
            environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
            environment.globals["raise_exception"] = _refuse
            self._template = environment.from_string(template)
        except (OSError, ValueError, KeyError, TypeError, TemplateError) as error:
            raise SettingsError(
                f"no chat template can be read from {path.name} ({type(error).__name__}); "
                "give the model's tokenizer_config.json or chat_template.jinja"
            ) from None
        self._name = path.name
        self._bos, self.eos = (_token(settings.get(f"{name}_token")) for name in ("bos", "eos"))

    def system(self) -> list[dict[str, str]]:
        """A system message, where the template knows the role."""
        system = {"role": "system", "content": _SYSTEM}
        try:
            known = _SYSTEM in self._render([system, {"role": "user", "content": _USER}], False)
        except TemplateError:
            known = False
        if not known:
            raise SettingsError(
                f"the chat template of {self._name} takes no system text; name the format of "
                "the model instead, such as gemma"
            )
        return [system]

    def __call__(self, messages: list[dict[str, str]], *, generate: bool) -> str:
        """The messages without the token that the server's tokenizer puts first."""
        try:
            return self._render(messages, generate).removeprefix(self._bos)
        except TemplateError as error:
            raise SettingsError(
                f"the chat template of {self._name} fails on a plain chat "
                f"({type(error).__name__}); name the format of the model instead"
            ) from None

    def _render(self, messages: list[dict[str, str]], generate: bool) -> str:
        return self._template.render(
            messages=messages,
            add_generation_prompt=generate,
            bos_token=self._bos,
            eos_token=self.eos,
            enable_thinking=False,
        )


def _token(entry: object) -> str:
    """A special token, written as a string or as an object."""
    text = entry.get("content", "") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else ""


def _refuse(message: str) -> None:
    raise TemplateError(message)
