"""A simple model of the guided checklist: what `docs/contract.md` says, written without the code that does it.

`test_checklist_machine.py` holds the service against it. Times of signals are minutes; a refusal is its problem's name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

OPEN, DONE = {"UP_NEXT", "IN_PROGRESS"}, {"COMPLETED", "SKIPPED"}
LEGAL = {
    ("UP_NEXT", "IN_PROGRESS"), ("UP_NEXT", "SKIPPED"), ("IN_PROGRESS", "COMPLETED"), ("IN_PROGRESS", "SKIPPED"),
    ("SKIPPED", "UP_NEXT"), ("SKIPPED", "IN_PROGRESS"),
}  # fmt: skip
RESET = ("COMPLETED", "UP_NEXT")


@dataclass(frozen=True)
class Spec:
    """A step of a catalog. `proof`: the signal and how many of it complete the step."""

    order: int
    roles: frozenset[str] = frozenset()
    interests: frozenset[str] = frozenset()
    tracks: str = "AB"
    requires: tuple[str, ...] = ()
    proof: tuple[str, int] | None = None
    by_hand: bool = True
    scope: str = "user"
    skippable: bool = True


Catalog = dict[str, Spec]


@dataclass(frozen=True)
class Signal:
    """`subject` and `enterprise` of '' are everyone and the whole organization."""

    id: str
    subject: str
    type: str
    enterprise: str
    minute: int


@dataclass(frozen=True)
class Why:
    """Why a step is completed: by a signal since a minute, or by a person's `n`th move.

    `place`: for all of an enterprise, of the whole organization (''), or for nobody else (None).
    """

    by: str
    minute: int | None = None
    signal: str = ""
    n: int = 0
    place: str | None = None


@dataclass(frozen=True)
class Kept:
    """A step as it is stored. `sources` None: for everyone."""

    status: str
    sources: frozenset[str] | None = None
    why: Why | None = None


@dataclass
class Person:
    name: str
    roles: set[str] = field(default_factory=set)
    been_in: set[str] = field(default_factory=set)
    has_checklist: bool = False
    track: str = "A"
    enterprise: str = ""
    interests: list[str] = field(default_factory=list)
    steps: dict[str, Kept] = field(default_factory=dict)
    dismissed: bool = False
    writes: int = 0


class Model:
    """One organization: its catalog, its people, what happened, and what somebody has done for all."""

    def __init__(self, names: Iterable[str]) -> None:
        self.people = {name: Person(name) for name in names}
        self.catalog: Catalog = {}
        self.signals: dict[tuple[str, str], Signal] = {}
        self.shared: dict[tuple[str, str], Why | None] = {}
        """What is done for all, by place and step; None: an admin's reset took it back."""

    # What is seen.

    def steps(self, person: Person) -> dict[str, Kept]:
        """The person's steps: what was done for all is as it is now, whatever they have stored of it."""
        done = self._done_for(person.enterprise)
        steps = {}
        for name, stored in person.steps.items():
            kept, why = stored, stored.why
            if why is not None and why.place is not None and (why.place, name) in self.shared:
                now = self.shared[why.place, name]
                kept = replace(kept, status="COMPLETED" if now else "UP_NEXT", why=now)
            if kept.status != "COMPLETED" and name in done:
                kept = replace(kept, status="COMPLETED", why=done[name])
            steps[name] = kept
        return steps

    def overlay(self, person: Person) -> list[str]:
        return [name for name, kept in self.steps(person).items() if kept != person.steps[name]]

    def _done_for(self, enterprise: str) -> dict[str, Why]:
        places = ["", enterprise]
        return {name: why for place in places for (where, name), why in self.shared.items() if where == place and why}

    def shown(self, person: Person) -> dict[str, Kept]:
        return {
            name: kept
            for name, kept in self.steps(person).items()
            if kept.sources is None or kept.sources & person.roles
        }

    def is_complete(self, person: Person) -> bool:
        shown = self.shown(person).values()
        return bool(shown) and all(kept.status in DONE for kept in shown)

    def counted(self, person: Person, name: str) -> list[int]:
        """The minutes of the signals of a name that count for the person's checklist."""
        return [
            signal.minute
            for signal in self.signals.values()
            if signal.type == name
            and signal.subject in {person.name, ""}
            and (signal.enterprise in {person.enterprise, ""} or person.enterprise == "")
        ]

    def proof(self, person: Person, spec: Spec | None) -> Why | None:
        if spec is None or spec.proof is None:
            return None
        name, needed = spec.proof
        minutes = self.counted(person, name)
        return Why(person.name, min(minutes), name) if len(minutes) >= needed else None

    # What changes.

    def write(self, person: Person, steps: dict[str, Kept]) -> None:
        person.steps, person.writes = steps, person.writes + 1

    def is_generated(self, person: Person, spec: Spec) -> bool:
        return (
            person.track in spec.tracks
            and (not spec.roles or bool(spec.roles & person.roles))
            and (not spec.interests or bool(spec.interests & set(person.interests)))
        )

    def described(self, person: Person, spec: Spec, kept: Kept) -> Kept:
        """The stored step with the roles that generate it now beside those that did before."""
        if not spec.roles:
            return replace(kept, sources=None)
        before = kept.sources or frozenset()
        return replace(kept, sources=spec.roles & (before | person.roles) or kept.sources)

    def initialize(self, person: Person, enterprise: str, interests: list[str] | None, *, keep: bool) -> None:
        before = {name: kept for name, kept in self.steps(person).items() if keep and kept.status in DONE}
        person.track = "B" if person.been_in - {enterprise} else "A"
        person.enterprise, person.has_checklist, person.dismissed = enterprise, True, False
        person.interests = person.interests if interests is None else interests
        steps = {name: kept for name, kept in before.items() if kept.status == "COMPLETED" or name in self.catalog}
        for name, spec in self.catalog.items():
            if name in steps or self.is_generated(person, spec):
                steps[name] = self.described(person, spec, steps.get(name, Kept("UP_NEXT")))
        self.write(person, self.evaluated(person, steps))

    def refresh(self, person: Person, enterprise: str | None) -> None:
        before = self.steps(person)
        person.enterprise = person.enterprise if enterprise is None else enterprise
        steps = {}
        for name, kept in before.items():
            if name in self.catalog:
                steps[name] = self.described(person, self.catalog[name], kept)
            elif kept.status == "COMPLETED":
                steps[name] = kept
        for name, spec in self.catalog.items():
            if name not in steps and self.is_generated(person, spec):
                steps[name] = self.described(person, spec, Kept("UP_NEXT"))
        self.write(person, self.evaluated(person, steps))

    def evaluated(self, person: Person, steps: dict[str, Kept]) -> dict[str, Kept]:
        done = self._done_for(person.enterprise)
        for name, kept in list(steps.items()):
            if kept.status != "COMPLETED":
                why = done.get(name) or self.proof(person, self.catalog.get(name))
                if why:
                    steps[name] = replace(kept, status="COMPLETED", why=self.share(person, name, why))
        return steps

    def share(self, person: Person, name: str, why: Why) -> Why:
        """Keep for all what counts for all, unless it was done earlier; answers why the step is completed."""
        spec = self.catalog.get(name)
        if spec is None or spec.scope == "user" or why.place is not None:
            return why
        place = "" if spec.scope == "organization" else person.enterprise
        told, known = replace(why, place=place), self.shared.get((place, name))
        if known is None or _is_earlier(told, known):
            self.shared[place, name] = told
        return told

    def move(self, person: Person, name: str, target: str, *, admin: bool, stale: bool) -> str:
        """Move a step; answers the name of the problem with which that is refused, or ''."""
        refusal = self.refusal(person, name, target, admin=admin, stale=stale)
        if refusal or self.shown(person)[name].status == target:
            return refusal
        steps = self.steps(person)
        before, why = steps[name], Why(person.name, n=person.writes) if target == "COMPLETED" else None
        steps[name] = replace(before, status=target, why=why and self.share(person, name, why))
        if before.status == "COMPLETED":
            # A reset, for all who are concerned.
            for place in {"", person.enterprise, before.why.place if before.why else None}:
                if (place, name) in self.shared:
                    self.shared[place or "", name] = None
        self.write(person, steps)
        return ""

    def refusal(self, person: Person, name: str, target: str, *, admin: bool, stale: bool) -> str:  # noqa: PLR0911 - one line for each problem
        """The name of the problem with which a move is refused, or ''."""
        if stale:
            return "precondition_failed"
        if not person.has_checklist:
            return "checklist_not_found"
        shown, spec = self.shown(person), self.catalog.get(name)
        if name not in shown:
            return "step_not_found"
        change = (shown[name].status, target)
        if change[0] == target:
            return ""
        if change not in LEGAL and not (admin and change == RESET):
            return "illegal_transition"
        if spec is None:
            return ""
        if target == "SKIPPED" and not spec.skippable:
            return "not_skippable"
        if target in {"IN_PROGRESS", "COMPLETED"}:
            if any(first in shown and shown[first].status in OPEN for first in spec.requires):
                return "prerequisites_open"
            if target == "COMPLETED" and not spec.by_hand:
                return "proof_required"
        return ""

    def report(self, signals: Sequence[Signal]) -> tuple[int, int]:
        """How many of the signals are new, and how many steps they complete."""
        new = []
        for signal in signals:
            if (signal.subject, signal.id) not in self.signals:
                self.signals[signal.subject, signal.id] = signal
                new.append(signal)
        subjects = {signal.subject for signal in new}
        told = {name: _earliest(signal for signal in new if signal.subject == name) for name in subjects}
        completed = self._arrived({name: types for name, types in told.items() if name})
        if "" in subjects:
            completed += self._arrived(dict.fromkeys(self.people, told[""]))
        return len(new), completed

    def _arrived(self, told: Mapping[str, Mapping[str, int]]) -> int:
        """People who are told of signals together do not see yet what one of them has thereby done for all."""
        seen = {name: self.steps(self.people[name]) for name in sorted(told) if self.people[name].has_checklist}
        completed = 0
        for person, steps in ((self.people[name], steps) for name, steps in seen.items()):
            before = dict(steps)
            for name, kept in before.items():
                spec = self.catalog.get(name)
                if spec is None or spec.proof is None or spec.proof[0] not in told[person.name]:
                    continue
                why = self.proof(person, spec)
                if why and _is_asked(spec, kept, told[person.name]) and _says_more(why, kept):
                    steps[name] = replace(kept, status="COMPLETED", why=self.share(person, name, why))
                    completed += kept.status != "COMPLETED"
            if steps != before:
                self.write(person, steps)
        return completed


def _earliest(signals: Iterable[Signal]) -> dict[str, int]:
    """The minute of the first signal of each type."""
    found: dict[str, int] = {}
    for signal in signals:
        found[signal.type] = min(signal.minute, found.get(signal.type, signal.minute))
    return found


def _is_asked(spec: Spec, kept: Kept, told: Mapping[str, int]) -> bool:
    """Whether signals are looked at for a step: of one that is done, earlier ones alone, unless what somebody else did
    for all may take several signals to be done by this person too.
    """
    if kept.status != "COMPLETED" or kept.why is None or kept.why.minute is None or spec.proof is None:
        return True
    signal, needed = spec.proof
    return (kept.why.place is not None and needed > 1) or told[signal] < kept.why.minute


def _says_more(why: Why, kept: Kept) -> bool:
    """Whether a signal completes the step, or says that one which signals completed was so earlier."""
    if kept.status != "COMPLETED":
        return True
    return kept.why is not None and kept.why.minute is not None and _is_earlier(why, kept.why)


def _is_earlier(why: Why, known: Why) -> bool:
    """People move steps later than all signals."""
    return why.minute is not None and (known.minute is None or why.minute < known.minute)
