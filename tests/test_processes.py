"""Two processes on one database: what one changes, the other shows at once, and neither loses what the other wrote."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from milepost.access.policy import Scope
from milepost.access.service import revoke_key
from milepost.access.tokens import service_key_id
from milepost.edge import new_id, now
from tests.arrange import BASE, Json, World, checklist, fresh, record
from tests.calls import directly, service_key
from tests.conftest import KINDS, Service, empty_database, start_service

Result = TypeVar("Result")


@dataclass
class Pair:
    """Two services on one database. The world speaks through the first."""

    first: Service
    second: Service
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.first)

    def elsewhere(self, client: httpx.Client) -> httpx.Client:
        """The same caller, speaking through the second."""
        token = client.headers["authorization"].removeprefix("Bearer ")
        return self.second.client(token)


@pytest.fixture(scope="module")
def pairs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], tuple[Service, Service]]]:
    """The two services on each kind of database, started when first asked for."""
    with ExitStack() as stack:

        @cache
        def pair_on(kind: str) -> tuple[Service, Service]:
            folder = tmp_path_factory.mktemp(kind)
            url = stack.enter_context(empty_database(kind, folder, request.config))
            first, second = (stack.enter_context(start_service(url, tmp=folder)) for _ in range(2))
            return first, second

        yield pair_on


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, pairs: Callable[[str], tuple[Service, Service]]) -> Pair:
    return Pair(*pairs(request.param))


def at_once(*work: Callable[[], Result]) -> list[Result]:
    """What several pieces of work answer that run side by side."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [running.result() for running in [pool.submit(each) for each in work]]


class TestRevocation:
    def test_a_role_that_is_revoked_is_gone_from_the_next_read_a_thousand_times(self, pair: Pair) -> None:
        world = pair.world
        world.store(guidedChecklist=checklist())
        member = f"{BASE}/organizations/{world.org_id}/members/{world.user_id}"
        role = f"{BASE}/organizations/{world.org_id}/roles/buyer"
        reader = pair.elsewhere(world.user)

        def put(path: str, body: Json) -> None:
            assert world.platform.put(path, json=body).is_success

        def delete(path: str) -> None:
            assert world.platform.delete(path).is_success

        def shown() -> list[str]:
            answer = reader.get(world.path, params={"orgId": world.org_id})
            roles: list[str] = answer.json()["guidedChecklist"]["roles"]
            return roles

        ways = [partial(put, member, {"roles": []}), partial(delete, member), partial(delete, role)]
        for n in range(1000):
            if n % len(ways) == 0:
                put(role, {"title": "Buyer"})
            put(member, {"roles": ["buyer"]})
            assert n % 10 or shown() == ["buyer"]

            ways[n % len(ways)]()

            assert shown() == [], f"after {n} times"

    def test_an_admin_who_is_one_no_longer_is_refused_at_once(self, pair: Pair) -> None:
        world = pair.world
        admin_id = fresh("admin")
        admin = pair.elsewhere(world.make_admin(admin_id))
        members = f"{BASE}/organizations/{world.org_id}/members"
        for _ in range(50):
            world.put(f"/organizations/{world.org_id}/members/{admin_id}", {"roles": ["owner"]})
            assert admin.get(members).status_code == 200

            world.put(f"/organizations/{world.org_id}/roles/owner", {"title": "Owner", "admin": False})
            assert admin.get(members).status_code == 403

            world.put(f"/organizations/{world.org_id}/roles/owner", {"title": "Owner", "admin": True})
            assert admin.get(members).status_code == 200

            world.put(f"/organizations/{world.org_id}/members/{admin_id}", {"roles": []})
            assert admin.get(members).status_code == 403

    def test_a_service_key_that_is_revoked_is_refused_at_once_everywhere(self, pair: Pair) -> None:
        key = service_key(pair.world, Scope.DIRECTORY_READ)
        clients = [service.client(key) for service in (pair.first, pair.second)]
        assert [client.get(f"{BASE}/organizations").status_code for client in clients] == [200, 200]

        directly(
            pair.first.database_url,
            partial(revoke_key, key_id=str(service_key_id(key)), now=now(), actor="user:operator", event_id=new_id()),
        )

        assert [client.get(f"{BASE}/organizations").status_code for client in clients] == [401, 401]


@dataclass
class Increments:
    """Clients that each add one to a counter in the same record, again and again, and never overwrite another's."""

    path: str
    user_id: str
    times: int
    won: Counter[str] = field(default_factory=Counter)
    modified: dict[int, datetime] = field(default_factory=dict)
    refused: int = 0

    def by(self, client: httpx.Client) -> Callable[[], None]:
        def add() -> None:
            for _ in range(self.times):
                while not self._added_one(client):
                    self.refused += 1

        return add

    def _added_one(self, client: httpx.Client) -> bool:
        before = client.get(self.path, params={"orgId": "none"})
        counter = before.json()["attributes"]["counter"] + 1
        after = client.put(
            self.path,
            json=record(self.user_id, attributes={"counter": counter}),
            headers={"If-Match": before.headers["etag"]},
        )
        if after.status_code == httpx.codes.PRECONDITION_FAILED:
            return False
        assert after.status_code == httpx.codes.OK, after.text
        self.won[before.headers["etag"]] += 1
        self.modified[counter] = datetime.fromisoformat(after.json()["modifiedDate"])
        return True


def no_increment_is_lost(world: World, clients: list[httpx.Client]) -> None:
    world.store(attributes={"counter": 0})
    increments = Increments(world.path, world.user_id, times=20)

    at_once(*(increments.by(client) for client in clients))

    total = increments.times * len(clients)
    assert world.shown()["attributes"] == {"counter": total}
    assert increments.refused, "the clients never met"
    assert set(increments.won.values()) == {1}, "two writes with the same ETag were accepted"
    assert len(increments.won) == total
    moments = [increments.modified[counter] for counter in range(1, total + 1)]
    assert moments == sorted(set(moments)), "modifiedDate did not grow with every write"


class TestLostUpdates:
    def test_no_increment_is_lost_between_two_processes(self, pair: Pair) -> None:
        user = pair.world.user

        no_increment_is_lost(pair.world, [user, pair.elsewhere(user)] * 4)

    def test_no_increment_is_lost_between_two_workers_on_one_sqlite_file(self, tmp_path: Path) -> None:
        with start_service(f"sqlite:///{tmp_path / 'milepost.db'}", tmp=tmp_path, workers=2) as service:
            world = World(service)

            no_increment_is_lost(world, [world.user] * 8)

    def test_writes_without_a_condition_are_made_one_after_the_other(self, pair: Pair) -> None:
        world = pair.world
        clients = [world.user, pair.elsewhere(world.user)] * 4

        def write(client: httpx.Client) -> list[datetime]:
            answers = [client.put(world.path, json=record(world.user_id)) for _ in range(20)]
            assert {answer.status_code for answer in answers} == {httpx.codes.OK}
            return [datetime.fromisoformat(answer.json()["modifiedDate"]) for answer in answers]

        moments = at_once(*(lambda client=client: write(client) for client in clients))

        assert all(some == sorted(some) for some in moments)
        assert len({moment for some in moments for moment in some}) == 160
        newest = max(moment for some in moments for moment in some)
        assert datetime.fromisoformat(world.shown()["modifiedDate"]) == newest

    def test_only_one_of_many_creates_a_record(self, pair: Pair) -> None:
        for _ in range(20):
            world = World(pair.first)
            clients = [world.user, pair.elsewhere(world.user)] * 3

            def create(client: httpx.Client, world: World = world) -> int:
                body = record(world.user_id)
                return client.put(world.path, json=body, headers={"If-None-Match": "*"}).status_code

            created = at_once(*(lambda client=client: create(client) for client in clients))

            assert sorted(created) == [200, 412, 412, 412, 412, 412]


class TestMembers:
    def test_two_sets_of_roles_and_enterprises_are_never_mixed(self, pair: Pair) -> None:
        world = pair.world
        world.store(guidedChecklist=checklist())
        sets = [everything_of(world, name) for name in ("north", "south")]
        member = f"{BASE}/organizations/{world.org_id}/members/{world.user_id}"
        writers = [world.platform, pair.elsewhere(world.platform)]
        assert writers[0].put(member, json=sets[0]).is_success

        def write(client: httpx.Client, mine: Json) -> set[str]:
            answers = [client.put(member, json=mine) for _ in range(40)]
            return {kept(answer) for answer in answers}

        def read(client: httpx.Client) -> set[str]:
            return {kept(client.get(member)) for _ in range(80)}

        def read_roles(client: httpx.Client) -> set[str]:
            answers = [client.get(world.path, params={"orgId": world.org_id}) for _ in range(80)]
            return {json.dumps(answer.json()["guidedChecklist"]["roles"]) for answer in answers}

        written = at_once(
            lambda: write(writers[0], sets[0]),
            lambda: write(writers[1], sets[1]),
            lambda: read(writers[1]),
            lambda: read(writers[0]),
            lambda: read_roles(pair.elsewhere(world.user)),
        )

        either = {json.dumps(one) for one in sets}
        assert written[0] == {json.dumps(sets[0])}
        assert written[1] == {json.dumps(sets[1])}
        assert written[2] | written[3] <= either
        assert written[4] <= {json.dumps(one["roles"]) for one in sets}
        assert kept(world.platform.get(member)) in either


def everything_of(world: World, name: str) -> Json:
    """A membership with roles and enterprises that go together."""
    roles = [world.define_role(f"{name}-{n}") for n in range(5)]
    enterprises = sorted(fresh(name) for _ in range(3))
    for enterprise in enterprises:
        world.put(f"/organizations/{world.org_id}/enterprises/{enterprise}", {"name": name})
    return {"roles": roles, "enterprises": enterprises}


def kept(answer: httpx.Response) -> str:
    """What a membership holds."""
    assert answer.is_success, answer.text
    body: Json = answer.json()
    return json.dumps({"roles": body["roles"], "enterprises": body["enterprises"]})
