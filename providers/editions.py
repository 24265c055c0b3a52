"""A recipe becomes an edition: a file that holds only what the recipe lets out, with the answers finished in it.

An edition is one SQLite file per tier and collection. Its row of the table `edition` points to the table of rows that is
served; a build makes a new table beside it and moves the pointer in the same transaction, so that a reader sees the old or the
new one, never a mixture, and no file is ever replaced under an open connection.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely

from providers import crs, filters, geojson, masks
from providers.columns import Column, quote
from providers.dataset import Dataset
from providers.engines.geopackage import Table, connection, snapshot, source_revision
from providers.generalise import generalise, hilbert, may_collapse
from providers.grant import GrantError, Recipe

# Counted up whenever the same source and recipe would give another edition; what an older version built is not served.
CODE_VERSION = 1
ENVELOPE = ("_minx", "_miny", "_maxx", "_maxy")
CHUNK = 2000

Progress = Callable[[int], Any]


class EditionUnavailable(Exception):
    """The edition is missing or stale: it is not served until it has been built again."""


@dataclass(frozen=True, slots=True)
class Edition:
    """What an edition says of itself. Everything but the `..._revision`s and `built` follows from what it lets out.

    `content` is a hash over all features; `modified` the time at which it last changed (UTC, seconds since 1970).
    `bbox` is in CRS84 degrees; `interval` the first and last value of the time property.
    """

    rows: str
    recipe: str
    code_version: int
    mask_key: str
    clip_revision: str
    source_revision: str
    built: str
    content: str
    modified: int
    count: int
    key: Column
    columns: tuple[Column, ...]
    geometry: bool
    geometry_types: tuple[str, ...]
    bbox: tuple[float, float, float, float] | None
    interval: tuple[str, str] | None

    @property
    def queryables(self) -> filters.Queryables:
        """What an expression over the rows of this edition may name."""
        return filters.Queryables(
            columns=self.columns,
            geometry="geometry" if self.geometry else None,
            geometry_sql="_geom",
            rowid_sql="_rid",
            rtree=quote(self.rows + "_rtree") if self.geometry else None,
            crs=crs.CRS84,
            envelope=ENVELOPE if self.geometry else None,
        )


@dataclass(frozen=True, slots=True)
class Clip:
    """The collection of areas at whose outline an edition is cut."""

    dataset: Dataset

    def revision(self) -> str:
        with snapshot(self.dataset.path) as conn:
            return source_revision(conn, self.dataset.path, self.dataset.table)

    def area(self) -> Any:
        """The union of its areas, in CRS84. Raises GrantError where it has none."""
        table = self.dataset.describe()
        if table.geometry is None:
            raise GrantError(f"clip: {self.dataset.table} has no geometry")
        with snapshot(self.dataset.path) as conn:
            blobs = [row[0] for row in conn.execute(f"SELECT {quote(table.geometry)} FROM {quote(table.name)}")]
        shapes = crs.stored_transformer(self.dataset.storage_crs, crs.CRS84).transform_geometry(
            geojson.geometries(blobs)
        )
        area = shapely.union_all(shapely.make_valid(shapes))
        if area.is_empty:
            raise GrantError(f"clip: {self.dataset.table} has no area")
        return area


def clip_of(definition: dict[str, Any]) -> Clip | None:
    """The clip collection that a provider definition names by its own definition."""
    return Clip(Dataset.from_definition(definition["clip"])) if definition.get("clip") else None


def file_of(directory: Path, recipe: Recipe) -> Path:
    """Where the edition of a recipe lies: a directory a tier, so that each can be carried to its own network."""
    return directory / recipe.tier / f"{recipe.collection}.sqlite"


def read(conn: sqlite3.Connection) -> Edition | None:
    """The edition that a file points to, inside the caller's snapshot; None before the first build."""
    try:
        row = conn.execute("SELECT meta FROM edition WHERE id=1").fetchone()
    except sqlite3.OperationalError:
        return None
    return _parse(row[0]) if row else None


_parsed: dict[str, Edition] = {}


def _parse(text: str) -> Edition:
    found = _parsed.get(text)
    if found is None:
        meta = orjson.loads(text)
        meta["key"] = Column(**meta["key"])
        meta["columns"] = tuple(Column(**column) for column in meta["columns"])
        for name in ("geometry_types", "bbox", "interval"):
            meta[name] = tuple(meta[name]) if meta[name] is not None else None
        found = Edition(**meta)
        if len(_parsed) > 1000:
            _parsed.clear()
        _parsed[text] = found
    return found


def stale(edition: Edition, recipe: Recipe, definition: dict[str, Any]) -> str | None:
    """Why an edition must not be served, or None. A source that moved on is no reason: an edition may lag behind it."""
    if edition.code_version != CODE_VERSION:
        return "it was built by another version of the code"
    if edition.recipe != recipe.hash:
        return "it was built from another recipe"
    if edition.mask_key != _mask_key(recipe, definition):
        return "the mask key has changed"
    clip = clip_of(definition)
    if edition.clip_revision != (clip.revision() if clip else ""):
        return "the clip collection has changed"
    return None


def _mask_key(recipe: Recipe, definition: dict[str, Any]) -> str:
    return str(definition.get("mask_key", "")) if any(mask.kind == "hash" for mask in recipe.masks) else ""


def current(conn: sqlite3.Connection, recipe: Recipe, definition: dict[str, Any]) -> Edition:
    """The edition to serve. Raises EditionUnavailable where it is missing or stale."""
    edition = read(conn)
    if edition is None:
        raise EditionUnavailable(f"{recipe.collection}: the {recipe.tier} edition has not been built yet")
    reason = stale(edition, recipe, definition)
    if reason:
        raise EditionUnavailable(f"{recipe.collection}: the {recipe.tier} edition waits to be built again: {reason}")
    return edition


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
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=FILE", "cache_size=-32000"):
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
    geometry = table.geometry is not None and not recipe.geometry.none
    rows = f"rows_{time.time_ns():x}"
    former = _former(conn)
    names = [quote(column.name) for column in columns]
    typed = [f"{quote(column.name)} {column.sql_type}" for column in columns]
    # what is long comes last, so that a scan over the properties does not walk through it
    conn.execute(
        f"CREATE TEMP TABLE staging (_curve INTEGER, _key, {', '.join(f'{e} REAL' for e in ENVELOPE)},"
        f" {''.join(t + ', ' for t in typed)}_geom BLOB, _text BLOB)"
    )
    marks = ", ".join("?" * (len(columns) + 8))
    digest, kinds = 0, set()
    with snapshot(dataset.path) as source:
        revision = source_revision(source, dataset.path, dataset.table)
        for chunk in _released_rows(source, dataset, recipe, table, columns, clip, mask_secret, progress):
            for row in chunk:
                digest = (digest + int.from_bytes(hashlib.blake2b(row[-1], digest_size=16).digest())) % (1 << 128)
                kinds.add(row[0])
            conn.executemany(f"INSERT INTO staging VALUES ({marks})", (row[1:] for row in chunk))
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
    bbox = None
    if geometry:
        conn.execute(f"CREATE VIRTUAL TABLE {rows}_rtree USING rtree(id, minx, maxx, miny, maxy)")
        conn.execute(
            f"INSERT INTO {rows}_rtree SELECT _rid, _minx, _maxx, _miny, _maxy FROM {rows} WHERE _minx IS NOT NULL"
        )
        found = conn.execute(f"SELECT min(_minx), min(_miny), max(_maxx), max(_maxy) FROM {rows}").fetchone()
        bbox = found if found[0] is not None else None
    content = hashlib.sha256(
        orjson.dumps([f"{digest:x}", [asdict(c) for c in columns], recipe.hash, CODE_VERSION])
    ).hexdigest()[:32]
    edition = Edition(
        rows=rows,
        recipe=recipe.hash,
        code_version=CODE_VERSION,
        mask_key=_mask_key(recipe, definition),
        clip_revision=clip.revision() if clip else "",
        source_revision=revision,
        built=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        content=content,
        modified=former.modified if former and former.content == content else int(time.time()),
        count=conn.execute(f"SELECT count(*) FROM {rows}").fetchone()[0],
        key=key,
        columns=columns,
        geometry=geometry,
        geometry_types=_types(recipe, table, kinds) if geometry else (),
        bbox=bbox,
        interval=_interval(conn, rows, dataset, columns),
    )
    conn.execute("CREATE TABLE IF NOT EXISTS edition (id INTEGER PRIMARY KEY CHECK (id = 1), rows TEXT, meta TEXT)")
    conn.execute("INSERT OR REPLACE INTO edition VALUES (1, ?, ?)", (rows, orjson.dumps(asdict(edition)).decode()))
    if former:
        conn.execute(f"DROP TABLE IF EXISTS {quote(former.rows + '_rtree')}")
        conn.execute(f"DROP TABLE IF EXISTS {quote(former.rows)}")
    return edition


def _former(conn: sqlite3.Connection) -> Edition | None:
    try:
        return read(conn)
    except (TypeError, KeyError, orjson.JSONDecodeError):  # another version's: nothing of it is kept
        for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type='table' AND name LIKE 'rows\\_%' ESCAPE '\\'"):
            conn.execute(f"DROP TABLE IF EXISTS {quote(name)}")
        return None


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
    clip: Clip | None,
    mask_secret: bytes,
    progress: Progress,
) -> Iterator[list[tuple[Any, ...]]]:
    """Chunks of (geometry type, curve, key, envelope…, properties…, WKB, text)."""
    conditions, params = dataset.predicate(recipe)
    shape = quote(table.geometry) if table.geometry and not recipe.geometry.none else "NULL"
    names = [quote(dataset.id_field), shape, *(quote(column.name) for column in columns)]
    cursor = source.execute(
        f"SELECT {', '.join(names)} FROM {quote(table.name)}" + (f" WHERE {conditions[0]}" if conditions else ""), params
    )
    key_column = table.column(dataset.id_field)
    assert key_column is not None
    mask = masks.compile(recipe.masks, [key_column, *(c for n in recipe.properties if (c := table.column(n)))], mask_secret)
    area = clip.area() if clip else None
    while fetched := cursor.fetchmany(CHUNK):
        if any(row[0] is None for row in fetched):
            raise GrantError(f"{recipe.collection}: rows without an id in {dataset.id_field}")
        shapes, keep = generalise(
            geojson.geometries([row[1] for row in fetched]), recipe.geometry, dataset.storage_crs, area
        )
        kept = [(row, shape) for row, shape, stays in zip(fetched, shapes, keep, strict=True) if stays]
        if kept:
            yield _finish(columns, [mask((row[0], *row[2:])) for row, _ in kept], np.array([s for _, s in kept], dtype=object))
        progress(len(fetched))


def _finish(columns: Sequence[Column], rows: list[tuple[Any, ...]], shapes: geojson.Geometries) -> list[tuple[Any, ...]]:
    keys = [row[0] for row in rows]
    properties = [row[1:] for row in rows]
    bounds = shapely.bounds(shapes)
    curve = hilbert((bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2, (-180.0, -90.0, 180.0, 90.0))
    texts = geojson.texts(keys, shapes, (geojson.values(columns, row) for row in properties))
    envelopes = [(None,) * 4 if np.isnan(box[0]) else tuple(box) for box in bounds.tolist()]
    kinds = [None if shape is None else shape.geom_type for shape in shapes]
    return [
        (kind, place, key, *envelope, *members, wkb, text)
        for kind, place, key, envelope, members, wkb, text in zip(
            kinds, curve.tolist(), keys, envelopes, properties, shapely.to_wkb(shapes), texts, strict=True
        )
    ]


def _types(recipe: Recipe, table: Table, kinds: set[str | None]) -> tuple[str, ...]:
    """The geometry types there may be: what the recipe can make of the source's type, and what it made."""
    may = {kind for kind in kinds if kind}
    if recipe.geometry.centroid or may_collapse(recipe.geometry, table.geometry_type):
        may.add("Point")
    return tuple(sorted(may))


def _interval(
    conn: sqlite3.Connection, rows: str, dataset: Dataset, columns: tuple[Column, ...]
) -> tuple[str, str] | None:
    column = next((c for c in columns if c.name == dataset.time_field and c.format), None)
    if column is None:
        return None
    low, high = conn.execute(f"SELECT min({quote(column.name)}), max({quote(column.name)}) FROM {rows}").fetchone()
    return (low, high) if low is not None else None


def status(dataset: Dataset, recipe: Recipe, directory: Path, definition: dict[str, Any]) -> tuple[Edition | None, str]:
    """The edition of a recipe, and a word: missing, stale with its reason, behind its source, or current."""
    path = file_of(directory, recipe)
    if not path.exists():
        return None, "missing"
    edition = read(connection(path))
    if edition is None:
        return None, "missing"
    reason = stale(edition, recipe, definition)
    if reason:
        return edition, f"stale: {reason}"
    with snapshot(dataset.path) as conn:
        revision = source_revision(conn, dataset.path, dataset.table)
    return edition, "current" if revision == edition.source_revision else "behind its source"
