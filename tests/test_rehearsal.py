"""The rehearsal of a catalog: who would gain, lose and complete which steps, before anything changes."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.catalogs.service import compiled
from milepost.domain.catalog import Catalog, Scope, StepDefinition
from milepost.domain.checklists import Knowledge, Published, counts_for_all_of, initialized, refreshed, steps_of
from milepost.domain.conditions import Facts, SignalCount
from milepost.domain.contract import GuidedChecklist, Status, Track, UserProperties
from milepost.domain.progress import Evidence, Progress, Sharing, done_for_all
from milepost.domain.records import Record, visible_steps, with_shared
from milepost.domain.rehearsals import SAMPLES, Rehearsal, Subject, Tally
from tests.arrange import BASE, Json, World, fresh, pointers, refused
from tests.calls import everything
from tests.command import Command, ready
from tests.conftest import Service, start_service
from tests.test_checklists import CATALOG, Onboarding, accepted, definition
from tests.test_cli_catalog import initialize

NOW = datetime(2026, 3, 1, tzinfo=UTC)


# The rehearsal as the pure function it is.


def step(step_id: str, order: int = 10, when: str | None = None, **members: Any) -> StepDefinition:
    if when is not None:
        members["complete_when"] = when
    return StepDefinition(
        step_id=step_id,
        title=f"Title of {step_id}",
        description="",
        cta_label="Go",
        cta_route="/",
        sort_order=order,
        **members,
    )


def published(*steps: StepDefinition, version: int = 1) -> Published:
    return compiled("acme", version, Catalog(name="Onboarding", steps=list(steps)))


def known(
    catalog: Published, *roles: str, signals: Sequence[str] = (), attributes: Mapping[str, Any] | None = None
) -> Knowledge:
    facts = Facts({name: SignalCount(1, NOW, NOW) for name in signals}, attributes or {}, roles)
    return Knowledge(published=catalog, track=Track.A, roles=roles, interests=(), facts=facts, now=NOW)


def subject(user_id: str, what: Knowledge, **statuses: Status) -> Subject:
    """Somebody whose checklist was made of the catalog and then moved by hand."""
    outcome = initialized(what)
    steps = [
        msgspec.structs.replace(one, status=statuses.get(one.step_id, one.status))
        for one in steps_of(outcome.checklist)
    ]
    checklist = msgspec.structs.replace(outcome.checklist, steps=steps)
    return Subject(user_id, "acme", checklist, outcome.progress, what)


def rehearsed(present: Published | None, proposed: Published, *subjects: Subject) -> Rehearsal:
    tally = Tally(present, proposed)
    if tally.learns_first:
        tally.learn(subjects)
    tally.count(subjects)
    return tally.rehearsal(complete=True)


Told = dict[str, dict[str, list[str]]]


def told(rehearsal: Rehearsal) -> Told:
    """By step and by what would happen, to whom."""
    found: Told = {}
    for one in rehearsal.steps:
        groups = {"gained": one.gained, "lost": one.lost, "completed": one.completed, "failed": one.failed}
        found[one.step_id] = {
            name: [sample.user_id for sample in users.samples] for name, users in groups.items() if users.count
        }
    return found


PAIRED = "signals['paired'].count > 0"
PRO = "attributes.plan == 'pro'"
FIRST = published(step("profile"), step("pair", 20, PAIRED), step("bill", 30, roles=["owner"]))


class TestTally:
    @pytest.mark.parametrize(
        ("proposed", "expected"),
        [
            pytest.param([step("profile"), step("pair", 20, PAIRED)], {}, id="the same for this user"),
            pytest.param(
                [step("profile"), step("pair", 20, PAIRED), step("new")], {"new": {"gained": ["ada"]}}, id="a new step"
            ),
            pytest.param([step("profile"), step("pair", 20)], {}, id="a condition that was not met goes"),
            pytest.param([step("profile")], {"pair": {"lost": ["ada"]}}, id="an open step goes"),
            pytest.param([step("pair", 20, PAIRED)], {}, id="a completed step goes"),
            pytest.param(
                [step("profile"), step("pair", 20, "signals['opened'].count > 0")],
                {"pair": {"completed": ["ada"]}},
                id="a condition that is met already",
            ),
            pytest.param(
                [step("profile"), step("pair", 20, PAIRED), step("new", 5, "'clerk' in roles")],
                {"new": {"gained": ["ada"], "completed": ["ada"]}},
                id="a new step that is done already",
            ),
            pytest.param(
                [step("profile"), step("pair", 20, PAIRED), step("new", roles=["owner"])], {}, id="another role's step"
            ),
            pytest.param(
                [step("profile"), step("pair", 20, PAIRED), step("new", interests=["maps"])],
                {},
                id="another interest's step",
            ),
            pytest.param(
                [step("profile"), step("pair", 20, PAIRED), step("new", tracks=[Track.B])],
                {},
                id="another track's step",
            ),
            pytest.param([step("profile"), step("pair", 20, PRO)], {"pair": {"failed": ["ada"]}}, id="it fails"),
            pytest.param([step("profile", when=PRO), step("pair", 20, PAIRED)], {}, id="nobody asks of a done step"),
        ],
    )
    def test_what_would_change_for_one_user(self, proposed: list[StepDefinition], expected: Told) -> None:
        ada = subject("ada", known(FIRST, "clerk", signals=["opened"]), profile=Status.COMPLETED)

        assert told(rehearsed(FIRST, published(*proposed), ada)) == expected

    def test_the_same_catalog_again_changes_nothing(self) -> None:
        failing = published(step("profile", when=PRO), step("pair", 20, PAIRED))
        ada = subject("ada", known(failing, signals=["paired"]))

        found = rehearsed(failing, failing, ada)

        assert (found.users, found.affected, found.steps) == (1, 0, [])

    def test_what_a_refresh_would_change_anyway_is_no_difference(self) -> None:
        before = known(FIRST)
        ada = msgspec.structs.replace(subject("ada", before), known=known(FIRST, "owner", signals=["paired"]))

        found = rehearsed(FIRST, published(*FIRST.catalog.steps, step("new", 40)), ada)

        assert told(found) == {"new": {"gained": ["ada"]}}

    def test_a_step_that_would_be_hidden_is_lost(self) -> None:
        shown = published(step("bill", roles=["clerk", "owner"]))
        ada = subject("ada", known(shown, "clerk", "owner"), bill=Status.COMPLETED)
        now_clerk = msgspec.structs.replace(ada, known=known(shown, "clerk"))

        assert told(rehearsed(shown, published(step("bill", roles=["owner"])), now_clerk)) == {
            "bill": {"lost": ["ada"]}
        }

    def test_a_failing_condition_tells_its_reason_and_one_that_fails_already_does_not(self) -> None:
        failing = published(step("a", when=PRO), step("b"))
        ada = subject("ada", known(failing))

        (found,) = rehearsed(failing, published(step("a", when=PRO), step("b", when=PRO)), ada).steps

        assert (found.step_id, found.failed.count) == ("b", 1)
        assert "no member plan" in str(found.failed.reason)

    def test_steps_stand_in_the_order_of_the_catalog_and_those_that_go_come_last(self) -> None:
        before = published(step("old", 1), step("older", 2))
        after = published(step("z", 90), step("a", 10))
        ada = subject("ada", known(before))

        found = rehearsed(before, after, ada)

        assert [one.step_id for one in found.steps] == ["z", "a", "old", "older"]
        assert found.steps[2].title == "Title of old"

    def test_many_are_counted_and_a_few_are_named(self) -> None:
        crowd = [subject(f"user-{n}", known(FIRST)) for n in range(SAMPLES + 2)]

        found = rehearsed(FIRST, published(*FIRST.catalog.steps, step("new")), *crowd)

        assert (found.users, found.affected, found.steps[0].gained.count) == (7, 7, 7)
        assert [sample.user_id for sample in found.steps[0].gained.samples] == [f"user-{n}" for n in range(SAMPLES)]

    def test_what_one_users_signals_prove_for_all_is_completed_for_all_of_the_same_place(self) -> None:
        depot = step("depot", scope=Scope.ENTERPRISE)
        before, after = published(depot), published(msgspec.structs.replace(depot, complete_when=PAIRED))
        places = {"ada": "north", "bob": "north", "cleo": "south"}
        crowd = [
            subject(
                user_id,
                msgspec.structs.replace(
                    known(before, signals=["paired"] if user_id == "bob" else []), enterprise_id=enterprise_id
                ),
            )
            for user_id, enterprise_id in places.items()
        ]

        assert told(rehearsed(before, after, *crowd)) == {"depot": {"completed": ["ada", "bob"]}}

    def test_what_would_be_done_for_all_anyway_is_no_difference(self) -> None:
        before = published(step("depot", when=PAIRED, scope=Scope.ORGANIZATION))
        ada, bob = subject("ada", known(before)), subject("bob", known(before, "owner"))
        ada = msgspec.structs.replace(ada, known=known(before, signals=["paired"]))

        found = rehearsed(before, published(step("depot", when="'owner' in roles")), ada, bob)

        assert told(found) == {}

    def test_without_a_catalog_the_checklists_are_compared_as_they_stand(self) -> None:
        ada = subject("ada", known(FIRST), profile=Status.COMPLETED)

        found = rehearsed(None, published(step("new")), ada)

        assert found.present is msgspec.UNSET
        assert told(found) == {"new": {"gained": ["ada"]}, "pair": {"lost": ["ada"]}}


# What a rehearsal foretells is what happens.

NAMES = ("a", "b", "c", "d")
CONDITIONS = (None, PAIRED, "signals['opened'].count > 0", PRO, "'owner' in roles", "'maps' in interests")


def some(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True)


definitions = st.builds(
    lambda step_id, order, when, roles, interests, tracks, scope: step(
        step_id, order, when, roles=roles, interests=interests, tracks=tracks, scope=scope
    ),
    st.sampled_from(NAMES),
    st.integers(0, 3),
    st.sampled_from(CONDITIONS),
    some(["owner", "clerk"]),
    some(["maps"]),
    st.sampled_from([[Track.A], [Track.B], [Track.A, Track.B]]),
    st.sampled_from(Scope),
)
catalogs = st.lists(definitions, unique_by=lambda each: each.step_id).map(lambda steps: published(*steps))


class Member(msgspec.Struct):
    """A user of the story: what is stored of them, and what is known."""

    user_id: str
    record: Record
    facts: Facts
    enterprise_id: str

    def read(self, done: Sharing) -> Record:
        """The record, with what others did for all laid over it."""
        return with_shared(self.record, done)

    def knows(self, catalog: Published, done: Sharing) -> Knowledge:
        return Knowledge(
            published=catalog,
            track=checklist_of(self.record).track,
            roles=self.facts.roles,
            interests=self.facts.interests,
            facts=self.facts,
            now=NOW,
            enterprise_id=self.enterprise_id,
            shared=done_for_all(done, self.enterprise_id),
        )


def checklist_of(record: Record) -> GuidedChecklist:
    assert record.properties.guided_checklist is not msgspec.UNSET
    return record.properties.guided_checklist


def record_of(checklist: GuidedChecklist, progress: Progress) -> Record:
    properties = UserProperties(user_id="x", created_date=NOW, modified_date=NOW, guided_checklist=checklist)
    return Record(properties, 1, progress)


@st.composite
def members(draw: st.DrawFn, first: Published, number: int) -> Member:
    roles, interests = draw(some(["owner", "clerk"])), draw(some(["maps"]))
    signals = {name: SignalCount(1, NOW, NOW) for name in draw(some(["paired", "opened"]))}
    facts = Facts(signals, draw(st.sampled_from([{}, {"plan": "pro"}, {"plan": "basic"}])), roles, interests)
    enterprise_id = draw(st.sampled_from(["", "north", "south"]))
    made = Knowledge(
        published=first,
        track=draw(st.sampled_from(Track)),
        roles=draw(some(["owner", "clerk"])),
        interests=interests,
        facts=Facts(),
        now=NOW,
        enterprise_id=enterprise_id,
    )
    outcome = initialized(made)
    steps = [msgspec.structs.replace(one, status=draw(st.sampled_from(Status))) for one in steps_of(outcome.checklist)]
    checklist = msgspec.structs.replace(outcome.checklist, steps=steps)
    return Member(f"user-{number}", record_of(checklist, outcome.progress), facts, enterprise_id)


def seen_after_all_refresh(crowd: Sequence[Member], catalog: Published, done: Sharing) -> dict[str, dict[str, Status]]:
    """What each sees once the catalog is published and everyone has refreshed, one after the other."""
    by_id = {each.step_id: each for each in catalog.catalog.steps}
    shared = {place: dict(steps) for place, steps in done.items()}
    stored: dict[str, Member] = {}
    for member in crowd:
        record = member.read(shared)
        outcome = refreshed(checklist_of(record), record.progress, member.knows(catalog, shared))
        for step_id, why in outcome.proofs.items():
            place = counts_for_all_of(by_id.get(step_id), member.enterprise_id, why)
            if place is not None:
                shared.setdefault(place, {})[step_id] = msgspec.structs.replace(why, shared=True, enterprise_id=place)
        stored[member.user_id] = msgspec.structs.replace(member, record=record_of(outcome.checklist, outcome.progress))
    return {
        user_id: {
            each.step_id: each.status
            for each in visible_steps(steps_of(checklist_of(member.read(shared))), member.facts.roles)
        }
        for user_id, member in stored.items()
    }


@given(st.data(), catalogs, catalogs, catalogs, some(NAMES), st.sampled_from(["", "north", "south"]))
def test_what_is_rehearsed_is_what_then_happens(
    data: st.DataObject,
    first: Published,
    present: Published,
    proposed: Published,
    done_before: list[str],
    place: str,
) -> None:
    crowd = [data.draw(members(first, number)) for number in range(data.draw(st.integers(1, 3)))]
    done = {
        place: {
            step_id: data.draw(st.sampled_from([Evidence("person", NOW, shared=True, enterprise_id=place), None]))
            for step_id in done_before
        }
    }
    subjects = [
        Subject(
            member.user_id,
            "acme",
            checklist_of(member.read(done)),
            member.read(done).progress or Progress("", 0),
            member.knows(proposed, done),
        )
        for member in crowd
    ]

    found = rehearsed(present, proposed, *subjects)

    expected: Told = {}
    otherwise, then = (seen_after_all_refresh(crowd, catalog, done) for catalog in (present, proposed))
    for user_id, after in then.items():
        before = otherwise[user_id]
        for step_id in before.keys() | after.keys():
            happens = {
                "gained": step_id not in before,
                "lost": step_id not in after,
                "completed": after.get(step_id) is Status.COMPLETED and before.get(step_id) is not Status.COMPLETED,
            }
            for name in (name for name, does in happens.items() if does):
                expected.setdefault(step_id, {}).setdefault(name, []).append(user_id)
    foretold = {
        step_id: {name: users for name, users in groups.items() if name != "failed"}
        for step_id, groups in told(found).items()
    }
    assert {step_id: groups for step_id, groups in foretold.items() if groups} == expected
    assert found.affected == len({user for groups in expected.values() for users in groups.values() for user in users})


# Over HTTP, on both databases.


@pytest.fixture
def world(service: Service) -> Onboarding:
    return Onboarding(service)


def with_steps(*steps: Json, without: Sequence[str] = ()) -> Json:
    """The catalog of the tests, with more steps and without some; a step of the same id takes the other's place."""
    gone = {*without, *(each["stepId"] for each in steps)}
    kept: list[Json] = CATALOG["steps"]  # type: ignore[assignment]
    return {"name": "Proposed", "steps": [*(each for each in kept if each["stepId"] not in gone), *steps]}


def rehearse(world: World, catalog: Json, client: httpx.Client | None = None, **parameters: str) -> Json:
    answer = (client or world.platform).post(
        f"{BASE}/organizations/{world.org_id}/catalog/rehearse", json=catalog, params=parameters
    )
    return accepted(answer)


def named(rehearsal: Json) -> Told:
    """By step and by what would happen, to whom."""
    kinds = ("gained", "lost", "completed", "failed")
    return {
        each["stepId"]: {
            kind: [sample["userId"] for sample in each[kind]["samples"]] for kind in kinds if each[kind]["count"]
        }
        for each in rehearsal["steps"]
    }


class TestOverHTTP:
    def test_a_new_step_is_gained_by_those_whose_roles_and_interests_it_is_for(self, world: Onboarding) -> None:
        owner, traveller = world.another("owner"), world.another()
        for one in (world, owner):
            one.initialize()
        traveller.user.post(
            f"{traveller.path}/guided-checklist/initialize",
            params={"orgId": world.org_id},
            json={"guidedChecklist": {"productInterests": ["boats"]}},
        )
        steps = (definition("report", 5, roles=["owner"]), definition("harbour", 6, interests=["boats"]))

        found = rehearse(world, with_steps(*steps))

        assert named(found) == {"report": {"gained": [owner.user_id]}, "harbour": {"gained": [traveller.user_id]}}
        assert (found["users"], found["affected"], found["complete"]) == (3, 2, True)
        assert found["present"] == {"orgId": world.org_id, "version": 1}
        assert found["steps"][0]["title"] == "Title of report"
        assert found["steps"][0]["gained"]["samples"] == [{"orgId": world.org_id, "userId": owner.user_id}]
        assert found["steps"][0]["lost"] == {"count": 0, "samples": []}

    def test_a_step_that_goes_is_lost_where_it_is_open_and_kept_where_it_is_completed(self, world: Onboarding) -> None:
        other = world.another("dispatcher")
        world.initialize()
        other.initialize()
        other.complete("profile")

        found = rehearse(world, with_steps(definition("route", 30), without=["profile"]))

        assert named(found) == {"profile": {"lost": [world.user_id]}}

    def test_a_condition_that_signals_have_met_already_completes_its_step(self, world: Onboarding) -> None:
        other = world.another("dispatcher")
        world.initialize()
        other.initialize()
        world.report("paired")

        found = rehearse(world, with_steps(definition("pair", 20, completeWhen="signals['paired'].count > 0")))

        assert named(found)["pair"] == {"completed": [world.user_id]}

    def test_what_was_done_for_all_stays_and_what_signals_prove_for_all_is_done_for_all(
        self, world: Onboarding
    ) -> None:
        one, other = world.another("owner"), world.another("owner")
        one.initialize()
        other.initialize()
        one.complete("billing")
        one.report("bank.connected")
        bank = definition("bank", 80, roles=["owner"], scope="organization")
        bank["completeWhen"] = "signals['bank.connected'].count > 0"

        found = rehearse(world, with_steps(bank, without=["billing"]))

        both = sorted([one.user_id, other.user_id])
        assert named(found) == {"bank": {"gained": both, "completed": both}}

    def test_a_condition_that_would_fail_is_told_with_its_reason(self, world: Onboarding) -> None:
        world.initialize()

        found = rehearse(world, with_steps(definition("terms", 70, completeWhen="attributes.plan == 'pro'")))

        (failing,) = found["steps"]
        assert (failing["stepId"], failing["failed"]["count"], found["affected"]) == ("terms", 1, 0)
        assert "has(attributes.plan)" in failing["failed"]["reason"]

    def test_publishing_the_same_catalog_again_would_change_nothing(self, world: Onboarding) -> None:
        world.initialize()
        world.make_member(None, "dispatcher", "owner")

        found = rehearse(world, CATALOG)

        assert (found["users"], found["affected"], found["steps"]) == (1, 0, [])

    def test_it_foretells_what_publishing_then_does(self, world: Onboarding) -> None:
        before = world.initialize()
        proposed = with_steps(definition("new", 5), without=["terms"])

        foretold = named(rehearse(world, proposed))
        world.publish(proposed)
        after = world.refresh()

        ids = [{each["stepId"] for each in body["guidedChecklist"]["steps"]} for body in (before, after)]
        assert ids[1] - ids[0] == {step_id for step_id, groups in foretold.items() if "gained" in groups} == {"new"}
        assert ids[0] - ids[1] == {step_id for step_id, groups in foretold.items() if "lost" in groups} == {"terms"}

    def test_nothing_is_changed_by_it(self, world: Onboarding) -> None:
        world.initialize()
        world.report("paired")
        before = everything(world)

        found = rehearse(
            world, with_steps(definition("pair", 20, completeWhen="signals['paired'].count > 0", scope="organization"))
        )

        assert found["affected"] == 1
        assert everything(world) == before

    def test_only_checklists_that_the_server_made_take_part(self, world: Onboarding) -> None:
        world.store(org_id=world.org_id, guidedChecklist={"track": "A", "computedAt": "2026-03-01T10:00:00Z"})

        assert rehearse(world, with_steps(definition("new")))["users"] == 0

    def test_no_more_users_are_looked_at_than_asked_for(self, world: Onboarding) -> None:
        crowd = [world, world.another("dispatcher"), world.another("dispatcher")]
        for one in crowd:
            one.initialize()
        proposed = with_steps(definition("new"))
        first, second, _ = sorted(one.user_id for one in crowd)

        some_of_them, all_of_them = rehearse(world, proposed, limit="2"), rehearse(world, proposed, limit="3")

        assert (some_of_them["users"], some_of_them["complete"]) == (2, False)
        assert named(some_of_them) == {"new": {"gained": [first, second]}}
        assert (all_of_them["users"], all_of_them["complete"]) == (3, True)

    @pytest.mark.parametrize("limit", ["0", "100001", "-1", "many", ""])
    def test_a_limit_is_a_number_from_1_to_100000(self, world: Onboarding, limit: str) -> None:
        answer = world.platform.post(f"{BASE}/catalog/rehearse", json=CATALOG, params={"limit": limit})

        assert refused(answer, 400, "invalid_parameter")["errors"][0]["parameter"] == "limit"

    def test_a_catalog_with_faults_is_refused_with_their_lines(self, world: Onboarding) -> None:
        text = "name: Faulty\nsteps:\n  - stepId: a\n"

        answer = world.platform.post(
            f"{BASE}/organizations/{world.org_id}/catalog/rehearse",
            content=text,
            headers={"Content-Type": "application/yaml"},
        )

        problem = refused(answer, 422, "invalid_catalog")
        assert "/steps/0/title" in pointers(problem)
        assert all(re.match(r"line 3, column \d+: ", fault["detail"]) for fault in problem["errors"])

    def test_an_organization_that_is_not_there_is_refused(self, world: Onboarding) -> None:
        answer = world.platform.post(f"{BASE}/organizations/{fresh('nowhere')}/catalog/rehearse", json=CATALOG)

        refused(answer, 404, "organization_not_found")

    def test_an_organizations_admin_may_and_its_users_may_not(self, world: Onboarding) -> None:
        world.initialize()
        path = f"{BASE}/organizations/{world.org_id}/catalog/rehearse"

        found = rehearse(world, with_steps(definition("new")), world.make_admin(fresh("admin")))

        assert found["affected"] == 1
        refused(world.user.post(path, json=CATALOG), 403, "forbidden")


def test_the_platforms_catalog_is_rehearsed_with_organizations_without_one_of_their_own(
    database_url: str, tmp_path: Path
) -> None:
    with start_service(database_url, tmp=tmp_path) as service:
        catalog = {"name": "For all", "steps": [definition("profile")]}
        proposed = {"name": "For all", "steps": [definition("profile"), definition("new", 20)]}
        path = f"{BASE}/catalog/rehearse"
        own, one, other = Onboarding(service), World(service, "b-org", "x-user"), World(service, "a-org", "y-user")
        none_yet = accepted(own.platform.post(path, json=proposed))
        own.put("/catalog", catalog)
        own.initialize()
        for each in (one, other):
            accepted(each.user.post(f"{each.path}/guided-checklist/initialize", params={"orgId": each.org_id}))

        of_the_platform = accepted(own.platform.post(path, json=proposed))
        of_one = rehearse(one, {"name": "Its first own", "steps": []})

        assert (none_yet["users"], none_yet["complete"], none_yet["steps"]) == (0, True, [])
        assert "present" not in none_yet
        assert (of_the_platform["users"], of_the_platform["present"]) == (2, {"version": 1})
        assert of_the_platform["steps"][0]["gained"]["samples"] == [
            {"orgId": "a-org", "userId": "y-user"},
            {"orgId": "b-org", "userId": "x-user"},
        ]
        assert (of_one["users"], of_one["present"]) == (1, {"version": 1})
        assert named(of_one) == {"profile": {"lost": ["x-user"]}}


# The command, in the test's own process.


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


@pytest.fixture
def acme(command: Command) -> Command:
    """An organization of three with checklists of the platform's catalog."""
    command.must("org", "put", "acme", "--name", "Acme")
    write(command, definition("profile"), definition("terms", 20))
    command.must("catalog", "publish", "catalog.json")
    for user_id in ("ada", "bob", "cleo"):
        asyncio.run(initialize(command.database, user_id, "acme"))
    return command


def write(command: Command, *steps: Json) -> None:
    """Write a catalog into the file `catalog.json`."""
    (command.folder / "catalog.json").write_bytes(msgspec.json.encode({"name": "Onboarding", "steps": steps}))


class TestCommand:
    def test_it_shows_who_would_gain_and_lose_what(self, acme: Command) -> None:
        write(acme, definition("profile"), definition("new", 20), definition("plan", 30, completeWhen=PRO))

        outcome = acme.must("catalog", "rehearse", "catalog.json", "--org", "acme")

        assert outcome.err == (
            "Publishing it for acme would change the checklist of 3 of 3 users, against the platform's version 1.\n"
        )
        heading, new, plan, terms = (re.split(r" {2,}", line.strip()) for line in outcome.out.splitlines())
        assert heading == ["step", "gained", "lost", "completed", "condition fails"]
        assert new == ["new", "3: ada, bob, cleo"]
        assert plan[:2] == ["plan", "3: ada, bob, cleo"]
        assert plan[2].startswith("3: ada, bob, cleo; there is no member plan")
        assert terms == ["terms", "3: ada, bob, cleo"]

    def test_of_the_platforms_catalog_each_user_is_named_with_their_organization(self, acme: Command) -> None:
        write(acme, definition("profile"), definition("terms", 20), definition("new", 30))

        outcome = acme.must("catalog", "rehearse", "catalog.json", "--limit", "2")

        assert outcome.err.startswith("Publishing it for all organizations without a catalog of their own would change")
        assert outcome.err.endswith("There are more users; --limit says how many to look at.\n")
        assert "2: ada in acme, bob in acme" in outcome.out

    def test_a_crowd_of_many_pages_is_counted_whole(self, acme: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("milepost.checklists.rehearsal.PAGE", 2)
        write(acme, definition("profile"), definition("terms", 20), definition("new", 30))

        for arguments in ((), ("--org", "acme")):
            (found,) = acme.must("catalog", "rehearse", "catalog.json", "--json", *arguments).objects
            (fewer,) = acme.must("catalog", "rehearse", "catalog.json", "--json", "--limit", "2", *arguments).objects

            assert (found["users"], found["complete"], found["affected"]) == (3, True, 3)
            assert (fewer["users"], fewer["complete"]) == (2, False)

    def test_what_the_last_user_of_many_pages_proves_for_all_counts_for_the_first(
        self, acme: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("milepost.checklists.rehearsal.PAGE", 1)
        acme.must("role", "put", "owner", "--org", "acme", "--title", "Owner")
        acme.must("member", "put", "zoe", "--org", "acme", "--role", "owner")
        asyncio.run(initialize(acme.database, "zoe", "acme"))
        shared = definition("new", 30, completeWhen="'owner' in roles", scope="organization")
        write(acme, definition("profile"), definition("terms", 20), shared)

        (found,) = acme.must("catalog", "rehearse", "catalog.json", "--json", "--org", "acme").objects

        assert named(found)["new"]["completed"] == ["ada", "bob", "cleo", "zoe"]

    def test_where_nothing_would_change_there_is_no_table(self, acme: Command) -> None:
        outcome = acme.must("catalog", "rehearse", "catalog.json", "--org", "acme")

        assert outcome.out == ""
        assert "would change the checklist of 0 of 3 users" in outcome.err

    def test_it_publishes_nothing(self, acme: Command) -> None:
        before = acme.must("catalog", "list").out
        write(acme)

        acme.must("catalog", "rehearse", "catalog.json")

        assert acme.must("catalog", "list").out == before

    def test_where_nothing_is_published_yet_that_is_said(self, command: Command) -> None:
        write(command, definition("profile"))

        outcome = command.must("catalog", "rehearse", "catalog.json")

        assert outcome.err.endswith("would change the checklist of 0 of 0 users; no catalog is published yet.\n")

    def test_faults_are_told_as_check_tells_them(self, command: Command) -> None:
        write(command, definition("profile"), definition("profile"))

        outcome = command("catalog", "rehearse", "catalog.json")

        assert outcome.code == 1
        assert re.match(r"catalog\.json:1:\d+: /steps/1/stepId profile is already the stepId of step 1", outcome.err)
