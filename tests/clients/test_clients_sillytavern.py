"""The real SillyTavern holds a chat through our server: what a person sees, and which prompts the
language model gets for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from graph.settings import ROOT
from tests.clients.door import Door, open_door
from tests.clients.sillytavern import AS_SHIPPED, USER, Tavern, open_tavern, what_is_missing
from tests.llm.fake_openai_server import say

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "nothing"),
]

NELL, BONGSUK = "Nell Harrow", "구봉숙"
CHARACTERS = ROOT / "characters"
ENGLISH_USER, KOREAN_USER = USER, "지안"

# A piece of each part of the two cards, to be looked for in a prompt.
DESCRIPTION = "Navy cardigan with a pencil in the pocket"
PERSONALITY = "kind in deeds and gruff in words"
SCENARIO = "a wet island five hours by ferry"
EXAMPLE = "A man once described me my own hat"
GREETING = "gives one flat clank"
POST_HISTORY = "Stay with what Nell has seen, read or been told"
LORE = "kept for a year and a day"
KOREAN_DESCRIPTION = "브레이크를 밟던 오른쪽 무릎의 통증"
KOREAN_GREETING = "낡은 시내버스"
KOREAN_POST_HISTORY = "봉숙은 반말, 지안은 존댓말"

MARKS = ("Start a new", "Example Chat", "Continue your last message")
"""What SillyTavern marks the parts of a chat with."""


@dataclass
class Table:
    """SillyTavern, and the server that it is connected to."""

    tavern: Tavern
    door: Door

    def prompts_of(self, act: Callable[[], object], replies: int = 1) -> list[str]:
        """The prompts that something brings about, when all is written."""
        before = len(self.door.prompts)
        act()

        def is_over() -> bool:
            assert not (warnings := self.tavern.warnings()), warnings
            return len(self.door.prompts) >= before + replies and not self.tavern.is_writing()

        self.tavern.until(is_over)
        return self.door.prompts[before:]

    def prompt_of(self, act: Callable[[], object]) -> str:
        [prompt] = self.prompts_of(act)
        return prompt

    def says(self, *replies: str) -> None:
        """What the model writes next, one reply after the other."""
        self.door.model.will(*(say(*re.findall(r"\S+\s*", reply)) for reply in replies))

    def send(self, message: str, reply: str | None = None) -> str:
        if reply is not None:
            self.says(reply)
        return self.prompt_of(lambda: self.tavern.send(message))


def blocks(prompt: str) -> list[str]:
    """What the model reads, message by message; the last is what it has to go on from."""
    return [
        block.partition("\n")[2].removesuffix("\n").removesuffix("<|im_end|>")
        for block in prompt.split("<|im_start|>")[1:]
    ]


def is_in_order(prompt: str, *texts: str) -> bool:
    """Whether each text stands there once, in this order."""
    places = [prompt.find(text) for text in texts]
    return all(prompt.count(text) == 1 for text in texts) and places == sorted(places)


def has_doubled_name(prompt: str) -> bool:
    names = "|".join(map(re.escape, (NELL, BONGSUK, ENGLISH_USER, KOREAN_USER, "Callum")))
    return re.search(rf"(?:{names}): ?(?:{names}):", prompt) is not None


def marks_in(prompt: str) -> list[str]:
    return [mark for mark in MARKS if mark in prompt]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Both, with the cards of this repository imported and two characters at one table."""
    with (
        open_door(tmp_path_factory.mktemp("door"), IYAGI_LLM_CONTEXT="8192") as door,
        open_tavern(tmp_path_factory.mktemp("tavern"), door.url) as tavern,
    ):
        tavern.bring(CHARACTERS / "Nell Harrow.json", NELL)
        tavern.bring(CHARACTERS / "구봉숙.json", BONGSUK)
        tavern.make_group("Duo", NELL, BONGSUK)
        tavern.open()  # without the panels that the imports opened
        yield Table(tavern, door)


@pytest.fixture
def table(opened: Table) -> Iterator[Table]:
    """A new chat with Nell Harrow."""
    tavern = opened.tavern
    tavern.clear_warnings()
    tavern.set(**AS_SHIPPED)
    tavern.command(f"/persona-set mode=temp {ENGLISH_USER}")
    tavern.go(NELL)
    opened.says("*She nods.* Aye, that'll do.")
    opened.door.clear()
    yield opened
    tavern.until(lambda: not tavern.is_writing())


def test_the_server_lists_its_characters_and_models(table: Table) -> None:
    offered = table.tavern.offered_models()
    assert {"iyagi", "Sera", "도윤"} <= set(offered)


def test_a_card_that_was_imported_is_in_the_prompt_once(table: Table) -> None:
    assert [GREETING in text for _, text in table.tavern.shown()] == [True]
    prompt = table.send("Hello, I lost a scarf.")
    for part in (DESCRIPTION, PERSONALITY, SCENARIO, EXAMPLE, GREETING, POST_HISTORY, LORE):
        assert prompt.count(part) == 1, part
    assert f"{NELL}: *The bell over the door" in prompt
    assert not marks_in(prompt)


def test_three_turns_stand_under_their_names(table: Table) -> None:
    said = ["Hello, I lost a scarf.", "It was *blue*, I think.", "And the cat?"]
    replies = ["*She writes.* Where?", "Blue is Thursday's colour.", "He bites left hands."]
    prompts = [table.send(line, reply) for line, reply in zip(said, replies, strict=True)]
    wanted = [f"{USER}: {said[0]}", f"{NELL}: {replies[0]}", f"{USER}: {said[1]}"]
    wanted += [f"{NELL}: {replies[1]}", f"{USER}: {said[2]}"]
    assert is_in_order(prompts[-1], GREETING, *wanted, POST_HISTORY)
    assert not has_doubled_name(prompts[-1])
    assert blocks(prompts[-1])[-1] == f"{NELL}:"
    assert [text for _, text in table.tavern.messages()][-1] == replies[-1]
    # The chat so far is the beginning of the next one, for a server that keeps it computed.
    chats = [prompt[prompt.index(GREETING) :] for prompt in prompts]
    assert chats[1].startswith(chats[0][: chats[0].index(POST_HISTORY)].rstrip())


def test_post_history_instructions_stand_last(table: Table) -> None:
    table.send("Hello.")
    prompt = table.send("And the cat?")
    assert POST_HISTORY in blocks(prompt)[-2]
    assert is_in_order(prompt, f"{USER}: And the cat?", POST_HISTORY)


def test_swipe_and_regenerate_ask_for_the_same_again(table: Table) -> None:
    table.says("First.", "Second.", "Third.")
    first = table.send("Hello.")
    swiped = table.prompt_of(table.tavern.swipe)
    assert table.tavern.messages()[-1] == (NELL, "Second.")
    again = table.prompt_of(lambda: table.tavern.choose("regenerate"))
    assert table.tavern.messages()[-1] == (NELL, "Third.")
    assert first == swiped == again


@pytest.mark.parametrize("prefill", [False, True])
def test_continue_adds_to_the_reply(table: Table, prefill: bool) -> None:
    table.tavern.set(continue_prefill=prefill)
    table.send("What is in the drawer?", "*She opens the drawer*")
    table.says("and takes out a glove.")
    prompt = table.prompt_of(lambda: table.tavern.choose("continue"))
    whole = "*She opens the drawer* and takes out a glove."
    assert table.tavern.messages()[-1] == (NELL, whole)
    assert len(table.tavern.messages()) == 3
    assert blocks(prompt)[-1].rstrip() == f"{NELL}: *She opens the drawer*"
    assert is_in_order(prompt, "What is in the drawer?", POST_HISTORY, "*She opens the drawer*")
    assert not marks_in(prompt)


def test_impersonate_writes_the_users_line_into_the_box(table: Table) -> None:
    table.send("Hello.", "What have you lost?")
    table.says("A scarf. *I look at the cat.*")
    prompt = table.prompt_of(lambda: table.tavern.choose("impersonate"))
    assert table.tavern.box() == "A scarf. *I look at the cat.*"
    assert len(table.tavern.messages()) == 3
    assert blocks(prompt)[-1] == f"{USER}:"
    assert f"from the point of view of {USER}" in blocks(prompt)[-2]
    assert "What have you lost?" in prompt and DESCRIPTION in prompt


def test_an_empty_send_lets_the_chat_go_on(table: Table) -> None:
    table.send("Hello.", "What have you lost?")
    table.says("*She waits.*")
    prompt = table.prompt_of(lambda: table.tavern.one("#send_but").click())
    assert [text for _, text in table.tavern.messages()][-2:] == [
        "What have you lost?",
        "*She waits.*",
    ]
    assert is_in_order(prompt, f"{USER}: Hello.", f"{NELL}: What have you lost?", POST_HISTORY)
    assert not re.search(rf"{USER}: *(?:\n|<)", prompt)
    assert blocks(prompt)[-1] == f"{NELL}:"


@pytest.mark.parametrize("depth", [0, 2])
def test_an_authors_note_is_read(table: Table, depth: int) -> None:
    table.send("Hello.", "What have you lost?")
    note = "It is raining hard."
    table.tavern.command(f"/note-depth {depth}")
    table.tavern.command(f"/note {note}")
    prompt = table.send("A scarf.")
    if depth:
        assert is_in_order(prompt, note, "What have you lost?", f"{USER}: A scarf.", POST_HISTORY)
    else:
        assert is_in_order(prompt, "What have you lost?", f"{USER}: A scarf.", note, POST_HISTORY)
        assert note in blocks(prompt)[-2]
    assert not any(f"{name}: {note}" in prompt for name in (USER, NELL))


def test_what_happens_beside_the_chat_is_nobodys_line(table: Table) -> None:
    table.tavern.command("/sys A bell rings outside.")
    prompt = table.send("Who is that?")
    assert is_in_order(prompt, GREETING, "A bell rings outside.", f"{USER}: Who is that?")
    assert not re.search(rf"(?:{NELL}|{USER}): A bell", prompt)


def test_who_comes_by_stands_under_a_name(table: Table) -> None:
    table.tavern.command('/sendas name="Callum" I am back.')
    prompt = table.send("Who is that?")
    assert is_in_order(prompt, GREETING, "Callum: I am back.", f"{USER}: Who is that?")
    assert not has_doubled_name(prompt)


def test_the_prompt_is_the_same_whatever_way_names_are_sent(table: Table) -> None:
    table.send("Hello.", "What have you lost?")
    prompts = {names: "" for names in (-1, 0, 1, 2)}
    table.says("Right.")
    prompts[0] = table.send("Time is 12:30: too late?")
    for names in (-1, 1, 2):
        table.tavern.set(names_behavior=names)
        prompts[names] = table.prompt_of(table.tavern.swipe)
    assert f"{USER}: Time is 12:30: too late?" in prompts[0]
    assert set(prompts.values()) == {prompts[0]}


@pytest.mark.parametrize("kind", ["merge", "semi", "strict", "single"])
def test_a_prompt_that_was_merged_is_read(table: Table, kind: str) -> None:
    table.tavern.set(custom_prompt_post_processing=kind)
    table.send("Hello.", "What have you lost?")
    prompt = table.send("A scarf.")
    for part in (DESCRIPTION, PERSONALITY, SCENARIO, GREETING, POST_HISTORY):
        assert prompt.count(part) == 1, part
    wanted = (f"{USER}: Hello.", f"{NELL}: What have you lost?", f"{USER}: A scarf.")
    assert is_in_order(prompt, f"{NELL}: *The bell", *wanted, POST_HISTORY)
    assert not has_doubled_name(prompt) and not marks_in(prompt)
    assert blocks(prompt)[-1] == f"{NELL}:"


@pytest.mark.parametrize("kind", ["merge", "semi", "strict", "single"])
def test_a_merged_prompt_is_gone_on_with_and_turned_round(table: Table, kind: str) -> None:
    table.tavern.set(custom_prompt_post_processing=kind)
    table.send("What is in the drawer?", "*She opens the drawer*")
    table.says("and takes out a glove.")
    prompt = table.prompt_of(lambda: table.tavern.choose("continue"))
    whole = "*She opens the drawer* and takes out a glove."
    assert table.tavern.messages()[-1] == (NELL, whole)
    assert blocks(prompt)[-1].rstrip() == f"{NELL}: *She opens the drawer*"
    table.says("Mine, I think.")
    prompt = table.prompt_of(lambda: table.tavern.choose("impersonate"))
    assert table.tavern.box() == "Mine, I think."
    assert blocks(prompt)[-1] == f"{USER}:"
    assert is_in_order(prompt, whole, "from the point of view of")


def test_a_line_in_brackets_is_no_matter_for_a_narrator(table: Table) -> None:
    prompt = table.send("[OOC: write shorter replies, please]")
    assert "[OOC: write shorter replies, please]" in prompt
    assert blocks(prompt)[-1] == f"{NELL}:"


def test_narration_that_was_asked_for_stays_narration(table: Table) -> None:
    table.tavern.set(custom_include_body="respond_as: narrator")
    told = "Rain runs down the window of the office."
    prompt = table.send("*I look out of the window.*", told)
    assert not blocks(prompt)[-1].startswith(NELL)
    assert table.tavern.messages()[-1] == (NELL, told)
    table.tavern.set(custom_include_body="")
    prompt = table.send("Wet again.")
    assert told in prompt
    assert f"{NELL}: {told}" not in prompt
    assert blocks(prompt)[-1] == f"{NELL}:"


def test_a_summary_is_plain_work(table: Table) -> None:
    table.send("Hello.", "What have you lost?")
    table.says("Robin came to the office.")
    made: list[str] = []
    prompt = table.prompt_of(
        lambda: made.append(table.tavern.command("/summarize source=main quiet=true"))
    )
    assert made == ["Robin came to the office."]
    assert "Summarize the most important facts" in prompt
    assert prompt.count(DESCRIPTION) == 1
    assert not blocks(prompt)[-1].startswith(NELL)


def test_raw_text_is_plain_work(table: Table) -> None:
    table.says("Paris.")
    made: list[str] = []
    prompt = table.prompt_of(
        lambda: made.append(table.tavern.command("/genraw system=Briefly. Capital of France?"))
    )
    assert made == ["Paris."]
    assert "Capital of France?" in prompt and DESCRIPTION not in prompt


def test_each_of_a_group_answers_as_themselves(table: Table) -> None:
    tavern = table.tavern
    tavern.go("Duo")
    table.says("*She sips.* Black, with salt.", "*믹스를 뜯는다.* 난 두 봉.")
    first, second = table.prompts_of(lambda: tavern.send("Coffee, anybody?"), replies=2)
    replies = [(NELL, "*She sips.* Black, with salt."), (BONGSUK, "*믹스를 뜯는다.* 난 두 봉.")]
    assert tavern.messages()[-2:] == replies
    assert first.count(DESCRIPTION) == 1 and KOREAN_DESCRIPTION not in first
    assert second.count(KOREAN_DESCRIPTION) == 1 and DESCRIPTION not in second
    assert blocks(first)[-1] == f"{NELL}:" and blocks(second)[-1] == f"{BONGSUK}:"
    for prompt in (first, second):
        greetings = (f"{NELL}: *The bell", f"{BONGSUK}: *운동장")
        assert is_in_order(prompt, *greetings, f"{USER}: Coffee, anybody?")
        assert not has_doubled_name(prompt) and not marks_in(prompt)
    assert is_in_order(second, "Coffee, anybody?", f"{NELL}: *She sips.* Black, with salt.")
    table.says("다 마셨다.")
    prompt = table.prompt_of(lambda: tavern.choose("continue"))
    assert tavern.messages()[-1] == (BONGSUK, "*믹스를 뜯는다.* 난 두 봉. 다 마셨다.")
    assert blocks(prompt)[-1].rstrip() == f"{BONGSUK}: *믹스를 뜯는다.* 난 두 봉."


@pytest.mark.parametrize("names", [0, 1, 2])
def test_a_korean_chat(table: Table, names: int) -> None:
    tavern = table.tavern
    tavern.set(names_behavior=names)
    tavern.command(f"/persona-set mode=temp {KOREAN_USER}")
    tavern.go(BONGSUK)
    said = ["안녕하세요, 별 보러 왔어요.", "명왕이는 어디 있어요?", "제목: 여름밤, 어때요?"]
    replies = ["*고개를 끄덕인다.* 타라.", "버스 밑에서 잔다.", "괜찮네."]
    prompts = [table.send(line, reply) for line, reply in zip(said, replies, strict=True)]
    wanted = [f"{KOREAN_USER}: {said[0]}", f"{BONGSUK}: {replies[0]}", f"{KOREAN_USER}: {said[1]}"]
    wanted += [f"{BONGSUK}: {replies[1]}", f"{KOREAN_USER}: {said[2]}"]
    assert is_in_order(prompts[-1], KOREAN_GREETING, *wanted, KOREAN_POST_HISTORY)
    assert prompts[-1].count(KOREAN_DESCRIPTION) == 1
    assert not has_doubled_name(prompts[-1]) and not marks_in(prompts[-1])
    assert tavern.messages()[-1] == (BONGSUK, replies[-1])
    table.says("저 커피 한 잔만 주세요.")
    prompt = table.prompt_of(lambda: tavern.choose("impersonate"))
    assert tavern.box() == "저 커피 한 잔만 주세요."
    assert blocks(prompt)[-1] == f"{KOREAN_USER}:"


def test_a_korean_player_with_an_english_card_is_answered_in_korean(table: Table) -> None:
    prompt = table.send("목도리를 잃어버렸어요. 파란색이에요.")
    assert prompt.count(DESCRIPTION) == 1
    asked = [line for line in blocks(prompt)[-2].splitlines() if re.search("Korean|한국어", line)]
    assert asked


@pytest.mark.parametrize("streams", [True, False])
def test_stop_ends_the_work_of_the_model(table: Table, streams: bool) -> None:
    table.tavern.set(stream_openai=streams)
    table.door.model.will(say("Once ", "upon ", "a time.", pause=30))
    table.tavern.send("Tell me a story.")
    assert table.door.work_began()
    table.tavern.stop()
    assert table.door.work_ended()
    table.tavern.until(lambda: not table.tavern.is_writing())
    table.says("*She nods.*")
    prompt = table.prompt_of(lambda: table.tavern.send("Never mind."))
    assert table.tavern.messages()[-1] == (NELL, "*She nods.*")
    assert "Never mind." in prompt


def test_without_streaming_the_same_prompt_brings_the_same_reply(table: Table) -> None:
    table.says("*She nods.* Aye.")
    streamed = table.send("Hello.")
    table.tavern.set(stream_openai=False)
    whole = table.prompt_of(table.tavern.swipe)
    assert streamed == whole
    assert table.tavern.messages()[-1] == (NELL, "*She nods.* Aye.")


@pytest.mark.parametrize("model", ["test/model", "sera"])
def test_every_model_of_the_list_holds_a_chat_with_a_card_of_the_client(
    table: Table, model: str
) -> None:
    table.tavern.set(custom_model=model)
    prompt = table.send("Hello.")
    assert prompt.count(DESCRIPTION) == 1
    assert blocks(prompt)[-1] == f"{NELL}:"
    assert "lighthouse at Skarholm" not in prompt


def test_an_error_is_shown_in_words(table: Table) -> None:
    table.tavern.set(custom_model="nobody")
    table.tavern.send("Hello.")
    table.tavern.until(table.tavern.warnings)
    assert any("no such model or character" in text for text in table.tavern.warnings())
