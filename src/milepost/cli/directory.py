"""`milepost org`, `enterprise`, `role` and `member`: the directory from the command line."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from sqlalchemy import Connection

from milepost.checklists.gains import bring_steps
from milepost.cli.terminal import (
    OPERATOR,
    DatabaseOption,
    Failure,
    err,
    new_table,
    print_table,
    read,
    settings_from,
    write,
)
from milepost.directory import service
from milepost.directory.service import Context, Page
from milepost.domain.contract import Identifier
from milepost.domain.directory import Enterprise, Entry, Member, Name, Organization, Role
from milepost.edge import new_id, now
from milepost.problems import MEMBER_NOT_FOUND, Problem

Result = TypeVar("Result")

PAGE = 500

COLUMNS: dict[type[Entry], tuple[str, ...]] = {
    Organization: ("organization", "name"),
    Enterprise: ("enterprise", "organization", "name"),
    Role: ("role", "organization", "title", "admin"),
    Member: ("member", "organization", "roles", "enterprises", "since"),
}


def _app(what: str, verbs: str = "put, get, list, delete") -> typer.Typer:
    return typer.Typer(help=f"{what}: {verbs}.", no_args_is_help=True)


orgs = _app("Organizations")
enterprises = _app("Enterprises of an organization")
roles = _app("Roles of an organization")
members = _app("Members of an organization", "put, grant, revoke, get, list, delete")


def _valid(kind: Any) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            return str(msgspec.convert(value, kind))
        except msgspec.ValidationError:
            raise typer.BadParameter("it takes 1 to 255 characters and no control characters") from None

    return parse


_id = _valid(Identifier)
OrgId = Annotated[str, typer.Argument(metavar="ORG", parser=_id)]
EnterpriseId = Annotated[str, typer.Argument(metavar="ENTERPRISE", parser=_id)]
RoleId = Annotated[str, typer.Argument(metavar="ROLE", parser=_id)]
UserId = Annotated[str, typer.Argument(metavar="USER", parser=_id, help="External user id.")]
Of = Annotated[str, typer.Option("--org", metavar="ORG", parser=_id, help="The organization.")]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", parser=_valid(Name), help="What people call it.")]
Held = Annotated[str, typer.Option("--role", metavar="ROLE", parser=_id, help="The role.")]
Title = Annotated[str, typer.Option("--title", metavar="TITLE", parser=_valid(Name), help="What people call it.")]
Admin = Annotated[bool, typer.Option("--admin", help="Whoever holds it is an admin of the organization.")]
SomeRoles = Annotated[list[str] | None, typer.Option("--role", metavar="ROLE", help="Give it once for each role.")]
SomeEnterprises = Annotated[
    list[str] | None,
    typer.Option("--enterprise", metavar="ID", help="Limit it to these; none: the whole organization."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, instead of a table.")]


def _written(database: str | None, query: Callable[[Connection, Context], Result]) -> Result:
    settings = settings_from(database=database).settings
    return write(settings, lambda connection: query(connection, Context(OPERATOR, now(), new_id)))


def _found(database: str | None, query: Callable[[Connection, Context], Result]) -> Result:
    settings = settings_from(database=database).settings
    return read(settings, lambda connection: query(connection, Context(OPERATOR, now(), new_id)))


def _all(list_page: Callable[..., Sequence[Entry]]) -> Callable[[Connection, Context], list[Entry]]:
    """Every page of a list, one after the other."""

    def query(connection: Connection, context: Context) -> list[Entry]:
        entries: list[Entry] = []
        page = Page(limit=PAGE)
        while found := list_page(connection, context, page=page):
            entries += found
            page = Page(after=_cells(found[-1])[0], limit=PAGE)
        return entries

    return query


def _put(outcome: tuple[Entry, bool], *, json: bool) -> None:
    entry, is_new = outcome
    if json:
        _show(type(entry), [entry], json=True)
    else:
        _say(COLUMNS[type(entry)][0], _cells(entry)[0], "created" if is_new else "replaced")


def _say(what: str, name: str, done: str) -> None:
    err.print(f"The {what} {name} is {done}.")


def _show(kind: type[Entry], entries: Sequence[Entry], *, json: bool) -> None:
    if json:
        for entry in entries:
            typer.echo(msgspec.json.encode(entry))
        return
    table = new_table(*COLUMNS[kind])
    for entry in entries:
        table.add_row(*_cells(entry))
    print_table(table)


def _cells(entry: Entry) -> list[str]:
    """What a table shows of an entry; the first cell is what lists are ordered by."""
    match entry:
        case Organization():
            cells = [entry.org_id, entry.name]
        case Enterprise():
            cells = [entry.enterprise_id, entry.org_id, entry.name]
        case Role():
            cells = [entry.role, entry.org_id, entry.title, "admin" if entry.admin else ""]
        case Member():
            within = ", ".join(entry.enterprises) or "all"
            cells = [entry.user_id, entry.org_id, ", ".join(entry.roles), within, f"{entry.since:%Y-%m-%d}"]
    return [str(cell) for cell in cells]


@orgs.command("put")
def put_org(org: OrgId, name: NameOption, json: Json = False, database: DatabaseOption = None) -> None:
    """Create or replace an organization."""
    put = partial(service.put_organization, org_id=org, entry=Organization(name=name))
    _put(_written(database, put), json=json)


@orgs.command("get")
def get_org(org: OrgId, json: Json = False, database: DatabaseOption = None) -> None:
    """Show an organization."""
    _show(Organization, [_found(database, partial(service.get_organization, org_id=org))], json=json)


@orgs.command("list")
def list_orgs(json: Json = False, database: DatabaseOption = None) -> None:
    """List the organizations."""
    _show(Organization, _found(database, _all(service.list_organizations)), json=json)


@orgs.command("delete")
def delete_org(org: OrgId, database: DatabaseOption = None) -> None:
    """Delete an organization with its enterprises, roles, memberships and records."""
    _written(database, partial(service.delete_organization, org_id=org))
    _say("organization", org, "deleted")


@enterprises.command("put")
def put_enterprise(
    enterprise: EnterpriseId, org: Of, name: NameOption, json: Json = False, database: DatabaseOption = None
) -> None:
    """Create or replace an enterprise."""
    entry = Enterprise(name=name)
    put = partial(service.put_enterprise, org_id=org, enterprise_id=enterprise, entry=entry)
    _put(_written(database, put), json=json)


@enterprises.command("get")
def get_enterprise(enterprise: EnterpriseId, org: Of, json: Json = False, database: DatabaseOption = None) -> None:
    """Show an enterprise."""
    get = partial(service.get_enterprise, org_id=org, enterprise_id=enterprise)
    _show(Enterprise, [_found(database, get)], json=json)


@enterprises.command("list")
def list_enterprises(org: Of, json: Json = False, database: DatabaseOption = None) -> None:
    """List the enterprises of an organization."""
    _show(Enterprise, _found(database, _all(partial(service.list_enterprises, org_id=org))), json=json)


@enterprises.command("delete")
def delete_enterprise(enterprise: EnterpriseId, org: Of, database: DatabaseOption = None) -> None:
    """Delete an enterprise; memberships limited to it end."""
    _written(database, partial(service.delete_enterprise, org_id=org, enterprise_id=enterprise))
    _say("enterprise", enterprise, "deleted")


@roles.command("put")
def put_role(
    role: RoleId, org: Of, title: Title, admin: Admin = False, json: Json = False, database: DatabaseOption = None
) -> None:
    """Create or replace a role; its members stay."""
    put = partial(service.put_role, org_id=org, role=role, entry=Role(title=title, admin=admin))
    _put(_written(database, put), json=json)


@roles.command("get")
def get_role(role: RoleId, org: Of, json: Json = False, database: DatabaseOption = None) -> None:
    """Show a role."""
    _show(Role, [_found(database, partial(service.get_role, org_id=org, role=role))], json=json)


@roles.command("list")
def list_roles(org: Of, json: Json = False, database: DatabaseOption = None) -> None:
    """List the roles of an organization."""
    _show(Role, _found(database, _all(partial(service.list_roles, org_id=org))), json=json)


@roles.command("delete")
def delete_role(role: RoleId, org: Of, database: DatabaseOption = None) -> None:
    """Delete a role; whoever holds it loses it."""
    _written(database, partial(service.delete_role, org_id=org, role=role))
    _say("role", role, "deleted")


@members.command("put")
def put_member(
    user: UserId,
    org: Of,
    role: SomeRoles = None,
    enterprise: SomeEnterprises = None,
    json: Json = False,
    database: DatabaseOption = None,
) -> None:
    """Make a user a member with exactly these roles and enterprises; what is left out is taken away."""
    entry = Member(roles=role or [], enterprises=enterprise or [])
    put = partial(service.put_member, org_id=org, user_id=user, entry=entry, follow=bring_steps)
    _put(_written(database, put), json=json)


@members.command("grant")
def grant(user: UserId, org: Of, role: Held, json: Json = False, database: DatabaseOption = None) -> None:
    """Give a user one more role; who is no member yet becomes one."""

    def query(connection: Connection, context: Context) -> tuple[Member, bool]:
        try:
            before = service.get_member(connection, context, org, user)
        except Problem as problem:
            if problem.kind is not MEMBER_NOT_FOUND:
                raise
            before = Member()
        entry = Member(roles=[*before.roles, role], enterprises=before.enterprises)
        return service.put_member(connection, context, org, user, entry, bring_steps)

    _put(_written(database, query), json=json)


@members.command("revoke")
def revoke(user: UserId, org: Of, role: Held, json: Json = False, database: DatabaseOption = None) -> None:
    """Take one role from a member, who keeps the others."""

    def query(connection: Connection, context: Context) -> tuple[Member, bool]:
        before = service.get_member(connection, context, org, user)
        if role not in before.roles:
            raise Failure(f"{user} does not hold {role}; held: {', '.join(before.roles) or 'none'}")
        entry = Member(roles=[held for held in before.roles if held != role], enterprises=before.enterprises)
        return service.put_member(connection, context, org, user, entry, bring_steps)

    _put(_written(database, query), json=json)


@members.command("get")
def get_member(user: UserId, org: Of, json: Json = False, database: DatabaseOption = None) -> None:
    """Show a member."""
    _show(Member, [_found(database, partial(service.get_member, org_id=org, user_id=user))], json=json)


@members.command("list")
def list_members(
    org: Of,
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help="Only those who hold it.")] = None,
    enterprise: Annotated[str | None, typer.Option("--enterprise", metavar="ID", help="Only those in it.")] = None,
    json: Json = False,
    database: DatabaseOption = None,
) -> None:
    """List the members of an organization."""
    page = partial(service.list_members, org_id=org, role=role, enterprise_id=enterprise)
    _show(Member, _found(database, _all(page)), json=json)


@members.command("delete")
def delete_member(user: UserId, org: Of, database: DatabaseOption = None) -> None:
    """End a membership with all its roles."""
    _written(database, partial(service.delete_member, org_id=org, user_id=user))
    _say("member", user, "deleted")
