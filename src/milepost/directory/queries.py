"""The directory's SQL. Times are microseconds since 1970."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Select,
    Table,
    Text,
    case,
    delete,
    exists,
    func,
    null,
    select,
    tuple_,
    union_all,
    update,
)

from milepost.directory.memberships import Holding
from milepost.domain.directory import Enterprise, Member, Organization, Role
from milepost.domain.records import moment
from milepost.store.database import Conflict, as_rows, insert_rows, rows, upsert
from milepost.store.schema import (
    enterprises,
    member_enterprises,
    member_roles,
    members,
    organizations,
    roles,
    service_keys,
    shared_completions,
)
from milepost.store.tenants import empty_tenant


def organization(connection: Connection, org_id: str) -> Organization | None:
    row = connection.execute(select(organizations).where(organizations.c.org_id == org_id)).first()
    return None if row is None else Organization(org_id=row.org_id, name=row.name)


def hold_organization(connection: Connection, org_id: str, *, against_records: bool = False) -> bool:
    """Hold an organization until the transaction ends, so that changes to its directory are made one after the other.

    Nobody can store a first record under it meanwhile either, where it is held `against_records`. False: there is none.
    """
    held = select(organizations.c.org_id).where(organizations.c.org_id == org_id)
    return connection.execute(held.with_for_update(key_share=not against_records)).first() is not None


def list_organizations(
    connection: Connection, visible: ColumnElement[bool], after: str, limit: int
) -> list[Organization]:
    found = select(organizations).where(visible, organizations.c.org_id > after).order_by(organizations.c.org_id)
    return [Organization(org_id=row.org_id, name=row.name) for row in connection.execute(found.limit(limit))]


def put_organization(connection: Connection, entry: Organization) -> None:
    upsert(connection, organizations, {"org_id": entry.org_id}, {"name": entry.name})


def delete_organization(connection: Connection, org_id: str, at: int) -> dict[str, int]:
    """Delete an organization with all that is its own; answers how many of each went.

    Past enterprise memberships stay, ended: the track of a user depends on them.
    """
    _end_enterprises(connection, at, member_enterprises.c.org_id == org_id)
    connection.execute(
        update(service_keys).where(service_keys.c.org_id == org_id, service_keys.c.revoked.is_(None)).values(revoked=at)
    )
    gone = empty_tenant(connection, org_id)
    connection.execute(delete(organizations).where(organizations.c.org_id == org_id))
    return gone


def enterprise(connection: Connection, enterprise_id: str) -> Enterprise | None:
    """An enterprise, whichever organization it belongs to."""
    row = connection.execute(select(enterprises).where(enterprises.c.enterprise_id == enterprise_id)).first()
    return None if row is None else Enterprise(enterprise_id=row.enterprise_id, org_id=row.org_id, name=row.name)


def list_enterprises(connection: Connection, org_id: str, after: str, limit: int) -> list[Enterprise]:
    found = select(enterprises).where(enterprises.c.org_id == org_id, enterprises.c.enterprise_id > after)
    return [
        Enterprise(enterprise_id=row.enterprise_id, org_id=row.org_id, name=row.name)
        for row in connection.execute(found.order_by(enterprises.c.enterprise_id).limit(limit))
    ]


def put_enterprise(connection: Connection, entry: Enterprise) -> None:
    """Store an enterprise.

    Raises:
        Conflict: another organization has made one of this id since it was looked for.
    """
    mine = enterprises.c.org_id == entry.org_id
    changes = {"org_id": entry.org_id, "name": entry.name}
    if not upsert(connection, enterprises, {"enterprise_id": entry.enterprise_id}, changes, mine):
        raise Conflict


def delete_enterprise(connection: Connection, enterprise_id: str, at: int) -> int:
    """Delete an enterprise; answers how many memberships were limited to it alone, which end with their roles.

    Were such a membership only to lose its enterprise, it would be one of the whole organization. What was done for
    all of the enterprise goes with it; its signals stay, since they count for the organization too.
    """
    here = member_enterprises.alias("here")
    limited = select(here.c.user_id, here.c.org_id).where(
        here.c.enterprise_id == enterprise_id,
        here.c.until.is_(None),
        ~exists().where(
            member_enterprises.c.user_id == here.c.user_id,
            member_enterprises.c.org_id == here.c.org_id,
            member_enterprises.c.enterprise_id != enterprise_id,
            member_enterprises.c.until.is_(None),
        ),
    )
    ended = 0
    for table in (member_roles, members):
        gone = delete(table).where(tuple_(table.c.user_id, table.c.org_id).in_(limited))
        ended = connection.execute(gone).rowcount
    _end_enterprises(connection, at, member_enterprises.c.enterprise_id == enterprise_id)
    connection.execute(delete(enterprises).where(enterprises.c.enterprise_id == enterprise_id))
    # Last, because whoever completes a step for all holds the enterprise's row until it is done.
    connection.execute(delete(shared_completions).where(shared_completions.c.enterprise_id == enterprise_id))
    return ended


def role(connection: Connection, org_id: str, name: str) -> Role | None:
    row = connection.execute(select(roles).where(roles.c.org_id == org_id, roles.c.role == name)).first()
    return None if row is None else Role(org_id=row.org_id, role=row.role, title=row.title, admin=row.admin)


def list_roles(connection: Connection, org_id: str, after: str, limit: int) -> list[Role]:
    found = select(roles).where(roles.c.org_id == org_id, roles.c.role > after).order_by(roles.c.role).limit(limit)
    return [
        Role(org_id=row.org_id, role=row.role, title=row.title, admin=row.admin) for row in connection.execute(found)
    ]


def put_role(connection: Connection, entry: Role) -> None:
    changes = {"title": entry.title, "admin": entry.admin}
    upsert(connection, roles, {"org_id": entry.org_id, "role": entry.role}, changes)


def delete_role(connection: Connection, org_id: str, name: str) -> int:
    """Delete a role; answers how many members held it, who hold it no longer."""
    held = delete(member_roles).where(member_roles.c.org_id == org_id, member_roles.c.role == name)
    gone = connection.execute(held).rowcount
    connection.execute(delete(roles).where(roles.c.org_id == org_id, roles.c.role == name))
    return gone


@cache
def _undefined(dialect: str, table: Table, name: str) -> Executable:
    asked = rows(dialect, "asked", user_id=Text, org_id=Text, name=Text)
    defined = (table.c.org_id == asked.c.org_id) & (table.c[name] == asked.c.name)
    return select(asked).outerjoin(table, defined).where(table.c[name].is_(None))


def undefined_roles(connection: Connection, wanted: Iterable[Holding]) -> set[Holding]:
    """Those of the holdings whose role is none of the organization."""
    statement = _undefined(connection.dialect.name, roles, "role")
    return {Holding(*row) for row in connection.execute(statement, {"asked": as_rows(wanted)})}


def foreign_enterprises(connection: Connection, wanted: Iterable[Holding]) -> set[Holding]:
    """Those of the holdings whose enterprise is none of the organization."""
    statement = _undefined(connection.dialect.name, enterprises, "enterprise_id")
    return {Holding(*row) for row in connection.execute(statement, {"asked": as_rows(wanted)})}


def member(connection: Connection, org_id: str, user_id: str) -> Member | None:
    mine = select(members).where(members.c.org_id == org_id, members.c.user_id == user_id)
    return next(iter(members_in(connection, mine)), None)


@cache
def _members_of(dialect: str) -> Select[tuple[object, ...]]:
    asked = rows(dialect, "asked", user_id=Text, org_id=Text)
    mine = (members.c.user_id == asked.c.user_id) & (members.c.org_id == asked.c.org_id)
    return select(members).join(asked, mine)


def members_of(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Member]:
    """The members among these users of organizations."""
    statement = _members_of(connection.dialect.name)
    found = members_in(connection, statement, {"asked": as_rows(keys)})
    return {(str(member.user_id), str(member.org_id)): member for member in found}


def list_members(
    connection: Connection,
    org_id: str,
    after: str,
    limit: int,
    *,
    role: str | None,
    enterprise_id: str | None,
    prefix: str,
) -> list[Member]:
    found = select(members).where(members.c.org_id == org_id, members.c.user_id > after)
    if prefix:
        # In no language's order does a text stand after one that begins with it. SQLite's LIKE takes no notice of case.
        found = found.where(members.c.user_id >= prefix, func.substr(members.c.user_id, 1, len(prefix)) == prefix)
    if role is not None:
        found = found.where(_has(member_roles, member_roles.c.role == role))
    if enterprise_id is not None:
        current = member_enterprises.c.until.is_(None)
        found = found.where(_has(member_enterprises, member_enterprises.c.enterprise_id == enterprise_id, current))
    return members_in(connection, found.order_by(members.c.user_id).limit(limit))


def _has(table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(table.c.user_id == members.c.user_id, table.c.org_id == members.c.org_id, *conditions)


def members_in(
    connection: Connection, wanted: Select[Any], parameters: Mapping[str, object] | None = None
) -> list[Member]:
    """Members with what they hold, all from one statement and so from one moment, in the order of their keys."""
    found: dict[tuple[str, str], Member] = {}
    for org_id, user_id, since, role, enterprise_id in connection.execute(_with_holdings(wanted), parameters):
        member = found.get((org_id, user_id))
        if member is None:
            member = Member(org_id=org_id, user_id=user_id, roles=[], enterprises=[], since=moment(since))
            found[org_id, user_id] = member
        if role is not None:
            member.roles.append(role)
        if enterprise_id is not None:
            member.enterprises.append(enterprise_id)
    for member in found.values():
        member.roles.sort()
        member.enterprises.sort()
    return list(found.values())


def _with_holdings(wanted: Select[Any]) -> Executable:
    """A row for each member, and one more for each role and for each enterprise."""
    page = wanted.subquery("page")
    member = (page.c.org_id, page.c.user_id, page.c.since)
    role, enterprise = member_roles.c, member_enterprises.c
    return union_all(
        select(*member, null().label("role"), null().label("enterprise_id")),
        select(*member, role.role, null()).where(role.user_id == page.c.user_id, role.org_id == page.c.org_id),
        select(*member, null(), enterprise.enterprise_id).where(
            enterprise.user_id == page.c.user_id, enterprise.org_id == page.c.org_id, enterprise.until.is_(None)
        ),
    ).order_by("org_id", "user_id")


class Claim(NamedTuple):
    """A membership that shall be there, since when, and whether that is also so of one that is there already."""

    user_id: str
    org_id: str
    since: int
    moves_since: bool


@cache
def _claim(dialect: str, *, moves_since: bool) -> Executable:
    new = rows(dialect, "claims", user_id=Text, org_id=Text, since=BigInteger)
    statement = insert_rows(dialect, members, ("user_id", "org_id", "since"), new)
    written = "since" if moves_since else "org_id"
    return statement.on_conflict_do_update(
        index_elements=["user_id", "org_id"], set_={written: statement.excluded[written]}
    )


def claim_members(connection: Connection, claims: Sequence[Claim]) -> None:
    """Make users members, or hold the rows of those who are until the transaction ends, so that two PUTs never mix.

    Rows go in the order of their keys, so that two transactions never wait for each other in a ring.
    """
    for moves_since in (False, True):
        some = [claim[:3] for claim in sorted(claims) if claim.moves_since is moves_since]
        if some:
            connection.execute(_claim(connection.dialect.name, moves_since=moves_since), {"claims": as_rows(some)})


@cache
def _give(dialect: str) -> Executable:
    new = rows(dialect, "given", user_id=Text, org_id=Text, role=Text, since=BigInteger)
    return insert_rows(dialect, member_roles, ("user_id", "org_id", "role", "since"), new)


def give_roles(connection: Connection, given: Mapping[Holding, int]) -> None:
    """Give roles, each since a time."""
    if given:
        new = as_rows((*one, since) for one, since in given.items())
        connection.execute(_give(connection.dialect.name), {"given": new})


def take_roles(connection: Connection, taken: Iterable[Holding]) -> None:
    held = member_roles.c
    for user_id, org_id, name in taken:
        mine = (held.user_id == user_id) & (held.org_id == org_id)
        connection.execute(delete(member_roles).where(mine, held.role == name))


@cache
def _enter(dialect: str) -> Executable:
    key = ("user_id", "org_id", "enterprise_id", "since")
    new = rows(dialect, "entered", user_id=Text, org_id=Text, enterprise_id=Text, since=BigInteger)
    return insert_rows(dialect, member_enterprises, key, new).on_conflict_do_update(
        index_elements=key, set_={"until": None}
    )


def enter_enterprises(connection: Connection, entered: Mapping[Holding, int]) -> None:
    """Limit memberships to enterprises, each since a time."""
    if entered:
        new = as_rows((*one, since) for one, since in entered.items())
        connection.execute(_enter(connection.dialect.name), {"entered": new})


def leave_enterprises(connection: Connection, left: Iterable[Holding], at: int) -> None:
    held = member_enterprises.c
    for user_id, org_id, name in left:
        mine = (held.user_id == user_id) & (held.org_id == org_id)
        _end_enterprises(connection, at, mine & (held.enterprise_id == name))


def delete_member(connection: Connection, org_id: str, user_id: str, at: int) -> None:
    """End a membership: the roles go, the enterprises are remembered as past."""
    _end_enterprises(
        connection, at, (member_enterprises.c.user_id == user_id) & (member_enterprises.c.org_id == org_id)
    )
    for table in (member_roles, members):
        connection.execute(delete(table).where(table.c.user_id == user_id, table.c.org_id == org_id))


def _end_enterprises(connection: Connection, at: int, which: ColumnElement[bool]) -> int:
    # A membership never ends before it began, whatever the clock did in between.
    since = member_enterprises.c.since
    return connection.execute(
        update(member_enterprises)
        .where(which, member_enterprises.c.until.is_(None))
        .values(until=case((since > at, since), else_=at))
    ).rowcount
