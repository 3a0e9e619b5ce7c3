"""How long a funnel of a million users takes: `python -m bench.funnel [USERS]`.

The sums are filled with what so many checklists contribute, over a year and both tracks, and then read as a call does.
"""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Connection

from milepost.access.policy import Caller
from milepost.directory.queries import put_organization
from milepost.directory.service import Context
from milepost.domain.contract import Status, Track
from milepost.domain.directory import Organization
from milepost.domain.funnels import EPOCH, Contribution, DayCounts, Key, StepDone, count, duration_class
from milepost.edge import new_id, now
from milepost.funnels import queries
from milepost.funnels.service import overview
from milepost.settings import Settings
from milepost.store import versions

STEPS, DAYS, DAY = 10, 365, 86_400_000_000
CALLER = Caller(user_id="bench", platform_admin=True)


def somebody(chance: random.Random, first: int) -> Contribution:
    """Somebody who did some of the steps, one after the other."""
    day = first + chance.randrange(DAYS)
    done = chance.randrange(STEPS + 1)
    after, steps = 0.0, {}
    for n in range(STEPS):
        after += chance.lognormvariate(6, 2)
        took = duration_class(after) if n < done else None
        steps[f"step-{n}"] = StepDone(Status.COMPLETED if n < done else Status.UP_NEXT, took)
    finished = day + int(after // 86_400) if done == STEPS else None
    stopped = None if finished is not None else f"step-{done - 1}" if done else ""
    return Contribution(chance.choice(list(Track)), day * DAY, finished, dismissed=False, stopped=stopped, steps=steps)


def filled(users: int) -> dict[Key, DayCounts]:
    chance, days = random.Random(1), dict[Key, DayCounts]()
    first = (now().date() - EPOCH).days - DAYS
    for _ in range(users):
        count(days, somebody(chance, first), 1)
    return days


async def measure(users: int, url: str) -> None:
    settings = Settings(database=url)
    database = versions.open_database(settings)
    await database.write(versions.upgrade)
    days = filled(users)

    def store(connection: Connection) -> None:
        put_organization(connection, Organization(org_id="bench", name="Bench"))
        queries.save_days(connection, "bench", days)

    await database.write(store, patient=True)
    context = Context(CALLER, now(), new_id)
    for _ in range(5):
        began = time.perf_counter()
        tracks, _ = await overview(database, context, "bench", None, 0, 1_000_000)
        seconds = time.perf_counter() - began
        sys.stdout.write(f"{sum(track.started for track in tracks):,} users: {seconds * 1000:.0f} ms\n")
    await database.close()


if __name__ == "__main__":
    users = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(users, f"sqlite:///{Path(folder) / 'bench.db'}"))
