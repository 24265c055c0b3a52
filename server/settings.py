"""Where things lie and how the server is run: one typed settings object, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class SettingsError(ValueError):
    """A setting is not of the form that it must have; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths are absolute; `url` is the public address without a trailing slash."""

    root: Path
    config: Path
    data: Path
    state: Path
    url: str
    host: str
    port: int
    workers: int
    demo: bool

    @property
    def editions(self) -> Path:
        """The directory of the editions."""
        return self.state / "editions"

    @property
    def local(self) -> bool:
        """Whether the server is bound to this machine alone."""
        return self.host in LOCAL_HOSTS


def load(env: Mapping[str, str] = os.environ) -> Settings:
    """Read TIERRA_CONFIG, TIERRA_DATA, TIERRA_STATE (directories), TIERRA_URL, HOST, PORT, WORKERS, DEMO.

    Raises SettingsError naming the variable that is wrong.
    """
    host = env.get("HOST") or "127.0.0.1"
    port = _number(env, "PORT", 5000, 0, 65535)
    shown = "localhost" if host in (*LOCAL_HOSTS, "0.0.0.0", "::") else host
    url = (env.get("TIERRA_URL") or f"http://{shown}:{port}").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"TIERRA_URL must begin with http:// or https://, it is {url}")
    return Settings(
        root=ROOT,
        config=Path(env.get("TIERRA_CONFIG") or ROOT / "config").resolve(),
        data=Path(env.get("TIERRA_DATA") or ROOT / "data").resolve(),
        state=Path(env.get("TIERRA_STATE") or ROOT / "state").resolve(),
        url=url,
        host=host,
        port=port,
        workers=_number(env, "WORKERS", 2, 1, 64),
        demo=_yes(env, "DEMO"),
    )


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingsError(f"{name} must be a whole number from {low} to {high}, it is {text}")
    return int(text)


def _yes(env: Mapping[str, str], name: str) -> bool:
    text = (env.get(name) or "").lower()
    if text not in ("", "0", "1", "no", "yes", "false", "true"):
        raise SettingsError(f"{name} must be 1 or 0, it is {text}")
    return text in ("1", "yes", "true")
