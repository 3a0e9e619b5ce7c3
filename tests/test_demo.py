"""The demo: data that loads into an empty database, checklists made of what happened, and a story to paste."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from milepost.cli import demo, story
from milepost.settings import Settings
from milepost.store.database import Database
from milepost.store.integrity import statistics
from tests.arrange import BASE, Json
from tests.command import Command, ready
from tests.conftest import KINDS, Connections, Service, empty_database, start_service, wait_until_ready
from tests.postgres import free_port

CHECKLISTS = [
    ("ingrid.solbakken", "tarnwick"),
    ("marco.lindqvist", "tarnwick"),
    ("tove.hallgren", "tarnwick"),
    ("yusuf.kelder", "tarnwick"),
    ("amara.brandt", "tarnwick"),
    ("pavel.orsik", "tarnwick"),
    ("sami.ekholt", "tarnwick"),
    ("nora.castelly", "tarnwick"),
    ("helene.vastberg", "ossenby"),
    ("dario.munkberg", "ossenby"),
    ("linnea.roosval", "ossenby"),
    ("otto.fernhill", "ossenby"),
    ("sami.ekholt", "ossenby"),
    ("nora.castelly", "ossenby"),
]
OPEN = {"UP_NEXT", "IN_PROGRESS"}


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return ready(tmp_path, database_url)


def loaded(database_url: str) -> bool:
    """Whether the demo was loaded just now."""

    async def load() -> bool:
        database = Database(make_url(database_url))
        try:
            return await demo.load(database)
        finally:
            await database.close()

    return asyncio.run(load())


def counted(database_url: str) -> dict[str, int]:
    async def count() -> dict[str, int]:
        database = Database(make_url(database_url))
        try:
            return await database.read(statistics)
        finally:
            await database.close()

    return asyncio.run(count())


def test_the_demo_loads_into_an_empty_database(command: Command) -> None:
    assert loaded(command.database)

    assert len(command.must("org", "list", "--json").objects) == 2
    assert command.must("db", "check").code == 0


def test_loading_the_demo_again_changes_nothing(command: Command) -> None:
    loaded(command.database)
    before = counted(command.database)

    assert not loaded(command.database)

    assert counted(command.database) == before


def test_a_database_that_holds_anything_is_left_alone(command: Command) -> None:
    command.must("org", "put", "acme", "--name", "Acme")

    assert not loaded(command.database)

    assert [org["orgId"] for org in command.must("org", "list", "--json").objects] == ["acme"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_catalog_alone_is_something_that_a_database_holds(command: Command) -> None:
    (command.folder / "own.json").write_text('{"name": "Our own", "steps": []}')
    command.must("catalog", "publish", "own.json")

    assert not loaded(command.database)

    assert json.loads(command.must("catalog", "show").out)["name"] == "Our own"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_demo_shows_what_a_company_would_have(command: Command) -> None:
    loaded(command.database)

    lines = command.must("export", "-").objects

    by_kind = {kind: [line for line in lines if line["kind"] == kind] for kind in {line["kind"] for line in lines}}
    made = [line["properties"] for line in by_kind["record"] if "guidedChecklist" in line["properties"]]
    steps = [step for properties in made for step in properties["guidedChecklist"]["steps"]]
    assert len(by_kind["member"]) > len(by_kind["person"]) >= 12
    assert {line["orgId"] for line in by_kind["role"] if line["admin"]} == {"tarnwick", "ossenby"}
    assert len(made) == len(CHECKLISTS)
    assert {properties["guidedChecklist"]["track"] for properties in made} == {"A", "B"}
    assert {step["status"] for step in steps} == {"UP_NEXT", "IN_PROGRESS", "COMPLETED", "SKIPPED"}
    assert {step["completedBy"] for step in steps if "completedBy" in step} <= {
        line["id"] for line in by_kind["person"]
    }
    # Every role brings steps along, in either organization.
    roles = {
        role for step in json.loads(command.must("catalog", "show").out)["steps"] for role in step.get("roles", [])
    }
    assert {line["role"] for line in by_kind["role"]} == roles


@pytest.fixture(scope="module", params=KINDS)
def operator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str, str], Json]]:
    """Asks a service that has the demo, as an operator who may do everything: method, path, organization."""
    folder = tmp_path_factory.mktemp("demo")
    with empty_database(request.param, folder, request.config) as url:
        ready(folder, url)
        loaded(url)
        with start_service(url, tmp=folder) as service:
            client = service.client(service.token("operator", platform_admin=True))

            def ask(method: str, path: str, org_id: str) -> Json:
                answer = client.request(method, BASE + path, params={"orgId": org_id})
                assert answer.status_code == httpx.codes.OK, answer.text
                body: Json = answer.json()
                return body

            yield ask


Ask = Callable[[str, str, str], Json]


def checklist(ask: Ask, user_id: str, org_id: str) -> Json:
    """A user's checklist as it is shown."""
    shown: Json = ask("GET", f"/users/{user_id}/properties", org_id)["guidedChecklist"]
    return shown


def statuses(shown: Json) -> dict[str, str]:
    return {step["stepId"]: step["status"] for step in shown["steps"]}


def test_somebody_brand_new_has_everything_before_them(operator: Ask) -> None:
    pavel = checklist(operator, "pavel.orsik", "tarnwick")

    assert pavel["track"] == "A"
    assert list(statuses(pavel)) == [
        "complete-profile",
        "install-driver-app",
        "brief-the-crew",
        "choose-notifications",
    ]
    assert set(statuses(pavel).values()) == {"UP_NEXT"}


@pytest.mark.parametrize(("user_id", "org_id"), [("ingrid.solbakken", "tarnwick"), ("yusuf.kelder", "tarnwick")])
def test_somebody_half_way_has_steps_of_both_kinds(operator: Ask, user_id: str, org_id: str) -> None:
    shown = checklist(operator, user_id, org_id)

    assert {"COMPLETED", "IN_PROGRESS", "UP_NEXT"} == set(statuses(shown).values())
    assert "completedAt" not in shown


@pytest.mark.parametrize(
    ("user_id", "org_id", "track", "at"),
    [
        ("helene.vastberg", "ossenby", "A", "2025-01-15T19:07:00Z"),
        ("nora.castelly", "tarnwick", "A", "2025-02-12T19:10:00Z"),
        ("sami.ekholt", "tarnwick", "B", "2025-01-31T04:04:00Z"),
    ],
)
def test_somebody_who_finished_did_so_with_the_last_step(
    operator: Ask, user_id: str, org_id: str, track: str, at: str
) -> None:
    shown = checklist(operator, user_id, org_id)

    assert (shown["track"], shown["completedAt"]) == (track, at)
    assert OPEN.isdisjoint(statuses(shown).values())


def test_somebody_dismissed_the_checklist_with_steps_open(operator: Ask) -> None:
    otto = checklist(operator, "otto.fernhill", "ossenby")

    assert otto["dismissedAt"] == "2025-04-16T12:40:00Z"
    assert statuses(otto)["choose-notifications"] == "UP_NEXT"


def test_somebody_who_comes_from_another_organization_is_on_track_b(operator: Ask) -> None:
    before, now = (checklist(operator, "nora.castelly", org_id) for org_id in ("tarnwick", "ossenby"))

    assert (before["track"], now["track"]) == ("A", "B")
    assert statuses(now)["meet-the-enterprise"] == "IN_PROGRESS"


def test_what_one_did_for_all_is_done_for_those_who_came_later(operator: Ask) -> None:
    nora, amara = (checklist(operator, user_id, "tarnwick")["steps"] for user_id in ("nora.castelly", "amara.brandt"))

    ledgers = [next(step for step in steps if step["stepId"] == "connect-ledger") for steps in (nora, amara)]
    assert ledgers[0]["completedBy"] == ledgers[1]["completedBy"]
    assert ledgers[1]["completedAt"] == "2025-02-11T16:57:00Z"


def test_a_role_that_was_taken_away_hides_its_steps(operator: Ask) -> None:
    explained = operator("GET", "/users/marco.lindqvist/properties/guided-checklist/explain", "tarnwick")

    hidden = {step["stepId"] for step in explained["steps"] if step["outcome"] == "hidden"}
    assert hidden == {"review-driving-hours", "schedule-service"}
    assert hidden.isdisjoint(statuses(checklist(operator, "marco.lindqvist", "tarnwick")))


@pytest.mark.parametrize(("user_id", "org_id"), CHECKLISTS)
def test_a_refresh_finds_every_checklist_as_it_should_be(operator: Ask, user_id: str, org_id: str) -> None:
    before = operator("GET", f"/users/{user_id}/properties", org_id)

    after = operator("POST", f"/users/{user_id}/properties/guided-checklist/refresh", org_id)

    assert after["modifiedDate"] > before["modifiedDate"]
    assert lasting(after) == lasting(before)


def lasting(record: Json) -> Json:
    """A record without the times that a refresh sets."""
    shown = {name: value for name, value in record["guidedChecklist"].items() if name != "computedAt"}
    return {name: value for name, value in record.items() if name != "modifiedDate"} | {"guidedChecklist": shown}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """What `milepost serve --demo` prints, while it serves."""
    url = f"http://127.0.0.1:{free_port()}"
    said, log = folder / "said", folder / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    command = [sys.executable, "-m", "milepost", "serve", "--demo", "--port", url.rpartition(":")[2]]
    with said.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err, start_new_session=True)
    database, key = "sqlite:///milepost.db", folder / "milepost.key.pem"
    with Service(url, database, process, key, log, Connections()) as service:
        wait_until_ready(service)
        yield said.read_text()


END = "-- end of a call --"


def pasted(greeting: str, shell: str) -> list[str]:
    """What the calls of the story answer when all that is printed to be pasted is given to a shell."""
    if shutil.which(shell) is None or shutil.which("curl") is None:
        pytest.skip(f"{shell} or curl is not installed")
    blocks = [block for block in greeting.split("\n\n") if block.lstrip().startswith(("API=", "curl ", "for "))]
    script = "".join(f"{block}\necho '{END}'\n" for block in blocks)
    run = subprocess.run([shell, "-eu"], input=script, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    setup, *answers, rest = run.stdout.split(END)
    assert setup.strip() == rest.strip() == ""
    return answers


def listed(answer: str) -> list[tuple[str, str]]:
    """The steps that a call's answer lists: status and title."""
    return [
        (status, title.strip()) for status, title in (line.split(maxsplit=1) for line in answer.strip().split("\n"))
    ]


def assert_is_the_story(answers: list[str], *, told_before: bool) -> None:
    """See that each of the five calls answers what the greeting says."""
    joins, makes, reports, marks, looks_again = answers
    assert json.loads(joins)["roles"] == ["dispatcher"]
    assert listed(makes) == [
        ("UP_NEXT", "Complete your profile"),
        ("COMPLETED", "Connect your vehicles"),
        ("COMPLETED" if told_before else "UP_NEXT", "Plan the first tour"),
        ("UP_NEXT", "Share arrival times"),
        ("UP_NEXT", "Choose what you hear about"),
    ]
    new = {"accepted": 1, "duplicates": 0, "completedSteps": 1}
    known = {"accepted": 0, "duplicates": 1, "completedSteps": 0}
    assert json.loads(reports) == (known if told_before else new)
    assert listed(marks) == [
        ("UP_NEXT", "Complete your profile"),
        ("COMPLETED", "Connect your vehicles"),
        ("COMPLETED", "Plan the first tour"),
        ("UP_NEXT", "Share arrival times"),
        ("COMPLETED", "Choose what you hear about"),
    ]
    member, _, left = looks_again.strip().partition("\n")
    assert json.loads(member)["roles"] == []
    assert listed(left) == [("UP_NEXT", "Complete your profile"), ("COMPLETED", "Choose what you hear about")]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_the_story_goes_as_it_is_told_and_can_be_told_again(tmp_path: Path, shell: str) -> None:
    with served(tmp_path) as greeting:
        assert_is_the_story(pasted(greeting, shell), told_before=False)
        assert_is_the_story(pasted(greeting, shell), told_before=True)


def test_the_story_goes_on_with_the_data_of_an_earlier_run(tmp_path: Path) -> None:
    with served(tmp_path) as greeting:
        pasted(greeting, "sh")

    with served(tmp_path) as greeting:
        assert "the demo was not loaded" in greeting
        assert_is_the_story(pasted(greeting, "sh"), told_before=True)


def test_a_call_of_the_story_that_is_refused_says_why(tmp_path: Path) -> None:
    with served(tmp_path) as greeting:
        _, makes, *_ = pasted(greeting.replace("orgId=tarnwick", "orgId=nowhere"), "sh")

    assert makes.strip() == "There is no such organization; create it with PUT /organizations/{orgId}"


def test_what_is_printed_says_where_to_go(tmp_path: Path) -> None:
    with served(tmp_path) as greeting:
        pages = [word for word in greeting.split() if word.endswith(("/docs", "/demo"))]

        assert [page.rpartition("/")[2] for page in pages] == ["docs", "demo"]
        assert [httpx.get(page, trust_env=False).status_code for page in pages] == [200, 200]
    assert "the demo was not loaded" not in greeting


def test_no_tokens_are_made_where_others_issue_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(jwks_file=tmp_path / "jwks.json")

    story.greet(settings, "http://127.0.0.1:8080", loaded=True)

    said = capsys.readouterr().out
    assert "There are no tokens" in said
    assert "curl" not in said


def test_data_that_was_there_before_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(signing_key_file=tmp_path / "key.pem")

    story.greet(settings, "http://127.0.0.1:8080", loaded=False)

    assert "the demo was not loaded" in capsys.readouterr().out


def test_every_line_of_the_demo_is_json_of_one_line() -> None:
    kinds = [json.loads(line)["kind"] for line in demo.DIRECTORY.read_text().splitlines()]

    assert kinds == sorted(
        kinds, key=["organization", "enterprise", "role", "person", "member", "past", "record"].index
    )
