"""Bad lines of an import: each is told with its number, the place and the reason, and the rest is imported."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection

from milepost.cli import importing
from milepost.transfer.lines import MAX_LINE
from tests.arrange import checklist, record, step
from tests.command import Command, ready
from tests.ndjson import (
    DATA,
    DIRECTORY,
    ONBOARDING,
    ONLY_SQLITE,
    Json,
    as_text,
    catalog,
    home_record,
    on,
    organizations,
    stored,
)


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


def said_of(stderr: str, line: int) -> list[str]:
    """What was said of a line."""
    start = f"line {line}: "
    return [said.removeprefix(start) for said in stderr.splitlines() if said.startswith(start)]


BAD_LINES = {
    "no JSON": ("{", "The JSON cannot be read at column 1"),
    "no object": ("[]", "/kind: must be one of organization"),
    "no kind": ('{"orgId": "acme"}', "/kind: must be one of organization"),
    "an unknown kind": ('{"kind": "organisation"}', "/kind: must be one of organization"),
    "an unknown member": ('{"kind": "organization", "orgId": "x", "naem": "X"}', "/naem: is not a known member"),
    "no track": (
        json.dumps(home_record("x", guidedChecklist=checklist(track="C"))),
        "/properties/guidedChecklist/track: must be one of A, B",
    ),
    "a step twice": (
        json.dumps(home_record("x", guidedChecklist=checklist(step("a"), step("a")))),
        "/properties/guidedChecklist/steps/1/stepId: is used by an earlier step",
    ),
    "a record from the future": (
        json.dumps(home_record("x", createdDate="2999-01-01T00:00:00Z")),
        "/properties/createdDate: must not lie in the future",
    ),
    "a record of no organization": (
        json.dumps({"kind": "record", "orgId": "nowhere", "properties": record("x")}),
        "/orgId: names no organization",
    ),
    "an enterprise of no organization": (
        '{"kind": "enterprise", "orgId": "nowhere", "enterpriseId": "e", "name": "E"}',
        "/orgId: names no organization",
    ),
    "an enterprise that is elsewhere": (
        '{"kind": "enterprise", "orgId": "zenith", "enterpriseId": "north", "name": "E"}',
        "Another organization has an enterprise of this id",
    ),
    "a member of no organization": (
        '{"kind": "member", "orgId": "nowhere", "userId": "x"}',
        "/orgId: names no organization",
    ),
    "a member with an undefined role": (
        '{"kind": "member", "orgId": "acme", "userId": "x", "roles": ["clerk", "king"]}',
        "/roles/1: is no role of this organization",
    ),
    "a member in a foreign enterprise": (
        '{"kind": "member", "orgId": "acme", "userId": "x", "enterprises": ["south"]}',
        "/enterprises/0: is no enterprise of this organization",
    ),
    "another internal id": (
        '{"kind": "person", "userId": "ada", "id": "0194cab7-54c0-70c6-a6a3-000000000000"}',
        "/id: must be the id that the user has",
    ),
    "a past that has not ended": (
        json.dumps(DIRECTORY[-1] | {"until": "2999-01-01T00:00:00Z"}),
        "/until: must lie after since, and not in the future",
    ),
}
CATALOG: Json = {"kind": "catalog", "orgId": "acme", "version": 3, "catalog": catalog("a")}
SIGNAL, _, SHARED, _ = ONBOARDING
RECORD: Json = {"kind": "record", "orgId": "acme", "properties": record("x", guidedChecklist=checklist(step("a")))}
BAD_LINES |= {
    what: (json.dumps(line), expected)
    for what, line, expected in [
        (
            "a catalog whose condition does not compile",
            CATALOG | {"catalog": catalog("a", completeWhen="signals['a'].count >")},
            "/catalog/steps/0/completeWhen: ",
        ),
        (
            "a catalog that has a step twice",
            CATALOG | {"catalog": catalog("a", "a")},
            "/catalog/steps/1/stepId: a is already the stepId of step 1",
        ),
        (
            "a catalog that breaks its schema",
            CATALOG | {"catalog": catalog("a", sortOrder="first")},
            "/catalog/steps/0/sortOrder: must be an integer",
        ),
        ("a catalog without a version", CATALOG | {"version": 0}, "/version: must be an integer at least 1"),
        (
            "a catalog of no organization",
            CATALOG | {"orgId": "nowhere"},
            "/orgId: names no organization",
        ),
        (
            "a version that says something else",
            CATALOG | {"version": 1},
            "/version: is published already and says something else",
        ),
        (
            "a catalog from the future",
            CATALOG | {"publishedAt": "2999-01-01T00:00:00Z"},
            "/publishedAt: must not lie in the future",
        ),
        ("a signal of no organization", SIGNAL | {"orgId": "nowhere"}, "/orgId: names no organization"),
        (
            "a signal for everyone by mistake",
            SIGNAL | {"subject": ""},
            "/subject: must be a string of length at least 1",
        ),
        (
            "a signal from the future",
            SIGNAL | {"time": "2999-01-01T00:00:00Z"},
            "/time: must not lie in the future",
        ),
        (
            "a signal before all years",
            SIGNAL | {"time": "0001-01-01T00:00:00+01:00"},
            "/time: must lie in the years 1 to 9999 in UTC",
        ),
        ("a step done for no organization", SHARED | {"orgId": "nowhere"}, "/orgId: names no organization"),
        (
            "a step done for a foreign enterprise",
            SHARED | {"enterpriseId": "south"},
            "/enterpriseId: is no enterprise of this organization",
        ),
        (
            "evidence by somebody without a uuid",
            SHARED | {"evidence": {"how": "person", "at": "2025-01-01T00:00:00Z", "by": "ada"}},
            "/evidence/by: must be",
        ),
        (
            "a step done for all without a word on its evidence",
            {name: value for name, value in SHARED.items() if name != "evidence"},
            "/evidence: is required",
        ),
        (
            "a step done for all in two places",
            SHARED | {"evidence": {"how": "person", "at": "2025-01-01T00:00:00Z", "enterpriseId": "north"}},
            "/evidence/enterpriseId: is what the line says beside its evidence",
        ),
        (
            "evidence that counts somewhere but for nobody else",
            RECORD
            | {
                "progress": {
                    "version": 1,
                    "evidence": {"a": {"how": "person", "at": "2025-01-01T00:00:00Z", "enterpriseId": "north"}},
                }
            },
            "/progress/evidence/a/enterpriseId: stands only beside shared: true",
        ),
        (
            "progress of a version that is not there",
            RECORD | {"progress": {"orgId": "acme", "version": 9}},
            "/progress/version: names no version of the catalog",
        ),
        (
            "progress of another organization's catalog",
            RECORD | {"progress": {"orgId": "zenith", "version": 1}},
            "/progress/orgId: must be the record's orgId",
        ),
        (
            "progress beside a home record",
            home_record("x", guidedChecklist=checklist(step("a"))) | {"progress": {"version": 1}},
            "/progress: stands only beside the guidedChecklist of an organization",
        ),
        (
            "progress with unknown members",
            RECORD | {"progress": {"version": 1, "evidense": {}}},
            "/progress/evidense: is not a known member",
        ),
        (
            "evidence without a time",
            RECORD | {"progress": {"version": 1, "evidence": {"a": {"how": "person"}}}},
            "/progress/evidence/a/at: is required",
        ),
        (
            "evidence from the future",
            RECORD | {"progress": {"version": 1, "evidence": {"a": {"how": "person", "at": "2999-01-01T00:00:00Z"}}}},
            "/progress/evidence/a/at: must not lie in the future",
        ),
    ]
}


class TestBadLines:
    @pytest.mark.parametrize("what", BAD_LINES)
    def test_a_bad_line_is_reported_and_its_neighbours_are_imported(self, command: Command, what: str) -> None:
        text, expected = BAD_LINES[what]
        command.must("import", "-", stdin=as_text(DIRECTORY))

        outcome = command(
            "import",
            "-",
            stdin=as_text([home_record("before")]) + text.encode() + b"\n" + as_text([home_record("after")]),
        )

        assert outcome.code == 1
        assert said_of(outcome.err, 2)[0].startswith(expected)
        assert outcome.err.splitlines()[-1] == "Imported 2 records; 1 bad line left out."
        assert stored(command, "before")
        assert stored(command, "after")

    @ONLY_SQLITE
    def test_every_fault_of_a_line_is_told(self, command: Command) -> None:
        outcome = command("import", "-", stdin=b'{"kind": "role", "orgId": "", "admin": 1}\n')

        assert [said.partition(":")[0] for said in said_of(outcome.err, 1)] == ["/orgId", "/admin", "/role", "/title"]

    @ONLY_SQLITE
    def test_a_line_that_is_too_long_is_left_out(self, command: Command) -> None:
        long = b" " * MAX_LINE + b"x\n"

        outcome = command("import", "-", stdin=long + as_text([home_record("after")]))

        assert said_of(outcome.err, 1) == [f"A line may have at most {MAX_LINE:,} bytes."]
        assert stored(command, "after")

    @ONLY_SQLITE
    def test_attributes_must_fit_the_operators_schema(self, command: Command) -> None:
        (command.folder / "schema.json").write_text('{"properties": {"seats": {"type": "integer"}}}')

        outcome = command(
            "import",
            "-",
            stdin=as_text([home_record("ada", attributes={"seats": "many"})]),
            MILEPOST_ATTRIBUTES_SCHEMA="schema.json",
        )

        assert said_of(outcome.err, 1) == ["/properties/attributes/seats: must be an integer"]

    @ONLY_SQLITE
    def test_a_line_may_come_before_those_it_refers_to(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(list(reversed(DATA))))

        assert command.must("export", "-").objects == DATA

    @ONLY_SQLITE
    def test_blank_lines_and_a_byte_order_mark_are_nothing(self, command: Command) -> None:
        command.must("import", "-", stdin=b"\xef\xbb\xbf" + as_text([home_record("ada")]) + b"\r\n\n")

        assert stored(command, "ada")

    @ONLY_SQLITE
    def test_only_the_first_faults_are_printed_and_all_are_written_where_asked(self, command: Command) -> None:
        bad = b"{}\n" * (importing.SHOWN + 20)

        outcome = command("import", "-", "--errors", "errors.ndjson", stdin=bad)

        written = [json.loads(line) for line in (command.folder / "errors.ndjson").read_text().splitlines()]
        assert outcome.err.count("line ") == importing.SHOWN
        assert "... and 20 more faults" in outcome.err
        assert [each["line"] for each in written] == list(range(1, importing.SHOWN + 21))
        assert written[0]["name"] == "invalid_body"
        assert written[0]["errors"][0]["pointer"] == "/kind"

    @ONLY_SQLITE
    def test_a_line_cannot_command_the_terminal(self, command: Command) -> None:
        outcome = command("import", "-", stdin=json.dumps({"kind": "person", "\x1b[2J": 1}).encode())

        assert "\x1b" not in outcome.err
        assert r"/\x1b[2J" in outcome.err

    def test_a_line_that_the_database_refuses_loses_no_neighbour(self, command: Command) -> None:
        on(command, refuse_organizations_named_refused)
        lines = organizations(20)
        lines[7]["name"] = "refused"

        outcome = command("import", "-", stdin=as_text(lines))

        assert outcome.code == 1
        assert said_of(outcome.err, 8)[0].startswith("The database refuses the line: ")
        assert command.must("export", "-").objects == lines[:7] + lines[8:]


def refuse_organizations_named_refused(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ALTER TABLE organizations ADD CHECK (name <> 'refused')")
    else:
        connection.exec_driver_sql(
            "CREATE TRIGGER refusing BEFORE INSERT ON organizations WHEN NEW.name = 'refused' "
            "BEGIN SELECT RAISE(ABORT, 'no such name'); END"
        )
