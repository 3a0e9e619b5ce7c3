"""Lines of an import: those that an export writes are read a faster way, and with the same result."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.problems import Problem
from milepost.properties.queries import decode, encode
from milepost.transfer.lines import READERS, Line
from milepost.transfer.reading import as_exported, read
from milepost.transfer.writing import record_written
from tests.arrange import Json, checklist, record, step

STEPS = [step("profile"), step("route", sourceRoles=["dispatcher"])]
PROPERTIES = record("jane", guidedChecklist=checklist(*STEPS), attributes={"theme": "dark"})
EXPORTED = record_written("acme", encode(decode(msgspec.json.encode(PROPERTIES))).decode(), None).rstrip()


def outcome(line: bytes, *, strictly: bool = False) -> Line | str:
    """What a line is read as, or the name of the problem with it."""
    reader: Callable[[bytes], Line] = READERS["record"].read if strictly else read
    try:
        return reader(line)
    except Problem as problem:
        return problem.kind.name


def with_attributes(text: str) -> bytes:
    return EXPORTED.replace(b'{"theme":"dark"}', text.encode())


def test_a_line_is_known_for_one_that_an_export_has_written() -> None:
    assert as_exported(EXPORTED) == outcome(EXPORTED, strictly=True)
    assert as_exported(EXPORTED.replace(b":", b": ")) is None


@given(
    st.recursive(
        st.text(max_size=5) | st.integers() | st.none(),
        lambda inner: st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    )
)
def test_a_line_is_read_as_the_strict_way_reads_it(value: Json) -> None:
    line = with_attributes(msgspec.json.encode({"a": value}).decode())

    assert outcome(line) == outcome(line, strictly=True)


@given(
    st.integers(0, len(EXPORTED) - 1),
    st.sampled_from([b"", b" ", b'"', b",", b"}", b"0", b"\\u0061", b'"userId":"jane",']),
)
def test_a_line_that_was_changed_anywhere_is_read_as_the_strict_way_reads_it(place: int, put_in: bytes) -> None:
    line = EXPORTED[:place] + put_in + EXPORTED[place + 1 :]
    inserted = EXPORTED[:place] + put_in + EXPORTED[place:]

    for each in (line, inserted):
        if each.startswith(b'{"kind":"record"'):
            assert outcome(each) == outcome(each, strictly=True)


@pytest.mark.parametrize("attributes", ['{"a":1,"a":2}', '{"deep":[{"a":1,"a":1}]}', '{"a":1e999999999999999999999}'])
def test_what_is_refused_in_attributes_is_refused_of_an_exported_line_too(attributes: str) -> None:
    line = with_attributes(attributes)

    assert outcome(line) == "malformed_json"


@pytest.mark.parametrize("name", ["userId", "createdDate", "guidedChecklist"])
def test_a_name_given_twice_is_refused(name: str) -> None:
    member = f'"{name}":{msgspec.json.encode(PROPERTIES[name]).decode()},'
    line = EXPORTED.replace(b'"properties":{', f'"properties":{{{member}'.encode())

    assert outcome(line) == "malformed_json"


@pytest.mark.parametrize("levels", [190, 195, 196, 197, 198, 199, 200, 205])
def test_nesting_is_limited_alike(levels: int) -> None:
    line = with_attributes('{"a":' + "[" * levels + "]" * levels + "}")

    assert outcome(line) == outcome(line, strictly=True)
