"""How load is made: wrk for how much a server takes, and one probe with the answers checked before that.

wrk sends the next request when it has the answer to the one before, so it finds what a server takes at most. Its
latencies are those of a server that is full; what a user would wait at a rate that the server can take is measured
by `open_loop`.
"""

import re
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import msgspec

from bench.documents import FIRST
from bench.installs import HERE
from bench.processes import BenchError
from bench.stage import System
from bench.workloads import COUNTER, TAG, Request, Workload

GRACE = 20
"""Seconds that wrk may take beyond its time."""

RESULT = re.compile(r"^RESULT (\{.*\})$", re.MULTILINE)
PROBED = 3
"""Requests of each workload whose answers are looked at."""

runs = count(1)


@dataclass(frozen=True)
class Throughput:
    """What one run of wrk found. `refused` counts answers of 400 and more, `broken` what had no answer; latencies
    in milliseconds, of a server under all the load it takes.
    """

    per_second: float
    requests: int
    refused: int
    broken: int
    bytes_per_answer: float
    p50: float
    p99: float
    p999: float


class _Told(msgspec.Struct):
    requests: int
    microseconds: int
    bytes: int
    refused: int
    broken: int
    p50: int
    p99: int
    p999: int


def throughput(
    wrk: Path, port: int, requests: Path, workload: Workload, *, connections: int, seconds: float
) -> Throughput:
    """Load a server with the requests of a file, as fast as it answers.

    Raises:
        BenchError: wrk failed.
    """
    script = HERE / "wrk" / ("if_match.lua" if workload is Workload.PUT_IF_MATCH else "requests.lua")
    command: list[str | Path] = [
        wrk,
        "--threads",
        "1",
        "--connections",
        str(connections),
        "--duration",
        f"{max(1, round(seconds))}s",
    ]
    command += ["--timeout", "10s", "--script", script, f"http://127.0.0.1:{port}", "--", requests, str(next(runs))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + GRACE)
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end: {workload} with {connections} connections") from None
    found = RESULT.search(done.stdout)
    if found is None:
        raise BenchError(f"wrk failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    told = msgspec.json.decode(found[1], type=_Told)
    return Throughput(
        per_second=told.requests / (told.microseconds / 1e6),
        requests=told.requests,
        refused=told.refused,
        broken=told.broken,
        bytes_per_answer=told.bytes / max(1, told.requests),
        p50=told.p50 / 1000,
        p99=told.p99 / 1000,
        p999=told.p999 / 1000,
    )


def probe(system: System, workload: Workload, requests: list[Request]) -> None:
    """See that a system gives the right answers, before its speed is measured.

    Raises:
        BenchError: it does not.
    """
    with httpx.Client(base_url=f"http://127.0.0.1:{system.port}", trust_env=False, timeout=30) as client:
        for place, request in enumerate(requests[:PROBED]):
            answer = _sent(client, request, place)
            number = int(request.user_id.rpartition("-")[2] or FIRST) - FIRST
            if not (answer.is_success if workload is Workload.MIX else system.fits(workload, number, answer)):
                what = f"{system.title}, {workload}: {request.method} {request.path}"
                raise BenchError(f"{what}: not the right answer: {answer.status_code} {answer.text[:1000]}")
        if workload is Workload.PUT_IF_MATCH:
            _must_refuse_a_stale_tag(client, system, requests[0])
        if workload is Workload.GET and system.checks_tokens:
            _must_refuse_another_user(client, system, requests)


def _sent(client: httpx.Client, request: Request, place: int) -> httpx.Response:
    once = f"{place:012}".encode()
    headers = {name: value.replace(TAG.decode(), "*") for name, value in request.headers.items()}
    body = request.body.replace(COUNTER, once)
    return client.request(request.method, request.path, headers=headers, content=body)


def _must_refuse_a_stale_tag(client: httpx.Client, system: System, request: Request) -> None:
    tag = _sent(client, request, 0).headers["etag"]
    _sent(client, request, 0)
    headers = {**request.headers, "If-Match": tag}
    answer = client.request(request.method, request.path, headers=headers, content=request.body)
    if answer.status_code != httpx.codes.PRECONDITION_FAILED:
        raise BenchError(f"{system.title} lost an update: {answer.status_code} for a write with an ETag of before")


def _must_refuse_another_user(client: httpx.Client, system: System, requests: list[Request]) -> None:
    ours, theirs = requests[:2]
    answer = client.get(ours.path, headers=dict(theirs.headers))
    if not answer.is_client_error:
        raise BenchError(f"{system.title} showed a record to another user: {answer.status_code}")
