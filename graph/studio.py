"""What a caller of the graph gives; LangGraph Studio shows it filled in with a mock turn."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from graph.settings import ROOT
from schemas.request import ChatRequest


def _fill_in(schema: dict[str, Any]) -> None:
    """Puts the mock requests into the JSON Schema; read only when somebody asks for the schema."""
    folder = ROOT / "data" / "mock"
    schema["examples"] = [
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("sample_request.json", "sample_request.ko.json")
    ]
    schema["default"] = schema["examples"][0]


class Input(TypedDict):
    """One turn to answer."""

    request: Annotated[ChatRequest, Field(json_schema_extra=_fill_in)]
