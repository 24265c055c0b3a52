"""`tierra openapi`: the API definition of the open audience, as it is kept in openapi/."""

from __future__ import annotations

import json

import click

from server.commands.console import open_state
from server.commands.editions import load_config
from server.identity import ANONYMOUS
from server.settings import Settings


@click.command()
@click.pass_obj
def openapi(settings: Settings) -> None:
    """Print the API definition that the public gets under /open."""
    # pygeoapi is needed here alone; the other commands start quicker without it
    from server import openapi as definition
    from server.audiences import Audiences

    config = load_config(settings)
    with open_state(settings) as state:
        audience = Audiences(state).get(config, ANONYMOUS, "open", "/open")
    document = json.loads(definition.document(audience.api, audience.api.default_locale))
    click.echo(json.dumps(document, indent=1, ensure_ascii=False))


COMMANDS = (openapi,)
