"""Previews over HTTP."""

from litestar import Router, get
from litestar.params import FromPath

from milepost.access.policy import Action
from milepost.checklists import preview
from milepost.checklists.api import CHECKLIST
from milepost.directory.service import Context
from milepost.domain.contract import GuidedChecklist
from milepost.edge import (
    BASE_PATH,
    AnyRequest,
    Call,
    Reply,
    accept_language,
    answer,
    from_path,
    identifier,
    new_id,
    receive,
)
from milepost.openapi import REQUIRED_ORG_ID, Operation, Parameter
from milepost.problems import CATALOG_NOT_FOUND, CHECKLIST_NOT_FOUND, ORGANIZATION_NOT_FOUND
from milepost.store.database import Database

ROLES = Parameter("roles", "the roles that are supposed to be held, with commas between; absent: none")


def several(call: Call, name: str) -> list[str]:
    """The names in a parameter, with commas between.

    Raises:
        Problem: `invalid_parameter`.
    """
    value = call.query.get(name, "")
    return list(dict.fromkeys(identifier(name, part) for part in value.split(",") if part))


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


router = Router(BASE_PATH, route_handlers=[preview_checklist])
