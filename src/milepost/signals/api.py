"""Signals over HTTP: CloudEvents 1.0 in structured, binary and batch mode (contract part 4)."""

from typing import Any
from urllib.parse import unquote

from litestar import Router, post

from milepost.access.policy import Action
from milepost.directory.service import Context
from milepost.domain.cloud_events import (
    BATCH,
    MAX_EVENTS,
    STRUCTURED,
    CloudEvent,
    read_batch,
    read_binary,
    read_structured,
)
from milepost.edge import BASE_PATH, JSON, AnyRequest, Reply, answer, body, new_id, receive
from milepost.openapi import Operation
from milepost.problems import UNKNOWN_PLACE
from milepost.signals.service import Receipt, Report, Signals

EXAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "5f1c-0001",
    "source": "/fleet",
    "type": "tracker.paired",
    "subject": "marco.lindqvist",
    "orgid": "tarnwick",
    "time": "2026-03-02T09:30:00Z",
}


@post(
    "/signals",
    status_code=200,
    opt=Operation(
        action=Action.REPORT_SIGNALS,
        bodies={
            STRUCTURED: CloudEvent,
            BATCH: {"type": "array", "maxItems": MAX_EVENTS, "items": {"$ref": "#/components/schemas/CloudEvent"}},
        },
        examples={STRUCTURED: EXAMPLE, BATCH: [EXAMPLE]},
        answers={200: Receipt},
        problems=(UNKNOWN_PLACE,),
        events=("signals.reported", "steps.completed"),
    ).opt(),
)
async def report_signals(request: AnyRequest) -> Reply:
    """Report what happened: one CloudEvent or up to 1,000. Each counts once, and completes what it satisfies."""
    call = await receive(request)
    if "ce-specversion" in request.headers:
        # In binary mode the body is the event's data, which is not looked at.
        attributes = {name[3:]: unquote(value) for name, value in request.headers.items() if name.startswith("ce-")}
        events, pointer = read_binary(attributes, call.now), ""
    else:
        sent, media_type = await body(request, STRUCTURED, BATCH, JSON)
        if media_type == BATCH:
            events, pointer = read_batch(sent, call.now), "/{}"
        else:
            events, pointer = read_structured(sent, call.now), ""
    signals: Signals = request.app.state.signals
    return answer(await signals.report(Report(Context(call.caller, call.now, new_id), events, pointer)))


router = Router(BASE_PATH, route_handlers=[report_signals])
