"""How an area is cut into smaller ones: lines across it, straight or irregular, until there are as many as wanted.

A cut is a piece of a straight line inside the area, so that two simple areas come of one. It may then be made
irregular, where both sides stay simple. As every border is an edge that both sides share (`topology`), and every ring
is simple and counter-clockwise, the areas tile what they were cut from, without overlap or gap.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import shapely

from data_samples.topology import Planar, Point

LEAST_AREA = 240.0  # m², of one parcel
LEAST_SHARE = 450.0  # m² a parcel, of an area that is still to be cut
# A simple ring's inscribed circle has at least the radius area / perimeter (Bonnesen): a parcel is 5 m wide or more.
LEAST_RADIUS = 2.5  # m
LEAST_EDGE = 2.0  # m, from a new vertex to the ends of the edge it lies on
COMPACT = 0.35  # 4π·area / perimeter², below which other cuts are tried first
TRIES = 12
FEW = 8  # from here down land is shared by area, not by the density of the seeds

Seeds = Any  # (n, 2) array of eastings and northings


@dataclass(frozen=True, slots=True)
class Shape:
    """What a cut is laid by: area (m²), centroid (m), principal axis (radians), standard deviation along it (m)."""

    area: float
    x: float
    y: float
    angle: float
    spread: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A line from edge `i` to edge `j` (i < j) of a ring, and the areas (m²) of its sides.

    The `near` side's ring follows the old one from i to j, the `far` side's from j round to i.
    """

    i: int
    j: int
    points: list[Point]
    near: float
    far: float
    compact: float

    def near_is_low(self, angle: float) -> bool:
        """Whether the near side has the lower coordinates along `angle`. It lies to the right of the cut."""
        (ax, ay), (bx, by) = self.points[0], self.points[-1]
        return (by - ay) * math.cos(angle) - (bx - ax) * math.sin(angle) < 0

    def areas(self, angle: float) -> tuple[float, float]:
        """The areas of the low and the high side along `angle`."""
        return (self.near, self.far) if self.near_is_low(angle) else (self.far, self.near)


def measure(ring: list[Point]) -> Shape:
    """Area, centroid and principal axis of a counter-clockwise ring, by Green's theorem."""
    ox, oy = ring[0]
    x0, y0 = ring[-1][0] - ox, ring[-1][1] - oy
    a = sx = sy = sxx = syy = sxy = 0.0
    for px, py in ring:
        x1, y1 = px - ox, py - oy
        w = x0 * y1 - x1 * y0
        a += w
        sx += (x0 + x1) * w
        sy += (y0 + y1) * w
        sxx += (x0 * x0 + x0 * x1 + x1 * x1) * w
        syy += (y0 * y0 + y0 * y1 + y1 * y1) * w
        sxy += (x0 * y1 + 2 * x0 * y0 + 2 * x1 * y1 + x1 * y0) * w
        x0, y0 = x1, y1
    cx, cy = sx / (3 * a), sy / (3 * a)
    vxx, vyy, vxy = sxx / (6 * a) - cx * cx, syy / (6 * a) - cy * cy, sxy / (12 * a) - cx * cy
    angle = 0.5 * math.atan2(2 * vxy, vxx - vyy)
    most = (vxx + vyy) / 2 + math.hypot((vxx - vyy) / 2, vxy)
    return Shape(a / 2, ox + cx, oy + cy, angle, math.sqrt(max(most, 0.0)))


def extent(ring: list[Point]) -> tuple[float, float]:
    """Area (m², positive when counter-clockwise) and perimeter (m) of a ring."""
    ox, oy = ring[0]
    x0, y0 = ring[-1][0] - ox, ring[-1][1] - oy
    area = length = 0.0
    for px, py in ring:
        x1, y1 = px - ox, py - oy
        area += x0 * y1 - x1 * y0
        length += math.hypot(x1 - x0, y1 - y0)
        x0, y0 = x1, y1
    return area / 2, length


def wander(random: Random, a: Point, b: Point, depth: int, rough: float) -> list[Point]:
    """The points between a and b of a line made irregular by midpoint displacement: 2^depth - 1 of them.

    Each midpoint goes sideways by a normal deviate of `rough` times the length, cut at two deviations.
    """
    if depth == 0:
        return []
    dx, dy = b[0] - a[0], b[1] - a[1]
    off = rough * max(-2.0, min(2.0, random.gauss(0.0, 1.0)))
    middle = (round((a[0] + b[0]) / 2 - dy * off, 3), round((a[1] + b[1]) / 2 + dx * off, 3))
    return [*wander(random, a, middle, depth - 1, rough), middle, *wander(random, middle, b, depth - 1, rough)]


class Partition:
    """Cuts areas of one `Planar`, with one source of random numbers."""

    def __init__(self, planar: Planar, random: Random) -> None:
        self.planar = planar
        self.random = random
        self.bends = array("i")  # vertices within irregular cuts, where just two areas meet
        self._owed = 0

    def points(self, ring: list[int]) -> list[Point]:
        """The coordinates along a ring of whole edges."""
        x, y = self.planar.x, self.planar.y
        return [(x[v], y[v]) for v in self.planar.vertices(ring)]

    def divide(self, ring: list[int], shares: list[float], depth: int, rough: float) -> list[list[int]]:
        """Cut a large area into as many parts as there are shares (of its area), with irregular borders.

        `depth` and `rough` are those of `wander`. Raises RuntimeError when no cut fits.
        """
        parts = []
        while len(shares) > 1:
            ring = self.planar.whole(ring)
            points = self.points(ring)
            shape = measure(points)
            wanted = shares[0] / sum(shares)
            for attempt in range(200):
                angle = shape.angle + self.random.gauss(0, 0.1 + attempt / 100)
                offset = (wanted - 0.5) * shape.spread * 3.4 * self.random.uniform(0.9, 1.1)
                cut = self._bent(points, self._straight(points, shape, angle, offset), depth, rough)
                if cut is None:
                    continue
                low, high = cut.areas(angle)
                if min(low / wanted, high / (1 - wanted)) > 0.85 * shape.area and cut.compact > 0.1:
                    break
            else:
                raise RuntimeError("no border fits: try another seed")
            part, ring = self._ordered(ring, cut, angle)
            parts.append(part)
            shares = shares[1:]
        return [*parts, ring]

    def parcels(self, ring: list[int], count: int, seeds: Seeds) -> Iterator[list[int]]:
        """Cut an area into `count` parcels, smaller where the seeds are dense; gives their rings, neighbours close by.

        What cannot be cut as often as wanted gives its count to what comes next; `owed` tells what is left over.
        """
        stack = [(ring, count, seeds)]
        while stack:
            ring, count, seeds = stack.pop()
            ring = self.planar.whole(ring)
            if count == 1 and not self._owed:
                yield ring
                continue
            points = self.points(ring)
            shape = measure(points)
            more = min(self._owed, max(0, int(shape.area / (8 * LEAST_SHARE)) - count))
            self._owed -= more
            count += more
            found = self._share(points, shape, count, seeds) if count > 1 else None
            if found is None:
                self._owed += count - 1
                yield ring
                continue
            cut, angle, few = found
            low, high = self._ordered(ring, cut, angle)
            if count < FEW:
                low_seeds = high_seeds = seeds
            else:
                side = self._side(cut, angle, seeds)
                low_seeds, high_seeds = seeds[side], seeds[~side]
            stack.append((high, count - few, high_seeds))
            stack.append((low, few, low_seeds))

    @property
    def owed(self) -> int:
        """How many parcels are still to be made."""
        return self._owed

    # --- choosing a cut ---

    def _share(self, points: list[Point], shape: Shape, count: int, seeds: Seeds) -> tuple[Cut, float, int] | None:
        """A cut, its angle, and how many of the `count` parcels lie on its low side; None when nothing fits."""
        best: tuple[Cut, float, int] | None = None
        for attempt in range(TRIES):
            angle = shape.angle + self.random.gauss(0.0, 0.12 + 0.06 * attempt)
            offset = self.random.uniform(-0.5, 0.5) * shape.spread
            cut = self._straight(points, shape, angle, offset)
            if cut is None:
                continue
            few = self._count(cut, angle, count, seeds)
            if few is None or (best and best[0].compact >= cut.compact):
                continue
            best = cut, angle, few
            if cut.compact >= COMPACT:
                break
        if best is None:
            return None
        cut, angle, few = best
        length = math.dist(cut.points[0], cut.points[-1])
        depth = min(2, int(math.log2(length / 200))) if length > 400 else int(length > 220)
        bent = self._bent(points, cut, depth, 0.07) if depth else None
        if bent and self._fits(bent, angle, few, count):
            cut = bent
        return cut, angle, few

    def _count(self, cut: Cut, angle: float, count: int, seeds: Seeds) -> int | None:
        low, high = cut.areas(angle)
        part = low / (low + high)
        if count >= FEW and len(seeds):
            part = float(np.count_nonzero(self._side(cut, angle, seeds))) / len(seeds)
        least = max(1, count - int(high / LEAST_SHARE))
        most = max(1, min(count - 1, int(low / LEAST_SHARE)))
        few = min(max(round(part * count), least), most)
        return few if self._fits(cut, angle, few, count) else None

    @staticmethod
    def _fits(cut: Cut, angle: float, few: int, count: int) -> bool:
        def enough(area: float, number: int) -> bool:
            return area >= (LEAST_AREA if number == 1 else LEAST_SHARE * number)

        low, high = cut.areas(angle)
        return enough(low, few) and enough(high, count - few)

    @staticmethod
    def _side(cut: Cut, angle: float, seeds: Seeds) -> Any:
        ux, uy = math.cos(angle), math.sin(angle)
        x, y = cut.points[0]
        return seeds[:, 0] * ux + seeds[:, 1] * uy < x * ux + y * uy

    # --- making a cut ---

    @staticmethod
    def _straight(points: list[Point], shape: Shape, angle: float, offset: float) -> Cut | None:
        """A line at right angles to `angle`, `offset` metres from the centroid: its longest piece inside the ring."""
        ux, uy = math.cos(angle), math.sin(angle)
        level = shape.x * ux + shape.y * uy + offset
        hits = []
        last = len(points) - 1
        px, py = points[last]
        before = px * ux + py * uy - level
        for i, (x, y) in enumerate(points):
            after = x * ux + y * uy - level
            if (before < 0) != (after < 0):
                s = before / (before - after)
                hx, hy = px + s * (x - px), py + s * (y - py)
                length = math.hypot(x - px, y - py)
                near = min(s, 1 - s) * length < LEAST_EDGE
                hits.append((hy * ux - hx * uy, (i or last + 1) - 1, (round(hx, 3), round(hy, 3)), near))
            px, py, before = x, y, after
        hits.sort()
        if len(hits) < 2 or len(hits) % 2:
            return None
        _, a, b = max((hits[k + 1][0] - hits[k][0], hits[k], hits[k + 1]) for k in range(0, len(hits), 2))
        if a[3] or b[3]:
            return None
        if a[1] > b[1]:
            a, b = b, a
        return _measured(points, a[1], b[1], [a[2], b[2]])

    def _bent(self, points: list[Point], cut: Cut | None, depth: int, rough: float) -> Cut | None:
        """The cut made irregular, or None where a side would no longer be simple."""
        if cut is None:
            return None
        a, b = cut.points
        bent = _measured(points, cut.i, cut.j, [a, *wander(self.random, a, b, depth, rough), b])
        if bent is None:
            return None
        near, far = _sides(points, bent.i, bent.j, bent.points)
        return bent if shapely.Polygon(near).is_valid and shapely.Polygon(far).is_valid else None

    def _ordered(self, ring: list[int], cut: Cut, angle: float) -> tuple[list[int], list[int]]:
        """Make the cut; gives the rings of its two sides, the one with the lower coordinate along `angle` first."""
        planar = self.planar
        numbers = [planar.vertex(p) for p in cut.points]
        self.bends.extend(numbers[1:-1])
        first_i, second_i = planar.split(ring[cut.i], numbers[0])
        first_j, second_j = planar.split(ring[cut.j], numbers[-1])
        line = planar.path(numbers)
        near = [second_i, *ring[cut.i + 1 : cut.j], first_j, *(~e for e in reversed(line))]
        far = [second_j, *ring[cut.j + 1 :], *ring[: cut.i], first_i, *line]
        return (near, far) if cut.near_is_low(angle) else (far, near)


def _sides(points: list[Point], i: int, j: int, line: list[Point]) -> tuple[list[Point], list[Point]]:
    return [*points[i + 1 : j + 1], *line[::-1]], [*points[j + 1 :], *points[: i + 1], *line]


def _measured(points: list[Point], i: int, j: int, line: list[Point]) -> Cut | None:
    """The cut with its areas, or None where a side would be too narrow."""
    near, far = (extent(side) for side in _sides(points, i, j, line))
    if min(near[0] - LEAST_RADIUS * near[1], far[0] - LEAST_RADIUS * far[1]) < 0:
        return None
    compact = 4 * math.pi * min(near[0] / near[1] ** 2, far[0] / far[1] ** 2)
    return Cut(i, j, line, near[0], far[0], compact)
