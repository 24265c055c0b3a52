"""How a foreign file becomes a layer: every row is read and judged first, then all of them are written, or none.

The rows wait in a temporary database, so memory is bounded, and types, geometry type and double ids are known before
the first row is written; the layer's own file is locked for the writing alone.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from providers.columns import Column
from providers.crs import CRS84, is_geographic, parse, stored_transformer
from providers.engines import layers
from providers.foreign.source import CHUNK, Chunk, Source, SourceError
from providers.foreign.values import Reader, reader

Advance = Callable[[int], None]

_NAMES = ("POINT", "LINESTRING", "", "POLYGON", "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION")
_MULTI: dict[str, tuple[str, Callable[..., Any]]] = {
    "MULTIPOINT": ("POINT", shapely.multipoints),
    "MULTILINESTRING": ("LINESTRING", shapely.multilinestrings),
    "MULTIPOLYGON": ("POLYGON", shapely.multipolygons),
}
_MADE = re.compile(r"uuid(_\d+)?")
_MOST_COLUMNS = 1900  # SQLite takes 2000


class LoadError(Exception):
    """A file cannot be loaded as asked; the message says why."""


class Staged:
    """The rows of a file, read and judged. Close it: its temporary database goes with it.

    `columns` are those of the layer to be, `id_column` the one that is unique, `count` the good rows. `notes` say what
    a reader of the report should know: what was renamed, left out, assumed.
    """

    def __init__(self, srs_id: int) -> None:
        self.srs_id = srs_id
        self.columns: list[Column] = []
        self.id_column = ""
        self.count = 0
        self.notes: list[str] = []
        self._types: set[str] = set()
        self._flat = self._high = False
        self._readers: list[Reader] = []
        self._made_id = False
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._conn = sqlite3.connect("", isolation_level=None)  # a file without a name, gone when closed
        self._conn.execute("PRAGMA journal_mode = OFF")
        self._conn.execute("BEGIN")
        self._conn.execute("CREATE TABLE staged (row INTEGER PRIMARY KEY, geom BLOB)")
        self._conn.execute("CREATE TABLE faults (row INTEGER, reason TEXT)")

    def close(self) -> None:
        self._conn.close()

    @property
    def faults(self) -> int:
        """How many rows are bad."""
        return int(self._conn.execute("SELECT count(DISTINCT row) FROM faults").fetchone()[0])

    def report(self) -> Iterator[tuple[int, str]]:
        """Number (from 1, in the order of the file) and reason of every bad row."""
        yield from self._conn.execute("SELECT row, group_concat(reason, '; ') FROM faults GROUP BY row ORDER BY row")

    @property
    def geometry_type(self) -> str:
        """The one type that takes all geometries: single and multiple of a kind are multiple, a mixture is GEOMETRY."""
        for multi, (single, _) in _MULTI.items():
            if self._types == {single, multi}:
                return multi
        return next(iter(self._types)) if len(self._types) == 1 else "GEOMETRY"

    @property
    def z(self) -> int:
        """0 where no geometry has heights, 1 where all have, 2 where some have."""
        return int(self._high) + int(self._high and self._flat)

    def rows(self, advance: Advance | None = None) -> Iterator[tuple[Any, ...]]:
        """The good rows as `layers.insert` takes them, in the order of the file."""
        stores = [reader.store() for reader in self._readers]
        names = ", ".join(["geom", *(f"c{i}" for i in range(len(stores)))])
        cursor = self._conn.execute(f"SELECT {names} FROM staged ORDER BY row")
        while batch := cursor.fetchmany(CHUNK):
            bodies, *columns = zip(*batch, strict=True)
            geometries = self._promoted(np.asarray(shapely.from_wkb(np.array(bodies, dtype=object)), dtype=object))
            values: list[Iterable[Any]] = [
                column if store is None else [None if value is None else store(value) for value in column]
                for store, column in zip(stores, columns, strict=True)
            ]
            if self._made_id:
                values.insert(0, [str(uuid.uuid4()) for _ in batch])
            yield from zip(layers.blobs(geometries, self.srs_id), *values, strict=True)
            if advance:
                advance(len(batch))

    def _promoted(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        kind = self.geometry_type
        if kind in _MULTI:
            single, make = _MULTI[kind]
            places = np.flatnonzero(shapely.get_type_id(geometries) == _NAMES.index(single))
            if len(places):
                geometries[places] = make(geometries[places], indices=np.arange(len(places)))
        return geometries

    def add(self, chunk: Chunk, source: Source) -> None:
        """Judge a chunk: its good rows are staged, the others' faults noted."""
        self._widen(source)
        faults = dict(chunk.faults)
        _judge(chunk.geometries, self.srs_id, faults)
        names = source.names
        kept: list[int] = []
        rows: list[list[Any]] = []
        for position, values in enumerate(chunk.values):
            row, wrong = chunk.first + position, []
            staged: list[Any] = [None] * len(self._readers)
            for place, value in enumerate(values):
                if value is not None:
                    try:
                        staged[place] = self._readers[place].take(row, value)
                    except ValueError as err:
                        wrong.append(f"{names[place]}: {err}")
            if position in faults:
                wrong.insert(0, faults[position])
            if wrong:
                self._conn.executemany("INSERT INTO faults VALUES (?, ?)", [(row, reason) for reason in wrong])
            else:
                kept.append(position)
                rows.append([row, None, *staged])
        geometries = chunk.geometries[kept]
        for values, body in zip(rows, layers.bodies(geometries), strict=True):
            values[1] = body
        marks = ", ".join("?" * (len(self._readers) + 2))
        self._conn.executemany(f"INSERT INTO staged VALUES ({marks})", rows)
        self._look(geometries[geometries != None])  # noqa: E711 - elementwise

    def _widen(self, source: Source) -> None:
        for column in source.columns[len(self._readers) :]:
            if len(self._readers) == _MOST_COLUMNS:
                raise SourceError(f"the file has more than {_MOST_COLUMNS} properties")
            self._conn.execute(f"ALTER TABLE staged ADD COLUMN c{len(self._readers)}")
            self._readers.append(reader(column, source.textual))

    def _look(self, geometries: NDArray[np.object_]) -> None:
        if len(geometries):
            self._types |= {_NAMES[kind] for kind in np.unique(shapely.get_type_id(geometries))}
            high = shapely.has_z(geometries)
            self._high, self._flat = bool(self._high or high.any()), bool(self._flat or not high.all())
            if shapely.has_m(geometries).any():
                self.notes.append("measures (M) of the geometries are left out")
            low, top = self._bounds[:2], self._bounds[2:]
            bounds = shapely.total_bounds(geometries)
            self._bounds = np.concatenate((np.minimum(low, bounds[:2]), np.maximum(top, bounds[2:])))

    def settle(self, source: Source, id_column: str | None) -> None:
        """Name the columns, find the id and judge its values, once all rows are in. Raises LoadError."""
        self._widen(source)
        names = source.names
        place = _place(names, id_column)
        self.columns = [reader.column(name) for reader, name in zip(self._readers, self._named(names), strict=True)]
        if place is None:
            self._made_id = True
            self.id_column = _free("uuid", {column.name.casefold() for column in self.columns})
            self.notes.append(f"every row gets a UUID in column {self.id_column}; to load the file anew makes new ones")
            self.columns.insert(0, Column(self.id_column, "string"))
        else:
            self._judge_ids(place)
        (self.count,) = self._conn.execute("SELECT count(*) FROM staged").fetchone()
        (bare,) = self._conn.execute("SELECT count(*) FROM staged WHERE geom IS NULL").fetchone()
        if bare:
            self.notes.append(f"{bare} rows have no geometry")
        if self.z:
            self.notes.append("geometries have heights (Z): they are kept")
        self.notes += [
            f"column {name}: {note}" for reader, name in zip(self._readers, names, strict=True) for note in reader.notes()
        ]
        if np.isfinite(self._bounds).all() and not _within_area(self.srs_id, self._bounds):
            self.notes.append(
                f"the extent {', '.join(f'{edge:.9g}' for edge in self._bounds)} lies outside the area where"
                f" EPSG:{self.srs_id} is in use: is it this CRS, with x to the east and y to the north?"
            )
        self.notes = list(dict.fromkeys([*source.notes, *self.notes]))

    def _named(self, names: list[str]) -> list[str]:
        """The names that the columns get: their own, unless those are empty, reserved, or in any case taken."""
        taken = {layers.ROW_ID, layers.GEOMETRY, "geometry"}
        named = []
        for place, name in enumerate(names):
            free = _free(name.lstrip("_") or f"column_{place + 1}", taken)
            if free != name:
                self.notes.append(f"column {name!r} is called {free}: its own name is empty, taken or reserved")
            taken.add(free.casefold())
            named.append(free)
        return named

    def _judge_ids(self, place: int) -> None:
        column = self.columns[place]
        if column.type not in ("string", "integer"):
            raise LoadError(f"column {column.name} has type {column.type}: an id is text or a whole number")
        self.id_column = column.name
        key = f"CAST(c{place} AS TEXT)"
        self._conn.execute(f"INSERT INTO faults SELECT row, 'no id' FROM staged WHERE c{place} IS NULL OR {key} = ''")
        self._conn.execute(
            f"INSERT INTO faults SELECT row, 'id ' || {key} || ' is that of row ' || first FROM staged JOIN"
            f" (SELECT {key} AS id, min(row) AS first FROM staged WHERE {key} <> '' GROUP BY 1 HAVING count(*) > 1)"
            f" ON {key} = id WHERE row > first"
        )
        self._conn.execute("DELETE FROM staged WHERE row IN (SELECT row FROM faults)")


def stage(source: Source, *, id_column: str | None, srs_id: int | None = None, advance: Advance | None = None) -> Staged:
    """Read a file to its end and judge every row.

    `id_column` is the property (as the file names it) that identifies rows; without it a UUID is made for each.
    `srs_id` overrules the file's CRS. `advance` is told how far the reading went on, in the unit of `source.total`.

    Bad rows are those with a geometry that cannot be read, is invalid (OGC 06-103r4) or lies off the earth, with a
    value that is not of its column's type, or with an id that is missing or not the first of its kind. Raises
    SourceError or LoadError where the file as a whole cannot be loaded: no CRS, no such id column, broken off.
    """
    if srs_id is None and source.srs_id is None:
        raise LoadError(
            "the file does not say its CRS: give it by --crs, as EPSG:4547, or CRS84 for WGS 84 longitude and latitude"
        )
    if not source.open_ended:
        _place(source.names, id_column)
    staged = Staged(srs_id or source.srs_id or 0)
    if srs_id and source.srs_id and srs_id != source.srs_id:
        staged.notes.append(f"the file says EPSG:{source.srs_id}: its coordinates are taken as EPSG:{srs_id}, as given")
    try:
        read = 0
        for chunk in source.chunks():
            staged.add(chunk, source)
            if advance:
                advance(source.done() - read)
            read = source.done()
        staged.settle(source, id_column)
    except BaseException:
        staged.close()
        raise
    return staged


def write(
    path: Path,
    staged: Staged,
    table: str,
    *,
    replace: bool = False,
    title: str = "",
    description: str = "",
    advance: Advance | None = None,
) -> int:
    """Write the good rows as a layer of the GeoPackage at `path` in one transaction; gives their number.

    Raises LoadError where the layer exists and may not be replaced; a replaced one's revision goes on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(layers.open_package(path)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        try:
            if layers.has_layer(conn, table):
                if not replace:
                    raise LoadError(f"there is a layer {table} in {path.name} already")
                layers.drop_layer(conn, table)
            layers.create_layer(
                conn,
                table,
                staged.columns,
                id_column=staged.id_column,
                geometry_type=staged.geometry_type,
                srs_id=staged.srs_id,
                z=staged.z,
                title=title,
                description=description,
            )
            count = layers.insert(conn, table, staged.columns, staged.rows(advance))
            layers.finish_layer(conn, table)
            layers.track(conn, table)
            conn.execute("COMMIT")
        except BaseException:
            conn.execute("ROLLBACK")
            raise
    return max(count, 0)


def _place(names: list[str], id_column: str | None) -> int | None:
    """Where the id column is, None where ids are made: none is named, or one that an earlier load has made."""
    if id_column is None or (_MADE.fullmatch(id_column) and id_column not in names):
        return None
    if id_column not in names:
        raise LoadError(f"there is no column {id_column}; there are: {', '.join(names)}")
    return names.index(id_column)


def _free(name: str, taken: set[str]) -> str:
    tried, number = name, 0
    while tried.casefold() in taken:
        number += 1
        tried = f"{name}_{number}"
    return tried


def _judge(geometries: NDArray[np.object_], srs_id: int, faults: dict[int, str]) -> None:
    """Note invalid geometries and those off the earth; empty ones become None."""
    geometries[shapely.is_empty(geometries)] = None
    there = geometries != None  # noqa: E711 - elementwise
    for position in np.flatnonzero(there & ~shapely.is_valid(geometries)):
        faults.setdefault(int(position), f"geometry: {shapely.is_valid_reason(geometries[position])}")
    if is_geographic(f"EPSG:{srs_id}"):
        bounds = np.abs(shapely.bounds(geometries))
        off = (bounds[:, [0, 2]] > 360).any(axis=1) | (bounds[:, [1, 3]] > 90).any(axis=1)
        for position in np.flatnonzero(there & off):
            faults.setdefault(int(position), "geometry: longitude or latitude beyond the earth")


def _within_area(srs_id: int, bounds: NDArray[np.float64]) -> bool:
    """Whether an extent meets the area of use of its CRS, a few degrees about it included."""
    area = parse(f"EPSG:{srs_id}").area_of_use
    if area is None:
        return True
    corners = bounds[[[0, 1], [0, 3], [2, 1], [2, 3]]]
    lon, lat = stored_transformer(f"EPSG:{srs_id}", CRS84).transform(corners).T
    if not np.isfinite([lon, lat]).all():
        return False
    east = area.east + (360 if area.east < area.west else 0)
    turned = lon + 360 * (lon < area.west - 5)
    across = turned.min() <= east + 5 and turned.max() >= area.west - 5
    return bool(across and lat.min() <= area.north + 5 and lat.max() >= area.south - 5)
