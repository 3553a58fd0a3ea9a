"""The forms in which programs write characters as JSON or YAML.

What is no card of version 1, 2 or 3 becomes one of version 2: its texts stand where a card has
them, and all else is kept under `extensions.iyagi`, by the name of the program.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cards.characters.card import OWN, V2_DEFAULTS, Card, card_of, is_card
from cards.files import Fields, object_in, parse_json
from cards.forms import Document, Form, form_of, keys_in
from schemas.errors import BadRequest
from schemas.request import Persona

Data = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Program:
    """How a program writes a character.

    Args:
        name: of the program.
        fits: whether an object is one of its characters.
        fields: what a card calls a text or a list of texts, and what the program does; of several
            names the first that holds something counts.
        more: fills in what is no text of its own, from the object and its place for warnings.
    """

    name: str
    fits: Callable[[Data], bool]
    fields: Mapping[str, tuple[str, ...]]
    more: Callable[[Fields, Data], None] | None = None

    def read(self, value: Data) -> Card:
        """The card that one of its characters is."""
        warnings: list[str] = []
        data, rest = self._filled(value, warnings)
        if self.more:
            self.more(Fields(value, "", warnings), data)
        return made(self.name, data, rest, warnings)

    def _filled(self, value: Data, warnings: list[str]) -> tuple[Data, Data]:
        """The fields of a card, and what is left of the object."""
        fields, data, used = Fields(value, "", warnings), {}, set[str]()
        for ours, theirs in self.fields.items():
            for name in theirs:
                found: Any = (
                    [*fields.texts(name, commas=ours == "tags")]
                    if isinstance(V2_DEFAULTS[ours], list)
                    else fields.text(name)
                )
                if name in value and (found or name == theirs[-1]):
                    data[ours] = found
                    used |= {name} if _is_plain(value[name]) else set()
                    break
        return data, {key: item for key, item in value.items() if key not in used}


def made(
    program: str, data: Data, rest: Data, warnings: Iterable[str], *, form: str | None = None
) -> Card:
    """A card of version 2, or of 3 where it has a nickname or pictures, from another form.

    Args:
        program: what wrote it.
        data: the fields of the card.
        rest: what a card has no field for.
        warnings: what was odd in it.
        form: what it was taken for.
    """
    data = copy.deepcopy({**V2_DEFAULTS, **data})
    if rest:
        data["extensions"] = {**data["extensions"], OWN: {program: rest}}
    newer = "nickname" in data or "assets" in data
    version = {"spec": "chara_card_v3", "spec_version": "3.0"} if newer else _V2
    if newer:
        data.setdefault("group_only_greetings", [])
    card = card_of({**version, "data": data})
    return replace(
        card,
        form=form or f"character of {program}",
        warnings=(*dict.fromkeys(warnings), *card.warnings),
    )


_V2 = {"spec": "chara_card_v2", "spec_version": "2.0"}


def _is_plain(value: Any) -> bool:
    """Whether a card has all of a value once it has its text."""
    return value is None or isinstance(value, str) or _is_texts(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _has(value: Data, *names: str) -> bool:
    return all(isinstance(value.get(name), str) for name in names)


# Agnai (agnaistic/agnai, common/types/schema and common/characters)


def _is_agnai(value: Data) -> bool:
    native = value.get("kind") == "character" or {"persona", "greeting", "sampleChat"} <= {*value}
    return native and _has(value, "name") and not is_card(value)


def _more_agnai(value: Fields, data: Data) -> None:
    persona = value.data.get("persona")
    data["description"] = persona if isinstance(persona, str) else _persona(value, data["name"])
    data["extensions"] = value.object("extensions")
    if entries := Fields(value.object("characterBook"), "characterBook", []).objects("entries"):
        data["character_book"] = _agnai_book(value.object("characterBook"), entries)
    insert = Fields(value.object("insert"), "insert", [])
    if note := insert.text("prompt").strip():
        depth = {"prompt": note, "depth": insert.whole("depth", 0, 1000, 3), "role": "system"}
        data["extensions"] = {"depth_prompt": depth, **data["extensions"]}


def _persona(value: Fields, name: str) -> str:
    """The persona in words, as the program writes it into its prompts (`formatCharacter`)."""
    persona = value.object("persona")
    attributes = Fields(object_in(persona, "attributes"), "persona", [])
    traits = {key: attributes.texts(key, commas=False) for key in attributes.data}
    if not traits and persona:
        value.warn(f"`persona` has no text that is known here; its keys are {keys_in(persona)}")
    quoted = {key: [f'"{word}"' for word in words] for key, words in traits.items()}
    match persona.get("kind"):
        case "wpp":
            lines = [f"{key}({' + '.join(words)})" for key, words in quoted.items()]
            return "\n".join([f'[character("{name}") {{', *lines, "}]"])
        case "sbf":
            lines = [f"{key}: {', '.join(words)}" for key, words in quoted.items()]
            return f'[ character: "{name}"; {"; ".join(lines)} ]'
        case "boostyle":
            return " + ".join([name, *(word for words in traits.values() for word in words)])
        case "attributes":
            lines = [f"{key}: {', '.join(words)}" for key, words in traits.items()]
            return "\n".join([f"Name: {name}", *lines])
    return "\n".join(word for words in traits.values() for word in words)


_AGNAI_ENTRY = {
    **{"keywords": "keys", "entry": "content", "weight": "insertion_order"},
    **{"secondaryKeys": "secondary_keys", "caseSensitive": "case_sensitive"},
}
_AGNAI_BOOK = {
    **{"scanDepth": "scan_depth", "tokenBudget": "token_budget"},
    "recursiveScanning": "recursive_scanning",
}


def _agnai_book(book: Data, entries: list[Data]) -> Data:
    """A memory book in the names of a card's book; one that has these already stays."""
    rows = [{_AGNAI_ENTRY.get(key, key): item for key, item in entry.items()} for entry in entries]
    for row in rows:
        row.setdefault("enabled", True)
        row.setdefault("insertion_order", 100)
        row.setdefault("extensions", {})
    named = {_AGNAI_BOOK.get(key, key): item for key, item in book.items() if key != "entries"}
    return {"extensions": {}, **named, "entries": rows}


# Sites that follow Pygmalion's own (PygmalionAI/paphos-backend, SpicyChat)


def _is_site(value: Data) -> bool:
    known = {"world_scenario", "example_chats", "dialogue", "example_dialogue"} & value.keys()
    return _has(value, "name", "persona", "greeting") and bool(known) and not _is_agnai(value)


# text-generation-webui (docs, "Custom chat characters")

_WEBUI = frozenset(
    (
        *("name", "bot", "user", "your_name", "name1", "name2", "context", "greeting"),
        *("example_dialogue", "turn_template", "user_bio", "bio", "system_message"),
    )
)
_PERSONA_OPENS = re.compile(r"\A(?:\{\{char\}\}|<BOT>|[^\n:]{1,100})'s [Pp]ersona:[ \t]*")
_SCENARIO = re.compile(r"^(?:Scenario|World scenario):[ \t]*", re.MULTILINE)
_DIALOGUE = re.compile(r"^(?:<START>|\{\{(?:char|user)\}\}:|<(?:BOT|USER)>:|You:)", re.MULTILINE)


def _is_webui(value: Data) -> bool:
    named = _has(value, "name") or _has(value, "bot")
    known = "greeting" in value or value.keys() <= _WEBUI
    template = "turn_template" in value and "greeting" not in value
    other = template or {"messages", "history", "data_visible"} & value.keys()
    return (
        named
        and known
        and not (other or _is_site(value))
        and _has(value, "context")
        and not is_card(value)
    )


def _more_webui(value: Fields, data: Data) -> None:
    """Parts the text at the top of the prompt, where it is built as for Pygmalion."""
    context = value.text("context")
    opening = _PERSONA_OPENS.match(context)
    if opening is None:
        return
    text = context[opening.end() :]
    dialogue = _DIALOGUE.search(text)
    about, said = (text[: dialogue.start()], text[dialogue.start() :]) if dialogue else (text, "")
    scenario = _SCENARIO.search(about)
    if scenario:
        data["scenario"] = about[scenario.end() :].strip()
        about = about[: scenario.start()]
    said = "" if said.strip() == "<START>" else said.strip().removesuffix("\n<START>").strip()
    data["description"] = about.strip()
    data["mes_example"] = "\n".join(filter(None, (said, data.get("mes_example", "")))).strip()


# Character.AI

_TALK = re.compile(r"(?:\{\{(?:char|user|random_user_\d+)\}\}|<START>)")


def _is_cai(value: Data) -> bool:
    known = {"definition", "participant__name", "external_id"} & value.keys()
    taken = _is_agnai(value) or _is_site(value) or is_card(value)
    return _has(value, "greeting") and bool(known) and not taken


def _more_cai(value: Fields, data: Data) -> None:
    """The definition is free text; from the first line that somebody says it is an example."""
    lines = value.text("definition").replace("END_OF_DIALOG", "<START>").splitlines()
    said = (
        row
        for row, line in enumerate(lines)
        if _TALK.match(line) or (data["name"] and line.startswith(f"{data['name']}:"))
    )
    first = next(said, len(lines))
    data["mes_example"] = "\n".join(lines[first:])
    about = [value.text("title"), value.text("description"), "\n".join(lines[:first])]
    data["description"] = "\n\n".join(text.strip() for text in about if text.strip())


# Backyard AI and Faraday (ahoylabs/byaf)

_TURN = re.compile(r"#\{(user|character)\}:", re.IGNORECASE)
_WHO = re.compile(r"(?<!\{)\{(user|character)\}(?!\})", re.IGNORECASE)
_MACROS = {"user": "{{user}}", "character": "{{char}}"}


def in_macros(text: str) -> str:
    """A text of Backyard with the macros of a card."""
    text = _TURN.sub(lambda found: _MACROS[found[1].lower()] + ":", text)
    return _WHO.sub(lambda found: _MACROS[found[1].lower()], text)


def backyard_book(items: Iterable[Data]) -> Data:
    """The lore of Backyard as a card's book; its keys stand in one text, with commas."""
    entries = [
        {
            "keys": [key.strip() for key in in_macros(row.text("key")).split(",") if key.strip()],
            "content": in_macros(row.text("value")),
            **{"enabled": True, "insertion_order": number, "extensions": {}},
        }
        for number, row in enumerate(Fields(item, "", []) for item in items)
    ]
    return {"entries": entries, "extensions": {}}


def called(name: str, full: str) -> Data:
    """The name of a character of Backyard, and its nickname where it has one."""
    name, full = name.strip(), full.strip()
    if not full or name.casefold() == full.casefold():
        return {"name": full or name}
    return {"name": full, "nickname": name} if name else {"name": full}


def _is_backyard(value: Data) -> bool:
    return _has(value, "aiName") and bool(
        {"aiPersona", "customDialogue", "firstMessage"} & value.keys()
    )


def _more_backyard(value: Fields, data: Data) -> None:
    for name in ("description", "scenario", "first_mes", "mes_example", "system_prompt"):
        data[name] = in_macros(data.get(name, ""))
    data |= called(value.text("aiName"), value.text("aiDisplayName"))
    if items := value.objects("loreItems"):
        data["character_book"] = backyard_book(items)
    if any(chat.get("ChatItems") for chat in value.objects("Chat")):
        value.warn("its chats are left out")


# Chub (node.definition of its API) and JanitorAI, which call the note for people `description`


def _is_chub(value: Data) -> bool:
    inner = object_in(object_in(value, "node"), "definition")
    known = "tavern_personality" in value and "first_message" in value
    return known or {"first_message", "personality"} <= inner.keys()


def _read_chub(value: Data) -> Card:
    node = object_in(value, "node")
    if not node:
        return _CHUB.read(value)
    topics, path = Fields(node, "", []).texts("topics"), str(node.get("fullPath", ""))
    definition = {**object_in(node, "definition")}
    definition.setdefault("name", node.get("name"))
    definition.setdefault("topics", [*topics])
    definition.setdefault("creator", path.partition("/")[0])
    rest = {key: item for key, item in node.items() if key != "definition"}
    return _CHUB.read({**definition, "node": rest})


def _more_chub(value: Fields, data: Data) -> None:
    data["extensions"] = value.object("extensions")
    if book := value.object("embedded_lorebook"):
        data["character_book"] = book


def _is_janitor(value: Data) -> bool:
    known = {"first_message", "first_messages", "example_dialogs"} & value.keys()
    ours = value.keys() <= Persona.model_fields.keys()
    named = _has(value, "name") or _has(value, "chat_name")
    return bool(known) and named and "personality" in value and not (ours or _is_chub(value))


def _more_janitor(value: Fields, data: Data) -> None:
    first = [text for text in value.texts("first_messages", commas=False) if text.strip()]
    if first:
        data["first_mes"] = data.get("first_mes") or first[0]
        data["alternate_greetings"] = [text for text in first if text != data["first_mes"]]


# RisuAI, as it keeps a character itself


def _is_risu(value: Data) -> bool:
    known = {"desc", "globalLore", "chaId"} & value.keys()
    return _has(value, "name", "firstMessage") and bool(known)


def _more_risu(value: Fields, data: Data) -> None:
    entries = [
        {
            "keys": [*row.texts("key")],
            "secondary_keys": [*row.texts("secondkey")],
            "content": row.text("content"),
            "comment": row.text("comment"),
            "insertion_order": row.number("insertorder", -1e9, 1e9, 100),
            **{"enabled": True, "selective": row.flag("selective")},
            **{"constant": row.flag("alwaysActive"), "use_regex": row.flag("useRegex")},
            "extensions": {},
        }
        for row in (Fields(item, "globalLore", []) for item in value.objects("globalLore"))
        if row.data.get("mode") != "folder"
    ]
    if entries:
        data["character_book"] = {"entries": entries, "extensions": {}}


_CHUB = Program(
    name="Chub",
    fits=_is_chub,
    fields={
        **{"name": ("name",), "description": ("personality",), "scenario": ("scenario",)},
        **{"personality": ("tavern_personality",), "first_mes": ("first_message",)},
        **{"mes_example": ("example_dialogs",), "creator_notes": ("description",)},
        **{"system_prompt": ("system_prompt",), "creator": ("creator",)},
        "post_history_instructions": ("post_history_instructions",),
        **{"alternate_greetings": ("alternate_greetings",), "tags": ("topics", "tags")},
        "character_version": ("character_version",),
    },
    more=_more_chub,
)

PROGRAMS = (
    Program(
        name="Agnai",
        fits=_is_agnai,
        fields={
            **{"name": ("name",), "creator_notes": ("description",), "scenario": ("scenario",)},
            **{"first_mes": ("greeting",), "mes_example": ("sampleChat",), "tags": ("tags",)},
            **{"system_prompt": ("systemPrompt",), "creator": ("creator",)},
            "post_history_instructions": ("postHistoryInstructions",),
            "alternate_greetings": ("alternateGreetings",),
            "character_version": ("characterVersion",),
        },
        more=_more_agnai,
    ),
    Program(
        name="Pygmalion",
        fits=lambda value: _has(value, "char_name") and not is_card(value),
        fields={
            **{"name": ("char_name",), "description": ("char_persona",)},
            **{"first_mes": ("char_greeting",), "scenario": ("world_scenario",)},
            **{"mes_example": ("example_dialogue",), "personality": ("personality",)},
        },
    ),
    Program(
        name="a Pygmalion site",
        fits=_is_site,
        fields={
            **{"name": ("name",), "description": ("persona",), "first_mes": ("greeting",)},
            **{"scenario": ("world_scenario", "scenario"), "creator_notes": ("description",)},
            **{"mes_example": ("example_chats", "example_dialogue", "dialogue"), "tags": ("tags",)},
        },
    ),
    Program(
        name="text-generation-webui",
        fits=lambda value: _is_webui(value) and not _is_cai(value) and not _is_agnai(value),
        fields={
            **{"name": ("name", "bot"), "description": ("context",), "first_mes": ("greeting",)},
            "mes_example": ("example_dialogue",),
        },
        more=_more_webui,
    ),
    Program(
        name="Character.AI",
        fits=_is_cai,
        fields={"name": ("name", "participant__name"), "first_mes": ("greeting",)},
        more=_more_cai,
    ),
    Program(
        name="Backyard AI",
        fits=_is_backyard,
        fields={
            **{"description": ("aiPersona",), "scenario": ("scenario",)},
            **{"first_mes": ("firstMessage",), "mes_example": ("customDialogue",)},
            "system_prompt": ("basePrompt",),
        },
        more=_more_backyard,
    ),
    Program(
        name="JanitorAI",
        fits=_is_janitor,
        fields={
            **{"name": ("name", "chat_name"), "description": ("personality",)},
            **{"scenario": ("scenario",), "first_mes": ("first_message",)},
            **{"mes_example": ("example_dialogs", "example_dialogue")},
            "creator_notes": ("description",),
        },
        more=_more_janitor,
    ),
    Program(
        name="RisuAI",
        fits=_is_risu,
        fields={
            **{"name": ("name",), "description": ("desc",), "first_mes": ("firstMessage",)},
            **{"personality": ("personality",), "scenario": ("scenario",), "tags": ("tags",)},
            **{"mes_example": ("exampleMessage",), "creator_notes": ("creatorNotes",)},
            **{"system_prompt": ("systemPrompt",), "creator": ("creator",)},
            "post_history_instructions": ("replaceGlobalNote",),
            "alternate_greetings": ("alternateGreetings",),
            "character_version": ("characterVersion",),
        },
        more=_more_risu,
    ),
)


def _read_card(document: Document) -> Card:
    return card_of(document.value, document.content)


def _form(program: Program) -> Form[Card]:
    def fits(value: Any) -> bool:
        return isinstance(value, dict) and program.fits(value)

    return Form(f"character of {program.name}", fits, lambda document: program.read(document.value))


def _is_plain_card(value: Any) -> bool:
    if not isinstance(value, dict) or is_card(value):
        return isinstance(value, dict)
    data = object_in(value, "data")  # of a version that is not known yet
    about = ({*V2_DEFAULTS} - {"name", "extensions"}) & data.keys()
    return _has(value, "spec") and _has(data, "name") and bool(about) and "entries" not in data


_SINGLE: tuple[Form[Card], ...] = (
    Form("character card", _is_plain_card, _read_card),
    *map(_form, PROGRAMS),
    Form(
        "character of Chub",
        lambda value: isinstance(value, dict) and _is_chub(value),
        lambda document: _read_chub(document.value),
    ),
)

# Cards inside something: a list of one, or an object of one field

_WRAPPERS = ("character", "char", "card", "data")
_CHATS = ("messages", "history", "histories", "chats", "lines")


def _inside(value: Any) -> tuple[Any, str]:
    """What a wrapper holds, and the keys that stand beside it."""
    if isinstance(value, list) and len(value) == 1:
        return value[0], ""
    if not isinstance(value, dict) or form_of(value, _SINGLE) or value.keys() & {*_CHATS}:
        return None, ""
    inner = next((key for key in _WRAPPERS if form_of(value.get(key), _SINGLE)), None)
    beside = keys_in({key: item for key, item in value.items() if key != inner})
    return (value[inner], beside) if inner else (None, "")


def _is_wrapped(value: Any) -> bool:
    return form_of(_inside(value)[0], _SINGLE) is not None


def _read_wrapped(document: Document) -> Card:
    inner, beside = _inside(document.value)
    card = of_value(inner)
    told = (f"what stands beside the character is left out: {beside}",) if beside else ()
    return replace(card, warnings=(*card.warnings, *told))


def _is_many(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(form_of(v, _SINGLE) for v in value)


def _refuse_many(document: Document) -> Card:
    raise BadRequest(
        f"holds {len(document.value)} characters; save each of them in a file of its own"
    )


# What people take for a character, and is none

_NO_CHARACTERS: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    (
        "preset of SillyTavern",
        (
            *(("temp_openai",), ("prompts", "prompt_order"), ("input_sequence", "output_sequence")),
            *(("story_string",), ("temp", "rep_pen"), ("instruct", "context")),
        ),
    ),
    ("regex script of SillyTavern", (("findRegex", "replaceString"),)),
    ("set of quick replies of SillyTavern", (("qrList",), ("quickReplySlots",))),
    ("theme of SillyTavern", (("main_text_color", "blur_strength"), ("blur_tint_color",))),
    ("settings file of SillyTavern", (("power_user", "extension_settings"),)),
    ("backup of personas of SillyTavern", (("personas", "persona_descriptions"),)),
    ("group of SillyTavern", (("members", "activation_strategy"),)),
    ("preset of RisuAI", (("mainPrompt", "jailbreak"), ("promptTemplate", "temperature"))),
    ("instruction template", (("turn_template", "context"), ("instruction_template",))),
)


def _not_ours(name: str, signs: tuple[tuple[str, ...], ...]) -> Form[Card]:
    def fits(value: Any) -> bool:
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict) or form_of(value, _SINGLE):
            return False
        return any(all(key in value for key in keys) for keys in signs)

    def refuse(document: Document) -> Card:
        raise BadRequest(f"is a {name}, and no character, lorebook or chat")

    return Form(name, fits, refuse)


def _is_risu_part(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("type") not in _RISU_PARTS:
        return False
    return not isinstance(object_in(value, "module").get("lorebook"), list)  # which is a lorebook


_RISU_PARTS = ("risuModule", "risuPreset", "regex")


def _refuse_risu_part(document: Document) -> Card:
    raise BadRequest("is a module or preset of RisuAI, and no character, lorebook or chat")


FORMS: tuple[Form[Card], ...] = (
    *_SINGLE,
    Form("character card", _is_wrapped, _read_wrapped),
    Form("several characters", _is_many, _refuse_many),
    *(_not_ours(name, signs) for name, signs in _NO_CHARACTERS),
    Form("part of RisuAI", _is_risu_part, _refuse_risu_part),
)


def of_value(value: Any, content: bytes = b"") -> Card:
    """The card that a JSON value is, in whatever form.

    Raises:
        BadRequest: it is none.
    """
    form = form_of(value, FORMS)
    if form is None:
        if not isinstance(value, dict):
            raise BadRequest("must hold a JSON object, such as a card or a book")
        return card_of(value, content)  # says what it lacks
    return form.read(Document(value=value, content=content))


def read_character(content: bytes) -> Card:
    """The card in a JSON document, in whatever form.

    Raises:
        BadRequest: it is not JSON, or no character.
    """
    return of_value(parse_json(content), content)
