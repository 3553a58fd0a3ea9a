"""Node `plan_prompt`: what the prompt holds before anything is retrieved: the lore, and the cut."""

from __future__ import annotations

import asyncio
from typing import cast

from langgraph.runtime import Runtime

from nodes.lore import active_lore, is_lore
from prompts.plan import Plan, before_retrieval
from prompts.plan import plan as make_plan
from schemas.models import Model, Models
from schemas.rag import Lore
from schemas.request import ChatRequest
from schemas.state import Context, State, request_of


async def lore_of(request: ChatRequest, context: Context, model: Model) -> Lore:
    """The lore that the turn calls for.

    Raises:
        BadRequest: an entry is none; names the event.
    """
    if not any(map(is_lore, request.story)):
        return Lore()
    layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
    return await asyncio.to_thread(active_lore, request, model, layout.max_new_tokens)


async def planned(state: State, context: Context, models: Models) -> Plan:
    """The plan of the turn: what the prompt will hold verbatim, and how much room it leaves.

    It is made once. A run that goes on from a checkpoint makes it anew: it is not written there.

    Raises:
        BadRequest: card and message do not fit the model's context.
    """
    if plan := state.get("plan"):
        return cast("Plan", plan)
    request, lore = request_of(state), state.get("lore") or Lore()
    model = models.choose(request.model.name)
    layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
    given = before_retrieval(request, lore, layout)
    return await model.counted(lambda count: make_plan(given, count))


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads `request`; writes `lore` and `plan`. It works while `embed` waits for a vector."""
    request, context = request_of(state), runtime.context or Context()
    lore = await lore_of(request, context, models.choose(request.model.name))
    return {"lore": lore, "plan": await planned({**state, "lore": lore}, context, models)}
