"""The hand-written baseline: what a user would write in an afternoon (bench/baseline)."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec

from bench.documents import document, org_id, roles, user_id
from bench.installs import HERE, python
from bench.processes import running
from bench.stage import Stage, System, new_port
from bench.systems import contract
from bench.workloads import Request, Workload
from milepost.access.keys import own_key

FOLDER = HERE / "baseline"


@contextmanager
def started(stage: Stage) -> Iterator[System]:
    """The baseline on a database of its own, behind uvicorn with one worker."""
    interpreter = python("baseline", FOLDER / "requirements.txt")
    database, port = stage.database(), new_port()
    public_key = stage.folder / "baseline.pem"
    public_key.write_bytes(own_key(stage.key_file).as_pem(private=False))
    surroundings = {
        "DATABASE_URL": urlsplit(database)._replace(scheme="postgresql+asyncpg").geturl(),
        "PUBLIC_KEY_FILE": str(public_key),
    }
    command: list[str | Path] = [interpreter, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port)]
    with running(
        command,
        log=stage.log("baseline"),
        ready=f"http://127.0.0.1:{port}/health",
        environment=surroundings,
        folder=FOLDER,
    ) as process:
        asyncio.run(_load(stage, database))

        def requests(workload: Workload) -> list[Request] | None:
            return contract.of_the_record(stage, port, workload)

        yield System("baseline", "baseline", port, process, requests, contract.fits, database)


async def _load(stage: Stage, database: str) -> None:
    everybody = range(stage.world.users)
    encode = msgspec.json.Encoder().encode
    connection = await asyncpg.connect(database)
    try:
        await connection.copy_records_to_table(
            "memberships",
            records=[(user_id(number), org_id(number), role) for number in everybody for role in roles(number)],
        )
        await connection.copy_records_to_table(
            "records",
            records=[(user_id(number), org_id(number), encode(document(number)).decode(), 1) for number in everybody],
            columns=["user_id", "org_id", "body", "version"],
        )
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
