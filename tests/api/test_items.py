"""Whether items answers every parameter as a search through the source by hand does."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import shapely
from pygeoapi.formatter.csv_ import CSVFormatter

from tests import vanilla
from tests.conftest import House
from tests.rows import Row, in_order, rows

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def package(house: House) -> Path:
    return house.directory / "data" / "province.gpkg"


@pytest.fixture(scope="module")
def stations(sample: House) -> list[Row]:
    return rows(package(sample), "stations", "station_id")


@pytest.fixture(scope="module")
def events(sample: House) -> list[Row]:
    return rows(package(sample), "landslides", "event_id")


@pytest.fixture(scope="module")
def plots(sample: House) -> list[Row]:
    return rows(package(sample), "parcels", "parcel_id")


@pytest.fixture(scope="module")
def ask(sample: House) -> Callable[..., Any]:
    """Ask for a page of items inside the agency, where the source answers (stations are open: their edition)."""

    def items(collection: str, **params: Any) -> Any:
        sent = {{"bbox_crs": "bbox-crs"}.get(name, name): value for name, value in params.items()}
        return sample.json(f"/collections/{collection}/items?{urlencode({'limit': 10000} | sent)}", "internal-province")

    return items


def ids(page: Any) -> list[str]:
    return [feature["id"] for feature in page["features"]]


def refused(house: House, query: str, parameter: str, collection: str = "stations") -> str:
    """The reason of a 400 that names the parameter."""
    answer = house.get(f"/collections/{collection}/items?{query}")
    assert answer.status_code == 400, (query, answer.status_code, answer.text[:200])
    said = json.loads(answer.data)
    assert said["parameter"] == parameter, (query, said)
    return str(said["detail"])


# bbox

BOXES: list[tuple[float, ...]] = [
    (-180, -90, 180, 90), (100, 20, 110, 40), (0, 0, 0, 0), (-10, -90, 10, 90), (-180, 80, 180, 90), (-180, -90, 180, -80),
    (170, -90, -170, 90), (100, -40, -100, 40), (179.99, -90, -179.99, 90), (10, -90, 5, 90), (-0.5, -0.5, 0.5, 0.5),
]  # fmt: skip


def within(x: float, y: float, box: tuple[float, ...]) -> bool:
    """Features Part 1, 7.15.3: west beyond east is a box across the antimeridian."""
    west, south, east, north = box
    return south <= y <= north and (west <= x <= east if west <= east else x >= west or x <= east)


@pytest.mark.parametrize("box", BOXES)
def test_bbox(ask: Callable[..., Any], stations: list[Row], box: tuple[float, ...]) -> None:
    """pygeoapi gets boxes of six numbers and those across the antimeridian wrong."""
    west, south, east, north = box
    expected = [row.id for row in stations if within(row.geometry.x, row.geometry.y, box)]
    high = f"{west},{south},-100,{east},{north},9000"
    swapped = f"{south},{west},{north},{east}"
    for params in ({"bbox": ",".join(map(str, box))}, {"bbox": high}, {"bbox": swapped, "bbox_crs": f"{EPSG}4326"}):
        page = ask("stations", **params)
        assert (ids(page), page["numberMatched"]) == (expected, len(expected)), params


def test_some_boxes_find_something(stations: list[Row]) -> None:
    assert sum(any(within(row.geometry.x, row.geometry.y, box) for row in stations) for box in BOXES) >= 8


def test_vanilla_gets_such_boxes_wrong() -> None:
    for box, inside in (("103,29,0,105,31,1", {"p1"}), ("170,0,-170,20", {"p2", "p3"})):
        found = {f["id"] for f in vanilla.get(f"{vanilla.ITEMS}?bbox={box}").json["features"]}
        assert not inside & found


def test_bbox_in_the_axis_order_of_its_crs(ask: Callable[..., Any], plots: list[Row]) -> None:
    """EPSG:4547 has north before east (Features Part 2, 6.3)."""
    for corner in (0, 700, 1500):
        x, y = plots[corner].geometry.centroid.coords[0]
        for size in (0, 1, 500, 5000):
            box = shapely.box(x - size, y - size, x + size, y + size)
            expected = [row.id for row in plots if row.geometry.intersects(box)]
            text = f"{y - size},{x - size},{y + size},{x + size}"
            page = ask("parcels", bbox=text, bbox_crs=f"{EPSG}4547")
            assert (ids(page), page["numberMatched"]) == (expected, len(expected)) and expected


@pytest.mark.parametrize(
    "bbox",
    ["", "1,2,3", "1,2,3,4,5", "1,2,3,4,5,6,7", "a,2,3,4", "nan,2,3,4", "1,2,inf,4", "1,4,3,2", "1;2;3;4", "1,2,3,",
     "1_0,2,30,40", "１,2,3,4"]
)  # fmt: skip
def test_bbox_that_is_none(sample: House, bbox: str) -> None:
    assert "bbox" in refused(sample, "bbox=" + quote(bbox), "bbox")


def test_crs_that_is_not_listed(sample: House) -> None:
    for crs in ("4326", "EPSG:4326", f"{EPSG}3857", "", f"{EPSG}4547"):
        refused(sample, urlencode({"bbox": "1,2,3,4", "bbox-crs": crs}), "bbox-crs")
        refused(sample, urlencode({"crs": crs}), "crs")
        refused(sample, urlencode({"filter": "elevation_m > 1", "filter-crs": crs}), "filter-crs")
    refused(sample, urlencode({"bbox-crs": CRS84}), "bbox-crs")
    refused(sample, urlencode({"filter-lang": "cql2-text"}), "filter-lang")


# crs


def test_answer_in_another_crs(sample: House, ask: Callable[..., Any], stations: list[Row], plots: list[Row]) -> None:
    page = ask("stations", crs=f"{EPSG}4326")
    assert [f["geometry"]["coordinates"] for f in page["features"]] == [[row.geometry.y, row.geometry.x] for row in stations]
    found = {f["id"]: f for f in ask("parcels", crs=f"{EPSG}4547", limit=50)["features"]}
    for row in plots[:50]:
        stored = shapely.transform(row.geometry, lambda xy: xy[:, ::-1])
        assert shapely.from_geojson(json.dumps(found[row.id]["geometry"])).equals_exact(stored)
    for asked, said in ((f"?crs={EPSG}4326", f"<{EPSG}4326>"), ("", f"<{CRS84}>")):
        assert sample.get("/collections/stations/items" + asked).headers["Content-Crs"] == said


# datetime, properties


@pytest.mark.parametrize("asked, test", [
    ("1988-09-25", lambda t: t == "1988-09-25"),
    ("1988-09-25T12:00:00Z", lambda t: t == "1988-09-25"),
    ("1980-01-01/1989-12-31", lambda t: "1980-01-01" <= t <= "1989-12-31"),
    ("1980-01-01T05:00:00+08:00/1989-12-31T23:59:59.999Z", lambda t: "1979-12-31" <= t <= "1989-12-31"),
    ("1990-06-15/..", lambda t: t >= "1990-06-15"), ("1990-06-15/", lambda t: t >= "1990-06-15"),
    ("../1990-06-15", lambda t: t <= "1990-06-15"), ("/1990-06-15", lambda t: t <= "1990-06-15"),
    ("1988", lambda t: t[:4] == "1988"), ("1988-09", lambda t: t[:7] == "1988-09"),
    ("1988/1990-02", lambda t: "1988" <= t[:7] <= "1990-02"),
])  # fmt: skip
def test_datetime(ask: Callable[..., Any], events: list[Row], asked: str, test: Callable[[str], bool]) -> None:
    """Features Part 1, 7.15.4; pygeoapi's GeoJSON provider ignores it. More forms in the tests of providers.temporal."""
    expected = [row.id for row in events if test(row.values["date"])]
    page = ask("landslides", datetime=asked)
    assert (ids(page), page["numberMatched"]) == (expected, len(expected)) and expected


def test_datetime_that_is_none(sample: House) -> None:
    for text in (
        "",
        "..",
        "../..",
        "/",
        "2020-13-01",
        "2020-01-32",
        "today",
        "2020-01-01/2019-01-01",
        "2020/2021/2022",
        "20200101",
        "２０２０",
    ):
        refused(sample, "datetime=" + quote(text), "datetime")


@pytest.mark.parametrize("collection, name, value", [
    ("parcels", "landuse", "01"), ("parcels", "division", "510101"), ("parcels", "owner", "萧欣建"),
    ("parcels", "area_ha", "1793.3028"),
    ("parcels", "area_m2", "17933028.07"), ("landslides", "date", "1988-09-25"), ("parcels", "landuse", "1"),
    ("parcels", "landuse", "0_"),
    ("landslides", "type", "flow' OR '1'='1"), ("landslides", "volume_m3", "1700"), ("landslides", "volume_m3", "1.7e3"),
])  # fmt: skip
def test_property_as_parameter(sample: House, ask: Callable[..., Any], collection: str, name: str, value: str) -> None:
    key = {"parcels": "parcel_id", "landslides": "event_id"}[collection]
    source = rows(package(sample), collection, key)
    number = isinstance(source[0].values[name], float)
    expected = [row.id for row in source if row.values[name] == (float(value) if number else value)]
    page = ask(collection, **{name: value})
    assert (ids(page), page["numberMatched"]) == (expected, len(expected))


def test_value_that_is_not_of_the_propertys_type(sample: House) -> None:
    for query in ("elevation_m=high", "elevation_m=", "elevation_m=1e999e", "opened=soon", "opened=2020-02-30"):
        refused(sample, query, query.partition("=")[0])


def test_filter_counts_where_vanilla_ignores_it(ask: Callable[..., Any], events: list[Row]) -> None:
    """AND binds tighter than OR (CQL2, 7.2); pygeoapi's GeoJSON provider answers with everything."""
    expected = [
        row.id
        for row in events
        if row.values["type"] == "slide" or (row.values["type"] == "flow" and row.values["volume_m3"] > 5000)
    ]
    assert ids(ask("landslides", filter="type = 'slide' OR type = 'flow' AND volume_m3 > 5000")) == expected
    assert len(vanilla.get(f"{vanilla.ITEMS}?filter=number=1").json["features"]) == 4


# order, pages


@pytest.mark.parametrize("text, sort", [
    ("date", [("date", False)]), ("+date", [("date", False)]), ("-date", [("date", True)]),
    ("type,-volume_m3", [("type", False), ("volume_m3", True)]),
    ("-type,+date,-event_id", [("type", True), ("date", False), ("event_id", True)]), ("-event_id", [("event_id", True)]),
])  # fmt: skip
def test_sortby(ask: Callable[..., Any], events: list[Row], text: str, sort: list[tuple[str, bool]]) -> None:
    assert ids(ask("landslides", sortby=text)) == in_order(events, sort)


def test_nulls_come_last(ask: Callable[..., Any], sample: House) -> None:
    source = rows(package(sample), "divisions", "code")
    assert source[0].values["parent"] is None
    for text, sort in (
        ("parent", [("parent", False)]),
        ("-parent", [("parent", True)]),
        ("-parent,-code", [("parent", True), ("code", True)]),
    ):
        assert ids(ask("divisions", sortby=text)) == in_order(source, sort)
        assert ids(ask("divisions", sortby=text))[-1] == "00"


def test_order_that_is_none(sample: House) -> None:
    for text in ("", "name_en", "nope", "opened,", "opened,opened", "opened;elevation_m", "--opened", "+-opened", "opened desc"):
        refused(sample, urlencode({"sortby": text}), "sortby")


def test_limit_and_offset(sample: House, ask: Callable[..., Any], stations: list[Row]) -> None:
    everything = [row.id for row in stations]
    for limit, offset in ((1, 0), (7, 3), (10, 55), (10, 60), (10, 61), (60, 0), (59, 0), (3, 10**17)):
        page = ask("stations", limit=limit, offset=offset)
        assert ids(page) == everything[offset : offset + limit]
        assert (page["numberMatched"], page["numberReturned"]) == (60, len(page["features"]))
        rels = {link["rel"]: link["href"] for link in page["links"]}
        assert ("next" in rels) is (offset + limit < 60) and ("prev" in rels) is (offset > 0)
        if offset and offset < 60:
            before = sample.json(rels["prev"].removeprefix(sample.url), "internal-province")
            assert ids(before) == everything[max(0, offset - limit) : max(0, offset - limit) + limit]
    assert len(sample.json("/collections/stations/items")["features"]) == 10
    for text in ("0", "-1", "ten", "", "1.5", "1e3", "٣", " 5"):
        refused(sample, "limit=" + quote(text), "limit")
        if text != "0":
            refused(sample, "offset=" + quote(text), "offset")


@pytest.mark.parametrize("limit", [1001, 10**6, 10**17, 10**18, 10**30])
def test_limit_beyond_the_largest_page_is_cut(sample: House, limit: int) -> None:
    """Features Part 1, requirement 22: no error."""
    page = sample.json(f"/collections/parcels/items?limit={limit}")
    assert page["numberReturned"] == len(page["features"]) == 1000 < page["numberMatched"]


def test_number_matched_is_exact_and_hits_send_nothing_else(sample: House, plots: list[Row]) -> None:
    registered = [row for row in plots if row.values["status"] == "registered"]
    for query, matched in (
        ("", len(registered)),
        ("landuse=03", sum(row.values["landuse"] == "03" for row in registered)),
        ("landuse=zz", 0),
    ):
        for more in ("", "&limit=1", "&offset=5", "&sortby=landuse", "&skipGeometry=true"):
            assert sample.json(f"/collections/parcels/items?{query}{more}")["numberMatched"] == matched
        hits = sample.json(f"/collections/parcels/items?{query}&resulttype=hits")
        assert (hits["numberMatched"], hits["numberReturned"], hits["features"]) == (matched, 0, [])
        assert "next" not in [link["rel"] for link in hits["links"]]
    refused(sample, "resulttype=all", "resulttype")


def test_choice_of_properties_and_no_geometry(sample: House, ask: Callable[..., Any], stations: list[Row]) -> None:
    for text, names in (("network", ["network"]), ("opened,network", ["network", "opened"]), ("", [])):
        for feature, row in zip(ask("stations", properties=text)["features"], stations, strict=True):
            assert feature["id"] == row.id and feature["geometry"]["coordinates"] == [row.geometry.x, row.geometry.y]
            assert feature["properties"] == {name: row.values[name] for name in names}
    for feature, row in zip(ask("stations", skipGeometry="true")["features"], stations, strict=True):
        assert (feature["geometry"], feature["properties"]) == (None, row.values)
    assert ask("stations", skipGeometry="false")["features"] == ask("stations")["features"]
    refused(sample, "properties=network,nope", "properties")
    refused(sample, "skipGeometry=maybe", "skipGeometry")


def test_links_carry_what_was_asked_and_nothing_else(ask: Callable[..., Any]) -> None:
    """pygeoapi's links echo any parameter, a token too, and page by offset alone."""
    page = ask("stations", limit=3, network="continental", sortby="-opened", filter="elevation_m > 0 AND name_zh LIKE '%台'")
    following = next(link["href"] for link in page["links"] if link["rel"] == "next")
    assert "cursor=" in following and "offset=" not in following and "network=continental" in following
    theirs = vanilla.get(f"{vanilla.ITEMS}?limit=1&token=abc").json["links"]
    assert any("token=abc" in link["href"] and "offset=1" in link["href"] for link in theirs if link["rel"] == "next")


# forms


def test_media_types(sample: House) -> None:
    """Features Part 1, requirement 30: application/geo+json; pygeoapi says application/json."""
    one = sample.json("/collections/stations/items?limit=1")["features"][0]["id"]
    for path in ("", f"/{one}"):
        assert sample.get(f"/collections/stations/items{path}").content_type == "application/geo+json"
    for path in (vanilla.ITEMS, f"{vanilla.ITEMS}/p1"):
        assert vanilla.get(path).headers["Content-Type"].startswith("application/json")


def test_single_item_is_that_of_the_page_and_names_no_neighbours(sample: House, ask: Callable[..., Any]) -> None:
    """Previous and next ids, which pygeoapi takes from the provider, would come from rows that the caller may not see."""
    for feature in ask("landslides")["features"][:20]:
        single = sample.json(f"/collections/landslides/items/{feature['id']}", "internal-province")
        assert {name: single[name] for name in ("type", "id", "geometry", "properties")} == feature
        assert {link["rel"] for link in single["links"]} == {"self", "alternate", "collection"}


def test_csv(sample: House) -> None:
    """RFC 4180. pygeoapi fails on a null geometry and writes nothing, not even the head, where no feature matches."""

    def table(query: str) -> list[list[str]]:
        answer = sample.get(f"/collections/stations/items?f=csv&{query}")
        assert answer.content_type == "text/csv; charset=utf-8"
        return list(csv.reader(io.StringIO(answer.data.decode("utf-8"), newline="")))

    features = sample.json("/collections/stations/items?limit=100")["features"]
    names = list(features[0]["properties"])
    head, *lines = table("limit=100")
    assert head == ["id", *names, "geometry"]
    for line, feature in zip(lines, features, strict=True):
        assert line[:-1] == [feature["id"], *("" if v is None else str(v) for v in feature["properties"].values())]
        assert list(shapely.from_wkt(line[-1]).coords[0]) == feature["geometry"]["coordinates"]
    assert table("network=nowhere") == [head] == table("resulttype=hits")
    assert table("skipGeometry=true&properties=name_zh")[1] == [features[0]["id"], features[0]["properties"]["name_zh"], ""]
    assert 'rel="next"' in sample.get("/collections/stations/items?f=csv").headers["Link"]
    assert vanilla.get(f"{vanilla.ITEMS}?f=csv&name=nowhere%20at%20all").data == b""
    with pytest.raises(TypeError):
        CSVFormatter({"name": "CSV", "geom": True}).write(data={"features": [vanilla.FEATURES[3]]})


def test_html_shows_the_page(sample: House, stations: list[Row]) -> None:
    answer = sample.get("/collections/stations/items?f=html&limit=5&lang=zh")
    assert answer.content_type == "text/html; charset=utf-8"
    for row in stations[:5]:
        assert row.id in answer.text and row.values["name_zh"] in answer.text
    assert stations[6].id not in answer.text
