"""What surrounds the in-process model and needs no llama.cpp."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graph.services import make_services
from graph.settings import Settings, load_settings
from llm.llamacpp import LlamaCppLLM
from prompts.served import ServedCount
from schemas.errors import LLMError, SettingsError
from tests.llm.asking import failing


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package that is there and runs nothing."""
    module = ModuleType("xllamacpp")
    monkeypatch.setitem(sys.modules, "xllamacpp", module)
    return module


def toy(folder: Path, context: int = 2048) -> Path:
    """The header of a model."""
    key = b"toy.context_length"
    value = struct.pack("<II", 4, context)
    path = folder / "Toy-ChatML.gguf"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    path.write_bytes(head + struct.pack("<Q", len(key)) + key + value)
    return path


@pytest.mark.parametrize(
    ("environment", "cure"),
    [
        ({}, "IYAGI_LLM_MODELS or IYAGI_LLM_PATH"),
        ({"MODELS": "a/b:c.gguf,d/e:f.gguf"}, "one model"),
        ({"PATH": "missing.gguf"}, "GGUF file"),
        ({"PATH": "."}, "GGUF file"),
        ({"MODELS": "a,b", "PATH": "missing"}, "one name"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], cure: str
) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    monkeypatch.setenv("IYAGI_LLM", "llamacpp")
    for name, value in environment.items():
        monkeypatch.setenv(f"IYAGI_LLM_{name}", value)
    with pytest.raises(SettingsError, match=cure):
        load_settings()


@pytest.mark.parametrize(
    ("raised", "cure"),
    [
        (ModuleNotFoundError("No module named 'xllamacpp'"), "make model"),
        (ImportError("libgomp.so.1: cannot open shared object file"), "apt-get install libgomp1"),
        (ImportError("libm.so.6: version `GLIBC_2.38' not found"), "a library of the system"),
    ],
)
def test_a_package_that_cannot_run_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: ImportError, cure: str
) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "xllamacpp":
                raise raised

    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(SettingsError, match=cure) as caught:
        made(tmp_path, llm_path=toy(tmp_path))
    assert "\n" not in caught.value.message


def made(folder: Path, **settings: Any) -> Any:
    chosen = Settings(_env_file=None, llm="llamacpp", index_dir=folder, **settings)
    [model] = make_services(chosen).models.offered
    return model


@pytest.mark.usefixtures("package")
def test_a_file_is_offered_by_its_name_and_no_more_context_than_it_takes(tmp_path: Path) -> None:
    path = toy(tmp_path)
    model = made(tmp_path, llm_path=path)
    assert (model.name, model.backend) == ("Toy-ChatML", "llamacpp")
    assert isinstance(model.llm, LlamaCppLLM)
    assert model.llm.path == path
    assert model.layout.context_length == model.llm.context_length == 2048
    assert isinstance(model.served, ServedCount)
    assert str(tmp_path) not in repr(model.llm)
    small = made(tmp_path, llm_path=path, llm_models="Mara-1B", llm_context=1024)
    assert (small.name, small.layout.context_length) == ("Mara-1B", 1024)
    assert made(tmp_path, llm_path=path, llm_context=9000).llm.context_length == 2048


@pytest.mark.usefixtures("package")
def test_a_name_has_its_preset_before_its_file_is_here(tmp_path: Path) -> None:
    model = made(tmp_path, llm_models="kanana-1.5-2.1b")
    assert (model.name, model.layout.format, model.llm.path) == ("kanana-1.5-2.1b", "llama3", None)
    assert model.layout.context_length == 4096
    hub = made(tmp_path, llm_models="someone/Gemma-3-1B-it-GGUF:gemma-3-1b-it-Q8_0.gguf")
    assert hub.layout.format == "gemma"
    with pytest.raises(SettingsError, match="qwen2"):
        made(tmp_path, llm_models="no-such-model")


@pytest.mark.usefixtures("package")
async def test_a_model_that_cannot_be_had_is_one_line_and_tried_once_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def unreachable(*given: object) -> Path:
        tries.append(given)
        raise LLMError("the hub cannot be reached", retryable=True)

    monkeypatch.setattr("llm.llamacpp.fetch", unreachable)
    llm = made(tmp_path, llm_models="gemma-3-1b").llm
    assert await llm.about() is None
    with pytest.raises(LLMError, match="cannot be reached"):
        await llm.tokenize("a text")
    said, error = await failing(llm)
    assert (said, error.retryable, len(tries)) == ("", True, 1)
    monkeypatch.setattr("llm.llamacpp.PAUSE", -1.0)  # a turn that comes later
    await failing(llm)
    assert len(tries) == 2


async def test_what_llama_cpp_refuses_is_one_line(tmp_path: Path, package: ModuleType) -> None:
    class Params:
        def __init__(self) -> None:
            self.model = self.cpuparams = self.cpuparams_batch = ModuleType("part")

    def refuse(_: object) -> None:
        raise RuntimeError("Failed to init server")

    package.CommonParams, package.Server = Params, refuse  # type: ignore[attr-defined]
    _, error = await failing(made(tmp_path, llm_path=toy(tmp_path)).llm)
    assert "cannot load the model 'Toy-ChatML'" in error.message


async def test_a_file_that_comes_later_is_loaded_with_the_context_it_was_trained_for(
    tmp_path: Path, package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Params:
        def __init__(self) -> None:
            self.model = self.cpuparams = self.cpuparams_batch = ModuleType("part")

    asked = []

    class Server:
        listening_address = "http://127.0.0.1:1"

        def __init__(self, params: Any) -> None:
            asked.append(params.n_ctx)

    package.CommonParams, package.Server = Params, Server  # type: ignore[attr-defined]
    monkeypatch.setattr("llm.llamacpp.fetch", lambda *_: toy(tmp_path, context=1024))
    model = made(tmp_path, llm_models="gemma-3-1b")
    assert model.layout.context_length == model.llm.context_length == 4096
    await model.llm._ready()
    assert asked == [model.llm.context_length] == [1024]
