"""`python -m benchmarks.replies`: the hard cases pass, and the figures see what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import replies as benchmark
from replies.reply import StreamReader
from schemas.response import ParsedReply
from tests.replies.reading import cast_of

HARD = Path(benchmark.__file__).with_name("hard.reply.jsonl")


def test_the_hard_cases_pass(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main([str(HARD), "--json"])
    figures = json.loads(capsys.readouterr().out)["hard.reply.jsonl"]
    assert figures.pop("us_p50") > 0
    assert figures.pop("n") >= 60
    assert figures == {"impersonation_left": 0, "own_tag_left": 0, "overcut": 0, "empty": 0}


def test_the_hard_cases_stream_as_they_are_read() -> None:
    for item in benchmark.load(HARD):
        reader = StreamReader(cast_of("character", [item["character"]], item["user"]))
        events = [event for character in item["raw"] for event in reader.feed(character)]
        last, reply = reader.finish()
        shown = "".join(part for part in [*events, *last] if isinstance(part, str))
        assert shown == ("" if reply.regenerate else item["expected"] or reply.text), item["id"]


def test_the_figures_see_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_read", lambda item: ParsedReply(text=item["raw"]))
    common = {"user": "민준", "character": "세라", "impersonates": False, "own_tag": False}
    items = [
        {**common, "raw": "응.\n**민준** : 응.", "impersonates": True, "expected": None},
        {**common, "raw": "세라: 응.", "own_tag": True, "expected": "응."},
        {**common, "raw": "", "expected": ""},
    ]
    figures = benchmark.measure(items)
    assert [figures[key] for key in ("impersonation_left", "own_tag_left")] == [1, 1]
    assert [figures[key] for key in ("overcut", "empty")] == [0.5, pytest.approx(1 / 3, abs=1e-5)]
