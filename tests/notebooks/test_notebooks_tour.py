"""The guided tour runs from top to bottom in a fresh kernel, on this machine alone."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from graph.settings import ROOT
from tests.studio.studio_server import WATCHER

TOUR = ROOT / "notebooks" / "iyagi.ipynb"


class ThisPython(AsyncKernelManager):
    """A kernel of this interpreter, whatever kernels the machine has."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def read() -> nbformat.NotebookNode:
    tour: nbformat.NotebookNode = nbformat.read(TOUR, as_version=4)  # type: ignore[no-untyped-call]
    return tour


def run(home: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs; an error in a cell is raised with its traceback."""
    (home / "sitecustomize.py").write_text(WATCHER, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("IYAGI_")}
    env |= {
        "IYAGI_INDEX_DIR": str(home / "indexes"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "PYTHONPATH": str(home),
        "WATCHED": str(home / "hosts"),
    }
    client = NotebookClient(
        read(),
        timeout=60,
        kernel_manager_class=ThisPython,
        resources={"metadata": {"path": str(TOUR.parent)}},
    )
    return asyncio.run(client.async_execute(env=env))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def shown(home: Path) -> dict[str, str]:
    """What each cell with code printed or showed, by the last line of its code."""
    outputs = {}
    for cell in run(home).cells:
        if cell.cell_type == "code":
            said = [
                output.get("text") or output["data"].get("text/html", "") for output in cell.outputs
            ]
            outputs[cell.source.splitlines()[-1].strip()] = "".join(said)
    return outputs


def test_a_turn_shows_its_reply_its_graph_and_its_times(shown: dict[str, str]) -> None:
    assert "구봉숙" in shown["figures.reply(answer)"]
    picture = shown["figures.pipeline(graph.get_graph(), answer)"]
    assert picture.startswith("<svg") and "retrieve_story" in picture and " ms</text>" in picture


def test_retrieval_ledger_and_evidence_are_drawn(shown: dict[str, str]) -> None:
    assert "m013" in shown["figures.recalled(answer)"] and "✓" in shown["figures.recalled(answer)"]
    assert "history" in shown["figures.ledger(answer)"]
    assert shown["figures.evidence(answer)"].startswith("<b>character")
    assert shown["figures.evidence(looking)"].startswith("<b>narrator")


def test_the_story_moves_on_as_it_is_played(shown: dict[str, str]) -> None:
    table = shown["figures.playthrough(turns)"]
    assert table.index(">e05<") < table.index(">e06<") < table.index(">e08<")


def test_a_card_made_on_the_spot_answers_with_its_lore(shown: dict[str, str]) -> None:
    assert "온유" in shown["figures.reply(mine)"]
    assert "팔지 않는 책" in shown["figures.recalled(mine)"]


def test_another_embedder_finds_other_things(shown: dict[str, str]) -> None:
    [told] = [text for line, text in shown.items() if line.startswith('print("by letters')]
    both, meaning, letters = (line.split(":")[1].split() for line in told.splitlines())
    assert "m013" in both and meaning and letters


def test_a_real_model_is_asked_only_where_there_is_one(shown: dict[str, str]) -> None:
    assert any(text.startswith("Skipped: IYAGI_LLM_URL") for text in shown.values())


def test_it_needs_no_network(shown: dict[str, str], home: Path) -> None:
    asked = (
        (home / "hosts").read_text(encoding="utf-8").split() if (home / "hosts").exists() else []
    )
    assert shown and set(asked) <= {"127.0.0.1", "localhost"}


def test_it_is_kept_without_outputs() -> None:
    for cell in read().cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
