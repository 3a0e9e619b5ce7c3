"""The whole of the data as NDJSON, out and in. Service keys and the journal stay where they are."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.directory import service as directory
from milepost.directory.memberships import Membership
from milepost.directory.service import Context
from milepost.domain.contract import UserProperties
from milepost.domain.directory import Enterprise, Member, Organization, Role
from milepost.domain.json_text import MAX_FAULTS
from milepost.domain.records import checked, microseconds
from milepost.journal import queries as journal
from milepost.problems import INVALID_BODY, INVALID_CATALOG, Problem
from milepost.store import people as internal_ids
from milepost.store.database import Database, refuses_data
from milepost.transfer import left_out, queries, reading
from milepost.transfer.left_out import Bad, Numbered, fault, refused
from milepost.transfer.lines import KINDS, CatalogLine, Key, Line, MemberLine, PastLine, PersonLine, RecordLine
from milepost.transfer.onboarding import store_catalogs, store_shared, store_signals
from milepost.transfer.records import store_records

PAGE = 500
"""How many lines an export reads at a time."""


Store = Callable[[Connection, Sequence[Numbered[Any]], Context], list[Bad]]


def read(
    numbered: Iterable[tuple[int, bytes]], now: datetime, fit_attributes: Callable[[UserProperties], None]
) -> tuple[list[Numbered[Line]], list[Bad]]:
    """Lines of text, checked as far as that goes without the database; blank ones are left out.

    `fit_attributes` raises `invalid_attributes` for a record whose `attributes` break the operator's JSON Schema.
    """
    good: list[Numbered[Line]] = []
    bad = []
    for number, line in numbered:
        # Without its end, what a fault says of places in the text holds.
        text = line.rstrip()
        if not text:
            continue
        place = ""
        try:
            entry = reading.read(text)
            _require_sound(entry, now)
            if isinstance(entry, RecordLine):
                place = "/properties"
                entry.properties = checked(entry.properties, entry.properties.user_id, now)
                fit_attributes(entry.properties)
        except Problem as problem:
            bad.append(left_out.bad(number, problem, place))
        else:
            good.append(Numbered(number, entry))
    return good, bad


def _require_sound(entry: Line, now: datetime) -> None:
    faults = list(islice(entry.faults(now), MAX_FAULTS))
    if faults:
        kind = INVALID_CATALOG if isinstance(entry, CatalogLine) else INVALID_BODY
        raise Problem(kind, "The line breaks a rule of the contract.", faults)


async def import_lines(database: Database, numbered: Sequence[Numbered[Line]], context: Context) -> list[Bad]:
    """Import lines in one transaction, whatever their order; answers those that were left out.

    Where the database refuses a line that passed every check, its neighbours are imported without it.

    Raises:
        Unavailable: the database does not answer.
    """
    ordered = sorted(numbered, key=lambda line: KINDS.index(line.entry.kind))
    try:
        return await database.write(lambda connection: store(connection, ordered, context), patient=True)
    except DBAPIError as error:
        if not refuses_data(error):
            raise
        if len(ordered) == 1:
            reason = str(error.orig).splitlines()[0]
            return [Bad(ordered[0].number, INVALID_BODY.name, f"The database refuses the line: {reason}")]
    half = len(ordered) // 2
    bad = await import_lines(database, ordered[:half], context)
    return bad + await import_lines(database, ordered[half:], context)


def store(connection: Connection, numbered: Iterable[Numbered[Line]], context: Context) -> list[Bad]:
    """Store lines, those that others refer to first; answers those that were left out."""
    of_kind: dict[str, list[Numbered[Line]]] = {kind: [] for kind in KINDS}
    for line in numbered:
        of_kind[line.entry.kind].append(line)
    return [bad for kind, some in of_kind.items() if some for bad in STORES[kind](connection, some, context)]


def fill(connection: Connection, numbered: Iterable[Numbered[Line]], context: Context) -> list[Bad] | None:
    """Store lines where nothing is stored yet; None where something is, which stays as it is."""
    return store(connection, numbered, context) if queries.is_empty(connection) else None


def _one_by_one(put: Callable[[Connection, Context, Any], object]) -> Store:
    """Store entries of the directory as its API does: a use-case there checks everything before it writes."""

    def store_each(connection: Connection, some: Sequence[Numbered[Any]], context: Context) -> list[Bad]:
        bad = []
        for number, entry in some:
            try:
                put(connection, context, entry)
            except Problem as problem:
                bad.append(refused(number, problem))
        return bad

    return store_each


def _store_members(connection: Connection, some: Sequence[Numbered[MemberLine]], context: Context) -> list[Bad]:
    bad = []
    asked: dict[tuple[str, str], tuple[int, Membership]] = {}

    def put() -> None:
        outcomes = directory.put_members(connection, context, [membership for _, membership in asked.values()])
        for (number, _), outcome in zip(asked.values(), outcomes, strict=True):
            if isinstance(outcome, Problem):
                bad.append(refused(number, outcome))
        asked.clear()

    for number, entry in some:
        member = Member(roles=entry.roles, enterprises=entry.enterprises, since=entry.since)
        membership = Membership(entry.user_id, entry.org_id, member)
        if membership.key in asked:
            put()
        asked[membership.key] = (number, membership)
    put()
    return bad


def _store_people(connection: Connection, some: Sequence[Numbered[PersonLine]], _: Context) -> list[Bad]:
    given = {line.entry.user_id: str(line.entry.id) for line in some}
    internal_ids.add(connection, given)
    known = queries.person_ids(connection, list(given))
    return [
        fault(line.number, "A user's internal id never changes.", "/id", "must be the id that the user has")
        for line in some
        if known[line.entry.user_id] != str(line.entry.id)
    ]


def _store_past(connection: Connection, some: Sequence[Numbered[PastLine]], context: Context) -> list[Bad]:
    bad, ended = [], []
    for number, entry in some:
        past = queries.Past(
            entry.user_id,
            entry.org_id,
            entry.enterprise_id,
            microseconds(entry.since),
            microseconds(entry.until),
        )
        if past.since <= past.until <= context.at:
            ended.append(past)
        else:
            detail = "The membership has not ended."
            bad.append(fault(number, detail, "/until", "must lie after since, and not in the future"))
    events = [
        journal.Event(
            id=context.new_id(),
            at=context.at,
            actor=context.caller.name,
            type="member.remembered",
            user_id=past.user_id,
            org_id=past.org_id,
            data={"enterpriseId": past.enterprise_id},
        )
        for past in queries.remember(connection, ended)
    ]
    journal.append(connection, events)
    return bad


STORES: dict[str, Store] = {
    "organization": _one_by_one(
        lambda connection, context, line: directory.put_organization(
            connection, context, line.org_id, Organization(name=line.name)
        )
    ),
    "enterprise": _one_by_one(
        lambda connection, context, line: directory.put_enterprise(
            connection, context, line.org_id, line.enterprise_id, Enterprise(name=line.name)
        )
    ),
    "role": _one_by_one(
        lambda connection, context, line: directory.put_role(
            connection, context, line.org_id, line.role, Role(title=line.title, admin=line.admin)
        )
    ),
    "catalog": store_catalogs,
    "person": _store_people,
    "member": _store_members,
    "past": _store_past,
    "signal": store_signals,
    "shared": store_shared,
    "record": store_records,
}


async def export(
    database: Database, kind: str = KINDS[0], after: Key | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Every line that follows the one of this kind and key, page by page, in an order that stays the same.

    Answers each page's kind and lines. A line is whole as it stood when its page was read; the pages are not of one
    moment.

    Raises:
        Unavailable: the database does not answer.
    """
    for each in KINDS[KINDS.index(kind) :]:
        while page := await database.read(partial(queries.PAGES[each], after=after, limit=PAGE), patient=True):
            after = page[-1][0]
            yield each, [text for _, text in page]
        after = None
