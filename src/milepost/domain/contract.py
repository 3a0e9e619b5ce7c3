"""The contract's types: the record that clients send and receive (contract parts 1 and 2)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_ITEMS = 500
MAX_TEXT = 10_000

# To `re`, a bare `$` also stands before a newline at the end.
NO_CONTROLS = "^[^\\u0000-\\u001f\\u007f]+$(?!\\n)"

Identifier = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=NO_CONTROLS,
        description="1 to 255 characters, no control characters",
    ),
]
Line = Annotated[str, Meta(max_length=MAX_TEXT)]
Strings = Annotated[list[Line], Meta(max_length=MAX_ITEMS)]
Time = Annotated[
    datetime,
    Meta(tz=True, description="RFC 3339 with an offset; kept to the microsecond, written in UTC with `Z`"),
]


class Track(StrEnum):
    """A: new to the platform. B: an existing user who joins a new enterprise."""

    A = "A"
    B = "B"


class Status(StrEnum):
    UP_NEXT = "UP_NEXT"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"


class RoleIdentification(StrEnum):
    EXECUTIVE = "executive"
    OPERATIONAL = "operational"


class Step(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, gc=False):
    """One step of the checklist."""

    step_id: Annotated[Identifier, Meta(description="unique within the checklist")]
    title: Line
    description: Line
    cta_label: Annotated[Line, Meta(description="the call-to-action's label")]
    cta_route: Annotated[Line, Meta(description="the call-to-action's navigation route")]
    status: Status
    sort_order: Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
    completed_at: Time | UnsetType = UNSET
    completed_by: Annotated[UUID, Meta(description="internal uuid of the user who completed it")] | UnsetType = UNSET
    source_roles: (
        Annotated[Strings, Meta(description="the roles that generated this step; absent: it is for everyone")]
        | UnsetType
    ) = UNSET


class GuidedChecklist(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, gc=False):
    """The guided checklist of one user."""

    track: Track
    roles: (
        Annotated[
            Strings,
            Meta(
                description="the user's roles in the requested organization, resolved at every read from the "
                "memberships; what is written here is stored and never shown for an organization"
            ),
        ]
        | UnsetType
    ) = UNSET
    product_interests: Strings | UnsetType = UNSET
    steps: Annotated[list[Step], Meta(max_length=MAX_ITEMS)] | UnsetType = UNSET
    computed_at: Annotated[Time, Meta(description="when the checklist was last computed")]
    completed_at: Time | UnsetType = UNSET
    dismissed_at: Time | UnsetType = UNSET


class FirstLoginState(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, gc=False):
    """What the first login found out."""

    role_identification: RoleIdentification | UnsetType = UNSET
    delegation_flow_completed: bool | UnsetType = UNSET
    is_returning_user: Annotated[bool, Meta(description="the user is an admin of another enterprise")] | UnsetType = (
        UNSET
    )
    stepper_completed_at: Time | UnsetType = UNSET


class UserProperties(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, gc=False):
    """The record: all properties of one user."""

    user_id: Annotated[Identifier, Meta(description="external user id; equals the one in the path")]
    guided_checklist: GuidedChecklist | UnsetType = UNSET
    first_login_state: FirstLoginState | UnsetType = UNSET
    attributes: (
        Annotated[
            msgspec.Raw,
            Meta(
                description="any further properties the operator keeps; numbers come back as they were sent",
                extra_json_schema={"type": "object"},
            ),
        ]
        | UnsetType
    ) = UNSET
    created_date: Annotated[
        Time, Meta(description="when the record was created; the first write's value is kept for good")
    ]
    modified_date: Annotated[Time, Meta(description="when it was last modified; always set by the server")]
