"""What the sample holds that a caller may not see: values, places and names, and how they are looked for in an answer."""

from __future__ import annotations

import gzip
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

import numpy as np
from pyproj import Transformer
from werkzeug.test import TestResponse

from data_samples import Canaries, canaries
from tests.conftest import House
from tests.security.callers import COUNTY, tier_of

# a place counts as shown where two numbers side by side lie this near to it, in metres; planted is 12.7 m off its node
NEAR = 8.0
_TEXTS = {
    "parcels": ("certificate", "owner", "updated"),
    "landslides": ("informant",),
    "minerals": ("occurrence_id",),
}
_DATES = "SELECT date FROM landslides EXCEPT SELECT opened FROM stations EXCEPT SELECT since FROM gauges"
_ZONE = Transformer.from_crs("OGC:CRS84", "EPSG:4547", always_xy=True)
_PIECES = re.compile(r'[^<>",\n\r\t&]+')
_PAIRS = re.compile(r"(?<![\d.])(\d{2,7}(?:\.\d+)?)[,\s]\s*(\d{2,7}(?:\.\d+)?)(?![\d])")


@dataclass(frozen=True)
class Held:
    """All of the sample's secrets."""

    house: House

    def column(self, sql: str) -> frozenset[str]:
        with closing(sqlite3.connect(self.house.directory / "data" / "province.gpkg")) as conn:
            return frozenset(str(row[0]) for row in conn.execute(sql) if row[0] is not None)

    @cached_property
    def canaries(self) -> Canaries:
        return canaries(self.house.directory / "data" / "province.gpkg")

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset(key.partition(".")[2] for key in self.house.keys.values())

    @cached_property
    def identities(self) -> frozenset[str]:
        return self.column("SELECT identity FROM parcels")

    def values(self, caller: str | None, tier: str) -> frozenset[str]:
        """Texts that a caller may not get through a tier, each long enough to occur by no accident."""
        inside = tier == "internal"
        others = "1" if not inside else f"division <> '{COUNTY}'" if caller == "internal-county" else "0"
        beyond = others + " EXCEPT SELECT {0} FROM {1} WHERE NOT (" + others + ")"  # names occur twice
        hidden = [
            f"SELECT {column} FROM {table} WHERE {beyond.format(column, table)}"
            for table, columns in _TEXTS.items()
            for column in columns
        ]
        agreed = tier == "shared" and caller == "shared"
        if not agreed:
            hidden.append(f"SELECT parcel_id FROM parcels WHERE status <> 'registered' AND {others}")
            hidden.append(f"SELECT area_m2 FROM parcels WHERE area_m2 <> round(area_m2, 1) AND {others}")
        if not inside:
            hidden.append("SELECT area_ha FROM parcels WHERE area_ha <> round(area_ha, 3)")
        if tier == "open":
            hidden += ["SELECT place FROM landslides", _DATES]
        return frozenset(self.identities.union(*map(self.column, hidden)))

    @cached_property
    def columns(self) -> dict[str, frozenset[str]]:
        """Names, and the titles that the configuration gives them, that no answer of a tier has."""
        nobody = frozenset({"identity", "identity number", "证件号"})
        inside = nobody | {"certificate", "informant", "reserves_kt", "Certificate number", "Informant", "报告人"}
        return {
            "internal": nobody,
            "shared": inside,
            "open": inside | {"owner", "Owner", "权利人", "volume_m3", "详细地点", "area_m2", "landuse_en"},
        }

    def places(self, caller: str | None, tier: str) -> list[tuple[float, float]]:
        """Easting and northing of what a caller may not be shown more nearly than its grid through a tier."""
        if tier == "internal" and caller != "internal-county":
            return []
        exact = tier == "shared" and caller == "shared"
        return [] if exact else [self.canaries["vertex"]]


def seen(answer: TestResponse) -> str:
    """Body, decoded, and headers of an answer, as one text."""
    body = gzip.decompress(answer.data) if answer.headers.get("Content-Encoding") == "gzip" else answer.data
    heads = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    return heads + "\n" + body.decode("utf-8", "replace")


def leaks(held: Held, caller: str | None, tier: str, path: str, text: str) -> list[str]:
    """What is in a text and may not be; what the request itself sent does not count."""
    asked = unquote(path)
    pieces = {piece.strip() for piece in _PIECES.findall(text)}
    pieces |= {piece.strip(" :;'[](){}") for piece in pieces}
    pieces |= {word for piece in pieces for word in re.split(r"[\s:\[\]]+", piece)}
    found = [value for value in pieces & _values(held, caller, tier) if value not in asked]
    found += [key for key in held.keys if key in text]
    if tier == "open":
        planted = (held.canaries["identity"], held.canaries["certificate"], held.canaries["informant"])
        found += [value for value in planted if value in text and value not in asked]
    found += [name for name in held.columns[tier] if re.search(rf"(?<![\w-]){name}(?![\w-])", text) and name not in asked]
    places = [place for place in held.places(caller, tier) if not _shows(asked, place)]
    return found + [f"{place}" for place in places if _shows(text, place)]


_kept: dict[tuple[House | str, str | None, str], frozenset[str]] = {}


def _values(held: Held, caller: str | None, tier: str) -> frozenset[str]:
    key = (str(held.house.directory), caller, tier)
    if key not in _kept:
        _kept[key] = held.values(caller, tier)
    return _kept[key]


def _shows(text: str, place: tuple[float, float]) -> bool:
    """Whether two numbers that stand side by side name a place: in metres or degrees, in either order."""
    numbers = np.array([(float(a), float(b)) for a, b in _PAIRS.findall(text)])
    if not len(numbers):
        return False
    both = np.vstack([numbers, numbers[:, ::-1]])
    degrees = both[(both[:, 0] > 90) & (both[:, 0] <= 180) & (both[:, 1] < 90)]
    metres = both[(both[:, 0] > 1e5) & (both[:, 1] > 1e6)]
    if len(degrees):
        metres = np.vstack([metres, np.column_stack(_ZONE.transform(degrees[:, 0], degrees[:, 1]))])
    return bool(len(metres)) and bool((np.hypot(*(metres - place).T) < NEAR).any())


def tier_through(caller: str | None, prefix: str) -> str:
    """The tier that a caller looks through under a prefix."""
    return prefix.removeprefix("/") or tier_of(caller)
