"""Why each step of the catalog is shown, hidden or not there at all, and by what it was done."""

from typing import Literal

import msgspec

from milepost.domain.catalog import Completion, StepDefinition, completion_of, localized
from milepost.domain.checklists import Knowledge, source_roles, steps_of
from milepost.domain.conditions import ConditionFailure
from milepost.domain.contract import GuidedChecklist, Status, Step
from milepost.domain.progress import Evidence, Progress
from milepost.domain.records import is_visible
from milepost.domain.transitions import open_prerequisites


class Explained(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One step, explained.

    `shown`: the user sees it. `hidden`: it is in the checklist, for roles that the user does not hold now.
    `not_generated`: it is not in the checklist; `reasons` say why. `roles` are those that would show it.
    `completion` says who may complete it, and `skippable` whether it may be skipped, by the catalog.
    """

    step_id: str
    title: str
    outcome: Literal["shown", "hidden", "not_generated"]
    reasons: list[str]
    status: Status | None = None
    roles: list[str] = []
    requires: list[str] = []
    completion: Completion | None = None
    skippable: bool | None = None
    condition: str | None = None
    condition_holds: bool | None = None
    condition_failure: str | None = None
    signals: dict[str, int] = {}
    evidence: Evidence | None = None


def explained(
    checklist: GuidedChecklist, progress: Progress | None, known: Knowledge, language: str
) -> list[Explained]:
    """Every step of the catalog in its order, then those of the checklist that the catalog no longer has.

    Titles of the catalog are in the `language`; those of the checklist are as it has them.
    """
    present = {step.step_id: step for step in steps_of(checklist)}
    visible = [step for step in present.values() if is_visible(step, set(known.roles))]
    definitions = known.published.catalog.steps
    in_catalog = {definition.step_id for definition in definitions}
    evidence = progress.evidence if progress else {}
    told = [
        _told(definition, present.get(definition.step_id), visible, evidence.get(definition.step_id), known, language)
        for definition in definitions
    ]
    past = [step for step in present.values() if step.step_id not in in_catalog]
    return told + [_told_of_the_past(step, evidence.get(step.step_id), known) for step in past]


def _told(
    definition: StepDefinition,
    step: Step | None,
    visible: list[Step],
    why: Evidence | None,
    known: Knowledge,
    language: str,
) -> Explained:
    told = Explained(
        step_id=definition.step_id,
        title=localized(definition, language).title,
        outcome="not_generated",
        reasons=[],
        requires=open_prerequisites(definition, visible),
        completion=completion_of(definition),
        skippable=definition.skippable,
        evidence=why,
    )
    if step is None:
        told.reasons = _why_not_generated(definition, known)
    else:
        told.status = step.status
        _tell_visibility(told, step, known)
    if set(definition.roles).isdisjoint(known.roles):
        told.roles = list(definition.roles)
    _tell_condition(told, definition, known)
    return told


def _told_of_the_past(step: Step, why: Evidence | None, known: Knowledge) -> Explained:
    told = Explained(
        step_id=step.step_id, title=step.title, outcome="shown", reasons=[], status=step.status, evidence=why
    )
    _tell_visibility(told, step, known)
    told.reasons.append("the catalog no longer has it")
    return told


def _tell_visibility(told: Explained, step: Step, known: Knowledge) -> None:
    if is_visible(step, set(known.roles)):
        told.outcome = "shown"
        meeting = [role for role in (step.source_roles or ()) if role in known.roles]
        told.reasons = [f"the user holds {', '.join(meeting)}" if meeting else "it is for everyone"]
    else:
        told.outcome = "hidden"
        told.reasons = [f"it is for {', '.join(step.source_roles or ())}, which the user does not hold"]


def _why_not_generated(definition: StepDefinition, known: Knowledge) -> list[str]:
    reasons = []
    if known.track not in definition.tracks:
        reasons.append(f"it is for track {' and '.join(definition.tracks)}; the user is on {known.track}")
    if source_roles(definition, known.roles) is None:
        reasons.append(f"it is for {', '.join(definition.roles)}, which the user does not hold")
    if definition.interests and set(definition.interests).isdisjoint(known.interests):
        reasons.append(f"it is for those interested in {', '.join(definition.interests)}")
    return reasons or ["it came after the checklist was last computed; a refresh adds it"]


def _tell_condition(told: Explained, definition: StepDefinition, known: Knowledge) -> None:
    condition = known.published.conditions.get(definition.step_id)
    if condition is None:
        return
    told.condition = definition.complete_when or None
    counts = known.facts.signals
    told.signals = {name: counts[name].count if name in counts else 0 for name in sorted(condition.signals)}
    try:
        told.condition_holds = condition.evaluate(known.facts)
    except ConditionFailure as failure:
        told.condition_failure = failure.reason
