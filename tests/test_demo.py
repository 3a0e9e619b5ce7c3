"""The demo: data that loads into an empty database, and calls that work when they are pasted."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from string import Template

import httpx
import pytest
from sqlalchemy import make_url

from milepost.cli import demo
from milepost.settings import Settings
from milepost.store.database import Database
from milepost.store.integrity import statistics
from tests.command import Command, ready
from tests.conftest import Connections, Service, wait_until_ready
from tests.postgres import free_port


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
def test_the_demo_shows_what_a_company_would_have(command: Command) -> None:
    loaded(command.database)

    lines = command.must("export", "-").objects

    by_kind = {kind: [line for line in lines if line["kind"] == kind] for kind in {line["kind"] for line in lines}}
    people = {line["id"] for line in by_kind["person"]}
    steps = [
        step for line in by_kind["record"] for step in line["properties"].get("guidedChecklist", {}).get("steps", [])
    ]
    tracks = {
        line["properties"]["guidedChecklist"]["track"]
        for line in by_kind["record"]
        if "guidedChecklist" in line["properties"]
    }
    assert len(by_kind["member"]) > len(by_kind["person"]) >= 12
    assert {line["orgId"] for line in by_kind["role"] if line["admin"]} == {"tarnwick", "ossenby"}
    assert tracks == {"A", "B"}
    assert {step["status"] for step in steps} == {"UP_NEXT", "IN_PROGRESS", "COMPLETED", "SKIPPED"}
    assert {step["completedBy"] for step in steps if "completedBy" in step} <= people


@pytest.fixture
def greeting(tmp_path: Path) -> Iterator[str]:
    """What `milepost serve --demo` prints, while it serves."""
    url = f"http://127.0.0.1:{free_port()}"
    said, log = tmp_path / "said", tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    command = [sys.executable, "-m", "milepost", "serve", "--demo", "--port", url.rpartition(":")[2]]
    with said.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=out, stderr=err, start_new_session=True
        )
    database, key = "sqlite:///milepost.db", tmp_path / "milepost.key.pem"
    with Service(url, database, process, key, log, Connections()) as service:
        wait_until_ready(service)
        yield said.read_text()


def pasted(greeting: str) -> list[httpx.Response]:
    """The answers to the lines that are to be pasted."""
    variables: dict[str, str] = {}
    answers = []
    for line in greeting.splitlines():
        name, is_set, value = line.partition("=")
        if is_set and name.isupper():
            variables[name] = value
        elif line.startswith("curl "):
            answers.append(sent(shlex.split(Template(line).substitute(variables))))
    return answers


def sent(curl: list[str]) -> httpx.Response:
    options = dict(pairwise(curl))
    headers = dict(value.split(": ", 1) for option, value in pairwise(curl) if option == "-H")
    return httpx.request(
        options.get("-X", "GET"), curl[-1], headers=headers, content=options.get("-d"), trust_env=False
    )


def test_the_calls_that_are_printed_work_when_they_are_pasted(greeting: str) -> None:
    own, put, of_a_member = pasted(greeting)

    assert own.status_code == put.status_code == of_a_member.status_code == 200
    assert own.json()["guidedChecklist"]["roles"] == ["dispatcher"]
    assert "review-driving-hours" not in [step["stepId"] for step in own.json()["guidedChecklist"]["steps"]]
    assert put.json()["guidedChecklist"]["track"] == "A"
    assert of_a_member.json()["userId"] == demo.COLLEAGUE


def test_what_is_printed_says_where_to_go(greeting: str) -> None:
    documentation = next(word for word in greeting.split() if word.endswith("/docs"))

    assert httpx.get(documentation, trust_env=False).status_code == 200
    assert "the demo was not loaded" not in greeting


def test_no_tokens_are_made_where_others_issue_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(jwks_file=tmp_path / "jwks.json")

    demo.greet(settings, "http://127.0.0.1:8080", loaded=True)

    said = capsys.readouterr().out
    assert "There are no tokens" in said
    assert "curl" not in said


def test_data_that_was_there_before_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(signing_key_file=tmp_path / "key.pem")

    demo.greet(settings, "http://127.0.0.1:8080", loaded=False)

    assert "the demo was not loaded" in capsys.readouterr().out


def test_every_line_of_the_demo_is_json_of_one_line() -> None:
    kinds = [json.loads(line)["kind"] for line in demo.DATA.read_text().splitlines()]

    assert kinds == sorted(
        kinds, key=["organization", "enterprise", "role", "person", "member", "past", "record"].index
    )
