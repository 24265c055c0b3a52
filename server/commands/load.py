"""`tierra load`: a file made elsewhere becomes a collection, whole or not at all, and visible to nobody yet."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyproj
import yaml
from tqdm import tqdm

from providers import crs as systems
from providers.engines import layers
from server.config import IDENTIFIER, RESERVED
from server.settings import Settings

if TYPE_CHECKING:
    from providers.loading import Staged

_PROVIDER = "providers.features.FeatureProvider"
# Names of tables that SQLite, GeoPackage and its R-trees, and the table of revisions keep for themselves.
_TABLES = ("sqlite_", "gpkg_", "rtree_", "tierra_")
_HEAD = """\
# Nobody sees this collection, for it has no `access:`. Write one, then run `tierra check`.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a collection's rows go, and what its configuration, if it has one, says."""

    file: Path
    package: Path
    table: str
    config: dict[str, Any] | None

    @property
    def exists(self) -> bool:
        """Whether there is a configuration or a table of that collection."""
        return self.config is not None or self.has_table

    @property
    def has_table(self) -> bool:
        if not self.package.exists():
            return False
        with closing(layers.open_package(self.package)) as conn:
            return layers.has_layer(conn, self.table)

    @property
    def provider(self) -> dict[str, Any]:
        """The provider block of the configuration, empty without one."""
        return _provider(self.config or {})


@click.command("load")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--collection", required=True, metavar="ID", help="The collection's id.")
@click.option("--id", "id_column", metavar="COLUMN", help="What identifies a row. Default: a UUID is made for each.")
@click.option("--layer", metavar="NAME", help="One of several layers of the file.")
@click.option("--crs", metavar="EPSG:n", help="The file's CRS, where it does not say, or says it wrong.")
@click.option("--encoding", metavar="NAME", help="The text's encoding. Default: what the file says, or what fits.")
@click.option("--x", metavar="COLUMN", help="Column of a text file with eastings or longitudes.")
@click.option("--y", metavar="COLUMN", help="Column of a text file with northings or latitudes.")
@click.option("--replace", is_flag=True, help="Put the rows in the place of the collection's former ones.")
@click.option("--skip-bad", is_flag=True, help="Load the good rows where there are bad ones. Default: load nothing.")
@click.pass_obj
def load(
    settings: Settings,
    file: Path,
    collection: str,
    id_column: str | None,
    layer: str | None,
    crs: str | None,
    encoding: str | None,
    x: str | None,
    y: str | None,
    replace: bool,
    skip_bad: bool,
) -> None:
    """Load FILE (GeoPackage, Shapefile, GeoJSON, CSV, FlatGeobuf, ...) as a collection.

    Bad rows are listed with their numbers and reasons; if there are any, nothing is loaded and the exit code is 1. The
    collection's configuration is written without `access:`, so that nobody sees it yet; one that exists stays as it is.
    """
    # Reading files needs what a serving process must not import: the command line loads it only here.
    from providers import loading
    from providers.foreign import SourceError, open_source

    srs_id = _srs_id(crs) if crs else None
    try:
        target = _target(settings, collection)
        if target.exists and not replace:
            raise click.ClickException(f"there is a collection {collection} already: --replace puts new rows in its place")
        if id_column is None and target.config is not None:
            id_column = target.provider["id_field"]
        with closing(open_source(file, layer=layer, encoding=encoding, x=x, y=y)) as source:
            with _bar("reading", source.total) as bar:
                staged = loading.stage(source, id_column=id_column, srs_id=srs_id, advance=bar.update)
            with closing(staged):
                _report(staged)
                if staged.faults and not skip_bad:
                    raise click.ClickException(
                        f"{staged.faults} bad rows: nothing is loaded (--skip-bad loads the {staged.count} good ones)"
                    )
                title = file.stem.replace("_", " ")
                with _bar("writing", staged.count) as bar:
                    count = loading.write(target.package, staged, target.table, replace=replace, title=title, advance=bar.update)
    except (SourceError, loading.LoadError, layers.PackageError, sqlite3.Error, OSError) as err:
        raise click.ClickException(str(err)) from err
    click.echo(f"{count} rows in {target.package.name}, layer {target.table}")
    if target.config is None:
        _write_config(target.file, _resource(target, staged, file, title))
        click.echo(f"{target.file} has no access: yet, so nobody sees the collection")
    else:
        for line in _misfits(target.config, staged):
            click.echo(f"warning: {target.file.name}: {line}: see tierra check", err=True)


def _srs_id(name: str) -> int:
    """The EPSG code of a CRS by name, as a GeoPackage needs it; longitude and latitude of WGS 84 are 4326."""
    from providers.foreign.source import epsg

    full = f"EPSG:{name}" if name.isdecimal() else "OGC:CRS84" if name.upper() == "CRS84" else name
    try:
        return epsg(systems.parse(full))
    except (systems.CRSError, pyproj.exceptions.CRSError) as err:
        raise click.BadParameter(f"{name} is no CRS for maps: give it as EPSG:4547", param_hint="--crs") from err


def _target(settings: Settings, collection: str) -> Target:
    """Where the collection is or will be: as its configuration says, else in a GeoPackage of its own."""
    lower = collection.lower()
    if not IDENTIFIER.fullmatch(collection) or lower in RESERVED or lower.startswith(_TABLES):
        raise click.BadParameter(
            f"{collection} cannot be a collection's id: it begins with a letter, holds letters, digits, _ and -, and"
            f" is not reserved",
            param_hint="--collection",
        )
    file = settings.config / "collections" / f"{collection}.yml"
    if not file.exists():
        return Target(file, settings.data / f"{collection}.gpkg", collection, None)
    try:
        config = yaml.safe_load(file.read_text("utf-8"))
    except yaml.YAMLError as err:
        raise click.ClickException(f"{file} cannot be read: {err}") from err
    provider = _provider(config)
    if not all(isinstance(provider.get(member), str) for member in ("data", "table", "id_field")):
        raise click.ClickException(f"{file} has no feature provider with data, table and id_field: nothing to replace")
    return Target(file, settings.data / provider["data"], provider["table"], config)


def _provider(config: Any) -> dict[str, Any]:
    provided = config.get("providers") if isinstance(config, dict) else None
    found = provided if isinstance(provided, list) else []
    return next((item for item in found if isinstance(item, dict) and item.get("type") == "feature"), {})


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[Any]:
    with tqdm(total=total, desc=label, disable=None, unit_scale=True) as bar:
        yield bar


def _report(staged: Staged) -> None:
    for note in staged.notes:
        click.echo(f"note: {note}", err=True)
    for row, reason in staged.report():
        click.echo(f"row {row}: {reason}", err=True)


def _resource(target: Target, staged: Staged, source: Path, title: str) -> dict[str, Any]:
    """A collection's resource as pygeoapi knows it, without `access:`."""
    crs = systems.CRS84 if staged.srs_id == 4326 else systems.uri(f"EPSG:{staged.srs_id}")
    base = pyproj.CRS.from_epsg(staged.srs_id).geodetic_crs
    code = base.to_epsg() if base else None
    served = [systems.CRS84, crs, *([systems.uri(f"EPSG:{code}")] if code else [])]
    times = [column.name for column in staged.columns if column.format]
    provider: dict[str, Any] = {
        "type": "feature",
        "name": _PROVIDER,
        "data": target.package.name,
        "table": target.table,
        "id_field": staged.id_column,
    }
    if len(times) == 1:
        provider["time_field"] = times[0]
    provider |= {"storage_crs": crs, "crs": list(dict.fromkeys(served)), "sortables": [staged.id_column]}
    return {
        "type": "collection",
        "title": title,
        "description": f"Loaded from {source.name}.",
        "keywords": [target.table],
        "links": [],
        "providers": [provider],
    }


def _write_config(file: Path, resource: dict[str, Any]) -> None:
    """Write a configuration file in one step: a reader sees all of it or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.new")
    with temporary.open("w", encoding="utf-8") as out:
        out.write(_HEAD + yaml.safe_dump(resource, sort_keys=False, allow_unicode=True, width=120))
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)


def _misfits(config: dict[str, Any], staged: Staged) -> list[str]:
    """Where a configuration that stays does not fit the rows that it now describes."""
    provider = _provider(config)
    have = {column.name for column in staged.columns}
    named = [provider.get(name) for name in ("id_field", "time_field", "title_field")]
    named += provider.get("sortables") or []
    access = config.get("access")
    for block in (access if isinstance(access, dict) else {}).values():
        for member in ("properties", "mask", "under"):
            named += (block.get(member) if isinstance(block, dict) else None) or []
    missing = [str(name) for name in dict.fromkeys(named) if name is not None and name not in have]
    lines = [f"it names columns that are no more: {', '.join(missing)}"] if missing else []
    if provider.get("id_field") != staged.id_column:
        lines.append(f"its id_field is {provider.get('id_field')}, the unique column is {staged.id_column}")
    said = provider.get("storage_crs", systems.CRS84)
    if _srs_id(said) != staged.srs_id:
        lines.append(f"its storage_crs is {said}, the data are in EPSG:{staged.srs_id}")
    return lines


COMMANDS = (load,)
