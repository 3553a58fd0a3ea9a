"""A broken-off sentence goes, a finished one stays, however chats end their sentences."""

from __future__ import annotations

import pytest

from replies.edges import trim
from tests.replies.reading import parse_reply


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Hello there. I am goi", "Hello there."),
        ("안녕… 나는 오늘", "안녕…"),
        ("좋아~ 그럼 우리", "좋아~"),
        ("사랑해 ♡ 그래서 나", "사랑해 ♡"),
        ("ㅋㅋㅋ 진짜 어이", "ㅋㅋㅋ"),
        ("「안녕」 나는 그", "「안녕」"),
        ("*smiles* Hello I am", "*smiles*"),
        ("Yes! *nods* I really wan", "Yes! *nods*"),
        ("그랬어요\n그리고 나", "그랬어요"),
        ("Hi! I don’t", "Hi!"),
        ("“Yes.” And th", "“Yes.”"),
        ("No. I wo", "No."),
        ("1. Milk\n2. Eggs\n3. Br", "1. Milk\n2. Eggs"),
    ],
)
def test_removes_a_broken_off_sentence(text: str, kept: str) -> None:
    assert trim(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        *(
            "음… 그래…",
            "그래. 다 끝났어",
            "그래. 벌써 먹었니",
            "그래. 내가 그럴게",
            "그래. 그럴걸",
            "응. 정말 고마워",
            "가자. 아니",
            "응. 손잡고 가자",
            "좋다. ㅇㅇ",
            "行く。だね〜",
            "うん。うん",
            "Go. Wait—",
            "One. 1️⃣",
            "좋아. 가자~",
            "응. 사랑해♡",
            "봐. 『은빛숲』",
            "응. 밥 먹었어요",
            "응. 그랬다",
        ),
        *(
            "응. 왔어 😊",
            "응. ㅋㅋ",
            "응. ㅠㅠ",
            "응. 그렇지",
            "はい。えー",
            "Yes. (laughs)",
            "Yes. *nods*",
        ),
        *("Yes. “No.”", "Yes... No...", "응. 할게", "Hi. :)"),
    ],
)
def test_leaves_every_chat_ending_alone(text: str) -> None:
    assert trim(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("no end at all", "I don’t know wh", "pi is 3.14 and th", "She met Dr. Smi", "나는 오늘"),
        *(
            "I *really* want to s",
            "나는 『책』 을 읽",
            '그는 "인터스텔라"를 보',
            "… and th",
            "J. K. Row",
        ),
    ],
)
def test_never_trims_to_nothing_and_not_inside_a_sentence(text: str) -> None:
    assert trim(text) == text


def test_only_when_the_limit_broke_it_off() -> None:
    def read(reason: str) -> tuple[str, tuple[str, ...]]:
        reply = parse_reply(
            "그래. 나는 오늘",
            speaker="character",
            persona_names=("세라",),
            finish_reason=reason,  # type: ignore[arg-type]
        )
        return reply.text, reply.cuts

    assert read("stop") == ("그래. 나는 오늘", ())
    assert read("length") == ("그래.", ("unfinished",))
