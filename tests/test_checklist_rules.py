"""The guided checklist's rules as tables that anybody can read.

Pure: no service and no database. `test_checklist_properties.py` holds them against every catalog there might be,
`test_checklists.py` and `test_checklist_machine.py` have them over HTTP.
"""

from itertools import product
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from milepost.domain.catalog import Completion
from milepost.domain.checklists import initialized, refreshed, steps_of, with_completed_at
from milepost.domain.conditions import Facts
from milepost.domain.contract import GuidedChecklist, Status, Track
from milepost.domain.records import visible_steps
from milepost.domain.transitions import Move, moved
from milepost.problems import Problem
from tests.checklists import (
    COMPLETED,
    IN_PROGRESS,
    NOON,
    PERSON,
    SKIPPED,
    UP_NEXT,
    counted,
    define,
    known,
    marked,
    minute,
    plain_step,
    publish,
    statuses,
    with_statuses,
)

ONBOARDING = publish(
    [
        define("profile", 10),
        define("pair", 20, roles=["dispatcher", "owner"], complete_when="signals['paired'].count >= 2"),
        define("billing", 30, roles=["owner"], skippable=False),
        define("welcome-back", 40, tracks=[Track.B]),
        define("maps", 50, interests=["maps", "routing"]),
        define("route", 60, roles=["dispatcher"], interests=["routing"], requires=["profile", "billing"]),
    ]
)


@pytest.mark.parametrize(
    ("track", "roles", "interests", "steps"),
    [
        ("A", "",                 "",             "profile"),
        ("B", "",                 "",             "profile welcome-back"),
        ("A", "dispatcher",       "",             "profile pair"),
        ("A", "owner",            "",             "profile pair billing"),
        ("A", "dispatcher owner", "",             "profile pair billing"),
        ("A", "clerk",            "",             "profile"),
        ("A", "",                 "maps",         "profile maps"),
        ("A", "",                 "routing",      "profile maps"),
        ("A", "dispatcher",       "routing",      "profile pair maps route"),
        ("A", "owner",            "routing",      "profile pair billing maps"),
        ("B", "dispatcher",       "maps routing", "profile pair welcome-back maps route"),
        ("A", "",                 "weather",      "profile"),
    ],
)  # fmt: skip
def test_who_gets_which_steps(track: str, roles: str, interests: str, steps: str) -> None:
    outcome = initialized(known(ONBOARDING, track=Track(track), roles=roles.split(), interests=interests.split()))

    assert list(statuses(outcome.checklist)) == steps.split()


@pytest.mark.parametrize(
    ("step_is_for", "user_holds", "shown"),
    [
        ("",                 "",                 "yes"),
        ("",                 "dispatcher",       "yes"),
        ("dispatcher",       "",                 "no"),
        ("dispatcher",       "dispatcher",       "yes"),
        ("dispatcher",       "owner",            "no"),
        ("dispatcher owner", "owner",            "yes"),
        ("dispatcher",       "clerk dispatcher", "yes"),
    ],
)  # fmt: skip
def test_who_sees_a_step(step_is_for: str, user_holds: str, shown: str) -> None:
    step = marked(plain_step("x"), UP_NEXT)
    step = msgspec.structs.replace(step, source_roles=step_is_for.split() or UNSET)

    assert visible_steps([step], user_holds.split()) == ([step] if shown == "yes" else [])


MOVES = """
from \\ to    UP_NEXT  IN_PROGRESS  COMPLETED  SKIPPED
UP_NEXT      -        yes          no         yes
IN_PROGRESS  no       -            yes        yes
COMPLETED    admin    no           -          no
SKIPPED      yes      yes          no         -
"""
"""Who may move a step from where to where; `-`: it is there already, and nothing changes."""


def moves() -> dict[tuple[Status, Status], str]:
    _, heading, *lines = MOVES.splitlines()
    targets = heading.removeprefix("from \\ to").split()
    return {
        (Status(start), Status(target)): who
        for start, *cells in (line.split() for line in lines)
        for target, who in zip(targets, cells, strict=True)
    }


@pytest.mark.parametrize("admin", [False, True], ids=["by the user", "by an admin"])
@pytest.mark.parametrize(("start", "target"), list(product(Status, Status)), ids=" to ".join)
def test_which_moves_there_are(start: Status, target: Status, *, admin: bool) -> None:
    step, move = marked(plain_step("x"), start), Move(target, NOON, PERSON, may_reset=admin)

    match moves()[start, target]:
        case "-":
            assert moved(step, move, None, [step]) is step
        case "yes":
            assert moved(step, move, None, [step]).status is target
        case "admin" if admin:
            assert moved(step, move, None, [step]).status is target
        case _:
            with pytest.raises(Problem) as refusal:
                moved(step, move, None, [step])
            assert refusal.value.kind.name == "illegal_transition"
            assert start in refusal.value.detail
            assert target in refusal.value.detail


PROOF: dict[str, Any] = {"complete_when": "signals['paired'].count > 0"}


@pytest.mark.parametrize(
    ("definition", "first", "start", "target", "answer"),
    [
        # what the catalog says          the step before   from         to           answer
        ({"requires": ["first"]},        UP_NEXT,          UP_NEXT,     IN_PROGRESS, "prerequisites_open"),
        ({"requires": ["first"]},        IN_PROGRESS,      UP_NEXT,     IN_PROGRESS, "prerequisites_open"),
        ({"requires": ["first"]},        IN_PROGRESS,      IN_PROGRESS, COMPLETED,   "prerequisites_open"),
        ({"requires": ["first"]},        IN_PROGRESS,      SKIPPED,     IN_PROGRESS, "prerequisites_open"),
        ({"requires": ["first"]},        SKIPPED,          UP_NEXT,     IN_PROGRESS, "accepted"),
        ({"requires": ["first"]},        COMPLETED,        UP_NEXT,     IN_PROGRESS, "accepted"),
        ({"requires": ["first"]},        UP_NEXT,          UP_NEXT,     SKIPPED,     "accepted"),
        ({"requires": ["first"]},        UP_NEXT,          SKIPPED,     UP_NEXT,     "accepted"),
        ({"requires": ["unseen"]},       UP_NEXT,          UP_NEXT,     IN_PROGRESS, "accepted"),
        ({"skippable": False},           UP_NEXT,          UP_NEXT,     SKIPPED,     "not_skippable"),
        ({"skippable": False},           UP_NEXT,          IN_PROGRESS, SKIPPED,     "not_skippable"),
        ({"skippable": False},           UP_NEXT,          UP_NEXT,     IN_PROGRESS, "accepted"),
        (PROOF,                          UP_NEXT,          IN_PROGRESS, COMPLETED,   "proof_required"),
        (PROOF,                          UP_NEXT,          UP_NEXT,     IN_PROGRESS, "accepted"),
        ({**PROOF, "completion": "either"}, UP_NEXT,       IN_PROGRESS, COMPLETED,   "accepted"),
        ({**PROOF, "completion": "manual"}, UP_NEXT,       IN_PROGRESS, COMPLETED,   "accepted"),
        ({"completion": "manual"},       UP_NEXT,          IN_PROGRESS, COMPLETED,   "accepted"),
    ],
)  # fmt: skip
def test_what_the_catalog_forbids(
    definition: dict[str, Any], first: Status, start: Status, target: Status, answer: str
) -> None:
    if "completion" in definition:
        definition = {**definition, "completion": Completion(definition["completion"])}
    step = marked(plain_step("x"), start)
    visible = [marked(plain_step("first"), first), step]

    def attempt() -> str:
        try:
            moved(step, Move(target, NOON, PERSON), define("x", **definition), visible)
        except Problem as problem:
            return problem.kind.name
        return "accepted"

    assert attempt() == answer


@pytest.mark.parametrize(
    ("shown", "hidden", "complete"),
    [
        ("",                     "",        "no"),
        ("",                     "UP_NEXT", "no"),
        ("",                     "SKIPPED", "no"),
        ("COMPLETED",            "",        "yes"),
        ("COMPLETED",            "UP_NEXT", "yes"),
        ("SKIPPED",              "",        "yes"),
        ("COMPLETED SKIPPED",    "",        "yes"),
        ("COMPLETED UP_NEXT",    "",        "no"),
        ("IN_PROGRESS",          "",        "no"),
        ("SKIPPED IN_PROGRESS",  "",        "no"),
    ],
)  # fmt: skip
def test_when_a_checklist_is_complete(shown: str, hidden: str, complete: str) -> None:
    steps = [marked(plain_step(f"shown-{n}"), Status(status)) for n, status in enumerate(shown.split())]
    steps += [
        marked(plain_step(f"hidden-{n}", source_roles=["owner"]), Status(s)) for n, s in enumerate(hidden.split())
    ]
    checklist = GuidedChecklist(track=Track.A, computed_at=NOON, steps=steps)

    assert (with_completed_at(checklist, [], NOON).completed_at is NOON) == (complete == "yes")


@pytest.mark.parametrize(
    ("condition", "happened", "status", "at"),
    [
        # a condition                                 what happened, and in which minute  the step     since minute
        ("signals['a'].count > 0",                    "",                                 UP_NEXT,     None),
        ("signals['a'].count > 0",                    "b:1",                              UP_NEXT,     None),
        ("signals['a'].count > 0",                    "a:3",                              COMPLETED,   3),
        ("signals['a'].count > 0",                    "a:5 a:3 a:4",                      COMPLETED,   3),
        ("signals['a'].count >= 2",                   "a:3",                              UP_NEXT,     None),
        ("signals['a'].count > 0 && signals['b'].count > 0", "a:3",                       UP_NEXT,     None),
        ("signals['a'].count > 0 && signals['b'].count > 0", "a:3 b:8",                   COMPLETED,   8),
        ("signals['a'].count > 0 || signals['b'].count > 0", "b:8",                       COMPLETED,   8),
    ],
)  # fmt: skip
def test_what_a_signal_completes(condition: str, happened: str, status: Status, at: int | None) -> None:
    signals = [(name, int(number)) for name, number in (each.split(":") for each in happened.split())]
    published = publish([define("x", complete_when=condition)])

    (step,) = steps_of(initialized(known(published, facts=Facts(signals=counted(signals)))).checklist)

    assert step.status is status
    assert step.completed_at == (UNSET if at is None else minute(at))


@pytest.mark.parametrize(
    ("status", "still_in_catalog", "proof_has_come", "afterwards"),
    [
        (UP_NEXT,     "yes", "no",  "UP_NEXT"),
        (IN_PROGRESS, "yes", "no",  "IN_PROGRESS"),
        (SKIPPED,     "yes", "no",  "SKIPPED"),
        (COMPLETED,   "yes", "no",  "COMPLETED"),
        (UP_NEXT,     "yes", "yes", "COMPLETED"),
        (IN_PROGRESS, "yes", "yes", "COMPLETED"),
        (SKIPPED,     "yes", "yes", "COMPLETED"),
        (UP_NEXT,     "no",  "yes", "gone"),
        (IN_PROGRESS, "no",  "yes", "gone"),
        (SKIPPED,     "no",  "yes", "gone"),
        (COMPLETED,   "no",  "no",  "COMPLETED"),
    ],
)  # fmt: skip
def test_what_refresh_does_to_a_step(
    status: Status, still_in_catalog: str, proof_has_come: str, afterwards: str
) -> None:
    before = initialized(known(publish([define("x", **PROOF)])))
    checklist = with_statuses(before.checklist, {"x": status})
    published = publish([define("x", **PROOF)] if still_in_catalog == "yes" else [], version=2)
    facts = Facts(signals=counted([("paired", 1)] if proof_has_come == "yes" else []))

    after = refreshed(checklist, before.progress, known(published, facts=facts))

    assert statuses(after.checklist).get("x", "gone") == afterwards
