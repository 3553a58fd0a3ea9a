"""The figures of `benchmarks.speed` as one SVG, drawn by hand: bars for starts, lines for turns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 760, 330, 56
COLOURS = {"iyagi": "#1b7f79", "iyagi_new": "#74b8b3", "peer": "#c8553d", "peer_torch": "#8d3b72"}
NAMES = {
    "iyagi": "Iyagi, chat known",
    "iyagi_new": "Iyagi, chat never seen",
    "peer": "LangChain + Chroma",
    "peer_torch": "the same on torch",
}
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:14px}"
    ".g{stroke:#ddd}.a{stroke:#888}"
)


def draw(figures: Mapping[str, Any]) -> str:
    """The SVG of a run's figures: cold starts to the left, turns over the history to the right."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Cold start and time of a turn: Iyagi against the usual build</title>",
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *_bars(figures["cold_start_s"], left=MARGIN, right=270),
        *_lines(figures["turn_ms"], left=350, right=WIDTH - 20),
        *_legend(figures),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, *, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _rule(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" class="{kind}"/>'


def _bars(starts: Mapping[str, float], *, left: float, right: float) -> list[str]:
    shown = [name for name in ("iyagi", "peer", "peer_torch") if name in starts]
    top, bottom = 50.0, HEIGHT - 70.0
    most = max(starts[name] for name in shown)
    step = (right - left) / len(shown)
    drawn = [_text(left, 28, "Start to first reply, seconds", kind="t")]
    drawn.append(_rule(left, bottom, right, bottom, "a"))
    for place, name in enumerate(shown):
        x, height = left + step * (place + 0.2), (bottom - top) * starts[name] / most
        drawn.append(
            f'<rect x="{x:.1f}" y="{bottom - height:.1f}" width="{step * 0.6:.1f}" '
            f'height="{height:.1f}" fill="{COLOURS[name]}"/>'
        )
        drawn.append(
            _text(x + step * 0.3, bottom - height - 5, f"{starts[name]:.1f}", anchor="middle")
        )
    return drawn


def _lines(turns: Mapping[str, Mapping[str, Any]], *, left: float, right: float) -> list[str]:
    """Time over the number of messages, both by powers of ten."""
    sizes = sorted(map(int, turns))
    series = {
        name: [(size, turns[str(size)][name]) for size in sizes if name in turns[str(size)]]
        for name in COLOURS
    }
    values = [value for points in series.values() for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    top, bottom = 50.0, HEIGHT - 70.0
    span = math.log10(max(sizes) / min(sizes)) or 1.0

    def at(size: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * math.log10(size / min(sizes)) / span
        return x, bottom - (bottom - top) * (math.log10(value) - low) / max(high - low, 1)

    drawn = [_text(left - 20, 28, "A turn, milliseconds, by messages in the chat", kind="t")]
    for power in range(low, high + 1):
        _, y = at(min(sizes), 10**power)
        drawn += [
            _rule(left, y, right, y, "g"),
            _text(left - 8, y + 4, f"{10**power:,}", anchor="end"),
        ]
    for size in sizes:
        drawn.append(_text(at(size, 10**low)[0], bottom + 18, f"{size:,}", anchor="middle"))
    for name, points in series.items():
        if points:
            drawn += _line(COLOURS[name], [at(*point) for point in points])
    return drawn


def _line(colour: str, points: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _legend(figures: Mapping[str, Any]) -> list[str]:
    last = max(figures["turn_ms"], key=int)
    shown = [name for name in COLOURS if name in figures["turn_ms"][last]]
    drawn = []
    for place, name in enumerate(shown):
        x, y = MARGIN + place * 170, HEIGHT - 22
        drawn.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{COLOURS[name]}"/>')
        drawn.append(_text(x + 17, y, NAMES[name]))
    return drawn
