"""The directory over HTTP (contract part 4), on both databases."""

import pytest

from tests.arrange import BASE, World, checklist, fresh, pointers, refused
from tests.conftest import Service


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


def listed(world: World, path: str, **parameters: str | int) -> list[dict[str, object]]:
    """Every entry of a list, page by page."""
    entries, cursor = [], None
    while True:
        query = {**parameters, **({"cursor": cursor} if cursor else {})}
        answer = world.platform.get(BASE + path, params=query)
        assert answer.status_code == 200, answer.text
        entries += answer.json()["items"]
        cursor = answer.json().get("nextCursor")
        if cursor is None:
            return entries


class TestEntries:
    """Organizations, enterprises and roles, which differ only in their names."""

    @pytest.mark.parametrize(
        ("collection", "body", "changed"),
        [
            ("enterprises", {"name": "North"}, {"name": "South"}),
            ("roles", {"title": "Dispatcher", "admin": False}, {"title": "Head dispatcher", "admin": True}),
            ("members", {"roles": [], "enterprises": []}, {"roles": ["dispatcher"], "enterprises": []}),
        ],
    )
    def test_put_answers_201_when_it_creates_and_200_when_it_replaces(
        self, world: World, collection: str, body: dict[str, object], changed: dict[str, object]
    ) -> None:
        world.define_role("dispatcher")
        path = f"{BASE}/organizations/{world.org_id}/{collection}/{fresh('entry')}"

        created = world.platform.put(path, json=body)
        replaced = world.platform.put(path, json=changed)

        assert (created.status_code, replaced.status_code) == (201, 200)
        assert world.platform.get(path).json().items() >= changed.items()

    def test_an_organization_is_created_replaced_read_and_deleted(self, world: World) -> None:
        path = f"{BASE}/organizations/{fresh('org')}"

        created = world.platform.put(path, json={"name": "First"})
        replaced = world.platform.put(path, json={"name": "Second"})
        read = world.platform.get(path)
        deleted = world.platform.delete(path)

        assert (created.status_code, replaced.status_code, deleted.status_code) == (201, 200, 204)
        assert read.json()["name"] == "Second"
        refused(world.platform.get(path), 404, "organization_not_found")

    @pytest.mark.parametrize("collection", ["enterprises", "roles", "members"])
    def test_what_get_answers_can_be_sent_back_with_put(self, world: World, collection: str) -> None:
        bodies = {"enterprises": {"name": "N"}, "roles": {"title": "T"}, "members": {}}
        path = f"{BASE}/organizations/{world.org_id}/{collection}/{fresh('entry')}"
        stored = world.platform.put(path, json=bodies[collection]).json()

        again = world.platform.put(path, json=stored)

        assert again.status_code == 200
        assert again.json() == stored

    @pytest.mark.parametrize(
        ("collection", "name"),
        [
            ("enterprises", "enterprise_not_found"),
            ("roles", "role_not_found"),
            ("members", "member_not_found"),
        ],
    )
    def test_what_is_not_there_is_refused_by_name(self, world: World, collection: str, name: str) -> None:
        path = f"{BASE}/organizations/{world.org_id}/{collection}/{fresh('nothing')}"

        refused(world.platform.get(path), 404, name)
        refused(world.platform.delete(path), 404, name)

    @pytest.mark.parametrize("collection", ["enterprises", "roles", "members"])
    def test_nothing_can_be_put_into_an_organization_that_does_not_exist(self, world: World, collection: str) -> None:
        bodies = {"enterprises": {"name": "N"}, "roles": {"title": "T"}, "members": {}}
        path = f"{BASE}/organizations/{fresh('org')}/{collection}/x"

        refused(world.platform.put(path, json=bodies[collection]), 404, "organization_not_found")

    def test_an_id_in_the_body_must_be_the_paths(self, world: World) -> None:
        answer = world.platform.put(
            f"{BASE}/organizations/{world.org_id}/roles/a", json={"title": "A", "role": "b", "orgId": "other"}
        )

        assert pointers(refused(answer, 422, "id_mismatch")) == {"/role", "/orgId"}

    def test_an_unknown_member_of_the_body_is_refused(self, world: World) -> None:
        answer = world.platform.put(f"{BASE}/organizations/{world.org_id}", json={"name": "N", "nmae": "M"})

        assert pointers(refused(answer, 400, "invalid_body")) == {"/nmae"}


class TestEnterprises:
    def test_an_enterprise_is_in_one_organization(self, world: World) -> None:
        enterprise, other = fresh("enterprise"), fresh("org")
        world.create_organization(other)
        world.put(f"/organizations/{world.org_id}/enterprises/{enterprise}", {"name": "N"})

        answer = world.platform.put(f"{BASE}/organizations/{other}/enterprises/{enterprise}", json={"name": "M"})

        refused(answer, 409, "enterprise_elsewhere")
        refused(
            world.platform.get(f"{BASE}/organizations/{other}/enterprises/{enterprise}"), 404, "enterprise_not_found"
        )

    def test_a_membership_can_be_limited_to_enterprises_of_its_organization_only(self, world: World) -> None:
        other, foreign = fresh("org"), fresh("enterprise")
        world.create_organization(other)
        world.put(f"/organizations/{other}/enterprises/{foreign}", {"name": "N"})

        answer = world.platform.put(
            f"{BASE}/organizations/{world.org_id}/members/x", json={"enterprises": [foreign, "nowhere"]}
        )

        assert pointers(refused(answer, 422, "unknown_enterprise")) == {"/enterprises/0", "/enterprises/1"}

    def test_deleting_an_enterprise_ends_the_memberships_limited_to_it_alone(self, world: World) -> None:
        going, staying = fresh("enterprise"), fresh("enterprise")
        world.define_role("dispatcher")
        members = f"/organizations/{world.org_id}/members"
        for enterprise in (going, staying):
            world.put(f"/organizations/{world.org_id}/enterprises/{enterprise}", {"name": "N"})
        for user, enterprises in (("alone", [going]), ("both", [going, staying]), ("whole", [])):
            world.put(f"{members}/{user}", {"roles": ["dispatcher"], "enterprises": enterprises})

        world.platform.delete(f"{BASE}/organizations/{world.org_id}/enterprises/{going}")

        left = {member["userId"]: member["enterprises"] for member in listed(world, members, role="dispatcher")}
        assert left == {"both": [staying], "whole": []}
        refused(world.platform.get(f"{BASE}{members}/alone"), 404, "member_not_found")


class TestMembers:
    def test_ids_as_long_as_they_may_be_are_kept(self, world: World) -> None:
        org_id, role, user_id = ("\N{COMPASS}" * 190 + fresh("x")[-10:] for _ in range(3))
        world.create_organization(org_id)
        world.define_role(role, org_id=org_id)

        stored = world.put(f"/organizations/{org_id}/members/{user_id}", {"roles": [role]})

        assert stored["roles"] == [role]

    def test_a_member_has_exactly_the_roles_put_last(self, world: World) -> None:
        for role in ("a", "b", "c"):
            world.define_role(role)
        path = f"/organizations/{world.org_id}/members/{world.user_id}"
        world.put(path, {"roles": ["a", "b"]})

        world.put(path, {"roles": ["c", "b", "c"]})

        assert world.platform.get(BASE + path).json()["roles"] == ["b", "c"]

    def test_a_role_must_be_defined_before_somebody_can_hold_it(self, world: World) -> None:
        world.define_role("dispatcher")
        path = f"{BASE}/organizations/{world.org_id}/members/{world.user_id}"

        answer = world.platform.put(path, json={"roles": ["dispatcher", "dispathcer"]})

        assert pointers(refused(answer, 422, "unknown_role")) == {"/roles/1"}
        refused(world.platform.get(path), 404, "member_not_found")

    def test_since_is_kept_when_the_membership_changes(self, world: World) -> None:
        world.define_role("dispatcher")
        path = f"/organizations/{world.org_id}/members/{world.user_id}"
        since = world.put(path, {"roles": []})["since"]

        assert world.put(path, {"roles": ["dispatcher"]})["since"] == since

    def test_since_can_be_said(self, world: World) -> None:
        path = f"/organizations/{world.org_id}/members/{world.user_id}"

        stored = world.put(path, {"roles": [], "since": "2020-01-01T00:00:00+01:00"})

        assert stored["since"] == "2019-12-31T23:00:00Z"

    def test_since_cannot_lie_in_the_future(self, world: World) -> None:
        path = f"{BASE}/organizations/{world.org_id}/members/{world.user_id}"

        answer = world.platform.put(path, json={"since": "2999-01-01T00:00:00Z"})

        assert pointers(refused(answer, 400, "invalid_body")) == {"/since"}

    def test_deleting_a_membership_takes_its_roles(self, world: World) -> None:
        world.store(guidedChecklist=checklist())
        world.make_member(None, "dispatcher")

        world.platform.delete(f"{BASE}/organizations/{world.org_id}/members/{world.user_id}")

        assert world.shown()["guidedChecklist"]["roles"] == []

    def test_deleting_an_organization_takes_its_memberships_along(self, world: World) -> None:
        world.store(guidedChecklist=checklist())
        world.make_member(None, "dispatcher")

        world.platform.delete(f"{BASE}/organizations/{world.org_id}")
        world.create_organization(world.org_id)

        assert world.shown()["guidedChecklist"]["roles"] == []
        assert listed(world, f"/organizations/{world.org_id}/members") == []


class TestLists:
    @pytest.fixture
    def peopled(self, world: World) -> World:
        """Seven members: u0 to u6; the even ones are dispatchers, the first three are in the enterprise north."""
        world.define_role("dispatcher")
        self.north = fresh("north")
        world.put(f"/organizations/{world.org_id}/enterprises/{self.north}", {"name": "North"})
        for n in range(7):
            body = {"roles": [] if n % 2 else ["dispatcher"], "enterprises": [self.north] if n < 3 else []}
            world.put(f"/organizations/{world.org_id}/members/u{n}", body)
        return world

    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 500])
    def test_pages_together_are_the_whole_list_in_order(self, peopled: World, limit: int) -> None:
        members = listed(peopled, f"/organizations/{peopled.org_id}/members", limit=limit)

        assert [member["userId"] for member in members] == [f"u{n}" for n in range(7)]

    def test_a_page_has_at_most_limit_entries_and_the_last_no_cursor(self, peopled: World) -> None:
        path = f"{BASE}/organizations/{peopled.org_id}/members"

        first = peopled.platform.get(path, params={"limit": 4}).json()
        last = peopled.platform.get(path, params={"limit": 4, "cursor": first["nextCursor"]}).json()

        assert len(first["items"]) == 4
        assert len(last["items"]) == 3
        assert "nextCursor" not in last

    def test_members_can_be_filtered_by_role_and_enterprise(self, peopled: World) -> None:
        path = f"/organizations/{peopled.org_id}/members"

        of_role = listed(peopled, path, role="dispatcher", limit=2)
        of_enterprise = listed(peopled, path, enterpriseId=self.north)
        of_both = listed(peopled, path, role="dispatcher", enterpriseId=self.north)

        assert [member["userId"] for member in of_role] == ["u0", "u2", "u4", "u6"]
        assert [member["userId"] for member in of_enterprise] == ["u0", "u1", "u2"]
        assert [member["userId"] for member in of_both] == ["u0", "u2"]

    def test_an_organizations_lists_hold_nothing_of_anothers(self, peopled: World) -> None:
        other = fresh("org")
        peopled.create_organization(other)

        for collection in ("members", "roles", "enterprises"):
            assert listed(peopled, f"/organizations/{other}/{collection}") == []

    def test_an_admin_lists_only_the_organizations_they_administer(self, peopled: World) -> None:
        peopled.create_organization(fresh("org"))
        admin = peopled.make_admin(fresh("admin"))

        items = admin.get(f"{BASE}/organizations").json()["items"]

        assert [item["orgId"] for item in items] == [peopled.org_id]

    def test_somebody_who_administers_nothing_sees_no_organization(self, peopled: World) -> None:
        assert peopled.user.get(f"{BASE}/organizations").json() == {"items": []}

    @pytest.mark.parametrize("limit", ["0", "501", "-1", "ten", "1.5", "", "9" * 40, "٣"])
    def test_a_limit_out_of_range_is_refused(self, world: World, limit: str) -> None:
        answer = world.platform.get(f"{BASE}/organizations", params={"limit": limit})

        assert refused(answer, 400, "invalid_parameter")["errors"][0]["parameter"] == "limit"

    @pytest.mark.parametrize("cursor", ["?", "", "AA==", "_w"])
    def test_a_cursor_that_no_answer_gave_is_refused(self, world: World, cursor: str) -> None:
        answer = world.platform.get(f"{BASE}/organizations", params={"cursor": cursor})

        assert refused(answer, 400, "invalid_parameter")["errors"][0]["parameter"] == "cursor"
