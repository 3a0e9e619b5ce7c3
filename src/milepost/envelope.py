"""Around every request: its id, the way to its handler, problems as answers, and one line in the log."""

import time
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import Message, Receive, Scope, Send

from milepost import problems
from milepost.edge import AnyRequest, Reply, encoded, new_id
from milepost.openapi import Operation
from milepost.problems import INTERNAL, INVALID_PARAMETER, METHOD_NOT_ALLOWED, NO_SUCH_PATH, Kind, Problem
from milepost.shortcuts import Shortcut, Shortcuts

log = structlog.get_logger("milepost")

Headers = Iterable[tuple[bytes, bytes]]

REQUEST_ID_LIMIT = 128


class Envelope:
    """Around every request: a request id, routing on the encoded path (an id may hold `/`), one line in the log."""

    def __init__(self, app: Litestar) -> None:
        self.app = app
        # What a page of another origin may do is the framework's to say.
        self.shortcuts = Shortcuts(app) if app.cors_config is None else None

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

        shortcut = self.shortcuts and self.shortcuts.find(scope["method"], scope["path"])
        if shortcut:
            await self._by_shortcut(*shortcut, scope, receive, answer)
        else:
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

    async def _by_shortcut(
        self, shortcut: Shortcut, arguments: dict[str, str], scope: Any, receive: Receive, send: Send
    ) -> None:
        scope["app"] = scope["litestar_app"] = self.app
        scope["route_handler"], scope["path_template"] = shortcut.handler, shortcut.template
        request: AnyRequest = Request(scope, receive, send)
        try:
            reply: Reply = await shortcut.handler.fn(request, **arguments)
        except Problem as problem:
            reply = problem_reply(request, problem)
        except Exception as error:  # noqa: BLE001 - as the framework does: every failure is logged and answered
            reply = problem_reply(request, failure(request, error))
        await reply(scope, receive, send)

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


def problem_reply(request: AnyRequest, problem: Problem) -> Reply:
    """A problem as an answer (RFC 9457)."""
    request_id: str = request.scope["milepost.request_id"]  # type: ignore[typeddict-item]
    body = msgspec.json.encode(problems.document(problem, request_id))
    headers = {"Content-Type": problems.MEDIA_TYPE, "Content-Length": str(len(body)), **problem.headers}
    return Reply(problem.kind.status, encoded(headers), body)


def failure(request: AnyRequest, error: Exception) -> Problem:
    """What is told of a fault of the service itself: nothing but where its log has more."""
    log.error("request.failed", request_id=request.scope["milepost.request_id"], exc_info=error)  # type: ignore[typeddict-item]
    return Problem(INTERNAL, "The service failed; its log has more under this requestId.")


def answer_problem(request: AnyRequest, problem: Problem) -> Response[bytes]:
    """A problem, as the framework wants its answers."""
    reply = problem_reply(request, problem)
    return Response(reply.body, status_code=reply.status, headers=problem.headers, media_type=problems.MEDIA_TYPE)


def answer_failure(request: AnyRequest, error: Exception) -> Response[bytes]:
    return answer_problem(request, failure(request, error))


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
