"""The benchmark of worker affinity, in small."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks.affinity import BLOCK, RESUMING, Asked, Balancer, Worker, main

SMALL = ["--chats", "6", "--turns", "12", "--context", "3072", "--cache", "9000", "--json"]


def text(start: int, tokens: int) -> str:
    return " ".join(f"w{number}" for number in range(start, start + tokens))


def rows(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, dict[str, float]]:
    main([*SMALL, *args])
    found: dict[str, dict[str, float]] = json.loads(capsys.readouterr().out)
    return found


def test_a_worker_reuses_whole_blocks_and_computes_the_last_token() -> None:
    worker = Worker(room=100, slots=1)
    assert worker.read(Asked.of(text(0, 40), text(100, 8))) == 0
    assert worker.read(Asked.of(text(0, 40), text(200, 8))) == 2 * BLOCK
    assert worker.read(Asked.of(text(0, 2 * BLOCK), "")) == BLOCK, "32 tokens, the last computed"
    assert worker.read(Asked.of(f"other {text(0, 40)}", "")) == 0, "a block stands for all before"
    reply = f"{text(0, 40)} {text(100, 8)} {text(300, 8)}"
    assert worker.read(Asked.of(reply, "")) == 3 * BLOCK, "what it wrote it has cached, too"


def test_a_full_worker_drops_the_end_of_the_prompt_unused_longest() -> None:
    worker = Worker(room=4, slots=1)
    worker.read(Asked.of(text(0, 3 * BLOCK), ""))
    worker.read(Asked.of(text(900, 2 * BLOCK), ""))
    assert len(worker.cache) == 4
    assert worker.read(Asked.of(text(0, 3 * BLOCK + 1), "")) == 2 * BLOCK


def balancer(slots: int = 1) -> Balancer:
    return Balancer([Worker(10, slots) for _ in range(2)], random.Random(0))


def test_a_worker_without_room_is_left_or_waited_for() -> None:
    two = balancer()
    two.workers[0].ends.append(7.0)
    assert two.route(None, "none", 1.0) == two.route(0, "soft", 1.0) == (1, 1.0)
    assert two.route(0, "strict", 1.0) == two.route(0, "strict-resume", 1.0) == (0, 7.0)
    two.workers[1].ends.append(9.0)
    assert two.route(1, "soft", 2.0) == (0, 7.0), "none has room: the first that will"
    assert two.route(0, "soft", 8.0) == (0, 8.0)
    assert two.refused == two.resumed == 0


def test_a_worker_that_is_away_is_left_refused_or_started() -> None:
    two = balancer()
    two.workers[0].read(Asked.of(text(0, 40), ""))
    two.workers[0].scale_down()
    assert not two.workers[0].cache
    assert (two.route(0, "soft", 1.0), two.refused) == ((1, 1.0), 0)
    assert (two.route(0, "strict", 1.0), two.refused) == ((1, 1.0), 1)
    assert two.route(0, "strict-resume", 1.0) == (0, 1.0 + RESUMING)
    assert two.route(0, "soft", 2.0) == (1, 2.0), "it is not ready yet"
    assert (two.route(0, "strict", 90.0), two.refused, two.resumed) == ((0, 90.0), 1, 1)


def test_a_chat_that_returns_finds_its_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, "--workers", "1", "4")
    best = found.pop("one cache")["cached"]
    assert all(row["cached"] <= best for row in found.values())
    assert found["4, soft"]["cached"] > found["4, none"]["cached"] + 0.2
    assert found["4, soft"]["cached"] > best - 0.02, "what one worker cannot hold four can"
    assert found["1"]["cached"] < best - 0.1
    assert found["4, none"]["computed"] > 1.5 * found["4, soft"]["computed"]


def test_what_each_kind_costs_when_a_worker_goes(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, "--workers", "4")
    soft, strict, resume = (found[f"4, {name}"] for name in ("soft", "strict", "strict-resume"))
    assert soft["cached'"] < soft["cached"]
    assert (soft["refused"], soft["wait_most"]) == (0, 0)
    assert strict["refused"] > 0 == strict["wait_most"]
    assert (resume["refused"], resume["resumed"], resume["wait_most"]) == (0, 1, RESUMING)


@pytest.mark.parametrize("balance", ["random", "turns"])
def test_the_same_seed_gives_the_same_figures(
    capsys: pytest.CaptureFixture[str], balance: str
) -> None:
    args = ("--workers", "3", "--turns", "6", "--balance", balance, "--seed")
    first, again, other = (rows(capsys, *args, seed) for seed in ("1", "1", "2"))
    assert first == again != other


def test_chats_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"id": f"m{row}", "speaker": ("Ann", "Ben")[row % 2], "text": f"Day {row}, and rain."}
        for row in range(20)
    ]
    file = tmp_path / "some.chat.jsonl"
    file.write_text(json.dumps({"id": "x", "messages": lines, "queries": []}))
    main([str(file), "--chats", "2", "--turns", "9", "--workers", "2"])
    heading, *table = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["cached", "computed", "p95"]
    assert [line.split()[:2] for line in table[1:]] == [
        ["2,", kind] for kind in ("none", "soft", "strict", "strict-resume")
    ]


def test_numbers_that_make_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--workers", "4", "0"])
    assert "--workers" in capsys.readouterr().err
