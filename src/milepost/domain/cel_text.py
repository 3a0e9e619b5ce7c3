"""The text of a condition: its tokens, and the rules that bound what it may say and cost.

CEL (https://github.com/google/cel-spec, doc/langdef.md) always ends, but not always soon: each macro within another
multiplies what there is to do, and one over another can double it each time. The `cel` library tells a program's names
but not where they stand, so the rules are kept on its tokens, after the library has accepted the syntax.
"""

import re
from bisect import bisect
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from typing import NamedTuple

import cel

MAX_DEPTH = 20
"""How many brackets may lie around a part of a condition."""

MAX_PATTERN = 100
"""Characters of a pattern of `matches`."""

MAX_SHOWN = 64

VARIABLES = ("signals", "attributes", "roles", "interests")
SIGNAL_MEMBERS = ("count", "first", "last")
TYPES = {"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"}
FUNCTIONS = ("bytes", "double", "duration", "dyn", "has", "int", "size", "string", "timestamp", "type", "uint")
MACROS = ("all", "exists", "existsOne", "exists_one", "filter", "map")
MARKS = {"&&", "||", "==", "!=", "<=", ">=", *"<>!?:,.+-*/%()[]{}"}
WORDS = {"and": "&&", "or": "||", "not": "!"}
"""What other languages call CEL's operators."""

METHODS = (
    "contains", "endsWith", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours",
    "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "matches", "size", "startsWith",
)  # fmt: skip

TOKEN = re.compile(
    r"""
    (?P<space> [ \t\n\f\r]+ | //[^\n]* )
  | (?P<string> [bB]?(?:
        [rR](?: \"{3}.*?\"{3} | '{3}.*?'{3} | "[^"\n\r]*" | '[^'\n\r]*' )
      | \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^"\\\n\r])*" | '(?:\\.|[^'\\\n\r])*'
    ))
  | (?P<number> 0x[0-9a-fA-F]+[uU]? | \d*\.\d+(?:[eE][+-]?\d+)? | \d+(?:[eE][+-]?\d+|[uU])? )
  | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<mark> && | \|\| | [<>=!]= | . )
    """,
    re.VERBOSE | re.DOTALL,
)


class ConditionError(Exception):
    """A condition that cannot be used: why and what to do, and where in its text, in lines and characters from 1."""

    def __init__(self, detail: str, line: int = 1, column: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.line = line
        self.column = column


class Token(NamedTuple):
    kind: str
    text: str
    start: int


END = Token("end", "", -1)


class Outline:
    """What the tokens of a condition tell."""

    def __init__(self, text: str) -> None:
        """Take the text apart; it need not be CEL yet.

        Raises:
            ConditionError: where brackets lie too deep in each other.
        """
        self.text = text
        self.tokens = [
            Token(match.lastgroup or "", match[0], match.start())
            for match in TOKEN.finditer(text)
            if match.lastgroup != "space"
        ]
        self.partners: dict[int, int] = {}
        """Each bracket's index, and that of the one that it belongs to."""
        open_brackets: list[int] = []
        for index, token in enumerate(self.tokens):
            if token.text in {"(", "[", "{"}:
                open_brackets.append(index)
                if len(open_brackets) > MAX_DEPTH:
                    raise self.error(index, f"more than {MAX_DEPTH} brackets lie in each other; make it simpler")
            elif token.text in {")", "]", "}"} and open_brackets:
                self.partners[index] = open_brackets.pop()
                self.partners[self.partners[index]] = index

    def at(self, index: int) -> Token:
        return self.tokens[index] if 0 <= index < len(self.tokens) else END

    def is_mark(self, index: int, text: str) -> bool:
        token = self.at(index)
        return token.kind == "mark" and token.text == text

    def error(self, index: int, detail: str) -> ConditionError:
        return ConditionError(detail, *position(self.text, self.at(index).start))

    @cached_property
    def macros(self) -> list[int]:
        """The index of each macro's name."""
        return [
            index
            for index, token in enumerate(self.tokens)
            if token.text in MACROS and self.is_mark(index - 1, ".") and self.is_mark(index + 1, "(")
        ]

    def references(self, variable: str) -> Iterator[int]:
        return (index for index in self.free_names() if self.tokens[index].text == variable)

    def variables(self) -> set[str]:
        return {self.tokens[index].text for index in self.free_names()}

    def cost(self, values: int) -> int:
        """About how many values are copied or compared over facts of so many values, at the worst.

        Each reference to a fact copies it; + does so again for all that it has joined, a macro for each value that it
        runs over, and `map` once more, since the library copies what it has gathered at each step.
        """
        references, joined, listed, degree = self._factors
        return references * int((joined * values + listed) ** degree)

    @cached_property
    def _factors(self) -> tuple[int, int, int, int]:
        marks = [token.text for token in self.tokens if token.kind == "mark"]
        references = sum(self.tokens[index].text in VARIABLES for index in self.free_names())
        names = {self.tokens[index].text for index in self.macros}
        return references, 1 + marks.count("+"), marks.count(","), 3 if "map" in names else 2 if names else 1

    def free_names(self) -> Iterator[int]:
        """The index of each name that is looked up, being no member, function or keyword, nor declared by a macro."""
        for index, token in enumerate(self.tokens):
            is_keyword = token.text in {"true", "false", "null", "in"}
            if token.kind == "name" and not is_keyword and not self._is_attached(index) and not self.declares(index):
                yield index

    def _is_attached(self, index: int) -> bool:
        return self.is_mark(index - 1, ".") or self.is_mark(index + 1, "(")

    def declares(self, index: int) -> bool:
        """Whether a macro gives this name to what it runs over."""
        return self.is_mark(index - 1, "(") and index - 2 in self.macros and self.is_mark(index + 1, ",")

    def member(self, index: int) -> tuple[str | None, int]:
        """The member that is looked up in the variable at `index`, if the text names it, and the index after it."""
        if self.is_mark(index + 1, ".") and not self.is_mark(index + 3, "("):
            return self.at(index + 2).text, index + 3
        if self.is_mark(index + 1, "[") and self.at(index + 2).kind == "string" and self.is_mark(index + 3, "]"):
            value = literal(self.at(index + 2).text)
            return value, index + 4
        return None, index + 1


def literal(text: str) -> str | None:
    """The value of a string literal; None for bytes."""
    value = cel.compile(text).execute()
    return value if isinstance(value, str) else None


def position(text: str, offset: int) -> tuple[int, int]:
    """The line and the character in it, both from 1."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    line = bisect(starts, offset)
    return line, offset - starts[line - 1] + 1


def shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def check(outline: Outline) -> None:
    """See that a condition says nothing but what it may.

    Raises:
        ConditionError: at the first token that breaks a rule.
    """
    for rule in (_check_calls, _check_names, _check_signals, _check_macros, _check_patterns):
        rule(outline)


def _check_calls(outline: Outline) -> None:
    for index, token in enumerate(outline.tokens):
        if token.kind != "name":
            continue
        if outline.is_mark(index + 1, "{"):
            raise outline.error(index, f"{shown(token.text)}{{...}} makes a message, which conditions do not have")
        if not outline.is_mark(index + 1, "(") or token.text == "in":
            continue
        known = METHODS + MACROS if outline.is_mark(index - 1, ".") else FUNCTIONS
        if token.text not in known:
            raise outline.error(index, f"there is no function {shown(token.text)}; {_hint(token.text, known)}")
        if token.text in MACROS and not outline.declares(index + 2):
            example = f"roles.{token.text}(each, each == 'owner')"
            raise outline.error(index, f"{token.text} needs a name and an expression, such as {example}")
        if token.text == "contains" and outline.at(index - 2).text in {"roles", "interests"}:
            variable = outline.at(index - 2).text
            raise outline.error(index, f"contains is for texts; for a list write 'name' in {variable}")


def _check_names(outline: Outline) -> None:
    for index in outline.macros:
        name = outline.at(index + 2).text
        if name in VARIABLES or name in TYPES:
            raise outline.error(
                index + 2, f"{name} already has a meaning; give what {outline.at(index).text} runs over another name"
            )
    for index in outline.free_names():
        name = outline.tokens[index].text
        scopes = (macro for macro in outline.macros if outline.at(macro + 2).text == name)
        is_bound = any(macro < index < outline.partners[macro + 1] for macro in scopes)
        if not is_bound and name not in VARIABLES and name not in TYPES:
            raise outline.error(index, f"there is no variable {shown(name)}; {_hint(name, VARIABLES)}")


def _hint(name: str, known: tuple[str, ...]) -> str:
    if name in WORDS:
        return f"write {WORDS[name]}"
    close = get_close_matches(name, known, n=1) if len(name) <= MAX_SHOWN else []
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _check_signals(outline: Outline) -> None:
    for index in outline.references("signals"):
        name, after = outline.member(index)
        if not name:
            raise outline.error(
                index,
                "name the signal as a text, such as signals['wallet.created'].count, so that it is known which matter",
            )
        is_whole = outline.is_mark(after, ".") and outline.at(after + 1).text in SIGNAL_MEMBERS
        goes_on = outline.is_mark(after + 2, ".") and not outline.is_mark(after + 4, "(")
        if not is_whole or goes_on:
            raise outline.error(
                index, f"of a signal there are {', '.join(SIGNAL_MEMBERS)}; write {_written(outline, name, after)}"
            )


def _written(outline: Outline, name: str, after: int) -> str:
    """How a signal is written whose name was taken for several: `signals.wallet.created.count`."""
    names = [name]
    while outline.is_mark(after, ".") and outline.at(after + 1).kind == "name" and not outline.is_mark(after + 2, "("):
        names.append(outline.at(after + 1).text)
        after += 2
    member = names.pop() if len(names) > 1 and names[-1] in SIGNAL_MEMBERS else "count"
    return f"signals['{shown('.'.join(names))}'].{member}"


def _check_macros(outline: Outline) -> None:
    for macro in outline.macros:
        for index in range(_operand(outline, macro - 1), outline.partners[macro + 1]):
            if index == macro:
                continue
            name = outline.at(macro).text
            if index in outline.macros:
                raise outline.error(
                    max(index, macro), "macros (all, exists, filter, map) cannot run within or over each other"
                )
            if outline.at(index).text == "matches" and outline.is_mark(index + 1, "("):
                raise outline.error(index, f"{name} cannot use matches; use startsWith, endsWith or contains")


def _operand(outline: Outline, dot: int) -> int:
    """The index where the operand begins of which a member is taken: of `a.b(c)[d].e`, that of `a`."""
    index = dot - 1
    while True:
        if index in outline.partners:
            index = outline.partners[index]
            if any(outline.is_mark(index - 1, bracket) for bracket in ")]}"):
                # What this bracket calls or indexes ends in a bracket too.
                index -= 1
                continue
            if outline.at(index - 1).kind == "name" and outline.at(index - 1).text != "in":
                index -= 1
        if not outline.is_mark(index - 1, "."):
            return index
        index -= 2


COSTLY_PATTERN = re.compile(r"\{|\\[wWdDpP]")
"""Counted repetitions and Unicode's classes: a few of them take the library's regular expressions milliseconds."""


def _check_patterns(outline: Outline) -> None:
    for index, token in enumerate(outline.tokens):
        if token.text != "matches" or not outline.is_mark(index + 1, "("):
            continue
        written = outline.at(index + 2)
        pattern = literal(written.text) if written.kind == "string" and outline.is_mark(index + 3, ")") else None
        if pattern is None:
            raise outline.error(index + 2, "matches needs its pattern as a text in quotes")
        if len(pattern) > MAX_PATTERN:
            raise outline.error(
                index + 2, f"the pattern has {len(pattern)} characters; at most {MAX_PATTERN} are allowed"
            )
        if COSTLY_PATTERN.search(pattern):
            raise outline.error(index + 2, r"the pattern may not use {...}, \w, \d or \p; write [a-z0-9] and * or +")
        try:
            cel.compile(f"''.matches({written.text})").execute()
        except RuntimeError:
            raise outline.error(index + 2, f"{shown(written.text)} is no valid pattern (RE2 syntax)") from None
