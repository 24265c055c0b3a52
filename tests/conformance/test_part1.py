"""Do items and single features pass the abstract tests of Features Part 1 (17-069r4, A.2.7 and A.2.8)?

Each function names the abstract test that it is, as Annex A does. What must come back is found by brute force.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
import shapely

from tests.conformance import schemas
from tests.conformance.expected import Box, Span, asked, boxes, in_time, instant, quarters, source_points, span
from tests.conformance.sites import GEOJSON, HTML, Layer, href, links
from tests.conftest import House

# The boxes of OGC's executable suite: meridian, equator, antimeridian, poles.
WORLD: tuple[Box, ...] = (
    (-1.5, 50, 1.5, 53),
    (-80, -5, -70, 5),
    (177, 65, -177, 70),
    (-180, 85, 180, 90),
    (-180, -90, 180, -85),
)


def text(box: tuple[float, ...]) -> str:
    return ",".join(str(number) for number in box)


def test_fc_op(layer: Layer) -> None:
    """/conf/core/fc-op"""
    answer = layer.ask()
    assert (answer.status, answer.media) == (200, GEOJSON)


def test_fc_response(layer: Layer) -> None:
    """/conf/core/fc-response"""
    page = layer.page()
    schemas.check(page, schemas.FEATURE_COLLECTION)
    assert page["features"]


def test_fc_response_holds_everything(layer: Layer) -> None:
    """/conf/core/fc-response: by `next` links, in small pages, all features come, each once, in the order of large pages."""
    found = layer.crawl(limit=max(3, len(layer.features) // 9))
    assert found == layer.features


def test_fc_links(layer: Layer) -> None:
    """/conf/core/fc-links: self, alternate in every other encoding; all with relation and type."""
    page = layer.page(limit=2, bbox="-180,-90,180,90")
    (own,) = links(page, "self")
    assert own["type"] == GEOJSON and layer.site.json(own["href"], GEOJSON) == page
    others = {link["type"] for link in links(page, "alternate")}
    assert others == set(layer.site.response(layer.path)["content"]) - {GEOJSON}
    for link in links(page, "alternate"):
        answer = layer.site.get(link["href"], link["type"])
        assert (answer.status, answer.media.partition(";")[0]) == (200, link["type"])
    assert all(link["rel"] and link["type"] for link in page["links"])
    (following,) = links(page, "next")
    assert following["type"] == GEOJSON


def test_fc_time_stamp(layer: Layer) -> None:
    """/conf/core/fc-timeStamp: where it is given, it is the time of the answer."""
    before = datetime.now(UTC)
    stamp = layer.page().get("timeStamp", instant(before))
    assert before <= datetime.fromisoformat(stamp) <= datetime.now(UTC)


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_fc_number_matched(layer: Layer, limit: int) -> None:
    """/conf/core/fc-numberMatched, /conf/core/fc-numberReturned"""
    page = layer.page(limit=limit)
    assert page["numberMatched"] == len(layer.features)
    assert page["numberReturned"] == len(page["features"]) == min(limit, len(layer.features))


def test_fc_number_matched_as_the_suite_counts(layer: Layer) -> None:
    """/conf/core/fc-numberMatched: the executable suite follows `next` with the largest limit in place of the link's own."""
    page = layer.page(limit=1, bbox="-180,-90,180,90")
    count, matched = len(page["features"]), page["numberMatched"]
    while following := links(page, "next"):
        query = dict(parse_qsl(urlsplit(following[0]["href"]).query)) | {"limit": layer.largest}
        page = layer.page(**query)
        count += len(page["features"])
    assert count == matched == len(layer.features)


# limit


def test_fc_limit_definition(layer: Layer) -> None:
    """/conf/core/fc-limit-definition"""
    parameter = layer.site.parameters(layer.path)["limit"]
    assert (parameter["in"], parameter["required"]) == ("query", False)
    assert (parameter["style"], parameter["explode"]) == ("form", False)
    schema = parameter["schema"]
    assert schema["type"] == "integer"
    assert 1 == schema["minimum"] <= schema["default"] <= schema["maximum"]


@pytest.mark.parametrize("of", ["minimum", "default", "hundred", "maximum", "beyond", "far beyond"])
def test_fc_limit_response(layer: Layer, of: str) -> None:
    """/conf/core/fc-limit-response: as many as asked; a limit above the maximum is the maximum, not an error."""
    schema = layer.site.parameters(layer.path)["limit"]["schema"]
    most = schema["maximum"]
    limit = {"hundred": 100, "beyond": most + 1, "far beyond": 10**15}.get(of) or schema[of]
    assert len(layer.page(limit=limit)["features"]) == min(limit, most, len(layer.features))


def test_default_limit(layer: Layer) -> None:
    """/conf/core/fc-limit-definition: the default is what is taken without a limit."""
    default = layer.site.parameters(layer.path)["limit"]["schema"]["default"]
    assert layer.page()["features"] == layer.page(limit=default)["features"]


# bbox


def test_fc_bbox_definition(layer: Layer) -> None:
    """/conf/core/fc-bbox-definition"""
    parameter = layer.site.parameters(layer.path)["bbox"]
    assert (parameter["in"], parameter["required"]) == ("query", False)
    assert (parameter["style"], parameter["explode"]) == ("form", False)
    schema = parameter["schema"]
    assert (schema["type"], schema["items"]["type"]) == ("array", "number")
    sizes = [(part["minItems"], part["maxItems"]) for part in schema.get("oneOf", [schema])]
    assert sizes in ([(4, 6)], [(4, 4), (6, 6)])


def near(layer: Layer, box: Box) -> float:
    """How far an edge of a box may lie from where it is meant: inside the agency it follows a curve in the stored CRS."""
    return 0 if layer.site.tier == "open" else max(1e-5 * max(box[2] - box[0], box[3] - box[1]), 1e-8)


@pytest.mark.parametrize("box", WORLD, ids=["meridian", "equator", "antimeridian", "north", "south"])
def test_fc_bbox_response_in_the_world(layer: Layer, box: Box) -> None:
    """/conf/core/fc-bbox-response: the boxes of the executable suite."""
    found = layer.ids(bbox=text(box))
    assert found == layer.meeting(boxes(box))
    assert bool(found) == (layer.id == "stations")


@pytest.mark.parametrize("part", ["extent", "middle", "corner", "edge", "vertex", "far"])
def test_fc_bbox_response(layer: Layer, part: str) -> None:
    """/conf/core/fc-bbox-response: boxes about the collection's own extent, also such as have no width."""
    west, south, east, north = layer.entry["extent"]["spatial"]["bbox"][0]
    x, y = shapely.get_coordinates(layer.geometries)[len(layer.features) // 2].tolist()
    width, height = (east - west) / 4, (north - south) / 4
    box = {
        "extent": (west, south, east, north),
        "middle": (max(x - width, -180), max(y - height, -90), min(x + width, 180), min(y + height, 90)),
        "corner": (west, south, west + width, south + height),
        "edge": (west, y, east, y),
        "vertex": (x, y, x, y),
        "far": (-40.0, -40.0, -39.0, -39.0),
    }[part]
    found, grown = layer.ids(bbox=text(box)), near(layer, box)
    assert layer.meeting([box], -grown) <= found <= layer.meeting([box], grown)
    assert found or part not in ("extent", "middle")
    assert not found or part != "far"


def test_fc_bbox_response_with_heights(layer: Layer) -> None:
    """/conf/core/fc-bbox-response: six numbers; the features have no height, so that they lie in every one."""
    west, south, east, north = layer.entry["extent"]["spatial"]["bbox"][0]
    x, y = (west + east) / 2, (south + north) / 2
    assert layer.ids(bbox=text((west, south, -100, x, y, 100))) == layer.ids(bbox=text((west, south, x, y)))


@pytest.mark.parametrize("box", [*WORLD, (170, -60, -170, 60), (-180, -90, 180, 90), (180, -90, -180, 90)])
def test_fc_bbox_response_against_the_source(sample: House, layers: dict[tuple[str, str], Layer], box: Box) -> None:
    """/conf/core/fc-bbox-response: the world-wide stations in a box are those whose coordinates in the source are."""
    places = source_points(sample.directory / "data" / "province.gpkg", "stations", "station_id")
    inside = {
        key
        for key, (x, y) in places.items()
        for west, south, east, north in boxes(box)
        if west <= x <= east and south <= y <= north
    }
    assert inside
    assert layers["open", "stations"].ids(bbox=text(box)) == inside


# datetime


def test_fc_time_definition(layer: Layer) -> None:
    """/conf/core/fc-time-definition"""
    parameter = layer.site.parameters(layer.path)["datetime"]
    assert (parameter["in"], parameter["required"], parameter["schema"]["type"]) == ("query", False, "string")
    assert (parameter["style"], parameter["explode"]) == ("form", False)


TIMES: dict[str, Any] = {
    "first": lambda t: instant(t[0]),
    "date": lambda t: t[2].date().isoformat(),
    "interval": lambda t: f"{instant(t[1])}/{instant(t[3])}",
    "interval of dates": lambda t: f"{t[1].date()}/{t[2].date()}",
    "one day": lambda t: f"{t[4].date()}/{t[4].date()}",
    "open start": lambda t: f"../{instant(t[2])}",
    "empty start": lambda t: f"/{instant(t[2])}",
    "open end": lambda t: f"{instant(t[2])}/..",
    "empty end": lambda t: f"{t[2].date()}/",
    "offset": lambda t: f"{t[1].astimezone(timezone(timedelta(hours=8))).isoformat()}/..",
    "after all": lambda t: f"{instant(t[4] + timedelta(days=400))}/..",
}


def moments(layer: Layer) -> list[datetime]:
    """Begin, quarters and end of the extent; of some time where the collection has none."""
    if "temporal" in layer.entry["extent"]:
        return quarters(layer.entry)
    return [datetime(1990 + 5 * part, 1, 1, tzinfo=UTC) for part in range(5)]


@pytest.mark.parametrize("form", TIMES)
def test_fc_time_response(layer: Layer, form: str) -> None:
    """/conf/core/fc-time-response: every form that the grammar has; a collection without times answers with all of it."""
    query = TIMES[form](moments(layer))
    wanted = in_time(layer.features, layer.role("primary-instant"), asked(query))
    assert layer.ids(datetime=query) == wanted


def test_fc_time_response_at_a_feature(layer: Layer) -> None:
    """/conf/core/fc-time-response: the very time of a feature finds it, and the next microsecond does not."""
    name = layer.role("primary-instant")
    feature = layer.features[len(layer.features) // 2]
    value = feature["properties"].get(name, "2001-01-01")
    for query in (value, f"{value}/{value}", f"{value}/..", f"../{value}"):
        found = layer.ids(datetime=query)
        assert feature["id"] in found
        assert found == in_time(layer.features, name, asked(query))
    after = span(value).high
    assert after is not None
    query = f"{instant(after + timedelta(microseconds=1))}/.."
    assert layer.ids(datetime=query) == in_time(layer.features, name, asked(query))


def test_fc_time_response_of_a_duration(layer: Layer) -> None:
    """/conf/core/fc-time-response: a start and an ISO 8601 duration, which OGC's executable suite sends and wants answered."""
    first = moments(layer)[1].date()
    low, high = span(first.isoformat()).low, span((first + timedelta(days=2)).isoformat()).high
    wanted = in_time(layer.features, layer.role("primary-instant"), Span(low, high))
    assert layer.ids(datetime=f"{first}/P2D") == wanted


# what has no geometry or no time is never left out


@pytest.mark.parametrize("tier", ["open", "internal"])
@pytest.mark.parametrize(
    "query,wanted",
    [
        ({"bbox": "0,40,15,55"}, "abd"),
        ({"bbox": "-40,-40,-39,-39"}, "bd"),
        ({"bbox": "170,-10,-170,10"}, "bd"),
        ({"datetime": "2020-01-01"}, "acd"),
        ({"datetime": "1999-01-01/.."}, "abcd"),
        ({"datetime": "../1999-01-01"}, "cd"),
        ({"bbox": "0,40,15,55", "datetime": "2020-01-01"}, "ad"),
    ],
)
def test_gaps(gaps: dict[tuple[str, str], Layer], tier: str, query: dict[str, str], wanted: str) -> None:
    """/req/core/fc-bbox-response C, /req/core/fc-time-response C: features with no geometry, with no time match too."""
    assert gaps[tier, "gaps"].ids(**query) == set(wanted)


def test_no_geometries(gaps: dict[tuple[str, str], Layer]) -> None:
    """/req/core/fc-bbox-response C: where no feature has a geometry, every box matches all of them."""
    layer = gaps["open", "shapeless"]
    assert shapely.is_missing(layer.geometries).all()
    assert layer.ids(bbox="-40,-40,-39,-39") == set("abcd")


# parameters that are wrong

INVALID = {
    "limit": ("unlimited", "0", "-1", "1.5", "", "1e2"),
    "bbox": ("1,2,3", "1,2,3,4,5", "1,2,3,4,5,6,7", "a,b,c,d", "", "nan,0,1,1", "0,10,1,5", "0,0,1,95", "0 0 1 1"),
    "datetime": ("yesterday", "2020-13-01", "2020-02-30", "2020-01-01T25:00:00Z", "", "..", "../..", "/", "1/2/3",
                 "2020-01-01/2019-01-01", "2020-01-01T00:00:00Z/tomorrow", "P2D", "2020-01-01 00:00:00"),
    "crs": ("EPSG:0", "http://www.opengis.net/def/crs/EPSG/0/99999", ""),
    "bbox-crs": ("http://www.opengis.net/def/crs/EPSG/0/99999",),
    "f": ("unknown",),
    "offset": ("-1", "x"),
    "sortby": ("nothing",),
    "properties": ("nothing",),
    "skipGeometry": ("perhaps",),
    "resulttype": ("none",),
}  # fmt: skip


@pytest.mark.parametrize("name,value", [(name, value) for name, values in INVALID.items() for value in values])
@pytest.mark.parametrize("tier", ["open", "internal"])
def test_query_param_invalid(layers: dict[tuple[str, str], Layer], tier: str, name: str, value: str) -> None:
    """/conf/core/query-param-invalid"""
    more = {"bbox": "0,0,1,1"} if name == "bbox-crs" else {}
    layer = layers[tier, "stations"]
    answer = layer.ask(**{name.replace("-", "_"): value}, **more)
    assert answer.status == 400, answer.body[:200]
    layer.site.check(layer.path, answer)
    assert answer.json["parameter"] == name


def test_query_param_unknown(layer: Layer) -> None:
    """/conf/core/query-param-unknown: on each path of the collection."""
    feature = f"{layer.items}/{layer.features[0]['id']}"
    base = f"{layer.site.url}/collections/{layer.id}"
    for address in (layer.items, feature, base, f"{base}/schema", f"{base}/queryables", f"{base}/sortables"):
        assert layer.site.get(address, GEOJSON if "items" in address else None).status == 200
        assert layer.site.get(f"{address}?unknownQueryParameter12345=1", GEOJSON).status == 400, address


# single features


def some(layer: Layer) -> list[Any]:
    """Features from all over a collection."""
    return [layer.features[number] for number in np.linspace(0, len(layer.features) - 1, 12).astype(int)]


def test_f_op(layer: Layer) -> None:
    """/conf/core/f-op, /conf/core/f-success: each is what it is among the others."""
    for feature in some(layer):
        alone = layer.site.json(f"{layer.items}/{feature['id']}", GEOJSON)
        schemas.check(alone, schemas.FEATURE)
        assert {**alone, "links": feature.get("links")} == {**feature, "links": feature.get("links")}


def test_f_links(layer: Layer) -> None:
    """/conf/core/f-links: self, alternate, collection; all with relation and type."""
    feature = layer.site.json(f"{layer.items}/{layer.features[0]['id']}", GEOJSON)
    schemas.check(feature["links"], schemas.LINKS)
    (own,) = links(feature, "self")
    assert own["type"] == GEOJSON and layer.site.json(own["href"], GEOJSON) == feature
    (other,) = links(feature, "alternate")
    assert other["type"] == HTML and layer.site.get(other["href"]).media.startswith(HTML)
    assert layer.site.json(href(feature, "collection"))["id"] == layer.id


def test_no_such_feature(layer: Layer) -> None:
    """/conf/core/f-op: what is not there is 404."""
    answer = layer.site.get(f"{layer.items}/no-such-feature", GEOJSON)
    assert answer.status == 404
    layer.site.check(f"{layer.path}/{{featureId}}", answer)
