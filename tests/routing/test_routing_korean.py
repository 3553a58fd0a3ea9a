"""Korean: prose of deeds, promises, questions of the scene, and talk that looks like them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from benchmarks.routing import Learned, read_items
from graph.settings import ROOT
from routing import Line, RouterInput, decide, reading
from routing.decide import column_of
from routing.exemplars import labelled_texts

TURNS = tomllib.loads((Path(__file__).parent / "korean.toml").read_text(encoding="utf-8"))
SCENES = Path(__file__).parent / "scenes.ko.txt"
CHAT = (
    Line("character", "하늘", "어서 와. 오래 기다렸어?"),
    Line("user", "지안", "아니요, 방금 왔어요."),
    Line("character", "하늘", "*미소 짓는다* 그럼 다행이고. 앉아."),
)
MIXED = (
    Line("user", "지안", "그러게요."),
    Line("narrator", "내레이터", "골목 끝에서 바람이 불어온다. 가로등이 한 번 깜빡인다."),
    Line("character", "하늘", "방금 그거 봤어?"),
)
NARRATED = (
    Line("user", "지안", "골목으로 들어간다."),
    Line("narrator", "내레이터", "골목은 어둡고 축축하다. 멀리서 개 짖는 소리가 들린다."),
)


@pytest.fixture(scope="module")
def learned() -> Learned:
    return Learned()


@pytest.mark.parametrize(
    ("scene", "narrator", "character"),
    [(CHAT, 0.9, 0.97), (MIXED, 0.88, 0.97), (NARRATED, 0.97, 0.8)],
)
def test_most_turns_go_to_the_right_one_in_every_scene(
    scene: tuple[Line, ...], narrator: float, character: float, learned: Learned
) -> None:
    least = {"narrator": narrator, "character": character}
    for speaker, messages in TURNS.items():
        turns = [
            RouterInput(message, scene, character="하늘", user_name="지안") for message in messages
        ]
        right = [decide(*turn).speaker == speaker for turn in learned.with_vectors(turns)]
        assert sum(right) >= least[speaker] * len(right)


def test_in_scenes_of_many_genres_each_speaker_gets_most_of_their_turns(learned: Learned) -> None:
    items = read_items(SCENES)
    turns = learned.with_vectors([turn for turn, _ in items])
    right = [
        (decide(*turn).speaker == "narrator") is its
        for turn, (_, its) in zip(turns, items, strict=True)
    ]
    for narrator, least in ((True, 0.75), (False, 0.88)):
        of_one = [ok for ok, (_, its) in zip(right, items, strict=True) if its is narrator]
        assert len(of_one) > 50
        assert sum(of_one) >= least * len(of_one)


def test_what_is_measured_is_not_what_was_fitted_on() -> None:
    measured = {turn.message for turn, _ in read_items(SCENES)}
    measured |= {*TURNS["narrator"], *TURNS["character"]}
    fitted = {turn.message for turn, _ in read_items(ROOT / "lab" / "scenes.ko.txt")}
    assert measured & {*fitted, *labelled_texts("cjk")[0]} <= {"..."}


@pytest.mark.parametrize(
    ("message", "history", "column"),
    [
        ("문을 연다.", (), "korean"),
        ("...", (Line("character", "하늘", "왔어?"),), "korean"),
        ("...", (Line("character", "Mira", "Well?"),), "weight"),
        ("I ask 하늘.", (Line("narrator", "", "Rain."),), "korean"),
    ],
)
def test_korean_has_weights_of_its_own(
    message: str, history: tuple[Line, ...], column: str
) -> None:
    assert column_of(RouterInput(message, history)) == column


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("민지야, 이리 와.", "calls"),
        ("지훈아!", "calls"),
        ("혜정 씨, 잠깐만요.", "calls"),
        ("고마워요, 선배.", "calls"),
        ("아니요, 처음이에요.", "politely"),
        ("제가 하겠습니다.", "politely"),
        ("소인은 모르는 일이옵니다.", "politely"),
        ("아무래도 다시 가 봐야겠다.", "to_oneself"),
        ("이게 무슨 소리지?", "to_oneself"),
        ("벌써 봄인가.", "to_oneself"),
        ("헉, 늦었다.", "cries"),
        ("살았다!", "cries"),
        ("자, 출발!", "sets_out"),
        ("잠깐 나갔다 올게.", "sets_out"),
        ("그럼 안녕히 계세요.", "takes_leave"),
        ("그거 하지 마.", "second_person"),
        ("네가 그랬거든.", "second_person"),
    ],
)
def test_a_kind_of_korean_words_is_heard(text: str, kind: str) -> None:
    assert reading.shows(kind, reading.plain(text))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("장난이야!", "calls"),
        ("좋아, 해 보자.", "calls"),
        ("아니야, 괜찮아.", "calls"),
        ("문에 자물쇠가 있나요?", "politely"),
        ("마음에 들지 않으니까.", "politely"),
        ("술 한 병, 소면 하나.", "to_oneself"),
        ("끝까지.", "to_oneself"),
        ("그럴 줄 알았어.", "takes_leave"),
        ("더는 못 갑니다.", "sets_out"),
        ("너무 예쁘다.", "second_person"),
        ("너머에 성이 있다.", "second_person"),
    ],
)
def test_what_only_looks_like_a_kind_of_korean_words(text: str, kind: str) -> None:
    assert not reading.shows(kind, reading.plain(text))


@pytest.mark.parametrize(
    ("text", "acts", "prose"),
    [
        ("문을 열고 들어갔다.", True, True),
        ("칼을 뽑아 그림자를 향해 휘두른다!", True, True),
        ("밖으로 나갔다. 눈이 오는 길을 걸었다.", True, True),
        ("기다린다.", True, False),
        ("뭐 먹을 것 좀 사올게.", True, False),
        ("내가 다 말해 줄게.", False, False),
        ("내일 다시 올게.", False, False),
        ("나 오늘 시험 망했다.", False, False),
        ("어제는 재미있었다.", False, False),
        ("너를 사랑한다.", False, False),
        ("진짜 보고 싶었다.", False, False),
        ("여기 있다.", False, False),
        ("문을 열었어?", False, False),
    ],
)
def test_a_deed_a_promise_and_a_feeling(text: str, acts: bool, prose: bool) -> None:
    assert (reading.acts(text), reading.is_prose(text)) == (acts, prose)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("주위에 뭐가 보여?", True),
        ("그다음엔 어떻게 돼?", True),
        ("방 안에 누가 또 있어", True),
        ("장면을 자세히 묘사해 줘.", True),
        ("너희 집은 어떻게 생겼어?", False),
        ("그때 기분이 어땠어?", False),
        ("밖에 나가고 싶다.", False),
        ("왜 거기 있어?", False),
    ],
)
def test_what_asks_about_the_scene(text: str, asks: bool) -> None:
    assert reading.asks_scene(text) is asks


def test_a_word_that_only_begins_like_you_is_not_you() -> None:
    assert not reading.shows("second_person", "나는 그대로 잠이 들었다.")
    assert reading.shows("second_person", "그대를 기다렸소.")
