"""Control tokens in text that a user, a card or a story brings: made harmless, kept readable.

A mark loses its power when its brackets become look-alikes: `<|im_end|>` is written
`‹|im_end|›`. The look-alikes (U+2039, U+203A, U+27E6, U+27E7, U+266F, U+2236) have no
decomposition, so a tokenizer that normalises (NFC, NFKC) does not turn them back, as it would a
full-width `＜`. For the same reason a mark is found by what a normaliser would make of the text:
full-width, mathematical and accented characters count as their plain ones, invisible characters
and combining marks as none. A zero-width character inside the mark would do, but nobody would see
it.

Which marks there are, the formats say (`schemas.formats`), and the model's own tokenizer where it
is known. Tokens of every format are marked, not the chosen format's only: a text reads the same
with every model, and a server's tokenizer may know more of them than its format uses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from string import ascii_letters, digits
from typing import Literal

from schemas.formats import CONTROL_TOKENS, MEDIA_TOKENS, THOUGHTS, Format

_BRACKETS = str.maketrans("<>[]#:", "‹›⟦⟧♯∶")

_PLAIN = frozenset(ascii_letters + digits + "<>[]#:|/_-=")
"""Characters of which marks are made."""

_RANGES = (
    *(range(0x3400), range(0xA640, 0xAC00), range(0xF900, 0x10000), range(0x10780, 0x107C0)),
    *(range(0x1D165, 0x1D1AE), range(0x1D400, 0x1D800), range(0x1F100, 0x1F191)),
    *(range(0x1FBF0, 0x1FBFA), range(0xE0000, 0xE01F0)),
)
"""Where Unicode has characters that stand for plain ones, or that are not seen."""

_UNSEEN = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters by their category, and blank: fillers."""


def _folded_character(character: str) -> str:
    """The plain characters that normalisers may make of it; itself where they make none."""
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf") or character in _UNSEEN:
        return ""
    if category == "Cc" and not character.isspace():
        return ""
    if not unicodedata.decomposition(character):
        return character
    parts = unicodedata.normalize("NFKD", character)
    plain = "".join(part for part in parts if unicodedata.category(part) != "Mn")
    return plain if plain and _PLAIN.issuperset(plain) else character


_FOLDED = {
    code: plain
    for code in chain.from_iterable(_RANGES)
    if (plain := _folded_character(chr(code))) != chr(code)
}


def _ends_in_mark(character: str) -> bool:
    """Whether a normaliser makes a letter and a mark of it: behind the mark a word may begin."""
    made = unicodedata.decomposition(character)
    last = unicodedata.normalize("NFD", character)[-1] if made and made[0] != "<" else character
    return last != character and unicodedata.category(last) == "Mn"


_APART = {code: plain or " " for code, plain in _FOLDED.items()} | {
    code: _FOLDED.get(code, chr(code)) + " "
    for code in chain.from_iterable(_RANGES)
    if _ends_in_mark(chr(code))
}
"""As tokenizers read that keep what is not seen, and marks: a word may begin behind these."""
_LOOK_ALIKE: dict[int, str] = {
    **{ord(sign): alike for sign, alike in zip("<>[]#:", "‹›⟦⟧♯∶", strict=True)},
    **{
        code: alike
        for code, plain in _FOLDED.items()
        if (alike := plain.translate(_BRACKETS)) != plain
    },
}
_BARS = str.maketrans("|｜", "∣∣")
"""For tokens that have no bracket, such as `|||EMAIL|||`."""

_UNUSUAL = re.compile(r"[^\t-\r\x1c-~\u2010-\u2026가-힣ぁ-ゖァ-ヺ一-鿿]")
"""Outside of these no character is folded; a text without any is searched as it is."""


def _fold(text: str) -> str:
    return text.translate(_FOLDED) if _UNUSUAL.search(text) else text


def is_seen(text: str) -> bool:
    """Whether a text has any character that is seen: no white space, no mark by itself, and none
    of those that only tell how others are written."""
    return bool(_fold(text).strip())


def _rest(token: str) -> str:
    """A pattern for a token behind its first character."""
    return rf"(?<={re.escape(token[0])}){re.escape(token[1:])}"


_TOKEN = re.compile(
    # <|name|>, <|name>, <name|> and [|name|], whatever the name is, and tokens without bars; each
    # begins with the same set of characters, which lets the engine skip to them
    r"[<\[](?:\|[^|\s<>\[\]]{1,60}\|?[>\]]|(?<=<)[^|\s<>\[\]]{1,60}\|>|"
    + "|".join(map(_rest, (*CONTROL_TOKENS, *MEDIA_TOKENS, *chain.from_iterable(THOUGHTS))))
    + ")",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"<[^\s<>]{1,60}>|\[[^\s\[\]]{1,60}\]")
"""What may be one of the tokenizer's tokens, of which there may be thousands."""


def neutralise(
    text: str, form: Format, names: Iterable[str] | None = None, *, opening: int = 0
) -> str:
    """The text without any string that the model takes for a turn or a control token.

    It depends on the text alone, so that a line reads the same in every later prompt.

    Args:
        text: from a user, a card, a story or a memory.
        form: the chosen format; its plain-text marks are caught too.
        names: the speakers, for formats whose turns are `Name:` at the start of a line; None
            for example dialogue, which is made of such lines.
        opening: so many characters stay as they are: they are harmless, or the format's own.

    Returns:
        The same words; only brackets, `#` and colons of marks become look-alikes. Doing it
        twice changes nothing more.
    """
    patterns, added = _marks(form)
    if form.names_open_turns and names:
        patterns = (*patterns, _role_lines((*names, form.user_label or "")))
    spans = _spans(text, patterns, added)
    for table in (_FOLDED, _APART) if _UNUSUAL.search(text) else ():
        if found := _spans(text.translate(table), patterns, added):
            # Of each character that is left, which one of the text it was.
            places = [at for at, sign in enumerate(text) for _ in table.get(ord(sign), sign)]
            spans += [(places[start], places[end - 1] + 1) for start, end in found]
    parts, done = [text[:opening]], opening
    for start, end in sorted(spans):
        if end > done:
            parts += text[done:start], _harmless(text[max(start, done) : end])
            done = end
    return "".join((*parts, text[done:])) if spans else text


def _harmless(mark: str) -> str:
    changed = mark.translate(_LOOK_ALIKE)
    return changed if changed != mark else mark.translate(_BARS)


def _spans(
    text: str, patterns: Iterable[re.Pattern[str]], added: frozenset[str]
) -> list[tuple[int, int]]:
    """Where the text has a mark."""
    found = [match.span() for pattern in patterns for match in pattern.finditer(text)]
    if added:
        likely = _BRACKETED.finditer(text)
        found += [match.span() for match in likely if match[0].lower() in added]
    return found


@lru_cache(maxsize=32)  # formats and tokenizers; 0.5 MB where a tokenizer has thousands of tokens
def _marks(form: Format) -> tuple[tuple[re.Pattern[str], ...], frozenset[str]]:
    """The tokens of all formats; this one's headings, its tokens that no other has, and those of
    the model's tokenizer, which in lower case are the second part as far as they have brackets."""
    own = [token for token in form.tokens if not _TOKEN.fullmatch(token)]
    added = {_fold(token) for token in form.added_tokens if _is_mark(token)}
    added = {token for token in added if not _TOKEN.fullmatch(token)}
    bracketed = {token for token in added if _BRACKETED.fullmatch(token)}
    words = [_loose(_fold(mark)) for mark in (*form.headings, *own)]
    words += map(re.escape, sorted(added - bracketed, key=len, reverse=True))
    patterns = (_TOKEN, re.compile("|".join(words), re.IGNORECASE)) if words else (_TOKEN,)
    return patterns, frozenset(token.lower() for token in bracketed)


@lru_cache(maxsize=256)  # 6 ms of a turn with 250 lines
def _role_lines(names: tuple[str, ...]) -> re.Pattern[str]:
    """Names at the start of a line, as any normaliser writes them."""
    kinds: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")
    written = {unicodedata.normalize(kind, name) for kind in kinds for name in names}
    speakers = sorted(filter(None, {*written, *map(_fold, written)}))
    breaks = r"\n\r\v\f\x85\u2028\u2029"
    line = rf"(?<![^{breaks}])(?:(?![{breaks}])\s)*+"
    name = "|".join(map(re.escape, speakers))
    return re.compile(rf"{line}(?:{name})\s*+[:：﹕]", re.IGNORECASE)


def _is_mark(token: str) -> bool:
    """Whether a tokenizer's token is no white space and no word, and can be made harmless."""
    return len(token) > 2 and _harmless(token) != token


def _loose(mark: str) -> str:
    """A pattern for a mark in any case, and with any spaces around its words."""
    words = re.findall(r"[#<>\[\]:]+|[^\s#<>\[\]:]+", mark)
    # A run of # is read once, from its beginning.
    signs = ["(?<!#)##++" if "##" in word else re.escape(word) for word in words]
    pattern = r"[^\S\n]*+".join(signs)
    return rf"(?<!\w){pattern}" if mark[0].isalnum() else pattern
