"""The SQL of people: where somebody is a member, of the organizations that the one who asks may see."""

from sqlalchemy import ColumnElement, Connection, select

from milepost.directory.queries import members_in
from milepost.domain.directory import Member
from milepost.store.schema import members, organizations


def memberships(
    connection: Connection, user_id: str, visible: ColumnElement[bool], after: str, limit: int
) -> list[Member]:
    """A user's memberships of the organizations that are visible, in the order of these."""
    found = select(members).join(organizations, organizations.c.org_id == members.c.org_id)
    found = found.where(members.c.user_id == user_id, members.c.org_id > after, visible)
    return members_in(connection, found.order_by(members.c.org_id).limit(limit))
