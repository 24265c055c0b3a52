"""What the rows of the point layers inside the province are: landslides, mineral occurrences, rain gauges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import shapely

from data_samples import names
from data_samples.areas import Row
from data_samples.province import Division, Province, relief
from data_samples.tables import PROJECTED
from providers.engines.layers import blobs

LANDSLIDES, MINERALS, GAUGES = 800, 150, 12

# Cruden and Varnes (1996): kinds of movement, with how often each is met.
_MOVEMENTS = {"slide": 0.58, "fall": 0.17, "flow": 0.15, "topple": 0.06, "spread": 0.04}
_SLOPES = (
    ("后山", "behind"),
    ("东坡", "on the east slope above"),
    ("公路内侧", "by the road through"),
    ("河岸", "on the river bank at"),
)
_COMMODITIES = (
    ("gold", "金", 0.6, 9.0, "g/t"), ("copper", "铜", 0.3, 2.5, "%"), ("lead-zinc", "铅锌", 2.0, 12.0, "%"),
    ("iron", "铁", 22.0, 58.0, "%"), ("tungsten", "钨", 0.12, 0.9, "%"), ("fluorite", "萤石", 25.0, 70.0, "%"),
    ("phosphate", "磷", 12.0, 32.0, "%"), ("limestone", "石灰岩", 48.0, 55.0, "%"),
)  # fmt: skip


class _Finder:
    """Draws places inside the province and says in which county each lies."""

    def __init__(self, province: Province, random: Random) -> None:
        self.random = random
        self.counties = [(c, shapely.Polygon(province.points(province.outline(c)))) for c in province.counties]
        for _, outline in self.counties:
            shapely.prepare(outline)

    def steep(self) -> tuple[Division, float, float]:
        """A place (county, easting, northing), the likelier the steeper the land."""
        boxes = shapely.total_bounds([o for _, o in self.counties])
        while True:
            x, y = round(self.random.uniform(boxes[0], boxes[2]), 2), round(self.random.uniform(boxes[1], boxes[3]), 2)
            if self.random.random() > 0.05 + relief(x, y):
                continue
            for county, outline in self.counties:
                if shapely.contains_xy(outline, x, y):
                    return county, x, y


def landslide_rows(province: Province, seed: int) -> Iterator[Row]:
    """800 events of six decades, most in the rainy season.

    They are numbered in no order of time, so that an id does not tell the date where only the year is let out.
    """
    random = Random(f"{seed} landslides")
    finder = _Finder(province, random)
    days: list[datetime] = []
    while len(days) < LANDSLIDES:
        day = datetime(1965, 1, 1, tzinfo=UTC) + timedelta(days=random.randrange(60 * 365))
        if random.random() < (1.0 if 5 <= day.month <= 9 else 0.2):
            days.append(day)
    for number, day in enumerate(days, start=1):
        county, x, y = finder.steep()
        town = min(province.towns[county.code], key=lambda t: math.hypot(t.x - x, t.y - y))
        village, group, (slope, slope_en) = names.place(random), random.randint(1, 9), random.choice(_SLOPES)
        place = (
            f"{county.name.zh}{town.name.zh}镇{village.zh}村{group}组{slope} / {slope_en} group {group},"
            f" {village.en} Village, {town.name.en} Town, {county.name.en}"
        )
        yield (
            *blobs([shapely.Point(x, y)], PROJECTED),
            f"LS-{number:04d}",
            f"{day:%Y-%m-%d}",
            random.choices(list(_MOVEMENTS), list(_MOVEMENTS.values()))[0],
            float(round(random.lognormvariate(8.5, 1.8), -1)),
            place,
            names.informant(number, random),
            county.code,
        )


def mineral_rows(province: Province, seed: int) -> Iterator[Row]:
    """150 occurrences, most in the mountains."""
    random = Random(f"{seed} minerals")
    finder = _Finder(province, random)
    for number in range(1, MINERALS + 1):
        county, x, y = finder.steep()
        commodity, zh, low, high, unit = random.choice(_COMMODITIES)
        name = names.place(random)
        yield (
            *blobs([shapely.Point(x, y)], PROJECTED),
            f"MO-{number:04d}",
            commodity,
            f"{name.zh}{zh}矿点",
            f"{name.en} {commodity} occurrence",
            f"{random.uniform(low, high):.2f} {unit}",
            round(random.lognormvariate(5.0, 1.6), 1),
            county.code,
        )


def gauge_rows(province: Province, seed: int) -> Iterator[Row]:
    """12 gauges: one near the seat of every county, the others at the first townships of the first counties."""
    random = Random(f"{seed} gauges")
    sites = [(c, province.towns[c.code][0]) for c in province.counties]
    sites += [(c, province.towns[c.code][1]) for c in province.counties[: GAUGES - len(sites)]]
    for number, (county, town) in enumerate(sites, start=1):
        x, y = round(town.x + random.uniform(-900, 900), 2), round(town.y + random.uniform(-900, 900), 2)
        since = datetime(1955, 1, 1, tzinfo=UTC) + timedelta(days=random.randrange(55 * 365))
        yield (
            *blobs([shapely.Point(x, y)], PROJECTED),
            f"RG-{number:02d}",
            f"{town.name.zh}雨量站",
            f"{town.name.en} rain gauge",
            round(25 + 1450 * float(relief(x, y)) ** 1.5, 1),
            f"{since:%Y-%m-%d}",
            county.code,
        )
