"""The rules of the house that a tool does not know: where SQL, tenancy, the environment and the clock may stand.

Which package may import which is in `pyproject.toml`; `lint-imports` checks it.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "milepost"
FILES = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py"))

MOST_LINES_OF_A_FILE = 350
MOST_LINES_OF_A_FUNCTION = 50

each_file = pytest.mark.parametrize("file", FILES)


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((SOURCE / file).read_text(encoding="utf-8"))


def imported(file: str) -> Iterator[tuple[str, str]]:
    """Each (module, name) that a file imports; the name is '' for a whole module."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def attributes(file: str) -> Iterator[str]:
    """Each dotted name that a file looks up, such as `roles.c.admin`, and each of its ends: `c.admin`, `admin`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            yield from (".".join(parts[start:]) for start in range(len(parts)))


def names(file: str) -> set[str]:
    return {node.id for node in ast.walk(tree(file)) if isinstance(node, ast.Name)}


def is_sql(file: str) -> bool:
    return file.startswith("store/") or Path(file).name == "queries.py"


ALLOWED_OF_SQLALCHEMY = {
    "settings.py": {"URL", "make_url", "ArgumentError"},
    "transfer/service.py": {"Connection", "DBAPIError"},
}
"""A URL is a setting, and an import goes on after a line that the database refuses."""


@each_file
def test_sql_stands_in_queries_and_in_the_store(file: str) -> None:
    if is_sql(file):
        return
    of_sqlalchemy = {name for module, name in imported(file) if module.partition(".")[0] == "sqlalchemy"}
    of_the_schema = {name for module, name in imported(file) if module == "milepost.store.schema"}
    running = {"execute", "exec_driver_sql", "scalar", "scalars"}

    assert of_sqlalchemy <= ALLOWED_OF_SQLALCHEMY.get(file, {"Connection"})
    assert of_the_schema <= {"REVISION"}
    assert not of_sqlalchemy or not running.intersection(attributes(file))


@each_file
def test_tenancy_is_tested_in_access_only(file: str) -> None:
    if file.startswith("access/"):
        return
    assert "c.admin" not in attributes(file), "ask access.queries.administers, or join its `administrations`"
    assert "visible_organizations" not in names(file), "ask access.queries.visible_to"
    assert not {"platform_admin", "caller.scopes"}.intersection(attributes(file)), "ask access.policy.allowed"


def test_administrations_are_defined_once() -> None:
    defined = [
        file
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "administrations"
    ]

    assert defined == ["access/queries.py"]


@each_file
def test_the_environment_is_read_in_settings_only(file: str) -> None:
    looked_up = [name for name in attributes(file) if name.startswith(("os.environ", "os.getenv"))]
    taken = [name for module, name in imported(file) if module == "os" and name.startswith(("environ", "getenv"))]

    if file == "cli/serve.py":
        # It reads nothing: it hands the settings to the workers, which are processes of their own.
        assert looked_up == ["os.environ.update", "os.environ"]
    elif file != "settings.py":
        assert not looked_up
    assert not taken


IMPURE_MODULES = {
    "asyncio", "concurrent", "http", "io", "litestar", "logging", "multiprocessing", "os", "pathlib", "random",
    "secrets", "shutil", "socket", "sqlalchemy", "sqlite3", "structlog", "subprocess", "sys", "tempfile", "threading",
    "time", "urllib", "uuid_utils",
}  # fmt: skip
IMPURE_NAMES = {
    "date.today", "datetime.now", "datetime.today", "datetime.utcnow", "uuid.uuid1", "uuid.uuid4", "uuid.uuid7",
}  # fmt: skip
IMPURE_BUILTINS = {"input", "open", "print"}


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("domain/")])
def test_the_domain_is_pure(file: str) -> None:
    """No clock, no chance, no input or output: time and ids come in as arguments."""
    modules = {module.partition(".")[0] for module, _ in imported(file)}
    taken = {f"{module}.{name}" for module, name in imported(file)}

    assert not IMPURE_MODULES.intersection(modules)
    assert not IMPURE_NAMES.intersection({*attributes(file), *taken})
    assert not IMPURE_BUILTINS.intersection(names(file))


@each_file
def test_no_file_has_to_be_scrolled_for_long(file: str) -> None:
    lines = len((SOURCE / file).read_text(encoding="utf-8").splitlines())

    assert lines <= MOST_LINES_OF_A_FILE, f"{file} has {lines} lines: give a part of it a file of its own"


@each_file
def test_no_function_is_long(file: str) -> None:
    if file.startswith("store/migrations/"):
        # A migration is a list of tables, written once and never changed.
        return
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION
    ]

    assert not long
