"""How an import stores records: as PUT does, with what is kept beside a checklist that the server made."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import UNSET
from sqlalchemy import Connection

from milepost.catalogs.queries import PLATFORM
from milepost.directory.service import Context
from milepost.domain.contract import UserProperties
from milepost.domain.progress import Progress
from milepost.domain.records import Record, changes, microseconds, replaced
from milepost.journal import queries as journal
from milepost.problems import CATALOG_NOT_FOUND
from milepost.properties.queries import HOME, encode, save, to_save
from milepost.store import people
from milepost.transfer import queries
from milepost.transfer.left_out import Bad, Numbered, fault, no_organization
from milepost.transfer.lines import RecordLine
from milepost.transfer.writing import single_line


def store_records(connection: Connection, some: Sequence[Numbered[RecordLine]], context: Context) -> list[Bad]:
    """Store records, all by one statement, and tell the journal of each that changed."""
    keys = [(line.entry.properties.user_id, line.entry.org_id or HOME) for line in some]
    found = queries.stored(connection, keys)
    named = {catalog for line in some if (catalog := _catalog(line.entry))}
    missing = named - queries.known_catalogs(connection, named)
    before = {key: stored.record for key, stored in found.items()}
    after = dict(before)
    bad, events = [], []
    new_people: dict[str, str] = {}
    for (number, entry), key in zip(some, keys, strict=True):
        if key[1] != HOME and not found[key].organization_exists:
            bad.append(no_organization(number))
            continue
        if _catalog(entry) in missing:
            bad.append(_no_catalog(number))
            continue
        progress = None if entry.progress is UNSET else entry.progress.progress()
        record = imported(after[key], entry.properties, context.now, progress)
        if record is after[key]:
            continue
        events.append(_event(context, key, after[key], record))
        after[key] = record
        if not found[key].person_exists:
            new_people.setdefault(key[0], context.new_id())
    saves = [
        to_save(*key, record, before[key])
        for key, record in after.items()
        if record is not None and record is not before[key]
    ]
    save(connection, saves)
    people.add(connection, new_people)
    journal.append(connection, events)
    return bad


def _catalog(entry: RecordLine) -> tuple[str, int] | None:
    """The organization ('' for the platform) and version of the catalog that the line refers to."""
    return None if entry.progress is UNSET else (entry.progress.org_id or PLATFORM, entry.progress.version)


def _no_catalog(number: int) -> Bad:
    reason = "names no version of the catalog; its own line must come before"
    return fault(number, CATALOG_NOT_FOUND.title, "/progress/version", reason, CATALOG_NOT_FOUND)


def _event(context: Context, key: tuple[str, str], before: Record | None, after: Record) -> journal.Event:
    user_id, org_id = key
    return journal.Event(
        id=context.new_id(),
        at=after.version,
        actor=context.caller.name,
        type="properties.imported",
        user_id=user_id,
        org_id=org_id,
        data=changes(before, after),
    )


def imported(previous: Record | None, incoming: UserProperties, now: datetime, progress: Progress | None) -> Record:
    """The record after an import: as after a PUT, but a new one keeps its `modifiedDate`.

    So an export can be imported elsewhere unharmed, and again without effect: what is stored already stays as it is.
    `progress` of None leaves alone what there is, as a PUT does.
    """
    version = microseconds(incoming.modified_date)
    if previous is not None:
        keeps_progress = progress is None or progress == previous.progress
        return (
            previous if keeps_progress and _is_same(previous, incoming) else replaced(previous, incoming, now, progress)
        )
    if not 0 < version <= microseconds(now):
        return replaced(None, incoming, now, progress)
    return Record(incoming, version, progress)


def _is_same(stored_already: Record, incoming: UserProperties) -> bool:
    if stored_already.properties.modified_date != incoming.modified_date:
        return False
    one, other = (single_line(encode(properties).decode()) for properties in (stored_already.properties, incoming))
    return one == other
