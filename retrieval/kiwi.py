"""Korean words cut by Kiwi, a morphological analyser: the extra `kiwi`.

It finds somewhat more than the rules (lab/retrieval.md), for 500 MB of memory and some 0.3 ms a
line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

from language.korean import has_syllables
from language.korean_terms import EMPTY
from retrieval.text import RULES, pairs
from schemas.errors import SettingsError

TOPICS = ("NNG", "NNP", "NNB", "NR", "VV", "VA", "XR", "MAG", "UN")
"""Tags of what carries a topic: nouns, numbers, verbs, adjectives, roots, adverbs and what Kiwi
does not know; not pronouns, endings, particles and auxiliaries."""
FOREIGN = ("SL", "SH", "SN")
"""Tags of Latin letters, Han and figures, which are cut by rules."""


class KiwiAnalyzer:
    """Cuts texts that have Hangul syllables with Kiwi, others by rules. Threads may share it.

    Raises:
        SettingsError: the package is missing.
    """

    name = "kiwi"

    def __init__(self) -> None:
        """Loads nothing yet."""
        try:
            import kiwipiepy  # noqa: F401 - whether it is there is said at the start
        except ImportError:
            raise SettingsError(
                "IYAGI_KOREAN=kiwi needs the package kiwipiepy; run `make kiwi`"
            ) from None
        self._lock = Lock()
        self._kiwi: Any = None

    def words(self, text: str, known: dict[str, Sequence[str]]) -> Iterator[Sequence[str]]:
        """The terms of each word of a normal text: pairs of syllables of stems and nouns."""
        if not has_syllables(text):
            yield from RULES.words(text, known)
            return
        for word in self._loaded().tokenize(text):
            if word.tag.startswith(FOREIGN):
                yield from RULES.words(word.form, known)
            elif word.tag.startswith(TOPICS) and word.form not in EMPTY:
                yield pairs(word.form)

    def _loaded(self) -> Any:
        with self._lock:
            if self._kiwi is None:
                from kiwipiepy import Kiwi

                self._kiwi = Kiwi(num_workers=1)
            return self._kiwi
