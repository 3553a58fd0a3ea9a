"""A turn as pictures for notebooks: HTML and SVG of our own, no library, nothing from the network.

Every function takes what `handle_chat` gives and returns a `Figure`, which a notebook shows as the
last value of a cell. Texts are escaped; colours are readable on light and on dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from langchain_core.runnables.graph import Graph

Response = Mapping[str, Any]

CHAT, STORY, FAINT = "#4c78a8", "#c9772b", "#88888866"
SECTIONS = {
    "system": "#4c78a8",
    "examples": "#7ba3c9",
    "history": "#5b9a68",
    "message": "#b5556a",
    "frame": "#999999",
    "memories": "#8d6cab",
    "story": "#c9772b",
    "instruction": "#777777",
}
"""Parts of a prompt, in its order with notes behind the history, and their colours."""
STYLES = {
    "narration": "font-style:italic;color:#2a8c8c",
    "action": "font-style:italic",
    "thought": "font-style:italic;opacity:.7",
    "dialogue": "",
}


@dataclass(frozen=True)
class Figure:
    """HTML that a notebook shows."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def reply(response: Response) -> Figure:
    """The reply, its kinds of text set apart, with who answered and why."""
    pieces = response["response_contents"]
    text = "".join(_styled(piece) for piece in pieces)
    name = escape(pieces[0]["speaker"]) if pieces else escape(response["error"] or "")
    why = escape(response["meta"]["route"]["reason"])
    said = f'<p style="white-space:pre-wrap;max-width:46em;line-height:1.5">{text}</p>'
    return Figure(f"<b>{name}</b>{said}<small>{why}</small>")


def _styled(piece: Mapping[str, Any]) -> str:
    return f'<span style="{STYLES[piece["type"]]}">{escape(piece["text"])}</span>'


def recalled(response: Response) -> Figure:
    """Memories and events, and why: solid where the prompt holds them, else faint.

    A bar is the score beside the best of its source; the two are scored apart.
    """
    items = response["retrieved"]
    best = {"chat": 1e-9, "story": 1e-9}
    for item in items:
        best[item["source"]] = max(best[item["source"]], item["score"] or 0)
    rows = []
    for item in items:
        color = CHAT if item["source"] == "chat" else STORY
        score = item["score"] or 0
        rows.append(
            (
                "✓" if item["used"] else "",
                item["source"],
                item["id"],
                _Bar(score / best[item["source"]], color if item["used"] else FAINT),
                "" if item["score"] is None else f"{score:.3f}",
                ", ".join(item["why"]),
                _short(item["text"]),
            )
        )
    return _table(("used", "from", "id", "score", "", "why", "text"), rows)


def ledger(response: Response) -> Figure:
    """Tokens of the prompt by section; below, what the engine had in its cache, if it tells."""
    book, usage = response["meta"]["prompt"], response["usage"] or {}
    tokens, cached_tokens = book["tokens"], usage.get("cached_tokens")
    held = [(name, tokens[name]) for name in _order(book["place"]) if tokens[name]]
    bar = "".join(
        f'<div title="{name} {count:,}" style="flex:{count};background:{SECTIONS[name]}"></div>'
        for name, count in held
    )
    legend = " ".join(
        f'<span style="white-space:nowrap;margin-right:1em"><span style="color:{SECTIONS[name]}">■'
        f"</span> {name} {count:,}</span>"
        for name, count in held
    )
    known = cached_tokens / usage["prompt_tokens"] if cached_tokens else 0
    cached = (
        f'<div style="width:{known:.1%};border-top:3px double currentColor"></div>'
        f"<small>in the engine's cache: {cached_tokens:,} tokens</small>"
        if cached_tokens
        else ""
    )
    said = f"{tokens['total']:,} of {tokens['budget']:,} tokens, format {escape(book['format'])}"
    return Figure(
        f'<div style="max-width:52em"><b>{said}</b>'
        f'<div style="display:flex;height:1.6em;margin:.4em 0 .2em">{bar}</div>{cached}'
        f"<p>{legend}</p></div>"
    )


def _order(place: str) -> Sequence[str]:
    """The sections as they stand in the prompt; notes at a depth are shown before the history."""
    if place == "after_history":
        return tuple(SECTIONS)
    notes = ("frame", "memories", "story")
    return ("system", "examples", *notes, "history", "message", "instruction")


def evidence(response: Response) -> Figure:
    """What spoke for the character (left) and for the narrator (right)."""
    route = response["meta"]["route"]
    found = sorted(route["evidence"], key=lambda e: -abs(e["value"] * e["weight"]))
    most = max((abs(e["value"] * e["weight"]) for e in found), default=0) or 1
    rows = []
    for item in found:
        push = item["value"] * item["weight"]
        left, right = max(0.0, -push) / most, max(0.0, push) / most
        name = item["name"].replace("_", " ")
        rows.append((name, _Bar(left, CHAT, mirrored=True), _Bar(right, STORY), f"{push:+.2f}"))
    table = _table(("evidence", "character", "narrator", ""), rows)
    said = f"{route['responded_as']}, {route['confidence']:.0%} sure"
    return Figure(f"<b>{escape(said)}</b>{table.html if rows else ''}")


def playthrough(turns: Iterable[tuple[str, Response]]) -> Figure:
    """A story by turns: what was said, how near it came to the next event, what was reached."""
    rows = []
    for message, response in turns:
        story = response["meta"].get("story") or {}
        score = story.get("score", 0.0)
        rows.append(
            (
                _short(message),
                response["responded_as"],
                _Bar(score, STORY if story.get("event") else FAINT),
                f"{score:.2f}",
                story.get("event") or "",
                str(story.get("position_after", "")),
                story.get("next") or "",
            )
        )
    head = ("said", "answered by", "towards the next", "", "reached", "clock", "waits for")
    return _table(head, rows)


def pipeline(graph: Graph, response: Response | None = None) -> Figure:
    """The graph from left to right, with the milliseconds of a turn; drawn offline.

    Args:
        graph: what `graph.get_graph()` gives.
    """
    times = ((response or {}).get("timing") or {}).get("nodes", {})
    places = _places(graph)
    width = 132 * (1 + max(x for x, _ in places.values()))
    height = 64 * (1 + max(y for _, y in places.values()))
    lines = "".join(
        f'<line x1="{_x(places[e.source]) + 55:.0f}" y1="{_y(places[e.source]):.0f}" '
        f'x2="{_x(places[e.target]) - 55:.0f}" y2="{_y(places[e.target]):.0f}" '
        'stroke="currentColor"/>'
        for e in graph.edges
    )
    boxes = "".join(_box(name, place, times.get(name)) for name, place in places.items())
    return Figure(
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="width:100%;max-width:{width:.0f}px" '
        f'font-family="sans-serif" font-size="12" text-anchor="middle">{lines}{boxes}</svg>'
    )


def _places(graph: Graph) -> dict[str, tuple[float, float]]:
    """Column (the longest way from the start) and row of each node; a column is centred."""
    depth = dict.fromkeys(graph.nodes, 0)
    for _ in graph.nodes:  # as many rounds as a way can have steps
        for edge in graph.edges:
            depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
    columns: dict[int, list[str]] = {}
    for name in graph.nodes:
        columns.setdefault(depth[name], []).append(name)
    tallest = max(map(len, columns.values()))
    return {
        name: (column, row + (tallest - len(names)) / 2)
        for column, names in columns.items()
        for row, name in enumerate(names)
    }


def _x(place: tuple[float, float]) -> float:
    return 132 * place[0] + 66


def _y(place: tuple[float, float]) -> float:
    return 64 * place[1] + 32


def _box(name: str, place: tuple[float, float], milliseconds: float | None) -> str:
    """A node with its name and, if it is known, its time."""
    x, y = _x(place), _y(place)
    time = "" if milliseconds is None else f"{milliseconds:.1f} ms"
    return (
        f'<rect x="{x - 55:.0f}" y="{y - 21:.0f}" width="110" height="42" rx="8" '
        f'fill="{CHAT}" fill-opacity=".2" stroke="currentColor"/>'
        f'<text x="{x:.0f}" y="{y - 2 if time else y + 4:.0f}" fill="currentColor">'
        f"{escape(name.strip('_'))}</text>"
        f'<text x="{x:.0f}" y="{y + 13:.0f}" fill="currentColor" opacity=".7">{time}</text>'
    )


@dataclass(frozen=True)
class _Bar:
    """A cell of a table that is a bar; `share` of 1 fills it."""

    share: float
    color: str
    mirrored: bool = False


def _table(head: Sequence[str], rows: Iterable[Sequence[str | _Bar]]) -> Figure:
    """Texts (escaped) and bars."""
    titles = "".join(f'<th style="text-align:left">{escape(title)}</th>' for title in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return Figure(f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>")


def _cell(cell: str | _Bar) -> str:
    if isinstance(cell, str):
        return f'<td style="text-align:left">{escape(cell)}</td>'
    side = "margin-left:auto" if cell.mirrored else ""
    width = max(0.0, min(1.0, cell.share))
    return (
        '<td style="width:9em"><div style="min-width:8em">'
        f'<div style="width:{width:.1%};height:.9em;background:{cell.color};{side}"></div>'
        "</div></td>"
    )


def _short(text: str, length: int = 100) -> str:
    """The text on one line, cut where it is too long for a table."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
