"""What a test needs beside the project: programs, modules, reference data. Missing ones skip it, but never in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT.parent / "shared" / "data"

# The interpreter that the distribution's packages (QGIS, GDAL) belong to.
SYSTEM_PYTHON = "/usr/bin/python3"


def needs(*programs: str, modules: tuple[str, ...] = (), system_modules: tuple[str, ...] = ()) -> None:
    """Skip the test, or the module that calls this at import, unless all of these are there; in CI fail instead.

    `programs` are names on the path or absolute paths, `modules` are importable here, `system_modules` by the
    distribution's own Python (`qgis`, `osgeo`).
    """
    missing = [name for name in programs if shutil.which(name) is None]
    missing += [f"module {name}" for name in modules if importlib.util.find_spec(name) is None]
    missing += [f"module {name} of {SYSTEM_PYTHON}" for name in system_modules if not _system_has(name)]
    if missing:
        _without(f"not installed: {', '.join(missing)}")


def program(name: str, *patterns: str) -> str:
    """The path of a program: on the path, else the newest match of a pattern (`/usr/lib/postgresql/*/bin/initdb`).

    Skips (fails in CI) where there is none.
    """
    if found := shutil.which(name):
        return found
    matches = [path for pattern in patterns for path in Path("/").glob(pattern.lstrip("/"))]
    if not matches:
        _without(f"not installed: {name}")
    return str(max(matches, key=lambda path: [int(part) for part in path.parts if part.isdigit()]))


def reference(*parts: str) -> Path:
    """A file or folder of the reference data, which lies beside the project; skips the test where it is absent."""
    path = REFERENCE.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no reference data at {path}", allow_module_level=True)
    return path


def _without(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and in CI nothing is skipped for that", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


@cache
def _system_has(module: str) -> bool:
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0
