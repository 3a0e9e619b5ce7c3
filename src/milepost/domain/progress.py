"""What is kept beside a checklist that the server made: its catalog, and why each step is completed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec


class Evidence(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """Why a step is completed: by signals that met its condition, or by a person's word.

    `by` is the internal uuid of who did it, absent where nobody is known. `shared`: it was done for all of the
    enterprise `enterprise_id`, '' for the whole organization (None: older data does not say where). What a record has
    of that is a copy; `Sharing` says what is true.
    """

    how: Literal["signal", "person"]
    at: datetime
    by: str | None = None
    signals: tuple[str, ...] = ()
    shared: bool = False
    enterprise_id: str | None = None

    def gives_way_to(self, other: "Evidence") -> bool:
        """Whether other evidence of the same step counts instead: it is earlier, or as early and no other person's."""
        return other.at < self.at or (other.at == self.at and (not self.shared or other.by == self.by))


Sharing = Mapping[str, Mapping[str, Evidence | None]]
"""What is done for all, by enterprise ('' for the whole organization) and step id; None: that was taken back."""


def done_for_all(sharing: Sharing, enterprise_id: str) -> dict[str, Evidence]:
    """By step id, what is done for those whose checklist is for this enterprise."""
    here = (sharing.get(place, {}) for place in ("", enterprise_id))
    return {step_id: why for done in here for step_id, why in done.items() if why is not None}


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
