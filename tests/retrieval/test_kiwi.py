"""The extra analyser cuts Korean in its context; without its package the start says what to do."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graph.pipeline import Pipeline
from graph.services import analyzer_of, make_services
from graph.settings import Settings
from retrieval.text import RULES, tokens, weights
from schemas.errors import SettingsError


def test_a_missing_package_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(SettingsError, match=r"IYAGI_KOREAN=kiwi .*`make kiwi`"):
        make_services(Settings(index_dir=tmp_path, korean="kiwi"))


@pytest.mark.kiwi
class TestKiwi:
    """With the package."""

    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("kiwipiepy")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("할머니께서 반지를 주셨어", "반지 준 사람"),  # 주셨어 and 준: a syllable of a stem
            ("강가를 걸었지", "같이 걷던 날"),
            ("도서관이었는데", "도서관에서만"),
            ("나는 London에 살았어", "London 생활"),
        ],
    )
    def test_forms_of_a_word_meet(self, one: str, other: str) -> None:
        kiwi = analyzer_of("kiwi")
        assert set(tokens(one, kiwi)) & set(tokens(other, kiwi))

    def test_what_has_no_topic_is_left_out(self) -> None:
        kiwi = analyzer_of("kiwi")
        assert tokens("그거 뭐였더라?", kiwi) == []
        assert weights("그때 등대에서", kiwi) == {"등대": 1.0}

    def test_other_languages_are_cut_by_rules(self) -> None:
        kiwi = analyzer_of("kiwi")
        for text in ("The lighthouses were burning.", "灯台で待っていた", "Огни маяка", ""):
            assert tokens(text, kiwi) == tokens(text, RULES)

    def test_threads_share_it(self) -> None:
        kiwi = analyzer_of("kiwi")
        lines = [f"{n}번 등대에서 반지를 찾았어" for n in range(200)]
        expected = [tokens(line, kiwi) for line in lines]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda line: tokens(line, kiwi), lines)) == expected

    async def test_a_chat_is_searched_and_remembered_with_it(self, tmp_path: Path) -> None:
        settings = Settings(index_dir=tmp_path, korean="kiwi", standing_memory=True)
        pipeline = Pipeline(make_services(settings))
        who = {"persona": {"name": "세라"}, "user_id": "u", "session_id": "s"}
        said = {"role": "user", "content": "강가를 걸었지. 물이 참 맑더라."}
        others = [{"role": "character", "content": f"오늘은 {n}시에 밥을 먹자."} for n in range(99)]
        await pipeline.chat({**who, "message": "안녕?", "history": [said, *others]})
        await pipeline.drain()
        answer = await pipeline.chat({**who, "message": "같이 걷던 곳이 어디였지?"})
        await pipeline.drain()
        assert said["content"] in [found["text"] for found in answer["retrieved"]]
        files = [file.name for file in tmp_path.glob("words*.sqlite")]  # noqa: ASYNC240
        assert files == ["words-kiwi.sqlite"]  # no file holds the terms of two analysers
