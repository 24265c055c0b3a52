"""Which type a column has, and how its values are stored: integers, numbers, UTC times, and text for all else."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from providers.columns import Column

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?", re.ASCII)
_SLASHES = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?!\d)(.*)", re.ASCII)
# In text, what begins with a nought or has more than 15 digits is a code, not a quantity; so is 12E5.
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,14})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+([eE][+-]?\d{1,3})?|[eE][+-]\d{1,3})", re.ASCII)
_EXACT = 2**53  # beyond it a double cannot hold every integer
_LARGEST = 2**63


def utc(text: str) -> tuple[str, bool]:
    """A time as GeoPackage holds it, `YYYY-MM-DDTHH:MM:SS.fffZ`, and whether it came without a zone (taken as UTC).

    Raises ValueError for what is no time.
    """
    found = datetime.fromisoformat(text)
    naive = found.tzinfo is None
    found = found.replace(tzinfo=UTC) if naive else found.astimezone(UTC)
    return f"{found.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z", naive


class Reader(ABC):
    """One column on its way in: `take` what the file has, then `store` what was taken, once the type is known."""

    def __init__(self) -> None:
        self.naive = False

    @abstractmethod
    def take(self, row: int, value: Any) -> Any:
        """The value as SQLite can keep it meanwhile. Raises ValueError with the reason where it cannot be."""

    @abstractmethod
    def column(self, name: str) -> Column:
        """The column, under the name that it gets."""

    def store(self) -> Callable[[Any], Any] | None:
        """What makes the stored value of a taken one, None where they are the same."""
        return None

    def notes(self) -> list[str]:
        """What a reader of the report should know."""
        return ["times without a zone are taken as UTC"] if self.naive else []


class Declared(Reader):
    """A column whose type the file declares: a value of another is a fault."""

    def __init__(self, column: Column) -> None:
        super().__init__()
        self._column = column
        self._missing = 0
        self.take_value = {
            "integer": _integer,
            "number": self._number,
            "boolean": _boolean,
            "string": {None: _text, "date": _date, "date-time": self._time}[column.format],
        }[column.type]

    def take(self, row: int, value: Any) -> Any:
        return self.take_value(value)

    def column(self, name: str) -> Column:
        return Column(name, self._column.type, self._column.format)

    def notes(self) -> list[str]:
        return super().notes() + ([f"{self._missing} values are NaN: stored as null"] if self._missing else [])

    def _number(self, value: Any) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                return float(value)
            if math.isnan(value):
                self._missing += 1
                return None
        raise ValueError(f"{_shown(value)} is not a finite number")

    def _time(self, value: Any) -> str:
        try:
            text, naive = utc(_iso(value))
        except (ValueError, OverflowError, TypeError) as err:
            raise ValueError(f"{_shown(value)} is no date and time") from err
        self.naive = self.naive or naive
        return text


class Told(Reader):
    """A column whose type its values tell. `textual` says that all of them are text (CSV), not JSON's types."""

    def __init__(self, textual: bool) -> None:
        super().__init__()
        self._first: dict[str, tuple[int, str]] = {}
        self._kind: Callable[[Any], tuple[str, Any]] = _kind_of_text if textual else _kind_of_json

    def take(self, row: int, value: Any) -> Any:
        if type(value) is str and "string" in self._first:
            return _text(value)
        kind, taken = self._kind(value)
        if kind not in self._first:
            self._first[kind] = (row, _shown(value))
        if kind == "date-time" and not self.naive:
            self.naive = utc(_iso(value))[1]
        return taken

    def column(self, name: str) -> Column:
        kind = self._settled()
        return Column(name, "string", kind) if kind in ("date", "date-time") else Column(name, kind)

    def _settled(self) -> str:
        kinds = set(self._first)
        if kinds == {"integer", "long"}:
            return "integer"
        if kinds == {"integer", "number"}:
            return "number"
        kind = kinds.pop() if len(kinds) == 1 else "string"
        return {"long": "integer", "nested": "string"}.get(kind, kind)

    def store(self) -> Callable[[Any], Any] | None:
        return _STORE[self._settled()]

    def notes(self) -> list[str]:
        notes = super().notes() if self._settled() == "date-time" else []
        if "nested" in self._first:
            notes.append("lists and objects are kept as JSON text")
        if self._settled() == "string" and len(set(self._first) - {"nested"}) > 1:
            seen = [f"row {row} has the {kind} {text}" for kind, (row, text) in self._first.items()]
            notes.append(f"kept as text: {', '.join(seen)}")
        return notes


def reader(column: Column | None, textual: bool) -> Reader:
    """The reader of a column, declared or (None) told by its values."""
    return Told(textual) if column is None else Declared(column)


def _kind_of_json(value: Any) -> tuple[str, Any]:
    if isinstance(value, bool):
        return "boolean", b"true" if value else b"false"  # bytes, to be told from 0 and 1 in a mixed column
    if isinstance(value, int):
        if -_LARGEST <= value < _LARGEST:
            return ("integer" if abs(value) <= _EXACT else "long"), value
        return "string", str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return "number", value
    if isinstance(value, str):
        return _kind_of_string(value), _text(value)
    return "nested", json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _kind_of_text(value: str) -> tuple[str, Any]:
    if _INTEGER.fullmatch(value):
        return "integer", value
    if _NUMBER.fullmatch(value) and math.isfinite(float(value)):
        return "number", value
    return ("boolean" if value.lower() in ("true", "false") else _kind_of_string(_iso(value))), _text(value)


def _iso(text: str) -> str:
    """2024/2/9 as 2024-02-09, with what follows it; all else as it is."""
    found = _SLASHES.fullmatch(text)
    return f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}{found[4]}" if found else text


def _kind_of_string(text: str) -> str:
    try:
        if _DATE.fullmatch(text) and date.fromisoformat(text):
            return "date"
        if _TIME.fullmatch(text) and utc(text):
            return "date-time"
    except (ValueError, OverflowError):
        pass
    return "string"


def _plain(taken: Any) -> str:
    return taken.decode() if isinstance(taken, bytes) else str(taken)


_STORE: dict[str, Callable[[Any], Any] | None] = {
    "integer": int,
    "number": float,
    "boolean": lambda taken: _plain(taken).lower() == "true",
    "date": _iso,
    "date-time": lambda taken: utc(_iso(taken))[0],
    "string": _plain,
}


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        return int(value)
    raise ValueError(f"{_shown(value)} is no integer of 64 bits")


def _boolean(value: Any) -> bool:
    if value in (0, 1):
        return bool(value)
    raise ValueError(f"{_shown(value)} is neither true nor false")


def _date(value: Any) -> str:
    try:
        return date.fromisoformat(_iso(value)).isoformat()
    except (ValueError, TypeError) as err:
        raise ValueError(f"{_shown(value)} is no date") from err


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        raise ValueError("binary where text is declared")
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = str(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as err:
            raise ValueError("text with bytes that are no characters: is the encoding right?") from err
    return text


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 60 else f"{text[:57]}..."
