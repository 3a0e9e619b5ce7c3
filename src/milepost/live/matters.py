"""What an event of the journal means to who watches a user's properties in an organization. Pure."""

from collections.abc import Iterator

import msgspec

from milepost.domain.records import moment
from milepost.journal.queries import Event

CHANGED, CATALOG = "changed", "catalog"
MANY = "many"
SHARED = "steps.shared"

OF_ALL = frozenset({"role.deleted", "enterprise.deleted", "organization.deleted", "shared_steps.imported"})
"""Events about an organization that may change what any of its users sees."""

OF_RIGHTS = frozenset({"role.put", "role.deleted", "enterprise.deleted", "organization.deleted"})
"""Events about an organization that may take somebody's right in it away."""

CATALOGS = frozenset({"catalog.published", "catalog.rolled_back"})

Key = tuple[str, str]
"""What streams are found by: what kind of thing, and which one."""


class Told(msgspec.Struct, frozen=True):
    """What a client is told: which kind of change, when (microseconds since 1970), and the record's version where it
    is the record that changed. Never what changed: the client reads that with its own permission.
    """

    event: str
    type: str
    at: int
    version: int | None = None

    @property
    def data(self) -> dict[str, object]:
        """As it is sent."""
        data: dict[str, object] = {"type": self.type, "at": moment(self.at)}
        return data if self.version is None else {**data, "version": self.version}


def told(event: Event, user_id: str, org_id: str) -> Told | None:
    """What an event tells of the user's properties in the organization; None: nothing.

    The home record counts too, since a read falls back to it.
    """
    here = event.org_id == org_id
    if event.user_id == user_id and (here or not event.org_id):
        version = event.data.get("version")
        return Told(CHANGED, event.type, event.at, version if isinstance(version, int) else None)
    if event.user_id:
        # Of another user's step nothing is told but that it is done, or no longer done, for all.
        return Told(CHANGED, SHARED, event.at) if here and event.data.get("shared") else None
    if event.type in CATALOGS:
        return Told(CATALOG, event.type, event.at) if here or not event.org_id else None
    return Told(CHANGED, event.type, event.at) if here and event.type in OF_ALL else None


def concerned(event: Event) -> Iterator[Key]:
    """Where the streams are found that an event may be told to."""
    if event.user_id:
        yield "user", event.user_id
    if event.org_id and (not event.user_id or event.data.get("shared")):
        yield "organization", event.org_id
    if event.type in CATALOGS and not event.org_id:
        yield EVERYWHERE


EVERYWHERE: Key = ("everywhere", "")


def doubted(event: Event) -> Iterator[Key]:
    """Where the streams are found whose caller may have lost the right to have them."""
    if event.type in OF_RIGHTS:
        yield "organization", event.org_id
    elif event.type.startswith("member."):
        yield "caller", f"user:{event.user_id}"
    elif event.type == "service_key.revoked":
        yield "caller", f"key:{event.data.get('keyId')}"
