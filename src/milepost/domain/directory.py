"""The directory's types: organizations, their enterprises and roles, and who holds which (contract part 4).

An id that the path gives may be repeated in a body, so that what GET answers can be sent back with PUT.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from milepost.domain.contract import MAX_ITEMS, NO_CONTROLS, Identifier, Time
from milepost.problems import ID_MISMATCH, Fault, Problem

Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_CONTROLS)]
Ids = Annotated[list[Identifier], Meta(max_length=MAX_ITEMS)]


class Organization(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A tenant."""

    org_id: Identifier | UnsetType = UNSET
    name: Name


class Enterprise(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A part of one organization; no two organizations have an enterprise of the same id."""

    enterprise_id: Identifier | UnsetType = UNSET
    org_id: Identifier | UnsetType = UNSET
    name: Name


class Role(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A role that members of one organization can hold."""

    role: Identifier | UnsetType = UNSET
    org_id: Identifier | UnsetType = UNSET
    title: Name
    admin: Annotated[bool, Meta(description="whether it makes its holders admins of the organization")] = False


class Member(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A user's membership of one organization."""

    user_id: Identifier | UnsetType = UNSET
    org_id: Identifier | UnsetType = UNSET
    roles: Annotated[Ids, Meta(description="the roles held, each defined in the organization")] = []
    enterprises: Annotated[
        Ids,
        Meta(description="the enterprises that the membership is limited to; none: the whole organization"),
    ] = []
    since: Annotated[Time, Meta(description="since when; set by the server unless sent")] | UnsetType = UNSET


Entry = Organization | Enterprise | Role | Member


def require_same_ids(entry: Entry, **path_ids: str) -> None:
    """See that ids repeated in the body are those of the path.

    Raises:
        Problem: `id_mismatch` (422).
    """
    faults = []
    for field, expected in path_ids.items():
        if getattr(entry, field) not in {UNSET, expected}:
            name = msgspec.structs.fields(type(entry))[type(entry).__struct_fields__.index(field)].encode_name
            faults.append(Fault(f"must equal the {name} in the path, or be left out", pointer=f"/{name}"))
    if faults:
        raise Problem(ID_MISMATCH, "An id in the body differs from the one in the path.", faults)
