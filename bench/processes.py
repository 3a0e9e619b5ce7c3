"""Programs that run beside the benchmark: started, waited for, looked at, and ended with everything they started."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.postgres import tail

KIB = 1024


class BenchError(Exception):
    """The benchmark cannot go on; the message says why and what to do."""


@dataclass
class Running:
    """A server that answers, and how long it took to."""

    process: "subprocess.Popen[bytes]"
    log: Path
    seconds_to_ready: float

    @property
    def memory(self) -> int:
        """Bytes of memory that its processes have together; what they share counts once."""
        return sum(_proportional(pid) for pid in _family(self.process.pid))


@contextmanager
def running(
    command: list[str | Path],
    *,
    log: Path,
    ready: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 90,
) -> Iterator[Running]:
    """A server in a process group of its own, from when the URL `ready` answers 200 to the end of the block.

    Raises:
        BenchError: it does not answer in time.
    """
    start = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(process, ready, log, seconds)
        yield Running(process, log, time.perf_counter() - start)
    finally:
        end(process)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with httpx.Client(trust_env=False, timeout=5) as client:
        while not _answers(client, url):
            if process.poll() is not None:
                raise BenchError(f"{log.name}: it ended, exit code {process.returncode}\n{tail(log)}")
            if time.monotonic() > deadline:
                raise BenchError(f"{log.name}: it does not answer after {seconds:.0f} s\n{tail(log)}")
            time.sleep(0.01)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def end(process: "subprocess.Popen[bytes]", *, seconds: float = 15) -> None:
    """End a process and all of its group: told first, then killed."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    # Children that outlived their parent.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run(command: list[str | Path], *, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a program to its end; answers what it printed.

    Raises:
        BenchError: it failed.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise BenchError(f"{command[0]} failed, exit code {done.returncode}\n{told}")
    return done.stdout


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return family


def _proportional(pid: int) -> int:
    """A process's proportional set size, bytes; 0 where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * KIB
    return 0
