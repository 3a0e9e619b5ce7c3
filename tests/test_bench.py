"""The benchmark measures what it says it does. How fast anything is, is asserted nowhere."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import msgspec
import pytest

from bench import chart, limits, open_loop
from bench.documents import document, org_id, shown, user_id
from bench.results import BASELINE, MILEPOST, Results, Sample, bars
from bench.workloads import COUNTER, Request, Workload

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def slow_server(*, stuck: float) -> Iterator[tuple[int, list[bytes]]]:
    """A server for one connection that keeps its first caller waiting, and what it received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while request := connection.recv(65536):
                    received.append(request)
                    if len(received) == 1:
                        time.sleep(stuck)
                    connection.sendall(ANSWER)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        thread.join()


def sample(system: str, number: int, per_second: float) -> Sample:
    return Sample(
        system=system, workload=Workload.GET, connections=32, round=number, per_second=per_second,
        requests=1, refused=0, broken=0, bytes_per_answer=1, p50=1, p99=1, p999=1,
    )  # fmt: skip


def results(*samples: Sample) -> Results:
    return Results(
        kind="quick", started="2026-03-02T08:00:00Z", rounds=3, seconds=1, users=1, machine={},
        titles={one.system: one.system for one in samples}, samples=list(samples),
    )  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, 7, 1999])
def test_documents_are_of_the_size_that_is_claimed(number: int) -> None:
    assert 2100 <= len(msgspec.json.encode(document(number))) <= 2300


def test_some_steps_of_a_document_are_hidden_from_its_user() -> None:
    roles, steps = shown(3)

    assert len(roles) == 2
    assert 0 < len(steps) < len(document(3)["guidedChecklist"]["steps"])


def test_a_request_that_was_due_while_the_server_was_stuck_counts_its_waiting() -> None:
    stuck = 0.5
    with slow_server(stuck=stuck) as (port, received):
        found = open_loop.latencies(port, [Request("GET", "/")], connections=1, rate=100, seconds=1, tag=1, warm_up=0)

    # Half of the requests were due while the first had no answer; a generator that waits would know of one.
    assert found.answered == len(received) == 100
    assert found.p50 > 0
    assert found.longest >= 1000 * stuck
    assert found.p99 > 1000 * stuck / 2


def test_a_counter_in_a_request_is_another_number_each_time() -> None:
    with slow_server(stuck=0) as (port, received):
        request = Request("POST", "/", body=COUNTER)
        open_loop.latencies(port, [request], connections=1, rate=100, seconds=0.1, tag=1, warm_up=0)

    assert len({one[-len(COUNTER) :] for one in received}) == len(received) == 10


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    found = results(
        sample(MILEPOST, 1, 100), sample(BASELINE, 1, 10),
        sample(MILEPOST, 2, 50), sample(BASELINE, 2, 10),
        sample(MILEPOST, 3, 900), sample(BASELINE, 3, 30),
    )  # fmt: skip

    assert found.ratio(MILEPOST, BASELINE, Workload.GET) == 10


def test_a_bar_says_whether_it_was_reached() -> None:
    reached = {
        rate: next(bar for bar in bars(results(sample(MILEPOST, 1, rate), sample(BASELINE, 1, 1)))).reached
        for rate in (14, 15)
    }

    assert reached == {14: False, 15: True}


def test_the_statements_of_a_request_are_replayed_about_other_users() -> None:
    at = "2026-03-02 08:00:00.000 UTC [17] "
    log = "\n".join([
        at + "LOG:  statement: BEGIN;",
        at + "LOG:  execute __asyncpg_stmt_1__: SELECT $1",
        "\tFROM people",
        at + f"DETAIL:  parameters: $1 = '[\"{user_id(7)}\", \"{org_id(7)}\", \"it''s 1:a\"]'",
    ])  # fmt: skip

    *_, begin, select = limits.script(log).splitlines()

    assert begin == "BEGIN;"
    assert select == (
        "SELECT (E'[\"' || 'user-' || CAST(:n AS text) || E'\", \"' || 'org-' || CAST(:o AS text)"
        " || E'\", \"it''s 1\\x3aa\"]') FROM people;"
    )


def test_the_chart_is_a_picture_with_a_line_for_each_series() -> None:
    picture = chart.svg("Cost", [("GET", [(10_000, 1.0), (1_000_000, 1.2)]), ("PUT", [(10_000, 2.0)])])

    lines = ElementTree.fromstring(picture).findall("{http://www.w3.org/2000/svg}polyline")  # noqa: S314 - our own
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 1]
