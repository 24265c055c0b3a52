"""A real dataset (68 settled areas of British Columbia with their hazards), loaded and given a policy: three answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from click.testing import CliRunner

from server.state import State
from tests.conftest import House
from tests.needs import reference

FILE = reference("catalogue", "iso_open_canada", "nhsl_hazard_threat_all_indicators_s_bc.geojson")
GRID = 1000
POLICY = f"""
access:
  open:
    rows: LSn > 0.3 AND MHt_Bldgs > 0
    properties: [Sauid, cdname, LSn]
    mask: {{LSn: {{round: 0.1}}}}
    geometry: {{snap: {GRID}, crs: EPSG:3005}}
  shared:
    properties: [Sauid, cdname, csdname, LSn, LSt_Bldgs, Mht_AssetCost]
    mask: {{Mht_AssetCost: redact}}
  internal:
    under: {{cduid: caller}}
    properties: [Sauid, cduid, cdname, csdname, LSn, LSt_Bldgs, Mht_AssetCost, Mht_CensusPop]
"""


@pytest.fixture(scope="module")
def source() -> dict[str, dict[str, Any]]:
    features = json.loads(FILE.read_text(encoding="utf-8"))["features"]
    return {feature["properties"]["Sauid"]: feature for feature in features}


@pytest.fixture(scope="module")
def hazards(empty: Callable[[], House]) -> tuple[House, dict[str, str]]:
    house = empty()
    house.tierra("load", str(FILE), "--collection", "hazards", "--id", "Sauid")
    assert house.get("/collections/hazards").status_code == 404, "a loaded dataset is seen by nobody before it has a policy"
    file = house.directory / "config" / "collections" / "hazards.yml"
    file.write_text(file.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    state = State(house.settings.state / "state.sqlite")
    keys = {
        "shared": state.add_key(tier="shared", name="flood office", agency="Water")[1],
        "province": state.add_key(tier="internal", name="BC", level="province", division="59", roles=["approver"])[1],
        "kootenay": state.add_key(tier="internal", name="East Kootenay", level="city", division="5901")[1],
    }
    house.tierra("approve", "hazards", "--by", keys["province"].partition(".")[0], "--because", "natural hazards, open list")
    return house, keys


def answer(hazards: tuple[House, dict[str, str]], caller: str | None) -> dict[str, dict[str, Any]]:
    house, keys = hazards
    page = house.json("/collections/hazards/items?limit=1000", keys[caller] if caller else None)
    assert page["numberMatched"] == page["numberReturned"] == len(page["features"])
    return {feature["id"]: feature for feature in page["features"]}


def test_the_public_gets_rounded_values_on_a_grid(hazards: tuple[House, dict[str, str]], source: dict[str, Any]) -> None:
    found = answer(hazards, None)
    expected = {k for k, f in source.items() if f["properties"]["LSn"] > 0.3 and f["properties"]["MHt_Bldgs"] > 0}
    assert 0 < len(expected) < len(source)
    assert set(found) == expected
    to_grid = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:3005", always_xy=True)
    for key, feature in found.items():
        before = source[key]["properties"]
        assert set(feature["properties"]) == {"Sauid", "cdname", "LSn"}
        assert feature["properties"]["LSn"] == pytest.approx(round(before["LSn"] * 10) / 10, abs=1e-12)
        corners = shapely.get_coordinates(shapely.from_geojson(json.dumps(feature["geometry"])))
        east, north = to_grid.transform(corners[:, 0], corners[:, 1])
        off = np.abs(np.column_stack([east, north]) / GRID - np.rint(np.column_stack([east, north]) / GRID)) * GRID
        assert off.max() < 0.01, f"{key}: a corner {off.max()} m off the grid"


def test_a_department_gets_every_area_as_it_is(hazards: tuple[House, dict[str, str]], source: dict[str, Any]) -> None:
    found = answer(hazards, "shared")
    assert set(found) == set(source)
    for key, feature in found.items():
        before = source[key]
        names = ["Sauid", "cdname", "csdname", "LSn", "LSt_Bldgs"]
        assert feature["properties"] == {n: before["properties"][n] for n in names} | {"Mht_AssetCost": None}
        shape, was = (shapely.from_geojson(json.dumps(f["geometry"])) for f in (feature, before))
        assert shapely.hausdorff_distance(shape, was) < 1e-8


def test_each_division_gets_its_own_areas(hazards: tuple[House, dict[str, str]], source: dict[str, Any]) -> None:
    assert set(answer(hazards, "province")) == set(source)
    own = {key for key, feature in source.items() if feature["properties"]["cduid"] == "5901"}
    found = answer(hazards, "kootenay")
    assert 0 < len(own) < len(source)
    assert set(found) == own
    for key, feature in found.items():
        assert all(feature["properties"][name] == source[key]["properties"][name] for name in feature["properties"])
        assert "Mht_AssetCost" in feature["properties"]


def test_a_file_that_is_there_already_is_not_loaded_over(hazards: tuple[House, dict[str, str]]) -> None:
    house, _ = hazards
    from server.cli import main

    done = CliRunner(env=house.environ).invoke(main, ["load", str(FILE), "--collection", "hazards", "--id", "Sauid"])
    assert done.exit_code == 1
    assert "--replace" in done.output
