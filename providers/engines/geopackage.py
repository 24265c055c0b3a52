"""How SQLite files (GeoPackages and editions) are read: a connection a thread, snapshots, what a table has."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote as url_quote

from providers.columns import Column, from_declared, quote
from providers.engines import layers
from providers.engines.functions import register

_local = threading.local()


class TableError(Exception):
    """A file or a table is missing, or is not what a feature table must be."""


@dataclass(frozen=True, slots=True)
class Table:
    """A feature table of a GeoPackage: its row id, properties and geometry column (None where it has none)."""

    name: str
    rowid: str
    columns: tuple[Column, ...]
    geometry: str | None
    geometry_type: str
    srs_id: int
    rtree: str | None
    unique: frozenset[str]

    def column(self, name: str) -> Column | None:
        """The property of this name, or None."""
        return next((column for column in self.columns if column.name == name), None)


@lru_cache(maxsize=1000)
def file(name: str) -> Path:
    """The path of this name; kept, as a path is costly to make and quick to compare with itself."""
    return Path(name)


def connection(path: Path) -> sqlite3.Connection:
    """This thread's read-only connection to a file; it is opened once and kept.

    Files are never replaced under it: a new edition is a new table in the same file, so the connection stays good.
    Raises TableError where the file is missing.
    """
    pool: dict[Path, sqlite3.Connection] = _local.__dict__.setdefault("pool", {})
    found = pool.get(path)
    if found is None:
        if not path.is_file():
            raise TableError(f"no such file: {path.name}")
        found = sqlite3.connect(f"file:{url_quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=10)
        found.execute("PRAGMA query_only=ON")
        # Mapped into memory, a file would count for every worker, and reads were no quicker by more than a twentieth.
        found.execute("PRAGMA mmap_size=0")
        found.execute("PRAGMA cache_size=-4000")
        register(found)
        pool[path] = found
    return found


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose reads all see one state of the file, also while another process switches the edition."""
    conn = connection(path)
    if conn.in_transaction:  # a nested read sees the same state
        yield conn
        return
    conn.execute("BEGIN")
    try:
        yield conn
    finally:
        conn.execute("COMMIT")


def describe(path: Path, table: str) -> Table:
    """What a feature table has. Raises TableError where it is missing.

    Kept by the file's schema version, which SQLite counts up at every change of a table.
    """
    try:
        version = connection(path).execute("PRAGMA schema_version").fetchone()[0]
        return _describe(path, table, version)
    except sqlite3.DatabaseError as err:
        raise TableError(f"{path.name}: {err}") from err


@lru_cache(maxsize=512)
def _describe(path: Path, table: str, _version: int) -> Table:
    conn = connection(path)
    info = conn.execute(f"PRAGMA table_info({quote(table)})").fetchall()
    if not info:
        raise TableError(f"no table {table} in {path.name}")
    geometry, kind, srs_id = None, "GEOMETRY", 0
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name='gpkg_geometry_columns'").fetchone():
        row = conn.execute(
            "SELECT column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns WHERE lower(table_name)=lower(?)",
            (table,),
        ).fetchone()
        if row:
            geometry, kind, srs_id = row
    keys = [name for _, name, declared, _, _, pk in info if pk and declared.upper() == "INTEGER"]
    if len(keys) != 1:
        raise TableError(f"table {table} in {path.name} has no integer primary key")
    columns = tuple(
        column for _, name, declared, *_ in info if name != geometry and (column := from_declared(name, declared)) is not None
    )
    rtree = f"rtree_{table}_{geometry}"
    has_rtree = conn.execute("SELECT 1 FROM sqlite_master WHERE name=?", (rtree,)).fetchone()
    unique = {keys[0]}
    for _, index, is_unique, _, partial in conn.execute(f"PRAGMA index_list({quote(table)})").fetchall():
        names = [row[2] for row in conn.execute(f"PRAGMA index_info({quote(index)})")]
        if is_unique and not partial and len(names) == 1:
            unique.add(names[0])
    return Table(table, keys[0], columns, geometry, kind.upper(), srs_id, rtree if has_rtree else None, frozenset(unique))


def source_revision(conn: sqlite3.Connection, path: Path, table: str) -> str:
    """The state of a source table: the count that its triggers keep, or, untracked, the file's time and size."""
    counted = layers.revision(conn, table)
    if counted is not None:
        return f"r{counted}"
    stats = [p.stat() for p in (path, path.with_name(path.name + "-wal")) if p.exists()]
    return "f" + "-".join(f"{s.st_mtime_ns}.{s.st_size}" for s in stats)
