"""The command `milepost`: its verbs, put together here."""

import sys
from collections.abc import Sequence

import typer

from milepost import __version__
from milepost.cli import access, catalog, checklist, database, directory, openapi, serve, settings, transfer
from milepost.cli.terminal import USAGE, Failure, complain
from milepost.logs import configure
from milepost.settings import Settings

app = typer.Typer(
    name="milepost",
    help="User properties and the guided checklist, self-hosted and multi-tenant.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("token")(access.token)
app.command("console")(access.console)
app.add_typer(access.keys, name="key")
app.add_typer(directory.orgs, name="org")
app.add_typer(directory.enterprises, name="enterprise")
app.add_typer(directory.roles, name="role")
app.add_typer(directory.members, name="member")
app.add_typer(catalog.app, name="catalog")
app.add_typer(checklist.app, name="checklist")
app.command("import")(transfer.import_)
app.command("export")(transfer.export_)
app.add_typer(database.app, name="db")
app.command("settings")(settings.show)
app.command("openapi")(openapi.show)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"milepost {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """User properties and the guided checklist, self-hosted and multi-tenant."""
    del version


def main() -> None:
    """Run the command; a failure is one sentence on standard error and an exit code that scripts can use."""
    # What a verb prints on standard output must not be mixed with lines of the log.
    configure(Settings(log_level="error"))
    try:
        _require_text(sys.argv)
        app()
    except Failure as failure:
        complain(str(failure))
        sys.exit(failure.code)


def _require_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Failure(f"an argument is not valid text: {argument!a}", USAGE) from None
