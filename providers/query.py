"""One query over a relation: ids, bbox, datetime and filter become one expression, which items, counts and exports share."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from providers.columns import Column, quote
from providers.filters import Where
from providers.relation import Relation

# A filter that matches no more rows than this has its row ids kept, so that its later pages and its count cost nothing.
KEPT_ROWS = 5000
CACHED_QUERIES = 2000
# Offsets deeper than this start from a key that is known.
STEP = 1000


class QueryError(ValueError):
    """The query is not of the form that it must have. `parameter` is the name the client gave it under."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a relation: conditions (all must hold), order (property, descending), and which page."""

    where: tuple[Where, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    limit: int = 10
    offset: int = 0
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page as the engine gives them, how many match in all, and the cursor of the next page (None: the last)."""

    rows: list[tuple[Any, ...]]
    matched: int
    next: str | None


class _Cache[Known]:
    """A bounded cache that threads share; what was used last stays."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known: OrderedDict[Any, Known] = OrderedDict()

    def get(self, key: Any) -> Known | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def put(self, key: Any, value: Known) -> None:
        with self._lock:
            self._known[key] = value
            if len(self._known) > self._size:
                self._known.popitem(last=False)


# How many rows match a query, and which, if they are few.
_cache: _Cache[tuple[int, array[int] | None]] = _Cache(CACHED_QUERIES)
_facts: _Cache[Any] = _Cache(CACHED_QUERIES)
_steps_known: _Cache[list[Any]] = _Cache(20)


def count(conn: sqlite3.Connection, relation: Relation, query: Query) -> int:
    """How many rows match, exactly."""
    if not query.where and relation.whole and relation.edition is not None:
        return relation.edition.count
    condition, params = _condition(relation, query)
    key = _key(relation, condition, params, ())
    known = _cache.get(key)
    if known is None:
        sql = f"SELECT count(*) FROM {relation.source}{condition}"
        known = (conn.execute(sql, params).fetchone()[0], None)
        _cache.put(key, known)
    return known[0]


def remembered[Known](relation: Relation, what: str, find: Callable[[], Known]) -> Known:
    """What is true of all rows of a relation as long as its content stays; found once."""
    key = _key(relation, "", relation.params, what)
    known: tuple[Known] | None = _facts.get(key)
    if known is None:
        known = (find(),)
        _facts.put(key, known)
    return known[0]


def page(conn: sqlite3.Connection, relation: Relation, query: Query, select: str) -> Page:
    """One page of a query, inside the caller's snapshot. `select` is the SQL of what is wanted of each row.

    Raises QueryError for a cursor that is not of this order.
    """
    condition, params = _condition(relation, query)
    order = _order(relation, query)
    sort_values = ", ".join(quote(name) for name, _ in query.sort)
    wanted = f"{select}, {sort_values + ', ' if sort_values else ''}_key"
    if not condition and query.cursor is None:
        return _plain(conn, relation, query, wanted, order, count(conn, relation, query))
    key = _key(relation, condition, params, query.sort)
    known = _cache.get(key) if query.where else (count(conn, relation, query), None)
    if known is None:
        if query.offset == 0 and query.cursor is None:  # most often one page holds all there is: then it is counted too
            sql = f"SELECT {wanted} FROM {relation.source}{condition} ORDER BY {order} LIMIT ?"
            rows = conn.execute(sql, (*params, query.limit + 1)).fetchall()
            if len(rows) <= query.limit:
                return Page(rows, len(rows), None)
        known = _know(conn, relation, query, condition, params, order)
        _cache.put(key, known)
    matched, rids = known
    if rids is not None:
        return _kept(conn, relation, query, wanted, rids)
    if query.cursor is not None:
        after, values = _after(relation, query)
        condition = f"{condition} AND ({after})" if condition else f" WHERE {after}"
        params = (*params, *values)
    sql = f"SELECT {wanted} FROM {relation.source}{condition} ORDER BY {order} LIMIT ? OFFSET ?"
    rows = conn.execute(sql, (*params, query.limit + 1, query.offset)).fetchall()
    return _cut(query, rows, matched)


def _plain(conn: sqlite3.Connection, relation: Relation, query: Query, wanted: str, order: str, matched: int) -> Page:
    if query.offset >= matched:
        return Page([], matched, None)
    condition, params, offset = "", relation.params, query.offset
    if offset > STEP and not query.sort and relation.whole:
        steps = _steps(conn, relation)
        condition, params = " WHERE _key > ?", (steps[offset // STEP - 1],)
        offset %= STEP
    # the index alone is walked to the offset; no row is read that is not returned
    sql = f"SELECT {wanted} FROM {relation.source}{condition} ORDER BY {order} LIMIT ? OFFSET ?"
    return _cut(query, conn.execute(sql, (*params, query.limit + 1, offset)).fetchall(), matched)


def _steps(conn: sqlite3.Connection, relation: Relation) -> list[Any]:
    """Every STEP-th key of an edition in order, so that a deep offset walks no more than STEP rows from the nearest."""
    key = (relation.path, relation.source, "steps")
    known = _steps_known.get(key)
    if known is None:
        keys = conn.execute(f"SELECT _key FROM {relation.source} ORDER BY _key")
        known = [row[0] for row in islice(keys, STEP - 1, None, STEP)]
        _steps_known.put(key, known)
    return known


def _know(
    conn: sqlite3.Connection, relation: Relation, query: Query, condition: str, params: tuple[Any, ...], order: str
) -> tuple[int, array[int] | None]:
    sql = f"SELECT _rid FROM {relation.source}{condition} ORDER BY {order} LIMIT {KEPT_ROWS + 1}"
    rids = array("q", (row[0] for row in conn.execute(sql, params)))
    if len(rids) <= KEPT_ROWS:
        return len(rids), rids
    return conn.execute(f"SELECT count(*) FROM {relation.source}{condition}", params).fetchone()[0], None


def _kept(conn: sqlite3.Connection, relation: Relation, query: Query, wanted: str, rids: array[int]) -> Page:
    """A page out of the kept row ids: a cursor is found among them by its key, an offset is an index."""
    start = query.offset
    if query.cursor is not None:
        after, values = _after(relation, query)
        marks = ",".join("?" * len(rids))
        sql = f"SELECT count(*) FROM {relation.source} WHERE _rid IN ({marks}) AND NOT ({after})"
        start += conn.execute(sql, (*relation.params, *rids, *values)).fetchone()[0]
    few = rids[start : start + query.limit + 1]
    sql = f"SELECT _rid, {wanted} FROM {relation.source} WHERE _rid IN ({','.join('?' * len(few))})"
    found = {row[0]: row[1:] for row in conn.execute(sql, (*relation.params, *few))}
    return _cut(query, [found[rid] for rid in few if rid in found], len(rids))


def _cut(query: Query, rows: list[tuple[Any, ...]], matched: int) -> Page:
    if len(rows) <= query.limit:
        return Page(rows, matched, None)
    rows = rows[: query.limit]
    last = rows[-1][-len(query.sort) - 1 :] if rows else None
    return Page(rows, matched, _cursor(query, last) if last else None)


def _cursor(query: Query, values: tuple[Any, ...]) -> str:
    # unlike orjson, json writes an infinity so that it is read back
    parts = json.dumps([[name, descending] for name, descending in query.sort] + list(values))
    return base64.urlsafe_b64encode(parts.encode()).decode().rstrip("=")


def check_cursor(relation: Relation, query: Query) -> None:
    """Raises QueryError where a query's cursor is not of its order."""
    if query.cursor is not None:
        _after(relation, query)


def _after(relation: Relation, query: Query) -> tuple[str, tuple[Any, ...]]:
    """The condition for rows after a cursor in the query's order (nulls come last, the key decides between equals)."""
    assert query.cursor is not None
    size = len(query.sort)
    columns = [relation.column(name) for name, _ in query.sort]
    try:
        parts = json.loads(base64.b64decode(query.cursor + "=" * (-len(query.cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(parts, list) or len(parts) != 2 * size + 1:
            raise ValueError
        values = parts[size:]
        if parts[:size] != [[name, descending] for name, descending in query.sort]:
            raise ValueError
        for kind, value in zip([*columns, relation.key], values, strict=True):
            _check(kind, value, null=kind is not relation.key)
    except (ValueError, RecursionError) as err:
        raise QueryError("cursor", "cursor must be taken from a next link of the same query and order") from err
    condition, bound = "_key > ?", [values[-1]]
    for (name, descending), value in reversed(list(zip(query.sort, values[:-1], strict=True))):
        column = quote(name)
        if value is None:
            condition = f"{column} IS NULL AND ({condition})"
        else:
            beyond = "<" if descending else ">"
            condition = f"({column} {beyond} ? OR {column} IS NULL OR ({column} = ? AND ({condition})))"
            bound = [value, value, *bound]
    return condition, tuple(bound)


def _check(column: Column | None, value: Any, *, null: bool) -> None:
    """Raises ValueError where a value cannot be one of a column."""
    kinds = {"string": str, "integer": int, "boolean": int}
    if value is None:
        fits = null
    elif column is None or isinstance(value, bool):
        fits = False
    elif column.type == "number":
        fits = isinstance(value, int | float) and value == value
    else:
        fits = isinstance(value, kinds[column.type])
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair is no text
    if not fits or (isinstance(value, int) and not -(1 << 63) <= value < 1 << 63):
        raise ValueError


def _order(relation: Relation, query: Query) -> str:
    # the unary plus keeps SQLite from walking the key's index where a condition picks out few rows anyway
    key = "+_key" if relation.rtree and any(relation.rtree in where.sql for where in query.where) else "_key"
    return ", ".join([f"{quote(name)} {'DESC' if down else 'ASC'} NULLS LAST" for name, down in query.sort] + [key])


def _condition(relation: Relation, query: Query) -> tuple[str, tuple[Any, ...]]:
    if not query.where:
        return "", relation.params
    sql = " WHERE " + " AND ".join(f"({where.sql})" for where in query.where)
    return sql, (*relation.params, *(value for where in query.where for value in where.params))


def _key(relation: Relation, condition: str, params: tuple[Any, ...], order: Any) -> Any:
    return relation.path, relation.source, relation.revision, condition, params, order
