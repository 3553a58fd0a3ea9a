"""What a chat completion asks for, as a ChatRequest or as plain work of the model.

`model` names a character of the operator's folder, a language model on offer, or `iyagi`. The
persona is the one in the body; else the folder's; else what the system messages say. A folder's
character stands back where the client's own card names another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from language.korean import is_korean
from language.normal import nfc
from openai_api.errors import UnknownModel
from openai_api.lines import Line
from openai_api.names import Cast, as_name, fold
from openai_api.overlap import SHORT, Known, greeting_in
from openai_api.read import ChatBody, PromptBody
from openai_api.scene import Placed, Scene, read_scene
from openai_api.unfold import paragraphs
from schemas.base import MAX_TEXT
from schemas.errors import BadRequest
from schemas.request import CONTINUE, MAX_INSTRUCTION, MAX_MESSAGE, USER, Persona, StoryEvent

ANY_MODEL = "iyagi"
"""The `model` of a client that leaves the language model to the server."""

LISTED = 20
"""Names of models in a refusal; GET /v1/models has all of them."""

FolderCharacter = tuple[Persona, Sequence[StoryEvent]]
Folder = Callable[[str], FolderCharacter | None]
"""A character of the folder by its name in any case; None where there is none. It may block."""

_RULES = {
    "en": (
        "You are {{char}} in a story that {{user}} and you tell together. Notes in square brackets "
        "guide you; never mention, quote or answer them."
    ),
    "ko": (
        "당신은 {{user}}와 함께 만들어 가는 이야기 속의 {{char}}입니다. 대괄호 안의 메모는 "
        "당신만 보는 안내이니, 따르되 언급하거나 인용하거나 대답하지 마세요."
    ),
}
"""In the place of our longer rules, where a client brings rules of its own."""
_NOBODY = {"en": "Character", "ko": "캐릭터"}
_COMPANION = {
    "en": "A friendly companion who listens, answers plainly and helps where it can.",
    "ko": "이야기를 잘 들어 주고, 알기 쉽게 대답하고, 도울 수 있는 일은 돕는 다정한 말동무.",
}
"""Who answers where nobody said who it is."""


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    payload: dict[str, Any]
    """A ChatRequest, or the input of `Pipeline.complete`, as data."""
    plain: bool = False
    """No turn of a chat."""
    n: int = 1
    places: Mapping[str, str] | None = None
    """Where in the client's body fields of the payload come from."""

    def payloads(self) -> list[dict[str, Any]]:
        """One for each reply; with a seed each has one of its own."""
        seed = self.payload.get("gen", {}).get("seed")
        if seed is None:
            return [self.payload] * self.n
        return [
            {**self.payload, "gen": {**self.payload["gen"], "seed": (seed + row) % 2**32}}
            for row in range(self.n)
        ]

    def in_words_of_the_client(self, error: BadRequest) -> BadRequest:
        """A refusal of the payload with the place that the client knows."""
        field = error.field or ""
        for ours, theirs in (self.places or {}).items():
            if field == ours or field.startswith(f"{ours}."):
                text = error.message.removeprefix(f"{field}: ")
                for inner, outer in _WORDS:
                    text = text.replace(inner, outer)
                return BadRequest(text, field=theirs)
        return error


_WORDS = (
    ("gen.max_new_tokens", "max_tokens"),
    ("card, message and user_note", "messages and user_note"),
    ("card and message", "messages"),
    ("shorten the card or the message", "shorten the system messages or the last one"),
)
"""How a refusal of ours is put where a client sent messages."""


def model_named(name: str, offered: Iterable[str]) -> str | None:
    """The language model of this name, whatever its case; None for `iyagi`.

    Raises:
        UnknownModel: it is not on offer.
    """
    if name.casefold() == ANY_MODEL:
        return None
    known = list(offered)
    if name in known:
        return name
    for one in known:
        if one.casefold() == name.casefold():
            return one
    raise unknown_model([*known, ANY_MODEL])


def unknown_model(known: Sequence[str]) -> UnknownModel:
    """The refusal of a model that is none of these; names the first of them."""
    more = ", ..." if len(known) > LISTED else ""
    names = ", ".join(known[:LISTED])
    return UnknownModel(f"no such model or character; on offer: {names}{more}", field="model")


def prompt_work(body: PromptBody, offered: Sequence[str], folder: Folder) -> list[Work]:
    """The work of a completion, one for each prompt.

    Raises:
        UnknownModel: there is no such model or character.
    """
    model = None if folder(body.model) else model_named(body.model, offered)
    chosen = {"model": {"name": model}} if model else {}
    return [
        Work(
            {"prompt": prompt, "gen": body.gen, **chosen},
            plain=True,
            n=body.n,
            places={"prompt": "prompt"},
        )
        for prompt in body.prompts
    ]


def chat_work(
    body: ChatBody,
    offered: Sequence[str],
    folder: Folder,
    narrated: Callable[[str], bool] | None = None,
) -> Work:
    """What a chat completion asks for.

    Args:
        offered: names of the language models.
        folder: finds a character.
        narrated: whether a reply of this server was the narrator's.

    Raises:
        BadRequest: a text is longer than a request may hold, or there is no such model.
    """
    found = folder(body.model) if body.persona is None else None
    model = None if found else model_named(body.model, offered)
    persona = body.persona or (found[0] if found else None)
    user = as_name(body.beside.get("user_name")) or as_name(body.user_name)
    known = Cast(persona.name, user, tuple(persona.aliases)) if persona else Cast(user=user)
    scene = read_scene(body.lines, known, narrated)
    if found and persona and scene.named and not _same(scene.named, persona):
        persona = found = None  # the client brings the card of somebody else
        scene = read_scene(body.lines, Cast(user=user), narrated)
    chosen = {"model": {"name": model}} if model else {}
    if scene.is_work:
        messages = _as_sent(body.lines)
        return Work(
            {"messages": messages, "gen": body.gen, **chosen},
            plain=True,
            n=body.n,
            places={"messages": "messages"},
        )
    given = dict(body.beside)
    story = list(found[1]) if found else []
    if persona:
        scene, persona = _with_own_card(scene, persona, story)
    else:
        persona = _from_messages(scene, korean=body.korean)
    if found:
        persona = _with_greeting(persona, scene)
    given["persona"] = persona.model_dump(mode="json")
    if story:  # as objects: reading thousands of entries again would take a while
        rest = given.get("story")
        given["story"] = [*story, *(rest if isinstance(rest, list) else [])]
    return _turn(body, scene, given | chosen)


def _turn(body: ChatBody, scene: Scene, given: dict[str, Any]) -> Work:
    """The request of a turn."""
    message, overflow = _shortened(scene.message)
    history = [line for line, _ in scene.history] + overflow
    instruction, notes = _instruction(scene.instructions, given.get("instruction"))
    history += notes
    if body.user_id and "user_id" not in given:
        given["user_id"] = body.user_id
    if scene.cast.user and "user_name" not in given:
        given["user_name"] = scene.cast.user
    if scene.respond_as != "character" or "respond_as" not in given:
        given["respond_as"] = scene.respond_as
    if instruction:
        given["instruction"] = instruction
    own_start = "reply_start" in given
    if scene.reply_start is not None and not own_start:
        given["reply_start"] = scene.reply_start
    at = scene.message.at
    places = {
        "history": "messages",
        "message": f"messages.{at}.content" if at >= 0 else "messages",
        "gen.max_new_tokens": "max_tokens",
        "model.name": "model",
        "reply_start": "reply_start" if own_start else "messages",
    }
    if body.persona is None:
        places["persona"] = "messages"
    for row, (_, place) in enumerate(scene.history):
        places[f"history.{row}"] = f"messages.{place}.content"
    payload = {"message": message, "history": history, "gen": body.gen, **given}
    return Work(payload, n=body.n, places=dict(sorted(places.items(), reverse=True)))


def _same(name: str, persona: Persona) -> bool:
    """Whether a name is the character's: all of it, an alias, or a part, as 봉숙 of 구봉숙."""
    folded = fold(name)
    for own in (persona.name, *persona.aliases):
        if folded == fold(own):
            return True
        parts, wanted = own.casefold().split(), nfc(name).casefold().split()
        if wanted and (set(wanted) <= set(parts) or set(parts) <= set(wanted)):
            return True
        if is_korean(own) and len(own) == 3 and folded == fold(own[1:]):
            return True
    return False


def _with_own_card(
    scene: Scene, persona: Persona, story: Sequence[StoryEvent]
) -> tuple[Scene, Persona]:
    """A persona of the folder or the body with what else the client's system messages say, pinned
    behind its rules; and the scene without the card's own words."""
    korean = is_korean(persona.description[:2000] or persona.name)
    user = scene.cast.user or USER["ko" if korean else "en"]
    known = Known(persona, story, user)
    rest = [text for placed in scene.card if (text := known.rest(placed.text))]
    update: dict[str, Any] = {}
    if rest:
        own = persona.system_prompt.strip() or "{{original}}"
        # the place of our own rules is the card's to say
        added = "\n\n".join(rest).replace("{{original}}", "")
        update["system_prompt"] = _checked(f"{own}\n\n{added}", scene.card)
    if examples := _other_examples(
        scene.examples, known, {"{{user}}": user, "{{char}}": persona.name}
    ):
        texts = filter(None, (persona.example_dialogue.strip(), examples))
        update["example_dialogue"] = _checked("\n".join(texts), scene.card)
    instructions = [it for it in scene.instructions if not _repeats(it, persona, known)]
    said = paragraphs(scene.message.text)
    while len(said) > 1 and len(said[-1]) > SHORT and known.says(said[-1]):
        said.pop()  # merged into the user's message
        scene = replace(scene, message=scene.message._replace(text="\n\n".join(said)))
    return replace(scene, instructions=instructions), persona.model_copy(update=update)


def _other_examples(examples: str, known: Known, names: Mapping[str, str]) -> str:
    """The blocks of examples that are not the card's own, once the names are filled in."""
    kept: list[str] = []
    for block in examples.split("<START>\n")[1:]:
        filled = block
        for macro, name in names.items():
            filled = filled.replace(macro, name)
        if known.rest(filled):
            kept.append(f"<START>\n{block.strip()}")
    return "\n".join(kept)


def _repeats(instruction: Placed, persona: Persona, known: Known) -> bool:
    """Whether an instruction is the card's own, which a prompt has anyway."""
    return bool(persona.post_history_instructions.strip()) and known.says(instruction.text)


def _with_greeting(persona: Persona, scene: Scene) -> Persona:
    """The persona with the greeting that the chat began with, or with none where the client shows
    none: so it is in the prompt of every turn, or of no turn."""
    lines = (line for line, _ in scene.history if line["role"] != "system")
    first = next(lines, None)
    begun = greeting_in(first["content"], persona) if first and first["role"] != "user" else None
    return persona.model_copy(update={"first_message": begun or ""})


def _from_messages(scene: Scene, *, korean: bool) -> Persona:
    """Who the system messages say the character is."""
    description = "\n\n".join(text.text.strip() for text in scene.card)
    if description:
        korean = is_korean(description[:2000])
    language = "ko" if korean else "en"
    return Persona(
        name=scene.cast.char or _NOBODY[language],
        description=_checked(description, scene.card) or _COMPANION[language],
        system_prompt=_RULES[language],
        example_dialogue=_checked(scene.examples, scene.card),
    )


def _checked(text: str, card: Sequence[Placed]) -> str:
    """A field of a persona.

    Raises:
        BadRequest: it is longer than one may be.
    """
    if len(text) > MAX_TEXT:
        longest = max(card, key=lambda placed: len(placed.text), default=None)
        raise BadRequest(
            f"belongs to system messages of more than {MAX_TEXT:,} characters; shorten them",
            field=f"messages.{longest.at}.content" if longest else "messages",
        )
    return text


def _shortened(message: Placed) -> tuple[str, list[dict[str, Any]]]:
    """The message, and as lines of the history before it what it has too much: a message is what a
    person types, and programs put documents before that."""
    text = message.text
    if len(text) <= MAX_MESSAGE:
        return text if text.strip() else CONTINUE, []
    cut = len(text) - MAX_MESSAGE
    begin = text.find("\n", cut) + 1
    if begin == 0 or not text[begin:].strip():
        begin = cut
    return text[begin:], [{"role": "user", "content": text[:begin].strip()}]


def _instruction(placed: Sequence[Placed], own: object) -> tuple[str | None, list[dict[str, Any]]]:
    """What this reply is asked to be, and as notes what has no room there: the first of it."""
    texts = [own] if isinstance(own, str) else []
    texts += [text.text for text in placed]
    notes: list[dict[str, Any]] = []
    while sum(map(len, texts)) + 2 * len(texts) > MAX_INSTRUCTION and texts:
        first = texts.pop(0)
        if texts:
            notes.append({"role": "system", "content": first})
        else:
            notes.append({"role": "system", "content": first[:-MAX_INSTRUCTION]})
            texts = [first[-MAX_INSTRUCTION:]]
            break
    return "\n\n".join(texts) or None, notes


def _as_sent(lines: Sequence[Line]) -> list[dict[str, str]]:
    return [{"role": line.role, "content": line.text} for line in lines if line.text.strip()]
