"""In which encoding the text of a Shapefile is: what it declares, checked against every byte of its table."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

# Language driver ids of dBASE (byte 29 of a .dbf) that name one code page; 0x57 (ANSI) names none.
_DRIVERS = {
    0x01: "cp437",
    0x02: "cp850",
    0x03: "cp1252",
    0x13: "cp932",
    0x4D: "cp936",
    0x4E: "cp949",
    0x4F: "cp950",
    0x58: "cp1252",
    0x59: "cp1252",
    0x64: "cp852",
    0x65: "cp866",
    0x78: "cp950",
    0x79: "cp949",
    0x7A: "cp936",
    0x7B: "cp932",
    0x7C: "cp874",
    0xC8: "cp1250",
    0xC9: "cp1251",
    0xCA: "cp1254",
    0xCB: "cp1253",
}
_BLOCK = 1 << 20


def encoding(shapefile: Path) -> tuple[str, str | None]:
    """The encoding of a Shapefile's table, and what the report should say of it (None: as declared, or plain ASCII).

    The .cpg file is taken at its word if every text decodes; else UTF-8, the code page that the .dbf's language driver
    names, and GB 18030 are tried in this order. Falls back to ISO 8859-1, which decodes anything, and says so.
    """
    table = next((path for suffix in (".dbf", ".DBF") if (path := shapefile.with_suffix(suffix)).exists()), None)
    if table is None:
        return "utf-8", None
    said = _said(shapefile)
    fits = _fitting(table, [name for name in dict.fromkeys([said, "utf-8", _driver(table), "gb18030"]) if name])
    if fits is None:
        return "iso8859-1", "the texts fit no known encoding: read as ISO 8859-1; give another by --encoding"
    if fits == said or (said is None and fits == "utf-8"):
        return fits, None
    why = f"the .cpg file says {said}, which the texts are not" if said else "there is no .cpg file"
    return fits, f"{why}: the texts are read as {fits}"


def _said(shapefile: Path) -> str | None:
    for suffix in (".cpg", ".CPG"):
        if (path := shapefile.with_suffix(suffix)).exists():
            text = path.read_text("ascii", "ignore").strip().lower().removeprefix("ansi ").removeprefix("oem ")
            try:
                return codecs.lookup(f"cp{text}" if text.isdigit() else text).name
            except LookupError:
                return None
    return None


def _driver(table: Path) -> str | None:
    with table.open("rb") as file:
        return _DRIVERS.get(int.from_bytes(file.read(32)[29:30]))


def _fitting(table: Path, names: list[str]) -> str | None:
    """The first of the encodings in which all texts of the table decode."""
    return next((name for name in names if all(_decodes(text, name) for text in _texts(table))), None)


def _decodes(text: bytes, name: str) -> bool:
    try:
        # Not final: a field is so many bytes long, and may end within a character.
        codecs.getincrementaldecoder(name)().decode(text)
    except UnicodeDecodeError:
        return False
    return True


def _texts(table: Path) -> Iterator[bytes]:
    """Field names and values of character fields that are not plain ASCII."""
    with table.open("rb") as file:
        head = file.read(32)
        if len(head) < 32:
            return
        start, length = int.from_bytes(head[8:10], "little"), int.from_bytes(head[10:12], "little")
        fields = file.read(max(start - 32, 0))
        spans, offset = [], 1
        for place in range(0, len(fields) - 31, 32):
            field = fields[place : place + 32]
            if field[0] == 0x0D:
                break
            name = field[:11].split(b"\0")[0]
            if not name.isascii():
                yield name
            if field[11:12] == b"C":
                spans.append((offset, offset + field[16]))
            offset += field[16]
        if length == 0:
            return
        file.seek(start)
        while block := file.read(max(_BLOCK // length, 1) * length):
            if block.isascii():
                continue
            for row in range(0, len(block) - length + 1, length):
                for begin, end in spans:
                    text = block[row + begin : row + end].rstrip(b" \0")
                    if not text.isascii():
                        yield text
