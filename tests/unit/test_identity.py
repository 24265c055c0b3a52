"""Is a caller who he is by his key, and is a credential that is not a valid key never anonymous?"""

from __future__ import annotations

import base64
import sqlite3
import timeit
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.auth import HTTPBasicAuth
from requests.models import PreparedRequest

from server.identity import ANONYMOUS, Principal, Unauthorized, identify
from server.state import State


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state") / "state.sqlite"


@pytest.fixture(scope="module")
def state(path: Path) -> Iterator[State]:
    with closing(State(path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def county(state: State) -> tuple[str, str]:
    """Id and key of a county's approver."""
    scope: dict[str, Any] = {"tier": "internal", "level": "county", "division": "510104", "roles": ["approver"]}
    return state.add_key(name="锦江", **scope)


def basic(user: str, password: str) -> str:
    """The `Authorization` header that an HTTP client makes."""
    request = PreparedRequest()
    request.prepare("GET", "http://localhost/", auth=HTTPBasicAuth(user.encode(), password.encode()))
    return str(request.headers["Authorization"])


def encoded(credentials: bytes) -> str:
    return base64.b64encode(credentials).decode()


def test_without_a_credential_one_is_anonymous_and_the_state_is_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    assert identify(None, None, State(path)) == ANONYMOUS == Principal("open", None, "anonymous", None, None, None, ())
    assert not path.exists()


def test_a_key_says_who_is_calling(state: State, county: tuple[str, str]) -> None:
    key_id, key = county
    expected = Principal("internal", key_id, "锦江", None, "county", "510104", ("approver",))
    assert identify(key, None, state) == expected
    assert len({expected, identify(key, None, state)}) == 1  # hashable: it is a part of cache keys
    shared_id, shared = state.add_key(tier="shared", name="Reader", agency="水利厅")
    assert identify(shared, None, state) == Principal("shared", shared_id, "Reader", "水利厅", None, None, ())
    nation_id, nation = state.add_key(tier="internal", name="Ministry", level="nation")
    assert identify(nation, None, state) == Principal("internal", nation_id, "Ministry", None, "nation", "", ())


@pytest.mark.parametrize("user", ["", "qgis", "测试", "kaaaaaaaaaa"])
def test_basic_takes_the_key_as_password_whatever_the_user(state: State, county: tuple[str, str], user: str) -> None:
    key_id, key = county
    header = basic(user, key)
    for form in (header, header.replace("Basic", "basic"), header.replace("Basic", "BASIC "), header + " "):
        assert identify(None, form, state).key_id == key_id
    assert identify(key, header, state).key_id == key_id
    latin = f"Basic {encoded('Zoë'.encode('latin-1') + b':' + key.encode())}"
    assert identify(None, latin, state).key_id == key_id


def test_two_different_credentials_are_refused(state: State, county: tuple[str, str]) -> None:
    key_id, key = county
    _, other = state.add_key(tier="shared", name="Reader", agency="Water")
    pairs = [(key, basic("", other)), (other, basic("", key)), (key, basic("", "")), ("", basic("", key)), (key, "")]
    pairs += [(key, "Bearer x"), (key_id, basic("", key)), (key + " ", basic("", key))]
    for api_key, authorization in pairs:
        with pytest.raises(Unauthorized):
            identify(api_key, authorization, state)


def refused(key: str) -> list[tuple[str | None, str | None]]:
    key_id, secret = key.split(".")
    wrong = secret[:-2] + ("BA" if secret[-2:] == "AB" else "AB")
    keys = [
        "",
        " ",
        key_id,
        secret,
        f"{key_id}.",
        f".{secret}",
        f"{key_id}.{wrong}",
        f"{key_id}.{secret[:-1]}",
        f"{key_id}.{secret}A",
        f"{key_id}.{secret}\n",
        f"{key_id}:{secret}",
        f"{key_id.upper()}.{secret}",
        f"kaaaaaaaaaa.{secret}",
        f"{key_id}.{secret.swapcase()}",
        f"{key}, {key}",
        f"{key_id}.{'Ａ' * 43}",
        f"{key_id}.{'%' * 43}",
    ]
    headers = [
        "",
        " ",
        "Basic",
        "Basic ",
        key,
        f"Bearer {key}",
        f"Bearer {encoded(b':' + key.encode())}",
        f"ApiKey {key}",
        f"Basic {key}",
        f"Basic{encoded(b':' + key.encode())}",
        f"Basic {encoded(key.encode())}",
        f"Basic {encoded(key.encode() + b':')}",
        f"Basic {encoded(f'{key_id}:{secret}'.encode())}",
        f"Basic {encoded(b':' + key.encode())}!",
        f"Basic {encoded(b':' + key.encode())}, Basic {encoded(b':' + key.encode())}",
        f"Basic {encoded(b':' + key.encode() + b':')}",
        f"Basic {encoded(b'::' + key.encode())}",
        "Basic =",
        "Basic ====",
        "Basic QQ",
        'Digest username="x"',
        "Negotiate abc",
    ]
    return [(k, None) for k in keys] + [(None, h) for h in headers]


def test_what_is_not_a_valid_key_is_refused_and_not_repeated(state: State, county: tuple[str, str]) -> None:
    _, key = county
    for api_key, authorization in refused(key):
        with pytest.raises(Unauthorized) as error:
            identify(api_key, authorization, state)
        told = f"{error.value!r} {error.value} {error.value.__cause__!r} {error.value.key_id}"
        assert key.partition(".")[2][:-2] not in told


def test_the_log_may_name_the_id_of_a_stored_key_only(state: State, county: tuple[str, str]) -> None:
    key_id, key = county
    secret = key.partition(".")[2]
    with pytest.raises(Unauthorized) as wrong:
        identify(f"{key_id}.{secret[::-1]}", None, state)
    assert wrong.value.key_id == key_id
    with pytest.raises(Unauthorized) as unknown:
        identify(f"kaaaaaaaaaa.{secret}", None, state)
    assert unknown.value.key_id is None


def test_a_revoked_key_is_refused_from_then_on(state: State, path: Path) -> None:
    key_id, key = state.add_key(tier="shared", name="Reader", agency="Water")
    assert identify(key, None, state).tier == "shared"
    with closing(State(path)) as other:
        other.revoke(key_id)
    for api_key, authorization in ((key, None), (None, basic("", key)), (key, basic("", key))):
        with pytest.raises(Unauthorized) as error:
            identify(api_key, authorization, state)
        assert error.value.key_id == key_id


@pytest.mark.parametrize(
    "change",
    [
        "tier = 'open'",
        "tier = 'shared'",
        "tier = ''",
        "tier = X'FF'",
        "level = NULL",
        "level = 'town'",
        "level = 'nation'",
        "level = 'city'",
        "level = X'00'",
        "division = NULL",
        "division = ''",
        "division = '51'",
        "division = '5101'",
        "division = '5101__'",
        "division = X'353130313034'",
        "level = 'nation', division = NULL",
        "level = 'province', division = NULL",
        "level = 'province', division = ''",
        "roles = 'approver root'",
        "roles = X'617070726F766572'",
        "revoked = ''",
        "secret_sha256 = ''",
        "secret_sha256 = X'00'",
    ],
)
def test_a_corrupted_row_refuses_its_key_and_no_other(state: State, path: Path, county: tuple[str, str], change: str) -> None:
    bad_id, bad = state.add_key(tier="internal", name="Bad", level="county", division="510104")
    assert identify(bad, None, state).key_id == bad_id
    with closing(sqlite3.connect(path)) as raw, raw:
        assert raw.execute(f"UPDATE keys SET {change} WHERE id = ?", (bad_id,)).rowcount == 1
    with pytest.raises(Unauthorized):
        identify(bad, None, state)
    assert identify(county[1], None, state).key_id == county[0]


@pytest.mark.parametrize("value", ["NULL", "''"])
def test_a_shared_key_without_its_agency_is_refused(state: State, path: Path, value: str) -> None:
    key_id, key = state.add_key(tier="shared", name="Reader", agency="Water")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(f"UPDATE keys SET agency = {value} WHERE id = ?", (key_id,))
    with pytest.raises(Unauthorized):
        identify(key, None, state)


@given(data=st.data())
def test_no_other_text_is_a_key(state: State, county: tuple[str, str], data: st.DataObject) -> None:
    _, key = county
    at = data.draw(st.integers(0, len(key) - 1))
    put = data.draw(st.text(max_size=2).filter(lambda text: text != key[at]))
    changed = key[:at] + put + key[at + 1 :]
    for api_key, authorization in (
        (changed, None),
        (None, f"Basic {encoded(b':' + changed.encode('utf-8', 'replace'))}"),
    ):
        with pytest.raises(Unauthorized):
            identify(api_key, authorization, state)


@given(api_key=st.none() | st.text(), authorization=st.none() | st.text() | st.text().map(lambda t: f"Basic {t}"))
def test_arbitrary_headers_are_refused_and_nothing_else_is_raised(
    state: State, api_key: str | None, authorization: str | None
) -> None:
    if api_key is None and authorization is None:
        return
    with pytest.raises(Unauthorized):
        identify(api_key, authorization, state)


def test_identity_costs_microseconds(state: State, county: tuple[str, str]) -> None:
    """Ten or so; the bound leaves room for a busy machine, and none for a query of the tables."""
    header = basic("qgis", county[1])
    assert min(timeit.repeat(lambda: identify(None, header, state), number=200, repeat=10)) / 200 < 100e-6
