"""The documents say what the code does."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import jsonschema
import pytest

from graph.app import graph
from graph.settings import ROOT
from scripts.export_docs import documents

READMES = ["README.md", "README.ko.md"]


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_what_is_generated_is_up_to_date() -> None:
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale; say make schema"


@pytest.mark.parametrize("name", READMES)
def test_the_picture_of_the_graph_is_the_graph(name: str) -> None:
    [picture] = blocks(name, "mermaid")
    assert picture.strip() == graph.get_graph().draw_mermaid().strip()


@pytest.mark.parametrize("name", READMES)
def test_the_python_examples_run(name: str) -> None:
    examples = blocks(name, "python")
    assert examples
    for code in examples:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("name", READMES)
def test_the_commands_name_files_that_exist(name: str) -> None:
    commands = "\n".join(blocks(name, "sh"))
    for path in re.findall(r"data/mock/[\w.]+", commands):
        assert (ROOT / path).is_file()
    for module in re.findall(r"-m (scripts\.\w+)", commands):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize("name", ["sample_request.json", "sample_request.ko.json"])
def test_the_mock_requests_fit_the_exported_schema(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "schema" / "request.json").read_text(encoding="utf-8"))
    request = json.loads((ROOT / "data" / "mock" / name).read_text(encoding="utf-8"))
    jsonschema.validate(request, schema)
