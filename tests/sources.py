"""Small source tables with the edition of one recipe, as the tests of the providers need them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shapely

from providers import building, editions
from providers.columns import Column
from providers.dataset import Dataset
from providers.engines import layers
from providers.engines.geopackage import snapshot
from providers.grant import Grant, Recipe
from providers.reader import Reader
from providers.relation import open_relation

TABLE = "things"


@dataclass
class Source:
    """A GeoPackage with one layer, whose first column is the id, unique if so declared; geometries are x = east, y = north."""

    directory: Path
    columns: Sequence[Column]
    srs_id: int = 4326
    unique: bool = True
    tier: Any = "open"
    recipe_parts: dict[str, Any] = field(default_factory=dict)
    time_field: str | None = None

    def __post_init__(self) -> None:
        key = self.columns[0].name if self.unique else None
        with closing(layers.open_package(self.path)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            layers.create_layer(conn, TABLE, self.columns, id_column=key, geometry_type="GEOMETRY", srs_id=self.srs_id)
            layers.finish_layer(conn, TABLE)
            layers.track(conn, TABLE)
            conn.execute("COMMIT")

    @property
    def path(self) -> Path:
        return self.directory / "source.gpkg"

    @property
    def definition(self) -> dict[str, Any]:
        crs = f"http://www.opengis.net/def/crs/EPSG/0/{self.srs_id}"
        made = {"data": str(self.path), "table": TABLE, "id_field": self.columns[0].name}
        made["storage_crs"] = "http://www.opengis.net/def/crs/OGC/1.3/CRS84" if self.srs_id == 4326 else crs
        return made | ({"time_field": self.time_field} if self.time_field else {})

    @property
    def dataset(self) -> Dataset:
        return Dataset.from_definition(self.definition)

    @property
    def recipe(self) -> Recipe:
        parts = {"properties": tuple(column.name for column in self.columns)} | self.recipe_parts
        return Recipe(TABLE, self.tier, **parts)

    def add(self, *rows: tuple[Any, ...]) -> None:
        """Add rows: a Shapely geometry or None, then the values in the order of the columns."""
        packed = [(layers.blobs([row[0]], self.srs_id)[0], *row[1:]) for row in rows]
        with closing(layers.open_package(self.path)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            layers.insert(conn, TABLE, self.columns, packed)
            conn.execute("COMMIT")

    def run(self, sql: str, *params: Any) -> None:
        """Change the source by hand."""
        with closing(layers.open_package(self.path)) as conn:
            conn.execute(sql, params)

    def build(self, **extra: Any) -> editions.Edition:
        """Build the edition of the recipe."""
        return building.build(self.dataset, self.recipe, self.directory, extra, mask_secret=b"s" * 32)

    @property
    def file(self) -> Path:
        """The edition's file."""
        return editions.file_of(self.directory, self.recipe)

    @contextmanager
    def reading(self, **grant: Any) -> Iterator[Reader]:
        """A reader of the edition, or of the source where the tier is internal."""
        definition = self.definition if self.tier == "internal" else {"data": str(self.file)}
        with snapshot(Path(definition["data"])) as conn:
            yield Reader(conn, open_relation(Grant(self.recipe, **grant), definition, conn), self.time_field)


def point(x: float = 104.0, y: float = 30.0) -> Any:
    return shapely.Point(x, y)
