"""A run as Markdown: what was found, what was set out to be reached, and on which machine."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.results import BARE, CONNECTIONS, MILEPOST, Bar, Results, bars, encoded
from bench.workloads import Workload

HOW_TO_READ = (
    "Figures are medians of the rounds, with the lowest and the highest in parentheses. Only ratios of one run mean "
    "anything."
)
THREE_DIGITS = 100
"""From here on a figure is shown without decimals."""


def write(results: Results, folder: Path) -> Path:
    """Write the run as JSON and as Markdown; answers where the Markdown is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{results.kind}.json").write_bytes(encoded(results))
    page = folder / f"{results.kind}.md"
    page.write_text(markdown(results))
    return page


def markdown(results: Results) -> str:
    """The whole page."""
    how = (
        f"{results.rounds} rounds of {results.seconds:g} s for each measurement, the systems in turn, "
        f"{results.users:,} users. {HOW_TO_READ}"
    )
    parts = [
        f"# Benchmark: {results.kind} run, {results.started[:10]}",
        how,
        "## What was set out to be reached",
        table(("what", "wanted", "found", ""), judged(bars(results))),
        f"## Ratios: Milepost on PostgreSQL against the others, {CONNECTIONS} connections",
        table(("", *_others(results)), _ratios(results)),
        f"## Requests a second, {CONNECTIONS} connections",
        table(("", *_titles(results)), _rates(results)),
    ]
    if any(one.connections != CONNECTIONS for one in results.samples):
        parts += [
            "## Requests a second, by connections",
            table(("", "connections", *_titles(results)), _by_connections(results)),
        ]
    if results.waiting:
        parts += [
            "## Latency at a constant rate, from when a request was due",
            "Each system at 60 % of what it takes at most. Milliseconds; `late` is how late the generator itself was.",
            table(("", "connections", "system", "rate", "p50", "p99", "p99.9", "longest", "late"), _waits(results)),
        ]
    parts += [
        "## Limits of the machine",
        table(("what", "a second"), _limits(results)),
        "## Answers that were no success",
        table(("system", "refused or not answered"), _errors(results)),
        "## Memory after the run, MB",
        table(("system", "memory"), _memory(results)),
        "## Machine",
        table(("", ""), list(results.machine.items())),
    ]
    if results.left_out:
        parts += ["## Left out", table(("system", "why"), list(results.left_out.items()))]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


def _titles(results: Results) -> list[str]:
    return [results.titles[key] for key in results.systems]


def _others(results: Results) -> list[str]:
    return [results.titles[key] for key in results.systems if key not in {MILEPOST, BARE}]


def judged(found: Iterable[Bar]) -> Iterator[Sequence[str]]:
    """The bars that were measured, as rows of a table."""
    for bar in found:
        if bar.found is not None:
            figure = f"{bar.found:,.{0 if bar.found >= THREE_DIGITS else 2}f}"
            yield bar.what, bar.wanted, figure + bar.unit, "reached" if bar.reached else "**missed**"


def _measured(results: Results) -> Iterator[Workload]:
    for workload in Workload:
        if any(one.workload is workload and one.connections == CONNECTIONS for one in results.samples):
            yield workload


def _ratios(results: Results) -> Iterator[Sequence[str]]:
    for workload in _measured(results):
        found = [results.ratio(MILEPOST, key, workload) for key in results.systems if key not in {MILEPOST, BARE}]
        if any(found):
            yield workload, *(f"{one:.1f}x" if one else "" for one in found)


def _rate(results: Results, key: str, workload: Workload, connections: int) -> str:
    found = sorted(one.per_second for one in results.of(key, workload, connections))
    middle = results.rate(key, workload, connections)
    return f"{middle:,.0f} ({found[0]:,.0f} to {found[-1]:,.0f})" if middle is not None else ""


def _rates(results: Results) -> Iterator[Sequence[str]]:
    for workload in _measured(results):
        yield workload, *(_rate(results, key, workload, CONNECTIONS) for key in results.systems)


def _by_connections(results: Results) -> Iterator[Sequence[str]]:
    for workload, connections in sorted({(one.workload, one.connections) for one in results.samples}):
        if any(one.workload is workload and one.connections != CONNECTIONS for one in results.samples):
            figures = [_rate(results, key, workload, connections) for key in results.systems]
            yield workload, str(connections), *figures


def _waits(results: Results) -> Iterator[Sequence[str]]:
    for one in results.waiting:
        figures = (one.p50, one.p99, one.p999, one.longest, one.late)
        yield (
            one.workload, str(one.connections), results.titles[one.system], f"{one.rate:,.0f}",
            *(f"{figure:.2f}" for figure in figures),
        )  # fmt: skip


def _limits(results: Results) -> Iterator[Sequence[str]]:
    for name in dict.fromkeys(one.name for one in results.limits):
        yield name, f"{results.limit(name):,.0f}"
    for workload in (Workload.GET, Workload.PUT):
        for name, rate in (("bare answer", results.rate(BARE, workload)), ("in series", results.in_series(workload))):
            if rate:
                yield f"{name} {workload.name}", f"{rate:,.0f}"


def _errors(results: Results) -> Iterator[Sequence[str]]:
    for key, errors in results.errors().items():
        yield results.titles[key], f"{errors:,}"


def _memory(results: Results) -> Iterator[Sequence[str]]:
    for key in results.systems:
        memory = results.facts.get(f"memory of {key}")
        if memory:
            yield results.titles[key], f"{memory:,.0f}"
