"""`milepost token`, `milepost console` and `milepost key`: credentials for people and for services."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from milepost.access import queries
from milepost.access.keys import own_key
from milepost.access.policy import Caller, Scope
from milepost.access.service import create_key, revoke_key
from milepost.access.sessions import make_link
from milepost.access.tokens import sign
from milepost.cli.terminal import (
    BAD_SETTINGS,
    OPERATOR,
    DatabaseOption,
    Failure,
    err,
    new_table,
    print_table,
    read,
    settings_from,
    write,
)
from milepost.domain.records import moment
from milepost.edge import new_id, now
from milepost.settings import Settings, SettingsError

keys = typer.Typer(help="Service keys: create, list, revoke.", no_args_is_help=True)

DEFAULT_TTL = 3600
LONGEST_TTL = 365 * 24 * 3600


def token(
    user: Annotated[str, typer.Option("--user", help="External user id, the token's `sub`.")],
    platform_admin: Annotated[bool, typer.Option("--platform-admin", help="May do everything.")] = False,
    ttl: Annotated[int, typer.Option(min=1, max=LONGEST_TTL, help="Seconds until it expires.")] = DEFAULT_TTL,
    database: DatabaseOption = None,
) -> None:
    """Print a token signed with the service's own key, alone on standard output."""
    settings = settings_from(database=database).settings
    typer.echo(signed(settings, user, platform_admin=platform_admin, ttl=ttl))


def signed(settings: Settings, user: str, *, platform_admin: bool, ttl: int = DEFAULT_TTL) -> str:
    """A token that a service with these settings accepts.

    Raises:
        Failure: the service checks tokens against other keys, or its own cannot be read (exit code 3).
    """
    if settings.jwks_file or settings.jwks_url or settings.public_key_file:
        raise Failure("tokens are checked against other keys here; ask their issuer for one", BAD_SETTINGS)
    try:
        return sign(
            own_key(settings.own_key_file),
            user_id=user,
            platform_admin=platform_admin,
            ttl=timedelta(seconds=ttl),
            now=datetime.now(UTC),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
        )
    except SettingsError as error:
        raise Failure(str(error), BAD_SETTINGS) from None


def console(
    user: Annotated[
        str | None,
        typer.Option("--user", help="Sign in as this user; default: as the operator, who may do everything."),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Where the service is; default: MILEPOST_PUBLIC_URL.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Print a link that signs in to the console, alone on standard output. It works once, for ten minutes."""
    settings = settings_from(database=database, public_url=url).settings
    typer.echo(console_link(settings, OPERATOR if user is None else Caller(user_id=user)))


def console_link(settings: Settings, caller: Caller) -> str:
    """The address of a link that signs in to the console as the caller, once."""
    made = write(settings, lambda connection: make_link(connection, caller, now=now(), event_id=new_id()))
    return f"{settings.origin}/console/sign-in?code={made}"


@keys.command("create")
def create(
    label: Annotated[str, typer.Option(help="What the key is for, shown in lists.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; give it once for each scope.")],
    org: Annotated[str | None, typer.Option(help="Limit it to one organization.")] = None,
    database: DatabaseOption = None,
) -> None:
    """Make a service key. Its text is printed alone on standard output, this once."""
    settings = settings_from(database=database).settings
    key_id, text = write(
        settings,
        lambda connection: create_key(
            connection, label=label, scopes=[one.value for one in scope], org_id=org,
            now=now(), actor=OPERATOR.name, event_id=new_id(),
        ),
    )  # fmt: skip
    err.print(f"Key {key_id} is made. It is shown only now; keep it where secrets are kept.")
    typer.echo(text)


@keys.command("list")
def show(database: DatabaseOption = None) -> None:
    """List the service keys; their texts are not stored."""
    table = new_table("key", "label", "scopes", "organization", "created", "revoked")
    for key in read(settings_from(database=database).settings, queries.all_keys):
        revoked = "" if key.revoked is None else f"{moment(key.revoked):%Y-%m-%d %H:%M}Z"
        created = f"{moment(key.created):%Y-%m-%d %H:%M}Z"
        table.add_row(key.key_id, key.label, " ".join(key.scopes), key.org_id or "all", created, revoked)
    print_table(table)


@keys.command("revoke")
def revoke(key_id: str, database: DatabaseOption = None) -> None:
    """Revoke a service key; the next call with it is refused."""
    settings = settings_from(database=database).settings
    found = write(
        settings,
        lambda connection: revoke_key(connection, key_id=key_id, now=now(), actor=OPERATOR.name, event_id=new_id()),
    )
    if not found:
        raise Failure(f"there is no key {key_id} that still holds; `milepost key list` shows them")
    err.print(f"Key {key_id} is revoked.")
