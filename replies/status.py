"""Status windows: the figures of a game that role-play models write around a reply.

`[호감도: 30 | 장소: 옥상]`, a fence of three backticks, a table, or lines such as `HP: 10/20` with
or without a heading (`【상태창】`). A window is read as pairs of a key and a value, and is nobody's
words.

Many things have a colon: speech (`Note: stay left.`), a list that is read out, the head of a
letter. So lines without a mark around them need evidence: a key that such windows have, or a value
that is a figure. What ends like a sentence is no value, unless its key is one of those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from replies.edges import is_complete

Pair = tuple[str, str]

LONGEST_LINE = 240
_LONGEST_KEY = 24
_MOST_LINES = 80
"""Of a window; more are a text."""
_LONGEST_BRACKET = 600

_KEYS_KO = """
    호감도 호감 신뢰도 신뢰 애정도 애정 친밀도 친밀감 의존도 집착도 경계심 경계도
    긴장도 긴장감 흥분도 스트레스 피로도 피로 행복도 행복 분노 질투 체력 생명력
    마력 마나 기력 정신력 이성치 스태미나 지구력 포만감 허기 갈증 배고픔 레벨 등급
    경험치 공격력 방어력 근력 힘 민첩 지능 지혜 매력 행운 스탯 능력치 스킬 특성
    칭호 골드 소지금 소지품 재화 잔고 인벤토리 아이템 장비 무기 상태 상태이상
    컨디션 기분 감정 심리 속마음 위치 장소 배경 시간 시각 날짜 요일 계절 날씨
    기온 복장 옷차림 의상 자세 표정 상황 관계 관계도 목표 퀘스트 임무 직업 종족
    나이 성별 이름 소속 점수 진행도 진행률 턴 챕터 동행 동료 평판 명성 위험도
    부상 체온 심박수 호칭
"""
_KEYS_EN = """
    affection trust love favor intimacy mood emotion feeling feelings location place setting
    time date day weather season outfit clothes clothing attire posture pose health hp mp sp
    ap xp exp lv level rank mana stamina energy hunger thirst stress sanity strength agility
    intelligence luck charisma gold money coins inventory items equipment weapon status
    condition relationship goal quest mission objective class race age score points turn
    chapter reputation danger thoughts
"""
_HEADINGS = """
    상태창|상태|현재 상태|상태 정보|스탯|스탯창|스테이터스|능력치|정보|정보창|현재 정보|
    프로필|인물 정보|등장인물|등장 인물|인물|인물 관계|호감도|호감도 현황|관계|관계도|
    인벤토리|소지품|퀘스트|현황|status|status window|status bar|
    stats|info|profile|characters|character info|
    inventory|relationship|relationships|current status|state
"""
_ANY_KEY_KO = "(?:" + "|".join(_KEYS_KO.split()) + ")"
_KEY_KO = re.compile(_ANY_KEY_KO + r"(?:\s?\([^()]{1,12}\)|치|값|수치)?$")
_KEY_EN = re.compile("(?<![a-z])(?:" + "|".join(_KEYS_EN.split()) + ")$", re.IGNORECASE)
_HEADING_WORDS = tuple(word.strip() for word in _HEADINGS.split("|"))
_HEADING = re.compile("|".join(_HEADING_WORDS), re.IGNORECASE)
_NO_KEY = re.compile(  # heads of letters, remarks to the reader, thoughts
    r"(?:보낸|보내는|받는)\s?(?:사람|이|곳)|제목|수신|발신|추신|참고|주의|속마음|생각|속으로|요약|요지|결론|질문|답"
    r"|from|to|subject|dear|p\.?s\.?|note|warning|remember|ooc|thoughts?|re|q|a|system",
    re.IGNORECASE,
)
_UNIT = "%|％|점|pt|p|G|골드|원|세|살|레벨|℃|°C|°|시|일|일차|개|명|단계|cm|kg|bpm"
_NUMBER = r"[+\-−±]?\d[\d,.]{0,9}"
_SCORE = re.compile(
    rf"(?:(?:Lv|LV|D)[.\- ]?)?{_NUMBER}\s?(?:[/~]\s?{_NUMBER}\s?)?(?:{_UNIT})?"
    rf"(?:\s?(?:→|->|➡)\s?{_NUMBER}\s?(?:{_UNIT})?)?(?:\s?[(（\[][^()（）\[\]]{{1,16}}[)）\]])?"
)
_PURE = re.compile(rf"{_NUMBER}\s?(?:[/]\s?{_NUMBER}\s?)?[%％점]?(?:\s?[(（]{_NUMBER}[)）])?")
_GAUGE = re.compile(r"[■□▮▯▰▱█▓▒░♥♡❤🖤🤍💗💔★☆●○⬛⬜🟥🟩\ufe0f]{2,20}(?:\s?\(?\d[\d/% ]{0,9}\)?)?")
_KEYED = re.compile(
    rf"(?P<key>[^\d:：\n+±-]{{1,24}}?)\s?(?P<value>{_SCORE.pattern}|{_GAUGE.pattern})"
)
"""A figure behind its key, without a colon: 신뢰 30."""
_SMILEY = re.compile(r"[-^o']?[)(\]\\DPpOo3/]{1,3}(?=[\s.,!?~♡]|$)")
_NO_KEY_MARK = re.compile(r"[.!?…,;\"“”「」『』\n]")
_FRAME = "─━═│┃║┌┐└┘├┤┏┓┗┛┣┫╔╗╚╝╠╣╭╮╰╯"
_MARKS = f" \t*_`~#>|{_FRAME}=—–-•·▪▸►▶◆◇■□●○✦✧★☆+"
_OPEN, _CLOSE = "[【〔〈《<{(（", "]】〕〉》>})）"
_PARTNER = dict(zip(_OPEN, _CLOSE, strict=True))
_QUOTES = "\"“”'‘’「」『』«»"
_PICTURE = "\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u200d\u20e3"
_PICTURES = re.compile(rf"[{_PICTURE}]+\s*")
_DECORATED = re.compile(rf"[ \t>]*(?:[-*•·▪▸►▶◆◇■□●○✦★☆+][ \t]|[{_PICTURE}]|\*\*|\[)")
_BULLET = re.compile(r"[ \t>]*[-*•·▪▸►▶◆└├+][ \t]+")
_COLON = re.compile(r"[:：▶▷►](?:(?<=[:：])|(?<=\w .))")
BARS = "|│┃║"
"""What the rows of a table begin with."""
_BOTTOMS = "└┗╚╰"
_SPLIT = re.compile(f"[{BARS}ㅣ]")
_COMMAS = re.compile(r"\s?[,/·]\s|\s{2,}")
_RULE = re.compile(r"[ \t]*+(?:[-=_*~─━═]{3,}+|[┌┏╔╭└┗╚╰][─━═]++[┐┓╗╮┘┛╝╯])[ \t]*+")
_CROSSBAR = re.compile(r"[ \t]*+[├┣╠][─━═┼╋╬]{2,}+[┤┫╣]?[ \t]*+")
_CLOSING_LINE = re.compile(
    rf"{_RULE.pattern}|[ \t]*+(?:</[^<>/\n]{{1,24}}>|\[/[^\[\]/\n]{{1,24}}\])[ \t]*+"
)
_TABLE_RULE = frozenset("|-: \t")
_RULE_ROW = ("-",)
_FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}|~{3,})[^`~\n]{0,24}")
_BACKTICKS = re.compile(r"^[ \t]*+`{3,}+[^`\n]{0,200}+$", re.MULTILINE)
_SERIES = re.compile(r"(?:[\[【〔〈《][^\[\]【】〔〕〈〉《》\n]{2,100}[\]】〕〉》]\s*+){2,20}")
"""Brackets side by side, one for each pair."""
_EDGES_OF_BRACKETS = re.compile(r"[\[\]【】〔〕〈〉《》]")
_BRACKETED_KEY = re.compile(
    r"[\[【〔〈《<](?P<key>[^\[\]【】〔〕〈〉《》<>\n]{1,24})[\]】〕〉》>]\s?(?P<value>[^\s:：].*)"
)
_PICTURED = re.compile(rf"[{_PICTURE}♡♥]+\s*(?P<key>[^\s:：|]{{1,12}})\s(?P<value>\S.*)")
_LOOSE = re.compile(rf"\s*(?P<picture>[{_PICTURE}♡♥]+)\s*(?P<value>[^\s|{_QUOTES}][^|\n]{{0,60}})")
_ENDS_SAID = re.compile(r"[.!?…~요다♡]$")
_WHEN = re.compile(r"\d{1,2}월 ?\d{1,2}일|(?<!\d)\d{1,2}(?::\d\d|시)(?!\d)|[월화수목금토일]요일")
_ANNOUNCES = re.compile(r"[:：]\s*$|이렇게|다음|아래|follow|below", re.IGNORECASE)
_HINT = re.compile(rf"[:：|│║\]】〕》\d■□▮▯▰▱█▓▒░♥♡{_PICTURE}]|```|~~~")
_LINE_HINT = re.compile(rf"[ \t]*[^\w\s{_QUOTES}.,!?…]|[^\n:：]{{1,40}}[:：|]|\w{{1,9}}[ \t]*$")
_TABLE_HEADS = re.compile(
    "항목|구분|이름|스탯|속성|값|수치|내용|key|stat|item|name|attribute|value|status", re.IGNORECASE
)
_OPENS_BRACKET = re.compile(r"(?:[*`>#]{1,3} ?)?[\[【〔〈《<{(（]")
_ENDS_PROSE = frozenset('.!?…~"”」’')
_SAID = re.compile(rf"[ \t*_]{{0,40}}[{_QUOTES}]|[^\n]{{0,{LONGEST_LINE}}}?[.!?…~](?:\s|$)")
_FIGURE_BEGINS = re.compile(rf"[ \t*_]*(?:[+\-−]?\d|[{_PICTURE}]|$|{_ANY_KEY_KO}\s?\d)")
"""Behind the colon of a tag: a number, perhaps with its key before."""
_TORN = re.compile(r"[\[【〔][^\]】〕]{0,60}")
_TORN_SERIES = re.compile(
    r"(?:[\[【〔][^\[\]【】〔〕\n]{2,100}[\]】〕]\s?){1,12}[\[【〔][^\[\]【】〔〕]{0,60}"
)
_KOREAN_OR_PICTURE = re.compile(rf"[가-힣{_PICTURE}]")
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


class _Row(NamedTuple):
    """A line of a window.

    Attributes:
        pairs: what it tells; empty for a row of a table.
        told: how many of its keys and values only a status window has.
        marked: a bullet, a picture, bold letters or a bracket sets it apart from prose.
        bracketed: one pair of brackets encloses it.
        pictured: a picture stands at its beginning.
        cells: of a table.
        is_list: the key stands alone, above the items of a list.
    """

    pairs: tuple[Pair, ...] = ()
    told: int = 0
    marked: bool = False
    bracketed: bool = False
    pictured: bool = False
    cells: tuple[str, ...] = ()
    is_list: bool = False


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
            row = _row(f"[{torn['inner']}]")
            start = torn.start() if row and row.told else start
    if start == len(text):
        return None
    kept = text[: _with_rule(text, start)].rstrip()
    return kept[: bare_opening(kept)].rstrip()


def rows_before(text: str, start: int) -> int:
    """Where the marked lines of a window begin that stand right above a torn line at `start`."""
    for _ in range(_MOST_ABOVE):
        above = text.rfind("\n", 0, start - 1) + 1 if start > 1 else start
        row = _row(text[above : start - 1]) if above < start else None
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
    row = _row(line, sure=True)
    return row is not None and row.told > 0


def may_be_entry(text: str, start: int, colon: int) -> bool:
    """Whether a line that begins like a tag up to `colon` may be one of a window: a figure may
    follow, or the line before it says that there is one."""
    if _BULLET.match(text, start) or _FIGURE_BEGINS.match(text, colon):
        return not _SAID.match(text, colon)
    before = _line_before(text, start)
    if not before or before[-1] in _ENDS_PROSE or _SAID.match(text, colon):
        return False
    return bool(_FENCE.fullmatch(before) or _heading(before) or _row(before))


def is_entry(text: str, start: int, end: int) -> bool:
    """Whether the line `text[start:end]`, which begins like a tag, belongs to a window.

    Its value is no sentence, and it stands behind another line of the window, or it is a figure.
    """
    row = _row(text[start:end])
    if row is None or not row.pairs:
        return False
    if row.bracketed and len(row.pairs) > 1:
        return row.told > 0
    figures = all(_is_figure(value) for _, value in row.pairs)
    match _context(text, start):
        case "known":
            return True
        case "told":
            return figures or row.told > 0
        case "other":
            return figures
    return (row.marked or all(_PURE.fullmatch(value) for _, value in row.pairs)) and figures


_MOST_ABOVE = 12
"""Lines before a line that may say that a window began."""


def _context(text: str, start: int) -> Literal["known", "told", "other", ""]:
    """What the lines before `start` say: a fence or a heading, or a line that only windows have."""
    for _ in range(_MOST_ABOVE):
        before = _line_before(text, start)
        start = text.rfind(before, 0, start) if before else 0
        if _FENCE.fullmatch(before):
            return "known"
        if heading := _heading(before):
            return heading
        row = _row(before)
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
    while at < min(len(lines), row + 6) and (kind := _heading(text[slice(*lines[at])])):
        following = _filled(lines, at + 1)
        is_key = _COLON.search(text, *lines[at]) and following < len(lines)
        if is_key and _BULLET.match(item := text[slice(*lines[following])]) and not _row(item):
            break  # of a list
        heading = kind if heading != "known" else heading
        at = following
    if at >= len(lines):
        return _Block(row + 1, is_open=at > row)
    first = text[slice(*lines[at])]
    if fence := _FENCE.fullmatch(first):
        return _fenced(text, lines, row, at, fence["mark"])
    if (opened := _OPENS_BRACKET.match(first)) and _PARTNER[opened[0][-1]] not in first:
        return _bracketed(text, lines, row, at)
    return _listed(text, lines, row, at, heading or ("rule" if ruled else ""))


def _fenced(text: str, lines: list[Span], row: int, at: int, mark: str) -> _Block:
    """A window between fences: at least half of its lines are a window's."""
    rows: list[_Row] = []
    others = 0
    for number in range(at + 1, min(len(lines), at + _MOST_LINES)):
        line = text[slice(*lines[number])]
        if line.strip() == mark:
            if not rows or others > len(rows):
                return _Block(number + 1)
            return _Block(number + 1, _window(text, lines, row, number, rows, closed=True))
        if entry := _row(line, sure=True):
            rows.append(entry)
        elif line.strip() and not _heading(line) and not _RULE.fullmatch(line):
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
    opening = next(mark for mark in text[begin : begin + 6] if mark in _PARTNER)
    inner = text.find(opening, begin) + 1
    closing = text.find(_PARTNER[opening], inner, inner + _LONGEST_BRACKET)
    if closing < 0 and len(text) - inner > _LONGEST_BRACKET:
        return _Block(row + 1)
    if closing > lines[-1][1]:  # in a line that may still grow
        return _Block(row + 1, is_open=True)
    until = closing if closing >= 0 else len(text)
    rows: list[_Row] = []
    number, others = at, 0
    while number < len(lines) and lines[number][0] <= until:
        line = text[max(inner, lines[number][0]) : min(until, lines[number][1])].strip(" \t|,")
        if entry := _row(line, sure=True, piped=True):
            rows.append(entry)
        elif line and not _heading(line) and not (number == at and len(line) <= _LONGEST_KEY):
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
    rows: list[_Row] = []
    number, last = at, at - 1
    while number < min(len(lines), at + _MOST_LINES):
        line = text[slice(*lines[number])]
        if entry := _row(line, sure=bool(before)):
            rows.append(entry)
        elif rows and _BULLET.match(line) and rows[-1].is_list:
            rows[-1] = _with_item(rows[-1], line)
        elif rows and number == last + 1 and (entry := _loose(line, rows[-1])):
            rows.append(entry)
        elif not (rows and (_heading(line) or _CROSSBAR.fullmatch(line))):
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
    text: str, lines: list[Span], row: int, rows: list[_Row], before: str, *, is_tail: bool
) -> bool:
    """Whether rows of such kinds are a window.

    Args:
        before: `known` or `other` heading, `rule`, or nothing.
        is_tail: nothing follows.
    """
    told = sum(entry.told for entry in rows)
    count = sum(max(1, len(entry.pairs)) for entry in rows)
    if any(entry.cells for entry in rows):
        return len(rows) > 1 and (told > 0 or _RULE_ROW in [entry.cells for entry in rows])
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
    text: str, lines: list[Span], row: int, last: int, rows: list[_Row], *, closed: bool
) -> Window:
    """The window of some lines, with the white space behind it."""
    end = lines[last][1]
    while end < len(text) and text[end].isspace():
        end += 1
    return Window(lines[row][0], end, tuple(_pairs(rows)), closed)


def _pairs(rows: list[_Row]) -> Iterator[Pair]:
    """The pairs of lines and tables in order."""
    table: list[tuple[str, ...]] = []
    for entry in (*rows, _Row()):
        if entry.cells:
            table.append(entry.cells)
            continue
        yield from _table_pairs(table)
        table = []
        yield from entry.pairs


def _table_pairs(table: list[tuple[str, ...]]) -> Iterator[Pair]:
    """A table of two columns holds pairs; a wider one a heading, and figures below it."""
    head = table[1:2] == [_RULE_ROW]
    body = [cells for cells in table if cells != _RULE_ROW]
    if not body:
        return
    if max(map(len, body)) <= 2:
        if head and all(map(_TABLE_HEADS.fullmatch, body[0])):
            body = body[1:]
        yield from ((cells[0], cells[1]) for cells in body if len(cells) == 2)
        return
    keys, rest = body[0], body[1:]
    for cells in rest:
        named = f"{cells[0]} " if len(rest) > 1 else ""
        for key, value in list(zip(keys, cells, strict=False))[1 if named else 0 :]:
            yield f"{named}{key}", value


def _with_item(entry: _Row, line: str) -> _Row:
    """A line whose key stands alone, with one more item of the list below it."""
    *known, (key, value) = entry.pairs
    item = line.strip(_MARKS)
    return entry._replace(pairs=(*known, (key, f"{value}, {item}" if value else item)))


def _loose(line: str, above: _Row) -> _Row | None:
    """A picture and words, below a line of a window that begins with a picture, too."""
    found = _LOOSE.fullmatch(line.rstrip()) if above.pictured else None
    if found is None or _COLON.search(line) or _ENDS_SAID.search(found["value"]):
        return None
    return _Row(((found["picture"], found["value"]),), marked=True, pictured=True)


def _row(line: str, *, sure: bool = False, piped: bool = False) -> _Row | None:
    """Reads a line; None where it is none of a window.

    Args:
        sure: a heading or a fence says that there is a window.
        piped: it is the rest of a line with bars.
    """
    inner = line.strip()
    if not inner or len(inner) > LONGEST_LINE:
        return None
    bare = inner.strip("*`_> ")
    marked = _DECORATED.match(inner) is not None
    if _closes(bare):
        bare, bracketed = bare[1:-1].strip(), True
    else:
        bracketed = False
    if "--" in inner and set(inner) <= _TABLE_RULE:
        return _Row(cells=_RULE_ROW) if "|" in inner else None
    if inner[0] == inner[-1] == "|" and len(inner) > 2:
        cells = tuple(cell.strip(_MARKS) for cell in _SPLIT.split(inner[1:-1].strip("|")))
        if len(cells) > 1 and not any(map(_COLON.search, cells)) and any(cells):
            told = sum(_is_key(cell) or _is_figure(cell) for cell in cells)
            return _Row(told=told, cells=cells)
    if bare[:1] in _PARTNER and _SERIES.fullmatch(bare):
        bare, bracketed = "|".join(_EDGES_OF_BRACKETS.split(bare)), True
    parts = [part for part in map(str.strip, _SPLIT.split(bare)) if part]
    piped |= len(parts) > 1
    if len(parts) == 1 and len(_COLON.findall(bare)) > 1:
        commas = [part for part in _COMMAS.split(bare) if part]
        parts = commas if all(map(_COLON.search, commas)) else parts
    read = [_pair(part, sure=sure or bracketed, piped=piped) for part in parts]
    found = [entry for entry in read if entry]
    told = sum(number for _, number in found)
    if not found or (len(found) < len(read) and not (bracketed and told and len(parts) > 1)):
        return None
    if bracketed and len(parts) == 1 and not told:
        return None
    pairs = tuple(e[0] if e else ("", p.strip(_MARKS)) for e, p in zip(read, parts, strict=True))
    is_list = len(pairs) == 1 and not pairs[0][1]
    pictured = not inner[0].isalnum() and _LOOSE.match(inner) is not None
    return _Row(pairs, told, marked or bracketed, bracketed, pictured, is_list=is_list)


def _pair(part: str, *, sure: bool, piped: bool) -> tuple[Pair, int] | None:
    """A key and a value, and which of them only a window has, counted."""
    part = part.strip()
    colon = _COLON.search(part)
    found = _with_colon(part, colon, sure=sure) if colon else None
    if found or (colon and part[0].isalpha() and not piped):
        return found
    return _without_colon(part, piped=piped)


def _without_colon(part: str, *, piped: bool) -> tuple[Pair, int] | None:
    """`호감도 +5`; between bars also a picture and what it shows."""
    figure = _KEYED.fullmatch(part.strip(_MARKS))
    if figure and (key := _key(figure["key"])) and _is_key(key):
        return (key, figure["value"]), 2
    apart = None
    if not part[0].isalnum():
        apart = _BRACKETED_KEY.fullmatch(part) or _PICTURED.fullmatch(part)
    if apart and _is_key(key := _key(apart["key"])) and not _ENDS_SAID.search(apart["value"]):
        told = (not _NO_KEY.fullmatch(key)) + _is_figure(apart["value"])
        return (key, apart["value"]), told
    picture = _PICTURES.match(part)
    if picture and piped and picture.end() < len(part):
        return (picture[0].strip(), part[picture.end() :].strip(_MARKS)), 1
    return (("", part), 1) if piped and _WHEN.search(part) else None


def _with_colon(part: str, colon: re.Match[str], *, sure: bool) -> tuple[Pair, int] | None:
    """`HP: 10/20`; a value may be missing behind a key that windows have."""
    written, value = part[: colon.start()], part[colon.end() :]
    key = _key(written)
    if not key or written.lstrip()[:1] in _QUOTES or value.startswith("//"):
        return None
    if written[-1:].isdigit() and value[:1].isdigit():  # a time
        return None
    known, value = _is_key(key), value.strip(" \t*_`")
    if not value:
        return ((key, ""), 1) if known else None
    figure_told = _is_figure(value) and (known or sure or _PURE.fullmatch(value) is not None)
    if not known and _is_said(key, part[colon.end() :], value):
        return None
    return (key, value), (known and not _NO_KEY.fullmatch(key)) + figure_told


def _key(written: str) -> str:
    """A key without its marks and pictures; empty where it is none."""
    key = _PICTURES.sub("", written).strip(_MARKS + _OPEN + _CLOSE)
    if not key:
        picture = _PICTURES.search(written)
        return picture[0].strip() if picture else ""
    short = len(key) <= _LONGEST_KEY and key.count(" ") <= 3
    if not short or _NO_KEY_MARK.search(key) or not any(map(str.isalpha, key)):
        return ""
    return key


def _is_key(key: str) -> bool:
    """Whether such windows have a key of this name."""
    return bool(_KEY_KO.search(key) or _KEY_EN.search(key))


def _is_figure(value: str) -> bool:
    """Whether a value is a number with or without its unit, or a gauge; a key may stand before."""
    value = _PICTURES.sub("", value).strip() or value
    if _SCORE.fullmatch(value) or _GAUGE.fullmatch(value):
        return True
    figure = _KEYED.fullmatch(value)
    return figure is not None and _is_key(figure["key"].strip())


def _is_said(key: str, written: str, value: str) -> bool:
    """Whether what stands behind a colon is a sentence, speech or the mouth of a smiley."""
    if _is_figure(value):
        return _SMILEY.fullmatch(written) is not None
    if value[0] in _QUOTES or _SMILEY.match(value) or len(value) > 30 or _NO_KEY.fullmatch(key):
        return True
    return is_complete(value.rstrip(' )）]」』"”*'))


def _heading(line: str) -> Literal["known", "other", ""]:
    """Whether a line is the heading of a window: by its words, or by the marks around it."""
    inner = line.strip()
    if not inner or len(inner) > 40 or inner[1:2] == "/" or inner[:3] == "```":
        return ""
    bare = _bare(inner)
    if _HEADING.fullmatch(bare):
        return "known"
    if not bare or len(bare) > _LONGEST_KEY or _NO_KEY_MARK.search(bare) or "|" in bare:
        return ""
    dressed = _closes(inner.strip("*_` ")) or inner[0] == "#"
    bold = inner.startswith("**") and inner.endswith("**")
    return "other" if dressed or bold else ""


def _bare(line: str) -> str:
    """The words of a heading."""
    return _PICTURES.sub("", line).strip(_MARKS + _OPEN + _CLOSE + ":：")


def _closes(line: str) -> bool:
    """Whether one pair of brackets encloses a line, but for stars and the like."""
    inner = line.strip("*_`# ")
    if len(inner) < 3 or _PARTNER.get(inner[0]) != inner[-1]:
        return False
    return inner[0] not in inner[1:-1] and inner[-1] not in inner[1:-1]


def _inline(text: str, begin: int, end: int) -> Window | None:
    """A bracket at the beginning or the end of a line of prose."""
    for found in _INLINE.finditer(text, begin, end):
        at_edge = not text[begin : found.start()].strip() or not text[found.end() : end].strip()
        row = _row(found[0]) if at_edge else None
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
    elif not last.strip(_FRAME):
        is_opening = last[0] not in _BOTTOMS or last[-1] not in "┘┛╝╯"
    elif len(last) > 40:
        is_opening = False
    elif growing:
        bare = _bare(last).casefold()
        is_opening = any(word.startswith(bare) for word in _HEADING_WORDS)
    else:
        is_opening = _HEADING.fullmatch(_bare(last)) is not None
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
    if last[:1] in _PARTNER and (
        (_closes(last) and _is_key(_bare(last))) or _TORN_SERIES.fullmatch(last)
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
