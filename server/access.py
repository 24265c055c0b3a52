"""The `access:` of one collection's file, read into blocks and checked against the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from providers import filters, generalise, masks
from providers.building import released
from providers.columns import Column
from providers.dataset import Dataset
from providers.engines.geopackage import Table
from providers.grant import ACTIONS, TIERS, Generalisation, Grant, GrantError, Mask, Recipe, Tier

_COMMON = {"rows", "properties", "limits", "because", "actions"}
_EDITION = {"mask", "geometry", "clip", "flow"}
_KEYS: dict[str, set[str]] = {
    "open": _COMMON | _EDITION,
    "shared": _COMMON | _EDITION | {"mode"},
    "internal": _COMMON | {"under"},
}
_FLOWS = {"open": "on-publish", "shared": "continuous"}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One tier's block: its recipe, what may be done, and on which condition.

    `under` is the column that must lie under the caller's own division code; `conditional` asks for an agreement.
    """

    recipe: Recipe
    actions: tuple[str, ...]
    under: str | None
    conditional: bool
    items: int | None
    because: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a configuration file, and at which key."""

    path: Path
    reason: str


class Reader:
    """Reads the blocks of one collection; `problems` and `warnings` gather what is wrong."""

    def __init__(self, collection: str, dataset: Dataset, table: Table, source: tuple[str, ...]) -> None:
        self.collection = collection
        self.source = source
        self.dataset = dataset
        self.table = table
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def blocks(self, access: Any) -> dict[Tier, Block]:
        """The blocks by tier. A block with a problem is left out, and a configuration with a problem is not used."""
        made: dict[Tier, Block] = {}
        if not isinstance(access, dict):
            self._wrong((), "access must be a mapping of open, shared, internal")
            return made
        for tier, value in access.items():
            if tier not in TIERS:
                self._wrong((tier,), f"unknown tier {tier}; there are open, shared, internal")
            elif not isinstance(value, dict):
                self._wrong((tier,), "a block must be a mapping")
            else:
                before = len(self.problems)
                block = self._block(tier, value)
                if block and len(self.problems) == before:
                    made[tier] = block
        return made

    def _block(self, tier: Tier, value: dict[str, Any]) -> Block | None:
        for key in value:
            if key not in _KEYS[tier]:
                known = ", ".join(sorted(_KEYS[tier]))
                self._wrong((tier, key), f"unknown key {key} in an {tier} block; it takes {known}")
        actions = self._actions(tier, value)
        if "properties" not in value and actions:
            self._wrong((tier,), "properties is required: the list of what may leave ([] for id and geometry alone)")
            return None
        how = self._geometry(tier, value.get("geometry", {}))
        with self._gathered((tier, "mask")):
            recipe = Recipe(
                collection=self.collection,
                tier=tier,
                properties=self._properties(tier, value.get("properties", [])),
                rows=self._text((tier, "rows"), value.get("rows")),
                masks=self._masks(tier, value.get("mask", {})),
                geometry=how,
                clip=self._text((tier, "clip"), value.get("clip")),
                source=self.source,
                flow=self._choice((tier, "flow"), value.get("flow", _FLOWS.get(tier, "continuous")), _FLOWS.values()),
            )
            self._check(tier, recipe)
            mode = self._choice((tier, "mode"), value.get("mode", "unconditional"), ("conditional", "unconditional"))
            return Block(
                recipe=recipe,
                actions=actions,
                under=self._under(tier, value),
                conditional=mode == "conditional",
                items=self._items(tier, value.get("limits", {})),
                because=self._text((tier, "because"), value.get("because")) or "",
            )
        return None

    def _check(self, tier: Tier, recipe: Recipe) -> None:
        """Every name and expression against the data."""
        with self._gathered((tier, "rows")):
            self.dataset.predicate(recipe)
        with self._gathered((tier, "mask")):
            released(recipe, self.table)
        for mask in recipe.masks:
            if mask.column not in recipe.properties:
                self._wrong((tier, "mask", mask.column), f"{mask.column} is masked but is not among the properties")
            if mask.column == self.dataset.id_field and mask.kind != "hash":
                self._wrong((tier, "mask", mask.column), f"{mask.column} is the id: only hash keeps ids apart")
        identified = not recipe.properties or self.dataset.id_field in recipe.properties
        if not identified:
            self._wrong(
                (tier, "properties"),
                f"{self.dataset.id_field} must be among the properties: it is the id of every feature",
            )
        if recipe.clip and self.table.geometry is None:
            self._wrong((tier, "clip"), f"{self.table.name} has no geometry")
        if recipe.geometry.changes and self.table.geometry is None:
            self._wrong((tier, "geometry"), f"{self.table.name} has no geometry")
        elif recipe.geometry.lengths or recipe.geometry.crs:
            with self._gathered((tier, "geometry")):
                generalise.metric_crs(recipe.geometry, self.dataset.storage_crs)
        if recipe.geometry.changes and not recipe.geometry.none:
            masked = {mask.column for mask in recipe.masks}
            for name in recipe.properties:
                column = self.table.column(name)
                if column and column.type in ("number", "integer") and name not in masked and name != self.dataset.id_field:
                    self._warn(
                        (tier, "properties"),
                        f"{name} is measured and leaves unrounded beside a coarsened geometry: a mask would round it",
                    )

    def _properties(self, tier: Tier, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self._wrong((tier, "properties"), "properties must be a list of names")
            return ()
        for place, name in enumerate(value):
            if self.table.column(name) is None:
                self._wrong((tier, "properties", place), f"{self.table.name} has no column {name}")
            elif value.index(name) != place:
                self._wrong((tier, "properties", place), f"{name} is named twice")
        return tuple(name for name in dict.fromkeys(value) if self.table.column(name))

    def _masks(self, tier: Tier, value: Any) -> tuple[Mask, ...]:
        if not isinstance(value, dict):
            self._wrong((tier, "mask"), "mask must be a mapping of properties")
            return ()
        with self._gathered((tier, "mask")):
            return masks.parse(value)
        return ()

    def _geometry(self, tier: Tier, value: Any) -> Generalisation:
        if value == "none":
            value = {"none": True}
        if value == "centroid":
            value = {"centroid": True}
        if not isinstance(value, dict):
            self._wrong((tier, "geometry"), "geometry must be a mapping of snap, simplify, centroid, none, crs")
            return Generalisation()
        made: dict[str, Any] = {}
        for key, item in value.items():
            if key in ("snap", "simplify"):
                if isinstance(item, bool) or not isinstance(item, int | float) or not 0 < item < 1e7:
                    self._wrong((tier, "geometry", key), f"{key} must be a length in metres above 0")
                else:
                    made[key] = float(item)
            elif key in ("centroid", "none"):
                if not isinstance(item, bool):
                    self._wrong((tier, "geometry", key), f"{key} must be true or false")
                else:
                    made[key] = item
            elif key == "crs" and isinstance(item, str):
                made[key] = item
            else:
                self._wrong((tier, "geometry", key), f"unknown key {key}; there are snap, simplify, centroid, none, crs")
        return Generalisation(**made)

    def _actions(self, tier: Tier, value: dict[str, Any]) -> tuple[str, ...]:
        actions = value.get("actions", ["read"])
        if not isinstance(actions, list) or not all(action in ACTIONS for action in actions):
            self._wrong((tier, "actions"), f"actions must be a list out of {', '.join(ACTIONS)}")
            return ()
        if tier != "internal" and set(actions) - {"read"}:
            self._wrong((tier, "actions"), "only internal may write")
        if actions and "read" not in actions:
            self._wrong((tier, "actions"), "who may write must be able to read: read is missing")
        return tuple(actions)

    def _under(self, tier: Tier, value: dict[str, Any]) -> str | None:
        under = value.get("under")
        if under is None:
            return None
        if not isinstance(under, dict) or len(under) != 1 or list(under.values()) != ["caller"]:
            self._wrong((tier, "under"), "under must name one column: {division: caller}")
            return None
        name = next(iter(under))
        column = self.table.column(name)
        if column is None or column.type != "string":
            self._wrong((tier, "under", name), f"{self.table.name} has no text column {name}")
            return None
        return str(name)

    def _items(self, tier: Tier, value: Any) -> int | None:
        if not isinstance(value, dict):
            self._wrong((tier, "limits"), "limits must be a mapping")
            return None
        for key in value:
            if key != "items":
                self._wrong((tier, "limits", key), f"unknown limit {key}; there is items")
        items = value.get("items")
        if items is not None and (isinstance(items, bool) or not isinstance(items, int) or items < 1):
            self._wrong((tier, "limits", "items"), "items must be a whole number above 0")
            return None
        return items

    def _text(self, path: Path, value: Any) -> str | None:
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self._wrong(path, f"{path[-1]} must be a text")
            return None
        return value

    def _choice(self, path: Path, value: Any, choices: Any) -> str:
        if value not in choices:
            self._wrong(path, f"{path[-1]} must be one of {', '.join(choices)}")
        return str(value)

    @contextmanager
    def _gathered(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (GrantError, ValueError) as err:
            self._wrong(path, str(err))

    def _wrong(self, path: Path, reason: str) -> None:
        self.problems.append(Problem(("access", *path), reason))

    def _warn(self, path: Path, reason: str) -> None:
        self.warnings.append(Problem(("access", *path), reason))


def check_agreement(block: Block, table: Table, id_field: str, rows: str | None, properties: tuple[str, ...] | None) -> None:
    """Raises GrantError where an agreement names a row or property beyond its block, or leaves the id out."""
    grant = Grant(block.recipe, only=properties)
    if properties and id_field not in properties:
        raise GrantError(f"{id_field} must be among the properties: it is the id of every feature")
    if rows is not None:
        columns: tuple[Column, ...] = released(block.recipe, table)
        try:
            filters.compile(
                filters.parse(rows),
                filters.Queryables(
                    columns=tuple(column for column in columns if column.name in grant.recipe.properties),
                    geometry="geometry" if table.geometry and not block.recipe.geometry.none else None,
                    geometry_sql="_geom",
                    rowid_sql="_rid",
                    rtree=None,
                    crs="OGC:CRS84",
                    envelope=None,
                ),
            )
        except filters.FilterError as err:
            raise GrantError(f"rows: {err}") from err
