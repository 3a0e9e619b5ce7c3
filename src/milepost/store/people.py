"""The people behind external user ids: each has an internal uuid, given once."""

from functools import cache

from sqlalchemy import Connection, Executable, Text

from milepost.store.database import as_rows, insert_rows, rows
from milepost.store.schema import people


@cache
def _add(dialect: str) -> Executable:
    new = rows(dialect, "people", user_id=Text, id=Text)
    return insert_rows(dialect, people, ("user_id", "id"), new).on_conflict_do_nothing()


def add(connection: Connection, people_ids: dict[str, str]) -> None:
    """Give each external user id its internal uuid, unless it has one already."""
    if people_ids:
        connection.execute(_add(connection.dialect.name), {"people": as_rows(sorted(people_ids.items()))})
