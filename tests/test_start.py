"""What `milepost serve` imports to be ready: every module there costs each start its time and each process its memory.

Nothing is timed. A module that has come in for a good reason is taken off the list here.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import start_service

NOT_NEEDED = {
    "alembic": "the schema is up to date already",
    "httpx": "no source of signals is named",
    "jinja2": "the pages of the documentation are files",
    "prompt_toolkit": "conditions need no interactive command",
    "litestar.plugins.pydantic": "the types are msgspec's",
    "swagger_ui": "only its files are wanted",
}


def imported(database_url: str, folder: Path, workers: int) -> Counter[str]:
    """How often each module was imported by the processes of a service until it was ready; its schema was right."""
    start_service(database_url, tmp=folder).stop()
    service = start_service(
        database_url, tmp=folder, workers=workers, extra_env={"PYTHONPROFILEIMPORTTIME": "1", "PYTHONUNBUFFERED": "1"}
    )
    service.stop()
    lines = service.log.read_text().splitlines()
    return Counter(line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:"))


def test_a_service_whose_schema_is_right_imports_nothing_that_it_does_not_need(
    database_url: str, tmp_path: Path
) -> None:
    modules = imported(database_url, tmp_path, workers=1)

    assert modules["milepost.app"], "the imports were not told"
    assert {name: NOT_NEEDED[name] for name in modules.keys() & NOT_NEEDED.keys()} == {}


@pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere the workers are not forked")
def test_the_workers_share_what_was_imported_before_them(database_url: str, tmp_path: Path) -> None:
    modules = imported(database_url, tmp_path, workers=2)

    assert {name: times for name, times in modules.items() if name.startswith("milepost") and times > 1} == {}
    assert modules["milepost.app"] == 1
