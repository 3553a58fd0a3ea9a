"""The environment is read in one place, and never by a test; what is imported is declared."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

from graph.settings import ROOT
from tests.graph.test_graph_imports import MAY_IMPORT, OURS, imported

INCOMPLETE = "IYAGI_LLM=openai\n"
COMPLETE = (
    "IYAGI_LLM=openai\nIYAGI_LLM_URL=http://127.0.0.1:1/v1\nIYAGI_LLM_MODELS=m\n"
    "IYAGI_EMBEDDER=tei\nIYAGI_EMBEDDER_URL=http://127.0.0.1:1\nIYAGI_EMBEDDER_MODEL=e\n"
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, for a `.env` that nobody else sees."""
    home = tmp_path_factory.mktemp("project")
    for path in ROOT.iterdir():
        if path.name in ("graph", "tests"):
            shutil.copytree(path, home / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.suffix != ".lock" and not path.name.startswith("."):
            (home / path.name).symlink_to(path)
    return home


def run(code: str, copy: Path, env: str) -> str:
    """What a new process prints that finds such a `.env`."""
    (copy / ".env").write_text(env, encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        env={"IYAGI_INDEX_DIR": str(copy / "indexes")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


@pytest.mark.parametrize("env", [INCOMPLETE, COMPLETE])
def test_an_import_has_no_effect(copy: Path, env: str) -> None:
    code = (
        "import os, sys\n"
        "before = dict(os.environ), sys.getswitchinterval()\n"
        "import schemas.request, graph, graph.build, graph.pipeline, graph.services\n"
        "assert (dict(os.environ), sys.getswitchinterval()) == before\n"
        "assert 'graph.app' not in sys.modules\n"
        "print(graph.settings.Settings().llm)\n"
    )
    assert run(code, copy, env) == "scripted"


def test_no_test_reads_the_environment_of_the_machine(copy: Path) -> None:
    code = (
        "import os\nos.environ |= {'IYAGI_LLM_CONTEXT': '7', 'IYAGI_EMBEDDER': 'none'}\n"
        "import tests.conftest\nfrom graph.app import settings\n"
        "from graph.settings import Settings\nassert settings == Settings()\n"
        "print(settings.llm, settings.embedder, settings.llm_context)\n"
    )
    assert run(code, copy, COMPLETE) == "scripted onnx None"


def test_the_pipeline_of_the_process_reads_it(copy: Path) -> None:
    code = (
        "from graph import drain, graph as compiled, handle_chat, stream_chat, settings, pipeline\n"
        "from graph import app\n"
        "assert pipeline is app.pipeline and settings is app.settings\n"
        "assert (handle_chat, drain) == (pipeline.chat, pipeline.drain)\n"
        "assert stream_chat == pipeline.stream and compiled is pipeline.graph\n"
        "print(settings.llm_url)\n"
    )
    assert run(code, copy, COMPLETE) == "http://127.0.0.1:1/v1"
    code = (
        "from schemas.errors import SettingsError\n"
        "try:\n    from graph import handle_chat\nexcept SettingsError as e:\n    print(e.message)"
    )
    assert run(code, copy, INCOMPLETE).startswith("IYAGI_LLM=openai needs")


def declared() -> set[str]:
    """Distributions that pyproject.toml names, for use or as an extra of users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [some for name, some in project["optional-dependencies"].items() if name != "dev"]
    named = chain(project["dependencies"], *extras)
    return {plain(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) for line in named}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


RESEARCH = {"export_embedder.py", "e5_weights.py"}
"""Run by hand, with converters of their own."""


def test_every_library_that_is_imported_is_declared() -> None:
    owners = packages_distributions()
    files = [*ROOT.glob("*.py"), *(f for name in MAY_IMPORT for f in (ROOT / name).rglob("*.py"))]
    for path in (path for path in files if path.name not in RESEARCH):
        for module in imported(path) - OURS - sys.stdlib_module_names:
            distributions = {plain(name) for name in owners.get(module, [module])}
            assert distributions & declared(), f"{path.relative_to(ROOT)} imports {module}"
