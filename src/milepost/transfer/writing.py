"""How the lines of an export are written; texts that are stored as JSON go into them as they are."""

import msgspec

from milepost.transfer.lines import Line

_encode = msgspec.json.Encoder().encode


def written(line: Line) -> bytes:
    """The line as text, ended by a line feed."""
    return _encode(line) + b"\n"


def record_written(org_id: str, body: str, progress: str | None) -> bytes:
    """A record's line, from its stored texts.

    They may hold line feeds between the values of `attributes`. No string can hold one unescaped, so all of them
    become spaces, and every value stays as it was sent.
    """
    beside = {} if progress is None else {"progress": _raw(progress)}
    return _encode({"kind": "record", **_place(orgId=org_id), "properties": _raw(body), **beside}) + b"\n"


def catalog_written(line: dict[str, object], org_id: str, body: str) -> bytes:
    """A catalog's line, from its stored text and the rest of what it says."""
    return _encode({"kind": "catalog", **_place(orgId=org_id), **line, "catalog": _raw(body)}) + b"\n"


def shared_written(org_id: str, enterprise_id: str, step_id: str, evidence: str) -> bytes:
    """The line of a step that is or was done for all, from its evidence's stored text."""
    place = _place(orgId=org_id, enterpriseId=enterprise_id)
    return _encode({"kind": "shared", **place, "stepId": step_id, "evidence": _raw(evidence)}) + b"\n"


def _place(**ids: str) -> dict[str, str]:
    """The ids that are not ''."""
    return {name: value for name, value in ids.items() if value}


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(single_line(text).encode())


def single_line(body: str) -> str:
    """JSON text without line breaks."""
    return body.replace("\n", " ").replace("\r", " ")
