"""Who is named: in a client's phrases, in `name` fields, and before a colon in the contents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from language.korean import final_consonant
from language.normal import nfc
from openai_api import phrases

MAX_NAME = 100
"""Characters of a name, as a request holds it."""

MOST = 0.8
"""Share of one side's lines with a name before a colon, from which it is how the client writes."""

_NOT_LETTERS = re.compile(r"[\W_]+")
_TO_A_MARK = re.compile(r"[^\n\[\].,;:!?()]{0,60}")
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


def prefixed(text: str) -> Prefixed | None:
    """What stands before the first colon, if it is short, and what stands behind."""
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
    if found is None or found.casefold() in phrases.words("nobody"):
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
    return Named(None, None)


def in_card(texts: Sequence[str]) -> Named:
    """Names in the card and its rules: "You are Sera", "Name: Sera"."""
    char = user = None
    for text in texts:
        if char is None and (match := phrases.inside("character", text)):
            char = _without_copula(_cleaned(match["char"]), match)
        if user is None and (match := phrases.inside("player", text)):
            user = _without_copula(_cleaned(match["user"]), match)
    return Named(char, user if char is None or user is None or fold(user) != fold(char) else None)


def _without_copula(name: str | None, match: re.Match[str]) -> str | None:
    """A Korean name without the 이 of 이야 that a pattern left on it: 하늘이야 is 하늘."""
    rest = match.string[match.end() - 1 : match.end()]
    if (
        name
        and len(name) > 2
        and rest == "야"
        and name.endswith("이")
        and final_consonant(name[-2])
    ):
        return name[:-1]
    return name


def only_as(text: str, cast: Cast) -> str | None:
    """The character that an instruction gives the word: "Write the next reply only as Sera"."""
    match = phrases.begins("only", text)
    name = _cleaned(match["char"]) if match else None
    if name is None or cast.is_user(name):
        return None
    return cast.known(name) or (name if looks_like_name(name) else None)


def members_of(text: str) -> tuple[str, ...]:
    """The members that the mark of a new group chat lists."""
    match = phrases.inside("members", text)
    listed = re.split(r"[,、，]", match["members"]) if match else []
    return tuple(filter(None, map(as_name, listed)))


def impersonated(text: str, cast: Cast) -> str | None:
    """The user's name, where an instruction asks to write the user's next line; empty where it only
    says that it is the user."""
    for match in phrases.all_begin("impersonate", text):
        rest, who = match.string[match.start("who") :], match["who"]
        if cast.user and fold(rest[: len(cast.user) + 4]).startswith(fold(cast.user)):
            return cast.user
        if phrases.begins("user_words", rest) or phrases.begins("user_words", who):
            return cast.user or ""
        other = as_name(_TO_A_MARK.match(rest)[0])  # type: ignore[index]
        if cast.user is None and other and looks_like_name(other) and not cast.known(other):
            return other
    return None


def by_convention(contents: Sequence[str]) -> tuple[str, ...]:
    """The names that nearly all lines of one side begin with; none where they begin otherwise, or
    with words that stand before a colon in any text."""
    heads = [found.name for text in contents if (found := prefixed(text))]
    likely = [name for name in heads if looks_like_name(name)]
    distinct = Counter(likely)
    if not likely or len(likely) < MOST * len(contents) or len(distinct) > max(1, len(likely) / 2):
        return ()
    return tuple(distinct)


def with_members(cast: Cast, names: Iterable[str]) -> Cast:
    """The cast with further members."""
    new: dict[str, str] = {}
    for name in names:
        if cast.known(name) is None:
            new.setdefault(fold(name), name)
    return replace(cast, members=(*cast.members, *new.values())) if new else cast
