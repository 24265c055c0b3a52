"""What one principal may do with one collection: the recipe of an edition and the grant that names it.

Everything here is frozen, hashable and serialisable (tuples, no dicts), so that a grant can be a cache key, can lie in a
pygeoapi provider definition and can travel to another machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Literal

Tier = Literal["open", "shared", "internal"]
TIERS: tuple[Tier, ...] = ("open", "shared", "internal")
ACTIONS = ("read",)
MASKS = ("round", "initial", "hash", "year", "redact")


class GrantError(Exception):
    """A grant is missing, or it asks for something that the provider cannot fulfil."""


@dataclass(frozen=True, slots=True)
class Mask:
    """How one property is blurred: `round` to the nearest multiple of `step`, `initial`, keyed `hash`, `year`, `redact`."""

    column: str
    kind: str
    step: float | None = None


@dataclass(frozen=True, slots=True)
class Generalisation:
    """How a geometry is coarsened. Lengths are metres in `crs` (a URI or `EPSG:n` of a metric CRS)."""

    snap: float | None = None
    simplify: float | None = None
    centroid: bool = False
    none: bool = False
    crs: str | None = None

    @property
    def lengths(self) -> bool:
        """Whether a length is given, so that a metric CRS is needed."""
        return self.snap is not None or self.simplify is not None

    @property
    def changes(self) -> bool:
        """Whether a geometry comes out other than it is."""
        return self.lengths or self.centroid or self.none


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a tier may have of a collection. The hash of an `open` recipe is what an approver approves.

    `source` says which data they are (file, table, id column, CRS, and the same of the clip collection): another source is
    another recipe.
    """

    collection: str
    tier: Tier
    properties: tuple[str, ...]
    rows: str | None = None
    masks: tuple[Mask, ...] = ()
    geometry: Generalisation = field(default_factory=Generalisation)
    clip: str | None = None
    flow: str = "continuous"
    source: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all that decides what is let out (hex, 64 characters).

        `flow` says when rows come out, not which, and so is no part of it.
        """
        return _hash(self)

    @property
    def materialised(self) -> bool:
        """Whether the edition of this recipe is a file of its own (outside the agency, always)."""
        return self.tier != "internal"


@dataclass(frozen=True, slots=True)
class Grant:
    """What one principal may do with one collection, and why.

    `under` is (column, division code): rows whose code is the principal's own or lies below it. `narrow` holds CQL2 text
    predicates of an agreement, over released columns; `only` is its choice among the recipe's properties (None: all).
    `items` is the largest page.
    """

    recipe: Recipe
    actions: tuple[str, ...] = ("read",)
    under: tuple[str, str] | None = None
    narrow: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    items: int | None = None
    reason: str = ""
    agreement: str | None = None
    ends: str | None = None

    def __post_init__(self) -> None:
        beyond = set(self.only or ()) - set(self.recipe.properties)
        if beyond:
            raise GrantError(f"properties beyond the recipe of {self.collection}: {', '.join(sorted(beyond))}")

    @property
    def collection(self) -> str:
        return self.recipe.collection

    @property
    def properties(self) -> tuple[str, ...]:
        """The properties that are let out, in the recipe's order."""
        return tuple(p for p in self.recipe.properties if self.only is None or p in self.only)

    @property
    def tier(self) -> Tier:
        """The tier of the block that won; the tier that was asked for may be higher."""
        return self.recipe.tier

    @property
    def shape(self) -> Grant:
        """The grant without what differs from caller to caller: all that share it can share one audience."""
        return replace(
            self,
            under=(self.under[0], "") if self.under else None,
            narrow=(),
            items=None,
            reason="",
            agreement=None,
            ends=None,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `Grant.from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any) -> Grant:
        """Read a grant from a provider definition (a Grant, or the mapping that `to_dict` makes).

        Raises GrantError when it is missing or has members that a grant does not know.
        """
        if isinstance(value, Grant):
            return value
        if not isinstance(value, dict):
            raise GrantError("no grant in the provider definition")
        try:
            recipe = dict(value["recipe"])
            recipe["masks"] = tuple(Mask(**mask) for mask in recipe.get("masks", ()))
            recipe["geometry"] = Generalisation(**recipe.get("geometry", {}))
            recipe["properties"] = tuple(recipe["properties"])
            recipe["source"] = tuple(recipe.get("source", ()))
            known = {f.name for f in fields(cls)} - {"recipe"}
            rest = {key: _tuples(item) for key, item in value.items() if key != "recipe"}
            unknown = set(rest) - known
            if unknown:
                raise GrantError(f"unknown members of a grant: {', '.join(sorted(unknown))}")
            return cls(recipe=Recipe(**recipe), **rest)
        except (KeyError, TypeError) as err:
            raise GrantError(f"not a grant: {err}") from err


@lru_cache(maxsize=1024)
def _hash(recipe: Recipe) -> str:
    parts = asdict(recipe)
    del parts["flow"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
