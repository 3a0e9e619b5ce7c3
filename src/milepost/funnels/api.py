"""Funnels over HTTP: as JSON, or as CSV for a spreadsheet."""

import csv
import io
from collections.abc import Sequence
from datetime import date
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import FromPath
from msgspec import Meta

from milepost.access.policy import Action
from milepost.directory.service import Context
from milepost.domain.contract import Track
from milepost.domain.funnels import EPOCH, FunnelTrack
from milepost.edge import (
    BASE_PATH,
    AnyRequest,
    Call,
    Reply,
    answer,
    encoded,
    from_path,
    header,
    new_id,
    receive,
    refuse_parameter,
)
from milepost.funnels.service import overview
from milepost.openapi import Operation, Parameter
from milepost.problems import ORGANIZATION_NOT_FOUND

CSV = "text/csv"
COLUMNS = (
    "track", "stepId", "shown", "started", "completed", "skipped", "stoppedHere", "medianSeconds",
)  # fmt: skip
DAY = {"type": "string", "format": "date"}
TRACK = Parameter("track", "only this track", schema={"type": "string", "enum": list(Track)})
FROM = Parameter("from", "only checklists started on this day or later (UTC)", schema=DAY)
TO = Parameter("to", "only checklists started on this day or earlier (UTC)", schema=DAY)


class Funnel(msgspec.Struct, rename="camel"):
    """How far people come."""

    up_to_date: Annotated[bool, Meta(description="false: what happened in the last moments is not counted yet")]
    tracks: list[FunnelTrack]


@get(
    "/organizations/{org_id:str}/funnel",
    opt=Operation(
        action=Action.READ_FUNNEL,
        parameters=(TRACK, FROM, TO),
        answers={200: Funnel},
        problems=(ORGANIZATION_NOT_FOUND,),
    ).opt(),
)
async def get_funnel(request: AnyRequest, org_id: FromPath[str]) -> Reply:
    """Tell how many checklists were started and completed, how many did each step, and where people stop.

    With `Accept: text/csv` the answer is a table of the steps. Medians are true within 5 percent.
    """
    call = await receive(request, "track", "from", "to")
    context = Context(call.caller, call.now, new_id)
    org_id, first, last = from_path("orgId", org_id), _day(call, "from", date.min), _day(call, "to", date.max)
    tracks, is_up_to_date = await overview(request.app.state.database, context, org_id, _track(call), first, last)
    if CSV in (header(request, b"accept") or ""):
        return _table(tracks)
    return answer(Funnel(is_up_to_date, tracks))


def _track(call: Call) -> Track | None:
    value = call.query.get("track")
    if value is None:
        return None
    if value not in list(Track):
        refuse_parameter("track", f"must be one of {', '.join(Track)}")
    return Track(value)


def _day(call: Call, name: str, default: date) -> int:
    value = call.query.get(name)
    try:
        day = default if value is None else msgspec.convert(value, date)
    except msgspec.ValidationError:
        refuse_parameter(name, "must be a day such as 2026-11-25")
    return (day - EPOCH).days


def _table(tracks: Sequence[FunnelTrack]) -> Reply:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(COLUMNS)
    for track in tracks:
        for step in track.steps:
            median = "" if step.median_seconds is None else step.median_seconds
            counts = (step.shown, step.started, step.completed, step.skipped, step.stopped_here, median)
            lines.writerow((track.track, _cell(step.step_id), *counts))
    content = text.getvalue().encode()
    headers = {
        "Content-Type": f"{CSV}; charset=utf-8",
        "Content-Length": str(len(content)),
        "Cache-Control": "private, no-cache",
    }
    return Reply(200, encoded(headers), content)


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


router = Router(BASE_PATH, route_handlers=[get_funnel])
