"""The response of a turn, from what its nodes wrote."""

from __future__ import annotations

import uuid
from typing import Any

from schemas.budget import current
from schemas.models import Model
from schemas.rag import Lore, PromptBuildOutput, RAGChunk
from schemas.request import NEW_SESSION, ChatRequest
from schemas.response import ChatResponse, ModelInfo, ParsedReply, RetrievalItem
from schemas.state import Generation, State

NOTHING_LEFT = "the model wrote nothing that its role may say; ask again, or with another seed"


def respond(
    state: State,
    request: ChatRequest,
    model: Model,
    parsed: ParsedReply,
) -> ChatResponse:
    """The ChatResponse, all but its timing.

    Args:
        state: after `generate`.
        parsed: the reply as it was read.
    """
    route, prompt, generation = state["route"], state["prompt"], state["generation"]
    meta: dict[str, Any] = {
        "route": route.model_dump(),
        "prompt": dict(prompt.meta),
        "reply": _reading(parsed, generation),
    }
    if progress := state.get("progress"):
        meta["story"] = progress.model_dump()
    if request.meta:
        meta["request"] = request.meta
    if request.meta.get("debug") is True:
        meta["prompt"]["text"], meta["reply"]["raw"] = prompt.prompt, generation.text
    warnings = [part.warning for part in (state["chat"], state["story"]) if part.warning]
    if warnings := [*warnings, *current().removals()]:
        meta["warnings"] = warnings
    lore = state.get("lore") or Lore()
    if lore.budget:
        meta["lore"] = lore.model_dump(exclude={"standing", "passing", "placed"})
    adds = request.reply_start  # what is whole needs no more
    chunks = [*state["chat"].context, *lore.passing, *state["story"].context]
    if route.responded_as == "narrator":
        chunks += state["story"].narrator_only
    return ChatResponse(
        session_id=request.session_id or NEW_SESSION + uuid.uuid4().hex,
        responded_as=route.responded_as,
        response_contents=parsed.contents,
        usage=generation.usage,
        retrieved=[*_standing(lore), *retrieval_items(chunks, prompt)],
        model_info=ModelInfo(
            name=model.name,
            backend=model.backend,
            format=model.layout.format,
            finish_reason=generation.finish_reason,
        ),
        error=generation.error or (None if parsed.contents or adds else NOTHING_LEFT),
        meta=meta,
    )


def _reading(parsed: ParsedReply, generation: Generation) -> dict[str, Any]:
    """What was done to the reply, for `meta.reply`."""
    read: dict[str, Any] = {
        "regenerated": generation.given_up is not None,
        "given_up": generation.given_up or [],
        "cuts": list(parsed.cuts),
        "next_speaker": parsed.next_speaker,
        "speaks_for_user": parsed.speaks_for_user,
    }
    if parsed.status:
        read["status"] = [list(pair) for pair in parsed.status]
    return read


def _standing(lore: Lore) -> list[RetrievalItem]:
    """Lore in the system text: in every prompt of the chat."""
    return [
        RetrievalItem(id=c.id, source="story", text=c.text, used=True, why=list(c.meta["why"]))
        for c in (*lore.standing, *lore.placed)
    ]


def retrieval_items(chunks: list[RAGChunk], prompt: PromptBuildOutput) -> list[RetrievalItem]:
    """What was found, with the ledger's word on whether it went into the prompt."""
    ledger = {(item["source"], item["id"]): item for item in prompt.meta["items"]}
    items = []
    for chunk in chunks:
        entry = ledger.get((chunk.source, chunk.id), {"delivered": False, "reason": "not offered"})
        why = list(chunk.meta.get("why", ()))
        items.append(
            RetrievalItem(
                id=chunk.id,
                source="story" if chunk.source == "story" else "chat",
                text=chunk.text,
                score=chunk.score,
                used=entry["delivered"],
                why=why if entry["delivered"] else [*why, entry["reason"]],
            )
        )
    return items
