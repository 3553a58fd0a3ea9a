"""Korean particles behind names, and which script a text is in."""

from __future__ import annotations

import pytest

from prompts.language import is_korean, josa


@pytest.mark.parametrize(
    ("name", "pair", "expected"),
    [
        ("세라", "은는", "세라는"),
        ("민준", "은는", "민준은"),
        ("민준", "이가", "민준이"),
        ("하늘", "으로", "하늘로"),
        ("민준", "으로", "민준으로"),
        ("세라", "으로", "세라로"),
        ("두리", "과와", "두리와"),
        ("강", "아야", "강아"),
        ("Kim", "을를", "Kim을"),
        ("Bell", "으로", "Bell로"),
        ("Sera", "이가", "Sera가"),
        ("Wang", "은는", "Wang은"),
        ("에이전트 7", "으로", "에이전트 7로"),
        ("에이전트 3", "은는", "에이전트 3은"),
        ("'별'", "이가", "'별'이"),
        ("하윤\u1100\u1161\u11a8", "이가", "하윤\u1100\u1161\u11a8이"),
    ],
)
def test_particles(name: str, pair: str, expected: str) -> None:
    assert josa(name, pair) == expected


@pytest.mark.parametrize(
    ("text", "korean"),
    [
        ("안녕", True),
        ("ㅋㅋㅋ", True),
        ("Sera와 Min의 이야기", True),
        ("Hi there, 세라", False),
        ("12!", False),
    ],
)
def test_script(text: str, korean: bool) -> None:
    assert is_korean(text) == korean
