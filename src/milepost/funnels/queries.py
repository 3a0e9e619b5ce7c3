"""The SQL of funnels: sums by day, what each person contributes to them, and how far the journal is folded in."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import BigInteger, Connection, Executable, Table, Text, delete, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import Insert

from milepost.domain.contract import GuidedChecklist, Track
from milepost.domain.funnels import Contribution, DayCounts, Key
from milepost.journal.queries import ORDER, START, Position
from milepost.store.database import as_rows, insert_rows, rows
from milepost.store.schema import funnel_days, funnel_people, journal, journal_readers, properties

READER = "funnels"
Person = tuple[str, str]
"""A user and an organization."""


class _Body(msgspec.Struct, rename="camel"):
    guided_checklist: GuidedChecklist | UnsetType = UNSET


_read_body = msgspec.json.Decoder(_Body).decode
_read_contribution = msgspec.json.Decoder(Contribution).decode
_read_day = msgspec.json.Decoder(DayCounts).decode


def folded_to(connection: Connection, *, hold: bool = False) -> Position | None:
    """How far the journal is folded in; with `hold` it stays so until the transaction ends, and the answer is None
    where another transaction holds it.
    """
    found = select(journal_readers).where(journal_readers.c.name == READER)
    row = connection.execute(found.with_for_update(skip_locked=True) if hold else found).first()
    if row is not None:
        return Position(row.position, row.event_id)
    return None if hold else START


@cache
def _begin(dialect: str) -> Executable:
    new = rows(dialect, "new", name=Text, position=BigInteger, event_id=Text)
    columns = ("name", "position", "event_id")
    return insert_rows(dialect, journal_readers, columns, new).on_conflict_do_nothing()


def begin(connection: Connection) -> None:
    """Have a place for the position, where there is none yet."""
    connection.execute(_begin(connection.dialect.name), {"new": as_rows([(READER, *START)])})


def is_behind(connection: Connection) -> bool:
    """Whether the journal has events that are not folded in, those that are not settled yet too."""
    position = folded_to(connection) or START
    after = tuple_(*ORDER) > tuple_(literal(position.number, BigInteger), literal(position.event_id, Text))
    return connection.execute(select(journal.c.id).where(after).limit(1)).first() is not None


def go_on(connection: Connection, position: Position) -> None:
    mine = journal_readers.c.name == READER
    connection.execute(update(journal_readers).where(mine).values(position=position.number, event_id=position.event_id))


def forget_all(connection: Connection) -> None:
    """Begin anew: the next folds read the whole journal again."""
    for table in (funnel_days, funnel_people, journal_readers):
        connection.execute(delete(table))


def forget(connection: Connection, org_id: str) -> None:
    """Forget what counts under an organization."""
    for table in (funnel_days, funnel_people):
        connection.execute(delete(table).where(table.c.org_id == org_id))


@cache
def _of_people(dialect: str, table: Table, column: str) -> Executable:
    asked = rows(dialect, "asked", user_id=Text, org_id=Text)
    mine = (table.c.user_id == asked.c.user_id) & (table.c.org_id == asked.c.org_id)
    return select(table.c.user_id, table.c.org_id, table.c[column].label("text")).join(asked, mine)


def checklists(connection: Connection, people: Iterable[Person]) -> dict[Person, GuidedChecklist]:
    """The checklists that these people have under the organizations' own records."""
    statement = _of_people(connection.dialect.name, properties, "body")
    found = {}
    for row in connection.execute(statement, {"asked": as_rows(people)}):
        checklist = _read_body(row.text).guided_checklist
        if checklist is not UNSET:
            found[row.user_id, row.org_id] = checklist
    return found


def contributions(connection: Connection, people: Iterable[Person]) -> dict[Person, Contribution]:
    """What these people contribute to the sums as they are."""
    statement = _of_people(connection.dialect.name, funnel_people, "contribution")
    found = connection.execute(statement, {"asked": as_rows(people)})
    return {(row.user_id, row.org_id): _read_contribution(row.text) for row in found}


@cache
def _days(dialect: str) -> Executable:
    asked = rows(dialect, "asked", org_id=Text, day=BigInteger, track=Text)
    kept = funnel_days.c
    mine = (kept.org_id == asked.c.org_id) & (kept.day == asked.c.day) & (kept.track == asked.c.track)
    return select(funnel_days).join(asked, mine)


def days(connection: Connection, org_id: str, keys: Iterable[Key]) -> dict[Key, DayCounts]:
    """The sums of some days of an organization."""
    asked = {"asked": as_rows((org_id, day, track) for track, day in keys)}
    found = connection.execute(_days(connection.dialect.name), asked)
    return {(Track(row.track), row.day): _read_day(row.counts) for row in found}


def period(
    connection: Connection, org_id: str, track: Track | None, first: int, last: int
) -> list[tuple[Track, int, str]]:
    """Each day's sums within a period, still as text: reading it is work that needs no connection."""
    found = select(funnel_days).where(
        funnel_days.c.org_id == org_id, funnel_days.c.day >= first, funnel_days.c.day <= last
    )
    if track is not None:
        found = found.where(funnel_days.c.track == track)
    return [(Track(row.track), row.day, row.counts) for row in connection.execute(found)]


def counted(text: str) -> DayCounts:
    return _read_day(text)


def save_days(connection: Connection, org_id: str, changed: Mapping[Key, DayCounts]) -> None:
    new = [(org_id, str(track), day, _text(counts)) for (track, day), counts in changed.items()]
    columns = {"org_id": Text, "track": Text, "day": BigInteger, "counts": Text}
    connection.execute(_upsert(connection.dialect.name, funnel_days, columns, "counts"), {"new": as_rows(new)})


def save_contributions(connection: Connection, changed: Mapping[Person, Contribution | None]) -> None:
    """Keep what people contribute now; None: nothing any more."""
    for (user_id, org_id), one in changed.items():
        if one is None:
            mine = (funnel_people.c.user_id == user_id) & (funnel_people.c.org_id == org_id)
            connection.execute(delete(funnel_people).where(mine))
    new = [(*person, _text(one)) for person, one in sorted(changed.items()) if one is not None]
    if new:
        columns = {"user_id": Text, "org_id": Text, "contribution": Text}
        statement = _upsert(connection.dialect.name, funnel_people, columns, "contribution")
        connection.execute(statement, {"new": as_rows(new)})


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _upsert(dialect: str, table: Table, columns: Mapping[str, Any], changed: str) -> Insert:
    new = rows(dialect, "new", **columns)
    statement = insert_rows(dialect, table, list(columns), new)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={changed: statement.excluded[changed]}
    )
