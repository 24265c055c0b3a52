"""A PostGIS of the suite's own, to ask an independent program: a private cluster on a Unix socket, gone after use."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import needs, program

# Nothing listens on a port, and nothing is kept: a crash may lose the data.
OPTIONS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_buffers=64MB"


@contextmanager
def postgis() -> Iterator[str]:
    """The DSN of an empty database with the PostGIS extension, of a cluster that stops and vanishes on leaving.

    Skips the test (fails in CI) where PostgreSQL, PostGIS or psycopg is not installed.
    """
    needs(modules=("psycopg",))
    binaries = Path(program("initdb", "/usr/lib/postgresql/*/bin/initdb")).resolve().parent
    major = binaries.parent.name
    program("postgis.control", f"/usr/share/postgresql/{major}/extension/postgis.control")
    # A socket's path has 107 characters at most, so not below pytest's own directories.
    home = Path(tempfile.mkdtemp(prefix="tierra-postgis-"))
    data = home / "data"
    try:
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
        _run(binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N")
        _run(binaries / "pg_ctl", "-D", data, "-l", home / "log", "-w", "-o", f"{OPTIONS} -k {home}", "start")
        try:
            dsn = f"host={home} user=postgres dbname=postgres"
            _run("psql", dsn, "-q", "-v", "ON_ERROR_STOP=1", "-c", "CREATE EXTENSION postgis")
            yield dsn
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(*command: object) -> None:
    # PostgreSQL refuses to run as root. Its server keeps the pipes it was started with, so output goes to a file.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            list(map(str, command)),
            user=user,
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(map(str, command))}: {output.read().decode()[-2000:]}")
