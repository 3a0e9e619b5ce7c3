"""JSON as text: read as strictly as RFC 8259 (and I-JSON's rule on names) asks, every fault found and told."""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from enum import Enum
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import jiter
import msgspec

from milepost.problems import INVALID_BODY, MALFORMED_JSON, Fault, Problem

MAX_DEPTH = 200
"""How many arrays and objects may lie around a value; jiter's own limit."""

MAX_FAULTS = 100
"""How many faults an answer lists."""

MAX_COUNTED = 1_000
"""How many faults are looked for; a body with more is refused all the same."""

MAX_NAME = 64
"""Characters of a client's own text that a sentence repeats; also the longest name that is compared with known ones."""

MAX_TOKEN = 200
"""Characters of a name that a JSON Pointer repeats."""

MAX_SENTENCE = 300
"""Characters of a fault's sentence."""

T = TypeVar("T")
Path = tuple[str | int, ...]

dump: Callable[[Any], bytes] = msgspec.json.Encoder(decimal_format="number").encode
"""Write what `parse` read: integers of any size and decimals come back digit for digit."""


def parse(body: bytes) -> Any:
    """Read one JSON text (RFC 8259) of dict, list, str, int, Decimal, bool and None.

    Refused beyond its grammar are a name given twice in one object and half a surrogate pair (RFC 7493, sections 2.1
    and 2.3), nesting beyond MAX_DEPTH, integers of more than 4,300 digits, and exponents that no Decimal can hold.

    Raises:
        Problem: `malformed_json`, with what is wrong and where.
    """
    try:
        return jiter.from_json(body, catch_duplicate_keys=True, float_mode="decimal", allow_inf_nan=False)
    except ValueError as error:
        raise Problem(MALFORMED_JSON, _explanation(body, str(error))) from None


REASONS = {
    "EOF while parsing a list": "it ends inside an array",
    "EOF while parsing a string": "it ends inside a string",
    "EOF while parsing a value": "it ends before a value is complete",
    "EOF while parsing an object": "it ends inside an object",
    "control character (\\u0000-\\u001F) found while parsing a string": "a string has an unescaped control character",
    "expected `,` or `]`": "a comma or the end of the array is expected",
    "expected `,` or `}`": "a comma or the end of the object is expected",
    "expected `:`": "a colon is expected after a member's name",
    "expected ident": "a word other than true, false and null stands outside of quotes",
    "expected value": "a value is expected",
    "invalid escape": "a string has an escape that JSON does not know",
    "invalid number": "a number is not written as JSON writes numbers",
    "invalid unicode code point": "the text is not valid UTF-8",
    "key must be a string": "a member's name must be a string in double quotes",
    "lone leading surrogate in hex escape": "a string has an escaped surrogate without its other half",
    "number out of range": "an integer has more than 4,300 digits",
    "recursion limit exceeded": f"a value lies within more than {MAX_DEPTH} arrays and objects",
    "trailing characters": "only white space may follow the JSON value",
    "trailing comma": "a comma must be followed by another item or member",
    "unexpected end of hex escape": "a string has an escaped surrogate without its other half",
}
"""What jiter says, in words for those who sent the text."""

DUPLICATE = "Detected duplicate key "
UNREPRESENTABLE = "Internal error"


def _explanation(body: bytes, message: str) -> str:
    if not body.strip():
        return "A JSON body is expected, but there is none."
    reason, _, position = message.rpartition(" at line ")
    line, column = (int(number) for number in position.split(" column "))
    if reason.startswith(DUPLICATE):
        name = shortened(reason.removeprefix(DUPLICATE)[1:-1], MAX_NAME)
        reason = f"an object has the member {dump(name).decode()} twice"
    elif reason.startswith(UNREPRESENTABLE):
        reason = "a number's exponent is too far from zero"
    # jiter counts bytes; whoever looks for the place in an editor counts characters.
    before = body.split(b"\n")[line - 1][:column].decode(errors="replace")
    return f"The JSON cannot be read at line {line}, column {max(len(before), 1)}: {REASONS.get(reason, reason)}."


class Reader(Generic[T]):
    """Reads bodies of one type, a msgspec Struct. `msgspec.Raw` members keep the exact bytes that were sent.

    msgspec alone decides what fits, and stops at the first fault. A body that it refuses is taken apart along the
    type, and msgspec asked about each part again, so that every fault is found and nothing that fits is blamed. (A
    JSON Schema validator would find them too, but builds all of its errors before it gives the first: a megabyte of
    `{}` in an array of steps takes it half a minute and gigabytes.)
    """

    def __init__(self, type_: type[T]) -> None:
        self._type = type_
        self._decode = msgspec.json.Decoder(type_).decode

    def read(self, body: bytes) -> T:
        """Read a body.

        Raises:
            Problem: `malformed_json`, or `invalid_body` with a fault for each thing that does not fit the type, of
                which at most MAX_FAULTS are listed.
        """
        document = parse(body)
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            faults = _faults(document, self._type, (), str(error))
            raise _invalid(list(islice(faults, MAX_COUNTED + 1))) from None


def _invalid(faults: list[Fault]) -> Problem:
    count = len(faults)
    if count == 1:
        detail = f"{faults[0].pointer or 'The body'} {faults[0].detail}".rstrip(".")
        detail += "" if detail.endswith("?") else "."
    elif count <= MAX_FAULTS:
        detail = f"The body has {count} faults, listed in errors."
    else:
        number = f"more than {MAX_COUNTED:,}" if count > MAX_COUNTED else f"{count}"
        detail = f"The body has {number} faults; the first {MAX_FAULTS} are listed in errors."
    return Problem(INVALID_BODY, detail, faults[:MAX_FAULTS])


def _faults(value: Any, wanted: Any, path: Path, refusal: str) -> Iterator[Fault]:
    """The faults of a value that msgspec refused: those of its parts, else the refusal itself."""
    found = False
    for kind, constraints in _alternatives(wanted):
        for fault in _part_faults(value, kind, constraints, path):
            found = True
            yield fault
    if not found:
        yield _own_fault(refusal, wanted, path)


def _alternatives(wanted: Any, constraints: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The types that a value may have, each with its `msgspec.Meta`."""
    origin = get_origin(wanted)
    if origin is Annotated:
        inner, *own = get_args(wanted)
        yield from _alternatives(inner, (*constraints, *own))
    elif origin in {Union, UnionType}:
        for alternative in get_args(wanted):
            yield from _alternatives(alternative, constraints)
    else:
        yield wanted, constraints


def _part_faults(value: Any, kind: Any, constraints: tuple[Any, ...], path: Path) -> Iterator[Fault]:
    origin = get_origin(kind)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        if config.tag is None or value.get(config.tag_field) == config.tag:
            yield from _member_faults(value, kind, path)
    elif isinstance(value, dict) and origin is dict:
        for name, member in value.items():
            yield from _faults_of_part(member, get_args(kind)[1], (*path, name))
    elif isinstance(value, list) and origin is list:
        limit = min((meta.max_length for meta in constraints if meta.max_length is not None), default=len(value))
        if len(value) > limit:
            yield Fault(f"must have at most {counted(limit, 'item')}, not {len(value)}", pointer=json_pointer(path))
        for index, item in enumerate(value[:limit]):
            yield from _faults_of_part(item, get_args(kind)[0], (*path, index))


def _member_faults(value: dict[str, Any], struct: type[msgspec.Struct], path: Path) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    config = struct.__struct_config__
    for name, member in value.items():
        if name in fields:
            yield from _faults_of_part(member, fields[name].type, (*path, name))
        elif config.forbid_unknown_fields and name != config.tag_field:
            yield _unknown(name, list(fields), path)
    for name, field in fields.items():
        if field.required and name not in value:
            yield Fault("is required", pointer=json_pointer((*path, name)))


def _faults_of_part(value: Any, wanted: Any, path: Path) -> Iterator[Fault]:
    try:
        msgspec.json.decode(dump(value), type=wanted)
    except msgspec.ValidationError as error:
        yield from _faults(value, wanted, path, str(error))


def _unknown(name: str, known: list[str], path: Path) -> Fault:
    if len(name) > MAX_TOKEN:
        detail = f"has an unknown member whose name begins with {shortened(name, MAX_NAME)}"
        return Fault(detail, pointer=json_pointer(path))
    by_lower_case = {each.lower(): each for each in known}
    # Comparing takes the square of the length, and no known name is long.
    close = get_close_matches(name.lower(), by_lower_case, n=1) if len(name) <= MAX_NAME else []
    hint = f"did you mean {by_lower_case[close[0]]}?" if close else f"known here: {', '.join(known)}"
    return Fault(shortened(f"is not a known member; {hint}", MAX_SENTENCE), pointer=json_pointer((*path, name)))


WORDS = {
    "array": "an array",
    "bool": "true or false",
    "date": "a date",
    "datetime": "a string with a date and time",
    "float": "a decimal number",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
    "uuid": "a string with a UUID",
}
"""msgspec's names of types, in words for those who sent the value."""

SENTENCES = {
    "Expected `datetime` with a timezone component": "needs an offset, such as 2026-01-31T09:30:00Z (RFC 3339)",
    "Invalid RFC3339 encoded datetime": "must be a date and time such as 2026-01-31T09:30:00Z (RFC 3339)",
    "Invalid UUID": "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000",
    "Number out of range": "is a number too large or too small",
}

LIMIT = re.compile(r"([<>])= (\S+)$")
STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def _own_fault(refusal: str, wanted: Any, path: Path) -> Fault:
    message, _, place = refusal.partition(" - at `$")
    steps = [match[1] or int(match[2]) for match in STEP.finditer(place.split("[...]")[0].rstrip("`"))]
    options = [option for kind, _ in _alternatives(wanted) for option in _options(kind)]
    if options and not steps:
        sentence = f"must be one of {', '.join(map(str, options))}"
    elif message in SENTENCES:
        sentence = SENTENCES[message]
    else:
        named = re.sub(r"`([^`]+)`", lambda match: in_words(match[1].split(" | "), WORDS), message)
        bounded = LIMIT.sub(lambda match: f"at {'least' if match[1] == '>' else 'most'} {match[2]}", named)
        expected = bounded.replace("Expected ", "must be ").replace(", got ", ", not ")
        sentence = expected if expected.startswith("must") else f"does not fit ({expected})"
    return Fault(shortened(sentence, MAX_SENTENCE), pointer=json_pointer((*path, *steps)))


def _options(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [option.value for option in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def in_words(names: list[str], words: dict[str, str]) -> str:
    return " or ".join(words.get(name, name) for name in names)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def json_pointer(path: Path) -> str:
    """A JSON Pointer (RFC 6901); it stops above a name that is too long to be repeated."""
    pointer = ""
    for step in path:
        if len(str(step)) > MAX_TOKEN:
            break
        pointer += "/" + str(step).replace("~", "~0").replace("/", "~1")
    return pointer
