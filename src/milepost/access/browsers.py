"""What a browser sends by itself: the console's cookie, and whether its own pages made the request (Fetch Metadata).

A cookie goes with every request to the service, whoever's page made it. So it counts only where the browser says that
the console's own page asked, and, for whatever changes something, only with a header that no form and no link sends.
"""

from collections.abc import Callable, Iterable

from milepost.problems import CROSS_ORIGIN, Problem

COOKIE = "milepost_console"
OWN_HEADER = "X-Milepost-Console"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Headers = Callable[[bytes], str | None]
"""A header's value by its name in lower case."""


def session_secret(cookies: Iterable[str]) -> str | None:
    """The console's secret among the cookies of a request, which may come in several header lines."""
    for line in cookies:
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == COOKIE and value:
                return value
    return None


def cookie(secret: str, path: str, *, seconds: int, secure: bool) -> str:
    """A `Set-Cookie` header; with 0 seconds it takes the cookie away."""
    flags = "; Secure" if secure else ""
    return f"{COOKIE}={secret}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{flags}"


def require_own_page(method: str, header: Headers, public_origin: str) -> None:
    """See that one of the console's own pages made the request.

    Browsers say so in `Sec-Fetch-Site` where the service is reached by https or on this machine, and in `Origin` with
    every request that may change something. A read without either comes from an old browser: SameSite protects it.

    Raises:
        Problem: `cross_origin` (403).
    """
    site, origin = header(b"sec-fetch-site"), header(b"origin")
    if site not in {None, "same-origin"}:
        raise _refusal("another site's page made this request")
    if origin is not None and not _is_own(origin, header(b"host"), public_origin):
        raise _refusal("its Origin is not where the service is; set MILEPOST_PUBLIC_URL if a proxy changes that")
    if method in SAFE_METHODS:
        return
    if site is None and origin is None:
        raise _refusal("the browser does not say whose page made this request")
    if header(OWN_HEADER.lower().encode()) is None:
        raise _refusal(f"what changes something needs the header {OWN_HEADER}: 1")


def _is_own(origin: str, host: str | None, public_origin: str) -> bool:
    scheme, _, place = origin.lower().partition("://")
    return origin.lower() == public_origin or (scheme in {"http", "https"} and place == (host or "").lower())


def _refusal(reason: str) -> Problem:
    return Problem(CROSS_ORIGIN, f"The console's cookie does not count here: {reason}.")
