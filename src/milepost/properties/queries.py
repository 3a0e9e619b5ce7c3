"""The record's SQL: everything a call needs to know in one statement, and what it changed in one more."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Executable,
    Text,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.exc import DBAPIError

from milepost.access.queries import administrations
from milepost.domain.contract import UserProperties
from milepost.domain.progress import Evidence, Progress
from milepost.domain.records import Record, with_shared
from milepost.domain.wording import Wording
from milepost.journal import queries as journal
from milepost.store.database import Conflict, as_rows, insert_rows, rows
from milepost.store.engines import sqlstate
from milepost.store.schema import member_roles, members, organizations, people, properties, shared_completions
from milepost.store.wordings import Edition, edition, wordings

HOME = ""
"""The organization id under which a user's home record stands."""

decode_progress = msgspec.json.Decoder(Progress).decode
decode_evidence: Callable[[str], Evidence | None] = msgspec.json.Decoder(Evidence | None).decode
decode = msgspec.json.Decoder(UserProperties).decode
encode = msgspec.json.Encoder().encode


class Lookup(NamedTuple):
    """What a call is about: a user's record under an organization (or HOME), and which user asks ('' for none)."""

    user_id: str
    org_id: str
    caller_id: str


class Situation(msgspec.Struct):
    """Everything that a call's answer depends on, as one statement saw it."""

    own: Record | None = None
    home: Record | None = None
    roles: list[str] = []
    user_is_member: bool = False
    caller_is_admin: bool = False
    organization_exists: bool = False
    person: str | None = None
    caller_person: str | None = None
    shared: dict[str, dict[str, Evidence | None]] = {}

    @property
    def current(self) -> Record | None:
        """What a read answers: the organization's own record, else the home record."""
        return self.own or self.home


@cache
def _statement(dialect: str, *, for_write: bool) -> Executable:
    asked = rows(dialect, "asked", n=BigInteger, user_id=Text, org_id=Text, caller_id=Text)
    parts = [
        select(
            asked.c.n,
            literal_column("'record'").label("kind"),
            properties.c.org_id,
            properties.c.body,
            properties.c.version,
            properties.c.progress,
        )
        .join(properties, properties.c.user_id == asked.c.user_id)
        .where(properties.c.org_id.in_([asked.c.org_id, literal_column("''")])),
        select(
            asked.c.n,
            literal_column("'shared'"),
            shared_completions.c.step_id,
            shared_completions.c.evidence,
            null(),
            shared_completions.c.enterprise_id,
        )
        .select_from(asked)
        .join(shared_completions, shared_completions.c.org_id == asked.c.org_id),
        select(asked.c.n, literal_column("'role'"), member_roles.c.role, null(), null(), null())
        .join(member_roles, member_roles.c.user_id == asked.c.user_id)
        .where(member_roles.c.org_id == asked.c.org_id),
        select(asked.c.n, literal_column("'member'"), null(), null(), null(), null())
        .join(members, members.c.user_id == asked.c.user_id)
        .where(members.c.org_id == asked.c.org_id),
        select(asked.c.n, literal_column("'admin'"), null(), null(), null(), null())
        .join(administrations, administrations.c.user_id == asked.c.caller_id)
        .where(administrations.c.org_id == asked.c.org_id),
    ]
    if for_write:
        parts += [
            select(asked.c.n, literal_column("'organization'"), null(), null(), null(), null())
            .join(organizations, organizations.c.org_id == asked.c.org_id),
            select(asked.c.n, literal_column("'person'"), people.c.id, null(), null(), null())
            .join(people, people.c.user_id == asked.c.user_id),
            select(asked.c.n, literal_column("'caller'"), people.c.id, null(), null(), null())
            .join(people, people.c.user_id == asked.c.caller_id),
        ]  # fmt: skip
    return union_all(*parts)


def look_up(connection: Connection, lookups: Sequence[Lookup], *, for_write: bool = False) -> list[Situation]:
    """Answer each look-up, all from one statement and so from one moment.

    The wording of catalogs, which never changes, takes a second one where it is not known yet.
    """
    statement = _statement(connection.dialect.name, for_write=for_write)
    situations = [Situation(roles=[], shared={}) for _ in lookups]
    for n, kind, text, body, version, more in connection.execute(
        statement, {"asked": as_rows((n, *lookup) for n, lookup in enumerate(lookups))}
    ):
        _learn(situations[n], kind, text, (body, version, more))
    known = _wordings(connection, (record for each in situations for record in (each.own, each.home)))
    for lookup, situation in zip(lookups, situations, strict=True):
        situation.roles.sort()
        situation.own, situation.home = _worded(situation.own, known), _worded(situation.home, known)
        if lookup.org_id == HOME:
            situation.own, situation.home = situation.home, None
        elif situation.shared and situation.own is not None:
            situation.own = with_shared(situation.own, situation.shared)
    return situations


def _learn(situation: Situation, kind: str, text: str, rest: tuple[str, int, str | None]) -> None:
    """Take one row of the statement in."""
    match kind:
        case "record" if text == HOME:
            situation.home = _record(*rest)
        case "record":
            situation.own = _record(*rest)
        case "shared":
            place = rest[2] or ""
            situation.shared.setdefault(place, {})[text] = decode_shared(place, rest[0])
        case "role":
            situation.roles.append(text)
        case "member":
            situation.user_is_member = True
        case "admin":
            situation.caller_is_admin = True
        case "organization":
            situation.organization_exists = True
        case "person":
            situation.person = text
        case "caller":
            situation.caller_person = text


def _record(body: str, version: int, progress: str | None) -> Record:
    return Record(decode(body), version, None if progress is None else decode_progress(progress))


def decode_shared(place: str, evidence: str) -> Evidence | None:
    """What is done for all there; None: it was taken back. The row says where, its evidence does not."""
    why = decode_evidence(evidence)
    return None if why is None else msgspec.structs.replace(why, shared=True, enterprise_id=place)


def _wordings(connection: Connection, records: Iterable[Record | None]) -> Mapping[Edition, Wording]:
    made = {edition(record.progress) for record in records if record is not None and record.progress is not None}
    return wordings.of(connection, made)


def _worded(record: Record | None, known: Mapping[Edition, Wording]) -> Record | None:
    if record is None or record.progress is None:
        return record
    return msgspec.structs.replace(record, wording=known.get(edition(record.progress)))


def worded(connection: Connection, record: Record) -> Record:
    """The record with the texts of the catalog that its progress names."""
    if record.progress is None:
        return record
    made_from = edition(record.progress)
    return msgspec.structs.replace(record, wording=wordings.of(connection, [made_from]).get(made_from))


class Save(NamedTuple):
    """A record as it shall be stored, in place of the version it `replaces` (0: there was none)."""

    user_id: str
    org_id: str
    body: str
    version: int
    replaces: int
    progress: str | None = None


def to_save(user_id: str, org_id: str, record: Record, before: Record | None) -> Save:
    """A record in place of the one that was read before it."""
    progress = None if record.progress is None else encode(record.progress).decode()
    replaces = 0 if before is None else before.version
    return Save(user_id, org_id, encode(record.properties).decode(), record.version, replaces, progress)


class Erase(NamedTuple):
    """A record that shall go, if it is still this version."""

    user_id: str
    org_id: str
    version: int


@cache
def _save(dialect: str) -> Executable:
    new = rows(
        dialect,
        "records",
        user_id=Text,
        org_id=Text,
        body=Text,
        version=BigInteger,
        replaces=BigInteger,
        progress=Text,
    )
    statement = insert_rows(dialect, properties, Save._fields, new)
    written = {name: statement.excluded[name] for name in ("body", "version", "progress")}
    return statement.on_conflict_do_update(
        index_elements=["user_id", "org_id"],
        set_={**written, "replaces": 0},
        where=properties.c.version == statement.excluded.replaces,
    ).returning(properties.c.replaces)


@cache
def _replace(dialect: str) -> Executable:
    """PostgreSQL: replaces records and writes events, or fails with DIVISION_BY_ZERO where one is not there as read."""
    new = rows(
        dialect, "records",
        user_id=Text, org_id=Text, body=Text, version=BigInteger, replaces=BigInteger, progress=Text,
    )  # fmt: skip
    replaced = (
        update(properties)
        .values(body=new.c.body, version=new.c.version, progress=new.c.progress)
        .where(properties.c.user_id == new.c.user_id, properties.c.org_id == new.c.org_id)
        .where(properties.c.version == new.c.replaces)
        .returning(properties.c.user_id)
        .cte("replaced")
    )
    told = journal.appending(dialect).cte("told")
    all_are = case((func.count() == bindparam("expected"), 1), else_=0)
    return select(literal_column("1").op("/")(all_are)).select_from(replaced).add_cte(told)


REPLACE = (
    update(properties)
    .values({name: bindparam(f"new_{name}") for name in ("body", "version", "progress")})
    .where(properties.c.user_id == bindparam("user"), properties.c.org_id == bindparam("org"))
    .where(properties.c.version == bindparam("expected"))
)

DIVISION_BY_ZERO = "22012"


def replace(connection: Connection, saves: Sequence[Save], events: Sequence[journal.Event]) -> None:
    """Store records in place of others, with the events that tell of it; on PostgreSQL with one statement.

    Rows go in the order of their keys, as they do in `save`.

    Raises:
        Conflict: another transaction changed one of them since it was read. Nothing is stored.
    """
    if connection.dialect.name == "postgresql":
        records = {"records": as_rows(sorted(saves)), "expected": len(saves), "events": journal.as_events(events)}
        try:
            connection.execute(_replace(connection.dialect.name), records)
        except DBAPIError as error:
            if sqlstate(error) == DIVISION_BY_ZERO:
                raise Conflict from error
            raise
        return
    done = connection.execute(
        REPLACE,
        [
            {
                "user": one.user_id,
                "org": one.org_id,
                "expected": one.replaces,
                "new_body": one.body,
                "new_version": one.version,
                "new_progress": one.progress,
            }
            for one in sorted(saves)
        ],
    )
    if done.rowcount != len(saves):
        raise Conflict
    journal.append(connection, events)


HELD = (
    select(organizations.c.org_id)
    .where(organizations.c.org_id.in_(bindparam("orgs", expanding=True)))
    .order_by(organizations.c.org_id)
    .with_for_update(read=True, key_share=True)
)


ERASE = (
    delete(properties)
    .where(properties.c.user_id == bindparam("user"), properties.c.org_id == bindparam("org"))
    .where(properties.c.version == bindparam("expected"))
)


def _hold_organizations(connection: Connection, org_ids: Collection[str]) -> None:
    """Keep the organizations of new records from being deleted before the transaction ends."""
    if org_ids and len(connection.execute(HELD, {"orgs": sorted(org_ids)}).all()) != len(org_ids):
        raise Conflict


def save(connection: Connection, saves: Sequence[Save], erasures: Sequence[Erase] = ()) -> None:
    """Store and erase records.

    Rows go in the order of their keys, so that two transactions never wait for each other in a ring.

    Raises:
        Conflict: another transaction changed one of them since it was read, or deleted its organization.
    """
    if saves:
        _hold_organizations(connection, {one.org_id for one in saves if not one.replaces and one.org_id != HOME})
        written = (
            connection.execute(_save(connection.dialect.name), {"records": as_rows(sorted(saves))}).scalars().all()
        )
        # A row that was replaced says 0; one that still says what it was to replace has been inserted in its place.
        if len(written) != len(saves) or any(written):
            raise Conflict
    for user_id, org_id, version in sorted(erasures):
        erased = connection.execute(ERASE, {"user": user_id, "org": org_id, "expected": version})
        if erased.rowcount != 1:
            raise Conflict
