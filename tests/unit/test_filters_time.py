"""Do dates, timestamps and intervals compare as time does, however they are written?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import filters
from providers.columns import Column
from providers.filters import FilterError
from tests.unit.test_filters import Table, table

DAY, TIME = Column("d", "string", "date"), Column("t", "string", "date-time")
OPERATORS = {
    "=": lambda one, other: one == other,
    "<>": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
# Close together, so that days, seconds and fractions coincide.
TIMES = st.builds(
    lambda days, seconds, micros: (
        datetime(2026, 2, 27, 23, 59, 58, tzinfo=UTC) + timedelta(days=days, seconds=seconds, microseconds=micros)
    ),
    st.integers(-1, 2),
    st.integers(-2, 3),
    st.sampled_from([0, 0, 5, 50_000, 500_000, 500_001, 999_999]),
)


def written(time: datetime, digits: int, z: bool) -> str:
    """A timestamp as a column may hold it: with as many digits of the fraction, at least what it needs; with Z or not."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{time.microsecond:06d}".rstrip("0")
    fraction = fraction.ljust(digits, "0")
    return text + (f".{fraction}" if fraction else "") + ("Z" if z else "")


STORED = st.builds(lambda time, digits, z: (time, written(time, digits, z)), TIMES, st.sampled_from([0, 3, 6, 9]), st.booleans())


def literal(time: datetime, hours: int) -> str:
    return f"TIMESTAMP('{time.astimezone(timezone(timedelta(hours=hours))).isoformat().replace('+00:00', 'Z')}')"


@settings(max_examples=150, deadline=None)
@given(st.lists(STORED, min_size=1, max_size=10), TIMES, st.sampled_from([-8, 0, 0, 9]))
def test_timestamps_compare_by_time(rows: list[tuple[datetime, str]], asked: datetime, hours: int) -> None:
    made = table([DAY, TIME], [(time.date().isoformat(), text) for time, text in rows] + [(None, None)], indexed=True)
    for symbol, holds in OPERATORS.items():
        known = list(enumerate((time for time, _ in rows), 1))
        by_time = [n for n, time in known if holds(time, asked)]
        by_day = [n for n, time in known if holds(time.date(), asked.date())]
        assert made.find(f"t {symbol} {literal(asked, hours)}") == by_time
        assert made.find(f"NOT (t {symbol} {literal(asked, hours)})") == [n for n, _ in known if n not in by_time]
        assert made.find(f"d {symbol} DATE('{asked.date()}')") == by_day
        # between a date and a timestamp the day decides
        assert made.find(f"t {symbol} DATE('{asked.date()}')") == by_day
        assert made.find(f"d {symbol} {literal(asked, hours)}") == by_day
        mirrored = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(symbol, symbol)
        assert made.find(f"{literal(asked, hours)} {mirrored} t") == by_time
        assert made.find(f"DATE('{asked.date()}') {mirrored} t") == by_day
        assert made.find(f"t {symbol} d") == [n for n, time in known if holds(time.date(), time.date())]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(STORED, STORED), min_size=1, max_size=8), TIMES, TIMES)
def test_timestamps_between_in_and_against_each_other(rows: list[Any], one: datetime, other: datetime) -> None:
    made = table([TIME, Column("u", "string", "date-time")], [(t[1], u[1]) for t, u in rows])
    pairs = [(n, t[0], u[0]) for n, (t, u) in enumerate(rows, 1)]
    for symbol, holds in OPERATORS.items():
        assert made.find(f"t {symbol} u") == [n for n, t, u in pairs if holds(t, u)]
    low, high = sorted((one, other))
    assert made.find(f"t BETWEEN {literal(low, 0)} AND {literal(high, 0)}") == [n for n, t, _ in pairs if low <= t <= high]
    assert made.find(f"t IN ({literal(one, 0)}, {literal(other, 0)})") == [n for n, t, _ in pairs if t in (one, other)]
    days = {one.date(), other.date()}
    assert made.find(f"t IN (DATE('{one.date()}'), DATE('{other.date()}'))") == [n for n, t, _ in pairs if t.date() in days]
    assert made.find(f"T_INTERSECTS(t, INTERVAL('{low.date()}', '{high.date()}'))") == [
        n for n, t, _ in pairs if low.date() <= t.date() <= high.date()
    ]
    assert made.ids(filters.property_equals("t", one.isoformat(), made.queryables)) == [n for n, t, _ in pairs if t == one]


def test_an_index_on_a_timestamp_is_used() -> None:
    made = table([TIME], [("2026-01-31T00:00:00Z",)], indexed=True)
    for text in (
        "t > TIMESTAMP('2026-01-31T00:00:00Z')",
        "t = DATE('2026-01-31')",
        "T_DURING(INTERVAL(t, t), INTERVAL('2026-01-01','..'))",
    ):
        assert "SEARCH t USING COVERING INDEX i0" in made.plan(filters.compile(filters.parse(text), made.queryables))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31",
        "2026-01-31T00:00:00",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:59:60Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-31T00:00:00.1234567Z",
        "2026-01-31T00:00:00+25:00",
        "0001-01-01T00:00:00+01:00",
        "９999-01-01T00:00:00Z",
        "2026-01-31T00:00:00Z'",
        "yesterday",
        "",
    ],
)
def test_no_timestamp(text: str) -> None:
    made = table([TIME], [])
    with pytest.raises(FilterError):
        made.find("t = TIMESTAMP('" + text.replace("'", "''") + "')")


@pytest.mark.parametrize("text", ["2026-02-30", "2026-1-1", "20260101", "2026-01-31T00:00:00Z", "..", "", "0000-01-01"])
def test_no_date(text: str) -> None:
    with pytest.raises(FilterError, match="is no date"):
        table([DAY], []).find(f"d = DATE('{text}')")


# --- intervals ---

# The thirteen relations of Allen, exactly one of which holds between any two proper intervals, and the inverse of each.
ALLEN = {
    "T_BEFORE": "T_AFTER",
    "T_MEETS": "T_METBY",
    "T_OVERLAPS": "T_OVERLAPPEDBY",
    "T_STARTS": "T_STARTEDBY",
    "T_DURING": "T_CONTAINS",
    "T_FINISHES": "T_FINISHEDBY",
    "T_EQUALS": "T_EQUALS",
}
INVERSE = ALLEN | {inverse: name for name, inverse in ALLEN.items()}
# How the W3C's Time Ontology draws them: a line for the first interval, one for the second.
DRAWN = {
    "T_BEFORE": ("aa....", "....bb"),
    "T_MEETS": ("aaa...", "..bbb."),
    "T_OVERLAPS": ("aaaa..", "..bbbb"),
    "T_STARTS": ("aaa...", "bbbbbb"),
    "T_DURING": ("..aa..", "bbbbbb"),
    "T_FINISHES": ("...aaa", "bbbbbb"),
    "T_EQUALS": ("..aaa.", "..bbb."),
}


def _span(drawn: str) -> tuple[date, date]:
    days = [date(2026, 3, n) for n, mark in enumerate(drawn, 1) if mark != "."]
    return days[0], days[-1]


def _interval(span: tuple[date, date]) -> str:
    return f"INTERVAL('{span[0]}','{span[1]}')"


@pytest.fixture(scope="module")
def spans() -> Table:
    """All proper intervals between six days, and one whose end is not known."""
    days = [date(2026, 3, n).isoformat() for n in range(1, 7)]
    rows = [(start, end) for start, end in product(days, days) if start < end]
    return table([Column("start", "string", "date"), Column("end", "string", "date")], [*rows, ("2026-03-02", None)])


@pytest.mark.parametrize("name", DRAWN)
def test_relations_as_they_are_drawn(spans: Table, name: str) -> None:
    one, other = (_span(drawn) for drawn in DRAWN[name])
    for relation in INVERSE:
        assert bool(spans.find(f"{relation}({_interval(one)}, {_interval(other)})")) == (relation == name)
        assert bool(spans.find(f"{relation}({_interval(other)}, {_interval(one)})")) == (relation == INVERSE[name])


@pytest.mark.parametrize("other", [_span("bbbbbb"), _span("..bb.."), _span("..bbb."), _span("bb....")])
def test_one_relation_holds_between_two_intervals(spans: Table, other: tuple[date, date]) -> None:
    asked = _interval(other)
    found = {name: spans.find(f"{name}(INTERVAL(start,end), {asked})") for name in INVERSE}
    assert sorted(n for rows in found.values() for n in rows if n < 16) == list(range(1, 16))
    for name, rows in found.items():
        assert spans.find(f"{INVERSE[name]}({asked}, INTERVAL(start,end))") == rows
    apart = sorted(found["T_BEFORE"] + found["T_AFTER"])
    assert spans.find(f"T_DISJOINT(INTERVAL(start,end), {asked})") == apart
    meeting = [n for n in range(1, 16) if n not in apart]
    assert [n for n in spans.find(f"T_INTERSECTS(INTERVAL(start,end), {asked})") if n < 16] == meeting


def test_an_end_that_is_not_known(spans: Table) -> None:
    asked = "INTERVAL(start,end), INTERVAL('2026-03-04','2026-03-05')"
    assert 16 not in spans.find(f"T_INTERSECTS({asked})") + spans.find(f"NOT T_INTERSECTS({asked})")
    assert 16 in spans.find("T_BEFORE(INTERVAL('2026-02-01','2026-02-28'), INTERVAL(start,end))")


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("T_INTERSECTS(start, INTERVAL('..','2026-03-02'))", ["01", "02"]),
        ("T_INTERSECTS(start, INTERVAL('2026-03-04','..'))", ["04", "05"]),
        ("T_INTERSECTS(start, INTERVAL('..','..'))", ["01", "02", "03", "04", "05"]),
        ("T_AFTER(start, INTERVAL('..','2026-03-03'))", ["04", "05"]),
        ("T_BEFORE(start, INTERVAL('..','2026-03-03'))", []),
        ("T_AFTER(start, DATE('2026-03-03'))", ["04", "05"]),
        ("T_EQUALS(start, INTERVAL('2026-03-03','2026-03-03'))", ["03"]),
        ("T_DURING(INTERVAL(start,start), INTERVAL('..','2026-03-02'))", ["01"]),
    ],
)
def test_open_ends_and_instants(spans: Table, text: str, days: list[str]) -> None:
    rows = spans.connection.execute("SELECT rid, start FROM t WHERE rid < 16").fetchall()
    expected = [rid for rid, start in rows if start[-2:] in days]
    assert [rid for rid in spans.find(text) if rid < 16] == expected


@pytest.mark.parametrize("name", sorted(set(INVERSE) - {"T_BEFORE", "T_AFTER", "T_EQUALS"}))
def test_relations_of_intervals_only(spans: Table, name: str) -> None:
    """OGC 21-065r2, 7.8.2: "Using these functions with instants will result in a client error"."""
    with pytest.raises(FilterError, match="between intervals"):
        spans.find(f"{name}(start, INTERVAL('2026-03-01','2026-03-02'))")


@pytest.mark.parametrize(
    "text", ["INTERVAL('2026-03-02','2026-03-01')", "INTERVAL('x','..')", "INTERVAL(1, 2)", "INTERVAL('..')"]
)
def test_no_interval(spans: Table, text: str) -> None:
    with pytest.raises(FilterError):
        spans.find(f"T_INTERSECTS(start, {text})")
