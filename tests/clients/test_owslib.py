"""Whether a script with OWSLib gets what the caller may have: by filters, boxes, times, pages and single items."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import owslib.ogcapi
import pytest
import shapely
from owslib.ogcapi.features import Features
from owslib.util import Authentication
from shapely.geometry import shape

from tests.clients.seen import PARCELS, Source, crawl, geometry
from tests.conftest import House

Client = Callable[..., Features]
OPEN = PARCELS[None].rows
# the area is let out in whole hectares, and a filter asks what is let out
LARGE_FIELDS = f"{OPEN} AND landuse = '01' AND round(area_ha) > 20"


@pytest.fixture
def client(served: str, sample: House, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Makes a client: of the caller whose demonstration key is named, under a prefix."""

    def make(caller: str | None = None, prefix: str = "", basic: bool = False) -> Features:
        # OWSLib keeps the headers of one client for all that follow; each of these is to have its own
        monkeypatch.setattr(owslib.ogcapi, "REQUEST_HEADERS", {"User-Agent": "OWSLib"})
        key = sample.keys[caller] if caller else None
        if basic:
            return Features(served + prefix, auth=Authentication("any", key))
        return Features(served + prefix, headers={"X-API-Key": key} if key else None)

    return make


def ids(answer: dict[str, Any]) -> list[str]:
    return [feature["id"] for feature in answer["features"]]


def test_what_the_server_can(client: Client) -> None:
    classes = client().conformance()["conformsTo"]
    for name in ("ogcapi-features-1/1.0/conf/core", "ogcapi-features-3/1.0/conf/features-filter", "cql2/1.0/conf/basic-cql2"):
        assert f"http://www.opengis.net/spec/{name}" in classes
    assert "/collections/parcels/items" in client().api()["paths"]


def test_collections_are_those_of_the_caller(client: Client) -> None:
    public = {"divisions", "gauges", "landslides", "parcels", "stations"}
    assert set(client().feature_collections()) == public
    assert set(client("shared").feature_collections()) == public
    assert set(client("internal-county").feature_collections()) == public | {"minerals"}
    with pytest.raises(RuntimeError, match="404"):
        client().collection("minerals")


@pytest.mark.parametrize("basic", [False, True])
@pytest.mark.parametrize("caller", sorted(PARCELS, key=str))
def test_parcels_are_those_of_the_caller(client: Client, source: Source, caller: str | None, basic: bool) -> None:
    features = client(caller, basic=basic and caller is not None)
    sight = PARCELS[caller]
    answer = features.collection_items("parcels", limit=3)
    assert answer["numberMatched"] == source.count("parcels", sight.rows)
    assert all(tuple(feature["properties"]) == sight.properties for feature in answer["features"])
    for document in (features.collection_queryables("parcels"), features.collection_schema("parcels")):
        assert set(document["properties"]) == {"geometry", *sight.properties}


def test_prefix_is_the_tier_looked_through(client: Client, source: Source) -> None:
    through = client("internal-province", "/open")
    assert through.collection_items("parcels", limit=1)["numberMatched"] == source.count("parcels", OPEN)
    assert client().collection_items("parcels", limit=50) == _without_prefix(through.collection_items("parcels", limit=50))


def _without_prefix(answer: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(answer).replace("/open/collections", "/collections"))
    return plain


def test_collection_and_its_extent(client: Client, source: Source) -> None:
    said = client().collection("stations")
    assert said["extent"]["spatial"]["bbox"][0] == pytest.approx(source.extent("stations"))
    first, last = source.rows("stations", "TRUE", "min(opened)", "max(opened)")[0]
    assert [moment[:10] for moment in said["extent"]["temporal"]["interval"][0]] == [first, last]


def test_box(client: Client, served: str) -> None:
    box = [113.5, 30.62, 113.6, 30.72]
    everything = crawl(f"{served}/collections/parcels/items?limit=1000")
    expected = [feature["id"] for feature in everything if shape(feature["geometry"]).intersects(shapely.box(*box))]
    answer = client().collection_items("parcels", bbox=box, limit=1000)
    assert sorted(ids(answer)) == sorted(expected) and expected
    assert answer["numberMatched"] == len(expected)


def test_box_across_the_antimeridian(client: Client, source: Source) -> None:
    answer = client().collection_items("stations", bbox=[175, -90, -175, 90], limit=100)
    places = [(name, geometry(blob)) for name, blob in source.rows("stations", "TRUE", "station_id", "geom")]
    assert sorted(ids(answer)) == sorted(name for name, place in places if place.x >= 175 or place.x <= -175)
    assert len({place.x > 0 for _, place in places if abs(place.x) >= 175}) == 2  # there are some on either side


@pytest.mark.parametrize(
    "time, rows",
    [
        ("1990-01-01/..", "opened >= '1990-01-01'"),
        ("../1989-12-31T23:59:59Z", "opened < '1990-01-01'"),
        ("1980-01-01/1990-01-01", "opened BETWEEN '1980-01-01' AND '1990-01-01'"),
    ],
)
def test_time(client: Client, source: Source, time: str, rows: str) -> None:
    assert client().collection_items("stations", datetime_=time)["numberMatched"] == source.count("stations", rows) > 0


def test_filter_as_text(client: Client, source: Source) -> None:
    answer = client().collection_items("parcels", filter="landuse = '01' AND area_ha > 20", limit=1000)
    assert sorted(ids(answer)) == sorted(row for (row,) in source.rows("parcels", LARGE_FIELDS, "parcel_id"))


def test_filter_as_json(client: Client, source: Source) -> None:
    terms = [{"op": "=", "args": [{"property": "landuse"}, "01"]}, {"op": ">", "args": [{"property": "area_ha"}, 20]}]
    words = {"filter": json.dumps({"op": "and", "args": terms}), "filter-lang": "cql2-json"}
    answer = client().collection_items("parcels", limit=1000, **words)
    assert sorted(ids(answer)) == sorted(row for (row,) in source.rows("parcels", LARGE_FIELDS, "parcel_id"))


def test_filter_on_what_is_not_granted(client: Client) -> None:
    with pytest.raises(RuntimeError, match="owner"):  # the client's own word comes back, and nothing else
        client().collection_items("parcels", filter="owner = 'x'")


def test_property_and_order(client: Client, source: Source) -> None:
    answer = client("internal-county").collection_items("parcels", landuse="03", sortby=("area_ha", "desc"), limit=1000)
    rows = source.rows("parcels", "division = '510101' AND landuse = '03' ORDER BY area_ha DESC, parcel_id", "parcel_id")
    assert ids(answer) == [row for (row,) in rows]


def test_limit_is_cut_to_the_largest_page(client: Client) -> None:
    assert client().collection_items("parcels", limit=7)["numberReturned"] == 7
    answer = client().collection_items("parcels", limit=5000)
    assert answer["numberReturned"] == len(answer["features"]) == 1000


@pytest.mark.parametrize("caller", [None, "internal-county"])
def test_pages_make_the_whole(client: Client, source: Source, caller: str | None) -> None:
    features = client(caller)
    found: list[str] = []
    wanted: dict[str, Any] = {"limit": 150}
    while wanted:
        page = features.collection_items("parcels", **wanted)
        assert page["numberReturned"] == len(page["features"]) <= 150
        found += ids(page)
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        wanted = dict(parse_qsl(urlsplit(following[0]).query)) if following else {}
    assert sorted(found) == sorted(row for (row,) in source.rows("parcels", PARCELS[caller].rows, "parcel_id"))


def test_offset(client: Client) -> None:
    features = client()
    first = ids(features.collection_items("parcels", limit=50))
    assert ids(features.collection_items("parcels", offset=40, limit=10)) == first[40:]


def test_single_item(client: Client, source: Source) -> None:
    rows = f"{OPEN} AND {PARCELS['internal-county'].rows}"
    number, landuse, area, division = source.rows("parcels", rows, "parcel_id", "landuse", "area_ha", "division")[0]
    item = client().collection_item("parcels", number)
    assert item["properties"] == {"parcel_id": number, "landuse": landuse, "area_ha": round(area), "division": division}
    assert client("internal-county").collection_item("parcels", number)["properties"]["area_ha"] == area
    hidden = source.rows("parcels", "status <> 'registered'", "parcel_id")[0][0]
    with pytest.raises(RuntimeError, match="404"):
        client().collection_item("parcels", hidden)
    assert client("shared").collection_item("parcels", hidden)["id"] == hidden


def test_owner_is_an_initial_outside(client: Client, source: Source) -> None:
    owners = dict(source.rows("parcels", "TRUE", "parcel_id", "owner"))
    shared = client("shared").collection_items("parcels", limit=2000)["features"]
    assert len(shared) == len(owners)
    # the first character of the name, and nothing that follows it
    for feature in shared:
        told = feature["properties"]["owner"]
        assert told[0] == owners[feature["id"]][0] and owners[feature["id"]][1:] not in told
    inside = client("internal-province").collection_items("parcels", limit=2000)["features"]
    assert {feature["id"]: feature["properties"]["owner"] for feature in inside} == owners


def test_wrong_key_is_refused(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owslib.ogcapi, "REQUEST_HEADERS", {})
    features = Features(served, headers={"X-API-Key": "kaaaaaaaaaa." + "a" * 43})
    with pytest.raises(RuntimeError, match="401"):
        features.collections()
