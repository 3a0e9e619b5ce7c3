"""What is kept beside a checklist that the server made: its catalog, and why each step is completed."""

from datetime import datetime
from typing import Literal

import msgspec


class Evidence(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """Why a step is completed: by signals that met its condition, or by a person's word.

    `by` is the internal uuid of who did it, absent where nobody is known. `shared`: somebody of the same enterprise
    or organization did it for all.
    """

    how: Literal["signal", "person"]
    at: datetime
    by: str | None = None
    signals: tuple[str, ...] = ()
    shared: bool = False


class Progress(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """`org_id` and `version` name the catalog, an `org_id` of '' the platform's; an `enterprise_id` of '' stands for
    the whole organization; `evidence` is by step id. `published` is when that version was, in microseconds since 1970:
    an organization that is deleted and made anew counts its versions from 1 again.
    """

    org_id: str
    version: int
    enterprise_id: str = ""
    evidence: dict[str, Evidence] = {}
    published: int = 0
