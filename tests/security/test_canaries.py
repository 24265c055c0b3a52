"""Whether a secret of the sample comes out anywhere: in a body, a header, an error, a log, for any caller who may not have it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import requests

from server.routes import ROUTES
from tests.conftest import House, serve, stop
from tests.security.battery import CRS84, EPSG, paths
from tests.security.callers import copy_of
from tests.security.secrets_held import Held, leaks, seen, tier_through

# under /open all get the same bytes, which another test holds
CASES = [
    *((caller, "") for caller in (None, "department", "shared", "internal-county", "internal-province")),
    *((None, "/open"), ("internal-county", "/shared")),
]


@pytest.fixture(scope="module")
def held(staffed: House) -> Held:
    return Held(staffed)


def errors(held: Held, prefix: str) -> list[str]:
    """Requests that are wrong, or that ask for what is hidden by its value."""
    secrets = held.canaries
    base = f"{prefix}/collections/parcels/items"
    certificate, identity = secrets["certificate"], secrets["identity"]
    east, north = secrets["vertex"]
    return [
        f"{base}/{certificate}",
        f"{base}?filter=certificate='{certificate}'",
        f"{base}?filter=identity='{identity}'&f=html",
        f"{base}?identity={identity}",
        f"{base}?filter=parcel_id='{identity}' OR",
        f"{base}?sortby=identity",
        f"{base}?properties=parcel_id,identity",
        f"{base}?cursor=WyJ4Il0&sortby=owner",
        f"{base}?cursor=x",
        f"{base}?limit=x",
        f"{base}?bbox=1,2,3",
        f"{base}?crs=EPSG:1",
        f"{base}?datetime=yesterday",
        f"{base}?bbox={east},{north},{east},{north}&bbox-crs={EPSG}4547",
        f"{base}?bbox={east - 2},{north - 2},{east + 2},{north + 2}&bbox-crs={EPSG}4547&crs={EPSG}4547",
        f"{base}?bbox={secrets['lonlat'][0]},{secrets['lonlat'][1]},{secrets['lonlat'][0]},{secrets['lonlat'][1]}",
        f"{prefix}/collections/parcels/items/{secrets['parcels'][0]}",
        f"{prefix}/collections/parcels/items/{secrets['parcels'][0]}?crs={EPSG}4547",
        f"{prefix}/collections/parcels/items/{secrets['parcels'][0]}?crs={EPSG}4490",
        f"{prefix}/collections/parcels/items/{secrets['parcels'][0]}?crs={CRS84}&f=html",
        f"{prefix}/static/../../state/demo-keys.json",
        f"{prefix}/static/..%2f..%2fstate%2fdemo-keys.json",
        f"{prefix}/nosuch",
        f"{prefix}/collections/parcels/items/a/b/c",
    ]


@pytest.mark.parametrize("caller, prefix", CASES)
def test_no_secret_comes_out(
    staffed: House, held: Held, caller: str | None, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tierra")
    tier = tier_through(caller, prefix)
    found = []
    answered = 0
    for path in (*paths(staffed, caller, prefix, few=True), *errors(held, prefix)):
        answer = staffed.get(path, caller, Accept_Encoding="gzip")
        answered += answer.status_code == 200
        found += [(path, leak) for leak in leaks(held, caller, tier, path, seen(answer))]
    assert answered > 100
    assert not found, (len(found), found[:12])
    log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(("tierra", "server", "providers")))
    assert not [key for key in held.keys if key in log]
    assert not held.identities & set(log.split()) - {held.canaries["identity"]}


@pytest.mark.parametrize("caller, prefix", [(None, ""), ("internal-county", "")])
def test_no_secret_comes_out_in_answers_to_other_methods(staffed: House, held: Held, caller: str | None, prefix: str) -> None:
    tier = tier_through(caller, prefix)
    one = held.canaries["parcels"][0]
    for path in (
        "/collections/parcels/items",
        f"/collections/parcels/items/{one}",
        "/collections/minerals/items",
        "/explain",
        "/nosuch",
    ):
        for method in ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            text = seen(staffed.get(prefix + path, caller, method=method))
            assert not leaks(held, caller, tier, path, text), (method, path)


def test_the_search_finds_what_is_there(staffed: House, held: Held) -> None:
    """Beside the others: what a caller may see is found where another may not."""
    path = "/collections/parcels/items?limit=10000&crs=" + f"{EPSG}4547"
    text = seen(staffed.get(path, "internal-province"))
    as_public = leaks(held, None, "open", path, text)
    assert f"{held.canaries['vertex']}" in as_public
    assert held.canaries["certificate"] in as_public
    assert {"owner", "certificate"} <= set(as_public)
    assert len(as_public) > 2000
    degrees = seen(staffed.get("/collections/parcels/items?limit=10000&f=csv", "internal-province"))
    assert f"{held.canaries['vertex']}" in leaks(held, None, "open", path, degrees)
    slides = seen(staffed.get("/collections/landslides/items?limit=10000&f=html", "internal-province"))
    assert held.canaries["informant"] in leaks(held, "department", "shared", path, slides)


def test_every_route_is_searched(staffed: House) -> None:
    """The battery asks every route of the server but the assets, which hold no data."""
    asked = [path.partition("?")[0].split("/") for path in paths(staffed, None, "")]
    for route in ROUTES:
        if not route.path.startswith("/static"):
            pattern = route.path.split("/")
            assert any(
                len(parts) == len(pattern) and all(p.startswith("<") or p == a for p, a in zip(pattern, parts, strict=True))
                for parts in asked
            ), route.path


def test_log_of_a_server_holds_no_secret(staffed: House, held: Held, tmp_path: Path) -> None:
    house = copy_of(staffed, tmp_path / "house")
    process, url = serve(house)
    try:
        for name, key in house.keys.items():
            for path in (
                "/collections/parcels/items?limit=3",
                "/collections/parcels/items?filter=identity='x",
                "/nosuch",
                "/login",
            ):
                requests.get(url + path, headers={"X-API-Key": key}, timeout=10, allow_redirects=False)
            requests.get(f"{url}/health", headers={"X-API-Key": key + "x"}, timeout=10)
            requests.get(f"{url}/health", auth=(name, key), timeout=10)
            requests.get(f"{url}/collections?api_key={key}", timeout=10)
            requests.get(f"{url}/collections/parcels/items?filter=parcel_id='{key}'&f=html", timeout=10)
    finally:
        stop(process)
    log = (house.directory / "server.log").read_text()
    assert not [key for key in held.keys if key in log]
    assert not [value for value in held.identities if value in log]
