"""The way to the data: micro-batches, conflicts, a database that does not answer, and the versions of the schema."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Connection, Engine, Text, event, func, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from milepost.store import versions
from milepost.store.backends import Unavailable
from milepost.store.database import Conflict, Database, as_rows, rows
from milepost.store.schema import organizations
from tests.conftest import empty_database
from tests.postgres import Cluster, free_port, new_database

Result = TypeVar("Result")


def on(url: str, work: Callable[[Database], Awaitable[Result]], **options: Any) -> Result:
    """What some work on a database answers; the database is closed afterwards."""

    async def worked() -> Result:
        database = Database(make_url(url), **options)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(worked())


@pytest.fixture
def migrated_url(database_url: str) -> str:
    on(database_url, lambda database: database.write(versions.upgrade))
    return database_url


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database, for what only a server can do."""
    with empty_database("postgresql", tmp_path, request.config) as url:
        on(url, lambda database: database.write(versions.upgrade))
        yield url


@contextmanager
def heard(name: str) -> Iterator[list[tuple[Any, ...]]]:
    """What every engine says meanwhile of one of SQLAlchemy's events."""
    said: list[tuple[Any, ...]] = []

    def note(*details: Any) -> None:
        said.append(details)

    event.listen(Engine, name, note)
    try:
        yield said
    finally:
        event.remove(Engine, name, note)


def create_all(connection: Connection, names: Sequence[str]) -> list[str]:
    """Create organizations; answers their names."""
    connection.execute(insert(organizations), [{"org_id": name, "name": name} for name in names])
    return list(names)


def create(name: str) -> Callable[[Connection], list[str]]:
    return lambda connection: create_all(connection, [name])


def known(connection: Connection) -> set[str]:
    return set(connection.execute(select(organizations.c.org_id)).scalars())


class TestSharing:
    def test_reads_that_wait_share_a_statement(self, migrated_url: str) -> None:
        def lengths(connection: Connection, asked: Sequence[str]) -> list[int]:
            return [connection.execute(select(func.length(asked[0]))).scalar_one()] * len(asked)

        async def read_at_once(database: Database) -> list[int]:
            length = database.batched_read(lengths)
            return await asyncio.gather(*(length("four") for _ in range(200)))

        with heard("before_cursor_execute") as executed:
            answers = on(migrated_url, read_at_once, batch_size=50)

        assert answers == [4] * 200
        assert len([statement for _, _, statement, *_ in executed if "length" in statement]) <= 8

    def test_writes_that_wait_share_a_commit(self, migrated_url: str) -> None:
        async def write_at_once(database: Database) -> list[str]:
            stored = database.batched_write(create_all)
            return await asyncio.gather(*(stored(f"org-{n}") for n in range(200)))

        with heard("commit") as committed:
            answers = on(migrated_url, write_at_once, batch_size=50)

        assert answers == [f"org-{n}" for n in range(200)]
        assert on(migrated_url, lambda database: database.read(known)) == set(answers)
        assert len(committed) <= 10

    def test_a_write_that_the_database_refuses_leaves_its_neighbours_alone(self, migrated_url: str) -> None:
        def create_named(connection: Connection, names: Sequence[str | None]) -> list[str]:
            connection.execute(insert(organizations), [{"org_id": f"org-{name}", "name": name} for name in names])
            return [str(name) for name in names]

        async def write_at_once(database: Database) -> list[str | BaseException]:
            stored = database.batched_write(create_named)
            names = ["one", "two", None, "three"]
            return await asyncio.gather(*(stored(name) for name in names), return_exceptions=True)

        answers = on(migrated_url, write_at_once)

        assert isinstance(answers.pop(2), DBAPIError)
        assert answers == ["one", "two", "three"]
        assert on(migrated_url, lambda database: database.read(known)) == {"org-one", "org-two", "org-three"}

    def test_closing_answers_what_waits_and_refuses_what_comes_later(self, migrated_url: str) -> None:
        async def close_under_load(database: Database) -> list[str]:
            stored = database.batched_write(create_all)
            waiting = [asyncio.create_task(stored(f"org-{n}")) for n in range(20)]
            alone = asyncio.create_task(database.write(create("alone")))
            await asyncio.sleep(0)
            await database.close()
            with pytest.raises(Unavailable):
                await database.read(known)
            return [*await asyncio.gather(*waiting), *await alone]

        answers = on(migrated_url, close_under_load)

        assert on(migrated_url, lambda database: database.read(known)) == set(answers)


class TestConflicts:
    def test_a_transaction_that_failed_leaves_nothing(self, migrated_url: str) -> None:
        def create_and_fail(connection: Connection) -> None:
            create_all(connection, ["org"])
            raise LookupError

        with pytest.raises(LookupError):
            on(migrated_url, lambda database: database.write(create_and_fail))

        assert on(migrated_url, lambda database: database.read(known)) == set()

    def test_a_conflict_is_run_again_from_the_start(self, migrated_url: str) -> None:
        runs: list[set[str]] = []

        def conflict_twice(connection: Connection) -> int:
            runs.append(known(connection))
            create_all(connection, [f"org-{len(runs)}"])
            if len(runs) < 3:
                raise Conflict
            return len(runs)

        assert on(migrated_url, lambda database: database.write(conflict_twice)) == 3

        assert runs == [set(), set(), set()]
        assert on(migrated_url, lambda database: database.read(known)) == {"org-3"}

    def test_conflicts_without_an_end_are_given_up(self, migrated_url: str) -> None:
        def conflict(_: Connection) -> None:
            raise Conflict

        with pytest.raises(Unavailable, match="keep changing"):
            on(migrated_url, lambda database: database.write(conflict), timeout=1)

    @pytest.mark.parametrize("sqlstate", ["40001", "40P01", "23503", "23505", "57P01"])
    def test_what_postgresql_undid_is_run_again(self, postgres_url: str, sqlstate: str) -> None:
        runs = []

        def fail_once(connection: Connection) -> list[str]:
            runs.append(create_all(connection, ["org"]))
            if len(runs) == 1:
                connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$"))
            return runs[-1]

        assert on(postgres_url, lambda database: database.write(fail_once)) == ["org"]

        assert len(runs) == 2
        assert on(postgres_url, lambda database: database.read(known)) == {"org"}


def execute(database: Database, *sql: str) -> Awaitable[None]:
    """Execute statements in a transaction of their own."""

    def run(connection: Connection) -> None:
        for statement in sql:
            connection.exec_driver_sql(statement)

    return database.write(run)


END_OWN_CONNECTION = "SELECT pg_terminate_backend(pg_backend_pid())"
END_IT_AT_THE_COMMIT = (
    """CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'""",
    """CREATE CONSTRAINT TRIGGER at_the_commit AFTER INSERT ON organizations DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION end_it()""",
)
END_OTHER_CONNECTIONS = """SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
SLEEP = text("SELECT 1 FROM pg_sleep(600)")


def sleep(connection: Connection) -> object:
    return connection.execute(SLEEP).scalar_one()


class TestPostgreSQLThatDoesNotAnswer:
    def test_nobody_listens(self) -> None:
        with pytest.raises(Unavailable, match="cannot be reached"):
            on(f"postgresql://127.0.0.1:{free_port()}/none", lambda database: database.read(known))

    def test_there_is_no_such_database(self, postgres_url: str) -> None:
        with pytest.raises(Unavailable, match="no database of this name"):
            on(postgres_url + "_", lambda database: database.read(known))

    def test_a_connection_that_died_is_replaced(self, postgres_url: str) -> None:
        async def end_connections(database: Database) -> set[str]:
            await database.write(create("before"))
            await database.read(known)
            await asyncio.to_thread(on, postgres_url, lambda other: execute(other, END_OTHER_CONNECTIONS))
            await database.write(create("after"))
            return await database.read(known)

        assert on(postgres_url, end_connections) == {"before", "after"}

    @pytest.mark.parametrize("kind", ["read", "write"])
    def test_a_query_whose_connection_dies_is_run_again(self, postgres_url: str, kind: str) -> None:
        runs = []

        def die_once(connection: Connection) -> int:
            runs.append(connection)
            if len(runs) == 1:
                connection.exec_driver_sql(END_OWN_CONNECTION)
            return len(runs)

        assert on(postgres_url, lambda database: getattr(database, kind)(die_once)) == 2

    def test_a_write_whose_connection_dies_at_the_commit_is_not_run_again(self, postgres_url: str) -> None:
        runs = []

        def create_one(connection: Connection) -> None:
            runs.append(create_all(connection, ["org"]))

        on(postgres_url, lambda database: execute(database, *END_IT_AT_THE_COMMIT))

        with pytest.raises(Unavailable, match="stored or not"):
            on(postgres_url, lambda database: database.write(create_one))

        assert len(runs) == 1

    @pytest.mark.parametrize("kind", ["read", "write"])
    def test_a_query_that_takes_too_long_is_given_up(self, postgres_url: str, kind: str) -> None:
        async def be_slow(database: Database) -> set[str]:
            with pytest.raises(Unavailable, match="in time"):
                await getattr(database, kind)(sleep)
            return await database.read(known)

        assert on(postgres_url, be_slow, timeout=1) == set()

    def test_a_patient_query_takes_as_long_as_it_takes(self, postgres_url: str) -> None:
        def take_longer(connection: Connection) -> object:
            return connection.execute(text("SELECT 1 FROM pg_sleep(1.2)")).scalar_one()

        assert on(postgres_url, lambda database: database.read(take_longer, patient=True), timeout=1) == 1

    def test_all_connections_are_in_use(self, postgres_url: str) -> None:
        async def need_two(database: Database) -> None:
            first = asyncio.create_task(database.read(sleep, patient=True))
            await asyncio.sleep(0)
            try:
                await database.read(known)
            finally:
                first.cancel()
                await asyncio.wait([first])

        with pytest.raises(Unavailable, match=r"in use|in time"):
            on(postgres_url, need_two, timeout=1, pool_size=1)

    def test_the_server_has_no_connection_to_spare(self, postgres_cluster: Cluster) -> None:
        url = new_database(postgres_cluster)
        limit = f'ALTER DATABASE "{make_url(url).database}" CONNECTION LIMIT 0'
        on(url, lambda database: execute(database, "CREATE ROLE guest LOGIN", limit))

        with pytest.raises(Unavailable, match="no connection to spare"):
            on(url.replace("postgres@", "guest@"), lambda database: database.read(known))

    def test_a_server_that_was_read_only_is_written_to_again(self, postgres_url: str) -> None:
        setting = f'ALTER DATABASE "{make_url(postgres_url).database}" SET default_transaction_read_only'

        async def write_twice(database: Database) -> set[str]:
            with pytest.raises(Unavailable, match="read-only"):
                await database.write(create("org"))
            await asyncio.to_thread(
                on, postgres_url, lambda other: execute(other, "SET TRANSACTION READ WRITE", f"{setting} = off")
            )
            await database.write(create("org"))
            return await database.read(known)

        on(postgres_url, lambda database: execute(database, f"{setting} = on"))

        assert on(postgres_url, write_twice) == {"org"}


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    file = tmp_path / "milepost.db"
    on(f"sqlite:///{file}", lambda database: database.write(versions.upgrade))
    return file


class TestSQLiteThatDoesNotAnswer:
    def test_another_process_keeps_it_locked(self, sqlite_file: Path) -> None:
        holder = sqlite3.connect(sqlite_file, isolation_level=None, check_same_thread=False)

        async def write_twice(database: Database) -> set[str]:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await database.write(create("org"))
            assert await database.read(known) == set()
            holder.execute("ROLLBACK")
            await database.write(create("org"))
            return await database.read(known)

        try:
            assert on(f"sqlite:///{sqlite_file}", write_twice, timeout=1) == {"org"}
        finally:
            holder.close()

    def test_nobody_waits_for_more_than_one_batch_that_fails(self, sqlite_file: Path) -> None:
        holder = sqlite3.connect(sqlite_file, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")

        async def write_at_once(database: Database) -> list[str | BaseException]:
            stored = database.batched_write(create_all)
            return await asyncio.gather(*(stored(f"org-{n}") for n in range(50)), return_exceptions=True)

        try:
            with heard("before_cursor_execute") as executed:
                answers = on(f"sqlite:///{sqlite_file}", write_at_once, timeout=1, batch_size=1)
        finally:
            holder.close()

        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert [statement for _, _, statement, *_ in executed] == ["BEGIN IMMEDIATE"]

    def test_the_disk_is_full(self, sqlite_file: Path) -> None:
        def fill(connection: Connection) -> None:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
            create_all(connection, [str(n) * 1000 for n in range(1000)])

        with pytest.raises(Unavailable, match="disk is full"):
            on(f"sqlite:///{sqlite_file}", lambda database: database.write(fill))

        assert on(f"sqlite:///{sqlite_file}", lambda database: database.read(known)) == set()

    def test_the_file_cannot_be_written_to(self, sqlite_file: Path) -> None:
        def write(connection: Connection) -> None:
            connection.execute(text("PRAGMA query_only = ON"))
            create_all(connection, ["org"])

        with pytest.raises(Unavailable, match="written to"):
            on(f"sqlite:///{sqlite_file}", lambda database: database.write(write))

    def test_the_file_is_something_else(self, tmp_path: Path) -> None:
        file = tmp_path / "milepost.db"
        file.write_text("a letter to a friend, long enough to be taken for a database at first sight" * 100)

        with pytest.raises(Unavailable, match="not a SQLite database"):
            on(f"sqlite:///{file}", lambda database: database.read(known))

    def test_the_file_is_damaged(self, sqlite_file: Path) -> None:
        with sqlite_file.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096 * 8)

        with pytest.raises(Unavailable, match="damaged"):
            on(f"sqlite:///{sqlite_file}", lambda database: database.read(known))

    def test_the_file_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="cannot be opened"):
            on(f"sqlite:///{tmp_path}", lambda database: database.read(known))


class TestUnavailable:
    def test_it_says_when_to_try_again(self) -> None:
        problem = Unavailable("it is being moved")

        assert problem.kind.status == 503
        assert problem.headers == {"Retry-After": "1"}
        assert problem.detail == "The database cannot be used right now: it is being moved. Try again shortly."


# PostgreSQL stores every character but U+0000, which ids and names cannot have, and records only as an escape.
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**63 - 1)


class TestRows:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
    @given(sent=st.lists(st.tuples(WORDS, st.none() | NUMBERS)))
    def test_rows_arrive_as_they_were_sent(self, database_url: str, sent: list[tuple[str, int | None]]) -> None:
        def echo(connection: Connection) -> list[tuple[str, int | None]]:
            wanted = rows(connection.dialect.name, "sent", word=Text, number=BigInteger)
            found = connection.execute(select(wanted.c.word, wanted.c.number), {"sent": as_rows(sent)})
            return [(row.word, row.number) for row in found]

        assert on(database_url, lambda database: database.read(echo)) == sent
