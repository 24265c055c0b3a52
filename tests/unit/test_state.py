"""Does the state keep what it is told, and refuse what it must?"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.state import Agreement, State, StateError

HASH, OTHER = "a" * 64, "b" * 64
DAY = timedelta(days=1)
PROVINCE: dict[str, Any] = {"tier": "internal", "level": "province", "division": "51"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    with closing(State(path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A state that stays without keys."""
    with closing(State(tmp_path_factory.mktemp("empty") / "state.sqlite")) as opened:
        yield opened


@pytest.fixture
def approver(state: State) -> str:
    return state.add_key(name="王芳", roles=["approver"], **PROVINCE)[0]


def agree(state: State, by: str, **given: Any) -> Agreement:
    year: dict[str, Any] = {
        "agency": "Department of Water Resources",
        "collection": "parcels",
        "purpose": "flood-control planning",
        "starts": date(2026, 1, 1),
        "ends": date(2026, 12, 31),
    }
    return state.add_agreement(by=by, **year | given)


# keys


def test_only_the_hash_of_a_secret_is_stored(state: State, path: Path) -> None:
    key_id, key = state.add_key(tier="shared", name="Reader", agency="Water")
    secret = key.removeprefix(f"{key_id}.")
    with closing(sqlite3.connect(path)) as raw:
        (stored,) = raw.execute("SELECT secret_sha256 FROM keys WHERE id = ?", (key_id,)).fetchone()
    assert stored == hashlib.sha256(secret.encode()).hexdigest()
    assert all(secret.encode() not in file.read_bytes() for file in path.parent.iterdir())
    assert stored not in repr(state.keys()) and secret not in repr(state.keys())


def test_secrets_have_256_bits_and_differ(state: State) -> None:
    keys = [state.add_key(tier="shared", name="Reader", agency="Water") for _ in range(20)]
    assert len({key_id for key_id, _ in keys}) == len({key.partition(".")[2] for _, key in keys}) == 20
    assert all(len(key.partition(".")[2]) * 6 >= 256 for _, key in keys)


@pytest.mark.parametrize(
    "scope, stored",
    [
        ({"tier": "shared", "agency": "Water"}, ("Water", None, None, ())),
        ({"tier": "shared", "agency": " 水利厅 "}, ("水利厅", None, None, ())),
        ({"tier": "shared", "agency": "Caf\u0065\u0301"}, ("Caf\u00e9", None, None, ())),
        ({"tier": "internal", "level": "nation"}, (None, "nation", "", ())),
        ({"tier": "internal", "level": "nation", "division": ""}, (None, "nation", "", ())),
        (PROVINCE, (None, "province", "51", ())),
        ({"tier": "internal", "level": "city", "division": "5101"}, (None, "city", "5101", ())),
        (
            {"tier": "internal", "level": "county", "division": "510104", "roles": ["approver", "approver"]},
            (None, "county", "510104", ("approver",)),
        ),
    ],
)
def test_scope_is_kept(state: State, scope: dict[str, Any], stored: tuple[Any, ...]) -> None:
    key_id, _ = state.add_key(name="Somebody", **scope)
    key = state.key(key_id)
    assert key is not None
    assert (key.agency, key.level, key.division, key.roles) == stored
    assert (key.tier, key.name, key.demo, key.revoked) == (scope["tier"], "Somebody", False, None)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(key.created)) < DAY and key.created.endswith("Z")


@pytest.mark.parametrize(
    "scope, reason",
    [
        ({"tier": "open"}, "tier"),
        ({"tier": "admin"}, "tier"),
        ({"tier": "shared"}, "agency"),
        ({"tier": "shared", "agency": " "}, "agency"),
        ({"tier": "shared", "agency": "Water\nINFO forged"}, "agency"),
        ({"tier": "shared", "agency": "Water", "level": "nation"}, "no level"),
        ({"tier": "shared", "agency": "Water", "division": "51"}, "no level"),
        ({"tier": "shared", "agency": "Water", "roles": ["approver"]}, "role"),
        ({"tier": "internal"}, "level"),
        ({"tier": "internal", "division": "51"}, "level"),
        ({"tier": "internal", "level": "town", "division": "51010401"}, "level"),
        ({"tier": "internal", "level": "nation", "division": "00"}, "nation"),
        ({"tier": "internal", "level": "province"}, "2 digits"),
        ({"tier": "internal", "level": "province", "division": ""}, "2 digits"),
        ({"tier": "internal", "level": "province", "division": "510000"}, "2 digits"),
        ({"tier": "internal", "level": "province", "division": "00"}, "trimmed"),
        ({"tier": "internal", "level": "city", "division": "51"}, "4 digits"),
        ({"tier": "internal", "level": "city", "division": "5100"}, "trimmed"),
        ({"tier": "internal", "level": "county", "division": "5101"}, "6 digits"),
        ({"tier": "internal", "level": "county", "division": "510104\n"}, "6 digits"),
        ({"tier": "internal", "level": "county", "division": "５１０１０４"}, "6 digits"),
        ({"tier": "internal", "level": "county", "division": "5101%_"}, "6 digits"),
        (PROVINCE | {"roles": ["root"]}, "role"),
    ],
)
def test_scope_is_refused(empty: State, scope: dict[str, Any], reason: str) -> None:
    with pytest.raises(StateError, match=reason):
        empty.add_key(name="Somebody", **scope)
    assert empty.keys() == []


def test_revoking_twice_keeps_the_first_time(state: State, path: Path) -> None:
    key_id, key = state.add_key(tier="shared", name="Reader", agency="Water")
    assert state.revoke(key_id).revoked is not None
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE keys SET revoked = '2026-01-01T00:00:00Z'")
    assert state.revoke(key_id).revoked == "2026-01-01T00:00:00Z"
    assert state.authenticate(key_id, key.partition(".")[2]) == state.key(key_id) == state.keys()[0]


def test_revoking_an_unknown_key_is_refused_and_echoes_no_secret(state: State) -> None:
    with pytest.raises(StateError, match="no key kaaaaaaaaaa"):
        state.revoke("kaaaaaaaaaa")
    _, key = state.add_key(tier="shared", name="Reader", agency="Water")
    with pytest.raises(StateError) as refused:
        state.revoke(key)
    assert key.partition(".")[2] not in str(refused.value)


def test_demo_keys_are_known_until_the_last_is_revoked(state: State) -> None:
    state.add_key(tier="shared", name="Reader", agency="Water")
    assert not state.has_demo_keys()
    demo = [state.add_key(name="Demonstration", demo=True, **PROVINCE)[0] for _ in range(2)]
    state.revoke(demo[0])
    assert state.has_demo_keys()
    state.revoke(demo[1])
    assert not state.has_demo_keys()


# approvals


def test_the_latest_approval_of_that_very_recipe_counts(state: State, approver: str) -> None:
    assert state.approval("parcels", HASH) is None
    first = state.approve("parcels", HASH, by=approver, because="open list 2025")
    second = state.approve("parcels", HASH, by=approver, because="open list 2026, review 14")
    other = state.approve("gauges", OTHER, by=approver, because="open list 2026")
    assert (second.by, second.name) == (approver, "王芳")
    assert state.approval("parcels", HASH) == second != first
    assert state.approval("parcels", OTHER) is None and state.approval("gauges", HASH) is None
    assert state.approvals() == [first, second, other] and state.approvals("gauges") == [other]


def test_an_approval_outlives_its_approvers_key(state: State, approver: str) -> None:
    given = state.approve("parcels", HASH, by=approver, because="open list")
    state.revoke(approver)
    assert state.approval("parcels", HASH) == given


@pytest.mark.parametrize(
    "scope, reason",
    [
        (None, "revoked"),
        ({"tier": "shared", "agency": "Water"}, "role"),
        (PROVINCE, "role"),
        ({"tier": "internal", "level": "nation"}, "role"),
    ],
)
def test_only_an_approver_approves_and_agrees(state: State, approver: str, scope: dict[str, Any] | None, reason: str) -> None:
    if scope is None:
        by = state.revoke(approver).id
    else:
        by, _ = state.add_key(name="Somebody", **scope)
    with pytest.raises(StateError, match=reason):
        state.approve("parcels", HASH, by=by, because="open list")
    with pytest.raises(StateError, match=reason):
        agree(state, by)
    assert state.approvals() == [] and state.agreements() == []


def test_a_role_on_a_shared_key_in_a_corrupted_row_approves_nothing(state: State, path: Path) -> None:
    by, _ = state.add_key(tier="shared", name="Reader", agency="Water")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE keys SET roles = 'approver'")
    with pytest.raises(StateError, match="shared key"):
        state.approve("parcels", HASH, by=by, because="open list")


@pytest.mark.parametrize("recipe_hash", ["", "a" * 63, "A" * 64, "g" * 64, HASH + "\n"])
def test_what_is_no_hash_is_not_approved(state: State, approver: str, recipe_hash: str) -> None:
    with pytest.raises(StateError, match="hash"):
        state.approve("parcels", recipe_hash, by=approver, because="open list")


@pytest.mark.parametrize("because", ["", "  ", "line\nbreak"])
def test_an_approval_needs_a_reason(state: State, approver: str, because: str) -> None:
    with pytest.raises(StateError, match="reason"):
        state.approve("parcels", HASH, by=approver, because=because)


# agreements


def test_an_agreement_holds_from_its_first_instant_to_its_last(state: State, approver: str) -> None:
    agreement = agree(state, approver)
    agency, parcels = agreement.agency, agreement.collection
    first, over = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    assert state.active_agreement(agency, parcels, first) == agreement
    assert state.active_agreement(agency, parcels, over - tick) == agreement
    assert state.active_agreement(agency, parcels, first - tick) is None
    assert state.active_agreement(agency, parcels, over) is None
    # half past midnight of New Year in Beijing is still the old year in UTC
    beijing = timezone(timedelta(hours=8))
    assert state.active_agreement(agency, parcels, datetime(2027, 1, 1, 0, 30, tzinfo=beijing)) == agreement
    assert state.active_agreement(agency, parcels, datetime(2026, 1, 1, 0, 30, tzinfo=beijing)) is None
    assert state.active_agreement("Department of Transport", parcels, first) is None
    assert state.active_agreement(agency, "landslides", first) is None
    with pytest.raises(StateError, match="time zone"):
        state.active_agreement(agency, parcels, datetime(2026, 6, 1))  # noqa: DTZ001 - the mistake that is tested


def test_what_an_agreement_names_comes_back(state: State, path: Path, approver: str) -> None:
    narrow = agree(state, approver, rows=" landuse = '07' ", properties=["名称", "a,b"], items=50)
    nothing = agree(state, approver, collection="landslides", properties=[])
    whole = agree(state, approver, collection="gauges")
    assert (narrow.rows, narrow.properties, narrow.items) == ("landuse = '07'", ("名称", "a,b"), 50)
    assert (nothing.properties, whole.properties, whole.rows, whole.items) == ((), None, None, None)
    with closing(State(path)) as again:
        assert again.agreements() == [narrow, nothing, whole]
        assert again.agreements(collection="gauges") == [whole]
        assert again.agreements(agency="Nobody") == []


@pytest.mark.parametrize(
    "given, reason",
    [
        ({"starts": date(2026, 2, 2), "ends": date(2026, 2, 1)}, "ends after"),
        ({"starts": datetime(2026, 2, 2, tzinfo=UTC), "ends": datetime(2026, 2, 2, tzinfo=UTC)}, "ends after"),
        ({"ends": datetime(2026, 2, 2)}, "time zone"),  # noqa: DTZ001 - the mistake that is tested
        ({"ends": date.max}, "calendar"),
        ({"rows": " "}, "rows"),
        ({"items": 0}, "items"),
        ({"agency": ""}, "agency"),
        ({"purpose": ""}, "purpose"),
        ({"by": "kaaaaaaaaaa"}, "no key"),
    ],
)
def test_an_agreement_is_refused(state: State, approver: str, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(StateError, match=reason):
        agree(state, **{"by": approver} | given)
    assert state.agreements() == []


def test_an_agreement_of_one_day_is_one(state: State, approver: str) -> None:
    day = date(2028, 2, 29)
    agreement = agree(state, approver, starts=day, ends=day)
    assert (agreement.starts, agreement.ends) == ("2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z")


def test_ending_an_agreement(state: State, approver: str) -> None:
    agreement = agree(state, approver)
    at = datetime(2026, 6, 1, 12, 0, 0, 999_999, tzinfo=UTC)
    assert state.active_agreement(agreement.agency, "parcels", at) == agreement
    ended = state.end_agreement(agreement.id, at)
    assert ended.ends == "2026-06-01T12:00:00Z"
    assert state.active_agreement(agreement.agency, "parcels", at) is None
    # it cannot be ended later than it was
    assert state.end_agreement(agreement.id, at + DAY) == ended == state.agreements()[0]
    with pytest.raises(StateError, match="no agreement"):
        state.end_agreement("aaaaaaaaaaa", at)
    # the rest of the year is free again
    assert agree(state, approver, starts=at + DAY).starts == "2026-06-02T12:00:00Z"


def test_ended_before_it_starts_an_agreement_never_holds(state: State, approver: str) -> None:
    agreement = agree(state, approver)
    ended = state.end_agreement(agreement.id, datetime(2025, 6, 1, tzinfo=UTC))
    assert ended.ends == ended.starts == agreement.starts
    assert state.active_agreement(agreement.agency, "parcels", datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert agree(state, approver) != agreement


@pytest.mark.parametrize(
    "column, value",
    [("ends", "zzzz"), ("ends", "2026-12-31T00:00:00"), ("starts", ""), ("properties", "["), ("properties", "3")],
)
def test_an_unreadable_agreement_gives_nothing_and_hides_nothing(
    state: State, path: Path, approver: str, column: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = agree(state, approver), agree(state, approver, collection="landslides")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(f"UPDATE agreements SET {column} = ? WHERE id = ?", (value, broken.id))
    at = datetime(2026, 6, 1, tzinfo=UTC)
    assert state.active_agreement(broken.agency, "parcels", at) is None
    assert state.active_agreement(sound.agency, "landslides", at) == sound
    assert broken.id in caplog.text


@settings(max_examples=25, deadline=None)
@given(spans=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), min_size=1, max_size=8))
def test_at_most_one_agreement_holds_at_a_time(tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int]]) -> None:
    """Against a brute force over the days: an agreement is refused just when one of its days is taken."""
    first = date(2026, 1, 1)
    taken: dict[int, str] = {}
    with closing(State(tmp_path_factory.mktemp("state") / "state.sqlite")) as state:
        by, _ = state.add_key(name="Approver", roles=["approver"], **PROVINCE)
        for begin, length in spans:
            days = range(begin, begin + length + 1)
            dates = {"starts": first + begin * DAY, "ends": first + (begin + length) * DAY}
            if any(day in taken for day in days):
                with pytest.raises(StateError, match="end it first"):
                    agree(state, by, **dates)
            else:
                taken |= dict.fromkeys(days, agree(state, by, **dates).id)
        for day in range(40):
            noon = datetime(2026, 1, 1, 12, tzinfo=UTC) + day * DAY
            active = state.active_agreement("Department of Water Resources", "parcels", noon)
            assert (active.id if active else None) == taken.get(day)
