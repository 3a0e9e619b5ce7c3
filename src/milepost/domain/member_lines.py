"""Members as a table: CSV with the columns userId, roles and enterprises, the last two with semicolons between."""

import csv
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from milepost.domain.contract import Identifier
from milepost.domain.directory import Member
from milepost.problems import INVALID_MEMBERS, Fault, Problem

COLUMNS = ("userId", "roles", "enterprises")
MAX_LINES = 1000


class Line(NamedTuple):
    """A line of the table: its number, who it is about, and the membership, or what is wrong with it."""

    number: int
    user_id: str
    member: Member | None
    faults: tuple[str, ...] = ()


def read(content: bytes) -> list[Line]:
    """The lines of a table.

    Raises:
        Problem: `invalid_members` (422), where it is no table of members.
    """
    try:
        text = content.decode("utf-8-sig")
        rows = list(csv.reader(text.splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _no_table(f"it cannot be read as CSV in UTF-8 ({error})") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    if header[:1] != ["userId"] or not set(header) <= set(COLUMNS) or len(set(header)) != len(header):
        raise _no_table(f"its first line must name columns of {', '.join(COLUMNS)}, userId first")
    numbered = [(number, row) for number, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
    if not 1 <= len(numbered) <= MAX_LINES:
        raise _no_table(f"it must have 1 to {MAX_LINES} members, and has {len(numbered)}")
    lines = [_line(number, header, row) for number, row in numbered]
    return _told_of_repeats(lines)


def listed(members: Sequence[Member]) -> list[Line]:
    """Members that are no table, numbered from 1 as its lines would be."""
    lines = [
        Line(n, "", None, ("needs a userId",)) if one.user_id is UNSET else Line(n, one.user_id, one)
        for n, one in enumerate(members, 1)
    ]
    return _told_of_repeats(lines)


def _no_table(reason: str) -> Problem:
    return Problem(INVALID_MEMBERS, f"The body is no table of members: {reason}.", [Fault(reason)])


def _line(number: int, header: list[str], row: list[str]) -> Line:
    cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
    user_id = cells.get("userId", "")
    if len(row) > len(header):
        return Line(number, user_id, None, (f"has more than {len(header)} columns",))
    parts = {name: [one.strip() for one in cells.get(name, "").split(";") if one.strip()] for name in COLUMNS[1:]}
    try:
        msgspec.convert(user_id, Identifier)
        return Line(number, user_id, msgspec.convert(parts, Member))
    except msgspec.ValidationError as error:
        return Line(number, user_id, None, (str(error),))


def _told_of_repeats(lines: list[Line]) -> list[Line]:
    first: dict[str, int] = {}
    told = []
    for line in lines:
        before = first.setdefault(line.user_id, line.number)
        repeated = line.member is not None and before != line.number
        told.append(line._replace(member=None, faults=(f"is about the user of line {before}",)) if repeated else line)
    return told
