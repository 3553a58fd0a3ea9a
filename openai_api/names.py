"""Who is named: in a client's phrases, in `name` fields, and before a colon in the contents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from language.korean import final_consonant, is_korean
from language.normal import nfc
from openai_api import phrases

MAX_NAME = 100
"""Characters of a name, as a request holds it."""

OPENING = 30
"""Characters that may stand before a name in a text that begins with it."""

MAX_MEMBERS = 50
"""People of a group; each line is compared with all of them."""

MOST = 0.8
"""Share of one side's lines with a name before a colon, from which it is how the client writes."""

_HONORIFIC = re.compile("(?:님| ?씨)$")
_NOT_LETTERS = re.compile(r"[\W_]+")
_TO_A_MARK = re.compile(r"[^\n\[\].,;:!?()]{0,60}")
_MARKED = re.compile(
    r"\s*(?:\[(?P<square>[^\[\]\n:]{1,60})\] ?[:：]|\[(?P<bare>[^\[\]\n:]{1,60})\](?=[ \t]+[^\s\[])"
    r"|<(?P<angle>[^<>\n:/@#!=\"]{1,60})>[:：]?|「(?P<corner>[^」\n:]{1,60})」 ?[:：]"
    r"|@?(?P<tag>[^\n:#\s][^\n:#]{0,40}#\d{4}) ?[:：])[ \t]+"
)
_GOES_ON = ("고", "며", "지만", "면서", "해서", "는데")
_TITLES = ("님", "씨")
_SMALL = {"de", "da", "di", "van", "von", "der", "the", "of", "la", "le", "du", "bin", "al", "and"}


def fold(name: str) -> str:
    """Equal for ways to write a name: case, white space, and what a client makes of signs in
    `name` fields (`Nell_Harrow`)."""
    return _NOT_LETTERS.sub("", nfc(name).casefold())


def as_name(value: object) -> str | None:
    """A name on one line; None where nothing of it is left, as where a client keeps only Latin
    letters and the name has none (`___`)."""
    if not isinstance(value, str):
        return None
    name = nfc(" ".join(value.split()))[:MAX_NAME].strip(' *_"“”[]:')
    return name if fold(name) else None


def looks_like_name(text: str) -> bool:
    """Whether a few words may be a person's name."""
    bare = text.strip()
    parts = bare.split()
    if not 0 < len(parts) <= 4 or len(bare) > 40 or not bare[0].isalpha() or "\n" in bare:
        return False
    if fold(bare) in phrases.words("no_name") or parts[0].casefold() in phrases.words("no_name"):
        return False
    return all(
        not part[0].islower() or (at > 0 and part.casefold() in _SMALL)
        for at, part in enumerate(parts)
    )


def is_narrator(name: str | None) -> bool:
    """Whether a line with this name is told by the narrator."""
    return name is not None and fold(name) in phrases.words("narrator")


class Prefixed(NamedTuple):
    """A line that begins with a name and a colon."""

    name: str
    text: str
    marked: bool = False
    """By signs that seldom stand around anything else: `[Robin]: Hi`, `<Robin> Hi`."""


def prefixed(text: str) -> Prefixed | None:
    """What stands before the first colon, if it is short, and what stands behind."""
    marked = _MARKED.match(text)
    if marked and (name := as_name(marked[marked.lastgroup or 0])):
        return Prefixed(name, text[marked.end() :], marked=marked.lastgroup != "bare")
    start = text[: MAX_NAME + 8].lstrip()
    ends = [at for at in (start.find(":"), start.find("：")) if at > 0]
    if not ends:
        return None
    head = start[: min(ends)]
    name = as_name(head)
    if name is None or "\n" in head:
        return None
    skipped = len(text) - len(text.lstrip()) + min(ends) + 1
    rest = text[skipped:]
    if head.count("*") % 2 and rest.startswith("*"):  # **Sera:** Hello
        rest = rest.lstrip("*")
    elif head.startswith("**") and rest.startswith("**"):
        rest = rest[2:]
    return Prefixed(name, rest.lstrip(" \t"))


@dataclass(frozen=True)
class Cast:
    """Who is known to take part."""

    char: str | None = None
    user: str | None = None
    aliases: tuple[str, ...] = ()
    """Further names of the character."""
    members: tuple[str, ...] = ()
    """Of a group, the character too."""

    def is_char(self, name: str) -> bool:
        """Whether a name is the character's."""
        return fold(name) in {fold(own) for own in (self.char, *self.aliases) if own}

    def is_user(self, name: str) -> bool:
        """Whether a name is the user's."""
        return self.user is not None and fold(name) == fold(self.user)

    def known(self, name: str) -> str | None:
        """The participant of this name, as it is written here."""
        return self._folded.get(fold(name))

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Everyone by folded name; who is listed first counts."""
        everyone = (self.char, self.user, *self.aliases, *self.members)
        return {fold(one): one for one in reversed(everyone) if one}


class Named(NamedTuple):
    """Names that were found; None where there is none."""

    char: str | None
    user: str | None


def _cleaned(name: str | None) -> str | None:
    found = as_name(name.strip(" .,;*\"'“”‘’")) if name else None
    unfilled = found is not None and "{{" in found  # a macro that the client left to us
    if found is None or unfilled or found.casefold() in phrases.words("nobody"):
        return None
    return found


def in_main_prompt(texts: Iterable[str]) -> Named:
    """Names in a client's own first words: "Write Sera's next reply in a fictional chat between
    Sera and Robin"."""
    for text in texts:
        if match := phrases.inside("names", text):
            groups = match.groupdict()
            user = next((groups[key] for key in ("user", "user2", "user3") if groups.get(key)), "")
            return Named(_cleaned(groups["char"]), _cleaned(user))
        if match := phrases.inside("pair", text):
            char, user = match["one"], match["other"]
            if _is_played(user, text) and not _is_played(char, text):
                char, user = user, char
            if found := _cleaned(char):
                return Named(found, _cleaned(user))
    return Named(None, None)


def _is_played(name: str, text: str) -> bool:
    """Whether a text gives the model a part: "하늘의 역할을 연기하세요"."""
    text = text[: phrases.SPAN]
    return any(phrases.begins("played", behind) for behind in text.split(name, 50)[1:])


def in_card(texts: Sequence[str]) -> Named:
    """Names in the card and its rules: "You are Sera", "Name: Sera"."""
    players = (_without_copula(match, "user") for match in _all_inside("player", texts))
    user = next(filter(None, players), None)
    found = (_without_copula(match, "char") for match in _all_inside("character", texts))
    chars = list(filter(None, found))
    # the user's own sheet has a line for the name as well
    char = next((name for name in chars if user is None or fold(name) != fold(user)), None)
    return Named(char, user) if char or not chars else Named(chars[0], None)


def _all_inside(kind: str, texts: Iterable[str]) -> Iterator[re.Match[str]]:
    return (match for text in texts for match in phrases.all_inside(kind, text))


def _without_copula(match: re.Match[str], group: str) -> str | None:
    """A name, a Korean one without the 이 of 이야 that a pattern left on it: 하늘이야 is 하늘."""
    name = _cleaned(match[group])
    if name is None or _is_verb(match, group):
        return None
    rest = match.string[match.end() - 1 : match.end()]
    if len(name) > 2 and rest == "야" and name.endswith("이") and final_consonant(name[-2]):
        return name[:-1]
    return name


def _is_verb(match: re.Match[str], group: str) -> bool:
    """Whether what a Korean pattern took for a name is a verb: 친절하다, 서 있다; 친절하고, ...
    Behind a consonant a name has 이다."""
    end = match.string[match.end() - 1 : match.end()]
    if end == ",":
        return match[group].endswith(_GOES_ON)
    if end != "다" or match.end() - match.end(group) > 2:
        return False
    stem = match[group]
    bare = match.string[match.end(group) : match.end()].lstrip("'\"“‘”’") == "다"
    return bare and (bool(final_consonant(stem[-1])) or (len(stem) > 2 and stem.endswith("하")))


def only_as(text: str, cast: Cast) -> str | None:
    """The character that an instruction gives the word: "Write the next reply only as Sera"."""
    match = phrases.begins("only", text)
    name = _cleaned(match["char"]) if match else None
    if name and not cast.is_user(name) and (cast.known(name) or looks_like_name(name)):
        return cast.known(name) or name
    found = (_last_known(match["char"], cast) for match in phrases.all_begin("only_known", text))
    return next((name for name in found if name and not cast.is_user(name)), None)


def _last_known(text: str, cast: Cast) -> str | None:
    """The participant whose name a text ends with, as in Korean it stands behind all else."""
    parts = text.split()
    ends = (" ".join(parts[-count:]) for count in range(min(4, len(parts)), 0, -1))
    bare = (form for end in ends for form in (end, _HONORIFIC.sub("", end)))
    return next(filter(None, map(cast.known, bare)), None)


def members_of(text: str) -> tuple[str, ...]:
    """The members that the mark of a new group chat lists."""
    match = phrases.inside("members", text)
    listed = re.split(r"[,、，]", match["members"]) if match else []
    return tuple(filter(None, map(as_name, listed)))


def impersonated(text: str, cast: Cast) -> str | None:
    """The user's name, where an instruction asks to write the user's next line; empty where it only
    says that it is the user."""
    for match in phrases.all_begin("impersonate", text):
        if whose := match.groupdict().get("whose"):
            known = _last_known(whose, cast)
            if known and cast.is_user(known):
                return cast.user
            if known is None and phrases.begins("user_words", whose.split()[-1]):
                return cast.user or ""
            continue
        rest, who = match.string[match.start("who") :], match["who"]
        bounded = match.end() > match.end("who")  # else {who} is only where a name begins
        if _is_forbidden(match):
            continue
        if cast.user and _is_name_at(rest, who if bounded else None, cast.user):
            return cast.user
        own = phrases.begins("user_words", who if bounded else rest)
        if own and not _is_compared(own.string[own.end() :]):
            return cast.user or ""
        other = as_name(who if bounded else _TO_A_MARK.match(rest)[0])  # type: ignore[index]
        if is_korean(other or "") and not phrases.inside("line", rest):
            continue  # 고기 대신 밥을 먹는다
        if cast.user is None and other and looks_like_name(other) and not cast.known(other):
            return other
    return None


def _is_name_at(rest: str, who: str | None, name: str) -> bool:
    """Whether a text begins with a name, or is it, where it is known how far it goes."""
    if who is not None:
        return fold(who) in {fold(name), *(fold(name + title) for title in _TITLES)}
    plain, wanted = nfc(rest).casefold(), nfc(name).casefold()
    behind = plain[len(wanted) :]
    return plain.startswith(wanted) and not behind[:1].isalnum() and not _is_compared(behind)


def _is_compared(behind: str) -> bool:
    return phrases.begins("compared", behind) is not None


def _is_forbidden(match: re.Match[str]) -> bool:
    """Whether what seems to ask for somebody's line forbids it, or asks for nothing to be written:
    "Write Sera's reply, never speak for Robin", "민준의 대사는 쓰지 마"."""
    if phrases.inside("negated", match.string[match.start() : match.start("who")]):
        return True
    sentence = re.split(r"[.!?\n]", match.string[match.start("who") :], maxsplit=1)[0]
    if not is_korean(sentence):
        return False
    written = phrases.inside("written", sentence[len(match["who"]) :])
    return written is None or written["not"] is not None


def at_the_start(text: str) -> str | None:
    """The character's name, where a text begins with who it is and asks to play it: "You are Sera,
    a pilot. Stay in character"."""
    match = phrases.inside("character", text)
    asks = match and match.start() < OPENING and phrases.inside("play", text)
    return in_card([text]).char if asks else None


def told_of(contents: Sequence[str], notes: Iterable[str], cast: Cast) -> tuple[str, ...]:
    """Who speaks in lines of one side, before a colon, and is spoken of in what the client tells
    beside them; or all who do, where every line has a name and one is the character's."""
    heads = [found.name for text in contents if (found := prefixed(text))]
    names = [
        name for name in dict.fromkeys(heads) if looks_like_name(name) and not is_narrator(name)
    ]
    new = [name for name in names if cast.known(name) is None]
    if len(heads) == len(contents) and any(map(cast.is_char, heads)):
        return tuple(new)
    new = new[:MAX_MEMBERS]
    told = "\n".join(notes)[: phrases.SPAN]
    return tuple(name for name in new if _is_told(name, told))


def _is_told(name: str, text: str) -> bool:
    """Whether a text has a name as a word of its own, and not as a label before a colon."""
    behind = "" if is_korean(name) else r"(?!\w)"
    return as_word(name, rf"{behind}(?!\s?[:：*])").search(text) is not None


def as_word(name: str, behind: str) -> re.Pattern[str]:
    """A name where a word begins, with a pattern of what stands behind it."""
    return re.compile(rf"(?<!\w){re.escape(name)}{behind}")


def by_convention(contents: Sequence[str]) -> tuple[str, ...]:
    """The names that nearly all lines of one side begin with; none where they begin otherwise, or
    with words that stand before a colon in any text."""
    heads = [found.name for text in contents if (found := prefixed(text))]
    likely = [name for name in heads if looks_like_name(name)]
    distinct = Counter(likely)
    if len(heads) == len(likely) == len(contents) > 1 and all(map(_is_marked, contents)):
        return tuple(distinct)
    if not likely or len(likely) < MOST * len(contents) or len(distinct) > max(1, len(likely) / 2):
        return ()
    return tuple(distinct)


def _is_marked(text: str) -> bool:
    found = prefixed(text)
    return found is not None and found.marked


def with_members(cast: Cast, names: Iterable[str]) -> Cast:
    """The cast with further members, up to a number."""
    new: dict[str, str] = {}
    for name in names:
        if cast.known(name) is None:
            new.setdefault(fold(name), name)
    members = (*cast.members, *new.values())[:MAX_MEMBERS]
    return replace(cast, members=members) if new else cast
