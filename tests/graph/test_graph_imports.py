"""Imports point one way, and heavy libraries are loaded where they are used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from graph.settings import ROOT

MAY_IMPORT = {
    "schemas": {"language"},
    "language": set(),
    "embedding": {"schemas", "language"},
    "llm": {"schemas", "language"},
    "stores": {"schemas", "language", "retrieval"},
    "cards": {"schemas", "language", "replies", "retrieval"},
    "prompts": {"schemas", "language", "cards", "retrieval"},
    "retrieval": {"schemas", "language"},
    "routing": {"schemas", "language", "retrieval"},
    "replies": {"schemas", "language"},
    "nodes": {"schemas", "language", "cards", "prompts", "retrieval", "routing", "replies"},
    "graph": {
        "schemas",
        "language",
        "nodes",
        "embedding",
        "llm",
        "stores",
        "prompts",
        "routing",
        "retrieval",
        "replies",
    },
    "openai_api": {"schemas", "language", "cards"},
    "worker": {"schemas", "language", "cards", "graph", "openai_api"},
    "server": {"schemas", "cards", "graph", "openai_api", "worker"},
    "play": {"schemas", "cards", "graph", "prompts", "worker", "server"},
    "scripts": {
        "llm",
        "schemas",
        "language",
        "cards",
        "play",
        "prompts",
        "graph",
        "embedding",
        "stores",
        "retrieval",
        "nodes",
    },
    "lab": {"language", "benchmarks", "embedding", "retrieval", "routing"},
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
            assert library not in imported(path) or package in (home, "lab"), path


def run(code: str, **env: str) -> str:
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


TURN = """
import asyncio, json, sys
import handler
from graph import drain, handle_chat
request = json.load(open("data/mock/sample_request.json", encoding="utf-8"))
async def turn():
    response = await handle_chat(request)
    assert response["response_contents"] and not response["error"], response
    await drain()
asyncio.run(turn())
"""


def test_a_turn_loads_no_library_that_it_does_not_use(tmp_path: Path) -> None:
    unused = ["runpod", "chromadb", "openai", "torch", "transformers"]
    code = f"{TURN}print(*[m for m in {unused} if m in sys.modules])"
    assert run(code, IYAGI_INDEX_DIR=str(tmp_path)) == ""


def test_importing_the_graph_does_not_load_the_embedder() -> None:
    assert run("import sys, handler, graph.app; print('onnxruntime' in sys.modules)") == "False"


def test_starting_the_workers_sdk_loads_no_ssh_client_and_no_notebook() -> None:
    run(
        "import sys\nfrom worker.serve import _import_runpod\nrunpod = _import_runpod()\n"
        "assert runpod.serverless.start and runpod.get_credentials and runpod.Endpoint\n"
        "assert 'IPython' not in sys.modules\n"
    )


class _LangSmith(BaseHTTPRequestHandler):
    """Takes what a tracing client sends."""

    received: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        self._answer(b'{"version": "0.10", "instance_flags": {"zstd_compression_enabled": false}}')

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_tracing_still_works_for_who_turns_it_on(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _LangSmith)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        run(
            f"{TURN}from langchain_core.tracers.langchain import wait_for_all_tracers\n"
            "wait_for_all_tracers()\n",
            IYAGI_INDEX_DIR=str(tmp_path),
            LANGSMITH_TRACING="true",
            LANGCHAIN_TRACING_V2="true",
            LANGSMITH_API_KEY="none",
            LANGSMITH_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
        )
    finally:
        server.shutdown()
        server.server_close()
    sent = b"".join(_LangSmith.received)
    for run_name in (b"iyagi", b"retrieve_chat", b"build_prompt", b"ScriptedLLM"):
        assert b'"name":"%s"' % run_name in sent


def test_graph_is_ours_though_the_folder_is_last_on_the_path() -> None:
    import graph

    assert Path(graph.__file__).is_relative_to(ROOT)
