"""What tests of `tierra load` share: a run of it, and what other programs find in its files."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import fiona
import shapely
from click.testing import CliRunner, Result
from shapely.geometry import shape

from server.commands.load import load
from server.settings import ROOT, Settings
from server.settings import load as load_settings

SQUARE = shapely.box(500_000, 3_300_000, 500_010, 3_300_010)
PLOT = {"type": "Polygon", "coordinates": [[[104, 30], [104.001, 30], [104.001, 30.001], [104, 30.001], [104, 30]]]}


def empty_settings(tmp_path: Path) -> Settings:
    """Directories with the configuration of no collection."""
    (tmp_path / "config" / "collections").mkdir(parents=True)
    (tmp_path / "config" / "tierra.yml").write_bytes((ROOT / "config" / "tierra.yml").read_bytes())
    names = {f"TIERRA_{name.upper()}": str(tmp_path / name) for name in ("config", "data", "state")}
    return load_settings(names)


def run(settings: Settings, file: Path, *words: str, collection: str = "c", code: int = 0) -> Result:
    """Load a file; the exit code must be as expected."""
    done = CliRunner().invoke(load, [str(file), "--collection", collection, *words], obj=settings)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def read(file: Path, layer: str | None = None) -> list[tuple[Any, dict[str, Any]]]:
    """Geometries and properties of a file, as GDAL reads it."""
    with fiona.open(file, layer=layer) as source:
        return [(shape(f.geometry) if f.geometry else None, dict(f.properties)) for f in source]


def loaded(settings: Settings, collection: str = "c") -> list[tuple[Any, dict[str, Any]]]:
    return read(settings.data / f"{collection}.gpkg", collection)


def column(settings: Settings, name: str, collection: str = "c") -> list[Any]:
    """Values of a column as SQLite holds them."""
    with closing(sqlite3.connect(settings.data / f"{collection}.gpkg")) as conn:
        return [row[0] for row in conn.execute(f'SELECT "{name}" FROM "{collection}" ORDER BY fid')]


def package(settings: Settings, sql: str, collection: str = "c") -> Any:
    with closing(sqlite3.connect(settings.data / f"{collection}.gpkg")) as conn:
        return conn.execute(sql).fetchone()


def geojson(path: Path, *features: dict[str, Any], **members: Any) -> Path:
    whole = [{"type": "Feature", "properties": {}, "geometry": PLOT} | feature for feature in features]
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": whole}), "utf-8")
    return path


def untouched(settings: Settings) -> bool:
    """Whether there is neither data nor configuration of any collection."""
    return not list(settings.data.glob("*")) and not list((settings.config / "collections").iterdir())
