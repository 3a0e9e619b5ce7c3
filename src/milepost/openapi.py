"""The OpenAPI 3.1 document, from what each route says of itself and from the contract's types."""

import re
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from operator import itemgetter
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from milepost import __version__
from milepost.access.policy import Action
from milepost.domain.contract import Identifier
from milepost.problems import (
    BODY_TOO_LARGE,
    FORBIDDEN,
    INVALID_BODY,
    INVALID_PARAMETER,
    INVALID_TOKEN,
    MALFORMED_JSON,
    MEDIA_TYPE,
    PRECONDITION_FAILED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Kind,
    ProblemDocument,
)

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
Schema = dict[str, Any]


class Parameter(msgspec.Struct, frozen=True):
    """A query parameter or header that a route reads."""

    name: str
    about: str
    place: str = "query"
    required: bool = False
    schema: Schema = msgspec.field(default_factory=lambda: {"type": "string"})


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What a route says of itself, kept in its `opt`.

    `action` is its entry in the policy, None where anyone may call; `events` the journal events a changing route can
    write; `bodies` the schema of each media type it takes, `examples` a body of each; `answers` the schema of its good
    answers by status (None: no body); `headers` what else a good answer may carry; `problems` what it can refuse
    beyond what every route refuses; `answered_as` the media type of a good answer's body, `answer_example` one that is
    no JSON; `only_asks` is for a POST that changes nothing, and has a body because its question
    is long; `frequent` is what the pages of all users ask for, and takes the short way (`shortcuts.py`). One that is
    `localized` answers in the language that Accept-Language asks for, and says so in Vary.
    """

    action: Action | None
    answers: dict[int, Any]
    answered_as: str = JSON
    answer_example: str | None = None
    bodies: dict[str, Any] = {}
    needs_body: bool = True
    examples: dict[str, object] = {}
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[Kind, ...] = ()
    events: tuple[str, ...] = ()
    tagged: bool = False
    only_asks: bool = False
    localized: bool = False
    headers: dict[str, str] = {}
    frequent: bool = False

    def opt(self) -> dict[str, Any]:
        """The `opt` of the route's decorator."""
        return {"operation": self}


IDENTIFIER: Schema = msgspec.json.schema(Identifier)
ORG_ID = Parameter("orgId", "the organization; without it the home record is meant", schema=IDENTIFIER)
REQUIRED_ORG_ID = Parameter("orgId", "the organization whose roles count", required=True, schema=IDENTIFIER)
ENTITY_TAGS: Schema = {
    "type": "string",
    "description": "entity tags as ETag headers gave them, with commas between, or `*`",
    "pattern": r'^(\*|(W/)?"[!#-~]*"( ?, ?(W/)?"[!#-~]*")*)$',
    "examples": ['"63b1f0a2c4d80.9e107d9d372bb682"'],
}
IF_MATCH = Parameter(
    "If-Match", "write only if the record still has this ETag (or `*`: if there is one)", "header", schema=ENTITY_TAGS
)
IF_NONE_MATCH_WRITE = Parameter(
    "If-None-Match", "`*`: write only if there is no record yet", "header", schema=ENTITY_TAGS
)
IF_NONE_MATCH_READ = Parameter(
    "If-None-Match", "answer 304 if the record still has this ETag", "header", schema=ENTITY_TAGS
)
ACCEPT_LANGUAGE = Parameter(
    "Accept-Language",
    "the languages for the steps' texts; what is malformed is ignored",
    "header",
    schema={"type": "string", "examples": ["sv-SE, sv;q=0.9, en;q=0.5"]},
)
LIMIT = Parameter(
    "limit",
    "how many entries at most",
    schema={"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
)
CURSOR = Parameter(
    "cursor", "the `nextCursor` of the answer before", schema={"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
)


def page_of(item: type) -> Schema:
    """The schema of one page of a list."""
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": _reference(item)},
            "nextCursor": {"type": "string", "description": "absent on the last page"},
        },
        "additionalProperties": False,
    }


def _reference(type_: type) -> Schema:
    return {"$ref": f"#/components/schemas/{type_.__name__}"}


def document(app: Litestar, base_url: str = "/") -> Schema:
    """The whole document."""
    operations = sorted(_operations(app), key=itemgetter(0, 1))
    _, components = msgspec.json.schema_components(
        [ProblemDocument, *_types(operation for *_, operation in operations)],
        ref_template="#/components/schemas/{name}",
    )
    paths: dict[str, Schema] = {}
    for path, method, handler, operation in operations:
        paths.setdefault(path, {})[method] = _described(path, handler, operation)
    _link(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Milepost",
            "version": __version__,
            "summary": "User properties and the guided checklist",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "tags": [{"name": name, "description": about} for _, name, about in TAGS],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a user's JWT (`sub` is the external user id) or a service key",
                }
            },
        },
    }


def _operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler, Operation]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            operation = handler.opt.get("operation") if isinstance(handler, HTTPRouteHandler) else None
            if operation is None:
                continue
            path = re.sub(r"\{(\w+):str\}", lambda match: "{" + _camel(match[1]) + "}", route.path)
            for method in sorted(handler.http_methods):
                yield path, method.lower(), handler, operation


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _types(operations: Iterable[Operation]) -> Iterator[type]:
    seen: set[type] = set()
    for operation in operations:
        for schema in (*operation.answers.values(), *operation.bodies.values()):
            if isinstance(schema, type) and schema not in seen:
                seen.add(schema)
                yield schema


def _described(path: str, handler: HTTPRouteHandler, operation: Operation) -> Schema:
    text = cleandoc(handler.fn.__doc__ or "")
    described: Schema = {
        "operationId": _camel(handler.fn.__name__),
        "summary": text.partition("\n")[0].rstrip("."),
        "description": text,
        "tags": [_tag(path)],
        "parameters": [
            *map(_path_parameter, re.findall(r"\{(\w+)\}", path)),
            *map(_parameter, operation.parameters),
            *([_parameter(ACCEPT_LANGUAGE)] if operation.localized else []),
        ],
        "responses": _responses(operation),
    }
    if operation.action is None:
        described["security"] = []
    if operation.bodies:
        content: Schema = {media_type: {"schema": _schema(schema)} for media_type, schema in operation.bodies.items()}
        for media_type, example in operation.examples.items():
            content[media_type]["example"] = example
        described["requestBody"] = {"required": operation.needs_body, "content": content}
    return described


TAGS = (
    ("/guided-checklist/", "Guided checklist", "made by the server, kept up to date, moved step by step, explained"),
    ("/catalog", "Catalogs", "the steps that checklists are made from, in versions that never change"),
    ("/signals", "Signals", "what happened, reported by the application as CloudEvents"),
    ("/users/", "User properties", "the record of one user, with the guided checklist"),
    ("/funnel", "Funnel", "how many started and completed checklists, did each step, and where people stop"),
    ("/organizations", "Directory", "organizations, their enterprises and roles, and who holds which"),
    ("/console/", "Console", "who is signed in to the console, by a cookie"),
    ("/health/", "Health", "whether the service runs, and whether it can answer"),
)


def _tag(path: str) -> str:
    return next(name for part, name, _ in TAGS if part in path)


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": IDENTIFIER}


def _parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": parameter.schema,
    }


def _schema(schema: Any) -> Schema:
    return _reference(schema) if isinstance(schema, type) else schema


REQUEST_ID = {"X-Request-Id": {"description": "names the request in the log", "schema": {"type": "string"}}}
ETAG = {"ETag": {"description": "names this state of the record", "schema": {"type": "string"}}}
VARY = {"Vary": {"description": "has `Accept-Language` in it", "schema": {"type": "string"}}}
CONTENT_LANGUAGE = {
    "Content-Language": {
        "description": "the language of the steps' texts; absent where the checklist is not the server's",
        "schema": {"type": "string"},
    }
}


def _responses(operation: Operation) -> Schema:
    responses: dict[str, Schema] = {}
    for status, schema in operation.answers.items():
        headers = REQUEST_ID | (ETAG if operation.tagged and status != 204 else {})  # noqa: PLR2004
        if operation.localized:
            headers |= VARY | (CONTENT_LANGUAGE if schema is not None else {})
        for name, about in operation.headers.items():
            headers |= {name: {"description": about, "schema": {"type": "string"}}}
        responses[str(status)] = {"description": ANSWERS[status], "headers": headers}
        if schema is not None:
            content: Schema = {"schema": _schema(schema)}
            if operation.answer_example is not None:
                content["example"] = operation.answer_example
            responses[str(status)]["content"] = {operation.answered_as: content}
    refused: dict[int, list[Kind]] = {}
    for kind in dict.fromkeys((*_usual_problems(operation), *operation.problems)):
        refused.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(refused.items()):
        responses[str(status)] = _refusal(kinds)
    return responses


ANSWERS = {
    200: "The state as it now is",
    201: "Created",
    204: "Done; there is nothing to say",
    303: "Go to the page that Location names",
    304: "Not changed since",
}


def _usual_problems(operation: Operation) -> Iterator[Kind]:
    if operation.action is not None:
        yield from (INVALID_PARAMETER, UNAUTHENTICATED, INVALID_TOKEN, FORBIDDEN)
    if operation.bodies:
        yield from (MALFORMED_JSON, INVALID_BODY, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
    if any(parameter.name.startswith("If-") for parameter in operation.parameters) and operation.events:
        yield PRECONDITION_FAILED
    yield UNAVAILABLE


def _refusal(kinds: list[Kind]) -> Schema:
    """All problems of one status, with an example of each."""
    examples = {
        kind.name: {
            "summary": kind.title,
            "value": {
                "type": f"urn:milepost:problem:{kind.name}",
                "title": kind.title,
                "status": kind.status,
                "detail": f"{kind.title}.",
                "name": kind.name,
                "requestId": "0192f0c1-6f0e-7c3a-b1de-0242ac120002",
            },
        }
        for kind in kinds
    }
    return {
        "description": "; ".join(f"`{kind.name}`: {kind.title}" for kind in kinds),
        "headers": REQUEST_ID,
        "content": {MEDIA_TYPE: {"schema": _reference(ProblemDocument), "examples": examples}},
    }


def _link(paths: dict[str, Schema]) -> None:
    """From each PUT to the calls on what it made and on what is in it, by the ids of its path."""
    for path, methods in paths.items():
        made = methods.get("put")
        if made is None:
            continue
        ids = {f"path.{name}": f"$request.path.{name}" for name in re.findall(r"\{(\w+)\}", path)}
        links = {
            operation["operationId"]: {"operationId": operation["operationId"], "parameters": ids}
            for other, operations in paths.items()
            if other == path or other.startswith(path + "/")
            for operation in operations.values()
        }
        for status in ("200", "201"):
            if status in made["responses"]:
                made["responses"][status]["links"] = links
