"""Errors with stable names, and how each becomes an `application/problem+json` answer (RFC 9457)."""

from collections.abc import Mapping, Sequence

import msgspec

MEDIA_TYPE = "application/problem+json"


class Kind(msgspec.Struct, frozen=True):
    """A class of problems: `name` never changes once published, `title` may be reworded."""

    name: str
    status: int
    title: str


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with the input: where (a JSON Pointer into the body, or a parameter's name) and why."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(Exception):
    """Raised anywhere below the edge; the edge answers it as `application/problem+json`."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})


class ProblemDocument(msgspec.Struct, rename="camel", omit_defaults=True):
    """The body of every error answer (contract part 3, Errors)."""

    type: str
    title: str
    status: int
    detail: str
    name: str
    request_id: str
    errors: tuple[Fault, ...] = ()


def document(problem: Problem, request_id: str) -> ProblemDocument:
    kind = problem.kind
    return ProblemDocument(
        type=f"urn:milepost:problem:{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=problem.detail,
        name=kind.name,
        request_id=request_id,
        errors=problem.faults,
    )


MALFORMED_JSON = Kind("malformed_json", 400, "The body is not valid JSON")
INVALID_BODY = Kind("invalid_body", 400, "The body does not fit its schema")
INVALID_PARAMETER = Kind("invalid_parameter", 400, "A path, query or header parameter is not valid")
INVALID_PATCH = Kind("invalid_patch", 400, "The patch document is not valid")
CREATED_IN_FUTURE = Kind("created_in_future", 400, "createdDate lies in the future")

UNAUTHENTICATED = Kind("unauthenticated", 401, "Credentials are required")
INVALID_TOKEN = Kind("invalid_token", 401, "The token or key is not accepted")
LINK_EXPIRED = Kind("link_expired", 401, "The sign-in link was used already or has expired")

FORBIDDEN = Kind("forbidden", 403, "The caller may not do this")
NOT_AN_ADMIN = Kind("not_an_admin", 403, "The console is for admins")
CROSS_ORIGIN = Kind("cross_origin", 403, "A cookie counts only for the console's own requests")

NO_SUCH_PATH = Kind("no_such_path", 404, "There is nothing at this path")
RECORD_NOT_FOUND = Kind("record_not_found", 404, "There is no such record")
ORGANIZATION_NOT_FOUND = Kind("organization_not_found", 404, "There is no such organization")
ENTERPRISE_NOT_FOUND = Kind("enterprise_not_found", 404, "There is no such enterprise in the organization")
ROLE_NOT_FOUND = Kind("role_not_found", 404, "There is no such role in the organization")
CATALOG_NOT_FOUND = Kind("catalog_not_found", 404, "There is no such catalog")
CHECKLIST_NOT_FOUND = Kind("checklist_not_found", 404, "There is no checklist yet")
STEP_NOT_FOUND = Kind("step_not_found", 404, "There is no such step in the checklist")
MEMBER_NOT_FOUND = Kind("member_not_found", 404, "There is no such member of the organization")

METHOD_NOT_ALLOWED = Kind("method_not_allowed", 405, "The method is not supported here")

PATCH_TEST_FAILED = Kind("patch_test_failed", 409, "A test operation of the patch does not hold")
ENTERPRISE_ELSEWHERE = Kind("enterprise_elsewhere", 409, "The enterprise belongs to another organization")
ILLEGAL_TRANSITION = Kind("illegal_transition", 409, "A step cannot go from this status to that one")
PREREQUISITES_OPEN = Kind("prerequisites_open", 409, "Other steps come first")

PRECONDITION_FAILED = Kind("precondition_failed", 412, "The record is not in the expected state")
BODY_TOO_LARGE = Kind("body_too_large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE = Kind("unsupported_media_type", 415, "The content type is not supported")

ID_MISMATCH = Kind("id_mismatch", 422, "An id in the body differs from the one in the path")
DUPLICATE_STEP = Kind("duplicate_step", 422, "A stepId occurs more than once")
PATCH_NOT_APPLICABLE = Kind("patch_not_applicable", 422, "The patch does not apply to the record as it is")
UNKNOWN_ROLE = Kind("unknown_role", 422, "A role is not defined in the organization")
UNKNOWN_ENTERPRISE = Kind("unknown_enterprise", 422, "An enterprise does not belong to the organization")
UNKNOWN_PLACE = Kind("unknown_place", 422, "An event names no organization, or none of its enterprises")
INVALID_MEMBERS = Kind("invalid_members", 422, "The table of members has faults")
INVALID_CATALOG = Kind("invalid_catalog", 422, "The catalog has faults")
NOT_SKIPPABLE = Kind("not_skippable", 422, "The step cannot be skipped")
PROOF_REQUIRED = Kind("proof_required", 422, "The step is completed by proof alone")
INVALID_ATTRIBUTES = Kind("invalid_attributes", 422, "attributes do not fit the operator's schema")

TOO_MANY_STREAMS = Kind("too_many_streams", 429, "This caller has too many streams open")

INTERNAL = Kind("internal_error", 500, "The service failed")
UNAVAILABLE = Kind("unavailable", 503, "The service cannot answer right now")
