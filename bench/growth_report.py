"""A run over sizes as Markdown, JSON and a chart."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench import chart
from bench.growth import ALL, BUSY, LARGE, SINGLE, WORKLOADS, Growth
from bench.report import judged, table
from bench.results import Bar, at_most
from bench.workloads import Workload

TITLES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
MOST = 1.25
"""How many times as long a GET may take at the largest size as at the smallest."""


def write(growth: Growth, folder: Path) -> Path:
    """Write the run; answers where the Markdown is."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"bars": bars(growth), "growth": growth}
    (folder / "growth.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
    (folder / "growth.svg").write_text(chart.svg("Median time of one request, one client alone", _lines(growth)))
    page = folder / "growth.md"
    page.write_text(markdown(growth))
    return page


def bars(growth: Growth) -> list[Bar]:
    """What the run is held against: the largest size against the smallest."""
    found = []
    for system in growth.systems:
        small, large = (growth.cost(system, users, Workload.GET) for users in (growth.users[0], growth.users[-1]))
        what = f"{TITLES[system]}: GET p50 at {growth.users[-1]:,} users against {growth.users[0]:,}"
        found.append(at_most(what, MOST, large.alone / small.alone if small and large else None))
    return found


def markdown(growth: Growth) -> str:
    """The whole page."""
    parts = [
        f"# Benchmark: growth, {growth.started[:10]}",
        f"{growth.rounds} rounds of {growth.seconds:g} s for each measurement, the sizes in turn. Figures are medians.",
        "![Cost of a request against the number of users](growth.svg)",
        table(("what", "wanted", "found", ""), judged(bars(growth))),
        "## Cost",
        table(
            ("database", "users", "who", "what", "p50 alone, ms", "p99 alone, ms", "a second, 32 connections", "wrong"),
            _costs(growth),
        ),
        "## The service",
        table(("database", "users", "made in, s", "ready after, s", "memory, MB"), _sizes(growth)),
        "## Machine",
        table(("", ""), list(growth.machine.items())),
    ]
    return "\n\n".join(parts) + "\n"


def _costs(growth: Growth) -> Iterator[Sequence[str]]:
    for system in growth.systems:
        for case in (ALL, SINGLE, LARGE, BUSY):
            for workload in WORKLOADS:
                for users in growth.users:
                    cost = growth.cost(system, users, workload, case)
                    if cost:
                        figures = (f"{cost.alone:.2f}", f"{cost.alone_p99:.2f}", f"{cost.per_second:,.0f}")
                        yield TITLES[system], f"{users:,}", case, workload, *figures, str(cost.wrong)


def _sizes(growth: Growth) -> Iterator[Sequence[str]]:
    for one in growth.sizes:
        figures = (f"{one.loading:,.0f}", f"{one.ready:.2f}", f"{one.memory:,.0f}")
        yield TITLES[one.system], f"{one.users:,}", *figures


def _lines(growth: Growth) -> list[chart.Line]:
    lines: list[chart.Line] = []
    for system in growth.systems:
        for workload in WORKLOADS:
            costs = [(users, growth.cost(system, users, workload)) for users in growth.users]
            lines.append(
                (f"{workload}, {TITLES[system]}", [(float(users), cost.alone) for users, cost in costs if cost])
            )
    return lines
