"""Calls that meet: whichever comes first, the data stays sound, and nobody is told what is not so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from milepost.access.policy import Caller
from milepost.catalogs import service as catalogs
from milepost.checklists import service as checklists
from milepost.checklists.gains import bring_steps
from milepost.checklists.queries import share
from milepost.checklists.service import Wish
from milepost.directory import service
from milepost.directory.service import Context
from milepost.domain.catalog import Catalog, StepDefinition
from milepost.domain.cloud_events import CloudEvent
from milepost.domain.contract import Status, UserProperties
from milepost.domain.directory import Enterprise, Member, Organization, Role
from milepost.domain.progress import Evidence
from milepost.domain.records import Record
from milepost.domain.tracks import by_memberships
from milepost.edge import new_id, now
from milepost.problems import Problem
from milepost.properties.queries import HOME, Lookup, Situation, look_up
from milepost.properties.service import Change, Properties, erasing, replacing
from milepost.settings import Settings
from milepost.signals import service as signals
from milepost.signals.service import report
from milepost.store import integrity, versions
from milepost.store.database import Database
from milepost.transfer.left_out import Numbered
from milepost.transfer.lines import CatalogLine, EvidenceEntry, Line, SharedLine, SignalLine
from milepost.transfer.service import store
from tests.calls import directly

Result = TypeVar("Result")

ROUNDS = 40
ADMIN = Caller(user_id="operator", platform_admin=True)


@dataclass(frozen=True)
class Process:
    """What one process would be: connections of its own to the same database."""

    database: Database
    properties: Properties

    async def directory(self, use_case: Callable[..., Result], *arguments: object) -> Result:
        context = Context(ADMIN, now(), new_id)
        return await self.database.write(lambda connection: use_case(connection, context, *arguments))

    async def put_record(self, user_id: str, org_id: str = HOME) -> object:
        moment = datetime(2026, 3, 1, tzinfo=UTC)
        properties = UserProperties(user_id=user_id, created_date=moment, modified_date=moment)
        return await self.properties.write(_change(user_id, org_id, "properties.put", replacing(properties, now())))

    async def touch_record(self, user_id: str) -> object:
        """Change a record that must be there, as a patch does."""

        def apply(situation: Situation) -> Record:
            if situation.own is None:
                raise LookupError
            return replacing(situation.own.properties, now())(situation)

        return await self.properties.write(_change(user_id, HOME, "properties.patched", apply))

    async def erase_record(self, user_id: str) -> None:
        await self.properties.erase(_change(user_id, HOME, "properties.deleted", erasing))


def _change(user_id: str, org_id: str, event: str, apply: Callable[[Situation], Record | None]) -> Change:
    return Change(
        caller=ADMIN,
        user_id=user_id,
        org_id=org_id,
        event=event,
        apply=apply,
        now=now(),
        event_id=new_id(),
        person_id=new_id(),
    )


@asynccontextmanager
async def two_processes(url: str) -> AsyncIterator[tuple[Process, Process]]:
    databases = [versions.open_database(Settings(database=url)) for _ in range(2)]
    try:
        first, second = (Process(database, Properties(database, lambda _: None)) for database in databases)
        yield first, second
    finally:
        for database in databases:
            await database.close()


async def meet(*calls: Awaitable[Any]) -> tuple[bool, ...]:
    """Have calls run at once; answers which of them were accepted."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, (Problem, LookupError)):
            raise answer
    return tuple(not isinstance(answer, BaseException) for answer in answers)


@pytest.fixture
def url(database_url: str) -> str:
    directly(database_url, versions.upgrade)
    return database_url


def run(url: str, each: Callable[[Process, Process, str], Awaitable[None]]) -> None:
    """Let each round's calls meet on the database, which must be sound afterwards."""

    async def rounds() -> None:
        async with two_processes(url) as (first, second):
            await first.directory(service.put_organization, "acme", Organization(name="Acme"))
            await first.directory(service.put_organization, "other", Organization(name="Other"))
            await first.directory(service.put_role, "acme", "buyer", Role(title="Buyer"))
            await first.directory(service.put_enterprise, "acme", "north", Enterprise(name="North"))
            for n in range(ROUNDS):
                await each(first, second, f"x-{n}")

    asyncio.run(rounds())
    assert directly(url, integrity.faults) == []


def test_a_member_who_is_put_while_being_deleted(url: str) -> None:
    async def each(first: Process, second: Process, user_id: str) -> None:
        await first.directory(service.put_member, "acme", user_id, Member(), bring_steps)
        full = Member(roles=["buyer"], enterprises=["north"])
        await meet(
            first.directory(service.put_member, "acme", user_id, full, bring_steps),
            second.directory(service.delete_member, "acme", user_id),
        )

    run(url, each)


def test_an_enterprise_that_is_entered_while_being_deleted(url: str) -> None:
    async def each(first: Process, second: Process, enterprise_id: str) -> None:
        await first.directory(service.put_enterprise, "acme", enterprise_id, Enterprise(name="South"))
        await meet(
            first.directory(service.put_member, "acme", "jane", Member(enterprises=[enterprise_id]), bring_steps),
            second.directory(service.delete_enterprise, "acme", enterprise_id),
        )

    run(url, each)


def test_an_enterprise_that_two_organizations_make_at_once_belongs_to_one(url: str) -> None:
    async def each(first: Process, second: Process, enterprise_id: str) -> None:
        accepted = await meet(
            first.directory(service.put_enterprise, "acme", enterprise_id, Enterprise(name="North")),
            second.directory(service.put_enterprise, "other", enterprise_id, Enterprise(name="North")),
        )
        assert sorted(accepted) == [False, True]

    run(url, each)


def test_an_organization_that_is_deleted_while_somebody_joins_it(url: str) -> None:
    async def each(first: Process, second: Process, org_id: str) -> None:
        await first.directory(service.put_organization, org_id, Organization(name="Short-lived"))
        await first.directory(service.put_role, org_id, "buyer", Role(title="Buyer"))
        await first.directory(service.put_enterprise, org_id, f"{org_id}-north", Enterprise(name="North"))
        full = Member(roles=["buyer"], enterprises=[f"{org_id}-north"])
        await meet(
            first.directory(service.put_member, org_id, "jane", full, bring_steps),
            second.directory(service.delete_organization, org_id),
        )

    run(url, each)


def test_an_organization_that_is_deleted_while_a_record_is_stored_under_it(url: str) -> None:
    async def each(first: Process, second: Process, org_id: str) -> None:
        await first.directory(service.put_organization, org_id, Organization(name="Short-lived"))
        await meet(first.put_record("jane", org_id), second.directory(service.delete_organization, org_id))

    run(url, each)


def test_an_organization_that_is_deleted_while_its_onboarding_begins(url: str) -> None:
    async def each(first: Process, second: Process, org_id: str) -> None:
        await first.directory(service.put_organization, org_id, Organization(name="Short-lived"))
        event = CloudEvent(specversion="1.0", id="1", source="/fleet", type="paired", orgid=org_id)
        await meet(
            first.directory(signals.report, [event], ""),
            first.directory(catalogs.publish, org_id, Catalog(name="Onboarding", steps=[])),
            first.directory(shared_by_hand, org_id, ""),
            second.directory(service.delete_organization, org_id),
        )

    run(url, each)


def test_an_enterprise_that_is_deleted_while_a_step_is_done_for_all_of_it(url: str) -> None:
    async def each(first: Process, second: Process, enterprise_id: str) -> None:
        await first.directory(service.put_enterprise, "acme", enterprise_id, Enterprise(name="South"))
        await meet(
            first.directory(shared_by_hand, "acme", enterprise_id),
            second.directory(service.delete_enterprise, "acme", enterprise_id),
        )

    run(url, each)


def test_a_step_that_two_do_for_all_at_the_same_time_is_done_since_the_earlier_of_them(url: str) -> None:
    moments = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2)]

    def do(connection: Connection, _: Context, step_id: str, at: datetime) -> None:
        share(connection, "acme", "", step_id, Evidence("signal", at, str(at.day), shared=True))

    async def each(first: Process, second: Process, step_id: str) -> None:
        await meet(first.directory(do, step_id, moments[1]), second.directory(do, step_id, moments[0]))

    run(url, each)
    (found,) = directly(url, lambda connection: look_up(connection, [Lookup("jane", "acme", "")]))
    assert {why and why.at for why in found.shared[""].values()} == {moments[0]}
    assert len(found.shared[""]) == ROUNDS


def shared_by_hand(connection: Connection, context: Context, org_id: str, enterprise_id: str) -> None:
    share(connection, org_id, enterprise_id, "a", Evidence("person", context.now, shared=True))


def test_what_is_deleted_while_it_is_imported(url: str) -> None:
    async def each(first: Process, second: Process, org_id: str) -> None:
        await first.directory(service.put_organization, org_id, Organization(name="Short-lived"))
        await first.directory(service.put_enterprise, org_id, f"{org_id}-north", Enterprise(name="North"))
        lines: list[Line] = [
            CatalogLine(org_id=org_id, version=1, current=True, catalog=Catalog(name="Onboarding", steps=[])),
            SignalLine(org_id=org_id, source="/fleet", id="1", type="paired"),
            SharedLine(
                org_id=org_id,
                enterprise_id=f"{org_id}-north",
                step_id="a",
                evidence=EvidenceEntry(how="person", at=now()),
            ),
        ]
        numbered = [Numbered(number, line) for number, line in enumerate(lines, 1)]
        await meet(
            first.database.write(lambda connection: store(connection, numbered, Context(ADMIN, now(), new_id))),
            second.directory(service.delete_enterprise, org_id, f"{org_id}-north"),
            second.directory(service.delete_organization, org_id),
        )

    run(url, each)


def test_a_record_that_is_patched_while_being_deleted_does_not_come_back(url: str) -> None:
    async def each(first: Process, second: Process, user_id: str) -> None:
        await first.put_record(user_id)

        _, erased = await meet(first.touch_record(user_id), second.erase_record(user_id))

        assert erased
        (still_there,) = await meet(first.touch_record(user_id))
        assert not still_there

    run(url, each)


def definition(step_id: str, role: str) -> StepDefinition:
    return StepDefinition(
        step_id=step_id,
        title=step_id,
        description="",
        cta_label="Go",
        cta_route="/",
        sort_order=1,
        roles=[role],
        complete_when="signals['opened'].count > 0",
    )


async def make_buyer(process: Process, user_id: str) -> None:
    """Make the user a buyer, where the catalog has a step for buyers and one for sellers."""
    await process.directory(service.put_role, "acme", "seller", Role(title="Seller"))
    catalog = Catalog(name="Onboarding", steps=[definition("buy", "buyer"), definition("sell", "seller")])
    await process.directory(catalogs.publish, "acme", catalog)
    await process.directory(service.put_member, "acme", user_id, Member(roles=["buyer"]), bring_steps)


async def initialize(process: Process, user_id: str) -> None:
    await process.directory(checklists.initialize, user_id, "acme", Wish(), by_memberships)


async def statuses(process: Process, user_id: str) -> dict[str, Status]:
    found, _ = await process.directory(checklists.explain, user_id, "acme")
    return {step.step_id: step.status for step in found.steps if step.status is not None}


def test_a_signal_for_everyone_reaches_a_checklist_that_is_being_made(url: str) -> None:
    async def each(first: Process, second: Process, user_id: str) -> None:
        await make_buyer(first, user_id)
        # Of an enterprise of this round alone, so that an earlier round's signal does not count.
        await first.directory(service.put_enterprise, "acme", f"{user_id}-north", Enterprise(name="North"))
        event = CloudEvent(
            specversion="1.0", id=user_id, source="/", type="opened", orgid="acme", enterpriseid=f"{user_id}-north"
        )
        wish = Wish(enterprise_id=f"{user_id}-north")

        await meet(
            first.directory(checklists.initialize, user_id, "acme", wish, by_memberships),
            second.directory(report, [event], ""),
        )

        assert await statuses(first, user_id) == {"buy": Status.COMPLETED}

    run(url, each)


def test_a_role_gained_brings_its_steps_to_a_checklist_that_is_being_made(url: str) -> None:
    async def each(first: Process, second: Process, user_id: str) -> None:
        await make_buyer(first, user_id)
        both = Member(roles=["buyer", "seller"])

        await meet(initialize(first, user_id), second.directory(service.put_member, "acme", user_id, both, bring_steps))

        assert set(await statuses(first, user_id)) == {"buy", "sell"}

    run(url, each)
