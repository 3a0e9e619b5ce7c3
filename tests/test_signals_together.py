"""Reports that come at the same moment share a transaction, and each is answered as if it had come by itself."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, select

from milepost.access.policy import Caller
from milepost.catalogs import service as catalogs
from milepost.checklists.gains import bring_steps
from milepost.checklists.service import Wish, initialize
from milepost.directory import service as directory
from milepost.directory.service import Context
from milepost.domain.catalog import Catalog
from milepost.domain.cloud_events import CloudEvent
from milepost.domain.directory import Member, Organization
from milepost.domain.tracks import by_memberships
from milepost.edge import new_id, now
from milepost.journal import queries as journal
from milepost.problems import UNKNOWN_PLACE, Problem
from milepost.settings import Settings
from milepost.signals.service import Receipt, Report, Signals, reports_taken_in
from milepost.store import schema, versions
from tests.calls import directly
from tests.checklists import define

STEPS = [
    define("pair", 10, complete_when="signals['paired'].count >= 2"),
    define("open", 20, complete_when="signals['opened'].count > 0", scope="organization"),
]
USERS = ("grace", "jane")


def context(actor: str = "operator") -> Context:
    return Context(Caller(user_id=actor, platform_admin=True), now(), new_id)


@pytest.fixture
def url(database_url: str) -> str:
    """A database in which two users of an organization have their checklists."""

    def arrange(connection: Connection) -> None:
        versions.upgrade(connection)
        directory.put_organization(connection, context(), "acme", Organization(name="Acme"))
        catalogs.publish(connection, context(), "acme", Catalog(name="Onboarding", steps=STEPS))
        for user_id in USERS:
            directory.put_member(connection, context(), "acme", user_id, Member(), bring_steps)
            initialize(connection, context(), user_id, "acme", Wish("", None), by_memberships)

    directly(database_url, arrange)
    return database_url


def report(*events: tuple[str, str, str], org_id: str = "acme", actor: str = "operator") -> Report:
    """Of each event its id, its type and whom it is about."""
    told = [
        CloudEvent(specversion="1.0", id=one, source="/", type=name, subject=subject, orgid=org_id)
        for one, name, subject in events
    ]
    return Report(context(actor), told, "/{}")


def taken_in(url: str, *reports: Report) -> list[Receipt]:
    return directly(url, lambda connection: reports_taken_in(connection, reports))


def test_a_signal_that_two_report_at_once_is_new_to_the_first_of_them(url: str) -> None:
    receipts = taken_in(url, report(("1", "x", "jane"), ("2", "x", "jane")), report(("2", "x", "jane")))

    assert receipts == [Receipt(2, 0, 0), Receipt(0, 1, 0)]


def test_a_step_is_completed_by_the_report_that_brings_the_last_signal(url: str) -> None:
    receipts = taken_in(
        url,
        report(("1", "paired", "jane"), actor="first"),
        report(("2", "paired", "jane"), actor="second"),
        report(("3", "paired", "jane"), actor="third"),
    )

    assert [one.completed_steps for one in receipts] == [0, 1, 0]
    events = directly(url, lambda connection: journal.of_user(connection, "jane"))
    assert [event.actor for event in events if event.type == "steps.completed"] == ["user:second"]


def test_a_step_that_one_report_completes_for_all_is_not_completed_by_another(url: str) -> None:
    receipts = taken_in(url, report(("1", "opened", "jane")), report(("2", "opened", "grace")))

    assert [one.completed_steps for one in receipts] == [1, 0]


def test_each_report_is_told_in_the_journal_by_itself(url: str) -> None:
    taken_in(url, report(("1", "x", "jane"), actor="first"), report(("2", "y", "jane"), actor="second"))

    told = directly(url, reported)
    assert told == [("user:first", '{"signals":{"x":1}}'), ("user:second", '{"signals":{"y":1}}')]


def reported(connection: Connection) -> list[Any]:
    entries = schema.journal.c
    found = select(entries.actor, entries.data).where(entries.type == "signals.reported").order_by(entries.id)
    return [tuple(row) for row in connection.execute(found)]


def test_a_report_with_a_fault_leaves_those_that_came_with_it_alone(url: str) -> None:
    wrong = report(("wrong", "x", "nobody"), ("wrong-too", "x", "jane"), org_id="elsewhere")
    right = [report((f"{n}", "x", "jane")) for n in range(12)]

    async def run() -> list[Any]:
        database = versions.open_database(Settings(database=url))
        signals = Signals(database)
        try:
            return await asyncio.gather(*map(signals.report, [*right, wrong]), return_exceptions=True)
        finally:
            await database.close()

    *receipts, refusal = asyncio.run(run())

    assert receipts == [Receipt(1, 0, 0)] * len(right)
    assert isinstance(refusal, Problem)
    assert refusal.kind is UNKNOWN_PLACE
    assert [fault.pointer for fault in refusal.faults] == ["/0", "/1"]
    known = directly(url, lambda connection: list(connection.execute(select(schema.people.c.user_id)).scalars()))
    assert "nobody" not in known
