"""Whether masks blur what they are to blur, give clean numbers, and fail closed."""

import hashlib
import hmac
import math
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers import masks
from providers.columns import Column
from providers.grant import GrantError, Mask

KEY = b"a key of sixteen"
TEXT, NUMBER, INTEGER = Column("c", "string"), Column("c", "number"), Column("c", "integer")
DATE, TIME, FLAG = Column("c", "string", "date"), Column("c", "string", "date-time"), Column("c", "boolean")
EVERY = (TEXT, NUMBER, INTEGER, DATE, TIME, FLAG)


def mask(kind: str, value: Any, step: float | None = None) -> Any:
    return masks.apply(Mask("c", kind, step), value, KEY)


def test_parse() -> None:
    written = "{area_ha: {round: 1}, owner: initial, x: hash, date: year, y: redact, a: {round: 0.1}}"
    assert masks.parse(yaml.safe_load(written)) == (
        Mask("a", "round", 0.1),
        Mask("area_ha", "round", 1.0),
        Mask("date", "year"),
        Mask("owner", "initial"),
        Mask("x", "hash"),
        Mask("y", "redact"),
    )
    assert masks.parse({}) == masks.parse(None) == ()


@pytest.mark.parametrize(
    "written",
    [
        "[owner]",
        "owner",
        "{1: hash}",
        "{owner: round}",
        "{owner: blur}",
        "{owner: null}",
        "{owner: {hash: 1}}",
        "{owner: {round: 0}}",
        "{owner: {round: -1}}",
        "{owner: {round: .inf}}",
        "{owner: {round: true}}",
        "{owner: {round: '1'}}",
        "{owner: {round: 1, hash: 1}}",
    ],
)
def test_parse_says_what_was_expected(written: str) -> None:
    with pytest.raises(GrantError, match="expected"):
        masks.parse(yaml.safe_load(written))


@pytest.mark.parametrize(
    ("step", "value", "expected"),
    [
        (0.1, 12.299999999999999, 12.3),
        (0.1, 12.25, 12.2),
        (0.1, 12.35, 12.4),
        (0.1, 0.30000000000000004, 0.3),
        (1, 2.5, 2.0),
        (1, 3.5, 4.0),
        (20, 30, 40),
        (20, 50, 40),
        (0.25, 3, 3.0),
        (5, -12, -10),
        (1000, 9007199254740993, 9007199254741000),
        (1, -0.3, 0.0),
        (1, None, None),
        (1, "510104199001011234", None),
        (1, True, None),
        (1, math.nan, None),
        (1, math.inf, None),
        (1e308, 1.7e308, None),
    ],
)
def test_round(step: float, value: Any, expected: Any) -> None:
    result = mask("round", value, step)
    assert repr(result) == repr(expected)


@given(
    st.one_of(st.integers(-(10**18), 10**18), st.floats(-1e12, 1e12)),
    st.one_of(st.integers(1, 1000), st.decimals("0.0001", "1000", places=4).map(float)),
)
def test_round_is_the_nearest_multiple(value: float, step: float) -> None:
    """Against exact fractions of the digits as they are written, rounded half to even."""
    exact, width = Fraction(repr(value)), Fraction(repr(step))
    expected = round(exact / width) * width
    result = mask("round", value, step)
    assert Fraction(result) == Fraction(float(expected)) if isinstance(result, float) else result == expected
    assert isinstance(result, int) == (isinstance(value, int) and float(step).is_integer())
    assert len(repr(result).partition(".")[2]) <= 4 or abs(value) > 1e10
    assert not (isinstance(result, float) and result == 0 and math.copysign(1, result) < 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("张三", "张*"),
        ("欧阳娜娜", "欧*"),
        ("Zhang San", "Z."),
        (" Zhang San", "Z."),
        ("E\u0301mile", "É."),
        ("Иван", "И."),
        ("محمد", "م*"),
        ("", ""),
        ("  ", ""),
        (None, None),
        (42, None),
    ],
)
def test_initial(name: Any, expected: Any) -> None:
    assert mask("initial", name) == expected


@given(st.text(min_size=1), st.text())
def test_initial_shows_nothing_of_the_rest(first: str, rest: str) -> None:
    assert mask("initial", first[0] + "a" + rest) == mask("initial", first[0] + "a")
    assert len(mask("initial", first)) <= 2


def test_hash_is_hmac_sha256() -> None:
    expected = hmac.new(KEY, b"c\0" + "张三".encode(), hashlib.sha256).hexdigest()[:32]
    assert mask("hash", "张三") == expected
    assert mask("hash", None) is None
    assert masks.apply(Mask("d", "hash"), "张三", KEY) != expected
    assert masks.apply(Mask("c", "hash"), "张三", KEY + b"2") != expected
    for short in (b"", b"fifteen bytes !"):
        with pytest.raises(GrantError, match="key"):
            masks.apply(Mask("c", "hash"), "张三", short)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-12-31", 2020),
        ("2020-12-31T23:59:59.999Z", 2020),
        ("2021-01-01T03:00:00+08:00", 2020),
        (date(1998, 7, 3), 1998),
        (datetime(1998, 7, 3, tzinfo=UTC), 1998),
        ("0001-01-01T00:00:00+08:00", None),
        ("31/12/2020", None),
        ("", None),
        (20201231, None),
        (None, None),
    ],
)
def test_year(value: Any, expected: Any) -> None:
    assert mask("year", value) == expected


@given(st.dates())
def test_year_of_any_date(day: date) -> None:
    assert mask("year", day.isoformat()) == day.year


@given(st.one_of(st.none(), st.text(), st.floats(), st.integers(), st.booleans()))
def test_redact_shows_nothing(value: Any) -> None:
    assert mask("redact", value) is None


@pytest.mark.parametrize(
    ("how", "fits"),
    [
        (Mask("c", "round", 1), {NUMBER: "number", INTEGER: "integer"}),
        (Mask("c", "round", 0.5), {NUMBER: "number", INTEGER: "number"}),
        (Mask("c", "initial"), {TEXT: "string"}),
        (Mask("c", "hash"), dict.fromkeys((TEXT, NUMBER, INTEGER, DATE, TIME), "string")),
        (Mask("c", "year"), {DATE: "integer", TIME: "integer"}),
        (Mask("c", "redact"), {column: column.type for column in EVERY}),
        (Mask("c", "round"), {}),
        (Mask("c", "round", -1), {}),
        (Mask("c", "blur"), {}),
        (Mask("d", "redact"), {}),
    ],
)
def test_which_mask_fits_which_column(how: Mask, fits: dict[Column, str]) -> None:
    for column in EVERY:
        if column in fits:
            after = masks.released(how, column)
            assert after.type == fits[column]
            assert after.format == (column.format if how.kind == "redact" else None)
        else:
            with pytest.raises(GrantError):
                masks.check(how, column)
            with pytest.raises(GrantError):
                masks.released(how, column)


def test_compile() -> None:
    columns = (Column("id", "string"), Column("area", "number"), Column("owner", "string"))
    masked = masks.compile((Mask("owner", "initial"), Mask("area", "round", 1)), columns, KEY)
    row = ("p1", 12.7, "张三")
    assert masked(row) == ("p1", 13.0, "张*")
    assert masked(["p2", None, None]) == ("p2", None, None)
    assert row == ("p1", 12.7, "张三")
    twice = masks.compile((Mask("id", "redact"),), (*columns, columns[0]), KEY)
    assert twice((*row, "p1")) == (None, 12.7, "张三", None)
    assert masks.compile((), columns, b"")(row) == row


@pytest.mark.parametrize(
    "several",
    [
        (Mask("name", "hash"),),
        (Mask("owner", "hash"), Mask("owner", "initial")),
        (Mask("owner", "round", 1),),
        (Mask("owner", "blur"),),
    ],
)
def test_compile_refuses(several: tuple[Mask, ...]) -> None:
    with pytest.raises(GrantError):
        masks.compile(several, (Column("owner", "string"),), KEY)


@given(st.sampled_from(["round", "initial", "hash", "year"]), st.text(min_size=3))
def test_no_mask_lets_a_text_through(kind: str, value: str) -> None:
    """A text in a column of another type, as SQLite permits, never comes out as it is."""
    assert mask(kind, value, 1.0) != value
