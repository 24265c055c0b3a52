"""Does `tierra load` refuse what it must, name every bad row, and leave what was there as it was?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import shapely
import yaml

from providers import loading
from providers.columns import Column
from providers.engines import layers
from providers.foreign import open_source
from server import config
from server.settings import Settings
from tests.loads import column, empty_settings, geojson, loaded, package, run, untouched

BOWTIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return empty_settings(tmp_path)


def points(path: Path, count: int, **extra: list[Any]) -> Path:
    """A text file of points with `code` A0, A1, ... and other columns."""
    rows = [["code", "lon", "lat", *extra]]
    rows += [[f"A{i}", f"{100 + i / count}", "30", *(str(v[i]) for v in extra.values())] for i in range(count)]
    path.write_text("\n".join(",".join(row) for row in rows))
    return path


def rows_of(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("row ")]


# --- bad rows ---


def bad_rows(tmp_path: Path) -> Path:
    def with_id(name: Any, geometry: Any = ..., **properties: Any) -> dict[str, Any]:
        return {"properties": {"code": name, **properties}} | ({} if geometry is ... else {"geometry": geometry})

    return geojson(
        tmp_path / "a.geojson",
        with_id("a"),
        with_id("b", BOWTIE),
        with_id("c", {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1]]]}),
        with_id("d", {"type": "Point", "coordinates": [103, "30"]}),
        with_id("e", {"type": "Punkt", "coordinates": [103, 30]}),
        with_id("f", {"type": "Point", "coordinates": [30, 103]}),  # latitude first
        with_id("a"),
        with_id(None),
        with_id(""),
        {"properties": [1]},
        with_id("g", None),
    )


def test_bad_rows_are_named_and_nothing_is_loaded(settings: Settings, tmp_path: Path) -> None:
    done = run(settings, bad_rows(tmp_path), "--id", "code", code=1)
    found = rows_of(done.stderr)
    assert [line.split(":")[0] for line in found] == [f"row {n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10)]
    assert "Self-intersection" in found[0] and "closed" in found[1] and "beyond the earth" in found[4]
    assert found[5:] == ["row 7: id a is that of row 1", "row 8: no id", "row 9: no id", "row 10: the properties are no object"]
    assert "9 bad rows: nothing is loaded" in done.stderr and untouched(settings)


def test_good_rows_are_loaded_on_demand(settings: Settings, tmp_path: Path) -> None:
    done = run(settings, bad_rows(tmp_path), "--id", "code", "--skip-bad")
    assert len(rows_of(done.stderr)) == 9 and column(settings, "code") == ["a", "g"]


def test_values_that_are_not_of_their_columns_type(settings: Settings, tmp_path: Path) -> None:
    """SQLite lets a text into an integer column; GDAL would read it as 0, and a broken geometry as none."""
    columns = [Column("n", "integer"), Column("x", "number"), Column("day", "string", "date"), Column("t", "string")]
    point = layers.blob(shapely.to_wkb(shapely.Point(1, 2)), 4326, None)
    with closing(layers.open_package(tmp_path / "a.gpkg")) as conn:
        layers.create_layer(conn, "a", columns, id_column=None, geometry_type="POINT", srs_id=4326)
        rows = [(point, 1, 2, "2024-02-29", "x"), (point, "x", "y", "z", b"b"), (b"GP", 1, 1, None, None)]
        rows += [(point[:20], 1, 1, None, None), (point, None, None, None, None)]
        layers.insert(conn, "a", columns, rows)
        conn.execute("INSERT INTO a (geom, t) VALUES (?, CAST(? AS TEXT))", (point, b"\xb5\xd8"))
    found = rows_of(run(settings, tmp_path / "a.gpkg", code=1).stderr)
    assert [line.split(":")[0] for line in found] == ["row 2", "row 3", "row 4", "row 6"]
    assert all(f"; {name}:" in f"; {found[0][7:]}" for name in ("n", "x", "day", "t"))
    assert "not a GeoPackage geometry" in found[1] and "encoding" in found[3]


def test_rows_of_a_text_file_that_are_out_of_shape(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('code,lon,lat\na,1,2\nb,1\nc,1,2,3\n"d\nd",east,2\ne,nan,2\nf,,2\n\ng,3,4\n')
    done = run(settings, file, "--crs", "CRS84", "--id", "code", "--skip-bad")
    assert [line.split(":")[0] for line in rows_of(done.stderr)] == [f"row {n}" for n in (2, 3, 4, 5, 6)]
    assert column(settings, "code") == ["a", "g"]


# --- ids, names, columns ---


def test_without_an_id_every_row_gets_a_uuid(settings: Settings, tmp_path: Path) -> None:
    file = points(tmp_path / "a.csv", 5, uuid=[1, 1, 1, 1, 1])
    run(settings, file, "--crs", "CRS84")
    made = column(settings, "uuid_1")
    assert len({len(value) for value in made}) == 1 and len(set(made)) == 5 and column(settings, "uuid") == [1] * 5
    run(settings, file, "--crs", "CRS84", "--replace")
    assert not set(column(settings, "uuid_1")) & set(made)


@pytest.mark.parametrize(
    "words,reason", [(["--id", "kode"], "no column kode; there are: code, area"), (["--id", "area"], "number")]
)
def test_a_column_that_can_be_no_id(settings: Settings, tmp_path: Path, words: list[str], reason: str) -> None:
    file = points(tmp_path / "a.csv", 2, area=[0.5, 1.5])
    assert reason in run(settings, file, "--crs", "CRS84", *words, code=1).stderr and untouched(settings)


def test_the_id_column_is_unique_and_not_null(settings: Settings, tmp_path: Path) -> None:
    run(settings, points(tmp_path / "a.csv", 3), "--crs", "CRS84", "--id", "code")
    with closing(layers.open_package(settings.data / "c.gpkg")) as conn:
        for value in ("A1", None):
            with pytest.raises(sqlite3.IntegrityError):
                conn.execute("INSERT INTO c (code) VALUES (?)", (value,))


def test_any_column_name_is_kept_or_its_change_is_said(settings: Settings, tmp_path: Path) -> None:
    names = ["select", 'quo"te', "土地 利用", "Name", "name", "fid", "Geom", "GEOMETRY", "_hidden", "", "rowid", "a.b"]
    file = geojson(tmp_path / "a.geojson", {"properties": {name: i for i, name in enumerate(names)}})
    done = run(settings, file)
    expected = ["select", 'quo"te', "土地 利用", "Name", "name_1", "fid_1", "Geom_1", "GEOMETRY_1", "hidden", "column_10"]
    (_, properties), *_ = loaded(settings)
    assert [properties[name] for name in [*expected, "rowid", "a.b"]] == list(range(12))
    assert done.stderr.count("is called") == 6
    assert list(config.load(settings).collections) == ["c"]


@pytest.mark.parametrize("name", ["1a", "a.b", "a b", "", "-a", "土地", "dUmmYColLection", "gpkg_contents", "sqlite_a"])
def test_impossible_ids(settings: Settings, tmp_path: Path, name: str) -> None:
    run(settings, points(tmp_path / "a.csv", 2), "--crs", "CRS84", collection=name, code=2)
    assert untouched(settings)


def test_files_that_cannot_be_read(settings: Settings, tmp_path: Path) -> None:
    for name, content in {"a.shp": b"nothing", "a.gpkg": b"nothing" * 99, "a.geojson": b"{", "a.csv": b"a,b\n1,2"}.items():
        (tmp_path / name).write_bytes(content)
        run(settings, tmp_path / name, code=1)
    assert "no file" in run(settings, tmp_path / "missing.shp", code=1).stderr
    assert untouched(settings)


def test_one_layer_of_several_must_be_named(settings: Settings, tmp_path: Path) -> None:
    with closing(layers.open_package(tmp_path / "a.gpkg")) as conn:
        for name in ("one", "two"):
            columns = [Column(name, "string")]
            layers.create_layer(conn, name, columns, id_column=None, geometry_type="POINT", srs_id=4326)
            layers.insert(conn, name, columns, [(None, name)])
    assert "--layer: one, two" in run(settings, tmp_path / "a.gpkg", code=1).stderr
    run(settings, tmp_path / "a.gpkg", "--layer", "two")
    assert column(settings, "two") == ["two"]


# --- the configuration ---


def test_configuration_is_complete_and_opens_nothing(settings: Settings, tmp_path: Path) -> None:
    run(settings, points(tmp_path / "rain_gauges.csv", 3, since=["2024-01-01"] * 3), "--crs", "EPSG:4490", "--id", "code")
    text = (settings.config / "collections" / "c.yml").read_text("utf-8")
    assert text.startswith("#") and "access" in text.splitlines()[0]
    made = yaml.safe_load(text)
    assert made["title"] == "rain gauges" and "access" not in made
    base = "http://www.opengis.net/def/crs"
    assert made["providers"] == [
        {
            "type": "feature",
            "name": "providers.features.FeatureProvider",
            "data": "c.gpkg",
            "table": "c",
            "id_field": "code",
            "time_field": "since",
            "storage_crs": f"{base}/EPSG/0/4490",
            "crs": [f"{base}/OGC/1.3/CRS84", f"{base}/EPSG/0/4490"],
            "sortables": ["code"],
        }
    ]
    collection = config.load(settings).collections["c"]
    assert collection.blocks == {} and collection.dataset.time_field == "since"


# --- replacing ---


def test_an_existing_collection_is_refused_and_replaced_on_demand(settings: Settings, tmp_path: Path) -> None:
    run(settings, points(tmp_path / "a.csv", 3, area=[1, 2, 3]), "--crs", "CRS84", "--id", "code")
    file = settings.config / "collections" / "c.yml"
    policy = "access: {open: {properties: [code, area], mask: {area: {round: 1}}}}\n"
    file.write_text(file.read_text() + policy)
    before = file.read_bytes(), column(settings, "code"), package(settings, "SELECT revision FROM tierra_revision")
    newer = points(tmp_path / "b.csv", 2, height=[5, 6])
    assert "already" in run(settings, newer, "--crs", "CRS84", "--id", "code", code=1).stderr
    file.unlink()  # the table alone is enough to be refused
    assert "already" in run(settings, newer, "--crs", "CRS84", "--id", "code", code=1).stderr
    file.write_bytes(before[0])
    assert column(settings, "code") == before[1]
    done = run(settings, newer, "--crs", "EPSG:4490", "--replace")  # the id column is the configuration's
    assert column(settings, "code") == ["A0", "A1"] and column(settings, "height") == [5, 6]
    assert package(settings, "SELECT revision FROM tierra_revision") > before[2]
    assert file.read_bytes() == before[0]
    assert "columns that are no more: area" in done.stderr and "its storage_crs is" in done.stderr


def test_replacing_goes_where_the_configuration_says(settings: Settings, tmp_path: Path) -> None:
    run(settings, points(tmp_path / "a.csv", 3), "--crs", "CRS84", "--id", "code", collection="province")
    file = settings.config / "collections" / "province.yml"
    file.rename(file.with_name("parcels.yml"))
    run(settings, points(tmp_path / "b.csv", 4), "--crs", "CRS84", "--replace", collection="parcels")
    assert [path.name for path in settings.data.glob("*.gpkg")] == ["province.gpkg"]
    assert len(column(settings, "code", "province")) == 4


def test_a_load_that_breaks_off_leaves_what_was_there(settings: Settings, tmp_path: Path) -> None:
    run(settings, points(tmp_path / "a.csv", 3), "--crs", "CRS84", "--id", "code")
    state = "SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM rtree_c_geom), revision FROM tierra_revision"
    before = package(settings, state)

    def breaking(_: int) -> None:
        raise KeyboardInterrupt

    with closing(open_source(points(tmp_path / "b.csv", 5000))) as source:
        staged = loading.stage(source, id_column="code", srs_id=4326)
    with closing(staged), pytest.raises(KeyboardInterrupt):
        loading.write(settings.data / "c.gpkg", staged, "c", replace=True, advance=breaking)
    assert package(settings, state) == before == (3, 3, 1)


def test_another_writer_is_waited_for_and_then_named(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(settings, points(tmp_path / "a.csv", 3), "--crs", "CRS84", "--id", "code")
    monkeypatch.setattr(layers, "BUSY_MS", 50)
    with closing(layers.open_package(settings.data / "c.gpkg")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        done = run(settings, points(tmp_path / "b.csv", 2), "--crs", "CRS84", "--replace", code=1)
        writer.execute("ROLLBACK")
    assert "locked" in done.stderr and len(column(settings, "code")) == 3
