"""Lines to import, and what tests ask about them afterwards."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, make_url

from milepost.store.database import Database
from tests.arrange import checklist, record, step
from tests.command import Command

Result = TypeVar("Result")
Json = dict[str, Any]

ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def catalog(*step_ids: str, name: str = "Onboarding", **members: Any) -> Json:
    """A catalog of steps that signals complete; `members` are those of its first step."""
    steps: list[Json] = [
        {
            "stepId": step_id,
            "title": f"Title of {step_id}",
            "description": "What to do",
            "ctaLabel": "Go",
            "ctaRoute": f"/{step_id}",
            "sortOrder": 10,
            "tracks": ["A", "B"],
            "completeWhen": "signals['paired'].count >= 1",
            "scope": "enterprise",
        }
        for step_id in step_ids
    ]
    steps[0] |= members
    return {"name": name, "languages": ["en"], "steps": steps}


DIRECTORY: list[Json] = [
    {"kind": "organization", "orgId": "acme", "name": "Acme"},
    {"kind": "organization", "orgId": "zenith", "name": "Zenith \u2013 \U0001f680"},
    {"kind": "enterprise", "orgId": "acme", "enterpriseId": "north", "name": "North"},
    {"kind": "enterprise", "orgId": "zenith", "enterpriseId": "south", "name": "South"},
    {"kind": "role", "orgId": "acme", "role": "clerk", "title": "Clerk", "admin": False},
    {"kind": "role", "orgId": "acme", "role": "owner", "title": "Owner", "admin": True},
    {
        "kind": "catalog",
        "version": 1,
        "current": True,
        "publishedAt": "2025-01-01T00:00:00.000001Z",
        "publisher": "user:operator",
        "catalog": catalog("a"),
    },
    {
        "kind": "catalog",
        "orgId": "acme",
        "version": 1,
        "current": True,
        "publishedAt": "2025-01-02T00:00:00Z",
        "publisher": "key:0194cab7",
        "catalog": catalog("a", "b"),
    },
    {
        "kind": "catalog",
        "orgId": "acme",
        "version": 2,
        "current": False,
        "publishedAt": "2025-01-03T00:00:00Z",
        "publisher": "user:operator",
        "catalog": catalog("a", "b", "c \u00e9", name="Second"),
    },
    {"kind": "person", "userId": "ada", "id": "0194cab7-54c0-70c6-a6a3-a4506513270e"},
    {"kind": "person", "userId": "bob", "id": "0194cab7-54c0-70c6-a6a3-a4506513270f"},
    {
        "kind": "member",
        "orgId": "acme",
        "userId": "ada",
        "roles": ["clerk", "owner"],
        "enterprises": ["north"],
        "since": "2025-01-02T03:04:05.000006Z",
    },
    {
        "kind": "member",
        "orgId": "zenith",
        "userId": "ada",
        "roles": [],
        "enterprises": [],
        "since": "2025-02-01T00:00:00Z",
    },
    {
        "kind": "past",
        "orgId": "zenith",
        "userId": "bob",
        "enterpriseId": "gone",
        "since": "2024-01-01T00:00:00Z",
        "until": "2024-06-01T00:00:00Z",
    },
]
ONBOARDING: list[Json] = [
    {
        "kind": "signal",
        "orgId": "acme",
        "source": "/fleet",
        "id": "1",
        "type": "opened",
        "time": "2025-02-01T00:00:00Z",
        "received": "2025-02-01T00:00:01.000001Z",
    },
    {
        "kind": "signal",
        "orgId": "acme",
        "enterpriseId": "gone",
        "subject": "ada",
        "source": "/fleet",
        "id": "1",
        "type": "paired",
        "time": "2025-02-01T00:00:00Z",
        "received": "2025-02-01T00:00:01Z",
    },
    {
        "kind": "shared",
        "orgId": "acme",
        "stepId": "b",
        "evidence": {"how": "person", "at": "2025-02-02T00:00:00Z", "shared": True},
    },
    {
        "kind": "shared",
        "orgId": "acme",
        "enterpriseId": "north",
        "stepId": "b",
        "evidence": {
            "how": "signal",
            "at": "2025-02-02T00:00:00.500000Z",
            "by": "0194cab7-54c0-70c6-a6a3-a4506513270e",
            "signals": ["opened"],
            "shared": True,
        },
    },
]
RECORDS: list[Json] = [
    {
        "kind": "record",
        "orgId": "acme",
        "properties": record(
            "ada",
            guidedChecklist=checklist(step("a", sourceRoles=["clerk"], completedAt="2025-03-01T10:00:00.123456Z")),
            firstLoginState={"isReturningUser": True},
            modifiedDate="2025-03-02T00:00:00Z",
            createdDate="2025-03-01T00:00:00Z",
        ),
        "progress": {
            "orgId": "acme",
            "version": 2,
            "enterpriseId": "gone",
            "evidence": {"a": {"how": "signal", "at": "2025-03-01T10:00:00.123456Z", "signals": ["paired"]}},
        },
    },
    {
        "kind": "record",
        "properties": record("bob", createdDate="2025-01-01T00:00:00Z", modifiedDate="2025-01-01T00:00:00.000001Z"),
    },
    {
        "kind": "record",
        "orgId": "acme",
        "properties": record("bob", guidedChecklist=checklist(step("a"), step("b"))),
        "progress": {"orgId": "", "version": 1, "enterpriseId": "north"},
    },
]
DATA = DIRECTORY + ONBOARDING + RECORDS


def as_text(lines: Sequence[Json]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def organizations(count: int) -> list[Json]:
    return [{"kind": "organization", "orgId": f"org-{n:05}", "name": f"Organization {n}"} for n in range(count)]


def home_record(user_id: str, **members: Any) -> Json:
    return {"kind": "record", "properties": record(user_id, **members)}


def on(command: Command, query: Callable[[Connection], Result]) -> Result:
    """What a query answers on the command's database."""

    async def ask() -> Result:
        database = Database(make_url(command.database))
        try:
            return await database.write(query)
        finally:
            await database.close()

    return asyncio.run(ask())


def stored(command: Command, user_id: str) -> Json:
    """The one record that an export has of a user."""
    (found,) = (
        line["properties"]
        for line in command.must("export", "-").objects
        if line["kind"] == "record" and line["properties"]["userId"] == user_id
    )
    return dict(found)
