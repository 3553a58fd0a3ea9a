"""Cards, lorebooks and chats on the command line, and the turn as a page."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from graph.settings import ROOT
from play.__main__ import main as play
from scripts.turn import build_payload, main, parser
from tests.play.conftest import CARD, card_png


def payload(*args: object) -> dict[str, Any]:
    return build_payload(parser().parse_args([str(arg) for arg in args]))


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "sera.png"
    path.write_bytes(card_png())
    return path


@pytest.fixture
def lore(tmp_path: Path) -> Path:
    path = tmp_path / "lore.json"
    book = {"entries": {"0": {"uid": 0, "key": ["폭풍"], "content": "폭풍은 사흘 간다."}}}
    path.write_text(json.dumps(book), encoding="utf-8")
    return path


def test_a_card_starts_a_chat_of_its_own(card: Path) -> None:
    built = payload("--persona", card)
    assert built["persona"]["name"] == "세라" and built["message"] == "안녕하세요?"
    assert [event["text"] for event in built["story"]] == [
        "등대의 불은 {{char}}만 켠다.", "섬에는 우물이 없다.",
    ]  # fmt: skip
    assert "history" not in built and "story_position" not in built


def test_lore_comes_before_the_story_and_the_cards_own_before_books(card: Path, lore: Path) -> None:
    story = ROOT / "data" / "mock" / "sample_story.ko.json"
    built = payload("--persona", card, "--lore", lore, "--lore", lore, "--story", story)
    own = [event["extensions"].get("lore", {}).get("rank", 0) for event in built["story"][:4]]
    assert own == [0, 0, 1, 2] and built["story"][4]["id"] == "e01"
    assert len({event["id"] for event in built["story"]}) == len(built["story"])


def test_a_chat_of_another_program_is_the_history(card: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.jsonl"
    lines = [{"user_name": "민준"}, {"name": "민준", "is_user": True, "mes": "안녕"},
             {"name": "세라", "is_user": False, "mes": "왔네."}]  # fmt: skip
    chat.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    built = payload("--persona", card, "--history", chat, "--user-name", "민준")
    assert [line["role"] for line in built["history"]] == ["user", "character"]
    assert built["user_name"] == "민준"


def test_our_own_files_lose_nothing() -> None:
    mock = ROOT / "data" / "mock"
    built = payload("--persona", mock / "sample_persona.json",
                    "--history", mock / "sample_history.json")  # fmt: skip
    persona = json.loads((mock / "sample_persona.json").read_text(encoding="utf-8"))
    assert built["persona"] == persona
    history = json.loads((mock / "sample_history.json").read_text(encoding="utf-8"))
    kept = [{k: v for k, v in line.items() if k != "timestamp"} for line in built["history"]]
    assert kept == [{k: v for k, v in line.items() if k != "timestamp"} for line in history]


def test_a_turn_with_card_and_lore_becomes_a_page(
    card: Path, lore: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = tmp_path / "turn.html"
    said = "등대에 폭풍이 와요."
    args = ["--persona", card, "--lore", lore, "--message", said, "--html", html]
    assert main([*map(str, args)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "폭풍은 사흘 간다." in shown and "lore/0.0" in shown
    page = html.read_text(encoding="utf-8")
    assert "http-equiv" in page and "<|im_start|>" not in page, "no markup comes from a text"
    data = page.split('id="turn-data">')[1].split("</script>")[0]
    response = json.loads(data)["response"]
    assert "등대의 불은 세라만 켠다." in response["meta"]["prompt"]["text"]


@pytest.mark.parametrize(
    ("option", "name", "content", "told"),
    [
        ("--persona", "x.png", card_png()[:40], "x.png: "),
        ("--persona", "x.json", b'{"name": "A", "speaks": 1}', "x.json: "),
        ("--lore", "x.json", b'{"a": 1}', "x.json: "),
        ("--lore", "x.json", json.dumps(CARD).encode()[:-2], "x.json: is not JSON"),
        ("--history", "x.jsonl", b"", ""),
        ("--history", "x.json", b'{"a": 1}', "x.json: is no character, lorebook or chat"),
        ("--html", "none/x.html", None, "x.html: cannot be written"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    option: str,
    name: str,
    content: bytes | None,
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code = main([option, str(path), "--json"])
    error = capsys.readouterr().err
    if told:
        assert code == 2 and error.startswith(f"error: {told}") and error.count("\n") == 1
        assert str(tmp_path) not in error
    else:
        assert code == 0, "an empty log is a chat that has not begun"


def test_the_examples_in_the_folder_are_cards_with_lore() -> None:
    from worker import characters

    for name in characters.names(ROOT / "characters"):
        persona, story = characters.load(name, ROOT / "characters")
        assert persona.name == name and len(story) == 4


def test_wrong_flags_are_refused() -> None:
    with pytest.raises(SystemExit):
        play(["--por", "1"])


def test_an_address_that_cannot_be_had_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert play(["--port", str(port)]) == 2
    assert play(["--host", "999.1.1.1"]) == 2
    out, told = capfd.readouterr()
    first, second = told.splitlines()
    assert first.startswith(f"error: port {port} of 127.0.0.1 cannot be had: Address already")
    assert "--port" in first
    assert "no such address" in second
    assert not out, "it does not say that it serves"
