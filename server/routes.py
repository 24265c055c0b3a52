"""One table: which path is answered by which handler, in which formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from werkzeug.routing import BaseConverter, Map, Rule

from server.audiences import Audience
from server.handlers import collections, common, items
from server.responses import Answer

Handler = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """A path under any prefix. Who it is not `seen` by gets what a path that is missing gets."""

    path: str
    get: Handler
    formats: Mapping[str, str]
    write: Handler | None = None
    seen: Callable[[Audience], bool] | None = None


ROUTES = (
    Route("/", common.get_landing_page, common.FORMATS),
    Route("/openapi", common.get_openapi, common.OPENAPI_FORMATS),
    Route("/conformance", common.get_conformance, common.FORMATS),
    Route("/collections", collections.get_collections, collections.FORMATS),
    Route("/collections/<collection_id>", collections.get_collection, collections.FORMATS),
    Route("/collections/<collection_id>/schema", collections.get_schema, collections.SCHEMA_FORMATS),
    Route("/collections/<collection_id>/queryables", collections.get_queryables, collections.SCHEMA_FORMATS),
    Route("/collections/<collection_id>/sortables", collections.get_sortables, collections.SCHEMA_FORMATS),
    Route("/collections/<collection_id>/items", items.get_items, items.FORMATS, items.refuse_write),
    Route("/collections/<collection_id>/items/<any_text:feature_id>", items.get_item, items.ITEM_FORMATS, items.refuse_write),
    Route("/login", common.get_login, common.JSON, seen=common.login_is_seen),
    Route("/explain", common.get_explain, common.JSON, seen=common.explain_is_seen),
    Route("/health", common.get_health, common.JSON),
    Route("/static/<path:path>", common.get_static, {}),
)


class AnyText(BaseConverter):
    """An id of whatever characters: slashes and line ends too."""

    regex = r"[\s\S]+"
    part_isolating = False
    weight = 200


URL_MAP = Map(
    [Rule(route.path, endpoint=number) for number, route in enumerate(ROUTES)],
    converters={"any_text": AnyText},
    merge_slashes=False,
)
