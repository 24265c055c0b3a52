"""Every route × caller × prefix × format × method: the status, and what must hold of every answer. No route is left out."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from urllib.parse import urlparse

import pytest
from werkzeug.routing import Map, Rule
from werkzeug.test import TestResponse

from providers.grant import TIERS
from server.handlers import common
from server.routes import ROUTES, URL_MAP, Route
from tests.conftest import House
from tests.security.battery import ids, sent
from tests.security.callers import prefixes_of, tier_of
from tests.security.expectations import SEEN_FROM, TABLE, Expected, differing, unnamed

CALLERS = (None, "shared", "department", "internal-county", "internal-province", "approver")
PREFIXES = ("", *(f"/{tier}" for tier in TIERS))
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
FORMATS = (None, "json", "html", "csv", "xml")
STATIC = "css/tierra.css"


def test_every_route_has_an_entry() -> None:
    assert unnamed() == []
    assert differing() == []
    assert {rule.rule for rule in URL_MAP.iter_rules()} == set(TABLE)


def test_a_route_without_an_entry_fails() -> None:
    added = Route("/collections/<collection_id>/tiles", common.get_health, common.JSON)
    assert unnamed((*ROUTES, added)) == ["/collections/<collection_id>/tiles"]
    assert unnamed(ROUTES[1:]) == [ROUTES[0].path]
    also = Map([*(rule.empty() for rule in URL_MAP.iter_rules()), Rule(added.path, endpoint=99)], converters=URL_MAP.converters)
    assert {rule.rule for rule in also.iter_rules()} != set(TABLE)
    assert differing((Route("/health", common.get_health, common.FORMATS),)) == ["/health"]
    assert differing((Route("/health", common.get_health, common.JSON, common.get_health),)) == ["/health"]


@pytest.fixture(scope="module")
def features(staffed: House) -> dict[str, str]:
    """An id of each collection that all may see who see the collection."""
    made = {}
    for name in SEEN_FROM:
        everyone, inside = (set(ids(staffed, caller, f"/collections/{name}", 1000)) for caller in (None, "internal-county"))
        made[name] = min(everyone & inside or inside or {"x"})
    return made


def places(route: str, features: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    """Addresses of a route, with the collection that each is of."""
    if "<collection_id>" not in route:
        yield route.replace("<path:path>", STATIC), None
        return
    for collection, feature in features.items():
        yield route.replace("<collection_id>", collection).replace("<any_text:feature_id>", feature), collection


def status_of(expected: Expected, caller: str | None, prefix: str, collection: str | None, method: str, form: str | None) -> int:
    if prefix not in prefixes_of(caller) or prefix in expected.hidden_under:
        return 404
    tier = prefix.removeprefix("/") or tier_of(caller)
    writes = method in ("POST", "PUT", "PATCH", "DELETE")
    if method == "TRACE" or (writes and not expected.write):
        return 405
    if form is not None and form not in expected.formats:
        return 400
    if not expected.sees(caller, tier, collection):
        return 404
    if writes:
        return 403
    status = expected.status(caller)
    return 204 if method == "OPTIONS" and status < 400 else status


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", TABLE)
def test_matrix(staffed: House, features: dict[str, str], route: str, caller: str | None, prefix: str) -> None:
    expected = TABLE[route]
    for place, collection in places(route, features):
        for method in METHODS:
            for form in FORMATS if method in ("GET", "POST") else (None,):
                if route == "/explain" and (method not in ("GET", "HEAD", "OPTIONS") or form not in (None, "json")):
                    continue  # how it hides is another test's
                path = f"{prefix}{place}" + (f"?f={form}" if form else "")
                answer = staffed.get(path, caller, method)
                wanted = status_of(expected, caller, prefix, collection, method, form)
                assert answer.status_code == wanted, (method, path, answer.text[:200])
                holds(staffed, answer, prefix, method)
                if wanted == 200 and method == "GET" and expected.data:
                    under(staffed, answer, prefix)


def holds(house: House, answer: TestResponse, prefix: str, method: str) -> None:
    """What is so of every answer."""
    heads = answer.headers
    varies = {name.strip() for name in heads["Vary"].split(",")}
    assert {"Accept", "Accept-Language", "Accept-Encoding"} <= varies
    cache = heads["Cache-Control"]
    if prefix == "/open":
        assert "public" in cache or cache == "no-store"
    else:
        assert {"X-API-Key", "Authorization"} <= varies
        assert "public" not in cache
    assert ("no-store" in cache) is (answer.status_code not in (200, 304))
    assert "Set-Cookie" not in heads
    assert heads["X-Content-Type-Options"] == "nosniff"
    assert not {"Server", "X-Powered-By"} & set(heads.keys())
    if method == "HEAD":
        assert answer.data == b""
    if answer.status_code in (400, 401, 403, 404, 405) and method != "HEAD":
        problem(answer)
    if answer.status_code == 405:
        assert heads["Allow"] == "GET, HEAD, OPTIONS"
    if answer.status_code == 403:
        assert heads["Allow"] == "GET, HEAD, OPTIONS"
    if answer.status_code == 401:
        assert heads["WWW-Authenticate"].startswith("Basic ")


def problem(answer: TestResponse) -> None:
    if answer.headers["Content-Type"].startswith("text/html"):
        assert str(answer.status_code) in answer.text or answer.status.partition(" ")[2] in answer.text
        return
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.data)["status"] == answer.status_code


def under(house: House, answer: TestResponse, prefix: str) -> None:
    """Every address of this server in an answer lies under the prefix that was asked under; no other server's is linked."""
    kind = answer.headers["Content-Type"]
    text = html.unescape(answer.text)
    if kind.startswith("text/csv"):
        assert next(csv.reader(io.StringIO(text)))[0] == "id"
        return
    if kind.startswith("text/html"):
        found = re.findall(r'(?:href|src|action)="([^"]*)"', text)
    else:
        found = re.findall(r'"(?:href|url|\$id)":"(http[^"]*)"', text)
    tiers = [f"/{tier}" for tier in TIERS]
    for address in found:
        parsed = urlparse(address)
        if parsed.netloc != urlparse(house.url).netloc or parsed.path.startswith("/static") or parsed.path in ("", "/"):
            continue
        if kind.startswith("text/html") and parsed.path.rstrip("/") in tiers and prefix != "/open":
            continue  # the switch of tiers
        if prefix:
            assert parsed.path == prefix or parsed.path.startswith(prefix + "/"), address
        else:
            assert not any(parsed.path.startswith(tier + "/") for tier in tiers), address


@pytest.mark.parametrize("caller", CALLERS[1:])
def test_every_byte_under_open_is_the_same_for_everyone(staffed: House, features: dict[str, str], caller: str) -> None:
    for route, expected in TABLE.items():
        for place, _ in places(route, features):
            for form in (None, *expected.formats):
                path = f"/open{place}" + (f"?f={form}" if form else "")
                assert sent(staffed.get(path, caller)) == sent(staffed.get(path)), path


def test_logging_in_under_open_is_the_same_for_everyone(staffed: House) -> None:
    assert sent(staffed.get("/open/login", "shared")) == sent(staffed.get("/open/login"))


@pytest.mark.parametrize("caller", CALLERS)
def test_what_is_unseen_is_told_from_nothing_that_is_missing(staffed: House, caller: str | None) -> None:
    """A hidden collection answers as one that does not exist, whatever is asked of it and how."""
    for prefix in prefixes_of(caller):
        if (prefix.removeprefix("/") or tier_of(caller)) == "internal":
            continue
        for place in ("", "/schema", "/queryables", "/sortables", "/items", "/items/MO-0001", "/items/nosuch", "/tiles"):
            for asked in (
                "",
                "?f=html",
                "?f=xml",
                "?limit=x",
                "?filter=grade='x'",
                "?grade=x",
                "?sortby=grade",
                "?lang=zh",
                "?nosuch=1",
            ):
                for method in ("GET", "OPTIONS", "POST", "DELETE"):
                    one = staffed.get(f"{prefix}/collections/minerals{place}{asked}", caller, method)
                    two = staffed.get(f"{prefix}/collections/mineralz{place}{asked}", caller, method)
                    assert one.status_code == two.status_code
                    assert one.data.replace(b"minerals", b"mineralz") == two.data
                    for name in ("Allow", "Content-Type", "Cache-Control", "Vary"):
                        assert one.headers.get(name) == two.headers.get(name)
