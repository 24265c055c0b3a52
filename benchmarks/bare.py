"""How fast could any Python web server answer? A bare WSGI function that sends the finished text of an edition.

It knows no identity, no policy, no parameter errors and no links: it is the limit that the server is measured against.
The edition's file is named by BARE_EDITION.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

_local = threading.local()


def edition_table(path: Path) -> str:
    """The table of rows that the edition's pointer names, quoted for SQL."""
    with sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True) as conn:
        name: str = conn.execute("SELECT rows FROM edition WHERE id = 1").fetchone()[0]
    conn.close()
    return '"' + name.replace('"', '""') + '"'


@cache
def statements() -> dict[str, str]:
    rows = edition_table(Path(os.environ["BARE_EDITION"]))
    rtree = rows[:-1] + '_rtree"'
    inside = f"_rid IN (SELECT id FROM {rtree} WHERE minx <= ? AND maxx >= ? AND miny <= ? AND maxy >= ?)"
    return {
        "count": f"SELECT count(*) FROM {rows}",
        "page": f"SELECT _text FROM {rows} WHERE _key > ? ORDER BY _key LIMIT ?",
        "bbox": f"SELECT _text FROM {rows} WHERE {inside} ORDER BY _key LIMIT ?",
        "id": f"SELECT _text FROM {rows} WHERE _key = ?",
    }


def connection() -> sqlite3.Connection:
    if not hasattr(_local, "connection"):
        path = quote(os.environ["BARE_EDITION"])
        _local.connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        _local.connection.text_factory = bytes
        _local.connection.execute("PRAGMA mmap_size=1073741824")
        _local.matched = _local.connection.execute(statements()["count"]).fetchone()[0]
    found: sqlite3.Connection = _local.connection
    return found


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/items?limit=&after=`, `/items?limit=&bbox=`, `/items/ID`; anything else is an empty 200."""
    conn, sql = connection(), statements()
    path: str = environ["PATH_INFO"]
    body = b""
    if path.startswith("/items/"):
        (body,) = conn.execute(sql["id"], (unquote(path[7:]),)).fetchone()
    elif path == "/items":
        asked = parse_qs(environ["QUERY_STRING"])
        limit = int(asked["limit"][0])
        if "bbox" in asked:
            west, south, east, north = map(float, asked["bbox"][0].split(","))
            texts = [row[0] for row in conn.execute(sql["bbox"], (east, west, north, south, limit))]
            matched = len(texts)
        else:
            texts = [row[0] for row in conn.execute(sql["page"], (asked.get("after", [""])[0], limit))]
            matched = _local.matched
        body = b'{"type":"FeatureCollection","features":[%b],"numberMatched":%d,"numberReturned":%d}' % (
            b",".join(texts),
            matched,
            len(texts),
        )
    start_response("200 OK", [("Content-Type", "application/geo+json"), ("Content-Length", str(len(body)))])
    return [body]
