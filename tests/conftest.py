"""What tests share: a database of each kind, and the real service running on one of each."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from hypothesis import HealthCheck, settings

from milepost.access.keys import own_key
from milepost.access.tokens import sign
from tests.postgres import (
    Cluster,
    Server,
    drop_database,
    free_port,
    new_database,
    shared,
    stop_shared,
    tail,
)

KINDS = ("sqlite", "postgresql")

# How long an example takes says something of the machine, and nothing of the product.
settings.register_profile("milepost", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("milepost")

RUN_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the processes of a run a folder in common; the first of them makes it and at last deletes it."""
    handed_down = getattr(config, "workerinput", {}).get("run_folder")
    config.stash[RUN_FOLDER] = Path(handed_down or tempfile.mkdtemp(prefix="milepost-tests-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand that folder to a worker of pytest-xdist."""
    node.workerinput["run_folder"] = str(node.config.stash[RUN_FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Only the run's first process stops what its workers share: the others may still be using it."""
    if not hasattr(config, "workerinput"):
        stop_shared(config.stash[RUN_FOLDER])
        shutil.rmtree(config.stash[RUN_FOLDER])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of a service's log with the failure of a test that used it."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Service):
                report.sections.append((f"log of the service at {value.base_url}", tail(value.log)))
    return report


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Server:
    """The PostgreSQL server that all processes of the run share."""
    return shared(request.config.stash[RUN_FOLDER])


@pytest.fixture
def postgres_cluster() -> Iterator[Cluster]:
    """A running PostgreSQL server that the test has to itself and may stop or kill."""
    cluster = Cluster.create()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of one kind after the other."""
    with empty_database(request.param, tmp_path, request.config) as url:
        yield url


@contextmanager
def empty_database(kind: str, folder: Path, config: pytest.Config) -> Iterator[str]:
    """The URL of an empty database of a kind, deleted afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'milepost.db'}"
        return
    server = shared(config.stash[RUN_FOLDER])
    url = new_database(server)
    yield url
    drop_database(server, url)


class Connections(httpx.BaseTransport):
    """Connections that outlive the client that used them: a new client costs nothing and needs no closing."""

    def __init__(self) -> None:
        self.pool = httpx.HTTPTransport(verify=False, limits=httpx.Limits(max_connections=100))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.pool.handle_request(request)


@dataclass
class Service:
    """`milepost serve` in a process of its own. As a context manager it is stopped unless it was killed."""

    base_url: str
    database_url: str
    process: "subprocess.Popen[bytes]"
    signing_key_file: Path
    log: Path
    connections: Connections = field(default_factory=Connections)
    killed: bool = False

    def client(self, token: str | None = None) -> httpx.Client:
        """A client at the root of the service; with a token, every request carries it."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = self.connections
        return httpx.Client(base_url=self.base_url, headers=headers, transport=transport, timeout=30, trust_env=False)

    def token(
        self,
        user_id: str,
        *,
        platform_admin: bool = False,
        ttl: timedelta = timedelta(hours=1),
        issuer: str | None = None,
        audience: str | None = None,
    ) -> str:
        """A token for a user, signed with the service's own key."""
        return sign(
            own_key(self.signing_key_file),
            user_id=user_id,
            platform_admin=platform_admin,
            ttl=ttl,
            now=datetime.now(UTC),
            issuer=issuer,
            audience=audience,
        )

    def stop(self) -> None:
        """Stop the service as an operator does; it must finish in time and in order."""
        self.connections.pool.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=45)
        except subprocess.TimeoutExpired:
            self.kill()
        assert self.process.returncode == 0, f"exit code {self.process.returncode}\n{tail(self.log)}"

    def kill(self) -> None:
        """End every process of the service at once, without a chance to finish anything."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connections.pool.close()
        self.killed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.killed:
            self.stop()


def start_service(
    database_url: str,
    *,
    tmp: Path,
    workers: int = 1,
    extra_env: dict[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Service:
    """A service that answers, on a free port. Those started with the same `tmp` share their signing key."""
    port = free_port()
    key_file = tmp / "signing.key.pem"
    settings = {"MILEPOST_SIGNING_KEY_FILE": str(key_file), "MILEPOST_WORKERS": str(workers)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    environment |= settings | (extra_env or {})
    if database_url.startswith("postgresql"):
        milepost("db", "upgrade", "--database", database_url, environment=environment, folder=tmp)
    log = tmp / f"service-{port}.log"
    command = [sys.executable, "-m", "milepost", "serve", "--host", host, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--database", database_url],
            cwd=tmp,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    service = Service(f"http://127.0.0.1:{port}", database_url, process, key_file, log)
    wait_until_ready(service)
    return service


def milepost(*arguments: str, environment: dict[str, str], folder: Path) -> str:
    """Run the command to its end; answers what it printed."""
    command = [sys.executable, "-m", "milepost", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def wait_until_ready(service: Service, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    with service.client() as client:
        while not ready(client):
            if service.process.poll() is not None:
                pytest.fail(f"the service ended, exit code {service.process.returncode}\n{tail(service.log)}")
            if time.monotonic() > deadline:
                service.kill()
                pytest.fail(f"the service is not ready after {seconds} s\n{tail(service.log)}")
            time.sleep(0.05)


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def services(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Service]]:
    """The services of this test process, one for each kind of database, started when first asked for.

    They are kept here because pytest ends a session's parametrised fixture whenever a test of another
    parameter comes next, and the order in which pytest-xdist hands out tests mixes them.
    """
    running: dict[str, Service] = {}
    with ExitStack() as stack:

        def service_on(kind: str) -> Service:
            if kind not in running:
                folder = tmp_path_factory.mktemp(kind)
                url = stack.enter_context(empty_database(kind, folder, request.config))
                running[kind] = stack.enter_context(start_service(url, tmp=folder))
            return running[kind]

        yield service_on


@pytest.fixture(scope="session", params=KINDS)
def service(request: pytest.FixtureRequest, services: Callable[[str], Service]) -> Service:
    """A running service, shared by many tests: a test uses ids of its own and counts nothing of others."""
    return services(request.param)
