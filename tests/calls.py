"""Every route of the application, an example of each changing one, and a look at the database behind the service."""

import asyncio
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from sqlalchemy import Connection, Row, select

from milepost.access.policy import Scope
from milepost.access.service import create_key, revoke_key
from milepost.access.tokens import service_key_id
from milepost.app import create
from milepost.edge import new_id
from milepost.journal.queries import Event, of_user
from milepost.openapi import Operation
from milepost.settings import Settings
from milepost.store.schema import metadata
from milepost.store.versions import open_database
from tests.arrange import BASE, Json, World, checklist, fresh, record, step

Result = TypeVar("Result")


@dataclass(frozen=True)
class Route:
    """A method and a path, as the contract writes it, and what the route says of itself, if anything."""

    method: str
    path: str
    operation: Operation | None

    @property
    def name(self) -> str:
        """The route as tests and the documentation name it."""
        return f"{self.method} {self.path.removeprefix(BASE)}"

    @property
    def changes(self) -> bool:
        return self.method not in {"GET", "HEAD", "OPTIONS"} and not self.only_asks

    @property
    def only_asks(self) -> bool:
        """Whether it says of itself that it changes nothing, though its method is one that changes."""
        return self.operation is not None and self.operation.only_asks


@cache
def application() -> Litestar:
    """The application, put together as the command does it."""
    with tempfile.TemporaryDirectory() as folder:
        return create(Settings(database=f"sqlite:///{Path(folder) / 'milepost.db'}")).app


@cache
def routes() -> tuple[Route, ...]:
    """Every route but OPTIONS, which the framework answers by itself."""
    found = [
        Route(str(method), _as_in_the_contract(route.path), handler.opt.get("operation"))
        for route in application().routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods - {"OPTIONS"}
    ]
    return tuple(sorted(found, key=lambda route: (route.path, route.method)))


def _as_in_the_contract(path: str) -> str:
    def camel(parameter: re.Match[str]) -> str:
        first, *rest = parameter[1].split("_")
        return "{" + first + "".join(word.title() for word in rest) + "}"

    return re.sub(r"{(\w+):str}", camel, path)


@dataclass(frozen=True)
class Ids:
    """What the parameters of a path, and `?orgId=`, stand for."""

    user_id: str
    org_id: str
    enterprise_id: str
    role: str

    def fill(self, route: str) -> str:
        """The URL of a route, such as `/organizations/{orgId}` or `/users/{userId}/properties?orgId=`."""
        values = {
            "{userId}": self.user_id,
            "{orgId}": self.org_id,
            "{enterpriseId}": self.enterprise_id,
            "{role}": self.role,
            "{stepId}": "connect-vehicles",
        }
        path, _, query = route.partition("?")
        for parameter, value in values.items():
            path = path.replace(parameter, quote(value, safe=""))
        # What the server does with a checklist, it does for an organization.
        scoped = query == "orgId=" or "/guided-checklist/" in path
        return BASE + path + (f"?orgId={quote(self.org_id, safe='')}" if scoped else "")


EXAMPLES: dict[str, Callable[[Ids], Json | None]] = {
    "PUT /users/{userId}/properties": lambda ids: record(ids.user_id, attributes={"theme": "dark"}),
    "PATCH /users/{userId}/properties": lambda _: {"attributes": {"theme": "light"}},
    "PATCH /users/{userId}/properties/guided-checklist": lambda _: checklist(
        step("connect-vehicles", status="IN_PROGRESS")
    ),
    "DELETE /users/{userId}/properties": lambda _: None,
    "POST /users/{userId}/properties/guided-checklist/initialize": lambda _: {},
    "POST /users/{userId}/properties/guided-checklist/refresh": lambda _: None,
    "POST /users/{userId}/properties/guided-checklist/dismiss": lambda _: None,
    "POST /users/{userId}/properties/guided-checklist/restore": lambda _: None,
    "PATCH /users/{userId}/properties/guided-checklist/steps/{stepId}": lambda _: {"status": "SKIPPED"},
    "PUT /catalog": lambda _: {"name": fresh("catalog"), "steps": []},
    "PUT /catalog/current": lambda _: {"version": 1},
    "PUT /organizations/{orgId}/catalog": lambda _: {"name": fresh("catalog"), "steps": []},
    "PUT /organizations/{orgId}/catalog/current": lambda _: {"version": 1},
    "POST /catalog/rehearse": lambda _: {"name": fresh("catalog"), "steps": []},
    "POST /organizations/{orgId}/catalog/rehearse": lambda _: {"name": fresh("catalog"), "steps": []},
    "POST /signals": lambda ids: {
        "specversion": "1.0",
        "id": fresh("event"),
        "source": "/tests",
        "type": "wallet.created",
        "subject": ids.user_id,
        "orgid": ids.org_id,
    },
    "PUT /organizations/{orgId}": lambda _: {"name": "Renamed"},
    "DELETE /organizations/{orgId}": lambda _: None,
    "PUT /organizations/{orgId}/enterprises/{enterpriseId}": lambda _: {"name": "Renamed"},
    "DELETE /organizations/{orgId}/enterprises/{enterpriseId}": lambda _: None,
    "PUT /organizations/{orgId}/roles/{role}": lambda _: {"title": "Renamed", "admin": False},
    "DELETE /organizations/{orgId}/roles/{role}": lambda _: None,
    "POST /catalog/preview": lambda _: {"name": fresh("catalog"), "steps": []},
    "POST /organizations/{orgId}/catalog/preview": lambda _: {"name": fresh("catalog"), "steps": []},
    "POST /catalog/validate": lambda _: {"name": fresh("catalog"), "steps": []},
    "POST /organizations/{orgId}/catalog/validate": lambda _: {"name": fresh("catalog"), "steps": []},
    "POST /organizations/{orgId}/members/bulk": lambda ids: {"members": [{"userId": ids.user_id, "roles": []}]},
    "PUT /organizations/{orgId}/members/{userId}": lambda _: {"roles": []},
    "DELETE /organizations/{orgId}/members/{userId}": lambda _: None,
}
"""The body of each changing call, which changes something wherever `settle` has been, and of each that only asks."""


def settle(world: World) -> Ids:
    """Put everything in place that an example changes: an enterprise, a role, the user as a member, two records."""
    ids = Ids(world.user_id, world.org_id, fresh("enterprise"), "dispatcher")
    world.put(f"/organizations/{ids.org_id}/enterprises/{ids.enterprise_id}", {"name": "An enterprise"})
    world.define_role(ids.role)
    world.make_member(None, ids.role)
    content: Json = {"guidedChecklist": checklist(step("connect-vehicles")), "attributes": {"theme": "plain"}}
    world.store(**content)
    world.store(org_id=ids.org_id, **content)
    for catalog in ("/catalog", f"/organizations/{ids.org_id}/catalog"):
        world.put(catalog, {"name": "First", "steps": []})
    return ids


PREPARATIONS: dict[str, Callable[[Ids], tuple[str, Json | None]]] = {
    "POST /users/{userId}/properties/guided-checklist/restore": lambda ids: (
        "POST " + ids.fill("/users/{userId}/properties/guided-checklist/dismiss"),
        None,
    ),
    "PUT /catalog/current": lambda ids: ("PUT " + ids.fill("/catalog"), {"name": fresh("catalog"), "steps": []}),
    "PUT /organizations/{orgId}/catalog/current": lambda ids: (
        "PUT " + ids.fill("/organizations/{orgId}/catalog"),
        {"name": fresh("catalog"), "steps": []},
    ),
}
"""What must come first for a call to change something."""


def prepare(world: World, ids: Ids, route: str) -> None:
    """Put in place what a route changes, beyond what `settle` does."""
    if route in PREPARATIONS:
        call, body = PREPARATIONS[route](ids)
        method, _, url = call.partition(" ")
        assert world.platform.request(method, url, json=body).is_success


def directly(database_url: str, query: Callable[[Connection], Result]) -> Result:
    """What a query answers on the database itself, in a transaction of its own."""

    async def ran() -> Result:
        database = open_database(Settings(database=database_url))
        try:
            return await database.write(query)
        finally:
            await database.close()

    return asyncio.run(ran())


def service_key(world: World, *scopes: Scope, org_id: str | None = None) -> str:
    """A new service key's text."""

    def created(connection: Connection) -> tuple[str, str]:
        return create_key(
            connection,
            label="a test's",
            scopes=[scope.value for scope in scopes],
            org_id=org_id,
            now=datetime.now(UTC),
            actor="user:operator",
            event_id=new_id(),
        )

    return directly(world.service.database_url, created)[1]


def revoke(world: World, key: str) -> None:
    """Revoke a service key, as an operator does."""

    def revoked(connection: Connection) -> bool:
        key_id = service_key_id(key)
        assert key_id is not None
        now, event_id = datetime.now(UTC), new_id()
        return revoke_key(connection, key_id=key_id, now=now, actor="user:operator", event_id=event_id)

    assert directly(world.service.database_url, revoked)


COUNTED = {"funnel_days", "funnel_people", "journal_readers"}
"""What a worker counts from the rest, in its own time."""


def everything(world: World) -> dict[str, list[Row[tuple[object, ...]]]]:
    """Every row of every table, but for what is only counted from them."""

    def told(connection: Connection) -> dict[str, list[Row[tuple[object, ...]]]]:
        return {
            table.name: list(connection.execute(select(table).order_by(*table.primary_key.columns)))
            for table in metadata.sorted_tables
            if table.name not in COUNTED
        }

    return directly(world.service.database_url, told)


def journal(world: World, ids: Ids) -> list[Event]:
    """The events about the user, and those about the organization or the platform as such."""

    def told(connection: Connection) -> list[Event]:
        of_organization = [event for event in of_user(connection, "") if event.org_id in {ids.org_id, ""}]
        return of_user(connection, ids.user_id) + of_organization

    return directly(world.service.database_url, told)
