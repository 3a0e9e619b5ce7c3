"""The checker of histories finds a wrong one, and lets a right one pass."""

from dataclasses import replace

import pytest

from tests.checklist_model import Catalog, Spec
from tests.histories import Checker, Entry, Operation, State

CATALOG: Catalog = {"a": Spec(1), "b": Spec(2, requires=("a",)), "c": Spec(3, proof=("seen", 1), by_hand=False)}
START = State(1, {"a": "UP_NEXT", "b": "UP_NEXT", "c": "UP_NEXT"})
IN_PROGRESS = Entry("step.moved", 2, {"a": "IN_PROGRESS"})
COMPLETED = Entry("step.moved", 3, {"a": "COMPLETED"})
PROVEN = Entry("steps.completed", 4, {"c": "COMPLETED"})
JOURNAL = [IN_PROGRESS, COMPLETED, PROVEN]


def shown(a: str, c: str = "UP_NEXT") -> dict[str, str]:
    return {"a": a, "b": "UP_NEXT", "c": c}


STARTED = Operation("move", 1, 4, "a", "IN_PROGRESS", version=2, shown=shown("IN_PROGRESS"))
FINISHED = Operation("move", 5, 8, "a", "COMPLETED", version=3, expects=2, shown=shown("COMPLETED"))
SEEN = Operation("signal", 7, 12, completed="c")
READ = Operation("read", 2, 6, version=2, shown=shown("IN_PROGRESS"))
TOO_EARLY = Operation("move", 1, 6, "b", "IN_PROGRESS", refusal="prerequisites_open")
HISTORY = [STARTED, FINISHED, SEEN, READ, TOO_EARLY]


def faults(history: list[Operation], journal: list[Entry] | None = None) -> list[str]:
    return Checker(CATALOG, START, JOURNAL if journal is None else journal).check(history)


def test_a_right_history_passes() -> None:
    assert faults(HISTORY) == []


def test_of_two_equal_moves_the_one_that_expected_the_version_before_wrote() -> None:
    found_done = replace(FINISHED, invoked=4.5, expects=None)

    assert faults([STARTED, found_done, FINISHED, SEEN, READ, TOO_EARLY]) == []


@pytest.mark.parametrize(
    "operation",
    [
        # Calls that overlap may come in either order.
        Operation("read", 5, 9, version=2, shown=shown("IN_PROGRESS")),
        Operation("read", 5, 9, version=3, shown=shown("COMPLETED")),
        Operation("move", 6, 9, "a", "COMPLETED", version=3, shown=shown("COMPLETED")),
        Operation("move", 5, 9, "a", "UP_NEXT", refusal="illegal_transition"),
        Operation("move", 6, 9, "a", "SKIPPED", expects=2, refusal="precondition_failed"),
        Operation("move", 9, 10, "c", "COMPLETED", refusal="illegal_transition"),
        Operation("signal", 13, 14),
    ],
)
def test_what_else_could_have_been_answered_passes(operation: Operation) -> None:
    assert faults([*HISTORY, operation]) == []


@pytest.mark.parametrize(
    ("fault", "operation"),
    [
        ("stale", Operation("read", 9, 10, version=2, shown=shown("IN_PROGRESS"))),
        ("shows what", Operation("read", 9, 10, version=3, shown=shown("IN_PROGRESS"))),
        ("not in the journal", Operation("read", 9, 10, version=7, shown=shown("COMPLETED"))),
        ("not in the journal", Operation("move", 9, 10, "a", "SKIPPED", version=3, shown=shown("COMPLETED"))),
        ("not in the journal", Operation("refresh", 9, 10, version=3, shown=shown("COMPLETED"))),
        ("refused without a reason", Operation("move", 9, 10, "b", "IN_PROGRESS", refusal="prerequisites_open")),
        ("out of order", Operation("move", 0, 0.5, "a", "SKIPPED", expects=1, refusal="precondition_failed")),
        ("out of order", Operation("move", 1, 3, "a", "IN_PROGRESS", refusal="illegal_transition")),
        ("2 calls", Operation("signal", 9, 12, completed="c")),
    ],
)
def test_a_wrong_answer_is_found(fault: str, operation: Operation) -> None:
    assert any(fault in each for each in faults([*HISTORY, operation]))


def test_a_lost_update_is_found() -> None:
    """Two clients change what both have read, and each is told that it was done."""
    other = Operation("move", 5, 8, "a", "SKIPPED", expects=2, version=3, shown=shown("SKIPPED"))

    assert any("not in the journal" in each for each in faults([*HISTORY, other]))


def test_an_update_that_was_made_twice_is_found() -> None:
    twice = [IN_PROGRESS, replace(IN_PROGRESS, version=3), replace(COMPLETED, version=4), replace(PROVEN, version=5)]
    history = [STARTED, replace(FINISHED, version=4), SEEN]

    assert any("impossible" in each for each in faults(history, twice))


def test_a_transition_that_nobody_asked_for_is_found() -> None:
    assert any("0 calls" in each for each in faults([FINISHED, SEEN, TOO_EARLY]))


def test_a_transition_from_an_impossible_state_is_found() -> None:
    leap = [replace(COMPLETED, version=2)]
    history = [replace(FINISHED, version=2, expects=None)]

    assert any("impossible" in each for each in faults(history, leap))


def test_writes_in_another_order_than_they_were_answered_are_found() -> None:
    late = replace(STARTED, invoked=9.0, returned=10.0)

    assert any("out of order" in each for each in faults([late, FINISHED, SEEN]))


def test_a_journal_out_of_the_versions_order_is_found() -> None:
    assert any("stands in the journal after" in each for each in faults(HISTORY, [COMPLETED, IN_PROGRESS, PROVEN]))
