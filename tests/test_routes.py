"""Every route: its entry in the policy, its events in the journal, and its place in the OpenAPI document."""

import re
from dataclasses import replace
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from milepost.access.policy import NEEDED_SCOPE
from milepost.openapi import document
from milepost.problems import MEDIA_TYPE
from milepost.properties.example import RECORD_EXAMPLE
from milepost.signals.api import EXAMPLE as SIGNAL_EXAMPLE
from tests.arrange import BASE, World, refused
from tests.calls import EXAMPLES, Route, application, everything, journal, prepare, routes, settle
from tests.conftest import Service

ROUTES = routes()
CALLS = [route for route in ROUTES if route.path.startswith(BASE)]
CHANGING = [route for route in CALLS if route.changes]
ASKING = [route for route in ROUTES if route.only_asks]
AT_THE_ROOT = {
    "/console/session",
    "/console/sign-in",
    "/demo",
    "/demo/assets/{name}",
    "/docs",
    "/docs/assets/{file_path:path}",
    "/docs/start.js",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/widget/{name}",
}
"""What anyone may ask for."""

SIGNING_IN = {"POST /console/session", "DELETE /console/session"}
"""What changes something there: tests/test_console.py is about it."""

DOCUMENT = msgspec.json.decode(msgspec.json.encode(document(application())))
OPERATIONS = [
    pytest.param(operation, id=f"{method.upper()} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]

BODIES = [
    pytest.param(method.upper(), path, media_type, content, id=f"{operation['operationId']}-{media_type}")
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
    if path.startswith(BASE)
]

each_call = pytest.mark.parametrize("route", CALLS, ids=lambda route: route.name)
each_changing_route = pytest.mark.parametrize("route", CHANGING, ids=lambda route: route.name)
each_asking_route = pytest.mark.parametrize("route", ASKING, ids=lambda route: route.name)
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


def test_what_stands_outside_the_base_path_is_known_and_changes_nothing_but_who_is_signed_in() -> None:
    outside = [route for route in ROUTES if route not in CALLS]

    assert {route.path for route in outside} <= AT_THE_ROOT
    assert {route.name for route in outside if route.changes} == SIGNING_IN


@each_call
def test_a_call_has_an_entry_in_the_policy(route: Route) -> None:
    assert route.operation is not None, f"{route.name}: add opt=Operation(...).opt() to its decorator"
    assert route.operation.action is not None, f"{route.name}: name an action of access/policy.py in its Operation"
    assert route.operation.action in NEEDED_SCOPE


@each_changing_route
def test_a_changing_route_names_the_events_it_writes(route: Route) -> None:
    assert route.operation is not None, f"{route.name}: add opt=Operation(...).opt() to its decorator"
    assert route.operation.events, f"{route.name}: name the journal events it writes in its Operation"


@each_call
def test_a_reading_call_writes_no_events(route: Route) -> None:
    assert route.operation is not None
    assert route.changes or not route.operation.events


@each_changing_route
def test_a_changing_route_has_an_example(route: Route) -> None:
    assert route.name in EXAMPLES, f"add an example of {route.name} to EXAMPLES in tests/calls.py"


def test_every_example_is_of_a_route() -> None:
    assert set(EXAMPLES) == {route.name for route in (*CHANGING, *ASKING)}


@each_changing_route
def test_a_change_is_one_event_in_the_journal(world: World, route: Route) -> None:
    ids = settle(world)
    prepare(world, ids, route.name)
    assert route.operation is not None
    before = journal(world, ids)

    answer = world.platform.request(
        route.method, ids.fill(route.path.removeprefix(BASE)), json=EXAMPLES[route.name](ids)
    )

    assert answer.is_success, answer.text
    (event,) = [event for event in journal(world, ids) if event not in before]
    assert event.type in route.operation.events
    assert event.actor == "user:operator"
    assert event.user_id == (ids.user_id if "{userId}" in route.path or route.path.endswith("/bulk") else "")
    under = "{orgId}" in route.path or "/guided-checklist/" in route.path or route.path.endswith("/signals")
    assert event.org_id == (ids.org_id if under else "")


@each_asking_route
def test_a_route_that_only_asks_is_a_post_with_an_example(route: Route) -> None:
    assert route.method == "POST"
    assert route.name in EXAMPLES, f"add an example of {route.name} to EXAMPLES in tests/calls.py"


@each_asking_route
def test_a_route_that_only_asks_changes_nothing(world: World, route: Route) -> None:
    ids = settle(world)
    before = everything(world)

    answer = world.platform.request(
        route.method, ids.fill(route.path.removeprefix(BASE)), json=EXAMPLES[route.name](ids)
    )

    assert answer.is_success, answer.text
    assert everything(world) == before


@pytest.mark.parametrize(
    "route", [route for route in CHANGING if route.path.startswith(f"{BASE}/users/")], ids=lambda route: route.name
)
def test_the_event_of_a_record_names_the_organization_it_is_under(world: World, route: Route) -> None:
    ids = settle(world)
    prepare(world, ids, route.name)
    before = journal(world, ids)

    answer = world.platform.request(
        route.method, ids.fill(route.path.removeprefix(BASE) + "?orgId="), json=EXAMPLES[route.name](ids)
    )

    assert answer.is_success, answer.text
    (event,) = [event for event in journal(world, ids) if event not in before]
    assert (event.user_id, event.org_id) == (ids.user_id, ids.org_id)


@each_changing_route
def test_a_refused_change_is_no_event(world: World, route: Route) -> None:
    ids = settle(world)
    before = journal(world, ids)

    answer = world.as_user("somebody").request(
        route.method, ids.fill(route.path.removeprefix(BASE)), json=EXAMPLES[route.name](ids)
    )

    refused(answer, 403, "forbidden")
    assert journal(world, ids) == before


@each_call
@pytest.mark.parametrize("authorization", [None, "Bearer nonsense", "Basic dXNlcjpzZWNyZXQ="])
def test_a_call_without_credentials_is_answered_401(service: Service, route: Route, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    url = re.sub(r"{\w+}", "x", route.path)

    answer = service.client().request(route.method, url, headers=headers)

    refused(answer, 401, "unauthenticated" if authorization is None else "invalid_token")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", sorted({route.path for route in CALLS}))
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_a_path_names_the_methods_it_has(service: Service, path: str, method: str) -> None:
    answer = service.client().request(method, re.sub(r"{\w+}", "x", path))

    named = set(answer.headers["allow"].split(", "))
    assert answer.status_code == {"OPTIONS": 204, "TRACE": 405}[method]
    assert named == {route.method for route in CALLS if route.path == path} | {"OPTIONS"}


class TestTheOpenAPIDocument:
    def test_is_openapi_3_1(self) -> None:
        faults = [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()]

        assert faults == []

    def test_is_what_the_service_serves(self, service: Service) -> None:
        assert service.client().get("/openapi.json").json() == DOCUMENT

    def test_lists_every_call(self) -> None:
        listed = {
            f"{method.upper()} {path}"
            for path, methods in DOCUMENT["paths"].items()
            for method in methods
            if path.startswith(BASE)
        }

        assert listed == {f"{route.method} {route.path}" for route in CALLS}

    def test_names_every_operation_once(self) -> None:
        names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]

        assert len(set(names)) == len(names)

    @each_operation
    def test_says_what_an_operation_does(self, operation: dict[str, Any]) -> None:
        assert operation["summary"]
        assert operation["description"].startswith(operation["summary"])
        assert operation["tags"]

    @each_operation
    def test_lists_an_operations_refusals_with_an_example_of_each(self, operation: dict[str, Any]) -> None:
        refusals = {status: one for status, one in operation["responses"].items() if status >= "400"}

        assert refusals
        for status, response in refusals.items():
            examples = response["content"][MEDIA_TYPE]["examples"]
            assert examples
            assert all(str(example["value"]["status"]) == status for example in examples.values())

    @each_call
    def test_tells_of_the_refusals_of_every_call(self, route: Route) -> None:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        responses = operation["responses"]

        assert set(responses) >= {"400", "401", "403", "503"}
        assert "requestBody" not in operation or set(responses) >= {"413", "415"}

    @each_operation
    def test_has_an_example_of_every_body(self, operation: dict[str, Any]) -> None:
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            assert "example" in content, f"{operation['operationId']}: {media_type} has no example"

    @pytest.mark.parametrize(("method", "path", "media_type", "content"), BODIES)
    def test_shows_examples_that_fit_their_schema(
        self, method: str, path: str, media_type: str, content: dict[str, Any]
    ) -> None:
        schema = {**content["schema"], "components": DOCUMENT["components"]}

        faults = [error.message for error in jsonschema_rs.iter_errors(schema, content["example"])]

        assert faults == [], f"{method} {path}, {media_type}"

    @pytest.mark.parametrize(("method", "path", "media_type", "content"), BODIES)
    def test_shows_examples_that_work(
        self, world: World, method: str, path: str, media_type: str, content: dict[str, Any]
    ) -> None:
        """As they stand, for the user that they name."""
        ids = replace(settle(world), user_id=RECORD_EXAMPLE["userId"])
        record = ids.fill("/users/{userId}/properties?orgId=")
        assert world.platform.put(record, json=RECORD_EXAMPLE).is_success
        world.make_member(ids.user_id, "dispatcher")
        world.create_organization(SIGNAL_EXAMPLE["orgid"])
        query, example = "?orgId=" if "/users/" in path else "", content["example"]

        answer = world.platform.request(
            method,
            ids.fill(path.removeprefix(BASE) + query),
            content=example if isinstance(example, str) else msgspec.json.encode(example),
            headers={"Content-Type": media_type},
        )

        assert answer.is_success, answer.text

    @each_operation
    def test_explains_every_parameter(self, operation: dict[str, Any]) -> None:
        for parameter in operation["parameters"]:
            assert parameter["in"] == "path" or parameter["description"]
