"""What happens when signals arrive: they are stored once each, and the steps they satisfy are completed at once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
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

PAGE = 200
"""How many users a signal for everyone is worked through at a time."""


class Receipt(msgspec.Struct, rename="camel", frozen=True):
    """What became of the events: new ones, those known already, and how many steps they completed."""

    accepted: int
    duplicates: int
    completed_steps: int


def report(connection: Connection, context: Context, events: Sequence[CloudEvent], pointer: str) -> Receipt:
    """Store events and complete what they satisfy, all or nothing; `pointer` is a template of where event n stands.

    Raises:
        Problem: `forbidden` (403), or `unknown_place` (422) with the events whose organization or enterprise is not.
    """
    for org_id in {event.orgid for event in events}:
        require(context.caller, Action.REPORT_SIGNALS, Target(org_id=org_id))
    reported = [_signal(event, context.at) for event in events]
    # Whoever is making a checklist just now is waited for, so that a signal for everyone reaches it too.
    for org_id in sorted({one.org_id for one in reported if one.user_id == EVERYONE}):
        hold_organization(connection, org_id)
    users = sorted({one.user_id for one in reported if one.user_id != EVERYONE})
    # Also of somebody nobody knows yet, so that a checklist being made for them just now waits, or is waited for.
    people.add(connection, {user_id: context.new_id() for user_id in users})
    people.hold(connection, users)
    # After the users are held: a lock taken before would put this into the journal before what it waited for.
    _require_places(connection, reported, pointer)
    new = signals.add(connection, reported)
    _tell(connection, context, new, context.caller.name)
    return Receipt(len(new), len(events) - len(new), _complete(connection, context, new))


def take_in(connection: Connection, context: Context, events: Sequence[CloudEvent], actor: str) -> bool:
    """Store what a source says of one user in one organization, and complete nothing: the caller, who holds that
    user, evaluates it. False, and nothing stored, where an event names no enterprise of the organization.
    """
    reported = [_signal(event, context.at) for event in events]
    if _unknown_places(connection, reported):
        return False
    new = signals.add(connection, reported)
    _tell(connection, context, new, actor)
    return True


def _tell(connection: Connection, context: Context, new: Sequence[Signal], actor: str) -> None:
    """One event for all signals of an organization that came together: the signals themselves are kept."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in new:
        counts[one.org_id][one.type] += 1
    events = [
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
    journal.append(connection, events)


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


def _complete(connection: Connection, context: Context, new: Sequence[Signal]) -> int:
    """Complete the steps that the signals satisfy; answers how many."""
    heard: dict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)
    for one in sorted(new, key=lambda each: each.time, reverse=True):
        # What happened before takes the place of what happened after.
        heard[one.org_id, one.user_id][one.type] = moment(one.time)
    by_everyone = sorted(key for key in heard if key[1] == EVERYONE)
    shared = [(org_id, heard.pop((org_id, EVERYONE))) for org_id, _ in by_everyone]
    completed = arrivals.complete(connection, context, heard) if heard else 0
    for org_id, said in shared:
        after = ""
        while users := queries.with_checklists(connection, org_id, after, PAGE):
            people.hold(connection, users)
            completed += arrivals.complete(connection, context, dict.fromkeys(((org_id, one) for one in users), said))
            after = users[-1]
    return completed
