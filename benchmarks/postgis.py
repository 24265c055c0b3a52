"""A PostGIS of the benchmark's own: a private cluster on a free port, loaded once with what the open tier releases."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.plan import ROWS

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "random_page_cost": "1.1",
    "max_connections": "50",
}
# The open tier's properties as it releases them.
COLUMNS = "parcel_id, landuse, round(area_ha, 2) AS area_ha, division"

# What its manual asks of an administrator: keys and indexes for what is asked, and statistics.
INDEXES = """
ALTER TABLE parcels DROP COLUMN ogc_fid;
ALTER TABLE parcels ADD PRIMARY KEY (parcel_id);
CREATE INDEX parcels_landuse_area ON parcels (landuse, area_ha);
CREATE INDEX parcels_area ON parcels (area_ha);
VACUUM ANALYZE parcels;
"""


class Unavailable(Exception):
    """A peer cannot run here; the message says what is missing."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def cluster(package: Path) -> Iterator[int]:
    """The port of a running PostgreSQL whose database `bench` holds the released parcels. Raises Unavailable."""
    bin_ = _binaries()
    if shutil.which("ogr2ogr") is None:
        raise Unavailable("no ogr2ogr (package gdal-bin)")
    home = _home(package)
    data, log = home / "data", home / "log"
    if not (data / "PG_VERSION").exists():
        _run(bin_ / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
    port = free_port()
    settings = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in SETTINGS.items())
    _run(bin_ / "pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-p {port} {settings}", "start")
    try:
        if not (home / "loaded").exists():
            _load(bin_ / "psql", package, port)
            _run("touch", home / "loaded")
        yield port
    finally:
        _run(bin_ / "pg_ctl", "-D", data, "-m", "fast", "-w", "stop")


def version() -> str:
    """Version of the server programs. Raises Unavailable."""
    return _run(_binaries() / "postgres", "--version").strip()


def _load(psql: Path, package: Path, port: int) -> None:
    ask = [psql, "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q"]
    _run(*ask, "-d", "postgres", "-c", "DROP DATABASE IF EXISTS bench", "-c", "CREATE DATABASE bench")
    _run(*ask, "-d", "bench", "-c", "CREATE EXTENSION postgis")
    # In longitude and latitude, so that a peer has nothing to transform.
    command = ["ogr2ogr", "-f", "PostgreSQL", f"PG:host=127.0.0.1 port={port} user=postgres dbname=bench", str(package)]
    command += ["-sql", f"SELECT {COLUMNS}, geom FROM parcels WHERE {ROWS}", "-nln", "parcels"]
    command += ["-t_srs", "EPSG:4326", "-lco", "GEOMETRY_NAME=geom", "--config", "PG_USE_COPY", "YES"]
    subprocess.run(command, check=True)
    for statement in filter(None, map(str.strip, INDEXES.split(";"))):
        _run(*ask, "-d", "bench", "-c", statement)


def _binaries() -> Path:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        raise Unavailable("no PostgreSQL server (package postgresql)")
    newest = max(found, key=lambda path: int(path.parent.name))
    control = Path("/usr/share/postgresql") / newest.parent.name / "extension" / "postgis.control"
    if not control.exists():
        raise Unavailable(f"no PostGIS for PostgreSQL {newest.parent.name}")
    return newest


def _home(package: Path) -> Path:
    """A folder that the server's user owns: beside the data, or a temporary one where that user cannot reach it."""
    home = package.parent / "postgres"
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        home.mkdir(exist_ok=True)
        os.chown(home, user.pw_uid, user.pw_gid)
        if subprocess.run([*AS_POSTGRES, "test", "-w", str(home)], check=False).returncode:
            home = Path(tempfile.gettempdir()) / f"tierra-bench-{package.parent.name}"
            home.mkdir(mode=0o700, exist_ok=True)
            os.chown(home, user.pw_uid, user.pw_gid)
    home.mkdir(exist_ok=True)
    return home


AS_POSTGRES = ("runuser", "-u", "postgres", "--")


def _run(*command: object) -> str:
    """Run as a user that PostgreSQL accepts (it refuses root)."""
    whole = [*(AS_POSTGRES if os.getuid() == 0 else ()), *map(str, command)]
    run = subprocess.run(whole, capture_output=True, text=True, check=False, cwd="/")
    if run.returncode:
        raise Unavailable(f"{' '.join(whole)}: {run.stderr.strip()[-500:]}")
    return run.stdout
