"""The headers that every answer has: validators, caching, what it varies by, compression, safety."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from http import HTTPStatus

from werkzeug.http import http_date, parse_date
from werkzeug.wrappers import Request as HTTPRequest

Answer = tuple[dict[str, str], int, bytes]

GZIP_FROM = 1000
_ZIPPED = ("json", "text/", "javascript", "svg")
_IDENTITY = "X-API-Key, Authorization"
_VARY = "Accept, Accept-Language, Accept-Encoding"
# the pages run only what this server sends
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SENT_TO_SCRIPTS = "Content-Crs, ETag, Link, Location, Allow"


def preflight() -> Answer:
    """The answer to a browser's question whether another site's page may ask: the same for every path and caller.

    A page has no credential but the one it was given, so it may ask; what it gets is for the policy to say.
    """
    headers = {
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": "X-API-Key, Authorization, Content-Type, If-Match, If-None-Match, Accept-Language",
        "Access-Control-Max-Age": "600",
    }
    return headers, 204, b""


def finish(http: HTTPRequest, prefix: str, answer: Answer) -> tuple[str, list[tuple[str, str]], bytes]:
    """Status line, headers and body as they are sent."""
    headers, status, body = answer
    open_ = prefix == "/open"
    headers["Vary"] = _VARY if open_ else f"{_VARY}, {_IDENTITY}"
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Access-Control-Expose-Headers"] = _SENT_TO_SCRIPTS
    headers["X-Content-Type-Options"] = "nosniff"
    if status in (200, 304):
        headers.setdefault("Cache-Control", "public, no-cache" if open_ else "private, no-cache")
        if "ETag" not in headers:
            headers["ETag"] = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if status == 304 or unchanged(http, headers):
            status, body = 304, b""
    else:
        headers["Cache-Control"] = "no-store"
    if headers.get("Content-Type", "").startswith("text/html"):
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Security-Policy"] = _POLICY
    if len(body) >= GZIP_FROM and _zips(http) and any(kind in headers["Content-Type"] for kind in _ZIPPED):
        body = gzip.compress(body, 1, mtime=0)
        headers["Content-Encoding"] = "gzip"
        if "ETag" in headers:
            headers["ETag"] = headers["ETag"][:-1] + '-gzip"'
    if status in (204, 304):
        headers.pop("Content-Type", None)
    else:
        headers["Content-Length"] = str(len(body))
    return _status(status), list(headers.items()), body


def unchanged(http: HTTPRequest, headers: dict[str, str]) -> bool:
    """Whether the client already has what would be sent (RFC 9110, 13.2.2)."""
    if http.method not in ("GET", "HEAD"):
        return False
    if "HTTP_IF_NONE_MATCH" in http.environ:
        tag = headers["ETag"].strip('"')
        asked = http.if_none_match
        if asked.contains_weak(tag):
            return True
        if asked.contains_weak(tag + "-gzip"):  # what the client has is the compressed form, and so is named
            headers["ETag"] = f'"{tag}-gzip"'
            return True
        return False
    if "HTTP_IF_MODIFIED_SINCE" in http.environ and "Last-Modified" in headers:
        since, modified = http.if_modified_since, parse_date(headers["Last-Modified"])
        return since is not None and modified is not None and modified <= since
    return False


@lru_cache(maxsize=1000)
def modified(seconds: int) -> str:
    """A time (seconds since 1970) as Last-Modified has it."""
    return http_date(seconds)


def _zips(http: HTTPRequest) -> bool:
    accepted = http.environ.get("HTTP_ACCEPT_ENCODING")
    if not accepted:
        return False
    zipped, plain = (http.accept_encodings.quality(coding) for coding in ("gzip", "identity"))
    return zipped > 0 and (zipped >= plain or "identity" not in accepted.lower())


@lru_cache(maxsize=100)
def _status(status: int) -> str:
    return f"{int(status)} {HTTPStatus(status).phrase}"
