"""From tokens to text, one by one: what a tokenizer makes of a token depends on its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CONTEXT = 8
"""Tokens of the prompt that are decoded along: the first new one may need a space before it."""

LONGEST = 64
"""Tokens held back at most, where none of them ends a character: nothing a language has."""


class Detokenizer:
    """Gives out the text of a reply token by token; a character spread over tokens comes whole.

    Args:
        decode: token ids to text, with U+FFFD for a character that is not complete.
        prompt: token ids before the reply.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt: Sequence[int] = ()) -> None:
        self._decode = decode
        self._window = list(prompt[-CONTEXT:])
        self._new = 0
        self._said = len(decode(self._window))

    def feed(self, token: int) -> str:
        """The text that is certain with this token."""
        self._window.append(token)
        self._new += 1
        text = self._decode(self._window)
        certain = text.rstrip("\N{REPLACEMENT CHARACTER}")
        if certain != text and self._new < LONGEST:
            return self._say(certain)
        piece = self._say(text)
        self._window = self._window[-self._new :]
        self._new, self._said = 0, len(self._decode(self._window))
        return piece

    def flush(self) -> str:
        """What was held back, at the end of the reply."""
        return self._say(self._decode(self._window))

    def _say(self, text: str) -> str:
        piece = text[self._said :]
        self._said = max(self._said, len(text))
        return piece
