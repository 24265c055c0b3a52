"""What the rows of the world-wide point layer are: a partner network's seismic stations, some where boxes are hard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import shapely

from data_samples import names
from data_samples.areas import Row
from data_samples.tables import GEOGRAPHIC
from providers.engines.layers import blobs

STATIONS = 60

# Longitude, latitude. Features in the boxes that the OGC's suite for Features asks for, on both sides of the
# antimeridian, and beyond the latitude where Web Mercator ends.
_PLACED = (
    (-1.21, 51.48), (0.35, 52.27), (1.12, 50.84),
    (-78.46, -0.22), (-71.9, 3.15), (-75.53, -3.71),
    (177.52, 65.71), (179.2, 68.9), (-179.31, 66.05), (-177.84, 69.42),
    (179.985, -16.63), (-179.974, -18.21), (179.52, 51.41), (-179.63, -44.02), (180.0, -30.5),
    (12.4, 85.62), (-101.25, 87.3), (160.0, 89.1),
    (-45.0, -85.4), (94.71, -86.95), (-170.02, -89.6),
)  # fmt: skip


def station_rows(seed: int) -> Iterator[Row]:
    """60 stations: those that are placed, and others evenly over the globe."""
    random = Random(f"{seed} stations")
    places = list(_PLACED)
    while len(places) < STATIONS:
        # Evenly on the sphere: the sine of latitude is uniform.
        latitude = math.degrees(math.asin(random.uniform(-0.99, 0.99)))
        places.append((round(random.uniform(-180, 180), 4), round(latitude, 4)))
    for number, (longitude, latitude) in enumerate(places, start=1):
        name = names.place(random)
        opened = datetime(1962, 1, 1, tzinfo=UTC) + timedelta(days=random.randrange(58 * 365))
        network = "polar" if abs(latitude) > 66.5 else "island" if abs(longitude) > 150 else "continental"
        yield (
            *blobs([shapely.Point(longitude, latitude)], GEOGRAPHIC),
            f"SPN{number:03d}",
            f"{name.zh}地震台",
            f"{name.en} Seismic Station",
            network,
            round(random.lognormvariate(5.5, 1.2), 1),
            f"{opened:%Y-%m-%d}",
        )
