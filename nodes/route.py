"""Node `route`: who answers, and whether the story has moved on."""

from __future__ import annotations

import numpy as np
from langgraph.runtime import Runtime
from pydantic import ValidationError

from nodes.second_opinion import second_opinion
from routing import Decision, Exemplars, LazyExemplars, Line, RouterInput, advance, decide
from routing.evidence import LINES_READ
from routing.reading import is_continue
from schemas.base import done
from schemas.models import Models
from schemas.rag import Lore, Upcoming
from schemas.request import ChatRequest
from schemas.state import (
    Context,
    Evidence,
    Route,
    SecondOpinion,
    State,
    StoryProgress,
    context_of,
    request_of,
)

AS_USER = "user: respond_as in the request"


def route_turn(
    request: ChatRequest,
    *,
    vector: np.ndarray | None = None,
    exemplars: Exemplars | None = None,
    trigger_similarity: float | None = None,
    narrator_plays_people: bool = False,
) -> Decision:
    """Who answers: the caller's choice, a directive in the message, else the evidence.

    Args:
        vector: of the message, (d,) of unit length; without it the exemplars have no vote.
        exemplars: labelled messages under the same embedder.
        trigger_similarity: cosine of the message and the next event's trigger, as it is read.
        narrator_plays_people: the narrator also speaks for minor persons.
    """
    lines = [
        Line(line.role, line.name or "", line.content)
        for line in request.history[-LINES_READ:]
        if line.role != "system"  # hidden from the scene
    ]
    speakers = {line.speaker for line in lines if line.role == "character"}
    own = {request.persona.name, *request.persona.aliases, ""}
    turn = RouterInput(
        message=request.message,
        history=lines,
        character=request.persona.name,
        aliases=request.persona.aliases,
        user_name=request.user_name or "",
        others=sorted(speakers - own),
        respond_as="character" if request.respond_as == "user" else request.respond_as,
        narrator_plays_people=narrator_plays_people,
        trigger_similarity=trigger_similarity,
        vector=vector,
    )
    return decide(turn, exemplars)


def story_progress(request: ChatRequest, upcoming: Upcoming, *, asked: bool) -> StoryProgress:
    """Whether the message brings the next event about.

    `meta.story` of the last response, sent back as `meta.story`, lets an event that was nearly
    reached last turn be reached now, and keeps two from following each other at once.

    Args:
        upcoming: the event that is waited for.
        asked: the user asks for what comes next.
    """
    try:
        last = StoryProgress.model_validate(request.meta.get("story"))
    except ValidationError:  # not what a worker gave out
        last = None
    return advance(upcoming, request.story_position or 0, request.message, last=last, asked=asked)


async def node(
    state: State, runtime: Runtime[Context], *, exemplars: LazyExemplars, models: Models
) -> dict[str, object]:
    """Reads `request`, `script`, `query`, `lore` and `story`; writes `route` and `progress`.

    An event that is reached is the narrator's to tell, unless the caller chose otherwise. Where the
    evidence is unsure, the model may be asked.
    """
    request = request_of(state)
    if request.respond_as == "user":
        return {"route": Route(responded_as="user", confidence=1, reason=AS_USER), "progress": None}
    context = context_of(request, runtime.context)
    upcoming = state["story"].upcoming
    known = await exemplars(state["script"])

    def settle() -> tuple[Decision, StoryProgress | None]:
        decision = route_turn(
            request,
            vector=state["query"].message,
            exemplars=known,
            trigger_similarity=upcoming.similarity.trigger if upcoming else None,
            narrator_plays_people=context.narrator_plays_people,
        )
        if upcoming is None:
            return decision, None
        progress = story_progress(request, upcoming, asked=_asks_on(request, decision))
        if progress.event and request.respond_as == "auto":
            why = f"the story reaches {progress.event}"
            decision = decision.overruled("narrator", why, confidence=1.0)
        return decision, progress

    decision, progress = await done(settle, aside=request.is_large)
    model = models.choose(request.model.name)
    opinion = None
    # What the request, a directive or the story decides is certain: its confidence is 1.
    unsure = model.second_opinion if context.second_opinion is None else context.second_opinion
    if decision.confidence < unsure:
        runtime.stream_writer({"type": "status", "step": "second_opinion"})
        opinion = await second_opinion(request, state.get("lore") or Lore(), model, context)
        decision = with_opinion(decision, opinion)
    return {"route": _route(decision, opinion), "progress": progress}


def with_opinion(decision: Decision, opinion: SecondOpinion) -> Decision:
    """The decision after the model was asked; its confidence stays what the evidence gives."""
    if opinion.decided is None:
        return decision
    why = f"the model was asked and said {opinion.said!r}; by the evidence {decision.reason}"
    chance = decision.probability(opinion.decided)
    return decision.overruled(opinion.decided, why, confidence=chance)


def _asks_on(request: ChatRequest, decision: Decision) -> bool:
    """Whether the user asks for what comes next."""
    if (directive := decision.directive) and directive.speaker == "narrator":
        return directive.moves
    return is_continue(request.message.strip().lstrip("/"))


def _route(decision: Decision, opinion: SecondOpinion | None) -> Route:
    return Route(
        responded_as=decision.speaker,
        confidence=decision.confidence,
        reason=decision.reason,
        evidence=[
            Evidence(
                name=found.name,
                value=round(found.value, 3),
                weight=found.weight,
                contribution=round(found.contribution, 3),
                about=found.about,
            )
            for found in decision.evidence
        ],
        next_speaker=decision.next_speaker,
        note=decision.directive.note if decision.directive else "",
        shows=decision.directive is not None and decision.directive.shows,
        second_opinion=opinion,
    )
