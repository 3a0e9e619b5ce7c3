"""Signing in to the console and out of it. Its pages use the API like any other client, with the cookie set here."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

import msgspec
from litestar import Router, delete, get, post
from msgspec import Meta

from milepost.access import sessions
from milepost.access.browsers import OWN_HEADER, cookie
from milepost.access.service import Authenticator
from milepost.access.sessions import Session
from milepost.domain.json_text import Reader
from milepost.edge import (
    BASE_PATH,
    JSON,
    AnyRequest,
    Reply,
    answer,
    body,
    console_secret,
    empty,
    encoded,
    from_own_page,
    new_id,
    now,
    read_query,
)
from milepost.openapi import Operation, Parameter
from milepost.problems import CROSS_ORIGIN, INVALID_TOKEN, LINK_EXPIRED, NOT_AN_ADMIN, UNAUTHENTICATED, Problem
from milepost.settings import Settings
from milepost.store.database import Database

SESSION = "/console/session"
COOKIE_PATHS = (SESSION, BASE_PATH)
"""Where the cookie goes: nowhere else is it looked at."""


class SignIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What one signs in with."""

    token: Annotated[str, Meta(description="an admin's token, as the API takes it")]


read_sign_in = Reader(SignIn)
OWN_PAGE = Parameter(OWN_HEADER, "`1`: no page of another site can send it", "header", required=True)
CODE = Parameter("code", "what the link carries", required=True)


@post(
    SESSION,
    status_code=200,
    opt=Operation(
        action=None,
        bodies={JSON: SignIn},
        examples={JSON: {"token": "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"}},
        answers={200: Session},
        parameters=(OWN_PAGE,),
        headers={"Set-Cookie": "the session, for the console's pages alone"},
        problems=(INVALID_TOKEN, NOT_AN_ADMIN, CROSS_ORIGIN),
        events=("console.signed_in",),
    ).opt(),
)
async def sign_in(request: AnyRequest) -> Reply:
    """Sign in to the console with an admin's token. The session ends with the token, or after some hours."""
    from_own_page(request)
    moment = now()
    sent, _ = await body(request, JSON)
    authenticator: Authenticator = request.app.state.authenticator
    caller, expires = await authenticator.signing_in(read_sign_in.read(sent).token, moment)
    secret, expires = sessions.new_secret(), min(expires, _latest(request, moment))
    database: Database = request.app.state.database
    begin = partial(sessions.begin, caller=caller, secret=secret, now=moment, expires=expires, event_id=new_id())
    session = await database.write(begin)
    return _with_cookie(answer(session), request, secret, expires - moment)


@get(
    "/console/sign-in",
    opt=Operation(
        action=None,
        answers={303: None},
        parameters=(CODE,),
        headers={"Location": "the console; with `?refused=` and a problem's name where the link does not sign in"},
    ).opt(),
)
async def follow_sign_in_link(request: AnyRequest) -> Reply:
    """Sign in to the console with a link, which works once.

    A person follows it, so that a refusal is the console's to say: `link_expired` or `not_an_admin`.
    """
    moment = now()
    code = read_query(request, "code").get("code", "")
    secret, expires = sessions.new_secret(), _latest(request, moment)
    database: Database = request.app.state.database
    follow = partial(sessions.follow_link, code=code, secret=secret, now=moment, expires=expires, event_id=new_id())
    try:
        await database.write(follow)
    except Problem as problem:
        if problem.kind not in {LINK_EXPIRED, NOT_AN_ADMIN}:
            raise
        return _to(f"/console?refused={problem.kind.name}")
    return _with_cookie(_to("/console"), request, secret, expires - moment)


@get(
    SESSION,
    opt=Operation(action=None, answers={200: Session}, problems=(UNAUTHENTICATED, NOT_AN_ADMIN, CROSS_ORIGIN)).opt(),
)
async def get_session(request: AnyRequest) -> Reply:
    """Tell who is signed in, which organizations they administer now, and until when."""
    from_own_page(request)
    secret = console_secret(request) or ""
    database: Database = request.app.state.database
    return answer(await database.read(partial(sessions.read, secret=secret, now=now())))


@delete(
    SESSION,
    status_code=200,  # the framework's; the reply has its own, which the framework knows only without a cookie
    opt=Operation(
        action=None,
        answers={204: None},
        parameters=(OWN_PAGE,),
        problems=(CROSS_ORIGIN,),
        events=("console.signed_out",),
    ).opt(),
)
async def sign_out(request: AnyRequest) -> Reply:
    """Sign out. The session ends for good, wherever a copy of its cookie may be."""
    from_own_page(request)
    secret = console_secret(request)
    if secret is not None:
        database: Database = request.app.state.database
        await database.write(partial(sessions.end, secret=secret, now=now(), event_id=new_id()))
    return _with_cookie(empty(204), request, "", timedelta())


def _latest(request: AnyRequest, moment: datetime) -> datetime:
    settings: Settings = request.app.state.settings
    return moment + timedelta(hours=settings.console_hours)


def _to(place: str) -> Reply:
    return Reply(303, encoded({"Location": place, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}))


def _with_cookie(reply: Reply, request: AnyRequest, secret: str, lasts: timedelta) -> Reply:
    settings: Settings = request.app.state.settings
    secure = request.scope["scheme"] == "https" or settings.origin.startswith("https:")
    for path in COOKIE_PATHS:
        line = cookie(secret, path, seconds=int(lasts.total_seconds()), secure=secure)
        reply.headers.append((b"set-cookie", line.encode()))
    return reply


router = Router("/", route_handlers=[sign_in, follow_sign_in_link, get_session, sign_out])
