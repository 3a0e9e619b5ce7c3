"""Runs queries on PostgreSQL or SQLite: alone or in micro-batches, retried where the database asks for it.

A query is a plain function over a `sqlalchemy.Connection`. Only `backends.py` knows that PostgreSQL runs it on asyncpg
and SQLite in a worker thread. What one dialect needs differently stands here, there, or in `engines.py` or `schema.py`.

Whatever keeps the database from answering is raised as `Unavailable`. A query may be run more than once, but never
after its COMMIT was sent, unless the database said that it undid the transaction: a write whose outcome is not known
is never run again and never reported as done.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

import msgspec
import structlog
from sqlalchemy import URL, ColumnElement, Connection, Subquery, Table, TextClause, literal_column, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.types import BigInteger, Text

from milepost.store.backends import Backend, Decision, PostgreSQL, Query, SQLite, Unavailable
from milepost.store.batches import Batches
from milepost.store.engines import code, is_passing, reason, sqlstate

Item = TypeVar("Item")
Result = TypeVar("Result")
Run = Callable[[float | None], Awaitable[Result]]

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.1
"""Seconds, at most, before a transaction that collided is run again: the first time, and after many."""


class Conflict(Exception):
    """Another transaction was faster. A query raises it whose guard found that a row has changed since it was read;
    the transaction is run again.
    """


class NeedsTransaction(Exception):
    """What was decided cannot be stored with one statement."""


CONTENDED = "other requests keep changing the same data"


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
        return await self._run(lambda seconds: self._backend.read(query, seconds), patient=patient)

    async def write(self, query: Query[Result], *, patient: bool = False) -> Result:
        """Run a query in one transaction and answer after its commit; run it again on a conflict.

        Raises:
            Unavailable: the database does not answer, or conflicts do not end.
        """
        return await self._run(lambda seconds: self._backend.write(query, seconds), patient=patient)

    def batched_read(
        self, query: Callable[[Connection, Sequence[Item]], Sequence[Result | Exception]]
    ) -> Batches[Item, Result]:
        """Share one run of `query` among the items that wait for it."""

        async def run(items: list[Item]) -> Sequence[Result | Exception]:
            return await self.read(lambda connection: query(connection, items))

        return self._registered(Batches(run, size=self._batch_size, lanes=self._backend.read_lanes))

    def batched_write(
        self,
        query: Callable[[Connection, Sequence[Item]], Sequence[Result | Exception]],
        at_once: Callable[[Connection, Sequence[Item]], Decision[Sequence[Result | Exception]]] | None = None,
        *,
        most: int | None = None,
    ) -> Batches[Item, Result]:
        """Share one transaction, and so one commit, among the items that wait for it, at most `most` of them.

        Where `at_once` is given, it is tried first: it decides from what it reads, and one statement stores that. A
        server is asked twice then, instead of five times. It raises `NeedsTransaction` where one statement will not do.
        """

        async def run(items: list[Item]) -> Sequence[Result | Exception]:
            if at_once is not None:
                with suppress(NeedsTransaction):
                    return await self._write_at_once(at_once, items)
            return await self.write(lambda connection: query(connection, items))

        size = self._batch_size if most is None else min(most, self._batch_size)
        return self._registered(Batches(run, size=size, lanes=self._backend.write_lanes))

    async def _write_at_once(
        self, decide: Callable[[Connection, Sequence[Item]], Decision[Result]], items: Sequence[Item]
    ) -> Result:
        def decided(connection: Connection) -> Decision[Result]:
            return decide(connection, items)

        return await self._run(lambda seconds: self._backend.decide_and_write(decided, seconds))

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

    async def _run(self, run: Run[Result], *, patient: bool = False) -> Result:
        if self._closed:
            raise Unavailable("the service is stopping")
        self._under_way += 1
        try:
            return await _retried(run, self._timeout, patient=patient)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


async def _retried(run: Run[Result], seconds: int, *, patient: bool) -> Result:
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE
    while True:
        because: str | None
        try:
            return await run(None if patient else seconds)
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
