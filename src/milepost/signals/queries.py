"""The SQL of signals: stored once each. Times are microseconds since 1970."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Executable, Text, literal_column, or_, select

from milepost.store.database import as_rows, insert_rows, rows
from milepost.store.schema import enterprises, organizations, signals


class Signal(NamedTuple):
    """A fact that was reported; an `enterprise_id` of '' stands for the whole organization."""

    user_id: str
    org_id: str
    source: str
    id: str
    enterprise_id: str
    type: str
    time: int
    received: int


@cache
def _add(dialect: str) -> Executable:
    new = rows(
        dialect, "signals",
        user_id=Text, org_id=Text, source=Text, id=Text, enterprise_id=Text, type=Text, time=BigInteger,
        received=BigInteger,
    )  # fmt: skip
    statement = insert_rows(dialect, signals, Signal._fields, new)
    return statement.on_conflict_do_nothing().returning(
        signals.c.user_id, signals.c.org_id, signals.c.source, signals.c.id
    )


def add(connection: Connection, reported: Sequence[Signal]) -> list[Signal]:
    """Store signals; answers those not known yet: one is known by its source and id, within its organization."""
    if not reported:
        return []
    unique = {one[:4]: one for one in reversed(reported)}
    stored = connection.execute(_add(connection.dialect.name), {"signals": as_rows(sorted(unique.values()))})
    return [unique[tuple(row)] for row in stored]


@cache
def _known_places(dialect: str) -> Executable:
    asked = rows(dialect, "places", org_id=Text, enterprise_id=Text)
    return (
        select(asked.c.org_id, asked.c.enterprise_id)
        .join(organizations, organizations.c.org_id == asked.c.org_id)
        .outerjoin(
            enterprises,
            (enterprises.c.org_id == asked.c.org_id) & (enterprises.c.enterprise_id == asked.c.enterprise_id),
        )
        .where(or_(asked.c.enterprise_id == literal_column("''"), enterprises.c.enterprise_id.is_not(None)))
        .with_for_update(read=True, key_share=True, of=organizations)
    )


def known_places(connection: Connection, places: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the (organization, enterprise or '') that exist, the enterprise within the organization.

    None of the organizations is deleted before the transaction ends.
    """
    found = connection.execute(_known_places(connection.dialect.name), {"places": as_rows(sorted(places))})
    return {(row.org_id, row.enterprise_id) for row in found}
