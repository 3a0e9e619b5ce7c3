"""Role changes, signals, publishes, step changes and reads in any order, over HTTP on both databases.

A simple model (`checklist_model.py`) says what each call must answer.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.arrange import BASE, Json, World, fresh, refused
from tests.checklist_model import Catalog, Kept, Model, Person, Signal, Spec
from tests.conftest import Service
from tests.test_checklists import definition

ALL = frozenset({"dispatcher", "owner"})
DISPATCHER, OWNER = frozenset({"dispatcher"}), frozenset({"owner"})
FIRST: Catalog = {
    "profile": Spec(10),
    "pair": Spec(20, roles=ALL, proof=("paired", 2), by_hand=False),
    "route": Spec(30, roles=DISPATCHER, requires=("profile", "pair")),
    "billing": Spec(40, roles=OWNER, scope="organization"),
    "depot": Spec(45, roles=ALL, scope="enterprise", proof=("opened", 1), by_hand=False),
    "fence": Spec(47, scope="organization", proof=("opened", 2)),
    "back": Spec(50, tracks="B"),
    "maps": Spec(60, interests=frozenset({"maps"})),
    "seen": Spec(65, proof=("seen", 1)),
    "terms": Spec(70, skippable=False, requires=("seen",)),
}
WITHOUT_SOME = {name: FIRST[name] for name in ("terms", "route", "profile", "fence", "back")}
FAMILY: list[Catalog] = [
    FIRST,
    WITHOUT_SOME
    | {
        "tour": Spec(5),
        "terms": Spec(70, skippable=False),
        "route": Spec(30, roles=OWNER, requires=("tour",)),
        "profile": Spec(90),
    },
    FIRST
    | {
        "pair": replace(FIRST["pair"], roles=frozenset(), proof=("paired", 1)),
        "depot": replace(FIRST["depot"], scope="organization"),
        "billing": replace(FIRST["billing"], scope="user", skippable=False),
        "terms": Spec(70),
    },
    {},
]
STATUSES = ["UP_NEXT", "IN_PROGRESS", "COMPLETED", "SKIPPED"]
STEPS = sorted({*FIRST, "tour"})
LONG_AGO = datetime(2026, 3, 1, 8, tzinfo=UTC)

people = st.sampled_from(["ada", "bo"])
enterprises = st.sampled_from(["", "north", "south"])
signals = st.builds(
    Signal,
    id=st.sampled_from(["e1", "e2", "e3", "e4"]),
    subject=people | st.just(""),
    type=st.sampled_from(["paired", "opened", "seen", "other"]),
    enterprise=enterprises,
    minute=st.integers(0, 30),
)


def as_json(name: str, spec: Spec) -> Json:
    members: Json = {
        "roles": sorted(spec.roles),
        "interests": sorted(spec.interests),
        "tracks": list(spec.tracks),
        "requires": list(spec.requires),
        "scope": spec.scope,
        "skippable": spec.skippable,
    }
    if spec.proof:
        signal, needed = spec.proof
        members["completeWhen"] = f"signals['{signal}'].count >= {needed}"
        members["completion"] = "either" if spec.by_hand else "signal"
    return definition(name, spec.order, **members)


def minute(number: int) -> str:
    return (LONG_AGO + timedelta(minutes=number)).isoformat().replace("+00:00", "Z")


class Machine(RuleBasedStateMachine):
    """Two people of one organization, and what the service answers about them."""

    service: ClassVar[Service]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.service)
        self.model = Model(["ada", "bo"])
        self.ids = {name: fresh(name) for name in self.model.people}
        self.clients = {name: self.world.as_user(user_id) for name, user_id in self.ids.items()}
        self.enterprises = {"": "", "north": fresh("north"), "south": fresh("south")}
        self.published: list[Catalog] = []
        self.tags: dict[str, dict[Any, str]] = {name: {} for name in self.ids}
        self.bodies: dict[str, dict[str, Json]] = {name: {} for name in self.ids}

    @initialize(
        roles=st.sets(st.sampled_from(sorted(ALL))), enterprise=enterprises, both=st.sampled_from([True, True, False])
    )
    def begin(self, roles: set[str], enterprise: str, *, both: bool) -> None:
        for role in ALL:
            self.world.define_role(role)
        for name in ("north", "south"):
            self.world.put(f"/organizations/{self.world.org_id}/enterprises/{self.enterprises[name]}", {"name": name})
        self.publish(0)
        self.change_membership("ada", roles, set())
        if both:
            self.change_membership("bo", set(ALL), set())
            for name in self.ids:
                self.initialize_checklist(name, enterprise, None, keep=False)

    # How the service is asked.

    def person(self, name: str) -> Person:
        return self.model.people[name]

    def path(self, name: str, rest: str = "/guided-checklist") -> str:
        return f"{BASE}/users/{self.ids[name]}/properties{rest}"

    def query(self, enterprise: str | None = None, **more: str) -> dict[str, str]:
        return (
            {"orgId": self.world.org_id} | ({"enterpriseId": self.enterprises[enterprise]} if enterprise else {}) | more
        )

    def post(self, name: str, call: str, query: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        client = more.pop("client", self.clients[name])
        answer: httpx.Response = client.post(
            self.path(name, f"/guided-checklist/{call}"), params=query or self.query(), **more
        )
        return answer

    def key(self, name: str) -> tuple[Any, ...]:
        """All that the person's ETag depends on."""
        person = self.person(name)
        overlay = tuple((each, self.model.steps(person)[each].why) for each in self.model.overlay(person))
        return (person.writes, tuple(sorted(person.roles)), overlay)

    def agrees(self, name: str, answer: httpx.Response) -> None:
        """The answer shows what the model shows, under an ETag of its own."""
        assert answer.status_code == httpx.codes.OK, answer.text
        person, shown, body = self.person(name), answer.json()["guidedChecklist"], answer.json()
        expected = self.model.shown(person)
        steps = {step["stepId"]: step for step in shown["steps"]}
        assert {each: step["status"] for each, step in steps.items()} == {
            e: kept.status for e, kept in expected.items()
        }
        for each, step in steps.items():
            same_time(step, expected[each])
        orders = [step["sortOrder"] for step in shown["steps"]]
        assert orders == sorted(orders)
        assert (shown["track"], shown["roles"]) == (person.track, sorted(person.roles))
        assert shown["productInterests"] == person.interests
        assert ("completedAt" in shown) == self.model.is_complete(person)
        assert ("dismissedAt" in shown) == person.dismissed
        tag = answer.headers["etag"]
        assert self.tags[name].setdefault(self.key(name), tag) == tag, "another tag for what did not change"
        assert len(set(self.tags[name].values())) == len(self.tags[name]), "the tag of what has changed since"
        assert self.bodies[name].setdefault(tag, body) == body, "another answer under the same tag"

    # What happens.

    @rule(number=st.integers(0, len(FAMILY) - 1))
    def publish(self, number: int) -> None:
        catalog = FAMILY[number]
        body = {"name": "Onboarding", "steps": [as_json(name, spec) for name, spec in catalog.items()]}

        answer = self.world.platform.put(f"{BASE}/organizations/{self.world.org_id}/catalog", json=body)

        is_new = not self.published or catalog != self.model.catalog
        assert answer.status_code == (201 if is_new else 200)
        if is_new:
            self.published.append(catalog)
            assert answer.json()["version"] == len(self.published)
        self.model.catalog = catalog

    @rule(version=st.integers(1, 5))
    def roll_back(self, version: int) -> None:
        path = f"{BASE}/organizations/{self.world.org_id}/catalog/current"

        answer = self.world.platform.put(path, json={"version": version})

        if version > len(self.published):
            refused(answer, 404, "catalog_not_found")
            return
        assert answer.status_code == httpx.codes.OK
        self.model.catalog = self.published[version - 1]

    @rule(name=people, roles=st.sets(st.sampled_from(sorted(ALL))), within=st.sets(st.sampled_from(["north", "south"])))
    def change_membership(self, name: str, roles: set[str], within: set[str]) -> None:
        person, member = self.person(name), f"/organizations/{self.world.org_id}/members/{self.ids[name]}"

        self.world.put(member, {"roles": sorted(roles), "enterprises": sorted(self.enterprises[e] for e in within)})

        gained = roles - person.roles
        person.roles = set(roles)
        person.been_in |= within
        if gained and person.has_checklist:
            self.model.refresh(person, None)

    @rule(
        name=people, enterprise=enterprises, interests=st.none() | st.sampled_from([[], ["maps"]]), keep=st.booleans()
    )
    def initialize_checklist(self, name: str, enterprise: str, interests: list[str] | None, *, keep: bool) -> None:
        body = {} if interests is None else {"guidedChecklist": {"productInterests": interests}}

        answer = self.post(name, "initialize", self.query(enterprise, keepProgress=str(keep).lower()), json=body)

        self.model.initialize(self.person(name), enterprise, interests, keep=keep)
        self.agrees(name, answer)

    @rule(name=people, enterprise=st.none() | st.sampled_from(["north", "south"]), admin=st.booleans())
    def refresh(self, name: str, enterprise: str | None, *, admin: bool) -> None:
        person, client = self.person(name), self.world.platform if admin else self.clients[name]

        answer = self.post(name, "refresh", self.query(enterprise), client=client)

        if not admin and not person.roles:
            refused(answer, 403, "forbidden")
        elif not person.has_checklist:
            refused(answer, 404, "checklist_not_found")
        else:
            self.model.refresh(person, enterprise)
            self.agrees(name, answer)

    @rule(
        name=people,
        step=st.sampled_from(STEPS),
        status=st.sampled_from(STATUSES),
        admin=st.booleans(),
        condition=st.sampled_from(["", "", "current", "stale"]),
    )
    def move(self, name: str, step: str, status: str, condition: str, *, admin: bool) -> None:
        self.moved(name, step, status, condition=condition, admin=admin)

    @rule(name=people, step=st.sampled_from(STEPS))
    def complete(self, name: str, step: str) -> None:
        """The way most steps go, which chance alone finds too seldom."""
        self.moved(name, step, "IN_PROGRESS")
        self.moved(name, step, "COMPLETED")

    @rule(name=people, data=st.data())
    def reset(self, name: str, data: st.DataObject) -> None:
        done = sorted(step for step, kept in self.model.shown(self.person(name)).items() if kept.status == "COMPLETED")
        if done:
            self.moved(name, data.draw(st.sampled_from(done)), "UP_NEXT", admin=True)

    @rule(first=people, step=st.sampled_from(["billing", "depot", "fence"]), resets=people)
    def do_for_all_and_reset(self, first: str, step: str, resets: str) -> None:
        """Both have stored that it is done when an admin resets it for one of them."""
        self.moved(first, step, "IN_PROGRESS")
        self.moved(first, step, "COMPLETED")
        for name in self.ids:
            self.refresh(name, None, admin=True)
        self.moved(resets, step, "UP_NEXT", admin=True)

    def moved(self, name: str, step: str, status: str, *, condition: str = "", admin: bool = False) -> None:
        person, client = self.person(name), self.world.platform if admin else self.clients[name]
        tags, now = self.tags[name], self.key(name)
        old = [tag for (writes, *_), tag in tags.items() if writes != person.writes]
        tag = {"current": tags.get(now), "stale": old[0] if old else '"0"'}.get(condition)

        answer = client.patch(
            self.path(name, f"/guided-checklist/steps/{step}"),
            params=self.query(),
            json={"status": status},
            headers={"If-Match": tag} if tag else {},
        )

        refusal = self.model.move(person, step, status, admin=admin, stale=condition == "stale")
        if refusal:
            assert answer.json().get("name") == refusal, answer.text
        else:
            self.agrees(name, answer)

    @rule(name=people, dismissed=st.booleans())
    def dismiss_or_restore(self, name: str, *, dismissed: bool) -> None:
        person = self.person(name)

        answer = self.post(name, "dismiss" if dismissed else "restore")

        if not person.has_checklist:
            refused(answer, 404, "checklist_not_found")
            return
        if person.dismissed != dismissed:
            person.dismissed = dismissed
            self.model.write(person, self.model.steps(person))
        self.agrees(name, answer)

    @rule(reported=st.lists(signals, min_size=1, max_size=4))
    def report(self, reported: list[Signal]) -> None:
        events = [self.event(signal) for signal in reported]
        media_type = "application/cloudevents-batch+json" if len(events) > 1 else "application/cloudevents+json"

        answer = self.world.platform.post(
            f"{BASE}/signals", json=events if len(events) > 1 else events[0], headers={"Content-Type": media_type}
        )

        accepted, completed = self.model.report(reported)
        assert answer.json() == {
            "accepted": accepted, "duplicates": len(reported) - accepted, "completedSteps": completed,
        }  # fmt: skip

    def event(self, signal: Signal) -> Json:
        event = {
            "specversion": "1.0",
            "id": signal.id,
            "source": "/machine",
            "type": signal.type,
            "subject": self.ids.get(signal.subject),
            "orgid": self.world.org_id,
            "enterpriseid": self.enterprises[signal.enterprise] or None,
            "time": minute(signal.minute),
        }
        return {member: value for member, value in event.items() if value is not None}

    @rule(name=people)
    def explain(self, name: str) -> None:
        person = self.person(name)

        answer = self.clients[name].get(self.path(name, "/guided-checklist/explain"), params=self.query())

        if not person.has_checklist:
            refused(answer, 404, "checklist_not_found")
            return
        told = {step["stepId"]: step for step in answer.json()["steps"]}
        stored, shown = self.model.steps(person), self.model.shown(person)
        assert told.keys() == self.model.catalog.keys() | stored.keys()
        for each, step in told.items():
            outcome = "shown" if each in shown else "hidden" if each in stored else "not_generated"
            assert step["outcome"] == outcome
            assert step.get("status") == (stored[each].status if each in stored else None)
            spec = self.model.catalog.get(each)
            if spec and spec.proof:
                assert step["conditionHolds"] == (self.model.proof(person, spec) is not None)
                assert step["signals"] == {spec.proof[0]: len(self.model.counted(person, spec.proof[0]))}

    @invariant()
    def everybody_reads_what_the_model_shows(self) -> None:
        for name, client in self.clients.items():
            answer = client.get(self.path(name, ""), params=self.query())
            if self.person(name).has_checklist:
                self.agrees(name, answer)
            else:
                assert answer.status_code == httpx.codes.NOT_FOUND


def same_time(step: Json, kept: Kept) -> None:
    """A completed step has its time: that of the signal, where signals completed it."""
    assert ("completedAt" in step) == (kept.status == "COMPLETED")
    if kept.status == "COMPLETED" and kept.why is not None and kept.why.minute is not None:
        assert step["completedAt"] == minute(kept.why.minute)


def test_whatever_happens_in_whatever_order_the_service_answers_as_the_model_does(service: Service) -> None:
    machine = type("MachineOnThisDatabase", (Machine,), {"service": service})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=30))
