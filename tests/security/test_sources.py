"""What is approved is data, not a name; what an agreement narrows tells nothing of the rest; a clip knows its areas."""

from __future__ import annotations

from contextlib import closing

import pytest

from providers.engines import layers
from tests.conftest import House
from tests.security.callers import key_id
from tests.security.test_policy import ITEMS, agree

STATIONS = "/collections/stations/items?limit=1"
GAUGES = "/collections/gauges/items?resulttype=hits"


def change(house: House, *statements: str) -> None:
    """Write straight to the source, past the server."""
    with closing(layers.open_package(house.directory / "data" / "province.gpkg")) as conn:
        conn.execute("BEGIN IMMEDIATE")
        for statement in statements:
            conn.execute(statement)
        conn.execute("COMMIT")


def copied(house: House, table: str, new: str, where: str = "1") -> None:
    """Another table of the same columns in the same file."""
    with closing(layers.open_package(house.directory / "data" / "province.gpkg")) as conn:
        declared = conn.execute("SELECT sql FROM sqlite_master WHERE name=?", (table,)).fetchone()[0]
        columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
        conn.execute("BEGIN IMMEDIATE")
        conn.execute(declared.replace(f'"{table}"', f'"{new}"', 1))
        conn.execute(f"INSERT INTO {new} SELECT * FROM {table} WHERE {where}")
        for catalogue in ("gpkg_contents", "gpkg_geometry_columns"):
            names = [
                row[1] for row in conn.execute(f"PRAGMA table_info({catalogue})") if row[1] not in ("table_name", "identifier")
            ]
            kept = ", ".join(names)
            extra, value = (", identifier", f", '{new}'") if catalogue == "gpkg_contents" else ("", "")
            conn.execute(
                f"INSERT INTO {catalogue} (table_name{extra}, {kept}) SELECT '{new}'{value}, {kept} FROM {catalogue}"
                f" WHERE table_name='{table}'"
            )
        layers.track(conn, new)
        conn.execute("COMMIT")
    assert columns


def test_another_table_is_not_what_was_approved(fresh: House) -> None:
    assert fresh.get(STATIONS).status_code == 200
    copied(fresh, "stations", "unseen")
    change(fresh, "UPDATE unseen SET name_en = 'SECRET'")
    fresh.rewrite("stations", lambda text: text.replace("table: stations", "table: unseen"))
    assert fresh.get(STATIONS).status_code == 404
    fresh.tierra("editions", "build", "stations")
    assert fresh.get(STATIONS).status_code == 404
    assert "void" in fresh.tierra("check")
    fresh.tierra("approve", "stations", "--by", key_id(fresh, "approver"), "--because", "reviewed")
    assert "SECRET" in fresh.get(STATIONS).text


def test_another_id_or_crs_is_not_what_was_approved(fresh: House) -> None:
    fresh.rewrite("stations", lambda text: text.replace("id_field: station_id", "id_field: name_en"))
    assert fresh.get(STATIONS).status_code == 404
    fresh.rewrite("landslides", lambda text: text.replace("EPSG/0/4547", "EPSG/0/4546"))
    assert fresh.get("/collections/landslides/items").status_code == 404


def test_other_areas_of_the_same_age_are_another_clip(fresh: House) -> None:
    """Both tables are tracked from their first revision on: the count alone would not tell them apart."""
    fresh.rewrite("gauges", lambda text: text.replace("  open:\n", "  open:\n    clip: divisions\n", 1))
    approver = key_id(fresh, "approver")
    fresh.tierra("approve", "gauges", "--by", approver, "--because", "within the province")
    whole = fresh.json(GAUGES)["numberMatched"]
    copied(fresh, "divisions", "county", "code = '510101'")
    fresh.rewrite("divisions", lambda text: text.replace("table: divisions", "table: county"))
    assert fresh.get(GAUGES).status_code == 404, "the areas are part of what was approved"
    fresh.tierra("approve", "gauges", "--by", approver, "--because", "within one county")
    assert fresh.json(GAUGES)["numberMatched"] < whole


@pytest.mark.parametrize("narrow", [("--rows", "landuse = '01'"), ("--properties", "parcel_id,landuse")])
def test_a_narrowed_agreement_tells_nothing_of_the_rest(fresh: House, narrow: tuple[str, str]) -> None:
    agree(fresh, *narrow)
    before = fresh.get(f"{ITEMS}?limit=20", "department")
    change(fresh, "UPDATE parcels SET owner = 'Zz', area_m2 = area_m2 + 1 WHERE landuse <> '01'")
    fresh.tierra("editions", "build", "parcels")
    after = fresh.get(f"{ITEMS}?limit=20", "department")
    assert (after.data, after.headers["ETag"]) == (before.data, before.headers["ETag"])
    assert "Last-Modified" not in after.headers


@pytest.mark.parametrize("mask", ["year", "hash", "redact"])
def test_a_masked_time_is_no_time(fresh: House, mask: str) -> None:
    def masked(text: str) -> str:
        text = text.replace("area_m2, division, owner]\n", "area_m2, division, owner, updated]\n", 1)
        return text.replace("mask: {owner: initial}", f"mask: {{owner: initial, updated: {mask}}}")

    fresh.rewrite("parcels", masked)
    fresh.tierra("editions", "build", "parcels")
    agree(fresh, "--rows", "landuse = '01'")
    for path in ("/collections", "/collections/parcels", f"{ITEMS}?datetime=2020-01-01/..&limit=1"):
        assert fresh.get(path, "department").status_code == 200
    if mask != "redact":
        assert "temporal" not in fresh.json("/collections/parcels", "department").get("extent", {})


def test_an_agreement_keeps_the_id(fresh: House) -> None:
    with pytest.raises(AssertionError, match="parcel_id must be among"):
        agree(fresh, "--properties", "landuse")
