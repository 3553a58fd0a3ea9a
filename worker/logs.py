"""What may stand in the log: no word of a chat above DEBUG, and never a key.

The text of an exception may quote what a user wrote, so of an exception only its type and its
places in the code are told.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from types import TracebackType

_TALKATIVE = ("httpx", "httpx2", "httpcore", "openai", "chromadb", "urllib3")


class Discreet(logging.Formatter):
    """Tells where an exception came from and not what it says; blackens secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._secrets = [secret for secret in secrets if len(secret) >= 4]

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the exception's places."""
        text = super().format(record)
        record.exc_text = None  # other handlers write their own
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Type and places of the exception and of its causes, innermost first."""
        error = ei[1]
        lines: list[str] = []
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            lines.append(f"{type(error).__module__}.{type(error).__qualname__}")
            for frame in reversed(traceback.extract_tb(error.__traceback__)):
                lines.append(f"  {frame.filename}:{frame.lineno} in {frame.name}")
            error = error.__cause__ or error.__context__
        return "\n".join(lines)


def set_up(level: str, secrets: Iterable[str]) -> None:
    """Sends all logs of the process to stderr, discreetly.

    Args:
        level: DEBUG is the only one at which libraries may quote a chat.
        secrets: keys that must not be written.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet(secrets) if level != "DEBUG" else logging.Formatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if level != "DEBUG":
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
