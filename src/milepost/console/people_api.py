"""One person, over HTTP: where they are a member, and what happened to them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, get
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from milepost.access.policy import Action
from milepost.console.service import history, memberships
from milepost.directory.api import listed, page_asked
from milepost.directory.service import Context
from milepost.domain.directory import Member
from milepost.domain.records import moment
from milepost.edge import (
    BASE_PATH,
    AnyRequest,
    Call,
    Reply,
    answer,
    from_path,
    new_id,
    receive,
    refuse_parameter,
    whole_number,
)
from milepost.journal.queries import Event
from milepost.openapi import CURSOR, IDENTIFIER, LIMIT, Operation, Parameter, page_of
from milepost.problems import ORGANIZATION_NOT_FOUND
from milepost.store.database import Database

MAX_LIMIT, DEFAULT_LIMIT = 500, 50
ORG_ID = Parameter("orgId", "only what happened under this organization", schema=IDENTIFIER)
TYPE = Parameter("type", "only events of this type, such as `checklist.initialized`")


class JournalEvent(msgspec.Struct, rename="camel", kw_only=True):
    """Something that changed."""

    id: Annotated[str, Meta(description="a uuid v7")]
    at: datetime
    actor: Annotated[str, Meta(description="who did it: `user:` or `key:` and an id")]
    type: str
    org_id: Annotated[str, Meta(description="absent where it happened under no organization")] | UnsetType = UNSET
    data: Annotated[dict[str, Any], Meta(description="what changed, by the names of members and steps")]


class JournalPage(msgspec.Struct, rename="camel", omit_defaults=True):
    """Some of the events, newest first."""

    items: list[JournalEvent]
    next_cursor: Annotated[str, Meta(description="absent on the last page")] | UnsetType = UNSET


@get(
    "/users/{user_id:str}/journal",
    opt=Operation(
        action=Action.READ_JOURNAL,
        parameters=(ORG_ID, TYPE, LIMIT, CURSOR),
        answers={200: JournalPage},
        problems=(ORGANIZATION_NOT_FOUND,),
    ).opt(),
)
async def list_journal(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """List what happened to a user, newest first."""
    call = await receive(request, "orgId", "type", "limit", "cursor")
    user_id, org_id, before = from_path("userId", user_id), call.org_id(), _before(call)
    limit, type_ = whole_number(call, "limit", DEFAULT_LIMIT, MAX_LIMIT), call.query.get("type")
    context = Context(call.caller, call.now, new_id)
    database: Database = request.app.state.database
    found = await database.read(
        lambda connection: history(connection, context, user_id, org_id, type_=type_, before=before, limit=limit + 1)
    )
    items = [_shown(event) for event in found[:limit]]
    return answer(JournalPage(items, found[limit - 1].id if len(found) > limit else UNSET))


def _before(call: Call) -> str | None:
    cursor = call.query.get("cursor")
    if cursor is None:
        return None
    try:
        return str(UUID(cursor))
    except ValueError:
        refuse_parameter("cursor", "must be the nextCursor of an earlier answer")


def _shown(event: Event) -> JournalEvent:
    return JournalEvent(
        id=event.id,
        at=moment(event.at),
        actor=event.actor,
        type=event.type,
        org_id=event.org_id or UNSET,
        data=event.data,
    )


@get(
    "/users/{user_id:str}/memberships",
    opt=Operation(action=Action.LIST_ORGANIZATIONS, parameters=(LIMIT, CURSOR), answers={200: page_of(Member)}).opt(),
)
async def list_memberships(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """List a user's memberships, with the roles held, of the organizations that the caller may see."""
    call = await receive(request, "limit", "cursor")
    user_id, page = from_path("userId", user_id), page_asked(call)
    context = Context(call.caller, call.now, new_id)
    database: Database = request.app.state.database
    found = await database.read(lambda connection: memberships(connection, context, user_id, page))
    return listed(found, page, "org_id")


router = Router(BASE_PATH, route_handlers=[list_journal, list_memberships])
