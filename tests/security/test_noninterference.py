"""Whether what a principal may not see changes a byte of what it gets: two houses that differ in that alone answer alike."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import shapely

from providers.engines import layers
from tests.conftest import House
from tests.security.battery import crawled, paths, sent
from tests.security.callers import copy_of, prefixes_of

ZONE = 4547
AWAY = np.array([90_000.0, 40_000.0])  # beyond the extent of all else
CRAWLS = ("limit=400", "limit=7&filter=landuse='05'", "limit=300&sortby=-landuse", "limit=900&f=csv")
Edit = Callable[[sqlite3.Connection], None]


def statements(*texts: str) -> Edit:
    def edit(conn: sqlite3.Connection) -> None:
        for text in texts:
            assert conn.execute(text).rowcount != 0, f"changes nothing: {text}"

    return edit


def reshape(table: str, where: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Change the coordinates (n, 2; metres) of some rows."""

    def edit(conn: sqlite3.Connection) -> None:
        rows = conn.execute(f"SELECT fid, geom FROM {table} WHERE {where}").fetchall()
        assert rows
        for fid, blob in rows:
            shape = shapely.transform(shapely.from_wkb(layers.wkb(blob)), change)
            (new,) = layers.blobs([shape], ZONE)
            conn.execute(f"UPDATE {table} SET geom = ? WHERE fid = ?", (new, fid))

    return edit


def within_cells(step: float) -> Callable[[np.ndarray], np.ndarray]:
    """Moves every vertex by itself, and leaves it nearest to the node that it is nearest to."""

    def change(xy: np.ndarray) -> np.ndarray:
        node = np.round(xy / step) * step
        moved = node + (xy - node) * 0.75 + 0.011  # the same place moves alike, so that rings stay closed
        safe = np.abs(moved - node) < step / 2 - 0.1
        return np.where(safe & (np.abs(xy - node) < step / 2 - 0.1), moved, xy)

    return change


def renumbered(table: str) -> Edit:
    """Give all rows other row numbers, in another order."""
    return statements(f"UPDATE {table} SET fid = fid + 1000000", f"UPDATE {table} SET fid = 1100000 - fid + 1000000")


def added(table: str, like: str, **values: str) -> Edit:
    """Add a copy of a row with other values."""

    def edit(conn: sqlite3.Connection) -> None:
        names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})") if row[1] != "fid"]
        wanted = ", ".join(values.get(name, f'"{name}"') for name in names)
        quoted = ", ".join(f'"{name}"' for name in names)
        found = conn.execute(f"INSERT INTO {table} ({quoted}) SELECT {wanted} FROM {table} WHERE {like} LIMIT 1")
        assert found.rowcount == 1

    return edit


HIDDEN_FROM_ALL = statements(
    "UPDATE parcels SET identity = identity || '9'", "ALTER TABLE parcels ADD COLUMN secret TEXT DEFAULT 's'"
)
FAR = reshape("parcels", "status = 'pending'", lambda xy: xy + AWAY)
PUBLIC: tuple[Edit, ...] = (
    HIDDEN_FROM_ALL,
    renumbered("parcels"),
    renumbered("landslides"),
    statements(
        "UPDATE parcels SET owner = 'Q' || owner, certificate = 'Q' || certificate, updated = '1999-01-01T00:00:00.000Z',"
        " area_m2 = area_m2 * 3, landuse_zh = 'Q', landuse_en = 'Q'",
        "UPDATE parcels SET area_ha = round(area_ha) + 0.21",
        "UPDATE parcels SET landuse = '01', division = '510999', area_ha = 77 WHERE status <> 'registered'",
        "DELETE FROM parcels WHERE status = 'disputed'",
        "UPDATE landslides SET volume_m3 = 7, place = 'Q', informant = 'Q', division = '510999'",
        "UPDATE landslides SET date = substr(date, 1, 4) || '-07-02'",
        "DELETE FROM minerals WHERE fid % 2",
        "UPDATE minerals SET grade = 'Q', name_en = 'Q'",
    ),
    FAR,
    reshape("parcels", "status = 'registered'", within_cells(20)),
    reshape("landslides", "1", within_cells(500)),
    added("parcels", "status = 'pending'", parcel_id="'Q-NEW'", certificate="'Q-CERT'"),
)
DEPARTMENT: tuple[Edit, ...] = (
    *PUBLIC[:2],
    statements(
        "UPDATE parcels SET owner = 'Q' || owner, certificate = 'Q', area_m2 = area_m2 * 3 WHERE status = 'registered'",
        "DELETE FROM parcels WHERE status = 'disputed'",
        "UPDATE landslides SET informant = 'Q'",
        "DELETE FROM minerals",
    ),
    FAR,
    reshape("parcels", "status = 'registered'", within_cells(20)),
)
AGREED: tuple[Edit, ...] = (
    *PUBLIC[:2],
    statements(
        # the initial stays; so does what the open edition, which this caller may look at too, is made of
        "UPDATE parcels SET owner = substr(owner, 1, 1) || 'qqqq' WHERE owner NOT NULL",
        "UPDATE parcels SET certificate = 'Q', updated = '1999-01-01T00:00:00.000Z', landuse_zh = 'Q'",
        "UPDATE parcels SET area_ha = round(area_ha) + 0.21",
        "UPDATE parcels SET status = 'disputed' WHERE status = 'pending'",
        "UPDATE landslides SET informant = 'Q'",
        "DELETE FROM minerals",
    ),
)
ELSEWHERE = "division NOT BETWEEN '510101' AND '510101~'"
OTHERS: tuple[Edit, ...] = (
    HIDDEN_FROM_ALL,
    statements(
        f"UPDATE parcels SET owner = 'Q', certificate = 'Q', area_m2 = 1, updated = '1999-01-01T00:00:00.000Z' WHERE {ELSEWHERE}",
        f"UPDATE parcels SET area_ha = round(area_ha) + 0.21 WHERE {ELSEWHERE}",
        f"UPDATE parcels SET landuse = 'QQ', status = 'disputed' WHERE status = 'pending' AND {ELSEWHERE}",
        f"DELETE FROM parcels WHERE fid % 2 AND status = 'disputed' AND {ELSEWHERE}",
        f"UPDATE landslides SET informant = 'Q' WHERE {ELSEWHERE}",
        f"DELETE FROM minerals WHERE fid % 2 AND {ELSEWHERE}",
        f"UPDATE minerals SET name_en = 'Q', reserves_kt = 99999, commodity = 'Q' WHERE {ELSEWHERE}",
    ),
    reshape("parcels", f"status = 'disputed' AND {ELSEWHERE}", lambda xy: xy + AWAY),
    reshape("parcels", f"status = 'registered' AND {ELSEWHERE}", within_cells(20)),
    reshape("minerals", ELSEWHERE, lambda xy: xy + AWAY),
    added("minerals", ELSEWHERE, occurrence_id="'A-NEW'", division="'510102'"),
    added("parcels", f"status = 'disputed' AND {ELSEWHERE}", parcel_id="'510101A'", certificate="'Q-CERT'", division="'51010'"),
)
PRINCIPALS = {
    "anonymous": (None, PUBLIC, ("approver", "/internal")),
    "department": ("department", DEPARTMENT, ("shared", "/shared")),
    "shared": ("shared", AGREED, ("approver", "/internal")),
    "internal-county": ("internal-county", OTHERS, ("internal-province", "/internal")),
}


def changed(house: House, edits: tuple[Edit, ...]) -> None:
    with closing(layers.open_package(house.directory / "data" / "province.gpkg")) as conn:
        for edit in edits:
            conn.execute("BEGIN IMMEDIATE")
            edit(conn)
            conn.execute("COMMIT")


@pytest.mark.parametrize("who", PRINCIPALS)
def test_what_is_hidden_changes_no_byte(staffed: House, tmp_path: Path, who: str) -> None:
    caller, edits, (other, prefix) = PRINCIPALS[who]
    house = copy_of(staffed, tmp_path / "other")
    before = {name: sent(house.get(name, other)) for name in (f"{prefix}/collections/parcels/items?limit=10000",)}
    changed(house, edits)
    house.tierra("editions", "build")
    for path, former in before.items():  # somebody else sees that much has changed
        assert sent(house.get(path, other)) != former
    differing = []
    asked = 0
    for prefix in prefixes_of(caller):
        for path in paths(staffed, caller, prefix, few=prefix != ""):
            one, two = staffed.get(path, caller), house.get(path, caller)
            asked += 1
            if sent(one) != sent(two):
                differing.append((path, one.status_code, two.status_code))
    assert asked > 500
    assert not differing, (len(differing), asked, differing[:12])


@pytest.mark.parametrize("who", PRINCIPALS)
def test_what_is_hidden_changes_no_page_of_a_crawl(staffed: House, tmp_path: Path, who: str) -> None:
    caller, edits, _ = PRINCIPALS[who]
    house = copy_of(staffed, tmp_path / "other")
    changed(house, edits)
    house.tierra("editions", "build")
    for asked in CRAWLS:
        path = f"/collections/parcels/items?{asked}"
        one = [(where, sent(answer)) for where, answer in crawled(staffed, caller, path)]
        two = [(where, sent(answer)) for where, answer in crawled(house, caller, path)]
        assert len(one) > (1 if caller != "internal-county" else 0)
        assert one == two, asked


def test_what_is_hidden_changes_no_byte_before_the_rebuild(staffed: House, tmp_path: Path) -> None:
    house = copy_of(staffed, tmp_path / "other")
    changed(house, (*PUBLIC, statements("UPDATE parcels SET landuse = 'QQ'", "DELETE FROM landslides WHERE fid % 2")))
    for path in paths(staffed, None, "", few=True):
        assert sent(staffed.get(path)) == sent(house.get(path)), path


def test_conditional_requests_tell_nothing_of_what_is_hidden(staffed: House, tmp_path: Path) -> None:
    house = copy_of(staffed, tmp_path / "other")
    changed(house, PUBLIC)
    house.tierra("editions", "build")
    for path in (
        "/collections/parcels/items?limit=50",
        "/collections/landslides/items?f=csv",
        "/collections/parcels",
        "/openapi",
    ):
        held = staffed.get(path)
        assert house.get(path, If_None_Match=held.headers["ETag"]).status_code == 304, path
        if "Last-Modified" in held.headers:
            assert house.get(path, If_Modified_Since=held.headers["Last-Modified"]).status_code == 304, path


def test_what_is_seen_changes_the_answer(staffed: House, tmp_path: Path) -> None:
    """Beside the others: where these houses differ in what is let out, the comparison finds it."""
    house = copy_of(staffed, tmp_path / "other")
    step = 20.0
    changed(
        house,
        (
            statements(
                "UPDATE parcels SET landuse = 'QQ' WHERE parcel_id ="
                " (SELECT min(parcel_id) FROM parcels WHERE status = 'registered')"
            ),
            reshape("landslides", "fid = 1", lambda xy: xy + 25 * step),
        ),
    )
    house.tierra("editions", "build")
    for path in ("/collections/parcels/items?limit=1", "/collections/landslides/items?limit=10000"):
        one, two = staffed.get(path), house.get(path)
        assert one.headers["ETag"] != two.headers["ETag"]
        assert json.loads(one.data)["features"] != json.loads(two.data)["features"]
