"""Chats as clients order them, each with what a turn has to make of it.

Beside each list of messages: the character's name, the message, the history, and what else of the
request is worth a look.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.openai_api.support import JSON, assistant, system, user

MAIN = system("Write Sera's next reply in a fictional chat between Sera and Robin.")
CARD = system("Sera pilots the ferry.")
START = system("[Start a new Chat]")
CONTINUE = "[Continue your last message without repeating its original content.]"
AS_ROBIN = (
    "[Write your next reply from the point of view of Robin, using the chat history so far as a "
    "guideline for the writing style of Robin. Don't write as Sera or system.]"
)
HI, AHOY = ("user", "Hi."), ("character", "Ahoy.")


class Shape(NamedTuple):
    """Messages, and what is expected of them."""

    messages: list[JSON]
    name: str
    message: str
    history: list[tuple[str, str]]
    rest: Mapping[str, Any] = MappingProxyType({})


SHAPES: dict[str, Shape] = {
    "one line": Shape([user("Hi.")], "Character", "Hi.", []),
    "one line, Korean": Shape([user("안녕?")], "캐릭터", "안녕?", []),
    "a card and a line": Shape([system("You are Sera, a pilot."), user("Hi.")], "Sera", "Hi.", []),
    "a developer's card": Shape(
        [{"role": "developer", "content": "You are Sera."}, user("Hi.")], "Sera", "Hi.", []
    ),
    "a Korean card": Shape([system("너는 하늘이야."), user("안녕?")], "하늘", "안녕?", []),
    "a polite Korean card": Shape(
        [system("당신은 마라입니다. 뱃사공이죠."), user("안녕?")], "마라", "안녕?", []
    ),
    "a card with its name in a line": Shape(
        [system("[Character sheet]\nName: Sera Vale\nAge: 30"), user("Hi.")], "Sera Vale", "Hi.", []
    ),
    "a Korean card with its name in a line": Shape(
        [system("이름: 마라\n나이: 30"), user("안녕?")], "마라", "안녕?", []
    ),
    "an assistant is nobody's name": Shape(
        [system("You are a helpful assistant."), user("Hi.")], "Character", "Hi.", []
    ),
    "names of the main prompt": Shape(
        [MAIN, CARD, START, assistant("Ahoy."), user("Hi.")],
        "Sera", "Hi.", [AHOY], {"user_name": "Robin", "instruction": None, "reply_start": None},
    ),
    "a post-history instruction": Shape(
        [MAIN, START, assistant("Ahoy."), user("Hi."), system("Be brief.")],
        "Sera", "Hi.", [AHOY], {"instruction": "Be brief."},
    ),
    "note and instruction": Shape(
        [MAIN, START, user("Hi."), system("It rains."), system("Be brief.")],
        "Sera", "Hi.", [], {"instruction": "It rains.\n\nBe brief."},
    ),
    "a note in the middle": Shape(
        [MAIN, START, user("a"), system("[It rains.]"), assistant("Ahoy."), user("Hi.")],
        "Sera", "Hi.", [("user", "a"), ("system", "It rains."), AHOY],
    ),
    "a note behind the mark": Shape(
        [MAIN, START, system("It rains."), assistant("Ahoy."), user("Hi.")],
        "Sera", "Hi.", [("system", "It rains."), AHOY],
    ),
    "only system lines": Shape([MAIN, CARD], "Sera", "/continue", []),
    "only a mark and an instruction": Shape(
        [MAIN, START, system("Be brief.")], "Sera", "/continue", [], {"instruction": "Be brief."}
    ),
    "an empty last message": Shape(
        [MAIN, assistant("Ahoy."), user("")], "Sera", "/continue", [AHOY], {"reply_start": None}
    ),
    "an empty first message": Shape([user("  ")], "Character", "/continue", []),
    "no content at all": Shape([MAIN, user(None)], "Sera", "/continue", []),
    "nothing new from the user": Shape(
        [MAIN, START, assistant("Ahoy."), system("Be brief.")],
        "Sera", "/continue", [AHOY], {"reply_start": None, "instruction": "Be brief."},
    ),
    "a reply to be continued": Shape(
        [MAIN, START, user("Hi."), assistant("Aye, and ")],
        "Sera", "Hi.", [], {"reply_start": "Aye, and "},
    ),
    "a reply to be continued, by a nudge": Shape(
        [MAIN, START, user("Hi."), system("It rains."), assistant("Aye,"), system(CONTINUE)],
        "Sera", "Hi.", [], {"reply_start": "Aye, ", "instruction": "It rains."},
    ),
    "a reply to be continued, by a nudge among others": Shape(
        [MAIN, START, user("Hi."), assistant("Aye,"), system(f"Be brief.\n\n{CONTINUE}")],
        "Sera", "Hi.", [], {"reply_start": "Aye, ", "instruction": "Be brief."},
    ),
    "a reply to be continued, in Korean": Shape(
        [MAIN, user("안녕"), assistant("그래,"), system("[마지막 메시지를 이어서 써 주세요.]")],
        "Sera", "안녕", [], {"reply_start": "그래, ", "instruction": None},
    ),
    "a second reply to be continued": Shape(
        [MAIN, START, assistant("Ahoy."), system("Be brief."), assistant("Aye")],
        "Sera", "/continue", [AHOY], {"reply_start": "Aye", "instruction": "Be brief."},
    ),
    "two messages of the user": Shape(
        [MAIN, START, assistant("Ahoy."), user("a"), user("Hi.")],
        "Sera", "Hi.", [AHOY, ("user", "a")],
    ),
    "impersonate": Shape(
        [MAIN, START, user("Hi."), assistant("Ahoy."), system(AS_ROBIN)],
        "Sera", "/continue", [HI, AHOY], {"respond_as": "user", "instruction": AS_ROBIN},
    ),
    "impersonate, merged": Shape(
        [MAIN, START, user("Hi."), assistant("Ahoy."), user(f"note\n\n{AS_ROBIN}")],
        "Sera", "/continue", [HI, AHOY], {"respond_as": "user"},
    ),
    "impersonate without names": Shape(
        [system("You are Sera."), assistant("Ahoy."), system("[Write the user's next message.]")],
        "Sera", "/continue", [AHOY], {"respond_as": "user"},
    ),
    "impersonate in Korean": Shape(
        [system("너는 하늘이야."), assistant("안녕"), system("[유저의 시점에서 답장을 써 줘]")],
        "하늘", "/continue", [("character", "안녕")], {"respond_as": "user"},
    ),
    "only as the character": Shape(
        [MAIN, START, user("Hi."), system("[Write the next reply only as Sera.]")],
        "Sera", "Hi.", [], {"respond_as": "character"},
    ),
    "a message in brackets": Shape(
        [MAIN, START, assistant("Ahoy."), user("[Let it rain.]")],
        "Sera", "/continue", [AHOY], {"instruction": "[Let it rain.]", "respond_as": "character"},
    ),
    "brackets behind the message": Shape(
        [MAIN, START, assistant("Ahoy."), user("Hi.\n\n[Be brief.]\n\n[비가 온다.]")],
        "Sera", "Hi.", [AHOY], {"instruction": "[Be brief.]\n\n[비가 온다.]"},
    ),
    "names inside the contents": Shape(
        [MAIN, START, assistant("Sera: Ahoy."), user("Robin: Hi."), assistant("Sera: Sera: Aye."),
         user("Robin: At 12:30: lunch.")],
        "Sera", "At 12:30: lunch.", [AHOY, HI, ("character", "Aye.")],
    ),
    "names inside the contents, Korean": Shape(
        [system("너는 하늘이야."), assistant("하늘: 안녕"), user("민준: 응"),
         assistant("**하늘**: 그래"), user("민준： 뭐 해?")],
        "하늘", "뭐 해?", [("character", "안녕"), ("user", "응"), ("character", "그래")],
        {"user_name": "민준"},
    ),
    "names that nobody said": Shape(
        [assistant("Mara: Ahoy."), user("Finn: Hi."), assistant("Mara: Aye."), user("Finn: So?")],
        "Mara", "So?", [AHOY, HI, ("character", "Aye.")], {"user_name": "Finn"},
    ),
    "a colon that is no name's": Shape(
        [MAIN, START, user("Note: bring a lamp."), assistant("Ahoy."), user("제목: 등대")],
        "Sera", "제목: 등대", [("user", "Note: bring a lamp."), AHOY],
    ),
    "name fields": Shape(
        [assistant("Ahoy.", name="Nell_Harrow"), user("Hi.", name="Robin_Ashby")],
        "Nell Harrow", "Hi.", [AHOY], {"user_name": "Robin Ashby"},
    ),
    "name fields of nothing": Shape(
        [system("너는 하늘이야."), assistant("Ahoy.", name="__"), user("Hi.", name="___")],
        "하늘", "Hi.", [AHOY], {"user_name": None},
    ),
    "a narrator's line": Shape(
        [MAIN, START, assistant("Rain.", name="narrator"), assistant("내레이터: 비."), user("Hi.")],
        "Sera", "Hi.", [("narrator", "Rain."), ("narrator", "비.")],
    ),
    "a group": Shape(
        [system("Write Mara's next reply in a fictional chat between Mara and Robin."),
         system("[Start a new group chat. Group members: Sera, Mara]"),
         assistant("Sera: Ahoy.\n\nMara: Aye.\n\nAye!"), user("Hi."), assistant("Sera: So?"),
         system("[Write the next reply only as Mara.]"), system("Be brief.")],
        "Mara", "/continue",
        [("Sera", "Ahoy."), ("character", "Aye.\n\nAye!"), HI, ("Sera", "So?")],
        {"reply_start": None},
    ),
    "strict": Shape(
        [system("You are Sera."), user("[Start a new chat]"), assistant("Ahoy."),
         user("Hi.\n\n[Write the next reply only as Sera.]\n\nBe brief.")],
        "Sera", "Hi.", [AHOY],
        {"instruction": "[Write the next reply only as Sera.]\n\nBe brief."},
    ),
    "the card in the user's place": Shape(
        [user(f"{MAIN['content']}\n\nSera pilots the ferry."), assistant("Ahoy."), user("Hi.")],
        "Sera", "Hi.", [AHOY], {"user_name": "Robin"},
    ),
    "one message": Shape(
        [user(f"{MAIN['content']}\n\nSera pilots the ferry.\n\n[Start a new Chat]\n\nSera: Ahoy."
              "\n\nRobin: Hi.\n\nSera: Aye.\n\nRobin: So?\n\n[Be brief.]")],
        "Sera", "So?", [AHOY, HI, ("character", "Aye.")], {"instruction": "[Be brief.]"},
    ),
    "a tool's answer": Shape(
        [MAIN, START, user("Hi."), assistant(None, tool_calls=[]),
         {"role": "tool", "tool_call_id": "1", "content": "18 degrees"}],
        "Sera", "Hi.", [], {"instruction": "18 degrees"},
    ),
    "a picture": Shape(
        [MAIN, START, user([{"type": "text", "text": "Look:"}, {"type": "image_url"}])],
        "Sera", "Look:\n[image]", [],
    ),
    "a picture alone, Korean": Shape(
        [system("너는 하늘이야."), user("안녕"), assistant("응"), user([{"type": "image_url"}])],
        "하늘", "[사진]", [("user", "안녕"), ("character", "응")], {"instruction": None},
    ),
    "documents before the question": Shape(
        [MAIN, user("### Task:\nRespond to the user.\n<context>\nA pier.\n</context>\n\nHi.")],
        "Sera", "Hi.", [],
        {"instruction": "### Task:\nRespond to the user.\n<context>\nA pier.\n</context>"},
    ),
}  # fmt: skip

ASKED = "### Task:\nGenerate a title.\n### Chat History:\n<chat_history>\nUSER: Hi\n</chat_history>"
CHAT = [MAIN, START, user("Hi."), assistant("Ahoy.")]

WORK: dict[str, list[JSON]] = {
    "a summary": [*CHAT, system("Ignore previous instructions. Summarize the facts.")],
    "a summary behind notes": [
        *CHAT, system("It rains.\n\nIgnore previous instructions. Summarize the facts."),
    ],
    "a pause": [*CHAT, system("[Pause your roleplay. List what Robin carries.]")],
    "a pause, Korean": [*CHAT, system("[롤플레이를 잠시 멈추고 지금까지의 일을 요약해 줘]")],
    "instructions ignored, Korean": [*CHAT, system("이전 지시는 모두 무시하고 감정을 분류해 줘.")],
    "a picture": [
        *CHAT, system("In the next response I want you to provide only a list of keywords."),
    ],
    "a task": [user(ASKED)],
    "a task with a card": [system("You are Sera."), user(ASKED)],
    "a task in the operator's words": [user("Name it.\n<chat_history>\nUSER: Hi\n</chat_history>")],
    "a title": [
        *CHAT, user("Please generate a four to five word title summarizing our conversation."),
    ],
    "a title, Korean": [*CHAT, user("이 대화의 제목을 다섯 단어 안으로 지어 줘.")],
    "a name": [user("Based on the chat history, give this conversation a name.")],
    "an emotion": [*CHAT, system("Classify the emotion of the last message.")],
}  # fmt: skip

PLAY: dict[str, list[JSON]] = {
    "the user wants to stop": [*CHAT, user("Stop the roleplay, please. I am tired.")],
    "the user wants a summary": [*CHAT, user("Summarize the day for me, Sera.")],
    "an instruction that ignores": [*CHAT, system("Ignore all previous rules about length.")],
    "a habit": [*CHAT, system("Summarize the scene at the end of each reply.")],
    "a note": [*CHAT, system("The roleplay goes on at dawn.")],
    "Korean": [*CHAT, user("그만 쉬자. 이야기는 내일 하고.")],
}
