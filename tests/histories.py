"""Whether a history of calls to one checklist is linearizable.

Each call must seem to happen at one moment between its start and its end, as the rules say (Herlihy and Wing, 1990). In
general that is hard to decide. Here the journal tells in which order the writes were made, so that only the place
of the calls that wrote nothing must be found, and for these the earliest that fits is as good as any.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.checklist_model import Catalog, Kept, Model, Person

Statuses = Mapping[str, str]


@dataclass(frozen=True)
class Operation:
    """A call and its answer.

    `refusal` is the name of the problem, or ''; `version` and `shown` are what the answer's ETag and body say;
    `expects` is the version that If-Match named. A signal says which step it `completed`.
    """

    kind: str
    invoked: float
    returned: float
    step: str = ""
    to: str = ""
    admin: bool = False
    expects: int | None = None
    refusal: str = ""
    version: int | None = None
    shown: Statuses | None = None
    completed: str = ""


@dataclass(frozen=True)
class Entry:
    """An event of the journal: the version that was written, and the new statuses of the steps that moved."""

    type: str
    version: int
    moved: Statuses = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    version: int
    statuses: Statuses


class Checker:
    """What is wrong with a history, in sentences; nothing, if it is linearizable."""

    def __init__(self, catalog: Catalog, start: State, journal: Sequence[Entry]) -> None:
        self.model = Model(["somebody"])
        self.model.catalog = catalog
        self.states = [start]
        self.journal = journal
        self.faults: list[str] = []
        for entry in journal:
            self._replay(entry)
        self.places = {state.version: place for place, state in enumerate(self.states)}

    def check(self, history: Sequence[Operation]) -> list[str]:
        """The faults of the journal, and those of a history, all of whose calls were answered."""
        writers = self._writers(history)
        order = sorted(history, key=lambda operation: operation.invoked)
        placed: list[tuple[float, int]] = []
        for operation in order:
            # All that had ended before this call began lies before it.
            floor = max((place for returned, place in placed if returned < operation.invoked), default=0)
            place = self._place(operation, writers.get(id(operation)), floor)
            if place is not None:
                placed.append((operation.returned, place))
        return self.faults

    def _replay(self, entry: Entry) -> None:
        before = self.states[-1]
        if entry.version <= before.version:
            self.faults.append(f"version {entry.version} stands in the journal after {before.version}")
        for step, status in entry.moved.items():
            if entry.type == "step.moved":
                possible = not self._refusal(before, Operation("move", 0, 0, step, status, admin=True))
                possible = possible and before.statuses.get(step) != status and len(entry.moved) == 1
            else:
                spec = self.model.catalog.get(step)
                possible = status == "COMPLETED" != before.statuses.get(step) and spec is not None and bool(spec.proof)
            if not possible:
                self.faults.append(f"impossible: {step} from {before.statuses.get(step)} to {status} by {entry.type}")
        self.states.append(State(entry.version, {**before.statuses, **entry.moved}))

    def _refusal(self, state: State, operation: Operation) -> str:
        person = Person("somebody", has_checklist=True)
        person.steps = {step: Kept(status) for step, status in state.statuses.items()}
        stale = operation.expects is not None and operation.expects != state.version
        return self.model.refusal(person, operation.step, operation.to, admin=operation.admin, stale=stale)

    def _writers(self, history: Sequence[Operation]) -> dict[int, int]:
        """For each call that wrote, by its id, the place of what it wrote. Every entry has exactly one such call."""
        writers: dict[int, int] = {}
        for place, entry in enumerate(self.journal, start=1):
            before = self.states[place - 1]
            claims = [
                operation
                for operation in history
                if not operation.refusal
                and _claims(operation, entry)
                and not (operation.kind == "move" and self._refusal(before, operation))
            ]
            if entry.type == "steps.completed" and not entry.moved:
                continue  # A late signal said that a step had been completed earlier.
            if not claims or (len(claims) > 1 and entry.type != "step.moved"):
                self.faults.append(f"{len(claims)} calls are answered as the one that wrote {entry}")
            if claims:
                # Of two that move a step alike, the second finds it done and is answered the same version. One that
                # expects the version before cannot be that second one.
                writers[id(min(claims, key=lambda each: (each.expects is None, each.invoked)))] = place
        return writers

    def _place(self, operation: Operation, written: int | None, floor: int) -> int | None:
        """Where the call stands among the writes; a call that wrote nothing stands after the write it saw."""
        if written is not None:
            if written <= floor:
                self.faults.append(f"out of order: {operation} was made before what had been answered already")
            self._must_show(operation, written)
            return written
        if operation.refusal:
            return self._place_of_refusal(operation, floor)
        if operation.kind == "signal" and not operation.completed:
            return None
        place = self.places.get(-1 if operation.version is None else operation.version)
        if place is None:
            self.faults.append(f"acknowledged and not in the journal: {operation}")
            return None
        if place < floor:
            self.faults.append(f"stale: {operation} shows place {place}, and {floor} had been shown already")
        same = self.states[place].statuses.get(operation.step) == operation.to
        if operation.kind != "read" and not (
            operation.kind == "move" and same and not self._refusal_at(place, operation)
        ):
            self.faults.append(f"acknowledged and not in the journal: {operation}")
        self._must_show(operation, place)
        return place

    def _refusal_at(self, place: int, operation: Operation) -> str:
        return self._refusal(self.states[place], operation)

    def _place_of_refusal(self, operation: Operation, floor: int) -> int | None:
        for place in range(floor, len(self.states)):
            if self._refusal_at(place, operation) == operation.refusal:
                return place
        self.faults.append(f"refused without a reason: {operation}")
        return None

    def _must_show(self, operation: Operation, place: int) -> None:
        if operation.shown is not None and operation.shown != self.states[place].statuses:
            self.faults.append(f"{operation} shows what version {operation.version} is not")


def _claims(operation: Operation, entry: Entry) -> bool:
    """Whether the call is answered as the one that wrote the entry."""
    match operation.kind:
        case "signal":
            return entry.type == "steps.completed" and operation.completed in entry.moved
        case "refresh":
            return entry.type == "checklist.refreshed" and operation.version == entry.version
        case "move":
            moved = entry.type == "step.moved" and entry.moved == {operation.step: operation.to}
            return moved and operation.version == entry.version
    return False
