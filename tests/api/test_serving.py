"""Whether the served process keeps what the application promises: in both workers, at the next request, to the last one."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from server.settings import ROOT
from tests.conftest import House, serve, stop

ITEMS = "/collections/parcels/items"
# new connections go to either worker; so many miss neither (2 ** -15)
ENOUGH = 16


@contextmanager
def running(house: House, **environ: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process, url = serve(house, **environ)
    try:
        deadline = time.monotonic() + 10
        while (house.directory / "server.log").read_bytes().count(b"Started worker") < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        yield process, url
    finally:
        stop(process)


def get(url: str, key: str | None = None, **headers: str) -> tuple[int, bytes]:
    """Ask over a connection of its own."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"X-API-Key": key} if key else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=sent), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as err:
        return err.code, err.read()


def everywhere(url: str, key: str | None = None) -> set[int]:
    """The statuses that the workers answer with."""
    return {get(url, key)[0] for _ in range(ENOUGH)}


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(pid: int) -> list[int]:
    """The processes below one that have threads, as a worker has; Python's own helpers have none."""
    return [child for child in children(pid) if len(os.listdir(f"/proc/{child}/task")) > 1]


# starting


def test_start_up_is_quick_and_there_are_two_workers(house: House, record_property: Callable[[str, object], None]) -> None:
    began = time.monotonic()
    with running(house) as (process, url):
        spent = time.monotonic() - began
        print(f"start-up: {spent:.2f} s")
        record_property("start-up", spent)
        assert spent < 5
        assert get(f"{url}/collections")[0] == 200
        if Path("/proc/self/task").exists():
            assert len(workers(process.pid)) == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_demonstration_is_not_opened_to_other_machines(house: House, host: str) -> None:
    environ = os.environ | house.environ | {"HOST": host, "PORT": "0"}
    words = [sys.executable, "-m", "server.cli", "serve"]
    done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert host in done.stderr and "DEMO=1" in done.stderr
    assert not any(key in done.stderr + done.stdout for key in house.keys.values())


def test_demonstration_may_be_opened_on_demand(house: House) -> None:
    with running(house, HOST="0.0.0.0", DEMO="1") as (_, url):
        assert get(f"{url}/health")[0] == 200
    for key in house.keys.values():
        house.tierra("key", "revoke", key.partition(".")[0])
    with running(house, HOST="0.0.0.0") as (_, url):
        assert get(f"{url}/health")[0] == 200


def test_wrong_configuration_does_not_start(house: House) -> None:
    house.rewrite("gauges", lambda text: text.replace("gauge_id, name_zh", "gauge_id, nome_zh"))
    words = [sys.executable, "-m", "server.cli", "serve"]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | house.environ | {"PORT": "0"}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0 and "gauges.yml:" in done.stderr and "Traceback" not in done.stderr


# stopping


@pytest.mark.parametrize("attempt", range(2))
def test_server_that_has_only_begun_stops(house: House, attempt: int) -> None:
    """One worker is there while the other still starts: the signal must not be lost on that one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    log = house.directory / "server.log"
    words = [sys.executable, "-m", "server.cli", "serve"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, cwd=ROOT, env=os.environ | house.environ | {"PORT": port}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 20
        while b"Started worker" not in log.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        assert process.wait(8) == 0, "it does not stop"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_download_under_way_is_finished(house: House) -> None:
    """A client that has read a part gets the rest after the server was told to stop."""
    with running(house) as (process, url):
        address = urlsplit(url)
        with socket.create_connection((str(address.hostname), int(address.port or 0))) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            path = f"{ITEMS}?limit=10000&crs=http://www.opengis.net/def/crs/EPSG/0/4547"
            key = house.keys["internal-province"]
            sock.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n".encode()
            )
            got = sock.recv(2048)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            while part := sock.recv(65536):
                got += part
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        assert len(body) == length > 500_000
        assert len(json.loads(body)["features"]) == 2000
        assert process.wait(20) == 0


def test_requests_that_were_taken_are_answered(house: House) -> None:
    """More of them than workers, each slow, when the server is told to stop."""
    with running(house) as (process, url):
        answers: list[Any] = []
        key = house.keys["internal-province"]

        def ask(n: int) -> None:
            try:
                answers.append(get(f"{url}{ITEMS}?limit=10000&f=csv&offset={n}", key)[0])
            except OSError as err:
                answers.append(err)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.15)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        assert answers == [200] * 6
        assert process.wait(20) == 0
        with pytest.raises(OSError):
            socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), timeout=2)


# what changes is in force at the next request


@pytest.fixture(scope="module")
def live(sample: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A house with a server that the tests below change in turn."""
    made = House(tmp_path_factory.mktemp("live") / "house")
    shutil.copytree(sample.directory, made.directory)
    with running(made) as (_, url):
        assert everywhere(f"{url}{ITEMS}?limit=1") == {200}
        yield made, url


def test_configuration_is_in_force_at_the_next_request(live: tuple[House, str]) -> None:
    house, url = live
    for title in ("Gauges of rain", "Pluviometers"):
        file = house.directory / "config" / "collections" / "gauges.yml"
        lines = file.read_text().splitlines()
        lines = [f"title: {{en: {title}, zh: 雨量站}}" if line.startswith("title:") else line for line in lines]
        file.write_text("\n".join(lines) + "\n")
        found = {json.loads(get(f"{url}/collections/gauges")[1])["title"] for _ in range(ENOUGH)}
        assert found == {title}


def test_wrong_configuration_is_refused_and_health_says_so(live: tuple[House, str]) -> None:
    house, url = live
    key = house.keys["internal-province"]

    def health(caller: str | None) -> list[Any]:
        return [json.loads(get(f"{url}/health", caller)[1]) for _ in range(ENOUGH)]

    assert {answer["status"] for answer in health(None)} == {"ok"}
    file = house.directory / "config" / "collections" / "gauges.yml"
    good = file.read_text()
    file.write_text(good.replace("gauge_id, name_zh", "gauge_id, nome_zh"))
    assert everywhere(f"{url}/collections/gauges/items") == {200}  # the former one stays
    assert all(answer == {"status": "degraded"} for answer in health(None))  # no details for the public
    for answer in health(key):
        assert (
            answer["status"] == "degraded"
            and "gauges.yml:" in answer["configuration"][0]
            and "nome_zh" in answer["configuration"][0]
        )
    file.write_text(good)
    assert {answer["status"] for answer in health(None)} == {"ok"}


def test_directory_among_the_files_is_said_too(live: tuple[House, str]) -> None:
    house, url = live
    place = house.directory / "config" / "collections" / "other.yml"
    place.mkdir()
    try:
        assert {json.loads(get(f"{url}/health")[1])["status"] for _ in range(ENOUGH)} == {"degraded"}
        assert everywhere(f"{url}{ITEMS}?limit=1") == {200}
    finally:
        place.rmdir()


def test_new_and_revoked_keys(live: tuple[House, str]) -> None:
    house, url = live
    key = house.tierra("key", "add", "--tier", "internal", "--level", "city", "--division", "5101").splitlines()[0]
    assert everywhere(f"{url}/collections/minerals", key) == {200}
    house.tierra("key", "revoke", key.partition(".")[0])
    assert everywhere(f"{url}/collections/minerals", key) == {401}
    assert everywhere(f"{url}/open", key) == {401}  # a wrong credential is never anonymous


def test_agreement_that_ends(live: tuple[House, str]) -> None:
    house, url = live
    key = house.keys["shared"]

    def owners() -> set[bool]:
        return {"owner" in json.loads(get(f"{url}{ITEMS}?limit=1", key)[1])["features"][0]["properties"] for _ in range(ENOUGH)}

    assert owners() == {True}
    identifier = house.tierra("agreement", "list").splitlines()[1].split()[0]
    house.tierra("agreement", "end", identifier)
    assert owners() == {False}


def test_approval_and_edition(live: tuple[House, str]) -> None:
    house, url = live
    house.rewrite("stations", lambda text: text.replace("properties: [station_id, name_zh,", "properties: [station_id,"))
    assert everywhere(f"{url}/collections/stations/items") == {404}
    house.tierra("approve", "stations", "--by", house.keys["approver"].partition(".")[0], "--because", "test")
    assert everywhere(f"{url}/collections/stations/items") == {200}
    page = json.loads(get(f"{url}/collections/stations/items?limit=1")[1])
    assert "name_zh" not in page["features"][0]["properties"]


# connections


def test_connection_is_kept(served: str, sample: House) -> None:
    """One after another on one connection: answers with and without a body, and errors."""
    address = urlsplit(served)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    sock = None
    tag = ""
    for method, path, headers, body, status in [
        ("GET", "/collections", {}, None, 200),
        ("HEAD", f"{ITEMS}?limit=1000", {}, None, 200),
        ("GET", "/nowhere", {}, None, 404),
        ("OPTIONS", ITEMS, {}, None, 204),
        ("POST", ITEMS, {}, None, 403),
        ("PUT", "/collections", {}, None, 405),
        ("GET", f"{ITEMS}?limit=5", {"Accept-Encoding": "gzip"}, None, 200),
        ("GET", f"{ITEMS}?limit=5", {"Accept-Encoding": "gzip", "If-None-Match": "TAG"}, None, 304),
        ("GET", f"{ITEMS}?limit=1000", {}, None, 200),
    ]:
        sent = {name: value.replace("TAG", tag) for name, value in headers.items()}
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == status, (method, path)
        assert (data == b"") is (method == "HEAD" or status in (204, 304))
        tag = answer.headers.get("ETag", tag)
        assert sock in (None, connection.sock), "the connection was not kept"
        sock = connection.sock
    connection.close()


@pytest.mark.parametrize("size", [2, 1000, 200_000])
def test_refused_write_does_not_break_the_connection(served: str, size: int) -> None:
    """Its body is read, or the answer says that the connection ends (RFC 9112, 9.6): the next request must not fail."""
    address = urlsplit(served)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    for _ in range(10):
        connection.request("POST", ITEMS, body=b"x" * size, headers={"Content-Type": "application/geo+json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 403
        time.sleep(0.01)
        connection.request("GET", "/conformance")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def test_addresses_are_decoded_as_utf_8(served: str) -> None:
    status, body = get(f"{served}/collections/{quote('中文 é😀')}")
    assert status == 404 and "中文 é😀" in json.loads(body)["detail"]
    status, body = get(f"{served}/collections/stations/items?name_zh={quote('青岭地震台')}")
    page = json.loads(body)
    assert page["numberMatched"] == 1 and page["features"][0]["properties"]["name_zh"] == "青岭地震台"
    assert page["links"][0]["href"].startswith(served)


def test_many_connections_get_right_answers(served: str, sample: House) -> None:
    """Callers of different tiers at once, each with its own answer."""
    expected = {
        name: sample.json(f"{ITEMS}?limit=20", name)["features"] for name in (None, "shared", "internal-county", "approver")
    }
    wrong: list[Any] = []

    def ask(name: str | None) -> None:
        for _ in range(15):
            status, body = get(f"{served}{ITEMS}?limit=20", sample.keys[name] if name else None)
            if status != 200 or json.loads(body)["features"] != expected[name]:
                wrong.append((name, status))

    threads = [threading.Thread(target=ask, args=(name,)) for name in expected for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
