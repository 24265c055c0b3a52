"""The `tierra` command."""

from __future__ import annotations

import click

from server import settings
from server.commands import agreements, approvals, check, demo, editions, keys, load, openapi, serve


@click.group()
@click.pass_context
def main(context: click.Context) -> None:
    """Tierra: one map, every audience."""
    try:
        context.obj = settings.load()
    except settings.SettingsError as err:
        raise click.ClickException(str(err)) from err


for module in (serve, check, editions, load, keys, approvals, agreements, openapi, demo):
    for command in module.COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main()
