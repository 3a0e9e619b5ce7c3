"""The record's use-cases: read, replace, patch and erase a user's properties (contract parts 1 and 2)."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.access.policy import Action, Caller, Target, require
from milepost.domain import preconditions
from milepost.domain.contract import GuidedChecklist, UserProperties
from milepost.domain.json_text import Reader, dump, parse
from milepost.domain.preconditions import Preconditions
from milepost.domain.records import Record, changes, checked, replaced, seen, with_what_was_hidden
from milepost.domain.wording import Wording, in_language, in_own_language, language_for
from milepost.journal import queries as journal
from milepost.problems import ORGANIZATION_NOT_FOUND, RECORD_NOT_FOUND, Fault, Problem
from milepost.properties import queries
from milepost.properties.queries import HOME, Erase, Lookup, Save, Situation
from milepost.store import people
from milepost.store.backends import Decision
from milepost.store.batches import Batches
from milepost.store.database import Database, NeedsTransaction

read_properties = Reader(UserProperties)
read_checklist = Reader(GuidedChecklist)
Patch = Callable[[object], object]


class Answer(msgspec.Struct, frozen=True):
    """A record as its reader sees it, the opaque part of its ETag, and the language it is in.

    Of a checklist that a client wrote nobody knows the language: None.
    """

    properties: UserProperties
    tag: str
    language: str | None = None


class Change(msgspec.Struct, frozen=True):
    """One write that was asked for: `apply` makes the new record (None: erase it) from the situation as it is.

    `event_id` and `person_id` are fresh uuids, used for the journal and for a user not seen before. It is answered in
    the language that `accept_language` asks for.
    """

    caller: Caller
    user_id: str
    org_id: str
    event: str
    apply: Callable[[Situation], Record | None]
    now: datetime
    event_id: str
    person_id: str
    conditions: Preconditions = preconditions.NO_CONDITIONS
    accept_language: str | None = None

    @property
    def lookup(self) -> Lookup:
        return Lookup(self.user_id, self.org_id, self.caller.user_id or "")


class Reading(msgspec.Struct, frozen=True):
    """One read that was asked for."""

    caller: Caller
    user_id: str
    org_id: str
    accept_language: str | None = None


def readings(connection: Connection, asked: Sequence[Reading]) -> list[Answer | Exception]:
    """Answer many reads from one statement."""
    lookups = [Lookup(one.user_id, one.org_id, one.caller.user_id or "") for one in asked]
    situations = queries.look_up(connection, lookups)
    return [_answered(one, situation) for one, situation in zip(asked, situations, strict=True)]


def _answered(asked: Reading, situation: Situation) -> Answer | Problem:
    try:
        _require(asked.caller, Action.READ_PROPERTIES, asked.user_id, asked.org_id, situation)
        if situation.current is None:
            raise Problem(RECORD_NOT_FOUND, "Nothing is stored for this user yet; store it with PUT.")
    except Problem as problem:
        return problem
    return shown(situation.current, asked.org_id, situation, asked.accept_language)


def _require(caller: Caller, action: Action, user_id: str, org_id: str, situation: Situation) -> None:
    target = Target(user_id, org_id or None, situation.caller_is_admin, situation.user_is_member)
    require(caller, action, target)


def shown(record: Record, org_id: str, situation: Situation, accept_language: str | None) -> Answer:
    """The record as it is answered for an organization (or HOME: with every step and the roles that are stored)."""
    roles = None if org_id == HOME else situation.roles
    wording = record.wording
    if wording is None:
        return Answer(seen(record, roles), preconditions.opaque_tag(record.version, roles, record.shared))
    language = language_for(wording.languages, accept_language)
    other = None if language == wording.own_language else language
    tag = preconditions.opaque_tag(record.version, roles, record.shared, other)
    return Answer(_read_in(record, roles, language), tag, language)


def _read_in(record: Record, roles: Sequence[str] | None, language: str) -> UserProperties:
    """The record as it is seen with these roles and read in this language of its catalog."""
    properties = seen(record, roles)
    checklist = properties.guided_checklist
    if record.wording is None or checklist is UNSET:
        return properties
    return msgspec.structs.replace(properties, guided_checklist=in_language(checklist, record.wording, language))


class Decided(msgspec.Struct):
    """What becomes of writes that came together: their answers, and what has to be stored."""

    answers: list[Answer | None | Exception] = []
    saves: list[Save] = []
    erasures: list[Erase] = []
    newcomers: dict[str, str] = {}
    events: list[journal.Event] = []


def changes_applied(connection: Connection, asked: Sequence[Change]) -> list[Answer | None | Exception]:
    """Apply many writes in one transaction, in their order, each seeing what those before it did."""
    decided = _decided(connection, asked)
    queries.save(connection, decided.saves, decided.erasures)
    people.add(connection, decided.newcomers)
    journal.append(connection, decided.events)
    return decided.answers


def replacements_applied(connection: Connection, items: Sequence[Change]) -> Decision[list[Answer | None | Exception]]:
    """The same, where nothing but records of known users is replaced: that takes a single statement.

    Raises:
        NeedsTransaction: something else is asked too.
    """
    decided = _decided(connection, items)
    if decided.erasures or decided.newcomers or not all(one.replaces for one in decided.saves):
        raise NeedsTransaction
    if not decided.saves:
        return decided.answers, None
    return decided.answers, lambda connection: queries.replace(connection, decided.saves, decided.events)


def _decided(connection: Connection, asked: Sequence[Change]) -> Decided:
    situations = queries.look_up(connection, [change.lookup for change in asked], for_write=True)
    stored: dict[tuple[str, str], Record | None] = {}
    for change, situation in zip(asked, situations, strict=True):
        stored[change.user_id, change.org_id] = situation.own
        if change.org_id != HOME:
            stored[change.user_id, HOME] = situation.home
    now_stored = dict(stored)
    decided = Decided()
    for change, situation in zip(asked, situations, strict=True):
        key = (change.user_id, change.org_id)
        situation.own = now_stored[key]
        if change.org_id != HOME:
            situation.home = now_stored[change.user_id, HOME]
        try:
            record = _applied(change, situation)
        except Problem as problem:
            decided.answers.append(problem)
            continue
        decided.events.append(_event(change, situation.own, record))
        if situation.person is None:
            decided.newcomers.setdefault(change.user_id, change.person_id)
        now_stored[key] = record
        answer = None if record is None else shown(record, change.org_id, situation, change.accept_language)
        decided.answers.append(answer)
    _add_what_to_store(decided, stored, now_stored)
    return decided


def _applied(change: Change, situation: Situation) -> Record | None:
    _require(change.caller, Action.WRITE_PROPERTIES, change.user_id, change.org_id, situation)
    if change.org_id != HOME and not situation.organization_exists:
        raise Problem(
            ORGANIZATION_NOT_FOUND,
            "There is no such organization; create it with PUT /organizations/{orgId}, or correct orgId.",
            [Fault("names no organization", parameter="orgId")],
        )
    own, current = situation.own, situation.current
    preconditions.require(
        change.conditions,
        current=None if current is None else current.version,
        own=None if own is None else own.version,
    )
    return change.apply(situation)


def _event(change: Change, before: Record | None, after: Record | None) -> journal.Event:
    data = {} if after is None else changes(before, after)
    return journal.Event(
        id=change.event_id,
        at=after.version if after is not None else int(change.now.timestamp() * 1_000_000),
        actor=change.caller.name,
        type=change.event,
        user_id=change.user_id,
        org_id=change.org_id,
        data=data,
    )


def _add_what_to_store(
    decided: Decided,
    stored: dict[tuple[str, str], Record | None],
    now_stored: dict[tuple[str, str], Record | None],
) -> None:
    for (user_id, org_id), record in now_stored.items():
        before = stored[user_id, org_id]
        if record is before:
            continue
        if record is not None:
            decided.saves.append(queries.to_save(user_id, org_id, record, before))
        elif before is not None:
            decided.erasures.append(Erase(user_id, org_id, before.version))


class Properties:
    """The use-cases, each batched with what others ask at the same moment.

    `fit_attributes` raises `invalid_attributes` for a record whose `attributes` break the operator's JSON Schema.
    """

    def __init__(self, database: Database, fit_attributes: Callable[[UserProperties], None]) -> None:
        self.read: Batches[Reading, Answer] = database.batched_read(readings)
        self._write: Batches[Change, Answer | None] = database.batched_write(
            changes_applied, at_once=replacements_applied
        )
        self._fit_attributes = fit_attributes

    async def write(self, change: Change) -> Answer:
        """Apply a change that leaves a record, and answer the record as it then is."""
        answer = await self._write(change)
        if answer is None:
            raise TypeError(f"{change.event} leaves no record")
        return answer

    async def erase(self, change: Change) -> None:
        """Apply a change that leaves none."""
        await self._write(change)

    def fitting(self, properties: UserProperties, user_id: str, now: datetime) -> UserProperties:
        """The record as it may be stored.

        Raises:
            Problem: it breaks a rule of `records.checked` or the operator's schema for `attributes`.
        """
        properties = checked(properties, user_id, now)
        self._fit_attributes(properties)
        return properties

    def patching(
        self, patch: Patch, user_id: str, org_id: str, now: datetime, accept_language: str | None = None
    ) -> Callable[[Situation], Record]:
        """A change that patches the whole record as its caller sees it, in their language."""

        def apply(situation: Situation) -> Record:
            before, roles = _existing(situation, org_id)
            document = parse(queries.encode(shown(before, org_id, situation, accept_language).properties))
            patched = read_properties.read(dump(patch(document)))
            return self._patched(before, patched, roles, user_id, now)

        return apply

    def patching_checklist(
        self, patch: Patch, user_id: str, org_id: str, now: datetime, accept_language: str | None = None
    ) -> Callable[[Situation], Record]:
        """A change that patches `guidedChecklist` alone; what is patched must leave a whole guided checklist."""

        def apply(situation: Situation) -> Record:
            before, roles = _existing(situation, org_id)
            properties = shown(before, org_id, situation, accept_language).properties
            checklist = properties.guided_checklist
            document = None if checklist is UNSET else parse(queries.encode(checklist))
            patched = msgspec.structs.replace(properties, guided_checklist=read_checklist.read(dump(patch(document))))
            return self._patched(before, patched, roles, user_id, now)

        return apply

    def _patched(
        self,
        before: Record,
        patched: UserProperties,
        roles: list[str] | None,
        user_id: str,
        now: datetime,
    ) -> Record:
        fitting = self.fitting(with_what_was_hidden(before, patched, roles), user_id, now)
        return replaced(before, _as_stored(fitting, before.wording), now)


def _existing(situation: Situation, org_id: str) -> tuple[Record, list[str] | None]:
    """The record that a patch starts from, and the roles it is seen with.

    Where the organization has no record of its own, a patch starts from the home record that a read falls back to,
    and the result becomes the organization's own: what one organization changes, another does not see.
    """
    if situation.current is None:
        raise Problem(RECORD_NOT_FOUND, "There is no record to change yet; create it with PUT.")
    return situation.current, None if org_id == HOME else situation.roles


def replacing(properties: UserProperties, now: datetime) -> Callable[[Situation], Record]:
    """A change that creates the record or replaces all of it."""

    def apply(situation: Situation) -> Record:
        before = situation.own
        wording = None if before is None else before.wording
        return replaced(before, _as_stored(properties, wording), now)

    return apply


def _as_stored(properties: UserProperties, wording: Wording | None) -> UserProperties:
    """The record with the catalog's own texts, where its writer was shown a translation of them."""
    checklist = properties.guided_checklist
    if wording is None or checklist is UNSET:
        return properties
    return msgspec.structs.replace(properties, guided_checklist=in_own_language(checklist, wording))


def erasing(situation: Situation) -> None:
    """A change that erases the record."""
    if situation.own is None:
        raise Problem(RECORD_NOT_FOUND, "There is no record of its own here to delete.")
