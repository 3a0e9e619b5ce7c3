"""The whole OpenAPI document against the running service: whatever is sent, it answers as documented."""

import base64
import re
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, HookContext, Response
from schemathesis.config import SchemathesisConfig

from milepost.openapi import document
from tests.arrange import BASE, Json, checklist, record, step
from tests.calls import application
from tests.conftest import Service

AnyCase = Case[Any]

ORG, ENTERPRISE, ROLE, USER = "fuzzed-org", "fuzzed-enterprise", "fuzzed-role", "fuzzed-user"
KNOWN = {"orgId": ORG, "enterpriseId": ENTERPRISE, "role": ROLE, "userId": USER}
CURSOR = base64.urlsafe_b64encode(b"fuzzed").decode().rstrip("=")
CURSORS = {"versions": "1", "journal": "01a20bb7-3544-7332-86d1-74edd10b6020"}
"""Of lists whose cursor is no id."""

LONG_AGO = "2026-01-01T00:00:00Z"
ENTITY_TAG = '"0"'

ACCEPTED = ["2xx", "3xx", "404", "409", "412", "422"]
"""What may become of a request that fits its schema: whether it fits what is stored, no schema can say."""

REJECTED = ["400", "401", "404", "405", "409", "412", "413", "415", "422"]
"""What may become of one that does not."""


def accepting(*statuses: str) -> Json:
    return {"positive_data_acceptance": {"expected-statuses": list(statuses)}}


CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"deterministic": True, "max-examples": 30},
        "dictionaries": {name: {"values": [value]} for name, value in KNOWN.items()},
        "parameters": {
            f"{place}.{name}": {"dictionary": name, "probability": 0.7} for name in KNOWN for place in ("path", "query")
        },
        "checks": {
            **accepting(*ACCEPTED),
            "negative_data_rejection": {"expected-statuses": REJECTED},
        },
        # The document's own links are walked; those that could be guessed lead through what other tests stored.
        "phases": {"stateful": {"inference": {"algorithms": []}}},
        "operations": [
            # What a patch makes of a record is checked when it is made.
            {"include-method": "PATCH", "checks": accepting(*ACCEPTED, "400")},
            # Where the home record is deleted, an organization's own is still there, at the same path.
            {"include-path-regex": "/users/", "checks": {"use_after_free": {"enabled": False}}},
        ],
    }
)
SCHEMA = schemathesis.openapi.from_dict(
    msgspec.json.decode(msgspec.json.encode(document(application()))), config=CONFIG
).exclude(
    # A stream has no end that could be waited for; at /console/ credentials stand in bodies and cookies.
    path_regex="(/events$)|(^/console/)"
)


@SCHEMA.hook
def map_case(context: HookContext, case: AnyCase) -> AnyCase:  # noqa: ARG001 - the hook's shape is Schemathesis's
    """What fits the schemas, made to fit the rules that no schema can say."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    for name in {"If-Match", "If-None-Match"} & case.headers.keys():
        # The generator of boundary cases gives up on a pattern with quotes and sends 0.
        case.headers[name] = ENTITY_TAG if case.headers[name] == "0" else case.headers[name]
    if "cursor" in case.query:
        case.query["cursor"] = CURSORS.get(case.path.rpartition("/")[2], CURSOR)
    if "/signals" in case.path:
        case.body = (
            [known_place(event) for event in case.body] if isinstance(case.body, list) else known_place(case.body)
        )
    elif case.path.endswith("/catalog/current"):
        case.body = {"version": 1}
    if isinstance(case.body, dict):
        body: Json = ordinary(case.body)
        body |= {name: case.path_parameters[name] for name in body.keys() & KNOWN.keys() & case.path_parameters.keys()}
        body |= {name: LONG_AGO for name in {"createdDate", "since"} & body.keys() if body[name] > LONG_AGO}
        case.body = body
    return case


def known_place(event: Any) -> Any:
    """An event of the organization that is there, long ago."""
    if not isinstance(event, dict):
        return event
    kept = {name: value for name, value in event.items() if name not in {"enterpriseid", "time"}}
    return {**kept, "orgid": ORG}


def ordinary(value: Any) -> Any:
    """A whole number without a decimal point, though 10.0 is one to JSON Schema, and no time that is in another year
    than 1 to 9999 once it is converted to UTC."""
    match value:
        case dict():
            return {name: ordinary(part) for name, part in value.items()}
        case list():
            return [ordinary(part) for part in value]
        case float() if value.is_integer():
            return int(value)
        case str() if re.match("(0001-01-01|9999-12-31)T", value):
            return LONG_AGO
    return value


GONE = {httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED}
"""A catalog has no DELETE; it goes with its organization."""


def put_in_place(client: httpx.Client) -> None:
    """Store what the known ids stand for."""
    content: Json = {"guidedChecklist": checklist(step("connect"), step("invite", sourceRoles=[ROLE]))}
    for path, body in (
        (f"/organizations/{ORG}", {"name": "An organization"}),
        (f"/organizations/{ORG}/enterprises/{ENTERPRISE}", {"name": "An enterprise"}),
        (f"/organizations/{ORG}/roles/{ROLE}", {"title": "A role"}),
        (f"/organizations/{ORG}/members/{USER}", {"roles": [ROLE], "enterprises": [ENTERPRISE]}),
        ("/catalog", {"name": "First", "steps": []}),
        (f"/organizations/{ORG}/catalog", {"name": "First", "steps": []}),
        (f"/users/{USER}/properties", record(USER, **content)),
        (f"/users/{USER}/properties?orgId={ORG}", record(USER, **content)),
    ):
        answer = client.put(BASE + path, json=body)
        assert answer.is_success, answer.text


@pytest.fixture
def platform(service: Service) -> httpx.Client:
    """A platform admin's client, with everything in place."""
    client = service.client(service.token("operator", platform_admin=True))
    put_in_place(client)
    return client


@SCHEMA.parametrize()
@settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_the_service_does_what_its_document_says(case: AnyCase, platform: httpx.Client) -> None:
    case.call_and_validate(
        base_url=str(platform.base_url), headers={"Authorization": platform.headers["authorization"]}
    )


def test_the_service_does_what_its_document_says_call_after_call(platform: httpx.Client) -> None:
    """Along the document's links: what one call made, the next ones read, change and delete."""

    followed: set[str] = set()
    # The platform's catalog cannot be taken away again, so a walk that published one could not be repeated.
    machine: Any = SCHEMA.exclude(path_regex=f"^{BASE}/catalog").as_state_machine()

    class Walk(machine):  # type: ignore[misc]
        """It leaves nothing behind: the next walk finds what this one found, and so can be repeated."""

        def setup(self) -> None:
            self.made: list[str] = []
            put_in_place(platform)

        def get_call_kwargs(self, case: AnyCase) -> dict[str, Any]:  # noqa: ARG002 - as it is called
            return {
                "base_url": str(platform.base_url),
                "headers": {"Authorization": platform.headers["authorization"]},
            }

        def after_call(self, response: Response, case: AnyCase) -> None:
            super().after_call(response, case)
            if response.status_code >= httpx.codes.BAD_REQUEST:
                return
            if case.method == "PUT":
                self.made.append(str(response.request.url))
            if self.recorder.find_parent(case_id=case.id) is not None:
                followed.add(case.method)

        def teardown(self) -> None:
            for url in reversed(self.made):
                assert platform.delete(url).status_code in GONE
            super().teardown()

    Walk.run(
        settings=settings(
            max_examples=50,
            stateful_step_count=8,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
    )

    assert followed >= {"GET", "PUT", "DELETE"}
