"""What the sample answers where there is no network: run in a network namespace, it makes the sample, serves it and asks for all.

Arguments: an empty directory. It prints JSON: `interfaces`, and for every address of the server that its pages and documents link
to, its `status` and, for a page, the addresses of its scripts, styles and pictures (`assets`).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from server.settings import ROOT
from tests.conftest import House, serve, stop

PARCELS = 200
# Addresses that differ in what they page through or choose are of one kind; this many are asked of each.
EACH = 4
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1


class Links(HTMLParser):
    """What a page links to, and what it cannot be shown without."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.links: set[str] = set()
        self.assets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        for name in ("href", "src", "action", "data-schema", "data-outline"):
            if value := told.get(name):
                url = urljoin(self.page, value).partition("#")[0]
                asset = tag in ("script", "img", "iframe") or (tag == "link" and told.get("rel") in ("stylesheet", "icon"))
                (self.assets if asset else self.links).add(url)


def loopback_up() -> None:
    """Set the loopback interface up, which in a new namespace is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, _GET_FLAGS, asked), 16)
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def make(directory: Path) -> House:
    """The sample as `make serve` makes it, with fewer parcels."""
    house = House(directory)
    shutil.copytree(ROOT / "config", directory / "config")
    (directory / "data").mkdir()
    env = os.environ | house.environ
    for words in (
        ["data_samples", "--out", str(directory / "data" / "province.gpkg"), "--parcels", str(PARCELS)],
        ["server.cli", "demo"],
    ):
        subprocess.run([sys.executable, "-m", *words], check=True, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    return house


def get(url: str) -> tuple[int, str, str]:
    """Status, media type and text of an answer, as a browser gets it."""
    asked = urllib.request.Request(url, headers={"Accept": "text/html, */*;q=0.5"})
    try:
        answer = urllib.request.urlopen(asked, timeout=20)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        return answer.status, answer.headers.get_content_type(), answer.read().decode(errors="replace")


def kind(url: str) -> str:
    """The address without what makes it one of many alike."""
    parts = urlsplit(url)
    names = sorted(pair if pair.startswith("f=") else pair.partition("=")[0] for pair in parts.query.split("&"))
    return re.sub(r"/items/[^/]+", "/items/…", parts.path) + "?" + "&".join(names)


def crawl(origin: str) -> dict[str, Any]:
    """Ask for all that the server links to, from its landing page and its static files on."""
    static = ROOT / "server" / "static"
    waiting = [f"{origin}/", *(f"{origin}/static/{file.relative_to(static)}" for file in static.rglob("*") if file.is_file())]
    seen: dict[str, Any] = {}
    kinds: dict[str, int] = {}
    while waiting:
        url = waiting.pop(0)
        kinds[kind(url)] = kinds.get(kind(url), 0) + 1
        if url in seen or kinds[kind(url)] > EACH:
            continue
        status, media, text = get(url)
        found: set[str] = set()
        seen[url] = {"status": status}
        if media == "text/html":
            page = Links(url)
            page.feed(text)
            seen[url]["assets"] = sorted(page.assets)
            found = page.links | page.assets
        elif media.endswith("json"):
            found = set(re.findall(r'"href": ?"([^"]+)"', text))
        waiting += sorted(link for link in found if urlsplit(link).netloc == urlsplit(origin).netloc)
    return seen


def main() -> None:
    loopback_up()
    house = make(Path(sys.argv[1]))
    process, url = serve(house)
    try:
        said = {"interfaces": [name for _, name in socket.if_nameindex()], "origin": url, "answers": crawl(url)}
    finally:
        stop(process)
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
