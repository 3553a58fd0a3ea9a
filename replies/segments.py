"""What in a reply is said, done, thought or told.

Chats have two house styles, and a reply keeps to one. Where something is said in quotation marks
(“ ” " " 「」 『』 «»), bare text is narration. Else, where `*…*` stands, bare text is speech. Else
all is speech, or all narration when the narrator wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from replies import mentions
from replies.marks import Mark, Piece, paragraphs, pieces
from replies.names import NARRATOR, Cast
from schemas.response import ResponseContent

Kind = Literal["narration", "dialogue", "action", "thought"]


def segments(text: str, cast: Cast, *, quotes: bool = True) -> list[ResponseContent]:
    """Splits a cleaned reply into typed pieces.

    Args:
        text: the reply.
        cast: who wrote it.
        quotes: False where quotation marks mean titles: when a pair around the whole was removed.

    Returns:
        Pieces whose texts and spans join to exactly `text`; white space belongs to what is before
        it. None for an empty text. No piece goes over an empty line.
    """
    found = [pieces(text, start, end, quotes=quotes) for start, end in paragraphs(text)]
    quoted = any(map(has_speech, found))
    starred = any(piece.mark == "star" for paragraph in found for piece in paragraph)
    return [c for paragraph in found for c in typed(text, paragraph, cast, quoted, starred)]


def has_speech(paragraph: Iterable[Piece]) -> bool:
    """Whether something is said in quotation marks, which decides the style of the reply."""
    return any(piece.mark == "quote" for piece in paragraph)


def typed(
    text: str, paragraph: Iterable[Piece], cast: Cast, quoted: bool, starred: bool
) -> Iterator[ResponseContent]:
    """The pieces of a paragraph as content, once the style is known."""
    bare: Kind = "narration" if quoted or cast.speaker == "narrator" else "dialogue"
    open_kind: Kind | None = None
    start = end = 0
    for piece in paragraph:
        kind = _kind(text, piece, bare, quoted, quoted or starred)
        if open_kind and not (kind == open_kind == bare and piece.mark != "quote"):
            yield _content(text, start, end, open_kind, cast)
            start = piece.start
        elif open_kind is None:
            start = piece.start
        open_kind, end = kind, piece.end
    if open_kind:
        yield _content(text, start, end, open_kind, cast)


def _kind(text: str, piece: Piece, bare: Kind, quoted: bool, styled: bool) -> Kind:
    """What a mark means in this reply."""
    mark: Mark = piece.mark
    match mark:
        case "quote":
            return "dialogue"
        case "star":
            thinks = quoted and mentions.is_thought(text, piece.start, piece.end)
            return "thought" if thinks else "action"
        case "underscore":
            return "thought" if styled else "action"
        case "single":
            sure = quoted or mentions.in_hangul_or_kana(text[piece.start : piece.end])
            return "thought" if sure else bare
        case "thought":
            return "thought"
        case "stage":
            return "action"
        case "bare":
            return bare


def _content(text: str, start: int, end: int, kind: Kind, cast: Cast) -> ResponseContent:
    """A piece and whose it is: narration is the narrator's, also in a character's reply."""
    speaker = NARRATOR if kind == "narration" else cast.writer
    return ResponseContent(type=kind, speaker=speaker, text=text[start:end], span=(start, end))
