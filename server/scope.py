"""Which tier, agency, level, division code and roles go together in a key, when it is made and at every request."""

from __future__ import annotations

import re
from collections.abc import Mapping

from server.database import StateError

# Digits of the trimmed division code (GB/T 2260) of each level.
LEVELS: Mapping[str, int] = {"nation": 0, "province": 2, "city": 4, "county": 6}
KEY_TIERS = ("shared", "internal")
ROLES = ("approver",)


def check_scope(tier: str, agency: str | None, level: str | None, division: str | None, roles: tuple[str, ...]) -> None:
    """Raise StateError where no key may have this scope.

    A shared key has an agency and no level. An internal one has a level and its division's trimmed code: '' for the
    nation, 2, 4 or 6 digits for a province, a city or a county. Only an internal key may have a role.
    """
    if tier not in KEY_TIERS:
        raise StateError(f"tier: expected one of {', '.join(KEY_TIERS)}")
    if set(roles) - set(ROLES):
        raise StateError(f"role: expected one of {', '.join(ROLES)}")
    if tier == "shared":
        if not agency:
            raise StateError("a shared key needs an agency")
        if level is not None or division is not None or roles:
            raise StateError("a shared key has no level, division or role")
        return
    if level is None or level not in LEVELS:
        raise StateError(f"an internal key needs a level: one of {', '.join(LEVELS)}")
    digits = LEVELS[level]
    if not isinstance(division, str) or not re.fullmatch(f"[0-9]{{{digits}}}", division):
        raise StateError(f"division code: {digits} digits for a {level}" if digits else "the nation has no division code")
    if division.endswith("00"):
        raise StateError("division code: expected it trimmed of its trailing zeros, at the level that it then has")
