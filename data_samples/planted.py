"""Which secrets the sample data hold: values that must never come out where the policy withholds them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TypedDict

import numpy as np
import shapely

from data_samples.areas import TO_DEGREES
from data_samples.province import PLANTED, SNAP
from providers.engines.layers import wkb

_CHUNK = 5_000


class Canaries(TypedDict):
    """One value of each kind.

    `vertex` is easting and northing (m, EPSG:4547) of a corner that the registered `parcels` share, 9 m off the nearest
    node of a 20 m grid on both axes; `lonlat` is the same place in degrees.
    """

    identity: str
    certificate: str
    informant: str
    vertex: tuple[float, float]
    lonlat: tuple[float, float]
    parcels: tuple[str, ...]


def canaries(path: Path | str) -> Canaries:
    """Find the canaries in a generated GeoPackage. Raises LookupError when it holds none."""
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as conn:
        found: dict[tuple[float, float], list[str]] = {}
        rows = conn.execute("SELECT parcel_id, geom FROM parcels WHERE status = 'registered' ORDER BY parcel_id")
        while chunk := rows.fetchmany(_CHUNK):
            points, owner = shapely.get_coordinates(shapely.from_wkb([wkb(g) for _, g in chunk]), return_index=True)
            hits = np.flatnonzero((np.round(points % SNAP, 3) == PLANTED).all(axis=1))
            for i in hits:
                found.setdefault((float(points[i, 0]), float(points[i, 1])), []).append(chunk[owner[i]][0])
        if len(found) != 1:
            raise LookupError(f"{len(found)} planted vertices in {path}")
        ((vertex, parcels),) = found.items()
        identity = _one(conn, "SELECT identity FROM parcels WHERE parcel_id = ?", parcels[0])
        certificate = _one(
            conn,
            "SELECT certificate FROM parcels WHERE status = ? AND certificate NOT NULL ORDER BY parcel_id",
            "pending",
        )
        informant = _one(conn, "SELECT informant FROM landslides WHERE event_id > ? ORDER BY event_id", "")
    longitude, latitude = TO_DEGREES.transform(*vertex)
    return Canaries(
        identity=identity,
        certificate=certificate,
        informant=informant,
        vertex=vertex,
        lonlat=(longitude, latitude),
        parcels=tuple(sorted(set(parcels))),
    )


def _one(conn: sqlite3.Connection, sql: str, value: str) -> str:
    row = conn.execute(f"{sql} LIMIT 1", (value,)).fetchone()
    if row is None:
        raise LookupError(f"nothing found: {sql}")
    return str(row[0])
