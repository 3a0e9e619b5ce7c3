"""Structured logs: JSON lines, or colours on a terminal; never a token, a body or a user's id."""

import asyncio
import atexit
import logging
import sys
from typing import Any, TextIO

import msgspec
import structlog

from milepost.settings import Settings


def configure(settings: Settings) -> None:
    """Set structlog up for this process. Lines go to standard error."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(serializer=_encode)
    )
    lines = _Lines(sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if not console else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )


class _Lines:
    """Writes to standard error what the requests of one turn of the event loop have to say, all at once.

    A write for each line would let go of the interpreter as often, and wait for it again.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting: list[str] = []
        atexit.register(self._write)

    def msg(self, line: str) -> None:
        """Take a line; outside of an event loop it is written at once."""
        self._waiting.append(line)
        if len(self._waiting) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self._write)
        except RuntimeError:
            self._write()

    debug = info = warning = error = critical = exception = msg

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        if lines:
            self._file.write("".join(f"{line}\n" for line in lines))
            self._file.flush()


def _encode(event: dict[str, Any], **_options: object) -> str:
    return msgspec.json.encode(event).decode()
