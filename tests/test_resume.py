"""Interrupted imports and exports: a repeated run goes on where the first one stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from milepost.cli import importing
from milepost.directory.service import Context
from milepost.store.backends import Unavailable
from milepost.store.database import Database
from milepost.transfer import service
from milepost.transfer.left_out import Bad, Numbered
from tests.command import Command, ready
from tests.ndjson import DATA, ONLY_SQLITE, as_text, on, organizations


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Command:
    """The command on another, empty database."""
    return ready(tmp_path, f"sqlite:///{tmp_path / 'elsewhere.db'}")


class Interruption:
    """An import that ends before its time, after some chunks of ten lines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._import_lines = service.import_lines
        monkeypatch.setattr(importing, "CHUNK_LINES", 10)

    def after(self, chunks: int, error: BaseException | None = None) -> None:
        left = chunks

        async def import_lines(database: Database, numbered: Sequence[Numbered[Any]], context: Context) -> list[Bad]:
            nonlocal left
            if not left:
                raise error or Unavailable("it went away")
            left -= 1
            return await self._import_lines(database, numbered, context)

        self._monkeypatch.setattr(service, "import_lines", import_lines)

    def over(self) -> None:
        self._monkeypatch.setattr(service, "import_lines", self._import_lines)


@pytest.fixture
def interruption(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    return Interruption(monkeypatch)


class TestInterruptedImport:
    @pytest.fixture
    def file(self, command: Command, interruption: Interruption) -> Path:
        """A file of 50 lines of which 20 are imported."""
        file = command.folder / "data.ndjson"
        file.write_bytes(as_text(organizations(50)))
        interruption.after(chunks=2)
        assert command("import", "data.ndjson").code == 5
        interruption.over()
        return file

    def test_what_was_committed_stays(self, command: Command, file: Path) -> None:
        assert file.exists()
        assert command.must("export", "-").objects == organizations(20)

    def test_a_repeated_run_goes_on_and_says_so(self, command: Command, file: Path) -> None:
        outcome = command.must("import", "data.ndjson")

        assert "The import goes on after line 20" in outcome.err
        assert "Imported 50 organizations." in outcome.err
        assert command.must("export", "-").objects == organizations(50)
        assert not progress(file).exists()

    @ONLY_SQLITE
    def test_who_interrupts_a_run_is_told_how_to_go_on(self, command: Command, interruption: Interruption) -> None:
        (command.folder / "data.ndjson").write_bytes(as_text(organizations(50)))
        interruption.after(chunks=3, error=KeyboardInterrupt())

        outcome = command("import", "data.ndjson")

        assert outcome.code == 130
        assert outcome.err == "Interrupted after line 30; the same command goes on from there.\n"

    @ONLY_SQLITE
    def test_restart_begins_at_line_1(self, command: Command, file: Path) -> None:
        on(command, lambda connection: connection.exec_driver_sql("DELETE FROM organizations") and None)

        outcome = command.must("import", "data.ndjson", "--restart")

        assert "goes on" not in outcome.err
        assert len(command.must("org", "list", "--json").objects) == 50
        assert not progress(file).exists()

    @ONLY_SQLITE
    @pytest.mark.parametrize("size", [50, 30])
    def test_another_file_is_not_resumed(self, command: Command, file: Path, size: int) -> None:
        other = [line | {"orgId": f"other{line['orgId'][5:]}"} for line in organizations(size)]
        file.write_bytes(as_text(other))

        outcome = command.must("import", "data.ndjson")

        assert "is of another file or database; the import begins at line 1" in outcome.err
        assert f"Imported {size} organizations." in outcome.err

    @ONLY_SQLITE
    def test_another_database_is_not_resumed(self, elsewhere: Command, file: Path) -> None:
        outcome = elsewhere.must("import", "data.ndjson")

        assert "is of another file or database; the import begins at line 1" in outcome.err
        assert elsewhere.must("export", "-").objects == organizations(50)
        assert not progress(file).exists()

    @ONLY_SQLITE
    def test_progress_that_cannot_be_read_is_none(self, command: Command, file: Path) -> None:
        progress(file).write_bytes(b"\xff{")

        assert "goes on" not in command.must("import", "data.ndjson").err

    @ONLY_SQLITE
    def test_bad_lines_of_the_first_run_are_not_forgotten(self, command: Command, interruption: Interruption) -> None:
        file = command.folder / "data.ndjson"
        file.write_bytes(as_text(organizations(25)) + b"{}\n" + as_text(organizations(50)[25:]) + b"[]\n")
        interruption.after(chunks=3)
        command("import", "data.ndjson", "--errors", "errors.ndjson")
        interruption.over()

        outcome = command("import", "data.ndjson", "--errors", "errors.ndjson")

        written = [json.loads(line) for line in (command.folder / "errors.ndjson").read_text().splitlines()]
        assert outcome.code == 1
        assert "Imported 50 organizations; 2 bad lines left out." in outcome.err
        assert [each["line"] for each in written] == [26, 52]


def progress(file: Path) -> Path:
    return file.with_name(file.name + ".milepost-progress")


class TestInterruptedExport:
    @ONLY_SQLITE
    def test_a_file_cut_anywhere_is_completed(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(DATA))
        file = command.folder / "export.ndjson"
        command.must("export", "export.ndjson")
        whole = file.read_bytes()
        ends = [n for n, byte in enumerate(whole) if byte == ord("\n")]

        for cut in [0, 5, *ends, *(end + 1 for end in ends), *(end - 7 for end in ends)]:
            file.write_bytes(whole[:cut])
            command.must("export", "export.ndjson", "--resume")
            assert file.read_bytes() == whole, f"cut at {cut}"

    def test_each_kind_goes_on_where_it_stopped(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(DATA))
        file = command.folder / "export.ndjson"

        for end in range(len(DATA)):
            file.write_bytes(as_text(DATA[:end]).replace(b'": ', b'":'))
            command.must("export", "export.ndjson", "--resume")
            assert [json.loads(line) for line in file.read_bytes().splitlines()] == DATA

    @ONLY_SQLITE
    @pytest.mark.parametrize("content", [b"a diary", b"a diary\nof two days", b'{"kind":"organization"}\nx'])
    def test_a_file_that_is_no_export_is_not_touched(self, command: Command, content: bytes) -> None:
        file = command.folder / "diary"
        file.write_bytes(content)

        outcome = command("export", "diary", "--resume")

        assert outcome.code == 1
        assert "diary is no export" in outcome.err
        assert file.read_bytes() == content

    @ONLY_SQLITE
    def test_standard_output_cannot_be_completed(self, command: Command) -> None:
        assert command("export", "-", "--resume").code == 2

    @ONLY_SQLITE
    def test_without_resume_a_file_is_written_anew_and_for_its_owner_alone(self, command: Command) -> None:
        command.must("import", "-", stdin=as_text(DATA))

        command.must("export", "export.ndjson")
        command.must("export", "export.ndjson")

        file = command.folder / "export.ndjson"
        assert len(file.read_bytes().splitlines()) == len(DATA)
        assert file.stat().st_mode & 0o077 == 0
