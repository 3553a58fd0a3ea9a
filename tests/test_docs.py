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
PAGES = [*READMES, "ARCHITECTURE.md", "CHANGELOG.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
LAB = sorted(f"lab/{path.name}" for path in (ROOT / "lab").glob("*.md"))


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


@pytest.mark.parametrize("name", [*READMES, "docs/replies.md", "lab/cards.md"])
def test_the_python_examples_run(name: str) -> None:
    examples = blocks(name, "python")
    assert examples
    for code in examples:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("name", [*PAGES, *LAB])
def test_the_commands_name_files_that_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(r"data/mock/[\w.]+", text):
        assert (ROOT / path).is_file()
    for module in re.findall(r"-m ((?:scripts|lab|benchmarks)\.\w+)", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_both_readmes_have_the_same_sections_commands_and_fields() -> None:
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    for same in (
        r"^#+ ",  # as many sections
        r"^\| `([^|]+)` \|",  # the fields of requests and responses
        r"-m [a-z_.]+[a-z]",
        r"\bmake [a-z]+",
        r"\]\((?!docs/images|README)([^)]+)\)",  # links
    ):
        assert sorted(set(re.findall(same, english, re.M))) == sorted(
            set(re.findall(same, korean, re.M))
        )
    assert len(re.findall("^## ", english, re.M)) == len(re.findall("^## ", korean, re.M))


@pytest.mark.parametrize("name", [*PAGES, *LAB])
def test_links_and_files_in_backticks_exist(name: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / name).parent / link).exists(), link
    if name in PAGES:
        for path in re.findall(r"`((?:\w+/)+[\w.]*|\w+\.py)(?::\w+)?`", text):
            known = "/" not in path or (ROOT / path.split("/")[0]).is_dir()
            assert (ROOT / path).exists() or not known, path


def diffs() -> list[tuple[str, list[str]]]:
    """File and lines of every diff in docs/extending.md; a new file has no lines of before."""
    found = []
    for block in blocks("docs/extending.md", "diff"):
        for part in re.split(r"^--- ", block, flags=re.MULTILINE)[1:]:
            before, _, *lines = part.splitlines()
            if before != "/dev/null":
                found.append((before.removeprefix("a/"), lines))
    return found


@pytest.mark.parametrize(("path", "lines"), diffs())
def test_the_diffs_fit_the_code(path: str, lines: list[str]) -> None:
    code = (ROOT / path).read_text(encoding="utf-8").splitlines()
    at = 0
    for line in lines:
        if line[:1] in (" ", "-"):
            assert line[1:] in code[at:], f"{path} has changed: {line[1:]}"
            at = code.index(line[1:], at) + 1


def test_the_pages_stay_short() -> None:
    words = sum(len((ROOT / name).read_text(encoding="utf-8").split()) for name in PAGES)
    assert words <= 9_000, "what a reader does not need goes to lab/"


@pytest.mark.parametrize("name", ["sample_request.json", "sample_request.ko.json"])
def test_the_mock_requests_fit_the_exported_schema(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "schema" / "request.json").read_text(encoding="utf-8"))
    request = json.loads((ROOT / "data" / "mock" / name).read_text(encoding="utf-8"))
    jsonschema.validate(request, schema)
