"""The edge that every `api.py` shares: a request in, read strictly; an answer out."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.types import Receive, Scope, Send
from uuid_utils import uuid7

from milepost.access.browsers import require_own_page, session_secret
from milepost.access.policy import Caller
from milepost.domain import preconditions
from milepost.domain.contract import Identifier
from milepost.domain.preconditions import Preconditions
from milepost.problems import (
    BODY_TOO_LARGE,
    INVALID_PARAMETER,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
    Problem,
)

BASE_PATH = "/api/usermanagement/v1"
JSON = "application/json"
BODY_TIMEOUT = 30
"""Seconds a client may take to send its body."""

MOST_CHARACTERS_OF_AN_ID = 255
MOST_BYTES_OF_AN_ID = 800
"""Three ids make a key in PostgreSQL, whose index holds 2,704 bytes of it."""

MOST_DIGITS = 16
"""Of a number in a query; all that a JavaScript program holds exactly have no more."""

MOST_BYTES_OF_A_KNOWN_QUERY = 200

MOST_OF_ACCEPT_LANGUAGE = 1_000
"""Characters of an Accept-Language that is looked at."""

AnyRequest = Request[Any, Any, State]
_encode = msgspec.json.Encoder().encode


def now() -> datetime:
    """The clock; services take the time as an argument."""
    return datetime.now(UTC)


def new_id() -> str:
    """A fresh uuid v7; services take ids as arguments."""
    return str(uuid7())


def header(request: AnyRequest, name: bytes) -> str | None:
    """A header by its name in lower case; of several lines, the first."""
    scope: Any = request.scope
    known: dict[bytes, bytes] | None = scope.get("milepost.headers")
    if known is None:
        known = scope["milepost.headers"] = dict(reversed(scope["headers"]))
    value = known.get(name)
    return None if value is None else value.decode("latin-1")


class Authenticates(Protocol):
    async def caller(self, authorization: str | None, now: datetime) -> Caller: ...
    async def session(self, secret: str, now: datetime) -> Caller: ...


class Call(msgspec.Struct, frozen=True):
    """Who calls, when, and with which query parameters."""

    caller: Caller
    now: datetime
    query: Mapping[str, str]

    def org_id(self) -> str | None:
        """The organization asked for with `?orgId=`, None where the parameter is absent."""
        value = self.query.get("orgId")
        return None if value is None else identifier("orgId", value)

    def required_org_id(self) -> str:
        value = self.org_id()
        if value is None:
            refuse_parameter("orgId", "is required: add ?orgId= with the organization whose roles count")
        return value


async def receive(request: AnyRequest, *parameters: str) -> Call:
    """Find out who calls, and read the query strictly: only these parameters, each at most once.

    Raises:
        Problem: `unauthenticated`, `invalid_token`, `invalid_parameter`; `cross_origin`, `not_an_admin` with a cookie.
    """
    moment = now()
    authenticator: Authenticates = request.app.state.authenticator
    authorization = header(request, b"authorization")
    secret = console_secret(request) if authorization is None else None
    if secret is None:
        caller = await authenticator.caller(authorization, moment)
    else:
        from_own_page(request)
        caller = await authenticator.session(secret, moment)
    return Call(caller, moment, read_query(request, *parameters))


def read_query(request: AnyRequest, *parameters: str) -> Mapping[str, str]:
    """The query, read strictly: only these parameters, each at most once.

    Raises:
        Problem: `invalid_parameter`.
    """
    return _query(request.scope["query_string"], parameters)


def console_secret(request: AnyRequest) -> str | None:
    """The secret in the console's cookie; None where there is no cookie."""
    if header(request, b"cookie") is None:
        return None
    return session_secret(value.decode("latin-1") for name, value in request.scope["headers"] if name == b"cookie")


def from_own_page(request: AnyRequest) -> None:
    """See that one of the console's own pages made the request.

    Raises:
        Problem: `cross_origin` (403).
    """
    require_own_page(request.method, partial(header, request), request.app.state.settings.origin)


def _query(query_string: bytes, parameters: tuple[str, ...]) -> Mapping[str, str]:
    if not query_string:
        return {}
    # Most calls say no more than which organization they are about, and there are few of those.
    read = _read_query if len(query_string) > MOST_BYTES_OF_A_KNOWN_QUERY else _known_query
    return read(query_string, parameters)


def _read_query(query_string: bytes, parameters: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise Problem(INVALID_PARAMETER, "The query string is not valid: percent-encode it as UTF-8.") from None
    for name, value in pairs:
        if name not in parameters:
            known = f"; known here: {', '.join(parameters)}" if parameters else ""
            refuse_parameter(name[:100], f"is not a parameter of this call{known}")
        if name in values:
            refuse_parameter(name, "is given more than once")
        values[name] = value
    return values


_known_query = lru_cache(1024)(_read_query)


def refuse_parameter(name: str, reason: str) -> NoReturn:
    raise Problem(INVALID_PARAMETER, f"{name} {reason}.", [Fault(reason, parameter=name)])


def whole_number(call: Call, name: str, default: Any, most: int) -> Any:
    """A number from 1 to `most` from the query; `default` where it is absent.

    Raises:
        Problem: `invalid_parameter` where it is anything else.
    """
    value = call.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS and 1 <= int(value) <= most):
        refuse_parameter(name, f"must be a whole number from 1 to {most}")
    return int(value)


def identifier(name: str, value: str) -> str:
    """An id from a path or query.

    Raises:
        Problem: `invalid_parameter` unless it has 1 to 255 characters, no control characters, and not over 800 bytes.
    """
    if value.isascii() and value.isprintable() and 0 < len(value) <= MOST_CHARACTERS_OF_AN_ID:
        return value
    try:
        given = msgspec.convert(value, Identifier)
    except msgspec.ValidationError:
        refuse_parameter(name, "must have 1 to 255 characters and no control characters")
    if len(given.encode()) > MOST_BYTES_OF_AN_ID:
        refuse_parameter(name, f"must have at most {MOST_BYTES_OF_AN_ID} bytes in UTF-8")
    return given


def from_path(name: str, segment: str) -> str:
    """An id from a path segment. Routing is done on the encoded path, so an id may hold any character, `/` too."""
    try:
        return identifier(name, unquote_to_bytes(segment).decode())
    except UnicodeDecodeError:
        refuse_parameter(name, "must be percent-encoded UTF-8")


def conditions(request: AnyRequest) -> Preconditions:
    """The preconditions that the request's headers put."""
    return preconditions.parse(header(request, b"if-match"), header(request, b"if-none-match"))


def accept_language(request: AnyRequest) -> str | None:
    """The languages that the request asks for; several header lines are one list (RFC 9110, section 5.3).

    A list that is longer than MOST_OF_ACCEPT_LANGUAGE is ignored, since weighing it would keep others waiting.
    """
    if header(request, b"accept-language") is None:
        return None
    asked = ", ".join(request.headers.getall("accept-language", []))
    return asked if 0 < len(asked) <= MOST_OF_ACCEPT_LANGUAGE else None


async def body(request: AnyRequest, *media_types: str) -> tuple[bytes, str]:
    """The request's body and its media type, one of those named (the first where the request names none).

    Raises:
        Problem: `unsupported_media_type`, `body_too_large`, `malformed_json` for a charset other than UTF-8.
    """
    media_type = _media_type(request, media_types)
    limit: int = request.app.state.settings.max_body
    too_large = Problem(BODY_TOO_LARGE, f"The body may have at most {limit:,} bytes.", headers={"Connection": "close"})
    if int(header(request, b"content-length") or 0) > limit:
        raise too_large
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await _received(request, limit, too_large), media_type
    except TimeoutError:
        raise Problem(MALFORMED_JSON, f"The body did not arrive within {BODY_TIMEOUT} seconds.") from None


async def _received(request: AnyRequest, limit: int, too_large: Problem) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise Problem(MALFORMED_JSON, "The body did not arrive as a whole: the client went away.")
        chunks.append(message["body"])
        size += len(chunks[-1])
        if size > limit:
            raise too_large
        if not message["more_body"]:
            return b"".join(chunks)


def _media_type(request: AnyRequest, media_types: tuple[str, ...]) -> str:
    sent = header(request, b"content-type")
    if not sent:
        return media_types[0]
    media_type, _, parameters = sent.partition(";")
    media_type = media_type.strip().lower()
    charset = parameters.strip().lower().replace('"', "")
    if media_type not in media_types or (charset.startswith("charset=") and charset != "charset=utf-8"):
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE,
            f"Send the body as {' or '.join(media_types)}, in UTF-8, and not as {sent[:100]}.",
            headers={"Accept-Patch" if request.method == "PATCH" else "Accept": ", ".join(media_types)},
        )
    return media_type


class Reply:
    """An answer that is sent as it stands: the framework rebuilds nothing of it."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def page_headers(*policy: str) -> dict[str, str]:
    """The headers that every page has: its content security policy, closed against other sites, and no referrer."""
    closed = ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
    return {
        "Content-Security-Policy": "; ".join((*policy, *closed)),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


JSON_TYPE = (b"content-type", JSON.encode())
FRESH = (b"cache-control", b"private, no-cache")


def answer(content: object, status: int = 200, tag: str | None = None, language: str | None = None) -> Reply:
    """A JSON answer, with its ETag where it has one, and its language where that is known."""
    headers = {} if language is None else {"Content-Language": language}
    if tag is not None:
        headers["ETag"] = f'"{tag}"'
    return raw(_encode(content), status, headers)


def raw(content: bytes, status: int = 200, headers: Mapping[str, str] = {}) -> Reply:
    """An answer whose JSON is text already."""
    length = (b"content-length", b"%d" % len(content))
    return Reply(status, [JSON_TYPE, length, FRESH, *encoded(headers)], content)


def empty(status: int, tag: str | None = None) -> Reply:
    """An answer without a body: 204, or 304 with its ETag."""
    return Reply(status, [] if tag is None else [FRESH, (b"etag", b'"%b"' % tag.encode())])


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as they are sent."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
