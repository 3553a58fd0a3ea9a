"""When a message of a chat log was sent, in the ways that logs have written it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_ELEMENTS = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})[ @T]*"
    r"(?P<hour>\d{1,2})h ?(?P<minute>\d{1,2})m ?(?P<second>\d{1,2})s(?: ?(?P<ms>\d{1,3})ms)?"
)
_WORDED = ("%B %d, %Y %I:%M%p", "%B %d, %Y %I:%M %p", "%B %d, %Y")


def sent_at(sent: object) -> datetime | None:
    """The time of a message; logs seldom name a zone, so it is taken for UTC."""
    try:
        if isinstance(sent, int | float) and not isinstance(sent, bool):
            return datetime.fromtimestamp(sent / 1000 if sent > 10**11 else sent, UTC)
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
    when = datetime.fromisoformat(sent)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
