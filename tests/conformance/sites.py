"""What a client of OGC API Features finds on a server: it knows one address, and follows links from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import shapely
from numpy.typing import NDArray
from openapi_schema_validator import OAS30ReadValidator

GEOJSON = "application/geo+json"
HTML = "text/html"
JSON = "application/json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
SCHEMA = "application/schema+json"
HYPHENATED = {"bbox_crs": "bbox-crs", "filter_lang": "filter-lang", "filter_crs": "filter-crs"}


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def media(self) -> str:
        """The Content-Type, as it was sent."""
        return self.headers["Content-Type"]


def links(document: Mapping[str, Any], rel: str, media: str | None = None) -> list[dict[str, Any]]:
    """The links of a document with a relation, and a media type where it is given."""
    return [link for link in document["links"] if link["rel"] == rel and media in (None, link["type"])]


def href(document: Mapping[str, Any], rel: str, media: str | None = None) -> str:
    """The address of the first of those links, of which there must be one."""
    found = links(document, rel, media)
    assert found, (rel, media, document["links"])
    return str(found[0]["href"])


def bare(address: str) -> str:
    """An address without its query."""
    return address.partition("?")[0]


@dataclass
class Site:
    """A server under one base address, as one caller sees it. `fetch` asks an address with headers."""

    url: str
    tier: str
    fetch: Callable[[str, Mapping[str, str]], Answer]

    def get(self, address: str, accept: str | None = None, **headers: str) -> Answer:
        """Ask an address, which must lie under the base address."""
        assert address.startswith(self.url), f"{address} does not lie under {self.url}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.fetch(address, sent if accept is None else {**sent, "Accept": accept})

    def json(self, address: str, media: str = JSON) -> Any:
        """The JSON document of this media type at an address."""
        answer = self.get(address, media)
        assert (answer.status, answer.media) == (200, media), (address, answer.status, answer.media, answer.body[:300])
        return answer.json

    @cached_property
    def landing(self) -> Any:
        return self.json(self.url + "/")

    @cached_property
    def api(self) -> Any:
        """The API definition."""
        return self.json(href(self.landing, "service-desc"), OPENAPI)

    @cached_property
    def conforms_to(self) -> list[str]:
        found: list[str] = self.json(href(self.landing, "conformance"))["conformsTo"]
        return found

    @cached_property
    def collections(self) -> Any:
        return self.json(href(self.landing, "data", JSON))

    def resolve(self, node: Any) -> Any:
        """A part of the API definition; where it is a reference, what that refers to."""
        while "$ref" in node:
            place = node["$ref"]
            assert place.startswith("#/"), f"external reference {place}"
            node = self.api
            for step in place[2:].split("/"):
                node = node[step.replace("~1", "/").replace("~0", "~")]
        return node

    def parameters(self, path: str) -> dict[str, Any]:
        """The parameters of GET on a path of the API definition, by name."""
        found = [self.resolve(parameter) for parameter in self.api["paths"][path]["get"]["parameters"]]
        named = {parameter["name"]: parameter for parameter in found}
        assert len(named) == len(found), f"{path}: a parameter is defined twice"
        return named

    def response(self, path: str, status: int = 200) -> Any:
        """What the API definition says of an answer of GET on a path."""
        return self.resolve(self.api["paths"][path]["get"]["responses"][str(status)])

    def check(self, path: str, answer: Answer) -> None:
        """The answer of GET on a path of the API definition is one that it lists, of the schema that it gives."""
        assert str(answer.status) in self.api["paths"][path]["get"]["responses"], (path, answer.status)
        content = self.response(path, answer.status)["content"]
        media = answer.media if answer.media in content else answer.media.partition(";")[0]
        assert media in content, (path, answer.media, list(content))
        if "json" in media:
            schema = {**content[media]["schema"], "components": self.api["components"]}
            OAS30ReadValidator(schema).validate(answer.json)


@dataclass
class Layer:
    """A feature collection of a site."""

    site: Site
    id: str

    @property
    def path(self) -> str:
        """The path of its items in the API definition."""
        return f"/collections/{self.id}/items"

    @cached_property
    def entry(self) -> Any:
        """What /collections says of it."""
        return next(entry for entry in self.site.collections["collections"] if entry["id"] == self.id)

    @cached_property
    def items(self) -> str:
        """The address of its items, without a query."""
        return bare(href(self.entry, "items", GEOJSON))

    @cached_property
    def largest(self) -> int:
        """The largest page, as the API definition says."""
        return int(self.site.parameters(self.path)["limit"]["schema"]["maximum"])

    @cached_property
    def schema(self) -> Any:
        return self.site.json(self.site.url + f"/collections/{self.id}/schema", SCHEMA)

    def role(self, role: str) -> str | None:
        """The property with a role (Features Part 5), or None."""
        return next((name for name, member in self.schema["properties"].items() if member.get("x-ogc-role") == role), None)

    def ask(self, accept: str = GEOJSON, **parameters: Any) -> Answer:
        """Ask for items; `bbox_crs`, `filter_lang` and `filter_crs` have _ for -."""
        query = {HYPHENATED.get(name, name): value for name, value in parameters.items()}
        return self.site.get(f"{self.items}?{urlencode(query)}" if query else self.items, accept)

    def page(self, **parameters: Any) -> Any:
        """A page of items, which must be answered."""
        answer = self.ask(**parameters)
        assert (answer.status, answer.media) == (200, GEOJSON), (self.id, parameters, answer.status, answer.body[:300])
        return answer.json

    def crawl(self, **parameters: Any) -> list[Any]:
        """All features of a request, by its `next` links: none twice, and as many as every page says."""
        page = self.page(**parameters)
        matched: int = page["numberMatched"]
        found: list[Any] = page["features"]
        while following := links(page, "next"):
            assert len(found) < matched, "there is a next page where there is nothing more"
            page = self.site.json(following[0]["href"], following[0]["type"])
            assert page["features"], "a next page is empty"
            assert page["numberMatched"] == matched
            found = found + page["features"]
        ids = [feature["id"] for feature in found]
        assert len(set(ids)) == len(ids) == matched, (self.id, parameters, len(set(ids)), len(ids), matched)
        return found

    def ids(self, **parameters: Any) -> set[str]:
        """The ids of all features of a request."""
        return {feature["id"] for feature in self.crawl(limit=self.largest, **parameters)}

    @cached_property
    def features(self) -> list[Any]:
        """All features, as they are sent where nothing is asked."""
        return self.crawl(limit=self.largest)

    @cached_property
    def all_ids(self) -> set[str]:
        return {feature["id"] for feature in self.features}

    @cached_property
    def geometries(self) -> NDArray[np.object_]:
        """Their geometries; None where there is none."""
        return geometries(self.features)

    def meeting(self, boxes: list[tuple[float, float, float, float]], grown: float = 0.0) -> set[str]:
        """Features that meet one of the boxes, each grown by a length, and those without a geometry."""
        return meeting(self.features, self.geometries, boxes, grown)


def geometries(features: list[Any]) -> NDArray[np.object_]:
    """GeoJSON features as shapely geometries; None where there is none."""
    texts = [None if feature["geometry"] is None else json.dumps(feature["geometry"]) for feature in features]
    found: NDArray[np.object_] = shapely.from_geojson(np.array(texts, dtype=object))
    return found


def meeting(
    features: list[Any],
    shapes: NDArray[np.object_],
    boxes: list[tuple[float, float, float, float]],
    grown: float = 0.0,
) -> set[str]:
    """The ids of features whose shape meets a box (x, y, x, y), grown by a length, and of those without a shape."""
    met = shapely.is_missing(shapes)
    for west, south, east, north in boxes:
        west, south, east, north = west - grown, south - grown, east + grown, north + grown
        if west <= east and south <= north:
            # the envelope of two corners is a point or a line where the box has no area
            met |= shapely.intersects(shapes, shapely.envelope(shapely.MultiPoint([(west, south), (east, north)])))
    return {feature["id"] for feature, inside in zip(features, met, strict=True) if inside}
