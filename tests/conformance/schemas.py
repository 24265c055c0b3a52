"""What the standards say JSON answers look like, as JSON Schema (Features Part 1, schemas of clauses 7 and 8; RFC 7946)."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_POSITION: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}


def _object(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


_RING = _list(_POSITION, minItems=4)
_COORDINATES: dict[str, Schema] = {
    "Point": _POSITION,
    "MultiPoint": _list(_POSITION),
    "LineString": _list(_POSITION, minItems=2),
    "MultiLineString": _list(_list(_POSITION, minItems=2)),
    "Polygon": _list(_RING),
    "MultiPolygon": _list(_list(_RING)),
}
# RFC 8288 and 7.2: a link has a relation and, as the requirements on links say, a type.
LINK: Schema = _object(
    "href",
    "rel",
    "type",
    href={"type": "string", "pattern": "^https?://"},
    rel={"type": "string", "minLength": 1},
    type={"type": "string", "pattern": "^[a-z]+/[^ ;]+"},
    hreflang=_TEXT,
    title=_TEXT,
    length={"type": "integer"},
)
LINKS = _list(LINK, minItems=1)
LANDING_PAGE = _object("links", title=_TEXT, description=_TEXT, links=LINKS)
CONFORMANCE = _object("conformsTo", conformsTo=_list({"type": "string", "format": "uri"}, uniqueItems=True))
_TIME: Schema = {"type": ["string", "null"], "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$"}
EXTENT = _object(
    spatial=_object(
        "bbox",
        bbox=_list(_list({"type": "number"}, minItems=4, maxItems=6), minItems=1),
        crs={"enum": ["http://www.opengis.net/def/crs/OGC/1.3/CRS84"]},
    ),
    temporal=_object(
        "interval",
        interval=_list(_list(_TIME, minItems=2, maxItems=2), minItems=1),
        trs={"enum": ["http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"]},
    ),
)
COLLECTION = _object(
    "id",
    "links",
    "crs",
    id=_TEXT,
    title=_TEXT,
    description=_TEXT,
    links=LINKS,
    extent=EXTENT,
    itemType={"enum": ["feature"]},
    crs=_list({"type": "string", "format": "uri"}, minItems=1, uniqueItems=True),
    storageCrs={"type": "string", "format": "uri"},
)
COLLECTIONS = _object("links", "collections", links=LINKS, collections=_list(COLLECTION, minItems=1))
GEOMETRY: Schema = {
    "oneOf": [
        {"type": "null"},
        *(
            _object("type", "coordinates", type={"const": kind}, coordinates=coordinates)
            for kind, coordinates in _COORDINATES.items()
        ),
        _object("type", "geometries", type={"const": "GeometryCollection"}, geometries=_list({"type": "object"})),
    ]
}
FEATURE: Schema = {
    # RFC 7946, 7.1: members of other GeoJSON objects must not be there; section 4: neither is `crs`
    **_object(
        "type",
        "id",
        "geometry",
        "properties",
        type={"const": "Feature"},
        id={"type": ["string", "integer"]},
        geometry=GEOMETRY,
        properties={"type": ["object", "null"]},
        links=LINKS,
    ),
    "not": {"anyOf": [{"required": [name]} for name in ("coordinates", "geometries", "features", "crs")]},
}
FEATURE_COLLECTION: Schema = {
    **_object(
        "type",
        "features",
        "links",
        type={"const": "FeatureCollection"},
        features=_list(FEATURE),
        links=LINKS,
        timeStamp={"type": "string", "format": "date-time"},
        numberMatched={"type": "integer", "minimum": 0},
        numberReturned={"type": "integer", "minimum": 0},
    ),
    "not": {"anyOf": [{"required": [name]} for name in ("coordinates", "geometries", "geometry", "properties", "crs")]},
}


def check(document: Any, schema: Schema) -> None:
    """The document is of the schema."""
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(document)
