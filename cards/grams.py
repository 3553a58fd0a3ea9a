"""Many words looked for in a text at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

GRAM = 3


class Grams:
    """Words, each filed under the rarest run of three characters in it.

    The runs of a text, looked up together, leave the few words that may stand in it.

    Args:
        words: what is looked for, by the caller's own number: one of these words has to be there.
    """

    def __init__(self, words: Mapping[int, Collection[str]]) -> None:
        """Files the words; one of a single character is a run of its own."""
        pairs = [(row, word) for row, some in words.items() for word in some if word]
        counts = Counter(gram for _, word in pairs for gram in set(_runs(word)))
        self._filed: dict[str, list[tuple[int, str]]] = {}
        for row, word in pairs:
            self._filed.setdefault(min(_runs(word), key=counts.__getitem__), []).append((row, word))
        self._sizes = {len(gram) for gram in self._filed}

    def found(self, text: str) -> set[int]:
        """The numbers of those that have a word in the text."""
        grams = {text[at : at + size] for size in self._sizes for at in range(len(text) - size + 1)}
        near = (pair for gram in grams & self._filed.keys() for pair in self._filed[gram])
        return {row for row, word in near if word in text}


def _runs(word: str) -> list[str]:
    return [word[at : at + GRAM] for at in range(max(1, len(word) - GRAM + 1))]
