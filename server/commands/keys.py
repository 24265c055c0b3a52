"""`tierra key add|list|revoke` and `tierra demo-keys`: who may call as what."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from server.commands.console import open_state, table
from server.identity import Unauthorized, identify
from server.scope import KEY_TIERS, LEVELS, ROLES
from server.settings import Settings
from server.state import State, timestamp

DEMO_AGENCY = "Department of Water Resources"
DEMO_COLLECTION = "parcels"
DEMO_PURPOSE = "flood-control planning"
DEMO_KEYS: Mapping[str, Mapping[str, Any]] = {
    "shared": {"tier": "shared", "agency": DEMO_AGENCY},
    "internal-province": {"tier": "internal", "level": "province", "division": "51"},
    "internal-county": {"tier": "internal", "level": "county", "division": "510101"},
    "approver": {"tier": "internal", "level": "province", "division": "51", "roles": ("approver",)},
}


@click.group()
def key() -> None:
    """Make, list and revoke keys."""


@key.command("add")
@click.option("--tier", required=True, type=click.Choice(KEY_TIERS))
@click.option("--name", help="Whose key it is. Default: the agency, or the level and its division.")
@click.option("--agency", help="The department; a shared key needs one.")
@click.option("--level", type=click.Choice(list(LEVELS)), help="Of an internal key.")
@click.option("--division", help="Division code of the level, trimmed: 51, 5101 or 510104; none for the nation.")
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="Of an internal key.")
@click.pass_obj
def add(
    settings: Settings,
    tier: str,
    name: str | None,
    agency: str | None,
    level: str | None,
    division: str | None,
    roles: tuple[str, ...],
) -> None:
    """Make a key and print it, alone on standard output. It is not stored and not shown again."""
    name = name or agency or " ".join(filter(None, (level, division))) or tier
    with open_state(settings) as state:
        key_id, whole = state.add_key(tier=tier, name=name, agency=agency, level=level, division=division, roles=roles)
    click.echo(whole)
    click.echo(f"Keep the key now, it is not shown again. Its id, for logs and other commands, is {key_id}.", err=True)


@key.command("list")
@click.pass_obj
def list_keys(settings: Settings) -> None:
    """List all keys, revoked ones too."""
    with open_state(settings) as state:
        keys = state.keys()
    rows = [(k.id, k.tier, k.name, k.agency, k.level, k.division, ", ".join(k.roles), k.created, k.revoked) for k in keys]
    head = ("ID", "TIER", "NAME", "AGENCY", "LEVEL", "DIVISION", "ROLES", "CREATED", "REVOKED")
    click.echo(table(head, rows))


@key.command("revoke")
@click.argument("key_id", metavar="KEY-ID")
@click.pass_obj
def revoke(settings: Settings, key_id: str) -> None:
    """Revoke a key, from the next request on."""
    with open_state(settings) as state:
        revoked = state.revoke(key_id)
    click.echo(f"{revoked.id} ({revoked.name}) was revoked at {revoked.revoked}.")


@click.command("demo-keys")
@click.pass_obj
def demo_keys(settings: Settings) -> None:
    """Make the keys of the demonstration once, with an agreement, and print them.

    They lie in demo-keys.json in the state's directory. Where that file is missing or holds a key that is not valid,
    all are made anew and the old ones revoked.
    """
    path = settings.state / "demo-keys.json"
    with open_state(settings) as state:
        keys = _read_demo_keys(path, state)
        if keys is None:
            stored = state.keys()
            for old in stored:
                if old.demo:
                    state.revoke(old.id)
            keys = {
                name: state.add_key(name=f"Demonstration: {name}", demo=True, **scope)[1] for name, scope in DEMO_KEYS.items()
            }
            _write_private(path, json.dumps(keys, indent=2) + "\n")
        now = datetime.now(UTC)
        if all(made.ends <= timestamp(now) for made in state.agreements(DEMO_AGENCY, DEMO_COLLECTION)):
            state.add_agreement(
                agency=DEMO_AGENCY,
                collection=DEMO_COLLECTION,
                purpose=DEMO_PURPOSE,
                starts=now,
                ends=now.date() + timedelta(days=365),
                by=keys["approver"].partition(".")[0],
            )
    click.echo(table(("CALLER", "KEY"), keys.items()))


def _read_demo_keys(path: Path, state: State) -> dict[str, str] | None:
    """The demo keys in the file, if it holds all of them and each is valid with the scope that it should have."""
    try:
        keys = json.loads(path.read_text())
        if list(keys) != list(DEMO_KEYS):
            return None
        for name, scope in DEMO_KEYS.items():
            caller = identify(keys[name], None, state)
            stored = state.key(caller.key_id or "")
            if stored is None or not stored.demo or any(getattr(caller, part) != scope[part] for part in scope):
                return None
    except (FileNotFoundError, ValueError, TypeError, Unauthorized):
        return None
    return dict(keys)


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


COMMANDS = (key, demo_keys)
