"""The key of `hash` masks: made once, kept in the state directory, told apart by an id that gives nothing away."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from server.settings import Settings


def make(settings: Settings) -> None:
    """Make the key, if there is none yet."""
    path = _file(settings)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secrets.token_bytes(32))
    with suppress(FileExistsError):  # another process was first: its key counts
        os.link(new, path)
    new.unlink()


def secret(settings: Settings, collection: str) -> bytes:
    """The 32 bytes that a collection's values are hashed with.

    Each collection has its own, so that what is the same in two of them cannot be joined.
    """
    return hmac.digest(_file(settings).read_bytes(), collection.encode(), "sha256")


def identifier(settings: Settings) -> str:
    """The id of the key, empty before there is one. An edition built with another key is stale."""
    path = _file(settings)
    return hashlib.sha256(b"mask key" + path.read_bytes()).hexdigest()[:16] if path.exists() else ""


def _file(settings: Settings) -> Path:
    return settings.state / "mask.key"
