"""Which properties a table has: names and JSON Schema types, from the types that SQLite declares."""

from __future__ import annotations

import re
from dataclasses import dataclass

# GeoPackage 1.3, table 1: the declared types a GeoPackage may use, less their size.
_TYPES: dict[str, tuple[str, str | None]] = {
    "BOOLEAN": ("boolean", None),
    "TINYINT": ("integer", None),
    "SMALLINT": ("integer", None),
    "MEDIUMINT": ("integer", None),
    "INT": ("integer", None),
    "INTEGER": ("integer", None),
    "BIGINT": ("integer", None),
    "FLOAT": ("number", None),
    "DOUBLE": ("number", None),
    "REAL": ("number", None),
    "NUMERIC": ("number", None),
    "TEXT": ("string", None),
    "VARCHAR": ("string", None),
    "DATE": ("string", "date"),
    "DATETIME": ("string", "date-time"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One property: its name, JSON Schema type (string, number, integer, boolean) and format (date, date-time or None)."""

    name: str
    type: str
    format: str | None = None

    @property
    def sql_type(self) -> str:
        """The type as GeoPackage declares it."""
        if self.format:
            return {"date": "DATE", "date-time": "DATETIME"}[self.format]
        return {"string": "TEXT", "number": "REAL", "integer": "INTEGER", "boolean": "BOOLEAN"}[self.type]


def from_declared(name: str, declared: str) -> Column | None:
    """The column behind a declared SQLite type, or None where it is no property (a BLOB or a geometry)."""
    known = _TYPES.get(re.sub(r"\s*\(.*\)$", "", declared).upper())
    return Column(name, *known) if known else None


def quote(name: str) -> str:
    """A name as an SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'
