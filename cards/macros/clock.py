"""What time it is in a chat.

A request says it, not this machine's clock: then a repeat of the request, a regenerate or a retry
on another worker gives the same prompt. It is the time of the new message (`timestamp`), else that
of the newest line that has one, in the zone in which it is written. Where neither is told, nobody
knows when the scene is: the macros say nothing and are named. The machine's clock, rounded or not,
would be another in every repeat, and is not the user's; whoever wants "now" sends it. What changes
in a card's text costs a model server's cache from there on: `{{time}}` each turn, `{{date}}` once a
day.

Formats are those of Moment.js, in its English and Korean words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_KOREAN_DAYS = "월화수목금토일"

_TOKENS = re.compile(
    r"\[([^\[\]]*+)\]|YYYY|YY|MMMM|MMM|MM|Mo|M|DDDD|DDD|DD|Do|D|dddd|ddd|dd|d|HH|H|hh|h|kk|k|mm|m|ss|s"
    r"|SSS|A|a|ZZ|Z|X|x|E|Q|LTS|LT|LLLL|LLL|LL|L|."
)
MAX_FORMAT = 200
"""Characters of a format."""

_OFFSET = re.compile(r"timeutc([+-])?(\d{1,2})(?::?(\d{2}))?")

_CLOCK = "time date weekday isotime isodate datetimeformat unixtime timediff idleduration"
CLOCK = frozenset(_CLOCK.split())
"""Macros that tell the time, by their plain names."""


def is_clock(plain: str, name: str) -> bool:
    """Whether a macro tells the time, by its plain name and its name."""
    return plain in CLOCK or _offset(name) is not None


def tell(plain: str, name: str, arguments: list[str], now: datetime, *, korean: bool) -> str | None:
    """What a macro tells that only needs the time of the message; None where it is none."""
    asked = "::".join(arguments).strip()
    offset = _offset(name) or (_offset(f"time{asked.lower()}") if plain == "time" else None)
    if offset is not None:
        there = _in_zone(now, offset)
        return formatted("LT", there, korean=korean) if there else None
    if plain == "timediff":
        return _difference(arguments, korean=korean)
    if plain == "unixtime":
        return str(int(aware(now).timestamp()))
    if plain != "datetimeformat" and len(arguments) == 2:  # of RisuAI: a format and a time
        told = _moment(arguments[1])
        return formatted(arguments[0].strip(), told, korean=korean) if told else None
    form = asked.strip("\"' ") or _FORMS.get(plain)
    return formatted(form, now, korean=korean) if form else None


_FORMS = {
    "time": "LT",
    "date": "LL",
    "weekday": "dddd",
    "isotime": "HH:mm",
    "isodate": "YYYY-MM-DD",
}


def _difference(arguments: list[str], *, korean: bool) -> str | None:
    """How far the first of two times lies from the second."""
    times = [aware(time) for text in arguments if (time := _moment(text))]
    if len(times) != 2 or len(arguments) != 2:
        return None
    return humanized(times[0] - times[1], korean=korean, suffix=True)


def idle(before: datetime, now: datetime, *, korean: bool) -> str:
    """How long the user was away, in words."""
    return humanized(aware(now) - aware(before), korean=korean)


def just_now(*, korean: bool) -> str:
    """The same where the user has not spoken before."""
    return "방금" if korean else "just now"


def aware(time: datetime) -> datetime:
    """A time with its zone; without one it is UTC."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _in_zone(time: datetime, zone: timezone) -> datetime | None:
    """A time in another zone; None where that is before the year 1 or behind the year 9999."""
    try:
        return aware(time).astimezone(zone)
    except OverflowError:
        return None


def _offset(name: str) -> timezone | None:
    """The zone that `time_utc+9` names."""
    found = _OFFSET.fullmatch(name.replace("_", ""))
    if found is None or int(found[2]) > 14:
        return None
    minutes = 60 * int(found[2]) + int(found[3] or 0)
    return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))


def _moment(text: str) -> datetime | None:
    """A time that is written as ISO 8601, as Unix time in milliseconds, or as `{{time}}` and
    `{{date}}` write it."""
    plain = text.strip()[:50]
    if plain.isascii() and plain.isdigit() and 9 <= len(plain) <= 14:
        return datetime.fromtimestamp(int(plain) / 1000, UTC)
    try:
        return datetime.fromisoformat(plain)
    except ValueError:
        pass
    for form in ("%B %d, %Y", "%I:%M %p", "%B %d, %Y %I:%M %p", "%H:%M", "%H:%M:%S"):
        try:
            return datetime.strptime(plain, form)
        except ValueError:
            continue
    return None


def formatted(form: str, time: datetime, *, korean: bool) -> str:
    """A time in a format of Moment.js, the first `MAX_FORMAT` characters of it."""
    return _TOKENS.sub(lambda token: _token(token, time, korean), form[:MAX_FORMAT])


def _token(token: re.Match[str], time: datetime, korean: bool) -> str:
    word = token[0]
    if token[1] is not None:
        return token[1]
    made = (_KOREAN if korean else {}).get(word) or _EITHER.get(word)
    return made(time) if made else word


def _ordinal(value: int) -> str:
    teen = 10 < value % 100 < 14
    return f"{value}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(value % 10, 'th')}"


def _zone(time: datetime, between: str) -> str:
    seconds = int((time.utcoffset() or timedelta()).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}{between}{minutes:02}"


def _hour(time: datetime) -> int:
    return time.hour % 12 or 12


_EITHER: dict[str, Callable[[datetime], str]] = {
    "YYYY": lambda t: f"{t.year:04}",
    "YY": lambda t: f"{t.year % 100:02}",
    "MMMM": lambda t: _MONTHS[t.month - 1],
    "MMM": lambda t: _MONTHS[t.month - 1][:3],
    "MM": lambda t: f"{t.month:02}",
    "Mo": lambda t: _ordinal(t.month),
    "M": lambda t: str(t.month),
    "DDDD": lambda t: f"{t.timetuple().tm_yday:03}",
    "DDD": lambda t: str(t.timetuple().tm_yday),
    "DD": lambda t: f"{t.day:02}",
    "Do": lambda t: _ordinal(t.day),
    "D": lambda t: str(t.day),
    "dddd": lambda t: _DAYS[t.weekday()],
    "ddd": lambda t: _DAYS[t.weekday()][:3],
    "dd": lambda t: _DAYS[t.weekday()][:2],
    "d": lambda t: str(t.isoweekday() % 7),
    "E": lambda t: str(t.isoweekday()),
    "Q": lambda t: str((t.month + 2) // 3),
    "HH": lambda t: f"{t.hour:02}",
    "H": lambda t: str(t.hour),
    "hh": lambda t: f"{_hour(t):02}",
    "h": lambda t: str(_hour(t)),
    "kk": lambda t: f"{t.hour or 24:02}",
    "k": lambda t: str(t.hour or 24),
    "mm": lambda t: f"{t.minute:02}",
    "m": lambda t: str(t.minute),
    "ss": lambda t: f"{t.second:02}",
    "s": lambda t: str(t.second),
    "SSS": lambda t: f"{t.microsecond // 1000:03}",
    "A": lambda t: "AM" if t.hour < 12 else "PM",
    "a": lambda t: "am" if t.hour < 12 else "pm",
    "Z": lambda t: _zone(t, ":"),
    "ZZ": lambda t: _zone(t, ""),
    "X": lambda t: str(int(aware(t).timestamp())),
    "x": lambda t: str(int(aware(t).timestamp() * 1000)),
    "LTS": lambda t: formatted("h:mm:ss A", t, korean=False),
    "LT": lambda t: formatted("h:mm A", t, korean=False),
    "LLLL": lambda t: formatted("dddd, MMMM D, YYYY h:mm A", t, korean=False),
    "LLL": lambda t: formatted("MMMM D, YYYY h:mm A", t, korean=False),
    "LL": lambda t: formatted("MMMM D, YYYY", t, korean=False),
    "L": lambda t: formatted("MM/DD/YYYY", t, korean=False),
}
_KOREAN: dict[str, Callable[[datetime], str]] = {
    **dict.fromkeys(("MMMM", "MMM"), lambda t: f"{t.month}월"),
    "Do": lambda t: f"{t.day}일",
    "Mo": lambda t: f"{t.month}월",
    "dddd": lambda t: f"{_KOREAN_DAYS[t.weekday()]}요일",
    **dict.fromkeys(("ddd", "dd"), lambda t: _KOREAN_DAYS[t.weekday()]),
    **dict.fromkeys(("A", "a"), lambda t: "오전" if t.hour < 12 else "오후"),
    "LTS": lambda t: formatted("A h:mm:ss", t, korean=True),
    "LT": lambda t: formatted("A h:mm", t, korean=True),
    "LLLL": lambda t: formatted("YYYY년 MMMM D일 dddd A h:mm", t, korean=True),
    "LLL": lambda t: formatted("YYYY년 MMMM D일 A h:mm", t, korean=True),
    "LL": lambda t: formatted("YYYY년 MMMM D일", t, korean=True),
    "L": lambda t: formatted("YYYY.MM.DD.", t, korean=True),
}

_STEPS: tuple[tuple[float, float, str, str, str], ...] = (
    (44.5, 1, "a few seconds", "", "몇 초"),
    (89.5, 60, "a minute", "", "1분"),
    (44.5 * 60, 60, "", "{} minutes", "{}분"),
    (89.5 * 60, 3600, "an hour", "", "한 시간"),
    (21.5 * 3600, 3600, "", "{} hours", "{}시간"),
    (35.5 * 3600, 86400, "a day", "", "하루"),
    (25.5 * 86400, 86400, "", "{} days", "{}일"),
    (45.5 * 86400, 86400, "a month", "", "한 달"),
    (319.5 * 86400, 30.436875 * 86400, "", "{} months", "{}달"),
    (547.5 * 86400, 1, "a year", "", "일 년"),
    (float("inf"), 365.2425 * 86400, "", "{} years", "{}년"),
)
"""Seconds up to which a span is told so, the seconds of its unit, and its words, by the thresholds
of Moment.js."""


def humanized(span: timedelta, *, korean: bool, suffix: bool = False) -> str:
    """A span in words, as Moment.js has them: "a few seconds", "5 minutes", "an hour".

    Args:
        suffix: whether it is told as lying before or behind.
    """
    seconds = abs(span.total_seconds())
    for limit, unit, one, many, ko in _STEPS:
        if seconds < limit:
            count = max(1, int(seconds / unit + 0.5))
            words = (ko if korean else one or many).format(count)
            break
    if not suffix:
        return words
    if span.total_seconds() > 0:
        return f"{words} 후" if korean else f"in {words}"
    return f"{words} 전" if korean else f"{words} ago"
