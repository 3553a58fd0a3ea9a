"""A circuit breaker: a store that did not answer rests, so that no turn waits for it anew."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType

from schemas.errors import StoreError

REST_SECONDS = 5.0
"""A server is back some seconds after it was started anew; until then each turn goes on at once."""


class CircuitBreaker:
    """Guards the calls of one store: `with breaker as is_probe: ...`.

        closed      calls pass; one that ends in a retryable StoreError opens it
        open        calls are refused, for `REST_SECONDS`
        half open   one call passes, the probe; how it ends closes the breaker, or opens it again

    Args:
        what: the store's name in messages.
    """

    def __init__(self, what: str) -> None:
        """Closed."""
        self._what = what
        self._lock = threading.Lock()
        self._rests_until: float | None = None  # monotonic; None while closed
        self._is_probed = False

    def __enter__(self) -> bool:
        """Whether this call is the probe. Raises StoreError where the store rests."""
        with self._lock:
            if self._rests_until is None:
                return False
            left = self._rests_until - time.monotonic()
            if left > 0 or self._is_probed:
                again = f"in {max(1, math.ceil(left))} s" if left > 0 else "just now"
                raise StoreError(
                    f"{self._what} did not answer and rests; it is tried again {again}",
                    retryable=True,
                )
            self._is_probed = True
            return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What failed for another reason was answered."""
        failed = isinstance(error, StoreError) and error.retryable
        with self._lock:
            self._is_probed = False
            self._rests_until = time.monotonic() + REST_SECONDS if failed else None
