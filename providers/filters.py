"""CQL2 expressions as SQL conditions with bound values, over what a caller may name.

Text or JSON (OGC 21-065r2) → CQL2 JSON → a tree of pygeofilter → SQL for SQLite. Whoever runs the SQL has given the
connection its functions (`providers.engines.functions.register`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import shapely
from pygeofilter import ast

from providers import cql2_space, cql2_text, cql2_tree
from providers.columns import Column
from providers.cql2_sql import Condition
from providers.expressions import FilterError, Queryables, Where

__all__ = ["Filter", "FilterError", "Queryables", "Where", "bbox_where", "compile", "parse", "property_equals"]

LANGUAGES = ("cql2-text", "cql2-json")
# Longer expressions are parsed each time, so that a cache has a bound in bytes too.
_CACHED_LENGTH = 2048

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Filter(ast.Node):
    """A parsed expression: equal and hashable by its text and language."""

    text: str
    lang: str
    tree: Any = field(compare=False, repr=False)


def parse(expression: str, lang: str = "cql2-text") -> Filter:
    """Read CQL2 in text or JSON (`lang`: cql2-text or cql2-json). Raises FilterError with what was expected."""
    if lang not in LANGUAGES:
        raise FilterError(f"unknown filter language {lang[:80]!r}: expected one of {', '.join(LANGUAGES)}")
    return (_parsed if len(expression) <= _CACHED_LENGTH else _parse)(expression, lang)


def _parse(expression: str, lang: str) -> Filter:
    if len(expression) > cql2_text.MAX_LENGTH:
        raise FilterError(f"the expression is longer than {cql2_text.MAX_LENGTH} characters")
    if lang == "cql2-json":
        return Filter(expression, lang, cql2_tree.from_text(expression))
    return Filter(expression, lang, cql2_tree.from_json(cql2_text.to_json(expression)))


_parsed = lru_cache(maxsize=512)(_parse)


def compile(node: Any, queryables: Queryables, filter_crs: str | None = None) -> Where:
    """The condition of an expression (what `parse` gave, or a tree of pygeofilter).

    `filter_crs` is the CRS of geometries in the expression, in whose axis order they are; CRS84 where None (Features
    Part 3, requirement filter-crs-wgs84). Raises FilterError for a name that is not queryable, operands of the wrong
    type, a geometry that is none, an unknown CRS.
    """
    if isinstance(node, Filter):
        made = _compiled if len(node.text) <= _CACHED_LENGTH else _compile
        return made(node, queryables, filter_crs)
    return _condition(node, queryables, filter_crs)


def _compile(node: Filter, queryables: Queryables, filter_crs: str | None) -> Where:
    return _condition(node.tree, queryables, filter_crs)


_compiled = lru_cache(maxsize=1024)(_compile)


def _condition(tree: Any, queryables: Queryables, filter_crs: str | None) -> Where:
    condition = Condition(queryables, filter_crs)
    term = condition.whole(tree)
    return Where(term.sql, term.params, frozenset(condition.columns))


def boxes_where(queryables: Queryables, bounds: Sequence[tuple[float, float, float, float]]) -> Where:
    """`bbox_where` for boxes with an area, by their bounds (`crs.bbox_bounds`), over a table with an R-tree and envelopes."""
    assert queryables.geometry is not None
    sql, params = cql2_space.meets_boxes(bounds, queryables)
    return Where(sql, params, frozenset({queryables.geometry}))


def bbox_where(queryables: Queryables, areas: Sequence[shapely.Geometry]) -> Where:
    """Features whose geometry intersects one of the areas, which are in stored coordinates (`crs.bbox_polygons`).

    No areas select nothing; a feature without a geometry is never selected (Features Part 1, 7.15.3).
    """
    if queryables.geometry is None:
        raise FilterError("the features have no geometry")
    term = cql2_space.related("intersects", areas, queryables, exact_null=False)
    return Where(term.sql, term.params, frozenset({queryables.geometry}))


def property_equals(name: str, value_text: str, queryables: Queryables) -> Where:
    """Features whose property equals the value of a query parameter (Features Part 1, 7.15.5; Part 3, 6.2).

    The value is read by the property's type; a date asked of a timestamp is its whole day. Raises FilterError where it
    cannot be read.
    """
    column = queryables.column(name)
    if column is None:
        raise queryables.unknown(name)
    return compile(ast.Equal(ast.Attribute(name), _value(column, value_text)), queryables)


def _value(column: Column, text: str) -> Any:
    if column.format is not None:
        return cql2_tree.instant(text)
    if column.type == "boolean" and text in ("true", "false"):
        return text == "true"
    if column.type == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if column.type == "number" and _NUMBER.fullmatch(text):
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    if column.type == "string":
        return cql2_tree.string(text)
    wanted = {"boolean": "true or false", "integer": "an integer"}.get(column.type, "a number")
    raise FilterError(f"{column.name}: expected {wanted} in place of {text[:80]!r}")
