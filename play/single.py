"""One turn as a page of its own: a file without a server, a script from elsewhere or a request."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LINES = 30
"""Newest lines of the history that the page shows."""


def single_page(payload: dict[str, Any], response: dict[str, Any]) -> str:
    """The page with the turn inside.

    Its policy allows the page's own script and style, by their hashes, and nothing else.
    """
    style, script = _asset("page.css"), _asset("page.js")
    persona = payload.get("persona")
    progress = response["meta"].get("story") or {}
    awaited = {progress.get(key) for key in ("event", "next")} - {None}
    kept = {
        "persona": {"name": persona.get("name", "")} if isinstance(persona, dict) else {},
        "user_name": payload.get("user_name"),
        "story": [
            {"id": event["id"], "title": event.get("title", "")}
            for event in payload.get("story", [])
            if event.get("id") in awaited
        ],
        "history": payload.get("history", [])[-LINES:],
        "message": payload.get("message", ""),
        "response": response,
    }
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(kept, ensure_ascii=True).replace("<", "\\u003c")
    page = _asset("page.html")
    for old, new in (
        ('<meta charset="utf-8">',
         f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'),
        ('<link rel="stylesheet" href="page.css">', f"<style>{style}</style>"),
        ('<script src="page.js" defer></script>', ""),
        ("</body>",
         f'<script type="application/json" id="turn-data">{data}</script>'
         f"<script>{script}</script></body>"),
    ):  # fmt: skip
        before, found, after = page.partition(old)
        if not found:
            raise RuntimeError(f"page.html lacks {old}")
        page = before + new + after
    return page


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
