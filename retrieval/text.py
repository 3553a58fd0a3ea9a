"""Text to terms for search, keyword matching, and cutting a long text into parts.

Nothing here knows of passages or scores. Boundaries are Unicode's own: there is no ASCII "word"
character. Texts are compared in NFC and case-folded, and never changed where they are stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from operator import add

import Stemmer

from language.korean import HANGUL, is_particles, is_syllable
from language.korean_terms import stems
from language.normal import nfc
from language.one_syllable import LOOKED_AT, is_word
from retrieval.english import BASE_FORM, STOP_WORDS
from retrieval.patterns import known_pattern
from schemas.budget import current
from schemas.protocols import Analyzer

_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HIRAGANA = "\u3041-\u309f"
_KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff"
_UNSPACED = f"{_HAN}{_HIRAGANA}{_KATAKANA}"

_RUN = re.compile(
    f"[가-힣]+|[{_HAN}]+|[{_HIRAGANA}]+|[{_KATAKANA}]+"
    rf"|[^\W_{HANGUL}{_UNSPACED}]+(?:['’][^\W_{HANGUL}{_UNSPACED}]+)*"
)
_ASCII_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")  # what `_RUN` finds where all is ASCII
_UNSPACED_ONE, _HAN_ONE = re.compile(f"[{_UNSPACED}]"), re.compile(f"[{_HAN}]")
_HANGUL_RUN = re.compile(f"[{HANGUL}]+")
_SYLLABLES, _JAMO = re.compile("[가-힣]*"), re.compile("[ㄱ-ㅎㅏ-ㅣ]")
_LETTER = re.compile(rf"[^\W_{_UNSPACED}]")
_SPACED_LETTER = re.compile(rf"[^\W_{HANGUL}{_UNSPACED}]")
MANY_WORDS = 30_000
"""Different words whose terms are known at a time. Hangul words beyond stay whole, as to cut 30,000
takes 0.2 s; a chat of 500,000 characters has as many, and the pairs of a whole word hold most of
those of its stem."""
_STEMMERS = [  # range of a word's first letter; without a cache, which would keep users' words
    (first, last, Stemmer.Stemmer(language, 0))
    for first, last, language in (
        ("a", "z", "english"),
        ("ß", "ɏ", "english"),
        ("Ѐ", "ӿ", "russian"),
        ("Ͱ", "Ͽ", "greek"),
        ("\u0600", "\u06ff", "arabic"),
        ("\u0900", "\u097f", "hindi"),
    )
]


def normal(text: str) -> str:
    """NFC, case-folded, typographic apostrophes straight: the form in which texts compare."""
    return nfc(text).casefold().replace("’", "'")


def spaced(text: str) -> str:
    """`normal`, with one space between words."""
    return " ".join(normal(text).split())


def asks(text: str) -> bool:
    """Whether a text ends in a question."""
    return text.rstrip(" \"'”’」』)*\n").endswith(("?", "？"))


class Rules:
    """Cuts texts by rules: words are stemmed by script, English function words left out; the stems
    of Hangul words, like Han and kana, become pairs of characters (Lucene's CJK analysis does the
    same)."""

    name = "rules"

    def words(self, text: str, known: dict[str, Sequence[str]]) -> Iterator[Sequence[str]]:
        """The terms of each word of a normal text."""
        for word in _RUN.findall(text):
            terms = known.get(word)
            if terms is None:
                many = len(known) >= MANY_WORDS
                terms = _cut(word, whole=many)
                if not many:
                    known[word] = terms
            yield terms


RULES = Rules()


def tokens(
    text: str, analyzer: Analyzer = RULES, known: dict[str, Sequence[str]] | None = None
) -> list[str]:
    """The terms of a text in order, for counting.

    Args:
        text: any.
        analyzer: cuts it.
        known: one dictionary for all texts that are read at a time.
    """
    text = normal(text)
    if text.isascii():
        return _english_terms(_ASCII_WORD.findall(text))
    return list(chain.from_iterable(analyzer.words(text, {} if known is None else known)))


def weights(text: str, analyzer: Analyzer = RULES) -> dict[str, float]:
    """The terms of a query: a word counts 1, in however many pairs it is cut."""
    weighed: dict[str, float] = {}
    for terms in analyzer.words(normal(text), {}):
        for term in terms:
            weighed[term] = max(weighed.get(term, 0.0), 1 / len(terms))
    return weighed


def _cut(word: str, *, whole: bool) -> Sequence[str]:
    """The terms of a word; a Hangul word may be left `whole`."""
    if "가" <= word[0] <= "힣":
        return pairs(word) if whole else tuple(chain.from_iterable(map(pairs, stems(word))))
    if _UNSPACED_ONE.match(word):
        return pairs(word)
    term = _word_term(word)
    return (term,) if term else ()


def _english_terms(words: Sequence[str]) -> list[str]:
    """`_word_term` of many ASCII words at once, which takes half the time."""
    bare = [word.removesuffix("'s") for word in words]
    told = [BASE_FORM.get(word, word) for word in bare if word not in STOP_WORDS]
    stems = _STEMMERS[0][2].stemWords(told)
    return [stem if "a" <= word[0] <= "z" else word for word, stem in zip(told, stems, strict=True)]


def _word_term(word: str) -> str:
    """The stem of a spaced word, or nothing if it carries no topic."""
    word = word.removesuffix("'s")
    if word in STOP_WORDS:
        return ""
    word = BASE_FORM.get(word, word)
    for first, last, stemmer in _STEMMERS:
        if first <= word[:1] <= last:
            return str(stemmer.stemWord(word))
    return word


def pairs(run: str) -> Sequence[str]:
    """Overlapping pairs of characters; a single character stands alone unless it is hiragana."""
    if len(run) == 1:
        return () if "\u3041" <= run <= "\u309f" else (run,)
    return tuple(map(add, run, run[1:]))


def mentions(text: str, keyword: str) -> bool:
    """Whether the keyword stands in the text as a word of its own.

    "세라피나는" mentions 세라피나 and "은빛숲길" does not mention 숲; "artist" not art.
    A keyword `/pattern/flags` is a regular expression; one that is invalid, too long or too slow
    (`retrieval/patterns.py`) mentions nothing.
    """
    return mentioned_in([text])(keyword)


def mentioned_in(texts: Sequence[str]) -> Callable[[str], bool]:
    """A test for whether one of the texts `mentions` a keyword, for many keywords: it is on the
    turn's budget."""
    budget = current()
    spaced_texts = [spaced(text) for text in texts]
    composed = [nfc(text) for text in texts]

    def mentioned(keyword: str) -> bool:
        if (pattern := known_pattern(keyword)) is not None:
            with suppress(TimeoutError):
                return any(pattern.matches(text, budget) for text in composed)
            return False
        words = spaced(keyword)
        return any(stands_in(words, text) for text in spaced_texts)

    return mentioned


def stands_in(words: str, text: str) -> bool:
    """Whether the words stand in a text as words of their own; both as `spaced` gives them."""
    at = text.find(words) if words else -1
    while at >= 0:
        before = text[max(0, at - LOOKED_AT) : at]
        if may_start(words, before[-1:]) and may_end(words, before, text, at + len(words)):
            return True
        at = text.find(words, at + 1)
    return False


def may_start(words: str, before: str) -> bool:
    """Whether a keyword may start behind this character."""
    if _UNSPACED_ONE.match(words):  # no spaces to go by; a lone character needs some bound
        return len(words) > 1 or not _HAN_ONE.match(before)
    return not (_LETTER if _HANGUL_RUN.match(words) else _SPACED_LETTER).match(before)


def may_end(words: str, before: str, text: str, end: int) -> bool:
    """Whether a keyword may end in a text where it does, given what stands before it, too."""
    hangul = _SYLLABLES.match(text, end)[0]  # type: ignore[index]
    following = text[end + len(hangul) : end + len(hangul) + 1]
    if _UNSPACED_ONE.match(words[-1]):
        return len(words) > 1 or not _HAN_ONE.match(following)
    if not hangul and _LETTER.match(following) and not _JAMO.match(following):  # 강아지ㅋㅋ is one
        return False
    if len(words) == 1 and is_syllable(words):
        after = end + len(hangul)
        return is_word(words, before, hangul, text[after : after + LOOKED_AT])
    return not hangul or is_particles(hangul)


_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)*]*+\s+|[。！？][」』）]*\s*|\n\s*\n")


def parts(text: str, size: int) -> list[str]:
    """The text cut between sentences into parts of about `size` characters, at least one.

    A sentence longer than two parts is cut at spaces, or anywhere if it has none.
    """
    text = text.strip()
    if len(text) <= size:
        return [text]
    packed = [""]
    for sentence in sentences(text):
        for piece in _pieces(sentence, 2 * size):
            if packed[-1] and len(packed[-1]) + len(piece) > size:
                packed.append(piece)
            else:
                packed[-1] = f"{packed[-1]} {piece}".strip()
    return packed


def sentences(text: str) -> list[str]:
    """The text cut after full stops, question marks and blank lines."""
    cuts = [0, *(end.end() for end in _SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end].strip() for start, end in pairwise(cuts)]


def _pieces(sentence: str, longest: int) -> list[str]:
    """A sentence in pieces of at most `longest` characters."""
    pieces = []
    while len(sentence) > longest:
        cut = sentence.rfind(" ", longest // 2, longest)
        cut = cut if cut > 0 else longest
        pieces.append(sentence[:cut])
        sentence = sentence[cut:].strip()
    return [*pieces, sentence] if sentence else pieces
