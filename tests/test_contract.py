"""The contract's parts 1 to 3 about the record, sentence by sentence, over HTTP on both databases."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import msgspec
import pytest

from tests.arrange import BASE, World, checklist, fresh, pointers, record, refused, step, step_ids
from tests.conftest import Service

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class TestUpsert:
    """Part 1."""

    def test_put_creates_the_record_and_answers_200_with_it(self, world: World) -> None:
        body = record(world.user_id, guidedChecklist=checklist(step("profile"), productInterests=["maps"]))

        answer = world.user.put(world.path, json=body)

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        stored = answer.json()
        assert stored.pop("modifiedDate") > body.pop("modifiedDate")
        assert stored == body

    def test_put_replaces_all_properties(self, world: World) -> None:
        world.store(attributes={"theme": "dark"}, guidedChecklist=checklist(step("profile")))

        answer = world.user.put(world.path, json=record(world.user_id, firstLoginState={"isReturningUser": True}))

        assert answer.status_code == 200
        assert set(world.shown()) == {"userId", "createdDate", "modifiedDate", "firstLoginState"}

    @pytest.mark.parametrize("member", ["userId", "createdDate", "modifiedDate"])
    def test_a_required_member_that_is_missing_is_named(self, world: World, member: str) -> None:
        body = record(world.user_id)
        del body[member]

        problem = refused(world.user.put(world.path, json=body), 400, "invalid_body")

        assert pointers(problem) == {f"/{member}"}

    @pytest.mark.parametrize("member", ["track", "computedAt"])
    def test_a_guided_checklist_needs_track_and_computed_at(self, world: World, member: str) -> None:
        body = checklist()
        del body[member]

        answer = world.user.put(world.path, json=record(world.user_id, guidedChecklist=body))

        assert pointers(refused(answer, 400, "invalid_body")) == {f"/guidedChecklist/{member}"}

    @pytest.mark.parametrize(
        "member", ["stepId", "title", "description", "ctaLabel", "ctaRoute", "status", "sortOrder"]
    )
    def test_a_step_needs_its_required_members(self, world: World, member: str) -> None:
        body = step("profile")
        del body[member]

        answer = world.user.put(world.path, json=record(world.user_id, guidedChecklist=checklist(body)))

        assert pointers(refused(answer, 400, "invalid_body")) == {f"/guidedChecklist/steps/0/{member}"}

    @pytest.mark.parametrize("track", ["A", "B"])
    def test_track_is_a_or_b(self, world: World, track: str) -> None:
        world.store(guidedChecklist=checklist(track=track))

        assert world.shown()["guidedChecklist"]["track"] == track

    @pytest.mark.parametrize("track", ["C", "a", "", 1, None])
    def test_another_track_is_refused(self, world: World, track: object) -> None:
        answer = world.user.put(world.path, json=record(world.user_id, guidedChecklist=checklist(track=track)))

        assert pointers(refused(answer, 400, "invalid_body")) == {"/guidedChecklist/track"}

    @pytest.mark.parametrize("status", ["UP_NEXT", "IN_PROGRESS", "COMPLETED", "SKIPPED"])
    def test_a_step_has_one_of_four_statuses(self, world: World, status: str) -> None:
        world.store(guidedChecklist=checklist(step("profile", status=status)))

        assert world.shown()["guidedChecklist"]["steps"][0]["status"] == status

    def test_another_status_is_refused(self, world: World) -> None:
        body = record(world.user_id, guidedChecklist=checklist(step("profile", status="DONE")))

        problem = refused(world.user.put(world.path, json=body), 400, "invalid_body")

        assert pointers(problem) == {"/guidedChecklist/steps/0/status"}

    def test_every_optional_member_is_kept(self, world: World) -> None:
        full = checklist(
            step(
                "profile",
                status="COMPLETED",
                completedAt="2026-03-01T10:30:00Z",
                completedBy="6f1c2d7e-0b8a-4c55-9c0e-3b1f7c7a9d10",
                sourceRoles=[],
            ),
            productInterests=["maps", "alerts", "maps"],
            completedAt="2026-03-01T10:30:00Z",
            dismissedAt="2026-03-01T10:31:00Z",
        )
        state = {
            "roleIdentification": "executive",
            "delegationFlowCompleted": False,
            "isReturningUser": True,
            "stepperCompletedAt": "2026-03-01T10:00:00Z",
        }

        world.store(guidedChecklist=full, firstLoginState=state)

        shown = world.shown()
        assert shown["guidedChecklist"] == full | {"roles": []}
        assert shown["firstLoginState"] == state

    def test_every_fault_of_a_body_is_listed(self, world: World) -> None:
        body = record(world.user_id, guidedChecklist=checklist(step("profile", status="DONE"), track="C"), nick="x")

        problem = refused(world.user.put(world.path, json=body), 400, "invalid_body")

        assert pointers(problem) == {"/guidedChecklist/track", "/guidedChecklist/steps/0/status", "/nick"}

    def test_an_unknown_member_is_a_fault_and_nothing_is_stored(self, world: World) -> None:
        body = record(world.user_id, guidedChecklists=checklist())

        problem = refused(world.user.put(world.path, json=body), 400, "invalid_body")

        assert pointers(problem) == {"/guidedChecklists"}
        refused(world.read(), 404, "record_not_found")


class TestRoundTrips:
    """Round trips are exact."""

    @pytest.mark.parametrize(
        "text",
        [
            "", " ", "\x00", "\x1f\x7f", "\u2028", "é", "e\u0301", "日本語", "🧭👩🏽‍🚀", "\U0010ffff", "\ufeff",
            "'; DROP TABLE x;--", '"\\/',
        ],
    )  # fmt: skip
    def test_any_valid_unicode_comes_back(self, world: World, text: str) -> None:
        world.store(guidedChecklist=checklist(step("profile", title=text)), attributes={"text": text, text: 1})

        shown = world.shown()
        assert shown["guidedChecklist"]["steps"][0]["title"] == text
        assert shown["attributes"] == {"text": text, text: 1}

    @pytest.mark.parametrize(
        "user_id", ["ann@example.com", "auth0|42", "a/b", "a b", "ä%2F%", "日本", "..%2f", "a+b&c=d?e#f;"]
    )
    def test_a_user_id_may_hold_any_character(self, world: World, user_id: str) -> None:
        world.user_id = fresh(user_id)
        world.user = world.as_user(world.user_id)
        path = f"{BASE}/users/{encoded(world.user_id)}/properties"

        put = world.user.put(path, json=record(world.user_id))
        read = world.user.get(path, params={"orgId": world.org_id})

        assert put.status_code == 200
        assert read.json()["userId"] == world.user_id

    @pytest.mark.parametrize(
        "sent",
        [
            "2026-03-01T10:00:00Z", "2026-03-01T10:00:00z", "2026-03-01t10:00:00Z", "2026-03-01T10:00:00+00:00",
            "2026-03-01T10:00:00-00:00", "2026-03-01T15:30:00+05:30", "2026-02-28T10:01:00-23:59",
            "2026-03-02T09:59:00+23:59", "2026-03-01T10:00:00.5Z", "2026-03-01T10:00:00.123456+01:00",
            "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
        ],
    )  # fmt: skip
    def test_any_offset_comes_back_as_the_same_instant_in_utc(self, world: World, sent: str) -> None:
        world.store(guidedChecklist=checklist(computedAt=sent))

        kept = world.shown()["guidedChecklist"]["computedAt"]

        assert kept.endswith("Z")
        assert moment(kept) == moment(sent.upper())

    @pytest.mark.parametrize(
        "sent",
        [
            "2026-03-01", "2026-03-01T10:00:00", "10:00:00Z", "1772359200", "2026-02-30T10:00:00Z",
            "2026-03-01T25:00:00Z", "soon", "",
        ],
    )  # fmt: skip
    def test_a_time_that_is_not_rfc_3339_is_refused(self, world: World, sent: str) -> None:
        body = record(world.user_id, guidedChecklist=checklist(computedAt=sent))

        problem = refused(world.user.put(world.path, json=body), 400, "invalid_body")

        assert pointers(problem) == {"/guidedChecklist/computedAt"}

    def test_a_time_that_leaves_the_calendar_in_utc_is_refused(self, world: World) -> None:
        body = record(world.user_id, guidedChecklist=checklist(computedAt="0001-01-01T00:00:00+10:00"))

        refused(world.user.put(world.path, json=body), 400, "invalid_body")

    @pytest.mark.parametrize(
        "number",
        ["9007199254740993", "-9223372036854775809", "123456789012345678901234567890", "1.10", "0.1000000000000000055",
         "1e400", "-0.0", "1E-7", "3.141592653589793238462643383279"],
    )  # fmt: skip
    def test_numbers_in_attributes_are_unharmed(self, world: World, number: str) -> None:
        zero = msgspec.json.encode(record(world.user_id, attributes={"n": 0}))
        body = zero.replace(b'{"n":0}', f'{{"n":{number}}}'.encode())

        world.user.put(world.path, content=body)
        world.patch({"firstLoginState": {"isReturningUser": True}}, media_type=MERGE)

        raw = msgspec.json.decode(world.read().content, type=dict[str, msgspec.Raw])["attributes"]
        assert same_number(bytes(raw), number)

    def test_the_order_of_arrays_is_kept(self, world: World) -> None:
        interests = ["z", "a", "m", "a"]
        steps = [step(name, sortOrder=order) for name, order in (("z", 1), ("a", 3), ("m", -2))]

        world.store(guidedChecklist=checklist(*steps, productInterests=interests), attributes={"list": [3, 1, 2]})

        shown = world.shown()
        assert shown["guidedChecklist"]["productInterests"] == interests
        assert step_ids(shown) == ["z", "a", "m"]
        assert shown["attributes"] == {"list": [3, 1, 2]}


def encoded(segment: str) -> str:
    return str(httpx.QueryParams({"": segment})).removeprefix("=").replace("+", "%20")


def same_number(raw: bytes, number: str) -> bool:
    return Decimal(raw.decode().removeprefix('{"n":').removesuffix("}")) == Decimal(number)


class TestRoles:
    """`guidedChecklist.roles` always reflects the roles held now."""

    def test_roles_written_are_overwritten_on_get_by_the_resolved_ones(self, world: World) -> None:
        world.make_member(None, "dispatcher", "analyst")

        world.store(guidedChecklist=checklist(roles=["emperor"]))

        assert world.shown()["guidedChecklist"]["roles"] == ["analyst", "dispatcher"]

    def test_roles_are_empty_where_there_is_no_membership(self, world: World) -> None:
        world.store(guidedChecklist=checklist(roles=["emperor"]))

        assert world.shown()["guidedChecklist"]["roles"] == []
        assert world.shown("an-organization-nobody-made")["guidedChecklist"]["roles"] == []

    def test_a_role_given_or_taken_shows_in_the_next_get(self, world: World) -> None:
        world.store(guidedChecklist=checklist())
        world.make_member(None, "dispatcher")
        with_role = world.shown()["guidedChecklist"]["roles"]

        world.make_member(None)

        assert with_role == ["dispatcher"]
        assert world.shown()["guidedChecklist"]["roles"] == []

    def test_roles_are_those_of_the_organization_asked_for(self, world: World) -> None:
        other = fresh("org")
        world.create_organization(other)
        world.make_member(None, "dispatcher")
        world.make_member(None, "analyst", org_id=other)
        world.store(guidedChecklist=checklist())

        assert world.shown()["guidedChecklist"]["roles"] == ["dispatcher"]
        assert world.shown(other)["guidedChecklist"]["roles"] == ["analyst"]

    def test_deleting_a_role_takes_it_from_who_holds_it(self, world: World) -> None:
        world.store(guidedChecklist=checklist())
        world.make_member(None, "dispatcher", "analyst")

        world.platform.delete(f"{BASE}/organizations/{world.org_id}/roles/dispatcher")

        assert world.shown()["guidedChecklist"]["roles"] == ["analyst"]

    def test_a_record_without_a_checklist_gets_none(self, world: World) -> None:
        world.make_member(None, "dispatcher")

        world.store()

        assert "guidedChecklist" not in world.shown()


class TestVisibleSteps:
    """Only the steps that matter to the roles held now are shown; the others stay stored."""

    STEPS = (
        step("everyone"),
        step("for-nobody-in-particular", sourceRoles=[]),
        step("dispatch", sourceRoles=["dispatcher"]),
        step("analyse", sourceRoles=["analyst", "dispatcher"]),
        step("own", sourceRoles=["owner"], status="IN_PROGRESS"),
    )

    def test_a_step_is_shown_when_one_of_its_source_roles_is_held(self, world: World) -> None:
        world.make_member(None, "analyst")

        world.store(guidedChecklist=checklist(*self.STEPS))

        assert step_ids(world.shown()) == ["everyone", "for-nobody-in-particular", "analyse"]

    def test_a_role_given_back_shows_its_steps_again_with_their_progress(self, world: World) -> None:
        world.make_member(None, "owner")
        world.store(guidedChecklist=checklist(*self.STEPS))
        world.make_member(None)
        without = step_ids(world.shown())

        world.make_member(None, "owner")

        assert "own" not in without
        assert world.shown()["guidedChecklist"]["steps"][-1] == self.STEPS[-1]

    def test_patching_the_record_keeps_the_steps_its_caller_could_not_see(self, world: World) -> None:
        world.store(org_id=world.org_id, guidedChecklist=checklist(*self.STEPS))

        world.patch({"guidedChecklist": {"steps": [step("mine")]}}, org_id=world.org_id)

        assert step_ids(world.shown()) == ["mine"]
        world.make_member(None, "owner", "dispatcher")
        assert set(step_ids(world.shown())) == {"mine", "dispatch", "analyse", "own"}

    def test_patching_the_checklist_keeps_the_steps_its_caller_could_not_see(self, world: World) -> None:
        world.store(org_id=world.org_id, guidedChecklist=checklist(*self.STEPS))

        world.patch_checklist(checklist(step("everyone", status="COMPLETED")), org_id=world.org_id)

        world.make_member(None, "owner", "dispatcher")
        statuses = {one["stepId"]: one["status"] for one in world.shown()["guidedChecklist"]["steps"]}
        assert statuses == {"everyone": "COMPLETED", "dispatch": "UP_NEXT", "analyse": "UP_NEXT", "own": "IN_PROGRESS"}

    def test_a_json_patch_that_removes_the_steps_removes_only_those_it_saw(self, world: World) -> None:
        world.store(org_id=world.org_id, guidedChecklist=checklist(*self.STEPS))

        answer = world.patch_checklist([{"op": "remove", "path": "/steps"}], org_id=world.org_id, media_type=JSON_PATCH)

        assert answer.status_code == 200
        world.make_member(None, "owner", "dispatcher")
        assert step_ids(world.shown()) == ["dispatch", "analyse", "own"]

    def test_removing_the_whole_checklist_removes_only_the_steps_it_saw(self, world: World) -> None:
        world.store(org_id=world.org_id, guidedChecklist=checklist(*self.STEPS))

        world.patch({"guidedChecklist": None}, org_id=world.org_id)

        world.make_member(None, "owner", "dispatcher")
        assert step_ids(world.shown()) == ["dispatch", "analyse", "own"]

    def test_put_replaces_the_hidden_steps_too(self, world: World) -> None:
        world.store(org_id=world.org_id, guidedChecklist=checklist(*self.STEPS))

        world.store(org_id=world.org_id, guidedChecklist=checklist(step("mine")))

        world.make_member(None, "owner", "dispatcher")
        assert step_ids(world.shown()) == ["mine"]

    def test_roles_shown_and_patched_back_are_not_stored_as_if_they_had_been_written(self, world: World) -> None:
        world.make_member(None, "dispatcher")
        world.store(guidedChecklist=checklist(roles=["as-first-written"]))

        answer = world.patch({"attributes": {"a": 1}})

        assert answer.json()["guidedChecklist"]["roles"] == ["as-first-written"]


class TestTenancy:
    """A record lives under (user, organization)."""

    def test_a_bare_put_writes_the_home_record_which_every_organization_falls_back_to(self, world: World) -> None:
        world.store(attributes={"from": "home"})

        assert world.shown()["attributes"] == {"from": "home"}
        assert world.shown(fresh("org"))["attributes"] == {"from": "home"}

    def test_a_record_of_the_organization_comes_before_the_home_record(self, world: World) -> None:
        world.store(attributes={"from": "home"})
        world.store(org_id=world.org_id, attributes={"from": "organization"})

        assert world.shown()["attributes"] == {"from": "organization"}
        assert world.shown(fresh("org"))["attributes"] == {"from": "home"}

    def test_a_user_in_two_organizations_keeps_two_checklists(self, world: World) -> None:
        other = fresh("org")
        world.create_organization(other)

        world.store(org_id=world.org_id, guidedChecklist=checklist(step("here")))
        world.store(org_id=other, guidedChecklist=checklist(step("there")))

        assert step_ids(world.shown()) == ["here"]
        assert step_ids(world.shown(other)) == ["there"]

    def test_neither_organizations_admins_see_the_others_checklist(self, world: World) -> None:
        other = fresh("org")
        world.create_organization(other)
        world.make_member(None, "dispatcher")
        world.make_member(None, "dispatcher", org_id=other)
        admin = world.make_admin(fresh("admin"))
        world.store(org_id=other, guidedChecklist=checklist(step("there")))

        refused(admin.get(world.path, params={"orgId": other}), 403, "forbidden")
        refused(admin.get(world.path, params={"orgId": world.org_id}), 404, "record_not_found")

    def test_a_patch_for_an_organization_starts_from_the_home_record_and_leaves_it_alone(self, world: World) -> None:
        world.store(attributes={"a": 1}, guidedChecklist=checklist(step("profile")))

        answer = world.patch({"attributes": {"b": 2}}, org_id=world.org_id)

        assert answer.status_code == 200
        assert world.shown()["attributes"] == {"a": 1, "b": 2}
        assert world.shown(fresh("org"))["attributes"] == {"a": 1}

    def test_get_requires_org_id(self, world: World) -> None:
        world.store()

        problem = refused(world.user.get(world.path), 400, "invalid_parameter")

        assert problem["errors"][0]["parameter"] == "orgId"

    def test_a_parameter_that_is_misspelt_is_refused_and_nothing_is_written(self, world: World) -> None:
        answer = world.user.put(world.path, params={"orgID": world.org_id}, json=record(world.user_id))

        assert refused(answer, 400, "invalid_parameter")["errors"][0]["parameter"] == "orgID"
        refused(world.read(), 404, "record_not_found")

    def test_a_record_cannot_be_stored_under_an_organization_that_does_not_exist(self, world: World) -> None:
        answer = world.user.put(world.path, params={"orgId": fresh("org")}, json=record(world.user_id))

        refused(answer, 404, "organization_not_found")

    def test_deleting_an_organization_takes_its_records_along_and_leaves_the_home_record(self, world: World) -> None:
        world.store(attributes={"from": "home"})
        world.store(org_id=world.org_id, attributes={"from": "organization"})

        world.platform.delete(f"{BASE}/organizations/{world.org_id}")
        world.create_organization(world.org_id)

        assert world.shown()["attributes"] == {"from": "home"}


class TestDates:
    def test_the_first_writes_created_date_is_kept_for_the_life_of_the_record(self, world: World) -> None:
        world.store()

        later = record(world.user_id, createdDate="2026-04-01T00:00:00Z")
        answer = world.user.put(world.path, json=later)
        patched = world.patch({"createdDate": "2026-05-01T00:00:00Z"})

        assert answer.json()["createdDate"] == "2026-03-01T09:00:00Z"
        assert patched.json()["createdDate"] == "2026-03-01T09:00:00Z"

    def test_a_created_date_in_the_future_is_refused(self, world: World) -> None:
        ahead = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()

        answer = world.user.put(world.path, json=record(world.user_id, createdDate=ahead))

        assert pointers(refused(answer, 400, "created_in_future")) == {"/createdDate"}

    def test_a_created_date_within_the_clock_skew_is_accepted(self, world: World) -> None:
        ahead = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()

        assert world.user.put(world.path, json=record(world.user_id, createdDate=ahead)).status_code == 200

    def test_modified_date_is_set_by_the_server(self, world: World) -> None:
        before = datetime.now(UTC)

        stored = world.user.put(world.path, json=record(world.user_id, modifiedDate="2031-01-01T00:00:00Z")).json()

        assert before <= moment(stored["modifiedDate"]) <= datetime.now(UTC)

    def test_modified_date_grows_with_every_write(self, world: World) -> None:
        times = [moment(world.store().json()["modifiedDate"]) for _ in range(20)]

        assert times == sorted(set(times))


class TestIdentity:
    def test_user_id_in_the_body_must_equal_the_paths(self, world: World) -> None:
        answer = world.user.put(world.path, json=record("somebody-else"))

        assert pointers(refused(answer, 422, "id_mismatch")) == {"/userId"}

    def test_a_patch_cannot_change_user_id(self, world: World) -> None:
        world.store()

        refused(world.patch({"userId": "somebody-else"}), 422, "id_mismatch")

    def test_step_ids_are_unique_within_the_checklist(self, world: World) -> None:
        body = record(world.user_id, guidedChecklist=checklist(step("a"), step("b"), step("a")))

        problem = refused(world.user.put(world.path, json=body), 422, "duplicate_step")

        assert pointers(problem) == {"/guidedChecklist/steps/2/stepId"}

    @pytest.mark.parametrize("user_id", ["%00", "a%0Ab", "%FF", "x" * 256, "%F0%9F%A7%AD" * 201])
    def test_an_id_with_control_characters_or_too_long_is_refused(self, world: World, user_id: str) -> None:
        answer = world.platform.get(f"{BASE}/users/{user_id}/properties", params={"orgId": world.org_id})

        assert refused(answer, 400, "invalid_parameter")["errors"][0]["parameter"] == "userId"


class TestPatch:
    def test_a_merge_patch_changes_what_it_names_and_removes_what_it_nulls(self, world: World) -> None:
        world.store(attributes={"a": 1, "b": {"c": 2, "d": 3}}, firstLoginState={"isReturningUser": True})

        answer = world.patch({"attributes": {"a": None, "b": {"c": 9}}, "firstLoginState": None}, media_type=MERGE)

        assert answer.status_code == 200
        assert answer.json()["attributes"] == {"b": {"c": 9, "d": 3}}
        assert "firstLoginState" not in answer.json()

    def test_a_json_patch_applies_its_operations_in_order(self, world: World) -> None:
        world.store(attributes={"list": [1, 2]})
        operations = [
            {"op": "test", "path": "/attributes/list/0", "value": 1},
            {"op": "add", "path": "/attributes/list/-", "value": 3},
            {"op": "remove", "path": "/attributes/list/0"},
        ]

        answer = world.patch(operations, media_type=JSON_PATCH)

        assert answer.json()["attributes"] == {"list": [2, 3]}

    def test_a_json_patch_test_that_fails_changes_nothing(self, world: World) -> None:
        world.store(attributes={"a": 1})
        operations = [
            {"op": "add", "path": "/attributes/b", "value": 2},
            {"op": "test", "path": "/attributes/a", "value": 2},
        ]

        refused(world.patch(operations, media_type=JSON_PATCH), 409, "patch_test_failed")

        assert world.shown()["attributes"] == {"a": 1}

    def test_a_json_patch_on_something_that_is_not_there_is_refused(self, world: World) -> None:
        world.store()

        answer = world.patch([{"op": "remove", "path": "/attributes/a"}], media_type=JSON_PATCH)

        refused(answer, 422, "patch_not_applicable")

    @pytest.mark.parametrize("operations", [{}, 5, ["add"], [{"op": "grow", "path": "/a"}], [{"op": "add"}]])
    def test_a_malformed_json_patch_is_refused(self, world: World, operations: object) -> None:
        world.store()

        refused(world.patch(operations, media_type=JSON_PATCH), 400, "invalid_patch")

    def test_a_patch_must_leave_a_valid_record(self, world: World) -> None:
        world.store(guidedChecklist=checklist())

        problem = refused(world.patch({"guidedChecklist": {"track": "C"}}), 400, "invalid_body")

        assert pointers(problem) == {"/guidedChecklist/track"}
        assert world.shown()["guidedChecklist"]["track"] == "A"

    def test_patching_a_record_that_does_not_exist_is_refused(self, world: World) -> None:
        refused(world.patch({"attributes": {}}), 404, "record_not_found")
        refused(world.patch_checklist(checklist()), 404, "record_not_found")

    def test_the_checklists_patch_changes_only_the_checklist_and_answers_the_whole_record(self, world: World) -> None:
        world.store(attributes={"a": 1}, guidedChecklist=checklist(step("old")))

        answer = world.patch_checklist(checklist(step("new"), track="B"))

        assert answer.status_code == 200
        assert answer.json()["attributes"] == {"a": 1}
        assert answer.json()["guidedChecklist"]["track"] == "B"
        assert step_ids(answer.json()) == ["new"]

    def test_the_checklists_patch_gives_a_record_without_one_its_checklist(self, world: World) -> None:
        world.store()

        assert step_ids(world.patch_checklist(checklist(step("new"))).json()) == ["new"]

    def test_the_checklists_patch_keeps_what_it_does_not_name(self, world: World) -> None:
        before = checklist(step("old"), productInterests=["maps"], dismissedAt="2026-03-02T00:00:00Z")
        world.store(guidedChecklist=before)

        body = {"track": "A", "computedAt": "2026-03-03T00:00:00Z", "dismissedAt": None}
        changed = world.patch_checklist(body).json()["guidedChecklist"]

        assert changed["productInterests"] == ["maps"]
        assert changed["computedAt"] == "2026-03-03T00:00:00Z"
        assert "dismissedAt" not in changed
        assert len(changed["steps"]) == 1

    @pytest.mark.parametrize("missing", ["track", "computedAt"])
    def test_the_checklists_patch_takes_a_whole_checklist(self, world: World, missing: str) -> None:
        world.store(guidedChecklist=checklist(step("old")))
        body = checklist()
        del body[missing]

        problem = refused(world.patch_checklist(body), 400, "invalid_body")

        assert pointers(problem) == {f"/{missing}"}

    def test_the_checklists_json_patch_speaks_of_the_checklist_that_is_seen(self, world: World) -> None:
        hidden = step("hidden", sourceRoles=["owner"])
        world.store(org_id=world.org_id, guidedChecklist=checklist(hidden, step("seen")))
        operations = [
            {"op": "test", "path": "/steps/0/stepId", "value": "seen"},
            {"op": "replace", "path": "/steps/0/status", "value": "SKIPPED"},
        ]

        answer = world.patch_checklist(operations, org_id=world.org_id, media_type=JSON_PATCH)

        assert answer.json()["guidedChecklist"]["steps"][0]["status"] == "SKIPPED"

    def test_another_media_type_is_refused_with_those_that_are_taken(self, world: World) -> None:
        world.store()

        answer = world.patch({}, media_type="application/xml")

        problem = refused(answer, 415, "unsupported_media_type")
        assert JSON_PATCH in problem["detail"]
        assert MERGE in answer.headers["accept-patch"]


class TestConcurrency:
    def test_every_record_has_a_strong_etag_that_a_read_repeats(self, world: World) -> None:
        tag = world.store(org_id=world.org_id).headers["etag"]

        assert tag.startswith('"')
        assert world.read().headers["etag"] == tag

    def test_a_write_changes_the_etag_even_where_the_body_is_the_same(self, world: World) -> None:
        assert world.store().headers["etag"] != world.store().headers["etag"]

    def test_a_role_given_changes_the_etag_of_a_read(self, world: World) -> None:
        world.store(guidedChecklist=checklist())
        before = world.read().headers["etag"]

        world.make_member(None, "dispatcher")

        assert world.read(**{"If-None-Match": before}).status_code == 200

    def test_if_match_with_the_etag_of_a_read_writes(self, world: World) -> None:
        world.store()
        tag = world.read().headers["etag"]

        answer = world.user.put(
            world.path, params={"orgId": world.org_id}, json=record(world.user_id), headers={"If-Match": tag}
        )

        assert answer.status_code == 200

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    def test_if_match_refuses_a_lost_update(self, world: World, method: str) -> None:
        stale = world.store().headers["etag"]
        world.store(attributes={"by": "another"})

        answer = world.user.request(
            method, world.path, headers={"If-Match": stale}, json=None if method == "DELETE" else record(world.user_id)
        )

        refused(answer, 412, "precondition_failed")
        assert world.shown()["attributes"] == {"by": "another"}

    def test_if_match_on_a_record_that_does_not_exist_is_refused(self, world: World) -> None:
        answer = world.user.put(world.path, json=record(world.user_id), headers={"If-Match": "*"})

        refused(answer, 412, "precondition_failed")

    def test_a_weak_tag_never_matches_if_match(self, world: World) -> None:
        tag = world.store().headers["etag"]

        answer = world.user.put(world.path, json=record(world.user_id), headers={"If-Match": f"W/{tag}"})

        refused(answer, 412, "precondition_failed")

    def test_if_none_match_star_creates_only(self, world: World) -> None:
        first = world.user.put(world.path, json=record(world.user_id), headers={"If-None-Match": "*"})
        second = world.user.put(world.path, json=record(world.user_id), headers={"If-None-Match": "*"})

        assert first.status_code == 200
        refused(second, 412, "precondition_failed")

    @pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
    def test_if_none_match_on_get_answers_304_without_a_body(self, world: World, form: str) -> None:
        world.store()
        tag = world.read().headers["etag"]

        answer = world.read(**{"If-None-Match": form.format(tag=tag)})

        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == tag

    def test_a_header_that_is_no_list_of_tags_is_refused(self, world: World) -> None:
        world.store()

        refused(world.read(**{"If-None-Match": "not-quoted"}), 400, "invalid_parameter")


class TestDelete:
    def test_delete_answers_204_and_the_record_is_gone(self, world: World) -> None:
        world.store()

        answer = world.user.delete(world.path)

        assert answer.status_code == 204
        assert answer.content == b""
        refused(world.read(), 404, "record_not_found")

    def test_deleting_an_organizations_record_leaves_the_home_record(self, world: World) -> None:
        world.store(attributes={"from": "home"})
        world.store(org_id=world.org_id)

        world.user.delete(world.path, params={"orgId": world.org_id})

        assert world.shown()["attributes"] == {"from": "home"}

    def test_deleting_what_is_not_there_is_refused(self, world: World) -> None:
        refused(world.user.delete(world.path), 404, "record_not_found")

    def test_a_record_stored_again_has_a_new_created_date_and_etag(self, world: World) -> None:
        old = world.store().headers["etag"]
        world.user.delete(world.path)

        new = world.user.put(world.path, json=record(world.user_id, createdDate="2026-04-01T00:00:00Z"))

        assert new.json()["createdDate"] == "2026-04-01T00:00:00Z"
        assert new.headers["etag"] != old
