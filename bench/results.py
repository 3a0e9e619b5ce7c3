"""What a run has found: samples as they were measured, and medians and ratios of them."""

from statistics import median
from typing import Any

import msgspec

from bench.workloads import Workload

MILEPOST, SQLITE, TWO_WORKERS = "milepost-pg", "milepost-sqlite", "milepost-pg-2"
BASELINE, KINTO, PARSE, BARE = "baseline", "kinto", "parse", "bare"
CONNECTIONS = 32
"""The connections of the main tables."""


class Sample(msgspec.Struct, kw_only=True):
    """One system under one load, as fast as it goes, in one round. Latencies in milliseconds."""

    system: str
    workload: Workload
    connections: int
    round: int
    per_second: float
    requests: int
    refused: int
    broken: int
    bytes_per_answer: float
    p50: float
    p99: float
    p999: float


class Waiting(msgspec.Struct, kw_only=True):
    """How long answers took at a constant rate, counted from when each request was due. Milliseconds."""

    system: str
    workload: Workload
    connections: int
    rate: float
    answered: int
    refused: int
    unanswered: int
    p50: float
    p99: float
    p999: float
    longest: float
    late: float


class Limit(msgspec.Struct, kw_only=True):
    """What the machine allows, in one round: flushes of the disk, or statements through pgbench."""

    name: str
    round: int
    per_second: float


class Results(msgspec.Struct, kw_only=True):
    """A run."""

    kind: str
    started: str
    rounds: int
    seconds: float
    users: int
    machine: dict[str, str]
    titles: dict[str, str] = {}
    samples: list[Sample] = []
    waiting: list[Waiting] = []
    limits: list[Limit] = []
    facts: dict[str, float] = {}
    left_out: dict[str, str] = {}

    def of(self, system: str, workload: Workload, connections: int = CONNECTIONS) -> list[Sample]:
        """The samples of a system under a load, by round."""
        wanted = (system, workload, connections)
        return [one for one in self.samples if (one.system, one.workload, one.connections) == wanted]

    def rate(self, system: str, workload: Workload, connections: int = CONNECTIONS) -> float | None:
        """Requests a second, the median of the rounds; None where it was not measured."""
        found = [one.per_second for one in self.of(system, workload, connections)]
        return median(found) if found else None

    def ratio(self, system: str, other: str, workload: Workload, connections: int = CONNECTIONS) -> float | None:
        """How many times as fast one system is as another: the median of the rounds' ratios."""
        ours = {one.round: one.per_second for one in self.of(system, workload, connections)}
        theirs = {one.round: one.per_second for one in self.of(other, workload, connections)}
        both = [ours[each] / theirs[each] for each in ours if theirs.get(each)]
        return median(both) if both else None

    def limit(self, name: str) -> float | None:
        """What the machine allows, the median of the rounds."""
        found = [one.per_second for one in self.limits if one.name == name]
        return median(found) if found else None

    def in_series(self, workload: Workload) -> float | None:
        """What could be answered if a bare answer and the statements were all there is, one after the other."""
        bare, statements = self.rate(BARE, workload), self.limit(f"pgbench {workload.name}")
        return 1 / (1 / bare + 1 / statements) if bare and statements else None

    def wait(self, system: str, workload: Workload, connections: int = CONNECTIONS) -> Waiting | None:
        wanted = (system, workload, connections)
        return next((one for one in self.waiting if (one.system, one.workload, one.connections) == wanted), None)

    @property
    def systems(self) -> list[str]:
        """The keys of the systems, the machine's limit last."""
        return list(self.titles)

    def errors(self) -> dict[str, int]:
        """By system, the answers that were no success or never came."""
        found: dict[str, int] = dict.fromkeys(self.titles, 0)
        for sample in self.samples:
            found[sample.system] += sample.refused + sample.broken
        for one in self.waiting:
            found[one.system] += one.refused + one.unanswered
        return found


class Bar(msgspec.Struct, kw_only=True):
    """What was set out to be reached. `found` is None where this run did not measure it."""

    what: str
    wanted: str
    found: float | None
    unit: str
    reached: bool | None


def at_least(what: str, wanted: float, found: float | None, unit: str = "x") -> Bar:
    reached = None if found is None else found >= wanted
    return Bar(what=what, wanted=f">= {wanted:,g}{unit}", found=found, unit=unit, reached=reached)


def at_most(what: str, wanted: float, found: float | None, unit: str = "x") -> Bar:
    reached = None if found is None else found <= wanted
    return Bar(what=what, wanted=f"<= {wanted:,g}{unit}", found=found, unit=unit, reached=reached)


def _share(part: float | None, whole: float | None, factor: float = 1) -> float | None:
    return factor * part / whole if part is not None and whole else None


AGAINST = {
    Workload.GET: ((BASELINE, 15), (KINTO, 20), (PARSE, 5)),
    Workload.PUT: ((BASELINE, 10), (KINTO, 15), (PARSE, 4)),
}
OTHERS: dict[str, str] = {BASELINE: "the baseline", KINTO: "Kinto", PARSE: "Parse Server"}


def bars(results: Results) -> list[Bar]:
    """What the run is held against."""
    found: list[Bar] = []
    for workload, others in AGAINST.items():
        found += [
            at_least(f"{workload} against {OTHERS[other]}", wanted, results.ratio(MILEPOST, other, workload))
            for other, wanted in others
        ]
        share = _share(results.rate(MILEPOST, workload), results.in_series(workload), 100)
        found.append(at_least(f"{workload} against the machine's limit in series", 50, share, " %"))
    for workload in (Workload.GET, Workload.PUT):
        found.append(at_least(f"{workload}: SQLite against PostgreSQL", 1, results.ratio(SQLITE, MILEPOST, workload)))
        found.append(
            at_least(f"{workload}: two workers against one", 1.3, results.ratio(TWO_WORKERS, MILEPOST, workload))
        )
        wait = results.wait(MILEPOST, workload)
        slow = _share(wait.p99, wait.p50) if wait else None
        found.append(at_most(f"{workload}: p99 against p50, 32 connections", 5, slow))
    batches = results.rate(MILEPOST, Workload.SIGNALS)
    found.append(at_least("signals in batches", 20_000, _share(batches, 1, 100), " /s"))
    found.append(at_least("import", 40_000, results.facts.get("import"), " records/s"))
    alone = results.of(MILEPOST, Workload.GET, 1)
    found.append(at_most("one client alone: p50 of GET", 1.5, median(o.p50 for o in alone) if alone else None, " ms"))
    found.append(at_most("ready after", 1, results.facts.get("ready"), " s"))
    found.append(at_most("memory after load", 150, results.facts.get("memory"), " MB"))
    return found


def encoded(results: Results) -> bytes:
    """The run and what follows from it, as JSON."""
    content: dict[str, Any] = {"bars": bars(results), "results": results}
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
