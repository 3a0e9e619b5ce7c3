"""Previews over HTTP."""

import asyncio
from typing import Any

from litestar import Router, get, post
from litestar.params import FromPath

from milepost.access.policy import Action
from milepost.catalogs import service as catalogs
from milepost.catalogs.api import EXAMPLE, OWN, YAML
from milepost.catalogs.queries import PLATFORM
from milepost.checklists import preview
from milepost.checklists.api import CHECKLIST
from milepost.directory.service import Context
from milepost.domain.catalog import Catalog
from milepost.domain.checklists import Knowledge
from milepost.domain.conditions import Facts
from milepost.domain.contract import GuidedChecklist, Track
from milepost.edge import (
    BASE_PATH,
    JSON,
    AnyRequest,
    Call,
    Reply,
    accept_language,
    answer,
    body,
    from_path,
    identifier,
    new_id,
    receive,
    refuse_parameter,
)
from milepost.openapi import REQUIRED_ORG_ID, Operation, Parameter
from milepost.problems import CATALOG_NOT_FOUND, CHECKLIST_NOT_FOUND, INVALID_CATALOG, ORGANIZATION_NOT_FOUND
from milepost.store.database import Database

NAMES = {"type": "string", "maxLength": 255, "pattern": r"^[^\u0000-\u001f\u007f]*$(?!\n)"}
ROLES = Parameter("roles", "the roles that are supposed to be held, with commas between; absent: none", schema=NAMES)


INTERESTS = Parameter("interests", "the interests in products, with commas between; absent: none", schema=NAMES)
TRACK = Parameter("track", "the track", schema={"type": "string", "enum": list(Track), "default": "A"})


def several(call: Call, name: str) -> list[str]:
    """The names in a parameter, with commas between.

    Raises:
        Problem: `invalid_parameter`.
    """
    value = call.query.get(name)
    return list(dict.fromkeys(part for part in identifier(name, value).split(",") if part)) if value else []


@get(
    f"{CHECKLIST}/preview",
    opt=Operation(
        action=Action.PREVIEW_CHECKLIST,
        parameters=(REQUIRED_ORG_ID, ROLES),
        answers={200: GuidedChecklist},
        localized=True,
        problems=(ORGANIZATION_NOT_FOUND, CATALOG_NOT_FOUND, CHECKLIST_NOT_FOUND),
    ).opt(),
)
async def preview_checklist(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Show the user's checklist as a refresh would make it if they held exactly these roles. Nothing is stored."""
    call = await receive(request, "orgId", "roles")
    user_id, org_id, roles = from_path("userId", user_id), call.required_org_id(), several(call, "roles")
    context = Context(call.caller, call.now, new_id, accept_language(request))
    database: Database = request.app.state.database
    checklist, language = await database.read(
        lambda connection: preview.with_roles(connection, context, user_id, org_id, roles)
    )
    return answer(checklist, language=language)


def _previewing(*, own: bool) -> dict[str, Any]:
    return Operation(
        action=Action.WRITE_CATALOG,
        only_asks=True,
        bodies={JSON: Catalog, YAML: Catalog},
        examples={JSON: EXAMPLE, YAML: EXAMPLE},
        answers={200: GuidedChecklist},
        parameters=(TRACK, ROLES, INTERESTS),
        localized=True,
        problems=(INVALID_CATALOG, *((ORGANIZATION_NOT_FOUND,) if own else ())),
    ).opt()


@post("/catalog/preview", status_code=200, opt=_previewing(own=False))
async def preview_catalog(request: AnyRequest) -> Reply:
    """Show the checklist that somebody new would get under a catalog for the platform. Nothing is stored."""
    return await _preview(request, PLATFORM)


@post(f"{OWN}/preview", status_code=200, opt=_previewing(own=True))
async def preview_organization_catalog(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Show the checklist that somebody new would get under a catalog for an organization. Nothing is stored."""
    return await _preview(request, from_path("orgId", org_id))


async def _preview(request: AnyRequest, org_id: str) -> Reply:
    call = await receive(request, "track", "roles", "interests")
    track, roles, interests = call.query.get("track", "A"), several(call, "roles"), several(call, "interests")
    if track not in list(Track):
        refuse_parameter("track", f"must be one of {', '.join(Track)}")
    sent, _ = await body(request, JSON, YAML)
    catalog = await asyncio.to_thread(catalogs.read, sent)
    context = Context(call.caller, call.now, new_id)
    database: Database = request.app.state.database
    await database.read(lambda connection: catalogs.before_publishing(connection, context, org_id))
    published = await asyncio.to_thread(catalogs.compiled, org_id, 0, catalog)
    facts = Facts(signals={}, attributes={}, roles=roles, interests=interests)
    known = Knowledge(published, Track(track), roles, interests, facts, call.now)
    checklist, language = preview.under(known, accept_language(request))
    return answer(checklist, language=language)


router = Router(BASE_PATH, route_handlers=[preview_checklist, preview_catalog, preview_organization_catalog])
