"""A format that is read from a model's own chat template."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from schemas.errors import SettingsError
from schemas.formats import Format

_SYSTEM, _USER, _REPLY, _NEXT = "§system§", "§user§", "§reply§", "§next§"
"""Texts to find again in what the template renders."""


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
    name = Path(path).name
    template, bos, eos = _read(Path(path))

    def render(*said: tuple[str, str], generate: bool = False) -> str:
        messages = [{"role": role, "content": text} for role, text in said]
        tokens = {"bos_token": bos, "eos_token": eos}
        written = template.render(
            messages=messages, add_generation_prompt=generate, enable_thinking=False, **tokens
        )
        return written.removeprefix(bos)  # which the server's tokenizer puts first

    user = (("system", _SYSTEM), ("user", _USER))
    reply, again = ("assistant", _REPLY), ("user", _NEXT)
    try:
        asked = render(*user)
    except TemplateError:
        asked = ""
    if _SYSTEM not in asked:
        raise SettingsError(
            f"the chat template of {name} takes no system text; name the format of the model "
            "instead, such as gemma"
        )
    try:
        opened = render(*user, generate=True)
        answered = render(*user, reply)
        whole = render(*user, reply, again, generate=True)
    except TemplateError as error:
        raise SettingsError(
            f"the chat template of {name} fails on a plain chat ({type(error).__name__}); name the "
            "format of the model instead"
        ) from None

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
        stops=tuple(stop for stop in dict.fromkeys((eos, reply_close.strip())) if stop),
        system_in_user=inside,
    )
    expected = opened + _REPLY + reply_close + user_open + _NEXT + user_close + reply_open
    if whole != expected or not reply_open:
        raise SettingsError(
            f"the chat template of {name} changes turns that are already written; "
            "name the format of the model instead, such as chatml"
        )
    return form


def _read(path: Path) -> tuple[Template, str, str]:
    """A chat template in a sandbox, and the tokens that begin and end a text."""
    try:
        text = path.read_text(encoding="utf-8")
        settings: dict[str, Any] = {} if path.suffix == ".jinja" else json.loads(text)
        template = settings.get("chat_template", text)
        if isinstance(template, list):  # several named ones
            template = {entry["name"]: entry["template"] for entry in template}["default"]
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        compiled = environment.from_string(template)
    except (OSError, ValueError, KeyError, TypeError, TemplateError) as error:
        raise SettingsError(
            f"no chat template can be read from {path.name} ({type(error).__name__}); "
            "give the model's tokenizer_config.json or chat_template.jinja"
        ) from None
    return compiled, _token(settings.get("bos_token")), _token(settings.get("eos_token"))


def _token(entry: object) -> str:
    """A special token, written as a string or as an object."""
    text = entry.get("content", "") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else ""


def _refuse(message: str) -> None:
    raise TemplateError(message)
