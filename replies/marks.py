"""The marked pieces of a paragraph: quotations, `*…*`, `_…_`, ‘…’ and (…).

Quotations win over stars, stars over the rest. A mark without a partner reaches to the end of its
line. What they mean is decided for the whole reply, in `segments`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from replies import mentions
from replies.tidy import PAIRS, is_measure, opens

Mark = Literal["quote", "star", "underscore", "single", "thought", "stage", "bare"]
"""`thought` and `stage` are parentheses: inner speech, and a stage direction."""

_LONGEST_PAIR = 1_000
"""Characters between two partners; also bounds the search for one that never comes."""

_QUOTE = re.compile('["“”«»「」『』]')
_PAIR = {mark: re.compile(f"[{mark}{PAIRS.get(mark, '')}]") for mark in ('"', *PAIRS)}
_STARS = re.compile(r"\*+")
_OTHER_MARK = re.compile("[_'‘(（]")
_OTHERS = re.compile(  # each begins with a literal, which lets the engine skip to it
    r"_(?<!\w_)(?=[^\s_])[^_\n]*(?<=\S)_(?!\w)"
    r"|['‘](?<![\w'‘’].)(?=\S)(?:[^'‘’\n]|(?<=\w)['’](?=[a-zA-Z]))+(?<=\S)['’](?![a-zA-Z0-9])"
    r"|[(（][^()（）\n]+[)）]"
)
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")


class Piece(NamedTuple):
    """A stretch of the text that one mark encloses, or none (`bare`)."""

    start: int
    end: int
    mark: Mark


def paragraphs(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """The spans of the paragraphs from `start` on; each holds the empty lines behind it."""
    for match in _PARAGRAPH_END.finditer(text, start):
        yield start, match.end()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def pieces(text: str, start: int, end: int, *, quotes: bool = True) -> list[Piece]:
    """Splits `text[start:end]`, a paragraph, without a gap or an overlap.

    Args:
        text: the whole reply.
        start: where the paragraph starts.
        end: where it ends.
        quotes: whether quotation marks enclose speech here.
    """
    marked = list(_quotations(text, start, end)) if quotes else []
    if text.find("*", start, end) >= 0:
        taken = _taken(marked, start, end)
        for star in _starred(text, start, end, taken):
            marked += _uncovered(star, start, taken, text)
    if _OTHER_MARK.search(text, start, end):
        taken = _taken(marked, start, end)
        for match in _OTHERS.finditer(text, start, end):
            if 1 not in taken[match.start() - start : match.end() - start]:
                marked += _other(text, match, end)
    return _filled(text, start, end, sorted(marked))


def _taken(marked: list[Piece], start: int, end: int) -> bytearray:
    """One byte per character of a paragraph: 1 where a piece covers it."""
    taken = bytearray(end - start)
    for piece in marked:
        taken[piece.start - start : piece.end - start] = b"\1" * (piece.end - piece.start)
    return taken


def _quotations(text: str, start: int, end: int) -> Iterator[Piece]:
    """Speech in quotation marks."""
    at = start
    while match := _QUOTE.search(text, at, end):
        at = match.start()
        if not _opens_quotation(text, at):
            at += 1
            continue
        closed = _partner(text, at, end)
        until = closed or _line_end(text, at, end)
        if not closed or not mentions.is_title(text, at, closed):
            yield Piece(at, until, "quote")
        at = until


def _opens_quotation(text: str, at: int) -> bool:
    """Whether a quotation begins with the mark at `at`, where none is open."""
    if text[at] != '"':
        return text[at] in PAIRS
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not after or after.isspace() or is_measure(text, at):
        return False
    return not (before.isascii() and before.isalnum())


def _partner(text: str, at: int, end: int) -> int:
    """The end of the quotation that opens at `at`; 0 when it is left open."""
    opening = text[at]
    closing, depth = PAIRS.get(opening, '"'), 0
    for match in _PAIR[opening].finditer(text, at + 1, min(end, at + _LONGEST_PAIR)):
        here, mark = match.start(), match[0]
        if closing == '"':
            if is_measure(text, here):
                continue
            is_opening = opens(text, here)
        else:
            is_opening = mark == opening
        if is_opening and text[here - 1] == "\n":
            return 0
        if not (is_opening or depth):
            return here + 1
        depth += 1 if is_opening else -1
    return 0


def _starred(text: str, start: int, end: int, taken: bytearray) -> Iterator[Piece]:
    """Spans between single stars; `**bold**` is none, and stars inside speech are its own."""
    stars = [
        match.start()
        for match in _STARS.finditer(text, start, end)
        if len(match[0]) == 1 and not taken[match.start() - start]
    ]
    row = 0
    while row < len(stars):
        at = stars[row]
        row += 1
        before, after = text[at - 1 : at] if at > start else "", text[at + 1 : at + 2]
        if not after or after.isspace() or (before.isascii() and before.isalnum()):
            continue
        until = 0
        while row < len(stars) and not until and stars[row] - at < _LONGEST_PAIR:
            here = stars[row]
            if not text[here - 1].isspace():
                until = here + 1
                row += 1
            elif here + 1 < end and not text[here + 1].isspace():
                break  # opens the next one: this one has no partner
            else:
                row += 1
        if until:
            if not mentions.is_stressed(text[at + 1 : until - 1]):
                yield Piece(at, until, "star")
        elif not before or before.isspace():
            nearest = stars[row] if row < len(stars) else end
            yield Piece(at, min(nearest, _line_end(text, at, end)), "star")


def _uncovered(piece: Piece, start: int, taken: bytearray, text: str) -> Iterator[Piece]:
    """The parts of a starred span that no quotation covers, where there are words in them."""
    at = piece.start
    while at < piece.end:
        covered = taken.find(1, at - start, piece.end - start)
        until = covered + start if covered >= 0 else piece.end
        words = text[at:until]
        if any(map(str.isalnum, words)):
            yield Piece(at + len(words) - len(words.lstrip()), until, piece.mark)
        free = taken.find(0, until - start, piece.end - start)
        at = free + start if free >= 0 else piece.end


def _other(text: str, match: re.Match[str], end: int) -> Iterator[Piece]:
    """What an underscore, a single quotation mark or a parenthesis encloses, if it counts."""
    at, until = match.span()
    if text[at] == "_":
        yield Piece(at, until, "underscore")
    elif text[at] in "'‘":
        if mentions.is_inner_voice(text, at, until):
            yield Piece(at, until, "single")
    elif mentions.is_thought_label(text[at + 1 : until - 1]):
        yield Piece(at, _line_end(text, at, end), "thought")
    elif kind := mentions.parenthesis(text, at, until):
        yield Piece(at, until, kind)


def _line_end(text: str, at: int, end: int) -> int:
    """Where the line with `at` ends, in front of its line feed."""
    newline = text.find("\n", at, end)
    return newline if newline >= 0 else end


def _filled(text: str, start: int, end: int, marked: list[Piece]) -> list[Piece]:
    """The marked pieces and what lies between; white space and a lone dot go to what is before."""
    found: list[tuple[int, Mark]] = []  # where each piece starts; it ends where the next does
    at = start
    for piece in (*marked, Piece(end, end, "bare")):
        if piece.start < at:  # inside a thought that reaches to the end of its line
            continue
        gap = text[at : piece.start]
        if gap.strip(" \t\n.,;:-–—*"):
            found.append((at + len(gap) - len(gap.lstrip()) if found else start, "bare"))
        if piece.end > piece.start:
            found.append((piece.start if found else start, piece.mark))
            at = piece.end
    if not found:
        return [Piece(start, end, "bare")]
    ends = [begin for begin, _ in found[1:]] + [end]
    return [Piece(begin, until, mark) for (begin, mark), until in zip(found, ends, strict=True)]
