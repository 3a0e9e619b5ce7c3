"""What is asked: the workloads, and a request as it is checked once and then sent many times."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

COUNTER = b"@@@@@@@@@@@@"
"""Stands in a request for a number that is another one each time it is sent; twelve digits."""

TAG = b"*$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$"
"""Stands in a request for the ETag of what the last answer about this user showed."""


class Workload(StrEnum):
    """One kind of load."""

    GET = "GET"
    NOT_MODIFIED = "GET, answered 304"
    PUT = "PUT"
    PUT_IF_MATCH = "PUT with If-Match"
    PATCH = "PATCH of one step"
    SIGNALS = "signals, 100 a batch"
    INITIALIZE = "initialize"
    MIX = "mix"


WRITES = {Workload.PUT, Workload.PUT_IF_MATCH, Workload.PATCH}

MIXED = (Workload.GET,) * 90 + (Workload.PATCH,) * 6 + (Workload.SIGNALS,) * 3 + (Workload.INITIALIZE,)
"""The mix, of a hundred requests: those of a day's users, more reading than writing. Its signals come one by one."""


@dataclass(frozen=True)
class Request:
    """One request. `user_id` is whom it is about."""

    method: str
    path: str
    user_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def raw(self) -> bytes:
        """The request as it goes over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method != "GET":
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def with_json(
    method: str,
    path: str,
    content: object,
    *,
    user_id: str = "",
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Request:
    """A request with a JSON body."""
    return Request(method, path, user_id, {**(headers or {}), "Content-Type": media_type}, msgspec.json.encode(content))


def write_file(path: Path, requests: list[Request]) -> Path:
    """The requests in a file that the load generators read: each after a line with its user and its length."""
    with path.open("wb") as file:
        for request in requests:
            raw = request.raw()
            file.write(f"{request.user_id or '-'} {len(raw)}\n".encode() + raw)
    return path
