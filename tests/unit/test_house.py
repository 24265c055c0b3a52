"""Is the house kept: short files that say what they answer, declared dependencies, documented settings and targets?"""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib.metadata import packages_distributions, requires
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.needs import ROOT
from tests.unit.test_arrows import PACKAGES, imports, modules

CODE = [path for name in PACKAGES for path in modules(name)]
ALL = [*CODE, *modules("tests"), *modules("benchmarks")]
TEXT = [*ALL, *sorted(p for n in ("config", "docs", "scripts", ".ci") for p in (ROOT / n).rglob("*") if p.is_file())]

# About 400 lines is the aim; what is longer than this wants to be two modules.
LONGEST = 450

# Work that was left, and paths of one machine.
UNFIT = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b|/(home|Users|root|work)/\w")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_file_is_short_and_says_what_it_answers(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST
    doc = ast.get_docstring(ast.parse(source))
    assert doc, "no docstring"
    assert doc.splitlines()[0].strip().endswith((".", "?", ":")), "the first docstring line is no sentence"


@pytest.mark.parametrize("path", [p for p in CODE if p.name != "__init__.py"], ids=name_of)
def test_module_is_not_empty(path: Path) -> None:
    """A module holds more than its docstring and imports."""
    body = ast.parse(path.read_text(encoding="utf-8")).body[1:]
    assert any(not isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr)) for node in body)


@pytest.mark.parametrize("path", TEXT, ids=name_of)
def test_nothing_is_left_undone_or_bound_to_one_machine(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # a picture
    found = [f"line {n}: {line.strip()}" for n, line in enumerate(text.splitlines(), 1) if UNFIT.search(line)]
    assert not found


def declared(section: str = "options", key: str = "install_requires") -> dict[str, Requirement]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = (line.strip() for line in setup[section][key].splitlines())
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in requirements}


def brought_by(distribution: str) -> set[str]:
    """What a distribution itself requires."""
    return {canonicalize_name(Requirement(line).name) for line in requires(distribution) or ()}


def imported(folders: tuple[str, ...]) -> dict[str, str]:
    """Distributions that the code imports, each with a file that does."""
    own = {*PACKAGES, "tests", "benchmarks", *sys.stdlib_module_names}
    distributions = packages_distributions()
    found: dict[str, str] = {}
    for path in ALL:
        if name_of(path).startswith(folders):
            for _, module in imports(path):
                top = module.split(".")[0]
                if top and top not in own:
                    for distribution in distributions.get(top, [top]):
                        found.setdefault(canonicalize_name(distribution), name_of(path))
    return found


def test_every_import_is_a_declared_dependency() -> None:
    code = imported(tuple(f"{name}/" for name in (*PACKAGES, "benchmarks")))
    beside = {"pysqlite3"}  # in the environment of the benchmark's peers
    assert {n: p for n, p in code.items() if n not in declared() and n not in beside} == {}


def test_every_import_of_the_tests_is_declared() -> None:
    known = {*declared(), *declared("options.extras_require", "test"), *brought_by("pygeoapi"), *brought_by("pytest")}
    # Other programs' modules, in scripts that their own interpreter runs.
    beside = {"qgis", "osgeo", "gdal"}
    assert {n: p for n, p in imported(("tests/",)).items() if n not in known and n not in beside} == {}


def test_every_dependency_is_used_bounded_and_explained() -> None:
    requirements = declared()
    unused = set(requirements) - set(imported(tuple(f"{name}/" for name in PACKAGES)))
    assert not unused
    for name, requirement in requirements.items():
        assert {">=", "<"} <= {s.operator for s in requirement.specifier}, f"{name} has no lower or no upper bound"
    lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").split("install_requires =")[1].split("\n\n")[0].splitlines()
    stated = [line.strip() for line in lines if line.strip()]
    alone = [b for a, b in pairwise(stated) if not (a.startswith("#") or b.startswith("#"))]
    assert not alone, "these have no reason before them"


def documentation() -> str:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages if page.exists())


def test_every_setting_is_documented() -> None:
    tree = ast.parse((ROOT / "server" / "settings.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {text for text in texts if re.fullmatch(r"TIERRA_[A-Z_]+|HOST|PORT|WORKERS|DEMO", text)}
    assert "TIERRA_CONFIG" in names, "the settings are read elsewhere: look there"
    text = documentation()
    assert not {name for name in names if not re.search(rf"\b{name}\b", text)}


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"serve", "test", "lint", "bench"} <= set(targets)
    text = documentation()
    assert not {target for target in targets if f"make {target}" not in text}
