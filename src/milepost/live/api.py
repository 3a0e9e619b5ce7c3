"""Live updates over HTTP: a stream of server-sent events about a user's properties."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from litestar import Router, get
from litestar.params import FromPath
from litestar.response import ServerSentEventMessage
from litestar.types import Receive, Scope, Send

from milepost.access.policy import Action
from milepost.access.service import Authenticator
from milepost.edge import BASE_PATH, AnyRequest, Call, Reply, from_path, header, receive, refuse_parameter
from milepost.journal.queries import Mark
from milepost.live.service import Live
from milepost.live.streams import ID, Message, Stream, Watch, from_text
from milepost.openapi import EVENT_STREAM, REQUIRED_ORG_ID, Operation, Parameter
from milepost.problems import TOO_MANY_STREAMS

PATIENCE = 1.0
"""Seconds that a client may take to receive the end of its stream."""

AN_ID = {"type": "string", "pattern": f"^{ID.pattern}$", "examples": ["4714-0192f0c1-6f0e-7c3a-b1de-0242ac120002"]}
LAST_EVENT_ID = Parameter(
    "Last-Event-ID", "the `id` received last: what came after it is told first", "header", schema=AN_ID
)
LAST_EVENT_ID_ASKED = Parameter(
    "lastEventId", "the same, where the header cannot be set; the header wins", schema=AN_ID
)

EXAMPLE = """\
retry: 2000

id: 4711
event: ready
data: {"at":"2026-03-02T09:29:58.120000Z"}

id: 4714-0192f0c1-6f0e-7c3a-b1de-0242ac120002
event: changed
data: {"type":"steps.completed","at":"2026-03-02T09:30:00.412000Z","version":1772443800412000}

"""


@get(
    "/users/{user_id:str}/properties/events",
    opt=Operation(
        action=Action.READ_PROPERTIES,
        parameters=(REQUIRED_ORG_ID, LAST_EVENT_ID_ASKED, LAST_EVENT_ID),
        answers={200: {"type": "string"}},
        answered_as=EVENT_STREAM,
        answer_example=EXAMPLE,
        problems=(TOO_MANY_STREAMS,),
    ).opt(),
)
async def get_events(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Hear of changes as they happen: server-sent events that say when to read the record again.

    `ready` says that from here on nothing is missed, `changed` that the record or the roles may have changed, `catalog`
    that another catalog version counts, `end` why the stream is over. None has personal data.
    """
    call = await receive(request, "orgId", "lastEventId")
    live: Live = request.app.state.live
    authenticator: Authenticator = request.app.state.authenticator
    authorization = header(request, b"authorization")
    user_id, org_id = from_path("userId", user_id), call.required_org_id()
    expires = authenticator.expires(authorization)
    watch = Watch(user_id, org_id, call.caller, authorization, expires)
    return EventStream(live, await live.open(watch, _last_seen(request, call)))


def _last_seen(request: AnyRequest, call: Call) -> Mark | None:
    """Where the client was. A browser that comes back sends the header, with the query that it first came with."""
    sent = header(request, b"last-event-id")
    name, text = ("Last-Event-ID", sent) if sent else ("lastEventId", call.query.get("lastEventId"))
    if not text:
        return None
    mark = from_text(text)
    if mark is None:
        refuse_parameter(
            name, "must be the id of an event as it was sent; leave it out to begin now, and read the record"
        )
    return mark


class EventStream(Reply):
    """An answer that goes on until its client goes away, its right ends, or the service stops."""

    __slots__ = ("_live", "_stream")

    def __init__(self, live: Live, stream: Stream) -> None:
        headers = [
            (b"content-type", EVENT_STREAM.encode()),
            (b"cache-control", b"private, no-cache, no-transform"),
            # nginx would keep the events until there are many.
            (b"x-accel-buffering", b"no"),
        ]
        super().__init__(200, headers)
        self._live = live
        self._stream = stream

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            writing = asyncio.ensure_future(self._write(send))
            ends = [writing, asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._stream.closed.wait())]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                await asyncio.wait(ends)
        finally:
            self._live.leave(self._stream)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        if not writing.cancelled():
            writing.result()

    async def _write(self, send: Send) -> None:
        async for some in self._live.messages(self._stream):
            await send({"type": "http.response.body", "body": _encoded(some), "more_body": True})


async def _gone(receive: Receive) -> None:
    """Wait until the client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _encoded(messages: Sequence[Message]) -> bytes:
    return b"".join(
        ServerSentEventMessage(
            id=one.id,
            event=one.event,
            data=None if one.data is None else msgspec.json.encode(one.data).decode(),
            retry=one.retry,
            comment=one.comment,
            sep="\n",
        ).encode()
        for one in messages
    )


router = Router(BASE_PATH, route_handlers=[get_events])
