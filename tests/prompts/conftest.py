"""A sub-word tokenizer of our own, trained on the sample texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from schemas.formats import CONTROL_TOKENS

TEXTS = Path(__file__).parent / "texts"


@pytest.fixture(scope="session")
def subwords() -> Tokenizer:
    """A byte-level BPE of 900 pieces, with the special tokens of the formats."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = [path.read_text(encoding="utf-8") for path in sorted(TEXTS.glob("*.txt"))]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
