"""Does `tierra load` bring in every row as another program reads it, and all of them or none?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fiona
import pytest
import shapely
from shapely.geometry import mapping

from server.settings import ROOT, Settings
from tests.loads import PLOT, SQUARE, column, empty_settings, geojson, loaded, package, read, run, untouched
from tests.needs import needs, reference


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return empty_settings(tmp_path)


# --- every row, as another program reads it ---


@pytest.mark.parametrize(
    "driver,suffix", [("GPKG", "gpkg"), ("FlatGeobuf", "fgb"), ("GeoJSON", "geojson"), ("ESRI Shapefile", "shp")]
)
def test_formats_give_what_gdal_reads(settings: Settings, tmp_path: Path, driver: str, suffix: str) -> None:
    file = tmp_path / f"土地.{suffix}"
    properties = {"code": "str:20", "名称": "str:40", "area": "float", "rank": "int64"}
    properties["since"] = "datetime" if driver == "FlatGeobuf" else "date"  # which has no dates
    with fiona.open(
        file,
        "w",
        driver=driver,
        crs="EPSG:4326" if driver == "GeoJSON" else "EPSG:4547",
        encoding="utf-8",
        schema={"geometry": "Polygon", "properties": properties},
    ) as out:
        for i in range(2100):  # more than one chunk
            square = shapely.box(i / 30, 1 / 3, i / 30 + 0.1, 2 / 3) if driver == "GeoJSON" else SQUARE
            values = {"code": f"0{i}", "名称": f"地块{i}", "area": i / 3, "rank": 10**15 + i, "since": "2024-02-29"}
            out.write({"geometry": mapping(square), "properties": values})
    run(settings, file, "--id", "code")
    expected, found = read(file), loaded(settings)
    zone = "+00:00" if driver == "FlatGeobuf" else ""
    assert len(found) == 2100
    assert [p for _, p in found] == [p | {"since": p["since"] + zone} for _, p in expected]
    assert all(a.equals_exact(b, 0) for (a, _), (b, _) in zip(found, expected, strict=True))
    srs_id = package(settings, "SELECT srs_id FROM gpkg_geometry_columns")
    assert srs_id == (4326 if driver == "GeoJSON" else 4547,)
    assert package(settings, "SELECT count(*) FROM rtree_c_geom") == (2100,)
    assert package(settings, "SELECT revision FROM tierra_revision") == (1,)


@pytest.mark.parametrize(
    "layer,count",
    [
        ("ne_110m_admin_0_countries", 177),
        ("ne_110m_populated_places_simple", 243),
        ("ne_110m_rivers_lake_centerlines", 13),
    ],
)
def test_reference_layers_of_the_cql2_standard(settings: Settings, layer: str, count: int) -> None:
    file = reference("cql2", "ne110m4cql2.gpkg")
    run(settings, file, "--layer", layer, collection=layer)
    expected, found = read(file, layer), loaded(settings, layer)
    assert len(found) == len(expected) == count
    for (a, has), (b, had) in zip(found, expected, strict=True):
        assert a.equals_exact(b, 0)
        has.pop("uuid")
        had |= {n: f"{v}+00:00" for n, v in had.items() if n in ("start", "end") and v}  # without a zone: UTC
        assert has == had


def test_reference_polygons_of_an_open_data_portal(settings: Settings) -> None:
    file = reference("catalogue", "iso_open_canada", "nhsl_hazard_threat_all_indicators_s_bc.geojson")
    run(settings, file, "--id", "Sauid")
    expected, found = read(file), loaded(settings)
    assert len(found) == 68 and all(a.equals_exact(b, 0) for (a, _), (b, _) in zip(found, expected, strict=True))
    assert [p for _, p in found] == [p for _, p in expected]


@pytest.mark.parametrize("declared", ["GBK", "UTF-8", None])
def test_gbk_shapefile(settings: Settings, tmp_path: Path, declared: str | None) -> None:
    """With its .cpg, with one that is wrong, and without."""
    file = tmp_path / "宗地.shp"
    schema = {"geometry": "Polygon", "properties": {"宗地编号": "str:20", "权利人": "str:9", "面积": "float"}}
    with fiona.open(file, "w", driver="ESRI Shapefile", crs="EPSG:4547", encoding="gbk", schema=schema) as out:
        for i in range(3):
            values = {"宗地编号": f"川{i}", "权利人": "张三李四", "面积": 12.5}
            out.write({"geometry": mapping(SQUARE), "properties": values})
    # A field is so many bytes long, and a text that is too long may end within a character (here 土 of two bytes).
    table = file.with_suffix(".dbf")
    table.write_bytes(table.read_bytes().replace("张三李四 ".encode("gbk"), "张三李四".encode("gbk") + b"\xcd", 1))
    if declared:
        file.with_suffix(".cpg").write_text(declared)
    else:
        file.with_suffix(".cpg").unlink()
    done = run(settings, file, "--id", "宗地编号")
    assert column(settings, "宗地编号") == ["川0", "川1", "川2"] and column(settings, "面积") == [12.5] * 3
    assert [text[:4] for text in column(settings, "权利人")] == ["张三李四"] * 3
    assert ("the texts are read as gb18030" in done.stderr) == (declared != "GBK")


def test_shapefile_in_the_code_page_of_its_table(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "parcels.shp"
    schema = {"geometry": "Polygon", "properties": {"name": "str:20"}}
    with fiona.open(file, "w", driver="ESRI Shapefile", crs="EPSG:3826", encoding="big5", schema=schema) as out:
        out.write({"geometry": mapping(SQUARE), "properties": {"name": "臺北市土地"}})
    file.with_suffix(".cpg").unlink()
    table = bytearray(file.with_suffix(".dbf").read_bytes())
    table[29] = 0x4F  # dBASE's language driver: code page 950
    file.with_suffix(".dbf").write_bytes(table)
    done = run(settings, file)
    assert column(settings, "name") == ["臺北市土地"] and "read as cp950" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_coordinates(settings: Settings, tmp_path: Path, encoding: str, delimiter: str) -> None:
    file = tmp_path / "滑坡.csv"
    rows = ["编号,经度,纬度,面积,日期", "0101,103.5,30.25,12.5,2024/2/9", "0102,104,-31.5,7,2024/12/31", "0103,,,,"]
    file.write_text("\n".join(row.replace(",", delimiter) for row in rows), encoding)
    done = run(settings, file, "--id", "编号", "--crs", "CRS84")
    assert [g and (g.x, g.y) for g, _ in loaded(settings)] == [(103.5, 30.25), (104, -31.5), None]
    assert [tuple(p.values()) for _, p in loaded(settings)] == [
        ("0101", 12.5, "2024-02-09"),
        ("0102", 7.0, "2024-12-31"),
        ("0103", None, None),
    ]
    assert "1 rows have no geometry" in done.stderr
    assert ("read as gb18030" in done.stderr) == (encoding == "gb18030")


def test_csv_in_projected_coordinates_and_as_wkt(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("id,x,y,北,东\n7,1,2,3300000.125,500000.5\n")
    run(settings, file, "--crs", "EPSG:4547", "--x", "东", "--y", "北", "--id", "id")
    assert [(g.x, g.y) for g, _ in loaded(settings)] == [(500000.5, 3300000.125)]
    assert loaded(settings)[0][1] == {"id": 7, "x": 1, "y": 2}  # coordinates stand in one place only
    done = run(settings, file, "--crs", "4547", "--id", "id", "--replace", collection="c")
    assert "lies outside the area where EPSG:4547 is in use" in done.stderr
    file.write_text('id,WKT\na,"POLYGON ((0 0,4 0,4 4,0 0))"\n')
    run(settings, file, "--crs", "CRS84", "--id", "id", collection="wkt")
    assert loaded(settings, "wkt") == [(shapely.from_wkt("POLYGON ((0 0,4 0,4 4,0 0))"), {"id": "a"})]


def test_geojson_keeps_what_gdal_drops(settings: Settings, tmp_path: Path) -> None:
    values = {"n": {"a": [1, {"b": None}]}, "list": [1, 2], "big": 2**62, "at": "2024-01-02T03:04:05.250+08:00", "m": 1}
    file = geojson(tmp_path / "a.geojson", {"id": "x", "properties": values}, {"id": "y", "properties": {"m": "s"}})
    done = run(settings, file, "--id", "id")
    assert [json.loads(column(settings, name)[0]) for name in ("n", "list")] == [values["n"], values["list"]]
    assert column(settings, "big") == [2**62, None] and column(settings, "m") == ["1", "s"]
    assert column(settings, "at") == ["2024-01-01T19:04:05.250Z", None]
    assert column(settings, "id") == ["x", "y"]
    assert "column m: kept as text: row 1 has the integer 1, row 2 has the string 's'" in done.stderr


def test_geojson_in_other_dresses(settings: Settings, tmp_path: Path) -> None:
    feature = {"type": "Feature", "properties": {"名": "土"}, "geometry": PLOT}
    whole = json.dumps({"type": "FeatureCollection", "features": [feature] * 2}, ensure_ascii=False)
    lines = "\n".join([json.dumps(feature), "", "\x1e" + json.dumps(feature)])
    cases = {"a.json": whole.encode(), "b.geojson": b"\xef\xbb\xbf" + whole.encode(), "c.geojsonl": lines.encode()}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        run(settings, tmp_path / name, collection=name[0])
        assert column(settings, "名", name[0]) == ["土", "土"]
    (tmp_path / "d.geojson").write_bytes(whole.encode("gbk"))
    assert "--encoding" in run(settings, tmp_path / "d.geojson", collection="d", code=1).stderr
    run(settings, tmp_path / "d.geojson", "--encoding", "gbk", collection="d")
    assert column(settings, "名", "d") == ["土", "土"]
    (tmp_path / "e.geojson").write_text(whole[:-30])
    assert "not JSON" in run(settings, tmp_path / "e.geojson", collection="e", code=1).stderr


# --- CRS ---


def test_crs_comes_from_the_file_or_the_caller(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.shp"
    schema = {"geometry": "Polygon", "properties": {"a": "int"}}
    with fiona.open(file, "w", driver="ESRI Shapefile", crs="EPSG:4547", schema=schema) as out:
        out.write({"geometry": mapping(SQUARE), "properties": {"a": 1}})
    run(settings, file)
    assert package(settings, "SELECT srs_id FROM gpkg_geometry_columns") == (4547,)
    file.with_suffix(".prj").unlink()
    assert "does not say its CRS: give it by --crs" in run(settings, file, "--replace", code=1).stderr
    run(settings, file, "--replace", "--crs", "http://www.opengis.net/def/crs/EPSG/0/4549")
    assert package(settings, "SELECT srs_id FROM gpkg_geometry_columns") == (4549,)
    for wrong in ("EPSG:5773", "EPSG:999999", "Beijing"):  # a height, none, none
        run(settings, file, "--replace", "--crs", wrong, code=2)
    assert loaded(settings)[0][0].equals(SQUARE)


def test_older_geojson_names_its_crs(settings: Settings, tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4547"}}
    file = geojson(tmp_path / "a.geojson", {"geometry": mapping(SQUARE)}, crs=crs)
    run(settings, file)
    assert package(settings, "SELECT srs_id FROM gpkg_geometry_columns") == (4547,)
    # Without it the coordinates are degrees, which these cannot be.
    file = geojson(tmp_path / "b.geojson", {"geometry": mapping(SQUARE)})
    assert "row 1: geometry: longitude or latitude beyond the earth" in run(settings, file, collection="b", code=1).stderr


def test_another_proj_in_the_environment_does_not_matter(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.fgb"
    schema = {"geometry": "Polygon", "properties": {"a": "int"}}
    with fiona.open(file, "w", driver="FlatGeobuf", crs="EPSG:4547", schema=schema) as out:
        out.write({"geometry": mapping(SQUARE), "properties": {"a": 1}})
    env = os.environ | {"PROJ_DATA": "/nonexistent", "PROJ_LIB": "/nonexistent", "TIERRA_CONFIG": str(settings.config)}
    env |= {"TIERRA_DATA": str(settings.data), "TIERRA_STATE": str(settings.state)}
    words = [sys.executable, "-m", "server.cli", "load", str(file), "--collection", "c"]
    done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert package(settings, "SELECT srs_id FROM gpkg_geometry_columns") == (4547,)


# --- geometries ---


def test_heights_are_kept_and_measures_said_to_go(settings: Settings, tmp_path: Path) -> None:
    high = shapely.Point(104, 30, 512.5)
    done = run(settings, geojson(tmp_path / "a.geojson", {"geometry": mapping(high)}))
    assert "heights (Z): they are kept" in done.stderr
    assert [tuple(g.coords[0]) for g, _ in loaded(settings)] == [(104, 30, 512.5)]
    assert package(settings, "SELECT geometry_type_name, z, m FROM gpkg_geometry_columns") == ("POINT", 1, 0)
    file = tmp_path / "b.csv"
    file.write_text('id,wkt\n1,"POINT ZM (104 30 5 6)"\n2,"POINT M (104 30 7)"\n')
    done = run(settings, file, "--crs", "CRS84", collection="b")
    assert "measures (M) of the geometries are left out" in done.stderr
    assert [tuple(g.coords[0]) for g, _ in loaded(settings, "b")] == [(104, 30, 5), (104, 30)]
    assert package(settings, "SELECT z, m FROM gpkg_geometry_columns", "b") == (2, 0)


@pytest.mark.parametrize(
    "texts,declared,stored",
    [
        (["POLYGON ((0 0,1 0,1 1,0 0))"], "POLYGON", ["Polygon"]),
        (
            ["POLYGON Z ((0 0 9,1 0 9,1 1 9,0 0 9))", "MULTIPOLYGON (((5 5,6 5,6 6,5 5)))"],
            "MULTIPOLYGON",
            ["MultiPolygon"] * 2,
        ),
        (["LINESTRING (0 0,1 1)", "MULTILINESTRING ((0 0,1 1))"], "MULTILINESTRING", ["MultiLineString"] * 2),
        (["POINT (1 1)", "POLYGON ((0 0,1 0,1 1,0 0))"], "GEOMETRY", ["Point", "Polygon"]),
        (["GEOMETRYCOLLECTION (POINT (1 1))"], "GEOMETRYCOLLECTION", ["GeometryCollection"]),
        (["POINT EMPTY"], "GEOMETRY", [None]),
    ],
)
def test_geometry_types(settings: Settings, tmp_path: Path, texts: list[str], declared: str, stored: list[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text("wkt,n\n" + "".join(f'"{text}",1\n' for text in texts))
    run(settings, file, "--crs", "CRS84")
    assert package(settings, "SELECT geometry_type_name FROM gpkg_geometry_columns") == (declared,)
    found = [g for g, _ in loaded(settings)]
    assert [g and g.geom_type for g in found] == stored
    for geometry, text in zip(found, texts, strict=True):
        expected = shapely.from_wkt(text)
        assert expected.is_empty if geometry is None else geometry.equals(expected) and geometry.has_z == expected.has_z


@pytest.mark.parametrize("suffix,driver", [("gpkg", "GPKG"), ("fgb", "FlatGeobuf")])
def test_curves_are_refused(settings: Settings, tmp_path: Path, suffix: str, driver: str) -> None:
    needs("ogr2ogr")
    texts = ["CURVEPOLYGON (CIRCULARSTRING (0 0,4 0,4 4,0 4,0 0))", "POLYGON ((0 0,1 0,1 1,0 0))"]
    (tmp_path / "a.csv").write_text("n,WKT\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts)))
    file = tmp_path / f"a.{suffix}"
    subprocess.run(["ogr2ogr", "-f", driver, "-a_srs", "EPSG:4326", file, tmp_path / "a.csv"], check=True)
    done = run(settings, file, code=1)
    assert [line.split(":")[0] for line in done.stderr.splitlines() if line.startswith("row")] == ["row 1"]
    assert "not supported" in done.stderr and untouched(settings)


def test_a_serving_process_gets_no_second_gdal() -> None:
    """fiona's GDAL is for the command that loads, and is not there before it runs."""
    code = "import sys, server.cli, server.app; sys.exit('fiona' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
