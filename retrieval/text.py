"""Text to terms for search, keyword matching, and cutting a long text into parts.

Nothing here knows of passages or scores. Boundaries are Unicode's own: there is no ASCII "word"
character. Texts are compared in NFC and case-folded, and never changed where they are stored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import regex
import Stemmer

from retrieval.english import BASE_FORM, STOP_WORDS

MAX_PATTERN = 200  # characters of a /regex/ keyword; lorebooks stay far below
PATTERN_SECONDS = 0.02  # what one regex keyword may cost before it counts as no match

_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"
_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HIRAGANA = "\u3041-\u309f"
_KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff"
_UNSPACED = f"{_HAN}{_HIRAGANA}{_KATAKANA}"

_RUN = re.compile(
    f"(?P<hangul>[{_HANGUL}]+)|(?P<unspaced>[{_HAN}]+|[{_HIRAGANA}]+|[{_KATAKANA}]+)"
    rf"|[^\W_{_HANGUL}{_UNSPACED}]+(?:['’][^\W_{_HANGUL}{_UNSPACED}]+)*"
)
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

# Josa and endings that may follow a keyword without a space, one or more.
_PARTICLES = """
    은 는 이 가 을 를 의 에 에게 에서 에게서 께 께서 한테 한테서 더러 와 과 랑 이랑 하고 도 만 까지
    부터 마저 조차 밖에 처럼 보다 같이 만큼 마다 대로 커녕 뿐 로 으로 로서 으로서 로써 으로써
    아 야 여 이여 이야 님 씨 군 양 들 네 나 이나 든 이든 든지 이든지 라 이라 라고 이라고 라는 이라는
    란 이란 며 이며 고 이고 다 이다 인 일 였다 이었다 였어 이었어 예요 이에요 입니다 요 이요 지 이지
"""
PARTICLES = sorted(_PARTICLES.split(), key=lambda particle: (-len(particle), particle))
_CHAIN = re.compile("(?:" + "|".join(PARTICLES) + "){1,4}")
_INFLECTION = re.compile(  # the particles that a word is rid of: fewer, in the order of grammar
    "(?:들|님)?(?:에|에게|에서|에게서|께|께서|한테|한테서|와|과|랑|이랑|하고|까지|부터|마저|조차|밖에"
    "|처럼|보다|같이|만큼|마다|로|으로|로서|으로서)?(?:은|는|이|가|을|를|의|도|만)?"
)


def normal(text: str) -> str:
    """NFC, case-folded, typographic apostrophes straight: the form in which texts compare."""
    return unicodedata.normalize("NFC", text).casefold().replace("’", "'")


def asks(text: str) -> bool:
    """Whether a text ends in a question."""
    return text.rstrip(" \"'”’」』)*\n").endswith(("?", "？"))


def tokens(text: str) -> list[str]:
    """The terms of a text in order, for counting.

    Words are stemmed by script, English function words left out; Hangul words lose their particles
    and, like Han and kana, become pairs of characters (Lucene's CJK analysis does the same).
    """
    terms: list[str] = []
    for run in _RUN.finditer(normal(text)):
        if run["hangul"]:
            terms.extend(_hangul_terms(run[0]))
        elif run["unspaced"]:
            terms.extend(_pairs(run[0]))
        elif term := _word_term(run[0]):
            terms.append(term)
    return terms


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


def _hangul_terms(word: str) -> tuple[str, ...]:
    """Pairs of syllables of a word without its particles.

    A stem of one syllable stands beside the pairs of the whole word: "숲에서" gives 숲, 숲에, 에서,
    and 가을 (autumn) is still found although it looks like 가 with a particle.
    """
    stem = without_particles(word)
    return _pairs(stem) if len(stem) > 1 else (stem, *(_pairs(word) if len(word) > 1 else ()))


def _pairs(run: str) -> tuple[str, ...]:
    """Overlapping pairs of characters; a single character stands alone unless it is hiragana."""
    if len(run) == 1:
        return () if "\u3041" <= run <= "\u309f" else (run,)
    return tuple(run[at : at + 2] for at in range(len(run) - 1))


def without_particles(word: str) -> str:
    """A Hangul word less its longest inflection that leaves a syllable."""
    for cut in range(max(1, len(word) - 6), len(word)):  # none is longer
        if _INFLECTION.fullmatch(word, cut):
            return word[:cut]
    return word


def mentions(text: str, keyword: str) -> bool:
    """Whether the keyword stands in the text as a word of its own.

    "세라피나는" mentions 세라피나 and "은빛숲길" does not mention 숲; "artist" not art.
    A keyword `/pattern/flags` is a regular expression (flags i, m, s; others are ignored); one that
    is invalid, longer than `MAX_PATTERN` or slower than `PATTERN_SECONDS` mentions nothing.
    """
    return mentioned_in([text])(keyword)


def mentioned_in(texts: Sequence[str]) -> Callable[[str], bool]:
    """A test for whether one of the texts `mentions` a keyword, for many keywords."""
    normals = [normal(text) for text in texts]

    def mentioned(keyword: str) -> bool:
        if keyword.startswith("/") and (pattern := as_pattern(keyword)) is not None:
            return any(_searches(pattern, text) for text in texts)
        return any(map(finder(keyword), normals))

    return mentioned


@lru_cache(maxsize=4096)
def as_pattern(keyword: str) -> str | None:
    """The regular expression of a keyword `/pattern/flags` with its flags inside, else None."""
    slashed = re.fullmatch(r"/(.+)/([a-z]*)", keyword, re.DOTALL)
    if not slashed or len(slashed[1]) > MAX_PATTERN:
        return None
    flags = "".join(flag for flag in "ims" if flag in slashed[2])
    return f"(?{flags}){slashed[1]}" if flags else slashed[1]


def _searches(pattern: str, text: str) -> bool:
    try:
        found = regex.search(pattern, unicodedata.normalize("NFC", text), timeout=PATTERN_SECONDS)
    except (regex.error, TimeoutError):
        return False
    return found is not None


@lru_cache(maxsize=16384)
def finder(keyword: str) -> Callable[[str], bool]:
    """A test for one plain keyword in texts that are already `normal`."""
    wanted = " ".join(normal(keyword).split())
    if not wanted:
        return lambda text: False
    spaced = r"\s+".join(re.escape(word) for word in wanted.split(" "))
    pattern = re.compile(f"(?<!{_before(wanted)}){spaced}(?P<rest>[{_HANGUL}]*)(?P<next>.?)", re.S)

    def found(text: str) -> bool:
        # The quick test spares most texts the pattern.
        return wanted.split(" ")[0] in text and any(
            _ends(wanted, match["rest"], match["next"]) for match in pattern.finditer(text)
        )

    return found


def _before(wanted: str) -> str:
    """The characters, as a class, that may not come right before the keyword."""
    if re.match(f"[{_UNSPACED}]", wanted):  # no spaces to go by; a lone character needs some bound
        return f"[{_HAN}]" if len(wanted) == 1 else r"[^\s\S]"
    if re.match(f"[{_HANGUL}]", wanted):
        return rf"[^\W_{_UNSPACED}]"
    return rf"[^\W_{_HANGUL}{_UNSPACED}]"


def _ends(wanted: str, hangul: str, following: str) -> bool:
    """Whether a keyword may end where it did, given what stands right after it."""
    if re.search(f"[{_UNSPACED}]$", wanted):
        return len(wanted) > 1 or not re.match(f"[{_HAN}]", following)
    if hangul:
        return _CHAIN.fullmatch(hangul) is not None
    return not re.match(rf"[^\W_{_UNSPACED}]", following)


_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)*]*\s+|[。！？][」』）]*\s*|\n\s*\n")


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
