"""Characters as other programs write them, told apart and with nothing lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from cards.characters.card import Card, to_persona
from cards.characters.foreign import FORMS, read_character
from cards.lore.of_card import book_of, lore_of
from cards.read import FORMS as ALL
from cards.read import read_any
from schemas.errors import BadRequest
from schemas.request import Persona
from tests.cards.cards_support import as_json, v2, v3

AGNAI: dict[str, Any] = {
    **{"kind": "character", "_id": "a1", "name": "Kai", "description": "for people: by lamplight"},
    "persona": {"kind": "text", "attributes": {"text": ["Kai tends the lamp."]}},
    **{"appearance": "tall", "greeting": "Ahoy.", "scenario": "A lighthouse."},
    **{"sampleChat": "{{char}}: Mind the step.", "alternateGreetings": ["Come in, sit down."]},
    **{"systemPrompt": "Write as Kai.", "postHistoryInstructions": "Stay brief."},
    **{"creator": "K", "characterVersion": "2", "tags": ["sea"], "visualType": "avatar"},
    "extensions": {"other": {"x": 1}},
    "insert": {"prompt": "It is foggy.", "depth": 2},
    "characterBook": {
        **{"kind": "memory", "name": "Coast", "description": ""},
        "entries": [
            {
                **{"name": "reef", "entry": "Ships sank there.", "keywords": ["reef", "rocks"]},
                **{"priority": 5, "weight": 7, "enabled": True},
            },
            {"name": "off", "entry": "x", "keywords": ["y"], "enabled": False},
        ],
    },
}
PYGMALION = {
    **{"char_name": "Kai", "char_persona": "Kai tends the lamp.", "char_greeting": "Ahoy."},
    **{"world_scenario": "A lighthouse.", "example_dialogue": "{{char}}: Mind the step."},
    "metadata": {"version": 1, "tool": {"name": "editor"}},
}
CONTEXT = (
    "Kai's Persona: Kai tends the lamp.\nScenario: A lighthouse.\n"
    "{{user}}: Is it far?\n{{char}}: A mile."
)
WEBUI = {"name": "Kai", "greeting": "Ahoy.", "context": CONTEXT, "your_name": "Min"}
CAI = {
    **{"external_id": "x1", "title": "Keeper of the lamp", "name": "Kai", "greeting": "Ahoy."},
    **{"description": "Kai tends the lamp.", "visibility": "PUBLIC", "copyable": True},
    "definition": "Kai is patient.\n{{char}}: Mind the step.\n{{random_user_1}}: Thanks.\n"
    "END_OF_DIALOG\n{{char}}: Good night.",
}
FARADAY = {
    "version": 4,
    "character": {
        **{"id": "b1", "aiName": "Kai", "aiDisplayName": "Kai the Keeper", "temperature": 0.8},
        **{"aiPersona": "{character} tends the lamp.", "firstMessage": "Ahoy, {user}."},
        **{"scenario": "A lighthouse.", "customDialogue": "#{character}: Mind the step."},
        **{"basePrompt": "Write as {character}.", "loreItems": [{"key": "a, b", "value": "c"}]},
        "Chat": [{"ChatItems": []}],
    },
}
CHUB: dict[str, Any] = {
    "errors": None,
    "node": {
        **{"id": 7, "name": "Kai", "fullPath": "somebody/kai-1", "topics": ["sea", "calm"]},
        "tagline": "lamp",
        "definition": {
            **{"name": "Kai", "description": "for people", "personality": "Kai tends the lamp."},
            **{"tavern_personality": "patient", "scenario": "A lighthouse."},
            **{"first_message": "Ahoy.", "example_dialogs": "{{char}}: Mind the step."},
            **{"alternate_greetings": ["Come in."], "system_prompt": "Write as Kai."},
            "embedded_lorebook": {"entries": [{"keys": ["reef"], "content": "Ships sank there."}]},
        },
    },
}
JANITOR = {
    **{"name": "Kai", "description": "<p>for people</p>", "personality": "Kai tends the lamp."},
    **{"scenario": "A lighthouse.", "first_message": "Ahoy.", "showdefinition": True},
    "example_dialogs": "{{char}}: Mind the step.",
}
RISU = {
    **{"type": "character", "name": "Kai", "firstMessage": "Ahoy.", "desc": "Kai tends the lamp."},
    **{"scenario": "A lighthouse.", "exampleMessage": "{{char}}: Mind the step."},
    **{"alternateGreetings": ["Come in."], "creatorNotes": "for people", "chaId": "r1"},
    "globalLore": [
        {"key": "reef, rocks", "content": "Ships sank there.", "insertorder": 5, "comment": "reef"},
        {"key": "", "content": "", "mode": "folder"},
    ],
}
SITE = {
    **{"name": "Kai", "persona": "Kai tends the lamp.", "greeting": "Ahoy.", "tags": ["sea"]},
    **{"description": "for people", "world_scenario": "A lighthouse.", "visibility": "public"},
    "example_chats": "{{char}}: Mind the step.",
}
V1 = {
    **{"name": "Kai", "description": "Kai tends the lamp.", "personality": ""},
    **{"scenario": "A lighthouse.", "first_mes": "Ahoy.", "mes_example": ""},
    **{"char_name": "Kai", "avatar": "none"},
}

SAMPLES: dict[str, tuple[Any, str]] = {
    "V1": (V1, "character card V1"),
    "V2": (v2(name="Kai"), "character card V2"),
    "V3": (v3(name="Kai"), "character card V3"),
    "newer": ({**v3(name="Kai"), "spec": "chara_card_v4"}, "character card V3"),
    "no spec": ({"data": v2(name="Kai")["data"]}, "character card V2"),
    "spec at V1": ({**V1, "spec": "chara_card_v2"}, "character card V1"),
    "in a list": ([v2(name="Kai")], "character card V2"),
    "in an object": ({"character": v2(name="Kai")}, "character card V2"),
    "V1 in an object": ({"char": V1}, "character card V1"),
    "V1 without greeting": (
        {
            **{name: V1[name] for name in ("name", "description", "personality", "scenario")},
            "id": 1,
        },
        "character card V1",
    ),
    "site": (SITE, "character of a Pygmalion site"),
    "Agnai": (AGNAI, "character of Agnai"),
    "Agnai without its kind": (
        {key: value for key, value in AGNAI.items() if key != "kind"},
        "character of Agnai",
    ),
    "Pygmalion": (PYGMALION, "character of Pygmalion"),
    "web UI": (WEBUI, "character of text-generation-webui"),
    "CAI": (CAI, "character of Character.AI"),
    "CAI in an object": ({"character": CAI}, "character of Character.AI"),
    "Faraday": (FARADAY, "character of Backyard AI"),
    "Chub": (CHUB, "character of Chub"),
    "Chub's definition": (CHUB["node"]["definition"], "character of Chub"),
    "JanitorAI": (JANITOR, "character of JanitorAI"),
    "RisuAI": (RISU, "character of RisuAI"),
}


def read(value: Any) -> Card:
    thing = read_any(as_json(value))
    assert isinstance(thing, Card)
    return thing


@pytest.mark.parametrize("name", SAMPLES)
def test_a_form_is_told_by_its_keys(name: str) -> None:
    value, form = SAMPLES[name]
    assert sum(it.fits(value) for it in ALL) == 1, "a value has one form"
    card = read(value)
    assert card.form == form and card.called.startswith(("Kai", "하늘이"))
    to_persona(card)


WHOLE = ("Agnai", "Pygmalion", "site", "web UI", "Faraday", "Chub", "JanitorAI", "RisuAI")


@pytest.mark.parametrize("name", WHOLE)
def test_every_text_comes_to_its_place(name: str) -> None:
    card = read(SAMPLES[name][0])
    told = {text.replace("{{char}}", "Kai") for text in (card.description, card.first_mes)}
    assert "Kai tends the lamp." in told and any(text.startswith("Ahoy") for text in told)
    assert card.scenario == "A lighthouse."
    assert card.mes_example.startswith(("{{char}}: Mind the step.", "{{user}}: Is it far?"))
    prompt = json.dumps(to_persona(card).model_dump(exclude={"extensions"}))
    prompt = prompt.replace("{{user}}", "")
    assert "for people" not in prompt and "{character}" not in prompt and "{user}" not in prompt
    if name in ("Agnai", "site", "Chub", "JanitorAI", "RisuAI"):
        assert "for people" in card.creator_notes


@pytest.mark.parametrize("name", ["Agnai", "Faraday", "Chub", "RisuAI"])
def test_their_lore_is_the_cards_book(name: str) -> None:
    card = read(SAMPLES[name][0])
    entry = book_of(card).entries[0]
    assert entry.keys[0] in ("reef", "a") and entry.content in ("Ships sank there.", "c")
    if name == "Agnai":
        assert [entry.enabled for entry in book_of(card).entries] == [True, False]
        assert lore_of(card).entries[-1].content == "It is foggy."
        assert card.data["character_book"]["entries"][0]["priority"] == 5
        assert card.alternate_greetings == ("Come in, sit down.",)


WORDS = {"mood": ["calm", "dry wit"], "likes": ["fog"]}
PERSONAS = [
    ("wpp", '[character("Kai") {\nmood("calm" + "dry wit")\nlikes("fog")\n}]'),
    ("sbf", '[ character: "Kai"; mood: "calm", "dry wit"; likes: "fog" ]'),
    ("boostyle", "Kai + calm + dry wit + fog"),
    ("attributes", "Name: Kai\nmood: calm, dry wit\nlikes: fog"),
    ("unheard of", "calm\ndry wit\nfog"),
]


@pytest.mark.parametrize(("kind", "text"), PERSONAS)
def test_a_persona_of_agnai_in_words(kind: str, text: str) -> None:
    card = read({**AGNAI, "persona": {"kind": kind, "attributes": WORDS}})
    assert card.description == text
    assert card.extensions["iyagi"]["Agnai"]["persona"]["attributes"] == WORDS
    plain = read({**AGNAI, "persona": "Kai, plainly."})
    assert plain.description == "Kai, plainly." and not plain.warnings
    odd = read({**AGNAI, "persona": {"words": "Kai"}})
    assert any("its keys are `words`" in told for told in odd.warnings)


def test_what_a_program_says_of_examples() -> None:
    cai = read(CAI)
    assert cai.description == "Keeper of the lamp\n\nKai tends the lamp.\n\nKai is patient."
    assert cai.mes_example.splitlines()[-2:] == ["<START>", "{{char}}: Good night."]
    webui = read(WEBUI)
    assert webui.mes_example == "{{user}}: Is it far?\n{{char}}: A mile."
    whole = read({**WEBUI, "context": "Kai: a keeper.\nHe is calm."})
    assert whole.description == "Kai: a keeper.\nHe is calm." and whole.mes_example == ""
    janitor = read({**JANITOR, "first_message": "", "first_messages": ["Ahoy.", "Come in."]})
    assert (janitor.first_mes, janitor.alternate_greetings) == ("Ahoy.", ("Come in.",))


def leaves(value: Any) -> set[str]:
    """All texts and numbers of a document, as texts."""
    if isinstance(value, dict):
        return set().union(*(leaves(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(leaves(item) for item in value))
    plain = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    return {str(value)} if plain else set()


@pytest.mark.parametrize("name", [name for name in SAMPLES if name[0] != "V"])
def test_no_field_is_lost(name: str) -> None:
    value = SAMPLES[name][0]
    document = read(value).document
    text = json.dumps(document, ensure_ascii=False)
    parted = {FARADAY["version"], CHUB["errors"], CONTEXT, CAI["definition"], 4}
    for leaf in leaves(value) - {str(item) for item in parted}:
        spelt = leaf.replace("#{character}", "{{char}}").replace("{character}", "{{char}}")
        options = (leaf, spelt.replace("{user}", "{{user}}"))
        assert any(json.dumps(it, ensure_ascii=False)[1:-1] in text for it in options), leaf


def test_greetings_in_one_text_are_one_greeting() -> None:
    for field in ("alternate_greetings", "group_only_greetings"):
        card = read(v3(**{field: "Hello there, friend. Sit, please."}))
        assert getattr(card, field) == ("Hello there, friend. Sit, please.",)
    assert read(v3(tags="sea, fog")).tags == ("sea", "fog")
    assert read(v3(alternate_greetings=" ")).alternate_greetings == ()


@pytest.mark.parametrize(
    "field", ["name", "description", "personality", "scenario", "first_mes", "mes_example"]
)
def test_fields_beside_data_fill_what_is_empty_in_it(field: str) -> None:
    beside = {**v2(**{field: ""}), field: "from beside"}
    card = read(beside)
    assert getattr(card, field) == "from beside"
    assert f"`{field}` is empty in `data`; read from beside it" in card.warnings
    within = read({**v2(**{field: "from within"}), field: "from beside"})
    assert getattr(within, field) == "from within" and not within.warnings


# YAML


def test_yaml_of_the_web_ui() -> None:
    text = yaml.safe_dump(WEBUI, allow_unicode=True, sort_keys=False)
    for content in (text, "---\n# a character\n" + text, "\ufeff" + text.replace("\n", "\r\n")):
        card = read_any(content.encode())
        assert isinstance(card, Card) and card.form == "character of text-generation-webui"
        assert card.name == "Kai" and card.mes_example.endswith("A mile.")
    block = (
        'name: "No"\ngreeting: |-\n  안녕, {{user}}.\n  어서 와.\ncontext: >\n  등대.\n  바다.\n'
    )
    card = read_any(block.encode())
    assert isinstance(card, Card) and card.name == "No"
    assert card.first_mes == "안녕, {{user}}.\n어서 와." and card.description == "등대. 바다."
    pygmalion = read_any(yaml.safe_dump(PYGMALION).encode())
    assert isinstance(pygmalion, Card) and pygmalion.form == "character of Pygmalion"


@pytest.mark.parametrize(
    "text",
    [
        "민준: 안녕\n세라: 응, 왔어?",
        "name: hi\nYou: hello",
        "Context: hi\nYou: hello",
        "name: x\nbot: y\nname: z\nbot: ok",
        "You: name: Kai\nKai: context: none",
    ],
)
def test_a_chat_is_no_yaml(text: str) -> None:
    assert not isinstance(read_any(text.encode()), Card | Persona)


LAUGHS = "name: &a Kai\ncontext: &b [*a, *a]\nl: [*b, *b]\n"
BAD_YAML = [
    (LAUGHS, "anchors"),
    ("name: Kai\ncontext: &x hi\n", "anchors"),
    ("name: Kai\ncontext: " + "[" * 50_000, "nested more than"),
    ("name: Kai\ncontext: 'open\n", "is not YAML at line 2"),
    ("name: Kai\ncontext: a\n\tb: c\n", "is not YAML"),
    ("name: Kai\ncontext: " + "x" * (1 << 20), "1 MB of YAML"),
    ("name: Kai\nturn_template: x\ncontext: y\n", "instruction template"),
]


@pytest.mark.parametrize(("text", "words"), BAD_YAML)
def test_yaml_is_read_within_bounds(text: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_any(text.encode())


def test_yaml_makes_no_objects() -> None:
    card = read_any(
        b"name: !!python/object/apply:os.getcwd []\ncontext: x\ngreeting: y\nbot: Kai\n"
    )
    assert isinstance(card, Card) and card.called == "Kai"


# What is no character

NOT_OURS: dict[str, Any] = {
    "package": {"name": "x", "version": "1.0.0", "description": "d", "scripts": {}},
    "composer": {"name": "a/x", "description": "d", "type": "library", "require": {}},
    "web app": {"name": "x", "short_name": "x", "description": "d", "icons": []},
    "notebook": {"cells": [], "metadata": {"name": "x"}, "nbformat": 4},
    "OpenAPI": {"openapi": "3.1.0", "info": {"title": "x", "description": "d"}, "paths": {}},
    "tsconfig": {"compilerOptions": {"strict": True}, "include": ["src"]},
    "a context of Kubernetes": {"name": "x", "context": {"cluster": "c", "user": "u"}},
    "nothing": {},
    "a name alone in data": {"data": {"name": "x", "id": 3}},
    "another spec": {"spec": "something", "data": {"id": 3}},
}
KNOWN: dict[str, tuple[Any, str]] = {
    "preset": ({"temp_openai": 1, "prompts": []}, "preset of SillyTavern"),
    "new preset": ({"temperature": 1, "prompts": [], "prompt_order": []}, "preset of SillyTavern"),
    "samplers": ({"temp": 1, "rep_pen": 1.1, "top_p": 0.9}, "preset of SillyTavern"),
    "instruct": (
        {"name": "x", "input_sequence": "a", "output_sequence": "b"},
        "preset of SillyTavern",
    ),
    "context": ({"name": "x", "story_string": "a", "chat_start": "b"}, "preset of SillyTavern"),
    "regex": ({"scriptName": "x", "findRegex": "/a/", "replaceString": ""}, "regex script"),
    "regexes": ([{"scriptName": "x", "findRegex": "/a/", "replaceString": ""}], "regex script"),
    "replies": ({"version": 2, "name": "x", "qrList": []}, "quick replies"),
    "theme": ({"name": "x", "main_text_color": "", "blur_strength": 1}, "theme"),
    "settings": ({"power_user": {}, "extension_settings": {}, "username": "x"}, "settings file"),
    "personas": ({"personas": {}, "persona_descriptions": {}}, "backup of personas"),
    "group": ({"name": "x", "members": [], "activation_strategy": 0}, "group of SillyTavern"),
    "Risu preset": ({"name": "x", "mainPrompt": "", "jailbreak": ""}, "preset of RisuAI"),
    "Risu module": ({"type": "risuModule", "module": {}}, "module or preset of RisuAI"),
    "many": ([v2(), v3(), V1], "holds 3 characters"),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_no_character_is_refused_with_its_keys(name: str) -> None:
    value = NOT_OURS[name]
    with pytest.raises(BadRequest) as refused:
        read_any(as_json(value))
    assert all(f"`{key}`" in refused.value.message for key in value)


@pytest.mark.parametrize("name", KNOWN)
def test_what_people_take_for_a_character_is_named(name: str) -> None:
    value, words = KNOWN[name]
    with pytest.raises(BadRequest, match=words):
        read_any(as_json(value))
    with pytest.raises(BadRequest, match=words):
        read_character(as_json(value))
    assert sum(form.fits(value) for form in FORMS) == 1


def test_a_book_of_version_3_is_no_card() -> None:
    book = {"name": "Coast", "description": "d", "entries": [{"keys": ["reef"], "content": "x"}]}
    thing = read_any(as_json({"spec": "lorebook_v3", "data": book}))
    assert not isinstance(thing, Card | Persona)


def test_a_persona_of_ours_stays_one() -> None:
    for value in (
        {"name": "Kai", "personality": "calm", "first_message": "Ahoy."},
        {"name": "Kai"},
    ):
        persona = read_any(as_json(value))
        assert isinstance(persona, Persona) and persona.name == "Kai"
