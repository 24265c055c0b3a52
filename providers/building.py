"""A recipe becomes an edition: the rows of a source, generalised and masked, as a table with its indexes.

A build makes a new table beside the one that is served and moves the pointer in the same transaction, so that a reader sees
the old or the new one, never a mixture, and no file is ever replaced under an open connection.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely

from providers import geojson, masks
from providers.columns import Column, quote
from providers.dataset import Dataset
from providers.editions import CODE_VERSION, ENVELOPE, Edition, clip_of, file_of, mask_key, read
from providers.engines.geopackage import Table, snapshot, source_revision
from providers.generalise import generalise, hilbert, released_format
from providers.grant import GrantError, Recipe

# Rows that are held in memory at once.
CHUNK = 2000

Progress = Callable[[int], Any]


def build(
    dataset: Dataset,
    recipe: Recipe,
    directory: Path,
    definition: dict[str, Any],
    *,
    mask_secret: bytes = b"",
    progress: Progress = lambda rows: None,
) -> Edition:
    """Build the edition of a recipe row by row, in bounded memory, and switch to it.

    `progress` is called with the number of source rows done since the last call. Raises GrantError where the recipe does not
    fit the source, and where ids are missing or not unique.
    """
    path = file_of(directory, recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    conn = sqlite3.connect(path, isolation_level=None, timeout=60)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=FILE", "cache_size=-32000", "secure_delete=ON"):
            conn.execute(f"PRAGMA {pragma}")
        conn.execute("BEGIN IMMEDIATE")
        try:
            edition = _build(conn, dataset, recipe, definition, mask_secret, progress)
            conn.execute("COMMIT")
        except BaseException:
            conn.execute("ROLLBACK")
            raise
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return edition
    finally:
        conn.close()


def _build(
    conn: sqlite3.Connection,
    dataset: Dataset,
    recipe: Recipe,
    definition: dict[str, Any],
    mask_secret: bytes,
    progress: Progress,
) -> Edition:
    table = dataset.describe()
    columns = released(recipe, table)
    key = next(c for c in released(replace(recipe, properties=(dataset.id_field,)), table))
    clip = clip_of(definition)
    area, clip_revision = clip.area() if clip else (None, "")
    geometry = table.geometry is not None and not recipe.geometry.none
    rows = f"rows_{time.time_ns():x}"
    former = read(conn)
    tables = conn.execute("SELECT name FROM sqlite_master WHERE type='table' AND name GLOB 'rows_*'").fetchall()
    old = [name for (name,) in tables if "_rtree" not in name]
    names = [quote(column.name) for column in columns]
    typed = [f"{quote(column.name)} {column.sql_type}" for column in columns]
    # what is long comes last, so that a scan over the properties does not walk through it
    conn.execute(
        f"CREATE TEMP TABLE staging (_curve INTEGER, _key, {', '.join(f'{e} REAL' for e in ENVELOPE)},"
        f" {''.join(t + ', ' for t in typed)}_geom BLOB, _text BLOB)"
    )
    marks = ", ".join("?" * (len(columns) + 7))
    digest = 0
    with snapshot(dataset.path) as source:
        revision = source_revision(source, dataset.path, dataset.table)
        for chunk in _released_rows(source, dataset, recipe, table, columns, area, mask_secret, progress):
            for row in chunk:
                digest = (digest + int.from_bytes(hashlib.blake2b(row[-1], digest_size=16).digest())) % (1 << 128)
            conn.executemany(f"INSERT INTO staging VALUES (NULL, {marks})", chunk)
    bbox = _place(conn) if geometry else None
    own = f"_key, {', '.join(ENVELOPE)}, {''.join(n + ', ' for n in names)}_geom, _text"
    conn.execute(
        f"CREATE TABLE {rows} (_rid INTEGER PRIMARY KEY, _key {key.sql_type} NOT NULL,"
        f" {', '.join(f'{e} REAL' for e in ENVELOPE)}, {''.join(t + ', ' for t in typed)}_geom BLOB, _text BLOB NOT NULL)"
    )
    conn.execute(f"INSERT INTO {rows} ({own}) SELECT {own} FROM staging ORDER BY _curve, _key")
    conn.execute("DROP TABLE staging")
    try:
        conn.execute(f"CREATE UNIQUE INDEX {rows}_key ON {rows}(_key)")
    except sqlite3.IntegrityError as err:
        raise GrantError(f"{recipe.collection}: the ids in {dataset.id_field} are not unique once released") from err
    for number, name in enumerate(names):
        conn.execute(f"CREATE INDEX {rows}_{number} ON {rows}({name}, _key)")
    if geometry:
        conn.execute(f"CREATE VIRTUAL TABLE {rows}_rtree USING rtree(id, minx, maxx, miny, maxy)")
        conn.execute(f"INSERT INTO {rows}_rtree SELECT _rid, _minx, _maxx, _miny, _maxy FROM {rows} WHERE _minx IS NOT NULL")
    gaps = geometry and conn.execute(f"SELECT 1 FROM {rows} WHERE _geom IS NULL LIMIT 1").fetchone() is not None
    if gaps:  # a box selects them, too
        conn.execute(f"CREATE INDEX {rows}_gaps ON {rows}(_rid) WHERE _geom IS NULL")
    content = hashlib.sha256(orjson.dumps([f"{digest:x}", [asdict(c) for c in columns], recipe.hash, CODE_VERSION])).hexdigest()[
        :32
    ]
    edition = Edition(
        rows=rows,
        recipe=recipe.hash,
        code_version=CODE_VERSION,
        mask_key=mask_key(recipe, definition),
        clip_revision=clip_revision,
        source_revision=revision,
        built=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        content=content,
        modified=former.modified if former and former.content == content else int(time.time()),
        count=conn.execute(f"SELECT count(*) FROM {rows}").fetchone()[0],
        key=key,
        columns=columns,
        geometry=geometry,
        gaps=gaps,
        geometry_format=released_format(recipe.geometry, table.geometry_type, clipped=clip is not None) if geometry else None,
        bbox=bbox,
        interval=_interval(conn, rows, dataset, columns),
        time_field=dataset.time_field,
    )
    conn.execute("CREATE TABLE IF NOT EXISTS edition (id INTEGER PRIMARY KEY CHECK (id = 1), rows TEXT, meta TEXT)")
    conn.execute("INSERT OR REPLACE INTO edition VALUES (1, ?, ?)", (rows, orjson.dumps(asdict(edition)).decode()))
    for name in old:
        conn.execute(f"DROP TABLE IF EXISTS {quote(name + '_rtree')}")
        conn.execute(f"DROP TABLE {quote(name)}")
    return edition


def _place(conn: sqlite3.Connection) -> tuple[float, float, float, float] | None:
    """Give each staged row its place on a Hilbert curve over the extent of all, so that neighbours lie on one page."""
    box = conn.execute(f"SELECT {', '.join(f'{side[1:4]}({side})' for side in ENVELOPE)} FROM staging").fetchone()
    if box[0] is None:
        return None
    done = 0
    sql = f"SELECT rowid, ({ENVELOPE[0]} + {ENVELOPE[2]}) / 2, ({ENVELOPE[1]} + {ENVELOPE[3]}) / 2 FROM staging"
    while rows := conn.execute(f"{sql} WHERE rowid > ? ORDER BY rowid LIMIT 50000", (done,)).fetchall():
        found = np.array(rows, dtype=float)
        places = hilbert(found[:, 1], found[:, 2], box)
        conn.executemany("UPDATE staging SET _curve=? WHERE rowid=?", zip(places.tolist(), (row[0] for row in rows), strict=True))
        done = rows[-1][0]
    return (box[0], box[1], box[2], box[3])


def released(recipe: Recipe, table: Table) -> tuple[Column, ...]:
    """The properties of an edition with the types that they have after their masks, in the recipe's order.

    Raises GrantError for a property that the source does not have and for a mask that does not fit its column.
    """
    made = []
    by_column = {mask.column: mask for mask in recipe.masks}
    for name in recipe.properties:
        column = table.column(name)
        if column is None:
            raise GrantError(f"{recipe.collection}: {table.name} has no column {name}")
        mask = by_column.get(name)
        if mask is not None:
            masks.check(mask, column)
        made.append(masks.released(mask, column) if mask else column)
    return tuple(made)


def _released_rows(
    source: sqlite3.Connection,
    dataset: Dataset,
    recipe: Recipe,
    table: Table,
    columns: tuple[Column, ...],
    area: Any,
    mask_secret: bytes,
    progress: Progress,
) -> Iterator[list[tuple[Any, ...]]]:
    """Chunks of (key, envelope…, properties…, WKB, text)."""
    conditions, params = dataset.predicate(recipe)
    # where no geometry is let out, a clip still asks where the row lies
    shape = quote(table.geometry) if table.geometry and (area is not None or not recipe.geometry.none) else "NULL"
    names = [quote(dataset.id_field), shape, *(quote(column.name) for column in columns)]
    cursor = source.execute(
        f"SELECT {', '.join(names)} FROM {quote(table.name)}" + (f" WHERE {conditions[0]}" if conditions else ""), params
    )
    key_column = table.column(dataset.id_field)
    assert key_column is not None
    mask = masks.compile(recipe.masks, [key_column, *(c for n in recipe.properties if (c := table.column(n)))], mask_secret)
    while fetched := cursor.fetchmany(CHUNK):
        if any(row[0] is None for row in fetched):
            raise GrantError(f"{recipe.collection}: rows without an id in {dataset.id_field}")
        shapes, keep = generalise(geojson.geometries([row[1] for row in fetched]), recipe.geometry, dataset.storage_crs, area)
        kept = [(row, shape) for row, shape, stays in zip(fetched, shapes, keep, strict=True) if stays]
        if kept:
            yield _finish(columns, [mask((row[0], *row[2:])) for row, _ in kept], np.array([s for _, s in kept], dtype=object))
        progress(len(fetched))


def _finish(columns: Sequence[Column], rows: list[tuple[Any, ...]], shapes: geojson.Geometries) -> list[tuple[Any, ...]]:
    keys = [row[0] for row in rows]
    properties = [row[1:] for row in rows]
    bounds = shapely.bounds(shapes)
    texts = geojson.texts(keys, shapes, (geojson.values(columns, row) for row in properties))
    envelopes = [(None,) * 4 if np.isnan(box[0]) else tuple(box) for box in bounds.tolist()]
    return [
        (key, *envelope, *members, wkb, text)
        for key, envelope, members, wkb, text in zip(keys, envelopes, properties, shapely.to_wkb(shapes), texts, strict=True)
    ]


def _interval(conn: sqlite3.Connection, rows: str, dataset: Dataset, columns: tuple[Column, ...]) -> tuple[str, str] | None:
    column = next((c for c in columns if c.name == dataset.time_field and c.format), None)
    if column is None:
        return None
    low, high = conn.execute(f"SELECT min({quote(column.name)}), max({quote(column.name)}) FROM {rows}").fetchone()
    return (low, high) if low is not None else None
