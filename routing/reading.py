"""What one line of text shows by itself: speech or action, question, rules, whom it addresses.

The phrases live in `phrases.toml`; here is only how they are matched. English phrases match whole
words, Korean ones may carry particles and endings. Nothing here knows about turns or weights.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from pathlib import Path

SPAN_LIMIT = 1200
"""Characters read of one text (its two ends): bounds the time a decision can take."""

QUOTED = re.compile(r'"[^"]*(?:"|$)|“[^”]*(?:”|$)|「[^」]*(?:」|$)|『[^』]*(?:』|$)|«[^»]*(?:»|$)')
ENDS_QUOTED = re.compile(r'["”」』»][\s.\-–—]*$')
STARRED = re.compile(r"\*{1,2}[^*\n]+\*{1,2}|\([^()\n]*\)|（[^（）\n]*）|\[[^\[\]\n]*\]")
HANGUL = re.compile(r"[가-힣]")
CONTINUE = re.compile(
    r"(?:please )?(?:continue|go on|carry on|next|(?:계속|이어서|이어가|진행)(?: ?해)?(?: ?줘)?)?"
    r"[\s.!~…]*"
)
SENTENCE_END = re.compile(r"[.!?…~。？！\n]+")


@cache
def _phrases() -> dict[str, re.Pattern[str]]:
    """`phrases.toml` compiled: one pattern per kind, both languages in it."""
    table = tomllib.loads((Path(__file__).parent / "phrases.toml").read_text(encoding="utf-8"))
    verbs = sorted(table["verbs"].split(), key=len, reverse=True)
    filler = ["just", "also", "still", "then", "now", "all", "again", "slowly", "quickly"]
    slots = {
        "{verb}": f"(?:{'|'.join(verbs)})",
        "{verbing}": f"(?:{'|'.join(_ing_form(v) for v in verbs)})",
        "{adv}": rf"(?:(?:{'|'.join(filler)}|\w+ly) )*",
        "{number}": _number(table["numbers"]),
    }

    def compiled(kind: dict[str, list[str]]) -> re.Pattern[str]:
        english = "|".join(kind.get("en", []))
        for slot, pattern in slots.items():
            english = english.replace(slot, pattern)
        parts = [rf"(?<![\w'])(?:{english})(?!\w)"] if english else []
        return re.compile("|".join(parts + kind.get("ko", [])))

    patterns = {name: compiled(kind) for name, kind in table.items() if isinstance(kind, dict)}
    few_words = r"^(?:[\w']+[,.!]? ){0,4}?"
    not_dice = (
        "of|people|days|hours|gold|years|times|guys|more|things|minutes|weeks|months|men|women"
    )
    number = slots["{number}"]
    patterns["score"] = re.compile(
        rf"{few_words}{number}(?! (?:{not_dice}))"
        rf"(?=[.?!,-]|$| (?:plus|points?|damage|to hit|total))"
        rf"|(?:^|[.,!?] |(?:a|it's|got|is|plus|rolled|only) ){number}[.!]*$"
    )
    return patterns


def _ing_form(verb: str) -> str:
    """`run` -> `runn?ing`, `take` -> `taking`: the double consonant is optional, not looked up."""
    stem = verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb
    return rf"{stem}{stem[-1]}?ing"


def _number(words: str) -> str:
    return rf"(?:\d+|{'|'.join(words.split())})"


def plain(text: str) -> str:
    """Lower case, NFC, straight apostrophes; the two ends of a text that is too long."""
    if len(text) > SPAN_LIMIT:
        text = f"{text[: SPAN_LIMIT // 2]} {text[-SPAN_LIMIT // 2 :]}"
    return unicodedata.normalize("NFC", text).lower().replace("’", "'").strip()


def unquoted(text: str) -> str:
    """The text without what stands in quotation marks."""
    return QUOTED.sub(" ", text)


def shows(kind: str, text: str) -> bool:
    """Whether `text` (already `plain`) contains a phrase of this kind."""
    return _phrases()[kind].search(text) is not None


def count(kind: str, text: str, limit: int) -> float:
    """Phrases of this kind as a share of `limit`, at most 1."""
    return min(limit, len(_phrases()[kind].findall(text))) / limit


def acts(text: str) -> bool:
    """The speaker does something or says that they will: "I open the door", "문을 연다", "갈게"."""
    return shows("acts", text) or (HANGUL.search(text) is not None and _acts_korean(text))


def _acts_korean(text: str) -> bool:
    """A plain statement of doing (-ㄴ다, -는다), a promise (-ㄹ게) or an intention (-려고 해)."""
    for sentence in SENTENCE_END.split(text):
        s = sentence.strip()
        if len(s) < 3:
            continue
        before = s[:-1].rstrip()[-1:]
        if s.endswith("다") and (before == "는" or _final_consonant(before) == "ㄴ"):
            return True
        if s.endswith("게") and _final_consonant(before) == "ㄹ":
            return True
        if re.search(r"려고 (?:해|한|합)\S*$|[가-힣]겠(?:어|습니다)$", s):
            return True
    return False


def _final_consonant(syllable: str) -> str:
    """ㄴ or ㄹ where the Hangul syllable ends in it, else empty."""
    offset = ord(syllable) - 0xAC00 if syllable else -1
    return {4: "ㄴ", 8: "ㄹ"}.get(offset % 28, "") if 0 <= offset < 11172 else ""


def asks_scene(text: str) -> bool:
    """Asks about surroundings, time or rules; "why" and feelings ask for a person's view."""
    if not shows("asks_scene", text) or shows("asks_view", text):
        return False
    return "?" in text or "？" in text or HANGUL.search(text) is not None


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
