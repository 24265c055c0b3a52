"""The sites that the abstract tests run on: the sample's open and internal tier, and a house whose data have gaps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from server.settings import ROOT
from tests.conformance.sites import Answer, Layer, Site
from tests.conftest import House

# The tiers by the demonstration's key that asks for them.
KEYS = {"open": None, "internal": "internal-province"}


def seen(tier: str) -> list[str]:
    """The collections that a tier is granted, by the policy's files; internal falls to open where it has no block."""
    blocks = {"open": {"open"}, "internal": {"open", "internal"}}[tier]
    found = {}
    for file in (ROOT / "config" / "collections").glob("*.yml"):
        found[file.stem] = yaml.safe_load(file.read_text())["access"]
    return sorted(name for name, access in found.items() if blocks & set(access))


def site_of(house: House, tier: str, key: str | None) -> Site:
    """A tier of a house, asked in this process."""

    def fetch(address: str, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(address)
        sent = {name.replace("-", "_"): value for name, value in headers.items()}
        credential = sent.pop("X_API_Key", key)
        answer = house.get(parts._replace(scheme="", netloc="").geturl(), credential, **sent)
        return Answer(answer.status_code, dict(answer.headers), answer.data)

    return Site(f"{house.url}/{tier}", tier, fetch)


@pytest.fixture(scope="session")
def sites(sample: House) -> dict[str, Site]:
    """The sample's tiers."""
    return {tier: site_of(sample, tier, key) for tier, key in KEYS.items()}


@pytest.fixture(scope="session", params=list(KEYS))
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """Each of the sample's tiers."""
    return sites[request.param]


@pytest.fixture(scope="session")
def layers(sites: dict[str, Site]) -> dict[tuple[str, str], Layer]:
    """The sample's collections by tier and id; what one test has crawled serves the next."""
    return {(tier, name): Layer(site, name) for tier, site in sites.items() for name in seen(tier)}


@pytest.fixture(scope="session", params=[(tier, name) for tier in KEYS for name in seen(tier)], ids="-".join)
def layer(request: pytest.FixtureRequest, layers: dict[tuple[str, str], Layer]) -> Layer:
    """Each collection of each of the sample's tiers."""
    return layers[request.param]


@pytest.fixture(scope="session", params=list(KEYS))
def real_site(request: pytest.FixtureRequest, sample: House, served: str) -> Site:
    """Each of the sample's tiers, asked over HTTP from two web workers."""
    session = requests.Session()
    if key := KEYS[request.param]:
        session.headers["X-API-Key"] = sample.keys[key]

    def fetch(address: str, headers: Mapping[str, str]) -> Answer:
        answer = session.get(address, headers=headers, timeout=10, allow_redirects=False)
        return Answer(answer.status_code, answer.headers, answer.content)

    return Site(f"{served}/{request.param}", request.param, fetch)


# Features that lack a geometry, a time, or both.
GAPS = {"a": ([10, 50], "2020-01-01"), "b": (None, "2020-06-01"), "c": ([20, 60], None), "d": (None, None)}
ACCESS = """
access:
  open: {properties: [code, seen], because: for everyone%s}
  internal: {properties: [code, seen], actions: [read], because: for the agency}
"""


@pytest.fixture(scope="session")
def gaps(empty: Callable[[], House]) -> dict[tuple[str, str], Layer]:
    """Collections by tier and id: `gaps` has features that lack geometry or time, `shapeless` is open without geometry."""
    house = empty()
    features = [
        {
            "type": "Feature",
            "properties": {"code": code, "seen": seen},
            "geometry": None if place is None else {"type": "Point", "coordinates": place},
        }
        for code, (place, seen) in GAPS.items()
    ]
    file = house.directory / "gaps.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    key = house.tierra("key", "add", "--tier", "internal", "--level", "nation", "--role", "approver").split()[0]
    for name, geometry in {"gaps": "", "shapeless": ", geometry: none"}.items():
        house.tierra("load", str(file), "--collection", name, "--id", "code")
        house.rewrite(name, lambda text, geometry=geometry: text + ACCESS % geometry)  # type: ignore[misc]
        house.tierra("approve", name, "--by", key.partition(".")[0], "--because", "a test")
    sites = {"open": site_of(house, "open", None), "internal": site_of(house, "internal", key)}
    return {(tier, name): Layer(site, name) for tier, site in sites.items() for name in ("gaps", "shapeless")}
