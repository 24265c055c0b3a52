"""Who is calling: the credentials of a request as a Principal.

A key comes in the header `X-API-Key`, or as the password of HTTP Basic (RFC 7617), whose user name is ignored. A
request with a credential is never anonymous: what is not a valid key raises Unauthorized.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import cast

from providers.grant import Tier
from server.scope import check_scope
from server.state import Key, State, StateError

_KEY = re.compile(r"(k[a-z2-7]{10})\.([A-Za-z0-9_-]{43})")
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `level` is nation, province, city or county; `division` its trimmed code, '' for the nation.

    Anonymous and shared callers have neither; `agency` is the department of a shared caller.
    """

    tier: Tier
    key_id: str | None
    name: str
    agency: str | None
    level: str | None
    division: str | None
    roles: tuple[str, ...]


ANONYMOUS = Principal("open", None, "anonymous", None, None, None, ())


class Unauthorized(Exception):
    """A credential that is no valid key. The message holds no part of it; `key_id`, for the log, is a stored key's."""

    def __init__(self, reason: str, key_id: str | None = None) -> None:
        super().__init__(reason)
        self.key_id = key_id


def identify(api_key: str | None, authorization: str | None, state: State) -> Principal:
    """The caller with these values of the headers `X-API-Key` and `Authorization` (None: the header is absent).

    Raises Unauthorized where either is malformed or no valid key, and where they are different keys. A revocation by
    any process holds at the next call. Costs less than ten microseconds.
    """
    if api_key is None and authorization is None:
        return ANONYMOUS
    presented = api_key if authorization is None else _password(authorization)
    if api_key is not None and api_key != presented:
        raise Unauthorized("two different credentials")
    match = _KEY.fullmatch(presented or "")
    if match is None:
        raise Unauthorized("not a key")
    key = state.authenticate(*match.groups())
    if key is None:
        raise Unauthorized("unknown key", match[1] if state.key(match[1]) else None)
    return principal(key)


def _password(authorization: str) -> str:
    """The password in the credentials of HTTP Basic."""
    match = _BASIC.fullmatch(authorization)
    if match is None:
        raise Unauthorized("expected the scheme Basic and its credentials")
    try:
        # The user name may be in any encoding; a key is ASCII.
        _, colon, password = base64.b64decode(match[1], validate=True).decode("latin-1").partition(":")
    except ValueError:
        raise Unauthorized("malformed credentials") from None
    if not colon:
        raise Unauthorized("malformed credentials")
    return password


def principal(key: Key) -> Principal:
    """The caller with this key. Raises Unauthorized where it is revoked or its scope is not valid."""
    if key.revoked is not None:
        raise Unauthorized("revoked key", key.id)
    try:
        check_scope(key.tier, key.agency, key.level, key.division, key.roles)
    except StateError as err:
        raise Unauthorized("a key whose scope is not valid", key.id) from err
    return Principal(cast(Tier, key.tier), key.id, key.name, key.agency, key.level, key.division, key.roles)
