"""What is loaded into every system: the same users, memberships and documents, made from numbers alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

Json = dict[str, Any]

FIRST = 10_000_000
"""Users are numbered from here, so that all their ids are of one length."""

FIRST_ORG = 1_000_000
ORG_SIZE = 40
"""Users of one organization."""

ROLES = ("fleet-manager", "dispatcher", "lead-driver", "accountant", "logistics-planner")
"""The roles that users hold, two each; they are those of the example catalog."""
ADMIN = "org-admin"

CREATED = "2026-03-02T08:00:00Z"

STEPS = (
    ("complete-profile", "Complete your profile", ()),
    ("choose-notifications", "Choose what you hear about", ()),
    ("read-the-safety-rules", "Read the safety rules", ()),
    ("connect-vehicles", "Connect the vehicles", ("fleet-manager", "dispatcher")),
    ("plan-first-tour", "Plan the first tour", ("dispatcher", "logistics-planner")),
    ("install-driver-app", "Install the app for drivers", ("lead-driver",)),
    ("connect-ledger", "Connect the ledger", ("accountant",)),
    ("assign-roles", "Give everybody a role", (ADMIN,)),
)
DESCRIPTION = "Entered once, seen by every colleague"

SIGNALS = ("profile.completed", "notifications.chosen", "tracker.paired", "driving-hours.viewed", "tour.planned")
"""Types of signals that the example catalog asks for."""


def user_id(number: int) -> str:
    return f"user-{FIRST + number}"


def org_id(number: int) -> str:
    """The organization in which a user's document lies."""
    return f"org-{FIRST_ORG + number // ORG_SIZE}"


def flow_id(number: int) -> str:
    """The organization in which the server makes a user's checklist, and in which signals are reported."""
    return f"flow-{FIRST_ORG + number // ORG_SIZE}"


def roles(number: int) -> list[str]:
    """The two roles that a user holds, in each of the two organizations."""
    first = number % len(ROLES)
    second = (first + 1 + number // len(ROLES) % (len(ROLES) - 1)) % len(ROLES)
    return sorted((ROLES[first], ROLES[second]))


def document(number: int, *, revision: int = 0) -> Json:
    """A record of 2.1 to 2.3 KB; another revision differs in a few members, as a write by an application does."""
    steps = [
        {
            "stepId": step_id,
            "title": title,
            "description": DESCRIPTION,
            "ctaLabel": "Open",
            "ctaRoute": f"/setup/{step_id}",
            "status": "IN_PROGRESS" if (number + place + revision) % 3 == 0 else "UP_NEXT",
            "sortOrder": 10 * place,
        }
        | ({"sourceRoles": list(wanted)} if wanted else {})
        for place, (step_id, title, wanted) in enumerate(STEPS, 1)
    ]
    return {
        "userId": user_id(number),
        "guidedChecklist": {
            "track": "A",
            "roles": [],
            "productInterests": ["tours", "cold-chain", "billing"],
            "steps": steps,
            "computedAt": CREATED,
        },
        "firstLoginState": {"roleIdentification": "operational", "isReturningUser": False},
        "attributes": {"theme": "dark", "revision": revision, "locale": "sv-SE", "shortcuts": ["tours", "fleet"]},
        "createdDate": CREATED,
        "modifiedDate": CREATED,
    }


def shown(number: int) -> tuple[list[str], list[str]]:
    """The roles and the steps that a read answers, where roles decide which steps are seen."""
    held = roles(number)
    return held, [step_id for step_id, _, wanted in STEPS if not wanted or set(wanted) & set(held)]


@dataclass(frozen=True)
class World:
    """The users that there are. Requests are spread evenly over them."""

    users: int

    @property
    def orgs(self) -> list[str]:
        return [org_id(number) for number in range(0, self.users, ORG_SIZE)]

    @property
    def flows(self) -> list[str]:
        return [flow_id(number) for number in range(0, self.users, ORG_SIZE)]

    def directory(self) -> Iterator[Json]:
        """Organizations, roles and memberships, as lines for `milepost import`."""
        for one in (*self.orgs, *self.flows):
            yield {"kind": "organization", "orgId": one, "name": f"Organization {one}"}
        for one in (*self.orgs, *self.flows):
            for role in (*ROLES, ADMIN):
                yield {"kind": "role", "orgId": one, "role": role, "title": role, "admin": role == ADMIN}
        for number in range(self.users):
            for one in (org_id(number), flow_id(number)):
                yield {"kind": "member", "orgId": one, "userId": user_id(number), "roles": roles(number)}

    def records(self) -> Iterator[Json]:
        """Every user's document, as lines for `milepost import`."""
        for number in range(self.users):
            yield {"kind": "record", "orgId": org_id(number), "properties": document(number)}


def as_lines(lines: Iterator[Json]) -> bytes:
    """Lines of JSON."""
    encode = msgspec.json.Encoder().encode
    return b"".join(encode(line) + b"\n" for line in lines)
