"""Whether explain says what is served: for every caller, tier and collection, and whether anyone but an approver may ask."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import House
from tests.security.battery import COLLECTIONS
from tests.security.callers import CALLERS, key_id, tier_of
from tests.security.callers import prefixes_of as prefixes


def explained(house: House, caller: str | None, collection: str, tier: str | None) -> dict[str, Any]:
    """What the server tells the approver; the command must say the same."""
    who = key_id(house, caller) if caller else "anonymous"
    asked = {"as": who, "collection": collection, **({"tier": tier} if tier else {})}
    answer = house.json(f"/explain?{urlencode(asked)}", "approver")
    said = house.tierra("explain", "--as", who, "--collection", collection, *(("--tier", tier) if tier else ()))
    assert json.loads(said) == answer
    return answer


@pytest.mark.parametrize("caller", CALLERS)
def test_explain_is_what_is_served(staffed: House, caller: str | None) -> None:
    for prefix in prefixes(caller):
        for collection in COLLECTIONS:
            said = explained(staffed, caller, collection, prefix.removeprefix("/") or None)
            base = f"{prefix}/collections/{collection}"
            answer = staffed.get(f"{base}/items?limit=100000", caller)
            assert said["answer"] == answer.status_code, base
            assert staffed.get(base, caller).status_code == said["answer"]
            listed = [found["id"] for found in staffed.json(f"{prefix}/collections", caller)["collections"]]
            assert (collection in listed) is (said["answer"] == 200)
            if said["answer"] == 200:
                compare(staffed, caller, base, said["grant"], json.loads(answer.data))


def compare(house: House, caller: str | None, base: str, grant: dict[str, Any], page: dict[str, Any]) -> None:
    assert page["features"]
    for feature in page["features"][:50]:
        assert list(feature["properties"]) == grant["properties"]
    assert [n for n in house.json(f"{base}/schema", caller)["properties"] if n != "geometry"] == grant["properties"]
    if grant["items"] is not None:
        assert page["numberReturned"] <= grant["items"]
    if grant["under"]:
        column, code = grant["under"]
        assert all(feature["properties"][column].startswith(code) for feature in page["features"])
    if grant["rows"]:  # the sample's only rule of rows: registered parcels
        inside = house.json(
            f"/internal{base.removeprefix('/open').removeprefix('/shared')}/items?limit=100000", "internal-nation"
        )
        status = {feature["id"]: feature["properties"]["status"] for feature in inside["features"]}
        registered = {identifier for identifier, word in status.items() if word == "registered"}
        assert len(registered) < len(status)
        assert page["numberMatched"] == len(registered)
        assert {feature["id"] for feature in page["features"]} <= registered
    for column, kind in grant["masks"].items():
        values = [feature["properties"][column] for feature in page["features"]]
        assert all({"round": whole, "initial": short, "year": year}[kind](value) for value in values), column


def whole(value: Any) -> bool:
    return bool(float(value).is_integer())


def short(value: Any) -> bool:
    return value is None or (len(value) == 2 and value[1] in ".*")


def year(value: Any) -> bool:
    return isinstance(value, int) and 1900 < value < 2100


def test_explain_says_403_for_what_is_seen_but_not_granted(staffed: House) -> None:
    for caller, status in ((None, 404), ("internal-county", 403)):
        asked = {"as": key_id(staffed, caller) if caller else "anonymous", "collection": "minerals", "action": "delete"}
        assert staffed.json(f"/explain?{urlencode(asked)}", "approver")["answer"] == status
        assert staffed.get("/collections/minerals/items", caller, "POST").status_code == status


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "approver"])
def test_explain_is_for_the_approver_alone(staffed: House, caller: str | None) -> None:
    for prefix in prefixes(caller):
        missing = staffed.get(f"{prefix}/nosuch", caller)
        assert missing.status_code == 404
        for asked in ("", "?as=anonymous&collection=parcels", "?f=json", "?as=nosuch", "?nosuch=1"):
            answer = staffed.get(f"{prefix}/explain{asked}", caller)
            assert (answer.status_code, answer.data) == (404, missing.data), asked


def test_approver_explains_only_as_one(staffed: House) -> None:
    for prefix in ("/open", "/shared"):
        assert staffed.get(f"{prefix}/explain?as=anonymous&collection=parcels", "approver").status_code == 404
    answer = staffed.get("/internal/explain?as=anonymous&collection=parcels", "approver")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"].startswith("private")


# an unknown format or a wrong method tells a page that is there from one that is not
@pytest.mark.parametrize(
    "asked, method", [("?f=xml", "GET"), ("?f=html", "GET"), ("", "POST"), ("", "DELETE"), ("?lang=xx", "GET")]
)
def test_explain_is_not_told_from_a_missing_page(staffed: House, asked: str, method: str) -> None:
    one = staffed.get(f"/explain{asked}", None, method)
    other = staffed.get(f"/nosuch{asked}", None, method)
    assert one.status_code == other.status_code
    assert one.headers.get("Allow") == other.headers.get("Allow")


def test_no_answer_to_explain_holds_a_key(staffed: House) -> None:
    for caller in filter(None, CALLERS):
        assert tier_of(caller) != "open"
        key = staffed.keys[caller]
        text = staffed.get(f"/explain?{urlencode({'as': key, 'collection': 'parcels'})}", "approver").text
        assert key not in text
        assert key.partition(".")[2] not in text
