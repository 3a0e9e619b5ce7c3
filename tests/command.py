"""Running the command `milepost` inside the test's own process, on a database of the test's own."""

import io
import json
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from milepost.cli import main


@dataclass
class Outcome:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """The JSON objects on standard output, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Command:
    """The command, in a folder and with a database."""

    folder: Path
    database: str

    def __call__(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Outcome:
        """Run it to its end."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
        surroundings = inherited | {"MILEPOST_DATABASE": self.database} | environment
        out, err = _stream(), _stream()
        with (
            chdir(self.folder),
            patch.dict(os.environ, surroundings, clear=True),
            patch.object(sys, "argv", ["milepost", *arguments]),
            patch.object(sys, "stdin", _stream(stdin)),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = _exit_code()
        return Outcome(code, _text(out), _text(err))

    def must(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Outcome:
        """Run it to an end that is well."""
        outcome = self(*arguments, stdin=stdin, **environment)
        assert outcome.code == 0, outcome
        return outcome


def ready(folder: Path, database: str) -> Command:
    """The command on a database that has its schema."""
    command = Command(folder, database)
    command.must("db", "upgrade")
    return command


def _stream(content: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
