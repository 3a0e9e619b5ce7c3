"""Sources of signals that a refresh asks by URL, over real HTTP, on both kinds of database (contract part 5)."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from milepost.journal.queries import Event, of_user
from milepost.openapi import document
from tests.arrange import BASE, fresh, refused
from tests.calls import application, directly
from tests.command import Command
from tests.conftest import KINDS, Service, empty_database, start_service
from tests.postgres import free_port
from tests.source import Answer, SourceServer, event, events, hangs, hangs_up, paired_twice, raw, says, stalls
from tests.test_checklists import Onboarding, accepted, statuses

DOCS = Path(__file__).parent.parent / "docs"
TOKEN = "a-token-of-the-sources"
HEADER = "signal-sources-failed"


@pytest.fixture(scope="module")
def server() -> Iterator[SourceServer]:
    with SourceServer() as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def asking(
    request: pytest.FixtureRequest, server: SourceServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that asks two sources."""
    folder = tmp_path_factory.mktemp("asking")
    settings = {
        "MILEPOST_SIGNAL_SOURCES": f"billing={server.url('billing')}?version=1, crm={server.url('crm')}",
        # Long enough for a busy machine: only sources that never answer wait for it.
        "MILEPOST_SIGNAL_SOURCE_TIMEOUT": "4",
        "MILEPOST_SIGNAL_SOURCE_TOKEN": TOKEN,
        "MILEPOST_LOG_FORMAT": "json",
        "MILEPOST_CORS_ORIGINS": "https://app.example",
        "NO_PROXY": "127.0.0.1",
    }
    with (
        empty_database(request.param, folder, request.config) as url,
        start_service(url, tmp=folder, extra_env=settings) as service,
    ):
        yield service


@pytest.fixture
def world(asking: Service, server: SourceServer) -> Onboarding:
    """An organization, a user with a checklist, and sources that know nothing yet."""
    server.answers.clear()
    world = Onboarding(asking)
    world.initialize()
    server.asked.clear()
    return world


def journal(world: Onboarding) -> list[Event]:
    """The events about the user or the organization."""

    def told(connection: Any) -> list[Event]:
        return of_user(connection, world.user_id) + of_user(connection, "")

    return [event for event in directly(world.service.database_url, told) if event.org_id == world.org_id]


def refreshed(world: Onboarding) -> dict[str, object]:
    """What the journal tells of the last refresh."""
    return [event for event in journal(world) if event.type == "checklist.refreshed"][-1].data


def reported(world: Onboarding) -> list[tuple[str, object]]:
    """Who reported which signals, as the journal tells it."""
    return [(event.actor, event.data["signals"]) for event in journal(world) if event.type == "signals.reported"]


class TestAskingSources:
    def test_what_they_say_completes_steps_in_the_same_refresh(self, world: Onboarding, server: SourceServer) -> None:
        server.answers["billing"] = events(lambda query: event(query, "1"))
        server.answers["crm"] = events(lambda query: event(query, "2"))

        answer = world.call("refresh")

        assert statuses(accepted(answer))["pair"] == "COMPLETED"
        assert HEADER not in answer.headers
        assert reported(world) == [("source:billing", {"paired": 1}), ("source:crm", {"paired": 1})]
        assert "sourcesFailed" not in refreshed(world)

    def test_they_are_asked_about_the_user_in_the_organization_and_enterprise(
        self, world: Onboarding, server: SourceServer
    ) -> None:
        world.refresh()

        asked = {name: (query, headers) for name, query, headers in server.asked}
        query = {"userId": world.user_id, "orgId": world.org_id, "enterpriseId": world.enterprise_id}
        assert asked["crm"][0] == query
        assert asked["billing"][0] == {"version": "1", **query}
        headers = {name.lower(): value for name, value in asked["crm"][1].items()}
        assert headers["accept"] == "application/cloudevents-batch+json"
        assert headers["authorization"] == f"Bearer {TOKEN}"

    def test_for_a_whole_organization_no_enterprise_is_named(self, world: Onboarding, server: SourceServer) -> None:
        accepted(world.call("initialize"))

        world.refresh()

        assert [sorted(query) for name, query, _ in server.asked if name == "crm"] == [["orgId", "userId"]]

    def test_an_event_that_is_known_counts_once(self, world: Onboarding, server: SourceServer) -> None:
        server.answers["crm"] = events(event)

        again = [world.refresh() for _ in range(2)][1]

        assert statuses(again)["pair"] == "UP_NEXT"
        assert reported(world) == [("source:crm", {"paired": 1})]

    def test_they_are_asked_at_the_same_time(self, world: Onboarding, server: SourceServer) -> None:
        both = threading.Barrier(2, timeout=20)

        def waiting(query: dict[str, str]) -> object:
            both.wait()
            return [event(query)]

        server.answers["billing"] = server.answers["crm"] = says(waiting)

        assert HEADER not in world.call("refresh").headers

    def test_other_writes_go_on_while_they_are_asked(self, world: Onboarding, server: SourceServer) -> None:
        def writing(query: dict[str, str]) -> object:
            # Of the very user who is refreshed: nothing of theirs is held either.
            accepted(world.move("profile", "IN_PROGRESS"))
            return [event(query)]

        server.answers["crm"] = says(writing)

        answer = world.call("refresh")

        assert HEADER not in answer.headers
        assert statuses(accepted(answer))["profile"] == "IN_PROGRESS"

    def test_nothing_is_remembered_from_one_user_to_the_next(self, world: Onboarding, server: SourceServer) -> None:
        server.answers["crm"] = events(Set_Cookie="session=theirs; Path=/")

        world.refresh()
        world.refresh()

        asked = [{name.lower() for name in headers} for name, _, headers in server.asked if name == "crm"]
        assert len(asked) == 2
        assert not any("cookie" in headers for headers in asked)

    def test_nobody_who_may_not_refresh_makes_them_asked(self, world: Onboarding, server: SourceServer) -> None:
        path, parameters = f"{world.path}/guided-checklist/refresh", {"orgId": world.org_id}

        refused(world.as_user(fresh("user")).post(path, params=parameters), 403, "forbidden")
        refused(world.another("dispatcher").call("refresh"), 404, "checklist_not_found")
        refused(world.call("refresh", enterpriseId="nowhere"), 422, "unknown_enterprise")
        world.make_member(None)
        refused(world.call("refresh"), 403, "forbidden")

        assert server.asked == []

    def test_a_page_may_read_which_failed(self, asking: Service) -> None:
        answer = asking.client().get("/health/live", headers={"Origin": "https://app.example"})

        assert "Signal-Sources-Failed" in answer.headers["access-control-expose-headers"]


def tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


class TestASourceThatFails:
    @pytest.mark.parametrize(
        ("crm", "reason"),
        [
            pytest.param(hangs, "timeout", id="never answers"),
            pytest.param(stalls, "timeout", id="never ends its answer"),
            pytest.param(hangs_up, "unreachable", id="hangs up"),
            pytest.param(raw(500), "status-500", id="fails"),
            pytest.param(raw(204, b""), "status-204", id="has no content"),
            pytest.param(raw(302, Location="/elsewhere"), "status-302", id="redirects"),
            pytest.param(raw(200, b"<html>"), "invalid", id="sends garbage"),
            pytest.param(raw(200, b'{"specversion": "1.0"}'), "invalid", id="sends no batch"),
            pytest.param(raw(200, b"[" + b" " * 2_000_000 + b"]"), "invalid", id="sends too much"),
            pytest.param(raw(200, Content_Encoding="gzip"), "invalid", id="compresses"),
            pytest.param(says(lambda query: [event(query, str(n)) for n in range(1001)]), "invalid", id="1,001 events"),
            pytest.param(
                says(lambda query: [event(query), event(query, "2", subject="somebody")]), "invalid", id="another user"
            ),
            pytest.param(says(lambda query: [event(query, subject=None)]), "invalid", id="everybody"),
            pytest.param(says(lambda query: [event(query, orgid="elsewhere")]), "invalid", id="another organization"),
            pytest.param(
                says(lambda query: [event(query), event(query, "2", enterpriseid="nowhere")]),
                "invalid",
                id="an enterprise there is not",
            ),
            pytest.param(says(lambda query: [event(query, time=tomorrow())]), "invalid", id="the future"),
            pytest.param(
                says(lambda query: [event(query, time="0001-01-01T00:00:00+14:00")]), "invalid", id="before all years"
            ),
            pytest.param(
                says(lambda query: [event(query, "\U0001f600" * 255)]), "invalid", id="an id too long to keep"
            ),
        ],
    )
    def test_fails_alone_and_is_told(self, world: Onboarding, server: SourceServer, crm: Answer, reason: str) -> None:
        server.answers |= {"billing": says(paired_twice), "crm": crm}

        answer = world.call("refresh")

        assert statuses(accepted(answer))["pair"] == "COMPLETED"
        assert answer.headers[HEADER] == f"crm;reason={reason}"
        assert refreshed(world)["sourcesFailed"] == {"crm": reason}
        assert reported(world) == [("source:billing", {"paired": 2})]
        assert "elsewhere" not in [name for name, *_ in server.asked]
        log = world.service.log.read_text()
        told = [json.loads(line) for line in log.splitlines() if '"signal_source.failed"' in line][-1]
        assert (told["level"], told["source"], told["reason"]) == ("warning", "crm", reason)
        assert world.user_id not in log
        assert TOKEN not in log

    def test_leaves_to_the_refresh_what_was_known_already(self, world: Onboarding, server: SourceServer) -> None:
        world.report("paired")
        server.answers |= {"billing": raw(503), "crm": hangs_up}
        world.report("paired")

        answer = world.call("refresh")

        assert statuses(accepted(answer))["pair"] == "COMPLETED"
        assert answer.headers[HEADER] == "billing;reason=status-503, crm;reason=unreachable"


def test_a_source_where_nobody_listens_is_unreachable(tmp_path: Path) -> None:
    settings = {"MILEPOST_SIGNAL_SOURCES": f"gone=http://127.0.0.1:{free_port()}/", "NO_PROXY": "127.0.0.1"}
    database = f"sqlite:///{tmp_path / 'milepost.db'}"
    with start_service(database, tmp=tmp_path, extra_env=settings) as service:
        world = Onboarding(service)
        world.initialize()

        assert world.call("refresh").headers[HEADER] == "gone;reason=unreachable"


def test_the_command_that_shows_the_settings_hides_the_token(tmp_path: Path) -> None:
    command = Command(tmp_path, f"sqlite:///{tmp_path / 'milepost.db'}")

    shown = command("settings", MILEPOST_SIGNAL_SOURCE_TOKEN=TOKEN).out

    assert "***" in shown
    assert TOKEN not in shown


def test_the_openapi_document_tells_of_the_header() -> None:
    refresh = document(application())["paths"][f"{BASE}/users/{{userId}}/properties/guided-checklist/refresh"]["post"]

    assert "Signal-Sources-Failed" in refresh["responses"]["200"]["headers"]
    assert "Signal-Sources-Failed" in refresh["description"]


def test_a_url_that_cannot_be_asked_keeps_the_service_from_starting(tmp_path: Path) -> None:
    command = Command(tmp_path, f"sqlite:///{tmp_path / 'milepost.db'}")

    outcome = command("serve", MILEPOST_SIGNAL_SOURCES="crm=http://999.1.1.1/", MILEPOST_PORT="0")

    assert outcome.code == 3
    assert "MILEPOST_SIGNAL_SOURCES: the URL of crm" in outcome.err


def test_the_documented_source_works(tmp_path: Path) -> None:
    section = (DOCS / "signals.md").read_text().partition("## Let Milepost ask")[2]
    match = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert match is not None
    port = free_port()
    program = match[1].replace("9000", str(port))
    assert program != match[1]
    settings = {
        "MILEPOST_SIGNAL_SOURCES": f"billing=http://127.0.0.1:{port}/signals",
        "MILEPOST_SIGNAL_SOURCE_TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1",
    }
    database = f"sqlite:///{tmp_path / 'milepost.db'}"
    source = subprocess.Popen([sys.executable, "-c", program], env={"SOURCE_TOKEN": TOKEN}, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        with start_service(database, tmp=tmp_path, extra_env=settings) as service:
            world = Onboarding(service, user_id="grace")
            world.publish(
                {
                    "name": "Billing",
                    "steps": [
                        {
                            "stepId": "bank",
                            "title": "Connect the bank account",
                            "description": "Invoices are paid from it.",
                            "ctaLabel": "Connect",
                            "ctaRoute": "/billing/bank",
                            "sortOrder": 10,
                            "completeWhen": "signals['bank.connected'].count > 0",
                        }
                    ],
                }
            )
            world.initialize()

            answer = world.call("refresh")

            assert HEADER not in answer.headers
            assert statuses(accepted(answer)) == {"bank": "COMPLETED"}
    finally:
        source.terminate()
        source.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the documented source does not answer")
