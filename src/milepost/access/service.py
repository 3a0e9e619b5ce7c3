"""Who calls: a bearer token or service key becomes a Caller; service keys are made and revoked."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from milepost.access import queries, sessions
from milepost.access.policy import Caller
from milepost.access.queries import StoredKey, StoredSession
from milepost.access.tokens import Verifier, bearer, digest, matches, new_service_key, service_key_id
from milepost.domain.records import microseconds
from milepost.journal import queries as journal
from milepost.problems import INVALID_TOKEN, ORGANIZATION_NOT_FOUND, Problem
from milepost.store.batches import Batches
from milepost.store.database import Database


class Authenticator:
    """Answers who calls. Tokens are verified here; keys are looked up at every call, so a revoked one ends at once."""

    def __init__(self, verifier: Verifier, database: Database) -> None:
        self._verifier = verifier
        self._keys: Batches[str, StoredKey | None] = database.batched_read(queries.look_up)
        self._sessions: Batches[str, StoredSession | None] = database.batched_read(queries.look_up_sessions)

    async def caller(self, authorization: str | None, now: datetime) -> Caller:
        """The caller whose credentials the `Authorization` header carries.

        Raises:
            Problem: `unauthenticated`, `invalid_token`, or `unavailable` where the keys cannot be had.
        """
        known = self._verifier.cached((authorization or "").removeprefix("Bearer "), now)
        if known is not None:
            return known
        credentials = bearer(authorization)
        known = self._verifier.cached(credentials, now)
        if known is not None:
            return known
        key_id = service_key_id(credentials)
        if key_id is None:
            return await self._verifier.verify(credentials, now)
        key = await self._keys(key_id)
        if key is None or key.revoked is not None or not matches(credentials, key.digest):
            raise Problem(
                INVALID_TOKEN,
                "The service key is not known or was revoked; make a new one with `milepost key create`.",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return Caller(key_id=key.key_id, scopes=frozenset(key.scopes), org_id=key.org_id)

    def expires(self, authorization: str | None) -> datetime | None:
        """When the credentials of a caller known now end by themselves; None where that is not known, as of a key."""
        return self._verifier.expires(bearer(authorization))

    async def session(self, secret: str, now: datetime) -> Caller:
        """The caller who is signed in to the console with this secret, while they administer something.

        Raises:
            Problem: `unauthenticated` (401), `not_an_admin` (403).
        """
        caller, _ = sessions.require_session(await self._sessions(digest(secret)), now)
        return caller

    async def signing_in(self, token: str, now: datetime) -> tuple[Caller, datetime]:
        """The user that a token stands for, and when it expires.

        Raises:
            Problem: `invalid_token` (401), for a service key too: it is nobody who could sign in.
        """
        return await self._verifier.verified(token, now)


def create_key(
    connection: Connection,
    *,
    label: str,
    scopes: Sequence[str],
    org_id: str | None,
    now: datetime,
    actor: str,
    event_id: str,
) -> tuple[str, str]:
    """Make a service key; answers its id and its text, which is shown this once and not stored.

    Raises:
        Problem: `organization_not_found` where it is to be limited to one that does not exist.
    """
    if org_id is not None and not queries.organization_exists(connection, org_id):
        raise Problem(ORGANIZATION_NOT_FOUND, f"There is no organization {org_id} that the key could be limited to.")
    key = new_service_key()
    at = microseconds(now)
    queries.add(connection, StoredKey(key.key_id, key.digest, label, list(scopes), org_id, at, None))
    data: dict[str, object] = {"keyId": key.key_id, "label": label, "scopes": list(scopes)}
    event = journal.Event(id=event_id, at=at, actor=actor, type="service_key.created", org_id=org_id or "", data=data)
    journal.append(connection, [event])
    return key.key_id, key.text


def revoke_key(connection: Connection, *, key_id: str, now: datetime, actor: str, event_id: str) -> bool:
    """Revoke a service key; False where there is none that still holds."""
    if not queries.revoke(connection, key_id, microseconds(now)):
        return False
    event = journal.Event(
        id=event_id, at=microseconds(now), actor=actor, type="service_key.revoked", data={"keyId": key_id}
    )
    journal.append(connection, [event])
    return True
