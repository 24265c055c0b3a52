"""Do expressions mean what CQL2's truth table and precedence say: against a brute force with three values over random rows?"""

from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from functools import reduce
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import filters
from providers.columns import Column
from tests.unit.test_filters import Table, quoted, table

COLUMNS = (
    Column("i", "integer"),
    Column("x", "number"),
    Column("s", "string"),
    Column("名", "string"),
    Column("f", "boolean"),
)
LETTERS = "aAbÄé中%_*?[]\\'\" \n-"
WORDS = ("", "a", "A", "ab", "Ab", "a%b", "中é", "it's", "[a]", "a_b", "ÄÄ", "\\")
INTEGERS = st.integers(-4, 4) | st.sampled_from([10**17, 10**17 + 1, -(10**17) - 1])
FLOATS = st.integers(-8, 8).map(lambda n: n / 2)
TEXTS = st.sampled_from(WORDS) | st.text(LETTERS, max_size=4)
ROWS = st.lists(
    st.tuples(
        st.none() | INTEGERS,
        st.none() | FLOATS,
        st.none() | TEXTS,
        st.none() | TEXTS,
        st.none() | st.booleans(),
        st.none() | st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
    ),
    min_size=1,
    max_size=12,
)

# An expression is a tuple: what it is, then its parts. Numbers, strings and booleans stand for themselves.
Expr = Any


def _numeric() -> st.SearchStrategy[Expr]:
    leaves = st.sampled_from([("name", "i"), ("name", "x")]) | INTEGERS | FLOATS
    return st.recursive(
        leaves,
        lambda inner: (
            st.tuples(st.sampled_from(["+", "-", "*", "/", "div", "%"]), inner, inner) | st.tuples(st.just("minus"), inner)
        ),
        max_leaves=4,
    )


STRINGS = st.sampled_from([("name", "s"), ("name", "名")]) | TEXTS
FOLDED = STRINGS | st.tuples(st.just("casei"), STRINGS)
NUMBERS = _numeric()
COMPARED = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
BOXES = st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 3), st.integers(0, 3)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
LEAVES = st.one_of(
    st.tuples(COMPARED, NUMBERS, NUMBERS),
    st.tuples(COMPARED, FOLDED, FOLDED),
    st.tuples(st.just("like"), FOLDED, st.text("aA%_中\\é*?[]", max_size=4)),
    st.tuples(st.just("between"), NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just("in"), NUMBERS, st.lists(NUMBERS, min_size=1, max_size=3)),
    st.tuples(st.just("in"), STRINGS, st.lists(STRINGS, min_size=1, max_size=3)),
    st.tuples(st.just("null"), st.sampled_from([("name", n) for n in ("i", "x", "s", "f", "geometry")])),
    st.tuples(st.just("meets"), BOXES),
    st.tuples(st.just("apart"), BOXES),
    st.just(("name", "f")),
    st.booleans(),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("and"), st.lists(inner, min_size=2, max_size=3)),
        st.tuples(st.just("or"), st.lists(inner, min_size=2, max_size=3)),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=8,
)

# --- as text, with no parenthesis that precedence makes superfluous ---

_RANK = {"or": 1, "and": 2, "not": 3, "+": 5, "-": 5, "*": 6, "/": 6, "div": 6, "%": 6, "minus": 8}
_PREDICATE, _OPERAND = 4, 9


def rank(e: Expr) -> int:
    if not isinstance(e, tuple) or e[0] in ("name", "casei", "meets", "apart"):
        return _OPERAND
    return _RANK.get(e[0], _PREDICATE)


def text(e: Expr, least: int = 0) -> str:
    said = _text(e)
    return f"({said})" if rank(e) < least else said


def _text(e: Expr) -> str:
    if isinstance(e, bool):
        return str(e).upper()
    if isinstance(e, str):
        return quoted(e)
    if not isinstance(e, tuple):
        return repr(e)
    kind, *parts = e
    if kind == "name":
        return str(parts[0])
    if kind in ("and", "or"):
        return f" {kind.upper()} ".join(text(p, rank(e)) for p in parts[0])
    if kind == "not":
        return f"NOT {text(parts[0], rank(e))}"
    if kind == "minus":
        return f"-{text(parts[0], _OPERAND)}" if not str(parts[0]).startswith("-") else f"-({text(parts[0])})"
    if kind == "casei":
        return f"CASEI({text(parts[0])})"
    if kind in ("meets", "apart"):
        return f"S_{'INTERSECTS' if kind == 'meets' else 'DISJOINT'}(geometry, BBOX({','.join(map(str, parts[0]))}))"
    if kind == "null":
        return f"{text(parts[0], _OPERAND)} IS NULL"
    if kind == "like":
        return f"{text(parts[0], 5)} LIKE {quoted(parts[1])}"
    if kind == "between":
        return f"{text(parts[0], 5)} BETWEEN {text(parts[1], 5)} AND {text(parts[2], 5)}"
    if kind == "in":
        return f"{text(parts[0], 5)} IN ({', '.join(text(p) for p in parts[1])})"
    return f"{text(parts[0], rank(e) if rank(e) > 4 else 5)} {kind} {text(parts[1], rank(e) + 1)}"


def as_json(e: Expr) -> Any:
    if not isinstance(e, tuple):
        return e
    kind, *parts = e
    if kind == "name":
        return {"property": parts[0]}
    if kind in ("meets", "apart"):
        op = "s_intersects" if kind == "meets" else "s_disjoint"
        return {"op": op, "args": [{"property": "geometry"}, {"bbox": list(parts[0])}]}
    if kind == "minus":
        return {"op": "*", "args": [-1, as_json(parts[0])]}
    if kind in ("and", "or"):
        return {"op": kind, "args": [as_json(p) for p in parts[0]]}
    if kind == "in":
        return {"op": "in", "args": [as_json(parts[0]), [as_json(p) for p in parts[1]]]}
    return {"op": {"null": "isNull"}.get(kind, kind), "args": [as_json(p) for p in parts]}


# --- as Python would have it: True, False, or None for unknown ---


def value(e: Expr, row: dict[str, Any]) -> Any:
    if not isinstance(e, tuple):
        return e
    kind, *parts = e
    if kind == "name":
        return row[parts[0]]
    if kind == "null":
        return row[parts[0][1]] is None
    if kind in ("and", "or"):
        return _joined([value(p, row) for p in parts[0]], stop=kind == "or")
    if kind == "not":
        found = value(parts[0], row)
        return None if found is None else not found
    if kind in ("meets", "apart"):
        point = row["geometry"]
        if point is None:
            return None
        west, south, east, north = parts[0]
        return (west <= point[0] <= east and south <= point[1] <= north) == (kind == "meets")
    if kind == "like":
        said = value(parts[0], row)
        return None if said is None else _like(said, parts[1])
    if kind == "between":
        low = value((">=", parts[0], parts[1]), row)
        return _joined([low, value(("<=", parts[0], parts[2]), row)], stop=False)
    if kind == "in":
        return _joined([value(("=", parts[0], p), row) for p in parts[1]], stop=True)
    return _applied(kind, [value(p, row) for p in parts])


def _joined(found: list[bool | None], *, stop: bool) -> bool | None:
    if stop in found:
        return stop
    return None if None in found else not stop


def _applied(kind: str, args: list[Any]) -> Any:
    if None in args:
        return None
    if kind == "minus":
        return _number(-args[0])
    if kind == "casei":
        return args[0].casefold()
    one, other = args
    if kind in ("/", "div", "%"):
        return _divided(kind, one, other) if other else None
    if kind in "+-*":
        return _number(one + other if kind == "+" else one - other if kind == "-" else one * other)
    return {
        "=": one == other,
        "<>": one != other,
        "<": _before(one, other),
        "<=": not _before(other, one),
        ">": _before(other, one),
        ">=": not _before(one, other),
    }[kind]


def _before(one: Any, other: Any) -> bool:
    return bool(one < other)  # Python orders strings by code point, as SQLite does UTF-8


def _number(found: float) -> float:
    return float(found) if isinstance(found, int) and not -(1 << 63) <= found < 1 << 63 else found


def _divided(kind: str, one: float, other: float) -> float:
    if kind == "/":
        return float(one) / float(other)
    whole = math.trunc(Fraction(one) / Fraction(other))
    rest = Fraction(one) - Fraction(other) * whole
    exact = isinstance(one, int) and isinstance(other, int)
    return _number(whole) if kind == "div" else int(rest) if exact else float(rest)


def _like(said: str, pattern: str) -> bool:
    made, characters = "", iter(pattern)
    for c in characters:
        if c == "\\":
            made += re.escape(next(characters, "\\"))
        else:
            made += {"%": ".*", "_": "."}.get(c, re.escape(c))
    return re.fullmatch(made, said, re.DOTALL) is not None


# --- the tests ---


def filled(rows: list[tuple[Any, ...]], *, rtree: bool, envelope: bool) -> Table:
    shapes = [None if row[5] is None else shapely.Point(row[5]) for row in rows]
    return table(COLUMNS, [row[:5] for row in rows], shapes, rtree=rtree, envelope=envelope, indexed=True)


@settings(max_examples=250, deadline=None)
@given(CONDITIONS, ROWS, st.booleans(), st.booleans())
def test_text_and_json_select_what_brute_force_does(e: Expr, rows: list[tuple[Any, ...]], rtree: bool, envelope: bool) -> None:
    made = filled(rows, rtree=rtree, envelope=envelope)
    named = [dict(zip(("i", "x", "s", "名", "f", "geometry"), row, strict=True)) for row in rows]
    expected = [number for number, row in enumerate(named, 1) if value(e, row) is True]
    assert made.find(text(e)) == expected, text(e)
    assert made.find(json.dumps(as_json(e)), "cql2-json") == expected
    # what is not known to be true is not known to be false either
    refused = [number for number, row in enumerate(named, 1) if value(e, row) is False]
    assert made.find(f"NOT ({text(e)})") == refused, text(e)


TRUTH = {
    ("TRUE", "TRUE"): (1, 1),
    ("TRUE", "FALSE"): (0, 1),
    ("FALSE", "TRUE"): (0, 1),
    ("FALSE", "FALSE"): (0, 0),
    ("TRUE", "NULL"): (None, 1),
    ("FALSE", "NULL"): (0, None),
    ("NULL", "TRUE"): (None, 1),
    ("NULL", "FALSE"): (0, None),
    ("NULL", "NULL"): (None, None),
}


@pytest.mark.parametrize(("pair", "joined"), TRUTH.items(), ids=lambda p: "-".join(map(str, p)))
def test_truth_table_of_the_standard(pair: tuple[str, str], joined: tuple[Any, Any]) -> None:
    """OGC 21-065r2, table 1."""
    said = {"TRUE": 1, "FALSE": 0, "NULL": None}
    made = table([Column("p", "boolean"), Column("q", "boolean")], [[said[p] for p in pair]])
    for operator, expected in zip(("AND", "OR"), joined, strict=True):
        where = filters.compile(filters.parse(f"p {operator} q"), made.queryables)
        assert made.values(where) == [expected]


@pytest.mark.parametrize(
    ("said", "grouped"),
    [
        ("a OR b AND c", "a OR (b AND c)"),
        ("a AND b OR c", "(a AND b) OR c"),
        ("NOT a AND b", "(NOT a) AND b"),
        ("NOT a OR b AND NOT c", "(NOT a) OR (b AND (NOT c))"),
        ("NOT NOT a OR b", "(NOT (NOT a)) OR b"),
        ("NOT a = b OR c", "(NOT (a = b)) OR c"),
        ("a OR b AND c OR a AND b", "a OR (b AND c) OR (a AND b)"),
    ],
)
def test_precedence(said: str, grouped: str) -> None:
    bits = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    made = table([Column(n, "boolean") for n in "abc"], bits)
    assert made.find(said) == made.find(grouped)
    wrong = {"a OR b AND c": "(a OR b) AND c", "NOT a AND b": "NOT (a AND b)"}.get(said)
    assert wrong is None or made.find(said) != made.find(wrong)


@pytest.mark.parametrize("function", ["S_INTERSECTS", "S_DISJOINT", "S_EQUALS", "S_WITHIN", "S_TOUCHES"])
@pytest.mark.parametrize("rtree", [True, False])
def test_a_feature_without_geometry_is_neither_in_nor_out(function: str, rtree: bool) -> None:
    made = table([Column("i", "integer")], [(1,), (2,), (3,)], [shapely.Point(1, 1), None, shapely.Point(9, 9)], rtree=rtree)
    said = f"{function}(geometry, BBOX(0,0,2,2))"
    assert sorted(made.find(said) + made.find(f"NOT {said}")) == [1, 3]
    assert made.find(f"({said}) IS NULL") == [2]
    assert made.find(f"{said} OR NOT {said} OR i = 2") == [1, 2, 3]
    assert made.find(f"NOT ({said} AND i = 2)") == [1, 3]
    assert sorted(made.find(f"({said}) = true") + made.find(f"({said}) = false")) == [1, 3]


def test_many_operands() -> None:
    made = table([Column("i", "integer")], [(n,) for n in range(1000)])
    said = " OR ".join(f"i = {n}" for n in range(0, 1000, 2))
    assert len(made.find(said)) == 500
    nested: Any = reduce(
        lambda one, n: {"op": "or", "args": [one, {"op": "=", "args": [{"property": "i"}, n]}]}, range(90), False
    )
    assert len(made.find(json.dumps(nested), "cql2-json")) == 90
    assert len(made.find(f"i IN ({','.join(map(str, range(5000)))})")) == 1000
