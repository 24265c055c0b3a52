"""Does a column of a foreign file get the type that its values have, and does every value come out as it went in?"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.columns import Column
from providers.foreign.values import reader, utc


def through(values: list[Any], column: Column | None = None, textual: bool = False) -> tuple[Column, list[Any]]:
    """Type and stored values of a column."""
    made = reader(column, textual)
    taken = [made.take(row, value) for row, value in enumerate(values, 1)]
    store = made.store()
    return made.column("c"), [store(value) for value in taken] if store else taken


@pytest.mark.parametrize(
    "texts,type_,stored",
    [
        (["1", "-20", "0"], "integer", [1, -20, 0]),
        (["1", "2.50", "-1.5e-7"], "number", [1.0, 2.5, -1.5e-7]),
        (["0101", "0102"], "string", ["0101", "0102"]),  # division codes keep their nought
        (["510104199001011234", "510104199001011235"], "string", ["510104199001011234", "510104199001011235"]),
        (["12E5", "51"], "string", ["12E5", "51"]),
        (["true", "FALSE"], "boolean", [True, False]),
        (["true", "1"], "string", ["true", "1"]),
        (["1", "n/a"], "string", ["1", "n/a"]),
        (["1.50", "n/a"], "string", ["1.50", "n/a"]),
        (["1e999", "1.0"], "string", ["1e999", "1.0"]),
        (["１２", "13"], "string", ["１２", "13"]),
        (["nan", "inf"], "string", ["nan", "inf"]),
    ],
)
def test_text_tells_its_type(texts: list[str], type_: str, stored: list[Any]) -> None:
    column, found = through(texts, textual=True)
    assert (column.type, column.format) == (type_, None)
    assert [(type(v), v) for v in found] == [(type(v), v) for v in stored]


@pytest.mark.parametrize(
    "texts,format_,stored",
    [
        (["2024-02-29", "1949-10-01"], "date", ["2024-02-29", "1949-10-01"]),
        (["2024/2/9", "2024/02/29"], "date", ["2024-02-09", "2024-02-29"]),
        (["2023-02-29", "2024-02-29"], None, ["2023-02-29", "2024-02-29"]),  # no such day: text
        (["2024/2/9", "soon"], None, ["2024/2/9", "soon"]),
        (["2024-01-02T03:04:05+08:00"], "date-time", ["2024-01-01T19:04:05.000Z"]),
        (["2024-01-02 03:04"], "date-time", ["2024-01-02T03:04:00.000Z"]),
        (["2024/1/2 03:04:05.5+08"], "date-time", ["2024-01-01T19:04:05.500Z"]),
        (["2024-01-02", "2024-01-02T03:04:05Z"], None, ["2024-01-02", "2024-01-02T03:04:05Z"]),
    ],
)
def test_text_tells_dates_and_times(texts: list[str], format_: str | None, stored: list[str]) -> None:
    column, found = through(texts, textual=True)
    assert (column.type, column.format, found) == ("string", format_, stored)


@pytest.mark.parametrize(
    "values,type_,stored",
    [
        ([1, 2**63 - 1], "integer", [1, 2**63 - 1]),
        ([2**63], "string", ["9223372036854775808"]),
        ([1, 0.5], "number", [1.0, 0.5]),
        ([2**53 + 1, 0.5], "string", ["9007199254740993", "0.5"]),  # as a double it would lose its last digit
        ([True, False], "boolean", [True, False]),
        ([True, 1], "string", ["true", "1"]),
        (["0101", "x"], "string", ["0101", "x"]),
        (["12"], "string", ["12"]),
        ([{"a": [1, "土"]}, [1, 2]], "string", ['{"a":[1,"土"]}', "[1,2]"]),
        ([1, "x", [2]], "string", ["1", "x", "[2]"]),
        ([], "string", []),
    ],
)
def test_json_values_tell_their_type(values: list[Any], type_: str, stored: list[Any]) -> None:
    column, found = through(values)
    assert column.type == type_
    assert [(type(v), v) for v in found] == [(type(v), v) for v in stored]


def test_a_mixture_is_reported_with_its_rows() -> None:
    made = reader(None, textual=True)
    for row, text in enumerate(["7", "8", "n/a"], 1):
        made.take(row, text)
    assert made.notes() == ["kept as text: row 1 has the integer '7', row 3 has the string 'n/a'"]


@pytest.mark.parametrize(
    "column,value",
    [
        (Column("c", "integer"), "abc"),
        (Column("c", "integer"), 2.5),
        (Column("c", "integer"), 2**63),
        (Column("c", "number"), "1.5"),
        (Column("c", "number"), float("inf")),
        (Column("c", "number"), True),
        (Column("c", "boolean"), 2),
        (Column("c", "string", "date"), "2024-13-01"),
        (Column("c", "string", "date-time"), "yesterday"),
        (Column("c", "string", "date-time"), 20240101),
        (Column("c", "string"), b"bytes"),
        (Column("c", "string"), "\udcb5\udcd8"),
    ],
)
def test_a_value_of_another_type_is_a_fault(column: Column, value: Any) -> None:
    with pytest.raises(ValueError):
        reader(column, textual=False).take(1, value)


@given(
    st.datetimes().filter(lambda local: 1 < local.year < 9999),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_times_become_utc_as_sqlite_makes_them(local: datetime, offset: int, separator: str) -> None:
    local = local.replace(microsecond=local.microsecond // 1000 * 1000)
    text = local.replace(tzinfo=timezone(timedelta(minutes=offset))).isoformat(separator, "milliseconds")
    with sqlite3.connect(":memory:") as conn:
        (expected,) = conn.execute("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?)", (text,)).fetchone()
    assert utc(text) == (expected, False)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_without_a_zone_is_utc(instant: datetime) -> None:
    text = instant.replace(tzinfo=None).isoformat()
    assert utc(text) == (utc(instant.isoformat())[0], True)
