"""The funnel: how many people started a checklist, did each step, and where they stopped.

What one person's checklist contributes is worked out from the record alone. Contributions are added up for each track
and day, and taken off again when they change: so the sums are those of the records, whatever happened in between.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

import msgspec
from msgspec import UNSET

from milepost.domain.contract import GuidedChecklist, Status, Step, Track

EPOCH = date(1970, 1, 1)
RATIO = 1.1
"""Each class of durations is so many times as wide as the one before: what it says is true within 5 percent."""

NOTHING = ""
"""Where somebody stopped who has not done a single step."""


class StepDone(msgspec.Struct, frozen=True, array_like=True):
    """A step of one person: its status, and the class of the time from the start of the checklist to its completion."""

    status: Status
    after: int | None = None


class Contribution(msgspec.Struct, frozen=True, rename="camel"):
    """What one person's checklist counts for. Days are counted from 1970-01-01, UTC; `started` in microseconds."""

    track: Track
    started: int
    finished_day: int | None
    dismissed: bool
    stopped: str | None
    steps: dict[str, StepDone]

    @property
    def day(self) -> int:
        return self.started // 86_400_000_000


class StepCounts(msgspec.Struct, omit_defaults=True):
    """How many have a step, how many did what with it, and by class of duration how long it took them."""

    shown: int = 0
    started: int = 0
    completed: int = 0
    skipped: int = 0
    after: dict[int, int] = {}


class DayCounts(msgspec.Struct, omit_defaults=True):
    """Of the checklists of one track that were started on one day, how many got how far; and how many checklists,
    started on whichever day, were finished on this one.
    """

    started: int = 0
    completed: int = 0
    dismissed: int = 0
    finished: int = 0
    steps: dict[str, StepCounts] = {}
    stopped: dict[str, int] = {}


Key = tuple[Track, int]
"""A track and a day."""


def contribution(checklist: GuidedChecklist, started: int) -> Contribution:
    """What a checklist counts for that was made at `started`, in microseconds since 1970."""
    steps = [] if checklist.steps is UNSET else checklist.steps
    finished = None if checklist.completed_at is UNSET else _day(checklist.completed_at)
    return Contribution(
        track=checklist.track,
        started=started,
        finished_day=finished,
        dismissed=checklist.dismissed_at is not UNSET,
        stopped=None if finished is not None else _last_done(steps),
        steps={step.step_id: StepDone(step.status, _after(step, started)) for step in steps},
    )


def _day(moment: datetime) -> int:
    return (moment.astimezone(UTC).date() - EPOCH).days


def _last_done(steps: Iterable[Step]) -> str:
    done = [step for step in steps if step.status is Status.COMPLETED]
    if not done:
        return NOTHING
    earliest = datetime.min.replace(tzinfo=UTC)
    times = [(earliest if step.completed_at is UNSET else step.completed_at, n) for n, step in enumerate(done)]
    # Of several at the same time, such as those that were marked at the start, the one that stands last.
    return done[max(times)[1]].step_id


def _after(step: Step, started: int) -> int | None:
    if step.status is not Status.COMPLETED or step.completed_at is UNSET:
        return None
    return duration_class(step.completed_at.timestamp() - started / 1_000_000)


def duration_class(seconds: float) -> int:
    """The class of a duration: 0 below a second, what was done before the start too."""
    return 0 if seconds < 1 else 1 + int(math.log(seconds, RATIO))


def seconds_of(number: int) -> int:
    """The middle of a class of durations, in whole seconds."""
    return 0 if number == 0 else round(RATIO ** (number - 0.5))


def count(days: dict[Key, DayCounts], one: Contribution, by: int) -> None:
    """Add a contribution to the days (`by` 1), or take it off again (-1)."""
    at = days.setdefault((one.track, one.day), DayCounts())
    at.started += by
    at.dismissed += by * one.dismissed
    if one.finished_day is not None:
        at.completed += by
        days.setdefault((one.track, one.finished_day), DayCounts()).finished += by
    if one.stopped is not None:
        _add(at.stopped, one.stopped, by)
    for step_id, step in one.steps.items():
        counts = at.steps.setdefault(step_id, StepCounts())
        counts.shown += by
        counts.started += by * (step.status in {Status.IN_PROGRESS, Status.COMPLETED})
        counts.completed += by * (step.status is Status.COMPLETED)
        counts.skipped += by * (step.status is Status.SKIPPED)
        if step.after is not None:
            _add(counts.after, step.after, by)
        if not counts.shown:
            del at.steps[step_id]


def _add(counts: "dict[int, int] | dict[str, int]", key: "int | str", by: int) -> None:
    some: dict[int | str, int] = counts  # type: ignore[assignment]
    some[key] = some.get(key, 0) + by
    if not some[key]:
        del some[key]


class FunnelStep(msgspec.Struct, rename="camel"):
    """A step in the funnel. `shown` counts the checklists that have it, also where a role taken away hides it."""

    step_id: str
    shown: int
    started: int
    completed: int
    skipped: int
    stopped_here: int
    median_seconds: int | None


class FunnelDay(msgspec.Struct):
    """How many checklists were started and how many completed on a day."""

    day: date
    started: int
    completed: int


class FunnelTrack(msgspec.Struct, rename="camel"):
    """The funnel of one track, its steps from the one that most have to the one that fewest have."""

    track: Track
    started: int
    completed: int
    dismissed: int
    stopped_before_any_step: int
    steps: list[FunnelStep]
    days: list[FunnelDay]


def funnel(track: Track, days: Mapping[int, DayCounts]) -> FunnelTrack:
    """The funnel of a track over some days."""
    total = DayCounts()
    for day in days.values():
        total.started += day.started
        total.completed += day.completed
        total.dismissed += day.dismissed
        for step_id, number in day.stopped.items():
            _add(total.stopped, step_id, number)
        for step_id, counts in day.steps.items():
            _merge(total.steps.setdefault(step_id, StepCounts()), counts)
    return FunnelTrack(
        track=track,
        started=total.started,
        completed=total.completed,
        dismissed=total.dismissed,
        stopped_before_any_step=total.stopped.get(NOTHING, 0),
        steps=[
            FunnelStep(
                step_id, each.shown, each.started, each.completed, each.skipped,
                total.stopped.get(step_id, 0), _median(each.after),
            )
            for step_id, each in sorted(total.steps.items(), key=lambda one: (-one[1].completed, -one[1].shown, one[0]))
        ],
        days=[
            FunnelDay(EPOCH + timedelta(days=number), day.started, day.finished)
            for number, day in sorted(days.items())
            if day.started or day.finished
        ],
    )  # fmt: skip


def _merge(total: StepCounts, counts: StepCounts) -> None:
    total.shown += counts.shown
    total.started += counts.started
    total.completed += counts.completed
    total.skipped += counts.skipped
    after = total.after
    for number, people in counts.after.items():
        after[number] = after.get(number, 0) + people


def _median(after: Mapping[int, int]) -> int | None:
    """The duration that half of those who did the step stayed within."""
    half, seen = sum(after.values()) / 2, 0
    for number, people in sorted(after.items()):
        seen += people
        if seen >= half:
            return seconds_of(number)
    return None
