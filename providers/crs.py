"""Which coordinate reference system a name means, in which order its axes come, and how coordinates pass between two.

This module alone knows axis order. *Wire* order is the order that the CRS declares, as clients send and receive it:
(north, east) for EPSG:4326, 4490 and the CGCS2000 zones 4513–4554, (east, north) for CRS84 and EPSG:3857. *Stored*
order is always (east, north), as GeoPackage, COG and editions hold it.

PROJ knows no operation between CGCS2000 (EPSG:4490) and WGS 84 (EPSG:4326, CRS84), which agree within a metre, and
takes a ballpark one, `+proj=noop`: coordinates stay as they are, digit for digit. So does this module, without the
third of a second that PROJ searches before it says so. From a CGCS2000 zone to CRS84 is the inverse projection alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

_DEF = "http://www.opengis.net/def/crs"
CRS84 = f"{_DEF}/OGC/1.3/CRS84"
CRS84H = f"{_DEF}/OGC/0/CRS84h"

_URI = re.compile(r"https?://www\.opengis\.net/def/crs/(EPSG|OGC)/[0-9][0-9.]*/([A-Za-z0-9]{1,16})")
_CURIE = re.compile(r"(EPSG|OGC):([A-Za-z0-9]{1,16})")

# How far data may lie beyond the area that the registry gives to a projection: degrees.
_BEYOND = 30.0
# How much longer or shorter than on the ground a metre may be within the area of use. Mercator grids are far from it.
_STRETCH = 1.25
_SEGMENTS = 128
# Geodetic systems between which nothing is changed, by their names in the registry.
_SAME = {"WGS 84", "WGS 84 (CRS84)", "WGS 84 longitude-latitude-height", "China Geodetic Coordinate System 2000"}
_GROUND = pyproj.Geod(ellps="GRS80")
_PLANE = shapely.box(-1e9, -1e9, 1e9, 1e9)
_WORLD = shapely.box(-180, -90, 180, 90)


class CRSError(ValueError):
    """A coordinate reference system that is not known, or that is none for maps; the message is fit for a client."""


def parse(name: str) -> pyproj.CRS:
    """The CRS behind a URI (`…/def/crs/EPSG/0/4547`), a CURIE (`EPSG:4547`) or a safe CURIE (`[OGC:CRS84]`).

    Only EPSG and OGC names are read, never a PROJ string, WKT or a file. Raises CRSError for what is unknown and for
    what is no map's (vertical, geocentric and engineering systems). Source: OGC API - Features Part 2, clause 6.2.
    """
    return _named(*_identifier(name))


def uri(name: str) -> str:
    """The canonical URI of a CRS: the form in which two names of the same CRS are equal. Raises CRSError."""
    authority, code = _identifier(name)
    _named(authority, code)
    version = "1.3" if authority == "OGC" and not code.endswith("h") else "0"
    return f"{_DEF}/{authority}/{version}/{code}"


def _identifier(name: str) -> tuple[str, str]:
    curie = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    found = _CURIE.fullmatch(curie) or _URI.fullmatch(name)
    if not found:
        raise CRSError(_unknown(name))
    authority, code = found.groups()
    return authority, str(int(code)) if code.isdigit() else code


def _unknown(name: str) -> str:
    return f"unknown coordinate reference system {name[:80]!r}: expected a URI such as {CRS84} or {_DEF}/EPSG/0/4547"


@lru_cache(maxsize=256)
def _named(authority: str, code: str) -> pyproj.CRS:
    try:
        crs = pyproj.CRS.from_authority(authority, code)
    except pyproj.exceptions.CRSError as err:
        raise CRSError(_unknown(f"{authority}:{code}")) from err
    if not (crs.is_geographic or crs.is_projected) or len(crs.axis_info) < 2:
        raise CRSError(f"{authority}:{code} ({crs.name}) is not for maps: expected a geographic or projected CRS")
    return crs


def is_geographic(name: str) -> bool:
    """Whether coordinates are longitudes and latitudes. Raises CRSError."""
    return bool(parse(name).is_geographic)


def is_metric(name: str) -> bool:
    """Whether a length in coordinates is a length on the ground in metres, within a quarter, over the area of use.

    So UTM, CGCS2000 zones, Albers and Lambert grids are metric; Web Mercator, whose axes say metre too, is not: 20 of
    its units are 10 m at 60° north. Raises CRSError.
    """
    return _is_metric(uri(name))


@lru_cache(maxsize=256)
def _is_metric(name: str) -> bool:
    crs = parse(name)
    if not crs.is_projected or any(axis.unit_conversion_factor != 1 for axis in crs.axis_info[:2]):
        return False
    west, south, east, north = _area(crs)
    # Steps of a hundred metres to the north and to the east from 25 points, on the ground and in coordinates.
    grid = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5))
    lon, lat = (np.repeat(side.ravel(), 2) for side in grid)
    ahead_lon, ahead_lat, _ = _GROUND.fwd(lon, lat, np.tile([0.0, 90.0], 25), np.full(50, 100.0))
    project = stored_transformer(CRS84, name).transform
    steps = project(np.column_stack((ahead_lon, ahead_lat))) - project(np.column_stack((lon, lat)))
    scales = np.hypot(steps[:, 0], steps[:, 1]) / 100
    return bool(np.all((scales < _STRETCH) & (scales > 1 / _STRETCH)))


def swaps(name: str) -> bool:
    """Whether wire coordinates are (y, x) of the stored (x, y): the CRS declares north before east. Raises CRSError."""
    first, second = parse(name).axis_info[:2]
    if (first.direction, second.direction) == ("north", "east"):
        return True
    # Polar grids, whose axes both point north or both south, tell them apart by name (EPSG:32661 against EPSG:5041).
    return first.direction == second.direction and first.name.lower().startswith("northing")


class Transformation:
    """Coordinates of one CRS as coordinates of another.

    `wire` says whether both sides are in wire order or in stored order. Safe to share between threads: pyproj's
    Transformer keeps a PROJ object for each thread. `identity` says that the numbers come out as they go in; a wire
    transformation may still exchange x and y then. Heights pass through unaltered, measures (M) are dropped. Raises
    CRSError for an unknown CRS, or where PROJ knows no way between the two.
    """

    def __init__(self, source: str, target: str, *, wire: bool) -> None:
        self.source, self.target = uri(source), uri(target)
        try:
            self._steps = _steps(parse(source), parse(target))
        except pyproj.exceptions.ProjError as err:
            raise CRSError(f"no transformation from {self.source} to {self.target}") from err
        self.identity = not self._steps
        self._before = wire and swaps(source)
        self._after = wire and swaps(target)

    def transform(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform an (n, 2) array of coordinates; a row that has no place in the target is infinite."""
        x, y = (xy[:, 1], xy[:, 0]) if self._before else (xy[:, 0], xy[:, 1])
        for step in self._steps:
            x, y = step.transform(x, y)
        return np.column_stack((y, x) if self._after else (x, y))

    def transform_geometry(self, geometry: Any) -> Any:
        """Transform a shapely geometry, or an array of them of any shape. None stays None.

        A geometry of which a vertex has no place in the target (or is no finite number) becomes None.
        """
        given = np.asarray(geometry, dtype=object)
        shapes = given.reshape(-1).copy()
        measured = shapely.has_m(shapes)
        if measured.any():
            shapes[measured] = shapely.from_wkb(shapely.to_wkb(_without_measures(shapes[measured]), output_dimension=3))
        solid = shapely.has_z(shapes)
        shapes[~solid] = shapely.transform(shapes[~solid], self.transform)
        if solid.any():
            shapes[solid] = shapely.transform(shapes[solid], self._transform_3d, include_z=True)
        xy, index = shapely.get_coordinates(shapes, return_index=True)
        shapes[index[~np.isfinite(xy).all(axis=1)]] = None
        return shapes.reshape(given.shape) if given.ndim else shapes[0]

    def _transform_3d(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack((self.transform(xyz[:, :2]), xyz[:, 2]))


def _steps(source: pyproj.CRS, target: pyproj.CRS) -> list[pyproj.Transformer]:
    """PROJ's operations from one CRS to the other in stored order, none where coordinates stay as they are."""
    if source == target:
        return []
    legs = [(source, target)]
    start, end = source.geodetic_crs, target.geodetic_crs
    if start and end and {start.name, end.name} <= _SAME:
        legs = [(source, start), (end, target)]
    operations = [pyproj.Transformer.from_crs(*leg, always_xy=True) for leg in legs if leg[0] != leg[1]]
    return [operation for operation in operations if "proj=noop" not in operation.definition]


def _without_measures(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    # The WKB writer drops M when asked for three dimensions, except where M is the third.
    return np.where(shapely.has_z(shapes), shapes, shapely.force_2d(shapes))


def transformer(source: str, target: str) -> Transformation:
    """The transformation between two CRSs in wire order on both sides. Cached. Raises CRSError."""
    return _transformation(uri(source), uri(target), True)


def stored_transformer(source: str, target: str) -> Transformation:
    """The transformation between two CRSs in stored (east, north) order on both sides. Cached. Raises CRSError."""
    return _transformation(uri(source), uri(target), False)


@lru_cache(maxsize=256)
def _transformation(source: str, target: str, wire: bool) -> Transformation:
    return Transformation(source, target, wire=wire)


def bbox_polygons(bbox: Sequence[float], bbox_crs: str, storage_crs: str) -> list[shapely.Geometry]:
    """The areas in stored coordinates of `storage_crs` that a `bbox` parameter selects: none, one or several.

    `bbox` has 4 numbers (minimum of both axes, then maximum) or 6 (with heights, which are ignored), in the axis order
    of `bbox_crs`. A geographic box whose western longitude is the greater crosses the antimeridian and gives two.
    Longitudes beyond ±180 are taken round the globe, as maps that scroll send them. A box without width or height is
    the line or the point that it is.

    Where no transformation is needed the boxes are exact and axis-aligned. Else their edges are followed with 128
    points along the longer side, so that they lie within 1e-5 of its length of the true curve. What lies more than 30°
    beyond the area of use of a projection is cut off first, as it has no sensible coordinates there; a box that covers
    all that can be stored in a projection selects its whole plane. A projected box that holds a pole gives all
    longitudes from its farthest corner on.

    Raises CRSError for an unknown CRS, ValueError for other faults. Source: OGC API - Features Part 1, 7.15.3; Part 2,
    6.3.
    """
    move = stored_transformer(bbox_crs, storage_crs)
    boxes: list[shapely.Geometry] = [_box(*bounds) for bounds in _bounds(bbox, bbox_crs)]
    if move.identity:
        return boxes
    areas = [area for box in boxes for area in _geographic(box, move.source)]
    if is_geographic(storage_crs):
        back = stored_transformer(CRS84, storage_crs)
        return areas if back.identity else [_carried(area, back) for area in areas]
    return _projected(areas, move.target)


def bbox_bounds(bbox: Sequence[float], bbox_crs: str, storage_crs: str) -> list[tuple[float, float, float, float]] | None:
    """What `bbox_polygons` gives as bounds (west, south, east, north), where no transformation is needed and each box has an
    area; else None. No geometry is made: most boxes are of this kind.
    """
    if not stored_transformer(bbox_crs, storage_crs).identity:
        return None
    found = _bounds(bbox, bbox_crs)
    return None if any(west == east or south == north for west, south, east, north in found) else found


def _bounds(bbox: Sequence[float], name: str) -> list[tuple[float, float, float, float]]:
    """Check a bbox and give its bounds in stored order, two where it crosses the antimeridian."""
    if len(bbox) not in (4, 6):
        raise ValueError(f"bbox has {len(bbox)} numbers: expected 4, or 6 with heights")
    if not all(np.isfinite(number) for number in bbox):
        raise ValueError("bbox has a number that is not finite")
    half = len(bbox) // 2
    low, high = bbox[:2], bbox[half : half + 2]
    (west, south), (east, north) = (low[::-1], high[::-1]) if swaps(name) else (low, high)
    if south > north:
        raise ValueError(f"bbox has its {'south' if is_geographic(name) else 'minimum'} {south} above {north}")
    if not is_geographic(name):
        if west > east:
            raise ValueError(f"bbox has its minimum {west} above {east}")
        return [(west, south, east, north)]
    if south < -90 or north > 90:
        if uri(name) in (CRS84, uri("EPSG:4326")):
            raise ValueError(f"bbox has a latitude beyond 90 degrees; the axis order of {uri(name)} applies")
        # The axes in the other order: OGC's own test suite sends them so for other CRSs, and asks for an answer.
        return []
    if west <= east and east - west >= 360:
        return [(-180.0, south, 180.0, north)]
    west, east = (lon if -180 <= lon <= 180 else (lon + 180) % 360 - 180 for lon in (west, east))
    if west <= east:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _box(west: float, south: float, east: float, north: float) -> shapely.Geometry:
    # A polygon without area meets no point in GEOS.
    if west == east and south == north:
        return shapely.Point(west, south)
    if west == east or south == north:
        return shapely.LineString([(west, south), (east, north)])
    return shapely.box(west, south, east, north)


def _area(crs: pyproj.CRS) -> tuple[float, float, float, float]:
    """West, south, east, north of the area of use in degrees; east is above 180 where it crosses the antimeridian."""
    area = crs.area_of_use
    if area is None:
        return -180.0, -90.0, 180.0, 90.0
    return area.west, area.south, area.east + (360 if area.east < area.west else 0), area.north


@lru_cache(maxsize=256)
def domain(name: str) -> shapely.Geometry:
    """Where a projection has sensible coordinates, in degrees; longitudes are continuous and at most 360 wide."""
    west, south, east, north = _area(parse(name))
    middle = (west + east) / 2
    # A pole is let in only where the projection is meant for it: elsewhere coordinates there are singular.
    south, north = max(south - _BEYOND, min(south, -89.9)), min(north + _BEYOND, max(north, 89.9))
    return shapely.box(max(west - _BEYOND, middle - 180), south, min(east + _BEYOND, middle + 180), north)


@lru_cache(maxsize=256)
def _reach(name: str) -> shapely.Geometry:
    """The box of projected coordinates (stored order) that holds the domain of a projection."""
    image = _carried(domain(name), stored_transformer(CRS84, name))
    return shapely.box(*image.bounds)


def _followed(shape: shapely.Geometry) -> shapely.Geometry:
    west, south, east, north = shape.bounds
    side = max(east - west, north - south)
    return shapely.segmentize(shape, side / _SEGMENTS) if side else shape


def _carried(shape: shapely.Geometry, move: Transformation) -> shapely.Geometry:
    """Transform a shape with its edges followed, less the vertices that have no place in the target."""
    followed = _followed(shape)
    points = move.transform(shapely.get_coordinates(followed))
    points = points[np.isfinite(points).all(axis=1)]
    dimension = shapely.get_dimensions(shape)
    if dimension == 2 and not is_geographic(move.target):
        # All longitudes of a pole come to one point of a polar projection, give or take a nanometre.
        points = np.round(points, 6)
    return _rebuilt(points, dimension)


def _rebuilt(points: NDArray[np.float64], dimension: int) -> shapely.Geometry:
    if dimension == 2 and len(points) > 3:
        return _areal(shapely.polygons(points))
    if dimension == 1 and len(points) > 1:
        return shapely.linestrings(points)
    return shapely.Point(points[0]) if len(points) else shapely.Point()


def _areal(shape: shapely.Geometry) -> shapely.Geometry:
    if shape.is_valid:
        return shape
    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(shape)))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])


def _geographic(box: shapely.Geometry, source: str) -> list[shapely.Geometry]:
    """A box of stored coordinates as areas in CRS84, each within ±180 degrees."""
    move = stored_transformer(source, CRS84)
    if move.identity:
        return [box]
    if not is_geographic(source):
        box = box.intersection(_reach(source))
    followed = shapely.get_coordinates(_followed(box))
    points = move.transform(followed)
    finite = np.isfinite(points).all(axis=1)
    points, followed = points[finite], followed[finite]
    if not len(points):
        return []
    # PROJ takes longitudes round the globe: they come back to the side of their neighbours.
    if is_geographic(source):
        points[:, 0] += 360 * np.round((followed[:, 0] - points[:, 0]) / 360)
    else:
        points[:, 0] = np.unwrap(points[:, 0], period=360)
    dimension = shapely.get_dimensions(box)
    if dimension == 2 and abs(points[0, 0] - points[-1, 0]) > 180:
        # The outline goes once round a pole.
        low, high = (points[:, 1].min(), 90.0) if points[:, 1].mean() > 0 else (-90.0, points[:, 1].max())
        return [shapely.box(-180, low, 180, high)]
    return pieces([_rebuilt(points, dimension)], _WORLD)


def pieces(areas: list[shapely.Geometry], within: shapely.Geometry) -> list[shapely.Geometry]:
    """Cut areas in degrees to a box whose longitudes may run beyond ±180, going round the globe both ways."""
    cut = []
    for area in areas:
        for turn in (-360.0, 0.0, 360.0):
            piece = shapely.intersection(shapely.transform(area, partial(np.add, (turn, 0.0))), within)
            # What only touches the cut is no part of the area.
            if not piece.is_empty and shapely.get_dimensions(piece) == shapely.get_dimensions(area):
                cut.append(piece)
    return cut


def _projected(areas: list[shapely.Geometry], target: str) -> list[shapely.Geometry]:
    """Areas in CRS84 as areas in the stored coordinates of a projection."""
    within = domain(target)
    cut = pieces(areas, within)
    if shapely.union_all(cut).buffer(1e-9).covers(within):
        return [_PLANE]
    carried = [_carried(piece, stored_transformer(CRS84, target)) for piece in cut]
    return [area for area in carried if not area.is_empty]
