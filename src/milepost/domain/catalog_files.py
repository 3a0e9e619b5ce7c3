"""Catalog files: YAML or JSON read into a catalog, with everything that is wrong told at once; and written again."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec
from msgspec import UNSET

from milepost.domain import json_text
from milepost.domain.catalog import MAX_STEPS, Catalog, Language, Scope, StepDefinition, Translation
from milepost.domain.catalog_rules import broken_rules, doubts
from milepost.domain.catalog_text import CatalogFault, CatalogInvalid, Document, read_document
from milepost.domain.conditions import ConditionError, compile_condition
from milepost.problems import Fault, Problem

__all__ = [
    "CatalogFault",
    "CatalogFile",
    "CatalogInvalid",
    "broken",
    "digest",
    "dump",
    "examine",
    "json_schema",
    "read",
]

MAX_FAULTS = 1_000
"""How many faults, and how many warnings, are told."""

_reader = json_text.Reader(Catalog)


class CatalogFile(msgspec.Struct, frozen=True):
    """A catalog that was read, and what in it is allowed but hardly meant."""

    catalog: Catalog
    warnings: tuple[CatalogFault, ...]


def read(text: bytes, name: str) -> Catalog:
    """Read a catalog from YAML or JSON; `name` is the file's, for messages.

    Raises:
        CatalogInvalid: with everything that is wrong, each with its place and what to do.
    """
    return examine(text, name).catalog


def examine(text: bytes, name: str) -> CatalogFile:
    """Read a catalog, and say what in it is hardly meant.

    Raises:
        CatalogInvalid: as `read` does.
    """
    document = read_document(text, name)
    catalog, misfits = _fitted(document)
    # What could not be read as it was meant does not fit either.
    told = {fault.pointer for fault in document.faults}
    faults = [*document.faults, *(_placed(document, fault) for fault in misfits if fault.pointer not in told)]
    faults += [_placed(document, fault) for fault in islice(broken_rules(catalog), MAX_FAULTS)]
    faults += _condition_faults(document, catalog)
    if faults:
        raise CatalogInvalid(sorted(set(faults))[:MAX_FAULTS], name)
    warnings = islice(doubts(catalog), MAX_FAULTS)
    return CatalogFile(catalog, tuple(sorted(_placed(document, warning) for warning in warnings)))


def _fitted(document: Document) -> tuple[Catalog, Sequence[Fault]]:
    """The catalog; where the document does not fit its type, what of it does, so that the rules can be kept on that."""
    try:
        return _reader.read(json_text.dump(document.value)), ()
    except Problem as problem:
        faults = problem.faults
    value = document.value if isinstance(document.value, dict) else {}
    languages, steps = value.get("languages", ["en"]), value.get("steps")
    if not isinstance(languages, list):
        languages = []
    if not isinstance(steps, list):
        steps = []
    if len(steps) > MAX_STEPS:
        # Of so many, one clear fault says more than those of each.
        faults, steps = tuple(fault for fault in faults if not (fault.pointer or "").startswith("/steps/")), []
    catalog = Catalog(
        name="",
        languages=[each for each in languages if _fits(each, Language)],
        steps=[_fitted_step(each) for each in steps],
    )
    return catalog, faults


def _fitted_step(value: Any) -> StepDefinition:
    members: dict[str, Any] = {
        "step_id": "",
        "title": "",
        "description": "",
        "cta_label": "",
        "cta_route": "",
        "sort_order": 0,
    }
    for field in msgspec.structs.fields(StepDefinition):
        member = value.get(field.encode_name, UNSET) if isinstance(value, dict) else UNSET
        if field.name == "translations" and isinstance(member, dict):
            members[field.name] = {name: Translation() for name in member}
        elif member is not UNSET and _fits(member, field.type):
            members[field.name] = msgspec.convert(member, field.type)
    return StepDefinition(**members)


def _fits(value: Any, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return False
    return True


def _placed(document: Document, fault: Fault) -> CatalogFault:
    pointer, detail = fault.pointer or "", fault.detail
    value = document.node(pointer).value
    if detail.startswith("must be a string, not ") and document.is_unquoted(pointer) and value is not None:
        detail += "; put it in quotes"
    elif detail == "is required":
        detail += "; add it"
    elif "matching regex" in detail and pointer.startswith("/languages/"):
        detail = "must be a language tag, such as en or pt-BR (BCP 47)"
    return document.fault(pointer, detail, at_name=detail.startswith("is not a known member"))


def broken(catalog: Catalog) -> Iterator[Fault]:
    """What is wrong with a catalog that came in no file of its own, as far as its type does not see to it."""
    yield from islice(broken_rules(catalog), MAX_FAULTS)
    for pointer, error in _broken_conditions(catalog):
        yield Fault(_told(error), pointer=pointer)


def _broken_conditions(catalog: Catalog) -> Iterator[tuple[str, ConditionError]]:
    for index, step in enumerate(catalog.steps):
        if step.complete_when is not UNSET:
            try:
                compile_condition(step.complete_when)
            except ConditionError as error:
                yield f"/steps/{index}/completeWhen", error


def _told(error: ConditionError) -> str:
    return f"{error.detail} (line {error.line}, character {error.column} of the condition)"


def _condition_faults(document: Document, catalog: Catalog) -> Iterator[CatalogFault]:
    for pointer, error in _broken_conditions(catalog):
        place = document.place_within(pointer, error.line, error.column)
        if place is None:
            yield document.fault(pointer, _told(error))
        else:
            yield CatalogFault(*place, pointer, error.detail)


_encode = msgspec.json.Encoder(order="sorted").encode


def dump(catalog: Catalog) -> bytes:
    """Write a catalog as JSON, always the same for the same catalog: members sorted, defaults of steps left out."""
    return _encode(catalog)


def digest(catalog: Catalog) -> str:
    """A fingerprint of what the catalog says (SHA-256, hexadecimal), however its file was written."""
    return sha256(dump(catalog)).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) by which editors check and complete catalog files."""
    schema = msgspec.json.schema(Catalog)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Milepost catalog",
        "description": "The steps of an onboarding: for whom, after what, and when each is complete.",
        "examples": [msgspec.json.decode(dump(EXAMPLE))],
        **schema,
    }


EXAMPLE = Catalog(
    name="Fleet onboarding",
    languages=["en", "sv"],
    steps=[
        StepDefinition(
            step_id="connect-vehicles",
            title="Connect your vehicles",
            description="Pair the first tracker, and the map fills by itself.",
            cta_label="Pair a tracker",
            cta_route="/fleet/trackers/new",
            sort_order=10,
            roles=["fleet-manager"],
            complete_when="signals['tracker.paired'].count > 0",
            scope=Scope.ENTERPRISE,
            translations={"sv": Translation(title="Anslut era fordon", cta_label="Anslut en spårare")},
        )
    ],
)
