"""What is read of a CloudEvent can be kept, and read back as it was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from milepost.domain.cloud_events import read_batch, read_binary, read_structured
from milepost.domain.records import CLOCK_SKEW, microseconds, moment
from milepost.problems import Problem

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVENT = {"specversion": "1.0", "id": "1", "source": "/fleet", "type": "paired", "orgid": "acme"}

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
edges = st.sampled_from([datetime.min, datetime.max, NOW.replace(tzinfo=None)])  # noqa: DTZ901 - a zone is added
near_an_edge = st.builds(
    lambda edge, hours: edge + hours if edge.year < 9999 else edge - hours,
    edges,
    st.timedeltas(timedelta(0), timedelta(hours=30)),
)
times = st.builds(lambda time, zone: time.replace(tzinfo=zone), st.datetimes() | near_an_edge, offsets)


@given(times)
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
@example(datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14))))
@example(datetime(1, 1, 1, 14, tzinfo=timezone(timedelta(hours=14))))
def test_a_time_that_is_accepted_can_be_read_back_and_any_other_is_refused_where_it_stands(time: datetime) -> None:
    event = msgspec.json.encode(EVENT | {"time": time.isoformat()})
    if time > NOW + CLOCK_SKEW or time < datetime.min.replace(tzinfo=UTC):
        assert refused(lambda: read_structured(event, NOW)) == ["/time"]
        return

    (read,) = read_structured(event, NOW)

    assert isinstance(read.time, datetime)
    assert moment(microseconds(read.time)) == time


def test_every_mode_refuses_a_time_that_utc_has_not() -> None:
    event = EVENT | {"time": "0001-01-01T00:00:00+14:00"}

    assert refused(lambda: read_binary(event, NOW)) == ["/time"]
    assert refused(lambda: read_structured(msgspec.json.encode(event), NOW)) == ["/time"]
    assert refused(lambda: read_batch(msgspec.json.encode([EVENT, event]), NOW)) == ["/1/time"]


def refused(read: Callable[[], object]) -> list[str | None]:
    """Where the faults are for which it is refused."""
    with pytest.raises(Problem) as refusal:
        read()
    return [fault.pointer for fault in refusal.value.faults]
