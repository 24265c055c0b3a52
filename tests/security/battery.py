"""What can be asked of the server: every route in every format, and a battery of queries, by what a caller is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from werkzeug.test import TestResponse

from tests.conftest import House

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
COLLECTIONS = ("divisions", "gauges", "landslides", "minerals", "parcels", "stations")
PAGES = ("/", "/openapi", "/conformance", "/collections", "/login", "/explain", "/health")
DOCUMENTS = ("", "/schema", "/queryables", "/sortables")
# all columns that there are in the source, whether a caller may have them or not
COLUMNS = {
    "divisions": ("code", "level", "name_zh", "name_en", "parent", "area_km2"),
    "gauges": ("gauge_id", "name_zh", "name_en", "elevation_m", "since", "division"),
    "landslides": ("event_id", "date", "type", "volume_m3", "place", "informant", "division"),
    "minerals": ("occurrence_id", "commodity", "name_zh", "name_en", "grade", "reserves_kt", "division"),
    "parcels": (
        *("parcel_id", "landuse", "landuse_zh", "landuse_en", "area_m2", "area_ha", "division", "status"),
        *("certificate", "owner", "identity", "updated"),
    ),
    "stations": ("station_id", "name_zh", "name_en", "network", "elevation_m", "opened"),
}
SECRET_COLUMNS = ("certificate", "owner", "identity", "informant", "volume_m3", "place", "status", "updated", "area_m2")


def queries(collection: str) -> Iterator[str]:
    """Query strings for items: each asks in another way, and of every column that the source has."""
    yield from ("", "f=csv", "f=html", "f=json", "resulttype=hits", "limit=10000", "limit=3&offset=4", "skipGeometry=true")
    yield from ("lang=zh", "lang=zh&f=html", "limit=10000&f=csv", "limit=1000&f=html", "nosuch=1", "f=xml", "limit=0")
    for crs in (f"{EPSG}4547", f"{EPSG}4490", f"{EPSG}4326", f"{EPSG}3857"):
        yield f"crs={crs}&limit=2000"
    yield f"crs={EPSG}4547&f=csv&limit=2000"
    for box in ("112,26,115,29", "113.9,26,114,29", "-180,-90,180,90", "112,26,0,115,29,9", "170,-90,-170,90"):
        yield f"bbox={box}&limit=200"
    yield f"bbox=38000000,2900000,38600000,3100000&bbox-crs={EPSG}4547"
    for when in ("2015-01-01/..", "../2010-06-30", "2020-03-01T00:00:00Z", "2000-01-01/2024-01-01"):
        yield f"datetime={when}&limit=50"
    for column in (*COLUMNS[collection], "nosuch"):
        yield f"filter={column} IS NULL"
        yield f"filter=NOT ({column} IS NULL)&limit=5"
        yield f"filter={column} <> 'x'&limit=5"
        yield f"filter={column} > 100&limit=5"
        yield f"{column}=01"
        yield f"sortby={column}&limit=25"
        yield f"sortby=-{column}&limit=25&f=csv"
        yield f"properties={column}&limit=5"
    yield "filter=S_INTERSECTS(geometry,POLYGON((112 26,114 26,114 29,112 29,112 26)))&limit=100"
    yield 'filter={"op":"isNull","args":[{"property":"geometry"}]}&filter-lang=cql2-json'
    yield "filter=NOT S_INTERSECTS(geometry,POINT(113 28)) OR 1=1&resulttype=hits"


def paths(house: House, caller: str | None, prefix: str, *, few: bool = False) -> Iterator[str]:
    """Addresses for one caller under one prefix; the ids in them are those that the caller is shown, and made-up ones."""
    for page in PAGES:
        for asked in ("", "?f=json", "?f=html", "?lang=zh"):
            yield f"{prefix}{page}{asked}"
    for collection in (*COLLECTIONS, "nosuch"):
        base = f"{prefix}/collections/{collection}"
        for document in DOCUMENTS:
            for asked in ("", "?f=html", "?f=xml"):
                yield f"{base}{document}{asked}"
        for asked in queries(collection if collection in COLUMNS else "parcels"):
            if not few or not re.search(r"NOT|csv&limit|lang", asked):
                yield f"{base}/items?{quote(asked, safe='=&,:/')}"
        for feature in (*ids(house, caller, base), "nosuch", "1"):
            for asked in ("", "?f=html", f"?crs={EPSG}4547"):
                yield f"{base}/items/{quote(feature, safe='')}{asked}"


def ids(house: House, caller: str | None, base: str, number: int = 4) -> list[str]:
    """The first ids of a collection as a caller sees it."""
    answer = house.get(f"{base}/items?limit={number}", caller)
    if answer.status_code != 200:
        return []
    return [feature["id"] for feature in json.loads(answer.data)["features"]]


def crawled(house: House, caller: str | None, path: str) -> Iterator[tuple[str, TestResponse]]:
    """A page and all that its next links lead to."""
    following: str | None = path
    while following:
        answer = house.get(following, caller)
        yield following, answer
        following = None
        if answer.status_code == 200 and answer.headers["Content-Type"].endswith("json"):
            following = next((link["href"] for link in links(json.loads(answer.data)) if link["rel"] == "next"), None)
        elif "Link" in answer.headers:
            following = answer.headers["Link"].split(">")[0].lstrip("<")
        following = following.removeprefix(house.url) if following else None


def links(document: Any) -> Iterator[dict[str, str]]:
    """All links in a document, however deep they lie."""
    if isinstance(document, dict):
        if "href" in document and "rel" in document:
            yield document
        for value in document.values():
            yield from links(value)
    elif isinstance(document, list):
        for value in document:
            yield from links(value)


def sent(answer: TestResponse) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """All that came over the wire but the time of day."""
    return answer.status_code, tuple((k, v) for k, v in answer.headers.items() if k != "Date"), answer.data
