"""Whether every mistake in a configuration is refused with file, line and reason, and no input ends otherwise than so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server import config as configuration
from server.config import Config, ConfigError
from tests.conftest import House

HEAD = """\
type: collection
title: {en: Things, zh: 物}
description: {en: d, zh: d}
keywords: {en: [k], zh: [k]}
providers:
  - type: feature
    name: providers.features.FeatureProvider
    data: province.gpkg
    table: parcels
    id_field: parcel_id
    time_field: updated
    storage_crs: http://www.opengis.net/def/crs/EPSG/0/4547
    sortables: [parcel_id]
"""
GOOD = "  open: {properties: [parcel_id, landuse]}\n"


class Desk:
    """A configuration directory with one collection, `things`, over the sample's parcels."""

    def __init__(self, directory: Path, sample: House) -> None:
        self.house = House(directory)
        self.file = directory / "config" / "collections" / "things.yml"
        self.file.parent.mkdir(parents=True)
        shutil.copy(sample.directory / "config" / "tierra.yml", directory / "config")
        for name in ("divisions", "gauges"):
            shutil.copy(sample.directory / "config" / "collections" / f"{name}.yml", self.file.parent)
        (directory / "data").symlink_to(sample.directory / "data")
        (directory / "state").mkdir()

    def load(self, text: str) -> Config:
        self.file.write_text(text, "utf-8")
        return configuration.load(self.house.settings)

    def refused(self, text: str) -> list[str]:
        """The lines of the refusal."""
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        for line in caught.value.lines:
            assert line.startswith((f"{self.file}:", str(self.file.parent.parent / "tierra.yml")))
        return list(caught.value.lines)


@pytest.fixture(scope="module")
def desk(sample: House, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk") / "house", sample)


def test_good_policy_loads(desk: Desk) -> None:
    config = desk.load(HEAD + "access:\n" + GOOD + "  internal: {properties: [], under: {division: caller}}\n")
    assert set(config.collections["things"].blocks) == {"open", "internal"}
    assert config.recipe("things", "open").properties == ("parcel_id", "landuse")
    assert desk.load(HEAD).collections["things"].blocks == {}


# the block's lines begin at line 14: `access:`; each case is what follows, the line of the mistake, and a part of the reason
BLOCKS: list[tuple[str, int, str]] = [
    ("  public: {properties: []}\n", 15, "unknown tier public"),
    ("  open:\n", 15, "must be a mapping"),
    ("  open: []\n", 15, "must be a mapping"),
    ("  open: {}\n", 15, "properties is required"),
    ("  open: {rows: status = 'registered'}\n", 15, "properties is required"),
    ("  open:\n    properties: [parcel_id]\n    colour: red\n", 17, "unknown key colour"),
    ("  open:\n    properties: [parcel_id]\n    mode: conditional\n", 17, "unknown key mode"),
    ("  open:\n    properties: [parcel_id]\n    under: {division: caller}\n", 17, "unknown key under"),
    ("  internal:\n    properties: [parcel_id]\n    mask: {owner: initial}\n", 17, "unknown key mask"),
    ("  internal:\n    properties: [parcel_id]\n    geometry: {snap: 20}\n", 17, "unknown key geometry"),
    ("  internal:\n    properties: [parcel_id]\n    clip: divisions\n", 17, "unknown key clip"),
    ("  internal:\n    properties: [parcel_id]\n    resolution: 30\n", 17, "unknown key resolution"),
    ("  internal:\n    properties: [parcel_id]\n    flow: continuous\n", 17, "unknown key flow"),
    ("  open:\n    properties: parcel_id\n", 16, "must be a list of names"),
    ("  open:\n    properties: [parcel_id, 5]\n", 16, "must be a list of names"),
    ("  open:\n    properties:\n    - parcel_id\n    - certificat\n", 18, "no column certificat"),
    ("  open:\n    properties:\n    - parcel_id\n    - geom\n", 18, "no column geom"),
    ("  open:\n    properties:\n    - parcel_id\n    - LANDUSE\n", 18, "no column LANDUSE"),
    ("  open:\n    properties:\n    - parcel_id\n    - landuse\n    - parcel_id\n", 19, "named twice"),
    ("  open:\n    properties: [landuse]\n", 16, "parcel_id must be among"),
    ("  open:\n    properties: [parcel_id]\n    rows: statu = 'registered'\n", 17, "statu"),
    ("  open:\n    properties: [parcel_id]\n    rows: status =\n", 17, "rows"),
    ("  open:\n    properties: [parcel_id]\n    rows: status = 5\n", 17, "rows"),
    ("  open:\n    properties: [parcel_id]\n    rows: area_ha\n", 17, "rows"),
    ("  open:\n    properties: [parcel_id]\n    rows: ''\n", 17, "rows must be a text"),
    ("  open:\n    properties: [parcel_id]\n    rows: true\n", 17, "rows must be a text"),
    ("  open:\n    properties: [parcel_id]\n    rows: [status]\n", 17, "rows must be a text"),
    ("  open:\n    properties: [parcel_id]\n    mask: {owner: initial}\n", 17, "owner is masked but is not among"),
    ("  open:\n    properties: [parcel_id]\n    mask: {parcel_id: initial}\n", 17, "only hash keeps ids apart"),
    ("  open:\n    properties: [parcel_id, owner]\n    mask: {owner: blur}\n", 17, "blur"),
    ("  open:\n    properties: [parcel_id, owner]\n    mask: {owner: {round: 1}}\n", 17, "owner"),
    ("  open:\n    properties: [parcel_id, area_ha]\n    mask: {area_ha: {round: 0}}\n", 17, "area_ha"),
    ("  open:\n    properties: [parcel_id, area_ha]\n    mask: {area_ha: initial}\n", 17, "area_ha"),
    ("  open:\n    properties: [parcel_id]\n    mask: [owner]\n", 17, "mask"),
    ("  open:\n    properties: [parcel_id]\n    geometry: blurred\n", 17, "geometry must be a mapping"),
    ("  open:\n    properties: [parcel_id]\n    geometry:\n      snap: -5\n", 18, "snap must be a length"),
    ("  open:\n    properties: [parcel_id]\n    geometry:\n      snap: .nan\n", 18, "snap must be a length"),
    ("  open:\n    properties: [parcel_id]\n    geometry:\n      simplify: true\n", 18, "simplify must be a length"),
    ("  open:\n    properties: [parcel_id]\n    geometry:\n      centroid: 1\n", 18, "centroid must be true or false"),
    ("  open:\n    properties: [parcel_id]\n    geometry:\n      snapp: 20\n", 18, "unknown key snapp"),
    ("  open:\n    properties: [parcel_id]\n    geometry:\n      crs: 4547\n", 18, "crs"),
    ("  open:\n    properties: [parcel_id]\n    geometry: {snap: 20, crs: EPSG:4326}\n", 17, "4326"),
    ("  open:\n    properties: [parcel_id]\n    geometry: {snap: 20, crs: EPSG:3857}\n", 17, "3857"),
    ("  open:\n    properties: [parcel_id]\n    geometry: {snap: 20, crs: EPSG:99999}\n", 17, "99999"),
    ("  open:\n    properties: [parcel_id]\n    geometry: {snap: 20, crs: Beijing}\n", 17, "Beijing"),
    ("  open:\n    properties: [parcel_id]\n    clip: provinces\n", 17, "no collection provinces"),
    ("  open:\n    properties: [parcel_id]\n    clip: gauges\n", 17, "gauges is no collection of areas"),
    ("  open:\n    properties: [parcel_id]\n    clip: [divisions]\n", 17, "clip must be a text"),
    ("  open:\n    properties: [parcel_id]\n    flow: later\n", 17, "flow must be one of"),
    ("  open:\n    properties: [parcel_id]\n    because: 5\n", 17, "because must be a text"),
    ("  open:\n    properties: [parcel_id]\n    limits: 5\n", 17, "limits must be a mapping"),
    ("  open:\n    properties: [parcel_id]\n    limits:\n      items: 0\n", 18, "items must be a whole number"),
    ("  open:\n    properties: [parcel_id]\n    limits:\n      items: many\n", 18, "items must be a whole number"),
    ("  open:\n    properties: [parcel_id]\n    limits:\n      rows: 5\n", 18, "unknown limit rows"),
    ("  open:\n    properties: [parcel_id]\n    actions: [read, create]\n", 17, "actions"),
    ("  open:\n    properties: [parcel_id]\n    actions: read\n", 17, "actions must be a list"),
    ("  shared:\n    properties: [parcel_id]\n    mode: sometimes\n", 17, "mode must be one of"),
    ("  internal:\n    properties: [parcel_id]\n    under: division\n", 17, "under must name one column"),
    ("  internal:\n    properties: [parcel_id]\n    under: {division: '51'}\n", 17, "under must name one column"),
    ("  internal:\n    properties: [parcel_id]\n    under: {division: caller, a: caller}\n", 17, "under must name one column"),
    ("  internal:\n    properties: [parcel_id]\n    under:\n      county: caller\n", 18, "no text column county"),
    ("  internal:\n    properties: [parcel_id]\n    under:\n      area_ha: caller\n", 18, "no text column area_ha"),
    ("  open: {properties: [parcel_id]}\n  open: {properties: [parcel_id, owner]}\n", 16, "twice"),
    ("  open:\n    properties: [parcel_id]\n    properties: [parcel_id, owner]\n", 17, "twice"),
    ("  open:\n    properties: [parcel_id]\n    because: 2026-13-45\n", 17, ""),
    ("  open: {properties: [parcel_id]\n", 16, ""),
    ("  open: {properties: [parcel_id], ? [a] : b}\n", 15, ""),
    ("  open: &a {properties: [parcel_id], limits: *a}\n", 15, ""),
]  # fmt: skip


@pytest.mark.parametrize("block, line, reason", BLOCKS, ids=[f"{n}-{b[2]}" for n, b in enumerate(BLOCKS)])
def test_mistake_in_a_block_is_named_with_its_line(desk: Desk, block: str, line: int, reason: str) -> None:
    lines = desk.refused(HEAD + "access:\n" + block)
    assert any(said.startswith(f"{desk.file}:{line}: ") and reason in said for said in lines), lines


@pytest.mark.parametrize("access", ["access:\n", "access: []\n", "access: open\n"])
def test_access_must_be_a_mapping(desk: Desk, access: str) -> None:
    (line,) = desk.refused(HEAD + access)
    assert line.startswith(f"{desk.file}:14: access must be a mapping")


def test_all_mistakes_are_said_at_once(desk: Desk) -> None:
    lines = desk.refused(HEAD + "access:\n  open: {properties: [parcel_id, a, b]}\n  shared: {propertys: []}\n  outer: {}\n")
    assert len(lines) == 5  # a, b, the unknown key, the missing one, the unknown tier


def edited(before: str, after: str) -> Callable[[str], str]:
    assert before in HEAD
    return lambda text: text.replace(before, after, 1)


RESOURCES: list[tuple[str, str, int, str]] = [
    ("type: collection", "type: process", 1, "type must be collection"),
    ("title: {en: Things, zh: 物}\n", "", 1, "title is missing"),
    ("keywords: {en: [k], zh: [k]}\n", "", 1, "keywords is missing"),
    ("  - type: feature\n", "  - type: coverage\n", 6, "type feature"),
    ("providers.features.FeatureProvider", "GeoPackage", 6, "providers.features.FeatureProvider"),
    ("    data: province.gpkg\n", "", 6, "'data' is a required property"),
    ("province.gpkg", "nowhere.gpkg", 6, "no such file"),
    ("province.gpkg", "/etc/hostname", 6, ""),
    ("province.gpkg", ".", 6, ""),
    ("table: parcels", "table: parcel", 6, "no table parcel"),
    ("id_field: parcel_id", "id_field: number", 6, "no such column"),
    ("id_field: parcel_id", "id_field: [parcel_id]", 10, "id_field"),
    ("time_field: updated", "time_field: created", 11, "no column created"),
    ("EPSG/0/4547", "EPSG/0/99999", 6, "99999"),
    ("storage_crs: http://www.opengis.net/def/crs/EPSG/0/4547", "storage_crs: 4547", 6, ""),
    ("sortables: [parcel_id]", "sortables: [number]", 13, "no column number"),
    ("sortables: [parcel_id]", "sortables:", 6, ""),
    ("sortables: [parcel_id]", "sortables: parcel_id", 13, "sortables"),
    ("sortables: [parcel_id]", "crs: 4326", 6, ""),
    ("sortables: [parcel_id]", "crs:", 6, ""),
    ("sortables: [parcel_id]", "fields: [parcel_id]", 6, ""),
    ("sortables: [parcel_id]", "fields:", 6, ""),
    ("providers:\n", "links:\nproviders:\n", 5, ""),
    ("providers:\n", "links: [a]\nproviders:\n", 5, ""),
]  # fmt: skip


@pytest.mark.parametrize("before, after, line, reason", RESOURCES, ids=[f"{n}-{r[1].strip()}" for n, r in enumerate(RESOURCES)])
def test_mistake_in_a_resource_is_named(desk: Desk, before: str, after: str, line: int, reason: str) -> None:
    lines = desk.refused(edited(before, after)(HEAD) + "access:\n" + GOOD)
    assert any(reason in said for said in lines), lines
    if reason:
        assert any(said.startswith(f"{desk.file}:{line}: ") for said in lines), lines


@pytest.mark.parametrize("name", ["1st", "a b", "a.b", "dUmmYColLection", "数据"])
def test_file_whose_name_is_no_id(desk: Desk, name: str) -> None:
    file = desk.file.with_name(f"{name}.yml")
    desk.load(HEAD)
    file.write_text(HEAD)
    try:
        with pytest.raises(ConfigError, match="cannot be a collection's id"):
            configuration.load(desk.house.settings)
    finally:
        file.unlink()


@pytest.mark.parametrize("before, after", [
    ("\nserver:", "\nserve:"), ("metadata:", "meta:"), ("  languages: [en, zh]", "  language: en"),
    ("  languages: [en, zh]", "  languages: []"),
    ("  limits:\n", "  limits:\n  other:\n"), ("    max_items: 10000", "    max_items: many"),
    ("  identification:\n", "  identity:\n"),
    ("  license:\n", "  licence:\n"), ("  provider:\n", "  supplier:\n"), ("  level: ERROR", "  level: LOUD"),
    ("  level: ERROR", "  depth: 1"),
])  # fmt: skip
def test_main_file_that_cannot_serve_is_refused(desk: Desk, before: str, after: str) -> None:
    """What would fail at every request must not come into force."""
    main = desk.file.parent.parent / "tierra.yml"
    text = main.read_text()
    assert before in text
    main.write_text(text.replace(before, after, 1))
    try:
        with pytest.raises(ConfigError, match=r"tierra\.yml:"):
            desk.load(HEAD)
    finally:
        main.write_text(text)


def test_directory_in_the_place_of_a_file(desk: Desk) -> None:
    desk.load(HEAD)
    place = desk.file.with_name("other.yml")
    place.mkdir()
    try:
        with pytest.raises(ConfigError, match=r"other\.yml"):
            configuration.load(desk.house.settings)
    finally:
        place.rmdir()


# warnings


@pytest.mark.parametrize("block, warned", [
    ("{properties: [parcel_id, area_ha], geometry: {snap: 20}}", ["area_ha"]),
    ("{properties: [parcel_id, area_ha, area_m2], geometry: {simplify: 5}}", ["area_ha", "area_m2"]),
    ("{properties: [parcel_id, area_ha], geometry: centroid}", ["area_ha"]),
    ("{properties: [parcel_id, area_ha, area_m2], mask: {area_ha: {round: 1}}, geometry: {snap: 20}}", ["area_m2"]),
    ("{properties: [parcel_id, area_ha], mask: {area_ha: redact}, geometry: {snap: 20}}", []),
    ("{properties: [parcel_id, area_ha]}", []),
    ("{properties: [parcel_id, area_ha], geometry: none}", []),
    ("{properties: [parcel_id, landuse, updated], geometry: {snap: 20}}", []),
])  # fmt: skip
def test_measure_beside_a_coarsened_geometry_is_warned_of(desk: Desk, block: str, warned: list[str]) -> None:
    config = desk.load(HEAD + f"access:\n  open: {block}\n")
    said = [line for line in config.warnings if line.startswith(f"{desk.file}:")]
    assert len(said) == len(warned)
    for line, name in zip(said, warned, strict=True):
        assert line.startswith(f"{desk.file}:15: {name} is measured")
    for line in said:
        assert line in desk.house.tierra("check")


# anything

_names = st.sampled_from(["parcel_id", "landuse", "area_ha", "owner", "status", "division", "updated", "nope", "geom", ""])
_scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12) | _names | st.dates()
_words = st.sampled_from([
    "rows", "properties", "mask", "geometry", "clip", "flow", "limits", "because", "actions", "mode", "under", "open",
    "shared", "internal", "snap",
    "simplify", "centroid", "none", "crs", "round", "initial", "hash", "items", "read", "caller", "divisions", "EPSG:4547",
    "on-publish",
    "status = 'x'", "conditional",
])  # fmt: skip
_anything = st.recursive(
    _scalars | _words,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_words | _names | st.integers() | st.none() | st.booleans(), inner, max_size=4)
    ),
    max_leaves=12,
)
_block = st.fixed_dictionaries(
    {"properties": st.lists(_names, max_size=4) | _anything},
    optional={
        "rows": st.text(max_size=30) | st.sampled_from(["status = 'x'", "area_ha > 1 OR", "NOT status"]) | _anything,
        "mask": st.dictionaries(_names, _words | st.fixed_dictionaries({"round": _scalars}) | _anything, max_size=3) | _anything,
        "geometry": st.dictionaries(_words, _scalars | _words, max_size=4) | _anything,
        "clip": _words | _anything, "flow": _words | _anything, "limits": st.fixed_dictionaries({"items": _scalars}) | _anything,
        "because": _anything, "actions": st.lists(_words, max_size=3) | _anything, "mode": _words | _anything,
        "under": st.dictionaries(_names, _words, max_size=2) | _anything,
    },
)  # fmt: skip


@given(
    access=_anything | st.dictionaries(st.sampled_from(["open", "shared", "internal", "outer"]), _block | _anything, max_size=3)
)
@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_any_access_is_read_or_refused(desk: Desk, access: Any) -> None:
    try:
        config = desk.load(HEAD + yaml.safe_dump({"access": access}, allow_unicode=True))
    except ConfigError as err:
        assert err.lines  # noqa: PT017 either is right
    else:
        for block in config.collections["things"].blocks.values():
            assert not block.actions or "parcel_id" in block.recipe.properties or not block.recipe.properties
