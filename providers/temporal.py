"""The `datetime` parameter (Features Part 1, 7.15.4) as a condition on the time property."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime

from dateutil.relativedelta import relativedelta

from providers.columns import Column, quote
from providers.filters import Where
from providers.query import QueryError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]?", re.ASCII)  # GDAL ends a date with T
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_PARTIAL = re.compile(r"(\d{4})(?:-(\d{2}))?", re.ASCII)
_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,4})Y)?(?:(\d{1,5})M)?(?:(\d{1,6})W)?(?:(\d{1,7})D)?"
    r"(?:T(?=.)(?:(\d{1,8})H)?(?:(\d{1,8})M)?(?:(\d{1,10}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)
EXPECTED = (
    "datetime must be a date, a date-time (RFC 3339), or an interval of two with .. or nothing for an open end,"
    " or a duration (P2D) for one of them"
)


def datetime_where(text: str, column: Column | None) -> Where:
    """Features whose time lies in the instant or interval. Raises QueryError with what was expected.

    A collection without a time property lets every feature through, as the standard says; so does a feature whose time is
    not known. A date stands for its whole day (UTC); a year or a month, which clients send too, for its whole span.
    """
    parts = text.split("/")
    if len(parts) > 2 or parts in (["", ""], ["..", ".."], ["", ".."], ["..", ""], [""], [".."]):
        raise QueryError("datetime", EXPECTED)
    spans = (
        _interval(parts)
        if len(parts) == 2 and any(part[:1] == "P" for part in parts)
        else [None if part in ("", "..") else _span(part) for part in parts]
    )
    low, high = spans[0], spans[-1]
    if low and high and low[0] > high[1]:
        raise QueryError("datetime", "datetime: the interval ends before it begins")
    if column is None or column.format is None:
        return Where("1", (), frozenset())
    name = quote(column.name)
    conditions: list[str] = []
    params: list[str] = []
    if low:
        conditions.append(_from(name, low[0], column, params))
    if high:
        conditions.append(_until(name, high[1], column, params))
    return Where(f"({name} IS NULL OR ({' AND '.join(conditions)}))", tuple(params), frozenset({column.name}))


def _interval(parts: list[str]) -> list[tuple[datetime, datetime] | None]:
    """An interval of which one end is said by its duration (ISO 8601, 4.4.4.3)."""
    durations = [_DURATION.fullmatch(part) for part in parts]
    if all(durations) or any(part in ("", "..") for part in parts):
        raise QueryError("datetime", EXPECTED)
    try:
        if durations[1]:
            first = _span(parts[0])
            return [first, (first[0], first[1] + _length(durations[1]))]
        if durations[0]:
            last = _span(parts[1])
            return [(last[0] - _length(durations[0]), last[1]), last]
    except (ValueError, OverflowError) as err:
        raise QueryError("datetime", "datetime: the interval leaves the calendar") from err
    raise QueryError("datetime", EXPECTED)


def _length(duration: re.Match[str]) -> relativedelta:
    years, months, weeks, days, hours, minutes, seconds = (float(number) for number in duration.groups(default="0"))
    return relativedelta(
        years=int(years),
        months=int(months),
        weeks=int(weeks),
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        microseconds=round(seconds * 1_000_000),
    )


def _span(text: str) -> tuple[datetime, datetime]:
    """First and last microsecond of what a text names."""
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text[:10])
            return _days(day, day)
        if _TIME.fullmatch(text):
            instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
            return instant, instant
        if partial := _PARTIAL.fullmatch(text):
            year, month = int(partial[1]), partial[2]
            first = date(year, int(month or 1), 1)
            last_month = int(month or 12)
            return _days(first, date(year, last_month, calendar.monthrange(year, last_month)[1]))
    except (ValueError, OverflowError) as err:
        raise QueryError("datetime", f"datetime: {text} is no date") from err
    raise QueryError("datetime", EXPECTED)


def _days(first: date, last: date) -> tuple[datetime, datetime]:
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, 23, 59, 59, 999999, tzinfo=UTC)
    return begin, end


# Stored times are text: with milliseconds ('…:07.000Z') or without ('…:07Z'). 'Z' sorts after '.' and the digits, so the form
# without a fraction, which is the first instant of its second, sorts last in it and is named by itself below.


def _from(name: str, instant: datetime, column: Column, params: list[str]) -> str:
    if column.format == "date":  # a day lies in the interval where any of its instants does
        params.append(instant.date().isoformat())
        return f"{name} >= ?"
    second = instant.strftime("%Y-%m-%dT%H:%M:%S").zfill(19)
    if not instant.microsecond:
        params.append(second)
        return f"{name} >= ?"
    milli = -(-instant.microsecond // 1000)
    params += [f"{second}.{milli:03d}" if milli < 1000 else second + "Z", second + "Z"]
    return f"({name} >= ? AND {name} <> ?)"


def _until(name: str, instant: datetime, column: Column, params: list[str]) -> str:
    if column.format == "date":
        params.append(instant.date().isoformat())
        return f"{name} <= ?"
    second = instant.strftime("%Y-%m-%dT%H:%M:%S").zfill(19)
    if instant.microsecond == 999999:
        params.append(second + "Z")
        return f"{name} <= ?"
    params += [f"{second}.{instant.microsecond // 1000:03d}Z", second + "Z"]
    return f"({name} <= ? OR {name} = ?)"
