"""The SQL of catalogs: numbered versions that never change, one of them current for each organization."""

from collections.abc import Collection, Sequence
from functools import cache

import msgspec
from sqlalchemy import Connection, Executable, Text, func, insert, select

from milepost.store.database import as_rows, rows, upsert
from milepost.store.schema import catalogs, current_catalogs

PLATFORM = ""
"""The organization id of the platform's catalog, which those without one of their own use."""


class Version(msgspec.Struct, frozen=True):
    """A published catalog; `body` is its canonical JSON, `published` in microseconds since 1970."""

    org_id: str
    version: int
    body: str
    published: int
    publisher: str


def current(connection: Connection, org_id: str) -> Version | None:
    """The catalog that counts for an organization: its own current one, else the platform's."""
    found = connection.execute(
        select(catalogs)
        .join(
            current_catalogs,
            (current_catalogs.c.org_id == catalogs.c.org_id) & (current_catalogs.c.version == catalogs.c.version),
        )
        .where(current_catalogs.c.org_id.in_([org_id, PLATFORM]))
        # '' sorts before every organization's id, so the organization's own comes first here.
        .order_by(current_catalogs.c.org_id.desc())
        .limit(1)
    ).first()
    return None if found is None else Version(*found)


@cache
def _current_editions(dialect: str) -> Executable:
    asked = rows(dialect, "asked", org_id=Text)
    return (
        select(catalogs.c.org_id, catalogs.c.version, catalogs.c.published)
        .select_from(asked)
        .join(current_catalogs, current_catalogs.c.org_id == asked.c.org_id)
        .join(
            catalogs,
            (catalogs.c.org_id == current_catalogs.c.org_id) & (catalogs.c.version == current_catalogs.c.version),
        )
    )


def current_editions(connection: Connection, org_ids: Collection[str]) -> dict[str, tuple[str, int, int]]:
    """Of each organization that has a catalog of its own, and under PLATFORM of the platform: whose the current one
    is, its number, and when it was published.
    """
    asked = {"asked": as_rows([one] for one in sorted({*org_ids, PLATFORM}))}
    found = connection.execute(_current_editions(connection.dialect.name), asked)
    return {org_id: (org_id, version, published) for org_id, version, published in found}


def current_number(connection: Connection, org_id: str) -> int | None:
    """Which version is current for exactly this organization (or the platform)."""
    number: int | None = connection.execute(
        select(current_catalogs.c.version).where(current_catalogs.c.org_id == org_id)
    ).scalar_one_or_none()
    return number


def version(connection: Connection, org_id: str, number: int) -> Version | None:
    found = connection.execute(
        select(catalogs).where(catalogs.c.org_id == org_id, catalogs.c.version == number)
    ).first()
    return None if found is None else Version(*found)


def versions(connection: Connection, org_id: str, before: int, limit: int) -> Sequence[Version]:
    """Versions of an organization (or the platform), newest first, below the number `before`."""
    found = select(catalogs).where(catalogs.c.org_id == org_id, catalogs.c.version < before)
    return [Version(*row) for row in connection.execute(found.order_by(catalogs.c.version.desc()).limit(limit))]


def add(connection: Connection, entry: Version) -> None:
    connection.execute(insert(catalogs), msgspec.structs.asdict(entry))


def next_number(connection: Connection, org_id: str) -> int:
    newest = connection.execute(select(func.max(catalogs.c.version)).where(catalogs.c.org_id == org_id)).scalar()
    return (newest or 0) + 1


def make_current(connection: Connection, org_id: str, number: int) -> None:
    upsert(connection, current_catalogs, {"org_id": org_id}, {"version": number})
