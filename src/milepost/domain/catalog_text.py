"""A catalog's text: YAML or JSON, read strictly and without surprises, each value with its place.

What YAML readers disagree on is refused rather than guessed: unquoted `no` and its like (booleans to YAML 1.1, texts to
YAML 1.2), names given twice, anchors and aliases (a small file can stand for a huge one), and tags.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import yaml

from milepost.domain.json_text import MAX_COUNTED, MAX_NAME, json_pointer, parse, shortened
from milepost.problems import Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
MAX_VALUES = 100_000

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is there; it is twenty times as fast."""

UNPRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""What no YAML stream may have in it (YAML 1.2.2, section 5.1)."""

NOT_OF_YAML = re.compile(rf"{UNPRINTABLE}|\\u[dD][89abAB][0-9a-fA-F]{{2}}\\u[dD][c-fC-F][0-9a-fA-F]{{2}}")
"""What JSON may have and YAML may not: such characters, and others escaped in two halves."""


class CatalogFault(msgspec.Struct, frozen=True, order=True):
    """One thing wrong with a catalog file: where in its lines and characters (from 1) and in its tree (a JSON
    Pointer), and what is wrong and what to do.
    """

    line: int
    column: int
    pointer: str
    detail: str


class CatalogInvalid(Exception):
    """A file that is no catalog, with everything that is wrong with it, in the order of its lines."""

    def __init__(self, faults: Iterable[CatalogFault], name: str) -> None:
        self.name = name
        self.faults = tuple(sorted(set(faults)))
        super().__init__(
            "\n".join(f"{name}:{each.line}:{each.column}: {each.pointer} {each.detail}" for each in self.faults)
        )


class Place(NamedTuple):
    line: int
    column: int


class Node:
    """A value of the file and its place; `key` is where its name stands, `style` how a text is quoted ('' not)."""

    __slots__ = ("children", "key", "place", "style", "value")

    def __init__(self, place: Place, value: Any, key: Place | None = None, style: str | None = None) -> None:
        self.place = place
        self.value = value
        self.key = key
        self.style = style
        self.children: dict[str, Node] = {}


class Document:
    """A file that was read. `faults` are those that do not keep the rest from being read."""

    def __init__(self, text: str, root: Node, faults: list[CatalogFault], value: Any) -> None:
        self.value = value
        self.faults = faults
        self._lines = text.splitlines()
        self._root = root

    def node(self, pointer: str) -> Node:
        """The node at a JSON Pointer, else the nearest one around it."""
        node = self._root
        for token in pointer.split("/")[1:]:
            child = node.children.get(token.replace("~1", "/").replace("~0", "~"))
            if child is None:
                break
            node = child
        return node

    def fault(self, pointer: str, detail: str, *, at_name: bool = False) -> CatalogFault:
        node = self.node(pointer)
        place = node.key if at_name and node.key else node.place
        return CatalogFault(*place, pointer, detail)

    def is_unquoted(self, pointer: str) -> bool:
        return self.node(pointer).style == ""

    def place_within(self, pointer: str, line: int, column: int) -> Place | None:
        """Where in the file a line and character of a text stands; None where the text is written in another way."""
        node = self.node(pointer)
        lines = str(node.value).splitlines()
        written = lines[line - 1] if line <= len(lines) else ""
        if node.style == "|":
            number = node.place.line + line
            source = self._lines[number - 1] if number <= len(self._lines) else ""
            start = len(source) - len(written)
            return Place(number, start + column) if source.endswith(written) else None
        start = node.place.column - 1 + (1 if node.style in {"'", '"'} else 0)
        source = self._lines[node.place.line - 1]
        is_as_written = len(lines) <= 1 and source.startswith(written, start)
        return Place(node.place.line, start + column) if is_as_written else None


def read_document(data: bytes, name: str) -> Document:
    """Read one YAML or JSON document of plain values.

    Raises:
        CatalogInvalid: where it is too large, too deep, or not YAML.
    """
    text = _decoded(data, name)
    value = _as_json(text)
    source = _as_yaml(text, name) if value is None else NOT_OF_YAML.sub(lambda match: "?" * len(match[0]), text)
    builder = _Builder(name)
    try:
        for event in yaml.parse(source.replace("\t", " ") if value else source, Loader=LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise CatalogInvalid([*builder.faults, _syntax_fault(error)], name) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # The loader written in Python lets some escapes and directives that are out of range become other errors.
        raise CatalogInvalid(
            [*builder.faults, CatalogFault(1, 1, "", "an escape or directive is wrong")], name
        ) from None
    if builder.root is None:
        raise CatalogInvalid([CatalogFault(1, 1, "", "the file is empty; a catalog has name and steps")], name)
    return Document(text, builder.root, builder.faults, builder.root.value if value is None else value)


def _as_json(text: str) -> Any:
    """The value of an object in JSON; None where the text is not that."""
    try:
        return parse(text.encode()) if text.lstrip().startswith("{") else None
    except Problem:
        return None


def _decoded(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        detail = f"the file has {len(data):,} bytes; a catalog has at most {MAX_BYTES:,}, and at most 500 steps"
        raise CatalogInvalid([CatalogFault(1, 1, "", detail)], name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        place = _end_of(before)
        raise CatalogInvalid([CatalogFault(*place, "", "the file is not UTF-8; save it as UTF-8")], name) from None
    return text


def _as_yaml(text: str, name: str) -> str:
    unprintable = re.search(UNPRINTABLE, text)
    if unprintable:
        detail = f"the character U+{ord(unprintable[0]):04X} may not stand in a file; remove it, or escape it in quotes"
        raise CatalogInvalid([CatalogFault(*_end_of(text[: unprintable.start()]), "", detail)], name)
    return text


def _end_of(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _place_of(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


REMEDIES = {
    "found character '\\t' that cannot start any token": "indent with spaces instead of tabs",
    "found a tab character": "indent with spaces instead of tabs",
    "that cannot start any token": "put the text in quotes; indent with spaces instead of tabs",
    "mapping values are not allowed": "put a text with a colon in it in quotes, or correct the indentation",
    "could not find expected ':'": "write a colon and a space after the name, or correct the indentation",
    "did not find expected key": "correct the indentation, or close the quotes of the line before",
    "did not find expected '-' indicator": "begin each item of a list with - at the same indentation",
    "found unexpected end of stream": "close the quotes or brackets that are open",
    "did not find expected ',' or": "write a comma between the items, and close the bracket",
}


def _syntax_fault(error: yaml.MarkedYAMLError) -> CatalogFault:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "it cannot be read"
    remedy = next((remedy for words, remedy in REMEDIES.items() if words in problem), "correct it")
    place = _place_of(mark) if mark else Place(1, 1)
    return CatalogFault(*place, "", f"this is not YAML: {shortened(problem, MAX_NAME)}; {remedy}")


class _Open(NamedTuple):
    """An array or object that is being read; `names` are its members so far and where."""

    node: Node
    names: dict[str, Place]


class _Builder:
    """Builds the tree from the parser's events, without recursion, and never from an alias."""

    def __init__(self, name: str) -> None:
        self.root: Node | None = None
        self.faults: list[CatalogFault] = []
        self._name = name
        self._open: list[_Open] = []
        self._path: list[str | int] = []
        self._key: tuple[str, Place] | None = None
        self._count = 0

    def take(self, event: yaml.Event) -> None:
        place = _place_of(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise self._end(place, "a second document begins here; a catalog is one document")
        if isinstance(event, yaml.AliasEvent):
            self._fault(place, f"*{shortened(str(event.anchor), MAX_NAME)} is an alias; write the value out")
            if self._expects_name():
                self._key = (f"*{event.anchor}", place)
            else:
                self._add(Node(place, None))
        elif isinstance(event, yaml.NodeEvent):
            self._take_node(event, place)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            if self._open:
                self._path.pop()

    def _take_node(self, event: yaml.NodeEvent, place: Place) -> None:
        self._count += not self._expects_name()
        if self._count > MAX_VALUES:
            raise self._end(place, f"the file has more than {MAX_VALUES:,} values; a catalog has at most 500 steps")
        if event.anchor:
            self._fault(place, f"&{shortened(event.anchor, MAX_NAME)} is an anchor; leave it out")
        tag = getattr(event, "tag", None)
        if tag:
            written = shortened(tag.replace("tag:yaml.org,2002:", "!!"), MAX_NAME)
            self._fault(place, f"{written} is a tag, which catalogs do not have; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event, place)
            return
        if self._expects_name():
            raise self._end(place, "a name must be a text; put { and [ in quotes where they begin a text")
        if len(self._open) == MAX_DEPTH:
            raise self._end(place, f"values lie more than {MAX_DEPTH} deep in each other; correct the indentation")
        node = Node(place, {} if isinstance(event, yaml.MappingStartEvent) else [])
        self._add(node, descend=True)

    def _take_scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        is_plain = not event.style
        text = event.value
        is_name = self._expects_name()
        if is_name:
            self._key = (text, place)
        if is_plain and text in AMBIGUOUS:
            self._fault(
                place, f'{text} is a boolean to some readers of YAML; write "{text}" in quotes, or true or false'
            )
        if SURROGATE.search(text):
            self._fault(place, "an escape stands for half a character; write the character itself")
            text = SURROGATE.sub("?", text)
        if is_name:
            self._take_name(text, place, is_plain=is_plain)
        else:
            value = _plain_value(text) if is_plain else text
            self._add(Node(place, value, style="" if is_plain else event.style))

    def _take_name(self, name: str, place: Place, *, is_plain: bool) -> None:
        self._key = (name, place)
        names = self._open[-1].names
        if is_plain and name == "<<":
            self._fault(place, "<< merges another object; write its members out")
        elif name in names:
            self._fault(place, f"is given twice, first in line {names[name].line}; keep one")
        names.setdefault(name, place)

    def _expects_name(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].node.value, dict) and self._key is None

    def _add(self, node: Node, *, descend: bool = False) -> None:
        """Put the node where it belongs; of two with one name, the first one counts."""
        if not self._open:
            self.root = node
        else:
            parent = self._open[-1].node
            if self._key is not None:
                step: str | int
                step, node.key = self._key
                self._key = None
                parent.value.setdefault(step, node.value)
            else:
                step = len(parent.value)
                parent.value.append(node.value)
            parent.children.setdefault(str(step), node)
            if descend:
                self._path.append(step)
        if descend:
            self._open.append(_Open(node, {}))

    def _fault(self, place: Place, detail: str) -> None:
        if len(self.faults) < MAX_COUNTED:
            self.faults.append(CatalogFault(*place, self._pointer(), detail))

    def _end(self, place: Place, detail: str) -> CatalogInvalid:
        return CatalogInvalid([*self.faults, CatalogFault(*place, self._pointer(), detail)], self._name)

    def _pointer(self) -> str:
        """Where the value that comes next will stand."""
        if self._key is not None:
            return json_pointer((*self._path, self._key[0]))
        if self._open and isinstance(self._open[-1].node.value, list):
            return json_pointer((*self._path, len(self._open[-1].node.value)))
        return json_pointer(tuple(self._path))


AMBIGUOUS = {form for word in ("yes", "no", "on", "off") for form in (word, word.capitalize(), word.upper())}
"""Booleans to YAML 1.1 (https://yaml.org/type/bool.html), texts to YAML 1.2."""

SURROGATE = re.compile("[\ud800-\udfff]")
INTEGER = re.compile(r"[-+]?[0-9]{1,20}")
NUMBER = re.compile(r"[-+]?(?:\.[0-9]{1,20}|[0-9]{1,20}(?:\.[0-9]{0,20})?)(?:[eE][-+]?[0-9]{1,3})?")


def _plain_value(text: str) -> Any:
    """What an unquoted text stands for (YAML 1.2.2, section 10.3.2, the core schema)."""
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE"}:
        return True
    if text in {"false", "False", "FALSE"}:
        return False
    if INTEGER.fullmatch(text):
        return int(text)
    return Decimal(text) if NUMBER.fullmatch(text) else text
