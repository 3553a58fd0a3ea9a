"""Everything that Iyagi raises on purpose.

    IyagiError              one line: what was wrong, where, how to cure it
    ├── BadRequest          the caller's input; `field` names the place, never retryable
    ├── SettingsError       the operator's environment
    ├── EmbeddingError      the embedder failed
    ├── StoreError          an index or a cache on disk failed
    ├── LLMError            the language model failed; often `retryable`
    ├── DeadlineExceeded    the job took longer than it may; retryable
    └── TooLarge            the answer is larger than the platform carries

A message never holds a user's text, a key or a path outside the project.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


class IyagiError(RuntimeError):
    """Base of all errors that Iyagi raises on purpose.

    A RuntimeError, because the LangGraph server shows the message of those and hides what it does
    not know behind "An internal error occurred".

    Args:
        message: one line, safe to show to the caller.
        retryable: whether the same request may succeed later.
    """

    code = "internal"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.retryable = retryable

    @property
    def message(self) -> str:
        """The one line."""
        return str(self.args[0])


class BadRequest(IyagiError):
    """The request cannot be served as it is; `field` is the dotted place of the fault."""

    code = "bad_request"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field

    @classmethod
    def from_validation(cls, error: ValidationError, model: type[BaseModel]) -> BadRequest:
        """The first fault that pydantic found in `model`, and how many more there are."""
        faults = error.errors(include_url=False, include_input=False, include_context=True)
        # A field that is unknown here is probably the one that is missing there.
        first = next((it for it in faults if it["type"] == "extra_forbidden"), faults[0])
        location = first["loc"]
        field = ".".join(str(part) for part in location) or None
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return cls(_cure(first, model) + more, field=field)


class SettingsError(IyagiError):
    """An environment variable is missing or wrong."""

    code = "settings"


class EmbeddingError(IyagiError):
    """The embedder could not turn text into vectors."""

    code = "embedding"


class StoreError(IyagiError):
    """An index or a cache cannot be read or written."""

    code = "store"


class LLMError(IyagiError):
    """The language model did not answer as it should."""

    code = "llm"


class DeadlineExceeded(IyagiError):
    """The job took longer than it may."""

    code = "deadline"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the job was not done after {seconds:g} s; try again later", retryable=True
        )


class TooLarge(IyagiError):
    """The answer is larger than the platform carries."""

    code = "too_large"


def moved(server: str, status: int, variable: str) -> str:
    """What to say of a server that points elsewhere: no text and no key goes there."""
    return (
        f"the {server} server points to another address (HTTP {status}), and nothing is sent after "
        f"it; set {variable} to the final one"
    )


def traced(error: BaseException) -> str:
    """What a log may hold of any exception: type, status and places in the code, a line each, of it
    and of what caused it. Not what it says: that may quote what a user wrote, or a key."""
    return "\n".join(_traces(error, set()))


def _traces(error: BaseException, seen: set[int]) -> Iterator[str]:
    if id(error) in seen:
        return
    seen.add(id(error))
    if isinstance(error, IyagiError):
        said = error.message if not isinstance(error, BadRequest) else ""
    elif isinstance(error, ImportError):
        said = f"of {error.name}"
    else:
        said = str(_status(error) or "")
    yield f"{type(error).__module__}.{type(error).__qualname__} {said}".strip()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    causes = [error.__cause__ or error.__context__, *getattr(error, "exceptions", ())]
    for cause in filter(None, causes):
        yield from _traces(cause, seen)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an exception of a vendor has, or the errno of one of the system."""
    for of in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "errno"):
            if isinstance(value := getattr(of, name, None), int):
                return value
    return None


def _cure(fault: ErrorDetails, model: type[BaseModel]) -> str:
    """Pydantic's words in ours where a cure can be named."""
    location, text, context = fault["loc"], fault["msg"], fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return unknown_field(str(location[-1]), _fields_at(model, location[:-1]))
        case "string_too_long":
            return f"has more than {context['max_length']:,} characters; shorten it"
        case "too_long":
            return f"has more than {context['max_length']:,} items; send fewer"
        case "string_pattern_mismatch" if "\\n" in context["pattern"]:
            return "holds a line break; write it in one line"
        case "value_error":
            return text.removeprefix("Value error, ")
        case kind:
            return _CURES.get(kind, text[:1].lower() + text[1:])


_CURES = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must be a JSON object"),
    **dict.fromkeys(
        ("string_too_short", "too_short"), "is empty; give it a value, or leave the field out"
    ),
    "missing": "is required; add it",
    "string_type": "must be a text",
    "string_unicode": "holds half of a character (a lone surrogate); send valid Unicode text",
    "finite_number": "must be a finite number, not NaN or infinity",
}


def unknown_field(name: str, known: Iterable[str]) -> str:
    """Names the field, and the one that was probably meant."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"unknown field; did you mean {near[0]!r}?"
    return f"unknown field; known are {', '.join(names)}" if names else "unknown field; remove it"


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> Iterable[str]:
    """The field names of the model that `location` points into."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        info = current.model_fields.get(part)
        current = _model_in(info.annotation) if info else None
    return current.model_fields if current else ()


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as `list[Message]` or `Persona | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _model_in(inner):
            return found
    return None
