"""A server that a refresh asks for signals, and that answers as a test tells it to."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]
Query = dict[str, str]
BATCH = "application/cloudevents-batch+json"


class Asked(BaseHTTPRequestHandler):
    """One question of a refresh."""

    server: "SourceServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the test has said for this path; a path nobody has said anything of has no events."""
        address = urlsplit(self.path)
        name, query = address.path.strip("/"), dict(parse_qsl(address.query))
        self.server.asked.append((name, query, dict(self.headers)))
        self.server.answers.get(name, events())(self, query)

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for header, value in {"Content-Type": BATCH, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """A test says by itself what went wrong."""


Answer = Callable[[Asked, Query], None]


class SourceServer(ThreadingHTTPServer):
    """The server, and what it was asked: the path's name, the query and the headers of each question."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.asked: list[tuple[str, Query, dict[str, str]]] = []
        self.answers: dict[str, Answer] = {}
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, *_: object) -> None:
        """The service hangs up on an answer that it will not read to its end."""


def event(query: Query, event_id: str = "1", **members: Any) -> Json:
    """An event about the user that was asked about; a member that is None is left out."""
    made = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/source",
        "type": "paired",
        "subject": query["userId"],
        "orgid": query["orgId"],
    } | members
    return {name: value for name, value in made.items() if value is not None}


def events(*made: Callable[[Query], Json], **headers: str) -> Answer:
    """Answers these events."""
    return lambda asked, query: asked.send(200, json.dumps([one(query) for one in made]).encode(), **headers)


def paired_twice(query: Query) -> list[Json]:
    """What completes the step `pair`."""
    return [event(query, "1"), event(query, "2")]


def says(content: Callable[[Query], object]) -> Answer:
    """Answers what is made of the question, as JSON."""
    return lambda asked, query: asked.send(200, json.dumps(content(query)).encode())


def raw(status: int, body: bytes = b"[]", **headers: str) -> Answer:
    return lambda asked, _query: asked.send(status, body, **headers)


def hangs(asked: Asked, _query: Query) -> None:
    """Never answers."""
    asked.server.ended.wait()
    asked.close_connection = True


def stalls(asked: Asked, _query: Query) -> None:
    """Begins to answer, and never ends."""
    asked.send_response(200)
    asked.send_header("Content-Length", "100")
    asked.end_headers()
    asked.wfile.write(b"[")
    hangs(asked, _query)


def hangs_up(asked: Asked, _query: Query) -> None:
    """Ends the connection without an answer."""
    asked.close_connection = True
