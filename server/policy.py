"""Principal × `access:` → Grant: the only place that decides, and that can say why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from providers.grant import TIERS, Grant, GrantError, Tier
from server import access
from server.access import Block
from server.config import Collection, Config
from server.identity import Principal
from server.state import Agreement, State


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grant, or None where the collection does not exist for the caller; `steps` says what was weighed, in order."""

    grant: Grant | None
    steps: tuple[str, ...]


def tiers_of(principal: Principal) -> tuple[Tier, ...]:
    """The tiers that a principal may ask for: its own and those below, its best one last."""
    return TIERS[: TIERS.index(principal.tier) + 1]


def decide(config: Config, state: State, principal: Principal, tier: Tier, collection: str, now: datetime) -> Verdict:
    """What `principal`, looking through `tier`, may do with a collection: one winning grant whole, never a merge.

    The grant of the tier asked for applies; where a tier has no block, or its condition is not met, the next lower one.
    """
    found = config.collections.get(collection)
    if found is None:
        return Verdict(None, (f"there is no collection {collection}",))
    steps: list[str] = []
    if tier not in tiers_of(principal):
        return Verdict(None, (f"a caller of tier {principal.tier} cannot look through {tier}",))
    for candidate in reversed(TIERS[: TIERS.index(tier) + 1]):
        block = found.blocks.get(candidate)
        if block is None:
            steps.append(f"{candidate}: no block")
            continue
        if not block.actions:
            steps.append(f"{candidate}: the block grants no action, and nothing below it is asked")
            return Verdict(None, tuple(steps))
        grant = _grant(state, principal, found, block, now, steps)
        if grant is not None:
            return Verdict(grant, tuple(steps))
    return Verdict(None, (*steps, "nothing is granted"))


def _grant(state: State, principal: Principal, found: Collection, block: Block, now: datetime, steps: list[str]) -> Grant | None:
    if block.recipe.tier == "internal":
        return _internal(principal, block, steps)
    if block.recipe.tier == "shared":
        return _shared(state, principal, found, block, now, steps)
    return _open(state, block, steps)


def _internal(principal: Principal, block: Block, steps: list[str]) -> Grant:
    under = None
    reason = "internal: granted"
    if block.under is not None:
        # a principal without a division is the nation, which identity has made it say explicitly
        assert principal.level is not None and principal.division is not None
        under = (block.under, principal.division)
        reason += f" under {block.under} {principal.division or 'of the nation'}"
    steps.append(reason + _because(block))
    return Grant(block.recipe, actions=block.actions, under=under, items=block.items, reason=steps[-1])


def _shared(state: State, principal: Principal, found: Collection, block: Block, now: datetime, steps: list[str]) -> Grant | None:
    if not block.conditional:
        steps.append("shared: granted to every department" + _because(block))
        return Grant(block.recipe, actions=block.actions, items=block.items, reason=steps[-1])
    if principal.tier != "shared" or principal.agency is None:
        steps.append("shared: needs an agreement, which only a department can have")
        return None
    agreement = state.active_agreement(principal.agency, found.id, now)
    if agreement is None:
        steps.append(f"shared: needs an agreement, and {principal.agency} has none that holds now")
        return None
    try:
        access.check_agreement(block, found.table, found.dataset.id_field, agreement.rows, agreement.properties)
    except GrantError as err:
        steps.append(f"shared: agreement {agreement.id} names more than the block grants and is void: {err}")
        return None
    steps.append(f"shared: granted by agreement {agreement.id} for {agreement.purpose} until {agreement.ends}")
    return Grant(
        block.recipe,
        actions=block.actions,
        narrow=(agreement.rows,) if agreement.rows else (),
        only=agreement.properties,
        items=_least(block.items, agreement.items),
        reason=steps[-1] + _because(block),
        agreement=agreement.id,
        ends=agreement.ends,
    )


def _open(state: State, block: Block, steps: list[str]) -> Grant | None:
    approval = state.approval(block.recipe.collection, block.recipe.hash)
    if approval is None:
        earlier = state.approvals(block.recipe.collection)
        steps.append(
            "open: the recipe has changed since it was approved, so the approval is void"
            if earlier
            else "open: the recipe has not been approved"
        )
        return None
    steps.append(f"open: approved by {approval.name} ({approval.by}) at {approval.at}: {approval.because}" + _because(block))
    return Grant(block.recipe, actions=block.actions, items=block.items, reason=steps[-1])


def _because(block: Block) -> str:
    return f" ({block.because})" if block.because else ""


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def boundary(agreements: list[Agreement], now: datetime) -> datetime | None:
    """The next instant at which an agreement begins or ends, and with it a grant."""
    instants = [datetime.fromisoformat(text) for a in agreements for text in (a.starts, a.ends)]
    return min((instant.astimezone(UTC) for instant in instants if instant > now), default=None)
