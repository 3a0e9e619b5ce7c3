"""The journal's SQL: events are appended in the transaction of the change they tell of."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Row,
    Text,
    bindparam,
    insert,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from milepost.store.database import as_rows, rows
from milepost.store.schema import given_below, journal, next_position, seen_now, settled_below


class Event(msgspec.Struct, frozen=True):
    """Something that changed: who did what to whom, when and under which organization.

    `at` is in microseconds since 1970; `user_id` and `org_id` are '' where the event concerns none;
    `data` is a JSON object that says what changed.
    """

    id: str
    at: int
    actor: str
    type: str
    user_id: str = ""
    org_id: str = ""
    data: dict[str, object] = {}


class Position(NamedTuple):
    """Where an event stands in the journal. Those of one transaction share the number."""

    number: int
    event_id: str


START = Position(0, "")
ORDER = (journal.c.position, journal.c.id)


class Mark(NamedTuple):
    """What a reader has seen who does not wait for late transactions: all up to a position, but for what is written by
    those that were still `running` below it. Of one of these `within` says how much has been seen.
    """

    number: int
    event_id: str = ""
    running: tuple[int, ...] = ()
    within: Position | None = None

    def covers(self, position: Position) -> bool:
        """Whether an event at this position has been seen."""
        if position.number in self.running:
            return self.within is not None and self.within.number == position.number and position <= self.within
        return position <= (self.number, self.event_id)


class News(NamedTuple):
    """What has become visible since a mark, in the journal's order, and the mark to go on from.

    `cut`: there was more than the limit, and the rest is left out for good.
    """

    events: list[tuple[Position, Event]]
    mark: Mark
    cut: bool


@cache
def appending(dialect: str) -> Insert:
    """The statement that writes events, those of its parameter `events`: see `as_events`."""
    new = rows(dialect, "events", user_id=Text, id=Text, at=BigInteger, org_id=Text, actor=Text, type=Text, data=Text)
    return insert(journal).from_select([*new.c.keys(), "position"], select(*new.c, next_position()))


def append(connection: Connection, events: Sequence[Event]) -> None:
    """Write events, in their order."""
    if events:
        connection.execute(appending(connection.dialect.name), {"events": as_events(events)})


def as_events(events: Sequence[Event]) -> str:
    """Events for the parameter of `appending`."""
    return as_rows(_row(event) for event in events)


def _row(event: Event) -> tuple[object, ...]:
    data = msgspec.json.encode(event.data).decode()
    return (event.user_id, event.id, event.at, event.org_id, event.actor, event.type, data)


def of_user(connection: Connection, user_id: str) -> list[Event]:
    """The events about a user, oldest first."""
    found = connection.execute(select(journal).where(journal.c.user_id == user_id).order_by(*ORDER))
    return [_event(row) for row in found]


def history(
    connection: Connection, user_id: str, *, org_id: str | None, type_: str | None, before: str | None, limit: int
) -> list[Event]:
    """The events about a user, newest first: those under an organization (None: under any, or none), and of a type,
    that are older than the one of the id `before`. An id begins with its time.
    """
    found = select(journal).where(journal.c.user_id == user_id)
    if org_id is not None:
        found = found.where(journal.c.org_id == org_id)
    if type_ is not None:
        found = found.where(journal.c.type == type_)
    if before is not None:
        found = found.where(journal.c.id < before)
    return [_event(row) for row in connection.execute(found.order_by(journal.c.id.desc()).limit(limit))]


def read_after(connection: Connection, position: Position, limit: int) -> list[tuple[Position, Event]]:
    """The events that follow a position, in their order, each with its own position, at most `limit` of them.

    A reader that goes on from the last position it was given sees every event, and each once.
    """
    after = tuple_(*ORDER) > tuple_(literal(position.number, BigInteger), literal(position.event_id, Text))
    found = select(journal).where(after, journal.c.position < settled_below()).order_by(*ORDER).limit(limit)
    return [(Position(row.position, row.id), _event(row)) for row in connection.execute(found)]


def visible_now(connection: Connection) -> Mark:
    """The mark of all that is visible now."""
    return _mark(connection.execute(select(seen_now())).scalar_one())


def _mark(snapshot: str) -> Mark:
    _, below, running = snapshot.split(":")
    return Mark(int(below), "", tuple(int(number) for number in running.split(",") if number))


class Concern(NamedTuple):
    """Whose events are read: those about a user's record in an organization, and about all of the organization."""

    user_id: str
    org_id: str


@cache
def _since(dialect: str, *, concerned: bool) -> Executable:
    running = rows(dialect, "running", number=BigInteger)
    number = bindparam("number", type_=BigInteger)
    # The first is implied by the second, and finds its place in the index of an organization's events.
    later = (journal.c.position >= number) & (tuple_(*ORDER) > tuple_(number, bindparam("event_id", type_=Text)))
    recent = journal.c.position.between(bindparam("oldest", type_=BigInteger), number)
    which = _concerned() if concerned else true()
    visible = union_all(
        select(journal).where(later, journal.c.position < given_below(), which),
        # Few transactions run at a time, and not for long: each is looked up.
        select(journal).join(running, running.c.number == journal.c.position).where(recent, which),
    ).subquery()
    page = select(visible).order_by(visible.c.position, visible.c.id).limit(bindparam("limit")).subquery("page")
    moment = select(seen_now().label("snapshot")).subquery("moment")
    # In one statement, so that the mark is of the moment that the events are of; without events there is the mark.
    return select(moment.c.snapshot, page).select_from(moment.outerjoin(page, true())).order_by("position", "id")


def _concerned() -> ColumnElement[bool]:
    user = bindparam("user_id", type_=Text)
    about_all = or_(journal.c.user_id == "", journal.c.data.like('%"shared":%'))
    return journal.c.org_id.in_([bindparam("org_id", type_=Text), ""]) & or_(journal.c.user_id == user, about_all)


def read_since(connection: Connection, mark: Mark, limit: int, concern: Concern | None = None) -> News:
    """What has become visible since a mark, at most `limit` events of it.

    Unlike `read_after`, a reader does not wait for transactions that run for long: what the others write is read at
    once, and what a late one writes when it is there. Nothing is left out, and nothing is read twice.
    """
    asked = {"number": mark.number, "event_id": mark.event_id, "limit": limit + 1}
    asked |= {"oldest": min(mark.running, default=mark.number)}
    asked |= {"running": as_rows([number] for number in mark.running), **(concern._asdict() if concern else {})}
    statement = _since(connection.dialect.name, concerned=concern is not None)
    found = connection.execute(statement, asked).all()
    visible = [(Position(row.position, row.id), row) for row in found if row.id is not None]
    events = [(position, _event(row)) for position, row in visible if not mark.covers(position)]
    return News(events[:limit], _mark(found[0].snapshot), cut=len(visible) > limit)


def _event(row: Row[Any]) -> Event:
    data = msgspec.json.decode(row.data)
    return Event(row.id, row.at, row.actor, row.type, row.user_id, row.org_id, data)
