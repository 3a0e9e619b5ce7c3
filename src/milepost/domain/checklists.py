"""The guided checklist's life: made for a user, kept up to date, completed by what happened or by people, explained.

Pure: what is known of the user comes in, a checklist goes out. The words are those of the contract (parts 2 and 3).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from milepost.domain.catalog import Catalog, Scope, StepDefinition
from milepost.domain.conditions import Condition, ConditionFailure, Facts
from milepost.domain.contract import GuidedChecklist, Status, Step, Track
from milepost.domain.progress import Evidence, Progress, Sharing, done_for_all
from milepost.domain.records import OPEN, StepStatus, completed, standing, visible_steps

DONE = frozenset({Status.COMPLETED, Status.SKIPPED})


class Published(msgspec.Struct, frozen=True):
    """A published catalog with its conditions compiled, by step id; `published` in microseconds since 1970."""

    org_id: str
    version: int
    catalog: Catalog
    conditions: Mapping[str, Condition]
    published: int = 0


class Knowledge(msgspec.Struct, frozen=True):
    """All that a checklist is made from.

    `shared` holds what members of the same enterprise or organization did for all, by step id; `person` is the
    internal uuid of the user.
    """

    published: Published
    track: Track
    roles: Sequence[str]
    interests: Sequence[str]
    facts: Facts
    now: datetime
    enterprise_id: str = ""
    shared: Mapping[str, Evidence] = {}
    person: UUID | None = None


class Outcome(msgspec.Struct, frozen=True):
    """A checklist with its progress; by step id, what this completed and why, which conditions failed and why, and
    which steps turned out to have been complete since an earlier time, because a signal came late.
    """

    checklist: GuidedChecklist
    progress: Progress
    proofs: Mapping[str, Evidence]
    failures: Mapping[str, str]
    corrections: Mapping[str, Evidence] = {}


def source_roles(definition: StepDefinition, roles: Iterable[str]) -> list[str] | UnsetType | None:
    """The roles of the user that generate the step; UNSET: it is for everyone; None: none of them does."""
    if not definition.roles:
        return UNSET
    meeting = [role for role in definition.roles if role in set(roles)]
    return meeting or None


def is_generated(definition: StepDefinition, track: Track, roles: Iterable[str], interests: Iterable[str]) -> bool:
    """Whether the catalog's step belongs into a checklist of this track, with these roles and interests."""
    return (
        track in definition.tracks
        and source_roles(definition, roles) is not None
        and (not definition.interests or not set(definition.interests).isdisjoint(interests))
    )


def initialized(known: Knowledge, kept: GuidedChecklist | None = None, progress: Progress | None = None) -> Outcome:
    """A new checklist: the track's steps for the user's roles and interests, those already done marked so.

    With `kept`, steps that were completed or skipped before stay, also where none would be made now, as a refresh has
    them stay; so does the time at which that checklist was completed. The same input gives the same checklist.
    """
    before = {step.step_id: step for step in steps_of(kept) if step.status in DONE}
    steps = []
    for definition in known.published.catalog.steps:
        if definition.step_id in before:
            steps.append(_described(definition, known.roles, before[definition.step_id]))
        elif is_generated(definition, known.track, known.roles, known.interests):
            steps.append(_new_step(definition, known.roles))
    present = {step.step_id for step in steps}
    steps += [step for step in before.values() if step.step_id not in present and step.status is Status.COMPLETED]
    evidence = {step_id: why for step_id, why in (progress.evidence if progress else {}).items() if step_id in before}
    checklist = GuidedChecklist(
        track=known.track,
        roles=list(known.roles),
        product_interests=list(known.interests),
        steps=steps,
        computed_at=known.now,
        completed_at=UNSET if kept is None else kept.completed_at,
    )
    return _evaluated(checklist, evidence, known)


def refreshed(checklist: GuidedChecklist, progress: Progress | None, known: Knowledge) -> Outcome:
    """The checklist as it is now: open steps whose condition is met are completed, steps the catalog or a role has
    brought since are added, and those the catalog no longer has go unless they were completed. Nothing done is lost.
    """
    definitions = {definition.step_id: definition for definition in known.published.catalog.steps}
    present = {step.step_id for step in steps_of(checklist)}
    steps = []
    for step in steps_of(checklist):
        definition = definitions.get(step.step_id)
        if definition is not None:
            steps.append(_described(definition, known.roles, step))
        elif step.status is Status.COMPLETED or progress is None:
            steps.append(step)
    steps += [
        _new_step(definition, known.roles)
        for definition in definitions.values()
        if definition.step_id not in present and is_generated(definition, known.track, known.roles, known.interests)
    ]
    changed = msgspec.structs.replace(checklist, steps=_in_order(steps), computed_at=known.now)
    return _evaluated(changed, progress.evidence if progress else {}, known)


def _new_step(definition: StepDefinition, roles: Iterable[str]) -> Step:
    return Step(
        step_id=definition.step_id,
        title=definition.title,
        description=definition.description,
        cta_label=definition.cta_label,
        cta_route=definition.cta_route,
        status=Status.UP_NEXT,
        sort_order=definition.sort_order,
        source_roles=source_roles(definition, roles) or UNSET,
    )


def _described(definition: StepDefinition, roles: Iterable[str], step: Step) -> Step:
    """The step with the catalog's present texts; roles that generate it now join those that did before."""
    fresh = _new_step(definition, roles)
    before = [] if step.source_roles is UNSET else step.source_roles
    now = [] if fresh.source_roles is UNSET else fresh.source_roles
    joined = [role for role in definition.roles if role in {*before, *now}]
    return msgspec.structs.replace(
        fresh,
        status=step.status,
        completed_at=step.completed_at,
        completed_by=step.completed_by,
        source_roles=joined or (before or UNSET if definition.roles else UNSET),
    )


def _in_order(steps: Iterable[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: step.sort_order)


def arrived(checklist: GuidedChecklist, progress: Progress, known: Knowledge, concerned: Collection[str]) -> Outcome:
    """The checklist after signals that the conditions of the steps `concerned` ask for; nothing else changes.

    A step that signals completed before gets its time from the late ones too, so that their order does not matter.
    """
    outcome = _evaluated(checklist, progress.evidence, known, concerned)
    done = {step.step_id for step in steps_of(checklist) if step.status is Status.COMPLETED}
    corrections = {
        step_id: why
        for step_id in done.intersection(concerned)
        if (why := _corrected(step_id, progress.evidence.get(step_id), known))
    }
    steps = [
        completed(step, corrections[step.step_id]) if step.step_id in corrections else step
        for step in steps_of(outcome.checklist)
    ]
    return msgspec.structs.replace(
        outcome,
        checklist=msgspec.structs.replace(outcome.checklist, steps=steps),
        progress=msgspec.structs.replace(progress, evidence={**outcome.progress.evidence, **corrections}),
        corrections=corrections,
    )


def can_arrive(
    steps: Iterable[StepStatus],
    progress: Progress,
    sharing: Sharing,
    published: Published,
    earliest: Mapping[str, datetime],
) -> bool:
    """Whether signals may complete one of the steps, or give it an earlier time; otherwise `arrived` changes nothing.

    `earliest` says by the name of the signal when the first of them happened.
    """
    done = done_for_all(sharing, progress.enterprise_id)
    for step in steps:
        condition = published.conditions.get(step.step_id)
        if condition is not None and not condition.signals.isdisjoint(earliest):
            why = standing(step, progress, sharing, done)
            if why is None:
                stored = progress.evidence.get(step.step_id)
                if step.status is not Status.COMPLETED or stored is not None:
                    return True
            elif why.how == "signal" and _may_be_earlier(condition, why, earliest):
                return True
    return False


def _may_be_earlier(condition: Condition, why: Evidence, earliest: Mapping[str, datetime]) -> bool:
    """Whether, after these signals, a step that signals completed may have been complete since an earlier time.

    Only an earlier signal says more where the condition asks whether signals were seen; so it does of the user's own
    evidence where the condition asks for one signal. Otherwise a signal of any time may be the one after which
    earlier ones suffice: others of the user's, or the user's own where somebody else has done the step for all.
    """
    if not condition.asks_whether_seen and (why.shared or len(condition.signals) > 1):
        return True
    return why.by is None or min(earliest[name] for name in condition.signals if name in earliest) < why.at


def _corrected(step_id: str, evidence: Evidence | None, known: Knowledge) -> Evidence | None:
    """What the user's own signals say instead, of a step that signals completed before: theirs, or those of somebody
    else who did it for all.
    """
    condition = known.published.conditions.get(step_id)
    if condition is None or evidence is None or evidence.how != "signal":
        return None
    try:
        why = _signalled(condition, known)
    except ConditionFailure:
        return None
    if why is None or why == msgspec.structs.replace(evidence, shared=False, enterprise_id=None):
        return None
    return why if evidence.gives_way_to(why) else None


def _evaluated(
    checklist: GuidedChecklist,
    evidence: Mapping[str, Evidence],
    known: Knowledge,
    concerned: Collection[str] | None = None,
) -> Outcome:
    """Complete every step that is not completed and whose condition is met, or that somebody did for all."""
    failures: dict[str, str] = {}
    proofs: dict[str, Evidence] = {}
    steps = []
    for step in steps_of(checklist):
        is_asked = step.status is not Status.COMPLETED and (concerned is None or step.step_id in concerned)
        why = _proof(step.step_id, known, failures) if is_asked else None
        if why is not None:
            proofs[step.step_id] = why
        steps.append(step if why is None else completed(step, why))
    checklist = msgspec.structs.replace(checklist, steps=_in_order(steps))
    catalog = known.published
    progress = Progress(
        catalog.org_id, catalog.version, known.enterprise_id, {**evidence, **proofs}, published=catalog.published
    )
    return Outcome(with_completed_at(checklist, known.roles, known.now), progress, proofs, failures)


def _proof(step_id: str, known: Knowledge, failures: dict[str, str]) -> Evidence | None:
    shared = known.shared.get(step_id)
    if shared is not None:
        return shared
    condition = known.published.conditions.get(step_id)
    if condition is None:
        return None
    try:
        return _signalled(condition, known)
    except ConditionFailure as failure:
        failures[step_id] = failure.reason
        return None


def _signalled(condition: Condition, known: Knowledge) -> Evidence | None:
    """The evidence that a condition is met: the first signals that suffice, and the time when all of them had come.

    It depends on the signals alone, and not on when or in which order one looks at them.

    Raises:
        ConditionFailure: the condition gave no answer.
    """
    if not condition.evaluate(known.facts):
        return None
    by = None if known.person is None else str(known.person)
    counts = {name: known.facts.signals[name] for name in condition.signals if name in known.facts.signals}
    firsts = {name: count.first for name, count in counts.items() if count.count and count.first is not None}
    for at in sorted(set(firsts.values())):
        names = tuple(sorted(name for name, first in firsts.items() if first <= at))
        if len(names) == len(firsts) or _is_met(condition, known.facts, names):
            return Evidence("signal", at, by, names)
    return Evidence("signal", known.now, by)


def _is_met(condition: Condition, facts: Facts, names: Iterable[str]) -> bool:
    """Whether these signals alone suffice."""
    try:
        return condition.evaluate(msgspec.structs.replace(facts, signals={name: facts.signals[name] for name in names}))
    except ConditionFailure:
        return False


def counts_for_all_of(definition: StepDefinition | None, enterprise_id: str, why: Evidence) -> str | None:
    """Which enterprise it counts for that a step was completed, '' for the whole organization; None: for nobody else.

    `enterprise_id` is the one of the checklist that the step was completed in.
    """
    if definition is None or definition.scope is Scope.USER or why.shared:
        return None
    return enterprise_id if definition.scope is Scope.ENTERPRISE else ""


def steps_of(checklist: GuidedChecklist | None) -> Sequence[Step]:
    return () if checklist is None or checklist.steps is UNSET else checklist.steps


def with_completed_at(checklist: GuidedChecklist, roles: Iterable[str], now: datetime) -> GuidedChecklist:
    """The checklist with a true `completedAt`: set when the last visible step is done, cleared when one is open."""
    visible = visible_steps(steps_of(checklist), roles)
    if not visible or any(step.status in OPEN for step in visible):
        return msgspec.structs.replace(checklist, completed_at=UNSET)
    if checklist.completed_at is UNSET:
        return msgspec.structs.replace(checklist, completed_at=now)
    return checklist
