"""`milepost catalog`: check, rehearse and publish a catalog's file, and read, compare and choose what was published."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from msgspec import UNSET
from rich.console import Console
from sqlalchemy import Connection

from milepost.catalogs import service
from milepost.catalogs.queries import PLATFORM, Version
from milepost.checklists import rehearsal
from milepost.cli.directory import Json
from milepost.cli.terminal import (
    OPERATOR,
    USAGE,
    DatabaseOption,
    Failure,
    err,
    new_table,
    out,
    print_table,
    read,
    run,
    settings_from,
    write,
)
from milepost.directory.service import Context
from milepost.domain import catalog_files
from milepost.domain.catalog import Catalog, StepDefinition
from milepost.domain.catalog_files import CatalogFault, CatalogFile, CatalogInvalid
from milepost.domain.contract import Identifier
from milepost.domain.records import moment
from milepost.domain.rehearsals import Rehearsal, RehearsedStep, Users
from milepost.edge import new_id, now

Result = TypeVar("Result")

app = typer.Typer(help="Catalogs: check, rehearse, publish, list, show, use, diff, schema.", no_args_is_help=True)

DASH = Path("-")
PAGE = 500
HIGHEST = 2**53
"""No version is numbered higher."""


def _org(value: str) -> str:
    # An empty id would stand for the platform, and one left empty by a script must not publish for everybody.
    try:
        return str(msgspec.convert(value, Identifier))
    except msgspec.ValidationError:
        raise typer.BadParameter("it takes 1 to 255 characters and no control characters") from None


File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON; - reads standard input.")]
Of = Annotated[
    str | None,
    typer.Option("--org", metavar="ORG", parser=_org, help="The organization; without it, the platform's catalog."),
]
Number = Annotated[int, typer.Argument(metavar="N", min=1, max=HIGHEST, help="The version.")]


@app.command("check")
def check(file: File) -> None:
    """Check a catalog's file, without a database. Every fault is printed with its place; the exit code is then 1."""
    found = _examined(file, out)
    warnings = f"; {_counted(found.warnings, 'warning')}" if found.warnings else ""
    out.print(f"{file}: the catalog is sound, with {_counted(found.catalog.steps, 'step')}{warnings}.")


@app.command("rehearse")
def rehearse(
    file: File,
    org: Of = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=rehearsal.MAX_LIMIT, help="Users to look at, at most.")
    ] = rehearsal.DEFAULT_LIMIT,
    json: Json = False,
    database: DatabaseOption = None,
) -> None:
    """Tell who would gain, lose and complete which steps if a catalog's file were published. Nothing is changed."""
    catalog = _examined(file, err).catalog
    context = Context(OPERATOR, now(), new_id)
    found = run(
        settings_from(database=database).settings,
        lambda data: rehearsal.rehearse(data, context, org or PLATFORM, catalog, limit),
    )
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    err.print(_summary(found, org))
    if found.steps:
        table = new_table("step", "gained", "lost", "completed", "condition fails")
        for step in found.steps:
            cells = (_users(users, org) for users in (step.gained, step.lost, step.completed))
            table.add_row(step.step_id, *cells, _failures(step, org))
        print_table(table)


def _summary(found: Rehearsal, org: str | None) -> str:
    users = f"{found.users:,} {'user' if found.users == 1 else 'users'}"
    sentence = f"Publishing it for {_whom(org)} would change the checklist of {found.affected:,} of {users}"
    if found.present is UNSET:
        return f"{sentence}; no catalog is published yet."
    whose = "the platform's" if found.present.org_id is UNSET else "its own"
    more = "" if found.complete else " There are more users; --limit says how many to look at."
    return f"{sentence}, against {whose} version {found.present.version}.{more}"


def _users(users: Users, org: str | None) -> str:
    """How many, and the first of them; across organizations, each with the one it is in."""
    if not users.count:
        return ""
    named = ", ".join(each.user_id if org else f"{each.user_id} in {each.org_id}" for each in users.samples)
    return f"{users.count:,}: {named}{', ...' if users.count > len(users.samples) else ''}"


def _failures(step: RehearsedStep, org: str | None) -> str:
    return f"{_users(step.failed, org)}; {step.failed.reason}" if step.failed.count else ""


@app.command("publish")
def publish(file: File, org: Of = None, database: DatabaseOption = None) -> None:
    """Check a catalog's file and make it the current version."""
    catalog = _examined(file, err).catalog
    entry, is_new = _written(
        database, lambda connection, context: service.publish(connection, context, org or PLATFORM, catalog)
    )
    if is_new:
        err.print(f"Version {entry.version} is published, and current for {_whom(org)}.")
    else:
        err.print(f"Nothing has changed: version {entry.version} is the same and current for {_whom(org)}.")


@app.command("list")
def list_versions(org: Of = None, database: DatabaseOption = None) -> None:
    """List the published versions, newest first."""
    versions, current = _found(database, lambda connection, context: _all(connection, context, org or PLATFORM))
    table = new_table("version", "current", "published", "publisher")
    for entry in versions:
        published = f"{moment(entry.published):%Y-%m-%d %H:%M}Z"
        table.add_row(str(entry.version), "current" if entry.version == current else "", published, entry.publisher)
    print_table(table)


@app.command("show")
def show(
    org: Of = None,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, max=HIGHEST, help="Without it, the current one.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Print a published catalog as JSON, which can be published again."""
    entry, _ = _found(
        database, lambda connection, context: service.get_version(connection, context, org or PLATFORM, version)
    )
    typer.echo(msgspec.json.format(entry.body, indent=2))


@app.command("use")
def use(number: Number, org: Of = None, database: DatabaseOption = None) -> None:
    """Make an earlier version the current one again."""
    entry = _written(
        database, lambda connection, context: service.roll_back(connection, context, org or PLATFORM, number)
    )
    err.print(f"Version {entry.version} is current for {_whom(org)}.")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema by which editors check and complete catalog files."""
    typer.echo(msgspec.json.format(msgspec.json.encode(catalog_files.json_schema()), indent=2))


@app.command("diff")
def diff(
    before: Annotated[int, typer.Argument(metavar="FROM", min=1, max=HIGHEST, help="The one version.")],
    after: Annotated[int, typer.Argument(metavar="TO", min=1, max=HIGHEST, help="The other version.")],
    org: Of = None,
    database: DatabaseOption = None,
) -> None:
    """Show which steps one version has added, removed and changed against another."""

    def both(connection: Connection, context: Context) -> list[Catalog]:
        entries = (service.get_version(connection, context, org or PLATFORM, number) for number in (before, after))
        return [service.decode(entry.body) for entry, _ in entries]

    rows = list(_differences(*_found(database, both)))
    if not rows:
        err.print(f"Versions {before} and {after} say the same.")
        return
    table = new_table("change", "step", "fields")
    for change, step_id, fields in rows:
        table.add_row(change, step_id, ", ".join(fields))
    print_table(table)


def _differences(before: Catalog, after: Catalog) -> Iterator[tuple[str, str, Sequence[str]]]:
    """What has changed, the step it has changed in, and which of the step's fields; of the catalog itself, no step."""
    old = {step.step_id: step for step in before.steps}
    new = {step.step_id: step for step in after.steps}
    fields = [name for name in ("name", "languages") if getattr(before, name) != getattr(after, name)]
    # Steps with one sortOrder are shown as they follow each other in the file.
    if [each for each in old if each in new] != [each for each in new if each in old]:
        fields.append("order of steps")
    if fields:
        yield "changed", "-", fields
    for step_id in old:
        if step_id not in new:
            yield "removed", step_id, ()
    for step_id, step in new.items():
        if step_id not in old:
            yield "added", step_id, ()
        elif step != old[step_id]:
            yield "changed", step_id, _changed_fields(old[step_id], step)


def _changed_fields(before: StepDefinition, after: StepDefinition) -> list[str]:
    return [
        field.encode_name
        for field in msgspec.structs.fields(StepDefinition)
        if getattr(before, field.name) != getattr(after, field.name)
    ]


def _examined(file: Path, console: Console) -> CatalogFile:
    """The catalog of a file, its faults and warnings told.

    Raises:
        Failure: it has faults (exit code 1), or cannot be read (2).
    """
    try:
        text = sys.stdin.buffer.read() if file == DASH else file.read_bytes()
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", USAGE) from None
    try:
        found = catalog_files.examine(text, str(file))
    except CatalogInvalid as invalid:
        for fault in invalid.faults:
            console.print(_told(file, fault))
        raise Failure(f"{file}: {_counted(invalid.faults, 'fault')} found") from None
    for warning in found.warnings:
        console.print(_told(file, warning, "warning:"))
    return found


def _told(file: Path, fault: CatalogFault, *before: str) -> str:
    """One line, as editors and CI systems read it."""
    line = " ".join(filter(None, (*before, fault.pointer, fault.detail)))
    # Names in the file may have line feeds and the terminal's commands in them.
    safe = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    return f"{file}:{fault.line}:{fault.column}: {safe}"


def _counted(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _whom(org: str | None) -> str:
    return org or "all organizations without a catalog of their own"


def _all(connection: Connection, context: Context, org_id: str) -> tuple[list[Version], int | None]:
    """Every page of versions, and which of them is current."""
    versions: list[Version] = []
    before = HIGHEST
    while True:
        page, current = service.list_versions(connection, context, org_id, before, PAGE)
        versions += page
        if len(page) < PAGE:
            return versions, current
        before = page[-1].version


def _written(database: str | None, query: Callable[[Connection, Context], Result]) -> Result:
    settings = settings_from(database=database).settings
    return write(settings, lambda connection: query(connection, Context(OPERATOR, now(), new_id)))


def _found(database: str | None, query: Callable[[Connection, Context], Result]) -> Result:
    settings = settings_from(database=database).settings
    return read(settings, lambda connection: query(connection, Context(OPERATOR, now(), new_id)))
