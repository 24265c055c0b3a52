"""`tierra serve`: the web workers."""

from __future__ import annotations

import os
import signal
from functools import partial

import click
from granian import Granian
from granian.constants import Interfaces

from server.commands.console import open_state
from server.commands.editions import load_config
from server.settings import Settings

# What is still being answered after this is cut off.
STOP_SECONDS = 60


@click.command()
@click.option("--demo", is_flag=True, help="Start beyond this machine although demonstration keys exist.")
@click.pass_obj
def serve(settings: Settings, demo: bool) -> None:
    """Start the server on HOST and PORT with WORKERS processes. Ctrl-C ends it once the requests in flight are answered."""
    load_config(settings)
    with open_state(settings) as state:
        exist = state.has_demo_keys()
    if exist and not settings.local and not (demo or settings.demo):
        raise click.ClickException(
            f"HOST={settings.host} is open to other machines while the demonstration's keys exist: revoke them with"
            " `tierra key revoke`, or say --demo (DEMO=1)"
        )
    # A worker that has only begun must end when it is told to, not do as its parent does.
    for ending in (signal.SIGTERM, signal.SIGINT):
        os.register_at_fork(after_in_child=partial(signal.signal, ending, signal.SIG_DFL))
    Granian(
        "server.app:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address="127.0.0.1" if settings.host == "localhost" else settings.host,
        port=settings.port,
        workers=settings.workers,
        blocking_threads=1,
        backpressure=64,
        log_enabled=True,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    ).serve()


COMMANDS = (serve,)
