"""config/ becomes a pygeoapi configuration whose every `access:` block has been checked against the data."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from providers import crs, editions
from providers.dataset import Dataset
from providers.engines.geopackage import Table, TableError
from providers.grant import GrantError, Recipe, Tier
from server import access, maskkey, schema
from server.access import Block
from server.settings import Settings

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
RESERVED = {"dummycollection"}  # OGC's test suite asks for dUmmYColLection to see a 404
_REQUIRED = ("title", "description", "keywords")


class ConfigError(Exception):
    """The configuration is wrong; each line names file, line and reason."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Collection:
    """One dataset: its pygeoapi resource without `access:`, the definition of its source, and what each tier may have."""

    id: str
    file: Path
    resource: dict[str, Any]
    definition: dict[str, Any]
    dataset: Dataset
    table: Table
    source: tuple[str, ...]
    blocks: dict[Tier, Block]

    def edition_definition(self, config: Config, recipe: Recipe) -> dict[str, Any]:
        """The provider definition of an edition: it names the edition's file, and nothing in it leads to the source."""
        made: dict[str, Any] = {
            "type": "feature",
            "name": self.definition["name"],
            "data": str(editions.file_of(config.settings.editions, recipe)),
            "id_field": self.dataset.id_field,
            "storage_crs": crs.CRS84,
            "crs": list(self.dataset.crs),
            "sortables": [name for name in self.dataset.sortables if name in recipe.properties],
            "fields": {n: f for n, f in self.definition.get("fields", {}).items() if n in recipe.properties},
        }
        for name in ("time_field", "title_field"):
            if self.definition.get(name) in recipe.properties:
                made[name] = self.definition[name]
        return made | config.build_definition(recipe)

    def live_definition(self, recipe: Recipe) -> dict[str, Any]:
        """The provider definition of the source, for the internal edition."""
        made = dict(self.definition)
        made["crs"] = list(self.dataset.crs)
        made["storage_crs"] = self.dataset.storage_crs
        made["sortables"] = [name for name in self.dataset.sortables if name in recipe.properties]
        made["fields"] = {n: f for n, f in self.definition.get("fields", {}).items() if n in recipe.properties}
        for name in ("time_field", "title_field"):
            if made.get(name) not in recipe.properties:
                made.pop(name, None)
        return made


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration. `base` holds pygeoapi's server, metadata and logging sections; `revision` a hash of all files."""

    settings: Settings
    base: dict[str, Any]
    collections: dict[str, Collection]
    warnings: tuple[str, ...]
    revision: str
    mask_key: str

    def block(self, collection: str, tier: Tier) -> Block:
        """One tier's block of a collection. Raises ConfigError where there is none."""
        found = self.collections.get(collection)
        if found is None:
            raise ConfigError(f"there is no collection {collection}")
        if tier not in found.blocks:
            raise ConfigError(f"{found.file}: collection {collection} has no {tier} block")
        return found.blocks[tier]

    def recipe(self, collection: str, tier: Tier) -> Recipe:
        """One tier's recipe of a collection. Raises ConfigError where there is none."""
        return self.block(collection, tier).recipe

    def build_definition(self, recipe: Recipe) -> dict[str, Any]:
        """What decides, beside the recipe, whether an edition is stale: the mask key's id and the clip collection."""
        made: dict[str, Any] = {"mask_key": self.mask_key}
        if recipe.clip:
            made["clip"] = self.collections[recipe.clip].definition
        return made


def load(settings: Settings) -> Config:
    """Read and check config/. Raises ConfigError with one line per problem: file, line, reason."""
    files = sources(settings)
    problems: list[str] = []
    texts: dict[Path, bytes] = {}
    for file in files:
        try:
            texts[file] = file.read_bytes()
        except OSError as err:
            problems.append(f"{file}:1: it cannot be read: {err.strerror}")
    if problems:
        raise ConfigError(*problems)
    warnings: list[str] = []
    base = _yaml(files[0], texts[files[0]], problems)
    collections: dict[str, Collection] = {}
    for file in files[1:]:
        if found := _collection(file, texts[file], settings, problems, warnings):
            collections[found.id] = found
    for collection in collections.values():
        for tier, block in list(collection.blocks.items()):
            clip = block.recipe.clip
            if clip is None:
                continue
            line = _line(texts[collection.file], ("access", tier, "clip"))
            if clip not in collections:
                problems.append(f"{collection.file}:{line}: clip: there is no collection {clip}")
            elif "POLYGON" not in collections[clip].table.geometry_type:
                problems.append(f"{collection.file}:{line}: clip: {clip} is no collection of areas")
            else:
                whole = (*block.recipe.source, *collections[clip].source)
                collection.blocks[tier] = replace(block, recipe=replace(block.recipe, source=whole))
    if base is not None:
        problems += [f"{files[0]}:{_line(texts[files[0]], p.path)}: {p.reason}" for p in schema.problems(base)]
    if problems:
        raise ConfigError(*problems)
    digest = hashlib.sha256(b"\0".join(str(file).encode() + b"\0" + text for file, text in texts.items()))
    digest.update(settings.url.encode())
    return Config(
        settings=settings,
        base={**base, "server": {**base["server"], "url": settings.url}, "resources": {}},
        collections=collections,
        warnings=tuple(warnings),
        revision=digest.hexdigest()[:16],
        mask_key=maskkey.identifier(settings),
    )


def sources(settings: Settings) -> list[Path]:
    """The files of a configuration, tierra.yml first. Raises ConfigError where that is missing."""
    main = settings.config / "tierra.yml"
    if not main.is_file():
        raise ConfigError(f"{main}:1: the file is missing")
    return [main, *sorted((settings.config / "collections").glob("*.yml"))]


def check_agreement(config: Config, collection: str, rows: str | None, properties: tuple[str, ...] | None) -> None:
    """Raises ConfigError where an agreement names a row or property beyond its block, or where none is asked for."""
    block = config.block(collection, "shared")
    if not block.conditional:
        raise ConfigError(f"{collection}: its shared block is not conditional, so it needs no agreement")
    try:
        found = config.collections[collection]
        access.check_agreement(block, found.table, found.dataset.id_field, rows, properties)
    except GrantError as err:
        raise ConfigError(f"{collection}: {err}") from err


def source_of(provided: dict[str, Any], dataset: Dataset) -> tuple[str, ...]:
    """Which data a provider definition names: the file as it is written, so that it is the same wherever it lies."""
    return (str(provided["data"]), dataset.table, dataset.id_field, dataset.storage_crs)


def _collection(file: Path, text: bytes, settings: Settings, problems: list[str], warnings: list[str]) -> Collection | None:
    before = len(problems)
    value = _yaml(file, text, problems)
    identifier = file.stem

    def wrong(path: access.Path, reason: str) -> None:
        problems.append(f"{file}:{_line(text, path)}: {reason}")

    if value is None:
        return None
    if not IDENTIFIER.fullmatch(identifier) or identifier.lower() in RESERVED:
        wrong((), f"{identifier} cannot be a collection's id: it must begin with a letter and hold letters, digits, _ and -")
    if value.get("type") != "collection":
        wrong(("type",), "type must be collection")
    for name in _REQUIRED:
        if name not in value:
            wrong((), f"{name} is missing")
    value.setdefault("links", [])
    for problem in schema.resource_problems({key: item for key, item in value.items() if key != "access"}):
        wrong(problem.path, problem.reason)
    provided = value.get("providers")
    if not isinstance(provided, list) or len(provided) != 1 or not isinstance(provided[0], dict):
        wrong(("providers",), "providers must be a list of one feature provider")
        return None
    definition = dict(provided[0])
    at: access.Path = ("providers", 0)
    fields = definition.get("fields", {})
    if not isinstance(fields, dict) or not all(isinstance(said, dict) for said in fields.values()):
        wrong((*at, "fields"), "fields must be a mapping of properties, each with a title, description or unit")
    for member in ("sortables", "crs"):
        listed = definition.get(member, [])
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            wrong((*at, member), f"{member} must be a list of texts")
    if len(problems) > before:
        return None
    if definition.get("type") != "feature" or definition.get("name") != "providers.features.FeatureProvider":
        wrong(at, "the provider must be of type feature and have the name providers.features.FeatureProvider")
        return None
    if isinstance(definition.get("data"), str):
        definition["data"] = str(settings.data / definition["data"])
    try:
        dataset = Dataset.from_definition(definition)
        table = dataset.describe()
    except (TableError, ValueError) as err:
        wrong(at, str(err))
        return None
    epsg = 4326 if dataset.storage_crs == crs.CRS84 else crs.parse(dataset.storage_crs).to_epsg()
    if table.geometry and table.srs_id > 0 and epsg and epsg != table.srs_id:
        line = _line(text, (*at, "storage_crs"))
        warnings.append(f"{file}:{line}: storage_crs is EPSG:{epsg}, but {dataset.table} says EPSG:{table.srs_id}")
    for name in ("time_field", "title_field"):
        column = definition.get(name)
        if column is not None and table.column(column) is None:
            wrong((*at, name), f"{name}: {dataset.table} has no column {column}")
    for name in dataset.sortables:
        if table.column(name) is None:
            wrong((*at, "sortables"), f"sortables: {dataset.table} has no column {name}")
    for column in table.columns:
        if column.name.startswith("_") or column.name.lower() == "geometry":
            wrong(at, f"{dataset.table}: a column cannot be called {column.name}: the name has another meaning")
    blocks: dict[Tier, Block] = {}
    if "access" in value:
        reader = access.Reader(identifier, dataset, table, source_of(provided[0], dataset))
        blocks = reader.blocks(value["access"])
        for problem in reader.problems:
            wrong(problem.path, problem.reason)
        warnings += [f"{file}:{_line(text, w.path)}: {w.reason}" for w in reader.warnings]
    if blocks and dataset.id_field not in table.unique:
        warnings.append(f"{file}:{_line(text, at)}: {dataset.id_field} has no unique index in {dataset.table}")
    if len(problems) > before:
        return None
    resource = {key: item for key, item in value.items() if key not in ("access", "providers")}
    source = source_of(provided[0], dataset)
    return Collection(identifier, file, resource, definition, dataset, table, source, blocks)


def _yaml(file: Path, text: bytes, problems: list[str]) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problems.append(f"{file}:{line}: {getattr(err, 'problem', None) or 'not YAML'}")
        return None
    if not isinstance(value, dict):
        problems.append(f"{file}:1: the file must be a mapping")
        return None
    return value


class _Loader(yaml.SafeLoader):
    """YAML in which no key is named twice: of two blocks a reader might take the one that does not count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} is named twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_date(self, node: yaml.ScalarNode) -> Any:
        """A date or a time; one that the calendar does not have is an error with its line."""
        try:
            return self.construct_yaml_timestamp(node)
        except ValueError as err:
            raise yaml.MarkedYAMLError(problem=f"{node.value}: {err}", problem_mark=node.start_mark) from err


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_date)


def _line(text: bytes, path: access.Path) -> int:
    """The line of the deepest key of `path` that the file has."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
