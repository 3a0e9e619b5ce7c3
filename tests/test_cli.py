"""The command: every verb, its exit codes, and what goes to which stream."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from typer import Typer

from milepost.cli import app
from milepost.store.schema import REVISION
from tests.command import Command, ready
from tests.ndjson import ONLY_SQLITE, on


def verbs(commands: Typer, *before: str) -> Iterator[list[str]]:
    """Every verb there is, as it is typed."""
    for each in commands.registered_commands:
        yield [*before, str(each.name)]
    for group in commands.registered_groups:
        assert group.typer_instance
        yield from verbs(group.typer_instance, *before, str(group.name))


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


@pytest.fixture
def alone(tmp_path: Path) -> Command:
    """The command on a database that does not exist yet."""
    return Command(tmp_path, f"sqlite:///{tmp_path / 'milepost.db'}")


class TestTokens:
    def test_the_token_stands_alone_on_standard_output(self, alone: Command) -> None:
        outcome = alone.must("token", "--user", "ada")

        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", outcome.out)
        assert outcome.err == ""

    def test_the_key_is_the_owners_alone(self, alone: Command) -> None:
        alone.must("token", "--user", "ada")

        assert (alone.folder / "milepost.key.pem").stat().st_mode & 0o777 == 0o600

    def test_none_is_made_where_others_issue_them(self, alone: Command) -> None:
        outcome = alone("token", "--user", "ada", MILEPOST_JWKS_URL="https://id.example.com/jwks.json")

        assert (outcome.code, outcome.out) == (3, "")
        assert "ask their issuer" in outcome.err

    @pytest.mark.parametrize("arguments", [[], ["--user", "ada", "--ttl", "0"], ["--user", "ada", "--ttl", "x"]])
    def test_wrong_usage_is_told(self, alone: Command, arguments: list[str]) -> None:
        assert alone("token", *arguments).code == 2


class TestKeys:
    def create(self, command: Command, *options: str) -> str:
        made = command.must("key", "create", "--label", "host app", "--scope", "properties:read", *options)
        assert re.fullmatch(r"mk_\w+_[\w-]+\n", made.out)
        return made.out.split("_")[1]

    def test_the_text_of_a_new_key_stands_alone_on_standard_output(self, command: Command) -> None:
        command.must("org", "put", "acme", "--name", "Acme")

        key_id = self.create(command, "--org", "acme")

        listed = command.must("key", "list").out
        assert re.search(rf"{key_id} +host app +properties:read +acme", listed)

    def test_a_key_is_revoked_once(self, command: Command) -> None:
        key_id = self.create(command)

        assert command.must("key", "revoke", key_id).err == f"Key {key_id} is revoked.\n"
        assert command("key", "revoke", key_id).code == 1

    @ONLY_SQLITE
    def test_an_unknown_scope_is_refused(self, command: Command) -> None:
        assert command("key", "create", "--label", "x", "--scope", "everything").code == 2


class TestDatabase:
    def test_upgrade_says_what_it_did(self, database_url: str, tmp_path: Path) -> None:
        command = Command(tmp_path, database_url)

        assert command.must("db", "upgrade").out == f"Upgraded from empty to {REVISION}.\n"
        assert command.must("db", "upgrade").out == f"The schema is up to date ({REVISION}).\n"

    def test_a_sound_database_passes_the_check(self, command: Command) -> None:
        assert command.must("db", "check").out == "The schema is right and the data is sound.\n"

    def test_an_unsound_database_fails_the_check(self, command: Command) -> None:
        command.must("org", "put", "acme", "--name", "Acme")
        command.must("member", "put", "ada", "--org", "acme")
        on(command, forget_people)

        outcome = command("db", "check")

        assert outcome.code == 1
        assert outcome.out == "1 members without an internal id\n"

    def test_stats_counts_rows(self, command: Command) -> None:
        command.must("org", "put", "acme", "--name", "Acme")

        counted = dict(line.split() for line in command.must("db", "stats").out.splitlines()[1:])

        assert (counted["organizations"], counted["roles"]) == ("1", "0")

    def test_a_newer_schema_is_told(self, command: Command) -> None:
        on(command, pretend_to_be_newer)

        outcome = command("org", "list")

        assert outcome.code == 4
        assert "newer release" in outcome.err

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_postgresql_is_not_upgraded_by_the_way(self, database_url: str, tmp_path: Path) -> None:
        outcome = Command(tmp_path, database_url)("org", "list")

        assert outcome.code == 4
        assert "run `milepost db upgrade` first" in outcome.err

    @pytest.mark.parametrize("verb", [["org", "list"], ["db", "check"], ["export", "-"], ["serve"]])
    def test_a_database_that_does_not_answer_is_told(self, tmp_path: Path, verb: list[str]) -> None:
        command = Command(tmp_path, "postgresql://milepost:secret@127.0.0.1:1/milepost")

        outcome = command(*verb, MILEPOST_PORT="0")

        assert outcome.code == 5
        assert outcome.err.splitlines()[-1].startswith("error: ")
        assert "secret" not in outcome.err


def forget_people(connection: Connection) -> None:
    connection.exec_driver_sql("DELETE FROM people")


def pretend_to_be_newer(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")


class TestSettings:
    def test_passwords_are_masked(self, alone: Command) -> None:
        shown = alone.must("settings", "--database", "postgresql://milepost:secret@db.example.com/milepost").out

        assert "postgresql://milepost:***@db.example.com/milepost" in shown
        assert "secret" not in shown

    def test_each_has_its_source(self, alone: Command) -> None:
        shown = alone.must("settings", "--database", "sqlite:///other.db", MILEPOST_PORT="9000").out

        assert re.search(r"^MILEPOST_DATABASE +sqlite:///other.db +flag ", shown, re.MULTILINE)
        assert re.search(r"^MILEPOST_PORT +9000 +environment ", shown, re.MULTILINE)
        assert re.search(r"^MILEPOST_HOST +127.0.0.1 +default ", shown, re.MULTILINE)

    def test_nothing_is_cut_where_it_is_no_terminal(self, alone: Command) -> None:
        long = "a" * 300

        assert long in alone.must("settings", "--database", f"sqlite:///{long}.db").out
        assert len(alone.must("settings").out.splitlines()) == alone.must("settings").out.count("MILEPOST_") + 1

    def test_brackets_are_no_commands(self, alone: Command) -> None:
        shown = alone.must("settings", "--database", "postgresql://db@[fe80::1]/milepost").out

        assert "[fe80::1]" in shown

    def test_a_variable_that_is_no_setting_is_warned_of(self, alone: Command) -> None:
        outcome = alone.must("settings", MILEPOST_DATABSE="sqlite:///x.db")

        assert outcome.err == "warning: MILEPOST_DATABSE is not a setting; `milepost settings` lists them\n"

    @pytest.mark.parametrize("verb", [["settings"], ["org", "list"], ["serve"], ["token", "--user", "ada"]])
    def test_a_setting_that_cannot_be_used_is_told(self, alone: Command, verb: list[str]) -> None:
        outcome = alone(*verb, MILEPOST_PORT="high")

        assert outcome.code == 3
        assert outcome.err.startswith("error: MILEPOST_PORT: ")


class TestServe:
    def test_a_port_that_is_taken_is_told(self, alone: Command) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            outcome = alone("serve", "--port", str(taken.getsockname()[1]))

        assert outcome.code == 3
        assert "choose another with --port" in outcome.err

    def test_a_schema_for_attributes_that_is_none_is_told(self, alone: Command) -> None:
        outcome = alone("serve", "--port", "0", MILEPOST_ATTRIBUTES_SCHEMA="nowhere.json")

        assert outcome.code == 3
        assert "MILEPOST_ATTRIBUTES_SCHEMA" in outcome.err


class TestUsage:
    def test_the_version_is_told(self, alone: Command) -> None:
        assert re.fullmatch(r"milepost \d+\.\d+\.\d+\S*\n", alone.must("--version").out)

    @pytest.mark.parametrize("verb", list(verbs(app)), ids=" ".join)
    def test_every_verb_explains_itself(self, alone: Command, verb: list[str]) -> None:
        assert f"Usage: milepost {' '.join(verb)}" in alone.must(*verb, "--help").out

    @pytest.mark.parametrize(
        "arguments", [["fly"], ["org", "fly"], ["org", "put"], ["org", "put", "acme"], ["org", "get", "a", "b"]]
    )
    def test_wrong_usage_is_told(self, alone: Command, arguments: list[str]) -> None:
        assert alone(*arguments).code == 2

    @pytest.mark.parametrize("identifier", ["", "a\tb", "x" * 256])
    def test_an_id_that_cannot_be_one_is_refused(self, alone: Command, identifier: str) -> None:
        assert alone("org", "put", identifier, "--name", "Acme").code == 2

    def test_an_argument_that_is_no_text_is_told(self, alone: Command) -> None:
        outcome = alone("org", "get", "\udcff")

        assert outcome.code == 2
        assert "not valid text" in outcome.err


def test_the_installed_command_answers_with_its_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "milepost", "org", "get", "acme", "--database", "sqlite:///milepost.db"]

    done = subprocess.run(command, cwd=tmp_path, env=surroundings(), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("error: There is no such organization")


def test_an_export_into_a_pipe_that_closes_ends_quietly(tmp_path: Path) -> None:
    command = Command(tmp_path, f"sqlite:///{tmp_path / 'milepost.db'}")
    lines = "".join(f'{{"kind":"organization","orgId":"org-{n:05}","name":"{"x" * 200}"}}\n' for n in range(5_000))
    command.must("import", "-", stdin=lines.encode())
    export = [sys.executable, "-m", "milepost", "export", "-", "--database", command.database]

    with subprocess.Popen(export, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=surroundings()) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert first.startswith(b'{"kind":"organization"')
    assert said == b""
    assert process.returncode == 1


def surroundings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}


def test_the_link_to_the_console_stands_alone_on_standard_output(alone: Command) -> None:
    outcome = alone.must("console", "--user", "tove", "--url", "https://milepost.example/")

    assert re.fullmatch(r"https://milepost\.example/console/sign-in\?code=[\w-]{43}\n", outcome.out)
    assert outcome.err == ""
