"""Bearer token or service key to Caller; and how the service makes tokens and service keys of its own."""

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from joserfc import jws, jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError, MissingClaimError
from joserfc.jwk import OKPKey

from milepost.access.key_sources import FileKeys, KeySource, UrlKeys
from milepost.access.keys import OWN_ALGORITHM, Algorithms, Keys, own_public_key, read_jwks, read_pem
from milepost.access.policy import Caller
from milepost.problems import INVALID_TOKEN, UNAUTHENTICATED, Problem
from milepost.settings import Settings, SettingsError, variable

MAX_TOKEN_BYTES = 8192
MAX_CACHED = 4096
MAX_USER_ID = 255
LAST_SECOND = int(datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp())
PLATFORM_ADMIN = "platform_admin"
# An issuer signs other kinds of JWT with the same keys, and says so in `typ`: logout tokens (RFC 8725, 3.11).
TOKEN_TYPES = {"jwt", "at+jwt"}

CREDENTIALS = re.compile(r"bearer +([a-z0-9\-._~+/]+=*) *", re.IGNORECASE | re.ASCII)
SERVICE_KEY = re.compile(r"mk_([a-z0-9]{4,32})_[A-Za-z0-9_-]{43}", re.ASCII)


def refused(detail: str) -> Problem:
    """The 401 of RFC 6750, 3.1. The detail never quotes the token: an answer may end up in a log."""
    return Problem(INVALID_TOKEN, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def bearer(authorization: str | None) -> str:
    """The credentials in an `Authorization` header (RFC 6750, 2.1).

    Raises:
        Problem: `unauthenticated` without the header, `invalid_token` where it is something else.
    """
    if not authorization:
        raise Problem(
            UNAUTHENTICATED,
            "Send a token or a service key in the header `Authorization: Bearer ...`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    credentials = CREDENTIALS.fullmatch(authorization)
    if credentials is None:
        raise refused("The Authorization header must be `Bearer`, a space, and one token or service key.")
    return credentials[1]


class Verifier:
    """Checks bearer tokens by the rules of RFC 8725, and remembers the good ones until they expire."""

    def __init__(self, source: KeySource, settings: Settings) -> None:
        self._source = source
        self._algorithms = Algorithms(settings.token_algorithms)
        self._leeway = settings.token_leeway
        self._rules: dict[str, jwt.ClaimsOption] = {"exp": {"essential": True}, "sub": {"essential": True}}
        if settings.token_issuer is not None:
            self._rules["iss"] = {"essential": True, "value": settings.token_issuer}
        if settings.token_audience is not None:
            self._rules["aud"] = {"essential": True, "value": settings.token_audience}
        self._keys: Keys = ()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Verifier":
        """A verifier with the keys that the settings name, or else the service's own, made if need be.

        Raises:
            SettingsError: more than one is named, or what is named cannot be used.
        """
        return cls(_source(settings), settings)

    def cached(self, token: str, now: datetime) -> Caller | None:
        """The caller of a token verified before; None if unknown or expired, or if the keys need a look."""
        known = self._known.get(token)
        if known is None or now >= known.expires or now >= self._source.check_at:
            return None
        self._known.move_to_end(token)
        return known.caller

    def expires(self, token: str) -> datetime | None:
        """When a token that is remembered ends, clock skew included."""
        known = self._known.get(token)
        return None if known is None else known.expires

    async def verify(self, token: str, now: datetime) -> Caller:
        """The caller that a token stands for.

        Raises:
            Problem: `invalid_token`, or `unavailable` where the keys cannot be had.
        """
        caller = self.cached(token, now)
        if caller is not None:
            return caller
        signed, header = self._read(token)
        self._adopt(await self._source.current(now))
        caller = self.cached(token, now)
        if caller is not None:
            return caller
        if not any(key.answers_to(header.kid) for key in self._keys):
            self._adopt(await self._source.searched(now))
        # No waiting from here on, so the keys that a remembered token was checked with are the current ones.
        self._check_signature(signed, header)
        claims = self._claims(signed.payload, now)
        caller = Caller(user_id=_user_id(claims["sub"]), platform_admin=_is_platform_admin(claims.get("scope")))
        self._remember(token, caller, claims["exp"])
        return caller

    async def verified(self, token: str, now: datetime) -> tuple[Caller, datetime]:
        """The caller that a token stands for, and when it expires.

        Raises:
            Problem: as `verify` does.
        """
        caller = await self.verify(token, now)
        return caller, self._known[token].expires

    def _adopt(self, keys: Keys) -> None:
        if keys is not self._keys:
            self._keys = keys
            self._known.clear()

    def _read(self, token: str) -> tuple[jws.CompactSignature, "_Header"]:
        """Take a token apart; nothing in it is to be believed yet."""
        if len(token) > MAX_TOKEN_BYTES:
            raise refused(f"The token is longer than {MAX_TOKEN_BYTES} bytes; ask for one with fewer claims.")
        try:
            signed = jws.extract_compact(token.encode("ascii"), registry=self._algorithms)
            header = msgspec.convert(signed.protected, _Header)
        # The library lets what it meets in a malformed header pass through; deep nesting is a RecursionError.
        except (JoseError, ValueError, TypeError, RecursionError):
            raise refused("This is not a signed token (a JWT in compact form).") from None
        if "crit" in signed.protected:
            raise refused("The token has critical header parameters, which this service knows none of.")
        if header.typ is not None and header.typ.lower().removeprefix("application/") not in TOKEN_TYPES:
            raise refused("This kind of token is not for access; send an access token.")
        if header.alg not in (self._algorithms.allowed or ()):
            raise refused("The token is signed with an algorithm that this service does not accept.")
        return signed, header

    def _check_signature(self, signed: jws.CompactSignature, header: "_Header") -> None:
        fitting = [key.key for key in self._keys if key.answers_to(header.kid) and header.alg in key.algorithms]
        if not fitting:
            raise refused("The token is signed with a key that this service does not know; ask for a new one.")
        for key in fitting:
            try:
                if jws.validate_compact(signed, key, registry=self._algorithms):
                    return
            except JoseError:
                continue
        raise refused("The token's signature does not hold; ask its issuer for a new one.")

    def _claims(self, payload: bytes, now: datetime) -> dict[str, Any]:
        rules = jwt.JWTClaimsRegistry(now=int(now.timestamp()), leeway=self._leeway, **self._rules)
        try:
            claims = msgspec.json.decode(payload, type=dict[str, Any])
            rules.validate(claims)
        except ClaimError as error:
            raise refused(_explained(error)) from None
        except (ValueError, RecursionError):
            raise refused("The token's claims are not a JSON object; ask its issuer for a new one.") from None
        return claims

    def _remember(self, token: str, caller: Caller, exp: float) -> None:
        expires = datetime.fromtimestamp(min(exp + self._leeway, LAST_SECOND), UTC)
        self._known[token] = _Known(expires, caller)
        if len(self._known) > MAX_CACHED:
            self._known.popitem(last=False)


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None


class _Known(msgspec.Struct, frozen=True):
    expires: datetime
    caller: Caller


def _source(settings: Settings) -> KeySource:
    named = [name for name in ("jwks_file", "jwks_url", "public_key_file") if getattr(settings, name) is not None]
    if len(named) > 1:
        raise SettingsError(f"{' and '.join(map(variable, named))} exclude each other; set one of them")
    allowed = settings.token_algorithms
    unfit = [name for name in allowed if name not in Algorithms.algorithms]
    if unfit or not allowed:
        raise SettingsError(f"{variable('token_algorithms')} takes one or more of {', '.join(Algorithms.algorithms)}")
    if settings.jwks_url is not None:
        return UrlKeys(settings.jwks_url, allowed)
    if settings.jwks_file is not None:
        return FileKeys("jwks_file", settings.jwks_file, lambda path: read_jwks(path.read_bytes()), allowed)
    if settings.public_key_file is not None:
        return FileKeys("public_key_file", settings.public_key_file, lambda path: read_pem(path.read_bytes()), allowed)
    return FileKeys("signing_key_file", settings.own_key_file, own_public_key, allowed)


def _explained(error: ClaimError) -> str:
    if isinstance(error, ExpiredTokenError):
        return "The token has expired; ask for a new one."
    if isinstance(error, MissingClaimError):
        return f"The token lacks what it must have ({error.claim}); ask its issuer to add it."
    reasons = {
        "aud": "The token is for another audience (aud); ask for one that is issued for this service.",
        "iss": "The token is from an issuer that this service does not accept (iss).",
        "nbf": "The token is not valid yet (nbf); wait, or check the issuer's clock.",
        "iat": "The token is from the future (iat); check the issuer's clock.",
    }
    return reasons.get(error.claim, f"The token's claim {error.claim} is not valid; ask its issuer for a new one.")


def _user_id(subject: str) -> str:
    if len(subject) > MAX_USER_ID or any(unicodedata.category(char) == "Cc" for char in subject):
        raise refused(f"The token's sub must have 1 to {MAX_USER_ID} characters and no control characters.")
    return subject


def _is_platform_admin(scope: object) -> bool:
    """RFC 8693, 4.2: `scope` is a string of names with spaces between. Anything else grants nothing."""
    return isinstance(scope, str) and PLATFORM_ADMIN in scope.split(" ")


def sign(
    key: OKPKey,
    *,
    user_id: str,
    platform_admin: bool,
    ttl: timedelta,
    now: datetime,
    issuer: str | None,
    audience: str | None,
) -> str:
    """A token for a user, signed with the service's own key; `kid` is its thumbprint (RFC 7638)."""
    claims: dict[str, Any] = {
        "sub": user_id,
        "iat": int(now.timestamp()),
        "exp": int((now + ttl).timestamp()),
        "scope": PLATFORM_ADMIN if platform_admin else None,
        "iss": issuer,
        "aud": audience,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    header = {"alg": OWN_ALGORITHM, "kid": key.thumbprint()}
    return jwt.encode(header, given, key, registry=Algorithms([OWN_ALGORITHM]))


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A new service key. `text` is shown once and never stored; `digest` is what is stored."""

    key_id: str
    text: str = field(repr=False)
    digest: str = field(repr=False)


def new_service_key() -> ServiceKey:
    """A key of 256 random bits, with an id to look it up by."""
    key_id = secrets.token_hex(6)
    text = f"mk_{key_id}_{secrets.token_urlsafe(32)}"
    return ServiceKey(key_id, text, digest(text))


def service_key_id(text: str) -> str | None:
    """The id in a service key's text, or None where the text is no service key."""
    parsed = SERVICE_KEY.fullmatch(text)
    return parsed[1] if parsed else None


def digest(text: str) -> str:
    """SHA-256, hexadecimal. Fast is right here: 256 random bits are not guessed, as a password might be."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(text: str, stored: str) -> bool:
    """Whether a service key's text has the stored digest, in a time that tells nothing about it."""
    return hmac.compare_digest(digest(text), stored)
