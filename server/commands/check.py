"""`tierra check` and `tierra explain`: whether the policy can be kept, and what it decides."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from providers import editions
from providers.engines.geopackage import TableError
from providers.grant import TIERS, Tier
from server import config as configuration
from server import explain as explanation
from server import policy
from server.commands.console import open_state
from server.commands.editions import load_config
from server.config import ConfigError
from server.settings import Settings


@click.command()
@click.pass_obj
def check(settings: Settings) -> None:
    """Check the configuration against the data. Exit code 1 where something is wrong; warnings alone leave it 0."""
    try:
        config = configuration.load(settings)
    except ConfigError as err:
        for line in err.lines:
            click.echo(line)
        raise click.ClickException(f"{len(err.lines)} problem(s)") from err
    for line in config.warnings:
        click.echo(f"warning: {line}")
    with open_state(settings) as state:
        for collection in config.collections.values():
            if not collection.blocks:
                click.echo(f"note: {collection.file}: {collection.id} has no access, so nobody sees it")
            block = collection.blocks.get("open")
            if block and block.actions and state.approval(collection.id, block.recipe.hash) is None:
                void = "void: the recipe has changed" if state.approvals(collection.id) else "missing"
                click.echo(f"warning: {collection.file}: the approval of {collection.id} is {void}; it is not open")
            for tier, block in collection.blocks.items():
                if not block.recipe.materialised or not block.actions:
                    continue
                definition = config.build_definition(block.recipe)
                try:
                    _, word = editions.status(collection.dataset, block.recipe, settings.editions, definition)
                except TableError as err:
                    word = f"not readable: {err}"
                if word != "current":
                    click.echo(f"warning: {collection.file}: the {tier} edition of {collection.id} is {word}")
    click.echo(f"{len(config.collections)} collections, no problem")


@click.command()
@click.option("--as", "who", required=True, metavar="KEY-ID", help="A key's id, or anonymous.")
@click.option("--collection", required=True)
@click.option("--action", type=click.Choice(explanation.ACTIONS), default="read", show_default=True)
@click.option("--tier", type=click.Choice(TIERS), help="The tier to look through. Default: the principal's best.")
@click.pass_obj
def explain(settings: Settings, who: str, collection: str, action: str, tier: Tier | None) -> None:
    """Say which grant a principal has, why, and what it lets out."""
    config = load_config(settings)
    with open_state(settings) as state:
        principal = explanation.principal_of(state, who)
        if principal is None:
            raise click.ClickException(f"--as: {who} is neither anonymous nor the id of a valid key")
        asked = tier or policy.tiers_of(principal)[-1]
        said = explanation.explain(config, state, principal, asked, collection, action, datetime.now(UTC))
    click.echo(json.dumps(said, indent=2, ensure_ascii=False))


COMMANDS = (check, explain)
