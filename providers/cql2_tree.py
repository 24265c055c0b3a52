"""CQL2 JSON as a syntax tree of pygeofilter: checked, bounded, with what pygeofilter's own parser of it lacks.

The parser takes any JSON and knows neither the functions of time nor CASEI, ACCENTI, `^`, `%`, `div`, boxes and
collections of geometries. So every operation is checked here first (OGC 21-065r2, the schema of CQL2 JSON), and these
become nodes before the parser sees them: a Function, a Box, a geometry, an instant, an interval.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from pygeofilter import ast, values
from pygeofilter.parsers.cql2_json.parser import walk_cql_json as to_tree

from providers.engines.functions import accenti, casei
from providers.expressions import FilterError

_MAX_DEPTH = 100
_MAX_BRACKETS = 250

_COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
_ARITHMETIC = {"+", "-", "*", "/"}
SPATIAL = {f"s_{name}" for name in ("contains", "crosses", "disjoint", "equals", "intersects", "overlaps", "touches", "within")}
# Between instants and intervals, and between intervals only (tables 7 and 8).
INSTANT_RELATIONS = {f"t_{name}" for name in ("after", "before", "disjoint", "equals", "intersects")}
INTERVAL_RELATIONS = {
    f"t_{name}"
    for name in (
        "contains",
        "during",
        "finishedby",
        "finishes",
        "meets",
        "metby",
        "overlappedby",
        "overlaps",
        "startedby",
        "starts",
    )
}
_FUNCTIONS = {"^", "%", "div"} | INSTANT_RELATIONS | INTERVAL_RELATIONS
_FOLDED: dict[str, Callable[[str | None], str | None]] = {"casei": casei, "accenti": accenti}
_ARITY = {"not": 1, "isnull": 1, "casei": 1, "accenti": 1, "like": 2, "in": 2, "between": 3} | dict.fromkeys(
    _COMPARISONS | _ARITHMETIC | SPATIAL | _FUNCTIONS, 2
)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,6})0*)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass
class Box(ast.Node):
    """BBOX(…): 4 numbers, or 6 with heights, in the axis order of the CRS that literals are in."""

    numbers: tuple[float, ...]


def from_text(text: str) -> Any:
    """The tree of a CQL2 JSON text; integers keep every digit. Raises FilterError."""
    depth = deepest = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[][{}]', text):
        if bracket[0] != '"':
            depth += 1 if bracket in "[{" else -1
            deepest = max(deepest, depth)
    if deepest > _MAX_BRACKETS:
        raise FilterError("the expression is nested too deeply")
    try:
        return from_json(json.loads(text, parse_constant=_no_number, parse_int=_integer))
    except FilterError:
        raise
    except ValueError as err:
        raise FilterError(f"not JSON: {err}") from None


def _no_number(name: str) -> float:
    raise FilterError(f"{name} is no number")


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 400 else math.inf


def from_json(value: Any) -> Any:
    """The tree of a CQL2 JSON value. Raises FilterError."""
    return to_tree(_prepared(value, 0))


def _prepared(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise FilterError("the expression is nested too deeply")
    if value is None:
        raise FilterError("NULL is no value: expected IS NULL")
    if isinstance(value, list):
        raise FilterError("arrays are not supported")
    if not isinstance(value, dict):
        return _scalar(value)
    if "op" in value:
        return _operation(value, depth)
    if "type" in value:
        return values.Geometry(_geometry(value, 0))
    for member, made in _LITERALS.items():
        if value.keys() == {member}:
            return made(value[member])
    raise FilterError(f"not CQL2: an object with {', '.join(map(repr, list(value)[:5])) or 'nothing'}")


def _scalar(value: Any) -> bool | float | str:
    if isinstance(value, str):
        return string(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError("a number is too large")
    assert isinstance(value, bool | int | float)
    return value


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise FilterError("not CQL2: expected a string")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise FilterError("a string has characters that are no text")
    return value


def _operation(value: dict[str, Any], depth: int) -> Any:
    op, args = value["op"], value.get("args")
    if not isinstance(op, str) or not isinstance(args, list):
        raise FilterError("not CQL2: an operation has `op`, a string, and `args`, an array")
    op = op.lower()
    if op in ("and", "or"):
        return _joined(op, [_prepared(arg, depth + 1) for arg in _flat(op, args, 0)])
    if op not in _ARITY:
        raise FilterError(f"unknown function {op[:80]!r}")
    if len(args) != _ARITY[op]:
        raise FilterError(f"{op} takes {_ARITY[op]} operands")
    if op == "in":
        if not isinstance(args[1], list) or not args[1]:
            raise FilterError("in takes a list of values")
        return {"op": op, "args": [_prepared(args[0], depth + 1), [_prepared(item, depth + 1) for item in args[1]]]}
    made = [_prepared(arg, depth + 1) for arg in args]
    if op == "between":
        return {"op": op, "args": [made[0], made[1:]]}
    if op == "like" and not isinstance(made[1], str):
        raise FilterError("like takes a pattern: a string, or CASEI or ACCENTI of one")
    if op in _FOLDED:
        return _FOLDED[op](made[0]) if isinstance(made[0], str) else ast.Function(op, [to_tree(made[0])])
    if op in _FUNCTIONS:
        return ast.Function(op, [to_tree(arg) if isinstance(arg, dict) else arg for arg in made])
    return {"op": "isNull" if op == "isnull" else op, "args": made}


def _flat(op: str, args: list[Any], depth: int) -> list[Any]:
    """The operands of AND or OR with those of the same within them: `(a AND b) AND c` is `a AND b AND c`."""
    if depth > _MAX_DEPTH:
        raise FilterError("the expression is nested too deeply")
    found = []
    for arg in args:
        if isinstance(arg, dict) and str(arg.get("op")).lower() == op and isinstance(arg.get("args"), list):
            found += _flat(op, arg["args"], depth + 1)
        else:
            found.append(arg)
    if len(found) < 2:
        raise FilterError(f"{op} takes two operands or more")
    return found


def _joined(op: str, items: list[Any]) -> Any:
    """A balanced tree: a thousand operands are ten deep."""
    if len(items) == 1:
        return items[0]
    middle = len(items) // 2
    return {"op": op, "args": [_joined(op, items[:middle]), _joined(op, items[middle:])]}


def _property(name: Any) -> ast.Attribute:
    return ast.Attribute(string(name))


def instant(value: Any) -> date | datetime:
    """A date or a timestamp (RFC 3339) as a date, or as a datetime in UTC. Raises FilterError."""
    text = string(value)
    return _date(text) if _DATE.fullmatch(text) else _timestamp(text)


def _date(value: Any) -> date:
    text = string(value)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise FilterError(f"{text[:80]!r} is no date: expected one such as 2026-01-31")


def _timestamp(value: Any) -> datetime:
    text = string(value)
    found = _TIMESTAMP.fullmatch(text)
    try:
        if found:
            day, time, fraction, zone = found.groups()
            return datetime.fromisoformat(f"{day}T{time}.{fraction or 0}{zone.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise FilterError(f"{text[:80]!r} is no timestamp: expected one such as 2026-01-31T08:00:00Z")


def _interval(value: Any) -> values.Interval:
    if not isinstance(value, list) or len(value) != 2:
        raise FilterError("an interval has a start and an end")
    start, end = (_end(item) for item in value)
    if isinstance(start, date) and type(start) is type(end) and start > end:
        raise FilterError(f"the interval from {value[0]} to {value[1]} ends before it begins")
    return values.Interval(start, end)


def _end(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"property"}:
        return _property(value["property"])
    return None if value == ".." else instant(value)


def _bbox(value: Any) -> Box:
    if not isinstance(value, list) or len(value) not in (4, 6):
        raise FilterError("a bbox has 4 numbers, or 6 with heights")
    return Box(tuple(_coordinate(number) for number in value))


def _geometry(value: dict[str, Any], depth: int) -> dict[str, Any]:
    """A GeoJSON geometry with its coordinates as floats; whether they fit together is for GEOS to say."""
    kind = value["type"]
    if not isinstance(kind, str) or depth > 1:
        raise FilterError("not CQL2: expected a GeoJSON geometry")
    if kind == "GeometryCollection" and isinstance(value.get("geometries"), list):
        parts = value["geometries"]
        if not all(isinstance(part, dict) and "type" in part for part in parts):
            raise FilterError("not CQL2: expected GeoJSON geometries in a GeometryCollection")
        return {"type": kind, "geometries": [_geometry(part, depth + 1) for part in parts]}
    return {"type": kind, "coordinates": _coordinates(value.get("coordinates"), 0)}


def _coordinates(value: Any, depth: int) -> Any:
    if isinstance(value, list) and depth < 4:
        return [_coordinates(item, depth + 1) for item in value]
    return _coordinate(value)


def _coordinate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise FilterError("not CQL2: expected a number as a coordinate")
    return float(value)


_LITERALS: dict[str, Callable[[Any], Any]] = {
    "property": _property,
    "date": _date,
    "timestamp": _timestamp,
    "interval": _interval,
    "bbox": _bbox,
}
