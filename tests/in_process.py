"""The application in the test's own process, called without a socket, so that what a call costs can be counted."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from litestar.types import Message, Scope

from milepost.access.keys import own_key
from milepost.access.tokens import sign
from milepost.app import create
from milepost.envelope import Envelope
from milepost.settings import Settings
from milepost.store import versions
from tests.arrange import BASE, Json


@dataclass(frozen=True)
class InProcess:
    """A running application, and a token of its platform's admin."""

    envelope: Envelope
    token: str

    async def call(self, method: str, path: str, body: Any = None, query: str = "", media_type: str = "") -> Json:
        """What a good call answers."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": media_type or "application/json"}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": BASE + path,
            "raw_path": (BASE + path).encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
            "state": {},
        }
        sent = b"" if body is None else json.dumps(body).encode()
        answers: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Message) -> None:
            answers.append(message)

        await self.envelope(cast("Scope", scope), receive, send)
        start, *parts = answers
        content = b"".join(part["body"] for part in parts)
        assert start["status"] in {200, 201}, content
        answer: Json = json.loads(content)
        return answer


@asynccontextmanager
async def running(database_url: str, folder: Path) -> AsyncIterator[InProcess]:
    """The application on an empty database."""
    settings = Settings(
        database=database_url, signing_key_file=folder / "key.pem", log_level="warning", funnel_interval=0
    )
    database = versions.open_database(settings)
    await database.write(versions.upgrade)
    await database.close()
    envelope = create(settings)
    token = sign(
        own_key(settings.own_key_file),
        user_id="operator",
        platform_admin=True,
        ttl=timedelta(hours=1),
        now=datetime.now(UTC),
        issuer=None,
        audience=None,
    )
    async with envelope.app.lifespan():
        yield InProcess(envelope, token)
        # What a call leaves for the next turn of the loop is its cost too.
        await asyncio.sleep(0)
