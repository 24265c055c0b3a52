"""How a layer is written to a GeoPackage: tables, geometry blobs, R-tree, and the revision that tells of every edit.

Follows OGC 12-128r17 (GeoPackage 1.3). Geometries are stored x = east, y = north, whatever the axis order of their CRS.
Nothing here begins or ends a transaction but `open_package`, which makes the tables of a new file: the caller encloses
its work in `BEGIN IMMEDIATE`, and tables and their triggers come or go with it, for SQLite's DDL is transactional.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyproj

from providers.columns import Column, quote
from providers.engines.blobs import Envelope, PackageError, blob, blobs, bodies, envelope, wkb

__all__ = [
    "PackageError",
    "blob",
    "blobs",
    "bodies",
    "create_layer",
    "drop_layer",
    "envelope",
    "finish_layer",
    "has_layer",
    "insert",
    "open_package",
    "register",
    "revision",
    "track",
    "wkb",
]

GEOMETRY = "geom"
ROW_ID = "fid"
BUSY_MS = 10_000

_APPLICATION_ID = 0x47504B47  # "GPKG", requirement 2
_USER_VERSION = 10300


# Requirements 10 to 26 and 58 (annex C).
_TABLES = (
    """CREATE TABLE IF NOT EXISTS gpkg_spatial_ref_sys (
        srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
        organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT)""",
    """CREATE TABLE IF NOT EXISTS gpkg_contents (
        table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
        description TEXT DEFAULT '',
        last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
        min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
        CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id))""",
    """CREATE TABLE IF NOT EXISTS gpkg_geometry_columns (
        table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
        z TINYINT NOT NULL, m TINYINT NOT NULL, CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
        CONSTRAINT uk_gc_table_name UNIQUE (table_name),
        CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
        CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id))""",
    """CREATE TABLE IF NOT EXISTS gpkg_extensions (
        table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL, scope TEXT NOT NULL,
        CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name))""",
)


def open_package(path: Path) -> sqlite3.Connection:
    """A connection that may write to the GeoPackage at `path`, which is made if there is none.

    The journal is WAL, transactions are begun by the caller (`isolation_level=None`), and the functions that the R-tree
    triggers call are registered. Raises PackageError when the file is something else.
    """
    conn = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None)
    try:
        (known,) = conn.execute("PRAGMA application_id").fetchone()
        (objects,) = conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if known != _APPLICATION_ID and objects:
            raise PackageError(f"{path.name} is an SQLite file, but no GeoPackage")
        register(conn)
        if not objects:  # before WAL, so that the header that GDAL looks at is in the file itself
            conn.execute("BEGIN IMMEDIATE")
            _initialise(conn)
            conn.execute("COMMIT")
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA synchronous = NORMAL")
    except (sqlite3.DatabaseError, PackageError) as err:
        conn.close()
        if isinstance(err, sqlite3.OperationalError | PackageError):
            raise
        raise PackageError(f"{path.name}: {err}") from err
    return conn


def register(conn: sqlite3.Connection) -> None:
    """Give a connection the functions that the standard's R-tree triggers call (requirement 76)."""

    def bound(index: int) -> Callable[[bytes | None], float | None]:
        def value(geometry: bytes | None) -> float | None:
            found = envelope(geometry)
            return found[index] if found else None

        return value

    conn.create_function(
        "ST_IsEmpty", 1, lambda geometry: None if geometry is None else envelope(geometry) is None, deterministic=True
    )
    for index, name in enumerate(("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY")):
        conn.create_function(name, 1, bound(index), deterministic=True)


def _initialise(conn: sqlite3.Connection) -> None:
    conn.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    conn.execute(f"PRAGMA user_version = {_USER_VERSION}")
    for statement in _TABLES:
        conn.execute(statement)
    undefined = [(f"Undefined {kind} SRS", srs_id, "NONE", srs_id, "undefined") for kind, srs_id in _UNDEFINED]
    conn.executemany(
        "INSERT OR IGNORE INTO gpkg_spatial_ref_sys"
        " (srs_name, srs_id, organization, organization_coordsys_id, definition) VALUES (?, ?, ?, ?, ?)",
        undefined,
    )
    _add_srs(conn, 4326)


_UNDEFINED = (("Cartesian", -1), ("geographic", 0))


def _add_srs(conn: sqlite3.Connection, srs_id: int) -> None:
    if conn.execute("SELECT 1 FROM gpkg_spatial_ref_sys WHERE srs_id = ?", (srs_id,)).fetchone():
        return
    try:
        crs = pyproj.CRS.from_epsg(srs_id)
        definition = crs.to_wkt("WKT1_GDAL")
    except pyproj.exceptions.CRSError as err:
        raise PackageError(f"EPSG:{srs_id} is no CRS that a GeoPackage can define: {err}") from err
    conn.execute(
        "INSERT INTO gpkg_spatial_ref_sys (srs_name, srs_id, organization, organization_coordsys_id, definition)"
        " VALUES (?, ?, 'EPSG', ?, ?)",
        (crs.name, srs_id, srs_id, definition),
    )


def create_layer(
    conn: sqlite3.Connection,
    table: str,
    columns: Sequence[Column],
    *,
    id_column: str | None,
    geometry_type: str | None,
    srs_id: int,
    z: int = 0,
    title: str = "",
    description: str = "",
) -> None:
    """Make an empty layer: row number `fid`, geometry `geom` and the columns, of which `id_column` is unique, not null.

    `geometry_type` is POINT, POLYGON, ... or GEOMETRY for a mixture, None for a table without geometry; `srs_id` an
    EPSG code; `z` 0 where no geometry has heights, 1 (True) where all have, 2 where some have. It has no R-tree and no
    triggers yet, so that it fills fast: `finish_layer` makes them. Raises PackageError for a column that is called as
    the row number or the geometry is, or a CRS that is unknown.
    """
    taken = [c.name for c in columns if c.name.casefold() in (ROW_ID, GEOMETRY)]
    if taken:
        raise PackageError(f"columns of layer {table} are called {', '.join(taken)}, a name that is taken")
    _add_srs(conn, srs_id)
    parts = [f"{ROW_ID} INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL"]
    if geometry_type:
        parts.append(f"{GEOMETRY} {geometry_type}")
    parts += [f"{quote(c.name)} {c.sql_type}" + (" NOT NULL UNIQUE" if c.name == id_column else "") for c in columns]
    conn.execute(f"CREATE TABLE {quote(table)} ({', '.join(parts)})")
    # The identifier is unique in the file: a title that another layer has cannot be it.
    taken_title = conn.execute("SELECT 1 FROM gpkg_contents WHERE identifier = ?", (title,)).fetchone()
    conn.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) VALUES (?, ?, ?, ?, ?)",
        (
            table,
            "features" if geometry_type else "attributes",
            table if taken_title or not title else title,
            description,
            srs_id,
        ),
    )
    if geometry_type:
        conn.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, ?, ?, ?, ?, 0)",
            (table, GEOMETRY, geometry_type, srs_id, int(z)),
        )


def insert(
    conn: sqlite3.Connection,
    table: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Any]],
    geometry: bool = True,
) -> int:
    """Add rows, each a geometry blob (or None) and the values in the order of `columns`; gives their number.

    With `geometry=False` (a table that has none) a row is the values alone.
    """
    names = ([GEOMETRY] if geometry else []) + [quote(c.name) for c in columns]
    marks = ", ".join("?" * len(names))
    return conn.executemany(f"INSERT INTO {quote(table)} ({', '.join(names)}) VALUES ({marks})", rows).rowcount


def finish_layer(conn: sqlite3.Connection, table: str) -> None:
    """Fill the R-tree of a layer, make the triggers that keep it (clause F.3), and write its extent and time."""
    if conn.execute("SELECT 1 FROM gpkg_geometry_columns WHERE table_name = ?", (table,)).fetchone():
        extent = _fill_rtree(conn, table)
        for trigger in _rtree_triggers(table):
            conn.execute(trigger)
        conn.execute(
            "INSERT INTO gpkg_extensions VALUES (?, ?, 'gpkg_rtree_index',"
            " 'http://www.geopackage.org/spec130/#extension_rtree', 'write-only')",
            (table, GEOMETRY),
        )
        conn.execute("UPDATE gpkg_contents SET min_x = ?, max_x = ?, min_y = ?, max_y = ? WHERE table_name = ?", (*extent, table))
    conn.execute("UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ','now') WHERE table_name = ?", (table,))


def _fill_rtree(conn: sqlite3.Connection, table: str) -> Envelope | tuple[None, None, None, None]:
    """Make and fill the R-tree; gives minx, maxx, miny, maxy of all. A blob's header is read once, for both."""
    conn.execute(f"CREATE VIRTUAL TABLE {_rtree(table)} USING rtree(id, minx, maxx, miny, maxy)")
    low_x = low_y = math.inf
    high_x = high_y = -math.inf

    def boxes() -> Iterator[tuple[float, ...]]:
        nonlocal low_x, high_x, low_y, high_y
        for row_id, geometry in conn.execute(f"SELECT {ROW_ID}, {GEOMETRY} FROM {quote(table)}"):
            box = envelope(geometry)
            if box:
                minx, maxx, miny, maxy = box
                low_x, high_x = min(low_x, minx), max(high_x, maxx)
                low_y, high_y = min(low_y, miny), max(high_y, maxy)
                yield row_id, minx, maxx, miny, maxy

    conn.executemany(f"INSERT INTO {_rtree(table)} VALUES (?, ?, ?, ?, ?)", boxes())
    return (low_x, high_x, low_y, high_y) if low_x <= high_x else (None, None, None, None)


def _rtree(table: str) -> str:
    return quote(f"rtree_{table}_{GEOMETRY}")


def _rtree_triggers(table: str) -> list[str]:
    def trigger(name: str, event: str, condition: str, *actions: str) -> str:
        return (
            f"CREATE TRIGGER {quote(f'rtree_{table}_{GEOMETRY}_{name}')} AFTER {event} ON {quote(table)}"
            f" WHEN {condition} BEGIN {' '.join(f'{action};' for action in actions)} END"
        )

    there = f"(NEW.{GEOMETRY} NOT NULL AND NOT ST_IsEmpty(NEW.{GEOMETRY}))"
    gone = f"(NEW.{GEOMETRY} ISNULL OR ST_IsEmpty(NEW.{GEOMETRY}))"
    bounds = ", ".join(f"ST_{name}(NEW.{GEOMETRY})" for name in ("MinX", "MaxX", "MinY", "MaxY"))
    put = f"INSERT OR REPLACE INTO {_rtree(table)} VALUES (NEW.{ROW_ID}, {bounds})"
    take = f"DELETE FROM {_rtree(table)} WHERE id = OLD.{ROW_ID}"
    take_both = f"DELETE FROM {_rtree(table)} WHERE id IN (OLD.{ROW_ID}, NEW.{ROW_ID})"
    same, other = f"OLD.{ROW_ID} = NEW.{ROW_ID}", f"OLD.{ROW_ID} != NEW.{ROW_ID}"
    return [
        trigger("insert", "INSERT", there, put),
        trigger("update1", f"UPDATE OF {GEOMETRY}", f"{same} AND {there}", put),
        trigger("update2", f"UPDATE OF {GEOMETRY}", f"{same} AND {gone}", take),
        trigger("update3", "UPDATE", f"{other} AND {there}", take, put),
        trigger("update4", "UPDATE", f"{other} AND {gone}", take_both),
        trigger("delete", "DELETE", f"OLD.{GEOMETRY} NOT NULL", take),
    ]


def drop_layer(conn: sqlite3.Connection, table: str) -> None:
    """Take a layer away, with its triggers and R-tree. Its revision stays: a layer of that name goes on from it."""
    conn.execute(f"DROP TABLE IF EXISTS {_rtree(table)}")
    conn.execute(f"DROP TABLE IF EXISTS {quote(table)}")
    for catalogue in ("gpkg_extensions", "gpkg_geometry_columns", "gpkg_contents"):
        conn.execute(f"DELETE FROM {catalogue} WHERE table_name = ?", (table,))


def has_layer(conn: sqlite3.Connection, table: str) -> bool:
    """Whether there is a table (or view) of that name, in any case, as SQLite sees names."""
    found = conn.execute("SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?)", (table,))
    return found.fetchone() is not None


def track(conn: sqlite3.Connection, table: str) -> None:
    """Count every edit of a table from now on, by whichever program: triggers in plain SQL raise its revision.

    A table that was tracked before goes on from its revision, one higher.
    """
    conn.execute("CREATE TABLE IF NOT EXISTS tierra_revision (table_name TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL)")
    # With this extension GDAL and QGIS list only what gpkg_contents names: the table of revisions is no layer to them.
    conn.execute(
        "INSERT INTO gpkg_extensions SELECT NULL, NULL, 'gdal_aspatial', 'http://gdal.org/geopackage_aspatial.html',"
        " 'read-write' WHERE NOT EXISTS (SELECT 1 FROM gpkg_extensions WHERE extension_name = 'gdal_aspatial')"
    )
    conn.execute(
        "INSERT INTO tierra_revision VALUES (?, 1) ON CONFLICT (table_name) DO UPDATE SET revision = revision + 1",
        (table,),
    )
    for name, event in zip(_trigger_names(table), ("INSERT", "UPDATE", "DELETE"), strict=True):
        conn.execute(
            f"CREATE TRIGGER IF NOT EXISTS {quote(name)} AFTER {event} ON {quote(table)} BEGIN"
            f" UPDATE tierra_revision SET revision = revision + 1 WHERE table_name = '{table.replace("'", "''")}'; END"
        )


def revision(conn: sqlite3.Connection, table: str) -> int | None:
    """The revision of a table, or None when its edits are not counted: never tracked, or made anew elsewhere."""
    try:
        row = conn.execute(
            "SELECT revision FROM tierra_revision WHERE table_name = ? AND 3 ="
            " (SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND name IN (?, ?, ?))",
            (table, table, *_trigger_names(table)),
        ).fetchone()
    except sqlite3.OperationalError as err:
        if "no such table" in str(err):
            return None
        raise
    return row[0] if row else None


def _trigger_names(table: str) -> tuple[str, str, str]:
    return f"tierra_{table}_inserted", f"tierra_{table}_updated", f"tierra_{table}_deleted"
