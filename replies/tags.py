"""Who may speak in a chat, and under which tags: `Name:`, `민준 :`, `**Name**:`, `<Name>:`,
`[Name] (softly)：` and their kin.

A tag ends in a colon and its name is on the list of voices, so "Note:" and "12:30" are none.
In Korean other marks will do: `[민준] 네.`, `민준 | 네.`, `민준 - 네.`, `**민준** 네.`,
`민준 "네."`, `민준(웃으며) 네.`, `민준 → 세라: 네.`, or the name in a line of its own above words.
At a line start any marks may stand around the name. An item of a list is none, though, nor is what
a quotation begins with, and after a sentence inside a line only what cannot be prose counts: a name
in brackets or bold, a bare one with a quotation behind it, or the `USER:` of Vicuna.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from language.korean import NAME_PARTICLES, is_syllable
from language.normal import nfc
from replies.edges import is_complete
from replies.status import is_status
from schemas.request import Speaker

NARRATOR = "narrator"
"""The name under which the narrator is reported."""

_NARRATOR_TAGS = (
    *("narrator", "narration", "나레이터", "내레이터", "나레이션", "내레이션", "해설", "해설자"),
    *("서술자", "ナレーター", "ナレーション"),
)
_USER_TAGS = (
    *("you", "user", "human", "사용자", "유저", "당신", "나"),
    *("ユーザー", "あなた"),
)
_OWN_TAGS = ("assistant", "char", "bot", "어시스턴트", "캐릭터")

_TITLE_WORDS = (
    "a an aunt big brother captain dame dark dr father king lady little lord master miss mistress "
    "mother mr mrs ms old prince princess professor queen sir sister the uncle young"
)
_TITLES = frozenset(_TITLE_WORDS.split())
_SURNAMES = frozenset(
    "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진"
    "엄원천방공현함변염여추도소석선설마길연위표명기반라왕금옥육인맹제모탁국어은편용예경봉"
)
"""First syllables that are taken for a family name: 김민준 is then also called 민준."""
_LONG_SURNAMES = frozenset(("남궁", "황보", "선우", "제갈", "독고", "사공", "서문", "동방"))
_ROMAN_SURNAME_WORDS = (
    "kim gim lee yi rhee park bak pak choi choe jung jeong chung kang gang cho jo yoon yun jang "
    "lim chang im han oh seo suh shin sin kwon gwon hwang ahn an song ryu yoo yu jeon hong ko go "
    "moon mun yang son bae baek heo nam shim sim noh ha kwak sung cha joo ju woo koo gu min jin "
    "namgung hwangbo seonwoo sunwoo jegal dokgo"
)
_ROMAN_SURNAMES = frozenset(_ROMAN_SURNAME_WORDS.split())


class Voice(NamedTuple):
    """Whose tag it is; `name` is how the caller spells it."""

    kind: Literal["own", "user", "other"]
    name: str


@dataclass(frozen=True, slots=True)
class Cast:
    """The voices of one chat, as the caller names them.

    Args:
        speaker: who was asked to write the reply.
        persona: the character's name, then its aliases.
        user: the user's names, possibly none.
        others: further participants.
        narrator: what the chat calls its narrator, beside the usual words.
    """

    speaker: Speaker
    persona: tuple[str, ...]
    user: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    narrator: tuple[str, ...] = ()

    @property
    def writer(self) -> str:
        """The name of whoever wrote the reply."""
        return self.persona[0] if self.speaker == "character" and self.persona else NARRATOR


def fold(name: str) -> str:
    """A name for comparison: one Unicode form, one case, single spaces."""
    return " ".join(nfc(name).casefold().split())


def voices(cast: Cast) -> dict[str, Voice]:
    """Every folded spelling and whose it is.

    A spelling that two voices share belongs to the writer before the user, and to the user before
    others: dropping a tag loses less than cutting a reply.
    """
    narrates = cast.speaker == "narrator"
    persona_kind: Literal["own", "other"] = "other" if narrates else "own"
    persona = Voice(persona_kind, cast.persona[0] if cast.persona else "")
    narrator = Voice("own" if narrates else "other", NARRATOR)
    user = Voice("user", cast.user[0] if cast.user else "user")
    ordered = [
        *((name, persona) for name in cast.persona),
        *((name, user) for name in cast.user),
        *((name, narrator) for name in cast.narrator),
        *((name, Voice("other", name)) for name in cast.others),
        *((short, persona) for name in cast.persona for short in _short_forms(name)),
        *((short, user) for name in cast.user for short in _short_forms(name)),
        *((short, Voice("other", name)) for name in cast.others for short in _short_forms(name)),
        *((name, narrator) for name in _NARRATOR_TAGS),
        *((name, user) for name in _USER_TAGS),
        *((name, Voice("own", cast.writer)) for name in _OWN_TAGS),
    ]
    found: dict[str, Voice] = {}
    for spelling, voice in ordered:
        if key := fold(spelling):
            found.setdefault(key, voice)
    return found


def _short_forms(name: str) -> Iterator[str]:
    """`Bart` for Bart Simpson, `세라피나` for 은빛숲의 세라피나, `민준` for 김민준 and 남궁민준,
    `Minjun` and `Min-jun` for Kim Minjun."""
    words = name.split()
    if len(words) > 1:
        if fold(words[0]) in _ROMAN_SURNAMES:
            for given in _romanised("".join(words[1:])):
                yield from (given, f"{words[0]} {given}")
        elif fold(words[-1]) in _ROMAN_SURNAMES:
            yield from _romanised("".join(words[:-1]))
        plain = [w for w in words if fold(w).rstrip(".") not in _TITLES and not w.endswith("의")]
        if plain and len(plain[0]) > 1:
            yield plain[0]
    elif len(name) == 3 and name[0] in _SURNAMES and all(map(is_syllable, name)):
        yield name[1:]
    elif len(name) == 4 and name[:2] in _LONG_SURNAMES and all(map(is_syllable, name)):
        yield name[2:]
    elif "-" in name and name.isascii():
        yield name.replace("-", "")


def called(name: str) -> tuple[str, ...]:
    """A name in one Unicode form, and what its bearer is also called."""
    name = nfc(name)
    return (name, *_short_forms(name))


def _romanised(given: str) -> Iterator[str]:
    """A Korean given name in Latin letters: in one word, and with its hyphen, wherever it is."""
    joined = given.replace("-", "")
    yield joined
    if len(joined) <= 12:
        for mark in "- ":
            yield from (joined[:at] + mark + joined[at:] for at in range(2, len(joined) - 1))


_GAP = "[ \t\u00a0\u3000]"
_GAPS = f"{_GAP}{{0,4}}"
_COLON = ":：﹕︰∶"
OPENING_QUOTES = '"“「『«'
_OPEN = "<＜〈《\\[［【({（「『"
_CLOSE = ">＞〉》\\]］】)}）」』`"
_MARK = rf"(?:[^\w\n{_COLON}]|_)"
_HTML = r"(?:</?(?:b|i|em|strong)>|\[/?[bi]\])"
_LEAD = rf"(?P<open>{_MARK}{{1,20}}?{_HTML}?|{_HTML})?"
_CALLED = "님|씨|군|양|선배|오빠|언니|누나|형|さん|ちゃん|くん|君|様"
_CALLED += "|" + unicodedata.normalize("NFD", _CALLED)
_HONORIFIC = rf"(?:{_GAP}?(?:{_CALLED})|(?<=[가-힣]{{2}})이|(?<=[\u1161-\u11ff])\u110b\u1175)?"
_REMARK = r"[*_]{0,2}[(（\[][^()（）\[\]\n:]{1,40}[)）\]][*_]{0,2}|\*(?!\s)[^*\n:]{1,40}\*"
_BEFORE_REMARK = rf"(?:(?!{_REMARK}){_MARK}){{0,8}}"
_SMILEY = r"(?!/|[-^o']?(?:[)\]|\\DPpOo3]{1,3}|\({1,3})(?:[\s.,!?~♡]|$)|(?<=\d:)\d)"
_AFTER = (
    rf"{_HONORIFIC}{_HTML}?(?P<close>{_BEFORE_REMARK})(?P<remark>{_REMARK})?(?P<closed>{_MARK}{{0,6}})"
    rf"[{_COLON}](?(bracket)|{_SMILEY})(?P<tail>[*_~]{{0,3}}(?(open)(?:{_HTML}|[{_CLOSE}]{{0,2}}))[*_~]{{0,3}})"
)
_TITLED = "".join(
    rf"(?<!\b{title}\.)" for title in ("Mr", "Ms", "Mrs", "Dr", "St", "Prof", "[A-Z]")
)
_BOUNDARY = rf'(?:\.{_TITLED}|[!?…~。！？"”」』»)]|\*(?<=\S\*))[ \t]{{1,4}}'
_SHOUTED = "|".join(f"(?<=(?-i:{name}):)" for name in ("USER", "HUMAN", "ASSISTANT"))

_NO_COLON = (
    rf"[ \t>]{{0,4}}(?P<bold>#{{1,4}}{_GAP}|[*_]{{2,3}})?(?P<bracket>[\[【<＜〈「『《〔(（])?"
    rf"[*_]{{0,3}}{_GAP}?(?P<name>%s)"
    rf"{_HONORIFIC}{_GAP}?(?P<shut>[*_]{{0,3}})(?(bracket)[\]】>＞〉」』》〕)）][*_]{{0,3}})"
    rf"(?P<remark>{_GAP}?[(（][^()（）\n\d]{{1,40}}[)）])?"
    rf"(?P<behind>{_GAPS}(?:[|│｜>›»▶▷](?![|>]){_GAPS}|(?=[{OPENING_QUOTES}])"
    rf"|[-–—](?=[ \t]){_GAPS}|(?:→|[-=]>){_GAPS}[^\n{_COLON}|]{{1,20}}[{_COLON}]{_GAPS})|{_GAPS})"
)
"""A name at the beginning of a line; `Tags.without_colon` looks at what follows."""
_PRONOUNS = frozenset(("나", "당신", "you", "あなた"))
_PARTICLES = re.compile(rf"(?:{NAME_PARTICLES}|이?라[고며는]?|이?란)(?![가-힣])")
_NARRATES = re.compile(r"다\.?[\s)]*$")
_CALLS = re.compile(r"(?:씨|님|군|양|선배|오빠|언니|누나|형|아|야)(?![가-힣])|[,.!?…~]")
_FIGURE = re.compile(r"[ \t]*[+-]?\d")
_KOREAN = re.compile("[가-힣]")
_LONGEST_LOOK = 300
"""Characters of a line that tell what a name without a colon is."""
_GAP_RUN = re.compile(f"{_GAP}+")
_ANY_COLON = re.compile(f"[{_COLON}]")
_QUOTED = re.compile(r"[\"“「『«'‘]\s*$")
_UNQUOTED = re.compile("[\"”」』»'’]")
_UNCLOSED = re.compile(rf"[*_{_OPEN}]+$")
_SHUT = re.compile(rf"[*_~{_CLOSE}]")
_ITEM = re.compile(r"[ \t>]*[-–—•·*+][ \t]")
_ANNOUNCES = re.compile(r"[:：]$|이렇게|다음|아래|follow|below|次の|以下")
_SPEAKS = re.compile(rf"\s*[*_]{{0,3}}[{OPENING_QUOTES}]")
_MARKS = re.compile(rf"(?:{_HTML}|(?:</?\w{{0,6}}|\[/?[bi]?)$|{_MARK})*", re.IGNORECASE)
_REST = re.compile(
    rf"{_GAP}?(?:[\u1100-\u11ff]{{0,5}}|さん?|ち(?:ゃん?)?|くん?|君|様)(?:[<\[]/?\w{{0,6}}[>\]]?)?{_MARK}{{0,8}}"
    rf"(?:[(（\[*][^()（）\[\]\n:]{{0,125}}[)）\]*]?)?{_MARK}{{0,8}}"
    rf"(?:[{_COLON}](?:{_MARK}|{_HTML}){{0,8}}\S{{0,5}})?"
)
_LONGEST_DRESS = 140
"""Characters that marks, a remark in brackets and white space may add around a name."""


class Tag(NamedTuple):
    """A tag in the text, from `start` to `end`; `keep` is what removing it must leave behind."""

    start: int
    end: int
    voice: Voice
    keep: str = ""


class Tags:
    """The tags of one cast."""

    def __init__(self, cast: Cast) -> None:
        """Compiles the names."""
        self._voices = voices(cast)
        decomposed = {unicodedata.normalize("NFD", name) for name in self._voices}  # Hangul
        ordered = sorted(decomposed.union(self._voices), key=len, reverse=True)
        name = (
            r"(?:(?<=[\[(（［])(?P<bracket>))?(?P<name>"
            + "|".join(re.escape(n).replace(r"\ ", rf"{_GAP}+") for n in ordered)
            + ")"
        )
        dressed = rf"(?:[*_]{{2,3}}[{_OPEN}]{{0,2}}|[{_OPEN}]{{1,2}}[*_]{{0,3}})"
        self._no_colon = re.compile(
            _NO_COLON % "|".join(re.escape(n).replace(r"\ ", rf"{_GAP}+") for n in ordered),
            re.IGNORECASE,
        )
        self._any = re.compile(rf"{_LEAD}{name}{_AFTER}", re.IGNORECASE)
        sure = rf"(?:(?P<open>{dressed})(?P<sure>)|){_GAPS}{name}{_AFTER}"
        sure += rf"(?(sure)|(?:{_SHOUTED}|(?={_GAPS}[{OPENING_QUOTES}])))"
        self._inner = re.compile(rf"{_BOUNDARY}{sure}", re.IGNORECASE)
        self._initials = frozenset(name[0] for name in ordered)
        self._gaps = re.compile(_BOUNDARY)
        self._prefixes = tuple({_MARKS.sub("", name, count=1) for name in decomposed})
        self.reach = max(map(len, self._voices)) + _LONGEST_DRESS

    def at(self, text: str, start: int) -> Tag | None:
        """The tag that the line beginning at `start` starts with."""
        if not _ANY_COLON.search(text, start, start + self.reach):
            return None
        tag = self._tag(self._any.match(text, start))
        return None if tag and _lists(text, start, tag.end) else tag

    def without_colon(
        self, text: str, start: int, end: int, *, final: bool
    ) -> Tag | Literal["open"] | None:
        """The tag without a colon that the line beginning at `start` starts with.

        Args:
            end: up to where the text may be read.
            final: nothing follows; else the answer is `open` while the line may tell more.
        """
        first = text[start : start + 1]
        if first.isalnum() and first.casefold() not in self._initials:
            return None
        match = self._no_colon.match(text, start, end)
        voice = self._voices.get(fold(match["name"])) if match else None
        if match is None or voice is None:
            return None
        rest, known = _line(text, match.end(), end)
        above = not rest.strip() and not (match["behind"].strip() or match["remark"])
        if above and known:
            begin = match.end() + len(rest)
            while begin < end and text[begin].isspace():
                begin += 1
            rest, known = _line(text, begin, end)
        if not (known or final):
            return "open"
        is_tag = _is_said(match, rest, above=above, whole=known) and not self._lists(text, start)
        if above and not (match["bracket"] or match["bold"]):
            bare = not text[match.end("name") : match.end()].strip()  # 민준 씨 is a call
            is_tag = is_tag and bare and is_complete(text[:start].rstrip() or ".")
        keep = f"{match['remark'].strip()} " if match["remark"] else ""
        return Tag(start, match.end(), voice, keep) if is_tag else None

    def _lists(self, text: str, start: int) -> bool:
        """Whether the line before says that a list follows, or is an item of it."""
        before = text[max(0, start - _LONGEST_LOOK) : start].rstrip()
        line = before[before.rfind("\n") + 1 :]
        if _ANNOUNCES.search(line):
            return True
        item = self._no_colon.match(line)
        voice = self._voices.get(fold(item["name"])) if item else None
        return (
            item is not None and bool(item["bracket"]) and voice is not None and voice.kind != "own"
        )

    def inside(self, text: str, start: int, end: int) -> Tag | None:
        """The first tag in `text[start:end]` that stands behind a sentence.

        The sentence may end before `start`, the tag behind `end`.
        """
        if not _ANY_COLON.search(text, start, end + self.reach):
            return None
        match = self._inner.search(text, max(0, start - 1), end + self.reach)
        return self._tag(match, behind=1) if match and match.start() + 1 < end else None

    def may_begin(self, fragment: str) -> bool:
        """Whether `fragment`, the end of a text, may still grow into a tag."""
        if len(fragment) > self.reach:
            return False
        marks = _MARKS.match(fragment)
        rest = fragment[marks.end() :] if marks else fragment
        if not rest:
            return True
        folded = unicodedata.normalize("NFD", rest.casefold())
        name = _GAP_RUN.sub(" ", folded)
        return any(
            known.startswith(name)
            or known.startswith(name.rstrip(" "))
            or (name.startswith(known) and _REST.fullmatch(name, len(known)) is not None)
            for known in self._prefixes
        )

    def voice(self, tag_text: str) -> Voice | None:
        """Whose tag `tag_text` is, when it is nothing else; used to read stop strings."""
        found = self.at(tag_text, 0)
        return found.voice if found and found.end == len(tag_text) else None

    def settled(self, text: str, start: int, end: int) -> int:
        """Where `text[start:end]`, a growing line, is certain to hold no tag yet to come.

        Never behind a white space, to which a tag could be joined.
        """
        for gap in self._gaps.finditer(text, max(start - 1, len(text) - self.reach, 0), end):
            if self.may_begin(text[gap.end() :]):
                return gap.start() + 1
        return start + len(text[start:end].rstrip(" \t"))

    @staticmethod
    def same_name(line: str, tag_text: str) -> bool:
        """Whether a line is the name of a tag, but for its marks and colon."""
        marks = " \t\n#>*_[]<>:：﹕"
        return fold(line.strip(marks)) == fold(tag_text.strip(marks))

    def _tag(self, match: re.Match[str] | None, behind: int = 0) -> Tag | None:
        """Reads a match; a remark in brackets, and an opening mark left open, belong to the line.

        `behind` counts the characters at its start that are no part of the tag.
        """
        voice = self._voices.get(fold(match["name"])) if match else None
        if match is None or voice is None:
            return None
        opened, closing = match["open"] or "", f"{match['close']}{match['closed']}{match['tail']}"
        if _QUOTED.search(opened) and not _UNQUOTED.search(closing):
            return None
        unclosed = None if _SHUT.search(closing) else _UNCLOSED.search(opened)
        keep = f"{unclosed[0] if unclosed else ''}{match['remark'] or ''}"
        keep += " " if match["remark"] else ""
        return Tag(match.start() + behind, match.end(), voice, keep)


def _line(text: str, start: int, end: int) -> tuple[str, bool]:
    """The text from `start` to the end of its line, and whether that is all that counts of it."""
    until = min(end, start + _LONGEST_LOOK)
    newline = text.find("\n", start, until)
    whole = newline >= 0 or until == start + _LONGEST_LOOK
    return text[start : newline if newline >= 0 else until], whole


def _is_said(match: re.Match[str], rest: str, *, above: bool, whole: bool) -> bool:
    """Whether what follows a name without a colon may be its bearer's words.

    Args:
        rest: the words.
        above: the name stands in a line of its own above them.
        whole: their line is known to its end; else the token limit may have torn it.
    """
    name = fold(match["name"])
    if not rest.strip() or not (_KOREAN.search(name) or _KOREAN.search(rest)):
        return False
    if above and (match["bracket"] or match["bold"]):
        return not is_status(rest)
    if above:
        torn = not whole and " " in rest.strip()
        return name not in _PRONOUNS and _is_sentence(rest, torn=torn)
    if (behind := match["behind"].strip()) and (behind in "-–—" or behind[-1] in _COLON):
        return name not in _PRONOUNS and _is_sentence(rest)
    if behind:
        ranks = behind == ">" and ">" in rest
        return name not in _PRONOUNS and not ranks and not _FIGURE.match(rest)
    if not match["bracket"]:
        if name in _PRONOUNS or rest[0] in OPENING_QUOTES:
            return name not in _PRONOUNS
        dressed = match["remark"] or (match["bold"] and match["shut"] and match["behind"])
        return bool(dressed) and not _PARTICLES.match(rest) and _is_sentence(rest)
    apart = bool(match["behind"]) or not _PARTICLES.match(rest)
    return apart and (match["bracket"] in "[【<＜〔" or not _NARRATES.search(rest))


def _is_sentence(rest: str, *, torn: bool = False) -> bool:
    """Whether words behind or below a name are speech: a quotation, or a sentence that no narrator
    tells and that does not call the name: 씨, 이리 와. Its end may be `torn`."""
    torn |= len(rest) >= _LONGEST_LOOK
    rest = rest.strip()
    if rest[0] in OPENING_QUOTES:
        return True
    if _FIGURE.match(rest) or _NARRATES.search(rest) or _CALLS.match(rest) or is_status(rest):
        return False
    return torn or is_complete(rest)


def _lists(text: str, start: int, end: int) -> bool:
    """Whether the tag is an item of a list that was announced or has begun, and nobody's speech."""
    if not _ITEM.match(text, start) or _SPEAKS.match(text, end):
        return False
    while start and text[start - 1].isspace():
        start -= 1
    line = text[text.rfind("\n", 0, start) + 1 : start]
    if not line or _ITEM.match(line):
        return bool(line)
    return _ANNOUNCES.search(line) is not None or not is_complete(line)
