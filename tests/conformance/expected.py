"""What the answers must be, by other means than the server's: the source as GDAL reads it, pyproj, shapely, and dates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import fiona
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"

Box = tuple[float, float, float, float]


# places


def source_points(package: Path, layer: str, id_column: str) -> dict[str, tuple[float, float]]:
    """The points of a layer by id: x and y as the file holds them (east, north)."""
    with fiona.open(package, layer=layer) as rows:
        return {row.properties[id_column]: tuple(row.geometry.coordinates) for row in rows}


@cache
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(_authority(source), _authority(target))


def _authority(uri: str) -> str:
    return "OGC:CRS84" if uri == CRS84 else f"EPSG:{uri.removeprefix(EPSG)}"


def moved(shapes: NDArray[np.object_], source: str, target: str) -> NDArray[np.object_]:
    """Shapes from one CRS to another, in the order of axes that EPSG gives each."""
    if source == target:
        return shapes

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(_transformer(source, target).transform(xy[:, 0], xy[:, 1]))

    found: NDArray[np.object_] = shapely.transform(shapes, move)
    return found


def moved_box(box: Box, target: str) -> Box:
    """The corners of a box of longitudes and latitudes in another CRS, minima first, in that CRS's order of axes."""
    corners = shapely.MultiPoint([(box[0], box[1]), (box[2], box[3])])
    west, south, east, north = shapely.bounds(moved(np.array([corners], dtype=object), CRS84, target)[0])
    return float(west), float(south), float(east), float(north)


def is_metric(crs: str) -> bool:
    return bool(pyproj.CRS(_authority(crs)).is_projected)


def boxes(bbox: Box) -> list[Box]:
    """A bbox as boxes that do not cross the antimeridian (Features Part 1, 7.15.3)."""
    west, south, east, north = bbox
    return [bbox] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]


# times


class Span(NamedTuple):
    """First and last microsecond of a time; None where it is open."""

    low: datetime | None
    high: datetime | None


def span(text: str) -> Span:
    """A date as its day (UTC), a date-time as an instant."""
    if "T" not in text:
        day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        return Span(day, day + timedelta(days=1) - timedelta(microseconds=1))
    instant = datetime.fromisoformat(text).astimezone(UTC)
    return Span(instant, instant)


def asked(text: str) -> Span:
    """The value of a `datetime` parameter."""
    first, _, last = text.partition("/")
    if "/" not in text:
        return span(text)
    return Span(None if first in ("", "..") else span(first).low, None if last in ("", "..") else span(last).high)


def meets(one: Span, other: Span) -> bool:
    """Whether two times have an instant in common."""
    begins_before = one.low is None or other.high is None or one.low <= other.high
    ends_after = one.high is None or other.low is None or one.high >= other.low
    return begins_before and ends_after


def in_time(features: list[Any], name: str | None, query: Span) -> set[str]:
    """The ids of features whose property meets a time, and of those that have no time."""
    return {
        feature["id"]
        for feature in features
        if name is None or feature["properties"][name] is None or meets(span(feature["properties"][name]), query)
    }


def instant(moment: datetime) -> str:
    """A time as RFC 3339 writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def quarters(entry: Mapping[str, Any]) -> list[datetime]:
    """Begin, first quarter, middle, third quarter and end of a collection's temporal extent."""
    (low, high), *_ = entry["extent"]["temporal"]["interval"]
    begin, end = datetime.fromisoformat(low), datetime.fromisoformat(high)
    return [begin + (end - begin) / 4 * part for part in range(5)]
