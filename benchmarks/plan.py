"""What is asked of every server: boxes, ids and a filter, drawn from the data with a fixed seed."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from pyproj import Transformer

SEED = 20260101
PARCELS_IN_BOX = 90
BOXES, IDS = 1000, 5000
DEEP = 400_000

# Of 500,000 parcels the filter matches so many; of fewer, in proportion.
FILTER_MATCHES = 3485 / 500_000

# What the benchmark's open tier releases: rows (CQL2 and SQL alike) and properties.
ROWS = "status <> 'disputed'"
PROPERTIES = ("parcel_id", "landuse", "area_ha", "division")


@dataclass(frozen=True, slots=True)
class Plan:
    """Boxes are west, south, east, north in CRS84 degrees; `deep` is an offset; `released` counts what is open."""

    parcels: int
    released: int
    boxes: tuple[tuple[float, float, float, float], ...]
    ids: tuple[str, ...]
    landuse: str
    area_ha: float
    matches: int
    deep: int

    @property
    def filter(self) -> str:
        return f"landuse='{self.landuse}' AND area_ha>{self.area_ha}"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure: queries after the address of the items, and what a right answer returns and matches."""

    key: str
    title: str
    queries: tuple[str, ...]
    returned: tuple[int, int]
    matched: int | None = None


def generate(parcels: int, folder: Path) -> Path:
    """The sample province with so many parcels, built once; its GeoPackage."""
    path = folder / "province.gpkg"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "data_samples", "--parcels", str(parcels), "--out", str(path)]
        subprocess.run(command, check=True, cwd=Path(__file__).parent.parent)
    return path


def draw(package: Path) -> Plan:
    """The plan for a GeoPackage, kept beside it."""
    kept = package.with_name("plan.json")
    if kept.exists() and kept.stat().st_mtime >= package.stat().st_mtime:
        return _read(kept)
    rng = random.Random(SEED)
    with closing(sqlite3.connect(f"file:{quote(str(package))}?mode=ro", uri=True)) as conn:
        (parcels,) = conn.execute("SELECT count(*) FROM parcels").fetchone()
        ids = [row[0] for row in conn.execute(f"SELECT parcel_id FROM parcels WHERE {ROWS} ORDER BY parcel_id")]
        uses = f"SELECT landuse FROM parcels WHERE {ROWS} GROUP BY landuse ORDER BY count(*) DESC LIMIT 1"
        (landuse,) = conn.execute(uses).fetchone()
        areas = f"SELECT round(area_ha, 2) FROM parcels WHERE {ROWS} AND landuse = ? ORDER BY area_ha DESC"
        sizes = [row[0] for row in conn.execute(areas, (landuse,))]
        # Half a step beside what is released, so that rounding cannot decide which parcels match.
        area = round(sizes[min(round(parcels * FILTER_MATCHES), len(sizes) - 1)] + 0.005, 3)
        plan = Plan(
            parcels=parcels,
            released=len(ids),
            boxes=_boxes(conn, rng),
            ids=tuple(rng.sample(ids, min(IDS, len(ids)))),
            landuse=str(landuse),
            area_ha=area,
            matches=sum(1 for value in sizes if value > area),
            deep=min(DEEP, len(ids) * 9 // 10 // 1000 * 1000),
        )
    kept.write_text(json.dumps(asdict(plan)), encoding="utf-8")
    return plan


def _read(path: Path) -> Plan:
    found = json.loads(path.read_text(encoding="utf-8"))
    boxes = tuple((w, s, e, n) for w, s, e, n in found.pop("boxes"))
    return Plan(boxes=boxes, ids=tuple(found.pop("ids")), **found)


def _boxes(conn: sqlite3.Connection, rng: random.Random) -> tuple[tuple[float, float, float, float], ...]:
    """Squares around parcels drawn at random, each widened until it meets about `PARCELS_IN_BOX` of them."""
    (srs,) = conn.execute("SELECT srs_id FROM gpkg_geometry_columns WHERE table_name = 'parcels'").fetchone()
    to_degrees = Transformer.from_crs(f"EPSG:{srs}", "OGC:CRS84", always_xy=True)
    count = "SELECT count(*) FROM rtree_parcels_geom WHERE minx <= ? AND maxx >= ? AND miny <= ? AND maxy >= ?"
    (last,) = conn.execute("SELECT max(id) FROM rtree_parcels_geom").fetchone()
    half, found = 100.0, []
    for _ in range(20 * BOXES):
        where = "SELECT minx, miny FROM rtree_parcels_geom WHERE id = ?"
        centre = conn.execute(where, (rng.randint(1, last),)).fetchone()
        if centre is None:
            continue
        x, y = centre
        for _ in range(8):
            (met,) = conn.execute(count, (x + half, x - half, y + half, y - half)).fetchone()
            if abs(met - PARCELS_IN_BOX) <= 5:
                west, south, east, north = to_degrees.transform_bounds(x - half, y - half, x + half, y + half)
                found.append((round(west, 7), round(south, 7), round(east, 7), round(north, 7)))
                break
            half *= (PARCELS_IN_BOX / max(met, 1)) ** 0.5
            half = min(max(half, 1.0), 1e6)
        if len(found) == BOXES:
            break
    return tuple(found)


def cases(plan: Plan, matched: int, hits: str, deep_by_key: str | None) -> list[Case]:
    """The cases in their order.

    `matched` is how many parcels the server has; `hits` asks it for the count alone, `deep_by_key` for the deep page by
    its key.
    """

    def query(**members: object) -> str:
        return "?" + urlencode(members)

    boxes = tuple(query(limit=100, bbox=",".join(map(str, box))) for box in plan.boxes)
    by_key = [Case("F6k", f"page {plan.deep:,} deep, by key", (deep_by_key,), (10, 10))] if deep_by_key else []
    filtered = {"limit": 100, "filter": plan.filter, "filter-lang": "cql2-text"}
    return [
        Case("F1", "limit=10", (query(limit=10),), (10, 10), matched),
        Case("F2", f"box of about {PARCELS_IN_BOX} parcels", boxes, (60, 100)),
        Case("F3", "limit=1000", (query(limit=1000),), (1000, 1000), matched),
        Case(
            "F4",
            f"{min(100, plan.matches)} of {plan.matches:,} by filter",
            (query(**filtered),),
            (min(100, plan.matches),) * 2,
            plan.matches,
        ),
        Case("F5", "one by id", tuple(f"/{quote(i)}" for i in plan.ids), (1, 1)),
        *by_key,
        Case(
            "F6o",
            f"page {plan.deep:,} deep, by offset",
            (query(limit=10, offset=plan.deep),),
            (10, 10),
            matched,
        ),
        Case("F8", "count alone", (f"?{hits}",), (0, 1), matched),
    ]
