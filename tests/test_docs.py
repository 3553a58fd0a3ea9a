"""The documents say what the code does."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest

from graph.app import graph
from graph.settings import IN_KOREAN, ROOT, Settings
from scripts.export_docs import documents
from tests.clients.door import open_door
from tests.graph.test_graph_imports import MAY_IMPORT

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


def test_every_setting_is_told_in_korean() -> None:
    assert list(IN_KOREAN) == list(Settings.model_fields), "as many, and in the same order"
    for name, field in Settings.model_fields.items():
        korean, english = (
            set(re.findall("`[^`]+`", text or "")) for text in (IN_KOREAN[name], field.description)
        )
        assert re.search("[가-힣]", IN_KOREAN[name]) and english <= korean, name


@pytest.mark.parametrize("name", READMES)
def test_the_picture_of_the_graph_is_the_graph(name: str) -> None:
    [picture] = blocks(name, "mermaid")
    arrows = [line for line in graph.get_graph().draw_mermaid().splitlines() if "-->" in line]
    assert picture.splitlines() == ["graph TD;", *arrows]


@pytest.mark.parametrize("name", [*READMES, "docs/replies.md", "lab/cards.md"])
def test_the_python_examples_run(name: str) -> None:
    examples = blocks(name, "python")
    assert examples
    for code in examples:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


CLIENTS = {"docs/clients.md": "a ferry pilot", "docs/clients.ko.md": "나룻배 사공"}


@pytest.mark.parametrize("name", CLIENTS)
def test_the_example_of_a_client_runs(name: str, tmp_path: Path) -> None:
    [code] = blocks(name, "python")
    with open_door(tmp_path) as door:
        code = code.replace("http://127.0.0.1:8080/v1", door.url)
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
        assert done.stdout.strip() and CLIENTS[name] in door.prompts[-1]


def test_the_page_of_clients_says_the_same_in_both_languages() -> None:
    for pattern in (r"^#+ ", r"IYAGI_[A-Z_]+", r"`X-[\w-]+`", r"/v1/\w+", r"^!\[[^]]*\](\(.*\))"):
        found = [
            re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M) for name in CLIENTS
        ]
        assert found[0] and sorted(found[0]) == sorted(found[1]), pattern


@pytest.mark.parametrize("name", [*PAGES, *LAB])
def test_the_commands_name_files_that_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(r"data/mock/[\w.]+", text):
        assert (ROOT / path).is_file()
    for module in re.findall(r"-m ((?:scripts|lab|benchmarks)\.\w+)", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_both_readmes_have_the_same_sections_commands_and_fields() -> None:
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    korean = re.sub(r"(docs/\w+)\.ko\.md", r"\1.md", korean)  # a page that is there in Korean, too
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
    """File and lines of every diff in docs/extending.md."""
    found = []
    for block in blocks("docs/extending.md", "diff"):
        for part in re.split(r"^--- .*\n\+\+\+ b/", block, flags=re.MULTILINE)[1:]:
            path, *lines = part.splitlines()
            found.append((path, lines))
    return found


def applied(path: str, code: list[str], diff: list[str]) -> list[str]:
    """The file's lines after a diff without line numbers: what is added stands behind the line
    before it, or at the top of a diff, in front of the line behind it."""
    at, top = 0, list(takewhile(lambda line: line[:1] == "+", diff))
    for line in diff[len(top) :]:
        if line[:1] == "+":
            code.insert(at, line[1:])
        else:
            assert line[1:] in code[at:], f"{path} has changed: {line[1:]}"
            at = code.index(line[1:], at)
            code[at:at] = [new[1:] for new in top]
            at, top = at + len(top), []
        if line[:1] == "-":
            del code[at]
        else:
            at += 1
    return [*code, *(new[1:] for new in top)]


def test_the_diffs_fit_the_code_and_make_a_turn_that_runs(tmp_path: Path) -> None:
    """All of them together, but for the vector store, of which the page shows the frame alone."""
    home = tmp_path / "iyagi"
    heavy = shutil.ignore_patterns(
        ".*", "tests", "lab", "docs", "notebooks", "benchmarks", "indexes", "*.onnx"
    )
    shutil.copytree(ROOT, home, ignore=heavy)
    for model in ("minilm", "e5"):
        weights = f"embedding/{model}/model.onnx"
        (home / weights).symlink_to(ROOT / weights)
    shutil.copytree(home / "prompts/en", home / "prompts/ja")
    for path, diff in diffs():
        file = home / path
        code = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        code = applied(path, code, diff)
        if "postgres" not in "".join(diff).lower():
            file.write_text("\n".join(code) + "\n", encoding="utf-8")
    request = {"message": "Hello!!!!!", "persona": {"name": "Mara", "language": "ja"}}
    turn = f"""if True:
        import asyncio, graph.services
        from graph.app import graph, settings
        from schemas.request import ChatRequest
        state = {{"request": ChatRequest.model_validate({request!r})}}
        state = asyncio.run(graph.ainvoke(state))
        prompt = state["prompt"].prompt
        print(state["loudness"], "日本語で" in prompt, "<|user|>" in prompt)
    """
    environment = {"IYAGI_LLM_FORMAT": "phi", "IYAGI_ENV_FILE": "", "PYTHONUTF8": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", turn],
        cwd=home, env=environment, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ran.stdout.split(), ran.returncode) == (["0.5", "True", "True"], 0), ran.stderr


def test_the_table_of_folders_says_what_each_may_import() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+/`.*?) \| .* \| (.*) \|$", text, re.M)
    told = {name: cell for cells, cell in rows for name in re.findall(r"`(\w+)/`", cells)}
    assert told.keys() >= MAY_IMPORT.keys()
    for name, cell in told.items():
        if cell != "all above":
            also = MAY_IMPORT[name] - {"schemas", "language"}
            assert set(re.findall(r"`(\w+)`", cell)) == also, name


NOT_THE_PRODUCT = {"tests", "lab", "benchmarks", "scripts", "notebooks"}
CACHING = {"cache", "lru_cache", "cached_property"}
KEEPING = {"Kept", "OrderedDict", "WeakKeyDictionary", "WeakValueDictionary"}
CACHE_CLASS = re.compile(r"\w*Cache|KnownCounts|WordIndex")
KEPT = re.compile(r"_\w*(?:cached?|remembered|asked|loaded|made|counts|scales)")


def names_in(*nodes: ast.AST) -> set[str]:
    """All names and attributes in some code."""
    parts = [part for node in nodes for part in ast.walk(node)]
    found = {part.id for part in parts if isinstance(part, ast.Name)}
    return found | {part.attr for part in parts if isinstance(part, ast.Attribute)}


def remembers_in_a_closure(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function begins with an empty dict, and returns another function."""
    inner = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    dicts = [part for part in node.body if isinstance(getattr(part, "value", None), ast.Dict)]
    last = node.body[-1]
    return bool(dicts and isinstance(last, ast.Return) and inner & names_in(last))


def caches_in(node: ast.AST) -> Iterator[str]:
    """Names of the caches in a piece of code: functions that remember, classes and attributes that
    are called so or hold such a collection, SQLite files. Of a cache class, not what is inside."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            if CACHING & names_in(*node.decorator_list) or remembers_in_a_closure(node):
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
    lacking, gone = sorted(there - told), sorted(told - names)
    assert not (lacking or gone), f"docs/caches.md lacks {lacking}, and names {gone}, which is gone"


def test_the_pages_stay_short() -> None:
    # one page in two languages, and a table that is written from the code, are not read as such
    apart = (".ko.md", "docs/settings.md")
    english = [name for name in PAGES if not name.endswith(apart)]
    words = sum(len((ROOT / name).read_text(encoding="utf-8").split()) for name in english)
    assert words <= 9_000, "what a reader does not need goes to lab/"


@pytest.mark.parametrize("name", ["sample_request.json", "sample_request.ko.json"])
def test_the_mock_requests_fit_the_exported_schema(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "schema" / "request.json").read_text(encoding="utf-8"))
    request = json.loads((ROOT / "data" / "mock" / name).read_text(encoding="utf-8"))
    jsonschema.validate(request, schema)
