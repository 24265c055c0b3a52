"""What each route answers to whom: the table that the matrix of all routes is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from server.routes import ROUTES, Route

# tiers, by the best of which a collection may be seen
SEEN_FROM = {"parcels": "open", "landslides": "open", "divisions": "open", "minerals": "internal", "nosuch": None}
ORDER = {"open": 0, "shared": 1, "internal": 2}
Sees = Callable[[str | None, str, str | None], bool]


@dataclass(frozen=True)
class Expected:
    """`sees` says whether a caller that looks through a tier finds the route of a collection; others get 404.

    `formats` are all that it takes; `status` is what a caller who finds it gets; `write` whether it is a place to write
    to, where a caller who sees it gets 403 and every other route gets 405; under a prefix of `hidden_under` it is missing.
    """

    formats: tuple[str, ...]
    sees: Sees
    status: Callable[[str | None], int] = lambda caller: 200
    write: bool = False
    data: bool = True
    hidden_under: tuple[str, ...] = ()


def _everyone(caller: str | None, tier: str, collection: str | None) -> bool:
    return True


def _granted(caller: str | None, tier: str, collection: str | None) -> bool:
    least = SEEN_FROM.get(collection or "")
    return least is not None and ORDER[least] <= ORDER[tier]


def _approver(caller: str | None, tier: str, collection: str | None) -> bool:
    return caller == "approver" and tier == "internal"


_BOTH = ("json", "html")
TABLE: dict[str, Expected] = {
    "/": Expected(_BOTH, _everyone),
    "/openapi": Expected(_BOTH, _everyone),
    "/conformance": Expected(_BOTH, _everyone),
    "/collections": Expected(_BOTH, _everyone),
    "/collections/<collection_id>": Expected(_BOTH, _granted),
    "/collections/<collection_id>/schema": Expected(_BOTH, _granted),
    "/collections/<collection_id>/queryables": Expected(_BOTH, _granted),
    "/collections/<collection_id>/sortables": Expected(_BOTH, _granted),
    "/collections/<collection_id>/items": Expected((*_BOTH, "csv"), _granted, write=True),
    "/collections/<collection_id>/items/<any_text:feature_id>": Expected(_BOTH, _granted, write=True),
    "/login": Expected(
        ("json",), _everyone, status=lambda caller: 401 if caller is None else 303, data=False, hidden_under=("/open",)
    ),
    # as: is missing, so whoever finds the page is told which parameter it wants
    "/explain": Expected(("json",), _approver, status=lambda caller: 400, data=False),
    "/health": Expected(("json",), _everyone),
    "/static/<path:path>": Expected((), _everyone, data=False),
}


def unnamed(routes: tuple[Route, ...] = ROUTES) -> list[str]:
    """The routes without an entry, and the entries without a route: there must be none."""
    paths = {route.path for route in routes}
    return sorted(paths ^ set(TABLE))


def differing(routes: tuple[Route, ...] = ROUTES) -> list[str]:
    """The routes whose formats or methods are not those of their entry."""
    return [
        route.path
        for route in routes
        if route.path in TABLE
        and (set(route.formats), route.write is not None) != (set(TABLE[route.path].formats), TABLE[route.path].write)
    ]
