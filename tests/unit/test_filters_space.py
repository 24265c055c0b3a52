"""Do spatial functions and boxes select what GEOS says of each geometry, with an index or not, in any CRS?"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import crs, filters
from providers.columns import Column
from providers.filters import FilterError, Where
from tests.unit.test_filters import Table, table

FUNCTIONS = ("contains", "crosses", "disjoint", "equals", "intersects", "overlaps", "touches", "within")
# A grid of few nodes, so that shapes share edges and corners; far from the origin, where 32-bit floats are 4 m apart.
EAST, NORTH, STEP = 35_500_000.0, 3_400_000.0, 0.25
NODES = st.tuples(st.integers(0, 6), st.integers(0, 6))


def at(node: tuple[int, int]) -> tuple[float, float]:
    return EAST + node[0] * STEP, NORTH + node[1] * STEP


def _polygon(nodes: Sequence[tuple[int, int]]) -> shapely.Geometry:
    return shapely.convex_hull(shapely.multipoints([at(node) for node in nodes]))


POINTS = NODES.map(lambda node: shapely.Point(at(node)))
LINES = st.lists(NODES, min_size=2, max_size=4, unique=True).map(lambda nodes: shapely.LineString([at(n) for n in nodes]))
POLYGONS = st.lists(NODES, min_size=3, max_size=6, unique=True).map(_polygon).filter(lambda g: g.geom_type == "Polygon")
SIMPLE = st.one_of(POINTS, LINES, POLYGONS)
MULTIPLE = st.one_of(
    st.lists(POINTS, min_size=1, max_size=4).map(lambda g: shapely.union_all(g)),
    st.lists(POLYGONS, min_size=2, max_size=3).map(lambda g: shapely.union_all(g)),
    st.lists(LINES, min_size=2, max_size=3).map(shapely.MultiLineString),
)
SHAPES = st.lists(st.none() | SIMPLE | MULTIPLE, min_size=1, max_size=12)
BOXES = st.tuples(NODES, NODES).map(lambda pair: shapely.MultiPoint([at(node) for node in pair]).bounds)
STORED = "EPSG:4525"  # CGCS2000 zone 37, with the zone in its eastings


def filled(shapes: Sequence[Any], **options: Any) -> Table:
    return table([Column("i", "integer")], [(n,) for n in range(len(shapes))], shapes, crs=STORED, **options)


def expected(shapes: Sequence[Any], name: str, literal: shapely.Geometry) -> list[int]:
    return [n for n, shape in enumerate(shapes, 1) if shape is not None and getattr(shapely, name)(shape, literal)]


def swapped(shape: shapely.Geometry) -> str:
    """WKT with north first, as EPSG:4525 has it."""
    return str(shapely.to_wkt(shapely.transform(shape, lambda xy: xy[:, ::-1]), rounding_precision=-1))


@settings(max_examples=60, deadline=None)
@given(SHAPES, SIMPLE | MULTIPLE, st.booleans(), st.booleans())
def test_functions_are_those_of_geos(shapes: list[Any], literal: shapely.Geometry, rtree: bool, envelope: bool) -> None:
    made = filled(shapes, rtree=rtree, envelope=envelope)
    inverse = {"contains": "within", "within": "contains"}
    known = [n for n, shape in enumerate(shapes, 1) if shape is not None]
    for name in FUNCTIONS:
        found = expected(shapes, name, literal)
        assert made.find(f"S_{name}(geometry, {swapped(literal)})", crs=STORED) == found, name
        assert made.find(f"NOT S_{name}(geometry, {swapped(literal)})", crs=STORED) == [n for n in known if n not in found]
        mirrored = inverse.get(name, name)
        assert made.find(f"S_{mirrored}({swapped(literal)}, geometry)", crs=STORED) == found


@settings(max_examples=150, deadline=None)
@given(SHAPES, st.lists(BOXES, min_size=1, max_size=2), st.booleans(), st.booleans())
def test_boxes_select_what_intersects_them(shapes: list[Any], boxes: list[Any], rtree: bool, envelope: bool) -> None:
    made = filled(shapes, rtree=rtree, envelope=envelope)
    areas = [area for box in boxes for area in crs.bbox_polygons((box[1], box[0], box[3], box[2]), STORED, STORED)]
    found = sorted({n for area in areas for n in expected(shapes, "intersects", area)})
    assert made.ids(filters.bbox_where(made.queryables, areas)) == found
    if len(boxes) == 1:
        west, south, east, north = boxes[0]
        said = f"S_INTERSECTS(geometry, BBOX({south},{west},{north},{east}))"
        assert made.find(said, crs=STORED) == found
        assert made.find(f"NOT ({said})", crs=STORED) == [n for n, s in enumerate(shapes, 1) if s is not None and n not in found]


def without_geos(made: Table) -> Table:
    """The same table, in which a call of GEOS fails."""

    def called(*_: Any) -> None:
        raise AssertionError

    made.connection.create_function("tierra_intersects", 2, called)
    return made


def test_points_and_boxes_need_no_geos() -> None:
    rng = np.random.default_rng(20260131)
    xy = rng.uniform(-10, 10, (2000, 2)).round(2)
    shapes = [shapely.Point(p) for p in xy]
    made = without_geos(table([], [()] * len(shapes), shapes, envelope=True))
    for west, south, width, height in rng.uniform(-10, 10, (20, 4)).round(2):
        box = shapely.box(west, south, west + abs(width), south + abs(height))
        inside = (xy >= box.bounds[:2]).all(axis=1) & (xy <= box.bounds[2:]).all(axis=1)
        assert made.ids(filters.bbox_where(made.queryables, [box])) == (np.flatnonzero(inside) + 1).tolist()


def test_only_geometries_at_a_corner_need_geos() -> None:
    tiles = [shapely.box(x, y, x + 1, y + 1) for x in range(10) for y in range(10)]
    made = table([], [()] * 100, tiles, envelope=True)
    calls = []
    made.connection.create_function("tierra_intersects", 2, lambda *_: calls.append(1) or True)
    found = made.ids(filters.bbox_where(made.queryables, [shapely.box(2.5, 2.5, 7.5, 7.5)]))
    assert (len(found), len(calls)) == (36, 4)
    # an island on either side of the box: its envelope says nothing
    apart = [shapely.union_all([shapely.box(0, 4, 1, 5), shapely.box(9, 4, 10, 5)])]
    made = table([], [()], apart, envelope=True)
    assert made.ids(filters.bbox_where(made.queryables, [shapely.box(2.5, 2.5, 7.5, 7.5)])) == []


def packed(shape: shapely.Geometry | None, envelope: bool) -> bytes | None:
    """A GeoPackage binary (OGC 12-128r17, 2.1.3), little-endian, with an envelope or without."""
    if shape is None:
        return None
    west, south, east, north = shape.bounds
    flags = 1 | envelope << 1 | shape.is_empty << 4
    bounds = struct.pack("<4d", west, east, south, north) if envelope else b""
    return struct.pack("<2sBBi", b"GP", 0, flags, 4326) + bounds + bytes(shapely.to_wkb(shape))


def test_geopackage_binary() -> None:
    shapes = [shapely.Point(1, 1), shapely.box(0, 0, 3, 3), shapely.Point(), None]
    made = table([], [()] * 4, shapes)
    for number, shape in enumerate(shapes, 1):
        made.connection.execute("UPDATE t SET geom = ? WHERE rid = ?", (packed(shape, number % 2 == 0), number))
    assert made.find("S_INTERSECTS(geometry, POINT(1 1))") == [1, 2]
    assert made.find("NOT S_INTERSECTS(geometry, POINT(1 1))") == [3]
    assert made.find("S_DISJOINT(geometry, POINT(2 2))") == [1, 3]
    assert made.find("S_INTERSECTS(geometry, geometry)") == [1, 2]


@pytest.mark.parametrize("rtree", [True, False])
def test_no_area_selects_nothing(rtree: bool) -> None:
    made = table([], [()] * 2, [shapely.Point(1, 1), None], rtree=rtree)
    where = filters.bbox_where(made.queryables, [])
    assert made.ids(where) == made.ids(Where(f"NOT {where.sql}", where.params, where.columns))[1:] == []


def test_an_invalid_geometry_stops_no_query() -> None:
    bowtie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    made = table([], [()] * 2, [bowtie, shapely.box(5, 5, 6, 6)])
    for name in FUNCTIONS:
        said = f"S_{name}(geometry, POLYGON((0 0,2 0,2 2,0 2,0 0)))"
        assert sorted(made.find(said) + made.find(f"NOT {said}")) == [1, 2]


@pytest.mark.parametrize(
    "geometry",
    [
        "POLYGON((0 0,1 0))",
        "POLYGON((0 0,1 0,1 1,0 1))",
        "POLYGON((0 0,1 1,1 0,0 1,0 0))",
        "LINESTRING(0 0)",
        "POINT(0)",
        "LINESTRING(0 0,1 1 1)",
        "LINESTRING(0 0 0,1 1)",
        "POINT(1-1)",
        "POINT(1 2 3 4 5)",
        "POINT(1e400 0)",
        "POINT EMPTY",
        "BBOX(0,0,1)",
        "BBOX(0,5,1,4)",
        "BBOX(0,0,1,100)",
        "POINT(1,1)",
        "CIRCLE(1 1)",
        "i",
        "'POINT(1 1)'",
    ],
)
def test_no_geometry(geometry: str) -> None:
    made = table([Column("i", "integer")], [(1,)], [shapely.Point(0, 0)])
    with pytest.raises(FilterError):
        made.find(f"S_INTERSECTS(geometry, {geometry})")


# --- CRS ---


def test_antimeridian() -> None:
    longitudes = [-180, -179, -170, -169, 0, 169, 170, 179, 180]
    made = table([], [()] * 9, [shapely.Point(lon, 0) for lon in longitudes])
    assert made.find("S_INTERSECTS(geometry, BBOX(170,-10,-170,10))") == [1, 2, 3, 7, 8, 9]
    assert made.find("S_DISJOINT(geometry, BBOX(170,-10,-170,10))") == [4, 5, 6]
    # the points at 180 lie on an edge of one of the two boxes, the one at -170 on the edge of the whole
    assert made.find("S_WITHIN(geometry, BBOX(165,-10,-170,10))") == [2, 6, 7, 8]
    assert made.find("S_INTERSECTS(geometry, BBOX(-10,170,10,-170))", crs="EPSG:4326") == [1, 2, 3, 7, 8, 9]
    assert made.find("S_INTERSECTS(geometry, BBOX(170,-10,5,-170,10,5))") == [1, 2, 3, 7, 8, 9]


def test_axis_order_of_literals() -> None:
    made = table([], [()] * 2, [shapely.Point(104, 30), shapely.Point(30, 80)])
    assert made.find("S_INTERSECTS(geometry, POINT(104 30))") == [1]
    for name in ("EPSG:4326", "http://www.opengis.net/def/crs/EPSG/0/4326", "EPSG:4490"):
        assert made.find("S_INTERSECTS(geometry, POINT(30 104))", crs=name) == [1]
    for unknown in ("EPSG:1", "", "x"):
        for text in ("S_INTERSECTS(geometry, POINT(30 104))", "geometry IS NULL"):
            with pytest.raises(FilterError, match="unknown coordinate reference system"):
                made.find(text, crs=unknown)


def test_literals_go_into_the_stored_crs() -> None:
    """Points in a CGCS2000 zone against areas in degrees: PROJ takes each point into degrees, GEOS compares there."""
    rng = np.random.default_rng(7)
    degrees = np.column_stack([rng.uniform(100, 106, 500), rng.uniform(27, 33, 500)])
    xy = np.column_stack(pyproj.Transformer.from_crs("EPSG:4490", "EPSG:4544", always_xy=True).transform(*degrees.T))
    made = table([], [()] * 500, [shapely.Point(p) for p in xy], crs="EPSG:4544")
    points = shapely.points(degrees)
    for area in (
        shapely.box(102, 28, 105, 32),
        shapely.Polygon([(101, 28), (105, 27.5), (105.5, 32), (102, 31)]),
        shapely.box(-180, -90, 180, 90),
        shapely.box(60, -10, 150, 60),
        shapely.MultiPolygon([shapely.box(101, 28, 102, 32), shapely.box(104, 28, 105, 32), shapely.box(-10, 0, 0, 10)]),
    ):
        near = shapely.distance(area.boundary, points) < 1e-3  # an edge is followed in pieces
        inside = set((np.flatnonzero(shapely.intersects(area, points) & ~near) + 1).tolist())
        outside = set((np.flatnonzero(~shapely.intersects(area, points) & ~near) + 1).tolist())
        found = set(made.find(f"S_INTERSECTS(geometry, {area.wkt})"))
        assert inside <= found and not outside & found
        denied = set(made.find(f"S_DISJOINT(geometry, {area.wkt})"))
        assert found | denied == set(range(1, 501)) and not found & denied
    for nowhere in ("POINT(-70 10)", "MULTIPOINT((-70 10),(-75 0))", "POLYGON((-80 0,-70 0,-70 10,-80 0))"):
        assert made.find(f"S_INTERSECTS(geometry, {nowhere})") == []
        assert len(made.find(f"S_DISJOINT(geometry, {nowhere})")) == 500
    assert made.find("S_EQUALS(geometry, MULTIPOINT((-70 10),(102 30)))") == []


def test_literals_in_a_projection_against_degrees() -> None:
    made = table([], [()] * 3, [shapely.Point(102, 30), shapely.Point(103, 30), shapely.Point(-60, 10)])
    x, y = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(102.5, 30)
    area = shapely.box(x - 80_000, y - 80_000, x, y + 80_000)
    assert made.find(f"S_INTERSECTS(geometry, {area.wkt})", crs="EPSG:3857") == [1]
    north, east = pyproj.Transformer.from_crs("EPSG:4490", "EPSG:4544").transform(30, 102)
    assert made.find(f"S_WITHIN(geometry, BBOX({north - 10},{east - 10},{north + 10},{east + 10}))", crs="EPSG:4544") == [1]


def test_the_rtree_leads() -> None:
    made = table([Column("i", "integer")], [(1,)], [shapely.Point(1, 1)])
    for text in ("S_INTERSECTS(geometry, BBOX(0,0,2,2))", "i > 0 AND S_WITHIN(geometry, POLYGON((0 0,2 0,2 2,0 0)))"):
        plan = made.plan(filters.compile(filters.parse(text), made.queryables))
        assert "SEARCH t USING INTEGER PRIMARY KEY" in plan and "SCAN r VIRTUAL TABLE" in plan


SPANS = st.tuples(st.integers(-179, 178), st.integers(-89, 88), st.integers(1, 179), st.integers(1, 89))


@given(
    st.lists(
        SPANS.map(lambda s: (float(s[0]), float(s[1]), min(s[0] + s[2], 180.0), min(s[1] + s[3], 90.0))), min_size=1, max_size=2
    )
)
def test_boxes_by_their_bounds_are_those_of_their_polygons(bounds: list[tuple[float, float, float, float]]) -> None:
    queryables = filled([], rtree=True, envelope=True).queryables
    quick, slow = filters.boxes_where(queryables, bounds), filters.bbox_where(queryables, [shapely.box(*box) for box in bounds])
    assert quick.sql == slow.sql and quick.columns == slow.columns and len(quick.params) == len(slow.params)
    for one, other in zip(quick.params, slow.params, strict=True):
        assert one == other or shapely.equals(shapely.from_wkb(one), shapely.from_wkb(other))


@given(SPANS)
def test_bounds_of_a_bbox_are_those_of_its_polygons(span: tuple[int, int, int, int]) -> None:
    west, south, width, height = span
    bbox = [west, south, (west + width + 180) % 360 - 180, min(south + height, 90)]
    found = crs.bbox_bounds(bbox, crs.CRS84, crs.CRS84)
    if found is None:
        assert bbox[0] == bbox[2] or 180 in (bbox[0], bbox[2]) or -180 in (bbox[0], bbox[2])
    else:
        assert [shapely.box(*box).bounds for box in found] == [p.bounds for p in crs.bbox_polygons(bbox, crs.CRS84, crs.CRS84)]
    assert crs.bbox_bounds(bbox, crs.CRS84, "EPSG:4547") is None
