"""How a geometry is coarsened before it is let out: snap, simplify, centroid, clip, as pure functions on geometries.

The order is fixed: centroid → snap → repair → simplify → clip. All that follows the snap sees rounded vertices only, so
that moving a vertex within its snap cell changes no byte of what comes out.

- *centroid*: of the parts of the highest dimension, in the plane of the metric CRS.
- *snap*: every vertex by itself to the nearest node of a square grid at the origin of the metric CRS, a tie to the even
  node.
- *repair*: invalid parts are made valid each by itself (GEOS `make_valid`, linework), what is left of their own
  dimension is kept, areas that have come to overlap are merged, repeated vertices are dropped. Where a snap has left
  nothing of any part, each becomes the point at its cell's centre: the grid node nearest to the middle of the envelope
  of its rounded vertices. Without a snap what has no extent comes out as None.
- *simplify*: Douglas-Peucker that keeps topology (GEOS).
- *clip*: the intersection with the clip area, carried to the metric CRS vertex by vertex. Parts of lower dimension (a
  touch) are no parts. What has nothing left inside goes with its row, and so does a row without a geometry, which
  cannot be shown to lie inside.

A generalised geometry has no heights (they could tell the vertices of a cell apart), its rings begin at their lowest
vertex and its areas and points are in a fixed order. A multi-geometry stays one, a single one may become one; of a
collection the parts of the highest dimension stay. Every geometry comes out in CRS84 with 9 decimals (0.1 mm),
exterior rings counter-clockwise (RFC 7946, 3.1.6), free of shapely's sticky precision, and valid if it was so before.
One that is empty, or that has no place in the CRSs on its way, comes out as None.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType

from providers import crs
from providers.grant import Generalisation, GrantError

Geometries = NDArray[np.object_]

DECIMALS = 9
CURVE_ORDER = 16

_SINGLE = (GeometryType.POINT, GeometryType.LINESTRING, GeometryType.POLYGON)
_MULTI = (GeometryType.MULTIPOINT, GeometryType.MULTILINESTRING, GeometryType.MULTIPOLYGON)


def generalise(
    geoms: Geometries, how: Generalisation, storage_crs: str, clip: Any = None
) -> tuple[Geometries, NDArray[np.bool_]]:
    """Coarsen an array of shapely geometries (n) in stored coordinates of `storage_crs`.

    `clip` is an area in CRS84, or None. Gives the geometries as they are let out, in CRS84 longitude and latitude, None
    where there is none or none is let out (`none`), and a mask (n) that is False where the row goes with its geometry.
    With `none` the rows that go are those that would go if the geometry were shown.

    Raises GrantError where lengths have no metric CRS, or where the clip area is no area there; CRSError for an unknown
    CRS.
    """
    working = metric_crs(how, storage_crs)
    source = _only(np.array(geoms, dtype=object), ~shapely.is_empty(geoms))
    keep = np.ones(len(source), dtype=bool)
    if how.none and clip is None:
        return np.full(len(source), None, dtype=object), keep
    shapes = crs.stored_transformer(storage_crs, working).transform_geometry(source)
    if not (how.lengths or how.centroid or clip is not None):
        return _oriented(_released(shapes, working)), keep
    shapes = shapely.force_2d(shapes)
    if how.centroid:
        shapes = shapely.centroid(shapes)
    before = shapes
    shapes = _repaired(shapes) if how.snap is None else _snapped(shapes, how.snap)
    if how.simplify is not None:
        shapes = _simplified(shapes, how.simplify)
    if clip is not None:
        shapes = _clipped(shapes, _clip_area(clip, working))
    released = _oriented(_normalised(_multiplied(_released(shapes, working), before)))
    if clip is not None:
        keep = ~shapely.is_missing(released)
    return np.full(len(source), None, dtype=object) if how.none else released, keep


def metric_crs(how: Generalisation, storage_crs: str) -> str:
    """The URI of the CRS in which geometries are coarsened: the recipe's, else the CRS of the storage.

    Raises GrantError where it is not metric though lengths are given or the recipe names it, or a length is not above
    0; CRSError for an unknown CRS.
    """
    for name, length in (("snap", how.snap), ("simplify", how.simplify)):
        if length is not None and not (math.isfinite(length) and length > 0):
            raise GrantError(f"geometry: {name} is {length}: expected metres above 0")
    working = crs.uri(how.crs or storage_crs)
    if (how.lengths or how.crs) and not crs.is_metric(working):
        raise GrantError(f"geometry: {working} is not metric: expected crs to be a CRS with true lengths in metres")
    return working


def may_collapse(how: Generalisation, geometry_type: str) -> bool:
    """Whether a type (`POLYGON`, `GEOMETRY`, …) may come out as points or multi-points beside what it is."""
    return how.snap is not None and not (how.centroid or how.none) and not geometry_type.upper().endswith("POINT")


def released_format(how: Generalisation, geometry_type: str, *, clipped: bool) -> str | None:
    """The `format` of the geometry in a schema (OGC API - Features Part 5, 7.4.3), None where no geometry is let out.

    `geometry_type` is the type that the source declares, in GeoPackage's names.
    """
    kind = geometry_type.lower()
    if how.none:
        return None
    if how.centroid:
        return "geometry-point"
    if kind not in ("point", "multipoint", "linestring", "multilinestring", "polygon", "multipolygon"):
        return "geometry-geometrycollection" if kind == "geometrycollection" and not how.changes else "geometry-any"
    if may_collapse(how, geometry_type):
        return "geometry-any"
    cut = clipped and kind == "linestring"
    if cut or (kind == "polygon" and (clipped or how.lengths)):
        return f"geometry-{kind}-or-multi{kind}"
    return f"geometry-{kind}"


def hilbert(x: NDArray[np.float64], y: NDArray[np.float64], extent: tuple[float, float, float, float]) -> NDArray[np.int64]:
    """Places of points (n) on the Hilbert curve of order 16 over an extent (minx, miny, maxx, maxy).

    Between 0 and 2³² - 1; neighbours on the curve are neighbours in the plane. Points outside the extent count as on
    its edge; a point that is not finite comes after all others (2³²).
    """
    side = 1 << CURVE_ORDER
    finite = np.isfinite(x) & np.isfinite(y)
    column = _cells(np.where(finite, x, extent[0]), extent[0], extent[2], side)
    row = _cells(np.where(finite, y, extent[1]), extent[1], extent[3], side)
    place = np.zeros(len(column), dtype=np.int64)
    half = side >> 1
    while half:
        right, upper = (column & half) > 0, (row & half) > 0
        place += half * half * ((3 * right) ^ upper)
        # Each lower quadrant holds the curve turned: mirrored in a diagonal.
        flip = right & ~upper
        column, row = np.where(flip, side - 1 - column, column), np.where(flip, side - 1 - row, row)
        column, row = np.where(upper, column, row), np.where(upper, row, column)
        half >>= 1
    place[~finite] = side * side
    return place


def _cells(value: NDArray[np.float64], low: float, high: float, side: int) -> NDArray[np.int64]:
    share = (value - low) / (high - low) if high > low else np.zeros(len(value))
    return np.minimum(np.clip(share, 0, 1) * side, side - 1).astype(np.int64)


def _snapped(shapes: Geometries, step: float) -> Geometries:
    """Every vertex on its grid node, repaired; what has collapsed as the points of its parts' cells."""
    # Adding 0 turns -0.0 into 0.0, which side of it the vertex was on.
    nodes = shapely.transform(shapes, lambda xy: np.rint(xy / step) * step + 0.0)
    result = _repaired(nodes)
    for index in np.flatnonzero(shapely.is_missing(result) & ~shapely.is_missing(nodes)):
        parts = _parts(nodes[index])
        low, high = np.hsplit(np.rint(shapely.bounds(parts) / step), 2)
        result[index] = _assembled(shapely.points(np.rint((low + high) / 2) * step + 0.0))
    return result


def _repaired(shapes: Geometries) -> Geometries:
    """Valid geometries of the dimension that they have, without repeated vertices; None where nothing is left."""
    shapes = _only(shapes, ~shapely.is_empty(shapes))
    result = shapes.copy()
    collections = shapely.get_type_id(shapes) == GeometryType.GEOMETRYCOLLECTION
    for index in np.flatnonzero(~shapely.is_missing(shapes) & (collections | ~shapely.is_valid(shapes))):
        parts = _parts(shapes[index])
        dimension = shapely.get_dimensions(parts).max()
        parts = parts[shapely.get_dimensions(parts) == dimension]
        result[index] = _of_dimension(shapely.make_valid(parts), dimension)
    linear = shapely.get_dimensions(result) > 0
    result[linear] = shapely.remove_repeated_points(result[linear], 0)
    several = shapely.get_type_id(result) == GeometryType.MULTIPOINT
    result[several] = shapely.extract_unique_points(result[several])
    return result


def _simplified(shapes: Geometries, tolerance: float) -> Geometries:
    simplified = _repaired(shapely.simplify(shapes, tolerance, preserve_topology=True))
    gone = shapely.is_missing(simplified)
    simplified[gone] = shapes[gone]
    return simplified


def _clipped(shapes: Geometries, area: Any) -> Geometries:
    """The parts inside the area; None where there is nothing."""
    inside = shapely.covers(area, shapes)
    result = _only(shapes, inside)
    for index in np.flatnonzero(~inside & shapely.intersects(area, shapes)):
        shape = shapes[index]
        result[index] = _of_dimension(shapely.intersection(shape, area), shapely.get_dimensions(shape))
    return result


@lru_cache(maxsize=8)
def _clip_area(clip: Any, working: str) -> Any:
    area = crs.stored_transformer(crs.CRS84, working).transform_geometry(shapely.force_2d(clip))
    valid = None if area is None else _of_dimension(shapely.make_valid(area), 2)
    if valid is None:
        raise GrantError(f"the clip area is not one in {working}")
    shapely.prepare(valid)
    return valid


def _released(shapes: Geometries, working: str) -> Geometries:
    """Geometries in CRS84 with 9 decimals; those stay valid that were."""
    valid = shapely.is_valid(shapes)
    moved: Geometries = crs.stored_transformer(working, crs.CRS84).transform_geometry(shapes)
    flat = ~shapely.has_z(moved)
    moved[flat] = shapely.transform(moved[flat], _rounded)
    moved[~flat] = shapely.transform(moved[~flat], _rounded, include_z=True)
    for index in np.flatnonzero(valid & ~shapely.is_missing(moved) & ~shapely.is_valid(moved)):
        moved[index] = _on_decimals(moved[index])
    return moved


def _on_decimals(shape: Any) -> Any:
    """A valid geometry, with 9 decimals, of one whose vertices the rounding has put across its own edges."""
    dimension = shapely.get_dimensions(shape)
    made = shapely.set_precision(_of_dimension(shapely.make_valid(shape), dimension), 10.0**-DECIMALS)
    # The precision goes with the round trip through WKB, else it would show in every later overlay.
    fixed = _of_dimension(shapely.from_wkb(shapely.to_wkb(made)), dimension)
    return None if fixed is None else shapely.transform(fixed, _rounded, include_z=bool(fixed.has_z))


def _rounded(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(coordinates, DECIMALS) + 0.0


def _normalised(shapes: Geometries) -> Geometries:
    """Rings from their lowest vertex on, areas and points in a fixed order; lines keep their direction."""
    result = shapes.copy()
    others = shapely.get_dimensions(shapes) != 1
    result[others] = shapely.normalize(shapes[others])
    return result


def _oriented(shapes: Geometries) -> Geometries:
    oriented: Geometries = shapely.orient_polygons(shapes, exterior_cw=False)
    return oriented


def _multiplied(shapes: Geometries, before: Geometries) -> Geometries:
    """A multi-geometry that has one part left stays a multi-geometry."""
    result = shapes.copy()
    now, then = shapely.get_type_id(shapes), shapely.get_type_id(before)
    for single, multi in zip(_SINGLE, _MULTI, strict=True):
        for index in np.flatnonzero((now == single) & (then == multi)):
            result[index] = _multi(shapes[index : index + 1])
    return result


def _only(shapes: Geometries, which: NDArray[np.bool_]) -> Geometries:
    result = shapes.copy()
    result[~which] = None
    return result


def _parts(shape: Any) -> Geometries:
    """The points, lines and polygons that a geometry consists of."""
    parts: Geometries = np.array([shape], dtype=object)
    while np.any(shapely.get_type_id(parts) >= GeometryType.MULTIPOINT):
        parts = shapely.get_parts(parts)
    present: Geometries = parts[~shapely.is_empty(parts)]
    return present


def _of_dimension(shape: Any, dimension: int) -> Any:
    parts = np.concatenate([_parts(one) for one in np.atleast_1d(shape)])
    return _assembled(parts[shapely.get_dimensions(parts) == dimension])


def _assembled(parts: Geometries) -> Any:
    """One geometry of parts of one dimension: the part where there is one, merged areas where they overlap, or None."""
    if not len(parts):
        return None
    if shapely.get_dimensions(parts[0]) == 0:
        parts = shapely.get_parts(shapely.extract_unique_points(shapely.multipoints(parts)))
    if len(parts) == 1:
        return parts[0]
    multi = _multi(parts)
    return multi if multi.is_valid else shapely.union_all(parts)


def _multi(parts: Geometries) -> Any:
    make = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)
    return make[shapely.get_dimensions(parts[0])](parts)
