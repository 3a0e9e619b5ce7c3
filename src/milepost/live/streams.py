"""One client's stream: what waits to be sent, bounded, and the id of each event, with which the client comes back."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import msgspec

from milepost.access.policy import Caller
from milepost.journal.queries import Event, Mark, Position
from milepost.live.matters import CHANGED, EVERYWHERE, MANY, Key, Told, told

MOST_WAITING = 100
"""Events that wait for a client; where there are more, it is told that it was many."""

MOST_RUNNING = 100
"""Transactions that an id names; where more are running, it goes back to before the first of them."""

PLACE = "[0-9]{1,18}(?:-[0-9a-f-]{1,36})?"
ID = re.compile(f"({PLACE})(?:~({PLACE}(?:\\.{PLACE}){{0,{MOST_RUNNING - 1}}}))?")


def to_text(mark: Mark) -> str:
    """A mark as the id of an event: `number-eventid`, and behind `~` the numbers that were not settled by then."""
    if len(mark.running) > MOST_RUNNING:
        return str(min(mark.running))
    text = _place(mark.number, mark.event_id)
    within = mark.within or Position(0, "")
    running = [_place(number, within.event_id if number == within.number else "") for number in mark.running]
    return f"{text}~{'.'.join(running)}" if running else text


def _place(number: int, event_id: str) -> str:
    return f"{number}-{event_id}" if event_id else str(number)


def from_text(text: str) -> Mark | None:
    """The mark that an id stands for; None where the text is no id."""
    found = ID.fullmatch(text)
    if found is None:
        return None
    place, *running = (_position(each) for each in (found[1], *(found[2] or "").split(".")) if each)
    within = next((each for each in running if each.event_id), None)
    return Mark(*place, tuple(each.number for each in running), within)


def _position(text: str) -> Position:
    number, _, event_id = text.partition("-")
    return Position(int(number), event_id)


class Step(NamedTuple):
    """From one mark to the next: what was read at once."""

    before: Mark
    after: Mark

    def mark_at(self, position: Position, following: Position | None) -> Mark:
        """What has been seen after the event here; `following` is what comes after it in this step."""
        if following is None:
            return self.after
        before, after = self
        if position.number >= before.number:
            return Mark(*position, tuple(number for number in after.running if number < position.number))
        # It was written by a transaction that ran at the mark before: what others wrote beyond it was seen long ago.
        number, goes_on = position.number, following.number == position.number
        running = tuple(
            each for each in before.running if each in after.running or each > number or (each == number and goes_on)
        )
        within = before.within if before.within is not None and before.within.number > number else None
        return Mark(before.number, before.event_id, running, position if goes_on else within)


class Waiting(NamedTuple):
    """Something that a client shall be told, from which event, and from which step of reading."""

    told: Told
    position: Position
    step: Step


class Message(msgspec.Struct, frozen=True):
    """One event as it is sent; without a name it is only an id, which tells the client how far it is."""

    id: str | None = None
    event: str | None = None
    data: dict[str, object] | None = None
    retry: int | None = None
    comment: str | None = None


class Watch(msgspec.Struct, frozen=True):
    """Whose properties somebody watches, under which organization, and with which credentials until when."""

    user_id: str
    org_id: str
    caller: Caller
    authorization: str | None
    expires: datetime | None


class Stream:
    """An open stream. `woken` is set when there is something to tell, or the caller's right is to be asked again."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.woken = asyncio.Event()
        self.closed = asyncio.Event()
        self._waiting: list[Waiting] = []
        self._overflown: int | None = None

    @property
    def keys(self) -> Sequence[Key]:
        """What the stream is found by."""
        watch = self.watch
        return (
            ("user", watch.user_id),
            ("organization", watch.org_id),
            ("caller", watch.caller.name),
            EVERYWHERE,
        )

    @property
    def backlog(self) -> int:
        """How many events wait for the client."""
        return len(self._waiting)

    def wants(self, position: Position, event: Event, step: Step) -> Waiting | None:
        """What an event has to tell here."""
        what = told(event, self.watch.user_id, self.watch.org_id)
        return None if what is None else Waiting(what, position, step)

    def tell(self, one: Waiting) -> None:
        """Have the client told, as soon as it reads."""
        if self._overflown is not None or len(self._waiting) >= MOST_WAITING:
            self.tell_of_many(one.told.at)
            return
        self._waiting.append(one)
        self.woken.set()

    def tell_first(self, missed: Iterable[Waiting]) -> None:
        """Have the client told what it missed, before what waits already."""
        waiting, self._waiting = self._waiting, []
        for one in (*missed, *waiting):
            self.tell(one)

    def tell_of_many(self, at: int) -> None:
        """Have the client told that many things changed, the last of them then, in place of each of them."""
        self._waiting.clear()
        self._overflown = at
        self.woken.set()

    def take(self, seen: Mark) -> list[Message]:
        """What waits, in its order; `seen` is the mark up to which everything for this stream has come here."""
        waiting, self._waiting = self._waiting, []
        if self._overflown is not None:
            many, self._overflown = Told(CHANGED, MANY, self._overflown), None
            return [Message(to_text(seen), many.event, many.data)]
        return [
            Message(to_text(_mark_of(one, following)), one.told.event, one.told.data)
            for one, following in pairwise((*waiting, None))
            if one is not None
        ]


def _mark_of(one: Waiting, following: Waiting | None) -> Mark:
    same = following is not None and following.step is one.step
    return one.step.mark_at(one.position, following.position if following is not None and same else None)
