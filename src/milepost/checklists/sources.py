"""What a refresh needs of the sources of signals that the operator has named; `signals/sources.py` asks them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from milepost.directory.service import Context

FAILED_HEADER = "Signal-Sources-Failed"


class Findings(Protocol):
    """What the sources said of one user in one organization."""

    def store(self, connection: Connection, context: Context) -> Mapping[str, str]:
        """Store the new signals, in the transaction of whoever evaluates them; answers the sources that failed, each
        with its reason. It may be run again.
        """


class SignalSources(Protocol):
    """The sources, asked all at the same time and for a bounded time. One that fails is told, and never raised."""

    async def ask(self, user_id: str, org_id: str, enterprise_id: str, now: datetime) -> Findings: ...


def as_header(failed: Mapping[str, str]) -> str:
    """The sources that failed as a list of tokens with a parameter, `billing;reason=timeout` (RFC 9651)."""
    return ", ".join(f"{name};reason={reason}" for name, reason in failed.items())
