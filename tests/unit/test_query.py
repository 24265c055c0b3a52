"""Whether a crawl by `next` gives every row once, in order, whatever the order, the filter and what happens meanwhile."""

from __future__ import annotations

import base64
import json
import math
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers import query as queries
from providers.columns import Column
from providers.query import Query, QueryError
from providers.reader import Reader
from tests.sources import Source, point

COLUMNS = [Column("id", "string"), Column("kind", "string"), Column("size", "number"), Column("count", "integer")]
ROWS = [
    (
        f"k{n:03}",
        [None, "a", "b", "中", ""][n % 5],
        [None, 0.1 + 0.2, -1.5, 1e300, 0.0, 5e-324][n % 6],
        [None, 2**62, -(2**63), 0][n % 4],
    )
    for n in range(97)
]
ORDERS: list[tuple[tuple[str, bool], ...]] = [
    (), (("id", False),), (("id", True),), (("kind", False),), (("kind", True),), (("size", False),), (("size", True),),
    (("count", True),),
    (("kind", True), ("size", False)), (("kind", False), ("size", True), ("count", False)), (("count", False), ("id", True)),
]  # fmt: skip
FILTERS = [None, "kind = 'a' OR size > 0", "size IS NULL", "id >= 'k050'", "kind = 'zz'"]


def made(directory: Path, tier: str) -> Source:
    source = Source(directory, COLUMNS, tier=tier)
    source.add(*[(point(100 + n % 7, 30 + n % 11), *row) for n, row in enumerate(reversed(ROWS))])
    source.build()
    return source


@pytest.fixture(scope="module", params=["open", "internal"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The same rows as an edition and as they are."""
    return made(tmp_path_factory.mktemp("query"), request.param)


@pytest.fixture(params=[5000, 3], ids=["few kept", "many"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows may match that their ids are kept: with few, every later page is looked for anew."""
    monkeypatch.setattr(queries, "KEPT_ROWS", request.param)
    forget()
    return int(request.param)


def forget() -> None:
    queries._cache._known.clear()
    queries._steps_known._known.clear()


def matches(text: str | None, row: tuple[Any, ...]) -> bool:
    """The filters above, by Python."""
    key, kind, size, _ = row
    return {
        None: True,
        FILTERS[1]: kind == "a" or (size is not None and size > 0),
        FILTERS[2]: size is None,
        FILTERS[3]: key >= "k050",
        FILTERS[4]: kind == "zz",
    }[text]


def in_order(rows: list[tuple[Any, ...]], sort: tuple[tuple[str, bool], ...]) -> list[str]:
    """Ids in order: nulls last either way, ties by id; text by code point."""
    places = {column.name: n for n, column in enumerate(COLUMNS)}

    def compare(a: tuple[Any, ...], b: tuple[Any, ...]) -> int:
        for name, descending in sort:
            x, y = a[places[name]], b[places[name]]
            if x == y:
                continue
            if x is None or y is None:
                return 1 if x is None else -1
            return (1 if x > y else -1) * (-1 if descending else 1)
        return 1 if a[0] > b[0] else -1

    return [row[0] for row in sorted(rows, key=cmp_to_key(compare))]


def asked(reader: Reader, text: str | None, sort: tuple[tuple[str, bool], ...], limit: int, **place: Any) -> Query:
    where = (reader.filter(text, "cql2-text", None),) if text else ()
    return Query(where=where, sort=sort, limit=limit, **place)


def crawl(source: Source, text: str | None, sort: tuple[tuple[str, bool], ...], limit: int) -> list[str]:
    """All ids, a page a snapshot; each page must be full but the last, and each must say how many match."""
    found: list[str] = []
    cursor, matched = None, None
    while True:
        with source.reading() as reader:
            texts, number, cursor = reader.texts(asked(reader, text, sort, limit, cursor=cursor))
        assert matched in (None, number)
        matched = number
        found += [json.loads(t)["id"] for t in texts]
        assert len(texts) == limit or cursor is None
        if cursor is None:
            assert matched == len(found)
            return found


@pytest.mark.parametrize("sort", ORDERS, ids=str)
@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("limit", [1, 7, 97, 200])
def test_crawl_gives_every_row_once_in_order(source: Source, kept: int, sort: Any, text: str | None, limit: int) -> None:
    if limit == 1 and len(sort) > 1 and text is None:
        limit = 2
    assert crawl(source, text, sort, limit) == in_order([row for row in ROWS if matches(text, row)], sort)


@given(st.sampled_from(ORDERS), st.sampled_from(FILTERS), st.integers(1, 40), st.integers(0, 120))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_offset_gives_the_same_order(source: Source, kept: int, sort: Any, text: str | None, limit: int, offset: int) -> None:
    with source.reading() as reader:
        texts, matched, cursor = reader.texts(asked(reader, text, sort, limit, offset=offset))
        expected = in_order([row for row in ROWS if matches(text, row)], sort)
        assert [json.loads(t)["id"] for t in texts] == expected[offset : offset + limit]
        assert matched == len(expected) == reader.count(asked(reader, text, sort, limit))
        assert (cursor is None) is (offset + limit >= len(expected))


def test_deep_offset(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deeper than STEP the page begins from a known key."""
    monkeypatch.setattr(queries, "STEP", 10)
    forget()
    for offset in (0, 9, 10, 11, 19, 20, 21, 90, 95, 96, 97, 98, 500):
        with source.reading() as reader:
            texts, matched, _ = reader.texts(Query(limit=5, offset=offset))
        assert [json.loads(t)["id"] for t in texts] == [row[0] for row in ROWS][offset : offset + 5]
        assert matched == len(ROWS)


@pytest.mark.parametrize("tier", ["open", "internal"])
@pytest.mark.parametrize("sort", [(), (("kind", False),), (("size", True), ("kind", False))], ids=str)
@pytest.mark.parametrize("text", [None, "size IS NULL OR size < 1e200"])
def test_crawl_survives_a_rebuild(tmp_path: Path, kept: int, tier: str, sort: Any, text: str | None) -> None:
    """Rows come and go at either side while a client reads; what stays is given once."""
    source = made(tmp_path, tier)
    found: list[str] = []
    cursor = None
    for page in range(100):
        with source.reading() as reader:
            texts, _, cursor = reader.texts(asked(reader, text, sort, 8, cursor=cursor))
        found += [json.loads(t)["id"] for t in texts]
        if cursor is None:
            break
        if page in (2, 4):
            source.run("DELETE FROM things WHERE id IN ('k001', 'k030', 'k077')")
            source.run("UPDATE things SET id=id WHERE id='k002'")
            source.add(*[(point(90 + page, 10), f"new{page}{n}", "a", 0.5, n) for n in range(30)])
            source.build()
    stayed = [
        row for row in ROWS if row[0] not in ("k001", "k030", "k077") and (text is None or row[2] is None or row[2] < 1e200)
    ]
    assert len(found) == len(set(found))
    assert [key for key in found if key in {row[0] for row in stayed}] == in_order(stayed, sort)


def test_row_that_was_last_on_its_page_may_go(tmp_path: Path, kept: int) -> None:
    source = made(tmp_path, "open")
    for text in (None, "size IS NOT NULL"):
        with source.reading() as reader:
            texts, _, cursor = reader.texts(asked(reader, text, (("kind", False),), 9))
        last = json.loads(texts[-1])["id"]
        source.run("DELETE FROM things WHERE id=?", last)
        source.build()
        with source.reading() as reader:
            after, _, _ = reader.texts(asked(reader, text, (("kind", False),), 200, cursor=cursor))
            whole, _, _ = reader.texts(asked(reader, text, (("kind", False),), 200))
        assert texts[:-1] + after == whole


def test_kept_ids_are_not_those_of_a_former_state(tmp_path: Path) -> None:
    for tier in ("open", "internal"):
        (tmp_path / tier).mkdir()
        source = made(tmp_path / tier, tier)
        for expected in (19, 18, 17):
            with source.reading() as reader:
                query = asked(reader, "kind = 'a'", (("id", False),), 5)
                _, matched, cursor = reader.texts(query)
                assert matched == reader.count(query) == expected + 1
                assert reader.texts(asked(reader, "kind = 'a'", (("id", False),), 5, cursor=cursor))[1] == expected + 1
            source.run("DELETE FROM things WHERE fid = (SELECT min(fid) FROM things WHERE kind = 'a')")
            source.build()


def test_infinity_in_the_order_loses_nothing(tmp_path: Path, kept: int) -> None:
    """JSON has no infinity, a column of reals may."""
    source = Source(tmp_path, COLUMNS)
    sizes = [math.inf, math.inf, math.inf, -math.inf, -math.inf, 1.0, None]
    source.add(*[(point(), f"k{n}", "a", size, n) for n, size in enumerate(sizes)])
    source.build()
    for descending in (False, True):
        expected = in_order([(f"k{n}", "a", size, n) for n, size in enumerate(sizes)], (("size", descending),))
        for text in (None, "kind = 'a'"):
            for limit in (1, 2, 3):
                assert crawl(source, text, (("size", descending),), limit) == expected


# cursors that are none


def cursor(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


BAD = [
    "!!!", "é", "AAAA", "e30", cursor({}), cursor([]), cursor(5), cursor(None), cursor("a"), cursor([None]),
    cursor(["a", "b"]), cursor([[]]), cursor([{}]),
    cursor([["id", False], "a", "b"]), cursor([2**64]), cursor([2**63]), cursor([True]), cursor([1.5]), cursor([7]),
    "W" * 10000, cursor([[[[[]]]]]),
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:30])
def test_cursor_that_is_none(source: Source, kept: int, text: str) -> None:
    for where in (None, "kind = 'a'"):
        with pytest.raises(QueryError) as caught, source.reading() as reader:
            reader.texts(asked(reader, where, (), 5, cursor=text))
        assert caught.value.parameter == "cursor"


@pytest.mark.parametrize(
    "of, on",
    [
        ((), (("kind", False),)),
        ((("kind", False),), ()),
        ((("kind", False),), (("kind", True),)),
        ((("kind", False),), (("size", False),)),
        ((("kind", False),), (("kind", False), ("id", False))),
    ],
)
def test_cursor_of_another_order(source: Source, kept: int, of: Any, on: Any) -> None:
    with source.reading() as reader:
        _, _, following = reader.texts(Query(sort=of, limit=5))
        with pytest.raises(QueryError):
            reader.texts(Query(sort=on, limit=5, cursor=following))


def test_cursor_of_no_length(source: Source) -> None:
    """An empty cursor is none either, it is not the first page."""
    with source.reading() as reader, pytest.raises(QueryError):
        reader.texts(Query(limit=5, cursor=""))


@given(st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode()) | st.text(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4)
).map(cursor))  # fmt: skip
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cursor_is_answered_or_refused(source: Source, text: str) -> None:
    with source.reading() as reader:
        for sort in ((), (("size", True),)):
            try:
                texts, matched, _ = reader.texts(Query(sort=sort, limit=5, cursor=text))
            except QueryError as err:
                assert err.parameter == "cursor"  # noqa: PT017 either is right
            else:
                assert len(texts) <= 5 and matched == len(ROWS)
