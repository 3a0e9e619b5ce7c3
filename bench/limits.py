"""What the machine allows: how often its disk flushes, and how often PostgreSQL runs the statements of one request.

The statements are those that Milepost really sends: one GET and one PUT are made on a database that logs them, and
what the log has is replayed by pgbench, each time about another user.
"""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from bench.documents import FIRST, FIRST_ORG, ORG_SIZE, org_id, user_id
from bench.processes import BenchError, run
from bench.stage import Stage, execute, send_all, value
from bench.systems import contract, milepost
from bench.workloads import Workload
from milepost.store.engines import BY_KEY

PAGE = 8192
"""Bytes that are written before each flush, a page of PostgreSQL's log."""
CLIENTS = 8

ENTRY = re.compile(r"^\d{4}-\d\d-\d\d .*?\] (LOG|DETAIL|\w+):  (.*)$")
EXECUTE = re.compile(r"^(?:execute [^:]*|statement): (.*)$", re.DOTALL)
PARAMETER = re.compile(r"\$(\d+) = '((?:[^']|'')*)'")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
VERSION = re.compile(r"(?<!\d)\d{16}(?!\d)")

PLANNING = " ".join(f"-c {name}={value}" for name, value in {"jit": "off", **BY_KEY}.items())
"""pgbench plans as the service does: else it would be slower than what it is the limit of."""

# What changes from one request to the next, in SQL. pgbench puts a number in place of :n and of :o.
USER = "CAST(:n AS text)"
ORG = "CAST(:o AS text)"
FRESH = "CAST(gen_random_uuid() AS text)"
NOW = "CAST(CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) AS text)"
STORED = (
    "(SELECT CAST(version AS text) FROM properties "  # noqa: S608 - the code's own names
    f"WHERE user_id = 'user-' || {USER} AND org_id = 'org-' || {ORG})"
)

VERSION_OF_THE_FIRST = (
    "SELECT version FROM properties "  # noqa: S608 - the code's own names
    f"WHERE user_id = '{user_id(0)}' AND org_id = '{org_id(0)}'"
)

PROBED = 7
"""The number of the user about whom the logged requests are."""


def flushes_per_second(folder: Path, seconds: float) -> float:
    """How often a page can be appended to a file and flushed to the disk, one after the other."""
    done = 0
    file = folder / "flushes"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    flush = getattr(os, "fdatasync", os.fsync)
    try:
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            os.write(descriptor, b"\0" * PAGE)
            flush(descriptor)
            done += 1
        return done / (time.perf_counter() - start)
    finally:
        os.close(descriptor)
        file.unlink()


@dataclass(frozen=True)
class Statements:
    """pgbench scripts of what one request runs, and the database that they are for."""

    pgbench: Path
    database: str
    scripts: dict[Workload, Path]

    def per_second(self, workload: Workload, users: int, seconds: float) -> float:
        """How often PostgreSQL runs a request's statements, prepared, for eight clients."""
        amount = ["--client", str(CLIENTS), "--jobs", "2", "--time", str(max(1, round(seconds)))]
        return self._rate(workload, users, amount)

    def check(self) -> None:
        """See that the statements of a PUT write.

        Raises:
            BenchError: they do not.
        """
        before = value(self.database, VERSION_OF_THE_FIRST)
        self._rate(Workload.PUT, 1, ["--transactions", "1"])
        if value(self.database, VERSION_OF_THE_FIRST) == before:
            raise BenchError(f"pgbench wrote nothing with\n{self.scripts[Workload.PUT].read_text()}")

    def _rate(self, workload: Workload, users: int, amount: list[str]) -> float:
        command: list[str | Path] = [self.pgbench, "--no-vacuum", "--protocol", "prepared", *amount]
        command += ["--file", self.scripts[workload], "--define", f"users={users}", self.database]
        told = run(command, environment={"PGOPTIONS": PLANNING})
        found = re.search(r"^tps = ([\d.]+)", told, re.MULTILINE)
        failed = re.search(r"^number of failed transactions: (\d+)", told, re.MULTILINE)
        if found is None or (failed and failed[1] != "0"):
            raise BenchError(f"pgbench failed: {told}")
        return float(found[1])


def statements(stage: Stage) -> Statements | None:
    """Find out what Milepost runs for a GET and a PUT; None where there is no pgbench."""
    pgbench = stage.cluster.programs / "pgbench"
    if not pgbench.exists():
        return None
    database = stage.database()
    milepost.loaded(stage, database)
    name = database.rpartition("/")[2]
    execute(database, f"ALTER DATABASE \"{name}\" SET log_statement = 'all'")
    scripts = {}
    with milepost.served(stage, database, name="statements") as (_, port):
        for workload, request in (
            (Workload.GET, contract.get(stage, PROBED)),
            (Workload.PUT, contract.put(stage, PROBED, 1)),
        ):
            send_all(port, [request])
            before = len(stage.cluster.log.read_text())
            send_all(port, [request])
            scripts[workload] = stage.folder / f"{workload.name.lower()}.sql"
            scripts[workload].write_text(script(stage.cluster.log.read_text()[before:]))
    execute(database, f'ALTER DATABASE "{name}" RESET log_statement')
    made = Statements(pgbench, database, scripts)
    made.check()
    return made


def script(log: str) -> str:
    """A pgbench script that runs what a server's log says was run for one request.

    Raises:
        BenchError: the log has no statement.
    """
    logged = _logged(log)
    if not logged:
        raise BenchError(f"PostgreSQL's log has no statement in it:\n{log[-2000:]}")
    values = " ".join(value for _, parameters in logged for value in parameters.values())
    versions = sorted(set(VERSION.findall(values)))
    lines = [
        # Each client has users of its own: a service puts what concerns the same user into one batch.
        f"\\set n random(0, greatest(:users / {CLIENTS}, 1) - 1) * {CLIENTS} + :client_id",
        f"\\set o {FIRST_ORG} + :n / {ORG_SIZE}",
        f"\\set n {FIRST} + :n",
    ]
    for text, parameters in logged:
        statement = text
        for place in sorted(parameters, reverse=True):
            expression = _expression(parameters[place], versions)
            statement = re.sub(rf"\${place}(?!\d)", expression.replace("\\", r"\\"), statement)
        lines.append(" ".join(statement.split("\n")).rstrip("; ") + ";")
    return "\n".join(lines) + "\n"


def _logged(log: str) -> list[tuple[str, dict[int, str]]]:
    """The statements in a log, each with its parameters by their number."""
    entries: list[list[str]] = []
    for line in log.splitlines():
        entry = ENTRY.match(line)
        if entry:
            entries.append([entry[1], entry[2]])
        elif entries and line.startswith("\t"):
            entries[-1][1] += "\n" + line[1:]
    found: list[tuple[str, dict[int, str]]] = []
    for kind, text in entries:
        statement = EXECUTE.match(text) if kind == "LOG" else None
        if statement:
            found.append((statement[1], {}))
        elif kind == "DETAIL" and found and text.startswith("parameters: "):
            found[-1][1].update({int(number): value.replace("''", "'") for number, value in PARAMETER.findall(text)})
    return found


def _expression(value: str, versions: list[str]) -> str:
    """A parameter as an SQL expression, about another user and with another id and time whenever it is run."""
    known = {user_id(PROBED): f"'user-' || {USER}", org_id(PROBED): f"'org-' || {ORG}"}
    if versions:
        known[versions[-1]] = NOW
    if len(versions) > 1:
        known[versions[0]] = STORED
    changing = re.compile("|".join([*map(re.escape, known), UUID.pattern]))
    parts, position = [], 0
    for match in changing.finditer(value):
        parts += [_quoted(value[position : match.start()]), known.get(match[0], FRESH)]
        position = match.end()
    parts.append(_quoted(value[position:]))
    return f"({' || '.join(parts)})" if len(parts) > 1 else parts[0]


def _quoted(text: str) -> str:
    """A string literal. pgbench looks for `:name` in literals too, so a colon is written by its code."""
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace(":", "\\x3a").replace("\n", "\\n")
    return f"E'{escaped}'"
