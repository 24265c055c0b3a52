"""Whether the landing page, conformance, log-in, health, explain and the assets are as a client or a browser needs them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from pygeoapi.api import APIRequest, landing_page
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request as HTTPRequest

from server.identity import ANONYMOUS
from tests.conftest import House

OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
PLACES = [(None, ""), (None, "/open"), ("shared", ""), ("shared", "/shared"), ("approver", "/internal"), ("approver", "/open")]
PAGES = [
    "/", "/collections", "/conformance", "/openapi", "/collections/parcels", "/collections/parcels/items",
    "/collections/parcels/schema",
    "/collections/parcels/queryables", "/collections/parcels/sortables", "/collections/stations/items?limit=2&offset=2",
]  # fmt: skip


@pytest.mark.parametrize("caller, prefix", PLACES)
@pytest.mark.parametrize("form", ["json", "html"])
def test_every_link_of_the_landing_page_answers(sample: House, caller: str | None, prefix: str, form: str) -> None:
    """Each with the media type that it says. pygeoapi's page leads to processes and tiling schemes, which are not there."""
    links = sample.json(prefix or "/", caller)["links"] if form == "json" else addresses(sample, f"{prefix}/?f=html", caller)
    assert links
    for link in links:
        assert link["href"].startswith(sample.url + prefix) or form == "html"
        path = link["href"].removeprefix(sample.url) or "/"
        answer = sample.get(path, caller, **({"Accept": link["type"]} if "type" in link else {}))
        assert answer.status_code in (200, 303, 401) if path.endswith("/login") else answer.status_code == 200, link
        if "type" in link:
            assert answer.content_type.partition(";")[0] == link["type"].partition(";")[0], link


def test_vanilla_landing_page_leads_nowhere(sample: House) -> None:
    """pygeoapi's own handler, for the same caller."""
    audience = sample.app.audiences.get(sample.app.watch.config(), ANONYMOUS, "open", "")
    http = HTTPRequest(EnvironBuilder("/").get_environ())
    _, _, body = landing_page(audience.api, APIRequest.from_flask(http, ["en", "zh"]))
    paths = [link["href"].removeprefix(sample.url) or "/" for link in json.loads(body)["links"]]
    assert [path for path in paths if sample.get(path).status_code == 404]


def test_links_that_clients_need(sample: House) -> None:
    """QGIS asks for exactly these relations and types; Common Part 1, requirement 2."""
    links = {(link["rel"], link["type"]) for link in sample.json("/")["links"]}
    assert {
        ("service-desc", OPENAPI),
        ("service-doc", "text/html"),
        ("conformance", "application/json"),
        ("data", "application/json"),
    } <= links
    assert {("self", "application/json"), ("alternate", "text/html")} <= links
    (description,) = [link for link in sample.json("/")["links"] if link["rel"] == "service-desc"]
    assert sample.get(description["href"].removeprefix(sample.url)).content_type == OPENAPI


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, value) for name, value in attrs if name in ("href", "src", "action") and value]


def addresses(house: House, path: str, caller: str | None) -> list[dict[str, str]]:
    """What a page leads to or loads, on this server."""
    answer = house.get(path, caller)
    assert answer.status_code == 200, path
    base = house.url + path
    made = dict.fromkeys(
        urljoin(base, address).split("#")[0]
        for _, address in _Page(answer.text).found
        if not address.startswith(("mailto:", "data:", "#"))
    )
    return [{"href": address} for address in made if address.startswith(house.url)]


@pytest.mark.parametrize("caller, prefix", [(None, "/open"), ("approver", "")])
@pytest.mark.parametrize("page", PAGES)
def test_every_address_on_a_page_answers(sample: House, caller: str | None, prefix: str, page: str) -> None:
    path = prefix + page + ("&" if "?" in page else "?") + "f=html"
    for link in addresses(sample, path, caller):
        to = link["href"].removeprefix(sample.url) or "/"
        assert sample.get(to, caller).status_code in ((200, 303) if caller else (200, 401 if to.endswith("/login") else 200)), (
            path,
            to,
        )


@pytest.mark.parametrize("page", PAGES)
def test_pages_run_only_what_this_server_sends(sample: House, page: str) -> None:
    answer = sample.get(page + ("&" if "?" in page else "?") + "f=html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*type=.application/json)[^>]*>\s*\S", answer.text)  # nothing inline
    assert not re.search(r"\son\w+=|style=", answer.text)


def test_conformance(sample: House) -> None:
    declared = sample.json("/conformance")["conformsTo"]
    assert len(declared) == len(set(declared)) and all(uri.startswith("http://www.opengis.net/spec/") for uri in declared)
    assert not [uri for uri in declared if "create-replace-delete" in uri or "processes" in uri]


# log-in


def test_log_in_of_a_browser(sample: House) -> None:
    """RFC 7617: the challenge, then the way back to where it was asked."""
    answer = sample.get("/login")
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    for prefix in ("", "/shared"):
        answer = sample.get(f"{prefix}/login", "shared")
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"{sample.url}{prefix}/"
        assert answer.data == b"" or sample.keys["shared"].encode() not in answer.data


@pytest.mark.parametrize("path", ["/", "/login", "/collections", "/nowhere", "/health", "/static/css/tierra.css", "/open"])
@pytest.mark.parametrize("sent", [
    {"X_API_Key": "wrong"}, {"X_API_Key": ""}, {"Authorization": "Bearer abc"}, {"Authorization": "Basic !!!"},
    {"Authorization": "Basic dTpw"},
    {"Authorization": ""},
])  # fmt: skip
def test_wrong_credential_is_never_anonymous(sample: House, path: str, sent: dict[str, str]) -> None:
    answer = sample.get(path, **sent)
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Basic")
    assert answer.content_type == "application/problem+json"


# health, explain


def test_health(sample: House) -> None:
    assert (
        sample.json("/health") == {"status": "ok"} == sample.json("/health", "shared") == sample.json("/open/health", "approver")
    )
    assert sample.json("/health", "approver") == {"status": "ok", "configuration": [], "editions": {}}


def test_health_says_what_waits(house: House) -> None:
    (house.directory / "state" / "editions" / "open" / "gauges.sqlite").unlink()
    assert house.json("/health") == {"status": "degraded"}
    assert house.json("/health", "approver")["editions"] == {"gauges (open)": "missing"}


def test_health_of_a_file_that_is_no_edition(house: House) -> None:
    (house.directory / "state" / "editions" / "open" / "gauges.sqlite").write_bytes(b"not a database" * 1000)
    for path in ("/health", "/open/health"):
        assert house.json(path)["status"] == "degraded"


def test_explain_is_for_approvers(sample: House) -> None:
    for caller in (None, "shared", "internal-province", "internal-county"):
        assert sample.get("/explain?collection=parcels", caller).status_code == 404
    for prefix in ("/open", "/shared"):
        assert sample.get(f"{prefix}/explain?collection=parcels", "approver").status_code == 404
    said: Any = sample.json("/explain?collection=parcels", "approver")
    assert (said["answer"], said["grant"]["tier"]) == (200, "open")
    for query, parameter in (
        ("", "collection"),
        ("collection=nope", "collection"),
        ("collection=parcels&as=nobody", "as"),
        ("collection=parcels&tier=top", "tier"),
    ):
        answer = sample.get(f"/explain?{query}", "approver")
        assert answer.status_code == 400 and json.loads(answer.data)["parameter"] == parameter


def test_explain_refuses_an_action_that_there_is_not(sample: House) -> None:
    answer = sample.get("/explain?collection=parcels&action=fly", "approver")
    assert answer.status_code == 400 or json.loads(answer.data)["answer"] != 200


# assets


def test_assets_stay_in_their_folder(sample: House) -> None:
    for path in (
        "../app.py",
        "%2e%2e/app.py",
        "css/../../app.py",
        "/etc/passwd",
        "..%2f..%2fsetup.cfg",
        "css",
        "",
        "%00",
        "vendor",
    ):
        assert sample.get(f"/static/{path}").status_code == 404, path


def test_assets_have_their_types(sample: House) -> None:
    for path, media in (("css/tierra.css", "text/css"), ("js/map.js", "text/javascript"), ("img/logo.svg", "image/svg+xml")):
        for accept in ("*/*", "text/css,*/*;q=0.1", "image/avif,image/webp,*/*;q=0.8"):
            answer = sample.get(f"/static/{path}", Accept=accept)
            assert answer.status_code == 200 and answer.content_type.partition(";")[0] == media
