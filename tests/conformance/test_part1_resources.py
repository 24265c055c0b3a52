"""Do landing page, API definition, conformance and collections pass the abstract tests of Features Part 1 (17-069r4, A.2)?

Each function names the abstract test that it is, as Annex A does.
"""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import numpy as np
import pytest
import shapely

from tests.conformance import schemas
from tests.conformance.conftest import seen
from tests.conformance.expected import CRS84, EPSG, moved, source_points, span
from tests.conformance.sites import GEOJSON, HTML, JSON, OPENAPI, Layer, Site, bare, href, links
from tests.conftest import House

FEATURES_1 = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/"


def test_http(served: str) -> None:
    """/conf/core/http: HTTP/1.1, on a connection that stays."""
    connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=10)
    bodies, lengths = [], []
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/open/conformance", headers={"Accept": JSON})
        answer = connection.getresponse()
        assert (answer.version, answer.status) == (11, 200)
        bodies.append(answer.read())
        lengths.append(answer.headers["Content-Length"])
    connection.close()
    assert bodies[0] == bodies[2] and bodies[1] == b""
    assert lengths == [str(len(bodies[0]))] * 3


def test_walk(real_site: Site) -> None:
    """The walk of OGC's executable suite over HTTP: landing page, API definition, collections, items, pages, a feature."""
    assert real_site.api["servers"][0]["url"] == real_site.url
    entries = real_site.collections["collections"]
    assert [entry["id"] for entry in entries] == seen(real_site.tier)
    for entry in entries:
        layer = Layer(real_site, entry["id"])
        page = layer.page(limit=2)
        second = real_site.json(href(page, "next"), GEOJSON)
        first = {feature["id"] for feature in page["features"]}
        assert first.isdisjoint(feature["id"] for feature in second["features"])
        feature = real_site.json(f"{layer.items}/{page['features'][0]['id']}", GEOJSON)
        assert feature["geometry"] == page["features"][0]["geometry"]
        assert real_site.json(href(feature, "collection"))["id"] == entry["id"]


# landing page, API definition, conformance


@pytest.mark.parametrize("slash", ["", "/"])
def test_root_op(site: Site, slash: str) -> None:
    """/conf/core/root-op"""
    answer = site.get(site.url + slash, JSON)
    assert (answer.status, answer.media) == (200, JSON)
    assert answer.json == site.landing


def test_root_success(site: Site) -> None:
    """/conf/core/root-success"""
    schemas.check(site.landing, schemas.LANDING_PAGE)
    for rel in ("service-desc", "service-doc", "conformance", "data"):
        assert links(site.landing, rel), rel


def test_root_links(site: Site) -> None:
    """/conf/core/root-success: what the landing page links to is there, of the type that it says."""
    for link in site.landing["links"]:
        answer = site.get(link["href"], link["type"])
        assert answer.status == 200, link
        assert answer.media in (link["type"], f"{link['type']}; charset=utf-8"), link


@pytest.mark.parametrize("rel,media", [("service-desc", OPENAPI), ("service-doc", HTML)])
def test_api_definition_op(site: Site, rel: str, media: str) -> None:
    """/conf/core/api-definition-op, /conf/core/api-definition-success"""
    answer = site.get(href(site.landing, rel, media), media)
    assert answer.status == 200
    assert answer.media == (media if rel == "service-desc" else f"{HTML}; charset=utf-8")
    if rel == "service-desc":
        assert answer.json["openapi"].startswith("3.0.")
    else:
        assert answer.body.lstrip().lower().startswith(b"<!doctype html>")


def test_api_definition_by_accept(site: Site) -> None:
    """/conf/core/api-definition-success: the Accept header decides, where the address does not."""
    address = bare(href(site.landing, "service-desc"))
    assert site.get(address, OPENAPI).media == OPENAPI
    assert site.get(address, HTML).media == f"{HTML}; charset=utf-8"


def test_conformance_op(site: Site) -> None:
    """/conf/core/conformance-op"""
    answer = site.get(site.url + "/conformance", JSON)
    assert (answer.status, answer.media) == (200, JSON)


def test_conformance_success(site: Site) -> None:
    """/conf/core/conformance-success"""
    schemas.check(site.json(href(site.landing, "conformance")), schemas.CONFORMANCE)
    for name in ("core", "oas30", "html", "geojson"):
        assert FEATURES_1 + name in site.conforms_to


# collections


def test_fc_md_op(site: Site) -> None:
    """/conf/core/fc-md-op"""
    answer = site.get(site.url + "/collections", JSON)
    assert (answer.status, answer.media) == (200, JSON)


def test_fc_md_success(site: Site) -> None:
    """/conf/core/fc-md-success"""
    schemas.check(site.collections, schemas.COLLECTIONS)


def test_fc_md_links(site: Site) -> None:
    """/conf/core/fc-md-links"""
    (own,) = links(site.collections, "self")
    assert own["type"] == JSON and site.json(own["href"]) == site.collections
    (other,) = links(site.collections, "alternate")
    assert other["type"] == HTML and site.get(other["href"]).media.startswith(HTML)


def test_fc_md_items(site: Site) -> None:
    """/conf/core/fc-md-items: an entry for each collection that the policy lets the tier see, and for no other."""
    assert sorted(entry["id"] for entry in site.collections["collections"]) == seen(site.tier)


def test_fc_md_items_links(layer: Layer) -> None:
    """/conf/core/fc-md-items-links: a link to the items in each encoding that there is, and it is answered in it."""
    found = {link["type"]: link["href"] for link in links(layer.entry, "items")}
    assert set(found) == set(layer.site.response(layer.path)["content"])
    for media, address in found.items():
        answer = layer.site.get(address, media)
        assert (answer.status, answer.media.partition(";")[0]) == (200, media)


def test_fc_md_links_are_alone(layer: Layer) -> None:
    """/conf/core/fc-md-items-links: no two links of an entry lead to the same place."""
    addresses = [link["href"] for link in layer.entry["links"]]
    assert sorted(addresses) == sorted(set(addresses))


def test_fc_md_extent(layer: Layer) -> None:
    """/conf/core/fc-md-extent: it holds all geometries and all times, and is no larger than that needs (9 decimals)."""
    extent = layer.entry["extent"]
    (box,) = extent["spatial"]["bbox"]
    bounds = shapely.total_bounds(layer.geometries)
    outside = np.array([box[0] - bounds[0], box[1] - bounds[1], bounds[2] - box[2], bounds[3] - box[3]])
    assert (outside <= 1e-9).all(), (box, bounds)
    # inside the agency the extent is that of a box in the stored CRS, whose corners reach farther
    assert (outside >= (-1e-9 if layer.site.tier == "open" else -0.01)).all(), (box, bounds)
    name = layer.role("primary-instant")
    assert ("temporal" in extent) == (name is not None)
    if name is not None:
        ((low, high),) = extent["temporal"]["interval"]
        values = [feature["properties"][name] for feature in layer.features]
        times = [span(value) for value in values if value is not None]
        assert span(low).low == min(time.low for time in times if time.low)
        latest = max(time.high for time in times if time.high)
        assert span(high).high == latest or span(high[:10]).high == latest


def test_sfc_md_op(layer: Layer) -> None:
    """/conf/core/sfc-md-op"""
    answer = layer.site.get(f"{layer.site.url}/collections/{layer.id}", JSON)
    assert (answer.status, answer.media) == (200, JSON)


def test_sfc_md_success(layer: Layer) -> None:
    """/conf/core/sfc-md-success: the same as the entry in /collections."""
    alone = layer.site.json(f"{layer.site.url}/collections/{layer.id}")
    schemas.check(alone, schemas.COLLECTION)
    assert alone == layer.entry


def test_unknown_collection(site: Site) -> None:
    """/conf/core/sfc-md-op: the suite's own name for what is not there."""
    for path in ("/collections/dUmmYColLection", "/collections/dUmmYColLection/items"):
        assert site.get(site.url + path, JSON).status == 404


# coordinates


def test_crs84(layer: Layer) -> None:
    """/conf/core/crs84: longitudes and latitudes, in this order, where no CRS is asked for."""
    bounds = shapely.bounds(layer.geometries)
    assert (np.abs(bounds[:, ::2]) <= 180).all() and (np.abs(bounds[:, 1::2]) <= 90).all()
    assert layer.ask().headers["Content-Crs"] == f"<{CRS84}>"


@pytest.mark.parametrize("tier", ["open", "internal"])
@pytest.mark.parametrize("name,id_column,stored", [("stations", "station_id", CRS84), ("gauges", "gauge_id", EPSG + "4547")])
def test_crs84_against_the_source(
    sample: House, layers: dict[tuple[str, str], Layer], tier: str, name: str, id_column: str, stored: str
) -> None:
    """/conf/core/crs84: what is open as it is lies where GDAL and PROJ see it in the source."""
    source = source_points(sample.directory / "data" / "province.gpkg", name, id_column)
    layer = layers[tier, name]
    assert layer.all_ids == set(source)
    # the file has east before north, EPSG:4547 north before east
    xy = {key: place if stored == CRS84 else place[::-1] for key, place in source.items()}
    places = shapely.points([xy[feature["id"]] for feature in layer.features])
    wanted = shapely.get_coordinates(moved(places, stored, CRS84))
    np.testing.assert_allclose(shapely.get_coordinates(layer.geometries), wanted, rtol=0, atol=6e-10)
