"""Whether generalisation agrees with PostGIS: ST_SnapToGrid, ST_MakeValid, ST_SimplifyPreserveTopology, ST_Intersection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import shapely

from providers import crs
from providers.crs import CRS84
from providers.generalise import generalise
from providers.grant import Generalisation
from tests.needs import needs
from tests.postgis import postgis

needs(modules=("psycopg",))

ZONE = "EPSG:4547"
ORIGIN = np.array([500_000.0, 3_400_000.0])
STEP = 20.0
# What a coordinate loses on its way through CRS84 with 9 decimals, in metres.
LOSS = 2e-4

# The steps by PostGIS alone. A part is repaired by itself; a geometry without parts left is the points of their cells.
STEPS = """
WITH part AS (
    SELECT id, ST_Dimension(geom) AS dimension, (ST_Dump(geom)).geom AS part FROM given
), snapped AS (
    SELECT id, dimension, ST_SnapToGrid(ST_Points(part), %(step)s) AS nodes, ST_CollectionExtract(
        ST_MakeValid(ST_SnapToGrid(part, %(step)s)), dimension + 1) AS part
    FROM part
), kept AS (
    SELECT id, dimension,
        CASE WHEN dimension = 2 THEN ST_UnaryUnion(ST_Collect(part)) ELSE ST_Collect(part) END AS geom,
        ST_UnaryUnion(ST_Collect(ST_SnapToGrid(ST_Centroid(ST_Envelope(nodes)), %(step)s))) AS points
    FROM snapped GROUP BY id, dimension
), snapped_whole AS (
    SELECT id, CASE WHEN ST_IsEmpty(geom) OR geom IS NULL THEN points ELSE geom END AS geom FROM kept
), cut AS (
    SELECT id, ST_Dimension(geom) AS dimension, CASE WHEN %(clip)s::text IS NULL THEN geom
        ELSE ST_Intersection(geom, ST_Transform(ST_GeomFromText(%(clip)s, 4326), 4547)) END AS geom
    FROM snapped_whole
)
SELECT id, ST_AsBinary(ST_CollectionExtract(ST_Multi(geom), dimension + 1)) FROM cut ORDER BY id
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    import psycopg

    with postgis() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE given (id integer PRIMARY KEY, geom geometry(Geometry, 4547))")
        yield connection


def _shapes(kind: str) -> list[Any]:
    """300 geometries of 4 to 300 m around the origin: convex and not, self-crossing, with holes, in several parts."""
    random = np.random.default_rng(len(kind))
    made = []
    for _ in range(300):
        parts = []
        for _ in range(random.integers(1, 4) if kind.startswith("Multi") else 1):
            count, size = random.integers(3, 12), 10 ** random.uniform(0.6, 2.5)
            angle = np.sort(random.uniform(0, 2 * np.pi, count))
            if random.random() < 0.3:
                random.shuffle(angle)
            radius = size * random.uniform(0.2, 1, count)
            around = ORIGIN + random.uniform(-300, 300, 2)
            ring = around + np.column_stack((radius * np.cos(angle), radius * np.sin(angle)))
            hole = [around + (ring - around) * random.uniform(0.1, 0.5)] if random.random() < 0.2 else []
            parts.append(shapely.Polygon(ring, hole) if kind.endswith("Polygon") else shapely.LineString(ring))
        made.append(parts[0] if len(parts) == 1 else getattr(shapely, kind)(parts))
    return made


def _give(database: Any, shapes: list[Any]) -> None:
    database.execute("TRUNCATE given")
    with database.cursor() as cursor:
        rows = [(index, shapely.to_wkb(shape)) for index, shape in enumerate(shapes)]
        cursor.executemany("INSERT INTO given VALUES (%s, ST_GeomFromWKB(%s, 4547))", rows)


def _ask(database: Any, shapes: list[Any], clip: str | None = None) -> list[Any]:
    _give(database, shapes)
    return [shapely.from_wkb(row[1]) for row in database.execute(STEPS, {"step": STEP, "clip": clip})]


def _ours(shapes: list[Any], how: Generalisation, clip: Any = None) -> tuple[list[Any], np.ndarray]:
    released, keep = generalise(np.array(shapes, dtype=object), how, ZONE, clip)
    return list(crs.stored_transformer(CRS84, ZONE).transform_geometry(released)), keep


def _differ(ours: Any, theirs: Any) -> bool:
    if ours.is_empty or theirs.is_empty or shapely.get_dimensions(ours) != shapely.get_dimensions(theirs):
        return bool(ours.is_empty != theirs.is_empty)
    # ST_Equals but for the ninth decimal.
    apart = shapely.symmetric_difference(*shapely.make_valid([ours, theirs]))
    return bool(shapely.hausdorff_distance(ours, theirs) > LOSS or apart.area > LOSS * (1 + theirs.length))


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon", "LineString", "MultiLineString"])
def test_snap_and_repair(database: Any, kind: str) -> None:
    shapes = _shapes(kind)
    theirs = _ask(database, shapes)
    ours, keep = _ours(shapes, Generalisation(snap=STEP))
    assert keep.all()
    collapsed = sum(shapely.get_dimensions(shape) == 0 for shape in ours)
    assert 0 < collapsed < 200
    assert [i for i, pair in enumerate(zip(ours, theirs, strict=True)) if _differ(*pair)] == []


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon", "LineString"])
def test_snap_and_clip(database: Any, kind: str) -> None:
    shapes = _shapes(kind)
    outline = shapely.Polygon(ORIGIN + np.array([(-213, -187), (167, -239), (251, 43), (38, 17), (-61, 257)]))
    clip = crs.stored_transformer(ZONE, CRS84).transform_geometry(outline)
    theirs = _ask(database, shapes, shapely.to_wkt(clip, rounding_precision=17))
    ours, keep = _ours(shapes, Generalisation(snap=STEP), clip)
    assert 20 < keep.sum() < 290
    assert list(keep) == [not shape.is_empty for shape in theirs]
    kept = [(i, *pair) for i, pair in enumerate(zip(ours, theirs, strict=True)) if keep[i]]
    assert [i for i, mine, other in kept if _differ(mine, other)] == []


@pytest.mark.parametrize("kind", ["Polygon", "LineString"])
def test_simplify(database: Any, kind: str) -> None:
    """As PostGIS, but for the vertex at which a ring begins: GEOS removes it since 3.12, and before that never."""
    shapes = [shape for shape in _shapes(kind) if shape.is_valid]
    _give(database, shapes)
    asked = database.execute("SELECT ST_AsBinary(ST_SimplifyPreserveTopology(geom, 15)) FROM given ORDER BY id")
    theirs = [shapely.from_wkb(row[0]) for row in asked]
    ours, keep = _ours(shapes, Generalisation(simplify=15))
    assert keep.all()
    assert sum(map(shapely.get_num_coordinates, ours)) < 0.7 * sum(map(shapely.get_num_coordinates, shapes))
    pairs = list(zip(ours, theirs, strict=True))
    assert [i for i, (mine, other) in enumerate(pairs) if all(_differ(mine, form) for form in _begun_at_will(other))] == []
    assert sum(not _differ(mine, other) for mine, other in pairs) > 100


def _begun_at_will(shape: Any) -> list[Any]:
    """A polygon and what it is without the first vertex of one ring or another; a line as it is."""
    if shape.geom_type != "Polygon":
        return [shape]
    rings = [[ring.coords[:-1], ring.coords[1:-1]] for ring in (shape.exterior, *shape.interiors)]
    forms = itertools.product(*([form for form in ring if len(form) > 2] for ring in rings))
    return [shapely.Polygon(form[0], form[1:]) for form in forms]
