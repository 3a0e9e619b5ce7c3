"""How a person moves a step: which changes of status there are, and what must come first (design: Transitions)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET

from milepost.domain.catalog import Completion, StepDefinition, completion_of
from milepost.domain.checklists import DONE
from milepost.domain.contract import Status, Step
from milepost.problems import (
    ILLEGAL_TRANSITION,
    NOT_SKIPPABLE,
    PREREQUISITES_OPEN,
    PROOF_REQUIRED,
    Problem,
)

MOVES = frozenset(
    {
        (Status.UP_NEXT, Status.IN_PROGRESS),
        (Status.IN_PROGRESS, Status.COMPLETED),
        (Status.UP_NEXT, Status.SKIPPED),
        (Status.IN_PROGRESS, Status.SKIPPED),
        (Status.SKIPPED, Status.UP_NEXT),
        (Status.SKIPPED, Status.IN_PROGRESS),
    }
)
RESET = (Status.COMPLETED, Status.UP_NEXT)


class Move(msgspec.Struct, frozen=True):
    """A change of status that somebody asks for. `by` is the internal uuid of who asks, None for a service."""

    to: Status
    at: datetime
    by: UUID | None
    may_reset: bool = False


def moved(step: Step, move: Move, definition: StepDefinition | None, visible: Sequence[Step]) -> Step:
    """The step after the move; the same step where it has that status already.

    `definition` is the catalog's, None for a step that no catalog knows; `visible` are the steps the user sees.

    Raises:
        Problem: `illegal_transition` (409) names both states; `prerequisites_open` (409) names the steps that come
            first; `not_skippable` and `proof_required` (422) say what would do instead.
    """
    if step.status is move.to:
        return step
    change = (step.status, move.to)
    if change not in MOVES and not (change == RESET and move.may_reset):
        raise Problem(ILLEGAL_TRANSITION, _sentence(step.status, move.to))
    if definition is not None:
        _require_allowed(step, move, definition, visible)
    if move.to is Status.COMPLETED:
        return msgspec.structs.replace(
            step, status=move.to, completed_at=move.at, completed_by=UNSET if move.by is None else move.by
        )
    return msgspec.structs.replace(step, status=move.to, completed_at=UNSET, completed_by=UNSET)


def _sentence(now: Status, wanted: Status) -> str:
    if (now, wanted) == RESET:
        return "A step that is COMPLETED goes back to UP_NEXT only by an admin's reset."
    ways = sorted(to for start, to in MOVES if start is now)
    onward = f"from {now} it can go to {' or '.join(ways)}" if ways else f"{now} is final"
    return f"A step cannot go from {now} to {wanted}; {onward}."


def _require_allowed(step: Step, move: Move, definition: StepDefinition, visible: Sequence[Step]) -> None:
    if move.to is Status.SKIPPED and not definition.skippable:
        raise Problem(NOT_SKIPPABLE, "This step cannot be skipped.")
    if move.to in {Status.IN_PROGRESS, Status.COMPLETED}:
        first = open_prerequisites(definition, visible)
        if first:
            raise Problem(PREREQUISITES_OPEN, f"{step.step_id} comes after {', '.join(first)}: do that first.")
    if move.to is Status.COMPLETED and completion_of(definition) is Completion.SIGNAL:
        raise Problem(
            PROOF_REQUIRED,
            "This step is completed by proof alone, nobody can mark it done by hand; "
            f"it is done once this holds: {definition.complete_when}",
        )


def open_prerequisites(definition: StepDefinition, visible: Iterable[Step]) -> list[str]:
    """The steps that must be done before this one and are not; one that the user does not see holds nothing up."""
    undone = {step.step_id for step in visible if step.status not in DONE}
    return [step_id for step_id in definition.requires if step_id in undone]
