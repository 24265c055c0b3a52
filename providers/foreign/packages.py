"""How the layers of somebody's GeoPackage are read: straight from SQLite, so that no value is altered on the way.

GDAL makes 0 of a text in an integer column, nothing of a broken geometry, and polygons of curves; here they are faults.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import batched
from pathlib import Path
from typing import Any

import pyproj
import shapely

from providers.columns import Column, from_declared, quote
from providers.engines.blobs import PackageError, wkb
from providers.foreign.source import CHUNK, Chunk, Source, SourceError, each, epsg

_CURVED = {8: "CircularString", 9: "CompoundCurve", 10: "CurvePolygon", 11: "MultiCurve", 12: "MultiSurface"}
_SURFACES = {13: "Curve", 14: "Surface", 15: "PolyhedralSurface", 16: "TIN", 17: "Triangle"}


class PackageSource(Source):
    """One layer of a GeoPackage (OGC 12-128, any version). Rows come in the order of their row numbers."""

    def __init__(self, path: Path, layer: str | None) -> None:
        super().__init__()
        try:
            self._conn = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            # Bytes that are no UTF-8 become lone surrogates, which the column's reader finds.
            self._conn.text_factory = lambda text: text.decode(errors="surrogateescape")
            self._table = self._choose(layer)
            self._describe()
        except sqlite3.Error as err:
            raise SourceError(f"{path.name} cannot be read as a GeoPackage: {err}") from err
        self._done = 0

    def _choose(self, layer: str | None) -> str:
        sql = "SELECT table_name FROM gpkg_contents WHERE data_type IN ('features', 'attributes', 'aspatial') ORDER BY 1"
        return choose([row[0] for row in self._conn.execute(sql)], layer)

    def _describe(self) -> None:
        table = quote(self._table)
        found = self._conn.execute(
            "SELECT column_name, srs_id FROM gpkg_geometry_columns WHERE table_name = ?", (self._table,)
        ).fetchone()
        self._geometry = found[0] if found else None
        self.srs_id = self._srs(found[1]) if found else None
        self._columns: list[tuple[str, Column | None]] = []
        for _, name, declared, _, _, key in self._conn.execute(f"PRAGMA table_info({table})").fetchall():
            if name == self._geometry or (key and declared.upper() == "INTEGER"):
                continue
            if declared.upper().startswith("BLOB"):
                self.notes.append(f"column {name} is binary: left out")
                continue
            self._columns.append((name, from_declared(name, declared)))
        (self.total,) = self._conn.execute(f"SELECT count(*) FROM {table}").fetchone()

    def _srs(self, srs_id: int) -> int | None:
        if srs_id in (-1, 0):
            return None
        row = self._conn.execute(
            "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys WHERE srs_id = ?",
            (srs_id,),
        ).fetchone()
        if row is None:
            return None
        organization, code, definition = row
        if organization.upper() == "EPSG":
            return int(code)
        try:
            return epsg(pyproj.CRS.from_wkt(definition))
        except pyproj.exceptions.CRSError as err:
            raise SourceError(f"the file's CRS cannot be understood, give it by --crs EPSG:n: {err}") from err

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._columns]

    @property
    def columns(self) -> list[Column | None]:
        return [column for _, column in self._columns]

    def chunks(self) -> Iterator[Chunk]:
        listed = [quote(self._geometry) if self._geometry else "NULL", *map(quote, self.names)]
        rows = self._conn.execute(f"SELECT {', '.join(listed)} FROM {quote(self._table)}")
        try:
            for batch in batched(rows, CHUNK):
                faults: dict[int, str] = {}
                bodies = [_body(row[0], position, faults) for position, row in enumerate(batch)]
                geometries = each(shapely.from_wkb, bodies, faults)
                yield Chunk(self._done + 1, geometries, [row[1:] for row in batch], faults)
                self._done += len(batch)
        except sqlite3.Error as err:
            raise SourceError(f"the file breaks off after row {self._done}: {err}") from err

    def done(self) -> int:
        return self._done

    def close(self) -> None:
        self._conn.close()


def choose(layers: list[str], layer: str | None) -> str:
    """The layer that was asked for, or the only one. Raises SourceError naming those there are."""
    if layer in layers:
        return layer
    if not layers:
        raise SourceError("the file has no layer of features")
    if layer is None and len(layers) == 1:
        return layers[0]
    what = f"there is no layer {layer}" if layer else "the file has several layers"
    raise SourceError(f"{what}: choose one by --layer: {', '.join(layers)}")


def _body(blob: Any, position: int, faults: dict[int, str]) -> bytes | None:
    """The WKB of a row's geometry, None (and a fault) where it has none that we can hold."""
    if blob is None:
        return None
    try:
        body = wkb(blob if isinstance(blob, bytes) else b"")
    except PackageError:
        faults[position] = "geometry: not a GeoPackage geometry"
        return None
    kind = int.from_bytes(body[1:5], "little" if body[:1] == b"\1" else "big") % 1000
    if kind in _CURVED or kind in _SURFACES:
        faults[position] = f"geometry: {(_CURVED | _SURFACES)[kind]} is not supported, only points, lines and polygons"
        return None
    return body
