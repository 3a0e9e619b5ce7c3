"""Which track a user is on: named strategies, each of which says why (contract part 2, initialize)."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Protocol

import msgspec

from milepost.domain.contract import Track


class Joining(msgspec.Struct, frozen=True):
    """A user about to get a checklist. `prior_enterprises`: the enterprises, other than the one being joined, that the
    user has been a member of in any organization."""

    user_id: str
    org_id: str
    enterprise_id: str
    prior_enterprises: Sequence[str] = ()
    attributes: Mapping[str, object] = {}


class Decision(msgspec.Struct, frozen=True):
    """The track, the strategy that decided, and why, in words for the journal."""

    track: Track
    strategy: str
    why: str


class Strategy(Protocol):
    """Decides on a track. The same user is decided alike every time."""

    def __call__(self, joining: Joining) -> Decision: ...


def by_memberships(joining: Joining) -> Decision:
    """A: new to the platform. B: somebody who was a member of another enterprise before."""
    if joining.prior_enterprises:
        count = len(joining.prior_enterprises)
        return Decision(Track.B, "memberships", f"a member of {count} other enterprise{'s' * (count > 1)}")
    return Decision(Track.A, "memberships", "no earlier enterprise membership")


def fixed(track: Track) -> Strategy:
    """Everybody on one track."""
    return lambda _joining: Decision(track, "fixed", f"the setting says {track}")


class FlagAnswer(msgspec.Struct, frozen=True):
    """What a feature flag said: its value with its provider's reason, or, where it said nothing, why."""

    value: str = ""
    reason: str = ""
    failure: str | None = None


MOST_TOLD = 40
"""Characters of a provider's own words that go into the journal."""


def by_flag(joining: Joining, key: str, answer: FlagAnswer) -> Decision:
    """The track that a feature flag names; where it names none, the rule of memberships decides."""
    if answer.failure is None and answer.value in set(Track):
        return Decision(Track(answer.value), "openfeature", f"the flag {key} says {answer.value} ({answer.reason})")
    cause = answer.failure or f"its value {answer.value[:MOST_TOLD]!a} is no track"
    rule = by_memberships(joining)
    return msgspec.structs.replace(rule, why=f"{rule.why}; the flag {key} did not decide: {cause}")


SLICES = 10_000


def experiment(share_of_b: float, salt: str) -> Strategy:
    """A share of the users (0 to 1) on track B, by a hash of user and salt that stays the same for good."""

    def decide(joining: Joining) -> Decision:
        drawn = int.from_bytes(sha256(f"{salt}\0{joining.user_id}".encode()).digest()[:8], "big") % SLICES
        track = Track.B if drawn < share_of_b * SLICES else Track.A
        return Decision(track, "experiment", f"slice {drawn} of {SLICES}, B below {share_of_b * SLICES:.0f}")

    return decide
