"""The engines of the two kinds of database: how each connects, and what its errors mean."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

POOL_RECYCLE = 300
"""Seconds after which a connection is replaced, before a firewall between forgets it."""

ABORTED = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "23503",  # a row that this one refers to was deleted meanwhile: run again, the query sees so and says so
    "23505",  # the row was inserted meanwhile
}
INTERRUPTED = {
    "42P07",  # the table was created meanwhile, by another process that brings the schema up to date
    "57P01",  # an administrator ended the connection
}
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL}

REASONS: Mapping[str, str] = {
    "08": "the connection to it was lost",
    "25006": "it is read-only",
    "28": "it refuses the user or the password",
    "3D000": "the server has no database of this name",
    "42501": "its user lacks a right that is needed",
    "53": "the server is out of resources",
    "53100": "the server's disk is full",
    "53300": "the server has no connection to spare",
    "57": "the server is starting or stopping",
    "57014": "the query was given up",
    "58": "the server cannot read or write its files",
    "XX001": "it is damaged",
    "XX002": "it is damaged",
}
REASONS_SQLITE: Mapping[int, str] = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_IOERR: "its file cannot be read or written",
    sqlite3.SQLITE_NOTADB: "its file is not a SQLite database",
    sqlite3.SQLITE_PROTOCOL: "another process keeps it locked",
    sqlite3.SQLITE_READONLY: "its file cannot be written to",
}


BY_KEY = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
}
"""PostgreSQL takes the rows of a JSON parameter for a hundred, whatever it holds, and would rather read whole tables,
or share the work among processes that it starts, than look a few keys up. Where no index helps, a table is read as
ever."""


def sqlite_engine(url: URL, timeout: int, *, begin: str) -> Engine:
    """An engine whose connections keep what is acknowledged: WAL with synchronous=FULL, foreign keys on.

    `begin` starts each transaction: a writer takes the lock at once (`BEGIN IMMEDIATE`), so that what it reads
    cannot change before it writes. `timeout` in seconds holds for waiting for that lock.
    """
    if url.database:
        # Where this fails, connecting says so.
        with suppress(OSError):
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            # It holds people's data; SQLite gives the files beside it the same mode.
            Path(url.database).touch(mode=0o600)
    engine = create_engine(
        url,
        pool_size=1,
        connect_args={"timeout": timeout, "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own transactions start too late, at the first write
        connection.executescript(
            # fullfsync matters on macOS, where fsync alone leaves the data in the disk's own cache.
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON;"
        )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def postgres_engine(url: URL, timeout: int, pool_size: int) -> AsyncEngine:
    """An engine over asyncpg; `timeout` in seconds holds for connecting and for a free connection."""
    return create_async_engine(
        "postgresql+asyncpg://",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        pool_recycle=POOL_RECYCLE,
        hide_parameters=True,
        connect_args={
            # As text: so the driver reads `sslmode`, `target_session_attrs` and the like as PostgreSQL's own tools do.
            "dsn": url.render_as_string(hide_password=False),
            "timeout": timeout,
            "prepared_statement_cache_size": 200,
            "server_settings": {"application_name": "milepost", "jit": "off"} | BY_KEY,
        },
    )


def is_aborted(error: DBAPIError) -> bool:
    """Whether the database has undone the transaction, even where this is its answer to a COMMIT."""
    return sqlstate(error) in ABORTED or _sqlite_code(error) in LOCKED


def is_passing(error: DBAPIError) -> bool:
    """Whether a transaction whose COMMIT was not sent yet may be run again: another one or a new connection may do."""
    return is_aborted(error) or error.connection_invalidated or sqlstate(error) in INTERRUPTED


def is_undone(error: DBAPIError) -> bool:
    """Whether the server said that a statement failed, and so that nothing of it is stored. One that stops, or whose
    connection is lost, may have stored it before.
    """
    state = sqlstate(error)
    return bool(state) and not error.connection_invalidated and state[:2] not in {"08", "57", "58", "XX"}


def is_read_only(error: DBAPIError) -> bool:
    """Whether the server has become read-only, as one does that another has taken over from."""
    return sqlstate(error) == "25006"


def reason(error: BaseException) -> str | None:
    """Why the database cannot be used right now; None where the error is not of that kind."""
    if isinstance(error, DBAPIError):
        state = sqlstate(error)
        lost = REASONS["08"] if error.connection_invalidated else None
        return REASONS_SQLITE.get(_sqlite_code(error)) or REASONS.get(state) or REASONS.get(state[:2]) or lost
    return "it does not answer in time" if isinstance(error, TimeoutError) else "it cannot be reached"


def code(error: BaseException) -> str:
    """What an operator looks an error up by; never its text, which may hold data."""
    original = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None)
    return str(name or type(original).__name__)


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's code of an error; '' where it has none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def _sqlite_code(error: DBAPIError) -> int:
    # The low byte is the error's kind, the rest its circumstances.
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
