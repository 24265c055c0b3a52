"""Whether a provider enforces by itself: mounted in pygeoapi as it comes, it gives what its grant allows, and nothing without."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from pygeoapi.api import API, APIRequest, describe_collections
from pygeoapi.api import itemtypes as handlers
from pygeoapi.plugin import load_plugin
from pygeoapi.provider.base import ProviderItemNotFoundError
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from providers.features import GrantRefused, Unavailable
from providers.grant import Generalisation, Grant, GrantError, Mask, Recipe
from server import config as configuration
from server.config import Config
from tests.conftest import House


@pytest.fixture(scope="module")
def config(staffed: House) -> Config:
    return configuration.load(staffed.settings)


def definition(config: Config, collection: str, tier: Any, **grant: Any) -> dict[str, Any]:
    """The provider definition of a collection with a grant in it."""
    found = config.collections[collection]
    recipe = config.recipe(collection, tier)
    made = found.edition_definition(config, recipe) if recipe.materialised else found.live_definition(recipe)
    return made | {"grant": Grant(recipe, **grant)}


def vanilla(config: Config, collection: str, provider: dict[str, Any]) -> API:
    """pygeoapi's own API with one collection."""
    base = yaml.safe_load((config.settings.config / "tierra.yml").read_text())
    world = {"spatial": {"bbox": [-180, -90, 180, 90], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}}
    resource = {**config.collections[collection].resource, "extents": world, "providers": [provider]}
    base["server"].pop("templates", None)
    return API({**base, "resources": {collection: resource}}, {"paths": {}})


def ask(api: API, handler: Callable[..., Any], *words: str, **params: str) -> tuple[int, Any]:
    http = Request(EnvironBuilder(path="/x", query_string={"f": "json", **params}).get_environ())
    _, status, body = handler(api, APIRequest.from_flask(http, ["en", "zh"]), *words)
    return int(status), json.loads(body)


GRANTS = [
    (None, "/open", "parcels", "open", {}),
    (None, "/open", "landslides", "open", {}),
    ("shared", "/shared", "parcels", "shared", {}),
    ("shared", "/shared", "landslides", "shared", {}),
    ("internal-county", "/internal", "parcels", "internal", {"under": ("division", "510101")}),
    ("internal-county", "/internal", "minerals", "internal", {"under": ("division", "510101")}),
]


@pytest.mark.parametrize("caller, prefix, collection, tier, grant", GRANTS)
def test_vanilla_pygeoapi_gives_what_the_grant_allows(
    staffed: House, config: Config, caller: str | None, prefix: str, collection: str, tier: str, grant: dict[str, Any]
) -> None:
    api = vanilla(config, collection, definition(config, collection, tier, **grant))
    base = f"{prefix}/collections/{collection}"
    for params in ({"limit": "1000"}, {"limit": "7", "offset": "3"}, {"limit": "5", "bbox": "113,27,115,31"}):
        query = "&".join(f"{name}={value}" for name, value in params.items())
        expected = staffed.json(f"{base}/items?{query}", caller)
        status, page = ask(api, handlers.get_collection_items, collection, **params)
        assert status == 200
        assert page["numberMatched"] == expected["numberMatched"]
        assert [plain(feature) for feature in page["features"]] == [plain(feature) for feature in expected["features"]]
    one = expected["features"][0]["id"]
    status, feature = ask(api, handlers.get_collection_item, collection, one)
    assert status == 200
    assert plain(feature) == plain(staffed.json(f"{base}/items/{one}", caller))
    status, queryables = ask(api, handlers.get_collection_queryables, collection)
    assert status == 200
    assert set(queryables["properties"]) == set(staffed.json(f"{base}/queryables", caller)["properties"])
    assert ask(api, describe_collections, collection)[0] == 200


def plain(feature: dict[str, Any]) -> tuple[Any, ...]:
    return feature["id"], feature["properties"], feature["geometry"]


def test_vanilla_pygeoapi_finds_no_row_beyond_the_grant(staffed: House, config: Config) -> None:
    api = vanilla(config, "parcels", definition(config, "parcels", "internal", under=("division", "510101")))
    rows = staffed.json("/collections/parcels/items?limit=10000", "internal-nation")["features"]
    elsewhere = next(row["id"] for row in rows if row["properties"]["division"] != "510101")
    assert ask(api, handlers.get_collection_item, "parcels", elsewhere)[0] == 404
    status, page = ask(api, handlers.get_collection_items, "parcels", division="510202")
    assert (status, page["numberMatched"]) == (200, 0)


def test_vanilla_pygeoapi_asks_no_hidden_property(config: Config) -> None:
    api = vanilla(config, "parcels", definition(config, "parcels", "open"))
    for params in ({"sortby": "owner"}, {"properties": "owner"}, {"filter": "owner = 'x'"}):
        status, page = ask(api, handlers.get_collection_items, "parcels", limit="3", **params)
        assert status == 400 or all(
            set(row["properties"]) <= {"parcel_id", "landuse", "area_ha", "division"} for row in page["features"]
        )
        assert "certificate" not in json.dumps(page)
    plain_order = ask(api, handlers.get_collection_items, "parcels", limit="3")[1]["features"]
    assert ask(api, handlers.get_collection_items, "parcels", limit="3", owner="x")[1].get("features", plain_order) == plain_order


@pytest.mark.parametrize(
    "grant",
    [
        "none",
        None,
        {},
        {"recipe": {}},
        {"recipe": {"collection": "parcels", "tier": "internal"}},
        {"recipe": {"collection": "parcels", "tier": "internal", "properties": ["parcel_id"]}, "also": 1},
        {"recipe": {"collection": "parcels", "tier": "internal", "properties": ["parcel_id"], "all": True}},
        {"recipe": {"collection": "parcels", "tier": "internal", "properties": ["parcel_id"]}, "actions": []},
        {"recipe": {"collection": "parcels", "tier": "internal", "properties": ["parcel_id"]}, "only": ["identity"]},
        {"recipe": {"collection": "parcels", "tier": "everyone", "properties": ["parcel_id"]}},
    ],
)
def test_provider_without_a_good_grant_raises(config: Config, grant: Any) -> None:
    made = definition(config, "parcels", "internal")
    made.pop("grant")
    if grant != "none":
        made["grant"] = grant
    with pytest.raises((GrantRefused, Unavailable)):
        load_plugin("provider", made).query()
    api = vanilla(config, "parcels", made)
    status, page = ask(api, handlers.get_collection_items, "parcels")
    assert status >= 400
    assert "features" not in page


UNFULFILLABLE: list[tuple[str, dict[str, Any]]] = [
    ("a column that is not there", {"properties": ("parcel_id", "nosuch")}),
    ("a row rule over no column", {"properties": ("parcel_id",), "rows": "nosuch = 1"}),
    ("a row rule that is none", {"properties": ("parcel_id",), "rows": "status ="}),
    ("a mask inside", {"properties": ("parcel_id", "owner"), "masks": (Mask("owner", "initial"),)}),
    ("a snap inside", {"properties": ("parcel_id",), "geometry": Generalisation(snap=20)}),
    ("a clip inside", {"properties": ("parcel_id",), "clip": "divisions"}),
]


@pytest.mark.parametrize("recipe", [row[1] for row in UNFULFILLABLE], ids=[row[0] for row in UNFULFILLABLE])
def test_grant_that_cannot_be_fulfilled_is_refused(config: Config, recipe: dict[str, Any]) -> None:
    made = definition(config, "parcels", "internal") | {"grant": Grant(Recipe(collection="parcels", tier="internal", **recipe))}
    provider = load_plugin("provider", made)
    for asked in (provider.query, provider.get_fields, provider.get_domains, lambda: provider.get("510101001001GB00001")):
        with pytest.raises(GrantRefused):
            asked()


def test_grant_of_another_recipe_is_not_served_from_an_edition(config: Config) -> None:
    made = definition(config, "parcels", "open")
    grant: Grant = made["grant"]
    for change in (
        {"properties": ("parcel_id",)},
        {"rows": None},
        {"geometry": Generalisation()},
        {"masks": ()},
        {"tier": "shared"},
    ):
        recipe = type(grant.recipe)(**{name: getattr(grant.recipe, name) for name in grant.recipe.__slots__} | change)
        provider = load_plugin("provider", made | {"grant": Grant(recipe)})
        with pytest.raises(Unavailable):
            provider.query()


def test_grant_survives_its_journey(config: Config) -> None:
    made = definition(config, "parcels", "shared", narrow=("landuse = '01'",), only=("parcel_id", "landuse"), items=3)
    travelled = json.loads(json.dumps(made["grant"].to_dict()))
    assert Grant.from_dict(travelled) == made["grant"]
    provider = load_plugin("provider", made | {"grant": travelled})
    page = provider.query(limit=100)
    assert len(page["features"]) == 3
    assert {tuple(row["properties"]) for row in page["features"]} == {("parcel_id", "landuse")}
    assert {row["properties"]["landuse"] for row in page["features"]} == {"01"}
    every = load_plugin("provider", definition(config, "parcels", "shared")).query(limit=10000)["features"]
    other = next(row["id"] for row in every if row["properties"]["landuse"] != "01")
    with pytest.raises(ProviderItemNotFoundError):
        provider.get(other)
    with pytest.raises(GrantError):
        Grant(made["grant"].recipe, only=("parcel_id", "certificate"))


def test_domains_are_of_what_the_grant_lets_out(config: Config) -> None:
    provider = load_plugin("provider", definition(config, "parcels", "internal", under=("division", "510101")))
    assert provider.get_domains(["division"])[0] == {"division": ["510101"]}
    narrowed = load_plugin(
        "provider", definition(config, "parcels", "shared", narrow=("landuse = '01'",), only=("parcel_id", "landuse"))
    )
    assert narrowed.get_domains()[0] == {"landuse": ["01"]}
    assert "owner" not in narrowed.get_domains(["landuse", "owner"])[0]
