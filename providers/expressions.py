"""What expressions are made of: names that they may use, pieces of SQL with bound values, conditions, errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from providers.columns import Column, quote

# SQLite's parser holds at most 100 symbols of unfinished expressions (YYSTACKDEPTH, fixed before 3.46). The rest is
# left to the statement that a condition is put into.
MAX_COST = 64
_INTEGERS = range(-(1 << 63), 1 << 63)


class FilterError(ValueError):
    """An expression that cannot be answered; the message says what was expected and is fit for a client."""


@dataclass(frozen=True, slots=True)
class Queryables:
    """What an expression may name, and the SQL behind it.

    `columns` are the properties: no other exists for an expression. `geometry` is the name of the geometry, None where
    there is none. `crs` is the name of the CRS that geometries are stored in. The other members are SQL, ready to be
    put into a statement: `geometry_sql` the blob (GeoPackage binary or WKB, x = east), `rowid_sql` the row id, `rtree`
    the R-tree (id, minx, maxx, miny, maxy; None: no index), `envelope` the columns of minx, miny, maxx and maxy in 64
    bits (None where there are none).
    """

    columns: tuple[Column, ...]
    geometry: str | None
    geometry_sql: str
    rowid_sql: str
    rtree: str | None
    crs: str
    envelope: tuple[str, str, str, str] | None = None

    def column(self, name: str) -> Column | None:
        """The property of this name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def is_geometry(self, name: str) -> bool:
        """Whether this is the geometry; `geometry` and `geom` name it too, where no property is called so."""
        if self.geometry is None or self.column(name) is not None:
            return False
        return name in (self.geometry, "geometry", "geom")

    def unknown(self, name: str) -> FilterError:
        """The error for a name that does not exist."""
        names = [column.name for column in self.columns] + ([self.geometry] if self.geometry else [])
        return FilterError(f"unknown property {name[:80]!r}: expected one of {', '.join(sorted(names))}")


@dataclass(frozen=True, slots=True)
class Where:
    """A condition in SQL, its bound values, and the names of the properties (and of the geometry) that it reads."""

    sql: str
    params: tuple[Any, ...]
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class Term:
    """A piece of SQL with its bound values.

    `type` is boolean, number, string, date, timestamp, geometry, interval, or unbounded (the open end of an interval).
    `value` is what a literal says, None for anything else. `cost` is how many symbols SQLite's parser holds while it
    reads the SQL.
    """

    sql: str
    params: tuple[Any, ...]
    type: str
    cost: int = 1
    value: Any = None

    def __post_init__(self) -> None:
        if self.cost > MAX_COST:
            raise FilterError("the expression is nested too deeply")


def literal(value: bool | float | str) -> Term:
    """A boolean, number or string as a bound value. Raises FilterError for a number beyond all floats.

    SQLite's integers have 64 bits. A larger one is bound as a float: it compares with them as its exact value does.
    """
    if isinstance(value, bool):
        return Term("?", (int(value),), "boolean", value=value)
    if isinstance(value, str):
        return Term("?", (value,), "string", value=value)
    try:
        bound = value if isinstance(value, int) and value in _INTEGERS else float(value)
    except OverflowError:
        bound = math.inf
    if not math.isfinite(bound):
        raise FilterError("a number is too large")
    return Term("?", (bound,), "number", value=value)


def named(column: Column) -> Term:
    """A property."""
    kind = {"date": "date", "date-time": "timestamp"}.get(column.format or "", column.type)
    return Term(quote(column.name), (), "number" if kind == "integer" else kind)


def infix(left: Term, operator: str, right: Term, kind: str = "boolean") -> Term:
    """`(left operator right)`."""
    sql = f"({left.sql} {operator} {right.sql})"
    return Term(sql, left.params + right.params, kind, max(1 + left.cost, 3 + right.cost))


def both(left: Term, operator: str, right: Term) -> Term:
    """`left AND right` or `left OR right`. The deeper one goes first, where it costs least."""
    if right.cost > left.cost:
        left, right = right, left
    return infix(left, operator, right)


def negated(term: Term) -> Term:
    """`NOT term`."""
    return Term(f"(NOT {term.sql})", term.params, "boolean", 2 + term.cost)


def call(function: str, *arguments: Term, kind: str) -> Term:
    """`function(arguments)`."""
    sql = f"{function}({', '.join(argument.sql for argument in arguments)})"
    params = tuple(value for argument in arguments for value in argument.params)
    cost = max(3 + argument.cost + 2 * bool(place) for place, argument in enumerate(arguments))
    return Term(sql, params, kind, cost)
