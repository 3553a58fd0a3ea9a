"""Model files for llama.cpp (GGUF): what a name means, how the file gets here, what it needs.

    qwen2.5-1.5b                  a short name, from `models.toml`
    org/repository:file.gguf      a file on the Hugging Face hub, downloaded once
    package:file.gguf             a file inside an installed Python package

Only the operator's settings name a model; nothing of a request comes here.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import httpx
from tqdm import tqdm

from llm.presets import in_process
from schemas.errors import LLMError, SettingsError

MAGIC = b"GGUF"

_PART = r"[A-Za-z0-9][\w.-]{0,199}"
_HUB = re.compile(rf"{_PART}/{_PART}:(?:{_PART}/){{0,3}}{_PART}\.gguf", re.ASCII)
_PACKAGE = re.compile(rf"[A-Za-z]\w{{0,99}}:{_PART}\.gguf", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")

ATTEMPTS = 5
"""Connections for one file at most; each goes on where the one before broke off."""

LONGEST = 1 << 20
"""Bytes of a text in a header at most: chat templates have some 10,000."""


def source(name: str) -> str:
    """Where the model of this name is to be had, `org/repository:file.gguf` or
    `package:file.gguf`.

    Raises:
        SettingsError: the name means none.
    """
    row = in_process().get(name)
    place = row.gguf if row else name
    if place.endswith(".gguf") and ":" not in place:
        raise SettingsError(
            "IYAGI_LLM_MODELS: a file of this machine is named by IYAGI_LLM_PATH; a model of the "
            "hub is `org/repository:file.gguf`"
        )
    if ".." in place or not (_HUB.fullmatch(place) or _PACKAGE.fullmatch(place)):
        raise SettingsError(
            f"IYAGI_LLM_MODELS: {name[:100]!r} is no model for llamacpp; write "
            f"`org/repository:file.gguf`, or one of {', '.join(in_process())}"
        )
    return place


def find(name: str, folder: Path) -> Path | None:
    """The model's file if it is on this machine.

    Args:
        name: as above.
        folder: where downloads are kept.

    Raises:
        SettingsError: the name means none.
    """
    owner, _, file = source(name).partition(":")
    if "/" in owner:
        path = folder / owner / file
        return path if path.is_file() else None
    spec = find_spec(owner)
    places = spec.submodule_search_locations if spec else None
    found = (Path(place) / file for place in places or ())
    return next((path for path in found if path.is_file()), None)


def fetch(name: str, folder: Path) -> Path:
    """The model's file; downloaded if it is not here yet, with a bar where somebody watches.

    Raises:
        SettingsError: the name means none.
        LLMError: the file cannot be had.
    """
    if path := find(name, folder):
        return path
    owner, _, file = source(name).partition(":")
    if "/" not in owner:
        raise LLMError(f"the model {name!r} is in the package {owner}; install it: make model")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise LLMError(f"the model {name!r} is not here, and HF_HUB_OFFLINE forbids downloads")
    path = folder / owner / file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(owner, file, path)
    except OSError as error:
        raise _unwritable(error) from None
    return path


def fetch_whole(name: str, folder: Path) -> Path:
    """As `fetch`; a file that was downloaded earlier and is no model is fetched anew.

    Raises:
        SettingsError: as `fetch`.
        LLMError: as `fetch`, or the hub's own file is no model.
    """
    path = fetch(name, folder)
    try:
        read_header(path)
    except LLMError:
        if not path.is_relative_to(folder):  # of a package
            raise
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(error) from None
        path = fetch(name, folder)
        read_header(path)
    return path


@dataclass(frozen=True)
class _Promise:
    """What the hub says of a file before it sends it."""

    sha256: str
    size: int


def _download(owner: str, file: str, path: Path) -> None:
    """Brings the file to `path`, whole and checked or not at all.

    What a broken download left is kept beside it, named by the sum that the hub promises, so that
    the next one goes on there. One process at a time writes it.
    """
    hub, client = _connect()
    url = f"{hub}/{owner}/resolve/main/{file}"
    with client:
        try:
            promise = _promise(client.head(url), f"{owner}:{file}")
            whole = path.with_name(f"{promise.sha256}.part")
            with whole.open("ab") as part:
                fcntl.flock(part, fcntl.LOCK_EX)
                if path.is_file():  # another process was faster, and this made a new one
                    whole.unlink(missing_ok=True)
                    return
                part.seek(0, os.SEEK_END)
                _check_room(path.parent, promise.size - part.tell())
                _fill(client, url, part, promise)
                part.flush()
                _check_sum(whole, promise)
                whole.replace(path)
        except httpx.HTTPStatusError as error:
            raise LLMError(
                f"the hub does not send the model (HTTP {error.response.status_code}); try again",
                retryable=True,
            ) from None
        except httpx.HTTPError:
            raise LLMError(
                "the hub cannot be reached or hung up; try again (it goes on where it stopped), or "
                "name a file in IYAGI_LLM_PATH",
                retryable=True,
            ) from None


def _connect() -> tuple[str, httpx.Client]:
    """The hub's address and what asks it, by the variables of the hub's own tools: mirrors and
    tokens are set up once for all of them. Raises LLMError where these cannot be used."""
    hub = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN") or ""
    if not (token.isascii() and token.isprintable()):
        raise LLMError("HF_TOKEN holds a character that no token has; copy the token anew")
    try:
        address = httpx.URL(hub)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in {"http", "https"} or not address.host:
        raise LLMError("HF_ENDPOINT is no address; write https://, then the hub's host")
    try:
        return hub, httpx.Client(
            headers={"Accept-Encoding": "identity"}
            | ({"Authorization": f"Bearer {token}"} if token else {}),
            follow_redirects=True,  # to the hub's store, which gets no token: httpx sees to that
            timeout=httpx.Timeout(30.0),
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        raise LLMError(
            "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names a proxy that cannot be used here; write "
            "http://host:port (SOCKS needs: pip install socksio), or unset it"
        ) from None


def _check_sum(file: Path, promise: _Promise) -> None:
    """Deletes a file that is not what was promised. Raises LLMError."""
    with file.open("rb") as read:
        if hashlib.file_digest(read, "sha256").hexdigest() == promise.sha256:
            return
    file.unlink()
    raise LLMError(
        "the downloaded model is not what the hub promised (sha256); it was deleted",
        retryable=True,
    )


def _promise(answer: httpx.Response, name: str) -> _Promise:
    """Sum and size from the answer to a HEAD, or from the redirect that led there."""
    if answer.status_code in {401, 403}:
        raise LLMError(
            f"the hub wants to know who asks for {name}: accept the model's terms on its page, "
            "then set HF_TOKEN"
        )
    if answer.status_code == 404:
        raise LLMError(f"the hub has no {name}; check IYAGI_LLM_MODELS")
    answer.raise_for_status()
    headers: dict[str, str] = {}
    for said in [answer, *reversed(answer.history)]:  # the hub itself, who was asked first, wins
        headers |= {key.lower(): value for key, value in said.headers.items()}
    tag = headers.get("x-linked-etag", headers.get("etag", "")).strip('"')
    size = headers.get("x-linked-size", answer.headers.get("content-length", ""))
    if not _SHA256.fullmatch(tag) or not size.isdecimal():
        raise LLMError(f"the hub tells no checksum of {name}; name a file in IYAGI_LLM_PATH")
    return _Promise(tag, int(size))


def _fill(client: httpx.Client, url: str, part: BinaryIO, promise: _Promise) -> None:
    """Appends what is missing; connections that break are tried again while they bring more."""
    with tqdm(
        total=promise.size, initial=part.tell(), unit="B", unit_scale=True, disable=None
    ) as bar:
        for attempt in range(ATTEMPTS):
            try:
                for size in _pieces(client, url, part, promise.size):
                    bar.update(size)
                return
            except httpx.TransportError:
                if attempt + 1 == ATTEMPTS:
                    raise


def _pieces(client: httpx.Client, url: str, part: BinaryIO, size: int) -> Iterator[int]:
    """Writes the rest of the file; gives the size of each piece."""
    if part.tell() >= size:
        return
    asked = {"Range": f"bytes={part.tell()}-"} if part.tell() else {}
    with client.stream("GET", url, headers=asked) as answer:
        answer.raise_for_status()
        if answer.status_code != 206 and part.tell():  # the whole file, from its beginning
            yield -part.tell()
            part.seek(0)
            part.truncate()
        for piece in answer.iter_raw():
            if part.tell() + len(piece) > size:
                raise LLMError("the hub sends more than it promised; try again", retryable=True)
            part.write(piece)
            yield len(piece)
    if part.tell() < size:
        raise httpx.RemoteProtocolError("it ended early")


def _check_room(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, "")


def _unwritable(error: OSError) -> LLMError:
    if error.errno == errno.ENOSPC:
        return LLMError("the disk is full: make room for the model, or move IYAGI_INDEX_DIR")
    why = os.strerror(error.errno) if error.errno else type(error).__name__
    return LLMError(f"the model cannot be written into IYAGI_INDEX_DIR: {why}")


@dataclass(frozen=True)
class Header:
    """What the beginning of a model's file tells."""

    context_length: int
    """Tokens that the model was trained for; 0 if it does not say."""
    bytes_per_token: int
    """Of the cache of a context, in 16 bits."""


def read_header(path: Path) -> Header:
    """Raises LLMError: no GGUF file, or one that cannot be read."""
    known: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise LLMError(
                    "the model is no GGUF file; fetch it anew (make model) or name another in "
                    "IYAGI_LLM_PATH"
                )
            _version, _tensors, count = _unpack(file, "<IQQ")
            for _ in range(min(count, 10_000)):
                key = _text(file)
                if key.startswith("tokenizer."):  # the vocabulary: megabytes, and nothing more
                    break
                (kind,) = _unpack(file, "<I")
                known[key.partition(".")[2]] = _value(file, kind)
    except (OSError, struct.error, ValueError, OverflowError) as error:
        raise LLMError(
            f"the model's file cannot be read ({type(error).__name__}); fetch it anew (make model) "
            "or name another in IYAGI_LLM_PATH"
        ) from None
    width = known.get("embedding_length", 0) // max(known.get("attention.head_count", 1), 1)
    heads = known.get("attention.head_count_kv", known.get("attention.head_count", 0))
    sizes = [known.get(f"attention.{side}_length", width) for side in ("key", "value")]
    return Header(
        context_length=known.get("context_length", 0),
        bytes_per_token=2 * known.get("block_count", 0) * heads * sum(sizes),
    )


_KINDS = "BbHhIif?--Qqd"
"""The kinds of values, as `struct` has them; 8 is a text and 9 a list."""


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _text(file: BinaryIO) -> str:
    (size,) = _unpack(file, "<Q")
    if size > LONGEST:
        raise ValueError("too long for a text of a header")
    return file.read(size).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> int:
    """The number there; the largest of a list, 0 for a text."""
    if kind == 8:
        _text(file)
        return 0
    if kind == 9:
        inner, count = _unpack(file, "<IQ")
        if count > 10_000 or inner == 9:
            raise ValueError("too long for a list of a header")
        return max((_value(file, inner) for _ in range(count)), default=0)
    if kind >= len(_KINDS):
        raise ValueError("no such kind of value")
    return int(_unpack(file, f"<{_KINDS[kind]}")[0])


def free_memory() -> int | None:
    """Bytes that this process may still take, by the system and by its container; None where
    neither tells."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvail")]
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii")
        used = (group / "memory.current").read_text(encoding="ascii")
        stat = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = [int(line.split()[1]) for line in stat if line.startswith("inactive_file ")]
        found.append(int(limit) - int(used) + sum(cached))  # "max" is no number: no limit
    return min(found, default=None)


def cores() -> int:
    """Cores that this process may use, by the system and by its container."""
    if sys.platform == "linux":
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed
