"""Many members at once: what a table of them would do, and doing it, all or nothing."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from sqlalchemy import Connection

from milepost.access import queries as access
from milepost.access.policy import Action, Target, require
from milepost.directory import queries
from milepost.directory.memberships import Membership, Move
from milepost.directory.service import Context, RolesGained, put_members
from milepost.domain.directory import Member
from milepost.domain.member_lines import Line
from milepost.problems import INVALID_MEMBERS, ORGANIZATION_NOT_FOUND, Fault, Problem


class LineOutcome(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What a line of the table does, or why it cannot."""

    line: int
    user_id: str
    outcome: Literal["add", "change", "same", "fault"]
    roles_added: list[str] = []
    roles_taken: list[str] = []
    enterprises_entered: list[str] = []
    enterprises_left: list[str] = []
    faults: list[str] = []


class BulkOutcome(msgspec.Struct, rename="camel"):
    """What a table of members does: whether it is done, how many lines do what, and each line."""

    applied: bool
    counts: dict[str, int]
    lines: list[LineOutcome]


def preview(connection: Connection, context: Context, org_id: str, lines: Sequence[Line]) -> BulkOutcome:
    """What the lines would do; nothing is changed.

    Raises:
        Problem: `forbidden` (403), `organization_not_found` (404).
    """
    is_admin = access.administers(connection, context.caller.user_id, org_id)
    require(context.caller, Action.WRITE_DIRECTORY, Target(org_id=org_id, caller_is_admin=is_admin))
    if queries.organization(connection, org_id) is None:
        raise Problem(ORGANIZATION_NOT_FOUND, "There is no such organization; PUT /organizations/{orgId} creates it.")
    asked = _asked(org_id, lines)
    undefined = queries.undefined_roles(connection, [role for one in asked.values() for role in one.roles])
    foreign = queries.foreign_enterprises(connection, [part for one in asked.values() for part in one.enterprises])
    known = queries.members_of(connection, [one.key for one in asked.values()])
    told = []
    for line in lines:
        one = asked.get(line.number)
        refusal = None if one is None else one.refusal(undefined, foreign, context.now)
        if one is None:
            told.append(_fault(line, line.faults))
        elif refusal is not None:
            told.append(_fault(line, _reasons(one, refusal)))
        else:
            told.append(_outcome(line, one, known.get(one.key)))
    return _outcomes(told, applied=False)


def apply(
    connection: Connection, context: Context, org_id: str, lines: Sequence[Line], follow: RolesGained
) -> BulkOutcome:
    """Put the members of all lines, each as PUT does.

    Raises:
        Problem: `forbidden` (403), `organization_not_found` (404), `invalid_members` (422): then nothing is changed.
    """
    told = preview(connection, context, org_id, lines)
    faults = [Fault("; ".join(one.faults), pointer=f"/{one.line}") for one in told.lines if one.outcome == "fault"]
    if faults:
        raise Problem(INVALID_MEMBERS, f"{len(faults)} lines have faults, and nothing was changed.", faults)
    for outcome in put_members(connection, context, list(_asked(org_id, lines).values()), follow):
        if isinstance(outcome, Problem):
            raise outcome
    return msgspec.structs.replace(told, applied=True)


def _asked(org_id: str, lines: Sequence[Line]) -> dict[int, Membership]:
    return {line.number: Membership(line.user_id, org_id, line.member) for line in lines if line.member is not None}


def _fault(line: Line, reasons: Sequence[str]) -> LineOutcome:
    return LineOutcome(line=line.number, user_id=line.user_id, outcome="fault", faults=list(reasons))


def _reasons(one: Membership, refusal: Problem) -> list[str]:
    names = {"roles": one.entry.roles, "enterprises": one.entry.enterprises}
    told = []
    for fault in refusal.faults:
        field, _, number = (fault.pointer or "").removeprefix("/").partition("/")
        told.append(f"{names[field][int(number)] if number else field} {fault.detail}")
    return told


def _outcome(line: Line, one: Membership, known: Member | None) -> LineOutcome:
    move = Move(one, known or Member(user_id=one.user_id, org_id=one.org_id), known)
    outcome: Literal["add", "change", "same"] = "add" if known is None else "change" if move.told() else "same"
    return LineOutcome(
        line=line.number,
        user_id=line.user_id,
        outcome=outcome,
        roles_added=[held.name for held in move.roles_added],
        roles_taken=[held.name for held in move.roles_taken],
        enterprises_entered=[held.name for held in move.enterprises_entered],
        enterprises_left=[held.name for held in move.enterprises_left],
    )


def _outcomes(lines: list[LineOutcome], *, applied: bool) -> BulkOutcome:
    counts = {name: sum(line.outcome == name for line in lines) for name in ("add", "change", "same", "fault")}
    return BulkOutcome(applied, counts, lines)
