"""What the pages say of the code is true, and what the README shows to paste does what it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from milepost import problems
from milepost.cli import app, terminal
from milepost.problems import Kind
from milepost.settings import Settings, help_of, shown, variable
from tests.conftest import Service

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w./-])(?:src|tests|docs|bench)/[\w./-]*\w/?")
MODULE = re.compile(r"`((?:\w+/)*\w+\.py)`")
COMMAND = re.compile(r"\bmilepost ((?:[a-z]+)(?: [a-z]+)?)")
MADE_BY_EACH_RUN = {"modifiedDate", "since", "requestId"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def without_code(text: str) -> str:
    return FENCE.sub("", text)


def table(page: Path, *header: str) -> list[tuple[str, ...]]:
    """The rows of the table with this header, whatever columns follow."""
    lines = iter(page.read_text().splitlines())
    for line in lines:
        if cells(line)[: len(header)] == header:
            next(lines)
            return [cells(row)[: len(header)] for row in rows(lines)]
    pytest.fail(f"{page.name} has no table {header}")


def rows(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split("|"))


def test_settings_lists_every_setting_with_its_default() -> None:
    defaults = Settings()
    expected = [
        (variable(field), shown(field, getattr(defaults, field)) or "none", help_of(field))
        for field in Settings.__struct_fields__
    ]
    assert table(DOCS / "settings.md", "variable", "default", "meaning") == expected


def test_the_contract_lists_every_problem() -> None:
    expected = [(kind.name, str(kind.status), kind.title) for kind in vars(problems).values() if isinstance(kind, Kind)]
    assert table(DOCS / "contract.md", "name", "status", "meaning") == expected


def test_operations_lists_every_exit_code() -> None:
    numbers = {value for name, value in vars(terminal).items() if name.isupper() and isinstance(value, int)}
    codes = [0, *sorted(number for number in numbers if number < 256)]
    assert [code for code, *_ in table(DOCS / "operations.md", "code", "meaning")] == [str(code) for code in codes]


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_path_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    named = {*PATH.findall(text), *MODULE.findall(text)}
    missing = [path for path in named if not (ROOT / path).exists() and not (ROOT / "src/milepost" / path).exists()]
    assert sorted(missing) == []


@every_page
def test_every_target_and_command_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    code = [*(block for _, block in FENCE.findall(text)), *re.findall(r"`([^`\n]+)`", without_code(text))]
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for each in code for word in re.findall(r"\bmake ([a-z]+)\b", each)}
    commands = {words for each in code for words in COMMAND.findall(each)}
    assert named <= targets
    assert [words for words in sorted(commands) if CliRunner().invoke(app, [*words.split(), "--help"]).exit_code] == []


def test_the_commands_of_the_readme_do_what_it_shows(service: Service, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    blocks = FENCE.findall((ROOT / "README.md").read_text().partition("## The API by example")[2])
    assert len(blocks) > 2
    mark = "-- end of a block --"
    script = "".join(f"{text}\necho; echo '{mark}'\n" for kind, text in blocks if kind == "sh")
    script = script.replace(".venv/bin/milepost", f"{sys.executable} -m milepost")
    script = script.replace("http://127.0.0.1:8080", service.base_url)
    environment = os.environ | {"MILEPOST_SIGNING_KEY_FILE": str(service.signing_key_file)}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    printed = iter(run.stdout.split(mark))
    for (kind, _), (next_kind, shows) in pairwise([*blocks, ("", "")]):
        if kind == "sh":
            answers = next(printed)
            if next_kind == "json":
                assert lasting(json.loads(answers)) == lasting(json.loads(shows))
            else:
                assert "urn:milepost:problem" not in answers


def lasting(value: Any) -> Any:
    """A JSON value without the members that each run makes anew."""
    if isinstance(value, dict):
        return {name: lasting(member) for name, member in value.items() if name not in MADE_BY_EACH_RUN}
    return [lasting(item) for item in value] if isinstance(value, list) else value
