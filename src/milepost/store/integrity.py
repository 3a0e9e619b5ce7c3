"""What must hold of the data at all times, and how much of it there is."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Table,
    Text,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    tuple_,
)

from milepost.domain.catalog import Catalog
from milepost.domain.catalog_files import broken
from milepost.domain.contract import UserProperties
from milepost.domain.progress import Evidence, Progress
from milepost.domain.records import microseconds
from milepost.store.database import as_rows, rows
from milepost.store.schema import catalogs, metadata, properties, shared_completions

PAGE = 1000
PAGE_OF_CATALOGS = 20
"""One may be a megabyte."""

decode = msgspec.json.Decoder(UserProperties).decode
decode_progress = msgspec.json.Decoder(Progress).decode
decode_evidence = msgspec.json.Decoder(Evidence | None).decode
decode_catalog = msgspec.json.Decoder(Catalog).decode

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
    "catalogs of an organization that does not exist": """
        SELECT count(*) FROM catalogs c
        WHERE c.org_id <> '' AND NOT EXISTS (SELECT 1 FROM organizations o WHERE o.org_id = c.org_id)""",
    "current catalogs that name a version that does not exist": """
        SELECT count(*) FROM current_catalogs n
        WHERE NOT EXISTS (SELECT 1 FROM catalogs c WHERE c.org_id = n.org_id AND c.version = n.version)""",
    # The enterprise of a signal may be gone: what happened in it counts for the organization all the same.
    "signals of an organization that does not exist": """
        SELECT count(*) FROM signals s
        WHERE NOT EXISTS (SELECT 1 FROM organizations o WHERE o.org_id = s.org_id)""",
    "steps done for all of an organization that does not exist": """
        SELECT count(*) FROM shared_completions s
        WHERE NOT EXISTS (SELECT 1 FROM organizations o WHERE o.org_id = s.org_id)""",
    "steps done for all of an enterprise of another organization or none": """
        SELECT count(*) FROM shared_completions s WHERE s.enterprise_id <> '' AND NOT EXISTS (
            SELECT 1 FROM enterprises e WHERE e.enterprise_id = s.enterprise_id AND e.org_id = s.org_id)""",
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
    for page in _pages(connection, properties, PAGE):
        for what, count in _record_faults(connection, page).items():
            found[what] = found.get(what, 0) + count
    for what, table, size, is_sound in (
        ("steps done for all whose evidence cannot be read", shared_completions, PAGE, _is_evidence),
        ("catalogs that are not sound", catalogs, PAGE_OF_CATALOGS, _is_catalog),
    ):
        found[what] = sum(not is_sound(row) for page in _pages(connection, table, size) for row in page)
    return _damages(connection) + [f"{count} {what}" for what, count in found.items() if count]


def _pages(connection: Connection, table: Table, size: int) -> Iterator[Sequence[Row[Any]]]:
    """The rows of a table in the order of their keys, some at a time."""
    key = list(table.primary_key.columns)
    page = select(table).order_by(*key).limit(size)
    rows_found = connection.execute(page).all()
    while rows_found:
        yield rows_found
        last = tuple_(*(literal(getattr(rows_found[-1], column.name), column.type) for column in key))
        rows_found = connection.execute(page.where(tuple_(*key) > last)).all()


def _record_faults(connection: Connection, page: Sequence[Row[Any]]) -> dict[str, int]:
    progress = {(row.user_id, row.org_id, row.version): _progress(row) for row in page if row.progress is not None}
    named = [(*key, of.org_id, of.version) for key, of in progress.items() if of is not None]
    return {
        "records whose text is not that of their user and version": sum(not _is_in_place(row) for row in page),
        "records whose progress cannot be read": sum(of is None for of in progress.values()),
        "records whose progress names a catalog that does not exist": _without_catalog(connection, named),
    }


def _without_catalog(connection: Connection, named: Sequence[tuple[object, ...]]) -> int:
    """How many of the records are still there as they were read, and have no such catalog."""
    asked = rows(
        connection.dialect.name, "asked",
        user_id=Text, org_id=Text, version=BigInteger, catalog_org_id=Text, catalog_version=BigInteger,
    )  # fmt: skip
    is_same = and_(*(properties.c[name] == asked.c[name] for name in ("user_id", "org_id", "version")))
    is_its_catalog = and_(
        catalogs.c.org_id == asked.c.catalog_org_id,
        catalogs.c.version == asked.c.catalog_version,
        or_(catalogs.c.org_id == asked.c.org_id, catalogs.c.org_id == literal_column("''")),
    )
    without = select(func.count()).select_from(asked).join(properties, is_same).where(~exists().where(is_its_catalog))
    return int(connection.execute(without, {"asked": as_rows(named)}).scalar_one())


def _progress(row: Row[Any]) -> Progress | None:
    try:
        return decode_progress(row.progress)
    except msgspec.DecodeError:
        return None


def _is_evidence(row: Row[Any]) -> bool:
    try:
        decode_evidence(row.evidence)
    except msgspec.DecodeError:
        return False
    return True


def _is_catalog(row: Row[Any]) -> bool:
    try:
        return not any(broken(decode_catalog(row.body)))
    except msgspec.DecodeError:
        return False


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
