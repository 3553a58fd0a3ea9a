"""Faults of `.env` and of keys that are one line at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph.settings import load_index_dir, load_settings
from schemas.errors import SettingsError


def test_a_file_in_another_encoding_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.env").write_bytes("# für\nIYAGI_LLM=scripted\n".encode("latin-1"))
    monkeypatch.setenv("IYAGI_ENV_FILE", str(tmp_path / "mine.env"))
    for load in (load_settings, load_index_dir):
        with pytest.raises(SettingsError, match=r"^mine\.env is not UTF-8"):
            load()


@pytest.mark.parametrize("variable", ["IYAGI_LLM_API_KEY", "IYAGI_EMBEDDER_API_KEY"])
@pytest.mark.parametrize("key", ["sk-ключ", "sk\u200bx", "sk-1\nsk-2"])
def test_a_key_that_cannot_be_sent_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, key: str
) -> None:
    monkeypatch.setenv(variable, key)
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings()
    assert "sk" not in caught.value.message


def test_the_folder_is_known_where_other_settings_are_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IYAGI_LLM", "llamacpp")
    monkeypatch.setenv("IYAGI_LLM_CONTEXT", "many")
    monkeypatch.setenv("IYAGI_INDEX_DIR", "somewhere")
    assert load_index_dir() == Path("somewhere")
    monkeypatch.setenv("IYAGI_INDEX_DIR", "")
    with pytest.raises(SettingsError, match="IYAGI_INDEX_DIR"):
        load_index_dir()
