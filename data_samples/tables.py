"""Which layers the sample data have: names, columns, CRS, titles."""

from __future__ import annotations

from dataclasses import dataclass

from providers.columns import Column

PROJECTED = 4547  # CGCS2000 / 3-degree Gauss-Kruger CM 114E
GEOGRAPHIC = 4326  # stored longitude first, as CRS84

_FICTION = (
    "Fictional sample data: no such places, people or numbers exist. Coordinates fall on real land by chance only."
    " 虚构的示例数据：地名、人名、编号均不存在。"
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One table. The first column is its key."""

    table: str
    geometry_type: str
    srs_id: int
    title: str
    columns: tuple[Column, ...]
    description: str = _FICTION

    @property
    def key(self) -> str:
        return self.columns[0].name


def _layer(table: str, geometry_type: str, srs_id: int, title: str, columns: str) -> Layer:
    """`columns` are names; one that is no text has its type after a colon."""
    kinds = {"number": ("number", None), "date": ("string", "date"), "date-time": ("string", "date-time")}
    found = []
    for column in columns.split():
        name, _, kind = column.partition(":")
        found.append(Column(name, *kinds.get(kind, ("string", None))))
    return Layer(table, geometry_type, srs_id, title, tuple(found))


DIVISIONS = _layer(
    "divisions",
    "MULTIPOLYGON",
    GEOGRAPHIC,
    "Administrative divisions 行政区划",
    "code level name_zh name_en parent area_km2:number",
)
PARCELS = _layer(
    "parcels",
    "POLYGON",
    PROJECTED,
    "Parcels 宗地",
    "parcel_id landuse landuse_zh landuse_en area_m2:number area_ha:number division status certificate owner identity"
    " updated:date-time",
)
LANDSLIDES = _layer(
    "landslides",
    "POINT",
    PROJECTED,
    "Landslide inventory 滑坡编目",
    "event_id date:date type volume_m3:number place informant division",
)
MINERALS = _layer(
    "minerals",
    "POINT",
    PROJECTED,
    "Mineral occurrences 矿点",
    "occurrence_id commodity name_zh name_en grade reserves_kt:number division",
)
GAUGES = _layer(
    "gauges",
    "POINT",
    PROJECTED,
    "Rain gauges 雨量站",
    "gauge_id name_zh name_en elevation_m:number since:date division",
)
STATIONS = _layer(
    "stations",
    "POINT",
    GEOGRAPHIC,
    "Seismic stations of a partner network 合作台网地震台",
    "station_id name_zh name_en network elevation_m:number opened:date",
)
LAYERS = (DIVISIONS, PARCELS, LANDSLIDES, MINERALS, GAUGES, STATIONS)
