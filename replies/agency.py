"""Whether narration acts for the user: "You walk over", "민준은 고개를 끄덕였다".

Reported, never cut. Only deliberate acts at the start of a sentence or clause count: what the
user sees or feels is the narrator's to tell, and a condition ("if you follow") is no act.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from replies.names import Cast, spellings
from schemas.response import ResponseContent

_REGULAR = (
    "accept agree answer approach ask attack blush chuckle climb close decide follow frown gasp "
    "glance hand hurry jump kiss kneel laugh lean lower move murmur mutter offer open pick place "
    "point pull push raise reach refuse reply rush shout sigh smile smirk stumble turn walk wave "
    "whisper"
)
_DOUBLED = "drop grab grin hug nod shrug step wrap"  # nodded
_IRREGULAR = (
    "begin begins began draw draws drew drink drinks drank eat eats ate give gives gave go goes "
    "went leave leaves left put puts run runs ran say says said shake shakes shook sit sits sat "
    "speak speaks spoke strike strikes struck swing swings swung take takes took tell tells told"
)
_ACTS_KO = (
    "걸어|걷는|걸었|다가[가갔간서섰선]|끄덕[이였인]|말[하했한]|대답[하했한]|웃는|웃었|미소|물었|묻는"
    "|외치|외쳤|외친|속삭[이였인]|잡는|잡았|붙잡|안는|안았|껴안|따라[가갔간나오]|뛰[어었는]|달려"
    "|일어[나났난서섰선]|앉는|앉았|돌아[서섰선]|내밀|내민|꺼[내냈낸]|열었|연다|닫[았는]|집어"
    "|들어[가갔간올]|고개를 (?:저|숙|돌|들)|손을 (?:뻗|흔|내|잡)|결심|키스|입을? ?맞"
)
_SUFFERED = r"(?!(?:\s\w+){0,4}\s+damage\b)"  # "you take five points of damage" is no act
_OTHER_SUBJECT = r"(?:그녀|그|나|저|우리|소녀|소년|여자|남자|모두)(?:은|는|이|가|도)\s"
_SENTENCE = re.compile(r"[^.!?…。\n]+[.!?…。]*")


def _forms(verb: str) -> tuple[str, str, str]:
    """Present and past: walk, walks, walked."""
    if verb.endswith("ly"):  # reply
        return verb, f"{verb[:-1]}ies", f"{verb[:-1]}ied"
    third = verb + ("es" if verb.endswith(("s", "sh", "ch")) else "s")
    return verb, third, verb.removesuffix("e") + "ed"


_ACTS_EN = "|".join(
    [
        *(form for verb in _REGULAR.split() for form in _forms(verb)),
        *(form for verb in _DOUBLED.split() for form in (verb, f"{verb}s", f"{verb}{verb[-1]}ed")),
        *_IRREGULAR.split(),
    ]
)


class _Patterns(NamedTuple):
    """How the user is named as one who acts, and who else may act in the same clause."""

    named: re.Pattern[str]
    english: re.Pattern[str]
    korean: re.Pattern[str]
    others: re.Pattern[str]


@lru_cache(maxsize=256)
def _patterns(cast: Cast) -> _Patterns:
    """Compiles the names of the cast into the patterns."""
    names = [re.escape(name) for name in spellings(cast.user)] + [r"\{\{user\}\}", "<user>"]
    start = r"(?:^|[,;—–-]\s+(?:and\s+|then\s+)?|\b(?:as|while)\s+)\W{0,3}(?:then,?\s+|\w+ly,?\s+)?"
    adverb = r"(?:\s+(?:\w+ly|just|then|also|both))?"
    english = rf"{start}(?:you|{'|'.join(names)}){adverb}\s+(?:{_ACTS_EN})\b{_SUFFERED}"
    addressed = "|".join([*names, "당신", "너", "그대"])
    act = rf"(?P<clause>.*?(?:{_ACTS_KO})\S{{0,4}}다)\W*$"
    korean = rf"^\W*(?:{addressed})(?:은|는|이|가|께서|이가|이는|도)\s{act}"
    rivals = [rf"{re.escape(name)}(?:이?가|은|는|이|도)\s" for name in cast.persona + cast.others]
    return _Patterns(
        re.compile(rf"you|{addressed}", re.IGNORECASE),
        re.compile(english, re.IGNORECASE),
        re.compile(korean, re.IGNORECASE),
        re.compile("|".join([_OTHER_SUBJECT, *rivals])),
    )


def acts_for_user(contents: Iterable[ResponseContent], cast: Cast) -> bool:
    """Whether a narrated piece of the reply tells what the user does or says."""
    patterns = _patterns(cast)
    return any(
        content.type in ("narration", "action")
        and any(_acts(match[0], patterns) for match in _SENTENCE.finditer(content.text))
        for content in contents
    )


def _acts(sentence: str, patterns: _Patterns) -> bool:
    """Whether one sentence does."""
    sentence = sentence.strip(' *_\t"“”「」')
    if sentence.endswith("?") or not patterns.named.search(sentence):
        return False
    if patterns.english.search(sentence):
        return True
    found = patterns.korean.match(unicodedata.normalize("NFC", sentence))
    return found is not None and not patterns.others.search(found["clause"])
