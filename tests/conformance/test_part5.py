"""Do schema, queryables and sortables pass the abstract tests of Features Part 5 (23-058, Annex A), class by class?"""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.conformance.sites import GEOJSON, SCHEMA, Layer, Site, bare, links

FEATURES_5 = "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/"
RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
DOCUMENTS = ("schema", "queryables", "sortables")
KINDS = {
    "Point": "point",
    "MultiPoint": "multipoint",
    "LineString": "linestring",
    "MultiLineString": "multilinestring",
    "Polygon": "polygon",
    "MultiPolygon": "multipolygon",
    "GeometryCollection": "geometrycollection",
}
KEYWORDS = {"$schema", "$id", "type", "title", "description", "properties", "required", "additionalProperties",
            "format", "enum", "minimum", "maximum", "readOnly", "writeOnly"}  # fmt: skip


def document(layer: Layer, name: str) -> dict[str, Any]:
    found: dict[str, Any] = layer.site.json(f"{layer.site.url}/collections/{layer.id}/{name}", SCHEMA)
    return found


def with_role(schema: dict[str, Any], *roles: str) -> dict[str, Any]:
    return {name: member for name, member in schema["properties"].items() if member.get("x-ogc-role") in roles}


def test_get_conformance(site: Site) -> None:
    """/conf/returnables-and-receivables/get-conformance, …/queryables/…, …/sortables/…: each with `schemas`."""
    for name in ("schemas", "core-roles-features", "returnables-and-receivables", "queryables", "sortables"):
        assert FEATURES_5 + name in site.conforms_to


# schemas, for each of the three documents


@pytest.mark.parametrize("name", DOCUMENTS)
def test_basic_schema_inspection(layer: Layer, name: str) -> None:
    """/conf/schemas/basic-schema-inspection"""
    schema = document(layer, name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DRAFT
    assert schema["$id"] == f"{layer.site.url}/collections/{layer.id}/{name}"
    answer = layer.site.get(schema["$id"], SCHEMA)
    assert (answer.status, answer.media) == (200, SCHEMA) and answer.json == schema
    assert schema["type"] == "object"
    for member in schema["properties"].values():
        if member.get("format", "").startswith("geometry-"):
            assert "type" not in member and "$ref" not in member
        else:
            assert member["type"] in ("string", "number", "integer", "boolean")
            if member.get("format") in ("date", "date-time"):
                assert member["type"] == "string"
    for part in (schema, *schema["properties"].values()):
        assert all(key in KEYWORDS or key.startswith("x-ogc-") for key in part), part


@pytest.mark.parametrize("name", DOCUMENTS)
def test_role(layer: Layer, name: str) -> None:
    """/conf/schemas/role: roles are strings."""
    members = document(layer, name)["properties"].values()
    assert all(isinstance(member.get("x-ogc-role", ""), str) for member in members)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_role_id(layer: Layer, name: str) -> None:
    """/conf/schemas/role-id: exactly one property is the id, a string or an integer."""
    (member,) = with_role(document(layer, name), "id").values()
    assert member["type"] in ("string", "integer")


def test_role_id_is_the_id(layer: Layer) -> None:
    """/req/schemas/role-id A: the property with the role has the feature's id."""
    (name,) = with_role(layer.schema, "id")
    assert all(feature["properties"][name] == feature["id"] for feature in layer.features)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_unit_definition_sequence(layer: Layer, name: str) -> None:
    """/conf/schemas/unit, /conf/schemas/definition, /conf/schemas/property-seq: of the type that each must have."""
    for member in document(layer, name)["properties"].values():
        assert isinstance(member.get("x-ogc-unit", ""), str)
        assert "x-ogc-unit" not in member or member["type"] in ("number", "integer")
        assert isinstance(member.get("x-ogc-propertySeq", 0), int)
        assert str(member.get("x-ogc-definition", "http://")).startswith("http")


# roles of features


@pytest.mark.parametrize("name", ["schema", "queryables"])
def test_role_primary_geometry(layer: Layer, name: str) -> None:
    """/conf/core-roles-features/role-primary-geometry: one property, of the geometry types that the features have."""
    (member,) = with_role(document(layer, name), "primary-geometry").values()
    said = member["format"].removeprefix("geometry-")
    allowed = set(KINDS.values()) if said == "any" else set(said.split("-or-"))
    kinds = {KINDS[feature["geometry"]["type"]] for feature in layer.features if feature["geometry"]}
    assert kinds <= allowed


@pytest.mark.parametrize("name", DOCUMENTS)
def test_role_primary_temporal(layer: Layer, name: str) -> None:
    """/conf/core-roles-features/role-primary-temporal: at most one instant, of format date or date-time."""
    found = with_role(document(layer, name), "primary-instant", "primary-interval-start", "primary-interval-end")
    assert len(found) <= 1
    for member in found.values():
        assert (member["type"], member["format"] in ("date", "date-time")) == ("string", True)


def test_role_primary_instant_is_what_datetime_asks(layer: Layer) -> None:
    """/req/core-roles-features/role-primary-instant: a collection with a temporal extent has it, and no other does."""
    assert bool(with_role(layer.schema, "primary-instant")) == ("temporal" in layer.entry["extent"])


# the resources


@pytest.mark.parametrize("name", DOCUMENTS)
def test_link(layer: Layer, name: str) -> None:
    """/conf/returnables-and-receivables/link, /conf/queryables/link, /conf/sortables/link"""
    wanted = f"{layer.site.url}/collections/{layer.id}/{name}"
    found = links(layer.entry, RELATION + name)
    assert {bare(link["href"]) for link in found} == {wanted}
    (schema,) = [link for link in found if link["type"] == SCHEMA]
    assert layer.site.json(schema["href"], SCHEMA) == document(layer, name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_op_and_response(layer: Layer, name: str) -> None:
    """/conf/returnables-and-receivables/op-and-response, …/queryables/…, …/sortables/…"""
    answer = layer.site.get(f"{layer.site.url}/collections/{layer.id}/{name}", SCHEMA)
    assert (answer.status, answer.media) == (200, SCHEMA)


def test_response_1(layer: Layer) -> None:
    """/conf/returnables-and-receivables/response-1: each value is valid by its property's schema; null is no value.

    There is no property that the schema does not have, and each that it has is there.
    """
    schema = layer.schema
    checkers = {
        name: Draft202012Validator(member, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for name, member in schema["properties"].items()
        if "type" in member
    }
    alone = layer.site.json(f"{layer.items}/{layer.features[0]['id']}", GEOJSON)
    for feature in [*layer.features, alone]:
        assert set(feature["properties"]) == set(checkers)
        for name, value in feature["properties"].items():
            assert value is None or checkers[name].is_valid(value), (name, value)
        assert all(feature["properties"].get(name) is not None for name in schema.get("required", []))


def test_date_times_have_an_offset(layer: Layer) -> None:
    """/req/schemas/properties D: values of format date-time are of RFC 3339."""
    for name, member in layer.schema["properties"].items():
        if member.get("format") == "date-time":
            values = [feature["properties"][name] for feature in layer.features]
            assert any(values)
            assert all(value is None or value.endswith("Z") for value in values)


# queryables and sortables


def test_queryables_are_closed(layer: Layer) -> None:
    """/req/queryables/response C: a name that is not there is 400, and the document says so."""
    assert document(layer, "queryables")["additionalProperties"] is False
    assert layer.ask(filter="no_such_property = 1").status == 400


def test_sortables_are_closed(layer: Layer) -> None:
    """/req/sortables/response E: a name that is not there is 400, and the document says so."""
    assert layer.ask(sortby="no_such_property").status == 400
    assert document(layer, "sortables").get("additionalProperties") is False


def test_sortables_response(layer: Layer) -> None:
    """/req/sortables/response C, D: no array, no object, no geometry; each is a property of the schema."""
    schema = document(layer, "sortables")
    for name, member in schema["properties"].items():
        assert member["type"] in ("string", "number", "integer", "boolean")
        assert member["type"] == layer.schema["properties"][name]["type"]


@pytest.mark.parametrize("sign", ["", "-", "+"])
def test_sortables_sort(layer: Layer, sign: str) -> None:
    """What is sortable sorts, up and down, page by page: the order is that of the values, none of them lost."""
    for name in document(layer, "sortables")["properties"]:
        found = layer.crawl(sortby=sign + name, limit=max(5, len(layer.features) // 3))
        assert {feature["id"] for feature in found} == layer.all_ids
        values = [feature["properties"][name] for feature in found]
        present = [value for value in values if value is not None]
        assert present == sorted(present, reverse=sign == "-"), name
        assert all(value is None for value in values[len(present) :]), f"{name}: a null is not at the end"


def test_sortables_are_those_of_the_api_definition(layer: Layer) -> None:
    """/conf/oas30/oas-impl: the parameter sortby has the sortables, with both signs."""
    listed = set(layer.site.parameters(layer.path)["sortby"]["schema"]["items"]["enum"])
    assert listed == {sign + name for name in document(layer, "sortables")["properties"] for sign in ("", "-", "+")}
