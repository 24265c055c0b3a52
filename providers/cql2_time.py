"""How instants and intervals compare in SQL, where dates and times are text.

A date column holds YYYY-MM-DD; a timestamp column YYYY-MM-DDTHH:MM:SS in UTC, with or without a fraction of any
length, with or without the Z. Texts of these forms do not sort by time ('…:07Z' comes after '…:07.5Z'), so a timestamp
is cut to the form that does: no Z, no zeros at the end of the fraction. A range of whole days over the bare column goes
with it, for the index.

Between a date and a timestamp the day decides, in UTC: `updated >= DATE('2026-01-31')` begins with that day, `updated >
DATE('2026-01-31')` with the next (the standard leaves such casts to the server, 21-065r2 clause 6.3.3).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from providers.cql2_tree import INTERVAL_RELATIONS
from providers.expressions import FilterError, Term, both, infix

TEMPORAL = ("date", "timestamp", "unbounded")
# Open ends: below and above every text that begins with a digit.
_FIRST, _LAST = "", "~"
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "<>": "<>"}

# What start and end of the first are to those of the second (W3C/OGC Time Ontology in OWL, after Allen).
_RELATIONS = {
    "t_after": (("s", ">", "e"),),
    "t_before": (("e", "<", "s"),),
    "t_contains": (("s", "<", "s"), ("e", ">", "e")),
    "t_during": (("s", ">", "s"), ("e", "<", "e")),
    "t_equals": (("s", "=", "s"), ("e", "=", "e")),
    "t_finishedby": (("s", "<", "s"), ("e", "=", "e")),
    "t_finishes": (("s", ">", "s"), ("e", "=", "e")),
    "t_meets": (("e", "=", "s"),),
    "t_metby": (("s", "=", "e"),),
    "t_overlappedby": (("s", ">", "s"), ("s", "<", "e"), ("e", ">", "e")),
    "t_overlaps": (("s", "<", "s"), ("e", ">", "s"), ("e", "<", "e")),
    "t_startedby": (("s", "=", "s"), ("e", ">", "e")),
    "t_starts": (("s", "=", "s"), ("e", "<", "e")),
}


def instant(value: date) -> Term:
    """A date, or a datetime in UTC, as a bound value."""
    if not isinstance(value, datetime):
        return _text(value.isoformat(), "date")
    text = value.replace(tzinfo=None).isoformat()
    return _text(text.rstrip("0").rstrip(".") if "." in text else text, "timestamp")


def unbounded() -> Term:
    """An open end of an interval; which of the two, its interval says."""
    return Term("", (), "unbounded")


def interval(start: Term, end: Term) -> Term:
    """An interval, closed at both ends. Raises FilterError where one of them is no instant."""
    for term in (start, end):
        if term.type not in TEMPORAL:
            raise FilterError(f"an interval is between dates or timestamps: expected one in place of a {term.type}")
    ends = (
        _text(_FIRST, "unbounded") if start.type == "unbounded" else start,
        _text(_LAST, "unbounded") if end.type == "unbounded" else end,
    )
    return Term("", (), "interval", value=ends)


def _text(text: str, kind: str) -> Term:
    return Term("?", (text,), kind, value=text)


def compare(one: Term, operator: str, other: Term) -> Term:
    """`one operator other` of two instants; the operator is =, <>, <, <=, > or >=."""
    by_day = {one.type, other.type} >= {"date", "timestamp"}
    exact = infix(_sortable(one, by_day), operator, _sortable(other, by_day))
    if one.value is not None:
        one, operator, other = other, _FLIPPED[operator], one
    if one.value is not None or other.value is None or one.type != "timestamp" or other.type == "unbounded":
        return exact
    day = other.value[:10]
    for bound, value, operators in ((">=", day, "= > >="), ("<", day + _LAST, "= < <=")):
        if operator in operators.split():
            exact = infix(infix(one, bound, _text(value, "timestamp")), "AND", exact)
    return exact


def among(one: Term, others: tuple[Term, ...]) -> Term:
    """`one IN (others)` of instants."""
    by_day = {term.type for term in (one, *others)} >= {"date", "timestamp"}
    found = [_sortable(term, by_day) for term in (one, *others)]
    sql = f"({found[0].sql} IN ({', '.join(term.sql for term in found[1:])}))"
    params = tuple(value for term in found for value in term.params)
    return Term(sql, params, "boolean", max(1 + found[0].cost, *(6 + term.cost for term in found[1:])))


def _sortable(term: Term, by_day: bool) -> Term:
    if term.value is not None:
        return _text(term.value[:10], term.type) if by_day else term
    if term.type == "date":
        return term
    if by_day:
        return Term(f"substr({term.sql}, 1, 10)", term.params, "date", 7)
    cut = f"(substr({term.sql}, 1, 19) || rtrim(substr({term.sql}, 20), '.0Z'))"
    return Term(cut, term.params * 2, "timestamp", 12)


def relation(name: str, one: Term, other: Term) -> Term:
    """A temporal function of CQL2 (tables 7 and 8). Raises FilterError for an operand that it is not defined for."""
    for term in (one, other):
        if term.type != "interval" and (term.type not in TEMPORAL or name in INTERVAL_RELATIONS):
            wanted = "intervals" if name in INTERVAL_RELATIONS else "dates, timestamps and intervals"
            raise FilterError(f"{name} is between {wanted}: expected one in place of a {term.type}")
    if name in ("t_disjoint", "t_intersects"):
        apart = both(relation("t_before", one, other), "OR", relation("t_after", one, other))
        return apart if name == "t_disjoint" else _meeting(one, other)
    first, second = _ends(one), _ends(other)
    found = [compare(first[left], operator, second[right]) for left, operator, right in _RELATIONS[name]]
    whole = found[0]
    for part in found[1:]:
        whole = both(whole, "AND", part)
    return whole


def _meeting(one: Term, other: Term) -> Term:
    first, second = _ends(one), _ends(other)
    return both(compare(first["s"], "<=", second["e"]), "AND", compare(first["e"], ">=", second["s"]))


def _ends(term: Term) -> dict[str, Any]:
    start, end = term.value if term.type == "interval" else (term, term)
    return {"s": start, "e": end}
