"""`tierra agreement add|list|end`: what one department gets of conditional data, for what and how long."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from server.commands.console import open_state, table
from server.commands.editions import load_config
from server.config import ConfigError, check_agreement
from server.settings import Settings

_DATE = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def agreement() -> None:
    """Make, list and end agreements."""


@agreement.command("add")
@click.argument("collection")
@click.option("--agency", required=True, help="The department, as its keys name it.")
@click.option("--purpose", required=True)
@click.option("--from", "starts", required=True, type=_DATE, help="First day, in UTC.")
@click.option("--until", "ends", required=True, type=_DATE, help="Last day, in UTC.")
@click.option("--rows", metavar="CQL2", help="Narrower rows, over properties of the shared block. Default: its rows.")
@click.option("--properties", metavar="NAME,…", help="Fewer properties; '' for none. Default: those of the shared block.")
@click.option("--items", type=click.IntRange(min=1), help="Largest page.")
@click.option("--by", required=True, metavar="KEY-ID", help="Id of the approver's key, not the key itself.")
@click.pass_obj
def add(
    settings: Settings,
    collection: str,
    agency: str,
    purpose: str,
    starts: datetime,
    ends: datetime,
    rows: str | None,
    properties: str | None,
    items: int | None,
    by: str,
) -> None:
    """Grant the shared block of COLLECTION, which is conditional, to one department for a purpose and a time."""
    names = None if properties is None else tuple(name.strip() for name in properties.split(",") if name.strip())
    try:
        check_agreement(load_config(settings), collection, rows, names)
    except ConfigError as err:
        raise click.ClickException(str(err)) from err
    with open_state(settings) as state:
        made = state.add_agreement(
            agency=agency,
            collection=collection,
            purpose=purpose,
            # one that begins today begins now: it can follow one that was ended today
            starts=max(starts.replace(tzinfo=UTC), datetime.now(UTC))
            if starts.date() == datetime.now(UTC).date()
            else starts.date(),
            ends=ends.date(),
            rows=rows,
            properties=names,
            items=items,
            by=by,
        )
        keys = state.keys()
    click.echo(f"{made.id}: {made.agency} over {made.collection}, from {made.starts} until {made.ends}.")
    if not any(key.agency == made.agency and key.tier == "shared" and not key.revoked for key in keys):
        click.echo(f"No valid shared key names the agency {made.agency}.", err=True)


@agreement.command("list")
@click.option("--collection")
@click.option("--agency")
@click.pass_obj
def list_agreements(settings: Settings, collection: str | None, agency: str | None) -> None:
    """List all agreements, ended ones too. UNTIL is the instant at which one is over."""
    with open_state(settings) as state:
        rows = [
            (
                a.id,
                a.agency,
                a.collection,
                a.purpose,
                a.starts,
                a.ends,
                "all" if a.rows is None else a.rows,
                "all" if a.properties is None else ", ".join(a.properties),
                None if a.items is None else str(a.items),
                a.by,
            )
            for a in state.agreements(agency, collection)
        ]
    head = ("ID", "AGENCY", "COLLECTION", "PURPOSE", "FROM", "UNTIL", "ROWS", "PROPERTIES", "ITEMS", "BY")
    click.echo(table(head, rows))


@agreement.command("end")
@click.argument("agreement_id", metavar="ID")
@click.pass_obj
def end(settings: Settings, agreement_id: str) -> None:
    """End an agreement now."""
    with open_state(settings) as state:
        ended = state.end_agreement(agreement_id, datetime.now(UTC))
    click.echo(f"{ended.id}: {ended.agency} over {ended.collection} ended at {ended.ends}.")


COMMANDS = (agreement,)
