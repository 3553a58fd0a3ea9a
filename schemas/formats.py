"""The formats of language models: how a system text and turns become one string, by which marks.

A format is all that has to be written for a model of another kind: what stands in its pieces is
guarded in every text of a user (`prompts.control`), and cut out of replies (`replies.edges`).

Sources: the models' cards and chat templates. Three points where public presets differ:

- A narrator's line is an assistant turn behind the narrator's name. Presets that send it as
  `<|user|>` make it look like the user's words, and the model answers it.
- Metharme's system text stands behind `<|system|>`, as in training; presets that leave the
  tag out give the model a text without a role.
- No format writes a beginning-of-sequence token: the server's tokenizer adds it, and two of
  them spoil the reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

Side = Literal["user", "assistant"]


class PromptTurn(NamedTuple):
    """A turn as the model sees it: who has the word, and the text with its speaker's name."""

    side: Side
    text: str


_TOKEN = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
"""How a control token looks in the pieces of a format: `<|user|>`, `[INST]`."""


@dataclass(frozen=True)
class Format:
    """How turns are written; each pair is what stands before and behind a text."""

    name: str
    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    stops: tuple[str, ...]
    system_in_user: bool = False
    """There is no system turn: the system text opens the first user turn."""
    user_label: str | None = None
    """The only name that the format knows for the user."""
    other_headings: tuple[str, ...] = ()
    """Headings that open a turn in its training texts, beside those in the pieces above."""
    tokens_are_text: bool = False
    """Its control tokens are plain words to the tokenizers of its models."""
    names_open_turns: bool = False
    """A speaker's name with a colon at the start of a line opens a turn."""
    bos: bool = True
    """The server's tokenizer puts one token before the prompt."""
    added_tokens: frozenset[str] = frozenset()
    """What the model's own tokenizer takes for one token before it reads words, where it is known;
    most of them it never writes."""

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The control tokens that it writes or stops at."""
        pieces = (*self.system, *self.user, *self.assistant, *self.stops)
        return _distinct(token for piece in pieces for token in _TOKEN.findall(piece))

    @cached_property
    def headings(self) -> tuple[str, ...]:
        """The plain words that open a turn, such as `### Response:` or `USER:`."""
        pieces = (*self.system, *self.user, *self.assistant)
        lines = (line for piece in pieces for line in _TOKEN.sub("\n", piece).splitlines())
        written = (line.strip() for line in lines if re.search("[#:]", line))
        return _distinct((*written, *self.other_headings))

    def turn(self, turn: PromptTurn) -> str:
        """A whole turn, closed."""
        before, behind = self.user if turn.side == "user" else self.assistant
        return before + turn.text + behind

    def head(self, system: str, turns: Sequence[PromptTurn]) -> str:
        """What stands before the second turn: the system text, and the first turn's opening.

        Where the format has no system turn, the text goes into the first user turn, or into
        one of its own if the character speaks first.
        """
        if not self.system_in_user:
            return self.system[0] + system + self.system[1]
        before, behind = self.user
        if turns and turns[0].side == "user":
            return before + system + self.system[1]
        return before + system + behind

    def render(self, system: str, turns: Sequence[PromptTurn], prefix: str = "") -> str:
        """The prompt: system text, closed turns, and the opening of the reply.

        Args:
            system: the system text; never empty.
            turns: oldest first.
            prefix: what the reply goes on from, such as `Sera:`.
        """
        body = [self.turn(turn) for turn in turns]
        if self.system_in_user and turns and turns[0].side == "user":
            body[0] = body[0].removeprefix(self.user[0])
        return self.head(system, turns) + "".join(body) + self.assistant[0] + prefix


def _distinct(marks: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(marks))


def messages(system: str, turns: Sequence[PromptTurn]) -> list[dict[str, str]]:
    """The same as messages for a chat endpoint, which opens the reply itself.

    Turns of one side that follow each other become one message, since many templates refuse
    anything but alternation.
    """
    merged = [{"role": "system", "content": system}]
    for turn in turns:
        if merged[-1]["role"] == turn.side:
            merged[-1]["content"] += f"\n\n{turn.text}"
        else:
            merged.append({"role": turn.side, "content": turn.text})
    return merged


_HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format(
            "metharme",
            system=("<|system|>", ""),
            user=("<|user|>", ""),
            assistant=("<|model|>", ""),
            stops=("</s>", "<|user|>", "<|system|>", "<|model|>"),
            tokens_are_text=True,
        ),
        Format(
            "pygmalion",
            system=("", "\n<START>\n"),
            user=("", "\n"),
            assistant=("", "\n"),
            stops=("</s>", "<|endoftext|>", "\nYou:", "<START>"),
            user_label="You",
            other_headings=("Persona:",),
            names_open_turns=True,
            tokens_are_text=True,
        ),
        Format(
            "chatml",
            system=("<|im_start|>system\n", "<|im_end|>\n"),
            user=("<|im_start|>user\n", "<|im_end|>\n"),
            assistant=("<|im_start|>assistant\n", "<|im_end|>\n"),
            stops=("<|im_end|>", "<|im_start|>"),
        ),
        Format(
            "alpaca",
            system=("", "\n\n"),
            user=("### Instruction:\n", "\n\n"),
            assistant=("### Response:\n", "\n\n"),
            stops=("</s>", "\n### Instruction:", "\n### Input:", "\n### Response:"),
            other_headings=("### Input:", "### System:"),
        ),
        Format(
            "llama3",
            system=(_HEADER.format("system"), "<|eot_id|>"),
            user=(_HEADER.format("user"), "<|eot_id|>"),
            assistant=(_HEADER.format("assistant"), "<|eot_id|>"),
            stops=("<|eot_id|>", "<|start_header_id|>", "<|end_of_text|>"),
        ),
        Format(
            "mistral-v3-tekken",
            system=("", "\n\n"),
            user=("[INST]", "[/INST]"),
            assistant=("", "</s>"),
            stops=("</s>", "[INST]"),
            system_in_user=True,
        ),
        Format(
            "mistral-v7",
            system=("[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"),
            user=("[INST] ", "[/INST]"),
            assistant=(" ", "</s>"),
            stops=("</s>", "[INST]"),
        ),
        Format(
            "mistral-v7-tekken",
            system=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
            user=("[INST]", "[/INST]"),
            assistant=("", "</s>"),
            stops=("</s>", "[INST]"),
        ),
        Format(
            "gemma",
            system=("", "\n\n"),
            user=("<start_of_turn>user\n", "<end_of_turn>\n"),
            assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
            stops=("<end_of_turn>", "<start_of_turn>", "<eos>"),
            system_in_user=True,
        ),
        Format(
            "gemma4",
            system=("<|turn>system\n", "<turn|>\n"),
            user=("<|turn>user\n", "<turn|>\n"),
            assistant=("<|turn>model\n", "<turn|>\n"),
            stops=("<turn|>", "<|turn>", "<eos>"),
        ),
        Format(
            "vicuna",
            system=("", "\n\n"),
            user=("USER: ", "\n"),
            assistant=("ASSISTANT: ", "</s>\n"),
            stops=("</s>", "\nUSER:"),
            other_headings=("SYSTEM:",),
        ),
        Format(
            "exaone",
            system=("[|system|]", "[|endofturn|]\n"),
            user=("[|user|]", "\n"),
            assistant=("[|assistant|]", "[|endofturn|]\n"),
            stops=("[|endofturn|]", "[|user|]"),
        ),
    )
}
FORMATS["chat"] = replace(FORMATS["chatml"], name="chat")
"""Every format by its name. `chat` is for servers that take messages: its prompt, as ChatML, only
serves to count tokens."""

THOUGHTS = (
    ("<think>", "</think>"),
    ("<|channel>thought", "<channel|>"),
    ("[THINK]", "[/THINK]"),
)
"""What stands around hidden reasoning."""

_OTHER_TOKENS = (
    *("<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<|endoftext|>", "<<SYS>>", "<</SYS>>"),
    *("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]"),
    "[/AVAILABLE_TOOLS]",
)
"""Tokens that tokenizers know and no format here writes."""

CONTROL_TOKENS = _distinct(
    token
    for tokens in (
        *(form.tokens for form in FORMATS.values() if not form.tokens_are_text),
        _OTHER_TOKENS,
    )
    for token in tokens
)
"""Of every format: a server's tokenizer may know more than the format of its model writes."""

MEDIA_TOKENS = ("<mask>", "[IMG]")
"""Tokens that no chat writes; in a reply they may be words, so that there they end nothing."""
