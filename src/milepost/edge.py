"""The edge that every `api.py` shares: a request in, read strictly; an answer out."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from uuid_utils import uuid7

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

MOST_BYTES_OF_AN_ID = 800
"""Three ids make a key in PostgreSQL, whose index holds 2,704 bytes of it."""

MOST_DIGITS = 16
"""Of a number in a query; all that a JavaScript program holds exactly have no more."""

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


class Authenticates(Protocol):
    async def caller(self, authorization: str | None, now: datetime) -> Caller: ...


class Call(msgspec.Struct, frozen=True):
    """Who calls, when, and with which query parameters."""

    caller: Caller
    now: datetime
    query: dict[str, str]

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
        Problem: `unauthenticated`, `invalid_token`, `invalid_parameter`.
    """
    moment = now()
    authenticator: Authenticates = request.app.state.authenticator
    caller = await authenticator.caller(request.headers.get("authorization"), moment)
    return Call(caller, moment, _query(request.scope["query_string"], parameters))


def _query(query_string: bytes, parameters: tuple[str, ...]) -> dict[str, str]:
    if not query_string:
        return {}
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
    return preconditions.parse(request.headers.get("if-match"), request.headers.get("if-none-match"))


def accept_language(request: AnyRequest) -> str | None:
    """The languages that the request asks for; several header lines are one list (RFC 9110, section 5.3).

    A list that is longer than MOST_OF_ACCEPT_LANGUAGE is ignored, since weighing it would keep others waiting.
    """
    header = ", ".join(request.headers.getall("accept-language", []))
    return header if 0 < len(header) <= MOST_OF_ACCEPT_LANGUAGE else None


async def body(request: AnyRequest, *media_types: str) -> tuple[bytes, str]:
    """The request's body and its media type, one of those named (the first where the request names none).

    Raises:
        Problem: `unsupported_media_type`, `body_too_large`, `malformed_json` for a charset other than UTF-8.
    """
    media_type = _media_type(request, media_types)
    limit: int = request.app.state.settings.max_body
    too_large = Problem(BODY_TOO_LARGE, f"The body may have at most {limit:,} bytes.", headers={"Connection": "close"})
    if int(request.headers.get("content-length") or 0) > limit:
        raise too_large
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(MALFORMED_JSON, f"The body did not arrive within {BODY_TIMEOUT} seconds.") from None
    return b"".join(chunks), media_type


def _media_type(request: AnyRequest, media_types: tuple[str, ...]) -> str:
    header = request.headers.get("content-type")
    if not header:
        return media_types[0]
    media_type, _, parameters = header.partition(";")
    media_type = media_type.strip().lower()
    charset = parameters.strip().lower().replace('"', "")
    if media_type not in media_types or (charset.startswith("charset=") and charset != "charset=utf-8"):
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE,
            f"Send the body as {' or '.join(media_types)}, in UTF-8, and not as {header[:100]}.",
            headers={"Accept-Patch" if request.method == "PATCH" else "Accept": ", ".join(media_types)},
        )
    return media_type


def answer(content: object, status: int = 200, tag: str | None = None, language: str | None = None) -> Response[bytes]:
    """A JSON answer, with its ETag where it has one, and its language where that is known."""
    headers = {} if language is None else {"Content-Language": language}
    if tag is not None:
        headers["ETag"] = f'"{tag}"'
    return raw(_encode(content), status, headers)


def raw(content: bytes, status: int = 200, headers: Mapping[str, str] = {}) -> Response[bytes]:
    headers = {"Cache-Control": "private, no-cache", **headers}
    return Response(content, status_code=status, media_type=JSON, headers=headers)


def empty(status: int, tag: str | None = None) -> Response[None]:
    """An answer without a body: 204, or 304 with its ETag."""
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{tag}"'} if tag is not None else {}
    return Response(None, status_code=status, headers=headers)
