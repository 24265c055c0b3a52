"""Reads one relation for one request: pages of finished text or of objects, single features, counts, extents, domains."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import shapely

from providers import crs, filters, geojson
from providers.columns import Column, quote
from providers.query import Page, Query, QueryError, check_cursor, count, page, remembered
from providers.relation import Relation

MAX_DOMAIN = 100


class Reader:
    """All that may be asked of a relation, inside one snapshot of its file."""

    def __init__(self, conn: sqlite3.Connection, relation: Relation, time_field: str | None) -> None:
        self._conn = conn
        self.relation = relation
        column = relation.column(time_field) if time_field else None
        # a time that is masked to a year or a hash is no time to be asked for
        self.time = column if column and column.format else None

    # what is asked, as conditions

    def bbox(self, numbers: Sequence[float], bbox_crs: str = crs.CRS84) -> filters.Where:
        """Features whose geometry intersects the box, and those that have none (Features Part 1, 7.15.3).

        Raises QueryError.
        """
        relation = self.relation
        try:
            bounds = crs.bbox_bounds(numbers, bbox_crs, relation.crs) if relation.envelope else None
            boxes = crs.bbox_polygons(numbers, bbox_crs, relation.crs) if not bounds else []
        except ValueError as err:
            raise QueryError("bbox", f"bbox: {err}") from err
        if not relation.geometry:
            return filters.Where("1", (), frozenset())
        queryables = relation.queryables
        where = filters.boxes_where(queryables, bounds) if bounds else filters.bbox_where(queryables, boxes)
        if not self._gaps():
            return where
        return filters.Where(f"(({where.sql}) OR _geom IS NULL)", where.params, where.columns)

    def _gaps(self) -> bool:
        """Whether there may be features without a geometry."""
        relation = self.relation
        if relation.edition is not None:
            return relation.edition.gaps
        sql = f"SELECT EXISTS (SELECT 1 FROM {relation.source} WHERE _geom IS NULL)"
        return bool(remembered(relation, "gaps", lambda: self._conn.execute(sql, relation.params).fetchone()[0]))

    def filter(self, text: str, lang: str, filter_crs: str | None) -> filters.Where:
        """A CQL2 expression over the granted properties. Raises QueryError."""
        try:
            return filters.compile(filters.parse(text, lang), self.relation.queryables, filter_crs)
        except filters.FilterError as err:
            raise QueryError("filter", f"filter: {err}") from err

    def equals(self, name: str, value: str) -> filters.Where:
        """A query parameter with the name of a property. Raises QueryError."""
        try:
            return filters.property_equals(name, value, self.relation.queryables)
        except filters.FilterError as err:
            raise QueryError(name, str(err)) from err

    # answers

    def check(self, query: Query) -> None:
        """Raises QueryError where a query's cursor is not of its order."""
        check_cursor(self.relation, query)

    def count(self, query: Query) -> int:
        """How many features match."""
        return count(self._conn, self.relation, query)

    def texts(self, query: Query) -> tuple[list[bytes], int, str | None]:
        """A page of finished features in CRS84 with all granted properties; how many match; the next page's cursor."""
        if self.relation.text:
            found = page(self._conn, self.relation, query, "_text")
            return [row[0] for row in found.rows], found.matched, found.next
        found, keys, shapes, rows = self._objects(query, self.relation.columns, False)
        if self.relation.crs != crs.CRS84:
            shapes = _to_crs84(shapes, self.relation.crs)
        made = geojson.texts(keys, shapes, (geojson.values(self.relation.columns, row) for row in rows))
        return made, found.matched, found.next

    def features(
        self, query: Query, *, target: str = crs.CRS84, select: Sequence[str] | None = None, skip_geometry: bool = False
    ) -> tuple[list[bytes], int, str | None]:
        """A page of features in another CRS (its own axis order), with a choice of properties, or without geometry."""
        columns = self.relation.columns
        if select is not None:
            columns = tuple(column for column in columns if column.name in select)
        found, keys, shapes, rows = self._objects(query, columns, skip_geometry)
        if not skip_geometry:
            shapes = self._into(shapes, target)
        made = geojson.texts(keys, shapes, (geojson.values(columns, row) for row in rows))
        return made, found.matched, found.next

    def text(self, identifier: str) -> bytes | None:
        """The finished feature of this id in CRS84, or None where it is not in the relation."""
        key = self._identifier(identifier)
        if key is None:
            return None
        if self.relation.text:
            row = self._conn.execute(
                f"SELECT _text FROM {self.relation.source} WHERE _key = ?", (*self.relation.params, key)
            ).fetchone()
            return row[0] if row else None
        return self.feature(identifier)

    def feature(self, identifier: str, target: str = crs.CRS84) -> bytes | None:
        """The feature of this id in another CRS, or None where it is not in the relation."""
        key = self._identifier(identifier)
        if key is None:
            return None
        columns = self.relation.columns
        row = self._conn.execute(
            f"SELECT {self._wanted(columns, False)}, _key FROM {self.relation.source} WHERE _key = ?",
            (*self.relation.params, key),
        ).fetchone()
        if row is None:
            return None
        shapes = self._into(geojson.geometries([row[0]]), target)
        return geojson.texts([row[-1]], shapes, [geojson.values(columns, row[1:-1])])[0]

    def bbox_of_all(self) -> tuple[float, float, float, float] | None:
        """The extent of all features in CRS84 degrees, or None."""
        relation = self.relation
        if relation.whole and relation.edition:
            return relation.edition.bbox
        if not relation.geometry:
            return None
        found: tuple[float, float, float, float] | None = remembered(relation, "bbox", self._bbox_of_rows)
        return found

    def _bbox_of_rows(self) -> tuple[float, float, float, float] | None:
        relation = self.relation
        blobs = self._conn.execute(f"SELECT _geom FROM {relation.source}", relation.params)
        bounds = None
        while rows := blobs.fetchmany(5000):
            box = shapely.total_bounds(geojson.geometries([row[0] for row in rows]))
            if not np.isnan(box[0]):
                whole = box if bounds is None else np.array([*bounds, *box])
                bounds = (whole[0::4].min(), whole[1::4].min(), whole[2::4].max(), whole[3::4].max())
        if bounds is None:
            return None
        # a straight edge bulges in the other CRS: it is followed in small steps, and the box rounded outward (1 cm)
        outline = shapely.segmentize(shapely.box(*bounds), max(bounds[2] - bounds[0], bounds[3] - bounds[1], 1e-9) / 1000)
        box = shapely.bounds(crs.stored_transformer(relation.crs, crs.CRS84).transform_geometry(outline)) * 1e7
        west, south, east, north = (np.array([*np.floor(box[:2]), *np.ceil(box[2:])]) / 1e7).tolist()
        return max(west, -180.0), max(south, -90.0), min(east, 180.0), min(north, 90.0)

    def interval(self) -> tuple[str, str] | None:
        """The first and last value of the time property, or None."""
        relation = self.relation
        if self.time is None:
            return None
        if relation.whole and relation.edition and relation.edition.time_field == self.time.name:
            return relation.edition.interval
        column = quote(self.time.name)
        sql = f"SELECT min({column}), max({column}) FROM {relation.source}"
        low, high = self._conn.execute(sql, relation.params).fetchone()
        return (low, high) if low is not None else None

    def domain(self, name: str) -> list[Any] | None:
        """The values that occur of a property, in order; None where there are more than MAX_DOMAIN."""
        if self.relation.column(name) is None:
            raise QueryError("properties", f"properties: there is no property {name}")
        column = quote(name)
        sql = (
            f"SELECT DISTINCT {column} FROM {self.relation.source} WHERE {column} IS NOT NULL"
            f" ORDER BY {column} LIMIT {MAX_DOMAIN + 1}"
        )
        found = [row[0] for row in self._conn.execute(sql, self.relation.params)]
        return found if len(found) <= MAX_DOMAIN else None

    # ways

    def _identifier(self, text: str) -> Any:
        if self.relation.key.type != "integer":
            return text
        try:
            number = int(text)
        except ValueError:
            return None
        return number if str(number) == text and abs(number) < 1 << 63 else None

    def _wanted(self, columns: Sequence[Column], skip_geometry: bool) -> str:
        geometry = "_geom" if self.relation.geometry and not skip_geometry else "NULL"
        return ", ".join([geometry, *(quote(column.name) for column in columns)])

    def _objects(
        self, query: Query, columns: Sequence[Column], skip_geometry: bool
    ) -> tuple[Page, list[Any], geojson.Geometries, list[tuple[Any, ...]]]:
        found = page(self._conn, self.relation, query, self._wanted(columns, skip_geometry))
        shapes = geojson.geometries([row[0] for row in found.rows])
        return found, [row[-1] for row in found.rows], shapes, [row[1 : len(columns) + 1] for row in found.rows]

    def _into(self, shapes: geojson.Geometries, target: str) -> geojson.Geometries:
        if target == crs.CRS84:
            return shapes if self.relation.crs == crs.CRS84 else _to_crs84(shapes, self.relation.crs)
        into = crs.stored_transformer(self.relation.crs, target).transform_geometry(shapes)
        if crs.swaps(target):
            into = shapely.transform(into, _swapped, include_z=True)
        # millimetres: no more than the coordinates of an edition hold
        return into if target == self.relation.crs else _rounded(into, 9 if crs.is_geographic(target) else 3)


def _to_crs84(shapes: geojson.Geometries, source: str) -> geojson.Geometries:
    return _rounded(crs.stored_transformer(source, crs.CRS84).transform_geometry(shapes), 9)


def _swapped(coordinates: Any) -> Any:
    return coordinates[:, [1, 0, 2]]


def _rounded(shapes: geojson.Geometries, digits: int) -> geojson.Geometries:
    rounded: geojson.Geometries = shapely.transform(shapes, lambda xy: np.round(xy, digits), include_z=True)
    return rounded


def collection(texts: list[bytes]) -> list[dict[str, Any]]:
    """Finished features as objects, for the formats that need them."""
    found: list[dict[str, Any]] = orjson.loads(b"[" + b",".join(texts) + b"]")
    return found
