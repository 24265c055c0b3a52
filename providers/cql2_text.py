"""CQL2 text as CQL2 JSON, with every literal as it was written.

The library `cql2` knows the grammar and which operator binds tighter. But it reads integers as floats, takes twice as
long with each parenthesis that is open around an error, and ends the process by overflowing the stack on deep nesting.
So it never sees what a client wrote: names, strings and numbers are exchanged for numbered ones, and each group in
parentheses is parsed by itself, innermost first, and exchanged for a name.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cql2

from providers.expressions import FilterError

MAX_LENGTH = 32_768
# What one run of the parser gets: it recurses over chains of operators, and needs about 1 kB of stack for each.
_MAX_GROUPS = 60
_MAX_CALLS = 8
_MAX_JOINS = 500
_MAX_CHAIN = 50

# The standard's BNF (OGC 21-065r2, annex B): identifierStart, and what else an identifier may hold.
_START = (
    ":_A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1ffe\u200c\u200d\u2070-\u218f\u2c00-\u2fef"
    "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<string>'(?:[^'\\]|''|\\.)*')"
    r'|(?P<quoted>"(?:[^"]|"")+")'
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    rf"|(?P<name>[{_START}][{_START}.0-9\u0300-\u036f\u203f\u2040]*)"
    r"|(?P<mark><>|<=|>=|!=|[-=<>+*/%^(),])",
    re.DOTALL,
)
_OPENS = re.compile(r"\s*(?:(?:Z|M|ZM)\s*)?\(", re.IGNORECASE)
_KEYWORDS = {"and", "or", "not", "in", "like", "between", "is", "null", "true", "false", "div"}
_OPERANDS = {"null", "true", "false"}
_SHAPE = re.compile(r"((?:multi)?(?:point|linestring|polygon)|geometrycollection)(?:z|m|zm)?")
_DIMENSIONS = {"z", "m", "zm"}
_FUNCTION = re.compile(r"casei|accenti|date|timestamp|interval|bbox|[sta]_[a-z]+")
# Requirement /req/cql2-text/escaping. Another backslash stays, for the patterns of LIKE.
_ESCAPE = re.compile(r"''|\\(['\\abtnvfr])", re.DOTALL)
_CONTROL = dict(zip("abtnvfr", "\a\b\t\n\v\f\r", strict=True))
_NAME = re.compile(r"([gGnN])([0-9]+)")
_PLACE = re.compile(r"--> 1:(\d+)")


def to_json(text: str) -> Any:
    """The CQL2 JSON of a CQL2 text; integers stay integers. Raises FilterError with the place where it is no CQL2."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"the expression is longer than {MAX_LENGTH} characters")
    return _Parser(text).parse()


@dataclass(slots=True)
class _Run:
    """The text of one run of the parser as it grows, and where in the client's text its pieces come from."""

    text: list[str] = field(default_factory=list)
    length: int = 0
    offsets: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    joins: int = 0
    chain: int = 0
    minus: bool = False  # a sign waits for its operand

    def add(self, piece: str, source: int) -> None:
        self.text.append(piece)
        self.offsets.append(self.length)
        self.sources.append(source)
        self.length += len(piece)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._strings: list[str] = []
        self._names: list[str] = []
        self._numbers: list[float] = []
        self._groups: list[Any] = []

    def parse(self) -> Any:
        runs = [_Run()]
        opened: list[str] = []  # what each open parenthesis is: group, call, list or shape
        before = "operator"  # what stands before the next token
        for kind, token, place in self._tokens():
            run = runs[-1]
            if kind == "space":
                run.add(" ", place)
                before = "operand" if before == "number" else before
            elif token == "(":
                what = self._opens(before, opened, place)
                opened.append(what)
                if what == "group":
                    runs.append(_Run())
                else:
                    run.add("(", place)
                before = "operator"
            elif token == ")":
                if not opened or run.minus:
                    raise self._error(place)
                if opened.pop() == "group":
                    self._groups.append(self._run(runs.pop()))
                    self._operand(runs[-1], "g", len(self._groups) - 1, place)
                else:
                    run.add(")", place)
                before = "operand"
            else:
                before = self._token(run, kind, token, place, before, opened)
        if opened:
            raise FilterError("not CQL2: a parenthesis is not closed")
        return self._run(runs[0])

    def _tokens(self) -> Iterator[tuple[str, str, int]]:
        place = 0
        while place < len(self._text):
            found = _TOKEN.match(self._text, place)
            if found is None:
                raise self._error(place)
            assert found.lastgroup is not None
            yield found.lastgroup, found.group(), place
            place = found.end()

    def _error(self, place: int) -> FilterError:
        rest = self._text[place : place + 20]
        return FilterError(f"not CQL2: unexpected {rest!r} at character {place + 1}" if rest else "not CQL2: it ends too early")

    def _opens(self, before: str, opened: list[str], place: int) -> str:
        """What a parenthesis opens."""
        if before in ("shape", "call", "list"):
            what = before
        elif "shape" in opened[-1:]:
            what = "shape"
        elif before == "operator":
            what = "group"
        else:
            raise self._error(place)
        run = opened[len(opened) - opened[::-1].index("group") :] if "group" in opened else opened
        if len(opened) > _MAX_GROUPS or len(run) > _MAX_CALLS or (what == "list" and "list" in run):
            raise FilterError("the expression is nested too deeply")
        return what

    def _token(self, run: _Run, kind: str, token: str, place: int, before: str, opened: list[str]) -> str:
        """Add a token to a run; gives what it is to the token that follows."""
        word, opens = token.lower(), _OPENS.match(self._text, place + len(token))
        unsigned = kind == "string" or (kind == "mark" and token != "-")
        if before == "list" or (run.minus and (unsigned or (kind == "name" and (opens or word in _KEYWORDS)))):
            raise self._error(place)
        if kind == "string":
            self._strings.append(_ESCAPE.sub(_unescaped, token[1:-1]))
            run.add(f" 's{len(self._strings) - 1}'", place)
            return "operand"
        if kind == "number":
            if before == "number":
                raise self._error(place)
            run.add("-" * run.minus + self._number(token), place)
            run.minus = False
            return "number"
        if kind == "quoted":
            return self._property(run, token[1:-1].replace('""', '"'), place)
        if kind == "mark":
            self._count(run, token)
            if token == "-" and before == "operator" and "shape" not in opened[-1:]:
                run.minus = not run.minus  # the parser knows no minus after NOT
                return before
            run.add(token, place)
            return "operator"
        if word in _KEYWORDS:
            self._count(run, word)
            run.add(word, place)
            return "list" if word == "in" else "operand" if word in _OPERANDS else "operator"
        if before == "shape" and word in _DIMENSIONS:
            return "shape"
        shape = _SHAPE.fullmatch(word)
        if opens and shape:
            run.add(shape[1], place)
            return "shape"
        if "shape" in opened[-1:]:
            raise self._error(place)
        if opens:
            if not _FUNCTION.fullmatch(word):
                raise FilterError(f"unknown function {token[:80]!r}")
            run.add(word, place)
            return "call"
        return self._property(run, token, place)

    def _property(self, run: _Run, name: str, place: int) -> str:
        self._names.append(name)
        self._operand(run, "n", len(self._names) - 1, place)
        return "operand"

    def _operand(self, run: _Run, kind: str, number: int, place: int) -> None:
        run.add(f' "{kind.upper() if run.minus else kind}{number}"', place)
        run.minus = False

    def _number(self, token: str) -> str:
        number: float = int(token) if token.isdigit() and len(token) < 400 else float(token)
        if math.isinf(number):
            raise FilterError(f"the number {token[:20]} is too large")
        self._numbers.append(number)
        return str(len(self._numbers) + 1)

    def _count(self, run: _Run, operator: str) -> None:
        if operator in ("and", "or"):
            run.joins += 1
        run.chain = 0 if operator in ("and", "or", ",") else run.chain + 1
        if run.joins > _MAX_JOINS:
            raise FilterError(f"more than {_MAX_JOINS} of AND and OR in a row: put some in parentheses, or use IN")
        if run.chain > _MAX_CHAIN:
            raise FilterError(f"more than {_MAX_CHAIN} operators in a row")

    def _run(self, run: _Run) -> Any:
        if run.minus:
            raise FilterError("not CQL2: a minus without a number")
        try:
            parsed = cql2.parse_text("".join(run.text)).to_json()
        except cql2.ParseError as err:
            found = _PLACE.search(str(err))
            column = int(found[1]) - 1 if found else 0
            if column >= run.length:
                raise FilterError("not CQL2: an operand or an operator is missing at the end") from None
            raise self._error(run.sources[max(bisect.bisect(run.offsets, column) - 1, 0)]) from None
        except Exception as err:  # of no class of its own: what is wrong with the numbers of a geometry
            raise FilterError("not CQL2: a geometry is not as expected") from err
        return self._written(parsed)

    def _written(self, value: Any) -> Any:
        """A parsed value with what the client wrote in place of the numbered names, strings and numbers."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            if value == -1:  # the parser's own, for a minus that stands where none can
                raise FilterError("not CQL2: a minus without a number")
            number = self._numbers[int(abs(value)) - 2]
            return -number if value < 0 else number
        if isinstance(value, str):
            return self._strings[int(value[1:])]
        if isinstance(value, list):
            return [self._written(item) for item in value]
        if "property" in value:
            found = _NAME.fullmatch(value["property"])
            if not found:  # the parser takes a keyword for a name where nothing else fits
                raise FilterError(f"not CQL2: unexpected {value['property'].upper()!r}")
            kind, index = found[1], int(found[2])
            known = self._groups[index] if kind in "gG" else {"property": self._names[index]}
            return {"op": "*", "args": [-1, known]} if kind.isupper() else known
        return {key: item if key in ("op", "type") else self._written(item) for key, item in value.items()}


def _unescaped(found: re.Match[str]) -> str:
    return _CONTROL.get(found[1], found[1]) if found[1] else "'"
