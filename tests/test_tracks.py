"""How a user's track is decided: by a share, and by a feature flag of any OpenFeature provider (contract part 2)."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import milepost
from milepost.domain.contract import Track
from milepost.domain.tracks import FlagAnswer, Joining, by_flag, experiment
from milepost.journal.queries import of_user
from tests.arrange import BASE, Json, World, fresh, refused
from tests.calls import directly
from tests.command import Command
from tests.conftest import KINDS, Service, empty_database, start_service
from tests.test_checklists import Onboarding

DOCS = Path(__file__).parent.parent / "docs"
USERS = 100_000

# What the service's own process imports: an in-memory provider that answers by what the user's id begins with.
PROVIDER = """
import json, os, time
from pathlib import Path
from urllib.request import Request, urlopen

from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

HERE = Path(__file__).parent


def decide(flag, context):
    kind = context.targeting_key.partition("-")[0]
    told = {"targetingKey": context.targeting_key, **context.attributes}
    with (HERE / "asked.jsonl").open("a") as file:
        file.write(json.dumps(told) + "\\n")
    if kind == "raises":
        raise RuntimeError("no flag for " + context.targeting_key)
    if kind == "hangs":
        while not (HERE / "released").exists():
            time.sleep(0.05)
    if kind == "writes":
        url, token = (HERE / "write").read_text().split()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps({"name": "Written meanwhile"}).encode()
        urlopen(Request(url, body, headers, method="PUT"), timeout=10).close()
    value = {"odd": "C", "number": 7, "a": "A"}.get(kind, "B")
    return FlagResolutionDetails(value, reason=Reason.TARGETING_MATCH)


def provider():
    flag = InMemoryFlag("b", {"a": "A", "b": "B"}, context_evaluator=decide)
    return InMemoryProvider({"onboarding-track": flag})


def raising():
    raise RuntimeError("no password")


def nothing():
    return None
"""


class TestAShare:
    @pytest.mark.parametrize("salt", ["milepost", "autumn", ""])
    @pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.33, 0.5, 0.9, 1])
    def test_of_many_users_it_is_met_within_one_percentage_point(self, share: float, salt: str) -> None:
        decide = experiment(share, salt)

        on_b = sum(decide(Joining(f"user-{n}", "org", "")).track is Track.B for n in range(USERS))

        assert abs(on_b / USERS - share) <= 0.01
        assert share not in {0, 1} or on_b == share * USERS

    def test_a_larger_one_keeps_everybody_on_b_who_was(self) -> None:
        small, large = experiment(0.2, "milepost"), experiment(0.3, "milepost")
        users = [Joining(f"user-{n}", "org", "") for n in range(1000)]

        assert {one.user_id for one in users if small(one).track is Track.B} < {
            one.user_id for one in users if large(one).track is Track.B
        }

    def test_another_salt_draws_anew(self) -> None:
        users = [Joining(f"user-{n}", "org", "") for n in range(1000)]

        drawn = [[experiment(0.5, salt)(one).track for one in users] for salt in ("spring", "autumn")]

        assert 300 < sum(one is not other for one, other in zip(*drawn, strict=True)) < 700


class TestAFlagsAnswer:
    def test_names_the_track(self) -> None:
        decision = by_flag(Joining("ada", "org", ""), "key", FlagAnswer("B", "STATIC"))

        assert (decision.track, decision.strategy) == (Track.B, "openfeature")
        assert decision.why == "the flag key says B (STATIC)"

    @pytest.mark.parametrize("value", ["", "C", "a", "A ", "é\0" * 100])
    def test_that_is_no_track_leaves_it_to_the_memberships(self, value: str) -> None:
        decision = by_flag(Joining("ada", "org", "", ["north"]), "key", FlagAnswer(value, "STATIC"))

        assert (decision.track, decision.strategy) == (Track.B, "memberships")
        assert decision.why.startswith("a member of 1 other enterprise; the flag key did not decide: its value ")
        assert decision.why.isascii()
        assert decision.why.isprintable()
        assert len(decision.why) < 300


@pytest.fixture(scope="module", params=KINDS)
def flagged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose tracks are decided by the provider above."""
    folder = tmp_path_factory.mktemp("flagged")
    (folder / "our_flags.py").write_text(PROVIDER)
    settings = {
        "MILEPOST_TRACK": "openfeature",
        "MILEPOST_TRACK_PROVIDER": "our_flags:provider",
        "MILEPOST_LOG_FORMAT": "json",
        "PYTHONPATH": python_path(folder),
    }
    with (
        empty_database(request.param, folder, request.config) as url,
        start_service(url, tmp=folder, extra_env=settings) as service,
    ):
        yield service
        (folder / "released").touch()


def python_path(folder: Path) -> str:
    """The folder, and where this test found the package itself."""
    return f"{folder}:{Path(milepost.__file__).parent.parent}"


def told(world: World) -> Json:
    """What the journal tells of the last time that the user's checklist was made."""
    events = directly(world.service.database_url, lambda connection: of_user(connection, world.user_id))
    data: Json = [event for event in events if event.type == "checklist.initialized"][-1].data
    return {name: data[name] for name in ("track", "strategy", "why")}


class TestAFlag:
    @pytest.mark.parametrize(("kind", "track"), [("a", "A"), ("b", "B")])
    def test_decides_and_the_journal_says_so(self, flagged: Service, kind: str, track: str) -> None:
        world = Onboarding(flagged, user_id=fresh(kind))

        made = world.initialize()["guidedChecklist"]

        assert made["track"] == track
        assert told(world) == {
            "track": track,
            "strategy": "openfeature",
            "why": f"the flag onboarding-track says {track} (TARGETING_MATCH)",
        }

    def test_is_asked_about_the_user_and_where_they_join(self, flagged: Service) -> None:
        world = Onboarding(flagged)
        before = fresh("enterprise")
        world.put(f"/organizations/{world.org_id}/enterprises/{before}", {"name": "Before"})
        world.put(f"/organizations/{world.org_id}/members/{world.user_id}", {"enterprises": [before]})

        world.initialize()

        asked = (flagged.log.parent / "asked.jsonl").read_text().splitlines()
        (one,) = [line for line in asked if world.user_id in line]
        assert one == (
            f'{{"targetingKey": "{world.user_id}", "orgId": "{world.org_id}", '
            f'"enterpriseId": "{world.enterprise_id}", "priorEnterprises": 1, "isExisting": true}}'
        )

    @pytest.mark.parametrize(
        ("kind", "cause"),
        [
            ("odd", "its value 'C' is no track"),
            ("raises", "GENERAL"),
            ("number", "TYPE_MISMATCH"),
            ("hangs", "no answer within 2 seconds"),
        ],
    )
    def test_that_names_no_track_leaves_it_to_the_memberships(self, flagged: Service, kind: str, cause: str) -> None:
        world = Onboarding(flagged, user_id=fresh(kind))

        made = world.initialize()["guidedChecklist"]

        assert made["track"] == "A"
        assert told(world) == {
            "track": "A",
            "strategy": "memberships",
            "why": f"no earlier enterprise membership; the flag onboarding-track did not decide: {cause}",
        }
        log = flagged.log.read_text()
        assert "track_flag.not_used" in log
        assert world.user_id not in log

    def test_is_asked_while_other_writes_go_on(self, flagged: Service) -> None:
        world = Onboarding(flagged, user_id=fresh("writes"))
        url = f"{flagged.base_url}{BASE}/organizations/{world.org_id}"
        token = flagged.token("operator", platform_admin=True)
        (flagged.log.parent / "write").write_text(f"{url} {token}")

        world.initialize()

        assert told(world)["strategy"] == "openfeature"
        assert world.platform.get(url).json()["name"] == "Written meanwhile"

    def test_is_not_asked_for_a_caller_who_may_not(self, flagged: Service) -> None:
        world = Onboarding(flagged)
        stranger = world.as_user(fresh("user"))

        answer = stranger.post(f"{world.path}/guided-checklist/initialize", params={"orgId": world.org_id})

        refused(answer, 403, "forbidden")
        refused(world.call("initialize", enterpriseId="nowhere"), 422, "unknown_enterprise")
        asked = flagged.log.parent / "asked.jsonl"
        assert not asked.exists() or world.user_id not in asked.read_text()


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("nowhere.at_all:provider", "ModuleNotFoundError"),
        ("our_flags:missing", "AttributeError"),
        ("our_flags:raising", "RuntimeError: no password"),
        ("our_flags:nothing", "answers a NoneType"),
        ("our_flags:HERE", "TypeError"),
        ("our_flags", "must be package.module:callable"),
        ("", "must be set as well"),
    ],
)
def test_a_provider_that_cannot_be_had_keeps_the_service_from_starting(
    provider: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_flags.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(tmp_path)
    command = Command(tmp_path, f"sqlite:///{tmp_path / 'milepost.db'}")

    outcome = command("serve", MILEPOST_TRACK="openfeature", MILEPOST_TRACK_PROVIDER=provider, MILEPOST_PORT="0")

    assert outcome.code == 3
    assert "MILEPOST_TRACK_PROVIDER" in outcome.err
    assert says in outcome.err


def test_the_documented_provider_works(tmp_path: Path) -> None:
    page = (DOCS / "settings.md").read_text()
    (module,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def provider" in block]
    (tmp_path / "flags.py").write_text(module)
    settings = {
        "MILEPOST_TRACK": "openfeature",
        "MILEPOST_TRACK_PROVIDER": "flags:provider",
        "PYTHONPATH": python_path(tmp_path),
    }
    with start_service(f"sqlite:///{tmp_path / 'milepost.db'}", tmp=tmp_path, extra_env=settings) as service:
        world = Onboarding(service)
        before = fresh("enterprise")
        world.put(f"/organizations/{world.org_id}/enterprises/{before}", {"name": "Before"})
        world.put(f"/organizations/{world.org_id}/members/{world.user_id}", {"enterprises": [before]})

        assert world.initialize()["guidedChecklist"]["track"] == "B"
        assert told(world)["strategy"] == "openfeature"
