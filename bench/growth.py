"""What size costs: the same GET and PUT with ten thousand, a million or ten million users stored.

Requests are about users drawn evenly from all of them, with an operator's token, so that neither the database nor
the service has them at hand.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median

import httpx
import msgspec

from bench import load, population
from bench.documents import document, org_id, user_id
from bench.installs import say
from bench.machine import described
from bench.processes import BenchError, Running, run
from bench.results import CONNECTIONS
from bench.stage import Stage, System, execute
from bench.systems import contract, milepost
from bench.workloads import Request, Workload, with_json, write_file
from tests.postgres import drop_database

BYTES_OF_A_USER = {"postgresql": 5_000, "sqlite": 6_000}
"""Disk that a user takes, with indexes and what is needed while loading."""
DRAWN = 20_000
"""Users that requests are about."""
WORKLOADS = (Workload.GET, Workload.PUT)
ALL, SINGLE, LARGE, BUSY = (
    "users drawn from all",
    "a user alone in an organization",
    "members of a large organization",
    "a user with many memberships",
)


class Point(msgspec.Struct, kw_only=True):
    """One load at one size in one round. `alone`, `alone_p99`: milliseconds for one client; `per_second`: with 32
    connections.
    """

    system: str
    users: int
    case: str
    workload: Workload
    round: int
    alone: float
    alone_p99: float
    per_second: float
    wrong: int


class Cost(msgspec.Struct, kw_only=True):
    """The medians of a load's points."""

    alone: float
    alone_p99: float
    per_second: float
    wrong: int


class Size(msgspec.Struct, kw_only=True):
    """What is stored, how many seconds loading it took, and what the service takes: MB, and seconds to be ready."""

    system: str
    users: int
    loading: float
    ready: float
    memory: float = 0.0


class Growth(msgspec.Struct, kw_only=True):
    """A run over sizes."""

    started: str
    rounds: int
    seconds: float
    machine: dict[str, str]
    sizes: list[Size] = []
    points: list[Point] = []

    def cost(self, system: str, users: int, workload: Workload, case: str = ALL) -> Cost | None:
        """The medians of the rounds at one size; None where it was not measured."""
        wanted = (system, users, workload, case)
        found = [one for one in self.points if (one.system, one.users, one.workload, one.case) == wanted]
        if not found:
            return None
        return Cost(
            alone=median(one.alone for one in found),
            alone_p99=median(one.alone_p99 for one in found),
            per_second=median(one.per_second for one in found),
            wrong=sum(one.wrong for one in found),
        )

    @property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(one.system for one in self.sizes))

    @property
    def users(self) -> list[int]:
        return sorted({one.users for one in self.sizes})


@dataclass(frozen=True)
class Place:
    """A database of one size and a service on it."""

    system: str
    users: int
    port: int
    process: Running


class Run:
    """A run under way: the databases of all sizes are made first, and then measured in turn."""

    def __init__(self, stage: Stage, wrk: Path, *, rounds: int, seconds: float) -> None:
        self.stage = stage
        self.wrk = wrk
        self.growth = Growth(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            rounds=rounds,
            seconds=seconds,
            machine=described(stage, wrk),
        )

    def measure(self, system: str, sizes: Sequence[int]) -> None:
        """Fill a database of each size, measure all in turn, and drop them.

        Raises:
            BenchError: the disk has no room for them, or an answer is not the right one.
        """
        _must_fit(self.stage.folder, sum(sizes) * BYTES_OF_A_USER[system])
        with ExitStack() as stack:
            databases = [(users, stack.enter_context(self._filled(system, users))) for users in sorted(sizes)]
            places = [
                stack.enter_context(self._served(system, users, database, took))
                for users, (database, took) in databases
            ]
            for number in range(1, self.growth.rounds + 1):
                say(f"Round {number} of {self.growth.rounds} on {system}")
                for case in (ALL, SINGLE, LARGE, BUSY):
                    for workload in WORKLOADS:
                        for place in places if number % 2 else reversed(places):
                            self._point(place, case, workload, number)
            for place in places:
                for size in self.growth.sizes:
                    if (size.system, size.users) == (place.system, place.users):
                        size.memory = place.process.memory / 1e6

    @contextmanager
    def _filled(self, system: str, users: int) -> Iterator[tuple[str, float]]:
        """A database with so many users; and the seconds that it took to make."""
        say(f"Making {users:,} users on {system}")
        file = self.stage.folder / f"{users}.db"
        database = f"sqlite:///{file}" if system == "sqlite" else self.stage.database()
        try:
            start = time.perf_counter()
            run([*milepost.COMMAND, "db", "upgrade"], environment=milepost.environment(self.stage, database))
            self._set("max_wal_size = '8GB'")
            population.fill(database, users)
            self._set("max_wal_size = '1GB'")
            yield database, time.perf_counter() - start
        finally:
            if system == "sqlite":
                for each in self.stage.folder.glob(f"{users}.db*"):
                    each.unlink()
            else:
                drop_database(self.stage.cluster, database)

    def _set(self, setting: str) -> None:
        """PostgreSQL keeps more log between checkpoints while it is filled, and its default when it is measured."""
        execute(self.stage.cluster.url, f"ALTER SYSTEM SET {setting}", "SELECT pg_reload_conf()")

    @contextmanager
    def _served(self, system: str, users: int, database: str, loading: float) -> Iterator[Place]:
        with milepost.served(self.stage, database, name=f"{system}-{users}") as (process, port):
            ready = process.seconds_to_ready
            self.growth.sizes.append(Size(system=system, users=users, loading=loading, ready=ready))
            yield Place(system, users, port, process)

    def _point(self, place: Place, case: str, workload: Workload, number: int) -> None:
        requests = _requests(self.stage, place.users, case, workload)
        if number == 1:
            load.probe(
                System("growth", "Milepost", place.port, place.process, lambda _: requests, _fits, checks_tokens=False),
                workload,
                requests,
            )
        file = write_file(self.stage.folder / "growth.requests", requests)
        seconds = self.growth.seconds
        alone = load.throughput(self.wrk, place.port, file, workload, connections=1, seconds=seconds)
        many = load.throughput(self.wrk, place.port, file, workload, connections=CONNECTIONS, seconds=seconds)
        say(f"  {place.users:,} users, {case}, {workload}: p50 {alone.p50:.2f} ms alone, {many.per_second:,.0f}/s")
        self.growth.points.append(
            Point(
                system=place.system,
                users=place.users,
                case=case,
                workload=workload,
                round=number,
                alone=alone.p50,
                alone_p99=alone.p99,
                per_second=many.per_second,
                wrong=alone.refused + alone.broken + many.refused + many.broken,
            )
        )


def _must_fit(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchError(f"{needed / 1e9:.0f} GB of disk are needed, and {free / 1e9:.0f} GB are free")


def _requests(stage: Stage, users: int, case: str, workload: Workload) -> list[Request]:
    headers = contract.authorization(stage.token("operator", platform_admin=True))
    requests = []
    for number, org in _drawn(case, users):
        target = f"{contract.path(number)}?orgId={org}"
        if workload is Workload.GET:
            requests.append(Request("GET", target, user_id(number), headers))
        else:
            content = document(number, revision=1)
            requests.append(with_json("PUT", target, content, user_id=user_id(number), headers=headers))
    return requests


def _drawn(case: str, users: int) -> list[tuple[int, str]]:
    """The users, each with the organization, that the requests of a case are about."""
    chance = Random(users)
    match case:
        case "users drawn from all":
            return [(number, org_id(number)) for number in chance.choices(range(users), k=DRAWN)]
        case "a user alone in an organization":
            return [(population.ALONE, population.SINGLE)]
        case "members of a large organization":
            return [
                (number, population.LARGE)
                for number in chance.choices(range(min(users, population.LARGE_READ)), k=DRAWN // 10)
            ]
        case _:
            places = range(population.MANY_SIZE)
            return [(population.BUSY, f"{population.MANY}{n}") for n in chance.sample(places, len(places))]


def _fits(_workload: Workload, number: int, answer: httpx.Response) -> bool:
    content = answer.json()
    checklist = content.get("guidedChecklist", {})
    return content.get("userId") == user_id(number) and bool(checklist.get("roles")) and bool(checklist.get("steps"))
