"""Which reader a file made elsewhere needs: GeoPackage, GeoJSON, text, or whatever else GDAL knows."""

from __future__ import annotations

from pathlib import Path

from providers.foreign.delimited import DelimitedSource
from providers.foreign.geojson import GeoJSONSource, recognise
from providers.foreign.packages import PackageSource
from providers.foreign.source import Chunk, Source, SourceError

__all__ = ["Chunk", "Source", "SourceError", "open_source"]


def open_source(
    path: Path, *, layer: str | None = None, encoding: str | None = None, x: str | None = None, y: str | None = None
) -> Source:
    """Open a file for `loading.stage`.

    `layer` names one of several, `encoding` overrules what would be found, `x` and `y` name the columns of a text
    file's coordinates. Raises SourceError with what is wrong and what to do.
    """
    if not path.exists():
        raise SourceError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".txt"):
        return DelimitedSource(path, encoding, x, y)
    if x is not None or y is not None:
        raise SourceError("--x and --y are for text files (CSV): this one has geometries")
    if path.is_file() and recognise(path):
        return GeoJSONSource(path, encoding)
    if suffix == ".gpkg":
        return PackageSource(path, layer)
    from providers.foreign.vectors import VectorSource  # not above: whoever serves must not get fiona's GDAL

    return VectorSource(path, layer, encoding)
