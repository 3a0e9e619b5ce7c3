"""Which rules of a JSON Schema (draft 2020-12) a document breaks, in words."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import jsonschema_rs

from milepost.domain.json_text import MAX_FAULTS, MAX_SENTENCE, counted, dump, in_words, json_pointer, shortened
from milepost.problems import Fault

MAX_EXAMINED = 1_000
"""How many values a document may have for `schema_faults` to look for all of its faults."""


def schema_faults(validator: jsonschema_rs.Validator, document: Any, pointer: str = "") -> list[Fault]:
    """What breaks a JSON Schema in a document that `parse` read; `pointer` is where the document lies in the body.

    At most MAX_FAULTS are listed, and only the first where the document has more than MAX_EXAMINED values: the
    validator builds all errors before it gives one.
    """
    if validator.is_valid(document):
        return []
    errors = _first_error(validator, document) if _is_large(document) else validator.iter_errors(document)
    return list(islice((fault for error in errors for fault in _broken_rules(error, pointer)), MAX_FAULTS))


def _is_large(document: Any) -> bool:
    values = [document]
    for value in values:
        values.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        if len(values) > MAX_EXAMINED:
            return True
    return False


def _first_error(validator: jsonschema_rs.Validator, document: Any) -> Iterator[jsonschema_rs.ValidationError]:
    try:
        validator.validate(document)
    except jsonschema_rs.ValidationError as error:
        yield error


SCHEMA_WORDS = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}

SCHEMA_SENTENCES: dict[str, Callable[[Any], str]] = {
    "anyOf": lambda _: "fits none of the alternatives",
    "const": lambda value: f"must be {dump(value).decode()}",
    "enum": lambda values: f"must be one of {', '.join(dump(value).decode() for value in values)}",
    "exclusiveMaximum": lambda limit: f"must be less than {limit}",
    "exclusiveMinimum": lambda limit: f"must be greater than {limit}",
    "falseSchema": lambda _: "is not allowed here",
    "format": lambda name: f"is not in the format {name}",
    "maxItems": lambda limit: f"must have at most {counted(limit, 'item')}",
    "maxLength": lambda limit: f"must have at most {counted(limit, 'character')}",
    "maxProperties": lambda limit: f"must have at most {counted(limit, 'member')}",
    "maximum": lambda limit: f"must be at most {limit}",
    "minItems": lambda limit: f"must have at least {counted(limit, 'item')}",
    "minLength": lambda limit: f"must have at least {counted(limit, 'character')}",
    "minProperties": lambda limit: f"must have at least {counted(limit, 'member')}",
    "minimum": lambda limit: f"must be at least {limit}",
    "multipleOf": lambda step: f"must be a multiple of {step}",
    "pattern": lambda pattern: f"must match the pattern {pattern}",
    "type": lambda names: f"must be {in_words(names, SCHEMA_WORDS)}",
    "uniqueItems": lambda _: "must not have the same item twice",
}
"""A sentence for each keyword of JSON Schema (draft 2020-12), made from the keyword's value."""


def _broken_rules(error: jsonschema_rs.ValidationError, pointer: str) -> Iterator[Fault]:
    keyword, value = error.kind.name, error.kind.value
    path = tuple(error.instance_path)
    if keyword == "required":
        yield Fault("is required", pointer=pointer + json_pointer((*path, value)))
    elif keyword in {"additionalProperties", "unevaluatedProperties"}:
        for name in value:
            yield Fault("is not allowed here", pointer=pointer + json_pointer((*path, name)))
    else:
        sentence = SCHEMA_SENTENCES.get(keyword, lambda _: f"breaks the rule {keyword} of its schema")
        yield Fault(shortened(sentence(value), MAX_SENTENCE), pointer=pointer + json_pointer(path))
