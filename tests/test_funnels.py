"""Funnels: what is counted is what the records say, however it came about; who reads it, in which form."""

import csv
import io
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median_low
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from milepost.domain.funnels import duration_class, seconds_of
from milepost.funnels.service import fold, recount
from milepost.store.schema import journal, properties
from tests.arrange import BASE, Json, World, checklist, fresh, record, refused, step
from tests.calls import directly
from tests.conftest import Service
from tests.test_checklists import CATALOG

STEPS = ["profile", "pair", "route", "terms"]


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


def funnel(world: World, **query: str) -> Json:
    """The funnel with everything in it that has happened."""
    path = f"{BASE}/organizations/{world.org_id}/funnel"
    for _ in range(600):
        answer = world.platform.get(path, params=query)
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        if told["upToDate"]:
            return told
        time.sleep(0.05)
    pytest.fail("the funnel is not brought up to date")


def of_track(told: Json, track: str = "A") -> Json:
    (found,) = [one for one in told["tracks"] if one["track"] == track]
    return dict(found)


def counts(told: Json) -> dict[str, tuple[int, ...]]:
    names = ("shown", "started", "completed", "skipped", "stoppedHere")
    return {step["stepId"]: tuple(step[name] for name in names) for step in told["steps"]}


def put(world: World, user_id: str, *steps: Json, **members: Any) -> None:
    """Store somebody's checklist under the organization."""
    content = record(user_id, guidedChecklist=checklist(*steps, **members))
    world.put(f"/users/{user_id}/properties?orgId={world.org_id}", content)


def moved(step_id: str, status: str, after: timedelta = timedelta(), at: datetime | None = None) -> Json:
    when = (at or datetime.now(UTC)) + after
    return step(step_id, status=status, **({"completedAt": when.isoformat()} if status == "COMPLETED" else {}))


class TestAFunnel:
    def test_counts_who_has_a_step_and_what_they_did_with_it(self, world: World) -> None:
        put(world, "ada", moved("a", "COMPLETED"), moved("b", "IN_PROGRESS"))
        put(world, "ben", moved("a", "COMPLETED"), moved("b", "SKIPPED"), moved("c", "UP_NEXT"))
        put(world, "cleo", moved("a", "UP_NEXT"))

        told = of_track(funnel(world))

        assert (told["started"], told["completed"], told["dismissed"]) == (3, 0, 0)
        assert counts(told) == {"a": (3, 2, 2, 0, 2), "b": (2, 1, 0, 1, 0), "c": (1, 0, 0, 0, 0)}
        assert told["stoppedBeforeAnyStep"] == 1

    def test_tells_how_long_a_step_took_half_of_those_who_did_it(self, world: World) -> None:
        for user_id, minutes in (("ada", 1), ("ben", 60), ("cleo", 3000)):
            put(world, user_id, moved("a", "COMPLETED", timedelta(minutes=minutes)))

        (told,) = of_track(funnel(world))["steps"]

        assert told["medianSeconds"] == pytest.approx(3600, rel=0.06)

    def test_counts_completed_and_dismissed_checklists(self, world: World) -> None:
        now = datetime.now(UTC).isoformat()
        put(world, "ada", moved("a", "COMPLETED"), completedAt=now)
        put(world, "ben", moved("a", "UP_NEXT"), dismissedAt=now)

        told = of_track(funnel(world))

        assert (told["started"], told["completed"], told["dismissed"]) == (2, 1, 1)
        assert [(day["started"], day["completed"]) for day in told["days"]] == [(2, 1)]

    def test_is_of_the_days_that_are_asked_for(self, world: World) -> None:
        put(world, "ada", moved("a", "UP_NEXT"))
        today = datetime.now(UTC).date()
        yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)

        def started(**period: str) -> int:
            return int(of_track(funnel(world, **period))["started"])

        assert started(**{"from": str(yesterday), "to": str(tomorrow)}) == 1
        assert started(to=str(yesterday)) == 0
        assert started(**{"from": str(tomorrow)}) == 0

    def test_is_of_one_track_or_of_both(self, world: World) -> None:
        put(world, "ada", moved("a", "UP_NEXT"))
        put(world, "ben", moved("a", "UP_NEXT"), track="B")

        assert [one["track"] for one in funnel(world)["tracks"]] == ["A", "B"]
        (only,) = funnel(world, track="B")["tracks"]
        assert (only["track"], only["started"]) == ("B", 1)

    def test_is_a_table_for_who_asks_for_csv(self, world: World) -> None:
        put(world, "ada", moved("=a", "COMPLETED", timedelta(minutes=-1)))
        funnel(world)

        answer = world.platform.get(f"{BASE}/organizations/{world.org_id}/funnel", headers={"Accept": "text/csv"})

        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert list(csv.DictReader(io.StringIO(answer.text))) == [
            {
                "track": "A", "stepId": "'=a", "shown": "1", "started": "1", "completed": "1", "skipped": "0",
                "stoppedHere": "1", "medianSeconds": "0",
            }
        ]  # fmt: skip

    def test_forgets_a_record_that_is_deleted_and_an_organization(self, world: World) -> None:
        put(world, "ada", moved("a", "UP_NEXT"))
        put(world, "ben", moved("a", "UP_NEXT"))
        assert world.platform.delete(f"{BASE}/users/ada/properties?orgId={world.org_id}").status_code == 204
        assert of_track(funnel(world))["started"] == 1

        assert world.platform.delete(f"{BASE}/organizations/{world.org_id}").status_code == 204
        world.create_organization(world.org_id)
        put(world, "cleo", moved("b", "UP_NEXT"))

        assert counts(of_track(funnel(world))) == {"b": (1, 0, 0, 0, 0)}

    @pytest.mark.parametrize("query", [{"track": "C"}, {"from": "yesterday"}, {"to": "2026-02-30"}])
    def test_is_refused_for_what_is_no_track_or_day(self, world: World, query: dict[str, str]) -> None:
        answer = world.platform.get(f"{BASE}/organizations/{world.org_id}/funnel", params=query)

        refused(answer, 400, "invalid_parameter")

    def test_needs_an_organization(self, world: World) -> None:
        refused(world.platform.get(f"{BASE}/organizations/nowhere/funnel"), 404, "organization_not_found")


def history(world: World, chance: random.Random) -> Iterator[httpx.Response]:
    """What a few people and those who administer them do, at random."""
    people = [fresh("person") for _ in range(4)]
    for user_id in people:
        world.make_member(user_id, "dispatcher")
    for _ in range(80):
        user_id = chance.choice(people)
        at = f"{BASE}/users/{user_id}/properties"
        org = f"?orgId={world.org_id}"
        match chance.randrange(8):
            case 0:
                yield world.platform.post(f"{at}/guided-checklist/initialize{org}", json={})
            case 1 | 2 | 3:
                status = chance.choice(["IN_PROGRESS", "COMPLETED", "SKIPPED", "UP_NEXT"])
                path = f"{at}/guided-checklist/steps/{chance.choice(STEPS)}{org}"
                yield world.platform.patch(path, json={"status": status})
            case 4:
                yield world.platform.post(f"{at}/guided-checklist/{chance.choice(['dismiss', 'restore'])}{org}")
            case 5:
                yield world.platform.post(f"{at}/guided-checklist/refresh{org}")
            case 6:
                steps = [moved(one, chance.choice(["COMPLETED", "UP_NEXT", "SKIPPED"])) for one in ("x", "y")]
                content = record(user_id, guidedChecklist=checklist(*steps, track=chance.choice("AB")))
                yield world.platform.put(at + org, json=content)
            case 7:
                yield world.platform.delete(at + org)


def by_force(connection: Connection, org_id: str) -> dict[str, Json]:
    """The funnel as one counts it record by record, and how long each step took whom."""
    told: dict[str, Json] = {}
    for row in connection.execute(select(properties).where(properties.c.org_id == org_id)):
        mine = json.loads(row.body).get("guidedChecklist")
        if mine is None:
            continue
        events = select(journal).where(journal.c.user_id == row.user_id, journal.c.org_id == org_id)
        started = 0
        for event in connection.execute(events.order_by(journal.c.position, journal.c.id)):
            if event.type == "properties.deleted":
                started = 0
            elif not started and "guidedChecklist" in json.loads(event.data).get("members", []):
                started = event.at
        add(told.setdefault(mine["track"], {"started": 0, "stopped": Counter(), "steps": {}}), mine, started)
    return told


def add(told: Json, mine: Json, started: int) -> None:
    told["started"] += 1
    done: list[tuple[datetime, int, str]] = []
    for one in mine["steps"]:
        counted = told["steps"].setdefault(one["stepId"], {"statuses": Counter(), "took": []})
        counted["statuses"][one["status"]] += 1
        if one["status"] == "COMPLETED":
            at = datetime.fromisoformat(one["completedAt"])
            done.append((at, len(done), one["stepId"]))
            counted["took"].append(at.timestamp() - started / 1e6)
    if "completedAt" not in mine:
        told["stopped"][max(done)[2] if done else ""] += 1


@pytest.mark.parametrize("seed", range(3))
def test_it_says_what_counting_the_records_says_whatever_has_happened(world: World, seed: int) -> None:
    world.put(f"/organizations/{world.org_id}/catalog", CATALOG)
    chance = random.Random(seed)
    answers = []
    for answer in history(world, chance):
        answers.append(answer.status_code)
        if chance.random() < 0.1:
            # Another process folds some of it in meanwhile.
            directly(world.service.database_url, lambda connection: fold(connection, 3))
    assert sum(status < 400 for status in answers) > 20

    told = funnel(world)

    assert_is(told, directly(world.service.database_url, lambda connection: by_force(connection, world.org_id)))
    directly(world.service.database_url, recount)
    assert funnel(world) == told


def assert_is(told: Json, expected: dict[str, Json]) -> None:
    for track in told["tracks"]:
        mine = expected.get(track["track"], {"started": 0, "stopped": Counter(), "steps": {}})
        assert track["started"] == sum(day["started"] for day in track["days"]) == mine["started"]
        assert track["completed"] == mine["started"] - sum(mine["stopped"].values())
        assert track["stoppedBeforeAnyStep"] == mine["stopped"][""]
        assert {one["stepId"] for one in track["steps"]} == set(mine["steps"])
        for one in track["steps"]:
            statuses, took = mine["steps"][one["stepId"]]["statuses"], mine["steps"][one["stepId"]]["took"]
            assert one["shown"] == statuses.total()
            assert (one["completed"], one["skipped"]) == (statuses["COMPLETED"], statuses["SKIPPED"])
            assert one["started"] == statuses["COMPLETED"] + statuses["IN_PROGRESS"]
            assert one["stoppedHere"] == mine["stopped"][one["stepId"]]
            if took:
                assert duration_class(one["medianSeconds"]) == duration_class(median_low(took))
            else:
                assert one["medianSeconds"] is None


@given(st.floats(min_value=1, max_value=1e9))
def test_a_duration_is_told_within_5_percent_and_a_second(seconds: float) -> None:
    assert abs(seconds_of(duration_class(seconds)) - seconds) <= seconds * 0.05 + 1
