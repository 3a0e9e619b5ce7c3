"""The lines of an export: one JSON object each, told apart by `kind`, in the order in which they can be imported."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from milepost.domain.catalog import Catalog
from milepost.domain.catalog_files import broken
from milepost.domain.contract import NO_CONTROLS, Identifier, Time, UserProperties
from milepost.domain.directory import Ids, Name
from milepost.domain.json_text import Reader, json_pointer
from milepost.domain.progress import Evidence, Progress
from milepost.domain.records import CLOCK_SKEW, microseconds
from milepost.problems import Fault

Key = tuple[str | int, ...]
"""Where a line stands among those of its kind in an export."""

MAX_LINE = 16 * 1024 * 1024
"""Bytes of the longest line that is read."""

MAX_VERSION = 10**9
"""The highest number of a catalog's version that is read; it leaves room for those published later."""

MAX_MOMENT = 253_402_300_799_999_999
"""The end of the year 9999, in microseconds since 1970."""

CatalogOwner = Annotated[str, Meta(max_length=255, pattern=NO_CONTROLS.replace("+$", "*$"))]
"""An organization's id, or '' for the platform."""

SharedPlace = CatalogOwner
"""An enterprise's id, or '' for the whole organization."""

Publisher = Annotated[str, Meta(min_length=1, max_length=300, pattern=NO_CONTROLS)]


class _Line(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What all lines have in common. (msgspec's tags would serve too, but then it tells only the first fault.)"""

    TIMES: ClassVar[tuple[str, ...]] = ()
    """Its fields with a time."""

    ARE_PAST: ClassVar[bool] = False
    """Whether none of these times may lie in the future."""

    def key(self) -> Key:
        raise NotImplementedError

    def faults(self, now: datetime) -> Iterator[Fault]:
        """What breaks a rule that its type does not know. Its times are put in UTC by this."""
        yield from _time_faults(self, self.TIMES, latest=now + CLOCK_SKEW if self.ARE_PAST else None)


def _time_faults(
    part: msgspec.Struct, names: Iterable[str], place: Sequence[str] = (), latest: datetime | None = None
) -> Iterator[Fault]:
    for name in names:
        time = getattr(part, name)
        if time is UNSET:
            continue
        shown = part.__struct_encode_fields__[part.__struct_fields__.index(name)]
        pointer = json_pointer((*place, shown))
        try:
            setattr(part, name, time if time.tzinfo is UTC else time.astimezone(UTC))
        except OverflowError:
            yield Fault("must lie in the years 1 to 9999 in UTC", pointer=pointer)
        else:
            if latest is not None and time > latest:
                yield Fault("must not lie in the future", pointer=pointer)


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


class CatalogLine(_Line, kw_only=True):
    """A published version of a catalog; without `orgId`, of the platform's."""

    TIMES = ("published_at",)
    ARE_PAST = True

    kind: Literal["catalog"] = "catalog"
    org_id: Identifier | UnsetType = UNSET
    version: Annotated[int, Meta(ge=1, le=MAX_VERSION)]
    current: bool = False
    published_at: Time | UnsetType = UNSET
    publisher: Publisher | UnsetType = UNSET
    catalog: Catalog

    def key(self) -> Key:
        return (self.org_id or "", self.version)

    def faults(self, now: datetime) -> Iterator[Fault]:
        yield from super().faults(now)
        for fault in broken(self.catalog):
            yield Fault(fault.detail, pointer=f"/catalog{fault.pointer}")


class PersonLine(_Line, kw_only=True):
    """A user's internal uuid, which `completedBy` in the records carries."""

    kind: Literal["person"] = "person"
    user_id: Identifier
    id: UUID

    def key(self) -> Key:
        return (self.user_id,)


class MemberLine(_Line, kw_only=True):
    TIMES = ("since",)

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

    TIMES = ("since", "until")

    kind: Literal["past"] = "past"
    org_id: Identifier
    user_id: Identifier
    enterprise_id: Identifier
    since: Time
    until: Time

    def key(self) -> Key:
        return (self.user_id, self.org_id, self.enterprise_id, microseconds(self.since))


class SignalLine(_Line, kw_only=True):
    """A fact that was reported; without `subject` it counts for everyone. The enterprise may be gone."""

    TIMES = ("time", "received")
    ARE_PAST = True

    kind: Literal["signal"] = "signal"
    org_id: Identifier
    enterprise_id: Identifier | UnsetType = UNSET
    subject: Identifier | UnsetType = UNSET
    source: Identifier
    id: Identifier
    type: Identifier
    time: Time | UnsetType = UNSET
    received: Time | UnsetType = UNSET

    def key(self) -> Key:
        return (self.subject or "", self.org_id, self.source, self.id)


class EvidenceEntry(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """By what a step was completed, as `domain/progress.py` says it, read strictly."""

    TIMES: ClassVar[tuple[str, ...]] = ("at",)

    how: Literal["signal", "person"]
    at: Time
    by: UUID | None = None
    signals: list[Identifier] = []
    shared: bool = False
    enterprise_id: SharedPlace | None = None

    def evidence(self) -> Evidence:
        by = None if self.by is None else str(self.by)
        return Evidence(self.how, self.at, by, tuple(self.signals), self.shared, self.enterprise_id)


class ProgressEntry(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is kept beside a checklist that the server made, as `domain/progress.py` says it, read strictly.

    The enterprise may be gone, and evidence may be of steps that the catalog has lost.
    """

    org_id: CatalogOwner = ""
    version: Annotated[int, Meta(ge=1, le=MAX_VERSION)]
    enterprise_id: Identifier | UnsetType = UNSET
    published: Annotated[int, Meta(ge=0, le=MAX_MOMENT)] = 0
    evidence: dict[Identifier, EvidenceEntry] = {}

    def progress(self) -> Progress:
        evidence = {step_id: entry.evidence() for step_id, entry in self.evidence.items()}
        return Progress(self.org_id, self.version, self.enterprise_id or "", evidence, self.published)


class SharedLine(_Line, kw_only=True):
    """A step that somebody has done for all of an enterprise; without `enterpriseId`, of the whole organization.

    `evidence` of null: that was taken back.
    """

    kind: Literal["shared"] = "shared"
    org_id: Identifier
    enterprise_id: Identifier | UnsetType = UNSET
    step_id: Identifier
    evidence: EvidenceEntry | None

    def key(self) -> Key:
        return (self.org_id, self.enterprise_id or "", self.step_id)

    def faults(self, now: datetime) -> Iterator[Fault]:
        if self.evidence is None:
            return
        if self.evidence.enterprise_id is not None:
            yield Fault("is what the line says beside its evidence", pointer="/evidence/enterpriseId")
        yield from _time_faults(self.evidence, EvidenceEntry.TIMES, ("evidence",), now + CLOCK_SKEW)


class RecordLine(_Line, kw_only=True):
    """A user's properties under an organization; without `orgId`, the home record.

    `progress` is there where the server made the checklist.
    """

    kind: Literal["record"] = "record"
    org_id: Identifier | UnsetType = UNSET
    properties: UserProperties
    progress: ProgressEntry | UnsetType = UNSET

    def key(self) -> Key:
        return (self.properties.user_id, self.org_id or "")

    def faults(self, now: datetime) -> Iterator[Fault]:
        if self.progress is UNSET:
            return
        if self.org_id is UNSET or self.properties.guided_checklist is UNSET:
            yield Fault("stands only beside the guidedChecklist of an organization", pointer="/progress")
        elif self.progress.org_id not in {"", self.org_id}:
            yield Fault("must be the record's orgId, or empty for the platform's catalog", pointer="/progress/orgId")
        for step_id, entry in self.progress.evidence.items():
            place = ("progress", "evidence", step_id)
            if entry.enterprise_id is not None and not entry.shared:
                yield Fault("stands only beside shared: true", pointer=json_pointer((*place, "enterpriseId")))
            yield from _time_faults(entry, EvidenceEntry.TIMES, place, now + CLOCK_SKEW)


Line = (
    OrganizationLine
    | EnterpriseLine
    | RoleLine
    | CatalogLine
    | PersonLine
    | MemberLine
    | PastLine
    | SignalLine
    | SharedLine
    | RecordLine
)

READERS: dict[str, Reader[Any]] = {
    "organization": Reader(OrganizationLine),
    "enterprise": Reader(EnterpriseLine),
    "role": Reader(RoleLine),
    "catalog": Reader(CatalogLine),
    "person": Reader(PersonLine),
    "member": Reader(MemberLine),
    "past": Reader(PastLine),
    "signal": Reader(SignalLine),
    "shared": Reader(SharedLine),
    "record": Reader(RecordLine),
}
KINDS = tuple(READERS)
"""Every kind of line; none refers to a later one."""
