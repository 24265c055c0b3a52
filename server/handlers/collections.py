"""OGC API Common and Features Part 5: collections, what their features look like, what can be asked of them."""

from __future__ import annotations

from typing import Any

import orjson
from pygeoapi.api import API
from pygeoapi.api.collection import gen_collection
from pygeoapi.provider.base import ProviderGenericError

from providers.features import FeatureProvider
from providers.reader import Reader
from server.handlers.items import provider
from server.pages import render
from server.problems import invalid, not_found
from server.request import MEDIA_TYPES, Request
from server.responses import Answer

FORMATS = {"json": MEDIA_TYPES["json"], "html": MEDIA_TYPES["html"]}
SCHEMA_FORMATS = {"json": MEDIA_TYPES["schema"], "html": MEDIA_TYPES["html"]}
RELATION = "http://www.opengis.net/def/rel/ogc/1.0"
_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_GREGORIAN = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"


def get_collections(api: API, request: Request) -> Answer:
    """All collections of the audience (Common Part 2, 8.2). One whose edition waits to be built shows no extent."""
    request.check(frozenset({"f", "lang"}))
    found = [_describe(api, request, name) for name in api.config["resources"]]
    content = {
        "collections": found,
        "links": [
            request.link("self", "/collections", request.media_type, "This document"),
            *(
                request.link("alternate", "/collections", media, f"This document as {name}", f=name)
                for name, media in FORMATS.items()
                if name != request.negotiated
            ),
        ],
    }
    if request.negotiated == "json":
        return {"Content-Type": request.media_type}, 200, orjson.dumps(content)
    content["base_url"] = api.base_url
    content["collections_path"] = api.get_collections_url()
    return {"Content-Type": request.media_type}, 200, render(api, request, "collections/index.html", content)


def get_collection(api: API, request: Request, collection_id: str) -> Answer:
    """One collection (Common Part 2, 8.3)."""
    request.check(frozenset({"f", "lang"}))
    if collection_id not in api.config["resources"]:
        raise not_found(f"collection {collection_id}")
    with provider(api, collection_id).reading():  # a stale edition is 503 here, not a collection without an extent
        content = _describe(api, request, collection_id)
    if request.negotiated == "json":
        return {"Content-Type": request.media_type}, 200, orjson.dumps(content)
    content["base_url"] = api.base_url
    content["collections_path"] = api.get_collections_url()
    return {"Content-Type": request.media_type}, 200, render(api, request, "collections/collection.html", content)


def get_schema(api: API, request: Request, collection_id: str) -> Answer:
    """What the features of a collection look like (Features Part 5, 'schemas')."""
    source = provider(api, collection_id)
    with source.reading() as reader:
        content = _schema(api, request, collection_id, source, reader, "schema")
        content["required"] = [source.id_field] if source.id_field in content["properties"] else []
    return _answer(api, request, collection_id, "collections/schema.html", content)


def get_queryables(api: API, request: Request, collection_id: str) -> Answer:
    """What a filter may name (Features Part 3, 6.2)."""
    source = provider(api, collection_id)
    profile = request.params.get("profile")
    if profile not in (None, "actual-domain"):
        raise invalid("profile", "profile must be actual-domain")
    with source.reading() as reader:
        content = _schema(api, request, collection_id, source, reader, "queryables")
        if profile:
            for column in reader.relation.columns:
                if column.type == "string" and (values := reader.domain(column.name)) is not None:
                    content["properties"][column.name]["enum"] = values
    content["additionalProperties"] = False
    return _answer(api, request, collection_id, "collections/queryables.html", content, "profile")


def get_sortables(api: API, request: Request, collection_id: str) -> Answer:
    """What sortby may name: the properties that are declared, and indexed, as sortables."""
    source = provider(api, collection_id)
    with source.reading() as reader:
        content = _schema(api, request, collection_id, source, reader, "sortables")
    content["properties"] = {name: content["properties"][name] for name in source.sortables}
    content["additionalProperties"] = False
    return _answer(api, request, collection_id, "collections/sortables.html", content)


def _answer(api: API, request: Request, collection_id: str, template: str, content: dict[str, Any], *parameters: str) -> Answer:
    request.check(frozenset({"f", "lang", *parameters}))
    headers = {"Content-Type": request.media_type}
    if request.negotiated == "json":
        return headers, 200, orjson.dumps(content)
    content["collections_path"] = api.get_collections_url()
    content["dataset_path"] = request.href(f"/collections/{collection_id}")
    content["links"] = []
    return headers, 200, render(api, request, template, content)


def _schema(
    api: API, request: Request, collection_id: str, source: FeatureProvider, reader: Reader, document: str
) -> dict[str, Any]:
    fields = source.described
    properties: dict[str, Any] = {}
    if reader.relation.geometry:
        properties["geometry"] = {
            "x-ogc-role": "primary-geometry",
            "format": reader.relation.geometry_format,
        }
    for column in reader.relation.columns:
        said = {
            member: request.translate(fields[column.name][member])
            for member in ("title", "description")
            if member in fields.get(column.name, {})
        }
        properties[column.name] = {"title": column.name, **said, "type": column.type}
        if column.format:
            properties[column.name]["format"] = column.format
        if column.name == source.id_field:
            properties[column.name]["x-ogc-role"] = "id"
        elif column.name == source.time_field and column.format:
            properties[column.name]["x-ogc-role"] = "primary-instant"
        if "unit" in fields.get(column.name, {}):
            properties[column.name]["x-ogc-unit"] = fields[column.name]["unit"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": request.href(f"/collections/{collection_id}/{document}"),
        "type": "object",
        "title": request.translate(api.config["resources"][collection_id]["title"]),
        "properties": properties,
    }


def _describe(api: API, request: Request, collection_id: str) -> dict[str, Any]:
    data: dict[str, Any] = gen_collection(api, request, collection_id, request.locale)
    base = f"/collections/{collection_id}"
    # JSON-LD is not offered, and CSV goes by its own name
    data["links"] = [
        link | {"type": link["type"].removesuffix("; charset=utf-8")}
        for link in data["links"]
        if link["type"] != "application/ld+json"
    ]
    data["links"].append(request.link(f"{RELATION}/sortables", base + "/sortables", MEDIA_TYPES["schema"], "Sortables"))
    data["itemType"] = "feature"
    extent = _extent(api, collection_id)
    if extent:
        data["extent"] = extent
    else:
        del data["extent"]
    return data


def _extent(api: API, collection_id: str) -> dict[str, Any]:
    """The extent of what the caller may see; empty where there is nothing, or where the edition waits to be built."""
    extent: dict[str, Any] = {}
    try:
        with provider(api, collection_id).reading() as reader:
            box, interval = reader.bbox_of_all(), reader.interval()
    except ProviderGenericError:
        return extent
    if box:
        extent["spatial"] = {"bbox": [list(box)], "crs": _CRS84}
    if interval:
        extent["temporal"] = {"interval": [[_instant(text) for text in interval]], "trs": _GREGORIAN}
    return extent


def _instant(text: str) -> str:
    return text if "T" in text else text + "T00:00:00Z"
