"""Imports point one way, and heavy libraries are loaded where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from graph.settings import ROOT

MAY_IMPORT = {
    "schemas": set(),
    "embedding": {"schemas"},
    "llm": {"schemas"},
    "stores": {"schemas"},
    "cards": {"schemas", "replies", "retrieval"},
    "prompts": {"schemas", "cards"},
    "retrieval": {"schemas"},
    "routing": {"schemas", "retrieval"},
    "replies": {"schemas"},
    "nodes": {"schemas", "cards", "prompts", "retrieval", "routing", "replies"},
    "graph": {"schemas", "nodes", "embedding", "llm", "stores", "prompts", "routing", "retrieval"},
    "worker": {"schemas", "cards", "graph"},
    "play": {"schemas", "cards", "graph", "prompts", "worker"},
    "scripts": {
        "schemas",
        "cards",
        "play",
        "prompts",
        "graph",
        "embedding",
        "stores",
        "retrieval",
        "routing",
        "llm",
        "benchmarks",
    },
}
OURS = {*MAY_IMPORT, "handler", "benchmarks", "tests"}


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package}/ is empty"
    for path in files:
        wrong = imported(path) & OURS - {package} - MAY_IMPORT[package]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize(
    ("library", "home"),
    [("chromadb", "stores"), ("langchain_chroma", "stores"), ("onnxruntime", "embedding"),
     ("langchain_huggingface", "embedding"), ("openai", "llm")],
)  # fmt: skip
def test_a_client_library_has_one_home(library: str, home: str) -> None:
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            assert library not in imported(path) or package in (home, "scripts"), path


def test_importing_the_handler_and_the_graph_loads_no_heavy_library() -> None:
    heavy = [
        "runpod",
        "chromadb",
        "langchain_chroma",
        "onnxruntime",
        "openai",
        "torch",
        "transformers",
    ]
    code = f"import sys, handler, graph; print(*[m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == ""


def test_graph_is_ours_though_the_folder_is_last_on_the_path() -> None:
    import graph

    assert Path(graph.__file__).is_relative_to(ROOT)
