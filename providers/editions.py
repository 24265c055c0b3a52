"""What an edition is: a file that holds only what a recipe lets out, with the answers finished in it; when it is stale.

An edition is one SQLite file per tier and collection. Its row of the table `edition` points to the table of rows that is
served; a build (`providers.building`) makes a new table beside it and moves the pointer in the same transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import shapely

from providers import crs, filters, geojson
from providers.columns import Column, quote
from providers.dataset import Dataset
from providers.engines.geopackage import TableError, connection, snapshot, source_revision
from providers.grant import GrantError, Recipe

# Counted up whenever the same source and recipe would give another edition; what an older version built is not served.
CODE_VERSION = 1
ENVELOPE = ("_minx", "_miny", "_maxx", "_maxy")


class EditionUnavailable(Exception):
    """The edition is missing or stale: it is not served until it has been built again."""


@dataclass(frozen=True, slots=True)
class Edition:
    """What an edition says of itself. Everything but the `..._revision`s and `built` follows from what it lets out.

    `gaps` says that there are features without a geometry, `geometry_format` is what a schema says of it, None where there
    is none at all. `content` is a hash over all features;
    `modified` the time at which it last changed (UTC, seconds since 1970).
    `bbox` is in CRS84 degrees; `interval` the first and last value of `time_field`.
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
    gaps: bool
    geometry_format: str | None
    bbox: tuple[float, float, float, float] | None
    interval: tuple[str, str] | None
    time_field: str | None

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
        """Which areas, and their state."""
        with snapshot(self.dataset.path) as conn:
            counted = source_revision(conn, self.dataset.path, self.dataset.table)
        return f"{self.dataset.path.name}|{self.dataset.table}|{self.dataset.storage_crs}|{counted}"

    def area(self) -> tuple[Any, str]:
        """The union of its areas, in CRS84, and the revision that they are of. Raises GrantError where it has none."""
        table = self.dataset.describe()
        if table.geometry is None:
            raise GrantError(f"clip: {self.dataset.table} has no geometry")
        with snapshot(self.dataset.path) as conn:
            revision = self.revision()
            blobs = [row[0] for row in conn.execute(f"SELECT {quote(table.geometry)} FROM {quote(table.name)}")]
        shapes = crs.stored_transformer(self.dataset.storage_crs, crs.CRS84).transform_geometry(geojson.geometries(blobs))
        area = shapely.union_all(shapely.make_valid(shapes))
        if area.is_empty:
            raise GrantError(f"clip: {self.dataset.table} has no area")
        return area, revision


def clip_of(definition: dict[str, Any]) -> Clip | None:
    """The clip collection that a provider definition names by its own definition."""
    return Clip(Dataset.from_definition(definition["clip"])) if definition.get("clip") else None


def file_of(directory: Path, recipe: Recipe) -> Path:
    """Where the edition of a recipe lies: a directory a tier, so that each can be carried to its own network."""
    return directory / recipe.tier / f"{recipe.collection}.sqlite"


def read(conn: sqlite3.Connection) -> Edition | None:
    """The edition that a file points to, inside the caller's snapshot; None before the first build.

    What another version of the code has written, in another form, counts as none.
    """
    try:
        row = conn.execute("SELECT meta FROM edition WHERE id=1").fetchone()
        return _parse(row[0]) if row else None
    except (sqlite3.OperationalError, TypeError, KeyError):
        return None


_parsed: dict[str, Edition] = {}


def _parse(text: str) -> Edition:
    found = _parsed.get(text)
    if found is None:
        meta = orjson.loads(text)
        meta["key"] = Column(**meta["key"])
        meta["columns"] = tuple(Column(**column) for column in meta["columns"])
        for name in ("bbox", "interval"):
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
    if edition.mask_key != mask_key(recipe, definition):
        return "the mask key has changed"
    clip = clip_of(definition)
    if edition.clip_revision != (clip.revision() if clip else ""):
        return "the clip collection has changed"
    return None


def mask_key(recipe: Recipe, definition: dict[str, Any]) -> str:
    """The id of the key that the recipe's masks are made with; empty where no mask has one."""
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


def status(dataset: Dataset, recipe: Recipe, directory: Path, definition: dict[str, Any]) -> tuple[Edition | None, str]:
    """The edition of a recipe, and a word: missing, stale with its reason, behind its source, or current.

    Raises TableError where a file cannot be read.
    """
    path = file_of(directory, recipe)
    if not path.exists():
        return None, "missing"
    try:
        edition = read(connection(path))
    except sqlite3.DatabaseError as err:
        raise TableError(f"{path.name}: {err}") from err
    if edition is None:
        return None, "missing"
    reason = stale(edition, recipe, definition)
    if reason:
        return edition, f"stale: {reason}"
    with snapshot(dataset.path) as conn:
        revision = source_revision(conn, dataset.path, dataset.table)
    return edition, "current" if revision == edition.source_revision else "behind its source"
