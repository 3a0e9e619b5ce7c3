"""Fifty clients on one user's checklist at once: every acknowledged transition is there once, none from an impossible
state, and no answer is older than what had been answered before it was asked for."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest

from milepost.journal.queries import of_user
from tests.arrange import BASE, Json, World
from tests.calls import directly
from tests.checklist_model import Catalog, Spec
from tests.conftest import KINDS, Service, empty_database, start_service
from tests.histories import Checker, Entry, Operation, State
from tests.test_checklist_machine import as_json

CLIENTS, CALLS = 50, 10
STATUSES = ["UP_NEXT", "IN_PROGRESS", "COMPLETED", "SKIPPED"]
CATALOG: Catalog = {
    "profile": Spec(10),
    "route": Spec(20, requires=("profile",)),
    "terms": Spec(30, skippable=False),
    "pair": Spec(40, proof=("paired", 9), by_hand=False),
    "open": Spec(50, proof=("opened", 4)),
}
PROVEN = {spec.proof[0]: step for step, spec in CATALOG.items() if spec.proof}
MOVED_BY_HAND = ["profile", "route", "terms"]
"""An admin resets only these. So a step that a signal completes is completed once, and the signal is known by it."""


@dataclass
class Client:
    """One of those who call at once, and what they remember of it."""

    http: httpx.Client
    world: World
    chance: random.Random
    is_admin: bool
    tag: str = ""

    def calls(self, together: Barrier) -> list[Operation]:
        together.wait()
        return [self.call(n) for n in range(CALLS)]

    def call(self, number: int) -> Operation:
        kind = self.chance.choices(["move", "read", "signal", "refresh"], [12, 3, 3, 1])[0]
        match kind:
            case "move":
                return self.move()
            case "signal":
                return self.signal(number)
            case "refresh":
                return self.done(Operation(kind, 0, 0), "POST", "/guided-checklist/refresh")
            case _:
                return self.done(Operation(kind, 0, 0), "GET", "")

    def move(self) -> Operation:
        status = self.chance.choice(STATUSES)
        resets = self.is_admin and status == "UP_NEXT"
        step = self.chance.choice(MOVED_BY_HAND if resets else sorted(CATALOG))
        conditional = bool(self.tag) and self.chance.random() < 0.4
        operation = Operation("move", 0, 0, step, status, self.is_admin, version_of(self.tag) if conditional else None)
        headers = {"If-Match": self.tag} if conditional else {}
        path = f"/guided-checklist/steps/{step}"
        return self.done(operation, "PATCH", path, json={"status": status}, headers=headers)

    def done(self, operation: Operation, method: str, path: str, **more: Any) -> Operation:
        invoked = time.monotonic()
        answer = self.http.request(method, self.world.path + path, params={"orgId": self.world.org_id}, **more)
        returned = time.monotonic()
        if not answer.is_success:
            assert answer.status_code in {409, 412, 422}, answer.text
            return replace(operation, invoked=invoked, returned=returned, refusal=answer.json()["name"])
        self.tag = answer.headers["etag"]
        version, shown = version_of(self.tag), statuses(answer.json())
        return replace(operation, invoked=invoked, returned=returned, version=version, shown=shown)

    def signal(self, number: int) -> Operation:
        name = self.chance.choice(sorted(PROVEN))
        event = {
            "specversion": "1.0",
            "id": f"{id(self)}-{number}",
            "source": "/clients",
            "type": name,
            "subject": self.world.user_id,
            "orgid": self.world.org_id,
        }
        token = {"Authorization": self.world.platform.headers["authorization"]}
        invoked = time.monotonic()
        answer = self.http.post(f"{BASE}/signals", json=event, headers=token)
        returned = time.monotonic()
        assert answer.is_success, answer.text
        completed = PROVEN[name] if answer.json()["completedSteps"] else ""
        return Operation("signal", invoked, returned, completed=completed)


def version_of(tag: str) -> int:
    return int(tag.strip('"').partition(".")[0], 16)


def statuses(body: Json) -> dict[str, str]:
    return {step["stepId"]: step["status"] for step in body["guidedChecklist"]["steps"]}


@pytest.fixture(params=KINDS)
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Service]]:
    """Two processes on one database: two services on PostgreSQL, two workers of one on SQLite."""
    with ExitStack() as stack:
        url = stack.enter_context(empty_database(request.param, tmp_path, request.config))
        if request.param == "sqlite":
            yield [stack.enter_context(start_service(url, tmp=tmp_path, workers=2))]
        else:
            yield [stack.enter_context(start_service(url, tmp=tmp_path)) for _ in range(2)]


def begun(world: World) -> State:
    """The user's checklist as it is when nobody has done anything yet."""
    steps = [as_json(step, spec) for step, spec in CATALOG.items()]
    world.put(f"/organizations/{world.org_id}/catalog", {"name": "Onboarding", "steps": steps})
    world.make_member(None, "dispatcher")
    answer = world.user.post(f"{world.path}/guided-checklist/initialize", params={"orgId": world.org_id})
    assert answer.is_success, answer.text
    return State(version_of(answer.headers["etag"]), statuses(answer.json()))


def journal_of(world: World, start: State) -> list[Entry]:
    """What the journal tells of the user since, in the order in which a reader is told."""
    events = directly(world.service.database_url, lambda connection: of_user(connection, world.user_id))
    entries = [
        Entry(event.type, int(str(event.data["version"])), dict(event.data.get("steps", {})))  # type: ignore[call-overload]
        for event in events
        if "version" in event.data
    ]
    return [entry for entry in entries if entry.version > start.version]


def test_the_history_of_fifty_clients_on_one_checklist_is_linearizable(processes: list[Service]) -> None:
    world = World(processes[0])
    start = begun(world)
    together = Barrier(CLIENTS)
    clients = [
        Client(
            service.client(service.token("operator" if n % 5 == 0 else world.user_id, platform_admin=n % 5 == 0)),
            world,
            random.Random(n),
            is_admin=n % 5 == 0,
        )
        for n, service in zip(range(CLIENTS), cycle(processes), strict=False)
    ]

    with ThreadPoolExecutor(CLIENTS) as pool:
        history = [each for calls in pool.map(lambda client: client.calls(together), clients) for each in calls]

    journal = journal_of(world, start)
    assert Checker(CATALOG, start, journal).check(history) == []
    assert len(history) == CLIENTS * CALLS
    # Which refusals there are beyond these is for the clients' chance to say.
    assert {each.refusal for each in history} > {"", "illegal_transition"}
    kinds = {entry.type for entry in journal}
    assert {"step.moved", "checklist.refreshed"} <= kinds <= {"step.moved", "steps.completed", "checklist.refreshed"}
    final = world.shown()
    assert statuses(final) == Checker(CATALOG, start, journal).states[-1].statuses
