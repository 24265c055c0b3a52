"""Where the sample province lies and how it is divided: an outline, cities, counties, parcels, with borders in common.

Coordinates are metres in CGCS2000 3-degree zone 38 without zone prefix (EPSG:4547, central meridian 114° E), x east.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import shapely

from data_samples import names
from data_samples.names import Name
from data_samples.partition import Partition, Seeds, wander
from data_samples.topology import Planar, Point

CENTRE = (512_000.0, 3_375_000.0)
HALF = (75_000.0, 60_000.0)
CORNERS = 14
LEAST_PARCELS, MOST_PARCELS = 200, 500_000
SNAP = 20.0  # m, the grid that the sample policy lets out
PLANTED = 9.0  # m east and north of a node of that grid
IN_TOWNS = 0.45  # of the parcels
TOWNSHIPS = 5  # a county, beside its seat
SEAT = 4  # a seat has so many times the parcels of a township

Array = Any


@dataclass(frozen=True, slots=True)
class Division:
    """An area of one of the four levels. `code` is as in GB/T 2260, trimmed: each code begins with its parent's."""

    code: str
    level: str
    parent: str | None
    name: Name
    ring: list[int]


@dataclass(frozen=True, slots=True)
class Town:
    """A place where parcels are small."""

    name: Name
    x: float
    y: float
    weight: int


@dataclass(slots=True)
class Province:
    """The divisions from the nation down, the parcels' rings, and the parcels that meet at the planted vertex.

    Parcel i has the vertices `corners[offsets[i]:offsets[i + 1]]` and lies in `counties[county[i]]`.
    """

    planar: Planar
    divisions: list[Division]
    counties: list[Division]
    towns: dict[str, list[Town]] = field(default_factory=dict)
    corners: Array = None
    offsets: Array = None
    county: Array = None
    planted: tuple[int, ...] = ()

    def points(self, corners: Array) -> Array:
        """Coordinates (n, 2) of vertices."""
        return np.column_stack([np.frombuffer(self.planar.x)[corners], np.frombuffer(self.planar.y)[corners]])

    def outline(self, division: Division) -> Array:
        """The numbers of the vertices along a division's border, every parcel's corner on it among them."""
        return np.array(self.planar.vertices(self.planar.whole(division.ring)), dtype=np.int32)

    def polygons(self, start: int, stop: int) -> Array:
        """Parcels start to stop as an array of polygons."""
        low, high = self.offsets[start], self.offsets[stop]
        sizes = np.diff(self.offsets[start : stop + 1])
        # A linear ring is closed by its first vertex.
        ends = np.cumsum(sizes)
        corners = np.insert(self.corners[low:high], ends, self.corners[self.offsets[start:stop]])
        rings = np.repeat(np.arange(stop - start), sizes + 1)
        return shapely.polygons(shapely.linearrings(self.points(corners), indices=rings))


def relief(x: Array, y: Array) -> Array:
    """How mountainous a place is, from 0 (the plain in the east) to 1."""
    u, v = (x - CENTRE[0]) / HALF[0], (y - CENTRE[1]) / HALF[1]
    waves = 0.35 * np.sin(3.1 * u + 2.3 * v) + 0.25 * np.sin(7.3 * u - 4.9 * v + 1.0) + 0.15 * np.cos(13.7 * v + 9.1 * u)
    return np.clip(0.45 - 0.45 * u + 0.5 * waves, 0.0, 1.0)


def build(count: int, seed: int, progress: Callable[[int], object] = lambda done: None) -> Province:
    """Make the province with `count` parcels; `progress` is called with the number of parcels that each step adds.

    Raises ValueError for a count out of range, RuntimeError when the parcels cannot be placed.
    """
    if not LEAST_PARCELS <= count <= MOST_PARCELS:
        raise ValueError(f"the number of parcels must be between {LEAST_PARCELS} and {MOST_PARCELS}")
    random = Random(seed)
    planar = Planar()
    partition = Partition(planar, random)
    divisions = _divide(partition)
    province = Province(planar, divisions, [d for d in divisions if d.level == "county"])
    outlines = [shapely.Polygon(province.points(province.outline(c))) for c in province.counties]
    for county, outline in zip(province.counties, outlines, strict=True):
        province.towns[county.code] = _towns(random, outline)
    _fill(province, partition, outlines, count, np.random.default_rng(seed), progress)
    _plant(province, partition)
    return province


def _divide(partition: Partition) -> list[Division]:
    outline = _outline(partition)
    nation = Division("00", "nation", None, names.NATION, outline)
    province = Division("51", "province", "00", names.PROVINCE, outline)
    found = [nation, province]
    cities = partition.divide(outline, [1.15, 1.0, 0.9], depth=6, rough=0.13)
    for number, ring in enumerate(cities):
        city = Division(f"51{number + 1:02d}", "city", "51", names.CITIES[number], ring)
        found.append(city)
        for place, part in enumerate(partition.divide(ring, [1.0, 0.8, 1.2], depth=6, rough=0.12)):
            name = names.COUNTIES[3 * number + place]
            found.append(Division(f"{city.code}{place + 1:02d}", "county", city.code, name, part))
    return sorted(found, key=lambda d: (len(d.code), d.code))


def _outline(partition: Partition) -> list[int]:
    """An irregular closed line around the centre, as a ring."""
    random = partition.random
    while True:
        corners: list[Point] = []
        for i in range(CORNERS):
            angle = 2 * math.pi * (i + random.uniform(-0.3, 0.3)) / CORNERS
            reach = random.uniform(0.88, 1.0)
            corners.append((CENTRE[0] + HALF[0] * reach * math.cos(angle), CENTRE[1] + HALF[1] * reach * math.sin(angle)))
        line: list[Point] = []
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            line += [a, *wander(random, a, b, 6, 0.11)]
        if shapely.Polygon(line).is_valid:
            break
    vertices = [partition.planar.vertex(p) for p in line]
    return partition.planar.path([*vertices, vertices[0]])


def _towns(random: Random, outline: shapely.Polygon) -> list[Town]:
    """A county's seat, near its middle, and its townships, well inside."""
    inside = outline.buffer(-4000)
    x, y = shapely.get_coordinates(outline.representative_point())[0]
    found = [Town(names.place(random), float(x), float(y), SEAT)]
    minx, miny, maxx, maxy = inside.bounds
    while len(found) < 1 + TOWNSHIPS:
        x, y = random.uniform(minx, maxx), random.uniform(miny, maxy)
        apart = min(math.hypot(x - t.x, y - t.y) for t in found)
        if apart > 5000 and inside.contains(shapely.Point(x, y)):
            found.append(Town(names.place(random), x, y, 1))
    return found


def _fill(
    province: Province,
    partition: Partition,
    outlines: list[shapely.Polygon],
    count: int,
    random: np.random.Generator,
    progress: Callable[[int], object],
) -> None:
    """Cut the counties into `count` parcels, as many in each as seeds fall into it."""
    seeds = _seeds(province, outlines, count, random)
    within = [shapely.contains_xy(o, seeds[:, 0], seeds[:, 1]) for o in outlines]
    rings = array("i")
    sizes = array("i")
    made = []
    for county, inside in zip(province.counties, within, strict=True):
        before = len(sizes)
        # What lies on a border and so in no county is made up for below.
        for ring in partition.parcels(county.ring, max(1, int(inside.sum())), seeds[inside]):
            rings.extend(ring)
            sizes.append(len(ring))
            progress(1)
        made.append(len(sizes) - before)
    if len(sizes) != count:
        raise RuntimeError(f"{len(sizes)} parcels instead of {count}: try another seed")
    corners = array("i")
    offsets = array("q", [0])
    start = 0
    for size in sizes:
        corners.extend(province.planar.vertices(province.planar.whole(rings[start : start + size])))
        offsets.append(len(corners))
        start += size
    province.corners = np.frombuffer(corners, dtype=np.int32)
    province.offsets = np.frombuffer(offsets, dtype=np.int64)
    province.county = np.repeat(np.arange(len(made), dtype=np.int8), made)


def _seeds(province: Province, outlines: list[shapely.Polygon], count: int, random: np.random.Generator) -> Seeds:
    """Places (count, 2) inside the province: close to each other in towns, spread over the country elsewhere."""
    whole = shapely.Polygon(province.points(province.outline(province.divisions[0])))
    shapely.prepare(whole)
    shapely.prepare(outlines)
    towns = [t for c in province.counties for t in province.towns[c.code]]
    each = IN_TOWNS * count / sum(t.weight for t in towns)
    parts = []
    for town in towns:
        number = round(each * town.weight)
        # A normal cloud of deviation s has its densest place at one of 2π·s² square metres: here 1,400 m² a parcel.
        reach = 15.0 * math.sqrt(number) * np.where(random.random((number, 1)) < 0.7, 1.0, 3.0)
        parts.append(np.array([town.x, town.y]) + reach * random.standard_normal((number, 2)))
    seeds = np.concatenate(parts)
    minx, miny, maxx, maxy = whole.bounds
    while len(seeds) < count:
        more = random.uniform((minx, miny), (maxx, maxy), (count, 2))
        seeds = np.concatenate([seeds, more])
        seeds = seeds[shapely.contains_xy(whole, seeds[:, 0], seeds[:, 1])]
    return seeds[:count]


def _plant(province: Province, partition: Partition) -> None:
    """Move one bend of a border between two large parcels to where the snap grid alone would give it away.

    It comes to lie 9 m east and north of a node of the 20 m grid, where no other vertex does.
    """
    bends = np.frombuffer(partition.bends, dtype=np.int32)
    far = np.hypot(*(province.points(bends) - np.array(CENTRE)).T)
    planar = province.planar
    for vertex in bends[np.argsort(far, kind="stable")]:
        meeting = np.searchsorted(province.offsets, np.flatnonzero(province.corners == vertex), side="right") - 1
        if len(meeting) != 2 or province.county[meeting[0]] != province.county[meeting[1]]:
            continue
        at = planar.x[vertex], planar.y[vertex]
        for axis in (planar.x, planar.y):
            axis[vertex] = SNAP * math.floor(axis[vertex] / SNAP) + PLANTED
        if all(province.polygons(i, i + 1)[0].buffer(-30).area > 20_000 for i in meeting.tolist()) and all(
            province.polygons(i, i + 1)[0].is_valid for i in meeting.tolist()
        ):
            province.planted = tuple(sorted(meeting.tolist()))
            return
        planar.x[vertex], planar.y[vertex] = at
    raise RuntimeError("no border has a bend that can be moved: try another seed")
