"""A syntax tree as an SQL condition over what may be named, with every value bound."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, TypeVar

from pygeofilter import ast, values
from pygeofilter.backends.evaluator import Evaluator, handle

from providers import cql2_space, cql2_time, crs
from providers.cql2_tree import INSTANT_RELATIONS, INTERVAL_RELATIONS, Box
from providers.engines import functions
from providers.expressions import FilterError, Queryables, Term, both, call, infix, literal, named, negated

# GLOB takes up to 50,000 bytes (SQLITE_MAX_LIKE_PATTERN_LENGTH).
_MAX_PATTERN = 10_000
_ARITHMETIC: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", functions.add),
    ast.Sub: ("-", functions.subtract),
    ast.Mul: ("*", functions.multiply),
}
_COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "^": functions.power,
    "%": functions.modulo,
    "div": functions.quotient,
}
_HINTS = {"date": ": expected DATE('…')", "timestamp": ": expected TIMESTAMP('…')"}
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "<>": "<>"}


Handler = TypeVar("Handler", bound=Callable[..., Term])


def _handles(*kinds: type) -> Callable[[Handler], Handler]:
    """pygeofilter's `handle`, typed."""
    decorator: Callable[[Handler], Handler] = handle(*kinds)
    return decorator


class Condition(Evaluator):
    """Makes one condition; `columns` are the names that it has used by then."""

    def __init__(self, queryables: Queryables, literal_crs: str | None) -> None:
        self.columns: set[str] = set()
        self._queryables = queryables
        try:
            self._crs = crs.CRS84 if literal_crs is None else crs.uri(literal_crs)
        except crs.CRSError as err:
            raise FilterError(str(err)) from None
        self._negating = 0

    def evaluate(self, node: Any, adopt_result: bool = True) -> Any:
        """The term of a node. Within anything but AND and OR, false and NULL are told apart."""
        if isinstance(node, ast.Combination | ast.SpatialComparisonPredicate):
            return super().evaluate(node, adopt_result)
        self._negating += 1
        try:
            return super().evaluate(node, adopt_result)
        finally:
            self._negating -= 1

    def adopt(self, node: Any, *sub_args: Any) -> Any:
        raise FilterError(f"{type(node).__name__} is not supported")

    # names and literals

    @_handles(ast.Attribute)
    def attribute(self, node: Any) -> Term:
        column = self._queryables.column(node.name)
        if column is not None:
            self.columns.add(column.name)
            return named(column)
        if self._queryables.is_geometry(node.name):
            self.columns.add(str(self._queryables.geometry))
            return Term(self._queryables.geometry_sql, (), "geometry")
        raise self._queryables.unknown(str(node.name))

    @_handles(bool, int, float, str)
    def scalar(self, node: Any) -> Term:
        return literal(node)

    @_handles(date, datetime)
    def instant(self, node: Any) -> Term:
        return cql2_time.instant(node)

    @_handles(type(None))
    def unbounded(self, node: Any) -> Term:
        return cql2_time.unbounded()

    @_handles(values.Interval)
    def interval(self, node: Any, start: Term, end: Term) -> Term:
        return cql2_time.interval(start, end)

    @_handles(values.Geometry)
    def geometry(self, node: Any) -> Term:
        return cql2_space.shape(node.geometry, self._queryables, self._crs)

    @_handles(Box)
    def box(self, node: Any) -> Term:
        return cql2_space.box(node.numbers, self._queryables, self._crs)

    # logic

    @_handles(ast.And, ast.Or)
    def joined(self, node: Any, one: Term, other: Term) -> Term:
        return both(_condition(one), node.op.value, _condition(other))

    @_handles(ast.Not)
    def negation(self, node: Any, one: Term) -> Term:
        return negated(_condition(one))

    # comparisons

    @_handles(ast.Equal, ast.NotEqual, ast.LessThan, ast.LessEqual, ast.GreaterThan, ast.GreaterEqual)
    def comparison(self, node: Any, one: Term, other: Term) -> Term:
        return compare(one, node.op.value, other)

    @_handles(ast.Between)
    def between(self, node: Any, one: Term, low: Term, high: Term) -> Term:
        within = both(compare(one, ">=", low), "AND", compare(one, "<=", high))
        return negated(within) if node.not_ else within

    @_handles(ast.In)
    def among(self, node: Any, one: Term, *others: Term) -> Term:
        for other in others:
            _comparable(one, other)
        if one.type in cql2_time.TEMPORAL:
            found = cql2_time.among(one, others)
        else:
            sql = f"({one.sql} IN ({', '.join(other.sql for other in others)}))"
            params = one.params + tuple(value for other in others for value in other.params)
            found = Term(sql, params, "boolean", max(1 + one.cost, *(6 + other.cost for other in others)))
        return negated(found) if node.not_ else found

    @_handles(ast.Like)
    def like(self, node: Any, one: Term) -> Term:
        if one.type != "string":
            raise FilterError(f"LIKE is for strings: expected one in place of a {one.type}")
        if node.nocase:
            raise FilterError("ILIKE is not supported: expected CASEI(…) LIKE CASEI(…)")
        # GLOB, and not SQLite's LIKE, which takes a for A unless a connection is told otherwise. It is as quick, and
        # finds `LIKE 'abc%'` in an index.
        found = infix(one, "GLOB", literal(_glob(str(node.pattern))))
        return negated(found) if node.not_ else found

    @_handles(ast.IsNull)
    def null(self, node: Any, one: Term) -> Term:
        if one.type in ("interval", "unbounded"):
            raise FilterError("IS NULL is not for intervals")
        if one.type == "geometry" and one.value is not None:
            one = literal(True)
        return Term(f"({one.sql} IS {'NOT ' if node.not_ else ''}NULL)", one.params, "boolean", 3 + one.cost)

    # arithmetic and text

    @_handles(ast.Add, ast.Sub, ast.Mul)
    def arithmetic(self, node: Any, one: Term, other: Term) -> Term:
        symbol, calculate = _ARITHMETIC[type(node)]
        return _calculated(calculate, one, other) or infix(one, symbol, other, "number")

    @_handles(ast.Div)
    def division(self, node: Any, one: Term, other: Term) -> Term:
        found = _calculated(functions.divide, one, other)
        real = Term(f"CAST({one.sql} AS REAL)", one.params, "number", 3 + one.cost)
        return found or infix(real, "/", other, "number")

    @_handles(ast.Function)
    def function(self, node: Any, *arguments: Term) -> Term:
        name = node.name
        if name in ("casei", "accenti") and len(arguments) == 1:
            if arguments[0].type != "string":
                raise FilterError(f"{name} is for strings: expected one in place of a {arguments[0].type}")
            return call(f"tierra_{name}", *arguments, kind="string")
        if name in _COMPUTED and len(arguments) == 2:
            found = _calculated(_COMPUTED[name], *arguments)
            return found or call(f"tierra_{_COMPUTED[name].__name__}", *arguments, kind="number")
        if name in INSTANT_RELATIONS | INTERVAL_RELATIONS and len(arguments) == 2:
            return cql2_time.relation(name, *arguments)
        raise FilterError(f"unknown function {str(name)[:80]!r}")

    # space

    @_handles(
        ast.GeometryContains,
        ast.GeometryCrosses,
        ast.GeometryDisjoint,
        ast.GeometryEquals,
        ast.GeometryIntersects,
        ast.GeometryOverlaps,
        ast.GeometryTouches,
        ast.GeometryWithin,
    )
    def spatial(self, node: Any, one: Term, other: Term) -> Term:
        name = node.op.value.lower()
        return cql2_space.relation(name, one, other, self._queryables, exact_null=self._negating > 0)

    def whole(self, node: Any) -> Term:
        """The condition of a tree. Raises FilterError where it is no condition."""
        return _condition(self.evaluate(node))


def _condition(term: Term) -> Term:
    if term.type != "boolean":
        raise FilterError(f"expected a condition in place of a {term.type}")
    return term


def _comparable(one: Term, other: Term) -> None:
    for term in (one, other):
        if term.type in ("geometry", "interval"):
            raise FilterError(f"a {term.type} has no order: expected a function such as S_EQUALS or T_EQUALS")
    if one.type != other.type and not (one.type in cql2_time.TEMPORAL and other.type in cql2_time.TEMPORAL):
        hints = [_HINTS[kind] for kind in (one.type, other.type) if kind in _HINTS]
        raise FilterError(f"a {one.type} is not comparable with a {other.type}{(hints or [''])[0]}")


def compare(one: Term, symbol: str, other: Term) -> Term:
    """`one symbol other`, where both are of types that compare. Raises FilterError."""
    _comparable(one, other)
    if one.type in cql2_time.TEMPORAL:
        return cql2_time.compare(one, symbol, other)
    if other.cost > one.cost:
        one, symbol, other = other, _FLIPPED[symbol], one
    return infix(one, symbol, other)


def _calculated(calculate: Callable[[Any, Any], Any], one: Term, other: Term) -> Term | None:
    """Arithmetic of literals is done at once, so that an index is asked for a value."""
    for term in (one, other):
        if term.type != "number":
            raise FilterError(f"arithmetic is for numbers: expected one in place of a {term.type}")
    if one.value is None or other.value is None:
        return None
    result = calculate(one.value, other.value)
    return Term("NULL", (), "number") if result is None else literal(result)


def _glob(pattern: str) -> str:
    """A pattern of LIKE (% any text, _ any character, backslash takes the next as it is) as one of GLOB."""
    made = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            made.append(_plain(next(characters, "\\")))
        else:
            made.append({"%": "*", "_": "?"}.get(character) or _plain(character))
    found = "".join(made)
    if len(found.encode()) > _MAX_PATTERN:
        raise FilterError("the pattern of LIKE is too long")
    return found


def _plain(character: str) -> str:
    return f"[{character}]" if character in "*?[" else character
