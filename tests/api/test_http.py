"""What holds on every path: problem details, negotiation, validators, caching, compression, values that come back as they are."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from providers.engines.layers import open_package
from server.routes import ROUTES
from tests import vanilla
from tests.conftest import House

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
ITEMS = "/collections/parcels/items"
PLACES = {"collection_id": "parcels", "feature_id": "1", "path": "css/tierra.css"}


@pytest.fixture(scope="module")
def parcel(sample: House) -> str:
    """The id of a parcel that is open."""
    return str(sample.json(f"{ITEMS}?limit=1")["features"][0]["id"])


def paths(parcel: str) -> list[str]:
    """An address of every route."""
    made = []
    for route in ROUTES:
        path = re.sub(r"<\w+:", "<", route.path)
        for name, value in {**PLACES, "feature_id": parcel}.items():
            path = path.replace(f"<{name}>", value)
        made.append(path)
    return made


def problem(answer: TestResponse, status: int, parameter: str | None = None) -> Any:
    """The members of an answer that must be problem details (RFC 9457) of this status."""
    assert answer.status_code == status, answer.text[:300]
    assert answer.content_type == "application/problem+json"
    found = json.loads(answer.data)
    assert found["status"] == status and found["title"] and found["detail"] and found["type"]
    assert found.get("parameter") == parameter
    assert answer.headers["Cache-Control"] == "no-store"
    return found


# errors


def test_unknown_path_is_problem_details(sample: House) -> None:
    """pygeoapi sends its framework's HTML."""
    for path in ("/nowhere", "/collections/", "/collections/nope", "/open/open/collections", f"{ITEMS}/nope", "/static/nope"):
        problem(sample.get(path), 404)
    assert vanilla.get("/nowhere").headers["Content-Type"].startswith("text/html")


def test_method_that_is_not_known(sample: House, parcel: str) -> None:
    """405 says what is; pygeoapi sends its framework's HTML."""
    for path in paths(parcel):
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"):
            answer = sample.get(path, "approver", method=method)
            problem(answer, 403 if "/items" in path and method not in ("TRACE", "BREW") else 405)
            assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    problem(sample.get("/collections/minerals/items", method="POST"), 404)
    assert vanilla.get("/conformance", method="DELETE").headers["Content-Type"].startswith("text/html")


def test_unknown_parameter_is_ignored_nowhere(sample: House, parcel: str) -> None:
    """Features Part 1, requirement 8 (query-param-unknown); pygeoapi ignores it."""
    for path in paths(parcel):
        for parameter in ("zz=1", "Limit=1", "token="):
            answer = sample.get(f"{path}?{parameter}", "approver")
            said = problem(answer, 400, parameter.split("=")[0])
            assert parameter.split("=")[0] in said["detail"], path
    assert vanilla.get(f"{vanilla.ITEMS}?zz=1").status == 200


@pytest.mark.parametrize(
    "twice", ["f=json&f=json", "limit=1&limit=2", "bbox=0,0,1,1&bbox=0,0,1,1", "landuse=01&landuse=02", "lang=en&lang=zh"]
)
def test_parameter_given_twice(sample: House, twice: str) -> None:
    """pygeoapi takes the first and ignores the other."""
    problem(sample.get(f"{ITEMS}?{twice}"), 400, twice.split("=")[0])
    assert vanilla.get(f"{vanilla.ITEMS}?limit=1&limit=2").status == 200


@pytest.mark.parametrize("path", ["/", "/conformance", "/collections", "/openapi", ITEMS, "/collections/parcels/schema"])
def test_format_that_is_not_offered(sample: House, path: str) -> None:
    """pygeoapi answers an Accept that it cannot meet with 200 and JSON."""
    for accept in ("application/xml", "image/png, text/turtle;q=0.5", "application/json;q=0, text/html;q=0"):
        said = problem(sample.get(path, Accept=accept), 406)
        assert "json" in said["detail"]  # says what there is
    for name in ("xml", "JSON", ""):
        problem(sample.get(f"{path}?f={name}"), 400, "f")
    assert vanilla.get("/conformance", Accept="application/xml").status == 200


@pytest.mark.parametrize(
    "path", ["/nowhere", "/collections/nope", f"{ITEMS}?zz=1", f"{ITEMS}?limit=x", "/?lang=xx", f"{ITEMS}?lang=xx"]
)
@pytest.mark.parametrize("how", ["Accept", "f"])
def test_browser_gets_its_errors_as_a_page(sample: House, path: str, how: str) -> None:
    for language in ("en", "zh"):
        sent = {"Accept-Language": language}
        if how == "Accept":
            sent["Accept"] = BROWSER
            answer = sample.get(path, **sent)
        else:
            answer = sample.get(path + ("&" if "?" in path else "?") + "f=html", **sent)
        plain = sample.get(path)
        assert answer.status_code == plain.status_code >= 400
        assert answer.content_type == "text/html; charset=utf-8"
        detail = json.loads(plain.data)["detail"]
        assert detail in answer.text
        assert f'<html lang="{language}"' in answer.text or "lang=xx" in path


def test_error_page_escapes_what_was_asked(sample: House) -> None:
    answer = sample.get("/collections/" + quote("<script>alert(1)</script>", safe=""), Accept=BROWSER)
    assert answer.status_code == 404
    assert b"<script>alert" not in answer.data


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
def test_failure_hides_its_details(
    sample: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, accept: str
) -> None:
    def fail(*_: Any) -> bytes:
        raise RuntimeError("/secret/path password=hunter2")

    monkeypatch.setattr("server.handlers.items.validators", fail)
    answer = sample.get(ITEMS, Accept=accept)
    assert answer.status_code == 500
    for word in ("secret", "hunter2", "RuntimeError", "Traceback", "items.py"):
        assert word not in answer.text
    assert "hunter2" in caplog.text  # the log has them
    if accept == "*/*":
        problem(answer, 500)


# negotiation


@pytest.mark.parametrize(
    "accept, media",
    [
        ("*/*", "application/geo+json"),
        ("application/json", "application/geo+json"),
        ("application/geo+json", "application/geo+json"),
        ("application/*", "application/geo+json"),
        (BROWSER, "text/html; charset=utf-8"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/html;q=0.5, text/csv", "text/csv; charset=utf-8"),
        ("text/csv;q=0.2, text/html;q=0.3, application/xml", "text/html; charset=utf-8"),
        ("text/html;q=0, */*;q=0.1", "application/geo+json"),
        ("application/xml, */*;q=0.1", "application/geo+json"),
    ],
)
def test_accept_is_weighed(sample: House, accept: str, media: str) -> None:
    assert sample.get(ITEMS, Accept=accept).content_type == media
    assert sample.get(f"{ITEMS}?f=json", Accept=accept).content_type == "application/geo+json"  # f goes before


@pytest.mark.parametrize("accepted, zipped", [
    (None, False), ("", False), ("identity", False), ("gzip", True), ("gzip, deflate, br", True), ("*", True), ("GZIP", True),
    ("gzip;q=0", False), ("gzip;q=0.0, *", False), ("*;q=0", False), ("br", False), ("gzip;q=0.1, identity", False),
    ("gzip;q=0.5, identity;q=0.1", True),
])  # fmt: skip
def test_compression_by_q_values(sample: House, accepted: str | None, zipped: bool) -> None:
    """RFC 9110, 12.5.3; pygeoapi zips where gzip;q=0 forbids it."""
    sent = {} if accepted is None else {"Accept_Encoding": accepted}
    answer = sample.get(f"{ITEMS}?limit=50", **sent)
    assert (answer.headers.get("Content-Encoding") == "gzip") is zipped
    body = gzip.decompress(answer.data) if zipped else answer.data
    assert len(json.loads(body)["features"]) == 50
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert vanilla.get("/conformance", Accept_Encoding="gzip;q=0").headers["Content-Encoding"] == "gzip"


def test_language(sample: House) -> None:
    for path in ("/", "/collections", "/collections/parcels", "/openapi"):
        for sent, language in (("", "en"), ("zh", "zh"), ("fr, zh;q=0.5, en;q=0.1", "zh"), ("fr", "en")):
            answer = sample.get(path, Accept_Language=sent)
            assert answer.headers["Content-Language"] == language
            assert sample.get(f"{path}?lang={language}", Accept_Language="en").headers["Content-Language"] == language
    titles = {lang: sample.json(f"/collections/parcels?lang={lang}")["title"] for lang in ("en", "zh")}
    assert titles == {"en": "Parcels", "zh": "宗地"}
    problem(sample.get("/collections?lang=xx"), 400, "lang")


# validators and caching


def test_every_answer_says_what_it_varies_by_and_who_may_keep_it(sample: House, parcel: str) -> None:
    """RFC 9111; pygeoapi sends none of these headers."""
    for path in paths(parcel):
        for prefix in ("", "/open", "/shared", "/internal"):
            answer = sample.get(prefix + path, "approver")
            vary = {name.strip() for name in answer.headers["Vary"].split(",")}
            assert {"Accept", "Accept-Language", "Accept-Encoding"} <= vary
            assert ({"X-API-Key", "Authorization"} <= vary) is (prefix != "/open")
            if answer.status_code == 200:
                assert ("public" in answer.headers["Cache-Control"]) is (prefix == "/open") or "/static/" in path
                assert prefix == "/open" or "public" not in answer.headers["Cache-Control"]
                assert answer.headers["ETag"].startswith('"')
            else:
                assert answer.headers["Cache-Control"] == "no-store"
    theirs = vanilla.get(vanilla.ITEMS).headers
    assert not {"Vary", "ETag", "Last-Modified", "Cache-Control"} & set(theirs)


@pytest.mark.parametrize(
    "path", ["/collections", ITEMS, f"{ITEMS}?f=html", f"{ITEMS}?f=csv", "/openapi", "/static/css/tierra.css"]
)
@pytest.mark.parametrize("caller", [None, "internal-county"])
def test_validators_spare_the_body(sample: House, path: str, caller: str | None) -> None:
    plain, zipped = sample.get(path, caller), sample.get(path, caller, Accept_Encoding="gzip")
    tags = [plain.headers["ETag"], zipped.headers["ETag"]]
    assert len(set(tags)) == 2 and gzip.decompress(zipped.data) == plain.data  # another representation, another tag
    for tag in tags:
        for asked in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            for method in ("GET", "HEAD"):
                answer = sample.get(path, caller, method=method, If_None_Match=asked)
                assert (answer.status_code, answer.data) == (304, b""), asked
                assert "Content-Type" not in answer.headers and "Content-Length" not in answer.headers
                assert {"ETag", "Vary", "Cache-Control"} <= set(answer.headers.keys())
    assert sample.get(path, caller, If_None_Match='"other"').status_code == 200


def test_tag_of_a_304_is_that_of_the_200(sample: House) -> None:
    """RFC 9110, 15.4.5: the ETag that a 200 to the same request would have had."""
    for accepted in ("identity", "gzip"):
        full = sample.get("/collections", Accept_Encoding=accepted)
        spared = sample.get("/collections", Accept_Encoding=accepted, If_None_Match=full.headers["ETag"])
        assert spared.headers["ETag"] == full.headers["ETag"]


def test_last_modified(sample: House) -> None:
    answer = sample.get(ITEMS)
    modified = answer.headers["Last-Modified"]
    assert parsedate_to_datetime(modified).timestamp() == pytest.approx(Path(__file__).stat().st_mtime, abs=1e10)
    assert sample.get(ITEMS, If_Modified_Since=modified).status_code == 304
    assert sample.get(ITEMS, If_Modified_Since="Mon, 01 Jan 2001 00:00:00 GMT").status_code == 200
    assert sample.get(ITEMS, If_Modified_Since="yesterday").status_code == 200
    # If-None-Match goes before (RFC 9110, 13.2.2)
    assert sample.get(ITEMS, If_Modified_Since=modified, If_None_Match='"other"').status_code == 200
    assert sample.get(ITEMS, method="OPTIONS", If_Modified_Since=modified).status_code == 204


def test_tags_tell_answers_apart(sample: House) -> None:
    asked = [ITEMS, f"{ITEMS}?limit=1", f"{ITEMS}?limit=2", f"{ITEMS}?limit=1&lang=zh", f"{ITEMS}?f=csv", f"/open{ITEMS}"]
    asked += ["/collections/landslides/items", f"{ITEMS}?skipGeometry=true"]
    tags = [sample.get(path).headers["ETag"] for path in asked]
    assert len(set(tags)) == len(tags)
    assert sample.get(ITEMS, "shared").headers["ETag"] != sample.get(ITEMS).headers["ETag"]
    assert sample.get(ITEMS).headers["ETag"] == tags[0]


# methods


def test_head_is_get_without_its_body(sample: House, parcel: str) -> None:
    for path in (*paths(parcel), f"{ITEMS}?f=html", "/nowhere"):
        get, head = sample.get(path, "approver"), sample.get(path, "approver", method="HEAD")
        assert head.status_code == get.status_code and head.data == b""
        assert dict(head.headers) == dict(get.headers), path


def test_options_says_what_is_allowed(sample: House, parcel: str) -> None:
    for path in ("/", "/collections", ITEMS, f"{ITEMS}/{parcel}"):
        answer = sample.get(path, method="OPTIONS")
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    problem(sample.get("/collections/minerals/items", method="OPTIONS"), 404)


def test_scripts_of_other_sites_may_ask(sample: House) -> None:
    """The CORS protocol of the Fetch standard."""
    origin = {"Origin": "https://maps.example"}
    asked = sample.get(
        ITEMS, method="OPTIONS", **origin, Access_Control_Request_Method="GET", Access_Control_Request_Headers="x-api-key"
    )
    assert asked.status_code == 204
    assert "GET" in asked.headers["Access-Control-Allow-Methods"]
    assert "x-api-key" in asked.headers["Access-Control-Allow-Headers"].lower()
    for path in (ITEMS, "/nowhere"):
        answer = sample.get(path, **origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


# what is in the data comes back as it is

IDS = [
    "a/b", "/a", "a/", "a//b", "a b", "中文", 'say "hi"', "it's", "a?b", "a#b", "a%2Fb", "50%", "a+b", "a&b=c",
    "<i>", "..", "a;b", "\u00e9", "e\u0301", "😀", "a\\b", "a\nb",
]  # fmt: skip
TEXTS = ["a < b > c & d", "</script><b>", "&lt;", '"quoted", and; comma', "line\nbreak\ttab", "中文 ", "\u2028", "😀"]
FLOATS = [0.1 + 0.2, 123456789.123456789, 1e-300, 1.7976931348623157e308, 5e-324, 100.0, 1 / 3]
INTEGERS = [123456789012345678, 1 - 2**63, 2**63 - 1, 0, 9007199254740993]


@pytest.fixture(scope="module")
def odd(empty: Callable[[], House], tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with one collection of awkward ids and values, open as an edition and inside as it is."""
    house = empty()
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [0.1 + 0.2, 30.123456789]},
            "properties": {
                "id": text,
                "text": TEXTS[n % len(TEXTS)],
                "real": FLOATS[n % len(FLOATS)],
                "whole": INTEGERS[n % len(INTEGERS)],
                "flag": [True, False, None][n % 3],
                "nothing": None if n else "something",
            },
        }
        for n, text in enumerate(IDS)
    ]
    file = tmp_path_factory.mktemp("odd") / "odd.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    house.tierra("load", str(file), "--collection", "odd", "--id", "id")
    names = "[id, text, real, whole, flag, nothing]"
    house.rewrite("odd", lambda text: text + f"access:\n  open: {{properties: {names}}}\n  internal: {{properties: {names}}}\n")
    key = house.tierra(
        "key", "add", "--tier", "internal", "--level", "province", "--division", "51", "--role", "approver"
    ).split()[0]
    (house.directory / "state" / "demo-keys.json").write_text(json.dumps({"approver": key}))
    house.tierra("approve", "odd", "--by", key.partition(".")[0], "--because", "test")
    return house


@pytest.mark.parametrize("identifier", IDS)
@pytest.mark.parametrize("caller", [None, "approver"])
def test_any_id_makes_the_round_trip(odd: House, identifier: str, caller: str | None) -> None:
    path = "/collections/odd/items/" + quote(identifier, safe="").replace("..", "%2E%2E")
    found = odd.json(path, caller)
    assert found["id"] == identifier == found["properties"]["id"]
    self_link = next(link["href"] for link in found["links"] if link["rel"] == "self")
    again = odd.json(self_link.removeprefix(odd.url), caller)
    assert again["id"] == identifier
    page = odd.get(path + "?f=html", caller)
    assert page.status_code == 200 and ("<i>" not in identifier or "<i></" not in page.text)


@pytest.mark.parametrize("caller", [None, "approver"])
def test_values_come_back_as_they_are(odd: House, caller: str | None) -> None:
    """RFC 8259 doubles and integers exactly; pygeoapi turns < and > in data into entities."""
    found = {f["id"]: f for f in odd.json("/collections/odd/items?limit=100", caller)["features"]}
    assert len(found) == len(IDS)
    for n, identifier in enumerate(IDS):
        members = found[identifier]["properties"]
        assert members["text"] == TEXTS[n % len(TEXTS)]
        assert members["whole"] == INTEGERS[n % len(INTEGERS)] and isinstance(members["whole"], int)
        assert members["real"] == FLOATS[n % len(FLOATS)]
        assert members["flag"] is [True, False, None][n % 3]
        assert members["nothing"] == (None if n else "something")
    assert "&lt;" in vanilla.get(f"{vanilla.ITEMS}/p1").json["properties"]["name"]


@pytest.mark.parametrize("caller", [None, "approver"])
@pytest.mark.parametrize("whole", INTEGERS)
def test_big_integers_are_found_exactly(odd: House, caller: str | None, whole: int) -> None:
    expected = [text for n, text in enumerate(IDS) if INTEGERS[n % len(INTEGERS)] == whole]
    for asked in (f"whole={whole}", f"filter=whole={whole}"):
        found = odd.json(f"/collections/odd/items?limit=100&{asked}", caller)
        assert sorted(f["id"] for f in found["features"]) == sorted(expected), asked


def test_what_json_cannot_say_is_null(odd: House, tmp_path: Path) -> None:
    """NaN and the infinities have no form in JSON (RFC 8259, 6)."""
    with closing(open_package(odd.directory / "data" / "odd.gpkg")) as conn:
        conn.execute("UPDATE odd SET real=? WHERE id='中文'", (math.inf,))
        conn.execute("UPDATE odd SET real=? WHERE id='50%'", (math.nan,))
    odd.tierra("editions", "build")
    for caller in (None, "approver"):
        for identifier in ("中文", "50%25"):
            answer = odd.get(f"/collections/odd/items/{identifier}", caller)
            members = json.loads(answer.data, parse_constant=lambda text: pytest.fail(text))
            assert members["properties"]["real"] is None
