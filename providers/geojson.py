"""Rows as the finished GeoJSON text of features (RFC 7946)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import shapely

from providers.columns import Column
from providers.engines.layers import wkb

Geometries = np.ndarray[Any, np.dtype[np.object_]]


def geometries(blobs: Sequence[bytes | None]) -> Geometries:
    """Shapely geometries of GeoPackage or WKB blobs; None where there is none or an empty one."""
    plain = [None if blob is None else wkb(blob) if blob[:2] == b"GP" else blob for blob in blobs]
    found: Geometries = shapely.from_wkb(np.array(plain, dtype=object))
    found[shapely.is_empty(found)] = None
    return found


def values(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    """Properties by name: stored booleans are 0 and 1; JSON has no NaN and no infinity."""
    made = {}
    for column, value in zip(columns, row, strict=True):
        if value is not None:
            if column.type == "boolean":
                value = bool(value)
            elif isinstance(value, float) and not math.isfinite(value):
                value = None
        made[column.name] = value
    return made


def texts(keys: Iterable[Any], shapes: Geometries, properties: Iterable[dict[str, Any]]) -> list[bytes]:
    """One finished feature a row. Coordinates come out as they are, with the fewest digits that read back the same."""
    return [
        b'{"type":"Feature","id":%b,"geometry":%b,"properties":%b}'
        % (orjson.dumps(key), geometry.encode() if geometry else b"null", orjson.dumps(members))
        for key, geometry, members in zip(keys, shapely.to_geojson(shapes), properties, strict=True)
    ]
