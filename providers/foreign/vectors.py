"""How Shapefiles, FlatGeobuf, geodatabases and all else that GDAL reads is read, through fiona, losing nothing unsaid.

fiona brings a GDAL and a PROJ of its own: it is for the command line, never for a process that serves.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fiona
import fiona.errors
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from providers.columns import Column
from providers.foreign import dbf
from providers.foreign.packages import choose
from providers.foreign.source import CHUNK, Chunk, Source, SourceError, epsg

_TYPES = {
    "bool": Column("", "boolean"),
    "int": Column("", "integer"),
    "int16": Column("", "integer"),
    "int32": Column("", "integer"),
    "int64": Column("", "integer"),
    "float": Column("", "number"),
    "float32": Column("", "number"),
    "float64": Column("", "number"),
    "date": Column("", "string", "date"),
    "datetime": Column("", "string", "date-time"),
}
# fiona makes straight lines of curves without a word. Formats that may hold them are asked for the rows that do.
_MAY_CURVE = ("DXF", "DGN", "FlatGeobuf", "GML", "OpenFileGDB", "SQLite")
_CURVED = (
    "'CIRCULARSTRING', 'COMPOUNDCURVE', 'CURVEPOLYGON', 'MULTICURVE', 'MULTISURFACE', 'POLYHEDRALSURFACE', 'TIN', 'TRIANGLE'"
)


class VectorSource(Source):
    """One layer of a file that GDAL reads."""

    def __init__(self, path: Path, layer: str | None, encoding: str | None) -> None:
        super().__init__()
        self._heard = _Messages()
        self._row = 0
        self._skipped: list[str] = []
        if path.suffix.lower() == ".shp" and encoding is None:
            encoding, note = dbf.encoding(path)
            self.notes += [note] if note else []
        options = {"encoding": encoding} if encoding else {}
        with self._listening():
            try:
                layer = choose(fiona.listlayers(path), layer)
                self._file: Any = fiona.open(path, layer=layer, wkt_version="WKT2_2019", **options)
                self._columns = list(self._file.schema["properties"].items())
                total = len(self._file)
                self.total = total if total >= 0 else None
            except (fiona.errors.FionaError, UnicodeError, LookupError, TypeError) as err:
                raise SourceError(f"{path.name} cannot be read: {self._heard.text() or err}") from err
        try:
            self.srs_id = epsg(pyproj.CRS.from_wkt(self._file.crs_wkt)) if self._file.crs_wkt else None
        except pyproj.exceptions.CRSError as err:
            raise SourceError(f"the file's CRS cannot be understood, give it by --crs EPSG:n: {err}") from err
        for name, kind in self._columns:
            if kind == "bytes":
                self.notes.append(f"column {name} is binary: left out")
        self._columns = [(name, kind) for name, kind in self._columns if kind != "bytes"]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._columns]

    @property
    def columns(self) -> list[Column | None]:
        return [_TYPES.get(kind.split(":")[0], Column("", "string")) for _, kind in self._columns]

    def chunks(self) -> Iterator[Chunk]:
        with self._listening():
            curved = self._curves()
            rows = iter(self._file)
            names = self.names
            while True:
                features, faults = self._batch(rows, curved)
                if not features:
                    break
                values = [[f.properties.get(name) for name in names] if f else [] for f in features]
                yield Chunk(self._row - len(features) + 1, _shapes(features, faults), values, faults)

    def _batch(self, rows: Iterator[Any], curved: set[str]) -> tuple[list[Any], dict[int, str]]:
        """The next features, None for one that cannot be read, and what is wrong with which."""
        features: list[Any] = []
        faults: dict[int, str] = {}
        while len(features) < CHUNK:
            try:
                feature = next(rows)
            except StopIteration:
                break
            except (fiona.errors.FionaError, UnicodeError, ValueError) as err:
                feature = None
                faults[len(features)] = f"cannot be read: {err}"
            if said := self._heard.errors():
                faults.setdefault(len(features), said)
            if feature is not None and feature.id in curved:
                faults[len(features)] = "geometry: curves and surfaces are not supported, only points, lines and polygons"
            features.append(feature)
        self._row += len(features)
        self.notes += [f"GDAL says: {text}" for text in self._heard.warnings()]
        return features, faults

    def _curves(self) -> set[str]:
        """Ids of the features with curves."""
        if self._file.driver not in _MAY_CURVE:
            return set()
        try:
            return {feature.id for feature in self._file.filter(where=f"OGR_GEOMETRY IN ({_CURVED})")}
        except (fiona.errors.FionaError, ValueError):
            self.notes.append(f"{self._file.driver} does not tell of curves: if there are, they are made of short lines")
            return set()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Hear what GDAL says instead of printing it, and let its own PROJ find its own database."""
        logger = logging.getLogger("fiona")
        propagate, logger.propagate = logger.propagate, False
        logger.addHandler(self._heard)
        # A database of another PROJ, which the environment may point to, is one that this PROJ cannot read.
        bundled = (Path(fiona.__file__).parent / "proj_data").exists()
        elsewhere = {name: os.environ.pop(name) for name in _ELSEWHERE if bundled and name in os.environ}
        try:
            yield
        finally:
            os.environ.update(elsewhere)
            logger.removeHandler(self._heard)
            logger.propagate = propagate

    def done(self) -> int:
        return self._row

    def close(self) -> None:
        self._file.close()


_ELSEWHERE = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA")


class _Messages(logging.Handler):
    """What GDAL has said since last asked."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append((record.levelno, record.getMessage()))

    def text(self) -> str:
        return "; ".join(text for _, text in self._texts)

    def errors(self) -> str:
        return "; ".join(self._take(logging.ERROR, logging.CRITICAL))

    def warnings(self) -> list[str]:
        return list(dict.fromkeys(self._take(logging.WARNING, logging.WARNING)))

    def _take(self, low: int, high: int) -> list[str]:
        if not self._texts:
            return []
        taken = [text for level, text in self._texts if low <= level <= high]
        self._texts = [(level, text) for level, text in self._texts if not low <= level <= high]
        return taken


def _shapes(features: list[Any], faults: dict[int, str]) -> NDArray[np.object_]:
    found = np.full(len(features), None, dtype=object)
    for position, feature in enumerate(features):
        geometry = feature.geometry if feature is not None else None
        if geometry is not None:
            try:
                # By hand, for fiona's __geo_interface__ copies every coordinate once more.
                plain = geometry.type != "GeometryCollection"
                found[position] = shape({"type": geometry.type, "coordinates": geometry.coordinates} if plain else geometry)
            except (shapely.errors.ShapelyError, ValueError, TypeError, AttributeError) as err:
                faults.setdefault(position, f"geometry: {err}")
    return found
