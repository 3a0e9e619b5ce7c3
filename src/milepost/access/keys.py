"""The keys of tokens: which algorithms each fits, how they are read, and the service's own key."""

import os
import shlex
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate
from joserfc.errors import InvalidKeyCurveError, JoseError
from joserfc.jwa import JWS_ALGORITHMS, EdDSAAlgorithm, JWSAlgModel
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from milepost.settings import SettingsError, variable

OWN_ALGORITHM = "EdDSA"
RSA_MIN_BITS = 2048
# As X.509 calls P-256, P-384, P-521 and secp256k1 (RFC 7518, 3.4; RFC 8812, 3.2).
CURVES = {"secp256r1", "secp384r1", "secp521r1", "secp256k1"}

KEY_TYPES: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class UnusableKeysError(ValueError):
    """What was read holds no keys; the message goes on after the name of the file or host."""


class _EdDSA(EdDSAAlgorithm):
    # The name is deprecated (RFC 9864), and still the one that nearly every issuer writes.
    security_warning = ""

    def check_key(self, key: OKPKey) -> None:
        super().check_key(key)
        if key.curve_name not in {"Ed25519", "Ed448"}:
            raise InvalidKeyCurveError("The curve is for key agreement, not for signatures")


class Algorithms(JWSRegistry):
    """The algorithms that a token may be signed with; `none` and HMAC are not among them (RFC 8725, 3.1)."""

    algorithms: ClassVar[dict[str, JWSAlgModel]] = {  # type: ignore[misc]
        model.name: model for model in JWS_ALGORITHMS if model.key_type in KEY_TYPES
    } | {"EdDSA": _EdDSA()}
    # The library's own limits are too low for a certificate in the header; a token's whole length is limited.
    max_header_length = max_signature_length = 8192

    def __init__(self, allowed: Collection[str]) -> None:
        # An unknown header that is not critical is ignored (RFC 7515, 4).
        super().__init__(algorithms=allowed, strict_check_header=False)


@dataclass(frozen=True)
class TokenKey:
    """A public key and the algorithms that it may be used with."""

    key: Key
    algorithms: frozenset[str]

    def answers_to(self, kid: str | None) -> bool:
        """Whether a token that names `kid` may mean this key; one without an id (PEM) always may be."""
        return kid is None or self.key.kid is None or self.key.kid == kid


Keys = tuple[TokenKey, ...]


def usable(keys: Iterable[Key], allowed: Collection[str]) -> Keys:
    """The keys that fit an allowed algorithm by type, curve, `alg`, `use` and `key_ops` (RFC 7517, 4)."""
    found = []
    for key in keys:
        operations = key.get("key_ops")
        algorithms = frozenset(model.name for model in Algorithms.filter_algorithms(key, list(allowed)))
        if algorithms and (operations is None or "verify" in operations):
            found.append(TokenKey(key, algorithms))
    return tuple(found)


def read_jwks(data: bytes) -> list[Key]:
    """The asymmetric keys of a JWKS; secrets (`oct`) and keys not understood are passed over (RFC 7517, 5).

    Raises:
        UnusableKeysError: it is not a JWKS.
    """
    try:
        entries = msgspec.json.decode(data, type=_Jwks).keys
    except (ValueError, RecursionError):
        raise UnusableKeysError('is not a JWKS: {"keys": [...]}') from None
    keys = (_read_jwk(entry) for entry in entries)
    return [key for key in keys if key is not None]


class _Jwks(msgspec.Struct):
    keys: list[dict[str, Any]]


def _read_jwk(entry: dict[str, Any]) -> Key | None:
    kind = entry.get("kty")
    if not isinstance(kind, str) or kind not in KEY_TYPES:
        return None
    try:
        key = KEY_TYPES[kind].import_key(entry)
    # The library lets what it meets in a malformed key pass through: an unknown curve is a KeyError.
    except (JoseError, ValueError, KeyError, TypeError, UnsupportedAlgorithm):
        return None
    too_short = isinstance(key, RSAKey) and key.raw_value.key_size < RSA_MIN_BITS
    return None if too_short else key


def read_pem(data: bytes) -> list[Key]:
    """The one key of a PEM file: a public key or a certificate.

    Raises:
        UnusableKeysError: it is neither, or signs no tokens, such as RSA below 2048 bits (RFC 7518, 3.3).
    """
    if b"PRIVATE KEY" in data:
        raise UnusableKeysError("holds a private key; put the public one there: openssl pkey -pubout")
    try:
        key: object
        if b"BEGIN CERTIFICATE" in data:
            key = load_pem_x509_certificate(data).public_key()
        else:
            key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeysError("is not a public key or certificate in PEM") from None
    match key:
        case RSAPublicKey() if key.key_size >= RSA_MIN_BITS:
            return [RSAKey.import_key(key)]
        case EllipticCurvePublicKey() if key.curve.name in CURVES:
            return [ECKey.import_key(key)]
        case Ed25519PublicKey() | Ed448PublicKey():
            return [OKPKey.import_key(key)]
        case _:
            raise UnusableKeysError(
                f"must hold an RSA key of {RSA_MIN_BITS} bits or more, an EC key of P-256 or the like, or Ed25519"
            )


def own_key(path: Path) -> OKPKey:
    """The service's own Ed25519 key (PKCS8 PEM, mode 0600), made where there is none yet.

    Several processes may come here at once: one puts its key in place, the others read that one.

    Raises:
        SettingsError: the file cannot be written or read, holds something else, or others may read it.
    """
    setting = variable("signing_key_file")
    try:
        if not path.exists():
            _make_key(path)
        with path.open("rb") as file:
            exposed = os.fstat(file.fileno()).st_mode & 0o077
            data = file.read()
    except OSError as error:
        raise SettingsError(
            f"{setting}: {path} cannot be made or read ({error.strerror}); name a file this user may write"
        ) from None
    if exposed:
        raise SettingsError(f"{setting}: others may read {path}; run: chmod 600 {shlex.quote(str(path))}")
    try:
        native = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        native = None
    if not isinstance(native, Ed25519PrivateKey):
        raise SettingsError(
            f"{setting}: {path} must hold an Ed25519 private key in PEM without a password; remove it to have one made"
        )
    kid = OKPKey.import_key(native).thumbprint()
    return OKPKey.import_key(native, {"alg": OWN_ALGORITHM, "kid": kid})


def own_public_key(path: Path) -> list[Key]:
    """The public half of the service's own key.

    Raises:
        SettingsError: as `own_key` does.
    """
    key = own_key(path)
    return [OKPKey.import_key(key.public_key, {"alg": OWN_ALGORITHM, "kid": key.kid or ""})]


def _make_key(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # mkstemp gives mode 0600. A link, unlike a rename, fails where another process was first.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    finally:
        Path(temporary).unlink()
