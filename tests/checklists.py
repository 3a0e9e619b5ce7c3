"""What the tests of the pure checklist share: catalogs, what is known of a user, and a look at what came out."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from milepost.domain.catalog import Catalog, StepDefinition
from milepost.domain.checklists import Knowledge, Published, steps_of
from milepost.domain.conditions import Condition, Facts, SignalCount, compile_condition
from milepost.domain.contract import GuidedChecklist, Status, Step, Track

UP_NEXT, IN_PROGRESS, COMPLETED, SKIPPED = Status.UP_NEXT, Status.IN_PROGRESS, Status.COMPLETED, Status.SKIPPED
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PERSON = UUID(int=7)

compiled = lru_cache(maxsize=None)(compile_condition)


def define(step_id: str, order: int = 10, **members: Any) -> StepDefinition:
    return StepDefinition(
        step_id=step_id,
        title=f"Title of {step_id}",
        description="",
        cta_label="Go",
        cta_route=f"/{step_id}",
        sort_order=order,
        **members,
    )


def publish(steps: Iterable[StepDefinition], version: int = 1) -> Published:
    steps = list(steps)
    conditions: dict[str, Condition] = {
        step.step_id: compiled(step.complete_when) for step in steps if step.complete_when is not UNSET
    }
    return Published("acme", version, Catalog(name="Onboarding", steps=steps), conditions)


def known(published: Published, **members: Any) -> Knowledge:
    """What is known of a user: nothing but the catalog, and what is named."""
    plain: dict[str, Any] = {"track": Track.A, "roles": [], "interests": [], "now": NOON, "person": PERSON}
    plain |= {"facts": Facts(roles=members.get("roles", ()), interests=members.get("interests", ()))}
    return Knowledge(published=published, **(plain | members))


def minute(number: int) -> datetime:
    return NOON - timedelta(hours=10) + timedelta(minutes=number)


def counted(signals: Iterable[tuple[str, int]]) -> dict[str, SignalCount]:
    """Signals of a name and a minute, counted."""
    counts: dict[str, SignalCount] = {}
    for name, number in signals:
        at, old = minute(number), counts.get(name, SignalCount())
        counts[name] = SignalCount(old.count + 1, min(old.first or at, at), max(old.last or at, at))
    return counts


def statuses(checklist: GuidedChecklist) -> dict[str, Status]:
    return {step.step_id: step.status for step in steps_of(checklist)}


def with_statuses(checklist: GuidedChecklist, wanted: Mapping[str, Status]) -> GuidedChecklist:
    """The checklist with some steps moved, as if their user had done so."""
    steps = [marked(step, wanted.get(step.step_id, step.status)) for step in steps_of(checklist)]
    return msgspec.structs.replace(checklist, steps=steps)


def marked(step: Step, status: Status) -> Step:
    """The step with another status, and the time that goes with it."""
    return msgspec.structs.replace(step, status=status, completed_at=NOON if status is COMPLETED else UNSET)


def plain_step(step_id: str, **members: Any) -> Step:
    plain: dict[str, Any] = {
        "title": "",
        "description": "",
        "cta_label": "",
        "cta_route": "",
        "status": UP_NEXT,
        "sort_order": 1,
    }
    return Step(step_id=step_id, **(plain | members))
