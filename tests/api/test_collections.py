"""Whether a collection's descriptions say what its caller may see, and nothing of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import shapely

from tests import vanilla
from tests.conftest import House

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
DOCUMENTS = ("schema", "queryables", "sortables")
CALLERS = (None, "shared", "internal-county", "internal-province")


def everything(house: House, collection: str, caller: str | None) -> list[dict[str, Any]]:
    """All features of a collection, by following next."""
    found: list[dict[str, Any]] = []
    path: str | None = f"/collections/{collection}/items?limit=1000"
    while path:
        page = house.json(path, caller)
        found += page["features"]
        path = next((link["href"].removeprefix(house.url) for link in page["links"] if link["rel"] == "next"), None)
    return found


def listed(house: House, caller: str | None, prefix: str = "") -> list[str]:
    return [found["id"] for found in house.json(f"{prefix}/collections", caller)["collections"]]


@pytest.mark.parametrize("caller", CALLERS)
def test_list_and_page_agree(sample: House, caller: str | None) -> None:
    """Common Part 2, requirement 3: what is listed has a page, with the same content; the rest has none."""
    found = sample.json("/collections", caller)["collections"]
    assert ("minerals" in [one["id"] for one in found]) is (caller is not None and "internal" in caller)
    for one in found:
        alone = sample.json(f"/collections/{one['id']}", caller)
        assert alone == one
    for name in {"minerals", "nope"} - {one["id"] for one in found}:
        for path in ("", *(f"/{document}" for document in DOCUMENTS), "/items", "/items/1"):
            assert sample.get(f"/collections/{name}{path}", caller).status_code == 404


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("collection", ["parcels", "landslides", "stations", "gauges"])
def test_extent_is_that_of_what_the_caller_sees(sample: House, caller: str | None, collection: str) -> None:
    """pygeoapi gives the extent of the configuration to everyone."""
    features = everything(sample, collection, caller)
    extent = sample.json(f"/collections/{collection}", caller)["extent"]
    west, south, east, north = shapely.total_bounds(shapely.from_geojson([json.dumps(f["geometry"]) for f in features]))
    ((*box,),) = extent["spatial"]["bbox"]
    assert extent["spatial"]["crs"] == CRS84
    # a box that was made in the projected coordinates of the source may be a little larger
    assert box[0] <= west + 1e-9 and box[1] <= south + 1e-9 and box[2] >= east - 1e-9 and box[3] >= north - 1e-9
    assert box == pytest.approx([west, south, east, north], abs=0.02)
    time = {"parcels": "updated", "landslides": "date", "stations": "opened", "gauges": "since"}[collection]
    values = [f["properties"].get(time) for f in features]
    if isinstance(values[0], str):
        ((first, last),) = extent["temporal"]["interval"]
        assert (first[:10], last[:10]) == (min(values)[:10], max(values)[:10])
    elif "temporal" in extent:  # a year, or nothing, is no time
        pytest.fail("an interval of what is not let out")
    assert vanilla.get("/collections/places").json["extent"]["spatial"]["bbox"] == [[-180, -90, 180, 90]]


def test_extents_of_two_callers_differ(sample: House) -> None:
    boxes = {json.dumps(sample.json("/collections/landslides", caller)["extent"]["spatial"]["bbox"]) for caller in CALLERS}
    assert len(boxes) >= 3


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("collection", ["parcels", "landslides"])
def test_documents_name_exactly_what_is_let_out(sample: House, caller: str | None, collection: str) -> None:
    """Features Part 3, 6.2 and Part 5; pygeoapi has no sortables."""
    base = f"/collections/{collection}"
    feature = sample.json(f"{base}/items?limit=1", caller)["features"][0]
    found = {document: sample.json(f"{base}/{document}", caller) for document in DOCUMENTS}
    for document, content in found.items():
        assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema" and content["type"] == "object"
        assert content["$id"] == f"{sample.url}{base}/{document}"
        assert sample.get(f"{base}/{document}", caller).content_type == "application/schema+json"
    for document in ("schema", "queryables"):
        assert set(found[document]["properties"]) - {"geometry"} == set(feature["properties"])
    assert set(found["sortables"]["properties"]) <= set(feature["properties"])
    for name, member in found["queryables"]["properties"].items():
        if name == "geometry":
            continue
        value = feature["properties"][name]
        kind = {"string": str, "number": (int, float), "integer": int, "boolean": bool}[member["type"]]
        assert value is None or isinstance(value, kind)
        text = "2020-01-01" if member.get("format") else "1"
        assert sample.get(f"{base}/items?limit=1&{name}={text}", caller).status_code == 200
    for name in found["sortables"]["properties"]:
        assert sample.get(f"{base}/items?limit=1&sortby=-{name}", caller).status_code == 200
    for name in set(found["schema"]["properties"]) - set(found["sortables"]["properties"]):
        assert sample.get(f"{base}/items?limit=1&sortby={name}", caller).status_code == 400
    assert vanilla.get("/collections/places/sortables").status == 404


def test_vanilla_echoes_what_it_does_not_know() -> None:
    """Here an unknown parameter is 400 (tests of HTTP)."""
    assert vanilla.get("/collections/places/queryables?token=abc").json["$id"].endswith("token=abc")


def test_titles_are_in_the_language_asked(sample: House) -> None:
    for language, title, landuse in (
        ("en", "Parcels", "Land use (GB/T 21010 first level)"),
        ("zh", "宗地", "地类编码（GB/T 21010 一级类）"),
    ):
        assert sample.json(f"/collections/parcels?lang={language}")["title"] == title
        for document in DOCUMENTS:
            content = sample.json(f"/collections/parcels/{document}?lang={language}")
            assert content["title"] == title
            assert content["properties"]["landuse"]["title"] == landuse


def test_texts_come_back_unaltered(house: House) -> None:
    """pygeoapi turns < and > into entities in JSON."""
    text = "a < b > c & d \"e\" 'f' </script>"
    house.rewrite("gauges", lambda old: old.replace("title: {en: Rain gauges, zh: 雨量站}", "title: " + json.dumps(text)))
    for path in ("/collections/gauges", "/collections/gauges/schema", "/collections/gauges/queryables"):
        assert house.json(path)["title"] == text
    assert [one["title"] for one in house.json("/collections")["collections"] if one["id"] == "gauges"] == [text]
    assert "</script> " not in house.get("/collections/gauges?f=html").text.replace(f"{text} ", "")
    assert vanilla.get("/collections/places").json["title"] == "Places &lt;b&gt;"


@pytest.mark.parametrize(
    "caller, prefix", [(None, ""), (None, "/open"), ("shared", "/shared"), ("approver", "/internal"), ("approver", "/open")]
)
def test_links_stay_under_the_prefix_and_answer(sample: House, caller: str | None, prefix: str) -> None:
    for path in ("/collections", *(f"/collections/{name}" for name in listed(sample, caller, prefix))):
        document = sample.json(prefix + path, caller)
        for link in document["links"]:
            assert link["href"].startswith(f"{sample.url}{prefix}/") or link["href"].split("?")[0] == sample.url + prefix, link
            answer = sample.get(link["href"].removeprefix(sample.url), caller, Accept=link["type"])
            assert answer.status_code == 200, link
            assert answer.content_type.partition(";")[0] == link["type"].partition(";")[0], link


def test_crs_lists(sample: House) -> None:
    """Features Part 2, requirements 1 to 5."""
    for name, storage in (("parcels", CRS84), ("stations", CRS84)):
        found = sample.json(f"/collections/{name}")
        assert CRS84 in found["crs"] and found["storageCrs"] == storage and storage in found["crs"]
        for crs in found["crs"]:
            answer = sample.get(f"/collections/{name}/items?limit=1&crs={crs}")
            assert answer.status_code == 200 and answer.headers["Content-Crs"] == f"<{crs}>"
    assert sample.json("/collections/parcels", "approver")["storageCrs"].endswith("/EPSG/0/4547")


def test_collection_without_rows_has_no_extent(house: House) -> None:
    house.rewrite("gauges", lambda text: text.replace("  open:\n", "  open:\n    rows: elevation_m < -1000\n"))
    house.tierra("approve", "gauges", "--by", house.keys["approver"].partition(".")[0], "--because", "test")
    assert "extent" not in house.json("/collections/gauges")
    assert house.json("/collections/gauges/items")["numberMatched"] == 0
    assert house.get("/collections/gauges?f=html").status_code == 200
    assert house.get("/collections/gauges/items?f=html").status_code == 200


def test_empty_house(empty: Callable[[], House]) -> None:
    house = empty()
    assert house.json("/collections")["collections"] == []
    for path in ("/", "/collections", "/conformance", "/openapi"):
        for form in ("json", "html"):
            assert house.get(f"{path}?f={form}").status_code == 200
