"""Is the sample province what it claims to be: a planar partition, bilingual, fictional, the same for one seed?"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import fiona
import numpy as np
import pyproj
import pytest
import shapely
import yaml

from data_samples import canaries, generate
from providers.engines.layers import revision, wkb

ROOT = Path(__file__).parents[2]
COLLECTIONS = sorted((ROOT / "config" / "collections").glob("*.yml"))
LAYERS = {"divisions", "parcels", "landslides", "minerals", "gauges", "stations"}

Edges = Counter[tuple[tuple[float, float], tuple[float, float]]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "province.gpkg"
    begun = time.monotonic()
    generate(path, quiet=True)
    assert time.monotonic() - begun < 60
    return path


@pytest.fixture(scope="module")
def conn(package: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(package)) as conn:
        conn.row_factory = sqlite3.Row
        yield conn


@pytest.fixture(scope="module")
def rows(conn: sqlite3.Connection) -> dict[str, list[sqlite3.Row]]:
    return {layer: conn.execute(f"SELECT * FROM {layer} ORDER BY fid").fetchall() for layer in LAYERS}


@pytest.fixture(scope="module")
def parcels(rows: dict[str, list[sqlite3.Row]]) -> Any:
    return geometries(rows["parcels"])


def geometries(rows: list[sqlite3.Row]) -> Any:
    return shapely.from_wkb([wkb(row["geom"]) for row in rows])


def edges(polygons: Any) -> Edges:
    """How often each directed side occurs in the outlines, a side and its reverse cancelling each other."""
    found: Edges = Counter()
    for ring in shapely.get_exterior_ring(shapely.get_parts(polygons)):
        points = [tuple(p) for p in shapely.get_coordinates(ring).tolist()]
        for a, b in pairwise(points):
            if found.get((b, a)):
                found[b, a] -= 1
            else:
                found[a, b] += 1
    return +found


# --- the partition ---


def test_parcels_are_simple_and_wide_enough(parcels: Any) -> None:
    assert len(parcels) == 20_000
    assert shapely.is_valid(parcels).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(parcels)).all()
    assert shapely.area(parcels).min() >= 200
    # A circle of 4 m fits into each, and none is a strip.
    assert (shapely.area(shapely.buffer(parcels, -2.0)) > 0).all()
    assert (4 * np.pi * shapely.area(parcels) / shapely.length(parcels) ** 2).min() > 0.1
    # Small ones for a snap grid of 20 m to take away, large ones to leave.
    assert (shapely.area(parcels) < 400).any() and (shapely.area(parcels) > 1e6).any()


def test_parcels_do_not_overlap(parcels: Any) -> None:
    tree = shapely.STRtree(parcels)
    a, b = tree.query(parcels[::7], predicate="intersects")
    a = a * 7
    apart = a != b
    assert apart.sum() > 10_000
    common = shapely.area(shapely.intersection(parcels[a[apart]], parcels[b[apart]]))
    # The overlay computes with rounded numbers.
    assert common.max() < 1e-6


def test_parcels_fill_the_counties_with_the_same_vertices(rows: dict[str, list[sqlite3.Row]], parcels: Any) -> None:
    to_metres = pyproj.Transformer.from_crs("EPSG:4490", "EPSG:4547", always_xy=True)
    division = np.array([row["division"] for row in rows["parcels"]])
    for county in (row for row in rows["divisions"] if row["level"] == "county"):
        outline = shapely.get_parts(geometries([county]))[0]
        border = shapely.transform(outline, lambda p: np.column_stack(to_metres.transform(p[:, 0], p[:, 1])))
        inside = parcels[division == county["code"]]
        assert shapely.area(inside).sum() == pytest.approx(border.area, rel=1e-9)
        # What is left when inner sides have cancelled each other is the county's border, vertex by vertex.
        left = {a for a, _ in edges(inside)}
        assert left == {tuple(p) for p in shapely.get_coordinates(border).round(3).tolist()}


def test_neighbours_share_every_side(parcels: Any, rows: dict[str, list[sqlite3.Row]]) -> None:
    left = edges(parcels)
    assert set(left.values()) == {1}
    nation = geometries(rows["divisions"][:1])[0]
    assert len(left) == len(shapely.get_coordinates(nation)) - 1


def test_divisions_tile_their_parents_with_the_same_coordinates(rows: dict[str, list[sqlite3.Row]]) -> None:
    divisions = rows["divisions"]
    assert Counter(d["level"] for d in divisions) == {"nation": 1, "province": 1, "city": 3, "county": 9}
    for parent in divisions:
        children = [d for d in divisions if d["parent"] == parent["code"]]
        assert bool(children) == (parent["level"] != "county")
        if children:
            assert edges(geometries(children)) == edges(geometries([parent]))
            assert sum(c["area_km2"] for c in children) == pytest.approx(parent["area_km2"], abs=0.005)
        if parent["level"] in ("city", "county"):
            assert parent["code"].startswith(parent["parent"])
    assert shapely.is_valid(geometries(divisions)).all()
    minx, miny, maxx, maxy = shapely.total_bounds(geometries(divisions))
    assert 112.5 < minx < maxx < 115.5, "the zone of EPSG:4547"
    assert 29 < miny < maxy < 32


def test_areas_are_those_on_the_ellipsoid(rows: dict[str, list[sqlite3.Row]], parcels: Any) -> None:
    # Lambert's equal-area projection of the same ellipsoid (GRS 80 has the axes of CGCS2000), sides cut to 50 m.
    equal = pyproj.CRS("+proj=laea +lat_0=30.5 +lon_0=114 +ellps=GRS80 +units=m")
    to_equal = pyproj.Transformer.from_crs("EPSG:4547", equal, always_xy=True)
    some = parcels[::40]
    dense = shapely.transform(shapely.segmentize(some, 50.0), lambda p: np.column_stack(to_equal.transform(p[:, 0], p[:, 1])))
    found = np.array([row["area_m2"] for row in rows["parcels"][::40]])
    assert found == pytest.approx(shapely.area(dense), rel=1e-6, abs=0.01)
    assert np.abs(found / shapely.area(some) - 1).max() > 1e-5, "areas in the projection are others"
    assert all(row["area_ha"] == pytest.approx(row["area_m2"] / 1e4, abs=6e-5) for row in rows["parcels"])


# --- what the rows say ---


def test_parcels_of_the_register(rows: dict[str, list[sqlite3.Row]]) -> None:
    found = rows["parcels"]
    ids = [row["parcel_id"] for row in found]
    assert ids == sorted(set(ids))
    assert all(len(i) == 19 and i.startswith(row["division"]) for i, row in zip(ids, found, strict=True))
    share = Counter(row["status"] for row in found)
    assert set(share) == {"registered", "pending", "disputed"}
    assert share["registered"] / len(found) == pytest.approx(0.8, abs=0.02)
    assert share["pending"] / len(found) == pytest.approx(0.15, abs=0.02)
    assert {row["landuse"] for row in found} == {f"{n:02d}" for n in range(1, 13)}
    assert len({(row["landuse"], row["landuse_zh"], row["landuse_en"]) for row in found}) == 12
    for row in found:
        certificate = row["certificate"] or ""
        assert ("不动产权" in certificate) == (row["status"] == "registered")
        assert certificate.startswith("PROV-") == (row["status"] == "pending")
        time.strptime(row["updated"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert len({row["identity"] for row in found}) == len(found)


def test_identity_numbers_are_nobodys(rows: dict[str, list[sqlite3.Row]]) -> None:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
    for row in rows["parcels"]:
        number = row["identity"]
        assert len(number) == 18 and number.startswith("99")
        total = sum(weight * int(digit) for weight, digit in zip(weights, number, strict=False))
        assert number[17] != "10X98765432"[total % 11]


def test_places_lie_in_the_county_they_name(rows: dict[str, list[sqlite3.Row]]) -> None:
    to_degrees = pyproj.Transformer.from_crs("EPSG:4547", "EPSG:4490", always_xy=True)
    counties = {row["code"]: geometries([row])[0] for row in rows["divisions"]}
    for layer, number in (("landslides", 800), ("minerals", 150), ("gauges", 12)):
        assert len(rows[layer]) == number
        for row, point in zip(rows[layer], geometries(rows[layer]), strict=True):
            assert counties[row["division"]].contains(shapely.Point(to_degrees.transform(point.x, point.y)))
    events = rows["landslides"]
    years = {int(row["date"][:4]) for row in events}
    assert max(years) - min(years) > 40
    by_id = [row["date"] for row in sorted(events, key=lambda row: str(row["event_id"]))]
    assert by_id != sorted(by_id), "an id does not tell the date"
    assert len({row["informant"] for row in events}) == 800


@pytest.mark.parametrize(
    "box",
    [
        (-1.5, 50, 1.5, 53),
        (-80, -5, -70, 5),
        (177, 65, 180, 70),
        (-180, 65, -177, 70),
        (-180, 85.0001, 180, 90),
        (-180, -90, 180, -85.0001),
        (179.9, -90, 180, 90),
        (-180, -90, -179.9, 90),
    ],
)
def test_stations_lie_where_boxes_are_hard(box: tuple[float, ...], rows: dict[str, list[sqlite3.Row]]) -> None:
    points = geometries(rows["stations"])
    minx, miny, maxx, maxy = box
    x, y = shapely.get_x(points), shapely.get_y(points)
    assert len(points) == 60
    assert np.abs(x).max() <= 180 and np.abs(y).max() < 90
    assert ((x >= minx) & (x <= maxx) & (y >= miny) & (y <= maxy)).sum() >= (1 if minx == -180 and maxx < -179 else 2)


def test_canaries_are_planted_once(package: Path, rows: dict[str, list[sqlite3.Row]], parcels: Any) -> None:
    found = canaries(package)
    texts = [str(value) for layer in rows.values() for row in layer for value in tuple(row)[2:]]
    for kind in ("identity", "certificate", "informant"):
        assert sum(found[kind] in text for text in texts) == 1
    status = {row["certificate"]: row["status"] for row in rows["parcels"]}
    assert status[found["certificate"]] != "registered"
    distance = [abs(v - 20 * round(v / 20)) for v in found["vertex"]]
    assert distance == [9.0, 9.0]
    meeting = {row["parcel_id"]: i for i, row in enumerate(rows["parcels"]) if row["parcel_id"] in found["parcels"]}
    assert len(meeting) == 2 and all(rows["parcels"][i]["status"] == "registered" for i in meeting.values())
    points, parcel = shapely.get_coordinates(parcels, return_index=True)
    assert sorted(parcel[(points == found["vertex"]).all(axis=1)]) == sorted(meeting.values())
    back = pyproj.Transformer.from_crs("EPSG:4490", "EPSG:4547", always_xy=True).transform(*found["lonlat"])
    assert back == pytest.approx(found["vertex"], abs=1e-6)


# --- the file ---


def test_other_programs_read_the_package(package: Path) -> None:
    assert package.stat().st_size < 100e6
    assert set(fiona.listlayers(package)) == LAYERS
    for layer, epsg in (("parcels", 4547), ("divisions", 4326), ("stations", 4326), ("landslides", 4547)):
        with fiona.open(package, layer=layer) as source:
            assert source.crs.to_epsg() == epsg
            first = shapely.geometry.shape(next(iter(source)).geometry)
            east = 500_000 if epsg == 4547 else 0
            assert abs(first.representative_point().x - east) < (80_000 if east else 180), "x is east"


def test_edits_are_counted(conn: sqlite3.Connection) -> None:
    assert {layer: revision(conn, layer) for layer in LAYERS} == dict.fromkeys(LAYERS, 1)


def test_a_seed_gives_the_same_rows(tmp_path: Path) -> None:
    def digest(name: str, seed: int) -> dict[str, str]:
        generate(tmp_path / name, parcels=300, seed=seed, quiet=True)
        with closing(sqlite3.connect(tmp_path / name)) as conn:
            return {
                layer: hashlib.sha256(repr(conn.execute(f"SELECT * FROM {layer}").fetchall()).encode()).hexdigest()
                for layer in LAYERS
            }

    first = digest("first.gpkg", 7)
    assert digest("again.gpkg", 7) == first
    assert not set(digest("other.gpkg", 8).values()) & set(first.values())


def test_nothing_is_overwritten_or_left_half_made(tmp_path: Path) -> None:
    there = tmp_path / "there.gpkg"
    there.write_text("mine")
    with pytest.raises(FileExistsError):
        generate(there, quiet=True)
    assert there.read_text() == "mine"
    with pytest.raises(ValueError, match="between"):
        generate(tmp_path / "none.gpkg", parcels=3, quiet=True)
    assert list(tmp_path.iterdir()) == [there]


# --- the sample policy ---


@pytest.mark.parametrize("path", COLLECTIONS, ids=lambda path: path.stem)
def test_the_policy_names_what_there_is(path: Path, conn: sqlite3.Connection) -> None:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    (provider,) = config["providers"]
    columns = {row["name"] for row in conn.execute(f"PRAGMA table_info({provider['table']})")} - {"fid", "geom"}
    assert set(provider["fields"]) == columns
    for titled in (config, *provider["fields"].values()):
        assert set(titled["title"]) == {"en", "zh"} and all(titled["title"].values())
    assert set(provider["sortables"]) <= columns
    assert provider["id_field"] in columns and provider.get("time_field", provider["id_field"]) in columns
    for block in config["access"].values():
        assert provider["id_field"] in block["properties"]
        assert set(block["properties"]) <= columns - {"identity"}
        assert set(block.get("mask", {})) <= set(block["properties"])
        assert block["because"]


def test_the_policy_covers_the_sample() -> None:
    tiers = {path.stem: set(yaml.safe_load(path.read_text(encoding="utf-8"))["access"]) for path in COLLECTIONS}
    assert set(tiers) >= LAYERS
    assert tiers["minerals"] == {"internal"}
    assert tiers["parcels"] == tiers["landslides"] == {"open", "shared", "internal"}
    assert tiers["divisions"] == tiers["gauges"] == tiers["stations"] == {"open"}
