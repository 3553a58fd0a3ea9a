"""Who may speak: the spellings under which each voice of a chat is written before a colon."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from language.korean import is_syllable
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
)
"""First syllables that are taken for a family name: 김민준 is then also called 민준."""


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
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


@lru_cache(maxsize=256)
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
        *((name, narrator) for name in _NARRATOR_TAGS),
        *((name, user) for name in _USER_TAGS),
        *((name, Voice("own", cast.writer)) for name in _OWN_TAGS),
    ]
    found: dict[str, Voice] = {}
    for spelling, voice in ordered:
        if key := fold(spelling):
            found.setdefault(key, voice)
    return found


def spellings(names: Iterable[str]) -> Iterator[str]:
    """Each folded name in both Unicode forms: models write Hangul composed and decomposed."""
    for name in names:
        yield name
        decomposed = unicodedata.normalize("NFD", name)
        if decomposed != name:
            yield decomposed


def _short_forms(name: str) -> Iterator[str]:
    """`Bart` for Bart Simpson, `세라피나` for 은빛숲의 세라피나, `민준` for 김민준."""
    words = name.split()
    if len(words) > 1:
        plain = [w for w in words if fold(w).rstrip(".") not in _TITLES and not w.endswith("의")]
        if plain and len(plain[0]) > 1:
            yield plain[0]
    elif len(name) == 3 and name[0] in _SURNAMES and all(map(is_syllable, name)):
        yield name[1:]
