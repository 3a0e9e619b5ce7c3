"""Structured logs: JSON lines, or colours on a terminal; never a token, a body or a user's id."""

import logging
import sys
from typing import Any

import msgspec
import structlog

from milepost.settings import Settings


def configure(settings: Settings) -> None:
    """Set structlog up for this process. Lines go to standard error."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(serializer=_encode)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if not console else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _encode(event: dict[str, Any], **_options: object) -> str:
    return msgspec.json.encode(event).decode()
