"""The table of models, and the document that recommends among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm.presets import Preset, _table, preset_for, presets
from prompts.tokens import FAMILIES, estimator
from schemas.formats import FORMATS
from schemas.request import GenConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_a_row_can_be_used(preset: Preset) -> None:
    assert preset.format in FORMATS
    assert preset.tokens in FAMILIES
    assert GenConfig.model_validate(preset.sampling)
    assert preset.languages and preset.licence and preset.use and preset.match
    layout = preset.layout()
    assert layout.context_length - layout.max_new_tokens > 1000
    assert preset_for(preset.name) is preset


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("pygmalionai/pygmalion-3-12b", "PygmalionAI/Pygmalion-3-12B"),
        ("/models/Pygmalion-3-12B-Q4_K_M.gguf", "PygmalionAI/Pygmalion-3-12B"),
        ("C:\\models\\mythalion-13b.gguf", "PygmalionAI/mythalion-13b"),
        ("PygmalionAI/Eleusis-12B-FP8", "PygmalionAI/Eleusis-12B"),
        ("TheDrummer_Cydonia-24B-v3-Q5_K_M", "TheDrummer/Cydonia-24B-v3"),
        ("unsloth/gemma-3-27b-it-GGUF", "google/gemma-3-12b-it"),
        ("gemma-3n-E4B-it", "google/gemma-3-12b-it"),
        ("gemma-2-9b-it-SimPO", "google/gemma-2-9b-it"),
        ("scripted", "scripted"),
    ],
)
def test_a_file_or_a_quantised_version_finds_its_row(model: str, name: str) -> None:
    assert preset_for(model).name == name


def test_the_names_of_the_rows_differ() -> None:
    names = [preset.name.lower() for preset in presets()]
    assert len(names) == len({*names})


def test_an_unknown_model_gets_chatml() -> None:
    unknown = preset_for("someone/new-model")
    assert (unknown.name, unknown.format, unknown.context_length) == (
        "someone/new-model",
        "chatml",
        8192,
    )
    assert unknown.sampling["temperature"] == 0.7


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("PygmalionAI/Pygmalion-3-12B", "tekken"),
        ("PygmalionAI/Eleusis-12B", "tekken"),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "tekken"),
        ("someone/NemoMix-Unleashed-12B", "tekken"),
        ("someone/MN-12B-Mag-Mell-R1", "tekken"),
        ("nvidia/NVIDIA-Nemotron-Nano-9B", "qwen"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "llama2"),
        ("PygmalionAI/pygmalion-2-13b", "llama2"),
        ("google/gemma-4-12B-it", "gemma"),
        ("google/gemma-2-27b-it", "gemma2"),
        ("someone/Gemmasutra-9B-v1", "gemma2"),
        ("TheDrummer/Fallen-Gemma3-12B-v1", "gemma"),
        ("TheDrummer/Cydonia-22B-v1.3", "llama2"),
        ("TheDrummer/Cydonia-24B-v4.1", "tekken"),
        ("mistralai/Mistral-Small-Instruct-2409", "llama2"),
        ("TheDrummer/Rocinante-X-12B-v1", "tekken"),
        ("Sao10K/L3-8B-Stheno-v3.2", "llama3"),
        ("someone/MN-Violet-Lotus-12B-Q5_K_M.gguf", "tekken"),
        ("MLP-KTLim/llama-3-Korean-Bllossom-8B", "llama3"),
        ("maywell/Synatra-7B-v0.3-RP", "llama2"),
        ("naver-hyperclovax/HyperCLOVAX-SEED-Think-14B", "llama3"),
        ("kakaocorp/kanana-nano-2.1b-instruct", "llama3"),
        ("kakaocorp/kanana-2-1.3b-instruct", "llama3"),
        ("LGAI-EXAONE/EXAONE-4.5-33B", "tekken"),
        ("Qwen/Qwen3-8B", "qwen"),
        ("someone/new-model", "qwen"),
    ],
)
def test_the_kind_of_tokenizer_follows_the_base_model(model: str, kind: str) -> None:
    assert preset_for(model).tokens == kind


def test_kinds_that_names_tell_exist() -> None:
    assert {*_table()["tokens"]} <= {*FAMILIES}


def test_a_nemo_tune_is_not_charged_for_another_tokenizer() -> None:
    """The same Korean text is a third more tokens for Qwen than for Mistral-Nemo."""
    text = "창밖에는 밤새 눈이 내렸고, 그는 아무 말 없이 찻잔을 내려놓았다. " * 20
    nemo, other = (
        estimator(preset_for(name).tokens)(text) for name in ("NemoMix-12B", "new-model")
    )
    assert other > 1.25 * nemo


def test_layout_takes_the_operators_knobs() -> None:
    layout = preset_for("scripted").layout(max_new_tokens=99, format=None, place="depth")
    assert (layout.max_new_tokens, layout.format, layout.place) == (99, "chatml", "depth")


def test_a_models_own_sampling_is_added_to_that_of_all() -> None:
    assert preset_for("PygmalionAI/mythalion-13b").sampling == {
        "temperature": 0.7,
        "top_p": 0.9,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
    }


def test_the_document_lists_every_model() -> None:
    text = (ROOT / "lab" / "models.md").read_text(encoding="utf-8")
    for preset in presets():
        row = next(line for line in text.splitlines() if line.startswith(f"| {preset.name} |"))
        assert preset.format in row and f"{preset.context_length:,}" in row
        assert preset.licence in row


def test_the_document_lists_every_stop() -> None:
    text = (ROOT / "lab" / "models.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    for name in {preset.format for preset in presets()}:
        row = next(line for line in lines if line.startswith(f"- `{name}`: "))
        assert all(f"`{stop}`".replace("\n", "\\n") in row for stop in FORMATS[name].stops)
    assert all(f"`{stop}`" in text for preset in presets() for stop in preset.stops)


@pytest.mark.parametrize("preset", presets()[1:], ids=lambda preset: preset.name)
def test_the_size_on_a_gpu_is_known(preset: Preset) -> None:
    assert preset.gpu_gb
