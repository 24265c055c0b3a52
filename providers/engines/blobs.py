"""How a geometry lies in a GeoPackage: the header of a blob, its envelope, and the WKB behind it.

Follows OGC 12-128r17 (GeoPackage 1.3), clause 2.1.3: coordinates are x = east, y = north, WKB is ISO WKB.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import shapely

Envelope = tuple[float, float, float, float]

_EMPTY = 0x10


class PackageError(Exception):
    """A file is no GeoPackage, or a layer cannot be written as asked."""


_HEADER = struct.Struct("<2sBBi")
_HEADER_XY = struct.Struct("<2sBBi4d")
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
_FOUR = {0: struct.Struct(">4d"), 1: struct.Struct("<4d")}
_POINT = {0: struct.Struct(">Idd"), 1: struct.Struct("<Idd")}


def blob(wkb: bytes, srs_id: int, envelope: Envelope | None, empty: bool = False) -> bytes:
    """GeoPackage binary: the header and ISO WKB.

    `envelope` is minx, maxx, miny, maxy in the units of the CRS; None for points, whose WKB tells it as fast.
    """
    if envelope is None or empty:
        return _HEADER.pack(b"GP", 0, 1 | (_EMPTY if empty else 0), srs_id) + wkb
    return _HEADER_XY.pack(b"GP", 0, 3, srs_id, *envelope) + wkb


def bodies(geometries: Any) -> Any:
    """ISO WKB of an array of shapely geometries, None for None. Heights are kept, measures (M) are dropped."""
    array = np.asarray(geometries, dtype=object)
    measured = shapely.has_m(array) & ~shapely.has_z(array)
    if measured.any():  # the WKB writer takes M for the third dimension where there is no Z
        array = np.where(measured, shapely.force_2d(array), array)
    return shapely.to_wkb(array, flavor="iso", byte_order=1, output_dimension=3)


def blobs(geometries: Any, srs_id: int) -> list[bytes | None]:
    """GeoPackage binaries of a sequence of shapely geometries; heights are kept, measures dropped, None stays None."""
    array = np.asarray(geometries, dtype=object)
    bounds = shapely.bounds(array)[:, (0, 2, 1, 3)].tolist()
    points = (shapely.get_type_id(array) == shapely.GeometryType.POINT).tolist()
    empties = shapely.is_empty(array).tolist()
    return [
        None if body is None else blob(body, srs_id, None if point else tuple(box), empty)
        for body, box, point, empty in zip(bodies(array).tolist(), bounds, points, empties, strict=True)
    ]


def wkb(blob: bytes) -> bytes:
    """The WKB in a GeoPackage binary. Raises PackageError when the header is not one."""
    return blob[_body(blob) :]


def envelope(blob: bytes | None) -> Envelope | None:
    """minx, maxx, miny, maxy of a GeoPackage binary, or None when it is null or empty."""
    if blob is None:
        return None
    start = _body(blob)
    flags = blob[3]
    if flags & _EMPTY:
        return None
    if start > 8:
        found: tuple[float, ...] = _FOUR[flags & 1].unpack_from(blob, 8)
    else:
        kind, x, y = _POINT[blob[8] & 1].unpack_from(blob, 9) if len(blob) >= 29 else (0, 0.0, 0.0)
        if kind & 0xFFFF in (1, 1001, 2001, 3001):
            found = (x, x, y, y)
        else:
            minx, miny, maxx, maxy = shapely.from_wkb(blob[8:]).bounds or (math.nan,) * 4
            found = (minx, maxx, miny, maxy)
    return None if math.isnan(found[0]) else found  # type: ignore[return-value]


def _body(blob: bytes) -> int:
    indicator = blob[3] >> 1 & 7 if len(blob) > 8 and blob[:2] == b"GP" else 7
    if indicator >= len(_ENVELOPE_BYTES):
        raise PackageError("not a GeoPackage geometry")
    return 8 + _ENVELOPE_BYTES[indicator]
