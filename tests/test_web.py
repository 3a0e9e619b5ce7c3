"""What `web/` is built into: the unit tests of its parts, what it weighs, and how it is packed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from milepost import __version__

ROOT = Path(__file__).parent.parent
WEB = ROOT / "web"
HEAVIEST_WIDGET = 15_000


def npm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run npm with the Node.js that built the pages."""
    folders = (str(Path(sys.executable).parent.parent / "node/bin"), os.environ["PATH"])
    environment = os.environ | {"PATH": os.pathsep.join(folders)}
    command = ["npm", "--prefix", str(WEB), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_parts_of_the_widget_and_the_client_do_what_their_own_tests_say() -> None:
    run = npm("run", "test")

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_client_has_the_version_of_the_service_whose_types_it_has() -> None:
    client = json.loads((WEB / "client/package.json").read_text())

    assert client["name"] == "@milepost/client"
    assert client["version"] == __version__
    for path in (client["types"], client["exports"]["."]["types"], client["exports"]["."]["default"]):
        assert (WEB / "client" / path).is_file(), f"{path} is not built: run make web"


def test_the_widget_weighs_no_more_than_it_may() -> None:
    sizes = json.loads((ROOT / "src/milepost/web/build.json").read_text())["widget"]

    assert sizes["milepost-checklist.js"] <= HEAVIEST_WIDGET


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text())

    assert [one["resolved"] for one in lock["packages"].values() if "://" in one.get("resolved", "")] == []
