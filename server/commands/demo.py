"""`tierra demo`: makes the sample province ready to be looked at, and says where."""

from __future__ import annotations

import json

import click

from server.commands.console import open_state, table
from server.commands.editions import build_editions, load_config
from server.commands.keys import demo_keys
from server.settings import Settings


@click.command()
@click.pass_context
def demo(context: click.Context) -> None:
    """Make the demonstration's keys, approve and build what is not yet, and print addresses to try."""
    settings: Settings = context.obj
    click.echo("Keys of the demonstration:")
    context.invoke(demo_keys)
    keys: dict[str, str] = json.loads((settings.state / "demo-keys.json").read_text())
    approver = keys["approver"].partition(".")[0]
    config = load_config(settings)
    with open_state(settings) as state:
        # once, for the sample alone: what somebody adds or changes later, somebody has to look at
        first = not state.approvals()
        for collection in config.collections.values():
            block = collection.blocks.get("open")
            if block and block.actions and state.approval(collection.id, block.recipe.hash) is None:
                if first:
                    state.approve(collection.id, block.recipe.hash, by=approver, because="sample data")
                else:
                    click.echo(f"{collection.id}: its open recipe is not approved; it is not open")
    build_editions(settings, (), only_stale=True)
    url = settings.url
    click.echo("\nAddresses to try:")
    click.echo(
        table(
            ("WHAT", "ADDRESS"),
            [
                ("the public's page", f"{url}/open"),
                ("parcels, public", f"{url}/collections/parcels/items?limit=2"),
                ("parcels, a department", f"curl -H 'X-API-Key: {keys['shared']}' {url}/collections/parcels/items?limit=2"),
                ("parcels, a county", f"curl -H 'X-API-Key: {keys['internal-county']}' {url}/collections/parcels/items?limit=2"),
                ("log in with a browser", f"{url}/login (any user, a key as the password)"),
                ("why an answer is as it is", f"tierra explain --as {approver} --collection parcels"),
            ],
        )
    )
    click.echo(
        f"\nQGIS: Layer > Add Layer > Add WFS / OGC API - Features Layer, URL {url};"
        " for more than the public sees: authentication Basic, any user, a key as the password.\n"
    )


COMMANDS = (demo,)
