"""What a client's messages mean: who the character is, what was said, and what the reply is to be.

system lines before the chat begins      who the character is
system lines between what is said         notes at their place
system lines behind what was said last    how this one reply is to be written
an assistant's message at the very end    what is already written of the reply
no message of the user behind a reply     the chat goes on
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from openai_api import phrases
from openai_api.lines import Line
from openai_api.names import (
    Cast,
    as_name,
    at_the_start,
    by_convention,
    fold,
    impersonated,
    in_card,
    in_main_prompt,
    is_narrator,
    members_of,
    only_as,
    prefixed,
    told_of,
    with_members,
)
from openai_api.unfold import unfold
from schemas.request import CONTINUE

_NOBODY = Cast()
_BLANK = re.compile(r"\n[ \t]*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_QUOTED = 40
"""Characters of a reply by which a text is known to quote it."""
_REPEATED = 3
"""Times that a name may stand before a line: a model may have copied what the client puts there."""


class Placed(NamedTuple):
    """A text, and its row in `messages`."""

    text: str
    at: int


@dataclass(frozen=True)
class Scene:
    """The turn that messages ask for."""

    card: list[Placed]
    """Who the character is."""
    history: list[tuple[dict[str, Any], int]]
    """Lines of a request's history, each with its row."""
    message: Placed
    instructions: list[Placed]
    reply_start: str | None
    respond_as: Literal["character", "narrator", "user"]
    cast: Cast
    is_work: bool
    """No turn: the client wants a summary, a title or the like."""
    examples: str = ""
    """Blocks of example dialogue, split by `<START>`."""
    named: str | None = None
    """What the client itself says the character is called, in its rules or its card."""


def read_scene(
    lines: Sequence[Line], cast: Cast = _NOBODY, narrated: Callable[[str], bool] | None = None
) -> Scene:
    """The turn that messages ask for.

    Args:
        lines: the messages.
        cast: names that are known beside them: of a character of the folder, of the user.
        narrated: whether a reply of this server was the narrator's.
    """
    parts = unfold(lines, cast)
    lead, rest = _split(parts)
    card = [Placed(part.text, part.at) for part in lead if part.role == "system"]
    said = [part for part in rest if part.text.strip()]
    spoken = [part for part in rest if part.role != "system"]
    silent = bool(spoken) and spoken[-1].role == "user" and not spoken[-1].text.strip()
    tail = _behind_the_last(said)
    cast, named = _cast(parts, card, said, tail, cast)
    reader = _Reader(cast, card, said, narrated or (lambda _: False))
    said = [line for part in said for line in reader.lines(part)]
    card = [text for text in card if text.text.strip()]
    scene = _turn(said, tail, card, reader, silent=silent)
    return replace(scene, examples=_examples(parts, lead, reader), named=named)


def _split(parts: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """What stands before the chat, and the chat. It begins behind its mark, where there is one."""
    chat = ("user", "assistant")
    first = next((row for row, part in enumerate(parts) if part.role in chat), len(parts))
    begin = first
    for row in reversed(range(first)):
        if parts[row].role.startswith("example"):
            break
        if parts[row].role == "start":
            begin = row
            break
    return list(parts[:begin]), [part for part in parts[begin:] if part.role in ("system", *chat)]


def _behind_the_last(said: Sequence[Line]) -> list[Line]:
    """The system lines behind what was said last."""
    row = len(said)
    while row and said[row - 1].role == "system":
        row -= 1
    return list(said[row:])


def _cast(
    parts: Sequence[Line],
    card: Sequence[Placed],
    said: Sequence[Line],
    tail: Sequence[Line],
    known: Cast,
) -> tuple[Cast, str | None]:
    """Who takes part, and the name that the client itself gives the character."""
    texts = [text.text for text in card]
    main, own = in_main_prompt(texts), in_card(texts)
    if own.char is None:
        own = own._replace(char=_told_elsewhere(card, said))
    fields = {
        role: [
            name.replace("_", " ")
            for part in said
            if part.role == role and (name := as_name(part.name))
        ]
        for role in ("user", "assistant")
    }
    user = known.user or main.user or next(iter(fields["user"][-1:]), None) or own.user
    members = [name for part in parts if part.role == "start" for name in members_of(part.text)]
    cast = with_members(replace(known, user=user), members)
    # Where a client keeps only Latin letters in `name`, another place may have the whole name.
    speakers = filter(None, (main.char, own.char, *fields["assistant"]))
    others = (it for it in speakers if not is_narrator(it) and not cast.is_user(it))
    cast = with_members(cast, others)
    nudged = next(filter(None, (only_as(part.text, cast) for part in tail)), None)
    named = nudged or main.char or own.char
    last = next((n for n in reversed(fields["assistant"]) if not is_narrator(n)), None)
    replies = [part.text for part in said if part.role == "assistant"]
    heads = by_convention(replies)
    heads = tuple(name for name in heads if not is_narrator(name) and not cast.is_user(name))
    guess = named or (cast.known(last) if last else None) or next(iter(heads[-1:]), None)
    if known.char is None:
        cast = replace(cast, char=cast.known(guess) or guess if guess else None)
    if named and not any(map(cast.is_char, heads)):
        heads = ()  # a habit of these replies, such as a line that tells the place first
    notes = [*texts, *(part.text for part in said if part.role == "system")]
    told = [name for name in told_of(replies, notes, cast) if not cast.is_user(name)]
    return with_members(cast, [*heads, *told]), named


def _told_elsewhere(card: Sequence[Placed], said: Sequence[Line]) -> str | None:
    """The character's name where no leading message tells it: in a later system line, or where
    there is no card in the user's first words."""
    name = in_card([part.text for part in said if part.role == "system"]).char
    first = next((part.text for part in said if part.role == "user"), "")
    return name if name or card else at_the_start(first)


class _Reader:
    """Reads lines: whose they are, without the names that clients put before them."""

    def __init__(
        self,
        cast: Cast,
        card: Sequence[Placed],
        said: Sequence[Line],
        narrated: Callable[[str], bool],
    ) -> None:
        self._narrated = narrated
        users = [part.text for part in said if part.role == "user"]
        heads = tuple(name for name in by_convention(users) if not is_narrator(name))
        replies = [part.text for part in said if part.role == "assistant"]
        notes = [text.text for text in card]
        named = any((found := prefixed(text)) and cast.known(found.name) for text in replies)
        # one line alone shows no habit: the other side has to have it too
        habit = named or len(users) > 1
        if not habit and cast.user is None:
            cast = replace(cast, user=next(iter(told_of(users, notes, cast)), None))
        self._users = tuple(map(fold, heads)) if habit or cast.user else ()
        if cast.user and not habit:
            self._users = tuple(fold(head) for head in heads if cast.is_user(head))
        if cast.user is None and self._users:
            cast = replace(cast, user=heads[-1])
        self.cast = cast

    def lines(self, part: Line) -> list[Line]:
        """A message as lines: a client may have joined those of several members of a group."""
        text = part.text
        if part.role == "assistant" and text.lstrip().startswith("<think>"):
            text = text.partition("</think>")[2] or text
        if part.role != "assistant" or len(self.cast.members) < 2:
            return [self.line(part._replace(text=text))]
        joined: list[str] = []
        for paragraph in _BLANK.split(text):
            found = prefixed(paragraph)
            if joined and not (found and self._is_speaker(found.name, "assistant")):
                joined[-1] = f"{joined[-1]}\n\n{paragraph}"
            else:
                joined.append(paragraph)
        return [self.line(part._replace(text=text)) for text in joined]

    def line(self, part: Line) -> Line:
        """The line with its speaker's name apart; None is the name of the user or the character."""
        if part.role == "system":
            return part
        name = as_name(part.name)
        name = (self.cast.known(name) or name.replace("_", " ")) if name else None
        text = part.text
        for _ in range(_REPEATED):
            found = prefixed(text)
            if found is None or not self._is_speaker(found.name, part.role):
                break
            name = self.cast.known(found.name) or found.name
            text = found.text
        if part.role == "user" and name and self.cast.is_user(name):
            name = None
        if part.role == "assistant" and name and self.cast.is_char(name):
            name = None
        return part._replace(name=name, text=text)

    def _is_speaker(self, name: str, role: str) -> bool:
        if role == "user":
            return self.cast.is_user(name) or fold(name) in self._users
        if is_narrator(name) or self.cast.is_char(name):
            return True
        return self.cast.known(name) is not None and not self.cast.is_user(name)

    def is_narrated(self, line: Line) -> bool:
        """Whether an assistant's line is the narrator's."""
        return is_narrator(line.name) or (line.name is None and self._narrated(line.text))

    def entry(self, line: Line) -> dict[str, Any]:
        """The line as one of a request's history."""
        if line.role == "system":
            return {"role": "system", "content": _without_brackets(line.text)}
        if line.role == "user":
            role = "user"
        elif self.is_narrated(line):
            return {"role": "narrator", "content": line.text}
        else:
            role = "character"
        entry = {"role": role, "content": line.text}
        return {**entry, "name": line.name} if line.name else entry


def _turn(
    said: list[Line],
    tail: list[Line],
    card: list[Placed],
    reader: _Reader,
    *,
    silent: bool,
) -> Scene:
    """The scene, once it is known whose each line is.

    Args:
        silent: the last message is the user's and empty, so nothing is gone on with.
    """
    cast = reader.cast
    chat = said[: len(said) - len(tail)]
    last = chat[-1] if chat else None
    nudges = [part for part in tail if phrases.begins("continue", part.text)]
    acted = next((who for part in tail if (who := impersonated(part.text, cast)) is not None), None)
    if acted:
        cast = replace(cast, user=acted)
    goes_on = (
        last is not None
        and last.role == "assistant"
        and acted is None
        and not silent
        and (last.name is None or is_narrator(last.name))
        and (not tail or bool(nudges))
    )
    before = chat[:-1] if goes_on else chat
    history, message, behind = _message(before)
    notes = [*behind, *tail]
    if goes_on and last is not None:
        notes = [_beside_nudge(part, last.text) if part in nudges else part for part in notes]
    if message and message.name:
        cast = replace(cast, user=message.name)
    narrates = goes_on and last is not None and reader.is_narrated(last)
    return Scene(
        card=card,
        history=[(reader.entry(line), line.at) for line in history],
        message=Placed(message.text, message.at) if message else Placed(CONTINUE, -1),
        instructions=[Placed(part.text.strip(), part.at) for part in notes if part.text.strip()],
        reply_start=_start(last.text, nudged=bool(nudges)) if goes_on and last else None,
        respond_as="user" if acted is not None else "narrator" if narrates else "character",
        cast=cast,
        is_work=_is_work(chat, tail, card),
    )


def _beside_nudge(part: Line, written: str) -> Line:
    """What an instruction to go on says beside that, unless it quotes what is written so far."""
    nudge, _, behind = part.text.partition("]")
    more = [*_SENTENCE.split(nudge.strip("[ "), maxsplit=1), ""][1]
    quotes = written.strip()[:_QUOTED] in more
    kept = ("" if quotes else more.strip(), behind.strip())
    return part._replace(text=" ".join(filter(None, kept)))


def _start(text: str, *, nudged: bool) -> str:
    """What is written of the reply: a client that asks for more in words joins it by a space."""
    return f"{text} " if nudged and not text[-1:].isspace() else text


def _message(chat: Sequence[Line]) -> tuple[list[Line], Line | None, list[Line]]:
    """The history, the user's message behind the last reply, if there is one, and what stands
    behind that."""
    last = len(chat) - len(_behind_the_last(chat))
    for row in reversed(range(last)):
        if chat[row].role == "assistant":
            break
        if chat[row].role == "user":
            return list(chat[:row]), chat[row], list(chat[row + 1 :])
    return list(chat[:last]), None, list(chat[last:])


def _is_work(chat: Sequence[Line], tail: Sequence[Line], card: Sequence[Placed]) -> bool:
    """Whether what stands last asks for work beside the chat."""
    if any(phrases.stops_the_play(part.text) for part in tail):
        return True
    alone = sum(line.role != "system" for line in chat) < 2
    if card and (phrases.is_task(card[0].text) or (alone and phrases.is_for_tasks(card[0].text))):
        return True
    if not chat:
        return bool(card) and not tail and phrases.stops_the_play(card[-1].text)
    if chat[-1].role != "user":
        return False
    quotes_chat = alone and "<chat_history>" in chat[-1].text
    return quotes_chat or phrases.is_task(chat[-1].text)


def _examples(parts: Sequence[Line], lead: Sequence[Line], reader: _Reader) -> str:
    """The example lines as blocks; each mark begins one."""
    blocks: list[list[str]] = []
    names = {"example_user": "{{user}}", "example_assistant": "{{char}}"}
    begun = False
    for part in lead:
        if part.role in ("example", "start"):
            begun = False
        elif part.role.startswith("example_"):
            if not begun:
                blocks.append([])
                begun = True
            name = names.get(part.role)
            found = prefixed(part.text)
            named = name is None or (found is not None and reader.cast.known(found.name))
            blocks[-1].append(part.text.strip() if named else f"{name}: {part.text.strip()}")
    return "\n".join(f"<START>\n{block}" for block in map("\n".join, blocks))


def _without_brackets(text: str) -> str:
    """A note without its brackets: a prompt writes its own around it."""
    bare = text.strip()
    one_pair = phrases.bracketed(bare) and bare.startswith("[") and bare.count("[") == 1
    return bare[1:-1].strip() if one_pair else text
