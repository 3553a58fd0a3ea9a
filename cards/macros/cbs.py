"""Functions of RisuAI's macros (CBS), from texts to a text: truth is `1`, else `0`.

`{{equal::a::b}}` is `call("equal", ["a", "b"])`. They mean what RisuAI's documentation says.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from cards.macros.known import FUNCTIONS

MAX_EXPRESSION = 1_000
"""Characters of what is calculated."""

MAX_DIGITS = 50
"""Characters of a number."""

MAX_ITEMS = 1_000
"""Of an array that a macro makes."""

MAX_MADE = 200_000
"""Characters of a text that a function makes."""

_TRUE = ("1", "true")
_FALSY = ("", "0", "false", "off", "no", "null")


def is_true(text: str) -> bool:
    """Whether a condition of RisuAI holds."""
    return text.strip().lower() in _TRUE


def is_truthy(text: str) -> bool:
    """Whether a condition of SillyTavern holds: a text that says neither no nor nothing."""
    return text.strip().lower() not in _FALSY


def number(text: str) -> float | None:
    """A text as a number; None where it is none."""
    try:
        value = float(text.strip()) if len(text) <= MAX_DIGITS and "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def written(value: float) -> str:
    """A number as JavaScript writes it: without a fraction where there is none."""
    return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)


def call(name: str, arguments: Sequence[str]) -> str | None:
    """The value of a function, by its plain name; None where there is none for these arguments."""
    known = _FUNCTIONS.get(name)
    if known is None:
        return None
    try:
        return known(*arguments)
    except (TypeError, ValueError, ArithmeticError, LookupError):
        return None


def is_function(name: str) -> bool:
    """Whether a function has this plain name, be it evaluated or not."""
    return name in _FUNCTIONS or name in FUNCTIONS


def array(text: str) -> list[str] | None:
    """The items of an array, as JSON or with `§` between them; None where it is none."""
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            items = json.loads(stripped[:100_000])
        except (ValueError, RecursionError):
            inner = stripped[1:-1] if stripped.endswith("]") else ""
            return [item.strip() for item in inner.split(",", MAX_ITEMS)] if inner else None
        return [_plain(item) for item in items[:MAX_ITEMS]]
    return stripped.split("§")[:MAX_ITEMS] if "§" in stripped else None


def _plain(item: object) -> str:
    """An item as text, in which `\\ud800` left no half of a character, which nothing can write."""
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def calculate(expression: str, variables: Callable[[str], str]) -> str | None:
    """The value of an arithmetic expression; None where it is none.

    Args:
        variables: the value of `$name`.
    """
    if len(expression) > MAX_EXPRESSION:
        return None
    try:
        value = _value(_postfix(expression, variables))
    except (ArithmeticError, ValueError, LookupError):
        return None
    return written(value) if isinstance(value, int | float) and math.isfinite(value) else None


_LEXEME = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)|\$(?P<name>\w+)"
    r"|(?P<operator>&&|\|\||[<>=!]=?=?|[-+*/%^()&|≤≥≠]))\s*"
)
_LEVELS = (
    ("||", "|"),
    ("&&", "&"),
    ("==", "===", "=", "!=", "!==", "≠"),
    ("<", ">", "<=", ">=", "≤", "≥"),
    ("+", "-"),
    ("*", "/", "%"),
    ("negative", "!"),
    ("^",),
)
_RANK = {sign: rank for rank, level in enumerate(_LEVELS) for sign in level}
_UNARY = {"-": "negative", "!": "!", "+": ""}


def _postfix(expression: str, variables: Callable[[str], str]) -> list[float | str]:
    """The operands and operators in the order of their use.

    Raises:
        ValueError: it is no expression.
    """
    out: list[float | str] = []
    signs: list[str] = []
    at, operand = 0, True  # whether an operand is to come
    while at < len(expression):
        token = _LEXEME.match(expression, at)
        if token is None or (token["operator"] is None and not operand):
            raise ValueError
        at, sign = token.end(), token["operator"]
        if sign is None:
            out.append(_operand(token, variables))
            operand = False
        elif operand:
            if sign != "(" and sign not in _UNARY:
                raise ValueError
            signs.extend(filter(None, [_UNARY.get(sign, sign)]))
        elif sign == ")":
            while (last := signs.pop()) != "(":
                out.append(last)
        else:
            _yield_to(sign, signs, out)
            operand = True
    if operand or "(" in signs:
        raise ValueError
    return out + signs[::-1]


def _operand(token: re.Match[str], variables: Callable[[str], str]) -> float:
    value = number(token["number"] or variables(token["name"]) or "0")
    if value is None:
        raise ValueError
    return value


def _yield_to(sign: str, signs: list[str], out: list[float | str]) -> None:
    """Moves the operators that come before a sign out of its way, and puts it there."""
    rank = _RANK[sign] + (sign == "^")  # which binds to the right
    while signs and signs[-1] != "(" and _RANK[signs[-1]] >= rank:
        out.append(signs.pop())
    signs.append(sign)


def _power(base: float, exponent: float) -> float:
    value = base**exponent
    if isinstance(value, complex):
        raise ValueError
    return float(value)


_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "^": _power,
    **dict.fromkeys(("==", "===", "="), operator.eq),
    **dict.fromkeys(("!=", "!==", "≠"), operator.ne),
    **{"<": operator.lt, ">": operator.gt},
    **dict.fromkeys(("<=", "≤"), operator.le),
    **dict.fromkeys((">=", "≥"), operator.ge),
    **dict.fromkeys(("&&", "&"), lambda a, b: float(bool(a and b))),
    **dict.fromkeys(("||", "|"), lambda a, b: float(bool(a or b))),
}


def _value(postfix: Sequence[float | str]) -> float:
    stack: list[float] = []
    for item in postfix:
        if not isinstance(item, str):
            stack.append(item)
        elif item == "negative":
            stack.append(-stack.pop())
        elif item == "!":
            stack.append(float(not stack.pop()))
        else:
            second, first = stack.pop(), stack.pop()
            stack.append(float(_BINARY[item](first, second)))
    return stack[-1]


# Conditions


def holds(
    arguments: Sequence[str], value: Callable[[str], str], toggle: Callable[[str], str]
) -> bool | None:
    """Whether the condition of `{{#when::...}}` holds, read from its end; None where it says an
    operator that is not known.

    Args:
        value: of a variable; `toggle` of a switch of the user's, of which a server has none.
    """
    stack = [text.strip() for text in arguments]
    while len(stack) > 1:
        last, sign = stack.pop(), stack.pop().lower()
        if sign in ("keep", "legacy"):
            stack.append(last)
        elif sign == "not":
            stack.append(_truth(not is_true(last)))
        elif sign == "var":
            stack.append(_truth(is_truthy(value(last))))
        elif sign == "toggle":
            stack.append(_truth(is_true(toggle(last))))
        elif stack and sign in _JOINED:
            stack.append(_truth(_JOINED[sign](stack.pop(), last)))
        elif stack and sign in ("vis", "tis", "visnot", "tisnot"):
            held = (value if sign.startswith("v") else toggle)(stack.pop())
            stack.append(_truth((held == last) is not sign.endswith("not")))
        else:
            return None
    return is_true(stack[0]) if stack else None


def _truth(value: object) -> str:
    return "1" if value else "0"


def _compare(compare: Callable[[float, float], bool], a: str, b: str) -> bool:
    first, second = number(a), number(b)
    return first is not None and second is not None and compare(first, second)


_JOINED: Mapping[str, Callable[[str, str], bool]] = {
    "is": operator.eq,
    "isnot": operator.ne,
    "and": lambda a, b: is_true(a) and is_true(b),
    "or": lambda a, b: is_true(a) or is_true(b),
    ">": partial(_compare, operator.gt),
    "<": partial(_compare, operator.lt),
    ">=": partial(_compare, operator.ge),
    "<=": partial(_compare, operator.le),
}

OPERATORS = frozenset((*_JOINED, "vis", "visnot", "tis", "tisnot"))
"""Of `{{#when}}`, with a value on each side."""


# Functions


def _numbers(texts: Sequence[str]) -> list[float]:
    listed = array(texts[0]) if len(texts) == 1 else None
    return [number(text) or 0.0 for text in (listed or texts)]


def _round(value: float) -> float:
    return math.floor(value + 0.5)


def _of_number(function: Callable[[float], float]) -> Callable[[str], str]:
    def of(text: str) -> str:
        value = number(text)
        if value is None:
            raise ValueError
        return written(function(value))

    return of


def _of_numbers(function: Callable[[list[float]], float]) -> Callable[..., str]:
    return lambda *texts: written(function(_numbers(texts)))


def _pow(base: str, exponent: str) -> str:
    value = _power(number(base) or 0.0, number(exponent) or 0.0)
    if not math.isfinite(value):
        raise ValueError
    return written(value)


def _element(items: str, row: str) -> str:
    listed = array(items)
    index = _whole(row)
    return listed[index] if listed and -len(listed) <= index < len(listed) else ""


def _whole(text: str) -> int:
    """A whole number; of one with thousands of digits the writing alone would take long."""
    if len(text) > MAX_DIGITS:
        raise ValueError
    return int(text)


def _range(*texts: str) -> str:
    values = range(*map(_whole, array(texts[0]) or texts))
    if len(values) > MAX_ITEMS:
        raise ValueError
    return _made(*map(str, values))


def _made(*items: str) -> str:
    return json.dumps(list(items[:MAX_ITEMS]), ensure_ascii=False)


def _items(text: str) -> list[str]:
    return array(text) or [text]


def _bounded(characters: int) -> None:
    """Raises ValueError where a text would have more than `MAX_MADE` characters."""
    if characters > MAX_MADE:
        raise ValueError


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        return text
    _bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _join(text: str, by: str) -> str:
    items = _items(text)
    _bounded(len(text) + len(items) * len(by))
    return by.join(items)


def _fixed(text: str, digits: str) -> str:
    return f"{float(text):.{min(20, max(0, int(digits)))}f}"


_FUNCTIONS: dict[str, Callable[..., str]] = {
    "equal": lambda a, b: _truth(a.strip() == b.strip()),
    "notequal": lambda a, b: _truth(a.strip() != b.strip()),
    **{
        name: partial(lambda sign, a, b: _truth(_JOINED[sign](a, b)), sign)
        for name, sign in {
            **{"greater": ">", "less": "<", "greaterequal": ">=", "lessequal": "<="},
            **{"and": "and", "or": "or"},
        }.items()
    },
    "not": lambda a: _truth(not is_true(a)),
    "all": lambda *texts: _truth(all(map(is_true, array(texts[0]) or texts))),
    "any": lambda *texts: _truth(any(map(is_true, array(texts[0]) or texts))),
    "startswith": lambda text, part: _truth(text.startswith(part)),
    "endswith": lambda text, part: _truth(text.endswith(part)),
    "contains": lambda text, part: _truth(part in text),
    "replace": _replace,
    "lower": str.lower,
    "upper": str.upper,
    "capitalize": lambda text: text[:1].upper() + text[1:],
    "trim": str.strip,
    "length": lambda text: str(len(text)),
    "tonumber": lambda text: "".join(sign for sign in text if sign in "0123456789."),
    "round": _of_number(_round),
    "floor": _of_number(math.floor),
    "ceil": _of_number(math.ceil),
    "abs": _of_number(abs),
    "remaind": lambda a, b: written(math.fmod(float(a), float(b))),
    "pow": _pow,
    **dict.fromkeys(("fixnum", "fixnumber"), _fixed),
    "min": _of_numbers(min),
    "max": _of_numbers(max),
    "sum": _of_numbers(sum),
    "average": _of_numbers(lambda values: sum(values) / len(values)),
    "split": lambda text, by: _made(*(text.split(by, MAX_ITEMS) if by else text)),
    "join": _join,
    **dict.fromkeys(("makearray", "array", "a"), _made),
    "arraylength": lambda items: str(len(array(items) or [])),
    "arrayelement": _element,
    "range": _range,
}
