"""What stands where in a prompt, and what the ledger says of it."""

from __future__ import annotations

import json
import random
from itertools import permutations

import pytest

from prompts import build
from prompts.build import build_prompt, with_retrieved
from prompts.plan import plan
from schemas.formats import FORMATS
from schemas.rag import (
    ChatRAGResult,
    DialogueTurn,
    EventSimilarity,
    Ledger,
    Lore,
    PromptBuildInput,
    RAGChunk,
    StoryRAGResult,
    Upcoming,
)
from schemas.request import CONTINUE, Message, Persona, Speaker, StoryEvent
from schemas.state import Route, StoryProgress
from tests.prompts.prompts_support import chat, event, memory, turn

FULL = {
    "persona": Persona(
        name="Sera", description="CARD", scenario="SCENE", example_dialogue="EXAMPLE", language="en"
    ),
    "lore": [RAGChunk(id="l", source="story", text="LORE")],
    "history": [
        DialogueTurn(role="user", name="Min", content="FIRST"),
        DialogueTurn(role="narrator", name="Narrator", content="SECOND"),
    ],
    "user_message": "MESSAGE",
    "chat_context": [memory("m", "MEMORY")],
    "story_context": [event("e", "EVENT")],
    "state": "STATE",
    "direction": "DIRECTION",
    "wish": "WISH",
    "user_note": "STANDING",
}


def order(prompt: str, *parts: str) -> list[str]:
    """The parts in the order in which they stand; each stands once."""
    assert all(prompt.count(part) == 1 for part in parts), [prompt.count(part) for part in parts]
    return sorted(parts, key=prompt.index)


def system_of(given: PromptBuildInput) -> str:
    return build_prompt(given).prompt.partition("<|im_end|>")[0]


@pytest.mark.parametrize("name", FORMATS)
def test_order_of_the_parts(name: str) -> None:
    parts = ["CARD", "SCENE", "EXAMPLE", "FIRST", "SECOND", "MESSAGE", "MEMORY", "EVENT", "STATE"]
    output = build_prompt(turn(**FULL, format=name))
    parts += ["DIRECTION", "WISH", "STANDING", "[Now Sera"]
    assert order(output.prompt, *parts) == parts
    assert "LORE" in output.prompt
    assert output.prompt.endswith("Sera:")
    assert output.speaker_name == "Sera"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("before_history", ["CARD", "MEMORY", "FIRST", "MESSAGE", "[Now Sera"]),
        ("depth", ["CARD", "FIRST", "MEMORY", "MESSAGE", "[Now Sera"]),
        ("after_history", ["CARD", "FIRST", "MESSAGE", "MEMORY", "[Now Sera"]),
    ],
)
def test_place_of_the_notes(
    place: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "DEPTH", 1)
    prompt = build_prompt(turn(**FULL, place=place)).prompt
    assert order(prompt, *expected) == expected


def test_both_speakers_share_one_system_block() -> None:
    """And neither depends on the message, the history or what was retrieved."""
    full = turn(**FULL)
    variants = [
        full,
        full.model_copy(update={"speaker": "narrator"}),
        full.model_copy(update={"user_message": "다른 말", "chat_context": [], "direction": ""}),
        full.model_copy(update={"history": [*full.history] * 3}),
    ]
    assert len({system_of(variant) for variant in variants}) == 1
    narrator = build_prompt(variants[1])
    assert narrator.prompt.endswith("\nNarrator:")
    assert narrator.speaker_name == "Narrator"


def test_a_narrator_line_is_on_the_models_side() -> None:
    prompt = build_prompt(turn(**FULL, format="metharme")).prompt
    assert "<|model|>Narrator: SECOND" in prompt


def test_a_system_line_of_the_history_is_a_note_of_the_user_side() -> None:
    history = [DialogueTurn(role="system", name="", content="A day passes.")]
    prompt = build_prompt(turn(history=history)).prompt
    assert "<|im_start|>user\n[A day passes.]<|im_end|>" in prompt
    assert prompt.count("<|im_start|>system") == 1


def test_order_of_retrieval_changes_nothing() -> None:
    memories = [memory(f"m{row}", f"memory {row}", row) for row in range(6)]
    events = [event(f"e{row}", f"event {row}", row) for row in range(5)]
    draw, prompts = random.Random(0), set()
    for _ in range(5):
        draw.shuffle(memories)
        draw.shuffle(events)
        prompts.add(build_prompt(turn(chat_context=[*memories], story_context=[*events])).prompt)
    assert len(prompts) == 1


def test_notes_of_one_place_are_told_by_their_ids() -> None:
    """Parts of one row, and what has no place at all: in one order, however they were ranked."""
    memories = [memory(name, f"memory {name}", 7) for name in "cab"]
    events = [RAGChunk(id=name, source="story", text=f"event {name}") for name in "fde"]
    prompts = {
        build_prompt(turn(chat_context=[*one], story_context=[*other])).prompt
        for one in permutations(memories)
        for other in permutations(events)
    }
    [prompt] = prompts
    told = [f"memory {name}" for name in "abc"] + [f"event {name}" for name in "def"]
    assert order(prompt, *told) == told


def test_secrets_are_the_narrators_alone() -> None:
    given = turn(narrator_only=[event("s", "SECRET")])
    character = build_prompt(given)
    assert "SECRET" not in character.prompt
    assert character.meta["items"] == []
    narrator = build_prompt(given.model_copy(update={"speaker": "narrator"}))
    assert "SECRET" in narrator.prompt


def test_every_chunk_is_delivered_or_dropped_with_a_reason() -> None:
    memories = [memory(f"m{row}", "word " * 30 + str(row), row) for row in range(10)]
    output = build_prompt(turn(chat_context=[*memories, memory("tiny", "x")], volatile_tokens=200))
    items = {item["id"]: item for item in output.meta["items"]}
    assert len(items) == 11
    assert items["m0"]["delivered"] and items["tiny"]["delivered"]  # smaller ones go on
    assert not items["m9"]["delivered"]
    assert "over the budget for notes" in items["m9"]["reason"]
    for chunk in memories:
        assert (chunk.text in output.prompt) == items[chunk.id]["delivered"]


def test_what_the_history_holds_is_not_said_twice() -> None:
    history = [DialogueTurn(role="user", name="Min", content="The key melted.", id="m1")]
    chunks = [
        memory("m1", "anything"),
        memory("other", "The key melted."),
        memory("new", "The pot is blue."),
        memory("new", "The pot is blue."),
    ]
    output = build_prompt(turn(history=history, chat_context=chunks))
    assert [item["delivered"] for item in output.meta["items"]].count(True) == 1
    assert output.prompt.count("The pot is blue.") == 1
    reasons = {item["reason"] for item in output.meta["items"]} - {""}
    assert reasons == {"stands in the verbatim history", "is there already"}


def test_memories_name_who_spoke() -> None:
    chunks = [
        RAGChunk(id="a", source="chat", text="하나", meta={"role": "character", "name": None}),
        RAGChunk(id="b", source="chat", text="둘", meta={"role": "user", "name": None}),
        RAGChunk(id="c", source="chat", text="셋\n넷", meta={"row": 9, "time": "둘째 날"}),
    ]
    prompt = build_prompt(turn(chat_context=chunks)).prompt
    assert "- Sera: 하나\n- Min: 둘\n- (둘째 날) 셋 넷" in prompt


def test_the_greeting_opens_an_empty_chat() -> None:
    persona = Persona(name="Sera", first_message="{{user}}, come in.", language="en")
    first = build_prompt(turn(persona=persona))
    assert "<|im_start|>assistant\nSera: Min, come in.<|im_end|>" in first.prompt
    stored = [DialogueTurn(role="character", name="Sera", content=persona.first_message)]
    assert build_prompt(turn(persona=persona, history=stored)).prompt == first.prompt
    history = [DialogueTurn(role="user", name="Min", content="Hello.")]
    assert "come in" not in build_prompt(turn(persona=persona, history=history)).prompt


def test_examples_go_when_the_chat_outgrows_its_window() -> None:
    """Examples before history; and the history that follows uses their place."""
    persona = Persona(
        name="Sera",
        language="en",
        example_dialogue=f"<START>\nEXAMPLE one {'word ' * 90}\n<start>\nEXAMPLE two",
    )
    dropped = []
    for size in range(0, 60, 2):
        output = build_prompt(turn(persona=persona, history=chat(size), context_length=2500))
        cut = output.meta["cut"]
        dropped.append(cut["dropped_examples"])
        assert output.prompt.count("EXAMPLE") == 2 - cut["dropped_examples"]
        if cut["dropped_messages"]:
            assert cut["dropped_examples"] == 2
    assert dropped == sorted(dropped) and {*dropped} == {0, 2}


def test_long_examples_keep_whole_blocks() -> None:
    blocks = "".join(f"<START>\nEXAMPLE {row} " + "word " * 100 for row in range(9))
    persona = Persona(name="Sera", language="en", example_dialogue=blocks)
    output = build_prompt(turn(persona=persona, context_length=2048))
    kept = output.prompt.count("EXAMPLE")
    assert 0 < kept < 9
    assert output.meta["cut"]["dropped_examples"] == 9 - kept
    assert output.prompt.count("word ") + output.prompt.count("word\n") >= 99 * kept


def test_card_instructions() -> None:
    card = {"name": "Sera", "language": "en", "description": "CARD"}
    rules = system_of(turn(persona=Persona(**card))).partition("# Sera")[0]
    replaced = system_of(turn(persona=Persona(**card, system_prompt="Be {{char}} to {{user}}.")))
    assert "Be Sera to Min." in replaced and "In both voices" not in replaced
    wrapped = system_of(turn(persona=Persona(**card, system_prompt="A {{original}} Z")))
    assert "In both voices" in rules
    assert rules.removeprefix("<|im_start|>system\n").strip() in wrapped
    persona = Persona(**card, post_history_instructions="Always limp, {{char}}.")
    prompt = build_prompt(turn(**{**FULL, "persona": persona})).prompt
    parts = ["MESSAGE", "MEMORY", "Always limp, Sera.", "STANDING", "[Now Sera"]
    assert order(prompt, *parts) == parts


def test_macros_live_in_the_card_only() -> None:
    persona = Persona(name="세라", description="<USER>를 {{Char}}이 본다. {{nonsense}}")
    given = turn(
        persona=persona,
        user_name="민준",
        user_message="{{char}} <BOT>",
        chat_context=[memory("m", "{{user}}")],
    )
    prompt = build_prompt(given).prompt
    assert "민준을 세라가 본다. {{nonsense}}" in prompt
    assert "민준: {{char}} <BOT>" in prompt
    assert "Min: {{user}}" in prompt


def test_continue_says_nothing_in_the_scene() -> None:
    history = [DialogueTurn(role="user", name="Min", content=CONTINUE)]
    prompt = build_prompt(turn(history=history, user_message=CONTINUE)).prompt
    assert CONTINUE not in prompt
    assert "<|im_start|>user\n[Now Sera" in prompt


def test_stops() -> None:
    history = [DialogueTurn(role="character", name="Wren", content="Hm.")]
    output = build_prompt(turn(history=history, stops=["<|stop|>"]))
    assert output.stop == [
        *FORMATS["chatml"].stops,
        "<|stop|>",
        "\nMin:",
        "\nNarrator:",
        "\nWren:",
    ]
    narrator = build_prompt(turn(history=history, speaker="narrator"))
    assert "\nSera:" in narrator.stop and "\nNarrator:" not in narrator.stop


@pytest.mark.parametrize(
    ("persona", "message", "korean"),
    [
        (Persona(name="Sera", language="ko"), "hi", True),
        (Persona(name="세라", language="en"), "안녕", False),
        (Persona(name="세라", language="ja"), "안녕", False),
        (Persona(name="Sera", description="등대지기. 말수가 적다."), "hi", True),
        (Persona(name="Sera", description="A keeper. Her name means 새벽."), "안녕", False),
        (Persona(name="7"), "안녕, 거기 누구야?", True),
    ],
)
def test_language_of_the_words(persona: Persona, message: str, korean: bool) -> None:
    output = build_prompt(turn(persona=persona, user_message=message))
    assert ("두 목소리" in output.prompt) == korean
    assert output.meta["language"] == ("ko" if korean else "en")


def test_reply_language_is_named_where_it_is_known() -> None:
    japanese = turn(persona=Persona(name="Mio", language="ja"))
    assert "in Japanese" in build_prompt(japanese).prompt
    unknown = turn(persona=Persona(name="Mio", description="A keeper."))
    assert "in Japanese" not in build_prompt(unknown).prompt


def test_a_line_without_a_name_bears_that_of_its_role() -> None:
    history = [
        Message(role="user", content="a"),
        Message(role="character", content="b"),
        Message(role="narrator", content="c"),
        Message(role="character", content="d", name="두리"),
    ]
    persona = Persona(name="세라", language="ko")
    prompt = build_prompt(turn(persona=persona, user_name=None, history=history)).prompt
    names = ["유저: a", "세라: b", "내레이터: c", "두리: d"]
    assert [line for line in names if line in prompt] == names


def test_a_plan_that_is_settled_already_gives_the_same_prompt() -> None:
    given = turn(**FULL)
    assert build_prompt(given, planned=plan(given)) == build_prompt(given)


def test_the_ledger_is_plain_data() -> None:
    output = build_prompt(turn(**FULL))
    assert Ledger.model_validate(json.loads(json.dumps(output.meta)))
    again = build_prompt(turn(**FULL))
    assert again.meta["sha256"] == output.meta["sha256"]


def test_chat_messages_carry_the_same() -> None:
    output = build_prompt(turn(**FULL, format="chat"))
    assert [message["role"] for message in output.messages] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert all(message["content"] in output.prompt for message in output.messages)


def test_the_plan_needs_nothing_that_is_retrieved() -> None:
    given = turn(**{**FULL, "history": chat(80)}, context_length=2500)
    bare = {"chat_context": [], "story_context": [], "state": "", "direction": "", "wish": ""}
    early = plan(given.model_copy(update=bare)).verbatim_from
    assert early > 0
    for speaker in ("character", "narrator"):
        late = build_prompt(given.model_copy(update={"speaker": speaker}))
        assert late.meta["cut"]["verbatim_from"] == early


def test_the_same_words_with_another_name_are_another_line() -> None:
    said = Message(role="character", content="Good evening.")
    for name, other in (("Sera", "Kai"), ("Kai", "Sera")):
        persona = Persona(name=name, language="en")
        prompt = build_prompt(turn(persona=persona, history=[said])).prompt
        assert f"{name}: Good evening." in prompt and other not in prompt


def test_each_counter_counts_for_itself() -> None:
    given = turn(history=[Message(role="user", content="one two three")])
    one, two = plan(given, count=len), plan(given, count=lambda text: 2 * len(text))
    assert [2 * tokens for tokens in one.history_tokens] == two.history_tokens


NEAR = EventSimilarity(
    trigger=1, trigger_others=0, event=1, event_others=0, words=1, words_others=0, trigger_words=1
)


@pytest.mark.parametrize("speaker", ["character", "narrator"])
@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("reached", [True, False])
def test_an_event_that_is_reached_is_told_and_witnessed_by_who_is_there(
    speaker: Speaker, present: bool, reached: bool
) -> None:
    there = StoryEvent(
        id="e", order=3, text="EVENT", time="NIGHT", location="PIER",
        characters=["Sera" if present else "Wren"],
    )  # fmt: skip
    progress = StoryProgress(
        position_before=2, position_after=3, event="e" if reached else None, score=1, distance=0,
        why="",
    )  # fmt: skip
    given = with_retrieved(
        turn(direction="", chat_context=[]),
        Lore(passing=[event("l", "LORE")]),
        ChatRAGResult(context=[memory("m", "MEMORY")]),
        StoryRAGResult(
            narrator_only=[event("s", "SECRET")], upcoming=Upcoming(event=there, similarity=NEAR)
        ),
        Route(responded_as=speaker, confidence=1, reason="", note="WISH"),
        progress,
    )
    narrates = speaker == "narrator"
    assert given.direction == ("EVENT" if reached and narrates else "")
    assert given.wish == "WISH"
    assert given.state == ("NIGHT, PIER" if reached and (narrates or present) else "")
    witnessed = reached and present and not narrates
    assert [chunk.id for chunk in given.story_context] == ["l", *(["e"] if witnessed else [])]
    prompt = build_prompt(given).prompt
    assert "\nAsked by Min outside of the scene: WISH]" in prompt
    assert ("EVENT" in prompt) == (witnessed or (reached and narrates))
    assert ("SECRET" in prompt) == narrates and "LORE" in prompt and "MEMORY" in prompt
