"""The formats, string for string, and what an engine's prefix cache needs of them."""

from __future__ import annotations

import re

import pytest
from tokenizers import Tokenizer

from prompts.words import format_named
from schemas.errors import SettingsError
from schemas.formats import FORMATS, PromptTurn, messages

SYSTEM = "Rules."
TURNS = [
    PromptTurn("user", "Min: Hi."),
    PromptTurn("assistant", "Sera: Hello."),
    PromptTurn("assistant", "Narrator: Rain falls."),
    PromptTurn("user", "Min: Where?"),
]

EXPECTED = {
    "metharme": (
        "<|system|>Rules.<|user|>Min: Hi.<|model|>Sera: Hello.<|model|>Narrator: Rain falls."
        "<|user|>Min: Where?<|model|>Sera:"
    ),
    "pygmalion": (
        "Rules.\n<START>\nMin: Hi.\nSera: Hello.\nNarrator: Rain falls.\nMin: Where?\nSera:"
    ),
    "chatml": (
        "<|im_start|>system\nRules.<|im_end|>\n<|im_start|>user\nMin: Hi.<|im_end|>\n"
        "<|im_start|>assistant\nSera: Hello.<|im_end|>\n"
        "<|im_start|>assistant\nNarrator: Rain falls.<|im_end|>\n"
        "<|im_start|>user\nMin: Where?<|im_end|>\n<|im_start|>assistant\nSera:"
    ),
    "alpaca": (
        "Rules.\n\n### Instruction:\nMin: Hi.\n\n### Response:\nSera: Hello.\n\n"
        "### Response:\nNarrator: Rain falls.\n\n### Instruction:\nMin: Where?\n\n"
        "### Response:\nSera:"
    ),
    "llama3": (
        "<|start_header_id|>system<|end_header_id|>\n\nRules.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nMin: Hi.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nSera: Hello.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nNarrator: Rain falls.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nMin: Where?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nSera:"
    ),
    "mistral-v3-tekken": (
        "[INST]Rules.\n\nMin: Hi.[/INST]Sera: Hello.</s>Narrator: Rain falls.</s>"
        "[INST]Min: Where?[/INST]Sera:"
    ),
    "mistral-v7": (
        "[SYSTEM_PROMPT] Rules.[/SYSTEM_PROMPT][INST] Min: Hi.[/INST] Sera: Hello.</s>"
        " Narrator: Rain falls.</s>[INST] Min: Where?[/INST] Sera:"
    ),
    "mistral-v7-tekken": (
        "[SYSTEM_PROMPT]Rules.[/SYSTEM_PROMPT][INST]Min: Hi.[/INST]Sera: Hello.</s>"
        "Narrator: Rain falls.</s>[INST]Min: Where?[/INST]Sera:"
    ),
    "gemma": (
        "<start_of_turn>user\nRules.\n\nMin: Hi.<end_of_turn>\n"
        "<start_of_turn>model\nSera: Hello.<end_of_turn>\n"
        "<start_of_turn>model\nNarrator: Rain falls.<end_of_turn>\n"
        "<start_of_turn>user\nMin: Where?<end_of_turn>\n<start_of_turn>model\nSera:"
    ),
    "gemma4": (
        "<|turn>system\nRules.<turn|>\n<|turn>user\nMin: Hi.<turn|>\n"
        "<|turn>model\nSera: Hello.<turn|>\n<|turn>model\nNarrator: Rain falls.<turn|>\n"
        "<|turn>user\nMin: Where?<turn|>\n<|turn>model\nSera:"
    ),
    "vicuna": (
        "Rules.\n\nUSER: Min: Hi.\nASSISTANT: Sera: Hello.</s>\n"
        "ASSISTANT: Narrator: Rain falls.</s>\nUSER: Min: Where?\nASSISTANT: Sera:"
    ),
    "exaone": (
        "[|system|]Rules.[|endofturn|]\n[|user|]Min: Hi.\n[|assistant|]Sera: Hello.[|endofturn|]\n"
        "[|assistant|]Narrator: Rain falls.[|endofturn|]\n[|user|]Min: Where?\n[|assistant|]Sera:"
    ),
}


def test_every_format_is_written_here() -> None:
    assert set(FORMATS) == {*EXPECTED, "chat"}


@pytest.mark.parametrize("name", EXPECTED)
def test_format_is_exact(name: str) -> None:
    assert FORMATS[name].render(SYSTEM, TURNS, "Sera:") == EXPECTED[name]


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_writes_a_token_that_the_tokenizer_adds(name: str) -> None:
    prompt = FORMATS[name].render(SYSTEM, TURNS, "Sera:")
    assert not re.match(r"<s>|<bos>|<\|begin_of_text\|>", prompt)


@pytest.mark.parametrize("first", ["user", "assistant"])
@pytest.mark.parametrize("reply", [" Over there.", " *nods*", " 저기요.", ' "Yes…"'])
@pytest.mark.parametrize("name", FORMATS)
def test_prompt_and_reply_are_a_prefix_of_the_next_prompt(
    name: str, first: str, reply: str, subwords: Tokenizer
) -> None:
    """Across a change of the speaker, whoever spoke first. Where a turn ends without a special
    token, the reply's last token may merge with what follows: that one is recomputed."""
    form = FORMATS[name]
    turns = TURNS if first == "user" else TURNS[1:]
    now = form.render(SYSTEM, turns, "Sera:") + reply
    later = [*turns, PromptTurn("assistant", "Sera:" + reply), PromptTurn("user", "Min: I see.")]
    then = form.render(SYSTEM, later, "Narrator:")
    assert then.startswith(now)
    old, new = subwords.encode(now).ids, subwords.encode(then).ids
    assert new[: len(old) - 1] == old[:-1]
    if name not in ("metharme", "alpaca", "vicuna", "exaone", "pygmalion"):
        assert new[: len(old)] == old


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"pygmalion"}))
def test_the_end_of_a_reply_is_a_stop(name: str) -> None:
    """Its closing token, or what opens the user's turn; old Pygmalion stops at names alone."""
    form = FORMATS[name]
    behind = (form.assistant[1] + form.user[0]).strip()
    assert any(behind.startswith(stop.strip()) for stop in form.stops)


def test_an_unknown_format_names_the_known() -> None:
    with pytest.raises(SettingsError, match=r"chatml.*metharme"):
        format_named("chat-ml")


def test_messages_alternate() -> None:
    chat = messages(SYSTEM, TURNS)
    assert [message["role"] for message in chat] == ["system", "user", "assistant", "user"]
    assert chat[2]["content"] == "Sera: Hello.\n\nNarrator: Rain falls."
