"""What surrounds the in-process model and needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from graph.services import make_services
from graph.settings import Settings, load_settings
from llm.huggingface import HuggingFaceLLM
from schemas.errors import SettingsError
from tests.llm.asking import failing


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "transformers", None)


@pytest.mark.usefixtures("no_torch")
async def test_without_the_extra_a_reply_names_the_cure() -> None:
    said, error = await failing(HuggingFaceLLM(model="m"))
    assert said == ""
    assert error.message.endswith('pip install ".[huggingface]"')
    assert not error.retryable


@pytest.mark.parametrize(
    ("environment", "cure"),
    [
        ({}, "IYAGI_LLM_MODELS or IYAGI_LLM_PATH"),
        ({"MODELS": "a/b"}, r'pip install "\.\[huggingface\]"'),
        ({"PATH": "missing"}, "no config.json"),
        ({"MODELS": "a,b", "PATH": "missing"}, "one name"),
        ({"MODELS": "a", "DEVICE": "gpu"}, "IYAGI_LLM_DEVICE"),
        ({"MODELS": "a", "DTYPE": "half"}, "IYAGI_LLM_DTYPE"),
        ({"MODELS": "a", "QUANTIZE": "int2"}, "IYAGI_LLM_QUANTIZE"),
    ],
)
@pytest.mark.usefixtures("no_torch")
def test_settings_that_cannot_work_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], cure: str
) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    monkeypatch.setenv("IYAGI_LLM", "huggingface")
    for name, value in environment.items():
        monkeypatch.setenv(f"IYAGI_LLM_{name}", value)
    with pytest.raises(SettingsError, match=cure):
        load_settings()


def test_a_setting_of_an_older_version_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("IYAGI_LLM_KEPT_TOKENS=9\n", encoding="utf-8")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("IYAGI_LLM_KEPT_TOKENS", "16384")
    assert load_settings().llm == "scripted"


def made(tmp_path: Path, **settings: Any) -> tuple[list[str], list[HuggingFaceLLM]]:
    chosen = Settings(_env_file=None, llm="huggingface", index_dir=tmp_path, **settings)
    offered = make_services(chosen).models.offered
    llms = [model.llm for model in offered if isinstance(model.llm, HuggingFaceLLM)]
    return [model.name for model in offered], llms


def test_the_settings_reach_the_model(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "device": "cpu",
        "dtype": "float32",
        "quantize": "int4",
    }
    names, llms = made(
        tmp_path, llm_models="a/b,c", **{f"llm_{key}": value for key, value in options.items()}
    )
    assert names == ["a/b", "c"]
    assert [llm.model for llm in llms] == names
    assert all(getattr(llm, key) == value for llm in llms for key, value in options.items())
    assert not any(llm.trust_remote_code for llm in llms)


def test_a_folder_is_offered_by_its_name_only(tmp_path: Path) -> None:
    folder = tmp_path / "secret" / "tiny"
    names, [llm] = made(tmp_path, llm_path=folder)
    assert (names, llm.path) == (["tiny"], folder)
    assert "secret" not in repr(llm)
    assert made(tmp_path, llm_path=folder, llm_models="Sera-8B")[0] == ["Sera-8B"]
