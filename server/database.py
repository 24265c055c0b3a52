"""How the state's SQLite file is opened and written, and how every process sees at once that it changed.

Write-ahead logging lets readers go on while one process writes. Every write transaction begins with `BEGIN IMMEDIATE`:
one that begins with a read and then writes fails at once, whatever the timeout (https://www.sqlite.org/isolation.html).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

BUSY_SECONDS = 10.0


class StateError(Exception):
    """The state refuses: what was asked is unknown, not allowed or malformed. The message says why, without secrets."""


class Database:
    """One SQLite file, mode 0600, with the tables of `schema`; opened at the first use, safe for threads.

    A process must not fork between the first use and `close`: SQLite's locks do not survive it, so a use in the child
    raises StateError. The file must not be replaced by another while a process has it open.
    """

    def __init__(self, path: Path, schema: MetaData, version: int) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._lock = threading.Lock()
        self._watching = threading.Lock()
        self._closed = False
        self._pid = 0
        self._engine: Engine | None = None
        self._watch: sqlite3.Connection | None = None

    def revision(self) -> int:
        """A number that differs from an earlier one if any process committed in between. Only equality means anything.

        It is `PRAGMA data_version` of one kept connection that never writes, and so tells of the commits of all others
        (https://www.sqlite.org/pragma.html#pragma_data_version). Costs about two microseconds.
        """
        _, watch = self._opened()
        # One at a time: beside a statement of another thread this one would read in its older transaction.
        with self._watching:
            return int(watch.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a read transaction: all that is read through it is of one moment."""
        with self._opened()[0].begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a write transaction, committed at the end, rolled back on an exception."""
        with self._opened()[0].execution_options(write=True).begin() as connection:
            yield connection

    def close(self) -> None:
        """Close for good; call it before the process forks."""
        with self._lock:
            self._closed = True
            if self._watch is not None and self._pid == os.getpid():
                self._watch.close()

    def _opened(self) -> tuple[Engine, sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise StateError("the state is closed")
            if self._engine is None or self._watch is None:
                self._engine, self._watch = self._open()
                self._pid = os.getpid()
            elif self._pid != os.getpid():
                raise StateError("the process forked after it opened the state")
            return self._engine, self._watch

    def _open(self) -> tuple[Engine, sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Made by hand, so that it never exists with a wider mode; SQLite gives its -wal and -shm the same mode. A file
        # that exists is not opened here: closing any descriptor of it would drop the locks of this process on it.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            poolclass=NullPool,
            connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
        )
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
        event.listen(engine, "begin", _on_begin)
        self._make_schema(engine)
        watch = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
        watch.execute("PRAGMA query_only = ON")
        return engine, watch

    def _make_schema(self, engine: Engine) -> None:
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
                _use_write_ahead_log(connection)
            with engine.execution_options(write=True).begin() as transaction:
                version = transaction.exec_driver_sql("PRAGMA user_version").scalar_one()
                if version == 0:
                    self._schema.create_all(transaction)
                    transaction.exec_driver_sql(f"PRAGMA user_version = {self._version:d}")
                elif version != self._version:
                    raise StateError(f"{self.path}: made by another version ({version}, not {self._version})")
        except (sqlite3.Error, DatabaseError) as err:
            raise StateError(f"{self.path}: {getattr(err, 'orig', err)}") from err


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the file to write-ahead logging, for good; where it is so already, nothing happens."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            # Where two processes switch together one is refused at once, whatever its timeout.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")
