"""Korean: prose of deeds, promises, questions of the scene, and talk that looks like them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from embedding.onnx import OnnxEmbeddings
from routing import Line, RouterInput, decide, embed_exemplars, reading
from routing.decide import labelled_texts

TURNS = tomllib.loads((Path(__file__).parent / "korean.toml").read_text(encoding="utf-8"))
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


@pytest.mark.parametrize(
    ("scene", "narrator", "character"),
    [(CHAT, 0.68, 0.97), (MIXED, 0.9, 0.97), (NARRATED, 0.95, 0.9)],
)
def test_most_turns_go_to_the_right_one_in_every_scene(
    scene: tuple[Line, ...], narrator: float, character: float
) -> None:
    embedder = OnnxEmbeddings()
    exemplars = embed_exemplars(embedder.encode)
    least = {"narrator": narrator, "character": character}
    for speaker, messages in TURNS.items():
        turns = [
            RouterInput(message, scene, character="하늘", user_name="지안", vector=vector)
            for message, vector in zip(messages, embedder.encode(messages), strict=True)
        ]
        right = [decide(turn, exemplars).speaker == speaker for turn in turns]
        assert sum(right) >= least[speaker] * len(right)


def test_none_of_them_is_an_exemplar() -> None:
    assert not set(labelled_texts()[0]) & {*TURNS["narrator"], *TURNS["character"]}


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


@pytest.mark.parametrize("text", ["계속", "계속 진행해 주세요.", "이어서 해 줘", "진행해줘"])
def test_a_request_to_go_on(text: str) -> None:
    assert reading.is_continue(text)


def test_a_word_that_only_begins_like_you_is_not_you() -> None:
    assert not reading.shows("second_person", "나는 그대로 잠이 들었다.")
    assert reading.shows("second_person", "그대를 기다렸소.")
