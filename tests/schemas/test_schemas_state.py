"""What crosses from node to node is plain typed data."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel, TypeAdapter

from schemas.state import State

FIELDS = get_type_hints(State)


def parts(hint: Any) -> set[Any]:
    """A type and all types inside it."""
    inside = [part for part in get_args(hint) if isinstance(part, type) or get_args(part)]
    return {hint}.union(*map(parts, inside)) if inside else {hint}


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_is_of_any_kind(name: str) -> None:
    assert not {object, BaseModel, Any} & parts(FIELDS[name])


@pytest.mark.parametrize("name", ["plan", "reply"])
def test_what_one_node_makes_for_another_has_a_schema(name: str) -> None:
    """Studio draws it."""
    assert FIELDS[name].__module__.startswith("schemas.")
    assert TypeAdapter(FIELDS[name]).json_schema()["properties"]
