"""Composes the application from Settings: the only place where everything meets."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Response, get
from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import Message, Receive, Scope, Send

from milepost import docs_page, problems
from milepost.access.service import Authenticator
from milepost.access.tokens import Verifier
from milepost.catalogs import api as catalogs_api
from milepost.checklists import api as checklists_api
from milepost.checklists import rehearsal_api
from milepost.checklists.flags import TrackFlag
from milepost.checklists.gains import bring_steps
from milepost.checklists.sources import FAILED_HEADER
from milepost.directory import api as directory_api
from milepost.domain.contract import Track
from milepost.domain.tracks import Strategy, by_memberships, experiment, fixed
from milepost.edge import AnyRequest, new_id
from milepost.logs import configure
from milepost.openapi import Operation
from milepost.problems import INTERNAL, INVALID_PARAMETER, METHOD_NOT_ALLOWED, NO_SUCH_PATH, UNAVAILABLE, Kind, Problem
from milepost.properties import api as properties_api
from milepost.properties.attributes import attributes_rule
from milepost.properties.service import Properties
from milepost.settings import Settings, load
from milepost.signals import api as signals_api
from milepost.signals.sources import Sources
from milepost.store import versions
from milepost.store.database import Database

log = structlog.get_logger("milepost")

Headers = Iterable[tuple[bytes, bytes]]

REQUEST_ID_LIMIT = 128
HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}


def create(settings: Settings | None = None) -> "Envelope":
    """The ASGI application; without settings they are read from the environment.

    Raises:
        SettingsError: a setting cannot be used.
    """
    settings = settings or load().settings
    configure(settings)
    verifier = Verifier.from_settings(settings)
    fit_attributes = attributes_rule(settings.attributes_schema)
    track_flag = TrackFlag.from_settings(settings)
    signal_sources = Sources.from_settings(settings)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        database = versions.open_database(settings)
        app.state.update(
            settings=settings,
            database=database,
            authenticator=Authenticator(verifier, database),
            properties=Properties(database, fit_attributes),
            track_strategy=_track_strategy(settings),
            roles_gained=bring_steps,
            track_flag=track_flag,
            signal_sources=signal_sources,
        )
        async with _running(database, track_flag, signal_sources):
            yield

    app = Litestar(
        [
            properties_api.router,
            checklists_api.router,
            catalogs_api.router,
            rehearsal_api.router,
            signals_api.router,
            directory_api.router,
            docs_page.router,
            live,
            ready,
        ],
        lifespan=[lifespan],
        openapi_config=None,
        exception_handlers={
            Problem: answer_problem,
            HTTPException: answer_framework_error,
            Exception: answer_failure,
        },
        cors_config=_cors(settings),
        logging_config=None,
    )
    return Envelope(app)


@asynccontextmanager
async def _running(
    database: Database, track_flag: TrackFlag | None, signal_sources: Sources | None
) -> AsyncIterator[None]:
    """What the application works with, from its start to its end."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        if signal_sources is not None:
            stack.push_async_callback(signal_sources.close)
        if track_flag is not None:
            stack.push_async_callback(track_flag.close)
            await track_flag.start()
        yield


def _track_strategy(settings: Settings) -> Strategy:
    match settings.track:
        case "memberships" | "openfeature":
            # What a flag decides is known before; see checklists/flags.py.
            return by_memberships
        case "fixed":
            return fixed(Track(settings.track_fixed))
        case "experiment":
            return experiment(settings.track_share, settings.track_salt)


def _cors(settings: Settings) -> CORSConfig | None:
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "PUT", "PATCH", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "X-Request-Id"],
        expose_headers=["ETag", "Content-Language", "X-Request-Id", "Retry-After", FAILED_HEADER],
        max_age=600,
    )


@get("/health/live", opt=Operation(action=None, answers={200: HEALTH}).opt())
async def live() -> Response[bytes]:
    """The process runs."""
    return Response(b'{"status":"live"}', media_type="application/json")


@get("/health/ready", opt=Operation(action=None, answers={200: HEALTH}).opt())
async def ready(request: AnyRequest) -> Response[bytes]:
    """The database answers and has the schema this release works with."""
    try:
        await request.app.state.database.read(versions.check)
    except versions.WrongSchema as wrong:
        raise Problem(UNAVAILABLE, str(wrong), headers={"Retry-After": "10"}) from None
    return Response(b'{"status":"ready"}', media_type="application/json")


class Envelope:
    """Around every request: a request id, routing on the encoded path (an id may hold `/`), one line in the log."""

    def __init__(self, app: Litestar) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope["path"] = scope["raw_path"].decode("latin-1")
        scope["milepost.request_id"] = request_id  # type: ignore[typeddict-unknown-key]
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                if scope["method"] == "OPTIONS":
                    message["headers"] = self._naming_methods(scope, message["headers"])
                elif _is_localized(scope):
                    message["headers"] = _varying_by_language(message["headers"])
            await send(message)

        await self.app(scope, receive, answer)
        log.info(
            "request",
            method=scope["method"],
            # The template, not the path: a path names a person.
            route=scope.get("path_template"),
            status=status,
            ms=round((time.perf_counter() - started) * 1000, 2),
            request_id=request_id,
        )

    def _naming_methods(self, scope: Scope, headers: Headers) -> Headers:
        """The headers with the right `Allow`: the framework's own names the methods of one handler of the path."""
        template = scope.get("path_template")
        methods = {
            str(method) for route in self.app.routes if route.path_format == template for method in route.methods
        }
        if not methods:
            return headers
        others = [(name, value) for name, value in headers if name.lower() != b"allow"]
        return [*others, (b"allow", ", ".join(sorted(methods)).encode())]


def _is_localized(scope: Any) -> bool:
    operation: Operation | None = getattr(scope.get("route_handler"), "opt", {}).get("operation")
    return operation is not None and operation.localized


def _varying_by_language(headers: Headers) -> Headers:
    """The headers with `Accept-Language` in `Vary`.

    It is added outside of the framework, whose CORS puts `Origin` in the place of what a handler says.
    """
    others = [(name, value) for name, value in headers if name.lower() != b"vary"]
    named = [value for name, value in headers if name.lower() == b"vary"]
    return [*others, (b"vary", b", ".join([*named, b"Accept-Language"]))]


def _request_id(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if 0 < len(text) <= REQUEST_ID_LIMIT and text.isascii() and text.isprintable() and " " not in text:
                return text
    return new_id()


def answer_problem(request: AnyRequest, problem: Problem) -> Response[bytes]:
    request_id: str = request.scope["milepost.request_id"]  # type: ignore[typeddict-item]
    return Response(
        msgspec.json.encode(problems.document(problem, request_id)),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type=problems.MEDIA_TYPE,
    )


def answer_framework_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """What the router itself refuses, in the same form as every other problem."""
    kinds: dict[int, tuple[Kind, str]] = {
        404: (NO_SUCH_PATH, "There is nothing at this path; /docs lists every call."),
        405: (
            METHOD_NOT_ALLOWED,
            "This method is not supported here; the Allow header lists those that are.",
        ),
    }
    kind, detail = kinds.get(error.status_code, (INVALID_PARAMETER, "The request is not valid."))
    return answer_problem(request, Problem(kind, detail, headers=error.headers or {}))


def answer_failure(request: AnyRequest, error: Exception) -> Response[bytes]:
    log.error("request.failed", request_id=request.scope["milepost.request_id"], exc_info=error)  # type: ignore[typeddict-item]
    return answer_problem(request, Problem(INTERNAL, "The service failed; its log has more under this requestId."))
