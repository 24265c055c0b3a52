"""OGC API Features: the items of a collection and a single item.

The default answer of an edition is a join of finished bytes; another CRS, a choice of properties, HTML and CSV take the slower
way over objects.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote

import orjson
from pygeoapi.api import API
from pygeoapi.plugin import load_plugin

from providers import crs
from providers.features import FeatureProvider
from providers.query import Query
from providers.reader import Reader, collection
from providers.tabular import comma_separated
from providers.temporal import datetime_where
from server.pages import render
from server.problems import Problem, invalid, not_found
from server.request import MEDIA_TYPES, Request, encoded
from server.responses import Answer, modified, unchanged

FORMATS = {"json": MEDIA_TYPES["geojson"], "html": MEDIA_TYPES["html"], "csv": MEDIA_TYPES["csv"]}
ITEM_FORMATS = {"json": MEDIA_TYPES["geojson"], "html": MEDIA_TYPES["html"]}
PARAMETERS = frozenset(
    {"f", "lang", "limit", "offset", "cursor", "resulttype", "sortby"}
    | {"bbox", "bbox-crs", "crs", "datetime", "properties", "skipGeometry", "filter", "filter-lang", "filter-crs"}
)
# counted up when the same rows would be written otherwise, so that a client's copy of the former answer is not confirmed
ANSWER_VERSION = 1
MOST = 10**18
_NUMBER = re.compile(r" *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)? *")


def provider(api: API, collection_id: str) -> FeatureProvider:
    """The provider of a collection of this audience. Raises Problem 404 where the audience does not hold it."""
    resource = api.config["resources"].get(collection_id)
    if resource is None:
        raise not_found(f"collection {collection_id}")
    kept: dict[str, FeatureProvider] = api.providers
    if collection_id not in kept:
        kept[collection_id] = load_plugin("provider", resource["providers"][0])
    return kept[collection_id]


def get_items(api: API, request: Request, collection_id: str) -> Answer:
    """A page of features (Features Part 1, 7.15)."""
    source = provider(api, collection_id)
    limit = _limit(request, api.config["resources"][collection_id]["limits"])
    with source.reading() as reader:
        request.check(PARAMETERS | {column.name for column in reader.relation.columns})
        query = Query(
            where=_where(request, reader),
            sort=_sort(request, source),
            limit=limit,
            offset=_whole(request, "offset", 0) or 0,
            cursor=request.params.get("cursor"),
        )
        hits = _hits(request)
        if query.cursor is not None and (hits or "offset" in request.params):
            raise invalid("cursor", "cursor cannot be given together with offset or resulttype=hits")
        target = crs_of(request, "crs", source)
        select = _select(request, reader)
        skip = _flag(request, "skipGeometry")
        headers = {"Content-Type": request.media_type, "Content-Crs": f"<{target}>"}
        reader.check(query)
        validators(request, reader, headers)
        if "ETag" in headers and unchanged(request.http, headers):
            return headers, 304, b""
        texts: list[bytes] = []
        if hits:
            matched, cursor = reader.count(query), None
        elif target == crs.CRS84 and select is None and not skip:
            texts, matched, cursor = reader.texts(query)
        else:
            texts, matched, cursor = reader.features(query, target=target, select=select, skip_geometry=skip)
        names = [column.name for column in reader.relation.columns if select is None or column.name in select]
    links = _page_links(request, collection_id, query, cursor)
    if request.negotiated == "json":
        return headers, 200, _page(texts, matched, links)
    if request.negotiated == "csv":
        if cursor:
            headers["Link"] = f'<{next(link["href"] for link in links if link["rel"] == "next")}>; rel="next"'
        headers["Content-Type"] = "text/csv; charset=utf-8"
        headers["Content-Disposition"] = f'attachment; filename="{collection_id}.csv"'
        return headers, 200, comma_separated(texts, names)
    return headers, 200, _page_html(api, request, collection_id, source, texts, matched, links, query)


def get_item(api: API, request: Request, collection_id: str, feature_id: str) -> Answer:
    """One feature (Features Part 1, 7.16)."""
    source = provider(api, collection_id)
    request.check(frozenset({"f", "lang", "crs"}))
    target = crs_of(request, "crs", source)
    headers = {"Content-Type": request.media_type, "Content-Crs": f"<{target}>"}
    with source.reading() as reader:
        text = reader.text(feature_id) if target == crs.CRS84 else reader.feature(feature_id, target)
        if text is None:
            raise not_found(f"item {feature_id}")
        validators(request, reader, headers)
    base = f"/collections/{collection_id}"
    path = f"{base}/items/{_segment(feature_id)}"
    asked = {"crs": request.params.get("crs")}
    links = [
        request.link("self", path, request.media_type, "This document", **asked, f=request.params.get("f")),
        *(
            request.link("alternate", path, media, f"This document as {name}", **asked, f=name)
            for name, media in ITEM_FORMATS.items()
            if name != request.negotiated
        ),
        request.link("collection", base, MEDIA_TYPES["json"], _title(api, request, collection_id)),
    ]
    if request.negotiated == "json":
        return headers, 200, text[:-1] + b',"links":' + orjson.dumps(links) + b"}"
    content = {
        **orjson.loads(text),
        "links": links,
        "title": _title(api, request, collection_id),
        "id_field": source.id_field,
        "title_field": source.title_field or source.id_field,
        "collections_path": api.get_collections_url(),
        "dataset_path": request.href(base),
    }
    return headers, 200, render(api, request, "collections/items/item.html", content)


def validators(request: Request, reader: Reader, headers: dict[str, str]) -> None:
    """Set ETag and Last-Modified of an answer out of an edition, which knows what it holds.

    They follow from what was released and asked alone. The live edition has neither here, nor has what an agreement narrows:
    it must not tell when the rest changes. Their tag is a hash of the answer. A page shows more than the edition: who is
    calling. A date is given to the public alone: to others another grant may answer tomorrow, whose edition is older.
    """
    relation = reader.relation
    edition = relation.edition
    if edition is None or not relation.whole or not relation.text or request.negotiated == "html":
        return
    http = request.http
    resource = request.api.config["resources"][_collection_id(request)]
    parts = (
        ANSWER_VERSION,
        relation.identity,
        reader.time,
        resource["limits"],
        request.api.base_url,
        http.path,
        http.query_string,
        request.negotiated,
        str(request.locale),
        resource["title"],
    )
    tag = hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()
    headers["ETag"] = f'"{tag}"'
    if request.audience.tier == "open":
        headers["Last-Modified"] = modified(edition.modified)


def _collection_id(request: Request) -> str:
    return str(request.path_info).split("/")[1]


# what is asked


def _where(request: Request, reader: Reader) -> tuple[Any, ...]:
    params = request.params
    where = []
    if (text := params.get("bbox")) is not None:
        bbox_crs = params.get("bbox-crs", crs.CRS84)
        where.append(reader.bbox(_numbers(text), _listed(request, "bbox-crs", bbox_crs)))
    elif "bbox-crs" in params:
        raise invalid("bbox-crs", "bbox-crs is given without bbox")
    if (text := params.get("datetime")) is not None:
        where.append(datetime_where(text, reader.time))
    if (text := params.get("filter")) is not None:
        lang = params.get("filter-lang", "cql2-json" if text.lstrip().startswith("{") else "cql2-text")
        if lang not in ("cql2-text", "cql2-json"):
            raise invalid("filter-lang", "filter-lang must be cql2-text or cql2-json")
        filter_crs = params.get("filter-crs")
        where.append(reader.filter(text, lang, _listed(request, "filter-crs", filter_crs) if filter_crs is not None else None))
    else:
        for name in ("filter-lang", "filter-crs"):
            if name in params:
                raise invalid(name, f"{name} is given without filter")
    for name, value in params.items():
        if name not in PARAMETERS:
            where.append(reader.equals(name, value))
    return tuple(where)


def _numbers(text: str) -> list[float]:
    parts = text.split(",")
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise invalid("bbox", "bbox must be four or six numbers, separated by commas")
    return [float(part) for part in parts]


def crs_of(request: Request, name: str, source: FeatureProvider) -> str:
    """The URI of the CRS that a parameter asks for; CRS84 without it. Raises Problem 400."""
    return _listed(request, name, request.params.get(name, crs.CRS84))


def _listed(request: Request, name: str, asked: str) -> str:
    if asked == crs.CRS84:
        return asked
    listed = request.api.config["resources"][_collection_id(request)]["providers"][0]["crs"]
    if asked not in listed:
        raise invalid(name, f"{name} must be one of {', '.join(listed)}")
    return asked


def _limit(request: Request, limits: dict[str, int]) -> int:
    limit = _whole(request, "limit", 1)
    return min(limits["default_items"] if limit is None else limit, limits["max_items"])


def _whole(request: Request, name: str, least: int) -> int | None:
    text = request.params.get(name)
    if text is None:
        return None
    digits = text.lstrip("0") or "0"
    # what is beyond counting is as good as the most there can be
    number = -1 if not (text.isascii() and text.isdecimal()) else int(digits) if len(digits) < 19 else MOST
    if number < least:
        raise invalid(name, f"{name} must be a whole number of at least {least}")
    return number


def _flag(request: Request, name: str) -> bool:
    text = request.params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise invalid(name, f"{name} must be true or false")
    return bool(text == "true")


def _hits(request: Request) -> bool:
    text = request.params.get("resulttype", "results")
    if text not in ("results", "hits"):
        raise invalid("resulttype", "resulttype must be results or hits")
    return bool(text == "hits")


def _sort(request: Request, source: FeatureProvider) -> tuple[tuple[str, bool], ...]:
    text = request.params.get("sortby")
    if text is None:
        return ()
    made: dict[str, bool] = {}
    for part in text.split(","):
        # a plus sign in a query string arrives as a space
        name, descending = part[1:] if part[:1] in ("+", " ", "-") else part, part.startswith("-")
        if name not in source.sortables:
            raise invalid("sortby", f"sortby: {name} is not one of the sortables {', '.join(source.sortables)}")
        if name in made:
            raise invalid("sortby", f"sortby: {name} is named twice")
        made[name] = descending
    return tuple(made.items())


def _select(request: Request, reader: Reader) -> list[str] | None:
    text = request.params.get("properties")
    if text is None:
        return None
    names = [name for name in text.split(",") if name]
    for name in names:
        if reader.relation.column(name) is None:
            raise invalid("properties", f"properties: there is no property {name}")
    return names


# what is answered


def _page(texts: list[bytes], matched: int, links: list[dict[str, str]]) -> bytes:
    return b'{"type":"FeatureCollection","numberMatched":%d,"numberReturned":%d,"links":%b,"features":[%b]}' % (
        matched,
        len(texts),
        orjson.dumps(links),
        b",".join(texts),
    )


def _page_links(request: Request, collection_id: str, query: Query, cursor: str | None) -> list[dict[str, str]]:
    base = f"/collections/{collection_id}"
    path = request.href(base + "/items")
    params = request.params
    asked = encoded({name: value for name, value in params.items() if name not in ("f", "offset", "cursor")})
    place = encoded({name: params.get(name) for name in ("offset", "cursor")})
    format_ = encoded({"f": params.get("f")})

    def link(rel: str, title: str, media: str, *parts: str) -> dict[str, str]:
        together = "&".join(filter(None, parts))
        return {"rel": rel, "type": media, "title": title, "href": f"{path}?{together}" if together else path}

    links = [link("self", "This document", request.media_type, asked, place, format_)]
    for name, media in FORMATS.items():
        if name != request.negotiated:
            links.append(link("alternate", f"This document as {name}", media, asked, place, f"f={name}"))
    if cursor:
        links.append(link("next", "Next page", request.media_type, asked, f"cursor={cursor}", format_))
    if query.offset:
        before = f"offset={max(0, query.offset - query.limit)}"
        links.append(link("prev", "Previous page", request.media_type, asked, before, format_))
    links.append(request.link("collection", base, MEDIA_TYPES["json"], _title(request.api, request, collection_id)))
    return links


def _page_html(
    api: API,
    request: Request,
    collection_id: str,
    source: FeatureProvider,
    texts: list[bytes],
    matched: int,
    links: list[dict[str, str]],
    query: Query,
) -> bytes:
    content = {
        "type": "FeatureCollection",
        "features": collection(texts),
        "numberMatched": matched,
        "numberReturned": len(texts),
        "links": links,
        "title": _title(api, request, collection_id),
        "itemtype": "feature",
        "items_path": request.href(f"/collections/{collection_id}/items"),
        "dataset_path": request.href(f"/collections/{collection_id}"),
        "collections_path": api.get_collections_url(),
        "offset": query.offset,
        "limit": query.limit,
        "id_field": source.id_field,
        "title_field": source.title_field or source.id_field,
    }
    return render(api, request, "collections/items/index.html", content)


def _title(api: API, request: Request, collection_id: str) -> str:
    return str(request.translate(api.config["resources"][collection_id]["title"]))


def _segment(text: str) -> str:
    return quote(text, safe="")


def refuse_write(api: API, request: Request, collection_id: str, feature_id: str | None = None) -> Answer:
    """Writing to a collection: 403 where it is seen but not granted, 404 where it is not seen."""
    source = provider(api, collection_id)
    if feature_id is not None:
        with source.reading() as reader:
            if reader.text(feature_id) is None:
                raise not_found(f"item {feature_id}")
    raise Problem(403, "this is not granted", headers={"Allow": "GET, HEAD, OPTIONS"})
