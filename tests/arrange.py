"""What tests arrange over HTTP: fresh ids, records, organizations with roles and members."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import httpx

from tests.conftest import Service

BASE = "/api/usermanagement/v1"
numbers = count(1)

Json = dict[str, Any]


def fresh(kind: str) -> str:
    """An id that no other test uses."""
    return f"{kind}-{next(numbers)}-{uuid4().hex[:12]}"


def step(step_id: str, **members: Any) -> Json:
    """A step with everything that is required."""
    return {
        "stepId": step_id,
        "title": f"Title of {step_id}",
        "description": "What to do",
        "ctaLabel": "Go",
        "ctaRoute": f"/{step_id}",
        "status": "UP_NEXT",
        "sortOrder": 10,
    } | members


def checklist(*steps: Json, **members: Any) -> Json:
    return {"track": "A", "computedAt": "2026-03-01T10:00:00Z", "steps": list(steps)} | members


def record(user_id: str, **members: Any) -> Json:
    """A record with everything that is required."""
    return {
        "userId": user_id,
        "createdDate": "2026-03-01T09:00:00Z",
        "modifiedDate": "2026-03-01T09:00:00Z",
    } | members


@dataclass
class World:
    """A service with an organization of the test's own, and a user who is nobody yet."""

    service: Service
    org_id: str = field(default_factory=lambda: fresh("org"))
    user_id: str = field(default_factory=lambda: fresh("user"))

    def __post_init__(self) -> None:
        self.platform = self.service.client(self.service.token("operator", platform_admin=True))
        self.user = self.as_user(self.user_id)
        self.create_organization(self.org_id)

    def as_user(self, user_id: str) -> httpx.Client:
        return self.service.client(self.service.token(user_id))

    def create_organization(self, org_id: str) -> None:
        self.put(f"/organizations/{org_id}", {"name": "An organization"})

    def define_role(self, role: str, *, org_id: str | None = None, admin: bool = False) -> str:
        self.put(f"/organizations/{org_id or self.org_id}/roles/{role}", {"title": role.title(), "admin": admin})
        return role

    def make_member(self, user_id: str | None = None, *roles: str, org_id: str | None = None) -> None:
        """Make somebody a member who holds exactly these roles, which are defined where they are not yet."""
        org_id = org_id or self.org_id
        for role in roles:
            if self.platform.get(f"{BASE}/organizations/{org_id}/roles/{role}").status_code == httpx.codes.NOT_FOUND:
                self.define_role(role, org_id=org_id)
        self.put(f"/organizations/{org_id}/members/{user_id or self.user_id}", {"roles": list(roles)})

    def make_admin(self, user_id: str) -> httpx.Client:
        """Make somebody an admin of the organization, and answer their client."""
        self.define_role("owner", admin=True)
        self.put(f"/organizations/{self.org_id}/members/{user_id}", {"roles": ["owner"]})
        return self.as_user(user_id)

    def put(self, path: str, body: Json) -> Json:
        """Put something as the platform's admin; it must be accepted."""
        answer = self.platform.put(BASE + path, json=body)
        assert answer.is_success, answer.text
        accepted: Json = answer.json()
        return accepted

    @property
    def path(self) -> str:
        """The path of the user's record."""
        return f"{BASE}/users/{self.user_id}/properties"

    def store(self, *, org_id: str | None = None, **members: Any) -> httpx.Response:
        """Store the user's record as the user; it must be accepted."""
        answer = self.user.put(self.path, params=_org(org_id), json=record(self.user_id, **members))
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer

    def read(self, org_id: str | None = None, **headers: str) -> httpx.Response:
        """Read the user's record as the user."""
        return self.user.get(self.path, params={"orgId": org_id or self.org_id}, headers=headers)

    def shown(self, org_id: str | None = None) -> Json:
        """The user's record as the user sees it."""
        answer = self.read(org_id)
        assert answer.status_code == httpx.codes.OK, answer.text
        body: Json = answer.json()
        return body

    def patch(self, body: Any, *, org_id: str | None = None, media_type: str | None = None) -> httpx.Response:
        return self._patch(self.path, body, org_id, media_type)

    def patch_checklist(self, body: Any, *, org_id: str | None = None, media_type: str | None = None) -> httpx.Response:
        return self._patch(self.path + "/guided-checklist", body, org_id, media_type)

    def _patch(self, path: str, body: Any, org_id: str | None, media_type: str | None) -> httpx.Response:
        headers = {"Content-Type": media_type or "application/json"}
        return self.user.patch(path, params=_org(org_id), json=body, headers=headers)


def _org(org_id: str | None) -> dict[str, str]:
    return {} if org_id is None else {"orgId": org_id}


def step_ids(body: Json) -> list[str]:
    """The ids of the steps that a record shows, in their order."""
    return [one["stepId"] for one in body["guidedChecklist"]["steps"]]


def refused(answer: httpx.Response, status: int, name: str) -> Json:
    """The problem document of a refusal, which must be this one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: Json = answer.json()
    assert problem["name"] == name, problem
    assert problem["status"] == status
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    return problem


def pointers(problem: Json) -> set[str]:
    """Where the faults of a refusal are."""
    return {fault["pointer"] for fault in problem["errors"]}
