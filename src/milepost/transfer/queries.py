"""The SQL of an export, page by page after a key, and of what only an import writes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
from msgspec import UNSET
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
from milepost.domain.progress import Progress
from milepost.domain.records import Record, moment
from milepost.properties.queries import decode, decode_progress
from milepost.store.database import as_rows, insert_rows, rows
from milepost.store.schema import (
    catalogs,
    current_catalogs,
    enterprises,
    member_enterprises,
    members,
    organizations,
    people,
    properties,
    roles,
    shared_completions,
    signals,
)
from milepost.transfer.lines import (
    EnterpriseLine,
    Key,
    MemberLine,
    OrganizationLine,
    PastLine,
    PersonLine,
    RoleLine,
    SignalLine,
)
from milepost.transfer.writing import catalog_written, record_written, shared_written, written


class Page(Protocol):
    """The lines that follow a key (None: from the first), at most `limit` of them."""

    def __call__(self, connection: Connection, after: Key | None, limit: int) -> list[tuple[Key, bytes]]: ...


MAX_CATALOGS = 20
"""How many catalogs a page has at most: one may be a megabyte."""

published = (
    select(catalogs, (current_catalogs.c.version == catalogs.c.version).label("current"))
    .outerjoin(current_catalogs, current_catalogs.c.org_id == catalogs.c.org_id)
    .subquery("published")
)
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


def _catalog(row: Any) -> bytes:
    said = {
        "version": row.version,
        "current": bool(row.current),
        "publishedAt": moment(row.published),
        "publisher": row.publisher,
    }
    return catalog_written(said, row.org_id, row.body)


_pages_of_catalogs = _lines(published, ["org_id", "version"], _catalog)


def _catalogs(connection: Connection, after: Key | None, limit: int) -> list[tuple[Key, bytes]]:
    return _pages_of_catalogs(connection, after, min(limit, MAX_CATALOGS))


def _signal(row: Any) -> bytes:
    return written(
        SignalLine(
            org_id=row.org_id,
            enterprise_id=row.enterprise_id or UNSET,
            subject=row.user_id or UNSET,
            source=row.source,
            id=row.id,
            type=row.type,
            time=moment(row.time),
            received=moment(row.received),
        )
    )


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
    "catalog": _catalogs,
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
    "signal": _lines(signals, ["user_id", "org_id", "source", "id"], _signal),
    "shared": _lines(
        shared_completions,
        ["org_id", "enterprise_id", "step_id"],
        lambda row: shared_written(row.org_id, row.enterprise_id, row.step_id, row.evidence),
    ),
    "record": _lines(properties, ["user_id", "org_id"], lambda row: record_written(row.org_id, row.body, row.progress)),
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


@cache
def _hold_organizations(dialect: str) -> Executable:
    asked = rows(dialect, "asked", org_id=Text)
    found = select(organizations.c.org_id).join(asked, asked.c.org_id == organizations.c.org_id)
    return found.order_by(organizations.c.org_id).with_for_update(read=True, key_share=True, of=organizations)


def hold_organizations(connection: Connection, org_ids: Collection[str]) -> set[str]:
    """Those of the organizations that exist; none of them is deleted before the transaction ends."""
    if not org_ids:
        return set()
    asked = {"asked": as_rows([org_id] for org_id in sorted(org_ids))}
    return set(connection.execute(_hold_organizations(connection.dialect.name), asked).scalars())


@cache
def _hold_enterprises(dialect: str) -> Executable:
    asked = rows(dialect, "asked", enterprise_id=Text)
    found = select(enterprises.c.org_id, enterprises.c.enterprise_id).join(
        asked, asked.c.enterprise_id == enterprises.c.enterprise_id
    )
    return found.order_by(enterprises.c.enterprise_id).with_for_update(read=True, key_share=True, of=enterprises)


def hold_enterprises(connection: Connection, enterprise_ids: Collection[str]) -> set[tuple[str, str]]:
    """The (organization, enterprise) of those that exist; none of them is deleted before the transaction ends."""
    if not enterprise_ids:
        return set()
    asked = {"asked": as_rows([enterprise_id] for enterprise_id in sorted(enterprise_ids))}
    found = connection.execute(_hold_enterprises(connection.dialect.name), asked)
    return {(row.org_id, row.enterprise_id) for row in found}


class Shared(NamedTuple):
    """A step that was done for all of an enterprise ('' for the whole organization); `evidence` is JSON, and null where
    that was taken back.
    """

    org_id: str
    enterprise_id: str
    step_id: str
    evidence: str


@cache
def _share(dialect: str) -> Executable:
    new = rows(dialect, "shared", org_id=Text, enterprise_id=Text, step_id=Text, evidence=Text)
    statement = insert_rows(dialect, shared_completions, Shared._fields, new).on_conflict_do_nothing()
    return statement.returning(*(shared_completions.c[name] for name in Shared._fields))


def share(connection: Connection, done: Iterable[Shared]) -> list[Shared]:
    """Store what was done for all; answers what was not known."""
    first = {one[:3]: one for one in reversed(list(done))}
    found = connection.execute(_share(connection.dialect.name), {"shared": as_rows(sorted(first.values()))})
    return sorted(Shared(*row) for row in found)


@cache
def _known_catalogs(dialect: str) -> Executable:
    asked = rows(dialect, "asked", org_id=Text, version=BigInteger)
    same = (catalogs.c.org_id == asked.c.org_id) & (catalogs.c.version == asked.c.version)
    return select(catalogs.c.org_id, catalogs.c.version).join(asked, same)


def known_catalogs(connection: Connection, keys: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of the catalogs' organizations ('' for the platform) and versions that exist."""
    if not keys:
        return set()
    found = connection.execute(_known_catalogs(connection.dialect.name), {"asked": as_rows(sorted(keys))})
    return {(row.org_id, row.version) for row in found}


class Stored(NamedTuple):
    """What there is of a record before its import. Steps that others did for all are not laid over it."""

    record: Record | None
    organization_exists: bool
    person_exists: bool


@cache
def _stored(dialect: str) -> Executable:
    asked = rows(dialect, "asked", user_id=Text, org_id=Text)
    mine = (properties.c.user_id == asked.c.user_id) & (properties.c.org_id == asked.c.org_id)
    return (
        select(
            asked,
            properties.c.body,
            properties.c.version,
            properties.c.progress,
            organizations.c.org_id.label("organization"),
            people.c.id.label("person"),
        )
        .select_from(asked)
        .outerjoin(properties, mine)
        .outerjoin(organizations, organizations.c.org_id == asked.c.org_id)
        .outerjoin(people, people.c.user_id == asked.c.user_id)
    )


def stored(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
    """What there is of each user's record under an organization, from one statement and so from one moment."""
    found = connection.execute(_stored(connection.dialect.name), {"asked": as_rows(sorted(set(keys)))})
    return {
        (row.user_id, row.org_id): Stored(
            None if row.body is None else Record(decode(row.body), row.version, _progress(row.progress)),
            row.organization is not None,
            row.person is not None,
        )
        for row in found
    }


def _progress(text: str | None) -> Progress | None:
    return None if text is None else decode_progress(text)
