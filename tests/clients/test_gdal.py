"""Whether GDAL's command line reads each caller's layers: listed, counted, filtered by the server, converted whole."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import shapely
from shapely.geometry import shape

from tests import needs
from tests.clients.recorder import Exchange, Recorder
from tests.clients.seen import PARCELS, Source, crawl, geometry
from tests.conftest import House

needs.needs("ogrinfo", "ogr2ogr")

PUBLIC = {"divisions", "gauges", "landslides", "parcels", "stations"}
ITEMS = "/collections/parcels/items"


class GDAL:
    """Runs GDAL's programs behind a recording proxy, with a caller's key in a file of headers."""

    def __init__(self, recorder: Recorder, home: Path) -> None:
        self.recorder = recorder
        self._home = home

    def run(self, *words: str, key: str | None = None, **settings: str) -> str:
        """What a program prints; `settings` are GDAL's configuration."""
        settings["GDAL_HTTP_PROXY"] = self.recorder.address
        if key:
            file = self._home / "headers"
            file.write_text(f"X-API-Key: {key}\n")
            settings["GDAL_HTTP_HEADER_FILE"] = str(file)
        done = subprocess.run(words, env=os.environ | settings, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr, done.stderr
        return done.stdout

    def summary(self, collection: str, *options: str, key: str | None = None, path: str = "", **settings: str) -> str:
        """What `ogrinfo` says of a layer."""
        source = f"OAPIF:{self.recorder.origin}{path}"
        return self.run("ogrinfo", "-ro", "-so", source, collection, *options, key=key, **settings)

    def layers(self, key: str | None = None) -> set[str]:
        """The layers that `ogrinfo` lists."""
        return set(re.findall(r"^\d+: (\w+)", self.run("ogrinfo", "-ro", f"OAPIF:{self.recorder.origin}", key=key), re.MULTILINE))

    def asked(self, since: int) -> list[Exchange]:
        """The requests for items from the given number on."""
        return [exchange for exchange in self.recorder.exchanges[since:] if exchange.path.endswith("/items")]


@pytest.fixture
def gdal(recorder: Recorder, tmp_path: Path) -> GDAL:
    return GDAL(recorder, tmp_path)


def count(summary: str) -> int:
    found = re.search(r"^Feature Count: (\d+)$", summary, re.MULTILINE)
    assert found, summary
    return int(found[1])


def fields(summary: str) -> dict[str, str]:
    """Names and types of the fields, but for the feature's id."""
    found = dict(re.findall(r"^(\w+): (String|Real|Integer|Date|DateTime)\b", summary, re.MULTILINE))
    found.pop("id")
    return found


def test_layers_are_those_of_the_caller(gdal: GDAL, sample: House) -> None:
    assert gdal.layers() == PUBLIC
    assert gdal.layers(sample.keys["shared"]) == PUBLIC
    assert gdal.layers(sample.keys["internal-county"]) == PUBLIC | {"minerals"}


@pytest.mark.parametrize("caller", sorted(PARCELS, key=str))
def test_parcels_are_those_of_the_caller(gdal: GDAL, sample: House, source: Source, caller: str | None) -> None:
    said = gdal.summary("parcels", key=sample.keys[caller] if caller else None)
    assert count(said) == source.count("parcels", PARCELS[caller].rows)
    assert tuple(fields(said)) == PARCELS[caller].properties
    assert "Geometry: Polygon" in said


@pytest.mark.parametrize("collection", sorted(PUBLIC - {"parcels"}))
def test_public_layers_are_whole(gdal: GDAL, source: Source, collection: str) -> None:
    assert count(gdal.summary(collection)) == source.count(collection)


def test_types_of_fields(gdal: GDAL, sample: House) -> None:
    inside = fields(gdal.summary("parcels", key=sample.keys["internal-county"]))
    assert inside["parcel_id"] == "String" and inside["area_m2"] == "Real" and inside["updated"] == "DateTime"
    assert fields(gdal.summary("gauges"))["since"] == "Date"


def test_key_as_a_password(gdal: GDAL, sample: House, source: Source) -> None:
    said = gdal.summary("parcels", GDAL_HTTP_AUTH="BASIC", GDAL_HTTP_USERPWD=f"any:{sample.keys['internal-county']}")
    assert count(said) == source.count("parcels", PARCELS["internal-county"].rows)


def test_prefix_is_the_tier_looked_through(gdal: GDAL, sample: House) -> None:
    said = gdal.summary("parcels", key=sample.keys["internal-county"], path="/open")
    assert tuple(fields(said)) == PARCELS[None].properties


def test_attribute_filter_is_asked_of_the_server(gdal: GDAL, source: Source) -> None:
    since = len(gdal.recorder.exchanges)
    said = gdal.summary("parcels", "-where", "landuse = '01' AND area_ha > 20")
    # the area is let out in whole hectares, and a filter asks what is let out
    assert count(said) == source.count("parcels", "status = 'registered' AND landuse = '01' AND round(area_ha) > 20") > 0
    assert gdal.asked(since)[-1].parameters["landuse"] == "01"


def test_spatial_filter_is_asked_of_the_server(gdal: GDAL, served: str) -> None:
    box = (113.5, 30.62, 113.6, 30.72)
    since = len(gdal.recorder.exchanges)
    said = gdal.summary("parcels", "-spat", *map(str, box))
    expected = sum(shape(f["geometry"]).intersects(shapely.box(*box)) for f in crawl(f"{served}{ITEMS}?limit=1000"))
    assert count(said) == expected > 0
    assert [float(x) for x in gdal.asked(since)[-1].parameters["bbox"].split(",")] == pytest.approx(box)


def test_time_is_asked_of_the_server(gdal: GDAL, sample: House, source: Source) -> None:
    since = len(gdal.recorder.exchanges)
    said = gdal.summary("parcels", "-where", "updated >= '2015/01/01 10:00:00'", key=sample.keys["internal-county"])
    rows = f"{PARCELS['internal-county'].rows} AND updated >= '2015-01-01T10:00:00.000Z'"
    assert count(said) == source.count("parcels", rows) > 0
    assert gdal.asked(since)[-1].parameters["datetime"] == "2015-01-01T10:00:00Z/.."


def test_date_and_box(gdal: GDAL, source: Source) -> None:
    since = len(gdal.recorder.exchanges)
    said = gdal.summary("stations", "-where", "opened > '1990/01/01'", "-spat", "-180", "-90", "0", "90")
    places = source.rows("stations", "opened > '1990-01-01'", "geom")
    assert count(said) == sum(geometry(blob).x <= 0 for (blob,) in places) > 0
    sent = gdal.asked(since)[-1].parameters
    assert "bbox" in sent and sent["datetime"] == "1990-01-01T/.."  # how GDAL writes a date


def test_conversion_goes_along_next(gdal: GDAL, tmp_path: Path) -> None:
    since = len(gdal.recorder.exchanges)
    gdal.run("ogr2ogr", "-f", "GPKG", str(tmp_path / "out.gpkg"), f"OAPIF:{gdal.recorder.origin}", "gauges", "-oo", "PAGE_SIZE=5")
    assert [e.parameters["limit"] for e in gdal.asked(since)][-3:] == ["5", "5", "5"]  # twelve gauges
    assert not any("offset" in exchange.parameters for exchange in gdal.asked(since))


@pytest.mark.parametrize(
    "collection, caller",
    [("parcels", None), ("parcels", "shared"), ("parcels", "internal-county")]
    + [(collection, None) for collection in ("divisions", "landslides", "stations")],
)
def test_converted_is_what_the_items_say(
    gdal: GDAL, served: str, sample: House, tmp_path: Path, collection: str, caller: str | None
) -> None:
    key = sample.keys[caller] if caller else None
    out = tmp_path / "out.gpkg"
    # reprojected where the layer comes in its storage CRS, as it does with newer releases
    words = ("ogr2ogr", "-f", "GPKG", "-t_srs", "OGC:CRS84", "-nlt", "GEOMETRY", "-oo", "PAGE_SIZE=1000", str(out))
    gdal.run(*words, f"OAPIF:{served}", collection, key=key)
    answer = {feature["id"]: feature for feature in crawl(f"{served}/collections/{collection}/items?limit=1000", key)}
    with sqlite3.connect(out) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute(f"SELECT * FROM {collection}").fetchall()
    assert len(rows) == len(answer)
    for row in rows:
        feature = answer[row["id"]]
        values = {name: row[name] for name in row.keys() if name not in ("fid", "id", "geom")}  # noqa: SIM118 a row has no items
        assert told(values) == told(feature["properties"])
        there, here = shape(feature["geometry"]), geometry(row["geom"])
        assert there.geom_type == here.geom_type
        assert shapely.equals_exact(there, here, 1e-8, normalize=True), row["id"]


def told(values: Mapping[str, object]) -> dict[str, object]:
    """Values without the milliseconds of a time, which pass through a float in GDAL."""
    return {name: value[:19] if name == "updated" and isinstance(value, str) else value for name, value in values.items()}


def test_converted_inside_is_the_source(gdal: GDAL, sample: House, source: Source, tmp_path: Path) -> None:
    """What leaves through the server as GeoJSON is the register's own row, to the last digit."""
    out = tmp_path / "out.geojson"
    words = ("ogr2ogr", "-f", "GeoJSON", "-lco", "SIGNIFICANT_FIGURES=17", str(out))
    gdal.run(*words, f"OAPIF:{gdal.recorder.origin}", "parcels", key=sample.keys["internal-county"])
    sight = PARCELS["internal-county"]
    columns = tuple(name for name in sight.properties if name != "updated")
    converted = [tuple(feature["properties"][name] for name in columns) for feature in json.loads(out.read_text())["features"]]
    assert sorted(converted) == sorted(source.rows("parcels", sight.rows, *columns))


def test_wrong_key_gives_nothing(gdal: GDAL) -> None:
    with pytest.raises(AssertionError, match="401"):
        gdal.layers("kaaaaaaaaaa." + "a" * 43)
