"""The two patch formats: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902), over values that `json_text` read."""

from copy import deepcopy
from typing import Any

import json_merge_patch
import jsonpatch
from jsonpointer import EndOfList, JsonPointer, JsonPointerException

from milepost.domain.json_text import MAX_DEPTH, MAX_FAULTS, dump
from milepost.problems import INVALID_PATCH, PATCH_NOT_APPLICABLE, PATCH_TEST_FAILED, Fault, Problem

MAX_OPERATIONS = 1_000
"""How many operations one JSON Patch may have."""

MAX_CARRIED = 2**20
"""How many bytes of JSON the `copy` and `move` operations of one patch may carry in all, as many as a body may have.

Without a bound, twenty copies of the whole document into itself make a million of it.
"""

MAX_REPEATED = 100
"""Characters of a pointer that a sentence repeats."""

MEMBERS = {
    "add": ("path", "value"),
    "copy": ("from", "path"),
    "move": ("from", "path"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "test": ("path", "value"),
}
"""What each operation needs (RFC 6902, section 4); any other member is ignored."""


def merge_patch(document: Any, patch: Any) -> Any:
    """The document after a merge patch (RFC 7396, section 2); neither argument is changed or shared with the result."""
    return json_merge_patch.merge(deepcopy(document), deepcopy(patch))


def json_patch(document: Any, operations: Any) -> Any:
    """The document after a JSON Patch: all of its operations (RFC 6902), or none; neither argument is changed.

    Faults point into the patch, so that `/3/path` is about the fourth operation.

    Raises:
        Problem: `invalid_patch` for what is no JSON Patch, whatever the document; `patch_test_failed` for a `test`
            that does not hold; `patch_not_applicable` for an operation that this document does not allow, and for
            one that would carry more than MAX_CARRIED or nest deeper than MAX_DEPTH.
    """
    _require_well_formed(operations)
    result, carried = deepcopy(document), 0
    for index, operation in enumerate(operations):
        carried += _require_room(result, operation, index, MAX_CARRIED - carried)
        result = _applied(result, operation, index)
    return result


def _require_well_formed(operations: Any) -> None:
    if not isinstance(operations, list):
        raise Problem(INVALID_PATCH, "A JSON Patch is an array of operations.", [Fault("must be an array", pointer="")])
    if len(operations) > MAX_OPERATIONS:
        detail = f"A JSON Patch may have at most {MAX_OPERATIONS:,} operations; this one has {len(operations):,}."
        raise Problem(INVALID_PATCH, detail, [Fault(f"must have at most {MAX_OPERATIONS:,} items", pointer="")])
    faults = [fault for index, operation in enumerate(operations) for fault in _faults(operation, f"/{index}")]
    if faults:
        detail = f"{faults[0].pointer} {faults[0].detail}."
        if len(faults) > 1:
            detail = f"The patch has {len(faults)} faults, listed in errors."
        raise Problem(INVALID_PATCH, detail, faults[:MAX_FAULTS])


def _faults(operation: Any, place: str) -> list[Fault]:
    if not isinstance(operation, dict):
        return [Fault("must be an object", pointer=place)]
    name = operation.get("op")
    if not isinstance(name, str) or name not in MEMBERS:
        return [Fault(f"must be one of {', '.join(MEMBERS)}", pointer=f"{place}/op")]
    faults = []
    for member in MEMBERS[name]:
        if member not in operation:
            faults.append(Fault(f"is required for {name}", pointer=f"{place}/{member}"))
        elif member != "value" and not _is_pointer(operation[member]):
            detail = "must be a JSON Pointer: empty, or parts that each begin with / and write ~ as ~0, / as ~1"
            faults.append(Fault(detail, pointer=f"{place}/{member}"))
    return faults


def _is_pointer(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        JsonPointer(value)
    except JsonPointerException:
        return False
    return True


def _require_room(document: Any, operation: dict[str, Any], index: int, left: int) -> int:
    """See that what an operation puts into the document fits; answers how many bytes of JSON it carries there."""
    if operation["op"] in {"remove", "test"}:
        return 0
    carries = "from" in MEMBERS[operation["op"]]
    value = _carried(document, operation, index) if carries else operation["value"]
    size = len(dump(value)) if carries else 0
    if size > left:
        limit = f"all copy and move operations together may carry at most {MAX_CARRIED:,} bytes"
        raise _not_applicable(operation, index, "from", limit)
    if len(JsonPointer(operation["path"]).parts) + _depth(value) > MAX_DEPTH + 1:
        limit = f"a value may lie within at most {MAX_DEPTH} arrays and objects"
        raise _not_applicable(operation, index, "path", limit)
    return size


def _carried(document: Any, operation: dict[str, Any], index: int) -> Any:
    source, target = JsonPointer(operation["from"]), JsonPointer(operation["path"])
    if operation["op"] == "move" and source != target and target.contains(source):
        raise _not_applicable(operation, index, "path", "a value cannot move into itself")
    try:
        value = source.resolve(document)
    except JsonPointerException:
        value = EndOfList(None)
    if isinstance(value, EndOfList):
        raise _not_applicable(operation, index, "from", f"there is nothing at {_shown(operation['from'])}")
    return value


def _depth(value: Any) -> int:
    """How many values lie within each other: 1 for a value that holds none."""
    depth, level = 0, [value]
    while level:
        depth += 1
        containers = [each for each in level if isinstance(each, dict | list)]
        level = [inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _applied(document: Any, operation: dict[str, Any], index: int) -> Any:
    try:
        return jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    except jsonpatch.JsonPatchTestFailed:
        path = _shown(operation["path"])
        detail = f"Operation {index} (test) does not hold: {path} is absent or has another value."
        raise Problem(PATCH_TEST_FAILED, detail, [Fault("does not hold", pointer=f"/{index}")]) from None
    except (jsonpatch.JsonPatchException, JsonPointerException):
        reason = f"there is nothing at {_shown(operation['path'])}"
        if operation["op"] not in {"remove", "replace"}:
            reason = f"{_shown(operation['path'])} is no place in an object or array that exists"
        elif not operation["path"]:
            reason = "the whole document cannot be removed"
        raise _not_applicable(operation, index, "path", reason) from None


def _not_applicable(operation: dict[str, Any], index: int, member: str, reason: str) -> Problem:
    detail = f"Operation {index} ({operation['op']}) does not apply: {reason}."
    return Problem(PATCH_NOT_APPLICABLE, detail, [Fault(reason, pointer=f"/{index}/{member}")])


def _shown(pointer: str) -> str:
    return pointer if len(pointer) <= MAX_REPEATED else f"{pointer[:MAX_REPEATED]}…"
