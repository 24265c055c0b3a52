"""How is the server started for a measurement, and its limit, the bare function? Both with two worker processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import fetch, timed
from benchmarks.plan import PROPERTIES, ROWS
from benchmarks.postgis import Unavailable, free_port

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Target:
    """A server: how it is started and asked.

    `whole` says that it serves every parcel, not only the released ones; `cannot` names cases that it has no way to
    answer, and why.
    """

    key: str
    title: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    port: int
    items: str
    hits: str = "resulttype=hits"
    next: bool = True
    whole: bool = False
    cannot: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=lambda: {"Accept": "application/geo+json"})
    notes: str = ""


@contextmanager
def running(target: Target, log: Path) -> Iterator[tuple[int, float]]:
    """Start a server; gives its process id and the seconds to its first 200, and stops what was started."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            target.command, env={**os.environ, **target.env}, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
        )
    try:
        while True:
            try:
                if fetch(target.port, "/", timeout=30)[0] == 200:
                    break
            except OSError:
                time.sleep(0.005)
            if process.poll() is not None or time.perf_counter() - started > 120:
                raise Unavailable(f"{target.title} did not start: {log.read_text(errors='replace')[-1500:]}")
        yield process.pid, time.perf_counter() - started
    finally:
        # The process group that this call made: the server and its workers.
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sent)
                process.wait(20)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def tierra_environment(package: Path) -> dict[str, str]:
    """A configuration of its own: the sample policy, with more rows, finer areas and larger pages in the open tier.

    It has no shared block, so that the build that is timed is the open edition's.
    """
    home = package.parent / "tierra"
    config = home / "config"
    shutil.rmtree(config, ignore_errors=True)
    shutil.copytree(ROOT / "config", config)
    path = config / "collections" / "parcels.yml"
    resource = yaml.safe_load(path.read_text(encoding="utf-8"))
    resource["access"].pop("shared", None)
    block = resource["access"]["open"]
    block["properties"] = list(PROPERTIES)
    block["rows"] = ROWS
    block["mask"] = {"area_ha": {"round": 0.01}}
    block["limits"] = {"items": 10_000}
    path.write_text(yaml.safe_dump(resource, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return {
        "TIERRA_CONFIG": str(config),
        "TIERRA_DATA": str(package.parent),
        "TIERRA_STATE": str(home / "state"),
    }


def tierra_build(package: Path) -> dict[str, Any]:
    """Approve the benchmark's recipe, which builds its edition, then build it again and say how long that took."""
    env = {**os.environ, **tierra_environment(package)}
    state = Path(env["TIERRA_STATE"])
    tierra = str(Path(sys.executable).with_name("tierra"))
    if not (state / "demo-keys.json").exists():
        timed([tierra, "demo-keys"], env)
    approver = json.loads((state / "demo-keys.json").read_text(encoding="utf-8"))["approver"].partition(".")[0]
    timed([tierra, "approve", "parcels", "--by", approver, "--because", "benchmark"], env)
    return timed([tierra, "editions", "build", "parcels"], env)


def edition(package: Path) -> Path:
    """The file of the open edition."""
    return package.parent / "tierra" / "state" / "editions" / "open" / "parcels.sqlite"


def tierra(package: Path) -> Target:
    port = free_port()
    env = {**tierra_environment(package), "HOST": "127.0.0.1", "PORT": str(port), "WORKERS": str(WORKERS), "DEMO": ""}
    env["TIERRA_URL"] = f"http://127.0.0.1:{port}"
    command = (str(Path(sys.executable).with_name("tierra")), "serve")
    return Target("tierra", "tierra, open tier", command, env, port, "/collections/parcels/items")


def tierra_with_key(package: Path) -> Target:
    """The same answers for a caller whose key is looked up at every request."""
    keys = json.loads((package.parent / "tierra" / "state" / "demo-keys.json").read_text(encoding="utf-8"))
    base = tierra(package)
    return Target(
        "tierra-key",
        "tierra, open tier, with a key",
        base.command,
        base.env,
        base.port,
        "/open/collections/parcels/items",
        headers={**base.headers, "X-API-Key": keys["internal-county"]},
    )


def bare(package: Path) -> Target:
    port = free_port()
    env = {"BARE_EDITION": str(edition(package))}
    command = granian(Path(sys.executable), port, "benchmarks.bare:application")
    return Target("bare", "bare WSGI function, granian", command, env, port, "/items", next=False, cannot=BARE_CANNOT)


BARE_CANNOT = dict.fromkeys(("F4", "F6o", "F8"), "not part of the limit")


def granian(python: Path, port: int, application: str, threads: int = 1) -> tuple[str, ...]:
    options = ("--interface", "wsgi", "--workers", str(WORKERS), "--blocking-threads", str(threads), "--no-access-log")
    return (str(python), "-m", "granian", *options, "--host", "127.0.0.1", "--port", str(port), application)
