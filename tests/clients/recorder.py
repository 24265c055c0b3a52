"""A forward proxy that keeps what a program asked: whether a client lets the server do the work, and whom else it calls."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_HOP_BY_HOP = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"}


@dataclass(frozen=True)
class Exchange:
    """A request that was made, and the status of its answer. `url` is host:port alone for a tunnel, which is refused."""

    method: str
    url: str
    headers: Mapping[str, str]
    status: int

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else self.url

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters, decoded; the first of each name."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query, keep_blank_values=True).items()}


class Recorder:
    """The proxy, on a free port of this machine. Only `origin` (scheme://host:port) is reached; others get 502."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.exchanges: list[Exchange] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                recorder._forward(self)

            do_HEAD = do_OPTIONS = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _forward(self, asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in _HOP_BY_HOP}
        parts = urlsplit(asked.path)
        if asked.command == "CONNECT" or f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.exchanges.append(Exchange(asked.command, asked.path, headers, 502))
            asked.send_error(502)
            return
        upstream = http.client.HTTPConnection(parts.netloc, timeout=30)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        upstream.request(asked.command, target, body or None, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.exchanges.append(Exchange(asked.command, asked.path, headers, answer.status))
        asked.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                asked.send_header(name, value)
        asked.send_header("Content-Length", str(len(content)))
        asked.end_headers()
        if asked.command != "HEAD":
            # A client may leave once it has read what it needs.
            with suppress(ConnectionError):
                asked.wfile.write(content)
