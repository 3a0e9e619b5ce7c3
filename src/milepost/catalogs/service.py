"""Catalogs: published as numbered versions that never change, read with their conditions compiled."""

from collections.abc import Collection, Sequence
from functools import lru_cache

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.access import queries as access
from milepost.access.policy import Action, Target, require
from milepost.catalogs import queries
from milepost.catalogs.queries import PLATFORM, Version
from milepost.directory.queries import hold_organization
from milepost.directory.service import Context
from milepost.domain import catalog_files
from milepost.domain.catalog import Catalog
from milepost.domain.catalog_text import CatalogInvalid
from milepost.domain.checklists import Published
from milepost.domain.conditions import compile_condition
from milepost.journal import queries as journal
from milepost.problems import CATALOG_NOT_FOUND, INVALID_CATALOG, ORGANIZATION_NOT_FOUND, Fault, Problem

decode = msgspec.json.Decoder(Catalog).decode


@lru_cache(maxsize=64)
def _compiled(org_id: str, version: int, body: str, published: int) -> Published:
    """A version never changes, so it is compiled once in a process."""
    return compiled(org_id, version, decode(body), published)


def compiled(org_id: str, version: int, catalog: Catalog, published: int = 0) -> Published:
    """A catalog with its conditions compiled; the version is 0 where it is not published yet."""
    conditions = {
        step.step_id: compile_condition(step.complete_when) for step in catalog.steps if step.complete_when is not UNSET
    }
    return Published(org_id, version, catalog, conditions, published)


def current(connection: Connection, org_id: str) -> Published:
    """The catalog that counts for an organization: its own, else the platform's.

    Raises:
        Problem: `catalog_not_found` (404) where there is neither.
    """
    found = queries.current(connection, org_id)
    if found is None:
        raise Problem(CATALOG_NOT_FOUND, "No catalog is published yet, neither for this organization nor for all.")
    return _compiled(found.org_id, found.version, found.body, found.published)


def current_for(connection: Connection, org_ids: Collection[str]) -> dict[str, Published]:
    """The catalog that counts for each of these organizations; those for which none does are left out.

    What is compiled already is not read again, so that this is one statement for any number of organizations.
    """
    editions = queries.current_editions(connection, org_ids)
    platform = editions.get(PLATFORM)
    counting = {org_id: one for org_id in org_ids if (one := editions.get(org_id, platform)) is not None}
    found = {one: _known.get(one) or _learnt(connection, one[0], one[1]) for one in set(counting.values())}
    return {org_id: found[one] for org_id, one in counting.items()}


_known: dict[tuple[str, int, int], Published] = {}
"""Compiled catalogs by organization, version and when they were published; what was read first makes room first."""

MOST_KNOWN = 256


def _learnt(connection: Connection, org_id: str, version: int) -> Published:
    entry = _version(connection, org_id, version)
    read = _compiled(org_id, version, entry.body, entry.published)
    _known[org_id, version, entry.published] = read
    while len(_known) > MOST_KNOWN:
        _known.pop(next(iter(_known)), None)
    return read


def _admit(connection: Connection, context: Context, action: Action, org_id: str) -> None:
    if action is Action.WRITE_CATALOG and org_id != PLATFORM:
        # So that the organization is not deleted meanwhile, which would leave the catalog behind.
        hold_organization(connection, org_id)
    is_admin = org_id != PLATFORM and access.administers(connection, context.caller.user_id, org_id)
    require(context.caller, action, Target(org_id=org_id or None, caller_is_admin=is_admin))
    if org_id != PLATFORM and not access.organization_exists(connection, org_id):
        raise Problem(ORGANIZATION_NOT_FOUND, "There is no such organization; PUT /organizations/{orgId} creates it.")


def read(data: bytes) -> Catalog:
    """A catalog from YAML or JSON.

    Raises:
        Problem: `invalid_catalog` (422) with every fault, its line and what to do.
    """
    try:
        return catalog_files.read(data, "catalog")
    except CatalogInvalid as invalid:
        faults = [
            Fault(f"line {fault.line}, column {fault.column}: {fault.detail}", pointer=fault.pointer)
            for fault in invalid.faults
        ]
        raise Problem(INVALID_CATALOG, f"The catalog has {len(faults)} faults, listed in errors.", faults) from None


def publish(connection: Connection, context: Context, org_id: str, catalog: Catalog) -> tuple[Version, bool]:
    """Make a catalog the current one; answers its version and whether it is new, which the same catalog is not.
    `org_id` of '': the platform's.

    Nobody's checklist is rewritten by this: each gets the new steps with its next refresh.
    """
    _admit(connection, context, Action.WRITE_CATALOG, org_id)
    body = msgspec.json.encode(catalog).decode()
    before = queries.current_number(connection, org_id)
    known = None if before is None else queries.version(connection, org_id, before)
    if known is not None and known.body == body:
        return known, False
    entry = Version(org_id, queries.next_number(connection, org_id), body, context.at, context.caller.name)
    queries.add(connection, entry)
    _make_current(connection, context, entry, "catalog.published")
    return entry, True


def roll_back(connection: Connection, context: Context, org_id: str, number: int) -> Version:
    """Make an earlier version the current one again."""
    _admit(connection, context, Action.WRITE_CATALOG, org_id)
    entry = _version(connection, org_id, number)
    if queries.current_number(connection, org_id) != number:
        _make_current(connection, context, entry, "catalog.rolled_back")
    return entry


def before_publishing(connection: Connection, context: Context, org_id: str) -> Published | None:
    """The catalog that a new one would take the place of, for who may publish there; None where there is none yet."""
    _admit(connection, context, Action.WRITE_CATALOG, org_id)
    found = queries.current(connection, org_id)
    return None if found is None else _compiled(found.org_id, found.version, found.body, found.published)


def _make_current(connection: Connection, context: Context, entry: Version, event: str) -> None:
    queries.make_current(connection, entry.org_id, entry.version)
    journal.append(
        connection,
        [
            journal.Event(
                id=context.new_id(),
                at=context.at,
                actor=context.caller.name,
                type=event,
                org_id=entry.org_id,
                data={"version": entry.version},
            )
        ],
    )


def _version(connection: Connection, org_id: str, number: int) -> Version:
    found = queries.version(connection, org_id, number)
    if found is None:
        raise Problem(CATALOG_NOT_FOUND, f"There is no version {number} of this catalog.")
    return found


def get_version(connection: Connection, context: Context, org_id: str, number: int | None) -> tuple[Version, bool]:
    """A version (None: the current one) of exactly this organization or the platform, and whether it is current."""
    _admit(connection, context, Action.READ_CATALOG, org_id)
    now = queries.current_number(connection, org_id)
    wanted = now if number is None else number
    if wanted is None:
        raise Problem(CATALOG_NOT_FOUND, "No catalog is published here yet.")
    return _version(connection, org_id, wanted), wanted == now


def list_versions(
    connection: Connection, context: Context, org_id: str, before: int, limit: int
) -> tuple[Sequence[Version], int | None]:
    """Versions, newest first, and which of them is the current one."""
    _admit(connection, context, Action.READ_CATALOG, org_id)
    return queries.versions(connection, org_id, before, limit), queries.current_number(connection, org_id)
