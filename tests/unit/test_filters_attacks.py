"""Does anything but a FilterError come out of what is no expression, and does any value reach the SQL unbound?"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import cql2_text, filters
from providers.columns import Column
from providers.filters import FilterError
from tests.unit.test_filters import Table, quoted, table

COLUMNS = (
    Column("i", "integer"),
    Column("x", "number"),
    Column("s", "string"),
    Column("名", "string"),
    Column("f", "boolean"),
    Column("d", "string", "date"),
    Column("t", "string", "date-time"),
)
MADE = table(
    COLUMNS,
    [(n, n / 2, chr(97 + n), None, n % 2, f"2026-01-0{n + 1}", f"2026-01-0{n + 1}T00:00:00Z") for n in range(5)],
    [shapely.Point(n, n) if n % 2 else None for n in range(5)],
    envelope=True,
)


def answer(text: str, lang: str = "cql2-text") -> list[int] | None:
    """The rows of an expression, None where it is refused. Nothing else may happen, in SQLite neither."""
    try:
        where = filters.compile(filters.parse(text, lang), MADE.queryables)
    except FilterError:
        return None
    return MADE.ids(where)


# --- injection ---

INJECTIONS = (
    "'; DROP TABLE t; --",
    "' OR 1=1 --",
    "' OR ''='",
    "x'' OR 1=1 --",
    "\\' OR 1=1 --",
    "\\",
    "a' UNION SELECT * FROM t --",
    '" OR 1=1 --',
    "/* comment */",
    "?",
    "?1",
    ":name",
    "%' OR '%'='",
    "${jndi}",
    "{0}",
    "%s",
)


@pytest.mark.parametrize("attack", INJECTIONS)
def test_a_value_is_a_value(attack: str) -> None:
    made = table([Column("s", "string")], [(attack,), ("other",)])
    for text in (f"s = {quoted(attack)}", f"s IN ({quoted(attack)})", f"CASEI(s) = CASEI({quoted(attack)})"):
        where = filters.compile(filters.parse(text), made.queryables)
        assert made.ids(where) == [1]
        assert not set(re.sub(r"tierra_casei|IN", "", where.sql)) - set('(s"=?,) ')
    said = json.dumps({"op": "=", "args": [{"property": "s"}, attack]})
    assert made.find(said, "cql2-json") == made.ids(filters.property_equals("s", attack, made.queryables)) == [1]


@pytest.mark.parametrize("attack", INJECTIONS)
@pytest.mark.parametrize("around", ["{}", "i = {}", "s = '{}", "s = {}'", '"{}" = 1', "i = 1 {}", "S_INTERSECTS(geometry, {})"])
def test_an_attack_selects_no_more_than_it_says(attack: str, around: str) -> None:
    found = answer(around.format(attack))
    assert found in (None, []), (around, attack, found)
    assert len(MADE.find("true")) == 5


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=3).filter(lambda s: s.strip() not in COLUMNS))
def test_no_text_of_a_client_is_in_the_sql(text: str) -> None:
    mark = "zq" + text
    for said, lang in (
        (f"s = {quoted(mark)} OR s LIKE {quoted(mark)}", "cql2-text"),
        (json.dumps({"op": "casei", "args": [mark]}).join(('{"op":"=","args":[{"property":"s"},', "]}")), "cql2-json"),
    ):
        try:
            where = filters.compile(filters.parse(said, lang), MADE.queryables)
        except FilterError:
            continue
        assert "zq" not in where.sql
        assert MADE.ids(where) == []


# --- what is no expression ---

PIECES = (
    *("i", "x", "s", "d", "t", "f", "geometry", "名", '"i"', "owner", "1", "2.5", "-3", "1e400", "123456789012345678901", ".5"),
    *("'x'", "'it''s'", "'\\n'", "'%'", "(", ")", "(", ")", ",", " ", " ", "\n", "\t", "\u3000"),
    *(" AND ", " OR ", " NOT ", " IN ", " LIKE ", " BETWEEN ", " IS NULL", " IS NOT NULL", " div ", "true", "NULL"),
    *("=", "<>", "<", ">=", "!=", "+", "-", "*", "/", "%", "^", ";", "--", "/*", "||", "\\", "[", "]", "{", '"', "'"),
    *("CASEI(", "accenti(", "DATE('2026-01-01')", "TIMESTAMP('2026-01-01T00:00:00Z')", "INTERVAL('..',", "INTERVAL(d,t)"),
    *("T_AFTER(", "T_DURING(", "S_INTERSECTS(geometry,", "S_TOUCHES(", "A_EQUALS(", "foo("),
    *("POINT(1 2)", "BBOX(1,2,3,4)", "POLYGON((0 0,1 0,1 1,0 0))", "MULTIPOINT(", "GEOMETRYCOLLECTION(", "Z", "EMPTY"),
    *("\0", "\ud800", "é", "\u202e", "0x1F", "i = 1", "f", "s LIKE 'a%'"),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_nothing_but_an_answer_or_a_filter_error(text: str) -> None:
    answer(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.sampled_from(filters.LANGUAGES))
def test_any_text(text: str, lang: str) -> None:
    answer(text, lang)


VALID = (
    "i = 1 AND (x > 2.5 OR NOT s LIKE 'a%') AND \"i\" IN (1,2)",
    "CASEI(s) = casei('É') OR accenti(名) <> 'it''s'",
    "d = DATE('2026-01-01') AND t > TIMESTAMP('2026-01-01T00:00:00Z')",
    "T_DURING(INTERVAL(t,t),INTERVAL('2026-01-01','..')) OR f",
    "S_INTERSECTS(geometry,POLYGON((-180 -90, -90 -90, -90 90, -180 90, -180 -90), (-120 -50, -100 -50, -100 -40, -120 -50)))",
    "S_CROSSES(LINESTRING(-60 -90,-60 90),geometry) AND S_WITHIN(geometry,BBOX(0,40,10,50))",
    "NOT S_TOUCHES(geometry,GEOMETRYCOLLECTION(POINT Z (7.02 49.92 1),MULTIPOINT((0 0),(1 1))))",
    "-i * (x + 1) ^ 2 / 3 % 4 div 5 BETWEEN -1e3 AND .5",
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(VALID), st.integers(0, 130), st.integers(0, 130), st.sampled_from(PIECES)),
        min_size=1,
        max_size=4,
    )
)
def test_expressions_cut_and_joined(parts: list[tuple[str, int, int, str]]) -> None:
    answer("".join(said[:end] + piece + said[start:] for said, start, end, piece in parts))


OPERATIONS = (
    *("and", "or", "not", "=", "<>", "<", ">=", "isNull", "like", "in", "between", "casei", "accenti", "+", "-", "*", "/", "^"),
    *("%", "div", "s_intersects", "s_equals", "t_after", "t_during", "a_equals", "avg", "", "AND"),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["2026-01-01", "..", "2026-01-01T00:00:00Z", 10**400, "\ud800", "\0"]),
)
LITERALS = st.one_of(
    SCALARS,
    st.sampled_from([*(c.name for c in COLUMNS), "geometry", "owner"]).map(lambda n: {"property": n}),
    SCALARS.map(lambda v: {"property": v}),
    SCALARS.map(lambda v: {"date": v}),
    SCALARS.map(lambda v: {"timestamp": v}),
    st.lists(SCALARS, max_size=3).map(lambda v: {"interval": v}),
    st.lists(SCALARS, max_size=7).map(lambda v: {"bbox": v}),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8).map(
        lambda v: {"type": "Polygon", "coordinates": v}
    ),
    st.lists(st.integers(-3, 3), min_size=2, max_size=2).map(lambda v: {"type": "Point", "coordinates": v}),
)
EXPRESSIONS = st.recursive(
    LITERALS,
    lambda inner: st.one_of(
        st.builds(lambda op, args: {"op": op, "args": args}, st.sampled_from(OPERATIONS), st.lists(inner, max_size=4)),
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["op", "args", "type", "filter", "function", "lower", "x"]), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_any_json(value: Any) -> None:
    answer(json.dumps(value), "cql2-json")


@pytest.mark.parametrize(
    "text", ["i IN --1 OR i = 3", "i IN -x", "x = POINT(-(1))", "x = POINT(-(1 2))", "i = -casei(s)", "-NOT f"]
)
def test_a_minus_where_none_can_be(text: str) -> None:
    assert answer(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "nul", "[]", "{}", "1", '"x"', "null", '{"op":"="}', '{"op":"=","args":[1]}'),
        *('{"op":["="],"args":[1,2]}', '{"filter":{"property":"f"}}', '{"op":"avg","args":[]}', "[" * 300 + "]" * 300),
        '{"op":"=","args":[{"property":"i"},NaN]}',
        '{"op":"=","args":[{"property":"i"},1e999]}',
        '{"op":"=","args":[{"property":"i"},' + "9" * 5000 + "]}",
        '{"op":"=","args":[{"property":"s"},"\\ud800"]}',
        '{"op":"=","args":[{"property":"s"},"\\u0000"]}',
    ],
)
def test_json_that_is_no_expression(text: str) -> None:
    assert answer(text, "cql2-json") is None


def test_a_place_is_named() -> None:
    with pytest.raises(FilterError, match="unexpected ';DROP' at character 6"):
        filters.parse("i = 1;DROP")
    with pytest.raises(FilterError, match=r"unexpected '= 2\)' at character 15"):
        filters.parse("i = 1 AND (\n名== 2)")


# --- size and depth ---

DEEP = (
    "(",
    "not ",
    "not (",
    "- ",
    "-(",
    "casei(",
    "i in (",
    "(i in (",
    "i = (",
    "1 + (",
    "2 ^ (",
    "f and (f or (",
    "f and not (",
)
DEEP += (
    "i between (",
    "interval(",
    "t_after(",
    "s_intersects(geometry, ",
    "polygon((",
    "geometrycollection(",
    "(f and f) or (",
    "i = ",
)


@pytest.mark.parametrize("opening", DEEP)
@pytest.mark.parametrize("times", [3, 9, 14, 40, 61, 1500])
def test_nesting_is_refused_at_once_or_answered(opening: str, times: int) -> None:
    began = time.perf_counter()
    for inner in ("f", "i = 1", "i b", ""):
        for closing in ("", ")" * (opening.count("(") * times), " x)" * (opening.count("(") * times)):
            answer(opening * times + inner + closing)
    # where the parser meets an error inside of open parentheses it takes twice as long for each
    assert time.perf_counter() - began < 5


def test_nesting_in_a_thread_of_little_stack() -> None:
    """What overflows the stack in the parser ends the process, and with it the suite."""
    done: list[list[int] | None] = []

    def run() -> None:
        local = table(COLUMNS, [])
        for text in (
            "not " * 30 + "f",
            "1+" * 49 + "i = 1",
            " and ".join(["i = 1"] * 500),
            "(" * 60 + "f" + ")" * 60,
            "i" + "=i" * 49,
        ):
            try:
                done.append(local.find(text))
            except FilterError:
                done.append(None)

    before = threading.stack_size(1 << 20)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(done) == 5


SHAPES: dict[str, Any] = {
    "and, or": lambda inner, n: f"f {'AND' if n % 2 else 'OR'} ({inner})",
    "or, and": lambda inner, n: f"({inner}) {'AND' if n % 2 else 'OR'} i = {n}",
    "not": lambda inner, n: f"NOT ({inner})",
    "not and": lambda inner, n: f"f AND NOT ({inner} OR f)",
    "equal": lambda inner, n: f"f = ({inner})",
    "null": lambda inner, n: f"(({inner}) IS NULL)",
    "in": lambda inner, n: f"f IN (true, ({inner}))",
    "spatial": lambda inner, n: f"NOT S_WITHIN(geometry, BBOX(0,0,{n + 1},1)) AND ({inner})",
    "temporal": lambda inner, n: f"T_DURING(INTERVAL(t,t), INTERVAL('2026-01-01','..')) OR ({inner})",
}
ARITHMETIC: dict[str, Any] = {
    "left": lambda inner, n: f"({inner}) + x",
    "right": lambda inner, n: f"x - ({inner})",
    "division": lambda inner, n: f"x / ({inner})",
    "function": lambda inner, n: f"x div ({inner})",
    "negative": lambda inner, n: f"-({inner})",
}


@pytest.mark.parametrize("shape", [*SHAPES, *ARITHMETIC])
def test_what_is_not_refused_runs_within_another_statement(shape: str) -> None:
    """SQLite's parser has a stack of its own; an expression that fits it must fit it within the statements of a server."""
    grow = SHAPES.get(shape) or ARITHMETIC[shape]
    text, deepest = ("f", 0) if shape in SHAPES else ("x", 0)
    for n in range(1, 60):
        text = grow(text, n)
        try:
            where = filters.compile(filters.parse(text if shape in SHAPES else f"{text} > 1"), MADE.queryables)
        except FilterError:
            break
        deepest = n
        within = f"SELECT * FROM (SELECT * FROM t WHERE f OR (i = 1 AND {where.sql})) WHERE (i > 0) AND (f AND ({where.sql}))"
        MADE.connection.execute(within, where.params * 2).fetchall()
    assert deepest >= 8


@pytest.mark.parametrize(
    "text",
    [
        "s = '" + "x" * cql2_text.MAX_LENGTH + "'",
        " OR ".join(["i = 1"] * 502),
        "i = " + "1 + " * 60 + "1",
        "i = " + "9" * 30_000,
        "i = 1e" + "9" * 30_000,
        "s LIKE '" + "*" * 9_000 + "'",
        "i = 9^9^9^9^9^9 AND x = 1e308 * 1e308",
        "'" * 20_001,
        '"' * 20_001,
        "i" * 20_000,
        "i " * 10_000,
    ],
    ids=lambda text: text[:20],
)
def test_what_is_too_large_is_refused(text: str) -> None:
    began = time.perf_counter()
    assert answer(text) is None
    assert answer(json.dumps({"op": "=", "args": [{"property": "s"}, "x" * cql2_text.MAX_LENGTH]}), "cql2-json") is None
    assert time.perf_counter() - began < 2


def test_what_is_large_is_answered() -> None:
    ring = ",".join(f"{n / 100} {(n % 7) / 10}" for n in range(1500))
    assert answer(f"S_INTERSECTS(geometry, POLYGON(({ring},15 -1,0 -1,0 0)))") is not None
    assert answer(" OR ".join(["S_INTERSECTS(geometry, BBOX(0,0,9,9))"] * 300)) == [2, 4]
    assert answer("s LIKE '" + "%a" * 4_000 + "'") == []
    assert answer("i IN (" + ",".join(["1"] * 15_000) + ")") == [2]


def test_tables_are_as_they_were() -> None:
    names: Table = MADE
    assert [row[0] for row in names.connection.execute("SELECT count(*) FROM t UNION ALL SELECT count(*) FROM r")] == [5, 2]
