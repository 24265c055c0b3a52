"""Whether nothing is open that was not approved, and an agreement gives no more than its block while it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.audiences import Audiences
from tests.conftest import House
from tests.security.callers import key_id

PARCELS = "/collections/parcels"
ITEMS = f"{PARCELS}/items"
PATHS = ("", "/items", "/items?f=csv", "/items?f=html", "/schema", "/queryables", "/sortables", "/items?resulttype=hits")
OPEN = "    properties: [parcel_id, landuse, area_ha, division]"
WIDER = "    properties: [parcel_id, landuse, area_ha, division, certificate]"


def widen(house: House) -> None:
    house.rewrite("parcels", lambda text: text.replace(OPEN, WIDER, 1))


def properties(house: House, caller: str | None, prefix: str = "") -> list[str]:
    """The names of the properties of a parcel as a caller gets it."""
    return list(house.json(f"{prefix}{ITEMS}?limit=1", caller)["features"][0]["properties"])


# nothing is open that was not approved


@pytest.mark.parametrize(
    "caller, prefix", [(None, ""), (None, "/open"), ("department", ""), ("approver", "/open"), ("approver", "/shared")]
)
def test_widened_recipe_stays_closed_until_it_is_approved(fresh: House, caller: str | None, prefix: str) -> None:
    one = fresh.json(f"{prefix}{ITEMS}?limit=1", caller)["features"][0]["id"]
    widen(fresh)
    for path in (*PATHS, f"/items/{one}"):
        answer = fresh.get(prefix + PARCELS + path, caller)
        assert answer.status_code == 404, path
        assert "certificate" not in answer.text
    listed = [found["id"] for found in fresh.json(f"{prefix}/collections", caller)["collections"]]
    assert "parcels" not in listed
    assert "gauges" in listed
    assert "parcels" not in fresh.get(f"{prefix}/openapi", caller).text
    fresh.tierra("editions", "build")  # an edition of the recipe gives nobody a right to it
    assert fresh.get(prefix + ITEMS, caller).status_code == 404
    fresh.tierra("approve", "parcels", "--by", key_id(fresh, "approver"), "--because", "looked at")
    assert "certificate" in properties(fresh, caller, prefix)


def test_widened_recipe_takes_nothing_from_whom_another_block_answers(fresh: House) -> None:
    widen(fresh)
    assert fresh.get(ITEMS, "internal-county").status_code == 200
    assert fresh.get(ITEMS, "shared").status_code == 200
    assert "approval of parcels is void" in fresh.tierra("check")


def test_approval_of_a_former_recipe_does_not_serve_an_edition_of_another(fresh: House) -> None:
    narrow = fresh.get(f"{ITEMS}?limit=50").data
    widen(fresh)
    fresh.tierra("approve", "parcels", "--by", key_id(fresh, "approver"), "--because", "looked at")
    fresh.rewrite("parcels", lambda text: text.replace(WIDER, OPEN, 1))
    answer = fresh.get(f"{ITEMS}?limit=50")  # approved earlier, but the edition that lies there is the wider one
    assert answer.status_code == 503
    assert answer.headers["Retry-After"].isdecimal()
    fresh.tierra("editions", "build", "parcels")
    assert fresh.get(f"{ITEMS}?limit=50").data == narrow


def test_new_collection_is_closed_until_approved(empty: Callable[[], House], sample: House) -> None:
    house = empty()
    (house.directory / "data" / "province.gpkg").symlink_to(sample.directory / "data" / "province.gpkg")
    (house.directory / "config" / "collections" / "gauges.yml").write_text(
        (sample.directory / "config" / "collections" / "gauges.yml").read_text()
    )
    house.tierra("editions", "build")
    assert house.get("/collections/gauges/items").status_code == 404
    assert house.json("/collections")["collections"] == []
    assert "approval of gauges is missing" in house.tierra("check")


@pytest.mark.parametrize("who", ["internal-province", "shared", "department"])
def test_only_an_approver_approves(fresh: House, who: str) -> None:
    widen(fresh)
    said = fresh.tierra("approve", "parcels", "--by", key_id(fresh, who), "--because", "no right to", code=1)
    assert "approver" in said
    assert fresh.get(ITEMS).status_code == 404


def test_revoked_approver_approves_nothing(fresh: House) -> None:
    widen(fresh)
    fresh.tierra("key", "revoke", key_id(fresh, "approver"))
    fresh.tierra("approve", "parcels", "--by", key_id(fresh, "approver"), "--because", "gone", code=1)
    assert fresh.get(ITEMS).status_code == 404


def test_what_decides_nothing_voids_no_approval(fresh: House) -> None:
    fresh.rewrite("parcels", lambda text: text.replace("because: open list 2026, review 14", "because: open list 2027"))
    fresh.rewrite("parcels", lambda text: text.replace("limits: {items: 1000}", "limits: {items: 7}"))
    page = fresh.json(f"{ITEMS}?limit=900")
    assert page["numberReturned"] == 7


# agreements


def agree(house: House, *narrower: str, code: int = 0, agency: str = "Department of Transport") -> str:
    today = datetime.now(UTC).date()
    return house.tierra(
        "agreement", "add", "parcels", "--agency", agency, "--purpose", "roads", "--by", key_id(house, "approver"),
        "--from", str(today - timedelta(days=1)), "--until", str(today + timedelta(days=30)), *narrower, code=code,
    )  # fmt: skip


BEYOND = [
    ("--properties", "parcel_id,certificate"),
    ("--properties", "parcel_id,identity"),
    ("--rows", "status = 'registered'"),
    ("--rows", "certificate IS NOT NULL"),
    ("--rows", "landuse = '01' OR identity LIKE '5%'"),
    ("--rows", "casei(identity) = 'x'"),
    ("--rows", "_key = 'x'"),
]


@pytest.mark.parametrize("narrower", BEYOND)
def test_agreement_beyond_its_block_is_refused(fresh: House, narrower: tuple[str, ...]) -> None:
    said = agree(fresh, *narrower, code=1)
    assert "parcels" in said
    assert "owner" not in properties(fresh, "department")


def test_agreement_beyond_a_block_that_was_narrowed_is_void(fresh: House) -> None:
    agree(fresh, "--properties", "parcel_id,owner", "--rows", "owner IS NOT NULL")
    assert properties(fresh, "department") == ["parcel_id", "owner"]
    before = "properties: [parcel_id, landuse, area_m2, division, owner]\n    mask: {owner: initial}"
    fresh.rewrite("parcels", lambda text: text.replace(before, "properties: [parcel_id, landuse, area_m2, division]"))
    assert re.search("^ *mask: .owner", (fresh.directory / "config/collections/parcels.yml").read_text(), re.M) is None
    assert properties(fresh, "department") == ["parcel_id", "landuse", "area_ha", "division"]  # the open answer
    said = json.loads(fresh.tierra("explain", "--as", key_id(fresh, "department"), "--collection", "parcels"))
    assert said["grant"]["tier"] == "open"
    assert any("void" in step for step in said["steps"])


NARROWER = ("--properties", "parcel_id,landuse", "--rows", "landuse = '01'", "--items", "5")


def test_narrower_agreement_holds_on_every_path(fresh: House) -> None:
    every = fresh.json(f"{ITEMS}?limit=10000", "shared")["features"]
    arable = {f["id"] for f in every if f["properties"]["landuse"] == "01"}
    other = next(f["id"] for f in every if f["id"] not in arable)
    assert 5 < len(arable) < len(every)
    agree(fresh, *NARROWER)
    page = fresh.json(f"{ITEMS}?limit=10000", "department")
    assert page["numberMatched"] == len(arable)
    assert page["numberReturned"] == 5
    assert crawl(fresh, "department", f"{ITEMS}?limit=10000") == sorted(arable)
    assert crawl(fresh, "department", f"{ITEMS}?filter=landuse <> 'x'&sortby=-landuse") == sorted(arable)
    assert all(set(f["properties"]) == {"parcel_id", "landuse"} for f in page["features"])
    assert fresh.json(f"{ITEMS}?resulttype=hits", "department")["numberMatched"] == len(arable)
    assert fresh.get(f"{ITEMS}/{other}", "department").status_code == 404
    single = fresh.json(f"{ITEMS}/{min(arable)}", "department")
    assert set(single["properties"]) == {"parcel_id", "landuse"}
    for path in ("/schema", "/queryables", "/sortables", "/items?f=csv", "/items?f=html", f"/items/{min(arable)}?f=html"):
        text = fresh.get(PARCELS + path, "department").text
        assert not {"owner", "area_m2", "Owner"} & set(re.findall(r"\w+", text)), path
    document = fresh.json("/openapi", "department")["paths"]["/collections/parcels/items"]["get"]["parameters"]
    assert not {"owner", "area_m2", "division"} & {parameter.get("name") for parameter in document}
    limit = next(parameter for parameter in document if parameter.get("name") == "limit")
    assert limit["schema"]["maximum"] == 5
    for asked in ("filter=owner='x'", "sortby=area_m2", "properties=owner", "owner=x", "filter=area_m2>1"):
        assert fresh.get(f"{ITEMS}?{asked}", "department").status_code == 400, asked
    for row in fresh.get(f"{ITEMS}?f=csv", "department").text.splitlines()[1:]:
        assert row.split(",")[2] == "01"


def crawl(house: House, caller: str, path: str) -> list[str]:
    """The ids of all pages, in the order of ids."""
    ids: list[str] = []
    following: str | None = path
    while following:
        page = house.json(following, caller)
        ids += [feature["id"] for feature in page["features"]]
        links = [link["href"] for link in page["links"] if link["rel"] == "next"]
        following = links[0].removeprefix(house.url) if links else None
    assert len(ids) == len(set(ids))
    return sorted(ids)


# a condition with a value and one without: `= '01'` binds one, `IS NULL` does not
@pytest.mark.parametrize(
    "rows", ["landuse = '01'", "owner IS NULL", "owner IS NOT NULL", "division < '510105'", "NOT owner IS NULL"]
)
def test_counts_and_extents_are_those_of_the_agreement(fresh: House, rows: str) -> None:
    edition = fresh.json(f"{ITEMS}?limit=10000&filter={rows}", "shared")  # asked of the whole edition
    agree(fresh, "--rows", rows)
    page = fresh.json(f"{ITEMS}?limit=10000", "department")
    assert [f["id"] for f in page["features"]] == [f["id"] for f in edition["features"]]
    assert page["numberMatched"] == len(edition["features"])
    assert fresh.json(f"{ITEMS}?resulttype=hits", "department")["numberMatched"] == len(edition["features"])
    told = fresh.json(PARCELS, "department").get("extent", {}).get("spatial")
    corners = [point for feature in edition["features"] for point in points(feature["geometry"]["coordinates"])]
    if not corners:
        assert told is None
    else:
        (box,) = told["bbox"]
        xs, ys = zip(*corners, strict=True)
        least = [min(xs), min(ys), max(xs), max(ys)]
        assert box == pytest.approx(least, abs=2e-7)
        assert box[0] <= least[0] and box[1] <= least[1] and box[2] >= least[2] and box[3] >= least[3]


def points(value: Any) -> list[list[float]]:
    """All positions of a coordinates member."""
    return [value] if isinstance(value[0], int | float) else [p for part in value for p in points(part)]


@pytest.mark.parametrize("one, other", [("owner IS NULL", "owner IS NOT NULL"), ("landuse = '01'", "landuse <> '01'")])
def test_tag_of_one_agreement_confirms_no_answer_of_another(fresh: House, one: str, other: str) -> None:
    extra = fresh.tierra("key", "add", "--tier", "shared", "--agency", "Railway Bureau").splitlines()[0]
    agree(fresh, "--rows", one)
    agree(fresh, "--rows", other, agency="Railway Bureau")
    first = fresh.get(f"{ITEMS}?limit=3", "department")
    second = fresh.get(f"{ITEMS}?limit=3", extra, If_None_Match=first.headers["ETag"])
    assert second.status_code == 200
    assert second.headers["ETag"] != first.headers["ETag"]
    assert second.data != first.data


def test_two_agencies_get_their_own_rows_in_turn(fresh: House) -> None:
    extra = fresh.tierra("key", "add", "--tier", "shared", "--agency", "Railway Bureau").splitlines()[0]
    agree(fresh, "--rows", "landuse = '01'")
    agree(fresh, "--rows", "landuse <> '01'", agency="Railway Bureau")
    for _ in range(2):  # what is kept for the one is not given to the other
        for key, same in (("department", True), (extra, False)):
            for asked in ("limit=1000", "limit=1000&filter=landuse IS NOT NULL", "limit=1000&sortby=landuse"):
                page = fresh.json(f"{ITEMS}?{asked}", key)
                assert page["features"]
                assert all((f["properties"]["landuse"] == "01") is same for f in page["features"]), asked


def test_ended_agreement_ends_at_the_next_request(fresh: House) -> None:
    made = agree(fresh).partition(":")[0]
    assert "owner" in properties(fresh, "department")
    fresh.tierra("agreement", "end", made)
    assert "owner" not in properties(fresh, "department")


def test_agreement_begins_and_ends_by_itself(fresh: House) -> None:
    clock = [datetime.now(UTC)]
    fresh.app.audiences = Audiences(fresh.app.state, now=lambda: clock[0])
    today = clock[0].date()
    fresh.tierra(
        "agreement", "add", "parcels", "--agency", "Department of Transport", "--purpose", "roads", "--by",
        key_id(fresh, "approver"), "--from", str(today + timedelta(days=2)), "--until", str(today + timedelta(days=3)),
    )  # fmt: skip
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    for after, granted in [
        (timedelta(days=2, seconds=-1), False),
        (timedelta(days=2), True),
        (timedelta(days=4, seconds=-1), True),
        (timedelta(days=4), False),
    ]:
        clock[0] = midnight + after
        assert ("owner" in properties(fresh, "department")) is granted, after


def test_agreement_is_for_its_agency_and_tier(fresh: House) -> None:
    assert "owner" in properties(fresh, "shared")
    assert "owner" not in properties(fresh, "shared", "/open")
    assert "owner" not in properties(fresh, "department")
    assert "owner" not in properties(fresh, "internal-province", "/shared")
