"""Merge Patch (RFC 7396) and JSON Patch (RFC 6902) as pure functions, over the published examples and beyond them."""

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.json_text import dump, parse
from milepost.domain.patches import MAX_CARRIED, MAX_OPERATIONS, json_patch, merge_patch
from milepost.problems import Problem

DATA = Path(__file__).with_name("data")
MERGE_PATCHES = parse((DATA / "merge_patch.json").read_bytes())
JSON_PATCHES = parse((DATA / "json_patch.json").read_bytes())

text = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
"""JSON text that is the same for the same JSON value, and tells true from 1, which Python does not."""

names = st.sampled_from(["", "a", "b", "c", "0", "1", "-", "a/b", "m~n", "é"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=4)


def problem_of(document: Any, operations: Any) -> Problem | None:
    try:
        json_patch(document, operations)
    except Problem as problem:
        return problem
    return None


def refused(document: Any, operations: Any, name: str) -> Problem:
    problem = problem_of(document, operations)
    assert problem is not None
    assert problem.kind.name == name
    return problem


def operation(op: str, path: str, **members: Any) -> dict[str, Any]:
    return {"op": op, "path": path} | {name.rstrip("_"): member for name, member in members.items()}


def nested(depth: int, innermost: Any = 0) -> Any:
    for _ in range(depth):
        innermost = [innermost]
    return innermost


def merge_patch_of_the_rfc(target: Any, patch: Any) -> Any:
    """The pseudocode of RFC 7396, section 2, word for word."""
    if isinstance(patch, dict):
        if not isinstance(target, dict):
            target = {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = merge_patch_of_the_rfc(target.get(name), value)
        return target
    return patch


class TestMergePatch:
    @pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in MERGE_PATCHES])
    def test_the_vectors_hold(self, case: dict[str, Any]) -> None:
        assert text(merge_patch(case["document"], case["patch"])) == text(case["expected"])

    @given(values, values)
    def test_it_does_what_the_rfcs_pseudocode_does(self, document: Any, patch: Any) -> None:
        expected = merge_patch_of_the_rfc(deepcopy(document), deepcopy(patch))

        assert text(merge_patch(document, patch)) == text(expected)

    @given(values, values)
    def test_applying_it_twice_is_applying_it_once(self, document: Any, patch: Any) -> None:
        once = merge_patch(document, patch)

        assert text(merge_patch(once, patch)) == text(once)

    @given(objects)
    def test_an_empty_patch_changes_nothing(self, document: dict[str, Any]) -> None:
        assert text(merge_patch(document, {})) == text(document)

    @given(values, values)
    def test_its_arguments_stay_as_they_were(self, document: Any, patch: Any) -> None:
        before = text([document, patch])

        result = merge_patch(document, patch)
        spoil(result)

        assert text([document, patch]) == before


class TestJsonPatch:
    @pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in JSON_PATCHES])
    def test_the_vectors_hold(self, case: dict[str, Any]) -> None:
        before = text([case["document"], case["patch"]])

        if "error" in case:
            refused(case["document"], case["patch"], case["error"])
        else:
            assert text(json_patch(case["document"], case["patch"])) == text(case["expected"])

        assert text([case["document"], case["patch"]]) == before

    @given(values, values)
    def test_the_difference_of_two_documents_leads_from_one_to_the_other(self, before: Any, after: Any) -> None:
        operations = jsonpatch.make_patch(before, after).patch

        assert text(json_patch(before, operations)) == text(after)

    @given(values, values)
    def test_its_arguments_stay_as_they_were(self, before: Any, after: Any) -> None:
        operations = jsonpatch.make_patch(before, after).patch
        arguments = text([before, operations])

        spoil(json_patch(before, operations))

        assert text([before, operations]) == arguments

    @given(
        values,
        st.lists(
            st.fixed_dictionaries(
                {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
                optional={
                    "path": st.lists(names).map(lambda parts: "".join(f"/{part}" for part in parts)) | values,
                    "from": st.lists(names).map(lambda parts: "".join(f"/{part}" for part in parts)) | values,
                    "value": values,
                },
            ),
            max_size=5,
        ),
    )
    def test_any_patch_is_applied_or_refused(self, document: Any, operations: Any) -> None:
        problem = problem_of(document, operations)

        assert problem is None or problem.faults

    def test_numbers_stay_exact(self) -> None:
        document = parse(b'{"a":1.10,"b":123456789012345678901234567890}')
        operations = parse(b'[{"op":"copy","from":"/a","path":"/c"},{"op":"add","path":"/d","value":1E+400}]')

        assert dump(json_patch(document, operations)) == (
            b'{"a":1.10,"b":123456789012345678901234567890,"c":1.10,"d":1E+400}'
        )


class TestWhatARefusalSays:
    def test_every_fault_of_a_patch_is_listed_with_its_operation(self) -> None:
        operations = [
            operation("add", "/a"),
            operation("test", "/a", value=1),
            operation("grow", "/a"),
            operation("move", "a"),
            5,
        ]

        problem = refused({}, operations, "invalid_patch")

        assert [fault.pointer for fault in problem.faults] == ["/0/value", "/2/op", "/3/from", "/3/path", "/4"]
        assert problem.detail == "The patch has 5 faults, listed in errors."

    def test_a_single_fault_is_told_in_the_detail(self) -> None:
        problem = refused({}, [operation("add", "/a")], "invalid_patch")

        assert problem.detail == "/0/value is required for add."

    def test_no_more_than_a_hundred_faults_are_listed(self) -> None:
        problem = refused({}, [5] * 300, "invalid_patch")

        assert len(problem.faults) == 100
        assert "300 faults" in problem.detail

    def test_a_test_that_fails_names_its_operation(self) -> None:
        operations = [operation("add", "/b", value=1), operation("test", "/b", value=2)]

        problem = refused({}, operations, "patch_test_failed")

        assert problem.detail == "Operation 1 (test) does not hold: /b is absent or has another value."
        assert [fault.pointer for fault in problem.faults] == ["/1"]

    @pytest.mark.parametrize(
        ("impossible", "pointer", "reason"),
        [
            (operation("remove", "/x"), "/1/path", "there is nothing at /x"),
            (operation("replace", "/list/2", value=0), "/1/path", "there is nothing at /list/2"),
            (operation("remove", ""), "/1/path", "the whole document cannot be removed"),
            (operation("add", "/x/y", value=0), "/1/path", "/x/y is no place in an object or array that exists"),
            (operation("copy", "/y", from_="/x"), "/1/from", "there is nothing at /x"),
            (operation("move", "/list/9", from_="/list/0"), "/1/path", "/list/9 is no place"),
            (operation("move", "/list/0/a", from_="/list"), "/1/path", "a value cannot move into itself"),
        ],
    )
    def test_an_operation_that_does_not_apply_is_named_with_its_reason(
        self, impossible: Any, pointer: str, reason: str
    ) -> None:
        operations = [operation("test", "/list", value=[1, 2]), impossible]

        problem = refused({"list": [1, 2]}, operations, "patch_not_applicable")

        assert problem.detail.startswith(f"Operation 1 ({impossible['op']}) does not apply: {reason}")
        assert [fault.pointer for fault in problem.faults] == [pointer]

    def test_neither_the_document_nor_a_long_path_is_repeated(self) -> None:
        document = {"secret": "s" * 1000}
        path = "/" + "p" * 1000

        for operations, name in [
            ([operation("remove", path)], "patch_not_applicable"),
            ([operation("test", "/secret", value="another")], "patch_test_failed"),
        ]:
            problem = refused(document, operations, name)
            assert len(problem.detail) < 200
            assert "ssss" not in problem.detail


class TestBounds:
    def test_a_patch_may_have_a_thousand_operations(self) -> None:
        operations = [operation("add", "/-", value=0)] * MAX_OPERATIONS

        assert len(json_patch([], operations)) == MAX_OPERATIONS
        assert "1,000 operations" in refused([], [*operations, operations[0]], "invalid_patch").detail

    @pytest.mark.parametrize("document", [{"a": "x" * 1000}, {"a": [0] * 1000}, {"a": {}}])
    def test_copies_cannot_grow_a_document_without_bound(self, document: Any) -> None:
        operations = [operation("copy", f"/b{n}", from_="") for n in range(60)]

        problem = refused(document, operations, "patch_not_applicable")

        assert "together may carry at most" in problem.detail

    def test_copies_that_are_removed_again_count_too(self) -> None:
        pair = [operation("copy", "/b", from_="/a"), operation("remove", "/b")]

        refused({"a": "x" * 10_000}, pair * 500, "patch_not_applicable")

    def test_copies_and_moves_may_carry_a_mebibyte(self) -> None:
        quarter = "x" * (MAX_CARRIED // 4 - len('""'))
        operations = [operation("copy", "/b", from_="/a"), operation("move", "/c", from_="/b")] * 2

        assert json_patch({"a": quarter}, operations).keys() == {"a", "c"}
        one_more = [*operations, operation("copy", "/e", from_="/d")]
        assert "1,048,576 bytes" in refused({"a": quarter, "d": ""}, one_more, "patch_not_applicable").detail

    @pytest.mark.parametrize(
        "deepen",
        [
            lambda room: (nested(121), [operation("add", "/0" * 120 + "/-", value=nested(79 + room))]),
            lambda room: ([nested(120), nested(79 + room)], [operation("copy", "/0" * 120 + "/-", from_="/1")]),
            lambda room: ([nested(120), nested(79 + room)], [operation("move", "/0" * 120 + "/-", from_="/1")]),
        ],
        ids=["add", "copy", "move"],
    )
    def test_a_patched_document_can_be_read_again(self, deepen: Callable[[int], tuple[Any, Any]]) -> None:
        document, operations = deepen(0)
        parse(dump(json_patch(document, operations)))

        document, operations = deepen(1)
        assert "200 arrays and objects" in refused(document, operations, "patch_not_applicable").detail

    @pytest.mark.parametrize(
        ("document", "operations"),
        [
            ([[]] * 300_000, [operation("copy", "/-", from_="")]),
            ({"a": [0] * 500_000}, [operation("move", "/b", from_="/a"), operation("move", "/a", from_="/b")] * 500),
            ([0] * 500_000, [operation("move", "/0", from_="/499999")] * 1_000),
            ({"a": [0] * 300_000}, [operation("test", "/a", value=[1])] * 1_000),
        ],
        ids=["copies", "moves of much", "moves to the front", "tests"],
    )
    def test_a_hostile_patch_takes_seconds_at_most(self, document: Any, operations: Any) -> None:
        separate = parse(dump(document))
        begun = time.process_time()

        problem_of(separate, operations)

        assert time.process_time() - begun < 10


def spoil(value: Any) -> None:
    """Change everything that can be changed in a value."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            spoil(inner)
        value.clear()
