"""Do the commands for keys, approvals and agreements do what they say, and does a secret appear only once?"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import shapely
from click.testing import CliRunner, Result

from providers.columns import Column
from providers.engines import layers
from server.commands.agreements import agreement
from server.commands.approvals import approve
from server.commands.console import table
from server.commands.editions import editions
from server.commands.keys import demo_keys, key
from server.identity import Unauthorized, identify
from server.settings import ROOT, Settings, load
from server.state import State

PLOTS = """
type: collection
title: {en: Plots}
description: {en: Plots}
keywords: {en: [plots]}
providers:
  - type: feature
    name: providers.features.FeatureProvider
    data: land.gpkg
    table: plots
    id_field: plot
    storage_crs: http://www.opengis.net/def/crs/OGC/1.3/CRS84
    crs: [http://www.opengis.net/def/crs/OGC/1.3/CRS84]
access:
  open: {properties: [plot, landuse], rows: landuse <> '09'}
  shared: {mode: conditional, properties: [plot, landuse, owner]}
"""
DEMO = ["shared", "internal-province", "internal-county", "approver"]
WATER = "Department of Water Resources"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"TIERRA_STATE": str(tmp_path / "state"), "TIERRA_CONFIG": str(tmp_path), "TIERRA_DATA": str(tmp_path)})


@pytest.fixture
def state(settings: Settings) -> Iterator[State]:
    with closing(State(settings.state / "state.sqlite")) as opened:
        yield opened


def run(settings: Settings, command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, words, obj=settings)


def demo_file(settings: Settings) -> dict[str, str]:
    found: dict[str, str] = json.loads((settings.state / "demo-keys.json").read_text())
    return found


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--tier", "shared", "--agency", WATER], ("shared", WATER, WATER, None, None, ())),
        (["--tier", "shared", "--agency", WATER, "--name", "QGIS"], ("shared", "QGIS", WATER, None, None, ())),
        (["--tier", "internal", "--level", "nation"], ("internal", "nation", None, "nation", "", ())),
        (
            ["--tier", "internal", "--level", "county", "--division", "510104", "--role", "approver", "--name", "锦江"],
            ("internal", "锦江", None, "county", "510104", ("approver",)),
        ),
    ],
)
def test_a_new_key_is_alone_on_standard_output_and_works(
    settings: Settings, state: State, words: list[str], expected: tuple[Any, ...]
) -> None:
    result = run(settings, key, "add", *words)
    assert result.exit_code == 0
    whole = result.stdout.removesuffix("\n")
    caller = identify(whole, None, state)
    assert (caller.tier, caller.name, caller.agency, caller.level, caller.division, caller.roles) == expected
    assert "not shown again" in result.stderr and str(caller.key_id) in result.stderr
    secret = whole.partition(".")[2]
    assert secret not in result.stderr and secret not in run(settings, key, "list").output


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--tier", "shared"], "needs an agency"),
        (["--tier", "open"], "open"),
        (["--tier", "internal"], "needs a level"),
        (["--tier", "internal", "--level", "county"], "6 digits"),
        (["--tier", "internal", "--level", "county", "--division", "5101"], "6 digits"),
        (["--tier", "internal", "--level", "nation", "--division", "51"], "nation"),
        (["--tier", "shared", "--agency", WATER, "--role", "approver"], "no level, division or role"),
        (["--tier", "internal", "--level", "nation", "--role", "admin"], "admin"),
    ],
)
def test_a_key_of_an_impossible_scope_is_not_made(settings: Settings, state: State, words: list[str], reason: str) -> None:
    result = run(settings, key, "add", *words)
    assert result.exit_code != 0 and result.stdout == ""
    assert reason in result.stderr and "Traceback" not in result.stderr
    assert state.keys() == []


def test_keys_are_listed_with_their_scope_and_revocation(settings: Settings, state: State) -> None:
    province, _ = state.add_key(tier="internal", name="四川", level="province", division="51", roles=["approver"])
    water, secret = state.add_key(tier="shared", name="QGIS", agency="水利厅")
    assert run(settings, key, "revoke", water).exit_code == 0
    lines = run(settings, key, "list").output.splitlines()
    assert len(lines) == 3
    stored = state.key(water)
    assert stored and stored.revoked
    for key_id, cells in (
        (province, ["internal", "四川", "province", "51", "approver"]),
        (water, ["水利厅", stored.revoked]),
    ):
        (line,) = [line for line in lines if line.startswith(key_id)]
        assert all(cell in line for cell in cells)
    with pytest.raises(Unauthorized):
        identify(secret, None, state)


def test_revoking_a_key_twice_is_no_error_and_an_unknown_one_is(settings: Settings, state: State) -> None:
    key_id, whole = state.add_key(tier="shared", name="QGIS", agency=WATER)
    first, second = (run(settings, key, "revoke", key_id) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0) and first.output == second.output
    unknown = run(settings, key, "revoke", "kaaaaaaaaaa")
    assert unknown.exit_code == 1 and "no key kaaaaaaaaaa" in unknown.stderr
    mistaken = run(settings, key, "revoke", whole)
    assert mistaken.exit_code == 1 and whole.partition(".")[2] not in mistaken.output


def test_demo_keys_are_four_callers_and_an_agreement(settings: Settings, state: State) -> None:
    assert run(settings, demo_keys).exit_code == 0
    path = settings.state / "demo-keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    callers = {name: identify(whole, None, state) for name, whole in demo_file(settings).items()}
    assert list(callers) == DEMO
    scopes = {name: (c.tier, c.agency, c.level, c.division, c.roles) for name, c in callers.items()}
    assert scopes == {
        "shared": ("shared", WATER, None, None, ()),
        "internal-province": ("internal", None, "province", "51", ()),
        "internal-county": ("internal", None, "county", "510101", ()),
        "approver": ("internal", None, "province", "51", ("approver",)),
    }
    now = datetime.now(UTC)
    agreed = state.active_agreement(WATER, "parcels", now)
    assert agreed is not None and agreed == state.active_agreement(WATER, "parcels", now + timedelta(days=364))
    assert (agreed.purpose, agreed.by) == ("flood-control planning", callers["approver"].key_id)
    assert state.active_agreement(WATER, "parcels", now + timedelta(days=367)) is None
    assert state.has_demo_keys()


def test_demo_keys_are_made_once(settings: Settings, state: State) -> None:
    first = run(settings, demo_keys)
    made, revision = demo_file(settings), state.revision()
    second = run(settings, demo_keys)
    assert (second.exit_code, second.output) == (0, first.output)
    assert (demo_file(settings), state.revision()) == (made, revision)
    assert all(whole in first.stdout for whole in made.values())


@pytest.mark.parametrize("harm", ["lost", "cut", "list", "revoked", "swapped", "missing"])
def test_demo_keys_are_made_anew_where_one_is_not_valid(settings: Settings, state: State, harm: str) -> None:
    run(settings, demo_keys)
    path, old = settings.state / "demo-keys.json", demo_file(settings)
    if harm == "lost":
        path.unlink()
    elif harm == "cut":
        path.write_text(path.read_text()[:-40])
    elif harm == "list":
        path.write_text(json.dumps(list(old.values())))
    elif harm == "revoked":
        state.revoke(old["internal-county"].partition(".")[0])
    elif harm == "swapped":
        path.write_text(json.dumps(old | {"shared": old["approver"]}))
    else:
        path.write_text(json.dumps({name: old[name] for name in DEMO[:3]}))
    kept, _ = state.add_key(tier="shared", name="No demonstration", agency=WATER)
    assert run(settings, demo_keys).exit_code == 0
    new = demo_file(settings)
    assert list(new) == DEMO and not set(new.values()) & set(old.values())
    for whole in old.values():
        with pytest.raises(Unauthorized):
            identify(whole, None, state)
    keys = state.keys()
    valid = {stored.id for stored in keys if stored.revoked is None}
    assert valid == {kept, *(whole.partition(".")[0] for whole in new.values())}
    assert len(state.agreements()) == 1


def test_a_demo_agreement_that_has_ended_is_made_anew(settings: Settings, state: State) -> None:
    run(settings, demo_keys)
    (ended,) = state.agreements()
    assert run(settings, agreement, "end", ended.id).exit_code == 0
    assert state.active_agreement(WATER, "parcels", datetime.now(UTC)) is None
    run(settings, demo_keys)
    assert state.active_agreement(WATER, "parcels", datetime.now(UTC)) == state.agreements()[1]


def test_agreements_are_listed_and_ended(settings: Settings, state: State) -> None:
    by, _ = state.add_key(tier="internal", name="Approver", level="province", division="51", roles=["approver"])
    today = datetime.now(UTC).date()
    rest: dict[str, Any] = {"purpose": "防洪规划", "starts": today, "ends": today, "by": by}
    wide = state.add_agreement(agency="水利厅", collection="parcels", **rest)
    narrow = state.add_agreement(
        agency=WATER, collection="gauges", rows="elevation_m > 500", properties=["gauge_id", "名称"], items=7, **rest
    )
    lines = run(settings, agreement, "list").output.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", wide.id, narrow.id]
    assert all(cell in lines[2] for cell in (WATER, "elevation_m > 500", "gauge_id, 名称", " 7 ", by, "防洪规划"))
    for words, ids in (
        (["--collection", "parcels"], [wide.id]),
        (["--agency", WATER], [narrow.id]),
        (["--agency", WATER, "--collection", "parcels"], []),
    ):
        found = run(settings, agreement, "list", *words).output.splitlines()
        assert [line.split()[0] for line in found[1:]] == ids
    assert run(settings, agreement, "end", wide.id).exit_code == 0
    assert state.active_agreement("水利厅", "parcels", datetime.now(UTC)) is None
    unknown = run(settings, agreement, "end", "aaaaaaaaaaa")
    assert unknown.exit_code == 1 and "no agreement" in unknown.stderr


def test_a_table_is_aligned_as_a_terminal_shows_it() -> None:
    # as GNU coreutils and terminals measure them: a Han character takes two columns, a combining accent none
    assert table(("ID", "NAME", "X"), [("a", "水利厅", None), ("bb", "Cafe\u0301", "1"), ("c", "", "2")]) == (
        "ID  NAME    X\na   水利厅  -\nbb  Cafe\u0301    1\nc   -       2"
    )


@pytest.fixture
def approver(state: State) -> str:
    return state.add_key(tier="internal", name="王芳", level="province", division="51", roles=["approver"])[0]


@pytest.fixture
def plots(settings: Settings) -> Path:
    """The file of a collection of three plots, one of which is not open."""
    columns = [Column(name, "string") for name in ("plot", "landuse", "owner", "identity")]
    with closing(layers.open_package(settings.data / "land.gpkg")) as conn:
        layers.create_layer(conn, "plots", columns, id_column="plot", geometry_type="POINT", srs_id=4326)
        blobs = layers.blobs([shapely.Point(103 + n, 30) for n in range(3)], 4326)
        rows = [(blob, f"P{n}", f"0{n + 7}", "张三", "000") for n, blob in enumerate(blobs)]
        layers.insert(conn, "plots", columns, rows)
        layers.finish_layer(conn, "plots")
    shutil.copy(ROOT / "config" / "tierra.yml", settings.config)
    path = settings.config / "collections" / "plots.yml"
    path.parent.mkdir()
    path.write_text(PLOTS)
    return path


def test_approving_stores_the_recipe_and_builds_its_editions(
    settings: Settings, state: State, approver: str, plots: Path
) -> None:
    result = run(settings, approve, "plots", "--by", approver, "--because", "open list 2026, review 14")
    assert result.exit_code == 0, result.output
    (stored,) = state.approvals()
    assert (stored.collection, stored.by, stored.name) == ("plots", approver, "王芳")
    assert stored.because == "open list 2026, review 14"
    assert re.fullmatch("[0-9a-f]{64}", stored.recipe_hash)
    assert all(word in result.stdout for word in (stored.recipe_hash, approver, "王芳", stored.at))
    lines = {tuple(line.split()[:3]) for line in run(settings, editions, "status").output.splitlines() if "current" in line}
    assert lines == {("plots", "open", "2"), ("plots", "shared", "3")}
    plots.write_text(PLOTS.replace("[plot, landuse]", "[plot, landuse, owner]"))
    again = run(settings, approve, "plots", "--by", approver, "--because", "review 15")
    assert again.exit_code == 0
    assert state.approvals()[1].recipe_hash != stored.recipe_hash


@pytest.mark.parametrize(
    "collection, by, reason",
    [("plots", "reader", "approver"), ("plots", "kaaaaaaaaaa", "no key"), ("fields", "approver", "fields")],
)
def test_what_may_not_be_approved_is_refused(
    settings: Settings, state: State, approver: str, plots: Path, collection: str, by: str, reason: str
) -> None:
    reader, _ = state.add_key(tier="internal", name="Reader", level="nation")
    by = {"reader": reader, "approver": approver}.get(by, by)
    result = run(settings, approve, collection, "--by", by, "--because", "open list")
    assert result.exit_code == 1 and reason in result.stderr and "Traceback" not in result.stderr
    assert state.approvals() == []
    assert "current" not in run(settings, editions, "status").output


def test_a_collection_without_an_open_block_cannot_be_approved(
    settings: Settings, state: State, approver: str, plots: Path
) -> None:
    plots.write_text(re.sub("(?m)^  open: .*$", "", PLOTS))
    result = run(settings, approve, "plots", "--by", approver, "--because", "open list")
    assert result.exit_code == 1 and "no open block" in result.stderr
    assert state.approvals() == []


def agreeing(settings: Settings, by: str, *words: str, agency: str = WATER) -> Result:
    given = ["plots", "--agency", agency, "--purpose", "flood-control planning", "--by", by]
    dates = ["--from", "2026-01-01", "--until", "2026-12-31"]
    return run(settings, agreement, "add", *given, *dates, *words)


def test_an_agreement_is_made_as_it_was_given(settings: Settings, state: State, approver: str, plots: Path) -> None:
    state.add_key(tier="shared", name="QGIS", agency=WATER)
    words = ["--rows", "landuse = '07'", "--properties", "plot, owner", "--items", "50"]
    result = agreeing(settings, approver, *words)
    assert (result.exit_code, result.stderr) == (0, "")
    (made,) = state.agreements()
    assert made.id in result.stdout
    assert (made.agency, made.collection, made.purpose, made.by) == (WATER, "plots", "flood-control planning", approver)
    assert (made.starts, made.ends) == ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (made.rows, made.properties, made.items) == ("landuse = '07'", ("plot", "owner"), 50)


def test_no_choice_of_properties_is_all_and_an_empty_one_none(
    settings: Settings, state: State, approver: str, plots: Path
) -> None:
    unknown = agreeing(settings, approver, agency="Water")
    assert unknown.exit_code == 0 and "No valid shared key names the agency Water" in unknown.stderr
    assert agreeing(settings, approver, "--properties", "", agency="水利厅").exit_code == 0
    assert [made.properties for made in state.agreements()] == [None, ()]


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--properties", "plot,identity"], "identity"),
        (["--properties", "plot,nothing"], "nothing"),
        (["--rows", "identity = '000'"], "identity"),
        (["--rows", "landuse ="], "rows"),
        (["--rows", ""], "rows"),
        (["--items", "0"], "items"),
        (["--until", "2025-12-31"], "ends after"),
        (["--until", "tomorrow"], "tomorrow"),
    ],
)
def test_an_agreement_beyond_its_block_is_refused(
    settings: Settings, state: State, approver: str, plots: Path, words: list[str], reason: str
) -> None:
    result = agreeing(settings, approver, *words)
    assert result.exit_code != 0 and reason in result.stderr and "Traceback" not in result.stderr
    assert state.agreements() == []


def test_an_agreement_needs_a_conditional_block_and_an_approver(
    settings: Settings, state: State, approver: str, plots: Path
) -> None:
    reader, _ = state.add_key(tier="internal", name="Reader", level="nation")
    assert "approver" in agreeing(settings, reader).stderr
    plots.write_text(PLOTS.replace("mode: conditional, ", ""))
    assert "not conditional" in agreeing(settings, approver).stderr
    plots.write_text(re.sub("(?m)^  shared: .*$", "", PLOTS))
    assert "no shared block" in agreeing(settings, approver).stderr
    assert state.agreements() == []


def test_a_second_agreement_at_the_same_time_is_refused(settings: Settings, state: State, approver: str, plots: Path) -> None:
    assert agreeing(settings, approver).exit_code == 0
    (first,) = state.agreements()
    second = agreeing(settings, approver, "--from", "2026-12-31", "--until", "2027-06-30")
    assert second.exit_code == 1 and first.id in second.stderr
    assert agreeing(settings, approver, "--from", "2027-01-01", "--until", "2027-06-30").exit_code == 0
