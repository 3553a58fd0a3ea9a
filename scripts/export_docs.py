"""Writes what the documents take from the code: JSON Schemas and the table of settings.

`python -m scripts.export_docs` writes them; `tests/test_docs.py` fails while they are stale.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from graph.settings import ROOT, Settings
from schemas.request import ChatRequest
from schemas.response import ChatResponse
from schemas.terminal import in_terminal

MARK = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)


def schema(model: type[BaseModel]) -> str:
    """A model's JSON Schema as text."""
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def settings_table() -> str:
    """The environment variables as a Markdown table."""
    rows = ["| variable, and its default | meaning |", "|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `IYAGI_{name.upper()}{_default(field.default)}` | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(value: object) -> str:
    """A default as it is written in the environment, `=value`; nothing where there is none."""
    if value in (None, (), PydanticUndefined) or not str(value):
        return ""
    if isinstance(value, Path):
        return f"={value.relative_to(ROOT)}"
    return f"={str(value).lower() if isinstance(value, bool) else value}"


def documents() -> dict[Path, str]:
    """Every generated document and what it should hold."""
    settings = ROOT / "docs" / "settings.md"
    text = settings.read_text(encoding="utf-8")
    return {
        ROOT / "docs" / "schema" / "request.json": schema(ChatRequest),
        ROOT / "docs" / "schema" / "response.json": schema(ChatResponse),
        settings: MARK.sub(rf"\g<1>{settings_table()}\g<2>", text),
    }


def main() -> None:
    """Writes the documents."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(in_terminal(main))
