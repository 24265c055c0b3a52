"""Whether everything works where there is no network: the sample is made, served and asked for with the loopback alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.settings import ROOT
from tests import needs

needs.needs("unshare")

# A namespace of its own for the network; and for users, where this one may not make the former.
UNSHARE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a network namespace")
    directory = tmp_path_factory.mktemp("offline") / "house"
    directory.mkdir()
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.clients.without_network", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_there_is_no_network(said: dict[str, Any]) -> None:
    assert said["interfaces"] == ["lo"]


def test_everything_answers(said: dict[str, Any]) -> None:
    refused = {urlsplit(url).path: answer["status"] for url, answer in said["answers"].items() if answer["status"] != 200}
    assert refused == {"/login": 401}  # which asks for a key
    paths = {urlsplit(url).path for url in said["answers"]}
    for path in ("/openapi", "/conformance", "/collections/parcels/items", "/collections/stations/queryables"):
        assert path in paths
    assert any("/items/" in path for path in paths)


def test_pages_need_nothing_from_elsewhere(said: dict[str, Any]) -> None:
    pages = {url: answer["assets"] for url, answer in said["answers"].items() if "assets" in answer}
    assert len(pages) > 20
    for url, assets in pages.items():
        assert assets, url
        assert all(asset.startswith(f"{said['origin']}/static/") for asset in assets), url


def test_vendored_library_has_its_licence() -> None:
    vendored: list[Path] = [path for path in (ROOT / "server" / "static" / "vendor").iterdir() if path.is_dir()]
    assert vendored and all((path / "LICENSE.txt").is_file() for path in vendored)
