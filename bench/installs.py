"""What the benchmark needs beside the project: Debian packages, and a folder of its own for every other system."""

import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from bench.processes import BenchError, run

ROOT = Path(__file__).parent.parent
HERE = ROOT / "bench"
CACHE = ROOT / ".cache" / "bench"


def say(what: str) -> None:
    """Tell on standard error what goes on."""
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()


def wrk() -> Path:
    """The load generator, installed first where it is missing.

    Raises:
        BenchError: it is missing and cannot be installed; the message has the command to run.
    """
    if shutil.which("wrk") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing wrk with apt-get.")
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "wrk"]):
            run(["apt-get", *arguments], environment={"DEBIAN_FRONTEND": "noninteractive"})
    found = shutil.which("wrk")
    if found is None:
        command = "brew install wrk" if sys.platform == "darwin" else "sudo apt-get install wrk"
        raise BenchError(f"The benchmark loads with wrk. Run: {command}")
    return Path(found)


def python(name: str, requirements: Path) -> Path:
    """The Python of a virtual environment that has these requirements."""
    folder = CACHE / name
    interpreter = folder / "bin" / "python"
    if _is_stale(folder, requirements):
        say(f"Installing {name} into {folder.relative_to(ROOT)}")
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder])
        pip: list[str | Path] = [interpreter, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run([*pip, "install", "--requirement", requirements])
        _mark(folder, requirements)
    return interpreter


def node(name: str, package: Path) -> Path:
    """A folder whose node_modules has what this package.json names.

    Raises:
        BenchError: there is no npm.
    """
    folder = CACHE / name
    npm = shutil.which("npm")
    if npm is None:
        raise BenchError(f"{name} runs on Node.js 20 or newer, and there is none. Leave it out with --without {name}")
    if _is_stale(folder, package):
        say(f"Installing {name} into {folder.relative_to(ROOT)}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(package, folder / "package.json")
        run([npm, "install", "--no-audit", "--no-fund", "--omit=dev"], folder=folder)
        _mark(folder, package)
    return folder


def _is_stale(folder: Path, wanted: Path) -> bool:
    mark = folder / "installed"
    return not mark.exists() or mark.read_text() != _digest(wanted)


def _mark(folder: Path, wanted: Path) -> None:
    (folder / "installed").write_text(_digest(wanted))


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()
