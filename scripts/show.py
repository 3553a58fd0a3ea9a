"""A ChatResponse for people: who answered, what was recalled, the ledger, the times."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {
    "narration": "italic cyan",
    "action": "italic",
    "thought": "dim italic",
    "dialogue": "",
    "status": "dim",
}


def show(
    response: dict[str, Any], *, with_reply: bool = True, console: Console | None = None
) -> None:
    """Prints the response to standard output."""
    out = console or Console(highlight=False)
    route = response["meta"].get("route", {})
    if with_reply and (pieces := response["response_contents"]):
        out.print(f"[bold]{escape(pieces[0]['speaker'])}[/]")
        out.print("".join(_styled(piece) for piece in pieces) + "\n")
    out.print(f"Answered as {response['responded_as']}: {escape(route.get('reason', ''))}.\n")
    if response["retrieved"]:
        out.print(_recalled(response["retrieved"]))
    if ledger := response["meta"].get("prompt"):
        out.print(_ledger(ledger))
    if response["timing"]:
        out.print(_times(response["timing"]))


def _styled(piece: dict[str, Any]) -> str:
    """A piece of the reply in the style of its type."""
    text, style = escape(piece["text"]), STYLES[piece["type"]]
    return f"[{style}]{text}[/]" if style else text


def _recalled(items: list[dict[str, Any]]) -> Table:
    """Memories and events with scores, and whether they went into the prompt."""
    table = Table(title="Recalled", title_justify="left", box=None, padding=(0, 1))
    for column in ("", "source", "id", "score", "why", "text"):
        table.add_column(column, no_wrap=column not in ("text", "why"))
    for item in items:
        score = "" if item["score"] is None else f"{item['score']:.3f}"
        text = " ".join(item["text"].split())
        short = text if len(text) <= 90 else text[:89] + "…"
        table.add_row(
            "✓" if item["used"] else "·",
            item["source"],
            escape(item["id"]),
            score,
            escape(", ".join(item["why"])),
            escape(short),
        )
    return table


def _ledger(ledger: dict[str, Any]) -> Table:
    """Tokens of the prompt by section, with a bar."""
    tokens = ledger["tokens"]
    title = f"Prompt: {tokens['total']:,} of {tokens['budget']:,} tokens, format {ledger['format']}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), show_header=False)
    for section in (
        "system", "examples", "history", "message", "memories", "story", "instruction"
    ):  # fmt: skip
        share = tokens[section] / max(tokens["total"], 1)
        table.add_row(section, f"{tokens[section]:,}", "[cyan]" + "█" * round(40 * share) + "[/]")
    cut = ledger["cut"]
    if cut["dropped_messages"]:
        table.add_row("", "", f"history cut before message {cut['verbatim_from']}")
    return table


def _times(timing: dict[str, Any]) -> str:
    """The time of each step on a line."""
    steps = "  ".join(f"{name} {ms:.1f}" for name, ms in timing["nodes"].items())
    return f"\nMilliseconds: {timing['total']:.0f}  ({steps})"
