"""The journal's SQL: events are appended in the transaction of the change they tell of."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Connection, Insert, Row, Text, insert, literal, select, tuple_

from milepost.store.database import as_rows, rows
from milepost.store.schema import journal, next_position, settled_below


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


def read_after(connection: Connection, position: Position, limit: int) -> list[tuple[Position, Event]]:
    """The events that follow a position, in their order, each with its own position, at most `limit` of them.

    A reader that goes on from the last position it was given sees every event, and each once.
    """
    after = tuple_(*ORDER) > tuple_(literal(position.number, BigInteger), literal(position.event_id, Text))
    found = select(journal).where(after, journal.c.position < settled_below()).order_by(*ORDER).limit(limit)
    return [(Position(row.position, row.id), _event(row)) for row in connection.execute(found)]


def _event(row: Row[Any]) -> Event:
    data = msgspec.json.decode(row.data)
    return Event(row.id, row.at, row.actor, row.type, row.user_id, row.org_id, data)
