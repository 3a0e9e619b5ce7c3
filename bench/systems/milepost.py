"""Milepost itself: on PostgreSQL or SQLite, with one worker or more."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from bench.documents import as_lines
from bench.installs import ROOT
from bench.processes import Running, run, running
from bench.stage import Stage, System, execute, new_port, send_all
from bench.systems import contract
from bench.workloads import Request, Workload

COMMAND: list[str | Path] = [sys.executable, "-m", "milepost"]
CATALOG = ROOT / "src" / "milepost" / "catalogs" / "example.yaml"


def environment(stage: Stage, database: str) -> dict[str, str]:
    # An installed package has its bytecode. A source tree gets it from the first command, unless that is forbidden.
    bytecode = {"PYTHONDONTWRITEBYTECODE": ""}
    return {"MILEPOST_DATABASE": database, "MILEPOST_SIGNING_KEY_FILE": str(stage.key_file)} | bytecode


def loaded(stage: Stage, database: str) -> str:
    """Bring the schema up to date and load the world; answers a key that may report signals."""
    surroundings = environment(stage, database)
    lines = stage.folder / "world.ndjson"
    if not lines.exists():
        lines.write_bytes(as_lines(stage.world.directory()) + as_lines(stage.world.records()))
    run([*COMMAND, "db", "upgrade"], environment=surroundings)
    run([*COMMAND, "import", "--restart", lines], environment=surroundings)
    run([*COMMAND, "catalog", "publish", CATALOG], environment=surroundings)
    if database.startswith("postgresql"):
        execute(database, "ANALYZE")
    key = ["key", "create", "--label", "bench", "--scope", "signals:write"]
    return run([*COMMAND, *key], environment=surroundings).strip()


@contextmanager
def served(stage: Stage, database: str, *, name: str, workers: int = 1) -> Iterator[tuple[Running, int]]:
    """`milepost serve`, as it is with its defaults; with its port."""
    port = new_port()
    command = [*COMMAND, "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    with running(
        command,
        log=stage.log(name),
        ready=f"http://127.0.0.1:{port}/health/ready",
        environment=environment(stage, database),
    ) as process:
        yield process, port


@contextmanager
def started(stage: Stage, key: str, title: str, database: str, workers: int = 1) -> Iterator[System]:
    """Milepost with the world loaded; every user's checklist is made before the first signal is reported."""
    reporter = loaded(stage, database)
    with served(stage, database, name=key, workers=workers) as (process, port):

        @cache
        def make_checklists() -> None:
            send_all(port, contract.of_the_checklist(stage, reporter, Workload.INITIALIZE) or [])

        def requests(workload: Workload) -> list[Request] | None:
            if workload in {Workload.SIGNALS, Workload.MIX}:
                make_checklists()
            return contract.of_the_record(stage, port, workload) or contract.of_the_checklist(stage, reporter, workload)

        yield System(key, title, port, process, requests, contract.fits, database)
