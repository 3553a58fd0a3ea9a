"""What may stand in the log: no word of a chat above DEBUG, and never a key.

Our own lines never hold any: of an exception they have `traced`, whoever reads them. What libraries
log is another matter: asyncio and uvicorn quote exceptions, and these may quote what a user wrote.
So an entry point (worker, terminal, page) sets up the log of its process with `set_up`. Who imports
the pipeline, as a notebook does, keeps the log as it was.
"""

from __future__ import annotations

import linecache
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from graph.settings import ROOT, Settings, load_settings
from schemas.errors import SettingsError, traced

log = logging.getLogger(__name__)

_TALKATIVE = ("httpx", "httpx2", "httpcore", "openai", "chromadb", "urllib3", "uvicorn.access")
"""Say at INFO what is asked of whom."""

_OURS = {"__main__", "handler", *(path.parent.name for path in ROOT.glob("*/__init__.py"))}


class Discreet(logging.Formatter):
    """Tells where an exception came from and not what it says; blackens secrets.

    Of a library's message only what stands in its source is told: the rest may be anybody's words.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._secrets = [secret for secret in secrets if len(secret) >= 4]

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the exception's places."""
        own = logging.makeLogRecord(record.__dict__ | {"exc_text": None})  # others write their own
        if record.name.partition(".")[0] not in _OURS:
            own.msg, own.args = _known(record), None
        text = super().format(own)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Type and places of the exception and of its causes, innermost first."""
        return traced(ei[1]) if ei[1] else ""


def _known(record: logging.LogRecord) -> str:
    """What a library's line says for certain: its words without what is put into them."""
    if isinstance(record.msg, BaseException):
        return traced(record.msg)
    near = linecache.getlines(record.pathname)[max(0, record.lineno - 10) : record.lineno + 10]
    words = str(record.msg).strip()
    if words not in "".join(near):
        words = "..."
    return f"{words} ({record.filename}:{record.lineno})"


def set_up() -> None:
    """Sends all logs, warnings and uncaught exceptions of the process to stderr, discreetly; at the
    level of IYAGI_LOG_LEVEL, of which DEBUG alone lets libraries and exceptions quote a chat."""
    try:
        settings = load_settings()
    except SettingsError:  # told where they are used
        settings = Settings.model_construct()
    handler = logging.StreamHandler()
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    if settings.log_level == "DEBUG":
        return
    keys = (settings.llm_api_key, settings.embedder_api_key)
    secrets = [*(key.get_secret_value() for key in keys), *settings.server_keys]
    secrets += [os.environ.get(name, "") for name in ("RUNPOD_AI_API_KEY", "HF_TOKEN")]
    handler.setFormatter(Discreet(secrets))
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.showwarning = _warned
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, None)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, None)


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Pydantic's warnings quote a value."""
    log.warning("%s (%s:%d)", category.__name__, filename, lineno)


def _uncaught(kind: type[BaseException], error: BaseException | None, _: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("uncaught:\n%s", traced(error) if error else kind.__name__)
