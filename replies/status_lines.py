"""Lines of status windows: what one of them tells, as keys and values, cells or a heading.

Many things have a colon: speech (`Note: stay left.`), a list that is read out, the head of a
letter. So a line needs evidence: a key that such windows have, or a value that is a figure. What
ends like a sentence is no value, unless its key is one of those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from replies.edges import is_complete

Pair = tuple[str, str]
LONGEST_LINE = 240
LONGEST_KEY = 24
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
ANY_KEY_KO = "(?:" + "|".join(_KEYS_KO.split()) + ")"
_KEY_KO = re.compile(ANY_KEY_KO + r"(?:\s?\([^()]{1,12}\)|치|값|수치)?$")
_KEY_EN = re.compile("(?<![a-z])(?:" + "|".join(_KEYS_EN.split()) + ")$", re.IGNORECASE)
HEADING_WORDS = tuple(word.strip() for word in _HEADINGS.split("|"))
HEADING = re.compile("|".join(HEADING_WORDS), re.IGNORECASE)
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
PURE_FIGURE = re.compile(rf"{_NUMBER}\s?(?:[/]\s?{_NUMBER}\s?)?[%％점]?(?:\s?[(（]{_NUMBER}[)）])?")
_GAUGE = re.compile(r"[■□▮▯▰▱█▓▒░♥♡❤🖤🤍💗💔★☆●○⬛⬜🟥🟩\ufe0f]{2,20}(?:\s?\(?\d[\d/% ]{0,9}\)?)?")
_KEYED = re.compile(
    rf"(?P<key>[^\d:：\n+±-]{{1,24}}?)\s?(?P<value>{_SCORE.pattern}|{_GAUGE.pattern})"
)
"""A figure behind its key, without a colon: 신뢰 30."""
_SMILEY = re.compile(r"[-^o']?[)(\]\\DPpOo3/]{1,3}(?=[\s.,!?~♡]|$)")
_NO_KEY_MARK = re.compile(r"[.!?…,;\"“”「」『』\n]")
FRAME = "─━═│┃║┌┐└┘├┤┏┓┗┛┣┫╔╗╚╝╠╣╭╮╰╯"
_MARKS = f" \t*_`~#>|{FRAME}=—–-•·▪▸►▶◆◇■□●○✦✧★☆+"
_OPEN, _CLOSE = "[【〔〈《<{(（", "]】〕〉》>})）"
PARTNER = dict(zip(_OPEN, _CLOSE, strict=True))
QUOTES = "\"“”'‘’「」『』«»"
PICTURE = "\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u200d\u20e3"
_PICTURES = re.compile(rf"[{PICTURE}]+\s*")
_DECORATED = re.compile(rf"[ \t>]*(?:[-*•·▪▸►▶◆◇■□●○✦★☆+][ \t]|[{PICTURE}]|\*\*|\[)")
COLON = re.compile(r"[:：▶▷►](?:(?<=[:：])|(?<=\w .))")
BARS = "|│┃║"
"""What the rows of a table begin with."""
_SPLIT = re.compile(f"[{BARS}ㅣ]")
_COMMAS = re.compile(r"\s?[,/·]\s|\s{2,}")
_TABLE_RULE = frozenset("|-: \t")
RULE_ROW = ("-",)
_SERIES = re.compile(r"(?:[\[【〔〈《][^\[\]【】〔〕〈〉《》\n]{2,100}[\]】〕〉》]\s*+){2,20}")
"""Brackets side by side, one for each pair."""
_EDGES_OF_BRACKETS = re.compile(r"[\[\]【】〔〕〈〉《》]")
_BRACKETED_KEY = re.compile(
    r"[\[【〔〈《<](?P<key>[^\[\]【】〔〕〈〉《》<>\n]{1,24})[\]】〕〉》>]\s?(?P<value>[^\s:：].*)"
)
_PICTURED = re.compile(rf"[{PICTURE}♡♥]+\s*(?P<key>[^\s:：|]{{1,12}})\s(?P<value>\S.*)")
_LOOSE = re.compile(rf"\s*(?P<picture>[{PICTURE}♡♥]+)\s*(?P<value>[^\s|{QUOTES}][^|\n]{{0,60}})")
_ENDS_SAID = re.compile(r"[.!?…~요다♡]$")
_WHEN = re.compile(r"\d{1,2}월 ?\d{1,2}일|(?<!\d)\d{1,2}(?::\d\d|시)(?!\d)|[월화수목금토일]요일")
_TABLE_HEADS = re.compile(
    "항목|구분|이름|스탯|속성|값|수치|내용|key|stat|item|name|attribute|value|status", re.IGNORECASE
)


class Row(NamedTuple):
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


def pairs_of(rows: list[Row]) -> Iterator[Pair]:
    """The pairs of lines and tables in order."""
    table: list[tuple[str, ...]] = []
    for entry in (*rows, Row()):
        if entry.cells:
            table.append(entry.cells)
            continue
        yield from _table_pairs(table)
        table = []
        yield from entry.pairs


def _table_pairs(table: list[tuple[str, ...]]) -> Iterator[Pair]:
    """A table of two columns holds pairs; a wider one a heading, and figures below it."""
    head = table[1:2] == [RULE_ROW]
    body = [cells for cells in table if cells != RULE_ROW]
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


def with_item(entry: Row, line: str) -> Row:
    """A line whose key stands alone, with one more item of the list below it."""
    *known, (key, value) = entry.pairs
    item = line.strip(_MARKS)
    return entry._replace(pairs=(*known, (key, f"{value}, {item}" if value else item)))


def loose_row(line: str, above: Row) -> Row | None:
    """A picture and words, below a line of a window that begins with a picture, too."""
    found = _LOOSE.fullmatch(line.rstrip()) if above.pictured else None
    if found is None or COLON.search(line) or _ENDS_SAID.search(found["value"]):
        return None
    return Row(((found["picture"], found["value"]),), marked=True, pictured=True)


def row_of(line: str, *, sure: bool = False, piped: bool = False) -> Row | None:
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
    if closes(bare):
        bare, bracketed = bare[1:-1].strip(), True
    else:
        bracketed = False
    if "--" in inner and set(inner) <= _TABLE_RULE:
        return Row(cells=RULE_ROW) if "|" in inner else None
    if inner[0] == inner[-1] == "|" and len(inner) > 2:
        cells = tuple(cell.strip(_MARKS) for cell in _SPLIT.split(inner[1:-1].strip("|")))
        if len(cells) > 1 and not any(map(COLON.search, cells)) and any(cells):
            told = sum(is_key(cell) or is_figure(cell) for cell in cells)
            return Row(told=told, cells=cells)
    if bare[:1] in PARTNER and _SERIES.fullmatch(bare):
        bare, bracketed = "|".join(_EDGES_OF_BRACKETS.split(bare)), True
    parts = [part for part in map(str.strip, _SPLIT.split(bare)) if part]
    piped |= len(parts) > 1
    if len(parts) == 1 and len(COLON.findall(bare)) > 1:
        commas = [part for part in _COMMAS.split(bare) if part]
        parts = commas if all(map(COLON.search, commas)) else parts
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
    return Row(pairs, told, marked or bracketed, bracketed, pictured, is_list=is_list)


def _pair(part: str, *, sure: bool, piped: bool) -> tuple[Pair, int] | None:
    """A key and a value, and which of them only a window has, counted."""
    part = part.strip()
    colon = COLON.search(part)
    found = _with_colon(part, colon, sure=sure) if colon else None
    if found or (colon and part[0].isalpha() and not piped):
        return found
    return _without_colon(part, piped=piped)


def _without_colon(part: str, *, piped: bool) -> tuple[Pair, int] | None:
    """`호감도 +5`; between bars also a picture and what it shows."""
    figure = _KEYED.fullmatch(part.strip(_MARKS))
    if figure and (key := _key(figure["key"])) and is_key(key):
        return (key, figure["value"]), 2
    apart = None
    if not part[0].isalnum():
        apart = _BRACKETED_KEY.fullmatch(part) or _PICTURED.fullmatch(part)
    if apart and is_key(key := _key(apart["key"])) and not _ENDS_SAID.search(apart["value"]):
        told = (not _NO_KEY.fullmatch(key)) + is_figure(apart["value"])
        return (key, apart["value"]), told
    picture = _PICTURES.match(part)
    if picture and piped and picture.end() < len(part):
        return (picture[0].strip(), part[picture.end() :].strip(_MARKS)), 1
    return (("", part), 1) if piped and _WHEN.search(part) else None


def _with_colon(part: str, colon: re.Match[str], *, sure: bool) -> tuple[Pair, int] | None:
    """`HP: 10/20`; a value may be missing behind a key that windows have."""
    written, value = part[: colon.start()], part[colon.end() :]
    key = _key(written)
    if not key or written.lstrip()[:1] in QUOTES or value.startswith("//"):
        return None
    if written[-1:].isdigit() and value[:1].isdigit():  # a time
        return None
    known, value = is_key(key), value.strip(" \t*_`")
    if not value:
        return ((key, ""), 1) if known else None
    figure_told = is_figure(value) and (known or sure or PURE_FIGURE.fullmatch(value) is not None)
    if not known and _is_said(key, part[colon.end() :], value):
        return None
    return (key, value), (known and not _NO_KEY.fullmatch(key)) + figure_told


def _key(written: str) -> str:
    """A key without its marks and pictures; empty where it is none."""
    key = _PICTURES.sub("", written).strip(_MARKS + _OPEN + _CLOSE)
    if not key:
        picture = _PICTURES.search(written)
        return picture[0].strip() if picture else ""
    short = len(key) <= LONGEST_KEY and key.count(" ") <= 3
    if not short or _NO_KEY_MARK.search(key) or not any(map(str.isalpha, key)):
        return ""
    return key


def is_key(key: str) -> bool:
    """Whether such windows have a key of this name."""
    return bool(_KEY_KO.search(key) or _KEY_EN.search(key))


def is_figure(value: str) -> bool:
    """Whether a value is a number with or without its unit, or a gauge; a key may stand before."""
    value = _PICTURES.sub("", value).strip() or value
    if _SCORE.fullmatch(value) or _GAUGE.fullmatch(value):
        return True
    figure = _KEYED.fullmatch(value)
    return figure is not None and is_key(figure["key"].strip())


def _is_said(key: str, written: str, value: str) -> bool:
    """Whether what stands behind a colon is a sentence, speech or the mouth of a smiley."""
    if is_figure(value):
        return _SMILEY.fullmatch(written) is not None
    if value[0] in QUOTES or _SMILEY.match(value) or len(value) > 30 or _NO_KEY.fullmatch(key):
        return True
    return is_complete(value.rstrip(' )）]」』"”*'))


def heading_of(line: str) -> Literal["known", "other", ""]:
    """Whether a line is the heading of a window: by its words, or by the marks around it."""
    inner = line.strip()
    if not inner or len(inner) > 40 or inner[1:2] == "/" or inner[:3] == "```":
        return ""
    bare = words_of(inner)
    if HEADING.fullmatch(bare):
        return "known"
    if not bare or len(bare) > LONGEST_KEY or _NO_KEY_MARK.search(bare) or "|" in bare:
        return ""
    dressed = closes(inner.strip("*_` ")) or inner[0] == "#"
    bold = inner.startswith("**") and inner.endswith("**")
    return "other" if dressed or bold else ""


def words_of(line: str) -> str:
    """The words of a heading."""
    return _PICTURES.sub("", line).strip(_MARKS + _OPEN + _CLOSE + ":：")


def closes(line: str) -> bool:
    """Whether one pair of brackets encloses a line, but for stars and the like."""
    inner = line.strip("*_`# ")
    if len(inner) < 3 or PARTNER.get(inner[0]) != inner[-1]:
        return False
    return inner[0] not in inner[1:-1] and inner[-1] not in inner[1:-1]
