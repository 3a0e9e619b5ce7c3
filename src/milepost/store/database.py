"""Runs queries on PostgreSQL or SQLite: alone or in micro-batches, retried where the database asks for it.

A query is a plain function over a `sqlalchemy.Connection`. Only this module knows that PostgreSQL runs it on asyncpg
and SQLite in a worker thread. What one dialect needs differently stands here, in `engines.py` or in `schema.py`.

Whatever keeps the database from answering is raised as `Unavailable`. A query may be run more than once, but never
after its COMMIT was sent, unless the database said that it undid the transaction: a write whose outcome is not known
is never run again and never reported as done.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeVar, cast

import msgspec
import structlog
from sqlalchemy import URL, ColumnElement, Connection, Engine, Subquery, Table, TextClause, literal_column, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import BigInteger, Text

from milepost.problems import UNAVAILABLE, Problem
from milepost.store.batches import Batches
from milepost.store.engines import (
    code,
    is_aborted,
    is_passing,
    is_read_only,
    postgres_engine,
    reason,
    sqlite_engine,
    sqlstate,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
Query = Callable[[Connection], Result]
Run = Callable[[Query[Result], float | None], Awaitable[Result]]

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.1
"""Seconds, at most, before a transaction that collided is run again: the first time, and after many."""


class Conflict(Exception):
    """Another transaction was faster. A query raises it whose guard found that a row has changed since it was read;
    the transaction is run again.
    """


class Unavailable(Problem):
    """The database does not answer (503 with Retry-After). It concerns every request of a batch."""

    concerns_all = True

    def __init__(self, because: str) -> None:
        super().__init__(
            UNAVAILABLE,
            f"The database cannot be used right now: {because}. Try again shortly.",
            headers={"Retry-After": "1"},
        )


CONTENDED = "other requests keep changing the same data"
NOT_KNOWN = "it went away while it stored the change, which may be stored or not"


class Backend(Protocol):
    """What differs between the two kinds of database.

    `seconds` is how long a query may take, None: as long as it takes.
    """

    read_lanes: int
    write_lanes: int

    async def read(self, query: Query[Result], seconds: float | None) -> Result: ...
    async def write(self, query: Query[Result], seconds: float | None) -> Result: ...
    async def close(self) -> None: ...


class SQLite:
    """One writer thread, one reader thread: more of either would only wait for each other."""

    read_lanes = 1
    write_lanes = 1

    def __init__(self, url: URL, timeout: int) -> None:
        self._reader = sqlite_engine(url, timeout, begin="BEGIN")
        self._writer = sqlite_engine(url, timeout, begin="BEGIN IMMEDIATE")
        self._read_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-read")
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-write")

    async def read(self, query: Query[Result], seconds: float | None) -> Result:
        return await _in(self._read_thread, self._reader, query, seconds)

    async def write(self, query: Query[Result], seconds: float | None) -> Result:
        return await _in(self._write_thread, self._writer, query, seconds)

    async def close(self) -> None:
        for thread, engine in ((self._read_thread, self._reader), (self._write_thread, self._writer)):
            await asyncio.to_thread(thread.shutdown)
            engine.dispose()


async def _in(thread: ThreadPoolExecutor, engine: Engine, query: Query[Result], seconds: float | None) -> Result:
    latest = None if seconds is None else time.monotonic() + seconds

    def run() -> Result:
        # The engine limits how long a query waits for other processes, this how long it waited for this thread.
        if latest is not None and time.monotonic() > latest:
            raise TimeoutError
        with engine.begin() as connection:
            return query(connection)

    return await asyncio.get_running_loop().run_in_executor(thread, run)


class PostgreSQL:
    """asyncpg; reads are single statements outside a transaction, so they cost one round trip each."""

    read_lanes = 2
    write_lanes = 2

    def __init__(self, url: URL, timeout: int, pool_size: int) -> None:
        self._reader = postgres_engine(url, timeout, pool_size).execution_options(isolation_level="AUTOCOMMIT")
        self._writer = postgres_engine(url, timeout, pool_size)

    async def read(self, query: Query[Result], seconds: float | None) -> Result:
        async with asyncio.timeout(seconds), _connected(self._reader) as connection:
            return await connection.run_sync(query)

    async def write(self, query: Query[Result], seconds: float | None) -> Result:
        commit_sent = False
        try:
            async with asyncio.timeout(seconds), _connected(self._writer) as connection:
                result = await connection.run_sync(query)
                commit_sent = True
                await connection.commit()
        except (DBAPIError, ConnectionError, TimeoutError) as error:
            if commit_sent and not (isinstance(error, DBAPIError) and is_aborted(error)):
                log.warning("database.outcome_not_known", code=code(error))
                raise Unavailable(NOT_KNOWN) from error
            raise
        return result

    async def close(self) -> None:
        await self._reader.dispose()
        await self._writer.dispose()


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(engine.connect())
        except PoolTimeout as error:
            raise Unavailable("all connections to it are in use") from error
        except (DBAPIError, OSError) as error:
            log.warning("database.not_connected", code=code(error))
            raise Unavailable(reason(error) or "it cannot be connected to") from error
        try:
            yield connection
        except DBAPIError as error:
            if is_read_only(error):
                # Only a new connection finds the server that has taken over.
                await connection.invalidate()
            raise


class Database:
    """The one way to the data. `read` and `write` run a query function alone; `batched_*` share one among many.

    A query that is `patient` takes as long as it takes; all others give up after `timeout` seconds.
    """

    def __init__(self, url: URL, *, timeout: int = 10, pool_size: int = 4, batch_size: int = 64) -> None:
        self._backend: Backend = (
            SQLite(url, timeout) if url.drivername == "sqlite" else PostgreSQL(url, timeout, pool_size)
        )
        self._timeout = timeout
        self._batch_size = batch_size
        self._batches: list[Batches[Any, Any]] = []
        self._under_way = 0
        self._idle = asyncio.Event()
        self._closed = False

    async def read(self, query: Query[Result], *, patient: bool = False) -> Result:
        """Run a query that changes nothing. On PostgreSQL each of its statements sees what is committed by then.

        Raises:
            Unavailable: the database does not answer.
        """
        return await self._run(self._backend.read, query, patient=patient)

    async def write(self, query: Query[Result], *, patient: bool = False) -> Result:
        """Run a query in one transaction and answer after its commit; run it again on a conflict.

        Raises:
            Unavailable: the database does not answer, or conflicts do not end.
        """
        return await self._run(self._backend.write, query, patient=patient)

    def batched_read(
        self, query: Callable[[Connection, Sequence[Item]], Sequence[Result | Exception]]
    ) -> Batches[Item, Result]:
        """Share one run of `query` among the items that wait for it."""

        async def run(items: list[Item]) -> Sequence[Result | Exception]:
            return await self.read(lambda connection: query(connection, items))

        return self._registered(Batches(run, size=self._batch_size, lanes=self._backend.read_lanes))

    def batched_write(
        self, query: Callable[[Connection, Sequence[Item]], Sequence[Result | Exception]]
    ) -> Batches[Item, Result]:
        """Share one transaction, and so one commit, among the items that wait for it."""

        async def run(items: list[Item]) -> Sequence[Result | Exception]:
            return await self.write(lambda connection: query(connection, items))

        return self._registered(Batches(run, size=self._batch_size, lanes=self._backend.write_lanes))

    def _registered(self, batches: Batches[Item, Result]) -> Batches[Item, Result]:
        self._batches.append(batches)
        return batches

    async def close(self) -> None:
        """Answer what was accepted, then let the connections go. What comes later is refused."""
        for batches in self._batches:
            await batches.finish()
        self._closed = True
        if self._under_way:
            self._idle.clear()
            await self._idle.wait()
        await self._backend.close()

    async def _run(self, run: Run[Result], query: Query[Result], *, patient: bool) -> Result:
        if self._closed:
            raise Unavailable("the service is stopping")
        self._under_way += 1
        try:
            return await _retried(run, query, self._timeout, patient=patient)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


async def _retried(run: Run[Result], query: Query[Result], seconds: int, *, patient: bool) -> Result:
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE
    while True:
        because: str | None
        try:
            return await run(query, None if patient else seconds)
        except Conflict:
            because = CONTENDED
        except (DBAPIError, ConnectionError, TimeoutError) as error:
            because = reason(error)
            if not (isinstance(error, DBAPIError) and is_passing(error)):
                if because is None:
                    raise
                log.warning("database.unavailable", code=code(error))
                raise Unavailable(because) from error
        if time.monotonic() > deadline:
            log.warning("database.gave_up", because=because or CONTENDED)
            raise Unavailable(because or CONTENDED)
        # Spread the retries out, so that those who collided do not meet again.
        await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - not a secret
        pause = min(2 * pause, LONGEST_PAUSE)


def refuses_data(error: DBAPIError) -> bool:
    """Whether the database found fault with the values handed over, so that others may well be accepted."""
    return isinstance(error, (DataError, IntegrityError)) or sqlstate(error).startswith(("22", "23", "54"))


SQL_TYPES = {Text: "text", BigInteger: "bigint"}


def rows(dialect: str, parameter: str, **columns: type[Text | BigInteger]) -> Subquery:
    """A table of rows handed over as one JSON parameter, `[[...], ...]`, in the order of the columns named.

    One parameter whatever the number of rows: the statement's text, and so its prepared plan, stays the same.
    """
    if dialect == "postgresql":
        fields = ", ".join(
            f"CAST(r ->> {n} AS {SQL_TYPES[kind]}) AS {name}" for n, (name, kind) in enumerate(columns.items())
        )
        source = f"SELECT {fields} FROM jsonb_array_elements(CAST(:{parameter} AS jsonb)) AS r"  # noqa: S608 - the code's own names
    else:
        fields = ", ".join(f"json_extract(value, '$[{n}]') AS {name}" for n, name in enumerate(columns))
        source = f"SELECT {fields} FROM json_each(:{parameter})"  # noqa: S608 - the code's own names
    clause: TextClause = text(source)
    return clause.columns(**columns).subquery(parameter)


def as_rows(values: Iterable[Sequence[object]]) -> str:
    """Rows for a parameter of `rows`."""
    return msgspec.json.encode(list(values)).decode()


def insert_rows(dialect: str, table: Table, columns: Sequence[str], source: Subquery) -> postgresql.Insert:
    """`INSERT INTO table (columns) SELECT * FROM source`, ready for an ON CONFLICT clause.

    Both dialects write that clause alike, and SQLAlchemy's two classes have the same methods.
    """
    # SQLite reads a bare ON after the table as a join; a WHERE in between tells it apart.
    selected = select(*source.c).where(literal_column("1") == literal_column("1"))
    if dialect == "postgresql":
        return postgresql.insert(table).from_select(list(columns), selected)
    return cast("postgresql.Insert", sqlite.insert(table).from_select(list(columns), selected))


def upsert(
    connection: Connection,
    table: Table,
    row: Mapping[str, object],
    changes: Mapping[str, object],
    where: ColumnElement[bool] | None = None,
) -> bool:
    """Insert `row` with `changes`, or set `changes` on the row that has the table's primary key already.

    Where there is one that does not meet `where`, it stays as it is, and the answer is False.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values({**row, **changes})
    key = list(table.primary_key.columns)
    done = connection.execute(statement.on_conflict_do_update(index_elements=key, set_=dict(changes), where=where))
    return done.rowcount == 1
