"""Grants become a pygeoapi API that holds only what they allow: what is not in it does not exist for its caller."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pygeoapi.api import API

from providers.grant import Grant, Tier
from server import policy
from server.config import Config
from server.identity import Principal
from server.settings import ROOT
from server.state import State

SHAPES = 64
CALLERS = 1000
# where an extent is not known yet; the handlers put the edition's own in its place
_WORLD: dict[str, Any] = {"spatial": {"bbox": [-180, -90, 180, 90], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}}


@dataclass(frozen=True, slots=True)
class Audience:
    """What one caller sees under one prefix."""

    api: API
    grants: dict[str, Grant]
    tier: Tier
    prefix: str
    principal: Principal
    config: Config


class Audiences:
    """Makes and keeps audiences, as long as neither the configuration nor the state nor the hour changes them."""

    def __init__(self, state: State, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._state = state
        self._now = now
        self._lock = threading.Lock()
        self._apis: OrderedDict[Any, API] = OrderedDict()
        self._callers: OrderedDict[Any, tuple[datetime | None, Audience]] = OrderedDict()

    def get(self, config: Config, principal: Principal, tier: Tier, prefix: str) -> Audience:
        """The audience of a principal that looks through `tier`, its links under `prefix` ('' or '/open' …)."""
        key = (config.revision, config.mask_key, self._state.revision(), principal, tier, prefix)
        now = self._now()
        found = self._callers.get(key)
        if found is not None and (found[0] is None or now < found[0]):
            return found[1]
        audience = self._make(config, principal, tier, prefix, now)
        until = policy.boundary(self._state.agreements(agency=principal.agency), now) if principal.agency else None
        with self._lock:
            self._callers[key] = (until, audience)
            if len(self._callers) > CALLERS:
                self._callers.popitem(last=False)
        return audience

    def _make(self, config: Config, principal: Principal, tier: Tier, prefix: str, now: datetime) -> Audience:
        grants = {}
        for collection in config.collections:
            verdict = policy.decide(config, self._state, principal, tier, collection, now)
            if verdict.grant is not None:
                grants[collection] = verdict.grant
        shape = (config.revision, config.mask_key, prefix, tier, tuple(grant.shape for grant in grants.values()))
        with self._lock:
            api = self._apis.get(shape)
            if api is None:
                api = API(_project(config, grants, tier, prefix), {})
                self._apis[shape] = api
                if len(self._apis) > SHAPES:
                    self._apis.popitem(last=False)
        return Audience(_bind(api, config, grants, principal, tier, prefix), grants, tier, prefix, principal, config)


def _project(config: Config, grants: dict[str, Grant], tier: Tier, prefix: str) -> dict[str, Any]:
    """pygeoapi's configuration with what the grants let be seen, and nothing else."""
    base = copy.deepcopy(config.base)
    base["server"] |= {
        "url": config.settings.url + prefix,
        "templates": {"path": str(ROOT / "server" / "templates")},
        "locale_dir": str(ROOT / "server" / "locale"),
    }
    base["tierra"] = {"tier": tier, "prefix": prefix, "root": config.settings.url, "caller": None, "tiers": []}
    base["tierra"]["outline"] = "divisions"  # drawn behind the maps, where the caller may see it
    base["resources"] = {name: _resource(config, grant) for name, grant in grants.items()}
    return base


def _resource(config: Config, grant: Grant) -> dict[str, Any]:
    found = config.collections[grant.collection]
    if grant.recipe.materialised:
        definition = found.edition_definition(config, grant.recipe)
        definition["sortables"] = [name for name in definition["sortables"] if name in grant.properties]
        definition["fields"] = {n: f for n, f in definition["fields"].items() if n in grant.properties}
    else:
        definition = found.live_definition(grant.recipe)
    for name in ("time_field", "title_field"):
        if definition.get(name) not in grant.properties:
            definition.pop(name, None)
    definition["grant"] = grant
    resource: dict[str, Any] = {**found.resource, "extents": copy.deepcopy(_WORLD), "providers": [definition]}
    most = grant.items or config.base["server"].get("limits", {}).get("max_items", 10000)
    default = min(most, config.base["server"].get("limits", {}).get("default_items", 10))
    resource["limits"] = {"max_items": most, "default_items": default, "on_exceed": "throttle"}
    return resource


def _bind(api: API, config: Config, grants: dict[str, Grant], principal: Principal, tier: Tier, prefix: str) -> API:
    """The API of a shape with one caller's own values: its division, its agreement's rows and limits, its name."""
    bound = copy.copy(api)
    bound.providers = {}  # made at the first use; they hold a grant and no more
    bound.config = {**api.config, "resources": {name: _resource(config, grant) for name, grant in grants.items()}}
    if prefix != "/open":  # under /open every byte is the same for every caller
        caller = None
        if principal.key_id is not None:
            caller = {"name": principal.name, "tier": principal.tier, "agency": principal.agency}
            caller["division"] = principal.division
        tiers = [(name, f"{config.settings.url}/{name}") for name in policy.tiers_of(principal)]
        shown = {**api.config["tierra"], "caller": caller, "tiers": tiers if len(tiers) > 1 else []}
        bound.config["tierra"] = shown
        bound.tpl_config = {**api.tpl_config, "tierra": shown, "resources": bound.config["resources"]}
    return bound
