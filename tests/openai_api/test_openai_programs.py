"""Kinds of requests that many programs send in shapes of their own, each with its false friends.

After what was seen or documented of RisuAI, Agnai, KoboldAI Lite, JanitorAI, bots for Discord,
LobeChat, Cherry Studio, Jan, big-AGI, LangChain and others.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.openai_api.support import (
    JSON,
    NELL,
    assistant,
    lines,
    request,
    system,
    user,
    work,
)

MAIN = system("Write Mira's next reply in a fictional chat between Mira and Robin.")
MIRA = system("You are Mira, a pilot.")
KOREAN = system("너는 미라야. 사용자의 이름은 민준이야.")
HI, AHOY = ("user", "Hi."), ("character", "Ahoy.")

# Whose line an instruction asks for

NOT_THE_USERS = """
Write Mira's reply. Never write for Robin.
Write {{char}}'s reply. Never write for {{user}}.
Write only as Mira, never as Robin.
Write 1 reply only. Don't speak for Robin.
Write the next reply without speaking for Robin.
Write in third person, for the user to enjoy.
Write at least three paragraphs for Robin to read.
Write an engaging reply for the user.
Give Robin's action a consequence.
Give Robin's reply some weight.
Create a response to the user's message.
Write the next response from Mira's point of view, as Robin sees her.
Continue the story from Mira's point of view. Don't impersonate Robin.
Impersonate Mira.
"""
NOT_THE_USERS_KOREAN = """
민준의 대사를 쓰지 마세요.
민준 대신 말하지 마.
민준의 시점으로 쓰지 말 것.
유저의 대사나 행동을 대신 쓰지 마세요.
사용자의 말을 대신하지 말고 미라의 답장만 쓰세요.
내 대사를 쓰지 마.
민준의 말에 미라로서 답하세요.
민준이 할 행동을 정하지 마세요.
민준처럼 말하는 도빈을 등장시켜 답하세요.
빵 대신 밥을 먹는 장면을 써 줘.
미라의 시점에서 써 줘.
민준의 대사 작성 금지
"""
THE_USERS = """
Reply as Robin.
Write the next message for Robin.
Now write as Robin, not as Mira.
Impersonate Robin. Don't write as Mira.
"""
THE_USERS_KOREAN = """
민준의 다음 대사를 써 줘. 미라의 대사는 쓰지 마.
민준의 대사만 쓰고 미라의 대사는 쓰지 마.
민준 대신 답장해 줘.
민준님의 시점에서 써 줘.
유저가 되어 답해 줘.
"""


def listed(text: str) -> list[str]:
    return text.strip().split("\n")


def asked_of(card: JSON, words: str, *, merged: bool) -> tuple[str, str]:
    """Who is to answer, and the message, with an instruction behind it or merged into it."""
    behind = [user(f"Hi.\n\n[{words}]")] if merged else [user("Hi."), system(words)]
    asked = request(card, assistant("Ahoy."), *behind)
    assert words in (asked.instruction or "")
    return asked.respond_as, asked.message


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("words", listed(NOT_THE_USERS))
def test_an_instruction_about_the_user_is_no_call_to_write_for_them(
    words: str, *, merged: bool
) -> None:
    assert asked_of(MAIN, words, merged=merged) == ("character", "Hi.")


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("words", listed(NOT_THE_USERS_KOREAN))
def test_a_korean_one_neither(words: str, *, merged: bool) -> None:
    assert asked_of(KOREAN, words, merged=merged) == ("character", "Hi.")


@pytest.mark.parametrize("words", [*listed(THE_USERS), *listed(THE_USERS_KOREAN)])
def test_a_call_to_write_for_the_user_is_one_whatever_stands_behind_it(words: str) -> None:
    card = KOREAN if re.search("[가-힣]", words) else MAIN
    assert asked_of(card, words, merged=False)[0] == "user"


# Whether the last reply is to be gone on with

NO_NUDGES = """
Finish your reply with a question.
Complete the reply with Mira's thoughts.
Continue your reply style of three paragraphs.
Continue this text-message format.
마지막 문장을 질문으로 끝내세요.
다음 답장을 계속 길게 쓰세요.
이전 대사와 이어지게 새 답장을 쓰세요.
마지막 대사 뒤에 계속 속마음을 덧붙이세요.
"""


@pytest.mark.parametrize("words", listed(NO_NUDGES))
def test_a_wish_about_replies_is_no_call_to_go_on_with_the_last(words: str) -> None:
    asked = request(MAIN, user("Hi."), assistant("Ahoy."), system(words))
    assert (asked.reply_start, asked.instruction) == (None, words)
    assert lines(asked) == [HI, AHOY]


def test_what_a_nudge_asks_for_beside_is_kept_but_not_what_it_quotes() -> None:
    def told(nudge: str) -> str | None:
        asked = request(MAIN, user("Hi."), assistant("Aye, and"), system(nudge))
        assert asked.reply_start == "Aye, and "
        return asked.instruction

    assert told("[Continue your last message. Use present tense.] Be brief.") == (
        "Use present tense. Be brief."
    )
    assert told("[마지막 메시지를 이어서 써 주세요. 반말로.]") == "반말로."
    assert told("[Continue the following message. Do not repeat it: Aye, and]") is None


# Who the character is

NAMED = {
    "<Mira Vale's Persona>A pilot.</Mira Vale's Persona>": "Mira Vale",
    "<미라의 페르소나>사공.</미라의 페르소나>": "미라",
    "<character>\n<name>Mira Vale</name>\n</character>": "Mira Vale",
    '{"name": "Mira Vale", "age": 30}': "Mira Vale",
    "## Name\nMira Vale\n## Age\n30": "Mira Vale",
    "## 이름\n미라\n## 나이\n30": "미라",
    "{{char}} = Mira Vale. {{char}} pilots a ferry.": "Mira Vale",
    "You will be playing Mira Vale, who pilots a ferry.": "Mira Vale",
    "[이름: 서연우 / 나이: 30]": "서연우",
    "이제부터 너는 서연우로 연기해.": "서연우",
    "서연우를 연기해라.": "서연우",
    "너는 남궁 민수라는 이름의 사공이다.": "남궁 민수",
    "너는 이연 공주다.": "이연 공주",
    "당신은 김 선생님입니다.": "김 선생님",
    "너는 미라다.": "미라",
    "너는 하늘이고, 나는 민준이야.": "하늘",
    "당신은 「미라」입니다.": "미라",
    "당신은 이도현 씨입니다.": "이도현 씨",
    "캐릭터명: 미라\n나이: 30": "미라",
    "캐릭터: 미라 (30)": "미라",
    "Full name: Mira Vale\nAge: 30": "Mira Vale",
    "Character: Mira Vale\nAge: 30": "Mira Vale",
}
UNNAMED = """
너는 친절하다. 반말을 쓴다.
당신은 지금 매우 피곤하다.
너는 한국어로 대답해.
감정을 연기해라.
이제부터 역할을 연기해.
당신은 한국어 선생님입니다.
너는 착한 왕자야.
너는 고양이야.
너는 친절하고, 조용하다.
캐릭터: 친절한 사공이다.
Character: kind and dry.
You will play a game with the user.
You must be Honest at all times.
{{char}}: be kind
<rules>Be kind.</rules>
{"tone": "kind"}
"""


@pytest.mark.parametrize("card", NAMED)
def test_a_card_in_any_form_names_the_character(card: str) -> None:
    assert request(system(card), user("Hi.")).persona.name == NAMED[card]


@pytest.mark.parametrize("card", listed(UNNAMED))
def test_what_a_card_says_of_the_character_is_no_name(card: str) -> None:
    assert request(system(card), user("Hi.")).persona.name in ("Character", "캐릭터")


def test_a_name_may_stand_behind_the_first_messages_or_in_them() -> None:
    assert request(user("So?"), MIRA).persona.name == "Mira"
    assert request(user("뭐 해?"), KOREAN).persona.name == "미라"
    first = "You are Mira, a ferry pilot. Stay in character."
    assert request(user(first), assistant("Aye."), user("So?")).persona.name == "Mira"
    assert request(user("너는 미라야. 그 역할로 말해 줘.")).persona.name == "미라"


@pytest.mark.parametrize(
    "said", ["너는 누구야?", "넌 바보야.", "You're Late!", "You are Ill, Tom?"]
)
def test_what_a_user_says_to_somebody_is_no_name(said: str) -> None:
    assert request(user(said)).persona.name in ("Character", "캐릭터")


# Who speaks

SPEAKERS = [
    *("Robin#1234: {}", "[Robin]: {}", "<Robin> {}", "[Robin] {}", "**Robin:** {}", "Robin: {}"),
    *("[민준]: {}", "<민준> {}", "민준: {}", "민준 : {}", "「민준」: {}"),
]


@pytest.mark.parametrize("form", SPEAKERS)
def test_who_speaks_in_all_lines_is_a_name_however_it_is_written(form: str) -> None:
    asked = request(MIRA, user(form.format("Hi.")), assistant("Ahoy."), user(form.format("So?")))
    assert (asked.message, lines(asked)) == ("So?", [HI, AHOY])
    assert asked.user_name and asked.user_name in form


@pytest.mark.parametrize("form", ["[{}]: ", "<{}> "])
def test_two_people_may_speak_to_the_character(form: str) -> None:
    asked = request(
        MIRA,
        user(form.format("Robin") + "Hi."),
        assistant("Ahoy."),
        user(form.format("Kay") + "So?"),
    )
    assert (asked.user_name, asked.message) == ("Kay", "So?")
    assert lines(asked) == [("Robin", "Hi."), AHOY]


NO_SPEAKERS = """
[Inventory]: rope
[Narrator]: rain falls
[날씨]: 비
<한숨> 그래
<3 hello
「비」: 제목이다
@Mira: hello
[smiles] hello
PS: bye
"""


@pytest.mark.parametrize("said", listed(NO_SPEAKERS))
def test_a_mark_before_one_line_is_no_name(said: str) -> None:
    asked = request(MIRA, user(said))
    assert (asked.message, asked.user_name) == (said, None)


@pytest.mark.parametrize(
    "said", ["[Status]: calm", "Place: the quay", "[호감도]: 20", "Time: noon"]
)
def test_a_reply_may_begin_with_a_line_of_the_cards_format(said: str) -> None:
    card = system("You are Mira. End with Place: and Time: in your Status.")
    assert lines(request(card, user("Hi."), assistant(said), user("So?"))) == [
        HI, ("character", said),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("card", "other"),
    [
        ("You are Mira. Her brother Callum fishes.", "Callum"),
        ("너는 미라야. 동생 도빈은 어부다.", "도빈"),
    ],
)
def test_who_is_told_of_may_come_by(card: str, other: str) -> None:
    asked = request(
        system(card),
        assistant("Ahoy."),
        user("Hi."),
        assistant(f"{other}: I am back."),
        user("So?"),
    )
    assert lines(asked) == [AHOY, HI, (other, "I am back.")]


def test_a_group_needs_no_list_of_members() -> None:
    asked = request(
        KOREAN, assistant("미라: 왔어?"), assistant("도빈: 응."), user("안녕."),
        system("[미라로서만 다음 답장을 쓰세요.]"),
    )  # fmt: skip
    assert lines(asked) == [("character", "왔어?"), ("도빈", "응.")]


def test_the_user_may_be_called_like_the_character() -> None:
    asked = request(MIRA, user("Mira: Hi."), assistant("Mira: Ahoy."), user("Mira: So?"))
    assert (lines(asked), asked.message) == ([HI, AHOY], "So?")


# A chat in one text

TRANSCRIPTS = {
    "[A chat log between Robin and Mira.]\n\nRobin: Hi.\nMira: Ahoy.\nRobin: So?\nMira:": "Mira",
    "A talk.\n\nCurrent conversation:\nHuman: Hi.\nAI: Ahoy.\nHuman: So?\nAI:": "AI",
    "민준: Hi.\n미라: Ahoy.\n민준: So?\n미라:": "미라",
}
NO_TRANSCRIPTS = [
    "Shopping\nMilk: 2\nEggs: 12\nBread:",
    "Tom: no way!\nWhat should I say to Ann:",
    "Poem\nRose: red\nRose: dead\nEnd:",
    "Fill in\nQuestion: why?\nAnswer:",
]


@pytest.mark.parametrize("text", TRANSCRIPTS)
def test_a_text_that_ends_in_a_name_is_a_chat(text: str) -> None:
    asked = request(user(text))
    assert asked.persona.name == TRANSCRIPTS[text]
    assert (lines(asked), asked.message) == ([HI, AHOY], "So?")
    assert asked.user_name == text.split("Hi.")[0].split("\n")[-1].strip(": ")


@pytest.mark.parametrize("text", NO_TRANSCRIPTS)
def test_a_text_with_colons_is_none(text: str) -> None:
    assert request(user(text)).message == text


def test_a_mark_in_the_first_message_parts_card_and_chat() -> None:
    first = "[Character: Mira Vale; job: pilot]\n[Start Chat]\nRobin: Hi."
    asked = request(
        user(first), assistant("Mira Vale: Ahoy."), user("Robin: So?"), assistant("Mira Vale:")
    )
    assert (asked.persona.name, asked.user_name) == ("Mira Vale", "Robin")
    assert (lines(asked), asked.message, asked.reply_start) == ([HI, AHOY], "So?", "")


@pytest.mark.parametrize("silence", ["...", "…"])
def test_a_placeholder_is_no_words_and_silence_is(silence: str) -> None:
    asked = request(MIRA, user("."), assistant("Ahoy."), user(silence))
    assert (lines(asked), asked.message) == ([AHOY], silence)
    asked = request(MIRA, assistant("Ahoy."), user("."))
    assert (lines(asked), asked.message, asked.reply_start) == ([AHOY], "/continue", None)


# Work beside the chat

SAID = user("user: Hi\nassistant: Ahoy")
TASKS: list[list[JSON]] = [
    [system("You are a summarizer. Generate a concise title that captures the essence of the "
            "conversation.\n\n- Output ONLY the title"), SAID],
    [system("You are skilled in conversation. You need to summarize the user's conversation into a "
            "title within 10 words."), user('[{"role": "user", "mainText": "Hi"}]')],
    [system("당신은 유능한 비서입니다. 사용자의 대화를 10자 이내의 제목으로 요약하세요."), SAID],
    [user("Generate a title of max 10 words that summarizes this message. Give the title only. "
          'Here is the message: "Hi"')],
    [user("Analyze the given short conversation and extract a concise chat title that summarizes "
          "it.\nOnly respond with the title.\n\n```\nuser: Hi\n```")],
    [user("Progressively summarize the lines of conversation provided.\n\nHuman: Hi\n\nSummary:")],
    [user("Given the following conversation and a follow up question, rephrase the follow up "
          "question.\n\nHuman: Hi\nFollow Up Input: And her?\nStandalone question:")],
]  # fmt: skip
PLAYED = """
Give the title of the book only.
Write a story with only one title for the queen.
Create a title for the poem.
Analyze the conversation we just had and tell me the title of that book.
이 대화를 제목으로 만들면 뭐가 좋을까?
우리 대화를 노래 제목으로 만들어 줘
"""


@pytest.mark.parametrize("messages", TASKS)
def test_a_task_of_a_program_is_plain_work(messages: list[JSON]) -> None:
    assert work(*messages).plain


@pytest.mark.parametrize("said", listed(PLAYED))
@pytest.mark.parametrize("before", [[], [user("Hi."), assistant("Ahoy.")]])
def test_a_player_may_speak_of_titles(said: str, before: list[JSON]) -> None:
    assert request(MIRA, *before, user(said)).message == said


def test_the_end_of_each_reply_may_be_a_summary() -> None:
    assert request(MIRA, user("Hi."), system("Summarize the scene at the end.")).instruction


# What is taken


@pytest.mark.parametrize("role", ["assistant", "model", "ai", "bot", "character", "Assistant"])
def test_the_roles_of_other_apis_are_taken(role: str) -> None:
    told = {"role": role, "content": "Ahoy."}
    asked = request(MIRA, {"role": "human", "content": "Hi."}, told, user("So?"))
    assert (lines(asked), asked.message) == ([HI, AHOY], "So?")


def test_the_narrators_role_is_its_name() -> None:
    asked = request(MIRA, user("Hi."), {"role": "narrator", "content": "Rain."}, user("So?"))
    assert lines(asked) == [HI, ("narrator", "Rain.")]


def test_a_part_need_not_stand_in_a_list_and_a_refusal_is_what_was_said() -> None:
    refused: Any = assistant(None, refusal="I will not.")
    asked = request(
        system({"type": "text", "text": "You are Mira."}), user("Hi."), refused, user("So?")
    )
    assert asked.persona.name == "Mira" and lines(asked) == [HI, ("character", "I will not.")]


def test_a_field_of_nothing_is_not_set() -> None:
    names = (
        "response_format",
        "tool_choice",
        "stop",
        "user",
        "stream",
        "n",
        "stream_options",
        "seed",
    )
    assert request(user("So?"), **dict.fromkeys(names, "")).message == "So?"


def test_examples_of_the_client_stand_beside_those_of_a_card_of_the_folder() -> None:
    own = [
        system("Is it open?", name="example_user"),
        system("Until six.", name="example_assistant"),
    ]
    other = [system("Is it wet?", name="example_user"), system("Aye.", name="example_assistant")]
    mark = system("[Example Chat]")
    asked = request(mark, *own, mark, *other, user("Hi."), model="Nell Harrow")
    examples = asked.persona.example_dialogue
    assert examples.startswith(NELL.example_dialogue) and examples.count("Until six.") == 1
    assert examples.endswith("<START>\n{{user}}: Is it wet?\n{{char}}: Aye.")


# Anything

PIECES = st.sampled_from(
    ["Robin: ", "Mira: ", "[", "]", "[Robin]: ", "<Robin> ", "(", "\n", "\n\n", " ", "### Task:\n",
     "<context>", "</context>", "<user_query>", "[Start a new Chat]\n\n", "[Example Chat]\n\n",
     "\n[Start Chat]\n", "You are Mira, a pilot. ", "너는 미라야. ", "민준: ", "Mira:", "{{char}} ",
     f"{MAIN['content']}\n\n", "[Continue your last message.]", "[Write Robin's next message.]",
     "Narrator: ", "「민준」: ", "[Write the next reply only as Mira.]", "Robin#1234: ", ".",
     "\n\n[민준의 다음 대사를 써 줘]"]
)  # fmt: skip


@st.composite
def chats(draw: st.DrawFn) -> list[JSON]:
    """Messages, each with a word of its own where it has any."""
    found: list[JSON] = []
    for row in range(draw(st.integers(1, 7))):
        role = draw(st.sampled_from(["system", "developer", "user", "user", "assistant"]))
        before = draw(st.lists(PIECES, max_size=2))
        word = [f"{role[0]}word{row}x"] if draw(st.booleans()) else []
        message = {
            "role": role,
            "content": "".join([*before, *word, *draw(st.lists(PIECES, max_size=1))]),
        }
        names = ["example_user", "example_assistant", "Robin", "Mira", "narrator", "__", None]
        found.append({**message, "name": draw(st.sampled_from(names))})
    return found


@given(messages=chats(), model=st.sampled_from(["iyagi", "Nell Harrow"]))
@settings(max_examples=300, deadline=None)
def test_every_word_reaches_the_turn_once_and_under_nobody_elses_name(
    messages: list[JSON], model: str
) -> None:
    asked = work(*messages, model=model)
    if asked.plain:
        return
    turn = request(*messages, model=model)
    whole = turn.model_dump_json()
    for message in messages:
        for word in re.findall(r"[a-z]word\dx", message["content"]):
            assert whole.count(word) == 1
            if len(messages) == 1:
                continue  # a whole chat may be in one message
            roles = {line.role for line in turn.history if word in line.content}
            if message["role"] == "assistant":
                assert word not in turn.message and "user" not in roles
            elif message["role"] == "user":
                assert word not in (turn.reply_start or "")
                assert not roles & {"character", "narrator"}
