"""The directory's use-cases: organizations, enterprises, roles and members (contract part 4).

Each runs in the caller's transaction, asks the policy first, and tells the journal what changed.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.access import queries as access
from milepost.access.policy import Action, Caller, Target, require
from milepost.directory import queries
from milepost.directory.memberships import Holding, Membership, Move
from milepost.domain.directory import Enterprise, Member, Organization, Role, require_same_ids
from milepost.domain.records import microseconds
from milepost.journal import queries as journal
from milepost.problems import (
    ENTERPRISE_ELSEWHERE,
    ENTERPRISE_NOT_FOUND,
    MEMBER_NOT_FOUND,
    ORGANIZATION_NOT_FOUND,
    ROLE_NOT_FOUND,
    Kind,
    Problem,
)
from milepost.store import people

Found = TypeVar("Found")


class Context(msgspec.Struct, frozen=True):
    """Who acts, when, where fresh uuids come from, and which languages are asked for."""

    caller: Caller
    now: datetime
    new_id: Callable[[], str]
    accept_language: str | None = None

    @property
    def at(self) -> int:
        return microseconds(self.now)


RolesGained = Callable[[Connection, Context, Sequence[Holding]], None]
"""Follows memberships that were put, in the same transaction, with the roles that somebody holds from now on."""


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is asked for: at most `limit` entries whose id comes after `after`."""

    after: str = ""
    limit: int = 50


def _admit(connection: Connection, context: Context, action: Action, org_id: str) -> None:
    """Ask the policy, then see that the organization exists (only those who may know are told that it does not)."""
    if action is Action.WRITE_DIRECTORY:
        queries.hold_organization(connection, org_id)
    is_admin = access.administers(connection, context.caller.user_id, org_id)
    require(context.caller, action, Target(org_id=org_id, caller_is_admin=is_admin))
    if queries.organization(connection, org_id) is None:
        raise Problem(ORGANIZATION_NOT_FOUND, "There is no such organization; PUT /organizations/{orgId} creates it.")


def _there(found: Found | None, kind: Kind, what: str) -> Found:
    if found is None:
        raise Problem(kind, f"There is no such {what} in this organization.")
    return found


def _tell(
    connection: Connection, context: Context, event: str, org_id: str, data: dict[str, object], user_id: str = ""
) -> None:
    journal.append(connection, [_event(context, event, org_id, data, user_id)])


def _event(context: Context, event: str, org_id: str, data: dict[str, object], user_id: str) -> journal.Event:
    return journal.Event(
        id=context.new_id(),
        at=context.at,
        actor=context.caller.name,
        type=event,
        user_id=user_id,
        org_id=org_id,
        data=data,
    )


def get_organization(connection: Connection, context: Context, org_id: str) -> Organization:
    _admit(connection, context, Action.READ_DIRECTORY, org_id)
    return _there(queries.organization(connection, org_id), ORGANIZATION_NOT_FOUND, "organization")


def list_organizations(connection: Connection, context: Context, page: Page) -> Sequence[Organization]:
    """The organizations that the caller may see."""
    require(context.caller, Action.LIST_ORGANIZATIONS, Target())
    return queries.list_organizations(connection, access.visible_to(context.caller), page.after, page.limit)


def put_organization(
    connection: Connection, context: Context, org_id: str, entry: Organization
) -> tuple[Organization, bool]:
    """Create or replace; answers the organization and whether it is new."""
    require(context.caller, Action.WRITE_ORGANIZATION, Target(org_id=org_id))
    require_same_ids(entry, org_id=org_id)
    before = queries.organization(connection, org_id)
    after = Organization(org_id=org_id, name=entry.name)
    if after != before:
        queries.put_organization(connection, after)
        _tell(connection, context, "organization.put", org_id, {"name": entry.name})
    return after, before is None


def delete_organization(connection: Connection, context: Context, org_id: str) -> None:
    """Delete an organization with its enterprises, roles, memberships and records."""
    require(context.caller, Action.WRITE_ORGANIZATION, Target(org_id=org_id))
    if not queries.hold_organization(connection, org_id, against_records=True):
        raise Problem(ORGANIZATION_NOT_FOUND, "There is no such organization.")
    gone = queries.delete_organization(connection, org_id, context.at)
    _tell(connection, context, "organization.deleted", org_id, {**gone})


def get_enterprise(connection: Connection, context: Context, org_id: str, enterprise_id: str) -> Enterprise:
    _admit(connection, context, Action.READ_DIRECTORY, org_id)
    return _own_enterprise(connection, org_id, enterprise_id)


def _own_enterprise(connection: Connection, org_id: str, enterprise_id: str) -> Enterprise:
    found = queries.enterprise(connection, enterprise_id)
    return _there(found if found and found.org_id == org_id else None, ENTERPRISE_NOT_FOUND, "enterprise")


def list_enterprises(connection: Connection, context: Context, org_id: str, page: Page) -> Sequence[Enterprise]:
    _admit(connection, context, Action.READ_DIRECTORY, org_id)
    return queries.list_enterprises(connection, org_id, page.after, page.limit)


def put_enterprise(
    connection: Connection, context: Context, org_id: str, enterprise_id: str, entry: Enterprise
) -> tuple[Enterprise, bool]:
    """Create or replace; an enterprise belongs to one organization for good."""
    _admit(connection, context, Action.WRITE_DIRECTORY, org_id)
    require_same_ids(entry, org_id=org_id, enterprise_id=enterprise_id)
    before = queries.enterprise(connection, enterprise_id)
    if before is not None and before.org_id != org_id:
        raise Problem(ENTERPRISE_ELSEWHERE, "Another organization has an enterprise of this id; choose another id.")
    after = Enterprise(enterprise_id=enterprise_id, org_id=org_id, name=entry.name)
    if after != before:
        queries.put_enterprise(connection, after)
        _tell(connection, context, "enterprise.put", org_id, {"enterpriseId": enterprise_id, "name": entry.name})
    return after, before is None


def delete_enterprise(connection: Connection, context: Context, org_id: str, enterprise_id: str) -> None:
    """Delete an enterprise; memberships limited to it alone end with their roles, and are remembered as past."""
    _admit(connection, context, Action.WRITE_DIRECTORY, org_id)
    _own_enterprise(connection, org_id, enterprise_id)
    ended = queries.delete_enterprise(connection, enterprise_id, context.at)
    _tell(connection, context, "enterprise.deleted", org_id, {"enterpriseId": enterprise_id, "memberships": ended})


def get_role(connection: Connection, context: Context, org_id: str, role: str) -> Role:
    _admit(connection, context, Action.READ_DIRECTORY, org_id)
    return _there(queries.role(connection, org_id, role), ROLE_NOT_FOUND, "role")


def list_roles(connection: Connection, context: Context, org_id: str, page: Page) -> Sequence[Role]:
    _admit(connection, context, Action.READ_DIRECTORY, org_id)
    return queries.list_roles(connection, org_id, page.after, page.limit)


def put_role(connection: Connection, context: Context, org_id: str, role: str, entry: Role) -> tuple[Role, bool]:
    """Create or replace; its members stay."""
    _admit(connection, context, Action.WRITE_DIRECTORY, org_id)
    require_same_ids(entry, org_id=org_id, role=role)
    before = queries.role(connection, org_id, role)
    after = Role(org_id=org_id, role=role, title=entry.title, admin=entry.admin)
    if after != before:
        queries.put_role(connection, after)
        _tell(connection, context, "role.put", org_id, {"role": role, "title": entry.title, "admin": entry.admin})
    return after, before is None


def delete_role(connection: Connection, context: Context, org_id: str, role: str) -> None:
    """Delete a role; whoever held it holds it no longer."""
    _admit(connection, context, Action.WRITE_DIRECTORY, org_id)
    _there(queries.role(connection, org_id, role), ROLE_NOT_FOUND, "role")
    gone = queries.delete_role(connection, org_id, role)
    _tell(connection, context, "role.deleted", org_id, {"role": role, "memberships": gone})


def get_member(connection: Connection, context: Context, org_id: str, user_id: str) -> Member:
    _admit(connection, context, Action.READ_DIRECTORY, org_id)
    return _there(queries.member(connection, org_id, user_id), MEMBER_NOT_FOUND, "member")


def list_members(
    connection: Connection,
    context: Context,
    org_id: str,
    page: Page,
    *,
    role: str | None = None,
    enterprise_id: str | None = None,
    prefix: str = "",
) -> Sequence[Member]:
    """The members, or only those with a role, in an enterprise, or whose id begins with a text."""
    _admit(connection, context, Action.READ_DIRECTORY, org_id)
    return queries.list_members(
        connection, org_id, page.after, page.limit, role=role, enterprise_id=enterprise_id, prefix=prefix
    )


def put_member(
    connection: Connection, context: Context, org_id: str, user_id: str, entry: Member, follow: RolesGained
) -> tuple[Member, bool]:
    """Make the user a member with exactly these roles and enterprises; what is left out is taken away."""
    outcome = put_members(connection, context, [Membership(user_id, org_id, entry)], follow)[0]
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def put_members(
    connection: Connection, context: Context, asked: Sequence[Membership], follow: RolesGained | None = None
) -> list[tuple[Member, bool] | Problem]:
    """Put many memberships, none of them twice; answers for each the member and whether it is new, or the refusal."""
    refusals = _refusals(connection, context, asked)
    accepted = [one for one, refusal in zip(asked, refusals, strict=True) if refusal is None]
    moves = _stored_members(connection, context, accepted)
    gained = [held for move in moves for held in move.roles_added]
    if follow is not None and gained:
        follow(connection, context, gained)
    stored = iter(moves)
    return [_outcome(next(stored)) if refusal is None else refusal for refusal in refusals]


def _outcome(move: Move) -> tuple[Member, bool]:
    return move.after, move.is_new


def _refusals(connection: Connection, context: Context, asked: Sequence[Membership]) -> list[Problem | None]:
    """Why each membership cannot be put; None where it can."""
    closed = {org_id: _closed(connection, context, org_id) for org_id in sorted({one.org_id for one in asked})}
    undefined = queries.undefined_roles(connection, [role for one in asked for role in one.roles])
    foreign = queries.foreign_enterprises(connection, [part for one in asked for part in one.enterprises])
    return [closed[one.org_id] or one.refusal(undefined, foreign, context.now) for one in asked]


def _closed(connection: Connection, context: Context, org_id: str) -> Problem | None:
    try:
        _admit(connection, context, Action.WRITE_DIRECTORY, org_id)
    except Problem as problem:
        return problem
    return None


def _stored_members(connection: Connection, context: Context, asked: Sequence[Membership]) -> list[Move]:
    keys = [one.key for one in asked]
    since = {one.key: one.since(context.at) for one in asked}
    known = queries.members_of(connection, keys)
    queries.claim_members(
        connection, [queries.Claim(*one.key, since[one.key], one.entry.since is not UNSET) for one in asked]
    )
    # Read again, now that the rows are held: another transaction may have changed them in between.
    before = queries.members_of(connection, keys)
    moves = [Move(one, before[one.key], known.get(one.key)) for one in asked]
    queries.take_roles(connection, [held for move in moves for held in move.roles_taken])
    queries.give_roles(connection, {held: since[held.key] for move in moves for held in move.roles_added})
    queries.leave_enterprises(connection, [held for move in moves for held in move.enterprises_left], context.at)
    queries.enter_enterprises(
        connection, {held: since[held.key] for move in moves for held in move.enterprises_entered}
    )
    people.add(connection, {one.user_id: context.new_id() for one in asked})
    events = [
        _event(context, "member.put", move.asked.org_id, move.told(), move.asked.user_id)
        for move in moves
        if move.changes
    ]
    journal.append(connection, events)
    return moves


def delete_member(connection: Connection, context: Context, org_id: str, user_id: str) -> None:
    """End a membership with all its roles; the enterprises are remembered as past."""
    _admit(connection, context, Action.WRITE_DIRECTORY, org_id)
    before = _there(queries.member(connection, org_id, user_id), MEMBER_NOT_FOUND, "member")
    queries.delete_member(connection, org_id, user_id, context.at)
    gone: dict[str, object] = {"rolesTaken": before.roles, "enterprisesLeft": before.enterprises}
    _tell(connection, context, "member.deleted", org_id, gone, user_id)
