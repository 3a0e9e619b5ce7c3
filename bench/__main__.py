"""`python -m bench`: measures, and writes what it found to bench/results."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from bench import growth, growth_report, installs, limits, report
from bench.installs import HERE, say
from bench.measure import Plan, Run
from bench.processes import BenchError
from bench.results import BARE, BASELINE, CONNECTIONS, KINTO, MILEPOST, PARSE, SQLITE, TWO_WORKERS
from bench.stage import Stage, System, staged
from bench.systems import bare, baseline, kinto, milepost, parse
from bench.workloads import Workload
from tests.postgres import PostgresError, tail

GET, PUT = Workload.GET, Workload.PUT
SIZES = [10_000, 1_000_000]

QUICK = Plan(
    kind="quick",
    users=1_000,
    rounds=2,
    seconds=3,
    loads=[(GET, CONNECTIONS), (PUT, CONNECTIONS)],
    waits=[],
    systems=(MILEPOST, SQLITE, BASELINE, BARE),
    facts=False,
)
FULL = Plan(
    kind="full",
    users=2_000,
    rounds=3,
    seconds=5,
    loads=[
        *((workload, CONNECTIONS) for workload in Workload),
        *((workload, connections) for workload in (GET, PUT, Workload.MIX) for connections in (1, 256)),
    ],
    waits=[(workload, connections) for workload in (GET, PUT, Workload.MIX) for connections in (1, CONNECTIONS, 256)],
    systems=(MILEPOST, SQLITE, TWO_WORKERS, BASELINE, KINTO, PARSE, BARE),
    facts=True,
)

Start = Callable[[Stage], AbstractContextManager[System]]
STARTS: dict[str, Start] = {
    MILEPOST: lambda stage: milepost.started(stage, MILEPOST, "Milepost, PostgreSQL", stage.database()),
    SQLITE: lambda stage: milepost.started(
        stage, SQLITE, "Milepost, SQLite", f"sqlite:///{stage.folder / 'milepost.db'}"
    ),
    TWO_WORKERS: lambda stage: milepost.started(
        stage, TWO_WORKERS, "Milepost, PostgreSQL, 2 workers", stage.database(), workers=2
    ),
    BASELINE: baseline.started,
    KINTO: kinto.started,
    PARSE: parse.started,
    BARE: bare.started,
}


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Milepost against others.")
    parser.add_argument("--quick", action="store_true", help="a short run, with neither Kinto nor Parse Server")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, help="how long one measurement takes")
    parser.add_argument("--users", type=int, help="how many users there are")
    parser.add_argument("--without", action="append", default=[], choices=list(STARTS), help="leave a system out")
    parser.add_argument(
        "--growth",
        nargs="?",
        const=SIZES,
        metavar="SIZES",
        type=lambda text: [int(size) for size in text.split(",")],
        help=f"measure what size costs, and nothing else; numbers of users, default {','.join(map(str, SIZES))}",
    )
    parser.add_argument("--only", action="append", default=[], metavar="WORKLOAD", help="such as GET or PUT_IF_MATCH")
    return parser.parse_args(arguments)


def _plan(given: argparse.Namespace) -> Plan:
    plan = QUICK if given.quick else FULL
    changes: dict[str, Any] = {
        name: getattr(given, name) for name in ("rounds", "seconds", "users") if getattr(given, name)
    }
    changes["systems"] = [key for key in plan.systems if key not in given.without]
    if given.only:
        wanted = {Workload[name] for name in given.only}
        changes["loads"] = [one for one in plan.loads if one[0] in wanted]
        changes["waits"] = [one for one in plan.waits if one[0] in wanted]
    return Plan(**{**vars(plan), **changes})


def _run(plan: Plan) -> None:
    wrk = installs.wrk()
    with ExitStack() as stack:
        stage = stack.enter_context(staged(plan.users))
        systems, left_out = [], {}
        for key in plan.systems:
            say(f"Starting and loading {key}")
            try:
                systems.append(stack.enter_context(STARTS[key](stage)))
            except BenchError as error:
                if key not in {KINTO, PARSE}:
                    raise
                left_out[key] = str(error)
                say(f"{key} is left out: {error}\n{tail(stage.log(key))}")
        run = Run(stage, plan, wrk, systems)
        run.results.left_out = left_out
        say("Checking that the answers are right")
        run.check()
        run.measure(limits.statements(stage))
        run.wait()
        run.facts()
        _show(report.write(run.results, HERE / "results"))


def _grow(given: argparse.Namespace) -> None:
    wrk = installs.wrk()
    databases = [key for key, system in (("postgresql", MILEPOST), ("sqlite", SQLITE)) if system not in given.without]
    with staged(0) as stage:
        run = growth.Run(stage, wrk, rounds=given.rounds or FULL.rounds, seconds=given.seconds or FULL.seconds)
        for database in databases:
            run.measure(database, given.growth)
        _show(growth_report.write(run.growth, HERE / "results"))


def _show(page: Path) -> None:
    sys.stdout.write(page.read_text())
    say(f"Written to {page.relative_to(HERE.parent)}, and beside it as JSON")


def _stop(_number: int, _frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    # A shell starts what runs in its background deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        given = _arguments(arguments)
        if given.growth:
            _grow(given)
        else:
            _run(_plan(given))
    except (BenchError, PostgresError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
