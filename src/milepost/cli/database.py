"""`milepost db`: the schema and the state of the data."""

import asyncio

import typer

from milepost.cli.terminal import (
    WRONG_SCHEMA,
    DatabaseOption,
    Failure,
    new_table,
    out,
    print_table,
    run,
    settings_from,
)
from milepost.funnels.service import recount
from milepost.problems import Problem
from milepost.store import versions
from milepost.store.integrity import faults, statistics
from milepost.store.schema import REVISION

app = typer.Typer(help="The database: upgrade, check, recount, stats.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(database: DatabaseOption = None) -> None:
    """Bring the schema up to this release's."""
    settings = settings_from(database=database).settings

    async def upgraded() -> str | None:
        opened = versions.open_database(settings)
        try:
            return await opened.write(versions.upgrade, patient=True)
        finally:
            await opened.close()

    try:
        before = asyncio.run(upgraded())
    except versions.WrongSchema as error:
        raise Failure(str(error), WRONG_SCHEMA) from None
    except Problem as problem:
        raise Failure(problem.detail) from None
    out.print(
        f"The schema is up to date ({REVISION})."
        if before == REVISION
        else f"Upgraded from {before or 'empty'} to {REVISION}."
    )


@app.command("check")
def check(database: DatabaseOption = None) -> None:
    """Prove that the schema is right and that every invariant of the data holds; exit code 1 where one does not."""
    found = run(settings_from(database=database).settings, lambda db: db.read(faults, patient=True))
    for fault in found:
        out.print(fault)
    if found:
        raise Failure(f"{len(found)} faults found")
    out.print("The schema is right and the data is sound.")


@app.command("recount")
def recount_funnels(database: DatabaseOption = None) -> None:
    """Count the funnels anew, from the whole journal. Needed only where somebody has changed the tables by hand."""
    run(settings_from(database=database).settings, lambda db: db.write(recount, patient=True))
    out.print("The funnels are counted anew.")


@app.command("stats")
def stats(database: DatabaseOption = None) -> None:
    """Count what is stored."""
    table = new_table("what", "rows")
    for name, count in run(
        settings_from(database=database).settings, lambda db: db.read(statistics, patient=True)
    ).items():
        table.add_row(name, f"{count:,}")
    print_table(table)
