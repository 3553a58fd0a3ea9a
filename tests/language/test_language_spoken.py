"""In which language somebody writes."""

from __future__ import annotations

import pytest

from language.spoken import names_language, spoken


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["안녕하세요"], "ko"),
        (["ㅇㅇ"], "ko"),
        (["LOL 진짜 웃기다"], "ko"),
        (["ok", "그럼 내일 봐요"], "ko"),
        (["Shall we go to the river?"], "en"),
        (["I'm tired of this, aren't you?"], "en"),
        (["세라, are you sure that we can go there tonight?"], "en"),
        (["ok"], ""),
        (["Mara!"], ""),
        (["*smiles*"], ""),
        (["Je ne sais pas où il est parti hier soir"], ""),
        (["No sé dónde está la llave del barco"], ""),
        (["Ich weiß nicht, wo der Schlüssel ist"], ""),
        (["どこへ行くの？"], "ja"),
        (["東京へ行きます"], "ja"),
        (["我们去哪里？"], "zh"),
        (["Куда мы идём?"], "ru"),
        ([], ""),
        (["!!!", "..."], ""),
        (["검은색이고 손잡이가 나무예요.", "Do you have my umbrella?"], "ko"),
        (["막배 떠났어?", "Is the last ferry gone already?"], "ko"),
        (["我想去海边看看", "Shall we go to the river?"], "zh"),
        (["민준!", "Is the last ferry gone already?"], "en"),
        (["ㅋㅋㅋㅋㅋㅋㅋㅋ", "Is the last ferry gone already?"], "en"),
        (["ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ that is so funny"], "en"),
        (["Is it gone? ㅠㅠㅠㅠㅠㅠㅠㅠ"], ""),
        (["ㅋㅋㅋ", "ㅇㅈ"], "ko"),
        (["Where is it? I can't see the door."] + ["어디 있지?"] * 9, "en"),
    ],
)
def test_the_language_of_a_speaker(lines: list[str], code: str) -> None:
    assert spoken(lines) == code


@pytest.mark.parametrize(
    "text",
    [
        "Always answer in English.",
        "Reply only in Korean",
        "Language: Japanese",
        "답변은 영어로 해 주세요.",
        "한국어로만 대답한다.",
        "Use French.",
    ],
)
def test_a_card_that_names_a_language(text: str) -> None:
    assert names_language(text)


@pytest.mark.parametrize(
    "text",
    [
        "An English teacher who lives in Seoul.",
        "Loves Korean food and French films.",
        "영어 선생님이다.",
        "A knight of the German order, in love with a Korean princess",
        "",
    ],
)
def test_a_card_that_names_none(text: str) -> None:
    assert not names_language(text)
