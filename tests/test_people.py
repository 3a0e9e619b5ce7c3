"""What the console asks about one person: found by their id, where they are a member, what happened, other roles."""

import httpx
import pytest

from tests.arrange import BASE, World, fresh, refused, step_ids
from tests.conftest import Service
from tests.test_checklists import CATALOG


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


def ids(answer: httpx.Response, name: str = "userId") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item[name] for item in answer.json()["items"]]


class TestASearch:
    def test_finds_the_members_whose_id_begins_with_a_text(self, world: World) -> None:
        for user_id in ("anna", "Anna", "annabel", "an_na", "bea", "ännä"):
            world.make_member(user_id)
        members = f"{BASE}/organizations/{world.org_id}/members"

        def found(text: str) -> set[str]:
            return set(ids(world.platform.get(members, params={"q": text})))

        assert found("ann") == {"anna", "annabel"}
        assert found("A") == {"Anna"}
        assert found("an_") == {"an_na"}
        assert found("än") == {"ännä"}
        assert found("%") == set()
        assert found("") == {"anna", "Anna", "annabel", "an_na", "bea", "ännä"}

    def test_goes_on_where_a_page_ends(self, world: World) -> None:
        for number in range(5):
            world.make_member(f"driver-{number}", "driver" if number % 2 else "clerk")
            world.make_member(f"owner-{number}", "driver")
        search = {"q": "driver-", "role": "clerk", "limit": "2"}
        members = f"{BASE}/organizations/{world.org_id}/members"

        first = world.platform.get(members, params=search)
        second = world.platform.get(members, params=search | {"cursor": first.json()["nextCursor"]})

        assert [*ids(first), *ids(second)] == ["driver-0", "driver-2", "driver-4"]
        assert "nextCursor" not in second.json()


class TestMemberships:
    def test_are_listed_of_the_organizations_that_the_caller_may_see(self, world: World) -> None:
        elsewhere = fresh("org")
        world.create_organization(elsewhere)
        world.make_member(None, "driver")
        world.make_member(None, "clerk", org_id=elsewhere)
        admin = world.make_admin(fresh("admin"))
        path = f"{BASE}/users/{world.user_id}/memberships"

        assert set(ids(world.platform.get(path), "orgId")) == {world.org_id, elsewhere}
        (one,) = admin.get(path).json()["items"]
        assert (one["orgId"], one["roles"]) == (world.org_id, ["driver"])
        assert ids(world.user.get(path), "orgId") == []

    def test_come_in_pages(self, world: World) -> None:
        elsewhere = fresh("org")
        world.create_organization(elsewhere)
        for org_id in (world.org_id, elsewhere):
            world.make_member(org_id=org_id)
        path = f"{BASE}/users/{world.user_id}/memberships"

        first = world.platform.get(path, params={"limit": "1"})
        second = world.platform.get(path, params={"limit": "1", "cursor": first.json()["nextCursor"]})

        assert {*ids(first, "orgId"), *ids(second, "orgId")} == {world.org_id, elsewhere}


class TestTheHistoryOfAPerson:
    def test_begins_with_the_newest_and_goes_on_where_a_page_ends(self, world: World) -> None:
        world.make_member(None, "driver")
        world.store(org_id=world.org_id)
        world.patch({"attributes": {"theme": "dark"}}, org_id=world.org_id)
        path = f"{BASE}/users/{world.user_id}/journal?orgId={world.org_id}"

        whole = ids(world.platform.get(path), "type")
        first = world.platform.get(f"{path}&limit=2").json()
        rest = world.platform.get(f"{path}&limit=2&cursor={first['nextCursor']}").json()

        assert whole == ["properties.patched", "properties.put", "member.put"]
        assert [event["type"] for event in first["items"] + rest["items"]] == whole
        assert "nextCursor" not in rest

    def test_tells_who_did_what(self, world: World) -> None:
        world.make_member(None, "driver")

        (event,) = world.platform.get(f"{BASE}/users/{world.user_id}/journal?orgId={world.org_id}").json()["items"]

        assert event["actor"] == "user:operator"
        assert event["orgId"] == world.org_id
        assert event["data"]["rolesAdded"] == ["driver"]

    def test_can_be_narrowed_to_a_type(self, world: World) -> None:
        world.make_member(None, "driver")
        world.store(org_id=world.org_id)

        path = f"{BASE}/users/{world.user_id}/journal?orgId={world.org_id}&type=properties.put"

        assert ids(world.platform.get(path), "type") == ["properties.put"]

    def test_has_for_an_organizations_admin_only_what_happened_there(self, world: World) -> None:
        elsewhere = fresh("org")
        world.create_organization(elsewhere)
        world.make_member(None, "driver")
        world.make_member(None, "clerk", org_id=elsewhere)
        world.store()
        admin = world.make_admin(fresh("admin"))
        path = f"{BASE}/users/{world.user_id}/journal"

        assert ids(admin.get(f"{path}?orgId={world.org_id}"), "orgId") == [world.org_id]
        refused(admin.get(f"{path}?orgId={elsewhere}"), 403, "forbidden")
        refused(admin.get(path), 403, "forbidden")
        assert len(ids(world.platform.get(path), "type")) == 3

    def test_needs_an_organization_that_there_is_and_a_cursor_that_was_given(self, world: World) -> None:
        path = f"{BASE}/users/{world.user_id}/journal"

        refused(world.platform.get(f"{path}?orgId=nowhere"), 404, "organization_not_found")
        refused(world.platform.get(f"{path}?cursor=x"), 400, "invalid_parameter")


class TestAPreviewWithOtherRoles:
    def test_shows_the_steps_of_these_roles_and_stores_nothing(self, world: World) -> None:
        world.make_member(None, "dispatcher")
        world.put(f"/organizations/{world.org_id}/catalog", CATALOG)
        checklist = f"{BASE}/users/{world.user_id}/properties/guided-checklist"
        made = world.user.post(f"{checklist}/initialize?orgId={world.org_id}").json()
        before = world.read().text

        def preview(roles: str) -> httpx.Response:
            return world.platform.get(f"{checklist}/preview?orgId={world.org_id}&roles={roles}")

        same = preview("dispatcher").json()
        none = preview("").json()

        assert [step["stepId"] for step in same["steps"]] == step_ids(made)
        assert same["roles"] == ["dispatcher"]
        assert none["roles"] == []
        assert {step["stepId"] for step in none["steps"]} < set(step_ids(made))
        assert world.read().text == before

    def test_needs_a_checklist(self, world: World) -> None:
        world.make_member()
        path = f"{BASE}/users/{world.user_id}/properties/guided-checklist/preview?orgId={world.org_id}&roles=driver"

        refused(world.platform.get(path), 404, "checklist_not_found")
