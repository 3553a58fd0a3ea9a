"""Node `build_prompt`: card, memories, story and chat become one prompt within the budget."""

from __future__ import annotations

from functools import partial

from langgraph.runtime import Runtime

from prompts.build import build_prompt, with_retrieved
from prompts.plan import before_retrieval
from prompts.tokens import Count
from schemas.models import Models
from schemas.rag import Lore, PromptBuildInput, PromptBuildOutput, PromptPlan
from schemas.request import LARGE
from schemas.state import Context, State, request_of


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads `request`, `lore`, `plan`, `chat`, `story`, `route` and `progress`; writes `prompt`."""
    request, context = request_of(state), runtime.context or Context()
    model, lore = models.choose(request.model.name), state.get("lore") or Lore()
    layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
    given = with_retrieved(
        before_retrieval(request, lore, layout),
        lore,
        state["chat"],
        state["story"],
        state["route"],
        state.get("progress"),
    )
    planned = state.get("plan")
    found = (*given.chat_context, *given.story_context, *given.narrator_only)
    prompt = await model.counted(
        partial(_built, given, planned),
        aside=request.is_large or sum(len(chunk.text) for chunk in found) > LARGE,
    )
    return {"prompt": prompt}


def _built(given: PromptBuildInput, planned: PromptPlan | None, count: Count) -> PromptBuildOutput:
    return build_prompt(given, count=count, planned=planned)
