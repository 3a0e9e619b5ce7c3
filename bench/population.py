"""Millions of users, made by the database itself: the rows that an import of as many documents would leave.

The statements are those that both databases understand. A user is a number; everything else follows from it, as in
`documents`. Beside the ordinary ones there are an organization with very many members, one with a single member, and
a user with very many memberships.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy import make_url

from bench.documents import ADMIN, CREATED, FIRST, FIRST_ORG, ORG_SIZE, ROLES, document, user_id
from bench.installs import say
from bench.stage import execute
from milepost.properties import queries

CHUNK = 200_000
"""Users that one statement makes."""

LARGE, SINGLE, MANY = "org-large", "org-single", "org-many-"
LARGE_SIZE = 200_000
LARGE_READ = 2_000
"""Members of the large organization who have a record there."""
MANY_SIZE = 300
BUSY = 1
"""The number of the user who has very many memberships."""
ALONE = 2
"""The number of the user who is alone in an organization."""

AT = int(datetime.fromisoformat(CREATED).timestamp() * 1_000_000)
TABLES = ("organizations", "roles", "people", "members", "member_roles", "properties", "journal")


def fill(database: str, users: int) -> None:
    """Fill an empty database that has its schema.

    What is made here need not be durable while it is made; the caller sees to it that it is, afterwards.
    """
    run = _on_sqlite if database.startswith("sqlite") else _on_postgresql
    run(database, _directory(users, sqlite=run is _on_sqlite))
    for first in range(0, users, CHUNK):
        last = min(first + CHUNK, users) - 1
        run(database, _users(_series(first, last, sqlite=run is _on_sqlite)))
        if last + 1 < users:
            say(f"  {last + 1:,} of {users:,} users")
    run(database, _special(users, sqlite=run is _on_sqlite))
    if run is _on_sqlite:
        run(database, ["ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"])
    else:
        run(database, [*(f"VACUUM (ANALYZE) {table}" for table in TABLES), "CHECKPOINT"])


def _on_postgresql(database: str, statements: Iterable[str]) -> None:
    execute(database, "SET synchronous_commit = off", *statements)


def _on_sqlite(database: str, statements: Iterable[str]) -> None:
    connection = sqlite3.connect(str(make_url(database).database), isolation_level=None)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "cache_size = -262144"):
            connection.execute(f"PRAGMA {pragma}")
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def _series(first: int, last: int, *, sqlite: bool) -> str:
    """A table `s` of the numbers from first to last, in its column `n`."""
    if not sqlite:
        return f"generate_series({first}, {last}) AS s(n)"
    return (
        f"(WITH RECURSIVE t(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM t WHERE n < {last}) SELECT n FROM t) AS s"
    )


def _directory(users: int, *, sqlite: bool) -> Iterator[str]:
    organizations = _series(0, (users - 1) // ORG_SIZE, sqlite=sqlite)
    many = _series(0, MANY_SIZE - 1, sqlite=sqlite)
    yield (
        "INSERT INTO organizations (org_id, name) "
        f"SELECT 'org-' || ({FIRST_ORG} + n), 'Organization' FROM {organizations}"
    )
    yield f"INSERT INTO organizations (org_id, name) VALUES ('{LARGE}', 'Large'), ('{SINGLE}', 'Single')"
    yield f"INSERT INTO organizations (org_id, name) SELECT '{MANY}' || n, 'One of many' FROM {many}"
    for role in (*ROLES, ADMIN):
        admin = "TRUE" if role == ADMIN else "FALSE"
        yield (
            "INSERT INTO roles (org_id, role, title, admin) "
            f"SELECT org_id, '{role}', '{role}', {admin} FROM organizations"
        )


def _users(series: str) -> Iterator[str]:
    """Users with a membership, two roles, a record and its event each."""
    user, org = f"'user-' || ({FIRST} + n)", f"'org-' || ({FIRST_ORG} + n / {ORG_SIZE})"
    yield f"INSERT INTO people (user_id, id) SELECT {user}, {_uuid('8000')} FROM {series}"
    yield f"INSERT INTO members (user_id, org_id, since) SELECT {user}, {org}, {AT} FROM {series}"
    for role in (_first_role(), _second_role()):
        yield (
            f"INSERT INTO member_roles (user_id, org_id, role, since) SELECT {user}, {org}, {role}, {AT} FROM {series}"
        )
    yield from _records(user, org, series, _uuid("8001"))


def _records(user: str, org: str, source: str, event_id: str) -> Iterator[str]:
    """Records as the service would have written them, and the events that it would have noted."""
    text = queries.encode(queries.decode(queries.encode(document(0)))).decode().replace("'", "''")
    yield (
        "INSERT INTO properties (user_id, org_id, body, version, replaces) "
        f"SELECT {user}, {org}, replace('{text}', '{user_id(0)}', {user}), {AT}, 0 FROM {source}"
    )
    yield (
        "INSERT INTO journal (user_id, id, position, at, org_id, actor, type, data) "
        f"SELECT {user}, {event_id}, 1, {AT}, {org}, 'user:' || {user}, 'properties.put', "
        f'\'{{"version":{AT},"members":[]}}\' FROM {source}'
    )


def _special(users: int, *, sqlite: bool) -> Iterator[str]:
    """The large organization, the single one, and the user with many memberships; each with records."""
    large = _series(0, min(users, LARGE_SIZE) - 1, sqlite=sqlite)
    many = _series(0, MANY_SIZE - 1, sqlite=sqlite)
    busy, alone = f"'{user_id(BUSY)}'", f"'{user_id(ALONE)}'"
    user = f"'user-' || ({FIRST} + n)"
    places = (
        (user, f"'{LARGE}'", large),
        (alone, f"'{SINGLE}'", _series(0, 0, sqlite=sqlite)),
        (busy, f"'{MANY}' || n", many),
    )
    for who, org, source in places:
        yield f"INSERT INTO members (user_id, org_id, since) SELECT {who}, {org}, {AT} FROM {source}"
        yield (
            "INSERT INTO member_roles (user_id, org_id, role, since) "
            f"SELECT {who}, {org}, '{ROLES[0]}', {AT} FROM {source}"
        )
    yield from _records(alone, f"'{SINGLE}'", _series(0, 0, sqlite=sqlite), _uuid("8002"))
    yield from _records(busy, f"'{MANY}' || n", many, _uuid("8003"))
    read = _series(0, min(users, LARGE_SIZE, LARGE_READ) - 1, sqlite=sqlite)
    yield from _records(user, f"'{LARGE}'", read, _uuid("8004"))


def _uuid(kind: str) -> str:
    """A uuid of its own for each number; the digits of a number are hexadecimal digits too."""
    return f"'01940000-0000-7000-{kind}-0000' || ({FIRST} + n)"


def _first_role() -> str:
    return _chosen(f"n % {len(ROLES)}")


def _second_role() -> str:
    count = len(ROLES)
    return _chosen(f"(n % {count} + 1 + n / {count} % {count - 1}) % {count}")


def _chosen(place: str) -> str:
    whens = " ".join(f"WHEN {number} THEN '{role}'" for number, role in enumerate(ROLES))
    return f"CASE {place} {whens} END"
