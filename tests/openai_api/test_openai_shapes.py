"""Whatever the order of roles: who the character is, what was said, and what the reply is to be."""

from __future__ import annotations

import pytest

from openai_api.errors import UnknownModel
from schemas.request import Persona
from tests.openai_api.shapes import CHAT, MAIN, PLAY, SHAPES, START, WORK
from tests.openai_api.support import NELL, assistant, lines, request, system, user, work


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_of_chat(name: str) -> None:
    shape = SHAPES[name]
    asked = request(*shape.messages)
    assert asked.persona.name == shape.name
    assert (asked.message, lines(asked)) == (shape.message, shape.history)
    for field, value in {"respond_as": "character", **shape.rest}.items():
        assert getattr(asked, field) == value, field


@pytest.mark.parametrize("name", WORK)
def test_what_is_no_line_of_anybody_is_plain_work(name: str) -> None:
    asked = work(*WORK[name], model="Nell Harrow")
    assert asked.plain and "persona" not in asked.payload
    texts = [message["content"] for message in WORK[name]]
    assert [message["content"] for message in asked.payload["messages"]] == texts


@pytest.mark.parametrize("name", PLAY)
def test_what_only_sounds_like_it_is_a_turn(name: str) -> None:
    assert not work(*PLAY[name]).plain


def test_examples_and_marks_keep_their_meaning() -> None:
    asked = request(
        MAIN,
        system("[Example Chat]"),
        system("Open?", name="example_user"),
        system("Sera: Until six.", name="example_assistant"),
        system("[Example Chat]"),
        system("Late?", name="example_user"),
        START,
        user("Hi."),
    )
    assert asked.persona.example_dialogue == (
        "<START>\n{{user}}: Open?\nSera: Until six.\n<START>\n{{user}}: Late?"
    )
    assert asked.persona.description == MAIN["content"]
    merged = request(
        system(f"{MAIN['content']}\n\n[Example Chat]\n\nRobin: Open?\n\nSera: Yes.\n\n"
               "[Start a new Chat]"), user("Hi."),
    )  # fmt: skip
    assert merged.persona.example_dialogue == "<START>\nRobin: Open?\n\nSera: Yes."
    assert merged.persona.description == MAIN["content"]


def test_what_is_asked_of_a_reply_may_be_long_and_a_message_too() -> None:
    asked = request(MAIN, user("Hi."), system("a" * 15_000), system("b" * 15_000))
    assert asked.instruction == "b" * 15_000
    assert lines(asked) == [("system", "a" * 15_000)]
    asked = request(MAIN, user("x\n" * 20_000 + "Hi."))
    assert asked.message.endswith("Hi.") and len(asked.message) <= 20_000
    assert len(asked.history[0].content) > 19_000


def test_our_own_narration_is_known_again() -> None:
    sent = [MAIN, START, assistant("The rain stops."), user("Hi."), assistant("Ahoy.")]
    asked = request(*sent, user("So?"), narrated=lambda text: "rain" in text)
    assert [line.role for line in asked.history] == ["narrator", "user", "character"]
    goes_on = request(*sent[:3], narrated=lambda text: "rain" in text)
    assert (goes_on.respond_as, goes_on.reply_start) == ("narrator", "The rain stops.")


@pytest.mark.parametrize("who", ["auto", "narrator", "user"])
def test_who_answers_can_be_asked_for(who: str) -> None:
    assert request(user("Hi."), respond_as=who).respond_as == who


# Models


@pytest.mark.parametrize("model", ["iyagi", "IYAGI", "test/Model", "TEST/model"])
def test_every_model_takes_its_persona_from_the_messages_or_the_body(model: str) -> None:
    from_messages = request(system("You are Mara."), user("Hi."), model=model)
    assert from_messages.persona.name == "Mara"
    own = request(user("Hi."), model=model, persona={"name": "Ragna"})
    assert own.persona == Persona(name="Ragna")
    chosen = None if model.lower() == "iyagi" else "test/Model"
    assert from_messages.model.name == own.model.name == chosen


def test_a_model_that_nobody_offers_is_refused() -> None:
    for more in ({}, {"persona": {"name": "Ragna"}}):
        with pytest.raises(UnknownModel, match="on offer: test/Model, iyagi") as refused:
            work(user("Hi."), model="gpt-4", **more)
        assert (refused.value.field, refused.value.code) == ("model", "model_not_found")


def filled(text: str) -> str:
    return text.replace("{{char}}", "Nell Harrow").replace("{{user}}", "Robin Ashby")


NELLS_MAIN = system(
    "Write Nell Harrow's next reply in a fictional chat between Nell Harrow and Robin Ashby."
)


def test_a_card_of_the_folder_is_not_there_twice() -> None:
    asked = request(
        NELLS_MAIN,
        system("The well of Nell Harrow's island ran dry in March."),
        system("Robin, 34, records sounds."),
        *(system(filled(text)) for text in (NELL.description, NELL.personality)),
        system(f"[Circumstances and context of the dialogue: {NELL.scenario}]"),
        system("[Example Chat]"),
        system("Is it open?", name="example_user"),
        START,
        assistant(filled(NELL.first_message)),
        user("Hi."),
        system(filled(NELL.post_history_instructions)),
        model="nell HARROW",
    )
    rest = f"{NELLS_MAIN['content']}\n\nRobin, 34, records sounds."
    assert asked.persona.system_prompt == f"{{{{original}}}}\n\n{rest}"
    kept = asked.persona.model_copy(update={"system_prompt": ""})
    assert kept == NELL and len(asked.story) == 1
    assert asked.instruction is None and asked.user_name == "Robin Ashby"
    one = request(system("\n\n".join([filled(NELL.description), NELL.personality])), user("Hi."),
                  model="Nell Harrow", user_name="Robin Ashby")  # fmt: skip
    assert one.persona.system_prompt == ""


def test_rules_of_a_card_stay_before_those_of_the_client() -> None:
    card = {"name": "Ragna", "system_prompt": "Be Ragna. {{original}}"}
    asked = request(system("Write long replies. {{original}}"), user("Hi."), persona=card)
    assert asked.persona.system_prompt == "Be Ragna. {{original}}\n\nWrite long replies. "


@pytest.mark.parametrize("said", ["You are Nell.", "You are Eleanor Harrow.", "You are ChatGPT.",
                                  "You are a helpful assistant."])  # fmt: skip
def test_a_character_of_the_folder_stays_where_nobody_else_is_named(said: str) -> None:
    asked = request(system(said), user("Hi."), model="Nell Harrow")
    assert asked.persona.name == "Nell Harrow" and asked.story
    assert asked.persona.system_prompt.endswith(said)
    given_name = request(system("너는 봉숙이야."), user("안녕"), model="구봉숙")
    assert given_name.persona.name == "구봉숙"


def test_the_clients_own_card_of_somebody_else_wins() -> None:
    asked = request(system("You are Mara, a pilot."), user("Hi."), model="Nell Harrow")
    assert (asked.persona.name, asked.persona.first_message) == ("Mara", "")
    assert not asked.story and asked.model.name is None


def test_a_greeting_is_part_of_every_turn_or_of_none() -> None:
    greeting = filled(NELL.first_message)
    without = [request(*chat, model="Nell Harrow") for chat in (
        [user("Hi.")], [user("Hi."), assistant("Ahoy."), user("So?")]
    )]  # fmt: skip
    assert [asked.persona.first_message for asked in without] == ["", ""]
    shown = request(assistant(greeting), user("Hi."), model="Nell Harrow")
    assert shown.persona.first_message == NELL.first_message


def test_the_users_id_stands_where_it_always_did() -> None:
    assert request(user("Hi."), user="u1").user_id == "u1"
    assert request(user("Hi."), user="u1", user_id="u2").user_id == "u2"
    asked = request(user("Hi."), user={"id": "u3", "name": "Finn", "role": "admin"})
    assert (asked.user_id, asked.user_name) == ("u3", "Finn")


def test_several_replies_have_seeds_of_their_own() -> None:
    asked = work(*CHAT, user("So?"), n=3, seed=2**32 - 1)
    assert [each["gen"]["seed"] for each in asked.payloads()] == [2**32 - 1, 0, 1]
    assert len(work(user("Hi."), n=2).payloads()) == 2
