"""Node `route`: the narrator or the character answers."""

from __future__ import annotations

import re

from langgraph.runtime import Runtime

from schemas.request import ChatRequest
from schemas.state import Context, Route, State, request_of

ACTION = re.compile(r"\*[^*]+\*|\([^()]+\)|（[^（）]+）")
SCENE_CHANGE = re.compile(
    r"(?:the )?(?:next (?:morning|day|evening)|later that (?:day|night|evening)|meanwhile|"
    r"(?:an hour|hours|days|a week|weeks) later)(?!\w)"
    r"|(?:다음 ?날|이튿날|며칠 (?:뒤|후)|잠시 (?:뒤|후)|그날 (?:밤|저녁|아침)|한편)"
    r"|시간이 (?:흘러|지나)",
    re.IGNORECASE,
)


def route_turn(request: ChatRequest) -> Route:
    """Who answers: the caller's choice, else the narrator for pure action and scene changes."""
    message = request.message.strip()
    if request.respond_as != "auto":
        return Route(responded_as=request.respond_as, confidence=1, reason="asked by respond_as")
    if message == "/continue":
        return Route(responded_as="narrator", confidence=1, reason="asked by /continue")
    if not ACTION.sub("", message).strip(" .!?…~\n"):
        return Route(responded_as="narrator", confidence=0.8, reason="an action without speech")
    if SCENE_CHANGE.match(ACTION.sub("", message).strip()):
        return Route(responded_as="narrator", confidence=0.8, reason="the scene changes")
    return Route(responded_as="character", confidence=0.8, reason="the user speaks")


async def node(state: State, runtime: Runtime[Context]) -> dict[str, object]:
    """Reads `request`; writes `route`."""
    return {"route": route_turn(request_of(state))}
