"""Functions that the SQL of filters calls: relations between geometries, text without case or accents, arithmetic.

Each of them gives NULL for NULL, as SQL's own do, and says the same of the same arguments (deterministic).
"""

from __future__ import annotations

import math
import sqlite3
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import shapely
from shapely.errors import GEOSException

from providers.engines.layers import wkb

# S_WITHIN(geometry, literal) is asked as "literal contains geometry": GEOS prepares the first of the two.
INVERSE = {name: name for name in ("crosses", "disjoint", "equals", "intersects", "overlaps", "touches")} | {
    "contains": "within",
    "within": "contains",
}
# Dakuten and handakuten make another letter (OGC 21-065r2, recommendation japanese-non-spacing-marks).
_LETTERS = {"\u3099", "\u309a"}
_LITERALS = 4
_EXACT = range(-(1 << 63), 1 << 63)


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the functions, whose names begin with `tierra_`. Geometries are GeoPackage binary or WKB."""
    for name in INVERSE:
        connection.create_function(f"tierra_{name}", 2, _relation(name), deterministic=True)
    for one in (casei, accenti):
        connection.create_function(f"tierra_{one.__name__}", 1, one, deterministic=True)
    for two in (power, modulo, quotient):
        connection.create_function(f"tierra_{two.__name__}", 2, two, deterministic=True)


def geometry(blob: bytes) -> shapely.Geometry:
    """The geometry of a GeoPackage binary or of WKB."""
    return shapely.from_wkb(wkb(blob) if blob[:2] == b"GP" else blob)


def relate(name: str, one: shapely.Geometry, other: shapely.Geometry) -> bool:
    """Whether two geometries stand in a relation. An invalid one is repaired where GEOS needs it."""
    try:
        return bool(getattr(one, name)(other))
    except GEOSException:
        return bool(getattr(shapely.make_valid(one), name)(shapely.make_valid(other)))


def _relation(name: str) -> Callable[[bytes | None, bytes | None], bool | None]:
    inverse = INVERSE[name]
    # A statement has few literals, and gives them as bytes with every row: bytes compare quicker than they hash.
    kept: list[tuple[bytes, shapely.Geometry]] = []

    def prepared(blob: bytes) -> shapely.Geometry:
        for known, shape in kept:
            if known == blob:
                return shape
        shape = geometry(blob)
        shapely.prepare(shape)
        kept.insert(0, (blob, shape))
        del kept[_LITERALS:]
        return shape

    def holds(blob: bytes | None, literal: bytes | None) -> bool | None:
        if blob is None or literal is None:
            return None
        return relate(inverse, prepared(literal), geometry(blob))

    return holds


def casei(text: str | None) -> str | None:
    """Text with full case folding (Unicode 5.18), composed again (NFC): requirement casei-function."""
    if text is None:
        return None
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def accenti(text: str | None) -> str | None:
    """Text without combining marks, composed again (NFC): requirement accenti-function."""
    if text is None or text.isascii():
        return text
    marked = unicodedata.normalize("NFD", text)
    bare = (character for character in marked if character in _LETTERS or not unicodedata.combining(character))
    return unicodedata.normalize("NFC", "".join(bare))


# Arithmetic is SQLite's: whole numbers of 64 bits, floats beyond them, NULL for what is undefined.

Number = int | float


def _settled(value: Any) -> Number | None:
    if isinstance(value, int):
        return value if value in _EXACT else float(value)
    return None if isinstance(value, complex) or math.isnan(value) else float(value)


def _arithmetic(name: str, calculate: Callable[[Number, Number], Any]) -> Callable[[Any, Any], Number | None]:
    def function(one: Any, other: Any) -> Number | None:
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            return None
        try:
            return _settled(calculate(one, other))
        except (ZeroDivisionError, OverflowError, ValueError):
            return None

    function.__name__ = name
    return function


def _power(one: Number, other: Number) -> Any:
    whole = isinstance(one, int) and isinstance(other, int) and 0 <= other <= 64
    return one**other if whole else float(one) ** float(other)


def _quotient(one: Number, other: Number) -> Any:
    if isinstance(one, int) and isinstance(other, int):
        return abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)
    return math.trunc(Fraction(one) / Fraction(other))


def _modulo(one: Number, other: Number) -> Any:
    if isinstance(one, int) and isinstance(other, int):
        return abs(one) % abs(other) * (-1 if one < 0 else 1)
    whole = math.trunc(Fraction(one) / Fraction(other))
    return float(Fraction(one) - Fraction(other) * whole)


power = _arithmetic("power", _power)
quotient = _arithmetic("quotient", _quotient)  # div: rounded towards zero
modulo = _arithmetic("modulo", _modulo)  # %: of the sign of the dividend, so that a = b * (a div b) + a % b
add = _arithmetic("add", lambda one, other: one + other)
subtract = _arithmetic("subtract", lambda one, other: one - other)
multiply = _arithmetic("multiply", lambda one, other: one * other)
divide = _arithmetic("divide", lambda one, other: float(one) / float(other))
