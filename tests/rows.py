"""The rows of a source table as SQLite and Shapely read them, and their order: what answers are compared with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import shapely

_ENVELOPE_BYTES = (0, 32, 48, 48, 64)  # GeoPackage 1.3, 2.1.3.1.1


@dataclass(frozen=True)
class Row:
    """A row of the source as SQLite and Shapely read it; the geometry is x = east, y = north."""

    id: str
    geometry: Any
    values: dict[str, Any]


def rows(package: Path, table: str, key: str) -> list[Row]:
    """All rows of a table of a GeoPackage, by id."""
    with closing(sqlite3.connect(package)) as conn:
        conn.row_factory = sqlite3.Row
        found = conn.execute(f"SELECT * FROM {table}").fetchall()
    made = []
    for row in found:
        values = dict(row)
        blob = values.pop("geom")
        geometry = shapely.from_wkb(blob[8 + _ENVELOPE_BYTES[blob[3] >> 1 & 7] :])
        del values["fid"]
        made.append(Row(values[key], geometry, values))
    return sorted(made, key=lambda row: row.id)


def in_order(source: list[Row], sort: list[tuple[str, bool]]) -> list[str]:
    """Ids in the order of (property, descending): nulls last either way, ties by id."""

    def compare(a: Row, b: Row) -> int:
        for name, descending in sort:
            x, y = a.values[name], b.values[name]
            if x == y:
                continue
            if x is None or y is None:
                return 1 if x is None else -1
            return (1 if x > y else -1) * (-1 if descending else 1)
        return 1 if a.id > b.id else -1

    return [row.id for row in sorted(source, key=cmp_to_key(compare))]
