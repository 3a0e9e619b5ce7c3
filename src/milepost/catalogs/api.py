"""Catalogs over HTTP: the platform's at `/catalog`, an organization's own at `/organizations/{orgId}/catalog`."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Router, get, put
from litestar.params import FromPath
from msgspec import Meta
from sqlalchemy import Connection

from milepost.access.policy import Action
from milepost.catalogs import service
from milepost.catalogs.queries import PLATFORM, Version
from milepost.directory.service import Context
from milepost.domain.catalog import Catalog
from milepost.domain.json_text import Reader
from milepost.domain.records import moment
from milepost.edge import (
    BASE_PATH,
    JSON,
    AnyRequest,
    Call,
    Reply,
    answer,
    body,
    from_path,
    new_id,
    raw,
    receive,
    whole_number,
)
from milepost.openapi import LIMIT, Operation, Parameter, Schema
from milepost.problems import CATALOG_NOT_FOUND, INVALID_CATALOG, ORGANIZATION_NOT_FOUND
from milepost.store.database import Database

YAML = "application/yaml"
OWN = "/organizations/{org_id:str}/catalog"
MAX_LIMIT, DEFAULT_LIMIT, BIGGEST = 500, 50, 2**53

VERSION = Parameter(
    "version", "an earlier version; without it the current one", schema={"type": "integer", "minimum": 1}
)
BEFORE = Parameter("cursor", "the `nextCursor` of the answer before")

Result = TypeVar("Result")


class CurrentVersion(msgspec.Struct, forbid_unknown_fields=True):
    """Which version shall be the current one."""

    version: Annotated[int, Meta(ge=1)]


read_current = Reader(CurrentVersion)
ENTRY: Schema = {
    "type": "object",
    "required": ["version", "current", "publishedAt", "publisher"],
    "properties": {
        "orgId": {"type": "string", "description": "absent: the platform's, for those without one of their own"},
        "version": {"type": "integer", "minimum": 1},
        "current": {"type": "boolean"},
        "publishedAt": {"type": "string", "format": "date-time"},
        "publisher": {"type": "string", "description": "who published it"},
        "catalog": {"$ref": "#/components/schemas/Catalog"},
    },
    "additionalProperties": False,
}
ENTRIES: Schema = {
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {"type": "array", "items": ENTRY},
        "nextCursor": {"type": "string", "description": "absent on the last page"},
    },
    "additionalProperties": False,
}
EXAMPLE: dict[str, Any] = {
    "name": "Fleet onboarding",
    "steps": [
        {
            "stepId": "pair-tracker",
            "title": "Pair a tracker",
            "description": "The map fills by itself once the first tracker reports.",
            "ctaLabel": "Pair a tracker",
            "ctaRoute": "/fleet/trackers/new",
            "sortOrder": 10,
            "roles": ["dispatcher"],
            "completeWhen": "signals['tracker.paired'].count > 0",
        }
    ],
}


def _reading(answers: Any, *parameters: Parameter, own: bool) -> dict[str, Any]:
    missing = (CATALOG_NOT_FOUND, ORGANIZATION_NOT_FOUND) if own else (CATALOG_NOT_FOUND,)
    return Operation(action=Action.READ_CATALOG, answers={200: answers}, parameters=parameters, problems=missing).opt()


def _publishing(*, own: bool) -> dict[str, Any]:
    return Operation(
        action=Action.WRITE_CATALOG,
        bodies={JSON: Catalog, YAML: Catalog},
        examples={JSON: EXAMPLE, YAML: EXAMPLE},
        answers={200: ENTRY, 201: ENTRY},
        problems=(INVALID_CATALOG, *((ORGANIZATION_NOT_FOUND,) if own else ())),
        events=("catalog.published",),
    ).opt()


def _choosing(*, own: bool) -> dict[str, Any]:
    return Operation(
        action=Action.WRITE_CATALOG,
        bodies={JSON: CurrentVersion},
        examples={JSON: {"version": 1}},
        answers={200: ENTRY},
        problems=(CATALOG_NOT_FOUND, *((ORGANIZATION_NOT_FOUND,) if own else ())),
        events=("catalog.rolled_back",),
    ).opt()


@get("/catalog", opt=_reading(ENTRY, VERSION, own=False))
async def get_catalog(request: AnyRequest) -> Reply:
    """Read the platform's catalog, which organizations without one of their own use."""
    return await _get(request, PLATFORM)


@put("/catalog", opt=_publishing(own=False))
async def put_catalog(request: AnyRequest) -> Reply:
    """Publish a new version of the platform's catalog, as YAML or JSON."""
    return await _publish(request, PLATFORM)


@get("/catalog/versions", opt=_reading(ENTRIES, LIMIT, BEFORE, own=False))
async def list_catalog_versions(request: AnyRequest) -> Reply:
    """List the versions of the platform's catalog, newest first."""
    return await _list(request, PLATFORM)


@put("/catalog/current", opt=_choosing(own=False))
async def choose_catalog(request: AnyRequest) -> Reply:
    """Make an earlier version of the platform's catalog the current one again."""
    return await _choose(request, PLATFORM)


@get(OWN, opt=_reading(ENTRY, VERSION, own=True))
async def get_organization_catalog(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Read an organization's own catalog."""
    return await _get(request, from_path("orgId", org_id))


@put(OWN, opt=_publishing(own=True))
async def put_organization_catalog(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Publish a new version of an organization's own catalog, as YAML or JSON."""
    return await _publish(request, from_path("orgId", org_id))


@get(f"{OWN}/versions", opt=_reading(ENTRIES, LIMIT, BEFORE, own=True))
async def list_organization_catalog_versions(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """List the versions of an organization's own catalog, newest first."""
    return await _list(request, from_path("orgId", org_id))


@put(f"{OWN}/current", opt=_choosing(own=True))
async def choose_organization_catalog(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Make an earlier version of an organization's own catalog the current one again."""
    return await _choose(request, from_path("orgId", org_id))


async def _get(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request, "version")
    number = whole_number(call, "version", None, BIGGEST)
    entry, is_current = await _run(request, call, service.get_version, org_id, number)
    return raw(_entry(entry, current=is_current, whole=True))


async def _publish(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request)
    sent, _ = await body(request, JSON, YAML)
    # A large file takes a while to read, and others are not to wait for it.
    catalog = await asyncio.to_thread(service.read, sent)
    entry, is_new = await _run(request, call, service.publish, org_id, catalog, write=True)
    return raw(_entry(entry, current=True, whole=True), status=201 if is_new else 200)


async def _choose(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request)
    sent, _ = await body(request, JSON)
    number = read_current.read(sent).version
    entry = await _run(request, call, service.roll_back, org_id, number, write=True)
    return raw(_entry(entry, current=True, whole=True))


async def _list(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request, "limit", "cursor")
    limit = whole_number(call, "limit", DEFAULT_LIMIT, MAX_LIMIT)
    before = whole_number(call, "cursor", BIGGEST, BIGGEST)
    found, current = await _run(request, call, service.list_versions, org_id, before, limit + 1)
    items = [msgspec.Raw(_entry(entry, current=entry.version == current, whole=False)) for entry in found[:limit]]
    listing: dict[str, object] = {"items": items}
    if len(found) > limit:
        listing["nextCursor"] = str(found[limit - 1].version)
    return answer(listing)


def _entry(entry: Version, *, current: bool, whole: bool) -> bytes:
    shown: dict[str, object] = {
        "version": entry.version,
        "current": current,
        "publishedAt": moment(entry.published),
        "publisher": entry.publisher,
    }
    if entry.org_id != PLATFORM:
        shown = {"orgId": entry.org_id, **shown}
    if whole:
        shown["catalog"] = msgspec.Raw(entry.body.encode())
    return msgspec.json.encode(shown)


async def _run(
    request: AnyRequest, call: Call, use_case: Callable[..., Result], *arguments: object, write: bool = False
) -> Result:
    database: Database = request.app.state.database
    context = Context(call.caller, call.now, new_id)

    def query(connection: Connection) -> Result:
        return use_case(connection, context, *arguments)

    return await (database.write(query) if write else database.read(query))


router = Router(
    BASE_PATH,
    route_handlers=[
        get_catalog, put_catalog, list_catalog_versions, choose_catalog,
        get_organization_catalog, put_organization_catalog, list_organization_catalog_versions,
        choose_organization_catalog,
    ],
)  # fmt: skip
