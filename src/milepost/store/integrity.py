"""What must hold of the data at all times, and how much of it there is."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Text, func, literal, select, text, tuple_

from milepost.domain.contract import UserProperties
from milepost.domain.records import microseconds
from milepost.store.schema import metadata, properties

PAGE = 1000
decode = msgspec.json.Decoder(UserProperties).decode

INVARIANTS = {
    "records of an organization that does not exist": """
        SELECT count(*) FROM properties p
        WHERE p.org_id <> '' AND NOT EXISTS (SELECT 1 FROM organizations o WHERE o.org_id = p.org_id)""",
    "records whose user has no internal id": """
        SELECT count(*) FROM properties p WHERE NOT EXISTS (SELECT 1 FROM people u WHERE u.user_id = p.user_id)""",
    "members without an internal id": """
        SELECT count(*) FROM members m WHERE NOT EXISTS (SELECT 1 FROM people u WHERE u.user_id = m.user_id)""",
    "members of an organization that does not exist": """
        SELECT count(*) FROM members m
        WHERE NOT EXISTS (SELECT 1 FROM organizations o WHERE o.org_id = m.org_id)""",
    "roles held by somebody who is no member": """
        SELECT count(*) FROM member_roles r
        WHERE NOT EXISTS (SELECT 1 FROM members m WHERE m.user_id = r.user_id AND m.org_id = r.org_id)""",
    "roles held that are not defined": """
        SELECT count(*) FROM member_roles h
        WHERE NOT EXISTS (SELECT 1 FROM roles r WHERE r.org_id = h.org_id AND r.role = h.role)""",
    "current enterprise memberships of somebody who is no member": """
        SELECT count(*) FROM member_enterprises e WHERE e.until IS NULL
        AND NOT EXISTS (SELECT 1 FROM members m WHERE m.user_id = e.user_id AND m.org_id = e.org_id)""",
    "current enterprise memberships in an enterprise of another organization or none": """
        SELECT count(*) FROM member_enterprises m WHERE m.until IS NULL AND NOT EXISTS (
            SELECT 1 FROM enterprises e WHERE e.enterprise_id = m.enterprise_id AND e.org_id = m.org_id)""",
    "records whose last change is not in the journal": """
        SELECT count(*) FROM properties p
        -- Joined to '', the organization's index does not help: SQLite would read all of its events for each record.
        WHERE NOT EXISTS (SELECT 1 FROM journal j WHERE j.user_id = p.user_id AND j.org_id || '' = p.org_id
            AND j.at = p.version)""",
}


INVARIANTS_OF = {
    "postgresql": {
        # Positions are transaction numbers, and a server that a dump is restored to may count from lower ones.
        "events that stand after those to come, so that readers would miss the new ones": """
            SELECT count(*) FROM journal
            WHERE position >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)""",
    },
    "sqlite": {},
}


def faults(connection: Connection) -> list[str]:
    """Every invariant that does not hold, with how often."""
    invariants = INVARIANTS | INVARIANTS_OF[connection.dialect.name]
    found = {what: connection.execute(text(query)).scalar_one() for what, query in invariants.items()}
    found["records whose text is not that of their user and version"] = _misplaced_records(connection)
    return _damages(connection) + [f"{count} {what}" for what, count in found.items() if count]


def _misplaced_records(connection: Connection) -> int:
    key = (properties.c.user_id, properties.c.org_id)
    page = select(properties).order_by(*key).limit(PAGE)
    rows = connection.execute(page).all()
    count = 0
    while rows:
        count += sum(not _is_in_place(row) for row in rows)
        last = tuple_(literal(rows[-1].user_id, Text), literal(rows[-1].org_id, Text))
        rows = connection.execute(page.where(tuple_(*key) > last)).all()
    return count


def _is_in_place(row: Row[Any]) -> bool:
    try:
        stored = decode(row.body)
    except msgspec.DecodeError:
        return False
    return (stored.user_id, microseconds(stored.modified_date)) == (row.user_id, row.version)


def _damages(connection: Connection) -> list[str]:
    """What SQLite finds wrong with its file; PostgreSQL has tools of its own for that."""
    if connection.dialect.name != "sqlite":
        return []
    return [str(line) for line in connection.execute(text("PRAGMA integrity_check")).scalars() if line != "ok"]


def statistics(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }
