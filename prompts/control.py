"""Control tokens in text that a user, a card or a story brings: made harmless, kept readable.

A mark loses its power when its brackets become look-alikes: `<|im_end|>` is written
`‹|im_end|›`. The look-alikes (U+2039, U+203A, U+27E6, U+27E7, U+266F, U+2236) have no
decomposition, so a tokenizer that normalises (NFC, NFKC) does not turn them back, as it would a
full-width `＜`. For the same reason full-width spellings of a mark are caught as well. A
zero-width character inside the mark would do, but nobody would see it.

Which marks there are, the formats say (`schemas.formats`). Tokens of every format are marked, not
the chosen format's only: a text reads the same with every model, and a server's tokenizer may know
more of them than its format uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

from schemas.formats import CONTROL_TOKENS, MEDIA_TOKENS, THOUGHTS, Format

_FULL_WIDTH = 0xFEE0
"""Distance from an ASCII character to its full-width form, U+FF01 to U+FF5E."""

_LOOK_ALIKE = str.maketrans("<＜﹤>＞﹥[［]］#＃﹟:：﹕", "‹‹‹›››⟦⟦⟧⟧♯♯♯∶∶∶")

_SMALL = {"<": "﹤", ">": "﹥", "#": "﹟", ":": "﹕"}
"""Small forms, U+FE50 to U+FE6F, which become ASCII under NFKC as well."""


def _either_width(character: str) -> str:
    """A pattern for an ASCII character, its full-width or its small form."""
    full_width = chr(ord(character) + _FULL_WIDTH)
    return f"[{re.escape(character)}{full_width}{_SMALL.get(character, '')}]"


def _rest(token: str) -> str:
    """A pattern for a token behind its first character."""
    return rf"(?<={_either_width(token[0])})" + "".join(map(_either_width, token[1:]))


_ENDS = r"\n\r\v\f\x85\u2028\u2029"
"""What ends a line, for a character class."""

_TOKEN = re.compile(
    # <|name|>, <|name>, <name|> and [|name|], whatever the name is, and tokens without bars; each
    # begins with the same set of characters, which lets the engine skip to them
    r"[<＜﹤\[［](?:[|｜][^|｜\s<>\[\]]{1,60}[|｜]?[>＞﹥\]］]|"
    + r"(?<=[<＜﹤])[^|｜\s<>\[\]]{1,60}[|｜][>＞﹥]|"
    + "|".join(map(_rest, (*CONTROL_TOKENS, *MEDIA_TOKENS, *chain.from_iterable(THOUGHTS))))
    + ")",
    re.IGNORECASE,
)


def neutralise(text: str, form: Format, names: Iterable[str] | None = None) -> str:
    """The text without any string that the model takes for a turn or a control token.

    Args:
        text: from a user, a card, a story or a memory.
        form: the chosen format; its plain-text marks are caught too.
        names: the speakers, for formats whose turns are `Name:` at the start of a line; None
            for example dialogue, which is made of such lines.

    Returns:
        The same words; only brackets, `#` and colons of marks become look-alikes. Doing it
        twice changes nothing more.
    """
    text = _TOKEN.sub(_harmless, text)
    speakers = (*names, form.user_label or "") if form.names_open_turns and names else ()
    marks = _marks(form, speakers)
    return marks.sub(_harmless, text) if marks else text


def _harmless(match: re.Match[str]) -> str:
    return match[0].translate(_LOOK_ALIKE)


@lru_cache(maxsize=256)  # 6 ms of a turn with 250 lines in the formats that have headings
def _marks(form: Format, names: tuple[str, ...]) -> re.Pattern[str] | None:
    """What opens a turn in this format alone: its headings, its tokens that no other has, and
    names at the start of a line."""
    own = [token for token in form.tokens if not _TOKEN.fullmatch(token)]
    patterns = [_loose(mark) for mark in (*form.headings, *own)]
    if names:
        speakers = "|".join(re.escape(name) for name in names if name)
        patterns.append(rf"(?<![^{_ENDS}])[^\S{_ENDS}]*+(?:{speakers})\s*[:：﹕]")
    return re.compile("|".join(patterns), re.IGNORECASE) if patterns else None


def _loose(mark: str) -> str:
    """A pattern for a mark in any case, and with any spaces around its words."""
    words = re.findall(r"[#<>\[\]:]+|[^\s#<>\[\]:]+", mark)
    pattern = r"[^\S\n]*".join(
        "(?<![#＃﹟])[#＃﹟]{2,}+" if "##" in word else "".join(map(_either_width, word))
        for word in words
    )
    return rf"(?<!\w){pattern}" if mark[0].isalnum() else pattern
