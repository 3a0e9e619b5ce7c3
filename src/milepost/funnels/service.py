"""Funnels: the journal is folded into sums by day, some events at a time, and the sums are read.

A fold is one transaction: it holds the position, reads the records that the next events are about, takes off what
these people contributed before, adds what they do now, and moves the position. So it is exact, can stop anywhere and
go on elsewhere, and of several processes that fold one does and the others wait for the next turn.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from milepost.access import queries as access
from milepost.access.policy import Action, Target, require
from milepost.directory.service import Context
from milepost.domain.contract import Track
from milepost.domain.funnels import Contribution, DayCounts, FunnelTrack, contribution, count, funnel
from milepost.funnels import queries
from milepost.funnels.queries import Person
from milepost.journal.queries import Event, read_after
from milepost.problems import ORGANIZATION_NOT_FOUND, Problem
from milepost.store.database import Database

EVENTS = 500
"""How many events a fold works in: SQLite has one writer, who must not be kept long."""

log = structlog.get_logger(__name__)

Found = tuple[Sequence[tuple[Track, int, str]], bool]


async def keep_folding(database: Database, seconds: float) -> None:
    """Fold what comes, and look for it again after so many seconds, until this is cancelled."""
    while True:
        try:
            behind = await database.read(queries.is_behind)
            while behind:
                behind = await database.write(fold)
        except Problem as problem:
            log.warning("funnels.waiting", because=problem.detail)
        await asyncio.sleep(seconds)


def fold(connection: Connection, events: int = EVENTS) -> bool:
    """Work the next events in; answers whether there may be more for this process to do."""
    queries.begin(connection)
    position = queries.folded_to(connection, hold=True)
    if position is None:
        return False
    found = read_after(connection, position, events)
    if not found:
        return False
    _work_in(connection, [event for _, event in found])
    queries.go_on(connection, found[-1][0])
    return len(found) == events


def _work_in(connection: Connection, events: Sequence[Event]) -> None:
    known = queries.contributions(connection, {(event.user_id, event.org_id) for event in events if _concerns(event)})
    started = {person: one.started for person, one in known.items()}
    people: set[Person] = set()
    for event in events:
        person = (event.user_id, event.org_id)
        if event.type == "organization.deleted":
            queries.forget(connection, event.org_id)
            for gone in [one for one in {*people, *known, *started} if one[1] == event.org_id]:
                people.discard(gone)
                known.pop(gone, None)
                started.pop(gone, None)
        elif _concerns(event):
            people.add(person)
            if event.type == "properties.deleted":
                started.pop(person, None)
            elif person not in started and "guidedChecklist" in _members(event):
                started[person] = event.at
    checklists = queries.checklists(connection, people)
    now = {
        person: contribution(checklists[person], started[person])
        if person in checklists and person in started
        else None
        for person in people
    }
    _store(connection, {person: (known.get(person), after) for person, after in now.items()})


def _concerns(event: Event) -> bool:
    return bool(event.user_id and event.org_id and ("members" in event.data or event.type == "properties.deleted"))


def _members(event: Event) -> Iterable[object]:
    members = event.data.get("members")
    return members if isinstance(members, list) else ()


def _store(connection: Connection, changes: dict[Person, tuple[Contribution | None, Contribution | None]]) -> None:
    changed = {person: change for person, change in changes.items() if change[0] != change[1]}
    for org_id in sorted({org_id for _, org_id in changed}):
        here = [change for person, change in changed.items() if person[1] == org_id]
        moves = [(one, by) for change in here for one, by in zip(change, (-1, 1), strict=True) if one is not None]
        touched = {(one.track, day) for one, _ in moves for day in (one.day, one.finished_day) if day is not None}
        days = queries.days(connection, org_id, touched)
        for one, by in moves:
            count(days, one, by)
        queries.save_days(connection, org_id, {key: days[key] for key in sorted(touched)})
    queries.save_contributions(connection, {person: after for person, (_, after) in changed.items()})


def read(connection: Connection, context: Context, org_id: str, track: Track | None, first: int, last: int) -> Found:
    """The sums of a period, by track and day, and whether everything that has happened is in them.

    Raises:
        Problem: `forbidden` (403), `organization_not_found` (404).
    """
    is_admin = access.administers(connection, context.caller.user_id, org_id)
    require(context.caller, Action.READ_FUNNEL, Target(org_id=org_id, caller_is_admin=is_admin))
    if not access.organization_exists(connection, org_id):
        raise Problem(ORGANIZATION_NOT_FOUND, "There is no such organization.")
    # Asked first: what is folded in between the two statements is in the sums at most, and not missing from them.
    is_up_to_date = not queries.is_behind(connection)
    return queries.period(connection, org_id, track, first, last), is_up_to_date


def added_up(found: Sequence[tuple[Track, int, str]], tracks: Iterable[Track]) -> list[FunnelTrack]:
    """The funnel of each track."""
    days: dict[Track, dict[int, DayCounts]] = {track: {} for track in tracks}
    for track, day, text in found:
        days[track][day] = queries.counted(text)
    return [funnel(track, counts) for track, counts in days.items()]


async def overview(
    database: Database, context: Context, org_id: str, track: Track | None, first: int, last: int
) -> tuple[list[FunnelTrack], bool]:
    """The funnels of a period, and whether everything that has happened is in them.

    Raises:
        Problem: as `read` does.
    """
    asked = partial(read, context=context, org_id=org_id, track=track, first=first, last=last)
    found, is_up_to_date = await database.read(asked)
    return await asyncio.to_thread(added_up, found, [track] if track else list(Track)), is_up_to_date


def recount(connection: Connection) -> None:
    """Forget all sums and fold the whole journal again, in one transaction."""
    queries.forget_all(connection)
    while fold(connection):
        pass
