"""create_app(settings): the only place where the parts are wired together. One WSGI callable a process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pygeoapi import l10n
from pygeoapi.error import GenericError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request as HTTPRequest

from providers.features import RETRY_AFTER, InvalidQuery, Unavailable
from providers.grant import TIERS, Tier
from providers.query import QueryError
from server import identity
from server import settings as environment
from server.audiences import Audience, Audiences
from server.handlers.common import CHALLENGE
from server.identity import ANONYMOUS, Principal, Unauthorized
from server.pages import render
from server.policy import tiers_of
from server.problems import MEDIA_TYPE, Problem, not_found
from server.request import MEDIA_TYPES, Request
from server.responses import Answer, finish, preflight
from server.routes import ROUTES, URL_MAP
from server.settings import Settings
from server.state import State
from server.watch import Watch

LOGGER = logging.getLogger("tierra")
READ = ("GET", "HEAD", "OPTIONS")
WRITE = ("POST", "PUT", "PATCH", "DELETE")
# A refused write that is longer loses its connection.
MAX_BODY = 16 << 20
_PREFIXES: dict[str, Tier] = {f"/{tier}": tier for tier in TIERS}


def create_app(settings: Settings | None = None) -> App:
    """The application. Raises ConfigError where the configuration is wrong."""
    return App(settings or environment.load())


class App:
    """Answers WSGI requests: prefix, identity, policy, audience, handler, headers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State(settings.state / "state.sqlite")
        self.watch = Watch(settings)
        self.audiences = Audiences(self.state)
        self._urls = URL_MAP.bind("localhost")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        http = HTTPRequest(environ)
        began = time.perf_counter()
        status, headers, body, who = self._respond(http)
        if LOGGER.isEnabledFor(logging.INFO):
            spent = (time.perf_counter() - began) * 1000
            # neither the query nor a header: a credential may have been put there
            LOGGER.info("%s %s %s %d bytes %.1f ms %s", http.method, _shown(http), status, len(body), spent, who)
        start_response(status, headers)
        return [] if http.method == "HEAD" else [body]

    def _respond(self, http: HTTPRequest) -> tuple[str, list[tuple[str, str]], bytes, str]:
        if http.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in http.environ:
            return (*finish(http, "", preflight()), "-")
        prefix, path = _split(http.path)
        principal, audience = ANONYMOUS, None
        try:
            environ = http.environ
            principal = identity.identify(environ.get("HTTP_X_API_KEY"), environ.get("HTTP_AUTHORIZATION"), self.state)
            audience = self._audience(principal, prefix)
            answer = self._dispatch(http, audience, path)
        except Exception as err:  # noqa: BLE001 whatever fails is answered as problem details, and logged
            answer = self._refuse(http, _problem(err, http), audience)
        return (*finish(http, prefix, answer), principal.key_id or "-")

    def _audience(self, principal: Principal, prefix: str) -> Audience:
        tier = _PREFIXES.get(prefix, principal.tier)
        if tier not in tiers_of(principal):
            raise not_found("page")
        return self.audiences.get(self.watch.config(), principal, tier, prefix)

    def _dispatch(self, http: HTTPRequest, audience: Audience, path: str) -> Answer:
        number, arguments = self._urls.match(path, method="GET")
        route = ROUTES[number]
        if route.seen is not None and not route.seen(audience):
            raise not_found("page")
        if http.method not in READ and not (route.write and http.method in WRITE):
            raise Problem(405, f"{http.method} is not known here", headers={"Allow": ", ".join(READ)})
        request = Request(http, audience, route.formats, path, self.state, self.watch.problem)
        if http.method in WRITE and route.write:
            _drain(http)
            return route.write(audience.api, request, **arguments)
        headers, status, body = route.get(audience.api, request, **arguments)
        headers["Content-Language"] = _language(request.locale)
        if http.method == "OPTIONS":
            return {"Allow": ", ".join(READ)}, 204, b""
        return headers, status, body

    def _refuse(self, http: HTTPRequest, problem: Problem, audience: Audience | None) -> Answer:
        """Problem details, as JSON, or as a page where a browser asks."""
        headers = {**problem.headers, "Content-Type": MEDIA_TYPE}
        asked = http.args.get("f") or http.accept_mimetypes.best_match([MEDIA_TYPE, "application/json", "text/html"])
        if asked in ("html", "text/html"):
            content = {**problem.members, "code": problem.status.phrase, "description": problem.detail, "links": []}
            try:
                page = self._page(http, audience or self._audience(ANONYMOUS, ""), content)
            except Exception as err:  # noqa: BLE001 where there can be no page, the problem itself is still told
                LOGGER.error("no page for a problem: %s", err)
            else:
                return {**headers, "Content-Type": MEDIA_TYPES["html"]}, problem.status, page
        return headers, problem.status, problem.json()

    def _page(self, http: HTTPRequest, audience: Audience, content: dict[str, Any]) -> bytes:
        formats = {"html": MEDIA_TYPES["html"]}
        request = Request(http, audience, formats, http.path, self.state, (), lenient=True)
        return render(audience.api, request, "exception.html", content)


def _shown(http: HTTPRequest) -> str:
    """The path as a log has it: nothing in it can begin a new line."""
    return quote(http.path, safe="/")


def _drain(http: HTTPRequest) -> None:
    """Read what a refused write has sent, so that its connection can be used again."""
    left = MAX_BODY
    while left > 0 and (part := http.stream.read(min(left, 65536))):
        left -= len(part)


@lru_cache(maxsize=100)
def _language(locale: Any) -> str:
    return str(l10n.locale2str(locale)).replace("_", "-")


def _split(path: str) -> tuple[str, str]:
    """The prefix ('' or '/open' …) and the path beneath it."""
    head, _, rest = path[1:].partition("/")
    if f"/{head}" in _PREFIXES:
        return f"/{head}", f"/{rest}"
    return "", path or "/"


def _problem(err: Exception, http: HTTPRequest) -> Problem:
    """What a failure tells the client. What nobody foresaw is logged, and tells nothing."""
    if isinstance(err, Problem):
        return err
    if isinstance(err, Unauthorized):
        LOGGER.warning("401 %s %s (%s)", http.method, _shown(http), err.key_id or "-")
        return Problem(401, "the credential is not valid", headers=dict(CHALLENGE))
    if isinstance(err, InvalidQuery | QueryError):
        return Problem(400, str(err), parameter=err.parameter)
    if isinstance(err, Unavailable):
        LOGGER.error("503 %s %s: %s", http.method, _shown(http), err)
        return Problem(503, Unavailable.default_msg, headers={"Retry-After": str(RETRY_AFTER)})
    if isinstance(err, HTTPException):
        code = err.code or 500
        return not_found("page") if code in (301, 308, 404) else Problem(code, err.description or "")
    if isinstance(err, GenericError):
        LOGGER.error("%s %s: %s", http.method, _shown(http), err)
        return Problem(err.http_status_code, err.message)
    LOGGER.error("%s %s failed", http.method, _shown(http), exc_info=err)
    return Problem(500, "the server failed; the failure is in its log")
