"""Do filters and queryables pass the abstract tests of Features Part 3 (19-079r2, Annex A), on each collection?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.expected import CRS84, moved_box
from tests.conformance.sites import GEOJSON, SCHEMA, Layer, Site, href
from tests.conformance.test_part1 import near, text
from tests.conformance.test_part2 import middle

SPEC = "http://www.opengis.net/spec/"
FEATURES_3 = f"{SPEC}ogcapi-features-3/1.0/conf/"
CQL2 = f"{SPEC}cql2/1.0/conf/"
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
# The classes of 19-079r2 and of CQL2 (21-065r2) by what each depends on.
CLASSES: dict[str, set[str]] = {
    FEATURES_3 + "queryables": set(),
    FEATURES_3 + "queryables-query-parameters": {FEATURES_3 + "queryables"},
    FEATURES_3 + "filter": {FEATURES_3 + "queryables"},
    FEATURES_3 + "features-filter": {FEATURES_3 + "filter"},
    CQL2 + "cql2-text": {CQL2 + "basic-cql2"},
    CQL2 + "cql2-json": {CQL2 + "basic-cql2"},
    CQL2 + "basic-cql2": set(),
    CQL2 + "advanced-comparison-operators": {CQL2 + "basic-cql2"},
    CQL2 + "case-insensitive-comparison": {CQL2 + "basic-cql2"},
    CQL2 + "accent-insensitive-comparison": {CQL2 + "basic-cql2"},
    CQL2 + "basic-spatial-functions": {CQL2 + "basic-cql2"},
    CQL2 + "basic-spatial-functions-plus": {CQL2 + "basic-spatial-functions"},
    CQL2 + "spatial-functions": {CQL2 + "basic-spatial-functions"},
    CQL2 + "temporal-functions": {CQL2 + "basic-cql2"},
    CQL2 + "array-functions": {CQL2 + "basic-cql2"},
    CQL2 + "property-property": {CQL2 + "basic-cql2"},
    CQL2 + "functions": {CQL2 + "basic-cql2"},
    CQL2 + "arithmetic": {CQL2 + "basic-cql2"},
}
# What QGIS must find before it hands a filter to the server.
QGIS = {FEATURES_3 + "filter", FEATURES_3 + "features-filter", CQL2 + "cql2-text", CQL2 + "basic-cql2"}
LANGUAGES = ("cql2-text", "cql2-json")


def queryables(layer: Layer) -> dict[str, Any]:
    found: dict[str, Any] = layer.site.json(f"{layer.site.url}/collections/{layer.id}/queryables", SCHEMA)
    return found


def scalars(layer: Layer) -> dict[str, Any]:
    """The queryables that are no geometry."""
    return {name: member for name, member in queryables(layer)["properties"].items() if "type" in member}


def spatial(layer: Layer) -> str:
    """The queryable that is the geometry."""
    (name,) = (name for name, member in queryables(layer)["properties"].items() if "type" not in member)
    return str(name)


def in_box(layer: Layer, box: tuple[float, ...], lang: str = "cql2-text") -> str:
    if lang == "cql2-text":
        return f"S_INTERSECTS({spatial(layer)},BBOX({text(box)}))"
    return f'{{"op":"s_intersects","args":[{{"property":"{spatial(layer)}"}},{{"bbox":[{text(box)}]}}]}}'


def is_null(name: str, lang: str) -> str:
    return f'"{name}" IS NULL' if lang == "cql2-text" else f'{{"op":"isNull","args":[{{"property":"{name}"}}]}}'


# the classes that are declared


def test_get_conformance(site: Site) -> None:
    """/conf/filter/get-conformance, /conf/features-filter/get-conformance: known classes, each with what it depends on."""
    declared = {uri for uri in site.conforms_to if uri.startswith((FEATURES_3, CQL2))}
    assert declared <= set(CLASSES)
    assert declared >= QGIS
    for uri in declared:
        assert CLASSES[uri] <= declared, uri


def test_nothing_without_a_collection(site: Site) -> None:
    """/conf/core/conformance-success: no class of another part is declared whose resources are not there."""
    for part in ("ogcapi-features-4", "ogcapi-tiles-1", "ogcapi-processes-1", "ogcapi-records-1", "ogcapi-coverages-1"):
        assert not [uri for uri in site.conforms_to if f"/{part}/" in uri]


# queryables


def test_get_queryables(layer: Layer) -> None:
    """/conf/queryables/get-queryables (/req/queryables/get-queryables-op, …-response)"""
    found = queryables(layer)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["$id"] == f"{layer.site.url}/collections/{layer.id}/queryables"
    assert found["type"] == "object" and found["properties"]


def test_get_collection(layer: Layer) -> None:
    """/conf/queryables/get-collection: the collection links to its queryables."""
    address = href(layer.entry, QUERYABLES, SCHEMA)
    assert layer.site.json(address, SCHEMA) == queryables(layer)


def test_queryables_are_what_features_have(layer: Layer) -> None:
    """/req/queryables: they are the properties that the tier's features have, and no other."""
    assert set(scalars(layer)) == {name for feature in layer.features for name in feature["properties"]}


def test_queryables_query_parameters(layer: Layer) -> None:
    """/conf/queryables-query-parameters: a parameter for each simple queryable, of its schema; the answer only what matches."""
    parameters = layer.site.parameters(layer.path)
    for name, member in scalars(layer).items():
        parameter = parameters[name]
        assert (parameter["in"], parameter["required"]) == ("query", False)
        assert parameter["schema"] == {key: member[key] for key in ("type", "format") if key in member}
        values = [feature["properties"][name] for feature in layer.features]
        value = next(value for value in values if value is not None)
        asked = str(value).lower() if isinstance(value, bool) else value
        wanted = {f["id"] for f, found in zip(layer.features, values, strict=True) if found == value}
        assert layer.ids(**{name: asked}) == wanted, (name, value)


def test_queryables_query_parameters_together(layer: Layer) -> None:
    """/conf/queryables-query-parameters: several are ANDed, with a bbox too."""
    name, other, *_ = scalars(layer)
    chosen = layer.features[len(layer.features) // 2]["properties"]
    wanted = {
        feature["id"] for feature in layer.features if all(feature["properties"][key] == chosen[key] for key in (name, other))
    }
    assert layer.ids(**{name: chosen[name], other: chosen[other]}) == wanted
    assert layer.ids(**{name: chosen[name], other: chosen[other], "bbox": "-40,-40,-39,-39"}) == set()


# filter


def test_parameter_definitions(layer: Layer) -> None:
    """/req/filter/filter-param, /req/filter/filter-lang-param, /req/filter/filter-crs-param"""
    parameters = layer.site.parameters(layer.path)
    for name in ("filter", "filter-lang", "filter-crs"):
        parameter = parameters[name]
        assert (parameter["in"], parameter["required"], parameter["schema"]["type"]) == ("query", False, "string")
        assert (parameter["style"], parameter["explode"]) == ("form", False)
    assert set(parameters["filter-lang"]["schema"]["enum"]) == set(LANGUAGES)
    assert parameters["filter-crs"]["schema"]["format"] == "uri"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_filter_param(layer: Layer, lang: str) -> None:
    """/conf/filter/filter-param, /conf/features-filter/filter-on-items"""
    for name in scalars(layer):
        wanted = {feature["id"] for feature in layer.features if feature["properties"][name] is None}
        assert layer.ids(filter=is_null(name, lang), filter_lang=lang) == wanted
    answer = layer.ask(filter="THIS IS NOT A FILTER", filter_lang=lang)
    assert answer.status == 400
    layer.site.check(layer.path, answer)
    assert answer.json["parameter"] == "filter"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_filter_lang_default(layer: Layer, lang: str) -> None:
    """/conf/filter/filter-lang-default: text without filter-lang is CQL2 text; what is a JSON object can be nothing else."""
    name = next(iter(scalars(layer)))
    assert layer.ids(filter=is_null(name, lang)) == layer.ids(filter=is_null(name, lang), filter_lang=lang)
    assert layer.ask(filter="THIS IS NOT A FILTER").status == 400


def test_filter_lang_invalid(layer: Layer) -> None:
    """/conf/core/query-param-invalid: an unknown filter-lang is 400."""
    answer = layer.ask(filter=is_null(next(iter(scalars(layer))), "cql2-text"), filter_lang="cql3-text")
    assert (answer.status, answer.json["parameter"]) == (400, "filter-lang")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_expression_construction(layer: Layer, lang: str) -> None:
    """/conf/filter/expression-construction: what is no queryable is 400."""
    answer = layer.ask(filter=is_null("this_is_not_a_queryable", lang), filter_lang=lang)
    assert (answer.status, answer.json["parameter"]) == (400, "filter")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_filter_crs_wgs84(layer: Layer, lang: str) -> None:
    """/conf/filter/filter-crs-wgs84: coordinates are longitudes and latitudes; those that are none are 400."""
    extent = tuple(layer.entry["extent"]["spatial"]["bbox"][0])
    # the extent is rounded and its border is that of features; a hair more holds them in any CRS they are stored in
    whole = (max(extent[0] - 1e-4, -180), extent[1] - 1e-4, min(extent[2] + 1e-4, 180), extent[3] + 1e-4)
    assert layer.ids(filter=in_box(layer, whole, lang), filter_lang=lang) == layer.all_ids
    box = middle(layer)
    grown = near(layer, box)
    found = layer.ids(filter=in_box(layer, box, lang), filter_lang=lang)
    assert layer.meeting([box], -grown) <= found <= layer.meeting([box], grown) and found
    answer = layer.ask(filter=in_box(layer, (1e6, 1e6, 2e6, 2e6), lang), filter_lang=lang)
    assert (answer.status, answer.json["parameter"]) == (400, "filter")


def test_filter_crs_param(layer: Layer) -> None:
    """/conf/filter/filter-crs-param: coordinates in each CRS of the collection, in its order of axes; an unknown CRS is 400."""
    box = middle(layer)
    for crs in layer.entry["crs"]:
        there = moved_box(box, crs)
        found = layer.ids(filter=in_box(layer, there), filter_crs=crs)
        # the same box as a bbox, whose own tests look at the features
        assert found == layer.ids(bbox=text(there), bbox_crs=crs) and found, crs
    for crs in ("http://www.opengis.net/def/crs/OGC/0/does_not_exist", "http://www.opengis.net/def/crs/EPSG/0/2154"):
        answer = layer.ask(filter=in_box(layer, box), filter_crs=crs)
        assert (answer.status, answer.json["parameter"]) == (400, "filter-crs")


def test_mixing_expressions(layer: Layer) -> None:
    """/conf/filter/mixing-expression: filter, bbox and property parameters are ANDed."""
    box = middle(layer)
    found = layer.ids(filter=in_box(layer, box))
    assert layer.ids(filter=in_box(layer, box), bbox=text(box)) == found
    assert layer.ids(filter=in_box(layer, box), bbox="-40,-40,-39,-39") == set()
    name = layer.role("id")
    one = min(found)
    # OR inside the filter does not reach what is outside of it
    either = f"{in_box(layer, box)} OR \"{name}\" = '{one}'"
    assert layer.ids(filter=either, **{str(name): one}) == {one}


def test_response(layer: Layer) -> None:
    """/req/filter/response: only what matches, also page by page, with the count of the matches."""
    name = layer.role("id")
    middle_id = sorted(layer.all_ids)[len(layer.all_ids) // 2]
    wanted = {key for key in layer.all_ids if key >= middle_id}
    found = layer.crawl(filter=f"\"{name}\" >= '{middle_id}'", limit=max(3, len(wanted) // 4))
    assert {feature["id"] for feature in found} == wanted
    answer = layer.ask(filter=f"\"{name}\" >= '{middle_id}'", limit=2)
    assert (answer.status, answer.media, answer.headers["Content-Crs"]) == (200, GEOJSON, f"<{CRS84}>")
