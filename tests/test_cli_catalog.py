"""Catalogs and checklists from the command line."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from milepost.checklists import service
from milepost.cli.terminal import OPERATOR
from milepost.directory.service import Context
from milepost.domain.contract import Track
from milepost.domain.tracks import Decision
from milepost.edge import new_id, now
from milepost.store.database import Database
from tests.command import Command, ready


def step(step_id: str, order: int = 10, **members: Any) -> dict[str, Any]:
    return {
        "stepId": step_id,
        "title": f"Title of {step_id}",
        "description": "What to do",
        "ctaLabel": "Go",
        "ctaRoute": f"/{step_id}",
        "sortOrder": order,
    } | members


FIRST = [step("profile"), step("pair", 20, completeWhen="signals['paired'].count > 0", roles=["clerk"])]
SECOND = [step("profile", title="Your profile", skippable=False), step("route", 30)]

FAULTY = """\
name: Onboarding
steps:
  - stepId: profile
    title: no
    description: What to do
    ctaLabel: Go
    sortOrder: first
"""


def file_of(command: Command, *steps: dict[str, Any], name: str = "Onboarding", **members: Any) -> str:
    """The name of a file with a catalog."""
    (command.folder / "catalog.json").write_text(json.dumps({"name": name, "steps": steps, **members}))
    return "catalog.json"


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its heading."""
    return [re.split(r" +(?=20..-)| {2,}|(?<=Z) ", line.strip()) for line in text.splitlines()[1:]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return ready(tmp_path, f"sqlite:///{tmp_path / 'milepost.db'}")


@pytest.fixture
def acme(command: Command) -> Command:
    """An organization with two versions of a catalog of its own."""
    command.must("org", "put", "acme", "--name", "Acme")
    for steps in (FIRST, SECOND):
        command.must("catalog", "publish", file_of(command, *steps), "--org", "acme")
    return command


class TestCheck:
    def test_a_sound_file_is_one_line_and_needs_no_database(self, tmp_path: Path) -> None:
        command = Command(tmp_path, "postgresql://nobody@127.0.0.1:1/nothing")

        outcome = command.must("catalog", "check", file_of(command, *FIRST))

        assert outcome.out == "catalog.json: the catalog is sound, with 2 steps.\n"

    def test_every_fault_is_told_with_its_place(self, command: Command) -> None:
        (command.folder / "faulty.yaml").write_text(FAULTY)

        outcome = command("catalog", "check", "faulty.yaml")

        told = outcome.out.splitlines()
        assert outcome.code == 1
        assert told[1].startswith("faulty.yaml:4:12: /steps/0/title no is a boolean")
        assert told[2].startswith("faulty.yaml:7:16: /steps/0/sortOrder must be")
        assert len(told) == 3
        assert outcome.err == "error: faulty.yaml: 3 faults found\n"

    def test_warnings_are_told_and_do_no_harm(self, command: Command) -> None:
        outcome = command.must("catalog", "check", file_of(command, step("profile"), languages=["en", "sv"]))

        warning, summary = outcome.out.splitlines()
        assert re.match(r"catalog\.json:1:\d+: warning: /steps/0\S* there is no title", warning)
        assert summary.endswith("with 1 step; 1 warning.")

    def test_names_cannot_give_commands_to_the_terminal(self, command: Command) -> None:
        outcome = command("catalog", "check", "-", stdin=b'{"name": "x", "steps": [], "\\u001b[31m\\n": 1}')

        assert outcome.code == 1
        assert len(outcome.out.splitlines()) == 1
        assert r"/\x1b[31m\n is not a known member" in outcome.out

    def test_a_file_that_is_not_there_is_said(self, command: Command) -> None:
        outcome = command("catalog", "check", "nowhere.yaml")

        assert (outcome.code, outcome.err) == (2, "error: nowhere.yaml: No such file or directory\n")


class TestPublish:
    def test_it_says_which_version_is_current(self, command: Command) -> None:
        everybody = "all organizations without a catalog of their own"

        first = command.must("catalog", "publish", file_of(command, *FIRST))
        again = command.must("catalog", "publish", file_of(command, *FIRST))
        second = command.must("catalog", "publish", file_of(command, *SECOND))

        assert first.err == f"Version 1 is published, and current for {everybody}.\n"
        assert again.err == f"Nothing has changed: version 1 is the same and current for {everybody}.\n"
        assert second.err == f"Version 2 is published, and current for {everybody}.\n"

    def test_a_file_with_faults_is_not_published(self, command: Command) -> None:
        outcome = command("catalog", "publish", file_of(command, step("profile"), step("profile")))

        assert outcome.code == 1
        assert "profile is already the stepId of step 1" in outcome.err
        assert rows(command.must("catalog", "list").out) == []

    @pytest.mark.parametrize(("org", "code"), [("", 2), ("nobody", 1)])
    def test_it_takes_an_organization_that_is_there(self, command: Command, org: str, code: int) -> None:
        outcome = command("catalog", "publish", file_of(command, *FIRST), "--org", org)

        assert outcome.code == code
        assert rows(command.must("catalog", "list").out) == []


class TestVersions:
    def test_list_shows_the_newest_first_and_the_current_one(self, acme: Command) -> None:
        newest, oldest = rows(acme.must("catalog", "list", "--org", "acme").out)

        assert (newest[:2], newest[-1]) == (["2", "current"], "user:operator")
        assert oldest[0] == "1"
        assert "current" not in oldest

    def test_a_list_of_many_pages_is_whole(self, acme: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("milepost.cli.catalog.PAGE", 1)

        assert len(rows(acme.must("catalog", "list", "--org", "acme").out)) == 2

    def test_show_prints_what_can_be_published_again(self, acme: Command) -> None:
        shown = acme.must("catalog", "show", "--org", "acme", "--version", "1")

        assert [each["stepId"] for each in json.loads(shown.out)["steps"]] == ["profile", "pair"]
        acme.must("catalog", "publish", "-", "--org", "acme", stdin=shown.out.encode())
        assert acme.must("catalog", "show", "--org", "acme").out == shown.out

    def test_use_rolls_back(self, acme: Command) -> None:
        outcome = acme.must("catalog", "use", "1", "--org", "acme")

        assert outcome.err == "Version 1 is current for acme.\n"
        assert "pair" in acme.must("catalog", "show", "--org", "acme").out

    @pytest.mark.parametrize(
        "arguments", [("use", "9"), ("show", "--version", "9"), ("diff", "1", "9"), ("use", str(2**53))]
    )
    def test_a_version_that_is_not_there_is_said(self, acme: Command, arguments: tuple[str, ...]) -> None:
        outcome = acme("catalog", *arguments, "--org", "acme")

        assert outcome.code == 1
        assert re.fullmatch(r"error: There is no version \d+ of this catalog\.\n", outcome.err)

    def test_where_nothing_is_published_nothing_is_shown(self, command: Command) -> None:
        outcome = command("catalog", "show")

        assert (outcome.code, outcome.err) == (1, "error: No catalog is published here yet.\n")


class TestDiff:
    def test_it_tells_what_was_added_removed_and_changed(self, acme: Command) -> None:
        outcome = acme.must("catalog", "diff", "1", "2", "--org", "acme")

        assert rows(outcome.out) == [
            ["removed", "pair"],
            ["changed", "profile", "title, skippable"],
            ["added", "route"],
        ]

    def test_it_tells_what_changed_of_the_catalog_itself(self, acme: Command) -> None:
        renamed = file_of(acme, *reversed(SECOND), name="Welcome", languages=["sv"])
        acme.must("catalog", "publish", renamed, "--org", "acme")

        outcome = acme.must("catalog", "diff", "2", "3", "--org", "acme")

        assert rows(outcome.out) == [["changed", "-", "name, languages, order of steps"]]

    def test_versions_that_say_the_same_are_no_failure(self, acme: Command) -> None:
        outcome = acme.must("catalog", "diff", "2", "2", "--org", "acme")

        assert (outcome.out, outcome.err) == ("", "Versions 2 and 2 say the same.\n")


def test_the_schema_is_json(tmp_path: Path) -> None:
    schema = json.loads(Command(tmp_path, "sqlite:///none.db").must("catalog", "schema").out)

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert not (tmp_path / "none.db").exists()


class TestExplain:
    @pytest.fixture
    def ada(self, acme: Command) -> Command:
        """A user with a checklist of the first version."""
        acme.must("catalog", "use", "1", "--org", "acme")
        acme.must("member", "put", "ada", "--org", "acme")
        asyncio.run(initialize(acme.database, "ada", "acme"))
        return acme

    def test_it_says_of_each_step_why_it_is_there_or_not(self, ada: Command) -> None:
        outcome = ada.must("checklist", "explain", "ada", "--org", "acme")

        assert outcome.err == "ada is on track A in acme with no role; its own catalog, version 1.\n"
        assert rows(outcome.out) == [
            ["profile", "shown", "UP_NEXT", "it is for everyone"],
            ["pair", "not generated", "it is for clerk, which the user does not hold; its condition is not met"],
        ]

    def test_scripts_get_one_object(self, ada: Command) -> None:
        (told,) = ada.must("checklist", "explain", "ada", "--org", "acme", "--json").objects

        assert (told["userId"], told["orgId"], told["catalogVersion"]) == ("ada", "acme", 1)
        assert [each["outcome"] for each in told["steps"]] == ["shown", "not_generated"]

    def test_where_there_is_no_checklist_that_is_said(self, acme: Command) -> None:
        outcome = acme("checklist", "explain", "bob", "--org", "acme")

        assert outcome.code == 1
        assert outcome.err == "error: There is no checklist yet; initialize makes one.\n"


async def initialize(url: str, user_id: str, org_id: str) -> None:
    """Make a user's checklist."""
    database = Database(make_url(url))
    context = Context(OPERATOR, now(), new_id)
    try:
        await database.write(
            lambda connection: service.initialize(
                connection, context, user_id, org_id, service.Wish(), lambda _: Decision(Track.A, "test", "always")
            )
        )
    finally:
        await database.close()
