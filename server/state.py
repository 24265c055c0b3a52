"""Which keys, approvals and agreements there are, for every process of the server and of the command line.

Reads are answered from memory: a snapshot of the three tables, taken anew when the revision has changed. So what is
written at every request must not lie in the same file.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from sqlalchemy import Connection, select

from server.database import Database, StateError
from server.scope import check_scope
from server.tables import (
    AGREEMENTS,
    APPROVALS,
    KEYS,
    SCHEMA,
    Agreement,
    Approval,
    Key,
    read_agreements,
    timestamp,
    to_key,
    values,
)

__all__ = ["Agreement", "Approval", "Key", "State", "StateError", "timestamp"]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All that is stored, as of a revision: keys with the SHA-256 of their secrets, agreements with their spans."""

    revision: int
    keys: Mapping[str, tuple[Key, str]]
    approvals: list[Approval]
    latest: Mapping[tuple[str, str], Approval]
    agreements: list[Agreement]
    spans: Mapping[tuple[str, str], list[tuple[datetime, datetime, Agreement]]]


class State:
    """The keys, approvals and agreements in the SQLite file at `path`; opened at the first use, safe for threads.

    All methods raise StateError with the reason where the state refuses, as they do a time without a time zone.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA, version=1)
        self._snapshot: _Snapshot | None = None

    def revision(self) -> int:
        """A number that differs from an earlier one if any process changed the state; only equality means anything.

        A cache asks for it before it reads what it keeps. Costs about two microseconds.
        """
        return self._database.revision()

    def close(self) -> None:
        """Close for good; a process that forks workers calls it first."""
        self._database.close()

    def add_key(
        self,
        *,
        tier: str,
        name: str,
        agency: str | None = None,
        level: str | None = None,
        division: str | None = None,
        roles: Iterable[str] = (),
        demo: bool = False,
    ) -> tuple[str, str]:
        """Make a key; gives its id and the key itself, `id.secret`, of which only the secret's SHA-256 is stored."""
        name = _line("name", name)
        agency = None if agency is None else _line("agency", agency)
        division = "" if level == "nation" and division is None else division
        roles = tuple(sorted(set(roles)))
        check_scope(tier, agency, level, division, roles)
        key_id, secret = _identifier("k"), secrets.token_urlsafe(32)
        row = {
            "id": key_id,
            "secret_sha256": hashlib.sha256(secret.encode()).hexdigest(),
            "tier": tier,
            "name": name,
            "agency": agency,
            "level": level,
            "division": division,
            "roles": " ".join(roles),
            "demo": demo,
            "created": timestamp(datetime.now(UTC)),
        }
        with self._database.write() as connection:
            connection.execute(KEYS.insert().values(row))
        return key_id, f"{key_id}.{secret}"

    def keys(self) -> list[Key]:
        """All keys, revoked ones too, the oldest first."""
        return [key for key, _ in self._current().keys.values()]

    def key(self, key_id: str) -> Key | None:
        """The key with this id, a revoked one too."""
        found = self._current().keys.get(key_id)
        return found[0] if found else None

    def authenticate(self, key_id: str, secret: str) -> Key | None:
        """The key with this id and secret, a revoked one too; None where the id is unknown or the secret is another."""
        found = self._current().keys.get(key_id)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        return found[0] if found and hmac.compare_digest(digest.encode(), found[1].encode()) else None

    def revoke(self, key_id: str) -> Key:
        """Revoke a key; one that is revoked stays as it is. Every process sees it at its next call."""
        with self._database.write() as connection:
            if _find_key(connection, key_id).revoked is None:
                now = timestamp(datetime.now(UTC))
                connection.execute(KEYS.update().where(KEYS.c.id == key_id).values(revoked=now))
            return _find_key(connection, key_id)

    def has_demo_keys(self) -> bool:
        """Whether a demo key is valid."""
        return any(key.demo and key.revoked is None for key in self.keys())

    def approve(self, collection: str, recipe_hash: str, *, by: str, because: str) -> Approval:
        """Store that the approver with the key id `by` lets the recipe with this hash (64 hex digits) be open."""
        if not re.fullmatch(r"[0-9a-f]{64}", recipe_hash):
            raise StateError("recipe hash: expected 64 lower-case hexadecimal digits")
        collection, because = _line("collection", collection), _line("reason", because)
        with self._database.write() as connection:
            approver = _find_approver(connection, by)
            now = timestamp(datetime.now(UTC))
            approval = Approval(collection, recipe_hash, by=by, name=approver.name, because=because, at=now)
            connection.execute(APPROVALS.insert().values(values(approval)))
        return approval

    def approval(self, collection: str, recipe_hash: str) -> Approval | None:
        """The latest approval of that very recipe."""
        return self._current().latest.get((collection, recipe_hash))

    def approvals(self, collection: str | None = None) -> list[Approval]:
        """All approvals (of one collection), the oldest first."""
        return [approval for approval in self._current().approvals if collection in (None, approval.collection)]

    def add_agreement(
        self,
        *,
        agency: str,
        collection: str,
        purpose: str,
        starts: date,
        ends: date,
        rows: str | None = None,
        properties: Iterable[str] | None = None,
        items: int | None = None,
        by: str,
    ) -> Agreement:
        """Store an agreement of one agency over one collection, made by the approver with the key id `by`.

        A date as `starts` is the beginning of that day in UTC, as `ends` the end of it. An agency has at most one
        agreement over a collection at a time: an overlapping one is refused. That `rows` and `properties` stay within
        the shared block is for the caller to check.
        """
        begin, end = _instant(starts, last=False), _instant(ends, last=True)
        if end <= begin:
            raise StateError("an agreement ends after it starts")
        if rows is not None and not rows.strip():
            raise StateError("rows: expected a CQL2 expression")
        if items is not None and items < 1:
            raise StateError("items: expected a number of at least 1")
        agreement = Agreement(
            id=_identifier("a"),
            agency=_line("agency", agency),
            collection=_line("collection", collection),
            purpose=_line("purpose", purpose),
            starts=timestamp(begin),
            ends=timestamp(end),
            rows=None if rows is None else rows.strip(),
            properties=None if properties is None else tuple(properties),
            items=items,
            by=by,
            created=timestamp(datetime.now(UTC)),
        )
        with self._database.write() as connection:
            _find_approver(connection, by)
            for other_begin, other_end, other in read_agreements(connection):
                same = (other.agency, other.collection) == (agreement.agency, agreement.collection)
                if same and begin < other_end and other_begin < end:
                    raise StateError(
                        f"{other.agency} has agreement {other.id} over {other.collection} from {other.starts} until "
                        f"{other.ends}: end it first, or choose other dates"
                    )
            connection.execute(AGREEMENTS.insert().values(values(agreement)))
        return agreement

    def agreements(self, agency: str | None = None, collection: str | None = None) -> list[Agreement]:
        """All agreements (of one agency, over one collection), ended ones too, the oldest first."""
        return [
            agreement
            for agreement in self._current().agreements
            if agency in (None, agreement.agency) and collection in (None, agreement.collection)
        ]

    def active_agreement(self, agency: str, collection: str, on: datetime) -> Agreement | None:
        """The agreement of that agency over that collection that holds at the instant `on`."""
        _require_zone(on)
        for begin, end, agreement in self._current().spans.get((agency, collection), ()):
            if begin <= on < end:
                return agreement
        return None

    def end_agreement(self, agreement_id: str, on: datetime) -> Agreement:
        """Let an agreement end at the instant `on` (cut to the second), or at its start where that is later.

        One that has ended by then stays as it is.
        """
        _require_zone(on)
        with self._database.write() as connection:
            for begin, end, agreement in read_agreements(connection):
                if agreement.id == agreement_id:
                    ends = timestamp(max(begin, min(end, on)))
                    connection.execute(AGREEMENTS.update().where(AGREEMENTS.c.id == agreement_id).values(ends=ends))
                    return next(new for _, _, new in read_agreements(connection) if new.id == agreement_id)
        raise StateError(f"there is no agreement {agreement_id!r}")

    def _current(self) -> _Snapshot:
        # The revision is asked for first: a commit in between makes the snapshot newer than it says, never older.
        revision = self.revision()
        snapshot = self._snapshot
        if snapshot is None or snapshot.revision != revision:
            self._snapshot = snapshot = self._take_snapshot(revision)
        return snapshot

    def _take_snapshot(self, revision: int) -> _Snapshot:
        with self._database.read() as connection:
            rows = connection.execute(select(KEYS).order_by(KEYS.c.created, KEYS.c.id)).all()
            acts = connection.execute(select(APPROVALS).order_by(APPROVALS.c.number)).all()
            agreements = read_agreements(connection)
        approvals = [Approval(**{name: getattr(act, name) for name in Approval.__slots__}) for act in acts]
        spans: dict[tuple[str, str], list[tuple[datetime, datetime, Agreement]]] = {}
        for begin, end, agreement in agreements:
            spans.setdefault((agreement.agency, agreement.collection), []).append((begin, end, agreement))
        return _Snapshot(
            revision=revision,
            keys={row.id: (to_key(row), str(row.secret_sha256)) for row in rows},
            approvals=approvals,
            latest={(approval.collection, approval.recipe_hash): approval for approval in approvals},
            agreements=[agreement for _, _, agreement in agreements],
            spans=spans,
        )


def _require_zone(instant: datetime) -> None:
    if instant.tzinfo is None:
        raise StateError("expected a time with a time zone")


def _instant(day: date, *, last: bool) -> datetime:
    """The instant at which a day begins in UTC or, with `last`, at which the next one does; a datetime as it is."""
    if isinstance(day, datetime):
        _require_zone(day)
        return day.replace(microsecond=0)
    try:
        return datetime.combine(day + timedelta(days=int(last)), time(), UTC)
    except OverflowError as err:
        raise StateError(f"{day} lies beyond the calendar") from err


def _line(what: str, text: str) -> str:
    """Text of one line in Unicode's composed form: names must compare equal, and must not break a log or a table."""
    text = unicodedata.normalize("NFC", text.strip())
    if not text or not text.isprintable():
        raise StateError(f"{what}: expected a line of text")
    return text


def _identifier(prefix: str) -> str:
    return prefix + "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(10))


def _find_key(connection: Connection, key_id: str) -> Key:
    # An id that does not look like one is not repeated in the message: it may be a whole key.
    if not re.fullmatch(r"k[a-z2-7]{10}", key_id):
        raise StateError("expected the id of a key: k and ten letters or digits")
    row = connection.execute(select(KEYS).where(KEYS.c.id == key_id)).one_or_none()
    if row is None:
        raise StateError(f"there is no key {key_id}")
    return to_key(row)


def _find_approver(connection: Connection, key_id: str) -> Key:
    key = _find_key(connection, key_id)
    if key.revoked is not None:
        raise StateError(f"key {key_id} was revoked at {key.revoked}")
    check_scope(key.tier, key.agency, key.level, key.division, key.roles)
    if "approver" not in key.roles:
        raise StateError(f"key {key_id} does not have the role 'approver'")
    return key
