"""Checklists on the move: catalogs, signals, what was done for all, and evidence go out and come in unharmed."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from milepost.journal.queries import of_user
from milepost.store.integrity import statistics
from milepost.transfer import queries
from tests.arrange import BASE, Json, checklist, step
from tests.command import Command, ready
from tests.conftest import KINDS, Service, empty_database, start_service
from tests.ndjson import DATA, DIRECTORY, ONBOARDING, ONLY_SQLITE, RECORDS, as_text, catalog, on
from tests.test_checklists import CATALOG, Onboarding, accepted, definition, statuses

FIRST = {**CATALOG, "steps": [*CATALOG["steps"], definition("fleet", 80, roles=["owner"], scope="organization")]}
SECOND = {
    "name": "Second",
    "steps": [
        definition("profile", 10, title="Changed"),
        definition("pair", 20, completeWhen="signals['paired'].count > 0"),
    ],
}


@dataclass
class Move:
    """A service with onboarding under way, and another one, empty, on a database of the other kind."""

    world: Onboarding
    other: Service
    here: Command
    there: Command

    def explained(self, service: Service) -> Json:
        client = service.client(service.token(self.world.user_id))
        return accepted(client.get(f"{self.world.path}/guided-checklist/explain", params={"orgId": self.world.org_id}))

    def shown(self, service: Service, **headers: str) -> Any:
        client = service.client(service.token(self.world.user_id))
        return client.get(self.world.path, params={"orgId": self.world.org_id}, headers=headers)

    def refreshed(self, service: Service) -> Json:
        client = service.client(service.token(self.world.user_id))
        path = f"{self.world.path}/guided-checklist/refresh"
        return accepted(client.post(path, params={"orgId": self.world.org_id}))


@pytest.fixture(scope="module", params=KINDS)
def move(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Move]:
    """From SQLite to PostgreSQL, and back."""
    kind, other_kind = request.param, next(kind for kind in KINDS if kind != request.param)
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "there")]
    with ExitStack() as stack:
        urls = [
            stack.enter_context(empty_database(kind, folder, request.config))
            for kind, folder in zip((kind, other_kind), folders, strict=True)
        ]
        service, other = (
            stack.enter_context(start_service(url, tmp=folder)) for url, folder in zip(urls, folders, strict=True)
        )
        here, there = (ready(folder, url) for folder, url in zip(folders, urls, strict=True))
        world = onboarding_under_way(service)
        there.must("import", "-", stdin=here.must("export", "-").out.encode())
        yield Move(world, other, here, there)


def onboarding_under_way(service: Service) -> Onboarding:
    """Versions, of which the last is not current; signals of all sorts; steps done by proof, by hand, for all, and one
    that was taken back when two had stored it.
    """
    world = Onboarding(service)
    world.publish(FIRST)
    world.publish(SECOND)
    accepted(world.platform.put(f"{BASE}/organizations/{world.org_id}/catalog/current", json={"version": 2}))
    world.platform.put(f"{BASE}/catalog", json={"name": "For all", "steps": []})
    world.make_member(None, "dispatcher", "owner")
    colleague = world.another("owner")
    colleague.initialize()
    world.initialize()
    world.report("paired", time="2026-03-01T08:00:00.000001Z")
    world.report("paired", subject=None)
    colleague.complete("billing")
    colleague.complete("fleet")
    world.report("depot.opened", enterpriseid=world.enterprise_id)
    world.complete("profile")
    world.refresh()
    accepted(colleague.move("fleet", "UP_NEXT", world.platform))
    return world


def test_every_kind_of_line_is_in_the_export(move: Move) -> None:
    lines = move.here.must("export", "-").objects

    assert [line["current"] for line in lines if line["kind"] == "catalog"] == [True, False, True, False]
    assert [line.get("subject") for line in lines if line["kind"] == "signal"] == [
        None, move.world.user_id, move.world.user_id,
    ]  # fmt: skip
    shared = {line["stepId"]: line["evidence"] for line in lines if line["kind"] == "shared"}
    assert shared.keys() == {"billing", "depot", "fleet"}
    assert shared["fleet"] is None
    assert all("progress" in line for line in lines if line["kind"] == "record")


def test_what_came_is_exported_byte_for_byte(move: Move) -> None:
    assert move.there.must("export", "-").out == move.here.must("export", "-").out
    assert "sound" in move.there.must("db", "check").out


def test_the_evidence_is_the_same_and_a_refresh_changes_nothing(move: Move) -> None:
    before = move.explained(move.world.service)
    shown = move.shown(move.world.service)

    came = move.explained(move.other)
    shown_there = move.shown(move.other)
    refreshed = move.refreshed(move.other)

    evidence = {step["stepId"]: step["evidence"] for step in before["steps"] if "evidence" in step}
    assert {step_id: why["how"] for step_id, why in evidence.items()} == {
        "profile": "person", "pair": "signal", "billing": "person", "depot": "signal",
    }  # fmt: skip
    assert statuses(shown.json())["fleet"] == "UP_NEXT"
    assert came == before
    assert shown_there.json() == shown.json()
    assert shown_there.headers["etag"] == shown.headers["etag"]
    assert refreshed["guidedChecklist"]["steps"] == shown.json()["guidedChecklist"]["steps"]
    assert move.explained(move.other) == before


def counted(connection: Connection) -> dict[str, int]:
    """How many rows each table has, but for those that the service folds out of the journal meanwhile."""
    return {name: rows for name, rows in statistics(connection).items() if not name.startswith("funnel_")}


def test_importing_an_export_where_it_is_from_changes_nothing(move: Move) -> None:
    exported = move.here.must("export", "-").out
    before = on(move.here, counted)

    move.here.must("import", "-", stdin=exported.encode())

    assert move.here.must("export", "-").out == exported
    assert on(move.here, counted) == before


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


def told(command: Command, event_type: str) -> list[tuple[str, dict[str, object]]]:
    """The organization and data of each event of a type."""
    nobodys = on(command, lambda connection: of_user(connection, ""))
    return [(event.org_id, event.data) for event in nobodys if event.type == event_type]


def catalog_line(version: int, name: str = "Onboarding", **members: Any) -> Json:
    return {"kind": "catalog", "orgId": "acme", "version": version, "catalog": catalog("a", name=name)} | members


def versions(command: Command) -> list[tuple[int, bool]]:
    """The versions of Acme's catalog, and which of them is current."""
    return [
        (line["version"], line["current"])
        for line in command.must("export", "-").objects
        if line["kind"] == "catalog" and line["orgId"] == "acme"
    ]


class TestCatalogs:
    @pytest.fixture
    def command(self, command: Command) -> Command:
        command.must("org", "put", "acme", "--name", "Acme")
        return command

    def test_the_version_that_says_so_becomes_current(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([catalog_line(1, current=True), catalog_line(2)]))

        assert versions(command) == [(1, True), (2, False)]
        assert told(command, "catalog.imported") == [
            ("acme", {"version": 1, "current": True}),
            ("acme", {"version": 2, "current": False}),
        ]

    def test_what_is_current_stays_so_where_no_line_says_otherwise(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([catalog_line(1, current=True)]))

        command.must("import", "-", stdin=as_text([catalog_line(1), catalog_line(2)]))

        assert versions(command) == [(1, True), (2, False)]

    def test_a_known_version_can_be_made_current_and_is_otherwise_left_as_it_is(self, command: Command) -> None:
        both = [catalog_line(1, publisher="user:ada"), catalog_line(2, current=True)]
        command.must("import", "-", stdin=as_text(both))

        command.must("import", "-", stdin=as_text([catalog_line(1, current=True, publisher="user:bob")]))

        assert versions(command) == [(1, True), (2, False)]
        assert '"publisher":"user:ada"' in command.must("export", "-").out
        assert told(command, "catalog.imported")[-1] == ("acme", {"version": 1, "current": True})

    def test_the_next_version_that_is_published_has_the_next_number(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([catalog_line(7, current=True)]))
        (command.folder / "catalog.json").write_text('{"name": "Next", "steps": []}')

        command.must("catalog", "publish", "catalog.json", "--org", "acme")

        assert versions(command) == [(7, False), (8, True)]

    @ONLY_SQLITE
    def test_a_catalog_longer_than_its_file_may_be_is_carried_all_the_same(self, command: Command) -> None:
        # In YAML, without quotes, it is shorter.
        big = catalog_line(1, current=True)
        big["catalog"] |= catalog(*(f"step-{n}" for n in range(130)), description="x" * 9_000)
        for step_ in big["catalog"]["steps"]:
            step_["description"] = "x" * 9_000

        command.must("import", "-", stdin=as_text([big]))

        assert len(command.must("export", "-").out) > 1024 * 1024
        assert "sound" in command.must("db", "check").out

    @ONLY_SQLITE
    def test_a_database_with_a_catalog_alone_is_not_empty(self, command: Command) -> None:
        command.must("org", "delete", "acme")
        command.must("import", "-", stdin=as_text([DIRECTORY[6]]))

        assert not on(command, queries.is_empty)


class TestSignals:
    def test_one_event_tells_of_all_signals_of_an_organization(self, command: Command) -> None:
        signals = [ONBOARDING[0] | {"id": str(n), "type": f"type-{n % 2}"} for n in range(5)]
        elsewhere = ONBOARDING[0] | {"orgId": "zenith"}

        command.must("import", "-", stdin=as_text([*DIRECTORY, *signals, elsewhere]))

        assert told(command, "signals.imported") == [
            ("acme", {"signals": {"type-0": 3, "type-1": 2}}),
            ("zenith", {"signals": {"opened": 1}}),
        ]

    def test_a_signal_that_is_known_stays_as_it_is_and_is_not_told_of(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text([*DIRECTORY, ONBOARDING[0]]))

        command.must("import", "-", stdin=as_text([ONBOARDING[0] | {"type": "other"}, ONBOARDING[0]]))

        assert [line for line in command.must("export", "-").objects if line["kind"] == "signal"] == [ONBOARDING[0]]
        assert len(told(command, "signals.imported")) == 1

    def test_without_times_a_signal_is_of_now(self, command: Command) -> None:
        bare = {name: value for name, value in ONBOARDING[0].items() if name not in {"time", "received"}}

        command.must("import", "-", stdin=as_text([*DIRECTORY, bare]))

        (stored,) = (line for line in command.must("export", "-").objects if line["kind"] == "signal")
        assert stored["time"] == stored["received"]
        assert stored["received"] > "2026"


class TestShared:
    def test_who_did_a_step_first_has_done_it(self, command: Command) -> None:
        first, again = ONBOARDING[2], {**ONBOARDING[2], "evidence": {"how": "person", "at": "2025-05-05T00:00:00Z"}}
        command.must("import", "-", stdin=as_text([*DIRECTORY, first]))

        command.must("import", "-", stdin=as_text([again]))

        assert first in command.must("export", "-").objects
        assert told(command, "shared_steps.imported") == [("acme", {"steps": [{"enterpriseId": "", "stepId": "b"}]})]

    def test_a_step_that_was_taken_back_stays_so_whatever_an_older_export_says(self, command: Command) -> None:
        taken_back = {**ONBOARDING[2], "evidence": None}
        command.must("import", "-", stdin=as_text([*DIRECTORY, taken_back]))

        command.must("import", "-", stdin=as_text([ONBOARDING[2], taken_back]))

        assert [line for line in command.must("export", "-").objects if line["kind"] == "shared"] == [taken_back]
        assert told(command, "shared_steps.imported") == [("acme", {"steps": [{"enterpriseId": "", "stepId": "b"}]})]
        assert "sound" in command.must("db", "check").out

    def test_what_a_record_has_of_a_step_done_for_all_comes_with_where_that_was(self, command: Command) -> None:
        (line,) = (line for line in RECORDS if line["properties"]["userId"] == "ada")
        why = {"how": "person", "at": "2025-03-01T10:00:00Z", "shared": True}
        evidence = {"a": why | {"enterpriseId": "north"}, "b": why | {"enterpriseId": ""}, "c": why}
        copies = {**line, "progress": {**line["progress"], "evidence": evidence}}
        command.must("import", "-", stdin=as_text([*DIRECTORY, copies]))

        (came,) = (line for line in command.must("export", "-").objects if line["kind"] == "record")

        assert came["progress"]["evidence"] == evidence


class TestProgress:
    def test_a_line_without_progress_leaves_what_there_is(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(DATA))
        (line,) = (line for line in DATA if "progress" in line and line["properties"]["userId"] == "ada")
        newer = {name: value for name, value in line.items() if name != "progress"}
        newer["properties"] = {**line["properties"], "guidedChecklist": checklist(step("a"), step("z"))}

        command.must("import", "-", stdin=as_text([newer]))

        (stored,) = (
            found
            for found in command.must("export", "-").objects
            if found["kind"] == "record" and found["properties"]["userId"] == "ada"
        )
        assert len(stored["properties"]["guidedChecklist"]["steps"]) == 2
        assert stored["progress"] == line["progress"]

    def test_progress_alone_can_be_imported_later(self, command: Command) -> None:
        without = [{name: value for name, value in line.items() if name != "progress"} for line in DATA]
        command.must("import", "-", stdin=as_text(without))

        command.must("import", "-", stdin=as_text(DATA))

        came = [line.get("progress") for line in command.must("export", "-").objects if line["kind"] == "record"]
        assert came == [line.get("progress") for line in DATA if line["kind"] == "record"]
        assert "sound" in command.must("db", "check").out

    def test_what_others_did_for_all_is_no_change_of_the_record(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(DATA))
        before = on(command, counted)

        command.must("import", "-", stdin=as_text(DATA))

        assert on(command, counted) == before


@ONLY_SQLITE
def test_a_summary_names_each_kind(command: Command) -> None:
    assert (
        "Imported 2 organizations, 2 enterprises, 2 roles, 3 catalog versions, 2 people, 2 members, 1 past membership, "
        "2 signals, 2 steps done for all, 3 records." in command.must("import", "-", stdin=as_text(DATA)).err
    )
