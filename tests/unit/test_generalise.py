"""Whether generalisation keeps its stated order, depends on rounded vertices only, and gives valid CRS84 geometries."""

from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import crs
from providers.crs import CRS84, CRSError
from providers.generalise import generalise, hilbert, may_collapse, metric_crs, released_format
from providers.grant import Generalisation, GrantError

ZONE = "http://www.opengis.net/def/crs/EPSG/0/4547"
CGCS2000 = "http://www.opengis.net/def/crs/EPSG/0/4490"
X, Y = 500_000.0, 3_400_000.0
SNAP = Generalisation(snap=20)


def array(*shapes: Any) -> np.ndarray:
    return np.array([shapely.from_wkt(s) if isinstance(s, str) else s for s in shapes], dtype=object)


def here(wkt: str) -> Any:
    """A geometry in the zone, its coordinates in metres from a node of every grid that the tests use."""
    return shapely.transform(shapely.from_wkt(wkt), lambda xy: xy + np.array([X, Y]))


def back(shapes: np.ndarray) -> np.ndarray:
    """Released geometries in metres from that node, by PROJ's own way back; accurate to what 9 decimals hold."""
    proj = pyproj.Transformer.from_crs(CGCS2000, ZONE, always_xy=True)
    metres: np.ndarray = shapely.transform(
        shapes, lambda xy: np.round(np.column_stack(proj.transform(xy[:, 0], xy[:, 1])) - (X, Y), 3) + 0.0
    )
    return metres


def one(shape: Any, how: Generalisation, clip: Any = None) -> Any:
    """What becomes of one geometry, in metres."""
    released, keep = generalise(array(shape), how, ZONE, clip)
    if not keep[0]:
        return "gone"
    return back(released)[0]


def area(wkt: str) -> Any:
    """A clip area in CRS84 from metres."""
    return crs.stored_transformer(ZONE, CRS84).transform_geometry(here(wkt))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("POINT(9 11)", "POINT(0 20)"),
        ("POINT(-9.9 -10.1)", "POINT(0 -20)"),
        ("POINT(10 30)", "POINT(0 40)"),  # ties go to the even node
        ("LINESTRING(1 1,2 2,21 1,22 2,39 1)", "LINESTRING(0 0,20 0,40 0)"),
        ("POLYGON((1 1,41 1,42 2,42 39,2 38,1 1))", "POLYGON((0 0,40 0,40 40,0 40,0 0))"),
        # A hole that collapses is filled.
        ("POLYGON((0 0,100 0,100 100,0 100,0 0),(51 51,55 51,55 55,51 51))", "POLYGON((0 0,100 0,100 100,0 100,0 0))"),
        # A neck that closes leaves two areas, a spike leaves none.
        (
            "POLYGON((0 0,40 0,40 15,60 15,60 0,100 0,100 40,60 40,60 24,40 24,40 40,0 40,0 0))",
            "MULTIPOLYGON(((0 0,40 0,40 20,40 40,0 40,0 0)),((60 0,100 0,100 40,60 40,60 20,60 0)))",
        ),
        ("POLYGON((0 0,40 0,40 15,90 18,90 21,40 24,40 40,0 40,0 0))", "POLYGON((0 0,40 0,40 20,40 40,0 40,0 0))"),
        # A bow tie keeps both its sides.
        ("POLYGON((0 0,40 40,40 0,0 40,0 0))", "MULTIPOLYGON(((0 0,20 20,0 40,0 0)),((40 0,40 40,20 20,40 0)))"),
        ("MULTIPOINT((1 1),(2 2),(21 1))", "MULTIPOINT((0 0),(20 0))"),
        ("MULTIPOINT((1 1),(2 2))", "MULTIPOINT((0 0))"),
    ],
)
def test_snap(given_: str, expected: str) -> None:
    result = one(here(given_), SNAP)
    assert result.equals(shapely.from_wkt(expected))
    assert result.geom_type == shapely.from_wkt(expected).geom_type
    assert shapely.get_num_coordinates(result) == shapely.get_num_coordinates(shapely.from_wkt(expected))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("POLYGON((1 1,5 1,5 5,1 5,1 1))", "POINT(0 0)"),
        ("POLYGON((12 12,18 12,18 18,12 18,12 12))", "POINT(20 20)"),
        # A sliver collapses to a line: the node nearest to its middle, a tie to the even node.
        ("POLYGON((0 1,80 1,80 4,0 4,0 1))", "POINT(40 0)"),
        ("POLYGON((0 1,60 1,60 4,0 4,0 1))", "POINT(40 0)"),
        ("LINESTRING(1 1,5 5,3 2)", "POINT(0 0)"),
        ("MULTIPOLYGON(((1 1,5 1,5 5,1 1)),((2 5,6 5,6 8,2 5)))", "POINT(0 0)"),
        ("MULTIPOLYGON(((1 1,5 1,5 5,1 1)),((101 1,105 1,105 5,101 1)))", "MULTIPOINT((0 0),(100 0))"),
        # Parts that survive stay, alone.
        (
            "MULTIPOLYGON(((1 1,5 1,5 5,1 1)),((100 0,140 0,140 40,100 0)))",
            "MULTIPOLYGON(((100 0,140 0,140 40,100 0)))",
        ),
        ("MULTILINESTRING((1 1,5 1),(100 0,140 0))", "MULTILINESTRING((100 0,140 0))"),
    ],
)
def test_what_collapses(given_: str, expected: str) -> None:
    result = one(here(given_), SNAP)
    assert result.equals(shapely.from_wkt(expected))
    assert result.geom_type == shapely.from_wkt(expected).geom_type


def test_parts_that_come_to_overlap_are_merged() -> None:
    """An island that comes to lie across its bay's shore stays land: the two do not cancel each other."""
    shore = "(0 0,100 0,100 100,0 100,0 60,55 49.9,0 40,0 0)"
    result = one(here(f"MULTIPOLYGON(({shore}),((0 58,0 42,34 50.5,0 58)))"), SNAP)
    land = shapely.from_wkt("POLYGON((0 0,100 0,100 100,0 100,0 60,60 40,0 40,0 0))")
    island = shapely.from_wkt("POLYGON((0 60,0 40,40 60,0 60))")
    assert land.intersection(island).area > 100
    assert result.equals(land.union(island))


def test_the_highest_dimension_of_a_collection_stays() -> None:
    result = one(here("GEOMETRYCOLLECTION(POINT(1 1),POLYGON((0 0,40 0,40 40,0 0)))"), SNAP)
    assert result.equals(shapely.Polygon([(0, 0), (40, 0), (40, 40)]))


def test_order() -> None:
    """centroid → snap → simplify → clip: each sees what the one before has made."""
    square = here("POLYGON((0 0,50 0,50 50,0 50,0 0))")
    assert one(square, Generalisation(centroid=True)).equals(shapely.Point(25, 25))
    assert one(square, Generalisation(centroid=True, snap=20)).equals(shapely.Point(20, 20))
    assert one(square, Generalisation(centroid=True, snap=20), area("POLYGON((24 24,26 24,26 26,24 26,24 24))")) == "gone"
    # The vertex at 12 m becomes a spike of 20 m by the snap, which a simplification by 15 m keeps.
    bent = here("LINESTRING(0 0,100 12,200 0)")
    assert one(bent, Generalisation(simplify=15)).equals(shapely.from_wkt("LINESTRING(0 0,200 0)"))
    assert one(bent, Generalisation(simplify=15, snap=20)).equals(shapely.from_wkt("LINESTRING(0 0,100 20,200 0)"))
    # The clip cuts between the nodes.
    assert one(square, SNAP, area("POLYGON((-100 -100,25 -100,25 100,-100 100,-100 -100))")).bounds == (0, 0, 25, 40)


def test_clip() -> None:
    zone = area("POLYGON((0 0,100 0,100 100,0 100,0 0))")
    plain = Generalisation()
    assert one(here("POINT(50 50)"), plain, zone).equals(shapely.Point(50, 50))
    assert one(here("POINT(150 50)"), plain, zone) == "gone"
    inside = here("POLYGON((10 10,20 10,20 20,10 10))")
    assert one(inside, plain, zone).equals(shapely.Polygon([(10, 10), (20, 10), (20, 20)]))
    assert one(here("POLYGON((90 10,120 10,120 20,90 20,90 10))"), plain, zone).equals(shapely.box(90, 10, 100, 20))
    # What only touches is outside, also as one part of two.
    assert one(here("POLYGON((100 10,120 10,120 20,100 20,100 10))"), plain, zone) == "gone"
    both = one(here("MULTIPOLYGON(((90 10,120 10,120 20,90 10)),((100 40,120 40,120 60,100 40)))"), plain, zone)
    assert both.geom_type == "MultiPolygon"
    assert both.bounds == (90, 10, 100, pytest.approx(13.333, abs=0.01))
    assert one(here("LINESTRING(50 50,50 150)"), plain, zone).equals(shapely.LineString([(50, 50), (50, 100)]))
    cut_twice = one(here("LINESTRING(50 50,150 60,50 70)"), plain, zone)
    assert cut_twice.geom_type == "MultiLineString"
    assert one(None, plain, zone) == "gone"
    assert one(shapely.Polygon(), plain, zone) == "gone"
    # The point of what has collapsed is clipped as a point.
    small = here("POLYGON((85 85,87 85,87 87,85 85))")
    assert one(small, SNAP, zone).equals(shapely.Point(80, 80))
    assert one(small, SNAP, area("POLYGON((81 81,150 81,150 150,81 81))")) == "gone"


def test_a_clip_without_area_is_refused() -> None:
    for clip in (shapely.Point(114, 30), shapely.LineString([(114, 30), (115, 31)])):
        with pytest.raises(GrantError, match="clip"):
            generalise(array("POINT(500000 3400000)"), Generalisation(), ZONE, clip)


def test_none() -> None:
    shapes = array(here("POINT(50 50)"), here("POINT(150 50)"), None)
    released, keep = generalise(shapes, Generalisation(none=True), ZONE)
    assert list(released) == [None] * 3
    assert keep.all()
    zone = area("POLYGON((0 0,100 0,100 100,0 100,0 0))")
    released, keep = generalise(shapes, Generalisation(none=True), ZONE, zone)
    assert list(released) == [None] * 3
    assert list(keep) == [True, False, False]


def test_rows_without_geometry_stay() -> None:
    for how in (Generalisation(), SNAP, Generalisation(centroid=True), Generalisation(simplify=5)):
        released, keep = generalise(array(None, shapely.Polygon(), here("POINT(1 1)")), how, ZONE)
        assert keep.all()
        assert list(shapely.is_missing(released)) == [True, True, False]
        released, keep = generalise(array(), how, ZONE)
        assert len(released) == len(keep) == 0


def test_what_has_no_place_is_withheld() -> None:
    """A vertex that the projection cannot hold, or that is no number, gives no geometry, never an infinite one."""
    shapes = array("POINT(1e9 1e9)", "LINESTRING(5e5 3e6,1e9 1e9)", "POINT(5e5 3e6)", shapely.Point(np.inf, 3e6))
    for how in (Generalisation(), SNAP):
        released, keep = generalise(shapes, how, ZONE)
        assert keep.all()
        assert list(shapely.is_missing(released)) == [True, True, False, True]


def test_ungeneralised_geometries_are_only_rounded_and_oriented() -> None:
    given_ = array(
        "POINT Z (113.12345678949 30.1 812.123)",
        "POLYGON((113 30,113 31,114 31,114 30,113 30))",
        "LINESTRING(114 30,113 31)",
        "POINT(-0.0000000001 30)",
    )
    released, keep = generalise(given_, Generalisation(), CGCS2000)
    assert keep.all()
    assert released[0].wkt == "POINT Z (113.123456789 30.1 812.123)"
    assert shapely.to_wkt(released[1], trim=True) == "POLYGON ((113 30, 114 30, 114 31, 113 31, 113 30))"
    assert released[2].equals_exact(given_[2], 0)
    assert np.copysign(1, released[3].x) == 1


def test_generalised_geometries_have_no_heights_and_are_oriented() -> None:
    solid = here("POLYGON((0 0,0 40,40 40,40 0,0 0),(100 100,100 100,100 100,100 100))")
    released, _ = generalise(array(shapely.force_3d(solid, 812.5)), SNAP, ZONE)
    assert not released[0].has_z
    assert released[0].exterior.is_ccw


@pytest.mark.parametrize("how", [SNAP, Generalisation(snap=0.5, simplify=3), Generalisation(), Generalisation(simplify=9)])
def test_no_precision_sticks(how: Generalisation) -> None:
    """Overlays of two released neighbours are exact: their precision is the floating one."""
    clip = area("POLYGON((-500 -500,33 -500,33 500,-500 500,-500 -500))")
    shapes = shapely.set_precision(
        array(here("POLYGON((0 0,47 0,47 53,0 53,0 0))"), here("POLYGON((12 12,90 11,90 50,12 50,12 12))")), 0.5
    )
    released, _ = generalise(shapes, how, ZONE, clip)
    assert list(shapely.get_precision(released)) == [0, 0]
    assert released[0].intersection(released[1]).area > 0


# Vertices as (node, offset within the cell), so that a vertex can be moved without leaving its cell.
node = st.tuples(st.integers(-8, 8), st.integers(-8, 8))
offset = st.tuples(st.floats(-0.49, 0.49), st.floats(-0.49, 0.49))
ring = st.lists(node, min_size=3, max_size=9)
STEP = 20.0

HOWS = st.builds(Generalisation, snap=st.just(STEP), simplify=st.sampled_from([None, 15.0, 45.0]), crs=st.just("EPSG:4547"))
CLIP = area("POLYGON((-95 -75,77 -110,108 55,20 33,-40 101,-95 -75))")


@st.composite
def moved(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two geometries whose vertices lie in the same cells."""
    kind = draw(st.sampled_from(["POINT", "MULTIPOINT", "LINESTRING", "MULTILINESTRING", "POLYGON", "MULTIPOLYGON"]))
    rings = [draw(ring) for _ in range(draw(st.integers(1, 3)) if kind.startswith("MULTI") else 1)]
    single = kind.removeprefix("MULTI")
    both = []
    for _ in range(2):
        placed = [
            [((i + dx) * STEP + X, (j + dy) * STEP + Y) for (i, j), (dx, dy) in ((node, draw(offset)) for node in nodes)]
            for nodes in rings
        ]
        if single == "POINT":
            parts, join = shapely.points([points[0] for points in placed]), shapely.multipoints
        elif single == "LINESTRING":
            parts, join = array(*map(shapely.LineString, placed)), shapely.multilinestrings
        else:
            parts, join = array(*map(shapely.Polygon, placed)), shapely.multipolygons
        both.append(parts[0] if single == kind else join(parts))
    return both[0], both[1]


@settings(deadline=None, max_examples=300)
@given(moved(), HOWS, st.sampled_from([None, CLIP]))
def test_moving_a_vertex_within_its_cell_changes_nothing(pair: tuple[Any, Any], how: Generalisation, clip: Any) -> None:
    released, keep = generalise(array(*pair), how, ZONE, clip)
    assert keep[0] == keep[1]
    assert shapely.to_wkb(released[0]) == shapely.to_wkb(released[1])
    # The same through another storage CRS.
    stored = crs.stored_transformer(ZONE, CGCS2000).transform_geometry(array(*pair))
    through, kept = generalise(stored, how, CGCS2000, clip)
    assert [shapely.to_wkb(g) for g in through] == [shapely.to_wkb(g) for g in released]
    assert list(kept) == list(keep)


@settings(deadline=None, max_examples=200)
@given(moved(), HOWS, st.sampled_from([None, CLIP]))
def test_what_comes_out_is_valid_and_of_a_stated_type(pair: tuple[Any, Any], how: Generalisation, clip: Any) -> None:
    released, keep = generalise(array(pair[0]), how, ZONE, clip)
    shape = released[0]
    assert (shape is not None) == keep[0]
    if shape is None:
        return
    assert shape.is_valid
    assert not shape.is_empty
    coordinates = shapely.get_coordinates(shape)
    assert np.array_equal(coordinates, np.round(coordinates, 9))
    allowed = {
        "geometry-any": {"Point", "MultiPoint", pair[0].geom_type, "Multi" + pair[0].geom_type.removeprefix("Multi")},
        "geometry-point": {"Point"},
        "geometry-multipoint": {"MultiPoint"},
    }[released_format(how, pair[0].geom_type, clipped=clip is not None) or ""]
    assert shape.geom_type in allowed
    if "Point" in shape.geom_type and "Point" not in pair[0].geom_type:
        assert may_collapse(how, pair[0].geom_type)


@given(st.permutations([(0, 0), (1, 0), (3, 0), (4, 0)]), st.lists(offset, min_size=4, max_size=4))
def test_the_order_of_vertices_of_what_collapses_says_nothing(
    nodes: list[tuple[int, int]], offsets: list[tuple[float, float]]
) -> None:
    cells = [((i + dx) * STEP + X, (j + dy) * STEP + Y) for (i, j), (dx, dy) in zip(nodes, offsets, strict=True)]
    released, _ = generalise(array(shapely.Polygon(cells), shapely.Polygon(cells[::-1])), SNAP, ZONE)
    assert all(shape.equals(shapely.Point(40, 0)) for shape in back(released))


def test_metric_crs() -> None:
    assert metric_crs(Generalisation(snap=20), ZONE) == ZONE
    assert metric_crs(Generalisation(snap=20, crs="EPSG:4547"), CRS84) == ZONE
    assert metric_crs(Generalisation(centroid=True), CRS84) == CRS84
    assert metric_crs(Generalisation(), "EPSG:4547") == ZONE
    for how, storage in (
        (Generalisation(snap=20), CRS84),
        (Generalisation(simplify=20), CGCS2000),
        (Generalisation(snap=20, crs="EPSG:4490"), ZONE),
        (Generalisation(snap=20, crs="EPSG:3857"), ZONE),
        (Generalisation(centroid=True, crs="EPSG:4326"), ZONE),
        (Generalisation(snap=0), ZONE),
        (Generalisation(simplify=-1), ZONE),
        (Generalisation(snap=float("nan")), ZONE),
    ):
        with pytest.raises(GrantError):
            metric_crs(how, storage)
        with pytest.raises(GrantError):
            generalise(array("POINT(1 1)"), how, storage)
    with pytest.raises(CRSError):
        metric_crs(Generalisation(snap=20, crs="EPSG:1"), ZONE)


@pytest.mark.parametrize(
    ("how", "kind", "clipped", "expected"),
    [
        (Generalisation(), "POLYGON", False, "geometry-polygon"),
        (Generalisation(), "MULTIPOLYGON", False, "geometry-multipolygon"),
        (Generalisation(), "POLYGON", True, "geometry-polygon-or-multipolygon"),
        (Generalisation(), "LINESTRING", True, "geometry-linestring-or-multilinestring"),
        (Generalisation(simplify=5), "LINESTRING", False, "geometry-linestring"),
        (Generalisation(simplify=5), "Polygon", False, "geometry-polygon-or-multipolygon"),
        (SNAP, "POLYGON", False, "geometry-any"),
        (SNAP, "POINT", True, "geometry-point"),
        (Generalisation(centroid=True, snap=20), "MULTIPOLYGON", False, "geometry-point"),
        (Generalisation(none=True), "POLYGON", False, None),
        (Generalisation(), "GEOMETRY", False, "geometry-any"),
        (Generalisation(), "GEOMETRYCOLLECTION", False, "geometry-geometrycollection"),
        (SNAP, "GEOMETRYCOLLECTION", False, "geometry-any"),
    ],
)
def test_released_format(how: Generalisation, kind: str, clipped: bool, expected: str | None) -> None:
    assert released_format(how, kind, clipped=clipped) == expected


def test_hilbert_visits_every_cell_by_steps_to_a_neighbour() -> None:
    """On each level the curve is a path through all cells by unit steps, from one corner to the next."""
    for order in (1, 2, 3, 5):
        side = 1 << order
        cell = np.arange(side) + 0.5
        x, y = (grid.ravel() for grid in np.meshgrid(cell, cell))
        path = np.argsort(hilbert(x, y, (0, 0, side, side)))
        steps = np.abs(np.diff(x[path])) + np.abs(np.diff(y[path]))
        assert (steps == 1).all()
        ends = {(x[path[0]], y[path[0]]), (x[path[-1]], y[path[-1]])}
        assert ends == {(0.5, 0.5), (side - 0.5, 0.5)}
        assert len(set(hilbert(x, y, (0, 0, side, side)))) == side * side


@given(st.lists(st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True)), max_size=20))
def test_hilbert_of_any_points(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    place = hilbert(x, y, (-180, -90, 180, 90))
    finite = np.isfinite(x) & np.isfinite(y)
    assert place.dtype == np.int64
    assert ((place >= 0) & (place < 2**32))[finite].all()
    assert (place[~finite] == 2**32).all()
    assert (hilbert(x, y, (5, 5, 5, 5))[finite] == 0).all()
