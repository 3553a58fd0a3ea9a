"""What a chat's last prompt left behind shortens the next one, and changes no word of the reply."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from llm.huggingface import HuggingFaceLLM
from tests.llm.asking import Ending
from tests.llm.tiny_models import llm_of

pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.huggingface

PERSONA = "Sera keeps the lamp. " * 20
TURNS = ["\nMin: 비가 오네.", "\nMin: Do you remember the rain?", "\nMin: 안녕!"]


async def ask(llm: HuggingFaceLLM, prompt: str, **sampling: Any) -> tuple[str, dict[str, int]]:
    ending = Ending()
    config: Any = {"callbacks": [ending]}
    chosen: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 12} | sampling
    text = "".join([p async for p in llm.astream(prompt, config=config, **chosen)])
    return text, ending.info["usage"]


async def test_a_chat_goes_on_from_what_is_kept(tiny: Path) -> None:
    keeping, forgetting = llm_of(tiny), llm_of(tiny, kept_tokens=0)
    prompt, read = PERSONA, []
    for turn in TURNS:
        prompt += turn + "\nSera:"
        text, usage = await ask(keeping, prompt)
        again, without = await ask(forgetting, prompt)
        assert text == again
        assert without["cached_tokens"] == 0
        assert usage["prompt_tokens"] == without["prompt_tokens"]
        read.append(usage["prompt_tokens"] - usage["cached_tokens"])
        prompt += text
    assert read[0] > 200
    assert all(0 < some < 60 for some in read[1:])


async def test_the_same_prompt_again_reads_one_token(tiny: Path) -> None:
    llm = llm_of(tiny)
    first, _ = await ask(llm, PERSONA)
    again, usage = await ask(llm, PERSONA)
    assert again == first
    assert usage["prompt_tokens"] - usage["cached_tokens"] == 1


async def test_chats_that_share_a_beginning_do_not_spoil_each_other(tiny: Path) -> None:
    llm, fresh = llm_of(tiny), llm_of(tiny, kept_tokens=0)
    chats = [
        PERSONA + name + " likes the sea and the wind. " * 25 for name in ("Min", "Ari", "Ivo")
    ]
    for _ in range(2):
        for chat in chats:
            assert (await ask(llm, chat))[0] == (await ask(fresh, chat))[0]
    usages = [(await ask(llm, chat))[1] for chat in chats]
    assert [usage["prompt_tokens"] - usage["cached_tokens"] for usage in usages] == [1, 1, 1]


async def test_the_oldest_chat_goes_first(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama, kept_tokens=900)
    chats = [letter * 700 for letter in "xyz"]  # some 700 tokens or fewer
    for chat in chats:
        await ask(llm, chat)
    assert (await ask(llm, chats[2]))[1]["cached_tokens"] > 0
    assert (await ask(llm, chats[0]))[1]["cached_tokens"] <= 1


async def test_what_was_read_before_the_reader_left_is_not_lost(tiny_llama: Path) -> None:
    llm, prompt = llm_of(tiny_llama), PERSONA * 4
    stream: Any = llm.astream(prompt, temperature=0.0)
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            if piece:
                break
    text, usage = await ask(llm, prompt)
    assert usage["prompt_tokens"] - usage["cached_tokens"] == 1
    assert text == (await ask(llm_of(tiny_llama, kept_tokens=0), prompt))[0]


async def test_an_error_in_the_middle_leaves_nothing_half_read(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama)
    await llm.load()
    assert llm._local is not None
    calls = 0

    def breaks_in_the_second_step(module: Any, args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ValueError("broken")

    prompt = PERSONA * 4
    layer = llm._local._model.model.layers[1]
    hook = layer.register_forward_pre_hook(breaks_in_the_second_step)
    with pytest.raises(Exception, match=r"the model failed \(ValueError\)"):
        await ask(llm, prompt)
    hook.remove()
    text, usage = await ask(llm, prompt)
    assert usage["cached_tokens"] == 0
    assert text == (await ask(llm_of(tiny_llama, kept_tokens=0), prompt))[0]
