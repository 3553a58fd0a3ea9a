"""Counting tokens: with the model's own tokenizer, or by an estimate of the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters, digits, punctuation

from schemas.errors import SettingsError
from schemas.formats import CONTROL_TOKENS, FORMATS

Count = Callable[[str], int]
"""Tokens of a text, without a beginning-of-sequence token."""

KNOWN = 16_384
"""Texts whose count a counter remembers: a dozen chats of 1,000 messages, in 2 MB."""


@dataclass(frozen=True)
class Family:
    """What a kind of tokenizer makes of a text, in tokens, for each class of characters.

    The numbers are fitted to the tokenizers named below on chats, scenes and prose in English,
    Korean and Japanese, and then raised by about 5 %, so that an estimate is seldom too low.
    lab/prompts.md gives the errors measured.
    """

    hangul: tuple[float, float]
    """Of a Korean word and of each of its syllables."""
    kana: float
    """Of a hiragana or katakana character."""
    han: float
    """Of a Chinese character."""
    wide: float = 1.0
    """Of a run of CJK punctuation, and half of it for each further character."""
    word: float = 1.185
    """Of a word in Latin letters, most of which are one token."""
    byte: float = 0.6
    """Of a UTF-8 byte of any other character: emoji, accents, other scripts."""


FAMILIES: dict[str, Family] = {
    "qwen": Family(hangul=(0.57, 0.88), kana=0.54, han=1.3),
    "llama3": Family(hangul=(0.4, 0.84), kana=0.58, han=1.27),
    "tekken": Family(hangul=(0.44, 0.684), kana=0.59, han=1.27),
    "gemma": Family(hangul=(0.38, 0.75), kana=0.5, han=1.05),
    "gemma2": Family(hangul=(0.61, 0.85), kana=0.41, han=1.05),
    "llama2": Family(hangul=(1.35, 1.3), kana=1.12, han=1.55, word=1.32, byte=1.0),
    "gpt2": Family(hangul=(0.4, 2.9), kana=1.15, han=2.4, wide=2.0, word=1.24, byte=0.8),
}
"""Qwen 2 to 3, Llama 3, tekken (Mistral-Nemo, Small 3), Gemma 3 and 4, Gemma 1 and 2, the 32,000
pieces of Llama 2 and the first Mistral, and GPT-2 (GPT-J, Pygmalion 6B), made for English alone."""

_TEXT = {token for form in FORMATS.values() for token in form.tokens} - {*CONTROL_TOKENS}
_SPECIAL = re.compile(
    "|".join(map(re.escape, CONTROL_TOKENS))
    + rf"|(?!{'|'.join(map(re.escape, _TEXT))})<\|\w+\|>"  # those of a model's own template
)
"""Single tokens."""
_LINE = re.compile(r"[^\s!-/:-@\[-`{-~\u2010-\u206f\u3000-\u303f\uff01-\uff65]\s*\n|[^\S\n]{2,}")
_HANGUL = re.compile(r"[\uac00-\ud7a3]+")
_KANA = re.compile(r"[\u3041-\u30ff]+")
_HAN = re.compile(r"[\u3005\u3400-\u9fff]+")
_WIDE = re.compile(r"[\u2010-\u206f\u3000-\u303f\uff01-\uff65]+")
_SPACES = re.compile(r"[^\S\n][^\S\n]")
_WIDE_RANGES = (range(0x2010, 0x2070), range(0x3000, 0x3040), range(0xFF01, 0xFF66))
_ANY_MARK = frozenset(punctuation) | {chr(code) for codes in _WIDE_RANGES for code in codes}
_OTHER = re.compile(
    r"[^\x00-\x7f\uac00-\ud7a3\u3041-\u30ff\u3005\u3400-\u9fff\u2010-\u206f\u3000-\u303f\uff01-\uff65]+"
)


def _class(members: str) -> bytes:
    """A table for `bytes.translate`: these characters to x, all others to spaces."""
    return bytes(120 if chr(code) in members else 32 for code in range(256))


_LETTERS, _DIGITS, _MARKS = map(_class, (ascii_letters, digits, punctuation))


def estimator(family: str = "qwen") -> Count:
    """A counter that needs no tokenizer, for a kind of tokenizer.

    Raises:
        SettingsError: no such family; the message lists those that exist.
    """
    try:
        chosen = FAMILIES[family]
    except KeyError:
        raise SettingsError(
            f"unknown kind of tokenizer; known are {', '.join(sorted(FAMILIES))}"
        ) from None
    return remembered(lambda text: _estimate(text, chosen))


def _estimate(text: str, family: Family) -> int:
    """Counts runs of each class; a line's end behind a mark is part of the mark's token."""
    special = 0
    if "<" in text or "[" in text:  # all of them have one; to look for them takes a third of it all
        text, special = _SPECIAL.subn("\0", text)  # a line's end behind it is a token of its own
    raw = b" " + text.encode()
    marks = raw.translate(_MARKS)
    runs = marks.count(b" x")
    tokens = (
        special
        + family.word * raw.translate(_LETTERS).count(b" x")
        + 1.05 * raw.translate(_DIGITS).count(b"x")
        + 0.5 * runs
        + 0.6 * (marks.count(b"x") - runs)
        + _line_ends(text)
    )
    if not text.isascii():
        words, wide = _HANGUL.findall(text), _WIDE.findall(text)
        tokens += family.hangul[0] * len(words) + family.hangul[1] * len("".join(words))
        tokens += family.kana * len("".join(_KANA.findall(text)))
        tokens += family.han * len("".join(_HAN.findall(text)))
        tokens += family.wide * (len(wide) + len("".join(wide))) / 2
        tokens += family.byte * len("".join(_OTHER.findall(text)).encode())
    return max(round(tokens), int(tokens > 0))


def _line_ends(text: str) -> int:
    """Line ends, with the white space around them, and other runs of white space."""
    if _SPACES.search(text):
        return len(_LINE.findall(text))
    *lines, _ = text.split("\n")
    return sum(line[-1] not in _ANY_MARK for line in map(str.rstrip, lines) if line)


def remembered(count: Count) -> Count:
    """The same counter, which counts a text once: the lines of a chat come back every turn, and to
    count 200 Korean ones takes 4 ms by estimate and 16 with a tokenizer. When it is full it begins
    anew.

    It holds hashes and no words, so its size is known and there is nothing to forget. They have 64
    bits and a seed of the process: that two texts share one is less likely than a broken machine.
    """
    known: dict[int, int] = {}

    def counted(text: str) -> int:
        key = hash(text)
        tokens = known.get(key)
        if tokens is None:
            tokens = count(text)
            if len(known) >= KNOWN:
                known.clear()
            known[key] = tokens
        return tokens

    return counted


estimate: Count = estimator()
"""For an unknown model: of the modern tokenizers, the one with the most tokens for Korean."""


def tokenizer_count(path: Path) -> Count:
    """A counter from a model's own `tokenizer.json`.

    Raises:
        SettingsError: the file is missing or no tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        raise _unreadable(path, error) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return remembered(lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))


def added_tokens(path: Path) -> frozenset[str]:
    """What a model's own `tokenizer.json` takes for one token before it reads words.

    Raises:
        SettingsError: the file is missing or no tokenizer.
    """
    try:
        listed = json.loads(path.read_bytes()).get("added_tokens") or []
        return frozenset(token["content"] for token in listed)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> SettingsError:
    return SettingsError(
        f"the tokenizer file {path.name} cannot be read ({type(error).__name__}); "
        "use the model's tokenizer.json"
    )
