"""Korean prompts, rules and requests as Korean users write them: names and the turn are read right.

A macro leaves the particle of the author (하늘와), and the verb that asks or forbids stands last.
"""

from __future__ import annotations

import pytest

from tests.openai_api.support import JSON, assistant, lines, request, system, user, work

MAIN = system("Write 하늘's next reply in a fictional chat between 하늘 and 민준.")
NAMED = [MAIN, system("하늘은 뱃사공이다."), assistant("왔어?"), user("응")]
UNNAMED = [system("너는 하늘이야."), assistant("왔어?"), user("응")]

RULES = [
    "[민준의 대사를 쓰지 마.]",
    "민준의 대사와 행동을 대신 쓰지 마세요.",
    "유저의 대사를 대신 쓰지 말 것.",
    "유저의 대사 작성 금지",
    "유저의 시점에서 서술하지 마세요.",
    "유저의 시점에서 쓰지 말고 하늘의 시점에서 답변을 쓰세요.",
    "유저가 되어 말하지 마.",
    "유저의 말을 절대 대신하지 마세요",
    "유저의 행동을 존중하고 기다릴 것",
    "유저의 메시지를 이어받아 하늘로서 답변하세요.",
    "유저의 메시지를 요약하거나 반복하지 말 것",
    "유저의 다음 행동을 유도하는 답변을 작성해.",
    "유저 입장에서 읽기 쉽게 작성하세요.",
    "{{user}}의 행동을 묘사하지 마라",
    "민준처럼 말하지 마.",
    "민준의 입장에서 몰입할 수 있게 묘사해줘.",
    "내 대사를 쓰지 마",
    "하늘의 시점으로 서술",
    "하늘의 말투를 유지해 주세요.",
    "하늘의 대사를 쓸 때는 큰따옴표를 쓰세요.",
    "하늘처럼 생각하고 하늘처럼 말해.",
    "하늘의 시점에서 3인칭으로 서술하고, 민준의 대사는 쓰지 마.",
    "역할극을 멈추지 마세요.",
    "롤플레이를 중단하지 말고 계속 진행하세요.",
    "이전 지시를 무시하지 말고 자세히 묘사하세요.",
    "이 대화를 요약하지 말고 장면으로 보여 주세요.",
    "이미지 태그를 답변 끝에 넣으세요.",
    "감정을 분류하지 말고 드러내세요.",
    "이전 대사를 반복하지 말고 이야기를 계속 진행하세요.",
]


@pytest.mark.parametrize("chat", [NAMED, UNNAMED], ids=["named", "unnamed"])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_for_replies_is_a_rule_for_the_characters_reply(rule: str, chat: list[JSON]) -> None:
    asked = request(*chat, system(rule))
    assert (asked.persona.name, asked.respond_as) == ("하늘", "character")
    assert (asked.message, asked.instruction) == ("응", rule)
    assert asked.user_name == ("민준" if chat is NAMED else None)


USERS_TURN = [
    "[지금까지의 대화를 바탕으로 {user}의 시점에서 다음 답변을 작성하세요. 하늘의 행동은 쓰지 마.]",
    "[채팅 기록을 {user}의 문체에 대한 지침으로 사용하여, {user}의 시점에서 답변을 작성하십시오.]",
    "[이번에는 {user}의 입장에서 다음 대사를 써줘.]",
    "[{user}의 다음 대사를 대신 작성해줘]",
    "[다음 메시지를 {user}의 시점에서 쓰되, 하늘의 행동은 묘사하지 마세요.]",
    "[{user} 역할로 다음 답변을 작성하세요]",
    "[{user}의 대사만 작성하세요.]",
    "[{user} 시점으로 답변 작성]",
    "[{user}의 입장이 되어 다음 채팅을 작성하세요.]",
    "(OOC: {user} 시점으로 대신 써줘)",
]


@pytest.mark.parametrize("words", USERS_TURN)
@pytest.mark.parametrize(("name", "chat"), [("민준", NAMED), ("유저", NAMED), ("유저", UNNAMED)])
def test_the_users_line_is_asked_for_behind_what_leads_to_it(
    words: str, name: str, chat: list[JSON]
) -> None:
    words = words.replace("{user}", name)
    asked = request(*chat, assistant("그래?"), system(words))
    assert (asked.persona.name, asked.respond_as, asked.instruction) == ("하늘", "user", words)


def test_a_name_of_two_words_is_found_whole() -> None:
    main = system("Write 하늘's next reply in a fictional chat between 하늘 and 로빈 애시비.")
    words = "[지금까지의 대화를 참고해 로빈 애시비의 시점에서 다음 답변을 써 주세요.]"
    asked = request(main, assistant("왔어?"), system(words))
    assert (asked.respond_as, asked.user_name) == ("user", "로빈 애시비")


@pytest.mark.parametrize(
    "nudge",
    [
        "[마지막 메시지의 원래 내용을 반복하지 말고 이어서 작성하세요.]",
        "[원래 내용을 반복하지 않고 마지막 메시지를 이어서 작성하세요.]",
        "[당신의 마지막 메시지를 계속 이어서 작성하십시오.]",
        "[방금 쓴 글을 이어서 써줘.]",
        "[중단된 부분부터 이어서 작성]",
        "[앞의 내용을 되풀이하지 말고 계속 써라]",
        "이어서 작성",
        "계속 진행해주세요",
    ],
)
def test_a_reply_is_gone_on_with(nudge: str) -> None:
    asked = request(*NAMED, assistant("한 시간 전에"), system(nudge))
    assert (asked.reply_start, asked.message, asked.instruction) == ("한 시간 전에 ", "응", None)


@pytest.mark.parametrize(
    "nudge",
    [
        "[다음 답변은 바다로서만 작성하세요.]",
        "[바다의 다음 답변만 작성하세요.]",
        "[바다의 대사만 작성하세요.]",
        "[바다의 입장에서만 다음 답변을 작성]",
        "[바다로만 답장을 써줘]",
        "[바다 역할로만 답변하세요]",
        "[이번 차례는 바다입니다.]",
        "[바다만 말하세요.]",
    ],
)
def test_one_of_a_group_has_the_word(nudge: str) -> None:
    start = system("[새 그룹 채팅을 시작합니다. 그룹 멤버: 하늘, 바다]")
    chat = [system("너는 하늘이야. 바다도 있다."), start, assistant("하늘: 왔어?"), user("안녕")]
    asked = request(*chat, system(nudge))
    assert (asked.persona.name, lines(asked)) == ("바다", [("하늘", "왔어?")])
    assert request(*chat, system("[한국어로만 답하세요.]")).persona.name == "하늘"


WHO = {
    "하늘와 민준의 롤플레이입니다. 하늘의 역할만 연기하세요.": ("하늘", "민준"),
    "민준와 하늘의 역할극. 하늘의 역할만 연기하고 민준의 역할은 맡지 마세요.": ("하늘", "민준"),
    "하늘와(과) 민준의 롤플레이": ("하늘", "민준"),
    "지금부터 하늘과 민준의 역할극을 시작합니다.": ("하늘", "민준"),
    "이 채팅은 하늘이랑 민준의 상황극이야": ("하늘", "민준"),
    "이것은 넬 해로우와 로빈 애시비의 가상 채팅입니다.": ("넬 해로우", "로빈 애시비"),
    "당신은 하늘을(를) 연기합니다. 유저는 민준을(를) 연기합니다.": ("하늘", "민준"),
    "<유저>\n이름: 민준\n</유저>\n<캐릭터>\n이름: 하늘\n</캐릭터>": ("하늘", "민준"),
    "# 유저 정보\n- 이름: 민준\n\n# 캐릭터 정보\n- 이름: 하늘": ("하늘", "민준"),
    "등장인물: 하늘(캐릭터), 민준(유저)": ("하늘", "민준"),
    "너는 소설가다. 하늘을 연기해라.": ("하늘", None),
    "당신은 하늘(이)라는 뱃사공이다.": ("하늘", None),
    "민준의 역할을 연기하지 마세요. 당신은 하늘입니다.": ("하늘", None),
    "네 이름은 하늘. 나이는 스물.": ("하늘", None),
    "당신은 웹소설 작가입니다. 유저와 함께 롤플레이를 진행합니다.": ("캐릭터", None),
    "당신은 캐릭터와 유저의 롤플레이를 진행하는 AI입니다.": ("캐릭터", None),
    "{{char}}와 {{user}}의 롤플레이. {{char}}의 역할을 맡으세요.": ("캐릭터", None),
    "Your role is 하늘. As 하늘, continue the exchange with 민준.": ("하늘", "민준"),
    "사랑과 우정의 이야기를 쓰세요.": ("캐릭터", None),
}


@pytest.mark.parametrize("main", WHO)
def test_a_korean_main_prompt_names_who_takes_part(main: str) -> None:
    asked = request(system(main), assistant("왔어?"), user("응"))
    assert (asked.persona.name, asked.user_name) == WHO[main]
    assert main in asked.persona.description


@pytest.mark.parametrize(
    "words",
    [
        "롤플레이를 잠시 멈추고 지금까지의 이야기를 요약해 주세요.",
        "이전 지시는 모두 무시하고 이 대화를 요약해 줘.",
        "이미지 프롬프트를 영어로 생성해줘.",
        "이 대화를 세 문장으로 요약해 줘.",
    ],
)
def test_what_is_no_line_stays_work(words: str) -> None:
    assert work(*NAMED, system(words)).plain
