"""How the lines of an import are read: strictly, and fast where an export has written them."""

import msgspec
from msgspec import UNSET

from milepost.domain.json_text import parse
from milepost.problems import BODY_TOO_LARGE, INVALID_BODY, Fault, Problem
from milepost.transfer.lines import KINDS, MAX_LINE, READERS, Line, RecordLine


class _Kind(msgspec.Struct):
    kind: str


_kind = msgspec.json.Decoder(_Kind).decode
_record = msgspec.json.Decoder(RecordLine).decode
_encode = msgspec.json.Encoder().encode


def read(text: bytes) -> Line:
    """A line as it was sent.

    Raises:
        Problem: it is no JSON, of no known kind, or does not fit its kind.
    """
    if len(text) > MAX_LINE:
        raise Problem(BODY_TOO_LARGE, f"A line may have at most {MAX_LINE:,} bytes.")
    exported = as_exported(text)
    return _strictly(text) if exported is None else exported


def as_exported(text: bytes) -> RecordLine | None:
    """A record that is written just as an export writes it; None: its line has to be read strictly.

    What is the same when it is written again gives no name twice. Only `attributes` are written as they were sent, and
    so are looked through, as deep in a text as they stand in the line.
    """
    if not text.startswith(b'{"kind":"record"'):
        return None
    try:
        line = _record(text)
        if _encode(line) != text:
            return None
        if line.properties.attributes is not UNSET:
            parse(b"[[%b]]" % bytes(line.properties.attributes))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Problem):
        return None
    return line


def _strictly(text: bytes) -> Line:
    try:
        kind = _kind(text).kind
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parse(text)
        kind = ""
    if kind not in READERS:
        known = ", ".join(KINDS)
        raise Problem(
            INVALID_BODY,
            f"A line is a JSON object whose kind is one of {known}.",
            [Fault(f"must be one of {known}", pointer="/kind")],
        )
    line: Line = READERS[kind].read(text)
    return line
