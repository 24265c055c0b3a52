"""`tierra editions build|status`: the editions of the open and shared blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from tqdm import tqdm

from providers import editions as made
from providers.building import build as build_edition
from providers.crs import CRSError
from providers.engines.geopackage import TableError, snapshot
from providers.engines.indexes import index_source
from providers.grant import GrantError, Recipe
from server import config as configuration
from server import maskkey
from server.commands.console import table
from server.config import Collection, Config, ConfigError
from server.settings import Settings

UNREADABLE = "not readable"


@click.group()
def editions() -> None:
    """Build editions, and say how they stand."""


@editions.command("build")
@click.argument("collections", nargs=-1, metavar="[COLLECTION]…")
@click.option("--stale", is_flag=True, help="Only those that are missing, stale or behind their source.")
@click.pass_obj
def build(settings: Settings, collections: tuple[str, ...], stale: bool) -> None:
    """Build the editions of the collections named, or of all."""
    build_editions(settings, collections, only_stale=stale)


@editions.command("status")
@click.pass_obj
def status(settings: Settings) -> None:
    """Say of each edition whether it is current, behind its source, stale or missing."""
    config = load_config(settings)
    rows: list[tuple[str | None, ...]] = []
    for collection, recipe in _recipes(config, ()):
        definition = config.build_definition(recipe)
        edition, word = _status(settings, collection, recipe, definition)
        count, built = (str(edition.count), edition.built) if edition else (None, None)
        rows.append((collection.id, recipe.tier, count, built, word))
    click.echo(table(("COLLECTION", "TIER", "FEATURES", "BUILT", "STATE"), rows))


def load_config(settings: Settings) -> Config:
    """The configuration; a wrong one ends the command with its lines."""
    try:
        return configuration.load(settings)
    except ConfigError as err:
        raise click.ClickException(str(err)) from err


def build_editions(settings: Settings, collections: Sequence[str], *, only_stale: bool = False) -> None:
    """Build the open and shared editions of the collections named (all if none is), with a progress bar on a terminal.

    Raises ClickException where a collection is unknown or an edition cannot be built; the former one then stays.
    """
    maskkey.make(settings)
    config = load_config(settings)
    for collection, recipe in _recipes(config, collections):
        definition = config.build_definition(recipe)
        _, word = _status(settings, collection, recipe, definition)
        if word == UNREADABLE:  # nothing of it can be kept
            made.file_of(settings.editions, recipe).unlink()
        if only_stale and word == "current":
            continue
        try:
            with tqdm(total=_rows(collection), desc=f"{collection.id} ({recipe.tier})", unit="row", disable=None) as bar:
                build_edition(
                    collection.dataset,
                    recipe,
                    settings.editions,
                    definition,
                    mask_secret=maskkey.secret(settings, collection.id),
                    progress=bar.update,
                )
        except (GrantError, TableError, CRSError) as err:
            raise click.ClickException(str(err)) from err
    for collection in config.collections.values():
        if collections and collection.id not in collections:
            continue
        internal = collection.blocks.get("internal")
        if internal is not None:
            index_source(collection.dataset, internal.under)


def _status(
    settings: Settings, collection: Collection, recipe: Recipe, definition: dict[str, Any]
) -> tuple[made.Edition | None, str]:
    try:
        return made.status(collection.dataset, recipe, settings.editions, definition)
    except TableError:
        return None, UNREADABLE


def _recipes(config: Config, collections: Sequence[str]) -> list[tuple[Collection, Recipe]]:
    unknown = set(collections) - set(config.collections)
    if unknown:
        raise click.ClickException(f"there is no collection {', '.join(sorted(unknown))}")
    return [
        (collection, block.recipe)
        for collection in config.collections.values()
        for block in collection.blocks.values()
        if block.recipe.materialised and block.actions and (not collections or collection.id in collections)
    ]


def _rows(collection: Collection) -> int:
    with snapshot(collection.dataset.path) as conn:
        count: int = conn.execute(f'SELECT count(*) FROM "{collection.table.name}"').fetchone()[0]
    return count


COMMANDS = (editions,)
