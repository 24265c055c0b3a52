"""What a pygeoapi provider definition says of a dataset: file, table, id, time, CRSs, sortables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers import crs, filters
from providers.columns import Column, quote
from providers.engines.geopackage import Table, TableError, describe
from providers.grant import GrantError, Recipe


@dataclass(frozen=True, slots=True)
class Dataset:
    """The source of a collection. `crs` holds the URIs in which it may be asked; `storage_crs` is the source's own."""

    path: Path
    table: str
    id_field: str
    storage_crs: str
    crs: tuple[str, ...]
    time_field: str | None = None
    title_field: str | None = None
    sortables: tuple[str, ...] = ()

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> Dataset:
        """Read a provider definition; raises TableError with the name of a missing member."""
        for member in ("data", "table", "id_field"):
            if not isinstance(definition.get(member), str):
                raise TableError(f"provider definition: {member} is missing")
        if not isinstance(definition.get("storage_crs", ""), str):
            raise TableError("provider definition: storage_crs must be a URI")
        storage = crs.uri(definition.get("storage_crs", crs.CRS84))
        return cls(
            path=Path(definition["data"]),
            table=definition["table"],
            id_field=definition["id_field"],
            storage_crs=storage,
            crs=tuple(dict.fromkeys([crs.CRS84, *map(crs.uri, definition.get("crs", ())), storage])),
            time_field=definition.get("time_field"),
            title_field=definition.get("title_field"),
            sortables=tuple(definition.get("sortables", ())),
        )

    def describe(self) -> Table:
        """The table as it stands; raises TableError where file, table or id column are missing."""
        table = describe(self.path, self.table)
        if table.column(self.id_field) is None:
            raise TableError(f"id_field {self.id_field}: no such column in {self.table}")
        return table

    @property
    def id_column(self) -> Column:
        column = self.describe().column(self.id_field)
        assert column is not None
        return column

    def queryables(self) -> filters.Queryables:
        """What a recipe may name: every column of the source. A user's expression never sees these."""
        table = self.describe()
        return filters.Queryables(
            columns=table.columns,
            geometry="geometry" if table.geometry else None,
            geometry_sql=quote(table.geometry) if table.geometry else "",
            rowid_sql=quote(table.rowid),
            rtree=quote(table.rtree) if table.rtree else None,
            crs=self.storage_crs,
            envelope=None,
        )

    def predicate(self, recipe: Recipe) -> tuple[list[str], tuple[Any, ...]]:
        """The recipe's rows as SQL conditions over the source and their values. Raises GrantError on a bad expression."""
        if recipe.rows is None:
            return [], ()
        try:
            where = filters.compile(filters.parse(recipe.rows), self.queryables())
        except filters.FilterError as err:
            raise GrantError(f"{recipe.collection}: rows: {err}") from err
        return [f"({where.sql})"], where.params
