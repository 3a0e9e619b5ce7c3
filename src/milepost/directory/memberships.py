"""How a membership is put: what is refused, and what then changes. Pure; the service reads and writes."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import UNSET

from milepost.domain.directory import Member, require_same_ids
from milepost.domain.records import CLOCK_SKEW, microseconds
from milepost.problems import INVALID_BODY, UNKNOWN_ENTERPRISE, UNKNOWN_ROLE, Fault, Problem


class Holding(NamedTuple):
    """What a member has by name: a role, or a membership of an enterprise."""

    user_id: str
    org_id: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        """The user and the organization."""
        return (self.user_id, self.org_id)


class Membership(NamedTuple):
    """A membership that is asked for: with exactly these roles and enterprises."""

    user_id: str
    org_id: str
    entry: Member

    @property
    def key(self) -> tuple[str, str]:
        """The user and the organization."""
        return (self.user_id, self.org_id)

    @property
    def roles(self) -> list[Holding]:
        return self.holdings(self.entry.roles)

    @property
    def enterprises(self) -> list[Holding]:
        return self.holdings(self.entry.enterprises)

    def holdings(self, names: Iterable[str]) -> list[Holding]:
        return [Holding(self.user_id, self.org_id, name) for name in names]

    def since(self, at: int) -> int:
        return at if self.entry.since is UNSET else microseconds(self.entry.since)

    def refusal(self, undefined: set[Holding], foreign: set[Holding], now: datetime) -> Problem | None:
        """Why the membership cannot be; None where it can.

        `undefined` are roles, `foreign` enterprises that the organization does not have.
        """
        try:
            require_same_ids(self.entry, org_id=self.org_id, user_id=self.user_id)
        except Problem as problem:
            return problem
        if faults := _faults("/roles", self.roles, undefined, "is no role of this organization"):
            return Problem(
                UNKNOWN_ROLE,
                "Define a role with PUT /organizations/{orgId}/roles/{role} before somebody can hold it.",
                faults,
            )
        if faults := _faults("/enterprises", self.enterprises, foreign, "is no enterprise of this organization"):
            return Problem(
                UNKNOWN_ENTERPRISE,
                "A membership can be limited only to enterprises of the same organization.",
                faults,
            )
        if self.entry.since is not UNSET and self.entry.since > now + CLOCK_SKEW:
            fault = Fault("must not lie in the future", pointer="/since")
            return Problem(INVALID_BODY, "since lies in the future.", [fault])
        return None


def _faults(place: str, holdings: Sequence[Holding], wrong: set[Holding], reason: str) -> list[Fault]:
    return [Fault(reason, pointer=f"{place}/{n}") for n, holding in enumerate(holdings) if holding in wrong]


class Move:
    """How a membership changes from what it was, at the moment when its row was held, to what is asked.

    `known` is the membership from before it was claimed, None where there was none.
    """

    def __init__(self, asked: Membership, before: Member, known: Member | None) -> None:
        self.asked = asked
        self.known = known
        self.after = Member(
            org_id=asked.org_id,
            user_id=asked.user_id,
            roles=sorted(set(asked.entry.roles)),
            enterprises=sorted(set(asked.entry.enterprises)),
            since=before.since,
        )
        self.roles_added = self._only(self.after.roles, before.roles)
        self.roles_taken = self._only(before.roles, self.after.roles)
        self.enterprises_entered = self._only(self.after.enterprises, before.enterprises)
        self.enterprises_left = self._only(before.enterprises, self.after.enterprises)

    def _only(self, names: Sequence[str], others: Sequence[str]) -> list[Holding]:
        return self.asked.holdings(sorted(set(names).difference(others)))

    @property
    def is_new(self) -> bool:
        """Whether there was no such membership."""
        return self.known is None

    @property
    def changes(self) -> bool:
        """Whether there is anything to tell."""
        return self.known is None or self.known.since != self.after.since or bool(self.told())

    def told(self) -> dict[str, object]:
        """What changes, for the journal."""
        changed = {
            "rolesAdded": self.roles_added,
            "rolesTaken": self.roles_taken,
            "enterprisesEntered": self.enterprises_entered,
            "enterprisesLeft": self.enterprises_left,
        }
        return {key: [holding.name for holding in held] for key, held in changed.items() if held}
