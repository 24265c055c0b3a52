"""Whether someone who tries gets more than was released: hidden columns, vertices, counts, cursors, credentials."""

from __future__ import annotations

import base64
import json
import logging
import re
from typing import Any
from urllib.parse import quote

import pytest
import shapely
from werkzeug.test import Client

from tests.conftest import House
from tests.security.battery import COLUMNS, EPSG
from tests.security.callers import CALLERS
from tests.security.secrets_held import Held

ITEMS = "/collections/parcels/items"
GRANTED = {
    None: ("parcel_id", "landuse", "area_ha", "division"),
    "shared": ("parcel_id", "landuse", "area_m2", "division", "owner"),
    "internal-county": (
        *("parcel_id", "landuse", "area_m2", "area_ha", "division", "owner", "certificate", "status", "updated"),
    ),
}
# what the storage has beside the columns: none may be named
INTERNALS = (
    *("_key", "_rid", "_geom", "_text", "_minx", "rowid", "oid", "_rowid_", "fid", "rows", "edition"),
    *("sqlite_master", "parcels.owner", '"owner"', "OWNER", "Owner", "owner ", "parcel_id;--"),
)
ASKED = [
    "filter={0} = 'x'",
    "filter={0} IS NULL",
    "filter=NOT ({0} IS NULL)",
    "filter={0} LIKE '%25'",
    "filter={0} IN ('x','y')",
    "filter={0} BETWEEN 1 AND 2",
    "filter=landuse = {0}",
    "filter=landuse = '01' OR {0} = 'x'",
    "filter=NOT (landuse = '01' AND {0} = 'x')",
    "filter=casei({0}) = 'x'",
    "filter=S_INTERSECTS({0},POINT(1 1))",
    "filter=T_AFTER({0},DATE('2020-01-01'))",
    "sortby={0}",
    "sortby=-{0}",
    "sortby=landuse,{0}",
    "properties={0}",
    "properties=landuse,{0}",
    "{0}=x",
]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("caller", GRANTED)
def test_hidden_column_answers_as_an_unknown_name(staffed: House, caller: str | None, asked: str) -> None:
    hidden = set(COLUMNS["parcels"]) - set(GRANTED[caller])
    assert "identity" in hidden
    plain = staffed.get(f"{ITEMS}?{asked.format('nosuch')}", caller)
    assert plain.status_code == 400, plain.text[:300]
    for name in sorted(hidden):
        answer = staffed.get(f"{ITEMS}?{asked.format(name)}", caller)
        assert answer.status_code == 400
        said = json.loads(answer.data)
        said["detail"] = said["detail"].replace(name, "nosuch")
        said["parameter"] = said["parameter"].replace(name, "nosuch")
        assert said == json.loads(plain.data)
        heads = [{k: v for k, v in found.headers.items() if k != "Content-Length"} for found in (answer, plain)]
        assert heads[0] == heads[1]


@pytest.mark.parametrize("caller", GRANTED)
def test_name_of_the_storage_is_no_property(staffed: House, caller: str | None) -> None:
    for name in INTERNALS:
        if (name == '"owner"' and "owner" in GRANTED[caller]) or (name == "owner " and "owner" in GRANTED[caller]):
            continue
        for asked in ("filter={0} IS NOT NULL", "sortby={0}", "properties={0}", "{0}=x"):
            answer = staffed.get(f"{ITEMS}?{asked.format(quote(name))}", caller)
            assert answer.status_code == 400, (name, asked, answer.text[:200])


@pytest.mark.parametrize("caller", GRANTED)
def test_documents_name_the_granted_columns_alone(staffed: House, caller: str | None) -> None:
    base = "/collections/parcels"
    for document in ("schema", "queryables"):
        assert set(staffed.json(f"{base}/{document}", caller)["properties"]) == {*GRANTED[caller], "geometry"}
    assert set(staffed.json(f"{base}/sortables", caller)["properties"]) <= set(GRANTED[caller])
    operation = staffed.json("/openapi", caller)["paths"][f"{base}/items"]["get"]
    named = {parameter.get("name") for parameter in operation["parameters"]} & set(COLUMNS["parcels"])
    assert named == set(GRANTED[caller])


def swapped(xy: Any) -> Any:
    """Coordinates (n, 2) in the other axis order."""
    return xy[:, ::-1]


def test_bisection_finds_nothing_finer_than_the_released_geometry(staffed: House) -> None:
    """A box that is halved until nothing is left comes to a released vertex, never to the one it was made from."""
    held = Held(staffed)
    east, north = held.canaries["vertex"]
    shapes = {}
    for offset in (0, 1000):  # the largest page that the policy lets out
        for feature in staffed.json(f"{ITEMS}?limit=1000&offset={offset}&crs={EPSG}4547")["features"]:
            shape = shapely.transform(shapely.geometry.shape(feature["geometry"]), swapped)  # northing comes first
            if shape.distance(shapely.Point(east, north)) < 200:
                shapes[feature["id"]] = shape
    assert len(shapes) >= 2
    for half in (40.0, 9.0, 2.0, 0.01):
        for dx in (-12.0, -9.0, -1.0, 0.0, 1.0, 9.0, 11.0):
            for dy in (-12.0, -1.0, 0.0, 9.0, 11.0):
                x, y = east + dx, north + dy
                area = shapely.box(x - half, y - half, x + half, y + half)
                box = f"{y - half},{x - half},{y + half},{x + half}"
                page = staffed.json(f"{ITEMS}?limit=1000&bbox={box}&bbox-crs={EPSG}4547")
                found = {feature["id"] for feature in page["features"]}
                # what is released to a millimetre touches or does not within that
                assert {name for name, shape in shapes.items() if shape.intersects(area.buffer(-0.002))} <= found
                assert found <= {name for name, shape in shapes.items() if shape.intersects(area.buffer(0.002))}
                asked = quote(f"S_INTERSECTS(geometry,{shapely.transform(area, swapped).wkt})")
                filtered = staffed.json(f"{ITEMS}?limit=1000&filter={asked}&filter-crs={EPSG}4547")
                assert {feature["id"] for feature in filtered["features"]} == found


@pytest.mark.parametrize("caller", [None, "shared", "internal-county"])
def test_null_and_not_let_no_row_out(staffed: House, caller: str | None) -> None:
    every = staffed.json(f"{ITEMS}?limit=10000", caller)
    ids = {feature["id"] for feature in every["features"]}
    total = every["numberMatched"]
    for text in (
        "1=1", "NOT 1=0", "landuse IS NULL OR landuse IS NOT NULL", "NOT (landuse = 'x')", "NOT (landuse <> landuse)",
        "landuse = landuse OR 1=1", "NOT (1=0 AND landuse IS NULL)", "landuse LIKE '%' OR 1=1", "division >= ''", "true",
        "NOT false",        "parcel_id IS NOT NULL) OR (1=1", "1=1)--", "landuse = '' OR ''=''",
    ):  # fmt: skip
        answer = staffed.get(f"{ITEMS}?limit=10000&filter={quote(text)}", caller)
        assert answer.status_code in (200, 400), text
        if answer.status_code == 200:
            page = json.loads(answer.data)
            assert page["numberMatched"] <= total
            assert {feature["id"] for feature in page["features"]} <= ids
    for name in GRANTED[caller]:
        counts = [
            staffed.json(f"{ITEMS}?resulttype=hits&filter={quote(text.format(name))}", caller)["numberMatched"]
            for text in ("{0} IS NULL", "{0} IS NOT NULL", "NOT {0} IS NULL")
        ]
        assert counts[0] + counts[1] == total
        assert counts[1] == counts[2]


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(parts)).encode()).decode().rstrip("=")


def test_next_links_carry_released_values_alone(staffed: House) -> None:
    for caller, granted in GRANTED.items():
        for column in set(granted) & {"landuse", "area_ha", "division"}:
            page = staffed.json(f"{ITEMS}?limit=3&sortby={column}", caller)
            token = re.search(r"cursor=([\w-]+)", next(link["href"] for link in page["links"] if link["rel"] == "next"))
            assert token is not None
            carried = json.loads(base64.urlsafe_b64decode(token[1] + "==="))
            last = page["features"][-1]
            assert carried == [[column, False], last["properties"][column], last["id"]]


FORGED = [
    cursor(["owner", False], "a", "x"),
    cursor(["certificate", False], "a", "x"),
    cursor(["_text", False], "a", "x"),
    cursor(["landuse\" OR 1=1--", False], "a", "x"),
    cursor(["landuse", True], "a", "x"),
    cursor(["landuse", False], "a"),
    cursor("a", "x"),
    cursor(),
    cursor(None),
    cursor({}),
    cursor([["landuse", False]], "a"),
    cursor({"a": 1}),
    "x", "%00", "....", "é", "'", "W10", "bnVsbA", "eyJhIjoxfQ", "A" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("token", FORGED, ids=range(len(FORGED)))
def test_forged_cursor_is_refused(staffed: House, token: str) -> None:
    answer = staffed.get(f"{ITEMS}?sortby=landuse&limit=2&cursor={quote(token)}")
    assert answer.status_code == 400
    assert json.loads(answer.data)["parameter"] == "cursor"


@pytest.mark.parametrize(
    "value", ["' OR 1=1--", "", "z", 1, -1, 2**63, 2**64 - 1, 2**70, 1e308, True, "\x00", "\ud800"], ids=repr
)
def test_edited_cursor_lets_no_row_out(staffed: House, value: Any) -> None:
    ids = {feature["id"] for offset in (0, 1000) for feature in staffed.json(f"{ITEMS}?limit=1000&offset={offset}")["features"]}
    for asked in (f"cursor={cursor(value)}", f"sortby=landuse&cursor={cursor(['landuse', False], value, 'x')}"):
        for more in ("", f"&filter={quote("landuse = '05'")}"):
            answer = staffed.get(f"{ITEMS}?limit=1000&{asked}{more}")
            assert answer.status_code in (200, 400), asked
            if answer.status_code == 200:
                page = json.loads(answer.data)
                assert {feature["id"] for feature in page["features"]} <= ids


def test_cursor_of_another_caller_gives_no_row_of_its(staffed: House) -> None:
    page = staffed.json(f"{ITEMS}?limit=3", "internal-province")
    following = next(link["href"] for link in page["links"] if link["rel"] == "next").removeprefix(staffed.url)
    for caller in ("other-county", "internal-county", None):
        allowed = {feature["id"] for feature in staffed.json(f"{ITEMS}?limit=10000", caller)["features"]}
        assert {feature["id"] for feature in staffed.json(following, caller)["features"]} <= allowed


def test_tag_of_one_caller_confirms_no_answer_of_another(staffed: House) -> None:
    paths = (
        f"{ITEMS}?limit=20",
        f"{ITEMS}?limit=20&f=csv",
        "/collections/parcels",
        "/collections/parcels/schema",
        "/collections",
    )
    for path in paths:
        answers = {caller: staffed.get(path, caller) for caller in CALLERS}
        for one, first in answers.items():
            for other, second in answers.items():
                again = staffed.get(path, other, If_None_Match=first.headers["ETag"])
                assert (again.status_code == 304) <= (first.data == second.data), (path, one, other)


def test_counties_in_turn_get_their_own(staffed: House) -> None:
    """What is kept of one county's answer is not another's: pages, counts, extents, filters, single features."""
    theirs = {"internal-county": "510101", "other-county": "510202"}
    one = {caller: staffed.json(f"{ITEMS}?limit=1", caller)["features"][0]["id"] for caller in theirs}
    for _ in range(2):
        for caller, code in theirs.items():
            for asked in (
                "limit=5",
                "limit=10000",
                "filter=landuse='05'",
                "bbox=100,20,130,40&limit=500",
                "sortby=-area_ha",
                "offset=3",
            ):
                page = staffed.json(f"{ITEMS}?{asked}", caller)
                assert page["features"]
                assert {feature["properties"]["division"] for feature in page["features"]} == {code}, asked
            assert (
                staffed.json(f"{ITEMS}?resulttype=hits", caller)["numberMatched"]
                == staffed.json(f"{ITEMS}?limit=9999", caller)["numberReturned"]
            )
            for other, identifier in one.items():
                assert staffed.get(f"{ITEMS}/{identifier}", caller).status_code == (200 if other == caller else 404)
    boxes = [staffed.json("/collections/parcels", caller)["extent"]["spatial"]["bbox"] for caller in (*theirs, *theirs)]
    assert boxes[0] == boxes[2] != boxes[1] == boxes[3]


# credentials


@pytest.mark.parametrize("prefix", ["", "/open", "/shared", "/internal"])
@pytest.mark.parametrize(
    "path", ["/", "/collections", ITEMS, "/static/css/tierra.css", "/nosuch", "/health", "/login", "/explain"]
)
def test_wrong_credential_is_never_anonymous(staffed: House, prefix: str, path: str) -> None:
    good = staffed.keys["shared"]
    basic = base64.b64encode
    wrong: list[dict[str, str]] = [
        {"X-API-Key": ""},
        {"X-API-Key": "x"},
        {"X-API-Key": good[:-1]},
        {"X-API-Key": good + "A"},
        {"X-API-Key": f"{good}, {good}"},
        {"X-API-Key": good.partition(".")[0]},
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": f"Bearer {good}"},
        {"Authorization": "Basic " + basic(b"user").decode()},
        {"Authorization": "Basic " + basic(b"user:").decode()},
        {"Authorization": "Basic " + basic(f"{good}:".encode()).decode()},
        {"Authorization": "Basic !!!"},
        {"X-API-Key": good, "Authorization": "Basic " + basic(b"u:" + staffed.keys["internal-county"].encode()).decode()},
    ]
    for headers in wrong:
        for method in ("GET", "POST", "OPTIONS"):
            answer = Client(staffed.app).open(prefix + path, method=method, headers=headers)
            assert answer.status_code == 401, (headers, method)
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
            assert answer.headers["Cache-Control"] == "no-store"
            assert good not in answer.text


def test_basic_is_the_same_as_the_key(staffed: House) -> None:
    for caller in filter(None, CALLERS):
        word = base64.b64encode(f"anyone:{staffed.keys[caller]}".encode()).decode()
        answer = staffed.get(f"{ITEMS}?limit=2", None, Authorization=f"Basic {word}")
        assert answer.data == staffed.get(f"{ITEMS}?limit=2", caller).data


def test_credential_in_an_address_is_no_credential_and_is_not_said_again(
    staffed: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tierra")
    key = staffed.keys["internal-province"]
    for name in ("api_key", "key", "token", "access_token", "X-API-Key", "apikey"):
        for form in ("", "&f=html"):
            answer = staffed.get(f"{ITEMS}?{name}={key}{form}")
            assert answer.status_code == 400
            assert key not in answer.text
    assert key not in caplog.text
