"""How geometries relate in SQL: the R-tree finds candidates, envelopes settle most of them, GEOS the rest.

SQLite's R-tree holds 32-bit floats rounded outwards, so its candidates are a superset and each is tested exactly. A
literal is taken into the CRS that the geometries are stored in, never the other way round, so that the index serves.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import shapely
from shapely.errors import GEOSException

from providers import crs
from providers.engines.functions import INVERSE, relate
from providers.expressions import FilterError, Queryables, Term, call, negated

# Literals of a few parts are looked up part by part, so that two islands do not fetch the sea between them.
_PARTS = 8
# The straight edges of a literal that another CRS bends are cut into pieces of a 64th of its width or height, or longer
# where they would be more than 5,000.
_PIECES = 64
_VERTICES = 5000
# Byte order and type of a point, a line and a polygon in WKB: what is connected. No GeoPackage binary begins like them.
_CONNECTED = "(x'0101000000', x'0102000000', x'0103000000')"
# A polygon of one ring of five points in WKB.
_BOX = struct.Struct("<BIII10d")


@dataclass(frozen=True, slots=True)
class Areas:
    """A literal in stored coordinates; `whole` says whether that is all of it, and not what the stored CRS can express."""

    areas: tuple[shapely.Geometry, ...]
    whole: bool = True


def shape(mapping: dict[str, Any], queryables: Queryables, literal_crs: str) -> Term:
    """A GeoJSON geometry in the axis order of `literal_crs` as a literal in stored coordinates. Raises FilterError."""
    kind = str(mapping["type"])[:30]
    try:
        found = shapely.force_2d(shapely.from_geojson(json.dumps(mapping)))
    except GEOSException as err:
        raise FilterError(f"not a geometry ({kind}): {err}") from None
    if found is None or found.is_empty:
        raise FilterError(f"not a geometry ({kind}): it is empty")
    if not found.is_valid:
        raise FilterError(f"not a valid geometry ({kind}): {shapely.is_valid_reason(found)}")
    return Term("?", (), "geometry", value=_stored(found, literal_crs, queryables.crs))


def box(numbers: Sequence[float], queryables: Queryables, literal_crs: str) -> Term:
    """A BBOX as a literal in stored coordinates; one across the antimeridian is two boxes. Raises FilterError."""
    try:
        areas = crs.bbox_polygons(numbers, literal_crs, queryables.crs)
    except ValueError as err:
        raise FilterError(str(err)) from None
    return Term("?", (), "geometry", value=Areas(tuple(areas)))


def _stored(geometry: shapely.Geometry, source: str, target: str) -> Areas:
    if crs.swaps(source):
        geometry = shapely.transform(geometry, lambda xy: xy[:, ::-1])
    move = crs.stored_transformer(source, target)
    if move.identity:
        return Areas((geometry,))
    followed = _followed(geometry)
    if crs.is_geographic(target):
        return Areas((_moved(followed, move),))
    # A projection gives coordinates on the far side of the globe too, wrong ones: what lies there is cut off first.
    on_globe = source if crs.is_geographic(source) else crs.CRS84
    degrees = followed if on_globe == source else _moved(followed, crs.stored_transformer(source, on_globe))
    domain = crs.domain(crs.uri(target))
    if domain.covers(shapely.box(*degrees.bounds)):
        return Areas((_moved(followed, move),))
    pieces = crs.pieces(list(_simple(degrees)), domain)
    move = crs.stored_transformer(on_globe, target)
    return Areas(tuple(_moved(_followed(piece), move) for piece in pieces), whole=False)


def _followed(geometry: shapely.Geometry) -> shapely.Geometry:
    """The geometry with vertices along its edges, for a transformation that bends them."""
    west, south, east, north = geometry.bounds
    piece = max((east - west) / _PIECES, (north - south) / _PIECES, geometry.length / _VERTICES)
    return shapely.segmentize(geometry, piece) if piece else geometry


def _moved(geometry: shapely.Geometry, move: crs.Transformation) -> shapely.Geometry:
    moved = move.transform_geometry(geometry)
    if moved is None:
        raise FilterError(f"a geometry lies where {move.target} has no coordinates")
    return moved if moved.is_valid else shapely.make_valid(moved)


def _simple(geometry: shapely.Geometry) -> Iterator[shapely.Geometry]:
    """The points, lines and polygons of a geometry."""
    for part in shapely.get_parts(geometry):
        if hasattr(part, "geoms"):
            yield from _simple(part)
        else:
            yield part


def relation(name: str, one: Term, other: Term, queryables: Queryables, exact_null: bool) -> Term:
    """A spatial function between the geometry and a literal, two literals, or the geometry and itself.

    It is NULL where the geometry is NULL. With `exact_null` false it may be false there instead, which is the same
    where nothing negates it, and lets the R-tree lead the query.
    """
    for term in (one, other):
        if term.type != "geometry":
            raise FilterError(f"s_{name} is between geometries: expected one in place of a {term.type}")
    if one.value is not None and other.value is not None:
        holds = relate(name, _united(one.value.areas), _united(other.value.areas))
        return Term("?", (int(holds),), "boolean")
    if one.value is not None:
        one, name, other = other, INVERSE[name], one
    if other.value is None:
        return call(f"tierra_{name}", one, other, kind="boolean")
    if name == "disjoint":
        return negated(related("intersects", other.value.areas, queryables, exact_null=True))
    areas = other.value.areas
    if not other.value.whole and name in ("contains", "equals"):
        areas = ()  # no feature reaches to where a part was cut off
    return related(name, areas, queryables, exact_null)


def related(name: str, areas: Sequence[shapely.Geometry], queryables: Queryables, exact_null: bool) -> Term:
    """Whether the geometry stands in a relation (not `disjoint`) to a literal of stored coordinates, of several areas.

    `exact_null` is as in `relation`.
    """
    geometry = queryables.geometry_sql
    parts = _parts(areas)
    if not parts:
        return Term(f"({geometry} IS NULL AND NULL)", (), "boolean", 5)
    sql, params = _exact(name, areas, queryables)
    if queryables.rtree is None:
        return Term(sql, params, "boolean", 12)
    found, bounds = _candidates(parts, queryables.rtree)
    if exact_null:
        near = f"{queryables.rowid_sql} NOT IN ({found})"
        sql = f"(CASE WHEN {geometry} IS NULL THEN NULL WHEN {near} THEN 0 ELSE {sql} END)"
    else:
        sql = f"({queryables.rowid_sql} IN ({found}) AND {sql})"
    return Term(sql, bounds + params, "boolean", 20)


def meets_boxes(bounds: Sequence[tuple[float, float, float, float]], queryables: Queryables) -> tuple[str, tuple[Any, ...]]:
    """`related("intersects", …)` for boxes by their bounds (west, south, east, north), over a table with envelopes."""
    found: list[float] = []
    exact: list[Any] = []
    for west, south, east, north in bounds:
        box = (west, east, south, north)
        found += box
        exact += (*box, *box, *box, _BOX.pack(1, 3, 1, 5, west, south, west, north, east, north, east, south, west, south))
    return _boxes_sql(queryables, len(bounds)), (*found, *exact)


@lru_cache(maxsize=256)
def _boxes_sql(queryables: Queryables, count: int) -> str:
    boxes = [shapely.box(0, 0, 1, 1)] * count
    return related("intersects", boxes, queryables, exact_null=False).sql


def _united(areas: Sequence[shapely.Geometry]) -> shapely.Geometry:
    return areas[0] if len(areas) == 1 else shapely.union_all(areas)


def _parts(areas: Sequence[shapely.Geometry]) -> list[shapely.Geometry]:
    # a box has no parts to be taken apart; most queries ask for one
    parts = [p for area in areas for p in (shapely.get_parts(area) if hasattr(area, "geoms") else (area,)) if not p.is_empty]
    return parts if len(parts) <= _PARTS else [_united(areas)]


def _candidates(parts: Sequence[shapely.Geometry], rtree: str) -> tuple[str, tuple[float, ...]]:
    one = f"SELECT id FROM {rtree} WHERE maxx>=? AND minx<=? AND maxy>=? AND miny<=?"
    params: list[float] = []
    for part in parts:
        west, south, east, north = part.bounds
        params += (west, east, south, north)
    return " UNION ALL ".join([one] * len(parts)), tuple(params)


def _exact(name: str, areas: Sequence[shapely.Geometry], queryables: Queryables) -> tuple[str, tuple[Any, ...]]:
    if name == "intersects" and queryables.envelope is not None and all(_is_box(area) for area in areas):
        found = [_meets_box(area, queryables) for area in areas]
        sql = " OR ".join(sql for sql, _ in found)
        return f"({sql})" if len(found) > 1 else sql, tuple(value for _, params in found for value in params)
    return f"tierra_{name}({queryables.geometry_sql}, ?)", (shapely.to_wkb(_united(areas)),)


def _is_box(area: shapely.Geometry) -> bool:
    if area.geom_type == "Point":
        return True
    if area.geom_type != "Polygon":
        return False
    ring = area.exterior.coords[:]
    west, south, east, north = area.bounds
    corners = [(west, south), (west, north), (east, north), (east, south)]
    return len(ring) == 5 and not area.interiors and set(ring) == set(corners) and area.is_valid


def _meets_box(area: shapely.Geometry, queryables: Queryables) -> tuple[str, tuple[Any, ...]]:
    """Whether the geometry meets a box, with no call of GEOS but near the box's corners.

    A geometry whose envelope does not meet the box is out, one whose envelope lies within is in. So is one that is
    connected and whose envelope keeps within the box on one axis: on the other it reaches every value of its envelope,
    also those that the box has.
    """
    assert queryables.envelope is not None
    minx, miny, maxx, maxy = queryables.envelope
    west, south, east, north = area.bounds
    along, across = f"({minx}>=? AND {maxx}<=?)", f"({miny}>=? AND {maxy}<=?)"
    blob = queryables.geometry_sql
    sql = (
        f"({maxx}>=? AND {minx}<=? AND {maxy}>=? AND {miny}<=? AND (({along} AND {across}) OR "
        f"(({along} OR {across}) AND substr({blob}, 1, 5) IN {_CONNECTED}) OR tierra_intersects({blob}, ?)))"
    )
    inside = (west, east, south, north)
    return sql, (west, east, south, north, *inside, *inside, shapely.to_wkb(area))
