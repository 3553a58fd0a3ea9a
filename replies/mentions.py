"""What a mark around a few words means: speech or a title, an action or stress, a thought or not.

When in doubt the words belong to the text around them.
"""

from __future__ import annotations

import re
from typing import Literal

_ENDS = ".!?…~,—–-♡。！？～"
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
    r"[, \t]*(?:(?:\w+ )?(?:thought|thinks?|wondered|wonders?)\b|(?:이?라고|하고|라는)?[ \t]*생각)"
)
_THOUGHT_LABEL = re.compile(
    r"\s*(?:속\s?)?(?:생각|마음의? ?소리)\s*|\s*속마음\s*|\s*thoughts?\s*|\s*thinking\s*", re.I
)
_THOUGHT_PREFIX = re.compile(r"\s*(?:생각|속마음|속으로|내심|thinking|thoughts?)\b\s*[:：,]?", re.I)
_FIRST_PERSON = re.compile(r"\b(?:I|my|me|we)\b", re.IGNORECASE)
_OUT_OF_CHARACTER = re.compile(r"\s*(?:ooc|note|a/?n)\b", re.IGNORECASE)


def is_title(text: str, start: int, end: int) -> bool:
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


def is_stressed(inner: str) -> bool:
    """Whether `*inner*` only stresses a word: `I *really* mean it`."""
    return inner.casefold().replace("’", "'") in _STRESSED


def is_inner_voice(text: str, start: int, end: int) -> bool:
    """Whether ‘…’ or '…' at `text[start:end]` is a sentence that somebody thinks."""
    if text[end - 2] in _ENDS or _THINKING_AFTER.match(text, end):
        return True
    alone = end == len(text) or text[end] == "\n"
    return alone and (start == 0 or text[start - 1] == "\n")


def is_thought(text: str, start: int, end: int) -> bool:
    """Whether a starred piece of prose is thought: a question, or `she thought` behind it."""
    marked = text[start:end].rstrip()
    return marked.endswith("?*") or _THINKING_AFTER.match(text, start + len(marked)) is not None


def in_hangul_or_kana(text: str) -> bool:
    """Whether the words are Korean or Japanese, where ‘…’ never is speech."""
    return _HANGUL_OR_KANA.search(text) is not None


def is_thought_label(inner: str) -> bool:
    """Whether a parenthesis only says that a thought follows: `(생각) 이 사람 뭐지?`."""
    return _THOUGHT_LABEL.fullmatch(inner) is not None


def parenthesis(text: str, start: int, end: int) -> Literal["thought", "stage"] | None:
    """What `text[start:end]`, in parentheses, is; None for an aside in a sentence."""
    inner = text[start + 1 : end - 1].strip()
    if not inner or _OUT_OF_CHARACTER.match(inner):
        return None
    if _THOUGHT_PREFIX.match(inner):
        return "thought"
    before = text[max(0, start - 8) : start].rstrip(" ")
    stands_alone = (not before or before[-1] in f'\n*"”」』»_)）{_ENDS}') and (
        end == len(text) or text[end] in ' \n\t*"“「『_'
    )
    if not stands_alone:
        return None
    if inner[-1] not in _ENDS:
        return "stage" if inner.count(" ") < 6 and any(map(str.isalpha, inner)) else None
    if in_hangul_or_kana(inner):
        return None if inner.endswith("다.") else "thought"
    return "thought" if inner[-1] in "?…" or _FIRST_PERSON.search(inner) else None
