"""A request as pygeoapi's handlers take it, with what Tierra knows beside: audience, format, language, parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote

from pygeoapi import l10n
from pygeoapi.api import APIRequest
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Request as HTTPRequest

from server.audiences import Audience
from server.problems import Problem, invalid
from server.state import State

MEDIA_TYPES = {
    "json": "application/json",
    "geojson": "application/geo+json",
    "html": "text/html",
    "csv": "text/csv",
    "schema": "application/schema+json",
    "openapi": "application/vnd.oai.openapi+json;version=3.0",
}


class Request(APIRequest):
    """One request under an audience. `formats` maps each value of `f` that the route takes to its media type.

    `problem` is what is wrong with a configuration that was refused; a `lenient` request refuses no parameter.
    """

    def __init__(
        self,
        http: HTTPRequest,
        audience: Audience,
        formats: Mapping[str, str],
        path: str,
        state: State,
        problem: tuple[str, ...],
        *,
        lenient: bool = False,
    ) -> None:
        self.http = http
        self.state = state
        self.problem = problem
        self.audience = audience
        self.api = audience.api
        self._data = b""
        # werkzeug's own mapping raises and catches for each absent name; a name given twice is refused in check()
        self._args = http.args.to_dict()
        self._headers = http.headers
        self._path_info = path.strip("/")
        self._formats = formats
        self._lenient = lenient
        self._negotiated = next(iter(formats)) if lenient else _negotiate(http, formats)
        # pygeoapi takes no format for JSON
        self._format = None if self._negotiated == "json" and not http.args.get("f") else self._negotiated

    @property
    def data(self) -> bytes:
        return self.http.get_data()

    @property
    def negotiated(self) -> str:
        """The format of the answer, as a value of `f`."""
        return self._negotiated

    @property
    def media_type(self) -> str:
        """The media type of the answer."""
        return self._formats[self._negotiated]

    @cached_property
    def _locales(self) -> tuple[Any, Any]:
        languages = self.api.config["server"]["languages"]
        asked = self._args.get(l10n.QUERY_PARAM)
        if asked is None and "HTTP_ACCEPT_LANGUAGE" not in self.http.environ:
            return None, self.api.default_locale
        known = asked is None or self._lenient or any(asked.lower()[:2] == name.lower()[:2] for name in languages)
        if not known:
            raise invalid("lang", f"lang must be one of {', '.join(languages)}")
        found: tuple[Any, Any] = self._get_locale(self._headers, languages)
        return found

    @property
    def locale(self) -> Any:
        return self._locales[1]

    @property
    def raw_locale(self) -> Any:
        return self._locales[0]

    def check(self, known: frozenset[str]) -> None:
        """Raises Problem 400 for a parameter that is unknown here, or given twice."""
        for name in self._args:
            if name not in known:
                raise invalid(name, f"unknown parameter {name}")
        for name, values in self.http.args.lists():
            if len(values) > 1:
                raise invalid(name, f"{name} is given more than once")

    def link(self, rel: str, path: str, type_: str, title: str, **params: Any) -> dict[str, str]:
        """A link under the prefix that was asked under."""
        return {"rel": rel, "type": type_, "title": title, "href": self.href(path, **params)}

    def href(self, path: str, **params: Any) -> str:
        """An address under the prefix that was asked under; parameters that are None are left out."""
        query = encoded(params)
        return f"{self.api.base_url}{path}?{query}" if query else self.api.base_url + path

    def translate(self, value: Any) -> Any:
        """A bilingual value of the configuration in the request's language."""
        return l10n.translate(value, self.locale)


def encoded(params: Mapping[str, Any]) -> str:
    """Parameters as a query string; those that are None are left out."""
    return "&".join([f"{_quoted(name)}={_quoted(str(value))}" for name, value in params.items() if value is not None])


@lru_cache(maxsize=2000)
def _quoted(text: str) -> str:
    return quote(text, safe=",:/")


def _negotiate(http: HTTPRequest, formats: Mapping[str, str]) -> str:
    """The value of `f`; without it the best format by `Accept` and its q-values. Raises Problem 400 or 406."""
    if not formats:  # there is one form of it
        return ""
    asked = http.args.get("f")
    if asked is not None:
        if asked not in formats:
            raise invalid("f", f"f must be one of {', '.join(formats)}")
        return str(asked)
    accept = http.environ.get("HTTP_ACCEPT")
    if not accept or accept == "*/*":
        return next(iter(formats))
    best = _best(accept, tuple(formats.items()))
    if best is None:
        raise Problem(406, f"nothing that Accept allows can be sent; there are {', '.join(formats.values())}")
    return best


@lru_cache(maxsize=1000)
def _best(accept: str, formats: tuple[tuple[str, str], ...]) -> str | None:
    """The format that an `Accept` header likes best, the first one where it likes several alike."""
    first = formats[0][0]
    # JSON answers to all of its names, but the route's own media type is what is sent
    offered = {media.split(";")[0]: name for name, media in reversed(formats)}
    if first == "json":
        for alias in ("application/json", "application/geo+json", "application/schema+json"):
            offered.setdefault(alias, "json")
    ordered = sorted(offered, key=lambda media: offered[media] != first)
    best = parse_accept_header(accept, MIMEAccept).best_match(ordered)
    if best is None:
        return first if "openapi" in accept and any("openapi" in media for _, media in formats) else None
    return offered[best]
