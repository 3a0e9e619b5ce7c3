"""What people do to a checklist: move a step, put the checklist away, bring it back (contract part 4)."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection

from milepost.access.policy import Action, administers
from milepost.catalogs import service as catalogs
from milepost.checklists import queries
from milepost.checklists.cases import Case, open_case, saved, share
from milepost.directory.service import Context
from milepost.domain import preconditions
from milepost.domain.catalog import StepDefinition
from milepost.domain.checklists import steps_of, with_completed_at
from milepost.domain.contract import Status, Step
from milepost.domain.preconditions import Preconditions
from milepost.domain.progress import Evidence, Progress
from milepost.domain.records import Record, visible_steps
from milepost.domain.transitions import Move, moved
from milepost.problems import CHECKLIST_NOT_FOUND, STEP_NOT_FOUND, Problem
from milepost.properties.service import Answer, shown


def _require_unchanged(case: Case, conditions: Preconditions) -> None:
    own, current = case.situation.own, case.situation.current
    preconditions.require(
        conditions,
        current=None if current is None else current.version,
        own=None if own is None else own.version,
    )


def move_step(
    connection: Connection,
    context: Context,
    user_id: str,
    org_id: str,
    step_id: str,
    status: Status,
    conditions: Preconditions,
) -> Answer:
    """Change the status of one step by the rules of `domain/transitions.py`."""
    case = open_case(connection, context, Action.WRITE_PROPERTIES, user_id, org_id)
    _require_unchanged(case, conditions)
    checklist, progress, situation = case.checklist, case.progress, case.situation
    visible = visible_steps(steps_of(checklist), situation.roles)
    step = next((one for one in visible if one.step_id == step_id), None)
    if step is None:
        raise Problem(STEP_NOT_FOUND, "There is no such step in the checklist as it is shown.")
    definition = _definition(connection, case, step_id)
    move = Move(
        to=status,
        at=context.now,
        by=None if situation.caller_person is None else UUID(situation.caller_person),
        may_reset=administers(context.caller, case.target),
    )
    after = moved(step, move, definition, visible)
    if after is step:
        return shown(_existing(case), org_id, situation, context.accept_language)
    told: dict[str, object] = {"stepId": step_id, "status": status}
    if progress is not None:
        progress, concerns_all = _with_evidence(connection, case, progress, (step, after), definition)
        if concerns_all:
            told["shared"] = [step_id]
    steps = [after if one.step_id == step_id else one for one in steps_of(checklist)]
    changed = with_completed_at(msgspec.structs.replace(checklist, steps=steps), situation.roles, context.now)
    return saved(connection, context, case, changed, progress, ("step.moved", told))


def _existing(case: Case) -> Record:
    record = case.situation.current
    if record is None:
        raise Problem(CHECKLIST_NOT_FOUND, "There is no checklist yet; initialize makes one.")
    return record


def _definition(connection: Connection, case: Case, step_id: str) -> StepDefinition | None:
    if case.progress is None:
        return None
    published = catalogs.current(connection, case.org_id)
    return next((one for one in published.catalog.steps if one.step_id == step_id), None)


def _with_evidence(
    connection: Connection,
    case: Case,
    progress: Progress,
    change: tuple[Step, Step],
    definition: StepDefinition | None,
) -> tuple[Progress, bool]:
    """Progress with the evidence of a person's move, or without that of a step that was reset, and whether others see
    the move as well.
    """
    concerns_all = False
    before, after = change
    evidence = {step_id: why for step_id, why in progress.evidence.items() if step_id != after.step_id}
    if after.status is Status.COMPLETED and after.completed_at is not UNSET:
        by = None if after.completed_by is UNSET else str(after.completed_by)
        why = Evidence("person", after.completed_at, by)
        why = share(connection, case.org_id, progress.enterprise_id, definition, why)
        evidence[after.step_id], concerns_all = why, why.shared
    elif before.status is Status.COMPLETED:
        # Whatever scope it has by now: it may have had another when it was done for all, in another enterprise.
        was = progress.evidence.get(before.step_id)
        elsewhere = set() if was is None or was.enterprise_id is None else {was.enterprise_id}
        for place in sorted({"", progress.enterprise_id} | elsewhere):
            concerns_all |= queries.unshare(connection, case.org_id, place, after.step_id)
    return msgspec.structs.replace(progress, evidence=evidence), concerns_all


def set_dismissed(
    connection: Connection,
    context: Context,
    user_id: str,
    org_id: str,
    conditions: Preconditions,
    *,
    dismissed: bool,
) -> Answer:
    """Put the checklist away, or bring it back; once more changes nothing."""
    case = open_case(connection, context, Action.WRITE_PROPERTIES, user_id, org_id)
    _require_unchanged(case, conditions)
    checklist = case.checklist
    if (checklist.dismissed_at is not UNSET) == dismissed:
        return shown(_existing(case), org_id, case.situation, context.accept_language)
    at: UnsetType | Any = context.now if dismissed else UNSET
    event = "checklist.dismissed" if dismissed else "checklist.restored"
    changed = msgspec.structs.replace(checklist, dismissed_at=at)
    return saved(connection, context, case, changed, case.progress, (event, {}))
