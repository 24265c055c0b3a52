"""OGC API Common: the landing page, conformance, the API definition; and what Tierra adds: health, log-in, explain, assets."""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime
from typing import Any

import orjson
from pygeoapi.api import API

from providers import editions
from providers.engines.geopackage import TableError
from providers.grant import TIERS
from server import explain, openapi, policy
from server.audiences import Audience
from server.pages import render
from server.problems import Problem, invalid, not_found
from server.request import MEDIA_TYPES, Request
from server.responses import Answer
from server.settings import ROOT

FORMATS = {"json": MEDIA_TYPES["json"], "html": MEDIA_TYPES["html"]}
OPENAPI_FORMATS = {"json": MEDIA_TYPES["openapi"], "html": MEDIA_TYPES["html"]}
JSON = {"json": MEDIA_TYPES["json"]}
STATIC = ROOT / "server" / "static"

_CORE = (
    "ogcapi-common-1/1.0/conf/core",
    "ogcapi-common-1/1.0/conf/landing-page",
    "ogcapi-common-1/1.0/conf/json",
    "ogcapi-common-1/1.0/conf/html",
    "ogcapi-common-1/1.0/conf/oas30",
    "ogcapi-common-2/1.0/conf/collections",
)
_FEATURES = (
    "ogcapi-features-1/1.0/conf/core",
    "ogcapi-features-1/1.0/conf/oas30",
    "ogcapi-features-1/1.0/conf/html",
    "ogcapi-features-1/1.0/conf/geojson",
    "ogcapi-features-2/1.0/conf/crs",
    "ogcapi-features-3/1.0/conf/queryables",
    "ogcapi-features-3/1.0/conf/queryables-query-parameters",
    "ogcapi-features-3/1.0/conf/filter",
    "ogcapi-features-3/1.0/conf/features-filter",
    "ogcapi-features-5/1.0/conf/schemas",
    "ogcapi-features-5/1.0/conf/core-roles-features",
    "ogcapi-features-5/1.0/conf/returnables-and-receivables",
    "ogcapi-features-5/1.0/conf/queryables",
    "ogcapi-features-5/1.0/conf/sortables",
    # Part 5 was published as Common Part 3; QGIS looks for the names that it had before
    "ogcapi-common-3/1.0/conf/schemas",
    "ogcapi-common-3/1.0/conf/advanced-property-roles",
    "ogcapi-common-3/1.0/conf/returnables-and-receivables",
    "ogcapi-common-3/1.0/conf/queryables",
    "ogcapi-common-3/1.0/conf/sortables",
    "cql2/1.0/conf/cql2-text",
    "cql2/1.0/conf/cql2-json",
    "cql2/1.0/conf/basic-cql2",
    "cql2/1.0/conf/advanced-comparison-operators",
    "cql2/1.0/conf/case-insensitive-comparison",
    "cql2/1.0/conf/basic-spatial-functions",
    "cql2/1.0/conf/basic-spatial-functions-plus",
    "cql2/1.0/conf/temporal-functions",
    "cql2/1.0/conf/arithmetic",
)


def get_landing_page(api: API, request: Request) -> Answer:
    """The landing page (Common Part 1, 7.2): only links to what is there."""
    request.check(frozenset({"f", "lang"}))
    identification = api.config["metadata"]["identification"]
    json, html = MEDIA_TYPES["json"], MEDIA_TYPES["html"]
    content: dict[str, Any] = {
        "title": request.translate(identification["title"]),
        "description": request.translate(identification["description"]),
        "links": [
            request.link("self", "/", request.media_type, "This document"),
            *(
                request.link("alternate", "/", media, f"This document as {name}", f=name)
                for name, media in FORMATS.items()
                if name != request.negotiated
            ),
            request.link("service-desc", "/openapi", MEDIA_TYPES["openapi"], "The API definition", f="json"),
            request.link("service-doc", "/openapi", html, "The API documentation", f="html"),
            request.link("conformance", "/conformance", json, "Conformance classes"),
            request.link("data", "/collections", json, "Collections"),
            request.link("http://www.opengis.net/def/rel/ogc/1.0/conformance", "/conformance", json, "Conformance"),
            request.link("http://www.opengis.net/def/rel/ogc/1.0/data", "/collections", json, "Collections"),
        ],
    }
    if request.negotiated == "json":
        return {"Content-Type": json}, 200, orjson.dumps(content)
    content |= {"collection": bool(api.config["resources"]), "process": False, "stac-collection": False, "tile": False}
    content["collections"] = [
        {
            "id": name,
            "title": request.translate(resource["title"]),
            "description": request.translate(resource["description"]),
        }
        for name, resource in api.config["resources"].items()
    ]
    return {"Content-Type": html}, 200, render(api, request, "landing_page.html", content)


def get_conformance(api: API, request: Request) -> Answer:
    """The conformance classes that hold for this audience (Common Part 1, 7.4)."""
    request.check(frozenset({"f", "lang"}))
    classes = [*_CORE, *(_FEATURES if api.config["resources"] else ())]
    content = {"conformsTo": [f"http://www.opengis.net/spec/{name}" for name in classes]}
    if request.negotiated == "json":
        return {"Content-Type": request.media_type}, 200, orjson.dumps(content)
    return {"Content-Type": request.media_type}, 200, render(api, request, "conformance.html", {**content, "links": []})


def get_openapi(api: API, request: Request) -> Answer:
    """The API definition of this audience, without an external reference (OpenAPI 3.0.3)."""
    request.check(frozenset({"f", "lang", "ui"}))
    if request.negotiated == "json":
        return {"Content-Type": request.media_type}, 200, openapi.document(api, request.locale)
    content = {"openapi-document-path": request.href("/openapi", f="json"), "links": []}
    return {"Content-Type": request.media_type}, 200, render(api, request, "openapi/swagger.html", content)


def get_login(api: API, request: Request) -> Answer:
    """A browser's way to log in: 401 asks it for the key, and once it is sent the landing page follows."""
    request.check(frozenset({"f", "lang"}))
    if request.audience.principal.key_id is None:
        raise Problem(401, "give a key: any user name, the key as the password", headers=CHALLENGE)
    return {"Content-Type": "text/plain", "Location": request.href("/")}, 303, b""


def login_is_seen(audience: Audience) -> bool:
    """Not under /open, where every answer is the same for every caller."""
    return audience.prefix != "/open"


def explain_is_seen(audience: Audience) -> bool:
    """By approvers alone."""
    return "approver" in audience.principal.roles and audience.tier == "internal"


CHALLENGE = {"WWW-Authenticate": 'Basic realm="Tierra", charset="UTF-8"'}


def get_explain(api: API, request: Request) -> Answer:
    """Which grant a principal has, and why: for approvers."""
    audience = request.audience
    request.check(frozenset({"f", "lang", "as", "tier", "collection", "action"}))
    who = request.params.get("as", "anonymous")
    principal = explain.principal_of(request.state, who)
    if principal is None:
        raise invalid("as", "as must be anonymous or the id of a valid key")
    tier = request.params.get("tier", policy.tiers_of(principal)[-1])
    if tier not in TIERS:
        raise invalid("tier", f"tier must be one of {', '.join(TIERS)}")
    collection = request.params.get("collection")
    if collection is None or collection not in audience.config.collections:
        raise invalid("collection", "collection must be the id of a collection")
    action = request.params.get("action", "read")
    if action not in explain.ACTIONS:
        raise invalid("action", f"action must be one of {', '.join(explain.ACTIONS)}")
    said = explain.explain(audience.config, request.state, principal, tier, collection, action, datetime.now(UTC))
    return {"Content-Type": MEDIA_TYPES["json"]}, 200, orjson.dumps(said)


def get_health(api: API, request: Request) -> Answer:
    """A status word; inside the agency also what is wrong."""
    request.check(frozenset({"f"}))
    audience = request.audience
    waiting = {}
    for collection in audience.config.collections.values():
        for tier, block in collection.blocks.items():
            if block.recipe.materialised and block.actions:
                definition = audience.config.build_definition(block.recipe)
                try:
                    _, word = editions.status(collection.dataset, block.recipe, audience.config.settings.editions, definition)
                except TableError as err:
                    word = f"not readable: {err}"
                if word != "current":
                    waiting[f"{collection.id} ({tier})"] = word
    problem = request.problem
    status = "degraded" if problem or any(not w.startswith("behind") for w in waiting.values()) else "ok"
    content: dict[str, Any] = {"status": status}
    if audience.tier == "internal":
        seen = {name: word for name, word in waiting.items() if name.partition(" ")[0] in audience.grants}
        content |= {"configuration": list(problem), "editions": seen}
    return {"Content-Type": MEDIA_TYPES["json"]}, 200, orjson.dumps(content)


def get_static(api: API, request: Request, path: str) -> Answer:
    """An asset of the pages; none comes from elsewhere."""
    request.check(frozenset({"v"}))  # MapLibre asks for its worker with its version
    try:
        file = (STATIC / path).resolve()
        found = file.is_relative_to(STATIC) and file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        found = False
    if not found:
        raise not_found("page")
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = {"Content-Type": kind}
    if path.startswith("vendor/"):  # the path has the version in it
        headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return headers, 200, file.read_bytes()
