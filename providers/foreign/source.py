"""What a file made elsewhere gives: numbered rows in chunks, columns, a CRS, and what is wrong with which row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from providers.columns import Column

CHUNK = 2000


class SourceError(Exception):
    """A file cannot be read as a whole; the message says why and what to do."""


@dataclass(slots=True)
class Chunk:
    """Some rows in a row. `first` is the number of the first (from 1), `faults` maps a position to what is wrong there.

    `geometries` are shapely geometries (x = east, y = north) or None; `values` are in the order of the source's names
    so far, and may be fewer.
    """

    first: int
    geometries: NDArray[np.object_]
    values: Sequence[Sequence[Any]]
    faults: dict[int, str]


class Source(ABC):
    """A file that is open for reading.

    `columns` has None for a property whose type its values tell; `textual` says that these are text. Where a file is
    `open_ended`, properties become known as it is read, so names and columns are complete only after the last chunk.
    `srs_id` is the EPSG code of the file's CRS (4326 for CRS84), None where the file does not say. `total` and `done`
    measure the way through it, in rows or bytes (None: unknown).
    """

    total: int | None = None
    srs_id: int | None = None
    textual = False
    open_ended = False

    def __init__(self) -> None:
        self.notes: list[str] = []

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The properties as the file names them."""

    @property
    def columns(self) -> list[Column | None]:
        """Their types, as far as the file declares them."""
        return [None] * len(self.names)

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """All rows, in the order of the file. Raises SourceError where the file breaks off."""

    @abstractmethod
    def done(self) -> int:
        """How much of `total` has been read."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


def each(make: Callable[[Any], Any], bodies: Iterable[Any], faults: dict[int, str]) -> NDArray[np.object_]:
    """Geometries from their encodings (None stays None): all at once, or one by one to find the bad ones."""
    array = np.fromiter(bodies, dtype=object)
    try:
        return np.asarray(make(array), dtype=object)
    except (shapely.errors.GEOSException, NotImplementedError, TypeError):
        found = np.full(len(array), None, dtype=object)
        for position, body in enumerate(array):
            try:
                found[position] = make(body)
            except (shapely.errors.GEOSException, NotImplementedError, TypeError) as err:
                faults[position] = f"geometry: {' '.join(str(err).split())}"
        return found


def epsg(crs: pyproj.CRS) -> int:
    """The EPSG code of a CRS, whatever its axis order (stored coordinates are x = east). Raises SourceError."""
    if crs.is_bound and crs.source_crs:
        crs = crs.source_crs
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    if len(crs.axis_info) == 3:
        crs = crs.to_2d()
    if crs.to_authority() == ("OGC", "CRS84"):
        return 4326
    code = crs.to_epsg()
    if code is None and (likely := crs.to_epsg(min_confidence=20)):
        # WKT 1 often says nothing of axes, and means x = east: the candidate without its own axes must be the same.
        bare = pyproj.CRS.from_wkt(pyproj.CRS.from_epsg(likely).to_wkt("WKT1_GDAL"))
        code = likely if bare.equals(crs) else None
    if code is None:
        raise SourceError(f"the file's CRS ({crs.name}) is not one of the EPSG register: give it by --crs EPSG:n")
    return code
