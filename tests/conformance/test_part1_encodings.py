"""Do API definition, HTML and GeoJSON pass the abstract tests of Features Part 1 (17-069r4, A.3 to A.5)?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import html5lib
import numpy as np
import pytest
import shapely
from lxml import html
from openapi_spec_validator import OpenAPIV30SpecValidator

from tests.conformance import schemas
from tests.conformance.sites import GEOJSON, HTML, JSON, OPENAPI, SCHEMA, Answer, Layer, Site, bare, href

EXPECTED = {"items": GEOJSON, "openapi": OPENAPI, "schema": SCHEMA, "queryables": SCHEMA, "sortables": SCHEMA}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """All objects of a JSON document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def addresses(site: Site) -> dict[str, str]:
    """An address for each path of the API definition, a feature's id in place of {featureId}."""
    found = {}
    for path in site.api["paths"]:
        address = site.url + path
        if "{featureId}" in path:
            layer = Layer(site, path.split("/")[2])
            address = f"{site.url}{layer.path}/{quote(layer.page(limit=1)['features'][0]['id'], safe='')}"
        assert "{" not in address, path
        found[path] = address
    return found


def media_of(path: str) -> str:
    """The media type of the JSON encoding of a path's resource."""
    parts = path.strip("/").split("/")
    return GEOJSON if "items" in parts else EXPECTED.get(parts[-1], JSON)


# OpenAPI 3.0


def test_oas_definition_1(site: Site) -> None:
    """/conf/oas30/oas-definition-1: the definition in JSON and in HTML."""
    address = bare(href(site.landing, "service-desc", OPENAPI))
    assert site.get(address, OPENAPI).media == OPENAPI
    assert site.get(href(site.landing, "service-doc", HTML)).media == f"{HTML}; charset=utf-8"


def test_oas_definition_2(site: Site) -> None:
    """/conf/oas30/oas-definition-2: it is valid OpenAPI 3.0."""
    errors = [f"{list(error.absolute_path)}: {error.message}" for error in OpenAPIV30SpecValidator(site.api).iter_errors()]
    assert not errors


def test_no_external_reference(site: Site) -> None:
    """What OGC's executable suite needs: every reference is to the document itself, and the base address is the one asked."""
    references = [node["$ref"] for node in nodes(site.api) if isinstance(node.get("$ref"), str)]
    assert references
    for reference in set(references):
        assert site.resolve({"$ref": reference})
    assert [server["url"] for server in site.api["servers"]] == [site.url]


def test_explicit_paths(layer: Layer) -> None:
    """What OGC's executable suite needs: each collection has paths of its own, with a 200 that has content."""
    for path in (f"/collections/{layer.id}", layer.path, f"{layer.path}/{{featureId}}"):
        assert layer.site.response(path)["content"], path
    names = layer.site.parameters(layer.path)
    assert {"limit", "bbox", "datetime", "crs", "bbox-crs"} <= set(names)
    for parameter in names.values():
        assert (parameter["style"], parameter["explode"]) == ("form", False), parameter["name"]
        # additional parameters would make every name a known one
        assert parameter["schema"].get("type") != "object", parameter["name"]


def test_oas_impl(site: Site) -> None:
    """/conf/oas30/oas-impl, /conf/oas30/completeness: each operation answers in each encoding, in the schema that is given."""
    for path, address in addresses(site).items():
        for media in site.response(path)["content"]:
            answer = site.get(address, media)
            assert answer.status == 200, (path, media, answer.body[:200])
            assert answer.media.partition(";")[0] == media.partition(";")[0], path
            site.check(path, answer)


def test_formats_by_parameter(site: Site) -> None:
    """/conf/oas30/oas-impl: each value of `f` gives an encoding that is listed, and all of them together every one."""
    for path, address in addresses(site).items():
        parameter = site.parameters(path).get("f")
        if parameter is not None:
            answers = [site.get(f"{address}?f={value}") for value in parameter["schema"]["enum"]]
            assert {answer.status for answer in answers} == {200}, path
            medias = {answer.media.partition(";")[0] for answer in answers}
            assert medias == {media.partition(";")[0] for media in site.response(path)["content"]}, path


@pytest.mark.parametrize(
    "query,accept,headers,status",
    [
        ("?unknown=1", None, {}, 400),
        ("?f=unknown", None, {}, 400),
        ("", "image/png", {}, 406),
        ("", None, {"X_API_Key": "no.such-key"}, 401),
    ],
)
def test_exceptions_codes(site: Site, query: str, accept: str | None, headers: dict[str, str], status: int) -> None:
    """/conf/oas30/exceptions-codes, /conf/oas30/completeness: each error is listed, and is of the schema that is given."""
    for path, address in addresses(site).items():
        answer = site.get(address + query, accept, **headers)
        assert answer.status == status, (path, answer.status)
        site.check(path, answer)


def test_security(site: Site) -> None:
    """/conf/oas30/security: the schemes are there; none is needed where it is open, and a wrong credential is none."""
    schemes = {(scheme["type"], scheme.get("in"), scheme.get("name"), scheme.get("scheme"))
               for scheme in site.api["components"]["securitySchemes"].values()}  # fmt: skip
    assert {("apiKey", "header", "X-API-Key", None), ("http", None, None, "basic")} <= schemes
    named = {name for choice in site.api["security"] for name in choice}
    assert named == set(site.api["components"]["securitySchemes"])


# HTML


def page_of(answer: Answer) -> Any:
    """An HTML 5 page without a parse error, as lxml has it."""
    assert (answer.status, answer.media) == (200, f"{HTML}; charset=utf-8")
    html5lib.HTMLParser(strict=True).parse(answer.body.decode())
    page = html.document_fromstring(answer.body.decode())
    names = page.xpath("//@id")
    assert sorted(names) == sorted(set(names)), "an id is given twice"
    assert page.xpath("string(//title)") and page.get("lang")
    return page


def places(page: Any, address: str) -> set[str]:
    """Where the <a> elements of a page lead, without queries."""
    page.make_links_absolute(address)
    return {bare(place).rstrip("/") for place in page.xpath("//body//a/@href")}


def test_html_definition(site: Site) -> None:
    """/conf/html/definition: every resource but the health word comes as a page."""
    for path, address in addresses(site).items():
        if path != "/health":
            page_of(site.get(address, HTML))


def test_html_content_links(site: Site) -> None:
    """/conf/html/content: the links of the JSON are <a> elements in the page."""
    for path, address in addresses(site).items():
        answer = site.get(address, media_of(path))
        if path != "/openapi" and "links" in answer.json:
            found = places(page_of(site.get(address, HTML)), address)
            wanted = {bare(link["href"]).rstrip("/") for link in answer.json["links"] if link["rel"] != "self"}
            assert wanted <= found, (path, wanted - found)


def test_html_content_of_resources(site: Site) -> None:
    """/conf/html/content: titles, descriptions and conformance classes of the JSON are in the page's body."""
    words = [site.landing["title"], site.landing["description"]]
    assert_words(site, "/", words)
    assert_words(site, "/conformance", site.conforms_to)
    entries = site.collections["collections"]
    assert_words(site, "/collections", [entry[name] for entry in entries for name in ("title", "description")])
    for entry in entries:
        extent = [str(number) for number in entry["extent"]["spatial"]["bbox"][0]]
        extent += entry["extent"].get("temporal", {"interval": [[]]})["interval"][0]
        words = [entry["id"], entry["title"], entry["description"], *entry["keywords"], *entry["crs"], entry["storageCrs"]]
        assert_words(site, f"/collections/{entry['id']}", words + extent)


def test_html_content_of_features(layer: Layer) -> None:
    """/conf/html/content: a page of items has the ids, a feature's page all of its values."""
    items = layer.page()["features"]
    assert_words(layer.site, layer.path, [feature["id"] for feature in items])
    feature = items[0]
    values = [value for value in feature["properties"].values() if value is not None]
    # the property that is the id goes by this name
    names = ["id" if name == layer.role("id") else name for name in feature["properties"]]
    assert_words(layer.site, f"{layer.path}/{feature['id']}", [*names, *(str(value) for value in values)])


def body(site: Site, path: str) -> str:
    whole = page_of(site.get(site.url + path, HTML)).find("body")
    for script in whole.xpath(".//script"):
        script.drop_tree()  # what it holds is not read by a person
    return re.sub(r"\s+", " ", whole.text_content())


def assert_words(site: Site, path: str, words: list[str]) -> None:
    text = body(site, path)
    missing = [word for word in words if re.sub(r"\s+", " ", word.strip()) not in text]
    assert not missing, (path, missing)


# GeoJSON


def test_geojson_definition(site: Site) -> None:
    """/conf/geojson/definition: GeoJSON for features, JSON for the rest; also when only JSON is asked for."""
    for path, address in addresses(site).items():
        assert site.get(address, media_of(path)).media == media_of(path), path
        assert site.get(address).media == media_of(path), path
        assert media_of(path) in site.response(path)["content"], path
        # a browser's script and OGC's executable suite ask like this
        for accept in (f"{JSON}, */*;q=0.1", f"{JSON}, application/javascript, text/javascript, text/json"):
            assert site.get(address, accept).media == media_of(path), (path, accept)


def test_geojson_content(layer: Layer) -> None:
    """/conf/geojson/content: a FeatureCollection, each feature of the schema, whatever is asked."""
    schemas.check({**layer.page(), "features": layer.features[:200]}, schemas.FEATURE_COLLECTION)
    kept = list(layer.features[0]["properties"])[:1]
    schemas.check(page := layer.page(skipGeometry="true", properties=kept[0]), schemas.FEATURE_COLLECTION)
    assert all(feature["geometry"] is None and list(feature["properties"]) == kept for feature in page["features"])


def test_geojson_right_hand_rule(layer: Layer) -> None:
    """/conf/geojson/content (RFC 7946, 3.1.6): exterior rings go counterclockwise, interior ones clockwise."""
    areas = [part for part in shapely.get_parts(layer.geometries) if part.geom_type == "Polygon"]
    outer = shapely.get_exterior_ring(areas)
    assert np.all(shapely.is_ccw(outer))
    assert not np.any(shapely.is_ccw([ring for area in areas for ring in area.interiors]))


def test_json_is_utf_8(layer: Layer) -> None:
    """/conf/geojson/content (RFC 8259, 8.1): UTF-8, without a byte order mark."""
    body = layer.ask().body
    assert body[:1] == b"{" and json.loads(body.decode("utf-8")) == layer.page()
