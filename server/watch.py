"""The configuration in force: what config/ says now, or, while that is invalid, what it said last."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from server import config as configuration
from server.config import Config, ConfigError
from server.settings import Settings

LOGGER = logging.getLogger(__name__)


class Watch:
    """Looks at config/ at every request, so that a change holds at the next one in every process.

    `problem` holds the lines of the refused configuration, or is empty.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._single = (str(settings.config / "tierra.yml"), str(settings.state / "mask.key"))
        self._directory = str(settings.config / "collections")
        self._seen = self._look()
        self._config = configuration.load(settings)
        self.problem: tuple[str, ...] = ()

    def config(self) -> Config:
        """The configuration in force."""
        if self._look() != self._seen:
            with self._lock:
                seen = self._look()
                if seen != self._seen:
                    self._reload()
                    self._seen = seen
        return self._config

    def _reload(self) -> None:
        try:
            self._config = configuration.load(self._settings)
            self.problem = ()
        except ConfigError as err:
            self.problem = err.lines
            LOGGER.error("configuration refused, the former one stays in force:\n%s", err)
        except OSError as err:
            self.problem = (str(err),)
            LOGGER.error("configuration not readable, the former one stays in force: %s", err)

    def _look(self) -> Any:
        """What tells one state of the files from another; it is taken at every request, so it makes no objects."""
        seen: list[Any] = []
        for path in self._single:
            try:
                found = os.stat(path)
                seen.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except FileNotFoundError:
                seen.append(None)
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    if entry.name.endswith(".yml"):
                        found = entry.stat()
                        seen.append((entry.name, found.st_mtime_ns, found.st_size, found.st_ino))
        except FileNotFoundError:
            seen.append(None)
        return seen
