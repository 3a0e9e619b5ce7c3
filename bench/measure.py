"""A run: every system under every load, in turn, round after round."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from bench import limits, load, open_loop
from bench.documents import World, as_lines
from bench.installs import say
from bench.machine import described
from bench.processes import run
from bench.results import BARE, CONNECTIONS, MILEPOST, Limit, Results, Sample, Waiting
from bench.stage import Stage, System
from bench.systems import milepost
from bench.workloads import Request, Workload, write_file

SHARE = 0.6
"""Of what a system takes at most: the rate at which latencies are measured."""
PAUSE = 0.3
"""Seconds between two measurements, in which a server comes to rest."""
LONG_PAUSE = 3
"""Seconds after a load whose requests are long: those that nobody waits for any more are still worked through."""
LONG = {Workload.SIGNALS, Workload.INITIALIZE, Workload.MIX}
WARM_UP = 1
IMPORTED = 50_000

tags = count(90_000)


@dataclass(frozen=True)
class Plan:
    """What a kind of run measures: loads as (workload, connections), rounds, and seconds of one measurement."""

    kind: str
    users: int
    rounds: int
    seconds: float
    loads: Sequence[tuple[Workload, int]]
    waits: Sequence[tuple[Workload, int]]
    systems: Sequence[str]
    facts: bool


class Run:
    """A run under way."""

    def __init__(self, stage: Stage, plan: Plan, wrk: Path, systems: list[System]) -> None:
        self.stage = stage
        self.plan = plan
        self.wrk = wrk
        self.systems = systems
        self.results = Results(
            kind=plan.kind,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            rounds=plan.rounds,
            seconds=plan.seconds,
            users=plan.users,
            machine=described(stage, wrk),
            titles={system.key: system.title for system in systems},
        )
        self._requests: dict[tuple[str, Workload], list[Request]] = {}

    def check(self) -> None:
        """See that every system answers every workload rightly, and let it warm up."""
        for system in self.systems:
            for workload in dict.fromkeys(workload for workload, _ in self.plan.loads):
                requests = system.requests(workload)
                if requests is None:
                    continue
                self._requests[system.key, workload] = requests
                load.probe(system, workload, requests)
                self._throughput(system, workload, CONNECTIONS, WARM_UP)

    def measure(self, statements: limits.Statements | None) -> None:
        """All rounds. Each takes the systems in another order, so that none always follows the same one."""
        for number in range(1, self.plan.rounds + 1):
            say(f"Round {number} of {self.plan.rounds}")
            self._limits(number, statements)
            for workload, connections in self.plan.loads:
                for system in self._in_turn(number):
                    if (system.key, workload) in self._requests:
                        self._sample(system, workload, connections, number)

    def _in_turn(self, number: int) -> Iterator[System]:
        shift = (number - 1) // 2 % len(self.systems)
        turned = self.systems[shift:] + self.systems[:shift]
        yield from turned if number % 2 else reversed(turned)

    def _limits(self, number: int, statements: limits.Statements | None) -> None:
        flushes = limits.flushes_per_second(self.stage.folder, min(2, self.plan.seconds))
        self.results.limits.append(Limit(name="flushes of the disk", round=number, per_second=flushes))
        if statements is None:
            return
        for workload in statements.scripts:
            rate = statements.per_second(workload, self.plan.users, self.plan.seconds)
            self.results.limits.append(Limit(name=f"pgbench {workload.name}", round=number, per_second=rate))

    def _sample(self, system: System, workload: Workload, connections: int, number: int) -> None:
        found = self._throughput(system, workload, connections, self.plan.seconds)
        self.results.samples.append(
            Sample(
                system=system.key,
                workload=workload,
                connections=connections,
                round=number,
                **asdict(found),
            )
        )
        wrong = found.refused + found.broken
        say(
            f"  {workload}, {connections} connections, {system.title}: {found.per_second:,.0f}/s"
            + (f", {wrong} not answered as they should be" if wrong else "")
        )

    def _throughput(self, system: System, workload: Workload, connections: int, seconds: float) -> load.Throughput:
        file = self.stage.folder / f"{system.key}-{workload.name}.requests"
        if workload is Workload.NOT_MODIFIED:
            # ETags change with every write.
            write_file(file, system.requests(workload) or [])
        elif not file.exists():
            write_file(file, self._requests[system.key, workload])
        time.sleep(PAUSE)
        found = load.throughput(self.wrk, system.port, file, workload, connections=connections, seconds=seconds)
        if workload in LONG:
            time.sleep(LONG_PAUSE)
        return found

    def wait(self) -> None:
        """Latencies at a constant rate, for each system at a share of what it takes."""
        if self.plan.waits:
            say("Latencies at a constant rate")
        for workload, connections in self.plan.waits:
            for system in self.systems:
                most = self.results.rate(system.key, workload, connections)
                if not most or system.key == BARE:
                    continue
                time.sleep(PAUSE)
                found = open_loop.latencies(
                    system.port,
                    self._requests[system.key, workload],
                    connections=connections,
                    rate=SHARE * most,
                    seconds=self.plan.seconds,
                    tag=next(tags),
                )
                self.results.waiting.append(
                    Waiting(system=system.key, workload=workload, connections=connections, **asdict(found))
                )
                say(
                    f"  {workload}, {connections} connections, {system.title}, {found.rate:,.0f}/s:"
                    f" p50 {found.p50:.2f}, p99 {found.p99:.2f}, p99.9 {found.p999:.2f} ms"
                )

    def facts(self) -> None:
        """Memory after load, and for a full run: how soon the service is ready, and how fast it imports."""
        found = self.results.facts
        for system in self.systems:
            found[f"memory of {system.key}"] = system.running.memory / 1e6
            if system.key == MILEPOST:
                found["memory"] = system.running.memory / 1e6
        if not self.plan.facts:
            return
        for system in self.systems:
            if system.key == MILEPOST:
                with milepost.served(self.stage, system.database, name="second") as (second, _):
                    found["ready"] = second.seconds_to_ready
        found["import"] = imported(self.stage, self.stage.database(), IMPORTED)


def imported(stage: Stage, database: str, users: int) -> float:
    """Records a second that `milepost import` takes in, for users who are members already; with its start."""
    world = World(users)
    directory, records = stage.folder / "directory.ndjson", stage.folder / "records.ndjson"
    directory.write_bytes(as_lines(world.directory()))
    records.write_bytes(as_lines(world.records()))
    surroundings = milepost.environment(stage, database)
    run([*milepost.COMMAND, "db", "upgrade"], environment=surroundings)
    run([*milepost.COMMAND, "import", "--restart", directory], environment=surroundings)
    start = time.perf_counter()
    run([*milepost.COMMAND, "import", "--restart", records], environment=surroundings)
    took = time.perf_counter() - start
    directory.unlink()
    records.unlink()
    return users / took
