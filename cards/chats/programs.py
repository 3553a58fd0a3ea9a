"""Chats as single programs write them: each says how it looks, and how its lines are read.

Only what is written otherwise than by most (`cards.chats.rows`) stands here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cards.chats import rows
from cards.chats.chat import Chat
from cards.chats.kobold import is_kobold, read_kobold
from cards.chats.lines import Line, Names, gather
from cards.chats.times import sent_at
from cards.chats.trees import branch
from cards.forms import Document, Form
from schemas.request import Role

Fits = Callable[[Any], bool]
Reader = Callable[[Any], Iterable[Line]]
"""The lines of a value, oldest first."""


def listed(value: Any, key: str) -> list[Any]:
    """The list under a key; empty if there is none."""
    held = value.get(key) if isinstance(value, Mapping) else None
    return held if isinstance(held, list) else []


def _first(value: Any, key: str) -> Mapping[str, Any]:
    """The first object in the list under a key; empty if there is none."""
    return next((row for row in listed(value, key) if isinstance(row, Mapping)), {})


def under(value: Any, *keys: str) -> Any:
    """What stands under a path of keys; None if nothing does."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


# Agnai: `messages[].msg`, said by a `userId` or a `characterId`; versions of it in `retries`.


def _is_agnai(value: Any) -> bool:
    row = _first(value, "messages")
    return "msg" in row and any(key in row for key in ("handle", "characterId", "userId"))


def _agnai(value: Any) -> Iterator[Line]:
    messages = listed(value, "messages")
    nodes = {str(row.get("_id")): row for row in messages if isinstance(row, Mapping)}
    leaf = value.get("treeLeafId")
    chain = branch(nodes, leaf, "parent") if leaf in nodes else []
    if chain and chain[0] is messages[0]:  # else the chat is older than its tree
        messages = list(chain)
    for number, row in enumerate(messages, 1):
        line = rows.line_of(row, number)
        if line.row is None:
            yield line
            continue
        role: Role | None = "user" if row.get("userId") else None
        role = "character" if row.get("characterId") else role
        retries = row.get("retries")
        versions = [row.get("msg"), *retries] if isinstance(retries, list) and retries else []
        yield replace(
            line,
            role=role,
            name=row.get("handle") or row.get("name"),
            swipes=versions,
            skipped="out-of-character" if row.get("ooc") is True else line.skipped,
        )


# text-generation-webui: pairs of what the user and what the character says.

_NO_WORDS = "<|BEGIN-VISIBLE-CHAT|>"


def _pairs(value: Any, key: str) -> list[Any]:
    held = listed(value, key)
    return held if all(isinstance(pair, list) and len(pair) == 2 for pair in held) else []


def _is_webui(value: Any) -> bool:
    return any(_pairs(value, key) for key in ("internal", "visible", "data", "data_visible"))


def _webui(value: Any) -> Iterator[Line]:
    said = _pairs(value, "internal") or _pairs(value, "data")
    shown = _pairs(value, "visible") or _pairs(value, "data_visible")
    for row in range(max(len(said), len(shown))):
        sides: tuple[tuple[Role, str], ...] = (("user", "user"), ("character", "assistant"))
        for side, (role, key) in enumerate(sides):
            text = said[row][side] if row < len(said) else None
            if text in (None, "") and row < len(shown):
                text = shown[row][side]
                text = html.unescape(text) if isinstance(text, str) else text
            if text in (None, "", _NO_WORDS):
                continue
            about = under(value, "metadata", f"{key}_{row}") or {}
            versions = [under(it, "content") for it in listed(about, "versions")]
            at = under(about, "current_version_index")
            yield Line(
                row={key: text},
                text=text,
                role=role,
                sent=under(about, "timestamp"),
                swipes=versions if text in versions else (),
                chosen=at if isinstance(at, int) else 0,
                number=row + 1,
            )


def is_webui_of_all(value: Any) -> bool:
    """A history per character, as older versions keep."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(held, Mapping) and _is_webui(held) for held in value.values())
    )


# Character.AI: as CAI Tools write it, and as its servers do.


def _is_cai_tools(value: Any) -> bool:
    row = _first(value, "msgs")
    return isinstance(row.get("src"), Mapping) and "text" in row


def _cai_tools(value: Any) -> Iterator[Line]:
    for number, row in enumerate(listed(value, "msgs"), 1):
        line = rows.line_of(row, number)
        yield line if line.row is None else replace(line, name=under(row, "src", "name"))


def _turn_rows(value: Any) -> list[Any]:
    found = value if isinstance(value, list) else listed(value, "turns")
    row = next((it for it in found if isinstance(it, Mapping)), {})
    return found if isinstance(row.get("candidates"), list) and "author" in row else []


def _is_turns(value: Any) -> bool:
    return bool(_turn_rows(value))


def _turns(value: Any) -> Iterator[Line]:
    for number, row in enumerate(_by_time(_turn_rows(value), "create_time"), 1):
        if not isinstance(row, Mapping):
            yield Line(number=number)
            continue
        said = [it for it in listed(row, "candidates") if isinstance(it, Mapping)]
        ids = [it.get("candidate_id") for it in said]
        wanted = row.get("primary_candidate_id")
        at = ids.index(wanted) if wanted in ids else 0
        texts = [it.get("raw_content") for it in said]
        yield Line(
            row=row,
            text=texts[at] if texts else None,
            role="user" if under(row, "author", "is_human") else "character",
            name=under(row, "author", "name"),
            sent=row.get("create_time"),
            id=under(row, "turn_key", "turn_id"),
            swipes=texts,
            chosen=at,
            number=number,
        )


def _by_time(messages: list[Any], key: str) -> list[Any]:
    """The rows by their time, where all have one: some servers send the newest first."""
    times = [sent_at(under(row, key)) for row in messages]
    known = [when for when in times if when is not None]
    if len(known) < len(messages):
        return messages
    return [messages[at] for at in sorted(range(len(messages)), key=known.__getitem__)]


# Risu: `message[].data`, by `user` or `char`.

_INLAY = re.compile(r"\{\{inlay(?:ed|eddata)?::[^{}]{1,200}\}\}")
_SUMMARIES = ("supaMemoryData", "hypaV2Data", "hypaV3Data", "lastMemory", "supaMemory")


def _is_risu(value: Any) -> bool:
    row = _first(value, "message")
    return "data" in row and "role" in row


def _is_risu_file(value: Any) -> bool:
    return under(value, "type") == "risuChat" and isinstance(under(value, "data"), Mapping)


def _risu(value: Any) -> Iterator[Line]:
    chat = value if "message" in value else under(value, "data")
    for number, row in enumerate(listed(chat, "message"), 1):
        line = rows.line_of(row, number)
        if line.row is None:
            yield line
            continue
        text = row.get("data")
        off = row.get("disabled") not in (None, False) or row.get("isComment") is True
        yield replace(
            line,
            text=_INLAY.sub("[picture]", text) if isinstance(text, str) else text,
            name=row.get("name"),
            id=row.get("chatId"),
            skipped="hidden" if off else "",
        )


def _of_risu(value: Any) -> list[str]:
    """What Risu keeps beside the messages."""
    chat = value if "message" in value else under(value, "data")
    beside = {"note": "its note", "localLore": "its own lore", "scriptstate": "its variables"}
    told = [words for key, words in beside.items() if under(chat, key)]
    told += ["its summaries"] * any(under(chat, key) for key in _SUMMARIES)
    return [f"not read: {', '.join(told)}"] if told else []


# Trees of messages: ChatGPT's export, Open WebUI, LibreChat.


def _is_chatgpt(value: Any) -> bool:
    mapping = under(value, "mapping")
    return isinstance(mapping, Mapping) and any(
        isinstance(node, Mapping) and "message" in node and "parent" in node
        for node in list(mapping.values())[:5]
    )


def _chatgpt(value: Any) -> Iterator[Line]:
    chain = branch(value["mapping"], value.get("current_node"), "parent")
    for number, node in enumerate(chain, 1):
        row = node.get("message")
        if not isinstance(row, Mapping):
            continue  # the root
        kind = under(row, "content", "content_type")
        if under(row, "metadata", "is_visually_hidden_from_conversation") or (
            under(row, "author", "role") == "system"
            and under(row, "content", "parts") in ([""], [])
        ):
            continue
        spoken = kind in (None, "text", "multimodal_text")
        line = rows.line_of(row, number)
        skipped = line.skipped if spoken else "tool"
        tool = under(row, "author", "role") == "tool"
        yield replace(line, name=None, skipped="tool" if tool else skipped)


def _tree_of_webui(value: Any) -> Any:
    held = under(value, "chat", "history") or under(value, "history")
    return held if isinstance(under(held, "messages"), Mapping) else None


def _open_webui(value: Any) -> Iterator[Line]:
    held = _tree_of_webui(value)
    for number, row in enumerate(branch(held["messages"], held.get("currentId"), "parentId"), 1):
        yield rows.line_of(row, number)


def _is_librechat(value: Any) -> bool:
    return "isCreatedByUser" in _first(value, "messages")


def _librechat(value: Any) -> Iterator[Line]:
    messages = listed(value, "messages")
    if any(listed(row, "children") for row in messages):
        flat: list[Any] = []
        level = messages
        while level:  # of versions the last
            flat.append(level[-1])
            level = listed(level[-1], "children")
        messages = flat
    else:
        nodes = {str(under(row, "messageId")): row for row in messages}
        chain = branch(nodes, None, "parentMessageId")
        if chain and chain[0] is messages[0]:
            messages = list(chain)
    for number, row in enumerate(messages, 1):
        line = rows.line_of(row, number)
        parts = under(row, "content")
        text = under(row, "text") or parts
        yield line if line.row is None else replace(line, text=text)


# Claude, JanitorAI, Backyard, Discord, Telegram: lists of messages with words of their own.


def _is_claude(value: Any) -> bool:
    return "sender" in _first(value, "chat_messages")


def _claude(value: Any) -> Iterator[Line]:
    messages = listed(value, "chat_messages")
    nodes = {str(under(row, "uuid")): row for row in messages}
    leaf = value.get("current_leaf_message_uuid")
    chain = branch(nodes, leaf, "parent_message_uuid") if leaf in nodes else []
    if chain and chain[0] is messages[0]:
        messages = list(chain)
    for number, row in enumerate(messages, 1):
        line = rows.line_of(row, number)
        files = len(listed(row, "files") or listed(row, "attachments"))
        text = under(row, "text") or under(row, "content")
        if files:
            said = text if isinstance(text, list) else filter(None, [text])
            text = [*said, *["[file]"] * files]
        yield line if line.row is None else replace(line, text=text)


def _is_janitor(value: Any) -> bool:
    row = _first(value, "chatMessages")
    return "is_bot" in row and "message" in row


def _janitor(value: Any) -> Iterator[Line]:
    """Versions of a reply stand in a row; the one that counts is `is_main`."""
    waiting: list[Line] = []

    def replies() -> Iterator[Line]:
        mains = [at for at, it in enumerate(waiting) if it.row.get("is_main") is not False]
        mains = mains or [len(waiting) - 1]
        starts = [0, *(at + 1 for at in mains[:-1])]
        for main, start, end in zip(mains, starts, [*mains[:-1], len(waiting) - 1], strict=True):
            versions = waiting[start : end + 1]
            texts = [it.text for it in versions]
            yield replace(waiting[main], swipes=texts, chosen=main - start)
        waiting.clear()

    for number, row in enumerate(_by_time(listed(value, "chatMessages"), "created_at"), 1):
        line = rows.line_of(row, number)
        if line.row is not None and line.role == "character":
            waiting.append(line)
            continue
        if waiting:
            yield from replies()
        yield line
    if waiting:
        yield from replies()


def _is_backyard(value: Any) -> bool:
    row = _first(value, "messages")
    return row.get("type") in ("human", "ai") and ("outputs" in row or "text" in row)


def _backyard(value: Any) -> Iterator[Line]:
    for number, row in enumerate(listed(value, "messages"), 1):
        line = rows.line_of(row, number)
        said = [it for it in listed(row, "outputs") if isinstance(it, Mapping)]
        if line.row is None or not said:
            yield line
            continue
        active = [str(it.get("activeTimestamp") or "") for it in said]
        at = max(range(len(said)), key=active.__getitem__)
        texts = [it.get("text") for it in said]
        sent = said[at].get("createdAt", line.sent)
        yield replace(line, text=texts[at], swipes=texts, chosen=at, sent=sent)


def _is_discord(value: Any) -> bool:
    row = _first(value, "messages")
    return isinstance(row.get("author"), Mapping) and (
        isinstance(under(value, "channel"), Mapping) or isinstance(under(value, "guild"), Mapping)
    )


def _discord(value: Any) -> Iterator[Line]:
    messages = listed(value, "messages")
    bots = {under(row, "author", "id") for row in messages if under(row, "author", "isBot") is True}
    people = {under(row, "author", "id") for row in messages} - bots
    for number, row in enumerate(messages, 1):
        line = rows.line_of(row, number)
        if line.row is None:
            yield line
            continue
        role: Role | None = "user" if bots and len(people) == 1 else None
        bot = under(row, "author", "isBot") is True
        notice = str(row.get("type", "Default")) not in ("Default", "Reply", "0", "19")
        files = len(listed(row, "attachments"))
        text = row.get("content")
        if files:
            text = [*filter(None, [text]), *["[file]"] * files]
        yield replace(
            line,
            text=text,
            role="character" if bot else role,
            skipped="notice" if notice else "",
        )


def _is_telegram(value: Any) -> bool:
    row = _first(value, "messages")
    return row.get("type") in ("message", "service") and ("from_id" in row or "actor_id" in row)


def _telegram(value: Any) -> Iterator[Line]:
    for number, row in enumerate(listed(value, "messages"), 1):
        if not isinstance(row, Mapping):
            yield Line(number=number)
            continue
        text = row.get("text")
        if isinstance(text, list):
            text = "".join(
                it if isinstance(it, str) else str(under(it, "text") or "") for it in text
            )
        yield Line(
            row=row,
            text=text or ("[file]" if "photo" in row or "file" in row else text),
            name=row.get("from"),
            sent=row.get("date"),
            id=row.get("id"),
            skipped="notice" if row.get("type") == "service" else "",
            number=number,
        )


# ShareGPT: `conversations[]` with `from` and `value`.


def _sharegpt_rows(value: Any) -> list[Any]:
    for key in ("conversations", "conversation", "items"):
        row = _first(value, key)
        if "from" in row and "value" in row:
            return listed(value, key)
    return []


def _sharegpt(value: Any) -> Iterator[Line]:
    for number, row in enumerate(_sharegpt_rows(value), 1):
        line = rows.line_of(row, number)
        yield line if line.row is None else replace(line, text=row.get("value"), name=line.name)


def form(
    name: str, fits: Fits, lines: Reader, beside: Callable[[Any], list[str]] | None = None
) -> Form[Chat]:
    """A form of one program, by how its lines are read."""

    def read(document: Document) -> Chat:
        said = list(lines(document.value))
        names = Names(user=document.user, character=document.character, **names_in(document.value))
        told = beside(document.value) if beside else []
        return gather(reversed(said), names, form=name, count=len(said), warnings=told)

    return Form(name, fits, read)


def names_in(value: Any) -> dict[str, str | None]:
    """Names that stand beside the messages: of the user, and of the character."""
    users = (("user_name",), ("userName",), ("name1",))
    characters: tuple[tuple[str, ...], ...] = (
        *(("character_name",), ("characterName",), ("char_name",), ("name2",), ("character",)),
        *(("character", "name"), ("chat", "character", "name"), ("info", "character", "name")),
    )
    if under(value, "message") and under(value, "history"):  # a request of ours
        characters = (("persona", "name"),)
    return {"of_user": _name_at(value, users), "of_character": _name_at(value, characters)}


def _name_at(value: Any, paths: Iterable[tuple[str, ...]]) -> str | None:
    found = (under(value, *path) for path in paths)
    return next((name for name in found if isinstance(name, str) and name), None)


PROGRAMS: tuple[Form[Chat], ...] = (
    form("chat of Agnai", _is_agnai, _agnai),
    form("chat of text-generation-webui", _is_webui, _webui),
    form("chat of CAI Tools", _is_cai_tools, _cai_tools),
    form("chat of Character.AI", _is_turns, _turns),
    form("chat of Risu", lambda it: _is_risu_file(it) or _is_risu(it), _risu, _of_risu),
    form("chat of ChatGPT", _is_chatgpt, _chatgpt),
    form("chat of Open WebUI", lambda it: _tree_of_webui(it) is not None, _open_webui),
    form("chat of LibreChat", _is_librechat, _librechat),
    form("chat of Claude", _is_claude, _claude),
    form("chat of JanitorAI", _is_janitor, _janitor),
    form("chat of Backyard", _is_backyard, _backyard),
    form("chat of Discord", _is_discord, _discord),
    form("chat of Telegram", _is_telegram, _telegram),
    form("chat of ShareGPT", lambda it: bool(_sharegpt_rows(it)), _sharegpt),
    Form("chat of KoboldAI", is_kobold, read_kobold),
)
"""One chat of one program, as an object."""
