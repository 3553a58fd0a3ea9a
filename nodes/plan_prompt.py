"""Node `plan_prompt`: what the prompt holds before anything is retrieved: the lore, and the cut."""

from __future__ import annotations

import asyncio
from functools import partial

from langgraph.runtime import Runtime

from prompts.lore import active_lore
from prompts.plan import before_retrieval, plan
from schemas.models import Models
from schemas.rag import Lore, PromptPlan
from schemas.state import Context, State, request_of


async def planned(state: State, context: Context, models: Models) -> PromptPlan:
    """The plan of the turn: what the prompt will hold verbatim, and how much room it leaves.

    It is made once. A run that goes on from a checkpoint makes it anew: it is not written there.

    Raises:
        BadRequest: card and message do not fit the model's context.
    """
    if known := state.get("plan"):
        return known
    request, lore = request_of(state), state.get("lore") or Lore()
    model = models.choose(request.model.name)
    layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
    given = before_retrieval(request, lore, layout)
    return await model.counted(partial(plan, given), aside=request.is_large)


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads `request`; writes `lore` and `plan`. It works while `embed` waits for a vector."""
    request, context = request_of(state), runtime.context or Context()
    model, lore = await models.meet(request.model.name), Lore()
    if any(event.is_lore for event in request.story):
        layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
        lore = await asyncio.to_thread(active_lore, request, model, layout.max_new_tokens)
    return {"lore": lore, "plan": await planned({**state, "lore": lore}, context, models)}
