"""`milepost checklist`: why a user's checklist is what it is."""

from collections.abc import Iterator

import msgspec
import typer

from milepost.checklists import service
from milepost.cli.directory import Json, Of, UserId
from milepost.cli.terminal import OPERATOR, DatabaseOption, err, new_table, print_table, read, settings_from
from milepost.directory.service import Context
from milepost.domain.explanations import Explained
from milepost.domain.progress import Evidence
from milepost.edge import new_id, now

app = typer.Typer(help="Checklists: explain.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Checklists: explain."""
    # With a callback, a group of one verb still takes the verb's name.


@app.command("explain")
def explain(user: UserId, org: Of, json: Json = False, database: DatabaseOption = None) -> None:
    """Say of every step whether the user sees it, why, and by what it was done."""
    settings = settings_from(database=database).settings
    context = Context(OPERATOR, now(), new_id)
    told, _ = read(settings, lambda connection: service.explain(connection, context, user, org))
    if json:
        typer.echo(msgspec.json.encode(told))
        return
    roles = ", ".join(told.roles) or "no role"
    catalog = "its own catalog" if told.catalog_org_id else "the platform's catalog"
    err.print(f"{user} is on track {told.track} in {org} with {roles}; {catalog}, version {told.catalog_version}.")
    table = new_table("step", "outcome", "status", "reasons", "evidence")
    for step in told.steps:
        outcome = step.outcome.replace("_", " ")
        table.add_row(step.step_id, outcome, step.status or "", "; ".join(_reasons(step)), _evidence(step.evidence))
    print_table(table)


def _reasons(step: Explained) -> Iterator[str]:
    yield from step.reasons
    if step.requires:
        yield f"{', '.join(step.requires)} must be done first"
    if step.condition_failure is not None:
        yield f"its condition failed: {step.condition_failure}"
    elif step.condition_holds is not None:
        yield f"its condition is {'met' if step.condition_holds else 'not met'}"


def _evidence(why: Evidence | None) -> str:
    if why is None:
        return ""
    how = f"signal {', '.join(why.signals)}".rstrip() if why.how == "signal" else "a person's mark"
    by = f" by {why.by}" if why.by else ""
    return f"{how}, {why.at:%Y-%m-%d %H:%M}Z{by}{', for all' if why.shared else ''}"
