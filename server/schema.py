"""Whether config/ has the form that pygeoapi's own schema of its configuration asks for."""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

from server.access import Problem

_FILE = Path("resources", "schemas", "config", "pygeoapi-config-0.x.yml")


@lru_cache(maxsize=1)
def _validator() -> Draft7Validator:
    # the package is found, not imported: commands that only look at the configuration stay quick
    spec = importlib.util.find_spec("pygeoapi")
    assert spec is not None and spec.submodule_search_locations
    text = (Path(spec.submodule_search_locations[0]) / _FILE).read_text(encoding="utf-8")
    return Draft7Validator(yaml.load(text, Loader=yaml.CSafeLoader))


def problems(base: dict[str, Any]) -> list[Problem]:
    """What is wrong in tierra.yml: its sections `server`, `metadata`, `logging`."""
    found = _found({**base, "resources": {}})
    server = base.get("server")
    languages = server.get("languages") if isinstance(server, dict) else None
    if not isinstance(languages, list) or not languages or not all(isinstance(name, str) for name in languages):
        found.append(Problem(("server", "languages"), "languages must be a list of at least one language"))
    return found


def resource_problems(resource: dict[str, Any]) -> list[Problem]:
    """What is wrong in a collection's file, its `access:` and `extents` aside: the extent is the edition's."""
    extents = {"spatial": {"bbox": [-180, -90, 180, 90]}}
    found = _found({"resources": {"collection": {**resource, "extents": extents}}})
    inside = [problem for problem in found if problem.path[:2] == ("resources", "collection")]
    return [Problem(problem.path[2:], problem.reason) for problem in inside]


def _found(config: dict[str, Any]) -> list[Problem]:
    # dates of YAML are text in JSON
    plain = json.loads(json.dumps(config, default=str))
    found = []
    for error in _validator().iter_errors(plain):
        leaf = error
        while leaf.context:  # of several ways, the one that came nearest
            leaf = max(leaf.context, key=lambda inner: len(inner.absolute_path))
        path = tuple(leaf.absolute_path)
        found.append(Problem(path, f"{path[-1]}: {leaf.message}" if path else leaf.message))
    return found
