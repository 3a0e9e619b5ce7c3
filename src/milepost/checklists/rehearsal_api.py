"""The rehearsal of a catalog over HTTP: what publishing it would change, before anything changes."""

import asyncio
from typing import Any

from litestar import Router, post
from litestar.params import FromPath

from milepost.access.policy import Action
from milepost.catalogs import service as catalogs
from milepost.catalogs.api import EXAMPLE, OWN, YAML
from milepost.catalogs.queries import PLATFORM
from milepost.checklists.rehearsal import DEFAULT_LIMIT, MAX_LIMIT, rehearse
from milepost.directory.service import Context
from milepost.domain.catalog import Catalog
from milepost.domain.rehearsals import Rehearsal
from milepost.edge import BASE_PATH, JSON, AnyRequest, Reply, answer, body, from_path, new_id, receive, whole_number
from milepost.openapi import Operation, Parameter
from milepost.problems import INVALID_CATALOG, ORGANIZATION_NOT_FOUND

LIMIT = Parameter(
    "limit",
    "how many users are looked at, at most; the answer says whether these were all",
    schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
)


def _rehearsing(*, own: bool) -> dict[str, Any]:
    return Operation(
        action=Action.WRITE_CATALOG,
        only_asks=True,
        bodies={JSON: Catalog, YAML: Catalog},
        examples={JSON: EXAMPLE, YAML: EXAMPLE},
        answers={200: Rehearsal},
        parameters=(LIMIT,),
        problems=(INVALID_CATALOG, *((ORGANIZATION_NOT_FOUND,) if own else ())),
    ).opt()


@post("/catalog/rehearse", status_code=200, opt=_rehearsing(own=False))
async def rehearse_catalog(request: AnyRequest) -> Reply:
    """Tell who would gain, lose and complete which steps if a catalog were published for the platform."""
    return await _rehearse(request, PLATFORM)


@post(f"{OWN}/rehearse", status_code=200, opt=_rehearsing(own=True))
async def rehearse_organization_catalog(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Tell who would gain, lose and complete which steps if a catalog were published for an organization."""
    return await _rehearse(request, from_path("orgId", org_id))


async def _rehearse(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request, "limit")
    limit = whole_number(call, "limit", DEFAULT_LIMIT, MAX_LIMIT)
    sent, _ = await body(request, JSON, YAML)
    catalog = await asyncio.to_thread(catalogs.read, sent)
    context = Context(call.caller, call.now, new_id)
    return answer(await rehearse(request.app.state.database, context, org_id, catalog, limit))


router = Router(BASE_PATH, route_handlers=[rehearse_catalog, rehearse_organization_catalog])
