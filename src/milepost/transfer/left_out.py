"""Lines that an import leaves out, and how it says why."""

from typing import Generic, NamedTuple, TypeVar

import msgspec

from milepost.problems import INVALID_BODY, ORGANIZATION_NOT_FOUND, Fault, Kind, Problem
from milepost.transfer.lines import Line

Entry = TypeVar("Entry", bound=Line)


class Bad(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that was left out, and why: the problem's name and detail, and one entry per fault."""

    line: int
    name: str
    detail: str
    errors: tuple[Fault, ...] = ()


class Numbered(NamedTuple, Generic[Entry]):
    """A line that was read, and its number in the file."""

    number: int
    entry: Entry


def bad(number: int, problem: Problem, place: str = "") -> Bad:
    """A line that a problem keeps out; `place` is where in the line that lies which the problem is about."""
    faults = (
        Fault(fault.detail, pointer=None if fault.pointer is None else place + fault.pointer)
        for fault in problem.faults
    )
    # The text has one line only; which one of the file it is, its number says.
    detail = problem.detail.replace(" at line 1, column ", " at column ")
    return Bad(number, problem.kind.name, detail, tuple(faults))


def fault(number: int, detail: str, pointer: str, reason: str, kind: Kind = INVALID_BODY) -> Bad:
    """A line with one thing wrong."""
    return bad(number, Problem(kind, detail, [Fault(reason, pointer=pointer)]))


def refused(number: int, problem: Problem) -> Bad:
    """A line that a use-case of the directory refuses."""
    return no_organization(number) if problem.kind is ORGANIZATION_NOT_FOUND else bad(number, problem)


def no_organization(number: int) -> Bad:
    reason = "names no organization; its own line must come before"
    return fault(number, ORGANIZATION_NOT_FOUND.title, "/orgId", reason, ORGANIZATION_NOT_FOUND)
