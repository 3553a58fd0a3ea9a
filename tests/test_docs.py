"""The documents say what the code does."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator

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


NOT_THE_PRODUCT = {"tests", "lab", "benchmarks", "scripts", "notebooks"}
CACHING = {"cache", "lru_cache", "cached_property"}
KEEPING = {"OrderedDict", "WeakKeyDictionary", "WeakValueDictionary"}
CACHE_CLASS = re.compile(r"\w*Cache|KnownCounts|WordIndex")
KEPT = re.compile(r"_\w*(?:cached?|remembered|asked|loaded|made|counts|scales)")


def names_in(*nodes: ast.AST) -> set[str]:
    """All names and attributes in some code."""
    parts = [part for node in nodes for part in ast.walk(node)]
    found = {part.id for part in parts if isinstance(part, ast.Name)}
    return found | {part.attr for part in parts if isinstance(part, ast.Attribute)}


def caches_in(node: ast.AST) -> Iterator[str]:
    """Names of the caches in a piece of code: decorated functions, classes and attributes that are
    called so or hold such a collection, and SQLite files. Of a cache class, not what is inside."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if CACHING & names_in(*node.decorator_list):
            yield node.name
        case ast.ClassDef() if CACHE_CLASS.fullmatch(node.name):
            if "Protocol" not in names_in(*node.bases):
                yield node.name
            return
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
            value, called = node.value, names_in(target) - {"self"}
            holds = KEEPING & names_in(node)
            given = isinstance(value, ast.Name) or any(
                map(CACHE_CLASS.fullmatch, names_in(value) if value else ())
            )
            if not given:
                yield from (name for name in called if holds or KEPT.fullmatch(name))
        case ast.Constant(value=str() as text) if re.fullmatch(r"[\w-]+\.sqlite3?", text):
            yield text
    for child in ast.iter_child_nodes(node):
        yield from caches_in(child)


def test_the_page_of_caches_names_each_that_there_is_and_no_other() -> None:
    page = (ROOT / "docs" / "caches.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([\w/]+\.py:\w+|[\w-]+\.sqlite3?)`", page))
    there, names = set(), set()
    for path in ROOT.glob("**/*.py"):
        place = path.relative_to(ROOT)
        if place.parts[0].startswith(".") or place.parts[0] in NOT_THE_PRODUCT:
            continue
        text = path.read_text(encoding="utf-8")
        found = set(caches_in(ast.parse(text)))
        there |= {name if "." in name else f"{place.as_posix()}:{name}" for name in found}
        names |= {f"{place.as_posix()}:{name}" for name in re.findall(r"\w+", text)} | found
    assert there <= told, f"docs/caches.md lacks {sorted(there - told)}"
    assert told <= names, f"docs/caches.md names what is gone: {sorted(told - names)}"


def test_the_pages_stay_short() -> None:
    words = sum(len((ROOT / name).read_text(encoding="utf-8").split()) for name in PAGES)
    assert words <= 9_000, "what a reader does not need goes to lab/"


@pytest.mark.parametrize("name", ["sample_request.json", "sample_request.ko.json"])
def test_the_mock_requests_fit_the_exported_schema(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "schema" / "request.json").read_text(encoding="utf-8"))
    request = json.loads((ROOT / "data" / "mock" / name).read_text(encoding="utf-8"))
    jsonschema.validate(request, schema)
