"""The SQL of an export, page by page after a key, and of what only an import writes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Executable,
    FromClause,
    Select,
    Text,
    literal,
    select,
    tuple_,
)

from milepost.directory.queries import members_in
from milepost.domain.records import moment
from milepost.store.database import as_rows, insert_rows, rows
from milepost.store.schema import (
    enterprises,
    member_enterprises,
    members,
    organizations,
    people,
    properties,
    roles,
)
from milepost.transfer.lines import (
    EnterpriseLine,
    Key,
    MemberLine,
    OrganizationLine,
    PastLine,
    PersonLine,
    RoleLine,
    record_written,
    written,
)


class Page(Protocol):
    """The lines that follow a key (None: from the first), at most `limit` of them."""

    def __call__(self, connection: Connection, after: Key | None, limit: int) -> list[tuple[Key, bytes]]: ...


past = select(member_enterprises).where(member_enterprises.c.until.is_not(None)).subquery("past")


def _after(wanted: Select[Any], key: Sequence[Column[Any]], after: Key | None, limit: int) -> Select[Any]:
    if after is not None:
        bound = [literal(value, column.type) for value, column in zip(after, key, strict=True)]
        wanted = wanted.where(tuple_(*key) > tuple_(*bound))
    return wanted.order_by(*key).limit(limit)


def _lines(source: FromClause, key: Sequence[str], line: Callable[[Any], bytes]) -> Page:
    """Pages of a table, a line for each row."""
    columns: list[Any] = [source.c[name] for name in key]

    def page(connection: Connection, after: Key | None, limit: int) -> list[tuple[Key, bytes]]:
        found = connection.execute(_after(select(source), columns, after, limit))
        return [(tuple(getattr(row, name) for name in key), line(row)) for row in found]

    return page


def _members(connection: Connection, after: Key | None, limit: int) -> list[tuple[Key, bytes]]:
    page = _after(select(members), [members.c.org_id, members.c.user_id], after, limit)
    found = [MemberLine(**msgspec.structs.asdict(member)) for member in members_in(connection, page)]
    return [(line.key(), written(line)) for line in found]


PAGES: Mapping[str, Page] = {
    "organization": _lines(
        organizations, ["org_id"], lambda row: written(OrganizationLine(org_id=row.org_id, name=row.name))
    ),
    "enterprise": _lines(
        enterprises,
        ["enterprise_id"],
        lambda row: written(EnterpriseLine(org_id=row.org_id, enterprise_id=row.enterprise_id, name=row.name)),
    ),
    "role": _lines(
        roles,
        ["org_id", "role"],
        lambda row: written(RoleLine(org_id=row.org_id, role=row.role, title=row.title, admin=bool(row.admin))),
    ),
    "person": _lines(people, ["user_id"], lambda row: written(PersonLine(user_id=row.user_id, id=UUID(row.id)))),
    "member": _members,
    "past": _lines(
        past,
        ["user_id", "org_id", "enterprise_id", "since"],
        lambda row: written(
            PastLine(
                org_id=row.org_id,
                user_id=row.user_id,
                enterprise_id=row.enterprise_id,
                since=moment(row.since),
                until=moment(row.until),
            )
        ),
    ),
    "record": _lines(properties, ["user_id", "org_id"], lambda row: record_written(row.org_id, row.body)),
}
"""How the lines of each kind are read, in the order of an export."""


def is_empty(connection: Connection) -> bool:
    """Whether nothing that an export holds is stored."""
    return not any(page(connection, None, 1) for page in PAGES.values())


@cache
def _person_ids(dialect: str) -> Executable:
    asked = rows(dialect, "asked", user_id=Text)
    return select(people.c.user_id, people.c.id).join(asked, asked.c.user_id == people.c.user_id)


def person_ids(connection: Connection, user_ids: Sequence[str]) -> dict[str, str]:
    """The internal uuids of those users that have one."""
    found = connection.execute(
        _person_ids(connection.dialect.name), {"asked": as_rows([user_id] for user_id in user_ids)}
    )
    return {row.user_id: row.id for row in found}


class Past(NamedTuple):
    """A membership of an enterprise that has ended; times in microseconds since 1970."""

    user_id: str
    org_id: str
    enterprise_id: str
    since: int
    until: int


@cache
def _remember(dialect: str) -> Executable:
    new = rows(dialect, "past", user_id=Text, org_id=Text, enterprise_id=Text, since=BigInteger, until=BigInteger)
    statement = insert_rows(dialect, member_enterprises, Past._fields, new).on_conflict_do_nothing()
    return statement.returning(*(member_enterprises.c[name] for name in Past._fields))


def remember(connection: Connection, ended: Iterable[Past]) -> list[Past]:
    """Add memberships that have ended; answers those that were not known."""
    found = connection.execute(_remember(connection.dialect.name), {"past": as_rows(sorted(set(ended)))})
    return [Past(*row) for row in found]
