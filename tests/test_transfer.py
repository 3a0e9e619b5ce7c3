"""The whole of the data as NDJSON: what goes out comes in as it was."""

import asyncio
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url

from milepost.access.policy import Caller
from milepost.edge import new_id, now
from milepost.journal.queries import Event, of_user
from milepost.properties.service import Change, Properties, read_properties, replacing
from milepost.store.database import Database
from milepost.store.integrity import statistics
from milepost.transfer import service
from milepost.transfer.lines import KINDS
from tests.arrange import checklist, record, step
from tests.command import Command, ready
from tests.ndjson import DATA, DIRECTORY, ONLY_SQLITE, as_text, home_record, on, stored


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Command:
    """The command on another, empty database."""
    return ready(tmp_path, f"sqlite:///{tmp_path / 'elsewhere.db'}")


def events(command: Command, user_id: str) -> list[Event]:
    return on(command, lambda connection: of_user(connection, user_id))


class TestRoundTrip:
    def test_what_was_imported_is_exported(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(DATA))

        assert command.must("export", "-").objects == DATA
        assert command.must("db", "check").code == 0

    def test_an_export_that_is_imported_elsewhere_is_exported_there_byte_for_byte(
        self, command: Command, elsewhere: Command
    ) -> None:
        command.must("import", "-", stdin=as_text(DATA))
        exported = command.must("export", "-").out

        elsewhere.must("import", "-", stdin=exported.encode())

        assert elsewhere.must("export", "-").out == exported
        assert elsewhere.must("db", "check").code == 0

    def test_importing_an_export_again_changes_nothing(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(DATA))
        before = on(command, statistics)

        command.must("import", "-", stdin=command.must("export", "-").out.encode())

        assert on(command, statistics) == before

    def test_attributes_written_over_several_lines_are_exported_in_one_with_every_digit(
        self, command: Command, elsewhere: Command
    ) -> None:
        sent = '{"big":\n 9007199254740993, "price":\r\n 1.10, "tiny": 1E-400, "text": "a\\nb"}'
        store_as_put_does(command, f'{record_text("ada")},"attributes":{sent}}}')

        exported = command.must("export", "-").out
        elsewhere.must("import", "-", stdin=exported.encode())

        assert '"big":  9007199254740993, "price":   1.10, "tiny": 1E-400, "text": "a\\nb"' in exported
        assert elsewhere.must("export", "-").out == exported

    def test_every_page_of_an_export_is_there_and_in_order(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command.must("import", "-", stdin=as_text(DATA))
        monkeypatch.setattr(service, "PAGE", 1)

        assert command.must("export", "-").objects == DATA


def record_text(user_id: str) -> str:
    """A record as JSON text, open at its end."""
    return json.dumps(record(user_id)).removesuffix("}")


def store_as_put_does(command: Command, text: str) -> None:
    async def store() -> None:
        database = Database(make_url(command.database))
        properties = Properties(database, lambda _: None)
        caller, at = Caller(user_id="ada"), now()
        incoming = properties.fitting(read_properties.read(text.encode()), "ada", at)
        try:
            await properties.write(
                Change(caller, "ada", "", "properties.put", replacing(incoming, at), at, new_id(), new_id())
            )
        finally:
            await database.close()

    asyncio.run(store())


class TestRecords:
    def test_a_new_record_keeps_its_modified_date(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([home_record("ada", modifiedDate="2026-03-05T00:00:00+01:00")]))

        assert stored(command, "ada")["modifiedDate"] == "2026-03-04T23:00:00Z"

    def test_a_modified_date_in_the_future_becomes_now(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([home_record("ada", modifiedDate="2999-01-01T00:00:00Z")]))

        assert datetime.fromisoformat(stored(command, "ada")["modifiedDate"]) <= datetime.now(UTC)

    def test_a_record_that_exists_is_replaced_as_put_does(self, command: Command) -> None:
        first = home_record("ada", createdDate="2025-01-01T00:00:00Z", attributes={"a": 1})
        again = home_record("ada", createdDate="2025-06-06T00:00:00Z", attributes={"b": 2})
        command.must("import", "-", stdin=as_text([first]))

        command.must("import", "-", stdin=as_text([again]))

        after = stored(command, "ada")
        assert after["attributes"] == {"b": 2}
        assert after["createdDate"] == "2025-01-01T00:00:00Z"
        assert after["modifiedDate"] > first["properties"]["modifiedDate"]

    def test_the_last_of_several_lines_for_one_record_counts(self, command: Command) -> None:
        several = [home_record("ada", attributes={"n": n}) for n in range(3)]

        command.must("import", "-", stdin=as_text(several))

        assert stored(command, "ada")["attributes"] == {"n": 2}
        assert len(events(command, "ada")) == 3
        assert command.must("db", "check").code == 0

    def test_the_journal_tells_who_imported_what(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([home_record("ada", attributes={"a": 1})]))

        (event,) = events(command, "ada")
        assert (event.type, event.actor) == ("properties.imported", "user:operator")
        assert "attributes" in str(event.data["members"])

    def test_a_user_without_an_internal_id_gets_one(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([home_record("ada"), home_record("bob")]))

        people = [line["userId"] for line in command.must("export", "-").objects if line["kind"] == "person"]
        assert people == ["ada", "bob"]


class TestMembers:
    def test_the_last_of_several_lines_for_one_member_counts(self, command: Command) -> None:
        two_roles = [{"kind": "role", "orgId": "acme", "role": role, "title": role} for role in ("a", "b")]
        twice = [{"kind": "member", "orgId": "acme", "userId": "ada", "roles": [role]} for role in ("a", "b")]

        command.must("import", "-", stdin=as_text([DIRECTORY[0], *two_roles, *twice]))

        (member,) = command.must("member", "list", "--org", "acme", "--json").objects
        assert member["roles"] == ["b"]
        assert [event.data for event in events(command, "ada")] == [
            {"rolesAdded": ["a"]},
            {"rolesAdded": ["b"], "rolesTaken": ["a"]},
        ]

    def test_a_past_membership_is_remembered_and_told_once(self, command: Command) -> None:
        past = DIRECTORY[-1]

        command.must("import", "-", stdin=as_text([past, past]))
        command.must("import", "-", stdin=as_text([past]))

        assert [line for line in command.must("export", "-").objects if line["kind"] == "past"] == [past]
        assert [event.type for event in events(command, "bob")] == ["member.remembered"]


@ONLY_SQLITE
@pytest.mark.parametrize("verb", ["import", "export"])
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(command: Command, verb: str) -> None:
    outcome = command(verb, "nowhere/data.ndjson")

    assert outcome.code == 2
    assert outcome.err == "error: nowhere/data.ndjson: No such file or directory\n"


@ONLY_SQLITE
def test_memory_does_not_grow_with_the_number_of_records(command: Command) -> None:
    few, many = write_records(command, 2_000), write_records(command, 10_000)

    import_of_few = peak(lambda: command.must("import", few))
    import_of_many = peak(lambda: command.must("import", many))
    export_of_many = peak(lambda: command.must("export", "export.ndjson"))

    assert import_of_many < 1.5 * import_of_few
    assert export_of_many < import_of_few


def write_records(command: Command, count: int) -> str:
    steps = [step(f"step-{n}") for n in range(8)]
    with (command.folder / f"{count}.ndjson").open("wb") as file:
        for n in range(count):
            file.write(as_text([home_record(f"user-{count}-{n}", guidedChecklist=checklist(*steps))]))
    return file.name


def peak(work: Callable[[], object]) -> int:
    """The most memory that Python's objects had at a time, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_kind_is_imported_before_what_it_refers_to() -> None:
    assert KINDS.index("organization") < KINDS.index("enterprise") < KINDS.index("member")
    assert KINDS.index("role") < KINDS.index("member")
    assert KINDS.index("person") < KINDS.index("record")
