"""The record over HTTP (contract parts 1 and 2)."""

from collections.abc import Callable

from litestar import Router, delete, get, patch, put
from litestar.params import FromPath

from milepost.access.policy import Action
from milepost.domain import preconditions
from milepost.domain.contract import UserProperties
from milepost.domain.json_text import parse
from milepost.domain.patches import json_patch, merge_patch
from milepost.domain.records import Record
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
    empty,
    from_path,
    new_id,
    receive,
)
from milepost.openapi import (
    IF_MATCH,
    IF_NONE_MATCH_READ,
    IF_NONE_MATCH_WRITE,
    ORG_ID,
    REQUIRED_ORG_ID,
    Operation,
)
from milepost.problems import (
    CREATED_IN_FUTURE,
    DUPLICATE_STEP,
    ID_MISMATCH,
    INVALID_ATTRIBUTES,
    INVALID_BODY,
    INVALID_PATCH,
    ORGANIZATION_NOT_FOUND,
    PATCH_NOT_APPLICABLE,
    PATCH_TEST_FAILED,
    RECORD_NOT_FOUND,
    Fault,
    Problem,
)
from milepost.properties.example import RECORD_EXAMPLE
from milepost.properties.patch_schemas import (
    CHECKLIST_PATCH_EXAMPLES,
    CHECKLIST_PATCHES,
    JSON_PATCH,
    MERGE_PATCH,
    RECORD_PATCH_EXAMPLES,
    RECORD_PATCHES,
)
from milepost.properties.queries import HOME, Situation
from milepost.properties.service import (
    Change,
    Patch,
    Properties,
    Reading,
    erasing,
    read_properties,
    replacing,
)

WRITING = (ORG_ID, IF_MATCH, IF_NONE_MATCH_WRITE)
REFUSED = (CREATED_IN_FUTURE, ID_MISMATCH, DUPLICATE_STEP, INVALID_ATTRIBUTES, ORGANIZATION_NOT_FOUND)
PATCHED = (*REFUSED, RECORD_NOT_FOUND, INVALID_PATCH, PATCH_TEST_FAILED, PATCH_NOT_APPLICABLE)


@get(
    "/users/{user_id:str}/properties",
    opt=Operation(
        action=Action.READ_PROPERTIES,
        parameters=(REQUIRED_ORG_ID, IF_NONE_MATCH_READ),
        answers={200: UserProperties, 304: None},
        tagged=True,
        localized=True,
        frequent=True,
        problems=(RECORD_NOT_FOUND,),
    ).opt(),
)
async def get_properties(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Read the record, with the roles that the user holds now in the organization and the steps these roles see."""
    call = await receive(request, "orgId")
    wanted = conditions(request)
    service: Properties = request.app.state.properties
    user_id, languages = from_path("userId", user_id), accept_language(request)
    found = await service.read(Reading(call.caller, user_id, call.required_org_id(), languages))
    if preconditions.is_unchanged(wanted, found.tag):
        return empty(304, found.tag)
    return answer(found.properties, tag=found.tag, language=found.language)


@put(
    "/users/{user_id:str}/properties",
    opt=Operation(
        action=Action.WRITE_PROPERTIES,
        parameters=WRITING,
        bodies={JSON: UserProperties},
        examples={JSON: RECORD_EXAMPLE},
        answers={200: UserProperties},
        tagged=True,
        localized=True,
        frequent=True,
        problems=REFUSED,
        events=("properties.put",),
    ).opt(),
)
async def put_properties(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Create or replace all properties of one user."""
    call = await receive(request, "orgId")
    service: Properties = request.app.state.properties
    user_id = from_path("userId", user_id)
    sent, _ = await body(request, JSON)
    properties = service.fitting(read_properties.read(sent), user_id, call.now)
    change = _change(request, call, user_id, "properties.put", replacing(properties, call.now))
    stored = await service.write(change)
    return answer(stored.properties, tag=stored.tag, language=stored.language)


@patch(
    "/users/{user_id:str}/properties",
    opt=Operation(
        action=Action.WRITE_PROPERTIES,
        parameters=WRITING,
        bodies=RECORD_PATCHES,
        examples=RECORD_PATCH_EXAMPLES,
        answers={200: UserProperties},
        tagged=True,
        localized=True,
        problems=PATCHED,
        events=("properties.patched",),
    ).opt(),
)
async def patch_properties(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Change parts of the record as it is shown, by merge-patch (RFC 7396) or JSON-patch (RFC 6902)."""
    call = await receive(request, "orgId")
    service: Properties = request.app.state.properties
    user_id = from_path("userId", user_id)
    document = await _patch(request, _merging)
    apply = service.patching(document, user_id, call.org_id() or HOME, call.now, accept_language(request))
    stored = await service.write(_change(request, call, user_id, "properties.patched", apply))
    return answer(stored.properties, tag=stored.tag, language=stored.language)


@patch(
    "/users/{user_id:str}/properties/guided-checklist",
    opt=Operation(
        action=Action.WRITE_PROPERTIES,
        parameters=WRITING,
        bodies=CHECKLIST_PATCHES,
        examples=CHECKLIST_PATCH_EXAMPLES,
        answers={200: UserProperties},
        tagged=True,
        localized=True,
        problems=PATCHED,
        events=("checklist.patched",),
    ).opt(),
)
async def patch_checklist(request: AnyRequest, user_id: FromPath[str]) -> Reply:
    """Change only `guidedChecklist` of an existing record; answers the whole record."""
    call = await receive(request, "orgId")
    service: Properties = request.app.state.properties
    user_id = from_path("userId", user_id)
    document = await _patch(request, _merging_whole_checklist)
    apply = service.patching_checklist(document, user_id, call.org_id() or HOME, call.now, accept_language(request))
    stored = await service.write(_change(request, call, user_id, "checklist.patched", apply))
    return answer(stored.properties, tag=stored.tag, language=stored.language)


@delete(
    "/users/{user_id:str}/properties",
    opt=Operation(
        action=Action.WRITE_PROPERTIES,
        parameters=WRITING,
        answers={204: None},
        problems=(RECORD_NOT_FOUND, ORGANIZATION_NOT_FOUND),
        events=("properties.deleted",),
    ).opt(),
)
async def delete_properties(request: AnyRequest, user_id: FromPath[str]) -> None:
    """Delete the record: the home record, or with `orgId` the one the organization has of its own."""
    call = await receive(request, "orgId")
    service: Properties = request.app.state.properties
    user_id = from_path("userId", user_id)
    await service.erase(_change(request, call, user_id, "properties.deleted", erasing))


def _change(
    request: AnyRequest, call: Call, user_id: str, event: str, apply: Callable[[Situation], Record | None]
) -> Change:
    return Change(
        caller=call.caller,
        user_id=user_id,
        org_id=call.org_id() or HOME,
        event=event,
        apply=apply,
        now=call.now,
        event_id=new_id(),
        person_id=new_id(),
        conditions=conditions(request),
        accept_language=accept_language(request),
    )


async def _patch(request: AnyRequest, merging: Callable[[object], Patch]) -> Patch:
    sent, media_type = await body(request, JSON, MERGE_PATCH, JSON_PATCH)
    document = parse(sent)
    if media_type == JSON_PATCH:
        return lambda before: json_patch(before, document)
    return merging(document)


def _merging(document: object) -> Patch:
    if not isinstance(document, dict):
        raise Problem(INVALID_BODY, "A merge-patch of the record must be an object.", [Fault("must be an object", "")])
    return lambda before: merge_patch(before, document)


def _merging_whole_checklist(document: object) -> Patch:
    """The contract asks for a whole guided checklist: its required members must be sent (part 3)."""
    sent = document if isinstance(document, dict) else {}
    missing = [name for name in ("track", "computedAt") if name not in sent]
    if missing:
        raise Problem(
            INVALID_BODY,
            f"The body must be a guided checklist; {' and '.join(missing)} must be sent.",
            [Fault("is required", pointer=f"/{name}") for name in missing],
        )
    return lambda before: merge_patch(before, document)


router = Router(
    BASE_PATH,
    route_handlers=[get_properties, put_properties, patch_properties, patch_checklist, delete_properties],
)
