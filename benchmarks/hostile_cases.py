"""Hostile inputs, made by generators: jobs that keep the limits of a request and ask for much work.

A case is named `kind/what`. Sizes come from the limits of the request, so that a limit that moves
moves the cases; a smaller `Size` makes the same shapes for tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice, permutations
from random import Random
from typing import Any

from schemas.base import MAX_TEXT
from schemas.request import MAX_HISTORY, MAX_MESSAGE, MAX_STORY

Job = dict[str, Any]
"""A job's `input`."""


@dataclass(frozen=True)
class Size:
    """How large the cases are. What a card has fits a context of 131,072 tokens, as one that does
    not is refused before anything is done with it."""

    message: int = MAX_MESSAGE
    text: int = MAX_TEXT
    lines: int = MAX_HISTORY
    events: int = MAX_STORY
    total: int = 2_000_000
    """Characters of the long texts of a request: names, ids and what JSON adds come on top."""

    @classmethod
    def share(cls, of: float) -> Size:
        """All limits times a number."""
        full = cls()
        return cls(*(max(20, int(of * limit)) for limit in vars(full).values()))

    def each(self, count: int) -> int:
        """Characters of each of so many texts."""
        return max(1, min(self.text, self.total // count))


@dataclass(frozen=True)
class Case:
    """A job, and what the model says to it."""

    name: str
    job: Job
    reply: str = ""
    """Empty: what the scripted model composes."""
    format: str = ""
    """Of the prompt; empty: the model's own."""
    file: bytes = field(default=b"", repr=False)
    """What a user imports in place of a job."""
    file_name: str = "file.json"

    @property
    def kind(self) -> str:
        """The generator that made it."""
        return self.name.partition("/")[0]


CLASSES = {
    **{"newline": "\n", "carriage return": "\r", "space": " ", "tab": "\t", "no-break": "\xa0"},
    **{"wide space": "\u3000", "line separator": "\u2028", "null": "\0", "form feed": "\f"},
    **{"letter": "a", "capital": "A", "digit": "7", "underscore": "_", "sharp s": "ß", "İ": "İ"},
    **{"syllable": "가", "particle": "은", "jamo": "ㅋ", "leading jamo": "ᄀ", "han": "漢"},
    **{"kana": "あ", "katakana": "ア", "arabic": "ش", "hindi": "क", "thai": "ก", "greek": "Σ"},
    **{"dot": ".", "comma": ",", "ellipsis": "…", "wide dot": "。", "exclamation": "!"},
    **{"question": "?", "colon": ":", "wide colon": "：", "semicolon": ";", "dash": "-"},
    **{"long dash": "—", "tilde": "~", "star": "*", "quote": '"', "single": "'", "curly": "“"},
    **{"curly single": "’", "opening": "(", "square": "[", "brace": "{", "angle": "<"},
    **{"close": ")", "greater": ">", "corner": "「", "slash": "/", "backslash": "\\", "bar": "|"},
    **{"hash": "#", "dollar": "$", "caret": "^", "plus": "+", "percent": "%", "at": "@"},
    **{"backtick": "`", "accent": "\u0301", "joiner": "\u200d", "variation": "\ufe0f"},
    **{"override": "\u202e", "isolate": "\u2067", "zero width": "\u200b", "emoji": "😀"},
    **{"heart": "♡", "flag": "🇰", "tag": "\U000e0061", "expanding": "\ufdfa"},
    **{"musical": "\U0001d160", "private": "\ue000", "wide letter": "Ａ", "wide angle": "＜"},
    **{"soft hyphen": "\xad", "byte order": "\ufeff"},
}  # fmt: skip
"""One character of each class that some pattern tells apart."""

PAIRED = [
    *("newline", "space", "letter", "digit", "syllable", "dot", "colon", "dash", "star", "quote"),
    *("single", "opening", "close", "square", "angle", "bar", "hash", "underscore", "question"),
]
"""Classes that are run in pairs: those with the most patterns."""

BRACKETS = [
    "()",
    "[]",
    "{}",
    "<>",
    "（）",
    "［］",
    "＜＞",
    "「」",
    "『』",
    "【】",
    "«»",
    "“”",
    "‘’",
    "《》",
]
BRACKETS += ['""', "''", "**", "__", "``", "~~", "||"]


def run(text: str, length: int) -> str:
    """The text again and again between two letters, which many patterns fail at."""
    return "x" + "".join(islice(cycle(text), max(0, length - 2))) + "x"


def pair(first: str, second: str, length: int) -> str:
    """A run of one, a run of the other, and both by turns."""
    third = length // 3
    return first * third + second * third + run(first + second, third)


def turn(message: str = "What now?", *, persona: Job | None = None, **fields: Any) -> Job:
    """A request of our own, otherwise harmless."""
    return {"message": message, "persona": {"name": "Mara", **(persona or {})}, **fields}


def said(texts: Iterable[str], **fields: Any) -> list[Job]:
    """Lines of a history, of user and character by turns."""
    roles = cycle(("user", "character"))
    return [
        {"role": role, "content": text, **fields} for text, role in zip(texts, roles, strict=False)
    ]


def told(texts: Iterable[str], **fields: Any) -> list[Job]:
    """Events of a story."""
    return [
        {"id": f"e{row}", "order": row, "text": text, **fields} for row, text in enumerate(texts)
    ]


def lore(texts: Iterable[str], **fields: Any) -> list[Job]:
    """Entries of a lorebook, as events; `keys` and other settings are the entries'."""
    return [
        {"id": f"l{row}", "order": 0, "text": text,
         "extensions": {"lore": {"id": str(row), **fields}}}
        for row, text in enumerate(texts)
    ]  # fmt: skip


def runs(size: Size) -> Iterator[Case]:
    """One character of each class, as often as it fits, in each place."""
    many = size.message // 2
    for name, character in CLASSES.items():
        yield Case(f"runs/message of {name}", turn(run(character, size.message)))
        yield Case(
            f"runs/history of {name}", turn(history=said([run(character, size.each(2))] * 2))
        )
        text = run(character, many)
        yield Case(f"runs/card of {name}", turn(persona=card(text)))
        books = lore([text], keys=["now"]) + lore([text], constant=True)
        books[1]["id"] = "constant"
        yield Case(f"runs/story of {name}", turn(story=[*told([text] * 3), *books]))
        yield Case(f"runs/reply of {name}", turn(stream=True), reply=run(character, size.message))
        short = run(character, 100).strip() if character not in "\r\n" else "x"
        yield Case(
            f"runs/names of {name}",
            turn(
                f"{short} {short}",
                user_name=short,
                persona={"name": short, "aliases": [short + str(n) for n in range(10)][:50]}
                if len(short) < 99
                else {"name": short, "aliases": [short[: 50 + n] for n in range(50)]},
                history=said(["Yes."] * 20, name=short),
            ),
            reply=run(f"{short}: ", size.message),
        )


def pairs(size: Size) -> Iterator[Case]:
    """Two characters of different classes, one after the other and by turns."""
    for one, other in permutations(PAIRED, 2):
        first, second = CLASSES[one], CLASSES[other]
        text = pair(first, second, size.message)
        yield Case(
            f"pairs/{one} and {other}",
            turn(text, history=said([pair(first, second, size.each(2))]), stream=True),
            reply=text,
        )


def card(text: str) -> Job:
    """Every text of a persona."""
    names = ("description", "personality", "scenario", "first_message", "example_dialogue")
    return dict.fromkeys((*names, "system_prompt", "post_history_instructions"), text)


def brackets(size: Size) -> Iterator[Case]:
    """Brackets and quotation marks that nest, or never close."""
    for opened, closed in map(tuple, BRACKETS):
        for name, make in _NESTED.items():
            text = make(opened, closed, size.message)
            job = turn(
                text,
                history=said([make(opened, closed, size.each(3))]),
                persona={"example_dialogue": make(opened, closed, size.message)},
                stream=True,
            )
            yield Case(f"brackets/{opened}{closed} {name}", job, reply=text)


_NESTED: dict[str, Callable[[str, str, int], str]] = {
    "nested": lambda a, b, n: a * (n // 2) + b * (n // 2),
    "reversed": lambda a, b, n: b * (n // 2) + a * (n // 2),
    "by turns": lambda a, b, n: run(a + b, n),
    "with words": lambda a, b, n: run(f"{a}he said ", n),
    "with spaces": lambda a, b, n: run(f"{a} {b} ", n),
    "with names": lambda a, b, n: run(f"{a}Mara{b} {a}You{b}", n),
    "a line each": lambda a, b, n: run(f"{a}x\n", n),
    "words between": lambda a, b, n: f"{a}{'word ' * (n // 6)}",
}


def marks(size: Size) -> Iterator[Case]:
    """Unicode that grows, sorts or joins."""
    for name, unit in MARKS.items():
        text = run(unit, size.message)
        long = run(unit, size.each(4))
        yield Case(
            f"marks/{name}",
            turn(
                text,
                history=said([long]),
                persona={"description": text},
                story=told([long]),
                stream=True,
            ),
            reply=text,
        )
    for name, (first, second) in SORTED.items():
        text = "a" + first * (size.message // 2 - 1) + second * (size.message // 2)
        yield Case(f"marks/{name} in a message", turn(text))
        half = size.each(1) // 2
        yield Case(
            f"marks/{name} in a line",
            turn(history=said(["a" + first * (half - 1) + second * half])),
        )
        mixed = run(first + second, size.text)
        yield Case(f"marks/{name} by turns in lines", turn(history=said([mixed] * 3)))
        yield Case(f"marks/{name} in a story", turn(story=told([mixed], keywords=[mixed[:900]])))
        yield Case(f"marks/{name} in a reply", turn(stream=True), reply=text)


MARKS = {
    "letters with many accents": "a" + "\u0301\u0323\u0308" * 20,
    "jamo that compose": "\u1112\u1161\u11ab",
    "jamo that do not": "\u1112\u1112\u1161\u1161",
    "old jamo": "ㅎㅏㄴ",
    "families": "👨‍👩‍👧‍👦",
    "skins": "👋🏿",
    "flags": "🇰🇷",
    "joiners between letters": "a\u200d",
    "overrides": "\u202eabc\u202c",
    "isolates": "\u2067abc\u2069",
    "forms that grow": "\ufdfa\u0390\u1fb7",
    "ligatures": "ﬃ",
    "dotless": "İı",
    "final sigma": "ΑΣ",
    "virama": "क्ष",
    "variation selectors": "✊\ufe0f\U000e0101",
    "tags": "🏴\U000e0067\U000e0062\U000e007f",
    "private use": "\U000f0000",
    "not characters": "\uffff",
    "keycaps": "1\ufe0f\u20e3",
}

SORTED: dict[str, tuple[str, str]] = {
    "marks out of order": ("\u0315", "\u0316"),
    "vowels out of order": ("\u05b9", "\u05b0"),
    "many classes": ("\u0345", "\u0334"),
}
"""Combining marks of descending classes, which a normal form must sort."""


def macros(size: Size) -> Iterator[Case]:
    """Macros that insert nothing, insert much, nest, or lead to one another."""
    text = min(size.text, 3 * size.message)
    for name, unit in MACROS.items():
        body = run(unit, text)
        yield Case(f"macros/{name}", turn(persona=dict(islice(card(body).items(), 4))))
        yield Case(
            f"macros/{name} in lore",
            turn(story=lore([run(unit, size.each(20))] * 20, constant=True)),
        )
    for length in sorted({min(of, text) for of in (700, 2_000, 6_000, 20_000, text)}):
        fields = {
            "description": "{{personality}}" * (length // 15),
            "personality": "{{scenario}}" * (length // 12),
            "scenario": "{{noop}}" * (length // 8),
        }
        yield Case(f"macros/fields that name fields, {length}", turn(persona=fields))
        calls = "{{description}}" * (length // 15)
        told_of = {"description": calls, "personality": calls, "scenario": calls}
        yield Case(f"macros/fields that name themselves, {length}", turn(persona=told_of))
        yield Case(
            f"macros/lore that names fields, {length}",
            turn(
                persona=fields,
                story=lore([calls] * max(1, min(50, size.total // length)), constant=True),
            ),
        )
        yield Case(
            f"macros/keys that name fields, {length}",
            turn(persona=fields, story=lore(["x"] * 50, keys=["{{description}}" * 5])),
        )
    yield Case("macros/open", turn(persona={"description": "{{" * (text // 2)}))
    yield Case("macros/closed", turn(persona={"description": "}}" * (text // 2)}))
    yield Case("macros/braces", turn(persona={"description": "{" * text}))
    for depth in (15, 200, text // 20):
        deep = "{{reverse:" * depth + "x" * (text - 12 * depth) + "}}" * depth
        yield Case(f"macros/{depth} deep", turn(persona={"description": deep}))
    yield Case(
        "macros/many options",
        turn(persona={"description": "{{random:" + "a," * (text // 2 - 10) + "}}"}),
    )
    yield Case(
        "macros/options in options",
        turn(persona={"description": run("{{random:{{pick:a,{{roll:99d9}}}},b}}", text)}),
    )
    unknown = "{{" + "}}{{".join(_word(n) for n in range(text // 12)) + "}}"
    yield Case("macros/unknown ones", turn(persona={"description": unknown}))
    yield Case(
        "macros/trim between newlines",
        turn(persona={"description": ("\n" * 50 + "{{trim}} ") * (text // 60)}),
    )
    yield Case(
        "macros/trim behind newlines", turn(persona={"description": "\n" * (text - 10) + "{{trim"})
    )
    yield Case(
        "macros/long names",
        turn(
            persona={"name": "가" * 100, "description": run("{{user}}은 {{char}}를 ", text)},
            user_name="나" * 100,
        ),
    )


MACROS = {
    "noop": "{{noop}}",
    "note": "{{//}}",
    "comment": "{{comment:x}}",
    "names": "{{user}}",
    "tags": "<user>",
    "dice": "{{roll:100d6}}",
    "random": "{{random:a,b}}",
    "pick": "{{pick::a::b}}",
    "reverse": "{{reverse:x}}",
    "newline": "{{newline}}",
    "trim": "{{trim}}",
    "hidden key": "{{hidden_key:x}}",
    "original": "{{original}}",
    "not closed": "{{user ",
    "spaces": "{{      user      }}",
    "upper case": "{{USER}}",
}


def _word(number: int) -> str:
    """A word of letters that no other number has."""
    letters = []
    for _ in range(5):
        number, at = divmod(number, 26)
        letters.append(chr(97 + at))
    return "".join(letters)


PATTERNS = {
    "nested": "(a+)+$",
    "nested lazily": "(a+?)+?b",
    "alternatives": "(a|aa)+$",
    "same alternatives": "(a|a|a|a)*b",
    "many dots": ".*.*.*.*.*b",
    "captures": r"(.*)(.*)(.*)(.*)\4\3\2\1b",
    "counted": "(?:a{1,99}){1,99}b",
    "counted deep": "(?:(?:(?:a{9,99}){9,99}){9,99}){9,99}b",
    "look ahead": "(?=(a+))a*b",
    "look behind": "(?<=(a|aa)*)b",
    "fuzzy": "(?:abcdefghij){e<=6}z",
    "best fuzzy": "(?b)(?:aaaaabbbbbccccc){e<=9}",
    "better fuzzy": "(?e)(?:abcabcabcabc){i,d,s<=8}",
    "recursive": r"(a(?R)?b|a)*c",
    "clusters": r"(\X)*\Xb",
    "sets": r"(?V1)[\p{L}--[a-f]]*[\p{L}&&\w]*z",
    "folded": "(ss|ß|ſs)*z",
    "partial words": r"(\w+\s*)+:",
    "anchored": "^(a|b|ab)*c$",
    "reverse": "(?r)(a+)+b",
    "overlapping": r"(?:\w*\d*\w*)*;",
    "conditional": "(a)?(?(1)a*a*a*b|c)",
    "all": "[^]*(?:[^]*)*x",
    "large range": r"[\u0000-\uffff]*[^\u0000-\uefff]",
    "large class": r"[^\W\d]{1,999}\W{1,999}\d",
    "classes": r"\W?\S?\D?" * 100 + "z",
    "references": "(a)" * 150 + r"\1" * 200 + "b",
    "reference behind": r"(?<=\1(a|aa)*)b",
    "pairs": r"[\uD83C-\uDBFF][\uDC00-\uDFFF]*" * 30 + "z",
    "long list": "(?:" + "|".join(f"a{{{n}}}" for n in range(1, 140)) + ")*b",
    "groups": "(" * 60 + "a" + ")*" * 60 + "b",
    "names": "|".join(f"a{{{n}}}" for n in range(1, 28)),
    "not closed": "(" * 900,
}
"""Expressions that backtrack, or that compile slowly, each of at most 990 characters; some are in
the syntax of the `regex` module, which keys do not have."""


def regexes(size: Size) -> Iterator[Case]:
    """Users' regular expressions: in keys of lore and in keywords of a story."""
    texts = {
        "letters": "a" * (size.message - 1) + "!",
        "words": run("ab aab ", size.message),
        "mixed": run("aAß1 :가", size.message),
    }
    lines = said(["a" * size.each(40) + "!"] * 10)
    events = min(200, size.events)
    for name, pattern in PATTERNS.items():
        text = texts["words"] if "word" in name or "over" in name else texts["letters"]
        book = lore(["x"], keys=[f"/{pattern}/i"])
        yield Case(f"regexes/{name} in a key", turn(text, history=lines, story=book))
        some = [f"/{pattern}{n}/" for n in range(20)]
        rows = max(1, min(events, size.total // (30 * len(pattern))))
        yield Case(
            f"regexes/{name} in keywords", turn(text, story=told(["x"] * rows, keywords=some))
        )
        yield Case(
            f"regexes/{name} in many keys",
            turn(text, history=lines, story=lore(["a" * 200] * rows, keys=some, scan_depth=50)),
        )
    every = [f"/{pattern}/" for pattern in PATTERNS.values()]
    for name, text in texts.items():
        story = told(["x"] * events, keywords=every)
        yield Case(f"regexes/all in keywords, {name}", turn(text, story=story))
        yield Case(
            f"regexes/all in conditions, {name}",
            turn(
                text,
                history=lines,
                story=lore(
                    ["a" * 100] * events,
                    keys=["/a/"],
                    conditions=[{"keys": every, "logic": "and_all"}],
                ),
            ),
        )
    different = [
        {**event, "keywords": [f"/(a+{row}?)+[b-y]{{{n}}}$/" for n in range(100)]}
        for row, event in enumerate(told(["x"] * min(500, size.events)))
    ]
    yield Case("regexes/50,000 different ones in keywords", turn(texts["letters"], story=different))
    books = lore(["x"] * min(1_000, size.events))
    for row, event in enumerate(books):
        event["extensions"]["lore"]["keys"] = [f"/[^\\W{row}]{{1,{n}}}z/i" for n in range(1, 50)]
    yield Case("regexes/50,000 different ones in keys", turn(texts["letters"], story=books))


def keywords(size: Size) -> Iterator[Case]:
    """Plain words that are looked for: many, long, or nearly there."""
    text = run("aaaa ", size.message)
    rows = max(1, min(size.events, size.total // 2_000))
    many = [_word(n) for n in range(200)]
    yield Case("keywords/many of each event", turn(text, story=told(["x"] * rows, keywords=many)))
    different = told(["x"] * rows)
    for row, event in enumerate(different):
        event["keywords"] = [_word(200 * row + n) for n in range(200)]
    yield Case("keywords/all different", turn(text, story=different))
    long = ["a" * 990 + str(n) for n in range(100)]
    yield Case(
        "keywords/long ones",
        turn("a" * size.message, story=told(["x"] * max(1, size.total // 100_000), keywords=long)),
    )
    for name, unit in {"letters": "a", "syllables": "가", "particles": "은", "dots": "."}.items():
        keys = [unit * n for n in range(1, 100)]
        message = unit * size.message
        events = max(1, min(size.events, size.total // 6_000))
        yield Case(
            f"keywords/runs of {name}", turn(message, story=told(["x"] * events, keywords=keys))
        )
        yield Case(
            f"keywords/runs of {name} as keys",
            turn(message, history=said([message] * 10), story=lore(["x"] * events, keys=keys)),
        )
    spaced = run("가나다은 ", size.message)
    yield Case(
        "keywords/found many times, never a word",
        turn(spaced, story=lore(["x"] * rows, keys=["나다", "나", "다"])),
    )


def data(size: Size) -> Iterator[Case]:
    """JSON that nobody reads: deep, wide, long."""
    for place in ("meta", "persona", "event", "lore"):
        for depth in (50, 200, 900, 5_000):
            if depth <= size.total:
                yield Case(f"data/{place} {depth} deep", _with_data(place, _deep(depth)))
        wide = {_word(n): n for n in range(size.total // 16)}
        yield Case(f"data/{place} wide", _with_data(place, {"x": wide}))
        yield Case(f"data/{place} numbers", _with_data(place, {"x": [0.1] * (size.total // 8)}))
        yield Case(
            f"data/{place} lists", _with_data(place, {"x": [[] for _ in range(size.total // 4)]})
        )
        yield Case(f"data/{place} long", _with_data(place, {"x": "é\n" * (size.total // 2)}))
        yield Case(f"data/{place} long name", _with_data(place, {"x" * size.total: 1}))
        yield Case(f"data/{place} large number", _with_data(place, {"x": 10**4_000}))
    each = {"x": "y" * size.each(size.events)}
    yield Case(
        "data/extensions of many events", turn(story=told(["x"] * size.events, extensions=each))
    )


def _deep(depth: int) -> Job:
    found: Any = {}
    for _ in range(depth):
        found = {"a": [found]} if depth % 2 else {"a": found}
    return {"x": found}


def _with_data(place: str, value: Job) -> Job:
    match place:
        case "meta":
            return turn(meta=value)
        case "persona":
            return turn(persona={"extensions": value})
        case "event":
            return turn(story=told(["Rain."], extensions=value))
        case _:
            return turn(story=lore(["Rain."], keys=["now"], **value))


def refusals(size: Size) -> Iterator[Case]:
    """Requests that are wrong in many places, or at great length."""
    long = "x" * size.total
    yield Case("refusals/long field", turn() | {long: 1})
    yield Case("refusals/long field of a persona", turn(persona={long: 1}))
    nearly = "story_positio" + "n" * (size.total // 2)
    yield Case("refusals/nearly a field", turn() | {nearly: 1})
    fields = {_word(n): n for n in range(size.total // 20)}
    yield Case("refusals/many fields", turn() | fields)
    yield Case("refusals/many fields of a persona", turn(persona=fields))
    yield Case(
        "refusals/lines without a role", turn(history=[{"content": "x", "rôle": "u"}] * size.lines)
    )
    yield Case(
        "refusals/lines of many fields",
        turn(history=[{_word(n): n for n in range(50)}] * min(size.lines, size.total // 500)),
    )
    yield Case("refusals/events of nothing", turn(story=[{}] * size.events))
    yield Case("refusals/numbers in place of lines", turn(history=[7] * size.lines))
    yield Case("refusals/too many lines", turn(history=said(["x"] * (size.total // 4))))
    yield Case("refusals/too many events", turn(story=told(["x"] * (size.total // 10))))
    yield Case("refusals/too long a message", turn(long))
    yield Case("refusals/too many aliases", turn(persona={"aliases": ["a"] * (size.total // 4)}))
    yield Case("refusals/long language", turn(persona={"language": "a-" * (size.total // 2)}))
    nearly = "ko" + "-aaaa" * (size.total // 5) + "!"
    yield Case("refusals/long language, nearly one", turn(persona={"language": nearly}))
    yield Case("refusals/long name", turn(user_name=" " * size.total + "a"))
    yield Case("refusals/long model", turn(model={"name": long}))
    yield Case("refusals/long embedding id", turn(history=said(["x"], embedding_id=long)))
    yield Case("refusals/long id", turn(session_id=long))
    yield Case("refusals/long time", turn(history=said(["x"], timestamp="2" * size.total)))
    yield Case("refusals/long role", turn(history=[{"role": long, "content": "x"}]))
    yield Case("refusals/long number", turn(story_position="9" * min(4_000, size.total)))
    yield Case("refusals/long route", {"route": long})
    yield Case("refusals/blank message", turn("\u3000" * size.message))
    yield Case("refusals/a message that does not fit", turn("가" * size.message))
    yield Case(
        "refusals/a card that does not fit",
        turn(persona=card(run("the forest at night ", size.each(8)))),
    )


def lorebooks(size: Size) -> Iterator[Case]:
    """Books that recurse, compete and fill the budget."""
    count = max(2, min(size.events, size.total // 100))
    chain = lore(f"It leads to {_word(row + 1)}." for row in range(count))
    for row, event in enumerate(chain):
        event["extensions"]["lore"]["keys"] = [_word(row)]
    yield Case("lorebooks/a chain", turn(f"{_word(0)}?", story=chain))
    yield Case("lorebooks/a chain, backwards", turn(f"{_word(0)}?", story=chain[::-1]))
    yield Case(
        "lorebooks/all at once", turn("Rain?", story=lore(["Rain falls."] * count, keys=["rain"]))
    )
    yield Case(
        "lorebooks/all at once, long",
        turn("Rain?", story=lore([run("Rain. ", size.each(count))] * count, keys=["rain"])),
    )
    yield Case("lorebooks/all constant", turn(story=lore(["Rain falls."] * count, constant=True)))
    yield Case(
        "lorebooks/all constant, free of the budget",
        turn(story=lore(["Rain falls."] * count, constant=True, ignore_budget=True)),
    )
    deep = {"scan_depth": 10_000, "keys": ["rain", "snow"]}
    long = said(f"Rain {row}, sun." for row in range(size.lines))
    yield Case("lorebooks/far back", turn(history=long, story=lore(["Rain."] * count, **deep)))
    levels = lore("rain " * 3 for _ in range(count))
    for row, event in enumerate(levels):
        event["extensions"]["lore"] |= {"keys": ["rain"], "recursion_level": row}
    yield Case("lorebooks/levels", turn("rain", story=levels))
    for name, settings in _BOOKS.items():
        keyed = {"keys": ["rain", "sun"], **settings}
        yield Case(
            f"lorebooks/{name}",
            turn(
                "Rain and sun?",
                history=long[: min(2_000, size.lines)],
                story=lore(["Rain and sun."] * min(count, 2_000), **keyed),
            ),
        )
    many = [f"rain{n}" for n in range(200)]
    yield Case(
        "lorebooks/conditions",
        turn(
            "Rain? " + " ".join(many),
            story=lore(
                ["Rain."] * min(300, count),
                keys=["rain", *many],
                conditions=[{"keys": many, "logic": "and_all"}] * 5,
            ),
        ),
    )
    yield Case(
        "lorebooks/many keys",
        turn("Rain?", story=lore(["Rain."] * 2, keys=[_word(n) for n in range(size.total // 20)])),
    )
    yield Case(
        "lorebooks/long keys", turn("a" * size.message, story=lore(["x"], keys=["a" * size.total]))
    )
    yield Case(
        "lorebooks/many conditions",
        turn(
            "Rain?",
            story=lore(
                ["x"], keys=["rain"], conditions=[{"keys": ["sun"]}] * max(1, size.total // 40)
            ),
        ),
    )


_BOOKS: dict[str, Job] = {
    "sticky": {"sticky": 1_000},
    "sticky for good": {"sticky": -1},
    "cooldown": {"cooldown": 1_000},
    "sticky and cooldown": {"sticky": 3, "cooldown": 2, "delay": 1},
    "chance": {"probability": 50},
    "groups": {"groups": ["g"]},
    "many groups": {"groups": [f"g{n}" for n in range(200)], "group_scoring": True},
    "scored groups": {"groups": ["g", "h"], "group_scoring": True},
    "at depths": {"position": "at_depth", "depth": 10_000},
    "from the start": {"position": "from_start", "depth": 500},
    "outlets": {"position": "outlet", "outlet": "x"},
    "parts of words": {"whole_words": False, "case_sensitive": True},
    "fields of the card": {"scan_also": ["character_description", "scenario"] * 100},
    "huge numbers": {"scan_depth": 10**18, "depth": 10**18, "order": 10**18, "sticky": 10**18},
    "before zero": {"scan_depth": -5, "depth": -5, "recursion_level": -1, "group_weight": -7},
    "characters": {"characters": ["Mara"] * 500, "triggers": ["normal"] * 500},
}


def stories(size: Size) -> Iterator[Case]:
    """Stories as long as they may be, and events with long lists."""
    texts = [f"The {_word(row)} of the {_word(7 * row)} is lost." for row in range(size.events)]
    half = len(texts) // 2
    yield Case("stories/long", turn(story=told(texts)))
    yield Case("stories/long, half of it happened", turn(story=told(texts), story_position=half))
    yield Case(
        "stories/triggers",
        turn(story=told(texts, trigger="the king is found"), story_position=half),
    )
    yield Case("stories/one trigger at the end", turn(
        story=[*told(texts[:-1]), {"id": "z", "order": 10**9, "text": "x", "trigger": "rain"}],
        story_position=0,
    ))  # fmt: skip
    yield Case("stories/all constant", turn(story=told(texts, constant=True)))
    yield Case("stories/all secret", turn(story=told(texts, visibility="secret")))
    yield Case("stories/all at one time", turn(story=told(texts, time="now", location="here")))
    same = [{**event, "order": 5} for event in told(texts)]
    yield Case("stories/one order", turn(story=same, story_position=5))
    names = [f"Person {_word(n)}" for n in range(50)]
    yield Case(
        "stories/many witnesses",
        turn(
            story=told(texts[: max(1, size.total // 1_000)], characters=names),
            respond_as="character",
        ),
    )
    yield Case(
        "stories/one event with all names",
        turn(
            "Person aaaaa?",
            story=told(texts[:3], known_by=[f"Person {_word(n)}" for n in range(size.total // 20)]),
        ),
    )
    yield Case(
        "stories/all different names",
        turn(
            " ".join(names),
            story=[
                {**event, "characters": [f"Person {_word(row)}"], "visibility": "witnessed"}
                for row, event in enumerate(told(texts))
            ],
        ),
    )
    long = run("The king rode out, and his men with him. ", size.text)
    yield Case("stories/long texts", turn(story=told([long] * max(1, size.total // size.text))))
    for name, character in CLASSES.items():
        short = run(character, 1_000)
        event = {"trigger": short, "title": short, "time": short, "location": short}
        yield Case(
            f"stories/triggers of {name}",
            turn(run(character, size.message), story=told([short] * 40, **event), story_position=8),
        )
    yield Case(
        "stories/directive",
        turn("/narrator " + run("the king is found. ", size.message - 12), story=told(texts)),
    )


def words(size: Size) -> Iterator[Case]:
    """Words by chance, most of which are found once, in scripts that are cut in different ways."""
    for name, (letters, length) in WORDS.items():
        chance = Random(name)
        count = 7 * size.total // (5 * sum(len(sign.encode()) for sign in letters) // len(letters))
        text = "".join(
            " " if at % (length + 1) == length else sign
            for at, sign in enumerate(chance.choices(letters, k=count))
        )
        for kind, most in (("long", 95_000), ("short", 500)):
            long = min(size.text, most)
            texts = [text[at : at + long] for at in range(0, len(text), long)]
            yield Case(f"words/{name} in {kind} lines", turn(history=said(texts[: size.lines])))
            yield Case(f"words/{name} in {kind} events", turn(story=told(texts[: size.events])))


def _letters(*ranges: tuple[int, int]) -> str:
    return "".join(chr(code) for first, last in ranges for code in range(first, last))


_HANGUL, _HAN, _LATIN = (0xAC00, 0xD7A4), (0x4E00, 0x9FFF), (0x61, 0x7B)
WORDS = {
    "Hangul": (_letters(_HANGUL), 5),
    "short Hangul": (_letters(_HANGUL), 2),
    "endings": ("다고는서어가을를니까지네요습았했" * 3 + _letters((0xAC00, 0xB000)), 3),
    "Latin": (_letters(_LATIN), 6),
    "Cyrillic": (_letters((0x430, 0x450)), 6),
    "Arabic": (_letters((0x620, 0x64B)), 5),
    "Han": (_letters(_HAN), 200),
    "kana": (_letters((0x3041, 0x3097), (0x30A1, 0x30FB)), 20),
    "mixed": (
        _letters((0x41, 0x5B), _LATIN, (0xAC00, 0xB3D0), (0x300, 0x370), (0x1D400, 0x1D500), _HAN),
        300,
    ),
}
"""Letters, and how many a word has."""


def histories(size: Size) -> Iterator[Case]:
    """Chats as long as they may be, and chats of many names."""
    lines = size.lines
    short = [f"Line {_word(row)} of a chat." for row in range(lines)]
    yield Case("histories/long", turn(history=said(short)))
    yield Case("histories/one text", turn(history=said(["Yes."] * lines)))
    yield Case("histories/empty texts", turn(history=said([""] * lines)))
    yield Case("histories/one word each", turn(history=said([_word(n) for n in range(lines)])))
    for role in ("user", "character", "narrator", "system"):
        named = [
            {"role": role, "content": "Yes.", "name": f"N {_word(row)} {_word(row)}"}
            for row in range(lines)
        ]
        yield Case(f"histories/{lines} names of {role}", turn("N aaaaa?", history=named))
        hundred = [{**line, "name": f"{line['name']:가<100}"} for line in named][
            : size.total // 400
        ]
        yield Case(f"histories/{lines} long names of {role}", turn("N aaaaa?", history=hundred))
        yield Case(
            f"histories/{lines} names of {role}, prompt of names",
            turn("N aaaaa?", history=hundred, respond_as="narrator"),
            format="pygmalion",
        )
    timed = said(short)
    for row, line in enumerate(timed):
        line["timestamp"] = f"20{10 + row % 80:02}-01-01T00:00:00Z"
    yield Case("histories/each line another scene", turn(history=timed))
    texts = max(1, size.total // size.text)
    prose = run("The king rode out, and his men with him. ", size.text)
    yield Case("histories/long texts", turn(history=said([prose] * texts)))
    yield Case(
        "histories/many words",
        turn(
            history=said(
                " ".join(_word(n + row) for n in range(size.text // 6)) for row in range(texts)
            )
        ),
    )
    yield Case("histories/many lines in each", turn(history=said([run("a\n", size.text)] * texts)))
    yield Case(
        "histories/memory of a chat",
        turn(history=said(short[:500]), user_id="u", session_id="s" * 200),
    )
    yield Case(
        "histories/much recalled",
        turn(
            "The king?",
            history=said([run(f"The king {_word(n)}. ", size.each(60)) for n in range(60)]),
            chat_rag_config={"top_k": 50, "neighbours": 3, "score_threshold": 0},
        ),
    )


def messages(size: Size) -> Iterator[Case]:
    """Messages of many words, sentences or commands."""
    for name, unit in MESSAGES.items():
        yield Case(f"messages/{name}", turn(run(unit, size.message), history=said(["Yes."] * 4)))
    words = " ".join(_word(7 * n) for n in range(size.message // 6))
    yield Case("messages/different words", turn(words, history=said([words] * 6)))
    yield Case("messages/one word", turn("a" * size.message))
    yield Case("messages/accents in one word", turn("é'" * (size.message // 2)))
    yield Case(
        "messages/names",
        turn(" ".join(_word(n).title() for n in range(size.message // 6)), history=said(["Yes."])),
    )


MESSAGES = {
    "sentences": "He ran. ",
    "questions": "Really? ",
    "korean questions": "정말? ",
    "korean words": "숲에서는 ",
    "apostrophes": "a'a'",
    "items": "- x\n",
    "quotations": '"No," he said. ',
    "actions": "*nods* ",
    "out of character": "((ooc: x)) ",
    "commands": "/narrator x\n",
    "tags": "Mara: x\n",
    "tokens": "<|im_end|>",
    "half tokens": "<|im_",
    "headings": "### Instruction:\n",
    "half headings": "###  ",
    "addresses": "http://a.b/c?d=e&",
    "numbers": "1.000,5 ",
    "capitals": "Mara Bart Lee ",
    "whether": "what if you would ",
    "then": "and then she ",
}


def casts(size: Size) -> Iterator[Case]:
    """Names and aliases, stop strings, and replies that are made of them."""
    aliases = {
        "one prefix": ["a" * (50 + n) for n in range(50)],
        "many words": [" ".join(_word(n + k) for k in range(16)) for n in range(50)],
        "marks": [("(*[.]?+|" * 12)[:90] + _word(n) for n in range(50)],
        "accents": ["a" + "\u0301\u0316" * 45 + _word(n) for n in range(50)],
        "one word": ["a " * 45 + str(n) for n in range(50)],
        "dots": ["." * 90 + str(n) for n in range(50)],
        "korean": ["김" + "민" * (n + 1) for n in range(50)],
    }
    for name, names in aliases.items():
        persona = {"aliases": names}
        for what, unit in {
            "as tags": f"{names[-1]}: x\n",
            "cut short": f"{names[-1][:-1]}\n",
            "in a line": f"x. **{names[-1]}** ",
            "half": names[-1][:45],
        }.items():
            text = run(unit, size.message)
            history = said([text, "Yes."] * 3, name=names[0])
            yield Case(
                f"casts/{name} {what}",
                turn(text, persona=persona, history=history, stream=True),
                reply=text,
            )
    stops = {
        "letters": ["a" * (85 + n) for n in range(16)],
        "newlines": ["\n" * (85 + n) for n in range(16)],
        "tags": [f"{_word(n)}:" * 16 for n in range(16)],
        "spaces": ["x" + " " * (80 + n) + "y" for n in range(16)],
    }
    for name, given in stops.items():
        for what, text in {
            "nearly": run(given[0][:-1] + "z", size.message),
            "never": run(given[0][:1], size.message),
        }.items():
            yield Case(
                f"casts/stop strings of {name}, {what}",
                turn(gen={"stop": given, "max_new_tokens": 4_096}, stream=True),
                reply=text,
            )
    for form in ("pygmalion", "alpaca", "vicuna", "metharme", "mistral-v7", "exaone", "chat"):
        text = run("Mara : ＃＃ User　: <| [INST ", size.message)
        yield Case(
            f"casts/format {form}",
            turn(text, history=said([run(text, size.each(4))]), persona={"description": text}),
            format=form,
        )
        for name in ("space", "newline", "hash", "colon", "angle", "letter", "wide space"):
            text = run(CLASSES[name], size.message)
            long = [run(CLASSES[name], size.each(2))]
            yield Case(f"casts/format {form}, {name}", turn(text, history=said(long)), format=form)


def examples(size: Size) -> Iterator[Case]:
    """Example dialogue of many blocks and lines."""
    length = size.each(1)
    for name, unit in {
        "blocks": "<START>\n{{char}}: Hi.\n{{user}}: Yo.\n",
        "starts": "<START>",
        "starts on lines": "<START>\n",
        "lines": "{{char}}: Hi.\n",
        "others": "Somebody: Hi.\n",
        "colons": "x:\n",
        "no names": "Hi.\n",
        "half starts": "<STAR\n",
        "blanks": "\n  \n\t",
    }.items():
        text = run(unit, length)
        yield Case(f"examples/{name}", turn(persona={"example_dialogue": text}))
        yield Case(
            f"examples/{name}, prompt of names",
            turn(persona={"example_dialogue": text}),
            format="pygmalion",
        )
        yield Case(f"examples/{name} as a greeting", turn(persona={"first_message": text}))


def completions(size: Size) -> Iterator[Case]:
    """OpenAI's route: with a character of the folder, with a persona, in parts."""

    long = "x" * size.total

    def asked(said: list[Job], **fields: Any) -> Job:
        body = {"model": "Sera", "messages": said, **fields}
        return {"openai_route": "/v1/chat/completions", "openai_input": body}

    user: Job = {"role": "user", "content": "What now?"}
    many = [{"role": ("user", "assistant")[n % 2], "content": _word(n)} for n in range(size.lines)]
    yield Case("completions/long", asked([*many, user]))
    yield Case(
        "completions/names",
        asked([*({**line, "name": f"N {line['content']}"} for line in many), user]),
    )
    parts = [{"type": "text", "text": "x"}] * (size.total // 40)
    yield Case("completions/parts", asked([{"role": "user", "content": parts}]))
    nothing = [{"type": "text", "text": ""}] * (size.total // 40)
    yield Case("completions/empty parts", asked([{**user, "content": nothing + parts[:5]}]))
    system = {"role": "system", "content": run("Be kind. ", size.text)}
    yield Case("completions/systems", asked([system] * max(1, size.total // size.text) + [user]))
    yield Case("completions/long model", asked([user], model=long))
    yield Case("completions/long field", asked([user], **{long: 1}))
    fields = {_word(n): n for n in range(size.total // 20)}
    yield Case("completions/many fields", asked([user], **fields))
    yield Case("completions/many stops", asked([user], stop=["x"] * (size.total // 4)))
    yield Case("completions/deep field", asked([user], metadata=_deep(5_000), meta=_deep(900)))
    yield Case("completions/wrong lines", asked([{"role": "x", "content": 5}] * size.lines))
    for name in ("newline", "dot", "space", "opening"):
        text = run(CLASSES[name], size.message)
        yield Case(f"completions/runs of {name}", asked([{"role": "user", "content": text}]))
        yield Case(f"completions/stream of {name}", asked([user], stream=True), reply=text)
    mara = {"name": "Mara", "description": "{{scenario}}" * 400, "scenario": "{{noop}}" * 400}
    yield Case("completions/persona", asked([user], model="iyagi", persona=mara))


def replies(size: Size) -> Iterator[Case]:
    """What the model writes: shapes that a reader of growing text may read again and again."""
    persona = {"aliases": ["Mar", "Mara Lee", "M. Lee"]}
    history = [
        {"role": "character", "content": "Yes.", "name": f"Guest {_word(n)}"} for n in range(60)
    ]
    for name, unit in REPLIES.items():
        yield Case(
            f"replies/{name}",
            turn(persona=persona, history=history, user_name="Bart", stream=True),
            reply=run(unit, size.message).removeprefix("x"),
        )
        yield Case(
            f"replies/narrator, {name}",
            turn(persona=persona, history=history, respond_as="narrator"),
            reply=run(unit, size.message).removeprefix("x"),
        )
    yield Case("replies/long", turn(), reply="He ran. " * (size.total // 8))
    streamed = size.message // 8  # 5,000 tokens: more than a reply may have
    yield Case("replies/long, streamed", turn(stream=True), reply="He ran. " * streamed)
    yield Case("replies/many pieces", turn(stream=True), reply='"A" *b* ' * streamed)


REPLIES = {
    "own tags": "Mara: ",
    "own tags on lines": "Mara: x\n",
    "other tags": "Guest aaaaa: ",
    "tags of the user": "Bart: ",
    "tags that do not end": "Mara",
    "tags without colons": "Mara\n",
    "bold tags": "**Mara** ",
    "half tags": "[Mara ",
    "remarks": "Mara (softly) ",
    "remarks in remarks": "Mara (*(*(",
    "half tokens": "<|im_",
    "half brackets": "<|",
    "tokens": "<|x",
    "double angles": "<<SY",
    "headings": "\n###",
    "headings with spaces": "\n ## ",
    "thoughts": "<think>x",
    "thoughts that end": "<think>x</think>",
    "openings": "<|model|> <s> ",
    "quotations": '"',
    "quotations with words": '"Yes," she said. ',
    "open quotations": "“word ",
    "apostrophes": "it's 'x ",
    "feet": "6'2\" ",
    "stars": "*",
    "stars with words": "*a *b ",
    "stars and spaces": "* ",
    "double stars": "**a* ",
    "underscores": "_a _b ",
    "parentheses": "(a ",
    "parentheses nested": "(a (b) ",
    "corner brackets": "「a『b",
    "thought labels": "(생각: ",
    "dots": ". ",
    "abbreviations": "Dr. ",
    "letters with dots": "A. ",
    "ends": '!" ',
    "soft ends": "~♡ ",
    "blank lines": "\n\n\n",
    "blank lines with spaces": " \n \n\t",
    "rules": "---\n",
    "rules of stars": "* * *\n",
    "items": "- a\n",
    "colons": "a: ",
    "times": "12:30 ",
    "smileys": ":) ",
    "carriage returns": "\r\n",
    "korean": "그래요 ",
    "korean sentences": "고개를 끄덕인다. ",
    "html": "<b>x</b> ",
    "half html": "</",
    "nothing": " ",
    "zero width": "\u200b",
}


def imports(size: Size) -> Iterator[Case]:
    """Files that a user brings: chats, books and cards."""
    length = 10 * size.total
    texts = {
        "newlines": "\n" * length,
        "short lines": "A: b\n" * (length // 5),
        "colons": "a:" * (length // 2),
        "spaces": " " * length + "x",
        "names": "\n".join(f"{_word(n)}: x" for n in range(length // 10)),
    }
    for name, text in texts.items():
        yield Case(f"imports/text of {name}", {}, file=text.encode(), file_name="chat.txt")
    line = json.dumps({"name": "Mara", "mes": "Yes.", "is_user": False}).encode() + b"\n"
    files = {
        "log": line * (length // 60),
        "log of nothing": b"{}\n" * (length // 3),
        "list": b"[" + b"{}," * (length // 3) + b"{}]",
        "deep": b"[" * length,
        "deep, closed": b"[" * 50_000 + b"]" * 50_000,
        "number": b"[" + b"1" * length + b"]",
    }
    for name, content in files.items():
        suffix = "jsonl" if name.startswith("log") else "json"
        yield Case(f"imports/{name}", {}, file=content, file_name=f"chat.{suffix}")
    entry: Job = {"uid": 0, "key": ["a"], "content": "x"}
    books: dict[str, list[Job]] = {
        "book": [{**entry, "uid": n} for n in range(length // 60)],
        "decorators": [{**entry, "content": "@@depth 4\n" * (length // 20)}],
        "keys": [{**entry, "key": ["a"] * (length // 8)}],
        "keys with commas": [{**entry, "key": "a," * (length // 4)}],
    }
    for name, entries in books.items():
        book = {"entries": {str(row): entry for row, entry in enumerate(entries)}}
        yield Case(f"imports/{name}", {}, file=json.dumps(book).encode())
    body: Job = {"name": "Mara", "description": "x", "first_mes": "Hi."}
    words = [_word(n) for n in range(length // 20)]
    cards: dict[str, Job] = {
        "numbers": {"extensions": {"x": [0] * (length // 8)}},
        "words": {"tags": words, "alternate_greetings": words},
    }
    for name, more in cards.items():
        wrapped: Job = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**body, **more}}
        yield Case(f"imports/card of {name}", {}, file=json.dumps(wrapped).encode())
    chunk = b"\0\0\0\0tEXt" + b"\0" * 4
    yield Case(
        "imports/image",
        {},
        file=b"\x89PNG\r\n\x1a\n" + chunk * (length // 12),
        file_name="card.png",
    )


KINDS: dict[str, Callable[[Size], Iterator[Case]]] = {
    make.__name__: make
    for make in (
        *(macros, regexes, keywords, lorebooks, stories, words, histories, messages, casts),
        *(examples, completions, replies, data, refusals, marks, brackets, runs, pairs, imports),
    )
}


def cases(size: Size, kinds: Iterable[str] = KINDS) -> Iterator[Case]:
    """All cases of these kinds, made one after the other."""
    for kind in kinds:
        yield from KINDS[kind](size)
