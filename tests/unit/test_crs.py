"""Whether CRS names, axis order, transformations and bbox areas are what the EPSG registry and PROJ say."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj.enums import TransformDirection

from providers import crs
from providers.crs import CRS84, CRSError, bbox_polygons

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
ZONE = EPSG + "4547"
CGCS2000 = EPSG + "4490"


@lru_cache
def _proj(code: int, *, always_xy: bool = False) -> pyproj.Transformer:
    """PROJ's own operation from CRS84, which takes it a third of a second to find for some."""
    return pyproj.Transformer.from_crs("OGC:CRS84", f"EPSG:{code}", always_xy=always_xy)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("http://www.opengis.net/def/crs/EPSG/0/4547", ZONE),
        ("https://www.opengis.net/def/crs/EPSG/9.9.1/4547", ZONE),
        ("EPSG:4547", ZONE),
        ("[EPSG:4547]", ZONE),
        ("OGC:CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"),
        ("[OGC:CRS84]", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"),
        ("http://www.opengis.net/def/crs/OGC/0/CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"),
        ("http://www.opengis.net/def/crs/OGC/0/CRS84h", "http://www.opengis.net/def/crs/OGC/0/CRS84h"),
    ],
)
def test_names_of_one_crs_are_equal(name: str, canonical: str) -> None:
    assert crs.uri(name) == canonical
    assert crs.parse(name) == crs.parse(canonical)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "4547",
        "EPSG:",
        "EPSG:1",
        "EPSG:99999999",
        "EPSG:4547 ",
        "[EPSG:4547",
        "+proj=longlat",
        'GEOGCS["x"]',
        "/etc/passwd",
        "ESRI:54009",
        "http://example.org/def/crs/EPSG/0/4547",
        "http://www.opengis.net/def/crs/EPSG/0/4547/../4326",
        "EPSG:5773",  # a height
        "EPSG:4978",  # geocentric
        "EPSG:5800",  # engineering
        "EPSG:2221",  # Lambert conic (west orientated), which PROJ cannot compute
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(CRSError, match=r"expected|no transformation"):
        crs.transformer(CRS84, name)


@pytest.mark.parametrize("code", [4326, 4490, *range(4513, 4555)])
def test_chinese_crs_are_north_east(code: int) -> None:
    assert [axis.direction for axis in pyproj.CRS.from_epsg(code).axis_info[:2]] == ["north", "east"]
    assert crs.swaps(f"EPSG:{code}")


@pytest.mark.parametrize("code", [4326, 4490, 4547, 3857, 32650, 2193, 3031, 32661, 5041, 5042, 32761, 3035, 2046])
def test_swaps_is_what_proj_does(code: int) -> None:
    """PROJ's two orders differ exactly where `swaps` says so."""
    target = pyproj.CRS.from_epsg(code)
    area = target.area_of_use
    assert area is not None
    place = (area.west + area.east) / 2 + 0.3, (area.south + area.north) / 2 + 0.1
    declared = _proj(code).transform(*place)
    visual = _proj(code, always_xy=True).transform(*place)
    assert crs.swaps(f"EPSG:{code}") == (not np.allclose(declared, visual))
    assert np.allclose(crs.transformer(CRS84, f"EPSG:{code}").transform(np.array([place])), declared, rtol=0, atol=1e-9)
    assert np.allclose(crs.stored_transformer(CRS84, f"EPSG:{code}").transform(np.array([place])), visual, rtol=0, atol=1e-9)


def test_published_transverse_mercator() -> None:
    """The worked example of IOGP Guidance Note 7-2 (British National Grid): 50°30'N, 0°30'E."""
    easting, northing = crs.transformer("EPSG:4277", "EPSG:27700").transform(np.array([[50.5, 0.5]]))[0]
    assert easting == pytest.approx(577274.99, abs=0.01)
    assert northing == pytest.approx(69740.50, abs=0.01)


def test_cgcs2000_is_wgs84_as_proj_has_it() -> None:
    lonlat = np.array([[113.123456789012, 30.987654321098], [104.0, 28.5]])
    assert crs.stored_transformer(CGCS2000, CRS84).identity
    assert np.array_equal(crs.stored_transformer(CGCS2000, CRS84).transform(lonlat), lonlat)
    assert np.array_equal(crs.transformer(CGCS2000, CRS84).transform(lonlat[:, ::-1]), lonlat)
    for code in (4490, 4547):
        ours = crs.stored_transformer(CRS84, f"EPSG:{code}").transform(lonlat)
        theirs = np.column_stack(_proj(code, always_xy=True).transform(*lonlat.T))
        assert np.allclose(ours, theirs, rtol=0, atol=1e-9)


def test_metric() -> None:
    assert all(crs.is_metric(f"EPSG:{code}") for code in (4513, 4547, 32650, 3005, 3035, 2193, 3031))
    # Degrees, Mercator grids, feet.
    assert not any(crs.is_metric(f"EPSG:{code}") for code in (4326, 4490, 3857, 3395, 2272))
    assert crs.is_geographic(CGCS2000)
    assert not crs.is_geographic(ZONE)


def test_geometries_keep_shape_height_and_absence() -> None:
    move = crs.stored_transformer(CRS84, ZONE)
    square = shapely.box(113, 30, 114, 31)
    given = np.array([[square, None], [shapely.Point(114, 30, 812.5), shapely.Polygon()]], dtype=object)
    moved = move.transform_geometry(given)
    assert moved.shape == (2, 2)
    assert moved[0, 1] is None
    assert moved[1, 1].is_empty
    assert moved[1, 0].z == 812.5
    assert not moved[0, 0].has_z
    assert given[0, 0].equals(shapely.box(113, 30, 114, 31))
    assert move.transform_geometry(square).equals_exact(moved[0, 0], 0)
    assert move.transform_geometry(None) is None
    for wkt, z in (("POINT ZM (114 30 812.5 7)", 812.5), ("POINT M (114 30 7)", None)):
        point = move.transform_geometry(shapely.from_wkt(wkt))
        assert not shapely.has_m(point)
        assert (point.z if point.has_z else None) == z
        assert point.x == pytest.approx(500000)


def test_what_has_no_place_is_none() -> None:
    move = crs.stored_transformer(ZONE, CRS84)
    far, near = shapely.LineString([(5e5, 3e6), (1e9, 1e9)]), shapely.LineString([(5e5, 3e6), (5e5, 3.1e6)])
    moved = move.transform_geometry(np.array([far, near], dtype=object))
    assert moved[0] is None
    assert moved[1] is not None


def test_transformations_are_shared_by_threads() -> None:
    move = crs.stored_transformer(CRS84, ZONE)
    assert move is crs.stored_transformer("OGC:CRS84", "EPSG:4547")
    random = np.random.default_rng(7)
    inputs = [np.column_stack((random.uniform(110, 118, 500), random.uniform(22, 45, 500))) for _ in range(64)]
    alone = [move.transform(points) for points in inputs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(move.transform, inputs))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("bbox", "name", "fault"),
    [
        ([1, 2, 3], CRS84, "3 numbers"),
        ([1, 2, 3, 4, 5], CRS84, "5 numbers"),
        ([], CRS84, "0 numbers"),
        ([1, 2, float("nan"), 4], CRS84, "not finite"),
        ([1, 2, 3, 4, float("inf"), 5], CRS84, "not finite"),
        ([0, 10, 10, 0], CRS84, "above"),
        ([10, 0, 0, 10], EPSG + "4326", "above"),
        ([0, -91, 10, 0], CRS84, "latitude"),
        ([113, 30, 115, 32], EPSG + "4326", "latitude"),
        ([0, 10, 10, 0], ZONE, "above"),
        ([10, 0, 0, 10], ZONE, "above"),
        ([0, 0, 1, 1], "EPSG:1", "unknown"),
    ],
)
def test_faulty_boxes(bbox: list[float], name: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        bbox_polygons(bbox, name, CRS84)


def _bounds(areas: list[shapely.Geometry]) -> list[tuple[float, ...]]:
    return [area.bounds for area in areas]


def test_boxes_without_transformation_are_exact() -> None:
    assert _bounds(bbox_polygons([113.1, 30.2, 115.3, 32.4], CRS84, CRS84)) == [(113.1, 30.2, 115.3, 32.4)]
    assert _bounds(bbox_polygons([30.2, 113.1, 32.4, 115.3], CGCS2000, CRS84)) == [(113.1, 30.2, 115.3, 32.4)]
    assert _bounds(bbox_polygons([113.1, 30.2, -5, 115.3, 32.4, 900], CRS84, CGCS2000)) == [(113.1, 30.2, 115.3, 32.4)]
    assert _bounds(bbox_polygons([3.3e6, 4e5, 3.5e6, 6e5], ZONE, ZONE)) == [(4e5, 3.3e6, 6e5, 3.5e6)]
    assert all(shapely.get_num_coordinates(area) == 5 for area in bbox_polygons([1, 2, 3, 4], CRS84, CRS84))


def test_boxes_round_the_antimeridian() -> None:
    halves = [(170.0, -10.0, 180.0, 10.0), (-180.0, -10.0, -170.0, 10.0)]
    assert _bounds(bbox_polygons([170, -10, -170, 10], CRS84, CRS84)) == halves
    assert _bounds(bbox_polygons([-10, 170, 10, -170], CGCS2000, CRS84)) == halves
    assert _bounds(bbox_polygons([170, -10, 0, -170, 10, 9], CRS84, CRS84)) == halves
    # As maps that scroll send them.
    assert _bounds(bbox_polygons([170, -10, 190, 10], CRS84, CRS84)) == halves
    assert _bounds(bbox_polygons([-250, -10, 250, 10], CRS84, CRS84)) == [(-180.0, -10.0, 180.0, 10.0)]


@pytest.mark.parametrize("storage", [CRS84, ZONE])
def test_boxes_without_extent(storage: str) -> None:
    line, point = bbox_polygons([114, 30, 114, 31], CRS84, storage) + bbox_polygons([114, 30, 114, 30], CRS84, storage)
    (inside,) = bbox_polygons([113, 29, 115, 32], CRS84, storage)
    there = crs.stored_transformer(CRS84, storage).transform_geometry(shapely.Point(114, 30))
    assert line.geom_type == "LineString"
    assert point.intersects(there)
    assert line.distance(there) < 1e-6
    assert inside.contains(line)


@pytest.mark.parametrize("world", [[-180, -90, 180, 90], [-180, -90, -100, 180, 90, 9000], [-1000, -90, 1000, 90]])
@pytest.mark.parametrize("code", [4547, 32650, 3857, 3832, 32601, 2193, 3031, 3035])
def test_the_world_selects_everything(world: list[float], code: int) -> None:
    target = pyproj.CRS.from_epsg(code)
    area = target.area_of_use
    assert area is not None
    east = area.east + 360 * (area.east < area.west)
    lon, lat = np.meshgrid(np.linspace(area.west - 15, east + 15, 7), np.linspace(area.south, area.north, 7))
    x, y = _proj(code, always_xy=True).transform(lon.ravel(), lat.ravel())
    selected = shapely.union_all(bbox_polygons(world, CRS84, f"EPSG:{code}"))
    assert shapely.covers(selected, shapely.points(x, y)).all()


@pytest.mark.parametrize("plane", [1e7, 1e9, 1e300])
def test_a_boundless_projected_box_selects_the_province(plane: float) -> None:
    selected = shapely.union_all(bbox_polygons([-plane, -plane, plane, plane], ZONE, CRS84))
    assert selected.covers(shapely.box(90, 5, 140, 60))
    assert shapely.box(-180, -90, 180, 90).covers(selected)


def test_a_box_elsewhere_selects_nothing() -> None:
    assert bbox_polygons([-80, -40, -70, -30], CRS84, ZONE) == []
    assert bbox_polygons([1e8, 1e8, 2e8, 2e8], ZONE, CRS84) == []


def test_polar_boxes() -> None:
    """A square round the South Pole in the polar stereographic plane: all longitudes, as far as its corners."""
    (cap,) = bbox_polygons([-1e6, -1e6, 1e6, 1e6], EPSG + "3031", CRS84)
    corner = _proj(3031).transform(1e6, 1e6, direction=TransformDirection.INVERSE)[1]
    assert cap.bounds == pytest.approx((-180, -90, 180, corner))
    beside = shapely.union_all(bbox_polygons([-1e6, -2e6, 1e6, -1e6], EPSG + "3031", CRS84))
    assert beside.covers(shapely.Point(180, -75))
    assert beside.covers(shapely.Point(-179, -75))
    assert not beside.intersects(shapely.box(-130, -90, 130, 0))
    (disc,) = bbox_polygons([-180, -90, 180, -80], CRS84, EPSG + "3031")
    assert disc.contains(shapely.Point(0, 0))


number = st.floats(0, 1)


@settings(deadline=None)
@given(st.sampled_from([4547, 32650, 3857, 3832, 32601, 2193]), st.lists(number, min_size=4, max_size=4), st.data())
def test_geographic_boxes_select_what_proj_says(code: int, where: list[float], data: st.DataObject) -> None:
    """A projected point is selected exactly when PROJ puts it inside the box of longitudes and latitudes."""
    target = pyproj.CRS.from_epsg(code)
    area = target.area_of_use
    assert area is not None
    south, north = max(area.south, -80), min(area.north, 80)
    width = area.east - area.west + 360 * (area.east < area.west)
    west, east = sorted(area.west + width * share for share in where[:2])
    low, high = sorted(south + (north - south) * share for share in where[2:])
    assume(east - west > 1e-3 and high - low > 1e-3)
    areas = bbox_polygons([west, low, east if east <= 180 else east - 360, high], CRS84, f"EPSG:{code}")
    lon = west + (east - west) * data.draw(st.floats(-0.2, 1.2))
    lat = low + (high - low) * data.draw(st.floats(-0.2, 1.2))
    side = max(east - west, high - low)
    assume(min(abs(lon - west), abs(lon - east), abs(lat - low), abs(lat - high)) > 2e-4 * side)
    assume(area.west < lon < area.west + width and abs(lat) < 85)
    point = shapely.Point(_proj(code, always_xy=True).transform(lon, lat))
    assert any(shape.intersects(point) for shape in areas) == (west < lon < east and low < lat < high)


@settings(deadline=None)
@given(st.sampled_from([4547, 32650, 3857, 32601, 2193, 3031]), st.lists(number, min_size=4, max_size=4), st.data())
def test_projected_boxes_select_what_proj_says(code: int, where: list[float], data: st.DataObject) -> None:
    """A longitude and latitude is selected exactly when PROJ puts it inside the box in the projection's axis order."""
    target = pyproj.CRS.from_epsg(code)
    area = target.area_of_use
    assert area is not None
    proj = _proj(code)
    # The area's own extent in the plane, from PROJ, in declared axis order.
    first, second, first_end, second_end = proj.transform_bounds(area.west, max(area.south, -80), area.east, min(area.north, 80))
    a, a_end = sorted(first + (first_end - first) * share for share in where[:2])
    b, b_end = sorted(second + (second_end - second) * share for share in where[2:])
    side = max(a_end - a, b_end - b)
    assume(min(a_end - a, b_end - b) > side / 50 and side > 10)
    # Around the pole the answer is the surrounding box by design.
    pole = proj.transform(0, -90) if code == 3031 else (np.inf, np.inf)
    assume(not (a - side / 20 < pole[0] < a_end + side / 20 and b - side / 20 < pole[1] < b_end + side / 20))
    u = a + (a_end - a) * data.draw(st.floats(-0.2, 1.2))
    v = b + (b_end - b) * data.draw(st.floats(-0.2, 1.2))
    assume(min(abs(u - a), abs(u - a_end), abs(v - b), abs(v - b_end)) > 2e-4 * side)
    lon, lat = proj.transform(u, v, direction=TransformDirection.INVERSE)
    assume(np.isfinite([lon, lat]).all() and np.allclose(proj.transform(lon, lat), (u, v), atol=1e-3))
    areas = bbox_polygons([a, b, a_end, b_end], f"EPSG:{code}", CRS84)
    assert any(shape.intersects(shapely.Point(lon, lat)) for shape in areas) == (a < u < a_end and b < v < b_end)
