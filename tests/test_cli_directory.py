"""The directory from the command line: organizations, enterprises, roles and members."""

import re
from pathlib import Path

import pytest

from tests.command import Command, ready
from tests.ndjson import ONLY_SQLITE


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


@pytest.fixture
def acme(command: Command) -> Command:
    """An organization with two roles and an enterprise."""
    command.must("org", "put", "acme", "--name", "Acme")
    command.must("role", "put", "clerk", "--org", "acme", "--title", "Clerk")
    command.must("role", "put", "owner", "--org", "acme", "--title", "Owner", "--admin")
    command.must("enterprise", "put", "north", "--org", "acme", "--name", "North")
    return command


class TestOrganizations:
    def test_put_creates_and_then_replaces(self, command: Command) -> None:
        created = command.must("org", "put", "acme", "--name", "Acme")
        replaced = command.must("org", "put", "acme", "--name", "Acme & Sons", "--json")

        assert created.err == "The organization acme is created.\n"
        assert replaced.objects == [{"orgId": "acme", "name": "Acme & Sons"}]

    def test_get_shows_one(self, acme: Command) -> None:
        assert acme.must("org", "get", "acme").out.split() == ["organization", "name", "acme", "Acme"]
        assert acme.must("org", "get", "acme", "--json").objects == [{"orgId": "acme", "name": "Acme"}]

    def test_list_shows_all(self, acme: Command) -> None:
        acme.must("org", "put", "zenith", "--name", "Zenith")

        assert [org["orgId"] for org in acme.must("org", "list", "--json").objects] == ["acme", "zenith"]
        assert "zenith" in acme.must("org", "list").out

    def test_delete_takes_everything_along(self, acme: Command) -> None:
        acme.must("member", "put", "ada", "--org", "acme", "--role", "clerk")

        acme.must("org", "delete", "acme")

        assert acme("org", "get", "acme").code == 1
        assert acme.must("org", "list", "--json").objects == []
        assert acme.must("db", "check").code == 0

    @ONLY_SQLITE
    def test_a_list_of_many_pages_is_whole(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("milepost.cli.directory.PAGE", 2)
        for n in range(5):
            command.must("org", "put", f"org-{n}", "--name", "An organization")

        assert len(command.must("org", "list", "--json").objects) == 5


class TestEnterprises:
    def test_put_get_list_delete(self, acme: Command) -> None:
        north = {"enterpriseId": "north", "orgId": "acme", "name": "North"}

        assert acme.must("enterprise", "get", "north", "--org", "acme", "--json").objects == [north]
        assert acme.must("enterprise", "list", "--org", "acme", "--json").objects == [north]
        assert acme.must("enterprise", "delete", "north", "--org", "acme").err == "The enterprise north is deleted.\n"
        assert acme("enterprise", "get", "north", "--org", "acme").code == 1

    def test_one_that_is_elsewhere_cannot_be_put(self, acme: Command) -> None:
        acme.must("org", "put", "zenith", "--name", "Zenith")

        outcome = acme("enterprise", "put", "north", "--org", "zenith", "--name", "North")

        assert outcome.code == 1
        assert outcome.err.startswith("error: Another organization has an enterprise of this id")


class TestRoles:
    def test_put_get_list_delete(self, acme: Command) -> None:
        owner = {"role": "owner", "orgId": "acme", "title": "Owner", "admin": True}

        assert acme.must("role", "get", "owner", "--org", "acme", "--json").objects == [owner]
        assert [role["admin"] for role in acme.must("role", "list", "--org", "acme", "--json").objects] == [False, True]
        assert acme.must("role", "delete", "owner", "--org", "acme").err == "The role owner is deleted.\n"
        assert acme("role", "delete", "owner", "--org", "acme").code == 1


class TestMembers:
    def roles_of(self, command: Command, user: str) -> list[str]:
        (member,) = command.must("member", "get", user, "--org", "acme", "--json").objects
        return list(member["roles"])

    def test_put_replaces_roles_and_enterprises(self, acme: Command) -> None:
        acme.must(
            "member", "put", "ada", "--org", "acme", "--role", "clerk", "--role", "owner", "--enterprise", "north"
        )
        acme.must("member", "put", "ada", "--org", "acme", "--role", "owner")

        (member,) = acme.must("member", "get", "ada", "--org", "acme", "--json").objects
        assert member["roles"] == ["owner"]
        assert member["enterprises"] == []

    def test_grant_makes_a_member_and_adds_a_role(self, acme: Command) -> None:
        acme.must("member", "grant", "ada", "--org", "acme", "--role", "clerk")
        acme.must("member", "grant", "ada", "--org", "acme", "--role", "owner")

        assert self.roles_of(acme, "ada") == ["clerk", "owner"]

    def test_revoke_takes_one_role(self, acme: Command) -> None:
        acme.must("member", "put", "ada", "--org", "acme", "--role", "clerk", "--role", "owner")

        acme.must("member", "revoke", "ada", "--org", "acme", "--role", "owner")

        assert self.roles_of(acme, "ada") == ["clerk"]

    def test_a_role_that_is_not_held_cannot_be_revoked(self, acme: Command) -> None:
        acme.must("member", "put", "ada", "--org", "acme", "--role", "clerk")

        outcome = acme("member", "revoke", "ada", "--org", "acme", "--role", "owner")

        assert (outcome.code, outcome.err) == (1, "error: ada does not hold owner; held: clerk\n")

    def test_a_role_that_is_not_defined_cannot_be_held(self, acme: Command) -> None:
        outcome = acme("member", "put", "ada", "--org", "acme", "--role", "king")

        assert outcome.code == 1
        assert "/roles/0: is no role of this organization" in outcome.err

    def test_the_list_can_be_filtered(self, acme: Command) -> None:
        acme.must("member", "put", "ada", "--org", "acme", "--role", "owner")
        acme.must("member", "put", "bob", "--org", "acme", "--role", "clerk", "--enterprise", "north")

        def listed(*filters: str) -> list[str]:
            return [
                member["userId"] for member in acme.must("member", "list", "--org", "acme", "--json", *filters).objects
            ]

        assert listed() == ["ada", "bob"]
        assert listed("--role", "owner") == ["ada"]
        assert listed("--enterprise", "north") == ["bob"]

    def test_delete_ends_the_membership(self, acme: Command) -> None:
        acme.must("member", "put", "ada", "--org", "acme")

        acme.must("member", "delete", "ada", "--org", "acme")

        assert acme("member", "delete", "ada", "--org", "acme").code == 1

    @ONLY_SQLITE
    def test_the_table_shows_what_a_membership_is_limited_to(self, acme: Command) -> None:
        acme.must("member", "put", "ada", "--org", "acme", "--role", "clerk", "--role", "owner")

        heading, row = acme.must("member", "list", "--org", "acme").out.splitlines()

        assert heading.split() == ["member", "organization", "roles", "enterprises", "since"]
        assert re.fullmatch(r"ada +acme +clerk, owner +all +\d{4}-\d\d-\d\d *", row)
