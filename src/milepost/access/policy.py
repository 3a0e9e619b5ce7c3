"""Who may do what: one pure function, and the only place where tenancy is decided (contract part 3, Who may).

`docs/access.md` holds the same rules as a table; a test checks it cell by cell over HTTP.
"""

from enum import StrEnum

import msgspec

from milepost.problems import FORBIDDEN, Problem


class Action(StrEnum):
    """What a caller wants to do; every route names exactly one."""

    READ_PROPERTIES = "properties.read"
    WRITE_PROPERTIES = "properties.write"
    PREVIEW_CHECKLIST = "checklist.preview"
    READ_JOURNAL = "journal.read"
    READ_FUNNEL = "funnel.read"
    LIST_ORGANIZATIONS = "organizations.list"
    READ_DIRECTORY = "directory.read"
    WRITE_DIRECTORY = "directory.write"
    WRITE_ORGANIZATION = "organization.write"
    READ_CATALOG = "catalog.read"
    WRITE_CATALOG = "catalog.write"
    REPORT_SIGNALS = "signals.report"


class Scope(StrEnum):
    """What a service key may be allowed to do."""

    PROPERTIES_READ = "properties:read"
    PROPERTIES_WRITE = "properties:write"
    JOURNAL_READ = "journal:read"
    DIRECTORY_READ = "directory:read"
    DIRECTORY_WRITE = "directory:write"
    CATALOG_READ = "catalog:read"
    CATALOG_WRITE = "catalog:write"
    SIGNALS_WRITE = "signals:write"


NEEDED_SCOPE = {
    Action.READ_PROPERTIES: Scope.PROPERTIES_READ,
    Action.WRITE_PROPERTIES: Scope.PROPERTIES_WRITE,
    Action.PREVIEW_CHECKLIST: Scope.PROPERTIES_READ,
    Action.READ_JOURNAL: Scope.JOURNAL_READ,
    Action.READ_FUNNEL: Scope.DIRECTORY_READ,
    Action.LIST_ORGANIZATIONS: Scope.DIRECTORY_READ,
    Action.READ_DIRECTORY: Scope.DIRECTORY_READ,
    Action.WRITE_DIRECTORY: Scope.DIRECTORY_WRITE,
    Action.WRITE_ORGANIZATION: Scope.DIRECTORY_WRITE,
    Action.READ_CATALOG: Scope.CATALOG_READ,
    Action.WRITE_CATALOG: Scope.CATALOG_WRITE,
    Action.REPORT_SIGNALS: Scope.SIGNALS_WRITE,
}


class Caller(msgspec.Struct, frozen=True):
    """Who calls: a user (`user_id` set, from a token's `sub`) or a service (`key_id` set, from a service key).

    `org_id` limits a service key to one organization; None means all of them.
    """

    user_id: str | None = None
    platform_admin: bool = False
    key_id: str | None = None
    scopes: frozenset[str] = frozenset()
    org_id: str | None = None

    @property
    def name(self) -> str:
        """How the journal names the caller."""
        return f"key:{self.key_id}" if self.key_id else f"user:{self.user_id}"


class Target(msgspec.Struct, frozen=True):
    """What the action is about, with the two facts about memberships that the answer depends on.

    `org_id` is None for a home record and for the list of all organizations. The facts are read in the same
    transaction as the data, so that a membership taken away counts at once.
    """

    user_id: str | None = None
    org_id: str | None = None
    caller_is_admin: bool = False
    user_is_member: bool = False


def allowed(caller: Caller, action: Action, target: Target) -> bool:
    """Whether the caller may do the action to the target."""
    if caller.platform_admin:
        return True
    if caller.key_id is not None:
        in_reach = caller.org_id in {None, target.org_id} or action is Action.LIST_ORGANIZATIONS
        return in_reach and NEEDED_SCOPE[action] in caller.scopes
    match action:
        case Action.READ_PROPERTIES | Action.WRITE_PROPERTIES | Action.PREVIEW_CHECKLIST:
            own = action is not Action.PREVIEW_CHECKLIST and caller.user_id == target.user_id is not None
            return own or (target.org_id is not None and target.caller_is_admin and target.user_is_member)
        case Action.LIST_ORGANIZATIONS:
            return True
        case Action.WRITE_ORGANIZATION | Action.REPORT_SIGNALS:
            return False
        case _:
            return target.caller_is_admin


def require(caller: Caller, action: Action, target: Target) -> None:
    """Raise the one refusal there is; it is the same whether or not the target exists.

    Raises:
        Problem: `forbidden` (403).
    """
    if not allowed(caller, action, target):
        raise Problem(FORBIDDEN, "This caller may not do this here; ask an admin of the organization.")


def administers(caller: Caller, target: Target) -> bool:
    """Whether the caller acts for those who run the organization, and not as one of its users."""
    return caller.platform_admin or caller.key_id is not None or target.caller_is_admin


def require_active_role(caller: Caller, target: Target, *, user_has_role: bool) -> None:
    """A user refreshes their own checklist only while they hold a role in the organization (contract part 2).

    Raises:
        Problem: `forbidden` (403).
    """
    if caller.user_id == target.user_id and not user_has_role and not administers(caller, target):
        raise Problem(FORBIDDEN, "A refresh needs an active role in the organization.")


class Everything(msgspec.Struct, frozen=True):
    """The caller sees every organization."""


class Only(msgspec.Struct, frozen=True):
    """The caller sees one organization."""

    org_id: str


class AdministeredBy(msgspec.Struct, frozen=True):
    """The caller sees the organizations that this user administers."""

    user_id: str


def visible_organizations(caller: Caller) -> Everything | Only | AdministeredBy:
    """Which organizations a list may show to the caller."""
    if caller.platform_admin:
        return Everything()
    if caller.key_id is not None:
        return Only(caller.org_id) if caller.org_id is not None else Everything()
    return AdministeredBy(caller.user_id or "")
