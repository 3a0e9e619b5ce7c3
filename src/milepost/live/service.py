"""Live updates: follows the journal while somebody listens, and hands each stream what it is about.

The journal is the only source, since other processes write too. One reader serves all streams of a process: many
streams cost one query, and none of them holds a connection.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from milepost.access import queries as access
from milepost.access.policy import Action, Caller, Target, allowed, require
from milepost.access.queries import Standing
from milepost.domain.records import microseconds
from milepost.journal import queries as journal
from milepost.journal.queries import Concern, Mark, News
from milepost.live.matters import Key, concerned, doubted
from milepost.live.streams import Message, Step, Stream, Watch, to_text
from milepost.problems import TOO_MANY_STREAMS, UNAVAILABLE, Problem
from milepost.settings import Settings, variable
from milepost.store.batches import Batches
from milepost.store.database import Database

log = structlog.get_logger(__name__)

INTERVAL = 0.2
"""Seconds between two looks at the journal."""

PAUSE = 1.0
"""Seconds until the database, or who checks credentials, is asked again after no answer."""

SHORTEST_WAIT = 0.25
RETRY = 2_000
"""Milliseconds that a client waits before it comes back."""

MOST_AT_ONCE = 5_000
"""Events that one look takes in; where there are more, every stream is told that it was many."""

MOST_MISSED = 100
"""Events that are told one by one to a client that comes back."""

MOST_BEHIND = 50_000
"""Positions that are looked through for a client that comes back; one that was away for longer is told of many."""

ALIVE = "alive"


class Authenticates(Protocol):
    async def caller(self, authorization: str | None, now: datetime) -> Caller: ...


class Live:
    """All open streams of this process."""

    def __init__(
        self, database: Database, authenticator: Authenticates, settings: Settings, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._settings = settings
        self._now = now
        self._standing: Batches[Standing, Target] = database.batched_read(access.standings)
        self._streams: defaultdict[Key, set[Stream]] = defaultdict(set)
        self._open: set[Stream] = set()
        self._mark = Mark(0)
        # Those who come at the same time share a look, and no two looks are under way at a time.
        self._look: Batches[None, None] = Batches(self._looked, size=settings.live_streams, lanes=1)
        self._following: asyncio.Task[None] | None = None
        self._stopping = False

    async def open(self, watch: Watch, last: Mark | None) -> Stream:
        """Open a stream, which goes on where the client was (None: it begins now). Whoever opens it has it `leave`.

        Raises:
            Problem: `forbidden`, `too_many_streams`, or `unavailable`, also where this process has no room.
        """
        await self._require_right(watch.caller, watch)
        await self._look(None)
        self._require_room(watch.caller)
        stream = self._joined(watch)
        if last is not None:
            try:
                await self._catch_up(stream, last)
            except BaseException:
                self.leave(stream)
                raise
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream whose client is gone."""
        self._open.discard(stream)
        for key in stream.keys:
            self._streams[key].discard(stream)
            if not self._streams[key]:
                del self._streams[key]

    def stop(self) -> None:
        """End all streams at once, and open no more: the clients come back, to whoever is there then."""
        self._stopping = True
        for stream in self._open:
            stream.closed.set()

    async def close(self) -> None:
        self.stop()
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def messages(self, stream: Stream) -> AsyncIterator[Sequence[Message]]:
        """What the client is told from now on, until its right ends."""
        missed = stream.take(self._mark)
        yield [Message(retry=RETRY), *missed, Message(to_text(self._mark), "ready", {"at": self._now()})]
        while True:
            news = await self._has_news(stream)
            try:
                reason = await self._refusal(stream.watch)
            except Problem:
                # Nobody knows whether the right still holds: nothing is told until somebody does.
                yield [Message(comment=ALIVE)]
                await asyncio.sleep(PAUSE)
                stream.woken.set()
                continue
            if reason is not None:
                yield [Message(event="end", data={"reason": reason})]
                return
            if stream.woken.is_set():
                # What came while that was asked may be what takes the right away.
                continue
            waiting = stream.take(self._mark)
            if waiting or not news:
                yield waiting or [Message(to_text(self._mark), comment=ALIVE)]

    async def _has_news(self, stream: Stream) -> bool:
        """Wait for something to tell; False where it is time to say something all the same."""
        wait = float(self._settings.live_heartbeat)
        if stream.watch.expires is not None:
            wait = min(wait, (stream.watch.expires - self._now()).total_seconds())
        try:
            async with asyncio.timeout(max(wait, SHORTEST_WAIT)):
                await stream.woken.wait()
        except TimeoutError:
            return False
        stream.woken.clear()
        return True

    async def _refusal(self, watch: Watch) -> str | None:
        """Why a read would be refused now.

        Raises:
            Problem: `unavailable`, where nobody knows.
        """
        moment = self._now()
        try:
            caller = await self._authenticator.caller(watch.authorization, moment)
            await self._require_right(caller, watch)
        except Problem as problem:
            if problem.kind is UNAVAILABLE:
                raise
            expired = watch.expires is not None and moment >= watch.expires
            return "token_expired" if expired else problem.kind.name
        return None

    async def _require_right(self, caller: Caller, watch: Watch) -> None:
        target = Target(watch.user_id, watch.org_id)
        if caller.user_id is not None and not allowed(caller, Action.READ_PROPERTIES, target):
            target = await self._standing(Standing(caller.user_id, watch.user_id, watch.org_id))
        require(caller, Action.READ_PROPERTIES, target)

    def _require_room(self, caller: Caller) -> None:
        if self._stopping:
            raise Problem(UNAVAILABLE, "The service is stopping. Try again shortly.", headers={"Retry-After": "1"})
        if len(self._open) >= self._settings.live_streams:
            sentence = f"As many streams are open here as {variable('live_streams')} allows; poll until one is free."
            raise Problem(UNAVAILABLE, sentence, headers={"Retry-After": "30"})
        if len(self._streams.get(("caller", caller.name), ())) >= self._settings.live_streams_per_caller:
            sentence = f"{variable('live_streams_per_caller')} allows no more; close those that are not looked at."
            raise Problem(TOO_MANY_STREAMS, sentence, headers={"Retry-After": "30"})

    def _joined(self, watch: Watch) -> Stream:
        """A new stream, which is told what comes after the mark; the journal is followed from now on."""
        stream = Stream(watch)
        self._open.add(stream)
        for key in stream.keys:
            self._streams[key].add(stream)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
            self._following.add_done_callback(self._ended)
        return stream

    async def _follow(self) -> None:
        while self._open:
            await asyncio.sleep(INTERVAL)
            try:
                await self._look(None)
            except Problem:
                # The store has logged why. The journal keeps what is written meanwhile.
                await asyncio.sleep(PAUSE)

    async def _looked(self, asked: Sequence[None]) -> Sequence[None]:
        """Look at the journal once, and hand out what is new."""
        if self._open:
            self._hand_out(await self._database.read(lambda to: journal.read_since(to, self._mark, MOST_AT_ONCE)))
        else:
            # Nobody listened until now: whoever is about to needs nothing older.
            mark = await self._database.read(journal.visible_now)
            self._mark = self._mark if self._open else mark
        return asked

    def _ended(self, following: "asyncio.Task[None]") -> None:
        if following.cancelled():
            return
        error = following.exception()
        if error is not None:
            log.error("live.failed", exc_info=error)
            # Their clients come back, and with the first of them the journal is followed again.
            for stream in self._open:
                stream.closed.set()

    def _hand_out(self, news: News) -> None:
        step, self._mark = Step(self._mark, news.mark), news.mark
        if news.cut:
            for stream in self._open:
                stream.tell_of_many(microseconds(self._now()))
            return
        for position, event in news.events:
            for stream in self._at(concerned(event)):
                one = stream.wants(position, event, step)
                if one is not None:
                    stream.tell(one)
            for stream in self._at(doubted(event)):
                stream.woken.set()

    def _at(self, keys: Iterator[Key]) -> set[Stream]:
        return {stream for key in keys for stream in self._streams.get(key, ())}

    async def _catch_up(self, stream: Stream, last: Mark) -> None:
        """Have the client told what it missed; what comes after the mark where the stream was opened comes anyway."""
        step = Step(last, self._mark)
        oldest = min(last.running, default=last.number)
        # One that is ahead of all is the position of another database.
        if not step.after.number - MOST_BEHIND <= oldest <= last.number <= step.after.number:
            stream.tell_of_many(microseconds(self._now()))
            return
        concern = Concern(stream.watch.user_id, stream.watch.org_id)
        missed = await self._database.read(lambda to: journal.read_since(to, last, MOST_MISSED, concern))
        if missed.cut:
            stream.tell_of_many(microseconds(self._now()))
            return
        wanted = (
            stream.wants(position, event, step) for position, event in missed.events if step.after.covers(position)
        )
        stream.tell_first(one for one in wanted if one is not None)
