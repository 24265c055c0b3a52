"""Whether the API definition is valid, complete by itself, and says exactly what is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from server.routes import ROUTES
from tests import vanilla
from tests.conftest import House

FILTERS = {"cql2-text": "1 = 1", "cql2-json": '{"op": "=", "args": [1, 1]}'}
CALLERS = (None, "shared", "internal-county", "approver")


def members(value: Any, name: str) -> Iterator[Any]:
    """All values of a member of this name, at any depth."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == name:
            yield item
        yield from members(item, name)


def resolved(document: Any, value: Any) -> Any:
    while isinstance(value, dict) and "$ref" in value:
        found = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def parameters(document: Any, path: str) -> dict[str, Any]:
    return {p["name"]: p for p in (resolved(document, p) for p in document["paths"][path]["get"]["parameters"])}


@pytest.mark.parametrize("caller", CALLERS)
def test_document_is_valid_and_leads_nowhere_else(sample: House, caller: str | None) -> None:
    """OpenAPI 3.0.3; pygeoapi's references lead to schemas on the web."""
    document = sample.json("/openapi", caller)
    assert document["openapi"].startswith("3.0.")
    OpenAPIV30SpecValidator(document).validate()
    references = [ref for ref in members(document, "$ref") if isinstance(ref, str)]
    assert references and all(ref.startswith("#/components/") for ref in references)
    assert all(resolved(document, {"$ref": ref}) is not None for ref in references)
    names = list(members(document["paths"], "operationId"))
    assert len(names) == len(set(names))
    theirs = vanilla.get("/openapi?f=json").json
    assert [ref for ref in members(theirs, "$ref") if isinstance(ref, str) and ref.startswith("http")]


@pytest.mark.parametrize("caller", CALLERS)
def test_document_holds_what_its_audience_sees(sample: House, caller: str | None) -> None:
    """pygeoapi has one for all."""
    document = sample.json("/openapi", caller)
    collections = {one["id"] for one in sample.json("/collections", caller)["collections"]}
    assert {path.split("/")[2] for path in document["paths"] if path.startswith("/collections/")} == collections
    assert {tag["name"] for tag in document["tags"]} == {*collections, "server"}
    for name in collections:
        feature = sample.json(f"/collections/{name}/items?limit=1", caller)["features"][0]
        asked = parameters(document, f"/collections/{name}/items")
        assert asked["properties"]["schema"]["items"]["enum"] == list(feature["properties"])
        assert set(feature["properties"]) <= set(asked)
    text = json.dumps(document, ensure_ascii=False)
    for word, insiders in (
        ("certificate", ("internal-county", "approver")),
        ("informant", ("internal-county", "approver")),
        ("minerals", ("internal-county", "approver")),
    ):
        assert (word in text) is (caller in insiders)
    assert "identity" not in text


def test_every_route_is_described(sample: House) -> None:
    document = sample.json("/openapi", "approver")
    # a browser's log-in, the assets, and what only an approver sees are no part of the interface
    beside = {"/login", "/static/<path:path>", "/explain"}
    described = {
        path.replace("/parcels", "/<collection_id>").replace("{featureId}", "<any_text:feature_id>") for path in document["paths"]
    }
    assert {route.path for route in ROUTES} - beside <= described


@pytest.mark.parametrize("caller", [None, "approver"])
def test_every_described_parameter_is_taken_and_every_value(sample: House, caller: str | None) -> None:
    document = sample.json("/openapi", caller)
    samples = {
        "bbox": "100,20,110,40", "datetime": "2020-01-01/..", "offset": "1", "skipGeometry": "true", "limit": "3",
        "cursor": None, "filter": None,
        "bbox-crs": None, "filter-crs": None, "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
    }  # fmt: skip
    for path in document["paths"]:
        if path.startswith("/collections/") and path.split("/")[2] not in ("parcels", "stations"):
            continue
        address = path.replace("{featureId}", "none")
        for name, parameter in parameters(document, path).items():
            schema = parameter["schema"]
            enum = schema.get("enum") or schema.get("items", {}).get("enum")
            known = {"boolean": "true", "integer": "1", "number": "1"}.get(
                schema.get("type", ""), "2020-01-01" if schema.get("format") else "1"
            )
            for value in enum or [samples.get(name, known)]:
                if value is None or parameter["in"] != "query":
                    continue
                # it says something of the other, and nothing without it
                with_it = "&filter=" + quote(FILTERS[value]) if name == "filter-lang" else ""
                answer = sample.get(f"{address}?{name}={quote(str(value))}{with_it}", caller)
                assert answer.status_code == (404 if "{" in path else 200), (address, name, value, answer.text[:200])


@pytest.mark.parametrize("caller", [None, "approver"])
def test_answers_are_of_the_described_media_types(sample: House, caller: str | None) -> None:
    document = sample.json("/openapi", caller)
    one = sample.json("/collections/parcels/items?limit=1", caller)["features"][0]["id"]
    for path, item in document["paths"].items():
        if path.startswith("/collections/") and path.split("/")[2] != "parcels":
            continue
        content = item["get"]["responses"]["200"]["content"]
        for media in content:
            answer = sample.get(path.replace("{featureId}", one), caller, Accept=media.partition(";")[0])
            assert answer.status_code == 200
            assert answer.content_type.replace(" ", "").removesuffix(";charset=utf-8") == media.replace(" ", ""), (path, media)


def test_page_size_is_where_qgis_looks_for_it(sample: House) -> None:
    document = sample.json("/openapi")
    schema = document["components"]["parameters"]["limit"]["schema"]
    assert schema["maximum"] == 1000  # the least of the collections' largest pages
    assert parameters(document, "/collections/parcels/items")["limit"]["schema"]["maximum"] == 1000
    assert parameters(document, "/collections/stations/items")["limit"]["schema"]["maximum"] == 10000
    for name in ("parcels", "stations"):
        default = parameters(document, f"/collections/{name}/items")["limit"]["schema"]["default"]
        assert sample.json(f"/collections/{name}/items")["numberReturned"] == default


def test_server_and_language(sample: House) -> None:
    for prefix in ("", "/open"):
        assert sample.json(f"{prefix}/openapi")["servers"] == [{"url": sample.url + prefix}]
    assert sample.json("/openapi?lang=zh")["info"]["title"].startswith("Tierra 自然资源")
    assert sample.get("/openapi").content_type == "application/vnd.oai.openapi+json;version=3.0"
    for accept in (
        "application/vnd.oai.openapi+json;version=3.0",
        "application/vnd.oai.openapi+json",
        "application/openapi+json;version=3.0",
        "application/json",
    ):
        assert sample.get("/openapi", Accept=accept).status_code == 200
    assert sample.get("/openapi?f=html").content_type.startswith("text/html")
