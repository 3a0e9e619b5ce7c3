"""What a bearer token must be, where its keys come from, and what a service key is."""

import asyncio
import base64
import hashlib
import hmac
import json
import multiprocessing
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from milepost.access import tokens
from milepost.access.keys import Algorithms, own_key
from milepost.access.policy import Caller
from milepost.access.tokens import (
    Verifier,
    bearer,
    digest,
    matches,
    new_service_key,
    service_key_id,
    sign,
)
from milepost.problems import INVALID_TOKEN, UNAUTHENTICATED, UNAVAILABLE, Problem
from milepost.settings import Settings, SettingsError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
SECOND = timedelta(seconds=1)
ALICE = Caller(user_id="alice")

# One of each kind, where a test needs no key of its own.
RSA, EC, OKP = RSAKey.generate_key(2048), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
# Of no use for tokens: too short, and on a curve that JOSE has no name for.
SHORT_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505
BRAINPOOL_EC = ec.generate_private_key(ec.BrainpoolP256R1())

Claims = dict[str, Any]


def good(**changes: object) -> Claims:
    """The claims of a token that is accepted, changed; None takes a claim away."""
    claims = {"sub": "alice", "exp": SECONDS + 600, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def part(value: object) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def forge(header: object, claims: object, sign_: Callable[[bytes], bytes]) -> str:
    """A compact JWS put together by hand, so that it may break any rule."""
    text = part(header) + b"." + part(claims)
    return (text + b"." + part(sign_(text))).decode()


def new_key(kid: str | None = "one", **parameters: Any) -> OKPKey:
    named = {"kid": kid} if kid else {}
    return OKPKey.generate_key("Ed25519", {**named, **parameters})  # type: ignore[arg-type]


def signer(key: OKPKey) -> Callable[[bytes], bytes]:
    native = key.private_key
    assert isinstance(native, Ed25519PrivateKey)
    return native.sign


def signed(key: OKPKey, claims: object = None, **header: object) -> str:
    """A token signed with an Ed25519 key."""
    named = {"kid": key.kid} if key.kid else {}
    return forge({"alg": "EdDSA", **named, **header}, good() if claims is None else claims, signer(key))


def jwks(*keys: Key) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=isinstance(key, OctKey)) for key in keys]}).encode()


def trusting(path: Path, *keys: Key, **settings: Any) -> Verifier:
    """A verifier whose JWKS file holds the keys."""
    file = path / "jwks.json"
    file.write_bytes(jwks(*keys))
    return Verifier.from_settings(Settings(jwks_file=file, **settings))


def verify(verifier: Verifier, token: str, now: datetime = NOW) -> Caller:
    return asyncio.run(verifier.verify(token, now))


def refusal(verifier: Verifier, token: str, now: datetime = NOW) -> str:
    """Why a token is refused: as RFC 6750 says, and without a word of the token."""
    with pytest.raises(Problem) as caught:
        verify(verifier, token, now)
    problem = caught.value
    assert problem.kind is INVALID_TOKEN
    assert problem.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    assert not any(len(piece) > 5 and piece in problem.detail for piece in token.split("."))
    return problem.detail


# What a token says


def test_a_token_stands_for_its_subject(tmp_path: Path) -> None:
    key = new_key()
    caller = verify(trusting(tmp_path, key), signed(key))
    assert caller == Caller(user_id="alice", platform_admin=False)


@pytest.mark.parametrize(
    ("scope", "admin"),
    [
        ("platform_admin", True),
        ("read platform_admin write", True),
        ("platform_administrator", False),
        ("PLATFORM_ADMIN", False),
        ("", False),
        (["platform_admin"], False),
        (True, False),
        (None, False),
    ],
)
def test_the_scope_platform_admin_makes_a_platform_admin(tmp_path: Path, scope: object, *, admin: bool) -> None:
    key = new_key()
    caller = verify(trusting(tmp_path, key), signed(key, good(scope=scope)))
    assert caller.platform_admin is admin


@pytest.mark.parametrize("missing", ["exp", "sub"])
def test_a_token_without_a_required_claim_is_refused(tmp_path: Path, missing: str) -> None:
    key = new_key()
    assert missing in refusal(trusting(tmp_path, key), signed(key, good(**{missing: None})))


@pytest.mark.parametrize("sub", ["", 7, ["alice"], "a" * 256, "ali\nce", "ali\x00ce", "ali\x85ce"])
def test_a_subject_that_is_no_user_id_is_refused(tmp_path: Path, sub: object) -> None:
    key = new_key()
    assert "sub" in refusal(trusting(tmp_path, key), signed(key, good(sub=sub)))


@pytest.mark.parametrize("sub", ["a" * 255, "urn:user:7/8", "Zoë", "用户", " "])
def test_a_subject_may_be_any_printable_text(tmp_path: Path, sub: str) -> None:
    key = new_key()
    assert verify(trusting(tmp_path, key), signed(key, good(sub=sub))).user_id == sub


def test_a_subject_with_half_a_character_is_refused(tmp_path: Path) -> None:
    key = new_key()
    claims = b'{"sub": "ali\\ud800ce", "exp": %d}' % (SECONDS + 600)
    refusal(trusting(tmp_path, key), signed(key, claims))


@pytest.mark.parametrize(
    "claims", [b"", b"not json", b"[]", b'"alice"', b"\xff", b'{"a":' + b"[" * 5000, b'{"exp":1e999}']
)
def test_claims_that_are_no_json_object_are_refused(tmp_path: Path, claims: bytes) -> None:
    key = new_key()
    assert "JSON object" in refusal(trusting(tmp_path, key), signed(key, claims))


# Times


@pytest.mark.parametrize("late", [-600, -1, 0, 29])
def test_a_token_is_accepted_until_it_has_expired_and_the_leeway_is_over(tmp_path: Path, late: int) -> None:
    key = new_key()
    token = signed(key, good(exp=SECONDS - late))
    assert verify(trusting(tmp_path, key, token_leeway=30), token) == ALICE


@pytest.mark.parametrize("late", [30, 31, 86_400])
def test_an_expired_token_is_refused(tmp_path: Path, late: int) -> None:
    key = new_key()
    token = signed(key, good(exp=SECONDS - late))
    detail = refusal(trusting(tmp_path, key, token_leeway=30), token)
    assert detail == "The token has expired; ask for a new one."


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_from_the_future_is_refused_beyond_the_leeway(tmp_path: Path, claim: str) -> None:
    key = new_key()
    verifier = trusting(tmp_path, key, token_leeway=30)
    assert verify(verifier, signed(key, good(**{claim: SECONDS + 30}))) == ALICE
    assert "clock" in refusal(verifier, signed(key, good(**{claim: SECONDS + 31})))


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1893456000", True, [], {}])
def test_a_time_that_is_not_a_number_is_refused(tmp_path: Path, claim: str, value: object) -> None:
    key = new_key()
    assert claim in refusal(trusting(tmp_path, key), signed(key, good(**{claim: value})))


@pytest.mark.parametrize("far", [10**15, 1e300])
def test_a_token_may_expire_beyond_the_calendar(tmp_path: Path, far: float) -> None:
    key = new_key()
    assert verify(trusting(tmp_path, key), signed(key, good(exp=far))) == ALICE


# Issuer and audience


@pytest.mark.parametrize("aud", ["milepost", ["other", "milepost"]])
def test_a_token_for_the_set_audience_is_accepted(tmp_path: Path, aud: object) -> None:
    key = new_key()
    assert verify(trusting(tmp_path, key, token_audience="milepost"), signed(key, good(aud=aud))) == ALICE


@pytest.mark.parametrize("aud", [None, "other", ["other"], [], "", 7, {"milepost": True}, "milepost2"])
def test_a_token_for_another_audience_is_refused(tmp_path: Path, aud: object) -> None:
    key = new_key()
    verifier = trusting(tmp_path, key, token_audience="milepost")
    assert "aud" in refusal(verifier, signed(key, good(aud=aud)))


def test_a_token_of_the_set_issuer_is_accepted(tmp_path: Path) -> None:
    key = new_key()
    verifier = trusting(tmp_path, key, token_issuer="https://issuer.example")
    assert verify(verifier, signed(key, good(iss="https://issuer.example"))) == ALICE


@pytest.mark.parametrize("iss", [None, "https://other.example", "", 7, ["https://issuer.example"]])
def test_a_token_of_another_issuer_is_refused(tmp_path: Path, iss: object) -> None:
    key = new_key()
    verifier = trusting(tmp_path, key, token_issuer="https://issuer.example")
    assert "iss" in refusal(verifier, signed(key, good(iss=iss)))


# Signatures and algorithms


def test_a_token_that_is_not_signed_is_refused(tmp_path: Path) -> None:
    key = new_key()
    verifier = trusting(tmp_path, key)
    for name in ("none", "None", "NONE", ""):
        refusal(verifier, forge({"alg": name, "kid": "one"}, good(), lambda _: b""))


def test_a_token_signed_with_another_key_is_refused(tmp_path: Path) -> None:
    verifier = trusting(tmp_path, new_key("one"))
    assert "signature" in refusal(verifier, signed(new_key("one")))


def test_a_token_that_was_changed_is_refused(tmp_path: Path) -> None:
    key = new_key()
    header, _, signature = signed(key).split(".")
    changed = ".".join([header, part(good(scope="platform_admin")).decode(), signature])
    assert "signature" in refusal(trusting(tmp_path, key), changed)


def test_a_token_that_names_an_unknown_key_is_refused(tmp_path: Path) -> None:
    key = new_key("one")
    assert "key" in refusal(trusting(tmp_path, key), signed(key, kid="two"))


def test_a_token_that_names_no_key_is_tried_with_all_that_fit(tmp_path: Path) -> None:
    first, second, unknown = new_key("one"), new_key("two"), new_key("three")
    verifier = trusting(tmp_path, first, second)
    assert verify(verifier, forge({"alg": "EdDSA"}, good(), signer(second))) == ALICE
    assert "signature" in refusal(verifier, forge({"alg": "EdDSA"}, good(), signer(unknown)))


@pytest.mark.parametrize("key", [RSA, EC, OKP])
def test_hmac_with_a_public_key_as_the_secret_is_refused(tmp_path: Path, key: RSAKey | ECKey | OKPKey) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(key.as_pem())
    verifier = Verifier.from_settings(Settings(public_key_file=file))
    token = forge({"alg": "HS256"}, good(), lambda text: hmac.digest(key.as_pem(), text, "sha256"))
    assert "algorithm" in refusal(verifier, token)


def test_a_secret_in_the_jwks_is_never_used(tmp_path: Path) -> None:
    key, secret = new_key("one"), OctKey.generate_key(256, {"kid": "secret"})
    verifier = trusting(tmp_path, key, secret)
    token = forge({"alg": "HS256", "kid": "secret"}, good(), lambda text: hmac.digest(secret.raw_value, text, "sha256"))
    refusal(verifier, token)
    assert verify(verifier, signed(key)) == ALICE


def test_a_jwks_with_nothing_but_secrets_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MILEPOST_JWKS_FILE"):
        trusting(tmp_path, OctKey.generate_key(256, {"kid": "secret"}))


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS1", "dir", ""])
def test_an_unfit_algorithm_in_the_settings_stops_the_start(tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(SettingsError, match="MILEPOST_TOKEN_ALGORITHMS"):
        trusting(tmp_path, new_key(), token_algorithms=("EdDSA", algorithm))


def test_settings_without_any_algorithm_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MILEPOST_TOKEN_ALGORITHMS"):
        trusting(tmp_path, new_key(), token_algorithms=())


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (OKP, "Ed25519"), (OKP, "EdDSA")]
)
def test_each_default_algorithm_is_accepted(tmp_path: Path, key: Key, algorithm: str) -> None:
    token = jws.serialize_compact({"alg": algorithm}, json.dumps(good()), key, registry=Algorithms([algorithm]))
    assert verify(trusting(tmp_path, RSA, EC, OKP), token) == ALICE


def test_an_algorithm_that_the_settings_leave_out_is_refused(tmp_path: Path) -> None:
    key, other = new_key(), ECKey.generate_key("P-256", {"kid": "ec"})
    verifier = trusting(tmp_path, key, other, token_algorithms=("ES256",))
    assert "algorithm" in refusal(verifier, signed(key))


def test_a_key_is_not_used_with_the_algorithm_of_another_type(tmp_path: Path) -> None:
    key = new_key()
    assert "key" in refusal(trusting(tmp_path, key), signed(key, alg="RS256"))


def test_a_key_is_not_used_with_the_algorithm_of_another_curve(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-384", {"kid": "one"})
    verifier = trusting(tmp_path, key, token_algorithms=("ES256", "ES384"))
    token = forge({"alg": "ES256", "kid": "one"}, good(), lambda _: bytes(64))
    assert "key" in refusal(verifier, token)


@pytest.mark.parametrize(
    "parameters", [{"use": "enc"}, {"alg": "Ed25519"}, {"key_ops": ["sign"]}, {"key_ops": []}, {"use": "unheard-of"}]
)
def test_a_key_that_is_meant_for_something_else_is_not_used(tmp_path: Path, parameters: dict[str, Any]) -> None:
    key, other = new_key("one"), new_key("two")
    entry = {**key.as_dict(private=False), **parameters}
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [entry, other.as_dict(private=False)]}))
    verifier = Verifier.from_settings(Settings(jwks_file=file))
    assert "key" in refusal(verifier, signed(key))
    assert verify(verifier, signed(other)) == ALICE


def test_a_key_that_is_meant_for_checking_signatures_is_used(tmp_path: Path) -> None:
    key = new_key("one", use="sig", alg="EdDSA")
    assert verify(trusting(tmp_path, key), signed(key)) == ALICE


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": ["OKP"]},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "OKP", "crv": "unheard-of", "x": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "A"},
        {"kty": "EC", "crv": "unheard-of", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"},
        {"kty": "RSA", "n": "", "e": ""},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "use": ["sig"], "key_ops": ["verify"]},
    ],
)
def test_a_key_that_is_not_understood_does_not_hide_the_others(tmp_path: Path, entry: dict[str, Any]) -> None:
    key = new_key()
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [entry, key.as_dict(private=False)]}))
    assert verify(Verifier.from_settings(Settings(jwks_file=file)), signed(key)) == ALICE


def test_a_key_for_key_agreement_checks_no_signature(tmp_path: Path) -> None:
    key, other = OKPKey.generate_key("X25519", {"kid": "one"}), new_key("two")
    token = forge({"alg": "EdDSA", "kid": "one"}, good(), lambda _: bytes(64))
    assert "key" in refusal(trusting(tmp_path, key, other), token)


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_short_rsa_key_is_not_used(tmp_path: Path) -> None:
    key = RSAKey.import_key(SHORT_RSA, {"kid": "short"})
    token = jws.serialize_compact(
        {"alg": "RS256", "kid": "short"}, json.dumps(good()), key, registry=Algorithms(["RS256"])
    )
    assert "key" in refusal(trusting(tmp_path, key, new_key()), token)


# Form


@pytest.mark.parametrize(
    "crit", [["exp"], ["b64"], ["kid"], [], None, "exp", 7, ["https://example.com/must-understand"]]
)
def test_a_token_with_a_critical_header_is_refused(tmp_path: Path, crit: object) -> None:
    key = new_key()
    refusal(trusting(tmp_path, key), signed(key, crit=crit, exp=1, b64=True))


def test_an_unknown_header_that_is_not_critical_is_ignored(tmp_path: Path) -> None:
    key = new_key()
    assert verify(trusting(tmp_path, key), signed(key, hint="anything", jku="https://evil.example/keys")) == ALICE


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_an_access_token_may_say_that_it_is_one(tmp_path: Path, typ: str) -> None:
    key = new_key()
    assert verify(trusting(tmp_path, key), signed(key, typ=typ)) == ALICE


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt"])
def test_a_token_for_another_purpose_is_refused(tmp_path: Path, typ: str) -> None:
    key = new_key()
    assert "access token" in refusal(trusting(tmp_path, key), signed(key, typ=typ))


def test_a_token_longer_than_eight_kibibytes_is_refused(tmp_path: Path) -> None:
    key = new_key()
    verifier = trusting(tmp_path, key)
    room = 8192 - len(signed(key, good(pad="")))
    fits, too_long = (signed(key, good(pad="x" * length)) for length in (room * 3 // 4 - 3, room * 3 // 4 + 3))
    assert len(fits) <= 8192 < len(too_long)
    assert verify(verifier, fits) == ALICE
    assert "8192" in refusal(verifier, too_long)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"\xff",
        b"5",
        b'"alg"',
        b'["alg"]',
        b'["alg","b64"]',
        b'"algb64"',
        b"[" * 3000,
        b"{}",
        b'{"alg":7}',
        b'{"alg":["EdDSA"]}',
        b'{"alg":"EdDSA","kid":7}',
        b'{"alg":"EdDSA","typ":{}}',
        b'{"alg":"EdDSA","b64":false}',
        b'{"alg":"EdDSA","x5u":7}',
        b'{"alg":"EdDSA","crit":["b64"],"b64":false}',
    ],
)
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, header: bytes) -> None:
    key = new_key()
    refusal(trusting(tmp_path, key), forge(header, good(), signer(key)))


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "a.b.c.d.e", "é.é.é", "\ud800", "mk_abc_def"])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    assert "not a signed token" in refusal(trusting(tmp_path, new_key()), text)


@pytest.fixture(scope="module")
def sturdy(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    return trusting(tmp_path_factory.mktemp("sturdy"), RSA, EC, OKP)


@runs(deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5u", "x5c"]),
        st.sampled_from(["EdDSA", "ES256", "RS256", "JWT", 1, None, True, [], {}, ["x"]]),
    ),
    claims=st.binary(max_size=40),
    signature=st.one_of(st.binary(max_size=80), st.binary(min_size=64, max_size=64)),
)
def test_whatever_comes_as_a_token_is_refused_in_one_way(
    sturdy: Verifier, header: dict[str, Any], claims: bytes, signature: bytes
) -> None:
    with pytest.raises(Problem) as caught:
        verify(sturdy, forge(header, claims, lambda _: signature))
    assert caught.value.kind is INVALID_TOKEN


# Tokens that were verified before


def test_a_verified_token_is_remembered(tmp_path: Path) -> None:
    key = new_key()
    verifier, token = trusting(tmp_path, key), signed(key)
    assert verifier.cached(token, NOW) is None
    caller = verify(verifier, token)
    assert verifier.cached(token, NOW) is caller
    assert verify(verifier, token) is caller


def test_a_remembered_token_expires(tmp_path: Path) -> None:
    key = new_key()
    verifier = trusting(tmp_path, key, token_leeway=30)
    token = signed(key, good(exp=SECONDS + 600))
    verify(verifier, token)
    assert verify(verifier, token, NOW + 629 * SECOND) == ALICE
    assert verifier.cached(token, NOW + 629 * SECOND) == ALICE
    assert verifier.cached(token, NOW + 630 * SECOND) is None
    assert "expired" in refusal(verifier, token, NOW + 630 * SECOND)


def test_a_refused_token_is_not_remembered(tmp_path: Path) -> None:
    key = new_key()
    verifier, token = trusting(tmp_path, key), signed(new_key("one"))
    refusal(verifier, token)
    assert verifier.cached(token, NOW) is None


def test_the_tokens_not_used_for_longest_are_forgotten_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_CACHED", 2)
    key = new_key()
    verifier = trusting(tmp_path, key)
    first, second, third = (signed(key, good(sub=name)) for name in ("first", "second", "third"))
    for token in (first, second, first, third):
        verify(verifier, token)
    assert [verifier.cached(token, NOW) is not None for token in (first, second, third)] == [True, False, True]


# Keys in a file


def test_keys_in_a_file_rotate_without_a_restart(tmp_path: Path) -> None:
    old, new = new_key("old"), new_key("new")
    verifier = trusting(tmp_path, old)
    assert verify(verifier, signed(old)) == ALICE
    (tmp_path / "jwks.json").write_bytes(jwks(new))
    assert verify(verifier, signed(new), NOW + SECOND) == ALICE
    assert "key" in refusal(verifier, signed(old), NOW + SECOND)


def test_a_remembered_token_ends_with_its_key(tmp_path: Path) -> None:
    key = new_key()
    verifier, token = trusting(tmp_path, key), signed(key)
    verify(verifier, token)
    (tmp_path / "jwks.json").write_bytes(jwks(new_key("other")))
    assert verifier.cached(token, NOW + SECOND) is None
    assert "key" in refusal(verifier, token, NOW + SECOND)


def test_tokens_stay_remembered_while_the_keys_are_the_same(tmp_path: Path) -> None:
    key = new_key()
    verifier, token = trusting(tmp_path, key), signed(key)
    caller = verify(verifier, token)
    file = tmp_path / "jwks.json"
    file.write_bytes(b" " + file.read_bytes())
    assert verify(verifier, token, NOW + SECOND) is caller


def test_a_token_with_a_new_key_is_accepted_at_once(tmp_path: Path) -> None:
    old, new = new_key("old"), new_key("new")
    verifier = trusting(tmp_path, old)
    verify(verifier, signed(old))
    (tmp_path / "jwks.json").write_bytes(jwks(old, new))
    assert verify(verifier, signed(new)) == ALICE


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"keys": 7}', None])
def test_a_file_broken_later_leaves_the_keys_in_use(tmp_path: Path, broken: bytes | None) -> None:
    key = new_key()
    verifier, token = trusting(tmp_path, key), signed(key)
    verify(verifier, token)
    file = tmp_path / "jwks.json"
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    assert verify(verifier, token, NOW + SECOND) == ALICE
    file.write_bytes(jwks(new_key("other")))
    refusal(verifier, token, NOW + 2 * SECOND)


def test_a_jwks_that_is_emptied_withdraws_its_keys(tmp_path: Path) -> None:
    key = new_key()
    verifier, token = trusting(tmp_path, key), signed(key)
    verify(verifier, token)
    (tmp_path / "jwks.json").write_bytes(jwks())
    refusal(verifier, token, NOW + SECOND)


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"[]", b'{"keys": []}', b'{"keys": [7]}', b"[" * 5000])
@pytest.mark.parametrize(
    ("field", "variable"), [("jwks_file", "MILEPOST_JWKS_FILE"), ("public_key_file", "MILEPOST_PUBLIC_KEY_FILE")]
)
def test_a_key_file_that_cannot_be_used_stops_the_start(
    tmp_path: Path, field: str, variable: str, content: bytes | None
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=variable) as caught:
        Verifier.from_settings(Settings(**{field: file}))  # type: ignore[arg-type]
    assert str(file) in str(caught.value)


def test_two_sources_of_keys_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MILEPOST_JWKS_FILE and MILEPOST_JWKS_URL"):
        Verifier.from_settings(Settings(jwks_file=tmp_path / "jwks.json", jwks_url="https://issuer.example/jwks"))


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (OKP, "Ed25519")])
def test_a_public_key_in_pem_checks_tokens_whatever_key_id_they_name(
    tmp_path: Path, key: RSAKey | ECKey | OKPKey, algorithm: str
) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(key.as_pem())
    verifier = Verifier.from_settings(Settings(public_key_file=file))
    for header in ({"alg": algorithm}, {"alg": algorithm, "kid": "of the issuer"}):
        token = jws.serialize_compact(header, json.dumps(good()), key, registry=Algorithms([algorithm]))
        assert verify(verifier, token) == ALICE


def certificate(private: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    start = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    here = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    valid = builder.not_valid_before(start).not_valid_after(start + timedelta(days=1))
    signed_ = valid.add_extension(here, critical=False).sign(private, hashes.SHA256())
    return signed_.public_bytes(serialization.Encoding.PEM)


def test_a_certificate_in_pem_stands_for_its_key(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256")
    file = tmp_path / "certificate.pem"
    assert key.private_key
    file.write_bytes(certificate(key.private_key))
    token = jws.serialize_compact({"alg": "ES256"}, json.dumps(good()), key, registry=Algorithms(["ES256"]))
    assert verify(Verifier.from_settings(Settings(public_key_file=file)), token) == ALICE


@pytest.mark.parametrize("private", [SHORT_RSA, BRAINPOOL_EC])
def test_a_public_key_of_no_use_stops_the_start(
    tmp_path: Path, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(SettingsError, match="MILEPOST_PUBLIC_KEY_FILE"):
        Verifier.from_settings(Settings(public_key_file=file))


def test_a_private_key_in_place_of_the_public_one_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(new_key().as_pem(private=True))
    with pytest.raises(SettingsError, match="openssl pkey -pubout"):
        Verifier.from_settings(Settings(public_key_file=file))


# Keys behind a URL


class Issuer:
    """A small web server that publishes a JWKS, and can fail."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.scheme = "https" if tls else "http"
        self.body = b""
        self.status = 200
        self.location = ""
        self.asked = 0
        self.open = threading.Event()
        self.open.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.open.wait(10)
                body = b"" if self.path == "/redirect" else issuer.body
                self.send_response(302 if self.path == "/redirect" else issuer.status)
                if self.path == "/redirect":
                    self.send_header("Location", issuer.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}/jwks"

    @property
    def redirecting(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}/redirect"

    @contextmanager
    def serving(self) -> Iterator["Issuer"]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            self.server.shutdown()
            thread.join()
            self.server.server_close()


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Issuer().serving() as issuer:
        yield issuer


@pytest.fixture
def secure_issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """An issuer behind TLS, with a certificate that this process trusts."""
    private = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        certificate(private)
        + private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Issuer(tls).serving() as issuer:
        yield issuer


def asking(url: str) -> Verifier:
    return Verifier.from_settings(Settings(jwks_url=url))


def unavailable(verifier: Verifier, token: str, now: datetime = NOW) -> Problem:
    with pytest.raises(Problem) as caught:
        verify(verifier, token, now)
    assert caught.value.kind is UNAVAILABLE
    return caught.value


def test_keys_are_fetched_at_first_use_and_then_kept(issuer: Issuer) -> None:
    key = new_key()
    issuer.body = jwks(key)
    verifier = asking(issuer.url)
    assert issuer.asked == 0
    for name in ("alice", "bob", "carol"):
        assert verify(verifier, signed(key, good(sub=name))).user_id == name
    assert issuer.asked == 1


def test_many_first_requests_share_one_fetch(issuer: Issuer) -> None:
    key = new_key()
    issuer.body = jwks(key)
    issuer.open.clear()
    verifier = asking(issuer.url)

    async def many() -> list[Caller]:
        requests = [asyncio.create_task(verifier.verify(signed(key, good(sub=str(n))), NOW)) for n in range(20)]
        await asyncio.sleep(0)
        issuer.open.set()
        return await asyncio.gather(*requests)

    assert [caller.user_id for caller in asyncio.run(many())] == [str(n) for n in range(20)]
    assert issuer.asked == 1


def test_a_request_given_up_does_not_take_the_fetch_from_the_others(issuer: Issuer) -> None:
    key = new_key()
    issuer.body = jwks(key)
    issuer.open.clear()
    verifier, token = asking(issuer.url), signed(key)

    async def one_gives_up() -> Caller:
        impatient = asyncio.create_task(verifier.verify(token, NOW))
        patient = asyncio.create_task(verifier.verify(token, NOW))
        await asyncio.sleep(0)
        impatient.cancel()
        issuer.open.set()
        return await patient

    assert asyncio.run(one_gives_up()) == ALICE
    assert issuer.asked == 1


def test_a_token_that_names_an_unknown_key_has_the_keys_fetched_again(issuer: Issuer) -> None:
    old, new = new_key("old"), new_key("new")
    issuer.body = jwks(old)
    verifier = asking(issuer.url)
    verify(verifier, signed(old))
    issuer.body = jwks(old, new)
    assert verify(verifier, signed(new), NOW + 30 * SECOND) == ALICE
    assert verify(verifier, signed(old), NOW + 30 * SECOND) == ALICE


def test_unknown_keys_cause_at_most_one_fetch_in_thirty_seconds(issuer: Issuer) -> None:
    key = new_key()
    issuer.body = jwks(key)
    verifier = asking(issuer.url)
    verify(verifier, signed(key))
    for n in range(60):
        refusal(verifier, signed(new_key(f"made up {n}")), NOW + n * SECOND)
    assert issuer.asked == 2


def test_what_is_no_token_causes_no_fetch(issuer: Issuer) -> None:
    verifier = asking(issuer.url)
    refusal(verifier, "nonsense")
    refusal(verifier, forge({"alg": "none"}, good(), lambda _: b""))
    assert issuer.asked == 0


def test_a_withdrawn_key_stops_working_within_ten_minutes(issuer: Issuer) -> None:
    key = new_key()
    issuer.body = jwks(key)
    verifier, token = asking(issuer.url), signed(key, good(exp=SECONDS + 86_400))
    verify(verifier, token)
    issuer.body = jwks(new_key("other"))
    assert verify(verifier, token, NOW + 599 * SECOND) == ALICE
    assert verifier.cached(token, NOW + 600 * SECOND) is None
    assert "key" in refusal(verifier, token, NOW + 600 * SECOND)


def test_requests_go_on_with_the_keys_at_hand_while_one_looks_for_new_ones(issuer: Issuer) -> None:
    key = new_key()
    issuer.body = jwks(key)
    verifier, token = asking(issuer.url), signed(key, good(exp=SECONDS + 86_400))
    verify(verifier, token)
    later = NOW + 600 * SECOND
    issuer.open.clear()

    async def meanwhile() -> tuple[Caller, Caller]:
        first = asyncio.create_task(verifier.verify(token, later))
        await asyncio.sleep(0)
        second = await verifier.verify(token, later)
        assert not first.done()
        issuer.open.set()
        return await first, second

    assert asyncio.run(meanwhile()) == (ALICE, ALICE)
    assert issuer.asked == 2


def test_a_failing_url_without_any_keys_is_answered_with_when_to_try_again(issuer: Issuer) -> None:
    key = new_key()
    issuer.body, issuer.status = jwks(key), 500
    verifier, token = asking(issuer.url), signed(key)
    wait = int(unavailable(verifier, token).headers["Retry-After"])
    unavailable(verifier, token, NOW + SECOND)
    assert issuer.asked == 1
    issuer.status = 200
    assert verify(verifier, token, NOW + wait * SECOND) == ALICE


def test_a_failing_url_leaves_the_keys_in_use(issuer: Issuer) -> None:
    key, other = new_key(), new_key("other")
    issuer.body = jwks(key)
    verifier, token = asking(issuer.url), signed(key, good(exp=SECONDS + 86_400))
    verify(verifier, token)
    issuer.status = 503
    assert verify(verifier, token, NOW + 600 * SECOND) == ALICE
    assert verifier.cached(token, NOW + 600 * SECOND) == ALICE
    issuer.status, issuer.body = 200, jwks(other)
    assert "key" in refusal(verifier, token, NOW + 630 * SECOND)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff"])
def test_an_answer_that_is_no_jwks_is_a_failure(issuer: Issuer, body: bytes) -> None:
    issuer.body = body
    unavailable(asking(issuer.url), signed(new_key()))


def test_a_jwks_of_more_than_a_mebibyte_is_a_failure(issuer: Issuer) -> None:
    key = new_key()
    issuer.body = jwks(key).ljust(1_048_576)
    assert verify(asking(issuer.url), signed(key)) == ALICE
    issuer.body += b" "
    unavailable(asking(issuer.url), signed(key))


def test_nobody_listening_at_the_url_is_a_failure() -> None:
    unavailable(asking("http://127.0.0.1:1/jwks"), signed(new_key()))


def test_a_redirect_to_the_web_is_followed(issuer: Issuer) -> None:
    key = new_key()
    issuer.body, issuer.location = jwks(key), issuer.url
    assert verify(asking(issuer.redirecting), signed(key)) == ALICE


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_a_redirect_to_anything_else_is_a_failure(issuer: Issuer, tmp_path: Path, scheme: str) -> None:
    key = new_key()
    file = tmp_path / "jwks.json"
    file.write_bytes(jwks(key))
    issuer.location = {
        "file": file.as_uri(),
        "ftp": f"ftp://127.0.0.1:1{file}",
        "data": f"data:application/json;base64,{base64.b64encode(jwks(key)).decode()}",
    }[scheme]
    unavailable(asking(issuer.redirecting), signed(key))


def test_keys_are_fetched_over_tls(secure_issuer: Issuer) -> None:
    key = new_key()
    secure_issuer.body, secure_issuer.location = jwks(key), secure_issuer.url
    assert verify(asking(secure_issuer.url), signed(key)) == ALICE
    assert verify(asking(secure_issuer.redirecting), signed(key)) == ALICE


def test_a_redirect_from_https_to_http_is_a_failure(secure_issuer: Issuer, issuer: Issuer) -> None:
    key = new_key()
    issuer.body, secure_issuer.location = jwks(key), issuer.url
    unavailable(asking(secure_issuer.redirecting), signed(key))
    assert issuer.asked == 0


@pytest.mark.parametrize(
    "url",
    ["", "issuer.example/jwks", "file:///etc/keys", "ftp://issuer.example/", "https://", "http://[", "http://h:x/"],
)
def test_a_url_that_is_not_of_the_web_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="MILEPOST_JWKS_URL"):
        asking(url)


# The service's own key


def own(path: Path) -> Settings:
    return Settings(database=f"sqlite:///{path / 'data.db'}")


def signed_by_own(path: Path, **changes: Any) -> str:
    given: dict[str, Any] = {
        "user_id": "alice",
        "platform_admin": False,
        "ttl": timedelta(hours=1),
        "now": NOW,
        "issuer": None,
        "audience": None,
    }
    return sign(own_key(own(path).own_key_file), **{**given, **changes})


def test_without_any_key_the_service_makes_its_own_beside_its_data(tmp_path: Path) -> None:
    verifier = Verifier.from_settings(own(tmp_path))
    file = tmp_path / "data.key.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert list(tmp_path.iterdir()) == [file]
    assert verify(verifier, signed_by_own(tmp_path)) == ALICE


def test_the_own_key_is_kept(tmp_path: Path) -> None:
    token = signed_by_own(tmp_path)
    assert verify(Verifier.from_settings(own(tmp_path)), token) == ALICE
    assert signed_by_own(tmp_path) == token


def test_the_own_key_is_not_made_where_another_is_set(tmp_path: Path) -> None:
    trusting(tmp_path, new_key(), database=own(tmp_path).database)
    assert [file.name for file in tmp_path.iterdir()] == ["jwks.json"]


def test_a_signed_token_says_who_until_when_and_by_which_key(tmp_path: Path) -> None:
    token = signed_by_own(tmp_path, platform_admin=True, issuer="https://here.example", audience="milepost")
    header, claims, _ = (base64.urlsafe_b64decode(piece + "==") for piece in token.split("."))
    public = own_key(own(tmp_path).own_key_file).as_dict(private=False)
    members = json.dumps({name: public[name] for name in ("crv", "kty", "x")}, separators=(",", ":"))
    thumbprint = part(hashlib.sha256(members.encode()).digest()).decode()
    assert json.loads(header) == {"typ": "JWT", "alg": "EdDSA", "kid": thumbprint}
    assert json.loads(claims) == {
        "sub": "alice",
        "iat": SECONDS,
        "exp": SECONDS + 3600,
        "scope": "platform_admin",
        "iss": "https://here.example",
        "aud": "milepost",
    }


def test_a_token_signed_for_a_platform_admin_makes_one(tmp_path: Path) -> None:
    verifier = Verifier.from_settings(own(tmp_path))
    assert verify(verifier, signed_by_own(tmp_path, platform_admin=True)).platform_admin


def test_a_signed_token_fits_the_issuer_and_audience_of_the_settings(tmp_path: Path) -> None:
    database = own(tmp_path).database
    settings = Settings(database=database, token_issuer="https://here.example", token_audience="milepost")
    token = signed_by_own(tmp_path, issuer=settings.token_issuer, audience=settings.token_audience)
    assert verify(Verifier.from_settings(settings), token) == ALICE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_an_own_key_that_others_may_read_stops_the_start(tmp_path: Path, mode: int) -> None:
    Verifier.from_settings(own(tmp_path))
    file = tmp_path / "data.key.pem"
    file.chmod(mode)
    with pytest.raises(SettingsError, match="MILEPOST_SIGNING_KEY_FILE") as caught:
        Verifier.from_settings(own(tmp_path))
    assert f"chmod 600 {file}" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"rsa", b"public", b"password"])
def test_an_own_key_file_with_something_else_stops_the_start(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "data.key.pem"
    kinds = {
        b"rsa": RSAKey.generate_key(2048).as_pem(private=True),
        b"public": new_key().as_pem(),
        b"password": new_key().as_pem(private=True, password="secret"),
    }
    file.write_bytes(kinds.get(content, content))
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="MILEPOST_SIGNING_KEY_FILE"):
        Verifier.from_settings(own(tmp_path))
    assert file.read_bytes() == kinds.get(content, content)


def test_an_own_key_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    settings = Settings(signing_key_file=tmp_path / "no such folder" / "key.pem")
    with pytest.raises(SettingsError, match="MILEPOST_SIGNING_KEY_FILE"):
        Verifier.from_settings(settings)


def test_settings_that_do_not_allow_the_own_keys_algorithm_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MILEPOST_TOKEN_ALGORITHMS"):
        Verifier.from_settings(Settings(database=own(tmp_path).database, token_algorithms=("RS256",)))


PROCESSES = 4
ROUNDS = 50
_barrier: list[Barrier] = []


def _meet(barrier: Barrier) -> None:
    _barrier.append(barrier)


def _own_thumbprints(path: Path) -> list[str]:
    seen = []
    for n in range(ROUNDS):
        _barrier[0].wait(60)
        seen.append(own_key(path / f"{n}.pem").thumbprint())
    return seen


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES, _meet, [context.Barrier(PROCESSES)]) as pool:
        seen = pool.map(_own_thumbprints, [tmp_path] * PROCESSES, chunksize=1)
        pool.close()
        pool.join()
    kept = [own_key(tmp_path / f"{n}.pem").thumbprint() for n in range(ROUNDS)]
    assert seen == [kept] * PROCESSES
    assert len(list(tmp_path.iterdir())) == ROUNDS


# Service keys


def test_a_service_key_carries_its_id() -> None:
    key = new_service_key()
    prefix, key_id, secret = key.text.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("mk", key.key_id, 43)
    assert key_id.isalnum()
    assert key_id.islower() or key_id.isdigit()
    assert service_key_id(key.text) == key.key_id


def test_no_two_service_keys_are_alike() -> None:
    made = [new_service_key() for _ in range(100)]
    assert len({key.key_id for key in made}) == 100
    assert len({key.text for key in made}) == 100


def test_a_service_key_matches_its_digest_alone() -> None:
    key, other = new_service_key(), new_service_key()
    assert key.digest == digest(key.text) == hashlib.sha256(key.text.encode()).hexdigest()
    assert matches(key.text, key.digest)
    assert not matches(other.text, key.digest)
    assert not matches(key.text[:-1], key.digest)


def test_a_service_key_does_not_show_its_secret_in_a_trace() -> None:
    key = new_service_key()
    assert key.text not in repr(key)
    assert key.digest not in repr(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mk_",
        "mk_abcd",
        "mk_abcd_short",
        f"mk__{'a' * 43}",
        f"mk_ABCD_{'a' * 43}",
        f"mk_abcd_{'a' * 44}",
        f"mk_abcd_{'a' * 43}\n",
        f"xx_abcd_{'a' * 43}",
        f"mk_{'a' * 33}_{'a' * 43}",
        "eyJhbGciOiJFZERTQSJ9.e30.c2ln",
    ],
)
def test_what_does_not_look_like_a_service_key_has_no_id(text: str) -> None:
    assert service_key_id(text) is None


# The Authorization header


@pytest.mark.parametrize("header", ["Bearer abc.def-_~+/==", "bearer abc.def-_~+/==", "BEARER   abc.def-_~+/== "])
def test_the_credentials_follow_the_word_bearer(header: str) -> None:
    assert bearer(header) == "abc.def-_~+/=="


@pytest.mark.parametrize("header", [None, ""])
def test_a_request_without_credentials_is_told_how_to_send_them(header: str | None) -> None:
    with pytest.raises(Problem) as caught:
        bearer(header)
    assert caught.value.kind is UNAUTHENTICATED
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer a b", "Basic dXNlcjpwYXNz", "abc.def", "Bearer, abc", "Bearer é", "Bearer\tabc"],
)
def test_any_other_authorization_is_refused(header: str) -> None:
    with pytest.raises(Problem) as caught:
        bearer(header)
    assert caught.value.kind is INVALID_TOKEN
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
