"""How a property's value is blurred before it is let out: round, initial, hash, year, redact.

Each mask depends on the value (and the key) alone. What a mask cannot read it withholds: the value becomes None, never
itself. None stays None.
"""

from __future__ import annotations

import hmac
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from providers.columns import Column
from providers.grant import MASKS, GrantError, Mask

_EXPECTED = "expected {round: STEP} with a step above 0, initial, hash, year or redact"

# Digits enough for the quotient of any two doubles, so that no step of the rounding is rounded itself.
_EXACT = Context(prec=700, Emax=9999, Emin=-9999, rounding=ROUND_HALF_EVEN, traps=[])
_KEY_BYTES = 16
_HASH_DIGITS = 32


def parse(mapping: Any) -> tuple[Mask, ...]:
    """Read the `mask` of an `access:` block, `{area_ha: {round: 1}, owner: initial}`, in the order of column names.

    The order in which masks are written says nothing, so a recipe's hash does not depend on it. None means no mask.
    Raises GrantError, which says what was expected.
    """
    if mapping is None:
        return ()
    if not isinstance(mapping, Mapping):
        raise GrantError(f"mask is {mapping!r}: expected a mapping of a column to its mask")
    return tuple(_parsed(column, how) for column, how in sorted(mapping.items(), key=lambda item: str(item[0])))


def _parsed(column: Any, how: Any) -> Mask:
    if not isinstance(column, str):
        raise GrantError(f"mask has the key {column!r}: expected the name of a column")
    if isinstance(how, str) and how in MASKS and how != "round":
        return Mask(column, how)
    if isinstance(how, Mapping) and list(how) == ["round"] and _is_step(how["round"]):
        return Mask(column, "round", float(how["round"]))
    raise GrantError(f"mask of {column} is {how!r}: {_EXPECTED}")


def _is_step(step: Any) -> bool:
    return isinstance(step, int | float) and not isinstance(step, bool) and math.isfinite(step) and step > 0


def check(mask: Mask, column: Column) -> None:
    """Whether a mask can be applied to a column: numbers are rounded, dates become years, text an initial.

    Raises GrantError where it cannot, where the mask is of no known kind, or is not of that column.
    """
    if mask.column != column.name:
        raise GrantError(f"the mask of {mask.column} is not one of {column.name}")
    match mask.kind:
        case "round" if _is_step(mask.step):
            fits, expected = column.type in ("number", "integer"), "a number"
        case "initial":
            fits, expected = column.type == "string" and column.format is None, "text"
        case "hash":
            fits, expected = column.type != "boolean", "a value of more than two states"
        case "year":
            fits, expected = column.format in ("date", "date-time"), "a date or a date with time"
        case "redact":
            return
        case _:
            raise GrantError(f"mask of {mask.column} is {mask.kind} {mask.step}: {_EXPECTED}")
    if not fits:
        found = column.format or column.type
        raise GrantError(f"mask {mask.kind} of {mask.column} needs {expected}, and the column is of type {found}")


def released(mask: Mask, column: Column) -> Column:
    """The column as it is after the mask: a year is an integer, a hash text; what is redacted keeps its type.

    An integer rounded to a whole step stays one, else it becomes a number. Raises GrantError as `check` does.
    """
    check(mask, column)
    match mask.kind:
        case "hash" | "initial":
            return Column(column.name, "string")
        case "year":
            return Column(column.name, "integer")
        case "round" if not _whole(mask):
            return Column(column.name, "number")
    return column


def apply(mask: Mask, value: Any, key: bytes) -> Any:
    """The value as it is let out.

    - `round`: the nearest multiple of the step, a tie to the even multiple, in decimal arithmetic on the digits that
      the value is written with (12.25 by 0.1 is 12.2, never 12.200000000000001). An int stays one if the step is whole,
      else the result is a float. What is no finite number becomes None.
    - `initial`: the first character of the name and nothing of its length: `Z.` for a letter that has a capital, `张*`
      for other scripts. An empty name stays empty.
    - `hash`: HMAC-SHA256 of the column's name and the value, 16 bytes in hexadecimal. Equal values of one column are
      equal under one key; over two columns they are not. Take a key for each collection, lest they be joined over it.
    - `year`: of a date, or of a time in UTC.
    - `redact`: always None.

    Raises GrantError for an unknown kind, and for a hash whose key is shorter than 16 bytes: it could be undone.
    """
    return _function(mask, key)(value)


def compile(masks: Sequence[Mask], columns: Sequence[Column], key: bytes) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """A function from a row (values in the order of `columns`) to the masked row, a tuple in the same order.

    A column that is there twice (a key that is a property too) is masked in both places. Raises GrantError for a mask
    of an unknown column, a second mask of one column, or one that `check` refuses.
    """
    functions: dict[int, Callable[[Any], Any]] = {}
    for mask in masks:
        places = [index for index, column in enumerate(columns) if column.name == mask.column]
        if not places:
            raise GrantError(f"mask of {mask.column}: there is no such column")
        for index in places:
            if index in functions:
                raise GrantError(f"{mask.column} has two masks: expected one")
            check(mask, columns[index])
            functions[index] = _function(mask, key)

    def masked(row: Sequence[Any]) -> tuple[Any, ...]:
        values = list(row)
        for index, function in functions.items():
            values[index] = function(values[index])
        return tuple(values)

    return masked


def _function(mask: Mask, key: bytes) -> Callable[[Any], Any]:
    match mask.kind:
        case "round" if _is_step(mask.step):
            step, whole = _EXACT.create_decimal(repr(mask.step)), _whole(mask)
            return lambda value: _rounded(value, step, whole)
        case "initial":
            return _initial
        case "hash":
            if len(key) < _KEY_BYTES:
                raise GrantError(f"the key of the hash of {mask.column} is shorter than {_KEY_BYTES} bytes")
            prefix = mask.column.encode() + b"\0"
            return lambda value: _hashed(value, prefix, key)
        case "year":
            return _year
        case "redact":
            return lambda _: None
    raise GrantError(f"mask of {mask.column} is {mask.kind} {mask.step}: {_EXPECTED}")


def _whole(mask: Mask) -> bool:
    return mask.step is not None and float(mask.step).is_integer()


def _rounded(value: Any, step: Decimal, whole: bool) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    exact = _EXACT.create_decimal(value if isinstance(value, int) else repr(value))
    nearest = _EXACT.subtract(exact, _EXACT.remainder_near(exact, step))
    if whole and isinstance(value, int):
        return int(nearest)
    # Adding 0 turns -0.0, which would show the sign, into 0.0. The largest doubles may round to infinity.
    result = float(nearest) + 0.0
    return result if math.isfinite(result) else None


def _initial(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    name = unicodedata.normalize("NFC", value.strip())
    if not name:
        return ""
    return name[0] + ("." if name[0].upper() != name[0].lower() else "*")


def _hashed(value: Any, prefix: bytes, key: bytes) -> str | None:
    if value is None:
        return None
    return hmac.digest(key, prefix + str(value).encode(), "sha256").hex()[:_HASH_DIGITS]


def _year(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime) and value.tzinfo:
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            return None
    return value.year if isinstance(value, date) else None
