"""Control tokens of the prompt formats, and stop strings, as they leak into a reply."""

from __future__ import annotations

import re
from collections.abc import Iterable

from replies.tags import Tags

TOKEN = re.compile(  # each begins with a literal, which lets the engine skip to it
    r"<[|｜][\w▁ /=.-]{1,40}[|｜]?>"  # <|im_end|>, <|user|>, <｜User｜>, <|turn>
    r"|<[a-z_]{1,20}\|>"  # <turn|>
    r"|\[\|[a-z]{1,20}\|\]"  # [|endofturn|]
    r"|</?s>|<(?:eos|bos|pad|unk)>|<(?:start|end)_of_turn>|<</?SYS>>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|##(?:(?<=\A##)|(?<=\n##)|(?<=\A ##)|(?<=\n ##))#? ?"
    r"(?:instruction|input|response|human|user|assistant) ?:",
    re.IGNORECASE,
)
"""A turn's border in Metharme, ChatML, Llama, Mistral, Gemma, EXAONE, DeepSeek and Alpaca."""

_SPELLED = (
    *("</s>", "<s>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<<SYS>>"),
    *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
)
_PARTIAL = re.compile(
    r"(?:<[|｜][\w▁ /=.-]{0,40}[|｜]?|\[\|[a-z]{0,20}\|?"
    r"|(?<=\n) ?#{2,3} ?(?:i\w{0,10}|r\w{0,7}|h\w{0,4}|u\w{0,3}|a\w{0,8})?)\Z",
    re.IGNORECASE,
)
_MAY_GROW = re.compile(
    r"(?:<[^<>\n]{0,44}|<<[^<>\n]{0,6}|\[[^\[\]\n]{0,24}"
    r"|(?:^|(?<=\n)) ?#{1,3} ?[a-z]{0,11} ?)\Z",
    re.IGNORECASE,
)
_ANGLE_FACE = re.compile(r"[>＞][^\s<>]{0,3}<\Z")  # >_<

_OPENING = re.compile(
    r"\s*(?:<\|im_start\|> ?(?:assistant|model|text)\b(?: names?=[^\n<]{0,60}\n)?"
    r"|<\|start_header_id\|> ?(?:assistant|model) ?<\|end_header_id\|>"
    r"|<start_of_turn> ?model\b|<\|turn> ?model\b"
    r"|<[|｜](?:model|assistant|bot|begin_of_text|begin▁of▁sentence)[|｜]>|\[\|assistant\|\]"
    r"|<s>|<bos>|\[/INST\]|#{2,3} ?(?:response|assistant) ?:)\s*",
    re.IGNORECASE,
)
_THINKING = re.compile(
    r"\s*(?:<think>.*?(?:</think>|\Z)|<\|channel>thought\b.*?(?:<channel\|>|\Z))\s*", re.DOTALL
)
_LONGEST_OPENING = 120


def opening_end(text: str) -> tuple[int, bool]:
    """How much of the beginning is the writer's own turn header or hidden reasoning.

    Returns:
        The number of characters to drop, and whether reasoning was among them.
    """
    end, thought = 0, False
    while True:
        if found := _THINKING.match(text, end):
            thought = True
        elif not (found := _OPENING.match(text, end)):
            return end, thought
        if found.end() == end:
            return end, thought
        end = found.end()


def opening_is_open(text: str) -> bool:
    """Whether a text that is still growing may be inside such a beginning."""
    start = text.lstrip()
    for opened, closed in (("<think>", "</think>"), ("<|channel>thought", "<channel|>")):
        if start.startswith(opened):
            return closed not in start
    return len(start) < _LONGEST_OPENING and start[:1] in {"", "<", "[", "#"}


class Stops:
    """The caller's stop strings, without those that are speaker tags (`Tags` knows whose)."""

    def __init__(self, stops: Iterable[str], tags: Tags) -> None:
        """Sorts the strings once; empty ones are left out."""
        given = [stop for stop in stops if stop.strip() or "\n" in stop]
        self._tag_stops = tuple(s for s in given if tags.voice(s.strip()))
        plain = sorted((s for s in given if s not in self._tag_stops), key=len, reverse=True)
        self._plain = re.compile("|".join(map(re.escape, plain))) if plain else None
        self._starts = tuple({s[:n] for s in (*plain, *_SPELLED) for n in range(1, len(s))})
        self._longest = max(map(len, self._starts), default=0)

    def search(self, text: str, start: int) -> int:
        """Where the first stop string begins, at `start` or later; -1 when there is none."""
        found = self._plain.search(text, start) if self._plain else None
        return found.start() if found else -1

    def settled(self, text: str) -> int:
        """Length of a growing text in front of what may become a token or a stop string."""
        grows = _MAY_GROW.search(text, max(0, len(text) - 64))
        end = grows.start() if grows else len(text)
        return min(end, len(text) - self._overlap(text))

    def whole(self, text: str, *, at_limit: bool, tags: Tags) -> int:
        """Length of a finished text without the torn token, stop string or tag at its end.

        Args:
            text: the reply as it came, for a line that ended is not torn.
            at_limit: whether the model was cut off. Only then a last line that is part of a name
                is a torn tag; else it must be the whole name of one of the stop strings.
            tags: the cast's tags.
        """
        if torn := _PARTIAL.search(text, max(0, len(text) - 64)):
            return torn.start()
        size = self._overlap(text)
        if size and self._is_torn(text, size, at_limit):
            return len(text) - size
        before, newline, line = text.rpartition("\n")
        if newline and any(map(str.isalnum, line)):
            named = at_limit or any(tags.same_name(line, stop) for stop in self._tag_stops)
            if named and tags.may_begin(line):
                return len(before)
        return len(text)

    def _overlap(self, text: str) -> int:
        """How many characters at the end are the beginning of a token or stop string."""
        if not text.endswith(self._starts):
            return 0
        for size in range(min(self._longest, len(text)), 0, -1):
            if text[-size:] in self._starts:
                return size
        return 0

    @staticmethod
    def _is_torn(text: str, size: int, at_limit: bool) -> bool:
        """Whether the overlap is no chance: marks, words and faces end sentences, too."""
        piece = text[-size:]
        if not piece.strip("*_~.!?\"'- \n") or _ANGLE_FACE.search(text):
            return False
        first = piece.lstrip()[0]
        starts_line = piece[0] == "\n" or text[:-size].endswith("\n")
        return not first.isalnum() or (at_limit and starts_line)
