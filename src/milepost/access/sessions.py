"""Signing in to the console: sessions that a cookie names, and links that begin one, each once.

Both are kept in the database, by digest, so that every worker knows them, and so that a sign-out ends a session for
good. Nothing of what an admin may do is kept: that is asked of the memberships at every request.
"""

import secrets
from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection

from milepost.access import queries
from milepost.access.policy import Caller
from milepost.access.queries import StoredSession
from milepost.access.tokens import digest
from milepost.domain.records import microseconds, moment
from milepost.journal import queries as journal
from milepost.problems import LINK_EXPIRED, NOT_AN_ADMIN, UNAUTHENTICATED, Problem

LINK_HOLDS = timedelta(minutes=10)

MOST_LISTED = 500


class Place(msgspec.Struct, rename="camel", frozen=True):
    """An organization that somebody administers."""

    org_id: str
    name: str


class Session(msgspec.Struct, rename="camel", frozen=True):
    """Who is signed in to the console, what they administer, and until when.

    `organizations` is absent for a platform admin, who administers all; else it has the first MOST_LISTED.
    """

    user_id: str
    platform_admin: bool
    expires_at: datetime
    organizations: list[Place] | UnsetType = UNSET


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def begin(
    connection: Connection, caller: Caller, *, secret: str, now: datetime, expires: datetime, event_id: str
) -> Session:
    """Sign somebody in.

    Raises:
        Problem: `not_an_admin` (403).
    """
    session = _described(connection, caller, expires)
    queries.forget_sessions(connection, expired_at=microseconds(now))
    _keep(connection, "session", caller, secret, expires)
    _tell(connection, "console.signed_in", caller, now, event_id, {"expiresAt": expires})
    return session


def make_link(connection: Connection, caller: Caller, *, now: datetime, event_id: str) -> str:
    """The secret of a link that signs its holder in as the caller: once, and within LINK_HOLDS."""
    code, expires = new_secret(), now + LINK_HOLDS
    _keep(connection, "link", caller, code, expires)
    _tell(connection, "console.link_made", caller, now, event_id, {"expiresAt": expires})
    return code


def follow_link(
    connection: Connection, code: str, *, secret: str, now: datetime, expires: datetime, event_id: str
) -> Session:
    """Use a link up, and sign in whom it is for.

    Raises:
        Problem: `link_expired` (401), `not_an_admin` (403).
    """
    link = queries.take_session(connection, digest(code), "link", microseconds(now))
    if link is None:
        raise Problem(LINK_EXPIRED, "This link was used already, or has expired; `milepost console` prints another.")
    caller = Caller(user_id=link.user_id, platform_admin=link.platform_admin)
    return begin(connection, caller, secret=secret, now=now, expires=expires, event_id=event_id)


def read(connection: Connection, secret: str, now: datetime) -> Session:
    """Who is signed in.

    Raises:
        Problem: `unauthenticated` (401), `not_an_admin` (403).
    """
    (found,) = queries.look_up_sessions(connection, [digest(secret)])
    caller, expires = require_session(found, now)
    return _described(connection, caller, expires)


def end(connection: Connection, *, secret: str, now: datetime, event_id: str) -> None:
    """Sign out: the cookie is worth nothing from now on, wherever a copy of it may be."""
    ended = queries.take_session(connection, digest(secret), "session", microseconds(now))
    if ended is not None:
        _tell(connection, "console.signed_out", Caller(user_id=ended.user_id), now, event_id, {})


def require_session(found: StoredSession | None, now: datetime) -> tuple[Caller, datetime]:
    """The caller that a session stands for, while it holds and its user administers something; and when it ends.

    Raises:
        Problem: `unauthenticated` (401), `not_an_admin` (403).
    """
    if found is None or found.kind != "session" or found.expires <= microseconds(now):
        raise Problem(
            UNAUTHENTICATED,
            "The sign-in to the console has ended; sign in again.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if not (found.platform_admin or found.administers):
        raise not_an_admin()
    return Caller(user_id=found.user_id, platform_admin=found.platform_admin), moment(found.expires)


def not_an_admin() -> Problem:
    return Problem(
        NOT_AN_ADMIN,
        "Only admins may use the console: of the platform, or of an organization by a role that is an admin's.",
    )


def _described(connection: Connection, caller: Caller, expires: datetime) -> Session:
    if caller.user_id is None:
        raise not_an_admin()
    if caller.platform_admin:
        return Session(caller.user_id, platform_admin=True, expires_at=expires)
    places = [Place(*place) for place in queries.administered(connection, caller, MOST_LISTED)]
    if not places:
        raise not_an_admin()
    return Session(caller.user_id, platform_admin=False, expires_at=expires, organizations=places)


def _keep(connection: Connection, kind: str, caller: Caller, secret: str, expires: datetime) -> None:
    kept = StoredSession(
        digest(secret), kind, caller.user_id or "", caller.platform_admin, microseconds(expires), administers=True
    )
    queries.add_session(connection, kept)


def _tell(
    connection: Connection, event: str, caller: Caller, now: datetime, event_id: str, data: dict[str, object]
) -> None:
    told = journal.Event(
        id=event_id, at=microseconds(now), actor=caller.name, type=event, user_id=caller.user_id or "", data=data
    )
    journal.append(connection, [told])
