"""What the in-process model writes: tiny random models of the Llama and the Mistral kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llm.huggingface import HuggingFaceLLM
from tests.llm.asking import Ending, reply
from tests.llm.tiny_models import llm_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.huggingface

PROMPT = "<|im_start|>user\n안녕, 세라!<|im_end|>\n<|im_start|>assistant\nSera:"


async def said(llm: HuggingFaceLLM, prompt: str = PROMPT, **sampling: Any) -> str:
    return await llm.ainvoke(prompt, **sampling)


def by_transformers(folder: Path, prompt: str, **options: Any) -> str:
    """The same reply by `model.generate`, which knows nothing of us."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer(prompt, return_tensors="pt")["input_ids"]
    written = model.generate(
        asked, attention_mask=torch.ones_like(asked), pad_token_id=1, **options
    )
    whole: str = tokenizer.decode(written[0], skip_special_tokens=True)
    return whole.removeprefix(tokenizer.decode(asked[0], skip_special_tokens=True))


@pytest.mark.parametrize("penalty", [1.0, 1.3])
async def test_a_greedy_reply_is_what_transformers_writes(tiny: Path, penalty: float) -> None:
    text = await said(llm_of(tiny), temperature=0.0, max_new_tokens=60, repetition_penalty=penalty)
    assert text == by_transformers(
        tiny, PROMPT, do_sample=False, max_new_tokens=60, repetition_penalty=penalty
    )
    assert len(text) > 20


async def test_a_reply_streams_and_tells_how_it_ended(tiny: Path) -> None:
    pieces, info = await reply(llm_of(tiny), temperature=0.0, max_new_tokens=40)
    assert pieces
    assert info == {
        "finish_reason": "length",
        "usage": {
            "prompt_tokens": 11,  # of "The prompt:" with the opening token
            "completion_tokens": 40,
            "total_tokens": 51,
        },
    }


async def test_one_seed_one_reply(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama)
    chosen: dict[str, Any] = {
        "temperature": 1.0,
        "top_p": 0.95,
        "top_k": 50,
        "min_p": 0.01,
        "max_new_tokens": 20,
    }
    first = await said(llm, seed=7, **chosen)
    assert await said(llm_of(tiny_llama), seed=7, **chosen) == first
    assert len({await said(llm, seed=seed, **chosen) for seed in range(5)}) > 1
    assert len({await said(llm, **chosen) for _ in range(5)}) > 1


@pytest.mark.parametrize(
    "narrow", [{"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}, {"temperature": 1e-4}]
)
async def test_each_sampling_key_narrows_the_choice(
    tiny_llama: Path, narrow: dict[str, Any]
) -> None:
    llm = llm_of(tiny_llama)
    greedy = await said(llm, temperature=0.0, max_new_tokens=20)
    assert await said(llm, **({"temperature": 1.0, "max_new_tokens": 20} | narrow)) == greedy
    assert await said(llm, temperature=1.5, max_new_tokens=20, unknown=1) != greedy


async def test_what_a_models_files_recommend_is_not_applied(
    tiny_llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_llama, tmp_path, dirs_exist_ok=True)
    settings = {"do_sample": True, "top_k": 1, "max_length": 5, "eos_token_id": 1}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    bare, recommending = llm_of(tiny_llama), llm_of(tmp_path)
    asked: dict[str, Any] = {"seed": 1, "max_new_tokens": 20}
    assert await said(recommending, **asked) == await said(bare, **asked)


async def test_a_stop_string_ends_the_reply_however_tokens_cut_it(tiny: Path) -> None:
    llm = llm_of(tiny)
    whole = await said(llm, temperature=0.0, max_new_tokens=60)
    for start in (3, 9, 14):
        stop = whole[start : start + 4]
        pieces = [
            p
            async for p in llm.astream(
                PROMPT, stop=["없음", stop], temperature=0.0, max_new_tokens=60
            )
        ]
        assert "".join(pieces) == whole[: whole.index(stop)]
    tokens = transformers.AutoTokenizer.from_pretrained(tiny)(whole[3:7])["input_ids"]
    assert len(tokens) > 2, "a stop string of one token shows nothing"


async def test_stopping_early_ends_the_work(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama)
    pieces, _ = await reply(llm, temperature=0.0, max_new_tokens=60)
    _, info = await reply(llm, temperature=0.0, max_new_tokens=2000, stop=["".join(pieces)[2:5]])
    assert info["finish_reason"] == "stop"
    assert info["usage"]["completion_tokens"] < 200


@pytest.mark.parametrize("stop", [[], ["<|im_end|>"]])
async def test_an_end_token_ends_the_reply_and_is_not_shown(
    tiny_llama: Path, stop: list[str]
) -> None:
    llm = llm_of(tiny_llama)
    await said(llm, max_new_tokens=1)
    end = 3 if stop else 1
    calls = 0

    def ends_at_the_third(module: Any, args: Any, output: Any) -> None:
        nonlocal calls
        calls += 1
        if calls >= 3:
            output.logits[:, -1, end] = 1e4

    llm._model.register_forward_hook(ends_at_the_third)
    pieces, info = await reply(llm, temperature=0.0, max_new_tokens=60, stop=stop)
    assert "<" not in "".join(pieces)
    assert (info["finish_reason"], info["usage"]["completion_tokens"]) == ("stop", 3)


async def test_a_stop_string_at_the_beginning_leaves_an_empty_reply(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama)
    pieces, _ = await reply(llm, temperature=0.0)
    said, info = await reply(llm, temperature=0.0, stop=[pieces[0]])
    assert (said, info["finish_reason"]) == ([], "stop")


async def test_a_prompt_has_one_opening_token(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama)
    bare = await said(llm, temperature=0.0, max_new_tokens=20)
    assert await said(llm, "<s>" + PROMPT, temperature=0.0, max_new_tokens=20) == bare


async def test_a_reply_ends_where_the_model_does(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama)
    ending = Ending()
    config: Any = {"callbacks": [ending]}
    await llm.ainvoke("가나다라마바사" * 215, config=config, temperature=0.0, max_new_tokens=100)
    assert ending.info["finish_reason"] == "length"
    assert ending.info["usage"]["total_tokens"] == 4096
    with pytest.raises(Exception, match="the prompt has 4941 tokens and the model takes 4096"):
        await said(llm, "가나다라마바사" * 260)
