"""JSON text: what is read, what is refused and how that is told, and that reading and writing lose nothing."""

import base64
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from milepost.domain.json_schema import MAX_EXAMINED, schema_faults
from milepost.domain.json_text import MAX_COUNTED, MAX_FAULTS, Reader, dump, parse
from milepost.problems import Fault, Problem

CASES = parse(Path(__file__).with_name("data").joinpath("json_text.json").read_bytes())
ACCEPTED = [pytest.param(case, id=case["name"]) for case in CASES if case["accepted"]]
REFUSED = [pytest.param(case, id=case["name"]) for case in CASES if not case["accepted"]]

decimals = st.decimals(allow_nan=False, allow_infinity=False) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(-999, 999), st.integers(-9999, 9999)
)
numbers = (
    st.integers()
    | st.integers(-(10**4300) + 1, 10**4300 - 1)
    | decimals.filter(lambda number: number.as_tuple().exponent != 0)
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def body_of(case: dict[str, Any]) -> bytes:
    return base64.b64decode(case["base64"]) if "base64" in case else case["text"].encode()


def refused(body: bytes) -> str:
    with pytest.raises(Problem) as caught:
        parse(body)
    assert caught.value.kind.name == "malformed_json"
    return caught.value.detail


def problem_of(read: Callable[[bytes], Any], body: bytes) -> Problem | None:
    try:
        read(body)
    except Problem as problem:
        return problem
    return None


class TestParse:
    @pytest.mark.parametrize("case", ACCEPTED)
    def test_what_rfc_8259_allows_is_read(self, case: dict[str, Any]) -> None:
        value = parse(body_of(case))

        assert "value" not in case or dump(value) == dump(case["value"])

    @pytest.mark.parametrize("case", REFUSED)
    def test_what_is_no_json_or_ambiguous_is_refused(self, case: dict[str, Any]) -> None:
        detail = refused(body_of(case))

        assert case.get("says", "") in detail
        assert len(detail) < 200

    @given(st.binary())
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        problem = problem_of(parse, body)

        assert problem is None or problem.kind.name == "malformed_json"

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ("[1,]", "line 1, column 4"),
            ("[1,\n 2,\n x]", "line 3, column 2"),
            ('["éé", x]', "line 1, column 8"),
            ('["😀",\n"日本", x]', "line 2, column 7"),
            ('{"a": 1', "line 1, column 7"),
            ("", "A JSON body is expected, but there is none."),
        ],
    )
    def test_a_refusal_says_where_in_lines_and_characters(self, body: str, place: str) -> None:
        assert place in refused(body.encode())

    def test_a_long_name_is_not_repeated_whole(self) -> None:
        name = b'"' + b"n" * 100_000 + b'":1'

        assert len(refused(b"{" + name + b"," + name + b"}")) < 200


class TestDump:
    @given(values)
    def test_what_is_written_reads_back_the_same(self, value: Any) -> None:
        read = parse(dump(value))

        assert read == value
        assert dump(read) == dump(value)

    @pytest.mark.parametrize(
        "number",
        [
            "0",
            "-1",
            "1.10",
            "1.0",
            "-0.0",
            "1E+400",
            "1E-400",
            "0.10000000000000000555",
            "9007199254740993",
            "9" * 4300,
        ],
    )
    def test_numbers_come_back_digit_for_digit(self, number: str) -> None:
        assert dump(parse(number.encode())) == number.encode()

    def test_text_is_written_as_utf_8(self) -> None:
        assert dump({"é": "日本\u2028😀\x00"}) == '{"é":"日本\u2028😀\\u0000"}'.encode()


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Wheel(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    spoke_count: int
    fitted_at: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET


class Tandem(msgspec.Struct, tag="tandem", forbid_unknown_fields=True):
    seats: int


class Unicycle(msgspec.Struct, tag="unicycle", forbid_unknown_fields=True):
    height: int


class Bicycle(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    frame_number: Annotated[str, Meta(min_length=1, max_length=5)]
    colour: Colour
    size: Literal["S", "M"] | UnsetType = UNSET
    wheels: Annotated[list[Wheel], Meta(max_length=3)] | UnsetType = UNSET
    owner: UUID | None = None
    gears: Annotated[int, Meta(ge=1, le=30)] = 1
    stickers: dict[str, Wheel] = {}
    companions: list[Tandem | Unicycle] = []
    spot: tuple[int, int] | UnsetType = UNSET
    code: Annotated[str, Meta(pattern="^[a-z]+$")] | UnsetType = UNSET
    notes: msgspec.Raw | UnsetType = UNSET


read_bicycle = Reader(Bicycle)
SOUND = {"frameNumber": "A1", "colour": "red"}


def invalid(body: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        read_bicycle.read(body if isinstance(body, bytes) else dump(body))
    assert caught.value.kind.name == "invalid_body"
    return caught.value


def faults(body: Any) -> set[tuple[str | None, str]]:
    return {(fault.pointer, fault.detail) for fault in invalid(body).faults}


class TestReader:
    def test_a_body_that_fits_is_read(self) -> None:
        bicycle = read_bicycle.read(b'{"frameNumber":"A1","colour":"red","wheels":[{"spokeCount":36}]}')

        assert bicycle == Bicycle(frame_number="A1", colour=Colour.RED, wheels=[Wheel(spoke_count=36)])

    def test_raw_members_keep_the_bytes_that_were_sent(self) -> None:
        raw = b'{ "n" : 1.10, "big":1E400,\t"e":"\\u00e9" }'

        bicycle = read_bicycle.read(b'{"frameNumber":"A1","colour":"red","notes": ' + raw + b" }")

        assert isinstance(bicycle.notes, msgspec.Raw)
        assert bytes(bicycle.notes) == raw

    @pytest.mark.parametrize("body", [b"", b"{", b'{"colour":"red","colour":"blue"}', b'{"notes":{"a":1,"a":2}}'])
    def test_what_is_not_json_is_malformed_and_not_merely_invalid(self, body: bytes) -> None:
        with pytest.raises(Problem) as caught:
            read_bicycle.read(body)

        assert caught.value.kind.name == "malformed_json"

    def test_every_fault_is_found_at_once(self) -> None:
        body = {
            "colour": "green",
            "wheels": [{"spokeCount": "36"}, 5, {"spokeCount": 36, "fitedAt": None}],
            "gears": 31,
            "owner": "me",
        }

        assert [(fault.pointer, fault.detail) for fault in invalid(body).faults] == [
            ("/colour", "must be one of red, blue"),
            ("/wheels/0/spokeCount", "must be an integer, not a string"),
            ("/wheels/1", "must be an object, not an integer"),
            ("/wheels/2/fitedAt", "is not a known member; did you mean fittedAt?"),
            ("/gears", "must be an integer at most 30"),
            ("/owner", "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000"),
            ("/frameNumber", "is required"),
        ]

    @pytest.mark.parametrize(
        ("change", "pointer", "detail"),
        [
            ({"frameNumber": None}, "/frameNumber", "must be a string, not null"),
            ({"frameNumber": ""}, "/frameNumber", "must be a string of length at least 1"),
            ({"frameNumber": "123456"}, "/frameNumber", "must be a string of length at most 5"),
            ({"colour": 5}, "/colour", "must be one of red, blue"),
            ({"size": "XL"}, "/size", "must be one of S, M"),
            ({"gears": Decimal("1.5")}, "/gears", "must be an integer, not a decimal number"),
            ({"gears": Decimal("1.0")}, "/gears", "must be an integer, not a decimal number"),
            ({"gears": Decimal("1E+400")}, "/gears", "is a number too large or too small"),
            ({"gears": 10**4000}, "/gears", "must be an integer at most 30"),
            ({"gears": True}, "/gears", "must be an integer, not true or false"),
            ({"owner": 5}, "/owner", "must be a string with a UUID or null, not an integer"),
            ({"wheels": {}}, "/wheels", "must be an array, not an object"),
            ({"wheels": [{"spokeCount": 1}] * 4}, "/wheels", "must have at most 3 items, not 4"),
            ({"stickers": {"a/b": {"spokeCount": None}}}, "/stickers/a~1b/spokeCount", "must be an integer, not null"),
            ({"stickers": {"m~n": {}}}, "/stickers/m~0n/spokeCount", "is required"),
            ({"spot": [1, "x"]}, "/spot/1", "must be an integer, not a string"),
            ({"spot": [1]}, "/spot", "must be an array of length 2"),
            ({"companions": [{"type": "tandem"}]}, "/companions/0/seats", "is required"),
            ({"companions": [{"type": "tandem", "seats": 1}, 5]}, "/companions/1", "must be an object, not an integer"),
            ({"companions": [{}]}, "/companions/0", "does not fit (Object missing required field type)"),
            ({"companions": [{"type": "tricycle"}]}, "/companions/0/type", "does not fit (Invalid value 'tricycle')"),
            ({"code": "A"}, "/code", "must be a string matching regex '^[a-z]+$'"),
            ({"color": "red"}, "/color", "is not a known member; did you mean colour?"),
            ({"frame_number": "A1"}, "/frame_number", "is not a known member; did you mean frameNumber?"),
        ],
    )  # fmt: skip
    def test_a_fault_says_where_it_is_and_what_to_do(self, change: Any, pointer: str, detail: str) -> None:
        assert faults(SOUND | change) == {(pointer, detail)}

    @pytest.mark.parametrize(
        ("sent", "detail"),
        [
            ("soon", "must be a date and time such as 2026-01-31T09:30:00Z (RFC 3339)"),
            ("2026-01-31T09:30:00", "needs an offset, such as 2026-01-31T09:30:00Z (RFC 3339)"),
            ("2026-06-30T23:59:60Z", "must be a date and time such as 2026-01-31T09:30:00Z (RFC 3339)"),
            ("0000-01-01T00:00:00Z", "must be a date and time such as 2026-01-31T09:30:00Z (RFC 3339)"),
            (1769851800, "must be a string with a date and time, not an integer"),
        ],
    )
    def test_a_time_that_does_not_fit_is_a_fault(self, sent: object, detail: str) -> None:
        body = SOUND | {"wheels": [{"spokeCount": 1, "fittedAt": sent}]}

        assert faults(body) == {("/wheels/0/fittedAt", detail)}

    def test_a_member_unlike_any_other_is_answered_with_those_known(self) -> None:
        body = SOUND | {"wheels": [{"spokeCount": 1, "xyz": 1}]}

        assert faults(body) == {("/wheels/0/xyz", "is not a known member; known here: spokeCount, fittedAt")}

    def test_a_list_too_long_hides_no_fault_of_its_items(self) -> None:
        body = SOUND | {"wheels": [{"spokeCount": 1}, {}, {"spokeCount": 1}, {"spokeCount": 1}]}

        assert {pointer for pointer, _ in faults(body)} == {"/wheels", "/wheels/1/spokeCount"}

    def test_a_body_that_is_no_object_is_told_so(self) -> None:
        problem = invalid([])

        assert problem.detail == "The body must be an object, not an array."
        assert problem.faults == (Fault("must be an object, not an array", pointer=""),)

    def test_a_single_fault_is_told_in_the_detail(self) -> None:
        assert invalid({"colour": "red"}).detail == "/frameNumber is required."

    def test_the_detail_says_how_many_faults_there_are_and_a_hundred_are_listed(self) -> None:
        few, many, countless = (invalid({f"x{n}": 0 for n in range(count)} | SOUND) for count in (7, 150, 5_000))

        assert (len(few.faults), few.detail) == (7, "The body has 7 faults, listed in errors.")
        assert len(many.faults) == len(countless.faults) == MAX_FAULTS
        assert many.detail == "The body has 150 faults; the first 100 are listed in errors."
        assert countless.detail.startswith(f"The body has more than {MAX_COUNTED:,} faults")

    @pytest.mark.parametrize(
        "change",
        [{"colour": "x" * 100_000}, {"x" * 100_000: 1}, {"stickers": {"x" * 100_000: 1}}, {"owner": "x" * 100_000}],
    )
    def test_what_is_long_is_not_repeated(self, change: dict[str, Any]) -> None:
        problem = invalid(SOUND | change)

        assert len(problem.detail) < 1_000
        assert all(len(fault.detail) <= 300 and len(fault.pointer or "") < 1_000 for fault in problem.faults)

    @pytest.mark.parametrize(
        "change",
        [
            {"wheels": [{}] * 300_000},
            {"wheels": [{"spokeCount": 1}] * 50_000},
            {"stickers": {str(n): {} for n in range(80_000)}},
            {f"frameNumbr{n}": 1 for n in range(50_000)},
        ],
        ids=["empty objects", "too many items", "members", "unknown members"],
    )
    def test_a_megabyte_of_faults_takes_no_longer_than_seconds(self, change: dict[str, Any]) -> None:
        body = dump(SOUND | change)
        begun = time.process_time()

        invalid(body)

        assert time.process_time() - begun < 5

    @given(st.dictionaries(st.sampled_from(["frameNumber", "colour", "wheels", "gears", "notes", "x"]), values))
    def test_any_body_is_read_or_its_faults_are_told(self, body: dict[str, Any]) -> None:
        problem = problem_of(read_bicycle.read, dump(body))

        assert problem is None or problem.faults


class TestSchemaFaults:
    """What an operator's JSON Schema finds, told like the faults of the contract's own types."""

    @pytest.mark.parametrize(
        ("schema", "document", "pointer", "detail"),
        [
            ({"required": ["a"]}, {}, "/attributes/a", "is required"),
            ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "/attributes/b", "is required"),
            ({"properties": {"": {}}, "additionalProperties": False}, {"b": 1}, "/attributes/b", "is not allowed here"),
            ({"unevaluatedProperties": False}, {"~/": 1}, "/attributes/~0~1", "is not allowed here"),
            ({"properties": {"a": False}}, {"a": 1}, "/attributes/a", "is not allowed here"),
            ({"type": "object"}, [], "/attributes", "must be an object"),
            ({"type": ["string", "null"]}, 1, "/attributes", "must be null or a string"),
            ({"enum": ["a", 1]}, 2, "/attributes", 'must be one of "a", 1'),
            ({"const": {"a": None}}, 2, "/attributes", 'must be {"a":null}'),
            ({"format": "email"}, "x", "/attributes", "is not in the format email"),
            ({"minLength": 2}, "x", "/attributes", "must have at least 2 characters"),
            ({"maxLength": 2}, "xyz", "/attributes", "must have at most 2 characters"),
            ({"pattern": "^a"}, "x", "/attributes", "must match the pattern ^a"),
            ({"minItems": 1}, [], "/attributes", "must have at least 1 item"),
            ({"maxItems": 1}, [1, 2], "/attributes", "must have at most 1 item"),
            ({"uniqueItems": True}, [1, Decimal("1.0")], "/attributes", "must not have the same item twice"),
            ({"minProperties": 1}, {}, "/attributes", "must have at least 1 member"),
            ({"maxProperties": 0}, {"a": 1}, "/attributes", "must have at most 0 members"),
            ({"minimum": 3}, 2, "/attributes", "must be at least 3"),
            ({"maximum": 3}, Decimal("1E+999999999"), "/attributes", "must be at most 3"),
            ({"exclusiveMinimum": 3}, 3, "/attributes", "must be greater than 3"),
            ({"exclusiveMaximum": 3}, 3, "/attributes", "must be less than 3"),
            ({"multipleOf": 2}, 3, "/attributes", "must be a multiple of 2"),
            ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 3, "/attributes", "fits none of the alternatives"),
            ({"not": {}}, 3, "/attributes", "breaks the rule not of its schema"),
            ({"items": {"properties": {"a": {"type": "null"}}}}, [{}, {"a": 1}], "/attributes/1/a", "must be null"),
        ],
    )  # fmt: skip
    def test_a_broken_rule_is_told_in_words(self, schema: Any, document: Any, pointer: str, detail: str) -> None:
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)

        assert schema_faults(validator, document, "/attributes") == [Fault(detail, pointer=pointer)]

    def test_a_document_that_fits_has_no_faults(self) -> None:
        assert schema_faults(jsonschema_rs.validator_for({"type": "object"}), {}) == []

    def test_every_broken_rule_is_told(self) -> None:
        validator = jsonschema_rs.validator_for({"required": ["a", "b"], "properties": {"c": {"type": "string"}}})

        assert {fault.pointer for fault in schema_faults(validator, {"c": 1})} == {"/a", "/b", "/c"}

    def test_a_hundred_are_listed(self) -> None:
        validator = jsonschema_rs.validator_for({"items": {"type": "string"}})

        assert len(schema_faults(validator, [0] * (MAX_EXAMINED - 1))) == MAX_FAULTS

    def test_of_a_large_document_only_the_first_is_told_and_soon(self) -> None:
        validator = jsonschema_rs.validator_for({"items": {"required": ["a", "b", "c"]}})
        begun = time.process_time()

        assert [fault.pointer for fault in schema_faults(validator, [{}] * 300_000)] == ["/0/a"]
        assert time.process_time() - begun < 5

    @pytest.mark.parametrize("number", ["9" * 99, "1E+999999999999999999", "1E-999999999999999999"])
    def test_extreme_numbers_are_measured_exactly(self, number: str) -> None:
        validator = jsonschema_rs.validator_for({"exclusiveMinimum": 0, "type": "number"})

        assert schema_faults(validator, parse(number.encode())) == []
