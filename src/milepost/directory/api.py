"""The directory over HTTP (contract part 4)."""

import base64
import binascii
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from litestar import Router, delete, get, put
from litestar.params import FromPath
from sqlalchemy import Connection

from milepost.access.policy import Action
from milepost.directory import service
from milepost.directory.service import Context, Page
from milepost.domain.directory import Enterprise, Entry, Member, Organization, Role
from milepost.domain.json_text import Reader
from milepost.edge import (
    BASE_PATH,
    MOST_CHARACTERS_OF_AN_ID,
    AnyRequest,
    Call,
    Reply,
    answer,
    body,
    from_path,
    identifier,
    new_id,
    receive,
    refuse_parameter,
)
from milepost.openapi import CURSOR, IDENTIFIER, LIMIT, Operation, Parameter, page_of
from milepost.problems import (
    ENTERPRISE_ELSEWHERE,
    ENTERPRISE_NOT_FOUND,
    ID_MISMATCH,
    MEMBER_NOT_FOUND,
    ORGANIZATION_NOT_FOUND,
    ROLE_NOT_FOUND,
    UNKNOWN_ENTERPRISE,
    UNKNOWN_ROLE,
    Kind,
)
from milepost.store.database import Database

MAX_LIMIT = 500
DEFAULT_LIMIT = 50

Result = TypeVar("Result")
E_ = TypeVar("E_", Organization, Enterprise, Role, Member)

read_organization = Reader(Organization)
read_enterprise = Reader(Enterprise)
read_role = Reader(Role)
read_member = Reader(Member)


EXAMPLES: dict[type, object] = {
    Organization: {"name": "Halden Logistics"},
    Enterprise: {"name": "Halden Nordics"},
    Role: {"title": "Dispatcher", "admin": False},
    Member: {"roles": ["dispatcher"], "enterprises": []},
}
ROLE_FILTER = Parameter("role", "only members who hold this role", schema=IDENTIFIER)
PREFIX = Parameter("q", "only members whose user id begins with this text, capitals and small letters apart")
ENTERPRISE_FILTER = Parameter("enterpriseId", "only members limited to this enterprise", schema=IDENTIFIER)


def _listing(item: type, *filters: Parameter) -> dict[str, Any]:
    of_all = item is Organization
    return Operation(
        action=Action.LIST_ORGANIZATIONS if of_all else Action.READ_DIRECTORY,
        parameters=(LIMIT, CURSOR, *filters),
        answers={200: page_of(item)},
        problems=() if of_all else (ORGANIZATION_NOT_FOUND,),
    ).opt()


def _reading(item: type, missing: Kind) -> dict[str, Any]:
    return Operation(
        action=Action.READ_DIRECTORY, answers={200: item}, problems=(ORGANIZATION_NOT_FOUND, missing)
    ).opt()


def _putting(item: type, *refused: Kind) -> dict[str, Any]:
    of_organization = item is Organization
    # A role that is gained brings its steps.
    brought = ("checklist.refreshed",) if item is Member else ()
    return Operation(
        action=Action.WRITE_ORGANIZATION if of_organization else Action.WRITE_DIRECTORY,
        bodies={"application/json": item},
        examples={"application/json": EXAMPLES[item]},
        answers={200: item, 201: item},
        problems=(ID_MISMATCH, *refused, *(() if of_organization else (ORGANIZATION_NOT_FOUND,))),
        events=(f"{item.__name__.lower()}.put", *brought),
    ).opt()


def _deleting(item: type, missing: Kind) -> dict[str, Any]:
    return Operation(
        action=Action.WRITE_ORGANIZATION if item is Organization else Action.WRITE_DIRECTORY,
        answers={204: None},
        problems=(ORGANIZATION_NOT_FOUND, missing),
        events=(f"{item.__name__.lower()}.deleted",),
    ).opt()


@get("/organizations", opt=_listing(Organization))
async def list_organizations(request: AnyRequest) -> Reply:
    """List the organizations that the caller may see."""
    call = await receive(request, "limit", "cursor")
    page = page_asked(call)
    return listed(await _read(request, call, service.list_organizations, page), page, "org_id")


@get("/organizations/{org_id:str}", opt=_reading(Organization, ORGANIZATION_NOT_FOUND))
async def get_organization(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Read an organization."""
    call = await receive(request)
    return answer(await _read(request, call, service.get_organization, from_path("orgId", org_id)))


@put("/organizations/{org_id:str}", opt=_putting(Organization))
async def put_organization(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Create or replace an organization."""
    return await _put(request, read_organization, service.put_organization, from_path("orgId", org_id))


@delete("/organizations/{org_id:str}", opt=_deleting(Organization, ORGANIZATION_NOT_FOUND))
async def delete_organization(request: AnyRequest, org_id: FromPath[str]) -> None:
    """Delete an organization with its enterprises, roles, memberships and records."""
    await _delete(request, service.delete_organization, from_path("orgId", org_id))


@get("/organizations/{org_id:str}/enterprises", opt=_listing(Enterprise))
async def list_enterprises(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """List an organization's enterprises."""
    call = await receive(request, "limit", "cursor")
    page = page_asked(call)
    found = await _read(request, call, service.list_enterprises, from_path("orgId", org_id), page)
    return listed(found, page, "enterprise_id")


@get(
    "/organizations/{org_id:str}/enterprises/{enterprise_id:str}",
    opt=_reading(Enterprise, ENTERPRISE_NOT_FOUND),
)
async def get_enterprise(request: AnyRequest, org_id: FromPath[str], enterprise_id: FromPath[str]) -> Reply:
    """Read an enterprise."""
    call = await receive(request)
    return answer(await _read(request, call, service.get_enterprise, *_enterprise(org_id, enterprise_id)))


@put(
    "/organizations/{org_id:str}/enterprises/{enterprise_id:str}",
    opt=_putting(Enterprise, ENTERPRISE_ELSEWHERE),
)
async def put_enterprise(request: AnyRequest, org_id: FromPath[str], enterprise_id: FromPath[str]) -> Reply:
    """Create or replace an enterprise."""
    return await _put(request, read_enterprise, service.put_enterprise, *_enterprise(org_id, enterprise_id))


@delete(
    "/organizations/{org_id:str}/enterprises/{enterprise_id:str}",
    opt=_deleting(Enterprise, ENTERPRISE_NOT_FOUND),
)
async def delete_enterprise(request: AnyRequest, org_id: FromPath[str], enterprise_id: FromPath[str]) -> None:
    """Delete an enterprise; memberships limited to it alone end with their roles."""
    await _delete(request, service.delete_enterprise, *_enterprise(org_id, enterprise_id))


@get("/organizations/{org_id:str}/roles", opt=_listing(Role))
async def list_roles(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """List an organization's roles."""
    call = await receive(request, "limit", "cursor")
    page = page_asked(call)
    return listed(await _read(request, call, service.list_roles, from_path("orgId", org_id), page), page, "role")


@get("/organizations/{org_id:str}/roles/{role:str}", opt=_reading(Role, ROLE_NOT_FOUND))
async def get_role(request: AnyRequest, org_id: FromPath[str], role: FromPath[str]) -> Reply:
    """Read a role."""
    call = await receive(request)
    return answer(await _read(request, call, service.get_role, *_role(org_id, role)))


@put("/organizations/{org_id:str}/roles/{role:str}", opt=_putting(Role))
async def put_role(request: AnyRequest, org_id: FromPath[str], role: FromPath[str]) -> Reply:
    """Create or replace a role; its members stay."""
    return await _put(request, read_role, service.put_role, *_role(org_id, role))


@delete("/organizations/{org_id:str}/roles/{role:str}", opt=_deleting(Role, ROLE_NOT_FOUND))
async def delete_role(request: AnyRequest, org_id: FromPath[str], role: FromPath[str]) -> None:
    """Delete a role; whoever held it holds it no longer."""
    await _delete(request, service.delete_role, *_role(org_id, role))


@get("/organizations/{org_id:str}/members", opt=_listing(Member, ROLE_FILTER, ENTERPRISE_FILTER, PREFIX))
async def list_members(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """List an organization's members, or only those with a role, in an enterprise, or whose id begins with a text."""
    call = await receive(request, "limit", "cursor", "role", "enterpriseId", "q")
    prefix = call.query.get("q", "")[:MOST_CHARACTERS_OF_AN_ID]
    page = page_asked(call)
    role, enterprise_id = _filter(call, "role"), _filter(call, "enterpriseId")
    org_id = from_path("orgId", org_id)

    def found(connection: Connection, context: Context) -> Sequence[Member]:
        return service.list_members(
            connection, context, org_id, page, role=role, enterprise_id=enterprise_id, prefix=prefix
        )

    return listed(await _read(request, call, found), page, "user_id")


@get("/organizations/{org_id:str}/members/{user_id:str}", opt=_reading(Member, MEMBER_NOT_FOUND))
async def get_member(request: AnyRequest, org_id: FromPath[str], user_id: FromPath[str]) -> Reply:
    """Read a membership."""
    call = await receive(request)
    return answer(await _read(request, call, service.get_member, *_member(org_id, user_id)))


@put(
    "/organizations/{org_id:str}/members/{user_id:str}",
    opt=_putting(Member, UNKNOWN_ROLE, UNKNOWN_ENTERPRISE),
)
async def put_member(request: AnyRequest, org_id: FromPath[str], user_id: FromPath[str]) -> Reply:
    """Make the user a member with exactly these roles and enterprises. A role gained brings its steps at once."""
    put = partial(service.put_member, follow=request.app.state.roles_gained)
    return await _put(request, read_member, put, *_member(org_id, user_id))


@delete("/organizations/{org_id:str}/members/{user_id:str}", opt=_deleting(Member, MEMBER_NOT_FOUND))
async def delete_member(request: AnyRequest, org_id: FromPath[str], user_id: FromPath[str]) -> None:
    """End a membership with all its roles."""
    await _delete(request, service.delete_member, *_member(org_id, user_id))


def _enterprise(org_id: str, enterprise_id: str) -> tuple[str, str]:
    return from_path("orgId", org_id), from_path("enterpriseId", enterprise_id)


def _role(org_id: str, role: str) -> tuple[str, str]:
    return from_path("orgId", org_id), from_path("role", role)


def _member(org_id: str, user_id: str) -> tuple[str, str]:
    return from_path("orgId", org_id), from_path("userId", user_id)


async def _read(request: AnyRequest, call: Call, use_case: Callable[..., Result], *arguments: object) -> Result:
    database: Database = request.app.state.database
    context = Context(call.caller, call.now, new_id)
    return await database.read(lambda connection: use_case(connection, context, *arguments))


async def _put(
    request: AnyRequest, reader: Reader[E_], use_case: Callable[..., tuple[Entry, bool]], *path: str
) -> Reply:
    call = await receive(request)
    sent, _ = await body(request, "application/json")
    entry = reader.read(sent)
    database: Database = request.app.state.database
    context = Context(call.caller, call.now, new_id)
    stored, created = await database.write(lambda connection: use_case(connection, context, *path, entry))
    return answer(stored, status=201 if created else 200)


async def _delete(request: AnyRequest, use_case: Callable[..., None], *path: str) -> None:
    call = await receive(request)
    database: Database = request.app.state.database
    context = Context(call.caller, call.now, new_id)
    await database.write(lambda connection: use_case(connection, context, *path))


def _filter(call: Call, name: str) -> str | None:
    value = call.query.get(name)
    return None if value is None else identifier(name, value)


def page_asked(call: Call) -> Page:
    """The page asked for; one entry more than `limit` is fetched, to know whether there is a next one."""
    limit = call.query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= MAX_LIMIT):  # noqa: PLR2004
        refuse_parameter("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    return Page(after=_after(call.query.get("cursor")), limit=int(limit) + 1)


def _after(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        return identifier("cursor", base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
    except (binascii.Error, ValueError):
        refuse_parameter("cursor", "must be the nextCursor of an earlier answer")


def listed(found: Sequence[Any], page: Page, key: str) -> Reply:
    items = found[: page.limit - 1]
    listing: dict[str, object] = {"items": items}
    if len(found) == page.limit:
        last: str = getattr(items[-1], key)
        listing["nextCursor"] = base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")
    return answer(listing)


router = Router(
    BASE_PATH,
    route_handlers=[
        list_organizations, get_organization, put_organization, delete_organization,
        list_enterprises, get_enterprise, put_enterprise, delete_enterprise,
        list_roles, get_role, put_role, delete_role,
        list_members, get_member, put_member, delete_member,
    ],
)  # fmt: skip
