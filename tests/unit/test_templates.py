"""The pages: hostile data stay text, nothing is fetched from elsewhere, every text has its Chinese."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache, partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from jinja2 import Environment, FileSystemBytecodeCache
from pygeoapi import l10n, util
from pygeoapi.util import render_j2_template

SERVER = Path(__file__).resolve().parents[2] / "server"
CATALOGUE = SERVER / "locale" / "zh" / "LC_MESSAGES"
ROOT = "http://maps.example:5000"
# Breaks out of text, of both kinds of quoted attribute, of a script block and of a comment, if anything does.
HOSTILE = """x</script><script>alert(1)</script>--><img src=//evil.example/x onerror=alert(2)>"' onload='alert(3)&lt;中文"""
VOID = {"meta", "link", "img", "input", "br", "hr"}

CALLER = {"name": HOSTILE, "tier": "internal", "agency": HOSTILE, "division": "51"}
TIERS = [("open", f"{ROOT}/open"), ("shared", f"{ROOT}/shared"), ("internal", ROOT)]
CONTEXTS: dict[str, dict[str, Any] | None] = {
    "vanilla": None,
    "anonymous": {"tier": "open", "prefix": "", "root": ROOT, "caller": None, "tiers": []},
    "internal": {"tier": "internal", "prefix": "", "root": ROOT, "caller": CALLER, "tiers": TIERS, "outline": "hills"},
    "open": {"tier": "open", "prefix": "/open", "root": ROOT, "caller": None, "tiers": [], "outline": "hills"},
}

GEOMETRIES: list[dict[str, Any] | None] = [
    {"type": "Point", "coordinates": [104.5, 30.25]},
    None,
    {"type": HOSTILE, "coordinates": []},
]


class Page(HTMLParser):
    """A page as a browser reads it: elements with attributes, the text outside of scripts, the data blocks by id."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.blocks: dict[str, str] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.blocks[self.elements[-1][1].get("id") or ""] = data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def hrefs(self) -> list[str]:
        return [a["href"] or "" for a in self.all("a")]


def config(context: str) -> dict[str, Any]:
    """A pygeoapi configuration as an audience has it; every text of it is hostile."""
    tierra = CONTEXTS[context]
    texts = {"en": HOSTILE, "zh": HOSTILE}
    collection = {
        "type": "collection",
        "title": texts,
        "description": texts,
        "keywords": {"en": [HOSTILE], "zh": [HOSTILE]},
        "providers": [{"type": "feature", "name": "GeoJSON", "data": "x"}],
    }
    made: dict[str, Any] = {
        "server": {
            "url": ROOT + (tierra or {}).get("prefix", ""),
            "languages": ["en", "zh"],
            "templates": {"path": str(SERVER / "templates")},
            "locale_dir": str(SERVER / "locale"),
        },
        "metadata": {
            "identification": {
                "title": texts,
                "description": texts,
                "keywords": [HOSTILE],
                "url": "javascript:alert(4)",
            },
            "provider": {"name": HOSTILE, "url": "javascript:alert(5)"},
            "license": {"name": HOSTILE, "url": "https://licence.example/?a=1&b=2"},
            "contact": {"name": HOSTILE, "position": HOSTILE, "email": HOSTILE},
        },
        "resources": {"hills": collection, HOSTILE: collection},
    }
    return made if tierra is None else made | {"tierra": copy.deepcopy(tierra)}


def data(base: str) -> dict[str, dict[str, Any]]:
    """What the handlers give to each template (the keys of pygeoapi's handlers and of our problem details)."""
    collections = f"{base}/collections"
    here = f"{collections}/hills"
    links = [
        {"rel": rel, "type": media, "title": HOSTILE, "href": f"{here}/items?f=x&q=%22"}
        for rel, media in (
            ("self", "text/html"),
            ("alternate", "application/geo+json"),
            ("alternate", "text/csv; charset=utf-8"),
            ("prev", "application/geo+json"),
            ("next", "application/geo+json"),
            ("items", "application/geo+json"),
            ("http://www.opengis.net/def/rel/ogc/1.0/schema", "application/schema+json"),
            ("http://www.opengis.net/def/rel/ogc/1.0/queryables", "application/schema+json"),
            ("http://www.opengis.net/def/rel/ogc/1.0/sortables", "application/schema+json"),
        )
    ]
    links += [
        {"rel": "collection", "type": "application/json", "title": HOSTILE, "href": here},
        {"rel": "license", "type": "text/html", "title": HOSTILE, "href": "javascript:alert(6)"},
        {"rel": "describedby", "type": "text/html", "title": HOSTILE, "href": f"https://other.example/{HOSTILE}"},
    ]
    collection = {
        "id": HOSTILE,
        "title": HOSTILE,
        "description": HOSTILE,
        "keywords": [HOSTILE],
        "links": links,
        "itemType": "feature",
        "extent": {
            "spatial": {"bbox": [[170, -20, -170, 20]], "crs": HOSTILE},
            "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
        },
        "crs": [HOSTILE, HOSTILE],
        "storageCrs": HOSTILE,
    }
    properties = {
        "name": HOSTILE,
        HOSTILE: "javascript:alert(7)",
        "web": f"https://other.example/{HOSTILE}",
        "nothing": None,
        "yes": True,
        "number": 0.1,
        "nested": {HOSTILE: [HOSTILE, {"items": 1}]},
        "items": "a name that a dict has too",
    }
    features = [
        {"type": "Feature", "id": HOSTILE + str(n), "geometry": geometry, "properties": properties}
        for n, geometry in enumerate(GEOMETRIES)
    ]
    paths = {"collections_path": collections, "dataset_path": here}
    schema = {
        "title": HOSTILE,
        "properties": {
            HOSTILE: {
                "title": HOSTILE,
                "type": ["string", "null"],
                "format": HOSTILE,
                "description": HOSTILE,
                "enum": [HOSTILE],
                "x-ogc-role": HOSTILE,
                "x-ogc-unit": HOSTILE,
            },
            "geometry": {"format": "geometry-any", "x-ogc-role": "primary-geometry"},
        },
        **paths,
    }
    problem = {"code": HOSTILE, "type": HOSTILE, "description": HOSTILE}
    items = {"links": links, "itemtype": "feature", "items_path": f"{here}/items", "offset": 0, "id_field": "name", **paths}
    document = {"openapi-document-path": f"{base}/openapi"}
    landing = {"title": HOSTILE, "description": HOSTILE, "links": links, "process": True}
    return {
        "landing_page.html": landing,
        "landing_page.html#listed": landing | {"collections": [collection, {"id": "bare", "title": "x"}]},
        "conformance.html": {"conformsTo": [HOSTILE]},
        "exception.html": problem,
        "exception.html#problem": problem | {"status": 400, "title": HOSTILE, "detail": HOSTILE, "parameter": HOSTILE},
        "collections/index.html": {
            "collections": [collection, {"id": "bare"}],
            "links": links,
            "base_url": base,
            **paths,
        },
        "collections/index.html#none": {"collections": [], "links": [], "base_url": base, **paths},
        "collections/collection.html": collection | {"base_url": base, **paths},
        "collections/queryables.html": schema,
        "collections/schema.html": schema,
        "collections/sortables.html": schema,
        "collections/items/index.html": items | {"features": features, "numberMatched": 20000, "numberReturned": 3},
        "collections/items/index.html#titled": items
        | {"features": features, "title_field": "web", "offset": 30, "numberMatched": 33},
        "collections/items/index.html#none": items | {"features": [], "numberMatched": 0},
        "collections/items/item.html": features[2] | {"title": HOSTILE, "links": links, "id_field": "name", **paths},
        "collections/items/item.html#empty": features[1]
        | {"title": HOSTILE, "links": [], "id_field": "name", "title_field": "name", **paths},
        "openapi/swagger.html": document,
        "openapi/redoc.html": {"openapi-document-path": f"{base}/openapi?f=json"},
    }


PAGES = list(data(ROOT))


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """pygeoapi compiles the templates again for every page; here they are compiled once."""
    kept = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(util, "Environment", partial(Environment, bytecode_cache=kept))
        yield


@cache
def rendered(name: str, context: str, language: str = "en") -> str:
    return render(name, context, language)


def render(name: str, context: str, language: str = "en", changes: dict[str, Any] | None = None) -> str:
    made = config(context)
    if changes:
        made["tierra"].update(changes)
    l10n._cfg_cache.clear()  # pygeoapi keeps the first configuration it translates, whatever it is given next
    given = copy.deepcopy(data(made["server"]["url"])[name])
    template = name.partition("#")[0]
    html: str = render_j2_template(made, made["server"]["templates"], template, given, l10n.Locale(language))
    return html


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", PAGES)
def test_hostile_data_stay_text(name: str, context: str) -> None:
    html = rendered(name, context)
    page = Page(html)
    assert page.open == []
    assert "中文" in html
    texts = page.text + "".join(value or "" for _, attributes in page.elements for value in attributes.values())
    assert HOSTILE in texts, "the data are altered"
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"iframe", "object", "embed", "base", "style"}
    for tag, attributes in page.elements:
        assert not [a for a in attributes if a.startswith("on") or a == "style"], (tag, attributes)
    assert all(a.get("type") == "application/json" or (a.get("src") or "").startswith("/static/js/") for a in page.all("script"))
    assert [a["src"] for a in page.all("img")] == ["/static/img/logo.svg"]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_loaded_from_elsewhere(name: str, context: str) -> None:
    page = Page(rendered(name, context))
    loaded = [a["src"] for tag in ("script", "img") for a in page.all(tag) if "src" in a]
    loaded += [a["href"] for a in page.all("link") if a["rel"] in ("stylesheet", "icon")]
    loaded += [
        a[key] for a in page.all("div") for key in ("data-vendor", "data-outline", "data-schema", "data-document") if key in a
    ]
    loaded += [a["action"] for a in page.all("form")]
    prefix = (CONTEXTS[context] or {}).get("prefix", "")
    for address in loaded:
        assert address and address.startswith(("/static/", f"{prefix}/collections/", f"{prefix}/openapi")), address
        if address.startswith("/static/"):
            assert (SERVER / address[1:]).exists(), address
    for href in page.hrefs():
        assert href.startswith(("/", "#", "?lang=", "https://", "mailto:")) and not href.startswith("//"), href
        assert not href.startswith("https://") or href.startswith(("https://other.example/", "https://licence.example/")), href


def test_our_scripts_and_styles_name_no_other_host() -> None:
    own = [path for folder in ("js", "css") for path in (SERVER / "static" / folder).iterdir()]
    assert len(own) >= 6
    for path in own:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""https?://|["'(]//|innerHTML|insertAdjacentHTML|\beval\(|setHTML""", text), path


@pytest.mark.parametrize(
    "name", ["collections/items/index.html", "collections/items/index.html#titled", "collections/items/item.html"]
)
def test_the_map_gets_the_geometries_unaltered(name: str) -> None:
    page = Page(rendered(name, "internal"))
    expected = GEOMETRIES[2:] if "item.html" in name else GEOMETRIES
    assert json.loads(page.blocks["geometries"]) == expected
    assert page.all("div") and [a for a in page.all("div") if a.get("id") == "map"]


def test_the_extent_reaches_the_map() -> None:
    assert json.loads(Page(rendered("collections/collection.html", "internal")).blocks["extent"]) == [
        170,
        -20,
        -170,
        20,
    ]


def test_every_item_has_a_row_with_a_link_that_is_one_path_segment() -> None:
    page = Page(rendered("collections/items/index.html", "open"))
    rows = [href for href in page.hrefs() if href.startswith("/open/collections/hills/items/")]
    assert len(rows) == len(GEOMETRIES)
    assert all("/" not in href.removeprefix("/open/collections/hills/items/") for href in rows)


@pytest.mark.parametrize("name", PAGES)
def test_under_open_every_byte_is_the_same_for_every_caller(name: str) -> None:
    known = {"caller": CALLER | {"name": "Zhang San"}, "tiers": TIERS}
    html = rendered(name, "open")
    assert render(name, "open", changes=known) == html
    assert "/login" not in html
    assert not [a for a in Page(html).all("a") if "data-tier" in a]


def test_a_caller_is_named_and_may_look_through_lower_tiers() -> None:
    html = render("conformance.html", "internal", changes={"caller": CALLER | {"name": "Zhang San"}})
    page = Page(html)
    assert "Zhang San" in page.text
    assert [(a["data-tier"], a["href"], a.get("aria-current")) for a in page.all("a") if "data-tier" in a] == [
        ("open", "/open", None),
        ("shared", "/shared", None),
        ("internal", "/", "true"),
    ]
    assert "/login" not in html


def test_log_in_is_offered_only_where_it_exists() -> None:
    assert "/login" in Page(rendered("conformance.html", "anonymous")).hrefs()
    assert "/login" not in Page(rendered("conformance.html", "vanilla")).hrefs()


def test_outlines_are_asked_for_only_where_the_audience_has_them() -> None:
    def outline(context: str, changes: dict[str, Any] | None = None) -> str | None:
        page = Page(render("collections/items/index.html", context, changes=changes))
        (found,) = [a for a in page.all("div") if a.get("id") == "map"]
        return found.get("data-outline")

    assert outline("open") == "/open/collections/hills/items?f=json&limit=100"
    assert outline("open", {"outline": "withheld"}) is None
    assert outline("vanilla") is None


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_its_language_and_offers_the_other(name: str, language: str) -> None:
    page = Page(rendered(name, "internal", language))
    assert page.all("html")[0]["lang"] == language
    switch = {a["data-lang"]: a for a in page.all("a") if "data-lang" in a}
    assert {code: a["href"] for code, a in switch.items()} == {"en": "?lang=en", "zh": "?lang=zh"}
    assert [code for code, a in switch.items() if a.get("aria-current")] == [language]
    tables = [tag for tag, _ in page.elements if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2), "a table without a caption"
    labelled = {a.get("for") for a in page.all("label")} | {a["id"] for a in page.all("input") if "aria-label" in a}
    assert {a["id"] for tag in ("input", "select") for a in page.all(tag)} <= labelled
    assert ("跳到正文" in page.text) == (language == "zh")


def catalogue(kind: str) -> Catalog:
    with (CATALOGUE / f"messages.{kind}").open("rb") as file:
        return read_po(file, locale="zh") if kind == "po" else read_mo(file)


def texts(of: Catalog) -> dict[Any, Any]:
    return {message.id: message.string for message in of if message.id}


def test_every_text_has_its_chinese() -> None:
    used = {message for _, _, message, _, _ in extract_from_dir(SERVER / "templates", [("**.html", "jinja2.ext:babel_extract")])}
    translated = texts(catalogue("po"))
    assert len(used) > 80
    assert set(translated) == used
    for text, chinese in translated.items():
        assert re.search(r"[\u4e00-\u9fff]", chinese), text
        assert sorted(re.findall(r"%\(\w+\)s", chinese)) == sorted(re.findall(r"%\(\w+\)s", text)), text


def test_the_compiled_catalogue_is_up_to_date() -> None:
    assert texts(catalogue("mo")) == texts(catalogue("po"))


def test_maplibre_lies_there_with_its_licence() -> None:
    (vendored,) = (SERVER / "static" / "vendor").glob("maplibre-gl-*")
    version = vendored.name.removeprefix("maplibre-gl-")
    for script in ("maplibre-gl.mjs", "maplibre-gl-worker.mjs"):
        with (vendored / script).open(encoding="utf-8") as file:
            assert f"maplibre-gl-js/blob/v{version}/LICENSE.txt" in file.read(400)
    assert "MapLibre contributors" in (vendored / "LICENSE.txt").read_text(encoding="utf-8")
    assert (vendored / "maplibre-gl.css").stat().st_size > 10_000
