"""Micro-batches by themselves: who goes with whom, and who is told what."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import pytest

from milepost.store.batches import Batches

Result = TypeVar("Result")


class Spoilt(Exception):
    """An item's own fault."""


class Lost(Exception):
    """A fault that all would meet."""

    concerns_all = True


SPOILING, HOPELESS, CANCELLED = -1, -2, -3
"""Items that a run refuses, raises `Lost` for, and is cancelled by; it answers ten times any other."""


@dataclass
class Runs:
    """Keeps what each run was handed, and holds every run until the gate is opened."""

    seen: list[list[int]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    second: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0

    async def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        self.seen.append(items)
        if len(self.seen) > 1:
            self.second.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        if CANCELLED in items:
            raise asyncio.CancelledError
        if HOPELESS in items:
            raise Lost
        if SPOILING in items:
            raise Spoilt
        return [item * 10 for item in items]


def batched(work: Callable[[Runs, Batches[int, int]], Awaitable[Result]], *, size: int = 100, lanes: int = 1) -> Result:
    async def worked() -> Result:
        runs = Runs()
        return await work(runs, Batches(runs, size=size, lanes=lanes))

    return asyncio.run(worked())


async def started(batches: Batches[int, int], *items: int) -> list["asyncio.Task[int]"]:
    """Callers that have asked, each for one item."""

    async def ask(item: int) -> int:
        return await batches(item)

    tasks = [asyncio.create_task(ask(item)) for item in items]
    await settled()
    return tasks


async def settled() -> None:
    """Let everything that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_arrives_meanwhile_goes_together_in_its_order() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[int]:
        tasks = await started(batches, 1)
        tasks += await started(batches, 2, 3, 4)
        runs.gate.set()
        answers = await asyncio.gather(*tasks)
        assert runs.seen == [[1], [2, 3, 4]]
        return answers

    assert batched(work) == [10, 20, 30, 40]


def test_a_batch_is_no_larger_than_it_may_be_and_lanes_run_side_by_side() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> Runs:
        tasks = await started(batches, *range(10))
        runs.gate.set()
        await asyncio.gather(*tasks)
        return runs

    runs = batched(work, size=3, lanes=2)

    assert max(map(len, runs.seen)) == 3
    assert runs.most_at_once == 2
    assert sorted(chain(*runs.seen)) == list(range(10))


def test_fewer_than_a_full_batch_wait_for_the_one_under_way() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[list[int]]:
        tasks = await started(batches, 1)
        tasks += await started(batches, 2, 3)
        assert runs.seen == [[1]]
        runs.gate.set()
        await asyncio.gather(*tasks)
        return runs.seen

    assert batched(work, size=3, lanes=2) == [[1], [2, 3]]


def test_nobody_waits_long_for_a_batch_that_is_stuck() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[list[int]]:
        tasks = await started(batches, 1)
        tasks += await started(batches, 2, 3)
        await asyncio.wait_for(runs.second.wait(), 10)
        runs.gate.set()
        await asyncio.gather(*tasks)
        return runs.seen

    assert batched(work, size=10, lanes=2) == [[1], [2, 3]]


def test_what_a_closing_lane_leaves_is_taken_though_the_other_is_stuck() -> None:
    async def work(runs: Runs, _: Batches[int, int]) -> list[int]:
        async def run(items: list[int]) -> Sequence[int | Exception]:
            if items == [1]:
                await runs(items)
            return [item * 10 for item in items]

        both = Batches(run, size=2, lanes=2)
        stuck = await started(both, 1)
        others = await started(both, 2, 3, 4)
        answers = await asyncio.gather(*others)
        runs.gate.set()
        return [*await asyncio.gather(*stuck), *answers]

    assert batched(work) == [10, 20, 30, 40]


def test_an_item_that_spoils_its_batch_is_the_only_one_refused() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[int | BaseException]:
        tasks = await started(batches, 1)
        tasks += await started(batches, 2, SPOILING, 4, 5)
        runs.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = batched(work)

    assert isinstance(answers.pop(2), Spoilt)
    assert answers == [10, 20, 40, 50]


def test_items_tried_alone_do_not_mix_with_those_that_came_later() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[list[int]]:
        tasks = await started(batches, 1)
        tasks += await started(batches, 2, SPOILING)
        runs.gate.set()
        await settled()
        tasks += await started(batches, 4, 5)
        await asyncio.gather(*tasks, return_exceptions=True)
        return runs.seen

    assert batched(work)[:4] == [[1], [2, SPOILING], [2], [SPOILING]]


def test_one_of_the_results_may_be_an_error() -> None:
    async def run(items: list[int]) -> Sequence[int | Exception]:
        return [Spoilt() if item == SPOILING else item for item in items]

    async def work(_: Runs, __: Batches[int, int]) -> list[int | BaseException]:
        batches = Batches(run, size=10, lanes=1)
        return await asyncio.gather(*(batches(item) for item in (1, 2, SPOILING, 4)), return_exceptions=True)

    answers = batched(work)

    assert isinstance(answers.pop(2), Spoilt)
    assert answers == [1, 2, 4]


def test_a_fault_that_all_would_meet_is_told_to_all_who_wait_at_once() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[int | BaseException]:
        tasks = await started(batches, HOPELESS)
        tasks += await started(batches, 3, 4)
        runs.gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        answers.append(await batches(5))
        assert runs.seen == [[HOPELESS], [5]]
        return answers

    *lost, last = batched(work)

    assert [type(answer) for answer in lost] == [Lost] * 3
    assert last == 50


def test_a_caller_that_goes_away_leaves_its_neighbours_their_answers() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[int]:
        gone, *others = await started(batches, 1, 2, 3)
        gone.cancel()
        await settled()
        runs.gate.set()
        return await asyncio.gather(*others)

    assert batched(work) == [20, 30]


def test_what_nobody_waits_for_any_more_is_not_run() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[list[int]]:
        first = await started(batches, 1)
        gone, *others = await started(batches, 2, 3)
        gone.cancel()
        await settled()
        runs.gate.set()
        await asyncio.gather(*first, *others)
        return runs.seen

    assert batched(work) == [[1], [3]]


def test_callers_of_a_run_that_is_cancelled_are_cancelled_and_others_go_on() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[int | BaseException]:
        tasks = await started(batches, CANCELLED)
        tasks += await started(batches, 2)
        runs.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = batched(work)

    assert isinstance(first, asyncio.CancelledError)
    assert second == 20


def test_nobody_waits_for_ever_when_everything_is_cancelled() -> None:
    async def work(_: Runs, batches: Batches[int, int]) -> list["asyncio.Task[int]"]:
        return await started(batches, 1, 2)

    assert all(task.cancelled() for task in batched(work))


def test_finishing_waits_until_all_are_answered() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> list[bool]:
        tasks = await started(batches, 1)
        tasks += await started(batches, 2, 3)
        finishing = asyncio.create_task(batches.finish())
        await settled()
        assert not finishing.done()
        runs.gate.set()
        await finishing
        await settled()
        return [task.done() for task in tasks]

    assert batched(work) == [True, True, True]


def test_an_item_alone_waits_for_nobody() -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> int:
        runs.gate.set()
        return await batches(7)

    assert batched(work) == 70


@pytest.mark.parametrize("item", [SPOILING, HOPELESS, CANCELLED])
def test_an_error_keeps_the_lane_free(item: int) -> None:
    async def work(runs: Runs, batches: Batches[int, int]) -> int:
        runs.gate.set()
        await asyncio.gather(batches(item), return_exceptions=True)
        return await batches(2)

    assert batched(work) == 20
