"""What the console asks about one person: where they are a member, and what happened to them."""

from collections.abc import Sequence

from sqlalchemy import Connection

from milepost.access import queries as access
from milepost.access.policy import Action, Target, require
from milepost.console import queries
from milepost.directory.service import Context, Page
from milepost.domain.directory import Member
from milepost.journal import queries as journal
from milepost.problems import ORGANIZATION_NOT_FOUND, Problem


def history(
    connection: Connection,
    context: Context,
    user_id: str,
    org_id: str | None,
    *,
    type_: str | None,
    before: str | None,
    limit: int,
) -> Sequence[journal.Event]:
    """The events about a user under an organization, or with None all there are.

    Raises:
        Problem: `forbidden` (403), `organization_not_found` (404).
    """
    is_admin = org_id is not None and access.administers(connection, context.caller.user_id, org_id)
    require(context.caller, Action.READ_JOURNAL, Target(user_id, org_id, caller_is_admin=is_admin))
    if org_id is not None and not access.organization_exists(connection, org_id):
        raise Problem(ORGANIZATION_NOT_FOUND, "There is no such organization.")
    return journal.history(connection, user_id, org_id=org_id, type_=type_, before=before, limit=limit)


def memberships(connection: Connection, context: Context, user_id: str, page: Page) -> Sequence[Member]:
    """A user's memberships of the organizations that the caller may see in a list.

    Raises:
        Problem: `forbidden` (403).
    """
    require(context.caller, Action.LIST_ORGANIZATIONS, Target())
    return queries.memberships(connection, user_id, access.visible_to(context.caller), page.after, page.limit)
