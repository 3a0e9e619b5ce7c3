"""Latency at a constant rate, counted from when each request was due to be sent.

A generator that waits for an answer before it sends the next request stops asking while a server is stuck, and so
leaves out what many would have waited (coordinated omission). This one has a timetable: a request that is due while
every connection is busy waits in a queue, and its waiting counts. It is plain sockets and `select`, because an event
loop's timers are too coarse (a millisecond), and Debian has no generator that works like this.
"""

import gc
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from bench.workloads import COUNTER, Request

DRAIN = 10
"""Seconds that answers may take after the last request was sent."""
WARM_UP = 0.2
"""The share of the time at the start whose latencies are left out."""


@dataclass(frozen=True)
class Latencies:
    """Milliseconds from when a request was due until its answer was there; `late`: by how much requests were sent
    late although a connection was free (the generator's own doing), 99th percentile.
    """

    rate: float
    answered: int
    refused: int
    unanswered: int
    p50: float
    p99: float
    p999: float
    longest: float
    late: float


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    due: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    whole: int = 0

    def fileno(self) -> int:
        return self.sock.fileno()


class _Schedule:
    """Sends by the timetable and notes what comes back."""

    def __init__(self, port: int, requests: list[Request], connections: int, tag: int) -> None:
        self._raw = [request.raw() for request in requests]
        self._sent = 0
        self._tag = tag
        self._port = port
        self._idle = [self._connected() for _ in range(connections)]
        self._busy: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self.latencies: list[tuple[float, float]] = []
        self.lateness: list[float] = []
        self.refused = 0
        self.unanswered = 0

    def run(self, rate: float, seconds: float) -> None:
        clock = time.perf_counter
        start = clock()
        end, due, left = start + seconds, start, max(1, round(rate * seconds))
        while True:
            now = clock()
            while due <= now and left:
                if len(self._waiting) < len(self._idle):
                    self.lateness.append(now - due)
                self._waiting.append(due)
                left -= 1
                due += 1 / rate
            self._send()
            if not left and not self._waiting and not self._busy:
                break
            if now > end + DRAIN:
                self.unanswered += len(self._busy) + len(self._waiting)
                break
            pause = max(0.0, due - clock()) if left else 0.1
            self._receive(pause)
        for one in (*self._idle, *self._busy):
            one.sock.close()

    def _connected(self) -> _Connection:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=DRAIN)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Connection(sock)

    def _send(self) -> None:
        while self._waiting and self._idle:
            connection = self._idle.pop()
            connection.due = self._waiting.popleft()
            raw = self._raw[self._sent % len(self._raw)]
            self._sent += 1
            if COUNTER in raw:
                raw = raw.replace(COUNTER, f"{self._tag:05d}{self._sent:07d}".encode())
            connection.sock.sendall(raw)
            self._busy.append(connection)

    def _receive(self, pause: float) -> None:
        readable, _, _ = select.select(self._busy, [], [], pause)
        for connection in readable:
            self._take(connection)

    def _take(self, connection: _Connection) -> None:
        received = connection.sock.recv(262_144)
        if not received:
            self._busy.remove(connection)
            self._idle.append(self._connected())
            self.unanswered += 1
            return
        connection.received += received
        if not connection.whole:
            head = connection.received.find(b"\r\n\r\n")
            if head < 0:
                return
            connection.whole = head + 4 + _content_length(bytes(connection.received[:head]))
        if len(connection.received) < connection.whole:
            return
        now = time.perf_counter()
        self.latencies.append((connection.due, now - connection.due))
        self.refused += connection.received[9:12] >= b"400"
        connection.received.clear()
        connection.whole = 0
        self._busy.remove(connection)
        self._idle.append(connection)


def _content_length(head: bytes) -> int:
    if head[9:12] in {b"204", b"304"}:
        return 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("an answer without a Content-Length cannot be told from the next one")


def latencies(
    port: int,
    requests: list[Request],
    *,
    connections: int,
    rate: float,
    seconds: float,
    tag: int,
    warm_up: float = WARM_UP,
) -> Latencies:
    """Send requests at a constant rate; `tag` is a number that no other run has, for ids in requests."""
    schedule = _Schedule(port, requests, connections, tag)
    gc.collect()
    gc.disable()
    try:
        schedule.run(rate, seconds)
    finally:
        gc.enable()
    first = min((due for due, _ in schedule.latencies), default=0.0)
    counted = sorted(took for due, took in schedule.latencies if due >= first + warm_up * seconds)
    return Latencies(
        rate=rate,
        answered=len(schedule.latencies),
        refused=schedule.refused,
        unanswered=schedule.unanswered,
        p50=1000 * percentile(counted, 0.5),
        p99=1000 * percentile(counted, 0.99),
        p999=1000 * percentile(counted, 0.999),
        longest=1000 * (counted[-1] if counted else 0.0),
        late=1000 * percentile(sorted(schedule.lateness), 0.99),
    )


def percentile(ordered: list[float], share: float) -> float:
    """The value below which this share of ordered values lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
