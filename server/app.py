"""The routes.

    POST /v1/chat/completions   OpenAI's routes, as the dispatcher answers them
    POST /v1/completions
    GET  /v1/models, /v1/models/{name}
    POST /chat                  a ChatRequest; with `"stream": true` or `Accept: text/event-stream`
                                the turn's events, the last of them `final` or `error`
    POST /forget                {"user_id", "session_id"}: deletes the memory of a chat
    GET  /schema                JSON Schemas of request and response
    GET  /health                what a monitor wants to know; without a key, whether it lives
    GET  /metrics               Prometheus
    GET  /ping                  200 ready, 204 warming up, 503 ending: Runpod's load balancer asks

Headers: `X-Iyagi-Session` (or `X-OpenWebUI-Chat-Id`) and `X-OpenWebUI-User-Id` are the ids of the
chat where the body has none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from openai_api.read import streams
from schemas.errors import BadRequest, IyagiError
from server.account import Account
from server.answer import EVENTS, OPENAI, Answer, Format
from server.body import read_object, with_ids
from server.entrance import Entrance, Rate
from server.errors import HttpError, error_response
from server.guard import LOOPBACK, Guard
from server.life import Life
from server.metrics import CONTENT_TYPE, Metrics
from worker.dispatch import Dispatcher
from worker.output import Output

LOCAL_USER = "local"
"""The user of a server that only this machine reaches, without keys."""

_EXPOSED = ("X-Request-Id", "X-Runpod-Worker-Id", "Retry-After")
"""What pages from elsewhere may read of a response: the second names the worker of a chat."""


@dataclass(frozen=True)
class Terms:
    """On which terms a server answers.

    Args:
        keys: one of which a request must bring, each with its owner (empty: a program, which names
            its users itself); none: all come in.
        rate: of the POSTs of each key or address, such as `60/minute`.
        origins: pages from elsewhere that may use the server; `*` is all.
        guarded: `Host` and `Origin` are checked, by these names and the next; where there are no
            keys, `Origin` is in any case.
        hosts: names that a guarded server may be called by.
        in_network: a guarded server may also be called by an address of numbers.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    rate: str | None = None
    origins: Sequence[str] = ()
    guarded: bool = True
    hosts: Collection[str] = LOOPBACK
    in_network: bool = False

    @property
    def local_user(self) -> str | None:
        """The id of a user whom nobody names."""
        return LOCAL_USER if self.guarded and not self.in_network and not self.keys else None


@dataclass
class Parts:
    """What the routes work with."""

    dispatcher: Dispatcher
    terms: Terms
    life: Life = field(default_factory=Life)

    def answer(
        self, request: Request, door: str, job: dict[str, Any], format: Format | None
    ) -> Answer:
        """The response to a turn, which counts as one of this door."""
        request.scope.setdefault("state", {})["door"] = door
        return Answer(self.life, self.dispatcher.answer({"input": job}), format)

    async def only(self, job: dict[str, Any]) -> Output:
        """The one output of a job."""
        async with aclosing(self.dispatcher.answer({"input": job})) as outputs:
            return await anext(outputs)


def make_app(
    dispatcher: Dispatcher,
    terms: Terms | None = None,
    *,
    life: Life | None = None,
    begin: Callable[[], None] = lambda: None,
    page: Callable[[FastAPI, Parts], None] | None = None,
    guard: type[Guard] = Guard,
) -> FastAPI:
    """The application.

    Args:
        dispatcher: answers the turns.
        life: of the server.
        begin: called in the running loop when the server starts.
        page: adds the routes of a page for browsers.
        guard: of the page.
    """
    parts = Parts(dispatcher, terms or Terms(), life or Life())
    metrics = Metrics(dispatcher)
    dispatcher.observe = metrics.observe

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        begin()
        yield
        await parts.life.close()
        await dispatcher.pipeline.drain()

    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=living,
        middleware=_middleware(parts, metrics, guard, has_page=page is not None),
    )
    for kind in (IyagiError, Exception):
        app.add_exception_handler(kind, lambda request, error: error_response(error, request.scope))
    _turn_routes(app, parts)
    _other_routes(app, parts, metrics)
    app.add_exception_handler(HTTPException, _no_route(_endpoints(app)))
    if page:
        page(app, parts)
    return app


def _middleware(
    parts: Parts, metrics: Metrics, guard: type[Guard], *, has_page: bool
) -> list[Middleware]:
    """Outermost first."""
    terms = parts.terms
    chain = [Middleware(Account, metrics=metrics)]
    if terms.guarded or not terms.keys:
        hosts = terms.hosts if terms.guarded else None
        chain.append(
            Middleware(guard, hosts=hosts, in_network=terms.in_network, origins=terms.origins)
        )
    if terms.origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(terms.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            allow_credentials=False,  # keys are sent by hand: no origin gets in by a cookie
            expose_headers=_EXPOSED,
            max_age=3600,
        )
        chain.append(cors)
    rate = Rate(terms.rate) if terms.rate else None
    entrance = Middleware(Entrance, life=parts.life, keys=terms.keys, rate=rate, has_page=has_page)
    return [*chain, entrance]


def _turn_routes(app: FastAPI, parts: Parts) -> None:
    def completion(request: Request, route: str, body: dict[str, Any]) -> Response:
        job = {"openai_route": route, "openai_input": body}
        return parts.answer(request, route, job, OPENAI if streams(body) else None)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        body = with_ids(await read_object(request), request, parts.terms.local_user)
        return completion(request, "/v1/chat/completions", body)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return completion(request, "/v1/completions", await read_object(request))

    @app.post("/chat")
    async def chat(request: Request) -> Response:
        job = native(with_ids(await read_object(request), request, parts.terms.local_user))
        if "text/event-stream" in request.headers.get("accept", ""):
            job.setdefault("stream", True)
        return parts.answer(request, "/chat", job, EVENTS if job.get("stream") is True else None)


def native(body: dict[str, Any]) -> dict[str, Any]:
    """The job of a ChatRequest.

    Raises:
        BadRequest: it would be another job.
    """
    for name in ("route", "openai_route", "openai_input"):
        if name in body:
            raise BadRequest("unknown field; ask the route itself", field=name)
    return body


def _other_routes(app: FastAPI, parts: Parts, metrics: Metrics) -> None:
    @app.get("/v1/models")
    async def models() -> JSONResponse:
        return JSONResponse(await parts.only({"openai_route": "/v1/models"}))

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> JSONResponse:
        return JSONResponse(
            await parts.only({"openai_route": f"/v1/models/{quote(name, safe='')}"})
        )

    @app.post("/forget")
    async def forget(request: Request) -> JSONResponse:
        body = with_ids(await read_object(request), request, parts.terms.local_user)
        return JSONResponse(await parts.only({"route": "/forget", "body": body}))

    @app.get("/schema")
    async def schema() -> JSONResponse:
        return JSONResponse(await parts.only({"route": "/schema"}))

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health(request: Request) -> JSONResponse:
        lives = {"status": "ok", "state": parts.life.state}
        if not request.scope["state"]["may_see"]:
            return JSONResponse(lives)
        return JSONResponse({**parts.dispatcher.health(), **lives})

    @app.get("/metrics")
    def metrics_text() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.api_route("/ping", methods=["GET", "HEAD"])
    async def ping() -> Response:
        return Response(status_code={"ready": 200, "warming_up": 204}.get(parts.life.state, 503))


def _endpoints(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route, for programs."""
    return [
        (method, path.replace(":path", ""))
        for route in app.routes
        if (path := getattr(route, "path", ""))
        for method in sorted(set(getattr(route, "methods", ())) - {"HEAD"})
    ]


def _no_route(endpoints: list[tuple[str, str]]) -> Callable[[Request, Any], Response]:
    """Answers for paths and methods that are not there, in the shape of all failures."""
    all_of_them = ", ".join(f"{method} {path}" for method, path in endpoints)

    def answer(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            told = f"this path does not take {request.method}; there are: {all_of_them}"
            failed = HttpError("method_not_allowed", told, headers=error.headers)
        else:
            failed = HttpError("not_found", f"no such path; there are: {all_of_them}")
        return error_response(failed, request.scope)

    return answer
