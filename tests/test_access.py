"""Who may do what: `docs/access.md` cell by cell over HTTP on both databases, and the policy as the function it is."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.access.policy import (
    NEEDED_SCOPE,
    Action,
    AdministeredBy,
    Caller,
    Everything,
    Only,
    Scope,
    Target,
    allowed,
    require,
    visible_organizations,
)
from milepost.openapi import EVENT_STREAM
from milepost.problems import FORBIDDEN, Problem
from tests.arrange import BASE, World, fresh, refused
from tests.calls import EXAMPLES, Ids, revoke, routes, service_key, settle
from tests.conftest import Service

PAGE = (Path(__file__).parent.parent / "docs" / "access.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Row:
    """An action of the page, the calls it covers, and what each kind of caller is answered."""

    title: str
    calls: tuple[str, ...]
    cells: dict[str, str]


def table_after(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of the page."""
    _, _, below = PAGE.partition(f"\n## {heading}\n")
    lines = [line for line in below.split("\n## ")[0].splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == len(header) for row in rows), "a row has more or fewer cells than the header"
    return [header, *rows]


def rows_of_page() -> list[Row]:
    (_, *callers), *rows = table_after("The table")
    found = []
    for first, *cells in rows:
        title = re.search(r"\*\*(.+?)\*\*", first)
        assert title is not None, f"no title in {first}"
        calls = tuple(call for call in re.findall(r"`([^`]+)`", first) if " " in call)
        found.append(Row(title[1], calls, dict(zip(callers, cells, strict=True))))
    return found


ROWS = rows_of_page()
CELLS = [
    pytest.param(row, caller, id=f"{row.title}-{caller}".replace(" ", "_")) for row in ROWS for caller in row.cells
]


def without_query(call: str) -> str:
    return call.partition("?")[0]


def action_of(row: Row) -> Action:
    """The one action that all calls of a row are."""
    known = {route.name: route.operation.action for route in routes() if route.operation}
    (action,) = {known[without_query(call)] for call in row.calls}
    assert action is not None
    return action


Credentials = Callable[[World, Ids, Action], str | None]


def as_member(*roles: str) -> Credentials:
    def made(world: World, _ids: Ids, _action: Action) -> str:
        caller = fresh("caller")
        world.make_member(caller, *roles)
        return world.service.token(caller)

    return made


def as_admin(world: World, ids: Ids, action: Action) -> str | None:
    world.define_role("owner", admin=True)
    return as_member("owner")(world, ids, action)


def as_admin_whose_target_is_no_member(world: World, ids: Ids, action: Action) -> str | None:
    assert world.platform.delete(ids.fill("/organizations/{orgId}/members/{userId}")).is_success
    return as_admin(world, ids, action)


def as_admin_elsewhere(world: World, ids: Ids, _action: Action) -> str:
    """The admin of an organization that the target is a member of, too."""
    elsewhere, caller = fresh("org"), fresh("caller")
    world.create_organization(elsewhere)
    world.define_role("owner", org_id=elsewhere, admin=True)
    world.make_member(caller, "owner", org_id=elsewhere)
    world.make_member(ids.user_id, org_id=elsewhere)
    return world.service.token(caller)


def as_former_admin(world: World, _ids: Ids, _action: Action) -> str:
    caller = fresh("caller")
    world.make_admin(caller)
    world.make_member(caller)
    return world.service.token(caller)


def with_key(*, scope: bool = True, limited_to: Callable[[World, Ids], str] | None = None) -> Credentials:
    def made(world: World, ids: Ids, action: Action) -> str:
        needed = NEEDED_SCOPE[action]
        scopes = [needed] if scope else [other for other in Scope if other is not needed]
        return service_key(world, *scopes, org_id=limited_to(world, ids) if limited_to else None)

    return made


def another_organization(world: World) -> str:
    elsewhere = fresh("org")
    world.create_organization(elsewhere)
    return elsewhere


CALLERS: dict[str, Credentials] = {
    "no credentials": lambda _world, _ids, _action: None,
    "the user themself": lambda world, ids, _: world.service.token(ids.user_id),
    "another user": lambda world, _ids, _action: world.service.token(fresh("caller")),
    "a member without an admin role": as_member("dispatcher"),
    "admin, the target is a member": as_admin,
    "admin, the target is no member": as_admin_whose_target_is_no_member,
    "admin of another organization": as_admin_elsewhere,
    "former admin": as_former_admin,
    "platform admin": lambda world, _ids, _action: world.service.token("operator", platform_admin=True),
    "key with the scope": with_key(),
    "key without the scope": with_key(scope=False),
    "key limited to this organization": with_key(limited_to=lambda _, ids: ids.org_id),
    "key limited to another organization": with_key(limited_to=lambda world, _: another_organization(world)),
}


def make(client: httpx.Client, call: str, ids: Ids) -> httpx.Response:
    method, _, route = call.partition(" ")
    example = EXAMPLES.get(without_query(call))
    # A stream that is allowed has no end: what it begins with is all there is to see.
    with client.stream(method, ids.fill(route), json=example(ids) if example else None) as answer:
        if answer.headers.get("content-type") != EVENT_STREAM:
            answer.read()
    return answer


def strangers(ids: Ids) -> list[Ids]:
    """The same ids, but that in each one thing does not exist."""
    return [
        replace(ids, user_id=fresh("nobody")),
        replace(ids, org_id=fresh("nowhere")),
        replace(ids, enterprise_id=fresh("nothing")),
        replace(ids, role=fresh("nothing")),
    ]


READS = (
    "/users/{userId}/properties?orgId=",
    "/organizations/{orgId}",
    "/organizations/{orgId}/enterprises",
    "/organizations/{orgId}/roles",
    "/organizations/{orgId}/members",
    "/organizations/{orgId}/members/{userId}",
)


def state(world: World, *all_ids: Ids) -> list[tuple[int, str]]:
    """What the platform's admin reads of the target and of all that does not exist, home records included."""
    urls = {ids.fill(route): None for ids in all_ids for route in READS}
    urls |= {replace(ids, org_id="no-org").fill(READS[0]): None for ids in all_ids}
    answers = [world.platform.get(url) for url in urls]
    return [(answer.status_code, without_request_id(answer)) for answer in answers]


def without_request_id(answer: httpx.Response) -> str:
    return re.sub(r'"requestId":"[^"]*"', '"requestId":""', answer.text)


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


class TestThePage:
    def test_covers_every_call_that_asks_the_policy(self) -> None:
        asking = {route.name for route in routes() if route.operation and route.operation.action}

        covered = {without_query(call) for row in ROWS for call in row.calls}

        assert covered == asking, "docs/access.md and the routes differ"

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
    def test_a_row_is_about_one_action(self, row: Row) -> None:
        assert action_of(row) in NEEDED_SCOPE

    def test_has_a_row_for_every_action(self) -> None:
        assert {action_of(row) for row in ROWS} == set(Action)

    def test_knows_every_kind_of_caller(self) -> None:
        assert list(ROWS[0].cells) == list(CALLERS)

    def test_lists_every_scope_with_what_it_allows(self) -> None:
        _, *scopes = table_after("Scopes")
        listed = {name.strip("`"): set(allows.split("; ")) for name, allows in scopes}

        assert listed == {
            scope.value: {row.title for row in ROWS if NEEDED_SCOPE[action_of(row)] is scope} for scope in Scope
        }


@pytest.mark.parametrize(("row", "caller"), CELLS)
def test_the_cell_holds(world: World, row: Row, caller: str) -> None:
    ids = settle(world)
    action = action_of(row)
    client = world.service.client(CALLERS[caller](world, ids, action))

    match row.cells[caller]:
        case "yes":
            see_that_it_is_allowed(client, row, ids)
        case "401" | "403" as status:
            see_that_it_is_refused(world, client, row, ids, int(status))
        case other:
            pytest.fail(f"docs/access.md: a cell says yes, 401 or 403, and not {other!r}")


def see_that_it_is_allowed(client: httpx.Client, row: Row, ids: Ids) -> None:
    for call in row.calls:
        answer = make(client, call, ids)

        # Of what is not there, the allowed are told so.
        told = answer.status_code == httpx.codes.NOT_FOUND and answer.json()["name"] == "member_not_found"
        assert answer.is_success or told, f"{call}: {answer.status_code}"


def see_that_it_is_refused(world: World, client: httpx.Client, row: Row, ids: Ids, status: int) -> None:
    nowhere = strangers(ids)
    before = state(world, ids, *nowhere)

    for call in row.calls:
        answer = make(client, call, ids)
        elsewhere = [make(client, call, stranger) for stranger in nowhere]

        refused(answer, status, {401: "unauthenticated", 403: "forbidden"}[status])
        assert {one.status_code for one in elsewhere} == {status}, f"{call}: the status tells what exists"
        same = {without_request_id(one) for one in (answer, *elsewhere)}
        assert len(same) == 1, f"{call}: the body tells what exists"
    assert state(world, ids, *nowhere) == before


WAYS_TO_STOP: dict[str, Callable[[World, str], httpx.Response]] = {
    "the role is taken": lambda world, admin: world.platform.put(
        f"{BASE}/organizations/{world.org_id}/members/{admin}", json={"roles": []}
    ),
    "the membership ends": lambda world, admin: world.platform.delete(
        f"{BASE}/organizations/{world.org_id}/members/{admin}"
    ),
    "the role is no admin's any more": lambda world, _: world.platform.put(
        f"{BASE}/organizations/{world.org_id}/roles/owner", json={"title": "Owner", "admin": False}
    ),
    "the role is deleted": lambda world, _: world.platform.delete(f"{BASE}/organizations/{world.org_id}/roles/owner"),
    "they give it up": lambda world, admin: world.as_user(admin).put(
        f"{BASE}/organizations/{world.org_id}/members/{admin}", json={"roles": []}
    ),
}


@pytest.mark.parametrize("stop", WAYS_TO_STOP.values(), ids=WAYS_TO_STOP.keys())
def test_an_admin_is_one_no_longer_as_soon_as(world: World, stop: Callable[[World, str], httpx.Response]) -> None:
    ids, caller = settle(world), fresh("caller")
    client = world.make_admin(caller)
    read = ids.fill("/users/{userId}/properties?orgId=")
    listed = ids.fill("/organizations/{orgId}/members")
    assert [client.get(read).status_code, client.get(listed).status_code] == [200, 200]

    assert stop(world, caller).is_success

    assert [client.get(read).status_code, client.get(listed).status_code] == [403, 403]


class TestWhatTheListOfOrganizationsShows:
    def ids(self, client: httpx.Client) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = client.get(f"{BASE}/organizations", params={"limit": "500", **cursor}).json()
            found += [organization["orgId"] for organization in page["items"]]
            if "nextCursor" not in page:
                return found
            cursor = {"cursor": page["nextCursor"]}

    def test_a_platform_admin_and_an_unlimited_key_see_all(self, world: World) -> None:
        elsewhere = another_organization(world)
        key = world.service.client(service_key(world, Scope.DIRECTORY_READ))

        assert {world.org_id, elsewhere} <= set(self.ids(world.platform))
        assert {world.org_id, elsewhere} <= set(self.ids(key))

    def test_a_limited_key_sees_its_own(self, world: World) -> None:
        another_organization(world)
        key = world.service.client(service_key(world, Scope.DIRECTORY_READ, org_id=world.org_id))

        assert self.ids(key) == [world.org_id]

    def test_a_user_sees_those_that_they_administer(self, world: World) -> None:
        caller = fresh("caller")
        client = world.make_admin(caller)
        elsewhere = another_organization(world)
        world.make_member(caller, "dispatcher", org_id=elsewhere)

        assert self.ids(client) == [world.org_id]
        assert self.ids(world.user) == []


def test_a_key_limited_to_an_organization_ends_with_it(world: World) -> None:
    client = world.service.client(service_key(world, Scope.DIRECTORY_READ, Scope.DIRECTORY_WRITE, org_id=world.org_id))

    assert client.delete(f"{BASE}/organizations/{world.org_id}").status_code == 204

    refused(client.get(f"{BASE}/organizations"), 401, "invalid_token")


def test_a_revoked_key_ends_with_the_very_next_call(world: World) -> None:
    key = service_key(world, Scope.DIRECTORY_READ)
    client = world.service.client(key)
    assert client.get(f"{BASE}/organizations").status_code == 200

    revoke(world, key)

    refused(client.get(f"{BASE}/organizations"), 401, "invalid_token")


def test_a_user_keeps_a_record_under_an_organization_without_being_its_member(world: World) -> None:
    world.store(org_id=world.org_id, attributes={"theme": "dark"})

    assert world.shown()["attributes"] == {"theme": "dark"}


def test_what_an_admin_writes_over_a_home_record_becomes_the_organizations_own(world: World) -> None:
    world.make_member()
    world.store(attributes={"theme": "plain"})
    elsewhere = another_organization(world)

    answer = world.make_admin(fresh("caller")).patch(
        f"{world.path}?orgId={world.org_id}", json={"attributes": {"theme": "dark"}}
    )

    assert answer.status_code == 200
    assert world.shown()["attributes"] == {"theme": "dark"}
    assert world.shown(elsewhere)["attributes"] == {"theme": "plain"}


def test_a_body_that_is_no_json_is_refused_before_the_question_is_asked(world: World) -> None:
    answer = world.as_user(fresh("caller")).put(world.path, content=b"{", headers={"Content-Type": "application/json"})

    refused(answer, 400, "malformed_json")


# The policy, as the pure function it is.

PEOPLE = ("ada", "ben", "cleo")
PLACES = ("north", "south", "west")

users = st.builds(Caller, user_id=st.sampled_from(PEOPLE), platform_admin=st.booleans())
keys = st.builds(
    Caller,
    key_id=st.just("k1"),
    scopes=st.frozensets(st.sampled_from([scope.value for scope in Scope])),
    org_id=st.none() | st.sampled_from(PLACES),
)
callers = users | keys
actions = st.sampled_from(Action)
targets = st.builds(
    Target,
    user_id=st.sampled_from(PEOPLE),
    org_id=st.none() | st.sampled_from(PLACES),
    caller_is_admin=st.booleans(),
    user_is_member=st.booleans(),
)


@given(callers, actions, targets, st.sampled_from(PEOPLE), st.sampled_from(PLACES))
def test_whose_ids_they_are_is_all_that_ids_decide(
    caller: Caller, action: Action, target: Target, other: str, elsewhere: str
) -> None:
    """One stranger is as good as another, and so is one organization that is not the key's."""
    is_stranger = caller.user_id not in {target.user_id, other}
    is_beyond_the_key = target.org_id is not None and caller.org_id not in {target.org_id, elsewhere}
    swapped = msgspec.structs.replace(
        target,
        user_id=other if is_stranger else target.user_id,
        org_id=elsewhere if is_beyond_the_key else target.org_id,
    )

    assert allowed(caller, action, swapped) == allowed(caller, action, target)


@given(callers, actions, targets)
def test_nobody_gains_by_losing_a_role(caller: Caller, action: Action, target: Target) -> None:
    demoted = msgspec.structs.replace(target, caller_is_admin=False)

    assert allowed(caller, action, target) or not allowed(caller, action, demoted)


@given(callers, actions, targets)
def test_nobody_gains_when_the_target_leaves(caller: Caller, action: Action, target: Target) -> None:
    left = msgspec.structs.replace(target, user_is_member=False)

    assert allowed(caller, action, target) or not allowed(caller, action, left)


@given(users, actions, targets)
def test_a_platform_admin_may_do_everything(caller: Caller, action: Action, target: Target) -> None:
    assert allowed(msgspec.structs.replace(caller, platform_admin=True), action, target)


@given(keys, actions, targets, st.sampled_from([scope.value for scope in Scope]))
def test_no_key_gains_by_losing_a_scope(caller: Caller, action: Action, target: Target, scope: str) -> None:
    poorer = msgspec.structs.replace(caller, scopes=caller.scopes - {scope})

    assert allowed(caller, action, target) or not allowed(poorer, action, target)


@given(keys, actions, targets)
def test_a_key_without_the_needed_scope_may_not(caller: Caller, action: Action, target: Target) -> None:
    others = msgspec.structs.replace(caller, scopes=frozenset(Scope) - {NEEDED_SCOPE[action]})

    assert not allowed(others, action, target)


@given(keys, actions, targets, st.sampled_from(PLACES))
def test_no_key_gains_by_being_limited(caller: Caller, action: Action, target: Target, place: str) -> None:
    unlimited = msgspec.structs.replace(caller, org_id=None)
    limited = msgspec.structs.replace(caller, org_id=place)

    assert allowed(unlimited, action, target) or not allowed(limited, action, target)


@given(keys, actions, targets, st.sampled_from(PLACES))
def test_a_limited_key_does_nothing_outside_its_organization(
    caller: Caller, action: Action, target: Target, place: str
) -> None:
    limited = msgspec.structs.replace(caller, org_id=place)

    assert target.org_id == place or action is Action.LIST_ORGANIZATIONS or not allowed(limited, action, target)


@given(keys, actions, targets)
def test_no_membership_helps_a_key(caller: Caller, action: Action, target: Target) -> None:
    without = msgspec.structs.replace(target, caller_is_admin=False, user_is_member=False)

    assert allowed(caller, action, target) == allowed(caller, action, without)


@given(callers, targets)
def test_an_admin_elsewhere_has_no_say_over_a_home_record(caller: Caller, target: Target) -> None:
    home = msgspec.structs.replace(target, org_id=None)
    without = msgspec.structs.replace(home, caller_is_admin=False, user_is_member=False)

    for action in (Action.READ_PROPERTIES, Action.WRITE_PROPERTIES):
        assert allowed(caller, action, home) == allowed(caller, action, without)


@given(users, targets)
def test_a_user_who_may_read_a_record_may_write_it(caller: Caller, target: Target) -> None:
    assert allowed(caller, Action.READ_PROPERTIES, target) == allowed(caller, Action.WRITE_PROPERTIES, target)


@given(callers, actions, targets)
def test_there_is_one_refusal(caller: Caller, action: Action, target: Target) -> None:
    if allowed(caller, action, target):
        require(caller, action, target)
        return
    with pytest.raises(Problem) as refusal:
        require(caller, action, target)
    with pytest.raises(Problem) as another:
        require(Caller(user_id="dora"), Action.WRITE_ORGANIZATION, Target(org_id="east"))

    assert refusal.value.kind is FORBIDDEN
    assert (refusal.value.detail, refusal.value.faults) == (another.value.detail, another.value.faults)


@given(callers, st.sampled_from(PLACES))
def test_a_list_shows_only_what_its_caller_may_read(caller: Caller, place: str) -> None:
    """The scope aside, which a key needs even for an empty list."""
    reader = caller
    if caller.key_id is not None:
        reader = msgspec.structs.replace(caller, scopes=frozenset({Scope.DIRECTORY_READ.value}))

    def may_read(*, as_admin: bool) -> bool:
        return allowed(reader, Action.READ_DIRECTORY, Target(org_id=place, caller_is_admin=as_admin))

    match visible_organizations(caller):
        case Everything():
            assert may_read(as_admin=False)
        case Only(org_id):
            assert may_read(as_admin=False) == (place == org_id)
        case AdministeredBy(user_id):
            assert user_id == caller.user_id
            assert may_read(as_admin=True)
            assert not may_read(as_admin=False)


def test_every_action_has_the_scope_it_needs() -> None:
    assert set(NEEDED_SCOPE) == set(Action)
    assert set(NEEDED_SCOPE.values()) == set(Scope)
