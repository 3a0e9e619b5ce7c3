"""Micro-batches: what arrives while a batch is under way goes together as the next one."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]
    alone: bool = False


PATIENCE = 0.02
"""Seconds that items wait for the batch under way, before another lane takes them."""


class Batches(Generic[Item, Result]):
    """Hands items to `run` in batches, at most `lanes` at a time and `size` items each.

    Alone an item waits for nothing; under load one query, or one commit with its fsync, serves many. Fewer and larger
    batches cost less, so a second lane opens only for a full one, or where the first is slow.
    `run` answers one result per item, in order; an exception among the results is raised to the item's caller only.
    Where `run` itself raises, each item is tried alone, unless the error has a true `concerns_all`: then all in the
    batch would meet the same fate again, and so would all who wait, so that nobody waits for more than one batch.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Coroutine[Any, Any, Sequence[Result | Exception]]],
        *,
        size: int,
        lanes: int,
    ) -> None:
        self._run = run
        self._size = size
        self._lanes = self._free_lanes = lanes
        self._latest_start = 0.0
        self._patience: asyncio.TimerHandle | None = None
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Result:
        """Have one item run with whatever else is waiting."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Waiting(item, answer))
        if self._free_lanes:
            if self._must_open():
                self._open()
            else:
                self._be_patient()
        return await answer

    async def finish(self) -> None:
        """Wait until all that was accepted has been answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _must_open(self) -> bool:
        return self._free_lanes == self._lanes or len(self._waiting) >= self._size

    def _open(self) -> None:
        self._free_lanes -= 1
        task = asyncio.get_running_loop().create_task(self._drain())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _be_patient(self) -> None:
        if self._patience is None:
            due = self._latest_start + PATIENCE
            self._patience = asyncio.get_running_loop().call_at(due, self._look_again)

    def _look_again(self) -> None:
        """Open another lane where no batch has begun for PATIENCE; otherwise look again when that may be so."""
        self._patience = None
        if self._waiting and self._free_lanes:
            if asyncio.get_running_loop().time() - self._latest_start >= PATIENCE:
                self._open()
            else:
                self._be_patient()

    async def _drain(self) -> None:
        try:
            while batch := self._next():
                self._latest_start = asyncio.get_running_loop().time()
                await self._answer(batch)
                if self._lanes - self._free_lanes > 1 and len(self._waiting) < self._size:
                    # Another lane is open, and takes those who wait unless it is slow.
                    self._be_patient()
                    break
        finally:
            self._free_lanes += 1

    def _next(self) -> list[_Waiting[Item, Result]]:
        """What goes together next; whose caller went away is left out."""
        batch: list[_Waiting[Item, Result]] = []
        while self._waiting and len(batch) < self._size:
            if batch and (batch[0].alone or self._waiting[0].alone):
                break
            one = self._waiting.popleft()
            if not one.answer.done():
                batch.append(one)
        return batch

    async def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        running = asyncio.ensure_future(self._run([one.item for one in batch]))
        try:
            await asyncio.wait([running])
            if running.cancelled():
                return
            error = running.exception()
            if error is None:
                self._settle(batch, running.result())
            elif getattr(error, "concerns_all", False):
                waiting = [*batch, *self._waiting]
                self._waiting.clear()
                self._settle(waiting, [error] * len(waiting))
            elif len(batch) == 1:
                self._settle(batch, [error])
            else:
                self._separate(batch)
                batch = []
        finally:
            # Nobody waits for ever, whatever happened: where the run was cancelled, its callers are too.
            for one in batch:
                one.answer.cancel()

    def _separate(self, batch: list[_Waiting[Item, Result]]) -> None:
        """Have each tried alone, before all others: one of them may have spoilt it for its neighbours."""
        for one in reversed(batch):
            one.alone = True
            self._waiting.appendleft(one)

    def _settle(self, batch: Sequence[_Waiting[Item, Result]], results: Sequence[Result | BaseException]) -> None:
        for one, result in zip(batch, results, strict=True):
            if one.answer.done():  # its caller went away
                continue
            if isinstance(result, BaseException):
                one.answer.set_exception(result)
            else:
                one.answer.set_result(result)
