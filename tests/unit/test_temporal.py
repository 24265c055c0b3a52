"""Whether `datetime` means what Features Part 1, 7.15.4 says, in every form, on dates and on times."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.columns import Column
from providers.query import QueryError
from providers.temporal import datetime_where

DAY, TIME = Column("at", "string", "date"), Column("at", "string", "date-time")
SECOND = timedelta(seconds=1)
MICRO = timedelta(microseconds=1)

# Stored times: milliseconds as GeoPackage writes them, and none as others do.
STORED = [
    None, "0099-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z",
    "2020-02-29T12:00:00.000Z",
    "2020-02-29T12:00:00Z", "2020-02-29T12:00:00.001Z", "2020-02-29T12:00:00.499Z", "2020-02-29T12:00:00.500Z",
    "2020-02-29T12:00:00.999Z",
    "2020-02-29T12:00:01.000Z", "2020-02-29T12:00:01Z", "2020-02-29T23:59:59Z", "2020-02-29T23:59:59.999Z",
    "2020-03-01T00:00:00.000Z",
    "2020-12-31T23:59:59.999Z", "2021-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z",
]  # fmt: skip
DAYS = [
    None,
    "0099-12-31",
    "1969-12-31",
    "1970-01-01",
    "2020-02-28",
    "2020-02-29",
    "2020-03-01",
    "2020-12-31",
    "2021-01-01",
    "9999-12-31",
]


def selected(text: str, column: Column | None, values: list[str | None]) -> list[str | None]:
    where = datetime_where(text, column)
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, at TEXT)")
        conn.executemany("INSERT INTO t (at) VALUES (?)", [(value,) for value in values])
        return [row[0] for row in conn.execute(f"SELECT at FROM t WHERE {where.sql} ORDER BY n", where.params)]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def expected(low: datetime | None, high: datetime | None, column: Column, values: list[str | None]) -> list[str | None]:
    """Values in the interval, both ends in it; those that are not known are never left out. A date is all of its day."""

    def holds(value: str | None) -> bool:
        if value is None:
            return True
        if column.format == "date":
            first = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
            last = first.replace(hour=23, minute=59, second=59, microsecond=999999)
        else:
            first = last = instant(value)
        return (low is None or last >= low) and (high is None or first <= high)

    return [value for value in values if holds(value)]


T = instant
FORMS: list[tuple[str, datetime | None, datetime | None]] = [
    ("2020-02-29", T("2020-02-29T00:00:00Z"), T("2020-03-01T00:00:00Z") - MICRO),
    ("2020-02-29T12:00:00Z", T("2020-02-29T12:00:00Z"), T("2020-02-29T12:00:00Z")),
    ("2020-02-29t12:00:00z", T("2020-02-29T12:00:00Z"), T("2020-02-29T12:00:00Z")),
    ("2020-02-29T12:00:00.000Z", T("2020-02-29T12:00:00Z"), T("2020-02-29T12:00:00Z")),
    ("2020-02-29T12:00:00.5Z", T("2020-02-29T12:00:00.500Z"), T("2020-02-29T12:00:00.500Z")),
    ("2020-02-29T12:00:00.499999Z", T("2020-02-29T12:00:00.499999Z"), T("2020-02-29T12:00:00.499999Z")),
    ("2020-02-29T20:00:00+08:00", T("2020-02-29T12:00:00Z"), T("2020-02-29T12:00:00Z")),
    ("2020-03-01T00:30:00+12:30", T("2020-02-29T12:00:00Z"), T("2020-02-29T12:00:00Z")),
    ("2020-02-29T07:00:00.001-05:00", T("2020-02-29T12:00:00.001Z"), T("2020-02-29T12:00:00.001Z")),
    ("2020-02-29/2020-12-31", T("2020-02-29T00:00:00Z"), T("2021-01-01T00:00:00Z") - MICRO),
    ("2020-02-29T12:00:00.001Z/2020-02-29T12:00:00.999Z", T("2020-02-29T12:00:00.001Z"), T("2020-02-29T12:00:00.999Z")),
    ("2020-02-29T12:00:00.9995Z/..", T("2020-02-29T12:00:00.9995Z"), None),
    ("../2020-02-29T12:00:00.0005Z", None, T("2020-02-29T12:00:00.0005Z")),
    ("2020-02-29T12:00:00Z/..", T("2020-02-29T12:00:00Z"), None),
    ("2020-02-29T12:00:00Z/", T("2020-02-29T12:00:00Z"), None),
    ("../2020-02-29T12:00:00Z", None, T("2020-02-29T12:00:00Z")),
    ("/2020-02-29T12:00:00Z", None, T("2020-02-29T12:00:00Z")),
    ("1970-01-01/2020-02-29T12:00:00Z", T("1970-01-01T00:00:00Z"), T("2020-02-29T12:00:00Z")),
    ("2020-02-29/2020-02-29", T("2020-02-29T00:00:00Z"), T("2020-03-01T00:00:00Z") - MICRO),
    ("2020-02-29T12:00:00Z/PT1S", T("2020-02-29T12:00:00Z"), T("2020-02-29T12:00:01Z")),
    ("PT0.5S/2020-02-29T12:00:00.999Z", T("2020-02-29T12:00:00.499Z"), T("2020-02-29T12:00:00.999Z")),
    ("P1DT12H/2020-03-01T00:00:00Z", T("2020-02-28T12:00:00Z"), T("2020-03-01T00:00:00Z")),
    ("2020-02-29T12:00:00Z/P10M3D", T("2020-02-29T12:00:00Z"), T("2021-01-01T12:00:00Z")),
    ("2020", T("2020-01-01T00:00:00Z"), T("2021-01-01T00:00:00Z") - MICRO),
    ("2020-02", T("2020-02-01T00:00:00Z"), T("2020-03-01T00:00:00Z") - MICRO),
    ("2019/2020-02", T("2019-01-01T00:00:00Z"), T("2020-03-01T00:00:00Z") - MICRO),
    ("0099", T("0099-01-01T00:00:00+00:00"), T("0099-12-31T23:59:59.999999+00:00")),
    ("9999-12-31", T("9999-12-31T00:00:00Z"), T("9999-12-31T23:59:59.999999Z")),
]  # fmt: skip


@pytest.mark.parametrize("text, low, high", FORMS, ids=[text for text, _, _ in FORMS])
def test_every_form(text: str, low: datetime | None, high: datetime | None) -> None:
    assert selected(text, TIME, STORED) == expected(low, high, TIME, STORED)
    assert selected(text, DAY, DAYS) == expected(low, high, DAY, DAYS)


@pytest.mark.parametrize("text", [
    "", "..", "../..", "/", "/..", "../", "//", "a", "now", "20200229", "2020-2-9", "2020-02-30", "2021-02-29", "2020-13",
    "2020-00", "0000", "2020-02-29 ",
    " 2020-02-29", "2020-02-29T12:00:00", "2020-02-29T12:00Z", "2020-02-29T24:00:01Z", "2020-02-29T12:60:00Z",
    "2020-02-29T12:00:00+25:00",
    "2020-02-29T12:00:00.Z", "2020-02-29 12:00:00Z", "2020/2021/2022", "2020-01-02/2020-01-01",
    "2020-01-01T00:00:00.002Z/2020-01-01T00:00:00.001Z",
    "P1D", "P/2020", "P1D/P1D", "../P1D", "P1D/..", "/P1D", "2020-01-01/PT", "2020-01-01/P1S", "2020-01-01/1D",
    "2020-01-01T00:00:00Z/P9999Y",
    "2020-01-01,2020-01-02", "..2020", "2020..2021", "-2020", "12020", "２０２０", "٢٠٢٠-٠١-٠١", "2020-02-29T12:00:00.٣Z",
    "9999-12-31T23:59:59-01:00", "2020\n",
])  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    for column in (TIME, DAY, None):
        with pytest.raises(QueryError) as caught:
            datetime_where(text, column)
        assert caught.value.parameter == "datetime"


def test_collection_without_time_lets_every_feature_through() -> None:
    for column in (None, Column("at", "string"), Column("at", "integer")):
        assert selected("1999-01-01", column, STORED) == STORED


# ends of intervals: text as a client may write it, with the first and last instant that it means

_times = st.datetimes(datetime(1960, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 the zone is drawn beside
_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def _day(day: date) -> tuple[str, datetime, datetime]:
    first = datetime.combine(day, datetime.min.time(), UTC)
    return day.isoformat(), first, first + timedelta(days=1) - MICRO


def _time(at: datetime, zone: timezone, digits: int) -> tuple[str, datetime, datetime]:
    at = at.replace(microsecond=at.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits), tzinfo=zone)
    text = at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond:06}"[: digits + 1] if digits else "")
    offset = at.strftime("%z")
    return text + (f"{offset[:3]}:{offset[3:]}" if offset != "+0000" else "Z"), at.astimezone(UTC), at.astimezone(UTC)


_ends = st.one_of(st.dates(date(1960, 1, 1), date(2030, 1, 1)).map(_day), st.builds(_time, _times, _zones, st.integers(0, 6)))
_stored: Callable[[Any], Any] = lambda at: [  # noqa: E731 the same instant with milliseconds and without
    at.strftime("%Y-%m-%dT%H:%M:%S") + f".{at.microsecond // 1000:03}Z",
    at.strftime("%Y-%m-%dT%H:%M:%SZ"),
]


@given(st.none() | _ends, st.none() | _ends, st.lists(_times, max_size=5), st.booleans())
@example(None, _time(datetime(2020, 1, 1, 0, 0, 0, 500), timezone.utc, 6), [], True)  # noqa: DTZ001, UP017
@settings(deadline=None, max_examples=300)
def test_any_interval(low: Any, high: Any, others: list[datetime], near: bool) -> None:
    """Against comparing instants in Python, with stored times drawn close to the ends."""
    if (low is None and high is None) or (low and high and low[1] > high[2]):
        return
    text = f"{low[0] if low else '..'}/{high[0] if high else '..'}"
    edges = [end for ends in (low, high) if ends for end in ends[1:]]
    drawn = [
        *others,
        *(edge + step for edge in edges if near for step in (-SECOND, -MICRO * 1000, MICRO * 0, MICRO * 1000, SECOND)),
    ]
    values = [value for at in drawn for value in _stored(at)]
    bounds = (low[1] if low else None, high[2] if high else None)
    assert selected(text, TIME, values) == expected(*bounds, TIME, values)
    days = [value[:10] for value in values]
    assert selected(text, DAY, days) == expected(*bounds, DAY, days)
