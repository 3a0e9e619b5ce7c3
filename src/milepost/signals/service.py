"""What happens when signals arrive: they are stored once each, and the steps they satisfy are completed at once."""

from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.access.policy import Action, Target, require
from milepost.checklists import queries
from milepost.checklists.cases import Case, made_checklists, store_arrivals
from milepost.checklists.queries import EVERYONE
from milepost.directory.queries import hold_organization
from milepost.directory.service import Context
from milepost.domain.checklists import Published, arrived, can_arrive
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
    completed = 0
    for org_id in sorted({one.org_id for one in new}):
        here = [one for one in new if one.org_id == org_id]
        _tell(connection, context, org_id, here, context.caller.name)
        completed += _complete(connection, context, org_id, here)
    return Receipt(len(new), len(events) - len(new), completed)


def take_in(connection: Connection, context: Context, events: Sequence[CloudEvent], actor: str) -> bool:
    """Store what a source says of one user in one organization, and complete nothing: the caller, who holds that
    user, evaluates it. False, and nothing stored, where an event names no enterprise of the organization.
    """
    reported = [_signal(event, context.at) for event in events]
    if _unknown_places(connection, reported):
        return False
    new = signals.add(connection, reported)
    if new:
        _tell(connection, context, new[0].org_id, new, actor)
    return True


def _tell(connection: Connection, context: Context, org_id: str, new: Sequence[Signal], actor: str) -> None:
    """One event for all signals of an organization that came together: the signals themselves are kept."""
    data: dict[str, object] = {"signals": dict(Counter(one.type for one in new))}
    event = journal.Event(
        id=context.new_id(),
        at=context.at,
        actor=actor,
        type="signals.reported",
        org_id=org_id,
        data=data,
    )
    journal.append(connection, [event])


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


def _complete(connection: Connection, context: Context, org_id: str, new: Sequence[Signal]) -> int:
    """Complete the steps that the signals of one organization satisfy; answers how many."""
    completed = _complete_for(connection, context, org_id, sorted({one.user_id for one in new} - {EVERYONE}), new)
    shared = [one for one in new if one.user_id == EVERYONE]
    after = ""
    while shared:
        users = queries.with_checklists(connection, org_id, after, PAGE)
        if not users:
            break
        people.hold(connection, users)
        completed += _complete_for(connection, context, org_id, users, shared)
        after = users[-1]
    return completed


def _complete_for(
    connection: Connection, context: Context, org_id: str, users: Sequence[str], new: Sequence[Signal]
) -> int:
    if not users:
        return 0
    types, earliest = {one.type for one in new}, moment(min(one.time for one in new))

    def concerned(published: Published) -> set[str]:
        return {step_id for step_id, one in published.conditions.items() if one.signals & types}

    def may_change(case: Case, published: Published) -> bool:
        return can_arrive(case.checklist, case.progress, concerned(published), earliest)

    arrivals = []
    for case, known in made_checklists(connection, context, org_id, users, may_change):
        if case.progress is not None:
            outcome = arrived(case.checklist, case.progress, known, concerned(known.published))
            if outcome.proofs or outcome.corrections or outcome.failures:
                arrivals.append((case, known, outcome))
    store_arrivals(connection, context, arrivals)
    return sum(len(outcome.proofs) for _, _, outcome in arrivals)
