"""The pieces of a reply: what in it is said, done, thought or told.

First a paragraph is split at its marks: quotations, `*…*`, `_…_`, ‘…’, (…), and in Korean -…- at
the beginning of a line. Quotations win over stars, stars over the rest. A mark without a partner
reaches to the end of its line. Where a mark may mean speech or a title, an action or stress, words
in doubt belong to the text around them.

Then the marks get their meaning, for the whole reply at once. Chats have two house styles, and a
reply keeps to one. Where something is said in quotation marks (“ ” " " 「」 『』 «»), bare text is
narration. Else, where `*…*` stands, bare text is speech. Else all is speech, or all narration when
the narrator wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Literal, NamedTuple

from language.korean import is_syllable, syllables_ending_in
from replies.agency import is_direction
from replies.edges import is_complete
from replies.status import Window
from replies.tags import NARRATOR, Cast
from schemas.response import ResponseContent

Mark = Literal["quote", "star", "underscore", "single", "thought", "stage", "status", "bare"]
"""`thought` and `stage`: inner speech and a stage direction, in parentheses or between dashes."""

Kind = Literal["narration", "dialogue", "action", "thought", "status"]

_LONGEST_PAIR = 1_000
"""Characters between two partners; also bounds the search for one that never comes."""

_DEEPEST = 8
"""Quotations inside of one another; more are marks that nobody closes."""

PAIRS = {"“": "”", "«": "»", "「": "」", "『": "』"}
"""Quotation marks that show their direction; `"` does not."""

_QUOTE = re.compile('["“”«»「」『』]')
_PAIR = {mark: re.compile(f"[{mark}{PAIRS.get(mark, '')}]") for mark in ('"', *PAIRS)}
_STARS = re.compile(r"\*+")
_ENDS_FEET = frozenset("0123456789'’")
_FEET = re.compile(r"\d['’]\d{0,2}$")
_OTHER_MARK = re.compile("[_'‘(（[【]")
_OTHERS = re.compile(  # each begins with a literal, which lets the engine skip to it
    r"_(?<!\w_)(?=[^\s_])[^_\n]*(?<=\S)_(?!\w)"
    r"|['‘](?<![\w'‘’].)(?=\S)(?:[^'‘’\n]|(?<=\w)['’](?=[a-zA-Z]))+(?<=\S)['’](?![a-zA-Z0-9])"
    r"|[(（][^()（）\n]+[)）]|\[[^\[\]\n]+\]|【[^【】\n]+】"
)
_DASH = "ㅡ—–―-"
_DASHED = re.compile(
    rf"(?:(?<=\n)|\A|(?<=[.!?…~”」\"] ))(?P<dash>[{_DASH}])(?P=dash){{0,2}} ?(?=[^\s{_DASH}])"
    rf"[^\n{_DASH[:-1]}]{{1,300}}?(?P=dash){{1,3}}(?=[ \t]*(?:\n|\Z)|[ \t]+[^\s{_DASH}])"
)
"""Korean chats write what is done as -걷는다- or ㅡ걷는다ㅡ."""
_ANGLED = re.compile(
    r"(?:(?<=\n)|\A|(?<=[.!?…~)*] ))"
    r"(?:<(?=[^<>\n]{0,300}[가-힣])[^<>\n/=]{2,300}>|〈[^〈〉\n]{1,300}〉)"
)
_BOLD = re.compile(r"(?<!\*)\*\*(?=[^\s*])([^*\n]{2,300})(?<=\S)\*\*(?!\*)")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")


class Piece(NamedTuple):
    """A stretch of the text that one mark encloses, or none (`bare`)."""

    start: int
    end: int
    mark: Mark


def segments(
    text: str, cast: Cast, *, quotes: bool = True, found: Sequence[Window] = ()
) -> list[ResponseContent]:
    """Splits a cleaned reply into typed pieces.

    Args:
        text: the reply.
        cast: who wrote it.
        quotes: False where quotation marks mean titles: when a pair around the whole was removed.
        found: its status windows.

    Returns:
        Pieces whose texts and spans join to exactly `text`; white space belongs to what is before
        it. None for an empty text. No piece goes over an empty line.
    """
    parts = [pieces(text, *part, quotes=quotes) for part in paragraphs(text, 0, found)]
    used = {piece.mark for part in parts for piece in part}
    return [c for part in parts for c in typed(text, part, cast, used)]


def typed(
    text: str, paragraph: Iterable[Piece], cast: Cast, used: Set[Mark]
) -> Iterator[ResponseContent]:
    """The pieces of a paragraph as content, once it is known which marks the reply uses."""
    quoted = "quote" in used
    bare: Kind = "narration" if quoted or cast.speaker == "narrator" else "dialogue"
    open_kind: Kind | None = None
    start = end = 0
    for piece in paragraph:
        kind = _kind(text, piece, bare, quoted, quoted or "star" in used)
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
    match piece.mark:
        case "quote":
            return "dialogue"
        case "star":
            thinks = quoted and _is_thought(text, piece.start, piece.end)
            return "thought" if thinks else "action"
        case "underscore":
            return "thought" if styled else "action"
        case "single":
            # in Korean and Japanese ‘…’ never is speech
            sure = quoted or _HANGUL_OR_KANA.search(text, piece.start, piece.end)
            return "thought" if sure else bare
        case "thought":
            return "thought"
        case "stage":
            return "action"
        case "status":
            return "status"
        case "bare":
            return bare


def _content(text: str, start: int, end: int, kind: Kind, cast: Cast) -> ResponseContent:
    """A piece and whose it is: narration is the narrator's, also in a character's reply."""
    speaker = NARRATOR if kind in ("narration", "status") else cast.writer
    return ResponseContent(type=kind, speaker=speaker, text=text[start:end], span=(start, end))


def paragraphs(
    text: str, start: int, found: Iterable[Window] = ()
) -> Iterator[tuple[int, int, bool]]:
    """The spans of the paragraphs from `start` on; each holds the empty lines behind it.

    A status window is a paragraph of its own, for which the third is true.
    """
    for window in found:
        yield from _paragraphs(text, start, window.start)
        yield window.start, window.end, True
        start = window.end
    yield from _paragraphs(text, start, len(text))


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """The paragraphs of a stretch without a status window."""
    for match in _PARAGRAPH_END.finditer(text, start, end):
        yield start, match.end(), False
        start = match.end()
    if start < end:
        yield start, end, False


def pieces(
    text: str, start: int, end: int, is_status: bool = False, *, quotes: bool = True
) -> list[Piece]:
    """Splits `text[start:end]`, a paragraph, without a gap or an overlap.

    Args:
        text: the whole reply.
        start: where the paragraph starts.
        end: where it ends.
        is_status: it is a status window.
        quotes: whether quotation marks enclose speech here.
    """
    if is_status:
        return [Piece(start, end, "status")]
    marked = list(_quotations(text, start, end)) if quotes else []
    if text.find("<", start, end) >= 0 or text.find("〈", start, end) >= 0:
        marked += _angled(text, start, end)
    if not text.isascii() and text.find("**", start, end) >= 0:
        marked += _bold(text, start, end, _taken(marked, start, end))
    if text.find("*", start, end) >= 0:
        taken = _taken(marked, start, end)
        for star in _starred(text, start, end, taken):
            marked += _uncovered(star, start, taken, text)
    if _OTHER_MARK.search(text, start, end):
        taken = _taken(marked, start, end)
        for match in _OTHERS.finditer(text, start, end):
            if 1 not in taken[match.start() - start : match.end() - start]:
                marked += _other(text, match, end)
    if not text.isascii() and _HANGUL.search(text, start, end):
        marked += _dashed(text, start, end, _taken(marked, start, end))
    return _filled(text, start, end, sorted(marked))


def _angled(text: str, start: int, end: int) -> Iterator[Piece]:
    """Korean sentences in <…> or 〈…〉: speech, or a deed; a word in <…> is a title or a tag."""
    for match in _ANGLED.finditer(text, start, end):
        inner = match[0][1:-1].strip()
        tells = _tells_deed(inner)
        counts = tells or text[match.start()] == "〈" or is_complete(inner)
        if counts and not _is_title(text, match.start(), match.end()):
            yield Piece(match.start(), match.end(), "stage" if tells else "quote")


def _bold(text: str, start: int, end: int, taken: bytearray) -> Iterator[Piece]:
    """Korean deeds in bold; other bold words are stressed."""
    for match in _BOLD.finditer(text, start, end):
        at, until = match.span()
        if 1 not in taken[at - start : until - start] and _tells_deed(match[1]):
            yield Piece(at, until, "stage")


def _dashed(text: str, start: int, end: int, taken: bytearray) -> Iterator[Piece]:
    """Korean stage directions between dashes."""
    for match in _DASHED.finditer(text, start, end):
        at, until = match.span()
        if 1 not in taken[at - start : until - start] and _HANGUL.search(text, at, until):
            yield Piece(at, until, "stage")


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
        closed = _partner(text, at, min(end, at + _LONGEST_PAIR))
        until = closed or _line_end(text, at, end)
        if not closed or not _is_title(text, at, closed):
            yield Piece(at, until, "quote")
        at = until


def _opens_quotation(text: str, at: int) -> bool:
    """Whether a quotation begins with the mark at `at`, where none is open."""
    if text[at] != '"':
        return text[at] in PAIRS
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not after or after.isspace() or _is_measure(text, at):
        return False
    return not (before.isascii() and before.isalnum())


def _partner(text: str, at: int, end: int) -> int:
    """The end of the quotation that opens at `at`; 0 when it is left open."""
    opening = text[at]
    closing, depth = PAIRS.get(opening, '"'), 0
    for match in _PAIR[opening].finditer(text, at + 1, end):
        here, mark = match.start(), match[0]
        if closing == '"':
            if _is_measure(text, here):
                continue
            is_opening = _opens(text, here)
        else:
            is_opening = mark == opening
        if is_opening and text[here - 1] == "\n":
            return 0
        if not (is_opening or depth):
            return here + 1
        depth += 1 if is_opening else -1
        if depth > _DEEPEST:
            return 0
    return 0


def wrapping(text: str) -> Literal["whole", "open", "no"]:
    """Whether one pair of quotation marks encloses the text.

    Returns:
        `whole`: it does, and may be taken off. `open`: the first mark is not closed yet.
        `no`: there is none, or other text follows its partner.
    """
    if not text or (text[0] != '"' and text[0] not in PAIRS):
        return "no"
    closed = _partner(text, 0, len(text))
    return "open" if not closed else "whole" if closed == len(text) else "no"


def _opens(text: str, at: int) -> bool:
    """Whether the straight mark at `at`, inside a quotation, opens one more."""
    before = text[at - 1] if at else " "
    after = text[at + 1] if at + 1 < len(text) else " "
    return not after.isspace() and (before.isspace() or before in "([{（")


def _is_measure(text: str, at: int) -> bool:
    """Whether the mark at `at` means inches, as in 6'2\"."""
    return text[at - 1 : at] in _ENDS_FEET and _FEET.search(text, max(0, at - 4), at) is not None


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
            inner = text[at + 1 : until - 1]
            if inner.casefold().replace("’", "'") not in _STRESSED:  # I *really* mean it
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
        if _is_inner_voice(text, at, until):
            yield Piece(at, until, "single")
    elif _THOUGHT_LABEL.fullmatch(text, at + 1, until - 1):
        yield Piece(at, _line_end(text, at, end), "thought")
    elif text[at] in "[【":
        if _THOUGHT_PREFIX.match(text, at + 1, until - 1):
            yield Piece(at, until, "thought")
        elif _stands_alone(text, at, until) and _DONE.search(text, at, until - 1):
            yield Piece(at, until, "stage")
    elif kind := _parenthesis(text, at, until):
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


_ENDS = ".!?…~,—–-♡。！？～"
_HANGUL = re.compile("[가-힣]")
_HANGUL_OR_KANA = re.compile("[\u3040-\u30ff\uac00-\ud7a3]")

_SAYING_BEFORE = re.compile(
    r"(?:sa(?:y|id)|ask|whisper|repl[iy]|answer|mutter|murmur|shout|yell|cr(?:y|ied)|add|exclaim"
    r"|scream|breathe|snap|hiss|growl|beg|mumble|sigh|gasp)\w*",
    re.IGNORECASE,
)
_SAYING_AFTER = re.compile(
    r"\s?(?:이?라고\s*(?:말|했|외|속삭|중얼|대답|답|물|소리|덧붙)|이?라며|하고\s|하며\s"
    r"|(?:\w+ )?(?:says?|said|asks?|asked|whispers?|whispered|replie[sd]|mutters?|muttered|shouts?"
    r"|shouted|cries|cried|yells?|yelled|murmurs?|murmured)\b)",
    re.IGNORECASE,
)
_SPOKEN = r"(?! ?\S{0,3} ?(?:말|소리|목소리|대답|질문|외침|인사|声|言葉|返事))"
_PARTICLE = (
    r"(?:을|를|은|는|이|가|의|에|에서|와|과|도|란|이란|이?라는)(?=[ \n,.])|という|[をはがの]"
)
_NAMED_AFTER = re.compile(f"(?:{_PARTICLE}){_SPOKEN}")
"""A particle that makes the words before it a thing: 『달빛의 노래』를 읽던."""
_STRESSABLE = (
    "a absolutely actually all always am and any anyone anything are be been but can can't "
    "completely could definitely did didn't do does doesn't don't ever every everyone everything "
    "exactly few finally had has have he her here him his how i if is isn't it just like literally "
    "many me mine more most much must my never no nobody not nothing now one only or our own "
    "really she should so some still such that the their them then there these they this those "
    "too totally us very was wasn't we were what when where which who why will won't would yes you "
    "your yours"
)
_STRESSED = frozenset(_STRESSABLE.split())
_THINKING_AFTER = re.compile(
    r"[, \t]*+(?:(?:\w+ )?(?:thought|thinks?|wondered|wonders?)\b|(?:이?라고|하고|라는)?[ \t]*생각)"
)
_THOUGHT_LABEL = re.compile(
    r"\s*(?:속\s?)?(?:생각|마음의? ?소리)\s*|\s*속마음\s*|\s*thoughts?\s*|\s*thinking\s*", re.I
)
_THOUGHT_PREFIX = re.compile(r"\s*(?:생각|속마음|속으로|내심|thinking|thoughts?)\b\s*[:：,]?", re.I)
_NOUN_FORMS = syllables_ending_in("ㅁ")
_DONE = re.compile(
    rf"(?:[가-힣]다\.?|[가-힣](?:며|면서|고서?|채로?|듯이?|[아어]서|지만|더니|[는은]\s?중)[,.…]*"
    rf"|[{_NOUN_FORMS}][.…~]*)$"
)
"""How a Korean stage direction ends: told (연다.), joined (쉬며…) or as a noun (끄덕임)."""
_OF_MINE = re.compile(r"(?:나|난|내|저|전|제|우리|너|넌|네)(?:는|가|도|희)? ")
_FELT = re.compile(
    rf"(?:[{syllables_ending_in('ㅆ')}]어|잖아|겠지|[으]?ㄹ까|[가-힣](?:네요?|거야|는데))$"
)
_FIRST_PERSON = re.compile(r"\b(?:I|my|me|we)\b", re.IGNORECASE)
_OUT_OF_CHARACTER = re.compile(r"\s*(?:ooc|note|a/?n)\b", re.IGNORECASE)


def _is_title(text: str, start: int, end: int) -> bool:
    """Whether the quotation `text[start:end]` names something and nobody says it.

    A title is short and has no mark of a sentence in it. It has a particle behind it, or stands
    behind a word of the same line with no verb of saying beside it: `We watched "Interstellar"
    together`.
    """
    inner = text[start + 1 : end - 1]
    if not inner or len(inner) > 40 or inner.count(" ") > 3 or inner[-1] in _ENDS:
        return False
    if _NAMED_AFTER.match(text, end):
        return True
    before = text[max(0, start - 40) : start].rstrip(" ")
    if not before or not before[-1].isalnum():
        return False
    word = before[max(before.rfind(" "), before.rfind("\n")) + 1 :]
    return not (_SAYING_BEFORE.match(word) or _SAYING_AFTER.match(text, end))


def _is_inner_voice(text: str, start: int, end: int) -> bool:
    """Whether ‘…’ or '…' at `text[start:end]` is a sentence that somebody thinks."""
    if text[end - 2] in _ENDS or _THINKING_AFTER.match(text, end):
        return True
    alone = end == len(text) or text[end] == "\n"
    return alone and (start == 0 or text[start - 1] == "\n")


def _is_thought(text: str, start: int, end: int) -> bool:
    """Whether a starred piece of prose is thought: a question, or `she thought` behind it."""
    marked = text[start:end].rstrip()
    return marked.endswith("?*") or _THINKING_AFTER.match(text, start + len(marked)) is not None


def _parenthesis(text: str, start: int, end: int) -> Literal["thought", "stage"] | None:
    """What `text[start:end]`, in parentheses, is; None for a remark in a sentence."""
    inner = text[start + 1 : end - 1].strip()
    if not inner or _OUT_OF_CHARACTER.match(inner):
        return None
    if _THOUGHT_PREFIX.match(inner):
        return "thought"
    if not _stands_alone(text, start, end):
        return None
    if _HANGUL.search(inner):
        return "thought" if _thinks(inner) else "stage"
    if inner[-1] not in _ENDS:
        return "stage" if inner.count(" ") < 6 and any(map(str.isalpha, inner)) else None
    if _HANGUL_OR_KANA.search(inner):
        return None if inner.endswith("다.") else "thought"
    return "thought" if inner[-1] in "?…" or _FIRST_PERSON.search(inner) else None


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether what `text[start:end]` encloses is no part of a sentence around it."""
    before = text[max(0, start - 8) : start].rstrip(" ")
    if before and before[-1] not in f'\n*"”」』»〉_)）{_ENDS}':
        return False
    if end == len(text) or text[end] in ' \n\t*"“「『〈<([【_':
        return True
    return (
        is_syllable(text[end])
        and not _NAMED_AFTER.match(text, end)
        and bool(_DONE.search(text, start, end - 1))
    )


def _tells_deed(inner: str) -> bool:
    """Whether a Korean sentence tells what somebody does, and is not said of oneself."""
    return not _OF_MINE.match(inner) and is_direction(inner)


def _thinks(inner: str) -> bool:
    """Whether a Korean parenthesis is inner speech: a sentence that nobody would tell."""
    if _DONE.search(inner):
        return False
    return inner[-1] in _ENDS or _FELT.search(inner) is not None
