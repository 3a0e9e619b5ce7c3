"""The lines of an export: one JSON object each, told apart by `kind`, in the order in which they can be imported."""

from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from milepost.domain.contract import Identifier, Time, UserProperties
from milepost.domain.directory import Ids, Name
from milepost.domain.json_text import Reader, parse
from milepost.domain.records import microseconds
from milepost.problems import BODY_TOO_LARGE, INVALID_BODY, Fault, Problem

Key = tuple[str | int, ...]
"""Where a line stands among those of its kind in an export."""

MAX_LINE = 16 * 1024 * 1024
"""Bytes of the longest line that is read."""


class _Line(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What all lines have in common. (msgspec's tags would serve too, but then it tells only the first fault.)"""

    def key(self) -> Key:
        raise NotImplementedError


class OrganizationLine(_Line, kw_only=True):
    kind: Literal["organization"] = "organization"
    org_id: Identifier
    name: Name

    def key(self) -> Key:
        return (self.org_id,)


class EnterpriseLine(_Line, kw_only=True):
    kind: Literal["enterprise"] = "enterprise"
    org_id: Identifier
    enterprise_id: Identifier
    name: Name

    def key(self) -> Key:
        return (self.enterprise_id,)


class RoleLine(_Line, kw_only=True):
    kind: Literal["role"] = "role"
    org_id: Identifier
    role: Identifier
    title: Name
    admin: bool = False

    def key(self) -> Key:
        return (self.org_id, self.role)


class PersonLine(_Line, kw_only=True):
    """A user's internal uuid, which `completedBy` in the records carries."""

    kind: Literal["person"] = "person"
    user_id: Identifier
    id: UUID

    def key(self) -> Key:
        return (self.user_id,)


class MemberLine(_Line, kw_only=True):
    kind: Literal["member"] = "member"
    org_id: Identifier
    user_id: Identifier
    roles: Ids = []
    enterprises: Ids = []
    since: Time | UnsetType = UNSET

    def key(self) -> Key:
        return (self.org_id, self.user_id)


class PastLine(_Line, kw_only=True):
    """A membership of an enterprise that has ended. The organization and the enterprise may be gone."""

    kind: Literal["past"] = "past"
    org_id: Identifier
    user_id: Identifier
    enterprise_id: Identifier
    since: Time
    until: Time

    def key(self) -> Key:
        return (self.user_id, self.org_id, self.enterprise_id, microseconds(self.since))


class RecordLine(_Line, kw_only=True):
    """A user's properties under an organization; without `orgId`, the home record."""

    kind: Literal["record"] = "record"
    org_id: Identifier | UnsetType = UNSET
    properties: UserProperties

    def key(self) -> Key:
        return (self.properties.user_id, self.org_id or "")


Line = OrganizationLine | EnterpriseLine | RoleLine | PersonLine | MemberLine | PastLine | RecordLine

READERS: dict[str, Reader[Any]] = {
    "organization": Reader(OrganizationLine),
    "enterprise": Reader(EnterpriseLine),
    "role": Reader(RoleLine),
    "person": Reader(PersonLine),
    "member": Reader(MemberLine),
    "past": Reader(PastLine),
    "record": Reader(RecordLine),
}
KINDS = tuple(READERS)
"""Every kind of line; none refers to a later one."""


class _Kind(msgspec.Struct):
    kind: str


_kind = msgspec.json.Decoder(_Kind).decode
_encode = msgspec.json.Encoder().encode


def read(text: bytes) -> Line:
    """A line as it was sent.

    Raises:
        Problem: it is no JSON, of no known kind, or does not fit its kind.
    """
    if len(text) > MAX_LINE:
        raise Problem(BODY_TOO_LARGE, f"A line may have at most {MAX_LINE:,} bytes.")
    try:
        kind = _kind(text).kind
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parse(text)
        kind = ""
    if kind not in READERS:
        known = ", ".join(KINDS)
        raise Problem(
            INVALID_BODY,
            f"A line is a JSON object whose kind is one of {known}.",
            [Fault(f"must be one of {known}", pointer="/kind")],
        )
    line: Line = READERS[kind].read(text)
    return line


def written(line: Line) -> bytes:
    """The line as text, ended by a line feed."""
    return _encode(line) + b"\n"


def record_written(org_id: str, body: str) -> bytes:
    """A record's line, from its stored text.

    That text may hold line feeds between the values of `attributes`. No string can hold one unescaped, so all of
    them become spaces, and every value stays as it was sent.
    """
    place = {"orgId": org_id} if org_id else {}
    return _encode({"kind": "record", **place, "properties": msgspec.Raw(single_line(body).encode())}) + b"\n"


def single_line(body: str) -> str:
    """JSON text without line breaks."""
    return body.replace("\n", " ").replace("\r", " ")
