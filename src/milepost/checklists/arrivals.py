"""Signals that arrive: which checklists they may change, and what they complete there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from milepost.catalogs import service as catalogs
from milepost.checklists import queries
from milepost.checklists.cases import Case, changed, made_checklists, shared
from milepost.directory.service import Context
from milepost.domain.checklists import Knowledge, Outcome, Published, arrived, can_arrive
from milepost.journal import queries as journal
from milepost.properties.queries import save

Key = tuple[str, str]
"""An organization and one of its users."""

Heard = Mapping[str, datetime]
"""By the name of a signal, when the first of those that arrived happened."""

Arrival = tuple[Case, Knowledge, Outcome]


def open_to(connection: Connection, heard: Mapping[Key, Heard]) -> list[Key]:
    """Those of the users, who are held, whose checklists the signals may change, in their order: most have been told
    the same before.
    """
    published = catalogs.current_for(connection, {org_id for org_id, _ in heard})
    asked_for = {
        org_id: frozenset(name for one in catalog.conditions.values() for name in one.signals)
        for org_id, catalog in published.items()
    }
    asked = [key for key in sorted(heard) if not asked_for.get(key[0], frozenset()).isdisjoint(heard[key])]
    if not asked:
        return []
    stored, sharing = queries.stored_steps(connection, asked)
    return [
        key
        for key in asked
        if (one := stored.get(key)) is not None
        and can_arrive(one.steps, one.progress, sharing.get(key[0], {}), published[key[0]], heard[key])
    ]


def complete(connection: Connection, context: Context, heard: Mapping[Key, Heard]) -> int:
    """Complete the steps that new signals satisfy, of users who are held; answers how many."""
    if not heard:
        return 0
    published = catalogs.current_for(connection, {org_id for org_id, _ in heard})
    arrivals = []
    for case, known in made_checklists(connection, context, sorted(heard), published):
        if case.progress is not None:
            concerned = _concerned(known.published, heard[case.org_id, case.user_id])
            outcome = arrived(case.checklist, case.progress, known, concerned)
            if outcome.proofs or outcome.corrections or outcome.failures:
                arrivals.append((case, known, outcome))
    _store(connection, context, arrivals)
    return sum(len(outcome.proofs) for _, _, outcome in arrivals)


def _concerned(published: Published, heard: Heard) -> set[str]:
    return {step_id for step_id, one in published.conditions.items() if not one.signals.isdisjoint(heard)}


def _store(connection: Connection, context: Context, arrivals: Sequence[Arrival]) -> None:
    """Store what arriving signals completed, and what late ones say of steps that were completed before."""
    changes = []
    for case, known, outcome in arrivals:
        told: dict[str, Any] = {"signals": {step_id: list(why.signals) for step_id, why in outcome.proofs.items()}}
        if outcome.corrections:
            told["corrected"] = {step_id: list(why.signals) for step_id, why in outcome.corrections.items()}
        progress, event = shared(connection, case, outcome, known, ("steps.completed", told))
        changes.append(changed(context, case, outcome.checklist, progress, event))
    save(connection, [row for _, row, _ in changes])
    journal.append(connection, [event for _, _, event in changes])
