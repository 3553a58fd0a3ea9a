"""Writes what the documents take from the code: JSON Schemas and the tables of settings.

`python -m scripts.export_docs` writes them; `tests/test_docs.py` fails while they are stale.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from graph.settings import IN_KOREAN, ROOT, Settings
from schemas.request import ChatRequest
from schemas.response import ChatResponse
from schemas.terminal import in_terminal

MARK = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)


def schema(model: type[BaseModel]) -> str:
    """A model's JSON Schema as text."""
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


HEADS = {"en": "| variable, and its default | meaning |", "ko": "| 변수와 기본값 | 설명 |"}


def settings_table(language: str) -> str:
    """The environment variables as a Markdown table, in `en` or `ko`."""
    rows = [HEADS[language], "|---|---|"]
    for name, field in Settings.model_fields.items():
        meaning = IN_KOREAN[name] if language == "ko" else field.description
        rows.append(f"| `IYAGI_{name.upper()}{_default(field.default)}` | {meaning} |")
    return "\n".join(rows) + "\n"


def _with_table(path: Path, language: str) -> str:
    text = path.read_text(encoding="utf-8")
    return MARK.sub(lambda marks: marks[1] + settings_table(language) + marks[2], text)


def _default(value: object) -> str:
    """A default as it is written in the environment, `=value`; nothing where there is none."""
    if value in (None, (), PydanticUndefined) or not str(value):
        return ""
    if isinstance(value, Path):
        return f"={value.relative_to(ROOT)}"
    return f"={str(value).lower() if isinstance(value, bool) else value}"


def documents() -> dict[Path, str]:
    """Every generated document and what it should hold."""
    english, korean = ROOT / "docs" / "settings.md", ROOT / "docs" / "settings.ko.md"
    return {
        ROOT / "docs" / "schema" / "request.json": schema(ChatRequest),
        ROOT / "docs" / "schema" / "response.json": schema(ChatResponse),
        english: _with_table(english, "en"),
        korean: _with_table(korean, "ko"),
    }


def main() -> None:
    """Writes the documents."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(in_terminal(main))
