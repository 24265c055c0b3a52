"""How are the other servers started, each as its own manual says, with two worker processes?"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.postgis import Unavailable, free_port
from benchmarks.targets import BARE_CANNOT, HERE, ROOT, WORKERS, Target, edition, granian


def programs() -> Path:
    """The programs of the peers' environment, made at the first use. Raises Unavailable where it cannot be made."""
    home = HERE / ".data" / "venv-peers"
    wanted, stamp = HERE / "peers.txt", home / "installed"
    if not stamp.exists() or stamp.stat().st_mtime < wanted.stat().st_mtime:
        try:
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([str(home / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(wanted)], check=True)
        except subprocess.CalledProcessError as err:
            raise Unavailable(f"the peers' environment could not be made: {err}") from err
        stamp.touch()
    return home / "bin"


def pygeoapi_geopackage(package: Path) -> Target:
    provider = {
        "type": "feature",
        "name": "SQLiteGPKG",
        "data": str(package),
        "table": "parcels",
        "id_field": "parcel_id",
        "storage_crs": "http://www.opengis.net/def/crs/EPSG/0/4547",
        "crs": ["http://www.opengis.net/def/crs/OGC/1.3/CRS84", "http://www.opengis.net/def/crs/EPSG/0/4547"],
    }
    env = {"PYTHONPATH": str(HERE / "loadable_sqlite")}
    target = _pygeoapi("pygeoapi-gpkg", "pygeoapi, same GeoPackage", package, provider, env)
    notes = "it serves every row and column of the source, and has no filter expressions"
    return replace(target, whole=True, cannot={"F4": "ignores the filter"}, notes=notes)


def pygeoapi_postgis(package: Path, database: int) -> Target:
    provider = {
        "type": "feature",
        "name": "PostgreSQL",
        "data": {"host": "127.0.0.1", "port": database, "dbname": "bench", "user": "postgres", "password": "trusted"},
        "table": "parcels",
        "id_field": "parcel_id",
        "geom_field": "geom",
    }
    return _pygeoapi("pygeoapi-postgis", "pygeoapi, PostGIS", package, provider, {})


def _pygeoapi(key: str, title: str, package: Path, provider: dict[str, Any], extra: dict[str, str]) -> Target:
    port, home = free_port(), package.parent / key
    home.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    contact = {"name": "benchmark", "url": url}
    config = {
        "server": {
            "bind": {"host": "127.0.0.1", "port": port},
            "url": url,
            "mimetype": "application/json; charset=UTF-8",
            "encoding": "utf-8",
            "gzip": False,
            "languages": ["en-US"],
            "limits": {"default_items": 10, "max_items": 10_000},
            "map": {"url": "", "attribution": ""},
        },
        "logging": {"level": "ERROR"},
        "metadata": {
            "identification": {
                "title": "benchmark",
                "description": "benchmark",
                "keywords": ["benchmark"],
                "url": url,
                "terms_of_service": url,
            },
            "license": {"name": "MIT", "url": url},
            "provider": contact,
            "contact": contact,
        },
        "resources": {
            "parcels": {
                "type": "collection",
                "title": "parcels",
                "description": "parcels",
                "keywords": ["parcels"],
                "extents": {"spatial": {"bbox": [-180, -90, 180, 90]}},
                "limits": {"default_items": 10, "max_items": 10_000},
                "providers": [provider],
            }
        },
    }
    (home / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    env = {"PYGEOAPI_CONFIG": str(home / "config.yml"), "PYGEOAPI_OPENAPI": str(home / "openapi.yml"), **extra}
    made = (str(programs() / "pygeoapi"), "openapi", "generate", str(home / "config.yml"))
    run = subprocess.run(
        [*made, "--output-file", str(home / "openapi.yml")],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise Unavailable(f"{title}: {run.stderr[-1000:]}")
    # As many threads as connections: a thread that waits for the database does no harm.
    command = granian(programs() / "python", port, "pygeoapi.flask_app:APP", threads=4)
    return Target(key, title, command, env, port, "/collections/parcels/items")


def tipg_postgis(database: int) -> Target:
    port = free_port()
    env = {
        "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{database}/bench",
        "TIPG_MAX_FEATURES_PER_QUERY": "10000",
        "TIPG_TABLE_CONFIG__public_parcels__pk": "parcel_id",
        "TIPG_DB_TABLES": '["public.parcels"]',
        "TIPG_CATALOG_TTL": "0",
    }
    options = ("--workers", str(WORKERS), "--host", "127.0.0.1", "--port", str(port), "--no-access-log")
    command = (str(programs() / "python"), "-m", "uvicorn", *options, "--log-level", "warning", "tipg.main:app")
    items, notes = "/collections/public.parcels/items", "it has no `resulttype`: F8 asks for one feature"
    return Target("tipg", "tipg, PostGIS", command, env, port, items, hits="limit=1", notes=notes)


def bare_gunicorn(package: Path) -> Target:
    """The same function under another web server."""
    port = free_port()
    env = {"BARE_EDITION": str(edition(package)), "PYTHONPATH": str(ROOT)}
    options = ("--workers", str(WORKERS), "--worker-class", "gthread", "--threads", "4", "--bind", f"127.0.0.1:{port}")
    command = (str(programs() / "python"), "-m", "gunicorn", *options, "benchmarks.bare:application")
    title = "bare WSGI function, gunicorn gthread"
    return Target("bare-gunicorn", title, command, env, port, "/items", next=False, cannot=BARE_CANNOT)
