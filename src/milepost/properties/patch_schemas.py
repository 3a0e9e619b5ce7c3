"""What patches of a record look like, for the documentation: both formats (RFC 7396, RFC 6902), with examples."""

from typing import Any

import msgspec

from milepost.domain.contract import FirstLoginState, GuidedChecklist, UserProperties
from milepost.domain.patches import MAX_OPERATIONS
from milepost.edge import JSON
from milepost.properties.example import RECORD_EXAMPLE

Schema = dict[str, Any]

POINTER: Schema = {"type": "string", "pattern": "^(/([^~/]|~[01])*)*$", "description": "a JSON Pointer (RFC 6901)"}


def _operations(*names: str, **members: Schema) -> Schema:
    operation = {"op": {"enum": list(names)}, "path": POINTER, **members}
    return {"type": "object", "required": list(operation), "properties": operation}


OPERATIONS: Schema = {
    "description": "JSON-patch operations (RFC 6902) on what a GET shows",
    "type": "array",
    "maxItems": MAX_OPERATIONS,
    "items": {
        "oneOf": [
            _operations("add", "replace", "test", value={}),
            _operations("remove"),
            _operations("move", "copy", **{"from": POINTER}),
        ]
    },
}


def _parts(type_: type, *, required: tuple[str, ...] = (), **patched: Schema) -> Schema:
    """A merge-patch (RFC 7396) of what a type describes: any member may be left out, null removes an optional one."""
    _, components = msgspec.json.schema_components([type_], ref_template="#/components/schemas/{name}")
    whole = components[type_.__name__]
    members = {**whole["properties"], **patched}
    return {
        "type": "object",
        "required": list(required),
        "properties": {
            name: part if name in whole["required"] else {"anyOf": [part, {"type": "null"}]}
            for name, part in members.items()
        },
        # To take away what is not there changes nothing (RFC 7396).
        "additionalProperties": {"type": "null"},
    }


RECORD_PARTS: Schema = {
    "description": "the members to change; null removes one (RFC 7396)",
    **_parts(UserProperties, guidedChecklist=_parts(GuidedChecklist), firstLoginState=_parts(FirstLoginState)),
}
CHECKLIST_PARTS: Schema = {
    "description": "a guided checklist; null removes an optional member (RFC 7396)",
    **_parts(GuidedChecklist, required=("track", "computedAt")),
}

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

RECORD_PATCHES = {JSON: RECORD_PARTS, MERGE_PATCH: RECORD_PARTS, JSON_PATCH: OPERATIONS}
RECORD_PATCH_EXAMPLES: dict[str, object] = {
    JSON: {"attributes": {"locale": "nb-NO"}},
    MERGE_PATCH: {"attributes": {"locale": "nb-NO", "seats": None}},
    JSON_PATCH: [{"op": "replace", "path": "/attributes/locale", "value": "nb-NO"}],
}
CHECKLIST_PATCHES = {JSON: CHECKLIST_PARTS, MERGE_PATCH: CHECKLIST_PARTS, JSON_PATCH: OPERATIONS}
CHECKLIST_PATCH_EXAMPLES: dict[str, object] = {
    JSON: RECORD_EXAMPLE["guidedChecklist"],
    MERGE_PATCH: {"track": "A", "computedAt": "2026-03-02T08:00:00Z", "dismissedAt": "2026-03-09T12:00:00Z"},
    JSON_PATCH: [{"op": "replace", "path": "/steps/0/status", "value": "IN_PROGRESS"}],
}
