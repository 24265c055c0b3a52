"""What vanilla pygeoapi answers: its own Flask application over a small GeoJSON file, in a process of its own.

It reads its configuration from the environment at import, so it cannot live in this process.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FEATURES: list[dict[str, Any]] = [
    {
        "type": "Feature",
        "id": f"p{number}",
        "geometry": geometry,
        "properties": {"name": name, "number": number, "at": f"2020-01-0{number}"},
    }
    for number, (name, geometry) in enumerate(
        [
            ("a < b > c & d", {"type": "Point", "coordinates": [104.0, 30.0]}),
            ("west of the line", {"type": "Point", "coordinates": [179.5, 10.0]}),
            ("east of the line", {"type": "Point", "coordinates": [-179.5, 10.0]}),
            ("nowhere", None),
        ],
        1,
    )
]
ITEMS = "/collections/places/items"

_CONFIG: dict[str, Any] = {
    "server": {
        "bind": {"host": "127.0.0.1", "port": 5000},
        "url": "http://localhost:5000",
        "mimetype": "application/json; charset=UTF-8",
        "encoding": "utf-8",
        "gzip": True,
        "languages": ["en-US", "zh-CN"],
        "limits": {"default_items": 10, "max_items": 1000},
        "map": {"url": "https://tile.example/{z}/{x}/{y}.png", "attribution": ""},
    },
    "logging": {"level": "ERROR"},
    "metadata": {
        "identification": {
            "title": "Vanilla",
            "description": "d",
            "keywords": ["k"],
            "keywords_type": "theme",
            "terms_of_service": "https://example.org",
            "url": "https://example.org",
        },
        "license": {"name": "CC0", "url": "https://example.org"},
        "provider": {"name": "p", "url": "https://example.org"},
        "contact": {"name": "c", "email": "c@example.org", "url": "https://example.org", "role": "pointOfContact"},
    },
    "resources": {
        "places": {
            "type": "collection",
            "title": "Places <b>",
            "description": "a < b",
            "keywords": ["k"],
            "links": [],
            "extents": {"spatial": {"bbox": [-180, -90, 180, 90], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}},
            "providers": [{"type": "feature", "name": "GeoJSON", "id_field": "id", "time_field": "at"}],
        }
    },
}
_SERVER = """
import base64, json, os, sys, yaml
answers, sys.stdout = sys.stdout, sys.stderr  # it prints what it filters
from pathlib import Path
config = yaml.safe_load(Path(os.environ["PYGEOAPI_CONFIG"]).read_text())
from pygeoapi.openapi import get_oas
Path(os.environ["PYGEOAPI_OPENAPI"]).write_text(json.dumps(get_oas(config)))
from pygeoapi.flask_app import APP
client = APP.test_client()
for line in sys.stdin:
    method, path, headers = json.loads(line)
    answer = client.open(path, method=method, headers=headers)
    body = base64.b64encode(answer.data).decode()
    print(json.dumps([answer.status_code, dict(answer.headers), body]), file=answers, flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """What vanilla pygeoapi sent."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def get(path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask vanilla pygeoapi; header names have _ for -."""
    process = _started()
    assert process.stdin and process.stdout
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    process.stdin.write(json.dumps([method, path, sent]) + "\n")
    process.stdin.flush()
    status, got, body = json.loads(process.stdout.readline())
    return Answer(status, got, base64.b64decode(body))


@cache
def _started() -> subprocess.Popen[str]:
    directory = tempfile.TemporaryDirectory()
    root = Path(directory.name)
    data = root / "places.geojson"
    data.write_text(json.dumps({"type": "FeatureCollection", "features": FEATURES}))
    config = json.loads(json.dumps(_CONFIG))
    config["resources"]["places"]["providers"][0]["data"] = str(data)
    (root / "config.yml").write_text(json.dumps(config))
    env = os.environ | {
        "PYGEOAPI_CONFIG": str(root / "config.yml"),
        "PYGEOAPI_OPENAPI": str(root / "openapi.json"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        env=env,
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(root / "log").open("wb"),
        text=True,
    )

    def end() -> None:
        assert process.stdin
        process.stdin.close()
        process.wait(10)
        directory.cleanup()

    atexit.register(end)
    return process
