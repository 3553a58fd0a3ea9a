"""What is said, done, thought and told, in both house styles."""

from __future__ import annotations

import pytest

from schemas.request import Speaker
from schemas.response import ResponseContent
from tests.replies.reading import parse_reply

KINDS = {"narration": "N", "dialogue": "D", "action": "A", "thought": "T"}


def contents(raw: str, speaker: Speaker = "character") -> list[ResponseContent]:
    reply = parse_reply(raw, speaker=speaker, persona_names=("세라피나",), user_name="민준")
    assert "".join(content.text for content in reply.contents) == reply.text == raw
    return reply.contents


def pieces(raw: str, speaker: Speaker = "character") -> list[str]:
    return [f"{KINDS[c.type]} {c.text.strip()}" for c in contents(raw, speaker)]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("*She smiles* Hello. *waves*", ["A *She smiles*", "D Hello.", "A *waves*"]),
        ('"Hi," she said. "You?"', ['D "Hi,"', "N she said.", 'D "You?"']),
        ("“왔어?” 그녀가 물었다.", ["D “왔어?”", "N 그녀가 물었다."]),
        ("「왔어?」 그녀가 물었다. 『응』", ["D 「왔어?」", "N 그녀가 물었다.", "D 『응』"]),
        ("«Да», — сказала она.", ["D «Да»", "N , — сказала она."]),
        ('*웃는다* "왔어?" 바람이 분다.', ["A *웃는다*", 'D "왔어?"', "N 바람이 분다."]),
        ("그냥 말만 한다. 정말로.", ["D 그냥 말만 한다. 정말로."]),
        ('*He grins. "Hello!" he says.*', ["A *He grins.", 'D "Hello!"', "A he says.*"]),
        ('그녀가"안녕"하고 웃었다.', ["N 그녀가", 'D "안녕"', "N 하고 웃었다."]),
    ],
)
def test_house_styles(raw: str, expected: list[str]) -> None:
    assert pieces(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "I *really* mean it, **truly**. 2 * 3 * 4 = 24.",
        'We watched "Interstellar" together, and "The Tall Ship" too.',
        '어제 "인터스텔라"를 봤어.',
        "He is 6'2\" tall, she is 5'4\".",
        "Don't, it's rock 'n' roll, the dogs' bowl.",
        "List:\n* one\n* two",
        "snake_case and s*x, 씨* 뭐야.",
        "I have three (3) cats (all black) here.",
        "그는 '은빛숲'이라고 불렀어.",
    ],
)
def test_one_piece_where_nothing_is_marked(raw: str) -> None:
    assert pieces(raw) == [f"D {raw}"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("“응.” ‘왜 저러지?’ 그녀는 걸었다.", ["D “응.”", "T ‘왜 저러지?’", "N 그녀는 걸었다."]),
        ("'왜 저러지?' 응, 갈게.", ["T '왜 저러지?'", "D 응, 갈게."]),
        ("(속마음: 큰일이다) 응, 갈게.", ["T (속마음: 큰일이다)", "D 응, 갈게."]),
        ("(생각) 이 사람 뭐지?\n안녕하세요.", ["T (생각) 이 사람 뭐지?", "D 안녕하세요."]),
        ("*웃는다* (아, 망했다...) 응.", ["A *웃는다*", "T (아, 망했다...)", "D 응."]),
        ("*nods* _What does he want?_ Fine.", ["A *nods*", "T _What does he want?_", "D Fine."]),
        ('*Why now?* she thought. "Hi."', ["T *Why now?*", "N she thought.", 'D "Hi."']),
        ("(웃으며) 안녕.", ["A (웃으며)", "D 안녕."]),
        ("'Fine,' he wrote.", ["D 'Fine,' he wrote."]),
    ],
)
def test_thoughts_and_stage_directions(raw: str, expected: list[str]) -> None:
    assert pieces(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("*She smiles and walks\n\nHello.", ["A *She smiles and walks", "D Hello."]),
        ('"Wait, she said\nShe ran. "Go!"', ['D "Wait, she said', "N She ran.", 'D "Go!"']),
        ('*She smiles. "Hi." *waves*', ["A *She smiles.", 'D "Hi."', "A *waves*"]),
        ("“하나\n\n“둘” 그녀가 셌다.", ["D “하나", "D “둘”", "N 그녀가 셌다."]),
    ],
)
def test_a_mark_without_partner_ends_with_its_paragraph(raw: str, expected: list[str]) -> None:
    assert pieces(raw) == expected


def test_the_narrator_tells_what_the_character_would_say() -> None:
    assert pieces("비가 내린다. *문이 열린다*", "narrator") == ["N 비가 내린다.", "A *문이 열린다*"]
    assert pieces("비가 내린다.\n\n밤이다.", "narrator") == ["N 비가 내린다.", "N 밤이다."]
    assert {content.speaker for content in contents("비가 내린다.", "narrator")} == {"narrator"}


def test_speakers_spans_and_white_space() -> None:
    found = contents('"응."  \n\n바람이 분다.')
    assert [(c.speaker, c.text, c.span) for c in found] == [
        ("세라피나", '"응."  \n\n', (0, 8)),
        ("narrator", "바람이 분다.", (8, 15)),
    ]


def test_quotation_marks_inside_a_wrapped_reply_are_titles() -> None:
    reply = parse_reply(
        '"*smiles* We saw "The Tall Ship!" once."', speaker="character", persona_names=("Ada",)
    )
    assert [c.type for c in reply.contents] == ["action", "dialogue"]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("『달빛의 노래』를 읽던 참이었다. 「늦었네.」", ["narration", "dialogue"]),
        ("「은빛숲」에 간다. “같이 가자.”", ["narration", "dialogue"]),
        ("『月の歌』を読んでいた。「遅いよ。」", ["narration", "dialogue"]),
        ("“가자”는 그의 말에 웃었다.", ["dialogue", "narration"]),
        ("「괜찮아」라는 말을 들었다.", ["dialogue", "narration"]),
        ("「来た」という声がした。", ["dialogue", "narration"]),
        ('"왔어?"라고 물었다.', ["dialogue", "narration"]),
    ],
)
def test_a_title_with_a_particle_is_no_speech(text: str, kinds: list[str]) -> None:
    reply = parse_reply(text, speaker="character", persona_names=["세라"])
    assert [piece.type for piece in reply.contents] == kinds
