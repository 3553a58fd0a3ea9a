"""Tiny random models with a tokenizer of bytes, made where they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm.huggingface import HuggingFaceLLM

VOCABULARY = 300
"""256 bytes, the special tokens, and some merged Korean and English."""

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]

SAID = ["그래, 기억하고 있어. 어제 비가 왔지.", "*Sera nods.* I remember the rain, and the lamp."]


def save_tiny(folder: Path, kind: str, **changes: Any) -> Path:
    """A model of the `llama` or `mistral` kind with its tokenizer, as files in `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        MistralConfig,
        MistralForCausalLM,
        PreTrainedTokenizerFast,
    )

    bytes_only = Tokenizer(models.BPE())
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    bytes_only.train_from_iterator(
        SAID,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bytes_only.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)

    config, model = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "mistral": (MistralConfig, MistralForCausalLM),
    }[kind]
    size = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
        "initializer_range": 0.4,  # large: a token should not be as likely as any other
    }
    torch.manual_seed(1)
    model(config(**(size | changes))).save_pretrained(folder)
    return folder


def llm_of(folder: Path, **options: Any) -> HuggingFaceLLM:
    """The model in a folder, on the CPU."""
    return HuggingFaceLLM(model="tiny", path=folder, device="cpu", **options)
