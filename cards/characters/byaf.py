"""Backyard archives (`.byaf`): a zip with `manifest.json`, which names the characters and scenarios
in it (ahoylabs/byaf, specification 1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cards.characters.card import Card
from cards.characters.charx import Archive
from cards.characters.foreign import backyard_book, called, in_macros, made
from cards.files import MAX_JSON, Fields, object_in, parse_object
from schemas.errors import BadRequest

MANIFEST = "manifest.json"
MAX_SCENARIOS = 50
"""That are read; each has one greeting."""


def read_backyard(archive: Archive) -> Card:
    """The first character of an archive, with its first scenario; the greetings of the others are
    further greetings, and its pictures are the card's.

    Raises:
        BadRequest: it has no character, or is damaged.
    """
    manifest = parse_object(archive.read(MANIFEST, MAX_JSON))
    told: list[str] = []
    listed = Fields(manifest, "", told)
    paths = listed.texts("characters", commas=False)
    if not paths or paths[0] not in archive.names:
        raise BadRequest("is a zip whose manifest names no character; it is no card")
    if len(paths) > 1:
        told.append(f"only the first of its {len(paths)} characters was read")
    character = parse_object(archive.read(paths[0], MAX_JSON))
    scenarios = _scenarios(archive, listed.texts("scenarios", commas=False), told)
    data = _data(Fields(character, "", told), [Fields(it, "", told) for it in scenarios])
    data |= _author(manifest)
    folder = paths[0].rpartition("/")[0]
    if assets := _pictures(archive, Fields(character, "", told).objects("images"), folder):
        data["assets"] = assets
    rest = {
        "manifest": {key: item for key, item in manifest.items() if key != "characters"},
        "character": {key: item for key, item in character.items() if key != "persona"},
        "scenarios": [_without_chat(scenario, told) for scenario in scenarios],
    }
    card = made("Backyard AI", data, rest, told, form="character of Backyard AI in BYAF")
    return replace(card, archive=archive)


def _scenarios(archive: Archive, paths: tuple[str, ...], told: list[str]) -> list[dict[str, Any]]:
    scenarios: list[dict[str, Any]] = []
    room = MAX_JSON
    paths = tuple(dict.fromkeys(paths))
    for path in paths[:MAX_SCENARIOS]:
        if path not in archive.names:
            told.append("a scenario that its manifest names is missing")
            continue
        try:
            content = archive.read(path, room)
            scenarios.append(parse_object(content))
            room -= len(content)
        except BadRequest:
            told.append("a damaged or very large scenario was left out")
    if len(paths) > MAX_SCENARIOS:
        told.append(f"only the first {MAX_SCENARIOS} of its {len(paths)} scenarios were read")
    if len(scenarios) > 1:
        told.append(
            f"only the first of its {len(scenarios)} scenarios and all greetings were taken"
        )
    return scenarios


def _data(character: Fields, scenarios: list[Fields]) -> dict[str, Any]:
    first = scenarios[0] if scenarios else Fields({}, "", [])
    greetings = [text for scenario in scenarios for text in _texts(scenario, "firstMessages")]
    examples = [f"<START>\n{text}" for text in _texts(first, "exampleMessages")]
    opening = _texts(first, "firstMessages")[:1]
    data = {
        **called(character.text("name"), character.text("displayName")),
        "description": in_macros(character.text("persona")),
        "scenario": in_macros(first.text("narrative")),
        "first_mes": opening[0] if opening else "",
        "mes_example": "\n".join(examples),
        "system_prompt": in_macros(first.text("formattingInstructions")),
        "alternate_greetings": greetings[len(opening) :],
    }
    if items := character.objects("loreItems"):
        data["character_book"] = backyard_book(items)
    return data


def _texts(scenario: Fields, name: str) -> list[str]:
    rows = [Fields(row, name, []) for row in scenario.objects(name)]
    return [in_macros(text) for row in rows if (text := row.text("text")).strip()]


def _author(manifest: dict[str, Any]) -> dict[str, str]:
    author = Fields(object_in(manifest, "author"), "author", [])
    return {"creator": author.text("name"), "creator_notes": author.text("backyardURL")}


def _pictures(archive: Archive, images: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """The pictures of a character as assets; their paths begin at its folder."""
    assets: list[dict[str, Any]] = []
    for image in images:
        path = f"{folder}/{image.get('path')}"
        if path in archive.names:
            name = str(image.get("label") or "") if assets else "main"
            ending = path.rpartition(".")[2].lower()
            row = {"type": "icon", "uri": f"embeded://{path}", "name": name or path, "ext": ending}
            assets.append(row)
    return assets


def _without_chat(scenario: dict[str, Any], told: list[str]) -> dict[str, Any]:
    messages = scenario.get("messages")
    if isinstance(messages, list) and messages:
        told.append(f"a chat of {len(messages)} messages is left out")
    return {key: item for key, item in scenario.items() if key != "messages"}
