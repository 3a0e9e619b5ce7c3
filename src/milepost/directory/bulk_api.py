"""Many members at once, over HTTP: pasted from a table, looked at first."""

from typing import Annotated

import msgspec
from litestar import Router, post
from litestar.params import FromPath
from msgspec import Meta

from milepost.access.policy import Action
from milepost.directory import bulk
from milepost.directory.bulk import BulkOutcome
from milepost.directory.service import Context
from milepost.domain import member_lines
from milepost.domain.directory import Member
from milepost.domain.json_text import Reader
from milepost.domain.member_lines import MAX_LINES
from milepost.edge import BASE_PATH, JSON, AnyRequest, Reply, answer, body, from_path, new_id, receive, refuse_parameter
from milepost.openapi import Operation, Parameter
from milepost.problems import INVALID_MEMBERS, ORGANIZATION_NOT_FOUND
from milepost.store.database import Database

CSV = "text/csv"


class Members(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Memberships, each with its `userId`."""

    members: Annotated[list[Member], Meta(min_length=1, max_length=MAX_LINES)]


read_members = Reader(Members)
TABLE = {"type": "string", "description": "the columns userId, roles and enterprises; in these, `;` between names"}
DRY_RUN = Parameter(
    "dryRun", "`true`: say what every line would do, and do nothing", schema={"type": "boolean", "default": False}
)


@post(
    "/organizations/{org_id:str}/members/bulk",
    status_code=200,
    opt=Operation(
        action=Action.WRITE_DIRECTORY,
        bodies={JSON: Members, CSV: TABLE},
        examples={
            JSON: {"members": [{"userId": "leila", "roles": ["dispatcher"]}]},
            CSV: "userId,roles,enterprises\nleila,dispatcher,\n",
        },
        answers={200: BulkOutcome},
        parameters=(DRY_RUN,),
        problems=(ORGANIZATION_NOT_FOUND, INVALID_MEMBERS),
        events=("member.put", "checklist.refreshed"),
    ).opt(),
)
async def put_many_members(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Make many users members with exactly these roles and enterprises, all or none of them."""
    call = await receive(request, "dryRun")
    org_id, dry = from_path("orgId", org_id), call.query.get("dryRun", "false")
    if dry not in {"true", "false"}:
        refuse_parameter("dryRun", "must be true or false")
    sent, media_type = await body(request, JSON, CSV)
    lines = member_lines.read(sent) if media_type == CSV else member_lines.listed(read_members.read(sent).members)
    context = Context(call.caller, call.now, new_id)
    database: Database = request.app.state.database
    if dry == "true":
        return answer(await database.read(lambda connection: bulk.preview(connection, context, org_id, lines)))
    follow = request.app.state.roles_gained
    return answer(await database.write(lambda connection: bulk.apply(connection, context, org_id, lines, follow)))


router = Router(BASE_PATH, route_handlers=[put_many_members])
