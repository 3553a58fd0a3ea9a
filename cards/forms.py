"""The forms that programs write characters, lorebooks and chats in, and how one is told apart.

Each reader says which forms it reads (`FORMS` of its folder): what a form is called, how a JSON
value of that form looks, and what is read from it. A value has one form only: what could be two
of them is told apart in `fits`, and a test goes over a sample of every form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_KEYS = 12
"""Keys of an unknown file that a refusal names."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A JSON (or YAML) file as it was read.

    Args:
        value: what it says.
        content: its bytes, by which a card is written back as it was.
        user: the user's name, where the caller knows it; `character` the character's.
    """

    value: Any
    content: bytes = b""
    user: str | None = None
    character: str | None = None


@dataclass(frozen=True)
class Form(Generic[T_co]):
    """One way of writing something down.

    Args:
        name: for people, such as `chat of Agnai`.
        fits: whether a parsed value is written so; looks at a few keys and never fails.
        read: what the document holds; BadRequest if that is damaged or nothing.
    """

    name: str
    fits: Callable[[Any], bool]
    read: Callable[[Document], T_co]


def form_of(value: Any, forms: Iterable[Form[T]]) -> Form[T] | None:
    """The form in which a value is written; None if it has none of these."""
    return next((form for form in forms if form.fits(value)), None)


def keys_in(value: Any) -> str:
    """The keys of a value, or of the first object in a list, as a refusal names them."""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, dict)), None)
    if not isinstance(value, dict) or not value:
        return ""
    names = ["".join(c if c.isprintable() else "?" for c in str(key)[:40]) for key in value]
    shown = ", ".join(f"`{name}`" for name in names[:MAX_KEYS])
    return shown + f" and {len(names) - MAX_KEYS} more" * (len(names) > MAX_KEYS)
