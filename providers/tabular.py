"""Features as a table of comma-separated values (RFC 4180, UTF-8)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import orjson
import shapely

from providers.reader import collection


def comma_separated(texts: list[bytes], names: Sequence[str]) -> bytes:
    """Finished features with a head line: id, the properties named, and the geometry as well-known text."""
    features = collection(texts)
    shapes = [
        None if feature["geometry"] is None else shapely.from_geojson(orjson.dumps(feature["geometry"])) for feature in features
    ]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", *names, "geometry"])
    for feature, wkt in zip(features, shapely.to_wkt(shapes, rounding_precision=-1, trim=True), strict=True):
        writer.writerow([feature["id"], *(feature["properties"][name] for name in names), wkt])
    return out.getvalue().encode()
