"""Whether a page shows one caller nothing of another, in whichever order they come."""

from __future__ import annotations

import copy
from itertools import permutations

import pytest
from babel import Locale
from pygeoapi import util

from server import identity
from server.app import create_app
from tests.conftest import House
from tests.security.callers import CALLERS, Staffed, prefixes_of

PAGES = [
    "/", "/collections", "/conformance", "/openapi", "/collections/parcels", "/collections/parcels/items",
    "/collections/parcels/schema",
    "/collections/parcels/queryables", "/collections/parcels/sortables", "/collections/landslides/items", "/nowhere",
    "/collections/minerals",
]  # fmt: skip
SOME = (None, "shared", "department", "internal-county", "internal-province")


def page(house: House, caller: str | None, path: str, language: str = "en") -> str:
    return house.get(path + ("&" if "?" in path else "?") + f"f=html&lang={language}", caller).text


def anew(house: House) -> House:
    """The same house with an application that has seen nobody yet."""
    made = Staffed(house.directory)
    made._app = create_app(made.settings)
    return made


def names(house: House) -> dict[str, str]:
    """What each key is called, as its page says."""
    return {caller: house.app.state.key(key.partition(".")[0]).name for caller, key in house.keys.items()}  # type: ignore[union-attr]


@pytest.mark.parametrize("first, second", permutations(SOME, 2))
def test_page_is_the_same_whoever_came_before(staffed: House, first: str | None, second: str | None) -> None:
    """A renderer, a translation or an audience that is kept from the first caller would show in the second's page."""
    alone = anew(staffed)
    after = anew(staffed)
    for path in PAGES:
        for language in ("en", "zh"):
            page(after, first, path, language)
            assert page(after, second, path, language) == page(alone, second, path, language), (path, language)


@pytest.mark.parametrize("caller", SOME)
def test_page_names_its_caller_and_no_other(staffed: House, caller: str | None) -> None:
    known = names(staffed)
    assert len(set(known.values())) == len(known)
    for other in SOME:  # everybody has been there
        for path in PAGES:
            page(staffed, other, path)
    for path in PAGES:
        text = page(staffed, caller, path)
        shown = {who for who, name in known.items() if f">{name}<" in text}
        assert shown <= {caller}, path
        if path in ("/", "/collections"):
            assert shown == ({caller} if caller else set())


@pytest.mark.parametrize("caller", SOME)
def test_page_leads_to_no_collection_that_its_caller_does_not_see(staffed: House, caller: str | None) -> None:
    for other in SOME:
        page(staffed, other, "/collections")
    listed = {one["id"] for one in staffed.json("/collections", caller)["collections"]}
    for path in PAGES[:-1]:
        text = page(staffed, caller, path)
        assert ("minerals" in text) is ("minerals" in listed and path in ("/", "/collections")), path


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("caller", SOME)
def test_links_of_a_page_stay_under_the_prefix(staffed: House, caller: str | None, path: str) -> None:
    for prefix in prefixes_of(caller):
        for earlier in ("", "/open"):
            page(staffed, caller, earlier + path)
        text = page(staffed, caller, prefix + path)
        if staffed.get(prefix + path, caller).status_code != 200:
            continue
        for other in {"/open", "/shared", "/internal"} - {prefix}:
            # the switch of tiers leads to each landing page; under /open there is none
            assert f"{staffed.url}{other}/collections" not in text, (prefix, other)
        if prefix:
            assert f'"{staffed.url}/collections' not in text, prefix


@pytest.mark.parametrize("path", [*PAGES, "/collections/parcels/items?limit=3", "/health"])
@pytest.mark.parametrize("form", ["html", "json"])
def test_under_open_every_byte_is_the_same(staffed: House, path: str, form: str) -> None:
    """For everyone, whoever came first: status, headers and body."""
    address = f"/open{path}{'&' if '?' in path else '?'}f={form}"
    seen = set()
    for order in (CALLERS, CALLERS[::-1]):
        house = anew(staffed)
        for caller in order:
            answer = house.get(address, caller)
            assert answer.status_code != 401
            seen.add((answer.status_code, tuple(answer.headers), answer.data))
    assert len(seen) == 1


def test_vanilla_renderer_keeps_the_first_callers_configuration(staffed: House) -> None:
    """pygeoapi's own, with the pages of two callers: the second is shown the first's name, and not its own."""
    app = staffed.app
    known = names(staffed)
    texts = []
    for caller in ("internal-county", "shared"):
        principal = identity.identify(staffed.keys[caller], None, app.state)
        api = app.audiences.get(app.watch.config(), principal, principal.tier, "").api
        config = copy.copy(api.tpl_config)
        data = {"collections": [], "links": [], "base_url": api.base_url, "collections_path": api.get_collections_url()}
        texts.append(util.render_j2_template(config, config["server"]["templates"], "collections/index.html", data, Locale("en")))
    assert known["internal-county"] in texts[0]
    assert known["internal-county"] in texts[1] and known["shared"] not in texts[1]
