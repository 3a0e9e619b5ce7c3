"""CloudEvents 1.0 as signals: structured, binary and batch modes (CloudEvents spec 1.0.2, JSON and HTTP bindings)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from milepost.domain.contract import Identifier, Time
from milepost.domain.json_text import Reader
from milepost.domain.records import CLOCK_SKEW
from milepost.problems import INVALID_BODY, Fault, Problem

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_EVENTS = 1_000
BATCH_SIZE = Meta(max_length=MAX_EVENTS)

MOST_BYTES = {"subject": 800, "orgid": 800, "enterpriseid": 800, "type": 800, "source": 500, "id": 500}
"""An event is known by subject, organization, source and id; PostgreSQL's index holds 2,704 bytes of the four."""


class CloudEvent(msgspec.Struct, kw_only=True):
    """A fact that the application reports: `type` names it, `subject` is the external user id (absent: it counts for
    everyone), `orgid` and `enterpriseid` are extension attributes. `data` and other extensions are not looked at."""

    specversion: Literal["1.0"]
    id: Identifier
    source: Identifier
    type: Identifier
    orgid: Annotated[Identifier, Meta(description="extension attribute: the organization")]
    enterpriseid: Annotated[Identifier, Meta(description="extension attribute: the enterprise")] | UnsetType = UNSET
    subject: Identifier | UnsetType = UNSET
    time: Time | UnsetType = UNSET


_one = Reader(CloudEvent)
_many: Reader[list[CloudEvent]] = Reader(cast("type[list[CloudEvent]]", Annotated[list[CloudEvent], BATCH_SIZE]))


def read_structured(body: bytes, now: datetime) -> list[CloudEvent]:
    """One event, as JSON."""
    return _checked([_one.read(body)], now, "")


def read_batch(body: bytes, now: datetime) -> list[CloudEvent]:
    """Up to MAX_EVENTS events, as a JSON array."""
    return _checked(_many.read(body), now, "/{}")


def read_binary(attributes: Mapping[str, str], now: datetime) -> list[CloudEvent]:
    """One event whose attributes came as headers, without their `ce-` and percent-decoded."""
    return _checked([_one.read(msgspec.json.encode(attributes))], now, "")


def _checked(events: Sequence[CloudEvent], now: datetime, pointer: str) -> list[CloudEvent]:
    faults = [
        Fault(fault, pointer=f"{pointer.format(n)}/{name}")
        for n, event in enumerate(events)
        for name, fault in _faults(event, now)
    ]
    if faults:
        raise Problem(INVALID_BODY, f"{faults[0].pointer} {faults[0].detail}.", faults[:100])
    return list(events)


def _faults(event: CloudEvent, now: datetime) -> Iterator[tuple[str, str]]:
    if event.time is not UNSET and not _is_in_utc_years(event.time):
        yield "time", "must lie in the years 1 to 9999 in UTC"
    elif event.time is not UNSET and event.time > now + CLOCK_SKEW:
        yield "time", "lies in the future"
    for name, most in MOST_BYTES.items():
        value = getattr(event, name)
        if value is not UNSET and len(value) > most // 4 and len(value.encode()) > most:
            yield name, f"must have at most {most} bytes in UTF-8"


def _is_in_utc_years(time: datetime) -> bool:
    """Whether it can be told in UTC, as it is kept: an offset can lead out of the years 1 to 9999."""
    try:
        time.astimezone(UTC)
    except OverflowError:
        return False
    return True
