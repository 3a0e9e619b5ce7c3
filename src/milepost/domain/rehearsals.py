"""A rehearsal: what a catalog would change for the users there are, before it is published.

Pure. Each user's checklist is refreshed twice, under the present catalog and under the proposed one; what then differs
in what they see is what publishing would change. So the same catalog once more changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from milepost.domain.catalog import Scope
from milepost.domain.checklists import Knowledge, Outcome, Published, counts_for_all_of, refreshed, steps_of
from milepost.domain.contract import GuidedChecklist, Status, Step
from milepost.domain.progress import Evidence, Progress
from milepost.domain.records import visible_steps

SAMPLES = 5
"""Users that are named of those a step changes for."""


class Subject(msgspec.Struct, frozen=True):
    """Somebody with a checklist that the server made, and what is known of them; which catalog `known` has is open."""

    user_id: str
    org_id: str
    checklist: GuidedChecklist
    progress: Progress
    known: Knowledge


class Difference(msgspec.Struct, frozen=True):
    """What differs for one user: steps that they would see or no longer see, that would be completed and would not be
    otherwise, and those whose condition would fail, for a reason for which it does not fail now.
    """

    gained: Sequence[Step]
    lost: Sequence[Step]
    completed: Sequence[Step]
    failed: Sequence[tuple[Step, str]]


def difference(before: Outcome, after: Outcome, roles: Sequence[str]) -> Difference:
    """What somebody with these roles sees differently in the one checklist and in the other."""
    seen = {step.step_id: step for step in visible_steps(steps_of(before.checklist), roles)}
    would_see = {step.step_id: step for step in visible_steps(steps_of(after.checklist), roles)}
    done = {step_id for step_id, step in seen.items() if step.status is Status.COMPLETED}
    return Difference(
        gained=[step for step_id, step in would_see.items() if step_id not in seen],
        lost=[step for step_id, step in seen.items() if step_id not in would_see],
        completed=[
            step for step_id, step in would_see.items() if step.status is Status.COMPLETED and step_id not in done
        ],
        failed=[
            (would_see[step_id], reason)
            for step_id, reason in after.failures.items()
            if step_id in would_see and before.failures.get(step_id) != reason
        ],
    )


class Side:
    """One of the two catalogs (None: there is none), and what would be done for all under it."""

    def __init__(self, published: Published | None) -> None:
        self.published = published
        self.definitions = {} if published is None else {step.step_id: step for step in published.catalog.steps}
        self._done: dict[tuple[str, str], dict[str, Evidence]] = {}

    @property
    def proves_for_all(self) -> bool:
        """Whether the condition of some step completes it for others too."""
        conditions = {} if self.published is None else self.published.conditions
        return any(self.definitions[step_id].scope is not Scope.USER for step_id in conditions)

    def outcome(self, subject: Subject) -> Outcome:
        """The subject's checklist after a refresh. Without a catalog none is possible, and it stays as it is."""
        if self.published is None:
            return Outcome(subject.checklist, subject.progress, {}, {})
        known = msgspec.structs.replace(subject.known, published=self.published, shared=self._shared(subject))
        return refreshed(subject.checklist, subject.progress, known)

    def _shared(self, subject: Subject) -> Mapping[str, Evidence]:
        here = (self._done.get((subject.org_id, place), {}) for place in ("", subject.known.enterprise_id))
        return {step_id: why for done in (*here, subject.known.shared) for step_id, why in done.items()}

    def learn(self, subject: Subject) -> None:
        """Remember what the subject's signals would do for all."""
        for step_id, why in self.outcome(subject).proofs.items():
            place = counts_for_all_of(self.definitions.get(step_id), subject.known.enterprise_id, why)
            if place is not None:
                done = self._done.setdefault((subject.org_id, place), {})
                done.setdefault(step_id, msgspec.structs.replace(why, shared=True, enterprise_id=place))


class Sample(msgspec.Struct, rename="camel", frozen=True):
    """One of the users that a step changes for, and in which organization."""

    org_id: str
    user_id: str


class Users(msgspec.Struct, rename="camel"):
    """How many users, and the first five of them."""

    count: int = 0
    samples: list[Sample] = []

    def add(self, subject: Subject) -> None:
        self.count += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(Sample(subject.org_id, subject.user_id))


class Failures(Users):
    """Users for whom a condition would fail, and why it would for the first of them."""

    reason: str | UnsetType = UNSET


class RehearsedStep(msgspec.Struct, rename="camel", kw_only=True):
    """What would change with one step: who would gain it, lose it and have it completed, and whose condition fails."""

    step_id: str
    title: str
    gained: Users = msgspec.field(default_factory=Users)
    lost: Users = msgspec.field(default_factory=Users)
    completed: Users = msgspec.field(default_factory=Users)
    failed: Failures = msgspec.field(default_factory=Failures)


class PresentCatalog(msgspec.Struct, rename="camel", frozen=True):
    """The version that was compared with; without `orgId` the platform's."""

    version: int
    org_id: str | UnsetType = UNSET


class Rehearsal(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """What publishing would change: of how many users, whether these were all, how many would see a difference, and
    which steps it concerns. `present` is absent where no catalog is published yet.
    """

    users: int
    complete: bool
    affected: int
    steps: Sequence[RehearsedStep]
    present: PresentCatalog | UnsetType = UNSET


class Tally:
    """Counts what publishing would change, user by user."""

    def __init__(self, present: Published | None, proposed: Published) -> None:
        self._present, self._proposed = Side(present), Side(proposed)
        self._users = self._affected = 0
        self._steps: dict[str, RehearsedStep] = {}

    @property
    def learns_first(self) -> bool:
        """Whether one user's signals can complete a step for others, so that all must be looked at before counting."""
        return self._present.proves_for_all or self._proposed.proves_for_all

    def learn(self, subjects: Iterable[Subject]) -> None:
        """Look at users before counting, for what their signals would do for all."""
        for subject in subjects:
            self._present.learn(subject)
            self._proposed.learn(subject)

    def count(self, subjects: Iterable[Subject]) -> None:
        """Count what would change for these users."""
        for subject in subjects:
            before, after = self._present.outcome(subject), self._proposed.outcome(subject)
            self._users += 1
            self._add(subject, difference(before, after, subject.known.roles))

    def _add(self, subject: Subject, found: Difference) -> None:
        self._affected += bool(found.gained or found.lost or found.completed)
        for step in found.gained:
            self._of(step).gained.add(subject)
        for step in found.lost:
            self._of(step).lost.add(subject)
        for step in found.completed:
            self._of(step).completed.add(subject)
        for step, reason in found.failed:
            failed = self._of(step).failed
            failed.reason = reason if failed.reason is UNSET else failed.reason
            failed.add(subject)

    def _of(self, step: Step) -> RehearsedStep:
        return self._steps.setdefault(step.step_id, RehearsedStep(step_id=step.step_id, title=step.title))

    def rehearsal(self, *, complete: bool) -> Rehearsal:
        """The answer: the proposed catalog's steps in its order, then those that would go in the present one's."""
        order = {step_id: n for n, step_id in enumerate((*self._proposed.definitions, *self._gone()))}
        steps = sorted(self._steps.values(), key=lambda step: order.get(step.step_id, len(order)))
        return Rehearsal(
            users=self._users,
            complete=complete,
            affected=self._affected,
            steps=steps,
            present=_named(self._present.published),
        )

    def _gone(self) -> list[str]:
        return [step_id for step_id in self._present.definitions if step_id not in self._proposed.definitions]


def _named(published: Published | None) -> PresentCatalog | UnsetType:
    return UNSET if published is None else PresentCatalog(published.version, published.org_id or UNSET)
