"""Many members at once: what a table would do is shown line by line, and then done for all of them or for none."""

import httpx
import pytest

from milepost.journal.queries import of_user
from tests.arrange import BASE, Json, World, fresh, refused
from tests.calls import directly
from tests.conftest import Service
from tests.test_checklists import CATALOG


@pytest.fixture
def world(service: Service) -> World:
    world = World(service)
    for role in ("dispatcher", "clerk"):
        world.define_role(role)
    return world


def send(world: World, table: str, *, dry: bool = False, client: httpx.Client | None = None) -> httpx.Response:
    return (client or world.platform).post(
        f"{BASE}/organizations/{world.org_id}/members/bulk",
        params={"dryRun": "true"} if dry else {},
        content=table.encode(),
        headers={"Content-Type": "text/csv"},
    )


def members(world: World) -> dict[str, list[str]]:
    items = world.platform.get(f"{BASE}/organizations/{world.org_id}/members").json()["items"]
    return {item["userId"]: item["roles"] for item in items}


def lines(answer: httpx.Response) -> list[Json]:
    assert answer.status_code == 200, answer.text
    return list(answer.json()["lines"])


def test_a_dry_run_says_what_each_line_would_do_and_does_nothing(world: World) -> None:
    world.make_member("ada", "clerk")
    world.make_member("ben", "clerk")

    answer = send(
        world, "userId,roles\nada,dispatcher\nben,clerk\ncleo,clerk;dispatcher\ndora,pilot\nada,\n,clerk\n", dry=True
    )

    told = lines(answer)
    assert told[:3] == [
        {"line": 2, "userId": "ada", "outcome": "change", "rolesAdded": ["dispatcher"], "rolesTaken": ["clerk"]},
        {"line": 3, "userId": "ben", "outcome": "same"},
        {"line": 4, "userId": "cleo", "outcome": "add", "rolesAdded": ["clerk", "dispatcher"]},
    ]
    assert [(one["line"], one["outcome"]) for one in told[3:]] == [(5, "fault"), (6, "fault"), (7, "fault")]
    assert told[3]["faults"] == ["pilot is no role of this organization"]
    assert told[4]["faults"] == ["is about the user of line 2"]
    assert answer.json()["counts"] == {"add": 1, "change": 1, "same": 1, "fault": 3}
    assert answer.json()["applied"] is False
    assert members(world) == {"ada": ["clerk"], "ben": ["clerk"]}


def test_a_table_makes_all_its_users_members(world: World) -> None:
    world.put(f"/organizations/{world.org_id}/enterprises/{world.org_id}-north", {"name": "North"})

    answer = send(world, f"userId,roles,enterprises\nada,clerk,{world.org_id}-north\nben,,\n")

    assert answer.json()["applied"] is True
    assert members(world) == {"ada": ["clerk"], "ben": []}


def test_one_fault_and_nothing_is_changed(world: World) -> None:
    problem = refused(send(world, "userId,roles\nada,clerk\nben,pilot\n"), 422, "invalid_members")

    assert problem["errors"] == [{"detail": "pilot is no role of this organization", "pointer": "/3"}]
    assert members(world) == {}


def test_each_member_is_an_event_and_a_role_gained_brings_its_steps(world: World) -> None:
    world.put(f"/organizations/{world.org_id}/catalog", CATALOG)
    user_id = fresh("user")
    world.make_member(user_id)
    made = world.platform.post(
        f"{BASE}/users/{user_id}/properties/guided-checklist/initialize?orgId={world.org_id}", json={}
    )
    before = made.json()["guidedChecklist"]["steps"]

    lines(send(world, f"userId,roles\n{user_id},dispatcher\n"))

    shown = world.platform.get(f"{BASE}/users/{user_id}/properties?orgId={world.org_id}").json()
    assert len(shown["guidedChecklist"]["steps"]) > len(before)
    events = directly(world.service.database_url, lambda connection: of_user(connection, user_id))
    assert {"member.put", "checklist.refreshed"} == {event.type for event in events[2:]}


@pytest.mark.parametrize(
    "table",
    ["", "ada,clerk\n", "userId,role\nada,clerk\n", "userId\n", 'userId\n"ada\n', "userId\n" + "a\n" * 1001],
)
def test_what_is_no_table_of_members_is_refused(world: World, table: str) -> None:
    refused(send(world, table), 422, "invalid_members")


def test_a_line_with_too_many_columns_is_a_fault(world: World) -> None:
    assert lines(send(world, "userId,roles\nada,clerk,x\n", dry=True))[0]["outcome"] == "fault"


def test_a_dry_run_is_for_those_who_may_do_it(world: World) -> None:
    world.make_member(None, "dispatcher")

    refused(send(world, "userId\nada\n", dry=True, client=world.user), 403, "forbidden")
    assert send(world, "userId\nada\n", dry=True, client=world.make_admin(fresh("admin"))).status_code == 200
