"""Which schema a database has, and bringing it up to the one this code works with (Alembic)."""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

from milepost.problems import UNAVAILABLE, Problem
from milepost.settings import Settings
from milepost.store.database import Conflict, Database
from milepost.store.schema import REVISION, metadata

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION = Table("alembic_version", MetaData(), Column("version_num", Text))


class WrongSchema(Problem):
    """The database's schema is not the one this code works with (503); the message says what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(UNAVAILABLE, sentence, headers={"Retry-After": "10"})


def current(connection: Connection, *, hold: bool = False) -> str | None:
    """The database's schema revision, None for an empty database.

    With `hold` it stays so until the transaction ends: another that would change it waits.
    """
    if not inspect(connection).has_table(VERSION.name):
        return None
    found = select(VERSION).with_for_update() if hold else select(VERSION)
    return connection.execute(found).scalar_one_or_none()


def upgrade(connection: Connection) -> str | None:
    """Bring the schema up to date in the connection's transaction; answers the revision it had before.

    Raises:
        WrongSchema: the database is from a newer Milepost, or something else keeps its tables there.
    """
    before = current(connection, hold=True)
    if before == REVISION:
        return before
    _refuse_newer(before)
    if before is None:
        _refuse_foreign(connection)
    # Alembic takes a third of a second to import, and where the schema is right nothing needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision > REVISION:
        raise WrongSchema(
            f"The database has schema {revision}, newer than the {REVISION} this Milepost knows: "
            "it was upgraded by a newer release. Run that release, or restore a backup from before."
        )


def _refuse_foreign(connection: Connection) -> None:
    taken = sorted(set(metadata.tables).intersection(inspect(connection).get_table_names()))
    if taken and current(connection) is not None:
        raise Conflict  # another process has brought the schema up to date meanwhile
    if taken:
        raise WrongSchema(
            f"The database holds tables of something else ({', '.join(taken)}); give Milepost a database of its own."
        )


def check(connection: Connection) -> None:
    """See that the schema is the right one.

    Raises:
        WrongSchema: it is older, newer, or missing.
    """
    revision = current(connection)
    if revision == REVISION:
        return
    _refuse_newer(revision)
    state = "has no schema yet" if revision is None else f"has schema {revision}, older than {REVISION}"
    raise WrongSchema(f"The database {state}; run `milepost db upgrade` first.")


def open_database(settings: Settings) -> Database:
    """The database that the settings name."""
    return Database(
        settings.url,
        timeout=settings.database_timeout,
        pool_size=settings.pool_size,
        batch_size=settings.batch_size,
    )
