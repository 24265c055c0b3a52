"""The key of `hash` masks: made once, kept in the state directory, told apart by an id that gives nothing away."""

from __future__ import annotations

import hashlib
import os
import secrets

from server.settings import Settings

_FILE = "mask.key"


def secret(settings: Settings) -> bytes:
    """The key's 32 bytes; made at the first call."""
    path = settings.state / _FILE
    if not path.exists():
        settings.state.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was first
            return path.read_bytes()
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


def identifier(settings: Settings) -> str:
    """The id of the key, empty before there is one. An edition built with another key is stale."""
    path = settings.state / _FILE
    return hashlib.sha256(b"mask key" + path.read_bytes()).hexdigest()[:16] if path.exists() else ""
