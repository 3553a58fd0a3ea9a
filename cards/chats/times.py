"""When a message was sent, as programs write it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_ELEMENTS = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})[ @T]*"
    r"(?P<hour>\d{1,2})h ?(?P<minute>\d{1,2})m ?(?P<second>\d{1,2})s(?: ?(?P<ms>\d{1,3})ms)?"
)
_SCRIPTED = re.compile(r"(\w{3} \w{3} \d{2} \d{4} [\d:]{8} GMT[+-]\d{4})(?: \([^()]{0,60}\))?")
"""As JavaScript writes a date out."""

_WORDED = (
    *("%B %d, %Y %I:%M%p", "%B %d, %Y %I:%M %p", "%B %d, %Y", "%b %d, %Y %H:%M"),
    *("%a, %d %b %Y %H:%M:%S GMT", "%b %d, %Y %I:%M %p", "%B %d, %Y at %I:%M %p"),
    *("%Y-%m-%d %H:%M:%S UTC", "%m/%d/%Y, %I:%M:%S %p", "%m/%d/%Y %H:%M:%S"),
)
_MILLISECONDS, _MICROSECONDS = 10**11, 10**14
"""From here on a number counts these: in seconds it would be the year 5138."""


def sent_at(sent: object) -> datetime | None:
    """The time of a message; logs seldom name a zone, so it is taken for UTC."""
    try:
        if isinstance(sent, int | float) and not isinstance(sent, bool):
            unit = 1e6 if sent > _MICROSECONDS else 1e3 if sent > _MILLISECONDS else 1
            return datetime.fromtimestamp(sent / unit, UTC)
        if isinstance(sent, datetime):
            return sent if sent.tzinfo else sent.replace(tzinfo=UTC)
        if not isinstance(sent, str):
            return None
        if parts := _ELEMENTS.fullmatch(sent.strip()):
            numbers = {key: int(value or 0) for key, value in parts.groupdict().items()}
            ms = numbers.pop("ms")
            return datetime(**numbers, microsecond=1000 * ms, tzinfo=UTC)
        return _worded(sent.strip())
    except (ValueError, OverflowError, OSError):
        return None


def _worded(sent: str) -> datetime | None:
    if sent.isdigit():
        return sent_at(int(sent))
    for form in _WORDED:
        try:
            return datetime.strptime(sent, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    if scripted := _SCRIPTED.fullmatch(sent):
        return datetime.strptime(scripted[1], "%a %b %d %Y %H:%M:%S GMT%z")
    when = datetime.fromisoformat(sent)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
