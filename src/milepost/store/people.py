"""The people behind external user ids: each has an internal uuid, and can be held while what is theirs changes."""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection, Executable, Text, select

from milepost.store.database import as_rows, insert_rows, rows
from milepost.store.schema import people


@cache
def _add(dialect: str) -> Executable:
    new = rows(dialect, "people", user_id=Text, id=Text)
    return insert_rows(dialect, people, ("user_id", "id"), new).on_conflict_do_nothing()


@cache
def _hold(dialect: str) -> Executable:
    held = rows(dialect, "held", user_id=Text)
    # Sorted rows are locked in their order, so that two transactions never wait for each other in a ring.
    return (
        select(people.c.user_id)
        .join(held, held.c.user_id == people.c.user_id)
        .order_by(people.c.user_id)
        .with_for_update(key_share=True, of=people)
    )


def hold(connection: Connection, user_ids: Sequence[str]) -> None:
    """Make whoever else is about to change what depends on these users' signals wait until this transaction ends.

    SQLite has one writer at a time anyway. PostgreSQL gives a transaction its number when it has the lock, where an
    update would take one before it waits: so the journal has the events of one user in the order they happened.
    """
    if user_ids and connection.dialect.name == "postgresql":
        connection.execute(_hold(connection.dialect.name), {"held": as_rows([one] for one in user_ids)})


def add(connection: Connection, people_ids: dict[str, str]) -> None:
    """Give each external user id its internal uuid, unless it has one already."""
    if people_ids:
        connection.execute(_add(connection.dialect.name), {"people": as_rows(sorted(people_ids.items()))})
