"""The sentences that are told as reasons are true of the turn, in both languages.

The lines and messages below carry by hand what is true of them; what the router says of a turn is
compared with that, over every scene that can be made of the lines, from none to twelve.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest

from graph.settings import ROOT
from routing import Contribution, Exemplars, Line, RouterInput, decide
from routing.decide import load_weights

TRUE_OF_LINES: dict[Line, str] = {
    Line("narrator", "", "Rain falls on the harbour."): "",
    Line("narrator", "", "You smell smoke from below."): "to_you",
    Line("narrator", "", "당신은 연기 냄새를 맡는다."): "to_you",
    Line("narrator", "", "Now the dice decide: a saving throw."): "rules",
    Line("narrator", "", "The rain goes on over the roofs. " * 10): "long",
    Line("narrator", "", 'The innkeeper looks up. "A room, then."'): "person",
    Line("narrator", "", "문이 열린다. “누구요?”"): "person asked",
    Line("narrator", "", 'Is it late? "Go home."'): "person asked",
    Line("narrator", "Fate", "The wind turns."): "",
    Line("character", "Mira", "The lamp is old."): "",
    Line("character", "Mira", "Is the lamp old?"): "asks",
    Line("character", "하늘", "어디 가?"): "asks",
    Line("character", "Tom", "You look tired."): "to_you",
    Line("user", "Robin", "Good evening."): "",
    Line("user", "Robin", "I open the door."): "acts",
    Line("user", "지안", "문을 연다."): "acts",
    Line("user", "Robin", "Perception, a twelve."): "rules",
}
TRUE_OF_MESSAGES = {
    "": "nothing",
    "…": "nothing",
    "계속해 줘": "nothing you",
    "*I open the door.*": "only_action acts",
    "(천천히 다가간다)": "only_action acts to_nobody",
    "*손을 흔든다* 안녕.": "talk you",
    "문을 열고 안으로 들어갔다.": "acts prose to_nobody sets_out",
    'I whisper "hello" and open the door.': "acts act_and_speech",
    "What do I see?": "asks_scene asks_scene_not_you asks_scene_last question",
    "주변에 뭐가 보여?": "asks_scene asks_scene_not_you asks_scene_last question",
    "What is in your bag?": "asks_scene question you",
    "Describe the room.": "asks_scene asks_scene_not_you asks_scene_last",
    "She left it.": "third_person",
    "I roll a d20.": "acts rules",
    "14.": "score",
    "Thanks, you are kind!": "talk you exclaims",
    "Mira, wait.": "name",
    "여러분, 안녕.": "name talk you",
    "Let's eat together.": "plans",
    "Later, at the docks.": "moves",
    "다음 날 아침.": "moves to_nobody",
    "고마워.": "talk you",
    "그럼 안녕히.": "talk to_nobody takes_leave",
    "너는?": "you question",
    "Fate, be kind.": "name fate",
    "Good evening.": "",
    'I say "good evening" to Tom.': "acts act_and_speech",
    '"Good evening."': "",
    "“안녕.” 문이 열렸다.": "to_nobody",
    "누가 왔나 봅니다.": "politely",
    "이제 자야겠다.": "to_nobody to_oneself",
    "앗, 차가워!": "to_nobody cries exclaims",
    "그럼 출발!": "to_nobody sets_out talk exclaims",
}


class Case(NamedTuple):
    """A turn, what is true of its lines and its message by hand, and what it resembles."""

    lines: list[Line]
    message: str
    like: float | None
    near_trigger: bool

    @property
    def near(self) -> list[Line]:
        return self.lines[-5:]

    def last(self, role: str, *signs: str) -> bool:
        """The last line is of this role and has all the signs."""
        return bool(self.lines) and self.has(self.lines[-1], *signs) and self.lines[-1].role == role

    def told(self) -> set[str]:
        """The signs of the latest narration among the last five lines."""
        narrated = [line for line in self.near if line.role == "narrator"]
        return set(TRUE_OF_LINES[narrated[-1]].split()) if narrated else set()

    def says(self, sign: str) -> bool:
        return sign in TRUE_OF_MESSAGES[self.message].split()

    def answers(self) -> int:
        """How many more answers to the user are the narrator's than a person's."""
        pairs = [(a, b) for a, b in itertools.pairwise(self.lines) if a.role == "user" != b.role]
        narrated = sum(b.role == "narrator" and not self.has(b, "person") for _, b in pairs)
        return 2 * narrated - len(pairs)

    @staticmethod
    def has(line: Line, *signs: str) -> bool:
        return set(signs) <= set(TRUE_OF_LINES[line].split())


def some(lines: list[Line], role: str, *signs: str) -> bool:
    return any(line.role == role and any(Case.has(line, sign) for sign in signs) for line in lines)


Claim = tuple[str, str, Callable[[Case], bool]]
ABOVE: dict[str, Claim] = {
    "scene_narrator_recent": (
        "the narrator spoke in one of the last lines", "최근 대화에 내레이터의 서술이 있다",
        lambda c: any(line.role == "narrator" for line in c.near)),
    "scene_narrator_share": (
        "some of the lines before are the narrator's", "앞선 대화에 내레이터의 서술이 있다",
        lambda c: any(line.role == "narrator" for line in c.lines)),
    "scene_narrator_to_you": (
        "the last line is narration and speaks to the player",
        "마지막 메시지가 유저에게 말을 거는 서술이다", lambda c: c.last("narrator", "to_you")),
    "scene_narrator_long": (
        "the last line is long narration", "마지막 메시지가 긴 서술이다",
        lambda c: c.last("narrator", "long")),
    "scene_person_last": (
        "the last line is narration in which a person speaks",
        "마지막 메시지가 인물의 대사가 있는 서술이다", lambda c: c.last("narrator", "person")),
    "scene_person_asks": (
        "the last line is narration in which a person speaks and something is asked",
        "마지막 메시지가 인물의 대사와 질문이 있는 서술이다",
        lambda c: c.last("narrator", "person", "asked")),
    "scene_person_near": (
        "a person speaks in the latest narration", "가장 최근 서술에 인물의 대사가 있다",
        lambda c: "person" in c.told()),
    "scene_character_asks": (
        "a character has just asked something", "캐릭터가 방금 질문했다",
        lambda c: c.last("character", "asks")),
    "scene_character_to_you": (
        "a character has just spoken to somebody directly", "캐릭터가 방금 상대에게 말을 걸었다",
        lambda c: c.last("character", "to_you")),
    "scene_game": (
        "the narration speaks to the player or of rules, as in a game",
        "서술이 게임처럼 플레이어에게 말을 걸거나 규칙을 말한다",
        lambda c: some(c.lines, "narrator", "to_you", "rules")),
    "scene_rules": (
        "the last lines speak of dice or rules", "최근 대화에 주사위나 규칙 이야기가 있다",
        lambda c: any(Case.has(line, "rules") for line in c.near)),
    "scene_actions": (
        "somebody acts in the last lines", "최근 대화에서 누군가 행동한다",
        lambda c: some(c.near, "user", "acts")),
    "scene_voices": (
        "one character or more spoke in the last lines", "최근 대화에서 캐릭터가 말했다",
        lambda c: any(line.role == "character" for line in c.near)),
    "scene_user_share": (
        "some of the last lines are the user's", "최근 대화에 유저의 말이 있다",
        lambda c: any(line.role == "user" for line in c.near)),
    "scene_user_then_narrator": (
        "the last two lines are the user's and the narrator's",
        "유저의 말에 내레이터가 방금 답했다",
        lambda c: [line.role for line in c.lines[-2:]] == ["user", "narrator"]),
    "scene_user_answered_by_narrator": (
        "the narrator answered the user more often than a person did",
        "유저의 말에 인물보다 내레이터가 더 자주 답했다", lambda c: c.answers() > 0),
    "says_nothing": (
        "the message says nothing, or only to go on", "아무 말도 없거나 계속하라는 말뿐이다",
        lambda c: c.says("nothing")),
    "says_only_action": (
        "the message is only an action, without speech", "대사 없이 행동뿐이다",
        lambda c: c.says("only_action")),
    "says_prose": (
        "the message is Korean prose of deeds, an action without asterisks",
        "별표 없이 소설처럼 쓴 행동이다", lambda c: c.says("prose")),
    "says_acts": (
        "the message declares an action", "어떤 행동을 한다고 썼다", lambda c: c.says("acts")),
    "says_act_and_speech": (
        "the message declares an action and holds speech", "행동과 대사가 함께 있다",
        lambda c: c.says("act_and_speech")),
    "says_asks_scene": (
        "the message asks about surroundings, time or rules, or to be told",
        "주변이나 시간, 규칙을 묻거나 이야기를 들려 달라고 한다", lambda c: c.says("asks_scene")),
    "says_asks_scene_not_you": (
        "it asks about the scene and speaks to nobody directly",
        "특정 상대 없이 장면을 질문한다", lambda c: c.says("asks_scene_not_you")),
    "says_asks_scene_last": (
        "what it asks in the end is about the scene", "마지막 질문이 장면에 관한 것이다",
        lambda c: c.says("asks_scene_last")),
    "says_third_person": (
        "the message speaks of somebody or something else", "다른 사람이나 사물 이야기를 한다",
        lambda c: c.says("third_person")),
    "says_question": (
        "the message asks something", "질문이다", lambda c: c.says("question")),
    "says_rules": (
        "the message speaks of dice or rules", "주사위나 규칙을 언급한다",
        lambda c: c.says("rules")),
    "says_score": (
        "the message gives a number, as a die shows it", "주사위 눈 같은 숫자를 말한다",
        lambda c: c.says("score")),
    "says_you": (
        "the message speaks to somebody directly", "상대에게 말을 건다",
        lambda c: c.says("you")),
    "says_name": (
        "the message calls somebody, by name or as a company",
        "누군가의 이름을 부르거나 여럿을 한꺼번에 부른다", lambda c: c.says("name")),
    "says_plans": (
        "the message says we, or proposes something", "‘우리’라고 하거나 무언가를 제안한다",
        lambda c: c.says("plans")),
    "says_talk": (
        "the message has words of talk: thanks, opinions, excuses",
        "감사, 의견, 핑계처럼 대화에서 쓰는 말이 있다", lambda c: c.says("talk")),
    "says_moves": (
        "the message moves place or time", "장소를 옮기거나 시간을 넘긴다",
        lambda c: c.says("moves")),
    "says_exclaims": ("the message exclaims", "느낌표를 썼다", lambda c: c.says("exclaims")),
    "says_politely": (
        "the message has polite Korean endings, which are said to somebody",
        "상대에게 쓴 존댓말이다", lambda c: c.says("politely")),
    "says_to_nobody": (
        "the Korean message asks nothing and speaks to nobody directly",
        "질문도 아니고 누구에게 거는 말도 아니다", lambda c: c.says("to_nobody")),
    "says_to_oneself": (
        "the message is as one speaks to oneself, or is not said to its end",
        "혼잣말이거나 끝맺지 않은 말이다", lambda c: c.says("to_oneself")),
    "says_cries": (
        "the message is a cry or begins with one", "짧은 외침이거나 외침으로 시작한다",
        lambda c: c.says("cries")),
    "says_sets_out": (
        "the message sets out, begins, ends or commands something",
        "길을 나서거나, 무언가를 시작하거나 끝내거나 시키는 말이다", lambda c: c.says("sets_out")),
    "says_takes_leave": (
        "the message consents or says goodbye, and asks nothing",
        "승낙이나 작별 인사이고 질문이 없다", lambda c: c.says("takes_leave")),
    "says_near_trigger": (
        "the message is near the next story event", "다음 사건과 가까운 내용이다",
        lambda c: c.near_trigger),
    "says_like_exemplars": (
        "the message resembles calls for narration more than talk",
        "대화보다 서술을 바라는 말에 가깝다", lambda c: (c.like or 0) > 0),
    "both_nobody_narrates": (
        "no line before is the narrator's", "앞선 대화에 내레이터의 서술이 없다",
        lambda c: bool(c.lines) and not any(line.role == "narrator" for line in c.lines)),
    "both_names_narrator": (
        "the message names the narrator", "내레이터의 이름을 언급한다",
        lambda c: c.says("fate") and any(line.speaker == "Fate" for line in c.lines)),
    "both_question_to_person": (
        "the message asks something, and a person speaks in the latest narration",
        "질문이고, 가장 최근 서술에 인물의 대사가 있다",
        lambda c: c.says("question") and "person" in c.told()),
    "both_you_to_person": (
        "the message speaks to somebody, and a person speaks in the latest narration",
        "상대에게 말을 걸고, 가장 최근 서술에 인물의 대사가 있다",
        lambda c: c.says("you") and "person" in c.told()),
}  # fmt: skip
BELOW: dict[str, Claim] = {
    "scene_user_answered_by_narrator": (
        "a person answered the user more often than the narrator did",
        "유저의 말에 내레이터보다 인물이 더 자주 답했다", lambda c: c.answers() < 0),
    "says_like_exemplars": (
        "nothing shows the message nearer to calls for narration than to talk",
        "서술을 바라는 말로 볼 근거가 없다", lambda c: (c.like or 0) <= 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def korean() -> dict[str, list[str]]:
    """The page's sentences of each feature: above 0 and, where there are two, below."""
    text = (ROOT / "play/page.js").read_text(encoding="utf-8")
    table = text.split("const KO_EVIDENCE = {")[1].split("\n};")[0]
    rows = re.findall(r'^  (\w+): (".*?"|\[.*?\]),$', table, re.MULTILINE | re.DOTALL)
    return {name: re.findall('"(.*?)"', sentences) for name, sentences in rows}


def cases() -> Iterator[Case]:
    """Every scene of up to three lines with a few messages, every message in a few scenes, and
    long scenes by chance; near and far from the story, and with every likeness."""
    lines, messages, draw = list(TRUE_OF_LINES), list(TRUE_OF_MESSAGES), random.Random(1)
    scenes = [list(scene) for n in (0, 1, 2) for scene in itertools.product(lines, repeat=n)]
    scenes += [draw.choices(lines, k=draw.randint(3, 12)) for _ in range(400)]
    for row, scene in enumerate(scenes):
        for message in (messages[row % len(messages)], "What do I see?", "너는?"):
            yield Case(scene, message, (None, 1.0, -1.0)[row % 3], row % 2 == 0)
    for message, scene in itertools.product(messages, scenes[:: len(scenes) // 20]):
        yield Case(scene, message, None, False)


def decided(case: Case, *, game: bool) -> tuple[str, list[Contribution], str]:
    same = np.ones((20, 2), dtype=np.float32)
    exemplars = Exemplars(same, np.full(20, case.like or 0.0, dtype=np.float32))
    decision = decide(
        RouterInput(
            case.message, case.lines, character="Mira", narrator_plays_people=game,
            vector=None if case.like is None else same[0],
            trigger_similarity=0.9 if case.near_trigger else 0.1,
        ),
        exemplars,
    )  # fmt: skip
    return decision.speaker, decision.evidence, decision.reason


def test_every_sentence_that_is_told_is_true(korean: dict[str, list[str]]) -> None:
    told: set[tuple[str, bool, bool]] = set()
    for case, game in itertools.product(cases(), (False, True)):
        speaker, evidence, reason = decided(case, game=game)
        for found in evidence:
            english, sentence, is_true = (ABOVE if found.value > 0 else BELOW)[found.name]
            assert found.about == english
            assert korean[found.name][found.value < 0] == sentence
            assert is_true(case), (english, case)
            told.add((found.name, found.value > 0, game))
        spoken = reason.split(": ", 1)[1]
        for found in evidence:
            if f"{found.about} (" in spoken:
                assert (found.contribution > 0) == (speaker == "narrator"), reason
    assert told == {
        (name, above, game)
        for above, claims in ((True, ABOVE), (False, BELOW))
        for name in claims
        for game in (False, True)
    }


def test_no_feature_lacks_a_sentence_for_a_sign_that_it_may_have() -> None:
    rows = load_weights()
    assert set(ABOVE) == rows.keys() - {"bias"}
    assert {name for name, row in rows.items() if "about_below_0" in row} == set(BELOW)


def test_in_a_chat_that_has_just_begun_nobody_has_been_answering() -> None:
    for lines in ([], [Line("character", "Mira", "The lamp is old.")]):
        reason = decided(Case(lines, "고마워.", None, False), game=False)[2]
        assert "answer" not in reason


def test_where_something_calls_for_the_narrator_and_too_little_that_is_what_is_told() -> None:
    speaker, evidence, reason = decided(Case([], "Good evening.", 1.0, False), game=False)
    assert [found.name for found in evidence] == ["says_like_exemplars"]
    assert evidence[0].contribution > 0 and speaker == "character"
    assert reason.endswith("too little calls for the narrator")
