"""Whether odd addresses, parameters and headers get a foreseen answer: no tier by a trick, no failure, no echo."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

import pytest
from werkzeug.test import Client, EnvironBuilder, TestResponse, run_wsgi_app

from tests.conftest import House
from tests.security.callers import CALLERS

ITEMS = "/collections/parcels/items"
FORESEEN = {200, 303, 304, 400, 401, 403, 404, 405, 406, 414}


def raw(house: House, path: str, query: str = "", caller: str | None = None, **headers: str) -> TestResponse:
    """Ask for a path exactly as it is, as a server hands it on: percent-decoded, read as Latin-1 (PEP 3333)."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if caller:
        sent["X-API-Key"] = house.keys[caller]
    environ = EnvironBuilder(headers=sent).get_environ()
    environ |= {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_URI": path, "RAW_URI": path}
    chunks, status, heads = run_wsgi_app(house.app, environ)
    return TestResponse(chunks, status, heads, None)  # type: ignore[arg-type]


TRICKS = [
    "/open/../internal/collections/minerals/items",
    "/open/..//internal/collections/minerals/items",
    "/open/internal/collections/minerals/items",
    "/open//internal/collections/minerals/items",
    "//internal/collections/minerals/items",
    "/./internal/collections/minerals/items",
    "/internal//collections/minerals/items",
    "/INTERNAL/collections/minerals/items",
    "/Internal/collections/minerals/items",
    "/internal /collections/minerals/items",
    "/internal%2fcollections/minerals/items",
    "/internal;x/collections/minerals/items",
    "/internal\x00/collections/minerals/items",
    "/open/collections/../../internal/collections/minerals/items",
    "/static/../internal/collections/minerals/items",
    "/collections/minerals/items/",
    "/collections//minerals/items",
    "/collections/minerals%00/items",
    "/collections/minerals\x00/items",
    "/collections/ minerals/items",
    "/collections/MINERALS/items",
    "/collections/parcels/../minerals/items",
    "/collections/parcels/items/../../minerals/items",
    "internal/collections/minerals/items",
    "",
    "\\internal\\collections\\minerals\\items",
    "/static/../../state/demo-keys.json",
    "/static/..\\..\\state\\demo-keys.json",
    "/static//etc/passwd",
    "/static/%2e%2e/%2e%2e/setup.cfg",
    "/static/../../setup.cfg",
    "/static/",
    "/static/.",
    "/static/css",
    "/static/\x00",
    "/static/css/tierra.css\x00.html",
    "/static/" + "a" * 5000,
    "/static/" + "a/" * 3000,
]


@pytest.mark.parametrize("path", TRICKS, ids=range(len(TRICKS)))
@pytest.mark.parametrize("caller", [None, "shared"])
def test_no_trick_of_the_path_leads_anywhere(staffed: House, path: str, caller: str | None) -> None:
    answer = raw(staffed, path, caller=caller)
    assert answer.status_code == (200 if path in ("",) else 404), answer.status
    assert "MO-0001" not in answer.text
    assert "X-API-Key" not in answer.text or path == ""


def test_case_of_a_prefix_is_no_prefix_either(staffed: House) -> None:
    for path in ("/OPEN/collections", "/Open/collections", "/open /collections", "/opens/collections", "/open.json"):
        assert raw(staffed, path, caller="approver").status_code == 404
    assert raw(staffed, "/open", caller="approver").status_code == 200
    assert raw(staffed, "/open/", caller="approver").status_code == 200


TEXTS = {
    "nul": "\x00",
    "crlf": "x\r\nSet-Cookie: a=b\r\n\r\n<script>alert(1)</script>",
    "script": '"><script>alert(1)</script>',
    "long": "x" * 70_000,
    "deep": "(" * 3000 + "1=1" + ")" * 3000,
    "deeper": "NOT " * 5000 + "1=1",
    "json": '{"op":"not","args":[' * 900 + "true" + "]}" * 900,
    "percent": "%",
    "surrogate": "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
    "kanji": "宗地",
    "number": "9" * 400,
    "negative": "-1",
    "infinite": "1e999",
    "nan": "nan,nan,nan,nan",
    "comma": "," * 2000,
    "quote": "'\"`;--",
    "template": "{{7*7}}${7*7}",
    "empty": "",
}
PARAMETERS = (
    *("f", "lang", "limit", "offset", "cursor", "resulttype", "sortby", "bbox", "bbox-crs", "crs", "datetime", "properties"),
    *("skipGeometry", "filter", "filter-lang", "filter-crs", "landuse", "area_ha", "nosuch"),
)


@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize("text", TEXTS)
def test_odd_values_are_answered_as_foreseen(staffed: House, parameter: str, text: str) -> None:
    value = TEXTS[text]
    for accept in ("application/json",) if parameter == "lang" else ("application/json", "text/html"):
        query = f"{parameter}={quote(value)}" + ("&bbox=1,1,2,2" if parameter == "bbox-crs" else "")
        answer = raw(staffed, ITEMS, query, Accept=accept)
        assert answer.status_code in FORESEEN, (answer.status, answer.text[:300])
        assert "<script>alert" not in answer.text or answer.headers["Content-Type"] != "text/html; charset=utf-8"
        assert "Set-Cookie" not in answer.headers
        assert "49$49" not in answer.text
        for secret in ("Traceback", "sqlite", "SELECT ", "OperationalError", "/state/"):
            assert secret not in answer.text


@pytest.mark.parametrize("text", TEXTS)
def test_odd_names_are_answered_as_foreseen(staffed: House, text: str) -> None:
    value = TEXTS[text]
    for path in (f"/collections/{value}", f"/collections/{value}/items", f"{ITEMS}/{value}", f"/{value}", f"/static/{value}"):
        for accept in ("application/json", "text/html"):
            answer = raw(staffed, path.encode("utf-8", "replace").decode("latin-1"), Accept=accept)
            assert answer.status_code in FORESEEN, (answer.status, path[:80])
            assert "<script>alert" not in answer.text or not answer.headers["Content-Type"].startswith("text/html")
    assert raw(staffed, ITEMS, f"{quote(value)}=1").status_code == 400


HEADERS = [
    ("Accept", "*/*;q=x"),
    ("Accept", "text/html;q=0, */*;q=0"),
    ("Accept", "," * 1000),
    ("Accept", "x" * 50_000),
    ("Accept-Language", "*"),
    ("Accept-Language", "xx-YY,;;;q=a"),
    ("Accept-Language", "zh_CN@x"),
    ("Accept-Language", "-"),
    ("Accept-Language", "é"),
    ("Accept-Encoding", "gzip;q=x, *;q="),
    ("Accept-Encoding", "gzip;q=0"),
    ("If-None-Match", 'W/"x", *, "'),
    ("If-None-Match", "x" * 50_000),
    ("If-Modified-Since", "yesterday"),
    ("If-Modified-Since", "Thu, 01 Jan 99999 00:00:00 GMT"),
    ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Range", "bytes=0-1"),
    ("Origin", "https://elsewhere.example"),
    ("Content-Type", "x"),
    ("X-Forwarded-Prefix", "/internal"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Original-URL", "/internal/collections/minerals/items"),
    ("X-Rewrite-URL", "/internal/collections/minerals/items"),
    ("Forwarded", "host=evil.example;proto=https"),
    ("X-Forwarded-Host", "evil.example"),
    ("Cookie", "session=x; tier=internal"),
]


@pytest.mark.parametrize("name, value", HEADERS)
def test_odd_headers_are_answered_as_foreseen(staffed: House, name: str, value: str) -> None:
    for path in ("/", ITEMS, "/collections/parcels/schema", "/nosuch", "/collections/minerals/items"):
        for query in ("", "f=html"):
            answer = raw(staffed, path, query, **{name.replace("-", "_"): value})
            assert answer.status_code in FORESEEN, (path, answer.status)
            assert b"evil.example" not in answer.data
            assert (answer.status_code == 404) is (path in ("/nosuch", "/collections/minerals/items")) or answer.status_code in (
                406,
                304,
            )


def test_host_is_not_said_again(staffed: House) -> None:
    for host in ("evil.example", "evil.example:80", "localhost:5000@evil.example", "", "a b", "x" * 300, "<script>"):
        for path in ("/", ITEMS, "/collections", "/openapi", "/login", "/nosuch"):
            for query in ("", "f=html"):
                answer = raw(staffed, path, query, Host=host)
                assert answer.status_code in FORESEEN
                assert "evil.example" not in answer.text + str(answer.headers)
    answer = raw(staffed, "/login", caller="shared", Host="evil.example")
    assert answer.headers["Location"] == f"{staffed.url}/"


@pytest.mark.parametrize("lang", ["xx", "", "\x00", "x" * 300])
def test_language_that_there_is_not_is_a_problem_in_every_format(staffed: House, lang: str) -> None:
    for path in ("/", ITEMS, "/collections/parcels", "/nosuch", "/health"):
        for accept in ("application/json", "text/html"):
            assert raw(staffed, path, f"lang={quote(lang)}", Accept=accept).status_code in (400, 404, 406)


@pytest.mark.parametrize(
    "query", ["limit=1&limit=2", "filter=1=1&filter=1=0", "f=json&f=html", "landuse=01&landuse=02", "crs=a&crs=b"]
)
def test_parameter_given_twice_is_refused(staffed: House, query: str) -> None:
    for caller in CALLERS:
        answer = staffed.get(f"{ITEMS}?{query}", caller)
        assert answer.status_code == 400
        if "html" not in query:
            assert json.loads(answer.data)["parameter"] == query.partition("=")[0]


def test_bodies_and_methods_change_nothing(staffed: House) -> None:
    before = staffed.get(f"{ITEMS}?limit=5", "approver").data
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get", "XXXX"):
        for body in (b"", b"{", b"x" * 100_000):
            key = {"X-API-Key": staffed.keys["approver"], "Content-Type": "application/geo+json"}
            answer = Client(staffed.app).open(ITEMS, method=method, data=body, headers=key)
            assert answer.status_code in (403, 405) or method == "get"
    assert staffed.get(f"{ITEMS}?limit=5", "approver").data == before


def test_log_has_one_line_a_request(staffed: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tierra")
    for path in ("/x\r\nGET /internal 200 OK", "/collections/\x1b[2J", f"{ITEMS}/a\nb", "/x\u2028y"):
        raw(staffed, path.encode().decode("latin-1"))
        raw(staffed, path.encode().decode("latin-1"), X_API_Key="wrong")
    lines = [record.getMessage() for record in caplog.records if record.name == "tierra"]
    assert len(lines) >= 8
    assert all(line.isprintable() for line in lines)
