"""What the rows of divisions and parcels are: geometry, area on the ellipsoid, and what the land register says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pyproj
import shapely

from data_samples import names
from data_samples.province import Province, relief
from data_samples.tables import GEOGRAPHIC, PROJECTED
from providers.engines.layers import blobs

CHUNK = 5_000  # parcels
TO_DEGREES = pyproj.Transformer.from_crs(f"EPSG:{PROJECTED}", "EPSG:4490", always_xy=True)
GEOD = pyproj.Geod(a=6_378_137.0, rf=298.257222101)  # CGCS2000

Row = tuple[Any, ...]

_STATUS = (("registered", 0.80), ("pending", 0.15), ("disputed", 0.05))
_FIRST_ENTRY = datetime(2009, 3, 2, tzinfo=UTC)
_ENTRIES = timedelta(days=15 * 365)

# Cumulative weights of land use, in the order of the standard's classes, by where a parcel lies.
_TOWN = np.cumsum([0.02, 0.02, 0.03, 0.02, 0.16, 0.12, 0.40, 0.10, 0.02, 0.06, 0.02, 0.03])
_PLAIN = np.cumsum([0.62, 0.10, 0.05, 0.02, 0.01, 0.02, 0.05, 0.01, 0.01, 0.02, 0.08, 0.01])
_HILLS = np.cumsum([0.28, 0.20, 0.34, 0.06, 0.00, 0.02, 0.03, 0.00, 0.01, 0.01, 0.03, 0.02])
_MOUNTAINS = np.cumsum([0.05, 0.05, 0.66, 0.14, 0.00, 0.01, 0.00, 0.00, 0.01, 0.00, 0.01, 0.07])


def division_rows(province: Province) -> Iterator[Row]:
    """Divisions in degrees (CRS84, nine decimals), from the nation down; neighbours and parents share their vertices.

    CGCS2000 and WGS 84 coincide within decimetres and are taken as one here.
    """
    for division in province.divisions:
        points = province.points(province.outline(division))
        degrees = np.column_stack(TO_DEGREES.transform(points[:, 0], points[:, 1])).round(9)
        (geometry,) = blobs([shapely.MultiPolygon([shapely.Polygon(degrees)])], GEOGRAPHIC)
        area = GEOD.polygon_area_perimeter(degrees[:, 0], degrees[:, 1])[0] / 1e6
        name = division.name
        yield geometry, division.code, division.level, name.zh, name.en, division.parent, round(area, 3)


def parcel_rows(province: Province, seed: int) -> Iterator[Row]:
    """Parcels in the order of their ids, neighbours mostly close to each other.

    `area_m2` is that of the polygon with geodesics between its vertices as sides (CGCS2000 ellipsoid), not densified.
    """
    random = Random(f"{seed} register")
    chance = np.random.default_rng([seed, 1])
    starts = np.searchsorted(province.county, np.arange(len(province.counties)))
    for start in range(0, len(province.county), CHUNK):
        stop = min(start + CHUNK, len(province.county))
        polygons = province.polygons(start, stop)
        areas = _ellipsoidal(province, start, stop)
        uses = _land_use(polygons, chance)
        statuses = chance.choice([s for s, _ in _STATUS], size=len(polygons), p=[p for _, p in _STATUS])
        for planted in province.planted:
            if start <= planted < stop:
                statuses[planted - start] = "registered"
        for i, geometry in enumerate(blobs(polygons, PROJECTED)):
            county = province.county[start + i]
            code = province.counties[county].code
            place = start + i - int(starts[county])
            use = uses[i]
            yield (
                geometry,
                f"{code}{place // 10_000 + 1:03d}{place % 10_000 // 1_000 + 1:03d}GB{place % 1_000 + 1:05d}",
                use,
                *names.LAND_USE[use],
                round(areas[i], 2),
                round(areas[i] / 10_000, 4),
                code,
                *_register(random, str(statuses[i]), province, county, place, start + i),
            )


def _register(random: Random, status: str, province: Province, county: int, place: int, number: int) -> Row:
    """Status, certificate, owner, identity number, time of the last entry."""
    entry = _FIRST_ENTRY + timedelta(milliseconds=random.randrange(_ENTRIES // timedelta(milliseconds=1)))
    birth = datetime(1935, 1, 1, tzinfo=UTC) + timedelta(days=random.randrange(25_000))
    division = province.counties[county]
    certificate = None
    if status == "registered":
        name = division.name.zh
        certificate = f"{names.PROVINCE.zh[0]}({entry.year}){name}不动产权第{place + 1:07d}号"
    elif status == "pending":
        certificate = f"PROV-{division.code}-{place + 1:06d}-{random.getrandbits(32):08X}"
    return (
        status,
        certificate,
        names.person(random),
        names.identity(number, f"{birth:%Y%m%d}", random),
        f"{entry:%Y-%m-%dT%H:%M:%S}.{entry.microsecond // 1000:03d}Z",
    )


def _ellipsoidal(province: Province, start: int, stop: int) -> list[float]:
    offsets = (province.offsets[start : stop + 1] - province.offsets[start]).tolist()
    points = province.points(province.corners[province.offsets[start] : province.offsets[stop]])
    lon, lat = TO_DEGREES.transform(points[:, 0], points[:, 1])
    return [GEOD.polygon_area_perimeter(lon[a:b], lat[a:b])[0] for a, b in pairwise(offsets)]


def _land_use(polygons: Any, chance: np.random.Generator) -> list[str]:
    """Classes of GB/T 21010 by place: built land where parcels are small, fields in the plain, woods in the hills."""
    x, y = shapely.get_coordinates(shapely.centroid(polygons)).T
    height = relief(x, y)
    where = [shapely.area(polygons) < 6_000, height < 0.33, height < 0.6]
    draw = chance.random(len(polygons))
    picks = [np.searchsorted(w / w[-1], draw, side="right") for w in (_TOWN, _PLAIN, _HILLS, _MOUNTAINS)]
    classes = list(names.LAND_USE)
    return [classes[k] for k in np.select(where, picks[:3], picks[3])]
