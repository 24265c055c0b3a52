"""Do imports point one way, server → processes → providers, and past what must not be imported?"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import ROOT

PACKAGES = ("server", "processes", "providers", "data_samples")
WEB = ("flask", "werkzeug", "jinja2", "granian", "starlette", "fastapi", "pygeoapi.api", "pygeoapi.flask_app")

# What a package may not import. `processes` may read providers, and knows no more of the web than they do.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "providers": ("server", "processes", "data_samples", *WEB),
    "processes": ("server", "data_samples", *WEB),
    "server": ("data_samples",),
    "data_samples": ("server", "processes"),
}

# No SQL, no raster and no geometry in what answers HTTP. Commands do data work; the server's own state is a database.
EXEMPT = ("server/commands/", "server/database.py", "server/state.py")
FORBIDDEN_IN_HANDLERS = ("sqlite3", "shapely", "pyproj", "numpy", "fiona", "rasterio", "pygeofilter", "cql2")

# No precedence of AND over OR; literals pasted into SQL; configuration read from the environment at import.
BANNED = ("pygeofilter.parsers.cql2_text", "pygeofilter.backends.sql", "pygeoapi.flask_app")


def modules(folder: str) -> list[Path]:
    """The Python files of a folder, less hidden ones (environments, generated data)."""
    found = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, with its line, absolute; `from a import b` gives `a` and `a.b`."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "import_module",
            "importlib.import_module",
            "__import__",
        ):
            yield from ((node.lineno, arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def offences(folder: str, forbidden: tuple[str, ...]) -> set[str]:
    return {
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in modules(folder)
        for line, module in imports(path)
        for name in forbidden
        if module == name or module.startswith(f"{name}.")
    }


@pytest.mark.parametrize("package", [name for name in PACKAGES if (ROOT / name).is_dir()])
def test_arrows_point_one_way(package: str) -> None:
    assert not offences(package, FORBIDDEN[package])


def test_what_answers_http_holds_no_data_work() -> None:
    assert not {o for o in offences("server", FORBIDDEN_IN_HANDLERS) if not o.startswith(EXEMPT)}


@pytest.mark.parametrize("folder", [*(name for name in PACKAGES if (ROOT / name).is_dir()), "tests", "benchmarks"])
def test_banned_modules_are_imported_nowhere(folder: str) -> None:
    assert not offences(folder, BANNED)


def test_every_top_level_package_is_known_here() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found - {"tests", "benchmarks"} <= set(PACKAGES)


def test_imports_are_found_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test itself is sharp: each way to write an import is seen."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    folder = tmp_path / "providers" / "engines"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text(
        "import flask.views\nfrom werkzeug import http\ndef f():\n    from ...server import app\n"
        "    from pygeoapi import flask_app\n    import importlib\n    importlib.import_module('granian')\n"
    )
    assert offences("providers", FORBIDDEN["providers"]) == {
        "providers/engines/a.py:1 imports flask.views",
        "providers/engines/a.py:2 imports werkzeug",
        "providers/engines/a.py:2 imports werkzeug.http",
        "providers/engines/a.py:4 imports server",
        "providers/engines/a.py:4 imports server.app",
        "providers/engines/a.py:5 imports pygeoapi.flask_app",
        "providers/engines/a.py:7 imports granian",
    }


def test_web_workers_load_no_second_gdal() -> None:
    """Every wheel of fiona carries its own GDAL: only the command line opens files with it."""
    if not (ROOT / "server" / "app.py").exists():
        pytest.skip("the web application is not written yet")
    code = "import sys, server.app; print([m for m in ('fiona', 'pygeoapi.flask_app') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
