"""The machine that a run was made on, in a few words; nothing that names it or its owner."""

import os
import platform
import re
import sqlite3
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from bench.stage import Stage, cores, filesystem


def described(stage: Stage, wrk: Path) -> dict[str, str]:
    """Processor, memory, disk, system, and the versions of what is measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return {
        "processor": f"{_processor()}, {cores()} cores",
        "memory": f"{memory:.0f} GiB",
        "file system": filesystem(stage.folder) or "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "load before the run": f"{load:.1f}",
        "Python": platform.python_version(),
        "PostgreSQL": _first_line(stage.cluster.programs / "postgres", "--version"),
        "SQLite": sqlite3.sqlite_version,
        "Granian": version("granian"),
        "wrk": _first_line(wrk, "--version"),
        "durability of PostgreSQL": ", ".join(f"{name} {value}" for name, value in stage.durability.items()),
        "durability of SQLite": "journal_mode WAL, synchronous FULL",
    }


def _processor() -> str:
    with suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _first_line(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0].split(" Copyright")[0]
