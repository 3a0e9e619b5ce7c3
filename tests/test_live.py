"""Live updates over HTTP, on both databases: what arrives at whom, what is told to who comes back, and when it ends."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import make_url, text

from milepost.access.policy import Scope
from milepost.domain.records import moment
from milepost.edge import new_id
from milepost.journal.queries import Event, append, of_user
from milepost.live.service import MOST_BEHIND, MOST_MISSED
from milepost.store.engines import postgres_engine
from tests.arrange import BASE, World, checklist, fresh, record, refused, step
from tests.calls import directly, revoke, service_key
from tests.conftest import Service, start_service, wait_until_ready
from tests.listening import Heard, Listener, events_url
from tests.postgres import Cluster
from tests.test_checklists import Onboarding, definition

PAGE = (Path(__file__).parent.parent / "docs" / "live-updates.md").read_text(encoding="utf-8")

WRITES = MOST_MISSED - 10
"""So few that they are told one by one, however long a client is away."""


@pytest.fixture
def world(service: Service) -> Onboarding:
    return Onboarding(service)


def listen(
    world: World, *, client: httpx.Client | None = None, org_id: str | None = None, last: str | None = None
) -> Listener:
    """Listen to what happens to the world's user, as they themself unless somebody else is named."""
    return Listener(client or world.user, world.user_id, org_id or world.org_id, last)


def member_path(world: World, user_id: str | None = None) -> str:
    return f"/organizations/{world.org_id}/members/{user_id or world.user_id}"


def written(world: World) -> list[Event]:
    """The journal's events about the world's user."""
    return directly(world.service.database_url, lambda connection: of_user(connection, world.user_id))


class TestWhatArrives:
    def test_a_step_that_a_signal_completes(self, world: Onboarding) -> None:
        world.initialize()
        with listen(world) as listener:
            world.report("paired")
            world.report("paired")

            heard = listener.hears("steps.completed")

        assert world.statuses()["pair"] == "COMPLETED"
        assert set(heard.data) == {"type", "at", "version"}
        assert format(heard.data["version"], "x") in world.read().headers["etag"]

    def test_a_role_that_is_taken_away(self, world: Onboarding) -> None:
        with listen(world) as listener:
            world.make_member()

            heard = listener.hears("member.put")

        assert set(heard.data) == {"type", "at"}

    def test_the_end_of_a_membership_a_role_or_an_organization(self, world: Onboarding) -> None:
        with listen(world) as listener:
            for path in (
                f"/organizations/{world.org_id}/roles/dispatcher",
                f"/organizations/{world.org_id}/enterprises/{world.enterprise_id}",
                member_path(world),
                f"/organizations/{world.org_id}",
            ):
                assert world.platform.delete(BASE + path).is_success

            listener.hears("organization.deleted")

        kinds = [one.type for one in listener.changes]
        assert kinds == ["role.deleted", "enterprise.deleted", "member.deleted", "organization.deleted"]

    def test_a_step_that_another_member_does_or_undoes_for_all(self, world: Onboarding) -> None:
        other = world.another("owner")
        other.initialize()
        world.make_member(None, "owner")
        world.initialize()
        with listen(world) as listener:
            other.complete("billing")
            first = listener.hears("steps.shared")
            assert world.statuses()["billing"] == "COMPLETED"

            assert other.move("billing", "UP_NEXT", world.platform).is_success
            listener.hears("steps.shared", times=2)
            assert world.statuses()["billing"] == "UP_NEXT"

            other.report("depot.opened")
            listener.hears("steps.shared", times=3)
            assert world.statuses()["depot"] == "COMPLETED"

        assert set(first.data) == {"type", "at"}

    def test_a_change_of_the_home_record(self, world: Onboarding) -> None:
        with listen(world) as listener, listen(world, org_id=fresh("org")) as elsewhere:
            world.store(attributes={"theme": "dark"})

            listener.hears("properties.put")
            elsewhere.hears("properties.put")

    def test_a_catalog_of_the_organization_or_the_platform(self, world: Onboarding) -> None:
        with listen(world) as listener:
            world.publish({"name": "Next", "steps": []})
            heard = listener.hears("catalog.published", "catalog")
            world.put(f"/organizations/{world.org_id}/catalog/current", {"version": 1})
            listener.hears("catalog.rolled_back", "catalog")
            world.put("/catalog", {"name": fresh("catalog"), "steps": [definition("profile")]})
            listener.hears("catalog.published", "catalog", times=2)

        assert set(heard.data) == {"type", "at"}

    def test_what_happens_to_a_member_arrives_at_an_admin_and_at_a_service(self, world: Onboarding) -> None:
        admin = world.make_admin(fresh("admin"))
        service = world.service.client(service_key(world, Scope.PROPERTIES_READ, org_id=world.org_id))
        with listen(world, client=admin) as by_admin, listen(world, client=service) as by_service:
            world.initialize()

            by_admin.hears("checklist.initialized")
            by_service.hears("checklist.initialized")

    def test_what_happens_to_a_user_with_any_id(self, service: Service) -> None:
        world = World(service, user_id=fresh("user/ö ?&"))
        with listen(world) as listener:
            answer = world.user.put(
                f"{BASE}/users/{quote(world.user_id, safe='')}/properties", json=record(world.user_id)
            )
            assert answer.is_success

            listener.hears("properties.put")


class TestWhoIsTold:
    def test_of_others_and_of_other_organizations_nothing_ever_arrives(self, service: Service) -> None:
        chance = random.Random(service.database_url.partition(":")[0])
        first = World(service)
        worlds = [first, World(service, user_id=first.user_id), World(service, org_id=first.org_id), World(service)]
        actions: list[Callable[[World], object]] = [
            lambda world: world.store(),
            lambda world: world.store(org_id=world.org_id, guidedChecklist=checklist(step("connect"))),
            lambda world: world.make_member(None, chance.choice(["buyer", "seller"])),
            lambda world: world.platform.delete(BASE + member_path(world)),
            lambda world: world.patch({"attributes": {"n": chance.random()}}),
        ]
        with ExitStack() as stack:
            listeners = [stack.enter_context(listen(world)) for world in worlds]
            for _ in range(60):
                chance.choice(actions)(chance.choice(worlds))
            for world, listener in zip(worlds, listeners, strict=True):
                world.store(org_id=world.org_id)
                mine = [event for event in written(world) if event.org_id in {"", world.org_id}]
                listener.hears_changes(len(mine))

            for world, listener in zip(worlds, listeners, strict=True):
                mine = [event for event in written(world) if event.org_id in {"", world.org_id}]
                told = sorted((one.type, one.data["at"]) for one in listener.changes)
                assert told == sorted(
                    (event.type, moment(event.at).isoformat().replace("+00:00", "Z")) for event in mine
                )

    @pytest.mark.parametrize("caller", ["another user", "a member", "nobody"])
    def test_who_may_not_read_is_refused_as_by_a_read(self, world: Onboarding, caller: str) -> None:
        clients = {
            "another user": world.as_user(fresh("caller")),
            "a member": world.another("dispatcher").user,
            "nobody": world.service.client(),
        }
        status, name = (401, "unauthenticated") if caller == "nobody" else (403, "forbidden")

        refused(clients[caller].get(events_url(world.user_id, world.org_id)), status, name)

    def test_the_organization_is_required(self, world: Onboarding) -> None:
        problem = refused(world.user.get(f"{world.path}/events"), 400, "invalid_parameter")

        assert problem["errors"][0]["parameter"] == "orgId"


class TestWhoComesBack:
    def test_is_told_first_what_was_missed(self, world: Onboarding) -> None:
        with listen(world) as listener:
            world.store()
            last = listener.hears("properties.put").id
        world.initialize()
        world.make_member()

        with listen(world, last=last) as listener:
            pass

        assert [one.type for one in listener.heard] == ["checklist.initialized", "member.put", ""]
        assert listener.heard[-1].event == "ready"

    def test_misses_nothing_and_hears_nothing_twice_while_others_write(self, world: Onboarding) -> None:
        chance = random.Random(7)
        heard: list[Heard] = []
        others = [world.another() for _ in range(3)]
        done = threading.Event()

        def disturb(other: Onboarding) -> None:
            while not done.is_set():
                other.store(org_id=other.org_id)

        writers = [threading.Thread(target=disturb, args=[other]) for other in others]
        writing = threading.Thread(target=lambda: [world.store(org_id=world.org_id) for _ in range(WRITES)])
        with listen(world) as listener:
            last = listener.last_id
        for writer in (*writers, writing):
            writer.start()
        while writing.is_alive() or len(heard) < WRITES:
            some = chance.randint(1, 8)
            with listen(world, last=last) as listener:
                listener.hears_changes(min(some, WRITES - len(heard)))
                mine = listener.changes[:some]
            heard += mine
            last = mine[-1].id if mine else last
        done.set()
        for writer in writers:
            writer.join()

        versions = [event.data["version"] for event in written(world) if event.type == "properties.put"]
        assert [one.data["version"] for one in heard] == versions

    def test_is_told_that_it_was_many_where_it_was(self, world: Onboarding) -> None:
        with listen(world) as listener:
            last = listener.last_id
        for n in range(MOST_MISSED + 1):
            world.store(attributes={"n": n})

        with listen(world, last=last) as listener:
            pass

        assert [one.type for one in listener.changes] == ["many"]

    def test_after_a_long_time_is_told_that_it_was_many(self, tmp_path: Path) -> None:
        with start_service(f"sqlite:///{tmp_path / 'milepost.db'}", tmp=tmp_path) as service:
            world = World(service)
            with listen(world) as listener:
                last = int(listener.last_id)
            later = [Event(new_id(), 1, "user:test", "other", "somebody") for _ in range(2)]
            directly(service.database_url, partial(append, events=later[:1]))
            move = text("UPDATE journal SET position = :far WHERE user_id = 'somebody'")
            directly(service.database_url, lambda connection: connection.execute(move, {"far": last + MOST_BEHIND}))
            directly(service.database_url, partial(append, events=later[1:]))

            with listen(world, last=str(last)) as listener:
                pass

        assert [one.type for one in listener.changes] == ["many"]

    def test_with_the_id_of_another_database_is_told_that_it_was_many(self, world: Onboarding) -> None:
        with listen(world, last="999999999999") as listener:
            pass

        assert [one.type for one in listener.changes] == ["many"]

    @pytest.mark.parametrize("text", ["x", "-1", "1-", "1~", "1-x y", "1" * 30, "1~2.", "1;2"])
    def test_with_what_is_no_id_is_told_what_to_do(self, world: Onboarding, text: str) -> None:
        sent = world.user.get(events_url(world.user_id, world.org_id), headers={"Last-Event-ID": text})
        asked = world.user.get(events_url(world.user_id, world.org_id, lastEventId=text))

        for answer, name in ((sent, "Last-Event-ID"), (asked, "lastEventId")):
            (fault,) = refused(answer, 400, "invalid_parameter")["errors"]
            assert fault["parameter"] == name
            assert "leave it out" in fault["detail"]

    def test_may_send_the_id_in_the_query(self, world: Onboarding) -> None:
        with listen(world) as listener:
            last = listener.last_id
        world.store()

        url = events_url(world.user_id, world.org_id, lastEventId=last)
        with world.user.stream("GET", url) as answer:
            lines = answer.iter_lines()
            first = next(line for line in lines if line.startswith("data:"))

        assert "properties.put" in first


class TestTheEnd:
    def test_comes_with_the_token(self, world: Onboarding) -> None:
        # A token may be a clock's skew over its time: 30 seconds, if nothing else is set.
        brief = world.service.client(world.service.token(world.user_id, ttl=timedelta(seconds=-26)))
        with listen(world, client=brief) as listener:
            heard = listener.ends()

        assert heard is not None
        assert heard.data == {"reason": "token_expired"}

    @pytest.mark.parametrize(
        "lose",
        [
            lambda world, admin: world.put(member_path(world, admin), {"roles": []}),
            lambda world, admin: world.platform.delete(BASE + member_path(world, admin)),
            lambda world, _: world.define_role("owner", admin=False),
            lambda world, _: world.platform.delete(f"{BASE}/organizations/{world.org_id}/roles/owner"),
            lambda world, _: world.platform.delete(BASE + member_path(world)),
            lambda world, _: world.platform.delete(f"{BASE}/organizations/{world.org_id}"),
        ],
        ids=["role taken", "membership ended", "role no admin's", "role deleted", "member gone", "organization gone"],
    )
    def test_comes_with_the_right_of_an_admin(
        self, world: Onboarding, lose: Callable[[Onboarding, str], object]
    ) -> None:
        admin_id = fresh("admin")
        admin = world.make_admin(admin_id)
        with listen(world, client=admin) as listener:
            lose(world, admin_id)
            heard = listener.ends()

        assert heard is not None
        assert heard.data == {"reason": "forbidden"}
        assert listener.changes == []

    def test_comes_with_a_service_key(self, world: Onboarding) -> None:
        key = service_key(world, Scope.PROPERTIES_READ)
        with listen(world, client=world.service.client(key)) as listener:
            revoke(world, key)
            heard = listener.ends()

        assert heard is not None
        assert heard.data == {"reason": "invalid_token"}

    def test_does_not_come_to_users_who_are_members_no_longer(self, world: Onboarding) -> None:
        with listen(world) as listener:
            assert world.platform.delete(BASE + member_path(world)).is_success
            listener.hears("member.deleted")
            world.store()
            listener.hears("properties.put")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_long_transaction_holds_nothing_up_and_is_told_of_when_it_ends(database_url: str, tmp_path: Path) -> None:
    async def told(world: World) -> str:
        """What is heard while a transaction is open that writes something too, and where the client was by then."""
        engine = postgres_engine(make_url(database_url), 10, 1)
        async with engine.begin() as late:
            event = Event(id=new_id(), at=1, actor="user:test", type="late", user_id=world.user_id)
            await late.run_sync(partial(append, events=[event]))
            with listen(world) as listener:
                await asyncio.to_thread(world.store)
                await asyncio.to_thread(listener.hears, "properties.put")
                assert [one.type for one in listener.changes] == ["properties.put"]
                last = listener.last_id
                stays = listen(world)
                stays.__enter__()
        await engine.dispose()
        await asyncio.to_thread(stays.hears, "late")
        stays.__exit__()
        return last

    with start_service(database_url, tmp=tmp_path) as service:
        world = World(service)
        last = asyncio.run(told(world))
        with listen(world, last=last) as listener:
            pass

    assert [one.type for one in listener.changes] == ["late"]


@pytest.mark.parametrize("way", ["two workers", "two services"])
def test_what_one_process_writes_reaches_the_streams_of_all(database_url: str, tmp_path: Path, way: str) -> None:
    with ExitStack() as stack:
        workers = 2 if way == "two workers" else 1
        first = stack.enter_context(start_service(database_url, tmp=tmp_path, workers=workers))
        second = first if workers > 1 else stack.enter_context(start_service(database_url, tmp=tmp_path))
        world = World(first)
        elsewhere = second.client(second.token(world.user_id))
        listeners = [stack.enter_context(listen(world, client=client)) for client in [world.user, elsewhere] * 5]

        for n in range(1, 4):
            world.store()
            assert elsewhere.put(world.path, json=record(world.user_id)).is_success
            for listener in listeners:
                listener.hears("properties.put", times=2 * n)

        assert all(len(listener.changes) == 6 for listener in listeners)


class TestLimits:
    def test_of_a_caller_and_of_a_process(self, database_url: str, tmp_path: Path) -> None:
        limits = {"MILEPOST_LIVE_STREAMS": "3", "MILEPOST_LIVE_STREAMS_PER_CALLER": "2"}
        with start_service(database_url, tmp=tmp_path, extra_env=limits) as service, ExitStack() as stack:
            world, other = World(service), World(service)
            first = listen(world).__enter__()
            stack.enter_context(listen(world))
            answer = world.user.get(events_url(world.user_id, world.org_id))
            refused(answer, 429, "too_many_streams")
            assert int(answer.headers["retry-after"]) > 0

            stack.enter_context(listen(other))
            answer = other.user.get(events_url(other.user_id, other.org_id))
            refused(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0

            first.__exit__()
            stack.enter_context(_opened(lambda: listen(other)))

    def test_streams_hold_no_connection_of_the_database(self, database_url: str, tmp_path: Path) -> None:
        few = {"MILEPOST_POOL_SIZE": "1", "MILEPOST_DATABASE_TIMEOUT": "5"}
        with start_service(database_url, tmp=tmp_path, extra_env=few) as service, ExitStack() as stack:
            world = World(service)
            listeners = [stack.enter_context(listen(world)) for _ in range(15)]

            world.store()

            assert world.shown()
            for listener in listeners:
                listener.hears("properties.put")


def _opened(make: Callable[[], Listener]) -> Listener:
    """A stream that opens as soon as there is room."""
    for _ in range(600):
        listener = make()
        answer = listener.client.get("/health/live")
        assert answer.is_success
        with listener.client.stream("GET", events_url(listener.user_id, listener.org_id)) as answer:
            if answer.is_success:
                return make()
    pytest.fail("there is no room")


class TestTheServer:
    def test_ends_all_streams_at_once_when_it_stops_and_logs_each_in_a_line(
        self, database_url: str, tmp_path: Path
    ) -> None:
        # A stop that waited for the streams would last longer than `stop` is patient.
        service = start_service(database_url, tmp=tmp_path, workers=2, extra_env={"MILEPOST_STOP_TIMEOUT": "600"})
        world = World(service)
        with ExitStack() as stack:
            listeners = [stack.enter_context(listen(world)) for _ in range(6)]

            service.stop()

            assert [listener.ends() for listener in listeners] == [None] * 6
        log = service.log.read_text()
        assert log.count("/users/{user_id}/properties/events") == 6
        assert world.user_id not in log
        assert world.user.headers["authorization"].removeprefix("Bearer ") not in log

    def test_says_that_it_is_alive_where_there_is_nothing_to_say(self, database_url: str, tmp_path: Path) -> None:
        with start_service(database_url, tmp=tmp_path, extra_env={"MILEPOST_LIVE_HEARTBEAT": "1"}) as service:
            world, other = World(service), World(service)
            with listen(world) as listener:
                before = listener.last_id
                other.store()
                listener.wait(lambda: listener.alive >= 3, "no sign of life")

            assert listener.last_id != before
            assert listener.changes == []

    def test_tells_pages_of_other_origins_too(self, database_url: str, tmp_path: Path) -> None:
        origin = "https://app.example"
        with start_service(database_url, tmp=tmp_path, extra_env={"MILEPOST_CORS_ORIGINS": origin}) as service:
            world = World(service)
            url = events_url(world.user_id, world.org_id)
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            wanted = {"Access-Control-Request-Headers": "authorization,last-event-id"}

            assert service.client().options(url, headers={**asked, **wanted}).is_success
            with world.user.stream("GET", url, headers={"Origin": origin}) as answer:
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["content-type"] == "text/event-stream"
                assert next(answer.iter_lines()).startswith("retry:")

    def test_keeps_streams_open_while_the_database_is_away(self, postgres_cluster: Cluster, tmp_path: Path) -> None:
        with start_service(postgres_cluster.url, tmp=tmp_path) as service:
            world = World(service)
            with listen(world) as listener:
                world.store()
                listener.hears("properties.put")
                postgres_cluster.stop()
                refused(world.read(), 503, "unavailable")
                postgres_cluster.start()
                wait_until_ready(service)

                world.store()

                listener.hears("properties.put", times=2)
            assert len(listener.changes) == 2


class TestThePage:
    def test_shows_a_command_that_works_when_pasted(self, service: Service, tmp_path: Path) -> None:
        command = block("sh").replace(".venv/bin/milepost", f"{sys.executable} -m milepost")

        heard = first_line_with("event: ready", ["bash", "-euc", local(command, service)], service, tmp_path)

        assert heard

    def test_shows_a_program_that_works(self, world: Onboarding, tmp_path: Path) -> None:
        if shutil.which("node") is None:
            pytest.skip("Node.js is not installed")
        url = world.service.base_url + events_url(world.user_id, world.org_id)
        token = world.user.headers["authorization"].removeprefix("Bearer ")
        with listen(world) as listener:
            last = listener.last_id
        world.store()
        told = "(event, data) => console.log(event, data.type)"
        (tmp_path / "page.mjs").write_text(f"{block('js')}\nawait listen('{url}', '{token}', '{last}', {told});\n")

        heard = first_line_with("changed properties.put", ["node", "page.mjs"], world.service, tmp_path)

        assert heard


def block(language: str) -> str:
    """The first block of the page in a language."""
    return PAGE.partition(f"```{language}\n")[2].partition("```")[0]


def local(command: str, service: Service) -> str:
    return command.replace("http://127.0.0.1:8080", service.base_url)


def first_line_with(words: str, command: list[str], service: Service, folder: Path) -> str:
    """The first line in which a command that does not end prints these words."""
    environment = os.environ | {"MILEPOST_SIGNING_KEY_FILE": str(service.signing_key_file)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, start_new_session=True
    ) as running:
        assert running.stdout is not None
        try:
            return next((line for line in running.stdout if words.encode() in line), b"").decode()
        finally:
            os.killpg(running.pid, signal.SIGTERM)
