"""Does each predicate of CQL2's own test-data tables (21-065r2, Annex A) count what the standard says, in both encodings?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import cql2
import fiona
import pytest

from tests.conformance.conftest import site_of
from tests.conformance.sites import GEOJSON, Layer
from tests.conformance.test_part3 import CQL2
from tests.conftest import House
from tests.needs import reference

PACKAGE = "ne110m4cql2.gpkg"
# The columns of each layer that the predicates name, and the geometry, are open to everyone.
ACCESS = """
access:
  open: {properties: [%s], because: test data of the standard}
  internal: {properties: [%s], actions: [read], because: test data of the standard}
"""
COUNTS = {
    "ne_110m_admin_0_countries": 177,
    "ne_110m_populated_places_simple": 243,
    "ne_110m_rivers_lake_centerlines": 13,
}


# The classes whose every row must count; whoever declares another one adds it here.
CLASSES = (
    "basic-cql2",
    "advanced-comparison-operators",
    "case-insensitive-comparison",
    "basic-spatial-functions",
    "basic-spatial-functions-plus",
    "temporal-functions",
    "arithmetic",
)


@dataclass(frozen=True)
class Predicate:
    """A row of the tables."""

    cls: str
    collection: str
    filter: str
    expected: int


def table() -> list[Predicate]:
    return [Predicate(**row) for row in json.loads(reference("cql2", "predicates.json").read_text())]


PREDICATES = [row for row in table() if row.cls in CLASSES]


@pytest.fixture(scope="module")
def natural_earth(empty: Callable[[], House]) -> dict[tuple[str, str], Layer]:
    """The three layers, loaded by `tierra load` and approved, by tier and name."""
    file = reference("cql2", PACKAGE)
    house = empty()
    key = house.tierra("key", "add", "--tier", "internal", "--level", "nation", "--role", "approver").split()[0]
    for name in COUNTS:
        house.tierra("load", str(file), "--collection", name, "--layer", name)
        columns = ", ".join(f'"{column}"' for column in columns_of(house, name))
        house.rewrite(name, lambda text, columns=columns: text + ACCESS % (columns, columns))  # type: ignore[misc]
        house.tierra("approve", name, "--by", key.partition(".")[0], "--because", "a test")
    sites = {"open": site_of(house, "open", None), "internal": site_of(house, "internal", key)}
    return {(tier, name): Layer(site, name) for tier, site in sites.items() for name in COUNTS}


def columns_of(house: House, name: str) -> list[str]:
    """The columns of a loaded layer, with the id that it was given."""
    with fiona.open(house.directory / "data" / f"{name}.gpkg", layer=name) as rows:
        return list(rows.schema["properties"])


@pytest.mark.parametrize("tier", ["open", "internal"])
@pytest.mark.parametrize("name,count", COUNTS.items())
def test_everything_is_loaded(natural_earth: dict[tuple[str, str], Layer], tier: str, name: str, count: int) -> None:
    """The test data are whole: as many rows as the standard's tables say."""
    assert len(natural_earth[tier, name].all_ids) == count


@pytest.mark.parametrize("tier", ["open", "internal"])
@pytest.mark.parametrize("lang", ["cql2-text", "cql2-json"])
@pytest.mark.parametrize("row", PREDICATES, ids=lambda row: f"{row.cls}: {row.filter}")
def test_predicates(natural_earth: dict[tuple[str, str], Layer], row: Predicate, lang: str, tier: str) -> None:
    """Each predicate of a class that is declared counts exactly."""
    layer = natural_earth[tier, row.collection]
    expression = row.filter if lang == "cql2-text" else json.dumps(cql2.parse_text(row.filter).to_json())
    answer = layer.ask(filter=expression, filter_lang=lang, limit=1)
    assert (answer.status, answer.media) == (200, GEOJSON), answer.body[:300]
    assert answer.json["numberMatched"] == row.expected


def test_every_class_that_is_declared_is_tested(natural_earth: dict[tuple[str, str], Layer]) -> None:
    """The rows above are those of all classes that are declared and have rows, and there are some for each."""
    for layer in natural_earth.values():
        declared = {uri.removeprefix(CQL2) for uri in layer.site.conforms_to if uri.startswith(CQL2)}
        assert declared - {"cql2-text", "cql2-json"} == set(CLASSES)
    assert {row.cls for row in PREDICATES} == set(CLASSES)
