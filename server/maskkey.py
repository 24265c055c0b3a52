"""The key of `hash` masks: made once, kept in the state directory, told apart by an id that gives nothing away."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress

from server.settings import Settings

_FILE = "mask.key"


def secret(settings: Settings) -> bytes:
    """The key's 32 bytes; made at the first call."""
    path = settings.state / _FILE
    if not path.exists():
        settings.state.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{_FILE}.{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        with suppress(FileExistsError):  # another process was first: its key counts
            os.link(new, path)
        new.unlink()
    return path.read_bytes()


def identifier(settings: Settings) -> str:
    """The id of the key, empty before there is one. An edition built with another key is stale."""
    path = settings.state / _FILE
    return hashlib.sha256(b"mask key" + path.read_bytes()).hexdigest()[:16] if path.exists() else ""
