"""The versions of the schema: upgrading, what a server refuses to start on, and that no password shows."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from milepost.store import versions
from milepost.store.schema import REVISION, metadata
from tests.calls import directly
from tests.conftest import start_service
from tests.postgres import free_port


def set_version(revision: str) -> Callable[[Connection], None]:
    def stored(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})

    return stored


def command(url: str, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """The command, started in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    return subprocess.Popen(
        [sys.executable, "-m", "milepost", *arguments],
        cwd=folder,
        env=environment | {"MILEPOST_DATABASE": url, "MILEPOST_PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and all that it printed."""
    printed, _ = process.communicate(timeout=60)
    return process.returncode, printed


class TestMigrations:
    def test_the_newest_is_the_one_that_this_code_works_with(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(versions.MIGRATIONS))

        assert ScriptDirectory.from_config(config).get_heads() == [REVISION]

    def test_they_lead_to_exactly_the_tables_of_the_schema(self, database_url: str) -> None:
        def differences(connection: Connection) -> list[Any]:
            options = {"compare_type": True, "compare_server_default": True}
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

        directly(database_url, versions.upgrade)

        assert directly(database_url, differences) == []

    def test_upgrading_again_changes_nothing(self, database_url: str) -> None:
        assert directly(database_url, versions.upgrade) is None
        assert directly(database_url, versions.upgrade) == REVISION
        assert directly(database_url, versions.check) is None

    def test_an_upgrade_that_fails_leaves_nothing(self, database_url: str) -> None:
        def fail(connection: Connection) -> None:
            versions.upgrade(connection)
            raise LookupError

        with pytest.raises(LookupError):
            directly(database_url, fail)

        assert directly(database_url, lambda connection: inspect(connection).get_table_names()) == []

    def test_processes_that_upgrade_at_once_all_succeed(self, database_url: str, tmp_path: Path) -> None:
        upgrades = [command(database_url, tmp_path, "db", "upgrade") for _ in range(3)]

        assert [ended(process)[0] for process in upgrades] == [0, 0, 0]
        assert directly(database_url, versions.current) == REVISION

    def test_the_tables_of_something_else_are_left_alone(self, database_url: str) -> None:
        directly(database_url, lambda connection: connection.execute(text("CREATE TABLE roles (name text)")))

        with pytest.raises(versions.WrongSchema, match=r"tables of something else \(roles\)"):
            directly(database_url, versions.upgrade)


class TestServing:
    def test_sqlite_is_upgraded_on_start_even_while_another_process_does_so(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'milepost.db'}"
        another = command(url, tmp_path, "db", "stats")

        with start_service(url, tmp=tmp_path):
            assert ended(another)[0] == 0
            assert directly(url, versions.current) == REVISION

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_postgresql_is_not(self, database_url: str, tmp_path: Path) -> None:
        code, printed = ended(command(database_url, tmp_path, "serve"))

        assert code == 4
        assert "has no schema yet; run `milepost db upgrade`" in printed

    def test_a_newer_schema_stops_a_server(self, database_url: str, tmp_path: Path) -> None:
        directly(database_url, versions.upgrade)
        directly(database_url, set_version("9999"))

        code, printed = ended(command(database_url, tmp_path, "serve"))

        assert code == 4
        assert f"schema 9999, newer than the {REVISION}" in printed

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_an_older_schema_stops_a_server(self, database_url: str, tmp_path: Path) -> None:
        directly(database_url, versions.upgrade)
        directly(database_url, set_version("0000"))

        code, printed = ended(command(database_url, tmp_path, "serve"))

        assert code == 4
        assert f"schema 0000, older than {REVISION}; run `milepost db upgrade`" in printed

    def test_a_server_whose_schema_is_upgraded_meanwhile_says_that_it_is_not_ready(
        self, database_url: str, tmp_path: Path
    ) -> None:
        with start_service(database_url, tmp=tmp_path) as service, service.client() as client:
            directly(database_url, set_version("9999"))

            answer = client.get("/health/ready")

        assert answer.status_code == 503
        assert "newer" in answer.json()["detail"]


class TestPassword:
    SECRET = "correct-horse"

    def test_it_does_not_show_where_a_server_cannot_be_reached(self, tmp_path: Path) -> None:
        url = f"postgresql://milepost:{self.SECRET}@127.0.0.1:{free_port()}/milepost"

        outcomes = [ended(command(url, tmp_path, *verb)) for verb in [("serve",), ("db", "check"), ("db", "upgrade")]]

        assert [code for code, _ in outcomes[:2]] == [5, 5]
        for code, printed in outcomes:
            assert code != 0
            assert "cannot be reached" in printed
            assert self.SECRET not in printed
            assert "Traceback" not in printed

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_neither_it_nor_any_data_shows_in_the_log_of_a_failure(self, database_url: str, tmp_path: Path) -> None:
        url = database_url.replace("@", f":{self.SECRET}@")
        with start_service(url, tmp=tmp_path) as service:
            client = service.client(service.token("jane.doe", platform_admin=True))
            directly(
                database_url, lambda connection: connection.execute(text("ALTER TABLE organizations RENAME TO hidden"))
            )

            answer = client.put("/api/usermanagement/v1/organizations/acme", json={"name": "Acme of Jane"})

            assert answer.status_code == 500
        log = service.log.read_text()
        assert "request.failed" in log
        assert not [secret for secret in (self.SECRET, "jane.doe", "acme", "Acme") if secret in log]
