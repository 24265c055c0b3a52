"""Whether the pages work in a browser: maps are drawn, nothing is asked of elsewhere, a key logs in and the page says so."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from tests import needs
from tests.clients.chromium import Chromium, Page, Pixels
from tests.clients.seen import PARCELS, Source, fetch
from tests.conftest import House

needs.needs("chromium", "bash")

ITEMS = "/collections/parcels/items?limit=100"
PAGES = (
    "/",
    "/collections",
    "/collections/parcels",
    ITEMS,
    "/collections/parcels/items?filter=landuse%3D%2701%27&bbox=113.5,30.5,113.9,30.8",
    "/collections/stations/items",
    "/collections/parcels/schema?f=html",
    "/collections/parcels/queryables?f=html",
    "/collections/parcels/sortables?f=html",
    "/conformance",
    "/openapi?f=html",
    "/open",
)
# The map's paints: its ground, and that of features, whole at an edge and a little over an area.
GROUND, INK = np.array((238, 241, 238)), np.array((15, 95, 82))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def calm(page: Page, origin: str) -> None:
    """The page complains of nothing, and all that it and its workers asked for is the server's own."""
    assert page.complaints == []
    parts = [urlsplit(url) for url in page.requests]
    # what a style sheet holds within itself is no request; before the @ is what a user typed
    places = {f"{part.scheme}://{part.netloc.rpartition('@')[2]}" for part in parts if part.scheme not in ("data", "blob")}
    assert places == {origin}


def covered(pixels: Pixels) -> NDArray[np.bool_]:
    """Where the map shows a feature: its area, or its edge and the shades between. The greys of lines lie aside."""
    colours = pixels[:, :, :3].astype(float)
    along = ((GROUND - colours) @ (GROUND - INK)) / ((GROUND - INK) @ (GROUND - INK))
    aside = np.abs(GROUND - colours - along[:, :, None] * (GROUND - INK)).max(axis=2)
    shown: NDArray[np.bool_] = (along > 0.17) & (aside < 5)
    return shown


class View:
    """Where a map of some size puts places when it fits geometries within 40 pixels of its edges (web Mercator)."""

    def __init__(self, geometries: list[BaseGeometry], width: float, height: float) -> None:
        self.size = (width, height)
        west, south, east, north = self.mercator(shapely.GeometryCollection(geometries)).bounds
        self.scale = min((width - 80) / (east - west), (height - 80) / (north - south))
        self.middle = ((west + east) / 2, (south + north) / 2)

    @staticmethod
    def mercator(geometry: BaseGeometry) -> BaseGeometry:
        def project(places: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = np.radians(places).T
            return np.column_stack((x, np.log(np.tan(math.pi / 4 + y / 2))))

        return shapely.transform(geometry, project)

    def place(self, longitude: float, latitude: float) -> tuple[float, float]:
        """Pixels from the left and the upper edge."""
        at = self.mercator(shapely.Point(longitude, latitude))
        (width, height), (x, y) = self.size, self.middle
        return width / 2 + (at.x - x) * self.scale, height / 2 - (at.y - y) * self.scale

    def share(self, geometries: list[BaseGeometry]) -> float:
        """The share of the map that polygons cover with their edges, which are 1.2 pixels wide."""
        edged = self.mercator(shapely.union_all(geometries)).buffer(0.6 / self.scale)
        return float(edged.area * self.scale**2 / (self.size[0] * self.size[1]))


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_are_calm_and_fit(browser: Chromium, served: str, width: int) -> None:
    page = browser.page(width)
    for path in PAGES:
        page.open(served + path)
        assert page.text("h1"), path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        if page.evaluate("!!document.getElementById('map')"):
            page.settled("#map canvas", lambda pixels: bool(covered(pixels).any()))
    calm(page, served)


@pytest.mark.parametrize("width", [1280, 400])
def test_map_shows_the_items_of_the_page(browser: Chromium, served: str, width: int) -> None:
    """What is covered is what the same items cover, projected here: neither more nor elsewhere."""
    geometries = [shape(feature["geometry"]) for feature in fetch(served + ITEMS)["features"]]
    page = browser.page(width)
    page.open(served + ITEMS)

    def whole(pixels: Pixels) -> bool:
        """The map is drawn tile by tile: it is waited for until all of it is there, and in its place."""
        drawn = covered(pixels)
        view = View(geometries, drawn.shape[1], drawn.shape[0])
        inside = [geometry for geometry in geometries if math.sqrt(View.mercator(geometry).area) * view.scale > 12]
        places = [view.place(*shapely.maximum_inscribed_circle(geometry).coords[0]) for geometry in inside]
        marked = all(drawn[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].all() for x, y in places)
        return len(inside) > 10 and marked and bool(drawn.mean() == pytest.approx(view.share(geometries), rel=0.06))

    page.settled("#map canvas", whole)
    calm(page, served)


def test_click_on_a_parcel_tells_of_it(browser: Chromium, served: str) -> None:
    features = fetch(served + ITEMS)["features"]
    geometries = [shape(feature["geometry"]) for feature in features]
    page = browser.page()
    page.open(served + ITEMS)
    drawn = page.settled("#map canvas", lambda pixels: bool(covered(pixels).any()))
    left, top, width, height = page.box("#map canvas")
    assert drawn.shape[:2] == (round(height), round(width))
    largest = max(range(len(features)), key=lambda i: geometries[i].area)
    x, y = View(geometries, width, height).place(*shapely.maximum_inscribed_circle(geometries[largest]).coords[0])
    page.click(left + x, top + y)
    page.until("document.querySelector('.maplibregl-popup')")
    told = page.text(".maplibregl-popup") or ""
    for value in (features[largest]["id"], features[largest]["properties"]["landuse"]):
        assert value in told
    assert page.text("tr.picked th") == features[largest]["id"]


def test_table_holds_the_items(browser: Chromium, served: str, source: Source) -> None:
    first = fetch(served + ITEMS)
    second = fetch(next(link["href"] for link in first["links"] if link["rel"] == "next"))
    page = browser.page()
    page.open(served + ITEMS)
    assert heads(page) == PARCELS[None].properties
    assert rows(page) == [feature["id"] for feature in first["features"]]
    assert f"100 of {source.count('parcels', PARCELS[None].rows)}" in (page.text(".paging") or "")
    page.follow(lambda: page.evaluate("document.querySelector('a[rel=next]').click()"))
    assert rows(page) == [feature["id"] for feature in second["features"]]


def heads(page: Page) -> tuple[str, ...]:
    """The names of the columns of a page's table of items."""
    return tuple(page.evaluate("[...document.querySelectorAll('#items thead th')].map((cell) => cell.textContent)"))


def rows(page: Page) -> list[str]:
    """The titles of the items in the table."""
    found: list[str] = page.evaluate("[...document.querySelectorAll('#items tbody th')].map((cell) => cell.textContent)")
    return found


def test_filter_form_asks_the_server(browser: Chromium, served: str, source: Source) -> None:
    page = browser.page()
    page.open(served + ITEMS)
    page.evaluate("document.getElementById('property').value = 'landuse'; document.getElementById('value').value = '03'")
    page.follow(lambda: page.evaluate("document.getElementById('filter').requestSubmit()"))
    assert page.evaluate("new URLSearchParams(location.search).get('landuse')") == "03"
    assert f"of {source.count('parcels', PARCELS[None].rows + " AND landuse = '03'")}" in (page.text(".paging") or "")
    calm(page, served)


def test_language(browser: Chromium, served: str) -> None:
    page = browser.page()
    page.open(served + "/collections/parcels")
    assert (page.text("h1"), page.evaluate("document.documentElement.lang")) == ("Parcels", "en")
    page.follow(lambda: page.evaluate("document.querySelector('a[data-lang=zh]').click()"))
    assert page.text("h1") == "宗地"
    assert page.evaluate("document.documentElement.lang").startswith("zh")
    # and it stays so
    page.follow(lambda: page.evaluate("document.querySelector('main a[href*=\"/items\"]').click()"))
    assert page.text("h1") == "宗地"
    calm(page, served)


def test_language_of_the_reader(browser: Chromium, served: str) -> None:
    page = browser.page(language="zh-CN,zh;q=0.9,en;q=0.5")
    page.open(served + "/collections/parcels")
    assert page.text("h1") == "宗地"


@pytest.mark.parametrize("caller", ["shared", "internal-county"])
def test_log_in(browser: Chromium, served: str, sample: House, source: Source, caller: str) -> None:
    key = sample.keys[caller]
    page = browser.page()
    page.open(served + "/")
    assert page.text(".caller") is None and page.text("a.login") == "Log in"
    # what a user types into the browser's dialogue
    page.open(f"{served}/login".replace("://", f"://any:{key}@"))
    assert page.evaluate("location.pathname") == "/"
    assert caller in (page.text(".caller") or "")
    page.open(served + ITEMS)
    assert caller in (page.text(".caller") or "")
    assert heads(page) == PARCELS[caller].properties
    assert f"100 of {source.count('parcels', PARCELS[caller].rows)}" in (page.text(".paging") or "")
    page.settled("#map canvas", lambda pixels: bool(covered(pixels).any()))
    assert key not in page.evaluate("document.documentElement.outerHTML")
    _complain_of_the_challenge_alone(page)
    calm(page, served)


def _complain_of_the_challenge_alone(page: Page) -> None:
    page.complaints[:] = [said for said in page.complaints if "401" not in json.loads(said).get("text", "")]


def test_nobody_is_named_in_the_open(browser: Chromium, served: str, sample: House) -> None:
    """Under /open every caller sees the public's page to the last byte, though the browser sends the key."""
    page, stranger = browser.page(), browser.page()
    page.open(f"{served}/login".replace("://", f"://any:{sample.keys['internal-county']}@"))
    assert page.text(".caller")
    for path in ("/open", "/open/collections", "/open" + ITEMS):
        for reader in (page, stranger):
            reader.open(served + path)
        assert page.text(".caller") is None and page.text(".tiers") is None
        assert page.evaluate(f"fetch({json.dumps(path)}).then((answer) => answer.text())") == stranger.evaluate(
            f"fetch({json.dumps(path)}).then((answer) => answer.text())"
        )


def test_official_switches_the_tier(browser: Chromium, served: str, sample: House) -> None:
    page = browser.page()
    page.open(f"{served}/login".replace("://", f"://any:{sample.keys['internal-county']}@"))
    page.open(served + ITEMS)
    page.follow(lambda: page.evaluate("document.querySelector('a[data-tier=open]').click()"))
    assert page.evaluate("location.pathname + location.search") == "/open" + ITEMS
    assert heads(page) == PARCELS[None].properties


def test_what_does_not_exist_is_a_page(browser: Chromium, served: str) -> None:
    page = browser.page()
    said = []
    for name in ("minerals", "nothing"):
        page.open(f"{served}/collections/{name}")
        said.append((page.text("main") or "").replace(name, "…"))
    assert "404" in said[0] and said[0] == said[1]
    shown: Any = page.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor")
    assert shown == "rgb(255, 255, 255)"  # the style sheet is there
