"""What belongs to an organization, in whichever part of the service it came to be."""

from sqlalchemy import Connection, delete

from milepost.store.schema import (
    catalogs,
    current_catalogs,
    enterprises,
    member_roles,
    members,
    properties,
    roles,
    shared_completions,
    signals,
)

OWN = (shared_completions, signals, current_catalogs, catalogs, properties, member_roles, members, roles, enterprises)
"""The tables whose rows go with their organization, in an order that no foreign key minds."""


def empty_tenant(connection: Connection, org_id: str) -> dict[str, int]:
    """Delete all that is an organization's own; answers how many rows of each table went."""
    return {table.name: connection.execute(delete(table).where(table.c.org_id == org_id)).rowcount for table in OWN}
