"""The rehearsal of a catalog: everybody whose checklist it would be made from is read, and nothing is written.

They are read in pages, each a short read of its own, and what would change for them is worked out beside the event
loop: an organization with many members keeps nobody else waiting.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec import UNSET
from sqlalchemy import Connection

from milepost.catalogs import service as catalogs
from milepost.catalogs.queries import PLATFORM
from milepost.checklists import queries
from milepost.checklists.cases import Case, knowledge
from milepost.directory.service import Context
from milepost.domain.catalog import Catalog
from milepost.domain.checklists import Published
from milepost.domain.conditions import SignalCount
from milepost.domain.rehearsals import Rehearsal, Subject, Tally
from milepost.properties.queries import Lookup, look_up
from milepost.store.database import Database

PAGE = 100
"""How many users are read at a time."""

DEFAULT_LIMIT, MAX_LIMIT = 10_000, 100_000
"""How many users are rehearsed: where nothing is said, and at most."""


class Page(NamedTuple):
    """Some of the users, with the signals that count for each, and after whom the next page begins (None: no one)."""

    cases: Sequence[Case]
    signals: Sequence[Mapping[str, SignalCount]]
    after: tuple[str, str] | None


async def rehearse(database: Database, context: Context, org_id: str, catalog: Catalog, limit: int) -> Rehearsal:
    """What publishing a catalog would change for the users who have a checklist, up to `limit` of them in the order of
    their ids. With an `org_id` of '' it is the platform's, for those in organizations without a catalog of their own.

    Raises:
        Problem: `forbidden` (403), `organization_not_found` (404).
    """
    present = await database.read(lambda connection: catalogs.before_publishing(connection, context, org_id))
    proposed = await asyncio.to_thread(catalogs.compiled, org_id, 0, catalog)
    tally = Tally(present, proposed)

    async def show_all_to(take: Callable[[Sequence[Subject]], None]) -> bool:
        """Whether these were all there are."""
        after: tuple[str, str] | None = ("", "")
        left = limit
        while after is not None and left > 0:
            page = await database.read(partial(_page, org_id=org_id, after=after, size=min(PAGE, left)))
            subjects = await asyncio.to_thread(_subjects, page, context, proposed)
            await asyncio.to_thread(take, subjects)
            left -= PAGE
            after = page.after
        return after is None

    if tally.learns_first:
        await show_all_to(tally.learn)
    complete = await show_all_to(tally.count)
    return tally.rehearsal(complete=complete)


def _page(connection: Connection, org_id: str, after: tuple[str, str], size: int) -> Page:
    """The users after one, read with three statements however many there are."""
    if org_id == PLATFORM:
        found = queries.under_the_platforms_catalog(connection, after, size + 1)
    else:
        found = [(org_id, user_id) for user_id in queries.with_checklists(connection, org_id, after[1], size + 1)]
    here = found[:size]
    situations = look_up(connection, [Lookup(user_id, org_id, "") for org_id, user_id in here]) if here else []
    cases = [Case(user_id, org_id, situation) for (org_id, user_id), situation in zip(here, situations, strict=True)]
    scopes = [
        queries.Scope(case.user_id, case.org_id, case.progress.enterprise_id if case.progress else "") for case in cases
    ]
    return Page(cases, queries.counts(connection, scopes), here[-1] if len(found) > size else None)


def _subjects(page: Page, context: Context, proposed: Published) -> list[Subject]:
    return [
        subject
        for case, signals in zip(page.cases, page.signals, strict=True)
        if (subject := _subject(case, signals, context, proposed)) is not None
    ]


def _subject(case: Case, signals: Mapping[str, SignalCount], context: Context, proposed: Published) -> Subject | None:
    """Somebody to rehearse with; None where their checklist has gone since the list was read."""
    record = case.situation.own
    checklist = UNSET if record is None else record.properties.guided_checklist
    if record is None or record.progress is None or checklist is UNSET:
        return None
    known = knowledge(
        context.now,
        case.situation,
        proposed,
        signals,
        enterprise_id=record.progress.enterprise_id,
        track=checklist.track,
        interests=[] if checklist.product_interests is UNSET else checklist.product_interests,
    )
    return Subject(case.user_id, case.org_id, checklist, record.progress, known)
