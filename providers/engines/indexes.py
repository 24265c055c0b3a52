"""Indexes that the live edition needs on its source: id, division, sortables, and how often the table changes."""

from __future__ import annotations

from contextlib import closing

from providers.columns import quote
from providers.dataset import Dataset
from providers.engines import layers


def index_source(dataset: Dataset, under: str | None) -> None:
    """Make the indexes by which the live edition answers, where they are missing, and have the table's changes counted.

    `under` is the column of division codes, if the internal block has one.
    """
    table = dataset.describe()
    with closing(layers.open_package(dataset.path)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        for column in dict.fromkeys([dataset.id_field, under, *dataset.sortables]):
            if column is None or column in table.unique:
                continue
            name = quote(f"tierra_{table.name}_{column}")
            conn.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {quote(table.name)}({quote(column)}, {quote(dataset.id_field)})")
        if layers.revision(conn, table.name) is None:
            layers.track(conn, table.name)
        conn.execute("COMMIT")
