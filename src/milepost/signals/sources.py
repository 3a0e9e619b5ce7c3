"""Signals that a refresh asks for: every source that the operator has named, at the same time, each for itself.

A source that is late, away or wrong fails alone. What it does is told by its name and a reason, never by what it said.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self

import httpx
import structlog
from sqlalchemy import Connection

from milepost.directory.service import Context
from milepost.domain.cloud_events import BATCH, CloudEvent, read_batch
from milepost.problems import Problem
from milepost.settings import Settings, SettingsError, variable
from milepost.signals import service

log = structlog.get_logger(__name__)

MAX_BYTES = 1_048_576
TIMEOUT, UNREACHABLE, INVALID = "timeout", "unreachable", "invalid"


class Failed(Exception):
    """A source did not answer as it should."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Collected:
    """What the sources said of one user: the events of those that answered, and why others did not."""

    def __init__(self, answers: Mapping[str, Sequence[CloudEvent] | Failed]) -> None:
        self._answers = answers

    def store(self, connection: Connection, context: Context) -> Mapping[str, str]:
        """Store what is new; answers the sources that failed, each with its reason."""
        failed: dict[str, str] = {}
        for name, answer in self._answers.items():
            if isinstance(answer, Failed):
                failed[name] = answer.reason
            elif not service.take_in(connection, context, answer, f"source:{name}"):
                failed[name] = _told(name, INVALID)
        return failed


class Sources:
    """The sources, and the connections to them that are kept."""

    def __init__(self, urls: Mapping[str, httpx.URL], seconds: float, token: str | None) -> None:
        self._urls = urls
        self._seconds = seconds
        # Uncompressed, so that the limit counts what is read. Nothing is remembered from one user to the next.
        headers = {"Accept": BATCH, "Accept-Encoding": "identity", "User-Agent": "milepost"}
        self._client = httpx.AsyncClient(
            headers=headers | ({} if token is None else {"Authorization": f"Bearer {token}"}),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=None,  # noqa: S113 - the whole exchange has a time limit, in _events
        )
        # It logs the URLs that it asks, and these name a person.
        logging.getLogger("httpx").setLevel(logging.WARNING)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """The sources that the settings name, None where there are none.

        Raises:
            SettingsError: one of them cannot be asked.
        """
        urls: dict[str, httpx.URL] = {}
        for name, url in settings.signal_source_urls.items():
            try:
                urls[name] = httpx.URL(url)
            except httpx.InvalidURL as error:
                raise SettingsError(
                    f"{variable('signal_sources')}: the URL of {name} cannot be used: {error}"
                ) from None
        return cls(urls, settings.signal_source_timeout, settings.signal_source_token) if urls else None

    async def ask(self, user_id: str, org_id: str, enterprise_id: str, now: datetime) -> Collected:
        """Ask all sources what happened to a user in an organization, for one enterprise of it ('' for all)."""
        asked = {"userId": user_id, "orgId": org_id} | ({"enterpriseId": enterprise_id} if enterprise_id else {})
        answers = await asyncio.gather(*(self._answer(name, asked, now) for name in self._urls))
        return Collected(dict(zip(self._urls, answers, strict=True)))

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()

    async def _answer(self, name: str, asked: Mapping[str, str], now: datetime) -> Sequence[CloudEvent] | Failed:
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._body(self._urls[name].copy_merge_params(asked))
            return _events(body, asked, now)
        except TimeoutError:
            return Failed(_told(name, TIMEOUT))
        except httpx.RequestError:
            return Failed(_told(name, UNREACHABLE))
        except Failed as failed:
            _told(name, failed.reason)
            return failed

    async def _body(self, url: httpx.URL) -> bytes:
        async with self._client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise Failed(f"status-{answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise Failed(INVALID)
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise Failed(INVALID)
        return bytes(body)


def _events(body: bytes, asked: Mapping[str, str], now: datetime) -> Sequence[CloudEvent]:
    try:
        events = read_batch(body, now)
    except Problem:
        raise Failed(INVALID) from None
    if any(event.subject != asked["userId"] or event.orgid != asked["orgId"] for event in events):
        raise Failed(INVALID)
    return events


def _told(name: str, reason: str) -> str:
    log.warning("signal_source.failed", source=name, reason=reason)
    return reason
