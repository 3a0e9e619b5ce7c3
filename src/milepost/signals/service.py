"""What happens when signals arrive: they are stored once each, and the steps they satisfy are completed at once."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.access.policy import Action, Target, require
from milepost.checklists import arrivals, queries
from milepost.checklists.queries import EVERYONE
from milepost.directory.queries import hold_organization
from milepost.directory.service import Context
from milepost.domain.cloud_events import CloudEvent
from milepost.domain.records import microseconds, moment
from milepost.journal import queries as journal
from milepost.problems import UNKNOWN_PLACE, Fault, Problem
from milepost.signals import queries as signals
from milepost.signals.queries import Signal
from milepost.store import people
from milepost.store.batches import Batches
from milepost.store.database import Database

PAGE = 200
"""How many users a signal for everyone is worked through at a time."""

TOGETHER = 16
"""How many reports share a transaction at most; each may have a thousand events."""


class Receipt(msgspec.Struct, rename="camel", frozen=True):
    """What became of the events: new ones, those known already, and how many steps they completed."""

    accepted: int
    duplicates: int
    completed_steps: int


class Report(msgspec.Struct, frozen=True):
    """What one call reports; `pointer` is a template of where event n stands in it."""

    context: Context
    events: Sequence[CloudEvent]
    pointer: str


class Signals:
    """Takes reports in. Those that come at the same moment share a transaction, each all or nothing for itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together: Batches[Report, Receipt] = database.batched_write(reports_taken_in, most=TOGETHER)

    async def report(self, report: Report) -> Receipt:
        """Store events and complete what they satisfy, all or nothing.

        Raises:
            Problem: `forbidden` (403), or `unknown_place` (422) with the events whose organization or enterprise is
                not.
        """
        _admit(report)
        if any(event.subject is UNSET for event in report.events):
            # It may take long, and others need not wait for it.
            return (await self._database.write(lambda connection: reports_taken_in(connection, [report])))[0]
        return await self._together(report)


def report(connection: Connection, context: Context, events: Sequence[CloudEvent], pointer: str) -> Receipt:
    """Take in one report by itself, as `Signals.report` does."""
    alone = Report(context, events, pointer)
    _admit(alone)
    return reports_taken_in(connection, [alone])[0]


def _admit(report: Report) -> None:
    for org_id in {event.orgid for event in report.events}:
        require(report.context.caller, Action.REPORT_SIGNALS, Target(org_id=org_id))


def reports_taken_in(connection: Connection, reports: Sequence[Report]) -> list[Receipt]:
    """Store what is reported as if one report came after the other, and answer each.

    Raises:
        Problem: `unknown_place` (422); of several reports each is then to be tried alone.
    """
    told = [[_signal(event, one.context.at) for event in one.events] for one in reports]
    reported = [one for signals_of_one in told for one in signals_of_one]
    # Whoever is making a checklist just now is waited for, so that a signal for everyone reaches it too.
    for org_id in sorted({one.org_id for one in reported if one.user_id == EVERYONE}):
        hold_organization(connection, org_id)
    users = sorted({one.user_id for one in reported if one.user_id != EVERYONE})
    # Also of somebody nobody knows yet, so that a checklist being made for them just now waits, or is waited for.
    people.add(connection, {user_id: reports[0].context.new_id() for user_id in users})
    people.hold(connection, users)
    # After the users are held: a lock taken before would put this into the journal before what it waited for.
    _require_places(connection, reported, reports[0].pointer)
    can_change = set(arrivals.open_to(connection, _heard(reported)))
    receipts = []
    for some in _apart(list(zip(reports, told, strict=True)), can_change):
        receipts += _taken_in(connection, some, can_change)
    return receipts


Told = tuple[Report, list[Signal]]


def _apart(reports: Sequence[Told], can_change: Collection[arrivals.Key]) -> Iterator[list[Told]]:
    """The reports in their order, in runs that can be stored at once: no two of a run may change checklists of the
    same organization, since what is done in one may count for others there.
    """
    some: list[Told] = []
    taken: set[str] = set()
    for report, told in reports:
        places = {one.org_id for one in told if (one.org_id, one.user_id) in can_change}
        if not taken.isdisjoint(places):
            yield some
            some, taken = [], set()
        some.append((report, told))
        taken |= places
    yield some


def _taken_in(connection: Connection, some: Sequence[Told], can_change: Collection[arrivals.Key]) -> list[Receipt]:
    new = {one[:4]: one for one in signals.add(connection, [one for _, told in some for one in told])}
    # Of signals that are told twice the first is new, by whomever it was reported.
    arrived = [[one for one in told if new.get(one[:4]) is one] for _, told in some]
    journal.append(
        connection,
        [
            event
            for (report, _), own in zip(some, arrived, strict=True)
            for event in _events(report.context, own, report.context.caller.name)
        ],
    )
    return [
        Receipt(len(own), len(told) - len(own), _complete(connection, report.context, own, can_change))
        for (report, told), own in zip(some, arrived, strict=True)
    ]


def take_in(connection: Connection, context: Context, events: Sequence[CloudEvent], actor: str) -> bool:
    """Store what a source says of one user in one organization, and complete nothing: the caller, who holds that
    user, evaluates it. False, and nothing stored, where an event names no enterprise of the organization.
    """
    reported = [_signal(event, context.at) for event in events]
    if _unknown_places(connection, reported):
        return False
    new = signals.add(connection, reported)
    journal.append(connection, _events(context, new, actor))
    return True


def _events(context: Context, new: Sequence[Signal], actor: str) -> list[journal.Event]:
    """One event for all signals of an organization that came together: the signals themselves are kept."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in new:
        counts[one.org_id][one.type] += 1
    return [
        journal.Event(
            id=context.new_id(),
            at=context.at,
            actor=actor,
            type="signals.reported",
            org_id=org_id,
            data={"signals": dict(counts[org_id])},
        )
        for org_id in sorted(counts)
    ]


def _signal(event: CloudEvent, received: int) -> Signal:
    return Signal(
        user_id=EVERYONE if event.subject is UNSET else event.subject,
        source=event.source,
        id=event.id,
        org_id=event.orgid,
        enterprise_id="" if event.enterpriseid is UNSET else event.enterpriseid,
        type=event.type,
        time=received if event.time is UNSET else microseconds(event.time),
        received=received,
    )


def _require_places(connection: Connection, reported: Sequence[Signal], pointer: str) -> None:
    faults = [
        Fault("is no enterprise of the organization, or there is no such organization", pointer=pointer.format(n))
        for n in _unknown_places(connection, reported)
    ]
    if faults:
        raise Problem(
            UNKNOWN_PLACE, "orgid must name an organization, and enterpriseid one of its enterprises.", faults[:100]
        )


def _unknown_places(connection: Connection, reported: Sequence[Signal]) -> list[int]:
    known = signals.known_places(connection, {(one.org_id, one.enterprise_id) for one in reported})
    return [n for n, one in enumerate(reported) if (one.org_id, one.enterprise_id) not in known]


def _heard(reported: Sequence[Signal]) -> dict[arrivals.Key, dict[str, datetime]]:
    """By organization and user, when the first signal of each type happened."""
    first: dict[arrivals.Key, dict[str, int]] = defaultdict(dict)
    for one in reported:
        times = first[one.org_id, one.user_id]
        if one.type not in times or one.time < times[one.type]:
            times[one.type] = one.time
    moments = {time: moment(time) for time in {time for times in first.values() for time in times.values()}}
    return {key: {name: moments[time] for name, time in times.items()} for key, times in first.items()}


def _complete(
    connection: Connection, context: Context, new: Sequence[Signal], can_change: Collection[arrivals.Key]
) -> int:
    """Complete the steps that the signals satisfy; answers how many."""
    own = [one for one in new if (one.org_id, one.user_id) in can_change]
    completed = arrivals.complete(connection, context, _heard(own))
    shared = _heard([one for one in new if one.user_id == EVERYONE])
    for (org_id, _), said in sorted(shared.items()):
        after = ""
        while users := queries.with_checklists(connection, org_id, after, PAGE):
            people.hold(connection, users)
            heard = {(org_id, user_id): said for user_id in users}
            concerned = arrivals.open_to(connection, heard)
            completed += arrivals.complete(connection, context, {key: heard[key] for key in concerned})
            after = users[-1]
    return completed
