"""Korean words are cut so that the forms of one word meet, and different words do not."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from language.korean_terms import EMPTY, stems


@pytest.mark.parametrize(
    "forms",
    [
        # endings: plain, 반말, 존댓말, past, connective, adnominal, quoted
        "마셔 마시다 마셔요 마셨어 마셨습니다 마시고 마시면서 마신 마실 마시던 마신다며 마셨다고",
        "기다려 기다렸어요 기다릴게 기다리니까 기다린다고 기다리잖아 기다렸더라",
        "좋아하다 좋아해 좋아했어 좋아하는 좋아한다며 좋아하세요 좋아하시던 좋아했었지",
        "가르치다 가르쳐 가르쳤죠 가르치는 가르치려고 가르칠게요 가르치셨어요",
        # irregular stems
        "무섭다 무서워 무서웠어 무서운 무섭지만 무서울까",
        "부르다 불러 불렀어 부르는 부르고 부를게",
        "만들다 만들어 만들었어 만드는 만든 만들면서",
        "아프다 아파 아팠어요 아프고 아픈 아프잖아",
        "배우다 배워 배웠어 배우는 배우려고",
        # nouns: particles, copula, who is called
        "도서관 도서관이 도서관은 도서관을 도서관에서 도서관까지 도서관이었어 도서관이라며",
        "세라피나 세라피나는 세라피나가 세라피나에게서 세라피나한테 세라피나였어",
        "결혼 결혼했어 결혼하자 결혼을 결혼했다며",
        "편지 편지를 편지가 편지에서",
        "하니 하니가 하니는",
        "학년 학년이라고 학년이에요 학년이었죠 학년인데",
        "사과 사과를 사과는 사과였어 사과라도",
        # slips of the finger
        "기다렸어 기다렷어",
        "동아리였지 동아리엿지",
    ],
)
def test_the_forms_of_a_word_meet(forms: str) -> None:
    first, *others = forms.split()
    for other in others:
        assert set(stems(first)) & set(stems(other)), other
        assert stems(other)[0] in stems(first), (other, stems(other), stems(first))


@pytest.mark.parametrize(
    ("word", "stem"),
    [("먹었어", "먹"), ("먹는", "먹"), ("먹더라", "먹"), ("먹으면", "먹"), ("숲에서", "숲")],
)
def test_a_stem_may_be_one_syllable(word: str, stem: str) -> None:
    assert stems(word)[0] == stem


@pytest.mark.parametrize("word", ["가을", "아이", "나이", "사과", "효과", "국가", "종이"])
def test_what_only_looks_like_a_particle_stays(word: str) -> None:
    whole = stems(word)[-1]
    assert len(whole) == len(word)  # no particle agrees with what stands before it, or both stay


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("사과", "사고"),
        ("가을", "마을"),
        ("고기", "고양이"),
        ("무서워", "무거워"),
        ("영화", "영어"),
    ],
)
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert not {it for it in stems(one) if len(it) > 1} & set(stems(other))


@pytest.mark.parametrize(
    "said",
    [
        "뭐였지", "뭐였더라", "누구였지", "어디였더라", "언제였죠", "했더라", "했었지", "햇더라",
        "하셨죠", "그랬어", "있었어", "됐지", "아니야", "기억나", "나는", "저희", "그거", "이랬지",
    ],
)  # fmt: skip
def test_a_question_s_fillers_carry_no_topic(said: str) -> None:
    assert stems(said) == []


@example(word="으")
@example(word="으시")
@given(word=st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1))
def test_any_word_has_short_stems_or_is_empty(word: str) -> None:
    found = stems(word)
    assert len(found) <= 2
    assert all(0 < len(stem) <= len(word) for stem in found)
    assert word not in EMPTY or not found


@settings(max_examples=30)
@given(
    stem=st.sampled_from(["바닷가", "현관문", "자전거", "선생님", "하루카", "민준", "서윤"]),
    particle=st.sampled_from(
        ["에서", "한테", "까지", "부터", "처럼", "보다", "에게서", "하고", "밖에"]
    ),
    topic=st.sampled_from(["", "는", "도", "만"]),
)
def test_chains_of_particles_come_off(stem: str, particle: str, topic: str) -> None:
    assert set(stems(stem)) == set(stems(stem + particle + topic))


def test_a_word_without_end_takes_no_time() -> None:
    start = time.process_time()
    for syllable in ("가", "았", "를", "나"):
        assert stems(syllable * 50_000)
    assert time.process_time() - start < 2
