"""Do the CRS parameters pass the abstract tests of Features Part 2 (18-058r1, A.1)? PROJ's axis order is the expectation."""

from __future__ import annotations

import re

import numpy as np
import pytest
import shapely
from pyproj import CRS

from tests.conformance.expected import CRS84, EPSG, Box, is_metric, moved, moved_box, source_points
from tests.conformance.sites import GEOJSON, Layer, Site, geometries, meeting
from tests.conformance.test_part1 import near, text
from tests.conftest import House

ELSEWHERE = EPSG + "2154"  # a CRS that PROJ knows and no collection offers


def middle(layer: Layer) -> Box:
    """A box of a quarter of the extent's area, about a feature in the middle."""
    west, south, east, north = layer.entry["extent"]["spatial"]["bbox"][0]
    x, y = shapely.get_coordinates(layer.geometries)[len(layer.features) // 2].tolist()
    width, height = (east - west) / 4, (north - south) / 4
    return max(x - width, -180), max(y - height, -90), min(x + width, 180), min(y + height, 90)


def test_declared(site: Site) -> None:
    """/conf/crs: the class is declared."""
    assert "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs" in site.conforms_to


# discovery


def test_crs_uri(layer: Layer) -> None:
    """/conf/crs/crs-uri: each identifier is a URI of OGC's form, and PROJ knows it."""
    for uri in [*layer.entry["crs"], layer.entry["storageCrs"]]:
        found = re.fullmatch(r"http://www\.opengis\.net/def/crs/(EPSG|OGC)/[0-9.]+/([A-Za-z0-9]+)", uri)
        assert found, uri
        assert CRS.from_authority(*found.groups())


def test_default_crs(layer: Layer) -> None:
    """/conf/crs/default-crs: CRS84 is the first."""
    assert layer.entry["crs"][0] == CRS84


def test_storage_crs(layer: Layer) -> None:
    """/conf/crs/storageCrs: it is among the CRSs of the collection."""
    assert layer.entry["storageCrs"] in layer.entry["crs"]


def test_parameter_definitions(layer: Layer) -> None:
    """/req/crs/fc-crs-definition, /req/crs/fc-bbox-crs-definition: an optional URI in the query, in form style."""
    feature = layer.site.parameters(f"{layer.path}/{{featureId}}")
    items = layer.site.parameters(layer.path)
    for parameter in (items["crs"], items["bbox-crs"], feature["crs"]):
        assert (parameter["in"], parameter["required"]) == ("query", False)
        assert (parameter["style"], parameter["explode"]) == ("form", False)
        assert (parameter["schema"]["type"], parameter["schema"]["format"]) == ("string", "uri")
        assert parameter["schema"].get("default", CRS84) == CRS84


# crs


def feature_address(layer: Layer) -> str:
    return f"{layer.items}/{layer.features[-1]['id']}"


def test_crs_parameter(layer: Layer) -> None:
    """/conf/crs/crs-parameter: each CRS that is listed is answered, and named in the header Content-Crs."""
    for crs in layer.entry["crs"]:
        for answer in (layer.ask(crs=crs), layer.site.get(f"{feature_address(layer)}?crs={crs}", GEOJSON)):
            assert (answer.status, answer.media) == (200, GEOJSON)
            assert answer.headers["Content-Crs"] == f"<{crs}>"


def test_crs_parameter_invalid(layer: Layer) -> None:
    """/conf/crs/crs-parameter-invalid: a CRS that is not listed is 400."""
    for crs in (ELSEWHERE, "http://www.opengis.net/def/crs/0/unsupported", "EPSG:4326", "x"):
        for answer in (layer.ask(crs=crs), layer.site.get(f"{feature_address(layer)}?crs={crs}", GEOJSON)):
            assert answer.status == 400, crs
            assert answer.json["parameter"] == "crs"


def test_crs_parameter_default(layer: Layer) -> None:
    """/conf/crs/crs-parameter-default: without the parameter it is CRS84, in the header too."""
    for address in (layer.items, feature_address(layer)):
        said = layer.site.get(f"{address}?crs={CRS84}", GEOJSON)
        unsaid = layer.site.get(address, GEOJSON)
        assert unsaid.headers["Content-Crs"] == said.headers["Content-Crs"] == f"<{CRS84}>"
        one, other = unsaid.json, said.json
        assert {**one, "links": None} == {**other, "links": None}


def test_crs_parameter_transform(layer: Layer) -> None:
    """/conf/crs/crs-parameter-transform: coordinates are those that PROJ gives, in the CRS's own order of axes."""
    for crs in layer.entry["crs"]:
        found = layer.crawl(limit=layer.largest, crs=crs)
        assert [feature["id"] for feature in found] == [feature["id"] for feature in layer.features]
        wanted = moved(layer.geometries, CRS84, crs)
        # both sides are rounded: degrees to 9 decimals (0.1 mm), metres to millimetres
        tolerance = 6e-4 if is_metric(crs) else 2e-9
        xy = shapely.get_coordinates(geometries(found))
        np.testing.assert_allclose(xy, shapely.get_coordinates(wanted), rtol=0, atol=tolerance, err_msg=crs)
        alone = layer.site.json(f"{feature_address(layer)}?crs={crs}", GEOJSON)
        assert alone["geometry"] == found[-1]["geometry"]
        assert alone["properties"] == layer.features[-1]["properties"]


@pytest.mark.parametrize("tier", ["open", "internal"])
def test_crs_parameter_gives_the_source(sample: House, layers: dict[tuple[str, str], Layer], tier: str) -> None:
    """/conf/crs/crs-parameter-transform: in the storage CRS the gauges have the numbers of the source, north first."""
    source = source_points(sample.directory / "data" / "province.gpkg", "gauges", "gauge_id")
    found = layers[tier, "gauges"].crawl(crs=EPSG + "4547")
    for feature in found:
        np.testing.assert_allclose(feature["geometry"]["coordinates"], source[feature["id"]][::-1], rtol=0, atol=2e-4)


def test_next_links_keep_the_crs(layer: Layer) -> None:
    """/conf/crs/crs-parameter: what follows a page is in the CRS of the page."""
    crs = layer.entry["crs"][-1]
    first, *_ = layer.features
    found = layer.crawl(limit=max(3, len(layer.features) // 4), crs=crs)
    assert found == layer.crawl(limit=layer.largest, crs=crs)
    assert found[0]["id"] == first["id"]


# bbox-crs


def test_bbox_crs_parameter(layer: Layer) -> None:
    """/conf/crs/bbox-crs-parameter: a box in each CRS, in its own order of axes, by brute force over the answer in that CRS."""
    for crs in layer.entry["crs"]:
        box = moved_box(middle(layer), crs)
        there = layer.crawl(limit=layer.largest, crs=crs)
        shapes = geometries(there)
        # a box that is straight in one CRS is followed in another; what lies that near to its border may go either way
        side = max(box[2] - box[0], box[3] - box[1])
        grown = 0 if crs == CRS84 and layer.site.tier == "open" else max(2e-5 * side, 1e-8)
        found = layer.ids(bbox=text(box), bbox_crs=crs)
        surely, perhaps = meeting(there, shapes, [box], -grown), meeting(there, shapes, [box], grown)
        assert surely <= found <= perhaps, (crs, surely - found, found - perhaps)
        assert surely, crs


def test_bbox_crs_parameter_of_the_extent(layer: Layer) -> None:
    """/conf/crs/bbox-crs-parameter: a box that is all of the extent and more finds everything, in each CRS."""
    west, south, east, north = layer.entry["extent"]["spatial"]["bbox"][0]
    margin = 0.05 if layer.id != "stations" else 0
    box = (west - margin, south - margin, east + margin, north + margin)
    for crs in layer.entry["crs"]:
        assert layer.ids(bbox=text(moved_box(box, crs)), bbox_crs=crs) == layer.all_ids, crs


def test_bbox_crs_parameter_invalid(layer: Layer) -> None:
    """/conf/crs/bbox-crs-parameter-invalid: a CRS that is not listed is 400."""
    for crs in (ELSEWHERE, "http://www.opengis.net/def/crs/0/unsupported", "EPSG:4326"):
        answer = layer.ask(bbox="5,49,6,50", bbox_crs=crs)
        assert answer.status == 400
        assert answer.json["parameter"] == "bbox-crs"


def test_bbox_crs_parameter_default(layer: Layer) -> None:
    """/conf/crs/bbox-crs-parameter-default: without it a box is of longitudes and latitudes."""
    box = middle(layer)
    found = layer.ids(bbox=text(box))
    assert found == layer.ids(bbox=text(box), bbox_crs=CRS84)
    grown = near(layer, box)
    assert layer.meeting([box], -grown) <= found <= layer.meeting([box], grown)


def test_bbox_crs_in_the_wrong_order(layer: Layer) -> None:
    """/conf/crs/bbox-crs-parameter: OGC's suite takes EPSG:4490 for east-north; it wants an answer, and no feature is there."""
    for crs in set(layer.entry["crs"]) - {CRS84, EPSG + "4326"}:
        south, west, north, east = moved_box(middle(layer), crs)
        answer = layer.ask(bbox=text((west, south, east, north)), bbox_crs=crs)
        assert answer.status == 200, (crs, answer.body[:200])
        assert answer.json["features"] == []


def test_antimeridian_by_latitude_first(layers: dict[tuple[str, str], Layer]) -> None:
    """/conf/crs/bbox-crs-parameter: across the antimeridian in EPSG:4326, whose first axis is latitude."""
    layer = layers["open", "stations"]
    found = layer.ids(bbox="65,177,70,-177", bbox_crs=EPSG + "4326")
    assert found and found == layer.ids(bbox="177,65,-177,70")


def test_both_parameters(layer: Layer) -> None:
    """/conf/crs: bbox in one CRS, the answer in another; the one does not change the other."""
    box = middle(layer)
    for crs in layer.entry["crs"]:
        found = layer.crawl(limit=layer.largest, bbox=text(box), crs=crs)
        assert {feature["id"] for feature in found} == layer.ids(bbox=text(box))
        answer = layer.ask(bbox=text(moved_box(box, crs)), bbox_crs=crs)
        assert answer.headers["Content-Crs"] == f"<{CRS84}>"
