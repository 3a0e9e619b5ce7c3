"""The SQL of checklists: the signals that count, what was done for all, and what is known of a user's past."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Text,
    and_,
    false,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from milepost.domain.conditions import SignalCount
from milepost.domain.progress import Evidence, Progress
from milepost.domain.records import StepStatus, moment
from milepost.properties.queries import decode_evidence, decode_progress, decode_shared
from milepost.store.database import Conflict, as_rows, rows, upsert
from milepost.store.schema import (
    current_catalogs,
    enterprises,
    member_enterprises,
    organizations,
    properties,
    shared_completions,
    signals,
)

EVERYONE = ""
"""The user id of a signal without a subject: it counts for every member of the enterprise or organization."""

TAKEN_BACK = "null"
"""The evidence of a step that was done for all and is so no more."""


def prior_enterprises(connection: Connection, user_id: str, enterprise_id: str) -> list[str]:
    """The enterprises, in any organization, other than this one, that the user is or was a member of."""
    found = select(member_enterprises.c.enterprise_id).where(
        member_enterprises.c.user_id == user_id, member_enterprises.c.enterprise_id != enterprise_id
    )
    return sorted(set(connection.execute(found).scalars()))


def is_enterprise_of(connection: Connection, org_id: str, enterprise_id: str) -> bool:
    found = select(enterprises.c.org_id).where(
        enterprises.c.enterprise_id == enterprise_id, enterprises.c.org_id == org_id
    )
    return connection.execute(found).first() is not None


def keep_directory(connection: Connection, org_id: str) -> None:
    """Keep an organization's directory, and what counts for all of its members, as it is until the transaction ends.

    Many may keep it at the same time. Nobody waits for it: a user is held already, and whoever holds the organization
    may be waiting for that user.

    Raises:
        Conflict: somebody else holds the organization.
    """
    kept = select(organizations.c.org_id).where(organizations.c.org_id == org_id)
    if connection.execute(kept.with_for_update(read=True, skip_locked=True)).first() is None:
        raise Conflict


def share(connection: Connection, org_id: str, enterprise_id: str, step_id: str, evidence: Evidence) -> bool:
    """Keep that a step is done for all of an enterprise ('' for the whole organization), unless that is gone: False.

    Of what several have done, the earliest is kept.
    """
    place = select(organizations.c.org_id).where(organizations.c.org_id == org_id)
    if enterprise_id:
        here = (enterprises.c.org_id == organizations.c.org_id) & (enterprises.c.enterprise_id == enterprise_id)
        place = place.join(enterprises, here)
    # Held, so that neither is deleted before this is committed, and would leave it behind.
    if connection.execute(place.with_for_update(read=True, key_share=True)).first() is None:
        return False
    key = {"org_id": org_id, "enterprise_id": enterprise_id, "step_id": step_id}
    text = msgspec.json.encode(evidence).decode()
    # Where there is a row already, also one that somebody else is about to commit, it stays for now, and is held.
    if not upsert(connection, shared_completions, key, {"evidence": text}, false()):
        row = _row(org_id, enterprise_id, step_id)
        known = decode_evidence(connection.execute(select(shared_completions.c.evidence).where(row)).scalar_one())
        if known is None or msgspec.structs.replace(known, shared=True).gives_way_to(evidence):
            connection.execute(update(shared_completions).where(row).values(evidence=text))
    return True


def unshare(connection: Connection, org_id: str, enterprise_id: str, step_id: str) -> bool:
    """Take that back: an admin has reset the step. The row stays, for those who have stored that it was done.

    False where it was not done for all.
    """
    row = _row(org_id, enterprise_id, step_id)
    return connection.execute(update(shared_completions).where(row).values(evidence=TAKEN_BACK)).rowcount > 0


def _row(org_id: str, enterprise_id: str, step_id: str) -> ColumnElement[bool]:
    place = and_(shared_completions.c.org_id == org_id, shared_completions.c.enterprise_id == enterprise_id)
    return place & (shared_completions.c.step_id == step_id)


def with_checklists(connection: Connection, org_id: str, after: str, limit: int) -> Sequence[str]:
    """The users, in the order of their ids, who have a checklist that the server made in the organization."""
    found = (
        select(properties.c.user_id)
        .where(properties.c.org_id == org_id, properties.c.user_id > after, properties.c.progress.is_not(None))
        .order_by(properties.c.user_id)
        .limit(limit)
    )
    return connection.execute(found).scalars().all()


def under_the_platforms_catalog(
    connection: Connection, after: tuple[str, str], limit: int
) -> Sequence[tuple[str, str]]:
    """The (organization, user), in that order, with a checklist that the server made from the platform's catalog."""
    own = select(current_catalogs.c.org_id)
    place = tuple_(properties.c.org_id, properties.c.user_id)
    found = (
        select(properties.c.org_id, properties.c.user_id)
        .where(place > after, properties.c.progress.is_not(None), properties.c.org_id.not_in(own))
        .order_by(properties.c.org_id, properties.c.user_id)
        .limit(limit)
    )
    return [(org_id, user_id) for org_id, user_id in connection.execute(found)]


class Stored(msgspec.Struct, frozen=True):
    """Where the steps of a checklist that the server made stand, as they are stored."""

    steps: Sequence[StepStatus]
    progress: Progress


class _Checklist(msgspec.Struct, frozen=True):
    steps: list[StepStatus] = []


class _Body(msgspec.Struct, rename="camel", frozen=True):
    guided_checklist: _Checklist | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


@cache
def _stored(dialect: str) -> Executable:
    asked = rows(dialect, "asked", user_id=Text, org_id=Text)
    places = rows(dialect, "places", org_id=Text)
    nothing: ColumnElement[str] = literal_column("''")
    return union_all(
        select(asked.c.org_id, asked.c.user_id, nothing.label("step_id"), properties.c.body, properties.c.progress)
        .select_from(asked)
        .join(properties, (properties.c.user_id == asked.c.user_id) & (properties.c.org_id == asked.c.org_id))
        .where(properties.c.progress.is_not(None)),
        select(
            shared_completions.c.org_id,
            nothing,
            shared_completions.c.step_id,
            shared_completions.c.evidence,
            shared_completions.c.enterprise_id,
        )
        .select_from(places)
        .join(shared_completions, shared_completions.c.org_id == places.c.org_id),
    )


def stored_steps(
    connection: Connection, asked: Collection[tuple[str, str]]
) -> tuple[dict[tuple[str, str], Stored], dict[str, dict[str, dict[str, Evidence | None]]]]:
    """Of these (organization, user), those with a checklist that the server made, and by organization what is done
    for all there. Much less is read of each than a look-up does.
    """
    parameters = {
        "asked": as_rows((user_id, org_id) for org_id, user_id in asked),
        "places": as_rows([one] for one in sorted({org_id for org_id, _ in asked})),
    }
    found: dict[tuple[str, str], Stored] = {}
    sharing: dict[str, dict[str, dict[str, Evidence | None]]] = {}
    for org_id, user_id, step_id, text, more in connection.execute(_stored(connection.dialect.name), parameters):
        if step_id:
            sharing.setdefault(org_id, {}).setdefault(more, {})[step_id] = decode_shared(more, text)
        elif (checklist := _decode_body(text).guided_checklist) is not None:
            found[org_id, user_id] = Stored(checklist.steps, decode_progress(more))
    return found, sharing


class Scope(NamedTuple):
    """Whose signals are asked for: a user's in an organization, for one enterprise of it ('' for all)."""

    user_id: str
    org_id: str
    enterprise_id: str


@cache
def _counts(dialect: str) -> Executable:
    asked = rows(dialect, "scopes", n=BigInteger, user_id=Text, org_id=Text, enterprise_id=Text)
    everyone: ColumnElement[str] = literal_column("''")
    return (
        select(asked.c.n, signals.c.type, func.count(), func.min(signals.c.time), func.max(signals.c.time))
        .select_from(asked)
        .join(
            signals,
            signals.c.user_id.in_([asked.c.user_id, everyone]) & (signals.c.org_id == asked.c.org_id),
        )
        .where(
            or_(
                signals.c.enterprise_id == asked.c.enterprise_id,
                signals.c.enterprise_id == everyone,
                asked.c.enterprise_id == everyone,
            )
        )
        .group_by(asked.c.n, signals.c.type)
    )


def counts(connection: Connection, scopes: Sequence[Scope]) -> list[dict[str, SignalCount]]:
    """For each scope, how often each signal was seen, first and last."""
    answers: list[dict[str, SignalCount]] = [{} for _ in scopes]
    if scopes:
        asked = {"scopes": as_rows((n, *scope) for n, scope in enumerate(scopes))}
        for n, name, count, first, last in connection.execute(_counts(connection.dialect.name), asked):
            answers[n][name] = SignalCount(count, moment(first), moment(last))
    return answers
