"""Whether what cannot be answered as the policy says is refused: at load, at request, and while an edition is stale."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from providers.engines.layers import open_package
from tests.conftest import House
from tests.security.callers import copy_of, key_id

PARCELS = "/collections/parcels"
ITEMS = f"{PARCELS}/items"
SECRETS = ("certificate", "identity", "informant", "owner", "sqlite", "Traceback", "province.gpkg", "SELECT")


def said_nothing(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text], text


def is_problem(house: House, path: str, caller: str | None, status: int) -> None:
    """Problem details, not to be stored, that say nothing of what is hidden."""
    answer = house.get(path, caller)
    assert answer.status_code == status, (path, answer.text[:300])
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert json.loads(answer.data)["status"] == status
    said_nothing(answer.text)


# at load

LOAD_ERRORS = [
    ("an unknown tier", "  open:\n    rows", "  Open:\n    rows"),
    ("an unknown key", "    rows: status", "    row: status"),
    ("an unknown column", "landuse, area_ha, division]", "landuse, area_ha, secret]"),
    ("a name in capitals", "landuse, area_ha, division]", "landuse, area_ha, Division]"),
    ("no properties", "    properties: [parcel_id, landuse, area_ha, division] ", "    clip: divisions #"),
    ("properties that are no list", "    properties: [parcel_id, landuse, area_ha, division] ", "    properties: all #"),
    ("properties that are null", "    properties: [parcel_id, landuse, area_ha, division] ", "    properties: #"),
    ("a bad expression", "rows: status = 'registered' ", "rows: status = 'registered' AND "),
    ("an expression over no column", "rows: status = 'registered' ", "rows: state = 'registered' "),
    ("an expression of another type", "rows: status = 'registered' ", "rows: status = 7 "),
    ("a mask of no kind", "{area_ha: {round: 1}}", "{area_ha: blur}"),
    ("a mask that does not fit", "{area_ha: {round: 1}}", "{area_ha: year}"),
    ("a mask of a property that is not let out", "{area_ha: {round: 1}}", "{area_m2: {round: 1}}"),
    ("a step of nothing", "{area_ha: {round: 1}}", "{area_ha: {round: 0}}"),
    ("a snap of nothing", "{snap: 20,", "{snap: 0,"),
    ("a snap of a text", "{snap: 20,", "{snap: far,"),
    ("an unknown way to coarsen", "{snap: 20,", "{blur: 20,"),
    ("a length in degrees", "crs: EPSG:4547}", "crs: EPSG:4490}"),
    ("an unknown clip collection", "    flow: on-publish ", "    clip: nowhere\n    flow: on-publish "),
    ("a clip collection that has no areas", "    flow: on-publish ", "    clip: gauges\n    flow: on-publish "),
    ("an unknown flow", "    flow: on-publish ", "    flow: at-once "),
    ("an unknown limit", "{items: 1000}", "{pages: 1000}"),
    ("a limit of nothing", "{items: 1000}", "{items: 0}"),
    ("a mode in open", "    flow: on-publish ", "    mode: conditional\n    flow: on-publish "),
    ("an unknown mode", "mode: conditional ", "mode: perhaps "),
    ("a mask inside the agency", "    under: {division: caller} ", "    mask: {owner: initial} "),
    ("a geometry inside the agency", "    under: {division: caller} ", "    geometry: {snap: 20} "),
    ("a clip inside the agency", "    under: {division: caller} ", "    clip: divisions "),
    ("under no column", "    under: {division: caller} ", "    under: {county: caller} "),
    ("under someone else", "    under: {division: caller} ", "    under: {division: anyone} "),
    ("an unknown action", "    actions: [read]", "    actions: [read, steal]"),
    ("a block that is null", "  shared:\n    mode: conditional ", "  shared:\n  spare: #"),
    ("an id that is not let out", "properties: [parcel_id, landuse, area_ha, division]", "properties: [landuse, division]"),
]  # fmt: skip


@pytest.fixture(scope="module")
def written(staffed: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house whose policy is written anew by each test."""
    return copy_of(staffed, tmp_path_factory.mktemp("written") / "house")


@pytest.mark.parametrize("before, after", [row[1:] for row in LOAD_ERRORS], ids=[row[0] for row in LOAD_ERRORS])
def test_wrong_policy_is_an_error_with_file_and_line(written: House, before: str, after: str) -> None:
    file = written.directory / "config" / "collections" / "parcels.yml"
    right = file.read_text()
    wrong = right.replace(before, after, 1)
    assert wrong != right
    changed = next(
        n for n, lines in enumerate(zip(right.splitlines(), wrong.splitlines(), strict=False), 1) if len(set(lines)) > 1
    )
    file.write_text(wrong)
    try:
        said = written.tierra("check", code=1)
    finally:
        file.write_text(right)
    lines = [int(found) for found in re.findall(rf"^{re.escape(str(file))}:(\d+): .", said, re.MULTILINE)]
    # the block's own line where the key is what is missing
    assert any(changed - 3 <= line <= changed + 1 for line in lines), (changed, said)


def test_wrong_policy_is_refused_and_the_former_one_stays(fresh: House) -> None:
    before = fresh.get(f"{ITEMS}?limit=20").data
    assert fresh.json("/health") == {"status": "ok"}
    fresh.rewrite("parcels", lambda text: text.replace("rows: status = 'registered' ", "rows: state = 'registered' "))
    for _ in range(2):
        assert fresh.get(f"{ITEMS}?limit=20").data == before
    assert fresh.json("/health") == {"status": "degraded"}
    assert fresh.json("/health", "shared") == {"status": "degraded"}
    assert fresh.json("/open/health", "approver") == {"status": "degraded"}
    told = fresh.json("/health", "internal-county")
    assert "parcels.yml" in told["configuration"][0]
    fresh.rewrite("parcels", lambda text: text.replace("rows: state = 'registered' ", "rows: status = 'registered' "))
    assert fresh.json("/health") == {"status": "ok"}


def test_server_does_not_start_with_a_wrong_policy(fresh: House) -> None:
    fresh.rewrite("parcels", lambda text: text.replace("{snap: 20,", "{snap: 0,"))
    assert "parcels.yml" in fresh.tierra("serve", code=1)


def test_no_access_is_no_grant(fresh: House) -> None:
    fresh.rewrite("gauges", lambda text: text[: text.index("access:")])
    for caller in (None, "shared", "internal-county", "approver"):
        assert fresh.get("/collections/gauges", caller).status_code == 404
    assert "nobody sees it" in fresh.tierra("check")


def test_no_actions_is_not_found_and_nothing_falls_through(fresh: House) -> None:
    fresh.rewrite("landslides", lambda text: text.replace("    actions: [read]", "    actions: []"))
    for path in ("", "/items", "/schema", "/items/LS-1950-0001"):
        assert fresh.get(f"/collections/landslides{path}", "internal-province").status_code == 404
    assert fresh.get("/shared/collections/landslides/items", "internal-province").status_code == 200
    assert fresh.get("/collections/landslides/items", "shared").status_code == 200
    fresh.rewrite("landslides", lambda text: text.replace("  shared:\n", "  shared:\n    actions: []\n"))
    assert fresh.get("/collections/landslides/items", "shared").status_code == 404
    assert fresh.get("/collections/landslides/items").status_code == 200


def test_no_properties_is_id_and_geometry_alone(fresh: House) -> None:
    fresh.rewrite("landslides", lambda text: re.sub(r"properties: \[.*\](  #.*)?\n( *mask.*\n)?", "properties: []\n", text))
    fresh.tierra("editions", "build", "landslides")
    fresh.tierra("approve", "landslides", "--by", key_id(fresh, "approver"), "--because", "places alone")
    for caller in (None, "shared", "internal-province"):
        page = fresh.json("/collections/landslides/items?limit=3", caller)
        for feature in page["features"]:
            assert feature["properties"] == {}
            assert feature["id"]
            assert feature["geometry"]["type"] == "Point"
        assert set(fresh.json("/collections/landslides/schema", caller)["properties"]) == {"geometry"}
        assert set(fresh.json("/collections/landslides/queryables", caller)["properties"]) == {"geometry"}
        assert fresh.json("/collections/landslides/sortables", caller)["properties"] == {}
        rows = fresh.get("/collections/landslides/items?f=csv&limit=1", caller).text
        assert rows.splitlines()[0] == "id,geometry"
        for asked in ("sortby=date", "type=fall", "filter=type='fall'", "properties=type"):
            assert fresh.get(f"/collections/landslides/items?{asked}", caller).status_code == 400, asked
        assert "volume_m3" not in fresh.get("/collections/landslides/items?f=html", caller).text


# at request


def dropped(house: House, table: str, column: str) -> None:
    with closing(open_package(house.directory / "data" / "province.gpkg")) as conn:
        triggers = conn.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger' AND tbl_name=?", (table,)).fetchall()
        for name, _ in triggers:
            conn.execute(f'DROP TRIGGER "{name}"')
        for (index,) in conn.execute(
            "SELECT i.name FROM pragma_index_list(?) i JOIN pragma_index_info(i.name) c WHERE c.name = ?", (table, column)
        ).fetchall():
            conn.execute(f'DROP INDEX "{index}"')
        conn.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
        for _, sql in triggers:
            conn.execute(sql)


def test_column_that_goes_from_the_source_takes_the_answer_with_it(fresh: House) -> None:
    assert fresh.get(ITEMS, "internal-county").status_code == 200
    open_ = fresh.get(f"{ITEMS}?limit=5").data
    dropped(fresh, "parcels", "certificate")
    for path in (ITEMS, f"{ITEMS}?f=csv", f"{PARCELS}/schema", f"{PARCELS}/queryables", f"{ITEMS}?resulttype=hits"):
        is_problem(fresh, path, "internal-county", 503)
    assert fresh.get("/collections", "internal-county").status_code == 200
    assert fresh.get("/openapi", "internal-county").status_code == 200
    assert fresh.get(f"{ITEMS}?limit=5").data == open_  # editions need no source
    assert "certificate" in fresh.tierra("check", code=1)


def test_column_of_the_row_rule_that_goes_takes_the_answer_with_it(fresh: House) -> None:
    assert fresh.get("/collections/minerals/items", "internal-county").status_code == 200
    dropped(fresh, "minerals", "division")
    for path in ("", "/items", "/schema", "/items?resulttype=hits"):
        is_problem(fresh, f"/collections/minerals{path}", "internal-county", 503)


def edition(house: House, tier: str, collection: str) -> Path:
    return house.directory / "state" / "editions" / tier / f"{collection}.sqlite"


def test_edition_that_lacks_a_granted_column_is_not_served(fresh: House) -> None:
    with closing(sqlite3.connect(edition(fresh, "open", "parcels"))) as conn, conn:
        meta = json.loads(conn.execute("SELECT meta FROM edition").fetchone()[0])
        meta["columns"] = [column for column in meta["columns"] if column["name"] != "landuse"]
        conn.execute("UPDATE edition SET meta = ?", (json.dumps(meta),))
    for path in (ITEMS, f"{ITEMS}?f=csv", f"{PARCELS}/schema", f"{ITEMS}?resulttype=hits"):
        is_problem(fresh, path, None, 503)


def test_missing_or_broken_edition_is_not_served(fresh: House) -> None:
    edition(fresh, "open", "gauges").unlink()
    is_problem(fresh, "/collections/gauges/items", None, 503)
    edition(fresh, "open", "stations").write_bytes(b"this is no database, and no edition either" * 100)
    answer = fresh.get("/collections/stations/items")
    assert answer.status_code in (500, 503)
    said_nothing(answer.text)
    assert fresh.get("/collections").status_code == 200
    assert fresh.get(ITEMS).status_code == 200


# stale editions


def widened(house: House) -> None:
    house.rewrite("parcels", lambda text: text.replace("area_ha, division]  ", "area_ha, division, landuse_en]  ", 1))
    by = key_id(house, "approver")
    kept = edition(house, "open", "parcels").read_bytes()
    house.tierra("approve", "parcels", "--by", by, "--because", "looked at")
    edition(house, "open", "parcels").write_bytes(kept)  # as where the approval came and the build did not


def older(house: House) -> None:
    with closing(sqlite3.connect(edition(house, "open", "parcels"))) as conn, conn:
        meta = json.loads(conn.execute("SELECT meta FROM edition").fetchone()[0])
        conn.execute("UPDATE edition SET meta = ?", (json.dumps({**meta, "code_version": meta["code_version"] - 1}),))


def rotated(house: House) -> None:
    house.rewrite("parcels", lambda text: text.replace("{area_ha: {round: 1}}", "{area_ha: {round: 1}, division: hash}"))
    house.tierra("approve", "parcels", "--by", key_id(house, "approver"), "--because", "looked at")
    assert house.get(ITEMS).status_code == 200
    (house.directory / "state" / "mask.key").unlink()
    house.tierra("editions", "build", "gauges")  # makes a key


def moved(house: House) -> None:
    house.rewrite("parcels", lambda text: text.replace("    flow: on-publish ", "    clip: divisions\n    flow: on-publish ", 1))
    house.tierra("approve", "parcels", "--by", key_id(house, "approver"), "--because", "looked at")
    assert house.get(ITEMS).status_code == 200
    with closing(open_package(house.directory / "data" / "province.gpkg")) as conn:
        conn.execute("UPDATE divisions SET name_en = name_en || '.' WHERE code = '510101'")


@pytest.mark.parametrize("make", [widened, older, rotated, moved], ids=lambda make: make.__name__)
def test_stale_edition_is_not_served(fresh: House, make: Callable[[House], None]) -> None:
    make(fresh)
    for caller, prefix in ((None, ""), ("department", ""), ("approver", "/open")):
        for path in (
            ITEMS,
            f"{ITEMS}?f=csv",
            PARCELS,
            f"{PARCELS}/schema",
            f"{PARCELS}/queryables",
            f"{ITEMS}?filter=landuse='01'",
        ):
            answer = fresh.get(prefix + path, caller)
            assert answer.status_code == 503, path
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["Cache-Control"] == "no-store"
            said_nothing(answer.text)
    assert "stale" in fresh.tierra("editions", "status")
    listed = {found["id"]: found for found in fresh.json("/collections")["collections"]}
    assert "extent" not in listed["parcels"]
    assert "extent" in listed["gauges"]
    assert fresh.json("/health") == {"status": "degraded"}
    assert fresh.get(ITEMS, "internal-county").status_code == 200
    fresh.tierra("editions", "build", "parcels")
    assert fresh.get(ITEMS).status_code == 200


def test_edition_behind_its_source_is_served_and_that_is_said(fresh: House) -> None:
    before = fresh.get(f"{ITEMS}?limit=50").data
    with closing(open_package(fresh.directory / "data" / "province.gpkg")) as conn:
        conn.execute("UPDATE parcels SET landuse = '99'")
    assert fresh.get(f"{ITEMS}?limit=50").data == before
    assert re.search(r"parcels +open .*behind its source", fresh.tierra("editions", "status"))
    fresh.tierra("editions", "build", "parcels")
    page = fresh.json(f"{ITEMS}?limit=50")
    assert {feature["properties"]["landuse"] for feature in page["features"]} == {"99"}
