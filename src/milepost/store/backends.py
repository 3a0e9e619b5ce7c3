"""The two kinds of database: how each runs a query, alone or at the end of a batch's lane.

Whatever keeps one from answering is raised as `Unavailable`, or as the driver's error where running the query again
may help.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import structlog
from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util import greenlet_spawn

from milepost.problems import UNAVAILABLE, Problem
from milepost.store.engines import code, is_aborted, is_read_only, is_undone, postgres_engine, reason, sqlite_engine

Result = TypeVar("Result")
Query = Callable[[Connection], Result]
Decision = tuple[Result, Query[None] | None]
"""What is answered, and what stores it with one statement (None: there is nothing to store)."""

log = structlog.get_logger(__name__)

NOT_KNOWN = "it went away while it stored the change, which may be stored or not"


class Unavailable(Problem):
    """The database does not answer (503 with Retry-After). It concerns every request of a batch."""

    concerns_all = True

    def __init__(self, because: str) -> None:
        super().__init__(
            UNAVAILABLE,
            f"The database cannot be used right now: {because}. Try again shortly.",
            headers={"Retry-After": "1"},
        )


class Backend(Protocol):
    """What differs between the two kinds of database.

    `seconds` is how long a query may take, None: as long as it takes.
    """

    read_lanes: int
    write_lanes: int

    async def read(self, query: Query[Result], seconds: float | None) -> Result: ...
    async def write(self, query: Query[Result], seconds: float | None) -> Result: ...
    async def decide_and_write(self, decide: Query[Decision[Result]], seconds: float | None) -> Result:
        """Read and decide, then store with one statement, which is a transaction of its own: no BEGIN, no COMMIT."""
        ...

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

    async def decide_and_write(self, decide: Query[Decision[Result]], seconds: float | None) -> Result:
        def run(connection: Connection) -> Result:
            result, store = decide(connection)
            if store is not None:
                store(connection)
            return result

        return await self.write(run, seconds)

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
    """asyncpg, driven by SQLAlchemy in a greenlet: one for each query, from its connection's taking to its return.

    Reads are single statements outside a transaction, so they cost one round trip each.
    """

    read_lanes = 2
    write_lanes = 2

    def __init__(self, url: URL, timeout: int, pool_size: int) -> None:
        self._reading = postgres_engine(url, timeout, pool_size)
        self._writing = postgres_engine(url, timeout, pool_size)
        self._reader = self._reading.sync_engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, query: Query[Result], seconds: float | None) -> Result:
        async with asyncio.timeout(seconds):
            return await greenlet_spawn(_on, self._reader, query)

    async def write(self, query: Query[Result], seconds: float | None) -> Result:
        commit_sent = False

        def run(connection: Connection) -> Result:
            nonlocal commit_sent
            result = query(connection)
            commit_sent = True
            connection.commit()
            return result

        try:
            async with asyncio.timeout(seconds):
                return await greenlet_spawn(_on, self._writing.sync_engine, run)
        except (DBAPIError, ConnectionError, TimeoutError) as error:
            if commit_sent and not (isinstance(error, DBAPIError) and is_aborted(error)):
                raise _outcome_not_known(error) from error
            raise

    async def decide_and_write(self, decide: Query[Decision[Result]], seconds: float | None) -> Result:
        statement_sent = False

        def run(connection: Connection) -> Result:
            nonlocal statement_sent
            result, store = decide(connection)
            if store is not None:
                statement_sent = True
                store(connection)
            return result

        try:
            async with asyncio.timeout(seconds):
                return await greenlet_spawn(_on, self._reader, run)
        except (DBAPIError, ConnectionError, TimeoutError) as error:
            if statement_sent and not (isinstance(error, DBAPIError) and is_undone(error)):
                raise _outcome_not_known(error) from error
            raise

    async def close(self) -> None:
        await self._reading.dispose()
        await self._writing.dispose()


def _outcome_not_known(error: Exception) -> Unavailable:
    log.warning("database.outcome_not_known", code=code(error))
    return Unavailable(NOT_KNOWN)


def _on(engine: Engine, query: Query[Result]) -> Result:
    try:
        connection = engine.connect()
    except PoolTimeout as error:
        raise Unavailable("all connections to it are in use") from error
    except (DBAPIError, OSError) as error:
        log.warning("database.not_connected", code=code(error))
        raise Unavailable(reason(error) or "it cannot be connected to") from error
    with connection:
        try:
            return query(connection)
        except DBAPIError as error:
            if is_read_only(error):
                # Only a new connection finds the server that has taken over.
                connection.invalidate()
            raise
