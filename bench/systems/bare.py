"""The least that a server can do: read the request and answer what a record weighs. It is the machine's limit."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec.json import encode

from bench.documents import document
from bench.installs import ROOT
from bench.processes import running
from bench.stage import Stage, System, new_port
from bench.systems import contract
from bench.workloads import Request, Workload

BODY = encode(document(0))
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]

Event = dict[str, Any]


async def app(scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]) -> None:
    """Answer every request alike."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


@contextmanager
def started(stage: Stage) -> Iterator[System]:
    """The bare answer behind Granian with one worker, which is what serves Milepost."""
    port = new_port()
    command: list[str | Path] = [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "uvloop"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-ws", "--log-level", "warning"]
    with running(
        [*command, "bench.systems.bare:app"],
        log=stage.log("bare"),
        ready=f"http://127.0.0.1:{port}/",
        folder=ROOT,
    ) as process:

        def requests(workload: Workload) -> list[Request] | None:
            plain = {Workload.GET, Workload.PUT}
            return contract.of_the_record(stage, port, workload) if workload in plain else None

        yield System("bare", "bare answer", port, process, requests, _fits, checks_tokens=False)


def _fits(_workload: Workload, _number: int, answer: httpx.Response) -> bool:
    return answer.content == BODY
