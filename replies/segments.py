"""What in a reply is said, done, thought or told, and whether narration acts for the user.

Chats have two house styles, and a reply keeps to one. Where something is said in quotation marks
(“ ” " " 「」 『』 «»), bare text is narration. Else, where `*…*` stands, bare text is speech. Else
all is speech, or all narration when the narrator wrote it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Set
from typing import Literal, NamedTuple

from replies.marks import Mark, Piece, in_hangul_or_kana, is_thought, paragraphs, pieces
from replies.tags import NARRATOR, Cast
from schemas.response import ResponseContent

Kind = Literal["narration", "dialogue", "action", "thought"]


def segments(text: str, cast: Cast, *, quotes: bool = True) -> list[ResponseContent]:
    """Splits a cleaned reply into typed pieces.

    Args:
        text: the reply.
        cast: who wrote it.
        quotes: False where quotation marks mean titles: when a pair around the whole was removed.

    Returns:
        Pieces whose texts and spans join to exactly `text`; white space belongs to what is before
        it. None for an empty text. No piece goes over an empty line.
    """
    found = [pieces(text, start, end, quotes=quotes) for start, end in paragraphs(text)]
    used = {piece.mark for paragraph in found for piece in paragraph}
    return [c for paragraph in found for c in typed(text, paragraph, cast, used)]


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
            thinks = quoted and is_thought(text, piece.start, piece.end)
            return "thought" if thinks else "action"
        case "underscore":
            return "thought" if styled else "action"
        case "single":
            sure = quoted or in_hangul_or_kana(text[piece.start : piece.end])
            return "thought" if sure else bare
        case "thought":
            return "thought"
        case "stage":
            return "action"
        case "bare":
            return bare


def _content(text: str, start: int, end: int, kind: Kind, cast: Cast) -> ResponseContent:
    """A piece and whose it is: narration is the narrator's, also in a character's reply."""
    speaker = NARRATOR if kind == "narration" else cast.writer
    return ResponseContent(type=kind, speaker=speaker, text=text[start:end], span=(start, end))


_REGULAR = (
    "accept agree answer approach ask attack blush chuckle climb close decide follow frown gasp "
    "glance hand hurry jump kiss kneel laugh lean lower move murmur mutter offer open pick place "
    "point pull push raise reach refuse reply rush shout sigh smile smirk stumble turn walk wave "
    "whisper drop grab grin hug nod shrug step wrap"
)
_IRREGULAR = (
    "hurries hurried replies replied "
    "dropped grabbed grinned hugged nodded shrugged stepped wrapped "
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


_ACTS_EN = rf"(?:{_REGULAR.replace(' ', '|')})(?:e?s|e?d)?|{_IRREGULAR.replace(' ', '|')}"


class _Patterns(NamedTuple):
    """How the user is named as one who acts, and who else may act in the same clause."""

    named: re.Pattern[str]
    english: re.Pattern[str]
    korean: re.Pattern[str]
    others: re.Pattern[str]


def _patterns(cast: Cast) -> _Patterns:
    """The patterns of a cast; `re` remembers what it compiled lately."""
    names = [*map(re.escape, cast.user), r"\{\{user\}\}", "<user>"]
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
    """Whether a narrated piece tells what the user does: "You walk over", "민준은 고개를 끄덕였다".

    Reported, never cut. Only deliberate acts at the start of a sentence or clause count: what the
    user sees or feels is the narrator's to tell, and a condition ("if you follow") is no act.
    """
    patterns = _patterns(cast)
    return any(
        content.type in ("narration", "action")
        and any(_acts(match[0], patterns) for match in _SENTENCE.finditer(content.text))
        for content in contents
    )


def _acts(sentence: str, patterns: _Patterns) -> bool:
    """Whether one sentence does."""
    sentence = unicodedata.normalize("NFC", sentence).strip(' *_\t"“”「」')
    if sentence.endswith("?") or not patterns.named.search(sentence):
        return False
    if patterns.english.search(sentence):
        return True
    found = patterns.korean.match(sentence)
    return found is not None and not patterns.others.search(found["clause"])
