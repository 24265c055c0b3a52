"""How a table in text (CSV) is read: its encoding and delimiter, and which columns hold the coordinates."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from providers.foreign.source import CHUNK, Chunk, Source, SourceError, each

_PAIRS = (
    ("lon", "lat"),
    ("lng", "lat"),
    ("long", "lat"),
    ("longitude", "latitude"),
    ("经度", "纬度"),
    ("x", "y"),
    ("easting", "northing"),
)
_WKT = ("wkt", "geometry_wkt", "geom_wkt")
_BLOCK = 1 << 20


class DelimitedSource(Source):
    """A text file with a header line, one row a record, and a point's coordinates (or WKT) in its columns.

    The columns that make the geometry are no properties: the coordinates stand in one place only.
    """

    textual = True

    def __init__(self, path: Path, encoding: str | None, x: str | None, y: str | None) -> None:
        super().__init__()
        self.total = path.stat().st_size
        self.encoding = encoding or detect(path)
        csv.field_size_limit(2**31 - 1)
        try:
            self._file = path.open("rb")
            text = io.TextIOWrapper(self._file, self.encoding, newline="")
            head = text.readline()
            text.seek(0)
            self._rows = csv.reader(text, delimiter=max(",;\t|", key=head.count))
            header = [name.strip() for name in next(self._rows, [])]
        except (UnicodeError, LookupError, csv.Error) as err:
            raise SourceError(f"{path.name} cannot be read as {self.encoding}: {err}") from err
        if not any(header):
            raise SourceError(f"{path.name} has no header line")
        if encoding is None and self.encoding != "utf-8-sig":
            self.notes.append(f"the text is no UTF-8: read as {self.encoding}")
        self._width = len(header)
        self._places = _places(header, x, y)
        self._kept = [i for i in range(len(header)) if i not in self._places]
        self._names = [header[i] for i in self._kept]
        self.notes.append(f"the geometry is made of {' and '.join(header[i] for i in self._places)}")

    @property
    def names(self) -> list[str]:
        return self._names

    def chunks(self) -> Iterator[Chunk]:
        first = 1
        try:
            for batch in batched((row for row in self._rows if row), CHUNK):
                faults: dict[int, str] = {}
                for position, row in enumerate(batch):
                    if len(row) != self._width:
                        faults[position] = f"{len(row)} fields, where the header has {self._width}"
                        row.extend([""] * (self._width - len(row)))
                values = [[row[i].strip() or None for i in self._kept] for row in batch]
                yield Chunk(first, self._geometries(batch, faults), values, faults)
                first += len(batch)
        except (UnicodeError, csv.Error) as err:
            raise SourceError(f"the file breaks off in or after row {first}: {err}") from err

    def _geometries(self, rows: tuple[list[str], ...], faults: dict[int, str]) -> NDArray[np.object_]:
        if len(self._places) == 1:
            return each(shapely.from_wkt, (row[self._places[0]].strip() or None for row in rows), faults)
        coordinates = np.full((len(rows), 2), np.nan)
        for position, row in enumerate(rows):
            texts = [row[i].strip() for i in self._places]
            try:
                if any(texts):
                    coordinates[position] = [_coordinate(text) for text in texts]
            except ValueError:
                faults.setdefault(position, f"geometry: {texts[0]!r}, {texts[1]!r} are no coordinates")
        found = np.asarray(shapely.points(coordinates), dtype=object)
        found[np.isnan(coordinates).any(axis=1)] = None
        return found

    def done(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def detect(path: Path) -> str:
    """The encoding of a text file: what its mark says, else UTF-8, else GB 18030 (which holds GBK and GB 2312).

    Raises SourceError when it is none of them from beginning to end.
    """
    with path.open("rb") as file:
        mark = file.read(2)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    for encoding in ("utf-8-sig", "gb18030"):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    decoder.decode(block)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return encoding
    raise SourceError(f"{path.name} is neither UTF-8 nor GB 18030: give its encoding by --encoding")


def _places(header: list[str], x: str | None, y: str | None) -> list[int]:
    """Where the coordinates stand (x, y), or the WKT. Raises SourceError when they cannot be told."""
    if (x is None) != (y is None):
        raise SourceError("--x and --y go together")
    if x is not None and y is not None:
        missing = [name for name in (x, y) if name not in header]
        if missing:
            raise SourceError(f"there is no column {' nor '.join(missing)}; there are: {', '.join(header)}")
        return [header.index(x), header.index(y)]
    folded = [name.casefold() for name in header]
    pairs = [pair for pair in _PAIRS if pair[0] in folded and pair[1] in folded]
    if len(pairs) == 1:
        return [folded.index(pairs[0][0]), folded.index(pairs[0][1])]
    if pairs:
        found = ", ".join("/".join(pair) for pair in pairs)
        raise SourceError(f"several columns may hold the coordinates ({found}): choose by --x and --y")
    written = [i for i, name in enumerate(folded) if name in _WKT]
    if len(written) == 1:
        return written
    raise SourceError(f"which columns hold the coordinates? Give --x and --y; there are: {', '.join(header)}")


def _coordinate(text: str) -> float:
    value: Any = float(text)
    if not np.isfinite(value):
        raise ValueError(text)
    return float(value)
