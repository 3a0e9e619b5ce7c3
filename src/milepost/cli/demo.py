"""The demo: two organizations, the example catalog, and the checklists that the server makes of what happened."""

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from typing import NamedTuple

import msgspec
import yaml
from sqlalchemy import Connection

from milepost.access.policy import Caller
from milepost.catalogs import service as catalogs
from milepost.catalogs.queries import PLATFORM
from milepost.checklists import service as checklists
from milepost.checklists import steps
from milepost.checklists.gains import bring_steps
from milepost.cli.terminal import OPERATOR, Failure
from milepost.directory import service as directory
from milepost.directory.service import Context
from milepost.domain.catalog import Catalog
from milepost.domain.cloud_events import CloudEvent
from milepost.domain.contract import Status
from milepost.domain.directory import Member
from milepost.domain.preconditions import Preconditions
from milepost.domain.tracks import by_memberships
from milepost.edge import new_id, now
from milepost.signals import service as signals
from milepost.store.database import Database
from milepost.transfer import service as transfer
from milepost.transfer.left_out import Bad, Numbered
from milepost.transfer.lines import Line

DIRECTORY = files("milepost.cli") / "demo.ndjson"
HISTORY = files("milepost.cli") / "demo.yaml"
CATALOG = files("milepost.catalogs") / "example.yaml"


class Deed(msgspec.Struct, tag_field="do", tag=str.lower, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Something that a user did in an organization."""

    at: datetime

    def do(self, connection: Connection, user_id: str, org_id: str) -> None:
        """Have the server do what it does when this happens."""
        raise NotImplementedError

    def by(self, caller: Caller) -> Context:
        return Context(caller, self.at, new_id)


class Initialize(Deed, kw_only=True, frozen=True):
    enterprise: str = ""
    interests: list[str]

    def do(self, connection: Connection, user_id: str, org_id: str) -> None:
        wish = checklists.Wish(self.enterprise, self.interests)
        checklists.initialize(connection, self.by(Caller(user_id)), user_id, org_id, wish, by_memberships)


class Signal(Deed, kw_only=True, frozen=True):
    type: str
    enterprise: str | msgspec.UnsetType = msgspec.UNSET

    def do(self, connection: Connection, user_id: str, org_id: str) -> None:
        event = CloudEvent(
            specversion="1.0",
            id=f"{user_id} {self.at.isoformat()}",
            source="/demo",
            type=self.type,
            orgid=org_id,
            enterpriseid=self.enterprise,
            subject=user_id,
            time=self.at,
        )
        signals.report(connection, self.by(OPERATOR), [event], "")


class Move(Deed, kw_only=True, frozen=True):
    step: str
    to: Status

    def do(self, connection: Connection, user_id: str, org_id: str) -> None:
        context = self.by(Caller(user_id))
        steps.move_step(connection, context, user_id, org_id, self.step, self.to, Preconditions())


class Dismiss(Deed, kw_only=True, frozen=True):
    def do(self, connection: Connection, user_id: str, org_id: str) -> None:
        context = self.by(Caller(user_id))
        steps.set_dismissed(connection, context, user_id, org_id, Preconditions(), dismissed=True)


class Hold(Deed, kw_only=True, frozen=True):
    roles: list[str]
    enterprises: list[str] = []

    def do(self, connection: Connection, user_id: str, org_id: str) -> None:
        member = Member(roles=self.roles, enterprises=self.enterprises)
        directory.put_member(connection, self.by(OPERATOR), org_id, user_id, member, bring_steps)


class Chapter(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What one user did in one organization."""

    user: str
    org: str
    did: list[Initialize | Signal | Move | Dismiss | Hold]


class Demo(NamedTuple):
    """All that is loaded: the directory and what users stored themselves, the catalog, and what happened then."""

    lines: Sequence[Numbered[Line]]
    catalog: Catalog
    history: Sequence[Chapter]


async def load(database: Database) -> bool:
    """Load the demo into an empty database; answers whether it did. One that holds anything is left alone.

    Raises:
        Failure: it does not fit together, or the clock is behind what happened; then nothing is stored.
    """
    context = Context(OPERATOR, now(), new_id)
    numbered = enumerate(DIRECTORY.read_bytes().splitlines(), 1)
    lines, bad = transfer.read(numbered, context.now, lambda _: None)
    _refuse(bad)
    history = msgspec.convert(yaml.safe_load(HISTORY.read_bytes()), list[Chapter])
    demo = Demo(lines, catalogs.read(CATALOG.read_bytes()), history)
    return await database.write(lambda connection: _fill(connection, context, demo), patient=True)


def _fill(connection: Connection, context: Context, demo: Demo) -> bool:
    refused = transfer.fill(connection, demo.lines, context)
    if refused is None:
        return False
    _refuse(refused)
    catalogs.publish(connection, context, PLATFORM, demo.catalog)
    happened = [(deed, chapter.user, chapter.org) for chapter in demo.history for deed in chapter.did]
    for deed, user_id, org_id in sorted(happened, key=lambda each: each[0].at):
        deed.do(connection, user_id, org_id)
    return True


def _refuse(bad: Sequence[Bad]) -> None:
    for each in bad:
        raise Failure(f"the demo could not be loaded: line {each.line}: {each.detail} Is the clock right?")
