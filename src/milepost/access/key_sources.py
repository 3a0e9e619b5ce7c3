"""Where the keys of tokens come from, and how they are kept current without a restart: a file or a URL."""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

import structlog
from joserfc.jwk import Key

from milepost.access.keys import Keys, UnusableKeysError, read_jwks, usable
from milepost.problems import UNAVAILABLE, Problem
from milepost.settings import SettingsError, variable

log = structlog.get_logger(__name__)

FILE_CHECK = timedelta(seconds=1)
URL_REFRESH = timedelta(minutes=10)
URL_SPACING = timedelta(seconds=30)
URL_FIRST_SPACING = timedelta(seconds=5)
URL_TIMEOUT_SECONDS = 5
URL_MAX_BYTES = 1_048_576
NEVER = datetime.min.replace(tzinfo=UTC)


class KeySource(Protocol):
    """Where keys come from. The same tuple is answered for as long as the keys have not changed."""

    check_at: datetime
    """From when on `current` looks whether the keys have changed."""

    async def current(self, now: datetime) -> Keys:
        """The keys.

        Raises:
            Problem: `unavailable` (503), where they cannot be had.
        """

    async def searched(self, now: datetime) -> Keys:
        """The keys, after a token named one that is not among them."""


class FileKeys:
    """Keys in a file, read again when it changes, so that they rotate without a restart."""

    def __init__(self, field: str, path: Path, read: Callable[[Path], list[Key]], allowed: Collection[str]) -> None:
        """Read the file that the settings' field names.

        Raises:
            SettingsError: it cannot be read, or holds no key that fits an allowed algorithm.
        """
        self._path = path
        self._read = read
        self._allowed = allowed
        self._stamp = _stamp(path)
        self.check_at = NEVER
        setting = variable(field)
        try:
            self._keys = usable(read(path), allowed)
        except OSError as error:
            raise SettingsError(f"{setting}: {path} cannot be read ({error.strerror}); name one that can") from None
        except UnusableKeysError as error:
            raise SettingsError(f"{setting}: {path} {error}") from None
        if not self._keys:
            raise SettingsError(
                f"{setting}: {path} holds no key that checks {', '.join(allowed)}; "
                f"put one there, or name its algorithm in {variable('token_algorithms')}"
            )

    async def current(self, now: datetime) -> Keys:
        if now >= self.check_at:
            self.check_at = now + FILE_CHECK
            self._reread()
        return self._keys

    async def searched(self, now: datetime) -> Keys:  # noqa: ARG002 - a look at the file is cheap at any time
        self._reread()
        return self._keys

    def _reread(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        # Taken before the file is read: what is written meanwhile changes it once more.
        self._stamp = stamp
        try:
            keys = usable(self._read(self._path), self._allowed)
        except (OSError, ValueError) as error:
            log.warning("token_keys.kept", path=str(self._path), reason=str(error))
            return
        if keys != self._keys:
            self._keys = keys
            log.info("token_keys.changed", path=str(self._path), keys=len(keys))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # Not the time alone: a file put in place by a link swap may be older than the one before.
    return status.st_mtime_ns, status.st_ino, status.st_size


class UrlKeys:
    """Keys behind a URL, fetched at first use, every ten minutes, and when a token names an unknown one."""

    def __init__(self, url: str, allowed: Collection[str]) -> None:
        """Nothing is fetched yet.

        Raises:
            SettingsError: the URL is not one of http or https.
        """
        try:
            parts = urlsplit(url)
            fit = parts.scheme in {"http", "https"} and parts.hostname and parts.username is None
            _ = parts.port
        except ValueError:
            fit = False
        if not fit:
            raise SettingsError(f"{variable('jwks_url')} must be a URL such as https://issuer.example/jwks.json")
        self._url = url
        self._host = parts.hostname
        self._allowed = allowed
        self._keys: Keys | None = None
        self._tried_at = NEVER
        self._flight: asyncio.Task[None] | None = None
        self.check_at = NEVER

    async def current(self, now: datetime) -> Keys:
        if self._keys is None:
            await self._refresh(now, URL_FIRST_SPACING)
        elif now >= self.check_at:
            # Put off before the fetch: only this request waits, others go on with the keys at hand.
            self.check_at = now + URL_SPACING
            await self._refresh(now, URL_SPACING)
        if self._keys is None:
            raise Problem(
                UNAVAILABLE,
                "The keys that tokens are checked against cannot be fetched right now; try again shortly.",
                headers={"Retry-After": str(int(URL_FIRST_SPACING.total_seconds()))},
            )
        return self._keys

    async def searched(self, now: datetime) -> Keys:
        await self._refresh(now, URL_SPACING)
        return self._keys or ()

    async def _refresh(self, now: datetime, spacing: timedelta) -> None:
        """One fetch at a time; all who need it wait for it, and it outlives a request that is given up."""
        if self._flight is None or self._flight.done():
            if now - self._tried_at < spacing:
                return
            self._tried_at = now
            self._flight = asyncio.create_task(self._fetch(now))
        await asyncio.shield(self._flight)

    async def _fetch(self, now: datetime) -> None:
        try:
            async with asyncio.timeout(URL_TIMEOUT_SECONDS):
                data = await asyncio.to_thread(_download, self._url)
            keys = usable(read_jwks(data), self._allowed)
        except (OSError, HTTPException, ValueError) as error:
            log.warning("token_keys.not_fetched", host=self._host, reason=str(error) or type(error).__name__)
            return
        self.check_at = now + URL_REFRESH
        if keys != self._keys:
            self._keys = keys
            log.info("token_keys.changed", host=self._host, keys=len(keys))


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects within the web alone, and from https to https alone."""

    def redirect_request(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request | None:
        if urlsplit(newurl).scheme not in ({"https"} if req.type == "https" else {"http", "https"}):
            raise HTTPError(req.full_url, code, "it redirects to where keys are not taken from", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str) -> bytes:
    asked = request.Request(url, headers={"Accept": "application/json", "User-Agent": "milepost"})  # noqa: S310 - UrlKeys takes http and https only
    try:
        with request.build_opener(_Redirects).open(asked, timeout=URL_TIMEOUT_SECONDS) as answer:
            data: bytes = answer.read(URL_MAX_BYTES + 1)
    except HTTPError as error:
        error.close()
        raise
    if len(data) > URL_MAX_BYTES:
        raise UnusableKeysError(f"answers more than {URL_MAX_BYTES} bytes")
    return data
