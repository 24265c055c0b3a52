"""What each caller should see of the sample: counted and read in the source, by the words of the sample's policy."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Sight:
    """The rows, in SQL on the source, and the properties of a collection that a caller may have."""

    rows: str
    properties: tuple[str, ...]


_STAFF = ("parcel_id", "landuse", "area_m2", "area_ha", "division", "owner", "certificate", "status", "updated")

# By the name of a demonstration key; None has no key.
PARCELS: dict[str | None, Sight] = {
    None: Sight("status = 'registered'", ("parcel_id", "landuse", "area_ha", "division")),
    "shared": Sight("TRUE", ("parcel_id", "landuse", "area_m2", "division", "owner")),
    "internal-county": Sight("division = '510101'", _STAFF),
    "internal-province": Sight("TRUE", _STAFF),
}


class Source:
    """The sample's GeoPackage."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def count(self, table: str, rows: str = "TRUE") -> int:
        found: int = self._database.execute(f"SELECT count(*) FROM {table} WHERE {rows}").fetchone()[0]
        return found

    def rows(self, table: str, rows: str, *columns: str) -> list[tuple[Any, ...]]:
        return self._database.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {rows}").fetchall()

    def extent(self, table: str) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax in the table's CRS."""
        found = self._database.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = ?", (table,))
        extent: tuple[float, float, float, float] = found.fetchone()
        return extent

    def close(self) -> None:
        self._database.close()


def geometry(blob: bytes) -> BaseGeometry:
    """The geometry in a GeoPackage's binary (GeoPackage 1.3, clause 2.1.3): a header with an envelope, then WKB."""
    envelope = (0, 32, 48, 48, 64)[blob[3] >> 1 & 7]
    return shapely.from_wkb(blob[8 + envelope :])


def fetch(url: str, key: str | None = None) -> Any:
    """The JSON at an address, as plain HTTP gives it."""
    headers = {"Accept": "application/geo+json, application/json"} | ({"X-API-Key": key} if key else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return json.load(answer)


def crawl(url: str, key: str | None = None) -> list[dict[str, Any]]:
    """All features of an items address, page by page along `next`."""
    features: list[dict[str, Any]] = []
    following: str | None = url
    while following:
        page = fetch(following, key)
        features += page["features"]
        following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return features
