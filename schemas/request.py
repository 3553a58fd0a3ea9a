"""The request: what a backend sends for one turn."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import (
    FailFast,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from schemas.base import (
    EmbeddingId,
    Identifier,
    JsonObject,
    Name,
    ShortText,
    Strict,
    Text,
    embedding_id,
    size_of,
)
from schemas.errors import BadRequest

Role = Literal["user", "character", "narrator", "system"]
Speaker = Literal["narrator", "character"]
Writer = Literal["narrator", "character", "user"]
"""Whose line is written: for the user, only where a request asks for it."""
_VOICE = attrgetter("role", "name")

CONTINUE = "/continue"
"""A message that says nothing in the scene: the story shall go on."""

USER = {"en": "User", "ko": "유저"}
"""What the user is called who has no name, by the language of the prompt."""

MAX_MESSAGE = 20_000
"""Characters of the user's message: about 5,000 tokens, more than a person types."""

LARGE_MESSAGE, LARGE = 2_000, 40_000
"""Characters of a message, and of card and history, that a node reads within 40 ms."""

MAX_NOTE = 2_000
"""Characters of the user's standing note: it is in every prompt, beside the newest lines."""

MAX_INSTRUCTION = 20_000
"""Characters of what is asked of one reply: clients join several texts of their own there."""

MAX_HISTORY = 10_000
"""Messages in one request; longer chats keep their past in the standing memory."""

MAX_STORY = 10_000
"""Events and lore sent inline; a longer story is indexed beforehand, named by `story_id`."""


MAX_REQUEST = 3_000_000
"""Bytes of a request as JSON in UTF-8: 10,000 messages of 200 English or 70 Korean characters with
names. Read for the first time, a megabyte takes .3 to .5 s of processor time in any script, rare
words .9 s, and the vectors of what is nearest .4 s."""

MAX_IMPORT = MAX_REQUEST * 2 // 3
"""Bytes of a chat, a book or a character that is read from a file: leaves room for the others."""

MAX_FIELDS = 100
"""Of a request, at the top."""


def check_size(request: Any) -> Any:
    """The data of a request as it is, looked at before anything is made of it.

    Raises:
        BadRequest: it is longer than `MAX_REQUEST`; names the longest field and the cure.
    """
    if not isinstance(request, dict):
        return request
    if len(request) > MAX_FIELDS:
        raise BadRequest(f"has more than {MAX_FIELDS} fields; see docs/schema/request.json")
    sizes = {str(name)[:50]: size_of(value, MAX_REQUEST) for name, value in request.items()}
    if sum(sizes.values()) > MAX_REQUEST:
        field = max(sizes, key=lambda name: sizes[name])
        cure = _CURES.get(field, "shorten it")
        raise BadRequest(
            f"is the longest field of a request of more than {MAX_REQUEST / 1e6:g} MB; {cure}",
            field=field,
        )
    return request


_CURES = {
    "story": "index the story beforehand and send its `story_id`",
    **dict.fromkeys(
        ("history", "messages"),
        "send the newest messages only, with standing memory for those before",
    ),
}


class Persona(Strict):
    """The character: who answers, unless the narrator does."""

    name: Name
    description: Text = ""
    personality: Text = ""
    scenario: Text = ""
    first_message: Text = Field("", description="The greeting that opens a new chat.")
    example_dialogue: Text = Field("", description="Blocks of `Name: line`, split by `<START>`.")
    system_prompt: Text = Field("", description="Replaces the role rules when it is not empty.")
    post_history_instructions: Text = Field("", description="Words placed after the history.")
    aliases: list[Name] = Field(default_factory=list, max_length=50)
    language: str | None = Field(
        None, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="BCP 47, such as `ko`."
    )
    extensions: JsonObject = Field(default_factory=dict)


class Message(Strict):
    """One line of the chat so far."""

    role: Role
    content: Text
    name: Name | None = None
    id: Identifier | None = None
    timestamp: datetime | None = None
    embedding_id: EmbeddingId | None = Field(
        None,
        description="`sha1:` and the hex SHA-1 of the content: its vector's name in the cache. A "
        "request in which it names another text is refused.",
    )


class ChatRAGConfig(Strict):
    """How past messages are recalled; what is unset is the server's choice."""

    enabled: bool = True
    top_k: int | None = Field(None, ge=0, le=50)
    score_threshold: float | None = Field(None, ge=0, le=1)
    neighbours: int | None = Field(
        None, ge=0, le=3, description="Messages on each side that a memory brings along."
    )
    recency: float | None = Field(
        None, ge=0, le=1, description="Added to the evidence of the newest memory, the oldest none."
    )
    in_scene: float | None = Field(
        None, ge=0, le=1, description="Added to the evidence of memories of the running scene."
    )


class StoryRAGConfig(Strict):
    """How story events are recalled; what is unset is the server's choice."""

    enabled: bool = True
    top_k: int | None = Field(None, ge=0, le=50)
    score_threshold: float | None = Field(None, ge=0, le=1)


Names = Annotated[list[Name], FailFast()]
"""Any number of names: the first that is wrong is told."""

LORE = "lore"
"""Key of `StoryEvent.extensions` under which an entry of a lorebook is one."""


_NO_LORE = (
    "lore is public and has always happened (order 0), but this event has {narrow}; leave that "
    "out, or leave out `extensions.lore`, so that it is an event of the story"
)


class StoryEvent(Strict):
    """Something that happens in the story, and who may know of it."""

    id: Identifier
    order: int = Field(ge=0, le=10**9, description="Its place on the story's clock.")
    title: ShortText = ""
    text: Text
    characters: Names = Field(default_factory=list, description="Who is present.")
    known_by: Names = Field(default_factory=list, description="Who knows without being there.")
    visibility: Literal["public", "witnessed", "secret"] = Field(
        "public", description="Default: witnessed where characters are named, else public."
    )
    location: ShortText = ""
    time: ShortText = ""
    keywords: list[ShortText] = Field(default_factory=list, max_length=200)
    constant: bool = Field(False, description="Always told, as soon as it has happened.")
    trigger: ShortText = Field("", description="In words, what makes it happen.")
    extensions: JsonObject = Field(default_factory=dict)

    @property
    def is_lore(self) -> bool:
        """Whether it is an entry of a lorebook, which its keys call and no clock."""
        return self.extensions.get(LORE) is not None

    @field_validator("extensions")
    @classmethod
    def _no_secret_as_lore(cls, extensions: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Refuses lore that would pass by the filters of the story: neither the clock nor who may
        know of an event is asked when a key calls it."""
        rest = info.data
        narrow = [name for name in ("order", "characters", "known_by") if rest.get(name)]
        if rest.get("visibility", "public") != "public":
            narrow.insert(0, "visibility")
        if extensions.get(LORE) is None or not narrow:
            return extensions
        fault: InitErrorDetails = {
            "type": PydanticCustomError("value_error", _NO_LORE, {"narrow": ", ".join(narrow)}),
            "loc": (LORE,),
            "input": None,
        }
        raise ValidationError.from_exception_data(cls.__name__, [fault])

    @model_validator(mode="before")
    @classmethod
    def _default_visibility(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("visibility") is None:
            rest = {key: value for key, value in data.items() if key != "visibility"}
            return {**rest, "visibility": "witnessed" if data.get("characters") else "public"}
        return data


class ModelConfig(Strict):
    """Which of the operator's models answers; never an address."""

    name: str | None = Field(None, min_length=1, max_length=200)


class GenConfig(Strict):
    """Sampling; what is unset is the model's preset or the server's choice."""

    max_new_tokens: int | None = Field(None, ge=1, le=4096)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1000, description="0 switches it off.")
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.5, le=2)
    stop: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] = Field(
        default_factory=list, max_length=16
    )
    seed: int | None = Field(None, ge=0, le=2**32 - 1)


NEW_SESSION = "new-"
"""What the id begins with that the server gives to a chat without one."""


class ChatRequest(Strict):
    """One turn: a message, the persona, the chat so far and the story; 3 MB of JSON at most."""

    _bounded = model_validator(mode="before")(check_size)

    message: Annotated[str, StringConstraints(max_length=MAX_MESSAGE)]
    timestamp: datetime | None = Field(
        None,
        description="When the message was sent, which macros such as `{{time}}` tell; unset: the "
        "time of the newest line that has one.",
    )
    session_id: Identifier | None = None
    user_id: Identifier | None = None
    user_name: Name | None = Field(None, description="What the character calls the user.")
    user_note: str | None = Field(
        None,
        max_length=MAX_NOTE,
        description="A standing wish of the user about style or facts, outside of the scene; send "
        "it with every turn of the chat.",
    )
    instruction: str | None = Field(
        None,
        max_length=MAX_INSTRUCTION,
        description="How this reply is to be written; it ends the prompt, and is no part of the "
        "chat.",
    )
    reply_start: Text | None = Field(
        None,
        description="What is written of the reply already: it is gone on with, and what is added "
        "comes back without it.",
    )
    persona: Persona
    history: Annotated[list[Message], FailFast()] = Field(
        default_factory=list, max_length=MAX_HISTORY, description="Oldest first."
    )
    chat_rag_config: ChatRAGConfig = Field(default_factory=ChatRAGConfig)
    story: Annotated[list[StoryEvent], FailFast()] = Field(
        default_factory=list, max_length=MAX_STORY
    )
    story_id: Identifier | None = Field(None, description="A story indexed beforehand.")
    story_position: int | None = Field(
        None, ge=0, le=10**9, description="Highest order that has happened; unset: all has."
    )
    story_rag_config: StoryRAGConfig = Field(default_factory=StoryRAGConfig)
    respond_as: Literal["auto", "narrator", "character", "user"] = Field(
        "auto", description="`user` writes the user's own next line; it is not remembered."
    )
    narrator_plays_people: bool | None = Field(
        None, description="The narrator also speaks for minor persons, as a game master does."
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    gen: GenConfig = Field(default_factory=GenConfig)
    meta: JsonObject = Field(default_factory=dict, description="Returned as it came.")

    @cached_property
    def voices(self) -> tuple[tuple[Role, str | None], ...]:
        """Role and name of whoever has a line in the history, the newest first."""
        return tuple(dict.fromkeys(map(_VOICE, reversed(self.history))))

    @property
    def is_large(self) -> bool:
        """Whether a node may read it for more than 50 ms: it does so in a thread."""
        card = sum(len(text) for text in vars(self.persona).values() if isinstance(text, str))
        lines = sum(len(line.content) for line in self.history)
        return len(self.message) > LARGE_MESSAGE or card + lines > LARGE

    @field_validator("message")
    @classmethod
    def _not_blank(cls, message: str) -> str:
        if not message.strip():
            raise ValueError("is empty; write some text, or `/continue` to let the story go on")
        return message

    @field_validator("history")
    @classmethod
    def _vectors_of_their_own(cls, history: list[Message]) -> list[Message]:
        for row, line in enumerate(history):
            if line.embedding_id and line.embedding_id != embedding_id(line.content):
                raise ValueError(
                    f"message {row} has the embedding_id of another text; leave it out, or send "
                    "the SHA-1 of the content"
                )
        return history

    @field_validator("story")
    @classmethod
    def _distinct_ids(cls, story: list[StoryEvent]) -> list[StoryEvent]:
        first: dict[str, int] = {}
        for row, event in enumerate(story):
            if first.setdefault(event.id, row) != row:
                raise ValueError(
                    f"event {row} has the id of event {first[event.id]}; give each its own"
                )
        return story
