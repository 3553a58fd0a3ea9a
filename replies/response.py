"""The response of a turn, from what its nodes wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from replies.reply import ParsedReply
from schemas.models import Model
from schemas.rag import PromptBuildOutput, RAGChunk
from schemas.request import ChatRequest
from schemas.response import ChatResponse, ModelInfo, RetrievalItem, Usage
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
        "reply": _reading(parsed),
    }
    if request.meta:
        meta["request"] = request.meta
    if request.meta.get("debug") is True:
        meta["prompt"]["text"], meta["reply"]["raw"] = prompt.prompt, generation.text
    if warnings := [part.warning for part in (state["chat"], state["story"]) if part.warning]:
        meta["warnings"] = warnings
    chunks = [*state["chat"].context, *state["story"].context]
    if route.responded_as == "narrator":
        chunks += state["story"].narrator_only
    return ChatResponse(
        session_id=request.session_id or "",
        responded_as=route.responded_as,
        response_contents=parsed.contents,
        usage=generation.usage or _estimated(prompt, generation, model.count),
        retrieved=retrieval_items(chunks, prompt),
        model_info=ModelInfo(
            name=model.name,
            backend=model.backend,
            format=model.layout.format,
            finish_reason=generation.finish_reason,
        ),
        error=generation.error or (None if parsed.contents else NOTHING_LEFT),
        meta=meta,
    )


def _reading(parsed: ParsedReply) -> dict[str, Any]:
    """What was done to the reply, for `meta.reply`."""
    return {
        "cuts": list(parsed.cuts),
        "next_speaker": parsed.next_speaker,
        "speaks_for_user": parsed.speaks_for_user,
    }


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


def _estimated(
    prompt: PromptBuildOutput, generation: Generation, count: Callable[[str], int]
) -> Usage:
    """Usage by our own count, where the server tells none."""
    asked, wrote = prompt.meta["tokens"]["total"], count(generation.text)
    return Usage(
        prompt_tokens=asked, completion_tokens=wrote, total_tokens=asked + wrote, estimated=True
    )
