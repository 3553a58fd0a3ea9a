"""Model files: what names mean, the download, and what a header tells."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import time
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm.gguf import cores, fetch, fetch_whole, find, free_memory, read_header, source
from llm.presets import in_process, preset_for
from schemas.errors import LLMError, SettingsError
from schemas.formats import FORMATS
from tests.llm.fake_hub import Hub, serving

NAME = "somebody/Small-Model-GGUF:quants/small-Q4_K_M.gguf"
CONTENT = os.urandom(300_000)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub(CONTENT)) as hub:
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def failure(folder: Path, name: str = NAME) -> LLMError:
    with pytest.raises(LLMError) as caught:
        fetch(name, folder)
    assert "127.0.0.1" not in caught.value.message
    assert str(folder) not in caught.value.message
    return caught.value


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def test_a_file_is_downloaded_once(hub: Hub, tmp_path: Path) -> None:
    assert find(NAME, tmp_path) is None
    path = fetch(NAME, tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.relative_to(tmp_path) == Path("somebody/Small-Model-GGUF/quants/small-Q4_K_M.gguf")
    asked = hub.heads
    assert fetch(NAME, tmp_path) == find(NAME, tmp_path) == path
    assert (hub.heads, hub.gets, parts(tmp_path)) == (asked, [None], [])


def test_a_download_goes_on_where_it_broke_off(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [100_000, 50_000]
    assert fetch(NAME, tmp_path).read_bytes() == CONTENT
    assert hub.gets == [None, "bytes=100000-", "bytes=150000-"]


def test_also_in_another_process(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [10_000] * 5
    assert failure(tmp_path).retryable
    [part] = parts(tmp_path)
    assert part.stat().st_size == 50_000
    assert fetch(NAME, tmp_path).read_bytes() == CONTENT
    assert hub.gets[-1] == "bytes=50000-"


def test_a_server_without_ranges_begins_anew(hub: Hub, tmp_path: Path) -> None:
    hub.cuts, hub.knows_ranges = [100_000], False
    assert fetch(NAME, tmp_path).read_bytes() == CONTENT


def test_what_is_not_what_was_promised_is_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.promised = "0" * 64
    error = failure(tmp_path)
    assert "sha256" in error.message
    assert error.retryable
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_file_that_changed_on_the_hub_is_not_mixed_with_the_old(hub: Hub, tmp_path: Path) -> None:
    hub.promised, hub.cuts = "1" * 64, [1000] * 5
    failure(tmp_path)
    with serving(Hub(CONTENT)) as changed, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", changed.url)
        assert fetch(NAME, tmp_path).read_bytes() == CONTENT
        assert changed.gets == [None]


def test_two_who_want_it_at_once_get_it_whole(hub: Hub, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: fetch(NAME, tmp_path), range(4)))
    assert [path.read_bytes() == CONTENT for path in paths] == [True]
    assert parts(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "cure", "retryable"),
    [(404, "IYAGI_LLM_MODELS", False), (401, "HF_TOKEN", False), (403, "HF_TOKEN", False),
     (503, "HTTP 503", True)],
)  # fmt: skip
def test_a_refusal_names_the_cure(
    hub: Hub, tmp_path: Path, status: int, cure: str, retryable: bool
) -> None:
    hub.head_status = status
    error = failure(tmp_path)
    assert cure in error.message
    assert error.retryable is retryable


def test_a_store_that_fails_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.statuses = [500]
    assert failure(tmp_path).retryable


def test_no_checksum_no_model(hub: Hub, tmp_path: Path) -> None:
    hub.promised = None
    assert "checksum" in failure(tmp_path).message


def test_the_token_goes_to_the_hub_alone(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    fetch(NAME, tmp_path)
    assert hub.tokens == {("hub", "Bearer secret"), ("store", None)}


def test_a_hub_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "IYAGI_LLM_PATH" in failure(tmp_path).message
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in failure(tmp_path).message


def test_a_full_disk_is_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1000))
        assert "disk is full" in failure(tmp_path).message
    assert hub.gets == []

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("llm.gguf._pieces", full)
    assert "disk is full" in failure(tmp_path).message


def test_a_folder_that_cannot_be_written_is_one_line(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("", encoding="utf-8")
    assert "IYAGI_INDEX_DIR" in failure(tmp_path / "models").message


@pytest.mark.parametrize(
    "name",
    [
        "no-such-name", "", "a/b", "a/b:c.bin", "../b:c.gguf", "a/b:../../c.gguf", "/etc/x.gguf",
        "https://x.example/y.gguf", "a/b:c/d/e/f/g.gguf", "os.path:x.gguf", "a b/c:d.gguf",
        "./b:c.gguf", "a/.b:c.gguf", "a/b:.gguf", "__main__:x.gguf", "a/b:c.gguf\n",
    ],
)  # fmt: skip
def test_other_names_mean_no_model(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="IYAGI_LLM_MODELS"):
        find(name, tmp_path)


def test_a_long_name_is_refused_at_once() -> None:
    started = time.perf_counter()
    for name in ("a" * 100_000, "a/" * 50_000, "a/a:" + "a/" * 50_000, "a." * 50_000 + ":x.gguf"):
        with pytest.raises(SettingsError):
            source(name)
    assert time.perf_counter() - started < 0.1


def test_a_package_that_is_missing_is_said(tmp_path: Path) -> None:
    assert find("no_such_package:x.gguf", tmp_path) is None
    assert "make model" in failure(tmp_path, "no_such_package:x.gguf").message


def test_each_model_of_the_table_is_whole() -> None:
    rows = in_process()
    assert list(rows) == sorted(rows, key=lambda name: rows[name].file_gb)
    assert {"en", "ko"} <= {language for row in rows.values() for language in row.languages}
    for name, row in rows.items():
        assert source(name) == row.gguf
        assert preset_for(name) is preset_for(row.name) is row
        # The file's own name leads to the same row, for who names it by its path.
        assert preset_for(row.gguf.partition(":")[2]) is row
        assert preset_for(Path(row.gguf.partition(":")[2]).stem) is row
        assert row.format in FORMATS
        assert row.languages and row.licence and row.use
        assert row.file_gb < row.memory_gb < row.file_gb + 1.5


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def header(*pairs: tuple[str, int, bytes]) -> bytes:
    said = b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in pairs)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + said


def number(value: int) -> bytes:
    return struct.pack("<I", value)


SHAPE = (
    ("general.architecture", 8, text("toy")),
    ("general.tags", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
    ("toy.context_length", 4, number(2048)),
    ("toy.embedding_length", 4, number(512)),
    ("toy.block_count", 4, number(10)),
    ("toy.attention.head_count", 4, number(8)),
    ("toy.attention.head_count_kv", 4, number(2)),
)


def test_a_header_tells_the_context_and_its_memory(tmp_path: Path) -> None:
    file = tmp_path / "toy.gguf"
    file.write_bytes(header(*SHAPE, ("tokenizer.ggml.tokens", 9, b"never read")))
    read = read_header(file)
    assert read.context_length == 2048
    assert read.bytes_per_token == 2 * 10 * 2 * (64 + 64)
    file.write_bytes(header(*SHAPE, ("toy.attention.key_length", 10, struct.pack("<Q", 128))))
    assert read_header(file).bytes_per_token == 2 * 10 * 2 * (128 + 64)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"GG", b"<html>not found</html>", b"GGUF", header(*SHAPE)[:-3],
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63) + text("x" * 50),
        header(("a.b", 99, b"")), header(("a.b", 9, struct.pack("<IQ", 9, 2**60))),
        header(("a.b", 8, struct.pack("<Q", 2**62))),
        header(("a.b", 6, struct.pack("<f", float("nan")))),
        header(("a.b", 9, struct.pack("<IQ", 4, 2**60))),
    ],
)  # fmt: skip
def test_a_broken_header_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(LLMError, match=r"fetch it anew|no GGUF"):
        read_header(tmp_path / "x.gguf")


def test_a_download_that_is_broken_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    path = tmp_path / NAME.replace(":", "/")
    path.parent.mkdir(parents=True)
    for broken in (b"", b"<html>", header(*SHAPE)[:50]):
        path.write_bytes(broken)
        with serving(Hub(header(*SHAPE))) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            assert fetch_whole(NAME, tmp_path) == fetch_whole(NAME, tmp_path) == path
            assert path.read_bytes() == header(*SHAPE)
            assert hub.gets == [None]


def test_what_the_hub_has_and_is_no_model_is_said(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(LLMError, match="no GGUF"):
        fetch_whole(NAME, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HF_TOKEN", "hf_ключ"), ("HF_TOKEN", "hf_a\nb"), ("HF_ENDPOINT", "mirror.example"),
        ("HF_ENDPOINT", "ftp://mirror.example"), ("HF_ENDPOINT", "https://"),
        ("HF_ENDPOINT", "http://hub:many"), ("HTTPS_PROXY", "socks5://127.0.0.1:1"),
        ("HTTPS_PROXY", "gopher://127.0.0.1:1"), ("HTTPS_PROXY", "http://proxy:many"),
    ],
)  # fmt: skip
def test_a_variable_that_cannot_be_used_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name in ("https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert variable in failure(tmp_path).message
    assert (hub.heads, hub.gets) == (0, [])


@pytest.mark.parametrize("name", ["/models/small.gguf", "./small.gguf", "small.gguf"])
def test_a_path_among_the_names_is_told_where_it_belongs(name: str) -> None:
    with pytest.raises(SettingsError, match="IYAGI_LLM_PATH"):
        source(name)


def test_this_machine_tells_its_cores_and_memory() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    free = free_memory()
    assert free is None or 0 < free < 2**50
