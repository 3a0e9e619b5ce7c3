"""What a call costs, in counts that are the same on every machine: statements, rows read, calls of functions.

A count that grows has grown for a reason. Where the reason is good, the number here is raised with it.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
from sqlalchemy import Connection, Engine, event, text

from milepost.properties.queries import Lookup, look_up
from milepost.store import versions
from milepost.store.database import as_rows
from tests.arrange import Json, checklist, record, step
from tests.calls import directly
from tests.in_process import InProcess, running
from tests.test_checklists import CATALOG

USERS = 2_000
ORGANIZATIONS = 20
SLACK = 1.25
"""Python's versions differ in how many functions the same code calls."""

Call = Callable[[InProcess, int], Awaitable[Json]]


def document(n: int) -> Json:
    steps = [step(f"step-{each}", sourceRoles=["dispatcher" if each % 2 else "owner"]) for each in range(8)]
    return record("jane", guidedChecklist=checklist(*steps), attributes={"n": n})


def signals(n: int) -> list[Json]:
    """A batch about a hundred users, most of whom nobody knows."""
    event = {"specversion": "1.0", "source": "/", "type": "paired", "orgid": "acme"}
    return [event | {"id": f"{n}-{each}", "subject": f"user-{each}"} for each in range(100)]


async def get(service: InProcess, _: int) -> Json:
    return await service.call("GET", "/users/jane/properties", query="orgId=acme")


async def put(service: InProcess, n: int) -> Json:
    return await service.call("PUT", "/users/jane/properties", document(n), "orgId=acme")


async def move(service: InProcess, n: int) -> Json:
    path = "/users/grace/properties/guided-checklist/steps/route"
    return await service.call("PATCH", path, {"status": ("UP_NEXT", "SKIPPED")[n % 2]}, "orgId=acme")


async def initialize(service: InProcess, _: int) -> Json:
    return await service.call("POST", "/users/grace/properties/guided-checklist/initialize", {}, "orgId=acme")


async def report(service: InProcess, n: int) -> Json:
    return await service.call("POST", "/signals", signals(n), media_type="application/cloudevents-batch+json")


async def report_widely(service: InProcess, n: int) -> Json:
    """As many users, and as many organizations as a batch about users drawn by chance is about."""
    told = [one | {"id": f"wide-{one['id']}", "orgid": f"org-{k % ORGANIZATIONS}"} for k, one in enumerate(signals(n))]
    return await service.call("POST", "/signals", told, media_type="application/cloudevents-batch+json")


CALLS = (put, get, initialize, move, report, report_widely)
STATEMENTS: dict[Call, int] = {get: 1, put: 3, move: 7, initialize: 10, report: 7, report_widely: 7}
FUNCTIONS: dict[Call, int] = {get: 890, put: 1280, move: 1860, initialize: 2530, report: 4700, report_widely: 5140}


async def arranged(service: InProcess) -> None:
    await service.call("PUT", "/organizations/acme", {"name": "Acme"})
    for role in ("dispatcher", "owner"):
        await service.call("PUT", f"/organizations/acme/roles/{role}", {"title": role})
    for user_id in ("jane", "grace"):
        await service.call("PUT", f"/organizations/acme/members/{user_id}", {"roles": ["dispatcher"]})
    await service.call("PUT", "/organizations/acme/catalog", CATALOG)
    await service.call("PUT", "/catalog", CATALOG)
    for n in range(ORGANIZATIONS):
        await service.call("PUT", f"/organizations/org-{n}", {"name": f"Organization {n}"})
    for n in range(3):
        for each in CALLS:
            await each(service, n)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that is executed meanwhile, but for BEGIN and the like."""
    seen: list[str] = []

    def note(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


class Functions:
    """Counts the functions that are called, in this thread and in those that are started later, while it is `on`."""

    def __init__(self) -> None:
        self.count = 0
        self.on = False

    def __enter__(self) -> Self:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, _frame: FrameType, what: str, _argument: Any) -> None:
        if self.on and what in {"call", "c_call"}:
            self.count += 1


def executed(url: str, folder: Path, call: Call) -> list[str]:
    """The statements of a call."""

    async def run() -> list[str]:
        async with running(url, folder) as service:
            await arranged(service)
            with statements() as seen:
                await call(service, 3)
            return seen

    return asyncio.run(run())


def called(url: str, folder: Path, call: Call) -> int:
    """How many functions a call calls."""

    async def run(functions: Functions) -> int:
        async with running(url, folder) as service:
            await arranged(service)
            functions.on = True
            await call(service, 3)
            functions.on = False
            return functions.count

    with Functions() as functions:
        return asyncio.run(run(functions))


@pytest.mark.parametrize(("call", "most"), STATEMENTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_call_takes_so_many_statements(database_url: str, tmp_path: Path, call: Call, most: int) -> None:
    seen = executed(database_url, tmp_path, call)

    assert 0 < len(seen) <= most, "\n".join(seen)


@pytest.mark.parametrize(("call", "most"), FUNCTIONS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_call_calls_so_many_functions(tmp_path: Path, call: Call, most: int) -> None:
    count = called(f"sqlite:///{tmp_path / 'milepost.db'}", tmp_path, call)

    assert most / 4 < count <= most * SLACK


@pytest.fixture
def crowded(database_url: str) -> str:
    """A database with many users, each a member with a role and a record."""

    def fill(connection: Connection) -> None:
        versions.upgrade(connection)
        connection.execute(text("INSERT INTO organizations VALUES ('acme', 'Acme')"))
        connection.execute(text("INSERT INTO roles VALUES ('acme', 'buyer', 'Buyer', false)"))
        users = [{"u": f"user-{n}"} for n in range(USERS)]
        connection.execute(text("INSERT INTO members VALUES (:u, 'acme', 1)"), users)
        connection.execute(text("INSERT INTO member_roles VALUES (:u, 'acme', 'buyer', 1)"), users)
        body = record("x")
        stored = "INSERT INTO properties (user_id, org_id, body, version, replaces) VALUES (:u, 'acme', :body, 1, 0)"
        connection.execute(text(stored), [one | {"body": json.dumps(body | {"userId": one["u"]})} for one in users])

    directly(database_url, fill)
    if database_url.startswith("postgresql"):
        directly(database_url, lambda connection: connection.execute(text("ANALYZE")))
    return database_url


def test_a_look_up_reads_the_rows_of_its_users_alone(crowded: str) -> None:
    asked = [Lookup(f"user-{n}", "acme", f"user-{n}") for n in range(8)]

    def plan(connection: Connection) -> Any:
        with statements() as seen:
            look_up(connection, asked)
        return planned(connection, seen[0], asked)

    assert directly(crowded, plan) == []


def planned(connection: Connection, statement: str, asked: list[Lookup]) -> list[str]:
    """The tables that the statement reads as a whole, or reads more rows of than there are answers to expect; and
    whether it would start processes of its own where tables are large.
    """
    parameter = as_rows((n, *one) for n, one in enumerate(asked))
    if connection.dialect.name == "sqlite":
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (parameter,) * statement.count("?"))
        return [step.detail for step in steps if step.detail.startswith("SCAN") and "json_each" not in step.detail]
    # As if starting a process cost nothing: where tables are large, it costs less than the rest.
    for setting in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        connection.exec_driver_sql(f"SET {setting} = 0")
    explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", (parameter,))
    return list(_too_much(explained.scalar_one()[0]["Plan"], 2 * len(asked)))


def _too_much(node: Json, most: int) -> Iterator[str]:
    rows = node["Actual Rows"] * node["Actual Loops"]
    if "Relation Name" in node and (rows > most or node.get("Rows Removed by Filter", 0) > most):
        yield f"{node['Node Type']} of {node['Relation Name']}: {rows} rows"
    if node["Node Type"].startswith("Gather"):
        yield f"{node['Workers Planned']} processes"
    for part in node.get("Plans", ()):
        yield from _too_much(part, most)
