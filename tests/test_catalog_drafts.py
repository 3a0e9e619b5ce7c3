"""A catalog as it is being written: its faults with their lines; and what differs between two versions."""

import httpx
import pytest

from tests.arrange import BASE, Json, World, refused
from tests.conftest import Service


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


def definition(step_id: str, **members: object) -> Json:
    texts = {"title": step_id, "description": "What to do", "ctaLabel": "Go", "ctaRoute": "/"}
    return {"stepId": step_id, **texts, "sortOrder": 10, **members}


def validate(world: World, text: str) -> Json:
    answer = world.platform.post(
        f"{BASE}/organizations/{world.org_id}/catalog/validate",
        content=text.encode(),
        headers={"Content-Type": "application/yaml"},
    )
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def test_a_sound_catalog_is_valid_and_stays_a_draft(world: World) -> None:
    assert validate(world, "name: Draft\nsteps: []\n") == {"valid": True, "faults": []}

    refused(world.platform.get(f"{BASE}/organizations/{world.org_id}/catalog"), 404, "catalog_not_found")


def test_every_fault_is_told_with_its_place_in_the_text(world: World) -> None:
    told = validate(world, "name: Draft\nsteps:\n  - stepId: a\n    sortOrder: first\ncolour: red\n")

    assert told["valid"] is False
    places = {(fault["line"], fault["pointer"]) for fault in told["faults"]}
    assert {(4, "/steps/0/sortOrder"), (5, "/colour")} <= places
    assert all(fault["column"] >= 1 and fault["detail"] for fault in told["faults"])


def test_a_text_that_is_no_yaml_is_told_with_its_line(world: World) -> None:
    told = validate(world, "name: [\n")

    assert told["valid"] is False
    assert told["faults"]


def differences(world: World, query: str) -> httpx.Response:
    return world.platform.get(f"{BASE}/organizations/{world.org_id}/catalog/differences{query}")


def test_what_differs_between_two_versions_is_told_step_by_step(world: World) -> None:
    path = f"/organizations/{world.org_id}/catalog"
    world.put(path, {"name": "First", "steps": [definition("a"), definition("b")]})
    world.put(path, {"name": "Second", "steps": [definition("b", title="Better"), definition("c")]})

    told = differences(world, "?from=1&to=2").json()

    assert [step["stepId"] for step in told["added"]] == ["c"]
    assert [step["stepId"] for step in told["removed"]] == ["a"]
    assert told["changed"] == [{"stepId": "b", "before": {"title": "b"}, "after": {"title": "Better"}}]
    assert (told["before"], told["after"]) == ({"name": "First"}, {"name": "Second"})
    assert differences(world, "").json() == told


def test_a_version_that_does_not_exist_differs_from_nothing(world: World) -> None:
    world.put(f"/organizations/{world.org_id}/catalog", {"name": "First", "steps": []})

    refused(differences(world, "?from=7"), 404, "catalog_not_found")


def preview(world: World, catalog: Json, query: str, language: str = "en") -> Json:
    path = f"{BASE}/organizations/{world.org_id}/catalog/preview{query}"
    answer = world.platform.post(path, json=catalog, headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def test_a_draft_is_shown_as_somebody_new_would_get_it(world: World) -> None:
    catalog = {
        "name": "Draft",
        "steps": [
            definition("a"),
            definition("b", tracks=["B"]),
            definition("c", roles=["clerk"]),
            definition("d", interests=["maps"]),
        ],
    }

    def shown(query: str) -> list[str]:
        return [step["stepId"] for step in preview(world, catalog, query)["steps"]]

    assert shown("") == ["a"]
    assert shown("?track=B") == ["a", "b"]
    assert shown("?roles=clerk,driver") == ["a", "c"]
    assert shown("?interests=maps") == ["a", "d"]


def test_a_draft_is_shown_in_the_language_asked_for(world: World) -> None:
    translated = definition("a", translations={"sv": {"title": "Hej"}})

    told = preview(world, {"name": "Draft", "languages": ["en", "sv"], "steps": [translated]}, "", "sv")

    assert told["steps"][0]["title"] == "Hej"


def test_a_draft_with_faults_is_not_shown(world: World) -> None:
    answer = world.platform.post(f"{BASE}/organizations/{world.org_id}/catalog/preview", json={"name": "Draft"})

    refused(answer, 422, "invalid_catalog")
