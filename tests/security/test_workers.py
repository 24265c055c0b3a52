"""Whether every worker of a running server holds to the policy: revocation, agreements, approvals, two counties in turn."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlparse

import pytest
import requests

from tests.conftest import House, serve, stop
from tests.security.callers import copy_of, key_id

ITEMS = "/collections/parcels/items"
# connections enough that each of two workers gets some
CONNECTIONS = 16


@dataclass
class Running:
    house: House
    url: str

    def ask(self, path: str, caller: str | None = None) -> list[requests.Response]:
        """The answers to one request, asked over several new connections at once."""
        headers = {"X-API-Key": self.house.keys[caller]} if caller else {}
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda _: requests.get(self.url + path, headers=headers, timeout=20), range(CONNECTIONS)))

    def status(self, path: str, caller: str | None = None) -> set[int]:
        return {answer.status_code for answer in self.ask(path, caller)}


@pytest.fixture(scope="module")
def running(staffed: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    house = copy_of(staffed, tmp_path_factory.mktemp("running") / "house")
    process, url = serve(house, WORKERS="2")
    yield Running(house, url)
    stop(process)


def test_counties_in_turn_get_their_own(running: Running) -> None:
    theirs = {"internal-county": "510101", "other-county": "510202"}
    for asked in ("limit=50", "limit=500&sortby=-area_ha", "filter=landuse='05'&limit=500", "bbox=100,20,130,40"):
        for _ in range(2):
            for caller, code in theirs.items():
                bodies = {answer.content for answer in running.ask(f"{ITEMS}?{asked}", caller)}
                assert len(bodies) == 1
                page = requests.get(
                    f"{running.url}{ITEMS}?{asked}", headers={"X-API-Key": running.house.keys[caller]}, timeout=20
                ).json()
                assert {row["properties"]["division"] for row in page["features"]} == {code}


def test_revoked_key_is_refused_by_every_worker_at_once(running: Running) -> None:
    extra = running.house.tierra("key", "add", "--tier", "internal", "--level", "county", "--division", "510101").splitlines()[0]
    with requests.Session() as session:  # a connection that stays open is no pass either
        session.headers["X-API-Key"] = extra
        sessions = [requests.Session() for _ in range(CONNECTIONS)]
        for other in sessions:
            other.headers["X-API-Key"] = extra
            assert other.get(f"{running.url}{ITEMS}", timeout=20).status_code == 200
        running.house.tierra("key", "revoke", extra.partition(".")[0])
        assert {other.get(f"{running.url}{ITEMS}", timeout=20).status_code for other in sessions} == {401}
        assert session.get(f"{running.url}/open/", timeout=20).status_code == 401
        for other in sessions:
            other.close()


def test_agreement_begins_and_ends_in_every_worker_at_once(running: Running) -> None:
    assert "owner" not in running.ask(ITEMS, "department")[0].json()["features"][0]["properties"]
    today = datetime.now(UTC).date()
    made = running.house.tierra(
        "agreement", "add", "parcels", "--agency", "Department of Transport", "--purpose", "roads", "--by",
        key_id(running.house, "approver"), "--from", str(today - timedelta(days=1)), "--until", str(today + timedelta(days=9)),
    )  # fmt: skip
    for answer in running.ask(ITEMS, "department"):
        assert "owner" in answer.json()["features"][0]["properties"]
    running.house.tierra("agreement", "end", made.partition(":")[0])
    for answer in running.ask(ITEMS, "department"):
        assert "owner" not in answer.json()["features"][0]["properties"]


def test_widened_recipe_is_closed_in_every_worker_at_once(running: Running) -> None:
    narrow, wide = "type]\n    mask: {date: year}  ", "type, informant]\n    mask: {date: year}  "
    path = "/collections/landslides/items"
    assert running.status(path) == {200}
    running.house.rewrite("landslides", lambda text: text.replace(narrow, wide, 1))
    assert running.status(path) == {404}
    assert running.status(path, "shared") == {200}
    running.house.tierra("approve", "landslides", "--by", key_id(running.house, "approver"), "--because", "looked at")
    for answer in running.ask(path):
        assert "informant" in answer.json()["features"][0]["properties"]
    running.house.rewrite("landslides", lambda text: text.replace(wide, narrow, 1))
    assert running.status(path) == {503}  # the narrower recipe is approved, and its edition is not there
    running.house.tierra("editions", "build", "landslides")
    for answer in running.ask(path):
        assert "informant" not in answer.json()["features"][0]["properties"]


RAW = [
    b"GET /open/../internal/collections/minerals/items HTTP/1.1",
    b"GET /open/%2e%2e/internal/collections/minerals/items HTTP/1.1",
    b"GET /open%2f..%2finternal/collections/minerals/items HTTP/1.1",
    b"GET //internal/collections/minerals/items HTTP/1.1",
    b"GET /internal%2fcollections%2fminerals%2fitems HTTP/1.1",
    b"GET /collections/minerals%00/items HTTP/1.1",
    b"GET /static/%2e%2e/%2e%2e/setup.cfg HTTP/1.1",
    b"GET /static/..%2f..%2fsetup.cfg HTTP/1.1",
    b"GET /static/%5c..%5c..%5csetup.cfg HTTP/1.1",
    b"GET http://evil.example/internal/collections/minerals/items HTTP/1.1",
    b"GET /collections/x%0d%0aSet-Cookie:%20a=b HTTP/1.1",
]


@pytest.mark.parametrize("line", RAW, ids=range(len(RAW)))
def test_addresses_as_they_come_over_the_wire(running: Running, line: bytes) -> None:
    place = urlparse(running.url)
    for more in (b"", b"X-API-Key: " + running.house.keys["shared"].encode() + b"\r\n"):
        with socket.create_connection((place.hostname, place.port), timeout=10) as link:
            link.sendall(line + b"\r\nHost: evil.example\r\nConnection: close\r\n" + more + b"\r\n")
            answer = b""
            while chunk := link.recv(65536):
                answer += chunk
        head = answer.partition(b"\r\n\r\n")[0]
        assert head.split()[1] in (b"404", b"400"), head
        assert b"MO-0001" not in answer
        assert b"[metadata]" not in answer
        assert b"set-cookie" not in head.lower()
        assert b"evil.example" not in answer
