"""The guided checklist over HTTP (contract parts 2 and 4)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Router, get, patch, post
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection

from milepost.access.policy import Action
from milepost.checklists import service, steps
from milepost.checklists.flags import TrackFlag
from milepost.checklists.service import Explanation, Wish
from milepost.checklists.sources import FAILED_HEADER, Findings, SignalSources, as_header
from milepost.directory.service import Context
from milepost.domain.contract import Status, Strings, UserProperties
from milepost.domain.json_text import Reader
from milepost.domain.tracks import Strategy
from milepost.edge import (
    BASE_PATH,
    JSON,
    AnyRequest,
    Call,
    Reply,
    accept_language,
    answer,
    body,
    conditions,
    encoded,
    from_path,
    identifier,
    new_id,
    receive,
    refuse_parameter,
)
from milepost.openapi import IDENTIFIER, IF_MATCH, REQUIRED_ORG_ID, Operation, Parameter
from milepost.problems import (
    CATALOG_NOT_FOUND,
    CHECKLIST_NOT_FOUND,
    ILLEGAL_TRANSITION,
    NOT_SKIPPABLE,
    ORGANIZATION_NOT_FOUND,
    PREREQUISITES_OPEN,
    PROOF_REQUIRED,
    STEP_NOT_FOUND,
    UNKNOWN_ENTERPRISE,
)
from milepost.properties.service import Answer
from milepost.store.database import Database

CHECKLIST = "/users/{user_id:str}/properties/guided-checklist"
ENTERPRISE_ID = Parameter(
    "enterpriseId", "the enterprise whose signals count; without it the whole organization", schema=IDENTIFIER
)
KEEP_PROGRESS = Parameter(
    "keepProgress",
    "`true`: steps that were completed or skipped stay so",
    schema={"type": "boolean", "default": False},
)
Result = TypeVar("Result")


class InitializeChecklist(msgspec.Struct, rename="camel", kw_only=True):
    """Of a checklist that is sent to be initialized only the interests are read."""

    product_interests: Strings | UnsetType = UNSET


class Initialize(msgspec.Struct, rename="camel", kw_only=True):
    """The body of initialize; everything else in it is ignored (contract part 2)."""

    guided_checklist: InitializeChecklist | UnsetType = UNSET


class StepStatus(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The status that a step shall have."""

    status: Annotated[Status, Meta(description="the status the step shall have")]


read_initialize = Reader(Initialize)
read_status = Reader(StepStatus)


def _operation(*events: str, **members: Any) -> dict[str, Any]:
    problems = (ORGANIZATION_NOT_FOUND, *members.pop("problems", ()))
    parameters = (REQUIRED_ORG_ID, *members.pop("parameters", ()))
    return Operation(
        action=Action.WRITE_PROPERTIES,
        answers={200: UserProperties},
        tagged=True,
        localized=True,
        events=events,
        problems=problems,
        parameters=parameters,
        **members,
    ).opt()


@post(
    f"{CHECKLIST}/initialize",
    status_code=200,
    opt=_operation(
        "checklist.initialized",
        bodies={JSON: Initialize},
        needs_body=False,
        examples={JSON: {"guidedChecklist": {"productInterests": ["routing"]}}},
        parameters=(ENTERPRISE_ID, KEEP_PROGRESS),
        problems=(CATALOG_NOT_FOUND, UNKNOWN_ENTERPRISE),
    ),
)
async def initialize_checklist(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Make the user's checklist: detect the track, build the steps for the roles held, mark those already done."""
    call = await receive(request, "orgId", "enterpriseId", "keepProgress")
    user_id, org_id = from_path("userId", user_id), call.required_org_id()
    keep_progress = _flag(call, "keepProgress")
    wish = Wish(_enterprise_id(call) or "", await _interests(request), keep_progress)
    strategy = await _strategy(request, call, user_id, org_id, wish.enterprise_id)

    def use_case(connection: Connection, context: Context) -> Answer:
        return service.initialize(connection, context, user_id, org_id, wish, strategy)

    return _answered(await _write(request, call, use_case))


async def _strategy(request: AnyRequest, call: Call, user_id: str, org_id: str, enterprise_id: str) -> Strategy:
    """How the track is decided. A feature flag is asked here, outside of any transaction, since that may take time."""
    flag: TrackFlag | None = request.app.state.track_flag
    if flag is None:
        strategy: Strategy = request.app.state.track_strategy
        return strategy
    joining = await _read(
        request, call, lambda connection, context: service.joining(connection, context, user_id, org_id, enterprise_id)
    )
    decision = await flag.decide(joining)
    return lambda _joining: decision


async def _interests(request: AnyRequest) -> Sequence[str] | None:
    sent, _ = await body(request, JSON)
    if not sent:
        return None
    checklist = read_initialize.read(sent).guided_checklist
    if checklist is UNSET or checklist.product_interests is UNSET:
        return None
    return checklist.product_interests


@post(
    f"{CHECKLIST}/refresh",
    status_code=200,
    opt=_operation(
        "checklist.refreshed",
        "signals.reported",
        parameters=(ENTERPRISE_ID,),
        headers={FAILED_HEADER: "the sources of signals that failed, such as `billing;reason=timeout` (RFC 9651)"},
        problems=(CHECKLIST_NOT_FOUND, CATALOG_NOT_FOUND, UNKNOWN_ENTERPRISE),
    ),
)
async def refresh_checklist(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Complete every step whose condition is met by now, and add those that the catalog or a role has brought.

    Where the operator has named sources of signals, they are asked first. The header `Signal-Sources-Failed` lists
    those that did not answer as they should; what the others said, and all that was known already, counts.
    """
    call = await receive(request, "orgId", "enterpriseId")
    user_id, org_id, enterprise_id = from_path("userId", user_id), call.required_org_id(), _enterprise_id(call)
    findings = await _findings(request, call, user_id, org_id, enterprise_id)

    def use_case(connection: Connection, context: Context) -> tuple[Answer, Mapping[str, str]]:
        return service.refresh(connection, context, user_id, org_id, enterprise_id=enterprise_id, findings=findings)

    refreshed, failed = await _write(request, call, use_case)
    response = _answered(refreshed)
    if failed:
        response.headers += encoded({FAILED_HEADER: as_header(failed)})
    return response


async def _findings(
    request: AnyRequest, call: Call, user_id: str, org_id: str, enterprise_id: str | None
) -> Findings | None:
    """What the sources of signals say, asked outside of any transaction, and for nobody who may not refresh."""
    sources: SignalSources | None = request.app.state.signal_sources
    if sources is None:
        return None

    def use_case(connection: Connection, context: Context) -> str:
        return service.refreshable(connection, context, user_id, org_id, enterprise_id=enterprise_id)

    return await sources.ask(user_id, org_id, await _read(request, call, use_case), call.now)


@patch(
    CHECKLIST + "/steps/{step_id:str}",
    opt=_operation(
        "step.moved",
        bodies={JSON: StepStatus},
        examples={JSON: {"status": "IN_PROGRESS"}},
        parameters=(IF_MATCH,),
        problems=(
            CHECKLIST_NOT_FOUND,
            STEP_NOT_FOUND,
            ILLEGAL_TRANSITION,
            PREREQUISITES_OPEN,
            NOT_SKIPPABLE,
            PROOF_REQUIRED,
        ),
    ),
)
async def move_step(request: AnyRequest, user_id: FromPath[str], step_id: FromPath[str]) -> Reply:
    """Change the status of one step."""
    call = await receive(request, "orgId")
    user_id, org_id = from_path("userId", user_id), call.required_org_id()
    step_id, wanted = from_path("stepId", step_id), conditions(request)
    sent, _ = await body(request, JSON)
    status = read_status.read(sent).status

    def use_case(connection: Connection, context: Context) -> Answer:
        return steps.move_step(connection, context, user_id, org_id, step_id, status, wanted)

    return _answered(await _write(request, call, use_case))


@post(
    f"{CHECKLIST}/dismiss",
    status_code=200,
    opt=_operation("checklist.dismissed", parameters=(IF_MATCH,), problems=(CHECKLIST_NOT_FOUND,)),
)
async def dismiss_checklist(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Put the checklist away."""
    return await _set_dismissed(request, user_id, dismissed=True)


@post(
    f"{CHECKLIST}/restore",
    status_code=200,
    opt=_operation("checklist.restored", parameters=(IF_MATCH,), problems=(CHECKLIST_NOT_FOUND,)),
)
async def restore_checklist(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Bring the checklist back."""
    return await _set_dismissed(request, user_id, dismissed=False)


async def _set_dismissed(request: AnyRequest, user_id: str, *, dismissed: bool) -> Reply:
    call = await receive(request, "orgId")
    user_id, org_id, wanted = from_path("userId", user_id), call.required_org_id(), conditions(request)

    def use_case(connection: Connection, context: Context) -> Answer:
        return steps.set_dismissed(connection, context, user_id, org_id, wanted, dismissed=dismissed)

    return _answered(await _write(request, call, use_case))


@get(
    f"{CHECKLIST}/explain",
    opt=Operation(
        action=Action.READ_PROPERTIES,
        answers={200: Explanation},
        localized=True,
        parameters=(REQUIRED_ORG_ID,),
        problems=(ORGANIZATION_NOT_FOUND, CHECKLIST_NOT_FOUND, CATALOG_NOT_FOUND),
    ).opt(),
)
async def explain_checklist(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Say of every step whether it is shown, hidden or not there, why, and by what it was done."""
    call = await receive(request, "orgId")
    user_id, org_id = from_path("userId", user_id), call.required_org_id()
    told, language = await _read(
        request, call, lambda connection, context: service.explain(connection, context, user_id, org_id)
    )
    return answer(told, language=language)


def _enterprise_id(call: Call) -> str | None:
    value = call.query.get("enterpriseId")
    return None if value is None else identifier("enterpriseId", value)


def _flag(call: Call, name: str) -> bool:
    value = call.query.get(name, "false")
    if value not in {"true", "false"}:
        refuse_parameter(name, "must be true or false")
    return value == "true"


async def _read(request: AnyRequest, call: Call, use_case: Callable[[Connection, Context], Result]) -> Result:
    database: Database = request.app.state.database
    context = Context(call.caller, call.now, new_id, accept_language(request))
    return await database.read(lambda connection: use_case(connection, context))


async def _write(request: AnyRequest, call: Call, use_case: Callable[[Connection, Context], Result]) -> Result:
    database: Database = request.app.state.database
    context = Context(call.caller, call.now, new_id, accept_language(request))
    return await database.write(lambda connection: use_case(connection, context))


def _answered(found: Answer) -> Reply:
    return answer(found.properties, tag=found.tag, language=found.language)


router = Router(
    BASE_PATH,
    route_handlers=[
        initialize_checklist, refresh_checklist, move_step, dismiss_checklist, restore_checklist, explain_checklist,
    ],
)  # fmt: skip
