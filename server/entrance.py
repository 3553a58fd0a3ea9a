"""Who may come in: with a key, not too often, and not while the server ends."""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.kept import Kept
from server.errors import Ending, HttpError, error_response
from server.life import Life

OPEN = ("/ping", "/health")
"""What needs no key: whether the server lives."""

SECONDS = {"second": 1, "minute": 60, "hour": 3600}

CALLERS = 20_000
"""Of whom it is known when they may ask again: about 4 MB. Where more come within one period, those
are forgotten that came first, and may ask too often."""


class Rate:
    """At most so many requests of each caller in a period, in a burst or evenly.

    Of each it is kept when its allowance is whole again (the generic cell rate algorithm).

    Args:
        limit: such as `60/minute`.
    """

    def __init__(self, limit: str, clock: Callable[[], float] = time.monotonic) -> None:
        count, _, period = limit.partition("/")
        self._period = float(SECONDS[period])
        self._each = self._period / int(count)
        self._clock = clock
        self._whole: Kept[str, float] = Kept(CALLERS, CALLERS)

    def wait(self, caller: str) -> float:
        """Seconds until this caller may ask again; 0: now, which counts as having asked."""
        now = self._clock()
        whole = max(now, self._whole.get(caller) or now) + self._each
        if (wait := whole - now - self._period) > 1e-6:
            return min(wait, self._period)  # rounding
        self._whole.put(caller, whole, 1)
        return 0.0


class Entrance:
    """Checks each request before it goes on.

    Args:
        life: of the server.
        keys: one of which a request must bring, each with its owner; none: all come in.
        rate: of the POSTs of each key, or of each address where there are no keys.
        has_page: browsers come, too; they bring the key as the password of a login.
    """

    def __init__(
        self,
        app: ASGIApp,
        life: Life,
        keys: Mapping[str, str] | None = None,
        rate: Rate | None = None,
        has_page: bool = False,
    ) -> None:
        self._app, self._life, self._rate, self._has_page = app, life, rate, has_page
        self._keys = [key.encode() for key in keys or ()]
        self._owners = list((keys or {}).values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what may come in."""
        app = self._app
        if scope["type"] == "http":
            try:
                self._check(scope)
            except HttpError as error:
                app = error_response(error, scope)
        await app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        key = self._key(Headers(scope=scope))
        state = scope.setdefault("state", {})
        state["may_see"] = not self._keys or key is not None
        state["owner"] = self._owners[key] if key is not None else ""
        state["owners"] = self._owners
        if not state["may_see"] and scope["path"] not in OPEN:
            raise HttpError("invalid_api_key", _NO_KEY, headers=self._challenge())
        if scope["method"] != "POST":
            return
        if self._life.ending:
            raise Ending
        caller = f"key {key}" if key is not None else _address(scope)
        if self._rate and (wait := self._rate.wait(caller)):
            seconds = math.ceil(wait)
            raise HttpError(
                "rate_limit_exceeded",
                f"too many requests; try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
                retryable=True,
            )

    def _key(self, headers: Headers) -> int | None:
        """Which of the keys the request has; all are compared, whatever it brings."""
        brought = [text.encode("utf-8", "replace") for text in _brought(headers)]
        found = [n for n, key in enumerate(self._keys)
                 if sum(hmac.compare_digest(key, it) for it in brought)]  # fmt: skip
        return found[0] if found else None

    def _challenge(self) -> dict[str, str]:
        basic = 'Basic realm="Iyagi: the key is the password"'
        return {"WWW-Authenticate": basic if self._has_page else "Bearer"}


_NO_KEY = "no valid key; send `Authorization: Bearer <key>` or, behind another login, `X-API-Key`"


def _brought(headers: Headers) -> list[str]:
    """What may be a key. Behind Runpod's load balancer `Authorization` holds Runpod's own."""
    texts = [headers.get("x-api-key", "")]
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        texts.append(value.strip())
    elif scheme.lower() == "basic":
        try:
            login = base64.b64decode(value, validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            login = ""
        texts.append(login.partition(":")[2])
    return [text for text in texts if text]


def _address(scope: Scope) -> str:
    """The caller's address; of IPv6 the network, of which one caller has all addresses."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
