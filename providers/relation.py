"""What a grant lets be read: a relation that holds only granted columns and rows.

All that a user asks (filter, bbox, sort, count, ids, extents) is asked of a relation. Outside the agency it is the table of an
edition; inside, a sub-select of the source with a column list and a row predicate. Names that begin with an underscore are
the relation's own: `_rid` row id, `_key` the feature's id, `_geom` its geometry, `_text` its finished GeoJSON.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from providers import crs, editions, filters
from providers.columns import Column, quote
from providers.dataset import Dataset
from providers.editions import ENVELOPE
from providers.engines.geopackage import file, source_revision
from providers.generalise import released_format
from providers.grant import Grant, GrantError


@dataclass(frozen=True)
class Relation:
    """A FROM item with its bound values, and what is known of it.

    `revision` changes when the content does: of an edition it is a hash of all that it lets out, so that it tells nothing
    of the rest. `text` says whether `_text` holds the finished feature with exactly the granted properties. `narrow` holds the
    predicates of an agreement.
    """

    path: Path
    source: str
    params: tuple[Any, ...]
    key: Column
    columns: tuple[Column, ...]
    geometry: bool
    geometry_format: str | None
    crs: str
    rtree: str | None
    envelope: bool
    text: bool
    revision: str
    edition: editions.Edition | None = None
    narrow: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every row of an edition is in it, so that what the edition says of itself holds for it."""
        return self.edition is not None and not self.narrow

    @cached_property
    def identity(self) -> str:
        """A hash of what is released through this relation: content, narrowing, properties."""
        parts = (self.revision, self.narrow, self.columns)
        return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()

    @cached_property
    def queryables(self) -> filters.Queryables:
        """What an expression over this relation may name."""
        return filters.Queryables(
            columns=self.columns,
            geometry="geometry" if self.geometry else None,
            geometry_sql="_geom",
            rowid_sql="_rid",
            rtree=self.rtree,
            crs=self.crs,
            envelope=ENVELOPE if self.envelope else None,
        )

    def column(self, name: str) -> Column | None:
        """The granted property of this name, or None."""
        return next((column for column in self.columns if column.name == name), None)


def successor(code: str) -> str:
    """The least string above all that begin with `code`: code >= x AND code < successor(x) is what lies under x."""
    return code[:-1] + chr(ord(code[-1]) + 1)


def open_relation(grant: Grant, definition: dict[str, Any], conn: sqlite3.Connection) -> Relation:
    """The relation of a grant, inside the snapshot `conn` of the file that the provider definition names as its `data`:
    the edition's, or inside the agency the source's.

    Raises GrantError where the grant cannot be fulfilled, EditionUnavailable where its edition is missing or stale.
    """
    if grant.recipe.materialised:
        return _edition(grant, definition, conn)
    return _live(Dataset.from_definition(definition), grant, conn)


class _Kept:
    """Relations of editions, by the grant that they were made for and the edition that was current then."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._made: OrderedDict[int, tuple[Grant, editions.Edition, Relation]] = OrderedDict()

    def get(self, grant: Grant, edition: editions.Edition) -> Relation | None:
        # by identity, which is quicker than equality; the grant is kept with it, so that no other can take its place
        found = self._made.get(id(grant))
        return found[2] if found is not None and found[1] is edition else None

    def put(self, grant: Grant, edition: editions.Edition, relation: Relation) -> None:
        with self._lock:
            self._made[id(grant)] = (grant, edition, relation)
            if len(self._made) > self._size:
                self._made.popitem(last=False)


_kept = _Kept(2000)


def _edition(grant: Grant, definition: dict[str, Any], conn: sqlite3.Connection) -> Relation:
    edition = editions.current(conn, grant.recipe, definition)
    relation = _kept.get(grant, edition)
    path = file(definition["data"])
    if relation is None or relation.path is not path:
        relation = _of_edition(grant, edition, path)
        _kept.put(grant, edition, relation)
    return relation


def _of_edition(grant: Grant, edition: editions.Edition, path: Path) -> Relation:
    columns = tuple(column for column in edition.columns if column.name in grant.properties)
    missing = set(grant.properties) - {column.name for column in columns}
    if missing:
        raise GrantError(f"{grant.collection}: the edition has no {', '.join(sorted(missing))}")
    own = tuple(f'"{name}"' for name in ("_rid", "_key", "_geom", *ENVELOPE, "_text"))
    source, params = quote(edition.rows), ()
    narrowed = columns != edition.columns
    if narrowed or grant.narrow:
        # a narrower agreement: its rows are ANDed outside whatever the user asks, its columns are all that can be named
        wheres = [_where(grant, text, edition.queryables) for text in grant.narrow]
        names = [*own[: -1 if narrowed else None], *(quote(column.name) for column in columns)]
        source = f"(SELECT {', '.join(names)} FROM {source}" + _and([w.sql for w in wheres]) + ")"
        params = tuple(value for where in wheres for value in where.params)
    return Relation(
        path=path,
        source=source,
        params=params,
        key=edition.key,
        columns=columns,
        geometry=edition.geometry,
        geometry_format=edition.geometry_format,
        crs=crs.CRS84,
        rtree=quote(edition.rows + "_rtree") if edition.geometry else None,
        envelope=edition.geometry,
        text=not narrowed,
        revision=edition.content,
        edition=edition,
        narrow=grant.narrow,
    )


def _live(dataset: Dataset, grant: Grant, conn: sqlite3.Connection) -> Relation:
    recipe = grant.recipe
    if recipe.masks or recipe.clip or recipe.geometry.changes:
        raise GrantError(f"{grant.collection}: a live edition changes no value (mask, geometry, clip)")
    table = dataset.describe()
    columns = tuple(c for name in grant.properties if (c := table.column(name)) is not None)
    missing = set(grant.properties) - {column.name for column in columns}
    if missing:
        raise GrantError(f"{grant.collection}: the source has no {', '.join(sorted(missing))}")
    conditions, params = dataset.predicate(grant.recipe)
    if grant.under is not None:
        column, code = grant.under
        if table.column(column) is None:
            raise GrantError(f"{grant.collection}: the source has no {column}")
        if code:  # the nation's own code is empty: all lies under it
            conditions.append(f"{quote(column)} >= ? AND {quote(column)} < ?")
            params += (code, successor(code))
    names = [f"{quote(table.rowid)} AS _rid", f"{quote(dataset.id_field)} AS _key"]
    if table.geometry:
        names.append(f"{quote(table.geometry)} AS _geom")
    names += [quote(column.name) for column in columns]
    return Relation(
        path=dataset.path,
        source=f"(SELECT {', '.join(names)} FROM {quote(table.name)}{_and(conditions)})",
        params=params,
        key=dataset.id_column,
        columns=columns,
        geometry=table.geometry is not None,
        geometry_format=released_format(recipe.geometry, table.geometry_type, clipped=False) if table.geometry else None,
        crs=dataset.storage_crs,
        rtree=quote(table.rtree) if table.rtree else None,
        envelope=False,
        text=False,
        revision=source_revision(conn, dataset.path, dataset.table),
    )


def _where(grant: Grant, text: str, queryables: filters.Queryables) -> filters.Where:
    try:
        return filters.compile(filters.parse(text), queryables)
    except filters.FilterError as err:
        raise GrantError(f"{grant.collection}: {err}") from err


def _and(conditions: list[str]) -> str:
    return " WHERE " + " AND ".join(f"({condition})" for condition in conditions) if conditions else ""
