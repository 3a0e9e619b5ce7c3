"""What only the page /demo calls: it lets anyone be Leila, and is there with `milepost serve --demo` alone."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from litestar import Router, post
from msgspec import Meta
from sqlalchemy import Connection

from milepost.access.keys import own_key
from milepost.access.policy import Caller
from milepost.access.tokens import sign
from milepost.checklists import service as checklists
from milepost.checklists.gains import bring_steps
from milepost.directory import service as directory
from milepost.directory.service import Context
from milepost.domain.cloud_events import CloudEvent
from milepost.domain.directory import Member
from milepost.domain.json_text import Reader
from milepost.domain.tracks import by_memberships
from milepost.edge import JSON, AnyRequest, Reply, answer, body, header, new_id, now
from milepost.problems import CHECKLIST_NOT_FOUND, FORBIDDEN, MEMBER_NOT_FOUND, Problem
from milepost.settings import LOOPBACK, Settings
from milepost.signals import service as signals
from milepost.store.database import Database

ORG_ID = "tarnwick"
ENTERPRISE_ID = "tarnwick-nordic"
INTERESTS = ("route-planning", "telematics", "billing")
APPLICATION = Caller(user_id="demo", platform_admin=True)
"""The pretend application, which reports signals and gives roles as a real one does with its service key."""

TOKEN_TTL = timedelta(minutes=5)

Result = TypeVar("Result")

# To `re`, a bare `$` also stands before a newline at the end.
User = Annotated[
    str, Meta(pattern="^leila(-[0-9a-f]{8})?$(?!\\n)", description="Leila, or a namesake for a fresh start")
]
Role = Literal["dispatcher", "fleet-manager", "lead-driver", "accountant"]


class Visit(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who somebody at the page is."""

    user: User


class Happening(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What the user did in the application: the type of a signal."""

    user: User
    type: Annotated[str, Meta(pattern="^[a-z][a-z.-]{0,63}$(?!\\n)")]


class Roles(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The roles that the user shall hold."""

    user: User
    roles: Annotated[list[Role], Meta(max_length=4)]


class Session(msgspec.Struct, rename="camel", frozen=True):
    """What the page needs to show the checklist."""

    user_id: str
    org_id: str
    token: str
    roles: list[str]


read_visit, read_happening, read_roles = Reader(Visit), Reader(Happening), Reader(Roles)


@post("/demo/session", status_code=200)
async def open_session(request: AnyRequest) -> Reply:
    """Answer a token for a few minutes; who is new becomes a member, with a checklist."""
    visit = read_visit.read(await _sent(request))
    settings: Settings = request.app.state.settings
    roles = await _do(request, lambda connection, context: _settled(connection, context, visit.user))
    token = sign(
        own_key(settings.own_key_file),
        user_id=visit.user,
        platform_admin=False,
        ttl=TOKEN_TTL,
        now=now(),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
    )
    return answer(Session(visit.user, ORG_ID, token, roles))


def _settled(connection: Connection, context: Context, user_id: str) -> list[str]:
    """The roles of the user, who is a member with a checklist from here on."""
    try:
        roles = list(directory.get_member(connection, context, ORG_ID, user_id).roles)
    except Problem as problem:
        if problem.kind is not MEMBER_NOT_FOUND:
            raise
        roles = ["dispatcher"]
        _hold(connection, context, user_id, roles)
    try:
        checklists.explain(connection, context, user_id, ORG_ID)
    except Problem as problem:
        if problem.kind is not CHECKLIST_NOT_FOUND:
            raise
        wish = checklists.Wish(ENTERPRISE_ID, INTERESTS)
        checklists.initialize(connection, context, user_id, ORG_ID, wish, by_memberships)
    return roles


def _hold(connection: Connection, context: Context, user_id: str, roles: Sequence[str]) -> None:
    member = Member(roles=list(roles), enterprises=[ENTERPRISE_ID])
    directory.put_member(connection, context, ORG_ID, user_id, member, bring_steps)


@post("/demo/signals", status_code=200)
async def report_signal(request: AnyRequest) -> Reply:
    """Report that the user did something in the application."""
    happening = read_happening.read(await _sent(request))

    def use_case(connection: Connection, context: Context) -> signals.Receipt:
        event = CloudEvent(
            specversion="1.0",
            id=context.new_id(),
            source="/demo",
            type=happening.type,
            orgid=ORG_ID,
            enterpriseid=ENTERPRISE_ID,
            subject=happening.user,
            time=context.now,
        )
        return signals.report(connection, context, [event], "")

    return answer(await _do(request, use_case))


@post("/demo/roles", status_code=200)
async def change_roles(request: AnyRequest) -> Reply:
    """Have the user hold exactly these roles."""
    wanted = read_roles.read(await _sent(request))
    await _do(request, lambda connection, context: _hold(connection, context, wanted.user, wanted.roles))
    return answer(wanted)


async def _sent(request: AnyRequest) -> bytes:
    """The body, where the page itself sent it from this machine.

    Raises:
        Problem: `forbidden` for a page of another origin, or where the service was reached by a public name.
    """
    host = header(request, b"host") or ""
    origin = header(request, b"origin")
    if urlsplit(f"//{host}").hostname not in LOOPBACK or (origin is not None and urlsplit(origin).netloc != host):
        raise Problem(FORBIDDEN, "Only the page /demo itself, opened on this machine, may do this.")
    sent, _ = await body(request, JSON)
    return sent


async def _do(request: AnyRequest, use_case: Callable[[Connection, Context], Result]) -> Result:
    database: Database = request.app.state.database
    context = Context(APPLICATION, now(), new_id)
    return await database.write(lambda connection: use_case(connection, context))


router = Router("/", route_handlers=[open_session, report_signal, change_roles])
