"""What the state stores: keys, approvals and agreements, as tables and as frozen records."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, Column, Connection, ForeignKey, Integer, MetaData, Row, String, Table, select

from server.database import StateError

LOG = logging.getLogger(__name__)

SCHEMA = MetaData()
KEYS = Table(
    "keys",
    SCHEMA,
    Column("id", String, primary_key=True),
    Column("secret_sha256", String, nullable=False),
    Column("tier", String, nullable=False),
    Column("name", String, nullable=False),
    Column("agency", String),
    Column("level", String),
    Column("division", String),
    Column("roles", String, nullable=False),
    Column("demo", Boolean, nullable=False),
    Column("created", String, nullable=False),
    Column("revoked", String),
)
APPROVALS = Table(
    "approvals",
    SCHEMA,
    Column("number", Integer, primary_key=True),
    Column("collection", String, nullable=False),
    Column("recipe_hash", String, nullable=False),
    Column("by", ForeignKey("keys.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("because", String, nullable=False),
    Column("at", String, nullable=False),
)
AGREEMENTS = Table(
    "agreements",
    SCHEMA,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("agency", String, nullable=False),
    Column("collection", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("starts", String, nullable=False),
    Column("ends", String, nullable=False),
    Column("rows", String),
    Column("properties", String),
    Column("items", Integer),
    Column("by", ForeignKey("keys.id"), nullable=False),
    Column("created", String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. `division` is trimmed, '' for the nation and None where the key has no level.

    Times are UTC (ISO 8601 with Z); `revoked` is None for a key that is valid.
    """

    id: str
    tier: str
    name: str
    agency: str | None
    level: str | None
    division: str | None
    roles: tuple[str, ...]
    demo: bool
    created: str
    revoked: str | None


@dataclass(frozen=True, slots=True)
class Approval:
    """An approver's act that lets a collection be open by the recipe with this hash; `name` is the approver's."""

    collection: str
    recipe_hash: str
    by: str
    name: str
    because: str
    at: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """What makes conditional sharing a grant for one agency, from `starts` until `ends`: at that instant it is over.

    Times are UTC (ISO 8601 with Z). `rows` is CQL2 text, `properties` a choice among the block's (None: all, (): none),
    `items` the largest page.
    """

    id: str
    agency: str
    collection: str
    purpose: str
    starts: str
    ends: str
    rows: str | None
    properties: tuple[str, ...] | None
    items: int | None
    by: str
    created: str


def timestamp(instant: datetime) -> str:
    """An instant as UTC in ISO 8601 with Z, cut to the second. Raises StateError where it has no time zone."""
    if instant.tzinfo is None:
        raise StateError("a time without a time zone")
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def values(record: Approval | Agreement) -> dict[str, Any]:
    """A record as the values of its row."""
    columns = {name: getattr(record, name) for name in record.__slots__}
    if isinstance(record, Agreement) and record.properties is not None:
        columns["properties"] = json.dumps(record.properties, ensure_ascii=False)
    return columns


def to_key(row: Row[Any]) -> Key:
    """A row of KEYS as a record. Its scope is not checked here: one bad row must not hide the others."""
    columns = {name: getattr(row, name) for name in Key.__slots__}
    return Key(**columns | {"roles": tuple(row.roles.split())})


def read_agreements(connection: Connection) -> list[tuple[datetime, datetime, Agreement]]:
    """Beginning, end and record of every agreement, the oldest first; an unreadable one is logged and left out."""
    found = []
    for row in connection.execute(select(AGREEMENTS).order_by(AGREEMENTS.c.number)):
        columns = {name: getattr(row, name) for name in Agreement.__slots__}
        try:
            if row.properties is not None:
                columns["properties"] = tuple(map(str, json.loads(row.properties)))
            begin, end = datetime.fromisoformat(row.starts), datetime.fromisoformat(row.ends)
            timestamp(begin), timestamp(end)
        except (ValueError, TypeError, StateError):
            LOG.error("agreement %s cannot be read and gives nothing", row.id)
            continue
        found.append((begin, end, Agreement(**columns)))
    return found
