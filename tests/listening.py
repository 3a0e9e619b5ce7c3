"""A client of a stream of live updates, which listens in a thread of its own."""

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest

from tests.arrange import BASE, Json

PATIENCE = 60
"""Seconds after which what has not arrived is taken for lost: long, for a machine that is busy."""


@dataclass(frozen=True)
class Heard:
    """One event as it arrived, with the id that the client would come back with."""

    event: str
    id: str
    data: Any

    @property
    def type(self) -> str:
        """The kind of change; '' of an event that is none."""
        return str(self.data.get("type", ""))


def events_url(user_id: str, org_id: str, **query: str) -> str:
    path = f"{BASE}/users/{quote(user_id, safe='')}/properties/events"
    return f"{path}?{urlencode({'orgId': org_id, **query})}"


@dataclass
class Listener:
    """Listens as a caller to what happens to a user under an organization, from `ready` on.

    As a context manager it goes away at the end, without a word, as clients do.
    """

    client: httpx.Client
    user_id: str
    org_id: str
    last: str | None = None
    status: int = 0
    heard: list[Heard] = field(default_factory=list)
    alive: int = 0
    ended: bool = False
    last_id: str = ""

    def __post_init__(self) -> None:
        self._news = threading.Condition()
        place = urlsplit(str(self.client.base_url))
        self._connection = HTTPConnection(place.hostname or "", place.port or 80)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._connection.connect()
        made: socket.socket = self._connection.sock
        self._socket = made
        self._thread.start()
        self.wait(lambda: any(one.event == "ready" for one in self.heard), "the stream did not begin")
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended:
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._connection.close()
        assert not self._thread.is_alive()

    def _listen(self) -> None:
        headers = {"Authorization": self.client.headers["authorization"]}
        if self.last is not None:
            headers["Last-Event-ID"] = self.last
        self._connection.request("GET", events_url(self.user_id, self.org_id), headers=headers)
        try:
            answer = self._connection.getresponse()
            self.status = answer.status
            self._read(answer)
        except (OSError, HTTPException):
            pass
        finally:
            with self._news:
                self.ended = True
                self._news.notify_all()

    def _read(self, answer: HTTPResponse) -> None:
        event: Json = {}
        for line in iter(answer.readline, b""):
            name, _, value = line.decode().rstrip("\n").partition(":")
            if not line.strip():
                self._take(event)
                event = {}
            elif name:
                event[name] = value.removeprefix(" ")
            else:
                self.alive += 1

    def _take(self, event: Json) -> None:
        with self._news:
            self.last_id = event.get("id", self.last_id)
            if "data" in event:
                self.heard.append(Heard(event.get("event", "message"), self.last_id, json.loads(event["data"])))
            self._news.notify_all()

    def wait(self, done: Callable[[], bool], otherwise: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while not done():
                if self.ended or not self._news.wait(max(0.0, deadline - time.monotonic())):
                    if done():
                        return
                    pytest.fail(f"{otherwise}; status {self.status}, ended: {self.ended}, heard: {self.heard}")

    def hears(self, kind: str, event: str = "changed", times: int = 1) -> Heard:
        """Wait for an event of a kind, the last of so many."""

        def found() -> list[Heard]:
            return [one for one in self.heard if (one.event, one.type) == (event, kind)]

        self.wait(lambda: len(found()) >= times, f"no {event} {kind}")
        return found()[times - 1]

    def hears_changes(self, times: int) -> None:
        """Wait for so many changes, of whatever kind."""
        self.wait(lambda: len(self.changes) >= times, "changes are missing")

    def ends(self) -> Heard | None:
        """Wait until the stream is over; answers why, if that was said."""
        self._thread.join(PATIENCE)
        assert self.ended, "the stream goes on"
        return next((one for one in self.heard if one.event == "end"), None)

    @property
    def changes(self) -> list[Heard]:
        return [one for one in self.heard if one.event == "changed"]
