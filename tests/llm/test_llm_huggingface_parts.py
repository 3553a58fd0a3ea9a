"""What surrounds the in-process model and needs no torch: text, pipe and settings."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.services import make_services
from graph.settings import Settings, load_settings
from llm.huggingface import HuggingFaceLLM
from llm.huggingface_pipe import Pipe
from llm.huggingface_text import Detokenizer
from schemas.errors import SettingsError
from tests.llm.asking import failing


def lossy(parts: list[bytes]) -> Callable[[list[int]], str]:
    """As byte-level tokenizers decode: one sign for what is not complete."""
    return lambda ids: b"".join(parts[i] for i in ids).decode(errors="replace")


def all_or_nothing(parts: list[bytes]) -> Callable[[list[int]], str]:
    """As tokenizers with byte fallback decode: a run that is not complete is not read at all."""

    def decode(ids: list[int]) -> str:
        data = b"".join(parts[i] for i in ids)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "\N{REPLACEMENT CHARACTER}" * len(data)

    return decode


TEXT = st.text(st.sampled_from("가나다 세라🙂👩‍👩‍👧é漢\na"), max_size=30)


@pytest.mark.parametrize("decoder", [lossy, all_or_nothing])
@given(prompt=TEXT, reply=TEXT, sizes=st.lists(st.integers(1, 4), min_size=1))
def test_tokens_that_cut_characters_give_whole_characters(
    decoder: Callable[[list[bytes]], Callable[[list[int]], str]],
    prompt: str,
    reply: str,
    sizes: list[int],
) -> None:
    parts, data = [char.encode() for char in prompt], reply.encode()
    known = len(parts)
    while data:
        size = sizes[len(parts) % len(sizes)]
        parts.append(data[:size])
        data = data[size:]
    tokens = Detokenizer(decoder(parts), range(known))
    pieces = [tokens.feed(token) for token in range(known, len(parts))]
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
    assert "".join(pieces) + tokens.flush() == reply


def test_the_space_before_the_first_word_is_kept() -> None:
    words = ["Sera", ":", "▁I", "▁know"]

    def decode(ids: list[int]) -> str:
        return "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" ")

    tokens = Detokenizer(decode, [0, 1])
    assert [tokens.feed(2), tokens.feed(3)] == [" I", " know"]


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    tokens = Detokenizer(lossy([b"a", "가".encode()[:2]]))
    assert tokens.feed(0) + tokens.feed(1) == "a"
    assert tokens.flush() == "\N{REPLACEMENT CHARACTER}"


async def test_a_thread_waits_for_a_slow_reader() -> None:
    pipe: Pipe[int] = Pipe(size=3)
    written = []

    def write() -> None:
        for number in range(20):
            pipe.put(number)
            written.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    await asyncio.sleep(0.1)
    assert written == [0, 1, 2]
    assert [await pipe.get() for _ in range(20)] == list(range(20))
    thread.join(5)


async def test_a_thread_goes_on_when_the_reader_leaves() -> None:
    pipe: Pipe[int] = Pipe(size=1)

    def write() -> None:
        for number in range(1000):
            pipe.put(number)

    thread = threading.Thread(target=write)
    thread.start()
    await asyncio.sleep(0.05)
    assert thread.is_alive()
    pipe.close()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


def test_a_thread_goes_on_when_the_loop_is_gone() -> None:
    async def make() -> Pipe[int]:
        return Pipe(size=1, patience=0.05)

    pipe = asyncio.run(make())
    pipe.put(1)
    pipe.put(2)
    assert pipe.closed


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("llm.huggingface_")]:
        monkeypatch.delitem(sys.modules, name)
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
        "kept_tokens": 5,
        "deadline": 9.0,
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
