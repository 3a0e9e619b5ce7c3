"""The operator's JSON Schema for `attributes`, where one is set (contract part 3)."""

from collections.abc import Callable
from pathlib import Path

import jsonschema_rs
from msgspec import UNSET

from milepost.domain.contract import UserProperties
from milepost.domain.json_schema import schema_faults
from milepost.domain.json_text import parse
from milepost.problems import INVALID_ATTRIBUTES, Problem
from milepost.settings import SettingsError


def attributes_rule(schema_file: Path | None) -> Callable[[UserProperties], None]:
    """A check that raises `invalid_attributes` with one fault per rule that `attributes` break.

    Raises:
        SettingsError: the file cannot be read, or is no JSON Schema.
    """
    if schema_file is None:
        return lambda _properties: None
    setting = f"MILEPOST_ATTRIBUTES_SCHEMA ({schema_file})"
    try:
        validator = jsonschema_rs.validator_for(parse(schema_file.read_bytes()), validate_formats=True)
    except OSError as error:
        raise SettingsError(f"{setting} cannot be read: {error.strerror}") from None
    except Problem as problem:
        raise SettingsError(f"{setting} is not JSON: {problem.detail}") from None
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise SettingsError(f"{setting} is not a JSON Schema: {str(error).splitlines()[0]}") from None

    def fit(properties: UserProperties) -> None:
        if properties.attributes is UNSET:
            return
        faults = schema_faults(validator, parse(bytes(properties.attributes)), "/attributes")
        if faults:
            raise Problem(INVALID_ATTRIBUTES, "attributes do not fit the schema that the operator set.", faults)

    return fit
