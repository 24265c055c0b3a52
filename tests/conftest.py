"""Houses to test in: the sample province with its policy, keys, approvals and editions, in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from werkzeug.test import Client, TestResponse

from server import settings as environment
from server.app import App, create_app
from server.cli import main
from server.commands.keys import DEMO_KEYS
from server.settings import ROOT, Settings

PARCELS = 2000
REFERENCE = ROOT.parent / "shared" / "data"


@dataclass
class House:
    """A server's directories with its application: what a test asks, and what it changes."""

    directory: Path
    url: str = "http://localhost:5000"
    _app: App | None = field(default=None, repr=False)

    @property
    def environ(self) -> dict[str, str]:
        names = {"TIERRA_CONFIG": "config", "TIERRA_DATA": "data", "TIERRA_STATE": "state"}
        return {name: str(self.directory / part) for name, part in names.items()} | {"TIERRA_URL": self.url}

    @property
    def settings(self) -> Settings:
        return environment.load(self.environ)

    @property
    def app(self) -> App:
        """The application in this process."""
        if self._app is None:
            self._app = create_app(self.settings)
        return self._app

    @property
    def keys(self) -> dict[str, str]:
        """The demonstration's keys: shared, internal-province, internal-county, approver."""
        found: dict[str, str] = json.loads((self.directory / "state" / "demo-keys.json").read_text())
        return found

    def get(self, path: str, key: str | None = None, method: str = "GET", **headers: str) -> TestResponse:
        """Ask the application; `key` names a demonstration key or is a key; header names have _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["X-API-Key"] = self.keys[key] if key in DEMO_KEYS else key
        return Client(self.app).open(path, method=method, headers=sent)

    def json(self, path: str, key: str | None = None, **headers: str) -> Any:
        """The JSON answer of a request that must succeed."""
        answer = self.get(path, key, **headers)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return json.loads(answer.data)

    def tierra(self, *words: str, code: int = 0) -> str:
        """Run a command of `tierra`; gives what it prints."""
        done = CliRunner(env=self.environ).invoke(main, list(words), catch_exceptions=False)
        assert done.exit_code == code, (words, done.exit_code, done.output)
        return done.output

    def rewrite(self, collection: str, change: Callable[[str], str]) -> None:
        """Change the text of a collection's file."""
        file = self.directory / "config" / "collections" / f"{collection}.yml"
        text = file.read_text()
        changed = change(text)
        assert changed != text, "the change changes nothing"
        file.write_text(changed)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The sample province as `make serve` makes it, small; only to be read."""
    made = House(tmp_path_factory.mktemp("sample"))
    shutil.copytree(ROOT / "config", made.directory / "config")
    (made.directory / "data").mkdir()
    out = made.directory / "data" / "province.gpkg"
    subprocess.run(
        [sys.executable, "-m", "data_samples", "--out", str(out), "--parcels", str(PARCELS)],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    made.tierra("demo")
    return made


@pytest.fixture
def house(sample: House, tmp_path: Path) -> House:
    """A copy of the sample that a test may change."""
    shutil.copytree(sample.directory, tmp_path / "house")
    return House(tmp_path / "house")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], House]:
    """Makes houses with no collection in them."""

    def make() -> House:
        directory = tmp_path_factory.mktemp("empty")
        (directory / "config" / "collections").mkdir(parents=True)
        shutil.copy(ROOT / "config" / "tierra.yml", directory / "config")
        (directory / "data").mkdir()
        (directory / "state").mkdir()
        return House(directory)

    return make


def serve(house: House, **environ: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start `tierra serve` on a free port; gives the process and its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    env = os.environ | house.environ | {"PORT": str(port), "TIERRA_URL": url} | environ
    log = (house.directory / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", "serve"], cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).read()
            return process, url
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((house.directory / "server.log").read_text()) from None
            time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and its workers."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def served(sample: House) -> Iterator[str]:
    """The address of the sample served by two web workers."""
    process, url = serve(sample)
    yield url
    stop(process)
