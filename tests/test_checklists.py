"""The checklist that the server makes: initialize, refresh, steps, signals, explain (contract part 2), over HTTP."""

from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.arrange import BASE, Json, World, fresh, pointers, refused, step_ids
from tests.conftest import Service, start_service

events = count(1)


def definition(step_id: str, order: int = 10, **members: Any) -> Json:
    return {
        "stepId": step_id,
        "title": f"Title of {step_id}",
        "description": "What to do",
        "ctaLabel": "Go",
        "ctaRoute": f"/{step_id}",
        "sortOrder": order,
    } | members


CATALOG = {
    "name": "Onboarding",
    "steps": [
        definition("profile", 10),
        definition("pair", 20, roles=["dispatcher", "owner"], completeWhen="signals['paired'].count >= 2"),
        definition("route", 30, roles=["dispatcher"], requires=["profile"]),
        definition("billing", 40, roles=["owner"], scope="organization"),
        definition("depot", 45, roles=["owner"], scope="enterprise", completeWhen="signals['depot.opened'].count > 0"),
        definition("welcome-back", 50, tracks=["B"]),
        definition("maps", 60, interests=["maps"]),
        definition("terms", 70, skippable=False),
    ],
}


class Onboarding(World):
    """An organization with a catalog and an enterprise, and a user who is a dispatcher there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.enterprise_id = fresh("enterprise")
        self.put(f"/organizations/{self.org_id}/enterprises/{self.enterprise_id}", {"name": "North"})
        self.define_role("owner", admin=True)
        self.make_member(None, "dispatcher")
        self.publish(CATALOG)

    def publish(self, catalog: Json) -> httpx.Response:
        return self.platform.put(f"{BASE}/organizations/{self.org_id}/catalog", json=catalog)

    def another(self, *roles: str) -> "Onboarding":
        """The same organization, seen by another user with these roles."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.user_id = fresh("user")
        other.user = other.as_user(other.user_id)
        other.make_member(other.user_id, *roles)
        return other

    def call(self, path: str, **parameters: str) -> httpx.Response:
        query = {"orgId": self.org_id, **parameters}
        return self.user.post(f"{self.path}/guided-checklist/{path}", params=query)

    def initialize(self, **parameters: str) -> Json:
        return accepted(self.call("initialize", **{"enterpriseId": self.enterprise_id, **parameters}))

    def refresh(self) -> Json:
        return accepted(self.call("refresh"))

    def move(
        self, step_id: str, status: str, client: httpx.Client | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return (client or self.user).patch(
            f"{self.path}/guided-checklist/steps/{step_id}",
            params={"orgId": self.org_id},
            json={"status": status},
            headers=headers,
        )

    def complete(self, step_id: str) -> None:
        for status in ("IN_PROGRESS", "COMPLETED"):
            accepted(self.move(step_id, status))

    def report(self, name: str, **members: Any) -> Json:
        """Report that something happened to the user now, or to everyone with `subject=None`."""
        answer = self.platform.post(f"{BASE}/signals", json=self.event(name, **members))
        assert answer.status_code == 200, answer.text
        receipt: Json = answer.json()
        return receipt

    def event(self, name: str, **members: Any) -> Json:
        event = {
            "specversion": "1.0",
            "id": f"event-{next(events)}",
            "source": f"/{self.org_id}",
            "type": name,
            "subject": self.user_id,
            "orgid": self.org_id,
        } | members
        return {key: value for key, value in event.items() if value is not None}

    def statuses(self) -> dict[str, str]:
        return statuses(self.shown())


def accepted(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def statuses(body: Json) -> dict[str, str]:
    return {step["stepId"]: step["status"] for step in body["guidedChecklist"]["steps"]}


@pytest.fixture
def world(service: Service) -> Onboarding:
    return Onboarding(service)


class TestInitialize:
    def test_it_builds_the_steps_of_the_track_for_the_roles_held(self, world: Onboarding) -> None:
        made = world.initialize()["guidedChecklist"]

        assert made["track"] == "A"
        assert made["roles"] == ["dispatcher"]
        assert [step["stepId"] for step in made["steps"]] == ["profile", "pair", "route", "terms"]
        assert made["steps"][1]["sourceRoles"] == ["dispatcher"]
        assert "sourceRoles" not in made["steps"][0]

    def test_somebody_who_was_in_another_enterprise_is_on_track_b(self, world: Onboarding) -> None:
        elsewhere, enterprise = fresh("org"), fresh("enterprise")
        world.create_organization(elsewhere)
        world.put(f"/organizations/{elsewhere}/enterprises/{enterprise}", {"name": "Before"})
        member = f"/organizations/{elsewhere}/members/{world.user_id}"
        world.put(member, {"enterprises": [enterprise]})
        world.platform.delete(BASE + member)

        made = world.initialize()

        assert made["guidedChecklist"]["track"] == "B"
        assert "welcome-back" in step_ids(made)

    def test_of_the_body_only_the_interests_are_read(self, world: Onboarding) -> None:
        body = {
            "guidedChecklist": {"productInterests": ["maps"], "track": "B", "steps": [{}], "computedAt": "whenever"}
        }

        answer = world.user.post(f"{world.path}/guided-checklist/initialize", params={"orgId": world.org_id}, json=body)

        made = accepted(answer)
        assert made["guidedChecklist"]["track"] == "A"
        assert made["guidedChecklist"]["productInterests"] == ["maps"]
        assert "maps" in step_ids(made)

    def test_what_has_been_done_already_is_marked_with_the_time_of_the_signal(self, world: Onboarding) -> None:
        world.report("paired", time="2026-03-01T08:00:00Z")
        world.report("paired", time="2026-03-02T08:00:00Z")

        made = world.initialize()

        assert statuses(made)["pair"] == "COMPLETED"
        assert made["guidedChecklist"]["steps"][1]["completedAt"] == "2026-03-01T08:00:00Z"

    def test_a_repeat_overwrites_the_prior_checklist(self, world: Onboarding) -> None:
        first = world.initialize()
        world.complete("profile")

        again = world.initialize()

        assert again["guidedChecklist"]["steps"] == first["guidedChecklist"]["steps"]

    def test_keep_progress_keeps_what_was_completed_or_skipped(self, world: Onboarding) -> None:
        world.initialize()
        world.complete("profile")
        accepted(world.move("route", "SKIPPED"))

        again = world.initialize(keepProgress="true")

        assert statuses(again) == {
            "profile": "COMPLETED", "pair": "UP_NEXT", "route": "SKIPPED", "terms": "UP_NEXT",
        }  # fmt: skip

    def test_keep_progress_keeps_what_was_done_in_a_role_that_was_taken_away_and_comes_back(
        self, world: Onboarding
    ) -> None:
        world.make_member(None, "dispatcher", "owner")
        world.initialize()
        world.complete("billing")
        accepted(world.move("depot", "SKIPPED"))
        before = next(step for step in world.shown()["guidedChecklist"]["steps"] if step["stepId"] == "billing")
        unshared = [definition("billing", 40, roles=["owner"]), definition("depot", 45, roles=["owner"])]
        world.publish({"name": "Without scopes", "steps": [definition("profile", 10), *unshared]})
        world.make_member(None, "dispatcher")

        without = statuses(world.initialize(keepProgress="true"))
        world.make_member(None, "dispatcher", "owner")

        assert without == {"profile": "UP_NEXT"}
        after = world.shown()["guidedChecklist"]["steps"]
        assert [step["stepId"] for step in after] == ["profile", "billing", "depot"]
        assert after[1] == before
        assert after[2]["status"] == "SKIPPED"

    def test_keep_progress_keeps_what_was_completed_and_the_catalog_has_no_more(self, world: Onboarding) -> None:
        world.initialize()
        world.complete("profile")
        accepted(world.move("route", "SKIPPED"))
        world.publish({"name": "Next", "steps": [definition("new", 5)]})

        assert statuses(world.initialize(keepProgress="true")) == {"new": "UP_NEXT", "profile": "COMPLETED"}

    def test_keep_progress_keeps_when_the_checklist_was_completed(self, world: Onboarding) -> None:
        world.publish({"name": "Short", "steps": [definition("profile")]})
        world.initialize()
        world.complete("profile")
        before = world.shown()["guidedChecklist"]["completedAt"]

        kept = world.initialize(keepProgress="true")["guidedChecklist"]

        assert kept["completedAt"] == before
        assert "completedAt" not in world.initialize()["guidedChecklist"]

    def test_it_keeps_the_rest_of_the_record(self, world: Onboarding) -> None:
        world.store(attributes={"theme": "dark"})

        made = world.initialize()

        assert made["attributes"] == {"theme": "dark"}
        assert made["createdDate"] == "2026-03-01T09:00:00Z"
        assert "guidedChecklist" not in world.shown(fresh("org"))

    def test_an_enterprise_outside_the_organization_is_refused(self, world: Onboarding) -> None:
        problem = refused(world.call("initialize", enterpriseId="nowhere"), 422, "unknown_enterprise")

        assert problem["errors"][0]["parameter"] == "enterpriseId"

    def test_org_id_is_required(self, world: Onboarding) -> None:
        refused(world.user.post(f"{world.path}/guided-checklist/initialize"), 400, "invalid_parameter")

    def test_without_a_catalog_it_is_refused(self, tmp_path: Path) -> None:
        with start_service(f"sqlite:///{tmp_path / 'milepost.db'}", tmp=tmp_path) as service:
            bare = World(service)

            answer = bare.user.post(f"{bare.path}/guided-checklist/initialize", params={"orgId": bare.org_id})

            refused(answer, 404, "catalog_not_found")


class TestRefresh:
    def test_a_step_whose_condition_is_met_by_now_is_completed_even_if_it_was_skipped(self, world: Onboarding) -> None:
        world.initialize()
        accepted(world.move("pair", "SKIPPED"))
        world.report("paired")
        world.report("paired")

        assert statuses(world.refresh())["pair"] == "COMPLETED"

    def test_a_step_that_was_skipped_stays_skipped_while_its_condition_is_not_met(self, world: Onboarding) -> None:
        world.initialize()
        accepted(world.move("pair", "SKIPPED"))

        assert statuses(world.refresh())["pair"] == "SKIPPED"

    def test_without_a_checklist_it_is_refused(self, world: Onboarding) -> None:
        refused(world.call("refresh"), 404, "checklist_not_found")

    def test_a_caller_without_an_active_role_is_refused(self, world: Onboarding) -> None:
        world.initialize()
        world.make_member(None)

        refused(world.call("refresh"), 403, "forbidden")

    def test_a_role_gained_since_brings_its_steps_and_nothing_done_is_lost(self, world: Onboarding) -> None:
        world.initialize()
        world.complete("profile")
        world.make_member(None, "dispatcher", "owner")

        refreshed = world.refresh()

        assert step_ids(refreshed) == ["profile", "pair", "route", "billing", "depot", "terms"]
        assert statuses(refreshed)["profile"] == "COMPLETED"

    def test_a_catalog_published_since_brings_its_steps_and_texts_only_then(self, world: Onboarding) -> None:
        world.initialize()
        world.complete("profile")
        changed = [definition("profile", 10, title="Changed"), definition("new", 5)]
        world.publish({"name": "Next", "steps": changed})
        before = step_ids(world.shown())

        refreshed = world.refresh()

        assert "new" not in before
        assert step_ids(refreshed) == ["new", "profile"]
        assert refreshed["guidedChecklist"]["steps"][1]["title"] == "Changed"
        assert statuses(refreshed)["profile"] == "COMPLETED"

    def test_a_step_the_catalog_no_longer_has_stays_if_it_was_completed(self, world: Onboarding) -> None:
        world.initialize()
        world.complete("profile")
        world.publish({"name": "Next", "steps": [definition("new", 5)]})

        assert statuses(world.refresh()) == {"new": "UP_NEXT", "profile": "COMPLETED"}


class TestSignals:
    def test_arriving_signals_complete_the_steps_they_satisfy_at_once(self, world: Onboarding) -> None:
        world.initialize()

        first, second = world.report("paired"), world.report("paired")

        assert (first["completedSteps"], second["completedSteps"]) == (0, 1)
        assert world.statuses()["pair"] == "COMPLETED"

    def test_a_signal_that_comes_late_makes_the_step_completed_as_early_as_it_was(self, world: Onboarding) -> None:
        world.initialize()
        world.report("paired", time="2026-03-02T08:00:00Z")
        world.report("paired", time="2026-03-03T08:00:00Z")
        before = world.read().headers["etag"]

        receipt = world.report("paired", time="2026-03-01T08:00:00Z")

        assert receipt["completedSteps"] == 0
        assert world.shown()["guidedChecklist"]["steps"][1]["completedAt"] == "2026-03-01T08:00:00Z"
        assert world.read().headers["etag"] != before

    def test_a_signal_after_which_others_suffice_makes_the_step_completed_as_early_as_they(
        self, world: Onboarding
    ) -> None:
        either = "signals['paired'].count > 1 || signals['waived'].count > 0"
        world.publish({"name": "Short", "steps": [definition("pair", completeWhen=either)]})
        world.initialize()
        world.report("waived", time="2026-03-05T08:00:00Z")
        world.report("paired", time="2026-03-01T08:00:00Z")

        world.report("paired", time="2026-03-07T08:00:00Z")

        assert world.shown()["guidedChecklist"]["steps"][0]["completedAt"] == "2026-03-01T08:00:00Z"

    def test_an_event_reported_twice_counts_once(self, world: Onboarding) -> None:
        world.initialize()
        event = world.event("paired")

        receipts = [world.platform.post(f"{BASE}/signals", json=event).json() for _ in range(2)]

        assert [receipt["duplicates"] for receipt in receipts] == [0, 1]
        assert world.statuses()["pair"] == "UP_NEXT"

    def test_a_signal_for_a_user_nobody_knows_is_kept_and_used_once_they_are(self, world: Onboarding) -> None:
        nobody = world.another("dispatcher")
        nobody.report("paired")
        nobody.report("paired")

        assert statuses(nobody.initialize())["pair"] == "COMPLETED"

    def test_a_signal_without_a_subject_counts_for_every_member(self, world: Onboarding) -> None:
        other = world.another("dispatcher")
        world.initialize()
        other.initialize()

        world.report("paired", subject=None)
        receipt = world.report("paired", subject=None)

        assert receipt["completedSteps"] == 2
        assert world.statuses()["pair"] == other.statuses()["pair"] == "COMPLETED"

    def test_a_signal_of_another_enterprise_does_not_count(self, world: Onboarding) -> None:
        other = fresh("enterprise")
        world.put(f"/organizations/{world.org_id}/enterprises/{other}", {"name": "South"})
        world.initialize()

        for _ in range(2):
            world.report("paired", enterpriseid=other)

        assert world.statuses()["pair"] == "UP_NEXT"

    def test_a_batch_is_taken_whole_or_not_at_all(self, world: Onboarding) -> None:
        world.initialize()
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        good = [world.event("paired"), world.event("paired")]
        bad = [world.event("paired"), world.event("paired", orgid="nowhere")]

        answer = world.platform.post(f"{BASE}/signals", json=bad, headers=headers)
        assert pointers(refused(answer, 422, "unknown_place")) == {"/1"}
        assert world.statuses()["pair"] == "UP_NEXT"

        receipt = accepted(world.platform.post(f"{BASE}/signals", json=good, headers=headers))
        assert receipt == {"accepted": 2, "duplicates": 0, "completedSteps": 1}

    def test_binary_mode_carries_the_event_in_headers(self, world: Onboarding) -> None:
        event = world.event("paired")
        headers = {f"ce-{name}": value for name, value in event.items()} | {"Content-Type": "text/plain"}

        receipt = accepted(world.platform.post(f"{BASE}/signals", content=b"anything", headers=headers))

        assert receipt["accepted"] == 1

    @pytest.mark.parametrize(
        ("time", "pointer"),
        [("0001-01-01T00:00:00+14:00", "/time"), ("9999-12-31T23:59:59-01:00", "/time"), ("0001-01-01T00:00:00Z", "")],
    )
    def test_a_time_outside_the_years_of_utc_is_refused_and_the_first_moment_within_is_kept(
        self, world: Onboarding, time: str, pointer: str
    ) -> None:
        world.initialize()
        world.report("paired", time="2026-03-01T08:00:00Z")

        answer = world.platform.post(f"{BASE}/signals", json=world.event("paired", time=time))

        if pointer:
            assert pointers(refused(answer, 400, "invalid_body")) == {pointer}
        else:
            accepted(answer)
        assert statuses(world.refresh())["pair"] == ("UP_NEXT" if pointer else "COMPLETED")

    def test_an_event_without_an_id_is_refused(self, world: Onboarding) -> None:
        answer = world.platform.post(f"{BASE}/signals", json=world.event("paired", id=None))

        assert pointers(refused(answer, 400, "invalid_body")) == {"/id"}

    def test_more_than_a_thousand_events_are_refused(self, world: Onboarding) -> None:
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        batch = [world.event("paired") for _ in range(1001)]

        refused(world.platform.post(f"{BASE}/signals", json=batch, headers=headers), 400, "invalid_body")

    @pytest.mark.parametrize(("member", "most"), [("id", 500), ("source", 500), ("subject", 800), ("type", 800)])
    def test_an_event_that_no_index_can_hold_is_refused(self, world: Onboarding, member: str, most: int) -> None:
        fits = "\U00020000" * (most // 4)

        accepted(world.platform.post(f"{BASE}/signals", json=world.event("paired", **{member: fits})))
        answer = world.platform.post(f"{BASE}/signals", json=world.event("paired", **{member: fits + "a"}))

        assert pointers(refused(answer, 400, "invalid_body")) == {f"/{member}"}

    def test_an_event_as_long_as_it_may_be_is_kept(self, world: Onboarding) -> None:
        drawn = Random(1)

        def text(size: int) -> str:
            """A text that does not become shorter when the database compresses it."""
            return "".join(chr(drawn.randrange(0x20000, 0x2A000)) for _ in range(size // 4))

        longest = fresh("org")
        longest += text(800 - len(longest))
        world.create_organization(quote(longest))
        event = world.event("paired", orgid=longest, subject=text(800), source=text(500), id=text(500), type=text(800))

        accepted(world.platform.post(f"{BASE}/signals", json=event))

    def test_a_user_cannot_report_signals(self, world: Onboarding) -> None:
        refused(world.user.post(f"{BASE}/signals", json=world.event("paired")), 403, "forbidden")


class TestSteps:
    def test_a_step_goes_from_up_next_through_in_progress_to_completed(self, world: Onboarding) -> None:
        world.initialize()

        world.complete("profile")

        done = world.shown()["guidedChecklist"]["steps"][0]
        assert done["status"] == "COMPLETED"
        assert done["completedAt"].endswith("Z")
        assert len(done["completedBy"]) == 36

    @pytest.mark.parametrize(
        ("path", "last"),
        [
            (["COMPLETED"], "UP_NEXT"),
            (["SKIPPED", "COMPLETED"], "SKIPPED"),
            (["IN_PROGRESS", "UP_NEXT"], "IN_PROGRESS"),
        ],
    )
    def test_any_other_move_is_refused_and_names_both_states(
        self, world: Onboarding, path: list[str], last: str
    ) -> None:
        world.initialize()
        *first, refused_status = path
        for status in first:
            accepted(world.move("profile", status))

        problem = refused(world.move("profile", refused_status), 409, "illegal_transition")

        assert last in problem["detail"]
        assert refused_status in problem["detail"]

    def test_a_completed_step_is_reset_by_an_admin_only(self, world: Onboarding) -> None:
        admin = world.make_admin(fresh("admin"))
        world.initialize()
        world.complete("profile")

        refused(world.move("profile", "UP_NEXT"), 409, "illegal_transition")
        reset = accepted(world.move("profile", "UP_NEXT", admin))

        assert "completedAt" not in reset["guidedChecklist"]["steps"][0]

    def test_a_reset_takes_back_what_was_done_for_all_whatever_the_catalog_has_become(self, world: Onboarding) -> None:
        world.make_member(None, "owner")
        world.initialize()
        world.complete("billing")
        world.publish({"name": "Next", "steps": [definition("billing", 40, roles=["owner"])]})

        accepted(world.move("billing", "UP_NEXT", world.platform))

        assert world.statuses()["billing"] == "UP_NEXT"

    def test_a_step_can_be_skipped_and_taken_up_again(self, world: Onboarding) -> None:
        world.initialize()

        accepted(world.move("profile", "SKIPPED"))

        assert statuses(accepted(world.move("profile", "UP_NEXT")))["profile"] == "UP_NEXT"

    def test_a_step_that_is_not_skippable_cannot_be_skipped(self, world: Onboarding) -> None:
        world.initialize()

        refused(world.move("terms", "SKIPPED"), 422, "not_skippable")

    def test_a_step_whose_prerequisites_are_open_cannot_be_started(self, world: Onboarding) -> None:
        world.initialize()

        problem = refused(world.move("route", "IN_PROGRESS"), 409, "prerequisites_open")
        world.complete("profile")

        assert "profile" in problem["detail"]
        accepted(world.move("route", "IN_PROGRESS"))

    def test_a_step_that_needs_proof_cannot_be_marked_done_by_hand(self, world: Onboarding) -> None:
        world.initialize()
        accepted(world.move("pair", "IN_PROGRESS"))

        problem = refused(world.move("pair", "COMPLETED"), 422, "proof_required")

        assert "paired" in problem["detail"]

    def test_a_step_done_for_the_organization_is_done_for_every_member_who_has_it(self, world: Onboarding) -> None:
        one, other = world.another("owner"), world.another("owner")
        one.initialize()
        other.initialize()
        before = other.read().headers["etag"]

        one.complete("billing")

        assert other.statuses()["billing"] == "COMPLETED"
        assert other.read(**{"If-None-Match": before}).status_code == 200
        assert statuses(world.another("owner").initialize())["billing"] == "COMPLETED"

    def test_the_etag_changes_when_a_step_is_done_for_all_by_somebody_else_than_before(self, world: Onboarding) -> None:
        one, other, reader = (world.another("owner") for _ in range(3))
        for each in (one, other, reader):
            each.initialize()
        one.complete("billing")
        before = reader.read()
        accepted(one.move("billing", "UP_NEXT", world.platform))

        other.complete("billing")

        after = reader.read()
        assert after.json() != before.json()
        assert after.headers["etag"] != before.headers["etag"]

    def test_a_step_done_for_an_enterprise_is_not_done_for_another(self, world: Onboarding) -> None:
        one, other = world.another("owner"), world.another("owner")
        south = fresh("enterprise")
        world.put(f"/organizations/{world.org_id}/enterprises/{south}", {"name": "South"})
        one.initialize()
        other.initialize(enterpriseId=south)

        one.report("depot.opened", enterpriseid=one.enterprise_id)

        assert one.statuses()["depot"] == "COMPLETED"
        assert other.statuses()["depot"] == "UP_NEXT"
        assert statuses(world.another("owner").initialize())["depot"] == "COMPLETED"

    def test_what_was_done_for_an_enterprise_goes_with_it_and_does_not_come_back(self, world: Onboarding) -> None:
        world.publish({"name": "Short", "steps": [definition("sign", scope="enterprise")]})
        enterprise = f"/organizations/{world.org_id}/enterprises/{world.enterprise_id}"
        world.initialize()
        world.complete("sign")

        world.platform.delete(BASE + enterprise)
        world.put(enterprise, {"name": "North again"})

        assert statuses(world.another("dispatcher").initialize()) == {"sign": "UP_NEXT"}

    def test_nothing_is_done_for_all_of_an_enterprise_that_is_gone(self, world: Onboarding) -> None:
        world.publish({"name": "Short", "steps": [definition("sign", scope="enterprise")]})
        enterprise = f"/organizations/{world.org_id}/enterprises/{world.enterprise_id}"
        world.initialize()
        world.platform.delete(BASE + enterprise)

        world.complete("sign")
        world.put(enterprise, {"name": "North again"})

        assert world.statuses() == {"sign": "COMPLETED"}
        assert statuses(world.another("dispatcher").initialize()) == {"sign": "UP_NEXT"}

    def test_a_step_that_is_hidden_cannot_be_moved(self, world: Onboarding) -> None:
        world.initialize()
        world.make_member(None)

        refused(world.move("route", "SKIPPED"), 404, "step_not_found")

    def test_if_match_refuses_a_lost_update(self, world: Onboarding) -> None:
        world.initialize()
        stale = world.read().headers["etag"]
        world.complete("profile")

        refused(world.move("terms", "IN_PROGRESS", headers={"If-Match": stale}), 412, "precondition_failed")

    def test_moving_a_step_to_where_it_is_changes_nothing(self, world: Onboarding) -> None:
        world.initialize()
        world.complete("profile")
        before = world.read().headers["etag"]

        accepted(world.move("profile", "COMPLETED"))

        assert world.read().headers["etag"] == before


class TestResetForAll:
    """One of two owners has done the organization's step, and both have it in their records."""

    @pytest.fixture
    def pair(self, world: Onboarding) -> tuple[Onboarding, Onboarding]:
        one, other = world.another("owner"), world.another("owner")
        one.initialize()
        other.initialize()
        one.complete("billing")
        other.refresh()
        return one, other

    @pytest.mark.parametrize("whose", [0, 1])
    def test_it_takes_the_step_back_for_everyone_whoevers_step_is_reset(
        self, pair: tuple[Onboarding, Onboarding], whose: int
    ) -> None:
        before = [each.read() for each in pair]

        accepted(pair[whose].move("billing", "UP_NEXT", pair[0].platform))

        for each, read in zip(pair, before, strict=True):
            step = billing(each.shown())
            assert step["status"] == "UP_NEXT"
            assert not {"completedAt", "completedBy"} & step.keys()
            assert evidence(each, "billing") == {}
            changed = each.read(**{"If-None-Match": read.headers["etag"]})
            assert changed.status_code == 200
            assert each.read(**{"If-None-Match": changed.headers["etag"]}).status_code == 304

    def test_a_write_keeps_that_it_was_taken_back(self, pair: tuple[Onboarding, Onboarding]) -> None:
        one, other = pair
        accepted(one.move("billing", "UP_NEXT", one.platform))
        other.refresh()
        stored = other.read()

        one.refresh()

        assert billing(other.shown())["status"] == billing(one.shown())["status"] == "UP_NEXT"
        assert other.read(**{"If-None-Match": stored.headers["etag"]}).status_code == 304

    def test_a_patch_of_anything_else_keeps_it_too(self, pair: tuple[Onboarding, Onboarding]) -> None:
        one, other = pair
        accepted(one.move("billing", "UP_NEXT", one.platform))

        patch = other.user.patch(other.path, params={"orgId": other.org_id}, json={"attributes": {"theme": "dark"}})

        assert billing(accepted(patch))["status"] == "UP_NEXT"
        assert other.statuses()["billing"] == "UP_NEXT"

    def test_who_did_not_do_it_before_can_do_it_now_for_all(self, pair: tuple[Onboarding, Onboarding]) -> None:
        one, other = pair
        accepted(one.move("billing", "UP_NEXT", one.platform))

        other.complete("billing")

        assert billing(one.shown()) == billing(other.shown())
        assert billing(one.shown())["completedBy"] == evidence(other, "billing")["by"]

    def test_the_first_may_do_it_again_and_the_others_see_the_new_time(
        self, pair: tuple[Onboarding, Onboarding]
    ) -> None:
        one, other = pair
        before = other.read()
        accepted(one.move("billing", "UP_NEXT", one.platform))

        one.complete("billing")

        after = other.read()
        assert billing(after.json()) == billing(one.shown())
        assert billing(after.json())["completedAt"] > billing(before.json())["completedAt"]
        assert after.headers["etag"] != before.headers["etag"]

    def test_who_joins_later_has_the_step_open(self, pair: tuple[Onboarding, Onboarding]) -> None:
        one, _ = pair
        accepted(one.move("billing", "UP_NEXT", one.platform))

        assert statuses(one.another("owner").initialize())["billing"] == "UP_NEXT"

    def test_it_is_taken_back_for_who_has_not_stored_it_yet(self, world: Onboarding) -> None:
        one, reader = world.another("owner"), world.another("owner")
        one.initialize()
        reader.initialize()
        open_before = reader.read()
        one.complete("billing")

        accepted(one.move("billing", "UP_NEXT", one.platform))

        assert reader.read().json() == open_before.json()
        assert reader.statuses()["billing"] == "UP_NEXT"

    @pytest.mark.parametrize("keep", ["true", "false"])
    def test_a_checklist_made_anew_has_the_step_open(self, pair: tuple[Onboarding, Onboarding], keep: str) -> None:
        one, other = pair
        accepted(one.move("billing", "UP_NEXT", one.platform))

        assert statuses(other.initialize(keepProgress=keep))["billing"] == "UP_NEXT"

    def test_a_checklist_that_was_complete_is_so_again_since_the_step_was_done_again(
        self, pair: tuple[Onboarding, Onboarding]
    ) -> None:
        one, other = pair
        one.publish({"name": "Short", "steps": [definition("billing", roles=["owner"], scope="organization")]})
        complete = other.refresh()["guidedChecklist"]["completedAt"]
        accepted(one.move("billing", "UP_NEXT", one.platform))
        in_between = other.shown()["guidedChecklist"]

        one.complete("billing")

        assert "completedAt" not in in_between
        assert other.shown()["guidedChecklist"]["completedAt"] == billing(one.shown())["completedAt"] > complete

    def test_a_step_taken_back_in_one_enterprise_stays_done_in_another(self, world: Onboarding) -> None:
        one, other = world.another("owner"), world.another("owner")
        south = fresh("enterprise")
        world.put(f"/organizations/{world.org_id}/enterprises/{south}", {"name": "South"})
        one.initialize()
        other.initialize(enterpriseId=south)
        one.report("depot.opened", enterpriseid=one.enterprise_id)
        other.report("depot.opened", enterpriseid=south)

        accepted(one.move("depot", "UP_NEXT", one.platform))

        assert one.statuses()["depot"] == "UP_NEXT"
        assert other.statuses()["depot"] == "COMPLETED"

    def test_a_step_is_taken_back_where_it_was_done_though_the_checklist_is_for_another_enterprise_by_now(
        self, world: Onboarding
    ) -> None:
        one, other = world.another("owner"), world.another("owner")
        south = fresh("enterprise")
        world.put(f"/organizations/{world.org_id}/enterprises/{south}", {"name": "South"})
        one.initialize()
        one.report("depot.opened", enterpriseid=one.enterprise_id)
        other.initialize()
        one.initialize(enterpriseId=south, keepProgress="true")

        accepted(one.move("depot", "UP_NEXT", one.platform))

        assert other.statuses()["depot"] == "UP_NEXT"

    def test_what_was_done_in_an_enterprise_that_is_gone_stays_done_for_who_has_stored_it(
        self, world: Onboarding
    ) -> None:
        world.make_member(None, "owner")
        world.initialize()
        world.report("depot.opened", enterpriseid=world.enterprise_id)
        other = world.another("owner")
        other.initialize()

        world.platform.delete(f"{BASE}/organizations/{world.org_id}/enterprises/{world.enterprise_id}")

        assert world.statuses()["depot"] == other.statuses()["depot"] == "COMPLETED"


class TestWhoWasFirst:
    """Two members, and a step that is done for the organization by the signals of either."""

    @pytest.mark.parametrize("late", [True, False], ids=["the earlier one is reported late", "in their order"])
    @pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
    def test_the_order_in_which_signals_of_several_members_arrive_does_not_matter(
        self, world: Onboarding, *, late: bool, together: bool
    ) -> None:
        step = definition("fence", scope="organization", completeWhen="signals['fenced'].count > 0")
        world.publish({"name": "Short", "steps": [definition("profile", 5), step]})
        # The users of a batch are worked through in the order of their ids.
        later, earlier = sorted((world.another("dispatcher") for _ in range(2)), key=lambda one: one.user_id)
        both = [
            later.event("fenced", time="2026-03-02T08:00:00Z"),
            earlier.event("fenced", time="2026-03-01T08:00:00Z"),
        ]
        for each in (later, earlier):
            each.initialize()
        earlier.complete("profile")
        by = earlier.shown()["guidedChecklist"]["steps"][0]["completedBy"]

        for batch in [both] if together else [[event] for event in (both if late else reversed(both))]:
            headers = {"Content-Type": "application/cloudevents-batch+json"}
            accepted(world.platform.post(f"{BASE}/signals", json=batch, headers=headers))

        for each in (later, earlier, world.another("dispatcher")):
            if each not in (later, earlier):
                each.initialize()
            shown = each.shown()["guidedChecklist"]["steps"][1]
            assert (shown["completedAt"], shown["completedBy"]) == ("2026-03-01T08:00:00Z", by)
        assert evidence(later, "fence") == evidence(earlier, "fence")

    def test_a_signal_after_which_earlier_ones_suffice_gives_the_step_their_time(self, world: Onboarding) -> None:
        step = definition("fence", scope="organization", completeWhen="signals['fenced'].count > 1")
        world.publish({"name": "Short", "steps": [step]})
        first, second = (world.another("dispatcher") for _ in range(2))
        for each in (first, second):
            each.initialize()
        first.report("fenced", time="2026-03-01T08:00:00Z")
        for day in (2, 3):
            second.report("fenced", time=f"2026-03-0{day}T08:00:00Z")

        first.report("fenced", time="2026-03-04T08:00:00Z")

        for each in (first, second):
            assert each.shown()["guidedChecklist"]["steps"][0]["completedAt"] == "2026-03-01T08:00:00Z"


def billing(body: Json) -> Json:
    return next(step for step in body["guidedChecklist"]["steps"] if step["stepId"] == "billing")


def evidence(world: Onboarding, step_id: str) -> Json:
    """By what explain says that the step was completed: {} where it says nothing."""
    told = accepted(world.user.get(f"{world.path}/guided-checklist/explain", params={"orgId": world.org_id}))
    (why,) = (step.get("evidence", {}) for step in told["steps"] if step["stepId"] == step_id)
    return dict(why)


class TestCompletion:
    def test_completed_at_is_set_with_the_last_visible_step_and_cleared_when_a_new_one_appears(
        self, world: Onboarding
    ) -> None:
        world.publish({"name": "Short", "steps": [definition("a"), definition("b", 20, roles=["owner"])]})
        world.initialize()
        open_before = world.shown()["guidedChecklist"]

        world.complete("a")
        done = world.shown()["guidedChecklist"]
        world.make_member(None, "owner")
        world.refresh()

        assert "completedAt" not in open_before
        assert done["completedAt"]
        assert "completedAt" not in world.shown()["guidedChecklist"]

    def test_completed_at_counts_what_the_roles_held_now_show(self, world: Onboarding) -> None:
        world.publish({"name": "Short", "steps": [definition("a"), definition("b", 20, roles=["owner"])]})
        world.make_member(None, "owner")
        world.initialize()
        world.complete("a")
        with_role = world.shown()["guidedChecklist"]

        world.make_member(None)

        assert "completedAt" not in with_role
        assert world.shown()["guidedChecklist"]["completedAt"] == with_role["steps"][0]["completedAt"]


class TestDismiss:
    def test_a_checklist_is_dismissed_and_restored(self, world: Onboarding) -> None:
        world.initialize()

        dismissed = accepted(world.call("dismiss"))
        again = accepted(world.call("dismiss"))
        restored = accepted(world.call("restore"))

        assert dismissed["guidedChecklist"]["dismissedAt"] == again["guidedChecklist"]["dismissedAt"]
        assert "dismissedAt" not in restored["guidedChecklist"]

    @pytest.mark.parametrize("path", ["dismiss", "restore"])
    def test_without_a_checklist_it_is_refused(self, world: Onboarding, path: str) -> None:
        refused(world.call(path), 404, "checklist_not_found")


class TestExplain:
    def test_it_says_of_every_step_why_it_is_there_or_not(self, world: Onboarding) -> None:
        world.make_member(None, "owner")
        world.initialize()
        world.make_member(None)
        world.report("paired", time="2026-03-01T08:00:00Z")
        world.report("paired", time="2026-03-02T08:00:00Z")

        answer = world.user.get(f"{world.path}/guided-checklist/explain", params={"orgId": world.org_id})

        told = {step["stepId"]: step for step in accepted(answer)["steps"]}
        assert list(told) == [step["stepId"] for step in CATALOG["steps"]]  # type: ignore[index]
        outcomes = {step_id: step["outcome"] for step_id, step in told.items()}
        assert outcomes == {
            "profile": "shown", "pair": "hidden", "route": "not_generated", "billing": "hidden", "depot": "hidden",
            "welcome-back": "not_generated", "maps": "not_generated", "terms": "shown",
        }  # fmt: skip
        assert told["billing"]["roles"] == ["owner"]
        assert "track B" in told["welcome-back"]["reasons"][0]
        assert "maps" in told["maps"]["reasons"][0]
        assert told["pair"]["signals"] == {"paired": 2}
        assert told["pair"]["evidence"]["signals"] == ["paired"]

    def test_it_says_who_may_complete_a_step_and_whether_it_may_be_skipped(self, world: Onboarding) -> None:
        proven: dict[str, Any] = {"completeWhen": "signals['paired'].count > 0"}
        either = proven | {"completion": "either", "skippable": False}
        world.publish(
            {"name": "Short", "steps": [definition("a"), definition("b", **proven), definition("c", **either)]}
        )
        world.make_member(None, "owner")
        world.initialize()

        answer = world.user.get(f"{world.path}/guided-checklist/explain", params={"orgId": world.org_id})

        told = [(step["completion"], step["skippable"]) for step in accepted(answer)["steps"]]
        assert told == [("manual", True), ("signal", True), ("either", False)]


class TestCatalogs:
    def test_versions_are_numbered_and_one_is_current(self, world: Onboarding) -> None:
        path = f"{BASE}/organizations/{world.org_id}/catalog"

        again = world.publish(CATALOG)
        second = world.publish({"name": "Second", "steps": []})
        back = world.platform.put(f"{path}/current", json={"version": 1})

        assert (again.status_code, second.status_code) == (200, 201)
        assert second.json()["version"] == 2
        assert accepted(back)["catalog"]["name"] == "Onboarding"
        versions = accepted(world.platform.get(f"{path}/versions"))["items"]
        assert [(entry["version"], entry["current"]) for entry in versions] == [(2, False), (1, True)]
        assert accepted(world.platform.get(path, params={"version": 2}))["catalog"]["name"] == "Second"

    def test_publishing_never_rewrites_a_checklist_silently(self, world: Onboarding) -> None:
        world.initialize()
        before = world.read()

        world.publish({"name": "Second", "steps": []})

        assert world.read().json() == before.json()

    def test_an_organizations_admin_publishes_its_own_and_not_the_platforms(self, world: Onboarding) -> None:
        admin = world.make_admin(fresh("admin"))
        catalog = {"name": "Ours", "steps": []}

        assert admin.put(f"{BASE}/organizations/{world.org_id}/catalog", json=catalog).status_code == 201
        refused(admin.put(f"{BASE}/catalog", json=catalog), 403, "forbidden")
        refused(world.user.put(f"{BASE}/organizations/{world.org_id}/catalog", json=catalog), 403, "forbidden")

    def test_a_version_that_is_not_there_is_refused(self, world: Onboarding) -> None:
        path = f"{BASE}/organizations/{world.org_id}/catalog"

        refused(world.platform.get(path, params={"version": 9}), 404, "catalog_not_found")
        refused(world.platform.put(f"{path}/current", json={"version": 9}), 404, "catalog_not_found")


class TestRoleChanges:
    def test_a_role_gained_through_the_api_brings_its_steps_at_once(self, world: Onboarding) -> None:
        world.initialize()
        world.complete("profile")

        world.make_member(None, "dispatcher", "owner")

        shown = world.shown()
        assert step_ids(shown) == ["profile", "pair", "route", "billing", "depot", "terms"]
        assert statuses(shown)["profile"] == "COMPLETED"

    def test_what_was_reported_before_completes_a_step_that_a_role_brings(self, world: Onboarding) -> None:
        world.initialize()
        world.report("depot.opened", enterpriseid=world.enterprise_id)

        world.make_member(None, "dispatcher", "owner")

        assert world.statuses()["depot"] == "COMPLETED"

    def test_a_role_given_back_shows_its_steps_with_their_progress(self, world: Onboarding) -> None:
        world.initialize()
        accepted(world.move("route", "SKIPPED"))

        world.make_member(None)
        without = world.statuses()
        world.make_member(None, "dispatcher")

        assert "route" not in without
        assert world.statuses()["route"] == "SKIPPED"

    def test_a_role_taken_away_stores_nothing(self, world: Onboarding) -> None:
        world.initialize()
        before = world.shown()["modifiedDate"]

        world.make_member(None)

        assert world.shown()["modifiedDate"] == before

    def test_a_checklist_written_by_the_application_stays_as_it_is(self, world: Onboarding) -> None:
        world.store(org_id=world.org_id, guidedChecklist={"track": "A", "computedAt": "2026-03-01T10:00:00Z"})

        world.make_member(None, "dispatcher", "owner")

        assert "steps" not in world.shown()["guidedChecklist"]
