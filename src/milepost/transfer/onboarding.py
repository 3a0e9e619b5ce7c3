"""How an import stores what checklists are made from: catalogs, signals, and what was done for all."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from milepost.catalogs import queries as catalogs
from milepost.catalogs.queries import PLATFORM, Version
from milepost.catalogs.service import decode
from milepost.checklists.queries import EVERYONE
from milepost.directory.service import Context
from milepost.domain.records import microseconds
from milepost.journal import queries as journal
from milepost.problems import UNKNOWN_ENTERPRISE
from milepost.signals import queries as signals
from milepost.signals.queries import Signal
from milepost.transfer import queries
from milepost.transfer.left_out import Bad, Numbered, fault, no_organization
from milepost.transfer.lines import CatalogLine, SharedLine, SignalLine
from milepost.transfer.queries import Shared


def store_catalogs(connection: Connection, some: Sequence[Numbered[CatalogLine]], context: Context) -> list[Bad]:
    """Store versions that are not known yet, and make those current that say so.

    A version that is known stays as it is: another text under its number is refused.
    """
    existing = queries.hold_organizations(connection, {line.entry.org_id or PLATFORM for line in some} - {PLATFORM})
    bad = []
    changed: set[tuple[str, int]] = set()
    chosen: dict[str, int] = {}
    for number, entry in some:
        org_id = entry.org_id or PLATFORM
        if org_id != PLATFORM and org_id not in existing:
            bad.append(no_organization(number))
            continue
        known = catalogs.version(connection, org_id, entry.version)
        if known is None:
            catalogs.add(connection, _version(entry, context))
            changed.add((org_id, entry.version))
        elif decode(known.body) != entry.catalog:
            reason = "is published already and says something else; publish this catalog as another version"
            bad.append(fault(number, "A published catalog never changes.", "/version", reason))
            continue
        if entry.current:
            chosen[org_id] = entry.version
    for org_id, version in sorted(chosen.items()):
        if catalogs.current_number(connection, org_id) != version:
            catalogs.make_current(connection, org_id, version)
            changed.add((org_id, version))
    events = [
        _event(context, "catalog.imported", org_id, {"version": version, "current": chosen.get(org_id) == version})
        for org_id, version in sorted(changed)
    ]
    journal.append(connection, events)
    return bad


def _version(entry: CatalogLine, context: Context) -> Version:
    return Version(
        org_id=entry.org_id or PLATFORM,
        version=entry.version,
        body=msgspec.json.encode(entry.catalog).decode(),
        published=context.at if entry.published_at is UNSET else microseconds(entry.published_at),
        publisher=entry.publisher or context.caller.name,
    )


def store_signals(connection: Connection, some: Sequence[Numbered[SignalLine]], context: Context) -> list[Bad]:
    """Store signals that are not known yet, all by one statement; one that is known stays as it is.

    They complete nothing by themselves: the records say what was completed, and a refresh counts all signals.
    """
    existing = queries.hold_organizations(connection, {line.entry.org_id for line in some})
    here = [_signal(line.entry, context.at) for line in some if line.entry.org_id in existing]
    types: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for signal in signals.add(connection, here):
        types[signal.org_id][signal.type] += 1
    events = [
        _event(context, "signals.imported", org_id, {"signals": dict(counted)})
        for org_id, counted in sorted(types.items())
    ]
    journal.append(connection, events)
    return [no_organization(line.number) for line in some if line.entry.org_id not in existing]


def _signal(entry: SignalLine, now: int) -> Signal:
    received = now if entry.received is UNSET else microseconds(entry.received)
    return Signal(
        user_id=entry.subject or EVERYONE,
        org_id=entry.org_id,
        source=entry.source,
        id=entry.id,
        enterprise_id=entry.enterprise_id or "",
        type=entry.type,
        time=received if entry.time is UNSET else microseconds(entry.time),
        received=received,
    )


def store_shared(connection: Connection, some: Sequence[Numbered[SharedLine]], context: Context) -> list[Bad]:
    """Store what was done for all and is not known yet, by one statement: who did a step first, has done it."""
    existing = queries.hold_organizations(connection, {line.entry.org_id for line in some})
    places = queries.hold_enterprises(connection, {line.entry.enterprise_id or "" for line in some} - {""})
    bad, here = [], []
    for number, entry in some:
        place = entry.enterprise_id or ""
        if entry.org_id not in existing:
            bad.append(no_organization(number))
        elif place and (entry.org_id, place) not in places:
            detail = "A step is done for all of an enterprise of the organization, or of the whole organization."
            reason = "is no enterprise of this organization; its own line must come before"
            bad.append(fault(number, detail, "/enterpriseId", reason, UNKNOWN_ENTERPRISE))
        else:
            evidence = None if entry.evidence is None else entry.evidence.evidence()
            here.append(Shared(entry.org_id, place, entry.step_id, msgspec.json.encode(evidence).decode()))
    steps: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
    for shared in queries.share(connection, here):
        steps[shared.org_id].append({"enterpriseId": shared.enterprise_id, "stepId": shared.step_id})
    events = [
        _event(context, "shared_steps.imported", org_id, {"steps": done}) for org_id, done in sorted(steps.items())
    ]
    journal.append(connection, events)
    return bad


def _event(context: Context, event: str, org_id: str, data: dict[str, object]) -> journal.Event:
    return journal.Event(
        id=context.new_id(), at=context.at, actor=context.caller.name, type=event, org_id=org_id, data=data
    )
