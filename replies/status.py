"""Status windows: the figures of a game that role-play models write around a reply.

`[호감도: 30 | 장소: 옥상]`, a fence of three backticks, a table, or lines such as `HP: 10/20` with
or without a heading (`【상태창】`). A window is read as pairs of a key and a value, and is nobody's
words. What a line of one tells by itself, `replies/status_lines.py` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from replies.status_lines import (
    ANY_KEY_KO,
    BARS,
    COLON,
    FRAME,
    HEADING,
    HEADING_WORDS,
    LONGEST_KEY,
    LONGEST_LINE,
    PARTNER,
    PICTURE,
    PURE_FIGURE,
    QUOTES,
    RULE_ROW,
    Pair,
    Row,
    closes,
    heading_of,
    is_figure,
    is_key,
    loose_row,
    pairs_of,
    row_of,
    with_item,
    words_of,
)

_MOST_LINES = 80
"""Of a window; more are a text."""
_LONGEST_BRACKET = 600
_BULLET = re.compile(r"[ \t>]*[-*•·▪▸►▶◆└├+][ \t]+")
_BOTTOMS = "└┗╚╰"
_RULE = re.compile(r"[ \t]*+(?:[-=_*~─━═]{3,}+|[┌┏╔╭└┗╚╰][─━═]++[┐┓╗╮┘┛╝╯])[ \t]*+")
_CROSSBAR = re.compile(r"[ \t]*+[├┣╠][─━═┼╋╬]{2,}+[┤┫╣]?[ \t]*+")
_CLOSING_LINE = re.compile(
    rf"{_RULE.pattern}|[ \t]*+(?:</[^<>/\n]{{1,24}}>|\[/[^\[\]/\n]{{1,24}}\])[ \t]*+"
)
_FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}|~{3,})[^`~\n]{0,24}")
_BACKTICKS = re.compile(r"^[ \t]*+`{3,}+[^`\n]{0,200}+$", re.MULTILINE)
_ANNOUNCES = re.compile(r"[:：]\s*$|이렇게|다음|아래|follow|below", re.IGNORECASE)
_HINT = re.compile(rf"[:：|│║\]】〕》\d■□▮▯▰▱█▓▒░♥♡{PICTURE}]|```|~~~")
_LINE_HINT = re.compile(rf"[ \t]*[^\w\s{QUOTES}.,!?…]|[^\n:：]{{1,40}}[:：|]|\w{{1,9}}[ \t]*$")
_OPENS_BRACKET = re.compile(r"(?:[*`>#]{1,3} ?)?[\[【〔〈《<{(（]")
_ENDS_PROSE = frozenset('.!?…~"”」’')
_SAID = re.compile(rf"[ \t*_]{{0,40}}[{QUOTES}]|[^\n]{{0,{LONGEST_LINE}}}?[.!?…~](?:\s|$)")
_FIGURE_BEGINS = re.compile(rf"[ \t*_]*(?:[+\-−]?\d|[{PICTURE}]|$|{ANY_KEY_KO}\s?\d)")
"""Behind the colon of a tag: a number, perhaps with its key before."""
_TORN = re.compile(r"[\[【〔][^\]】〕]{0,60}")
_TORN_SERIES = re.compile(
    r"(?:[\[【〔][^\[\]【】〔〕\n]{2,100}[\]】〕]\s?){1,12}[\[【〔][^\[\]【】〔〕]{0,60}"
)
_KOREAN_OR_PICTURE = re.compile(rf"[가-힣{PICTURE}]")
_PROSE = re.compile(r"[\w\"“‘「『][^:：|│\n]{0,400}?[.!?…\"”」]")
"""The beginning of a line that is none of a window, however it goes on."""
_INLINE = re.compile(
    r"[*`]{0,3}(?:\[[^\[\]\n]{3,300}\]|【[^【】\n]{3,300}】|〔[^〔〕\n]{3,300}〕)[*`]{0,3}"
)
_INLINE_OPEN = re.compile(
    r"(?<=[\s.!?…~\"”」』*])[*`]{0,3}(?:[\[【〔][^\[\]【】〔〕\n]{2,100}[\]】〕]\s?){0,12}"
    r"[\[【〔](?P<inner>[^\[\]【】〔〕\n]{2,300})\Z"
)


class Window(NamedTuple):
    """A status window `text[start:end]`; white space behind it is its own.

    Attributes:
        pairs: its keys and values in order, without the marks around them.
        closed: a mark of its own ends it; else more of it might have followed.
    """

    start: int
    end: int
    pairs: tuple[Pair, ...]
    closed: bool


class _Block(NamedTuple):
    """What begins at a line: a window or none, the line behind it, and whether lines that may
    follow could change either."""

    after: int
    window: Window | None = None
    is_open: bool = False


Span = tuple[int, int]


def windows(text: str) -> list[Window]:
    """The status windows of a reply, in order."""
    if not _may_hold(text):
        return []
    return _scan(text, list(_lines(text, 0)), growing=False)[0]


def _may_hold(text: str) -> bool:
    """Whether there may be a window in a text; most hold none."""
    if text.isascii():
        return ":" in text or "|" in text or "]" in text or "```" in text
    return _HINT.search(text) is not None


def is_over(text: str, window: Window) -> bool:
    """Whether nothing that follows a window can be a line of it."""
    return window.closed or "\n\n" in text[window.start : window.end][-8:]


class Settled(NamedTuple):
    """What is known of the windows of a growing text.

    Attributes:
        windows: those that nothing later changes.
        known: up to where it is known that there are no more.
        again: the line at which to go on when there is more of the text.
    """

    windows: list[Window]
    known: int
    again: int


def settled_windows(text: str, start: int) -> Settled:
    """Reads the windows of a growing text from `start`: its beginning, or where it is to go on."""
    lines = list(_lines(text, start))
    last = lines[-1][0]
    if not _PROSE.match(text, last):
        lines = lines[:-1]  # it may become a line of a window
    found, known = _scan(text, lines, growing=True) if lines else ([], start)
    whole = [window for window in found if window.start < last]
    if whole and whole[-1].end >= last and not is_over(text, whole[-1]):
        known = whole.pop().start  # it goes, if the token limit breaks the next line off
    return Settled(whole, min(known, len(text)), min(known, last))


def without_unfinished(text: str) -> str | None:
    """A text that the token limit broke off, without a window at its end that is not finished.

    Lines without a mark around them are none that is finished: more of them may have followed.

    Returns:
        None where no window stands at the end of the text, which has no white space there.
    """
    found = windows(text)
    last = found[-1] if found else None
    if last and last.end == len(text) and last.closed:
        return text
    start = fence = open_fence(text)
    if fence == len(text):
        start = min(bare_opening(text), _torn_line(text))
        if start < len(text):
            start = rows_before(text, start)
    joins = fence == len(text) and last and last.end >= start and not is_over(text, last)
    if last and (joins or len(text[: last.end].rstrip()) > start):
        start = last.start
    elif start == len(text):
        line = max(text.rfind("\n") + 1, len(text) - 2 * LONGEST_LINE)
        if torn := _INLINE_OPEN.search(text, line):
            row = row_of(f"[{torn['inner']}]")
            start = torn.start() if row and row.told else start
    if start == len(text):
        return None
    kept = text[: _with_rule(text, start)].rstrip()
    return kept[: bare_opening(kept)].rstrip()


def rows_before(text: str, start: int) -> int:
    """Where the marked lines of a window begin that stand right above a torn line at `start`."""
    for _ in range(_MOST_ABOVE):
        above = text.rfind("\n", 0, start - 1) + 1 if start > 1 else start
        row = row_of(text[above : start - 1]) if above < start else None
        if not (row and row.told and row.marked):
            break
        start = above
    return start


def open_fence(text: str) -> int:
    """Where a fence of backticks begins that is not closed; the length of the text if none is."""
    if "```" not in text:
        return len(text)
    fences = [found.start() for found in _BACKTICKS.finditer(text)]
    return fences[-1] if len(fences) % 2 else len(text)


def is_status(line: str) -> bool:
    """Whether a line by itself tells that it belongs to a window."""
    row = row_of(line, sure=True)
    return row is not None and row.told > 0


def may_be_entry(text: str, start: int, colon: int) -> bool:
    """Whether a line that begins like a tag up to `colon` may be one of a window: a figure may
    follow, or the line before it says that there is one."""
    if _BULLET.match(text, start) or _FIGURE_BEGINS.match(text, colon):
        return not _SAID.match(text, colon)
    before = _line_before(text, start)
    if not before or before[-1] in _ENDS_PROSE or _SAID.match(text, colon):
        return False
    return bool(_FENCE.fullmatch(before) or heading_of(before) or row_of(before))


def is_entry(text: str, start: int, end: int) -> bool:
    """Whether the line `text[start:end]`, which begins like a tag, belongs to a window.

    Its value is no sentence, and it stands behind another line of the window, or it is a figure.
    """
    row = row_of(text[start:end])
    if row is None or not row.pairs:
        return False
    if row.bracketed and len(row.pairs) > 1:
        return row.told > 0
    figures = all(is_figure(value) for _, value in row.pairs)
    match _context(text, start):
        case "known":
            return True
        case "told":
            return figures or row.told > 0
        case "other":
            return figures
    return (row.marked or all(PURE_FIGURE.fullmatch(value) for _, value in row.pairs)) and figures


_MOST_ABOVE = 12
"""Lines before a line that may say that a window began."""


def _context(text: str, start: int) -> Literal["known", "told", "other", ""]:
    """What the lines before `start` say: a fence or a heading, or a line that only windows have."""
    for _ in range(_MOST_ABOVE):
        before = _line_before(text, start)
        start = text.rfind(before, 0, start) if before else 0
        if _FENCE.fullmatch(before):
            return "known"
        if heading := heading_of(before):
            return heading
        row = row_of(before)
        if row is None:
            return ""
        if row.told or row.cells:
            return "told"
    return ""


def _scan(text: str, lines: list[Span], *, growing: bool) -> tuple[list[Window], int]:
    """The windows in lines, and where the first line begins that may yet belong to another."""
    found: list[Window] = []
    row = 0
    while row < len(lines):
        begin, end = lines[row]
        if not _LINE_HINT.match(text, begin, end):
            row += 1
            continue
        block = _block(text, lines, row)
        window = block.window or _inline(text, begin, end)
        if growing and (block.is_open or (window and window.end == len(text))):
            return found, begin
        if window:
            start = max(window.start, found[-1].end if found else 0)  # behind the white space
            found.append(window._replace(start=start))
        row = block.after
    return found, lines[-1][1] + 1


def _block(text: str, lines: list[Span], row: int) -> _Block:
    """Reads the window that begins at a line, with the rule and the headings before it."""
    at, heading = row, ""
    ruled = bool(_RULE.fullmatch(text, *lines[row]) or _CROSSBAR.fullmatch(text, *lines[row]))
    if ruled:
        at = _filled(lines, at + 1)
    while at < min(len(lines), row + 6) and (kind := heading_of(text[slice(*lines[at])])):
        following = _filled(lines, at + 1)
        is_key = COLON.search(text, *lines[at]) and following < len(lines)
        if is_key and _BULLET.match(item := text[slice(*lines[following])]) and not row_of(item):
            break  # of a list
        heading = kind if heading != "known" else heading
        at = following
    if at >= len(lines):
        return _Block(row + 1, is_open=at > row)
    first = text[slice(*lines[at])]
    if fence := _FENCE.fullmatch(first):
        return _fenced(text, lines, row, at, fence["mark"])
    if (opened := _OPENS_BRACKET.match(first)) and PARTNER[opened[0][-1]] not in first:
        return _bracketed(text, lines, row, at)
    return _listed(text, lines, row, at, heading or ("rule" if ruled else ""))


def _fenced(text: str, lines: list[Span], row: int, at: int, mark: str) -> _Block:
    """A window between fences: at least half of its lines are a window's."""
    rows: list[Row] = []
    others = 0
    for number in range(at + 1, min(len(lines), at + _MOST_LINES)):
        line = text[slice(*lines[number])]
        if line.strip() == mark:
            if not rows or others > len(rows):
                return _Block(number + 1)
            return _Block(number + 1, _window(text, lines, row, number, rows, closed=True))
        if entry := row_of(line, sure=True):
            rows.append(entry)
        elif line.strip() and not heading_of(line) and not _RULE.fullmatch(line):
            others += 1
            if others > len(rows) + 2:
                return _Block(number)
    if len(lines) - at >= _MOST_LINES:
        return _Block(at + _MOST_LINES)
    if not rows or others >= len(rows):
        return _Block(len(lines), is_open=True)
    window = _window(text, lines, row, len(lines) - 1, rows, closed=False)
    return _Block(len(lines), window, is_open=True)


def _bracketed(text: str, lines: list[Span], row: int, at: int) -> _Block:
    """A window in one pair of brackets over several lines."""
    begin = lines[at][0]
    opening = next(mark for mark in text[begin : begin + 6] if mark in PARTNER)
    inner = text.find(opening, begin) + 1
    closing = text.find(PARTNER[opening], inner, inner + _LONGEST_BRACKET)
    if closing < 0 and len(text) - inner > _LONGEST_BRACKET:
        return _Block(row + 1)
    if closing > lines[-1][1]:  # in a line that may still grow
        return _Block(row + 1, is_open=True)
    until = closing if closing >= 0 else len(text)
    rows: list[Row] = []
    number, others = at, 0
    while number < len(lines) and lines[number][0] <= until:
        line = text[max(inner, lines[number][0]) : min(until, lines[number][1])].strip(" \t|,")
        if entry := row_of(line, sure=True, piped=True):
            rows.append(entry)
        elif line and not heading_of(line) and not (number == at and len(line) <= LONGEST_KEY):
            others += 1
        number += 1
    if others > (closing < 0):  # the last line of an open one may be torn
        return _Block(row + 1, is_open=closing < 0)
    last = number - 1
    if closing >= 0 and text[closing + 1 : lines[last][1]].strip(" \t*`"):
        return _Block(row + 1)
    if not rows or not (len(rows) > 1 or rows[0].told or len(rows[0].pairs) > 1):
        return _Block(row + 1, is_open=closing < 0)
    window = _window(text, lines, row, last, rows, closed=closing >= 0)
    return _Block(last + 1, window, is_open=closing < 0)


def _listed(text: str, lines: list[Span], row: int, at: int, before: str) -> _Block:
    """A window of lines that follow one another; an empty line may stand between two of them."""
    rows: list[Row] = []
    number, last = at, at - 1
    while number < min(len(lines), at + _MOST_LINES):
        line = text[slice(*lines[number])]
        if entry := row_of(line, sure=bool(before)):
            rows.append(entry)
        elif rows and _BULLET.match(line) and rows[-1].is_list:
            rows[-1] = with_item(rows[-1], line)
        elif rows and number == last + 1 and (entry := loose_row(line, rows[-1])):
            rows.append(entry)
        elif not (rows and (heading_of(line) or _CROSSBAR.fullmatch(line))):
            break
        else:
            number = _filled(lines, number + 1)
            continue
        last = number
        number = _filled(lines, number + 1)
    touches = number >= len(lines)
    if not rows:
        return _Block(row + 1)
    if not _is_window(text, lines, row, rows, before, is_tail=touches):
        return _Block(last + 1, is_open=touches)
    closed = rows[-1].bracketed
    if not touches and _CLOSING_LINE.fullmatch(text, *lines[number]):
        last, closed = number, True
    return _Block(last + 1, _window(text, lines, row, last, rows, closed=closed), touches)


def _is_window(
    text: str, lines: list[Span], row: int, rows: list[Row], before: str, *, is_tail: bool
) -> bool:
    """Whether rows of such kinds are a window.

    Args:
        before: `known` or `other` heading, `rule`, or nothing.
        is_tail: nothing follows.
    """
    told = sum(entry.told for entry in rows)
    count = sum(max(1, len(entry.pairs)) for entry in rows)
    if any(entry.cells for entry in rows):
        return len(rows) > 1 and (told > 0 or RULE_ROW in [entry.cells for entry in rows])
    if before == "known" or all(entry.bracketed for entry in rows):
        return before == "known" or told > 0 or count > len(rows)
    if told and (before or count > 1):
        return 3 * told >= count
    if count == 1:
        return told > 1 or (rows[0].is_list and rows[0].pairs[0][1] != "")
    apart = row == 0 or lines[row - 1][0] == lines[row - 1][1]
    announced = _ANNOUNCES.search(_line_before(text, lines[row][0])) is not None
    return is_tail and not announced and (before or apart) and all(e.marked for e in rows)


def _window(
    text: str, lines: list[Span], row: int, last: int, rows: list[Row], *, closed: bool
) -> Window:
    """The window of some lines, with the white space behind it."""
    end = lines[last][1]
    while end < len(text) and text[end].isspace():
        end += 1
    return Window(lines[row][0], end, tuple(pairs_of(rows)), closed)


def _inline(text: str, begin: int, end: int) -> Window | None:
    """A bracket at the beginning or the end of a line of prose."""
    for found in _INLINE.finditer(text, begin, end):
        at_edge = not text[begin : found.start()].strip() or not text[found.end() : end].strip()
        row = row_of(found[0]) if at_edge else None
        if row and row.told:
            until = found.end()
            while until < len(text) and text[until].isspace():
                until += 1
            return Window(found.start(), until, row.pairs, closed=True)
    return None


def bare_opening(text: str, *, growing: bool = False) -> int:
    """Where a fence or a heading without a line of its window begins, or a Korean bracket that is
    not closed, at the end of a text; its length where there is none. Of a growing text, also what
    may become one."""
    line = text.rfind("\n") + 1
    last = text[line:].strip()
    if not last or last[0].isalnum():
        return len(text)
    if last[0] in "[【〔" and _TORN.fullmatch(last):
        is_opening = growing or _KOREAN_OR_PICTURE.search(last) is not None
    elif fence := _FENCE.fullmatch(last):
        is_opening = text.count(fence["mark"]) % 2 == 1
    elif not last.strip(FRAME):
        is_opening = last[0] not in _BOTTOMS or last[-1] not in "┘┛╝╯"
    elif len(last) > 40:
        is_opening = False
    elif growing:
        bare = words_of(last).casefold()
        is_opening = any(word.startswith(bare) for word in HEADING_WORDS)
    else:
        is_opening = HEADING.fullmatch(words_of(last)) is not None
    return _with_rule(text, line) if is_opening else len(text)


def _with_rule(text: str, line: int) -> int:
    """The beginning of a line, or of the rule above it."""
    before = text[:line].rstrip()
    above = before.rfind("\n") + 1
    is_rule = _RULE.fullmatch(before, above) and before[above:].lstrip()[0] not in _BOTTOMS
    return above if is_rule else line


def _torn_line(text: str) -> int:
    """Where the last line begins, if it is of a window and torn: a key in brackets, a bracket
    behind others, or a row of a table, which goes with those above; the length of the text if not.
    """
    line = text.rfind("\n") + 1
    last = text[line:].strip()
    if last[:1] in PARTNER and (
        (closes(last) and is_key(words_of(last))) or _TORN_SERIES.fullmatch(last)
    ):
        return line
    if last[:1] not in BARS or (len(last) > 1 and last[-1] == last[0]):
        return len(text)
    for _ in range(_MOST_LINES):
        above = text.rfind("\n", 0, line - 1) + 1 if line else 0
        if above == line or text[above] not in f"{BARS}┌┏╔╭├┣╠":
            break
        line = above
    return line


def _lines(text: str, start: int) -> Iterator[Span]:
    """The spans of the lines from `start`, without their line feeds."""
    while start <= len(text):
        end = text.find("\n", start)
        end = end if end >= 0 else len(text)
        yield start, end
        start = end + 1


def _filled(lines: Sequence[Span], row: int) -> int:
    """The next line from `row` on that is not empty."""
    while row < len(lines) and lines[row][0] == lines[row][1]:
        row += 1
    return row


def _line_before(text: str, start: int) -> str:
    """The last line before `start` that is not empty."""
    end = start
    while end and text[end - 1].isspace():
        end -= 1
    return text[text.rfind("\n", 0, end) + 1 : end]
