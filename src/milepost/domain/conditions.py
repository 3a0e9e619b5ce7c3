"""Conditions: when a step is complete, said in CEL (https://github.com/google/cel-spec) and asked of what is known.

A condition is compiled once. What it may cost is bounded three times: its text (here and in `cel_text`), the facts that
it is given (only those that it names, up to a number of values), and the library's own guards against deep recursion.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import cel
import msgspec

from milepost.domain.cel_text import MACROS, MARKS, WORDS, ConditionError, Outline, check, position, shown

__all__ = [
    "MAX_LENGTH",
    "Condition",
    "ConditionError",
    "ConditionFailure",
    "Facts",
    "SignalCount",
    "SignalSeen",
    "compile_condition",
    "which_signal_satisfied",
]

MAX_LENGTH = 1_000
"""Characters of a condition."""

MAX_VALUES = 10_000
"""Values that a condition is asked about; a text counts as one more for every hundred characters."""

MAX_COST = 1_000_000
"""Values that a condition may copy or compare, at the worst: some tenths of a second."""

MAX_FACT_DEPTH = 50
"""How many arrays and objects may lie around a value. The library recurses, and without a bound ends the process."""

SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1


class ConditionFailure(Exception):
    """A condition that compiled gave no answer; the reason repeats none of the facts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SignalCount(msgspec.Struct, frozen=True):
    """How often a signal was seen, and when for the first and the last time."""

    count: int = 0
    first: datetime | None = None
    last: datetime | None = None


class Facts(msgspec.Struct, frozen=True):
    """What conditions may ask about. `attributes` holds JSON as `json_text.parse` reads it."""

    signals: Mapping[str, SignalCount] = {}
    attributes: Mapping[str, Any] = {}
    roles: Sequence[str] = ()
    interests: Sequence[str] = ()


class SignalSeen(msgspec.Struct, frozen=True):
    """Evidence: a signal that was seen, and when last."""

    signal: str
    last: datetime | None


_SEEN = r"""signals\[(?:'[^'\\]*'|"[^"\\]*")\]\.count\s*(?:>\s*0|>=\s*1)"""
SEEN = re.compile(rf"\s*{_SEEN}(?:\s*&&\s*{_SEEN})*\s*")
"""A condition that asks whether signals were seen, all of them, and nothing else."""


class Condition:
    """A condition, ready to be asked. `signals` are the names of all signals that its answer can depend on.

    `asks_whether_seen`: it is met when each of them was seen once, whatever else is known.
    """

    def __init__(self, outline: Outline, program: cel.Program) -> None:
        self.text = outline.text
        self.asks_whether_seen = SEEN.fullmatch(outline.text) is not None
        self.signals = frozenset(_members(outline, "signals") or ())
        self._program = program
        self._variables = outline.variables()
        self._attributes = _members(outline, "attributes")
        self._outline = outline

    def evaluate(self, facts: Facts) -> bool:
        """Whether the condition is met.

        Raises:
            ConditionFailure: where an operation fails, the result is not true or false, or the facts are too many.
        """
        known = self._known(facts)
        try:
            result = self._program.execute(known)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ConditionFailure(self._reason(error)) from None
        except BaseException as error:
            # A panic of the library's Rust code has no importable class, and is not an Exception.
            if type(error).__name__ != "PanicException":
                raise
            raise ConditionFailure("the expression language failed inside") from None
        if result is True or result is False:
            return result
        raise ConditionFailure(f"the result is {_kind(result)}, and must be true or false")

    def _known(self, facts: Facts) -> dict[str, Any]:
        """The facts that the condition names, as the library takes them."""
        known: dict[str, Any] = {}
        if "signals" in self._variables:
            known["signals"] = {name: _plain_signal(facts.signals.get(name, SignalCount())) for name in self.signals}
        if "attributes" in self._variables:
            names = facts.attributes.keys() if self._attributes is None else self._attributes
            members = {name: facts.attributes[name] for name in names if name in facts.attributes}
            known["attributes"] = _plain(members, 0)
        for name in ("roles", "interests"):
            if name in self._variables:
                known[name] = list(getattr(facts, name))
        weight = _weight(known)
        if weight > MAX_VALUES or self._outline.cost(weight) > MAX_COST:
            raise ConditionFailure("it would take too long over as many values as there are")
        return known

    def _reason(self, error: Exception) -> str:
        if isinstance(error, KeyError):
            name = str(error.args[0]) if error.args else ""
            # A name that does not stand in the text came from the facts.
            is_written = re.search(rf"\b{re.escape(name)}\b", self.text)
            told = f"there is no member {shown(name)}" if is_written else "a member that is looked up does not exist"
            return f"{told}; test for it first, as in has(attributes.plan) && ..."
        for kind, reason in REASONS.items():
            if isinstance(error, kind):
                return reason
        return "a function does not take the value that it is given"


REASONS = {
    IndexError: "an index lies outside of its list",
    ZeroDivisionError: "a number is divided by zero",
    ArithmeticError: "a number or time becomes too large or too small",
    TypeError: "an operation does not take values of these types; none is turned into another by itself, and of a "
    "signal that was never seen first and last are null",
}


def compile_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        ConditionError: where it is no CEL, names what there is not, or could cost too much; with the place in the text
            and what to do.
    """
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"it has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed")
    if not text.strip():
        raise ConditionError("it is empty; write an expression such as signals['wallet.created'].count > 0")
    outline = Outline(text)
    _refuse_foreign_marks(outline)
    try:
        program = cel.compile(text)
    except ValueError as error:
        raise _syntax_error(outline, str(error)) from None
    check(outline)
    if not _is_understood(outline, program):
        raise ConditionError(
            "it cannot be understood; give each macro a name and one expression, and begin no name with a dot"
        )
    return Condition(outline, program)


def _is_understood(outline: Outline, program: cel.Program) -> bool:
    """Whether the library reads the text as `cel_text` does; it takes a macro with other arguments for a function."""
    declared = {outline.at(macro + 2).text for macro in outline.macros}
    variables_agree = outline.variables() - declared == {*program.variables()} - declared
    return variables_agree and {*program.functions()}.isdisjoint(MACROS)


ERROR = re.compile(r"^ERROR: <input>:(\d+):(\d+): (.+)$", re.MULTILINE)
MISTAKES = {"=>": ">=", "=<": "<=", "=": "==", "&": "&&", "|": "||", **WORDS}
"""What other languages write, and what CEL does."""


def _refuse_foreign_marks(outline: Outline) -> None:
    """Refuse what is no mark of CEL. Of many, the library would repeat the whole text for each."""
    for index, token in enumerate(outline.tokens):
        if token.kind == "mark" and token.text not in MARKS:
            raise outline.error(index, _mistake(outline, index))


def _syntax_error(outline: Outline, message: str) -> ConditionError:
    errors = [
        (int(match[1]), int(match[2]), match[3])
        for match in ERROR.finditer(message.removeprefix(f"Failed to parse expression '{outline.text}': "))
    ]
    # "Incomplete ..." only repeats, at a worse place, what the syntax error says.
    told = [error for error in errors if error[0] > 0 and not error[2].startswith("Incomplete")]
    if not told:
        return ConditionError("it is no expression that can be read")
    line, column, problem = min(told)
    if "'<EOF>'" in problem:
        return ConditionError("it ends too early; complete it", line, column)
    places = enumerate(position(outline.text, token.start) for token in outline.tokens)
    index = next((index for index, place in places if place >= (line, column)), -1)
    return ConditionError(_mistake(outline, index), line, column)


def _mistake(outline: Outline, index: int) -> str:
    """What is wrong with the token, and what may have been meant."""
    found, before = outline.at(index), outline.at(index - 1)
    if found.text[:1] in {"'", '"'} and found.kind == "mark":
        return "a text in quotes is not closed, or has an escape that CEL does not know"
    for written, meant in MISTAKES.items():
        if found.text == written or (found.kind == "mark" and outline.text.startswith(written, found.start)):
            return f"{written} is not known here; write {meant}"
    if before.text in WORDS:
        return f"{before.text} is not known here; write {WORDS[before.text]}"
    return f"{shown(found.text)} does not fit here" if found.text else "it cannot be read from here on"


def _members(outline: Outline, variable: str) -> frozenset[str] | None:
    """The members of the variable that the text names; None if it may look up any."""
    names = [outline.member(index)[0] for index in outline.references(variable)]
    return None if None in names else frozenset(name for name in names if name is not None)


def _plain_signal(signal: SignalCount) -> dict[str, Any]:
    return {"count": signal.count, "first": _in_utc(signal.first), "last": _in_utc(signal.last)}


def _in_utc(moment: datetime | None) -> datetime | None:
    """The moment in UTC, since the library takes no zone that has a name."""
    if moment is None or moment.tzinfo is UTC:
        return moment
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ConditionFailure("a signal's time lies outside of the years 1 to 9999") from None


def _plain(value: object, depth: int) -> Any:
    """JSON as the library takes it: what is no 64-bit integer becomes a double, as CEL reads JSON's numbers."""
    if depth > MAX_FACT_DEPTH:
        raise ConditionFailure(f"attributes lie more than {MAX_FACT_DEPTH} deep in each other")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if SMALLEST_INT <= value <= LARGEST_INT else _double(value)
    if isinstance(value, float | Decimal):
        return _double(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    raise ConditionFailure(NOT_JSON)


NOT_JSON = "attributes have a value that is not JSON"


def _double(number: float | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
    except ValueError:
        raise ConditionFailure(NOT_JSON) from None


def _weight(value: object) -> int:
    """How many values there are, each hundred characters counted as one more; no further than MAX_VALUES."""
    weight, rest = 0, [value]
    while rest and weight <= MAX_VALUES:
        each = rest.pop()
        weight += 1 + (len(each) // 100 if isinstance(each, str) else 0)
        if isinstance(each, dict):
            rest.extend(each)
            rest.extend(each.values())
        elif isinstance(each, list):
            rest.extend(each)
    return weight


KINDS = {
    str: "a text",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a map",
    datetime: "a time",
    bytes: "bytes",
}


def _kind(result: object) -> str:
    return "null" if result is None else KINDS.get(type(result), "of another type")


def which_signal_satisfied(condition: Condition, facts: Facts) -> list[SignalSeen]:
    """The signals that the condition names and that were seen, by name."""
    seen = ((name, facts.signals.get(name, SignalCount())) for name in sorted(condition.signals))
    return [SignalSeen(name, signal.last) for name, signal in seen if signal.count > 0]
