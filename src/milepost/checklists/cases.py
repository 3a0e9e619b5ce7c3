"""What every use-case about a checklist does: finds out whose it is and what is known, and stores what was decided.

Whoever will write holds the user's row first. What is stored goes with the guard against lost updates, what of it
counts for others, and an event in the journal.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.access.policy import Action, Target, require
from milepost.catalogs import service as catalogs
from milepost.checklists import queries
from milepost.directory.service import Context
from milepost.domain import checklists
from milepost.domain.catalog import StepDefinition
from milepost.domain.checklists import Knowledge, Outcome, Published
from milepost.domain.conditions import Facts, SignalCount
from milepost.domain.contract import GuidedChecklist, Track, UserProperties
from milepost.domain.json_text import parse
from milepost.domain.progress import Evidence, Progress, done_for_all
from milepost.domain.records import Record, changes, replaced
from milepost.domain.wording import Wording
from milepost.journal import queries as journal
from milepost.problems import (
    CHECKLIST_NOT_FOUND,
    ORGANIZATION_NOT_FOUND,
    UNKNOWN_ENTERPRISE,
    Fault,
    Problem,
)
from milepost.properties.queries import Lookup, Save, Situation, look_up, save, to_save, worded
from milepost.properties.service import Answer, shown
from milepost.store import people


class Case(msgspec.Struct, frozen=True):
    """Whose checklist it is about, and what is stored of it."""

    user_id: str
    org_id: str
    situation: Situation

    @property
    def checklist(self) -> GuidedChecklist:
        """The checklist that is there.

        Raises:
            Problem: `checklist_not_found` (404).
        """
        record = self.situation.current
        if record is None or record.properties.guided_checklist is UNSET:
            raise Problem(CHECKLIST_NOT_FOUND, "There is no checklist yet; initialize makes one.")
        return record.properties.guided_checklist

    @property
    def target(self) -> Target:
        situation = self.situation
        return Target(self.user_id, self.org_id, situation.caller_is_admin, situation.user_is_member)

    @property
    def progress(self) -> Progress | None:
        return self.situation.current.progress if self.situation.current else None

    @property
    def wording(self) -> Wording | None:
        return self.situation.current.wording if self.situation.current else None


def open_case(connection: Connection, context: Context, action: Action, user_id: str, org_id: str) -> Case:
    """Ask the policy, and see that the organization exists. Who will write holds the user's row from here on."""
    if action is Action.WRITE_PROPERTIES:
        caller_id = context.caller.user_id or ""
        people.add(connection, {user_id: context.new_id()})
        people.hold(connection, [user_id])
        if caller_id not in {"", user_id}:
            people.add(connection, {caller_id: context.new_id()})
    return admitted(connection, context, action, user_id, org_id)


def admitted(connection: Connection, context: Context, action: Action, user_id: str, org_id: str) -> Case:
    caller_id = context.caller.user_id or ""
    situation = look_up(connection, [Lookup(user_id, org_id, caller_id)], for_write=True)[0]
    case = Case(user_id, org_id, situation)
    require(context.caller, action, case.target)
    if not situation.organization_exists:
        raise Problem(
            ORGANIZATION_NOT_FOUND,
            "There is no such organization; create it with PUT /organizations/{orgId}, or correct orgId.",
            [Fault("names no organization", parameter="orgId")],
        )
    return case


def require_enterprise(connection: Connection, org_id: str, enterprise_id: str) -> None:
    if enterprise_id and not queries.is_enterprise_of(connection, org_id, enterprise_id):
        raise Problem(
            UNKNOWN_ENTERPRISE,
            "enterpriseId must name an enterprise of the organization.",
            [Fault("is no enterprise of this organization", parameter="enterpriseId")],
        )


def knowledge(
    now: datetime,
    situation: Situation,
    published: Published,
    signals: Mapping[str, SignalCount],
    *,
    enterprise_id: str,
    track: Track,
    interests: Sequence[str],
) -> Knowledge:
    """What is known of a user, from what was read; `signals` are those that count for the user, by name."""
    attributes = situation.current.properties.attributes if situation.current else UNSET
    facts = Facts(
        signals=signals,
        attributes={} if attributes is UNSET else parse(bytes(attributes)),
        roles=situation.roles,
        interests=interests,
    )
    return Knowledge(
        published=published,
        track=track,
        roles=situation.roles,
        interests=interests,
        facts=facts,
        now=now,
        enterprise_id=enterprise_id,
        shared=done_for_all(situation.shared, enterprise_id),
        person=None if situation.person is None else UUID(situation.person),
    )


def known_now(connection: Connection, context: Context, case: Case, enterprise_id: str) -> Knowledge:
    published = catalogs.current(connection, case.org_id)
    signals = queries.counts(connection, [queries.Scope(case.user_id, case.org_id, enterprise_id)])[0]
    return _known_of(context, case, published, signals, enterprise_id)


def _known_of(
    context: Context, case: Case, published: Published, signals: Mapping[str, SignalCount], enterprise_id: str
) -> Knowledge:
    checklist = case.checklist
    return knowledge(
        context.now,
        case.situation,
        published,
        signals,
        enterprise_id=enterprise_id,
        track=checklist.track,
        interests=[] if checklist.product_interests is UNSET else checklist.product_interests,
    )


def made_checklists(
    connection: Connection, context: Context, asked: Sequence[tuple[str, str]], catalogs: Mapping[str, Published]
) -> Iterator[tuple[Case, Knowledge]]:
    """Of these (organization, user), those with a checklist that the server made, and what is known of each now.

    None where no catalog counts: nothing could be said about the steps.
    """
    asked = [(org_id, user_id) for org_id, user_id in asked if org_id in catalogs]
    if not asked:
        return
    situations = look_up(connection, [Lookup(user_id, org_id, "") for org_id, user_id in asked], for_write=True)
    cases = [
        (Case(user_id, org_id, situation), situation.own.progress.enterprise_id)
        for (org_id, user_id), situation in zip(asked, situations, strict=True)
        if situation.own is not None
        and situation.own.progress is not None
        and situation.own.properties.guided_checklist is not UNSET
    ]
    counts = queries.counts(connection, [queries.Scope(case.user_id, case.org_id, place) for case, place in cases])
    for (case, place), signals in zip(cases, counts, strict=True):
        yield case, _known_of(context, case, catalogs[case.org_id], signals, place)


def stored(
    connection: Connection,
    context: Context,
    case: Case,
    outcome: Outcome,
    known: Knowledge,
    event: tuple[str, Mapping[str, Any]],
) -> Answer:
    """Store what was decided, what of it counts for others, and the events."""
    progress, told = shared(connection, case, outcome, known, event)
    return saved(connection, context, case, outcome.checklist, progress, told)


def shared(
    connection: Connection,
    case: Case,
    outcome: Outcome,
    known: Knowledge,
    event: tuple[str, Mapping[str, Any]],
) -> tuple[Progress, tuple[str, Mapping[str, object]]]:
    """Store what was decided and counts for others; answers the progress that is left for the record, and the event."""
    definitions = {definition.step_id: definition for definition in known.published.catalog.steps}
    done = {**outcome.proofs, **outcome.corrections}
    evidence = {
        step_id: share(connection, case.org_id, known.enterprise_id, definitions.get(step_id), why)
        for step_id, why in done.items()
    }
    progress = msgspec.structs.replace(outcome.progress, evidence={**outcome.progress.evidence, **evidence})
    shared = sorted(step_id for step_id, why in done.items() if evidence[step_id].shared and not why.shared)
    name, data = event
    told: dict[str, object] = {
        **data,
        "catalog": {"orgId": outcome.progress.org_id, "version": outcome.progress.version},
    }
    if shared:
        told["shared"] = shared
    if outcome.failures:
        told["conditionsFailed"] = dict(outcome.failures)
    return progress, (name, told)


def share(
    connection: Connection, org_id: str, enterprise_id: str, definition: StepDefinition | None, why: Evidence
) -> Evidence:
    """Keep for others what counts for them, and answer the evidence as the record has it: as a copy of that."""
    place = checklists.counts_for_all_of(definition, enterprise_id, why)
    if definition is None or place is None:
        return why
    shared = msgspec.structs.replace(why, shared=True)
    if not queries.share(connection, org_id, place, definition.step_id, shared):
        return why
    return msgspec.structs.replace(shared, enterprise_id=place)


def saved(
    connection: Connection,
    context: Context,
    case: Case,
    checklist: GuidedChecklist,
    progress: Progress | None,
    event: tuple[str, Mapping[str, object]],
) -> Answer:
    """Store the checklist in its record, and answer the record as it is shown."""
    record, row, told = changed(context, case, checklist, progress, event)
    save(connection, [row])
    journal.append(connection, [told])
    return shown(worded(connection, record), case.org_id, case.situation, context.accept_language)


def changed(
    context: Context,
    case: Case,
    checklist: GuidedChecklist,
    progress: Progress | None,
    event: tuple[str, Mapping[str, object]],
) -> tuple[Record, Save, journal.Event]:
    """The record with the checklist, how it is stored, and the event that tells of it."""
    before = case.situation.current
    properties = (
        UserProperties(user_id=case.user_id, created_date=context.now, modified_date=context.now)
        if before is None
        else before.properties
    )
    properties = msgspec.structs.replace(properties, guided_checklist=checklist)
    record = replaced(before, properties, context.now, progress)
    name, data = event
    told = journal.Event(
        id=context.new_id(),
        at=record.version,
        actor=context.caller.name,
        type=name,
        user_id=case.user_id,
        org_id=case.org_id,
        data={**changes(case.situation.own, record), **data},
    )
    return record, to_save(case.user_id, case.org_id, record, case.situation.own), told
