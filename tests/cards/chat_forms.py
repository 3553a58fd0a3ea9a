"""The same chat as each program writes it; all words are our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

USER, CHARACTER = "로빈", "Mara Vale"
BEGAN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


class Said(NamedTuple):
    """A line of the chat; whose it is, tells the flag."""

    by_user: bool
    text: str

    @property
    def name(self) -> str:
        return USER if self.by_user else CHARACTER


Lines = Sequence[Said]
Form = Callable[[Lines], Any]
"""How a program writes lines: a value of JSON, or text."""


def at(row: int) -> datetime:
    return BEGAN + timedelta(minutes=row)


def iso(row: int) -> str:
    return at(row).isoformat().replace("+00:00", "Z")


def ms(row: int) -> int:
    return int(at(row).timestamp() * 1000)


def role(said: Said, user: str = "user", other: str = "assistant") -> str:
    return user if said.by_user else other


def sillytavern(lines: Lines) -> list[dict[str, Any]]:
    head = {"user_name": USER, "character_name": CHARACTER, "chat_metadata": {"note_depth": 4}}
    rows = [
        {
            **{"name": it.name, "is_user": it.by_user, "is_system": False, "mes": it.text},
            **{"send_date": iso(n), "extra": {}, "swipes": [it.text, "other"], "swipe_id": 0},
        }
        for n, it in enumerate(lines)
    ]
    return [head, *rows]


def chub(lines: Lines) -> str:
    rows = sillytavern(lines)
    for row in rows[1:]:
        row["mes"] = {"message": row["mes"], "id": 1}
        row["swipes"] = [{"message": text} for text in row["swipes"]]
    return jsonl(rows)


def jsonl(rows: Sequence[Any]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def agnai(lines: Lines) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {
            "_id": f"m{n}",
            "handle": it.name,
            "msg": it.text,
            "createdAt": iso(n),
            "parent": f"m{n - 1}",
        }
        | ({"userId": "u"} if it.by_user else {"characterId": "c", "retries": ["before"]})
        for n, it in enumerate(lines)
    ]
    rows.insert(1, {"_id": "x", "handle": "X", "characterId": "c", "msg": "cut", "parent": "m0"})
    leaf = f"m{len(lines) - 1}"
    return {"name": "Exported", "greeting": "", "treeLeafId": leaf, "messages": rows}


def webui(lines: Lines) -> dict[str, Any]:
    pairs = [[it.text, ""] if it.by_user else ["<|BEGIN-VISIBLE-CHAT|>", it.text] for it in lines]
    shown = [["" if user.startswith("<|") else user, text] for user, text in pairs]
    return {"internal": pairs, "visible": shown, "metadata": {}}


def webui_visible(lines: Lines) -> dict[str, Any]:
    pairs = webui(lines)["internal"]
    return {"data": pairs, "data_visible": pairs}


def cai_tools(lines: Lines) -> dict[str, Any]:
    msgs = [
        {"src": {"is_human": it.by_user, "name": it.name}, "text": it.text, "created": iso(n)}
        for n, it in enumerate(lines)
    ]
    return {"info": {}, "histories": {"histories": [{"external_id": "h", "msgs": msgs}]}}


def turns(lines: Lines) -> dict[str, Any]:
    rows: list[Any] = [
        {
            **{"turn_key": {"chat_id": "a", "turn_id": f"t{n}"}, "create_time": iso(n)},
            "author": {"author_id": "1", "name": it.name, "is_human": it.by_user},
            "candidates": [
                {"candidate_id": "old", "raw_content": "not this"},
                {"candidate_id": "new", "raw_content": it.text},
            ],
            "primary_candidate_id": "new",
        }
        for n, it in enumerate(lines)
    ]
    return {"turns": rows[::-1], "meta": {"next_token": ""}}


def risu(lines: Lines) -> dict[str, Any]:
    rows = [
        {"role": role(it, other="char"), "data": it.text, "time": ms(n), "chatId": f"c{n}"}
        for n, it in enumerate(lines)
    ]
    data = {"name": "Chat 1", "note": "n", "localLore": [], "message": rows, "hypaV3Data": {"a": 1}}
    return {"type": "risuChat", "ver": 2, "data": data}


def risu_all(lines: Lines) -> dict[str, Any]:
    chats = [risu(lines)["data"], {"name": "Chat 2", "message": [{"role": "user", "data": "no"}]}]
    return {"type": "risuAllChats", "ver": 2, "data": chats, "folders": []}


def kobold(lines: Lines) -> dict[str, Any]:
    marks = ("{{[OUTPUT]}}", "{{[INPUT]}}")
    actions = [f"\n{marks[it.by_user]}\n{it.text}" for it in lines]
    return {
        **{"gamestarted": True, "prompt": actions[0], "memory": "", "authorsnote": ""},
        **{"actions": actions[1:], "actions_metadata": {}, "worldinfo": []},
        "savedsettings": {"opmode": "4", "chatname": USER, "chatopponent": CHARACTER},
    }


def kobold_chat(lines: Lines) -> dict[str, Any]:
    actions = [f"\n{it.name}: {it.text}" for it in lines]
    settings = {"opmode": 3, "chatname": USER, "chatopponent": f"{CHARACTER}||$||Finn"}
    return {"prompt": "", "actions": actions, "gamestarted": True, "savedsettings": settings}


def united(lines: Lines) -> dict[str, Any]:
    rows = {str(n): {"Selected Text": f"\n{it.name}: {it.text}"} for n, it in enumerate(lines)}
    return {"gamestarted": True, "prompt": "", "actions": rows, "authorsnote": "", "name1": USER}


def sharegpt(lines: Lines) -> list[Any]:
    rows = [{"from": role(it, "human", "gpt"), "value": it.text} for it in lines]
    return [{"id": "a", "conversations": rows}]


def api(lines: Lines) -> dict[str, Any]:
    rows = [
        {"role": role(it), "content": [{"type": "text", "text": it.text}, {"type": "thinking"}]}
        for it in lines
    ]
    return {"model": "m", "messages": rows}


def fine_tuning(lines: Lines) -> str:
    return jsonl([{"messages": [{"role": role(it), "content": it.text} for it in lines]}] * 2)


def rows_of_json(lines: Lines) -> str:
    return jsonl([{"role": role(it), "content": it.text} for it in [*lines, *lines]][: len(lines)])


def gemini(lines: Lines) -> dict[str, Any]:
    rows = [{"role": role(it, other="model"), "parts": [{"text": it.text}]} for it in lines]
    return {"contents": rows}


def chatgpt(lines: Lines) -> list[Any]:
    nodes: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None}}
    before = "root"
    for n, it in enumerate(lines):
        message = {
            **{"id": f"n{n}", "author": {"role": role(it), "name": None, "metadata": {}}},
            "content": {"content_type": "text", "parts": [it.text]},
            "create_time": at(n).timestamp(),
        }
        nodes[f"n{n}"] = {"id": f"n{n}", "message": message, "parent": before, "children": []}
        before = f"n{n}"
    nodes["x"] = {**nodes[before], "parent": "root"}  # another branch
    older = {"title": "old", "update_time": 1.0, "mapping": {}, "current_node": ""}
    newer = {"title": "new", "update_time": 2.0, "mapping": nodes, "current_node": before}
    return [older, newer]


def claude(lines: Lines) -> list[Any]:
    rows = [
        {"uuid": f"u{n}", "text": it.text, "sender": role(it, "human"), "created_at": iso(n)}
        for n, it in enumerate(lines)
    ]
    return [{"uuid": "c", "name": "title", "created_at": iso(0), "chat_messages": rows}]


def open_webui(lines: Lines) -> list[Any]:
    rows = {
        f"m{n}": {
            **{"id": f"m{n}", "parentId": f"m{n - 1}" if n else None, "childrenIds": []},
            **{"role": role(it), "content": it.text, "timestamp": int(at(n).timestamp())},
        }
        for n, it in enumerate(lines)
    }
    chat = {"title": "t", "history": {"messages": rows, "currentId": f"m{len(lines) - 1}"}}
    return [{"id": "1", "title": "t", "chat": {**chat, "messages": list(rows.values())}}]


def librechat(lines: Lines) -> dict[str, Any]:
    rows = [
        {
            **{"messageId": f"m{n}", "parentMessageId": f"m{n - 1}", "text": it.text},
            **{"sender": role(it, "User", "Model"), "isCreatedByUser": it.by_user},
            "createdAt": iso(n),
        }
        for n, it in enumerate(lines)
    ]
    return {"conversationId": "c", "title": "t", "recursive": False, "messages": rows}


def janitor(lines: Lines) -> dict[str, Any]:
    rows = [
        {
            **{"id": n, "chat_id": 1, "is_bot": not it.by_user, "is_main": True},
            **{"message": it.text, "created_at": iso(n)},
        }
        for n, it in enumerate(lines)
    ]
    return {"chat": {"id": 1}, "character": {"name": CHARACTER}, "chatMessages": rows[::-1]}


def backyard(lines: Lines) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {"type": "human", "text": it.text, "createdAt": iso(n)}
        if it.by_user
        else {
            "type": "ai",
            "outputs": [
                {"text": "older", "activeTimestamp": iso(n), "createdAt": iso(n)},
                {"text": it.text, "activeTimestamp": iso(n + 1), "createdAt": iso(n)},
            ],
        }
        for n, it in enumerate(lines)
    ]
    return {"schemaVersion": 1, "title": "t", "narrative": "", "messages": rows}


def discord(lines: Lines) -> dict[str, Any]:
    rows = [
        {
            **{"id": f"1{n}", "type": "Default", "timestamp": iso(n), "content": it.text},
            "author": {"id": str(it.by_user), "name": it.name, "isBot": not it.by_user},
            "attachments": [],
        }
        for n, it in enumerate(lines)
    ]
    return {"guild": {"id": "0"}, "channel": {"id": "1"}, "messages": rows}


def telegram(lines: Lines) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {
            **{"id": n + 1, "type": "message", "date": at(n).isoformat(), "from": it.name},
            **{"from_id": "user1", "text": [it.text, {"type": "bold", "text": "!"}]},
        }
        for n, it in enumerate(lines)
    ]
    return {"name": "chat", "type": "personal_chat", "id": 1, "messages": rows}


def flags(lines: Lines) -> dict[str, Any]:
    return {"chats": [{"isUser": it.by_user, "body": it.text, "ts": ms(0)} for it in lines]}


def names_only(lines: Lines) -> list[Any]:
    return [{"speaker": it.name, "text": it.text} for it in lines]


def transcript(lines: Lines) -> str:
    return "\n".join(f"{it.name}: {it.text}" for it in lines)


FORMS: dict[str, tuple[str, Form]] = {
    "sillytavern list": ("chat of SillyTavern", sillytavern),
    "sillytavern": ("chat of SillyTavern", lambda lines: jsonl(sillytavern(lines))),
    "chub": ("chat of Chub", chub),
    "agnai": ("chat of Agnai", agnai),
    "webui": ("chat of text-generation-webui", webui),
    "webui of all": ("chat of text-generation-webui", lambda it: {CHARACTER: webui(it)}),
    "webui visible": ("chat of text-generation-webui", webui_visible),
    "cai tools": ("chat of CAI Tools", cai_tools),
    "turns": ("chat of Character.AI", turns),
    "risu": ("chat of Risu", risu),
    "risu all": ("chat of Risu", risu_all),
    "kobold": ("chat of KoboldAI (instruct)", kobold),
    "kobold chat": ("chat of KoboldAI (chat)", kobold_chat),
    "united": ("chat of KoboldAI (chat)", united),
    "sharegpt": ("chat of ShareGPT", sharegpt),
    "api": ("chat", api),
    "fine-tuning": ("chat", fine_tuning),
    "rows": ("chat", rows_of_json),
    "gemini": ("chat", gemini),
    "chatgpt": ("chat of ChatGPT", chatgpt),
    "claude": ("chat of Claude", claude),
    "open webui": ("chat of Open WebUI", open_webui),
    "librechat": ("chat of LibreChat", librechat),
    "janitor": ("chat of JanitorAI", janitor),
    "backyard": ("chat of Backyard", backyard),
    "discord": ("chat of Discord", discord),
    "flags": ("chat", flags),
    "names only": ("chat", names_only),
    "telegram": ("chat of Telegram", telegram),
    "transcript": ("chat in plain text", transcript),
}
"""What each is taken for, and how it is written."""

RUNNING = frozenset(("kobold", "kobold chat", "united", "transcript"))
"""Forms in which the words of a line could be taken for its marks."""

TIMED = frozenset(
    ("sillytavern", "sillytavern list", "chub", "cai tools", "turns", "risu", "risu all", "claude",
     "chatgpt", "open webui", "librechat", "janitor", "discord")
)  # fmt: skip
"""Forms that say when every line was written."""


def written(name: str, lines: Lines) -> bytes:
    """The lines in a form, as bytes."""
    value = FORMS[name][1](lines)
    return (value if isinstance(value, str) else json.dumps(value)).encode()
