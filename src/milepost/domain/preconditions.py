"""ETags and the conditions that requests put on them (RFC 9110, sections 8.8.3 and 13)."""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2s

import msgspec

from milepost.problems import INVALID_PARAMETER, PRECONDITION_FAILED, Fault, Problem

ENTITY_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')


class Tags(msgspec.Struct, frozen=True):
    """The entity tags of a header; `anything` stands for `*`."""

    anything: bool = False
    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()


class Preconditions(msgspec.Struct, frozen=True):
    """What the request's `If-Match` and `If-None-Match` ask for; None where the header is absent."""

    if_match: Tags | None = None
    if_none_match: Tags | None = None


NO_CONDITIONS = Preconditions()


def parse(if_match: str | None, if_none_match: str | None) -> Preconditions:
    """Read the two headers.

    Raises:
        Problem: `invalid_parameter` where one is not a list of entity tags.
    """
    if if_match is None and if_none_match is None:
        return NO_CONDITIONS
    return Preconditions(_tags("If-Match", if_match), _tags("If-None-Match", if_none_match))


def _tags(header: str, value: str | None) -> Tags | None:
    if value is None:
        return None
    if value.strip() == "*":
        return Tags(anything=True)
    strong: set[str] = set()
    weak: set[str] = set()
    position = 0
    while position < len(value) or not position:
        match = ENTITY_TAG.match(value, position)
        if match is None:
            raise Problem(
                INVALID_PARAMETER,
                f"{header} takes entity tags in double quotes as an ETag header gave them, or *.",
                [Fault("is not a list of entity tags", parameter=header)],
            )
        (weak if match[1] else strong).add(match[2])
        position = match.end()
    return Tags(strong=frozenset(strong), weak=frozenset(weak))


def opaque_tag(
    version: int,
    roles: Sequence[str] | None,
    shared: Mapping[str, object] | None = None,
    language: str | None = None,
) -> str:
    """What stands between the quotes of a record's ETag: its version, and what else its answer depends on.

    A role given or taken changes what a GET answers, and so do the steps that somebody did for all, when and by whom
    (`shared`, by step id), and the `language` where it is not the checklist's own: they change the tag. A write is
    measured by the version.
    """
    if roles is None and language is None:
        return f"{version:x}"
    depends = [roles, shared or {}] if language is None else [roles, shared or {}, language]
    return f"{version:x}.{blake2s(msgspec.json.encode(depends), digest_size=8).hexdigest()}"


def is_unchanged(conditions: Preconditions, tag: str) -> bool:
    """Whether a GET may be answered with 304: `If-None-Match` names the tag (weak comparison)."""
    tags = conditions.if_none_match
    return tags is not None and (tags.anything or tag in tags.strong or tag in tags.weak)


def require(conditions: Preconditions, *, current: int | None, own: int | None) -> None:
    """Refuse a write whose conditions do not hold.

    `current` is the version of the record as a read answers it, `own` that of the record the write would replace;
    they differ where a read falls back to the home record. None: there is none.

    Raises:
        Problem: `precondition_failed` (412).
    """
    wanted = conditions.if_match
    if wanted is not None:
        versions = {tag.partition(".")[0] for tag in wanted.strong}
        if current is None:
            raise Problem(PRECONDITION_FAILED, "If-Match was sent, but there is no record yet.")
        if not wanted.anything and f"{current:x}" not in versions:
            raise Problem(
                PRECONDITION_FAILED,
                "The record has changed since it was read; read it again and repeat the change.",
            )
    unwanted = conditions.if_none_match
    if unwanted is None:
        return
    if unwanted.anything and own is not None:
        raise Problem(PRECONDITION_FAILED, "If-None-Match: * creates only, and the record exists already.")
    versions = {tag.partition(".")[0] for tag in unwanted.strong | unwanted.weak}
    if own is not None and f"{own:x}" in versions:
        raise Problem(PRECONDITION_FAILED, "The record is the one that If-None-Match excludes.")
