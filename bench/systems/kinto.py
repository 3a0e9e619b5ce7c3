"""Kinto: a bucket for each organization, its roles as groups, a record for each user, writable by that user alone."""

import hmac
import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from bench.documents import ORG_SIZE, ROLES, Json, document, org_id, roles, user_id
from bench.installs import HERE, python
from bench.processes import BenchError, run, running
from bench.stage import Stage, System, cores, execute, new_port, send_all
from bench.systems.contract import JSON_PATCH, TAGGED_USERS, numbers
from bench.workloads import TAG, Request, Workload, with_json

FOLDER = HERE / "peers" / "kinto"
PASSWORD = "bench"  # noqa: S105 - it protects nothing
BATCH = 25
"""Requests in one of Kinto's batches; its documentation's setting."""
TRIES = 20
COLLIDED = {httpx.codes.CONFLICT, httpx.codes.SERVICE_UNAVAILABLE}
THREADS = 25
"""Threads of a worker that wait for the database, half of its connections."""


@contextmanager
def started(stage: Stage) -> Iterator[System]:
    """Kinto on a database of its own, behind Granian with a worker for each core."""
    interpreter = python("kinto", FOLDER / "requirements.txt")
    database, port, secret = stage.database(), new_port(), secrets.token_hex(16)
    ini = stage.folder / "kinto.ini"
    url = urlsplit(database)._replace(scheme="postgresql+psycopg2").geturl()
    ini.write_text((FOLDER / "kinto.ini").read_text().format(database=url, secret=secret))
    run([interpreter.with_name("kinto"), "migrate", "--ini", ini])
    command: list[str | Path] = [interpreter, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", str(cores()), "--blocking-threads", str(THREADS)]
    with running(
        [*command, "--no-ws", "--log-level", "warning", "app:application"],
        log=stage.log("kinto"),
        ready=f"http://127.0.0.1:{port}/v1/__lbheartbeat__",
        environment={"KINTO_INI": str(ini)},
        folder=FOLDER,
    ) as process:
        _load(stage, port, database, secret)

        def requests(workload: Workload) -> list[Request] | None:
            return _requests(stage, port, workload)

        yield System("kinto", "Kinto", port, process, requests, _fits, database)


def _authorization(user: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{PASSWORD}'.encode()).decode()}"}


def _principal(user: str, secret: str) -> str:
    digest = hmac.new(secret.encode(), f"{user}:{PASSWORD}".encode(), "sha256").hexdigest()
    return f"basicauth:{digest}"


def _path(number: int) -> str:
    return f"/v1/buckets/{org_id(number)}/collections/properties/records/{user_id(number)}"


def _load(stage: Stage, port: int, database: str, secret: str) -> None:
    everybody = range(stage.world.users)
    buckets: list[Json] = []
    below: list[Json] = []
    for first in range(0, stage.world.users, ORG_SIZE):
        bucket = f"/v1/buckets/{org_id(first)}"
        buckets.append({"path": bucket})
        below.append({"path": f"{bucket}/collections/properties"})
        members = range(first, min(first + ORG_SIZE, stage.world.users))
        for role in ROLES:
            held_by = [_principal(user_id(number), secret) for number in members if role in roles(number)]
            below.append({"path": f"{bucket}/groups/{role}", "body": {"data": {"members": held_by}}})
    records: list[Json] = [
        {
            "path": _path(number),
            "body": {
                "data": document(number),
                "permissions": {"write": [_principal(user_id(number), secret)]},
            },
        }
        for number in everybody
    ]
    for wanted in (buckets, below, records):
        _store(port, wanted)
    execute(database, "ANALYZE")


def _store(port: int, wanted: list[Json]) -> None:
    """Put everything; what collided with its neighbours, as Kinto's timestamps do, is tried again."""
    for _ in range(TRIES):
        batches = [wanted[at : at + BATCH] for at in range(0, len(wanted), BATCH)]
        collided: list[Json] = []
        for parts, answer in zip(batches, send_all(port, [_batch(parts) for parts in batches]), strict=True):
            for part, one in zip(parts, answer.json()["responses"], strict=True):
                if one["status"] in COLLIDED:
                    collided.append(part)
                elif one["status"] not in {httpx.codes.OK, httpx.codes.CREATED}:
                    raise BenchError(f"Kinto refused to be loaded: {one}")
        if not collided:
            return
        wanted = collided
    raise BenchError(f"Kinto refused to be loaded: {len(wanted)} documents collided {TRIES} times")


def _batch(parts: list[Json]) -> Request:
    content = {"defaults": {"method": "PUT"}, "requests": parts}
    return with_json("POST", "/v1/batch", content, headers=_authorization("loader"))


def _get(number: int, **headers: str) -> Request:
    user = user_id(number)
    return Request(
        "GET", _path(number), user,
        {**_authorization(user), **{name.replace("_", "-"): value for name, value in headers.items()}},
    )  # fmt: skip


def _put(number: int, revision: int, *, tag: str = "") -> Request:
    headers = _authorization(user_id(number)) | ({"If-Match": tag} if tag else {})
    content = {"data": document(number, revision=revision)}
    return with_json("PUT", _path(number), content, user_id=user_id(number), headers=headers)


def _patch(number: int, revision: int) -> Request:
    status = ("IN_PROGRESS", "UP_NEXT")[revision]
    return with_json(
        "PATCH",
        _path(number),
        [{"op": "replace", "path": "/data/guidedChecklist/steps/0/status", "value": status}],
        user_id=user_id(number),
        headers=_authorization(user_id(number)),
        media_type=JSON_PATCH,
    )


def _requests(stage: Stage, port: int, workload: Workload) -> list[Request] | None:
    match workload:
        case Workload.GET:
            return [_get(number) for number in range(stage.world.users)]
        case Workload.NOT_MODIFIED:
            users = range(min(TAGGED_USERS, stage.world.users))
            answers = send_all(port, [_get(number) for number in users])
            return [_get(number, If_None_Match=answers[number].headers["etag"]) for number in users]
        case Workload.PUT:
            return [_put(*each) for each in numbers(stage)]
        case Workload.PUT_IF_MATCH:
            return [_put(*each, tag=TAG.decode()) for each in numbers(stage, revisions=1)]
        case Workload.PATCH:
            return [_patch(*each) for each in numbers(stage)]
    return None


def _fits(workload: Workload, number: int, answer: httpx.Response) -> bool:
    """Kinto answers the document as it was stored; it knows the user's groups, and filters nothing by them."""
    if workload is Workload.NOT_MODIFIED:
        return answer.status_code == httpx.codes.NOT_MODIFIED
    if answer.status_code != httpx.codes.OK:
        return False
    data = answer.json()["data"]
    expected = document(number)
    steps = data["guidedChecklist"]["steps"]
    return data["userId"] == user_id(number) and len(steps) == len(expected["guidedChecklist"]["steps"])
