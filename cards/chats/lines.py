"""From the lines of any program to a chat: whose they are, what of them a request holds, and what
was not understood.

A reader of a form says of each line what it knows (`Line`); who speaks is decided here for all
forms alike: by the user's name where the caller gives it, else by what the file says, else by words
such as You or 나. What none of these tell is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import ValidationError

from cards.amount import amount
from cards.chats.chat import Chat, Swipes
from cards.chats.texts import cleaned, text_of
from cards.chats.times import sent_at
from cards.files import one_line
from cards.forms import keys_in
from replies.tags import NARRATOR, Cast, Voice, fold, voices
from schemas.base import MAX_TEXT, embedding_id
from schemas.errors import BadRequest
from schemas.request import MAX_HISTORY, MAX_IMPORT, Message, Role

MAX_LINES = 200_000
"""Lines of a log that are looked at, the newest: 20 for each message of a request."""

MAX_NAMED = 6
"""Names, or numbers of lines, that a sentence tells."""

ROLES: dict[str, Role] = {
    **{role: role for role in get_args(Role)},
    **dict.fromkeys(("assistant", "model", "bot", "char", "ai", "gpt", "chatgpt"), "character"),
    **dict.fromkeys(("bing", "bard"), "character"),
    **dict.fromkeys(("human", "prompter", "player", "you"), "user"),
    "developer": "system",
    "narration": "narrator",
}
"""What programs call a role."""

TOOLS = frozenset(("tool", "function", "tool_call", "tool_result", "function_call", "observation"))
"""Roles of what no person of the chat says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Who is who, as far as it is known.

    Args:
        user: the user's name by the caller; `character` the character's.
        of_user: the user's name by the file; `of_character` the character's.
    """

    user: str | None = None
    character: str | None = None
    of_user: str | None = None
    of_character: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chat as its program wrote it.

    Args:
        row: what it was read from, for its keys; None if it is damaged.
        text: its text, in whatever wrapping; without one the line counts as unread.
        role: whose it is, where the file says so; else its name does.
        name, sent, id, embedding_id: as they were found.
        swipes: all its versions, if there are several; `chosen` which of them it is.
        skipped: why it is no part of the history (`hidden`, `tool`); empty if it is one.
        number: its place in the file.
        others: fields of it that a message has no place for.
    """

    row: Any = None
    text: Any = None
    role: Role | None = None
    name: Any = None
    sent: Any = None
    id: Any = None
    embedding_id: Any = None
    swipes: Sequence[Any] = ()
    chosen: int = 0
    skipped: str = ""
    number: int = 0
    others: Sequence[str] = ()


@dataclass(slots=True)
class Told:
    """What is to be said about the lines of a file."""

    damaged: list[int] = field(default_factory=list)
    nameless: int = 0
    unread: int = 0
    keys: str = ""
    skipped: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    times: int = 0
    known: int = 0
    """Lines with a text that is known, whether they are part of the history or not."""

    @property
    def lost(self) -> int:
        """Lines of which nothing could be read."""
        return len(self.damaged) + self.nameless + self.unread

    def warnings(self, of: int) -> list[str]:
        """In sentences; `of` is how many lines there were."""
        told = []
        if self.unread:
            told.append(self.unread_words(of))
        if self.nameless:
            told.append(f"{self.nameless:,} of {of:,} lines say neither role nor name")
        if self.damaged:
            places = ", ".join(str(number) for number in sorted(self.damaged)[:MAX_NAMED])
            places += ", ..." * (len(self.damaged) > MAX_NAMED)
            told.append(
                f"{len(self.damaged):,} of {of:,} lines damaged and left out: line {places}"
            )
        for kind, count in sorted(self.skipped.items()):
            told.append(f"{counted(count, f'{kind} line')} left out")
        for kind, count in sorted(self.parts.items()):
            told.append(f"{counted(count, f'{kind} part')} left out")
        if self.cut:
            told.append(f"{counted(self.cut, 'line')} cut after {MAX_TEXT:,} characters")
        if self.times:
            told.append(f"{counted(self.times, 'time')} not understood")
        return told

    def unread_words(self, of: int) -> str:
        """How many lines have no text, and which keys they have."""
        keys = f"; their keys are {self.keys}" if self.keys else ""
        return f"{self.unread:,} of {of:,} lines have no text that is known here{keys}"


def counted(count: int, what: str) -> str:
    """`1 hidden line is`, `2 hidden lines are`."""
    return f"{amount(count, what)} {'is' if count == 1 else 'are'}"


def gather(
    lines: Iterable[Line],
    names: Names,
    *,
    form: str,
    count: int,
    unit: str = "",
    whole: bool = True,
    in_turn: bool = False,
    warnings: Sequence[str] = (),
) -> Chat:
    """The chat in lines that come newest first; of a long one the newest messages, as many as a
    request can hold.

    Args:
        names: who is who.
        form: what the file was taken for.
        count: lines of the file; `unit` what they are called.
        whole: whether the lines are all that the file has.
        in_turn: of two strangers, the second is taken for the user, for chats open with the
            character's greeting.
        warnings: what the reader of the form has to say.

    Raises:
        BadRequest: more than half of the lines are unread, none is left, or nobody can know whose
            they are.
    """
    told = Told()
    kept: list[tuple[Line, Message]] = []
    size = 0
    for line in lines:
        message = _message(line, told)
        if message is None:
            continue
        size += len(message.model_dump_json(exclude_none=True).encode())
        if len(kept) == MAX_HISTORY or size > MAX_IMPORT:
            whole = False
            break
        kept.append((line, message))
    _refuse_unread(told, len(kept))
    kept.reverse()
    said = [(line.role, message.name) for line, message in kept]
    roles, guess = whose(said, names, in_turn=in_turn)
    messages = [
        message if message.role == role else message.model_copy(update={"role": role})
        for (_, message), role in zip(kept, roles, strict=True)
    ]
    lost_end = [] if whole else [
        f"kept the newest {len(kept):,} messages of {count:,}{unit and ' ' + unit}: "
        "a request holds no more"
    ]  # fmt: skip
    swipes = {
        place: versions
        for place, (line, _) in enumerate(kept)
        if (versions := _versions(line)) is not None
    }
    hidden = told.skipped["hidden"]
    turned = names.user if names.user and _is_turned(kept, roles) else None
    user = names.user or names.of_user or _called(messages, "user")
    other = names.of_character  # unless the caller says that this is the user
    if user and other and fold(other) == fold(user):
        other = None
    return Chat(
        form=form,
        messages=messages,
        lines=told.known + told.lost if whole else count,
        user=user,
        character=names.character or other or _called(messages, "character"),
        warnings=(*lost_end, *told.warnings(told.known + told.lost), *guess, *warnings),
        swipes=swipes,
        turned=fold(turned) if turned else None,
        others=tuple(dict.fromkeys(name for line, _ in kept for name in line.others)),
        beside=(
            *((f"the swipes of {amount(len(swipes), 'line')}",) if swipes else ()),
            *((amount(hidden, "hidden line"),) if hidden else ()),
        ),
    )


def _is_turned(kept: Sequence[tuple[Line, Message]], roles: Sequence[Role]) -> bool:
    """Whether lines have another role than the file gives them."""
    return any(line.role not in (None, role) for (line, _), role in zip(kept, roles, strict=True))


def _message(line: Line, told: Told) -> Message | None:
    """The line as a message, its role for now what the file says; None if it is none."""
    if line.row is None:
        told.damaged.append(line.number)
        return None
    if line.skipped:
        told.known += 1
        told.skipped[line.skipped] += 1
        return None
    parts: Counter[str] = Counter()
    text = text_of(line.text, parts)
    if text is None and not parts:
        told.unread += 1
        told.keys = told.keys or keys_in(line.row)
        return None
    told.parts += parts
    if text is None:  # nothing but what a tool said
        told.known += 1
        return None
    if not text:
        told.known += 1
        told.skipped["empty"] += 1
        return None
    name = one_line(str(line.name)) if isinstance(line.name, str | int) else ""
    if line.role is None and not name:
        told.nameless += 1
        return None
    told.known += 1
    content = cleaned(text)
    if len(content) > MAX_TEXT:
        told.cut += 1
        content = content[:MAX_TEXT]
    when = sent_at(line.sent)
    told.times += when is None and isinstance(line.sent, str) and bool(line.sent.strip())
    vector = line.embedding_id
    return _valid(
        role=line.role or "character",
        content=content,
        name=name or None,
        id=str(line.id) if isinstance(line.id, str | int) and line.id != "" else None,
        timestamp=when,
        embedding_id=vector if vector == embedding_id(content) else None,
    )


def _valid(**fields: Any) -> Message:
    """A message of these fields, without an id that a request could not hold."""
    try:
        return Message.model_validate(fields)
    except ValidationError:
        return Message.model_validate({**fields, "id": None})


def _refuse_unread(told: Told, kept: int) -> None:
    """Raises BadRequest: nothing, or less than half, could be read."""
    of = told.known + told.lost
    if told.lost * 2 <= of and kept:
        return
    if not told.lost:
        raise BadRequest("holds no messages")
    raise BadRequest(f"is no chat that can be read: {told.warnings(of)[0]}")


def whose(
    said: Sequence[tuple[Role | None, str | None]], names: Names, *, in_turn: bool = False
) -> tuple[list[Role], list[str]]:
    """The role of each line, by its role in the file and its name; and what was guessed.

    Raises:
        BadRequest: nobody can know; names those of whom one is the user.
    """
    user = fold(names.user) if names.user else None
    if user and any(name and fold(name) == user and role != "user" for role, name in said):
        return [_by_name(role, name, user) for role, name in said], []
    shown: dict[str, str] = {}
    for role, name in said:
        if role is None and name:
            shown.setdefault(fold(name), name)
    if not shown:
        return [role or "character" for role, _ in said], []
    found, guess = _parts(shown, names, any(role == "user" for role, _ in said), in_turn)
    return [role or found[fold(name or "")] for role, name in said], guess


def is_narrator(name: str) -> bool:
    """Whether a name is a word for who narrates."""
    voice = _WORDS.get(fold(name))
    return voice is not None and voice.name == NARRATOR


HEADINGS = frozenset(("prompt", "instruction", "response", "q", "question"))
"""Words above a turn in exports, which may open a line of a message, too."""

_OF_USER = (
    "me",
    "myself",
    "you said",
    "prompt",
    "instruction",
    "q",
    "question",
    "회원님",
    "본인",
    "저",
)
_OF_CHARACTER = ("chatgpt", "chatgpt said", "response")


def known_voices(people: Sequence[str], users: Sequence[str]) -> dict[str, Voice]:
    """Every folded name that tells whose a line is: those of the chat, and words of programs, such
    as KakaoTalk's for who exports a chat.

    Args:
        people: the character's names; `users` the user's.
    """
    found = voices(Cast("character", tuple(people), tuple(users)))
    of_user = Voice("user", users[0] if users else "user")
    found = {**dict.fromkeys(_OF_USER, of_user), **found}
    return {**dict.fromkeys(_OF_CHARACTER, Voice("own", "character")), **found}


_WORDS = known_voices((), ())
"""Names that tell the role by themselves."""


def _by_name(role: Role | None, name: str | None, user: str) -> Role:
    """The role of a line where the caller named the user: other people are not the user."""
    if role in (NARRATOR, "system") or not name:
        return role or "character"
    if role is None and is_narrator(name):
        return "narrator"
    return "user" if fold(name) == user else "character"


def _parts(
    shown: dict[str, str], names: Names, user_known: bool, in_turn: bool
) -> tuple[dict[str, Role], list[str]]:
    """The role of each folded name that has none, and what was guessed."""
    users = [name for name in (names.user, names.of_user) if name]
    people = [name for name in (names.character, names.of_character) if name]
    known = known_voices(people, users)
    roles: dict[str, Role] = {}
    for key in shown:
        if voice := known.get(key):
            heard: Role = "user" if voice.kind == "user" else "character"
            roles[key] = "narrator" if is_narrator(key) and voice.kind == "other" else heard
    strangers = [key for key in shown if key not in roles]
    others: dict[str, Role] = dict.fromkeys(strangers, "character")
    if user_known or "user" in roles.values() or not strangers:
        return {**others, **roles}, []
    if "character" in roles.values() and len(strangers) == 1:
        return {**roles, strangers[0]: "user"}, []
    if len(strangers) == 1:
        guess = f"`{shown[strangers[0]]}` is taken for the character; if that is wrong, {CURE}"
        return {**others, **roles}, [] if users else [guess]
    if len(strangers) == 2 and in_turn:
        guess = f"`{shown[strangers[1]]}` is taken for the user; if that is wrong, {CURE}"
        return {**others, **roles, strangers[1]: "user"}, [guess]
    listed = ", ".join(f"`{shown[key]}`" for key in strangers[:MAX_NAMED])
    listed += ", ..." * (len(strangers) > MAX_NAMED)
    raise BadRequest(f"does not say who the user is: one of {listed}; {CURE}")


CURE = "give the user's name, with --user (handler: --user-name) or beside the chat on the page"


def _versions(line: Line) -> Swipes | None:
    """The swipes of a line, as texts."""
    if len(line.swipes) < 2:
        return None
    texts = [text_of(swipe, Counter()) or "" for swipe in line.swipes]
    return Swipes(tuple(texts), min(max(line.chosen, 0), len(texts) - 1))


def _called(messages: Sequence[Message], role: Role) -> str | None:
    """The newest name of a role."""
    return next((it.name for it in reversed(messages) if it.role == role and it.name), None)
