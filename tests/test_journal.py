"""The journal: one event for each change, committed with it, and read in an order that misses none."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from milepost.access.policy import Caller
from milepost.access.service import create_key, revoke_key
from milepost.domain.contract import UserProperties
from milepost.domain.records import Record, microseconds
from milepost.edge import new_id, now
from milepost.journal.queries import (
    START,
    Concern,
    Event,
    Mark,
    News,
    Position,
    append,
    of_user,
    read_after,
    read_since,
    visible_now,
)
from milepost.properties.queries import HOME
from milepost.properties.service import Change, Properties, replacing
from milepost.store import versions
from milepost.store.database import Database
from milepost.store.engines import postgres_engine
from milepost.store.tenants import OWN
from tests.arrange import BASE, Json, World, checklist, fresh, step
from tests.calls import directly
from tests.conftest import Service

Result = TypeVar("Result")


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


@pytest.fixture
def migrated_url(database_url: str) -> str:
    directly(database_url, versions.upgrade)
    return database_url


def on(url: str, work: Callable[[Database], Awaitable[Result]]) -> Result:
    async def worked() -> Result:
        database = Database(make_url(url))
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(worked())


def of_the_user(world: World) -> list[Event]:
    """The events about the world's user."""
    return directly(world.service.database_url, lambda connection: of_user(connection, world.user_id))


def of_the_organization(world: World) -> list[Event]:
    """The events about the world's organization as such."""
    events = directly(world.service.database_url, lambda connection: of_user(connection, ""))
    return [event for event in events if event.org_id == world.org_id]


def properties(user_id: str) -> UserProperties:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    return UserProperties(user_id=user_id, created_date=moment, modified_date=moment)


def put(user_id: str) -> Change:
    moment = now()
    return Change(
        caller=Caller(user_id=user_id),
        user_id=user_id,
        org_id=HOME,
        event="properties.put",
        apply=replacing(properties(user_id), moment),
        now=moment,
        event_id=new_id(),
        person_id=new_id(),
    )


class TestWhatIsTold:
    """Who, when, where, about whom, and what changed."""

    def test_of_a_record_that_is_stored(self, world: World) -> None:
        before = microseconds(now())

        answer = world.store(org_id=world.org_id, guidedChecklist=checklist(step("connect"), step("invite")))

        event = of_the_user(world)[-1]
        assert (event.type, event.actor) == ("properties.put", f"user:{world.user_id}")
        assert (event.user_id, event.org_id) == (world.user_id, world.org_id)
        assert event.data.pop("version") == event.at
        assert event.data == {
            "members": ["userId", "guidedChecklist", "createdDate"],
            "steps": {"connect": "UP_NEXT", "invite": "UP_NEXT"},
        }
        modified = datetime.fromisoformat(answer.json()["modifiedDate"])
        assert before <= event.at == microseconds(modified)

    def test_of_a_record_that_is_replaced(self, world: World) -> None:
        world.store(guidedChecklist=checklist(step("connect"), step("invite")), attributes={"theme": "dark"})

        world.store(guidedChecklist=checklist(step("connect", status="COMPLETED")), attributes={"theme": "dark"})

        event = of_the_user(world)[-1]
        assert (event.type, event.org_id) == ("properties.put", HOME)
        assert event.data["members"] == ["guidedChecklist"]
        assert event.data["steps"] == {"connect": "COMPLETED"}
        assert event.data["stepsRemoved"] == ["invite"]

    def test_of_a_record_that_is_patched(self, world: World) -> None:
        world.store(guidedChecklist=checklist(step("connect")))

        world.patch({"attributes": {"theme": "dark"}})
        world.patch_checklist(checklist(step("connect", status="SKIPPED")))

        *_, of_record, of_checklist = of_the_user(world)
        assert (of_record.type, of_record.data["members"]) == ("properties.patched", ["attributes"])
        assert (of_checklist.type, of_checklist.data["steps"]) == ("checklist.patched", {"connect": "SKIPPED"})

    def test_of_a_record_that_is_deleted_by_another(self, world: World) -> None:
        world.store()

        assert world.platform.delete(world.path).status_code == 204

        event = of_the_user(world)[-1]
        assert (event.type, event.actor, event.user_id) == ("properties.deleted", "user:operator", world.user_id)
        assert event.data == {}

    def test_of_a_member(self, world: World) -> None:
        enterprise = fresh("enterprise")
        world.put(f"/organizations/{world.org_id}/enterprises/{enterprise}", {"name": "North"})
        world.make_member(None, "buyer", "seller")
        member = f"/organizations/{world.org_id}/members/{world.user_id}"

        world.put(member, {"roles": ["seller", "buyer"], "enterprises": [enterprise]})
        world.put(member, {"roles": ["buyer"], "enterprises": [enterprise]})
        world.platform.delete(BASE + member)

        kinds = [(event.type, event.data) for event in of_the_user(world)]
        assert kinds == [
            ("member.put", {"rolesAdded": ["buyer", "seller"]}),
            ("member.put", {"enterprisesEntered": [enterprise]}),
            ("member.put", {"rolesTaken": ["seller"]}),
            ("member.deleted", {"rolesTaken": ["buyer"], "enterprisesLeft": [enterprise]}),
        ]

    def test_of_the_directory(self, world: World) -> None:
        enterprise = fresh("enterprise")
        organization = f"/organizations/{world.org_id}"
        world.put(f"{organization}/roles/buyer", {"title": "Buyer", "admin": True})
        world.put(f"{organization}/enterprises/{enterprise}", {"name": "North"})
        world.make_member(None, "buyer")

        for path in (f"{organization}/roles/buyer", f"{organization}/enterprises/{enterprise}", organization):
            assert world.platform.delete(BASE + path).status_code == 204

        events = of_the_organization(world)
        assert {event.actor for event in events} == {"user:operator"}
        assert [(event.type, event.data) for event in events] == [
            ("organization.put", {"name": "An organization"}),
            ("role.put", {"role": "buyer", "title": "Buyer", "admin": True}),
            ("enterprise.put", {"enterpriseId": enterprise, "name": "North"}),
            ("role.deleted", {"role": "buyer", "memberships": 1}),
            ("enterprise.deleted", {"enterpriseId": enterprise, "memberships": 0}),
            (
                "organization.deleted",
                {**dict.fromkeys((table.name for table in OWN), 0), "members": 1},
            ),
        ]

    def test_of_a_service_key(self, migrated_url: str) -> None:
        def make_and_revoke(connection: Connection) -> str:
            key_id, _ = create_key(
                connection,
                label="crm",
                scopes=["properties:read"],
                org_id=None,
                now=now(),
                actor="user:operator",
                event_id=new_id(),
            )
            revoke_key(connection, key_id=key_id, now=now(), actor="user:operator", event_id=new_id())
            return key_id

        key_id = directly(migrated_url, make_and_revoke)

        made, revoked = directly(migrated_url, lambda connection: of_user(connection, ""))
        assert (made.type, revoked.type) == ("service_key.created", "service_key.revoked")
        assert made.data == {"keyId": key_id, "label": "crm", "scopes": ["properties:read"]}
        assert revoked.data == {"keyId": key_id}
        assert {made.actor, revoked.actor} == {"user:operator"}

    def test_nothing_of_what_a_record_says_about_a_person(self, world: World) -> None:
        private: Json = {"title": "private title", "description": "private text", "ctaRoute": "/private"}
        world.store(
            org_id=world.org_id,
            guidedChecklist=checklist(step("connect", **private), productInterests=["private interest"]),
            attributes={"private name": "private value"},
            firstLoginState={"roleIdentification": "executive"},
        )
        world.patch({"attributes": {"private name": "private too"}}, org_id=world.org_id)

        text_of_all = json.dumps([event.data for event in of_the_user(world)])

        assert "private" not in text_of_all
        assert "executive" not in text_of_all

    def test_nothing_where_nothing_changed(self, world: World) -> None:
        world.make_member(None, "buyer")
        before = of_the_user(world), of_the_organization(world)

        world.create_organization(world.org_id)
        world.define_role("buyer")
        world.make_member(None, "buyer")
        world.read()

        assert (of_the_user(world), of_the_organization(world)) == before


class TestCommit:
    def test_a_change_without_its_event_is_not_stored(self, migrated_url: str) -> None:
        directly(migrated_url, lambda connection: connection.execute(text("ALTER TABLE journal RENAME TO gone")))

        async def store(database: Database) -> None:
            await Properties(database, lambda _: None).write(put("jane"))

        with pytest.raises(DBAPIError):
            on(migrated_url, store)

        found = text("SELECT count(*) FROM properties")
        assert directly(migrated_url, lambda connection: connection.execute(found).scalar_one()) == 0

    def test_a_change_that_is_not_stored_leaves_no_event(self, migrated_url: str) -> None:
        def append_and_fail(connection: Connection) -> None:
            append(connection, [event("jane")])
            raise LookupError

        with pytest.raises(LookupError):
            directly(migrated_url, append_and_fail)

        assert directly(migrated_url, lambda connection: of_user(connection, "jane")) == []

    def test_a_refused_change_leaves_no_event_though_its_neighbours_are_stored(self, migrated_url: str) -> None:
        def refuse(_: object) -> Record:
            raise LookupError

        async def store(database: Database) -> list[Any]:
            write = Properties(database, lambda _: None).write
            refused = Change(
                caller=Caller(user_id="jane"),
                user_id="jane",
                org_id=HOME,
                event="properties.put",
                apply=refuse,
                now=now(),
                event_id=new_id(),
                person_id=new_id(),
            )
            asked = (put("john"), refused, put("jim"))
            return await asyncio.gather(*(write(one) for one in asked), return_exceptions=True)

        _, failure, _ = on(migrated_url, store)

        assert isinstance(failure, LookupError)
        assert {event.user_id for event in seen_in(migrated_url, 2)} == {"john", "jim"}


def event(user_id: str, **data: object) -> Event:
    return Event(id=new_id(), at=1, actor="user:test", type="test", user_id=user_id, data=data)


def after(position: Position, limit: int = 1000) -> Callable[[Connection], list[tuple[Position, Event]]]:
    return lambda connection: read_after(connection, position, limit)


def seen_in(url: str, count: int) -> list[Event]:
    """The first so many events of a journal."""
    return on(url, lambda database: seen(database, count))


async def seen(database: Database, count: int, limit: int = 1000) -> list[Event]:
    """What a reader has seen who went on until there were so many events.

    On PostgreSQL it may have to wait for a transaction in any database of the server.
    """
    position = START
    events: list[Event] = []
    async with asyncio.timeout(60):
        while len(events) < count:
            page = await database.read(after(position, limit))
            assert len(page) <= limit
            events += [event for _, event in page]
            position = page[-1][0] if page else position
            await asyncio.sleep(0 if page else 0.01)
    return events


class TestOrder:
    @pytest.mark.parametrize("limit", [1, 7, 1000])
    def test_a_reader_goes_on_where_it_was(self, migrated_url: str, limit: int) -> None:
        sent = [event("jane", n=n) for n in range(25)]
        for some in (sent[:10], sent[10:11], sent[11:]):
            directly(migrated_url, partial(append, events=some))

        assert on(migrated_url, lambda database: seen(database, len(sent), limit)) == sent

    def test_changes_of_one_record_stand_in_the_order_in_which_they_were_made(self, migrated_url: str) -> None:
        async def store(database: Database) -> None:
            write = Properties(database, lambda _: None).write
            await asyncio.gather(*(write(put("jane")) for _ in range(100)))

        on(migrated_url, store)

        written = [int(str(event.data["version"])) for event in seen_in(migrated_url, 100)]
        assert written == sorted(set(written))

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_an_event_that_commits_late_is_not_overtaken(self, migrated_url: str) -> None:
        async def commit_late(database: Database) -> list[Event]:
            engine = postgres_engine(make_url(migrated_url), 10, 1)
            async with engine.begin() as late:
                await late.run_sync(lambda connection: append(connection, [event("late")]))
                await database.write(lambda connection: append(connection, [event("early")]))
                assert await database.read(after(START)) == []
            await engine.dispose()
            return await seen(database, 2)

        assert [event.user_id for event in on(migrated_url, commit_late)] == ["late", "early"]

    def test_a_reader_misses_nothing_and_sees_nothing_twice_while_others_write(self, migrated_url: str) -> None:
        sent = {f"writer-{writer}": [event(f"writer-{writer}", n=n) for n in range(40)] for writer in range(6)}

        async def write_and_read(database: Database) -> list[Event]:
            writing = asyncio.gather(*(write(database, events) for events in sent.values()))
            read = await seen(database, 240, limit=20)
            await writing
            return read

        read = on(migrated_url, write_and_read)

        assert len(read) == 240
        assert {writer: [event for event in read if event.user_id == writer] for writer in sent} == sent


def since(mark: Mark, limit: int = 1000, concern: Concern | None = None) -> Callable[[Connection], News]:
    return lambda connection: read_since(connection, mark, limit, concern)


class TestReadingWithoutWaiting:
    def test_a_reader_misses_nothing_and_sees_nothing_twice_while_others_write(self, migrated_url: str) -> None:
        sent = {f"writer-{writer}": [event(f"writer-{writer}", n=n) for n in range(40)] for writer in range(6)}

        async def write_and_read(database: Database) -> list[Event]:
            mark = await database.read(visible_now)
            writing = asyncio.gather(*(write(database, events) for events in sent.values()))
            read: list[Event] = []
            async with asyncio.timeout(60):
                while len(read) < 240:
                    news = await database.read(since(mark))
                    read += [event for _, event in news.events]
                    assert all(news.mark.covers(position) for position, _ in news.events)
                    assert not any(mark.covers(position) for position, _ in news.events)
                    mark = news.mark
            await writing
            return read + [event for _, event in (await database.read(since(mark))).events]

        read = on(migrated_url, write_and_read)

        assert len(read) == 240
        assert {writer: [event for event in read if event.user_id == writer] for writer in sent} == sent

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_an_event_is_read_while_another_transaction_is_open_and_that_ones_when_it_ends(
        self, migrated_url: str
    ) -> None:
        async def commit_late(database: Database) -> list[list[str]]:
            mark = await database.read(visible_now)
            engine = postgres_engine(make_url(migrated_url), 10, 1)
            looks: list[list[str]] = []

            async def look() -> None:
                nonlocal mark
                news = await database.read(since(mark))
                looks.append([event.user_id for _, event in news.events])
                mark = news.mark

            async with engine.begin() as late:
                await late.run_sync(lambda connection: append(connection, [event("late")]))
                for user_id in ("first", "second"):
                    await database.write(partial(append, events=[event(user_id)]))
                    await look()
                await look()
            await engine.dispose()
            await look()
            await look()
            return looks

        assert on(migrated_url, commit_late) == [["first"], ["second"], [], ["late"], []]

    def test_what_is_beyond_the_limit_is_left_out_and_said_to_be(self, migrated_url: str) -> None:
        directly(migrated_url, partial(append, events=[event("jane", n=n) for n in range(8)]))

        async def read(database: Database) -> tuple[News, News]:
            some = await database.read(since(Mark(0), limit=7))
            return some, await database.read(since(some.mark, limit=7))

        some, rest = on(migrated_url, read)

        assert (len(some.events), some.cut) == (7, True)
        assert (rest.events, rest.cut) == ([], False)

    def test_of_others_only_that_is_read_which_concerns_all(self, migrated_url: str) -> None:
        def about(user_id: str, org_id: str, **data: object) -> Event:
            return Event(new_id(), 1, "user:test", "test", user_id, org_id, data)

        wanted = [
            about("jane", "acme"),
            about("jane", HOME),
            about("", "acme"),
            about("", ""),
            about("john", "acme", shared=["billing"]),
        ]
        others = [about("john", "acme"), about("jane", "other"), about("", "other"), about("jo", "other", shared=["x"])]
        directly(migrated_url, partial(append, events=[*others, *wanted]))

        news = on(migrated_url, lambda database: database.read(since(Mark(0), concern=Concern("jane", "acme"))))

        assert [event for _, event in news.events] == wanted

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_what_was_restored_from_another_server_does_not_hide_what_is_new(self, migrated_url: str) -> None:
        directly(migrated_url, partial(append, events=[event("old")]))
        directly(
            migrated_url, lambda connection: connection.execute(text("UPDATE journal SET position = 1000000000000"))
        )

        async def read(database: Database) -> list[str]:
            mark = await database.read(visible_now)
            await database.write(partial(append, events=[event("new")]))
            return [event.user_id for _, event in (await database.read(since(mark))).events]

        assert on(migrated_url, read) == ["new"]


async def write(database: Database, events: list[Event]) -> None:
    """Append events one by one, in transactions that take longer or shorter."""
    for one in events:
        await database.write(slowly(one))
        await asyncio.sleep(random.uniform(0, 0.003))


def slowly(one: Event) -> Callable[[Connection], Any]:
    def append_and_wait(connection: Connection) -> None:
        append(connection, [one])
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_sleep({random.uniform(0, 0.01)})"))

    return append_and_wait
