"""Explain: for any principal, collection and action, which grant won, why, and what it lets out."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from providers.grant import Tier
from server import identity, policy
from server.config import Config
from server.identity import ANONYMOUS, Principal, Unauthorized
from server.state import State

# What a caller may ask to do with a collection.
ACTIONS = ("read", "create", "replace", "update", "delete")


def principal_of(state: State, who: str) -> Principal | None:
    """The principal called `anonymous` or that a valid key's id names; None where there is none."""
    if who == ANONYMOUS.name:
        return ANONYMOUS
    key = state.key(who)
    try:
        return identity.principal(key) if key else None
    except Unauthorized:
        return None


def explain(
    config: Config, state: State, principal: Principal, tier: Tier, collection: str, action: str, now: datetime
) -> dict[str, Any]:
    """What the policy decides, by the very function that decides it."""
    verdict = policy.decide(config, state, principal, tier, collection, now)
    grant = verdict.grant
    said: dict[str, Any] = {
        "principal": {"name": principal.name, "tier": principal.tier, "key": principal.key_id},
        "tier": tier,
        "collection": collection,
        "action": action,
        "steps": list(verdict.steps),
    }
    if grant is None:
        return {**said, "answer": 404, "grant": None}
    said["answer"] = 200 if action in grant.actions else 403
    said["grant"] = {
        "tier": grant.tier,
        "reason": grant.reason,
        "recipe": grant.recipe.hash,
        "actions": list(grant.actions),
        "rows": grant.recipe.rows,
        "under": list(grant.under) if grant.under else None,
        "narrowed": list(grant.narrow),
        "properties": list(grant.properties),
        "masks": {mask.column: mask.kind for mask in grant.recipe.masks},
        "geometry": {name: value for name, value in asdict(grant.recipe.geometry).items() if value},
        "clip": grant.recipe.clip,
        "items": grant.items,
        "agreement": grant.agreement,
        "ends": grant.ends,
    }
    return said
