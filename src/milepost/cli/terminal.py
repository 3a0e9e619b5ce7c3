"""What the verbs share: settings from flags, exit codes, running a query, and how a failure is said."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection

from milepost.access.policy import Caller
from milepost.problems import Problem
from milepost.settings import Settings, SettingsError, Sourced, load
from milepost.store.database import Database
from milepost.store.versions import WrongSchema, check, open_database, upgrade

Result = TypeVar("Result")

FAILED = 1
USAGE = 2
BAD_SETTINGS = 3
WRONG_SCHEMA = 4
UNAVAILABLE = 5

OPERATOR = Caller(user_id="operator", platform_admin=True)
"""Whoever can run the command on the data is an admin of the platform."""

DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", help="Database URL; default: MILEPOST_DATABASE, else sqlite:///milepost.db"),
]

# Without markup: brackets in a name or an address are no commands.
out = Console(soft_wrap=True, highlight=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

WIDE = 10_000
"""Columns of a table that goes into a file or a pipe, where nothing may be cut."""


class Failure(Exception):
    """A verb could not do what it was asked; `code` is the exit code."""

    def __init__(self, sentence: str, code: int = FAILED) -> None:
        super().__init__(sentence)
        self.code = code


def complain(sentence: str) -> None:
    err.print(Text.assemble(("error:", "bold red"), " ", sentence))


def new_table(*columns: str) -> Table:
    """An empty table."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def print_table(filled: Table) -> None:
    """Print a table on standard output."""
    Console(width=None if out.is_terminal else WIDE, highlight=False, markup=False).print(filled)


def settings_from(**flags: object) -> Sourced:
    """The settings, flags first.

    Raises:
        Failure: one cannot be used (exit code 3).
    """
    try:
        sourced = load(None, **flags)
    except SettingsError as error:
        raise Failure(str(error), BAD_SETTINGS) from None
    for name in sourced.unknown:
        sentence = f" {name} is not a setting; `milepost settings` lists them"
        err.print(Text.assemble(("warning:", "yellow"), sentence))
    return sourced


def run(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, Result]]) -> Result:
    """Run something on the database, whose schema must be right; an embedded one is brought up to date.

    Raises:
        Failure: the schema is wrong (4), the database does not answer (5), or a problem was met (1).
    """

    async def worked() -> Result:
        database = open_database(settings)
        try:
            if settings.url.drivername == "sqlite":
                await database.write(upgrade)
            await database.read(check)
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(worked())
    except WrongSchema as error:
        raise Failure(str(error), WRONG_SCHEMA) from None
    except Problem as problem:
        code = UNAVAILABLE if problem.kind.status == 503 else FAILED  # noqa: PLR2004 - HTTP's own number
        faults = "".join(f"\n  {fault.pointer or fault.parameter}: {fault.detail}" for fault in problem.faults)
        raise Failure(problem.detail + faults, code) from None


def write(settings: Settings, query: Callable[[Connection], Result]) -> Result:
    """Run one query in a transaction of its own."""
    return run(settings, lambda database: database.write(query))


def read(settings: Settings, query: Callable[[Connection], Result]) -> Result:
    """Run one query that changes nothing."""
    return run(settings, lambda database: database.read(query))
