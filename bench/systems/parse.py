"""Parse Server: a class of documents, each readable and writable by its user alone; roles as Parse's roles."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx

from bench.documents import FIRST, ORG_SIZE, ROLES, Json, document, org_id, roles, user_id
from bench.installs import HERE, node
from bench.processes import BenchError, running
from bench.stage import Stage, System, execute, new_port, send_all
from bench.systems.contract import TAGGED_USERS, numbers
from bench.workloads import Request, Workload, with_json

FOLDER = HERE / "peers" / "parse"
BATCH = 50
"""Operations in one of Parse's batches."""

FIELDS = {
    "userId": "String",
    "guidedChecklist": "Object",
    "firstLoginState": "Object",
    "attributes": "Object",
    "createdDate": "String",
    "modifiedDate": "String",
}

# Signing 2,000 users up through the API would hash as many passwords; so one is signed up, and copied.
COPY_USERS = """
INSERT INTO "_User" SELECT (jsonb_populate_record(NULL::"_User", to_jsonb(u) || jsonb_build_object(
    'objectId', 'user-' || n, 'username', 'user-' || n, '_rperm', ARRAY['user-' || n], '_wperm', ARRAY['user-' || n]
))).* FROM "_User" u, generate_series({first}, {last}) n WHERE u.username = 'model'
"""
COPY_SESSIONS = """
INSERT INTO "_Session" SELECT (jsonb_populate_record(NULL::"_Session", to_jsonb(s) || jsonb_build_object(
    'objectId', 's' || n, 'sessionToken', 'r:' || n || '{secret}', 'user', 'user-' || n
))).* FROM (SELECT * FROM "_Session" LIMIT 1) s, generate_series({first}, {last}) n
"""


@contextmanager
def started(stage: Stage) -> Iterator[System]:
    """Parse Server on a database of its own, in one process."""
    folder = node("parse", FOLDER / "package.json")
    database, port, secret = stage.database(), new_port(), secrets.token_hex(12)
    surroundings = {
        "DATABASE_URL": urlsplit(database)._replace(scheme="postgres").geturl(),
        "MASTER_KEY": secret,
        "PORT": str(port),
        "NODE_ENV": "production",
    }
    with running(
        ["node", FOLDER / "server.mjs"],
        log=stage.log("parse"),
        ready=f"http://127.0.0.1:{port}/parse/health",
        environment=surroundings,
        folder=folder,
    ) as process:
        _load(stage, port, database, secret)

        def requests(workload: Workload) -> list[Request] | None:
            return _requests(stage, port, secret, workload)

        yield System("parse", "Parse Server", port, process, requests, _fits, database)


def _headers(**more: str) -> dict[str, str]:
    named = {f"X-Parse-{name.replace('_', '-')}": value for name, value in more.items()}
    return {"X-Parse-Application-Id": "bench", **named}


def _session(number: int, secret: str) -> dict[str, str]:
    return _headers(Session_Token=f"r:{FIRST + number}{secret}")


def _path(number: int) -> str:
    return f"/parse/classes/Properties/{user_id(number)}"


def _load(stage: Stage, port: int, database: str, secret: str) -> None:
    master = _headers(Master_Key=secret)
    schema = {"className": "Properties", "fields": {name: {"type": kind} for name, kind in FIELDS.items()}}
    send_all(port, [with_json("POST", "/parse/schemas/Properties", schema, headers=master)])
    model = {"username": "model", "password": secrets.token_hex(12)}
    send_all(port, [with_json("POST", "/parse/users", model, headers=_headers(Revocable_Session="1"))])
    numbered = {"first": FIRST, "last": FIRST + stage.world.users - 1, "secret": secret}
    execute(database, COPY_USERS.format(**numbered), COPY_SESSIONS.format(**numbered))
    organizations = range(0, stage.world.users, ORG_SIZE)
    operations = [_role(first, role, stage.world.users) for first in organizations for role in ROLES]
    operations += [
        {
            "method": "POST",
            "path": "/parse/classes/Properties",
            "body": {
                "objectId": user_id(number),
                "ACL": {user_id(number): {"read": True, "write": True}},
                **document(number),
            },
        }
        for number in range(stage.world.users)
    ]
    batches = [operations[at : at + BATCH] for at in range(0, len(operations), BATCH)]
    for answer in send_all(
        port, [with_json("POST", "/parse/batch", {"requests": batch}, headers=master) for batch in batches]
    ):
        refused = [one for one in answer.json() if "error" in one]
        if refused:
            raise BenchError(f"Parse Server refused to be loaded: {refused[0]}")
    execute(database, "ANALYZE")


def _role(first: int, role: str, users: int) -> Json:
    """A role of one organization, with the users who hold it."""
    held_by = [
        {"__type": "Pointer", "className": "_User", "objectId": user_id(number)}
        for number in range(first, min(first + ORG_SIZE, users))
        if role in roles(number)
    ]
    body = {
        "name": f"{org_id(first)}_{role}",
        "ACL": {"*": {"read": True}},
        "users": {"__op": "AddRelation", "objects": held_by},
    }
    return {"method": "POST", "path": "/parse/roles", "body": body}


def _requests(stage: Stage, port: int, secret: str, workload: Workload) -> list[Request] | None:
    """Parse Server knows no If-Match, and changes no single element of a list."""
    everybody = range(stage.world.users)
    match workload:
        case Workload.GET:
            return [Request("GET", _path(n), user_id(n), _session(n, secret)) for n in everybody]
        case Workload.NOT_MODIFIED:
            users = range(min(TAGGED_USERS, stage.world.users))
            plain = [Request("GET", _path(n), user_id(n), _session(n, secret)) for n in users]
            tags = [answer.headers["etag"] for answer in send_all(port, plain)]
            return [
                Request("GET", _path(n), user_id(n), _session(n, secret) | {"If-None-Match": tags[n]}) for n in users
            ]
        case Workload.PUT:
            return [
                with_json(
                    "PUT", _path(n), document(n, revision=revision), user_id=user_id(n), headers=_session(n, secret)
                )
                for n, revision in numbers(stage)
            ]
    return None


def _fits(workload: Workload, number: int, answer: httpx.Response) -> bool:
    """Parse answers the document as it was stored, and after a PUT only when it was changed."""
    if workload is Workload.NOT_MODIFIED:
        return answer.status_code == httpx.codes.NOT_MODIFIED
    if answer.status_code != httpx.codes.OK:
        return False
    content = answer.json()
    if workload is Workload.PUT:
        return "updatedAt" in content
    steps = content["guidedChecklist"]["steps"]
    return content["userId"] == user_id(number) and len(steps) == len(document(number)["guidedChecklist"]["steps"])
