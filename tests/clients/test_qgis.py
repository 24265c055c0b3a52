"""Whether QGIS shows each caller its layers: counted, with their fields, filtered by the server and drawn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import shape

from tests import needs
from tests.clients.recorder import Exchange, Recorder
from tests.clients.seen import PARCELS, Source, crawl, fetch, geometry
from tests.conftest import House, serve, stop

needs.needs(system_modules=("qgis.core",))

SCRIPT = Path(__file__).with_name("qgis_layers.py")
CALLERS = sorted(PARCELS, key=str)
ITEMS = "/collections/parcels/items"
SCHEMA = "http://www.opengis.net/def/rel/ogc/1.0/schema"
# 3.40 sends filters in CQL2 and asks in the storage CRS; 3.22 sends a box and a time, and filters the rest by itself.
CURRENT = 34000
# QGIS stops counting here where a layer has a filter.
COUNTED = 1000


class QGIS:
    """A running QGIS without a screen, behind a recording proxy."""

    def __init__(self, recorder: Recorder, home: Path) -> None:
        self.recorder = recorder
        home.mkdir()
        env = os.environ | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "QT_QPA_PLATFORM": "offscreen"}
        self._process = subprocess.Popen(
            [needs.SYSTEM_PYTHON, str(SCRIPT), recorder.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(home / "log").open("wb"),
            env=env,
            text=True,
        )
        self._log = home / "log"

    def layer(self, collection: str, key: str | None = None, url: str | None = None, **task: Any) -> dict[str, Any]:
        """Load a layer anew and look at it, as the script describes."""
        asked = {"url": url or self.recorder.origin, "collection": collection, "key": key, **task}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        seen: dict[str, Any] = json.loads(line)
        assert "error" not in seen, (seen, self._log.read_text())
        return seen

    def asked(self, since: int) -> list[Exchange]:
        """The requests for items from the given number on, but for the look at the first features."""
        found = [e for e in self.recorder.exchanges[since:] if e.method == "GET" and e.path.endswith("/items")]
        assert all(exchange.status in (200, 304) for exchange in found), found
        return [exchange for exchange in found if exchange.parameters["limit"] not in ("1", "10")]

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)


@pytest.fixture(scope="module")
def qgis(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QGIS]:
    made = QGIS(recorder, tmp_path_factory.mktemp("qgis") / "home")
    yield made
    made.close()


def key_of(sample: House, caller: str | None) -> str | None:
    return sample.keys[caller] if caller else None


@pytest.mark.parametrize("caller", CALLERS)
def test_parcels_are_those_of_the_caller(qgis: QGIS, served: str, sample: House, source: Source, caller: str | None) -> None:
    key, sight = key_of(sample, caller), PARCELS[caller]
    layer = qgis.layer("parcels", key)
    assert layer["count"] == source.count("parcels", sight.rows) == fetch(f"{served}{ITEMS}?limit=1", key)["numberMatched"]
    assert set(layer["fields"]) == {"id", *sight.properties}
    assert {feature["properties"]["parcel_id"] for feature in layer["features"]} == {
        parcel for (parcel,) in source.rows("parcels", sight.rows, "parcel_id")
    }
    assert len(layer["features"]) == layer["count"]
    assert layer["geometry"] == "Polygon"


@pytest.mark.parametrize("caller", [None, "internal-county"])
def test_features_are_those_of_the_items(qgis: QGIS, served: str, sample: House, caller: str | None) -> None:
    key = key_of(sample, caller)
    layer = qgis.layer("parcels", key)
    standard = layer["crs"] in ("EPSG:4326", "OGC:CRS84")
    crs = "" if standard else f"&crs=http://www.opengis.net/def/crs/{layer['crs'].replace(':', '/0/')}"
    answer = {feature["id"]: feature for feature in crawl(f"{served}{ITEMS}?limit=1000{crs}", key)}
    for feature in layer["features"]:
        told = answer.pop(feature["properties"].pop("id"))
        if moment := told["properties"].get("updated"):
            told["properties"]["updated"] = _to_seconds(moment)
        assert feature["properties"] == told["properties"]
        there = shape(told["geometry"])
        if crs:  # the answer is in the order of EPSG:4547, northing first
            there = shapely.transform(there, lambda xy: xy[:, ::-1])
        assert shapely.equals_exact(there, shapely.from_wkb(feature["wkb"]), 1e-9)
    assert not answer


def _to_seconds(moment: str) -> str:
    return f"{datetime.fromisoformat(moment) + timedelta(seconds=0.5):%Y-%m-%dT%H:%M:%SZ}"


def test_types_of_fields(qgis: QGIS, sample: House) -> None:
    fields = qgis.layer("parcels", sample.keys["internal-county"])["fields"]
    expected = {"parcel_id": "String", "landuse": "String", "area_m2": "Real", "area_ha": "Real", "updated": "DateTime"}
    assert {name: fields[name] for name in expected} == expected
    assert qgis.layer("stations")["fields"]["opened"] == "Date"


def test_crs_of_a_layer(qgis: QGIS, sample: House) -> None:
    assert qgis.layer("parcels")["crs"] in ("EPSG:4326", "OGC:CRS84")
    inside = qgis.layer("parcels", sample.keys["internal-county"])
    assert inside["crs"] == ("EPSG:4547" if inside["version"] >= CURRENT else "EPSG:4326")


@pytest.mark.parametrize("prefix", ["/open", "/shared"])
def test_prefix_is_the_tier_looked_through(qgis: QGIS, sample: House, source: Source, prefix: str) -> None:
    layer = qgis.layer("parcels", sample.keys["internal-county"], qgis.recorder.origin + prefix)
    assert set(layer["fields"]) == {"id", *PARCELS[None].properties}  # an official is a department without agreement
    assert layer["count"] == source.count("parcels", PARCELS[None].rows)


def test_minerals_exist_inside_alone(qgis: QGIS, sample: House, source: Source) -> None:
    assert not qgis.layer("minerals")["valid"]
    assert not qgis.layer("minerals", sample.keys["shared"])["valid"]
    inside = qgis.layer("minerals", sample.keys["internal-province"])
    assert (inside["count"], inside["geometry"]) == (source.count("minerals"), "Point")


def test_wrong_key_gives_no_layer(qgis: QGIS) -> None:
    assert not qgis.layer("parcels", "kaaaaaaaaaa." + "a" * 43)["valid"]


def test_stations_all_over_the_world(qgis: QGIS, source: Source) -> None:
    layer = qgis.layer("stations")
    assert (layer["count"], layer["geometry"]) == (source.count("stations"), "Point")
    assert len(layer["features"]) == layer["count"]
    around = qgis.layer("stations", rect=[170, -90, 180, 90])
    places = source.rows("stations", "TRUE", "station_id", "geom")
    assert len(around["features"]) == sum(geometry(blob).x >= 170 for _, blob in places) > 0


def test_layer_is_fetched_along_next(qgis: QGIS) -> None:
    since = len(qgis.recorder.exchanges)
    qgis.layer("parcels")
    pages = [exchange.parameters for exchange in qgis.asked(since)]
    # the largest page of the open tier, which QGIS finds in the OpenAPI document
    assert [page["limit"] for page in pages] == ["1000", "1000"]
    assert [page for page in pages if "offset" in page] == []


def test_subset_in_time_is_asked_of_the_server(qgis: QGIS, source: Source) -> None:
    since = len(qgis.recorder.exchanges)
    layer = qgis.layer("stations", subset="opened > '1990-01-01'")
    assert layer["count"] == len(layer["features"]) == source.count("stations", "opened > '1990-01-01'")
    sent = qgis.asked(since)[0].parameters
    if layer["version"] >= CURRENT:
        assert "opened" in sent["filter"] and sent["filter-lang"] == "cql2-text"
    else:
        assert sent["datetime"].startswith("1990-01-01/")


@pytest.mark.parametrize(
    "subset",
    [
        "landuse = '01'",
        "landuse = '01' AND area_ha > 20",
        "(landuse = '01' OR landuse = '03') AND NOT area_ha > 20",
        "landuse IN ('01', '03')",
        "landuse LIKE '0%'",
        "division IS NULL",
    ],
)
def test_subset_by_properties(qgis: QGIS, source: Source, subset: str) -> None:
    since = len(qgis.recorder.exchanges)
    layer = qgis.layer("parcels", subset=subset)
    # the area is let out in whole hectares, and a filter asks what is let out
    rows = f"{PARCELS[None].rows} AND ({subset.replace('area_ha', 'round(area_ha)')})"
    assert len(layer["features"]) == source.count("parcels", rows)
    assert layer["count"] == min(len(layer["features"]), COUNTED)
    if layer["version"] >= CURRENT:
        assert all(exchange.parameters["filter-lang"] == "cql2-text" for exchange in qgis.asked(since))


def test_expression_of_a_request(qgis: QGIS, source: Source) -> None:
    since = len(qgis.recorder.exchanges)
    layer = qgis.layer("parcels", expression="landuse = '03'")
    rows = f"{PARCELS[None].rows} AND landuse = '03'"
    assert {f["properties"]["parcel_id"] for f in layer["features"]} == {i for (i,) in source.rows("parcels", rows, "parcel_id")}
    if layer["version"] >= CURRENT:
        assert "landuse" in qgis.asked(since)[-1].parameters["filter"]


@pytest.mark.parametrize("caller", [None, "internal-county"])
def test_rectangle_is_asked_of_the_server(qgis: QGIS, served: str, sample: House, caller: str | None) -> None:
    key = key_of(sample, caller)
    first = qgis.layer("parcels", key)
    rect = [113.5, 30.62, 113.6, 30.72] if first["crs"] != "EPSG:4547" else [448000.0, 3386000.0, 458000.0, 3396000.0]
    box = shapely.box(*rect)
    expected = [f["properties"]["parcel_id"] for f in first["features"] if shapely.from_wkb(f["wkb"]).intersects(box)]
    since = len(qgis.recorder.exchanges)
    layer = qgis.layer("parcels", key, rect=rect)
    assert sorted(f["properties"]["parcel_id"] for f in layer["features"]) == sorted(expected)
    assert 0 < len(expected) < first["count"]
    assert all("bbox" in exchange.parameters for exchange in qgis.asked(since))


@pytest.mark.parametrize("caller", ["shared", "internal-county", "internal-province"])
def test_drawn_in_the_zone_of_the_land_register(qgis: QGIS, sample: House, source: Source, caller: str) -> None:
    """The share of the picture that is red is the share of the extent that the caller's parcels, which tile it, cover."""
    west, south, east, north = source.extent("parcels")
    image = {"width": 300, "height": round(300 * (north - south) / (east - west)), "crs": "EPSG:4547"}
    drawn = qgis.layer("parcels", sample.keys[caller], image={**image, "extent": [west, south, east, north]})
    area = sum(area for (area,) in source.rows("parcels", PARCELS[caller].rows, "area_m2"))
    assert drawn["red"] == pytest.approx(area / ((east - west) * (north - south)), rel=0.02)


def test_stations_drawn(qgis: QGIS) -> None:
    image = {"width": 360, "height": 180, "crs": "EPSG:4326", "extent": [-180, -90, 180, 90]}
    assert 0.005 < qgis.layer("stations", image=image)["red"] < 0.2


@pytest.mark.parametrize("collection, expected", [("parcels", "Polygon"), ("minerals", "Point")])
def test_layer_without_features(nobody: tuple[QGIS, str], collection: str, expected: str) -> None:
    """It is a layer all the same; its geometry type is in the schema alone, which only the newest QGIS reads."""
    qgis, key = nobody
    since = len(qgis.recorder.exchanges)
    layer = qgis.layer(collection, key)
    assert layer["valid"] and layer["count"] == 0 and layer["features"] == []
    if any(exchange.path.endswith("/schema") for exchange in qgis.recorder.exchanges[since:]):
        assert layer["geometry"] == expected and "division" in layer["fields"]
    # where the newest looks for it
    links = fetch(f"{qgis.recorder.origin}/collections/{collection}", key)["links"]
    schema = next(link["href"] for link in links if (link["rel"], link["type"]) == (SCHEMA, "application/schema+json"))
    geometries = [p for p in fetch(schema, key)["properties"].values() if p.get("x-ogc-role") == "primary-geometry"]
    assert [geometry["format"] for geometry in geometries] == [f"geometry-{expected.lower()}"]


@pytest.fixture(scope="module")
def nobody(sample: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[QGIS, str]]:
    """QGIS before another server, and the key of a county that has no rows there."""
    directory = tmp_path_factory.mktemp("nobody")
    shutil.copytree(sample.directory, directory / "house")
    house = House(directory / "house")
    key = house.tierra("key", "add", "--tier", "internal", "--level", "county", "--division", "510399").splitlines()[0]
    process, url = serve(house, WORKERS="1")
    recorder = Recorder(url)
    qgis = QGIS(recorder, directory / "home")
    yield qgis, key
    qgis.close()
    recorder.close()
    stop(process)
