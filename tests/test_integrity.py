"""What must hold of the data is found out where it does not."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Executable, insert, text, update

from milepost.domain.contract import UserProperties
from milepost.domain.records import Record, moment
from milepost.journal.queries import Event, append
from milepost.properties.queries import HOME, Save, encode, save
from milepost.store import integrity, versions
from milepost.store.schema import (
    catalogs,
    current_catalogs,
    enterprises,
    journal,
    organizations,
    people,
    properties,
    shared_completions,
    signals,
)
from tests.calls import directly
from tests.ndjson import catalog

VERSION = 1_772_355_600_000_000


@pytest.fixture
def url(database_url: str) -> str:
    """A database with an organization and a record, all in order."""

    def fill(connection: Connection) -> None:
        versions.upgrade(connection)
        connection.execute(insert(organizations), {"org_id": "acme", "name": "Acme"})
        connection.execute(insert(people), {"user_id": "jane", "id": "0196f9a0-0000-7000-8000-000000000000"})
        now = moment(VERSION)
        record = Record(UserProperties(user_id="jane", created_date=now, modified_date=now), VERSION)
        save(connection, [Save("jane", HOME, encode(record.properties).decode(), VERSION, 0)])
        append(connection, [Event("01", VERSION, "user:jane", "properties.put", "jane")])

    directly(database_url, fill)
    return database_url


def change(body: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(update(properties).values(body=body))


def body(connection: Connection) -> str:
    return str(connection.execute(properties.select()).one().body)


def test_data_in_order_has_no_faults(url: str) -> None:
    assert directly(url, integrity.faults) == []


def test_a_record_that_is_half_written(url: str) -> None:
    directly(url, change(directly(url, body)[:-10]))

    assert directly(url, integrity.faults) == ["1 records whose text is not that of their user and version"]


@pytest.mark.parametrize(("part", "instead"), [('"jane"', '"john"'), ("2026-", "2025-")])
def test_a_record_that_says_something_else_than_its_row(url: str, part: str, instead: str) -> None:
    directly(url, change(directly(url, body).replace(part, instead)))

    assert directly(url, integrity.faults) == ["1 records whose text is not that of their user and version"]


def test_every_record_is_looked_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "PAGE", 2)
    broken = [Save(f"user-{n}", HOME, "{", VERSION, 0) for n in range(5)]
    directly(url, lambda connection: save(connection, broken))

    assert "5 records whose text is not that of their user and version" in directly(url, integrity.faults)


def test_a_change_that_the_journal_does_not_tell_of(url: str) -> None:
    directly(url, lambda connection: connection.execute(journal.delete()))

    assert directly(url, integrity.faults) == ["1 records whose last change is not in the journal"]


def test_a_record_of_an_organization_that_is_gone(url: str) -> None:
    directly(url, lambda connection: connection.execute(update(properties).values(org_id="gone")))

    assert "1 records of an organization that does not exist" in directly(url, integrity.faults)


def test_a_user_without_an_internal_id(url: str) -> None:
    directly(url, lambda connection: connection.execute(people.delete()))

    assert directly(url, integrity.faults) == ["1 records whose user has no internal id"]


class TestChecklists:
    """A record with progress, its catalog, a signal and what was done for all."""

    @pytest.fixture
    def url(self, url: str) -> str:
        def fill(connection: Connection) -> None:
            connection.execute(insert(enterprises), {"enterprise_id": "north", "org_id": "acme", "name": "North"})
            body = json.dumps(catalog("a"))
            first = {"version": 1, "body": body, "published": VERSION, "publisher": "user:jane"}
            connection.execute(insert(catalogs), [first | {"org_id": org_id} for org_id in ("", "acme")])
            connection.execute(insert(current_catalogs), {"org_id": "acme", "version": 1})
            signal = {"user_id": "jane", "source": "s", "id": "1", "type": "t", "time": 1, "received": 1}
            connection.execute(insert(signals), signal | {"org_id": "acme", "enterprise_id": "gone"})
            done = {"step_id": "a", "evidence": '{"how":"person","at":"2026-03-01T00:00:00Z"}', "org_id": "acme"}
            connection.execute(insert(shared_completions), [done | {"enterprise_id": name} for name in ("", "north")])
            taken_back = {"step_id": "b", "evidence": "null", "org_id": "acme", "enterprise_id": ""}
            connection.execute(insert(shared_completions), taken_back)
            progress = '{"orgId":"","version":1,"enterpriseId":"gone","evidence":{}}'
            connection.execute(update(properties).values(progress=progress))

        directly(url, fill)
        return url

    def test_data_in_order_has_no_faults(self, url: str) -> None:
        assert directly(url, integrity.faults) == []

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            (update(signals).values(org_id="gone"), "1 signals of an organization that does not exist"),
            (
                update(catalogs).where(catalogs.c.org_id == "acme").values(org_id="gone"),
                "1 catalogs of an organization that does not exist",
            ),
            (update(current_catalogs).values(version=2), "1 current catalogs that name a version that does not exist"),
            (update(catalogs).where(catalogs.c.org_id == "").values(body="{"), "1 catalogs that are not sound"),
            (
                update(catalogs).where(catalogs.c.org_id == "").values(body=json.dumps(catalog("a", completeWhen="("))),
                "1 catalogs that are not sound",
            ),
            (
                update(shared_completions).where(shared_completions.c.step_id == "b").values(org_id="gone"),
                "1 steps done for all of an organization that does not exist",
            ),
            (
                enterprises.delete(),
                "1 steps done for all of an enterprise of another organization or none",
            ),
            (
                update(shared_completions).values(evidence="{}"),
                "3 steps done for all whose evidence cannot be read",
            ),
            (update(properties).values(progress="{"), "1 records whose progress cannot be read"),
            (
                update(properties).values(progress='{"orgId":"","version":2}'),
                "1 records whose progress names a catalog that does not exist",
            ),
            (
                # Jane's record is her home record: the catalog of an organization is not for it.
                update(properties).values(progress='{"orgId":"acme","version":1}'),
                "1 records whose progress names a catalog that does not exist",
            ),
        ],
    )
    def test_what_is_broken_is_found(self, url: str, change: Executable, fault: str) -> None:
        directly(url, lambda connection: connection.execute(change))

        assert fault in directly(url, integrity.faults)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_journal_from_a_server_that_had_counted_further(url: str) -> None:
    directly(url, lambda connection: connection.execute(update(journal).values(position=2**62)))

    (fault,) = directly(url, integrity.faults)

    assert fault == "1 events that stand after those to come, so that readers would miss the new ones"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_index_that_does_not_fit_its_table(url: str) -> None:
    def spoil(connection: Connection) -> None:
        connection.execute(text("PRAGMA writable_schema = ON"))
        connection.execute(
            text(
                "UPDATE sqlite_schema SET sql = 'CREATE INDEX ix_properties_org_id_user_id ON properties (body)' "
                "WHERE name = 'ix_properties_org_id_user_id'"
            )
        )

    directly(url, spoil)

    assert any("ix_properties_org_id_user_id" in fault for fault in directly(url, integrity.faults))
