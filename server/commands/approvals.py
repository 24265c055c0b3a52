"""`tierra approve`: a named person lets a collection's open recipe be open."""

from __future__ import annotations

import click

from server.commands.console import open_state
from server.commands.editions import build_editions, load_config
from server.config import ConfigError
from server.settings import Settings


@click.command()
@click.argument("collection")
@click.option("--by", required=True, metavar="KEY-ID", help="Id of the approver's key, not the key itself.")
@click.option("--because", required=True, help="Why it may be open.")
@click.pass_obj
def approve(settings: Settings, collection: str, by: str, because: str) -> None:
    """Approve the open recipe of COLLECTION as it stands in the configuration, and build its editions.

    A later change of the recipe makes the approval void.
    """
    try:
        recipe = load_config(settings).recipe(collection, "open")
    except ConfigError as err:
        raise click.ClickException(str(err)) from err
    with open_state(settings) as state:
        approval = state.approve(collection, recipe.hash, by=by, because=because)
    click.echo(f"{collection}: recipe {approval.recipe_hash} approved by {approval.name} ({approval.by}), {approval.at}.")
    build_editions(settings, [collection])


COMMANDS = (approve,)
