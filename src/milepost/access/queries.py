"""The SQL of access: who administers what, which organizations a caller sees, service keys and sessions (by digest)."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Row,
    Text,
    delete,
    exists,
    insert,
    literal_column,
    select,
    true,
    union_all,
    update,
)

from milepost.access.policy import AdministeredBy, Caller, Everything, Only, Target, visible_organizations
from milepost.store.database import as_rows, rows
from milepost.store.schema import console_sessions, member_roles, members, organizations, roles, service_keys

administrations = (
    select(member_roles.c.user_id, member_roles.c.org_id)
    .join(roles, (roles.c.org_id == member_roles.c.org_id) & (roles.c.role == member_roles.c.role))
    .where(roles.c.admin == true())
    .subquery("administrations")
)
"""Which user administers which organization: some role held there is an admin's."""


def administers(connection: Connection, user_id: str | None, org_id: str) -> bool:
    """Whether the user administers the organization now."""
    if user_id is None:
        return False
    held = select(administrations.c.org_id).where(
        administrations.c.user_id == user_id, administrations.c.org_id == org_id
    )
    return connection.execute(held.limit(1)).first() is not None


class Standing(NamedTuple):
    """Who asks about which user of an organization."""

    caller_id: str
    user_id: str
    org_id: str


@cache
def _standings(dialect: str) -> Executable:
    asked = rows(dialect, "asked", n=BigInteger, caller_id=Text, user_id=Text, org_id=Text)
    return union_all(
        select(asked.c.n, literal_column("'admin'"))
        .join(administrations, administrations.c.user_id == asked.c.caller_id)
        .where(administrations.c.org_id == asked.c.org_id),
        select(asked.c.n, literal_column("'member'"))
        .join(members, members.c.user_id == asked.c.user_id)
        .where(members.c.org_id == asked.c.org_id),
    )


def standings(connection: Connection, asked: Sequence[Standing]) -> list[Target]:
    """For each, the target of a question to the policy with the two facts that its answer depends on."""
    parameters = {"asked": as_rows((n, *one) for n, one in enumerate(asked))}
    facts = {(n, fact) for n, fact in connection.execute(_standings(connection.dialect.name), parameters)}
    return [
        Target(one.user_id, one.org_id or None, (n, "admin") in facts, (n, "member") in facts)
        for n, one in enumerate(asked)
    ]


def organization_exists(connection: Connection, org_id: str) -> bool:
    found = select(organizations.c.org_id).where(organizations.c.org_id == org_id)
    return connection.execute(found).first() is not None


def visible_to(caller: Caller) -> ColumnElement[bool]:
    """The condition on `organizations` that leaves those the caller may see in a list."""
    match visible_organizations(caller):
        case Everything():
            return true()
        case Only(org_id):
            return organizations.c.org_id == org_id
        case AdministeredBy(user_id):
            return exists().where(
                administrations.c.org_id == organizations.c.org_id, administrations.c.user_id == user_id
            )


class StoredKey(msgspec.Struct, frozen=True):
    """A service key as it is stored; times in microseconds since 1970."""

    key_id: str
    digest: str
    label: str
    scopes: list[str]
    org_id: str | None
    created: int
    revoked: int | None


@cache
def _by_id(dialect: str) -> Executable:
    wanted = rows(dialect, "ids", key_id=Text)
    return select(service_keys).join(wanted, wanted.c.key_id == service_keys.c.key_id)


def _stored(row: Row[tuple[object, ...]]) -> StoredKey:
    return StoredKey(
        row.key_id,
        row.digest,
        row.label,
        msgspec.json.decode(row.scopes),
        row.org_id,
        row.created,
        row.revoked,
    )


def look_up(connection: Connection, ids: Sequence[str]) -> list[StoredKey | None]:
    """The key of each id, None where there is none."""
    found = connection.execute(_by_id(connection.dialect.name), {"ids": as_rows([one] for one in set(ids))})
    by_id = {row.key_id: _stored(row) for row in found}
    return [by_id.get(one) for one in ids]


def all_keys(connection: Connection) -> list[StoredKey]:
    """Every key, oldest first."""
    return [_stored(row) for row in connection.execute(select(service_keys).order_by(service_keys.c.created))]


def add(connection: Connection, key: StoredKey) -> None:
    connection.execute(
        insert(service_keys),
        {**msgspec.structs.asdict(key), "scopes": msgspec.json.encode(key.scopes).decode()},
    )


def revoke(connection: Connection, key_id: str, at: int) -> bool:
    """Revoke a key; False where there is none that still holds."""
    revoked = connection.execute(
        update(service_keys).where(service_keys.c.key_id == key_id, service_keys.c.revoked.is_(None)).values(revoked=at)
    )
    return revoked.rowcount == 1


class StoredSession(msgspec.Struct, frozen=True):
    """A sign-in to the console, or a link to one, and whether its user administers an organization now."""

    digest: str
    kind: str
    user_id: str
    platform_admin: bool
    expires: int
    administers: bool


@cache
def _sessions(dialect: str) -> Executable:
    wanted = rows(dialect, "digests", digest=Text)
    administers = exists().where(administrations.c.user_id == console_sessions.c.user_id).label("administers")
    return select(console_sessions, administers).join(wanted, wanted.c.digest == console_sessions.c.digest)


def _session(row: Row[tuple[object, ...]], *, administers: bool) -> StoredSession:
    return StoredSession(row.digest, row.kind, row.user_id, row.platform_admin, row.expires, administers)


def look_up_sessions(connection: Connection, digests: Sequence[str]) -> list[StoredSession | None]:
    """The session of each digest, None where there is none."""
    asked = {"digests": as_rows([one] for one in set(digests))}
    found = connection.execute(_sessions(connection.dialect.name), asked)
    by_digest = {row.digest: _session(row, administers=bool(row.administers)) for row in found}
    return [by_digest.get(one) for one in digests]


def add_session(connection: Connection, session: StoredSession) -> None:
    row = {name: value for name, value in msgspec.structs.asdict(session).items() if name != "administers"}
    connection.execute(insert(console_sessions), row)


def take_session(connection: Connection, digest: str, kind: str, now: int) -> StoredSession | None:
    """Delete a session or link that still holds; None where there is none. Of two who try, one gets it."""
    mine = (console_sessions.c.digest == digest) & (console_sessions.c.kind == kind)
    holds = console_sessions.c.expires > now
    row = connection.execute(delete(console_sessions).where(mine, holds).returning(*console_sessions.c)).first()
    return None if row is None else _session(row, administers=False)


def forget_sessions(connection: Connection, expired_at: int) -> None:
    """Delete those that hold no longer."""
    connection.execute(delete(console_sessions).where(console_sessions.c.expires <= expired_at))


def administered(connection: Connection, caller: Caller, limit: int) -> list[tuple[str, str]]:
    """Ids and names of the organizations that the caller may see in a list."""
    found = select(organizations.c.org_id, organizations.c.name).where(visible_to(caller))
    return [(row.org_id, row.name) for row in connection.execute(found.order_by(organizations.c.org_id).limit(limit))]
