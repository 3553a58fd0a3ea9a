"""What one line of text shows by itself: speech or action, question, rules, whom it addresses.

The phrases live in `phrases.toml`; here is only how they are matched. English phrases match whole
words, Korean ones may carry particles and endings. Nothing here knows about turns or weights.

`\\b` finds no Korean name before a particle, and every particle would be a false word without a
closed list; so a name must not be preceded by a letter and may be followed by particles only.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from language.korean import (
    NAME_PARTICLES,
    VOCATIVES,
    asks_in_words,
    final_consonant,
    has_syllables,
    is_syllable,
    syllables_ending_in,
)
from language.normal import nfc
from routing.noted import is_noted

SPAN_LIMIT = 1200
"""Characters read of one text (its two ends): bounds the time a decision can take."""

QUOTED = re.compile(r'"[^"]*(?:"|$)|“[^”]*(?:”|$)|「[^」]*(?:」|$)|『[^』]*(?:』|$)|«[^»]*(?:»|$)')
ENDS_QUOTED = re.compile(r'["”」』»][\s.\-–—]*$')
STARRED = re.compile(
    r"\*{1,2}[^*\n]+\*{1,2}|\([^()]*\)|（[^（）]*）|\[[^\[\]\n]*\]"
    r"|(?<!\w)[-–—ㅡ](?=[^-–—ㅡ\n가-힣]*+[가-힣])[^-–—ㅡ\n]++[-–—ㅡ](?!\w)"
)
"""Stage directions: between stars, in brackets and, in Korean, between dashes: "-문을 연다-"."""
CONTINUE = re.compile(r"(?:please )?(?:continue|go on|carry on|next)?[\s.!~…]*")
SENTENCE_END = re.compile(r"[.!?…~。？！\n]+")


@cache
def _phrases() -> dict[str, re.Pattern[str]]:
    """`phrases.toml` compiled: a pattern per kind and language, `acts.en`, `acts.ko`."""
    table = tomllib.loads((Path(__file__).parent / "phrases.toml").read_text(encoding="utf-8"))
    verbs = sorted(table["verbs"].split(), key=len, reverse=True)
    filler = ["just", "also", "still", "then", "now", "all", "again", "slowly", "quickly"]
    slots = {
        "{verb}": f"(?:{'|'.join(verbs)})",
        "{verbing}": f"(?:{'|'.join(_ing_form(v) for v in verbs)})",
        "{adv}": rf"(?:(?:{'|'.join(filler)}|\w+ly) )*",
        "{number}": rf"(?:\d+|{'|'.join(table['numbers'].split())})",
        "{titles}": "|".join(table["titles"].split()),
        "{b}": f"[{syllables_ending_in('ㅂ')}]",
        "{end}": r"(?=[\s.,;!?~…\"'”’)*♡♥ㅋㅎㅠㅜ^]|$)",
        "{last}": r"(?=[\s.!?~…]*$)",
    }

    def made(phrases: list[str], *, words: bool) -> re.Pattern[str]:
        joined = "|".join(phrases)
        for slot, pattern in slots.items():
            joined = joined.replace(slot, pattern)
        return re.compile(rf"(?<![\w'])(?:{joined})(?!\w)" if words else joined)

    patterns = {
        f"{name}.{language}": made(phrases, words=language == "en")
        for name, kind in table.items()
        if isinstance(kind, dict)
        for language, phrases in kind.items()
    }
    few_words = r"^(?:[\w']+[,.!]? ){0,4}?"
    not_dice = (
        "of|people|days|hours|gold|years|times|guys|more|things|minutes|weeks|months|men|women"
    )
    number = slots["{number}"]
    patterns["score.en"] = re.compile(
        rf"{few_words}{number}(?! (?:{not_dice}))"
        rf"(?=[.?!,-]|$| (?:plus|points?|damage|to hit|total))"
        rf"|(?:^|[.,!?] |(?:a|it's|got|is|plus|rolled|only) ){number}[.!]*$"
    )
    return patterns


def _ing_form(verb: str) -> str:
    """`run` -> `runn?ing`, `take` -> `taking`: the double consonant is optional, not looked up."""
    stem = verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb
    return rf"{stem}{stem[-1]}?ing"


def plain(text: str) -> str:
    """Lower case, NFC, straight apostrophes; the two ends of a text that is too long."""
    if len(text) > SPAN_LIMIT:
        text = f"{text[: SPAN_LIMIT // 2]} {text[-SPAN_LIMIT // 2 :]}"
    return nfc(text).lower().replace("’", "'").strip()


def unquoted(text: str) -> str:
    """The text without what stands in quotation marks."""
    return QUOTED.sub(" ", text)


def shows(kind: str, text: str) -> bool:
    """Whether `text` (already `plain`) contains a phrase of this kind."""
    return any(pattern.search(text) is not None for pattern in _patterns(kind, text))


def count(kind: str, text: str, limit: int) -> float:
    """Phrases of this kind as a share of `limit`, at most 1."""
    found = sum(len(pattern.findall(text)) for pattern in _patterns(kind, text))
    return min(limit, found) / limit


def _patterns(kind: str, text: str) -> list[re.Pattern[str]]:
    """English ones, and Korean ones where the text has some Hangul."""
    names = [f"{kind}.en", f"{kind}.ko"] if has_syllables(text) else [f"{kind}.en"]
    return [_phrases()[name] for name in names if name in _phrases()]


def acts(text: str) -> bool:
    """The speaker does something or says that they will: "I open the door", in Korean prose of
    deeds (-ㄴ다, -았다), what is about to be done (-ㄹ게) or meant (-려고 해)."""
    return shows("acts", text) or (
        has_syllables(text) and any(_is_deed(s.strip()) for s in SENTENCE_END.split(text))
    )


_FELT = re.compile(
    r"(?:사랑|생각|원|좋아|싫어|미워|존경|기대|약속|축하|부탁)(?:한|했)다$|생각이 [난났]다$"
    r"|(?:바란|바랐|믿는|믿었|모른|몰랐|안|알았|느낀|느꼈|듣는|들었|말한|말했|싶|싶었)다$"
)
"""What -ㄴ다 tells of a person's heart, and so to another person: "사랑한다", "난 모른다"."""
_DONE_WITH = re.compile(r"(?:[을를]|으?로|에|에서|에게|[가-힣]고|며|다가|[아어]서?|듯이?|없이|채) ")
"""What a deed in the past has beside its verb, an object, a place or another deed: "문을 열었다",
"밖으로 나갔다"; "재밌었다" and "망했다" are said."""
_PUT_OFF = re.compile(r"내일|이따|나중|다음에|언젠가|조심|꼭|약속|[뒤후](?:에|면) ")
_LATER = re.compile(r"[뒤후](?:에|면) |이따가? |나중에 |내일 |다음에 ")
_SAID_TO_SOMEBODY = re.compile(r"(?:게|에요|예요|야|네|자|까|봐|래|대|지|죠|니다)요?[.!?~… ]{0,9}$")
_FOR_YOU = re.compile(
    r"(?:줄|드릴|말할|얘기할|이야기할|전화할|연락할|갚을|믿을|기다릴|지킬|도울) ?게$"
)
"""Promises that have the hearer in them; other -ㄹ게 announce what the speaker is about to do."""
_MEANS_TO = re.compile(r"려고 (?:해|한|합)\S*$|[가-힣]겠습니다$")


def is_put_off(text: str) -> bool:
    """Whether somebody is told of what comes later, in Korean: "10분 뒤에 나갈게요"."""
    return bool(_LATER.search(text) and _SAID_TO_SOMEBODY.search(text))


def is_prose(text: str) -> bool:
    """Korean prose of deeds in plain form, each with an object, a place or another deed beside it:
    nobody talks like "문을 열고 안으로 들어갔다", so it is an action without asterisks. As notes
    players write such prose in nouns: "주변을 둘러봄"."""
    sentences = [s.strip() for s in SENTENCE_END.split(text) if s.strip()]
    return bool(sentences) and all(map(_is_deed_in_prose, sentences))


def _is_deed_in_prose(sentence: str) -> bool:
    full = _DONE_WITH.search(sentence) is not None
    in_plain_form = sentence.endswith("다") and _is_deed(sentence)
    return is_noted(sentence, full=full) or (in_plain_form and full)


def _is_deed(sentence: str) -> bool:
    if is_noted(sentence, full=_DONE_WITH.search(sentence) is not None):
        return True
    if len(sentence) < 3 or _FELT.search(sentence):
        return False
    before = final_consonant(sentence[:-1].rstrip()[-1:])
    if sentence.endswith("다") and (before == "ㄴ" or sentence.endswith("는다")):
        return True
    if sentence.endswith("다") and before == "ㅆ" and sentence[-2] not in "있겠":
        return _DONE_WITH.search(sentence) is not None
    if sentence.endswith("게") and before == "ㄹ":
        return not (_FOR_YOU.search(sentence) or _PUT_OFF.search(sentence))
    return _MEANS_TO.search(sentence) is not None


def asks_scene(text: str) -> bool:
    """Asks about surroundings, time or rules, or for the story to be told; "why" and feelings ask
    for a person's view."""
    if shows("asks_telling", text):
        return True
    return shows("asks_scene", text) and is_asked(text) and not shows("asks_view", text)


def is_asked(text: str) -> bool:
    """A question, in Korean also without its mark: a word that asks tells it."""
    return "?" in text or "？" in text or asks_in_words(text)


def last_question(text: str) -> str:
    """The last sentence where it is a question, else empty."""
    text = text.rstrip()
    return SENTENCE_END.split(text.rstrip("?？"))[-1] + "?" if text.endswith(("?", "？")) else ""


def quoted_share(text: str) -> float:
    """Share of the characters that stand in quotation marks, 0 to 1."""
    return sum(len(m.group()) for m in QUOTED.finditer(text)) / max(1, len(text))


def is_person_speaking(text: str) -> bool:
    """A narrator's line that is a person's speech: mostly quoted, or ending in a quotation."""
    return quoted_share(text) > 0.5 or ENDS_QUOTED.search(text) is not None


def without_actions(text: str) -> str:
    """What is left when *starred* and (bracketed) spans are taken out."""
    return STARRED.sub(" ", text).strip()


def is_continue(text: str) -> bool:
    """Nothing is said, or only that it should go on (`text` is already `plain`)."""
    return CONTINUE.fullmatch(text) is not None


def is_only_action(text: str) -> bool:
    """Something is *starred* or (bracketed) and no word stands outside it."""
    return STARRED.search(text) is not None and not any(c.isalnum() for c in without_actions(text))


_OPENER = (
    r"(?:hey|oh|no|yes|yeah|okay|ok|well|so|but|and|thanks|thank you|sorry|wait|come on|please|hi"
    r"|hello"
    r"|dear|my|mr\.?|mrs\.?|ms\.?|miss|lady|sir|저기|야|어이|근데|그런데|아니|응|그래|있잖아)"
)
_END = r"(?=\s*+(?:[,.!?~…:;，。？！—–]|--|$))"
_START = r"(?:(?:^|[.!?~…,;:—–\"“”*)]|--)\s*+|(?<!\s)(?=[^\S\n]*+\n)\s++)"
"""Of a text or a sentence; white space with a line feed in it is read once, from its start."""


def mentions(text: str, name: str) -> bool:
    """Whether `name` occurs in `text` as a word, particles allowed: "세라피나는", "Mira's"."""
    if not (name := _folded(name)):
        return False
    return _mention(name).search(_folded(text)) is not None


def _mention(name: str) -> re.Pattern[str]:
    tail = rf"(?:{VOCATIVES}|{NAME_PARTICLES}){{0,2}}" if is_syllable(name[-1:]) else "(?:'s)?"
    return re.compile(rf"(?<!\w){re.escape(name)}{tail}(?!\w)")


def addresses(text: str, name: str) -> bool:
    """Whether `text` speaks to `name`: "Mira, where...", "..., Mira?", "세라피나, 어디 가?"."""
    if not (name := _folded(name)):
        return False
    return _address(name).search(_folded(text)) is not None


def _address(name: str) -> re.Pattern[str]:
    name, call = re.escape(name), rf"(?:\s?(?:{VOCATIVES}))?"
    return re.compile(
        rf"{_START}(?:{_OPENER}[,!]?\s++){{0,8}}"  # "Hey, Mira, ..." at a start
        rf"{name}{call}(?!\w){_END}"
        rf"|[,，]\s*(?:{_OPENER}\s+)?{name}{call}(?!\w){_END}"  # "..., Mira?"
        rf"|(?<!\w){name}\s?(?:아|야|님|씨)(?=[\s,.!?~…]|$)"  # a vocative needs no comma
        rf"|(?:^|\s)@{name}(?!\w)"
    )


def _folded(text: str) -> str:
    return nfc(text).lower().strip()


_SOMEONE = re.compile(
    r"(?:^|[.?!,]\s|--\s)(?:(?i:hey|oh|no|yes|yeah|okay|well|so|but|and|wait|sorry|please),?\s){0,8}"
    r"([A-Z][\w']+(?: [A-Z][\w']+)?),"
    r"|,\s([A-Z][\w']+)[.?!]"
    r"|^(?:Hey|Hi|Hello|Mr\.|Mrs\.|Ms\.|Miss|Sir),?\s([A-Z][\w']+)"
)
_NOT_A_NAME = frozenset(
    """
    yeah yes no okay ok oh well so but and then sure right wait sorry now hey what i cool
    great ooh ah wow all first also actually maybe nah hmm um uh like good fine thanks
    please or if because just only once second one two three god jesus shit fuck damn man
    here there this that meanwhile later finally yep nope alright hi hello today tonight
    tomorrow however still anyway honestly perhaps
    """.split()  # noqa: SIM905
)


def addresses_someone(text: str) -> bool:
    """A capitalised form of address whose name nobody told us: "Rissa, wait." """
    found = (next(g for g in m.groups() if g) for m in _SOMEONE.finditer(text))
    return any(name.split()[0].lower() not in _NOT_A_NAME for name in found)
