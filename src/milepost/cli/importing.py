"""One run of `milepost import`: a file is read in chunks, each stored in one transaction, and bad lines are told."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from milepost.cli.checkpoint import Checkpoint
from milepost.cli.terminal import OPERATOR, err
from milepost.directory.service import Context
from milepost.domain.contract import UserProperties
from milepost.edge import new_id, now
from milepost.store.database import Database
from milepost.transfer import service
from milepost.transfer.left_out import Bad, Numbered
from milepost.transfer.lines import MAX_LINE, Line

CHUNK_LINES = 1_000
CHUNK_BYTES = 8 * 1024 * 1024
"""What one transaction holds, at most a line more."""

SHOWN = 100
"""How many faults are printed."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Chunk(NamedTuple):
    """Some lines, and where they end in the file."""

    texts: list[tuple[int, bytes]]
    offset: int
    line: int


def chunks(stream: BinaryIO, offset: int = 0, line: int = 0) -> Iterator[Chunk]:
    """The lines of a file after those that end at an offset."""
    if offset:
        stream.seek(offset)
    while True:
        texts: list[tuple[int, bytes]] = []
        start = offset
        while len(texts) < CHUNK_LINES and offset - start < CHUNK_BYTES:
            text, size = _line(stream)
            if not size:
                break
            offset, line = offset + size, line + 1
            texts.append((line, text.removeprefix(BYTE_ORDER_MARK) if line == 1 else text))
        if not texts:
            return
        yield Chunk(texts, offset, line)


def _line(stream: BinaryIO) -> tuple[bytes, int]:
    """A line and its size. Of one that is longer than any may be, only as much as shows it."""
    text = rest = stream.readline(MAX_LINE + 1)
    size = len(text)
    while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
        rest = stream.readline(MAX_LINE + 1)
        size += len(rest)
    return text, size


class Report:
    """Tells of bad lines: the first faults on standard error, and all of them in a file where one is given."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self._told = 0

    def add(self, bad: Iterable[Bad]) -> None:
        for each in bad:
            for place, reason in [(fault.pointer, fault.detail) for fault in each.errors] or [(None, each.detail)]:
                self._told += 1
                if self._told <= SHOWN:
                    _say(f"line {each.line}: {place + ': ' if place else ''}{reason}")
            if self._file:
                self._file.write(msgspec.json.encode(each) + b"\n")
        if self._file:
            self._file.flush()

    def finish(self) -> None:
        if self._told > SHOWN:
            where = "" if self._file else "; --errors FILE writes them all"
            _say(f"... and {self._told - SHOWN:,} more faults{where}")


def _say(sentence: str) -> None:
    # A line's own text must not be able to command the terminal.
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in sentence)
    err.print(shown)


class Import(NamedTuple):
    """A file on its way into a database. `committed` is called after every transaction."""

    stream: BinaryIO
    state: Checkpoint
    report: Report
    fit_attributes: Callable[[UserProperties], None]
    committed: Callable[[Checkpoint], None]

    async def run(self, database: Database) -> None:
        """Import what is left of the file.

        Raises:
            Unavailable: the database does not answer; what was committed until then stays.
        """
        waiting = chunks(self.stream, self.state.offset, self.state.line)
        current = await asyncio.to_thread(self._next, waiting)
        while current is not None:
            chunk, good, bad = current
            # The next lines are read while these are written.
            refused, current = await asyncio.gather(
                service.import_lines(database, good, Context(OPERATOR, now(), new_id)),
                asyncio.to_thread(self._next, waiting),
            )
            self._count(good, [*bad, *refused])
            self.state.offset, self.state.line = chunk.offset, chunk.line
            self.committed(self.state)

    def _next(self, waiting: Iterator[Chunk]) -> tuple[Chunk, list[Numbered[Line]], list[Bad]] | None:
        chunk = next(waiting, None)
        return None if chunk is None else (chunk, *service.read(chunk.texts, now(), self.fit_attributes))

    def _count(self, good: Sequence[Numbered[Line]], bad: Sequence[Bad]) -> None:
        out = {each.line for each in bad}
        imported = Counter(self.state.imported)
        imported.update(entry.kind for number, entry in good if number not in out)
        self.state.imported = dict(imported)
        self.state.bad += len(out)
        self.report.add(sorted(bad, key=lambda each: each.line))
