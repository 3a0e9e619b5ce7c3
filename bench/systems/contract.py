"""Requests by the contract, and what must be in their answers: for Milepost and for the baseline alike."""

from collections.abc import Iterator
from random import Random

import httpx

from bench.documents import SIGNALS, document, flow_id, org_id, shown, user_id
from bench.stage import Stage, send_all
from bench.workloads import COUNTER, MIXED, TAG, Request, Workload, with_json

BASE = "/api/usermanagement/v1"
BATCH = 100
JSON_PATCH = "application/json-patch+json"
TAGGED_USERS = 200
"""Users who are asked about with If-None-Match: their ETags have to be fetched before each measurement."""


def authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def numbers(stage: Stage, revisions: int = 2) -> Iterator[tuple[int, int]]:
    """Every user's number with one revision, then with the next, so that a write always changes something."""
    for revision in range(revisions):
        for number in range(stage.world.users):
            yield number, revision


def path(number: int) -> str:
    return f"{BASE}/users/{user_id(number)}/properties"


def get(stage: Stage, number: int, **headers: str) -> Request:
    user = user_id(number)
    return Request(
        "GET",
        f"{path(number)}?orgId={org_id(number)}",
        user,
        {**authorization(stage.token(user)), **{name.replace("_", "-"): value for name, value in headers.items()}},
    )


def put(stage: Stage, number: int, revision: int, *, tag: str = "") -> Request:
    user = user_id(number)
    headers = authorization(stage.token(user)) | ({"If-Match": tag} if tag else {})
    target = f"{path(number)}?orgId={org_id(number)}"
    return with_json("PUT", target, document(number, revision=revision), user_id=user, headers=headers)


def patch(stage: Stage, number: int, revision: int) -> Request:
    user = user_id(number)
    status = ("IN_PROGRESS", "UP_NEXT")[revision]
    return with_json(
        "PATCH",
        f"{path(number)}/guided-checklist?orgId={org_id(number)}",
        [{"op": "replace", "path": "/steps/0/status", "value": status}],
        user_id=user,
        headers=authorization(stage.token(user)),
        media_type=JSON_PATCH,
    )


def initialize(stage: Stage, number: int) -> Request:
    user = user_id(number)
    target = f"{path(number)}/guided-checklist/initialize?orgId={flow_id(number)}"
    return Request("POST", target, user, authorization(stage.token(user)))


def signals(key: str, subjects: list[int], chance: Random) -> Request:
    """A report of one signal, or of a batch."""
    events = [
        {
            "specversion": "1.0",
            "id": f"{COUNTER.decode()}-{place}",
            "source": "/bench",
            "type": chance.choice(SIGNALS),
            "subject": user_id(number),
            "orgid": flow_id(number),
            "time": "2026-03-02T09:30:00Z",
        }
        for place, number in enumerate(subjects)
    ]
    kind = "cloudevents" if len(events) == 1 else "cloudevents-batch"
    return with_json(
        "POST",
        f"{BASE}/signals",
        events[0] if len(events) == 1 else events,
        headers=authorization(key),
        media_type=f"application/{kind}+json",
    )


def of_the_record(stage: Stage, port: int, workload: Workload) -> list[Request] | None:
    """The requests of a workload that is about the record alone."""
    match workload:
        case Workload.GET:
            return [get(stage, number) for number in range(stage.world.users)]
        case Workload.NOT_MODIFIED:
            users = range(min(TAGGED_USERS, stage.world.users))
            answers = send_all(port, [get(stage, number) for number in users])
            return [get(stage, number, If_None_Match=answers[number].headers["etag"]) for number in users]
        case Workload.PUT:
            return [put(stage, *each) for each in numbers(stage)]
        case Workload.PUT_IF_MATCH:
            return [put(stage, *each, tag=TAG.decode()) for each in numbers(stage, revisions=1)]
        case Workload.PATCH:
            return [patch(stage, *each) for each in numbers(stage)]
    return None


def of_the_checklist(stage: Stage, key: str, workload: Workload) -> list[Request] | None:
    """The requests of a workload in which the server makes and completes checklists; `key` may report signals."""
    chance = Random(1)
    everybody = range(stage.world.users)
    match workload:
        case Workload.SIGNALS:
            return [signals(key, chance.choices(everybody, k=BATCH), chance) for _ in range(200)]
        case Workload.INITIALIZE:
            return [initialize(stage, number) for number in everybody]
        case Workload.MIX:
            kinds = [kind for _ in range(20) for kind in chance.sample(MIXED, len(MIXED))]
            return [_mixed(stage, key, kind, chance) for kind in kinds]
    return None


def _mixed(stage: Stage, key: str, kind: Workload, chance: Random) -> Request:
    number = chance.randrange(stage.world.users)
    match kind:
        case Workload.PATCH:
            return patch(stage, number, chance.randrange(2))
        case Workload.SIGNALS:
            return signals(key, [number], chance)
        case Workload.INITIALIZE:
            return initialize(stage, number)
        case _:
            return get(stage, number)


def fits(workload: Workload, number: int, answer: httpx.Response) -> bool:
    """Whether an answer is the right one: its status, and of a record the roles and the steps that are seen."""
    if workload is Workload.NOT_MODIFIED:
        return answer.status_code == httpx.codes.NOT_MODIFIED
    if answer.status_code != httpx.codes.OK:
        return False
    content = answer.json()
    if workload is Workload.SIGNALS:
        return bool(content["accepted"] + content["duplicates"] == BATCH)
    checklist = content["guidedChecklist"]
    if workload is Workload.INITIALIZE:
        return bool(checklist["steps"])
    roles, steps = shown(number)
    seen = [step["stepId"] for step in checklist["steps"]]
    return (content["userId"], checklist["roles"], seen) == (user_id(number), roles, steps)
