"""Does GDAL find in our GeoPackages what the standard says, and does every edit by another program leave its mark?"""

import json
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from providers.columns import Column, quote
from providers.engines import layers
from tests.needs import needs

NAME = '地块 "A"\'s'
COLUMNS = [
    Column("parcel_id", "string"),
    Column("名称", "string"),
    Column("area", "number"),
    Column("rank", "integer"),
    Column("since", "string", "date"),
    Column("updated", "string", "date-time"),
    Column("ok", "boolean"),
]


def ogr(*command: str) -> str:
    """Run a GDAL program that must succeed and have nothing to warn of."""
    needs(command[0])
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "package.gpkg"


@pytest.fixture
def boxes() -> Any:
    rng = np.random.default_rng(4547)
    x, y = rng.uniform(400_000, 600_000, 500), rng.uniform(3_300_000, 3_500_000, 500)
    return shapely.box(x, y, x + rng.uniform(5, 5000, 500), y + rng.uniform(5, 5000, 500))


@pytest.fixture
def package(path: Path, boxes: Any) -> Iterator[sqlite3.Connection]:
    """500 parcels in EPSG:4547 and a null and an empty geometry, finished and tracked."""
    geometries = [*boxes, None, shapely.Polygon()]
    with closing(layers.open_package(path)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        layers.create_layer(conn, NAME, COLUMNS, id_column="parcel_id", geometry_type="POLYGON", srs_id=4547, title="宗地")
        rows = (
            (blob, f"P{i}", f"名{i}", i / 3, 2**53 + i, "2024-02-29", "2024-02-29T08:00:00.125Z", i % 2)
            for i, blob in enumerate(layers.blobs(geometries, 4547))
        )
        assert layers.insert(conn, NAME, COLUMNS, rows) == 502
        layers.finish_layer(conn, NAME)
        layers.track(conn, NAME)
        conn.execute("COMMIT")
        yield conn


def test_new_package_declares_itself(path: Path) -> None:
    with closing(layers.open_package(path)) as conn:
        srs = conn.execute("SELECT srs_id, organization, organization_coordsys_id FROM gpkg_spatial_ref_sys ORDER BY 1")
        assert srs.fetchall() == [(-1, "NONE", -1), (0, "NONE", 0), (4326, "EPSG", 4326)]  # requirement 11
    head = path.read_bytes()[:100]
    assert head[68:72] == b"GPKG"  # requirement 2: application id
    assert int.from_bytes(head[60:64]) == 10300  # and the version


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as conn:
        conn.execute("CREATE TABLE t (a)")
    (tmp_path / "text.gpkg").write_text("no database, but long enough to have a header " * 20)
    for name in ("other.sqlite", "text.gpkg"):
        with pytest.raises(layers.PackageError):
            layers.open_package(tmp_path / name)


def test_blob_is_the_standards_layout() -> None:
    body = shapely.to_wkb(shapely.Point(1, 2), byte_order=1)
    assert layers.blob(body, 4326, None) == bytes.fromhex("4750 00 01 e6100000") + body
    ring = shapely.to_wkb(shapely.box(1, 2, 3, 5), byte_order=1)
    expected = bytes.fromhex("4750 00 03 c3110000") + struct.pack("<4d", 1, 3, 2, 5) + ring
    assert layers.blob(ring, 4547, (1, 3, 2, 5)) == expected
    assert layers.blob(ring, 4547, (1, 3, 2, 5), empty=True)[:4] == bytes.fromhex("4750 00 11")


@pytest.mark.parametrize(
    "geometry",
    [
        shapely.Point(103.5, 30.25),
        shapely.box(1, 2, 3, 5),
        shapely.LineString([(0, 0), (1, 3)]),
        shapely.MultiPoint([(0, 1), (4, 3)]),
    ],
    ids=lambda g: g.geom_type,
)
def test_blobs_are_those_that_gdal_writes(tmp_path: Path, geometry: shapely.Geometry) -> None:
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(geometry)}
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    ogr("ogr2ogr", "-f", "GPKG", "-nln", "a", f"{tmp_path}/a.gpkg", f"{tmp_path}/a.geojson")
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as conn:
        assert conn.execute("SELECT geom FROM a").fetchall() == [(layers.blobs([geometry], 4326)[0],)]


@pytest.mark.parametrize("indicator,doubles", [(0, 0), (1, 4), (2, 6), (3, 6), (4, 8)])
@pytest.mark.parametrize("little", [0, 1])
def test_wkb_and_envelope_under_every_header(indicator: int, doubles: int, little: int) -> None:
    line = shapely.to_wkb(shapely.LineString([(1, 10), (4, 7)]), byte_order=little)
    order = "><"[little]
    box = struct.pack(f"{order}{doubles}d", *[1.0, 4.0, 7.0, 10.0, 0.0, 0.0, 0.0, 0.0][:doubles])
    blob = b"GP\0" + bytes([indicator << 1 | little]) + struct.pack(f"{order}i", 4326) + box + line
    assert layers.wkb(blob) == line
    assert layers.envelope(blob) == (1, 4, 7, 10)


def test_envelope_of_points_and_of_nothing() -> None:
    flat, high, empty, none = layers.blobs([shapely.Point(1, 2), shapely.Point(1, 2, 3), shapely.Point(), None], 4326)
    assert layers.envelope(flat) == layers.envelope(high) == (1, 1, 2, 2)
    assert (layers.envelope(empty), none, layers.envelope(none)) == (None, None, None)
    assert high is not None and struct.unpack_from("<I", high, 9) == (1001,)  # ISO, not EWKB
    for wrong in (b"", b"GP", b"XX" + bytes(20), b"GP\0\x0b" + bytes(40)):
        with pytest.raises(layers.PackageError):
            layers.wkb(wrong)


def test_rtree_answers_as_brute_force(package: sqlite3.Connection, boxes: Any) -> None:
    rtree = f'"rtree_{NAME.replace('"', '""')}_geom"'
    assert package.execute(f"SELECT count(*) FROM {rtree}").fetchone() == (500,)
    rng = np.random.default_rng(1)
    for x, y in zip(rng.uniform(400_000, 600_000, 20), rng.uniform(3_300_000, 3_500_000, 20), strict=True):
        window = shapely.box(x, y, x + 20_000, y + 20_000)
        expected = {i + 1 for i in np.flatnonzero(shapely.intersects(window, boxes))}
        sql = f"SELECT id FROM {rtree} WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?"
        found = {row[0] for row in package.execute(sql, (x, x + 20_000, y, y + 20_000))}
        # The R-tree rounds outward to float32 (at most 0.5 m here), so it may add neighbours, never lose one.
        assert expected <= found
        assert all(boxes[i - 1].distance(window) < 1 for i in found)


def test_extent_is_that_of_the_geometries(package: sqlite3.Connection, boxes: Any) -> None:
    row = package.execute("SELECT min_x, min_y, max_x, max_y, identifier, data_type FROM gpkg_contents").fetchone()
    assert row == (*shapely.total_bounds(boxes), "宗地", "features")


def test_gdal_reads_layer_values_and_index(package: sqlite3.Connection, path: Path) -> None:
    package.close()
    out = ogr("ogrinfo", "-ro", "-al", "-so", str(path))
    assert "Feature Count: 502" in out and "Geometry: Polygon" in out and 'ID["EPSG",4547]' in out
    assert "parcel_id: String (0.0) UNIQUE NOT NULL" in out and "ok: Integer(Boolean)" in out
    assert "since: Date" in out and "updated: DateTime" in out and "rank: Integer64" in out
    assert out.count("Layer name:") == 1  # the table of revisions is no layer
    escaped = NAME.replace("'", "''")
    assert "= 1" in ogr("ogrinfo", "-q", str(path), "-sql", f"SELECT HasSpatialIndex('{escaped}', 'geom') AS known")
    feature = ogr("ogrinfo", "-q", str(path), NAME, "-where", "parcel_id = 'P7'")
    assert "名称 (String) = 名7" in feature and f"rank (Integer64) = {2**53 + 7}" in feature
    assert "updated (DateTime) = 2024/02/29 08:00:00.125+00" in feature


def test_gdal_edits_raise_the_revision_and_keep_the_rtree(tmp_path: Path, path: Path) -> None:
    columns = [Column("code", "string")]
    with closing(layers.open_package(path)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        layers.create_layer(conn, "points", columns, id_column="code", geometry_type="POINT", srs_id=4326)
        blobs = layers.blobs([shapely.Point(x, 30) for x in (100, 101, 102)], 4326)
        layers.insert(conn, "points", columns, zip(blobs, "abc", strict=True))
        layers.finish_layer(conn, "points")
        assert layers.revision(conn, "points") is None
        layers.track(conn, "points")
        conn.execute("COMMIT")
        assert layers.revision(conn, "points") == 1

        def after(sql: str) -> tuple[int | None, list[tuple[int, float]]]:
            ogr("ogrinfo", "-q", str(path), "-sql", sql)
            tree = conn.execute("SELECT id, minx FROM rtree_points_geom ORDER BY id").fetchall()
            return layers.revision(conn, "points"), tree

        assert after("UPDATE points SET code = 'z' WHERE fid = 3") == (2, [(1, 100), (2, 101), (3, 102)])
        assert after("UPDATE points SET geom = (SELECT geom FROM points WHERE fid = 3) WHERE fid = 1") == (
            3,
            [(1, 102), (2, 101), (3, 102)],
        )
        assert after("UPDATE points SET geom = NULL WHERE fid = 1") == (4, [(2, 101), (3, 102)])
        assert after("UPDATE points SET fid = 9 WHERE fid = 2") == (5, [(3, 102), (9, 101)])
        assert after("DELETE FROM points WHERE fid = 3") == (6, [(9, 101)])
        feature = '{"type":"Feature","properties":{"code":"new"},"geometry":{"type":"Point","coordinates":[105,31]}}'
        (tmp_path / "new.geojson").write_text(feature)
        ogr("ogr2ogr", "-append", "-nln", "points", str(path), f"{tmp_path}/new.geojson")
        assert after("SELECT 1") == (7, [(9, 101), (10, 105)])
        # A layer made anew by another program has lost its triggers: its edits are not counted, and we say so.
        ogr("ogr2ogr", "-overwrite", "-nln", "points", str(path), f"{tmp_path}/new.geojson")
        assert layers.revision(conn, "points") is None


def test_any_sqlite_client_raises_the_revision(path: Path) -> None:
    columns = [Column("code", "string")]
    with closing(layers.open_package(path)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        layers.create_layer(conn, "it's", columns, id_column="code", geometry_type=None, srs_id=0)
        layers.insert(conn, "it's", columns, [("a",), ("b",)], geometry=False)
        layers.finish_layer(conn, "it's")
        layers.track(conn, "it's")
        conn.execute("COMMIT")
        with closing(sqlite3.connect(path)) as plain:
            plain.execute("INSERT INTO \"it's\" (code) VALUES ('c')")
            plain.execute("UPDATE \"it's\" SET code = code || '1'")
            plain.execute("DELETE FROM \"it's\" WHERE code = 'a1'")
            plain.commit()
        assert layers.revision(conn, "it's") == 1 + 1 + 3 + 1  # a row, three rows, a row


def test_layer_made_again_goes_on_from_its_revision(package: sqlite3.Connection) -> None:
    package.execute(f"DELETE FROM {quote(NAME)} WHERE parcel_id IN ('P1', 'P2')")
    before = layers.revision(package, NAME)
    assert before == 3
    package.execute("BEGIN IMMEDIATE")
    layers.drop_layer(package, NAME)
    assert not layers.has_layer(package, NAME)
    tables = {row[0] for row in package.execute("SELECT name FROM sqlite_master WHERE name LIKE '%地块%'")}
    assert tables == set()
    layers.create_layer(package, NAME, COLUMNS, id_column="parcel_id", geometry_type="POLYGON", srs_id=4547)
    layers.finish_layer(package, NAME)
    layers.track(package, NAME)
    package.execute("COMMIT")
    assert layers.revision(package, NAME) == 4
    assert package.execute("SELECT min_x, max_y FROM gpkg_contents").fetchone() == (None, None)


def test_layer_is_all_or_nothing(path: Path) -> None:
    with closing(layers.open_package(path)) as conn:
        before = conn.execute("SELECT name FROM sqlite_master ORDER BY 1").fetchall()
        conn.execute("BEGIN IMMEDIATE")
        layers.create_layer(conn, "t", COLUMNS, id_column="parcel_id", geometry_type="POINT", srs_id=4547)
        layers.finish_layer(conn, "t")
        layers.track(conn, "t")
        with pytest.raises(sqlite3.IntegrityError):
            layers.insert(conn, "t", COLUMNS[:1], [(None, "same"), (None, "same")])
        with pytest.raises(sqlite3.IntegrityError):
            layers.insert(conn, "t", COLUMNS[:1], [(None, None)])
        conn.execute("ROLLBACK")
        assert conn.execute("SELECT name FROM sqlite_master ORDER BY 1").fetchall() == before
        assert conn.execute("SELECT count(*) FROM gpkg_spatial_ref_sys WHERE srs_id = 4547").fetchone() == (0,)


@pytest.mark.parametrize("column,srs_id", [("FID", 4326), ("Geom", 4326), ("a", 999_999)])
def test_impossible_layers_are_refused(path: Path, column: str, srs_id: int) -> None:
    with closing(layers.open_package(path)) as conn, pytest.raises(layers.PackageError):
        layers.create_layer(conn, "t", [Column(column, "string")], id_column=None, geometry_type="POINT", srs_id=srs_id)


def test_layers_may_share_a_title(path: Path) -> None:
    with closing(layers.open_package(path)) as conn:
        for table in ("a", "b"):
            layers.create_layer(conn, table, COLUMNS, id_column=None, geometry_type="POINT", srs_id=4326, title="Parcels")
        assert conn.execute("SELECT identifier FROM gpkg_contents").fetchall() == [("Parcels",), ("b",)]
