"""The API definition of one audience (OpenAPI 3.0.3): what it may ask, and nothing else; no reference leads outside."""

from __future__ import annotations

from typing import Any

import orjson
from pygeoapi import l10n
from pygeoapi.api import API
from pygeoapi.plugin import load_plugin
from pygeoapi.provider.base import ProviderGenericError

from providers import crs
from server.request import MEDIA_TYPES

Members = dict[str, Any]

_CORE = {
    "/": ("getLandingPage", "The landing page", "landingPage", ("json", "html")),
    "/conformance": ("getConformance", "The conformance classes", "conformance", ("json", "html")),
    "/collections": ("getCollections", "The collections", "collections", ("json", "html")),
    "/openapi": ("getOpenapi", "This document", "object", ("openapi", "html")),
    "/health": ("getHealth", "Whether all is well", "object", ("json",)),
}


def document(api: API, locale: Any) -> bytes:
    """The document as JSON."""
    metadata = l10n.translate_struct(api.config["metadata"], locale)
    identification = metadata["identification"]
    paths: Members = {}
    for path, (operation, summary, schema, formats) in _CORE.items():
        parameters = [_f(formats), _ref("lang")] if len(formats) > 1 else []
        paths[path] = {"get": _operation(operation, summary, ["server"], parameters, schema, formats)}
    tags = [{"name": "server", "description": identification["title"]}]
    for name, resource in api.config["resources"].items():
        tags.append({"name": name, "description": l10n.translate(resource["description"], locale)})
        paths |= _collection(name, resource, l10n.translate(resource["title"], locale))
    return orjson.dumps(
        {
            "openapi": "3.0.3",
            "info": {
                "title": identification["title"],
                "description": identification["description"],
                "version": "1.0.0",
                "contact": {"name": metadata["provider"]["name"], "url": metadata["provider"]["url"]},
                "license": {"name": metadata["license"]["name"], "url": metadata["license"]["url"]},
            },
            "servers": [{"url": api.base_url}],
            "tags": tags,
            "paths": paths,
            "components": {
                "parameters": _parameters(api),
                "schemas": _SCHEMAS,
                "responses": _RESPONSES,
                "securitySchemes": {
                    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                    "basic": {"type": "http", "scheme": "basic"},
                },
            },
            "security": [{}, {"key": []}, {"basic": []}],
        }
    )


def _collection(name: str, resource: Members, title: str) -> Members:
    definition = resource["providers"][0]
    base = f"/collections/{name}"
    both = [_f(("json", "html")), _ref("lang")]
    # an operation's name must be an identifier and must be alone of its kind
    stem = "".join(part.capitalize() for part in name.replace("-", "_ ").split(" "))
    about = {
        "": ("describe", title, "collection", "json"),
        "/schema": ("schemaOf", f"{title}: what a feature looks like", "object", "schema"),
        "/queryables": ("queryablesOf", f"{title}: what a filter may name", "object", "schema"),
        "/sortables": ("sortablesOf", f"{title}: what sortby may name", "object", "schema"),
    }
    profile = _query("profile", {"type": "string", "enum": ["actual-domain"]}, "actual-domain: with the values that occur.")
    paths: Members = {
        base + path: {
            "get": _operation(
                verb + stem, summary, [name], [*both, profile] if path == "/queryables" else both, schema, (media, "html")
            )
        }
        for path, (verb, summary, schema, media) in about.items()
    }
    shared = ("lang", "bbox", "bbox-crs", "crs", "datetime", "offset", "cursor", "skipGeometry", "resulttype")
    filters = ("filter", "filter-lang", "filter-crs")
    limits = resource["limits"]
    columns, queryables = _queryables(definition)
    parameters = [
        _f(("json", "html", "csv")),
        *(_ref(parameter) for parameter in (*shared, *filters)),
        _query("limit", _limit(limits["default_items"], limits["max_items"]), "How many features a page has at most."),
        _query("properties", _list(columns), "The properties to be sent; all without it."),
    ]
    if definition["sortables"]:
        ways = [way + column for column in definition["sortables"] for way in ("", "-", "+")]
        parameters.append(_query("sortby", _list(ways), "The order; - before a property turns it round."))
    paths[f"{base}/items"] = {
        "get": _operation(
            f"items{stem}", f"{title}: features", [name], parameters + queryables, "featureCollection",
            ("geojson", "html", "csv"),
        )
    }  # fmt: skip
    paths[f"{base}/items/{{featureId}}"] = {
        "get": _operation(
            f"item{stem}", f"{title}: one feature", [name],
            [_ref("featureId"), _f(("json", "html")), _ref("lang"), _ref("crs")], "feature",
            ("geojson", "html"),
        )
    }  # fmt: skip
    return paths


def _queryables(definition: Members) -> tuple[list[str], list[Members]]:
    """The names of the properties, and a query parameter for each; none while the edition waits to be built."""
    try:
        fields = load_plugin("provider", definition).get_fields()
    except ProviderGenericError:
        return [], []
    parameters = [
        _query(name, {k: v for k, v in field.items() if k in ("type", "format")}, f"Features whose {name} is this.")
        for name, field in fields.items()
    ]
    return list(fields), parameters


def _operation(
    operation: str,
    summary: str,
    tags: list[str],
    parameters: list[Members],
    schema: str,
    formats: tuple[str, ...],
) -> Members:
    content = {
        MEDIA_TYPES[name]: {
            "schema": {"type": "string"} if name in ("html", "csv") else {"$ref": f"#/components/schemas/{schema}"}
        }
        for name in formats
    }
    return {
        "operationId": operation,
        "summary": summary,
        "tags": tags,
        "parameters": parameters,
        "responses": {
            "200": {"description": "What was asked for", "content": content},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _PROBLEMS},
        },
    }


def _ref(name: str) -> Members:
    return {"$ref": f"#/components/parameters/{name}"}


def _f(formats: tuple[str, ...]) -> Members:
    names = ["json" if name in ("geojson", "schema", "openapi") else name for name in formats]
    return _query("f", {"type": "string", "enum": names, "default": names[0]}, "The format of the answer.")


def _query(name: str, schema: Members, description: str) -> Members:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "required": False,
        "schema": schema,
        "style": "form",
        "explode": False,
    }


def _list(names: list[str]) -> Members:
    items: Members = {"type": "string"}
    if names:
        items["enum"] = names
    return {"type": "array", "items": items}


def _limit(default: int, most: int) -> Members:
    return {"type": "integer", "minimum": 1, "maximum": most, "default": default}


def _parameters(api: API) -> Members:
    limits = api.config["server"].get("limits", {})
    # QGIS takes its page size from this one: the least of the collections' largest pages suits them all
    least = [resource["limits"]["max_items"] for resource in api.config["resources"].values()]
    most = min([*least, limits.get("max_items", 10000)])
    languages = api.config["server"]["languages"]
    uri: Members = {"type": "string", "format": "uri"}
    numbers = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6}
    made = [
        _query("limit", _limit(min(limits.get("default_items", 10), most), most), "How many features a page has at most."),
        _query("lang", {"type": "string", "enum": languages, "default": languages[0]}, "The language of the answer."),
        _query("bbox", numbers, "Features that intersect this box: four or six numbers in the CRS of bbox-crs."),
        _query("bbox-crs", {**uri, "default": crs.CRS84}, "The CRS of bbox."),
        _query("crs", {**uri, "default": crs.CRS84}, "The CRS of the answer."),
        _query("datetime", {"type": "string"}, "Features of this date-time or interval (RFC 3339; .. for an open end)."),
        _query("offset", {"type": "integer", "minimum": 0, "default": 0}, "How many features to pass over."),
        _query("cursor", {"type": "string"}, "Where the page begins: taken from a next link."),
        _query("skipGeometry", {"type": "boolean", "default": False}, "Send no geometry."),
        _query("resulttype", {"type": "string", "enum": ["results", "hits"], "default": "results"}, "hits: only count."),
        _query("filter", {"type": "string"}, "A CQL2 expression over the queryables."),
        _query("filter-lang", {"type": "string", "enum": ["cql2-text", "cql2-json"]}, "The encoding of filter."),
        _query("filter-crs", {**uri, "default": crs.CRS84}, "The CRS of the coordinates in filter."),
    ]
    return {parameter["name"]: parameter for parameter in made} | {
        "featureId": {
            "name": "featureId",
            "in": "path",
            "description": "The id of a feature.",
            "required": True,
            "schema": {"type": "string"},
        }
    }


def _object(required: list[str], **properties: Members) -> Members:
    return {"type": "object", "required": required, "properties": properties}


def _array(name: str) -> Members:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


_TEXT: Members = {"type": "string"}
_LINKS = _array("link")
_SCHEMAS: Members = {
    "object": {"type": "object"},
    "link": _object(["href", "rel"], href=_TEXT, rel=_TEXT, type=_TEXT, title=_TEXT, hreflang=_TEXT),
    "landingPage": _object(["links"], title=_TEXT, description=_TEXT, links=_LINKS),
    "conformance": _object(["conformsTo"], conformsTo={"type": "array", "items": _TEXT}),
    "collections": _object(["links", "collections"], links=_LINKS, collections=_array("collection")),
    "collection": _object(
        ["id", "links"],
        id=_TEXT,
        title=_TEXT,
        description=_TEXT,
        links=_LINKS,
        extent={"type": "object"},
        itemType=_TEXT,
        crs={"type": "array", "items": _TEXT},
        storageCrs=_TEXT,
    ),
    "geometry": {
        **_object(["type"], type=_TEXT, coordinates={"type": "array", "items": {}}),
        "nullable": True,
    },
    "feature": _object(
        ["type", "geometry", "properties"],
        type={"type": "string", "enum": ["Feature"]},
        id={"oneOf": [{"type": "string"}, {"type": "integer"}]},
        geometry={"$ref": "#/components/schemas/geometry"},
        properties={"type": "object", "nullable": True},
        links=_LINKS,
    ),
    "featureCollection": _object(
        ["type", "features"],
        type={"type": "string", "enum": ["FeatureCollection"]},
        features=_array("feature"),
        links=_LINKS,
        numberMatched={"type": "integer", "minimum": 0},
        numberReturned={"type": "integer", "minimum": 0},
    ),
    "problem": _object(
        ["title", "status"],
        type=_TEXT,
        title=_TEXT,
        status={"type": "integer"},
        detail=_TEXT,
        parameter=_TEXT,
    ),
}
_PROBLEMS = {
    "400": "A parameter is wrong",
    "401": "The credential is not valid",
    "403": "This is not granted",
    "404": "There is no such thing for this caller",
    "405": "The method is not known here",
    "406": "Nothing that Accept allows can be sent",
    "500": "The server failed",
    "503": "What was asked for is being prepared",
}
_RESPONSES: Members = {
    status: {
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}},
    }
    for status, description in _PROBLEMS.items()
}
