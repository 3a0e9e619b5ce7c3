"""What a record is and how it changes: replaced, patched, and seen by those who ask (contract part 3)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from milepost.domain.contract import FirstLoginState, GuidedChecklist, Status, Step, UserProperties
from milepost.domain.progress import Evidence, Progress, Sharing, done_for_all
from milepost.domain.wording import Wording
from milepost.problems import CREATED_IN_FUTURE, DUPLICATE_STEP, ID_MISMATCH, INVALID_BODY, Fault, Problem

CLOCK_SKEW = timedelta(seconds=60)
"""How far a client's clock may run ahead of the server's."""

OPEN = frozenset({Status.UP_NEXT, Status.IN_PROGRESS})

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

T = TypeVar("T", UserProperties, GuidedChecklist, FirstLoginState, Step)


class Record(msgspec.Struct, frozen=True):
    """A stored record. `version` is its `modifiedDate` in microseconds since 1970; it grows with every write.

    `progress` is there where the server made the checklist, and `wording` has the texts of its catalog. `shared` has,
    by step id, what is shown otherwise than it is stored because of what others did for all (None: that was taken
    back); it becomes the record's own with its next write.
    """

    properties: UserProperties
    version: int
    progress: Progress | None = None
    shared: Mapping[str, Evidence | None] = {}
    wording: Wording | None = None


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def moment(microseconds_since_epoch: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds_since_epoch)


def checked(properties: UserProperties, user_id: str, now: datetime) -> UserProperties:
    """The record as it may be stored: its rules hold, and its times are in UTC.

    Raises:
        Problem: `id_mismatch`, `duplicate_step`, `created_in_future`, or `invalid_body` for a time outside the
            years 1 to 9999 in UTC and for `attributes` that are no object.
    """
    if properties.user_id != user_id:
        raise Problem(
            ID_MISMATCH,
            "userId in the body must equal the one in the path.",
            [Fault("must equal the userId in the path", pointer="/userId")],
        )
    if properties.guided_checklist is not UNSET and properties.guided_checklist.steps is not UNSET:
        _refuse_duplicates(properties.guided_checklist.steps)
    if properties.attributes is not UNSET and bytes(memoryview(properties.attributes)[:1]) != b"{":
        raise Problem(
            INVALID_BODY, "attributes must be an object.", [Fault("must be an object", pointer="/attributes")]
        )
    properties = _in_utc(properties)
    if properties.created_date > now + CLOCK_SKEW:
        raise Problem(
            CREATED_IN_FUTURE,
            "createdDate lies in the future; send the time at which the record was created.",
            [Fault("must not lie in the future", pointer="/createdDate")],
        )
    return properties


def _refuse_duplicates(steps: Sequence[Step]) -> None:
    seen: set[str] = set()
    faults = []
    for index, step in enumerate(steps):
        if step.step_id in seen:
            faults.append(Fault("is used by an earlier step", pointer=f"/guidedChecklist/steps/{index}/stepId"))
        seen.add(step.step_id)
    if faults:
        raise Problem(DUPLICATE_STEP, "Every stepId must be unique within the checklist.", faults)


def _in_utc(properties: UserProperties) -> UserProperties:
    try:
        properties = _times_in_utc(properties)
        if properties.first_login_state is not UNSET:
            properties.first_login_state = _times_in_utc(properties.first_login_state)
        if properties.guided_checklist is not UNSET:
            checklist = _times_in_utc(properties.guided_checklist)
            if checklist.steps is not UNSET:
                checklist.steps = [_times_in_utc(step) for step in checklist.steps]
            properties.guided_checklist = checklist
    except OverflowError:
        raise Problem(
            INVALID_BODY, "A time lies outside the years 1 to 9999 when converted to UTC; correct its offset."
        ) from None
    return properties


TIMES = {
    UserProperties: ("created_date", "modified_date"),
    GuidedChecklist: ("computed_at", "completed_at", "dismissed_at"),
    FirstLoginState: ("stepper_completed_at",),
    Step: ("completed_at",),
}


def _times_in_utc(part: T) -> T:
    changes = {}
    for field in TIMES[type(part)]:
        value: datetime | UnsetType = getattr(part, field)
        if value is not UNSET and value.tzinfo is not UTC:
            changes[field] = value.astimezone(UTC)
    return msgspec.structs.replace(part, **changes) if changes else part


def replaced(
    previous: Record | None, incoming: UserProperties, now: datetime, progress: Progress | None = None
) -> Record:
    """The record after a write: `createdDate` stays as first written, `modifiedDate` is set here and never goes back.

    `incoming` has passed `checked`. Progress stays beside a checklist that is written anew, and goes with it.
    New progress may name another catalog, whose wording is for the caller to find.
    """
    version = microseconds(now)
    created = incoming.created_date
    if previous is not None:
        version = max(version, previous.version + 1)
        created = previous.properties.created_date
    properties = msgspec.structs.replace(incoming, created_date=created, modified_date=moment(version))
    wording = None
    if progress is None and previous is not None and incoming.guided_checklist is not UNSET:
        progress, wording = previous.progress, previous.wording
    return Record(properties, version, progress, wording=wording)


def visible_steps(steps: Iterable[Step], roles: Iterable[str]) -> list[Step]:
    """The steps that matter to somebody with these roles: those for everyone, and those one of the roles generated."""
    held = set(roles)
    return [step for step in steps if is_visible(step, held)]


def is_visible(step: Step, held: set[str]) -> bool:
    return step.source_roles is UNSET or not step.source_roles or not held.isdisjoint(step.source_roles)


def with_shared(record: Record, sharing: Sharing) -> Record:
    """The record with what is done for all laid over it.

    An open step that somebody did for all is completed. A step that is stored as done for all follows what is true of
    that now: it may have been taken back, or be done by somebody else. Nothing is known of it any more where its
    enterprise is gone; then it stays.
    """
    checklist, progress = record.properties.guided_checklist, record.progress
    if checklist is UNSET or checklist.steps is UNSET or progress is None:
        return record
    done = done_for_all(sharing, progress.enterprise_id)
    told: dict[str, Evidence | None] = {}
    is_undone = False
    for step in checklist.steps:
        before = progress.evidence.get(step.step_id) if step.status is Status.COMPLETED else None
        why = standing(step, progress, sharing, done)
        if why != before:
            told[step.step_id] = why
            is_undone |= before is not None and (why is None or why.at > before.at)
    if not told:
        return record
    changed = msgspec.structs.replace(
        checklist,
        steps=[_as_told(step, told[step.step_id]) if step.step_id in told else step for step in checklist.steps],
        # It may have been complete, and be so again: then since another time.
        completed_at=UNSET if is_undone else checklist.completed_at,
    )
    evidence = {step_id: why for step_id, why in {**progress.evidence, **told}.items() if why is not None}
    return msgspec.structs.replace(
        record,
        properties=msgspec.structs.replace(record.properties, guided_checklist=changed),
        progress=msgspec.structs.replace(progress, evidence=evidence),
        shared=told,
    )


class StepStatus(msgspec.Struct, rename="camel", frozen=True):
    """Of a stored step, what it takes to know where it stands."""

    step_id: str
    status: Status


def standing(
    step: Step | StepStatus, progress: Progress, sharing: Sharing, done: Mapping[str, Evidence]
) -> Evidence | None:
    """By what a step is completed now, where `done` is what is done for all of the checklist's enterprise; None: by
    nothing, or, where it is stored as completed and not shared, nobody knows by what.
    """
    if step.status is not Status.COMPLETED:
        return done.get(step.step_id)
    stored = progress.evidence.get(step.step_id)
    if stored is None or not stored.shared or stored.enterprise_id is None:
        return stored
    there = sharing.get(stored.enterprise_id, {})
    return (there[step.step_id] or done.get(step.step_id)) if step.step_id in there else stored


def _as_told(step: Step, why: Evidence | None) -> Step:
    if why is not None:
        return completed(step, why)
    return msgspec.structs.replace(step, status=Status.UP_NEXT, completed_at=UNSET, completed_by=UNSET)


def completed(step: Step, why: Evidence) -> Step:
    """The step, completed as the evidence says."""
    by = UNSET if why.by is None else UUID(why.by)
    return msgspec.structs.replace(step, status=Status.COMPLETED, completed_at=why.at, completed_by=by)


def seen(record: Record, roles: Sequence[str] | None) -> UserProperties:
    """The record as it is shown with the roles held now; None (no organization is asked for): as it is stored.

    `completedAt` of a checklist that the server made counts the steps that are shown.
    """
    properties = record.properties
    checklist = properties.guided_checklist
    if roles is None or checklist is UNSET:
        return properties
    steps = checklist.steps if checklist.steps is UNSET else visible_steps(checklist.steps, roles)
    checklist = msgspec.structs.replace(checklist, roles=list(roles), steps=steps)
    if record.progress is not None:
        checklist = msgspec.structs.replace(checklist, completed_at=completed_at(checklist))
    return msgspec.structs.replace(properties, guided_checklist=checklist)


def completed_at(checklist: GuidedChecklist) -> datetime | UnsetType:
    """When a checklist was completed whose steps are those that count: UNSET while one of them is open."""
    steps = [] if checklist.steps is UNSET else checklist.steps
    if not steps or any(step.status in OPEN for step in steps):
        return UNSET
    if checklist.completed_at is not UNSET:
        return checklist.completed_at
    # The last open step went out of sight with its role, and a read stores nothing.
    return max((step.completed_at for step in steps if step.completed_at is not UNSET), default=checklist.computed_at)


def with_what_was_hidden(record: Record, patched: UserProperties, roles: Sequence[str] | None) -> UserProperties:
    """A record that was patched as it was seen, with what could not be seen put back.

    Steps that were hidden return to where they stood, unless the patch brings a step of the same id; they keep the
    checklist alive where the patch removes it. Roles that the patch left alone stay as they were stored, since those
    shown were the resolved ones.
    """
    before, after = record.properties.guided_checklist, patched.guided_checklist
    if roles is None or before is UNSET:
        return patched
    held = set(roles)
    steps = [] if before.steps is UNSET else before.steps
    hidden = [(index, step) for index, step in enumerate(steps) if not is_visible(step, held)]
    if after is UNSET:
        if not hidden:
            return patched
        after = GuidedChecklist(track=before.track, computed_at=before.computed_at)
    elif after.roles == list(roles):
        after = msgspec.structs.replace(after, roles=before.roles)
    if hidden:
        after = msgspec.structs.replace(after, steps=_put_back(hidden, [] if after.steps is UNSET else after.steps))
    return msgspec.structs.replace(patched, guided_checklist=after)


def _put_back(hidden: Sequence[tuple[int, Step]], steps: Sequence[Step]) -> list[Step]:
    present = {step.step_id for step in steps}
    whole = list(steps)
    for index, step in hidden:
        if step.step_id not in present:
            whole.insert(index, step)
    return whole


MEMBERS = [
    (field.name, field.encode_name) for field in msgspec.structs.fields(UserProperties) if field.name != "modified_date"
]


def changes(before: Record | None, after: Record) -> dict[str, object]:
    """What a write changed, for the journal: the members that differ, and the new status of each step that moved.

    Values other than statuses are left out: the journal outlives the record, and need not repeat the person's data.
    """
    then, now = None if before is None else before.properties, after.properties
    members = [shown for name, shown in MEMBERS if getattr(then, name, UNSET) != getattr(now, name)]
    old = {} if then is None else {step.step_id: step.status for step in _steps(then)}
    moved = {step.step_id: step.status for step in _steps(now) if old.get(step.step_id) != step.status}
    gone = [step_id for step_id in old if step_id not in {step.step_id for step in _steps(now)}]
    told: dict[str, object] = {"version": after.version, "members": members}
    if moved:
        told["steps"] = moved
    if gone:
        told["stepsRemoved"] = gone
    return told


def _steps(properties: UserProperties) -> Sequence[Step]:
    checklist = properties.guided_checklist
    return () if checklist is UNSET or checklist.steps is UNSET else checklist.steps
