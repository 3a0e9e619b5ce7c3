"""What was acknowledged stays: the service is killed, its database is killed, and it is stopped under load."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from milepost.domain.records import microseconds
from milepost.journal.queries import of_user
from milepost.store.engines import sqlite_engine
from tests.arrange import BASE, Json, fresh, record
from tests.calls import directly
from tests.conftest import Service, milepost, start_service, wait_until_ready
from tests.postgres import Cluster, new_database

WRITERS = 16
PATIENCE = 60
"""Seconds to wait for what must happen."""


def content(number: int) -> Json:
    """Attributes that show at once when a part of one write is mixed with a part of another."""
    return {"number": number, "list": [number] * (number % 50), "text": f"{number} " * 200}


@dataclass
class Writer:
    """A client that stores one record again and again, and knows what was acknowledged."""

    service: Service
    user_id: str = field(default_factory=lambda: fresh("user"))
    sent: int = 0
    acknowledged: int = 0
    versions: list[int] = field(default_factory=list)
    unavailable: int = 0
    stopped: bool = False

    def __post_init__(self) -> None:
        self.token = self.service.token(self.user_id)
        self.path = f"{BASE}/users/{self.user_id}/properties"

    def write(self) -> None:
        """Write until told to stop or cut off."""
        with self.service.client(self.token) as client:
            while not self.stopped:
                try:
                    self.put(client)
                except httpx.TransportError:
                    return

    def put(self, client: httpx.Client) -> None:
        self.sent += 1
        answer = client.put(self.path, json=record(self.user_id, attributes=content(self.sent)))
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            assert int(answer.headers["retry-after"]) >= 1
            self.unavailable += 1
            time.sleep(0.01)
            return
        assert answer.status_code == httpx.codes.OK, answer.text
        self.acknowledged = self.sent
        self.versions.append(microseconds(datetime.fromisoformat(answer.json()["modifiedDate"])))

    def stored(self) -> int:
        """The number of the write whose content is stored, whole."""
        with self.service.client(self.token) as client:
            answer = client.get(self.path, params={"orgId": "none"})
        assert answer.status_code == httpx.codes.OK, answer.text
        attributes: Json = answer.json()["attributes"]
        number = int(attributes["number"])
        assert attributes == content(number)
        return number


@contextmanager
def writing(writers: list[Writer]) -> Iterator[None]:
    """All of them write meanwhile; afterwards, what one of them met with is raised."""
    with ThreadPoolExecutor(len(writers)) as pool:
        running = [pool.submit(writer.write) for writer in writers]
        try:
            yield
        finally:
            for writer in writers:
                writer.stopped = True
        for each in running:
            each.result()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def each_acknowledged(writers: list[Writer], times: int) -> None:
    """Wait until each writer has so many more writes acknowledged."""
    goals = [writer.acknowledged + times for writer in writers]
    wait_until(lambda: all(writer.acknowledged >= goal for writer, goal in zip(writers, goals, strict=True)))


def each_refused(writers: list[Writer]) -> None:
    """Wait until each writer is told that the service is unavailable."""
    goals = [writer.unavailable + 1 for writer in writers]
    wait_until(lambda: all(writer.unavailable >= goal for writer, goal in zip(writers, goals, strict=True)))


def check_all_is_there(writers: list[Writer], folder: Path) -> None:
    """Every acknowledged write, or a later one of the same client, is stored whole, and is in the journal."""
    database_url = writers[0].service.database_url
    for writer in writers:
        assert writer.acknowledged <= writer.stored() <= writer.sent
    assert "sound" in milepost("db", "check", "--database", database_url, environment={}, folder=folder)
    journal = directly(database_url, lambda connection: {one.user_id: events(connection, one) for one in writers})
    for writer in writers:
        assert set(writer.versions) <= journal[writer.user_id]


def events(connection: Connection, writer: Writer) -> set[int]:
    return {event.at for event in of_user(connection, writer.user_id)}


def test_a_killed_service_has_lost_nothing_that_it_acknowledged(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as running:
        service = running.enter_context(start_service(database_url, tmp=tmp_path))
        for _ in range(3):
            writers = [Writer(service) for _ in range(WRITERS)]
            with writing(writers):
                each_acknowledged(writers, 5)
                service.kill()

            service = running.enter_context(start_service(database_url, tmp=tmp_path))

            for writer in writers:
                writer.service = service
            check_all_is_there(writers, tmp_path)


def test_a_killed_postgresql_is_survived(postgres_cluster: Cluster, tmp_path: Path) -> None:
    with start_service(new_database(postgres_cluster), tmp=tmp_path) as service:
        writers = [Writer(service) for _ in range(WRITERS)]
        with writing(writers):
            for _ in range(2):
                each_acknowledged(writers, 5)
                postgres_cluster.kill()
                each_refused(writers)
                assert not_ready(service)
                postgres_cluster.start()
                wait_until_ready(service)
                each_acknowledged(writers, 5)

        check_all_is_there(writers, tmp_path)


def not_ready(service: Service) -> bool:
    with service.client() as client:
        answer = client.get("/health/ready")
    return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in answer.headers


def test_a_restarted_postgresql_is_not_noticed_by_those_who_come_later(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    with start_service(new_database(postgres_cluster), tmp=tmp_path) as service:
        writer = Writer(service)
        with service.client(writer.token) as client:
            writer.put(client)

            postgres_cluster.restart()

            assert writer.stored() == 1
            writer.put(client)
            assert writer.unavailable == 0


def test_a_stop_under_load_answers_all_that_was_accepted(database_url: str, tmp_path: Path) -> None:
    with start_service(database_url, tmp=tmp_path) as service:
        writers = [Writer(service) for _ in range(WRITERS)]
        with writing(writers):
            each_acknowledged(writers, 3)
            service.process.terminate()
            service.process.wait(PATIENCE)
    assert service.process.returncode == 0

    with start_service(database_url, tmp=tmp_path) as restarted:
        for writer in writers:
            writer.service = restarted
            assert writer.stored() == writer.acknowledged
            assert writer.unavailable == 0


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
def test_sqlite_writes_to_the_disk_before_it_acknowledges(tmp_path: Path, begin: str) -> None:
    engine = sqlite_engine(make_url(f"sqlite:///{tmp_path / 'milepost.db'}"), 1, begin=begin)

    with engine.begin() as connection:
        settings = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "fullfsync", "foreign_keys")
        }
    engine.dispose()

    full = 2
    assert settings == {"journal_mode": "wal", "synchronous": full, "fullfsync": 1, "foreign_keys": 1}
