"""A catalog as it is being written, over HTTP: every fault with its place; and what differs between two versions."""

import asyncio
from functools import partial
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath

from milepost.access.policy import Action
from milepost.catalogs import service
from milepost.catalogs.api import EXAMPLE, OWN, YAML
from milepost.catalogs.queries import PLATFORM
from milepost.directory.service import Context
from milepost.domain import catalog_files
from milepost.domain.catalog_differences import CatalogDifference, differences
from milepost.domain.catalog_text import CatalogFault, CatalogInvalid
from milepost.edge import (
    BASE_PATH,
    JSON,
    AnyRequest,
    Reply,
    answer,
    body,
    from_path,
    new_id,
    receive,
    whole_number,
)
from milepost.openapi import Operation, Parameter
from milepost.problems import CATALOG_NOT_FOUND, ORGANIZATION_NOT_FOUND
from milepost.store.database import Database

BIGGEST = 2**53
NUMBER = {"type": "integer", "minimum": 1, "maximum": BIGGEST, "examples": [1]}
DRAFT = {"description": "a catalog as it is being written, which may be none yet"}


class Validation(msgspec.Struct):
    """Whether a catalog could be published, and all that keeps it from that."""

    valid: bool
    faults: list[CatalogFault]


def _validating(*, own: bool) -> dict[str, Any]:
    return Operation(
        action=Action.WRITE_CATALOG,
        only_asks=True,
        bodies={JSON: DRAFT, YAML: DRAFT},
        needs_body=False,
        examples={JSON: EXAMPLE, YAML: EXAMPLE},
        answers={200: Validation},
        problems=(ORGANIZATION_NOT_FOUND,) if own else (),
    ).opt()


def _comparing(*, own: bool) -> dict[str, Any]:
    return Operation(
        action=Action.READ_CATALOG,
        answers={200: CatalogDifference},
        parameters=(
            Parameter("from", "the earlier version; without it the first", schema=NUMBER),
            Parameter("to", "the later version; without it the current one", schema=NUMBER),
        ),
        problems=(CATALOG_NOT_FOUND, *((ORGANIZATION_NOT_FOUND,) if own else ())),
    ).opt()


@post("/catalog/validate", status_code=200, opt=_validating(own=False))
async def validate_catalog(request: AnyRequest) -> Reply:
    """Find every fault of a catalog for the platform, with its line; nothing is stored."""
    return await _validate(request, PLATFORM)


@post(f"{OWN}/validate", status_code=200, opt=_validating(own=True))
async def validate_organization_catalog(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Find every fault of a catalog for an organization, with its line; nothing is stored."""
    return await _validate(request, from_path("orgId", org_id))


@get("/catalog/differences", opt=_comparing(own=False))
async def compare_catalogs(request: AnyRequest) -> Reply:
    """Tell what differs between two versions of the platform's catalog."""
    return await _compare(request, PLATFORM)


@get(f"{OWN}/differences", opt=_comparing(own=True))
async def compare_organization_catalogs(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Tell what differs between two versions of an organization's own catalog."""
    return await _compare(request, from_path("orgId", org_id))


async def _validate(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request)
    sent, _ = await body(request, JSON, YAML)
    context = Context(call.caller, call.now, new_id)
    database: Database = request.app.state.database
    await database.read(lambda connection: service.before_publishing(connection, context, org_id))
    return answer(await asyncio.to_thread(_validated, sent))


def _validated(sent: bytes) -> Validation:
    try:
        catalog_files.read(sent, "catalog")
    except CatalogInvalid as invalid:
        return Validation(valid=False, faults=list(invalid.faults))
    return Validation(valid=True, faults=[])


async def _compare(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request, "from", "to")
    first, second = whole_number(call, "from", 1, BIGGEST), whole_number(call, "to", None, BIGGEST)
    context = Context(call.caller, call.now, new_id)
    database: Database = request.app.state.database
    found = partial(service.get_version, context=context, org_id=org_id)
    versions = [(await database.read(partial(found, number=number)))[0] for number in (first, second)]
    before, after = (service.decode(version.body) for version in versions)
    return answer(differences(before, after, versions[0].version, versions[1].version))


router = Router(
    BASE_PATH,
    route_handlers=[
        validate_catalog, validate_organization_catalog, compare_catalogs, compare_organization_catalogs,
    ],
)  # fmt: skip
