"""Do CQL2 expressions select the rows that they say: literals to the last digit, names, patterns, types, parameters?"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import shapely
from pygeofilter import ast

from providers import filters
from providers.columns import Column, quote
from providers.engines.functions import register
from providers.filters import FilterError, Queryables, Where

GEOMETRY = "geometry"


@dataclass
class Table:
    """Rows in SQLite with what may be asked of them; the first row has id 1."""

    connection: sqlite3.Connection
    queryables: Queryables

    def ids(self, where: Where) -> list[int]:
        rows = self.connection.execute(f"SELECT rid FROM t WHERE {where.sql} ORDER BY rid", where.params)
        return [row[0] for row in rows]

    def values(self, where: Where) -> list[Any]:
        """What the condition is of each row: 1, 0 or None."""
        return [row[0] for row in self.connection.execute(f"SELECT {where.sql} FROM t ORDER BY rid", where.params)]

    def find(self, text: str, lang: str = "cql2-text", crs: str | None = None) -> list[int]:
        return self.ids(filters.compile(filters.parse(text, lang), self.queryables, crs))

    def plan(self, where: Where) -> str:
        sql = f"EXPLAIN QUERY PLAN SELECT rid FROM t WHERE {where.sql}"
        return " | ".join(row[3] for row in self.connection.execute(sql, where.params))


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Any]],
    shapes: Sequence[shapely.Geometry | None] | None = None,
    *,
    rtree: bool = True,
    envelope: bool = False,
    crs: str = "OGC:CRS84",
    indexed: bool = False,
) -> Table:
    connection = sqlite3.connect(":memory:")
    register(connection)
    declared = "".join(f", {quote(c.name)} {c.sql_type}" for c in columns)
    connection.execute(
        f"CREATE TABLE t (rid INTEGER PRIMARY KEY, minx REAL, miny REAL, maxx REAL, maxy REAL, geom BLOB{declared})"
    )
    connection.execute("CREATE VIRTUAL TABLE r USING rtree(id, minx, maxx, miny, maxy)")
    for number, row in enumerate(rows, 1):
        shape = shapes[number - 1] if shapes is not None else None
        here = shape is not None and not shape.is_empty
        bounds = shape.bounds if shape is not None and here else (None,) * 4
        blob = None if shape is None else shapely.to_wkb(shape)
        marks = ", ".join("?" * (6 + len(columns)))
        connection.execute(f"INSERT INTO t VALUES ({marks})", (number, *bounds, blob, *row))
        if here:
            west, south, east, north = bounds
            connection.execute("INSERT INTO r VALUES (?, ?, ?, ?, ?)", (number, west, east, south, north))
    if indexed:
        for number, column in enumerate(columns):
            connection.execute(f"CREATE INDEX i{number} ON t ({quote(column.name)})")
    connection.commit()
    queryables = Queryables(
        columns=tuple(columns),
        geometry=GEOMETRY if shapes is not None else None,
        geometry_sql="geom",
        rowid_sql="rid",
        rtree="r" if rtree and shapes is not None else None,
        crs=crs,
        envelope=("minx", "miny", "maxx", "maxy") if envelope else None,
    )
    return Table(connection, queryables)


# --- literals ---

IDS = (123456789012345678, 123456789012345679, 9007199254740993, -9223372036854775808, 9223372036854775807, None)


@pytest.fixture(scope="module")
def numbers() -> Table:
    return table([Column("id", "integer"), Column("x", "number")], [(i, 0.1) for i in IDS], indexed=True)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("id = 123456789012345678", [1]),
        ("123456789012345679 = id", [2]),
        ("id <> 123456789012345678", [2, 3, 4, 5]),
        ("id > 123456789012345678", [2, 5]),
        ("id >= 123456789012345679", [2, 5]),
        ("id IN (123456789012345679, 9007199254740993)", [2, 3]),
        ("id BETWEEN 123456789012345679 AND 123456789012345680", [2]),
        ("id = 9007199254740992", []),
        ("id = 123456789012345677 + 1", [1]),
        ("id = 123456789012345679 - 1", [1]),
        ("id = (123456789012345678)", [1]),
        ("id = -9223372036854775808", [4]),
        ("id = 9223372036854775807", [5]),
        ("id < 9223372036854775808", [1, 2, 3, 4, 5]),
        ("id = 9223372036854775808", []),
        ("id < 1234567890123456789012345678901234567890", [1, 2, 3, 4, 5]),
        ("id div 2 = 61728394506172839", [1, 2]),
        ("id % 10 = 8 AND id > 0", [1]),
        ("x = .1", [1, 2, 3, 4, 5, 6]),
        ("x = 1E-1", [1, 2, 3, 4, 5, 6]),
        ("x = 0.10000000000000001", [1, 2, 3, 4, 5, 6]),
        ("x = 0.1000000000000001", []),
        ("-x = -0.1 AND id = 123456789012345678", [1]),
    ],
)
def test_numbers_keep_every_digit(numbers: Table, text: str, rows: list[int]) -> None:
    assert numbers.find(text) == rows


@pytest.mark.parametrize("number", IDS[:5])
def test_numbers_keep_every_digit_in_json_and_in_parameters(numbers: Table, number: int) -> None:
    said = json.dumps({"op": "=", "args": [{"property": "id"}, number]})
    assert numbers.find(said, "cql2-json") == [IDS.index(number) + 1]
    assert numbers.ids(filters.property_equals("id", str(number), numbers.queryables)) == [IDS.index(number) + 1]


def test_undefined_arithmetic_is_null(numbers: Table) -> None:
    for undefined in ("1 / 0", "1 div 0", "1 % 0", "(0 - 8) ^ 0.5", "0 ^ -1", "id / (id - id)"):
        assert numbers.find(f"id > {undefined}") == []
        assert numbers.find(f"NOT id > {undefined}") == []
        assert numbers.find(f"({undefined}) IS NULL") == [1, 2, 3, 4, 5, 6]


STRINGS = (
    "it's",
    "a\nb",
    'say "x"',
    "back\\slash",
    "\a\b\t\v\f\r",
    "100%",
    "a_b",
    "[x]*?",
    "滑坡",
    "Ünïcode",
    "",
    "' OR 1=1 --",
)


@pytest.fixture(scope="module")
def strings() -> Table:
    return table([Column("s", "string")], [(s,) for s in STRINGS], indexed=True)


def quoted(text: str) -> str:
    """A string as CQL2 text, by requirement /req/cql2-text/escaping."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@pytest.mark.parametrize("text", STRINGS)
def test_strings_mean_themselves(strings: Table, text: str) -> None:
    row = [STRINGS.index(text) + 1]
    assert strings.find(f"s = {quoted(text)}") == row
    assert strings.find(f"{quoted(text)}=s") == row
    assert strings.find(f"s IN ('no',{quoted(text)})") == row
    assert strings.find(json.dumps({"op": "=", "args": [{"property": "s"}, text]}), "cql2-json") == row
    assert strings.ids(filters.property_equals("s", text, strings.queryables)) == row


@pytest.mark.parametrize(
    ("written", "meant"),
    [(r"'it\'s'", "it's"), (r"'\a\b\t\v\f\r'", "\a\b\t\v\f\r"), (r"'a\nb'", "a\nb"), (r"'back\\slash'", "back\\slash")],
)
def test_escapes_of_cql2_text(strings: Table, written: str, meant: str) -> None:
    assert strings.find(f"s = {written}") == [STRINGS.index(meant) + 1]


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        ("%", list(range(1, 13))),
        ("_%", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]),
        ("a_b", [2, 7]),
        (r"a\_b", [7]),
        (r"100\%", [6]),
        ("100%", [6]),
        ("[x]%", [8]),
        ("%*?", [8]),
        ("__", [9]),
        ("滑_", [9]),
        ("ü%", []),
        ("Ü%", [10]),
        (r"back\\\\slash", [4]),
        ("A%", []),
    ],
)
def test_like(strings: Table, pattern: str, rows: list[int]) -> None:
    assert strings.find(f"s LIKE '{pattern}'") == rows
    assert strings.find(f"s NOT LIKE '{pattern}'") == [n for n in range(1, 13) if n not in rows]


def test_like_looks_in_an_index(strings: Table) -> None:
    where = filters.compile(filters.parse("s LIKE 'Ünï%'"), strings.queryables)
    assert "SEARCH t USING COVERING INDEX i0 (s>? AND s<?)" in strings.plan(where)


def test_case_and_accents() -> None:
    names = ["Straße", "STRASSE", "Chișinău", "chisinau", "が", "か", "papá", None]
    made = table([Column("n", "string")], [(n,) for n in names])
    assert made.find("CASEI(n) = CASEI('strasse')") == [1, 2]
    assert made.find("ACCENTI(CASEI(n)) = accenti(casei('CHISINAU'))") == [3, 4]
    assert made.find("ACCENTI(n) = ACCENTI('papa')") == [7]
    assert made.find("ACCENTI(n) = ACCENTI('か')") == [6]  # the mark makes another letter of it
    assert made.find("CASEI(n) LIKE CASEI('STRA%')") == [1, 2]
    assert made.find("CASEI(n) IS NULL") == [8]
    # the same letters, composed and not
    assert made.find("CASEI(n) = CASEI('PAPA\u0301')") == [7]


# --- names ---

NAMES = ("a", "名称", "地块 编号", 'with "quotes"', "order", "notes", "and", "division", "date", "x:y.z", "e\u0301t", "_", "true")


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    made = table([Column(name, "integer"), Column("other", "integer")], [(1, 2), (2, 1)])
    said = '"' + name.replace('"', '""') + '"'
    for text in (f"{said} = 1", f"NOT {said} <> 1", f"1={said}AND(other=2)"):
        assert made.find(text) == [1]
    if name.replace(":", "").replace(".", "").replace("\u0301", "").isidentifier() and name not in ("and", "true"):
        assert made.find(f"{name}=1") == made.find(f"NOT {name}<>1 AND {name} IS NOT NULL") == [1]


@pytest.mark.parametrize("text", ["owner = 'x'", "A = 1", "rid = 1", "_geom IS NULL", "t.a = 1", "a = owner", "geometry IS NULL"])
def test_only_what_may_be_named_exists(text: str) -> None:
    made = table([Column("a", "integer")], [(1,)])
    with pytest.raises(FilterError, match=r"unknown property .* expected one of a"):
        made.find(text)


def test_columns_that_a_condition_reads() -> None:
    made = table([Column("a", "integer"), Column("b", "string"), Column("c", "string", "date")], [], shapes=[])
    where = filters.compile(filters.parse("a = 1 OR NOT (b LIKE 'x') AND S_INTERSECTS(geom, POINT(1 2))"), made.queryables)
    assert where.columns == {"a", "b", "geometry"}
    assert filters.property_equals("c", "2026-01-31", made.queryables).columns == {"c"}


# --- types ---


@pytest.fixture(scope="module")
def typed() -> Table:
    columns = [
        Column("i", "integer"),
        Column("x", "number"),
        Column("s", "string"),
        Column("f", "boolean"),
        Column("d", "string", "date"),
        Column("t", "string", "date-time"),
    ]
    rows = [(1, 1.5, "1", 1, "2026-01-31", "2026-01-31T12:00:00Z"), (0, 0.5, "true", 0, None, None), (None,) * 6]
    return table(columns, rows, shapes=[shapely.Point(1, 1), None, None])


@pytest.mark.parametrize(
    "text",
    [
        "s = 1",
        "i = '1'",
        "x > 'a'",
        "f = 1",
        "f = 'true'",
        "s = true",
        "d = '2026-01-31'",
        "t > '2026-01-31T00:00:00Z'",
        "d = 20260131",
        "s < DATE('2026-01-31')",
        "s + 1 = 2",
        "i + s = 2",
        "d + 1 = d",
        "f * 2 = 2",
        "i LIKE '1'",
        "d LIKE '2026%'",
        "CASEI(i) = '1'",
        "i IN (1, 'a')",
        "i BETWEEN 'a' AND 'b'",
        "s BETWEEN 1 AND 2",
        "i",
        "s",
        "i AND f",
        "NOT s",
        "f OR 1",
        "1",
        "'x'",
        "geometry = POINT(1 1)",
        "geometry",
        "S_INTERSECTS(i, POINT(1 1))",
        "S_INTERSECTS(geometry, 'x')",
        "T_AFTER(s, DATE('2026-01-31'))",
        "T_DURING(d, INTERVAL('2026-01-01','2026-12-31'))",
        "INTERVAL(s, d) = d",
        "T_AFTER(INTERVAL(s, d), d)",
        "(i = 1) > 5",
    ],
)
def test_types_that_do_not_fit_are_refused(typed: Table, text: str) -> None:
    with pytest.raises(FilterError):
        typed.find(text)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("f", [1]),
        ("NOT f", [2]),
        ("f = true", [1]),
        ("f = FALSE", [2]),
        ("f <> true", [2]),
        ("f AND NOT (i = 0)", [1]),
        ("f IS NULL", [3]),
        ("f IN (false)", [2]),
        ("true", [1, 2, 3]),
        ("false", []),
        ("true AND f", [1]),
        ("(i IS NULL) = true", [3]),
        ("f = (i = 1)", [1, 2]),
        ("i = 1.0", [1]),
        ("x > 1", [1]),
        ("i < x", [1, 2]),
        ("geometry IS NULL", [2, 3]),
        ("geom IS NOT NULL", [1]),
        ("i / 2 = 0.5", [1]),
        ("'a' = 'a' AND i = 1", [1]),
    ],
)
def test_types_that_fit(typed: Table, text: str, rows: list[int]) -> None:
    assert typed.find(text) == rows


@pytest.mark.parametrize(
    "text", ["i = NULL", "NULL = i", "i <> NULL", "i IN (1, NULL)", "i BETWEEN NULL AND 2", "NULL IS NULL", "NULL"]
)
def test_null_is_no_value(typed: Table, text: str) -> None:
    with pytest.raises(FilterError, match="IS NULL"):
        typed.find(text)


# --- query parameters ---


@pytest.mark.parametrize(
    ("name", "value", "rows"),
    [
        ("i", "1", [1]),
        ("i", "+1", [1]),
        ("x", "1.5", [1]),
        ("x", "15e-1", [1]),
        ("s", "1", [1]),
        ("s", "true", [2]),
        ("f", "true", [1]),
        ("f", "false", [2]),
        ("d", "2026-01-31", [1]),
        ("d", "2026-02-01", []),
        ("t", "2026-01-31T12:00:00Z", [1]),
        ("t", "2026-01-31T20:00:00.000+08:00", [1]),
        ("t", "2026-01-31", [1]),
        ("t", "2026-01-30", []),
    ],
)
def test_property_parameter(typed: Table, name: str, value: str, rows: list[int]) -> None:
    assert typed.ids(filters.property_equals(name, value, typed.queryables)) == rows


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("i", "1.0"),
        ("i", "x"),
        ("i", ""),
        ("i", "１"),
        ("x", "nan"),
        ("x", "inf"),
        ("x", "1e999"),
        ("f", "1"),
        ("f", "True"),
        ("d", "2026-02-30"),
        ("d", "31.1.2026"),
        ("t", "2026-01-31T12:00:00"),
        ("t", ""),
        ("s", "\0"),
        ("owner", "x"),
        ("geometry", "x"),
    ],
)
def test_property_parameter_that_cannot_be_read(typed: Table, name: str, value: str) -> None:
    with pytest.raises(FilterError):
        filters.property_equals(name, value, typed.queryables)


# --- what else is given to compile ---


def test_tree_of_another_parser(typed: Table) -> None:
    tree = ast.And(ast.Equal(ast.Attribute("i"), 1), ast.Like(ast.Attribute("s"), "1%", False, "%", "_", "\\", False))
    assert typed.ids(filters.compile(tree, typed.queryables)) == [1]
    with pytest.raises(FilterError, match="not supported"):
        filters.compile(ast.Exists(ast.Attribute("i"), False), typed.queryables)


def test_parsed_expression_is_kept() -> None:
    assert filters.parse("a = 1") is filters.parse("a = 1")
    assert filters.parse("a = 1") != filters.parse("a = 2")
    with pytest.raises(FilterError, match="expected one of cql2-text, cql2-json"):
        filters.parse("a = 1", "ecql")
