"""Attention keys and values of past prompts, to go on from where a new prompt is the same.

A chat's next prompt begins as its last one did: persona, scenario and most of the history. What
the model computed for that part is kept, so that only the rest has to be read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


@dataclass(frozen=True, slots=True)
class _Kept:
    """Some tokens, and a cache that holds exactly them."""

    ids: list[int]
    cache: Any


class KeptPrefixes:
    """Up to `budget` tokens of several chats; those not used for longest go first.

    Args:
        config: of the model. One whose layers keep more than keys and values (a recurrent state)
            cannot be taken back to an earlier token: then nothing is kept.
        budget: tokens, of all chats together. A token costs `2 * layers * key heads * head size`
            numbers: 128 KiB in an 8B model of the Llama 3 kind in 16 bits.
    """

    def __init__(self, config: Any, budget: int) -> None:
        self._config = config
        self._budget = budget
        self._kept: list[_Kept] = []  # the last used at the end
        self.possible = all(
            type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)
            for layer in DynamicCache(config=config).layers
        )

    def take(self, ids: Sequence[int]) -> tuple[int, Any]:
        """How many tokens of the prompt need no reading, and the cache that holds them.

        At least one token is left to read, since its scores are wanted. The cache is the caller's
        own: layers are replaced when it grows and never written to, so they can be shared.
        """
        best = max(self._kept, key=lambda kept: _common(kept.ids, ids), default=None)
        same = min(_common(best.ids, ids), len(ids) - 1) if best else 0
        if best is None or not same:
            return 0, self._empty()
        if 2 * same >= len(best.ids):  # the same chat, which will be kept anew
            self._kept.remove(best)
        cache = copy.copy(best.cache)
        cache.layers = [copy.copy(layer) for layer in best.cache.layers]
        if same < len(best.ids):
            cache.crop(same - len(best.ids))
        return same, cache

    def keep(self, ids: Sequence[int], cache: Any) -> None:
        """Keeps a cache that holds these tokens, and lets go of what is too much then."""
        if not self.possible or not ids or len(ids) > self._budget:
            return
        self._kept.append(_Kept(list(ids), cache))
        while sum(len(kept.ids) for kept in self._kept) > self._budget:
            del self._kept[0]

    def clear(self) -> None:
        """Lets go of everything, where memory is short."""
        self._kept.clear()

    def _empty(self) -> Any:
        """A cache of all tokens, also where a layer looks at a window of them only.

        The library's own drops what is behind the window, and could not be cropped afterwards.
        """
        cache = DynamicCache(config=self._config)
        if self.possible:
            cache.layers = [DynamicLayer() for _ in cache.layers]
        return cache


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the beginning that both share."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
