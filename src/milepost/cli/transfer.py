"""`milepost import` and `milepost export`: the whole of the data as NDJSON."""

import mmap
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from milepost.cli import checkpoint
from milepost.cli.checkpoint import Checkpoint
from milepost.cli.importing import Import, Report
from milepost.cli.terminal import BAD_SETTINGS, FAILED, USAGE, DatabaseOption, Failure, err, run, settings_from
from milepost.problems import Problem
from milepost.properties.attributes import attributes_rule
from milepost.settings import Settings, SettingsError, shown
from milepost.store.database import Database
from milepost.store.integrity import statistics
from milepost.transfer import reading, service
from milepost.transfer.lines import KINDS, Key

DASH = Path("-")
START = b'{"kind":"'
"""How every line of an export begins."""

NAMES = {
    "organization": ("organization", "organizations"),
    "enterprise": ("enterprise", "enterprises"),
    "role": ("role", "roles"),
    "catalog": ("catalog version", "catalog versions"),
    "person": ("person", "people"),
    "member": ("member", "members"),
    "past": ("past membership", "past memberships"),
    "signal": ("signal", "signals"),
    "shared": ("step done for all", "steps done for all"),
    "record": ("record", "records"),
}
TABLES = (
    "organizations",
    "enterprises",
    "roles",
    "catalogs",
    "people",
    "members",
    "signals",
    "shared_completions",
    "properties",
)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="NDJSON; - reads standard input.")],
    errors: Annotated[
        Path | None, typer.Option("--errors", metavar="FILE", help="Write all faults there, as NDJSON.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Do not go on where a run was interrupted.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Import what `milepost export` writes: one JSON object a line, told apart by its kind.

    A bad line is reported and the rest imported; the exit code is then 1. After an interruption, repeat the command:
    it goes on where it stopped.
    """
    settings = settings_from(database=database).settings
    try:
        fit_attributes = attributes_rule(settings.attributes_schema)
    except SettingsError as error:
        raise Failure(str(error), BAD_SETTINGS) from None
    with _files_told(), ExitStack() as stack:
        stream = sys.stdin.buffer if file == DASH else stack.enter_context(file.open("rb"))
        state = _begun(file, settings, restart=restart)
        told = None if errors is None else stack.enter_context(errors.open("ab" if state.line else "wb"))
        report = Report(told)
        move = stack.enter_context(_bar("Importing", state.size or None, state.offset))

        def committed(now_at: Checkpoint) -> None:
            move(now_at.offset)
            if file.is_file():
                checkpoint.save(file, now_at)

        try:
            run(settings, Import(stream, state, report, fit_attributes, committed).run)
        except KeyboardInterrupt:
            if file.is_file():
                err.print(f"Interrupted after line {state.line:,}; the same command goes on from there.")
            raise
        report.finish()
        checkpoint.remove(file)
    left_out = f"; {state.bad:,} bad {'line' if state.bad == 1 else 'lines'} left out" if state.bad else ""
    err.print(_summary("Imported", state.imported, left_out))
    if state.bad:
        raise typer.Exit(FAILED)


def _begun(file: Path, settings: Settings, *, restart: bool) -> Checkpoint:
    """Where to begin: where an interrupted run of the same file into the same database stopped, else at the start."""
    name = shown("database", settings.database)
    if not file.is_file():
        # What comes through a pipe cannot be read again.
        return Checkpoint(database=name, size=0, beginning="")
    start = checkpoint.at_start(file, name)
    before = checkpoint.load(file)
    if before is None or restart:
        return start
    if not before.is_of(start):
        err.print(f"{checkpoint.place(file)} is of another file or database; the import begins at line 1.")
        return start
    err.print(f"The import goes on after line {before.line:,}; --restart would begin at line 1.")
    return before


def export_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="- writes to standard output.")],
    resume: Annotated[bool, typer.Option("--resume", help="Complete a file that was interrupted.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Export the directory, catalogs, signals and records, one JSON object a line.

    Service keys and the journal are not part of it. A new file can be read by its owner alone.
    """
    if resume and file == DASH:
        raise Failure("--resume completes a file; standard output cannot be completed", USAGE)
    settings = settings_from(database=database).settings
    counted: Counter[str] = Counter()
    with _files_told(), ExitStack() as stack:
        stream, after = sys.stdout.buffer, None
        if file != DASH:
            stream = stack.enter_context(_writable(file, keep=resume))
            after = _end(file, stream) if resume else None

        async def work(database: Database) -> None:
            rows = await database.read(statistics, patient=True) if err.is_terminal and after is None else {}
            with _bar("Exporting", sum(rows[table] for table in TABLES if rows) or None) as move:
                async for kind, texts in service.export(database, *(after or ())):
                    stream.writelines(texts)
                    counted[kind] += len(texts)
                    move(counted.total())

        run(settings, work)
        stream.flush()
        if file != DASH:
            os.fsync(stream.fileno())
    err.print(_summary("Exported", counted, " more" if after else ""))


def _writable(file: Path, *, keep: bool) -> BinaryIO:
    """A file opened for writing; a new one can be read by its owner alone, since it holds people's data."""
    flags = os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC)
    return os.fdopen(os.open(file, flags, 0o600), "r+b")


def _end(file: Path, stream: BinaryIO) -> tuple[str, Key] | None:
    """Drop what follows the last whole line; answers that line's kind and key, None where there is no line.

    Raises:
        Failure: the file is no export; it stays as it is.
    """
    if not os.fstat(stream.fileno()).st_size:
        return None
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1
        last = content[content.rfind(b"\n", 0, max(end - 1, 0)) + 1 : end]
        is_begun = START.startswith(content[: len(START)])
    try:
        line = reading.read(last) if last else None
    except Problem:
        is_begun = False
    if not is_begun:
        raise Failure(f"{file} is no export; without --resume it is written anew")
    stream.truncate(end)
    stream.seek(end)
    return None if line is None else (line.kind, line.key())


@contextmanager
def _files_told() -> Iterator[None]:
    """Say in a sentence which file could not be used."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"{error.filename or 'a file'}: {error.strerror}", USAGE) from None


@contextmanager
def _bar(verb: str, total: int | None, completed: int = 0) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; answers what moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        task = progress.add_task(verb, total=total, completed=completed)
        yield lambda done: progress.update(task, completed=done)


def _summary(verb: str, counted: Mapping[str, int], rest: str) -> str:
    parts = [f"{counted[kind]:,} {NAMES[kind][counted[kind] != 1]}" for kind in KINDS if counted.get(kind)]
    return f"{verb} {', '.join(parts) or 'nothing'}{rest}."
