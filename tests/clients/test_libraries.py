"""Client libraries that nobody here wrote hold a chat with the server, with their own messages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from graph.settings import ROOT
from tests.clients.door import CARD, Door, open_door, said
from tests.clients.libraries_python import LINES, NOT_THERE

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
INSTALLED = ROOT / ".venv" / "clients"
PYTHON, NODE = INSTALLED / "bin" / "python", INSTALLED / "node"
LIBRARIES = {
    **{name: "python" for name in ("openai", "litellm", "langchain", "llamaindex")},
    "llamaindex_text": "python",
    **{f"node {name}": "node" for name in ("openai", "ai-sdk", "ai-sdk-text", "ai-sdk-compatible")},
}
TEXT = {"llamaindex_text", "node ai-sdk-text"}
"""Those that write the chat into one prompt themselves."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("door")) as door:
        yield door


def drive(library: str, url: str) -> dict[str, Any]:
    """What the library's program tells of its chat."""
    if LIBRARIES[library] == "python":
        if not PYTHON.exists():
            pytest.skip("tests/clients/install.sh has not been run")
        command = [str(PYTHON), str(HERE / "libraries_python.py"), library, url]
    else:
        if not NODE.exists():
            pytest.skip("tests/clients/install.sh has not been run where npm is")
        (NODE / "chat.mjs").write_bytes((HERE / "node" / "chat.mjs").read_bytes())
        command = ["node", str(NODE / "chat.mjs"), library.removeprefix("node "), url]
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    done = subprocess.run(
        command, cwd=INSTALLED, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_holds_a_chat(opened: Door, library: str) -> None:
    opened.clear()
    told = drive(library, opened.url)
    for way in ("whole", "stream"):
        assert [reply.strip() for reply in told[way]] == [said(turn) for turn in (1, 2, 3)]
    for prompt in opened.prompts[2], opened.prompts[5]:
        assert all(prompt.count(line) == 1 for line in LINES)
        assert prompt.count(CARD) == (library not in TEXT)
        assert "refusal" not in prompt and "Sera: Sera" not in prompt
    asked = {"model": NOT_THERE, "messages": [{"role": "user", "content": LINES[0]}]}
    refusal = httpx.post(f"{opened.url}/chat/completions", json=asked).json()["error"]["message"]
    assert refusal in told["not there"]
    assert told["slow"] and opened.work_ended()
