"""How GeoJSON is read in bounded memory and every property as it stands: one feature at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from itertools import batched
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import pyproj
import shapely

from providers.foreign.source import CHUNK, Chunk, Source, SourceError, each, epsg

LINES = (".geojsonl", ".geojsons", ".geojsonseq", ".ndjson", ".jsonl")
_MARK = re.compile(rb'"type"\s*:\s*"Feature(Collection)?"')
_HEAD = 1 << 16


def recognise(path: Path) -> bool:
    """Whether a file is GeoJSON, by its name or (.json) its beginning."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        with path.open("rb") as file:
            return _MARK.search(file.read(_HEAD)) is not None
    return suffix == ".geojson" or suffix in LINES


class GeoJSONSource(Source):
    """A FeatureCollection, a Feature, or one Feature a line (RFC 7946, RFC 8142). The CRS is CRS84.

    An older file's `crs` member is honoured where it stands before the features. A feature's `id` is the property `id`,
    or `feature_id` where there is such a property already.
    """

    open_ended = True

    def __init__(self, path: Path, encoding: str | None) -> None:
        super().__init__()
        self.total = path.stat().st_size
        self._path = path
        self._lines = path.suffix.lower() in LINES
        self._file: BinaryIO = path.open("rb")
        self._text: Any = self._file
        if encoding and codecs.lookup(encoding).name != "utf-8":
            self._text = _Recoded(self._file, encoding)
        self._places: dict[str | None, int] = {}  # None is the feature's own id
        self._collection = not self._lines
        self.srs_id = 4326
        if not self._lines:
            self._inspect()

    def _inspect(self) -> None:
        """Read up to the features: is it a collection, and does it name a CRS?"""
        name = None
        self._collection = False
        try:
            for prefix, event, value in ijson.parse(self._restart(), use_float=True):
                if (prefix, event) == ("features", "start_array"):
                    self._collection = True
                    break
                if prefix == "crs.properties.name":
                    name = value
        except ijson.JSONError as err:
            raise SourceError(_trouble(self._path, err)) from err
        if name:
            try:
                self.srs_id = epsg(pyproj.CRS.from_user_input(name))
            except pyproj.exceptions.CRSError as err:
                raise SourceError(f"the file's CRS {name!r} is not known: give it by --crs EPSG:n") from err

    def _restart(self) -> Any:
        self._text.seek(0)
        if self._file.read(3) != codecs.BOM_UTF8:
            self._file.seek(0)
        return self._text

    @property
    def names(self) -> list[str]:
        own = "feature_id" if "id" in self._places else "id"
        return [own if name is None else name for name in self._places]

    def chunks(self) -> Iterator[Chunk]:
        first = 1
        try:
            for batch in batched(self._features(), CHUNK):
                faults: dict[int, str] = {}
                values = [self._values(feature, position, faults) for position, feature in enumerate(batch)]
                shapes = (None if i in faults else _text(feature["geometry"]) for i, feature in enumerate(batch))
                yield Chunk(first, each(shapely.from_geojson, shapes, faults), values, faults)
                first += len(batch)
        except (ijson.JSONError, UnicodeError) as err:
            raise SourceError(f"{_trouble(self._path, err)} (in or after row {first})") from err

    def _features(self) -> Iterator[Any]:
        text = self._restart()
        if self._lines:
            yield from (_line(line) for line in text if line.strip(b"\x1e \t\r\n"))
        elif self._collection:
            yield from ijson.items(text, "features.item", use_float=True)
        else:
            for root in ijson.items(text, "", use_float=True):
                alone = isinstance(root, dict) and root.get("type") != "Feature"
                yield {"type": "Feature", "properties": {}, "geometry": root} if alone else root

    def _values(self, feature: Any, position: int, faults: dict[int, str]) -> list[Any]:
        if not isinstance(feature, dict) or feature.get("type") != "Feature" or "geometry" not in feature:
            faults[position] = str(feature) if isinstance(feature, ValueError) else "not a GeoJSON Feature"
            return []
        properties = feature.get("properties")
        if properties is None:
            properties = {}
        if not isinstance(properties, dict):
            faults[position] = "the properties are no object"
            return []
        if feature.get("id") is not None:
            self._places.setdefault(None, len(self._places))
        for name in properties:
            if name not in self._places:
                self._places[name] = len(self._places)
        return [properties.get(name) if name is not None else feature.get("id") for name in self._places]

    def done(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


class _Recoded:
    """A file in another encoding, read as UTF-8. (A bare `EncodedFile` lets `readinto` through to the file itself.)"""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        inner = codecs.EncodedFile(file, "utf-8", encoding)
        self.read, self.seek, self.__iter = inner.read, inner.seek, inner.__iter__

    def __iter__(self) -> Iterator[bytes]:
        return self.__iter()


def _text(geometry: Any) -> str | None:
    return None if geometry is None else json.dumps(geometry)


def _line(line: bytes) -> Any:
    """The feature of a line, or the ValueError that says why it is none."""
    try:
        return json.loads(line.strip(b"\x1e \t\r\n"))
    except ValueError as err:
        return err


def _trouble(path: Path, err: Exception) -> str:
    said = " ".join(str(err).split())
    if "UTF8" in said or isinstance(err, UnicodeError):
        return f"the text of {path.name} is not in the encoding that was taken (UTF-8, unless --encoding gave another)"
    if "integer overflow" in said:
        return f"{path.name} has a whole number of more than 64 bits, which must be text: {said}"
    return f"{path.name} is not JSON that can be read: {said}"
