"""How the sample layers get into one GeoPackage: all of them, or no file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_samples import province, tables
from data_samples.areas import Row, division_rows, parcel_rows
from data_samples.places import GAUGES, LANDSLIDES, MINERALS, gauge_rows, landslide_rows, mineral_rows
from data_samples.stations import STATIONS, station_rows
from providers.engines import layers

SEED = 4547
PARCELS = 20_000
POINTS = LANDSLIDES + MINERALS + GAUGES + STATIONS


def generate(out: Path, parcels: int = PARCELS, seed: int = SEED, quiet: bool = False) -> None:
    """Make the sample province as a GeoPackage at `out`; the same seed and number give the same rows.

    It is written beside its place and moved there when it is whole. Raises FileExistsError when there is such a file,
    ValueError for a number of parcels that is out of range.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        with tqdm(total=parcels, desc="cutting parcels", unit=" parcels", disable=quiet) as bar:
            land = province.build(parcels, seed, bar.update)
        contents: list[tuple[tables.Layer, Iterable[Row]]] = [
            (tables.DIVISIONS, division_rows(land)),
            (tables.PARCELS, parcel_rows(land, seed)),
            (tables.LANDSLIDES, landslide_rows(land, seed)),
            (tables.MINERALS, mineral_rows(land, seed)),
            (tables.GAUGES, gauge_rows(land, seed)),
            (tables.STATIONS, station_rows(seed)),
        ]
        conn = layers.open_package(partial)
        try:
            with tqdm(total=parcels + len(land.divisions) + POINTS, desc="writing rows", unit=" rows", disable=quiet) as bar:
                for layer, rows in contents:
                    conn.execute("BEGIN IMMEDIATE")
                    _write(layer, rows, conn, bar)
                    conn.execute("COMMIT")
        finally:
            conn.close()
        partial.rename(out)
    finally:
        for leftover in out.parent.glob(f"{partial.name}*"):
            leftover.unlink()


def _write(layer: tables.Layer, rows: Iterable[Row], conn: sqlite3.Connection, bar: tqdm[Any]) -> None:
    layers.create_layer(
        conn,
        layer.table,
        layer.columns,
        id_column=layer.key,
        geometry_type=layer.geometry_type,
        srs_id=layer.srs_id,
        title=layer.title,
        description=layer.description,
    )
    layers.insert(conn, layer.table, layer.columns, _counted(rows, bar))
    layers.finish_layer(conn, layer.table)
    layers.track(conn, layer.table)


def _counted(rows: Iterable[Row], bar: tqdm[Any]) -> Iterator[Row]:
    for row in rows:
        yield row
        bar.update()
