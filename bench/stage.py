"""The stage that every system stands on: the PostgreSQL server, the world to load, keys, tokens and folders."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx

from bench.documents import World
from bench.processes import BenchError, Running
from bench.workloads import Request, Workload
from milepost.access.keys import own_key
from milepost.access.tokens import sign
from tests.postgres import Cluster, free_port, new_database

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")
AT_ONCE = 16
"""Requests that are under way together while a system is loaded through its API."""


@dataclass
class Stage:
    """One run's surroundings."""

    cluster: Cluster
    world: World
    folder: Path
    durability: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def key_file(self) -> Path:
        """The key that signs all tokens."""
        return self.folder / "signing.key.pem"

    def token(self, user_id: str, *, platform_admin: bool = False) -> str:
        """A JWT that Milepost and the baseline accept; the same for both."""
        if user_id not in self.tokens:
            self.tokens[user_id] = sign(
                own_key(self.key_file),
                user_id=user_id,
                platform_admin=platform_admin,
                ttl=timedelta(hours=12),
                now=datetime.now(UTC),
                issuer=None,
                audience=None,
            )
        return self.tokens[user_id]

    def database(self) -> str:
        """The URL of a new, empty database."""
        return new_database(self.cluster)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


@contextmanager
def staged(users: int) -> Iterator[Stage]:
    """A stage whose PostgreSQL writes to a disk, with its defaults for durability.

    Raises:
        BenchError: the folder for temporary files is kept in memory, or the server would lose what it acknowledged.
    """
    folder = Path(tempfile.mkdtemp(prefix="milepost-bench-"))
    cluster = Cluster.create()
    try:
        for place in (folder, cluster.folder):
            if filesystem(place) in {"tmpfs", "ramfs"}:
                raise BenchError(f"{place} is kept in memory. Name a folder on a disk: TMPDIR=/var/tmp make bench")
        cluster.start()
        durability = {name: str(value(cluster.url, f"SHOW {name}")) for name in DURABILITY}
        if durability["fsync"] != "on" or durability["synchronous_commit"] != "on":
            raise BenchError(f"PostgreSQL would lose what it acknowledged: {durability}")
        yield Stage(cluster, World(users), folder, durability)
    finally:
        cluster.remove()
        shutil.rmtree(folder)


def filesystem(place: Path) -> str:
    """The kind of file system that a folder lies on; '' where the system does not tell."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    holding = [mount for mount in mounts if place.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else ""


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def value(url: str, query: str) -> object:
    """The one value that a query answers."""

    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            found: object = await connection.fetchval(query)
        finally:
            await connection.close()
        return found

    return asyncio.run(ask())


@dataclass(frozen=True)
class System:
    """A server that is measured: where it listens, what it is asked, and whether its answer is the right one.

    `requests` answers None for a workload that the system does not know. `fits` judges the answer to the request
    about the user with this number.
    """

    key: str
    title: str
    port: int
    running: Running
    requests: Callable[[Workload], list[Request] | None]
    fits: Callable[[Workload, int, httpx.Response], bool]
    database: str = ""
    checks_tokens: bool = True


async def _send_all(port: int, requests: list[Request]) -> list[httpx.Response]:
    waiting = iter(enumerate(requests))
    answers: dict[int, httpx.Response] = {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client:

        async def work() -> None:
            for place, one in waiting:
                answers[place] = await client.request(one.method, one.path, headers=dict(one.headers), content=one.body)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return [answers[place] for place in range(len(requests))]


def send_all(port: int, requests: list[Request]) -> list[httpx.Response]:
    """Send requests once each, some at the same time, and see that all are accepted.

    Raises:
        BenchError: one was refused.
    """
    answers = asyncio.run(_send_all(port, requests))
    for request, answer in zip(requests, answers, strict=True):
        if answer.is_error:
            raise BenchError(f"{request.method} {request.path}: {answer.status_code} {answer.text[:500]}")
    return answers


def new_port() -> int:
    """A port of 127.0.0.1 that is free."""
    return free_port()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
